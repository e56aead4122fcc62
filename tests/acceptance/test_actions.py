"""Run, cancel, pause and rerun by hand, with real processes."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.acceptance.fleet import BIN, Fleet, schedule

RARE = "2040-01-01"


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """A server and two workers, for all tests here."""
    with Fleet() as made:
        made.start_server()
        made.join("han", "leia")
        made.start_workers()
        hello = 'echo "hello from $BARTO_WORKER"; sleep 0.5; echo "bye" >&2'
        made.schedules(
            "hand",
            schedule("hello", "*", RARE, [hello])
            + schedule("broken", "*", RARE, ["echo oh; exit 7"])
            + schedule("long", "*", RARE, ["echo begun; sleep 300"])
            + schedule("one", "*", RARE, ["echo one"], pick="one")
            + schedule("often", "han", "*:*:*", ["true"]),
        )
        made.until(lambda: len(made.api("/api/v1/schedules")["schedules"]) == 5, "it is read")
        yield made


def test_a_run_is_followed_to_its_end(fleet: Fleet) -> None:
    done = fleet.cli("run", "hello", "--on", "han", "--follow", "--exit-status")
    assert done.stdout == "hello from han\nbye\n"
    assert done.stderr == "han: ok\n"
    (run,) = fleet.runs("hello")
    assert (run["kind"], run["worker"], run["verdict"]) == ("manual", "han", "ok")
    (event,) = fleet.query("SELECT facts FROM event WHERE kind = 'run asked'")
    assert "@" in json.loads(event["facts"])["who"]


def test_runs_of_several_workers_are_told_apart(fleet: Fleet) -> None:
    done = fleet.cli("run", "hello", "--yes", "--follow")
    assert sorted(done.stdout.splitlines()) == [
        "han  | bye",
        "han  | hello from han",
        "leia | bye",
        "leia | hello from leia",
    ]
    assert sorted(done.stderr.splitlines()) == ["han: ok", "leia: ok"]


def test_the_exit_status_says_how_it_ended(fleet: Fleet) -> None:
    done = fleet.cli("run", "broken", "--on", "han", "--exit-status", "-o", "json", code=1)
    answer = json.loads(done.stdout)
    assert (answer["confirmed"], answer["runs"][0]["exit_code"]) == (1, 7)
    fleet.cli("run", "broken", "--on", "leia", "--follow")  # without it, done is done
    again = fleet.cli("rerun", "broken", "--failed", "--yes", code=5)
    assert "nothing failed of the last start" in again.stderr, "by hand is not planned"
    run = fleet.runs("broken")[-1]["id"]
    last = fleet.cli("rerun", run[:18], "--exit-status", "--follow", code=1)
    assert last.stdout == "oh\n"


def test_without_a_terminal_more_than_one_worker_needs_a_yes(fleet: Fleet) -> None:
    refused = fleet.cli("run", "hello", code=2)
    assert "this would run hello on 2 workers; without a terminal say --yes" in refused.stderr
    plan = fleet.cli("run", "hello", "--dry-run")
    assert [line.split()[0] for line in plan.stdout.splitlines()] == ["WORKER", "han", "leia"]
    assert "this would run hello on 2 workers" in plan.stderr
    one = fleet.cli("run", "one", "-o", "json", "--wait")
    assert json.loads(one.stdout)["said"] == "1 of 1"


def test_a_run_is_cancelled(fleet: Fleet) -> None:
    command = [str(BIN / "barto-cli"), "-c", str(fleet.directory / "barto-cli.toml")]
    followed = subprocess.Popen(
        [*command, "run", "long", "--on", "leia", "--follow", "--exit-status"],
        env=fleet.environment(fleet.directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert followed.stdout is not None and followed.stderr is not None
    assert followed.stdout.readline() == "begun\n"
    done = fleet.cli("cancel", "long", "--reason", "it hangs", "--wait")
    assert done.stderr == "confirmed by 1 of 1\n"
    assert followed.wait(30) == 1
    assert followed.stderr.read().startswith("leia: cancelled")
    (run,) = fleet.runs("long")
    assert (run["verdict"], "it hangs" in run["reason"]) == ("cancelled", True)
    over = fleet.cli("cancel", run["id"], code=2)
    assert "that run is over: cancelled" in over.stderr
    nothing = fleet.cli("cancel", "lung", code=5)
    assert "did you mean long?" in nothing.stderr


def test_a_pause_pauses_and_a_resume_resumes(fleet: Fleet) -> None:
    fleet.until(lambda: len(fleet.runs("often")) > 2, "it runs")
    done = fleet.cli("pause", "often", "--for", "1h", "--reason", "maintenance", "--wait")
    assert done.stderr == "confirmed by 1 of 1\n"
    (pause,) = fleet.api("/api/v1/pauses")["pauses"]
    assert (pause["schedule"], pause["reason"]) == ("often", "maintenance")
    ranges = fleet.until(
        lambda: fleet.api("/api/v1/ranges", schedule="often", verdict="skipped")["ranges"],
        "a slot is skipped",
    )
    assert ranges[0]["reason"].startswith("paused: maintenance (by ")
    before = fleet.runs("often")
    skipped = len(ranges)
    fleet.until(
        lambda: (
            len(fleet.api("/api/v1/ranges", schedule="often")["ranges"]) > skipped + 1
            or sum(r["count"] for r in fleet.api("/api/v1/ranges", schedule="often")["ranges"]) > 2
        ),
        "more are skipped",
    )
    assert len(fleet.runs("often")) == len(before)
    fleet.cli("resume", "often", "--wait")
    fleet.until(lambda: len(fleet.runs("often")) > len(before), "it runs again")
    assert "it is not paused" in fleet.cli("resume", "often", code=2).stderr


def test_all_are_paused_at_once(fleet: Fleet) -> None:
    assert "without a terminal say --yes" in fleet.cli("pause", "--all", code=2).stderr
    fleet.cli("pause", "--all", "--yes", "--wait")
    count = len(fleet.runs("often"))
    fleet.server.ends(signal.SIGTERM)
    fleet.start_server()
    (pause,) = fleet.api("/api/v1/pauses")["pauses"]
    assert pause["schedule"] is None
    assert len(fleet.runs("often")) <= count + 1
    fleet.until(lambda: fleet.is_connected("han") and fleet.is_connected("leia"), "they are back")
    fleet.cli("resume", "--all", "--yes", "--wait")
    fleet.until(lambda: len(fleet.runs("often")) > count + 1, "it runs again")


def test_one_of_a_schedule_and_all_must_be_said(fleet: Fleet) -> None:
    assert "name a schedule, or say --all" in fleet.cli("pause", code=2).stderr
    assert "name a schedule, or say --all" in fleet.cli("resume", "often", "--all", code=2).stderr
