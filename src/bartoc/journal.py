"""The journal's port: what a worker remembers durably, and in what order.

One transaction carries claims, cursors and the records that tell of them, so that after any crash
either all of it happened or none (DESIGN sections 4 and 7). SQLite stands behind it
(`journal_sqlite`), and an in-memory twin (`MemoryJournal`) that one contract suite holds to the
same behaviour. Instants are microseconds since 1970, UTC.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from libbarto.codec import Unknown
from libbarto.errors import JournalError
from libbarto.identity import NO_TAG, next_tag
from libbarto.message.v2.record import OUTPUT_RECORD, STATE_RECORD, Lane, Notice, Output

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt at an occurrence: at most one start ever comes of it."""

    run_id: bytes
    attempt: int
    schedule_uid: bytes
    slot: int
    at: int
    boot_id: bytes
    spec: bytes = b""
    """What is to be run, as `worker.RunSpec` encodes it, so that a worker that comes back can
    finish the run's record though its schedule has changed."""


@dataclass(frozen=True, slots=True)
class WaitingStart:
    """A start that is decided and not claimed yet: it may begin from `due` on, until `until`.

    One for each run at most. `why` is the word of the `Waiting` record; `at` is when it began to
    wait; `spec` is opaque to the journal.
    """

    run_id: bytes
    attempt: int
    kind: int
    schedule_uid: bytes
    slot: int
    cause: bytes
    why: str
    at: int
    due: int
    until: int | None = None
    spec: bytes = b""


@dataclass(frozen=True, slots=True)
class StoredSet:
    """The set of schedules in force; `applied_at` is the tick at which it was taken on."""

    generation: int
    hash: bytes
    body: bytes
    applied_at: int = 0


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A claimed attempt that has not ended: what was already taken over from the keeper.

    `position` is the keeper's output position up to which all is durable here; `progress` is the
    chunker's state, opaque to the journal.
    """

    claim: Claim
    position: int = 0
    progress: bytes = b""


@dataclass(frozen=True, slots=True)
class Held:
    """A chunk held back from the output lane: it may yet be cut (`output_max`)."""

    run_id: bytes
    attempt: int
    chunk_no: int
    size: int
    record: bytes


@dataclass(frozen=True, slots=True)
class HeldChunk:
    """Which chunk is held back: its number and size, and where it stands in the output."""

    chunk_no: int
    size: int
    offset: int
    first_line: int


@dataclass(frozen=True, slots=True)
class Moved:
    """All `count` chunks that are held back of an attempt, in order, as records of the output
    lane: they are held no more. They need not fit into memory."""

    run_id: bytes
    attempt: int
    count: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one commit changes, all or nothing.

    `claims` come with the records that tell of them: a claim that exists already is left out, and
    its records with it. So is one whose slot is not above the floor, unless its run waits here;
    then `too_old` of its run is recorded in its stead. `places[i]` tells how many of `state` come
    before the records of `claims[i]`; where it is not given, none do. `cursors` move schedules'
    last decided slots, `since` the instants after which their slots count; neither is ever set
    below the floor. `output` may name chunks that are held back, this transaction's too. `ended`
    removes open runs, and what is still held back of them.

    `waiting` puts starts that wait (before the claims are made), `unwaiting` takes away those of
    these runs (after that). `refusals` raise the highest refused offer of runs, which never falls.
    `verdicts` remember that an occurrence (run and slot) was judged; `boots` in which boot a
    schedule has started.
    """

    claims: Sequence[tuple[Claim, Sequence[bytes]]] = ()
    places: Sequence[int] = ()
    too_old: Mapping[bytes, bytes] = field(default_factory=dict)
    state: Sequence[bytes] = ()
    output: Sequence[bytes | Moved] = ()
    cursors: Mapping[bytes, int] = field(default_factory=dict)
    since: Mapping[bytes, int] = field(default_factory=dict)
    waiting: Sequence[WaitingStart] = ()
    unwaiting: Sequence[bytes] = ()
    refusals: Mapping[bytes, int] = field(default_factory=dict)
    verdicts: Mapping[bytes, int] = field(default_factory=dict)
    boots: Mapping[bytes, bytes] = field(default_factory=dict)
    new_set: StoredSet | None = None
    ended: Sequence[tuple[bytes, int]] = ()
    progress: Mapping[tuple[bytes, int], tuple[int, bytes]] = field(default_factory=dict)
    hold: Sequence[Held] = ()
    release: Sequence[tuple[bytes, int, int]] = ()
    newest: int | None = None
    contact: int | None = None


