"""How does a reader write and read times? In the zone of the reader, never in the machine's UTC
unless asked for; and how long things took.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Final

from libbarto.brief import DAYS, MONTHS, two_units
from libbarto.errors import UserError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
LAST: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
LOCALTIME: Final = Path("/etc/localtime")
ZONES: Final = Path("/usr/share/zoneinfo")

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_TIME: Final = re.compile(
    r"(?:(?P<day>today|yesterday)[ T]+)?(?P<h>\d{1,2}):(?P<m>\d\d)(?::(?P<s>\d\d))?"
)
_COMING: Final = re.compile(
    r"(?:(?P<day>today|tomorrow)[ T]+)?(?P<h>\d{1,2}):(?P<m>\d\d)(?::(?P<s>\d\d))?"
)


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone to show times in: its name for people, and its rules (None: those of this host)."""

    name: str
    rules: tzinfo | None = None


UTC_ZONE: Final = Zone("UTC", UTC)


def zone_here() -> Zone:
    """The reader's zone: TZ where it is set, else this host's."""
    named = os.environ.get("TZ", "").removeprefix(":")
    if "zoneinfo/" in named:
        return Zone(named.rpartition("zoneinfo/")[2])
    if named and not named.startswith("/"):
        # What the C library does not know it takes for UTC; with digits in it, it is a rule.
        rule = any(character.isdigit() for character in named)
        return Zone(named) if rule or (ZONES / named).is_file() else UTC_ZONE
    try:
        target = str((Path(named) if named else LOCALTIME).resolve())
    except OSError:
        target = ""
    _, found, name = target.partition("/zoneinfo/")
    if found:
        return Zone("UTC" if name in {"Etc/UTC", "Etc/UCT", "UCT", "Zulu"} else name)
    return Zone(datetime.now(UTC).astimezone().tzname() or "local time")


def from_instant(instant: int) -> datetime:
    """Microseconds since 1970 as a time in UTC; beyond the years 1 to 9999, the end of them."""
    try:
        return EPOCH + timedelta(microseconds=instant)
    except OverflowError:
        return LAST if instant > 0 else FIRST


def read(text: str) -> datetime:
    """A time as the server writes it (RFC 3339)."""
    return datetime.fromisoformat(text)


def rfc3339(moment: datetime) -> str:
    """A time for programs, in UTC.

    >>> rfc3339(datetime(2026, 11, 24, 8, 0, tzinfo=UTC))
    '2026-11-24T08:00:00Z'
    """
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def shown(moment: datetime, zone: Zone, now: datetime) -> str:
    """A time for people: weekday, date, and time of day; the year where it is not this one.

    >>> shown(datetime(2026, 11, 24, 8, 0, tzinfo=UTC), UTC_ZONE, datetime(2026, 1, 1, tzinfo=UTC))
    'Tue 24 Nov 08:00:00'
    """
    try:
        there = moment.astimezone(zone.rules)
        year = now.astimezone(zone.rules).year
    except (OverflowError, ValueError, OSError):
        there, year = moment, 0  # at the ends of the calendar no zone has rules
    day = f"{DAYS[there.weekday()]} {there.day:2} {MONTHS[there.month - 1]}"
    return f"{day}{'' if there.year == year else f' {there.year}'} {there:%H:%M:%S}"


def duration(seconds: float | None) -> str:
    """How long something took, in two units at most.

    >>> [duration(s) for s in (0.0123, 1.5, 42, 3661, 90_061, None)]
    ['12ms', '1.5s', '42s', '1h01m', '1d01h', '']
    """
    if seconds is None:
        return ""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    large, rest, unit = two_units(seconds)
    return f"{large}{rest:02}{unit}" if unit else large


def rough(seconds: float) -> str:
    """How long, in the one unit that says most.

    >>> [rough(s) for s in (0.2, 42, 2300, 32_400, 111_600, 90 * 86_400, -5)]
    ['0s', '42s', '38m', '9h', '31h', '90d', '0s']
    """
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if whole >= 2 * size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def size(count: int | None) -> str:
    """Bytes for people.

    >>> [size(n) for n in (0, 999, 20_480, 5 << 20)]
    ['0 B', '999 B', '20.0 KiB', '5.0 MiB']
    """
    if count is None:
        return ""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(amount) < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"


