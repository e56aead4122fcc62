"""A server whose own database has no room, or is somebody else's for a while: nothing that is not
stored is acknowledged, workers go on, and all of it comes later."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator

import pytest

from tests.acceptance.crashes import each_second_is_there
from tests.acceptance.fleet import Fleet, schedule
from tests.small_disk import fill, free, small_disk

WORKERS = ("leia", "vader")
GOES_ON_S = 5.0
SECONDS = 4
AWAY, BACK = "the database is away", "the database is back"


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet() as fleet, small_disk(fleet.state, "64m"):
        fleet.start_server()
        fleet.join(*WORKERS)
        fleet.start_workers()
        fleet.schedules("tick", schedule("tick", "*", "*:*:*", ["seq 60000"]))
        fleet.until(lambda: len(fleet.runs("tick")) > 3, "all have begun")
        yield fleet
        for program in (fleet.server, *fleet.workers.values()):
            program.kill()


def stored(fleet: Fleet) -> int:
    """How many records of the workers are in the database."""
    with sqlite3.connect(f"file:{fleet.state / 'barto.db'}?mode=ro", uri=True) as connection:
        return int(connection.execute("SELECT sum(seq) FROM spool_mark").fetchone()[0])


def acknowledged(fleet: Fleet) -> int:
    """How many records the workers were told to be stored."""
    total = 0
    for worker in fleet.workers.values():
        file = worker.state / "journal.db"
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
            total += connection.execute("SELECT sum(acknowledged) FROM lane").fetchone()[0]
    return total


def all_is_told(fleet: Fleet) -> None:
    each_second_is_there(fleet, WORKERS)
    assert fleet.api("/api/v1/ranges")["ranges"] == []
    assert "Traceback" not in fleet.server.log


def test_what_has_no_room_is_not_acknowledged_and_comes_later(fleet: Fleet) -> None:
    fill(fleet.state)
    fleet.until(lambda: AWAY in fleet.server.log, "bartos says that it cannot write")
    before = time.time()
    fleet.until(lambda: time.time() > before + SECONDS, "some seconds pass")
    assert acknowledged(fleet) <= stored(fleet)
    free(fleet.state)
    fleet.until(lambda: BACK in fleet.server.log, "it goes on by itself", GOES_ON_S)
    all_is_told(fleet)


def test_a_database_that_somebody_else_locks_is_waited_for(fleet: Fleet) -> None:
    connection = sqlite3.connect(fleet.state / "barto.db", isolation_level=None, timeout=10)
    connection.execute("BEGIN IMMEDIATE")
    before, known = time.time(), stored(fleet)
    fleet.until(lambda: time.time() > before + SECONDS, "some seconds pass")
    assert stored(fleet) == known
    assert acknowledged(fleet) <= known
    connection.execute("ROLLBACK")
    connection.close()
    all_is_told(fleet)
