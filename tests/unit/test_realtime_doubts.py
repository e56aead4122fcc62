"""What was probably not meant: said where it is so, with the fix, and nowhere else."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from libbarto.realtime import Realtime, zones
from libbarto.realtime.doubts import Asked, Doubt, doubts, touched, twin, twins, written

NOW = 1_795_521_600_000_000
"""2026-11-24T12:00:00Z."""
DAY_US = 86_400_000_000


def asked(*calendars: str, timezone: str = "Europe/Berlin", **more: Any) -> Asked:
    return replace(Asked(tuple(map(Realtime.parse, calendars)), timezone), **more)


def said(*calendars: str, **more: Any) -> list[str]:
    """Code, message and fix of each doubt; a gentle one's code ends with ~."""
    return [
        f"{doubt.code}{'~' if doubt.gentle else ''}: {doubt}"
        for doubt in doubts(asked(*calendars, **more), NOW)
    ]


@pytest.mark.parametrize(
    "calendar",
    [
        "*-*-* 04:R",
        "04:30",
        "Mon..Fri 04:30",
        "*:0/15",
        "hourly",
        "minutely",
        "*:R",
        "*:R/60",
        "Mon *-*-01..07 06:00",
        "Mon *-*~01..07 06:00",
        "Fri *-*-29..31 06:00",
        "Mon *-*-01..15 06:00",
        "Mon *-*-R(1..7) 06:00",
        "*-*~01 06:00",
        "*-*~28/2",
        "*-*-28 06:00",
        "*-*-25..31 06:00",
        "*-01,03-31 06:00",
        "*-*-R 06:00",
        "*-R-R 06:00",
        "*-01/3-01 06:00",
        "Tue 2027-03-02 06:00",
        "08..18:*",
        "*:00..50/7",
        "*:30/20",
        "*:10..40/7",
        "*:5/15,20",
        "Mon *-12-25..31",
        "2027-01-01 06:00",
    ],
)
def test_what_is_plainly_meant(calendar: str) -> None:
    assert said(calendar) == []