def when(text: str, now: datetime, zone: Zone) -> datetime:
    """The time that a reader means: `2h` (ago), `today`, `yesterday`, `2026-11-24`,
    `2026-11-24 08:00`, or RFC 3339. Without a zone it is the reader's.

    Raises `UserError` that shows how it is written.

    >>> when("2h", datetime(2026, 11, 24, 8, tzinfo=UTC), UTC_ZONE).hour
    6
    """
    from libbarto.quantity import parse_duration

    word = text.strip()
    here = now.astimezone(zone.rules)
    try:
        if word == "now":
            return now
        if word in {"today", "yesterday"}:
            return _midnight(here.date() - timedelta(days=word == "yesterday"), zone)
        if _DATE.fullmatch(word):
            return _midnight(date.fromisoformat(word), zone)
        if _DATE.match(word):
            moment = datetime.fromisoformat(word)
            return moment if moment.tzinfo else _in_zone(moment, zone)
        return now - timedelta(seconds=parse_duration(word))
    except (ValueError, OverflowError) as error:
        raise UserError(
            f'"{text}" is not a time; write 2h (ago), today, yesterday, 2026-11-24, '
            f'"2026-11-24 08:00" or 2026-11-24T08:00:00Z'
        ) from error


def coming(text: str, now: datetime, zone: Zone) -> datetime:
    """The time to come that a reader means: `2h` (from now), `18:00` (the next one), `tomorrow`,
    `tomorrow 8:00`, or a date as `when` reads it. Without a zone it is the reader's.

    Raises `UserError` that shows how it is written.

    >>> now = datetime(2026, 11, 24, 8, tzinfo=UTC)
    >>> [coming(text, now, UTC_ZONE).strftime("%d %H:%M") for text in ("2h", "18:00", "7:30")]
    ['24 10:00', '24 18:00', '25 07:30']
    """
    from libbarto.quantity import parse_duration

    word = text.strip()
    today = now.astimezone(zone.rules).date()
    try:
        if word == "tomorrow":
            return _midnight(today + timedelta(days=1), zone)
        if found := _COMING.fullmatch(word):
            clock = time(int(found["h"]), int(found["m"]), int(found["s"] or 0))
            day = today + timedelta(days=found["day"] == "tomorrow")
            there = _in_zone(datetime.combine(day, clock), zone)
            if found["day"] is None and there <= now:
                there = _in_zone(datetime.combine(day + timedelta(days=1), clock), zone)
            return there
        if _DATE.match(word):
            return when(word, now, zone)
        return now + timedelta(seconds=parse_duration(word))
    except (ValueError, OverflowError) as error:
        raise UserError(
            f'"{text}" is not a time to come; write 2h (from now), 18:00, tomorrow, 2026-11-24, '
            f'"2026-11-24 08:00" or 2026-11-24T08:00:00Z'
        ) from error


def moment(text: str, now: datetime, zone: Zone) -> datetime:
    """A planned start that a reader names: as `when`, or `02:00` (the last one), or
    `yesterday 02:00`.

    Raises `UserError` that shows how it is written.

    >>> now = datetime(2026, 11, 24, 8, tzinfo=UTC)
    >>> [moment(text, now, UTC_ZONE).strftime("%d %H:%M") for text in ("02:00", "09:30")]
    ['24 02:00', '23 09:30']
    >>> moment("yesterday 2:15", now, UTC_ZONE).strftime("%d %H:%M")
    '23 02:15'
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        there = when(text, now, zone)
        # What counts back from now means no second.
        return there.replace(second=0, microsecond=0) if there.microsecond else there
    today = now.astimezone(zone.rules).date()
    hours, minutes, seconds = (int(found[part] or 0) for part in ("h", "m", "s"))
    try:
        clock = time(hours, minutes, seconds)
    except ValueError as error:
        raise UserError(f'"{text}" is not a time: hours are 0 to 23, minutes 0 to 59') from error
    day = today - timedelta(days=found["day"] == "yesterday")
    there = _in_zone(datetime.combine(day, clock), zone)
    if found["day"] is None and there > now:
        there = _in_zone(datetime.combine(day - timedelta(days=1), clock), zone)
    return there


def _midnight(day: date, zone: Zone) -> datetime:
    return _in_zone(datetime.combine(day, time()), zone)


def _in_zone(moment: datetime, zone: Zone) -> datetime:
    return moment.astimezone() if zone.rules is None else moment.replace(tzinfo=zone.rules)
