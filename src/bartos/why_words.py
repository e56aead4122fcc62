"""How are times, spans of time and commands written in an answer to "why"? In the reader's zone, as
short as the sentence allows, and commands so that a shell takes them as they stand.

Instants are microseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from libbarto.brief import DAYS, MONTHS, two_units
from libbarto.harmless import as_command
from libbarto.realtime.zones import shown

DAY_US: Final = 86_400_000_000
PROGRAM: Final = "barto"

_MICRO: Final = 1_000_000


class Rules(Protocol):
    """A time zone (`libbarto.realtime.zones.Zone`)."""

    def offset_at(self, instant: int) -> int:
        """What its clocks are ahead of UTC (microseconds)."""

    def datetime(self, wall: int, fold: bool = False) -> datetime:
        """A reading of its clocks (microseconds) as a datetime."""


@dataclass(frozen=True, slots=True)
class Face:
    """A clock's face: writes instants as clocks of the zone `name` show them; it is read `now`."""

    name: str
    rules: Rules
    now: int

    def _there(self, instant: int) -> datetime:
        instant = shown(instant)
        wall = instant + self.rules.offset_at(instant)
        return self.rules.datetime(wall - wall % _MICRO)

    def at(self, instant: int) -> str:
        """Day and time of day: `Tue 24 Nov 02:00`; the year where it is not this one."""
        there = self._there(instant)
        day = f"{DAYS[there.weekday()]} {there.day} {MONTHS[there.month - 1]}"
        year = "" if there.year == self._there(self.now).year else f" {there.year}"
        return f"{day}{year} {_time(there)}"

    def about(self, instant: int) -> str:
        """As `at`, to the minute: for what is no planned start."""
        return self.at(instant - instant % (60 * _MICRO))

    def near(self, instant: int, other: int) -> str:
        """As `about`, or the time of day alone where it is the same day as `other`, which was
        told."""
        there = self._there(instant)
        same = there.date() == self._there(other).date()
        return f"{there:%H:%M}" if same else self.about(instant)

    def slot(self, instant: int, other: int) -> str:
        """A planned start as `at`, or the time of day alone where it is the same day as `other`."""
        there = self._there(instant)
        return _time(there) if there.date() == self._there(other).date() else self.at(instant)

    def due(self, instant: int, own: Face) -> str:
        """A planned start: by this clock, and by the schedule's `own` where that shows another."""
        if self.rules.offset_at(instant) == own.rules.offset_at(instant):
            return f"{self.at(instant)} ({self.name})"
        there = own._there(instant)
        same = there.date() == self._there(instant).date()
        shown = _time(there) if same else own.at(instant)
        return f"{self.at(instant)} ({self.name}; {shown} {own.name})"


def _time(there: datetime) -> str:
    return f"{there:%H:%M:%S}" if there.second else f"{there:%H:%M}"


def lasted(span_us: int) -> str:
    """How long, in two units at most.

    >>> [lasted(round(s * 1e6)) for s in (0.0123, 1.5, 42, 3600, 23_460, 90_061, -3)]
    ['12ms', '1.5s', '42s', '1h', '6h31m', '1d1h', '0ms']
    """
    large, rest, unit = two_units(max(0, span_us) / _MICRO)
    return f"{large}{rest}{unit}" if rest else large


def command(*words: str) -> str:
    """A command of ours that may be copied.

    >>> command("run", "web1/my backup", "--on", "web1")
    "barto run 'web1/my backup' --on web1"
    """
    return as_command(PROGRAM, *words)


def listed(words: Sequence[str], most: int = 4) -> str:
    """Words as a sentence lists them.

    >>> listed(["a"]), listed(["a", "b", "c"]), listed(["a", "b", "c", "d", "e", "f"])
    ('a', 'a, b and c', 'a, b, c, d and 2 more')
    """
    shown = list(words[:most])
    if len(words) > most:
        shown.append(f"{len(words) - most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def many(count: int, what: str) -> str:
    """A number of things.

    >>> many(1, "run"), many(2, "worker")
    ('1 run', '2 workers')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"
