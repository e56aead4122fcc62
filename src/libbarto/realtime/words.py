"""How is a schedule said in English? Short, and exactly true, for every expression there is.

Two calendars that elapse at different times never get the same words: common shapes have a phrase
of their own, and all others are composed field by field. `R` is told as something "of its own",
as each worker draws it for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Final, NamedTuple

from libbarto.realtime.grammar import Parts, parse
from libbarto.realtime.search import Search
from libbarto.realtime.units import (
    DAY,
    DAY_FROM_END,
    EVERY_WEEKDAY,
    HOUR,
    MINUTE,
    MONTH,
    SECOND,
    SECOND_US,
    YEAR,
    Field,
    Random,
    Unit,
)
from libbarto.realtime.zones import is_zone, suggestion

MONTH_NAMES: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WEEKDAY_NAMES: Final = (
    *("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
)
WORKDAYS: Final = 0b0011111
WEEKEND: Final = 0b1100000

MOST_TIMES: Final = 8
"""More times of day than these are told by their fields."""
MOST_DATES: Final = 4
"""More dates of the year than these are told by their fields."""

_COUNTED: Final = ("first", "second", "third", "fourth", "fifth")


class Span(NamedTuple):
    """Values of a field from `start` to `last`, each `step` after the former (0: one value)."""

    start: int
    last: int
    step: int


def describe(parts: Parts) -> str:
    """What an expression says.

    >>> from libbarto.realtime import Realtime
    >>> Realtime.parse("Mon..Fri 02:30").describe()
    'at 02:30 on weekdays'
    >>> Realtime.parse("Mon *-*-01..07 06:00 Europe/Berlin").describe()
    'on the first Monday of each month at 06:00, Europe/Berlin time'
    """
    time, is_clock = _time(parts)
    days, is_date = _days(parts, every_day=is_clock)
    if not days:
        text = time
    elif is_date and is_clock:
        text = f"{days} {time}"
    else:
        text = f"{time} {days}"
    if not any(isinstance(field, Random) for field in parts.fields):
        text += "" if Search(parts).live_years else ", which never comes"
    if parts.zone is None:
        return text
    return f"{text}, UTC" if parts.zone == "UTC" else f"{text}, {parts.zone} time"


def describe_all(calendars: Iterable[Parts]) -> str:
    """What several say together: an instant that more than one matches elapses once."""
    return "; ".join(dict.fromkeys(describe(parts) for parts in calendars))


def describe_every(every_us: int, anchor_us: int | None = None, *, drawn: bool = False) -> str:
    """What an interval of `every_us` microseconds says.

    It is counted from the instant `anchor_us`, where that is told; with `drawn` each worker has a
    phase of its own.

    >>> describe_every(900_000_000), describe_every(5_400_000_000, drawn=True)
    ('every 15 minutes', 'every 90 minutes at a phase of its own')
    >>> describe_every(86_400_000_000, 0)
    'every day, counted from 1970-01-01 00:00:00 UTC'
    """
    text = "every " + _duration(every_us)
    if drawn:
        text += " at a phase of its own"
    return text if anchor_us is None else f"{text}, counted from {_instant(anchor_us)}"


def describe_at(instants: Sequence[int]) -> str:
    """What single instants (microseconds since 1970) say.

    >>> describe_at([1_798_758_000_000_000])
    'once, at 2026-12-31 23:00:00 UTC'
    """
    head = "once, at" if len(instants) == 1 else "at"
    return f"{head} {listed([_instant(instant) for instant in sorted(set(instants))])}"


def describe_boot() -> str:
    """What `at = "boot"` says."""
    return "once after each start of the host"


def describe_after(name: str, when: str = "ok") -> str:
    """What following another schedule says; `when` is `ok`, `failed` or `always`.

    >>> describe_after("backup"), describe_after("backup", "always")
    ('after each run of backup that ended ok', 'after each run of backup, however it ended')
    """
    ends = {"ok": " that ended ok", "failed": " that failed", "always": ", however it ended"}
    return f"after each run of {name}{ends[when]}"


def describe_trigger(
    calendars: Iterable[str] = (),
    *,
    every_us: int | None = None,
    anchor_us: int = 0,
    drawn: bool = False,
    at: Sequence[int] = (),
    on_boot: bool = False,
    after: str | None = None,
    when: str = "ok",
) -> str:
    """What the trigger of a schedule says, as a schedule has it on the wire; `after` is a name.

    Raises CalendarError for a calendar that cannot be read.

    >>> describe_trigger(["Mon..Fri 04:R", "Sat 06:00"])
    'at 04:00 and a minute of its own on weekdays; at 06:00 on Saturdays'
    >>> describe_trigger(every_us=900_000_000)
    'every 15 minutes'
    """
    said = [describe_all(parse(text, is_zone, suggestion) for text in calendars)]
    if every_us is not None:
        said.append(describe_every(every_us, anchor_us or None, drawn=drawn))
    if at:
        said.append(describe_at(at))
    if on_boot:
        said.append(describe_boot())
    if after is not None:
        said.append(describe_after(after, when))
    return "; ".join(filter(None, said))


# -- numbers --------------------------------------------------------------------------------------


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `11th`.

    >>> [ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 112)]
    ['1st', '2nd', '3rd', '4th', '11th', '12th', '13th', '21st', '112th']
    """
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{ending or 'th'}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def _decimal(micros: int) -> str:
    """Microseconds as seconds, with as many decimals as it takes."""
    whole, part = divmod(micros, SECOND_US)
    return f"{whole}.{part:06}".rstrip("0") if part else f"{whole}"


