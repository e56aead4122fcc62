"""What was probably not meant by a schedule's calendar, and what would say what was?

Everything here is valid and does what it says; each doubt names what that is, and the likely fix.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from libbarto.realtime import changes, zones
from libbarto.realtime.calendar import Realtime
from libbarto.realtime.grammar import EVERY_SECOND, ZERO, Parts, format_parts
from libbarto.realtime.search import DAY_US, YEAR_KINDS, Search
from libbarto.realtime.units import (
    DAY,
    DAY_FROM_END,
    EVERY_WEEKDAY,
    HOUR,
    MINUTE,
    MONTH,
    SECOND,
    SECOND_US,
    UNITS,
    Field,
    Item,
    Random,
    Unit,
)
from libbarto.realtime.words import (
    MONTH_NAMES,
    WEEKDAY_NAMES,
    Span,
    a_weekday,
    clock,
    listed,
    numbers_in,
    only,
    ordinal,
    singles,
    spans,
    week_of_month,
)
from libbarto.realtime.zones import Zone

CROWD: Final = 20
"""More workers than these should not start at one instant."""
YEAR_US: Final = 365 * DAY_US
"""How far ahead clock changes are looked for."""

_FEW_A_WEEK: Final = 7
_LENGTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_TIMES: Final = {1: "once", 2: "twice"}
_MEANT_BY_REPETITION: Final = 3
"""From so many times on, `R/n` was hardly written for `R`."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something that was probably not meant.

    `code` is a word that stays the same between releases, `fix` says what to write instead.
    `place` is the index of the calendar that it is about, None for the schedule as a whole. What
    is `gentle` may well be meant: it is said, and counts as no finding.
    """

    code: str
    message: str
    fix: str = ""
    place: int | None = None
    gentle: bool = False

    def __str__(self) -> str:
        return f"{self.message}; {self.fix}" if self.fix else self.message


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of a schedule that is to be judged.

    `calendars` are a union, read in `timezone` where they have no zone of their own; `zone_given`
    says whether anybody wrote that. `workers` is how many start together, None where nobody
    knows; `many` whether they are chosen by a pattern.
    """

    calendars: tuple[Realtime, ...]
    timezone: str = "UTC"
    zone_given: bool = True
    dst_gap: str = "next"
    dst_repeat: str = "auto"
    workers: int | None = None
    many: bool = False


def doubts(asked: Asked, now: int | None = None) -> list[Doubt]:
    """What was probably not meant by one schedule, calendar by calendar.

    With `now` (microseconds since 1970) also what is never due again, and what the clock changes
    of the following year touch.

    >>> asked = Asked((Realtime.parse("Mon *-*-01 06:00"),))
    >>> [doubt.fix.partition(";")[0] for doubt in doubts(asked)]
    ['the first Monday is "Mon *-*-01..07 06:00"']
    """
    found: list[Doubt] = []
    dead: set[int] = set()
    both = [_is_weekday_and_date(calendar.parts) for calendar in asked.calendars]
    for place, calendar in enumerate(asked.calendars):
        own = list(_of_calendar(calendar.parts, alone=sum(both) == 1))
        never = _never(calendar, asked, now)
        if never is not None:  # what never comes is not doubted any further
            own = [never]
            if never.code != "never-for-some":
                dead.add(place)
        elif now is not None:
            own += _clock_changes(calendar, asked, now)
        found += [_at(doubt, place) for doubt in own]
    of_all = [*_twice(asked.calendars), *_zone(asked), *_crowd(asked)]
    return found + [doubt for doubt in of_all if doubt.code != "crowd" or doubt.place not in dead]


def _at(doubt: Doubt, place: int) -> Doubt:
    return Doubt(doubt.code, doubt.message, doubt.fix, place, doubt.gentle)


