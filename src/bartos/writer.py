"""The one writer: groups what workers report into transactions, and tells when they are committed.

Nothing is acknowledged before its commit. While the database is away everything waits here,
bounded by the credit that the workers were given, and nothing more is granted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bartos.store.port import Batch, Store
from libbarto.clock import Clock
from libbarto.errors import ConfigError, StoreUnavailable
from libbarto.message.v2.record import Lane

log = logging.getLogger("bartos.store")

GROUP_BATCHES: Final = 256
GROUP_BYTES: Final = 8 * 1024 * 1024
RETRY_FIRST_S: Final = 0.2
RETRY_CAP_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Submitted:
    """A batch on its way; `done` is told whether its mark advanced. `size` in bytes."""

    batch: Batch
    size: int
    done: Callable[[bool], None]


class Writer:
    """Commits batches in groups; state goes before output."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._state: deque[Submitted] = deque()
        self._output: deque[Submitted] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.away = False
        self.on_return: Callable[[], None] = lambda: None
        self.on_commit: list[Callable[[Batch], None]] = []
        self.on_stored: Callable[[Batch], None] = lambda _: None

    def submit(self, submitted: Submitted) -> None:
        """Take a batch on; never waits, since the sender had credit for it."""
        lane = self._state if submitted.batch.lane is Lane.STATE else self._output
        lane.append(submitted)
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._state or self._output:
                await self._commit(self._group())
            self._idle.set()

    async def drain(self, patience: float) -> None:
        """Wait until all that was submitted is committed, at most `patience` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._idle.wait()

    def _group(self) -> list[Submitted]:
        group: list[Submitted] = []
        size = 0
        for lane in (self._state, self._output):
            while lane and len(group) < GROUP_BATCHES and size < GROUP_BYTES:
                submitted = lane.popleft()
                group.append(submitted)
                size += submitted.size
        return group

    async def _commit(self, group: list[Submitted]) -> None:
        delay = RETRY_FIRST_S
        doubtful = False
        while True:
            try:
                results = await self._store.append([one.batch for one in group])
            except (StoreUnavailable, ConfigError) as error:
                if not self.away:
                    self.away = True
                    log.error(
                        "the database is away; nothing is acknowledged until it is back",
                        extra={"error": str(error)},
                    )
                doubtful = True
                await self._clock.sleep(delay)
                delay = min(RETRY_CAP_S, delay * 2)
            else:
                break
        if self.away:
            self.away = False
            log.info("the database is back")
            self.on_return()
        for submitted, advanced in zip(group, results, strict=True):
            # A try whose answer was lost may have stored it, before another session of its worker
            # was confirmed: then nobody else would ever tell of it.
            if advanced or doubtful:
                self.on_stored(submitted.batch)
                for tell in self.on_commit:
                    tell(submitted.batch)
            submitted.done(advanced)
