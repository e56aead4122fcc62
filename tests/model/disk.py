"""A journal whose disk fails now and then, and that is looked into at every commit."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from bartoc.journal import LaneFacts, Spooled, Transaction
from bartoc.journal_memory import MemoryJournal
from bartoc.starting import RUN_SPEC
from libbarto.errors import JournalError
from libbarto.identity import Kind
from libbarto.message.v2.record import (
    STATE_RECORD,
    Claimed,
    ClockBack,
    Decided,
    Lane,
    Waiting,
)
from libbarto.message.v2.schedule import SCHEDULE, SCHEDULE_SET
from libbarto.schedule import Timetable
from tests.model.broken import Findings
from tests.model.history import ModelStore
from tests.model.luck import Luck

FAR = 5_000
"""A span with more slots than this is not enumerated here."""


@dataclass(slots=True)
class Decisions:
    """What a worker has decided of one schedule since the last comparison: slots that were
    claimed, and those of its ranges."""

    runs: set[int] = field(default_factory=set)
    ranges: int = 0
    exact: bool = True
    """Whether `ranges` can be compared: not where a clock was put back."""


class ModelJournal(MemoryJournal):
    """The disk of one host. What it holds outlives every crash; a copy can be put back."""

    def __init__(
        self,
        host: str,
        worker_uid: bytes,
        spool_id: bytes,
        findings: Findings,
        luck: Luck,
        store: ModelStore,
    ) -> None:
        super().__init__(worker_uid, spool_id)
        self.host = host
        self.decisions: dict[bytes, Decisions] = {}
        self._findings = findings
        self._luck = luck
        self._store = store
        self._timetables: dict[bytes, Timetable] = {}
        self._seen_body = b""
        self._slots: dict[bytes, set[int]] = {}
        store.disks[spool_id] = self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """What it holds once more, in the same world: a copy is looked at as the original is."""
        memo |= {id(one): one for one in (self._findings, self._luck, self._store)}
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        vars(copied).update(copy.deepcopy(vars(self), memo))
        return copied

    def claimed(self, run_id: bytes, attempt: int) -> bool:
        """Is this claim committed?"""
        return (run_id, attempt) in self._claims

    def kind(self, run_id: bytes, attempt: int) -> Kind:
        """Why a claimed occurrence came to be."""
        return Kind(RUN_SPEC.decode(self._claims[run_id, attempt].spec).kind)

    def replaced(self) -> set[tuple[bytes, int]]:
        """The attempts that a later one of their schedule took the place of, by its policy."""
        found: set[tuple[bytes, int]] = set()
        before: dict[bytes, set[tuple[bytes, int]]] = {}
        for key, claim in self._claims.items():
            origin = RUN_SPEC.decode(claim.spec)
            others = before.setdefault(claim.schedule_uid, set())
            if SCHEDULE.decode(origin.whole).overlap == "replace":
                found |= others
            others.add(key)
        return found

    def all_claimed(self) -> frozenset[tuple[bytes, int]]:
        """Every claim that is committed."""
        return frozenset(self._claims)

    def lanes(self) -> dict[Lane, LaneFacts]:
        """What the spool holds."""
        return {lane: held.facts() for lane, held in self._lanes.items()}

    def delivered(self) -> bool:
        """Is everything acknowledged?"""
        return all(lane.acknowledged == lane.last for lane in self._lanes.values())

    def waits(self) -> set[bytes]:
        """The runs of which a further attempt is to start."""
        return set(self._waiting)

    async def commit(self, transaction: Transaction) -> frozenset[tuple[bytes, int]]:
        await self._luck.pause()
        if self._luck.strikes("commit"):
            raise JournalError("the simulated disk is full")
        self._look(transaction)
        made = await super().commit(transaction)
        await self._luck.pause()
        if self._luck.strikes("commit's report"):
            raise JournalError("the simulated disk did not report the commit")
        return made

    async def acknowledge(self, lane: Lane, seq: int) -> None:
        await self._luck.pause()
        self._findings.check(
            seq <= self._store.highest(self.spool_id, lane),
            "acked",
            f"{self.host}: {lane.name.lower()} record {seq} was acknowledged, the store had"
            f" {self._store.highest(self.spool_id, lane)}",
        )
        await super().acknowledge(lane, seq)

    async def read(self, lane: Lane, after: int, limit_bytes: int) -> list[Spooled]:
        await self._luck.pause()
        return await super().read(lane, after, limit_bytes)

    async def prune(self, keep_bytes: int, older_than: int, floor: int = 0) -> int:
        gone = await super().prune(keep_bytes, older_than, floor)
        for lane in Lane:
            first = self._lanes[lane].facts().first
            stored = self._store.highest(self.spool_id, lane)
            self._findings.check(
                first <= stored + 1,
                "forgotten",
                f"{self.host}: the {lane.name.lower()} lane begins at {first}, the store had"
                f" {stored}",
            )
        return gone

    # -- looking ----------------------------------------------------------------------------------

    def _look(self, transaction: Transaction) -> None:
        """Does this transaction decide every slot that its cursors pass?"""
        records = [STATE_RECORD.decode(record) for record in transaction.state]
        told = [STATE_RECORD.decode(record) for _, told in transaction.claims for record in told]
        went_back = any(isinstance(record, ClockBack) for record in records)
        timetables = self._current()
        for uid, cursor in transaction.cursors.items():
            before = self._cursors.get(uid)
            timetable = timetables.get(uid)
            if before is None or timetable is None or went_back or timetable.spec.on_boot:
                continue
            until = cursor
            if transaction.new_set is not None:
                until = min(until, transaction.new_set.applied_at)
            expected = timetable.due(before, until, FAR)
            if len(expected) < FAR:
                self._decides(uid, timetable, expected, [*records, *told], before)
        for claim, _ in transaction.claims:
            if claim.attempt == 1 and claim.slot > self._floor:
                self._slots.setdefault(claim.schedule_uid, set()).add(claim.slot)
        for record in [*records, *told]:
            match record:
                case Claimed(kind=0, attempt=1):
                    self._of(record.schedule_uid).runs.add(record.slot)
                case Decided(run_id=None):
                    self._of(record.schedule_uid).ranges += record.count
                case ClockBack():
                    for held in self.decisions.values():
                        held.exact = False

    def _decides(
        self,
        uid: bytes,
        timetable: Timetable,
        expected: list[int],
        records: Sequence[object],
        before: int,
    ) -> None:
        had = self._slots.get(uid, set())
        wanted = sum(1 for slot in expected if slot not in had)
        decided, ranges = _decided(uid, records, before)
        decided -= had  # claimed again after the clock was put back: refused, and harmless
        self._findings.check(
            wanted == len(decided) + ranges,
            "tile",
            f"{self.host}: {timetable.spec.name} has {wanted} slots after {before}, the transaction"
            f" that passes them decides {len(decided)}, and {ranges} in ranges",
        )

    def _of(self, schedule_uid: bytes) -> Decisions:
        return self.decisions.setdefault(schedule_uid, Decisions())

    def _current(self) -> dict[bytes, Timetable]:
        """The timetables of the set in force."""
        body = b"" if self._set is None else self._set.body
        if body != self._seen_body:
            self._seen_body = body
            self._timetables = {
                spec.uid: Timetable(spec, self.worker_uid)
                for spec in SCHEDULE_SET.decode(body).schedules
            }
        return self._timetables


def _decided(uid: bytes, records: Iterable[object], after: int) -> tuple[set[int], int]:
    """The slots of a schedule after `after` that records decide: single ones, and in ranges."""
    slots: set[int] = set()
    ranges = 0
    for record in records:
        match record:
            case Claimed(schedule_uid=owner, slot=slot, attempt=1, kind=0) if owner == uid:
                slots.add(slot)
            case Waiting(schedule_uid=owner, slot=slot, attempt=1, kind=0) if owner == uid:
                slots.add(slot)
            case Decided(schedule_uid=owner, run_id=None, count=1) if owner == uid:
                slots.add(record.first_slot)
            case Decided(schedule_uid=owner, run_id=None) if owner == uid:
                ranges += record.count if record.first_slot > after else 0
    return {slot for slot in slots if slot > after}, ranges
