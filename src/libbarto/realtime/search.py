"""Which wall clock reading matches next? Fields as bit masks, searched without a zone.

A wall clock reading is an int, the microseconds from 1970-01-01 00:00 to it on that wall; a day
is 24 hours here, whatever a zone makes of it. The days of a year depend on two things only, the
weekday of 1 January and whether it is a leap year, so there are 14 masks of 366 bits at most, and
a mask of the years that match at all: 29 February and "never" need no loop.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

from libbarto.realtime.grammar import Parts
from libbarto.realtime.units import (
    DAY,
    EVERY_WEEKDAY,
    HOUR,
    MINUTE,
    MONTH,
    SECOND,
    YEAR,
    Field,
    Random,
    Unit,
    item_values,
)

NEVER: Final = -1
MINUTE_US: Final = 60_000_000
DAY_US: Final = 24 * 60 * MINUTE_US

MOST_SECONDS: Final = 3600
"""A longer list of a minute's seconds is computed instead of kept (`0/0.000001` has 60 million)."""

_MONTH_LENGTHS: Final = (
    (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31),
    (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31),
)
_WEEKS: Final = sum(1 << (7 * week) for week in range(53))


def _year_table() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The first day of every year, counted from 1970-01-01, and every year's kind."""
    starts, kinds, day = [], [], 0
    for year in range(YEAR.low, YEAR.high + 1):
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        starts.append(day)
        kinds.append((day + 3) % 7 + (7 if leap else 0))  # 1970-01-01 was a Thursday
        day += 365 + leap
    starts.append(day)
    return tuple(starts), tuple(kinds)


YEAR_STARTS, YEAR_KINDS = _year_table()
END_US: Final = YEAR_STARTS[-1] * DAY_US
"""The first reading of 2200: nothing matches from there on."""

_KIND_YEARS: Final = tuple(
    sum(1 << year for year, k in enumerate(YEAR_KINDS) if k == kind) for kind in range(14)
)
"""For each kind, the years that are of it, 1970 the lowest bit."""


def _mask(field: Field, unit: Unit) -> int:
    """The values of a field as bits, the unit's lowest value the lowest bit."""
    assert not isinstance(field, Random)
    if field is None:
        return (2 << (unit.high - unit.low)) - 1
    bits = 0
    for item in field:
        for value in item_values(item, unit):
            bits |= 1 << (value - unit.low)
    return bits


def _days_from_end(field: Field) -> list[int]:
    """The days counted from the month's end: an open repetition runs towards the end."""
    assert field is not None
    assert not isinstance(field, Random)
    days: list[int] = []
    for item in field:
        if item.stop < 0 and item.step:
            days.extend(range(item.start, 0, -item.step))
        else:
            days.extend(item_values(item, DAY))
    return days


