"""What comes after an attempt: retries, reruns, the schedules that follow; and starts at boot."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from bartoc.following import RERUNS_MAX, RETRY_DELAY_MAX_US, retry_delay_us
from bartoc.starting import RUN_SPEC, RunSpec
from libbarto.identity import Kind, occurrence_id
from libbarto.message.v2.record import Claimed, Decided, Ended, Waiting
from libbarto.message.v2.schedule import Schedule
from tests.unit.worker_bench import (
    DAY,
    HOST,
    MINUTE,
    SECOND,
    T0,
    UID,
    Bench,
    done,
    schedule,
    slots,
    uid_of,
)

SELDOM = "*:0/30"
FIRST = 1800 - T0 // SECOND % 1800
"""The first slot of `SELDOM`, in seconds after T0."""


def started(spec: Schedule, **more: object) -> Bench:
    """A worker on which `spec` has started."""
    bench = Bench(spec, **more)  # type: ignore[arg-type]
    bench.tick(FIRST)
    return bench


# -- retries --------------------------------------------------------------------------------------


def test_a_failed_attempt_is_retried_and_the_verdict_is_the_last_ones() -> None:
    spec = schedule(calendar=SELDOM, retries=2)
    bench = started(spec)
    assert bench.end(3) == []
    (waits,) = bench.of(Waiting)
    assert (waits.why, waits.attempt, waits.until) == ("retry", 2, None)
    due = T0 + FIRST * SECOND + retry_delay_us(spec, waits.run_id, 1)
    assert waits.due == due
    bench.run_to((due - T0) / SECOND - 0.01)
    assert len(bench.spawned) == 1
    (again,) = bench.run_to((due - T0) / SECOND)
    assert (again.order.attempt, again.order.slot) == (2, None)
    assert again.order.env["BARTO_ATTEMPT"] == "2"
    bench.end(0)
    assert bench.ended() == [(1, "failed", "exit 3", False), (2, "ok", "", True)]
    first, second = bench.of(Claimed)
    assert first.run_id == second.run_id


def test_after_the_last_retry_it_has_failed() -> None:
    bench = started(schedule(calendar=SELDOM, retries=1, retry_delay_us=SECOND))
    bench.end(3)
    bench.run_to(FIRST + 1)
    bench.end(4)
    assert bench.ended() == [(1, "failed", "exit 3", False), (2, "failed", "exit 4", True)]
    assert bench.waiting() == []


def test_a_timeout_is_retried_and_a_cancelled_run_is_not() -> None:
    bench = started(schedule(calendar=SELDOM, retries=1))
    bench.end(None, timed_out=True)
    assert bench.waiting()[0][0] == "retry"
    bench = started(schedule(calendar=SELDOM, retries=1))
    bench.end(None, cancelled=True)
    assert bench.ended() == [(1, "cancelled", "it was stopped", True)]


def test_the_delay_doubles_is_jittered_and_at_most_ten_minutes() -> None:
    spec = schedule(retry_delay_us=30 * SECOND)
    for attempt, base in ((1, 30), (2, 60), (3, 120), (6, 600), (40, 600), (60_000, 600)):
        delays = {retry_delay_us(spec, bytes([n]) * 16, attempt) for n in range(50)}
        assert min(delays) >= 0.8 * base * SECOND
        assert max(delays) <= base * SECOND
        assert len(delays) > 40
    assert max(delays) <= RETRY_DELAY_MAX_US


def test_a_run_that_waits_for_a_retry_counts_as_running() -> None:
    bench = Bench(schedule(retries=1, retry_delay_us=10 * MINUTE))
    bench.tick(60)
    bench.end(1)
    bench.tick(120)
    assert bench.decided() == [(120, 120, 1, "skipped", "overlap: it was still running")]


def test_a_retry_waits_while_another_run_of_its_schedule_is_alive() -> None:
    bench = Bench(schedule(overlap="allow", retries=1, retry_delay_us=90 * SECOND))
    bench.tick(60)
    bench.end(1)
    bench.tick(120)
    bench.take_on(schedule(calendar="2001-01-01", overlap="skip", retries=1))
    assert bench.run_to(200) == []
    bench.at = 200
    (again,) = bench.end(0)
    assert again.order.attempt == 2


def test_with_allow_a_retry_waits_for_nobody() -> None:
    bench = Bench(schedule(overlap="allow", retries=1, retry_delay_us=40 * SECOND))
    bench.tick(60)
    bench.end(1)
    started = bench.run_to(125)
    assert [spawn.order.attempt for spawn in started] == [2, 1]


def test_with_replace_a_rerun_stops_the_one_that_it_had_replaced_again() -> None:
    spec = schedule(overlap="replace", rerun_interrupted=True, retry_delay_us=SECOND)
    bench = Bench(spec)
    (old,) = bench.tick(60)
    bench.tick(120)
    bench.begin()  # the claim of the new one is settled: it did not start
    assert bench.ended() == [(1, "interrupted", "did not start", False)]
    bench.cancels.clear()
    bench.run_to(122)
    assert bench.cancels == [(old.order.run_id, 1)]
    (again,) = bench.end(None, (old.order.run_id, 1), cancelled=True)
    assert (slots([again]), again.order.attempt) == ([120], 2)


def test_a_retry_waits_for_room() -> None:
    bench = Bench(
        schedule("a", retries=1, retry_delay_us=SECOND),
        schedule("b", overlap="allow"),
        host=replace(HOST, max_running=2),
    )
    one, two = bench.tick(60)
    (mine,) = [s for s in (one, two) if s.order.env["BARTO_SCHEDULE"] == "a"]
    bench.end(1, (mine.order.run_id, 1))
    bench.offer(schedule("c"))
    assert bench.run_to(70) == []
    assert bench.waiting()[0][0] == "retry"


def test_what_was_removed_while_it_ran_is_not_tried_again() -> None:
    bench = started(schedule(calendar=SELDOM, retries=1, retry_delay_us=SECOND))
    bench.take_on()
    bench.end(3)
    assert bench.waiting() == []
    assert bench.ended() == [(1, "failed", "exit 3", True)]
    assert bench.run_to(FIRST + 60) == []


def test_retries_go_by_the_schedule_as_it_is_now() -> None:
    spec = schedule(calendar=SELDOM, retries=1, retry_delay_us=SECOND)
    bench = started(spec)
    bench.end(1)
    mended = schedule(calendar=SELDOM, retries=1, env={"MENDED": "yes"})
    bench.take_on(mended)
    (again,) = bench.run_to(FIRST + 2)
    assert again.order.env["MENDED"] == "yes"


@pytest.mark.parametrize("how", ["removed", "paused", "cancelled"])
def test_a_run_that_waits_for_a_retry_ends_there(how: str) -> None:
    spec = schedule(calendar=SELDOM, retries=1, retry_delay_us=10 * MINUTE)
    bench = started(spec)
    (run_id,) = {key[0] for key in bench.alive}
    bench.end(9)
    if how == "cancelled":
        assert bench.cancel(run_id)
    else:
        bench.take_on(*([schedule(calendar=SELDOM, paused=True)] if how == "paused" else []))
    assert bench.ended() == [(1, "failed", "exit 9", False), (1, "failed", "exit 9", True)]
    first, second = bench.of(Ended)
    assert msgspec.structs.replace(first, final=True) == second
    assert bench.run_to(FIRST + 1200) == []
    assert bench.waiting() == []


def test_a_run_that_goes_on_when_its_schedule_is_removed_is_not_hindered() -> None:
    bench = started(schedule(calendar=SELDOM))
    bench.take_on()
    bench.end(0)
    assert bench.ended() == [(1, "ok", "", True)]


def test_a_retry_survives_a_restart_and_a_reboot() -> None:
    bench = started(schedule(calendar=SELDOM, retries=1, retry_delay_us=SECOND))
    bench.end(1)
    bench.begin()
    bench.reboot()
    (again,) = bench.run_to(FIRST + 2)
    assert again.order.attempt == 2


def test_a_retry_of_a_run_older_than_the_floor_is_made() -> None:
    bench = started(schedule(calendar=SELDOM, retries=1, retry_delay_us=SECOND))
    bench.at += 9 * DAY / SECOND
    done(bench.journal.prune(0, 0, T0 + DAY))
    bench.end(1)
    bench.at += 2
    (again,) = bench.tick()
    assert again.order.attempt == 2


def test_a_claim_of_an_earlier_release_is_not_retried_and_ends_as_ever() -> None:
    bench = started(schedule(calendar=SELDOM, retries=1))
    (key,) = bench.alive
    run = bench.journal._open[key]
    old = RUN_SPEC.encode(RunSpec(schedule="tick", commands=["true"]))
    bench.journal._open[key] = replace(run, claim=replace(run.claim, spec=old))
    bench.begin()
    bench.end(1)
    assert bench.ended() == [(1, "failed", "exit 1", True)]


# -- reruns ---------------------------------------------------------------------------------------


def test_an_interrupted_run_is_not_rerun_unless_its_schedule_says_so() -> None:
    bench = started(schedule(calendar=SELDOM, retries=5))
    bench.vanish()
    assert bench.ended() == [(1, "interrupted", "may or may not have started", True)]


def test_an_interrupted_run_is_rerun_three_times_at_most() -> None:
    bench = started(schedule(calendar=SELDOM, rerun_interrupted=True, retry_delay_us=SECOND))
    for attempt in range(1, RERUNS_MAX + 2):
        assert [key[1] for key in bench.alive] == [attempt]
        bench.vanish()
        bench.run_to(bench.at + 10)
    assert [(number, final) for number, _, _, final in bench.ended()] == [
        (1, False),
        (2, False),
        (3, False),
        (4, True),
    ]


def test_a_reboot_gives_interrupted_and_then_a_rerun() -> None:
    bench = started(schedule(calendar=SELDOM, rerun_interrupted=True, retry_delay_us=SECOND))
    bench.reboot()
    assert bench.ended() == [(1, "interrupted", "may or may not have started", False)]
    (again,) = bench.run_to(FIRST + 2)
    assert again.order.attempt == 2


def test_retries_and_reruns_are_counted_apart() -> None:
    spec = schedule(calendar=SELDOM, rerun_interrupted=True, retries=1, retry_delay_us=SECOND)
    bench = started(spec)
    bench.vanish()
    bench.run_to(FIRST + 2)
    bench.end(1)
    bench.run_to(FIRST + 10)
    assert [key[1] for key in bench.alive] == [3]
    bench.end(1)
    assert bench.ended()[-1] == (3, "failed", "exit 1", True)


# -- follow-ups -----------------------------------------------------------------------------------


def after(name: str, parent: str, when: str = "ok", **more: object) -> Schedule:
    return schedule(name, None, after=uid_of(parent), when=when, **more)


def test_a_follow_up_starts_when_its_parent_has_ended_well() -> None:
    bench = Bench(schedule("backup", SELDOM), after("copy", "backup"))
    (parent,) = bench.tick(FIRST)
    bench.at += 100
    (copy,) = bench.end(0)
    slot = T0 + FIRST * SECOND
    assert copy.order.run_id == occurrence_id(
        Kind.FOLLOW, uid_of("copy"), UID, slot, parent.order.run_id
    )
    assert slots([copy]) == [FIRST]
    claimed = bench.of(Claimed)[-1]
    assert (claimed.kind, claimed.slot, claimed.cause) == (Kind.FOLLOW, slot, parent.order.run_id)
    assert [type(record).__name__ for record in bench.records][-3:] == [
        "Ended",
        "Waiting",
        "Claimed",
    ]


@pytest.mark.parametrize(
    ("when", "code", "starts"),
    [
        ("ok", 0, True),
        ("ok", 1, False),
        ("failed", 0, False),
        ("failed", 1, True),
        ("always", 0, True),
        ("always", 1, True),
        ("sometimes", 0, False),
    ],
)
def test_a_follow_up_looks_at_its_parents_verdict(when: str, code: int, starts: bool) -> None:
    bench = Bench(schedule("backup", SELDOM), after("copy", "backup", when))
    bench.tick(FIRST)
    assert bool(bench.end(code)) == starts


def test_a_follow_up_waits_for_the_last_attempt() -> None:
    spec = schedule("backup", SELDOM, retries=1, retry_delay_us=SECOND)
    bench = Bench(spec, after("alarm", "backup", "failed"))
    bench.tick(FIRST)
    assert bench.end(1) == []
    bench.run_to(FIRST + 2)
    (alarm,) = bench.end(1)
    assert alarm.order.env["BARTO_SCHEDULE"] == "alarm"


def test_a_retry_that_is_given_up_is_followed_too() -> None:
    spec = schedule("backup", SELDOM, retries=1, retry_delay_us=10 * MINUTE)
    bench = Bench(spec, after("alarm", "backup", "failed"))
    bench.tick(FIRST)
    (run_id,) = {key[0] for key in bench.alive}
    bench.end(1)
    bench.cancel(run_id)
    (alarm,) = bench.tick()
    assert alarm.order.env["BARTO_SCHEDULE"] == "alarm"


def test_follow_ups_make_chains() -> None:
    bench = Bench(schedule("a", SELDOM), after("b", "a"), after("c", "b"))
    bench.tick(FIRST)
    (b,) = bench.end(0)
    (c,) = bench.end(0)
    assert [s.order.env["BARTO_SCHEDULE"] for s in (b, c)] == ["b", "c"]
    assert slots([c]) == [FIRST]


def test_a_follow_up_outlives_a_crash_right_after_its_parents_end() -> None:
    bench = Bench(schedule("backup", SELDOM), after("copy", "backup"))
    bench.tick(FIRST)
    bench.worker.stopping = True
    bench.end(0)
    assert bench.waiting() == [("follow", FIRST, 1)]
    bench.begin()
    (copy,) = bench.tick()
    assert copy.order.env["BARTO_SCHEDULE"] == "copy"


def test_a_follow_up_that_cannot_start_in_time_is_missed() -> None:
    bench = Bench(schedule("backup", SELDOM), after("copy", "backup", catch_up_us=MINUTE))
    bench.tick(FIRST)
    bench.worker.stopping = True
    bench.end(0)
    bench.at += 90
    bench.begin()
    assert bench.tick() == []
    (missed,) = bench.of(Decided)
    assert (missed.kind, missed.run_id is not None) == (Kind.FOLLOW, True)
    assert missed.reason.startswith("too late")


def test_a_follow_up_of_a_paused_schedule_is_skipped() -> None:
    bench = Bench(schedule("backup", SELDOM), after("copy", "backup", paused=True))
    bench.tick(FIRST)
    assert bench.end(0) == []
    (skipped,) = bench.of(Decided)
    assert (skipped.reason, skipped.kind) == ("paused", Kind.FOLLOW)


def test_a_follow_up_is_judged_by_overlap() -> None:
    bench = Bench(schedule("quick", overlap="allow"), after("slow", "quick"))
    bench.tick(60)
    bench.end(0)
    (slow,) = bench.alive
    bench.tick(120)
    (quick,) = [key for key in bench.alive if key != slow]
    assert bench.end(0, quick) == []
    (skipped,) = bench.of(Decided)
    assert (skipped.kind, skipped.reason) == (Kind.FOLLOW, "overlap: it was still running")


def test_a_follow_up_on_a_full_worker_waits_for_start_within() -> None:
    bench = Bench(schedule("a", SELDOM), after("b", "a"))
    bench.tick(FIRST)
    (a,) = bench.alive
    bench.offer(schedule("long"))
    bench.worker.books.host = replace(HOST, max_running=1)
    bench.end(0, a)
    assert [why for why, _, _ in bench.waiting()] == ["worker_full"]
    bench.run_to(FIRST + 29)
    assert bench.decided() == []
    bench.run_to(FIRST + 31)
    assert [one[4] for one in bench.decided()] == ["worker full"]


# -- boot -----------------------------------------------------------------------------------------


def boot(**more: object) -> Schedule:
    return schedule("boot", None, on_boot=True, **more)


def test_what_starts_at_boot_starts_once_in_each_boot_but_not_in_the_one_it_came_in() -> None:
    bench = Bench(boot())
    assert bench.run_to(100) == []
    bench.begin()
    assert bench.tick() == []
    bench.reboot()
    (start,) = bench.tick(200)
    assert start.order.env["BARTO_SCHEDULE"] == "boot"
    (claimed,) = bench.of(Claimed)
    assert (claimed.slot, claimed.kind) == (T0 + 200 * SECOND, Kind.CALENDAR)
    bench.end()
    bench.begin()
    assert bench.run_to(300) == []
    bench.reboot(b"d" * 16)
    assert len(bench.tick()) == 1


def test_an_edit_does_not_start_it_again() -> None:
    bench = Bench(boot())
    bench.reboot()
    bench.tick(10)
    bench.end()
    bench.take_on(boot(nice=5))
    assert bench.run_to(20) == []


def test_at_boot_a_paused_or_lonely_schedule_has_its_verdict() -> None:
    bench = Bench(boot(paused=True))
    bench.reboot()
    bench.tick(10)
    assert bench.decided() == [(10, 10, 1, "skipped", "paused")]
    bench = Bench(boot())
    bench.worker.books.contact = bench.journal._contact = T0 - 30 * DAY
    bench.reboot()
    bench.tick(10)
    assert bench.decided() == [(10, 10, 1, "missed", "no server for longer than offline_max")]


def test_at_boot_overlap_counts() -> None:
    spec = boot()
    bench = Bench(spec)
    bench.offer(spec)
    bench.worker.books.boots.clear()
    bench.tick(5)
    assert bench.decided() == [(5, 5, 1, "skipped", "overlap: it was still running")]
