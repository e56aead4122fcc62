"""What was probably not meant by the schedules of a configuration, and where does it stand?

`bartos check` and `barto-cli calendar --check` both ask here, so that they say the same. What can
be told from one calendar is in `libbarto.realtime.doubts`; what only several schedules show, or
the workers they are for, is added here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from libbarto.realtime import Realtime
from libbarto.realtime.doubts import Asked, Doubt, doubts, twin, twins
from libbarto.realtime.zones import EPOCH
from libbarto.selector import Any, Expression, Named, Selector

_WILD: Final = frozenset("*?")


@dataclass(frozen=True, slots=True)
class Line:
    """A calendar expression or crontab line, or a time, as it is written in line `number`.

    `calendars` are what it means; a time that is due once is its `instant` instead (microseconds
    since 1970).
    """

    text: str
    number: int
    calendars: tuple[Realtime, ...] = ()
    instant: int | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of a schedule that stands in line `number` of `file`.

    `trigger` tells apart those that have no calendar (an interval, another schedule), `action`
    what is run. `workers` is the selector's text, `floating` whether one worker at a time gets a
    start, `count` how many workers it has, None where nobody knows.
    """

    name: str
    file: str
    number: int
    lines: tuple[Line, ...] = ()
    trigger: str = ""
    action: tuple[str, ...] = ()
    timezone: str = "UTC"
    zone_given: bool = True
    dst_gap: str = "next"
    dst_repeat: str = "auto"
    workers: str = "*"
    floating: bool = False
    count: int | None = None

    @property
    def timing(self) -> tuple[object, ...]:
        """Equal for two that are due at the same times."""
        zone = "" if all(it.zone for line in self.lines for it in line.calendars) else self.timezone
        calendars = {str(it) for line in self.lines for it in line.calendars}
        instants = {line.instant for line in self.lines if line.instant is not None}
        return frozenset(calendars), frozenset(instants), self.trigger, zone


@dataclass(frozen=True, slots=True)
class Finding:
    """A doubt about a schedule, and where what it is about stands."""

    file: str
    number: int
    schedule: str
    text: str
    doubt: Doubt = field(repr=False)

    def __str__(self) -> str:
        about = f'"{self.text}" ' if self.text else ""
        return f'schedule "{self.schedule}": {about}{self.doubt}'


def findings(schedules: Sequence[Judged], now: int | None = None) -> list[Finding]:
    """What was probably not meant, in order of file and line.

    With `now` (microseconds since 1970) also what is never due again, and what the clock changes
    of the following year touch.
    """
    crowds = _crowds(schedules)
    found: list[Finding] = []
    for schedule in schedules:
        found += _of_one(schedule, crowds.get(schedule.name), now)
    same = [((schedule.action, schedule.timing), schedule.workers) for schedule in schedules]
    for index, other in twins(same):
        one = schedules[index]
        found.append(Finding(one.file, one.number, one.name, "", twin(schedules[other].name)))
    return sorted(found, key=lambda finding: (finding.file, finding.number))


def _of_one(schedule: Judged, crowd: int | None, now: int | None) -> Iterator[Finding]:
    lines = [line for line in schedule.lines for _ in line.calendars]
    named = named_workers(schedule.workers)
    asked = Asked(
        tuple(calendar for line in schedule.lines for calendar in line.calendars),
        schedule.timezone,
        zone_given=schedule.zone_given,
        dst_gap=schedule.dst_gap,
        dst_repeat=schedule.dst_repeat,
        workers=1 if schedule.floating else crowd,
        many=named is None,
    )
    for doubt in dict.fromkeys(doubts(asked, now)):
        line = schedule.lines[0] if doubt.place is None else lines[doubt.place]
        yield Finding(schedule.file, line.number, schedule.name, line.text, doubt)
    for line in schedule.lines:
        if now is not None and line.instant is not None and line.instant <= now:
            at = (EPOCH + timedelta(microseconds=line.instant)).replace(tzinfo=None)
            doubt = Doubt("never-again", f"never runs again: it was at {at} UTC", "take it out")
            yield Finding(schedule.file, line.number, schedule.name, line.text, doubt)


def _crowds(schedules: Sequence[Judged]) -> Mapping[str, int | None]:
    """How many workers start together: where a schedule stands once for each, those of all."""
    together: dict[object, set[str]] = {}
    for schedule in schedules:
        names = named_workers(schedule.workers)
        if names and schedule.action:
            together.setdefault((schedule.action, schedule.timing), set()).update(names)
    counts: dict[str, int | None] = {}
    for schedule in schedules:
        names = named_workers(schedule.workers)
        known = schedule.count
        if names is not None:
            alike = together.get((schedule.action, schedule.timing), names)
            known = max(schedule.count or 0, len(alike))
        counts[schedule.name] = known
    return counts


def named_workers(selector: str) -> frozenset[str] | None:
    """The workers that a selector names, or None where it is a pattern.

    >>> sorted(named_workers("web1 or web2")), named_workers("web*"), named_workers("os=debian")
    (['web1', 'web2'], None, None)
    """
    return _named(Selector.parse(selector).expression)


def _named(expression: Expression) -> frozenset[str] | None:
    match expression:
        case Named(glob) if not _WILD & set(glob):
            return frozenset((glob,))
        case Any(parts):
            each = [_named(part) for part in parts]
            return None if None in each else frozenset().union(*filter(None, each))
        case _:
            return None
