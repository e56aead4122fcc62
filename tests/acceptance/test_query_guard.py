"""What got through `query` once, or could: a text that our reading and the database's take for
different statements, and work that no watchdog can stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bartos.store.port import QueryLimits, RunFilter
from bartos.store.query import _stream, checked
from bartos.store.settings import SqliteSettings, StoreSettings
from libbarto.errors import UserError
from tests.acceptance.test_query import SLOW, filled
from tests.contract.test_store import fresh_database
from tests.mariadb import MariaDB

real = pytest.mark.real_loop
LIMITS = QueryLimits(rows=100, bytes=100_000, seconds=1.0)

WRITES = "COMMIT; SET SESSION TRANSACTION READ WRITE; DELETE FROM run; COMMIT; SELECT 1\n, 7"
BEHIND = (
    f"; {WRITES}",
    ", SLEEP(100)\n, 7",
    ", @@datadir\n, 7",
    ", @x := 1\n, 7",
    ", GET_LOCK('x', 1)\n, 7",
    ", LOAD_FILE('/etc/passwd')\n, 7",
    ", BENCHMARK(1000000000, SHA2('x', 512))\n, 7",
    " INTO OUTFILE '{evil}'\nFIELDS TERMINATED BY ','",
    " INTO DUMPFILE '{evil}'\n",
    " FROM run FOR UPDATE\nNOWAIT",
    " FROM run LOCK IN SHARE MODE\n",
    ", table_name FROM information_schema.tables\nLIMIT 1",
    ", user FROM mysql.user\nLIMIT 1",
)
"""What MariaDB runs behind a `--` without a blank, and a reader of comments leaves out."""

HOSTILE = [
    *(f"SELECT 5--1{rest}" for rest in BEHIND),
    *(f"SELECT 5--\xa01{rest}" for rest in BEHIND),
    *(f"SELECT 5 /* */ --/**/1{rest}" for rest in BEHIND),
    "SELECT `SLEEP`(100)",
    "SELECT `sleep` (100)",
    "SELECT `sleep` /* */ (100)",
    'SELECT "sleep"(100)',
    "SELECT `GET_LOCK`('x', 1)",
    "SELECT `RELEASE_ALL_LOCKS`()",
    "SELECT `LOAD_FILE`('/etc/passwd')",
    "SELECT `BENCHMARK`(1000000000, 1)",
    "SELECT `load_extension`('evil')",
    "SELECT RELEASE_ALL_LOCKS()",
    "EXPLAIN REPLACE event VALUES (1, 2, 'x', 'y', 'z')",
    "EXPLAIN EXTENDED REPLACE event VALUES (1, 2, 'x', 'y', 'z')",
    "EXPLAIN FOR CONNECTION 1",
    "EXPLAIN run",
    "EXPLAIN",
    "EXPLAIN QUERY PLAN DELETE FROM run",
    "EXPLAIN FORMAT=JSON UPDATE run SET reason = ''",
    "SELECT * FROM .information_schema.tables",
    "SELECT * FROM x.information_schema.tables",
    "SELECT * FROM `information_schema` . `tables`",
    "SELECT * FROM other.secret",
    "SELECT * FROM alembic.alembic_version",
]
ENDLESS = {
    "sqlite": "SELECT instr(hex(zeroblob(450000)), hex(zeroblob(225000)) || '1')",
    "mariadb": "SELECT LOCATE(CONCAT(REPEAT('a', 80000), 'b'), REPEAT('a', 180000))",
}
"""Seconds within one call of a function, where neither database looks whether it is to stop."""


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    with MariaDB(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture(params=["sqlite", "mariadb"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> StoreSettings:
    if kind == "sqlite":
        return SqliteSettings(tmp_path / "barto.db")
    return fresh_database(request.getfixturevalue("mariadb"))


@real
async def test_what_is_read_in_two_ways_is_refused(settings: StoreSettings, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    async with filled(settings) as store:
        before = await store.runs(RunFilter())
        for sql in HOSTILE:
            began = time.monotonic()
            with pytest.raises(UserError):
                await store.query(sql.replace("{evil}", str(evil)), LIMITS)
            assert time.monotonic() - began < LIMITS.seconds + 1, sql
        assert await store.runs(RunFilter()) == before
        assert not evil.exists()


@real
async def test_mariadb_runs_one_statement_even_where_nobody_looked(mariadb: MariaDB) -> None:
    """The driver lets several through; the statement is not looked at here."""
    from asyncmy.errors import MySQLError

    async with filled(fresh_database(mariadb)) as store:
        async with store._engines.lone() as connection:
            with pytest.raises(MySQLError, match="syntax"):
                await _stream(connection, f"SELECT 1; {WRITES}", LIMITS)
        assert len(await store.runs(RunFilter())) == 3


@real
async def test_quotes_end_where_we_saw_them_end(mariadb: MariaDB) -> None:
    settings = fresh_database(mariadb)
    async with filled(settings) as store:
        found = await store.query("SELECT 'a\\'b', \"c\"", LIMITS)
        assert found.rows == (("a'b", "c"),)


@real
async def test_work_within_one_function_is_answered_in_time(
    kind: str, settings: StoreSettings
) -> None:
    async with filled(settings) as store:
        began = time.monotonic()
        with pytest.raises(UserError, match="took longer than 1 s"):
            await store.query(ENDLESS[kind], LIMITS)
        assert time.monotonic() - began < LIMITS.seconds + 1
        assert len((await store.query("SELECT * FROM run", LIMITS)).rows) == 3


@real
async def test_a_query_ends_when_its_asker_leaves(mariadb: MariaDB) -> None:
    async with filled(fresh_database(mariadb)) as store:
        asked = asyncio.create_task(store.query(SLOW, QueryLimits(10, 1000, 25.0)))
        running = (
            "SELECT count(*) FROM information_schema.processlist WHERE LOCATE('n a, n b', info)"
        )
        running += " AND id <> CONNECTION_ID()"

        async def until(wanted: int) -> None:
            async with asyncio.timeout(10):
                while True:
                    async with store._engines.read() as connection:
                        if (await connection.exec_driver_sql(running)).scalar_one() == wanted:
                            return

        await until(1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await until(0)


@real
async def test_an_id_that_is_none_finds_no_run(settings: StoreSettings) -> None:
    async with filled(settings) as store:
        for prefix in ("zz", "0 1", "f" * 33):
            assert await store.runs_like(prefix) == []


def test_a_comment_may_stand_where_both_databases_see_it() -> None:
    for sql in (
        "SELECT 1 -- one",
        "SELECT 1 --\n+ 1",
        "SELECT 1 --",
        "SELECT 5 - -1",
        "SELECT '--1'",
    ):
        assert checked(sql)
    assert checked("EXPLAIN QUERY PLAN SELECT 1")
    assert checked("EXPLAIN FORMAT=JSON WITH x AS (SELECT 1) SELECT * FROM x")