def twins(schedules: Sequence[tuple[Hashable, str]]) -> list[tuple[int, int]]:
    """Which of several schedules are the same: (index, index of the first that it is like).

    Each is given by what it does and when, in any form that can be compared, and by its workers:
    two that no worker has in common are no twins. `*` is every worker.

    >>> twins([("a", "web1"), ("a", "web2"), ("a", "*"), ("b", "*")])
    [(2, 0)]
    """
    found: list[tuple[int, int]] = []
    known: dict[Hashable, list[tuple[int, str]]] = {}
    for index, (what, workers) in enumerate(schedules):
        before = known.setdefault(what, [])
        like = next((at for at, other in before if "*" in (workers, other) or workers == other), -1)
        if like >= 0:
            found.append((index, like))
        before.append((index, workers))
    return found


def twin(name: str) -> Doubt:
    """The doubt that a schedule does the same at the same time as the schedule `name`."""
    return Doubt("twin", f'does the same at the same time as "{name}"', "one of the two can go")


# -- how it is written ----------------------------------------------------------------------------


def written(parts: Parts) -> str:
    """An expression in few characters: without what is understood.

    >>> written(Realtime.parse("*-*-* 02:30:00").parts), written(Realtime.parse("Mon *-*-1").parts)
    ('02:30', 'Mon *-*-01')
    """
    words = format_parts(parts).split()
    time = next(at for at, word in enumerate(words) if ":" in word)
    day = words[time - 1]
    if parts.second == ZERO:
        words[time] = words[time].removesuffix(":00")
    if words[time] == "00:00" and (day != "*-*-*" or time > 1):
        words[time] = ""
    if day == "*-*-*":
        words[time - 1] = ""
    return " ".join(filter(None, words))


def _quoted(parts: Parts) -> str:
    return f'"{written(parts)}"'


def _times(number: int) -> str:
    return _TIMES.get(number, f"{number:,} times")


def _items(*values: int) -> tuple[Item, ...]:
    return tuple(map(Item, values))


def _day_spans(parts: Parts) -> tuple[Span, ...] | None:
    """The days that are named; None for every day, and for what is drawn."""
    if isinstance(parts.day, Random):
        return None
    unit = DAY_FROM_END if parts.from_end else DAY
    return spans(parts.day, unit, from_end=parts.from_end)


def _with(parts: Parts, fields: Iterable[Field]) -> Parts:
    """The expression with other fields, in the order of `UNITS`."""
    year, month, day, hour, minute, second = fields
    return parts._replace(year=year, month=month, day=day, hour=hour, minute=minute, second=second)


def _possible(parts: Parts) -> Parts:
    """The calendar that matches whatever any draw of `R` matches."""
    fields: list[Field] = []
    for field, unit in zip(parts.fields, UNITS, strict=True):
        possible = field
        if isinstance(field, Random):
            high = field.high
            if field.step:  # one of its repetitions is on each value
                high = 28 if unit is DAY and parts.from_end else unit.high // unit.scale
            possible = (Item(field.low * unit.scale, high * unit.scale, unit.scale),)
        fields.append(possible)
    return _with(parts, fields)


# -- the shape of one calendar --------------------------------------------------------------------


def _of_calendar(parts: Parts, *, alone: bool) -> Iterator[Doubt]:
    """What can be told from the expression itself.

    `alone` is whether no other of its list has weekday and date: where several have, as for "the
    first working day", they are meant.
    """
    if alone and _is_weekday_and_date(parts):
        yield _weekday_and_date(parts)
    yield from _random_repeats(parts)
    yield from _short_months(parts)
    yield from _often(parts)
    yield from _uneven(parts)


def _is_weekday_and_date(parts: Parts) -> bool:
    """Whether a weekday and only a few days of the month are asked for together."""
    days = _day_spans(parts)
    if parts.weekdays == EVERY_WEEKDAY or days is None or week_of_month(parts, days):
        return False
    is_date = None not in (only(parts.year), only(parts.month), only(parts.day))
    return not is_date and len(numbers_in(days)) < _FEW_A_WEEK


