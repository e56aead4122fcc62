"""What happened in a chaos run, from every witness: the one value that the checker looks at.

Ledger, workers' journals and the server's database each tell their part; nothing is left out and
nothing is judged here. Instants are microseconds since 1970, UTC, of the host's real clock, unless
a worker's own clock is named. Runs are known by their id as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

EVERYONE: Final = "*"
SERVER: Final = "server"
STORE: Final = "store"


class FaultKind(StrEnum):
    """What the nemesis does."""

    BARTOC_KILL = "bartoc.kill"
    BARTOC_STOP = "bartoc.stop"
    BARTOC_RESTART = "bartoc.restart"
    KEEPER_KILL = "keeper.kill"
    KEEPER_STOP = "keeper.stop"
    BOTH_KILL = "both.kill"
    LINK_CUT = "link.cut"
    LINK_PARTITION = "link.partition"
    LINK_STALL_UP = "link.stall-up"
    LINK_STALL_DOWN = "link.stall-down"
    LINK_SWALLOW = "link.swallow"
    LINK_SWALLOW_UP = "link.swallow-up"
    LINK_SWALLOW_DOWN = "link.swallow-down"
    LINK_SLOW = "link.slow"
    LINK_DELAY = "link.delay"
    LINK_TORN = "link.torn"
    BARTOS_KILL = "bartos.kill"
    BARTOS_STOP = "bartos.stop"
    BARTOS_RESTART = "bartos.restart"
    STORE_KILL = "store.kill"
    STORE_STOP = "store.stop"
    STORE_READ_ONLY = "store.read-only"
    STORE_LOCKED = "store.locked"
    CLOCK_STEP = "clock.step"
    DISK_FULL = "disk.full"
    EDIT = "edit"
    EDIT_BROKEN = "edit.broken"
    PAUSE = "pause"
    CANCEL = "cancel"
    HOST_STALL = "host.stall"


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that a witness says."""


class Mark(Fact, frozen=True, tag="mark"):
    """A line of the ledger: the command itself says that it began (B) or is about to end (E)."""

    what: str
    run: str
    schedule: str
    slot: int
    worker: str
    attempt: int
    pid: int
    at: int


class Fault(Fact, frozen=True, tag="fault"):
    """What the nemesis did: `targets` are workers' names, SERVER, STORE or EVERYONE.

    `ended` is when it was taken back: a process started again, a link open. `shift` is what a
    stepped clock was ahead meanwhile.
    """

    number: int
    kind: FaultKind
    targets: list[str]
    began: int
    ended: int
    shift: int = 0


class Definition(Fact, frozen=True, tag="definition"):
    """A schedule as it was planned: due each `period`, or when a run of `after` has ended; its
    command sleeps up to `longest_ms`, and is stopped after `timeout_ms`. With `one` the server
    gives each start to one worker; an interrupted run is made again, `reruns` times at most."""

    name: str
    uid: str
    period: int
    longest_ms: int
    overlap: str = "skip"
    retries: int = 0
    timeout_ms: int | None = None
    after: str = ""
    one: bool = False
    reruns: int = 0


class Applied(Fact, frozen=True, tag="applied"):
    """From a worker's journal: it took on a set at `at` by its clock; the slots of each schedule
    in it count strictly after `since`."""

    at: int
    generation: int
    since: dict[str, int]


class ClockBack(Fact, frozen=True, tag="clock-back"):
    """From a worker's journal: its clock was accepted at `now`, though it had read later."""

    now: int


class Claimed(Fact, frozen=True, tag="claimed"):
    """From a worker's journal: an attempt was claimed."""

    run: str
    attempt: int
    schedule: str
    slot: int
    at: int


class Ended(Fact, frozen=True, tag="ended"):
    """From a worker's journal: an attempt ended."""

    run: str
    attempt: int
    verdict: str
    final: bool = True


class Decided(Fact, frozen=True, tag="decided"):
    """From a worker's journal: a verdict for slots that did not run."""

    schedule: str
    first: int
    last: int
    count: int
    verdict: str


class Settled(Fact, frozen=True, tag="settled"):
    """From a worker's journal: a verdict for one start that did not run: a follow-up, an order."""

    run: str
    schedule: str
    slot: int
    verdict: str


Told: TypeAlias = Applied | ClockBack | Claimed | Ended | Decided | Settled


