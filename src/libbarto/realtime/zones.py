"""What time is it where? The zones of the `tzdata` package as tables of their transitions.

The only room of the calendar that opens a file: each zone's once, when it is first asked for.
Reading TZif (RFC 8536) here rather than through `zoneinfo` gives the table that the search needs,
and the same data on every host, whatever its system has.
"""

from __future__ import annotations

import difflib
import functools
import io
import re
import struct
import zoneinfo
from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from libbarto.errors import CalendarError

SECOND_US: Final = 1_000_000
DAY_US: Final = 86_400 * SECOND_US
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY: Final = EPOCH.toordinal()
FIRST_INSTANT: Final = -2 * 86_400
"""Nothing elapses before 1970 on any wall, so earlier transitions do not matter (seconds)."""
BEYOND: Final = 1 << 62
LAST_YEAR: Final = 2201
"""Rules are expanded to here: nothing elapses after 2199 on any wall."""
_FIRST_SHOWN: Final = (datetime(1, 1, 3, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
_LAST_SHOWN: Final = (datetime(9999, 12, 29, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)


def shown(instant: int) -> int:
    """The nearest instant that a datetime can show in any zone: a peer may tell any number.

    >>> shown(7), EPOCH + timedelta(microseconds=shown(1 << 62))
    (7, datetime.datetime(9999, 12, 29, 0, 0, tzinfo=datetime.timezone.utc))
    """
    return min(max(instant, _FIRST_SHOWN), _LAST_SHOWN)


class Zone:
    """A zone's changes of offset, in microseconds.

    `starts[i]` is the instant of the i-th change, `offsets[i]` what holds before it, and
    `offsets[i + 1]` from it on. `edges` are wall clock readings: `edges[2 * i]` to
    `edges[2 * i + 1]` (end exclusive) does not exist or exists twice because of the i-th change.
    So one bisect in `edges` tells the period of a reading, and whether it lies near a change. The
    last edge is beyond every reading. `touched` are the days since 1970 on this zone's wall that
    have readings between two edges of one change; `touched_ordinals` the same as `date` counts.
    `times` keeps aware times of day, by minute, for those who make many datetimes.
    """

    __slots__ = (
        "edges",
        "epoch",
        "name",
        "offsets",
        "starts",
        "times",
        "touched",
        "touched_ordinals",
        "tzinfo",
    )

    def __init__(self, name: str, data: bytes, system: bytes | None = None) -> None:
        """Of a TZif file's `data`, and of what the system has under the name, if anything."""
        self.name = name
        self.starts, self.offsets = _table(data)
        edges = [
            start + offset
            for start, both in zip(self.starts, pairwise(self.offsets), strict=True)
            for offset in sorted(both)
        ]
        self.edges = (*edges, BEYOND)
        self.touched = frozenset(
            day
            for first, stop in zip(edges[::2], edges[1::2], strict=True)
            for day in range(first // DAY_US, (stop - 1) // DAY_US + 1)
        )
        self.touched_ordinals = frozenset(day + EPOCH_DAY for day in self.touched)
        self.times: dict[int, time] = {}
        self.tzinfo = self._tzinfo(data, system)
        self.epoch = datetime(1970, 1, 1, tzinfo=self.tzinfo)
        """Midnight of 1970-01-01 on this zone's wall, to count readings from."""

    def __repr__(self) -> str:
        return f"<Zone {self.name}>"

    def offset_at(self, instant: int) -> int:
        """What the wall is ahead of UTC at `instant`; both in microseconds."""
        return self.offsets[bisect_right(self.starts, instant)]

    def datetime(self, wall: int, fold: bool = False) -> datetime:
        """The datetime of a wall clock reading, in its second pass if `fold`."""
        at = self.epoch + timedelta(0, 0, wall)
        return at.replace(fold=1) if fold else at

    def _tzinfo(self, data: bytes, system: bytes | None) -> tzinfo:
        """What datetimes of this zone carry: the shared `ZoneInfo` if it agrees with the table.

        `ZoneInfo(name)` is what callers hold, and comparing datetimes of one tzinfo is what they
        expect; but it reads the system's zone data where there is some, which may be older.
        """
        if self.name == "UTC":
            return UTC
        if system is not None and system != data:
            try:
                agrees = _table(system) == (self.starts, self.offsets)
            except CalendarError:
                agrees = False
            if not agrees:
                return ZoneInfo.from_file(io.BytesIO(data), key=self.name)
        return ZoneInfo(self.name)


def _table(data: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The `starts` and `offsets` of a zone, from a TZif file's data; what changes nothing is left
    out, and so is what lies before 1970."""
    offset, changes = read_tzif(data)
    starts, offsets = [], [offset * SECOND_US]
    for second, after in changes:
        if after * SECOND_US == offsets[-1]:
            continue
        if second < FIRST_INSTANT:
            offsets[-1] = after * SECOND_US
            continue
        starts.append(second * SECOND_US)
        offsets.append(after * SECOND_US)
    return tuple(starts), tuple(offsets)


@functools.cache
def names() -> frozenset[str]:
    """Every zone's name."""
    listed = resources.files("tzdata").joinpath("zones").read_text(encoding="ascii")
    return frozenset(listed.split())


def is_zone(name: str) -> bool:
    """Whether `name` is that of an IANA zone, upper and lower case told apart."""
    return name in names()


def suggestion(name: str) -> str:
    """`; did you mean Europe/Berlin?` where a name is near a zone's, else nothing."""
    if len(name) > 60:
        return ""
    known = {known.lower(): known for known in sorted(names())}
    by_city = {known.rpartition("/")[2]: known for known in known if "/" in known}
    word = name.lower()
    near = difflib.get_close_matches(word, known, 1, 0.75)
    if not near:
        near = [by_city[city] for city in difflib.get_close_matches(word, by_city, 1, 0.8)]
    return f"; did you mean {known[near[0]]}?" if near else ""


def load(name: str) -> Zone:
    """The zone of that name.

    Raises CalendarError, naming it and one that is nearly spelled so, if there is none.
    """
    if not isinstance(name, str):
        raise CalendarError(f"a time zone is given by its name, not by {type(name).__name__}", "")
    if not is_zone(name):
        shown = name if len(name) <= 60 else f"{name[:57]}..."
        raise CalendarError(f"no time zone is named {shown!a}{suggestion(name)}", name[:60])
    return _load(name)


@functools.cache
def _load(name: str) -> Zone:
    data = resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    return Zone(name, data, system_data(name))


def system_data(name: str) -> bytes | None:
    """What `ZoneInfo(name)` reads before the package's data: the system's, if it has any."""
    for root in zoneinfo.TZPATH:
        try:
            return Path(root, name).read_bytes()
        except OSError:
            continue
    return None


def read_tzif(data: bytes) -> tuple[int, list[tuple[int, int]]]:
    """The offset at first, and (instant, offset from then on) in order, all in seconds.

    Reads the second block of a TZif file of version 2 or later (RFC 8536 section 3), and expands
    the rule in its footer to the end of `LAST_YEAR`. Raises CalendarError for anything else.
    """
    if data[:4] != b"TZif" or data[4:5] < b"2":
        raise CalendarError("zone data that are no TZif file of version 2 or later", "")
    try:
        return _read_tzif(data)
    except (struct.error, IndexError, ValueError) as error:
        raise CalendarError(f"zone data cannot be read: {error}", "") from error


def _read_tzif(data: bytes) -> tuple[int, list[tuple[int, int]]]:
    header = ">4sc15x6I"
    size = struct.calcsize(header)
    _, _, utcs, walls, leaps, times, types, chars = struct.unpack_from(header, data)
    at = size + times * 5 + types * 6 + chars + leaps * 8 + walls + utcs  # past the 32-bit block
    _, _, utcs, walls, leaps, times, types, chars = struct.unpack_from(header, data, at)
    at += size
    instants = struct.unpack_from(f">{times}q", data, at)
    indexes = data[at + times * 8 : at + times * 9]
    at += times * 9
    offsets = [struct.unpack_from(">l", data, at + 6 * i)[0] for i in range(types)]
    at += types * 6 + chars + leaps * 12 + walls + utcs
    changes = [(when, offsets[i]) for when, i in zip(instants, indexes, strict=True)]
    rule = data[at:].strip(b"\n").decode("ascii")
    return offsets[0], changes + expand_rule(rule, changes[-1][0] if changes else FIRST_INSTANT)


_RULE: Final = re.compile(
    r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]+>)(?P<std>[-+0-9:]+)"
    r"(?:(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]+>)(?P<dst>[-+0-9:]+)?,(?P<begin>[^,]+),(?P<end>[^,]+))?"
)


def expand_rule(rule: str, after: int) -> list[tuple[int, int]]:
    """The changes that a POSIX TZ string (with RFC 8536's extensions) makes after an instant."""
    found = _RULE.fullmatch(rule)
    if found is None:
        raise CalendarError(f"zone data with the rule {rule!r} cannot be read", rule)
    standard = -_seconds(found["std"])
    if found["begin"] is None:
        return [(after + 1, standard)]
    summer = -_seconds(found["dst"]) if found["dst"] else standard + 3600
    changes = []
    for year in range(max((EPOCH + timedelta(seconds=after)).year - 1, 1969), LAST_YEAR + 1):
        changes.append((_day_second(found["begin"], year) - standard, summer))
        changes.append((_day_second(found["end"], year) - summer, standard))
    return sorted(change for change in changes if change[0] > after)


def _seconds(text: str) -> int:
    """`-5:30` in seconds."""
    parts = [int(part) for part in text.lstrip("+-").split(":")]
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    return -seconds if text.startswith("-") else seconds


def _day_second(text: str, year: int) -> int:
    """The wall clock reading of `M3.2.0/2`, `J60` or `59/-1` in a year, in seconds since 1970."""
    day_text, _, time = text.partition("/")
    if day_text[0] == "M":
        month, week, weekday = map(int, day_text[1:].split("."))
        first = date(year, month, 1).toordinal()
        day = first + (weekday - first) % 7 + 7 * (week - 1)  # ordinal 7 was a Sunday
        next_month = date(year + month // 12, month % 12 + 1, 1).toordinal()
        if day >= next_month:
            day -= 7
    elif day_text[0] == "J":  # 1 to 365; 29 February is never counted
        number = int(day_text[1:])
        day = date(year, 1, 1).toordinal() + number - 1
        if number >= 60 and (date(year, 3, 1) - date(year, 2, 1)).days == 29:
            day += 1
    else:
        day = date(year, 1, 1).toordinal() + int(day_text)
    return (day - EPOCH.toordinal()) * 86_400 + (_seconds(time) if time else 7200)
