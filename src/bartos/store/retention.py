"""What is kept, and for how long: dropped in small steps, so that nothing has to wait for it.

The last run of a schedule on each worker and its last failure always stay, with their output.
Output goes before verdicts. What is to go is looked for on a reader's connection, oldest first, a
page at a time from where the step before came to; the writer is only asked to drop it.
"""

from __future__ import annotations

import contextlib
import enum
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    delete,
    func,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from bartos.store.engines import Engines
from bartos.store.port import FAILURES, Pruned, Retention
from bartos.store.tables import applied, event, exit_status, gap, output, run, slot_range
from libbarto.message.v2.record import Verdict

VACUUM_PAGES: Final = 4096
"""16 MiB: as much as a step drops at most."""
CHUNK_BYTES: Final = 32 * 1024
"""What a full chunk has: how many chunks a run may have is reckoned by it."""
SWEEPS: Final = 4
HOUR_US: Final = 3_600_000_000


class Phase(enum.IntEnum):
    """What a sweep drops, in this order."""

    OLD_OUTPUT = 0
    TOO_MUCH_OUTPUT = 1
    OLD_RUNS = 2
    THE_REST = 3


@dataclass(slots=True)
class Sweep:
    """One way through all that is stored, as far as it has come."""

    keep: Retention
    phase: Phase = Phase.OLD_OUTPUT
    after: tuple[int, bytes] | None = None
    """Slot and id of the last run that was looked at in this phase."""
    excess: int | None = None
    """Bytes of output that are too much; None before they were counted."""
    newest: dict[tuple[bytes, bytes], tuple[int | None, int | None]] = field(default_factory=dict)
    """For a schedule on a worker: the slots of its last run and of its last failure."""

    def next_phase(self) -> None:
        """Go on with what comes next."""
        self.phase, self.after = Phase(self.phase + 1), None


