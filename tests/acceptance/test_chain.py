"""From a schedule in a file to the history, with real processes: a server and three workers.

All schedules are due within the first seconds, so that the tests wait for them together.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import pwd
import signal
import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.acceptance.fleet import Fleet, Json, Process, once, schedule

WORKERS = ("leia", "luke", "vader")
ALL = "*"
MIB = 1024 * 1024

LINES = 900_000
LINE_BYTES = 12
COUNTED = f"seq -f '%011.0f' 1 {LINES}"
"""Prints 10.8 MB, each line of it 12 bytes with the newline."""

BINARY = bytes(range(256)) + b"\xff\xfe\x00\x80 no newline at the end: \xc3"


def counted() -> bytes:
    return b"".join(b"%011d\n" % number for number in range(1, LINES + 1))


def at_once(slot: int) -> Iterator[str]:
    """Every schedule of this module; the single ones are due at `slot`."""

    def single(name: str, worker: str, cmds: list[str], **keys: Any) -> str:
        return once(name, worker, cmds, slot, **keys)

    yield schedule("tick", ALL, "*:*:*", ["echo tick"])
    yield schedule("at-a-second", "luke", f"*:*:{slot % 60}", ["echo once a minute"])
    for name, command in (
        ("exit-0", "exit 0"),
        ("exit-1", "echo oh no >&2; exit 1"),
        ("exit-77", "exit 77"),
        ("killed", "kill -KILL $$"),
    ):
        yield single(name, "vader", [command])
    yield single("both", "leia", ["echo to stdout; echo to stderr >&2", "echo second step"])
    yield single("binary", "leia", [f"printf '{escaped(BINARY)}'"])
    yield single("whole", "luke", [COUNTED], output_max="20MiB")
    yield single("cut", "leia", [COUNTED])
    for name in ("twin-a", "twin-b"):
        yield single(name, "vader", [f"echo {name}"])
    yield single(
        "environment",
        "vader",
        ["/proc/self/environ"],
        shell=["/bin/cat"],
        env={"GREETING": "hällo = $HOME"},
    )
    yield single("descriptors", "vader", ["/proc/self/fd"], shell=["/bin/ls", "-l"])
    yield single("umask", "vader", ["umask; cat"])
    yield single("no-command", "leia", ["no-such-program --help", "echo never"])
    yield single("no-shell", "leia", ["echo never"], shell=["/no/such/shell", "-c"])
    yield single("no-directory", "leia", ["echo never"], cwd="/no/such/directory")


def escaped(data: bytes) -> str:
    """What printf of a shell turns into these bytes."""
    return "".join(f"\\{byte:03o}" for byte in data)


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet() as fleet:
        fleet.start_server()
        fleet.join(*WORKERS)
        fleet.start_workers()
        fleet.schedules("all", "".join(at_once(math.ceil(time.time() + 2))))
        yield fleet


def of_run(run: Json, *keys: str) -> tuple[Any, ...]:
    return tuple(run[key] for key in keys)


def stored(fleet: Fleet, run: Json) -> bytes:
    """What a run printed, from the rows of the database itself."""
    with sqlite3.connect(f"file:{fleet.state / 'barto.db'}?mode=ro", uri=True) as database:
        rows = database.execute(
            "SELECT data FROM output WHERE run_id = ? ORDER BY attempt, chunk_no",
            (bytes.fromhex(run["id"].replace("-", "")),),
        )
        return b"".join(row[0] for row in rows)


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# -- when -----------------------------------------------------------------------------------------


def test_each_second_has_one_run_on_each_worker(fleet: Fleet) -> None:
    def enough() -> list[Json] | None:
        runs = [run for run in fleet.runs("tick") if run["complete"]]
        each = [[run for run in runs if run["worker"] == name] for name in WORKERS]
        return runs if all(len(one) >= 5 for one in each) else None

    runs = fleet.until(enough, "five ticks of each worker")
    assert {of_run(run, "verdict", "exit_code") for run in runs} == {("ok", 0)}
    for name in WORKERS:
        slots = [moment(run["slot"]) for run in runs if run["worker"] == name]
        assert slots == [slots[0] + step for step in range(len(slots))]
    assert all(0 <= run["late_seconds"] < 1 for run in runs)
    assert {fleet.output(run["id"]) for run in runs[:6]} == {b"tick\n"}
    assert fleet.api("/api/v1/ranges")["ranges"] == []


def test_a_calendar_may_name_a_second_of_each_minute(fleet: Fleet) -> None:
    run = fleet.ended("at-a-second")
    assert fleet.output(run["id"]) == b"once a minute\n"
    (row,) = fleet.api("/api/v1/schedules")["schedules"][:1]
    assert row["name"] == "at-a-second"


def test_two_schedules_of_one_worker_with_one_calendar_both_run(fleet: Fleet) -> None:
    twins = [fleet.ended(name) for name in ("twin-a", "twin-b")]
    assert twins[0]["slot"] == twins[1]["slot"]
    assert [fleet.output(run["id"]) for run in twins] == [b"twin-a\n", b"twin-b\n"]


# -- how it ended ---------------------------------------------------------------------------------

ENDS = {
    "exit-0": ("ok", 0, None),
    "exit-1": ("failed", 1, None),
    "exit-77": ("failed", 77, None),
    "killed": ("failed", None, 9),
}


@pytest.mark.parametrize("name", ENDS)
def test_exit_codes_and_signals_are_exact(fleet: Fleet, name: str) -> None:
    fleet.ended(name)
    (run,) = json.loads(fleet.cli("runs", "-s", name, "-o", "json").stdout)
    assert of_run(run, "verdict", "exit_code", "signal") == ENDS[name]
    (row,) = fleet.query(
        "SELECT e.exit_code, e.signal, e.success FROM exit_status e JOIN run r "
        f"ON r.run_id = e.run_id WHERE r.schedule = '{name}'"
    )
    assert (row["exit_code"], row["signal"]) == ENDS[name][1:]
    assert bool(row["success"]) == (name == "exit-0")


def test_failed_names_what_failed(fleet: Fleet) -> None:
    for name in ENDS:
        fleet.ended(name)
    failed = fleet.cli("failed").stdout
    assert all((name in failed) == (name != "exit-0") for name in ENDS)


def test_a_command_that_does_not_exist_says_so(fleet: Fleet) -> None:
    run = fleet.ended("no-command")
    assert of_run(run, "verdict", "exit_code") == ("failed", 127)
    assert b"no-such-program" in fleet.output(run["id"], "stderr")
    steps = fleet.api(f"/api/v1/runs/{run['id']}")["steps"]
    assert [step["exit_code"] for step in steps] == [127]


@pytest.mark.parametrize(
    ("name", "missing"),
    [("no-shell", "/no/such/shell"), ("no-directory", "/no/such/directory")],
)
def test_what_cannot_start_says_why(fleet: Fleet, name: str, missing: str) -> None:
    run = fleet.ended(name)
    assert of_run(run, "verdict", "exit_code", "signal") == ("failed", None, None)
    assert missing in run["reason"]
    assert "No such file or directory" in run["reason"]
    assert fleet.output(run["id"]) == b""


# -- what it printed ------------------------------------------------------------------------------


def test_both_streams_arrive_each_for_itself(fleet: Fleet) -> None:
    run = fleet.ended("both")
    assert fleet.output(run["id"], "stdout") == b"to stdout\nsecond step\n"
    assert fleet.output(run["id"], "stderr") == b"to stderr\n"
    assert of_run(run, "stdout_bytes", "stderr_bytes") == (22, 10)
    assert fleet.cli("logs", run["id"][:30], "--stderr-only").stdout == "to stderr\n"


def test_bytes_are_kept_as_bytes(fleet: Fleet) -> None:
    run = fleet.ended("binary")
    assert stored(fleet, run) == BINARY
    assert fleet.output(run["id"]) == BINARY


def test_ten_megabytes_agree_by_their_hash(fleet: Fleet) -> None:
    run = fleet.ended("whole", 60)
    assert of_run(run, "verdict", "stdout_bytes", "cut_bytes") == ("ok", LINES * LINE_BYTES, 0)
    expected = hashlib.sha256(counted()).hexdigest()
    assert hashlib.sha256(stored(fleet, run)).hexdigest() == expected
    assert hashlib.sha256(fleet.output(run["id"])).hexdigest() == expected


def test_beyond_output_max_head_tail_and_counts_are_exact(fleet: Fleet) -> None:
    run = fleet.ended("cut", 60)
    printed = counted()
    head, tail = 1 * MIB, 9 * MIB
    assert run["stdout_bytes"] == len(printed)
    assert run["cut_bytes"] == len(printed) - head - tail
    assert run["cut_lines"] == printed[head:-tail].count(b"\n")
    assert fleet.output(run["id"], "stdout") == printed[:head] + printed[-tail:]
    marker = fleet.output(run["id"])[head : -tail - 1].decode()
    assert str(run["cut_bytes"]) in marker.replace(",", "")


# -- what a command sees --------------------------------------------------------------------------


def test_a_command_sees_the_documented_environment_and_nothing_else(fleet: Fleet) -> None:
    run = fleet.ended("environment")
    printed = fleet.output(run["id"]).decode().rstrip("\0").split("\0")
    seen = dict(one.split("=", 1) for one in printed)
    late = seen.pop("BARTO_LATE")
    assert 0 <= float(late) < 5
    me = pwd.getpwuid(os.geteuid())
    assert seen == {
        "HOME": me.pw_dir,
        "USER": me.pw_name,
        "LOGNAME": me.pw_name,
        "SHELL": me.pw_shell,
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "GREETING": "hällo = $HOME",
        "BARTO_SCHEDULE": "environment",
        "BARTO_RUN": run["id"],
        "BARTO_SLOT": run["slot"],
        "BARTO_ATTEMPT": "1",
        "BARTO_WORKER": "vader",
    }


def test_a_command_has_three_descriptors_and_nothing_to_read(fleet: Fleet) -> None:
    lines = fleet.output(fleet.ended("descriptors")["id"]).decode().splitlines()[1:]
    links = dict(line.split()[-3::2] for line in lines)
    # The fourth is the directory that ls itself reads.
    assert sorted(links) == ["0", "1", "2", "3"]
    assert links["0"] == "/dev/null"
    assert links["1"].startswith("pipe:")
    assert links["2"].startswith("pipe:")
    assert links["3"].startswith("/proc/")
    assert fleet.output(fleet.ended("umask")["id"]) == b"0022\n"


# -- who may come in ------------------------------------------------------------------------------


def test_another_worker_under_a_live_name_is_refused_on_both_sides(fleet: Fleet) -> None:
    vader = fleet.workers["vader"]
    home = fleet.directory / "impostor"
    home.mkdir()
    command = vader.bartoc()
    command[-1] = str(home / "state")
    impostor = Process(command, home / "bartoc.log", fleet.environment(home))
    impostor.start()
    try:
        fleet.until(lambda: "refused" in impostor.log, "the impostor reads that it is refused")
        fleet.until(lambda: "refused" in fleet.server.log, "the server says that it refused")
    finally:
        impostor.ends(signal.SIGTERM)
    for log in (impostor.log, fleet.server.log):
        line = next(line for line in log.splitlines() if "refused" in line)
        assert "vader" in line
        assert "reason=" in line
    assert fleet.is_connected("vader")


def test_a_worker_that_was_killed_is_let_in_again_at_once(fleet: Fleet) -> None:
    leia = fleet.workers["leia"]
    leia.kill()
    before = leia.log.count("connected to the server")
    leia.start()
    fleet.until(lambda: leia.log.count("connected to the server") > before, "leia is back", 5)
    fleet.until(lambda: fleet.is_connected("leia"), "the server knows", 1)


# -- is it well -----------------------------------------------------------------------------------


def test_probes_are_told_that_all_is_well(fleet: Fleet) -> None:
    assert fleet.api("/healthz") == {"status": "ok"}
    told = fleet.api("/readyz")
    assert {key: told[key] for key in ("ready", "store", "configuration")} == {
        "ready": True,
        "store": "ok",
        "configuration": "ok",
    }
    assert {"late", "unknown", "stuck", "idle"} <= told.keys()
