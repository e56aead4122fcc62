"""Connections to the database: one engine that writes, one that reads, and what they have in
common on SQLite and MariaDB.

What the driver says of a lost or silent database becomes `StoreUnavailable` here, and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

from sqlalchemy import event, exc
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from bartos.store.settings import MariaDbSettings, SqliteSettings, StoreSettings
from libbarto.errors import ConfigError, StoreUnavailable

STATEMENT_S: Final = 30.0
CONNECT_S: Final = 5
READERS: Final = 4
BUSY_MS: Final = 10_000

LOCK_WAIT, DEADLOCK = 1205, 1213
ACCESS_DENIED: Final = frozenset({1044, 1045, 1142, 1698})
NO_DATABASE: Final = 1049
AWAY: Final = frozenset({1040, 1053, 1129, 1130, 1203, 1290, 1836, 2002, 2003, 2006, 2013, 2014})
"""Errors of MariaDB that mean "not now": too many connections, shutting down, read-only, gone."""

SQLITE_DAMAGED: Final = ("not a database", "malformed")
SQLITE_AWAY: Final = ("locked", "disk i/o", "unable to open", "full", "readonly", "closed")


TLS_OPTIONS: Final = ("ca", "capath", "cert", "key", "cipher", "verify_mode", "check_hostname")
"""Those of the driver, each with `ssl_` before it."""

_TRUTH: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Conflict(StoreUnavailable):
    """Somebody else's transaction was in the way, and this one was taken back: do it again."""


