"""What does the dispatcher hear, and what does it want done? The words between it and its shell.

Instants are microseconds since 1970, UTC; ids are 16 bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from bartos.plan import WorkerFacts
from bartos.schedules import Definition
from bartos.store.orders import (
    NOBODY,
    DispatchChange,
    DrainRow,
    IntentRow,
    ParentEnd,
    PauseRow,
)
from libbarto.message.v2.record import Claimed, Decided, Ended, OfferRefused
from libbarto.message.v2.schedule import SCHEDULE, Schedule

# -- what goes in ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Now:
    """One reading of the server's clocks: `wall` in microseconds since 1970, UTC; `boottime` in
    seconds."""

    wall: int
    boottime: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class SchedulesChanged:
    """The schedules in force."""

    definitions: Sequence[Definition]


@dataclass(frozen=True, slots=True)
class PausesChanged:
    """The pauses in force."""

    pauses: Sequence[PauseRow]


@dataclass(frozen=True, slots=True)
class DrainsChanged:
    """The workers that are drained."""

    drains: Sequence[DrainRow]


@dataclass(frozen=True, slots=True)
class Restored:
    """The database has less than this server has seen committed, or this worker acknowledged: it
    is an older copy."""

    worker_uid: bytes | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    """A worker's session is confirmed: `session` is its nonce."""

    session: bytes
    spool_id: bytes
    facts: WorkerFacts
    last: int = 0
    """The number of the last state record that it had when it greeted."""


@dataclass(frozen=True, slots=True)
class Left:
    """A session ended, whether it was confirmed or not."""

    worker_uid: bytes
    session: bytes


@dataclass(frozen=True, slots=True)
class Reported:
    """The store has committed a worker's record."""

    worker_uid: bytes
    spool_id: bytes
    record: Claimed | Ended | Decided | OfferRefused


@dataclass(frozen=True, slots=True)
class GivenUp:
    """These runs have got a verdict that was not their worker's."""

    run_ids: Collection[bytes]


@dataclass(frozen=True, slots=True)
class ParentsEnded:
    """Runs that others follow have ended."""

    ends: Sequence[ParentEnd]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A start by hand: of a schedule, on a worker (uid and name), or where the server chooses."""

    schedule_uid: bytes
    worker: tuple[bytes, str] | None = None


@dataclass(frozen=True, slots=True)
class RunAsked:
    """Somebody wants starts; `request` (a UUID) makes their ids, so that asking again is none.
    `again` are the runs that are to be made once more, where it is that."""

    request: bytes
    wanted: Sequence[Wanted]
    who: str
    reason: str = ""
    again: Sequence[bytes] = ()

    def made(self, rows: Sequence[IntentRow]) -> bool:
        """Can this have made these intents of its request? Not all that it means were known, or
        were not drained, when it was asked for the first time."""
        places = {
            (one.schedule_uid, NOBODY if one.worker is None else one.worker[0])
            for one in self.wanted
        }
        schedules = {uid for uid, _ in places}
        return all(row.schedule_uid in schedules for row in rows) and any(
            (row.schedule_uid, row.worker_uid) in places for row in rows
        )


@dataclass(frozen=True, slots=True)
class ExecAsked:
    """Somebody wants a command run once on these workers (uid and name): `spec` is all of it, and
    it may start up to `patience_us` from now."""

    request: bytes
    workers: Sequence[tuple[bytes, str]]
    spec: Schedule
    patience_us: int
    who: str
    reason: str = ""

    def made(self, rows: Sequence[IntentRow]) -> bool:
        """Can this have made these intents of its request? They have all of the command; see
        `RunAsked.made` for their workers."""
        spec, workers = SCHEDULE.encode(self.spec), {uid for uid, _ in self.workers}
        return all(row.spec == spec for row in rows) and any(
            row.worker_uid in workers for row in rows
        )


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Somebody wants these runs to end, or starts not to be made."""

    run_ids: Sequence[bytes]
    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Committed:
    """The store has committed a `Commit`; `made` are those of its intents that are open now."""

    commit: Commit
    made: frozenset[bytes]


Event: TypeAlias = (
    Tick
    | SchedulesChanged
    | PausesChanged
    | DrainsChanged
    | Restored
    | Joined
    | Left
    | Reported
    | GivenUp
    | ParentsEnded
    | RunAsked
    | ExecAsked
    | CancelAsked
    | Committed
)


# -- what comes out -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendOffer:
    """Send an offer on the session with this nonce, and on no other."""

    worker_uid: bytes
    session: bytes
    intent: IntentRow
    number: int


@dataclass(frozen=True, slots=True)
class SendCancel:
    """Have a worker end a run."""

    worker_uid: bytes
    session: bytes
    run_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Commit:
    """Have the store commit this, then say `Committed`, before any other event. `then` is sent
    only after it."""

    change: DispatchChange
    then: tuple[SendOffer | SendCancel, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """Something for the log: `message` is constant, `facts` stand beside it."""

    level: str
    message: str
    facts: Mapping[str, object] = field(default_factory=dict)


Effect: TypeAlias = Commit | SendOffer | SendCancel | Note