class Journal(Fact, frozen=True, tag="journal"):
    """A worker's journal at the end: all state records that it still holds, in order."""

    worker: str
    uid: str
    told: list[Told]
    state_last: int
    state_acknowledged: int
    output_last: int
    output_acknowledged: int
    open_claims: int = 0
    missing: int = 0
    """Records that were gone before anybody saw them: then it is no complete witness."""


class Run(Fact, frozen=True, tag="run"):
    """A row of the server's database."""

    run: str
    attempt: int
    schedule: str
    worker: str
    kind: str
    slot: int
    claimed_at: int
    ended_at: int | None
    verdict: str | None
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    complete: bool = True
    bytes_out: int = 0
    bytes_err: int = 0
    cut_bytes: int = 0


class Range(Fact, frozen=True, tag="range"):
    """A row of the server's database: slots that did not run, or one start that is no slot's."""

    schedule: str
    worker: str
    first: int
    last: int
    count: int
    verdict: str
    reason: str
    decided_at: int
    run: str = ""


class Chunk(Fact, frozen=True, tag="chunk"):
    """A row of the server's database: what an attempt printed, as pieces of (stream, bytes)."""

    run: str
    attempt: int
    number: int
    offset: int
    pieces: list[tuple[int, bytes]]


class Glimpse(Fact, frozen=True, tag="glimpse"):
    """Verdicts that the database had at one moment, by (run, attempt)."""

    at: int
    verdicts: list[tuple[str, int, str]]


class Hold(Fact, frozen=True, tag="hold"):
    """A schedule was paused: on each worker, from one generation until before another."""

    schedule: str
    began: int
    ended: int
    generations: dict[str, tuple[int, int]]


class Order(Fact, frozen=True, tag="order"):
    """A start by hand: what was asked, and the run's id where the server took it."""

    schedule: str
    worker: str
    at: int
    run: str | None


class Cancel(Fact, frozen=True, tag="cancel"):
    """All runs of a schedule were told to end: which these were, None where nobody knows."""

    schedule: str
    began: int
    ended: int
    runs: list[str] | None


class Frame(Fact, frozen=True, tag="frame"):
    """The run as a whole: the seed, what was asked, and the moments between which it counts."""

    seed: str
    asked: int
    began: int
    ended: int
    healed: int
    converged: int | None
    left: list[str] = []
    complaints: list[str] = []


Entry: TypeAlias = (
    Mark
    | Fault
    | Definition
    | Journal
    | Run
    | Range
    | Chunk
    | Glimpse
    | Hold
    | Order
    | Cancel
    | Frame
)


class History(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    frame: Frame
    definitions: list[Definition] = []
    faults: list[Fault] = []
    marks: list[Mark] = []
    journals: list[Journal] = []
    runs: list[Run] = []
    ranges: list[Range] = []
    chunks: list[Chunk] = []
    glimpses: list[Glimpse] = []
    holds: list[Hold] = []
    orders: list[Order] = []
    cancels: list[Cancel] = []

    def entries(self) -> Iterator[Entry]:
        """Everything, one after the other."""
        yield self.frame
        for entries in (
            self.definitions,
            self.faults,
            self.marks,
            self.journals,
            self.runs,
            self.ranges,
            self.chunks,
            self.glimpses,
            self.holds,
            self.orders,
            self.cancels,
        ):
            yield from entries


_FIELDS: Final[dict[type[Entry], str]] = {
    Definition: "definitions",
    Fault: "faults",
    Mark: "marks",
    Journal: "journals",
    Run: "runs",
    Range: "ranges",
    Chunk: "chunks",
    Glimpse: "glimpses",
    Hold: "holds",
    Order: "orders",
    Cancel: "cancels",
}


def write(history: History, file: Path) -> None:
    """Write it to a file, a line of JSON for each entry."""
    encoder = msgspec.json.Encoder()
    with file.open("wb") as out:
        for entry in history.entries():
            out.write(encoder.encode(entry) + b"\n")


def read(file: Path) -> History:
    """Read what `write` wrote."""
    decoder = msgspec.json.Decoder(Entry)
    fields: dict[str, list[Entry]] = {name: [] for name in _FIELDS.values()}
    frame: Frame | None = None
    with file.open("rb") as lines:
        for line in lines:
            entry = decoder.decode(line)
            if isinstance(entry, Frame):
                frame = entry
            else:
                fields[_FIELDS[type(entry)]].append(entry)
    if frame is None:
        raise ValueError(f"{file} has no frame: the run was cut short")
    return History(frame=frame, **fields)  # type: ignore[arg-type]  # each list by its kind