class Engines:
    """Both engines of one database. `open` makes them, `close` lets them go."""

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self.sqlite = isinstance(settings, SqliteSettings)
        self.usable = False
        """Has it the form that readers know? Until then they are told to come again."""
        self._writer: AsyncEngine | None = None
        self._reader: AsyncEngine | None = None

    def open(self) -> None:
        """Make the engines; nothing is connected yet."""
        # A pool's own complaint about a database that is away would be told at each try.
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
        logging.getLogger("asyncmy").setLevel(logging.ERROR)  # notes of the server, as warnings
        if isinstance(self.settings, SqliteSettings):
            # Made here, so that it and the files that SQLite puts beside it are private.
            try:
                self.settings.path.touch(mode=0o600)
            except OSError as error:
                raise ConfigError(
                    f"the database {self.settings.path} cannot be made: {error.strerror}"
                ) from error
        self._writer = self._engine(1)
        self._reader = self._engine(READERS)

    async def close(self) -> None:
        """Close every connection; idempotent."""
        for engine in (self._writer, self._reader):
            if engine is not None:
                with contextlib.suppress(Exception):  # a dead connection cannot be closed in order
                    await engine.dispose()
        self.usable = False
        self._writer = self._reader = None

    def _engine(self, size: int) -> AsyncEngine:
        settings = self.settings
        if isinstance(settings, SqliteSettings):
            engine = create_async_engine(
                URL.create("sqlite+aiosqlite", database=str(settings.path)),
                poolclass=AsyncAdaptedQueuePool,
                pool_size=size,
                max_overflow=0,
                connect_args={"timeout": BUSY_MS / 1000},
            )
            event.listen(engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(engine.sync_engine, "begin", _begin)
            return engine
        return create_async_engine(
            URL.create(
                "mariadb+asyncmy",
                username=settings.username,
                password=settings.password,
                host=None if settings.socket else settings.host,
                port=None if settings.socket else settings.port,
                database=settings.database,
            ),
            pool_size=size,
            max_overflow=0,
            pool_pre_ping=True,
            pool_recycle=3600,
            connect_args=_connect_arguments(settings),
            isolation_level="READ COMMITTED",
        )

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that commits at the end. Raises `StoreUnavailable`."""
        async with self._guarded(self._writer) as connection, connection.begin():
            if self.sqlite:
                # Take the lock at once, or a reader could keep this from becoming a writer.
                await connection.exec_driver_sql("UPDATE spool_mark SET seq = seq WHERE 0")
            yield connection

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that reads one consistent state. Raises `StoreUnavailable`."""
        if not self.usable:
            raise StoreUnavailable("the database is not open yet")
        async with self._guarded(self._reader) as connection, connection.begin():
            yield connection

    @contextlib.asynccontextmanager
    async def bare(self, patience: float = STATEMENT_S) -> AsyncIterator[AsyncConnection]:
        """A writer's connection without a transaction, for at most `patience` seconds: for what
        the schema needs."""
        async with self._guarded(self._writer, patience) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def lone(self, patience: float = STATEMENT_S) -> AsyncIterator[AsyncConnection]:
        """A reader's connection without a transaction, and thrown away afterwards: for what
        changes the settings of its session."""
        async with self._guarded(self._reader, patience) as connection:
            try:
                yield connection
            finally:
                await connection.invalidate()

    @contextlib.asynccontextmanager
    async def _guarded(
        self, engine: AsyncEngine | None, patience: float = STATEMENT_S
    ) -> AsyncIterator[AsyncConnection]:
        if engine is None:
            raise StoreUnavailable("the database is not open")
        try:
            async with asyncio.timeout(patience), engine.connect() as connection:
                yield connection
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {patience:.0f} s") from error
        except (exc.SQLAlchemyError, OSError) as error:
            judged = self.judged(error)
            if judged is error:
                raise
            raise judged from error

    def judged(self, error: BaseException) -> BaseException:
        """What an error of the driver means: the database is away, the account may not, or (then
        it is given back as it is) the statement was refused."""
        code, text = _code(error), described(error)
        if code in ACCESS_DENIED or code == NO_DATABASE:
            return ConfigError(
                f"{self.settings.described}: {text}. The account needs all rights on its database: "
                "see docs/howto/mariadb.md"
            )
        if self.sqlite and any(word in text.lower() for word in SQLITE_DAMAGED):
            return ConfigError(
                f"the database {self.settings.described} is damaged ({text}): put a copy in its "
                "place (barto.db.before-… beside it is from before a migration), or move it away; "
                "workers then send again what they still hold"
            )
        if isinstance(error, OSError | exc.InterfaceError) or code in AWAY:
            return StoreUnavailable(text)
        if code in {LOCK_WAIT, DEADLOCK}:
            return Conflict(text)
        if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
            return StoreUnavailable(text)
        if isinstance(error, exc.OperationalError):
            if not self.sqlite and code is None:
                return StoreUnavailable(text)
            if self.sqlite and any(word in text.lower() for word in SQLITE_AWAY):
                return StoreUnavailable(text)
        if isinstance(error, exc.TimeoutError):
            return StoreUnavailable("every connection is in use")
        return error


def _prepare_sqlite(connection: Any, _: object) -> None:
    """Each new connection: transactions are ours to begin, and commits are durable."""
    connection.isolation_level = None
    cursor = connection.cursor()
    # It counts only before the first table is made, and later it would be a write for nothing.
    cursor.execute("PRAGMA page_count")
    if cursor.fetchone() == (0,):
        cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={BUSY_MS}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN")


def _connect_arguments(settings: MariaDbSettings) -> dict[str, Any]:
    options = settings.option_pairs()
    charset = options.pop("charset", "utf8mb4")
    tls = _tls(options)
    arguments: dict[str, Any] = {
        "charset": "utf8mb4" if charset == "utf8" else charset,  # utf8 there is only half of it
        "connect_timeout": CONNECT_S,
        "init_command": "SET time_zone = '+00:00'",
        "local_infile": False,
        # MariaDB's bulk protocol goes with prepared statements. The driver cannot speak it over
        # TLS (error 1295), and there it sends statements with many rows instead.
        "stmt_cache_size": 0 if tls else 32,
    }
    if settings.socket is not None:
        arguments["unix_socket"] = str(settings.socket)
    if tls:
        arguments["ssl"] = tls
    return arguments


def _tls(options: dict[str, str]) -> dict[str, Any] | bool | None:
    """What the driver is to know of TLS, None for none. Raises `ConfigError`: an option that is
    not heeded could leave a connection in the open that was meant to be private."""
    tls: dict[str, Any] = {}
    wanted = False
    for name, value in options.items():
        key = name.removeprefix("ssl_")
        if name == "ssl" or key == "check_hostname":
            if value.lower() not in _TRUTH:
                raise ConfigError(f"mariadb.options: {name} is true or false, not {value!r}")
            if name == "ssl":
                wanted = _TRUTH[value.lower()]
            else:
                tls[key] = _TRUTH[value.lower()]
        elif name.startswith("ssl_") and key in TLS_OPTIONS:
            tls[key] = value
        else:
            known = ", ".join(["charset", "ssl", *(f"ssl_{one}" for one in TLS_OPTIONS)])
            raise ConfigError(f"mariadb.options: there is no option {name}; there are {known}")
    return tls or wanted or None


def _code(error: BaseException) -> int | None:
    original = getattr(error, "orig", None) or error
    found = getattr(original, "args", ())
    return found[0] if found and isinstance(found[0], int) else None


def described(error: BaseException) -> str:
    """The driver's own words, without the statement and its values."""
    original = getattr(error, "orig", None) or error
    parts = [str(part) for part in getattr(original, "args", ()) if not isinstance(part, int)]
    return " ".join(parts) or type(original).__name__
