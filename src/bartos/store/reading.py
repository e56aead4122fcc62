"""What the store tells: runs, their steps and output, and slots that did not run."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, and_, or_, select, tuple_, union

from bartos.store.coverage import missing_bytes
from bartos.store.covering import range_row
from bartos.store.engines import Engines
from bartos.store.port import ChunkRow, RunFilter, RunRow, SlotRange, StepRow
from bartos.store.tables import (
    exit_status,
    output,
    run,
    schedule,
    schedule_version,
    slot_range,
    spool_mark,
)
from libbarto.message.v2.record import Lane, Verdict

NEWEST: Final = 20_000
"""So many of the newest runs are looked through for a verdict."""


class Reader:
    """Reads on connections of its own: it never waits for the writer."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def runs(self, wanted: RunFilter) -> list[RunRow]:
        names = await self._names(wanted.schedule)
        if _by_verdict_alone(wanted):
            found = await self._among_newest(wanted, names)
            if found is not None:
                return found
        return await self._run_rows(_wanted(wanted, names, run.c.verdict))

    async def _among_newest(self, wanted: RunFilter, names: Collection[str]) -> list[RunRow] | None:
        """The page, where the newest runs have it all; None where older ones have to be asked.

        An index finds runs by verdict, but not in order of their slots. Of a verdict that most
        runs have, it would be read, and sorted, whole: so the newest are tried first, as they
        come. A verdict that fills no page of these is rare, and the index is right for it.
        """
        query = _placed(select(run.c.slot), wanted)
        query = query.order_by(run.c.slot.desc(), run.c.run_id.desc()).offset(NEWEST).limit(1)
        async with self._engines.read() as connection:
            edge = (await connection.scalars(query)).first()
        # What is computed is found by no index.
        query = _wanted(wanted, names, run.c.verdict + 0)
        rows = await self._run_rows(query if edge is None else query.where(run.c.slot >= edge))
        return rows if edge is None or len(rows) == wanted.limit else None

    async def runs_like(self, prefix: str, limit: int = 3) -> list[RunRow]:
        if len(prefix) > 32 or not set(prefix) <= set("0123456789abcdef"):
            return []  # no id begins so
        low = bytes.fromhex(prefix.ljust(32, "0"))
        high = bytes.fromhex(prefix.ljust(32, "f"))
        query = _runs().where(run.c.run_id.between(low, high)).order_by(run.c.run_id).limit(limit)
        return await self._run_rows(query)

    async def runs_by_id(self, run_ids: Collection[bytes]) -> list[RunRow]:
        if not run_ids:
            return []
        query = _runs().where(run.c.run_id.in_(sorted(set(run_ids)))).order_by(run.c.run_id)
        return await self._run_rows(query)

    async def steps(self, run_id: bytes, attempt: int | None = None) -> list[StepRow]:
        last = select(run.c.attempt).where(run.c.run_id == run_id).scalar_subquery()
        query = (
            select(exit_status)
            .where(
                exit_status.c.run_id == run_id,
                exit_status.c.attempt == (last if attempt is None else attempt),
            )
            .order_by(exit_status.c.step)
        )
        async with self._engines.read() as connection:
            rows = (await connection.execute(query)).all()
        return [
            StepRow(
                run_id=bytes(row.run_id),
                attempt=row.attempt,
                step=row.step,
                command=row.command,
                exit_code=row.exit_code,
                signal=row.signal,
                success=row.success,
                started_at=row.started_at,
                ended_at=row.ended_at,
                reason=row.reason,
            )
            for row in rows
        ]

    async def chunks(
        self, run_id: bytes, attempt: int, after: int = -1, limit: int = 64
    ) -> list[ChunkRow]:
        query = (
            select(output)
            .where(
                output.c.run_id == run_id, output.c.attempt == attempt, output.c.chunk_no > after
            )
            .order_by(output.c.chunk_no)
            .limit(limit)
        )
        async with self._engines.read() as connection:
            rows = (await connection.execute(query)).all()
        return [
            ChunkRow(
                chunk_no=row.chunk_no,
                step=row.step,
                offset=row.offset,
                first_line=row.first_line,
                lines=row.lines,
                started_at=row.started_at,
                segments=bytes(row.segments),
                data=bytes(row.data),
            )
            for row in rows
        ]

    async def ranges(self, wanted: RunFilter) -> list[SlotRange]:
        names = await self._names(wanted.schedule)
        slots = slot_range.c.first_slot, slot_range.c.last_slot
        query = _filtered(
            select(slot_range), slot_range, slots, wanted, names, slot_range.c.verdict
        )
        c = slot_range.c
        key = c.last_slot, c.worker_uid, c.schedule_uid, c.first_slot, c.run_id
        if wanted.before_range is not None:
            last, *rest = wanted.before_range
            beyond = and_(c.last_slot == last, tuple_(*key[1:]) < tuple_(*rest))
            query = query.where(c.last_slot <= last, or_(c.last_slot < last, beyond))
        query = query.order_by(*(column.desc() for column in key))
        async with self._engines.read() as connection:
            rows = (await connection.execute(query.limit(wanted.limit))).all()
        return [range_row(row) for row in rows]

    async def schedule_names(self, worker: str) -> list[str]:
        query = select(run.c.schedule).where(run.c.worker == worker).distinct()
        async with self._engines.read() as connection:
            return sorted((await connection.scalars(query)).all())

    async def _names(self, wanted: str | None) -> set[str]:
        """All that a schedule of this name may be called: the part behind the slash of a name of
        barto 1.x is a name as well. Looked up among the schedules, now and before, so that the
        runs are found by an index."""
        if wanted is None:
            return set()
        ending = wanted.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        queries = [
            select(table.c.name).where(table.c.name.like(f"%/{ending}", escape="\\"))
            for table in (schedule, schedule_version)
        ]
        async with self._engines.read() as connection:
            return {wanted, *(await connection.scalars(union(*queries)))}

    async def _run_rows(self, query: Select[Any]) -> list[RunRow]:
        async with self._engines.read() as connection:
            rows = (await connection.execute(query)).all()
        return [_run_row(row) for row in rows]


