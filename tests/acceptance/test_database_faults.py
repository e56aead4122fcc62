"""A MariaDB that stops for a minute, takes no writes or keeps a table to itself: no session and no
verdict minds, and nothing is acknowledged that is not stored."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.acceptance.crashes import each_second_is_there, seconds
from tests.acceptance.fleet import Fleet, Json, schedule
from tests.mariadb import MariaDB, program

STOPPED_S = 60.0
LOCKED_S = 5.0
SOON_S = 10.0
WORKERS = ("leia", "vader")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    with MariaDB(tmp_path_factory.mktemp("mariadb")) as database:
        yield database


@pytest.fixture(scope="module")
def fleet(database: MariaDB) -> Iterator[Fleet]:
    settings = f'[mariadb]\nport = {database.port}\npassword = "{database.password}"\n'
    with Fleet(settings) as fleet:
        fleet.start_server()
        fleet.join(*WORKERS)
        fleet.start_workers()
        fleet.schedules("tick", schedule("tick", "*", "*:*:*", ["echo tick"]))
        fleet.until(lambda: len(fleet.runs("tick")) > 3, "all have begun")
        yield fleet


def pass_time(wait: float) -> None:
    threading.Event().wait(wait)


def all_is_told(fleet: Fleet) -> list[Json]:
    """Every second up to now has its run, told soon; the runs."""
    each_second_is_there(fleet, WORKERS)
    assert fleet.api("/api/v1/ranges")["ranges"] == []
    return [run for run in fleet.runs("tick") if run["complete"]]


def lag(run: Json) -> float:
    """From a slot to the end of its run."""
    return datetime.fromisoformat(run["ended"]).timestamp() - seconds(run["slot"])


def test_a_minute_without_it_costs_no_session_and_no_verdict_its_time(
    fleet: Fleet, database: MariaDB
) -> None:
    database_pid = database.pid
    before = len(fleet.server.log)
    os.kill(database_pid, signal.SIGSTOP)
    try:
        pass_time(STOPPED_S)
    finally:
        os.kill(database_pid, signal.SIGCONT)
    until = time.monotonic() + SOON_S
    runs = all_is_told(fleet)
    assert time.monotonic() < until
    said = fleet.server.log[before:].splitlines()
    assert [line for line in said if "worker left" in line] == [], said
    assert sorted(map(lag, runs))[len(runs) * 9 // 10] < 1.0


def test_what_it_does_not_write_is_not_acknowledged(fleet: Fleet, database: MariaDB) -> None:
    database.sql("SET GLOBAL read_only = 1;")
    try:
        pass_time(LOCKED_S)
        before = stored(database)
        pass_time(1.5)
        assert stored(database) == before
    finally:
        database.sql("SET GLOBAL read_only = 0;")
    all_is_told(fleet)


def stored(database: MariaDB) -> int:
    return int(database.sql("SELECT count(*) FROM run;")[0][0])


def test_a_table_that_somebody_else_holds_is_waited_for(fleet: Fleet, database: MariaDB) -> None:
    client = subprocess.Popen(
        [
            *(program("mariadb"), "--no-defaults", f"--host={database.host}"),
            *(f"--port={database.port}", f"--user={database.user}"),
            *(f"--password={database.password}", database.database),
            *("-e", f"LOCK TABLES run WRITE, output WRITE; SELECT SLEEP({LOCKED_S})"),
        ],
        stdout=subprocess.DEVNULL,
    )
    assert client.wait(30) == 0
    all_is_told(fleet)


def test_where_it_takes_no_more_connections_those_that_are_go_on(
    fleet: Fleet, database: MariaDB
) -> None:
    ((most,),) = database.sql("SELECT @@GLOBAL.max_connections;")
    database.sql("SET GLOBAL max_connections = 10;")
    try:
        pass_time(LOCKED_S)
    finally:
        database.sql(f"SET GLOBAL max_connections = {most};")
    all_is_told(fleet)
    assert "Traceback" not in fleet.server.log