@dataclass(frozen=True, slots=True)
class LaneFacts:
    """What the spool holds of a lane: `first` to `last` (none where first is last + 1); `tag` is
    the last one's, `before_tag` that of the record before `first`."""

    first: int = 1
    last: int = 0
    tag: bytes = NO_TAG
    before_tag: bytes = NO_TAG
    acknowledged: int = 0


@dataclass(frozen=True, slots=True)
class JournalState:
    """Everything that a worker needs to go on after a restart.

    `ahead` are the claims (run, schedule, slot) of slots beyond their schedule's cursor: where a
    clock was put back, they are due again, and have a run already.
    """

    worker_uid: bytes
    spool_id: bytes
    epoch: int = 0
    cursors: Mapping[bytes, int] = field(default_factory=dict)
    current_set: StoredSet | None = None
    open_runs: Sequence[OpenRun] = ()
    lanes: Mapping[Lane, LaneFacts] = field(default_factory=dict)
    newest: int = 0
    contact: int = 0
    floor: int = 0
    since: Mapping[bytes, int] = field(default_factory=dict)
    waiting: Sequence[WaitingStart] = ()
    refusals: Mapping[bytes, int] = field(default_factory=dict)
    verdicts: Mapping[bytes, int] = field(default_factory=dict)
    boots: Mapping[bytes, bytes] = field(default_factory=dict)
    ahead: Sequence[tuple[bytes, bytes, int]] = ()
    pending_set: StoredSet | None = None
    """A set that was held before the journal was damaged: it is to be taken on anew, now."""


@dataclass(frozen=True, slots=True)
class Room:
    """What more the spool takes: `waiting` are the bytes of output that the server has not
    acknowledged; the disk is `scarce` where its last room is kept for claims and verdicts."""

    waiting: int = 0
    scarce: bool = False


@dataclass(frozen=True, slots=True)
class Spooled:
    """A record in the spool: its number in its lane, its tag, its bytes."""

    seq: int
    tag: bytes
    data: bytes


class Journal(Protocol):
    """See the module's text. Every method may raise `JournalError`: then nothing is to be taken
    as done, the journal is opened again, and `load` tells what holds."""

    async def load(self) -> JournalState:
        """Open (again), and tell all that is held."""

    async def state(self) -> JournalState:
        """Tell all that is held, without opening again."""

    async def commit(self, transaction: Transaction) -> frozenset[tuple[bytes, int]]:
        """Durably apply; returns (run_id, attempt) of the claims that were made, not refused."""

    async def read(self, lane: Lane, after: int, limit_bytes: int) -> list[Spooled]:
        """Records with numbers above `after`, in order: at least one if there is one, then as many
        as fit into `limit_bytes`."""

    async def tag_at(self, lane: Lane, seq: int) -> bytes | None:
        """The tag of record `seq`, None where it is not held (number 0 has `NO_TAG`)."""

    async def held(self, run_id: bytes, attempt: int) -> list[HeldChunk]:
        """Which chunks are held back of an attempt, in order."""

    async def acknowledge(self, lane: Lane, seq: int) -> None:
        """All records up to `seq` are safe on the server."""

    async def forget_acknowledged(self, lane: Lane, seq: int) -> None:
        """Take only records up to `seq` as acknowledged: the server asks for the rest again."""

    async def store_epoch(self, epoch: int) -> None:
        """Durably hold this epoch."""

    async def prune(self, keep_bytes: int, older_than: int, floor: int = 0) -> int:
        """Drop acknowledged records beyond `keep_bytes` or spooled before `older_than`, and claims
        of slots up to the floor (never one that is open); returns how many records went.

        `floor` raises the floor, which never falls: no slot up to it is ever claimed again. What
        was refused or judged of occurrences up to the floor goes too."""

    def room(self) -> Room:
        """How much room there is, as of the last commit: never waits."""

    async def relieve(self) -> Room:
        """Make room: drop all that is acknowledged, whatever its age; how much there is now."""

    async def renew(self, reason: str) -> None:
        """Begin a new spool with what is not acknowledged, and no cursors: `reason` is told."""

    async def close(self) -> None:
        """Let go of the files; idempotent."""


