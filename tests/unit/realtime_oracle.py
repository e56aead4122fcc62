"""What a calendar means, by brute force: slow, without masks, tables or shortcuts.

It reads the normalised form with `split`, asks `zoneinfo` for every minute of a span, and knows
nothing of the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib import resources
from typing import NamedTuple
from zoneinfo import ZoneInfo

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HIGHEST = {"year": 2199, "month": 12, "day": 31, "hour": 23, "minute": 59}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000


def midnight(year: int, month: int, day: int) -> datetime:
    """A naive reading: midnight on some wall."""
    return datetime.combine(date(year, month, day), time())


def micros(text: str) -> int:
    """`05.25` in millionths."""
    whole, _, part = text.partition(".")
    return int(whole) * SECOND + int(part.ljust(6, "0") or "0")


@cache
def field_has(field: str, value: int, unit: str) -> bool:
    """Whether a field of a normalised form has a value (seconds in microseconds)."""
    if field == "*":
        return unit != "second" or value % SECOND == 0
    number = micros if unit == "second" else int
    highest = 60 * SECOND - 1 if unit == "second" else HIGHEST[unit]
    for item in field.split(","):
        span, slash, step = item.partition("/")
        first, dots, last = span.partition("..")
        start = number(first)
        stop = number(last) if dots else (highest if slash else start)
        every = number(step) if slash else (SECOND if unit == "second" else 1)
        if start <= value <= stop and (value - start) % every == 0:
            return True
    return False


def day_from_end_has(field: str, value: int) -> bool:
    """The same for a day counted from the month's end: `a/r` runs towards the end."""
    for item in field.split(","):
        first, slash, step = item.partition("/")
        if slash and ".." not in first:
            if value <= int(first) and (int(first) - value) % int(step) == 0:
                return True
        elif field_has(item, value, "day"):
            return True
    return False


def weekdays_of(text: str) -> set[int]:
    """The weekdays of `Mon..Wed,Sat`."""
    days: set[int] = set()
    for item in text.split(","):
        first, _, last = item.partition("..")
        days.update(range(DAYS.index(first), DAYS.index(last or first) + 1))
    return days


@cache
def day_matches(text: str, day: datetime) -> bool:
    """Whether a normalised form matches on a day."""
    words = text.split(" ")
    if words[0][:3] in DAYS and day.weekday() not in weekdays_of(words.pop(0)):
        return False
    from_end = "~" in words[0]
    year, month, dom = words[0].replace("~", "-").split("-")
    last = ((day.replace(day=1) + timedelta(days=31)).replace(day=1) - timedelta(days=1)).day
    return (
        field_has(year, day.year, "year")
        and field_has(month, day.month, "month")
        and (
            day_from_end_has(dom, last - day.day + 1)
            if from_end
            else field_has(dom, day.day, "day")
        )
    )


def time_matches(text: str, hour: int, minute: int, second: int) -> bool:
    """Whether a normalised form matches at a time of day; `second` in microseconds."""
    h, m, s = next(word for word in text.split(" ") if ":" in word).split(":")
    return (
        field_has(h, hour, "hour")
        and field_has(m, minute, "minute")
        and field_has(s, second, "second")
    )


def minutes_of_day(text: str) -> list[int]:
    """The minutes of a day in which a normalised form matches at second 0."""
    return [
        60 * hour + minute
        for hour in range(24)
        for minute in range(60)
        if time_matches(text, hour, minute, 0)
    ]


def wall_matches(text: str, wall: datetime) -> bool:
    """Whether a normalised form matches a naive wall clock reading."""
    if not 1970 <= wall.year <= 2199:
        return False
    return day_matches(text, midnight(wall.year, wall.month, wall.day)) and time_matches(
        text, wall.hour, wall.minute, wall.second * SECOND + wall.microsecond
    )


def elapses(
    text: str, zone: ZoneInfo, start: datetime, end: datetime, gap: str, repeat: str
) -> list[datetime]:
    """Every elapse after `start` up to `end`, whole minutes only, by the policies' words.

    `repeat` is `first` or `both`. Instants are aware datetimes in UTC.
    """
    found: set[datetime] = set()
    minute = timedelta(minutes=1)
    before = start.astimezone(zone).replace(tzinfo=None)
    at = start + minute
    while at <= end:
        local = at.astimezone(zone)
        wall = local.replace(tzinfo=None)
        if wall_matches(text, wall) and (repeat == "both" or local.fold == 0):
            found.add(at)
        if gap == "next" and wall - before > minute:  # the clock went forward just now
            missing = before + minute
            while missing < wall:
                if wall_matches(text, missing):
                    found.add(at)
                missing += minute
        before = wall
        at += minute
    return sorted(found)


def repeats(text: str) -> bool:
    """Whether the hour of a normalised form is `*`, a range or a repetition."""
    hour = next(word for word in text.split(" ") if ":" in word).split(":")[0]
    return hour == "*" or ".." in hour or "/" in hour


# Clock changes, minute by minute.

MINUTE = 60 * SECOND


@cache
def packaged(name: str) -> ZoneInfo:
    """The zone as `zoneinfo` reads the package's file."""
    parts = name.split("/")
    with resources.files("tzdata").joinpath("zoneinfo", *parts).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


class Minute(NamedTuple):
    """A minute as a zone's clocks show it."""

    at: int
    """When it begins, in microseconds since 1970."""
    wall: int
    """What is read then, in minutes since 1970 on the wall."""
    second: bool
    """Whether this reading comes for the second time."""
    missing: range
    """The readings that clocks left out just before."""


def minutes(zone: ZoneInfo, start: int, end: int) -> list[Minute]:
    """Every minute from `start` (microseconds since 1970) to `end`, as `zoneinfo` has them."""
    found: list[Minute] = []
    at = EPOCH + timedelta(microseconds=start - start % MINUTE)
    last, step, origin = (
        EPOCH + timedelta(microseconds=end),
        timedelta(minutes=1),
        midnight(1970, 1, 1),
    )
    while at <= last:
        local = at.astimezone(zone)
        wall = (local.replace(tzinfo=None) - origin) // step
        expected = found[-1].wall + 1 if found else wall
        found.append(
            Minute(
                (at - EPOCH) // timedelta(microseconds=1),
                wall,
                local.fold == 1,
                range(expected, wall),
            )
        )
        at += step
    return found


Policy = tuple[str, str]
"""`dst_gap` and `dst_repeat`."""


def elapses_by_policy(
    span: list[Minute], has: Callable[[int], bool], repeating: bool
) -> dict[Policy | None, list[int]]:
    """What elapses under each policy; under None what does from inside of a second pass."""
    matching = [minute for minute in span if has(minute.wall)]
    once = [minute.at for minute in matching if not minute.second]
    both = [minute.at for minute in matching]
    after_gap = {minute.at for minute in span if minute.missing and any(map(has, minute.missing))}
    auto = both if repeating else once
    return {
        ("skip", "once"): once,
        ("skip", "auto"): auto,
        ("next", "once"): sorted({*once, *after_gap}),
        ("next", "auto"): sorted({*auto, *after_gap}),
        None: both,
    }
