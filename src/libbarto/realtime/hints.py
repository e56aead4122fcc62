"""What did they probably mean? Suggestions for expressions that cannot be read.

Every function returns text to append to a message, empty where nothing plain can be said; none
decides whether an expression is valid.
"""

from __future__ import annotations

import difflib
import re
from typing import Final

from libbarto.realtime.units import WEEKDAYS, Unit

_SHORTHANDS: Final = (
    *("minutely", "hourly", "daily", "weekly", "monthly"),
    *("quarterly", "semiannually", "yearly", "annually"),
)
_FULL_WEEKDAYS: Final = (
    *("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
)
_CRON: Final = re.compile(r"\*|[0-9*][0-9*/,-]*|[A-Za-z]{3}(?:[,-][A-Za-z]{3})*|\?")
_CRON_WORDS: Final = {"midnight": "daily", "every_minute": "minutely", "reboot": 'at = "boot"'}
_MEANT: Final = {
    **dict.fromkeys(("weekday", "weekdays", "workdays"), "Mon..Fri"),
    **dict.fromkeys(("weekend", "weekends"), "Sat,Sun"),
    "midnight": "00:00",
    "noon": "12:00",
    "nightly": "daily",
    "secondly": "*:*:*",
}
_OF_TWELVE: Final = re.compile(
    r"\b(1[0-2]|0?[1-9])(?::([0-5][0-9]))? ?([ap])m\b", re.ASCII | re.IGNORECASE
)
_INTERVAL: Final = re.compile(
    r"every (?:([0-9]{1,6}) ?)?(seconds?|minutes?|mins?|hours?|days?|weeks?|[smhdw])", re.IGNORECASE
)
_ISO: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9:]+)")


def short(text: str) -> str:
    """`text` in at most 40 characters, for a message; control characters are shown as ?."""
    shown = "".join(c if c.isprintable() else "?" for c in text[:41])
    return shown if len(shown) <= 40 else shown[:37] + "..."


def other_language(text: str) -> str | None:
    """The whole message where the text is in another language for schedules, such as cron's."""
    if len(text) > 200:
        return None
    words = text.split()
    if len(words) == 5 and all(_CRON.fullmatch(word) for word in words):
        return (
            "this looks like a crontab line; write it as cron = "
            f'"{" ".join(words)}", or as weekdays, date and time'
        )
    interval = _INTERVAL.fullmatch(text)
    if interval:
        return (
            f'this is an interval; write it as every = "{interval[1] or 1}{interval[2][0].lower()}"'
        )
    half = _OF_TWELVE.search(text)
    if half and half[2]:
        return f"hours are 0 to 23: for {half[0]} write {_of_day(half)}"
    found = _ISO.match(text)
    if found:
        return f"a blank stands between date and time, write {found[1]} {found[2].rstrip(':')}"
    return None


def shorthand(word: str) -> str:
    """For `@daily` and its like."""
    name = word[1:].lower()
    if name in _CRON_WORDS:
        return f"; for {short(word)} write {_CRON_WORDS[name]}"
    if name in _SHORTHANDS:
        return f"; write {name}"
    return ""


def weekday(part: str) -> str:
    """For a name that is nearly a weekday's."""
    word = re.split(r"\.|-", part[:40])[0].capitalize()
    if word in WEEKDAYS or word in _FULL_WEEKDAYS:
        word = re.split(r"\.|-", part[:40])[-1].capitalize()
    if len(word) >= 2:
        for full in _FULL_WEEKDAYS:
            if full.startswith(word):
                return f"; write {full[:3]}"
    near = difflib.get_close_matches(word, (*_FULL_WEEKDAYS, *WEEKDAYS), 1, 0.7)
    return f"; did you mean {near[0]}?" if near else ""


def _of_day(half: re.Match[str]) -> str:
    """`22:00` for 10pm."""
    hour = int(half[1]) % 12 + (12 if half[3] in "pP" else 0)
    return f"{hour:02}:{half[2] or '00'}"


def _near_shorthand(word: str, cutoff: float) -> str:
    near = difflib.get_close_matches(word[:40].lower(), _SHORTHANDS, 1, cutoff)
    return f"; did you mean {near[0]}?" if near else ""


def wrapped_weekdays(first: int, last: int) -> str:
    """`Fri..Sun,Mon` for Fri..Mon.

    >>> wrapped_weekdays(4, 0), wrapped_weekdays(6, 1)
    ('Fri..Sun,Mon', 'Sun,Mon..Tue')
    """
    head = WEEKDAYS[6] if first == 6 else f"{WEEKDAYS[first]}..Sun"
    tail = WEEKDAYS[0] if last == 0 else f"Mon..{WEEKDAYS[last]}"
    return f"{head},{tail}"


def wrapped_range(first: str, last: str, unit: Unit) -> str:
    """`22..23,0..5` for 22..5; years do not come round again."""
    if unit.width == 4:
        return ""
    low, high = unit.low, (59 if unit.scale > 1 else unit.high)
    head = first if int(first[:9]) == high else f"{first}..{high}"
    tail = last if int(last[:9]) == low else f"{low}..{last}"
    return f", write {head},{tail}"


def out_of_range(got: str, unit: Unit) -> str:
    """For values just beyond the end: 24:00, second 60, day 29 after ~."""
    if unit.name == "hour" and got == "24":
        return "; midnight is 00:00"
    return ""


def field(got: str, unit: Unit) -> str:
    """For what is no item of a list: `*/5`, `*` in a list, `?`, a sign, a name."""
    low = 0 if unit.scale > 1 else unit.low
    repetition = re.fullmatch(r"\*/([0-9]{1,4})", got)
    if repetition:
        return f"; write {low}/{repetition[1]}"
    if "*" in got:
        return "; * stands alone in its field"
    if got == "?":
        return "; write *"
    if got == "r":
        return "; R is written in upper case"
    return ""


def date(word: str) -> str:
    """For dates with too many parts."""
    return "; a range is written with .., as in 1..5" if "~" not in word else ""


def unknown_word(word: str, near_zone: str | None, start: int) -> str:
    """The message for a word that has no place where it stands.

    `near_zone` names the zone that was meant, if one is near; None where no zone looks like that.
    """
    shown = short(word)
    if word.lower() in _SHORTHANDS:
        return f"{word.lower()} stands alone, at most with a zone after one blank"
    if word.isdigit():
        return f"{shown} is no time: write {shown}:00 for an hour, *-*-{shown} for a day"
    if word == "*":
        return "a lone * needs a time after it, as in '* 10:00'"
    half = _OF_TWELVE.fullmatch(word)
    if half:
        return f"hours are 0 to 23: for {shown} write {_of_day(half)}"
    if start == 0:
        meant = f"; write {_MEANT[word.lower()]}" if word.lower() in _MEANT else ""
        meant = meant or _near_shorthand(word, 0.75) or weekday(word) or _near_shorthand(word, 0.6)
        return f"expected weekdays, a date, a time or a word such as daily, got {shown}{meant}"
    if near_zone is None or word[:3].capitalize() in WEEKDAYS:
        return (
            f"{shown} has no place here: weekdays stand first, then a date, a time,"
            " and a zone after one blank"
        )
    return f"no time zone is named {shown}{near_zone}"
