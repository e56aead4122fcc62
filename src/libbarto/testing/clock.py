"""The fake clock: the time of a host that exists in a test only.

It runs with the event loop: under a `VirtualLoop` it stands still while anything happens, and
jumps to the next timer when nothing does. Each host of a simulation may have one of its own, and
each can be stepped, suspended and booted.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final

from libbarto.clock import SECOND, Instant
from libbarto.testing.loop import VirtualLoop

START: Final[Instant] = 1_894_665_570 * SECOND
"""When fake clocks start: half a minute before midnight, Monday 2030-01-14T23:59:30Z."""


class FakeClock:
    """A `Clock` driven by the event loop's time.

    `now` is what its wall clock shows when it is made (or, made outside a loop, at its first
    reading in one), `uptime` the seconds its host has been up by then, `boot_id` 16 bytes.

    >>> from libbarto.testing import run
    >>> async def midnight_passes() -> int:
    ...     clock = FakeClock()
    ...     await clock.advance(minutes=1)
    ...     return clock.now() - START
    >>> run(midnight_passes())
    60000000
    """

    def __init__(
        self, now: Instant = START, *, uptime: float = 3_600.0, boot_id: bytes | None = None
    ) -> None:
        self._wall: Instant = now
        self._up = uptime
        self._boots = 0
        self._boot_id = _boot_id(0) if boot_id is None else _sixteen(boot_id)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._origin = 0.0
        self._elapsed()

    def now(self) -> Instant:
        """The wall clock of the simulated host."""
        return self._wall + round(self._elapsed() * SECOND)

    def boottime(self) -> float:
        """Seconds since the simulated host booted, with what it was suspended for."""
        return self._up + self._elapsed()

    @property
    def boot_id(self) -> bytes:
        """16 bytes that change with `reboot`; may be set."""
        return self._boot_id

    @boot_id.setter
    def boot_id(self, value: bytes) -> None:
        self._boot_id = _sixteen(value)

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass by the event loop's clock."""
        await asyncio.sleep(seconds)

    async def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> None:
        """Let time pass, and all that it brings happen, up to and with the moment of arrival.

        It is the time of the loop that passes, so of all fake clocks under it.
        """
        await asyncio.sleep(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
        loop = asyncio.get_running_loop()
        if isinstance(loop, VirtualLoop):
            await loop.settled()

    def step(self, seconds: float) -> None:
        """Step the wall clock by `seconds` (back, where negative); nothing else moves.

        As with a real clock, what sleeps is not woken.
        """
        self._wall += round(seconds * SECOND)

    def suspend(self, seconds: float) -> None:
        """The host sleeps for `seconds`: wall clock and boot time move, timers do not."""
        self._wall += round(seconds * SECOND)
        self._up += seconds

    def reboot(self) -> None:
        """The host boots: another boot id, and a boot time that begins at 0."""
        self._boots += 1
        self._boot_id = _boot_id(self._boots)
        self._up = -self._elapsed()

    def _elapsed(self) -> float:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return 0.0 if self._loop is None else self._loop.time() - self._origin
        if self._loop is None:
            self._loop, self._origin = loop, loop.time()
        return self._loop.time() - self._origin


def _boot_id(boots: int) -> bytes:
    return hashlib.sha256(b"boot %d" % boots).digest()[:16]


def _sixteen(value: bytes) -> bytes:
    if len(value) != 16:
        raise ValueError(f"a boot id has 16 bytes, not {len(value)}")
    return value
