"""The whole of barto on MariaDB, and with mariadbd killed, away and back again."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Iterator
from functools import partial

import pytest

from tests.acceptance.crashes import WORKERS, all_is_there_though, begin, each_second_is_there
from tests.acceptance.fleet import Fleet
from tests.mariadb import MariaDB

LINES = 900_000
COUNTED = f"seq -f '%011.0f' 1 {LINES}"
"""Prints 10.8 MB, each line of it 12 bytes with the newline."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    with MariaDB(tmp_path_factory.mktemp("mariadb")) as database:
        yield database


@pytest.fixture(scope="module")
def fleet(database: MariaDB) -> Iterator[Fleet]:
    settings = f'[mariadb]\nport = {database.port}\npassword = "{database.password}"\n'
    with Fleet(settings) as fleet:
        begin(fleet)
        yield fleet


def test_ends_are_exact(fleet: Fleet) -> None:
    run = fleet.run_once("ends", "leia", ["exit 0", "echo oh no >&2; kill -KILL $$"])
    (shown,) = json.loads(fleet.cli("runs", "-s", "ends", "-o", "json").stdout)
    assert (shown["verdict"], shown["exit_code"], shown["signal"]) == ("failed", None, 9)
    rows = fleet.query(
        "SELECT e.exit_code, e.signal FROM exit_status e JOIN run r ON r.run_id = e.run_id "
        "WHERE r.schedule = 'ends' ORDER BY e.step"
    )
    assert [(row["exit_code"], row["signal"]) for row in rows] == [(0, None), (None, 9)]
    assert fleet.output(run["id"], "stderr") == b"oh no\n"


def test_ten_megabytes_agree_by_their_hash(fleet: Fleet, database: MariaDB) -> None:
    run = fleet.run_once("whole", "luke", [COUNTED], output_max="20MiB", seconds=60)
    rows = database.sql(
        f"SELECT HEX(data) FROM output WHERE run_id = UNHEX('{run['id'].replace('-', '')}') "
        "ORDER BY attempt, chunk_no"
    )
    printed = b"".join(b"%011d\n" % number for number in range(1, LINES + 1))
    stored = b"".join(bytes.fromhex(row[0]) for row in rows)
    assert hashlib.sha256(stored).hexdigest() == hashlib.sha256(printed).hexdigest()


def test_nothing_is_lost_or_twice_when_the_server_is_killed(fleet: Fleet) -> None:
    def trouble() -> None:
        fleet.server.kill()
        fleet.start_server()

    all_is_there_though(fleet, "server-killed", trouble)
    each_second_is_there(fleet)


def test_nothing_is_lost_or_twice_when_mariadbd_is_killed(fleet: Fleet, database: MariaDB) -> None:
    said = fleet.server.log.count("the database is away")

    def trouble() -> None:
        database.kill()
        fleet.until(lambda: fleet.request("/readyz")[0] == 503, "bartos says it is not ready")
        assert fleet.api("/healthz") == {"status": "ok"}
        database.start()
        fleet.until(fleet.is_ready, "bartos is ready again")

    all_is_there_though(fleet, "mariadbd-killed", trouble)
    each_second_is_there(fleet)
    assert fleet.server.log.count("the database is away") == said + 1


def test_a_database_that_is_away_at_start_is_waited_for(fleet: Fleet, database: MariaDB) -> None:
    assert fleet.server.ends(signal.SIGTERM) == 0
    database.kill()
    said = fleet.server.log.count("the database does not answer")
    fleet.start_server(ready=False)
    fleet.until(
        lambda: fleet.server.log.count("the database does not answer") > said, "bartos says so"
    )
    fleet.until(lambda: fleet.request("/readyz")[0] == 503, "bartos says it is not ready")
    assert fleet.api("/healthz") == {"status": "ok"}
    database.start()
    fleet.until(fleet.is_ready, "bartos goes on")
    assert fleet.server.log.count("the database does not answer") == said + 1
    for name in WORKERS:
        fleet.until(partial(fleet.is_connected, name), f"{name} is back")
    each_second_is_there(fleet)
