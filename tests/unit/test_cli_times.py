"""Times as readers write and read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barto_cli.times import (
    UTC_ZONE,
    Zone,
    coming,
    duration,
    from_instant,
    read,
    rfc3339,
    shown,
    size,
    when,
    zone_here,
)
from libbarto.errors import UserError

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BERLIN = Zone("Europe/Berlin", ZoneInfo("Europe/Berlin"))


def test_times_are_shown_in_the_readers_zone() -> None:
    assert shown(NOW, BERLIN, NOW) == "Tue 24 Nov 13:00:00"
    assert shown(NOW, UTC_ZONE, NOW) == "Tue 24 Nov 12:00:00"


def test_another_year_is_told() -> None:
    assert shown(NOW.replace(year=2025), UTC_ZONE, NOW) == "Mon 24 Nov 2025 12:00:00"
    new_year = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    assert shown(new_year, BERLIN, NOW) == "Fri  1 Jan 2027 00:30:00"


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_time_can_be_shown_and_reads_back(moment: datetime) -> None:
    assert shown(moment, BERLIN, NOW)
    assert read(rfc3339(moment)) == moment


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_every_instant_is_a_time(instant: int) -> None:
    assert 1 <= from_instant(instant).year <= 9999


def test_an_instant_is_exact() -> None:
    assert rfc3339(from_instant(1_795_521_600_000_001)) == "2026-11-24T12:00:00.000001Z"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("2h", NOW - timedelta(hours=2)),
        ("1h30m", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        ("today", datetime(2026, 11, 23, 23, tzinfo=UTC)),
        ("yesterday", datetime(2026, 11, 22, 23, tzinfo=UTC)),
        ("2026-07-01", datetime(2026, 6, 30, 22, tzinfo=UTC)),
        ("2026-11-24 08:00", datetime(2026, 11, 24, 7, tzinfo=UTC)),
        ("2026-11-24T08:00:30", datetime(2026, 11, 24, 7, 0, 30, tzinfo=UTC)),
        ("2026-11-24T08:00:00Z", datetime(2026, 11, 24, 8, tzinfo=UTC)),
        (" 2026-11-24T08:00:00+05:30 ", datetime(2026, 11, 24, 2, 30, tzinfo=UTC)),
    ],
)
def test_readers_write_times_in_many_ways(text: str, moment: datetime) -> None:
    assert when(text, NOW, BERLIN) == moment


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "24.11.2026", "-1h", "99999999999w"])
def test_what_is_no_time_is_told_with_examples(text: str) -> None:
    with pytest.raises(UserError, match="is not a time; write 2h"):
        when(text, NOW, BERLIN)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0004, "0ms"),
        (0.999, "999ms"),
        (1, "1s"),
        (9.99, "9.9s"),
        (10, "10s"),
        (59.9, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (86_400, "1d00h"),
        (-90, "-1m30s"),
        (None, ""),
    ],
)
def test_durations_have_two_units_at_most(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (-(5 << 20), "-5.0 MiB"), (None, "")],
)
def test_sizes_are_told_in_their_unit(count: int | None, text: str) -> None:
    assert size(count) == text


def test_the_readers_zone_is_that_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert zone_here().name == "Asia/Tokyo"
    monkeypatch.setenv("TZ", "/usr/share/zoneinfo/Asia/Tokyo")
    assert zone_here().name == "Asia/Tokyo"
    monkeypatch.setenv("TZ", "Nope/Zone")
    assert zone_here() == UTC_ZONE, "as the C library reads it"
    monkeypatch.setenv("TZ", "XYZ-3")
    assert zone_here().name == "XYZ-3"
    monkeypatch.setenv("TZ", ":/etc/localtime")
    of_the_file = zone_here().name
    monkeypatch.delenv("TZ")
    assert zone_here().name == of_the_file


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", NOW + timedelta(hours=2)),
        ("1h30m", NOW + timedelta(minutes=90)),
        ("18:00", datetime(2026, 11, 24, 17, tzinfo=UTC)),
        ("13:00", datetime(2026, 11, 25, 12, tzinfo=UTC)),
        ("13:00:01", datetime(2026, 11, 24, 12, 0, 1, tzinfo=UTC)),
        ("today 13:00", NOW),
        ("tomorrow", datetime(2026, 11, 24, 23, tzinfo=UTC)),
        (" tomorrow 8:00 ", datetime(2026, 11, 25, 7, tzinfo=UTC)),
        ("2026-12-01", datetime(2026, 11, 30, 23, tzinfo=UTC)),
        ("2026-12-01T08:00:00Z", datetime(2026, 12, 1, 8, tzinfo=UTC)),
    ],
)
def test_a_time_to_come_is_counted_from_now(text: str, moment: datetime) -> None:
    assert coming(text, NOW, BERLIN) == moment


@pytest.mark.parametrize(
    "text", ["", "soon", "yesterday", "25:00", "-1h", "2026-13-01", "99999999999w"]
)
def test_what_is_no_time_to_come_is_told_with_examples(text: str) -> None:
    with pytest.raises(UserError, match="is not a time to come; write 2h"):
        coming(text, NOW, BERLIN)
