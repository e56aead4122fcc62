"""What starts come next, and what is to be said of each: for those who want to see a schedule.

Instants are microseconds since 1970, UTC.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from heapq import merge
from itertools import islice

from libbarto.realtime import zones
from libbarto.realtime.calendar import Realtime, drawn_as
from libbarto.realtime.doubts import reading_text, touched
from libbarto.realtime.union import Calendars
from libbarto.realtime.units import DAY, DAY_FROM_END, EVERY_WEEKDAY, MONTH, UNITS, Field, Random
from libbarto.realtime.zones import EPOCH, Zone


@dataclass(frozen=True, slots=True)
class Rules:
    """How clock changes are treated, and the zone of calendars that have none."""

    timezone: str = "UTC"
    dst_gap: str = "next"
    dst_repeat: str = "auto"

    def zone_of(self, calendar: Realtime) -> Zone:
        """Where a calendar is read."""
        return zones.load(calendar.zone or self.timezone)

    def after(self, calendar: Realtime, instant: int) -> int | None:
        """The first elapse strictly after `instant`, or None."""
        return calendar.elapse_after(
            instant, self.timezone, dst_gap=self.dst_gap, dst_repeat=self.dst_repeat
        )

    def before(self, calendars: Calendars, instant: int) -> int | None:
        """The last elapse strictly before `instant`, or None."""
        return calendars.elapse_before(
            instant, self.timezone, dst_gap=self.dst_gap, dst_repeat=self.dst_repeat
        )


@dataclass(frozen=True, slots=True, order=True)
class Start:
    """A planned start at `at`, or, where each worker has its own, at one from `at` to `until`.

    `zone` is the name of the zone it is read in, `note` what a clock change makes of it.
    """

    at: int
    until: int
    zone: str
    note: str = ""


def starts(calendars: Sequence[Realtime], after: int, rules: Rules) -> Iterator[Start]:
    """The starts strictly after `after`, one at a time; with `R` the spans that hold one of each
    worker. What several calendars match comes once."""
    last: tuple[int, int] | None = None
    for start in merge(*(_of_one(calendar, after, rules) for calendar in calendars)):
        if (start.at, start.until) != last:
            yield start
        last = start.at, start.until


def upcoming(calendars: Sequence[Realtime], after: int, count: int, rules: Rules) -> list[Start]:
    """The first `count` of `starts`."""
    return list(islice(starts(calendars, after, rules), count))


def _of_one(calendar: Realtime, after: int, rules: Rules) -> Iterator[Start]:
    zone = rules.zone_of(calendar)
    if not calendar.has_random:
        at = rules.after(calendar, after)
        while at is not None:
            yield Start(at, at, zone.name, note(calendar, zone, at))
            at = rules.after(calendar, at)
        return
    earliest, latest = bounds(calendar)
    # A span may have begun: its end is what lies ahead.
    until = rules.after(latest, after)
    while until is not None:
        at = rules.before(Calendars.of([earliest]), until + 1)
        yield Start(until if at is None else at, until, zone.name)
        until = rules.after(latest, until)


def note(calendar: Realtime, zone: Zone, at: int) -> str:
    """What a clock change makes of the start at `at`: short, and empty almost always."""
    change = bisect_right(zone.starts, at) - 1
    if change >= 0 and zone.starts[change] == at:
        for touch in touched(calendar, zone, at - 1, at):
            moment = EPOCH + timedelta(microseconds=at)
            if not touch.repeated and not calendar.matches(moment, zone.name):
                return f"moved from {reading_text(touch.first, touch.after)}"
    reading = at + zone.offset_at(at)
    place = bisect_right(zone.edges, reading)
    if place & 1:  # a reading that does not exist is none of a start's
        return f"the {'second' if change >= place >> 1 else 'first'} {reading_text(reading)}"
    return ""


def is_span(calendar: Realtime) -> bool:
    """Whether what `R` may be lies in spans of which each worker has one start.

    Not where a weekday, or a short month, decides whether what is drawn comes at all, not for a
    month of its own, and not for a repetition that does not fit.
    """
    parts = calendar.parts
    for field, unit in zip(parts.fields, UNITS, strict=True):
        if not isinstance(field, Random):
            continue
        if field.step and (unit is DAY or (unit.random + 1 - unit.low) % field.step):
            return False
        if unit is DAY and parts.weekdays != EVERY_WEEKDAY:
            return False
        if unit is DAY and not parts.from_end and field.high > DAY.random:
            return False
        if unit is MONTH:
            return False
    return True


def bounds(calendar: Realtime) -> tuple[Realtime, Realtime]:
    """The calendars that `R` makes at the earliest, and at the latest."""
    parts = calendar.parts
    both: list[Realtime] = []
    for latest in (False, True):
        fields: list[Field] = []
        for field, unit in zip(parts.fields, UNITS, strict=True):
            chosen = field
            if isinstance(field, Random):
                from_end = unit is DAY and parts.from_end
                drawn = field.high if latest is not from_end else field.low
                chosen = drawn_as(field, DAY_FROM_END if from_end else unit, drawn)
            fields.append(chosen)
        year, month, day, hour, minute, second = fields
        both.append(
            Realtime(
                parts._replace(
                    year=year, month=month, day=day, hour=hour, minute=minute, second=second
                )
            )
        )
    return both[0], both[1]
