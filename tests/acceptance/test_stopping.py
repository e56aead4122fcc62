"""How bartoc stops: SIGTERM leaves commands running, Ctrl-C and `bartoc stop` end them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.crashes import seconds
from tests.acceptance.fleet import Fleet, processes_of, schedule
from tests.keepers import keeper_pid

CHILD = "sleep 600 & echo $! $$; wait"
"""A command with a child, that prints the ids of both and ends of itself in ten minutes."""


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet() as fleet:
        fleet.start_server()
        fleet.join("leia", "luke")
        fleet.start_workers()
        yield fleet


def running(fleet: Fleet, name: str, worker: str, command: str) -> list[int]:
    """Start a command; the process ids that it printed."""
    fleet.plan_once(name, worker, [command])

    def printed() -> bytes | None:
        runs = fleet.runs(name)
        output = fleet.output(runs[0]["id"]) if runs else b""
        return output if output.endswith(b"\n") else None

    return [int(word) for word in fleet.until(printed, f"{name} prints").split()]


def alive(pids: list[int]) -> list[int]:
    """Which of some processes are alive."""
    return [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]


def test_sigterm_leaves_commands_running_and_the_next_bartoc_takes_over(fleet: Fleet) -> None:
    leia = fleet.workers["leia"]
    pids = running(fleet, "left", "leia", "echo $$; sleep 2; echo late; exit 3")
    began = time.monotonic()
    assert leia.ends(signal.SIGTERM) == 0
    assert time.monotonic() - began < 1.5
    assert alive(pids) == pids
    fleet.until(lambda: not alive(pids), "the command ends while there is no bartoc")
    assert not fleet.runs("left")[0]["complete"]
    fleet.start_workers("leia")
    run = fleet.ended("left")
    assert (run["verdict"], run["exit_code"]) == ("failed", 3)
    assert fleet.output(run["id"]).endswith(b"\nlate\n")
    assert run["seconds"] < 4  # when it ended, not when that was told


@pytest.mark.parametrize("how", ["ctrl-c", "bartoc stop"])
def test_commands_are_ended_with_all_their_children(fleet: Fleet, how: str) -> None:
    luke = fleet.workers["luke"]
    name = how.replace(" ", "-")
    pids = running(fleet, name, "luke", CHILD)
    assert len(alive(pids)) == 2
    if how == "ctrl-c":
        luke.send(signal.SIGINT)
    else:
        done = luke.says("stop")
        assert (done.returncode, done.stdout) == (0, "stopped\n")
    assert luke.wait() == 0
    assert alive(pids) == []
    run = fleet.ended(name)  # the farewell told it
    assert (run["verdict"], run["exit_code"], run["signal"]) == ("cancelled", None, 15)
    fleet.start_workers("luke")


def test_a_command_that_ignores_term_is_killed(fleet: Fleet) -> None:
    luke = fleet.workers["luke"]
    config = luke.config.read_text()
    assert luke.ends(signal.SIGTERM) == 0
    luke.config.write_text(f"stop_timeout = 0.3\n{config}")
    fleet.start_workers("luke")
    pids = running(fleet, "stubborn", "luke", "trap '' TERM; echo $$; while :; do sleep 1; done")
    began = time.monotonic()
    assert luke.ends(signal.SIGINT) == 0
    assert 0.3 <= time.monotonic() - began < 5
    assert alive(pids) == []
    run = fleet.ended("stubborn")
    assert (run["verdict"], run["exit_code"], run["signal"]) == ("cancelled", None, 9)


def test_stop_also_ends_what_an_earlier_bartoc_left(fleet: Fleet) -> None:
    leia = fleet.workers["leia"]
    pids = running(fleet, "orphan", "leia", CHILD)
    leia.kill()
    assert len(alive(pids)) == 2
    assert leia.says("stop").stdout == "stopped\n"
    assert alive(pids) == []
    fleet.start_workers("leia")
    run = fleet.ended("orphan")
    assert (run["verdict"], run["signal"]) == ("cancelled", 15)


def test_a_run_whose_keeper_was_killed_is_interrupted(fleet: Fleet) -> None:
    leia = fleet.workers["leia"]
    pids = running(fleet, "lost", "leia", CHILD)
    os.kill(keeper_pid(leia.state), signal.SIGKILL)
    run = fleet.ended("lost")
    assert (run["verdict"], run["exit_code"], run["signal"]) == ("interrupted", None, None)
    assert "it had started" in run["reason"]
    assert alive(pids) == []
    assert fleet.run_once("after", "leia", ["true"])["verdict"] == "ok"


def test_ctrl_c_amid_the_start_leaves_no_keeper_behind(fleet: Fleet) -> None:
    leia = fleet.workers["leia"]
    assert leia.ends(signal.SIGINT) == 0
    before = len(leia.log)
    leia.start()
    fleet.until(lambda: "bartoc is up" in leia.log[before:], "leia is up")
    assert leia.ends(signal.SIGINT) == 0
    fleet.until(lambda: not processes_of(leia.state), "its keeper has left too", 5)


def test_nothing_is_left_when_all_have_stopped(fleet: Fleet) -> None:
    for worker in fleet.workers.values():
        if worker.is_running():
            worker.ends(signal.SIGINT)
    assert fleet.server.ends(signal.SIGTERM) == 0
    fleet.until(lambda: not fleet.processes(), "no process is left", 5)


def test_no_slot_is_skipped_for_a_run_that_ended_while_bartoc_was_held_up(fleet: Fleet) -> None:
    """Its timers ring first when it goes on; what the keeper told meanwhile counts before that."""
    leia = fleet.workers["leia"]
    if not fleet.server.is_running():
        fleet.start_server()
    if not leia.is_running():
        fleet.start_workers("leia")
    hold = fleet.directory / "hold"
    hold.touch()
    command = f"echo $$; while test -e {hold}; do sleep 0.05; done"
    (pid,) = running(fleet, "held", "leia", command)
    again = schedule("held", "leia", "*:*:*", [command])
    fleet.schedules("held", again)
    fleet.until(lambda: skipped(fleet, "held"), "its next slots are skipped, as it still runs")
    leia.send(signal.SIGSTOP)
    stopped = int(time.time())
    hold.unlink()
    fleet.until(lambda: not alive([pid]), "it has ended")
    fleet.until(lambda: time.time() > stopped + 2.2, "two slots have passed")
    leia.send(signal.SIGCONT)
    fleet.until(lambda: max(slots(fleet, "held")) > stopped + 2, "it starts again")
    fleet.schedules("held", "")
    assert max(skipped(fleet, "held")) <= stopped


def slots(fleet: Fleet, name: str) -> list[int]:
    """The slots of a schedule that have a run, in seconds since 1970."""
    return [seconds(run["slot"]) for run in fleet.runs(name)]


def skipped(fleet: Fleet, name: str) -> list[int]:
    """The slots of a schedule that were skipped."""
    ranges = fleet.api("/api/v1/ranges", schedule=name)["ranges"]
    return [seconds(one["last"]) for one in ranges if one["verdict"] == "skipped"]
