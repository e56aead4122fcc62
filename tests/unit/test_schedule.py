"""A timetable has the slots of every trigger, and counts them without going through them."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libbarto.errors import CalendarError
from libbarto.identity import Kind, calendar_seed, occurrence_id
from libbarto.message.v2.schedule import Schedule
from libbarto.realtime import Realtime
from libbarto.realtime.interval import Every
from libbarto.schedule import Timetable
from tests.unit.test_realtime_search import micros, utc

UID, WORKER = bytes(15) + b"s", bytes(15) + b"w"
MINUTE = 60_000_000
HOUR = 60 * MINUTE
YEAR = 365 * 24 * HOUR


def timetable(calendars: list[str] | None = None, worker: bytes = WORKER, **keys: Any) -> Timetable:
    spec = Schedule(uid=UID, name="tick", calendars=calendars or [], steps=["true"], **keys)
    return Timetable(spec, worker)


TRIGGERS: dict[str, dict[str, Any]] = {
    "calendar": {"calendars": ["*:0/15"]},
    "union": {"calendars": ["*:0/15", "*:0/7", "02:30 Asia/Kathmandu"], "timezone": "Asia/Tokyo"},
    "random": {"calendars": ["*:R/7", "R:R:R"]},
    "every": {"every_us": 11 * MINUTE, "anchor_us": 5},
    "phase": {"every_us": 11 * MINUTE, "anchor_drawn": True},
    "at": {"at": [3 * HOUR, HOUR, HOUR, 30 * HOUR]},
}


@settings(max_examples=40)
@given(st.sampled_from(sorted(TRIGGERS)), st.integers(0, 40 * HOUR), st.integers(0, 10 * HOUR))
def test_all_answers_agree(name: str, after: int, length: int) -> None:
    table = timetable(**TRIGGERS[name])
    until = after + length
    slots = table.due(after, until)
    assert slots == sorted(set(slots))
    assert all(after < slot <= until for slot in slots)
    counted = table.count(after, until)
    assert counted == ((len(slots), slots[0], slots[-1]) if slots else None)
    following = table.next_after(until)
    assert following is None or following > until
    previous = table.previous_before(until + 1)
    assert previous == (slots[-1] if slots else previous)
    assert previous is None or slots or previous <= after


def test_slots_do_not_depend_on_what_was_asked_before() -> None:
    table = timetable(["*:0/15"])
    assert [table.next_after(at) for at in (0, 1, 16 * MINUTE, 2, 15 * MINUTE)] == [
        15 * MINUTE,
        15 * MINUTE,
        30 * MINUTE,
        15 * MINUTE,
        30 * MINUTE,
    ]


def test_threads_that_share_a_timetable_do_not_get_each_other_s_answers() -> None:
    table = timetable(["*:0/15"])
    asked = [n * 7 % 200 * MINUTE for n in range(3000)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: [table.next_after(at) for at in asked], range(4)))
    finally:
        sys.setswitchinterval(interval)
    assert found == [[at - at % (15 * MINUTE) + 15 * MINUTE for at in asked]] * 4


def test_the_limit_keeps_the_earliest() -> None:
    assert timetable(["*:*"]).due(0, HOUR, 2) == [MINUTE, 2 * MINUTE]


def test_random_times_are_drawn_from_schedule_and_worker() -> None:
    seed = calendar_seed(UID, WORKER)
    alone = Realtime.parse("02:R").bind(seed).elapse_after(0)
    assert timetable(["02:R"]).next_after(0) == alone
    both = timetable(["02:R", "2000-01-01 00:00"])
    assert both.next_after(0) == alone
    phase = Every(HOUR, drawn=True).bind(seed).anchor_us
    assert timetable(every_us=HOUR, anchor_drawn=True).next_after(-1) == phase
    fleet = timetable(["02:R"], worker=b"").next_after(0)
    assert fleet == Realtime.parse("02:R").bind(calendar_seed(UID, b"")).elapse_after(0)


def test_an_occurrence_is_that_of_its_slot() -> None:
    assert timetable(["daily"]).run_id(7) == occurrence_id(Kind.CALENDAR, UID, WORKER, 7)


@pytest.mark.parametrize("keys", [{"on_boot": True}, {"after": bytes(16)}, {}])
def test_what_is_due_by_an_event_has_no_slots(keys: dict[str, Any]) -> None:
    table = timetable(**keys)
    assert table.next_after(0) is None
    assert table.previous_before(1 << 60) is None
    assert table.due(0, 1 << 60) == []
    assert table.count(0, 1 << 60) is None


def test_what_fell_into_a_gap_is_due_once_after_it() -> None:
    table = timetable(["02:30", "03:00"], timezone="Europe/Berlin")
    start, end = micros(utc(2026, 3, 29)), micros(utc(2026, 3, 29, 12))
    assert table.due(start, end) == [micros(utc(2026, 3, 29, 1))]
    assert table.count(start, end) == (1, micros(utc(2026, 3, 29, 1)), micros(utc(2026, 3, 29, 1)))
    assert table.previous_before(end) == micros(utc(2026, 3, 29, 1))


def test_what_comes_twice_is_due_as_the_policy_says_whoever_asks() -> None:
    inside = micros(utc(2026, 10, 25, 1, 10))  # 02:10, the second time
    end = micros(utc(2026, 10, 25, 2))
    both = timetable(["*:0/15"], timezone="Europe/Berlin")
    once = timetable(["*:0/15"], timezone="Europe/Berlin", dst_repeat="once")
    assert len(both.due(inside, end)) == 4
    assert both.previous_before(inside) == micros(utc(2026, 10, 25, 1))
    assert once.due(inside, end) == [end]
    assert once.previous_before(inside) == micros(utc(2026, 10, 25, 0, 45))
    assert once.count(inside, end) == (1, end, end)


@pytest.mark.parametrize(
    "keys",
    [
        {"calendars": ["*:*:*"]},
        {"calendars": ["*:*:*"], "timezone": "Europe/Berlin"},
        {"calendars": ["*:*", "*:*:30"], "timezone": "America/New_York"},
        {"every_us": 1_000_000},
    ],
)
def test_a_clock_that_jumps_by_72_years_is_decided_at_once(keys: dict[str, Any]) -> None:
    table = timetable(**keys)
    after = micros(utc(2026, 6, 1))
    table.count(after, after + HOUR)  # the zone is read, once in a process
    took = []
    for _ in range(5):
        began = perf_counter()
        counted = table.count(after, after + 72 * YEAR)
        took.append(perf_counter() - began)
    assert counted is not None
    assert counted[0] > 72 * 365 * 1440
    assert counted[2] == after + 72 * YEAR
    assert min(took) < 0.05


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"calendars": ["25:00"]}, "hour is 0 to 23"),
        ({"calendars": ["daily"], "timezone": "Nowhere"}, "no time zone is named"),
        ({"calendars": ["daily"], "dst_gap": "x"}, "dst_gap is next or skip"),
        ({"calendars": ["daily"], "dst_repeat": "x"}, "dst_repeat is auto or once"),
        ({"every_us": 0}, "an interval is at least"),
    ],
)
def test_what_cannot_be_read_here_is_an_error(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(CalendarError, match=message):
        timetable(**keys)