def _runs() -> Select[Any]:
    """Every run, with how far its spool's output is committed."""
    mark = spool_mark.alias("mark")
    return select(run, mark.c.seq.label("output_mark")).select_from(
        run.outerjoin(
            mark, and_(mark.c.spool_id == run.c.spool_id, mark.c.lane == int(Lane.OUTPUT))
        )
    )


def _wanted(wanted: RunFilter, names: Collection[str], verdict: ColumnElement[Any]) -> Select[Any]:
    """The page of runs that a reader wants; `verdict` is how that is looked at."""
    query = _filtered(_runs(), run, (run.c.slot, run.c.slot), wanted, names, verdict)
    if wanted.running is not None:
        query = query.where(verdict.is_(None) if wanted.running else verdict.is_not(None))
    query = _placed(query, wanted)
    return query.order_by(run.c.slot.desc(), run.c.run_id.desc()).limit(wanted.limit)


def _by_verdict_alone(wanted: RunFilter) -> bool:
    """Whether no name narrows it down, and a verdict that may be a frequent one does."""
    if wanted.worker is not None or wanted.schedule is not None or wanted.running:
        return False
    return wanted.verdicts is not None or wanted.running is not None


def _placed(query: Select[Any], wanted: RunFilter) -> Select[Any]:
    """Only what comes after the cursor, and lies within the time that is wanted."""
    slot = run.c.slot
    if wanted.before is not None:
        last, run_id = wanted.before
        # The first part alone lets an index begin at the right place.
        query = query.where(slot <= last, or_(slot < last, run.c.run_id < run_id))
    if wanted.since is not None:
        query = query.where(slot >= wanted.since)
    if wanted.until is not None:
        query = query.where(slot < wanted.until)
    return query


def _filtered(
    query: Select[Any],
    table: Table,
    slots: tuple[Any, Any],
    wanted: RunFilter,
    names: Collection[str],
    verdict: ColumnElement[Any],
) -> Select[Any]:
    """The rows of a table that a reader wants; `slots` are the columns of its first and last slot,
    `names` what its schedule may be called."""
    first, last = slots
    if wanted.worker is not None:
        query = query.where(table.c.worker == wanted.worker)
    if wanted.schedule is not None:
        query = query.where(table.c.schedule.in_(names))
    if wanted.verdicts is not None:
        query = query.where(verdict.in_([int(one) for one in wanted.verdicts]))
    if wanted.since is not None:
        query = query.where(last >= wanted.since)
    if wanted.until is not None:
        query = query.where(first < wanted.until)
    return query


def _run_row(row: Any) -> RunRow:
    verdict = None if row.verdict is None else Verdict(row.verdict)
    whole = verdict is not None and (row.output_mark or 0) >= row.output_seq
    printed = row.bytes_out + row.bytes_err
    missing = (
        missing_bytes(printed, row.cut_bytes, row.received_bytes, row.gap_bytes) if whole else 0
    )
    return RunRow(
        run_id=bytes(row.run_id),
        attempt=row.attempt,
        schedule_uid=bytes(row.schedule_uid),
        schedule=row.schedule,
        worker_uid=bytes(row.worker_uid),
        worker=row.worker,
        kind=row.kind,
        slot=row.slot,
        claimed_at=row.claimed_at,
        late_us=row.late_us,
        generation=row.generation,
        started_at=row.started_at,
        ended_at=row.ended_at,
        verdict=verdict,
        reason=row.reason,
        exit_code=row.exit_code,
        signal=row.signal,
        complete=whole and missing == 0,
        bytes_out=row.bytes_out,
        bytes_err=row.bytes_err,
        cut_bytes=row.cut_bytes,
        cut_lines=row.cut_lines,
        missing_bytes=missing,
        sha_out=bytes(row.sha_out),
        sha_err=bytes(row.sha_err),
    )
