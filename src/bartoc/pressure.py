"""What becomes of output when there is no room for it?

It waits, and the commands with it, as their pipes fill. After a minute it is dropped and counted,
so that no command is held up for ever. Claims and verdicts go on in any case. No clock of its own.
"""

from __future__ import annotations

from typing import Final

from bartoc.journal import Room
from bartoc.runner import Flow

WAIT_S: Final = 60.0
SPOOL_MAX: Final = 1024 * 1024 * 1024
ENOUGH: Final = 0.9
"""Output goes on when the spool has come down to this share of its limit."""


class Pressure:
    """The rule for one worker; `limit` bounds, in bytes, the output that the server has yet to
    acknowledge.

    >>> pressure = Pressure(1000)
    >>> pressure.judge(Room(1001), 10.0), pressure.judge(Room(1001), 70.0)
    (<Flow.WAIT: 'wait'>, <Flow.DROP: 'drop'>)
    >>> pressure.judge(Room(900), 71.0)
    <Flow.GO: 'go'>
    """

    def __init__(self, limit: int = SPOOL_MAX) -> None:
        self.limit = limit
        self._since: float | None = None

    def judge(self, room: Room, boottime: float) -> Flow:
        """What is to become of output now; `boottime` in seconds."""
        limit = self.limit if self._since is None else round(self.limit * ENOUGH)
        if not room.scarce and room.waiting <= limit:
            self._since = None
            return Flow.GO
        if self._since is None:
            self._since = boottime
        return Flow.DROP if boottime - self._since >= WAIT_S else Flow.WAIT
