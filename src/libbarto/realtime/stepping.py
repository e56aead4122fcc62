"""What elapses next, away from every clock change? The search again, made for speed.

Nearly every question is about two days on which clocks run evenly: that of the base and that of the
answer. There the wall clock is all that counts, and the fields of a datetime are the wall clock: no
offset is needed, and no reading as a number. What lies beside a change is left to `changes`.

A step is made once for a calendar in a zone, and fills the tables it looks things up in; an entry
is set whole, so that threads can at worst make one twice.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Final, TypeAlias

from libbarto.realtime import changes
from libbarto.realtime.changes import SYSTEMD
from libbarto.realtime.search import DAY_US, MINUTE_US, YEAR_STARTS, Search
from libbarto.realtime.units import SECOND_US, YEAR
from libbarto.realtime.zones import EPOCH, EPOCH_DAY, Zone

Step: TypeAlias = Callable[[datetime], datetime | None]
"""From an aware datetime to the first elapse strictly after it, or None."""

IntStep: TypeAlias = Callable[[int], int]
"""The same in microseconds since 1970; `NONE` for never, `BESIDE` where `changes` must tell."""

NONE: Final = -1 << 61
BESIDE: Final = -1 << 62

_HOUR_BITS: Final = (1 << 60) - 1
_LONG_AGO: Final = -1 << 62


def instant_of(moment: datetime) -> int:
    """An aware datetime in microseconds since 1970; ValueError for a naive one."""
    if not isinstance(moment, datetime):
        raise TypeError(f"expected an aware datetime, got {moment!r}")
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(f"{moment.isoformat()} has no time zone: pass an aware datetime")
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND_US + since.microseconds


def datetime_step(search: Search, zone: Zone) -> Step:
    """From datetime to datetime, in the zone, with clock changes as systemd treats them."""
    tzinfo, touched = zone.tzinfo, zone.touched_ordinals
    minutes_of_day = search.minutes
    last_second, second_after = search.last_second, search.second_after
    first = _time(search.first, zone)
    combine, from_ordinal = datetime.combine, datetime.fromordinal
    days_of: dict[int, tuple[int, int]] = {}
    first_days: dict[int, int] = {}
    rows: dict[int, tuple[time | None, ...]] = {}

    def step(moment: datetime) -> datetime | None:
        if moment.tzinfo is not tzinfo:
            return from_elsewhere(moment)
        day = moment.toordinal()
        if day in touched:
            return beside_change(moment)
        year = moment.year
        try:
            days, new_year = days_of[year]
        except KeyError:
            days, new_year = look_up_days(year)
        days >>= day - new_year
        if days & 1:
            hour, minute = moment.hour, moment.minute
            if last_second and minutes_of_day >> 60 * hour + minute & 1:
                rest = moment.second * SECOND_US + moment.microsecond
                if rest < last_second:
                    second, micros = divmod(second_after(rest), SECOND_US)
                    return combine(moment, time(hour, minute, second, micros, tzinfo))
            try:
                at = rows[hour][minute]
            except KeyError:
                at = look_up_row(hour)[minute]
            if at is not None:
                return combine(moment, at)
        days >>= 1
        if days:
            day += (days & -days).bit_length()
        else:
            try:
                day = first_days[year]
            except KeyError:
                day = look_up_first_day(year)
            if not day:
                return None
        if day in touched:
            return beside_change(moment)
        return combine(from_ordinal(day), first)

    def from_elsewhere(moment: datetime) -> datetime | None:
        """For a base in another zone."""
        if moment.tzinfo is not UTC and moment.utcoffset() is None:
            return beside_change(moment)  # which refuses it
        try:
            return step(moment.astimezone(tzinfo))
        except OverflowError:  # in the year 1 or 9999
            return beside_change(moment)

    def beside_change(moment: datetime) -> datetime | None:
        found = changes.after(search, zone, instant_of(moment), SYSTEMD, False)
        return None if found is None else zone.datetime(found[0], found[2])

    def look_up_days(year: int) -> tuple[int, int]:
        """The days that match in a year, 1 January the lowest bit; and the ordinal of that day."""
        found = search.days_of_year(year - YEAR.low), date(year, 1, 1).toordinal()
        days_of[year] = found
        return found

    def look_up_first_day(year: int) -> int:
        """The ordinal of the first day that matches in a later year than this; 0 for none."""
        found = search.first_day_after(year - YEAR.low)
        first_days[year] = found = 0 if found < 0 else found + EPOCH_DAY
        return found

    def look_up_row(hour: int) -> tuple[time | None, ...]:
        """For each minute of an hour, the first later time of day that starts a minute's list."""
        laters = _later_minutes(minutes_of_day, hour)
        times = {
            later: _time(later * MINUTE_US + search.first_second, zone) if later >= 0 else None
            for later in set(laters)
        }
        rows[hour] = found = tuple([times[later] for later in laters])
        return found

    return step


