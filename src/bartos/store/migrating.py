"""Bringing a database to the form that this version needs, at start or by `bartos migrate`."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util.exc import CommandError
from sqlalchemy import Column, Connection, Integer, MetaData, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateTable

from bartos.store.engines import Engines
from bartos.store.settings import SqliteSettings, StoreSettings
from libbarto.errors import ConfigError

MIGRATION_S: Final = 3600.0
"""How long steps may take, and how long others wait for them."""

LOCK: Final = Table(
    "migration_lock",
    MetaData(),
    Column("id", Integer, primary_key=True, autoincrement=False),
    mariadb_engine="InnoDB",
)
"""Its one row is locked by whoever migrates. Like Alembic's own table, no step makes it."""

SCRIPTS = Path(__file__).with_name("migrations")


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


async def pending(settings: StoreSettings) -> list[str]:
    """The steps that are to be done, oldest first. Raises `ConfigError` where the database is
    newer than this program, `StoreUnavailable` where it does not answer."""
    if isinstance(settings, SqliteSettings) and not settings.path.exists():
        return _steps(None, "")
    engines = Engines(settings)
    engines.open()
    try:
        return await steps_to_do(engines)
    finally:
        await engines.close()


async def migrate(settings: StoreSettings) -> list[str]:
    """Do them; returns what was done. Raises as `pending`."""
    engines = Engines(settings)
    engines.open()
    try:
        return await bring_up(engines)
    finally:
        await engines.close()


async def steps_to_do(engines: Engines) -> list[str]:
    """The steps that are to be done on a database that is open."""
    async with engines.bare() as connection:
        current = await connection.run_sync(_current)
    return _steps(current, engines.settings.described)


async def bring_up(engines: Engines) -> list[str]:
    """Do the steps that are to be done; a SQLite file with data in it is copied beside itself
    first. Of several programs that come at once, one does them and the others wait."""
    if not await steps_to_do(engines):
        return []
    settings = engines.settings
    async with _alone(engines) as connection:
        current = await connection.run_sync(_current)
        steps = _steps(current, settings.described)  # somebody else may have done them meanwhile
        if steps and isinstance(settings, SqliteSettings):
            settings.path.chmod(0o600)
            if current is not None:
                await asyncio.to_thread(_copy_beside, settings.path, current)
        if steps:
            await connection.run_sync(lambda sync: command.upgrade(alembic_config(sync), "head"))
        await connection.commit()
    return steps


@contextlib.asynccontextmanager
async def _alone(engines: Engines) -> AsyncIterator[AsyncConnection]:
    """A connection on which nobody else migrates meanwhile; the lock ends with the connection
    that holds it, however that comes about."""
    if engines.sqlite:
        async with engines.bare(MIGRATION_S) as connection:
            await connection.execute(CreateTable(LOCK, if_not_exists=True))
            await connection.commit()
            # Whoever writes is alone; all steps are one transaction.
            await connection.execute(insert(LOCK).prefix_with("OR IGNORE").values(id=1))
            yield connection
        return
    # MariaDB commits with every step, which would let go of a lock on the same connection.
    async with engines.lone(MIGRATION_S) as holder:
        await holder.exec_driver_sql(f"SET SESSION innodb_lock_wait_timeout = {round(MIGRATION_S)}")
        await holder.execute(CreateTable(LOCK, if_not_exists=True))
        await holder.execute(insert(LOCK).prefix_with("IGNORE").values(id=1))
        await holder.commit()
        await holder.execute(select(LOCK).with_for_update())
        async with engines.bare(MIGRATION_S) as connection:
            yield connection


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _steps(current: str | None, described: str) -> list[str]:
    scripts = ScriptDirectory.from_config(alembic_config())
    try:
        found: list[Any] = list(scripts.iterate_revisions("head", current or "base"))
    except (CommandError, RevisionError) as error:
        raise ConfigError(
            f"{described}: the database is newer than this bartos (it is at {current}): install "
            "the version that wrote it, or a newer one; or restore the copy that was made before"
        ) from error
    return [f"{one.revision}: {one.doc}" for one in reversed(found)]


def _copy_beside(path: Path, revision: str) -> None:
    """A copy as it is now, with all that is committed; see sqlite.org/backup.html."""
    copy = path.with_name(f"{path.name}.before-{revision}")
    copy.unlink(missing_ok=True)
    copy.touch(mode=0o600)
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
