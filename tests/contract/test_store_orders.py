"""One suite for every store: what it keeps of what the server starts itself, and of pauses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bartos.store.orders import (
    ALL_SCHEDULES,
    NOBODY,
    RESTORED,
    Audit,
    CancelRow,
    Closing,
    CursorMove,
    CursorRow,
    DispatchChange,
    DrainRow,
    IntentRow,
    OfferRow,
    OpenIntent,
    Ordered,
    ParentEnd,
    PauseRow,
    Running,
    Undone,
)
from bartos.store.port import Store
from bartos.store.settings import StoreSettings
from libbarto.identity import Kind
from libbarto.message.v2.record import Decided, OfferRefused, Verdict
from tests.contract.test_store import (
    ALL,
    NOON,
    SCHEDULE,
    SPOOL,
    WORKER,
    Reporter,
    claimed,
    ended,
    kind,
    mariadb,
    opened,
    run_id,
    settings,
)

__all__ = ["kind", "mariadb", "settings"]

pytestmark = pytest.mark.real_loop

REQUEST = b"q" * 16
MINUTE = 60_000_000


def intent(number: int = 1, **changes: object) -> IntentRow:
    row = IntentRow(
        run_id=run_id(number),
        kind=int(Kind.MANUAL),
        schedule_uid=SCHEDULE,
        schedule="backup",
        slot=NOON + number * 1000,
        spec=b"\x00spec",
        created_at=NOON,
        until=NOON + 3600,
        cause=REQUEST,
        request=REQUEST,
        who="ann",
        reason="größer",
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def offer(number: int = 1, run: int = 1) -> OfferRow:
    return OfferRow(run_id(run), number, WORKER, SPOOL, NOON + number)


async def make(store: Store, *rows: IntentRow, offers: tuple[OfferRow, ...] = ()) -> None:
    made = await store.commit_dispatch(DispatchChange(intents=rows))
    assert made == {row.run_id for row in rows}
    if offers:
        await store.commit_dispatch(DispatchChange(offers=offers))


async def reporting(store: Store) -> Reporter:
    reporter = Reporter(store)
    await reporter.connect()
    return reporter


# -- intents and offers ---------------------------------------------------------------------------


async def test_an_intent_is_made_once(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        change = DispatchChange(intents=[intent(1), intent(2, worker_uid=WORKER, worker="web1")])
        assert await store.commit_dispatch(change) == {run_id(1), run_id(2)}
        assert await store.commit_dispatch(change) == {run_id(1), run_id(2)}, "told again"
        state = await store.dispatch_state()
        assert list(state.intents) == [OpenIntent(row) for row in change.intents]
        await store.commit_dispatch(
            DispatchChange(closings=[Closing(intent(1), NOON, Verdict.MISSED, "nobody came")])
        )
        assert await store.commit_dispatch(change) == {run_id(2)}, "one that is over stays so"


async def test_an_intent_whose_run_there_is_already_is_not_made(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(claimed(1))
        await reporter.state(decided(2, Verdict.SKIPPED))
        change = DispatchChange(intents=[intent(1), intent(2), intent(3)])
        assert await store.commit_dispatch(change) == {run_id(3)}


def decided(number: int, verdict: Verdict) -> Decided:
    return Decided(
        schedule_uid=SCHEDULE, schedule="backup", first_slot=NOON + number, last_slot=NOON + number,
        count=1, verdict=int(verdict), reason="overlap", run_id=run_id(number),
        kind=int(Kind.MANUAL), cause=REQUEST,
    )  # fmt: skip


async def test_all_intents_are_read_in_order_with_what_became_of_them(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        rows = [intent(number) for number in range(1, 6)]
        await make(store, *rows)
        await reporter.state(claimed(1), claimed(2), ended(2), decided(3, Verdict.SKIPPED))
        late = Closing(rows[3], NOON, Verdict.MISSED, "nobody came")
        await store.commit_dispatch(
            DispatchChange(closings=[late, Closing(rows[1], NOON), Closing(rows[2], NOON)])
        )
        same = [
            Ordered(row.run_id, SCHEDULE, "backup", row.worker_uid, row.kind, row.slot)
            for row in rows
        ]
        found = await store.ordered(bytes(16), 9)
        assert found == [
            replace(same[0], ran=True),
            replace(same[1], closed=True, ran=True, verdict=Verdict.OK),
            replace(same[2], closed=True, undone=[(Verdict.SKIPPED, "overlap")]),
            replace(same[3], closed=True, undone=[(Verdict.MISSED, "nobody came")]),
            same[4],
        ]
        assert await store.ordered(found[1].run_id, 2) == found[2:4]


async def test_the_last_offer_counts_until_it_is_refused(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await make(store, intent(), offers=(offer(1),))
        again = DispatchChange(offers=[replace(offer(1), at=NOON + 99)])
        await store.commit_dispatch(again)
        (one,) = (await store.dispatch_state()).intents
        assert (one.offer, one.refused, one.claimed_by) == (offer(1), False, None)
        await reporter.state(OfferRefused(run_id=run_id(1), number=1, reason="void"))
        (one,) = (await store.dispatch_state()).intents
        assert one.refused
        await store.commit_dispatch(DispatchChange(offers=[offer(2)]))
        (one,) = (await store.dispatch_state()).intents
        assert (one.offer, one.refused) == (offer(2), False)
        assert [row.offers for row in await store.orders(request=REQUEST)] == [2]


async def test_no_offer_is_made_of_what_is_over(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        await make(store, intent())
        await store.commit_dispatch(
            DispatchChange(closings=[Closing(intent(), NOON, Verdict.CANCELLED)])
        )
        await store.commit_dispatch(DispatchChange(offers=[offer(1), offer(1, run=7)]))
        (row,) = await store.orders(run_id=run_id(1))
        assert (row.offers, row.verdict) == (0, Verdict.CANCELLED)
        assert await store.orders(run_id=run_id(7)) == []


async def test_who_has_claimed_an_intent_is_told(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await make(store, intent(), offers=(offer(1),))
        await reporter.state(claimed(1))
        state = await store.dispatch_state()
        (one,) = state.intents
        assert (one.claimed_by, one.ended) == (WORKER, False)
        assert list(state.running) == [Running(run_id(1), WORKER, SCHEDULE, NOON + 1000)]
        await reporter.state(ended(1))
        state = await store.dispatch_state()
        assert [one.ended for one in state.intents] == [True]
        assert list(state.running) == []
        (row,) = await store.orders(request=REQUEST)
        assert (row.claimed, row.claimed_by, row.verdict) == (True, "web1", None)
        await store.commit_dispatch(DispatchChange(closings=[Closing(intent(), NOON)]))
        assert list((await store.dispatch_state()).intents) == []
        assert await store.ranges(ALL) == [], "the run has the verdict"


async def test_an_order_that_its_worker_decided_has_that_verdict(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await make(store, intent(), offers=(offer(1),))
        await reporter.state(decided(1, Verdict.SKIPPED))
        (one,) = (await store.dispatch_state()).intents
        assert (one.ended, one.claimed_by) == (True, None)
        (row,) = await store.orders(run_id=run_id(1))
        assert (row.claimed, row.verdict, row.reason) == (False, Verdict.SKIPPED, "overlap")


async def test_a_verdict_of_the_servers_is_a_range_of_one(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        row = intent(1, worker_uid=WORKER, worker="web1")
        await make(store, row)
        change = DispatchChange(closings=[Closing(row, NOON + 5, Verdict.MISSED, "web1 was away")])
        await store.commit_dispatch(change)
        await store.commit_dispatch(change)
        (found,) = await store.ranges(ALL)
        assert (found.run_id, found.kind, found.verdict) == (run_id(1), Kind.MANUAL, Verdict.MISSED)
        assert (found.first_slot, found.last_slot, found.count) == (row.slot, row.slot, 1)
        assert (found.worker, found.schedule, found.reason) == ("web1", "backup", "web1 was away")


async def test_no_verdict_of_the_servers_counts_against_a_claim(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await make(store, intent(), offers=(offer(1),))
        await reporter.state(claimed(1))
        await store.commit_dispatch(
            DispatchChange(closings=[Closing(intent(), NOON, Verdict.LOST, "silence")])
        )
        assert await store.ranges(ALL) == []
        assert [one.ended for one in (await store.dispatch_state()).intents] == [False]


@pytest.mark.parametrize("how", ["claimed", "decided"])
async def test_a_workers_word_replaces_lost(settings: StoreSettings | None, how: str) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await make(store, intent(), offers=(offer(1),))
        await store.commit_dispatch(
            DispatchChange(closings=[Closing(intent(), NOON, Verdict.LOST, "silence")])
        )
        assert [row.verdict for row in await store.ranges(ALL)] == [Verdict.LOST]
        await reporter.state(claimed(1) if how == "claimed" else decided(1, Verdict.SKIPPED))
        expected = [] if how == "claimed" else [Verdict.SKIPPED]
        assert [row.verdict for row in await store.ranges(ALL)] == expected


async def test_intents_that_are_over_are_forgotten_in_time(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        await make(store, intent(1), intent(2), intent(3), offers=(offer(1),))
        closings = [Closing(intent(1), NOON), Closing(intent(2), NOON + 10)]
        await store.commit_dispatch(DispatchChange(closings=closings))
        assert await store.forget_orders(NOON + 10) == 1
        found = await store.orders(request=REQUEST)
        assert {row.intent.run_id for row in found} == {run_id(2), run_id(3)}


async def test_many_orders_go_in_one_change(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        rows = [
            intent(1, run_id=number.to_bytes(16, "big"), worker=f"web{number:04}")
            for number in range(1200)
        ]
        await make(store, *rows)
        offers = [OfferRow(row.run_id, 1, WORKER, SPOOL, NOON) for row in rows]
        await store.commit_dispatch(DispatchChange(offers=offers))
        found = await store.orders(request=REQUEST)
        assert [row.intent.worker for row in found] == [row.worker for row in rows]
        assert {row.offers for row in found} == {1}


# -- cursors --------------------------------------------------------------------------------------

CURSOR = CursorRow(SCHEDULE, "backup", NOON, "{}")


async def test_a_cursor_takes_verdicts_along_once(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        first = DispatchChange(cursors=[CursorMove(CURSOR, None)])
        await store.commit_dispatch(first)
        await store.commit_dispatch(first)
        assert list((await store.dispatch_state()).cursors) == [CURSOR]
        moved = replace(CURSOR, cursor=NOON + 5 * MINUTE)
        undone = [
            Undone(NOON + MINUTE, NOON + 4 * MINUTE, 4, Verdict.MISSED, "down"),
            Undone(NOON + 5 * MINUTE, NOON + 5 * MINUTE, 1, Verdict.LOST, "restored", run_id(5)),
        ]
        change = DispatchChange(cursors=[CursorMove(moved, NOON, undone)])
        await store.commit_dispatch(change)
        await store.commit_dispatch(change)
        await store.commit_dispatch(
            DispatchChange(cursors=[CursorMove(replace(CURSOR, cursor=7), 3, undone)])
        )
        assert list((await store.dispatch_state()).cursors) == [moved]
        found = sorted(await store.ranges(ALL), key=lambda row: row.first_slot)
        assert [(row.count, row.verdict, row.run_id) for row in found] == [
            (4, Verdict.MISSED, None),
            (1, Verdict.LOST, run_id(5)),
        ]
        assert {(row.worker_uid, row.worker, row.kind) for row in found} == {(NOBODY, "", 0)}
        await store.commit_dispatch(DispatchChange(forgotten=[SCHEDULE]))
        assert list((await store.dispatch_state()).cursors) == []


async def test_a_cursor_that_goes_back_withdraws_what_lies_ahead(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        slots = {"first_slot": NOON + 3 * MINUTE, "last_slot": NOON + 9 * MINUTE, "count": 7}
        await reporter.state(
            Decided(schedule_uid=SCHEDULE, schedule="backup", verdict=5, reason="", **slots)  # type: ignore[arg-type]
        )
        ahead = replace(CURSOR, cursor=NOON + 9 * MINUTE)
        undone = [
            Undone(NOON + MINUTE, NOON + MINUTE, 1, Verdict.MISSED, "a"),
            Undone(NOON + 3 * MINUTE, NOON + 7 * MINUTE, 5, Verdict.MISSED, "b"),
            Undone(NOON + 8 * MINUTE, NOON + 9 * MINUTE, 2, Verdict.SKIPPED, "c"),
        ]
        await store.commit_dispatch(DispatchChange(cursors=[CursorMove(ahead, None, undone)]))
        back = CursorMove(replace(CURSOR, cursor=NOON + 4 * MINUTE), ahead.cursor, back=True)
        await store.commit_dispatch(DispatchChange(cursors=[back]))
        found = [row for row in await store.ranges(ALL) if row.worker_uid == NOBODY]
        assert sorted((row.reason, row.last_slot, row.count) for row in found) == [
            ("a", NOON + MINUTE, 1),
            ("b", NOON + 4 * MINUTE, 2),
        ]
        (kept,) = [row for row in await store.ranges(ALL) if row.worker_uid == WORKER]
        assert kept.count == 7, "a worker's own are its own"


# -- cancels, facts, parents ----------------------------------------------------------------------


async def test_a_cancel_is_kept_until_it_is_done_with(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        row = CancelRow(run_id(1), WORKER, "ann", NOON, "it hangs")
        change = DispatchChange(cancels=[row])
        await store.commit_dispatch(change)
        await store.commit_dispatch(DispatchChange(cancels=[replace(row, who="bob")]))
        assert list((await store.dispatch_state()).cancels) == [row]
        await store.commit_dispatch(DispatchChange(cancelled=[run_id(1)]))
        assert list((await store.dispatch_state()).cancels) == []


async def test_facts_are_remembered(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        await store.commit_dispatch(DispatchChange(facts={RESTORED: 7}))
        await store.commit_dispatch(DispatchChange(facts={RESTORED: NOON}))
        assert dict((await store.dispatch_state()).facts) == {RESTORED: NOON}


async def test_the_end_of_a_run_that_others_follow_is_kept(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(claimed(1), ended(1))
        assert await store.parent_ends() == [], "nobody follows it"
        store.watch_ends([SCHEDULE])
        await reporter.state(claimed(2), claimed(3), claimed(4))
        await reporter.state(ended(3, Verdict.FAILED), ended(2))
        found = await store.parent_ends()
        assert found == [
            ParentEnd(run_id(2), SCHEDULE, "backup", NOON + 2000, Verdict.OK, NOON + 10, SPOOL, 7),
            ParentEnd(
                run_id(3), SCHEDULE, "backup", NOON + 3000, Verdict.FAILED, NOON + 10, SPOOL, 6
            ),
        ]
        assert await store.parent_ends(1) == found[:1]
        await store.commit_dispatch(DispatchChange(followed=[run_id(2), run_id(3)]))
        assert await store.parent_ends() == []


# -- pauses, audits -------------------------------------------------------------------------------


async def test_pauses_begin_and_end(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        one = PauseRow(SCHEDULE, "backup", "ann", NOON, "größer", NOON + 5)
        every = PauseRow(ALL_SCHEDULES, "", "bob", NOON)
        audit = Audit(NOON, "pause", {"who": "ann"})
        await store.change_pauses([one, every], [], [audit])
        assert await store.pauses() == [every, one]
        longer = replace(one, until=None)
        await store.change_pauses([longer], [ALL_SCHEDULES], [])
        assert await store.pauses() == [longer]
        await store.change_pauses([], [SCHEDULE, b"?" * 16], [])
        assert await store.pauses() == []
        await store.audit([replace(audit, at=NOON + 1, kind="resume", worker="web1")])
        found = await store.events(NOON)
        assert [(row.at, row.kind, row.worker) for row in found] == [
            (NOON + 1, "resume", "web1"),
            (NOON, "pause", ""),
        ]
        assert found[1].facts == {"who": "ann"}


async def test_drains_begin_and_end(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        one = DrainRow(b"1" * 16, "web1", "ann", NOON, "größer", NOON + 5)
        other = DrainRow(b"2" * 16, "db1", "bob", NOON)
        await store.change_drains([one, other], [], [Audit(NOON, "drain", {"who": "ann"}, "web1")])
        assert await store.drains() == [other, one]
        longer = replace(one, until=None)
        await store.change_drains([longer], [other.worker_uid], [])
        assert await store.drains() == [longer]
        await store.change_drains([], [one.worker_uid, b"?" * 16], [])
        assert await store.drains() == []
        assert [(row.kind, row.worker) for row in await store.events(NOON)] == [("drain", "web1")]


async def test_audits_go_with_a_change(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        assert not DispatchChange()
        await store.audit([])
        await store.commit_dispatch(DispatchChange(audits=[Audit(NOON, "run asked", {"who": "x"})]))
        assert [row.kind for row in await store.events(NOON)] == ["run asked"]
