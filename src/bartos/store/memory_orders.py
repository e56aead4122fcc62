"""The twin in memory of what the server starts itself; see `bartos.store.orders.Orders`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

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
from bartos.store.port import RunRow, SlotRange
from bartos.store.trimming import slots_until
from libbarto.identity import Kind
from libbarto.message.v2.record import Verdict


class History(Protocol):
    """What the rest of the store in memory has: runs, and slots that did not run."""

    def run_row(self, run_id: bytes) -> RunRow | None: ...

    def running_rows(self) -> Iterable[RunRow]: ...

    def range_rows(self) -> list[SlotRange]: ...

    def put_ranges(self, rows: list[SlotRange]) -> None: ...

    def tell(self, audit: Audit) -> None: ...

    def refused_up_to(self, run_id: bytes, worker_uid: bytes, spool_id: bytes) -> int: ...


@dataclass(slots=True)
class _Kept:
    intent: IntentRow
    offers: list[OfferRow] = field(default_factory=list)
    closed: Closing | None = None


class MemoryOrders:
    """Intents, offers, cursors, cancels and pauses, over the history that they lead to."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._intents: dict[bytes, _Kept] = {}
        self._cursors: dict[bytes, CursorRow] = {}
        self._cancels: dict[bytes, CancelRow] = {}
        self._facts: dict[str, int] = {}
        self._ends: dict[bytes, ParentEnd] = {}
        self._watched: frozenset[bytes] = frozenset()
        self._pauses: dict[bytes, PauseRow] = {}
        self._drains: dict[bytes, DrainRow] = {}

    # -- what is open -----------------------------------------------------------------------------

    def state(self) -> DispatchState:
        return DispatchState(
            intents=[self._open(kept) for kept in self._sorted() if kept.closed is None],
            cursors=list(self._cursors.values()),
            cancels=list(self._cancels.values()),
            facts=dict(self._facts),
            running=[
                Running(row.run_id, row.worker_uid, row.schedule_uid, row.slot)
                for row in self._history.running_rows()
            ],
        )

    def _sorted(self) -> list[_Kept]:
        return sorted(
            self._intents.values(), key=lambda kept: (kept.intent.slot, kept.intent.run_id)
        )

    def _open(self, kept: _Kept) -> OpenIntent:
        run_id = kept.intent.run_id
        run = self._history.run_row(run_id)
        ended = run_id in self._told() or (run is not None and run.verdict is not None)
        offer = kept.offers[-1] if kept.offers else None
        refused = (
            offer is not None
            and self._history.refused_up_to(run_id, offer.worker_uid, offer.spool_id)
            >= offer.number
        )
        return OpenIntent(
            kept.intent,
            offer,
            refused,
            None if run is None else run.worker_uid,
            ended,
        )

    def _told(self) -> dict[bytes, SlotRange]:
        return {row.run_id: row for row in self._history.range_rows() if row.run_id is not None}

    def orders(self, request: bytes | None, run_id: bytes | None) -> list[OrderRow]:
        told = self._told()
        found = []
        for kept in self._intents.values():
            row = kept.intent
            if row.request != request if request is not None else row.run_id != run_id:
                continue
            verdict = None if kept.closed is None else kept.closed.verdict
            reason = "" if kept.closed is None else kept.closed.reason
            if row.run_id in told:
                verdict, reason = told[row.run_id].verdict, told[row.run_id].reason
            run = self._history.run_row(row.run_id)
            offers = kept.offers[-1].number if kept.offers else 0
            by = "" if run is None else run.worker
            found.append(OrderRow(row, offers, run is not None, verdict, reason, by))
        return sorted(found, key=lambda one: (one.intent.worker, one.intent.run_id))

    def ordered(self, after: bytes, limit: int) -> list[Ordered]:
        undone: dict[bytes, list[tuple[Verdict, str]]] = {}
        for row in self._history.range_rows():
            if row.run_id is not None:
                undone.setdefault(row.run_id, []).append((row.verdict, row.reason))
        found = []
        for run_id in sorted(one for one in self._intents if one > after)[:limit]:
            kept = self._intents[run_id]
            row_, run = kept.intent, self._history.run_row(run_id)
            found.append(
                Ordered(
                    *(run_id, row_.schedule_uid, row_.schedule, row_.worker_uid, row_.kind),
                    *(row_.slot, kept.closed is not None, run is not None),
                    None if run is None else run.verdict,
                    undone.get(run_id, ()),
                )
            )
        return found

    # -- changes ----------------------------------------------------------------------------------

    def commit(self, change: DispatchChange) -> frozenset[bytes]:
        for move in change.cursors:
            self._move(move)
        for uid in change.forgotten:
            self._cursors.pop(uid, None)
        told = self._told()
        for row in change.intents:
            if self._history.run_row(row.run_id) is None and row.run_id not in told:
                self._intents.setdefault(row.run_id, _Kept(row))
        for offer in change.offers:
            kept = self._intents.get(offer.run_id)
            if (
                kept is not None
                and kept.closed is None
                and all(made.number != offer.number for made in kept.offers)
            ):
                kept.offers.append(offer)
        for closing in change.closings:
            self._close(closing)
        for cancel in change.cancels:
            self._cancels.setdefault(cancel.run_id, cancel)
        for run_id in change.cancelled:
            self._cancels.pop(run_id, None)
        for run_id in change.followed:
            self._ends.pop(run_id, None)
        self._facts.update(change.facts)
        for audit in change.audits:
            self._history.tell(audit)
        return frozenset(
            row.run_id
            for row in change.intents
            if (kept := self._intents.get(row.run_id)) is not None and kept.closed is None
        )

    def _move(self, move: CursorMove) -> None:
        row = move.row
        held = self._cursors.get(row.schedule_uid)
        if (None if held is None else held.cursor) != move.before:
            return
        self._cursors[row.schedule_uid] = row
        if move.back:
            self._withdraw(row)
        self._history.put_ranges(
            [
                *self._history.range_rows(),
                *(
                    SlotRange(
                        row.schedule_uid, row.schedule, NOBODY, "", one.first_slot, one.last_slot,
                        one.count, one.verdict, one.reason, one.last_slot, one.run_id,
                    )
                    for one in move.undone
                ),
            ]
        )  # fmt: skip

    def _withdraw(self, row: CursorRow) -> None:
        kept = []
        for one in self._history.range_rows():
            mine = (one.schedule_uid, one.worker_uid, one.kind) == (
                row.schedule_uid,
                NOBODY,
                Kind.CALENDAR,
            )
            if not mine or one.last_slot <= row.cursor:
                kept.append(one)
            elif one.first_slot <= row.cursor:
                count = slots_until(one.first_slot, one.last_slot, one.count, row.cursor)
                kept.append(replace(one, last_slot=row.cursor, count=count))
        self._history.put_ranges(kept)

    def _close(self, closing: Closing) -> None:
        row = closing.intent
        kept = self._intents.get(row.run_id)
        if kept is None or kept.closed is not None:
            return
        if closing.verdict is not None:
            if self._history.run_row(row.run_id) is not None or row.run_id in self._told():
                return
            self._history.put_ranges(
                [
                    *self._history.range_rows(),
                    SlotRange(
                        row.schedule_uid, row.schedule, row.worker_uid, row.worker, row.slot,
                        row.slot, 1, closing.verdict, closing.reason, closing.at, row.run_id,
                        row.kind,
                    ),
                ]
            )  # fmt: skip
        kept.closed = closing

    def forget(self, before: int) -> int:
        gone = [
            run_id
            for run_id, kept in self._intents.items()
            if kept.closed is not None and kept.closed.at < before
        ]
        for run_id in gone:
            del self._intents[run_id]
        return len(gone)

    # -- runs that others follow ------------------------------------------------------------------

    def watch(self, schedules: Collection[bytes]) -> None:
        self._watched = frozenset(schedules)

    def run_ended(self, row: RunRow, spool_id: bytes, seq: int) -> None:
        """A run has got its verdict, in the transaction of its record: number `seq` of a spool."""
        if row.schedule_uid in self._watched:
            verdict = Verdict.OK if row.verdict is None else row.verdict
            end = ParentEnd(
                *(row.run_id, row.schedule_uid, row.schedule, row.slot, verdict),
                *(row.ended_at or 0, spool_id, seq),
            )
            self._ends.setdefault(row.run_id, end)

    def parent_ends(self, limit: int) -> list[ParentEnd]:
        return sorted(self._ends.values(), key=lambda end: (end.slot, end.run_id))[:limit]

    # -- pauses -----------------------------------------------------------------------------------

    def pauses(self) -> list[PauseRow]:
        return sorted(self._pauses.values(), key=lambda row: (row.schedule, row.schedule_uid))

    def change_pauses(
        self, put: Sequence[PauseRow], drop: Collection[bytes], audits: Sequence[Audit]
    ) -> None:
        for uid in drop:
            self._pauses.pop(uid, None)
        self._pauses.update((row.schedule_uid, row) for row in put)
        for audit in audits:
            self._history.tell(audit)

    def drains(self) -> list[DrainRow]:
        return sorted(self._drains.values(), key=lambda row: (row.worker, row.worker_uid))

    def change_drains(
        self, put: Sequence[DrainRow], drop: Collection[bytes], audits: Sequence[Audit]
    ) -> None:
        for uid in drop:
            self._drains.pop(uid, None)
        self._drains.update((row.worker_uid, row) for row in put)
        for audit in audits:
            self._history.tell(audit)
