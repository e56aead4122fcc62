"""A start while a run of its schedule goes on, or while the worker is full."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bartoc.events import Cancel, Commit, Committed, HeldBack, Key, Opened, Spawn, Tick
from bartoc.journal import merged
from bartoc.overlap import FULL, NEWER_RUNNING, NEWER_WAITS, STILL_RUNNING
from bartoc.runner import AttemptEnded, Known, RunState
from bartoc.worker import Worker
from libbarto.identity import Kind
from libbarto.message.v2.record import Claimed, Decided, Waiting
from tests.unit.worker_bench import HOST, MINUTE, SECOND, T0, Bench, done, schedule, slots

FULL_HOST = replace(HOST, max_running=1)


# -- queue ----------------------------------------------------------------------------------------


def test_queue_holds_the_newest_and_starts_it_when_the_run_before_has_ended() -> None:
    bench = Bench(schedule(overlap="queue"))
    assert slots(bench.run_to(190)) == [60]
    assert bench.waiting() == [("queue", 180, 1)]
    assert bench.decided() == [(120, 120, 1, "skipped", NEWER_WAITS)]
    assert slots(bench.end()) == [180]
    assert bench.waiting() == []
    assert [one.slot for one in bench.of(Claimed)] == [T0 + MINUTE, T0 + 3 * MINUTE]


def test_what_is_queued_for_longer_than_catch_up_is_skipped() -> None:
    bench = Bench(schedule(calendar="*:0/30", overlap="queue", catch_up_us=10 * MINUTE))
    begin = 1800 - T0 // SECOND % 1800
    bench.run_to(begin + 1800)
    assert bench.waiting() == [("queue", begin + 1800, 1)]
    bench.run_to(begin + 1800 + 601)
    assert bench.waiting() == []
    assert bench.decided()[-1][3:] == ("skipped", f"{STILL_RUNNING} for longer than catch_up")


def test_an_older_start_does_not_displace_the_one_that_is_queued() -> None:
    spec = schedule(overlap="queue")
    bench = Bench(spec)
    bench.run_to(125)
    bench.offer(spec, slot=T0 + 100 * SECOND)
    assert bench.waiting() == [("queue", 120, 1)]
    (skipped,) = bench.of(Decided)
    assert (skipped.reason, skipped.kind) == (NEWER_WAITS, Kind.MANUAL)


def test_a_queued_start_outlives_a_restart() -> None:
    bench = Bench(schedule(overlap="queue"))
    bench.run_to(125)
    bench.begin()
    assert bench.tick() == []
    assert slots(bench.end()) == [120]


def test_a_queued_start_whose_claim_is_there_already_is_gone() -> None:
    bench = Bench(schedule(overlap="queue"))
    bench.run_to(125)
    bench.journal._claims[next(iter(bench.worker.books.waiting)), 1] = next(
        iter(bench.journal._claims.values())
    )
    assert bench.end() == []
    assert bench.waiting() == []


# -- replace --------------------------------------------------------------------------------------


def test_replace_claims_stops_the_old_and_starts_when_it_is_gone() -> None:
    bench = Bench(schedule(overlap="replace"))
    (old,) = bench.tick(60)
    assert bench.tick(120) == []
    old_key = (old.order.run_id, 1)
    assert bench.cancels == [old_key]
    assert [one.slot for one in bench.of(Claimed)] == [T0 + MINUTE, T0 + 2 * MINUTE]
    bench.at = 150
    (new,) = bench.end(None, old_key, cancelled=True)
    assert slots([new]) == [120]
    assert new.order.deadline == 1000 + 150 + 30, "its time counts from when the old one is gone"
    assert bench.ended() == [(1, "cancelled", "a newer start replaced it", True)]


def test_a_run_that_was_replaced_is_not_retried_however_it_ended() -> None:
    bench = Bench(schedule(overlap="replace", retries=3))
    (old,) = bench.tick(60)
    bench.tick(120)
    bench.end(1, (old.order.run_id, 1))
    assert bench.ended() == [(1, "failed", "exit 1", True)]
    assert bench.waiting() == []


def test_a_start_that_is_replaced_before_it_began_never_does() -> None:
    bench = Bench(schedule(overlap="replace"))
    (old,) = bench.tick(60)
    bench.tick(120)
    bench.tick(180)
    assert bench.ended() == [(1, "cancelled", "did not start: a newer start replaced it", True)]
    assert slots(bench.end(None, (old.order.run_id, 1), cancelled=True)) == [180]


def test_of_several_due_at_once_each_replaces_the_one_before() -> None:
    bench = Bench(schedule(calendar="*:*:0/10", overlap="replace", missed="all"))
    assert slots(bench.tick(30)) == [30]
    assert len(bench.ended()) == 2
    assert bench.cancels == []


def test_a_start_older_than_the_one_that_runs_is_skipped() -> None:
    spec = schedule(overlap="replace")
    bench = Bench(spec)
    bench.tick(60)
    bench.offer(spec, slot=T0 + 59 * SECOND)
    assert bench.decided()[0][4] == NEWER_RUNNING
    assert bench.cancels == []


def test_when_the_keeper_is_opened_anew_a_start_that_waits_for_it_did_not_start() -> None:
    bench = Bench(schedule(overlap="replace"))
    (old,) = bench.tick(60)
    bench.tick(120)
    bench.begin()
    assert bench.ended() == [(1, "interrupted", "did not start", True)]
    assert list(bench.worker.runs) == [(old.order.run_id, 1)]


def died_before_the_stop(bench: Bench) -> tuple[Key, Key]:
    """A start is to replace one that runs; bartoc dies once its claim is committed, and nobody was
    told to stop. Which run, and which was to replace it."""
    (old,) = bench.tick(60)
    bench.at = 120
    (commit,) = bench.worker.handle(Tick(), bench.now)
    assert isinstance(commit, Commit)
    (new,) = done(bench.journal.commit(commit.transaction))
    return (old.order.run_id, 1), new


def test_the_old_run_is_stopped_though_bartoc_dies_between_claim_and_stop() -> None:
    bench = Bench(schedule(overlap="replace"))
    old, _ = died_before_the_stop(bench)
    bench.begin()
    assert bench.cancels == [old]
    bench.end(None, old, cancelled=True)
    assert bench.ended() == [
        (1, "interrupted", "did not start", True),
        (1, "cancelled", "a newer start replaced it", True),
    ]
    bench.begin()
    assert bench.cancels == [old], "and that is all"


def test_it_is_stopped_also_where_it_is_taken_up_after_the_one_that_replaces_it() -> None:
    bench = Bench(schedule(overlap="replace"))
    old, new = died_before_the_stop(bench)
    bench.worker = Worker(done(bench.journal.load()), bench.host, bench.now)
    bench.worker.handle(Opened((Known(*old, RunState.RUNNING, 0),)), bench.now)
    bench.handle(HeldBack(*new, ()))
    assert bench.cancels == []
    bench.handle(HeldBack(*old, ()))
    assert bench.cancels == [old]


def test_one_that_is_over_already_is_not_stopped() -> None:
    bench = Bench(schedule(overlap="replace"))
    old, _ = died_before_the_stop(bench)
    bench.worker = Worker(done(bench.journal.load()), bench.host, bench.now)
    bench.handle(Opened((Known(*old, RunState.ENDED, 0),)))
    bench.end(0, old)
    assert bench.cancels == []
    assert [one[1] for one in bench.ended()] == ["interrupted", "ok"]


def test_nothing_newer_is_stopped_for_a_start_that_did_not_replace_it() -> None:
    bench = Bench(schedule(overlap="replace"))
    old, new = died_before_the_stop(bench)
    bench.worker = Worker(done(bench.journal.load()), bench.host, bench.now)
    bench.worker.handle(Opened((Known(*old, RunState.RUNNING, 0),)), bench.now)
    bench.take_on(schedule(overlap="allow"))
    (newer,) = bench.tick(180)
    bench.handle(HeldBack(*new, ()))
    bench.handle(HeldBack(*old, ()))
    assert bench.cancels == [old]
    assert bench.worker.runs[newer.order.run_id, 1].stopped == ""


def test_one_that_was_cancelled_meanwhile_is_not_told_twice() -> None:
    bench = Bench(schedule(overlap="replace"))
    old, new = died_before_the_stop(bench)
    bench.worker = Worker(done(bench.journal.load()), bench.host, bench.now)
    bench.worker.handle(Opened((Known(*old, RunState.RUNNING, 0),)), bench.now)
    bench.handle(HeldBack(*old, ()))
    bench.cancel(old[0], "enough")
    bench.handle(HeldBack(*new, ()))
    assert bench.cancels == [old]
    assert bench.worker.runs[old].stopped == "cancelled: enough"


def test_with_any_other_policy_nothing_is_stopped() -> None:
    bench = Bench(schedule(overlap="allow"))
    died_before_the_stop(bench)
    bench.begin()
    assert bench.cancels == []


def test_in_one_life_the_old_run_is_told_again_to_end_when_the_keeper_is_back() -> None:
    bench = Bench(schedule(overlap="replace"))
    (old,) = bench.tick(60)
    bench.tick(120)
    bench.cancels.clear()
    bench.handle(Opened((Known(old.order.run_id, 1, RunState.RUNNING, 0),)))
    assert bench.cancels == [(old.order.run_id, 1)]


def test_a_start_that_waits_for_a_retry_ends_when_it_is_replaced() -> None:
    bench = Bench(schedule(overlap="replace", retries=3, retry_delay_us=10 * MINUTE))
    bench.tick(60)
    bench.end(3)
    assert bench.waiting() == [("retry", 60, 2)]
    assert slots(bench.tick(120)) == [120]
    assert bench.waiting() == []
    assert bench.ended() == [(1, "failed", "exit 3", False), (1, "failed", "exit 3", True)]


def test_a_claim_that_was_there_already_replaces_nothing() -> None:
    bench = Bench(schedule(overlap="replace"))
    (old,) = bench.tick(60)
    bench.at = 120
    (commit,) = bench.worker.handle(Tick(), bench.now)
    assert isinstance(commit, Commit)
    effects = bench.worker.handle(Committed(commit, frozenset()), bench.now)
    assert not any(isinstance(effect, Cancel | Spawn) for effect in effects)
    run = bench.worker.runs[old.order.run_id, 1]
    assert run.stopped == ""


def test_a_claim_that_was_there_already_leaves_a_cancelled_run_cancelled() -> None:
    bench = Bench(schedule(overlap="replace"))
    (old,) = bench.tick(60)
    bench.cancel(old.order.run_id, "enough")
    bench.at = 120
    (commit,) = bench.worker.handle(Tick(), bench.now)
    assert isinstance(commit, Commit)
    bench.worker.handle(Committed(commit, frozenset()), bench.now)
    assert bench.worker.runs[old.order.run_id, 1].stopped == "cancelled: enough"


def test_nothing_is_spawned_but_in_answer_to_its_claim() -> None:
    bench = Bench(schedule())
    bench.at = 60
    (commit,) = bench.worker.handle(Tick(), bench.now)
    assert isinstance(commit, Commit)
    (order,) = commit.spawns
    with pytest.raises(ValueError, match="committed claim"):
        Spawn.of(Committed(commit, frozenset()), order)
    made = Committed(commit, frozenset({(order.run_id, 1)}))
    assert Spawn.of(made, order).order == order


def test_an_old_run_that_is_not_taken_up_yet_is_stopped_when_it_is() -> None:
    bench = Bench(schedule(overlap="replace"))
    (old,) = bench.tick(60)
    key = (old.order.run_id, 1)
    bench.worker.handle(Opened((Known(*key, RunState.RUNNING, 0),)), bench.now)
    assert bench.tick(120) == []
    bench.handle(HeldBack(*key, ()))
    assert bench.cancels == [key]
    assert slots(bench.end(None, key, cancelled=True)) == [120]


def test_an_older_order_misses_nothing_that_is_to_be_caught_up_after_it() -> None:
    spec = schedule(overlap="allow")
    bench = Bench(spec)
    bench.tick(100)
    bench.offer(spec, slot=T0 + 30 * SECOND)
    assert bench.waiting() == [("catch_up", 60, 1)]


def test_an_old_run_that_ended_before_the_claim_was_committed_holds_nothing_up() -> None:
    bench = Bench(schedule(overlap="replace"))
    (old,) = bench.tick(60)
    bench.at = 120
    (commit,) = bench.worker.handle(Tick(), bench.now)
    assert isinstance(commit, Commit)
    bench.worker.handle(AttemptEnded(old.order.run_id, 1, 0, False, False, 0, {}), bench.now)
    made = done(bench.journal.commit(commit.transaction))
    effects = bench.worker.handle(Committed(commit, made), bench.now)
    assert slots([effect for effect in effects if isinstance(effect, Spawn)]) == [120]


# -- allow ----------------------------------------------------------------------------------------


def test_allow_lets_all_run() -> None:
    bench = Bench(schedule(overlap="allow"))
    assert slots(bench.run_to(180)) == [60, 120, 180]
    assert bench.decided() == []


def test_a_word_that_this_worker_does_not_know_is_taken_as_skip() -> None:
    bench = Bench(schedule(overlap="dance"))
    assert slots(bench.run_to(120)) == [60]
    assert bench.decided() == [(120, 120, 1, "skipped", STILL_RUNNING)]


# -- a full worker --------------------------------------------------------------------------------


def test_a_start_on_a_full_worker_waits_and_is_skipped_after_start_within() -> None:
    bench = Bench(schedule("one"), schedule("two", "*:0/2"), host=FULL_HOST)
    bench.tick(60)
    bench.end()
    bench.tick(120)
    assert [why for why, _, _ in bench.waiting()] == ["worker_full"]
    bench.run_to(149)
    assert len(bench.waiting()) == 1
    bench.run_to(151)
    assert bench.waiting() == []
    assert bench.decided() == [(120, 120, 1, "skipped", FULL)]


def test_a_start_that_waited_for_room_begins_when_there_is_some() -> None:
    bench = Bench(schedule("one"), schedule("two", "*:0/2"), host=FULL_HOST)
    bench.tick(60)
    bench.end()
    (first,) = bench.tick(120)
    bench.at = 125
    (second,) = bench.end()
    assert {first.order.env["BARTO_SCHEDULE"], second.order.env["BARTO_SCHEDULE"]} == {"one", "two"}
    assert len(bench.of(Waiting)) == 1, "it is told once"


def test_what_waited_for_room_is_judged_for_overlap_again() -> None:
    spec = schedule("two", "2001-01-01")
    bench = Bench(schedule("one"), spec, host=replace(HOST, max_running=2))
    bench.tick(60)
    bench.offer(spec, cause=b"a")
    bench.offer(schedule("three"), cause=b"b")
    assert [why for why, _, _ in bench.waiting()] == ["worker_full"]
    queued = schedule("three", overlap="queue")
    bench.offer(queued, cause=b"c")
    assert len(bench.waiting()) == 2, "what waits does not run, so it is no overlap"
    for key in list(bench.alive):
        bench.end(0, key)
    assert len(bench.spawned) == 3
    assert [why for why, _, _ in bench.waiting()] in (["queue"], [])


def test_a_replacing_start_takes_the_room_of_the_one_it_replaces() -> None:
    bench = Bench(schedule(overlap="replace"), host=FULL_HOST)
    bench.tick(60)
    bench.tick(120)
    assert bench.waiting() == []
    assert len(bench.of(Claimed)) == 2


def test_what_is_queued_or_to_be_caught_up_waits_for_room_too() -> None:
    bench = Bench(schedule("one", "2001-01-01", overlap="queue"), schedule("two"), host=FULL_HOST)
    bench.tick(60)
    spec = schedule("one", "2001-01-01", overlap="queue")
    bench.end()
    bench.offer(spec, cause=b"a")
    bench.offer(spec, cause=b"b")
    bench.run_to(121)
    assert [why for why, _, _ in bench.waiting()] == ["queue", "worker_full"]


def test_two_commits_of_one_batch_are_as_one() -> None:
    # What the agent does: both transactions in one commit, then both told of.
    bench = Bench(schedule("a", overlap="queue"))
    bench.tick(60)
    bench.at = 120
    (key,) = bench.alive
    first = bench.worker.handle(Tick(), bench.now)
    second = bench.worker.handle(AttemptEnded(*key, 0, False, False, 0, {}), bench.now)
    third = bench.worker.handle(Tick(), bench.now)
    commits = [one for one in (*first, *second, *third) if isinstance(one, Commit)]
    made = done(bench.journal.commit(merged([one.transaction for one in commits])))
    effects = [
        effect for one in commits for effect in bench.worker.handle(Committed(one, made), bench.now)
    ]
    assert slots([one for one in effects if isinstance(one, Spawn)]) == [120]
    kinds = [type(record).__name__ for record in bench.records][-3:]
    assert kinds == ["Waiting", "Ended", "Claimed"], "in the order in which it happened"
    assert bench.waiting() == []
