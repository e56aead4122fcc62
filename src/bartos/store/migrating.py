"""Bringing a database to the form that this version needs, at start or by `bartos migrate`."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util.exc import CommandError
from sqlalchemy import Connection

from bartos.store.engines import Engines
from bartos.store.settings import SqliteSettings, StoreSettings
from libbarto.errors import ConfigError

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
    first."""
    steps = await steps_to_do(engines)
    if not steps:
        return []
    settings = engines.settings
    async with engines.bare() as connection:
        current = await connection.run_sync(_current)
    if isinstance(settings, SqliteSettings):
        if current is not None:
            await asyncio.to_thread(_copy_beside, settings.path, current)
        settings.path.chmod(0o600)
    async with engines.bare() as connection:
        await connection.run_sync(lambda sync: command.upgrade(alembic_config(sync), "head"))
        await connection.commit()
    return steps


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
