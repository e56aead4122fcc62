"""What comes next, and what is said of it: spans for what is drawn, notes where clocks change."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from libbarto.identity import calendar_seed
from libbarto.realtime import Realtime, zones
from libbarto.realtime.preview import Rules, bounds, is_span, upcoming

BERLIN = Rules("Europe/Berlin")


def instant(text: str) -> int:
    return (datetime.fromisoformat(text) - zones.EPOCH) // timedelta(microseconds=1)


NOW = instant("2026-11-24T12:00:00+00:00")


def at(us: int, zone: str) -> str:
    moment = zones.EPOCH + timedelta(microseconds=us)
    return f"{moment.astimezone(zones.load(zone).tzinfo):%a %Y-%m-%d %H:%M:%S %Z}"


def told(*texts: str, after: int = NOW, count: int = 3, rules: Rules = BERLIN) -> list[str]:
    found = upcoming([Realtime.parse(text) for text in texts], after, count, rules)
    return [
        at(one.at, one.zone)
        + (f" to {at(one.until, one.zone)}" if one.until != one.at else "")
        + (f" ({one.note})" if one.note else "")
        for one in found
    ]


def test_the_next_starts_in_their_zone() -> None:
    assert told("Mon..Fri 02:30", count=2) == [
        "Wed 2026-11-25 02:30:00 CET",
        "Thu 2026-11-26 02:30:00 CET",
    ]
    assert told("*-02-30") == []
    assert told("2026-11-25 06:00") == ["Wed 2026-11-25 06:00:00 CET"]


def test_a_union_comes_in_order_and_each_instant_once() -> None:
    assert told("06:00", "Wed 06:00", "05:00 UTC", "07:00 Asia/Tokyo", count=3) == [
        "Wed 2026-11-25 07:00:00 JST",
        "Wed 2026-11-25 06:00:00 CET",
        "Thu 2026-11-26 07:00:00 JST",
    ]


def test_clocks_put_forward_are_noted_where_they_move_a_start() -> None:
    spring = instant("2027-03-27T23:00:00+00:00")
    assert told("02:30", after=spring, count=2) == [
        "Sun 2027-03-28 03:00:00 CEST (moved from 02:30)",
        "Mon 2027-03-29 02:30:00 CEST",
    ]
    skip = Rules("Europe/Berlin", dst_gap="skip")
    assert told("02:30", after=spring, count=1, rules=skip) == ["Mon 2027-03-29 02:30:00 CEST"]
    assert told("*:00", after=spring, count=2) == [
        "Sun 2027-03-28 01:00:00 CET",
        "Sun 2027-03-28 03:00:00 CEST",
    ]
    assert told("03:00", after=spring, count=1) == ["Sun 2027-03-28 03:00:00 CEST"]


def test_clocks_put_back_are_noted_in_the_hour_that_comes_twice() -> None:
    autumn = instant("2027-10-30T23:30:00+00:00")
    assert told("00/2:30", after=autumn, count=3) == [
        "Sun 2027-10-31 02:30:00 CEST (the first 02:30)",
        "Sun 2027-10-31 02:30:00 CET (the second 02:30)",
        "Sun 2027-10-31 04:30:00 CET",
    ]
    assert told("02:30", after=autumn, count=2)[1] == "Mon 2027-11-01 02:30:00 CET"
    assert told("06:00", after=autumn, count=1) == ["Sun 2027-10-31 06:00:00 CET"]
    assert told("01:00 UTC", after=autumn, count=1) == ["Sun 2027-10-31 01:00:00 UTC"]


def test_before_every_change_of_a_zone_there_is_nothing_to_note() -> None:
    before = instant("1970-01-02T12:00:00+00:00")
    assert told("06:00", after=before, count=1) == ["Sat 1970-01-03 06:00:00 CET"]


def test_what_is_drawn_lies_in_spans() -> None:
    assert told("02:R", count=1) == ["Wed 2026-11-25 02:00:00 CET to Wed 2026-11-25 02:59:00 CET"]
    assert told("*:R/15", after=NOW + 420_000_000, count=2) == [
        "Tue 2026-11-24 13:00:00 CET to Tue 2026-11-24 13:14:00 CET",
        "Tue 2026-11-24 13:15:00 CET to Tue 2026-11-24 13:29:00 CET",
    ]
    assert told("*-*-R 05:00", count=1) == [
        "Sun 2026-11-01 05:00:00 CET to Sat 2026-11-28 05:00:00 CET"
    ]
    assert told("*-*~R(1..3) 05:00", count=1) == [
        "Sat 2026-11-28 05:00:00 CET to Mon 2026-11-30 05:00:00 CET"
    ]
    spring = instant("2027-03-27T23:00:00+00:00")
    assert told("02:R", after=spring, count=1) == ["Sun 2027-03-28 03:00:00 CEST"]
    assert told("2199-12-31 R(22..23):00", after=NOW) == [
        "Tue 2199-12-31 22:00:00 CET to Tue 2199-12-31 23:00:00 CET"
    ]


def test_a_span_whose_beginning_lies_before_all_time() -> None:
    late = Rules("UTC", dst_gap="skip")
    only = Realtime.parse("1970-01-01 00:R(0..1)")
    assert len(upcoming([only], instant("1970-01-01T00:00:30+00:00"), 3, late)) == 1


@pytest.mark.parametrize(
    "calendar",
    ["02:R", "02:R:R", "*:R/15", "*:*:R/20", "R/6:R", "*-*-R R:R", "*-*~R 5:00"],
)
def test_every_worker_has_one_start_in_each_span(calendar: str) -> None:
    parsed = Realtime.parse(calendar)
    assert is_span(parsed)
    spans = upcoming([parsed], NOW, 20, BERLIN)
    for number in range(20):
        own = parsed.bind(calendar_seed(b"s" * 16, bytes([number]) * 16))
        times = upcoming([own], min(spans[0].at, NOW) - 1, 200, BERLIN)
        for span in spans[1:]:
            assert sum(span.at <= time.at <= span.until for time in times) == 1


@pytest.mark.parametrize(
    "calendar", ["Mon *-*-R", "*-*-R(1..31)", "*-*-R/10", "*-R-01", "*-R-*", "*:R/7", "*:*:R/50"]
)
def test_where_there_are_no_such_spans(calendar: str) -> None:
    assert not is_span(Realtime.parse(calendar))


def test_the_bounds_of_what_is_drawn() -> None:
    earliest, latest = bounds(Realtime.parse("*-*-R R(2..4):R/15:30"))
    assert str(earliest) == "*-*-01 02:00/15:30"
    assert str(latest) == "*-*-28 04:14/15:30"
    earliest, latest = bounds(Realtime.parse("*-*~R(2..9)"))
    assert (str(earliest), str(latest)) == ("*-*~09 00:00:00", "*-*~02 00:00:00")
