"""The operator's SQL: one SELECT, on a connection that can only read, bounded in every way.

The statement is looked at first, then run where it can do no harm: on SQLite behind an authorizer
in a thread of its own, on MariaDB in a read-only transaction with a watchdog beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import decimal
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection

from bartos.store.engines import ACCESS_DENIED, Engines
from bartos.store.port import QueryLimits, QueryResult
from bartos.store.settings import SqliteSettings
from libbarto.errors import StoreUnavailable, UserError, marked

SCHEMA_TABLES: Final = frozenset({"sqlite_master", "sqlite_schema", "sqlite_temp_master"})
CELL_MAX: Final = 1_000_000
"""Bytes that one value may have, whatever an expression makes of it."""

PATTERN_MAX: Final = 500
"""Bytes of a pattern of LIKE or GLOB, whose work is the product of both lengths."""

GRACE_S: Final = 0.6
"""How long after its time a query may still be stopped in order. A single call of a function may
heed neither SQLite's progress handler nor MariaDB's KILL: it is answered for without it."""

READABLE: Final = frozenset(
    {
        *("run", "output", "exit_status", "slot_range", "worker", "schedule", "schedule_version"),
        *("spool_mark", "dead_letter", "event", "runs", "slots", "output_v1", "exit_status_v1"),
        *("timing", "applied", "waiting", "refusal", "gap"),
    }
)
"""The tables and views that hold no credential: all that there are, as credentials are in files."""

INTERRUPTED, STATEMENT_TIME = 1317, 1969
"""MariaDB's errors for a query that was killed, or that took its `max_statement_time`."""

