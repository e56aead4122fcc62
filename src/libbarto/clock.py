"""The clock: what time is it, on this host? One port, and the clock of the real host.

Whoever needs the time is handed a `Clock`; nothing else in barto reads one. Tests and simulations
hand in `libbarto.testing.FakeClock`. Three times are told apart: the wall clock, which people and
schedules mean and which may be stepped; the boot time, which only goes forward; and the time of
the event loop, which `sleep` and timeouts use.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path
from typing import Protocol, TypeAlias

Instant: TypeAlias = int
"""A point in time: whole microseconds since 1970-01-01T00:00:00Z, leap seconds not counted."""

SECOND: Instant = 1_000_000
"""The microseconds of a second: what turns float seconds into an `Instant`'s unit."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """The port: the time of the host, and a way to let it pass."""

    def now(self) -> Instant:
        """The host's wall clock; it may be stepped in either direction at any moment."""

    def boottime(self) -> float:
        """Seconds since some point in this boot; never goes back, and goes on in suspend.

        Readings compare within one boot only, so store `boot_id` beside them.
        """

    @property
    def boot_id(self) -> bytes:
        """16 bytes: the same until the host boots again, then others."""

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass by the event loop's clock; zero or less only lets others run.

        A suspend or a stepped wall clock may make it longer or shorter than it looks: read `now()`
        afterwards, and never trust a long sleep (DESIGN section 4).
        """


class SystemClock:
    """The clock of the host this runs on."""

    def __init__(self) -> None:
        self._boot_id = _read_boot_id()
        # Not every system has it; there, the best that never goes back stands in.
        self._boot_clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def now(self) -> Instant:
        """The host's wall clock (CLOCK_REALTIME)."""
        return time.time_ns() // 1_000

    def boottime(self) -> float:
        """CLOCK_BOOTTIME in seconds (clock_gettime(2)); CLOCK_MONOTONIC where there is none."""
        return time.clock_gettime(self._boot_clock)

    @property
    def boot_id(self) -> bytes:
        """The kernel's id of this boot (random(4)), the same for every program on the host.

        Where the kernel has none, it is derived from the minute in which the host booted, which
        is the same for most readings of one boot: a reading that differs makes a caller more
        careful, never less.
        """
        return self._boot_id

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass by the event loop's clock."""
        await asyncio.sleep(seconds)


def _read_boot_id() -> bytes:
    try:
        return uuid.UUID(_BOOT_ID.read_text(encoding="ascii").strip()).bytes
    except (OSError, ValueError):
        booted = round((time.time() - time.monotonic()) / 60)
        return uuid.uuid5(uuid.NAMESPACE_OID, f"boot {uuid.getnode():x} {booted}").bytes
