"""One suite for every store: memory, SQLite and MariaDB keep the same promises."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from bartos.store.memory import MemoryStore
from bartos.store.orders import Audit
from bartos.store.port import (
    BARRED,
    Batch,
    DeadLetter,
    EpochClaim,
    Mark,
    QueryLimits,
    Retention,
    RunFilter,
    ScheduleRow,
    Standing,
    Store,
    VersionRow,
)
from bartos.store.settings import MariaDbSettings, SqliteSettings, StoreSettings
from bartos.store.sql import SqlStore
from libbarto.identity import NO_TAG
from libbarto.message.v2.record import (
    STATE_RECORD,
    Claimed,
    ClockBack,
    Cut,
    Decided,
    Ended,
    Lane,
    Output,
    Record,
    SetApplied,
    Started,
    Status,
    Stream,
    StreamTotals,
    Verdict,
)
from libbarto.message.v2.segment import Segment, pack, unpack
from tests.mariadb import MariaDB

WORKER = b"w" * 16
SPOOL = b"s" * 16
SCHEDULE = b"c" * 16
NOON = 1_800_000_000_000_000
HOUR = 3_600_000_000
DAY = 24 * HOUR
ALL = RunFilter()

pytestmark = pytest.mark.real_loop


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    with MariaDB(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@functools.cache
def migrated_file(directory: Path) -> Path:
    """An SQLite database of today's schema without a row, to be copied."""
    file = directory / "migrated.db"

    async def migrate() -> None:
        async with opened(SqliteSettings(file)):
            pass

    asyncio.run(migrate())
    return file


Opened = Callable[[], Awaitable[Store]]


