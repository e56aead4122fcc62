"""What the six fields of a calendar expression may hold: six units, one type.

All that differs between a year and a second is in this table; the parser, the printer and the
search read it from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

SECOND_US: Final = 1_000_000
"""Microseconds in a second: seconds are held in microseconds, everything else in its own unit."""


class Item(NamedTuple):
    """One member of a field's list: a value, a range, or a repetition.

    `stop` is -1 where there is no range, `step` is 0 where there is no repetition; a range
    without a repetition has the step of its unit. Tuples sort as the normalised form wants.
    """

    start: int
    stop: int = -1
    step: int = 0


class Random(NamedTuple):
    """A field whose value is drawn: one of `low` to `high`, then every `step` if that is not 0."""

    low: int
    high: int
    step: int = 0


Field: TypeAlias = tuple[Item, ...] | Random | None
"""What a field holds: a list, something to be drawn, or None for `*`."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One field of a calendar expression.

    `low` and `high` bound its values, in microseconds for seconds. `width` is that of a printed
    value. `scale` is the number of steps in one of it. `random` is the highest value that `R`
    draws, in whole units, or -1 where `R` has no place.
    """

    name: str
    low: int
    high: int
    width: int = 2
    scale: int = 1
    random: int = -1

    def describe(self, from_end: bool = False) -> str:
        """What is valid here, for people: "hour is 0 to 23"."""
        if from_end:
            return f"day from the month's end is {self.low} to {self.high}"
        if self.scale > 1:
            return f"{self.name} is 0 to 59.999999"
        return f"{self.name} is {self.low} to {self.high}"


YEAR: Final = Unit("year", 1970, 2199, width=4)
MONTH: Final = Unit("month", 1, 12, random=12)
DAY: Final = Unit("day", 1, 31, random=28)
"""`R` draws a day that exists in every month."""
HOUR: Final = Unit("hour", 0, 23, random=23)
MINUTE: Final = Unit("minute", 0, 59, random=59)
SECOND: Final = Unit("second", 0, 60 * SECOND_US - 1, scale=SECOND_US, random=59)

UNITS: Final = (YEAR, MONTH, DAY, HOUR, MINUTE, SECOND)
"""In the order in which they are written."""

DAY_FROM_END: Final = Unit("day", 1, 28, random=28)
"""The day after `~`: counted from the month's end, so that it exists in every month."""

WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EVERY_WEEKDAY: Final = 0b1111111


def item_values(item: Item, unit: Unit) -> range:
    """The values of one item of `unit`'s field, ascending; not for repetitions after `~`.

    >>> list(item_values(Item(5, -1, 20), MINUTE))
    [5, 25, 45]
    """
    start, stop, step = item
    if step == 0:
        return range(start, start + 1)
    return range(start, (unit.high if stop < 0 else stop) + 1, step)
