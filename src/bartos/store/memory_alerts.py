"""The twin in memory of the alerts; see `bartos.store.alerts.Alerts`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

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
    Outcome,
    Pair,
    Sending,
)
from bartos.store.port import RunRow, SlotRange
from libbarto.identity import Kind
from libbarto.message.v2.record import Verdict


@dataclass(frozen=True, slots=True)
class _Send:
    sending: Sending
    next_at: int
    claimed_until: int = 0
    done_at: int | None = None
    error: str = ""


class History(Protocol):
    """What the rest of the store in memory has: runs, and planned starts that did not run."""

    def all_runs(self) -> Iterable[RunRow]: ...

    def range_rows(self) -> list[SlotRange]: ...


class MemoryAlerts:
    """States, alerts and sendings, over the history that they tell of."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._looked: Looked | None = None
        self._states: dict[Pair, AlertState] = {}
        self._alerts: dict[bytes, AlertRow] = {}
        self._sends: dict[tuple[bytes, str], _Send] = {}

    def begin(self, now: int) -> Looked:
        if self._looked is None:
            self._looked = Looked(now, now)
        return self._looked

    def end(self) -> None:
        self._looked = None
        self._states.clear()
        self._sends = {key: one for key, one in self._sends.items() if one.done_at is not None}

    # -- what there is to tell --------------------------------------------------------------------

    def outcomes(self, since: int, until: int, limit: int) -> list[Outcome]:
        runs = [
            _of_run(row)
            for row in self._history.all_runs()
            if row.verdict in FAILING and row.kind != Kind.EXEC
        ]
        ranges = [
            _of_range(row)
            for row in self._history.range_rows()
            if row.verdict in NOT_RUN and row.kind != Kind.EXEC
        ]
        wanted = (one for one in (*runs, *ranges) if since <= one.at <= until)
        return _sorted(one for one in wanted if not self._is_seen(one))[:limit]

    def _is_seen(self, one: Outcome) -> bool:
        states = (self._states.get((one.schedule_uid, uid)) for uid in (one.worker_uid, ANY_WORKER))
        return any(
            state is not None and state.seen >= one.at and state.slot >= one.slot
            for state in states
        )

    def endings(self, until: int, limit: int) -> list[Outcome]:
        over = [
            _of_run(row)
            for row in self._history.all_runs()
            if row.verdict in OVER and row.kind != Kind.EXEC
        ]
        found: dict[bytes, Outcome] = {}
        for state in self._states.values():
            ends = [one for one in over if one.at <= until and _ends(one, state)]
            same = [one for one in ends if one.run_id == state.run_id]
            later = sorted((one for one in ends if one not in same), key=lambda one: one.slot)
            found.update((one.run_id, one) for one in (*same, *later[:1]))
        return _sorted(found.values())[:limit]

    def states(self) -> list[AlertState]:
        return list(self._states.values())

    def gathering(self, now: int) -> list[AlertRow]:
        waits = [row for row in self._alerts.values() if row.due > now]
        return sorted(waits, key=lambda row: (row.due, row.alert_id))

    def commit(self, news: AlertNews) -> bool:
        if self._looked is None or self._looked.looked != news.before:
            return False
        self._looked = replace(self._looked, looked=news.looked)
        self._states.update((state.pair, state) for state in news.states)
        for row in news.alerts:
            if row.alert_id not in self._alerts:
                for channel in news.channels:
                    send = _Send(Sending(row, channel), row.due)
                    self._sends[row.alert_id, channel] = send
            self._alerts[row.alert_id] = row
        return True

    # -- what waits -------------------------------------------------------------------------------

    def _waiting(self, channel: str) -> list[tuple[tuple[bytes, str], _Send]]:
        return [
            (key, one)
            for key, one in self._sends.items()
            if key[1] == channel and one.done_at is None
        ]

    def claim(self, channel: str, now: int, until: int) -> Sending | None:
        free = [
            (one.next_at, key, one)
            for key, one in self._waiting(channel)
            if one.claimed_until <= now and one.next_at <= now
        ]
        if not free:
            return None
        _, key, first = min(free, key=lambda item: item[:2])
        self._sends[key] = replace(first, claimed_until=until)
        return replace(first.sending, alert=self._alerts[key[0]])

    def change(self, sending: Sending, **changes: object) -> None:
        key = sending.alert.alert_id, sending.channel
        if key in self._sends:
            tried = replace(sending, tries=sending.tries + 1)
            self._sends[key] = replace(self._sends[key], sending=tried, **changes)  # type: ignore[arg-type]

    def backlog(self) -> list[Backlog]:
        found = []
        for channel in sorted({channel for _, channel in self._sends}):
            waiting = [one for _, one in self._waiting(channel)]
            if waiting:
                error = max(one.error for one in waiting)
                found.append(Backlog(channel, len(waiting), error))
        return found

    def trim(self, channel: str, most: int, now: int) -> int:
        waiting = sorted(
            self._waiting(channel),
            key=lambda item: (self._alerts[item[0][0]].at, item[0][0]),
            reverse=True,
        )
        for key, one in waiting[most:]:
            self._sends[key] = replace(one, done_at=now, error="given up: too many waited")
        return len(waiting[most:])

    def forget(self, before: int) -> None:
        kept = {
            key[0]
            for key, one in self._sends.items()
            if one.done_at is None or one.done_at >= before
        }
        old = {uid for uid, row in self._alerts.items() if row.due < before and uid not in kept}
        self._alerts = {uid: row for uid, row in self._alerts.items() if uid not in old}
        self._sends = {key: one for key, one in self._sends.items() if key[0] not in old}
        self._states = {
            pair: state
            for pair, state in self._states.items()
            if state.trouble or state.seen >= before
        }


def _ends(one: Outcome, state: AlertState) -> bool:
    whose = one.schedule_uid == state.schedule_uid
    if not state.trouble or not whose or state.worker_uid not in {one.worker_uid, ANY_WORKER}:
        return False
    if one.run_id == state.run_id:
        return True
    later = one.slot > state.slot and one.at > state.seen
    return one.verdict is Verdict.OK and later and state.trouble != STUCK


def _sorted(rows: Iterable[Outcome]) -> list[Outcome]:
    return sorted(rows, key=lambda one: (one.at, one.slot, one.worker_uid, one.run_id))


def _of_run(row: RunRow) -> Outcome:
    assert row.verdict is not None
    return Outcome(
        schedule_uid=row.schedule_uid,
        schedule=row.schedule,
        worker_uid=row.worker_uid,
        worker=row.worker,
        verdict=row.verdict,
        slot=row.slot,
        at=row.ended_at or 0,
        reason=row.reason,
        run_id=row.run_id,
        exit_code=row.exit_code,
        signal=row.signal,
    )


def _of_range(row: SlotRange) -> Outcome:
    return Outcome(
        schedule_uid=row.schedule_uid,
        schedule=row.schedule,
        worker_uid=row.worker_uid,
        worker=row.worker,
        verdict=row.verdict,
        slot=row.last_slot,
        at=row.decided_at,
        reason=row.reason,
        count=row.count,
    )
