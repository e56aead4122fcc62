"""One clock change of one zone, held against what `zoneinfo` says minute by minute.

For the tests and for the fuzzer: which calendars and which bases are telling beside a change, and
whether the engine answers as the rules in docs/reference/calendar.md have it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from libbarto.realtime import Realtime
from libbarto.realtime.zones import load
from tests.unit import realtime_oracle as oracle
from tests.unit.realtime_oracle import EPOCH, MINUTE, Minute

HOUR = 60 * MINUTE
DAY_MINUTES = 24 * 60
POLICIES = [(gap, repeat) for gap in ("skip", "next") for repeat in ("once", "auto")]


class Case(NamedTuple):
    """A calendar, and what it means in minutes on the wall; `repeating` is that of its hour."""

    text: str
    has: Callable[[int], bool]
    repeating: bool


def clock(wall: int) -> str:
    return f"{wall % DAY_MINUTES // 60:02}:{wall % 60:02}"


def date_of(wall: int) -> datetime:
    return oracle.midnight(1970, 1, 1) + timedelta(minutes=wall)


def daily(wall: int) -> Case:
    """Every day at the time of a reading."""
    of_day = wall % DAY_MINUTES
    return Case(clock(wall), lambda reading: reading % DAY_MINUTES == of_day, False)


def telling_cases(low: int, high: int) -> Iterator[Case]:
    """Calendars about the readings `low` to `high` (exclusive), which a change touches."""
    middle = (low + high) // 2
    for wall in (low, middle, high - 1, high):
        yield daily(wall)
    hour, minute, day = middle % DAY_MINUTES // 60, middle % 60, date_of(middle)
    yield Case("minutely", lambda wall: True, True)
    yield Case("*:0/15", lambda wall: wall % 15 == 0, True)
    yield Case(
        f"{hour}/2:{minute}" if hour < 22 else f"0..23:{minute}",
        (lambda wall: wall % 60 == minute and wall % DAY_MINUTES // 60 in range(hour, 24, 2))
        if hour < 22
        else (lambda wall: wall % 60 == minute),
        True,
    )
    yield Case(
        f"{hour}:0/20",
        lambda wall: wall % DAY_MINUTES // 60 == hour and wall % 20 == 0,
        False,
    )
    yield Case(
        f"{oracle.DAYS[day.weekday()]} {clock(middle)}",
        lambda wall: (
            wall % DAY_MINUTES == middle % DAY_MINUTES and date_of(wall).weekday() == day.weekday()
        ),
        False,
    )
    yield Case(f"{day:%Y-%m-%d} {clock(middle)}", lambda wall: wall == middle, False)


def check_change(name: str, change: int, cases: Callable[[int, int], Iterator[Case]]) -> int:
    """Hold the engine to the rules about the change at an instant; how many answers were held."""
    zone = oracle.packaged(name)
    before, after = (
        (EPOCH + timedelta(microseconds=at)).astimezone(zone).replace(tzinfo=None)
        for at in (change - 1, change)
    )
    shift = after - before - timedelta(microseconds=1)
    room = HOUR + 10 * MINUTE + abs(shift // timedelta(microseconds=1))
    span = oracle.minutes(zone, change - room, change + room)
    reading = next(minute.wall for minute in span if minute.at == change)
    moved = shift // timedelta(minutes=1)
    low, high = (reading - moved, reading) if moved > 0 else (reading, reading - moved)
    bases = (
        *(change - HOUR, change - MINUTE, change - 1, change),
        *(change + abs(moved) * MINUTE // 2, change + abs(moved) * MINUTE - 1),
        change + abs(moved) * MINUTE,
    )
    held = 0
    inside = {base: _in_second_pass(span, base + 1) for base in bases}
    for case in cases(low, high):
        calendar = Realtime.parse(case.text)
        lists = oracle.elapses_by_policy(span, case.has, case.repeating)
        for gap, repeat in POLICIES:
            elapses = lists[gap, repeat]
            both = sorted({*elapses, *lists[None]}) if repeat == "once" else elapses
            for base in bases:
                found = calendar.elapse_after(base, name, dst_gap=gap, dst_repeat=repeat)
                wanted = both if inside[base] else elapses
                _hold(found, wanted, base, span, (name, case.text, base, gap, repeat))
                held += 1
        for base in (change - 1, bases[4]):
            _hold_datetimes(calendar, name, base)
            _hold_previous(calendar, name, base, lists["skip", "once"], span)
    return held


def _in_second_pass(span: list[Minute], at: int) -> bool:
    return span[bisect_right(span, at, key=lambda minute: minute.at) - 1].second


def _hold(
    found: int | None, wanted: list[int], base: int, span: list[Minute], what: object
) -> None:
    place = bisect_right(wanted, base)
    if place < len(wanted):
        assert found == wanted[place], what
    else:
        assert found is None or found > span[-1].at, what


def _hold_datetimes(calendar: Realtime, name: str, base: int) -> None:
    """Datetimes are asked and answer as instants do, in the zone and from UTC."""
    found = calendar.elapse_after(base, name)
    moment = EPOCH + timedelta(microseconds=base)
    for start in (moment, moment.astimezone(load(name).tzinfo)):
        elapse = calendar.next_after(start, name)
        assert (elapse is None) == (found is None)
        if elapse is not None:
            instant = elapse.astimezone(UTC)
            assert (instant - EPOCH) // timedelta(microseconds=1) == found
            there = instant.astimezone(load(name).tzinfo)
            assert elapse.tzinfo is there.tzinfo
            assert (elapse, elapse.fold) == (there, there.fold)
            assert calendar.matches(elapse, name)


def _hold_previous(
    calendar: Realtime, name: str, base: int, first: list[int], span: list[Minute]
) -> None:
    previous = calendar.previous_before(EPOCH + timedelta(microseconds=base), name)
    found = None if previous is None else (previous - EPOCH) // timedelta(microseconds=1)
    place = bisect_left(first, base)
    if place:
        assert found == first[place - 1], (name, str(calendar), base)
    else:
        assert found is None or found < span[0].at, (name, str(calendar), base)


def changes_of(names: list[str], start: int, end: int) -> dict[tuple[int, int, int], str]:
    """Every change between two instants, and one of the zones that make it."""
    found: dict[tuple[int, int, int], str] = {}
    for name in names:
        zone = load(name)
        for at, before, after in zip(zone.starts, zone.offsets, zone.offsets[1:], strict=False):
            if start <= at < end:
                found.setdefault((at, before, after), name)
    return found
