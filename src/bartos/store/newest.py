"""What ran last, of each schedule on each worker: found by looks into an index, never by going
through the runs.

The index `run_newest` has schedule, worker, verdict and slot: so each pair is asked for the newest
run of each verdict, which is one look for each.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import Select, select

from bartos.store.covering import range_row
from bartos.store.engines import Engines
from bartos.store.lasts import LastMissed, LastRun, Pair
from bartos.store.port import FAILURES
from bartos.store.statements import parts
from bartos.store.tables import run, slot_range
from libbarto.message.v2.record import Verdict

PAIRS: Final = 200
"""In one statement; SQLite takes no more than 500 parts of a UNION."""
RUNS: Final = 500

_VERDICTS: Final = (None, *Verdict)


class Newest:
    """The part of the store that tells what came last."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def newest_runs(self, pairs: Collection[Pair]) -> list[LastRun]:
        looks = ", ".join(
            "(SELECT run_id FROM run WHERE schedule_uid = pair.s AND worker_uid = pair.w AND "  # noqa: S608  # nothing of others is in it
            + ("verdict IS NULL" if verdict is None else f"verdict = {int(verdict)}")
            + f" ORDER BY slot DESC LIMIT 1) AS r{number}"
            for number, verdict in enumerate(_VERDICTS)
        )
        rows = await self._for_pairs(f"SELECT {looks} FROM ", pairs)  # noqa: S608  # as above
        ids = [bytes(run_id) for row in rows for run_id in row if run_id is not None]
        found: list[LastRun] = []
        async with self._engines.read() as connection:
            for part in parts(ids, RUNS):
                query = _in_short().where(run.c.run_id.in_(part))
                found += [_last_run(row) for row in (await connection.execute(query)).all()]
        return found

    async def newest_missed(self, pairs: Collection[Pair]) -> list[LastMissed]:
        look = (
            "(SELECT id FROM slot_range WHERE worker_uid = pair.w AND schedule_uid = pair.s"
            " ORDER BY first_slot DESC LIMIT 1) AS r0"
        )
        rows = await self._for_pairs(f"SELECT {look} FROM ", pairs)  # noqa: S608  # as above
        ids = [row[0] for row in rows if row[0] is not None]
        c = slot_range.c
        found: list[LastMissed] = []
        async with self._engines.read() as connection:
            for part in parts(ids, RUNS):
                query = select(slot_range).where(c.id.in_(part), c.verdict == int(Verdict.MISSED))
                found += [
                    LastMissed(
                        one.worker_uid,
                        one.schedule_uid,
                        one.first_slot,
                        one.last_slot,
                        one.count,
                        one.reason,
                    )
                    for one in map(range_row, (await connection.execute(query)).all())
                ]
        return found

    async def _for_pairs(self, beginning: str, pairs: Collection[Pair]) -> list[Sequence[Any]]:
        """The rows of a statement over a table `pair` of schedules (`s`) and workers (`w`)."""
        mark = "?" if self._engines.sqlite else "%s"
        found: list[Sequence[Any]] = []
        for part in parts(sorted(set(pairs)), PAIRS):
            table = f"SELECT {mark} AS s, {mark} AS w" + f" UNION ALL SELECT {mark}, {mark}" * (
                len(part) - 1
            )
            values = tuple(
                uid for worker_uid, schedule_uid in part for uid in (schedule_uid, worker_uid)
            )
            async with self._engines.read() as connection:
                result = await connection.exec_driver_sql(f"{beginning}({table}) AS pair", values)
                found += result.all()
        return found

    async def failures_after(
        self, worker_uid: bytes, schedule_uid: bytes, after: int, limit: int
    ) -> list[int]:
        c = run.c
        slots: list[int] = []
        async with self._engines.read() as connection:
            for verdict in FAILURES:
                query = (
                    select(c.slot)
                    .where(
                        c.schedule_uid == schedule_uid,
                        c.worker_uid == worker_uid,
                        c.verdict == int(verdict),
                        c.slot > after,
                    )
                    .order_by(c.slot)
                    .limit(limit)
                )
                slots += (await connection.scalars(query)).all()
        return sorted(slots)[:limit]

    async def strip(self, schedule: str, limit: int) -> list[LastRun]:
        c = run.c
        query = _in_short().where(c.schedule == schedule)
        query = query.order_by(c.slot.desc(), c.run_id.desc()).limit(limit)
        async with self._engines.read() as connection:
            return [_last_run(row) for row in (await connection.execute(query)).all()]


def _in_short() -> Select[Any]:
    c = run.c
    return select(
        *(c.worker_uid, c.schedule_uid, c.run_id, c.slot, c.verdict),
        *(c.started_at, c.ended_at, c.exit_code, c.signal, c.reason),
    )


def _last_run(row: Any) -> LastRun:
    return LastRun(
        worker_uid=bytes(row.worker_uid),
        schedule_uid=bytes(row.schedule_uid),
        run_id=bytes(row.run_id),
        slot=row.slot,
        verdict=None if row.verdict is None else Verdict(row.verdict),
        started_at=row.started_at,
        ended_at=row.ended_at,
        exit_code=row.exit_code,
        signal=row.signal,
        reason=row.reason,
    )