def int_step(search: Search, zone: Zone) -> IntStep:
    """From instant to instant, whatever the policies for clock changes."""
    starts, offsets, edges, touched = zone.starts, zone.offsets, zone.edges, zone.touched
    last, first = search.last, search.first
    first_second, last_second = search.first_second, search.last_second
    minutes_of_day, second_after = search.minutes, search.second_after
    days_of: dict[int, tuple[int, int]] = {}
    first_days: dict[int, int] = {}

    def step(instant: int) -> int:
        offset = offsets[bisect_right(starts, instant)]
        day, time = divmod(instant + offset, DAY_US)
        if day in touched:
            return BESIDE
        year = bisect_right(YEAR_STARTS, day)
        try:
            days, new_year = days_of[year]
        except KeyError:
            days, new_year = look_up_days(year)
        days >>= day - new_year
        if days & 1 and time < last:
            minute, rest = divmod(time, MINUTE_US)
            minutes = minutes_of_day >> minute
            if minutes & 1 and rest < last_second:
                return instant - rest + second_after(rest)
            minutes >>= 1
            later = (minutes & -minutes).bit_length() * MINUTE_US
            return instant - rest + later + first_second
        days >>= 1
        if days:
            day += (days & -days).bit_length()
        else:
            try:
                day = first_days[year]
            except KeyError:
                day = first_days[year] = search.first_day_after(year - 1)
            if day < 0:
                return NONE
        if day in touched:
            return BESIDE
        wall = day * DAY_US + first
        return wall - offsets[bisect_right(edges, wall) >> 1]

    def look_up_days(year: int) -> tuple[int, int]:
        """The days that match in a year counted from 1 for 1970, and its first day."""
        new_year = YEAR_STARTS[year - 1] if year else _LONG_AGO
        days_of[year] = found = search.days_of_year(year - 1), new_year
        return found

    return step


def _time(time_of_day: int, zone: Zone) -> time:
    """A time of day (microseconds) as an aware `time`, one object for a minute of a zone."""
    minute, rest = divmod(time_of_day, MINUTE_US)
    if rest == 0:
        return zone.times.get(minute) or zone.times.setdefault(
            minute, time(minute // 60, minute % 60, tzinfo=zone.tzinfo)
        )
    second, micros = divmod(rest, SECOND_US)
    return time(minute // 60, minute % 60, second, micros, zone.tzinfo)


def _later_minutes(minutes: int, hour: int) -> list[int]:
    """For each minute of an hour the next minute of the day that is in a mask, or -1.

    >>> _later_minutes(1 << 125 | 1 << 130, 2)[4:11]
    [125, 130, 130, 130, 130, 130, -1]
    """
    beyond = minutes >> 60 * (hour + 1)
    later = 60 * (hour + 1) + (beyond & -beyond).bit_length() - 1 if beyond else -1
    of_hour = minutes >> 60 * hour & _HOUR_BITS
    if not of_hour:
        return [later] * 60
    found = []
    for minute in range(59, -1, -1):
        found.append(later)
        if of_hour >> minute & 1:
            later = 60 * hour + minute
    return found[::-1]
