"""What is kept, and for how long: dropped in small steps, so that nothing has to wait for it.

The last run of a schedule on each worker and its last failure always stay, with their output.
Output goes before verdicts.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, case, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bartos.store.engines import Engines
from bartos.store.port import FAILURES, Pruned, Retention
from bartos.store.tables import event, exit_status, output, run, slot_range

VACUUM_PAGES: Final = 4096
"""16 MiB: as much as a step drops at most."""


@dataclass(frozen=True, slots=True)
class Due:
    """Which runs lose what, as conditions on `run`."""

    output: ColumnElement[bool]
    verdicts: ColumnElement[bool]
    ranges: ColumnElement[bool]
    general: int
    """Events before this instant go, whatever single schedules keep."""


async def prune(
    engines: Engines, keep: Retention, now: int, *, batch: int, dry_run: bool
) -> Pruned:
    """See `Store.prune`."""
    due = _due(keep, now)
    if dry_run:
        async with engines.read() as connection:
            return await _counted(connection, due, keep)
    async with engines.write() as connection:
        found = await _step(connection, due, keep, batch)
    if engines.sqlite:
        await _give_back_pages(engines)
    return found


async def _give_back_pages(engines: Engines) -> None:
    """Make the file smaller by what is free in it, if nobody else writes just now."""
    async with engines.bare() as connection:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        # A statement is stepped once, which frees one page; a script is run to its end.
        with contextlib.suppress(sqlite3.OperationalError):  # locked: the next step does it
            await raw.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")


def _due(keep: Retention, now: int) -> Due:
    uid, at = run.c.schedule_uid, run.c.ended_at
    protected = run.c.run_id.in_(_protected())
    ended = run.c.verdict.is_not(None)
    of_old = _older(uid, at, keep.verdict_age, keep.verdicts_by_schedule, now)
    return Due(
        output=and_(
            ended,
            run.c.stored_bytes > 0,
            or_(_older(uid, at, keep.output_age, keep.output_by_schedule, now), of_old),
            ~protected,
        ),
        verdicts=and_(ended, of_old, ~protected),
        ranges=_older(
            slot_range.c.schedule_uid,
            slot_range.c.last_slot,
            keep.verdict_age,
            keep.verdicts_by_schedule,
            now,
        ),
        general=now - round(keep.verdict_age * 1_000_000),
    )


def _older(uid: Any, at: Any, age: float, by_schedule: Any, now: int) -> ColumnElement[bool]:
    """Longer ago than the age says: a schedule's own, else the one for all. Seconds; `now` µs."""
    general = now - round(age * 1_000_000)
    if not by_schedule:
        return at < general  # type: ignore[no-any-return]
    limits = [(uid == key, now - round(own * 1_000_000)) for key, own in by_schedule.items()]
    return at < case(*limits, else_=general)  # type: ignore[no-any-return]


def _protected() -> Select[Any]:
    """The last run, and the last failure, of each schedule on each worker."""
    this = run.alias("this")
    newest = select(func.max(this.c.run_id)).group_by(this.c.schedule_uid, this.c.worker_uid)
    failed = (
        select(func.max(this.c.run_id))
        .where(this.c.verdict.in_([int(verdict) for verdict in FAILURES]))
        .group_by(this.c.schedule_uid, this.c.worker_uid)
    )
    # Twice a subquery, since MariaDB reads no table directly that it deletes from.
    both = newest.union_all(failed).subquery("kept")
    return select(both)


