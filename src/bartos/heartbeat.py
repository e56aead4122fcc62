"""Does another service learn each minute that all is well here? It fetches an address while it is,
and is silent while it is not: so that service can tell people when the server cannot.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from bartos.outgoing import Undelivered, fetch
from libbarto.clock import Clock, Instant

log = logging.getLogger("bartos.alerts")

EVERY_S: Final = 60.0
AGAIN_S: Final = 5.0
"""So soon it is looked again where all was not well."""

Fetch = Callable[[str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Beat:
    """The last heartbeat: whether it went out, and what was answered, or why it did not."""

    at: Instant
    ok: bool
    said: str


class Heartbeat:
    """Fetches `url()` each minute that `trouble()` finds nothing. `last` is the last result."""

    def __init__(
        self,
        url: Callable[[], str | None],
        trouble: Callable[[], Awaitable[str]],
        clock: Clock,
        get: Fetch = fetch,
    ) -> None:
        self.last: Beat | None = None
        self._url = url
        self._trouble = trouble
        self._clock = clock
        self._get = get

    async def run(self) -> None:
        """Each minute, until cancelled."""
        while True:
            await self._clock.sleep(EVERY_S if await self.beat() else AGAIN_S)

    async def beat(self) -> bool:
        """Once, now; whether all is well here."""
        url = self._url()
        if url is None:
            self.last = None
            return True
        trouble = await self._trouble()
        if trouble:
            self._remember(False, f"not sent: {trouble}")
            return False
        try:
            said = await self._get(url)
        except Undelivered as error:
            self._remember(False, str(error))
        else:
            self._remember(True, said)
        return True

    def _remember(self, ok: bool, said: str) -> None:
        before, self.last = self.last, Beat(self._clock.now(), ok, said)
        if not ok and (before is None or before.ok):
            log.warning("no heartbeat", extra={"why": said})
        elif ok and before is not None and not before.ok:
            log.info("the heartbeat is back")
