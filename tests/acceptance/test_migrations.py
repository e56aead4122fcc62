"""Migrations arrive at the declared schema on both databases, up and down, with data in them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect

from bartos.store.engines import Engines
from bartos.store.migrating import LOCK, SCRIPTS, alembic_config, bring_up, migrate, pending
from bartos.store.port import RunFilter
from bartos.store.settings import MariaDbSettings, SqliteSettings, StoreSettings
from bartos.store.sql import SqlStore
from bartos.store.tables import metadata
from libbarto.errors import ConfigError, StoreUnavailable
from libbarto.message.v2.record import Decided, Verdict
from tests.contract.test_store import NOON, SCHEDULE, Reporter, claimed, ended, fresh_database
from tests.mariadb import MariaDB, free_port

T = TypeVar("T")

NUMBERS = sorted(path.name[1:5] for path in (SCRIPTS / "versions").glob("r*.py"))
STEPS = len(NUMBERS)

pytestmark = pytest.mark.real_loop


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    with MariaDB(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture(params=["sqlite", "mariadb"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> StoreSettings:
    if request.param == "sqlite":
        return SqliteSettings(tmp_path / "barto.db")
    return fresh_database(request.getfixturevalue("mariadb"))


async def on(settings: StoreSettings, work: Callable[[Connection], T]) -> T:
    engines = Engines(settings)
    engines.open()
    try:
        async with engines.bare() as connection:
            found = await connection.run_sync(work)
            await connection.commit()
            return found
    finally:
        await engines.close()


def difference(connection: Connection) -> list[object]:
    """What the database has otherwise than it is declared."""
    context = MigrationContext.configure(
        connection,
        opts={
            "compare_type": True,
            "target_metadata": metadata,
            "include_name": lambda name, *_: name != LOCK.name,
        },
    )
    return list(compare_metadata(context, metadata))


def missed(count: int) -> Decided:
    return Decided(
        schedule_uid=SCHEDULE, schedule="backup", first_slot=NOON + count, last_slot=NOON + count,
        count=count, verdict=int(Verdict.MISSED),
    )  # fmt: skip


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version", LOCK.name}


async def test_migrations_arrive_at_what_is_declared(settings: StoreSettings) -> None:
    assert len(await pending(settings)) == STEPS
    assert len(await migrate(settings)) == STEPS
    assert await on(settings, difference) == []
    assert await pending(settings) == []
    assert await migrate(settings) == []


async def test_migrations_go_down_and_up_again_with_data(settings: StoreSettings) -> None:
    store = SqlStore(settings)
    await store.open()
    reporter = Reporter(store)
    await reporter.connect()
    await reporter.state(claimed(1), ended(1))
    await store.close()
    await on(settings, lambda c: command.downgrade(alembic_config(c), "0001"))
    assert [step[:4] for step in await pending(settings)] == NUMBERS[1:]
    await store.open()
    assert len(await store.runs(RunFilter())) == 1, "what was stored is still there"
    await store.close()
    await on(settings, lambda c: command.downgrade(alembic_config(c), "base"))
    assert await on(settings, tables) == set()
    assert len(await migrate(settings)) == STEPS
    assert await on(settings, difference) == []


async def test_what_an_older_version_stored_is_taken_over(settings: StoreSettings) -> None:
    store = SqlStore(settings)
    await store.open()
    reporter = Reporter(store)
    await reporter.connect()
    await reporter.state(claimed(1), ended(1, printed=7), claimed(2), missed(5), missed(9))
    await store.close()
    await on(settings, lambda c: command.downgrade(alembic_config(c), "0003"))
    twice = (
        "INSERT INTO slot_range (schedule_uid, schedule, worker_uid, worker, first_slot, last_slot,"
        " count, verdict, reason, decided_at) SELECT schedule_uid, schedule, worker_uid, worker,"
        " first_slot, last_slot, count, verdict, reason, decided_at FROM slot_range"
    )
    await on(settings, lambda c: c.exec_driver_sql(twice))
    await store.open()
    running, over = await store.runs(RunFilter())
    assert (running.complete, over.complete, over.missing_bytes) == (False, True, 0)
    assert [row.count for row in await store.ranges(RunFilter())] == [9, 5]
    await store.close()


async def test_servers_that_start_together_migrate_once(mariadb: MariaDB) -> None:
    """On MariaDB: a SQLite file is one server's alone, by the lock of its state directory."""
    settings = fresh_database(mariadb)
    done = await asyncio.gather(*(migrate(settings) for _ in range(3)))
    assert sorted(len(steps) for steps in done) == [0, 0, STEPS]
    assert await on(settings, difference) == []


