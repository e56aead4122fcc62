"""One suite for every store: what is told of planned starts, and what the server adds to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bartos.store.port import (
    NO_TIMING,
    Applied,
    Batch,
    EpochClaim,
    Mark,
    Retention,
    RunFilter,
    ScheduleRow,
    SlotRange,
    Store,
)
from bartos.store.settings import StoreSettings
from libbarto.identity import Kind
from libbarto.message.v2.record import (
    ClockBack,
    Cut,
    Decided,
    Lane,
    Notice,
    OfferRefused,
    Record,
    SetApplied,
    Verdict,
    Waiting,
)
from libbarto.message.v2.schedule import Schedule
from libbarto.schedule import Timetable
from libbarto.timing import timing_hash, timing_text
from tests.contract.test_store import (
    ALL,
    DAY,
    HOUR,
    NOON,
    SCHEDULE,
    SPOOL,
    WORKER,
    Reporter,
    changed,
    chunk,
    claimed,
    dead_letters,
    ended,
    kind,
    mariadb,
    opened,
    run_id,
    settings,
)

__all__ = ["kind", "mariadb", "settings"]

pytestmark = pytest.mark.real_loop

SECOND = 1_000_000
MINUTE = 60 * SECOND
OTHER = b"d" * 16
EVERY_MINUTE = Schedule(uid=SCHEDULE, name="backup", calendars=["*:*"], steps=[])
HOURLY = Schedule(uid=SCHEDULE, name="backup", calendars=["hourly"], steps=[])
TEXTS = [timing_text(spec) for spec in (EVERY_MINUTE, HOURLY)]
BY_MINUTE, BY_HOUR = (timing_hash(text) for text in TEXTS)
TIMINGS = {timing_hash(text): text for text in TEXTS}


async def reporting(store: Store) -> Reporter:
    reporter = Reporter(store)
    await reporter.connect()
    return reporter


def applied(
    generation: int, at: int, *schedules: tuple[bytes, bytes, int], part: bool = False
) -> SetApplied:
    return SetApplied(
        generation=generation,
        at=at,
        schedules=[uid for uid, _, _ in schedules],
        timings=[timing for _, timing, _ in schedules],
        since=[since for _, _, since in schedules],
    )


def decided(
    first: int, last: int, count: int, verdict: Verdict = Verdict.MISSED, **more: object
) -> Decided:
    record = Decided(
        schedule_uid=SCHEDULE, schedule="backup", first_slot=first, last_slot=last, count=count,
        verdict=int(verdict), reason="",
    )  # fmt: skip
    return changed(record, **more) if more else record  # type: ignore[return-value]


def waiting(number: int, slot: int, attempt: int = 1, **more: object) -> Waiting:
    record = Waiting(
        run_id=run_id(number), attempt=attempt, kind=0, schedule_uid=SCHEDULE, schedule="backup",
        slot=slot, why="queue" if attempt == 1 else "retry", at=slot, due=slot, until=slot + HOUR,
    )  # fmt: skip
    return changed(record, **more) if more else record  # type: ignore[return-value]


def lost(first: int, last: int, count: int, run: bytes | None = None) -> SlotRange:
    return SlotRange(
        SCHEDULE, "backup", WORKER, "web1", first, last, count, Verdict.LOST, "", NOON, run
    )


async def spans(store: Store) -> list[tuple[bytes, int, int | None, bytes]]:
    """Schedule, beginning and end (in seconds from noon) and trigger of every span."""
    return [
        (
            row.schedule_uid,
            (row.from_at - NOON) // SECOND,
            None if row.until_at is None else (row.until_at - NOON) // SECOND,
            row.timing,
        )
        for row in await store.applied()
    ]


async def told(store: Store) -> list[tuple[int, int, int, Verdict]]:
    return [
        (row.first_slot, row.last_slot, row.count, row.verdict)
        for row in await store.pair_ranges(WORKER, SCHEDULE, 0, 1 << 60, 99)
    ]


# -- triggers, and since when they count ----------------------------------------------------------


async def test_triggers_are_remembered_by_their_hash(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        await store.keep_timings(TIMINGS)
        await store.keep_timings({BY_MINUTE: "something else"})
        assert await store.timings([BY_MINUTE, b"?" * 16]) == {BY_MINUTE: TEXTS[0]}
        assert await store.timings([]) == {}


async def test_a_schedule_counts_from_set_to_set(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(applied(1, NOON, (SCHEDULE, BY_MINUTE, NOON), (OTHER, BY_HOUR, NOON)))
        assert await spans(store) == [(SCHEDULE, 0, None, BY_MINUTE), (OTHER, 0, None, BY_HOUR)]
        later = NOON + 60 * SECOND
        await reporter.state(applied(2, later, (SCHEDULE, BY_MINUTE, NOON)))
        assert await spans(store) == [(SCHEDULE, 0, None, BY_MINUTE), (OTHER, 0, 60, BY_HOUR)]
        last = NOON + 120 * SECOND
        await reporter.state(applied(3, last, (SCHEDULE, BY_HOUR, last), (OTHER, BY_HOUR, last)))
        assert await spans(store) == [
            (SCHEDULE, 0, 120, BY_MINUTE),
            (SCHEDULE, 120, None, BY_HOUR),
            (OTHER, 0, 60, BY_HOUR),
            (OTHER, 120, None, BY_HOUR),
        ]
        (first, *_) = await store.applied(worker_uid=WORKER, schedule_uid=SCHEDULE)
        assert first == Applied(WORKER, SCHEDULE, NOON, last, BY_MINUTE, 2, SPOOL, False, NOON)
        assert await store.applied(worker_uid=b"?" * 16) == []
        assert len(await store.applied(schedule_uid=OTHER)) == 2


async def test_a_set_of_several_records_closes_nothing_that_stays(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        both = (SCHEDULE, BY_MINUTE, NOON), (OTHER, BY_HOUR, NOON)
        await reporter.state(applied(1, NOON, *both))
        later = NOON + 60 * SECOND
        before = await spans(store)
        # In two records, one batch or two.
        await reporter.state(applied(2, later, both[0]), applied(2, later, both[1]))
        assert await spans(store) == before
        await reporter.state(applied(3, later, both[1]))
        assert await spans(store) == [(SCHEDULE, 0, 60, BY_MINUTE), (OTHER, 0, None, BY_HOUR)]
        await reporter.state(applied(3, later, both[0]))
        assert await spans(store) == before
        # What was told of an older set before is told again.
        await reporter.state(applied(1, NOON, both[0]))
        assert await spans(store) == before


async def test_an_end_that_another_journal_told_is_torn(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(applied(1, NOON, (SCHEDULE, BY_MINUTE, NOON)))
        spool = b"n" * 16
        await store.confirm_epoch(EpochClaim(WORKER, "web1", 2, spool, {}, "", {}, "", NOON))
        later = NOON + 60 * SECOND
        record = applied(2, later, (SCHEDULE, BY_MINUTE, later))
        assert await store.append(
            [Batch(WORKER, "web1", spool, Lane.STATE, 2, 1, b"t" * 8, [record])]
        ) == [True]
        old, new = await store.applied()
        assert (old.until_at, old.torn, old.spool_id) == (later, True, SPOOL)
        assert (new.from_at, new.torn, new.spool_id) == (later, False, spool)


async def test_a_worker_that_names_no_triggers_is_understood(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        old = SetApplied(generation=1, at=NOON, schedules=[SCHEDULE])
        await reporter.state(old, changed(old, generation=2, at=NOON + HOUR))
        assert await spans(store) == [(SCHEDULE, 0, None, NO_TIMING)]


# -- the clock set back ---------------------------------------------------------------------------


async def test_a_clock_set_back_cuts_to_the_slot(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await store.keep_timings(TIMINGS)
        timetable = Timetable(EVERY_MINUTE, WORKER)
        last = NOON + 72 * 365 * DAY
        whole = timetable.count(NOON, last)
        assert whole is not None
        ran, ran_too = (
            changed(claimed(n, slot=NOON + m * MINUTE), run_id=timetable.run_id(NOON + m * MINUTE))
            for n, m in ((1, 3), (2, 200))
        )
        back = NOON + 5 * MINUTE + 1
        await reporter.state(
            applied(1, NOON, (SCHEDULE, BY_MINUTE, NOON)),
            ran,
            ran_too,
            decided(whole[1], whole[2], whole[0] - 2),
            applied(2, last, (SCHEDULE, BY_HOUR, last)),
            waiting(3, NOON + 300 * MINUTE),
            waiting(4, NOON),
            waiting(5, NOON + 301 * MINUTE, attempt=2),
            waiting(6, NOON + 302 * MINUTE, kind=int(Kind.FOLLOW)),
            ClockBack(now=back),
            changed(claimed(7, slot=NOON + 6 * MINUTE)),
        )
        assert await told(store) == [(NOON + MINUTE, back, 4, Verdict.MISSED)]
        assert [(row.from_at, row.until_at) for row in await store.applied()] == [
            (NOON, back),
            (back, None),
        ]
        assert [row.run_id for row in await store.waiting()] == [run_id(4), run_id(5), run_id(6)]
        runs = await store.run_slots(WORKER, SCHEDULE, 0, last, 10)
        assert [(row.slot - NOON) // MINUTE for row in runs] == [3, 6, 200]
        assert [row.ahead for row in runs] == [False, False, True]


async def test_a_range_that_begins_where_the_clock_is_set_back_to_is_gone(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await store.keep_timings(TIMINGS)
        ran = changed(claimed(1, slot=NOON + MINUTE), run_id=run_id(1))
        await reporter.state(
            applied(1, NOON, (SCHEDULE, BY_MINUTE, NOON)),
            ran,
            decided(NOON + MINUTE, NOON + 3 * MINUTE, 2),
            ClockBack(now=NOON + MINUTE),
        )
        assert await told(store) == []


# -- what waits -----------------------------------------------------------------------------------


async def test_what_waits_has_no_verdict_until_it_is_claimed(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(waiting(1, NOON), waiting(2, NOON + 1, until=None))
        one, two = await store.waiting(worker_uid=WORKER)
        assert (one.run_id, one.why, one.until, one.worker) == (
            run_id(1), "queue", NOON + HOUR, "web1",
        )  # fmt: skip
        assert (two.until, two.schedule, two.attempt) == (None, "backup", 1)
        assert await store.waiting(schedule_uid=OTHER) == []
        await reporter.state(claimed(1), waiting(1, NOON, attempt=1))
        assert [row.run_id for row in await store.waiting()] == [run_id(2)], "told too late"
        # In one batch: claimed, ended for now, waiting for a retry.
        again = changed(ended(1, Verdict.FAILED), final=False)
        await reporter.state(again, waiting(1, NOON, attempt=2))
        assert [row.attempt for row in await store.waiting()] == [2, 1]
        await reporter.state(waiting(1, NOON, attempt=1))
        assert [row.attempt for row in await store.waiting()] == [2, 1]
        await reporter.state(changed(claimed(1), attempt=2))
        assert [row.run_id for row in await store.waiting()] == [run_id(2)]


async def test_a_verdict_ends_waiting(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(
            waiting(1, NOON),
            waiting(2, NOON + HOUR),
            waiting(3, NOON + 2 * HOUR),
            waiting(4, NOON + HOUR, kind=int(Kind.MANUAL)),
            claimed(5),
            changed(ended(5, Verdict.FAILED), final=False),
            waiting(5, NOON, attempt=2),
        )
        await reporter.state(decided(NOON, NOON + HOUR, 2))
        left = {row.run_id for row in await store.waiting()}
        assert left == {run_id(3), run_id(4), run_id(5)}
        # The schedule was removed: the run ends with its last attempt's verdict.
        await reporter.state(
            ended(5, Verdict.FAILED), decided(NOON, NOON, 1, run_id=run_id(4), kind=2)
        )
        assert [row.run_id for row in await store.waiting()] == [run_id(3)]


async def test_what_waits_of_another_worker_is_not_touched(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(claimed(1), waiting(2, NOON))
        evil, spool = b"o" * 16, b"p" * 16
        await store.confirm_epoch(EpochClaim(evil, "evil", 1, spool, {}, "", {}, "", NOON))
        records: list[Record] = [
            waiting(1, NOON, attempt=2),
            decided(NOON, NOON, 1, run_id=run_id(2)),
            decided(NOON, NOON + HOUR, 9),
            decided(NOON, NOON, 1, run_id=run_id(1)),
            OfferRefused(run_id=run_id(1), number=1),
        ]
        await store.append([Batch(evil, "evil", spool, Lane.STATE, 1, 1, b"t" * 8, records)])
        assert [row.run_id for row in await store.waiting()] == [run_id(2)]
        assert len(await dead_letters(store)) == 3


# -- verdicts -------------------------------------------------------------------------------------


async def test_a_verdict_that_is_told_again_changes_nothing(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        order = decided(NOON, NOON, 1, Verdict.SKIPPED, run_id=run_id(9), kind=int(Kind.MANUAL))
        await reporter.state(decided(NOON, NOON + HOUR, 61), order)
        await reporter.state(
            decided(NOON, NOON + HOUR, 7, Verdict.SKIPPED), changed(order, verdict=5), claimed(1)
        )
        await reporter.state(decided(NOON, NOON, 1, run_id=run_id(1)))
        rows = sorted(await store.ranges(ALL), key=lambda row: row.count)
        assert [(row.count, row.verdict, row.run_id, row.kind) for row in rows] == [
            (1, Verdict.SKIPPED, run_id(9), 2),
            (61, Verdict.MISSED, None, 0),
        ]
        assert await told(store) == [(NOON, NOON + HOUR, 61, Verdict.MISSED)]


async def test_what_a_worker_tells_takes_the_place_of_lost(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(decided(NOON, NOON + HOUR, 61))
        rows = [
            lost(NOON, NOON, 1),
            lost(NOON + 2 * HOUR, NOON + 3 * HOUR, 61),
            lost(NOON + 4 * HOUR, NOON + 5 * HOUR, 61),
            lost(NOON + 6 * HOUR, NOON + 7 * HOUR, 61),
            lost(NOON + 6 * HOUR, NOON + 6 * HOUR, 1, run_id(8)),
        ]
        assert await store.record_ranges(rows) == 4, "not in the place of a verdict"
        longer = lost(NOON + 6 * HOUR, NOON + 8 * HOUR, 121)
        assert await store.record_ranges([longer, rows[1]]) == 2
        assert (NOON + 6 * HOUR, NOON + 8 * HOUR, 121, Verdict.LOST) in await told(store)
        assert len(await told(store)) == 4
        await reporter.state(
            claimed(1, slot=NOON + 3 * HOUR),
            decided(NOON + 5 * HOUR, NOON + 5 * HOUR + MINUTE, 2),
            changed(claimed(8, slot=NOON + 6 * HOUR), kind=int(Kind.MANUAL)),
        )
        assert await told(store) == [
            (NOON, NOON + HOUR, 61, Verdict.MISSED),
            (NOON + 5 * HOUR, NOON + 5 * HOUR + MINUTE, 2, Verdict.MISSED),
            (NOON + 6 * HOUR, NOON + 8 * HOUR, 121, Verdict.LOST),
        ]
        assert [row.run_id for row in await store.ranges(ALL) if row.run_id] == []
        await reporter.state(applied(1, NOON, (SCHEDULE, BY_MINUTE, NOON)))
        assert await store.cursors() == {(WORKER, SCHEDULE): NOON + 8 * HOUR}
        await reporter.state(waiting(5, NOON + 7 * HOUR), decided(NOON, NOON, 1, run_id=run_id(7)))
        assert await store.cursors() == {(WORKER, SCHEDULE): NOON + 7 * HOUR}
        assert [row[3] for row in await told(store)] == [Verdict.MISSED, Verdict.MISSED]


async def test_runs_are_given_up_and_taken_back(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(claimed(1), claimed(2), ended(2), waiting(3, NOON))
        ids = [run_id(1), run_id(2), run_id(3)]
        assert await store.give_up_runs(ids, "not heard of", NOON + DAY) == 1
        assert await store.waiting() == []
        two, one = await store.runs(ALL)
        assert (one.verdict, one.reason, one.ended_at) == (
            Verdict.LOST, "not heard of", NOON + DAY,
        )  # fmt: skip
        assert two.verdict is Verdict.OK
        await reporter.state(ended(1))
        assert (await store.runs(ALL))[1].verdict is Verdict.OK


async def test_what_no_row_can_hold_of_slots_is_put_aside(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        bad: list[Record] = [
            waiting(1, NOON, why="x" * 33),
            waiting(1, NOON, schedule="x" * 256),
            waiting(1, NOON, due=1 << 62),
            applied(1, NOON, (SCHEDULE, BY_MINUTE, 1 << 62)),
            Notice(kind="k" * 33, at=NOON, text=""),
            decided(NOON, NOON - 1, 1),
        ]
        assert await reporter.state(*bad, claimed(1))
        assert [seq for _, seq, _ in await dead_letters(store)] == [1, 2, 3, 4, 5, 6]
        assert len(await store.runs(ALL)) == 1


# -- what the server asks -------------------------------------------------------------------------


async def test_cursors_are_the_last_slots_that_are_decided(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        assert await store.cursors() == {}
        await reporter.state(
            applied(1, NOON, (SCHEDULE, BY_MINUTE, NOON), (OTHER, BY_MINUTE, NOON))
        )
        pair, other = (WORKER, SCHEDULE), (WORKER, OTHER)
        assert await store.cursors() == {pair: NOON, other: NOON}
        await reporter.state(claimed(1, slot=NOON + MINUTE))
        assert await store.cursors([pair, (WORKER, b"?" * 16)]) == {pair: NOON + MINUTE}
        await reporter.state(ended(1), decided(NOON + 2 * MINUTE, NOON + 3 * MINUTE, 2))
        assert (await store.cursors([pair]))[pair] == NOON + 3 * MINUTE
        await reporter.state(waiting(4, NOON + 4 * MINUTE))
        assert (await store.cursors([pair]))[pair] == NOON + 4 * MINUTE
        await reporter.state(
            changed(claimed(5, slot=NOON + HOUR), kind=int(Kind.MANUAL)),
            changed(waiting(6, NOON + HOUR), kind=int(Kind.FOLLOW)),
            decided(NOON + HOUR, NOON + HOUR, 1, run_id=run_id(7)),
        )
        assert (await store.cursors())[pair] == NOON + 4 * MINUTE
        await reporter.state(applied(2, NOON + DAY))
        assert await store.cursors() == {}


async def test_runs_of_a_pair_come_in_pages(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        boot = b"b" * 16
        await reporter.state(
            *(changed(claimed(n, slot=NOON + n * MINUTE), boot_id=boot) for n in range(1, 6)),
            *(changed(claimed(n, slot=NOON + 3 * MINUTE), kind=int(Kind.MANUAL)) for n in (7, 8)),
            ended(2, Verdict.FAILED),
            ended(4),
        )
        page = await store.run_slots(WORKER, SCHEDULE, NOON, NOON + DAY, 3)
        assert [row.run_id for row in page] == [run_id(n) for n in (1, 2, 3, 7, 8)]
        assert [row.verdict for row in page[:2]] == [None, Verdict.FAILED]
        assert (page[0].boot_id, page[0].claimed_at) == (boot, NOON + MINUTE + 5)
        page = await store.run_slots(WORKER, SCHEDULE, page[-1].slot, NOON + 4 * MINUTE, 3)
        assert [row.run_id for row in page] == [run_id(4)]
        assert await store.run_slots(WORKER, OTHER, 0, 1 << 60, 3) == []


async def test_ranges_of_a_pair_are_those_that_reach_in(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(
            decided(NOON + 2 * HOUR, NOON + 3 * HOUR, 61), decided(NOON, NOON + HOUR, 61)
        )
        rows = await store.pair_ranges(WORKER, SCHEDULE, NOON + HOUR - 1, NOON + 2 * HOUR, 9)
        assert [row.first_slot for row in rows] == [NOON, NOON + 2 * HOUR]
        rows = await store.pair_ranges(WORKER, SCHEDULE, NOON + HOUR, NOON + 2 * HOUR, 9)
        assert [row.first_slot for row in rows] == [NOON + 2 * HOUR]
        assert await store.pair_ranges(WORKER, OTHER, 0, 1 << 60, 9) == []
        (row,) = await store.pair_ranges(WORKER, SCHEDULE, 0, NOON + DAY, 1)
        assert row.first_slot == NOON
        (row,) = await store.pair_ranges(WORKER, SCHEDULE, 0, NOON + DAY, 9, beyond=NOON)
        assert row.first_slot == NOON + 2 * HOUR


async def test_ranges_come_in_pages(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(
            *(decided(NOON, NOON, 1, schedule_uid=bytes([n]) * 16) for n in range(5)),
            decided(NOON, NOON, 1, run_id=run_id(1)),
            decided(NOON - 1, NOON + 1, 1),
        )
        whole = await store.ranges(ALL)
        assert len(whole) == 7
        before, pages = None, []
        while page := await store.ranges(RunFilter(before_range=before, limit=2)):
            pages += page
            before = page[-1].key
        assert pages == whole


async def test_what_a_run_made_skip_is_counted(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        still = "overlap: it was still running"
        await reporter.state(
            claimed(1, slot=NOON),
            claimed(2, slot=NOON + HOUR),
            decided(NOON - MINUTE, NOON - MINUTE, 1, Verdict.SKIPPED, reason=still),
            decided(NOON + MINUTE, NOON + 3 * MINUTE, 3, Verdict.SKIPPED, reason=still),
            decided(NOON + 4 * MINUTE, NOON + 4 * MINUTE, 1, Verdict.SKIPPED, reason=still),
            decided(NOON + 5 * MINUTE, NOON + 5 * MINUTE, 1, Verdict.SKIPPED, reason="paused"),
            decided(NOON + 6 * MINUTE, NOON + 6 * MINUTE, 1),
            decided(
                NOON + MINUTE, NOON + MINUTE, 1, Verdict.SKIPPED, run_id=run_id(8), reason=still
            ),
        )
        ids = [run_id(1), run_id(2), run_id(3)]
        assert await store.skipped_by_overlap(ids) == {run_id(1): 4}


async def test_how_long_the_last_runs_took(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        for number, verdict in ((1, Verdict.OK), (2, Verdict.FAILED), (3, Verdict.OK)):
            at = NOON + number * SECOND
            await reporter.state(claimed(number, slot=NOON + number), ended(number, verdict, at=at))
        await reporter.state(claimed(4, slot=NOON + 4), changed(ended(4), started_at=None))
        assert await store.took(WORKER, SCHEDULE, 20) == [3 * SECOND, SECOND]
        assert await store.took(WORKER, SCHEDULE, 2) == [3 * SECOND]
        assert await store.took(WORKER, OTHER, 20) == []


async def test_names_of_schedules_outlive_them(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        await store.replace_schedules([ScheduleRow(SCHEDULE, "old", "{}")], NOON)
        await store.replace_schedules([ScheduleRow(SCHEDULE, "new", "{}", version=2)], NOON + 1)
        assert await store.schedule_words() == {SCHEDULE: "new"}
        await store.replace_schedules([ScheduleRow(OTHER, "other", "{}")], NOON + 2)
        assert await store.schedule_words() == {SCHEDULE: "new", OTHER: "other"}


# -- notices, refusals, gaps ----------------------------------------------------------------------


async def test_what_a_worker_notes_is_an_event(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(
            applied(1, NOON),
            Notice(kind="spool_full", at=NOON + 1, text="no room"),
            ClockBack(now=NOON + 2),
        )
        events = await store.events(NOON)
        assert [(row.at - NOON, row.kind, row.worker) for row in events] == [
            (2, "clock back", "web1"),
            (1, "spool_full", "web1"),
            (0, "set applied", "web1"),
        ]
        assert events[1].facts == {"uid": WORKER.hex(), "text": "no room"}
        assert len(await store.events(NOON, limit=1)) == 1
        assert await store.events(NOON + 3) == []


async def test_offers_are_refused_up_to_a_number(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(
            OfferRefused(run_id=run_id(1), number=2, reason="full"),
            OfferRefused(run_id=run_id(1), number=1, reason="old"),
        )
        (row,) = await store.refusals([run_id(1), run_id(2)])
        assert (row.run_id, row.worker_uid, row.spool_id) == (run_id(1), WORKER, SPOOL)
        assert (row.number, row.reason) == (2, "full")
        await reporter.state(OfferRefused(run_id=run_id(1), number=3, reason="away"))
        (row,) = await store.refusals([run_id(1)])
        assert (row.number, row.reason) == (3, "away")


async def test_output_that_fell_into_a_gap_is_missing(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(claimed(1), ended(1, output_seq=3, printed=9))
        await reporter.state(claimed(2), ended(2, output_seq=4, printed=3))
        await reporter.output(chunk(1, 0, b"abc"))
        assert await store.skip_to(SPOOL, Lane.OUTPUT, 1, Mark(3, b"g" * 8, 1), NOON)
        (gap,) = await store.gaps(WORKER)
        assert (gap.spool_id, gap.lane, gap.first_seq, gap.last_seq, gap.at) == (
            SPOOL, Lane.OUTPUT, 2, 3, NOON,
        )  # fmt: skip
        assert await store.gaps(b"?" * 16) == []
        reporter.seq[Lane.OUTPUT] = 3
        await reporter.output(chunk(2, 0, b"xyz"))
        two, one = await store.runs(ALL)
        assert (one.complete, one.missing_bytes) == (False, 6)
        assert (two.complete, two.missing_bytes) == (True, 0)
        assert (await store.events(NOON))[0].kind == "gap"


async def test_output_without_room_is_missing_and_said(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(claimed(1), ended(1, output_seq=2, printed=12))
        cut = Cut(
            run_id=run_id(1), attempt=1, chunk_no=1, step=1, from_offset=2, to_offset=12,
            first_line=0, lines=1, at=NOON, reason="the spool was full",
        )  # fmt: skip
        await reporter.output(chunk(1, 0, b"ab"), cut)
        (row,) = await store.runs(ALL)
        assert (row.complete, row.missing_bytes, row.cut_lines) == (False, 10, 0)
        marker = (await store.chunks(run_id(1), 1))[1]
        assert b"10 bytes in 1 lines lost: the spool was full" in marker.data


async def test_output_that_was_cut_is_complete(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        end = changed(ended(1, output_seq=4, printed=14), cut_bytes=7)
        await reporter.state(claimed(1), end)
        cut = Cut(
            run_id=run_id(1), attempt=1, chunk_no=1, step=1, from_offset=2, to_offset=9,
            first_line=0, at=NOON,
        )  # fmt: skip
        await reporter.output(
            chunk(1, 0, b"ab", 0), chunk(1, 2, b"c\nd\ne\n", 2, 0), cut, chunk(1, 3, b"xf\ng\n", 9)
        )
        (row,) = await store.runs(ALL)
        assert (row.complete, row.missing_bytes) == (True, 0)
        # Output of an attempt before does not count for the one after it.
        await reporter.state(changed(claimed(1), attempt=2), changed(end, attempt=2, cut_bytes=0))
        await reporter.output(changed(chunk(1, 9, b"late"), attempt=1))
        (row,) = await store.runs(ALL)
        assert (row.complete, row.missing_bytes) == (False, 14)


# -- retention ------------------------------------------------------------------------------------


async def test_what_may_be_gone_is_not_promised(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(
            applied(1, NOON, (SCHEDULE, BY_MINUTE, NOON), (OTHER, BY_HOUR, NOON)),
            *(claimed(n, slot=NOON + n * HOUR) for n in (1, 2, 3)),
            *(ended(n, at=NOON + n * HOUR + 1) for n in (1, 2, 3)),
            applied(2, NOON + 5 * HOUR, (OTHER, BY_HOUR, NOON)),
        )
        keep = Retention(verdict_age=86_400.0, verdicts_by_schedule={OTHER: 2 * 86_400.0})
        now = NOON + DAY + 90 * MINUTE
        while (await store.prune(keep, now)).more:
            pass
        assert [row.slot for row in await store.run_slots(WORKER, SCHEDULE, 0, now, 9)] == [
            NOON + 2 * HOUR,
            NOON + 3 * HOUR,
        ]
        one, other = await store.applied()
        assert (one.from_at, one.until_at, one.kept_from) == (
            NOON,
            NOON + 5 * HOUR,
            NOON + 2 * HOUR,
        )
        assert (other.until_at, other.kept_from) == (None, NOON)
        await reporter.state(claimed(9, slot=NOON + 9 * HOUR), ended(9, at=NOON + 9 * HOUR))
        while (await store.prune(keep, NOON + 2 * DAY)).more:
            pass
        assert [row.schedule_uid for row in await store.applied()] == [OTHER]
        assert await store.events(0) == []


async def test_gaps_go_with_the_verdicts(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = await reporting(store)
        await reporter.state(claimed(1), ended(1))
        await reporter.state(Notice(kind="boot", at=NOON, text=""))
        await store.skip_to(SPOOL, Lane.STATE, 1, Mark(9, b"g" * 8, 1), NOON)
        keep = Retention(verdict_age=86_400.0)
        while (await store.prune(keep, NOON + 9 * DAY)).more:
            pass
        assert await store.gaps(WORKER) == []
        assert len(await store.runs(RunFilter())) == 1, "the last one stays"


def test_rows_say_what_they_are() -> None:
    row = lost(NOON, NOON, 1)
    assert replace(row, verdict=Verdict.MISSED).run_id is None
