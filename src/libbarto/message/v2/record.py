"""Records: what a worker reports, each once, in order, kept until the server has committed it.

State records tell what was decided and how it ended; output records carry what commands printed.
The two travel in lanes of their own, so that a verdict never waits behind a gigabyte.
"""

from __future__ import annotations

import enum
from typing import Annotated, TypeAlias

from libbarto.codec import (
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    V2,
    Codec,
    Extensible,
    Id,
    Unknown,
    Variants,
    codec,
)


class Lane(enum.IntEnum):
    """The two streams of records of a worker, each with its own gapless numbers from 1."""

    STATE = 0
    OUTPUT = 1


class Verdict(enum.IntEnum):
    """What became of a planned start (DESIGN section 2)."""

    OK = 0
    FAILED = 1
    TIMED_OUT = 2
    CANCELLED = 3
    SKIPPED = 4
    MISSED = 5
    INTERRUPTED = 6
    LOST = 7

    @property
    def word(self) -> str:
        """The verdict as people read it: `timed_out`, `ok`."""
        return self.name.lower()


class Stream(enum.IntEnum):
    """Which of a command's streams a piece of output came from; MARKER is barto's own word."""

    STDOUT = 1
    STDERR = 2
    MARKER = 3


class SetApplied(Extensible):
    """The worker took on the set `generation` at `at`: its slots count strictly after that.

    `schedules` are those in the set; `timings[i]` tells when `schedules[i]` is due, as the hash of
    its trigger (`libbarto.timing.timing_hash`), so that its slots can be counted without asking.
    `since[i]` is the instant after which its slots count: `at`, or an earlier one where the
    schedule was in the set before with the same trigger.
    """

    generation: U64
    at: I64
    schedules: list[Id] = []
    timings: list[bytes] = []
    since: list[I64] = []


class Claimed(Extensible):
    """An attempt at an occurrence was claimed, and is about to start.

    `kind` is `identity.Kind`; `slot`, `at` and `late_us` are microseconds; `cause` as in the id.
    """

    run_id: Id
    attempt: U16
    kind: U8
    schedule_uid: Id
    schedule: str
    slot: I64
    at: I64
    late_us: U64 = 0
    generation: U64 = 0
    cause: bytes = b""
    boot_id: Id = bytes(16)
    clock_offset_us: I64 | None = None
    offer: U64 = 0
    """The number of the offer that this claim takes up, 0 where the worker decided by itself."""


class Waiting(Extensible):
    """An attempt is to start later, and is not claimed yet: it has no verdict so far.

    `why` is `catch_up`, `queue`, `worker_full`, `retry` or `follow`; `due` the earliest instant of
    its start, `until` the last, where there is one. `attempt` is above 1 for a retry.
    """

    run_id: Id
    attempt: U16 = 1
    kind: U8
    schedule_uid: Id
    schedule: str
    slot: I64
    cause: bytes = b""
    why: str
    at: I64
    due: I64
    until: I64 | None = None


class OfferRefused(Extensible):
    """Every offer of this start up to `number` is refused, for good: it was not claimed here, and
    will not be under any of these numbers."""

    run_id: Id
    number: U64
    reason: str = ""


class Notice(Extensible):
    """Something about the worker that an operator should know: `kind` is a stable word."""

    kind: str
    at: I64
    text: str


class Status(Extensible):
    """A step of an attempt ended: exactly how.

    `exit_code` and `signal` are as the host reports them, at most one of them is set; neither
    where the command could not be started or its end was not seen, and then `reason` says why.
    """

    run_id: Id
    attempt: U16
    step: U16
    command: str
    exit_code: I32 | None = None
    signal: I32 | None = None
    success: bool = False
    started_at: I64 | None = None
    ended_at: I64
    reason: str | None = None


class StreamTotals(Extensible):
    """All that a run printed to one stream, also what was cut: how much, and its SHA-256."""

    stream: U8
    bytes_: U64
    lines: U64
    sha256: bytes = b""


class Ended(Extensible):
    """An attempt ended with a verdict. `reason` is for people, empty where the verdict says all.

    `output_seq` is the number of the attempt's last record in the output lane (0 for none): its
    output is complete when that lane is committed so far. `cut_bytes` is what `output_max` left
    out. `final` is False where another attempt follows.
    """

    run_id: Id
    attempt: U16
    verdict: U8
    reason: str = ""
    started_at: I64 | None = None
    ended_at: I64
    output_seq: U64 = 0
    totals: list[StreamTotals] = []
    cut_bytes: U64 = 0
    final: bool = True


class Decided(Extensible):
    """A verdict for `count` slots of a schedule, none of which ran; both ends belong to it."""

    schedule_uid: Id
    schedule: str
    first_slot: I64
    last_slot: I64
    count: U64
    verdict: U8
    reason: str = ""
    run_id: Id | None = None
    kind: U8 = 0
    cause: bytes = b""
    """With `run_id`: this one occurrence, a follow-up or an order; else slots of the calendar."""


class Started(Extensible):
    """The first command of an attempt runs now: its process id on the worker."""

    run_id: Id
    attempt: U16
    pid: U64
    at: I64


class ClockBack(Extensible):
    """The host's clock was accepted at `now` though it had read later before."""

    now: I64


StateRecord = Annotated[
    SetApplied
    | Claimed
    | Started
    | Status
    | Ended
    | Decided
    | ClockBack
    | Waiting
    | OfferRefused
    | Notice,
    Variants(extensible=True),
]


class Output(Extensible):
    """A chunk of what a run printed: the very bytes, both streams in the order of arrival.

    `offset` counts bytes of the attempt before this chunk, `first_line` its line breaks before;
    `lines` are those within. `segments` are the pieces that make up `data`, see `Segment`.
    """

    run_id: Id
    attempt: U16
    chunk_no: U32
    step: U16
    offset: U64
    first_line: U64
    lines: U32
    started_at: I64
    segments: bytes
    data: bytes


class Cut(Extensible):
    """`output_max` was exceeded: what lies between head and tail is left out.

    Bytes from `from_offset` up to `to_offset` are to be dropped from what was sent before; the
    chunk that straddles `to_offset`, if any, loses its beginning. The chunk number `chunk_no` was
    kept free for the marker that says so. `lines` are the line breaks left out, or None where
    `to_offset` lies within chunks that were sent: then whoever stores them counts, from the
    `first_line` of what remains. `reason` is empty where `output_max` is the cause, else says
    what was: output that was lost on the worker is marked in the same way.
    """

    run_id: Id
    attempt: U16
    chunk_no: U32
    step: U16
    from_offset: U64
    to_offset: U64
    first_line: U64
    lines: U64 | None = None
    at: I64
    reason: str = ""


OutputRecord = Annotated[Output | Cut, Variants(extensible=True)]

Record: TypeAlias = (
    SetApplied
    | Claimed
    | Started
    | Status
    | Ended
    | Decided
    | ClockBack
    | Waiting
    | OfferRefused
    | Notice
    | Output
    | Cut
)
"""Any record, of either lane."""

STATE_RECORD: Codec[Record | Unknown] = codec(StateRecord, V2)
OUTPUT_RECORD: Codec[Record | Unknown] = codec(OutputRecord, V2)
