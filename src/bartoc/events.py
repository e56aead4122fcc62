"""What does the worker hear, and what does it want done? The words between it and its shell.

Events go in with a reading of the clocks, effects come out; the shell (`agent`) carries them out
in their order. Keys of attempts are (run id, attempt); instants are microseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from bartoc.journal import HeldChunk, JournalState, Transaction
from bartoc.runner import Event as RunnerEvent
from bartoc.runner import Known, SpawnOrder
from libbarto.message.v2.server import Offer

Key: TypeAlias = tuple[bytes, int]

# -- what goes in ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Now:
    """One reading of the host's clocks: `wall` in microseconds since 1970, UTC; `boottime` in
    seconds of CLOCK_BOOTTIME; `offset_us` what the server's clock is ahead, where it is known;
    `monotonic` in seconds of CLOCK_MONOTONIC, which stands still while the host sleeps (None: the
    host never sleeps)."""

    wall: int
    boottime: float
    offset_us: int | None = None
    monotonic: float | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class NewSet:
    """The server sent a set, and the session found it genuine and newer."""

    generation: int
    hash: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Contact:
    """The server was there; its clock read `server_at` then, where that is known."""

    server_at: int | None = None


@dataclass(frozen=True, slots=True)
class Offered:
    """The server offered a start, and the session found that genuine; `received` is the boottime
    at which it came in. It is judged at the next `Tick`."""

    offer: Offer
    received: float


@dataclass(frozen=True, slots=True)
class Asked:
    """The server asks what became of offers of a run up to this number."""

    run_id: bytes
    number: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody wants a run ended, or a start that waits given up; answered by `Answer`."""

    request: bytes
    run_id: bytes
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """The runner was opened (again): what it holds."""

    known: tuple[Known, ...]


@dataclass(frozen=True, slots=True)
class RunnerGone:
    """The connection to the runner is lost: nothing starts until it is `Opened` again."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """What the journal holds back of an attempt that `Resume` named."""

    run_id: bytes
    attempt: int
    chunks: tuple[HeldChunk, ...]


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the journal answered to `Recall`."""

    state: JournalState


@dataclass(frozen=True, slots=True)
class Committed:
    """The journal has committed a `Commit`; `claims` are those it made, not those it refused."""

    commit: Commit
    claims: frozenset[Key]


@dataclass(frozen=True, slots=True)
class Stop:
    """No new starts from now on."""


WorkerInput: TypeAlias = (
    Tick
    | NewSet
    | Contact
    | Offered
    | Asked
    | Cancelled
    | Opened
    | RunnerGone
    | HeldBack
    | Recalled
    | Committed
    | Stop
    | RunnerEvent
)


# -- what comes out -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Commit:
    """Have the journal commit this, then say `Committed`. `then` comes about only after it."""

    transaction: Transaction
    spawns: tuple[SpawnOrder, ...] = ()
    then: tuple[Taken | Forget | Answer | Recall, ...] = ()


@dataclass(frozen=True, slots=True)
class Spawn:
    """Have the runner start an attempt: made only from a claim that is committed."""

    order: SpawnOrder

    @classmethod
    def of(cls, committed: Committed, order: SpawnOrder, deadline: float | None = None) -> Spawn:
        """The start of an attempt whose claim this commit made, by `deadline` (boottime) where
        that is given. Raises `ValueError` where it made no such claim."""
        if (order.run_id, order.attempt) not in committed.claims:
            raise ValueError("nothing is spawned but in answer to its committed claim")
        return cls(order if deadline is None else replace(order, deadline=deadline))


@dataclass(frozen=True, slots=True)
class Cancel:
    """Have the runner end an attempt: TERM to the whole tree, KILL after `grace` seconds."""

    run_id: bytes
    attempt: int
    grace: float


@dataclass(frozen=True, slots=True)
class Taken:
    """Output up to `position` is durable: the runner may drop it."""

    run_id: bytes
    attempt: int
    position: int


@dataclass(frozen=True, slots=True)
class Forget:
    """An attempt is told to its end: the runner may drop it."""

    run_id: bytes
    attempt: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with an attempt: look up what is held back of it, say `HeldBack`, then have the runner
    tell of it from `position` on; not where it is `lost`, and the runner knows nothing of it."""

    run_id: bytes
    attempt: int
    position: int
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Recall:
    """Ask the journal what it holds now (`Journal.state`), then say `Recalled`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Tell the server what came of a request of its own."""

    request: bytes
    accepted: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Something for the log: `message` is constant, `facts` stand beside it."""

    level: str
    message: str
    facts: Mapping[str, object] = field(default_factory=dict)


Effect: TypeAlias = Commit | Spawn | Cancel | Taken | Forget | Resume | Recall | Answer | Note
