"""How much output may be on its way at once? So much that a link is used, and so little that what
matters more is not kept waiting behind it: heartbeats and verdicts are sent over the same link.

No I/O, no clock: it is told what was sent and acknowledged, and when.
"""

from __future__ import annotations

from collections import deque
from typing import Final

AT_MOST_S: Final = 2.0
"""About so long may what is on its way take."""
SOON_S: Final = 0.01
FIRST: Final = 64 * 1024
LEAST: Final = 4 * 1024
MOST: Final = 1024 * 1024
"""Bounds of the window, in bytes: a chunk of output has 32 KiB."""


class Pace:
    """The window of one session: what the link carries in `AT_MOST_S`, as far as is known.

    How fast that is tells each acknowledgement: what was on its way before these records, and they
    themselves, took so long to arrive.

    >>> pace = Pace()
    >>> pace.sent(1, FIRST, 0.0), pace.may_send()
    (None, False)
    >>> pace.acknowledged(1, 0.1), pace.may_send(), pace.window == 2 * FIRST
    (None, True, True)
    """

    def __init__(self) -> None:
        self.window = FIRST
        self._on_its_way: deque[tuple[int, int, int, float]] = deque()
        self._bytes = 0

    def may_send(self) -> bool:
        """Is there room for another batch?"""
        return self._bytes < self.window

    def sent(self, seq: int, size: int, at: float) -> None:
        """Records up to `seq`, of `size` bytes, were sent at `at` (seconds)."""
        self._bytes += size
        self._on_its_way.append((seq, size, self._bytes, at))

    def acknowledged(self, seq: int, at: float) -> None:
        """Records up to `seq` have been acknowledged at `at`."""
        while self._on_its_way and self._on_its_way[0][0] <= seq:
            _, size, with_those_before, sent_at = self._on_its_way.popleft()
            self._bytes -= size
            carried = with_those_before * AT_MOST_S / max(at - sent_at, SOON_S)
            self.window = max(LEAST, min(MOST, 2 * self.window, round(carried)))