async def _counted(connection: AsyncConnection, due: Due, keep: Retention) -> Pruned:
    """All that would go."""
    of_old = or_(due.output, due.verdicts)
    rows, size = (
        await connection.execute(
            select(func.count(), func.coalesce(func.sum(func.length(output.c.data)), 0))
            .select_from(output.join(run, run.c.run_id == output.c.run_id))
            .where(of_old)
        )
    ).one()
    runs = await connection.scalar(select(func.count()).select_from(run).where(due.verdicts)) or 0
    statuses = (
        await connection.scalar(
            select(func.count())
            .select_from(exit_status.join(run, run.c.run_id == exit_status.c.run_id))
            .where(due.verdicts)
        )
        or 0
    )
    total = await connection.scalar(select(func.coalesce(func.sum(run.c.stored_bytes), 0))) or 0
    beyond = int(total) - int(size) - keep.total_bytes
    return Pruned(rows, int(size) + max(0, beyond), statuses, runs, more=bool(rows or runs))


async def _step(connection: AsyncConnection, due: Due, keep: Retention, batch: int) -> Pruned:
    """One small step: the first of these that has something to do."""
    found = await _drop_output(connection, due.output, run.c.ended_at, batch)
    if found.output_rows or found.more:
        return found
    total = await connection.scalar(select(func.coalesce(func.sum(run.c.stored_bytes), 0))) or 0
    if int(total) > keep.total_bytes:
        oldest = and_(
            run.c.verdict.is_not(None),
            run.c.stored_bytes > 0,
            ~run.c.run_id.in_(_protected()),
        )
        # A run at a time, whole: half an output would look like all of it.
        found = await _drop_output(connection, oldest, run.c.slot, None)
        if found.output_rows or found.more:
            return found
    return await _drop_runs(connection, due, batch)


async def _drop_output(
    connection: AsyncConnection, which: ColumnElement[bool], order: Any, batch: int | None
) -> Pruned:
    """Output of the first run that is due, at most `batch` chunks of it (None: all)."""
    run_id = await connection.scalar(select(run.c.run_id).where(which).order_by(order).limit(1))
    if run_id is None:
        return Pruned()
    chunks = (
        await connection.execute(
            select(output.c.attempt, output.c.chunk_no, func.length(output.c.data))
            .where(output.c.run_id == run_id)
            .order_by(output.c.attempt, output.c.chunk_no)
            .limit(batch)
        )
    ).all()
    size = sum(chunk[2] for chunk in chunks)
    for attempt in {chunk[0] for chunk in chunks}:
        numbers = [chunk[1] for chunk in chunks if chunk[0] == attempt]
        await connection.execute(
            delete(output).where(
                output.c.run_id == run_id,
                output.c.attempt == attempt,
                output.c.chunk_no.between(min(numbers), max(numbers)),
            )
        )
    whole = batch is None or len(chunks) < batch
    left = 0 if whole else run.c.stored_bytes - size
    await connection.execute(update(run).where(run.c.run_id == run_id).values(stored_bytes=left))
    return Pruned(output_rows=len(chunks), output_bytes=size, more=True)


async def _drop_runs(connection: AsyncConnection, due: Due, batch: int) -> Pruned:
    """Runs with their steps, ranges and events."""
    ids = (
        await connection.scalars(
            select(run.c.run_id)
            .where(due.verdicts, run.c.stored_bytes <= 0)
            .order_by(run.c.ended_at)
            .limit(batch)
        )
    ).all()
    statuses = 0
    if ids:
        gone = await connection.execute(delete(exit_status).where(exit_status.c.run_id.in_(ids)))
        statuses = gone.rowcount
        await connection.execute(delete(output).where(output.c.run_id.in_(ids)))
        await connection.execute(delete(run).where(run.c.run_id.in_(ids)))
    old = (await connection.scalars(select(slot_range.c.id).where(due.ranges).limit(batch))).all()
    if old:
        await connection.execute(delete(slot_range).where(slot_range.c.id.in_(old)))
    events = (
        await connection.scalars(select(event.c.id).where(event.c.at < due.general).limit(batch))
    ).all()
    if events:
        await connection.execute(delete(event).where(event.c.id.in_(events)))
    more = batch in {len(ids), len(old), len(events)}
    return Pruned(status_rows=statuses, runs=len(ids), more=more)
