"""The journal in memory: the twin of the one on disk, for tests and simulations."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bartoc import renewal
from bartoc.journal import (
    Claim,
    Held,
    HeldChunk,
    JournalState,
    LaneFacts,
    Moved,
    OpenRun,
    Room,
    Spooled,
    StoredSet,
    Transaction,
    WaitingStart,
    held_chunk,
    id_floor,
    in_order,
)
from libbarto.codec import Unknown
from libbarto.errors import JournalError
from libbarto.identity import NO_TAG, next_tag
from libbarto.message.v2.record import STATE_RECORD, Lane, Notice


@dataclass(slots=True)
class _MemoryLane:
    """A lane of the twin's spool."""

    records: list[tuple[Spooled, int]] = field(default_factory=list)
    last: int = 0
    tag: bytes = NO_TAG
    before_tag: bytes = NO_TAG
    acknowledged: int = 0

    def append(self, data: bytes, at: int) -> None:
        self.last += 1
        self.tag = next_tag(self.tag, data)
        self.records.append((Spooled(self.last, self.tag, data), at))

    def facts(self) -> LaneFacts:
        first = self.records[0][0].seq if self.records else self.last + 1
        return LaneFacts(first, self.last, self.tag, self.before_tag, self.acknowledged)


class MemoryJournal:
    """The twin in memory: it outlives the worker object that writes to it, as a disk would.

    `fail_next` makes the next commit raise `JournalError` and do nothing; `scarce` is what `room`
    tells. Records are stamped with the time that the worker's `newest` tells.
    """

    def __init__(self, worker_uid: bytes, spool_id: bytes) -> None:
        self.worker_uid = worker_uid
        self.spool_id = spool_id
        self.fail_next = False
        self.epoch = 0
        self._claims: dict[tuple[bytes, int], Claim] = {}
        self._open: dict[tuple[bytes, int], OpenRun] = {}
        self._cursors: dict[bytes, int] = {}
        self._since: dict[bytes, int] = {}
        self._waiting: dict[bytes, WaitingStart] = {}
        self._refusals: dict[bytes, int] = {}
        self._verdicts: dict[bytes, int] = {}
        self._boots: dict[bytes, bytes] = {}
        self._set: StoredSet | None = None
        self._held: dict[tuple[bytes, int, int], Held] = {}
        self._lanes = {Lane.STATE: _MemoryLane(), Lane.OUTPUT: _MemoryLane()}
        self._newest = 0
        self._contact = 0
        self._floor = 0
        self.scarce = False
        self._pending_set: StoredSet | None = None

    async def load(self) -> JournalState:
        return await self.state()

    async def state(self) -> JournalState:
        return JournalState(
            worker_uid=self.worker_uid,
            spool_id=self.spool_id,
            epoch=self.epoch,
            cursors=dict(self._cursors),
            current_set=self._set,
            open_runs=tuple(self._open.values()),
            lanes={lane: spool.facts() for lane, spool in self._lanes.items()},
            newest=self._newest,
            contact=self._contact,
            floor=self._floor,
            since=dict(self._since),
            waiting=tuple(self._waiting.values()),
            refusals=dict(self._refusals),
            verdicts=dict(self._verdicts),
            boots=dict(self._boots),
            ahead=tuple(self._ahead()),
            pending_set=self._pending_set,
        )

    def room(self) -> Room:
        spool = self._lanes[Lane.OUTPUT]
        begin = max(0, spool.acknowledged + 1 - spool.facts().first)
        waiting = sum(len(one.data) for one, _ in spool.records[begin:])
        return Room(waiting, self.scarce)

    async def relieve(self) -> Room:
        await self.prune(0, 0)
        return self.room()

    async def renew(self, reason: str) -> None:
        old, self._lanes = self._lanes, {lane: _MemoryLane() for lane in Lane}
        self.spool_id = hashlib.sha256(b"after " + self.spool_id).digest()[:16]
        notice = Notice(kind="spool_renewed", at=self._newest, text=reason)
        self._lanes[Lane.STATE].append(STATE_RECORD.encode(notice), self._newest)
        numbers: dict[int, int] = {}
        for one, at in old[Lane.OUTPUT].records:
            if one.seq > old[Lane.OUTPUT].acknowledged:
                self._lanes[Lane.OUTPUT].append(one.data, at)
                numbers[one.seq] = self._lanes[Lane.OUTPUT].last
        for one, at in old[Lane.STATE].records:
            if one.seq > old[Lane.STATE].acknowledged:
                record = renewal.renumbered(STATE_RECORD.decode(one.data), numbers)
                data = one.data if isinstance(record, Unknown) else STATE_RECORD.encode(record)
                self._lanes[Lane.STATE].append(data, at)
        names = renewal.names_in(self._set or self._pending_set)
        for waiting in self._waiting.values():
            record = renewal.given_up(waiting, reason, names)
            self._lanes[Lane.STATE].append(STATE_RECORD.encode(record), self._newest)
        self._waiting = {}
        self._cursors, self._since = {}, {}
        self._pending_set, self._set = self._set or self._pending_set, None

    def _ahead(self) -> list[tuple[bytes, bytes, int]]:
        return sorted(
            {
                (claim.run_id, claim.schedule_uid, claim.slot)
                for claim in self._claims.values()
                if claim.slot > self._cursors.get(claim.schedule_uid, claim.slot)
            }
        )

    async def commit(self, transaction: Transaction) -> frozenset[tuple[bytes, int]]:
        if self.fail_next:
            self.fail_next = False
            raise JournalError("the journal did not commit")
        made: set[tuple[bytes, int]] = set()
        told: list[Sequence[bytes]] = []
        self._newest = self._newest if transaction.newest is None else transaction.newest
        self._waiting.update({start.run_id: start for start in transaction.waiting})
        for claim, records in transaction.claims:
            key = claim.run_id, claim.attempt
            told.append(())
            if claim.slot <= self._floor and claim.run_id not in self._waiting:
                record = transaction.too_old.get(claim.run_id)
                told[-1] = () if record is None else (record,)
            elif key not in self._claims:
                self._claims[key] = claim
                self._open[key] = OpenRun(claim)
                made.add(key)
                told[-1] = records
        for record in in_order(transaction, told):
            self._lanes[Lane.STATE].append(record, self._newest)
        for run_id in transaction.unwaiting:
            self._waiting.pop(run_id, None)
        for uid, slot in transaction.cursors.items():
            self._cursors[uid] = max(slot, self._floor)
        for uid, instant in transaction.since.items():
            if uid in self._cursors:
                self._since[uid] = max(instant, self._floor)
        for run_id, number in transaction.refusals.items():
            self._refusals[run_id] = max(number, self._refusals.get(run_id, 0))
        self._verdicts.update(transaction.verdicts)
        self._boots.update(transaction.boots)
        if transaction.new_set is not None:
            self._set, self._pending_set = transaction.new_set, None
        for key, (position, progress) in transaction.progress.items():
            if key in self._open:
                self._open[key] = replace(self._open[key], position=position, progress=progress)
        for chunk in transaction.hold:
            self._held[chunk.run_id, chunk.attempt, chunk.chunk_no] = chunk
        for held_key in transaction.release:
            self._held.pop(held_key, None)
        for item in transaction.output:
            for record in (
                self._let_go((item.run_id, item.attempt)) if isinstance(item, Moved) else [item]
            ):
                self._lanes[Lane.OUTPUT].append(record, self._newest)
        for key in transaction.ended:
            self._open.pop(key, None)
            self._let_go(key)
        self._contact = self._contact if transaction.contact is None else transaction.contact
        return frozenset(made)

    async def read(self, lane: Lane, after: int, limit_bytes: int) -> list[Spooled]:
        found: list[Spooled] = []
        size = 0
        spool = self._lanes[lane]
        begin = max(0, after + 1 - spool.facts().first)
        for record, _ in itertools.islice(spool.records, begin, None):
            size += len(record.data)
            if found and size > limit_bytes:
                break
            found.append(record)
        return found

    async def tag_at(self, lane: Lane, seq: int) -> bytes | None:
        spool = self._lanes[lane]
        facts = spool.facts()
        if seq == facts.first - 1:
            return spool.before_tag
        if facts.first <= seq <= facts.last:
            return spool.records[seq - facts.first][0].tag
        return None

    def _let_go(self, key: tuple[bytes, int]) -> list[bytes]:
        """Hold nothing back of an attempt any more; what was held, in order."""
        keys = sorted(held for held in self._held if held[:2] == key)
        return [self._held.pop(held).record for held in keys]

    async def held(self, run_id: bytes, attempt: int) -> list[HeldChunk]:
        keys = sorted(key for key in self._held if key[:2] == (run_id, attempt))
        return [held_chunk(self._held[key]) for key in keys]

    async def acknowledge(self, lane: Lane, seq: int) -> None:
        spool = self._lanes[lane]
        spool.acknowledged = max(spool.acknowledged, seq)

    async def forget_acknowledged(self, lane: Lane, seq: int) -> None:
        self._lanes[lane].acknowledged = seq

    async def store_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    async def prune(self, keep_bytes: int, older_than: int, floor: int = 0) -> int:
        gone = 0
        for spool in self._lanes.values():
            size = sum(len(record.data) for record, _ in spool.records)
            while spool.records and spool.records[0][0].seq <= spool.acknowledged:
                record, at = spool.records[0]
                if size <= keep_bytes and at >= older_than:
                    break
                del spool.records[0]
                spool.before_tag = record.tag
                size -= len(record.data)
                gone += 1
        self._floor = max(self._floor, floor)
        for key, claim in list(self._claims.items()):
            if claim.slot <= self._floor and key not in self._open:
                del self._claims[key]
        least = id_floor(self._floor)
        self._refusals = {key: no for key, no in self._refusals.items() if key >= least}
        self._verdicts = {key: at for key, at in self._verdicts.items() if at > self._floor}
        return gone

    async def close(self) -> None:
        """Nothing to let go of."""
