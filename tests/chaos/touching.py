"""Which faults touch what, and from when to when are they felt?"""

from __future__ import annotations

from typing import Final

from tests.chaos.history import Fault, FaultKind

SECOND: Final = 1_000_000
RECOVERY_US: Final = 6 * SECOND
"""What a program takes from its start until it does its work, on a busy host."""
CLOCK_PATIENCE_US: Final = 125 * SECOND
"""How long a worker may wait for a clock that was set back."""
TOUCHES_STARTS: Final = frozenset(
    {
        FaultKind.BARTOC_KILL,
        FaultKind.BARTOC_STOP,
        FaultKind.BARTOC_RESTART,
        FaultKind.KEEPER_KILL,
        FaultKind.KEEPER_STOP,
        FaultKind.BOTH_KILL,
        FaultKind.CLOCK_STEP,
        FaultKind.DISK_FULL,
        FaultKind.HOST_STALL,
    }
)
"""What may keep a worker from starting something. No fault of the link, the server or the store is
among them: workers fire by themselves."""

HIDES_ENDS: Final = frozenset({FaultKind.DISK_FULL, FaultKind.KEEPER_STOP})
"""What keeps a worker from knowing that a run has ended."""

INTERRUPTS: Final = TOUCHES_STARTS - {FaultKind.HOST_STALL}
"""What may cost a run its end."""


def span(fault: Fault) -> tuple[int, int]:
    """From when to when a fault is felt, in the times of those it touches: a clock that was ahead
    has dated things by itself, and may have to be waited for."""
    if fault.kind is FaultKind.CLOCK_STEP:
        ahead, behind = max(fault.shift, 0), max(-fault.shift, 0)
        return fault.began - behind - SECOND, fault.ended + ahead + CLOCK_PATIENCE_US
    if fault.kind is FaultKind.HOST_STALL:
        return fault.began - SECOND, fault.ended + SECOND
    return fault.began - SECOND, fault.ended + RECOVERY_US