def _weekday_and_date(parts: Parts) -> Doubt:
    days = _day_spans(parts)
    assert days is not None
    numbers = sorted(numbers_in(days))
    names = [name for number, name in enumerate(WEEKDAY_NAMES) if parts.weekdays >> number & 1]
    which = a_weekday(parts.weekdays)
    day = _day_words(numbers, parts)
    said = f"runs only where {day} {'is' if len(numbers) == 1 else 'are'} {which}"
    if len(numbers) > 1:
        said = f"runs only on those of {day} that are {which.removeprefix('a ')}s"
    message = f"{said}{_how_often(parts)}"
    if names == ["Friday"] and numbers == [13] and not parts.from_end:
        return Doubt("weekday-and-date", message, "leave it so if that is meant", gentle=True)
    either = (
        f"for either of them write both in a list: [{_quoted(_without_date(parts))}, "
        f"{_quoted(parts._replace(weekdays=EVERY_WEEKDAY))}]"
    )
    week = (numbers[0] - 1) // 7
    if len(numbers) > 1 or len(names) > 2 or week == 4:
        return Doubt("weekday-and-date", message, either)
    of_week = parts._replace(day=(Item(7 * week + 1, 7 * week + 7, 1),))
    told = week_of_month(of_week, _day_spans(of_week) or ()).removesuffix(" of each month")
    return Doubt("weekday-and-date", message, f"{told} is {_quoted(of_week)}; {either}")


def _without_date(parts: Parts) -> Parts:
    return parts._replace(month=None, day=None, from_end=False)


def _day_words(numbers: Sequence[int], parts: Parts) -> str:
    if parts.from_end:
        if numbers == [1]:
            return "the last day of the month"
        return f"the {listed(list(map(ordinal, numbers)))} day from the month's end"
    month = only(parts.month)
    if month is not None and len(numbers) == 1:
        return f"{numbers[0]} {MONTH_NAMES[month - 1]}"
    return f"the {listed(list(map(ordinal, numbers)))}"


def _how_often(parts: Parts) -> str:
    """`, about twice a year`; nothing where that is not known, or not for every year."""
    if parts.year is not None or isinstance(parts.month, Random):
        return ""
    search = Search(_possible(parts))
    a_year = sum(search.days(kind).bit_count() for kind in YEAR_KINDS) / len(YEAR_KINDS)
    if a_year > 0.75:
        return f", about {_times(round(a_year))} a year"
    return f", about once in {round(1 / a_year)} years" if a_year else ""


_WHOLES: Final = {
    MONTH: ("year", 12),
    DAY: ("month", 30),
    HOUR: ("day", 24),
    MINUTE: ("hour", 60),
    SECOND: ("minute", 60),
}
"""What a unit's values fill, and how many of them do."""


def _random_repeats(parts: Parts) -> Iterator[Doubt]:
    """`R/30`, which is not once but as often as it fits."""
    for field, unit in zip(parts.fields, UNITS, strict=True):
        if not isinstance(field, Random) or not field.step:
            continue
        name, total = _WHOLES[unit]
        whole = f"an {name}" if name == "hour" else f"a {name}"
        often, rest = divmod(total, field.step)
        if often == 1 and not rest:
            continue  # once, like R itself
        plain = Random(unit.low, unit.random)
        once = _with(parts, (plain if value is field else value for value in parts.fields))
        fix = f"once {whole} is {_quoted(once)}"
        if rest and unit is not DAY:
            first = "once" if often == 1 else str(often)
            message = (
                f"R/{field.step} runs {first} or {_times(often + 1)} {whole}, by the "
                f"worker's phase, and not evenly, as {field.step} does not divide {total}"
            )
            yield Doubt("random-repeats", message, fix)
        else:
            about = "about " if unit is DAY else ""
            message = f"R/{field.step} runs {about}{_times(max(often, 1))} {whole}"
            yield Doubt("random-repeats", message, fix, gentle=often >= _MEANT_BY_REPETITION)


