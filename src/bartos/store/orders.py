"""What does the server remember of what it starts itself? The rows, and the store's port for them.

An intent is a start that the server wants made; before each offer of it to a worker the offer
itself is stored. What became of it is in the worker's records. `Store` has these methods among
its own; instants are microseconds since 1970, UTC; ids are 16 bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from libbarto.message.v2.record import Verdict

NOBODY: Final = bytes(16)
"""Stands for a worker where it may be any that matches."""
ALL_SCHEDULES: Final = bytes(16)
"""Stands for a schedule where a pause holds for every one."""
RESTORED: Final = "restored"
"""The fact that says when the server last learned that its database was restored."""


COMMITS: Final = "commits"
"""The fact that counts the dispatcher's commits: one that is lower than it was tells of an older
copy of the database."""


@dataclass(frozen=True, slots=True)
class IntentRow:
    """A start that the server wants made, on `worker_uid` or, where that is `NOBODY`, on one of
    those that match.

    `spec` is the encoded `Schedule`. It may start up to `until`. `caught_up`: it is late, and
    starts when the former of its schedule has ended. `who` asked for it by `request`, and `reason`
    is theirs.
    """

    run_id: bytes
    kind: int
    schedule_uid: bytes
    schedule: str
    slot: int
    spec: bytes
    created_at: int
    until: int
    cause: bytes = b""
    worker_uid: bytes = NOBODY
    worker: str = ""
    caught_up: bool = False
    request: bytes = NOBODY
    who: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OfferRow:
    """An offer of an intent to a worker, and to the journal that it had: `number` from 1."""

    run_id: bytes
    number: int
    worker_uid: bytes
    spool_id: bytes
    at: int


@dataclass(frozen=True, slots=True)
class CancelRow:
    """A run, or a start that a worker has, that is to end: kept until it has ended."""

    run_id: bytes
    worker_uid: bytes
    who: str
    at: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """An intent that is not over, with its last offer, and who has claimed it, as far as the
    store knows."""

    intent: IntentRow
    offer: OfferRow | None = None
    refused: bool = False
    """That offer is refused for good."""
    claimed_by: bytes | None = None
    ended: bool = False
    """A worker's record has its verdict."""


@dataclass(frozen=True, slots=True)
class Closing:
    """An intent is over: with a verdict of the server's own, or (None) with that of a worker."""

    intent: IntentRow
    at: int
    verdict: Verdict | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CursorRow:
    """The last decided slot of a schedule that the server fires, and its trigger
    (`libbarto.timing.timing_text`)."""

    schedule_uid: bytes
    schedule: str
    cursor: int
    timing: str


@dataclass(frozen=True, slots=True)
class Undone:
    """Slots of a schedule that the server fires, none of which starts. `run_id` where it is one."""

    first_slot: int
    last_slot: int
    count: int
    verdict: Verdict
    reason: str
    run_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class CursorMove:
    """A cursor moves from `before` (None where there was none) to `row`, with the verdicts of what
    it passes. `back` withdraws verdicts beyond the new cursor: the clock was set back."""

    row: CursorRow
    before: int | None
    undone: Sequence[Undone] = ()
    back: bool = False


@dataclass(frozen=True, slots=True)
class ParentEnd:
    """A run that others follow has ended: kept until its follow-ups are intents. The record that
    told it is number `seq` of the spool `spool_id`."""

    run_id: bytes
    schedule_uid: bytes
    schedule: str
    slot: int
    verdict: Verdict
    ended_at: int
    spool_id: bytes = NOBODY
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Audit:
    """Who did what: a row of `event`. `kind` is a stable word."""

    at: int
    kind: str
    facts: Mapping[str, object] = field(default_factory=dict)
    worker: str = ""


@dataclass(frozen=True, slots=True)
class PauseRow:
    """A pause of a schedule, or of all: who, when, why, and until when, if that is known."""

    schedule_uid: bytes
    schedule: str
    who: str
    at: int
    reason: str = ""
    until: int | None = None


@dataclass(frozen=True, slots=True)
class DrainRow:
    """A worker that is to start nothing: who said so, when, why, and until when, if that is
    known."""

    worker_uid: bytes
    worker: str
    who: str
    at: int
    reason: str = ""
    until: int | None = None


