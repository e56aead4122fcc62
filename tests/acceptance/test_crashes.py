"""Whatever is killed while commands run and print, all of it is in the embedded database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.crashes import WORKERS, all_is_there_though, begin, each_second_is_there
from tests.acceptance.fleet import Fleet


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet() as fleet:
        begin(fleet)
        yield fleet


def test_nothing_is_lost_or_twice_when_the_server_is_killed(fleet: Fleet) -> None:
    def trouble() -> None:
        fleet.server.kill()
        fleet.start_server()

    all_is_there_though(fleet, "server-killed", trouble)
    each_second_is_there(fleet)
    assert fleet.api("/api/v1/ranges")["ranges"] == []  # workers fire by themselves


def test_nothing_is_lost_or_twice_when_bartoc_is_killed(fleet: Fleet) -> None:
    def trouble() -> None:
        for worker in fleet.workers.values():
            worker.kill()
        fleet.start_workers()

    all_is_there_though(fleet, "bartoc-killed", trouble)
    each_second_is_there(fleet)


def test_nothing_is_lost_or_twice_when_both_are_killed(fleet: Fleet) -> None:
    def trouble() -> None:
        for program in (*fleet.workers.values(), fleet.server):
            program.kill()
        fleet.start_server()
        fleet.start_workers()

    all_is_there_though(fleet, "both-killed", trouble)
    each_second_is_there(fleet)


def test_a_lost_database_is_filled_again_by_the_workers(fleet: Fleet) -> None:
    def trouble() -> None:
        fleet.server.kill()
        for file in fleet.state.glob("barto.db*"):
            file.unlink()
        fleet.start_server()

    before = {run["id"] for run in fleet.until(fleet.runs, "something has run")}
    runs = all_is_there_though(fleet, "database-lost", trouble)
    assert len(runs) == len(WORKERS)  # nothing ran twice
    fleet.until(lambda: before <= {run["id"] for run in fleet.runs()}, "what ran before is back")
    each_second_is_there(fleet)