DATES = """
Mon *-*-01 | weekday-and-date: runs only where the 1st is a Monday, about twice a year; the first \
Monday is "Mon *-*-01..07"; for either of them write both in a list: ["Mon", "*-*-01"]
Mon *-*-08 06:00 | weekday-and-date: runs only where the 8th is a Monday, about twice a year; the \
second Monday is "Mon *-*-08..14 06:00"; for either of them write both in a list: ["Mon 06:00", \
"*-*-08 06:00"]
Mon *-*~01 06:00 | weekday-and-date: runs only where the last day of the month is a Monday, about \
twice a year; the last Monday is "Mon *-*~01..07 06:00"; for either of them write both in a list: \
["Mon 06:00", "*-*~01 06:00"]
Mon *-*~03 06:00 | weekday-and-date: runs only where the 3rd day from the month's end is a \
Monday, about twice a year; the last Monday is "Mon *-*~01..07 06:00"; for either of them write \
both in a list: ["Mon 06:00", "*-*~03 06:00"]
Mon *-12-25 | weekday-and-date: runs only where 25 December is a Monday, about once in 7 years; \
the fourth Monday of December is "Mon *-12-22..28"; for either of them write both in a list: \
["Mon", "*-12-25"]
Mon *-R-01 | weekday-and-date: runs only where the 1st is a Monday; the first Monday of a month \
of its own is "Mon *-R-01..07"; for either of them write both in a list: ["Mon", "*-R-01"]
Mon 2027-*-01 | weekday-and-date: runs only where the 1st is a Monday; the first Monday is \
"Mon 2027-*-01..07"; for either of them write both in a list: ["Mon 2027-*-*", "2027-*-01"]
Mon..Fri *-*-01 | weekday-and-date: runs only where the 1st is a weekday, about 9 times a year; \
for either of them write both in a list: ["Mon..Fri", "*-*-01"]
Mon *-*-01..03 | weekday-and-date: runs only on those of the 1st, 2nd and 3rd that are Mondays, \
about 5 times a year; for either of them write both in a list: ["Mon", "*-*-01..03"]
Fri *-*-13 | weekday-and-date~: runs only where the 13th is a Friday, about twice a year; leave \
it so if that is meant
*-*-31 06:00 | short-months: there is no 31st in February, April, June, September and November: \
nothing runs then; the last day of each month is "*-*~01 06:00"
*-*-15,30 06:00 | short-months: there is no 30th in February: nothing runs then; the last day of \
each month is "*-*~01 06:00"
*-*-29..31 06:00 | short-months: there is no 29th in February of common years: nothing runs then; \
the last day of each month is "*-*~01 06:00"
*-04,05-31 | short-months: there is no 31st in April: nothing runs then; the last day of April \
and May is "*-04,05~01"
*-*-R(29..31) | short-months: a worker that draws a day after the 28th passes over short months; \
write "*-*~R(01..03)"
*-*-R(5..31) | short-months: a worker that draws a day after the 28th passes over short months; \
write "*-*-R(05..28)"
*-02-29 06:00 | leap-day: runs in leap years only: there is no other 29 February; the last day of \
February is "*-02~01 06:00"
*-*-01/2 06:00 | uneven-step: begins anew with each month, on the 1st; a steady rhythm is \
every = "2d"
*-01/5-01 | uneven-step: 5 does not divide the 12 months of each year, so one step of them is \
only 2; take 2, 3, 4 or 6 for even steps
00/5:00 UTC | uneven-step: 5 does not divide the 24 hours of each day, so one step of them is \
only 4; a steady rhythm is every = "5h"
*:00/7 | uneven-step: 7 does not divide the 60 minutes of each hour, so one step of them is only \
4; a steady rhythm is every = "7m"
*:*:00/1.7 | uneven-step: 1.7 does not divide the 60 seconds of each minute, so one step of them \
is only 0.5; a steady rhythm is every = "1.7s"
"""
TIMES = """
*:R/30 | random-repeats: R/30 runs twice an hour; once an hour is "*:R"
*:R/20 | random-repeats~: R/20 runs 3 times an hour; once an hour is "*:R"
*:R/15 | random-repeats~: R/15 runs 4 times an hour; once an hour is "*:R"
*:R/40 | random-repeats: R/40 runs once or twice an hour, by the worker's phase, and not evenly, \
as 40 does not divide 60; once an hour is "*:R"
*:R/7 | random-repeats: R/7 runs 8 or 9 times an hour, by the worker's phase, and not evenly, as \
7 does not divide 60; once an hour is "*:R"
*-*-R/10 06:00 | random-repeats~: R/10 runs about 3 times a month; once a month is "*-*-R 06:00"
*-*~R/10 06:00 | random-repeats~: R/10 runs about 3 times a month; once a month is "*-*~R 06:00"
*-R/6-01 06:00 | random-repeats: R/6 runs twice a year; once a year is "*-R-01 06:00"
*:*:R/30 | random-repeats: R/30 runs twice a minute; once a minute is "*:*:R"
*:*:* | every-second: runs every second, 86,400 times a day; once in each of its minutes is "*:*"
04:30:* | every-second: runs every second, 60 times a day; once in each of its minutes is "04:30"
04:R:* | every-second: runs every second, 60 times in each of its minutes; once in each of its \
minutes is "04:R"
04:* | every-minute: runs 60 times an hour, from 04:00 to 04:59; once is "04:00", or "04:R", at a \
minute of each worker's own
04,05:* | every-minute: runs 60 times an hour, from 04:00 to 04:59 and 05:00 to 05:59; once is \
"04,05:00", or "04,05:R", at a minute of each worker's own
R(4..5):* | every-minute: runs 60 times an hour; once is "R(04..05):00", or "R(04..05):R", at a \
minute of each worker's own
"""
NEVERS = """
*-02-30 | never: never runs: there is no 30 February; the last day of February is "*-02~01"
2027-02-29 | never: never runs: there is no 29 February 2027; the last day of February is \
"2027-02~01"
2026,2027-02-29 06:00 | never: never runs: there is no 29 February in such a year; the last day \
of February is "2026,2027-02~01 06:00"
*-04,06-31 | never: never runs: none of its months has such a day; the last day of them is \
"*-04,06~01"
Mon 2027-03-02 | never: never runs: 2 March 2027 is a Tuesday; without the weekday it is \
"2027-03-02"
Mon 2027-03-02,03 | never: never runs: none of its days is a Monday; without the weekday it is \
"2027-03-02,03"
Mon 2027-03~01 | never: never runs: none of its days is a Monday; without the weekday it is \
"2027-03~01"
*-R-31 | never-for-some: never runs for a worker that draws February, April, June, September or \
November; take a day that each of those months has
2025-03-02 06:00 | never-again: never runs again: the last time was 2 March 2025; take it out, or \
the year out of it
"""