@dataclass(frozen=True, slots=True)
class DispatchChange:
    """What the dispatcher has the store commit, all or nothing, in this order."""

    cursors: Sequence[CursorMove] = ()
    forgotten: Sequence[bytes] = ()
    """Schedules whose cursors are dropped."""
    intents: Sequence[IntentRow] = ()
    offers: Sequence[OfferRow] = ()
    closings: Sequence[Closing] = ()
    cancels: Sequence[CancelRow] = ()
    cancelled: Sequence[bytes] = ()
    """Runs whose `CancelRow` is done with."""
    followed: Sequence[bytes] = ()
    """Runs whose `ParentEnd` is done with."""
    facts: Mapping[str, int] = field(default_factory=dict)
    audits: Sequence[Audit] = ()

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


@dataclass(frozen=True, slots=True)
class Running:
    """A run that has no verdict."""

    run_id: bytes
    worker_uid: bytes
    schedule_uid: bytes
    slot: int


@dataclass(frozen=True, slots=True)
class DispatchState:
    """All that a dispatcher begins from. `running` has every run that has no verdict."""

    intents: Sequence[OpenIntent] = ()
    cursors: Sequence[CursorRow] = ()
    cancels: Sequence[CancelRow] = ()
    facts: Mapping[str, int] = field(default_factory=dict)
    running: Sequence[Running] = ()


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An intent, open or over, and what became of it: `claimed` where a run came of it, else the
    `verdict` that it got; `offers` counts those that were made."""

    intent: IntentRow
    offers: int = 0
    claimed: bool = False
    verdict: Verdict | None = None
    reason: str = ""
    claimed_by: str = ""
    """The name of the worker that claimed it."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """An intent as the history has it: whether it is `closed`, whether a run came of it (`ran`;
    `verdict` where that has ended), and each verdict, with its reason, that says it did not run."""

    run_id: bytes
    schedule_uid: bytes
    schedule: str
    worker_uid: bytes
    kind: int
    slot: int
    closed: bool = False
    ran: bool = False
    verdict: Verdict | None = None
    undone: Sequence[tuple[Verdict, str]] = ()


class Orders(Protocol):
    """The part of the store's port that the dispatcher and the operator's actions use."""

    async def dispatch_state(self) -> DispatchState:
        """What is open."""

    async def commit_dispatch(self, change: DispatchChange) -> frozenset[bytes]:
        """Commit it in one transaction; may be repeated. Returns which of its intents are open.

        An intent that there is, or that has a run or a verdict, is not made again. An offer counts
        only while its intent is open and has none of that number. A closing with a verdict counts
        only while no worker has claimed the run. A cursor moves, and the verdicts with it count,
        only where it stands at `before`.
        """

    def watch_ends(self, schedules: Collection[bytes]) -> None:
        """From now on, keep a `ParentEnd` of each run of these schedules that ends, in the
        transaction that ends it."""

    async def parent_ends(self, limit: int = 1000) -> list[ParentEnd]:
        """Those that are kept, the earliest slot first."""

    async def orders(
        self, *, request: bytes | None = None, run_id: bytes | None = None
    ) -> list[OrderRow]:
        """The intents of a request, by worker; or the one of a run."""

    async def ordered(self, after: bytes, limit: int) -> list[Ordered]:
        """The intents whose run's id is behind `after`, in order of that, with what became of
        them."""

    async def forget_orders(self, before: int) -> int:
        """Drop intents that are over since before this instant, and their offers."""

    async def pauses(self) -> list[PauseRow]:
        """The pauses in force, by schedule."""

    async def change_pauses(
        self, put: Sequence[PauseRow], drop: Collection[bytes], audits: Sequence[Audit]
    ) -> None:
        """Begin pauses (in place of those there are) and end others."""

    async def drains(self) -> list[DrainRow]:
        """The workers that are drained, by name."""

    async def change_drains(
        self, put: Sequence[DrainRow], drop: Collection[bytes], audits: Sequence[Audit]
    ) -> None:
        """Begin drains (in place of others of the same workers) and end those of the workers
        `drop`, in one transaction."""

    async def audit(self, rows: Sequence[Audit]) -> None:
        """Record what was done."""