def _short_months(parts: Parts) -> Iterator[Doubt]:
    """Days 29 to 31, which some months do not have."""
    if parts.from_end:
        return
    months = _months(parts.month)
    last_day = parts._replace(weekdays=EVERY_WEEKDAY, day=_items(1), from_end=True)
    if isinstance(parts.day, Random):
        if not parts.day.step and parts.day.high > 28 and _lacking(parts.day.high, months):
            message = "a worker that draws a day after the 28th passes over short months"
            low, high, _ = parts.day
            if low < 28:
                drawn = parts._replace(day=Random(low, 28))
            else:
                drawn = parts._replace(day=Random(1, high - low + 1), from_end=True)
            yield Doubt("short-months", message, f"write {_quoted(drawn)}")
        return
    days = spans(parts.day, DAY)
    if days is None or week_of_month(parts, days):
        return
    late = [span.start for span in days if span.start > 28]
    if not late:
        return
    day = max(late)
    lacking = _lacking(day, months)
    if months == [2] and day == 29:
        message = "runs in leap years only: there is no other 29 February"
        fix = f"the last day of February is {_quoted(last_day)}"
        yield Doubt("leap-day", message, fix)
    elif lacking:
        named = listed([MONTH_NAMES[month - 1] for month in lacking])
        if day == 29:
            named = "February of common years"
        of = "each month" if len(months) == 12 else listed([MONTH_NAMES[m - 1] for m in months])
        message = f"there is no {ordinal(day)} in {named}: nothing runs then"
        yield Doubt("short-months", message, f"the last day of {of} is {_quoted(last_day)}")


def _months(field: Field) -> list[int]:
    if isinstance(field, Random):
        return list(range(field.low, 13 if field.step else field.high + 1))
    values = spans(field, MONTH)
    return list(range(1, 13)) if values is None else sorted(numbers_in(values))


def _lacking(day: int, months: Iterable[int]) -> list[int]:
    """The months without such a day in some year."""
    return [month for month in months if day > _LENGTHS[month - 1] or (month == 2 and day > 28)]


def _often(parts: Parts) -> Iterator[Doubt]:
    """A `*` that makes a schedule run far more often than one that has a time."""
    if parts.second == EVERY_SECOND:
        number = "60 times in each of its minutes"
        if not isinstance(parts.hour, Random) and not isinstance(parts.minute, Random):
            minutes, hours = spans(parts.minute, MINUTE), spans(parts.hour, HOUR)
            number = f"""{
                60
                * (60 if minutes is None else len(numbers_in(minutes)))
                * (24 if hours is None else len(numbers_in(hours))):,} times a day"""
        fix = f"once in each of its minutes is {_quoted(parts._replace(second=ZERO))}"
        yield Doubt("every-second", f"runs every second, {number}", fix)
        return
    at_hours = singles(parts.hour)
    if parts.minute is None and (at_hours or isinstance(parts.hour, Random)):
        within = [f"{clock(hour, 0)} to {clock(hour, 59)}" for hour in at_hours or ()]
        when = f", from {listed(within)}" if within else ""
        own = parts._replace(minute=Random(0, 59))
        fix = f"once is {_quoted(parts._replace(minute=ZERO))}, or {_quoted(own)}, at a minute of "
        fix += "each worker's own"
        yield Doubt("every-minute", f"runs 60 times an hour{when}", fix)


def _uneven(parts: Parts) -> Iterator[Doubt]:
    """A repetition that does not fit into what it fills, so that one of its steps is shorter."""
    for field, unit in zip(parts.fields[1:], UNITS[1:], strict=True):
        if field is None or isinstance(field, Random) or (unit is DAY and parts.from_end):
            continue
        values = spans(field, unit)
        if values is None or len(values) > 1 or values[0].step <= unit.scale:
            continue
        start, last, step = values[0]
        total = 31 if unit is DAY else _WHOLES[unit][1] * unit.scale
        runs_out = start - unit.low < step and last + step > unit.low + total - 1
        if not runs_out or total % step == 0:
            continue
        number = _number(step, unit)
        if unit is DAY:
            message = f"begins anew with each month, on the {ordinal(start)}"
        else:
            shorter = _number(start + total - last, unit)
            message = (
                f"{number} does not divide the {_WHOLES[unit][1]} {unit.name}s of "
                f"each {_WHOLES[unit][0]}, so one step of them is only {shorter}"
            )
        short = {DAY: "d", HOUR: "h", MINUTE: "m", SECOND: "s"}.get(unit)
        fix = f'a steady rhythm is every = "{number}{short}"' if short else _divisors(total)
        yield Doubt("uneven-step", message, fix)