LINES = [line for line in (DATES + TIMES + NEVERS).splitlines() if line]


@pytest.mark.parametrize("line", LINES)
def test_a_doubt_with_its_fix(line: str) -> None:
    calendar, text = line.split(" | ")
    (only,) = said(calendar)
    assert only.startswith(text)
    assert re.fullmatch(r"[a-z-]+~?: [a-zA-Z0-9 \"'=~*.,:;/()\[\]-]+", only)


def test_every_expression_in_a_fix_can_be_read() -> None:
    for line in LINES:
        calendar, _, text = line.partition(" | ")
        for quoted in re.findall(r'"([^"]+)"', text):
            if not re.fullmatch(r"[0-9.]+[dhms]", quoted):
                Realtime.parse(quoted)
        assert Realtime.parse(written(Realtime.parse(calendar).parts)) == Realtime.parse(calendar)


@pytest.mark.parametrize(
    "calendar",
    ["00:00", "Mon", "*-*-01", "02:30:15", "*:*:00/5", "Mon *-*~1 03:R", "*:0 Europe/Berlin"],
)
def test_an_expression_is_written_as_people_do(calendar: str) -> None:
    parsed = Realtime.parse(calendar)
    short = written(parsed.parts)
    assert Realtime.parse(short) == parsed
    assert len(short) <= len(calendar) + 1


def test_both_weekday_and_date_and_a_late_day_are_said() -> None:
    codes = [doubt.code for doubt in doubts(asked("Mon *-*-31"))]
    assert codes == ["weekday-and-date", "short-months"]


def test_the_first_working_day_takes_two_expressions_and_is_meant() -> None:
    assert said("Mon..Fri *-*-01 06:00", "Mon *-*-02,03 06:00") == []
    (one,) = doubts(asked("04:00", "Mon *-*-01 06:00"), NOW)
    assert one.place == 1


def test_without_a_time_nothing_is_said_of_the_past_and_of_clock_changes() -> None:
    assert doubts(asked("2025-03-02 06:00", "02:30")) == []


# -- clock changes --------------------------------------------------------------------------------

SPRING = "on 28 March 2027 clocks in Europe/Berlin go from 02:00 to 03:00"
AUTUMN = "on 31 October 2027 clocks in Europe/Berlin go back from 03:00 to 02:00"
OUTSIDE = "a time outside of 02:00 to 03:00 exists once on every day"


def test_a_clock_change_that_touches_a_fixed_hour() -> None:
    assert said("02:30") == [
        f"clock-change~: {SPRING}: the start of 02:30 runs at 03:00; {AUTUMN}: the start of 02:30 "
        f"runs once, the first time; {OUTSIDE}"
    ]
    assert said("02:30", dst_gap="skip") == [
        f"clock-change: {SPRING}: the start of 02:30 does not run; {AUTUMN}: the start of 02:30 "
        f"runs once, the first time; {OUTSIDE}"
    ]


