"""How what a worker tells of its slots becomes rows: spans, ranges, what waits, what was lost.

The rules are those of `coverage`; here they are carried out on the database, many records at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, and_, delete, func, or_, select, tuple_, update

from bartos.store.coverage import (
    clock_back,
    is_withdrawn,
    key_of,
    range_of,
    reaches_back_to,
    set_applied,
    slots_in,
)
from bartos.store.port import Applied, Batch, SlotRange, WaitingRow
from bartos.store.statements import NOTHING, ROWS_MAX, Statements, number, parts
from bartos.store.tables import applied, refusal, run, slot_range, timing, waiting
from bartos.store.trimming import slots_until
from libbarto.identity import Kind
from libbarto.message.v2.record import (
    Claimed,
    ClockBack,
    Decided,
    Ended,
    OfferRefused,
    SetApplied,
    Verdict,
    Waiting,
)

APPLIED_COLUMNS: Final = (
    *("worker_uid", "schedule_uid", "from_at", "until_at", "timing", "generation"),
    *("spool_id", "torn", "kept_from"),
)
WAITING_COLUMNS: Final = (
    *("run_id", "attempt", "kind", "schedule_uid", "schedule", "worker_uid", "worker", "slot"),
    *("cause", "why", "at", "due", "until_at"),
)
RANGE_COLUMNS: Final = (
    *("schedule_uid", "schedule", "worker_uid", "worker", "first_slot", "last_slot", "count"),
    *("verdict", "reason", "decided_at", "run_id", "kind"),
)
REFUSAL_COLUMNS: Final = ("run_id", "worker_uid", "spool_id", "reason", "number")
NO_RUN: Final = bytes(16)
ATTEMPTS: Final = 1 << 16
"""More than any run has."""


def range_row(row: Any) -> SlotRange:
    """A row of `slot_range`."""
    run_id = bytes(row.run_id)
    return SlotRange(
        schedule_uid=bytes(row.schedule_uid),
        schedule=row.schedule,
        worker_uid=bytes(row.worker_uid),
        worker=row.worker,
        first_slot=row.first_slot,
        last_slot=row.last_slot,
        count=row.count,
        verdict=Verdict(row.verdict),
        reason=row.reason,
        decided_at=row.decided_at,
        run_id=None if run_id == NO_RUN else run_id,
        kind=row.kind,
    )


def range_values(row: SlotRange) -> tuple[object, ...]:
    """The same, to be stored: as `RANGE_COLUMNS`."""
    return (
        *(row.schedule_uid, row.schedule, row.worker_uid, row.worker, row.first_slot),
        *(row.last_slot, row.count, int(row.verdict), row.reason, row.decided_at),
        *(row.run_id or NO_RUN, row.kind),
    )


def applied_row(row: Any) -> Applied:
    """A row of `applied`."""
    return Applied(
        worker_uid=bytes(row.worker_uid),
        schedule_uid=bytes(row.schedule_uid),
        from_at=row.from_at,
        until_at=row.until_at,
        timing=bytes(row.timing),
        generation=row.generation,
        spool_id=bytes(row.spool_id),
        torn=bool(row.torn),
        kept_from=row.kept_from,
    )


def waiting_row(row: Any) -> WaitingRow:
    """A row of `waiting`."""
    return WaitingRow(
        run_id=bytes(row.run_id),
        attempt=row.attempt,
        kind=row.kind,
        schedule_uid=bytes(row.schedule_uid),
        schedule=row.schedule,
        worker_uid=bytes(row.worker_uid),
        worker=row.worker,
        slot=row.slot,
        cause=bytes(row.cause),
        why=row.why,
        at=row.at,
        due=row.due,
        until=row.until_at,
    )


@dataclass(slots=True)
class Covering(Statements):
    """Carries out what the state lane tells of slots, on one connection."""

    # -- spans ------------------------------------------------------------------------------------

    async def sets(self, records: Sequence[tuple[Batch, SetApplied]]) -> None:
        """Sets that were taken on, each worker's in their order."""
        reach: dict[bytes, int] = {}
        for batch, record in records:
            uid, back = batch.worker_uid, reaches_back_to(record)
            reach[uid] = min(back, reach.get(uid, back))
        held = await self._spans(reach)
        before = {uid: list(rows) for uid, rows in held.items()}
        for batch, record in records:
            uid = batch.worker_uid
            held[uid] = set_applied(held.get(uid, []), record, uid, batch.spool_id)
        await self._change_spans(before, held)

    async def _spans(self, reach: Mapping[bytes, int]) -> dict[bytes, list[Applied]]:
        """The spans of workers that are open, or end at the given instant or later."""
        found: dict[bytes, list[Applied]] = {}
        c = applied.c
        for part in parts(sorted(reach), ROWS_MAX):
            low = min(reach[uid] for uid in part)
            rows = await self.connection.execute(
                select(applied).where(
                    c.worker_uid.in_(part), or_(c.until_at.is_(None), c.until_at >= low)
                )
            )
            for row in map(applied_row, rows):
                if row.until_at is None or row.until_at >= reach[row.worker_uid]:
                    found.setdefault(row.worker_uid, []).append(row)
        return found

    async def _change_spans(
        self,
        before: Mapping[bytes, Sequence[Applied]],
        after: Mapping[bytes, Sequence[Applied]],
    ) -> None:
        old = {key_of(row): row for rows in before.values() for row in rows}
        new = {key_of(row): row for rows in after.values() for row in rows}
        changed = [row for key, row in new.items() if old.get(key) != row]
        gone = [key for key in old if key not in new or old[key] != new[key]]
        await self.many(
            "DELETE FROM applied WHERE worker_uid = ? AND schedule_uid = ? AND from_at = ?", gone
        )
        null = f"NULLIF(?, {NOTHING})"
        await self.many(
            self.insert(applied, APPLIED_COLUMNS).replace("?, ?, ?, ?", f"?, ?, ?, {null}", 1),
            [
                (
                    *(row.worker_uid, row.schedule_uid, row.from_at, number(row.until_at)),
                    *(row.timing, row.generation, row.spool_id, row.torn, row.kept_from),
                )
                for row in changed
            ],
        )

    async def clock_back(self, worker_uid: bytes, record: ClockBack) -> None:
        """The worker's slots after `now` will be due again: what was decided of them is withdrawn,
        ranges are cut to the slot, and what waits ahead is dropped (DESIGN section 4)."""
        now = record.now
        spans = (await self._spans({worker_uid: now})).get(worker_uid, [])
        await self._cut_ranges(worker_uid, now)
        await self._change_spans({worker_uid: spans}, {worker_uid: clock_back(spans, now)})
        calendar = int(Kind.CALENDAR)
        await self.connection.execute(
            delete(waiting).where(
                waiting.c.worker_uid == worker_uid,
                waiting.c.slot > now,
                waiting.c.attempt == 1,
                waiting.c.kind == calendar,
            )
        )
        await self.connection.execute(
            update(run)
            .where(run.c.slot > now, run.c.worker_uid == worker_uid, run.c.kind == calendar)
            .values(ahead=True)
        )

    async def _cut_ranges(self, worker_uid: bytes, now: int) -> None:
        c = slot_range.c
        ahead = and_(c.worker_uid == worker_uid, c.run_id == NO_RUN, c.last_slot > now)
        await self.connection.execute(delete(slot_range).where(ahead, c.first_slot > now))
        found = await self.connection.execute(select(slot_range).where(ahead))
        rows: Sequence[Any] = found.all()
        for row in rows:
            held = range_row(row)
            count = await self._slots_of(held, now)
            this = slot_range.c.id == row.id
            if count < 1:
                await self.connection.execute(delete(slot_range).where(this))
                continue
            await self.connection.execute(
                update(slot_range).where(this).values(last_slot=now, count=count, decided_at=now)
            )

    async def _slots_of(self, row: SlotRange, until: int) -> int:
        """How many of a range's slots are at most `until`: counted by its trigger, without those
        that have a run; by share, where the trigger is not known or tells another count."""
        of_pair = and_(
            applied.c.worker_uid == row.worker_uid, applied.c.schedule_uid == row.schedule_uid
        )
        found = await self.connection.execute(select(applied).where(of_pair))
        spans = [applied_row(one) for one in found]
        hashes = {span.timing for span in spans}
        texts = await self.connection.execute(select(timing).where(timing.c.hash.in_(hashes)))
        timings = {bytes(one.hash): one.text for one in texts}
        whole = slots_in(spans, timings, row.first_slot, row.last_slot)
        if whole is None or whole - await self._runs_in(row, row.last_slot) != row.count:
            return slots_until(row.first_slot, row.last_slot, row.count, until)
        count = slots_in(spans, timings, row.first_slot, until) or 0
        return count - await self._runs_in(row, until)

    async def _runs_in(self, row: SlotRange, until: int) -> int:
        return int(
            await self.connection.scalar(
                select(func.count())
                .select_from(run)
                .where(
                    run.c.schedule_uid == row.schedule_uid,
                    run.c.worker_uid == row.worker_uid,
                    run.c.slot.between(row.first_slot, until),
                    run.c.kind == int(Kind.CALENDAR),
                )
            )
            or 0
        )

    # -- ranges -----------------------------------------------------------------------------------

    async def ranges(self, decided: Sequence[tuple[Batch, Decided]]) -> None:
        """Verdicts of slots that did not run. One that was told before changes nothing; one of an
        occurrence that has a run is none."""
        single = sorted({one.run_id for _, one in decided if one.run_id is not None})
        ran = await self._existing(run, single)
        rows = [
            range_values(range_of(batch, one)) for batch, one in decided if one.run_id not in ran
        ]
        await self.new(slot_range, RANGE_COLUMNS, rows, "id")
        await self.many(
            "DELETE FROM waiting WHERE worker_uid = ? AND schedule_uid = ? AND kind = 0"
            " AND attempt = 1 AND slot BETWEEN ? AND ?",
            [
                (batch.worker_uid, one.schedule_uid, one.first_slot, one.last_slot)
                for batch, one in decided
                if one.run_id is None
            ],
        )
        await self.many(
            "DELETE FROM waiting WHERE run_id = ? AND worker_uid = ?",
            [(one.run_id, batch.worker_uid) for batch, one in decided if one.run_id is not None],
        )

    async def _existing(self, table: Table, run_ids: Sequence[bytes]) -> set[bytes]:
        found: set[bytes] = set()
        for part in parts(run_ids, ROWS_MAX):
            rows = await self.connection.scalars(
                select(table.c.run_id).where(table.c.run_id.in_(part))
            )
            found.update(map(bytes, rows))
        return found

    async def withdraw_lost(
        self, told: Sequence[tuple[Batch, Claimed | Decided | Waiting]]
    ) -> None:
        """What a worker tells takes the place of *lost*. Few have lost ranges: they are looked for
        first, in an index of their own."""
        c = slot_range.c
        workers = sorted({batch.worker_uid for batch, _ in told})
        rows: list[Any] = []
        for part in parts(workers, ROWS_MAX):
            found = await self.connection.execute(
                select(slot_range).where(c.verdict == int(Verdict.LOST), c.worker_uid.in_(part))
            )
            rows += found.all()
        if not rows:
            return
        by_worker: dict[bytes, list[Claimed | Decided | Waiting]] = {}
        for batch, record in told:
            by_worker.setdefault(batch.worker_uid, []).append(record)
        gone = [
            row.id
            for row in rows
            if any(is_withdrawn(range_row(row), one) for one in by_worker[bytes(row.worker_uid)])
        ]
        for part in parts(gone, ROWS_MAX):
            await self.connection.execute(delete(slot_range).where(c.id.in_(part)))

    # -- what waits -------------------------------------------------------------------------------

    async def waits(self, records: Sequence[tuple[Batch, Waiting]]) -> None:
        """Starts that are to come. One that is told again, or comes late, changes nothing."""
        null = f"NULLIF(?, {NOTHING})"
        marks = ", ".join([*("?" for _ in WAITING_COLUMNS[:-1]), null])
        names = [name for name in WAITING_COLUMNS if name not in {"run_id", "attempt"}]
        columns = ", ".join(map(self.quoted, WAITING_COLUMNS))
        sql = f"INSERT INTO waiting ({columns}) VALUES ({marks})"  # noqa: S608  # names are our own
        if self.engines.sqlite:
            changes = ", ".join(f"{name} = excluded.{name}" for name in [*names, "attempt"])
            sql += (
                f" ON CONFLICT (run_id) DO UPDATE SET {changes}"
                " WHERE excluded.attempt > waiting.attempt"
            )
        else:
            # From left to right: `attempt` comes last, as the others ask for its old value.
            changes = ", ".join(
                f"`{name}` = IF(VALUES(attempt) > attempt, VALUES(`{name}`), `{name}`)"
                for name in [*names, "attempt"]
            )
            sql += f" ON DUPLICATE KEY UPDATE {changes}"
        await self.many(
            sql,
            [
                (
                    *(one.run_id, one.attempt, int(one.kind), one.schedule_uid, one.schedule),
                    *(batch.worker_uid, batch.worker, one.slot, one.cause, one.why, one.at),
                    *(one.due, number(one.until)),
                )
                for batch, one in records
            ],
        )

    async def claimed(
        self, waits: Iterable[Waiting], claims: Iterable[Claimed], ended: Iterable[Ended]
    ) -> None:
        """What is claimed waits no more, nor what a run's end leaves behind. Little waits: it is
        looked for first."""
        over: dict[bytes, int] = {one.run_id: 0 for one in waits}
        told = set(over)
        for one in claims:
            over[one.run_id] = max(one.attempt, over.get(one.run_id, 0))
        for end in ended:
            if end.final:
                over[end.run_id] = ATTEMPTS
        held = await self._existing(waiting, sorted(over))
        for part in parts(sorted(told), ROWS_MAX):
            rows = await self.connection.execute(
                select(run.c.run_id, run.c.attempt).where(run.c.run_id.in_(part))
            )
            for row in rows:
                over[bytes(row.run_id)] = max(row.attempt, over[bytes(row.run_id)])
        await self.many(
            "DELETE FROM waiting WHERE run_id = ? AND attempt <= ?",
            [(run_id, over[run_id]) for run_id in sorted(held)],
        )

    # -- offers -----------------------------------------------------------------------------------

    async def refused(self, records: Sequence[tuple[Batch, OfferRefused]]) -> None:
        """Offers that will never be claimed, by the highest number."""
        if self.engines.sqlite:
            ending = (
                " ON CONFLICT (run_id, worker_uid, spool_id) DO UPDATE SET"
                " reason = excluded.reason, number = excluded.number"
                " WHERE excluded.number > refusal.number"
            )
        else:
            ending = (
                " ON DUPLICATE KEY UPDATE"
                " reason = IF(VALUES(number) > number, VALUES(reason), reason),"
                " number = GREATEST(number, VALUES(number))"
            )
        await self.many(
            self.insert(refusal, REFUSAL_COLUMNS) + ending,
            [
                (one.run_id, batch.worker_uid, batch.spool_id, one.reason, one.number)
                for batch, one in records
            ],
        )


def of_pairs(table: Table, pairs: Sequence[tuple[bytes, bytes]]) -> ColumnElement[bool]:
    """The rows of these (worker, schedule)."""
    return tuple_(table.c.worker_uid, table.c.schedule_uid).in_(pairs)
