"""Which instant is meant by a wall clock reading, where clocks are put forward or back?

The engine's own rule is the one systemd was measured to follow (docs/reference/calendar.md): search
over the wall clock; a reading that does not exist is passed over; one that exists twice elapses
in its first pass, except that a base already inside the second pass stays in it. Beside it stand
the two policies of schedules, under which what elapses does not depend on the base.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from typing import Final, TypeAlias

from libbarto.realtime.grammar import Parts
from libbarto.realtime.search import DAY_US, NEVER, Search
from libbarto.realtime.units import Item
from libbarto.realtime.zones import Zone


class Passes(enum.Enum):
    """In which pass a reading elapses that exists twice."""

    FIRST_UNLESS_INSIDE = 0
    """The first, but the second for a base inside the second: systemd's rule."""
    FIRST = 1
    BOTH = 2


SYSTEMD: Final = Passes.FIRST_UNLESS_INSIDE
FIRST: Final = Passes.FIRST
BOTH: Final = Passes.BOTH
# Members as plain names: looking one up in its class takes a tenth of the whole search.


Elapse: TypeAlias = tuple[int, int, bool]
"""A matching reading, the period of the zone it lies in, and whether in the second of its passes.

The instant is `reading - zone.offsets[period]`.
"""


def after(
    search: Search, zone: Zone, instant: int, passes: Passes, gap_runs: bool
) -> Elapse | None:
    """The first elapse strictly after `instant` (microseconds), or None.

    With `gap_runs`, readings that do not exist elapse once, at the first instant after the gap.
    """
    offsets, edges = zone.offsets, zone.edges
    base_period = bisect_right(zone.starts, instant)
    wall = instant + offsets[base_period]
    inside = bisect_right(edges, wall)  # odd: between two edges of one change
    stays = -1  # the change whose second pass we search
    if not inside & 1:
        found = search.after(*divmod(wall, DAY_US))
        if found < edges[inside]:  # no change between base and answer
            return None if found < 0 else (found, base_period, False)
    else:
        change = inside >> 1
        if base_period > change:
            if passes is FIRST:
                wall = edges[inside] - 1
            else:
                stays = change
        elif passes is BOTH:
            found = search.after(*divmod(wall, DAY_US))
            if NEVER < found < edges[inside]:
                return found, base_period, False
            wall, stays = edges[inside - 1] - 1, change
        elif passes is SYSTEMD and instant + 1 == zone.starts[change]:
            # What systemd tries first is a microsecond later, and that is inside the second pass.
            wall, stays = edges[inside - 1] - 1, change
        found = search.after(*divmod(wall, DAY_US))
    while found >= 0:
        place = bisect_right(edges, found)
        change = place >> 1
        if not place & 1:
            return found, change, False
        if offsets[change] > offsets[change + 1]:
            second = change == stays
            return found, change + second, second
        if gap_runs:
            return edges[place], change + 1, False
        found = search.after(*divmod(edges[place] - 1, DAY_US))
    return None


def before(
    search: Search, zone: Zone, instant: int, passes: Passes = FIRST, gap_runs: bool = False
) -> Elapse | None:
    """The last elapse strictly before `instant` (microseconds), or None.

    What elapses is the same whatever the instant is: `FIRST_UNLESS_INSIDE` counts as `FIRST`.
    """
    offsets, edges = zone.offsets, zone.edges
    period = bisect_right(zone.starts, instant)
    wall = instant + offsets[period]
    inside = bisect_right(edges, wall)
    first_alone = -1  # the change of which only the first pass lies before `instant`
    if inside & 1:
        first_alone = inside >> 1
        if period > first_alone:
            if passes is BOTH:
                found = search.before(*divmod(wall, DAY_US))
                if found >= edges[inside - 1]:
                    return found, period, True
            wall = edges[inside]  # every first pass lies before every second one
    while True:
        found = search.before(*divmod(wall, DAY_US))
        if found < 0:
            return None
        place = bisect_right(edges, found)
        change = place >> 1
        if not place & 1:
            return found, change, False
        if offsets[change] > offsets[change + 1]:
            second = passes is BOTH and change != first_alone
            return found, change + second, second
        if gap_runs and zone.starts[change] < instant:
            return edges[place], change + 1, False
        wall = edges[place - 1]


def automatic(parts: Parts) -> Passes:
    """The passes of `dst_repeat = "auto"`: both where the hour is `*`, a range or a repetition."""
    hour = parts.hour
    repeats = hour is None or any(isinstance(item, Item) and item.step for item in hour)
    return BOTH if repeats else FIRST