def _number(value: int, unit: Unit) -> str:
    return f"{value / unit.scale:g}"


def _divisors(total: int) -> str:
    """What repeats evenly."""
    fitting = [number for number in range(2, total) if total % number == 0]
    return f"take {listed(list(map(str, fitting)), 'or')} for even steps"


# -- never ----------------------------------------------------------------------------------------


def _never(calendar: Realtime, asked: Asked, now: int | None) -> Doubt | None:
    """That a calendar does not elapse at all, or not any more, or not for each worker."""
    parts = calendar.parts
    possible = Realtime(_possible(parts))
    if not Search(possible.parts).live_years:
        message, fix = _why_never(parts)
        return Doubt("never", message, fix)
    if isinstance(parts.month, Random) and not parts.month.step:
        months = range(parts.month.low, parts.month.high + 1)
        without = [
            MONTH_NAMES[month - 1]
            for month in months
            if not Search(possible.parts._replace(month=_items(month))).live_years
        ]
        if without:
            message = f"never runs for a worker that draws {listed(without, 'or')}"
            return Doubt("never-for-some", message, "take a day that each of those months has")
    if now is None:
        return None
    rules = {"dst_gap": asked.dst_gap, "dst_repeat": asked.dst_repeat}
    if possible.elapse_after(now, asked.timezone, **rules) is not None:
        return None
    moment = zones.EPOCH + timedelta(microseconds=now)
    before = possible.previous_before(moment, asked.timezone)
    if before is not None:
        message = f"never runs again: the last time was {_dated(before)}"
        return Doubt("never-again", message, "take it out, or the year out of it")
    message = 'never runs: the clocks leave that time out, and dst_gap is "skip"'
    return Doubt("never", message, 'take another time, or dst_gap = "next"')


def _why_never(parts: Parts) -> tuple[str, str]:
    """Why there is no day that a calendar matches, and what was probably meant."""
    without_weekday = _possible(parts)._replace(weekdays=EVERY_WEEKDAY)
    year, month, day = only(parts.year), only(parts.month), only(parts.day)
    if Search(without_weekday).live_years:
        dated = None not in (year, month, day) and not parts.from_end
        if year is not None and month is not None and day is not None and dated:
            name = WEEKDAY_NAMES[date(year, month, day).weekday()]
            said = f"never runs: {day} {MONTH_NAMES[month - 1]} {year} is a {name}"
        else:
            said = f"never runs: none of its days is {a_weekday(parts.weekdays)}"
        return said, f"without the weekday it is {_quoted(parts._replace(weekdays=EVERY_WEEKDAY))}"
    last_day = parts._replace(weekdays=EVERY_WEEKDAY, day=_items(1), from_end=True)
    if month is not None and day is not None:
        where = "" if year is None else f" {year}"
        if year is None and day <= _LENGTHS[month - 1]:
            where = " in such a year"
        fix = f"the last day of {MONTH_NAMES[month - 1]} is {_quoted(last_day)}"
        return f"never runs: there is no {day} {MONTH_NAMES[month - 1]}{where}", fix
    return (
        "never runs: none of its months has such a day",
        f"the last day of them is {_quoted(last_day)}",
    )


def _dated(moment: datetime) -> str:
    return f"{moment.day} {MONTH_NAMES[moment.month - 1]} {moment.year}"


# -- clock changes --------------------------------------------------------------------------------


class Touch(NamedTuple):
    """A clock change that touches a calendar's times.

    `instant` is when, `before` and `after` what the clock shows then (readings in microseconds),
    `first` and `last` the calendar's readings that do not exist, or exist twice if `repeated`.
    """

    instant: int
    before: int
    after: int
    first: int
    last: int
    repeated: bool


