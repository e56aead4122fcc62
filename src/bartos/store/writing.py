"""How what workers report becomes rows: whole batches, in bulk, with the mark in one transaction.

A batch counts or does not; what the database refuses of it is put aside as a dead letter in the
same transaction, so that one bad record stops nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Table, delete, exc, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bartos.store.engines import Engines
from bartos.store.port import Batch, ChunkRow, DeadLetter, Record
from bartos.store.tables import (
    dead_letter,
    event,
    exit_status,
    output,
    run,
    slot_range,
    spool_mark,
)
from bartos.store.trimming import marker_text, trimmed
from libbarto.message.v2.record import (
    Claimed,
    ClockBack,
    Cut,
    Decided,
    Ended,
    Lane,
    Output,
    SetApplied,
    Started,
    Status,
    Stream,
)
from libbarto.message.v2.segment import Segment, pack

OUTPUT_COLUMNS: Final = (
    *("run_id", "attempt", "chunk_no", "step", "offset", "first_line", "lines"),
    *("started_at", "segments", "data"),
)
STATUS_COLUMNS: Final = (
    *("run_id", "attempt", "step", "command", "exit_code", "signal", "success"),
    *("started_at", "ended_at", "reason"),
)
RUN_COLUMNS: Final = tuple(column.name for column in run.columns)


class Refused(Exception):
    """The mark is not where the batch says: its session is over."""


@dataclass(slots=True)
class Writing:
    """Turns records into statements on one connection."""

    engines: Engines
    connection: AsyncConnection
    stored: dict[bytes, int] = field(default_factory=dict)

    # -- batches ----------------------------------------------------------------------------------

    async def batch(self, batch: Batch, *, one_by_one: bool = False) -> bool:
        """All of a batch, with its mark; False where the mark is elsewhere, and then nothing."""
        advanced = await self.connection.execute(
            update(spool_mark)
            .where(
                spool_mark.c.spool_id == batch.spool_id,
                spool_mark.c.lane == int(batch.lane),
                spool_mark.c.epoch == batch.epoch,
                spool_mark.c.seq == batch.first_seq - 1,
            )
            .values(seq=batch.last_seq, tag=batch.tag)
        )
        if advanced.rowcount != 1:
            return False
        if one_by_one:
            for seq, record in enumerate(batch.records, batch.first_seq):
                await self._one(batch, seq, record)
        else:
            await self._records(batch, batch.records)
        return True

    async def _one(self, batch: Batch, seq: int, record: Record | DeadLetter) -> None:
        """A record by itself: what the database refuses of it becomes a dead letter."""
        try:
            async with self.connection.begin_nested():
                await self._records(batch, [record])
        except (exc.DataError, exc.IntegrityError, exc.ProgrammingError, exc.OperationalError) as e:
            judged = self.engines.judged(e)
            if judged is not e:
                raise
            await self._dead(batch, DeadLetter(seq, repr(record).encode(), str(e.orig)))

    async def _records(self, batch: Batch, records: Sequence[Record | DeadLetter]) -> None:
        """In order, with neighbours of one kind in one statement."""
        at = 0
        while at < len(records):
            kind = type(records[at])
            end = at + 1
            while end < len(records) and type(records[end]) is kind:
                end += 1
            await self._group(batch, records[at:end])
            at = end

    async def _group(self, batch: Batch, group: Sequence[Record | DeadLetter]) -> None:
        match group[0]:
            case Output():
                await self._outputs([one for one in group if isinstance(one, Output)])
            case Status():
                await self._statuses([one for one in group if isinstance(one, Status)])
            case Claimed():
                await self._claims(batch, [one for one in group if isinstance(one, Claimed)])
            case Decided():
                await self._ranges(batch, [one for one in group if isinstance(one, Decided)])
            case _:
                for record in group:
                    await self._single(batch, record)

    async def _single(self, batch: Batch, record: Record | DeadLetter) -> None:
        match record:
            case Started(run_id=run_id, attempt=attempt, at=at):
                await self._update(run_id, attempt, started_at=at)
            case Ended():
                await self._ended(record)
            case Cut():
                await self._cut(record)
            case SetApplied(generation=generation, at=at):
                await self._event(batch, at, "set applied", generation=generation)
            case ClockBack(now=now):
                await self._event(batch, now, "clock back")
            case DeadLetter():
                await self._dead(batch, record)
            case _:
                raise TypeError(f"{type(record).__name__} is no single record")

    # -- kinds of records -------------------------------------------------------------------------

    async def _claims(self, batch: Batch, records: Sequence[Claimed]) -> None:
        """A claim makes its run, or gives it a further attempt; a lower one changes nothing."""
        for record in records:
            known = await self.connection.scalar(
                select(run.c.attempt).where(run.c.run_id == record.run_id)
            )
            if known is not None and known >= record.attempt:
                continue
            values = {
                "run_id": record.run_id,
                "attempt": record.attempt,
                "schedule_uid": record.schedule_uid,
                "schedule": record.schedule,
                "worker_uid": batch.worker_uid,
                "worker": batch.worker,
                "kind": int(record.kind),
                "slot": record.slot,
                "claimed_at": record.at,
                "late_us": record.late_us,
                "generation": record.generation,
                "started_at": None,
                "ended_at": None,
                "verdict": None,
                "reason": "",
                "exit_code": None,
                "signal": None,
                "spool_id": batch.spool_id,
                "output_seq": 0,
                "bytes_out": 0,
                "bytes_err": 0,
                "cut_bytes": 0,
                "cut_lines": 0,
                "stored_bytes": 0,
            }
            if known is None:
                await self.connection.execute(insert(run).values(values))
            else:
                del values["stored_bytes"]  # that of earlier attempts is still there
                await self.connection.execute(
                    update(run).where(run.c.run_id == record.run_id).values(values)
                )

    async def _statuses(self, records: Sequence[Status]) -> None:
        await self._bulk(
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

    async def _ended(self, record: Ended) -> None:
        steps = await self.connection.execute(
            select(exit_status.c.exit_code, exit_status.c.signal, exit_status.c.success)
            .where(exit_status.c.run_id == record.run_id, exit_status.c.attempt == record.attempt)
            .order_by(exit_status.c.step)
        )
        rows = steps.all()
        failed = [row for row in rows if not row.success]
        # The step whose end decided the run's: the first that failed, else the last.
        decisive = failed[0] if failed else rows[-1] if rows else None
        size = {total.stream: total.bytes_ for total in record.totals}
        await self._update(
            record.run_id,
            record.attempt,
            verdict=int(record.verdict),
            reason=record.reason,
            started_at=record.started_at,
            ended_at=record.ended_at,
            exit_code=None if decisive is None else decisive.exit_code,
            signal=None if decisive is None else decisive.signal,
            output_seq=record.output_seq,
            bytes_out=size.get(Stream.STDOUT, 0),
            bytes_err=size.get(Stream.STDERR, 0),
            cut_bytes=record.cut_bytes,
        )

    async def _ranges(self, batch: Batch, records: Sequence[Decided]) -> None:
        await self.connection.execute(
            insert(slot_range),
            [
                {
                    "schedule_uid": one.schedule_uid,
                    "schedule": one.schedule,
                    "worker_uid": batch.worker_uid,
                    "worker": batch.worker,
                    "first_slot": one.first_slot,
                    "last_slot": one.last_slot,
                    "count": one.count,
                    "verdict": int(one.verdict),
                    "reason": one.reason,
                    "decided_at": one.last_slot,
                }
                for one in records
            ],
        )

    async def _outputs(self, records: Sequence[Output]) -> None:
        """Chunks of runs that are still here: what retention has dropped stays dropped."""
        wanted = {one.run_id for one in records}
        found = await self.connection.scalars(select(run.c.run_id).where(run.c.run_id.in_(wanted)))
        here = set(found)
        kept = [one for one in records if one.run_id in here]
        await self._bulk(output, OUTPUT_COLUMNS, [_output_row(one) for one in kept])
        sizes: dict[bytes, int] = {}
        for one in kept:
            sizes[one.run_id] = sizes.get(one.run_id, 0) + len(one.data)
        for run_id, size in sizes.items():
            await self._grow(run_id, size)

    async def _grow(self, run_id: bytes, size: int) -> None:
        await self.connection.execute(
            update(run).where(run.c.run_id == run_id).values(stored_bytes=run.c.stored_bytes + size)
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
            sizes = await self.connection.execute(
                select(output.c.chunk_no, output.c.offset)
                .where(of_run, output.c.offset >= record.from_offset, output.c.offset < end)
                .order_by(output.c.offset)
            )
            inside = sizes.all()
            if inside:
                gone += last.offset - inside[0].offset
            await self.connection.execute(
                delete(output).where(
                    of_run, output.c.offset >= record.from_offset, output.c.offset < end
                )
            )
        lines = after - record.first_line
        text = marker_text(record.to_offset - record.from_offset, lines)
        marker = (
            *(record.run_id, record.attempt, record.chunk_no, record.step, record.from_offset),
            *(record.first_line, 0, record.at),
            pack([Segment(stream=Stream.MARKER, length=len(text))]),
            text,
        )
        await self._bulk(output, OUTPUT_COLUMNS, [marker])
        await self._update(record.run_id, record.attempt, cut_lines=lines)
        await self._grow(record.run_id, len(text) - gone)

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

    async def _event(self, batch: Batch, at: int, kind: str, **facts: object) -> None:
        await self.connection.execute(
            insert(event).values(at=at, kind=kind, worker=batch.worker, facts=json.dumps(facts))
        )

    async def _dead(self, batch: Batch, letter: DeadLetter) -> None:
        await self.connection.execute(
            insert(dead_letter).values(
                spool_id=batch.spool_id,
                worker=batch.worker,
                lane=int(batch.lane),
                seq=letter.seq,
                data=letter.data,
                error=letter.error,
            )
        )

    # -- statements -------------------------------------------------------------------------------

    async def _update(self, run_id: bytes, attempt: int, **values: Any) -> None:
        await self.connection.execute(
            update(run).where(run.c.run_id == run_id, run.c.attempt == attempt).values(values)
        )

    async def _bulk(
        self, table: Table, columns: Sequence[str], rows: Sequence[tuple[object, ...]]
    ) -> None:
        """Rows by the driver's own bulk protocol; those that are there already stay."""
        if rows:
            await self.connection.exec_driver_sql(self._insert(table, columns), list(rows))

    def _insert(self, table: Table, columns: Iterable[str]) -> str:
        names = list(columns)
        if self.engines.sqlite:
            quoted = ", ".join(f'"{name}"' for name in names)
            marks = ", ".join("?" for _ in names)
            return f"INSERT OR IGNORE INTO {table.name} ({quoted}) VALUES ({marks})"  # noqa: S608  # names are our own
        quoted = ", ".join(f"`{name}`" for name in names)
        marks = ", ".join("%s" for _ in names)
        # INSERT IGNORE would also cut what is too long, and say nothing.
        return (
            f"INSERT INTO {table.name} ({quoted}) VALUES ({marks})"  # noqa: S608  # names are our own
            " ON DUPLICATE KEY UPDATE run_id = run_id"
        )


