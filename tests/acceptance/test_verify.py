"""barto-cli verify on real programs: proven after kills, and a line that is gone is found out."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.acceptance.fleet import Fleet, schedule

WORKERS = ("leia", "luke")


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet() as fleet:
        fleet.start_server()
        fleet.join(*WORKERS)
        fleet.start_workers()
        fleet.schedules(
            "seconds",
            schedule("tick", "*", "*:*:*", [ticking(fleet)])
            + schedule("slow", "luke", "*:*:0/2", ["sleep 5"], overlap="queue"),
        )
        yield fleet


def ticking(fleet: Fleet) -> str:
    """A command that leaves a line outside of barto, too."""
    return f"echo tick; echo $BARTO_WORKER >> {fleet.directory}/ticks"


def ticks(fleet: Fleet) -> int:
    return len((fleet.directory / "ticks").read_bytes().splitlines())


def proof(fleet: Fleet, *arguments: str, code: int | None = 0) -> Any:
    return json.loads(fleet.cli("verify", *arguments, "-o", "json", code=code).stdout)


def words(found: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in found["counts"]:
        counts[one["verdict"]] = counts.get(one["verdict"], 0) + one["count"]
    return counts


def goes_on(fleet: Fleet, seconds: float = 4) -> None:
    """What is planned for a while from now is told of."""
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))

    def told() -> bool:
        runs = fleet.runs("tick", since=until)
        return {run["worker"] for run in runs} == set(WORKERS)

    fleet.until(told, "both workers have gone on")


def test_a_history_of_kills_is_proven(fleet: Fleet) -> None:
    goes_on(fleet)
    fleet.server.kill()
    for worker in fleet.workers.values():
        worker.kill()
        worker.start()
    before = ticks(fleet)
    fleet.until(lambda: ticks(fleet) >= before + 4, "they go on without a server")
    fleet.start_server()
    goes_on(fleet)
    fleet.schedules("seconds", schedule("tick", "*", "*:*:0/2", [ticking(fleet)]))
    goes_on(fleet)
    found = proof(fleet)
    assert found["proven"] is True
    assert found["pairs"] == 3
    counts = words(found)
    assert counts["ok"] > 20
    assert not {"late", "unknown", "lost"} & set(counts)
    assert found["planned"] == sum(counts.values())


def test_a_line_that_is_gone_is_found_out(fleet: Fleet) -> None:
    goes_on(fleet)
    run = fleet.runs("tick", worker="leia", verdict="ok")[3]
    with closing(sqlite3.connect(fleet.state / "barto.db")) as database:
        database.execute(
            "DELETE FROM run WHERE hex(run_id) = ?", [run["id"].replace("-", "").upper()]
        )
        database.commit()
    found = proof(fleet, "tick", code=1)
    (fault,) = found["faults"]
    assert (fault["fault"], fault["worker"], fault["count"]) == ("hole", "leia", 1)
    assert fault["first"] == run["slot"]
    assert proof(fleet, "--worker", "luke")["proven"] is True
    told = fleet.cli("verify", "tick", code=1)
    assert "1 fault" in told.stderr


def test_what_was_printed_is_what_is_stored(fleet: Fleet) -> None:
    run = fleet.runs("tick", verdict="ok")[0]["id"]
    assert "its output is whole" in fleet.cli("show", run, "--check").stderr


def test_what_a_dead_worker_will_not_tell_is_given_up(fleet: Fleet) -> None:
    fleet.workers["leia"].kill()
    fleet.until(
        lambda: words(proof(fleet, "--worker", "leia", code=None)).get("unknown", 0) > 2,
        "it is unknown",
        40,
    )
    given = json.loads(fleet.cli("give-up", "--worker", "leia", "--yes", "-o", "json").stdout)
    assert given["count"] > 2
    counts = words(proof(fleet, "--worker", "leia", code=None))
    assert counts["lost"] >= given["count"]
    fleet.workers["leia"].start()
    fleet.until(
        lambda: (
            not {"lost", "unknown", "late"}
            & set(words(proof(fleet, "--worker", "leia", code=None)))
        ),
        "its own word takes the place of lost",
        40,
    )