def touched(calendar: Realtime, zone: Zone, after: int, until: int) -> Iterator[Touch]:
    """The clock changes in (after, until] that leave out or repeat one of a calendar's times.

    With `R`, one that it may be drawn as.
    """
    search: Search | None = None
    for index in range(bisect_right(zone.starts, after), bisect_right(zone.starts, until)):
        search = search or Search(_possible(calendar.parts))
        low, high = zone.edges[2 * index : 2 * index + 2]
        first = search.after(*divmod(low - 1, DAY_US))
        if low <= first < high:
            last = search.before(*divmod(high, DAY_US))
            instant = zone.starts[index]
            was, becomes = zone.offsets[index], zone.offsets[index + 1]
            yield Touch(instant, instant + was, instant + becomes, first, last, becomes < was)


def _clock_changes(calendar: Realtime, asked: Asked, now: int) -> Iterator[Doubt]:
    parts = calendar.parts
    zone = zones.load(calendar.zone or asked.timezone)
    goes_on = not isinstance(parts.hour, Random) and spans(parts.hour, HOUR) is None
    repeats = (
        parts.hour.step > 0
        if isinstance(parts.hour, Random)
        else changes.automatic(parts) is changes.BOTH
    )
    both = repeats and asked.dst_repeat == "auto"
    said, hours = [], []
    silent = added = False
    for touch in touched(calendar, zone, now, now + YEAR_US):
        if goes_on:  # every hour that exists has its starts: of interest are too few and too many
            lacks = touch.repeated and not both
            adds = not touch.repeated and asked.dst_gap == "next" and _adds(calendar, asked, touch)
            if not (lacks or adds):
                continue
            silent, added = silent or lacks, added or adds
        drawn = calendar.has_random
        said.append(_touch_words(touch, zone.name, both=both, gap=asked.dst_gap, drawn=drawn))
        ends = sorted((touch.before, touch.after))
        if ends[1] - ends[0] < DAY_US:
            hours.append(f"{reading_text(ends[0])} to {reading_text(ends[1])}")
    if said:
        fixes = []
        if silent:
            fixes.append('dst_repeat = "auto" lets it go on')
        if added:
            fixes.append('dst_gap = "skip" leaves that one out')
        if hours and not goes_on:
            outside = listed(list(dict.fromkeys(hours)))
            fixes.append(f"a time outside of {outside} exists once on every day")
        # Where everything runs once, as is the default, nobody has to do anything.
        gentle = not silent and (goes_on or not (both or asked.dst_gap == "skip"))
        yield Doubt("clock-change", "; ".join(said), listed(fixes), gentle=gentle)


def _adds(calendar: Realtime, asked: Asked, touch: Touch) -> bool:
    """Whether an hourly calendar has a start of its own at the first instant after a gap.

    One that is due more often has one more there too, which is of no weight among so many.
    """
    if only(calendar.parts.minute) is None or only(calendar.parts.second) is None:
        return False
    moment = zones.EPOCH + timedelta(microseconds=touch.instant)
    fixed = (other for other in asked.calendars if not other.has_random)
    return not any(other.matches(moment, asked.timezone) for other in fixed)


