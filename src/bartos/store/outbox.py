"""How alerts are kept in SQL: what was told, what is to be told, and what waits in each channel.

Who decides what to tell moves the fact `LOOKED` by compare-and-set, in the transaction of the
alerts; who sends one claims its row for a while first. So several servers may do both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from bartos.store.alerts import (
    ANY_WORKER,
    FAILING,
    NOT_RUN,
    OVER,
    STUCK,
    AlertNews,
    AlertRow,
    AlertState,
    Backlog,
    Looked,
    Member,
    Outcome,
    Sending,
)
from bartos.store.engines import Engines
from bartos.store.tables import alert, alert_send, alert_state, fact, run, schedule, slot_range
from libbarto.identity import Kind
from libbarto.message.v2.record import Verdict

BEGUN: Final = "alerts begun"
LOOKED: Final = "alerts looked"
PART: Final = 500
CLAIMS: Final = 8

T = TypeVar("T")

_GONE: Final = delete(alert_state).where(
    alert_state.c.schedule_uid == bindparam("s"), alert_state.c.worker_uid == bindparam("w")
)


class Outbox:
    """The part of the store of `bartos.store.alerts.Alerts`."""

    _engines: Engines

    # -- since when -------------------------------------------------------------------------------

    async def begin_alerts(self, now: int) -> Looked:
        query = select(fact.c.name, fact.c.value).where(fact.c.name.in_((BEGUN, LOOKED)))
        # It is asked every few seconds: the writer waits for it the first time alone.
        async with self._engines.read() as connection:
            held = {row.name: row.value for row in await connection.execute(query)}
        if BEGUN in held:
            return Looked(held[BEGUN], held[LOOKED])
        async with self._engines.write() as connection:
            held = {row.name: row.value for row in await connection.execute(query)}
            if BEGUN not in held:
                held = {BEGUN: now, LOOKED: now}
                values = [{"name": name, "value": value} for name, value in held.items()]
                await connection.execute(insert(fact), values)
        return Looked(held[BEGUN], held[LOOKED])

    async def end_alerts(self) -> None:
        async with self._engines.write() as connection:
            await connection.execute(delete(fact).where(fact.c.name.in_((BEGUN, LOOKED))))
            await connection.execute(delete(alert_state))
            await connection.execute(delete(alert_send).where(alert_send.c.done_at.is_(None)))

    # -- what there is to tell --------------------------------------------------------------------

    async def alert_outcomes(self, since: int, until: int, limit: int = 1000) -> list[Outcome]:
        async with self._engines.read() as connection:
            runs = (await connection.execute(_failed(since, until, limit))).all()
            ranges = (await connection.execute(_not_run(since, until, limit))).all()
        found = [[_of_run(row) for row in runs], [_of_range(row) for row in ranges]]
        # Beyond the last of what was cut short, nothing is known of the other.
        ends = [rows[-1].at for rows in found if len(rows) == limit]
        end = min(ends, default=until)
        return _sorted([one for rows in found for one in rows if one.at <= end])[:limit]

    async def alert_endings(self, until: int, limit: int = 1000) -> list[Outcome]:
        ids: set[bytes] = set()
        found: list[Outcome] = []
        async with self._engines.read() as connection:
            for query in _endings(until):
                ids.update(bytes(one) for one in await connection.scalars(query) if one is not None)
            for part in _parts(sorted(ids)):
                rows = await connection.execute(select(run).where(run.c.run_id.in_(part)))
                found += map(_of_run, rows)
        return _sorted(found)[:limit]

    async def alert_states(self) -> list[AlertState]:
        async with self._engines.read() as connection:
            rows = (await connection.execute(select(alert_state))).all()
        return [
            AlertState(
                bytes(row.schedule_uid),
                bytes(row.worker_uid),
                row.trouble,
                row.seen,
                row.slot,
                bytes(row.run_id),
            )
            for row in rows
        ]

    async def alerts_gathering(self, now: int) -> list[AlertRow]:
        query = select(alert).where(alert.c.due > now).order_by(alert.c.due, alert.c.id)
        async with self._engines.read() as connection:
            rows = (await connection.execute(query)).all()
        return [_alert_row(row) for row in rows]

    async def commit_alerts(self, news: AlertNews) -> bool:
        async with self._engines.write() as connection:
            moved = await connection.execute(
                update(fact)
                .where(fact.c.name == LOOKED, fact.c.value == news.before)
                .values(value=news.looked)
            )
            if not moved.rowcount:
                return False
            for part in _parts(news.states):
                pairs = [{"s": state.schedule_uid, "w": state.worker_uid} for state in part]
                await connection.execute(_GONE, pairs)
                await connection.execute(insert(alert_state), [_state_values(one) for one in part])
            for row in news.alerts:
                values = _alert_values(row)
                changed = await connection.execute(
                    update(alert).where(alert.c.id == row.alert_id).values(values)
                )
                if changed.rowcount:
                    continue
                await connection.execute(insert(alert).values(id=row.alert_id, **values))
                for channel in news.channels:
                    await connection.execute(
                        insert(alert_send).values(
                            alert_id=row.alert_id,
                            channel=channel,
                            tries=0,
                            next_at=row.due,
                            claimed_until=0,
                            done_at=None,
                            error="",
                        )
                    )
        return True

    # -- what waits -------------------------------------------------------------------------------

    async def claim_sending(self, channel: str, now: int, until: int) -> Sending | None:
        c = alert_send.c
        free = and_(c.channel == channel, c.done_at.is_(None), c.claimed_until <= now)
        query = (
            select(alert, c.tries)
            .select_from(alert_send.join(alert, alert.c.id == c.alert_id))
            .where(free, c.next_at <= now)
            .order_by(c.next_at, c.alert_id)
            .limit(CLAIMS)
        )
        async with self._engines.read() as connection:
            rows = (await connection.execute(query)).all()
        for row in rows:
            async with self._engines.write() as connection:
                claimed = await connection.execute(
                    update(alert_send)
                    .where(free, c.alert_id == bytes(row.id))
                    .values(claimed_until=until)
                )
            if claimed.rowcount:
                return Sending(_alert_row(row), channel, row.tries)
        return None

    async def sent(self, sending: Sending, at: int, error: str = "") -> None:
        values = {"done_at": at, "error": error, "tries": sending.tries + 1}
        await self._send(sending, values)

    async def send_later(self, sending: Sending, next_at: int, error: str) -> None:
        values = {"next_at": next_at, "error": error, "tries": sending.tries + 1}
        await self._send(sending, {**values, "claimed_until": 0})

    async def _send(self, sending: Sending, values: dict[str, object]) -> None:
        async with self._engines.write() as connection:
            await connection.execute(
                update(alert_send)
                .where(
                    alert_send.c.alert_id == sending.alert.alert_id,
                    alert_send.c.channel == sending.channel,
                )
                .values(values)
            )

    async def alert_backlog(self) -> list[Backlog]:
        c = alert_send.c
        query = (
            select(c.channel, func.count().label("waiting"), func.max(c.error).label("error"))
            .where(c.done_at.is_(None))
            .group_by(c.channel)
            .order_by(c.channel)
        )
        async with self._engines.read() as connection:
            rows = (await connection.execute(query)).all()
        return [Backlog(row.channel, row.waiting, row.error) for row in rows]

    async def trim_backlog(self, channel: str, most: int, now: int) -> int:
        c = alert_send.c
        waits = and_(c.channel == channel, c.done_at.is_(None))
        async with self._engines.write() as connection:
            oldest = await connection.scalars(
                select(c.alert_id)
                .select_from(alert_send.join(alert, alert.c.id == c.alert_id))
                .where(waits)
                .order_by(alert.c.at.desc(), c.alert_id.desc())
                .offset(most)
                .limit(PART)
            )
            ids = [bytes(one) for one in oldest]
            for part in _parts(ids):
                await connection.execute(
                    update(alert_send)
                    .where(waits, c.alert_id.in_(part))
                    .values(done_at=now, error="given up: too many waited")
                )
        return len(ids)

    async def forget_alerts(self, before: int) -> None:
        open_ = select(alert_send.c.alert_id).where(
            or_(alert_send.c.done_at.is_(None), alert_send.c.done_at >= before)
        )
        old = and_(alert.c.due < before, alert.c.id.not_in(open_))
        async with self._engines.write() as connection:
            await connection.execute(
                delete(alert_send).where(alert_send.c.alert_id.in_(select(alert.c.id).where(old)))
            )
            await connection.execute(delete(alert).where(old))
            await connection.execute(
                delete(alert_state).where(alert_state.c.trouble == "", alert_state.c.seen < before)
            )


# -- queries --------------------------------------------------------------------------------------


def _unseen(table: Any, at: Any, slot: Any) -> ColumnElement[bool]:
    """Rows of runs or ranges that nobody has looked at for the sake of alerts."""
    seen = (
        select(alert_state.c.seen)
        .where(
            alert_state.c.schedule_uid == table.c.schedule_uid,
            or_(
                alert_state.c.worker_uid == table.c.worker_uid,
                alert_state.c.worker_uid == ANY_WORKER,
            ),
            alert_state.c.seen >= at,
            alert_state.c.slot >= slot,
        )
        .exists()
    )
    return ~seen


def _failed(since: int, until: int, limit: int) -> Select[Any]:
    c = run.c
    return (
        select(run)
        .where(
            c.verdict.in_([int(one) for one in FAILING]),
            c.ended_at >= since,
            c.ended_at <= until,
            c.kind != int(Kind.EXEC),
            _unseen(run, c.ended_at, c.slot),
        )
        .order_by(c.ended_at, c.run_id)
        .limit(limit)
    )


def _not_run(since: int, until: int, limit: int) -> Select[Any]:
    c = slot_range.c
    return (
        select(slot_range)
        .where(
            c.verdict.in_([int(one) for one in NOT_RUN]),
            c.decided_at >= since,
            c.decided_at <= until,
            c.kind != int(Kind.EXEC),
            _unseen(slot_range, c.decided_at, c.last_slot),
        )
        .order_by(c.decided_at, c.id)
        .limit(limit)
    )


def _endings(until: int) -> Iterator[Select[Any]]:
    """The run that ends each trouble, if any: by a look into an index for each state, since most of
    all runs are ok, and a join may begin with those."""
    state, c = alert_state.c, run.c
    ok, cancelled = map(int, OVER)
    trouble = state.trouble != ""
    later = (
        # What is computed is found by no index: the one by schedule and slot is to be taken.
        c.verdict + 0 == ok,
        c.slot > state.slot,
        c.ended_at + 0 > state.seen,
        c.ended_at + 0 <= until,
        c.kind != int(Kind.EXEC),
        c.schedule_uid == state.schedule_uid,
    )
    same = (c.run_id == state.run_id, c.verdict.in_((ok, cancelled)), c.ended_at <= until)
    yield select(_one(*same)).where(trouble)
    yield select(_one(*later[1:], c.verdict == ok, c.worker_uid == state.worker_uid)).where(
        trouble, state.trouble != STUCK, state.worker_uid != ANY_WORKER
    )
    yield (
        select(_one(*later, c.schedule == schedule.c.name))
        .select_from(alert_state.join(schedule, schedule.c.uid == state.schedule_uid))
        .where(trouble, state.trouble != STUCK, state.worker_uid == ANY_WORKER)
    )


def _one(*wanted: ColumnElement[bool]) -> ScalarSelect[Any]:
    """The first such run by its slot, for each row of the statement around it."""
    query = select(run.c.run_id).where(*wanted).order_by(run.c.slot).limit(1)
    return query.correlate(alert_state, schedule).scalar_subquery()


# -- rows -----------------------------------------------------------------------------------------


def _sorted(rows: Sequence[Outcome]) -> list[Outcome]:
    return sorted(rows, key=lambda one: (one.at, one.slot, one.worker_uid, one.run_id))


def _of_run(row: Any) -> Outcome:
    return Outcome(
        schedule_uid=bytes(row.schedule_uid),
        schedule=row.schedule,
        worker_uid=bytes(row.worker_uid),
        worker=row.worker,
        verdict=Verdict(row.verdict),
        slot=row.slot,
        at=row.ended_at,
        reason=row.reason,
        run_id=bytes(row.run_id),
        exit_code=row.exit_code,
        signal=row.signal,
    )


def _of_range(row: Any) -> Outcome:
    return Outcome(
        schedule_uid=bytes(row.schedule_uid),
        schedule=row.schedule,
        worker_uid=bytes(row.worker_uid),
        worker=row.worker,
        verdict=Verdict(row.verdict),
        slot=row.last_slot,
        at=row.decided_at,
        reason=row.reason,
        count=row.count,
    )


def _state_values(state: AlertState) -> dict[str, object]:
    return {
        "schedule_uid": state.schedule_uid,
        "worker_uid": state.worker_uid,
        "trouble": state.trouble,
        "seen": state.seen,
        "slot": state.slot,
        "run_id": state.run_id,
    }


def _alert_values(row: AlertRow) -> dict[str, object]:
    members = [
        [one.worker, one.words, one.slot, one.run_id.hex(), one.worker_uid.hex()]
        for one in row.members
    ]
    return {
        "event": row.event,
        "schedule_uid": row.schedule_uid,
        "schedule": row.schedule,
        "at": row.at,
        "due": row.due,
        "count": row.count,
        "members": json.dumps(members),
    }


def _alert_row(row: Any) -> AlertRow:
    return AlertRow(
        alert_id=bytes(row.id),
        event=row.event,
        schedule_uid=bytes(row.schedule_uid),
        schedule=row.schedule,
        at=row.at,
        due=row.due,
        members=tuple(
            Member(worker, words, slot, bytes.fromhex(run_id), bytes.fromhex(uid))
            for worker, words, slot, run_id, uid in json.loads(row.members)
        ),
        count=row.count,
    )


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    yield from (items[at : at + PART] for at in range(0, len(items), PART))
