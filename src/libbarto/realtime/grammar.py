"""What does a calendar expression say? Text to fields and back, and what is wrong where it is not.

The grammar is that of systemd's OnCalendar= (systemd.time(7)), with `R` and the date spelling of
barto 1.x added; docs/reference/calendar.md has it. Everything here is linear in the text's length.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple, NoReturn

from libbarto.errors import CalendarError
from libbarto.realtime import hints
from libbarto.realtime.units import (
    DAY,
    DAY_FROM_END,
    EVERY_WEEKDAY,
    HOUR,
    MINUTE,
    MONTH,
    SECOND,
    SECOND_US,
    WEEKDAYS,
    YEAR,
    Field,
    Item,
    Random,
    Unit,
)

MOST_ITEMS: Final = 241
"""As many as systemd takes in one list."""

LARGEST: Final = 2**31 - 1
"""systemd holds values in a C int, seconds as microseconds."""

LAST_EPOCH: Final = 7_258_118_399
"""2199-12-31 23:59:59 UTC."""


class Parts(NamedTuple):
    """What an expression says, already normalised."""

    weekdays: int
    year: Field
    month: Field
    day: Field
    hour: Field
    minute: Field
    second: Field
    from_end: bool
    zone: str | None

    @property
    def fields(self) -> tuple[Field, Field, Field, Field, Field, Field]:
        """The six fields, in the order of `UNITS`."""
        return self.year, self.month, self.day, self.hour, self.minute, self.second


ZERO: Final = (Item(0),)
FIRST: Final = (Item(1),)
EVERY_SECOND: Final = (Item(0, -1, SECOND_US),)

SHORTHANDS: Final = {
    "minutely": (EVERY_WEEKDAY, None, None, None, None),
    "hourly": (EVERY_WEEKDAY, None, None, None, ZERO),
    "daily": (EVERY_WEEKDAY, None, None, ZERO, ZERO),
    "weekly": (1, None, None, ZERO, ZERO),
    "monthly": (EVERY_WEEKDAY, None, FIRST, ZERO, ZERO),
    "quarterly": (EVERY_WEEKDAY, tuple(map(Item, (1, 4, 7, 10))), FIRST, ZERO, ZERO),
    "semiannually": (EVERY_WEEKDAY, (Item(1), Item(7)), FIRST, ZERO, ZERO),
    "yearly": (EVERY_WEEKDAY, FIRST, FIRST, ZERO, ZERO),
}
"""Weekdays, month, day, hour and minute of what can be said in one word."""
for _word in ("semi-annually", "biannually", "bi-annually"):
    SHORTHANDS[_word] = SHORTHANDS["semiannually"]
for _word in ("annually", "anually"):
    SHORTHANDS[_word] = SHORTHANDS["yearly"]

WEEKDAY_NUMBERS: Final = {
    name: number
    for number, full in enumerate(
        ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    )
    for name in (full, full[:3])
}

_ITEM: Final = re.compile(
    r"([0-9]+)(?:\.([0-9]+))?(\.\.([0-9]+)(?:\.([0-9]+))?)?(/([0-9]+)(?:\.([0-9]+))?)?"
)
_RANDOM: Final = re.compile(r"R(?:\(([0-9]+)\.\.([0-9]+)\)|/([0-9]+))?")
_DATE_SIGN: Final = re.compile("[-~]")
_TIME_SIGN: Final = re.compile(":")
_WORD: Final = re.compile(r"[^ ]+")
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+/-]*\Z")
_OLD_DATE: Final = re.compile(r"[0-9*/.R()]+,[0-9*/.R()]+,[0-9*/.R()]+\Z")


def parse(text: str, is_zone: Callable[[str], bool], near_zone: Callable[[str], str]) -> Parts:
    """Read one expression.

    `is_zone` tells whether a name is that of an IANA zone; `near_zone` says which zone was
    probably meant by a name that is not, as text to append to a message.

    Raises CalendarError with the place of the fault, what is valid there, and the likely fix.
    """
    try:
        return _Reader(text, is_zone, near_zone).read()
    except CalendarError as fault:
        other = hints.other_language(text)
        if other is None:
            raise
        raise CalendarError(other, text) from fault


class _Reader:
    """One reading of one text; `text` and the offsets in it are what errors point at."""

    def __init__(
        self, text: str, is_zone: Callable[[str], bool], near_zone: Callable[[str], str]
    ) -> None:
        self.text = text
        self.is_zone = is_zone
        self.near_zone = near_zone

    def read(self) -> Parts:
        text = self.text
        if not text.isascii():
            at = next(i for i, c in enumerate(text) if ord(c) > 127)
            self.fail("only ASCII letters, digits and signs are valid", at, at + 1)
        end, zone = len(text), None
        blank = text.rfind(" ")
        if blank >= 0:
            last = text[blank + 1 :]
            if last.upper() == "UTC":
                end, zone = blank, "UTC"
            elif _ZONE.match(last) and self.is_zone(last):
                end, zone = blank, last
        short = SHORTHANDS.get(text[:end].lower()) if end < 16 else None
        if short is not None:
            weekdays, month, day, hour, minute = short
            return Parts(weekdays, None, month, day, hour, minute, ZERO, False, zone)
        return self.words(end, zone)

    def words(self, end: int, zone: str | None) -> Parts:
        """The words before the zone: weekdays, then a date or an epoch, then a time."""
        text = self.text
        words = []
        for found in _WORD.finditer(text, 0, end):
            words.append((found.group(), found.start(), found.end()))
            if len(words) == 5:
                break  # four are too many already
        if not words:
            self.fail(
                "an expression needs at least one of weekdays, a date and a time,"
                " as in 'Mon..Fri *-*-01 10:00'"
            )
        if words[0][1]:
            self.fail("a blank in front is not valid", 0, words[0][1])
        weekdays, weekdays_said = EVERY_WEEKDAY, False
        stars = 0
        word, start, stop = words[0]
        if word[0].isalpha() and word[0] != "R":
            weekdays, weekdays_said = self.weekdays(word, start, stop), True
            words.pop(0)
        elif word == "*":
            stars = 1
            words.pop(0)
        if words and words[0][0] == "*":
            stars += 1
            if stars == 1 or len(words) > 1:
                words.pop(0)
        # Lone stars stand for the weekday and the date: nothing is left for them but a time, or
        # a date where there is one star that no weekday stands before.
        date_valid = stars == 0 or (stars == 1 and not weekdays_said)
        if stars and not words:
            self.fail("a lone * needs a time after it, as in '* 10:00'", end - 1, end)
        if words and words[0][0][0] == "@" and not stars:
            return self.epoch(words, end, weekdays)
        year: Field = None
        month: Field = None
        day: Field = None
        from_end = False
        if words and date_valid and self.is_date(words[0][0]):
            word, start, stop = words.pop(0)
            year, month, day, from_end = self.date(word, start, stop)
        hour: Field = ZERO
        minute: Field = ZERO
        second: Field = ZERO
        if words:
            word, start, stop = words.pop(0)
            if ":" not in word:
                self.unknown(word, start, stop)
            hour, minute, second = self.time(word, start, stop)
            if words:
                self.unknown(*words[0])
            if stop < end:
                what = "one blank" if zone else "no blank"
                self.fail(f"{what} is valid after a time", stop, end)
        return Parts(weekdays, year, month, day, hour, minute, second, from_end, zone)

    def weekdays(self, word: str, start: int, stop: int) -> int:
        """The bits of a list of weekdays, Monday the lowest."""
        bits = 0
        names = word[:-1] if word.endswith(",") else word
        for part in dict.fromkeys(names.split(",")):  # each spelling once: the text may be long
            number = WEEKDAY_NUMBERS.get(part.lower())
            if number is not None:
                bits |= 1 << number
                continue
            ends = part.lower().split(".." if ".." in part else "-", 2)
            numbers = [WEEKDAY_NUMBERS.get(name) for name in ends]
            if len(numbers) != 2 or None in numbers:
                if bits == 0 and not names.startswith(part + ","):
                    self.unknown(word, start, stop)
                at = self.member(start, names, part)
                self.fail(
                    f"a weekday is Mon to Sun or Monday to Sunday{hints.weekday(part)}",
                    at,
                    at + len(part),
                )
            first, last = numbers
            assert first is not None
            assert last is not None
            if first > last:
                at = self.member(start, names, part)
                self.fail(
                    "a range of weekdays runs from Monday to Sunday,"
                    f" write {hints.wrapped_weekdays(first, last)}",
                    at,
                    at + len(part),
                )
            bits |= (2 << last) - (1 << first)
        return bits

    @staticmethod
    def member(start: int, names: str, part: str) -> int:
        """Where `part` stands, as a member of the list `names` that begins at `start`."""
        return start + f",{names},".find(f",{part},")

    def epoch(self, words: list[tuple[str, int, int]], end: int, weekdays: int) -> Parts:
        """`@N`, a second since 1970 in UTC, once."""
        word, start, stop = words.pop(0)
        digits = word[1:]
        if not digits and words:
            digits, _, stop = words.pop(0)
        value = _number(digits, 2**40) if digits.isdigit() else -1
        if not 0 <= value <= LAST_EPOCH or words or stop < end:
            self.fail(
                "'@' takes whole seconds since 1970, up to 2199, and stands alone"
                + hints.shorthand(word),
                start,
                end,
            )
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
        fields = (at.year, at.month, at.day, at.hour, at.minute, at.second * SECOND_US)
        year, month, day, hour, minute, second = ((Item(value),) for value in fields)
        return Parts(weekdays, year, month, day, hour, minute, second, False, "UTC")

    @staticmethod
    def is_date(word: str) -> bool:
        """Whether a word is a date rather than a time, in either spelling."""
        return ":" not in word and ("-" in word or "~" in word or bool(_OLD_DATE.match(word)))

    def date(self, word: str, start: int, stop: int) -> tuple[Field, Field, Field, bool]:
        """Year, month, day, and whether the day is counted from the month's end."""
        text = self.text
        if "-" not in word and "~" not in word:  # year,month,day of barto 1.x
            first = word.index(",")
            second = word.index(",", first + 1)
            cuts, last = [start + first, start + second], "-"
        else:
            cuts = [start + found.start() for found in islice(_DATE_SIGN.finditer(word), 3)]
            last = text[cuts[-1]]
            if len(cuts) > 2 or (len(cuts) == 2 and text[cuts[0]] == "~"):
                self.fail(
                    "a date is year-month-day, month-day, or with ~ in front of a day that is"
                    f" counted from the month's end{hints.date(word)}",
                    start,
                    stop,
                )
        year: Field = None
        if len(cuts) == 2:
            year = self.field(start, cuts[0], YEAR)
            start = cuts[0] + 1
        month = self.field(start, cuts[-1], MONTH)
        day = self.field(cuts[-1] + 1, stop, DAY_FROM_END if last == "~" else DAY)
        return year, month, day, last == "~" and day is not None

    def time(self, word: str, start: int, stop: int) -> tuple[Field, Field, Field]:
        """Hour, minute and second."""
        cuts = [start + found.start() for found in islice(_TIME_SIGN.finditer(word), 3)]
        if len(cuts) > 2:
            self.fail("a time is hour:minute or hour:minute:second", start, stop)
        hour = self.field(start, cuts[0], HOUR)
        if len(cuts) == 1:
            return hour, self.field(cuts[0] + 1, stop, MINUTE), ZERO
        minute = self.field(cuts[0] + 1, cuts[1], MINUTE)
        return hour, minute, self.field(cuts[1] + 1, stop, SECOND)

    def field(self, start: int, stop: int, unit: Unit) -> Field:
        """One field: `*`, `R` in one of its forms, or a list."""
        text = self.text
        if text.startswith("*", start, stop):
            if stop - start > 1:
                self.bad_item(start, start, stop, unit)
            return EVERY_SECOND if unit is SECOND else None
        if text.startswith("R", start, stop):
            return self.random(start, stop, unit)
        items = []
        at = start
        while True:
            found = _ITEM.match(text, at, stop)
            if found is None:
                self.bad_item(at, at, stop, unit)
            items.append(self.item(found, unit))
            at = found.end()
            if at == stop:
                break
            if text[at] != ",":
                self.bad_item(found.start(), at, stop, unit)
            if len(items) == MOST_ITEMS:
                self.fail(f"a list holds at most {MOST_ITEMS} values", at, stop)
            at += 1
        if len(items) == 1:
            return (items[0],)
        unique = tuple(sorted(set(items)))
        if (
            unit is SECOND
            and EVERY_SECOND[0] in unique
            and all(value % SECOND_US == 0 for item in unique for value in item if value > 0)
        ):
            return EVERY_SECOND
        return unique

    def item(self, found: re.Match[str], unit: Unit) -> Item:
        """One member of a list, checked and normalised in systemd's order."""
        a, a_part, has_stop, b, b_part, has_step, r, r_part = found.groups()
        if (a_part or b_part or r_part) and unit is not SECOND:
            self.fail(f"only seconds have decimals, not the {unit.name}", *found.span())
        start = self.value(a, a_part, unit, found.span(1))
        if not has_stop and not has_step:
            self.within(start, unit, found)
            return Item(start)
        step = 0
        if has_step:
            step = self.value(r, r_part, unit, found.span(6), whole=True)
            if step == 0:
                self.fail("a repetition of 0 is not valid", *found.span(6))
        if not has_stop:
            self.within(start, unit, found)
            reached = start - step if unit is DAY_FROM_END else start + step
            if not unit.low <= reached <= unit.high:
                self.fail(
                    f"{unit.describe(unit is DAY_FROM_END)}, so nothing repeats after"
                    f" {found.group()[: -len(has_step)][:40]}; leave {has_step[:40]} out",
                    *found.span(6),
                )
            return Item(start, -1, step)
        stop = self.value(b, b_part, unit, found.span(3))
        self.within(start, unit, found)
        if start > stop:
            self.within(stop, unit, found)
            self.fail(
                "a range runs upward" + hints.wrapped_range(found.group(1), found.group(4), unit),
                *found.span(),
            )
        if not has_step and unit is SECOND and start + SECOND_US > stop:
            self.fail(
                "a range of seconds spans at least one, or has a repetition as in 0..0.5/0.1",
                *found.span(),
            )
        step = step or unit.scale
        stop -= (stop - start) % step
        self.within(stop, unit, found)
        return Item(start) if start == stop else Item(start, stop, step)

    def value(
        self,
        digits: str,
        decimals: str | None,
        unit: Unit,
        span: tuple[int, int],
        whole: bool = False,
    ) -> int:
        """A number in steps of the unit; a year of two digits is one of 1970 to 2069."""
        value = _number(digits, LARGEST // unit.scale + 1) * unit.scale
        if decimals is not None:
            micros = int(decimals[:6].ljust(6, "0"))
            if decimals[6:7] >= "5":
                micros += 1
            value += micros
        if value > LARGEST:
            self.fail(f"this number is too large: {unit.describe()}", *span)
        if unit is YEAR and not whole:
            if value < 70:
                value += 2000
            elif value < 100:
                value += 1900
        return value

    def within(self, value: int, unit: Unit, found: re.Match[str]) -> None:
        """Fail unless the unit has this value."""
        if not unit.low <= value <= unit.high:
            got = found.group()
            self.fail(
                f"{unit.describe(unit is DAY_FROM_END)}, got {hints.short(got)}"
                f"{hints.out_of_range(got, unit)}",
                *found.span(),
            )

    def random(self, start: int, stop: int, unit: Unit) -> Field:
        """`R`, `R(a..b)` or `R/n`."""
        text = self.text
        if unit.random < 0:
            self.fail("R has no place in a year", start, stop)
        found = _RANDOM.fullmatch(text, start, stop)
        if found is None:
            self.fail(
                f"R is a whole {unit.name}: R, R(a..b) for one of a range, or R/n for every n"
                " at a phase of its own",
                start,
                stop,
            )
        low = unit.low
        first, last, every = found.groups()
        if every is not None:
            step = _number(every, 100)
            if not 1 <= step <= unit.random - low + 1:
                self.fail(
                    f"the n of R/n is 1 to {unit.random - low + 1} in the {unit.name}", start, stop
                )
            return Random(low, low + step - 1, step)
        if first is None:
            return Random(low, unit.random)
        high = unit.high // unit.scale
        a, b = _number(first, 100), _number(last, 100)
        if not low <= a <= b <= high:
            self.fail(f"the range of R is within {low}..{high} in the {unit.name}", start, stop)
        return (Item(a * unit.scale),) if a == b else Random(a, b)

    def bad_item(self, first: int, at: int, stop: int, unit: Unit) -> NoReturn:
        """Fail at `at`, in the list member that begins at `first`."""
        text = self.text
        if at == stop:
            self.fail(f"{unit.describe(unit is DAY_FROM_END)}, and one is missing here", at, at + 1)
        comma = text.find(",", at, stop)
        end = comma if comma >= 0 else stop
        self.fail(
            f"{unit.describe(unit is DAY_FROM_END)}, got {hints.short(text[first:end])}"
            f"{hints.field(text[first:end], unit)}",
            first,
            end,
        )

    def unknown(self, word: str, start: int, stop: int) -> NoReturn:
        """Fail at a word that is no weekday, date or time in this place."""
        near = None
        if _ZONE.match(word):
            if self.is_zone(word):
                self.fail(
                    "a zone stands once, at the end, after weekdays, a date or a time", start, stop
                )
            near = self.near_zone(word)
        self.fail(hints.unknown_word(word, near, start), start, stop)

    def fail(self, message: str, start: int = 0, stop: int | None = None) -> NoReturn:
        """Raise, with a mark of bounded length."""
        stop = len(self.text) if stop is None else stop
        raise CalendarError(message, self.text, start, min(stop, start + 80, len(self.text)))


def _number(digits: str, most: int) -> int:
    """A decimal number, or `most` where it is that or more; digits may be many."""
    significant = digits.lstrip("0")
    if len(significant) > 13:
        return most
    return min(int(significant or "0"), most)


def format_parts(parts: Parts) -> str:
    """The normalised form, which reads back to the same parts."""
    weekdays, year, month, day, hour, minute, second, from_end, zone = parts
    text = (
        f"{format_field(year, YEAR)}-{format_field(month, MONTH)}{'~' if from_end else '-'}"
        f"{format_field(day, DAY)} {format_field(hour, HOUR)}:{format_field(minute, MINUTE)}"
        f":{format_field(second, SECOND)}"
    )
    if weekdays != EVERY_WEEKDAY:
        text = f"{format_weekdays(weekdays)} {text}"
    return text if zone is None else f"{text} {zone}"


def format_weekdays(bits: int) -> str:
    """`Mon..Wed,Sat`: three or more in a row are a range.

    >>> format_weekdays(0b0100111), format_weekdays(0b1100011)
    ('Mon..Wed,Sat', 'Mon,Tue,Sat,Sun')
    """
    runs: list[list[str]] = []
    for number, name in enumerate(WEEKDAYS):
        if bits >> number & 1:
            if number and bits >> (number - 1) & 1:
                runs[-1].append(name)
            else:
                runs.append([name])
    return ",".join(f"{run[0]}..{run[-1]}" if len(run) > 2 else ",".join(run) for run in runs)


def format_field(field: Field, unit: Unit) -> str:
    """One field in its normalised form."""
    if field is None or (unit is SECOND and field == EVERY_SECOND):
        return "*"
    if isinstance(field, Random):
        low, high, step = field
        if step:
            return f"R/{step}"
        whole = low == unit.low and high == unit.random
        return "R" if whole else f"R({low:02}..{high:02})"
    return ",".join(_format_item(item, unit) for item in field)


def _format_item(item: Item, unit: Unit) -> str:
    start, stop, step = item
    text = _format_value(start, unit, unit.width)
    if stop >= 0:
        text += f"..{_format_value(stop, unit, unit.width)}"
        if step == unit.scale:
            return text
    return f"{text}/{_format_value(step, unit, 1)}" if step else text


def _format_value(value: int, unit: Unit, width: int) -> str:
    whole, part = divmod(value, unit.scale)
    text = f"{whole:0{width}}"
    return f"{text}.{part:06}" if part else text
