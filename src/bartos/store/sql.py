"""The store on SQLite or MariaDB: the port, put together from its rooms."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import and_, delete, insert, select, update

from bartos.store import writing
from bartos.store.accounting import Coverage
from bartos.store.engines import Engines
from bartos.store.intents import Intents
from bartos.store.migrating import bring_up, migrate, pending
from bartos.store.newest import Newest
from bartos.store.outbox import Outbox
from bartos.store.port import (
    BARRED,
    Batch,
    ChunkRow,
    EpochClaim,
    Mark,
    Pruned,
    QueryLimits,
    QueryResult,
    Retention,
    RunFilter,
    RunRow,
    ScheduleRow,
    SlotRange,
    Standing,
    StepRow,
    Store,
    WorkerRow,
)
from bartos.store.query import run_query
from bartos.store.reading import Reader
from bartos.store.retention import Retainer
from bartos.store.settings import StoreSettings
from bartos.store.tables import event, gap, schedule, schedule_version, spool_mark, worker
from libbarto.clock import Clock
from libbarto.identity import NO_TAG
from libbarto.message.v2.record import Lane

__all__ = ["SqlStore", "create_store", "migrate", "pending", "reader"]


def create_store(settings: StoreSettings, clock: Clock) -> Store:
    """The store that the settings mean; it is opened by `open`."""
    return SqlStore(settings)


def reader(settings: StoreSettings) -> SqlStore:
    """A store that is open for reading as it is, without a migration."""
    store = SqlStore(settings)
    store.connect()
    return store


class SqlStore(Coverage, Intents, Outbox, Newest):
    """See `bartos.store.port.Store`."""

    def __init__(self, settings: StoreSettings) -> None:
        super().__init__(Engines(settings))
        self._reader = Reader(self._engines)
        self._retainer = Retainer(self._engines)

    # -- life -------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Make the connections' engines; nothing is migrated."""
        self._engines.open()
        self._engines.usable = True

    async def open(self) -> None:
        await self._engines.close()
        self._engines.open()
        await bring_up(self._engines)
        self._engines.usable = True

    async def close(self) -> None:
        await self._engines.close()

    async def ping(self) -> None:
        async with self._engines.read() as connection:
            await connection.exec_driver_sql("SELECT 1")

    # -- sessions ---------------------------------------------------------------------------------

    async def worker(self, uid: bytes) -> WorkerRow | None:
        found = await self._workers(worker.c.uid == uid)
        return found[0] if found else None

    async def worker_named(self, name: str) -> WorkerRow | None:
        found = await self._workers(worker.c.name == name)
        return max(found, key=lambda row: row.last_seen, default=None)

    async def workers(self) -> list[WorkerRow]:
        return await self._workers(None)

    async def _workers(self, which: Any) -> list[WorkerRow]:
        query = select(worker).order_by(worker.c.name, worker.c.uid)
        async with self._engines.read() as connection:
            rows = (await connection.execute(query if which is None else query.where(which))).all()
        return [_worker_row(row) for row in rows]

    async def marks(self, spool_id: bytes) -> dict[Lane, Mark]:
        query = select(spool_mark).where(spool_mark.c.spool_id == spool_id)
        async with self._engines.read() as connection:
            rows = (await connection.execute(query)).all()
        found = {Lane(row.lane): Mark(row.seq, bytes(row.tag), row.epoch) for row in rows}
        return {lane: found.get(lane, Mark()) for lane in Lane}

    async def confirm_epoch(self, claim: EpochClaim) -> bool:
        values = {
            "name": claim.name,
            "epoch": claim.epoch,
            "spool_id": claim.spool_id,
            "labels": json.dumps(dict(claim.labels), sort_keys=True),
            "version": claim.version,
            "capabilities": json.dumps(dict(claim.capabilities), sort_keys=True),
            "last_seen": claim.now,
            "address": claim.address,
        }
        async with self._engines.write() as connection:
            known = await connection.scalar(
                select(worker.c.epoch).where(worker.c.uid == claim.uid).with_for_update()
            )
            if known is not None and known >= claim.epoch:
                return False
            barred = await connection.scalar(
                select(spool_mark.c.lane).where(
                    spool_mark.c.spool_id == claim.spool_id, spool_mark.c.epoch == BARRED
                )
            )
            if barred is not None:
                return False
            if known is None:
                await connection.execute(
                    insert(worker).values(
                        uid=claim.uid, generation=0, set_hash=b"", first_seen=claim.now, **values
                    )
                )
            else:
                await connection.execute(
                    update(worker).where(worker.c.uid == claim.uid).values(values)
                )
            held = await connection.scalars(
                select(spool_mark.c.lane).where(spool_mark.c.spool_id == claim.spool_id)
            )
            missing = {int(lane) for lane in Lane} - set(held)
            await connection.execute(
                update(spool_mark)
                .where(spool_mark.c.spool_id == claim.spool_id)
                .values(epoch=claim.epoch)
            )
            for lane in sorted(missing):
                await connection.execute(
                    insert(spool_mark).values(
                        spool_id=claim.spool_id, lane=lane, epoch=claim.epoch, seq=0, tag=NO_TAG
                    )
                )
        return True

    async def append(self, batches: Sequence[Batch]) -> list[bool]:
        return await writing.append(self._engines, batches, self._watched)

    async def skip_to(self, spool_id: bytes, lane: Lane, epoch: int, mark: Mark, at: int) -> bool:
        this = and_(spool_mark.c.spool_id == spool_id, spool_mark.c.lane == int(lane))
        async with self._engines.write() as connection:
            found = await connection.execute(
                select(spool_mark.c.epoch, spool_mark.c.seq).where(this).with_for_update()
            )
            held = found.first()
            if held is None or held.epoch != epoch or held.seq >= mark.seq:
                return False
            await connection.execute(
                update(spool_mark).where(this).values(seq=mark.seq, tag=mark.tag)
            )
            row = (
                await connection.execute(
                    select(worker.c.name, worker.c.uid).where(worker.c.spool_id == spool_id)
                )
            ).first()
            name, uid = ("", bytes(16)) if row is None else (row.name, row.uid)
            await connection.execute(
                insert(gap).values(
                    spool_id=spool_id,
                    lane=int(lane),
                    first_seq=held.seq + 1,
                    last_seq=mark.seq,
                    worker_uid=uid,
                    at=at,
                )
            )
            facts = {"lane": lane.name.lower(), "up_to": mark.seq}
            await connection.execute(
                insert(event).values(at=at, kind="gap", worker=name, facts=json.dumps(facts))
            )
        return True

    async def standings(self, sessions: Sequence[tuple[bytes, bytes]]) -> list[Standing | None]:
        if not sessions:
            return []
        mark = spool_mark.c
        query = (
            select(
                *(worker.c.uid, worker.c.epoch, worker.c.spool_id),
                *(mark.lane, mark.seq, mark.tag, mark.epoch.label("mark_epoch")),
            )
            .outerjoin(spool_mark, mark.spool_id == worker.c.spool_id)
            .where(worker.c.uid.in_([uid for uid, _ in sessions]))
        )
        async with self._engines.read() as connection:
            rows = (await connection.execute(query)).all()
        found: dict[bytes, Standing] = {}
        for row in rows:
            uid = bytes(row.uid)
            marks = dict(found[uid].marks) if uid in found else {lane: Mark() for lane in Lane}
            if row.lane is not None:
                marks[Lane(row.lane)] = Mark(row.seq, bytes(row.tag), row.mark_epoch)
            found[uid] = Standing(row.epoch, bytes(row.spool_id), marks)
        return [found.get(uid) for uid, _ in sessions]

    async def reset_worker(self, uid: bytes, spool_ids: Sequence[bytes]) -> None:
        async with self._engines.write() as connection:
            last = await connection.scalar(select(worker.c.spool_id).where(worker.c.uid == uid))
            barred = {*spool_ids, *([] if last is None else [bytes(last)])}
            await connection.execute(update(worker).where(worker.c.uid == uid).values(epoch=0))
            for spool_id in sorted(barred):
                held = await connection.scalars(
                    select(spool_mark.c.lane).where(spool_mark.c.spool_id == spool_id)
                )
                missing = {int(lane) for lane in Lane} - set(held)
                await connection.execute(
                    update(spool_mark).where(spool_mark.c.spool_id == spool_id).values(epoch=BARRED)
                )
                for lane in sorted(missing):
                    await connection.execute(
                        insert(spool_mark).values(
                            spool_id=spool_id, lane=lane, epoch=BARRED, seq=0, tag=NO_TAG
                        )
                    )

    async def seen(self, uids: Sequence[bytes], now: int) -> None:
        if uids:
            async with self._engines.write() as connection:
                await connection.execute(
                    update(worker).where(worker.c.uid.in_(uids)).values(last_seen=now)
                )

    async def set_generation(
        self, uid: bytes, expected: int, generation: int, set_hash: bytes
    ) -> bool:
        async with self._engines.write() as connection:
            changed = await connection.execute(
                update(worker)
                .where(worker.c.uid == uid, worker.c.generation == expected)
                .values(generation=generation, set_hash=set_hash)
            )
        return changed.rowcount == 1

    # -- schedules --------------------------------------------------------------------------------

    async def schedules(self) -> list[ScheduleRow]:
        async with self._engines.read() as connection:
            rows = (await connection.execute(select(schedule).order_by(schedule.c.name))).all()
        return [
            ScheduleRow(
                uid=bytes(row.uid),
                name=row.name,
                definition=row.definition,
                enabled=row.enabled,
                version=row.version,
                updated_at=row.updated_at,
            )
            for row in rows
        ]

    async def replace_schedules(self, rows: Sequence[ScheduleRow], now: int) -> None:
        wanted = {row.uid: row for row in rows}
        async with self._engines.write() as connection:
            held = (await connection.execute(select(schedule))).all()
            for old in held:
                uid = bytes(old.uid)
                new = wanted.get(uid)
                if new is not None and (new.version, new.definition, new.name, new.enabled) == (
                    old.version,
                    old.definition,
                    old.name,
                    old.enabled,
                ):
                    del wanted[uid]
                    continue
                await connection.execute(
                    delete(schedule_version).where(
                        schedule_version.c.uid == uid,
                        schedule_version.c.version == old.version,
                        schedule_version.c.until_at == now,
                    )
                )
                await connection.execute(
                    insert(schedule_version).values(
                        uid=uid,
                        version=old.version,
                        name=old.name,
                        definition=old.definition,
                        from_at=old.updated_at,
                        until_at=now,
                    )
                )
                await connection.execute(delete(schedule).where(schedule.c.uid == uid))
            if wanted:
                await connection.execute(
                    insert(schedule),
                    [
                        {
                            "uid": row.uid,
                            "name": row.name,
                            "definition": row.definition,
                            "enabled": row.enabled,
                            "version": row.version,
                            "updated_at": row.updated_at,
                        }
                        for row in wanted.values()
                    ],
                )

    # -- reading ----------------------------------------------------------------------------------

    async def runs(self, wanted: RunFilter) -> list[RunRow]:
        return await self._reader.runs(wanted)

    async def runs_like(self, prefix: str, limit: int = 3) -> list[RunRow]:
        return await self._reader.runs_like(prefix, limit)

    async def runs_by_id(self, run_ids: Collection[bytes]) -> list[RunRow]:
        return await self._reader.runs_by_id(run_ids)

    async def steps(self, run_id: bytes, attempt: int | None = None) -> list[StepRow]:
        return await self._reader.steps(run_id, attempt)

    async def chunks(
        self, run_id: bytes, attempt: int, after: int = -1, limit: int = 64
    ) -> list[ChunkRow]:
        return await self._reader.chunks(run_id, attempt, after, limit)

    async def ranges(self, wanted: RunFilter) -> list[SlotRange]:
        return await self._reader.ranges(wanted)

    async def schedule_names(self, worker: str) -> list[str]:
        return await self._reader.schedule_names(worker)

    async def query(self, sql: str, limits: QueryLimits) -> QueryResult:
        return await run_query(self._engines, sql, limits)

    # -- housekeeping -----------------------------------------------------------------------------

    async def prune(
        self, keep: Retention, now: int, *, batch: int = 500, dry_run: bool = False
    ) -> Pruned:
        return await self._retainer.prune(keep, now, batch=batch, dry_run=dry_run)


def _worker_row(row: Any) -> WorkerRow:
    return WorkerRow(
        uid=bytes(row.uid),
        name=row.name,
        epoch=row.epoch,
        spool_id=bytes(row.spool_id),
        generation=row.generation,
        set_hash=bytes(row.set_hash),
        labels=json.loads(row.labels),
        version=row.version,
        capabilities=json.loads(row.capabilities),
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        address=row.address,
    )
