"""What does a crontab line say? Its five fields, or its word, as calendar expressions.

The rules are those of crontab(5) as Debian ships it: where both days of month and of week are
restricted either is enough, and a field that begins with `*` restricts nothing, so that `*/2` is
and-ed. Read beyond it: `5/15` (from 5 on), and weekdays that run over Sunday (`sat-mon`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, NoReturn

from libbarto.errors import CalendarError
from libbarto.realtime import hints
from libbarto.realtime.calendar import Realtime
from libbarto.realtime.grammar import format_weekdays
from libbarto.realtime.union import Calendars
from libbarto.realtime.units import EVERY_WEEKDAY, WEEKDAYS

LONGEST: Final = 1000
"""Characters of a line; no cron takes more."""


class _Field(NamedTuple):
    """One of the five: `names` are three letters each, for the values from `low` on."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def describe(self) -> str:
        """What is valid here: "hour is 0 to 23"."""
        text = f"{self.name} is {self.low} to {self.high}"
        return f"{text} or {self.names[0]} to {self.names[-1]}" if self.names else text


_SECOND: Final = _Field("second", 0, 59)
_MINUTE: Final = _Field("minute", 0, 59)
_HOUR: Final = _Field("hour", 0, 23)
_DAY: Final = _Field("day of month", 1, 31)
_MONTHS: Final = (
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
)
_MONTH: Final = _Field("month", 1, 12, _MONTHS)
_WEEKDAY: Final = _Field("day of week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
_FIELDS: Final = (_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)

_WORDS: Final[Mapping[str, str]] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_REBOOT: Final = "@reboot"

_ITEM: Final = re.compile(
    r"(?:(\*)|([0-9]{1,9}|[a-z]{3})(?:-([0-9]{1,9}|[a-z]{3}))?)(?:/([0-9]{1,9}))?"
)
_LIKE_A_FIELD: Final = re.compile(
    rf"(?:[0-9*?,/#LWH~()-]|{'|'.join((*_MONTHS, *_WEEKDAY.names))})+", re.IGNORECASE
)
_VARIABLE: Final = re.compile(r"(?:CRON_)?TZ=(\S*)|[A-Za-z_]+=\S*")


@dataclass(frozen=True, slots=True)
class Cron:
    """A crontab line; made by `parse`.

    >>> Cron.parse("0 2 * * mon-fri").expressions
    ('Mon..Fri *-*-* 02:00:00',)
    >>> Cron.parse("30 4 1,15 * 5").expressions
    ('*-*-01,15 04:30:00', 'Fri *-*-* 04:30:00')
    """

    text: str = field(compare=False)
    """The line, as it was written."""
    expressions: tuple[str, ...]
    """Calendar expressions in normalised form, whose union it is; none for `@reboot`."""

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Read a line: five fields, or a word such as `@daily`.

        Raises CalendarError, which marks the fault, says what is valid there, and suggests.
        """
        return cls(text, _Reader(text).read())

    @property
    def at_boot(self) -> bool:
        """Whether it is `@reboot`: once for each boot, with no calendar."""
        return not self.expressions

    @property
    def calendars(self) -> Calendars:
        """Its union. Raises CalendarError for `@reboot`, which has none."""
        return Calendars.parse(self.expressions)


class _Values(NamedTuple):
    """What a field says: whether it begins with `*`, and its members as (first, last, step)."""

    starred: bool
    items: tuple[tuple[int, int, int], ...]


class _Word(NamedTuple):
    text: str
    start: int
    end: int


class _Reader:
    """One reading of one text; offsets in it are what errors point at."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read(self) -> tuple[str, ...]:
        """The expressions, none for `@reboot`."""
        text = self.text
        if len(text) > LONGEST:
            self.fail(f"a crontab line has at most {LONGEST} characters", 0, 1)
        for at, character in enumerate(text):
            if not (" " <= character <= "~" or character == "\t"):
                self.fail("only ASCII letters, digits and signs are valid", at, at + 1)
        words = [_Word(found[0], *found.span()) for found in re.finditer(r"\S+", text)]
        if not words:
            self.fail('a crontab line has five fields, as in "0 2 * * *"')
        if words[0].text.startswith("@"):
            return self.word(words)
        variable = _VARIABLE.fullmatch(words[0].text)
        if variable is not None:
            zone = variable[1]
            meant = f'the zone is written timezone = "{zone}"' if zone else "it goes into env"
            self.fail(f"a variable is no part of the five fields: {meant}", *words[0][1:])
        if len(words) != len(_FIELDS):
            self.wrong_number(words)
        return _expressions(
            [self.field(word, unit) for word, unit in zip(words, _FIELDS, strict=True)]
        )

    def word(self, words: list[_Word]) -> tuple[str, ...]:
        """`@daily` and its like."""
        word, start, end = words[0]
        lowered = word.lower()
        if lowered == "@every":
            interval = words[1].text if len(words) > 1 else "15m"
            self.fail(f'@every is not of cron: write every = "{hints.short(interval)}"')
        if lowered != _REBOOT and lowered not in _WORDS:
            near = difflib.get_close_matches(lowered[:20], (*_WORDS, _REBOOT), 1, 0.6)
            meant = f"; did you mean {near[0]}?" if near else ""
            known = ", ".join(_WORDS)
            self.fail(f"a word is one of {known} and {_REBOOT}{meant}", start, end)
        if len(words) > 1:
            self.fail(f"{word} stands alone; a command goes into cmds", words[1].start)
        return () if lowered == _REBOOT else _Reader(_WORDS[lowered]).read()

    # -- a field ----------------------------------------------------------------------------------

    def field(self, word: _Word, unit: _Field) -> _Values:
        """The members of a field."""
        text, start, _ = word
        items = []
        for member in text.split(","):
            end = start + len(member)
            items.append(self.item(_Word(member, start, end), unit))
            start = end + 1
        return _Values(text.startswith("*"), tuple(dict.fromkeys(items)))

    def item(self, word: _Word, unit: _Field) -> tuple[int, int, int]:
        """One member of a list."""
        text, start, end = word
        found = _ITEM.fullmatch(text.lower())
        if found is None:
            self.foreign(word, unit)
        star, first, last, every = found.groups()
        step = 1 if every is None else int(every)
        if step == 0:
            self.fail("a step is at least 1", start + found.start(4), end)
        if star:
            return unit.low, unit.high, step
        low = self.value(first, start, unit)
        if last is None:
            return low, unit.high if every is not None else low, step
        high = self.value(last, start + found.start(3), unit)
        if low > high:
            if unit is _WEEKDAY:  # over Sunday, which is 7 as well as 0
                return (low, high + 7, step) if low < 7 else (0, high, step)
            rest = f"{first}-{unit.high},{unit.low}-{last}"
            self.fail(f"a range runs upward; write {rest}", start, start + found.end(3))
        return low, high, step

    def value(self, text: str, start: int, unit: _Field) -> int:
        """A number, or a name of three letters (lower case)."""
        if text.isdigit():
            number = int(text)
            if unit.low <= number <= unit.high:
                return number
        elif text in unit.names:
            return unit.low + unit.names.index(text)
        meant = ""
        if text == "24":
            meant = "; midnight is 0"
        elif unit.names and not text.isdigit():
            near = difflib.get_close_matches(text, unit.names, 1, 0.6)
            meant = f"; did you mean {near[0]}?" if near else ""
        return self.fail(f"{unit.describe()}, got {text}{meant}", start, start + len(text))

    # -- what cron does not have ------------------------------------------------------------------

    def foreign(self, word: _Word, unit: _Field) -> NoReturn:
        """Fail at what is no member of a field; others' extensions are named."""
        text, start, end = word
        shown = hints.short(text)
        if not text:
            self.fail(f"{unit.describe()}, and one is missing here", start, start + 1)
        other = _extension(text.upper(), unit)
        if other:
            self.fail(f"{shown} is not of cron: {other}", start, end)
        meant = ""
        if ".." in text:
            meant = f"; a range is written with -, as {unit.low}-{unit.high}"
        elif text[:3].lower() in unit.names and text.isalpha():
            meant = f"; write {text[:3].lower()}"
        elif "*" in text:
            meant = "; * stands alone, or with a step as in */5"
        self.fail(f"{unit.describe()}, got {shown}{meant}", start, end)

    def wrong_number(self, words: list[_Word]) -> NoReturn:
        """Fail at a line of fewer or more than five fields."""
        fields = "minute, hour, day of month, month, day of week"
        count = len(words)
        if count < len(_FIELDS):
            try:
                calendar = str(Realtime.parse(self.text.strip()))
            except CalendarError:
                self.fail(f"a crontab line has five fields ({fields}), found {count}")
            self.fail(f'this is no crontab line: write on_calendar = "{calendar}"')
        like = [_LIKE_A_FIELD.fullmatch(word.text) is not None for word in words]
        if count <= 7 and all(like):
            self.fail(
                f"a crontab line has five fields ({fields}), found {count}; six or seven begin"
                f" with seconds in Quartz and Spring: {self.with_seconds(words)}"
            )
        user = count > 6 and re.fullmatch(r"[a-z_][a-z0-9_-]*", words[5].text) is not None
        remark = ", and the user, as in /etc/crontab, into run_as" if user else ""
        self.fail(
            f"five fields are the whole line: the command goes into cmds{remark}", words[5].start
        )

    def with_seconds(self, words: list[_Word]) -> str:
        """How a line of Quartz or Spring is written as a calendar."""
        example = 'that is written on_calendar = "Mon..Fri *-*-* 02:30:15"'
        weekday = words[5].text
        if any(map(str.isdigit, weekday)) or any(word.text != "*" for word in words[6:]):
            return example  # they count weekdays in two ways
        plain = " ".join("*" if word.text == "?" else word.text for word in words[:6])
        reader = _Reader(plain)
        parts = [_Word(found[0], *found.span()) for found in re.finditer(r"\S+", plain)]
        try:
            second, *five = (
                reader.field(part, unit)
                for part, unit in zip(parts, (_SECOND, *_FIELDS), strict=True)
            )
        except CalendarError:
            return example
        lines = _expressions(five, _list(second, _SECOND))
        written = '", "'.join(lines)
        written = f'"{written}"' if len(lines) == 1 else f'["{written}"]'
        return f"write on_calendar = {written}"

    def fail(self, message: str, start: int = 0, end: int | None = None) -> NoReturn:
        """Raise, with a mark of bounded length."""
        stop = len(self.text) if end is None else end
        raise CalendarError(message, self.text, start, min(stop, start + 80))


def _extension(text: str, unit: _Field) -> str:
    """What to write for an extension of Quartz, Jenkins or OpenBSD (upper case), if it is one."""
    random = re.fullmatch(r"H(?:\(([0-9]+)-([0-9]+)\))?(?:/([0-9]+))?|([0-9]*)~([0-9]*)", text)
    if text == "?":
        return "write *"
    if random is not None:
        low, high = random[1] or random[4], random[2] or random[5]
        drawn = f"R({low}..{high})" if low and high else f"R/{random[3]}" if random[3] else "R"
        return f"a value of each worker's own is {drawn} in on_calendar, as in *-*-* 02:R"
    if unit is _DAY:
        last = re.fullmatch(r"L(?:-([0-9]{1,2}))?", text)
        if last is not None and int(last[1] or 0) < 28:
            back = int(last[1] or 0) + 1
            return f'counted from the month\'s end it is on_calendar = "*-*~{back:02} …"'
        if re.fullmatch(r"L?W|[0-9]+W", text):
            return "the weekday nearest to a day cannot be said; name the days in on_calendar"
    if unit is _WEEKDAY:
        nth = re.fullmatch(rf"([0-7]|{'|'.join(unit.names).upper()})(?:#([1-5])|L)", text)
        if nth is not None:
            name = WEEKDAYS[(int(nth[1]) + 6) % 7] if nth[1].isdigit() else nth[1].capitalize()
            if nth[2] is None:
                return f'the last one of a month is on_calendar = "{name} *-*~07/1 …"'
            first = 7 * int(nth[2]) - 6
            days = f"{first:02}..{min(first + 6, 31):02}"
            return f'that one of a month is on_calendar = "{name} *-*-{days} …"'
    return ""


# -- as calendar expressions ----------------------------------------------------------------------


def _expressions(fields: Sequence[_Values], second: str = "00") -> tuple[str, ...]:
    """The union that five fields are, in normalised form."""
    minute, hour, day, month, weekday = fields
    months, days = _list(month, _MONTH), _list(day, _DAY)
    time = f"{_list(hour, _HOUR)}:{_list(minute, _MINUTE)}:{second}"
    bits = 0
    for first, last, step in weekday.items:
        for number in range(first, last + 1, step):
            bits |= 1 << (number + 6) % 7  # Sunday first there, Monday first here
    names = "" if bits == EVERY_WEEKDAY else f"{format_weekdays(bits)} "
    if day.starred or weekday.starred:
        lines = [f"{names}*-{months}-{days} {time}"]
    else:
        lines = [f"*-{months}-{days} {time}", f"{names}*-{months}-* {time}"]
    return tuple(dict.fromkeys(str(Realtime.parse(line)) for line in lines))


def _list(values: _Values, unit: _Field) -> str:
    """A field as calendar expressions write it."""
    covered = {
        number for first, last, step in values.items for number in range(first, last + 1, step)
    }
    if len(covered) == unit.high - unit.low + 1:
        return "*"
    if len(values.items) > 100:  # more than a list there may hold, and than a field has values
        return ",".join(map(str, sorted(covered)))
    return ",".join(_member(*item, unit) for item in values.items)


def _member(first: int, last: int, step: int, unit: _Field) -> str:
    if first + step > last:
        return str(first)
    if step == 1:
        return f"{first}..{last}"
    return f"{first}/{step}" if last == unit.high else f"{first}..{last}/{step}"
