"""`query`: the operator's SELECT gets its rows, and nothing that writes, reads files or waits."""

from __future__ import annotations

import resource
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartos.store.port import QueryLimits, RunFilter
from bartos.store.query import checked
from bartos.store.settings import SqliteSettings, StoreSettings
from bartos.store.sql import SqlStore
from libbarto.errors import UserError
from tests.contract.test_store import Reporter, chunk, claimed, ended, fresh_database, status
from tests.mariadb import MariaDB

real = pytest.mark.real_loop
LIMITS = QueryLimits(rows=100, bytes=100_000, seconds=1.0)

HOSTILE = [
    "",
    ";",
    "DELETE FROM run",
    "DROP TABLE run",
    "UPDATE run SET reason = ''",
    "INSERT INTO event VALUES (1, 2, 'x', 'y', 'z')",
    "REPLACE INTO event VALUES (1, 2, 'x', 'y', 'z')",
    "TRUNCATE run",
    "CREATE TABLE evil (a int)",
    "CREATE TEMPORARY TABLE evil (a int)",
    "ALTER TABLE run ADD evil int",
    "GRANT ALL ON *.* TO evil",
    "SET GLOBAL read_only = 0",
    "SET SESSION TRANSACTION READ WRITE",
    "SET STATEMENT max_statement_time=0 FOR SELECT 1",
    "COMMIT",
    "COMMIT; INSERT INTO event VALUES (1, 2, 'x', 'y', 'z')",
    "SELECT 1; DROP TABLE run",
    "SELECT 1; COMMIT; DELETE FROM run",
    "SELECT 1;;SELECT 2",
    "SELECT 1 INTO OUTFILE '/tmp/barto-evil'",
    "SELECT 1 INTO DUMPFILE '/tmp/barto-evil'",
    "SELECT 1 INTO @x",
    "SELECT @x := 1",
    "SELECT @@global.version",
    "SELECT @@datadir",
    "SELECT LOAD_FILE('/etc/passwd')",
    "SELECT load_file(0x2f6574632f706173737764)",
    "SELECT GET_LOCK('x', 100)",
    "SELECT RELEASE_LOCK('x')",
    "SELECT SLEEP(100)",
    "SELECT sleep /* */ (100)",
    "SELECT BENCHMARK(1000000000, SHA2('x', 512))",
    "SELECT * FROM run FOR UPDATE",
    "SELECT * FROM run LOCK IN SHARE MODE",
    "SELECT 1 /*! INTO OUTFILE '/tmp/barto-evil' */",
    "SELECT 1 /*!50000 + 1 */",
    "SELECT /*M! 1 + */ 1",
    "SELECT * FROM mysql.user",
    "SELECT * FROM `mysql`.`user`",
    "SELECT * FROM mysql . global_priv",
    "SELECT * FROM information_schema.processlist",
    "SELECT * FROM performance_schema.threads",
    "SELECT * FROM sys.session",
    "SELECT * FROM run PROCEDURE ANALYSE()",
    "CALL evil()",
    "DO SLEEP(100)",
    "HANDLER run OPEN",
    "LOAD DATA INFILE '/etc/passwd' INTO TABLE event",
    "PREPARE evil FROM 'DROP TABLE run'",
    "EXECUTE IMMEDIATE 'DROP TABLE run'",
    "KILL 1",
    "SHUTDOWN",
    "FLUSH TABLES",
    "LOCK TABLES run WRITE",
    "ATTACH DATABASE '/tmp/barto-evil' AS evil",
    "PRAGMA writable_schema = 1",
    "PRAGMA query_only = 0",
    "VACUUM INTO '/tmp/barto-evil'",
    "SELECT load_extension('evil')",
    "WITH x AS (SELECT 1) DELETE FROM run",
    "WITH x AS (SELECT 1) INSERT INTO event SELECT 1, 2, 'x', 'y', 'z'",
    "EXPLAIN DELETE FROM run",
    "EXPLAIN UPDATE run SET reason = ''",
    "ANALYZE UPDATE run SET reason = ''",
    "SELECT 'a' -- '\n; DROP TABLE run",
    "SELECT 'a\\'; DROP TABLE run; --",
    'SELECT "a; DROP TABLE run',
    "(SELECT 1)",
    "SELECT NEXTVAL(evil)",
    "SELECT SETVAL(evil, 1)",
]
SLOW = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)"
    " SELECT count(*) FROM n a, n b, n c, n d"
)


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    with MariaDB(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture(params=["sqlite", "mariadb"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> StoreSettings:
    if request.param == "sqlite":
        return SqliteSettings(tmp_path / "barto.db")
    return fresh_database(request.getfixturevalue("mariadb"))


@asynccontextmanager
async def filled(settings: StoreSettings) -> AsyncIterator[SqlStore]:
    """A store with three runs."""
    store = SqlStore(settings)
    await store.open()
    reporter = Reporter(store)
    await reporter.connect()
    for number in (1, 2, 3):
        await reporter.state(claimed(number), status(number), ended(number))
        await reporter.output(chunk(number, 0, b"100% \x00\xff\n"))
    try:
        yield store
    finally:
        await store.close()


@real
async def test_rows_come_with_their_types(settings: StoreSettings) -> None:
    async with filled(settings) as store:
        found = await store.query(
            "SELECT worker, count(*), NULL AS nil, 1.5, 'it''s 100%', -7 AS n, worker"
            " FROM run WHERE worker LIKE 'w%' GROUP BY worker;",
            LIMITS,
        )
        assert found.columns[0] == "worker"
        assert found.columns[2] == "nil"
        assert found.rows == (("web1", 3, None, 1.5, "it's 100%", -7, "web1"),)
        assert not found.truncated


@real
async def test_output_is_searched_and_comes_as_bytes(settings: StoreSettings) -> None:
    async with filled(settings) as store:
        found = await store.query("SELECT data FROM output WHERE chunk_no = 0", LIMITS)
        assert set(found.rows) == {(b"100% \x00\xff\n",)}


@real
@pytest.mark.parametrize("view", ["runs", "slots", "output_v1", "exit_status_v1"])
async def test_views_for_people_answer(settings: StoreSettings, view: str) -> None:
    async with filled(settings) as store:
        found = await store.query(f"SELECT * FROM {view}", LIMITS)
        assert len(found.rows) == (0 if view == "slots" else 3)
        if view == "runs":
            row = dict(zip(found.columns, found.rows[0], strict=True))
            assert str(row["planned"]).startswith("2027-01-15 08:00:00.00")
            assert (row["verdict"], row["late_s"]) == ("ok", 0.000005)
            assert len(str(row["run"])) == 36


@real
async def test_queries_for_barto_1_find_their_columns(settings: StoreSettings) -> None:
    async with filled(settings) as store:
        found = await store.query(
            "SELECT bartoc_name, cmd_name, kind, data, exit_code, success"
            " FROM output_v1 o JOIN exit_status_v1 e ON o.cmd_uuid = e.cmd_uuid"
            " WHERE kind = 'stdout' ORDER BY o.timestamp",
            LIMITS,
        )
        assert found.rows[0] == ("web1", "backup", "stdout", b"100% \x00\xff\n", 0, 1)


@real
async def test_rows_and_bytes_are_bounded(settings: StoreSettings) -> None:
    async with filled(settings) as store:
        few = await store.query("SELECT * FROM run", QueryLimits(2, 100_000, 1.0))
        assert (len(few.rows), few.truncated) == (2, True)
        small = await store.query("SELECT data FROM output", QueryLimits(100, 12, 1.0))
        assert (len(small.rows), small.truncated) == (1, True)


@real
async def test_rows_beyond_the_bounds_are_never_taken_in(settings: StoreSettings) -> None:
    """Two gigabytes are asked for: only as much as is kept comes."""
    big = "a" * 1000
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)"
    async with filled(settings) as store:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = await store.query(
            f"{numbers} SELECT '{big}', a.i FROM n a, n b, n c",
            QueryLimits(rows=1000, bytes=10_000_000, seconds=5.0),
        )
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert (len(found.rows), found.truncated) == (1000, True)
        assert grown < 50_000, "kilobytes"
        again = await store.query("SELECT count(*), '100%', ':x' FROM run", LIMITS)
        assert again.rows == ((3, "100%", ":x"),)


@real
async def test_a_query_that_takes_too_long_is_stopped(settings: StoreSettings) -> None:
    async with filled(settings) as store:
        began = time.monotonic()
        with pytest.raises(UserError, match="took longer than 1 s"):
            await store.query(SLOW, LIMITS)
        assert time.monotonic() - began < 3
        assert len((await store.query("SELECT * FROM run", LIMITS)).rows) == 3


@real
async def test_the_databases_own_words_are_told(settings: StoreSettings) -> None:
    async with filled(settings) as store:
        for sql in ("SELECT nothing FROM run", "SELECT * FROM nowhere", "SELECT FROM"):
            with pytest.raises(UserError, match="the database says"):
                await store.query(sql, LIMITS)


@real
async def test_hostile_statements_change_nothing(settings: StoreSettings) -> None:
    async with filled(settings) as store:
        before = await store.runs(RunFilter())
        for sql in HOSTILE:
            began = time.monotonic()
            with pytest.raises(UserError):
                await store.query(sql, LIMITS)
            assert time.monotonic() - began < LIMITS.seconds + 1, sql
        assert await store.runs(RunFilter()) == before
        assert not any(Path("/tmp").glob("barto-evil*"))  # noqa: ASYNC240
        events = await store.query("SELECT count(*) FROM event", LIMITS)
        assert events.rows == ((0,),)


@given(st.text(max_size=100))
def test_any_text_is_a_statement_or_an_error(text: str) -> None:
    try:
        checked("SELECT " + text)
    except UserError:
        return


def test_quotes_and_comments_hide_what_is_in_them() -> None:
    for sql in (
        "SELECT 'DROP; INTO @x' FROM run",
        'SELECT "delete" FROM run -- DELETE',
        "SELECT 1 /* SLEEP(9); */ + 1",
        "select `into` from run",
        "WITH x AS (SELECT 1) SELECT * FROM x ; ",
    ):
        assert checked(sql)


def test_the_fault_is_marked() -> None:
    with pytest.raises(UserError) as told:
        checked("SELECT 1; DROP TABLE run")
    assert str(told.value).splitlines()[-1].index("^") == 4 + len("SELECT 1")
