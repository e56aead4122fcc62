"""A union of calendars elapses once where several match, and is counted without going through."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from time import process_time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from libbarto.errors import CalendarError
from libbarto.realtime import Calendars, Realtime
from libbarto.realtime.zones import load
from tests.unit import realtime_oracle as oracle
from tests.unit.test_realtime_search import CALENDARS, aware, micros, utc

BERLIN = "Europe/Berlin"
YEAR_US = 365 * 86_400 * oracle.SECOND


# -- a value --------------------------------------------------------------------------------------


def test_order_and_doubles_are_nothing() -> None:
    union = Calendars.parse(["Sat 06:00", "mon..fri 4:00", "Sat *-*-* 6:0:0"])
    assert str(union) == "Mon..Fri *-*-* 04:00:00; Sat *-*-* 06:00:00"
    assert repr(union) == "Calendars.parse('Mon..Fri *-*-* 04:00:00; Sat *-*-* 06:00:00')"
    assert Calendars.parse(["Mon..Fri 4:00", "Sat 6:00"]) == union
    assert hash(Calendars.parse("Sat 6:00; Mon..Fri 4:00")) == hash(union)
    assert len(union.members) == 2


@given(st.lists(CALENDARS, min_size=1, max_size=4))
def test_what_is_printed_reads_back(members: list[Realtime]) -> None:
    union = Calendars.of(members)
    assert Calendars.parse(str(union)) == union
    assert Calendars.of(reversed(members)) == union


@pytest.mark.parametrize("texts", [[], (), ""])
def test_a_union_of_nothing_is_an_error(texts: Sequence[str]) -> None:
    with pytest.raises(CalendarError):
        Calendars.parse(texts)


def test_a_member_that_cannot_be_read_is_marked() -> None:
    with pytest.raises(CalendarError) as caught:
        Calendars.parse(["daily", "25:00"])
    assert str(caught.value) == "hour is 0 to 23, got 25\n    25:00\n    ^^"


def test_each_line_draws_as_it_does_alone_whatever_else_there_is() -> None:
    alone = Realtime.parse("02:R:R").bind(b"seed")
    for more in (["daily"], ["*:R/15", "Mon R:00"], []):
        union = Calendars.parse(["02:R:R", *more])
        assert union.has_random
        assert alone in union.bind(b"seed").members
    plain = Calendars.parse("daily")
    assert not plain.has_random
    assert plain.bind(b"seed") == plain


def test_what_is_not_bound_does_not_elapse() -> None:
    union = Calendars.parse(["daily", "02:R"])
    for ask in (union.elapse_after, union.elapse_before):
        with pytest.raises(ValueError, match="bind"):
            ask(0)
    with pytest.raises(ValueError, match="bind"):
        union.count(0, 1)


def test_policies_that_do_not_exist_are_errors() -> None:
    union = Calendars.parse("daily")
    for ask in (union.elapse_after, union.elapse_before):
        with pytest.raises(ValueError, match="dst_gap"):
            ask(0, dst_gap="x")
        with pytest.raises(ValueError, match="dst_repeat"):
            ask(0, dst_repeat="x")
    with pytest.raises(CalendarError, match="no time zone"):
        union.count(0, 1, "Nowhere")


# -- datetimes ------------------------------------------------------------------------------------


def test_the_first_of_all_elapses_and_once_where_several_match() -> None:
    union = Calendars.parse(["Mon..Fri 04:00", "*-*-01 04:00", "Sat 06:00"])
    base = utc(2026, 10, 30, 12)  # a Friday
    assert list(islice(union.iterate(base), 4)) == [
        utc(2026, 10, 31, 6),
        utc(2026, 11, 1, 4),
        utc(2026, 11, 2, 4),
        utc(2026, 11, 3, 4),
    ]
    assert union.previous_before(utc(2026, 11, 2, 4)) == utc(2026, 11, 1, 4)
    assert union.matches(utc(2026, 11, 1, 4))
    assert not union.matches(utc(2026, 11, 1, 6))


def test_an_end_is_the_end_of_all() -> None:
    union = Calendars.parse(["2020-01-01", "2021-01-01"])
    assert len(list(union.iterate(utc(2019, 1, 1)))) == 2
    assert union.next_after(utc(2021, 1, 1)) is None
    assert union.previous_before(utc(2020, 1, 1)) is None
    assert union.elapse_after(micros(utc(2021, 1, 1))) is None
    assert union.elapse_before(micros(utc(2020, 1, 1))) is None


def test_members_keep_their_zones_and_are_compared_as_instants() -> None:
    union = Calendars.parse(["2:30 Europe/Berlin", "1:45 UTC", "1:50 Europe/Berlin"])
    base = utc(2026, 10, 24, 23, 55)
    found = list(islice(union.iterate(base), 3))  # 02:30 is the first pass: 00:30 UTC
    assert [at.astimezone(UTC) for at in found] == [
        utc(2026, 10, 25, 0, 30),
        utc(2026, 10, 25, 1, 45),
        utc(2026, 10, 26, 0, 50),
    ]
    assert found[0].tzinfo == load(BERLIN).tzinfo


# -- clock changes --------------------------------------------------------------------------------


def between(
    union: Calendars, tz: str, start: datetime, end: datetime, gap: str, repeat: str
) -> list[datetime]:
    """The elapses in (start, end], one after another."""
    found: list[datetime] = []
    at = union.elapse_after(micros(start), tz, dst_gap=gap, dst_repeat=repeat)
    while at is not None and at <= micros(end):
        found.append(oracle.EPOCH + timedelta(microseconds=at))
        at = union.elapse_after(at, tz, dst_gap=gap, dst_repeat=repeat)
    return found


def test_what_fell_into_a_gap_does_not_run_twice_where_another_line_matches_its_end() -> None:
    union = Calendars.parse(["02:30", "03:00", "02:45"])
    start, end = utc(2026, 3, 29), utc(2026, 3, 29, 12)
    assert between(union, BERLIN, start, end, "next", "auto") == [utc(2026, 3, 29, 1)]
    assert union.count(micros(start), micros(end), BERLIN, dst_gap="next") == 1
    other = Calendars.parse(["02:30 Europe/Berlin", "01:00 UTC"])
    assert between(other, "UTC", start, end, "next", "auto") == [utc(2026, 3, 29, 1)]
    assert other.count(micros(start), micros(end), dst_gap="next") == 1


SOME_ZONES = [
    *(BERLIN, "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Casablanca"),
    *("Antarctica/Troll", "Pacific/Apia", "Asia/Kathmandu", "America/St_Johns", "Pacific/Chatham"),
    *("UTC", "Europe/Dublin", "Africa/Monrovia"),
]
EDGES = {
    name: [oracle.EPOCH + timedelta(microseconds=start) for start in load(name).starts]
    for name in SOME_ZONES
}
UNIONS = st.lists(CALENDARS, min_size=1, max_size=3)


@settings(max_examples=100)
@given(
    UNIONS,
    st.lists(st.sampled_from(["", "", *SOME_ZONES]), min_size=3, max_size=3),
    st.sampled_from(SOME_ZONES),
    st.integers(0, 500),
    st.sampled_from(["auto", "once"]),
)
@example([Realtime.parse("*:0/7"), Realtime.parse("2:0/5")], ["", "UTC", ""], BERLIN, 73, "auto")
@example([Realtime.parse("*-12-30 *:*")], ["", "", ""], "Pacific/Apia", 5, "once")
def test_a_clock_change_is_what_brute_force_finds(
    members: list[Realtime], zones: list[str], tz: str, pick: int, repeat: str
) -> None:
    edges = EDGES[tz] or [utc(2026, 1, 1)]
    edge = edges[pick % len(edges)]
    if edge.year < 1973:
        edge = utc(2026, 3, 29, 1)  # seconds of an offset are not the oracle's, which knows minutes
    start, end = edge - timedelta(hours=5), edge + timedelta(hours=5)
    union = Calendars.of(
        Realtime.parse(f"{member} {zone}".strip())
        for member, zone in zip(members, zones, strict=False)
    )
    for gap in ("next", "skip"):
        wanted: set[datetime] = set()
        for member in union.members:
            text = str(member)
            zone = member.zone or tz
            bare = text.removesuffix(f" {zone}") if member.zone else text
            passes = "both" if repeat == "auto" and oracle.repeats(bare) else "first"
            wanted |= set(oracle.elapses(bare, ZoneInfo(zone), start, end, gap, passes))
        found = between(union, tz, start, end, gap, repeat)
        assert found == sorted(wanted)
        for base in (edge - timedelta(hours=1), edge, edge + timedelta(minutes=31), end):
            policies = {"dst_gap": gap, "dst_repeat": repeat}
            after = micros(base)
            earlier = [at for at in found if at < base]
            last = aware(union.elapse_before(after, tz, **policies))
            assert (last or start) <= start if not earlier else last == earlier[-1]
            later = [at for at in found if at > base]
            assert union.count(after, micros(end), tz, **policies) == len(later)
            before = [at for at in found if at <= base]
            assert union.count(micros(start), after, tz, **policies) == len(before)


# -- counting -------------------------------------------------------------------------------------

SECONDS = st.lists(
    st.sampled_from(["0", "59.999999", "5.5", "1.5..3.5", "0/20", "3/0.25", "30..59", "7", "0/7"]),
    min_size=1,
    max_size=2,
).map(",".join)
QUICK = st.tuples(
    st.sampled_from(["", "Mon..Thu ", "*-*-1/2 "]),
    st.sampled_from(["*:*:", "3/7:5..9:", "0,23:58..59:"]),
    SECONDS,
    st.sampled_from(["", " Europe/Berlin", " Asia/Kathmandu", " Africa/Monrovia"]),
).map("".join)


@settings(max_examples=60)
@given(
    st.lists(QUICK, min_size=1, max_size=3),
    st.sampled_from([utc(2026, 3, 29), utc(1971, 12, 31, 23, 44), utc(2026, 12, 31, 22, 50)]),
    st.integers(0, 7_000_000_000),
    st.integers(0, 2_000_000_000),
)
def test_a_count_is_what_going_through_finds(
    texts: list[str], base: datetime, offset: int, length: int
) -> None:
    union = Calendars.parse(texts)
    after = micros(base) + offset
    until = after + length
    number, at = 0, union.elapse_after(after, BERLIN, dst_gap="next", dst_repeat="auto")
    while at is not None and at <= until:
        number += 1
        at = union.elapse_after(at, BERLIN, dst_gap="next", dst_repeat="auto")
    assert union.count(after, until, BERLIN, dst_gap="next", dst_repeat="auto") == number


@settings(max_examples=60)
@given(UNIONS, st.sampled_from(SOME_ZONES), st.lists(st.integers(0, 200 * YEAR_US), max_size=3))
def test_spans_add_up(members: list[Realtime], tz: str, cuts: list[int]) -> None:
    union = Calendars.of(members)
    bounds = [0, *sorted(cuts), 240 * YEAR_US]
    parts = [
        union.count(after, until, tz, dst_gap="next", dst_repeat="auto")
        for after, until in pairwise(bounds)
    ]
    assert sum(parts) == union.count(bounds[0], bounds[-1], tz, dst_gap="next", dst_repeat="auto")
    assert union.count(5, 5, tz) == union.count(5, 4, tz) == 0


def test_a_lifetime_of_seconds_is_counted() -> None:
    start = micros(utc(2026, 1, 1))
    end = micros(utc(2098, 1, 1))
    every = Calendars.parse("*:*:*")
    for tz in ("UTC", BERLIN):
        assert every.count(start, end, tz, dst_repeat="auto") == (end - start) // oracle.SECOND
    changes = [at for at in EDGES[BERLIN] if start < micros(at) < end]
    hour = 3600
    once = (end - start) // oracle.SECOND - len(changes) // 2 * hour
    assert every.count(start, end, BERLIN, dst_repeat="once") == once


def test_more_than_a_list_of_seconds_holds_is_counted() -> None:
    start = micros(utc(2026, 1, 1))
    union = Calendars.parse(["00:00:0/0.001", "00:00:0.0005/0.001,0/0.01", "00:00:0/0.000125"])
    assert union.count(start - 1, start + 60 * oracle.SECOND) == 480_000
    assert union.count(start - 1, start + oracle.SECOND // 2 - 1) == 4_000


def test_nothing_is_counted_outside_of_1970_to_2199() -> None:
    every = Calendars.parse("daily")
    whole = every.count(-(1 << 62), 1 << 62)
    assert whole == (datetime(2200, 1, 1, tzinfo=UTC) - oracle.EPOCH).days
    assert every.count(micros(utc(2200, 1, 1)), 1 << 62) == 0
    assert Calendars.parse("*-02-30").count(0, 1 << 62) == 0


def test_dense_seconds_in_many_zones_are_counted_at_once() -> None:
    places = [
        *("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Tehran"),
        *("Africa/Casablanca", "America/Santiago", "Pacific/Chatham", "America/St_Johns"),
    ]
    union = Calendars.parse(f"*:*:0/0.0000{n} {place}" for n, place in enumerate(places, 1))
    before = process_time()
    assert union.count(0, 72 * YEAR_US, dst_repeat="auto") == 72 * YEAR_US // 10
    assert process_time() - before < 10