def _duration(micros: int) -> str:
    """`15 minutes`, `hour`, `90 seconds`: in the largest unit that fits a whole number of times."""
    for name, size in (("week", 604_800), ("day", 86_400), ("hour", 3600), ("minute", 60)):
        number, rest = divmod(micros, size * SECOND_US)
        if number and not rest:
            return name if number == 1 else f"{number} {name}s"
    return "second" if micros == SECOND_US else f"{_decimal(micros)} seconds"


def _instant(micros: int) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    return f"{at.replace(tzinfo=None)} UTC"


# -- fields ---------------------------------------------------------------------------------------


def spans(field: Field, unit: Unit, *, from_end: bool = False) -> tuple[Span, ...] | None:
    """The values of a field that is not to be drawn; None where those are all there are."""
    assert not isinstance(field, Random)
    if field is None:
        return None
    found = []
    for start, stop, step in field:
        if step == 0:
            found.append(Span(start, start, 0))
        elif from_end and stop < 0:  # an open repetition runs towards the month's end
            found.append(Span((start - 1) % step + 1, start, step))
        else:
            last = stop if stop >= 0 else unit.high
            found.append(Span(start, last - (last - start) % step, step))
    if not from_end:
        whole = Span(unit.low, unit.high - unit.high % unit.scale, unit.scale)
        if whole in found and (unit is not SECOND or len(found) == 1):
            return None
    if unit is not HOUR:  # of hours a repetition is another thing than a list, in autumn
        found = [
            one
            for span in found
            for one in (
                [Span(span.start, span.start, 0), Span(span.last, span.last, 0)]
                if span.step > unit.scale and span.last - span.start == span.step
                else [span]
            )
        ]
    return tuple(sorted(set(found)))


def _show(value: int, unit: Unit) -> str:
    if unit is HOUR:
        return f"{value:02}"
    if unit is MONTH:
        return MONTH_NAMES[value - 1]
    return _decimal(value) if unit is SECOND else str(value)


def _series(values: Sequence[Span], unit: Unit) -> str:
    """`0, 10 to 20 and 30 to 54 in steps of 4`."""
    words = []
    for start, last, step in values:
        word = _show(start, unit)
        if step:
            word += f" to {_show(last, unit)}"
            if step != unit.scale:
                word += f" in steps of {_decimal(step) if unit is SECOND else step}"
        words.append(word)
    return listed(words)


