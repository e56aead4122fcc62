"""How what the server starts itself is kept in SQL: intents, offers, cursors, cancels, pauses,
drains.

Whatever is changed may be repeated, since the answer to a COMMIT may be lost: a cursor moves by
compare-and-set and takes its verdicts along, an intent is closed once, a row that is there stays.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, TypeVar

from sqlalchemy import Column, ColumnElement, Table, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bartos.store.engines import Conflict, Engines
from bartos.store.orders import (
    NOBODY,
    Audit,
    CancelRow,
    Closing,
    CursorMove,
    CursorRow,
    DispatchChange,
    DispatchState,
    DrainRow,
    IntentRow,
    OfferRow,
    OpenIntent,
    Ordered,
    OrderRow,
    ParentEnd,
    PauseRow,
    Running,
)
from bartos.store.tables import (
    cancellation,
    drain,
    event,
    fact,
    floating_cursor,
    intent,
    offer,
    parent_end,
    pause,
    refusal,
    run,
    slot_range,
)
from bartos.store.trimming import slots_until
from libbarto.identity import Kind
from libbarto.message.v2.record import Verdict

RETRIES: Final = 5
PART: Final = 500
NO_RUN: Final = bytes(16)
"""Stands in `slot_range` for slots that have no occurrence of their own there."""

T = TypeVar("T")


class Intents:
    """The part of the store of `bartos.store.orders.Orders`."""

    _engines: Engines
    _watched: frozenset[bytes] = frozenset()

    # -- what is open -----------------------------------------------------------------------------

    async def dispatch_state(self) -> DispatchState:
        async with self._engines.read() as connection:
            intents = await _open(connection)
            cursors = await connection.execute(select(floating_cursor))
            cancels = await connection.execute(select(cancellation))
            facts = await connection.execute(select(fact))
            running = await connection.execute(
                select(run.c.run_id, run.c.worker_uid, run.c.schedule_uid, run.c.slot).where(
                    run.c.verdict.is_(None)
                )
            )
            return DispatchState(
                intents=intents,
                cursors=[
                    CursorRow(bytes(row.schedule_uid), row.schedule, row.decided_to, row.timing)
                    for row in cursors
                ],
                cancels=[
                    CancelRow(bytes(row.run_id), bytes(row.worker_uid), row.who, row.at, row.reason)
                    for row in cancels
                ],
                facts={row.name: row.value for row in facts},
                running=[
                    Running(
                        bytes(row.run_id), bytes(row.worker_uid), bytes(row.schedule_uid), row.slot
                    )
                    for row in running
                ],
            )

    async def orders(
        self, *, request: bytes | None = None, run_id: bytes | None = None
    ) -> list[OrderRow]:
        which = intent.c.request == request if request is not None else intent.c.run_id == run_id
        counted = (
            select(offer.c.run_id, func.max(offer.c.number).label("offers"))
            .group_by(offer.c.run_id)
            .subquery()
        )
        query = (
            select(intent, counted.c.offers, run.c.worker.label("claimed_by"))
            .select_from(
                intent.outerjoin(counted, counted.c.run_id == intent.c.run_id).outerjoin(
                    run, run.c.run_id == intent.c.run_id
                )
            )
            .where(which)
            .order_by(intent.c.worker, intent.c.run_id)
        )
        async with self._engines.read() as connection:
            rows = (await connection.execute(query)).all()
            told = await _verdicts(connection, [bytes(row.run_id) for row in rows])
        found = []
        for row in rows:
            run_id = bytes(row.run_id)
            verdict, reason = told.get(run_id, (row.verdict, row.reason))
            found.append(
                OrderRow(
                    _intent_row(row),
                    row.offers or 0,
                    row.claimed_by is not None,
                    None if verdict is None else Verdict(verdict),
                    reason,
                    row.claimed_by or "",
                )
            )
        return found

    async def ordered(self, after: bytes, limit: int) -> list[Ordered]:
        query = (
            select(
                intent.c.run_id,
                intent.c.schedule_uid,
                intent.c.schedule,
                intent.c.worker_uid,
                intent.c.kind,
                intent.c.slot,
                intent.c.closed_at,
                run.c.run_id.label("ran"),
                run.c.verdict.label("ended"),
            )
            .select_from(intent.outerjoin(run, run.c.run_id == intent.c.run_id))
            .where(intent.c.run_id > after)
            .order_by(intent.c.run_id)
            .limit(limit)
        )
        undone: dict[bytes, list[tuple[Verdict, str]]] = {}
        async with self._engines.read() as connection:
            rows = (await connection.execute(query)).all()
            for part in _parts([bytes(row.run_id) for row in rows]):
                told = await connection.execute(
                    select(slot_range.c.run_id, slot_range.c.verdict, slot_range.c.reason)
                    .where(slot_range.c.run_id.in_(part))
                    .order_by(slot_range.c.id)
                )
                for one in told:
                    line = Verdict(one.verdict), one.reason
                    undone.setdefault(bytes(one.run_id), []).append(line)
        return [
            Ordered(
                run_id=bytes(row.run_id),
                schedule_uid=bytes(row.schedule_uid),
                schedule=row.schedule,
                worker_uid=bytes(row.worker_uid),
                kind=row.kind,
                slot=row.slot,
                closed=row.closed_at is not None,
                ran=row.ran is not None,
                verdict=None if row.ended is None else Verdict(row.ended),
                undone=undone.get(bytes(row.run_id), ()),
            )
            for row in rows
        ]

    def watch_ends(self, schedules: Collection[bytes]) -> None:
        self._watched = frozenset(schedules)

    async def parent_ends(self, limit: int = 1000) -> list[ParentEnd]:
        query = select(parent_end).order_by(parent_end.c.slot, parent_end.c.run_id).limit(limit)
        async with self._engines.read() as connection:
            rows = (await connection.execute(query)).all()
        return [
            ParentEnd(
                bytes(row.run_id),
                bytes(row.schedule_uid),
                row.schedule,
                row.slot,
                Verdict(row.verdict),
                row.ended_at,
                bytes(row.spool_id),
                row.seq,
            )
            for row in rows
        ]

    # -- changes ----------------------------------------------------------------------------------

    async def commit_dispatch(self, change: DispatchChange) -> frozenset[bytes]:
        for tries_left in reversed(range(RETRIES)):
            try:
                async with self._engines.write() as connection:
                    return await _Change(connection, self._engines.sqlite).all(change)
            except Conflict:
                if not tries_left:
                    raise
        raise AssertionError("the last try returns or raises")

    async def forget_orders(self, before: int) -> int:
        over = intent.c.closed_at < before
        async with self._engines.write() as connection:
            await connection.execute(
                delete(offer).where(offer.c.run_id.in_(select(intent.c.run_id).where(over)))
            )
            gone = await connection.execute(delete(intent).where(over))
        return gone.rowcount

    # -- pauses -----------------------------------------------------------------------------------

    async def pauses(self) -> list[PauseRow]:
        rows = await self._standing(pause, pause.c.schedule, pause.c.schedule_uid)
        return [PauseRow(**row) for row in rows]

    async def change_pauses(
        self, put: Sequence[PauseRow], drop: Collection[bytes], audits: Sequence[Audit]
    ) -> None:
        rows = {row.schedule_uid: asdict(row) for row in put}
        await self._change_standing(pause, pause.c.schedule_uid, rows, drop, audits)

    # -- drains -----------------------------------------------------------------------------------

    async def drains(self) -> list[DrainRow]:
        rows = await self._standing(drain, drain.c.worker, drain.c.worker_uid)
        return [DrainRow(**row) for row in rows]

    async def change_drains(
        self, put: Sequence[DrainRow], drop: Collection[bytes], audits: Sequence[Audit]
    ) -> None:
        rows = {row.worker_uid: asdict(row) for row in put}
        await self._change_standing(drain, drain.c.worker_uid, rows, drop, audits)

    # -- what both have in common -----------------------------------------------------------------

    async def _standing(
        self, table: Table, name: Column[str], uid: Column[bytes]
    ) -> list[dict[str, Any]]:
        async with self._engines.read() as connection:
            rows = (await connection.execute(select(table).order_by(name, uid))).mappings().all()
        return [{**row, uid.name: bytes(row[uid])} for row in rows]

    async def _change_standing(
        self,
        table: Table,
        uid: Column[bytes],
        put: Mapping[bytes, Mapping[str, object]],
        drop: Collection[bytes],
        audits: Sequence[Audit],
    ) -> None:
        """Put rows, by their uid, into a table in place of those that it has of them, and drop
        others, with what the history says of it."""
        async with self._engines.write() as connection:
            for part in _parts(sorted({*drop, *put})):
                await connection.execute(delete(table).where(uid.in_(part)))
            if put:
                await connection.execute(insert(table), list(put.values()))
            await _audit(connection, audits)

    async def audit(self, rows: Sequence[Audit]) -> None:
        async with self._engines.write() as connection:
            await _audit(connection, rows)


class _Change:
    """One change, on the connection of its transaction."""

    def __init__(self, connection: AsyncConnection, sqlite: bool) -> None:
        self._connection = connection
        self._sqlite = sqlite

    async def all(self, change: DispatchChange) -> frozenset[bytes]:
        for move in change.cursors:
            await self._move(move)
        if change.forgotten:
            await self._connection.execute(
                delete(floating_cursor).where(floating_cursor.c.schedule_uid.in_(change.forgotten))
            )
        await self._intents(change.intents)
        await self._offers(change.offers)
        for closing in change.closings:
            await self._close(closing)
        await self._cancels(change.cancels)
        for gone, column in (
            (change.cancelled, cancellation.c.run_id),
            (change.followed, parent_end.c.run_id),
        ):
            for part in _parts(sorted(gone)):
                await self._connection.execute(delete(column.table).where(column.in_(part)))
        for name, value in change.facts.items():
            await self._connection.execute(delete(fact).where(fact.c.name == name))
            await self._connection.execute(insert(fact).values(name=name, value=value))
        await _audit(self._connection, change.audits)
        return frozenset(await self._still_open([one.run_id for one in change.intents]))

    async def _still_open(self, run_ids: Sequence[bytes]) -> set[bytes]:
        return await self._those(intent.c.run_id, run_ids, intent.c.closed_at.is_(None))

    async def _those(
        self, column: Any, run_ids: Sequence[bytes], *more: ColumnElement[bool]
    ) -> set[bytes]:
        found: set[bytes] = set()
        for part in _parts(sorted(set(run_ids))):
            rows = await self._connection.scalars(select(column).where(column.in_(part), *more))
            found.update(map(bytes, rows))
        return found

    # -- cursors ----------------------------------------------------------------------------------

    async def _move(self, move: CursorMove) -> None:
        row = move.row
        this = floating_cursor.c.schedule_uid == row.schedule_uid
        held = await self._connection.scalar(
            select(floating_cursor.c.decided_to).where(this).with_for_update()
        )
        if held != move.before:
            return  # it was moved by this very change, whose answer was lost
        values = {"schedule": row.schedule, "decided_to": row.cursor, "timing": row.timing}
        if held is None:
            await self._connection.execute(
                insert(floating_cursor).values(schedule_uid=row.schedule_uid, **values)
            )
        else:
            await self._connection.execute(update(floating_cursor).where(this).values(values))
        if move.back:
            await self._withdraw(row)
        if move.undone:
            await self._connection.execute(
                insert(slot_range),
                [
                    {
                        **_range_of(row.schedule_uid, row.schedule),
                        "first_slot": one.first_slot,
                        "last_slot": one.last_slot,
                        "count": one.count,
                        "verdict": int(one.verdict),
                        "reason": one.reason,
                        "decided_at": one.last_slot,
                        "run_id": one.run_id or NO_RUN,
                    }
                    for one in move.undone
                ],
            )

    async def _withdraw(self, row: CursorRow) -> None:
        """What was decided of slots beyond the cursor is undone: they will be due again."""
        mine = and_(
            slot_range.c.schedule_uid == row.schedule_uid,
            slot_range.c.worker_uid == NOBODY,
            slot_range.c.kind == int(Kind.CALENDAR),
        )
        await self._connection.execute(
            delete(slot_range).where(mine, slot_range.c.first_slot > row.cursor)
        )
        cut = await self._connection.execute(
            select(slot_range).where(mine, slot_range.c.last_slot > row.cursor)
        )
        for one in cut.mappings().all():
            first, last, number = one["first_slot"], one["last_slot"], one["count"]
            count = slots_until(first, last, number, row.cursor)
            await self._connection.execute(
                update(slot_range)
                .where(slot_range.c.id == one["id"])
                .values(last_slot=row.cursor, count=count)
            )

    # -- intents ----------------------------------------------------------------------------------

    async def _intents(self, rows: Sequence[IntentRow]) -> None:
        ids = [row.run_id for row in rows]
        there = await self._those(intent.c.run_id, ids)
        there |= await self._those(run.c.run_id, ids)
        there |= await self._those(slot_range.c.run_id, ids)
        new = {row.run_id: row for row in rows if row.run_id not in there}
        for part in _parts(list(new.values())):
            await self._connection.execute(insert(intent), [_intent_values(row) for row in part])

    async def _offers(self, rows: Sequence[OfferRow]) -> None:
        ids = [row.run_id for row in rows]
        still = await self._still_open(ids)
        made: set[tuple[bytes, int]] = set()
        for part in _parts(sorted(set(ids))):
            found = await self._connection.execute(
                select(offer.c.run_id, offer.c.number).where(offer.c.run_id.in_(part))
            )
            made.update((bytes(row.run_id), row.number) for row in found)
        new = [row for row in rows if row.run_id in still and (row.run_id, row.number) not in made]
        for some in _parts(new):
            await self._connection.execute(
                insert(offer),
                [
                    {
                        "run_id": row.run_id,
                        "number": row.number,
                        "worker_uid": row.worker_uid,
                        "spool_id": row.spool_id,
                        "at": row.at,
                    }
                    for row in some
                ],
            )

    async def _close(self, closing: Closing) -> None:
        row = closing.intent
        this = intent.c.run_id == row.run_id
        verdict = closing.verdict
        if verdict is not None:
            claimed = await self._those(run.c.run_id, [row.run_id])
            told = await self._those(slot_range.c.run_id, [row.run_id])
            if claimed or told:
                return
        closed = await self._connection.execute(
            update(intent)
            .where(this, intent.c.closed_at.is_(None))
            .values(
                closed_at=closing.at,
                verdict=None if verdict is None else int(verdict),
                reason=closing.reason,
            )
        )
        if closed.rowcount and verdict is not None:
            await self._connection.execute(
                insert(slot_range).values(
                    {
                        **_range_of(row.schedule_uid, row.schedule, row.worker_uid, row.worker),
                        "kind": row.kind,
                        "first_slot": row.slot,
                        "last_slot": row.slot,
                        "count": 1,
                        "verdict": int(verdict),
                        "reason": closing.reason,
                        "decided_at": closing.at,
                        "run_id": row.run_id,
                    }
                )
            )

    async def _cancels(self, rows: Sequence[CancelRow]) -> None:
        there = await self._those(cancellation.c.run_id, [row.run_id for row in rows])
        new = {row.run_id: row for row in rows if row.run_id not in there}
        for part in _parts(list(new.values())):
            await self._connection.execute(
                insert(cancellation),
                [
                    {
                        "run_id": row.run_id,
                        "worker_uid": row.worker_uid,
                        "who": row.who,
                        "at": row.at,
                        "reason": row.reason,
                    }
                    for row in part
                ],
            )


async def _open(connection: AsyncConnection) -> list[OpenIntent]:
    """The intents that are open, with their last offers and whoever has claimed them."""
    last = (
        select(offer.c.run_id, func.max(offer.c.number).label("number"))
        .group_by(offer.c.run_id)
        .subquery()
    )
    query = (
        select(
            intent,
            offer.c.number,
            offer.c.worker_uid.label("offered_to"),
            offer.c.spool_id,
            offer.c.at.label("offered_at"),
            refusal.c.number.label("refused_to"),
            run.c.worker_uid.label("claimed_by"),
            run.c.verdict.label("run_verdict"),
        )
        .select_from(
            intent.outerjoin(last, last.c.run_id == intent.c.run_id)
            .outerjoin(
                offer, and_(offer.c.run_id == last.c.run_id, offer.c.number == last.c.number)
            )
            .outerjoin(
                refusal,
                and_(
                    refusal.c.run_id == offer.c.run_id,
                    refusal.c.worker_uid == offer.c.worker_uid,
                    refusal.c.spool_id == offer.c.spool_id,
                ),
            )
            .outerjoin(run, run.c.run_id == intent.c.run_id)
        )
        .where(intent.c.closed_at.is_(None))
        .order_by(intent.c.slot, intent.c.run_id)
    )
    rows = (await connection.execute(query)).all()
    told = await _verdicts(connection, [bytes(row.run_id) for row in rows])
    found = []
    for row in rows:
        run_id = bytes(row.run_id)
        made = (
            None
            if row.number is None
            else OfferRow(
                run_id, row.number, bytes(row.offered_to), bytes(row.spool_id), row.offered_at
            )
        )
        refused = made is not None and (row.refused_to or 0) >= made.number
        claimed_by = None if row.claimed_by is None else bytes(row.claimed_by)
        ended = row.run_verdict is not None or run_id in told
        found.append(OpenIntent(_intent_row(row), made, refused, claimed_by, ended))
    return found


async def _verdicts(
    connection: AsyncConnection, run_ids: Sequence[bytes]
) -> dict[bytes, tuple[int, str]]:
    """The verdicts of these occurrences, of those that did not run."""
    found: dict[bytes, tuple[int, str]] = {}
    for part in _parts(run_ids):
        rows = await connection.execute(
            select(slot_range.c.run_id, slot_range.c.verdict, slot_range.c.reason).where(
                slot_range.c.run_id.in_(part)
            )
        )
        found.update((bytes(row.run_id), (row.verdict, row.reason)) for row in rows)
    return found


async def keep_ends(
    connection: AsyncConnection,
    ends: Mapping[bytes, tuple[bytes, int]],
    schedules: Collection[bytes],
) -> None:
    """Those of these runs that have just ended, and that others follow, are kept: in the
    transaction that ended them. Each with the spool and the number of the record that told it."""
    if not schedules:
        return
    for part in _parts(sorted(ends)):
        rows = await connection.execute(
            select(
                run.c.run_id,
                run.c.schedule_uid,
                run.c.schedule,
                run.c.slot,
                run.c.verdict,
                run.c.ended_at,
            ).where(
                run.c.run_id.in_(part),
                run.c.schedule_uid.in_(list(schedules)),
                run.c.verdict.is_not(None),
                run.c.run_id.not_in(select(parent_end.c.run_id)),
            )
        )
        kept = []
        for row in rows.mappings():
            spool_id, seq = ends[bytes(row["run_id"])]
            kept.append({**row, "spool_id": spool_id, "seq": seq})
        if kept:
            await connection.execute(insert(parent_end), kept)


async def withdraw_lost(connection: AsyncConnection, run_ids: Sequence[bytes]) -> None:
    """Workers tell of these starts: what the server had given up is *lost* no more."""
    for part in _parts(sorted(set(run_ids))):
        await connection.execute(
            delete(slot_range).where(
                slot_range.c.run_id.in_(part),
                slot_range.c.worker_uid == NOBODY,
                slot_range.c.verdict == int(Verdict.LOST),
            )
        )


async def _audit(connection: AsyncConnection, rows: Sequence[Audit]) -> None:
    if rows:
        await connection.execute(
            insert(event),
            [
                {
                    "at": row.at,
                    "kind": row.kind,
                    "worker": row.worker,
                    "facts": json.dumps(dict(row.facts), sort_keys=True),
                }
                for row in rows
            ],
        )


def _range_of(
    schedule_uid: bytes, schedule: str, worker_uid: bytes = NOBODY, worker: str = ""
) -> dict[str, Any]:
    return {
        "schedule_uid": schedule_uid,
        "schedule": schedule,
        "worker_uid": worker_uid,
        "worker": worker,
        "kind": int(Kind.CALENDAR),
    }


def _intent_values(row: IntentRow) -> dict[str, Any]:
    return {
        "run_id": row.run_id,
        "kind": row.kind,
        "schedule_uid": row.schedule_uid,
        "schedule": row.schedule,
        "slot": row.slot,
        "cause": row.cause,
        "spec": row.spec,
        "worker_uid": row.worker_uid,
        "worker": row.worker,
        "created_at": row.created_at,
        "until": row.until,
        "caught_up": row.caught_up,
        "request": row.request,
        "who": row.who,
        "why": row.reason,
        "reason": "",
    }


def _intent_row(row: Any) -> IntentRow:
    return IntentRow(
        run_id=bytes(row.run_id),
        kind=row.kind,
        schedule_uid=bytes(row.schedule_uid),
        schedule=row.schedule,
        slot=row.slot,
        spec=bytes(row.spec),
        created_at=row.created_at,
        until=row.until,
        cause=bytes(row.cause),
        worker_uid=bytes(row.worker_uid),
        worker=row.worker,
        caught_up=row.caught_up,
        request=bytes(row.request),
        who=row.who,
        reason=row.why,
    )


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    yield from (items[at : at + PART] for at in range(0, len(items), PART))
