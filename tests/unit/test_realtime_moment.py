"""A time is one instant, or an error that says why it is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libbarto.errors import CalendarError
from libbarto.realtime.moment import parse_moment
from libbarto.realtime.zones import load
from tests.unit.realtime_oracle import EPOCH, midnight
from tests.unit.test_realtime_search import micros, utc

BERLIN = "Europe/Berlin"
WRITTEN = "2027-01-01T06:00:00Z, 2027-01-01T06:00:00+01:00 or 2027-01-01 06:00"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2027-01-01T00:00:00Z", utc(2027, 1, 1)),
        ("2027-01-01t00:00:00z", utc(2027, 1, 1)),
        ("2027-01-01T00:00:00+01:00", utc(2026, 12, 31, 23)),
        ("2027-01-01T00:00:00-05:30", utc(2027, 1, 1, 5, 30)),
        ("2027-01-01 06:00Z", utc(2027, 1, 1, 6)),
        ("2027-01-01 06:00:00.25Z", utc(2027, 1, 1, 6, 0, 0, 250_000)),
        ("2027-01-01 06:00", utc(2027, 1, 1, 5)),
        ("2027-07-01 06:00", utc(2027, 7, 1, 4)),
        ("2027-10-31 02:30+01:00", utc(2027, 10, 31, 1, 30)),
        ("2199-12-31 23:59:59.999999Z", datetime(2199, 12, 31, 23, 59, 59, 999_999, UTC)),
    ],
)
def test_a_time_is_an_instant(text: str, instant: datetime) -> None:
    assert parse_moment(text, BERLIN) == micros(instant)


@given(
    st.datetimes(midnight(1970, 1, 1), midnight(2199, 12, 31)),
    st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_whatever_python_writes_is_read(wall: datetime, zone: timezone) -> None:
    at = wall.replace(tzinfo=zone)
    assert parse_moment(at.isoformat(), "Nowhere") == micros(at)


@given(
    st.datetimes(midnight(2000, 1, 1), midnight(2037, 1, 1)),
    st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
)
def test_a_reading_on_a_wall_is_the_instant_at_which_it_shows(wall: datetime, name: str) -> None:
    zone = load(name).tzinfo
    try:
        instant = parse_moment(wall.isoformat(), name)
    except CalendarError:
        first, second = (wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
        assert first != second
    else:
        assert (EPOCH + timedelta(microseconds=instant)).astimezone(zone).replace(
            tzinfo=None
        ) == wall


@pytest.mark.parametrize(
    ("text", "message", "marked"),
    [
        ("tomorrow", f"a date and time is written as {WRITTEN}, not tomorrow", "tomorrow"),
        ("", f"a date and time is written as {WRITTEN}, not ", ""),
        (
            "2027-01-01T06:00:00+01",
            f"a date and time is written as {WRITTEN}, not 2027-01-01T06:00:00+01",
            "2027-01-01T06:00:00+01",
        ),
        ("2027-01-01", "a time is missing after the date, as in 2027-01-01 06:00", "2027-01-01"),
        (
            "2027-01-01T23:59:60Z",
            "leap seconds are not counted: write the second after it",
            "60",
        ),
        ("2027-02-29 06:00", "no such day is in the calendar", "2027-02-29"),
        ("2027-13-01 06:00", "no such day is in the calendar", "2027-13-01"),
        ("2027-01-01 24:00", "a time is 00:00:00 to 23:59:59", "24:00"),
        ("2027-01-01 06:00+24:00", "an offset is -23:59 to +23:59", "+24:00"),
        ("2027-01-01 06:00+01:60", "an offset is -23:59 to +23:59", "+01:60"),
        ("1969-12-31 06:00", "year is 1970 to 2199", "1969"),
        ("2200-01-01 06:00", "year is 1970 to 2199", "2200"),
        (
            "2027-03-28 02:30",
            "clocks are put forward in Europe/Berlin, so this time does not exist; the next that "
            "does is 2027-03-28 03:00:00",
            "02:30",
        ),
        (
            "2027-10-31 02:30",
            "clocks are put back in Europe/Berlin, so this time comes twice; write "
            "2027-10-31 02:30+02:00 or 2027-10-31 02:30+01:00",
            "02:30",
        ),
    ],
)
def test_what_is_no_instant_is_told_why(text: str, message: str, marked: str) -> None:
    with pytest.raises(CalendarError) as caught:
        parse_moment(text, BERLIN)
    assert caught.value.message == message
    assert text[caught.value.start : caught.value.end] == marked


def test_what_to_write_for_a_time_that_comes_twice_west_of_greenwich() -> None:
    with pytest.raises(CalendarError, match=r"write 2027-11-07 01:30-04:00 or .*-05:00") as caught:
        parse_moment("2027-11-07 01:30", "America/New_York")
    assert "-04:00" in caught.value.message


def test_a_zone_that_does_not_exist_is_named() -> None:
    with pytest.raises(CalendarError, match="no time zone is named 'Berlin'"):
        parse_moment("2027-01-01 06:00", "Berlin")


@given(st.text(max_size=40) | st.text("0123456789-T :.Z+", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_moment(text, BERLIN)
    except CalendarError as error:
        assert error.message


def test_a_long_text_is_refused_at_once() -> None:
    began = perf_counter()
    for text in ("0" * 1_000_000, "2027-01-01T00:00:00." + "0" * 1_000_000):
        with pytest.raises(CalendarError):
            parse_moment(text)
    assert perf_counter() - began < 0.5