def _named(values: Sequence[Span], unit: Unit) -> str:
    """`minute 5`, `minutes 5 and 10 to 20`."""
    many = len(values) > 1 or values[0].step
    return f"{unit.name}{'s' if many else ''} {_series(values, unit)}"


def _own(field: Random, unit: Unit, *, plain: bool = False) -> str:
    """`a minute of its own`, with its range where it has one; `minute` alone if `plain`."""
    if plain:
        return unit.name
    text = f"{'an' if unit is HOUR else 'a'} {unit.name} of its own"
    if field.low == unit.low and field.high == unit.random:
        return text
    scaled = (field.low * unit.scale, field.high * unit.scale)
    return f"{text} from {_show(scaled[0], unit)} to {_show(scaled[1], unit)}"


def _is_whole(field: Field, unit: Unit) -> bool:
    return field == Random(unit.low, unit.random)


def only(field: Field) -> int | None:
    """The only value of a field, or None."""
    if field is None or isinstance(field, Random) or len(field) != 1 or field[0].step:
        return None
    return field[0].start


def singles(field: Field) -> list[int] | None:
    """The values of a field that has neither ranges nor repetitions, or None."""
    if field is None or isinstance(field, Random) or any(item.step for item in field):
        return None
    return sorted({item.start for item in field})


# -- the time of day ------------------------------------------------------------------------------


def clock(hour: int, minute: int, second: int = 0) -> str:
    """`02:30`, `02:30:15.5`; `second` in microseconds."""
    text = f"{hour:02}:{minute:02}"
    if not second:
        return text
    whole, part = divmod(second, SECOND_US)
    return f"{text}:{whole:02}" + (f".{part:06}".rstrip("0") if part else "")


def _time(parts: Parts) -> tuple[str, bool]:
    """The time of day, and whether that is at times of the clock rather than a frequency."""
    hour, minute, second = parts.hour, parts.minute, parts.second
    hours, minutes, seconds = singles(hour), singles(minute), singles(second)
    if hours and minutes and seconds and len(hours) * len(minutes) * len(seconds) <= MOST_TIMES:
        times = [clock(*one) for one in product(hours, minutes, seconds)]
        if any(len(time) > 5 for time in times):  # seconds everywhere, if anywhere
            times = [time if len(time) > 5 else f"{time}:00" for time in times]
        return f"at {listed(times)}", True
    at_hour = only(hour)
    if at_hour is not None:
        drawn = _drawn_after(at_hour, minute, second)
        if drawn:
            return drawn, True
    if seconds == [0]:
        return _by_minutes(hour, minute)
    return _by_seconds(hour, minute, second)


def _drawn_after(hour: int, minute: Field, second: Field) -> str:
    """A fixed hour with what is drawn behind it; empty for other shapes."""
    at_minute = only(minute)
    if isinstance(minute, Random) and not minute.step:
        if only(second) == 0:
            return f"at {hour:02}:00 and {_own(minute, MINUTE)}"
        if isinstance(second, Random) and not second.step:
            plain = _is_whole(minute, MINUTE) and _is_whole(second, SECOND)
            own = "a minute" if plain else _own(minute, MINUTE)
            return f"at {hour:02}:00 and {own} and {_own(second, SECOND, plain=plain)}" + (
                " of its own" if plain else ""
            )
    if at_minute is not None and isinstance(second, Random) and not second.step:
        return f"at {hour:02}:{at_minute:02} and {_own(second, SECOND)}"
    return ""


