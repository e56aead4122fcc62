"""When was which worker away? Its coming is written down as an event, with since when it was not
seen and with which version it came; its going, as the last time it was seen.

A coming is told only where it is news: after an absence, with another version, or for the first
time. They are written together, so that a fleet that comes back makes few transactions.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from bartos.hub import Member
from bartos.store.orders import Audit
from bartos.store.port import Store
from libbarto.clock import SECOND, Clock, Instant
from libbarto.errors import ConfigError, StoreUnavailable

JOINED: Final = "worker joined"
"""The kind of the events. Facts: `uid`; `version`, and `before`, the one before; `away_since`, when
it was last seen before, or null; `server_since`, since when this server is there."""
AWAY_US: Final = 10_000_000
"""A shorter absence is none."""
TOGETHER_S: Final = 0.5
AGAIN_S: Final = 5.0
MOST: Final = 10_000
"""So many that are not written yet are kept: of more the newest."""


class Presence:
    """Writes down who comes and goes."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._since = clock.now()
        self._coming: deque[Audit] = deque(maxlen=MOST)
        self._going: dict[bytes, Instant] = {}
        self._here: dict[bytes, Member] = {}
        self._news = asyncio.Event()

    def changed(self, uid: bytes, member: Member | None) -> None:
        """A worker came (`member`) or went (None); or neither, as where another with its state
        directory was refused."""
        before = self._here.get(uid)
        if member is before:
            return
        if member is None:
            del self._here[uid]
            self.left(uid)
        else:
            self._here[uid] = member
            self.joined(member)

    def joined(self, member: Member) -> None:
        """A worker is connected, and confirmed."""
        went = self._going.pop(member.uid, None)
        seen = member.seen if went is None else went
        long = seen is None or member.since - seen >= AWAY_US
        if long or member.version != member.version_before:
            facts: dict[str, object] = {
                "uid": member.uid.hex(),
                "version": member.version,
                "before": member.version_before,
                "away_since": seen if long else None,
                "server_since": self._since,
            }
            self._coming.append(Audit(member.since, JOINED, facts, member.name))
            self._news.set()

    def left(self, uid: bytes) -> None:
        """A worker is not connected any more."""
        self._going[uid] = self._clock.now()
        self._news.set()

    async def run(self) -> None:
        """Write what comes in, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self._clock.sleep(TOGETHER_S)
            if not await self.write():
                self._news.set()
                await self._clock.sleep(AGAIN_S)

    async def write(self) -> bool:
        """Write all that is not written yet; returns whether the store took it."""
        coming, going = list(self._coming), dict(self._going)
        try:
            if coming:
                await self._store.audit(coming)
                written = set(map(id, coming))
                self._coming = deque((one for one in self._coming if id(one) not in written), MOST)
            for second in sorted({at // SECOND for at in going.values()}):
                gone = [uid for uid, at in going.items() if at // SECOND == second]
                await self._store.seen(gone, min(going[uid] for uid in gone))
        except (StoreUnavailable, ConfigError):
            return False
        for uid, at in going.items():
            if self._going.get(uid) == at:
                del self._going[uid]
        return True