def merged(transactions: Sequence[Transaction]) -> Transaction:
    """One transaction that does what these do one after the other."""
    if len(transactions) == 1:
        return transactions[0]
    waiting: dict[bytes, WaitingStart] = {}
    unwaiting: dict[bytes, None] = {}
    places: list[int] = []
    refusals: dict[bytes, int] = {}
    before = 0
    for one in transactions:
        places += [before + place for place in one.places or [0] * len(one.claims)]
        before += len(one.state)
        for start in one.waiting:
            unwaiting.pop(start.run_id, None)
            waiting[start.run_id] = start
        unwaiting.update(dict.fromkeys(one.unwaiting))
        for run_id, number in one.refusals.items():
            refusals[run_id] = max(number, refusals.get(run_id, 0))
    return Transaction(
        claims=[claim for one in transactions for claim in one.claims],
        places=places,
        too_old=_united(one.too_old for one in transactions),
        state=[record for one in transactions for record in one.state],
        output=[record for one in transactions for record in one.output],
        cursors=_united(one.cursors for one in transactions),
        since=_united(one.since for one in transactions),
        waiting=list(waiting.values()),
        unwaiting=list(unwaiting),
        refusals=refusals,
        verdicts=_united(one.verdicts for one in transactions),
        boots=_united(one.boots for one in transactions),
        new_set=_last(one.new_set for one in transactions),
        ended=[key for one in transactions for key in one.ended],
        progress=_united(one.progress for one in transactions),
        hold=[chunk for one in transactions for chunk in one.hold],
        release=[key for one in transactions for key in one.release],
        newest=_last(one.newest for one in transactions),
        contact=_last(one.contact for one in transactions),
    )


def held_chunk(held: Held) -> HeldChunk:
    """Where a chunk that is held back stands."""
    record = OUTPUT_RECORD.decode(held.record)
    if not isinstance(record, Output):
        return HeldChunk(held.chunk_no, held.size, 0, 0)
    return HeldChunk(held.chunk_no, held.size, record.offset, record.first_line)


def in_order(transaction: Transaction, told: Sequence[Sequence[bytes]]) -> list[bytes]:
    """The state records of a transaction in their order; `told[i]` are those of `claims[i]`."""
    found: list[bytes] = []
    taken = 0
    for place, records in zip(transaction.places or [0] * len(told), told, strict=True):
        found += transaction.state[taken:place]
        found += records
        taken = place
    return [*found, *transaction.state[taken:]]


def id_floor(floor: int) -> bytes:
    """The least id that an occurrence of a slot above `floor` has: ids begin with their slot."""
    return (max(floor, 0) // 1000).to_bytes(6, "big")


def _united(mappings: Iterable[Mapping[K, T]]) -> dict[K, T]:
    """All of them; what is later counts."""
    found: dict[K, T] = {}
    for mapping in mappings:
        found.update(mapping)
    return found


def _last(values: Iterable[T | None]) -> T | None:
    """The last that is given, if any."""
    found: T | None = None
    for value in values:
        found = found if value is None else value
    return found


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
        from bartoc import renewal  # it needs the words of this module

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
