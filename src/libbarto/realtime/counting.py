"""How often does a union of calendars elapse in a span? Counted, exactly, without going through.

Days are split by which calendars match on them, minutes of a day likewise, and what is left is
multiplied: a span of two hundred years costs no more than its clock changes. Nothing is counted
twice where several calendars match one instant, also where their zones differ.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import pairwise
from math import gcd
from operator import or_
from typing import Final, NamedTuple

from libbarto.realtime.changes import BOTH, Passes
from libbarto.realtime.search import DAY_US, END_US, MINUTE_US, YEAR_KINDS, YEAR_STARTS, Search
from libbarto.realtime.units import SECOND_US
from libbarto.realtime.zones import Zone

_MINUTES: Final = DAY_US // MINUTE_US
_WHOLE_DAY: Final = (1 << _MINUTES) - 1


class Member(NamedTuple):
    """One calendar of a union: what it matches, where, and in which pass of what comes twice."""

    search: Search
    zone: Zone
    passes: Passes


def count(members: Sequence[Member], after: int, until: int, gap_runs: bool) -> int:
    """How many instants of (after, until] at least one of `members` elapses at.

    What elapses is the same whatever `after` is: `FIRST_UNLESS_INSIDE` counts as `FIRST`.
    Instants are microseconds since 1970; `gap_runs` is as for `changes.after`.
    """
    begin, end = max(after, -2 * DAY_US) + 1, min(until, END_US + 2 * DAY_US) + 1
    if begin >= end:
        return 0
    places = {member.zone.name: member.zone for member in members}
    inner = {cut for zone in places.values() for cut in _cuts(zone) if begin < cut < end}
    bounds = [begin, *sorted(inner), end]
    known: dict[tuple[tuple[int, int], ...], _Together] = {}
    seconds: dict[frozenset[range], _Seconds] = {}
    total = 0
    for start, stop in pairwise(bounds):
        offsets = {name: zone.offset_at(start) for name, zone in places.items()}
        repeated = {name for name, zone in places.items() if _in_second_pass(zone, start)}
        active = [
            (index, offsets[member.zone.name])
            for index, member in enumerate(members)
            if member.passes is BOTH or member.zone.name not in repeated
        ]
        if active:
            frame = active[0][1]
            key = tuple((index, frame - offset) for index, offset in active)
            together = known.get(key)
            if together is None:
                layers = [
                    layer for index, ahead in key for layer in _layers(members[index].search, ahead)
                ]
                together = known[key] = _Together(layers, seconds)
            total += together.count(start + frame, stop + frame)
        if gap_runs and any(_falls_into_gap(member, start) for member in members):
            matched = (_matches(members[index].search, start + offset) for index, offset in active)
            total += not any(matched)
    return total


def _cuts(zone: Zone) -> Iterator[int]:
    """The instants from which something else holds: a change, and the end of a second pass."""
    for start, before, after in zip(zone.starts, zone.offsets, zone.offsets[1:], strict=False):
        yield start
        if before > after:
            yield start + before - after


def _in_second_pass(zone: Zone, instant: int) -> bool:
    change = bisect_right(zone.starts, instant) - 1
    if change < 0:
        return False
    return instant < zone.starts[change] + zone.offsets[change] - zone.offsets[change + 1]


def _falls_into_gap(member: Member, instant: int) -> bool:
    """Whether clocks are put forward at `instant` and something matches what they leave out."""
    zone = member.zone
    change = bisect_left(zone.starts, instant)
    if change == len(zone.starts) or zone.starts[change] != instant:
        return False
    if zone.offsets[change] > zone.offsets[change + 1]:
        return False
    low, high = zone.edges[2 * change : 2 * change + 2]
    return 0 <= member.search.after(*divmod(low - 1, DAY_US)) < high


def _matches(search: Search, wall: int) -> bool:
    return search.after(*divmod(wall - 1, DAY_US)) == wall


class _Layer(NamedTuple):
    """Days times minutes times microseconds that match: a calendar, or a part of one.

    `shift` is how many days later than the days of `search` they are.
    """

    search: Search
    shift: int
    minutes: int
    ranges: tuple[range, ...]

    def days(self, first: int, stop: int) -> int:
        """The days that match from `first` (counted from 1970) to before `stop`, as bits."""
        first -= self.shift
        stop -= self.shift
        year = max(bisect_right(YEAR_STARTS, first) - 1, 0)
        origin = YEAR_STARTS[year]
        bits = 0
        while year < len(YEAR_KINDS) and YEAR_STARTS[year] < stop:
            bits |= self.search.days_of_year(year) << (YEAR_STARTS[year] - origin)
            year += 1
        bits = bits >> (first - origin) if first >= origin else bits << (origin - first)
        return bits & ((1 << (stop - first)) - 1)


def _layers(search: Search, ahead: int) -> Iterator[_Layer]:
    """A calendar as it is seen by a clock that is `ahead` (microseconds) of its own.

    What passes a minute's or a day's end on that clock becomes a layer of its own.
    """
    days, rest = divmod(ahead, DAY_US)
    minutes, seconds = divmod(rest, MINUTE_US)
    for carried in (0, 1):
        ranges = tuple(_moved(search.ranges, seconds - carried * MINUTE_US))
        moved = search.minutes << (minutes + carried)
        for shift, of_day in ((days, moved & _WHOLE_DAY), (days + 1, moved >> _MINUTES)):
            if ranges and of_day:
                yield _Layer(search, shift, of_day, ranges)


def _moved(ranges: Iterable[range], by: int) -> Iterator[range]:
    """What of ranges is within a minute when moved."""
    for values in ranges:
        kept = values[bisect_left(values, -by) : bisect_left(values, MINUTE_US - by)]
        if kept:
            yield range(kept.start + by, kept.stop + by, kept.step)


class _Together:
    """Layers seen by one clock.

    `seconds` keeps what is made of a minute's ranges: they are the same for most clocks, and dense
    ones take megabytes.
    """

    def __init__(self, layers: list[_Layer], seconds: dict[frozenset[range], _Seconds]) -> None:
        self._layers = layers
        self._seconds = seconds
        self._times: dict[tuple[int, ...], _Times] = {}

    def count(self, low: int, high: int) -> int:
        """How many readings from `low` to before `high` at least one layer matches."""
        (first, since), (last, until) = divmod(low, DAY_US), divmod(high, DAY_US)
        span = last - first
        whole = (1 << span) - 1
        total = 0
        for which, days in _split([layer.days(first, last + 1) for layer in self._layers]):
            times = self._times_of(which)
            total += (days & whole).bit_count() * times.count
            if days & 1:
                total -= times.below(since)
            if days >> span & 1:
                total += times.below(until)
        return total

    def _times_of(self, which: tuple[int, ...]) -> _Times:
        """The times of a day on which these layers match."""
        times = self._times.get(which)
        if times is None:
            times = self._times[which] = _Times(
                [self._layers[index] for index in which], self._seconds
            )
        return times


class _Times:
    """The times of day that at least one of some layers has."""

    def __init__(self, layers: Sequence[_Layer], known: dict[frozenset[range], _Seconds]) -> None:
        self._parts: list[tuple[int, _Seconds]] = []
        for which, minutes in _split([layer.minutes for layer in layers]):
            ranges = frozenset(values for index in which for values in layers[index].ranges)
            seconds = known.get(ranges)
            if seconds is None:
                seconds = known[ranges] = _Seconds(ranges)
            self._parts.append((minutes, seconds))
        self.count = sum(minutes.bit_count() * seconds.count for minutes, seconds in self._parts)

    def below(self, time: int) -> int:
        """How many lie before `time` (microseconds)."""
        minute, rest = divmod(time, MINUTE_US)
        earlier = (1 << minute) - 1
        return sum(
            (minutes & earlier).bit_count() * seconds.count
            + (seconds.below(rest) if minutes >> minute & 1 else 0)
            for minutes, seconds in self._parts
        )


class _Seconds:
    """The values of some ranges of microseconds, as bits of their greatest common divisor."""

    def __init__(self, unique: frozenset[range]) -> None:
        steps = [values.step for values in unique if len(values) > 1]
        self._unit = gcd(*(values.start for values in unique), *steps) or SECOND_US
        self._bits = reduce(or_, (_progression(values, self._unit) for values in unique))
        self.count = self._bits.bit_count()

    def below(self, rest: int) -> int:
        """How many lie before `rest`."""
        return (self._bits & ((1 << -(-rest // self._unit)) - 1)).bit_count()


def _progression(values: range, unit: int) -> int:
    """The values as bits, each that of its multiple of `unit`; in steps that double."""
    step, length = values.step // unit, len(values)
    bits, have = 1, 1
    while have < length:
        more = min(have, length - have)
        bits |= bits << (step * more)
        have += more
    return bits << (values.start // unit)


def _split(masks: Sequence[int]) -> list[tuple[tuple[int, ...], int]]:
    """The bits that are in any mask, parted by which masks they are in: (which, bits)."""
    parts: list[tuple[tuple[int, ...], int]] = []
    seen = 0
    for index, mask in enumerate(masks):
        for at in range(len(parts)):
            which, bits = parts[at]
            if both := bits & mask:
                parts[at] = (*which, index), both
                if rest := bits & ~mask:
                    parts.append((which, rest))
        if new := mask & ~seen:
            parts.append(((index,), new))
        seen |= mask
    return parts
