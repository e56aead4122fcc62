"""Which instant does a text mean? RFC 3339, or a date and time on the wall of a time zone.

Instants are microseconds since 1970, UTC. A wall's reading that a clock change leaves out or
brings twice is no instant, and the error says so.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

from libbarto.errors import CalendarError
from libbarto.realtime import hints, zones
from libbarto.realtime.units import SECOND_US, YEAR
from libbarto.realtime.zones import EPOCH

_MINUTE_US: Final = 60 * SECOND_US
_MOMENT: Final = re.compile(
    r"(?P<date>(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2}))"
    r"(?:[Tt ](?P<time>(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:\.(?P<part>[0-9]{1,6}))?)?)"
    r"(?P<offset>[Zz]|[+-][0-9]{2}:[0-9]{2})?)?"
)
_EXAMPLES: Final = "2027-01-01T06:00:00Z, 2027-01-01T06:00:00+01:00 or 2027-01-01 06:00"


def parse_moment(text: str, tz: str = "UTC") -> int:
    """The instant of an RFC 3339 date and time; seconds may be left out, and so may the offset.

    Without an offset it is read on the wall of the zone `tz`. Raises CalendarError for a text
    that is neither, for a date that does not exist, for years outside of 1970 to 2199, for a
    reading that does not exist in the zone or exists twice, and for a zone that does not exist.

    >>> parse_moment("1970-01-01T01:00:00+01:00")
    0
    >>> parse_moment("1970-01-01 01:00", "Europe/Berlin")
    0
    """
    found = _MOMENT.fullmatch(text)
    if found is None:
        _fail(f"a date and time is written as {_EXAMPLES}, not {hints.short(text)}", text)
    if found["time"] is None:
        _fail(f"a time is missing after the date, as in {text} 06:00", text)
    if found["second"] == "60":
        _fail("leap seconds are not counted: write the second after it", text, found, "second")
    if not YEAR.low <= int(found["year"]) <= YEAR.high:
        _fail(YEAR.describe(), text, found, "year")
    year, month, day = (int(found[name]) for name in ("year", "month", "day"))
    try:
        wall = datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        _fail("no such day is in the calendar", text, found, "date")
    try:
        wall = wall.replace(
            hour=int(found["hour"]),
            minute=int(found["minute"]),
            second=int(found["second"] or 0),
            microsecond=int((found["part"] or "").ljust(6, "0")),
        )
    except ValueError:
        _fail("a time is 00:00:00 to 23:59:59", text, found, "time")
    reading = (wall - EPOCH) // timedelta(microseconds=1)
    offset = found["offset"]
    if offset is None:
        return _instant_of(reading, text, found, tz)
    if offset in "Zz":
        return reading
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    if hours > 23 or minutes > 59:
        _fail("an offset is -23:59 to +23:59", text, found, "offset")
    ahead = (hours * 60 + minutes) * _MINUTE_US
    return reading + ahead if offset[0] == "-" else reading - ahead


def _instant_of(reading: int, text: str, found: re.Match[str], tz: str) -> int:
    """The instant at which the wall of `tz` shows `reading`."""
    zone = zones.load(tz)
    place = bisect_right(zone.edges, reading)
    change = place >> 1
    before = zone.offsets[change]
    if not place & 1:
        return reading - before
    after = zone.offsets[change + 1]
    if before > after:
        first, second = (f"{text}{_offset_text(offset)}" for offset in (before, after))
        _fail(
            f"clocks are put back in {tz}, so this time comes twice; write {first} or {second}",
            text,
            found,
            "time",
        )
    moved = EPOCH + timedelta(microseconds=zone.edges[place])
    return _fail(
        f"clocks are put forward in {tz}, so this time does not exist;"
        f" the next that does is {moved:%Y-%m-%d %H:%M:%S}",
        text,
        found,
        "time",
    )


def _offset_text(offset: int) -> str:
    """`+02:00`."""
    minutes = abs(offset) // _MINUTE_US
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


def _fail(message: str, text: str, found: re.Match[str] | None = None, group: str = "") -> NoReturn:
    start, end = (0, min(len(text), 80)) if found is None else found.span(group)
    raise CalendarError(message, text, start, end)
