"""Back-off: how long to wait before the next try, when the last ones failed?

Exponential with full jitter: a fleet that lost its server at one instant does not come back at
one instant. Pure: the generator is the caller's.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double (or grow by `factor`) from `first` to `cap`, in seconds.

    Retried for ever: the delay never exceeds `cap`, at whatever attempt (DESIGN section 6).
    """

    first: float = 0.5
    factor: float = 2.0
    cap: float = 10.0

    def __post_init__(self) -> None:
        if not (0 < self.first <= self.cap and self.factor >= 1):
            raise ValueError(f"0 < first <= cap and factor >= 1 must hold, not {self}")

    def ceiling(self, attempt: int) -> float:
        """The most that attempt waits, in seconds; attempts count from 0.

        >>> [Backoff().ceiling(attempt) for attempt in (0, 1, 2, 4, 5, 10**9)]
        [0.5, 1.0, 2.0, 8.0, 10.0, 10.0]
        """
        if attempt < 0:
            raise ValueError(f"attempts count from 0, got {attempt}")
        try:
            return min(self.cap, self.first * self.factor**attempt)
        except OverflowError:
            return self.cap

    def delay(self, attempt: int, rng: random.Random) -> float:
        """Seconds to wait after `attempt` (from 0) failed: anywhere from 0 to its ceiling."""
        return rng.uniform(0.0, self.ceiling(attempt))