class Retainer:
    """Drops what is not kept. It remembers where each sweep is; nothing is lost if it forgets."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._sweeps: list[Sweep] = []

    async def prune(self, keep: Retention, now: int, *, batch: int, dry_run: bool) -> Pruned:
        """See `Store.prune`."""
        due = _due(keep, now)
        if dry_run:
            async with self._engines.read() as connection:
                return await _counted(connection, due, keep)
        sweep = next((sweep for sweep in self._sweeps if sweep.keep == keep), None)
        if sweep is None:
            sweep = Sweep(keep)
            self._sweeps = [*self._sweeps[-SWEEPS + 1 :], sweep]
        found = await self._step(sweep, due, now, batch)
        if not found.more:
            self._sweeps = [other for other in self._sweeps if other is not sweep]
        if self._engines.sqlite:
            await _give_back_pages(self._engines)
        return found

    async def _step(self, sweep: Sweep, due: Due, now: int, batch: int) -> Pruned:
        """Drop something, or look at a page of runs, or come to the end."""
        while sweep.phase < Phase.THE_REST:
            if sweep.phase is Phase.TOO_MUCH_OUTPUT and await self._excess(sweep) <= 0:
                sweep.next_phase()
                continue
            page = await self._page(sweep, due, now, batch)
            going = [one for one in page if not await self._is_kept(sweep, one)]
            if sweep.phase is Phase.OLD_OUTPUT:
                found = await self._drop_output(going, batch)
            elif sweep.phase is Phase.TOO_MUCH_OUTPUT:
                found = await self._drop_excess(sweep, going, batch)
            else:
                found = await self._drop_runs(going, due)
            if found is not None:
                return found  # and the page is looked at again: it may have more
            if page:
                sweep.after = page[-1].slot, bytes(page[-1].run_id)
            if len(page) == batch:
                return Pruned(more=True)
            sweep.next_phase()
        return await self._drop_rest(due, batch)

    # -- looking ----------------------------------------------------------------------------------

    async def _page(self, sweep: Sweep, due: Due, now: int, batch: int) -> Sequence[Any]:
        """The next runs that this phase may drop, by age alone, oldest slot first."""
        which, until = {
            Phase.OLD_OUTPUT: (due.old_output, due.last_output),
            Phase.TOO_MUCH_OUTPUT: (due.any_output, now),
            Phase.OLD_RUNS: (and_(due.verdicts, run.c.stored_bytes <= 0), due.last_verdict),
        }[sweep.phase]
        query = (
            select(
                *(run.c.run_id, run.c.schedule_uid, run.c.worker_uid),
                *(run.c.slot, run.c.verdict, run.c.stored_bytes),
            )
            .where(which, run.c.slot <= until)
            .order_by(run.c.slot, run.c.run_id)
            .limit(batch)
        )
        if sweep.after is not None:
            # The first half lets the index begin where the page does.
            query = query.where(
                run.c.slot >= sweep.after[0], tuple_(run.c.slot, run.c.run_id) > sweep.after
            )
        async with self._engines.read() as connection:
            return (await connection.execute(query)).all()

    async def _is_kept(self, sweep: Sweep, one: Any) -> bool:
        """Is it the last run of its schedule on its worker, or the last failure?"""
        pair = bytes(one.schedule_uid), bytes(one.worker_uid)
        if pair not in sweep.newest:
            async with self._engines.read() as connection:
                row = (await connection.execute(_newest(*pair))).one()
            failures = [row[verdict] for verdict in FAILURES if row[verdict] is not None]
            slots = [slot for slot in row if slot is not None]
            sweep.newest[pair] = max(slots, default=None), max(failures, default=None)
        last, last_failure = sweep.newest[pair]
        # Runs that came later than this was asked are newer yet.
        if last is None or one.slot >= last:
            return True
        failed = one.verdict in FAILURES
        return failed and last_failure is not None and bool(one.slot >= last_failure)

    async def _excess(self, sweep: Sweep) -> int:
        if sweep.excess is None:
            async with self._engines.read() as connection:
                total = await connection.scalar(select(func.sum(run.c.stored_bytes)))
            sweep.excess = int(total or 0) - sweep.keep.total_bytes
        return sweep.excess

    # -- dropping ---------------------------------------------------------------------------------

    async def _drop_output(self, going: Sequence[Any], batch: int) -> Pruned | None:
        """At most `batch` chunks of these runs; None where there is no run."""
        if not going:
            return None
        ids = [bytes(one.run_id) for one in going]
        c = output.c
        async with self._engines.read() as connection:
            found = await connection.execute(
                select(c.run_id, c.attempt, c.chunk_no, func.length(c.data))
                .where(c.run_id.in_(ids))
                .order_by(c.run_id, c.attempt, c.chunk_no)
                .limit(batch)
            )
            chunks = found.all()
        size = sum(chunk[3] for chunk in chunks)
        partly: Any = None
        if len(chunks) == batch:
            partly = chunks[-1]  # its run may have more, and runs behind it, too
            ids = [run_id for run_id in ids if run_id < bytes(partly.run_id)]
        async with self._engines.write() as connection:
            if ids:
                await connection.execute(delete(output).where(c.run_id.in_(ids)))
                await connection.execute(
                    update(run).where(run.c.run_id.in_(ids)).values(stored_bytes=0)
                )
            if partly is not None:
                gone = sum(chunk[3] for chunk in chunks if chunk.run_id == partly.run_id)
                await connection.execute(
                    delete(output).where(
                        c.run_id == partly.run_id,
                        or_(
                            c.attempt < partly.attempt,
                            and_(c.attempt == partly.attempt, c.chunk_no <= partly.chunk_no),
                        ),
                    )
                )
                await connection.execute(
                    update(run)
                    .where(run.c.run_id == partly.run_id)
                    # Never nothing while there may be more.
                    .values(stored_bytes=_at_least_one(run.c.stored_bytes - gone))
                )
        return Pruned(output_rows=len(chunks), output_bytes=size, more=True)

    async def _drop_excess(self, sweep: Sweep, going: Sequence[Any], batch: int) -> Pruned | None:
        """The oldest of these runs lose their output, whole: half of one would look like all."""
        ids: list[bytes] = []
        size = chunks = 0
        for one in going:
            if size >= (sweep.excess or 0) or chunks >= batch:
                break
            ids.append(bytes(one.run_id))
            size += one.stored_bytes
            chunks += 1 + one.stored_bytes // CHUNK_BYTES
        if not ids:
            return None
        async with self._engines.write() as connection:
            gone = await connection.execute(delete(output).where(output.c.run_id.in_(ids)))
            await connection.execute(
                update(run).where(run.c.run_id.in_(ids)).values(stored_bytes=0)
            )
        sweep.excess = (sweep.excess or 0) - size
        return Pruned(output_rows=gone.rowcount, output_bytes=size, more=True)

    async def _drop_runs(self, going: Sequence[Any], due: Due) -> Pruned | None:
        """These runs with their steps."""
        ids = [bytes(one.run_id) for one in going]
        if not ids:
            return None
        async with self._engines.write() as connection:
            await _let_go_of_the_past(connection, due)
            gone = await connection.execute(
                delete(exit_status).where(exit_status.c.run_id.in_(ids))
            )
            await connection.execute(delete(output).where(output.c.run_id.in_(ids)))
            await connection.execute(delete(run).where(run.c.run_id.in_(ids)))
        return Pruned(status_rows=gone.rowcount, runs=len(ids), more=True)

    async def _drop_rest(self, due: Due, batch: int) -> Pruned:
        """Ranges and events."""
        async with self._engines.read() as connection:
            ranges = (
                await connection.scalars(select(slot_range.c.id).where(due.ranges).limit(batch))
            ).all()
            events = (
                await connection.scalars(
                    select(event.c.id).where(event.c.at < due.general).limit(batch)
                )
            ).all()
        if ranges or events:
            async with self._engines.write() as connection:
                await _let_go_of_the_past(connection, due)
                await connection.execute(delete(slot_range).where(slot_range.c.id.in_(ranges)))
                await connection.execute(delete(event).where(event.c.id.in_(events)))
                await connection.execute(delete(gap).where(gap.c.at < due.general))
        return Pruned(more=batch in {len(ranges), len(events)})


@dataclass(frozen=True, slots=True)
class Due:
    """What is old enough to go: conditions on `run`, and on `slot_range`."""

    old_output: ColumnElement[bool]
    any_output: ColumnElement[bool]
    verdicts: ColumnElement[bool]
    ranges: ColumnElement[bool]
    general: int
    """Events before this instant go, whatever single schedules keep."""
    last_output: int
    last_verdict: int
    """No run with a later slot can be due: a bound for the search."""
    own: Mapping[bytes, int]
    """Of schedules with an age of their own: before this instant their verdicts go."""


def _due(keep: Retention, now: int) -> Due:
    uid, at = run.c.schedule_uid, run.c.ended_at
    ended = run.c.verdict.is_not(None)
    old = _older(uid, at, keep.verdict_age, keep.verdicts_by_schedule, now)
    old_output = _older(uid, at, keep.output_age, keep.output_by_schedule, now)
    age, output_age = keep.verdict_age, keep.output_age
    shortest = min([age, *keep.verdicts_by_schedule.values()])
    shortest_output = min([shortest, output_age, *keep.output_by_schedule.values()])
    return Due(
        old_output=and_(ended, run.c.stored_bytes > 0, or_(old_output, old)),
        any_output=and_(ended, run.c.stored_bytes > 0),
        verdicts=and_(ended, old),
        ranges=_older(
            slot_range.c.schedule_uid,
            slot_range.c.last_slot,
            keep.verdict_age,
            keep.verdicts_by_schedule,
            now,
        ),
        general=now - round(age * 1_000_000),
        last_output=now - round(shortest_output * 1_000_000),
        last_verdict=now - round(shortest * 1_000_000),
        own={
            key: now - round(seconds * 1_000_000)
            for key, seconds in keep.verdicts_by_schedule.items()
        },
    )


async def _let_go_of_the_past(connection: AsyncConnection, due: Due) -> None:
    """From here on nothing is claimed of slots whose verdicts may be gone (`Applied.kept_from`).

    By the whole hour, so that all spans need a change once an hour and no more often.
    """
    c = applied.c
    each = [(c.schedule_uid == uid, before) for uid, before in due.own.items()]
    others = c.schedule_uid.not_in(list(due.own)) if due.own else true()
    for which, before in [*each, (others, due.general)]:
        floor = -(-before // HOUR_US) * HOUR_US
        await connection.execute(delete(applied).where(which, c.until_at <= floor))
        await connection.execute(
            update(applied).where(which, c.kept_from < floor).values(kept_from=floor)
        )


def _at_least_one(value: Any) -> ColumnElement[int]:
    return case((value < 1, 1), else_=value)


def _newest(schedule_uid: bytes, worker_uid: bytes) -> Select[Any]:
    """For each verdict by its number, and last for none yet: the newest slot of a schedule on a
    worker. Each is one look into an index."""
    of_pair = and_(run.c.schedule_uid == schedule_uid, run.c.worker_uid == worker_uid)
    newest = select(func.max(run.c.slot))
    by_verdict = [
        newest.where(of_pair, run.c.verdict == int(verdict)).scalar_subquery()
        for verdict in Verdict
    ]
    return select(*by_verdict, newest.where(of_pair, run.c.verdict.is_(None)).scalar_subquery())


async def _give_back_pages(engines: Engines) -> None:
    """Make the file smaller by what is free in it, if nobody else writes just now."""
    async with engines.bare() as connection:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        # A statement is stepped once, which frees one page; a script is run to its end.
        with contextlib.suppress(sqlite3.OperationalError):  # locked: the next step does it
            await raw.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")


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
    return select(newest.union_all(failed).subquery("kept"))


async def _counted(connection: AsyncConnection, due: Due, keep: Retention) -> Pruned:
    """All that would go."""
    loose = ~run.c.run_id.in_(_protected())
    of_old = and_(or_(due.old_output, due.verdicts), loose)
    old_runs = and_(due.verdicts, loose)
    rows, size = (
        await connection.execute(
            select(func.count(), func.coalesce(func.sum(func.length(output.c.data)), 0))
            .select_from(output.join(run, run.c.run_id == output.c.run_id))
            .where(of_old)
        )
    ).one()
    runs = await connection.scalar(select(func.count()).select_from(run).where(old_runs)) or 0
    statuses = (
        await connection.scalar(
            select(func.count())
            .select_from(exit_status.join(run, run.c.run_id == exit_status.c.run_id))
            .where(old_runs)
        )
        or 0
    )
    total = await connection.scalar(select(func.coalesce(func.sum(run.c.stored_bytes), 0))) or 0
    beyond = int(total) - int(size) - keep.total_bytes
    return Pruned(rows, int(size) + max(0, beyond), statuses, runs, more=bool(rows or runs))
