"""When configuration files change: read them whole, and put them in force, or keep the last good.

Changes count after two seconds of quiet, or at once on SIGHUP. What cannot be read changes
nothing, and is said; what would remove most of the schedules waits for a person's yes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bartos.config import Configuration, changed_settings
from bartos.plan import changes, removes_too_much, schedule_rows
from bartos.planning import Planner
from bartos.store.port import Store
from libbarto.clock import Clock
from libbarto.errors import ConfigError, StoreUnavailable
from libbarto.places import schedule_files

log = logging.getLogger("bartos.config")

LOOK_EVERY_S: Final = 0.5
QUIET_S: Final = 2.0

Stamp = tuple[tuple[str, int, int], ...]


class Reloader:
    """Keeps the schedules in force in step with the files.

    `read` reads them all and raises `ConfigError` with every fault; `configuration` is what was
    read last without one. `error` says why the files are not what is in force, "" where they are.
    """

    def __init__(
        self,
        configuration: Configuration | None,
        read: Callable[[], Configuration],
        main_file: Path,
        confirmation: Path,
        store: Store,
        planner: Planner,
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        self.configuration = configuration
        self.error = ""
        self.begun = False
        """Whether the files have been looked at for the first time."""
        self._read = read
        self._main = main_file
        self._confirmation = confirmation
        self._store = store
        self._planner = planner
        self._clock = clock
        self._changed = changed
        self._now = asyncio.Event()
        self._waiting = False

    def ask(self) -> None:
        """Reload now (SIGHUP)."""
        self._now.set()

    async def run(self) -> None:
        """Watch the files until cancelled; what they say when it begins counts at once."""
        seen = self._stamp()
        await self._reload(first=True)
        self.begun = True
        changed_at: float | None = None
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._now.wait()
            except TimeoutError:
                pass
            stamp = self._stamp()
            if stamp != seen:
                seen, changed_at = stamp, self._clock.boottime()
            quiet = changed_at is not None and self._clock.boottime() - changed_at >= QUIET_S
            if self._now.is_set() or quiet:
                self._now.clear()
                changed_at = None
                await self._reload()

    def _stamp(self) -> Stamp:
        """What tells whether a file changed: reading never does (it is size and time alone)."""
        stamps = []
        try:
            files = [self._main, *schedule_files(self._main)]
        except ConfigError:
            files = [self._main]
        for file in files:
            try:
                found = file.stat()
            except OSError:
                continue
            stamps.append((str(file), found.st_size, found.st_mtime_ns))
        return tuple(stamps)

    async def _reload(self, *, first: bool = False) -> None:
        try:
            await self._apply(first=first)
            self._waiting = False
        except ConfigError as error:
            read_before = self.configuration is not None and self.configuration.usable
            if first and not (read_before or self._planner.definitions):
                raise  # there is no last good one
            self.error = str(error)
            log.error(
                "the configuration cannot be used; the last good one stays in force",
                extra={"error": str(error)},
            )
        except StoreUnavailable as error:
            if not self._waiting:
                log.warning(
                    "the database is away; the configuration is read again when it is back",
                    extra={"error": str(error)},
                )
            self._waiting = True
            await self._clock.sleep(QUIET_S)
            self._now.set()

    async def _apply(self, *, first: bool) -> None:
        before = await self._store.schedules()
        self._planner.load(before)
        configuration = self._read()
        old, new = self._planner.definitions, configuration.definitions
        difference = changes(old, new)
        confirmed = self._confirmation.exists()
        self._confirmation.unlink(missing_ok=True)
        if not configuration.loaded.exists and old and not confirmed:
            raise ConfigError(
                f"{self._main} is not there, and schedules are in force: put it back, or say "
                "`bartos reload --yes` to remove them"
            )
        if removes_too_much(old, new) and not confirmed:
            raise ConfigError(
                f"this would remove {len(difference.removed)} of {len(old)} schedules: if that is "
                "meant, say `bartos reload --yes`"
            )
        if difference:
            now = self._clock.now()
            await self._store.replace_schedules(schedule_rows(new, before, now), now)
            self._planner.load(await self._store.schedules())
        settings = ""
        if self.configuration is not None:
            settings = changed_settings(self.configuration.settings, configuration.settings)
        self.configuration = configuration
        self.error = ""
        if difference or not first:
            said = [str(difference)] if difference or not settings else []
            changed = "; ".join([*said, *([settings] if settings else [])])
            log.info("configuration read", extra={"schedules": len(new), "changes": changed})
        self._changed()