class Search:
    """One calendar without `R`, made ready to be searched on the wall clock."""

    __slots__ = (
        "_days",
        "_days_of_year",
        "_live",
        "_month_days",
        "_months",
        "_seconds",
        "_weekdays",
        "_years",
        "first",
        "first_second",
        "last",
        "last_second",
        "minutes",
        "ranges",
    )

    def __init__(self, parts: Parts) -> None:
        self._weekdays = parts.weekdays
        self._years = _mask(parts.year, YEAR)
        months = _mask(parts.month, MONTH)
        self._months = tuple(month for month in range(12) if months >> month & 1)
        # For each length a month can have, 28 to 31, the days that match in it.
        if parts.from_end:
            from_end = _days_from_end(parts.day)
            self._month_days = tuple(
                sum(1 << day for day in {length - back for back in from_end})
                for length in range(28, 32)
            )
        else:
            days = _mask(parts.day, DAY)
            self._month_days = tuple(days & ((1 << length) - 1) for length in range(28, 32))
        self._days: list[int | None] = [None] * 14
        self._days_of_year: dict[int, int] = {}
        self._live: int | None = None

        hours, minutes = _mask(parts.hour, HOUR), _mask(parts.minute, MINUTE)
        self.minutes = sum(minutes << (60 * hour) for hour in range(24) if hours >> hour & 1)
        """The minutes of a day that match, 00:00 the lowest bit."""
        assert parts.second is not None
        assert not isinstance(parts.second, Random)
        self.ranges = tuple(item_values(item, SECOND) for item in parts.second)
        """The microseconds of a minute that match; they may overlap."""
        self._seconds: tuple[int, ...] | None = None
        if len(self.ranges) > 1 and sum(map(len, self.ranges)) <= MOST_SECONDS:
            self._seconds = tuple(sorted(set().union(*self.ranges)))

        self.first_second = min(values[0] for values in self.ranges)
        """The first microsecond of a minute that matches."""
        self.last_second = max(values[-1] for values in self.ranges)
        """The last microsecond of a minute that matches."""

        minute = (self.minutes & -self.minutes).bit_length() - 1
        self.first = minute * MINUTE_US + self.first_second
        """The first time of day that matches."""
        minute = self.minutes.bit_length() - 1
        self.last = minute * MINUTE_US + self.last_second
        """The last time of day that matches."""

    def days(self, kind: int) -> int:
        """The days that match in a year of this kind, 1 January the lowest bit."""
        known = self._days[kind]
        if known is not None:
            return known
        year = start = 0
        lengths = _MONTH_LENGTHS[kind // 7]
        selected = self._months
        for month, length in enumerate(lengths):
            if month in selected:
                year |= self._month_days[length - 28] << start
            start += length
        if self._weekdays != EVERY_WEEKDAY:
            first = kind % 7
            week = (self._weekdays >> first | self._weekdays << (7 - first)) & EVERY_WEEKDAY
            year &= week * _WEEKS
        self._days[kind] = year
        return year

    def days_of_year(self, year: int) -> int:
        """The days that match in a year counted from 1970; none outside of 1970 to 2199."""
        inside = 0 <= year < len(YEAR_KINDS) and self._years >> year & 1
        days = self.days(YEAR_KINDS[year]) if inside else 0
        self._days_of_year[year] = days
        return days

    @property
    def live_years(self) -> int:
        """The years that have a day that matches, 1970 the lowest bit."""
        if self._live is None:
            self._live = sum(
                self._years & years for kind, years in enumerate(_KIND_YEARS) if self.days(kind)
            )
        return self._live

    def after(self, day: int, time: int) -> int:
        """The first matching reading strictly after `time` (microseconds) on a day since 1970.

        Returns microseconds since 1970-01-01 00:00 on the wall, or NEVER.
        """
        year = bisect_right(YEAR_STARTS, day) - 1
        days = self._days_of_year.get(year)
        if days is None:
            days = self.days_of_year(year)
        if days:
            days >>= day - YEAR_STARTS[year]
            if days & 1 and time < self.last:
                minute, rest = divmod(time, MINUTE_US)
                minutes = self.minutes >> minute
                if minutes & 1 and rest < self.last_second:
                    return day * DAY_US + time - rest + self.second_after(rest)
                minutes >>= 1
                minute += (minutes & -minutes).bit_length()
                return day * DAY_US + minute * MINUTE_US + self.first_second
            days >>= 1
            if days:
                return (day + (days & -days).bit_length()) * DAY_US + self.first
        day = self.first_day_after(year)
        return NEVER if day < 0 else day * DAY_US + self.first

    def first_day_after(self, year: int) -> int:
        """The first day that matches in a later year than this (counted from 1970), or NEVER.

        Days are counted from 1970-01-01.
        """
        year = max(year + 1, 0)
        years = self.live_years >> year
        if not years:
            return NEVER
        year += (years & -years).bit_length() - 1
        days = self.days(YEAR_KINDS[year])
        return YEAR_STARTS[year] + (days & -days).bit_length() - 1

    def before(self, day: int, time: int) -> int:
        """The last matching reading strictly before `time` on a day, as `after` counts them."""
        year = bisect_right(YEAR_STARTS, day) - 1
        if year < 0:
            return NEVER
        days = self.days_of_year(year)
        if days:
            offset = day - YEAR_STARTS[year]
            days &= (2 << offset) - 1
            if days >> offset & 1:
                if time > self.first:
                    return day * DAY_US + self._time_before(time)
                days ^= 1 << offset
            if days:
                return (YEAR_STARTS[year] + days.bit_length() - 1) * DAY_US + self.last
        years = self.live_years & ((1 << year) - 1)
        if not years:
            return NEVER
        year = years.bit_length() - 1
        days = self.days(YEAR_KINDS[year])
        return (YEAR_STARTS[year] + days.bit_length() - 1) * DAY_US + self.last

    def _time_before(self, time: int) -> int:
        """The last time of day strictly before `time`, which lies after the first one."""
        minute, rest = divmod(time, MINUTE_US)
        minutes = self.minutes & ((2 << minute) - 1)
        if minutes >> minute & 1:
            if rest > self.first_second:
                return time - rest + self._second_before(rest)
            minutes ^= 1 << minute
        return (minutes.bit_length() - 1) * MINUTE_US + self.last_second

    def second_after(self, rest: int) -> int:
        """The first microsecond of a minute strictly after `rest`, which lies before the last."""
        seconds = self._seconds
        if seconds is not None:
            return seconds[bisect_right(seconds, rest)]
        if len(self.ranges) == 1:
            values = self.ranges[0]
            ahead = values.start - rest
            return rest + (ahead if ahead > 0 else ahead % values.step or values.step)
        return min(
            values[at] for values in self.ranges if (at := bisect_right(values, rest)) < len(values)
        )

    def _second_before(self, rest: int) -> int:
        """The last second of a minute strictly before `rest`, which lies after the first one."""
        return max(values[at - 1] for values in self.ranges if (at := bisect_left(values, rest)))
