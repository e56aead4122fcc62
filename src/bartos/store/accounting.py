"""What the store tells of planned starts: since when they count, and what became of each."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, delete, func, select, union_all, update

from bartos.store.covering import (
    NO_RUN,
    RANGE_COLUMNS,
    applied_row,
    of_pairs,
    range_row,
    range_values,
    waiting_row,
)
from bartos.store.engines import Engines
from bartos.store.port import (
    OVERLAP,
    Applied,
    EventRow,
    GapRow,
    RefusalRow,
    RunSlot,
    SlotRange,
    VersionRow,
    WaitingRow,
)
from bartos.store.statements import ROWS_MAX, Statements, parts
from bartos.store.tables import (
    applied,
    event,
    gap,
    refusal,
    run,
    schedule,
    schedule_version,
    slot_range,
    timing,
    waiting,
)
from libbarto.identity import Kind
from libbarto.message.v2.record import Lane, Verdict

PAIRS: Final = 100
"""Of worker and schedule, asked for at once: each takes several looks into an index."""


class Coverage:
    """The part of the store that accounts for planned starts."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    # -- triggers and spans -----------------------------------------------------------------------

    async def keep_timings(self, timings: Mapping[bytes, str]) -> None:
        async with self._engines.write() as connection:
            statements = Statements(self._engines, connection)
            await statements.new(timing, ("hash", "text"), sorted(timings.items()), "hash")

    async def timings(self, hashes: Collection[bytes]) -> dict[bytes, str]:
        found: dict[bytes, str] = {}
        for part in parts(sorted(hashes), ROWS_MAX):
            rows = await self._all(select(timing).where(timing.c.hash.in_(part)))
            found.update((bytes(row.hash), row.text) for row in rows)
        return found

    async def applied(
        self, *, worker_uid: bytes | None = None, schedule_uid: bytes | None = None
    ) -> list[Applied]:
        c = applied.c
        query = select(applied).order_by(c.worker_uid, c.schedule_uid, c.from_at)
        if worker_uid is not None:
            query = query.where(c.worker_uid == worker_uid)
        if schedule_uid is not None:
            query = query.where(c.schedule_uid == schedule_uid)
        return [applied_row(row) for row in await self._all(query)]

    # -- what became of slots ---------------------------------------------------------------------

    async def run_slots(
        self, worker_uid: bytes, schedule_uid: bytes, after: int, until: int, limit: int
    ) -> list[RunSlot]:
        c = run.c
        columns = (
            *(c.run_id, c.slot, c.kind, c.verdict, c.reason, c.claimed_at, c.ended_at),
            *(c.boot_id, c.ahead),
        )
        of_pair = and_(c.schedule_uid == schedule_uid, c.worker_uid == worker_uid)
        within = and_(c.slot > after, c.slot <= until)
        # The index has the verdict before the slot: each verdict is a walk of its own.
        each: list[ColumnElement[bool]] = [c.verdict == int(verdict) for verdict in Verdict]
        each.append(c.verdict.is_(None))
        walks = [
            select(
                select(*columns)
                .where(of_pair, one, within)
                .order_by(c.slot)
                .limit(limit)
                .subquery()
            )
            for one in each
        ]
        both = union_all(*walks).subquery()
        query = select(both).order_by(both.c.slot, both.c.run_id).limit(limit)
        rows = await self._all(query)
        if len(rows) == limit:
            last = rows[-1].slot
            rows = [row for row in rows if row.slot < last]
            at_last = select(*columns).where(of_pair, c.slot == last).order_by(c.run_id)
            rows += await self._all(at_last)
        return [
            RunSlot(
                run_id=bytes(row.run_id),
                slot=row.slot,
                kind=row.kind,
                verdict=None if row.verdict is None else Verdict(row.verdict),
                reason=row.reason,
                claimed_at=row.claimed_at,
                ended_at=row.ended_at,
                boot_id=bytes(row.boot_id),
                ahead=bool(row.ahead),
            )
            for row in rows
        ]

    async def pair_ranges(
        self,
        worker_uid: bytes,
        schedule_uid: bytes,
        after: int,
        until: int,
        limit: int,
        beyond: int | None = None,
    ) -> list[SlotRange]:
        c = slot_range.c
        query = (
            select(slot_range)
            .where(
                c.worker_uid == worker_uid,
                c.schedule_uid == schedule_uid,
                c.first_slot <= until,
                c.last_slot > after,
                c.run_id == NO_RUN,
            )
            .order_by(c.first_slot)
            .limit(limit)
        )
        if beyond is not None:
            query = query.where(c.first_slot > beyond)
        return [range_row(row) for row in await self._all(query)]

    async def waiting(
        self, *, worker_uid: bytes | None = None, schedule_uid: bytes | None = None
    ) -> list[WaitingRow]:
        query = select(waiting).order_by(waiting.c.slot, waiting.c.run_id)
        if worker_uid is not None:
            query = query.where(waiting.c.worker_uid == worker_uid)
        if schedule_uid is not None:
            query = query.where(waiting.c.schedule_uid == schedule_uid)
        return [waiting_row(row) for row in await self._all(query)]

    async def cursors(
        self, pairs: Collection[tuple[bytes, bytes]] | None = None
    ) -> dict[tuple[bytes, bytes], int]:
        found: dict[tuple[bytes, bytes], int] = {}
        if pairs is None:
            opened = select(applied.c.worker_uid, applied.c.schedule_uid).where(
                applied.c.until_at.is_(None)
            )
            pairs = [
                (bytes(row.worker_uid), bytes(row.schedule_uid)) for row in await self._all(opened)
            ]
        for part in parts(sorted(pairs), PAIRS):
            rows = await self._all(_cursors(part))
            for row in rows:
                slots = [slot for slot in row[3:] if slot is not None]
                found[bytes(row[0]), bytes(row[1])] = max([row[2], *slots])
        return found

    async def skipped_by_overlap(self, run_ids: Sequence[bytes]) -> dict[bytes, int]:
        c = slot_range.c
        found: dict[bytes, int] = {}
        for part in parts(run_ids, PAIRS):
            rows = await self._all(
                select(run.c.run_id, func.sum(c.count))
                .join(
                    slot_range,
                    and_(
                        c.worker_uid == run.c.worker_uid,
                        c.schedule_uid == run.c.schedule_uid,
                        c.first_slot > run.c.slot,
                    ),
                )
                .where(
                    run.c.run_id.in_(part),
                    c.verdict == int(Verdict.SKIPPED),
                    c.reason.like(f"{OVERLAP}%"),
                    c.run_id == NO_RUN,
                )
                .group_by(run.c.run_id)
            )
            found.update((bytes(row[0]), int(row[1])) for row in rows)
        return found

    async def took(self, worker_uid: bytes, schedule_uid: bytes, limit: int) -> list[int]:
        c = run.c
        rows = await self._all(
            select(c.started_at, c.ended_at)
            .where(
                c.schedule_uid == schedule_uid,
                c.worker_uid == worker_uid,
                c.verdict == int(Verdict.OK),
            )
            .order_by(c.slot.desc())
            .limit(limit)
        )
        return [row.ended_at - row.started_at for row in rows if row.started_at is not None]

    # -- what is lost, refused, told --------------------------------------------------------------

    async def gaps(self, worker_uid: bytes) -> list[GapRow]:
        query = (
            select(gap).where(gap.c.worker_uid == worker_uid).order_by(gap.c.at, gap.c.first_seq)
        )
        return [
            GapRow(bytes(row.spool_id), Lane(row.lane), row.first_seq, row.last_seq, row.at)
            for row in await self._all(query)
        ]

    async def refusals(self, run_ids: Collection[bytes]) -> list[RefusalRow]:
        found: list[RefusalRow] = []
        for part in parts(sorted(run_ids), ROWS_MAX):
            rows = await self._all(
                select(refusal)
                .where(refusal.c.run_id.in_(part))
                .order_by(refusal.c.run_id, refusal.c.worker_uid, refusal.c.spool_id)
            )
            found += [
                RefusalRow(
                    run_id=bytes(row.run_id),
                    worker_uid=bytes(row.worker_uid),
                    spool_id=bytes(row.spool_id),
                    number=row.number,
                    reason=row.reason,
                )
                for row in rows
            ]
        return found

    async def events(
        self,
        since: int,
        limit: int = 100,
        *,
        until: int | None = None,
        kinds: Collection[str] = (),
        worker: str | None = None,
    ) -> list[EventRow]:
        c = event.c
        query = select(event).where(c.at >= since)
        if until is not None:
            query = query.where(c.at <= until)
        if kinds:
            query = query.where(c.kind.in_(sorted(kinds)))
        if worker is not None:
            query = query.where(c.worker == worker)
        query = query.order_by(c.at.desc(), c.id.desc()).limit(limit)
        return [
            EventRow(row.at, row.kind, row.worker, json.loads(row.facts))
            for row in await self._all(query)
        ]

    async def schedule_versions(self, uid: bytes) -> list[VersionRow]:
        old, now = schedule_version.c, schedule.c
        before = select(schedule_version).where(old.uid == uid).order_by(old.until_at)
        rows = [
            VersionRow(uid, row.version, row.name, row.definition, row.from_at, row.until_at)
            for row in await self._all(before)
        ]
        return rows + [
            VersionRow(uid, row.version, row.name, row.definition, row.updated_at)
            for row in await self._all(select(schedule).where(now.uid == uid))
        ]

    async def schedule_words(self) -> dict[bytes, str]:
        old = schedule_version
        newest = (
            select(old.c.uid, func.max(old.c.until_at).label("until_at")).group_by(old.c.uid)
        ).subquery()
        versions = select(old.c.uid, old.c.name).join(
            newest, and_(newest.c.uid == old.c.uid, newest.c.until_at == old.c.until_at)
        )
        words = {bytes(row.uid): row.name for row in await self._all(versions)}
        current = await self._all(select(schedule.c.uid, schedule.c.name))
        return words | {bytes(row.uid): row.name for row in current}

    # -- the server's own verdicts ----------------------------------------------------------------

    async def record_ranges(self, rows: Sequence[SlotRange]) -> int:
        c = slot_range.c
        counted = 0
        async with self._engines.write() as connection:
            statements = Statements(self._engines, connection)
            for row in rows:
                this = and_(
                    c.worker_uid == row.worker_uid,
                    c.schedule_uid == row.schedule_uid,
                    c.first_slot == row.first_slot,
                    c.run_id == (row.run_id or NO_RUN),
                )
                held = (await connection.execute(select(slot_range).where(this))).first()
                if held is not None:
                    if held.verdict != int(Verdict.LOST):
                        continue
                    await connection.execute(delete(slot_range).where(this))
                await statements.new(slot_range, RANGE_COLUMNS, [range_values(row)], "id")
                counted += 1
        return counted

    async def give_up_runs(self, run_ids: Sequence[bytes], reason: str, now: int) -> int:
        given = 0
        async with self._engines.write() as connection:
            for part in parts(run_ids, ROWS_MAX):
                changed = await connection.execute(
                    update(run)
                    .where(run.c.run_id.in_(part), run.c.verdict.is_(None))
                    .values(verdict=int(Verdict.LOST), reason=reason, ended_at=now)
                )
                given += changed.rowcount
                await connection.execute(delete(waiting).where(waiting.c.run_id.in_(part)))
        return given

    async def _all(self, query: Any) -> list[Any]:
        async with self._engines.read() as connection:
            return list((await connection.execute(query)).all())