def _output_row(one: Output) -> tuple[object, ...]:
    return (
        *(one.run_id, one.attempt, one.chunk_no, one.step, one.offset, one.first_line, one.lines),
        *(one.started_at, one.segments, one.data),
    )


async def append(engines: Engines, batches: Sequence[Batch]) -> list[bool]:
    """See `Store.append`: one transaction, in halves where the data are refused."""
    order = sorted(range(len(batches)), key=lambda index: batches[index].lane is Lane.OUTPUT)
    results = [False] * len(batches)
    await _append(engines, batches, order, results)
    return results


async def _append(
    engines: Engines, batches: Sequence[Batch], order: Sequence[int], results: list[bool]
) -> None:
    try:
        async with engines.write() as connection:
            writing = Writing(engines, connection)
            found = [await writing.batch(batches[index]) for index in order]
    except (exc.DataError, exc.IntegrityError, exc.ProgrammingError, exc.OperationalError):
        # The data are refused, not the database away: that is `StoreUnavailable`, and passes.
        if len(order) > 1:
            half = len(order) // 2
            await _append(engines, batches, order[:half], results)
            await _append(engines, batches, order[half:], results)
            return
        async with engines.write() as connection:
            writing = Writing(engines, connection)
            found = [await writing.batch(batches[order[0]], one_by_one=True)]
    for index, advanced in zip(order, found, strict=True):
        results[index] = advanced