def _frequency(field: Field, unit: Unit) -> str:
    """`every 15 minutes`, where a field goes on regularly; else empty."""
    name = unit.name
    period = (24 if unit is HOUR else 60) * unit.scale
    if isinstance(field, Random):
        if not field.step:
            return ""
        if period // unit.scale % field.step == 0:
            every = f"{field.step} {name}s" if field.step > 1 else name
            return f"every {every} at a phase of its own"
        whole = {HOUR: "day", MINUTE: "hour", SECOND: "minute"}[unit]
        return f"every {field.step} {name}s of each {whole} from a phase of its own"
    values = spans(field, unit)
    if values is None:
        return f"every {name}"
    half = unit is not HOUR and len(values) == 2 and not any(value.step for value in values)
    if half and values[1].start - values[0].start == period // 2:
        values = (Span(values[0].start, values[1].start, period // 2),)
    if len(values) > 1 or not values[0].step:
        return ""
    start, last, step = values[0]
    number = _decimal(step) if unit is SECOND else str(step)
    every = f"every {name}" if step == unit.scale else f"every {number} {name}s"
    if start < step and period % step == 0 and start + period - step == last:
        return f"{every} from {name} {_show(start, unit)}" if start else every
    return f"{every} from {name} {_show(start, unit)} to {_show(last, unit)}"


def _place(field: Field, unit: Unit) -> str:
    """A field as where something is: `minute 30`, `every minute`, `a minute of its own`."""
    if isinstance(field, Random):
        if not field.step:
            return _own(field, unit)
        return f"every {ordinal(field.step)} {unit.name} from a phase of its own"
    values = spans(field, unit)
    return f"every {unit.name}" if values is None else _named(values, unit)


def _within_hours(hour: Field) -> str:
    """What follows a frequency of minutes: ` in hour 02`, or nothing where it goes on all day."""
    if hour is not None and not isinstance(hour, Random) and spans(hour, HOUR) is None:
        return ""
    return "" if hour is None else f" in {_place(hour, HOUR)}"


def _by_minutes(hour: Field, minute: Field) -> tuple[str, bool]:
    """Times on the full minute that are no list of times."""
    every = _frequency(minute, MINUTE)
    if every:
        return every + _within_hours(hour), False
    at_minute = only(minute)
    hourly = _frequency(hour, HOUR)
    if isinstance(hour, Random) and not hour.step:
        if _is_whole(hour, HOUR) and _is_whole(minute, MINUTE):
            return "at an hour and minute of its own", True
        return f"at {_place(minute, MINUTE)} of {_own(hour, HOUR)}", True
    if hourly and at_minute is not None:
        return _hourly(hour, hourly, at_minute, 0), False
    if hourly:
        joined = " and" if isinstance(hour, Random) else " at"
        return f"{hourly}{joined} {_place(minute, MINUTE)}", False
    return f"at {_place(minute, MINUTE)} of {_place(hour, HOUR)}", True


def _hourly(hour: Field, hourly: str, minute: int, second: int) -> str:
    """A frequency of hours at one minute and second (microseconds) of each."""
    values = None if isinstance(hour, Random) else spans(hour, HOUR)
    if values is not None:
        start, last, step = values[0]
        every = "every hour" if step == 1 else f"every {step} hours"
        first = clock(start, minute, second)
        if start < step and 24 % step == 0 and start + 24 - step == last:
            return every if first == "00:00" else f"{every} from {first}"
        return f"{every} from {first} to {clock(last, minute, second)}"
    if minute == 0 and second == 0:
        return hourly
    text = f"{hourly} at minute {minute}"
    return text if second == 0 else f"{text} and second {_decimal(second)}"


def _by_seconds(hour: Field, minute: Field, second: Field) -> tuple[str, bool]:
    """Times with seconds that are no list of times."""
    every = _frequency(second, SECOND)
    all_minutes = not isinstance(minute, Random) and spans(minute, MINUTE) is None
    if every:
        if all_minutes:
            return every + _within_hours(hour), False
        return f"{every} in {_place(minute, MINUTE)} of {_place(hour, HOUR)}", False
    often = _frequency(minute, MINUTE)
    if often:
        return f"{often}, at {_place(second, SECOND)}" + _within_hours(hour), False
    hourly = _frequency(hour, HOUR)
    at_minute, at_second = only(minute), only(second)
    if hourly and at_minute is not None and at_second is not None:
        return _hourly(hour, hourly, at_minute, at_second), False
    if hourly and _is_whole(minute, MINUTE) and _is_whole(second, SECOND):
        joined = "and" if isinstance(hour, Random) else "at"
        return f"{hourly} {joined} a minute and second of its own", False
    if all(map(_is_whole, (hour, minute, second), (HOUR, MINUTE, SECOND))):
        return "at an hour, minute and second of its own", True
    places = (_place(second, SECOND), _place(minute, MINUTE), _place(hour, HOUR))
    return f"at {' of '.join(places)}", not hourly


# -- the days -------------------------------------------------------------------------------------


def _weekdays(bits: int) -> str:
    """`weekdays`, `Mondays to Thursdays and Saturdays`."""
    if bits in (WORKDAYS, WEEKEND):
        return "weekdays" if bits == WORKDAYS else "weekends"
    words = []
    for run in _runs(bits):
        names = [f"{WEEKDAY_NAMES[number]}s" for number in run]
        words += [f"{names[0]} to {names[-1]}"] if len(run) > 2 else names
    return listed(words)


def a_weekday(bits: int) -> str:
    """`a Monday or Friday`, `a weekday`, `at a weekend`."""
    if bits in (WORKDAYS, WEEKEND):
        return "a weekday" if bits == WORKDAYS else "at a weekend"
    names = [name for number, name in enumerate(WEEKDAY_NAMES) if bits >> number & 1]
    return f"a {listed(names, 'or')}"


def _runs(bits: int) -> list[list[int]]:
    runs: list[list[int]] = []
    for number in range(7):
        if bits >> number & 1:
            if runs and runs[-1][-1] == number - 1:
                runs[-1].append(number)
            else:
                runs.append([number])
    return runs


def _days(parts: Parts, *, every_day: bool) -> tuple[str, bool]:
    """The days, and whether those are dates, which stand before a time of the clock.

    `every_day` says whether that is to be told, too.
    """
    years = _years(parts.year)
    unit = DAY_FROM_END if parts.from_end else DAY
    day = parts.day
    values = None if isinstance(day, Random) else spans(day, unit, from_end=parts.from_end)
    some_weekdays = parts.weekdays != EVERY_WEEKDAY
    if values is None and not isinstance(day, Random):
        words = []
        if some_weekdays:
            words.append(f"on {_weekdays(parts.weekdays)}")
        elif every_day:
            words.append("every day")
        if not (parts.month is None or _all_months(parts.month)):
            words.append(f"in {_months(parts.month)}")
        words += [years] if years else []
        return " ".join(words), False
    text = week_of_month(parts, values) if some_weekdays and values else ""
    if not text:
        text, is_one = _dates(parts, values)
        if some_weekdays:
            which = "if it is" if is_one else "where that is"
            text += f" {which} {a_weekday(parts.weekdays)}"
            return " ".join(filter(None, (f"on {text}", years))), False
        if is_one and only(parts.year) is not None and only(parts.month) and not parts.from_end:
            return f"on {text} {only(parts.year)}", True
    return f"on {text} {years}" if years else f"on {text}", True


def _all_months(field: Field) -> bool:
    return not isinstance(field, Random) and spans(field, MONTH) is None


def numbers_in(values: Iterable[Span]) -> set[int]:
    """Every value of a field."""
    return {
        number for span in values for number in range(span.start, span.last + 1, span.step or 1)
    }


def week_of_month(parts: Parts, values: Sequence[Span]) -> str:
    """`the first Monday of each month`; empty where the days are no week."""
    names = [name for number, name in enumerate(WEEKDAY_NAMES) if parts.weekdays >> number & 1]
    days = numbers_in(values)
    first = min(days)
    week, rest = divmod(first - 1, 7)
    if len(names) > 2 or rest or days != set(range(first, min(first + 6, 31) + 1)):
        return ""
    which = _COUNTED[week]
    if parts.from_end:
        which = "last" if week == 0 else f"{which}-to-last"
    every = listed([f"the {which} {name}" for name in names])
    where = " that has one" if week == 4 and _all_months(parts.month) else ""
    return f"{every} of {_months(parts.month)}{where}"


def _dates(parts: Parts, values: Sequence[Span] | None) -> tuple[str, bool]:
    """Days of months, and whether that is one day of a month at most."""
    month, day = parts.month, parts.day
    if isinstance(day, Random):
        return _drawn_day(day, month, parts.from_end), not day.step
    assert values is not None
    numbers = [value.start for value in values]
    single = not any(value.step for value in values)
    is_one = single and len(values) == 1
    if parts.from_end:
        return _days_from_end(values, single=single, months=_months(month)), is_one
    months = singles(month)
    if months and single and len(months) * len(numbers) <= MOST_DATES:
        dates = [f"{number} {MONTH_NAMES[one - 1]}" for one, number in product(months, numbers)]
        return listed(dates), len(dates) == 1
    of = f"of {_months(month)}"
    if single:
        where = " that has one" if is_one and numbers[0] > 28 and _all_months(month) else ""
        return f"the {listed(list(map(ordinal, numbers)))} {of}{where}", is_one
    if len(values) == 1:
        start, last, step = values[0]
        if step == 1:
            return f"the {ordinal(start)} to {ordinal(last)} {of}", False
        until = "" if last + step > DAY.high else f" to the {ordinal(last)}"
        return f"every {ordinal(step)} day {of} from the {ordinal(start)}{until}", False
    return f"{_named(values, DAY)} {of}", False


def _days_from_end(values: Sequence[Span], *, single: bool, months: str) -> str:
    start, last, step = values[0]
    if len(values) == 1 and start == 1:
        if single:
            return f"the last day of {months}"
        if step == 1:
            return f"the last {last} days of {months}"
    if single:
        days = listed([ordinal(value.start) for value in values])
        return f"the {days} day{'s' if len(values) > 1 else ''} from the end of {months}"
    return f"{_named(values, DAY_FROM_END)} from the end of {months}"


def _drawn_day(day: Random, month: Field, from_end: bool) -> str:
    unit = DAY_FROM_END if from_end else DAY
    where = f"from the end of {_months(month)}" if from_end else f"of {_months(month)}"
    if day.step:
        return f"every {ordinal(day.step)} day {where} from a phase of its own"
    whole = day.low == unit.low and day.high == unit.random
    which = "" if whole else f", the {ordinal(day.low)} to {ordinal(day.high)},"
    return f"a day of its own{which} {where}"


def _months(field: Field) -> str:
    """`each month`, `May and June`, `every 3rd month from January`."""
    if isinstance(field, Random):
        if field.step:
            return f"every {ordinal(field.step)} month from one of its own"
        return _own(field, MONTH)
    values = spans(field, MONTH)
    if values is None:
        return "each month"
    if len(values) == 1 and values[0].step > 1:
        start, last, step = values[0]
        even = 12 % step == 0 and start <= step and last == start + 12 - step
        until = "" if even else f" to {MONTH_NAMES[last - 1]}"
        return f"every {ordinal(step)} month from {MONTH_NAMES[start - 1]}{until}"
    return _series(values, MONTH)


def _years(field: Field) -> str:
    """`in 2026`, `from 2026 to 2030`, `in every 2nd year from 2024`; empty for every year."""
    values = spans(field, YEAR)
    if values is None:
        return ""
    if len(values) == 1 and values[0].step:
        start, last, step = values[0]
        until = "" if last + step > YEAR.high else f" to {last}"
        if step == 1:
            return f"from {start}{until}"
        return f"in every {ordinal(step)} year from {start}{until}"
    return f"in {_series(values, YEAR)}"
