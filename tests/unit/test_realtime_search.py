"""What elapses next and last is what brute force finds, also across clock changes."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from libbarto.realtime import Realtime, upcoming
from libbarto.realtime.zones import load, names
from tests.unit import realtime_oracle as oracle

MINUTE = timedelta(minutes=1)
ZONES = (
    *("America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo"),
    *("Africa/Casablanca", "Pacific/Apia", "Europe/Dublin", "America/St_Johns", "UTC"),
    *("Antarctica/Troll", "Asia/Gaza", "America/Scoresbysund", "America/Nuuk", "Etc/GMT+5"),
)


def micros(at: datetime) -> int:
    return (at - oracle.EPOCH) // timedelta(microseconds=1)


def aware(micros: int | None) -> datetime | None:
    return None if micros is None else oracle.EPOCH + timedelta(microseconds=micros)


def lists(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    ordered = st.tuples(value, value).map(sorted)
    item = st.one_of(
        value.map(str),
        ordered.map(lambda pair: f"{pair[0]}..{pair[1]}"),
        st.tuples(st.integers(low, low + 5), st.integers(1, (high - low) // 2)).map(
            lambda pair: f"{pair[0]}/{pair[1]}"
        ),
        st.tuples(ordered, st.integers(1, high)).map(
            lambda both: f"{both[0][0]}..{both[0][1]}/{both[1]}"
        ),
    )
    return st.lists(item, min_size=1, max_size=3).map(",".join)


def often_star(field: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.just("*") | field


WEEKDAYS = st.lists(st.sampled_from(oracle.DAYS), max_size=4).map(",".join)
DATES = st.one_of(
    st.just("*-*-*"),
    st.tuples(often_star(lists(1, 12)), often_star(lists(1, 31))).map("*-{0[0]}-{0[1]}".format),
    st.tuples(
        often_star(lists(1, 12)), st.sampled_from(["1", "2..9", "7/1", "10/3", "20..28/4", "28"])
    ).map("*-{0[0]}~{0[1]}".format),
)
TIMES = st.tuples(often_star(lists(0, 23)), often_star(lists(0, 59))).map("{0[0]}:{0[1]}".format)
CALENDARS = st.tuples(WEEKDAYS, DATES, TIMES).map(" ".join).map(str.strip).map(Realtime.parse)
MOMENTS = st.datetimes(oracle.midnight(2019, 1, 1), oracle.midnight(2032, 1, 1)).map(
    lambda at: at.replace(tzinfo=UTC)
)


@given(CALENDARS, MOMENTS)
def test_next_and_previous_on_an_even_wall_clock_are_what_brute_force_finds(
    calendar: Realtime, base: datetime
) -> None:
    text = str(calendar)
    midnight = base.replace(hour=0, minute=0, second=0, microsecond=0)
    days = [midnight + timedelta(days=n) for n in range(-40, 41)]
    minutes = oracle.minutes_of_day(text)
    elapses = [
        day + timedelta(minutes=minute)
        for day in days
        if oracle.day_matches(text, day)
        for minute in minutes
    ]
    later = [at for at in elapses if at > base]
    earlier = [at for at in elapses if at < base]
    found = calendar.next_after(base)
    assert found == later[0] if later else found is None or found.date() > days[-1].date()
    found = calendar.previous_before(base)
    assert found == earlier[-1] if earlier else found is None or found.date() < days[0].date()
    assert calendar.matches(base) == (base in elapses)


SECONDS = st.lists(
    st.sampled_from(
        ["0", "59.999999", "5.5", "1.5..3.5", "0/20", "3/0.25", "1..2/0.000001", "30..59", "7"]
    ),
    min_size=1,
    max_size=3,
).map(",".join)


@given(
    SECONDS.map("*:*:{}".format) | SECONDS.map("3/7:5..9:{}".format),
    st.datetimes(oracle.midnight(2026, 1, 1), oracle.midnight(2026, 1, 2)),
)
def test_seconds_and_their_parts_are_what_brute_force_finds(text: str, wall: datetime) -> None:
    calendar, base = Realtime.parse(text), wall.replace(tzinfo=UTC)
    found = calendar.next_after(base)
    assert found is not None
    assert calendar.matches(found)
    assert oracle.wall_matches(str(calendar), found.replace(tzinfo=None))
    between = min(found - base, timedelta(seconds=1)) // timedelta(microseconds=1)
    probe = {1, 2, between // 2, between - 1, *range(0, between, max(1, between // 200))}
    for step in sorted(probe):
        if 0 < step < between:
            assert not calendar.matches(base + timedelta(microseconds=step))
    assert calendar.previous_before(found + timedelta(microseconds=1)) == found
    previous = calendar.previous_before(found)
    assert previous is not None
    assert previous <= base
    assert calendar.next_after(previous) == found


ALL_ZONES = st.sampled_from(ZONES)
EDGES = {
    name: [
        oracle.EPOCH + timedelta(microseconds=start)
        for start in load(name).starts
        if 946_684_800 <= start / 1e6 < 2_208_988_800
    ]
    for name in ZONES
}


@settings(max_examples=150)
@given(CALENDARS, ALL_ZONES, st.data())
@example(Realtime.parse("2:30"), "Europe/Berlin", None)
def test_the_policies_across_a_clock_change_are_what_brute_force_finds(
    calendar: Realtime, name: str, data: st.DataObject | None
) -> None:
    edges = EDGES[name] or [datetime(2026, 1, 1, tzinfo=UTC)]
    edge = edges[-1] if data is None else data.draw(st.sampled_from(edges))
    start, end = edge - timedelta(hours=5), edge + timedelta(hours=5)
    text, zone = str(calendar), ZoneInfo(name)
    for gap in ("next", "skip"):
        repeat = "both" if oracle.repeats(text) else "first"
        wanted = oracle.elapses(text, zone, start, end, gap, repeat)
        found, at = [], start
        while True:
            reading = calendar.elapse_after(micros(at), name, dst_gap=gap, dst_repeat="auto")
            at = aware(reading) or end + MINUTE
            if at > end:
                break
            found.append(at)
        assert found == wanted
    # What elapses does not depend on where one asks from.
    for base in (edge - MINUTE, edge, edge + timedelta(minutes=7), edge + timedelta(minutes=59)):
        elapse = aware(calendar.elapse_after(micros(base), name, dst_repeat="auto"))
        assert elapse == next((at for at in wanted if at > base), elapse)
        assert elapse is None or elapse > base
    first = oracle.elapses(text, zone, start, end, "skip", "first")
    for base in (edge, edge + timedelta(minutes=20), end):
        previous = calendar.previous_before(base, name)
        earlier = [at for at in first if at < base]
        if earlier:
            assert previous is not None
            assert previous.astimezone(UTC) == earlier[-1]
        else:
            assert previous is None or previous.astimezone(UTC) <= start
    # By systemd's rule: the first passes, and from inside a second pass the rest of it.
    walls = oracle.elapses(text, zone, start, end, "skip", "both")
    for base in (start, edge - MINUTE, edge, edge + timedelta(minutes=10)):
        local = base.astimezone(zone)
        wanted = walls if local.fold else first
        if local.fold:  # once the second pass is over, both are the same
            wanted = [at for at in walls if at > base]
        elapse = aware(calendar.elapse_after(micros(base), name))
        assert elapse == next((at for at in wanted if at > base), elapse)


@given(CALENDARS, ALL_ZONES, MOMENTS)
def test_elapses_strictly_increase_and_match_and_nothing_lies_between(
    calendar: Realtime, name: str, base: datetime
) -> None:
    zone, before = ZoneInfo(name), base
    for at in islice(calendar.iterate(base, name), 4):
        assert at.tzinfo is load(name).tzinfo
        assert at.astimezone(UTC) > before
        assert calendar.matches(at, name)
        assert oracle.wall_matches(str(calendar), at.replace(tzinfo=None))
        assert at.utcoffset() == at.replace(tzinfo=zone).utcoffset()
        assert micros(at) == calendar.elapse_after(micros(before), name)
        previous = calendar.previous_before(at, name)
        assert previous is None or previous.astimezone(UTC) <= before or at.fold
        before = at.astimezone(UTC)


@given(CALENDARS, ALL_ZONES, MOMENTS)
def test_the_zone_of_the_base_does_not_matter(
    calendar: Realtime, name: str, base: datetime
) -> None:
    wanted = calendar.next_after(base, name)
    for other in (*ZONES, "Asia/Tokyo"):
        assert calendar.next_after(base.astimezone(load(other).tzinfo), name) == wanted


def test_nothing_elapses_in_a_gap_and_once_in_a_fold_at_any_change_of_any_zone() -> None:
    minutely, checked, places = Realtime.parse("minutely"), 0, []
    for name in sorted(names()):
        zone = load(name)
        # Far enough apart that no reading is touched by two changes.
        places += [name for a, b in pairwise(zone.edges) if a > b]
        for i, start in enumerate(zone.starts):
            if not 946_684_800 <= start / 1e6 < 2_208_988_800:
                continue
            checked += 1
            shift = zone.offsets[i + 1] - zone.offsets[i]
            last = start - 60_000_000
            assert minutely.elapse_after(last - 1, name) == last
            if shift > 0:
                assert minutely.elapse_after(last, name) == start
                assert minutely.elapse_after(last, name, dst_repeat="auto") == start
            else:
                assert minutely.elapse_after(last, name) == start - shift
                assert minutely.elapse_after(last, name, dst_repeat="auto") == start
                assert minutely.elapse_after(start, name) == start + 60_000_000
    assert places == []
    assert checked > 15_000


# Single facts, each once got wrong somewhere.


def utc(*fields: int) -> datetime:
    return datetime(*fields, tzinfo=UTC)  # type: ignore[misc,arg-type]  # seven ints at most


def elapse(text: str, base: datetime, tz: str, **policies: str) -> datetime | None:
    return aware(Realtime.parse(text).elapse_after(micros(base), tz, **policies))


def test_what_fell_in_the_gap_runs_at_the_first_instant_after_it() -> None:
    base = utc(2026, 3, 29, 0, 0)
    assert elapse("2:30", base, "Europe/Berlin", dst_gap="next") == utc(2026, 3, 29, 1, 0)
    assert elapse("2:30", base, "Europe/Berlin") == utc(2026, 3, 30, 0, 30)
    after = utc(2026, 3, 29, 1, 0)
    assert elapse("2:30", after, "Europe/Berlin", dst_gap="next") == utc(2026, 3, 30, 0, 30)


def test_a_fixed_hour_runs_once_and_a_repetition_in_both_passes() -> None:
    base = utc(2026, 10, 24, 23, 50)
    first = elapse("2:30", base, "Europe/Berlin", dst_repeat="auto")
    assert first == utc(2026, 10, 25, 0, 30)
    again = elapse("2:30", first, "Europe/Berlin", dst_repeat="auto")
    assert again == utc(2026, 10, 26, 1, 30)
    inside = utc(2026, 10, 25, 1, 10)  # 02:10 for the second time
    assert elapse("2:30", inside, "Europe/Berlin", dst_repeat="auto") == utc(2026, 10, 26, 1, 30)
    assert elapse("2:30", inside, "Europe/Berlin") == utc(2026, 10, 25, 1, 30)
    quarter = utc(2026, 10, 25, 0, 45)
    assert elapse("*:0/15", quarter, "Europe/Berlin", dst_repeat="auto") == utc(2026, 10, 25, 1, 0)
    assert elapse("*:0/15", quarter, "Europe/Berlin") == utc(2026, 10, 25, 2, 0)
    assert elapse("2/1:45", quarter, "Europe/Berlin", dst_repeat="auto") == utc(2026, 10, 25, 1, 45)


def test_the_second_pass_carries_fold() -> None:
    inside = utc(2026, 10, 25, 1, 10)
    found = Realtime.parse("*:0/15").next_after(inside, "Europe/Berlin")
    assert found is not None
    assert (found.isoformat(), found.fold) == ("2026-10-25T02:15:00+01:00", 1)
    assert Realtime.parse("*:0/15").next_after(found, "Europe/Berlin") == found + 15 * MINUTE


def test_a_base_inside_a_gap_counts_as_its_instant() -> None:
    berlin = load("Europe/Berlin").tzinfo
    base = datetime(2026, 3, 29, 2, 30, tzinfo=berlin)  # really 03:30
    assert upcoming("*:0/15", base, 1, "Europe/Berlin") == [
        datetime(2026, 3, 29, 3, 45, tzinfo=berlin)
    ]


def test_the_expressions_zone_wins_over_the_default() -> None:
    at = Realtime.parse("10:00 Asia/Tokyo").next_after(utc(2026, 1, 1), "Europe/Berlin")
    assert at == utc(2026, 1, 1, 1, 0)
    assert str(at.tzinfo if at else None) == "Asia/Tokyo"


def test_the_expressions_zone_wins_however_often_and_with_whatever_default_it_is_asked() -> None:
    calendar = Realtime.parse("10:00 Asia/Tokyo")
    base, found = utc(2026, 1, 1), utc(2026, 1, 1, 1, 0)
    for tz in ("UTC", "Europe/Berlin", "No/Such", "UTC", "Asia/Tokyo", "No/Such"):
        assert calendar.next_after(base, tz) == found
        assert calendar.elapse_after(micros(base), tz) == micros(found)


@pytest.mark.parametrize(
    "text", ["*-02-30", "*-6-31", "2100-02-29", "Mon 2024-01-02", "1970-1-1", "1999-*~7/1"]
)
def test_never_is_none_and_not_an_endless_search(text: str) -> None:
    calendar, base = Realtime.parse(text), utc(2199, 12, 30)
    assert calendar.next_after(base) is None
    assert calendar.elapse_after(micros(base), "Europe/Berlin", dst_repeat="auto") is None
    assert upcoming(text, base, 5, "UTC") == []


def test_before_1970_and_after_2199_nothing_elapses() -> None:
    daily, early = Realtime.parse("daily"), datetime(1, 1, 2, tzinfo=UTC)
    assert daily.next_after(early) == utc(1970, 1, 1)
    assert daily.previous_before(early) is None
    assert daily.previous_before(utc(1970, 1, 1)) is None
    assert daily.next_after(utc(2199, 12, 31)) is None
    assert daily.next_after(utc(9999, 12, 31)) is None
    assert daily.previous_before(utc(9999, 12, 31)) == utc(2199, 12, 31)
    assert Realtime.parse("*-02-30").previous_before(utc(2026, 1, 1)) is None
    assert daily.previous_before(utc(1970, 1, 3), "Asia/Tokyo") is not None
    leap = Realtime.parse("*-2-29")
    assert leap.previous_before(utc(2027, 1, 1)) == utc(2024, 2, 29)
    assert leap.previous_before(utc(2024, 2, 29)) == utc(2020, 2, 29)


class NoOffset(tzinfo):
    """A zone that does not know its offset: datetimes of it are as naive as those without."""

    def utcoffset(self, dt: datetime | None) -> None:
        return None

    def dst(self, dt: datetime | None) -> None:
        return None

    def tzname(self, dt: datetime | None) -> None:
        return None


ENDS = [
    *(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), utc(1, 1, 2)),
    *(utc(1969, 12, 31), utc(1969, 12, 31, 23, 59, 59, 999_999), utc(1970, 1, 1)),
    *(utc(2199, 12, 31), utc(2199, 12, 31, 23, 59, 59, 999_999), utc(2200, 1, 1)),
    utc(9999, 12, 30),
]
FIXED = [timezone(timedelta(hours=hours, microseconds=7)) for hours in (-14, -5, 0, 5, 14)]


@pytest.mark.parametrize("base", ENDS, ids=str)
@pytest.mark.parametrize(
    "name", ["UTC", "Asia/Tokyo", "Pacific/Kiritimati", "Etc/GMT+12", "Europe/Dublin"]
)
def test_bases_at_the_ends_of_time_are_bases_like_others(base: datetime, name: str) -> None:
    daily, there = Realtime.parse("daily"), load(name).tzinfo
    first, last = (
        micros(end.replace(tzinfo=there)) for end in (utc(1970, 1, 1), utc(2199, 12, 31))
    )
    for zone in (UTC, there, ZoneInfo("America/New_York"), *FIXED):
        moment = base.replace(tzinfo=zone)
        found, previous = daily.next_after(moment, name), daily.previous_before(moment, name)
        assert (found is None) == (micros(moment) >= last)
        assert (previous is None) == (micros(moment) <= first)
        assert found is None or first <= micros(found) <= last
        assert previous is None or first <= micros(previous) <= last
        assert daily.elapse_after(micros(moment), name) == (found and micros(found))
        at_once = daily.elapse_after(micros(moment) - 1, name) == micros(moment)
        assert daily.matches(moment, name) == at_once


def test_a_base_without_an_offset_is_refused() -> None:
    daily = Realtime.parse("daily")
    for moment in (oracle.midnight(2026, 1, 1), datetime(2026, 1, 1, tzinfo=NoOffset())):
        for ask in (daily.next_after, daily.previous_before, daily.matches):
            with pytest.raises(ValueError, match="2026-01-01T00:00:00 has no time zone"):
                ask(moment, "Europe/Berlin")


class Broken(NoOffset):
    def utcoffset(self, dt: datetime | None) -> None:
        raise AttributeError("mine")


def test_what_is_wrong_in_a_zone_of_the_caller_s_is_not_hidden() -> None:
    with pytest.raises(AttributeError, match="mine"):
        Realtime.parse("daily").next_after(datetime(2026, 1, 1, tzinfo=Broken()))


@given(CALENDARS, ALL_ZONES, MOMENTS, st.integers(0, 59_999_999))
def test_a_base_counts_to_the_microsecond(
    calendar: Realtime, name: str, base: datetime, part: int
) -> None:
    found = calendar.next_after(base + timedelta(microseconds=part), name)
    if found is not None:
        just_before = found.astimezone(UTC) - timedelta(microseconds=1)
        assert just_before >= base
        assert calendar.next_after(just_before, name) == found
        if not found.fold:
            just_after = found.astimezone(UTC) + timedelta(microseconds=1)
            assert calendar.previous_before(just_after, name) == found


def test_a_base_a_microsecond_before_the_second_pass_stays_in_it() -> None:
    base = utc(2026, 10, 25, 0, 59, 59, 999_999)  # what systemd tries first is 02:00 again
    assert elapse("*:0/15", base, "Europe/Berlin") == utc(2026, 10, 25, 1, 0)
    assert elapse("2:30", base, "Europe/Berlin") == utc(2026, 10, 25, 1, 30)
    assert elapse("2:30", base, "Europe/Berlin", dst_repeat="auto") == utc(2026, 10, 26, 1, 30)
    gap = utc(2026, 3, 29, 0, 59, 59, 999_999)
    assert elapse("2:30", gap, "Europe/Berlin", dst_gap="next") == utc(2026, 3, 29, 1, 0)
    assert elapse("2:30", gap, "Europe/Berlin") == utc(2026, 3, 30, 0, 30)


def test_a_day_that_is_missing_is_passed_over() -> None:
    base = utc(2011, 12, 29, 20)
    found = upcoming("daily", base, 2, "Pacific/Apia")
    assert [at.isoformat()[:10] for at in found] == ["2011-12-31", "2012-01-01"]
    assert upcoming("1993-8-21 12:00", utc(1993, 8, 1), 1, "Pacific/Kwajalein") == []
    at = elapse("1993-8-21 12:00", utc(1993, 8, 1), "Pacific/Kwajalein", dst_gap="next")
    assert at == utc(1993, 8, 21, 12)


def test_a_calendar_can_be_copied_after_it_was_asked() -> None:
    calendar = Realtime.parse("*:0/15 Europe/Berlin")
    calendar.next_after(utc(2026, 1, 1))
    calendar.elapse_after(0)
    for copied in (copy.copy(calendar), copy.deepcopy(calendar)):
        assert copied == calendar
        assert hash(copied) == hash(calendar)
        assert copied.next_after(utc(2026, 1, 1)) == calendar.next_after(utc(2026, 1, 1))


def test_threads_that_ask_at_once_get_the_same_answers() -> None:
    calendar = Realtime.parse("Mon..Fri 8..17:0/7:3.5")
    bases = [utc(2026, 1, 1) + timedelta(hours=n) for n in range(0, 6000, 5)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda base: calendar.next_after(base, "Europe/Berlin"), bases))
    assert found == [Realtime.parse(str(calendar)).next_after(b, "Europe/Berlin") for b in bases]


def test_a_one_time_elapse_in_a_gap_is_skipped_or_runs_after_it() -> None:
    base = utc(2026, 1, 1)
    assert elapse("2026-3-29 2:30", base, "Europe/Berlin") is None
    assert elapse("2026-3-29 2:30", base, "Europe/Berlin", dst_gap="next") == utc(2026, 3, 29, 1)


def test_previous_passes_over_a_gap() -> None:
    at = Realtime.parse("2:30").previous_before(utc(2026, 3, 29, 12), "Europe/Berlin")
    assert at is not None
    assert at.astimezone(UTC) == utc(2026, 3, 28, 1, 30)


def test_in_the_first_pass_the_rest_of_both_is_ahead() -> None:
    base = utc(2026, 10, 25, 0, 50)  # 02:50 for the first time
    found = elapse("2026-10-25 2..3/1:40", base, "Europe/Berlin", dst_repeat="auto")
    assert found == utc(2026, 10, 25, 1, 40)
    assert elapse("2026-10-25 1..2:40", found, "Europe/Berlin", dst_repeat="auto") is None


def test_questions_that_cannot_be_answered_are_value_errors() -> None:
    daily = Realtime.parse("daily")
    with pytest.raises(ValueError, match="pass an aware datetime"):
        daily.next_after(oracle.midnight(2026, 1, 1))
    with pytest.raises(ValueError, match="dst_gap is 'next' or 'skip', not 'x'"):
        daily.elapse_after(0, dst_gap="x")
    with pytest.raises(ValueError, match="dst_repeat is 'auto' or 'once', not 'x'"):
        daily.elapse_after(0, dst_repeat="x")


@given(MOMENTS, st.integers(0, 5))
def test_upcoming_is_at_most_n_ascending_aware_elapses(base: datetime, n: int) -> None:
    found = upcoming("hourly", base, n, "Europe/London")
    assert len(found) == n
    assume(n > 1)
    assert all(a.astimezone(UTC) < b.astimezone(UTC) for a, b in pairwise(found))
