"""The journal's port: what a worker remembers durably, and in what order.

One transaction carries claims, cursors and the records that tell of them, so that after any crash
either all of it happened or none (DESIGN sections 4 and 7). SQLite stands behind it
(`journal_sqlite`), and a twin in memory (`journal_memory`) that one contract suite holds to the
same behaviour. Instants are microseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from libbarto.identity import NO_TAG
from libbarto.message.v2.record import OUTPUT_RECORD, Lane, Output

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