def reading_text(wall: int, other: int | None = None) -> str:
    """The time of day that a clock shows, `02:30`; with its day, if `other` is of another."""
    minutes, second = divmod(wall % DAY_US, 60 * SECOND_US)
    text = clock(*divmod(minutes, 60), second)
    if other is None or wall // DAY_US == other // DAY_US:
        return text
    at = date(1970, 1, 1) + timedelta(days=wall // DAY_US)
    return f"{text} of {at.day} {MONTH_NAMES[at.month - 1]}"


def _touch_words(touch: Touch, zone: str, *, both: bool, gap: str, drawn: bool) -> str:
    """`on 28 March 2027 clocks in Europe/Berlin go from 02:00 to 03:00: the start of …`."""
    at = date(1970, 1, 1) + timedelta(days=touch.before // DAY_US)
    head = f"on {at.day} {MONTH_NAMES[at.month - 1]} {at.year} clocks in {zone} go "
    head += f"{'back ' if touch.repeated else ''}from {reading_text(touch.before)} to "
    head += reading_text(touch.after, touch.before)
    first = reading_text(touch.first, touch.before)
    starts, many = f"the start of {first}", False
    if touch.first != touch.last:
        ends = f"{first} to {reading_text(touch.last, touch.first)}"
        starts, many = (f"a start of {ends}", False) if drawn else (f"the starts of {ends}", True)
    run = "run" if many else "runs"
    if touch.repeated:
        return f"{head}: {starts} {run} {'twice' if both else 'once, the first time'}"
    if gap == "next":
        at_end = reading_text(touch.after, touch.before)
        return f"{head}: {starts} {run} {'once, ' if many else ''}at {at_end}"
    return f"{head}: {starts} {'do' if many else 'does'} not run"


# -- the schedule as a whole ----------------------------------------------------------------------


def _twice(calendars: Sequence[Realtime]) -> Iterator[Doubt]:
    """An expression that stands in its list twice."""
    known: set[str] = set()
    for place, calendar in enumerate(calendars):
        text = str(calendar)
        if text in known:
            message = "stands in the list twice, and counts once"
            yield Doubt("twice", message, "one of the two can go", place)
        known.add(text)


def _zone(asked: Asked) -> Iterator[Doubt]:
    """Times of day that are read in UTC because nobody gave a zone."""
    if asked.zone_given:
        return
    for place, calendar in enumerate(asked.calendars):
        hour = calendar.parts.hour
        in_a_day = isinstance(hour, Random) or spans(hour, HOUR) is not None
        if calendar.zone is None and in_a_day:
            message = f"is read in {asked.timezone}, as no timezone is given"
            fix = f'write timezone = "Europe/Berlin" or the like, or timezone = "{asked.timezone}"'
            yield Doubt("zone-default", message, fix, place, gentle=True)
            return


def _crowd(asked: Asked) -> Iterator[Doubt]:
    """One instant at which many workers start."""
    known = asked.workers is not None
    if (asked.workers is not None and asked.workers <= CROWD) or not (known or asked.many):
        return
    for place, calendar in enumerate(asked.calendars):
        parts = calendar.parts
        if calendar.has_random or parts.second == EVERY_SECOND:
            continue
        spread = _spread(parts)
        fix = "spread it with R" if spread is None else f"spread it: {_quoted(spread)}"
        if known:
            message = f"starts at the same instant on {asked.workers} workers"
            yield Doubt("crowd", message, fix, place)
        else:
            message = "starts at the same instant on every worker that it has"
            fix = f"with more than {CROWD} of them {fix}"
            yield Doubt("crowd", message, fix, place, gentle=True)


def _spread(parts: Parts) -> Parts | None:
    """The calendar with `R` where that spreads it most without another frequency."""
    minute = spans(parts.minute, MINUTE)
    if minute is None:
        step = _even_step(spans(parts.second, SECOND) or (), SECOND)
        return parts._replace(second=Random(0, (step or 60) - 1, step)) if step != -1 else None
    if only(parts.second) is None:
        return None
    if only(parts.minute) is not None:
        return parts._replace(minute=Random(0, 59))
    step = _even_step(minute, MINUTE)
    return parts._replace(minute=Random(0, step - 1, step)) if step > 0 else None


def _even_step(values: Sequence[Span], unit: Unit) -> int:
    """The step of a field that goes round evenly, 0 where it is one value, -1 for others."""
    scale = unit.scale
    if len(values) == 1 and not values[0].step:
        return 0
    if len(values) == 2 and not values[0].step and not values[1].step:
        values = (Span(values[0].start, values[1].start, values[1].start - values[0].start),)
    if len(values) != 1 or values[0].step % scale:
        return -1
    start, last, step = values[0]
    even = 60 * scale % step == 0 and start < step and last + step >= 60 * scale
    return step // scale if even else -1
