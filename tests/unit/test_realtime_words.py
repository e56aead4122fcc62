"""A schedule in words: short for what is common, and never the same for two meanings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random

import pytest

from libbarto.errors import CalendarError
from libbarto.realtime import Realtime
from libbarto.realtime.grammar import Parts
from libbarto.realtime.search import Search
from libbarto.realtime.units import DAY, DAY_FROM_END, UNITS, Field, Item, Unit, item_values
from libbarto.realtime.units import Random as Drawn
from libbarto.realtime.words import (
    describe_after,
    describe_all,
    describe_at,
    describe_boot,
    describe_every,
    describe_trigger,
)

VECTORS = Path(__file__).parent.parent / "vectors" / "calendar.jsonl"

# One line each: the expression, and what it says.
PHRASES = """
Mon..Fri 02:30 | at 02:30 on weekdays
daily | at 00:00 every day
minutely | every minute
hourly | every hour
weekly | at 00:00 on Mondays
monthly | on the 1st of each month at 00:00
quarterly | on 1 January, 1 April, 1 July and 1 October at 00:00
yearly | on 1 January at 00:00
*:R/15 | every 15 minutes at a phase of its own
*:R/1 | every minute at a phase of its own
*:R | every hour at a minute of its own
02:R:R | at 02:00 and a minute and second of its own every day
02:R | at 02:00 and a minute of its own every day
02:R:15 | at second 15 of a minute of its own of hour 02 every day
02:R(10..20) | at 02:00 and a minute of its own from 10 to 20 every day
02:R(10..20):R | at 02:00 and a minute of its own from 10 to 20 and a second of its own every day
02:30:R | at 02:30 and a second of its own every day
02:30:R/20 | every 20 seconds at a phase of its own in minute 30 of hour 02
02:R:R/20 | every 20 seconds at a phase of its own in a minute of its own of hour 02
02:R/20 | every 20 minutes at a phase of its own in hour 02
R:R | at an hour and minute of its own every day
R:R:R | at an hour, minute and second of its own every day
R:30 | at minute 30 of an hour of its own every day
R(2..4):R | at a minute of its own of an hour of its own from 02 to 04 every day
R:R/15 | every 15 minutes at a phase of its own in an hour of its own
R/6:00 | every 6 hours at a phase of its own
R/6:30 | every 6 hours at a phase of its own at minute 30
R/6:30:15 | every 6 hours at a phase of its own at minute 30 and second 15
R/6:R | every 6 hours at a phase of its own and a minute of its own
R/6:R:R | every 6 hours at a phase of its own and a minute and second of its own
R/6:* | every minute in every 6th hour from a phase of its own
R/7:00 | every 7 hours of each day from a phase of its own
*:R/7 | every 7 minutes of each hour from a phase of its own
*:*:R/7 | every 7 seconds of each minute from a phase of its own
*:*:R | every minute, at a second of its own
*:R:R | every hour at a minute and second of its own
*:R/20:15 | every 20 minutes at a phase of its own, at second 15
*:R/20:* | every second in every 20th minute from a phase of its own of every hour
*-*-R 02:00 | on a day of its own of each month at 02:00
*-*-R(1..7) 02:00 | on a day of its own, the 1st to 7th, of each month at 02:00
Mon *-*-R 02:00 | at 02:00 on a day of its own of each month if it is a Monday
*-*-R/10 02:00 | on every 10th day of each month from a phase of its own at 02:00
*-*~R 03:00 | on a day of its own from the end of each month at 03:00
*-R-01 02:00 | on the 1st of a month of its own at 02:00
*-R(3..5)-* 02:00 | at 02:00 every day in a month of its own from March to May
*-R/3-01 | on the 1st of every 3rd month from one of its own at 00:00
Mon *-05~07/1 | on the last Monday of May at 00:00
Mon *-*-01..07 06:00 | on the first Monday of each month at 06:00
Mon,Fri *-*-08..14 9:00 | on the second Monday and the second Friday of each month at 09:00
Fri *-*-29..31 9:00 | on the fifth Friday of each month that has one at 09:00
Fri *-05-29..31 9:00 | on the fifth Friday of May at 09:00
Mon *-*~08..14 | on the second-to-last Monday of each month at 00:00
Mon *-*-2..8 | at 00:00 on the 2nd to 8th of each month where that is a Monday
Mon..Wed *-5-1..7 | at 00:00 on the 1st to 7th of May where that is a Monday, Tuesday or Wednesday
Fri *-*-13 | at 00:00 on the 13th of each month if it is a Friday
Mon *-*-01 | at 00:00 on the 1st of each month if it is a Monday
Sat,Sun *-*-01 | at 00:00 on the 1st of each month if it is at a weekend
Mon..Fri *-*-01,02 | at 00:00 on the 1st and 2nd of each month where that is a weekday
Mon 2026-06-01 | at 00:00 on 1 June if it is a Monday in 2026
*-*~1 23:00 | on the last day of each month at 23:00
*-*~2 | on the 2nd day from the end of each month at 00:00
*-*~1,3 | on the 1st and 3rd days from the end of each month at 00:00
*-*~1..7 | on the last 7 days of each month at 00:00
*-*~2..7 | on days 2 to 7 from the end of each month at 00:00
*-*~10/3 | on days 1 to 10 in steps of 3 from the end of each month at 00:00
*-02-29 | on 29 February at 00:00
*-02-30 | on 30 February at 00:00, which never comes
2028-02-29 | on 29 February 2028 at 00:00
2027-03-28 2:30 | on 28 March 2027 at 02:30
2027-03~1 2:30 | on the last day of March in 2027 at 02:30
*-*-31 | on the 31st of each month that has one at 00:00
*-*-1,11,21 | on the 1st, 11th and 21st of each month at 00:00
*-*-1/2 | on every 2nd day of each month from the 1st at 00:00
*-*-1..15/2 | on every 2nd day of each month from the 1st to the 15th at 00:00
*-*-1..10 | on the 1st to 10th of each month at 00:00
*-*-1..10,20 | on days 1 to 10 and 20 of each month at 00:00
*-*-1..31 5:00 | at 05:00 every day
*-1..12-01 | on the 1st of each month at 00:00
*-1/3-1 | on the 1st of every 3rd month from January at 00:00
*-1/5-1 | on the 1st of every 5th month from January to November at 00:00
*-3..9-1 | on the 1st of March to September at 00:00
*-5,6-1,15 02:30 | on 1 May, 15 May, 1 June and 15 June at 02:30
*-1,2,3-1,15 02:30 | on the 1st and 15th of January, February and March at 02:30
*-5-* 02:30 | at 02:30 every day in May
*-5-* *:0/15 | every 15 minutes in May
2026-*-* 02:30 | at 02:30 every day in 2026
2026-*-* *:0/15 | every 15 minutes in 2026
2026/2-*-* 02:30 | at 02:30 every day in every 2nd year from 2026
2026..2030/2-*-* 02:30 | at 02:30 every day in every 2nd year from 2026 to 2030
2026..2030-5-1 02:30 | on 1 May from 2026 to 2030 at 02:30
2026/1-5-1 02:30 | on 1 May from 2026 at 02:30
*:*:* | every second
*:*:0/10 | every 10 seconds
*:*:5/10 | every 10 seconds from second 5
*:*:0/1.25 | every 1.25 seconds
*:*:0/7 | every 7 seconds from second 0 to 56
*:*:0,30 | every 30 seconds
*:*:0/30 | every 30 seconds
*:0/30 | every 30 minutes
*:5,35 | every 30 minutes from minute 5
*:5,36 | every hour at minutes 5 and 36
*:*:0/1,0.5 | every minute, at seconds 0 to 59 and 0.5
*:*:0..5.5/0.5 | every 0.5 seconds from second 0 to 5.5
*:*:0..5.5/0.5,30 | every minute, at seconds 0 to 5.5 in steps of 0.5 and 30
*:0/7 | every 7 minutes from minute 0 to 56
*:5/15 | every 15 minutes from minute 5
*:10..20 | every minute from minute 10 to 20
*:10,20 | every hour at minutes 10 and 20
*:0/15:30 | every 15 minutes, at second 30
02:* | every minute in hour 02
02:*:* | every second in hour 02
00..23:* | every minute
08..18:0/15 | every 15 minutes in hours 08 to 18
08..18,20:0/15 | every 15 minutes in hours 08 to 18 and 20
08..18:30 | every hour from 08:30 to 18:30
08..18:30:15 | every hour from 08:30:15 to 18:30:15
08..18/2:30 | every 2 hours from 08:30 to 18:30
08..18,20:30 | at minute 30 of hours 08 to 18 and 20 every day
0/6:00 | every 6 hours
0/6:10,20 | every 6 hours at minutes 10 and 20
0/6:30 | every 6 hours from 00:30
3/6:30 | every 6 hours from 03:30
0/5:30 | every 5 hours from 00:30 to 20:30
1/20:00 | every 20 hours from 01:00 to 21:00
02,14:30 | at 02:30 and 14:30 every day
*:30:* | every second in minute 30 of every hour
*:30:15 | every hour at minute 30 and second 15
*:10,15:15,30 | at seconds 15 and 30 of minutes 10 and 15 of every hour
02:30:15 | at 02:30:15 every day
02:30:15.5 | at 02:30:15.5 every day
02:30,45:00,30 | at 02:30:00, 02:30:30, 02:45:00 and 02:45:30 every day
Sat,Sun 10:00 | at 10:00 on weekends
Mon,Wed,Fri 10:00 | at 10:00 on Mondays, Wednesdays and Fridays
Mon..Thu,Sat *:0/15 | every 15 minutes on Mondays to Thursdays and Saturdays
Mon *-5-* 10:00 | at 10:00 on Mondays in May
02:30 Europe/Berlin | at 02:30 every day, Europe/Berlin time
02:30 UTC | at 02:30 every day, UTC
"""


@pytest.mark.parametrize("line", PHRASES.strip().splitlines())
def test_a_schedule_in_words(line: str) -> None:
    expression, words = (part.strip() for part in line.split("|"))
    assert Realtime.parse(expression).describe() == words


def values(field: Field, unit: Unit, *, from_end: bool = False) -> object:
    """What a field means: its values, however they are written; or what is drawn."""
    if isinstance(field, Drawn):
        return field
    if field is None:
        return frozenset(range(unit.low, unit.high + 1))
    if from_end:
        return frozenset(
            value
            for item in field
            for value in (
                range(item.start, 0, -item.step)
                if item.step and item.stop < 0
                else item_values(item, unit)
            )
        )
    found: set[int] = set()
    for item in field:
        numbers = item_values(item, unit)
        if len(numbers) > 4000:  # microseconds: told apart by how they are written
            return field
        found |= set(numbers)
    return frozenset(found)


def meaning(calendar: Realtime) -> object:
    """Equal for two calendars that elapse at the same times, whatever the zone does."""
    parts = calendar.parts
    if not calendar.has_random and not Search(parts).live_years:
        return None
    repeats = parts.hour is None or (
        not isinstance(parts.hour, Drawn)
        and any(isinstance(item, Item) and item.step for item in parts.hour)
    )
    units = [DAY_FROM_END if unit is DAY and parts.from_end else unit for unit in UNITS]
    fields = tuple(
        values(field, unit, from_end=unit is DAY_FROM_END)
        for field, unit in zip(parts.fields, units, strict=True)
    )
    return parts.weekdays, fields, parts.from_end, repeats, parts.zone


def test_two_meanings_of_the_vectors_never_have_the_same_words() -> None:
    normalised = {
        str(vector["normalized"])
        for line in VECTORS.read_text(encoding="utf-8").splitlines()
        if (vector := json.loads(line)).get("valid", True)
    }
    assert len(normalised) > 900
    known: dict[str, Realtime] = {}
    for text in sorted(normalised):
        calendar = Realtime.parse(text)
        words = calendar.describe()
        other = known.setdefault(words, calendar)
        assert meaning(other) == meaning(calendar), (text, str(other), words)


def field(rng: Random, unit: Unit) -> str:
    """The text of a field: often what is common, so that shapes meet."""
    low, high = unit.low, unit.high // unit.scale
    if unit.name == "year":
        low, high = 2024, 2032

    def item() -> str:
        a, b = sorted((rng.randint(low, high), rng.randint(low, high)))
        step = rng.choice([1, 2, 3, 5, 6, 7, 10, 15, 20, 30])
        start = rng.choice([low, low + 1, low + 5])
        texts = [f"{a}", f"{a}..{b}", f"{a}..{b}/{step}"]
        return rng.choice([*texts, f"{start}/{step}"] if start + step <= high else texts)

    drawn = ["R", f"R/{rng.choice([2, 5, 6, 7])}", f"R({low}..{high - 2})"]
    lists = ",".join(item() for _ in range(rng.randint(2, 3)))
    texts = ["*", "*", str(low), str(low), item(), item(), lists]
    return rng.choice(texts if unit.random < 0 else [*texts, rng.choice(drawn)])


def expression(rng: Random) -> str:
    year, month, day, hour, minute, second = (field(rng, unit) for unit in UNITS)
    weekday = rng.choice(["", "", "", "Mon ", "Mon..Fri ", "Sat,Sun ", "Mon,Tue,Thu "])
    sign, zone = rng.choice("---~"), rng.choice(["", "", "", " UTC", " Europe/Berlin"])
    return f"{weekday}{year}-{month}{sign}{day} {hour}:{minute}:{second}{zone}"


def test_two_meanings_never_have_the_same_words() -> None:
    rng = Random(1)
    known: dict[str, Realtime] = {}
    for _ in range(6000):
        try:
            calendar = Realtime.parse(expression(rng))
        except CalendarError:  # ~29 and the like
            continue
        words = calendar.describe()
        assert re.fullmatch(r"[A-Za-z0-9 ,:./+_-]+", words), words
        other = known.setdefault(words, calendar)
        assert meaning(other) == meaning(calendar), (str(calendar), str(other), words)
    assert len(known) > 3000


@pytest.mark.parametrize("unit", UNITS[1:], ids=lambda unit: unit.name)
def test_every_two_fields_of_one_unit_are_told_apart(unit: Unit) -> None:
    place = UNITS.index(unit)
    known: dict[str, Realtime] = {}
    high = 28 if unit is DAY else unit.high // unit.scale
    texts = [str(n) for n in range(unit.low, high + 1)]
    texts += [f"{a}..{b}/{n}" for a in (1, 2, 5) for b in range(a, high + 1) for n in (1, 2, 3, 6)]
    texts += [f"{a}/{n}" for a in (1, 2, 3, 5) for n in range(1, high + 1) if a + n <= high]
    texts += [f"R({a}..{b})" for a in (1, 2) for b in range(a + 1, high)]
    texts += [f"R/{n}" for n in range(1, (unit.random - unit.low) + 2)] + ["R", "*", "2,5", "2,5,9"]
    for template in (
        ["*", "*", "*", "*", "*", "00"],
        ["*", "*", "01", "02", "30", "00"],
        ["*", "*", "01", "00", "00", "00"],
        ["2026", "05", "*", "02", "*", "15"],
        ["*", "R", "R", "R", "R", "R"],
    ):
        for text in texts:
            fields = [text if number == place else it for number, it in enumerate(template)]
            calendar = Realtime.parse("{}-{}-{} {}:{}:{}".format(*fields))
            words = calendar.describe()
            other = known.setdefault(words, calendar)
            assert meaning(other) == meaning(calendar), (str(calendar), str(other), words)


def parts(text: str) -> Parts:
    return Realtime.parse(text).parts


def test_a_union_says_each_thing_once() -> None:
    calendars = [parts("Mon..Fri 04:R"), parts("Sat 06:00"), parts("Sat 6:0")]
    assert describe_all(calendars) == (
        "at 04:00 and a minute of its own on weekdays; at 06:00 on Saturdays"
    )
    assert describe_all([]) == ""


def test_an_interval_in_words() -> None:
    second = 1_000_000
    assert describe_every(second) == "every second"
    assert describe_every(1_500_000) == "every 1.5 seconds"
    assert describe_every(90 * second) == "every 90 seconds"
    assert describe_every(3600 * second) == "every hour"
    assert describe_every(14 * 86_400 * second) == "every 2 weeks"
    assert describe_every(900 * second, drawn=True) == "every 15 minutes at a phase of its own"
    assert describe_every(900 * second, 1) == (
        "every 15 minutes, counted from 1970-01-01 00:00:00.000001 UTC"
    )


def test_what_is_due_once_in_words() -> None:
    second = 1_000_000
    assert describe_at([0]) == "once, at 1970-01-01 00:00:00 UTC"
    assert describe_at([second, 0, 0]) == ("at 1970-01-01 00:00:00 UTC and 1970-01-01 00:00:01 UTC")
    assert describe_boot() == "once after each start of the host"
    assert describe_after("a", "failed") == "after each run of a that failed"


def test_a_trigger_in_words() -> None:
    assert describe_trigger(["Mon..Fri 04:R", "Sat 06:00 UTC"]) == (
        "at 04:00 and a minute of its own on weekdays; at 06:00 on Saturdays, UTC"
    )
    assert describe_trigger(every_us=60_000_000, drawn=True) == "every minute at a phase of its own"
    assert describe_trigger(every_us=60_000_000, anchor_us=1) == (
        "every minute, counted from 1970-01-01 00:00:00.000001 UTC"
    )
    assert describe_trigger(at=[0]) == "once, at 1970-01-01 00:00:00 UTC"
    assert describe_trigger(["daily"], on_boot=True) == (
        "at 00:00 every day; once after each start of the host"
    )
    assert describe_trigger(after="a", when="always") == "after each run of a, however it ended"
    assert describe_trigger() == ""
    with pytest.raises(CalendarError):
        describe_trigger(["25:00"])