def test_a_clock_change_that_touches_several_times() -> None:
    assert said("02:00,20") == [
        f"clock-change~: {SPRING}: the starts of 02:00 to 02:20 run once, at 03:00; {AUTUMN}: the "
        f"starts of 02:00 to 02:20 run once, the first time; {OUTSIDE}"
    ]
    assert said("01..03:15:30", dst_gap="skip") == [
        f"clock-change: {SPRING}: the start of 02:15:30 does not run; {AUTUMN}: the start of "
        f"02:15:30 runs twice; {OUTSIDE}"
    ]
    (text,) = said("02:00,20", dst_gap="skip")
    assert "the starts of 02:00 to 02:20 do not run" in text


def test_a_clock_change_that_touches_what_is_drawn() -> None:
    (text,) = said("02:R")
    assert f"{SPRING}: a start of 02:00 to 02:59 runs at 03:00" in text
    (_, text) = said("R/12:30")
    assert f"{AUTUMN}: the start of 02:30 runs twice" in text
    assert len(said("*-R(1..2)-* 02:30")) == 0
    assert len(said("*-R-* 02:30")) == 1
    assert len(said("*-*-R/28 02:30 UTC")) == 1  # that of R/28


def test_what_goes_on_every_hour_is_not_touched_unless_it_falls_silent() -> None:
    assert said("*:00/15") == []
    assert said("*:00/15", dst_repeat="once", dst_gap="skip") == [
        f"clock-change: {AUTUMN}: the starts of 02:00 to 02:45 run once, the first time; "
        'dst_repeat = "auto" lets it go on'
    ]


def test_what_goes_on_every_hour_has_a_start_more_where_the_gap_s_is_moved() -> None:
    assert said("*:30") == [
        f"clock-change~: {SPRING}: the start of 02:30 runs at 03:00; "
        'dst_gap = "skip" leaves that one out'
    ]
    assert said("*:30", dst_gap="skip") == []
    assert said("*:30", "03:00") == []  # which is due at that instant anyway
    (text,) = said("*:30", dst_repeat="once")
    assert text == (
        f"clock-change: {SPRING}: the start of 02:30 runs at 03:00; {AUTUMN}: the start of 02:30 "
        'runs once, the first time; dst_repeat = "auto" lets it go on and dst_gap = "skip" leaves '
        "that one out"
    )
    assert said("*:10..50/20") == said("*:*:30") == said("*:R") == []


def test_a_clock_change_over_midnight_names_the_other_day() -> None:
    (text,) = said("23:30", timezone="America/Nuuk")
    assert text.startswith(
        "clock-change~: on 27 March 2027 clocks in America/Nuuk go from 23:00 to 00:00 of 28 "
        "March: the start of 23:30 runs at 00:00 of 28 March; on 31 October 2027 clocks in "
        "America/Nuuk go back from 00:00 to 23:00 of 30 October: the start of 23:30 of 30 October "
        "runs once, the first time; "
    )


def test_a_day_that_is_missing_is_named() -> None:
    before = 1_322_697_600_000_000  # 2011-12-01
    (doubt,) = doubts(asked("*-12-30", timezone="Pacific/Apia"), before)
    assert doubt.fix == ""
    assert doubt.message == (
        "on 30 December 2011 clocks in Pacific/Apia go from 00:00 to 00:00 of 31 December: the "
        "start of 00:00 runs at 00:00 of 31 December"
    )


def test_only_the_days_of_a_clock_change_count() -> None:
    assert said("Mon 02:30") == []
    (text,) = said("2027-03-28 02:30")
    assert "October" not in text
    assert said("02:30", timezone="UTC") == []
    assert said("02:30 UTC") == []
    (text,) = said("02:30 America/New_York")  # on other days there
    assert text.startswith("clock-change~: on 14 March 2027 clocks in America/New_York go from")


def test_a_time_that_the_clocks_leave_out_for_ever() -> None:
    assert said("2027-03-28 02:30", dst_gap="skip") == [
        'never: never runs: the clocks leave that time out, and dst_gap is "skip"; take another '
        'time, or dst_gap = "next"'
    ]