@pytest.fixture(params=["memory", "sqlite", "mariadb"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> StoreSettings | None:
    if kind == "memory":
        return None
    if kind == "sqlite":
        file = tmp_path / "barto.db"
        shutil.copyfile(
            migrated_file(request.getfixturevalue("tmp_path_factory").getbasetemp()), file
        )
        return SqliteSettings(file)
    server: MariaDB = request.getfixturevalue("mariadb")
    return emptied_database(server)


def emptied_database(server: MariaDB) -> MariaDbSettings:
    """A database of today's schema without a row: the one that was migrated for the first test of
    a module, since making its tables takes longer than most tests."""
    name = server.database
    tables = server.sql(
        "SELECT table_name FROM information_schema.tables "
        f"WHERE table_schema = '{name}' AND table_type = 'BASE TABLE'"
    )
    names = [row[0] for row in tables if row[0] != "alembic_version"]
    if not names:
        return fresh_database(server)
    emptied = "".join(f"DELETE FROM {name}.`{table}`; " for table in names)
    server.sql(f"SET FOREIGN_KEY_CHECKS = 0; {emptied}")
    return MariaDbSettings(server.host, server.port, None, server.user, server.password, name)


def fresh_database(server: MariaDB) -> MariaDbSettings:
    """An empty database on a server that other tests use, too."""
    name = server.database
    server.sql(f"DROP DATABASE {name}; CREATE DATABASE {name};")
    return MariaDbSettings(server.host, server.port, None, server.user, server.password, name)


@asynccontextmanager
async def opened(settings: StoreSettings | None) -> AsyncIterator[Store]:
    store: Store = MemoryStore() if settings is None else SqlStore(settings)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class Reporter:
    """A worker that reports: numbers, tags and epochs as a session would have them."""

    def __init__(self, store: Store, epoch: int = 1, name: str = "web1") -> None:
        self.store = store
        self.epoch = epoch
        self.name = name
        self.seq = {Lane.STATE: 0, Lane.OUTPUT: 0}

    async def connect(self) -> bool:
        return await self.store.confirm_epoch(
            EpochClaim(
                WORKER, self.name, self.epoch, SPOOL, {"role": "web"}, "2.0.0", {"os": "debian"},
                "10.0.0.7", NOON,
            )
        )  # fmt: skip

    def batch(self, *records: Record | DeadLetter, lane: Lane = Lane.STATE) -> Batch:
        first = self.seq[lane] + 1
        self.seq[lane] += len(records)
        tag = self.seq[lane].to_bytes(8, "big")
        return Batch(WORKER, self.name, SPOOL, lane, self.epoch, first, tag, records)

    async def state(self, *records: Record | DeadLetter) -> bool:
        return (await self.store.append([self.batch(*records)]))[0]

    async def output(self, *records: Record | DeadLetter) -> bool:
        return (await self.store.append([self.batch(*records, lane=Lane.OUTPUT)]))[0]


def run_id(number: int) -> bytes:
    return (NOON // 1000 + number).to_bytes(6, "big") + bytes([0x80, number]) + b"\x80" + b"r" * 7


def claimed(number: int, schedule: str = "backup", slot: int | None = None) -> Claimed:
    at = NOON + number * 1000 if slot is None else slot
    return Claimed(
        run_id=run_id(number), attempt=1, kind=0, schedule_uid=SCHEDULE, schedule=schedule,
        slot=at, at=at + 5, late_us=5, generation=3,
    )  # fmt: skip


def status(number: int, step: int = 1, code: int | None = 0, signal: int | None = None) -> Status:
    return Status(
        run_id=run_id(number), attempt=1, step=step, command="true", exit_code=code, signal=signal,
        success=code == 0, started_at=NOON, ended_at=NOON + 9, reason=None,
    )  # fmt: skip


def ended(
    number: int,
    verdict: Verdict = Verdict.OK,
    output_seq: int = 0,
    at: int = NOON + 10,
    printed: int = 0,
) -> Ended:
    return Ended(
        run_id=run_id(number), attempt=1, verdict=int(verdict), started_at=NOON, ended_at=at,
        output_seq=output_seq,
        totals=[StreamTotals(stream=1, bytes_=printed, lines=1, sha256=b"\x5a" * 32)],
    )  # fmt: skip


def chunk(number: int, chunk_no: int, data: bytes, offset: int = 0, line: int = 0) -> Output:
    return Output(
        run_id=run_id(number), attempt=1, chunk_no=chunk_no, step=1, offset=offset,
        first_line=line, lines=data.count(b"\n"), started_at=NOON,
        segments=pack([Segment(stream=Stream.STDOUT, length=len(data))]), data=data,
    )  # fmt: skip


# -- sessions -------------------------------------------------------------------------------------


async def test_a_worker_is_known_once_its_epoch_is_confirmed(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        assert await store.worker(WORKER) is None
        assert await Reporter(store).connect()
        row = await store.worker(WORKER)
        assert row is not None
        assert (row.name, row.epoch, row.spool_id) == ("web1", 1, SPOOL)
        assert (dict(row.labels), dict(row.capabilities)) == ({"role": "web"}, {"os": "debian"})
        assert await store.worker_named("web1") == row
        assert await store.worker_named("WEB1") is None
        assert await store.workers() == [row]
        assert (await store.marks(SPOOL))[Lane.STATE] == Mark(0, NO_TAG, 1)
        assert (await store.marks(b"?" * 16))[Lane.OUTPUT] == Mark()


async def test_only_a_higher_epoch_is_confirmed(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        assert await Reporter(store, epoch=5).connect()
        assert not await Reporter(store, epoch=5).connect()
        assert not await Reporter(store, epoch=4, name="impostor").connect()
        row = await store.worker(WORKER)
        assert row is not None and row.name == "web1"
        assert await Reporter(store, epoch=6, name="renamed").connect()
        assert row.epoch == 5


async def test_a_session_is_compared_with_how_the_store_knows_it(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store, epoch=5)
        await reporter.connect()
        await reporter.state(claimed(1))
        mark = (await store.marks(SPOOL))[Lane.STATE]
        known, unknown = await store.standings([(WORKER, SPOOL), (b"?" * 16, SPOOL)])
        assert unknown is None
        assert known == Standing(5, SPOOL, {Lane.STATE: mark, Lane.OUTPUT: Mark(0, NO_TAG, 5)})
        assert mark.seq == 1
        assert await store.standings([]) == []


async def test_a_worker_that_was_reset_comes_back_with_another_spool_only(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        await Reporter(store, epoch=9).connect()
        await store.reset_worker(WORKER, [b"copy" * 4])
        for spool in (SPOOL, b"copy" * 4):
            assert {mark.epoch for mark in (await store.marks(spool)).values()} == {BARRED}
            claim = EpochClaim(WORKER, "web1", 10, spool, {}, "", {}, "", NOON)
            assert not await store.confirm_epoch(claim)
        fresh = EpochClaim(WORKER, "web1", 3, b"new." * 4, {}, "", {}, "", NOON)
        assert await store.confirm_epoch(fresh), "whatever epoch it holds"
        row = await store.worker(WORKER)
        assert row is not None and (row.epoch, row.spool_id) == (3, b"new." * 4)


async def test_what_was_committed_though_the_answer_was_lost_is_not_refused(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        one = reporter.batch(claimed(1))
        assert await store.append([one]) == [True]
        assert await store.append([one]) == [True], "this session has committed it"
        assert len(await store.runs(RunFilter())) == 1
        assert await store.append([replace(one, epoch=0)]) == [False]
        await Reporter(store, epoch=2).connect()
        assert await store.append([one]) == [False], "a newer session was confirmed"


async def test_generations_change_by_compare_and_set(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        await Reporter(store).connect()
        assert await store.set_generation(WORKER, 0, 7, b"hash")
        assert not await store.set_generation(WORKER, 0, 8, b"other")
        row = await store.worker(WORKER)
        assert row is not None and (row.generation, row.set_hash) == (7, b"hash")
        await store.seen([WORKER], NOON + 99)
        await store.seen([], NOON)
        row = await store.worker(WORKER)
        assert row is not None and row.last_seen == NOON + 99


async def test_a_batch_counts_only_where_its_mark_is(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        assert not await reporter.state(claimed(1)), "nobody has confirmed an epoch"
        reporter = Reporter(store)
        await reporter.connect()
        first = reporter.batch(claimed(1))
        assert await store.append([first]) == [True]
        assert await store.append([first]) == [True], "it is here by now; nothing changes"
        late = Batch(WORKER, "web1", SPOOL, Lane.STATE, 1, 5, b"t" * 8, [claimed(2)])
        stale = Batch(WORKER, "web1", SPOOL, Lane.STATE, 0, 2, b"t" * 8, [claimed(2)])
        assert await store.append([late, stale]) == [False, False]
        assert len(await store.runs(RunFilter())) == 1
        assert (await store.marks(SPOOL))[Lane.STATE] == Mark(1, first.tag, 1)


async def test_state_goes_before_output_and_many_batches_share_a_commit(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        printed = reporter.batch(chunk(1, 0, b"hi\n"), lane=Lane.OUTPUT)
        began = reporter.batch(claimed(1))
        assert await store.append([printed, began]) == [True, True]
        assert [c.data for c in await store.chunks(run_id(1), 1)] == [b"hi\n"]


async def test_a_gap_moves_the_mark_forward_only(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        await reporter.state(claimed(1))
        mark = Mark(9, b"g" * 8, 1)
        assert not await store.skip_to(SPOOL, Lane.STATE, 2, mark, NOON)
        assert await store.skip_to(SPOOL, Lane.STATE, 1, mark, NOON)
        assert not await store.skip_to(SPOOL, Lane.STATE, 1, Mark(4, b"x" * 8, 1), NOON)
        assert (await store.marks(SPOOL))[Lane.STATE] == mark


async def test_a_cut_counts_what_was_here_where_the_middle_never_came(
    settings: StoreSettings | None,
) -> None:
    """As a worker tells of much output: head, then the end that it had held back, then the cut."""
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        await reporter.state(claimed(1))
        await reporter.output(chunk(1, 0, b"head\n", 0))
        await reporter.output(
            chunk(1, 7, b"cut\nin two\n", 1000, 100), chunk(1, 8, b"tail\n", 1011, 102)
        )
        cut = Cut(
            run_id=run_id(1), attempt=1, chunk_no=1, step=1, from_offset=5, to_offset=1004,
            first_line=1, lines=None, at=NOON,
        )  # fmt: skip
        await reporter.output(cut)
        end = ended(1, output_seq=4, printed=1016)
        await reporter.state(msgspec.structs.replace(end, cut_bytes=999))
        text = b"".join(row.data for row in await store.chunks(run_id(1), 1) if row.chunk_no != 1)
        assert text == b"head\nin two\ntail\n"
        (row,) = await store.runs(RunFilter())
        assert (row.cut_lines, row.cut_bytes, row.complete) == (100, 999, True)


# -- runs -----------------------------------------------------------------------------------------


async def test_a_run_is_told_from_claim_to_end(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        await reporter.state(claimed(1))
        (row,) = await store.runs(RunFilter(running=True))
        assert (row.verdict, row.complete, row.worker, row.late_us) == (None, False, "web1", 5)
        await reporter.state(Started(run_id=run_id(1), attempt=1, pid=7, at=NOON + 1))
        await reporter.state(status(1, 1), status(1, 2, code=77), status(1, 3, None, signal=9))
        await reporter.state(ended(1, Verdict.FAILED, output_seq=2, printed=4))
        await reporter.output(chunk(1, 0, b"a\n"))
        (row,) = await store.runs(RunFilter())
        assert (row.verdict, row.exit_code, row.signal) == (Verdict.FAILED, 77, None)
        assert (row.bytes_out, row.sha_out, row.complete) == (4, b"\x5a" * 32, False)
        await reporter.output(chunk(1, 1, b"b\n", 2, 1))
        (row,) = await store.runs(RunFilter(running=False))
        assert row.complete
        steps = await store.steps(run_id(1))
        assert [(s.step, s.exit_code, s.signal, s.success) for s in steps] == [
            (1, 0, None, True),
            (2, 77, None, False),
            (3, None, 9, False),
        ]
        assert await store.steps(run_id(1), 2) == []


@pytest.mark.parametrize("code", [-1, 0, 255, 256, -1073741819, 2**31 - 1])
async def test_exit_codes_are_kept_exactly(settings: StoreSettings | None, code: int) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        await reporter.state(claimed(1), status(1, code=code), ended(1))
        (row,) = await store.runs(RunFilter())
        assert row.exit_code == code


async def test_a_further_attempt_takes_the_place_of_the_one_before(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        await reporter.state(claimed(1), status(1, code=1), ended(1, Verdict.FAILED))
        await reporter.state(msgspec.structs.replace(claimed(1), attempt=2))
        await reporter.state(claimed(1))  # told again: a lower attempt changes nothing
        (row,) = await store.runs(RunFilter())
        assert (row.attempt, row.verdict) == (2, None)


async def test_bytes_come_back_as_they_were(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        await reporter.state(claimed(1))
        wild = bytes(range(256)) * 128
        await reporter.output(chunk(1, 0, wild), chunk(1, 1, b"", len(wild)))
        rows = await store.chunks(run_id(1), 1)
        assert [row.data for row in rows] == [wild, b""]
        assert await store.chunks(run_id(1), 1, after=0, limit=5) == rows[1:]
        assert await store.chunks(run_id(1), 2) == []


async def test_text_of_any_script_comes_back_as_it_was(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store, name="größe-🌍")
        await reporter.connect()
        await reporter.state(claimed(1, schedule="naïve 日本"))
        (row,) = await store.runs(RunFilter())
        assert (row.worker, row.schedule) == ("größe-🌍", "naïve 日本")


@pytest.mark.parametrize(("to_offset", "lines"), [(9, None), (8, None), (12, None), (14, 4)])
async def test_output_is_cut_to_the_byte(
    settings: StoreSettings | None, to_offset: int, lines: int | None
) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        await reporter.state(claimed(1))
        # head "ab", then a place for the marker, then what was sent beyond the head
        await reporter.output(
            chunk(1, 0, b"ab", 0),
            chunk(1, 2, b"c\nd\ne\n", 2, 0),
            chunk(1, 3, b"f\ng\n", 8, 3),
        )
        cut = Cut(
            run_id=run_id(1), attempt=1, chunk_no=1, step=1, from_offset=2, to_offset=to_offset,
            first_line=0, lines=lines, at=NOON,
        )  # fmt: skip
        await reporter.output(cut)
        rows = await store.chunks(run_id(1), 1)
        whole = b"abc\nd\ne\nf\ng\n"
        dropped = whole[2:to_offset]
        expected_lines = dropped.count(b"\n") if lines is None else lines
        marker = rows[1]
        assert (marker.chunk_no, marker.offset) == (1, 2)
        assert [s.stream for s in unpack(marker.segments)] == [Stream.MARKER]
        assert marker.data == (
            f"\n[barto: {to_offset - 2} bytes in {expected_lines} lines left out]\n".encode()
        )
        assert b"".join(row.data for row in rows if row.chunk_no != 1) == b"ab" + whole[to_offset:]
        for row in rows[2:]:
            assert sum(segment.length for segment in unpack(row.segments)) == len(row.data)
        (run,) = await store.runs(RunFilter())
        assert run.cut_lines == expected_lines


async def test_slots_that_did_not_run_are_told(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        await reporter.state(
            Decided(
                schedule_uid=SCHEDULE, schedule="backup", first_slot=NOON, last_slot=NOON + HOUR,
                count=61, verdict=int(Verdict.MISSED), reason="the worker was down",
            ),
            SetApplied(generation=1, at=NOON, schedules=[SCHEDULE]),
        )  # fmt: skip
        (row,) = await store.ranges(RunFilter())
        assert (row.count, row.verdict, row.worker) == (61, Verdict.MISSED, "web1")
        assert (row.first_slot, row.last_slot) == (NOON, NOON + HOUR)
        assert await store.ranges(RunFilter(since=NOON + 2 * HOUR)) == []
        assert await store.ranges(RunFilter(verdicts=frozenset({Verdict.SKIPPED}))) == []


async def test_a_clock_set_back_withdraws_what_was_decided_ahead_of_it(
    settings: StoreSettings | None,
) -> None:
    def missed(first: int, last: int, count: int) -> Decided:
        return Decided(
            schedule_uid=SCHEDULE, schedule="backup", first_slot=first, last_slot=last,
            count=count, verdict=int(Verdict.MISSED), reason="",
        )  # fmt: skip

    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        await reporter.state(
            missed(NOON - HOUR, NOON, 2),
            missed(NOON, NOON + 2 * HOUR, 3),
            missed(NOON + 2 * HOUR, NOON + 3 * HOUR, 2),
            ClockBack(now=NOON + HOUR),
            missed(NOON + 2 * HOUR, NOON + 2 * HOUR, 1),
        )
        told = [(row.first_slot, row.last_slot, row.count) for row in await store.ranges(ALL)]
        assert told == [
            (NOON + 2 * HOUR, NOON + 2 * HOUR, 1),
            (NOON, NOON + HOUR, 2),
            (NOON - HOUR, NOON, 2),
        ]


@pytest.mark.parametrize(
    "bad",
    [
        msgspec.structs.replace(claimed(2), generation=1 << 63),
        msgspec.structs.replace(claimed(2), slot=1 << 62),
        msgspec.structs.replace(claimed(2), schedule="x" * 256),
        msgspec.structs.replace(ended(1), verdict=99),
        Started(run_id=run_id(1), attempt=1, pid=1 << 63, at=NOON),
    ],
)
async def test_a_record_that_cannot_be_stored_stops_nothing(
    settings: StoreSettings | None, bad: Record
) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        assert await reporter.state(claimed(1), bad, claimed(3))
        rows = await store.runs(ALL)
        assert [(row.run_id, row.verdict) for row in rows] == [(run_id(3), None), (run_id(1), None)]
        await reporter.state(ended(1))
        assert (await store.runs(ALL))[1].verdict is Verdict.OK


async def test_output_whose_segments_lie_stops_nothing(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        await reporter.state(claimed(1))
        short = msgspec.structs.replace(chunk(1, 1, b"bad\n", 3, 1), data=b"longer than they say")
        none = msgspec.structs.replace(chunk(1, 2, b"bad\n", 3, 1), segments=b"\xff")
        assert await reporter.output(chunk(1, 0, b"ok\n"), short, none)
        assert [row.data for row in await store.chunks(run_id(1), 1)] == [b"ok\n"]


async def test_a_worker_cannot_touch_the_runs_of_another(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        await reporter.state(claimed(1), ended(1))
        await reporter.output(chunk(1, 0, b"mine\n"))
        other, spool = b"o" * 16, b"p" * 16
        await store.confirm_epoch(EpochClaim(other, "evil", 1, spool, {}, "", {}, "", NOON))
        again = msgspec.structs.replace(claimed(1), attempt=2)
        state = Batch(other, "evil", spool, Lane.STATE, 1, 1, b"t" * 8, [again, status(1)])
        printed = [chunk(1, 1, b"forged\n", 5, 1)]
        output = Batch(other, "evil", spool, Lane.OUTPUT, 1, 1, b"t" * 8, printed)
        assert await store.append([state, output]) == [True, True]
        (row,) = await store.runs(ALL)
        assert (row.worker, row.attempt, row.verdict) == ("web1", 1, Verdict.OK)
        assert await store.steps(run_id(1)) == []
        assert [c.data for c in await store.chunks(run_id(1), 1)] == [b"mine\n"]


async def test_a_verdict_is_told_once(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        await reporter.state(claimed(1), claimed(2), ended(1), ended(2, Verdict.LOST))
        await reporter.state(ended(1, Verdict.FAILED), ended(2, Verdict.OK))
        rows = await store.runs(ALL)
        assert [row.verdict for row in rows] == [Verdict.OK, Verdict.OK], "only lost gives way"


async def test_a_run_that_waits_for_a_retry_has_no_verdict(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        waiting = msgspec.structs.replace(ended(1, Verdict.FAILED, output_seq=1), final=False)
        second = msgspec.structs.replace(claimed(1), attempt=2)
        await reporter.state(claimed(1), status(1, code=3), waiting)
        (row,) = await store.runs(RunFilter(running=True))
        assert (row.attempt, row.exit_code, row.ended_at) == (1, 3, None)
        last = msgspec.structs.replace(ended(1), attempt=2)
        # All of it in one batch: a run's records count in their order.
        await reporter.state(second, last)
        (row,) = await store.runs(ALL)
        assert (row.attempt, row.verdict, row.complete) == (2, Verdict.OK, False)
        await reporter.output(chunk(1, 0, b"of the first attempt\n"))
        (row,) = await store.runs(ALL)
        assert row.complete


async def test_many_workers_share_a_commit(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        batches = []
        for number in range(60):
            uid, spool = bytes([1, number]) * 8, bytes([2, number]) * 8
            claim = EpochClaim(uid, f"w{number}", 1, spool, {}, "", {}, "", NOON)
            assert await store.confirm_epoch(claim)
            records = claimed(number), status(number), ended(number, output_seq=2)
            tag = bytes([number]) * 8
            batches.append(Batch(uid, f"w{number}", spool, Lane.STATE, 1, 1, tag, records[:1]))
            batches.append(Batch(uid, f"w{number}", spool, Lane.STATE, 1, 2, tag, records[1:]))
            chunks = [chunk(number, 0, b"a\n"), chunk(number, 1, b"b\n", 2, 1)]
            batches.append(Batch(uid, f"w{number}", spool, Lane.OUTPUT, 1, 1, tag, chunks))
        batches[30] = replace(batches[30], epoch=7)
        found = await store.append(batches)
        # A batch out of its turn takes those behind it with it, and no one else's.
        assert [index for index, counted in enumerate(found) if not counted] == [30, 31]
        rows = await store.runs(RunFilter(limit=100))
        assert len(rows) == 59
        assert all(row.complete and row.exit_code == 0 for row in rows)
        assert await store.append(batches) == found, "what is here is here, and stays as it is"
        assert await store.runs(RunFilter(limit=100)) == rows


async def test_what_cannot_be_understood_is_put_aside_and_the_rest_counts(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        assert await reporter.state(claimed(1), DeadLetter(2, b"\xff", "no such record"), ended(1))
        (row,) = await store.runs(RunFilter())
        assert row.verdict is Verdict.OK


def changed(record: Record, **values: object) -> Record:
    return msgspec.structs.replace(record, **values)


def unbearable() -> list[Record]:
    """Records that the wire can carry, and that no row can hold or no reader could show."""
    return [
        changed(claimed(2), generation=2**64 - 1),
        changed(claimed(2), schedule="x" * 256),
        changed(claimed(2), slot=2**62),
        changed(ended(1), verdict=99),
        changed(ended(1), totals=[StreamTotals(stream=1, bytes_=2**63, lines=0)]),
        Decided(
            schedule_uid=SCHEDULE, schedule="backup", first_slot=NOON, last_slot=NOON,
            count=2**63, verdict=int(Verdict.MISSED),
        ),
        Decided(
            schedule_uid=SCHEDULE, schedule="backup", first_slot=NOON, last_slot=NOON,
            count=1, verdict=8,
        ),
        ClockBack(now=-(2**63)),
    ]  # fmt: skip


async def test_what_no_row_can_hold_is_put_aside_and_stops_nobody(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        bad = unbearable()
        assert await reporter.state(claimed(1), *bad, ended(1))
        assert await reporter.output(
            chunk(1, 0, b"ok"), changed(chunk(1, 1, b"x"), offset=2**63), chunk(1, 2, b"!", 2)
        )
        (row,) = await store.runs(RunFilter())
        assert (row.run_id, row.verdict) == (run_id(1), Verdict.OK)
        assert [c.data for c in await store.chunks(run_id(1), 1)] == [b"ok", b"!"]
        assert await store.ranges(RunFilter()) == []
        letters = await dead_letters(store)
        assert [(lane, seq) for lane, seq, _ in letters] == [
            *((Lane.STATE, seq) for seq in range(2, 2 + len(bad))),
            (Lane.OUTPUT, 2),
        ]
        assert [STATE_RECORD.decode(data) for _, _, data in letters[:-1]] == bad


async def dead_letters(store: Store) -> list[tuple[Lane, int, bytes]]:
    """What was put aside, in order."""
    if isinstance(store, MemoryStore):
        return [(lane, letter.seq, letter.data) for _, lane, letter in store.dead_letters]
    found = await store.query("SELECT lane, seq, data FROM dead_letter ORDER BY id", QueryLimits())
    return [(Lane(lane), seq, data) for lane, seq, data in found.rows]  # type: ignore[arg-type,misc]


async def test_a_batch_may_be_larger_than_a_statement(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        await reporter.state(claimed(1))
        piece = b"x" * 500_000
        assert await reporter.output(*(chunk(1, n, piece, n * 500_000) for n in range(40)))
        assert len(await store.chunks(run_id(1), 1, after=37)) == 2


async def test_output_left_out_of_a_run_that_was_dropped_leaves_no_marker(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        cut = Cut(
            run_id=run_id(9), attempt=1, chunk_no=1, step=1, from_offset=2, to_offset=9,
            first_line=0, at=NOON,
        )  # fmt: skip
        assert await reporter.output(cut)
        assert await store.chunks(run_id(9), 1) == []


async def test_an_attempt_that_is_over_does_not_end_the_one_after_it(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        await reporter.state(claimed(1), changed(claimed(1), attempt=2))
        await reporter.state(Started(run_id=run_id(1), attempt=1, pid=7, at=NOON), ended(1))
        (row,) = await store.runs(RunFilter())
        assert (row.attempt, row.started_at, row.verdict) == (2, None, None)


async def test_runs_are_found_by_what_they_are(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        await store.replace_schedules([ScheduleRow(SCHEDULE, "web1/sync", "{}")], NOON)
        await reporter.state(*(claimed(n, "backup" if n % 2 else "web1/sync") for n in range(1, 8)))
        await reporter.state(ended(1), ended(2, Verdict.FAILED))

        async def numbers(**wanted: object) -> list[int]:
            rows = await store.runs(RunFilter(**wanted))  # type: ignore[arg-type]
            return [(row.slot - NOON) // 1000 for row in rows]

        assert await numbers() == [7, 6, 5, 4, 3, 2, 1]
        assert await numbers(schedule="sync") == [6, 4, 2]
        assert await numbers(schedule="web1/sync", limit=1) == [6]
        assert await numbers(schedule="s%c") == await numbers(schedule="s_nc") == []
        await store.replace_schedules([], NOON)
        assert await numbers(schedule="sync") == [6, 4, 2], "it was there"
        assert await numbers(worker="web2") == []
        assert await numbers(verdicts=frozenset({Verdict.FAILED})) == [2]
        assert await numbers(running=True, until=NOON + 5000) == [4, 3]
        assert await numbers(since=NOON + 6000) == [7, 6]
        assert await numbers(before=(NOON + 4000, run_id(4))) == [3, 2, 1]
        assert await store.schedule_names("web1") == ["backup", "web1/sync"]
        assert [row.run_id for row in await store.runs_like(run_id(3).hex()[:15])] != []
        (only,) = await store.runs_like(run_id(3).hex())
        assert only.run_id == run_id(3)


# -- schedules ------------------------------------------------------------------------------------


async def test_schedules_are_replaced_as_a_whole(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        one = ScheduleRow(b"1" * 16, "one", "{}", True, 1, NOON)
        two = ScheduleRow(b"2" * 16, "two", '{"cmds": []}', False, 1, NOON)
        await store.replace_schedules([two, one], NOON)
        assert await store.schedules() == [one, two]
        changed = ScheduleRow(b"2" * 16, "renamed", '{"cmds": ["x"]}', True, 2, NOON + 1)
        await store.replace_schedules([changed], NOON + 1)
        assert await store.schedules() == [changed]
        paused = replace(changed, enabled=False)
        await store.replace_schedules([paused], NOON + 1)
        assert await store.schedules() == [paused]
        await store.replace_schedules([], NOON + 2)
        assert await store.schedules() == []


async def test_all_that_a_schedule_ever_was_is_remembered(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        row = ScheduleRow(SCHEDULE, "backup", '{"cmds": ["a"]}', version=1, updated_at=NOON)
        await store.replace_schedules([row], NOON)
        await store.replace_schedules([row], NOON + 1)
        assert [one.until_at for one in await store.schedule_versions(SCHEDULE)] == [None]
        changed = replace(row, definition='{"cmds": ["b"]}', version=2, updated_at=NOON + 2)
        await store.replace_schedules([changed], NOON + 2)
        first, second = await store.schedule_versions(SCHEDULE)
        assert first == VersionRow(
            SCHEDULE, 1, "backup", '{"cmds": ["a"]}', from_at=NOON, until_at=NOON + 2
        )
        assert (second.version, second.from_at, second.until_at) == (2, NOON + 2, None)
        await store.replace_schedules([], NOON + 5)
        last = (await store.schedule_versions(SCHEDULE))[-1]
        assert (last.version, last.until_at) == (2, NOON + 5)
        assert await store.schedule_versions(bytes(16)) == []


async def test_events_are_found_by_kind_worker_and_time(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        await store.audit(
            [
                Audit(NOON, "worker joined", {"version": "1"}, "web1"),
                Audit(NOON + 1, "pause", {"who": "ann"}),
                Audit(NOON + 2, "worker joined", {"version": "2"}, "web2"),
            ]
        )
        found = await store.events(0, kinds={"worker joined"}, worker="web1")
        assert [row.facts for row in found] == [{"version": "1"}]
        found = await store.events(0, kinds={"pause", "worker joined"}, until=NOON + 1)
        assert [row.kind for row in found] == ["pause", "worker joined"]


# -- retention ------------------------------------------------------------------------------------


async def drop_all(store: Store, keep: Retention, now: int) -> tuple[int, int]:
    rows = runs = 0
    for _ in range(100):
        step = await store.prune(keep, now, batch=2)
        rows += step.output_rows
        runs += step.runs
        if not step.more:
            return rows, runs
    raise AssertionError("retention never comes to an end")


async def history(store: Store) -> Reporter:
    """Five runs a day apart, the second failed, each with output of 100 bytes in three chunks."""
    reporter = Reporter(store)
    await reporter.connect()
    for number in range(1, 6):
        at = NOON + number * DAY
        verdict = Verdict.FAILED if number == 2 else Verdict.OK
        await reporter.state(
            claimed(number, slot=at), status(number), ended(number, verdict, at=at + HOUR)
        )
        await reporter.output(
            *(chunk(number, i, b"x" * size) for i, size in enumerate((50, 30, 20)))
        )
    return reporter


async def kept(store: Store) -> dict[int, int]:
    """For each run that is left, how many bytes of its output are."""
    return {
        row.run_id[7]: sum(len(c.data) for c in await store.chunks(row.run_id, 1))
        for row in await store.runs(RunFilter())
    }


async def test_output_goes_by_age_but_the_last_run_and_failure_stay(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        await history(store)
        keep = Retention(output_age=1 * 86_400.0)
        counted = await store.prune(keep, NOON + 100 * DAY, dry_run=True)
        assert (counted.output_rows, counted.output_bytes) == (9, 300)
        assert await kept(store) == dict.fromkeys(range(1, 6), 100), "a dry run changes nothing"
        assert await drop_all(store, keep, NOON + 100 * DAY) == (9, 0)
        assert await kept(store) == {1: 0, 2: 100, 3: 0, 4: 0, 5: 100}


async def test_verdicts_go_by_age_and_output_goes_with_them(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = await history(store)
        await reporter.state(
            Decided(
                schedule_uid=SCHEDULE, schedule="backup", first_slot=NOON, last_slot=NOON,
                count=1, verdict=int(Verdict.MISSED), reason="",
            )
        )  # fmt: skip
        keep = Retention(output_age=2 * 86_400.0, verdict_age=3 * 86_400.0)
        rows, runs = await drop_all(store, keep, NOON + 100 * DAY)
        assert (rows, runs) == (9, 3)
        assert await kept(store) == {2: 100, 5: 100}
        assert await store.steps(run_id(1)) == []
        assert await store.ranges(RunFilter()) == []


async def test_output_does_not_outlive_its_verdict(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        await history(store)
        keep = Retention(output_age=400 * 86_400.0, verdict_age=86_400.0)
        counted = await store.prune(keep, NOON + 100 * DAY, dry_run=True)
        assert (counted.output_rows, counted.output_bytes, counted.runs) == (9, 300, 3)
        assert await drop_all(store, keep, NOON + 100 * DAY) == (9, 3)
        assert await kept(store) == {2: 100, 5: 100}


async def test_a_file_shrinks_when_what_was_in_it_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "barto.db"

    def pages() -> tuple[int, int]:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            (count,) = connection.execute("PRAGMA page_count").fetchone()
            (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        return count, free

    async with opened(SqliteSettings(path)) as store:
        reporter = await history(store)
        before, _ = pages()
        await reporter.output(*(chunk(1, n, b"x" * 30_000, n * 30_000) for n in range(3, 40)))
        assert pages()[0] > before + 200
        await drop_all(store, Retention(output_age=86_400.0), NOON + 100 * DAY)
        count, free = pages()
        assert (count <= before, free) == (True, 0)


async def test_the_oldest_output_goes_where_all_is_too_much(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        await history(store)
        rows, runs = await drop_all(store, Retention(total_bytes=350), NOON + 6 * DAY)
        assert (rows, runs) == (6, 0)
        assert await kept(store) == {1: 0, 2: 100, 3: 0, 4: 100, 5: 100}


async def test_a_schedule_may_have_ages_of_its_own(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        await history(store)
        keep = Retention(output_by_schedule={SCHEDULE: 86_400.0}, verdicts_by_schedule={})
        assert await drop_all(store, keep, NOON + 10 * DAY) == (9, 0)


async def test_what_is_kept_for_ever_does_not_hide_what_is_behind_it(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = Reporter(store)
        await reporter.connect()
        for number in range(1, 8):
            at = NOON + number * HOUR
            uid = bytes([min(number, 5)]) * 16  # four schedules that ran once, one that ran thrice
            await reporter.state(
                msgspec.structs.replace(claimed(number, slot=at), schedule_uid=uid),
                status(number),
                ended(number, at=at + HOUR),
            )
            await reporter.output(*(chunk(number, i, b"x" * 50) for i in range(2)))
        now = NOON + 100 * DAY
        a_day, a_year = Retention(output_age=86_400.0), Retention(output_age=365 * 86_400.0)
        assert (await store.prune(a_day, now, batch=2)).more
        assert not (await store.prune(a_year, now, batch=100)).output_rows
        dropped = (await drop_all(store, a_day, now))[0]
        assert dropped <= 4
        assert await kept(store) == {1: 100, 2: 100, 3: 100, 4: 100, 5: 0, 6: 0, 7: 100}
        await drop_all(store, Retention(verdict_age=86_400.0), now)
        assert sorted(await kept(store)) == [1, 2, 3, 4, 7]


async def test_output_of_a_run_that_was_dropped_is_not_stored_again(
    settings: StoreSettings | None,
) -> None:
    async with opened(settings) as store:
        reporter = await history(store)
        await drop_all(store, Retention(verdict_age=86_400.0), NOON + 100 * DAY)
        assert await reporter.output(chunk(1, 3, b"late"))
        assert await kept(store) == {2: 100, 5: 100}


async def test_a_store_that_answers_says_so(settings: StoreSettings | None) -> None:
    async with opened(settings) as store:
        await store.ping()
