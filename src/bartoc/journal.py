"""The journal's port: what a worker remembers durably, and in what order.

One transaction carries claims, cursors and the records that tell of them, so that after any crash
either all of it happened or none (DESIGN sections 4 and 7). SQLite stands behind it
(`journal_sqlite`), and an in-memory twin (`MemoryJournal`) that one contract suite holds to the
same behaviour. Instants are microseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from libbarto.identity import NO_TAG
from libbarto.message.v2.record import Lane


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
class Transaction:
    """What one commit changes, all or nothing.

    `claims` come with the records that tell of them: a claim that exists already is left out, and
    its records with it. `cursors` move schedules' last decided slots. `ended` removes open runs.
    """

    claims: Sequence[tuple[Claim, Sequence[bytes]]] = ()
    state: Sequence[bytes] = ()
    output: Sequence[bytes] = ()
    cursors: Mapping[bytes, int] = field(default_factory=dict)
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
    """Everything that a worker needs to go on after a restart."""

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

    async def commit(self, transaction: Transaction) -> frozenset[tuple[bytes, int]]:
        """Durably apply; returns (run_id, attempt) of the claims that were made, not refused."""

    async def read(self, lane: Lane, after: int, limit_bytes: int) -> list[Spooled]:
        """Records with numbers above `after`, in order: at least one if there is one, then as many
        as fit into `limit_bytes`."""

    async def tag_at(self, lane: Lane, seq: int) -> bytes | None:
        """The tag of record `seq`, None where it is not held (number 0 has `NO_TAG`)."""

    async def held(self, run_id: bytes, attempt: int) -> list[Held]:
        """The chunks held back for an attempt, in order."""

    async def acknowledge(self, lane: Lane, seq: int) -> None:
        """All records up to `seq` are safe on the server."""

    async def forget_acknowledged(self, lane: Lane) -> None:
        """Take nothing of the lane as acknowledged: the server asks for it again."""

    async def store_epoch(self, epoch: int) -> None:
        """Durably hold this epoch."""

    async def prune(self, keep_bytes: int, older_than: int) -> int:
        """Drop acknowledged records beyond `keep_bytes` or spooled before `older_than`, and claims
        of slots before it (never one that is open); returns how many records went."""

    async def close(self) -> None:
        """Let go of the files; idempotent."""