def _cursors(pairs: Sequence[tuple[bytes, bytes]]) -> Select[Any]:
    """For each pair whose span is open: when it began, and the last slot of each kind of row."""
    calendar = int(Kind.CALENDAR)
    of_run = and_(
        run.c.schedule_uid == applied.c.schedule_uid,
        run.c.worker_uid == applied.c.worker_uid,
        run.c.kind == calendar,
        run.c.ahead.is_(False),
    )
    each: list[ColumnElement[bool]] = [run.c.verdict == int(verdict) for verdict in Verdict]
    each.append(run.c.verdict.is_(None))
    lasts = [
        select(run.c.slot)
        .where(of_run, one)
        .order_by(run.c.slot.desc())
        .limit(1)
        .correlate(applied)
        .scalar_subquery()
        for one in each
    ]
    ranges = select(func.max(slot_range.c.last_slot)).where(
        slot_range.c.worker_uid == applied.c.worker_uid,
        slot_range.c.schedule_uid == applied.c.schedule_uid,
        slot_range.c.run_id == NO_RUN,
    )
    waits = select(func.max(waiting.c.slot)).where(
        waiting.c.worker_uid == applied.c.worker_uid,
        waiting.c.schedule_uid == applied.c.schedule_uid,
        waiting.c.kind == calendar,
    )
    return select(
        *(applied.c.worker_uid, applied.c.schedule_uid, applied.c.from_at),
        *lasts,
        ranges.correlate(applied).scalar_subquery(),
        waits.correlate(applied).scalar_subquery(),
    ).where(applied.c.until_at.is_(None), of_pairs(applied, pairs))