_TOKEN: Final = re.compile(
    r"""
    (?P<blank>\s+)
  | (?P<comment>--(?=[ \t\n\r\f\v]|\Z)[^\n]*|\#[^\n]*|/\*(?!!|M!).*?\*/)
  | (?P<executable>/\*M?!)
  | (?P<minuses>--)
  | (?P<string>'(?:[^'\\]|''|\\.)*')
  | (?P<quoted>"(?:[^"\\]|""|\\.)*"|`(?:[^`]|``)*`|\[[^\]]*\])
  | (?P<word>[^\W\d][\w$]*)
  | (?P<number>\d+(?:\.\d+)?)
  | (?P<assign>:=)
  | (?P<variable>@+[\w.$`]*)
  | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_FORBIDDEN: Final = {
    "INTO": "a query writes no file and no variable",
    "OUTFILE": "a query writes no file",
    "DUMPFILE": "a query writes no file",
    "LOAD_FILE": "a query reads no file",
    "GET_LOCK": "a query takes no lock",
    "RELEASE_LOCK": "a query takes no lock",
    "RELEASE_ALL_LOCKS": "a query takes no lock",
    "SLEEP": "a query does not wait",
    "BENCHMARK": "a query does not wait",
    "MASTER_POS_WAIT": "a query does not wait",
    "MASTER_GTID_WAIT": "a query does not wait",
    "NEXTVAL": "a query changes no sequence",
    "SETVAL": "a query changes no sequence",
    "PROCEDURE": "a query calls no procedure",
    "LOAD_EXTENSION": "a query loads nothing",
    "UPDATE": "a query only reads",
    "DELETE": "a query only reads",
    "INSERT": "a query only reads",
    "SHARE": "a query takes no lock",
    "ATTACH": "a query opens no other file",
    "PRAGMA": "a query only reads",
    "HANDLER": "a query only reads",
}
_OF_EXPLAIN: Final = frozenset(
    {"EXPLAIN", "EXTENDED", "PARTITIONS", "FORMAT", "=", "JSON", "TRADITIONAL", "QUERY", "PLAN"}
)
"""What may stand between EXPLAIN and its SELECT."""

_SYSTEM: Final = frozenset({"mysql", "information_schema", "performance_schema", "sys"})
_ALLOWED_ACTIONS: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


def _tokens(sql: str) -> Iterator[_Token]:
    at = 0
    while at < len(sql):
        found = _TOKEN.match(sql, at)
        assert found is not None  # the last alternative takes any character
        assert found.lastgroup is not None
        yield _Token(found.lastgroup, found[0], at)
        at = found.end()


def checked(sql: str) -> str:
    """The statement, without a semicolon behind it. Raises `UserError` unless it is one SELECT
    that asks for nothing but rows."""

    def refuse(message: str, token: _Token) -> UserError:
        return UserError(marked(message, sql, token.start, token.start + len(token.text)))

    words = [token for token in _tokens(sql) if token.kind not in {"blank", "comment"}]
    while words and words[-1].text == ";":
        words.pop()
    if not words:
        raise UserError("the query is empty; one SELECT is wanted")
    end = words[-1].start + len(words[-1].text)
    first = words[0]
    if first.text.upper() not in {"SELECT", "WITH", "EXPLAIN", "VALUES"}:
        raise refuse("a query begins with SELECT (or WITH, or EXPLAIN)", first)
    if first.text.upper() == "EXPLAIN":
        asked = next((token for token in words if token.text.upper() not in _OF_EXPLAIN), first)
        if asked.text.upper() not in {"SELECT", "WITH"}:
            raise refuse("EXPLAIN is for a SELECT", asked)
    for before, token, after in zip([None, *words], words, [*words[1:], None], strict=False):
        upper = token.text.upper()
        if token.text == ";":
            raise refuse("one statement is wanted, not several", token)
        if token.kind == "executable":
            raise refuse("a comment that MariaDB would execute", token)
        if token.kind == "minuses":
            # A comment to SQLite; to MariaDB a minus, and then it would run what looks left out.
            raise refuse("-- begins a comment only with a blank behind it", token)
        if token.kind in {"assign", "variable"}:
            raise refuse("a query uses no variables", token)
        if token.kind == "sign" and token.text in "'\"`\0":
            raise refuse("a quote is not closed", token)
        if token.kind == "word" and upper in _FORBIDDEN:
            raise refuse(_FORBIDDEN[upper], token)
        name = token.text.strip('`"[]').lower()
        called = after is not None and after.text == "("
        if token.kind == "quoted" and called and name.upper() in _FORBIDDEN:
            raise refuse(_FORBIDDEN[name.upper()], token)
        a_column = before is not None and before.text == "." and (not after or after.text != ".")
        if token.kind in {"word", "quoted"} and name in _SYSTEM and not a_column:
            raise refuse("a query reads barto's own tables only", token)
    return sql[:end]


async def run_query(engines: Engines, sql: str, limits: QueryLimits) -> QueryResult:
    """See `Store.query`."""
    statement = checked(sql)
    if isinstance(engines.settings, SqliteSettings):
        return await _on_sqlite(engines.settings, statement, limits)
    return await _on_mariadb(engines, statement, limits)


# -- SQLite ---------------------------------------------------------------------------------------


async def _on_sqlite(settings: SqliteSettings, sql: str, limits: QueryLimits) -> QueryResult:
    gone = threading.Event()
    try:
        async with asyncio.timeout(limits.seconds + GRACE_S):
            return await asyncio.to_thread(_ask_sqlite, settings, sql, limits, gone)
    except TimeoutError as error:
        raise _too_long(limits) from error
    finally:
        gone.set()  # whoever asked has left: the progress handler ends it


def _ask_sqlite(
    settings: SqliteSettings, sql: str, limits: QueryLimits, gone: threading.Event
) -> QueryResult:
    deadline = time.monotonic() + limits.seconds
    try:
        connection = sqlite3.connect(f"{settings.path.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise StoreUnavailable(str(error)) from error
    with contextlib.closing(connection):
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, CELL_MAX)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN_MAX)
        connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 100_000)
        connection.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 200)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        connection.set_authorizer(_authorizer(tables - READABLE | SCHEMA_TABLES))
        connection.set_progress_handler(lambda: gone.is_set() or time.monotonic() > deadline, 1000)
        try:
            cursor = connection.execute(sql)
            columns = tuple(item[0] for item in cursor.description or ())
            kept = _Kept(limits)
            for row in cursor:
                if not kept.take(row):
                    break
            return kept.result(columns)
        except sqlite3.Error as error:
            if time.monotonic() > deadline:
                raise _too_long(limits) from error
            raise UserError(f"the database says: {error}") from error


def _authorizer(hidden: set[str]) -> Callable[..., int]:
    """Lets a statement select, call functions, and read what is not hidden: the names of its own
    common table expressions come here, too."""

    def authorize(action: int, first: str | None, *_: str | None) -> int:
        if action in _ALLOWED_ACTIONS:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and first is not None and first not in hidden:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    return authorize


# -- MariaDB --------------------------------------------------------------------------------------


async def _on_mariadb(engines: Engines, sql: str, limits: QueryLimits) -> QueryResult:
    # Only who has MariaDB has its driver.
    from asyncmy.errors import MySQLError

    async with engines.lone() as connection:
        number = (await connection.exec_driver_sql("SELECT CONNECTION_ID()")).scalar_one()
        await connection.exec_driver_sql(f"SET SESSION max_statement_time = {limits.seconds:.3f}")
        # Quotes are to end there where `checked` saw them end.
        await connection.exec_driver_sql(
            "SET SESSION sql_mode = REPLACE(REPLACE(@@SESSION.sql_mode,"
            " 'NO_BACKSLASH_ESCAPES', ''), 'ANSI_QUOTES', '')"
        )
        await connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
        await connection.commit()  # the next statement begins a transaction that only reads
        watchdog = asyncio.create_task(_kill_after(engines, number, limits.seconds))
        try:
            async with asyncio.timeout(limits.seconds + GRACE_S):
                return await _stream(connection, sql, limits)
        except TimeoutError as error:
            raise _too_long(limits) from error
        except MySQLError as error:
            if error.args[0] in ACCESS_DENIED:
                raise UserError(f"the database says: {error.args[-1]}") from error
            judged = engines.judged(error)
            if judged is not error and not watchdog.done():
                raise judged from error
            code, words = error.args[0], error.args[-1]
            if code in {STATEMENT_TIME, INTERRUPTED} or watchdog.done():
                raise _too_long(limits) from error
            raise UserError(f"the database says: {words}") from error
        except asyncio.CancelledError:
            await _kill(engines, number)
            raise
        finally:
            watchdog.cancel()


async def _stream(connection: AsyncConnection, sql: str, limits: QueryLimits) -> QueryResult:
    """Row by row, on the driver itself: by its other ways it would first take in all there are,
    and take percent signs for placeholders.

    The driver always lets a text hold several statements, of which one could end the transaction
    that only reads. EXECUTE IMMEDIATE takes one and no more, whatever `checked` made of it.
    """
    from asyncmy.cursors import SSCursor

    driver: Any = (await connection.get_raw_connection()).driver_connection
    cursor = driver.cursor(SSCursor)
    text = sql.encode().hex()
    await cursor.execute(f"EXECUTE IMMEDIATE CONVERT(0x{text} USING utf8mb4)")
    kept = _Kept(limits)
    columns = tuple(item[0] for item in cursor.description or ())
    while columns and (row := await cursor.fetchone()) is not None:
        if not kept.take(row):
            # The driver reads on for as long as the database sends, so the line is cut at once.
            driver.close()
            break
    return kept.result(columns)


async def _kill_after(engines: Engines, number: int, seconds: float) -> None:
    await asyncio.sleep(seconds + 0.3)
    await _kill(engines, number)


async def _kill(engines: Engines, number: int) -> None:
    with contextlib.suppress(StoreUnavailable, exc.SQLAlchemyError):
        async with engines.read() as connection:
            await connection.exec_driver_sql(f"KILL QUERY {int(number)}")


# -- both -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Kept:
    """The rows so far, within the limits."""

    limits: QueryLimits
    rows: list[tuple[object, ...]] = field(default_factory=list)
    size: int = 0
    truncated: bool = False

    def take(self, row: Iterable[object]) -> bool:
        """Keep a row, or say that it is one too many."""
        cells = tuple(_cell(value) for value in row)
        self.size += sum(len(value) if isinstance(value, str | bytes) else 8 for value in cells)
        self.truncated = len(self.rows) >= self.limits.rows or self.size > self.limits.bytes
        if not self.truncated:
            self.rows.append(cells)
        return not self.truncated

    def result(self, columns: tuple[str, ...]) -> QueryResult:
        """What there is to tell."""
        return QueryResult(columns, tuple(self.rows), truncated=self.truncated)


def _cell(value: object) -> object:
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.timedelta | datetime.time):
        return str(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return value


def _too_long(limits: QueryLimits) -> UserError:
    return UserError(
        f"the query took longer than {limits.seconds:g} s and was stopped; ask for less, "
        "as by a WHERE on worker, schedule or slot"
    )
