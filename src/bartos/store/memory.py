"""The store's twin in memory: what a test asks of a database, without one.

It keeps what `port` promises, and knows nothing of SQL: `query` answers only that it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bartos.store.alerts import AlertNews, AlertRow, AlertState, Backlog, Looked, Outcome, Sending
from bartos.store.checking import occurrence_of, raw, refusal, run_of
from bartos.store.coverage import (
    clock_back,
    is_settled,
    is_withdrawn,
    key_of,
    missing_bytes,
    range_of,
    reaches_back_to,
    set_applied,
    slots_in,
    waits_in_vain,
)
from bartos.store.lasts import LastMissed, LastRun
from bartos.store.memory_alerts import MemoryAlerts
from bartos.store.memory_orders import MemoryOrders
from bartos.store.orders import (
    NOBODY,
    Audit,
    DispatchChange,
    DispatchState,
    DrainRow,
    Ordered,
    OrderRow,
    ParentEnd,
    PauseRow,
)
from bartos.store.port import (
    BARRED,
    FAILURES,
    OVERLAP,
    Applied,
    Batch,
    ChunkRow,
    DeadLetter,
    EpochClaim,
    EventRow,
    GapRow,
    Mark,
    Pruned,
    QueryLimits,
    QueryResult,
    RefusalRow,
    Retention,
    RunFilter,
    RunRow,
    RunSlot,
    ScheduleRow,
    SlotRange,
    Standing,
    StepRow,
    VersionRow,
    WaitingRow,
    WorkerRow,
)
from bartos.store.trimming import marker_text, slots_until, trimmed
from libbarto.errors import StoreUnavailable, UserError
from libbarto.identity import Kind
from libbarto.message.v2.record import (
    Claimed,
    ClockBack,
    Cut,
    Decided,
    Ended,
    Lane,
    Notice,
    OfferRefused,
    Output,
    Record,
    SetApplied,
    Started,
    Status,
    Stream,
    Verdict,
    Waiting,
)
from libbarto.message.v2.segment import Segment, pack

HOUR_US: Final = 3_600_000_000

Key = tuple[bytes, int]
Pair = tuple[bytes, bytes]


@dataclass(slots=True)
class _Run:
    """A run, and where its output comes from."""

    row: RunRow
    spool_id: bytes
    output_seq: int = 0
    boot_id: bytes = bytes(16)
    ahead: bool = False
    received: int = 0
    gap: int = 0


@dataclass(slots=True)
class _Spool:
    marks: dict[Lane, Mark] = field(
        default_factory=lambda: {Lane.STATE: Mark(), Lane.OUTPUT: Mark()}
    )


class _Ranges:
    """Ranges by what tells them apart, and which of them are *lost*."""

    def __init__(self, rows: Iterable[SlotRange] = ()) -> None:
        self._rows: dict[tuple[object, ...], SlotRange] = {}
        self._lost: set[tuple[object, ...]] = set()
        for row in rows:
            self.put(row)

    def __iter__(self) -> Iterator[SlotRange]:
        return iter(list(self._rows.values()))

    def like(self, row: SlotRange) -> SlotRange | None:
        """The one that begins as `row` does."""
        return self._rows.get(_range_key(row))

    def put(self, row: SlotRange) -> None:
        """Add it, in the place of one that begins as it does."""
        key = _range_key(row)
        self._rows[key] = row
        if row.verdict is Verdict.LOST:
            self._lost.add(key)
        else:
            self._lost.discard(key)

    def drop(self, row: SlotRange) -> None:
        """Take it out."""
        key = _range_key(row)
        del self._rows[key]
        self._lost.discard(key)

    def lost(self) -> list[SlotRange]:
        """Those that give way to what a worker tells."""
        return [self._rows[key] for key in self._lost]


class MemoryStore:
    """See the module's text. While `available` is False every method raises `StoreUnavailable`.

    `refuse` tells of a record that "the database" will not take: it becomes a dead letter.
    """

    def __init__(self, refuse: Callable[[Record], bool] = lambda record: False) -> None:
        self.available = True
        self.dead_letters: list[tuple[bytes, Lane, DeadLetter]] = []
        self._refuse = refuse
        self._workers: dict[bytes, WorkerRow] = {}
        self._spools: dict[bytes, _Spool] = {}
        self._runs: dict[bytes, _Run] = {}
        self._running: dict[bytes, None] = {}
        self._cursors: dict[Pair, int] = {}
        """The last slot of a pair that is decided or waits; where it has to be found, it is not
        in here."""
        self._steps: dict[Key, dict[int, StepRow]] = {}
        self._chunks: dict[Key, dict[int, ChunkRow]] = {}
        self._ranges = _Ranges()
        self._schedules: dict[bytes, ScheduleRow] = {}
        self._versions: list[VersionRow] = []
        self._words: dict[bytes, str] = {}
        self._timings: dict[bytes, str] = {}
        self._applied: list[Applied] = []
        self._waits: dict[bytes, WaitingRow] = {}
        self._refusals: dict[tuple[bytes, bytes, bytes], RefusalRow] = {}
        self._gaps: list[tuple[bytes, GapRow]] = []
        self._told: list[EventRow] = []
        self._alerts = MemoryAlerts(self)
        self._ordered = MemoryOrders(self)

    # -- what the server starts itself, over this history -----------------------------------------

    def run_row(self, run_id: bytes) -> RunRow | None:
        run = self._runs.get(run_id)
        return None if run is None else run.row

    def running_rows(self) -> Iterable[RunRow]:
        return [self._runs[run_id].row for run_id in self._running]

    def range_rows(self) -> list[SlotRange]:
        return list(self._ranges)

    def put_ranges(self, rows: list[SlotRange]) -> None:
        self._ranges = _Ranges(rows)

    def tell(self, audit: Audit) -> None:
        self._told.append(EventRow(audit.at, audit.kind, audit.worker, audit.facts))

    def refused_up_to(self, run_id: bytes, worker_uid: bytes, spool_id: bytes) -> int:
        row = self._refusals.get((run_id, worker_uid, spool_id))
        return 0 if row is None else row.number

    async def dispatch_state(self) -> DispatchState:
        self._reach()
        return self._ordered.state()

    async def commit_dispatch(self, change: DispatchChange) -> frozenset[bytes]:
        self._reach()
        return self._ordered.commit(change)

    def watch_ends(self, schedules: Collection[bytes]) -> None:
        self._ordered.watch(schedules)

    async def parent_ends(self, limit: int = 1000) -> list[ParentEnd]:
        self._reach()
        return self._ordered.parent_ends(limit)

    async def orders(
        self, *, request: bytes | None = None, run_id: bytes | None = None
    ) -> list[OrderRow]:
        self._reach()
        return self._ordered.orders(request, run_id)

    async def ordered(self, after: bytes, limit: int) -> list[Ordered]:
        self._reach()
        return self._ordered.ordered(after, limit)

    async def forget_orders(self, before: int) -> int:
        self._reach()
        return self._ordered.forget(before)

    async def pauses(self) -> list[PauseRow]:
        self._reach()
        return self._ordered.pauses()

    async def change_pauses(
        self, put: Sequence[PauseRow], drop: Collection[bytes], audits: Sequence[Audit]
    ) -> None:
        self._reach()
        self._ordered.change_pauses(put, drop, audits)

    async def drains(self) -> list[DrainRow]:
        self._reach()
        return self._ordered.drains()

    async def change_drains(
        self, put: Sequence[DrainRow], drop: Collection[bytes], audits: Sequence[Audit]
    ) -> None:
        self._reach()
        self._ordered.change_drains(put, drop, audits)

    async def audit(self, rows: Sequence[Audit]) -> None:
        self._reach()
        for row in rows:
            self.tell(row)

    # -- life -------------------------------------------------------------------------------------

    async def open(self) -> None:
        self._reach()

    async def close(self) -> None:
        """Nothing to let go of."""

    async def ping(self) -> None:
        self._reach()

    def _reach(self) -> None:
        if not self.available:
            raise StoreUnavailable("the store in memory was told to be away")

    # -- alerts -----------------------------------------------------------------------------------

    def all_runs(self) -> Iterable[RunRow]:
        return [run.row for run in self._runs.values()]

    async def begin_alerts(self, now: int) -> Looked:
        self._reach()
        return self._alerts.begin(now)

    async def end_alerts(self) -> None:
        self._reach()
        self._alerts.end()

    async def alert_outcomes(self, since: int, until: int, limit: int = 1000) -> list[Outcome]:
        self._reach()
        return self._alerts.outcomes(since, until, limit)

    async def alert_endings(self, until: int, limit: int = 1000) -> list[Outcome]:
        self._reach()
        return self._alerts.endings(until, limit)

    async def alert_states(self) -> list[AlertState]:
        self._reach()
        return self._alerts.states()

    async def alerts_gathering(self, now: int) -> list[AlertRow]:
        self._reach()
        return self._alerts.gathering(now)

    async def commit_alerts(self, news: AlertNews) -> bool:
        self._reach()
        return self._alerts.commit(news)

    async def claim_sending(self, channel: str, now: int, until: int) -> Sending | None:
        self._reach()
        return self._alerts.claim(channel, now, until)

    async def sent(self, sending: Sending, at: int, error: str = "") -> None:
        self._reach()
        self._alerts.change(sending, done_at=at, error=error)

    async def send_later(self, sending: Sending, next_at: int, error: str) -> None:
        self._reach()
        self._alerts.change(sending, next_at=next_at, error=error, claimed_until=0)

    async def alert_backlog(self) -> list[Backlog]:
        self._reach()
        return self._alerts.backlog()

    async def trim_backlog(self, channel: str, most: int, now: int) -> int:
        self._reach()
        return self._alerts.trim(channel, most, now)

    async def forget_alerts(self, before: int) -> None:
        self._reach()
        self._alerts.forget(before)

    # -- sessions ---------------------------------------------------------------------------------

    async def worker(self, uid: bytes) -> WorkerRow | None:
        self._reach()
        return self._workers.get(uid)

    async def worker_named(self, name: str) -> WorkerRow | None:
        self._reach()
        bearers = [row for row in self._workers.values() if row.name == name]
        return max(bearers, key=lambda row: row.last_seen, default=None)

    async def workers(self) -> list[WorkerRow]:
        self._reach()
        return sorted(self._workers.values(), key=lambda row: (row.name, row.uid))

    async def marks(self, spool_id: bytes) -> dict[Lane, Mark]:
        self._reach()
        return dict(self._spools.get(spool_id, _Spool()).marks)

    async def confirm_epoch(self, claim: EpochClaim) -> bool:
        self._reach()
        row = self._workers.get(claim.uid)
        if row is not None and row.epoch >= claim.epoch:
            return False
        barred = self._spools.get(claim.spool_id, _Spool()).marks[Lane.STATE].epoch == BARRED
        if barred:
            return False
        known = row or WorkerRow(claim.uid, claim.name, first_seen=claim.now)
        self._workers[claim.uid] = replace(
            known,
            name=claim.name,
            epoch=claim.epoch,
            spool_id=claim.spool_id,
            labels=dict(claim.labels),
            version=claim.version,
            capabilities=dict(claim.capabilities),
            last_seen=claim.now,
            address=claim.address,
        )
        spool = self._spools.setdefault(claim.spool_id, _Spool())
        spool.marks = {lane: replace(mark, epoch=claim.epoch) for lane, mark in spool.marks.items()}
        return True

    async def append(self, batches: Sequence[Batch]) -> list[bool]:
        self._reach()
        results = [False] * len(batches)
        order = sorted(range(len(batches)), key=lambda index: batches[index].lane)
        for index in order:
            results[index] = self._append(batches[index])
        return results

    def _append(self, batch: Batch) -> bool:
        spool = self._spools.get(batch.spool_id)
        mark = spool.marks[batch.lane] if spool else None
        if spool is None or mark is None:
            return False
        if mark.epoch == batch.epoch and mark.seq >= batch.last_seq:
            return True  # by a COMMIT whose answer was lost
        if (mark.epoch, mark.seq + 1) != (batch.epoch, batch.first_seq):
            return False
        for seq, record in enumerate(batch.records, batch.first_seq):
            if isinstance(record, DeadLetter):
                self.dead_letters.append((batch.spool_id, batch.lane, record))
            elif (error := self._refusal(batch, record)) is not None:
                letter = DeadLetter(seq, raw(record), error)
                self.dead_letters.append((batch.spool_id, batch.lane, letter))
            else:
                self._take(batch, seq, record)
        spool.marks[batch.lane] = Mark(batch.last_seq, batch.tag, batch.epoch)
        return True

    def _refusal(self, batch: Batch, record: Record) -> str | None:
        if self._refuse(record):
            return "refused"
        run_id = occurrence_of(record)
        run = None if run_id is None else self._runs.get(run_id)
        if run is not None and run.row.worker_uid != batch.worker_uid:
            return "the run is another worker's"
        return refusal(record)

    def _take(self, batch: Batch, seq: int, record: Record) -> None:
        run_id = run_of(record)
        if not (run_id is None or run_id in self._runs or isinstance(record, Claimed)):
            return  # retention has dropped it
        uid = batch.worker_uid
        if isinstance(record, Claimed | Decided | Waiting):
            for row in self._ranges.lost():
                if self._is_about(row, uid) and is_withdrawn(row, record):
                    self._ranges.drop(row)
                    self._find_cursors(row.worker_uid)
        match record:
            case Claimed():
                self._claimed(batch, record)
            case Started(run_id=run_id, attempt=attempt, at=at):
                self._change(run_id, attempt, started_at=at)
            case Status():
                self._status(record)
            case Ended():
                self._ended(batch, seq, record)
            case Decided():
                self._decided(batch, record)
            case Waiting():
                self._waiting(batch, record)
            case OfferRefused():
                key = record.run_id, uid, batch.spool_id
                held = self._refusals.get(key)
                if held is None or held.number < record.number:
                    self._refusals[key] = RefusalRow(*key, record.number, record.reason)
            case SetApplied():
                self._tell(record.at, "set applied", batch)
                near, far = self._spans(uid, reaches_back_to(record))
                self._applied = far + set_applied(near, record, uid, batch.spool_id)
            case ClockBack():
                self._tell(record.now, "clock back", batch)
                self._clock_back(uid, record)
            case Notice():
                self._tell(record.at, record.kind, batch, text=record.text)
            case Output():
                self._output(record)
            case Cut():
                self._cut(record)

    @staticmethod
    def _is_about(row: SlotRange, worker_uid: bytes) -> bool:
        """Is this range the worker's, or one that any might have had?"""
        return row.worker_uid == worker_uid or (row.worker_uid == NOBODY and row.run_id is not None)

    def _claimed(self, batch: Batch, record: Claimed) -> None:
        known = self._runs.get(record.run_id)
        if known is not None and known.row.attempt >= record.attempt:
            return
        row = RunRow(
            run_id=record.run_id,
            attempt=record.attempt,
            schedule_uid=record.schedule_uid,
            schedule=record.schedule,
            worker_uid=batch.worker_uid,
            worker=batch.worker,
            kind=record.kind,
            slot=record.slot,
            claimed_at=record.at,
            late_us=record.late_us,
            generation=record.generation,
            started_at=None,
            ended_at=None,
            verdict=None,
            reason="",
            exit_code=None,
            signal=None,
            complete=False,
            bytes_out=0,
            bytes_err=0,
            cut_bytes=0,
            cut_lines=0,
        )
        run = _Run(row, batch.spool_id, boot_id=record.boot_id)
        if known is not None:
            run.output_seq, run.ahead = known.output_seq, known.ahead
        self._runs[record.run_id] = run
        self._running[record.run_id] = None
        if record.kind == Kind.CALENDAR and not run.ahead:
            self._decided_to(batch.worker_uid, record.schedule_uid, record.slot)
        waiting = self._waits.get(record.run_id)
        if waiting is not None and waiting.attempt <= record.attempt:
            del self._waits[record.run_id]

    def _decided_to(self, worker_uid: bytes, schedule_uid: bytes, slot: int) -> None:
        pair = worker_uid, schedule_uid
        self._cursors[pair] = max(slot, self._cursors.get(pair, slot))

    def _find_cursors(self, worker_uid: bytes) -> None:
        """What was decided was withdrawn."""
        kept = {pair: slot for pair, slot in self._cursors.items() if pair[0] != worker_uid}
        self._cursors = kept
        for pair, slot in self._decided_slots():
            if pair[0] == worker_uid:
                self._decided_to(*pair, slot)

    def _decided(self, batch: Batch, record: Decided) -> None:
        if record.run_id not in self._runs:
            row = range_of(batch, record)
            if self._ranges.like(row) is None:
                self._ranges.put(row)
            if row.run_id is None:
                self._decided_to(row.worker_uid, row.schedule_uid, row.last_slot)
        for waits in list(self._waits.values()):
            if waits.worker_uid == batch.worker_uid and is_settled(waits, record):
                del self._waits[waits.run_id]

    def _waiting(self, batch: Batch, record: Waiting) -> None:
        run = self._runs.get(record.run_id)
        held = self._waits.get(record.run_id)
        if run is not None and run.row.attempt >= record.attempt:
            return
        if held is not None and held.attempt >= record.attempt:
            return
        if record.kind == Kind.CALENDAR:
            self._decided_to(batch.worker_uid, record.schedule_uid, record.slot)
        self._waits[record.run_id] = WaitingRow(
            run_id=record.run_id,
            attempt=record.attempt,
            kind=record.kind,
            schedule_uid=record.schedule_uid,
            schedule=record.schedule,
            worker_uid=batch.worker_uid,
            worker=batch.worker,
            slot=record.slot,
            cause=record.cause,
            why=record.why,
            at=record.at,
            due=record.due,
            until=record.until,
        )

    def _tell(self, at: int, kind: str, batch: Batch, **facts: object) -> None:
        uid = batch.worker_uid.hex()
        self._told.append(EventRow(at, kind, batch.worker, {"uid": uid, **facts}))

    def _spans(self, worker_uid: bytes, back_to: int) -> tuple[list[Applied], list[Applied]]:
        """The spans of a worker that are open or end at `back_to` or later, and all others."""
        near = [
            row
            for row in self._applied
            if row.worker_uid == worker_uid and (row.until_at is None or row.until_at >= back_to)
        ]
        return near, [row for row in self._applied if row not in near]

    def _clock_back(self, worker_uid: bytes, record: ClockBack) -> None:
        """The worker's slots after `now` will be due again: what was decided of them is withdrawn
        (DESIGN section 4)."""
        now = record.now
        for row in self._ranges:
            of_others = row.worker_uid != worker_uid or row.run_id is not None
            if of_others or row.last_slot <= now:
                continue
            count = self._slots_of(row, now) if row.first_slot <= now else 0
            if count > 0:
                self._ranges.put(replace(row, last_slot=now, count=count, decided_at=now))
            else:
                self._ranges.drop(row)
        near, far = self._spans(worker_uid, now)
        self._applied = far + clock_back(near, now)
        self._waits = {
            run_id: row
            for run_id, row in self._waits.items()
            if row.worker_uid != worker_uid or not waits_in_vain(row, now)
        }
        for run in self._runs.values():
            of_worker = run.row.worker_uid == worker_uid and run.row.kind == Kind.CALENDAR
            if of_worker and run.row.slot > now:
                run.ahead = True
        self._find_cursors(worker_uid)

    def _slots_of(self, row: SlotRange, until: int) -> int:
        spans = self._of_pair(row.worker_uid, row.schedule_uid)
        whole = slots_in(spans, self._timings, row.first_slot, row.last_slot)
        if whole is None or whole - self._runs_in(row, row.last_slot) != row.count:
            return slots_until(row.first_slot, row.last_slot, row.count, until)
        count = slots_in(spans, self._timings, row.first_slot, until) or 0
        return count - self._runs_in(row, until)

    def _runs_in(self, row: SlotRange, until: int) -> int:
        return sum(
            run.slot >= row.first_slot and run.kind == Kind.CALENDAR
            for run in self._slots(row.worker_uid, row.schedule_uid, until)
        )

    def _status(self, record: Status) -> None:
        step = StepRow(
            record.run_id,
            record.attempt,
            record.step,
            record.command,
            record.exit_code,
            record.signal,
            record.success,
            record.started_at,
            record.ended_at,
            record.reason,
        )
        self._steps.setdefault((record.run_id, record.attempt), {}).setdefault(step.step, step)

    def _ended(self, batch: Batch, seq: int, record: Ended) -> None:
        run = self._runs[record.run_id]
        if run.row.attempt != record.attempt or run.row.verdict not in {None, Verdict.LOST}:
            return
        size = {total.stream: total.bytes_ for total in record.totals}
        sha = {total.stream: total.sha256[:32] for total in record.totals}
        if record.final:
            self._waits.pop(record.run_id, None)
        decisive = self._decisive(record.run_id, record.attempt)
        run.output_seq = max(run.output_seq, record.output_seq)
        started_at = run.row.started_at if record.started_at is None else record.started_at
        self._change(
            record.run_id,
            record.attempt,
            # One that is not final is none yet: another attempt follows.
            verdict=Verdict(record.verdict) if record.final else None,
            reason=record.reason,
            started_at=started_at,
            ended_at=record.ended_at if record.final else None,
            exit_code=None if decisive is None else decisive.exit_code,
            signal=None if decisive is None else decisive.signal,
            bytes_out=size.get(Stream.STDOUT, 0),
            bytes_err=size.get(Stream.STDERR, 0),
            cut_bytes=record.cut_bytes,
            sha_out=sha.get(Stream.STDOUT, b""),
            sha_err=sha.get(Stream.STDERR, b""),
        )
        if record.final:
            self._ordered.run_ended(run.row, batch.spool_id, seq)

    def _decisive(self, run_id: bytes, attempt: int) -> StepRow | None:
        """The step whose end decided the run's: the first that failed, else the last."""
        steps = [step for _, step in sorted(self._steps.get((run_id, attempt), {}).items())]
        failed = [step for step in steps if not step.success]
        return next(iter(failed), steps[-1] if steps else None)

    def _output(self, record: Output) -> None:
        rows = self._chunks.setdefault((record.run_id, record.attempt), {})
        self._grow(record.run_id, record.attempt, len(record.data))
        rows.setdefault(
            record.chunk_no,
            ChunkRow(
                record.chunk_no,
                record.step,
                record.offset,
                record.first_line,
                record.lines,
                record.started_at,
                record.segments,
                record.data,
            ),
        )

    def _cut(self, record: Cut) -> None:
        rows = self._chunks.setdefault((record.run_id, record.attempt), {})
        after = record.first_line + (record.lines or 0)
        for number, row in sorted(rows.items()):
            end = row.offset + len(row.data)
            if record.from_offset <= row.offset < record.to_offset:
                self._grow(record.run_id, record.attempt, row.offset - min(end, record.to_offset))
            if row.offset >= record.from_offset and end <= record.to_offset:
                del rows[number]
                if record.lines is None:
                    after = row.first_line + row.lines
            elif record.from_offset <= row.offset < record.to_offset:
                rows[number] = trimmed(row, record.to_offset - row.offset)
                after = rows[number].first_line
        lines = after - record.first_line
        size = record.to_offset - record.from_offset
        text = marker_text(size, lines, record.reason)
        rows[record.chunk_no] = ChunkRow(
            record.chunk_no,
            record.step,
            record.from_offset,
            record.first_line,
            0,
            record.at,
            pack([Segment(stream=Stream.MARKER, length=len(text))]),
            text,
        )
        if record.reason:
            self._runs[record.run_id].gap += size
        else:
            self._change(record.run_id, record.attempt, cut_lines=lines)

    def _grow(self, run_id: bytes, attempt: int, size: int) -> None:
        run = self._runs[run_id]
        if run.row.attempt == attempt:
            run.received += size

    def _change(self, run_id: bytes, attempt: int, **changes: object) -> None:
        run = self._runs[run_id]
        if run.row.attempt == attempt:
            run.row = replace(run.row, **changes)  # type: ignore[arg-type]
            if run.row.verdict is not None:
                self._running.pop(run_id, None)

    async def skip_to(self, spool_id: bytes, lane: Lane, epoch: int, mark: Mark, at: int) -> bool:
        self._reach()
        spool = self._spools.get(spool_id)
        if spool is None or spool.marks[lane].epoch != epoch or spool.marks[lane].seq >= mark.seq:
            return False
        row = next((row for row in self._workers.values() if row.spool_id == spool_id), None)
        name, uid = ("", bytes(16)) if row is None else (row.name, row.uid)
        self._gaps.append((uid, GapRow(spool_id, lane, spool.marks[lane].seq + 1, mark.seq, at)))
        facts = {"lane": lane.name.lower(), "up_to": mark.seq}
        self._told.append(EventRow(at, "gap", name, facts))
        spool.marks[lane] = replace(mark, epoch=epoch)
        return True

    async def standings(self, sessions: Sequence[tuple[bytes, bytes]]) -> list[Standing | None]:
        self._reach()
        found: list[Standing | None] = []
        for uid, _ in sessions:
            row = self._workers.get(uid)
            spool = None if row is None else self._spools.get(row.spool_id)
            marks = (_Spool() if spool is None else spool).marks
            found.append(None if row is None else Standing(row.epoch, row.spool_id, dict(marks)))
        return found

    async def reset_worker(self, uid: bytes, spool_ids: Sequence[bytes]) -> None:
        self._reach()
        row = self._workers.get(uid)
        if row is not None:
            self._workers[uid] = replace(row, epoch=0)
        for spool_id in {*spool_ids, *([] if row is None else [row.spool_id])}:
            spool = self._spools.setdefault(spool_id, _Spool())
            spool.marks = {lane: replace(mark, epoch=BARRED) for lane, mark in spool.marks.items()}

    async def seen(self, uids: Sequence[bytes], now: int) -> None:
        self._reach()
        for uid in uids:
            if uid in self._workers:
                self._workers[uid] = replace(self._workers[uid], last_seen=now)

    async def set_generation(
        self, uid: bytes, expected: int, generation: int, set_hash: bytes
    ) -> bool:
        self._reach()
        row = self._workers.get(uid)
        if row is None or row.generation != expected:
            return False
        self._workers[uid] = replace(row, generation=generation, set_hash=set_hash)
        return True

    # -- schedules --------------------------------------------------------------------------------

    async def schedules(self) -> list[ScheduleRow]:
        self._reach()
        return sorted(self._schedules.values(), key=lambda row: row.name)

    async def replace_schedules(self, rows: Sequence[ScheduleRow], now: int) -> None:
        self._reach()
        wanted = {row.uid: row for row in rows}
        self._versions += [
            VersionRow(uid, old.version, old.name, old.definition, old.updated_at, now)
            for uid, old in self._schedules.items()
            if _timeless(old) != _timeless(wanted.get(uid))
        ]
        self._schedules = wanted
        self._words |= {row.uid: row.name for row in rows}

    # -- reading ----------------------------------------------------------------------------------

    async def runs(self, wanted: RunFilter) -> list[RunRow]:
        self._reach()
        which = self._running if wanted.running else self._runs
        runs = (self._runs[run_id] for run_id in which)
        rows = [self._shown(run) for run in runs if _wanted(run.row, wanted)]
        rows.sort(key=lambda row: (row.slot, row.run_id), reverse=True)
        if wanted.before is not None:
            rows = [row for row in rows if (row.slot, row.run_id) < wanted.before]
        return rows[: wanted.limit]

    def _shown(self, run: _Run) -> RunRow:
        row = run.row
        mark = self._spools[run.spool_id].marks[Lane.OUTPUT]
        whole = row.verdict is not None and mark.seq >= run.output_seq
        printed = row.bytes_out + row.bytes_err
        missing = missing_bytes(printed, row.cut_bytes, run.received, run.gap) if whole else 0
        return replace(row, complete=whole and not missing, missing_bytes=missing)

    async def runs_like(self, prefix: str, limit: int = 3) -> list[RunRow]:
        self._reach()
        return [
            self._shown(run)
            for run_id, run in sorted(self._runs.items())
            if run_id.hex().startswith(prefix)
        ][:limit]

    async def runs_by_id(self, run_ids: Collection[bytes]) -> list[RunRow]:
        self._reach()
        return [self._shown(self._runs[one]) for one in sorted(set(run_ids)) if one in self._runs]

    # -- what came last ---------------------------------------------------------------------------

    async def newest_runs(self, pairs: Collection[tuple[bytes, bytes]]) -> list[LastRun]:
        self._reach()
        newest: dict[tuple[bytes, bytes, Verdict | None], RunRow] = {}
        for run in self._runs.values():
            row = run.row
            if (row.worker_uid, row.schedule_uid) in pairs:
                key = row.worker_uid, row.schedule_uid, row.verdict
                if key not in newest or newest[key].slot < row.slot:
                    newest[key] = row
        return [row.in_short for row in newest.values()]

    async def strip(self, schedule: str, limit: int) -> list[LastRun]:
        self._reach()
        rows = [run.row for run in self._runs.values() if run.row.schedule == schedule]
        rows.sort(key=lambda row: (row.slot, row.run_id), reverse=True)
        return [row.in_short for row in rows[:limit]]

    async def newest_missed(self, pairs: Collection[tuple[bytes, bytes]]) -> list[LastMissed]:
        self._reach()
        newest: dict[tuple[bytes, bytes], SlotRange] = {}
        for row in self._ranges:
            pair = row.worker_uid, row.schedule_uid
            if pair in pairs and (pair not in newest or newest[pair].first_slot < row.first_slot):
                newest[pair] = row
        return [
            LastMissed(
                row.worker_uid,
                row.schedule_uid,
                row.first_slot,
                row.last_slot,
                row.count,
                row.reason,
            )
            for row in newest.values()
            if row.verdict is Verdict.MISSED
        ]

    async def failures_after(
        self, worker_uid: bytes, schedule_uid: bytes, after: int, limit: int
    ) -> list[int]:
        self._reach()
        rows = (run.row for run in self._runs.values())
        return sorted(
            row.slot
            for row in rows
            if _of(row, worker_uid, schedule_uid) and row.slot > after and row.verdict in FAILURES
        )[:limit]

    async def steps(self, run_id: bytes, attempt: int | None = None) -> list[StepRow]:
        self._reach()
        if attempt is None:
            run = self._runs.get(run_id)
            attempt = 1 if run is None else run.row.attempt
        return [step for _, step in sorted(self._steps.get((run_id, attempt), {}).items())]

    async def chunks(
        self, run_id: bytes, attempt: int, after: int = -1, limit: int = 64
    ) -> list[ChunkRow]:
        self._reach()
        rows = self._chunks.get((run_id, attempt), {})
        return [row for number, row in sorted(rows.items()) if number > after][:limit]

    async def ranges(self, wanted: RunFilter) -> list[SlotRange]:
        self._reach()
        rows = [row for row in self._ranges if _wanted_range(row, wanted)]
        if wanted.before_range is not None:
            rows = [row for row in rows if row.key < wanted.before_range]
        rows.sort(key=lambda row: row.key, reverse=True)
        return rows[: wanted.limit]

    async def schedule_names(self, worker: str) -> list[str]:
        self._reach()
        return sorted({run.row.schedule for run in self._runs.values() if run.row.worker == worker})

    async def query(self, sql: str, limits: QueryLimits) -> QueryResult:
        self._reach()
        raise UserError("the store in memory has no SQL")

    # -- what counts, and what became of it -------------------------------------------------------

    async def keep_timings(self, timings: Mapping[bytes, str]) -> None:
        self._reach()
        self._timings = dict(timings) | self._timings

    async def timings(self, hashes: Collection[bytes]) -> dict[bytes, str]:
        self._reach()
        return {one: self._timings[one] for one in hashes if one in self._timings}

    async def applied(
        self, *, worker_uid: bytes | None = None, schedule_uid: bytes | None = None
    ) -> list[Applied]:
        self._reach()
        return self._of_pair(worker_uid, schedule_uid)

    def _of_pair(self, worker_uid: bytes | None, schedule_uid: bytes | None) -> list[Applied]:
        return sorted(
            (row for row in self._applied if _of(row, worker_uid, schedule_uid)), key=key_of
        )

    async def run_slots(
        self, worker_uid: bytes, schedule_uid: bytes, after: int, until: int, limit: int
    ) -> list[RunSlot]:
        self._reach()
        rows = [run for run in self._slots(worker_uid, schedule_uid, until) if run.slot > after]
        return [row for row in rows if len(rows) <= limit or row.slot <= rows[limit - 1].slot]

    def _slots(self, worker_uid: bytes, schedule_uid: bytes, until: int) -> list[RunSlot]:
        found = [
            RunSlot(
                *(run.row.run_id, run.row.slot, run.row.kind, run.row.verdict, run.row.reason),
                *(run.row.claimed_at, run.row.ended_at, run.boot_id, run.ahead),
            )
            for run in self._runs.values()
            if _of(run.row, worker_uid, schedule_uid) and run.row.slot <= until
        ]
        return sorted(found, key=lambda run: (run.slot, run.run_id))

    async def pair_ranges(
        self,
        worker_uid: bytes,
        schedule_uid: bytes,
        after: int,
        until: int,
        limit: int,
        beyond: int | None = None,
    ) -> list[SlotRange]:
        self._reach()
        rows = sorted(
            (
                row
                for row in self._ranges
                if _of(row, worker_uid, schedule_uid)
                and row.run_id is None
                and row.first_slot <= until
                and row.last_slot > after
                and (beyond is None or row.first_slot > beyond)
            ),
            key=lambda row: row.first_slot,
        )
        return rows[:limit]

    async def waiting(
        self, *, worker_uid: bytes | None = None, schedule_uid: bytes | None = None
    ) -> list[WaitingRow]:
        self._reach()
        rows = [row for row in self._waits.values() if _of(row, worker_uid, schedule_uid)]
        return sorted(rows, key=lambda row: (row.slot, row.run_id))

    async def cursors(
        self, pairs: Collection[tuple[bytes, bytes]] | None = None
    ) -> dict[tuple[bytes, bytes], int]:
        self._reach()
        found = {
            (row.worker_uid, row.schedule_uid): row.from_at
            for row in self._applied
            if row.until_at is None
        }
        if pairs is not None:
            found = {pair: found[pair] for pair in pairs if pair in found}
        return {pair: max(slot, self._cursors.get(pair, slot)) for pair, slot in found.items()}

    def _decided_slots(self) -> Iterable[tuple[tuple[bytes, bytes], int]]:
        for run in self._runs.values():
            if run.row.kind == Kind.CALENDAR and not run.ahead:
                yield (run.row.worker_uid, run.row.schedule_uid), run.row.slot
        for row in self._ranges:
            if row.run_id is None:
                yield (row.worker_uid, row.schedule_uid), row.last_slot
        for waits in self._waits.values():
            if waits.kind == Kind.CALENDAR:
                yield (waits.worker_uid, waits.schedule_uid), waits.slot

    async def skipped_by_overlap(self, run_ids: Sequence[bytes]) -> dict[bytes, int]:
        self._reach()
        found: dict[bytes, int] = {}
        for run in (self._runs[run_id].row for run_id in run_ids if run_id in self._runs):
            skipped = sum(
                row.count
                for row in self._ranges
                if _of(row, run.worker_uid, run.schedule_uid)
                and row.run_id is None
                and row.first_slot > run.slot
                and row.verdict is Verdict.SKIPPED
                and row.reason.startswith(OVERLAP)
            )
            if skipped:
                found[run.run_id] = skipped
        return found

    async def took(self, worker_uid: bytes, schedule_uid: bytes, limit: int) -> list[int]:
        self._reach()
        rows = sorted(
            (
                run.row
                for run in self._runs.values()
                if _of(run.row, worker_uid, schedule_uid) and run.row.verdict is Verdict.OK
            ),
            key=lambda row: row.slot,
            reverse=True,
        )
        return [
            row.ended_at - row.started_at
            for row in rows[:limit]
            if row.started_at is not None and row.ended_at is not None
        ]

    async def gaps(self, worker_uid: bytes) -> list[GapRow]:
        self._reach()
        return [row for uid, row in self._gaps if uid == worker_uid]

    async def refusals(self, run_ids: Collection[bytes]) -> list[RefusalRow]:
        self._reach()
        return [row for key, row in sorted(self._refusals.items()) if key[0] in run_ids]

    async def events(
        self,
        since: int,
        limit: int = 100,
        *,
        until: int | None = None,
        kinds: Collection[str] = (),
        worker: str | None = None,
    ) -> list[EventRow]:
        self._reach()
        rows = [
            row
            for row in reversed(self._told)
            if row.at >= since
            and (until is None or row.at <= until)
            and (not kinds or row.kind in kinds)
            and (worker is None or row.worker == worker)
        ]
        return sorted(rows, key=lambda row: row.at, reverse=True)[:limit]

    async def schedule_versions(self, uid: bytes) -> list[VersionRow]:
        self._reach()
        rows = [row for row in self._versions if row.uid == uid]
        now = self._schedules.get(uid)
        if now is not None:
            rows.append(VersionRow(uid, now.version, now.name, now.definition, now.updated_at))
        return rows

    async def schedule_words(self) -> dict[bytes, str]:
        self._reach()
        return dict(self._words)

    async def record_ranges(self, rows: Sequence[SlotRange]) -> int:
        self._reach()
        counted = 0
        for row in rows:
            held = self._ranges.like(row)
            if held is not None and held.verdict is not Verdict.LOST:
                continue
            self._ranges.put(row)
            if row.run_id is None:
                self._decided_to(row.worker_uid, row.schedule_uid, row.last_slot)
            counted += 1
        return counted

    async def give_up_runs(self, run_ids: Sequence[bytes], reason: str, now: int) -> int:
        self._reach()
        given = 0
        for run_id in run_ids:
            run = self._runs.get(run_id)
            self._waits.pop(run_id, None)
            if run is not None and run.row.verdict is None:
                lost = Verdict.LOST
                run.row = replace(run.row, verdict=lost, reason=reason, ended_at=now)
                self._running.pop(run_id, None)
                given += 1
        return given

    # -- housekeeping -----------------------------------------------------------------------------

    async def prune(
        self, keep: Retention, now: int, *, batch: int = 500, dry_run: bool = False
    ) -> Pruned:
        self._reach()
        kept = self._protected()
        ended = sorted(
            (run.row for run in self._runs.values() if run.row.verdict is not None),
            key=lambda row: (row.slot, row.run_id),
        )
        loose = [row for row in ended if row.run_id not in kept]
        gone = [
            row for row in loose if _older(row, keep.verdict_age, keep.verdicts_by_schedule, now)
        ]
        past = {row.run_id for row in gone}
        old = [
            row
            for row in loose
            if row.run_id in past or _older(row, keep.output_age, keep.output_by_schedule, now)
        ]
        if dry_run:
            return self._counted({row.run_id for row in old}, gone)
        if (found := self._drop_output(old)) is not None:
            return found
        if self._size() > keep.total_bytes and (found := self._drop_output(loose)) is not None:
            return found
        return replace(self._drop_runs(gone[:batch], keep, now), more=len(gone) > batch)

    def _protected(self) -> set[bytes]:
        """The last run of each schedule on each worker, and its last failure."""
        kept: dict[tuple[bytes, bytes, bool], bytes] = {}
        for run_id, run in sorted(self._runs.items()):
            key = run.row.schedule_uid, run.row.worker_uid
            kept[*key, False] = run_id
            if run.row.verdict in FAILURES:
                kept[*key, True] = run_id
        return set(kept.values())

    def _size(self) -> int:
        return sum(len(c.data) for rows in self._chunks.values() for c in rows.values())

    def _counted(self, runs: set[bytes], gone: Sequence[RunRow]) -> Pruned:
        chunks = [c for key, rows in self._chunks.items() if key[0] in runs for c in rows.values()]
        ids = {row.run_id for row in gone}
        statuses = sum(len(steps) for key, steps in self._steps.items() if key[0] in ids)
        size = sum(len(c.data) for c in chunks)
        return Pruned(len(chunks), size, statuses, len(gone), more=bool(chunks or gone))

    def _drop_output(self, runs: Sequence[RunRow]) -> Pruned | None:
        """The output of the first of these runs that has any."""
        for row in runs:
            keys = [key for key, rows in self._chunks.items() if key[0] == row.run_id and rows]
            if keys:
                chunks = [c for key in keys for c in self._chunks.pop(key).values()]
                size = sum(len(c.data) for c in chunks)
                return Pruned(output_rows=len(chunks), output_bytes=size, more=True)
        return None

    def _drop_runs(self, gone: Sequence[RunRow], keep: Retention, now: int) -> Pruned:
        ids = {row.run_id for row in gone}
        statuses = 0
        for key in [key for key in self._steps if key[0] in ids]:
            statuses += len(self._steps.pop(key))
        for run_id in ids:
            del self._runs[run_id]
            self._running.pop(run_id, None)
        general = now - round(keep.verdict_age * 1_000_000)
        own = {uid: now - round(age * 1_000_000) for uid, age in keep.verdicts_by_schedule.items()}
        for row in self._ranges:
            if row.last_slot < own.get(row.schedule_uid, general):
                self._ranges.drop(row)
        self._gaps = [(uid, row) for uid, row in self._gaps if row.at >= general]
        self._told = [row for row in self._told if row.at >= general]
        spans = []
        for span in self._applied:
            floor = -(-own.get(span.schedule_uid, general) // HOUR_US) * HOUR_US
            if span.until_at is None or span.until_at > floor:
                spans.append(replace(span, kept_from=max(span.kept_from, floor)))
        self._applied = spans
        return Pruned(status_rows=statuses, runs=len(gone))

    # -- for tests --------------------------------------------------------------------------------

    def output(self, worker: str, schedule: str | None = None) -> bytes:
        """All output of a worker's runs (of one schedule), oldest run first, in order."""
        runs = sorted(
            (run.row for run in self._runs.values() if run.row.worker == worker),
            key=lambda row: (row.slot, row.run_id),
        )
        return b"".join(
            chunk.data
            for row in runs
            if schedule is None or row.schedule == schedule
            for _, chunk in sorted(self._chunks.get((row.run_id, row.attempt), {}).items())
        )


def _timeless(row: ScheduleRow | None) -> ScheduleRow | None:
    return None if row is None else replace(row, updated_at=0)


def _of(
    row: Applied | RunRow | SlotRange | WaitingRow,
    worker_uid: bytes | None,
    schedule_uid: bytes | None,
) -> bool:
    return (worker_uid is None or row.worker_uid == worker_uid) and (
        schedule_uid is None or row.schedule_uid == schedule_uid
    )


def _range_key(row: SlotRange) -> tuple[bytes, bytes, int, bytes | None]:
    return row.worker_uid, row.schedule_uid, row.first_slot, row.run_id


def _older(row: RunRow, age: float, by_schedule: Mapping[bytes, float], now: int) -> bool:
    own = by_schedule.get(row.schedule_uid, age)
    return row.ended_at is not None and row.ended_at < now - round(own * 1_000_000)


def _named(name: str, wanted: str) -> bool:
    return wanted in {name, name.rpartition("/")[2]}


def _wanted(row: RunRow, wanted: RunFilter) -> bool:
    return (
        (wanted.worker is None or row.worker == wanted.worker)
        and (wanted.schedule is None or _named(row.schedule, wanted.schedule))
        and (wanted.verdicts is None or row.verdict in wanted.verdicts)
        and (wanted.running is None or (row.verdict is None) is wanted.running)
        and (wanted.since is None or row.slot >= wanted.since)
        and (wanted.until is None or row.slot < wanted.until)
    )


def _wanted_range(row: SlotRange, wanted: RunFilter) -> bool:
    return (
        (wanted.worker is None or row.worker == wanted.worker)
        and (wanted.schedule is None or _named(row.schedule, wanted.schedule))
        and (wanted.verdicts is None or row.verdict in wanted.verdicts)
        and (wanted.since is None or row.last_slot >= wanted.since)
        and (wanted.until is None or row.first_slot < wanted.until)
    )
