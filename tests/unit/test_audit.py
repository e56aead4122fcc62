"""Going through the whole history: pages, what is lost, and what an operator gives up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from bartos import audit, ledger
from bartos.audit import Asked, Auditor
from bartos.ledger import Fault
from bartos.store.memory import MemoryStore
from bartos.store.orders import Closing, DispatchChange, IntentRow
from bartos.store.port import Batch, EpochClaim, Mark, Retention, RunFilter, ScheduleRow
from libbarto.identity import Kind
from libbarto.message.v2.record import (
    Claimed,
    Decided,
    Ended,
    Lane,
    Record,
    SetApplied,
    Verdict,
    Waiting,
)
from libbarto.message.v2.schedule import Schedule
from libbarto.schedule import Timetable
from libbarto.testing import FakeClock
from libbarto.timing import timing_hash, timing_text

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
ONE, TWO = b"1" * 16, b"2" * 16
SPECS = {
    uid: Schedule(uid=uid, name=name, calendars=["*:*"], steps=[])
    for uid, name in ((ONE, "one"), (TWO, "two"))
}


@dataclass
class Fleet:
    """Workers that report what they decided, and an auditor."""

    store: MemoryStore = field(default_factory=MemoryStore)
    clock: FakeClock = field(default_factory=FakeClock)
    connected: dict[bytes, int] = field(default_factory=dict)
    seq: dict[bytes, int] = field(default_factory=dict)
    lost_after: float = 30 * 86_400.0

    def __post_init__(self) -> None:
        self.start = self.clock.now() // MINUTE * MINUTE
        self.auditor = Auditor(
            self.store, self.clock, lambda: self.connected, lambda: self.lost_after
        )

    def at(self, minutes: int) -> int:
        return self.start + minutes * MINUTE

    async def worker(self, name: str, spool: bytes | None = None, epoch: int = 1) -> bytes:
        uid = name.encode().ljust(16, b".")
        claim = EpochClaim(uid, name, epoch, spool or uid, {}, "", {}, "", self.clock.now())
        assert await self.store.confirm_epoch(claim)
        self.seq[uid] = 0
        return uid

    async def tell(self, uid: bytes, *records: Record, spool: bytes | None = None) -> None:
        row = await self.store.worker(uid)
        assert row is not None
        first = self.seq[uid] + 1
        self.seq[uid] += len(records)
        batch = Batch(
            uid, row.name, row.spool_id, Lane.STATE, row.epoch, first, bytes(8), list(records)
        )
        assert await self.store.append([batch]) == [True]

    async def takes_on(
        self, uid: bytes, *schedules: bytes, minutes: int = 0, generation: int = 1
    ) -> None:
        text = timing_text(SPECS[ONE])
        await self.store.keep_timings({timing_hash(text): text})
        await self.tell(
            uid,
            SetApplied(
                generation=generation,
                at=self.at(minutes),
                schedules=list(schedules),
                timings=[timing_hash(text) for _ in schedules],
                since=[self.at(minutes) for _ in schedules],
            ),
        )  # fmt: skip

    def ran(self, uid: bytes, minutes: int, schedule: bytes = ONE) -> Claimed:
        slot = self.at(minutes)
        return Claimed(
            run_id=Timetable(SPECS[schedule], uid).run_id(slot), attempt=1, kind=0,
            schedule_uid=schedule, schedule=SPECS[schedule].name, slot=slot, at=slot,
        )  # fmt: skip

    def missed(self, first: int, last: int, schedule: bytes = ONE) -> Decided:
        return Decided(
            schedule_uid=schedule, schedule=SPECS[schedule].name, first_slot=self.at(first),
            last_slot=self.at(last), count=last - first + 1, verdict=int(Verdict.MISSED),
            reason="away",
        )  # fmt: skip

    def waits(self, uid: bytes, minutes: int, kind: Kind = Kind.CALENDAR) -> Waiting:
        one = self.ran(uid, minutes)
        run_id = one.run_id if kind is Kind.CALENDAR else b"follow" + uid[:10]
        return Waiting(
            run_id=run_id, attempt=1, kind=kind, schedule_uid=ONE, schedule="one",
            slot=one.slot, why="queue", at=one.slot, due=one.slot,
        )  # fmt: skip

    def wind_to(self, minutes: float) -> None:
        self.clock.step((self.at(0) + round(minutes * MINUTE) - self.clock.now()) / SECOND)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def ended(claim: Claimed) -> Ended:
    return Ended(run_id=claim.run_id, attempt=1, verdict=0, started_at=claim.at, ended_at=claim.at)


async def test_a_whole_history_is_proven_in_pages(fleet: Fleet) -> None:
    fleet.wind_to(10)
    for name in ("a", "b", "c"):
        uid = await fleet.worker(name)
        await fleet.takes_on(uid, ONE, TWO)
        for schedule in (ONE, TWO):
            await fleet.tell(uid, fleet.ran(uid, 1, schedule), fleet.missed(2, 9, schedule))
        await fleet.tell(uid, fleet.waits(uid, 10))
        fleet.connected[uid] = 0
    await fleet.worker("d")  # has nothing to do
    after, pairs, pages = None, 0, 0
    total = ledger.Account()
    while True:
        page = await fleet.auditor.page(Asked(), after, budget=5)
        pairs, pages = pairs + page.pairs, pages + 1
        total.add(page.account)
        after = page.next
        if after is None:
            break
    assert (pairs, total.findings) == (6, [])
    assert pages == 4
    assert total.counts == {
        ("running", ""): 6,
        ("missed", "away"): 48,
        ("waiting", "queue"): 3,
    }
    whole = await fleet.auditor.page(Asked())
    assert (whole.pairs, whole.next, whole.account.counts) == (6, None, total.counts)


async def test_only_what_is_asked_for_is_gone_through(fleet: Fleet) -> None:
    a, b = await fleet.worker("a"), await fleet.worker("b")
    for uid in (a, b):
        await fleet.takes_on(uid, ONE, TWO)
        await fleet.tell(uid, fleet.missed(1, 9), fleet.missed(1, 9, TWO))
    page = await fleet.auditor.page(Asked(workers=frozenset({a}), schedules=frozenset({TWO})))
    assert (page.pairs, page.account.counts["missed", "away"]) == (1, 9)
    window = Asked(since=fleet.at(3), until=fleet.at(5))
    assert (await fleet.auditor.page(window)).account.counts == {("missed", "away"): 8}
    later = Asked(since=fleet.at(30), until=fleet.at(30))
    assert (await fleet.auditor.page(later)).account.counts == {}


async def test_rows_are_read_a_page_at_a_time(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PAGE", 3)
    uid = await fleet.worker("a")
    await fleet.takes_on(uid, ONE)
    minute = 1
    for _ in range(9):
        claims = [fleet.ran(uid, minute + n) for n in range(4)]
        ranges = [fleet.missed(minute + 4 + n, minute + 4 + n) for n in range(5)]
        await fleet.tell(uid, *claims, *ranges, fleet.waits(uid, minute + 9))
        minute += 10
    fleet.wind_to(minute - 1)
    fleet.connected[uid] = 0
    page = await fleet.auditor.page(Asked())
    assert page.account.findings == []
    assert page.account.counts == {
        ("running", ""): 36, ("missed", "away"): 45, ("waiting", "queue"): 9,
    }  # fmt: skip


async def test_holes_and_runs_out_of_place_are_told(fleet: Fleet) -> None:
    uid = await fleet.worker("a")
    await fleet.takes_on(uid, ONE)
    await fleet.tell(uid, fleet.ran(uid, 1), fleet.ran(uid, 4))
    await fleet.takes_on(uid, minutes=5, generation=2)
    await fleet.tell(uid, fleet.ran(uid, 7))
    await fleet.takes_on(uid, ONE, minutes=9, generation=3)
    page = await fleet.auditor.page(Asked())
    assert [(one.fault, one.count) for one in page.account.findings] == [
        (Fault.HOLE, 2),
        (Fault.HOLE, 1),
        (Fault.UNPLANNED, 1),
    ]
    window = await fleet.auditor.page(Asked(since=fleet.at(5), until=fleet.at(6)))
    assert window.account.findings == []
    window = await fleet.auditor.page(Asked(since=fleet.at(20)))
    assert window.account.findings == []


async def test_a_trigger_that_nobody_kept_is_told(fleet: Fleet) -> None:
    uid = await fleet.worker("a")
    await fleet.tell(uid, SetApplied(generation=1, at=fleet.at(0), schedules=[ONE]))
    page = await fleet.auditor.page(Asked())
    assert [one.fault for one in page.account.findings] == [Fault.UNCOUNTABLE]


async def test_an_operator_gives_up_what_is_unknown(fleet: Fleet) -> None:
    here, away = await fleet.worker("here"), await fleet.worker("away")
    await fleet.store.replace_schedules([ScheduleRow(ONE, "first", "{}")], 0)
    for uid in (here, away):
        await fleet.takes_on(uid, ONE)
        claim = fleet.ran(uid, 1)
        await fleet.tell(uid, claim, ended(claim), fleet.ran(uid, 2), fleet.waits(uid, 3))
        await fleet.tell(uid, fleet.waits(uid, 1, Kind.FOLLOW))
    fleet.connected[here] = 5 * SECOND
    fleet.wind_to(10)
    given = await fleet.auditor.give_up(Asked(), who="ops", dry_run=True)
    assert (given.count, len(given.runs), len(given.waiting)) == (9, 1, 2)
    assert await fleet.store.ranges(RunFilter()) == []
    given = await fleet.auditor.give_up(Asked(), who="ops")
    (unknown,) = given.ranges
    assert (unknown.worker, unknown.schedule, unknown.count) == ("away", "first", 6)
    rows = await fleet.store.ranges(RunFilter())
    assert [(row.worker, row.count, row.reason, row.run_id is None) for row in rows] == [
        ("away", 6, "given up by ops", True),
        ("away", 1, "given up by ops", True),
        ("away", 1, "given up by ops", False),
    ]
    assert {row.worker for row in await fleet.store.waiting()} == {"here"}
    lost = await fleet.store.runs(RunFilter(verdicts=frozenset({Verdict.LOST})))
    assert [row.worker for row in lost] == ["away"]
    page = await fleet.auditor.page(Asked(workers=frozenset({away})))
    assert (page.account.findings, page.account.undecided) == ([], [])
    assert (await fleet.auditor.give_up(Asked())).count == 0
    # The worker comes back and tells what became of them.
    await fleet.tell(away, fleet.ran(away, 3), fleet.missed(4, 10))
    page = await fleet.auditor.page(Asked(workers=frozenset({away})))
    assert (page.account.findings, page.account.counts["missed", "away"]) == ([], 7)


async def test_giving_up_may_be_bounded(fleet: Fleet) -> None:
    away = await fleet.worker("away")
    await fleet.takes_on(away, ONE)
    await fleet.tell(away, fleet.ran(away, 1), fleet.waits(away, 4))
    fleet.wind_to(10)
    given = await fleet.auditor.give_up(Asked(since=fleet.at(1), until=fleet.at(5)), dry_run=True)
    assert (given.runs, [row.slot for row in given.waiting]) == ([], [fleet.at(4)])
    assert [row.count for row in given.ranges] == [1]
    assert given.ranges[0].reason == "given up"


async def test_what_is_unknown_for_too_long_is_lost_and_one_range_grows(fleet: Fleet) -> None:
    away = await fleet.worker("away")
    await fleet.takes_on(away, ONE)
    await fleet.tell(away, fleet.missed(1, 2))
    fleet.lost_after = 3600.0
    fleet.wind_to(30)
    assert (await fleet.auditor.keep_lost()).count == 0
    for minutes in (70, 80, 95):
        fleet.wind_to(minutes)
        await fleet.auditor.keep_lost()
        rows = await fleet.store.pair_ranges(away, ONE, 0, 1 << 60, 9)
        assert [(row.verdict, row.count) for row in rows[1:]] == [(Verdict.LOST, minutes - 62)]
    assert rows[-1].reason == ledger.NOT_HEARD_OF
    page = await fleet.auditor.page(Asked())
    assert page.account.counts == {
        ("missed", "away"): 2,
        ("lost", ledger.NOT_HEARD_OF): 33,
        ("unknown", ""): 59,
    }
    fleet.connected[away] = 0
    fleet.wind_to(200)
    assert (await fleet.auditor.keep_lost()).count == 0, "it is here, and will tell"


async def test_what_a_lost_journal_had_decided_is_lost(fleet: Fleet) -> None:
    uid = await fleet.worker("a")
    await fleet.takes_on(uid, ONE)
    await fleet.tell(uid, fleet.missed(1, 3))
    await fleet.worker("a", spool=b"new spool.......", epoch=2)
    fleet.connected[uid] = 0
    await fleet.takes_on(uid, ONE, minutes=9, generation=2)
    fleet.wind_to(20)
    await fleet.tell(uid, fleet.missed(10, 20))
    await fleet.auditor.keep_lost()
    rows = await fleet.store.pair_ranges(uid, ONE, 0, 1 << 60, 9)
    assert [(row.verdict.word, row.count, row.reason) for row in rows] == [
        ("missed", 3, "away"),
        ("lost", 6, ledger.JOURNAL_LOST),
        ("missed", 11, "away"),
    ]
    page = await fleet.auditor.page(Asked())
    assert (page.account.findings, page.account.undecided) == ([], [])
    assert (await fleet.auditor.keep_lost()).count == 0


async def test_what_fell_into_a_gap_is_lost(fleet: Fleet) -> None:
    uid = await fleet.worker("a")
    fleet.connected[uid] = 0
    await fleet.takes_on(uid, ONE)
    await fleet.tell(uid, fleet.missed(1, 3))
    fleet.wind_to(8)
    row = await fleet.store.worker(uid)
    assert row is not None
    mark = Mark(fleet.seq[uid] + 4, bytes(8), 1)
    await fleet.store.skip_to(row.spool_id, Lane.STATE, 1, mark, fleet.at(8))
    fleet.seq[uid] += 4
    await fleet.tell(uid, fleet.missed(7, 8))
    await fleet.auditor.keep_lost()
    rows = await fleet.store.pair_ranges(uid, ONE, 0, 1 << 60, 9)
    assert [(one.verdict.word, one.count, one.reason) for one in rows] == [
        ("missed", 3, "away"),
        ("lost", 3, ledger.RECORDS_LOST),
        ("missed", 2, "away"),
    ]


async def test_runs_of_workers_that_never_came_back_are_lost(fleet: Fleet) -> None:
    away = await fleet.worker("away")
    await fleet.takes_on(away, ONE)
    await fleet.tell(away, fleet.ran(away, 1), fleet.waits(away, 2))
    fleet.lost_after = 3600.0
    fleet.wind_to(61)
    given = await fleet.auditor.keep_lost()
    assert (len(given.runs), len(given.waiting)) == (1, 0)
    fleet.wind_to(62)
    given = await fleet.auditor.keep_lost()
    assert (len(given.runs), len(given.waiting)) == (0, 1)
    page = await fleet.auditor.page(Asked())
    assert page.account.findings == []
    assert page.account.counts["lost", ""] == 1


async def test_it_is_looked_at_once_an_hour(fleet: Fleet) -> None:
    away = await fleet.worker("away")
    await fleet.takes_on(away, ONE)
    fleet.lost_after = 600.0
    task = asyncio.create_task(fleet.auditor.run())
    await fleet.clock.advance(hours=2, seconds=1)
    task.cancel()
    rows = await fleet.store.pair_ranges(away, ONE, 0, 1 << 60, 9)
    assert [row.verdict for row in rows] == [Verdict.LOST]


# -- what the server starts -----------------------------------------------------------------------


def wanted(number: int, schedule: bytes = ONE, worker: bytes = bytes(16)) -> IntentRow:
    run_id = number.to_bytes(16, "big")
    name = SPECS[schedule].name
    return IntentRow(run_id, Kind.MANUAL, schedule, name, number * SECOND, b"", 0, 0, b"", worker)


async def test_what_the_server_starts_is_proven_too_in_pages(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PAGE", 2)
    rows = [wanted(number) for number in range(1, 6)]
    closings = [Closing(row, 9, Verdict.MISSED, "nobody") for row in rows[:3]]
    await fleet.store.commit_dispatch(DispatchChange(intents=rows, closings=closings))
    uid = await fleet.worker("a")
    await fleet.takes_on(uid, ONE)
    first = await fleet.auditor.page(Asked(), budget=2)
    assert (first.pairs, first.ordered, first.next) == (0, 2, (bytes(16), rows[1].run_id))
    rest = await fleet.auditor.page(Asked(), first.next)
    assert (rest.pairs, rest.ordered, rest.next) == (1, 3, None)
    assert rest.account.findings == []
    assert rest.account.counts["missed", "nobody"] == 1
    assert rest.account.counts["waiting", "ordered"] == 2


async def test_a_start_of_the_server_that_vanished_is_found(fleet: Fleet) -> None:
    row = wanted(5, worker=b"w" * 16)
    await fleet.store.commit_dispatch(DispatchChange(intents=[row]))
    await fleet.store.commit_dispatch(DispatchChange(closings=[Closing(row, 9)]))
    fleet.auditor = Auditor(
        fleet.store,
        fleet.clock,
        dict,
        lambda: 1.0,
        lambda: Retention(verdict_age=400 * 365 * 86_400.0),
    )
    for asked, found in (
        (Asked(), [Fault.HOLE]),
        (Asked(schedules=frozenset({TWO})), []),
        (Asked(workers=frozenset({b"w" * 16})), [Fault.HOLE]),
        (Asked(workers=frozenset({b"v" * 16})), []),
    ):
        page = await fleet.auditor.page(asked)
        assert [one.fault for one in page.account.findings] == found
