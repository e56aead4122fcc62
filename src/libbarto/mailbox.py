"""A mailbox: how does one task wait for whatever comes first of messages, a nudge and a time?

An effect loop has one, and everything that it reacts to arrives there. It is bounded, so that
whoever fills it waits; and it costs no task for each wait, as `asyncio.wait` would.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Generic, TypeVar

from libbarto.errors import ConnectionClosed
from libbarto.transport import Transport

T = TypeVar("T")

SHORTEST_S: Final = 1e-6
"""The shortest wait, in seconds."""


class Mailbox(Generic[T]):
    """Holds at most `limit` messages; one task takes them, any may put them in."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[T] = deque()
        self._nudged = False
        self._waiter: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._items)

    def nudge(self) -> None:
        """Have `wait` return, now or when it is called next, though there is no message."""
        self._nudged = True
        self._resolve()

    async def put(self, item: T) -> None:
        """Put a message in; waits while the box is full."""
        while len(self._items) >= self._limit:
            self._room.clear()
            await self._room.wait()
        self._items.append(item)
        self._resolve()

    def take(self) -> list[T]:
        """All messages that are there, in order."""
        items = list(self._items)
        self._items.clear()
        self._room.set()
        return items

    async def wait(self, seconds: float) -> None:
        """Until there is a message or a nudge, at most `seconds`.

        A wait is a microsecond or none: what is left of one by rounding is less than clocks tell
        apart, and would be waited for again and again where time stands still between timers.
        """
        if self._items or self._nudged:
            self._nudged = False
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(max(SHORTEST_S, seconds) if seconds > 0 else 0.0, self._resolve)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None
            self._nudged = False

    def _resolve(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def receive_into(mailbox: Mailbox[bytes | ConnectionClosed], transport: Transport) -> None:
    """Put what a link brings into a mailbox, its end last."""
    while True:
        try:
            frame = await transport.receive()
        except ConnectionClosed as closed:
            await mailbox.put(closed)
            return
        await mailbox.put(frame)
