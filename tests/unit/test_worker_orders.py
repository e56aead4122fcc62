"""What the server orders: claimed once, decided, or refused for good; and cancelled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bartoc.events import Answer, Asked, Cancel, Cancelled, Commit, Committed, Spawn, Stop, Tick
from bartoc.orders import STOPPING, UNREADABLE, VOID
from bartoc.runner import Known, RunState
from bartoc.worker import Opened
from libbarto.identity import Kind
from libbarto.message.v2.record import Claimed, Decided, OfferRefused, Verdict, Waiting
from tests.unit.worker_bench import DAY, HOST, SECOND, T0, Bench, done, schedule

NEVER = "2001-01-01"


def refused(bench: Bench) -> list[tuple[int, str]]:
    return [(one.number, one.reason) for one in bench.of(OfferRefused)]


# -- offers ---------------------------------------------------------------------------------------


def test_an_order_is_claimed_and_starts_whatever_the_set_holds() -> None:
    bench = Bench()
    bench.at = 7
    run_id = bench.offer(schedule("now", NEVER), number=1)
    (start,) = bench.spawned
    assert (start.order.run_id, start.order.slot) == (run_id, None)
    (claimed,) = bench.of(Claimed)
    assert (claimed.kind, claimed.offer, claimed.cause) == (Kind.MANUAL, 1, b"request")
    bench.end(0)
    assert bench.ended() == [(1, "ok", "", True)]


def test_an_order_that_was_claimed_is_not_judged_again_when_it_is_resent() -> None:
    bench = Bench()
    spec = schedule("now", NEVER)
    bench.offer(spec, slot=T0 + 1)
    before = len(bench.records)
    bench.offer(spec, slot=T0 + 1)
    bench.begin()
    bench.offer(spec, slot=T0 + 1)
    bench.end(0)
    bench.offer(spec, slot=T0 + 1, number=2)
    assert len(bench.spawned) == 1
    assert before == 1
    assert len(bench.of(Claimed)) == 1
    assert refused(bench) == []


def test_an_order_that_was_skipped_is_not_judged_again_when_it_is_resent() -> None:
    spec = schedule()
    bench = Bench(spec)
    bench.tick(60)
    run_id = bench.offer(spec, slot=T0 + 1)
    (skipped,) = bench.of(Decided)
    assert (skipped.run_id, skipped.verdict) == (run_id, Verdict.SKIPPED)
    bench.end(0)
    bench.begin()
    bench.offer(spec, slot=T0 + 1)
    assert len(bench.spawned) == 1
    assert len(bench.of(Decided)) == 1


def test_a_queued_order_begins_with_its_own_commands_and_is_claimed_under_its_number() -> None:
    bench = Bench(schedule(overlap="queue"))
    bench.tick(60)
    bench.offer(schedule(overlap="queue", env={"ORDERED": "1"}), number=4)
    assert bench.of(Waiting)[-1].kind == Kind.MANUAL
    bench.offer(schedule(overlap="queue", env={"ORDERED": "1"}), number=4)
    assert len(bench.of(Waiting)) == 1, "it is not judged again while it waits"
    (start,) = bench.end(0)
    assert start.order.env["ORDERED"] == "1"
    assert bench.of(Claimed)[-1].offer == 4


def test_an_order_on_a_full_worker_waits_but_not_beyond_its_last_moment() -> None:
    bench = Bench(schedule("a"), host=replace(HOST, max_running=1))
    bench.tick(60)
    bench.offer(schedule("b", NEVER), until=T0 + 65 * SECOND)
    assert [why for why, _, _ in bench.waiting()] == ["worker_full"]
    bench.tick(66)
    assert bench.decided()[0][4] == "worker full"


def test_an_offer_is_void_after_its_time_and_then_refused() -> None:
    bench = Bench()
    bench.at = 20
    bench.offer(schedule("now", NEVER), received=1000.0 + 9.9, number=3)
    assert refused(bench) == [(3, VOID)]
    assert bench.spawned == []
    assert done(bench.journal.state()).refusals


def test_an_offer_with_a_refused_number_counts_for_nothing_and_a_higher_one_does() -> None:
    bench = Bench()
    spec = schedule("now", NEVER)
    bench.at = 20
    bench.offer(spec, slot=T0, received=1000.0, number=3)
    bench.offer(spec, slot=T0, number=3)
    bench.offer(spec, slot=T0, number=2)
    bench.begin()
    bench.offer(spec, slot=T0, number=3)
    assert bench.spawned == []
    assert len(refused(bench)) == 1
    bench.offer(spec, slot=T0, number=4)
    assert len(bench.spawned) == 1


def test_a_stopping_worker_refuses_at_once() -> None:
    bench = Bench()
    bench.handle(Stop())
    bench.offer(schedule("now", NEVER))
    assert refused(bench) == [(1, STOPPING)]


def test_while_nothing_may_start_an_offer_waits_as_long_as_it_is_valid() -> None:
    bench = Bench()
    bench.worker._ready = False
    bench.offer(schedule("now", NEVER))
    assert [one.received for one in bench.worker.unsettled] == [1000.0]
    bench.at = 5
    bench.handle(Opened(()))
    bench.tick()
    assert len(bench.spawned) == 1
    assert not bench.worker.unsettled


def test_while_the_clock_is_doubted_an_offer_waits_and_is_then_void() -> None:
    bench = Bench(schedule())
    bench.tick(60)
    bench.step(-3600)
    bench.tick(61)
    bench.offer(schedule("now", NEVER))
    bench.tick(70)
    assert refused(bench) == []
    bench.tick(72)
    assert refused(bench) == [(1, VOID)]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"spec": b"\xff"}, UNREADABLE),
        ({"kind": 9}, UNREADABLE),
        ({"schedule_uid": b"?" * 16}, UNREADABLE),
        ({"until": T0 - 1}, "too late: its last moment had passed"),
        ({"slot": T0 - 9 * DAY}, "too old"),
    ],
)
def test_an_offer_that_cannot_be_taken_is_refused(more: dict[str, object], reason: str) -> None:
    bench = Bench()
    done(bench.journal.prune(0, 0, T0 - 8 * DAY))
    bench.begin()
    bench.offer(schedule("now", NEVER), **more)
    assert refused(bench) == [(1, reason)]
    assert bench.spawned == []


def test_a_floating_start_of_a_later_slot_waits_for_its_slot_by_this_hosts_clock() -> None:
    bench = Bench()
    spec = schedule("one", NEVER)
    bench.offer(spec, kind=Kind.CALENDAR, worker=b"", cause=b"", slot=T0 + 2 * SECOND)
    assert bench.spawned == []
    assert bench.worker.next_due(bench.now) == 1.0
    bench.run_to(1.9)
    assert round(bench.worker.next_due(bench.now), 6) == 0.1
    (start,) = bench.run_to(2)
    assert start.order.slot == T0 + 2 * SECOND


def test_a_floating_start_is_refused_where_a_run_goes_on_so_that_another_may_have_it() -> None:
    for overlap in ("skip", "queue"):
        spec = schedule(overlap=overlap)
        bench = Bench(spec)
        bench.tick(60)
        bench.offer(spec, kind=Kind.CALENDAR, worker=b"", cause=b"", number=2)
        assert refused(bench) == [(2, "overlap: it was still running")]
        assert bench.waiting() == []


def test_a_floating_start_is_refused_where_the_worker_is_full() -> None:
    bench = Bench(schedule("a"), host=replace(HOST, max_running=1))
    bench.tick(60)
    bench.offer(schedule("b", NEVER), worker=b"")
    assert refused(bench) == [(1, "worker full")]


def test_a_floating_start_is_claimed_like_any_other() -> None:
    bench = Bench()
    bench.offer(schedule("one", NEVER), kind=Kind.FOLLOW, worker=b"", cause=b"p" * 16, slot=T0)
    (claimed,) = bench.of(Claimed)
    assert (claimed.kind, claimed.cause) == (Kind.FOLLOW, b"p" * 16)


def test_an_order_satisfies_what_is_to_be_caught_up() -> None:
    spec = schedule()
    bench = Bench(spec)
    bench.tick(100)
    bench.offer(spec)
    assert bench.decided() == [(60, 60, 1, "missed", "too late: a newer one started")]


def test_an_order_of_a_paused_schedule_starts_and_what_waits_of_it_stays() -> None:
    spec = schedule(overlap="queue")
    bench = Bench(spec)
    bench.tick(60)
    bench.offer(spec)
    bench.take_on(schedule(overlap="queue", paused=True))
    assert [why for why, _, _ in bench.waiting()] == ["queue"]
    assert len(bench.end(0)) == 1


def test_an_order_of_a_schedule_without_a_set_is_retried_by_its_own_word() -> None:
    bench = Bench()
    bench.offer(schedule("x", NEVER, retries=1, retry_delay_us=SECOND))
    bench.end(1)
    bench.take_on(schedule("y", NEVER))
    (again,) = bench.run_to(2)
    assert again.order.attempt == 2
    assert bench.of(Claimed)[-1].offer == 0


# -- asked ----------------------------------------------------------------------------------------


def test_what_was_claimed_is_not_refused_when_asked_for() -> None:
    bench = Bench()
    run_id = bench.offer(schedule("now", NEVER))
    bench.end(0)
    bench.begin()
    bench.handle(Asked(run_id, 7))
    assert refused(bench) == []


def test_what_was_not_claimed_is_refused_up_to_the_number_asked_for_each_time() -> None:
    bench = Bench()
    run_id = b"\xff" * 16
    bench.handle(Asked(run_id, 7))
    bench.handle(Asked(run_id, 3))
    bench.handle(Asked(run_id, 1 << 63))
    assert [number for number, _ in refused(bench)] == [7, 7, (1 << 63) - 1]


def test_an_offer_that_is_not_judged_yet_is_refused_when_asked_for() -> None:
    bench = Bench()
    spec = schedule("one", NEVER)
    later = {"kind": Kind.CALENDAR, "cause": b"", "slot": T0 + 5 * SECOND}
    run_id = bench.offer(spec, number=2, **later)
    bench.handle(Asked(run_id, 1))
    assert [one.received for one in bench.worker.unsettled] == [1000.0]
    bench.handle(Asked(run_id, 2))
    assert not bench.worker.unsettled
    assert bench.run_to(6) == []


# -- cancel ---------------------------------------------------------------------------------------


def test_a_run_is_cancelled_with_its_grace_and_its_reason() -> None:
    bench = Bench(schedule(kill_after_us=3 * SECOND, retries=5))
    (start,) = bench.tick(60)
    assert bench.cancel(start.order.run_id, "vader: enough")
    assert Cancel(start.order.run_id, 1, 3.0) in bench.effects
    bench.end(None, cancelled=True)
    assert bench.ended() == [(1, "cancelled", "cancelled: vader: enough", True)]


def test_a_start_that_waits_is_given_up_as_cancelled() -> None:
    bench = Bench(schedule(overlap="queue"))
    bench.run_to(125)
    (waiting,) = bench.worker.books.waiting.values()
    assert bench.cancel(waiting.run_id)
    assert bench.decided() == [(120, 120, 1, "cancelled", "cancelled")]
    assert bench.waiting() == []


def test_an_offer_that_is_not_judged_yet_is_refused_when_cancelled() -> None:
    bench = Bench()
    run_id = bench.offer(
        schedule("one", NEVER), kind=Kind.CALENDAR, cause=b"", slot=T0 + 5 * SECOND
    )
    assert bench.cancel(run_id, "no")
    assert refused(bench) == [(1, "cancelled: no")]
    assert bench.run_to(6) == []


def test_what_is_not_here_cannot_be_cancelled() -> None:
    bench = Bench()
    assert not bench.cancel(b"?" * 16)
    assert bench.answers[-1].reason == "nothing of it runs or waits here"


def test_a_start_that_waits_for_the_end_of_another_is_cancelled_before_it_began() -> None:
    bench = Bench(schedule(overlap="replace"))
    (old,) = bench.tick(60)
    bench.tick(120)
    (new,) = [key for key in bench.worker.runs if key[0] != old.order.run_id]
    assert bench.cancel(new[0])
    assert bench.ended() == [(1, "cancelled", "did not start: cancelled", True)]
    assert bench.end(None, (old.order.run_id, 1), cancelled=True) == []


def test_a_claim_that_is_cancelled_before_its_commit_never_starts() -> None:
    bench = Bench(schedule())
    bench.at = 60
    (commit,) = bench.worker.handle(Tick(), bench.now)
    assert isinstance(commit, Commit)
    ((claim, _),) = commit.transaction.claims
    assert bench.cancel(claim.run_id)
    made = done(bench.journal.commit(commit.transaction))
    effects = bench.worker.handle(Committed(commit, made), bench.now)
    assert not any(isinstance(effect, Spawn) for effect in effects)
    (end,) = [effect for effect in effects if isinstance(effect, Commit)]
    assert end.transaction.ended == [(claim.run_id, 1)]


def test_a_run_that_has_yet_to_be_taken_up_is_cancelled_then() -> None:
    bench = Bench(schedule())
    (start,) = bench.tick(60)
    run_id = start.order.run_id
    worker = type(bench.worker)(done(bench.journal.load()), HOST, bench.now)
    bench.worker = worker
    assert bench.cancel(run_id, "late")
    assert bench.cancels == []
    bench.handle(Opened((Known(run_id, 1, RunState.RUNNING, 0),)))
    assert bench.cancels == [(run_id, 1)]
    bench.end(None, cancelled=True)
    assert bench.ended() == [(1, "cancelled", "cancelled: late", True)]


def test_the_answer_comes_after_what_it_tells_is_committed() -> None:
    bench = Bench(schedule(overlap="queue"))
    bench.run_to(125)
    (waiting,) = bench.worker.books.waiting.values()
    (commit,) = bench.worker.handle(Cancelled(b"q" * 16, waiting.run_id), bench.now)
    assert isinstance(commit, Commit)
    assert commit.then == (Answer(b"q" * 16, True),)
