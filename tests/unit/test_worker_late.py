"""Planned starts that passed unseen: which start late, which are caught up, which are missed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bartoc.clockwork import ASLEEP, DISK, DOWN, FORWARD, NO_KEEPER, Away
from bartoc.deciding import NEWER_DUE, NO_SERVER
from bartoc.events import Contact, Opened, RunnerGone
from bartoc.waiting import SPREAD_US
from libbarto.message.v2.record import Claimed, Decided, Waiting
from tests.unit.worker_bench import DAY, HOST, MINUTE, SECOND, T0, Bench, schedule, slots

SPREAD_S = SPREAD_US / SECOND


def test_a_slot_within_start_within_starts_and_says_how_late_it_is() -> None:
    bench = Bench(schedule())
    (start,) = bench.tick(89)
    assert start.order.env["BARTO_LATE"] == "29.000"
    (claimed,) = bench.of(Claimed)
    assert claimed.late_us == 29 * SECOND


def test_with_latest_only_the_newest_of_those_that_are_not_too_old_starts() -> None:
    bench = Bench(schedule(calendar="*:*:0/10"))
    assert slots(bench.tick(31)) == [30]
    assert bench.decided() == [(10, 20, 2, "missed", NEWER_DUE)]


@pytest.mark.parametrize("missed", ["all", "none"])
def test_else_all_of_them_start_the_oldest_first(missed: str) -> None:
    bench = Bench(schedule(calendar="*:*:0/10", missed=missed, overlap="allow"))
    assert slots(bench.tick(31)) == [10, 20, 30]
    assert bench.decided() == []


def test_all_that_are_late_start_under_overlap() -> None:
    bench = Bench(schedule(calendar="*:*:0/10", missed="all"))
    assert slots(bench.tick(31)) == [10]
    assert bench.decided() == [(20, 30, 2, "skipped", "overlap: it was still running")]


def test_the_latest_missed_start_is_caught_up_after_a_while() -> None:
    bench = Bench(schedule(calendar="*:0/30"))
    begin = 1800 - T0 // SECOND % 1800  # the next slot
    bench.tick(begin + 300)
    assert bench.waiting() == [("catch_up", begin, 1)]
    (waits,) = bench.of(Waiting)
    assert waits.why == "catch_up"
    assert waits.until == T0 + (begin + 3600) * SECOND
    assert bench.worker.timetables
    assert slots(bench.run_to(begin + 300 + SPREAD_S + 16)) == [begin]
    assert bench.waiting() == []
    assert bench.decided() == []


def test_with_none_nothing_is_caught_up() -> None:
    bench = Bench(schedule(missed="none"))
    bench.begin()
    bench.tick(100)
    assert bench.decided()[0][:4] == (60, 60, 1, "missed")
    assert bench.waiting() == []


def test_with_all_each_is_caught_up_when_the_one_before_has_ended() -> None:
    bench = Bench(schedule(missed="all"))
    bench.tick(200)
    assert slots(bench.spawned) == [180]
    assert [slot for _, slot, _ in bench.waiting()] == [60, 120]
    bench.run_to(300)
    assert slots(bench.spawned) == [180], "the newer one still runs"
    assert slots(bench.end()) == [60]
    assert slots(bench.end()) == [120]


def test_more_than_can_be_caught_up_at_once_are_the_newest() -> None:
    bench = Bench(schedule(calendar="*:*:*", missed="all"))
    bench.tick(2000)
    assert len(bench.waiting()) == 1000
    assert bench.waiting()[-1][1] == 1969
    (first, last, count, verdict, _) = bench.decided()[0]
    assert (first, last, count, verdict) == (1, 969, 969, "missed")


def test_what_is_older_than_catch_up_is_missed() -> None:
    bench = Bench(schedule(calendar="*:*", missed="all", catch_up_us=2 * MINUTE))
    bench.tick(5 * 60 + 40)
    assert [slot for _, slot, _ in bench.waiting()] == [240, 300]
    assert bench.decided()[0][:4] == (60, 180, 3, "missed")


def test_the_workers_own_catch_up_goes_before_the_schedules() -> None:
    bench = Bench(schedule(missed="all"), host=replace(HOST, catch_up_us=2 * MINUTE))
    bench.tick(5 * 60 + 40)
    assert [slot for _, slot, _ in bench.waiting()] == [240, 300]


def test_a_start_to_be_caught_up_is_missed_by_a_newer_start() -> None:
    bench = Bench(schedule())
    bench.tick(100)
    assert bench.waiting() == [("catch_up", 60, 1)]
    bench.tick(120)
    assert slots(bench.spawned) == [120]
    assert bench.waiting() == []
    assert bench.decided() == [(60, 60, 1, "missed", "too late: a newer one started")]


def test_a_start_to_be_caught_up_is_missed_by_a_newer_one_to_be_caught_up() -> None:
    bench = Bench(schedule())
    bench.tick(100)
    bench.tick(170)
    assert bench.waiting() == [("catch_up", 120, 1)]
    assert bench.decided()[0][4] == "too late: a newer one is to be caught up"


def test_a_start_that_cannot_be_caught_up_in_time_is_missed() -> None:
    bench = Bench(schedule(missed="all", catch_up_us=5 * MINUTE))
    bench.tick(100)
    bench.tick(120)
    (key,) = bench.alive
    bench.take_on(schedule(calendar="2001-01-01", missed="all"))
    bench.run_to(360)
    assert bench.waiting() == [("catch_up", 60, 1)]
    bench.tick(361)
    assert bench.decided() == [
        (60, 60, 1, "missed", "too late: it could not start within catch_up")
    ]
    assert key in bench.alive


def test_nothing_is_caught_up_before_the_host_is_up_for_a_minute() -> None:
    bench = Bench(schedule(calendar="*:0/30"))
    begin = 1800 - T0 // SECOND % 1800
    bench.at = begin + 300
    now = replace(bench.now, boottime=5.0)
    bench.begin()
    bench.worker.clock._last = now
    bench.worker.handle(Contact(), now)
    assert bench.worker.clock.catch_up_from(now) == now.wall + 55 * SECOND


def test_nothing_is_caught_up_within_15_seconds_of_waking() -> None:
    bench = Bench(schedule(missed="all", overlap="allow"))
    bench.tick(10)
    bench.sleep(600)
    bench.tick()
    waits = bench.of(Waiting)
    assert {one.due >= bench.now.wall + 15 * SECOND for one in waits} == {True}
    assert bench.decided() == []


def test_what_is_caught_up_is_spread_over_a_minute_but_not_beyond_its_time() -> None:
    names = [f"s{number}" for number in range(40)]
    bench = Bench(*(schedule(name, catch_up_us=55 * SECOND) for name in names))
    bench.tick(100)  # each has 15 seconds left
    dues = [(one.due - bench.now.wall) / SECOND for one in bench.of(Waiting)]
    assert len(set(dues)) == 40
    assert 0 <= min(dues) < 2
    assert 13 < max(dues) <= 15


def test_what_passed_says_why() -> None:
    bench = Bench(schedule(missed="none"))
    bench.tick(30)
    bench.sleep(200)
    bench.tick()  # 230
    bench.step(300)
    bench.tick(231)  # 531 by the wall
    bench.at = 450  # 750
    bench.begin()
    bench.tick(451)
    why = [(first, last, reason) for first, last, _, _, reason in bench.decided()]
    assert why == [
        (60, 180, ASLEEP),
        (240, 480, FORWARD),
        (540, 720, DOWN),
    ]


def test_a_disk_that_failed_is_said() -> None:
    bench = Bench(schedule(missed="none"))
    bench.at = 200
    bench.begin((Away(0, T0, DOWN), Away(T0, T0 + 150 * SECOND, DISK)))
    bench.tick(200)
    assert [one[-1] for one in bench.decided()] == [DISK]
    assert slots(bench.spawned) == [180]


def test_while_the_keeper_is_away_nothing_starts_and_that_is_said() -> None:
    bench = Bench(schedule(missed="none"))
    bench.handle(RunnerGone())
    assert bench.tick(130) == []
    bench.handle(Opened(()))
    assert slots(bench.tick(130)) == [120]
    assert bench.decided() == [(60, 60, 1, "missed", NO_KEEPER)]


def test_after_offline_max_slots_are_missed_and_those_before_it_are_not() -> None:
    bench = Bench(schedule())
    bench.handle(Contact(T0 - 7 * DAY + 90 * SECOND))
    assert slots(bench.tick(80)) == [60]
    assert bench.tick(121) == []
    assert bench.decided() == [(120, 120, 1, "missed", NO_SERVER)]
    bench.handle(Contact(T0))
    bench.end()
    assert slots(bench.tick(180)) == [180]


def test_what_waits_does_not_start_without_a_server_for_too_long() -> None:
    bench = Bench(schedule(missed="all"))
    bench.tick(100)
    bench.worker.books.contact = T0 - 8 * DAY
    assert bench.run_to(179) == []
    assert bench.waiting() == [("catch_up", 60, 1)]


def test_a_paused_schedule_has_all_its_slots_skipped() -> None:
    bench = Bench(schedule(paused=True, pause_reason="moving house"))
    bench.tick(200)
    assert bench.decided() == [(60, 180, 3, "skipped", "paused: moving house")]
    bench.take_on(schedule())
    assert slots(bench.tick(240)) == [240]


def test_a_pause_ends_by_itself() -> None:
    bench = Bench(schedule(paused=True, paused_until=T0 + 180 * SECOND))
    assert bench.tick(179) == []
    assert slots(bench.tick(180)) == [180]
    assert bench.decided() == [(60, 120, 2, "skipped", "paused")]


def test_a_pause_that_ended_long_ago_does_not_go_back() -> None:
    bench = Bench(schedule(paused=True, paused_until=T0 - 180 * SECOND))
    assert slots(bench.tick(60)) == [60]


def test_what_waits_is_skipped_when_its_schedule_is_paused_or_removed() -> None:
    bench = Bench(schedule(missed="all"))
    bench.tick(100)
    bench.take_on(schedule(missed="all", paused=True))
    assert bench.decided() == [(60, 60, 1, "skipped", "paused")]
    bench = Bench(schedule(missed="all"))
    bench.tick(100)
    bench.take_on(schedule(missed="all", paused=True, paused_as="drained", pause_reason="by ann"))
    assert bench.decided() == [(60, 60, 1, "skipped", "drained: by ann")]
    bench = Bench(schedule(missed="all"))
    bench.tick(100)
    bench.take_on()
    assert bench.decided() == [(60, 60, 1, "skipped", "disabled")]
    assert [one.schedule for one in bench.of(Decided)] == ["tick"]  # the history tells its name
    assert bench.waiting() == []
    assert bench.tick(300) == []


def test_what_waits_is_still_there_after_a_restart() -> None:
    bench = Bench(schedule(missed="all"))
    bench.tick(100)
    bench.begin()
    assert slots(bench.run_to(170)) == [120]
    assert slots(bench.end()) == [60]


def test_what_waits_of_a_schedule_that_is_not_known_here_waits_on() -> None:
    bench = Bench(schedule(missed="all"))
    bench.tick(100)
    bench.worker.books.timetables = {}
    assert bench.run_to(180) == []
    assert len(bench.waiting()) == 1
