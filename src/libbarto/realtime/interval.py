"""When does a schedule elapse that runs every so often? At an anchor plus whole intervals, in UTC.

Nothing is kept and nothing adds up: an instant is due or not by arithmetic alone, so a restart
moves nothing, and neither does a clock change of any zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libbarto.errors import CalendarError
from libbarto.quantity import format_duration
from libbarto.realtime.drawing import draw
from libbarto.realtime.units import SECOND_US

RANDOM_ANCHOR: Final = "R"
"""How an anchor is written that is drawn for each worker."""


@dataclass(frozen=True, slots=True)
class Every:
    """The instants `anchor_us` + k × `every_us` for every whole k (microseconds, UTC).

    With `drawn`, a phase of its own is added by `bind`.

    >>> Every(900_000_000).elapse_after(0)
    900000000
    """

    every_us: int
    anchor_us: int = 0
    drawn: bool = False

    def __post_init__(self) -> None:
        """Raises CalendarError where the interval is not positive."""
        if self.every_us <= 0:
            text = str(self.every_us)
            raise CalendarError("an interval is at least a microsecond long", text)

    def bind(self, seed: bytes) -> Every:
        """The interval with its phase drawn from `seed`: whole seconds, where it has more than one.

        The text of the draw (`drawing`) is the interval as `format_duration` prints it, the name
        is "anchor". One that is not `drawn` is returned itself.
        """
        if not self.drawn:
            return self
        unit = SECOND_US if self.every_us >= SECOND_US else 1
        text = format_duration(self.every_us / SECOND_US).encode()
        phase = draw(seed, text, "anchor", self.every_us // unit) * unit
        return Every(self.every_us, self.anchor_us + phase)

    def elapse_after(self, instant: int) -> int:
        """The first strictly after `instant`. Raises ValueError while the phase is not bound."""
        return instant + self.every_us - (instant - self._anchor()) % self.every_us

    def elapse_before(self, instant: int) -> int:
        """The last strictly before `instant`; as `elapse_after`."""
        return instant - 1 - (instant - 1 - self._anchor()) % self.every_us

    def count(self, after: int, until: int) -> int:
        """How many lie in (after, until]; as `elapse_after`."""
        anchor = self._anchor()
        whole = (until - anchor) // self.every_us - (after - anchor) // self.every_us
        return max(whole, 0)

    def _anchor(self) -> int:
        if self.drawn:
            raise ValueError("the phase is drawn by bind(seed) before anything elapses")
        return self.anchor_us