def test_the_clock_changes_of_a_span() -> None:
    zone = zones.load("Europe/Berlin")
    found = list(touched(Realtime.parse("02:30"), zone, NOW, NOW + 3 * 366 * DAY_US))
    assert [touch.repeated for touch in found] == [False, True] * 3
    assert all(touch.first == touch.last for touch in found)
    assert found[0].after - found[0].before == 3_600_000_000
    assert list(touched(Realtime.parse("04:30"), zone, NOW, NOW + 366 * DAY_US)) == []
    assert list(touched(Realtime.parse("02:30"), zone, NOW, NOW)) == []


# -- the schedule as a whole ----------------------------------------------------------------------


def test_an_expression_that_stands_twice() -> None:
    (doubt,) = doubts(asked("06:00", "07:00", "*-*-* 6:0"))
    assert (doubt.code, doubt.place) == ("twice", 2)


def test_a_zone_that_nobody_gave() -> None:
    unsaid = asked("*:00/15", "06:00", "07:00", timezone="UTC", zone_given=False)
    (doubt,) = doubts(unsaid)
    assert (doubt.code, doubt.place, doubt.gentle) == ("zone-default", 1, True)
    assert doubt.message == "is read in UTC, as no timezone is given"
    assert doubts(asked("06:00 Asia/Tokyo", "*:0", timezone="UTC", zone_given=False)) == []
    assert len(doubts(asked("R:00", timezone="UTC", zone_given=False))) == 1


@pytest.mark.parametrize(
    ("calendar", "fix"),
    [
        ("daily", 'spread it: "00:R"'),
        ("04:30", 'spread it: "04:R"'),
        ("hourly", 'spread it: "*:R"'),
        ("*:00/15", 'spread it: "*:R/15"'),
        ("*:05/15", 'spread it: "*:R/15"'),
        ("*:00/30", 'spread it: "*:R/30"'),
        ("minutely", 'spread it: "*:*:R"'),
        ("04:00/15", 'spread it: "04:R/15"'),
        ("*:00,10", "spread it with R"),
        ("*:*:00,10", "spread it with R"),
        ("*:*:00/10", 'spread it: "*:*:R/10"'),
        ("*:*:03,33", 'spread it: "*:*:R/30"'),
        ("*:*:00/2.5", "spread it with R"),
        ("*:*:01..05", "spread it with R"),
        ("*:00:00/10", "spread it with R"),
        ("04:00..30/5", "spread it with R"),
    ],
)
def test_a_crowd_at_one_instant(calendar: str, fix: str) -> None:
    (doubt,) = doubts(asked(calendar, workers=21))
    assert (doubt.code, doubt.place, doubt.gentle) == ("crowd", 0, False)
    assert doubt.message == "starts at the same instant on 21 workers"
    assert doubt.fix == fix
    assert doubts(asked(calendar, workers=20, many=True)) == []
    assert doubts(asked(calendar)) == []
    (doubt,) = doubts(asked(calendar, many=True))
    assert doubt.gentle
    assert doubt.fix == f"with more than 20 of them {fix}"


def test_what_never_comes_is_no_crowd() -> None:
    codes = [doubt.code for doubt in doubts(asked("*-02-30", "06:00", workers=500), NOW)]
    assert codes == ["never", "crowd"]
    (doubt,) = doubts(asked("2025-03-02 06:00", workers=500), NOW)
    assert doubt.code == "never-again"


def test_what_is_spread_is_no_crowd() -> None:
    assert doubts(asked("00:R", "*:*:R", workers=500)) == []
    codes = {doubt.code for doubt in doubts(asked("*:*:*", workers=500))}
    assert codes == {"every-second"}


def test_schedules_that_are_the_same() -> None:
    assert twins([]) == []
    assert twins([("a", "web1"), ("a", "web2"), ("b", "web1")]) == []
    assert twins([("a", "web1"), ("b", "web1"), ("a", "web1"), ("a", "*")]) == [(2, 0), (3, 0)]
    assert twin("x") == Doubt(
        "twin", 'does the same at the same time as "x"', "one of the two can go"
    )
    assert str(Doubt("a", "b")) == "b"
