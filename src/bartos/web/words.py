"""How do times, durations and amounts read on a page? Values in, short text out; the script in
`static/barto.js` has the same words for what it writes itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from urllib.parse import quote

from markupsafe import Markup, escape

from libbarto.brief import DAYS, MONTHS, two_units
from libbarto.harmless import safe, safe_lines


def in_zone(moment: datetime, zone: tzinfo) -> datetime:
    """A time in a zone; at the ends of the calendar, where no zone has rules, as it is.

    >>> in_zone(datetime(9999, 12, 31, 23, 59, tzinfo=UTC), UTC).year
    9999
    """
    try:
        return moment.astimezone(zone)
    except (OverflowError, ValueError):
        return moment


def short_time(moment: datetime, zone: tzinfo, now: datetime) -> str:
    """A time as far as it has to be said: the time of day, with the day where it is not today.

    >>> now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    >>> short_time(datetime(2026, 11, 24, 2, 17, 41, tzinfo=UTC), UTC, now)
    '02:17:41'
    >>> short_time(datetime(2026, 11, 25, 2, 17, 41, tzinfo=UTC), UTC, now)
    'Wed 25 Nov 02:17'
    >>> short_time(datetime(2025, 1, 5, 2, 17, tzinfo=UTC), UTC, now)
    'Sun 5 Jan 2025 02:17'
    """
    there, today = in_zone(moment, zone), in_zone(now, zone)
    if there.date() == today.date():
        return f"{there:%H:%M:%S}"
    return f"{_day(there, today.year)} {there:%H:%M}"


def span(first: datetime, last: datetime, zone: tzinfo, now: datetime) -> tuple[str, str]:
    """Both ends of a span of time, the second without the day where it is the same one.

    >>> now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    >>> first = datetime(2026, 11, 25, 4, tzinfo=UTC)
    >>> span(first, first.replace(minute=59), UTC, now)
    ('Wed 25 Nov 04:00', '04:59')
    """
    begin, end = in_zone(first, zone), in_zone(last, zone)
    shown_end = f"{end:%H:%M}" if begin.date() == end.date() else short_time(last, zone, now)
    if begin.date() == in_zone(now, zone).date():
        return f"{begin:%H:%M}", shown_end
    return short_time(first, zone, now), shown_end


def long_time(moment: datetime, zone: tzinfo, name: str) -> str:
    """A time with all there is to say: day, second, zone, and distance from UTC.

    >>> long_time(datetime(2026, 11, 24, 2, 17, 41, tzinfo=UTC), UTC, "UTC")
    'Tue 24 Nov 2026 02:17:41 UTC'
    """
    there = in_zone(moment, zone)
    offset = f"{there:%z}"
    words = "" if name == "UTC" else f" (UTC{offset[:3]}:{offset[3:5]})"
    return f"{_day(there, 0)} {there:%H:%M:%S} {name}{words}"


def _day(there: datetime, year: int) -> str:
    day = f"{DAYS[there.weekday()]} {there.day} {MONTHS[there.month - 1]}"
    return day if there.year == year else f"{day} {there.year}"


def iso(moment: datetime) -> str:
    """A time for programs (RFC 3339, UTC).

    >>> iso(datetime(2026, 11, 24, 2, tzinfo=UTC))
    '2026-11-24T02:00:00Z'
    """
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def duration(seconds: float | None) -> str:
    """How long something took, in two units at most.

    >>> [duration(s) for s in (0.0123, 1.5, 42, 3661, 90_061, -2, None)]
    ['12ms', '1.5s', '42s', '1h 01m', '1d 01h', '-2s', '']
    """
    if seconds is None:
        return ""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    large, rest, unit = two_units(seconds)
    return f"{large} {rest:02}{unit}" if unit else large


def elapsed(seconds: float) -> str:
    """How long something has been going on: hours, minutes, seconds.

    >>> elapsed(42.9), elapsed(111_731), elapsed(-1)
    ('0:00:42', '31:02:11', '0:00:00')
    """
    whole = max(0, int(seconds))
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"


def from_now(seconds: float) -> str:
    """When, seen from now.

    >>> from_now(2300), from_now(-42), from_now(0.2)
    ('in 38m', '42s ago', 'now')
    """
    if abs(seconds) < 1:
        return "now"
    said = duration(abs(seconds)).partition(" ")[0]
    return f"in {said}" if seconds > 0 else f"{said} ago"


def size(number: int) -> str:
    """An amount of bytes.

    >>> [size(n) for n in (0, 999, 88_200, 5_400_000, 7_100_000_000)]
    ['0 B', '999 B', '88 kB', '5.4 MB', '7.1 GB']
    """
    if number < 1000:
        return f"{number} B"
    unit, amount = "kB", number / 1000
    for larger in ("MB", "GB"):
        if amount >= 1000:
            unit, amount = larger, amount / 1000
    return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:,.0f} {unit}"


def count(number: int, one: str = "", many: str = "") -> str:
    """A number with its thousands apart, and a word to it.

    >>> count(1204), count(1, "line"), count(2, "line"), count(0, "entry", "entries")
    ('1,204', '1 line', '2 lines', '0 entries')
    """
    said = f"{number:,}"
    if not one:
        return said
    return f"{said} {one if number == 1 else many or f'{one}s'}"


def segment(text: str) -> str:
    """Text as a part of a URL's path; slashes stay, as names of schedules may have them.

    >>> segment("main/backup & co")
    'main/backup%20%26%20co'
    """
    return quote(text, safe="/", errors="replace")


def body(values: Mapping[str, object]) -> str:
    """What a button sends.

    >>> body({"schedule": "backup"})
    '{"schedule": "backup"}'
    """
    return json.dumps(values)


def lines(text: str) -> Markup:
    """Text of several lines, escaped and without anything that could do something.

    >>> str(lines("a < b\\n\\x1b[0m"))
    'a &lt; b\\n\\\\x1b[0m'
    """
    return escape(safe_lines(text))


def shown(value: object) -> object:
    """What a template writes: text without anything that could do something, and None as nothing.

    >>> shown("a\\x1b[31m"), shown(7), shown(None)
    ('a\\\\x1b[31m', 7, '')
    """
    if value is None:
        return ""
    # Markup is a str too: only what is plain text comes from others.
    return safe(value) if type(value) is str else value
