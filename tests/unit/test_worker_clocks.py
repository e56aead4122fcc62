"""Clocks that were wrong: nothing twice, nothing early, nothing vanishes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bartoc.clockwork import CLOCK_PATIENCE_S, WRONG, Away, Clockwork, explained, floor
from bartoc.deciding import NO_SERVER
from bartoc.events import Contact, Note, Now, Recall, Tick
from libbarto.identity import Kind
from libbarto.message.v2.record import Claimed, ClockBack, Decided
from tests.unit.worker_bench import DAY, HOST, HOUR, MINUTE, SECOND, T0, Bench, schedule, slots

YEAR_S = 365 * 86_400


def put_back(bench: Bench, seconds: float) -> None:
    """The clock is put back, and accepted after two minutes."""
    bench.step(-seconds)
    bench.tick(bench.at + 1)
    bench.tick(bench.at + CLOCK_PATIENCE_S)


def test_a_slot_that_has_a_run_is_left_out_when_it_is_due_again() -> None:
    bench = Bench(schedule(overlap="allow", missed="all"))
    bench.run_to(190)
    assert slots(bench.spawned) == [60, 120, 180]
    put_back(bench, 240)  # it reads 71
    assert [one.now for one in bench.of(ClockBack)] == [bench.now.wall]
    bench.run_to(bench.at + 200)
    assert slots(bench.spawned) == [60, 120, 180, 240]
    assert bench.decided() == []


def test_a_slot_that_has_a_run_is_left_out_of_every_range() -> None:
    bench = Bench(schedule(overlap="allow", missed="none"))
    bench.run_to(190)
    put_back(bench, 280)  # it reads 31
    bench.begin()
    bench.tick(bench.at + 300)
    bench.tick(bench.at + 60)
    ranges = [(first, last, count) for first, last, count, _, _ in bench.decided()]
    assert ranges[0] == (240, 300, 2)


def test_ranges_lie_between_the_slots_that_have_a_run() -> None:
    bench = Bench(schedule("tick", "*:0/1", missed="none"))
    bench.tick(125)
    put_back(bench, 200)
    assert bench.worker.books.ran == {schedule().uid: {T0 + 120 * SECOND}}
    bench.tick(bench.at + 300)
    ranges = [(first, last, count) for first, last, count, _, _ in bench.decided()[1:]]
    assert ranges == [(60, 60, 1), (180, 300, 3)]
    bench.tick(bench.at + 60)
    assert bench.worker.books.ran == {schedule().uid: set()}


def test_nothing_is_decided_until_the_journal_has_told_what_lies_ahead() -> None:
    bench = Bench(schedule())
    bench.tick(190)
    bench.step(-3600)
    bench.tick(191)
    at = bench.now
    later = replace(at, boottime=at.boottime + 200, wall=at.wall + 200 * SECOND)
    effects = bench.worker.handle(Tick(), later)
    assert not bench.worker._able
    assert bench.worker.next_due(later) == 1.0
    assert effects


def test_a_clock_of_the_year_2098_and_back() -> None:
    bench = Bench(schedule(calendar="*:*:*"))
    bench.handle(Contact(T0))
    bench.tick(1)
    bench.end()
    bench.step(71 * YEAR_S)
    bench.tick(2)
    missed = bench.of(Decided)[-1]
    assert (missed.count, missed.reason) == (71 * YEAR_S - 7 * 86_400 + 2, NO_SERVER)
    bench.step(-71 * YEAR_S)
    bench.tick(3)
    assert len(bench.spawned) == 1
    bench.tick(3 + CLOCK_PATIENCE_S)
    bench.tick()
    bench.tick()
    assert len(bench.of(ClockBack)) == 1
    bench.tick(bench.at + 1)
    assert slots(bench.spawned) == [1, bench.at]


def test_what_waits_ahead_of_the_clock_is_dropped_as_it_will_be_due_again() -> None:
    bench = Bench(schedule(missed="all", catch_up_us=2 * HOUR))
    bench.step(3600)
    bench.tick(30)
    count = len(bench.waiting())
    assert count > 50
    put_back(bench, 3600)
    assert [slot for _, slot, _ in bench.waiting()] == [60, 120]
    bench.run_to(bench.at + 300)
    assert len(set(slots(bench.spawned))) == len(bench.spawned)


def test_a_retry_waits_at_most_its_own_delay_from_now() -> None:
    bench = Bench(schedule(retries=1, retry_delay_us=10 * MINUTE))
    bench.tick(60)
    bench.step(3600)
    bench.end(1)
    put_back(bench, 3600)
    assert [why for why, _, _ in bench.waiting()] == ["retry"]
    (waiting,) = bench.worker.books.waiting.values()
    assert waiting.due <= bench.now.wall + 10 * MINUTE


def test_orders_and_what_starts_at_boot_are_not_dropped() -> None:
    bench = Bench(
        schedule("a"), schedule("b", None, on_boot=True), host=replace(HOST, max_running=1)
    )
    bench.step(3600)
    bench.tick(1)
    bench.worker.books.boots.clear()
    bench.tick(2)
    bench.offer(schedule("c"))
    assert len(bench.waiting()) == 2
    put_back(bench, 3600)
    assert len(bench.waiting()) == 2
    assert {one.until for one in bench.worker.books.waiting.values()} == {
        bench.now.wall + 30 * SECOND
    }


def test_what_waits_behind_the_clock_waits_no_longer_than_it_would_have() -> None:
    spec = schedule("x", "2001-01-01", overlap="queue")
    bench = Bench(spec)
    bench.step(3600)
    bench.offer(spec, slot=T0)
    bench.offer(spec, slot=T0 + 1)
    put_back(bench, 3600)
    (waiting,) = bench.worker.books.waiting.values()
    assert waiting.until == bench.now.wall + HOUR
    assert waiting.due == bench.now.wall + 120 * SECOND
    assert bench.journal._waiting == {waiting.run_id: waiting}


def test_what_has_its_time_is_left_alone() -> None:
    bench = Bench(schedule("x", overlap="queue"))
    bench.tick(600)
    bench.offer(schedule("x", overlap="queue"))
    until = next(iter(bench.worker.books.waiting.values())).until
    bench.worker.books.newest += 100 * SECOND  # as if a later reading had been gone by
    bench.tick(601)
    bench.tick(601 + CLOCK_PATIENCE_S - 60)
    bench.offset_us = 5
    bench.tick()
    assert next(iter(bench.worker.books.waiting.values())).until == until


def test_a_retry_of_a_schedule_that_is_not_known_here_is_due_within_ten_minutes() -> None:
    bench = Bench(schedule(retries=1, retry_delay_us=10 * MINUTE))
    bench.tick(60)
    bench.step(3600)
    bench.end(1)
    (waiting,) = bench.worker.books.waiting.values()
    bench.worker.books.waiting[waiting.run_id] = replace(waiting, spec=b"")
    bench.worker.books.timetables = {}
    put_back(bench, 3600)
    (waiting,) = bench.worker.books.waiting.values()
    assert waiting.due == bench.now.wall + 10 * MINUTE


def test_every_instant_after_which_slots_count_comes_back_with_the_clock() -> None:
    bench = Bench(schedule("early"))
    bench.step(3600)
    bench.take_on(schedule("early"), schedule("late"))
    put_back(bench, 3600)
    here = bench.now.wall
    late = schedule("late").uid
    assert bench.worker.books.since == {schedule("early").uid: T0, late: here}
    assert bench.worker.books.cursors[late] == here


def test_nothing_fires_before_the_day_this_program_was_made() -> None:
    bench = Bench(host=replace(HOST, built=T0 + DAY))
    bench.take_on(schedule())
    assert bench.worker.generation == 0
    bench.run_to(CLOCK_PATIENCE_S - 1)
    assert bench.records == []
    bench.run_to(CLOCK_PATIENCE_S + 2)
    assert bench.worker.generation == 1
    assert bench.of(ClockBack) == [], "there was no later reading"
    assert slots(bench.run_to(180)) == [180]


def test_a_clock_that_was_wrong_says_so() -> None:
    bench = Bench(schedule(missed="none"))
    bench.tick(60)
    bench.worker.books.newest += 300 * SECOND
    bench.tick(61)
    bench.tick(61 + CLOCK_PATIENCE_S)
    assert any(isinstance(effect, Recall) for effect in bench.effects)
    bench.tick()
    assert bench.decided()[0][-1] == WRONG


def test_a_claim_below_the_floor_has_a_verdict() -> None:
    bench = Bench(schedule())
    bench.tick(1)
    bench.journal._floor = T0 + 90 * SECOND
    assert bench.tick(60) == []
    assert bench.decided() == [
        (60, 60, 1, "missed", "too old: whether it has run is not remembered that long")
    ]
    assert bench.worker.runs == {}
    assert slots(bench.tick(120)) == [120]


def test_no_cursor_falls_below_the_floor() -> None:
    bench = Bench(schedule())
    bench.tick(60)
    bench.journal._floor = T0 + 30 * SECOND
    bench.begin()
    put_back(bench, 3600)
    assert bench.worker.books.cursors == {schedule().uid: T0 + 30 * SECOND}
    assert bench.journal._cursors == {schedule().uid: T0 + 30 * SECOND}
    told = [one.now for one in bench.of(ClockBack)]
    assert told == [T0 + 30 * SECOND], "what lies before stays decided"


@pytest.mark.parametrize("seconds", [-3600, 3600, -2, 2])
def test_a_step_of_the_clock_starts_nothing_twice_and_nothing_early(seconds: float) -> None:
    bench = Bench(schedule(overlap="allow"))
    bench.run_to(150)
    bench.step(seconds)
    for _ in range(60):
        before = len(bench.spawned)
        bench.run_to(bench.at + 61)
        for spawn in bench.spawned[before:]:
            slot = spawn.order.slot
            assert slot is not None and slot <= bench.now.wall
    assert len({spawn.order.run_id for spawn in bench.spawned}) == len(bench.spawned)
    assert len({one.slot for one in bench.of(Claimed)}) == len(bench.of(Claimed))


def test_manual_runs_are_no_slots_of_the_calendar() -> None:
    bench = Bench(schedule(overlap="allow"))
    bench.tick(60)
    bench.at = 100
    bench.offer(schedule(overlap="allow"), slot=T0 + 120 * SECOND, kind=Kind.MANUAL)
    bench.begin()
    assert bench.worker.books.ran == {}
    assert slots(bench.tick(120)) == [120]


# -- the pieces -----------------------------------------------------------------------------------


def test_a_span_is_explained_in_pieces() -> None:
    away = [Away(0, 5, "a"), Away(3, 8, "b")]
    assert explained(2, 10, away, "-") == [(2, 5, "a"), (5, 8, "b"), (8, 10, "-")]
    assert explained(1, 2, [], "-") == [(1, 2, "-")]


def test_only_so_many_absences_are_remembered() -> None:
    clock = Clockwork(Now(0, 0.0))
    for number in range(100):
        clock.was_away(Away(number, number + 1, "x"))
    clock.was_away(Away(5, 5, "nothing"))
    assert len(clock.away) == 33
    assert clock.notes == []


def test_the_floor_is_the_earlier_of_two_clocks_less_a_week() -> None:
    assert floor(100 * DAY, 50 * DAY) == 43 * DAY
    assert floor(50 * DAY, 100 * DAY) == 43 * DAY
    assert floor(50 * DAY, 0) == 0


def test_a_note_tells_of_a_doubted_clock_once() -> None:
    bench = Bench(schedule())
    bench.tick(60)
    bench.step(-100)
    for at in range(61, 70):
        bench.tick(at)
    notes = [effect for effect in bench.effects if isinstance(effect, Note)]
    assert len([note for note in notes if "earlier" in note.message]) == 1
