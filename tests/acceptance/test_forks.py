"""A state directory that was copied, and stores that were restored from a copy: real files, real
databases."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.acceptance.crashes import each_second_is_there
from tests.acceptance.fleet import Fleet, Json, Worker, schedule
from tests.mariadb import MariaDB, program

NOTICED_S = 15.0
BACK_S = 30.0


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with Fleet() as fleet:
        fleet.start_server()
        fleet.join("vader")
        fleet.start_workers()
        yield fleet


def alarm(fleet: Fleet) -> str:
    (row,) = json.loads(fleet.cli("clients", "-o", "json").stdout)
    return str(row["alarm"] or "")


def events(fleet: Fleet, kind: str) -> list[Json]:
    return fleet.query(f"SELECT * FROM event WHERE kind = '{kind}'")


def test_a_copied_state_directory_is_refused_told_and_comes_back_by_a_reset(fleet: Fleet) -> None:
    witness = fleet.directory / "witness"
    fleet.schedules("tick", schedule("tick", "*", "*:*:*", [f"echo $BARTO_SLOT >>{witness}"]))
    fleet.until(lambda: len(fleet.runs("tick")) > 2, "it runs")
    vader = fleet.workers["vader"]
    copied = fleet.directory / "copy"
    shutil.copytree(vader.home, copied, ignore=shutil.ignore_patterns("*.sock", "keeper.*"))
    twin = Worker(fleet, "vader", copied)
    twin.config.write_text(twin.config.read_text().replace(str(vader.home), str(copied)))
    fleet.workers["twin"] = twin
    twin.start()
    fleet.until(lambda: alarm(fleet), "it is noticed", NOTICED_S)
    assert "epoch" in alarm(fleet) or "record" in alarm(fleet)
    (event,) = events(fleet, "fork")
    assert event["worker"] == "vader"
    assert "copy or was rolled back" in fleet.server.log
    seen = len(witness.read_text().splitlines())
    twin.kill()
    shown = fleet.cli("worker", "reset", "vader", code=2)
    assert "without a terminal say --yes" in shown.stderr
    fleet.cli("worker", "reset", "vader", "--yes", "--reason", "a copy was started")
    fleet.until(
        lambda: fleet.is_connected("vader") and not alarm(fleet), "the worker is back", BACK_S
    )
    assert len(events(fleet, "worker reset")) == 1
    now = time.time()
    fleet.until(lambda: [run for run in fleet.runs("tick") if _slot(run) > now + 1], "it goes on")
    slots = [run["slot"] for run in fleet.runs("tick")]
    assert len(slots) == len(set(slots))
    after = witness.read_text().splitlines()[seen + 2 :]
    assert len(after) == len(set(after)), "nothing twice once it was noticed"


def _slot(run: Json) -> float:
    return datetime.fromisoformat(run["slot"]).timestamp()


def goes_back(fleet: Fleet, save: Callable[[], None], restore: Callable[[], None]) -> None:
    """Save the database, go on for some seconds, put the saved one in its place: nothing is lost,
    and nothing is there twice."""
    fleet.schedules("tick", schedule("tick", "*", "*:*:*", ["echo tick; seq 100"]))
    fleet.until(lambda: len(fleet.runs("tick")) > 3, "it runs")
    save()
    saved = len(fleet.runs("tick"))
    fleet.until(lambda: len(fleet.runs("tick")) > saved + 4, "it goes on")
    now = time.time()
    fleet.until(lambda: [run for run in fleet.runs("tick") if _slot(run) > now], "it goes on")
    known = [run for run in fleet.runs("tick") if run["complete"]]
    assert len(known) > saved
    printed = {run["id"]: fleet.output(run["id"]) for run in known}
    fleet.server.kill()
    restore()
    fleet.start_server()
    fleet.until(
        lambda: {run["id"] for run in known} <= {r["id"] for r in fleet.runs() if r["complete"]},
        "what the saved one lacks is back",
    )
    for run_id, data in printed.items():
        assert fleet.output(run_id) == data
    each_second_is_there(fleet, ("vader",))
    fleet.until(lambda: events(fleet, "restored"), "the history says that it was restored")


def test_an_older_copy_of_the_embedded_database_is_filled_again(fleet: Fleet) -> None:
    database = fleet.state / "barto.db"
    copy = fleet.directory / "older.db"

    def save() -> None:
        source, target = sqlite3.connect(database), sqlite3.connect(copy)
        with source, target:
            source.backup(target)
        source.close()
        target.close()

    def restore() -> None:
        for file in fleet.state.glob("barto.db*"):
            file.unlink()
        shutil.copy(copy, database)

    goes_back(fleet, save, restore)


def test_a_dump_of_mariadb_is_filled_again(tmp_path: Path) -> None:
    with MariaDB(tmp_path / "db") as database:
        settings = f'[mariadb]\nport = {database.port}\npassword = "{database.password}"\n'
        with Fleet(settings) as fleet:
            fleet.start_server()
            fleet.join("vader")
            fleet.start_workers()
            dump = fleet.directory / "dump.sql"

            def save() -> None:
                command = [
                    *(program("mariadb-dump"), "--no-defaults", "--single-transaction"),
                    *("--hex-blob", f"--host={database.host}", f"--port={database.port}"),
                    *(f"--user={database.user}", f"--password={database.password}"),
                    database.database,
                ]
                with dump.open("wb") as file:
                    subprocess.run(command, stdout=file, check=True, timeout=60)

            def restore() -> None:
                name = database.database
                database.sql(f"DROP DATABASE {name}; CREATE DATABASE {name};")
                database.sql(dump.read_text(errors="surrogateescape"))

            goes_back(fleet, save, restore)


def test_a_journal_that_was_damaged_costs_an_alarm_and_nothing_twice(fleet: Fleet) -> None:
    witness = fleet.directory / "witness"
    fleet.schedules("tick", schedule("tick", "*", "*:*:*", [f"echo $BARTO_SLOT >>{witness}"]))
    fleet.until(lambda: len(fleet.runs("tick")) > 3, "it runs")
    vader = fleet.workers["vader"]
    vader.kill()
    log = vader.state / "journal.db-wal"  # most of it is there still
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size // 2)
    fleet.start_workers("vader")
    fleet.until(lambda: events(fleet, "journal_salvaged"), "the history says so")
    now = time.time()
    fleet.until(lambda: [run for run in fleet.runs("tick") if _slot(run) > now + 2], "it goes on")
    assert "the journal was set aside" in vader.log
    assert len(list(vader.state.glob("journal.db.damaged-*Z"))) == 1
    assert not alarm(fleet), "it is no fork"
    slots = [run["slot"] for run in fleet.runs("tick")]
    begun = witness.read_text().split()
    assert len(slots) == len(set(slots))
    assert len(begun) == len(set(begun))
