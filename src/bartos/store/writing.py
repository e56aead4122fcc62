"""How what workers report becomes rows: many batches in one transaction, each with its mark.

A batch counts or does not. Rows of one kind go in one statement, over all batches of a commit,
since a statement a record is what a fleet's database cannot bear. What cannot be stored is put
aside as a dead letter in the same transaction, so that one bad record stops nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import delete, exc, func, select, tuple_, update

from bartos.store.checking import occurrence_of, raw, refusal, run_of
from bartos.store.covering import Covering
from bartos.store.engines import Conflict, Engines, described
from bartos.store.intents import keep_ends, withdraw_lost
from bartos.store.port import Batch, ChunkRow, DeadLetter
from bartos.store.statements import NOTHING, ROWS_MAX, Statements, number, parts
from bartos.store.tables import (
    dead_letter,
    event,
    exit_status,
    output,
    run,
    spool_mark,
)
from bartos.store.trimming import marker_text, trimmed
from libbarto.errors import StoreUnavailable
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

RETRIES: Final = 5

REFUSED: Final = (exc.DataError, exc.IntegrityError)
"""What the driver raises where the data are refused. Anything else is the database's trouble, or
ours: then nothing is acknowledged, and nothing is put aside."""

OUTPUT_COLUMNS: Final = (
    *("run_id", "attempt", "chunk_no", "step", "offset", "first_line", "lines"),
    *("started_at", "segments", "data"),
)
STATUS_COLUMNS: Final = (
    *("run_id", "attempt", "step", "command", "exit_code", "signal", "success"),
    *("started_at", "ended_at", "reason"),
)
CLAIM_COLUMNS: Final = (
    *("run_id", "schedule_uid", "schedule", "worker_uid", "worker", "kind", "slot", "claimed_at"),
    *("late_us", "generation", "spool_id", "reason", "output_seq", "bytes_out", "bytes_err"),
    *("cut_bytes", "cut_lines", "stored_bytes", "boot_id", "ahead", "received_bytes", "gap_bytes"),
    *("sha_out", "sha_err", "attempt"),
)
KEPT_BY_RETRY: Final = frozenset(
    {"run_id", "worker_uid", "worker", "output_seq", "stored_bytes", "ahead"}
)
"""What a further attempt leaves as it is: the output of the attempts before is still there."""
CLEARED_BY_RETRY: Final = ("started_at", "ended_at", "verdict", "exit_code", "signal")
DEAD_COLUMNS: Final = ("spool_id", "worker", "lane", "seq", "data", "error")
EVENT_COLUMNS: Final = ("at", "kind", "worker", "facts")


@dataclass(frozen=True, slots=True)
class Report:
    """A record, and whence it comes."""

    batch: Batch
    seq: int
    record: Record | DeadLetter


_PHASES: Final[dict[type, int]] = {
    **{Claimed: 0, Decided: 0, Started: 1, ClockBack: 1, Status: 2, Ended: 3, Output: 4, Cut: 5}
}
"""What waits and what is claimed of it go together in any order: see `Covering.claimed`."""


def waves(reports: Iterable[Report]) -> Iterator[list[Report]]:
    """The reports in pieces within which kind may go after kind (`_PHASES`): what one run, or one
    worker of its slots, tells stays in its order. What comes after a worker's clock was set back
    comes after all that the worker told before."""
    wave: list[Report] = []
    reached: dict[bytes, int] = {}
    set_back: set[bytes] = set()
    for report in reports:
        phase = _PHASES.get(type(report.record), 0)
        key = run_of(report.record) or report.batch.worker_uid
        if phase < reached.get(key, 0) or report.batch.worker_uid in set_back:
            yield wave
            wave, reached, set_back = [], {}, set()
        wave.append(report)
        reached[key] = phase
        if isinstance(report.record, ClockBack):
            set_back.add(report.batch.worker_uid)
    if wave:
        yield wave


@dataclass(slots=True)
class Writing(Statements):
    """Turns batches into statements on one connection."""

    followed: Collection[bytes] = ()
    """The schedules whose runs others follow where the server chooses."""
    owners: dict[bytes, bytes] = field(default_factory=dict)
    """The worker of each run that is told of and is there."""

    # -- batches ----------------------------------------------------------------------------------

    async def batches(self, batches: Sequence[Batch], *, one_by_one: bool = False) -> list[bool]:
        """Each with its mark; False where the mark is elsewhere, and then nothing of it."""
        news, results = await self._advance(batches)
        reports = [
            Report(batch, seq, record)
            for batch, is_next in zip(batches, news, strict=True)
            if is_next
            for seq, record in enumerate(batch.records, batch.first_seq)
        ]
        await self._find_owners(reports)
        if one_by_one:
            for report in reports:
                await self._alone(report)
        else:
            for wave in waves(map(self._judged, reports)):
                await self._wave(wave)
        return results

    async def _advance(self, batches: Sequence[Batch]) -> tuple[list[bool], list[bool]]:
        """Move the marks of all batches that are next; the rows are locked until the commit.

        Returns which these are, and which are here by now: also what this very session (nobody
        else has its epoch) had committed when the answer to its COMMIT was lost.
        """
        spools = sorted({batch.spool_id for batch in batches})
        found: list[Any] = []
        for part in parts(spools, ROWS_MAX):
            rows = await self.connection.execute(
                select(spool_mark).where(spool_mark.c.spool_id.in_(part)).with_for_update()
            )
            found += rows.all()
        held = {(bytes(row.spool_id), row.lane): (row.epoch, row.seq) for row in found}
        news, results = [], []
        moved: dict[tuple[bytes, int], tuple[Batch, int]] = {}
        for batch in batches:
            key = batch.spool_id, int(batch.lane)
            epoch, seq = held.get(key, (-1, 0))
            is_next = (epoch, seq) == (batch.epoch, batch.first_seq - 1)
            news.append(is_next)
            results.append(is_next or (epoch == batch.epoch and seq >= batch.last_seq))
            if is_next:
                held[key] = batch.epoch, batch.last_seq
                first = moved[key][1] if key in moved else batch.first_seq - 1
                moved[key] = batch, first
        await self.many(
            "UPDATE spool_mark SET seq = ?, tag = ?"
            " WHERE spool_id = ? AND lane = ? AND epoch = ? AND seq = ?",
            [
                (batch.last_seq, batch.tag, *key, batch.epoch, first)
                for key, (batch, first) in moved.items()
            ],
        )
        return news, results

    async def _find_owners(self, reports: Sequence[Report]) -> None:
        wanted = {run_id for report in reports if (run_id := occurrence_of(report.record))}
        for part in parts(sorted(wanted), ROWS_MAX):
            rows = await self.connection.execute(
                select(run.c.run_id, run.c.worker_uid).where(run.c.run_id.in_(part))
            )
            self.owners.update((bytes(row.run_id), bytes(row.worker_uid)) for row in rows)

    def _judged(self, report: Report) -> Report:
        """The report, or a dead letter in its place."""
        record = report.record
        if isinstance(record, DeadLetter):
            return report
        error = refusal(record)
        if error is None and (run_id := occurrence_of(record)) is not None:
            uid = report.batch.worker_uid
            if isinstance(record, Claimed):
                self.owners.setdefault(run_id, uid)
            if self.owners.get(run_id, uid) != uid:
                error = "the run is another worker's"
        if error is None:
            return report
        return Report(report.batch, report.seq, DeadLetter(report.seq, raw(record), error))

    async def _alone(self, report: Report) -> None:
        """A record by itself: what the database refuses of it becomes a dead letter."""
        judged = self._judged(report)
        try:
            async with self.connection.begin_nested():
                await self._wave([judged])
        except REFUSED as error:
            letter = DeadLetter(report.seq, raw(report.record), described(error))
            await self._dead([Report(report.batch, report.seq, letter)])

    # -- kinds of records -------------------------------------------------------------------------

    async def _wave(self, wave: Sequence[Report]) -> None:
        """In the order of `_PHASES`. What is told of a run that is not here (retention dropped it)
        counts, and is not stored."""
        here = [one for one in wave if (id_ := run_of(one.record)) is None or id_ in self.owners]
        covering = Covering(self.engines, self.connection)
        claims = [(o.batch, o.record) for o in here if isinstance(o.record, Claimed)]
        decided = [(o.batch, o.record) for o in here if isinstance(o.record, Decided)]
        waits = [(o.batch, o.record) for o in here if isinstance(o.record, Waiting)]
        ends = [o.record for o in here if isinstance(o.record, Ended)]
        await self._claims(claims)
        await covering.withdraw_lost([*claims, *decided, *waits])
        named = [one.run_id for _, one in claims]
        named += [one.run_id for _, one in decided if one.run_id is not None]
        await withdraw_lost(self.connection, named)
        await covering.waits(waits)
        await covering.ranges(decided)
        await covering.claimed(
            [record for _, record in waits], [record for _, record in claims], ends
        )
        await covering.refused(
            [(o.batch, o.record) for o in here if isinstance(o.record, OfferRefused)]
        )
        await covering.sets([(o.batch, o.record) for o in here if isinstance(o.record, SetApplied)])
        await self._events(here)
        await self._started([o.record for o in here if isinstance(o.record, Started)])
        for one in here:
            if isinstance(one.record, ClockBack):
                await covering.clock_back(one.batch.worker_uid, one.record)
        await self._statuses([o.record for o in here if isinstance(o.record, Status)])
        await self._ended(ends)
        told = {
            o.record.run_id: (o.batch.spool_id, o.seq)
            for o in here
            if isinstance(o.record, Ended) and o.record.final
        }
        await keep_ends(self.connection, told, self.followed)
        await self._outputs([o.record for o in here if isinstance(o.record, Output)])
        for one in here:
            if isinstance(one.record, Cut):
                await self._cut(one.record)
        await self._dead([one for one in here if isinstance(one.record, DeadLetter)])

    async def _claims(self, claims: Sequence[tuple[Batch, Claimed]]) -> None:
        """A claim makes its run, or gives it a further attempt; a lower one changes nothing."""
        names = [name for name in CLAIM_COLUMNS if name not in KEPT_BY_RETRY]
        if self.engines.sqlite:
            changes = [f"{name} = excluded.{name}" for name in names]
            changes += [f"{name} = NULL" for name in CLEARED_BY_RETRY]
            ending = (
                f" ON CONFLICT (run_id) DO UPDATE SET {', '.join(changes)}"
                " WHERE excluded.attempt > run.attempt"
            )
        else:
            # From left to right: `attempt` comes last, as the others ask for its old value.
            further = "VALUES(attempt) > attempt"
            changes = [f"`{name}` = IF({further}, NULL, `{name}`)" for name in CLEARED_BY_RETRY]
            changes += [f"`{name}` = IF({further}, VALUES(`{name}`), `{name}`)" for name in names]
            ending = f" ON DUPLICATE KEY UPDATE {', '.join(changes)}"
        rows = [
            (
                *(one.run_id, one.schedule_uid, one.schedule, batch.worker_uid, batch.worker),
                *(int(one.kind), one.slot, one.at, one.late_us, one.generation, batch.spool_id),
                *("", 0, 0, 0, 0, 0, 0, one.boot_id, False, 0, 0, b"", b"", one.attempt),
            )
            for batch, one in claims
        ]
        await self.many(self.insert(run, CLAIM_COLUMNS) + ending, rows)

    async def _started(self, records: Sequence[Started]) -> None:
        await self.many(
            "UPDATE run SET started_at = ? WHERE run_id = ? AND attempt = ?",
            [(one.at, one.run_id, one.attempt) for one in records],
        )

    async def _statuses(self, records: Sequence[Status]) -> None:
        await self.new(
            exit_status,
            STATUS_COLUMNS,
            [
                (
                    *(one.run_id, one.attempt, one.step, one.command, one.exit_code, one.signal),
                    *(one.success, one.started_at, one.ended_at, one.reason),
                )
                for one in records
            ],
        )

    async def _ended(self, records: Sequence[Ended]) -> None:
        """The end of an attempt. A verdict stays as it is, unless it was *lost*; one that is not
        final is none yet: another attempt follows."""
        exits = await self._exits({(one.run_id, one.attempt) for one in records})
        rows = []
        for one in records:
            size = {total.stream: total.bytes_ for total in one.totals}
            sha = {total.stream: total.sha256[:32] for total in one.totals}
            exit_code, signal = exits.get((one.run_id, one.attempt), (None, None))
            rows.append(
                (
                    *(int(one.verdict) if one.final else NOTHING, one.reason),
                    number(one.started_at),
                    *(one.ended_at if one.final else NOTHING, number(exit_code), number(signal)),
                    *(one.output_seq, one.output_seq),
                    *(size.get(Stream.STDOUT, 0), size.get(Stream.STDERR, 0), one.cut_bytes),
                    *(sha.get(Stream.STDOUT, b""), sha.get(Stream.STDERR, b"")),
                    *(one.run_id, one.attempt, int(Verdict.LOST)),
                )
            )
        null = f"NULLIF(?, {NOTHING})"
        await self.many(
            f"UPDATE run SET verdict = {null}, reason = ?,"  # noqa: S608  # a number of our own
            f" started_at = COALESCE({null}, started_at), ended_at = {null},"
            f" exit_code = {null}, {self.quoted('signal')} = {null},"
            " output_seq = CASE WHEN output_seq > ? THEN output_seq ELSE ? END,"
            " bytes_out = ?, bytes_err = ?, cut_bytes = ?, sha_out = ?, sha_err = ?"
            " WHERE run_id = ? AND attempt = ? AND (verdict IS NULL OR verdict = ?)",
            rows,
        )

    async def _exits(
        self, attempts: set[tuple[bytes, int]]
    ) -> dict[tuple[bytes, int], tuple[int | None, int | None]]:
        """Exit code and signal of the step that decided each attempt's end: the first that
        failed, else the last."""
        c = exit_status.c
        decisive: dict[tuple[bytes, int], Any] = {}
        for part in parts(sorted(attempts), ROWS_MAX // 2):
            steps = await self.connection.execute(
                select(c.run_id, c.attempt, c.exit_code, c.signal, c.success)
                .where(tuple_(c.run_id, c.attempt).in_(part))
                .order_by(c.run_id, c.attempt, c.step)
            )
            for step in steps:
                key = bytes(step.run_id), step.attempt
                if key not in decisive or decisive[key].success:
                    decisive[key] = step
        return {key: (step.exit_code, step.signal) for key, step in decisive.items()}

    async def _events(self, reports: Sequence[Report]) -> None:
        rows: list[tuple[object, ...]] = []
        for report in reports:
            batch = report.batch
            facts: dict[str, object] = {"uid": batch.worker_uid.hex()}
            match report.record:
                case SetApplied(generation=generation, at=at, schedules=schedules):
                    facts |= {"generation": generation, "schedules": [s.hex() for s in schedules]}
                    rows.append((at, "set applied", batch.worker, json.dumps(facts)))
                case ClockBack(now=now):
                    rows.append((now, "clock back", batch.worker, json.dumps(facts)))
                case Notice(kind=kind, at=at, text=text):
                    rows.append((at, kind, batch.worker, json.dumps(facts | {"text": text})))
                case _:
                    pass
        await self.many(self.insert(event, EVENT_COLUMNS), rows)

    async def _dead(self, reports: Sequence[Report]) -> None:
        rows = [
            (
                *(one.batch.spool_id, one.batch.worker, int(one.batch.lane)),
                *(one.record.seq, one.record.data, one.record.error),
            )
            for one in reports
            if isinstance(one.record, DeadLetter)
        ]
        await self.many(self.insert(dead_letter, DEAD_COLUMNS), rows)

    # -- output -----------------------------------------------------------------------------------

    async def _outputs(self, records: Sequence[Output]) -> None:
        rows = [
            (
                *(one.run_id, one.attempt, one.chunk_no, one.step, one.offset, one.first_line),
                *(one.lines, one.started_at, one.segments, one.data),
            )
            for one in records
        ]
        await self.new(output, OUTPUT_COLUMNS, rows)
        sizes: dict[tuple[bytes, int], tuple[int, int]] = {}
        for one in records:
            stored, received = sizes.get((one.run_id, one.attempt), (0, 0))
            size = len(one.data)
            sizes[one.run_id, one.attempt] = stored + size, received + size
        await self._grow(sizes)

    async def _grow(self, sizes: dict[tuple[bytes, int], tuple[int, int]]) -> None:
        """For each attempt: by how much what is stored of its run grew, and what has come of it."""
        await self.many(
            "UPDATE run SET stored_bytes = stored_bytes + ?,"
            " received_bytes = received_bytes + CASE WHEN attempt = ? THEN ? ELSE 0 END"
            " WHERE run_id = ?",
            [
                (stored, attempt, received, run_id)
                for (run_id, attempt), (stored, received) in sizes.items()
            ],
        )

    async def _cut(self, record: Cut) -> None:
        """Drop what lies between head and tail, to the byte, and say how much that was."""
        of_run = (output.c.run_id == record.run_id) & (output.c.attempt == record.attempt)
        end = record.to_offset
        touched = await self.connection.execute(
            select(output.c.chunk_no, output.c.offset, output.c.first_line, output.c.lines)
            .where(of_run, output.c.offset >= record.from_offset, output.c.offset < end)
            .order_by(output.c.offset.desc())
            .limit(1)
        )
        last = touched.first()
        after = record.first_line + (record.lines or 0)
        gone = 0
        if last is not None:
            gone = await self._cut_last(record, last.chunk_no)
            row = await self.connection.execute(
                select(output.c.offset, output.c.first_line).where(
                    of_run, output.c.chunk_no == last.chunk_no
                )
            )
            rest = row.first()
            if record.lines is None:
                after = last.first_line + last.lines if rest is None else rest.first_line
            # Of what lies between, some chunks may never have come here.
            inside = await self.connection.scalar(
                select(func.sum(func.length(output.c.data))).where(
                    of_run, output.c.offset >= record.from_offset, output.c.offset < end
                )
            )
            gone += int(inside or 0)
            await self.connection.execute(
                delete(output).where(
                    of_run, output.c.offset >= record.from_offset, output.c.offset < end
                )
            )
        lines = after - record.first_line
        size = record.to_offset - record.from_offset
        text = marker_text(size, lines, record.reason)
        marker = (
            *(record.run_id, record.attempt, record.chunk_no, record.step, record.from_offset),
            *(record.first_line, 0, record.at),
            pack([Segment(stream=Stream.MARKER, length=len(text))]),
            text,
        )
        await self.new(output, OUTPUT_COLUMNS, [marker])
        changes = {"gap_bytes": run.c.gap_bytes + size} if record.reason else {"cut_lines": lines}
        await self.connection.execute(
            update(run)
            .where(run.c.run_id == record.run_id, run.c.attempt == record.attempt)
            .values(changes)
        )
        await self._grow({(record.run_id, record.attempt): (len(text) - gone, -gone)})

    async def _cut_last(self, record: Cut, chunk_no: int) -> int:
        """Drop the last chunk that begins before the cut's end, or its beginning where it goes on
        beyond it; returns how many bytes went."""
        where = (
            (output.c.run_id == record.run_id)
            & (output.c.attempt == record.attempt)
            & (output.c.chunk_no == chunk_no)
        )
        found = await self.connection.execute(select(output).where(where))
        row = found.one()
        chunk = ChunkRow(*(getattr(row, name) for name in OUTPUT_COLUMNS[2:]))
        drop = record.to_offset - chunk.offset
        if drop >= len(chunk.data):
            await self.connection.execute(delete(output).where(where))
            return len(chunk.data)
        rest = trimmed(chunk, drop)
        await self.connection.execute(
            update(output)
            .where(where)
            .values(
                offset=rest.offset,
                first_line=rest.first_line,
                lines=rest.lines,
                segments=rest.segments,
                data=rest.data,
            )
        )
        return drop


async def append(
    engines: Engines, batches: Sequence[Batch], followed: Collection[bytes] = ()
) -> list[bool]:
    """See `Store.append`: one transaction, in halves where the data are refused. Of the runs of
    the schedules `followed` that end, a `ParentEnd` is kept."""
    order = sorted(range(len(batches)), key=lambda index: batches[index].lane is Lane.OUTPUT)
    results = [False] * len(batches)
    await _append(engines, batches, order, results, followed)
    return results


async def _append(
    engines: Engines,
    batches: Sequence[Batch],
    order: Sequence[int],
    results: list[bool],
    followed: Collection[bytes],
) -> None:
    if not order:
        return
    some = [batches[index] for index in order]
    try:
        found = await _commit(engines, some, followed)
    except REFUSED:
        if len(order) > 1:
            half = len(order) // 2
            await _append(engines, batches, order[:half], results, followed)
            await _append(engines, batches, order[half:], results, followed)
            return
        found = await _commit(engines, some, followed, one_by_one=True)
    for index, advanced in zip(order, found, strict=True):
        results[index] = advanced


async def _commit(
    engines: Engines,
    batches: Sequence[Batch],
    followed: Collection[bytes],
    *,
    one_by_one: bool = False,
) -> list[bool]:
    for tries_left in reversed(range(RETRIES)):
        try:
            async with engines.write() as connection:
                writing = Writing(engines, connection, followed)
                return await writing.batches(batches, one_by_one=one_by_one)
        except Conflict:
            if not tries_left:
                raise
        except REFUSED:
            raise
        except exc.SQLAlchemyError as error:
            raise StoreUnavailable(f"the database refuses to write: {described(error)}") from error
    raise AssertionError("the last try returns or raises")
