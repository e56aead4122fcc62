"""A crontab line means what cron makes of it, and what is not cron's is told what to write."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import islice
from time import perf_counter

import pytest
from croniter import CroniterBadDateError, croniter  # type: ignore[import-untyped]  # it has none
from cronsim import CronSim, CronSimError
from hypothesis import given
from hypothesis import strategies as st

from libbarto.errors import CalendarError
from libbarto.realtime import Realtime
from libbarto.realtime.cron import LONGEST, Cron

LOW, HIGH = (0, 0, 1, 1, 0), (59, 23, 31, 12, 7)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
NAMES = {3: dict(enumerate(MONTHS, 1)), 4: dict(enumerate(WEEKDAYS))}


# -- beside two established readers ---------------------------------------------------------------


def value(rng: random.Random, place: int, number: int) -> str:
    name = NAMES.get(place, {}).get(number)
    if name is None or rng.random() < 0.6:
        return str(number)
    return rng.choice((name, name.upper(), name.capitalize()))


def item(rng: random.Random, place: int) -> str:
    low, high = sorted(rng.randint(LOW[place], HIGH[place]) for _ in range(2))
    kind = rng.random()
    first, last = value(rng, place, low), value(rng, place, high)
    if kind < 0.5 or low == high:
        return first
    if kind < 0.7:
        return f"{first}-{last}"
    if kind < 0.8:
        return f"{first}-{last}/{rng.randint(1, 20)}"
    if kind < 0.9:
        return f"*/{rng.randint(1, HIGH[place])}"
    return f"{low}/{rng.randint(1, HIGH[place])}"


def line(rng: random.Random) -> str:
    return " ".join(
        "*"
        if rng.random() < 0.35
        else ",".join(item(rng, place) for _ in range(rng.choice((1, 1, 1, 2, 3))))
        for place in range(5)
    )


def test_thousands_of_lines_elapse_as_two_other_readers_say() -> None:
    rng = random.Random(20261124)
    agreed = {"cronsim": 0, "croniter": 0}
    for _ in range(2500):
        text = line(rng)
        base = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(3 * 525_600))
        ours = list(islice(Cron.parse(text).calendars.iterate(base), 3))
        try:
            assert list(islice(CronSim(text, base), 3)) == ours, text
        except CronSimError:  # it refuses what never comes, as 30 February
            assert not ours
        else:
            agreed["cronsim"] += 1
        if "/" in text.split()[4] and text.split()[4][0] != "*":
            continue  # croniter lets a repetition of weekdays end on Saturday, cronsim on Sunday
        if rng.random() < 0.5:
            continue  # it is slow
        other = croniter(text, base, implement_cron_bug=True)  # the rule for `*/2`, as Debian's
        try:
            assert [other.get_next(datetime) for _ in ours or [base]] == ours, text
        except CroniterBadDateError:
            assert not ours
        else:
            agreed["croniter"] += 1
    assert agreed["cronsim"] > 2400
    assert agreed["croniter"] > 900


# -- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expressions"),
    [
        ("* * * * *", ["*-*-* *:*:00"]),
        ("*/5 * * * *", ["*-*-* *:00/5:00"]),
        ("1-30/7 * * * *", ["*-*-* *:01..29/7:00"]),
        ("5/15 * * * *", ["*-*-* *:05/15:00"]),
        ("59/15,*/60 * * * *", ["*-*-* *:00,59:00"]),
        ("0-59 0-23/1 1-31 1-12 0-7", ["*-*-* *:*:00"]),
        ("0 2 * JAN,Mar-may Mon-fri", ["Mon..Fri *-01,03..05-* 02:00:00"]),
        ("0 0 * * 0", ["Sun *-*-* 00:00:00"]),
        ("0 0 * * 7", ["Sun *-*-* 00:00:00"]),
        ("0 0 * * 5-7", ["Fri..Sun *-*-* 00:00:00"]),
        ("0 0 * * sat-sun", ["Sat,Sun *-*-* 00:00:00"]),
        ("0 0 * * fri-mon", ["Mon,Fri..Sun *-*-* 00:00:00"]),
        ("0 0 * * fri-mon/2", ["Fri,Sun *-*-* 00:00:00"]),
        ("0 0 * * 7-2", ["Mon,Tue,Sun *-*-* 00:00:00"]),
        ("0 0 * * 1/2", ["Mon,Wed,Fri,Sun *-*-* 00:00:00"]),
        ("30 4 1,15 * 5", ["*-*-01,15 04:30:00", "Fri *-*-* 04:30:00"]),
        ("0 0 */2 * 1", ["Mon *-*-01/2 00:00:00"]),
        ("0 0 13 * */5", ["Fri,Sun *-*-13 00:00:00"]),
        ("0 0 1,* * 5", ["*-*-* 00:00:00", "Fri *-*-* 00:00:00"]),
        ("0 0 1-1/3 * *", ["*-*-01 00:00:00"]),
        ("\t 0  2\t* * *  ", ["*-*-* 02:00:00"]),
        ("007 02 * * *", ["*-*-* 02:07:00"]),
        ("@hourly", ["*-*-* *:00:00"]),
        ("@daily", ["*-*-* 00:00:00"]),
        ("@Midnight", ["*-*-* 00:00:00"]),
        (" @weekly ", ["Sun *-*-* 00:00:00"]),
        ("@monthly", ["*-*-01 00:00:00"]),
        ("@yearly", ["*-01-01 00:00:00"]),
        ("@annually", ["*-01-01 00:00:00"]),
    ],
)
def test_a_line_is_a_union_of_calendars(text: str, expressions: list[str]) -> None:
    cron = Cron.parse(text)
    assert list(cron.expressions) == expressions
    assert cron.text == text
    assert not cron.at_boot
    assert [str(member) for member in cron.calendars.members] == sorted(expressions)


def test_a_list_may_be_longer_than_a_calendar_s() -> None:
    members = ",".join(f"{first}-{first + 1}" for first in range(0, 58))
    more = ",".join(f"{first}-59/7" for first in range(58))
    assert Cron.parse(f"{members},{more} * * * *").expressions == ("*-*-* *:*:00",)
    few = ",".join(f"{first}-{last}/7" for first in range(1, 11) for last in range(first + 7, 24))
    hours = Cron.parse(f"0 {few} * * *").expressions
    assert hours == (f"*-*-* {','.join(f'{hour:02}' for hour in range(1, 24))}:00:00",)


def test_the_boot_has_no_calendar() -> None:
    boot = Cron.parse("@reboot")
    assert boot.at_boot
    assert boot.expressions == ()
    with pytest.raises(CalendarError):
        assert boot.calendars


def test_lines_that_mean_the_same_are_equal() -> None:
    assert Cron.parse("0 0 * * *") == Cron.parse("@daily")


# -- what is not ----------------------------------------------------------------------------------

FIVE = "a crontab line has five fields (minute, hour, day of month, month, day of week), found"
SECONDS = "six or seven begin with seconds in Quartz and Spring:"
EXAMPLE = f'{SECONDS} that is written on_calendar = "Mon..Fri *-*-* 02:30:15"'
RANDOM = "is not of cron: a value of each worker's own is"


@pytest.mark.parametrize(
    ("text", "message", "marked"),
    [
        ("", 'a crontab line has five fields, as in "0 2 * * *"', ""),
        ("* * * *", f"{FIVE} 4", "* * * *"),
        ("daily", 'this is no crontab line: write on_calendar = "*-*-* 00:00:00"', "daily"),
        (
            "Mon..Fri 02:00",
            'this is no crontab line: write on_calendar = "Mon..Fri *-*-* 02:00:00"',
            "Mon..Fri 02:00",
        ),
        ("é * * * *", "only ASCII letters, digits and signs are valid", "é"),
        ("* *\0* * *", "only ASCII letters, digits and signs are valid", "\0"),
        ("60 * * * *", "minute is 0 to 59, got 60", "60"),
        ("* 24 * * *", "hour is 0 to 23, got 24; midnight is 0", "24"),
        ("* * 0 * *", "day of month is 1 to 31, got 0", "0"),
        ("* * * 1-13 *", "month is 1 to 12 or jan to dec, got 13", "13"),
        ("* * * jum *", "month is 1 to 12 or jan to dec, got jum; did you mean jun?", "jum"),
        ("* * * xyz *", "month is 1 to 12 or jan to dec, got xyz", "xyz"),
        ("* * * * 8", "day of week is 0 to 7 or sun to sat, got 8", "8"),
        ("* * * * 1,8", "day of week is 0 to 7 or sun to sat, got 8", "8"),
        ("mon * * * *", "minute is 0 to 59, got mon", "mon"),
        (
            "* * * * Tuesday",
            "day of week is 0 to 7 or sun to sat, got Tuesday; write tue",
            "Tuesday",
        ),
        ("50-10 * * * *", "a range runs upward; write 50-59,0-10", "50-10"),
        ("*/0 * * * *", "a step is at least 1", "0"),
        ("1,,2 * * * *", "minute is 0 to 59, and one is missing here", ","),
        ("1..5 * * * *", "minute is 0 to 59, got 1..5; a range is written with -, as 0-59", "1..5"),
        ("5* * * * *", "minute is 0 to 59, got 5*; * stands alone, or with a step as in */5", "5*"),
        ("-1 * * * *", "minute is 0 to 59, got -1", "-1"),
        ("? * * * *", "? is not of cron: write *", "?"),
        ("H * * * *", f"H {RANDOM} R in on_calendar, as in *-*-* 02:R", "H"),
        ("H/15 * * * *", f"H/15 {RANDOM} R/15 in on_calendar, as in *-*-* 02:R", "H/15"),
        (
            "H(0-29) * * * *",
            f"H(0-29) {RANDOM} R(0..29) in on_calendar, as in *-*-* 02:R",
            "H(0-29)",
        ),
        ("0~30 * * * *", f"0~30 {RANDOM} R(0..30) in on_calendar, as in *-*-* 02:R", "0~30"),
        ("~ * * * *", f"~ {RANDOM} R in on_calendar, as in *-*-* 02:R", "~"),
        (
            "0 2 L * *",
            'L is not of cron: counted from the month\'s end it is on_calendar = "*-*~01 …"',
            "L",
        ),
        (
            "0 2 L-3 * *",
            'L-3 is not of cron: counted from the month\'s end it is on_calendar = "*-*~04 …"',
            "L-3",
        ),
        (
            "0 2 15W * *",
            "15W is not of cron: the weekday nearest to a day cannot be said; name the days in "
            "on_calendar",
            "15W",
        ),
        (
            "0 2 * * 5L",
            '5L is not of cron: the last one of a month is on_calendar = "Fri *-*~07/1 …"',
            "5L",
        ),
        (
            "0 2 * * sun#5",
            'sun#5 is not of cron: that one of a month is on_calendar = "Sun *-*-29..31 …"',
            "sun#5",
        ),
        (
            "0 2 LW * *",
            "LW is not of cron: the weekday nearest to a day cannot be said; name the "
            "days in on_calendar",
            "LW",
        ),
        (
            "0 2 1..5 * *",
            "day of month is 1 to 31, got 1..5; a range is written with -, as 1-31",
            "1..5",
        ),
        ("0 2 L-28 * *", "day of month is 1 to 31, got L-28", "L-28"),
        ("0 2 * * foo#2", "day of week is 0 to 7 or sun to sat, got foo#2", "foo#2"),
        ("0 2 * * L", "day of week is 0 to 7 or sun to sat, got L", "L"),
        ("0 2 * L *", "month is 1 to 12 or jan to dec, got L", "L"),
        ("@every 5m", '@every is not of cron: write every = "5m"', "@every 5m"),
        ("@every", '@every is not of cron: write every = "15m"', "@every"),
        (
            "@dayly",
            "a word is one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually "
            "and @reboot; did you mean @daily?",
            "@dayly",
        ),
        (
            "@12345",
            "a word is one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually "
            "and @reboot",
            "@12345",
        ),
        ("@daily x", "@daily stands alone; a command goes into cmds", "x"),
        (
            "CRON_TZ=Europe/Berlin 0 2 * * *",
            "a variable is no part of the five fields: the zone is written "
            'timezone = "Europe/Berlin"',
            "CRON_TZ=Europe/Berlin",
        ),
        (
            "PATH=/bin * * * *",
            "a variable is no part of the five fields: it goes into env",
            "PATH=/bin",
        ),
        (
            "0 2 * * * /usr/bin/backup",
            "five fields are the whole line: the command goes into cmds",
            "/usr/bin/backup",
        ),
        (
            "0 2 * * * root backup --all",
            "five fields are the whole line: the command goes into cmds, and the user, as in "
            "/etc/crontab, into run_as",
            "root backup --all",
        ),
        (
            "0 30 2 ? * MON-FRI",
            f'{FIVE} 6; {SECONDS} write on_calendar = "Mon..Fri *-*-* 02:30:00"',
            "0 30 2 ? * MON-FRI",
        ),
        (
            "*/15 0 0 1 * fri *",
            f'{FIVE} 7; {SECONDS} write on_calendar = ["*-*-01 00:00:00/15", '
            '"Fri *-*-* 00:00:00/15"]',
            "*/15 0 0 1 * fri *",
        ),
        ("0 0 2 * * 1", f"{FIVE} 6; {EXAMPLE}", "0 0 2 * * 1"),
        ("0 0 2 * * MON 2027", f"{FIVE} 7; {EXAMPLE}", "0 0 2 * * MON 2027"),
        ("0 0 2 L * ?", f"{FIVE} 6; {EXAMPLE}", "0 0 2 L * ?"),
    ],
)
def test_what_is_not_cron_is_told_what_to_write(text: str, message: str, marked: str) -> None:
    with pytest.raises(CalendarError) as caught:
        Cron.parse(text)
    assert caught.value.message == message
    fault = caught.value.text[caught.value.start : caught.value.end]
    assert fault == marked


def test_what_is_suggested_can_be_read() -> None:
    for text in ("*-*~01 02:00", "Fri *-*~07/1 02:00", "Sun *-*-29..31 02:00", "*-*-* 02:R"):
        Realtime.parse(text)


WORDS = ["*", "*/5", "1-5", "mon", "1,2", "L", "?", "7", "@daily", "TZ=x", "2~"]


@given(
    st.text(max_size=60)
    | st.text("0123456789*/,-LWH#?~@ abcdefjmnorstuwy=()", max_size=60)
    | st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        cron = Cron.parse(text)
    except CalendarError as error:
        assert error.message
    else:
        assert cron.at_boot or len(cron.calendars.members) <= 2


def test_a_long_text_is_refused_at_once() -> None:
    began = perf_counter()
    for text in ("1," * 32_768, "* " * 500_000, "*" * LONGEST, "1," * 499 + "1 * * * *", " " * 999):
        with pytest.raises(CalendarError):
            Cron.parse(text)
    assert perf_counter() - began < 0.5