async def test_a_step_that_broke_off_is_done_again(settings: StoreSettings) -> None:
    await on(settings, lambda c: c.exec_driver_sql("CREATE TABLE event (id INTEGER PRIMARY KEY)"))
    await on(settings, lambda c: c.exec_driver_sql("DROP TABLE event"))
    await on(settings, metadata.tables["worker"].create)
    assert len(await migrate(settings)) == STEPS
    assert await on(settings, difference) == []


async def test_a_database_of_a_newer_version_is_left_alone(settings: StoreSettings) -> None:
    await migrate(settings)
    await on(settings, lambda c: c.exec_driver_sql("UPDATE alembic_version SET version_num='9999'"))
    for work in (pending, migrate):
        with pytest.raises(ConfigError, match="newer than this bartos"):
            await work(settings)
    with pytest.raises(ConfigError, match="9999"):
        await SqlStore(settings).open()


async def test_sqlite_is_copied_beside_itself_before_a_migration(tmp_path: Path) -> None:
    settings = SqliteSettings(tmp_path / "barto.db")
    await migrate(settings)
    assert not any(tmp_path.glob("*before*")), "it was empty"  # noqa: ASYNC240
    await on(settings, lambda c: command.downgrade(alembic_config(c), "0001"))
    engines = Engines(settings)
    engines.open()
    await bring_up(engines)
    await engines.close()
    copy = tmp_path / "barto.db.before-0001"
    with sqlite3.connect(copy) as connection:
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert revision == "0001"
    assert {path.stat().st_mode & 0o777 for path in (copy, settings.path)} == {0o600}


async def test_a_database_that_does_not_answer_is_away(mariadb: MariaDB) -> None:
    nobody = MariaDbSettings("127.0.0.1", free_port(), None, "u", "secret", "db")
    with pytest.raises(StoreUnavailable):
        await migrate(nobody)
    wrong = MariaDbSettings(mariadb.host, mariadb.port, None, mariadb.user, "wrong", "x")
    with pytest.raises(ConfigError) as told:
        await migrate(wrong)
    assert "wrong" not in str(told.value)


@pytest.mark.parametrize("options", ["ssl=yes please", "sslmode=required", "ssl_ka=/x.pem"])
async def test_an_option_that_nobody_knows_is_refused(options: str) -> None:
    settings = MariaDbSettings(options=options)
    with pytest.raises(ConfigError, match=options.partition("=")[0]):
        await migrate(settings)


async def test_tls_that_is_asked_for_is_not_left_out(mariadb: MariaDB) -> None:
    settings = replace(fresh_database(mariadb), options="ssl=true")
    # This server has no certificate, so a connection would be a plain one.
    with pytest.raises(StoreUnavailable):
        await migrate(settings)


async def test_a_database_that_comes_back_goes_on(tmp_path: Path) -> None:
    with MariaDB(tmp_path) as server:
        settings = MariaDbSettings(
            server.host, server.port, None, server.user, server.password, server.database
        )
        store = SqlStore(settings)
        await store.open()
        reporter = Reporter(store)
        await reporter.connect()
        batch = reporter.batch(claimed(1))
        server.kill()
        with pytest.raises(StoreUnavailable):
            await store.append([batch])
        with pytest.raises(StoreUnavailable):
            await store.ping()
        server.start()
        assert await store.append([batch]) == [True]
        await store.close()
