"""What does the API's JSON look like? A model for each thing, made from the store's rows.

Instants are RFC 3339 in UTC, ids are UUIDs in lower case, durations are seconds.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, Field

from bartos.services import Connected
from bartos.store.orders import DrainRow
from bartos.store.port import RunRow, ScheduleRow, SlotRange, StepRow, WorkerRow
from bartos.transcript import Piece
from libbarto.identity import Kind, uuid_text

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def moment(instant: int) -> datetime:
    """Microseconds since 1970 as a time in UTC; what lies outside of years 1 to 9999 is cut to it.

    >>> moment(1_000_000).isoformat()
    '1970-01-01T00:00:01+00:00'
    """
    try:
        return EPOCH + timedelta(microseconds=instant)
    except OverflowError:
        return LAST if instant > 0 else FIRST


def maybe(instant: int | None) -> datetime | None:
    """`moment`, where there is one."""
    return None if instant is None else moment(instant)


def instant_of(time: datetime) -> int:
    """Microseconds since 1970 of a time that knows its zone."""
    return (time - EPOCH) // timedelta(microseconds=1)


class Run(BaseModel):
    """A run: one planned start, or one by hand, that was claimed. `verdict` is null as it runs."""

    id: str
    attempt: int
    schedule: str
    worker: str
    kind: str
    slot: datetime
    claimed: datetime
    started: datetime | None
    ended: datetime | None
    seconds: float | None = Field(description="from start to end")
    late_seconds: float
    verdict: str | None
    reason: str
    exit_code: int | None
    signal: int | None
    complete: bool = Field(description="it has ended and all that it printed is here")
    stdout_bytes: int
    stderr_bytes: int
    cut_bytes: int = Field(description="output left out because of output_max")
    cut_lines: int
    missing_bytes: int = Field(
        description="output that will never come: it had no room on the worker, or was lost there"
    )
    version: int = Field(description="of the set of schedules that the worker went by")
    stuck: str | None = Field(default=None, description="why it seems to hang, if it does")

    @classmethod
    def of(cls, row: RunRow, stuck: str | None = None) -> Run:
        """The model of a row."""
        return cls(
            id=uuid_text(row.run_id),
            attempt=row.attempt,
            schedule=row.schedule,
            worker=row.worker,
            kind=_kind(row.kind),
            slot=moment(row.slot),
            claimed=moment(row.claimed_at),
            started=maybe(row.started_at),
            ended=maybe(row.ended_at),
            seconds=_between(row.started_at, row.ended_at),
            late_seconds=row.late_us / 1e6,
            verdict=None if row.verdict is None else row.verdict.word,
            reason=row.reason,
            exit_code=row.exit_code,
            signal=row.signal,
            complete=row.complete,
            stdout_bytes=row.bytes_out,
            stderr_bytes=row.bytes_err,
            cut_bytes=row.cut_bytes,
            cut_lines=row.cut_lines,
            missing_bytes=row.missing_bytes,
            version=row.generation,
            stuck=stuck,
        )


class Step(BaseModel):
    """A command of an attempt, and exactly how it ended."""

    attempt: int
    step: int
    command: str
    exit_code: int | None
    signal: int | None
    success: bool
    started: datetime | None
    ended: datetime
    seconds: float | None
    reason: str | None

    @classmethod
    def of(cls, row: StepRow) -> Step:
        """The model of a row."""
        return cls(
            attempt=row.attempt,
            step=row.step,
            command=row.command,
            exit_code=row.exit_code,
            signal=row.signal,
            success=row.success,
            started=maybe(row.started_at),
            ended=moment(row.ended_at),
            seconds=_between(row.started_at, row.ended_at),
            reason=row.reason,
        )


class RunWithSteps(Run):
    """A run with the steps of its last attempt, and those of the ones before."""

    steps: list[Step]
    earlier: list[Step] = Field(default=[], description="of the attempts before the last one")


class Runs(BaseModel):
    """A page of runs, newest planned start first; `next` is the cursor of the next page."""

    runs: list[Run]
    next: str | None


class Range(BaseModel):
    """Planned starts that did not run, and why: `count` of them, from `first` to `last`."""

    schedule: str
    worker: str
    first: datetime
    last: datetime
    count: int
    verdict: str
    reason: str
    decided: datetime

    @classmethod
    def of(cls, row: SlotRange) -> Range:
        """The model of a row."""
        return cls(
            schedule=row.schedule,
            worker=row.worker,
            first=moment(row.first_slot),
            last=moment(row.last_slot),
            count=row.count,
            verdict=row.verdict.word,
            reason=row.reason,
            decided=moment(row.decided_at),
        )


class Ranges(BaseModel):
    """A page of planned starts that did not run, newest first; `next` is the cursor of the next
    one."""

    ranges: list[Range]
    next: str | None = None


class Segment(BaseModel):
    """A piece of output: `text`, or `base64` where the bytes are no UTF-8."""

    chunk: int
    step: int
    stream: str
    at: datetime
    text: str | None = None
    base64: str | None = None

    @classmethod
    def of(cls, piece: Piece) -> Segment:
        """The model of a piece."""
        segment = cls(
            chunk=piece.chunk_no,
            step=piece.step,
            stream=piece.stream.name.lower(),
            at=moment(piece.at),
        )
        try:
            segment.text = piece.data.decode()
        except UnicodeDecodeError:
            segment.base64 = base64.b64encode(piece.data).decode()
        return segment


class Output(BaseModel):
    """Pieces of a run's output in order; `next` is what to give as `after` for more, null where
    nothing more is here now. `complete` says that nothing more will come."""

    run: str
    attempt: int
    segments: list[Segment]
    next: int | None
    running: bool
    complete: bool
    cut_bytes: int
    cut_lines: int


class Drained(BaseModel):
    """A worker that is to start nothing: who said so, when, why, and until when."""

    who: str
    at: datetime
    until: datetime | None = Field(description="null where it is so until it is undrained")
    reason: str

    @classmethod
    def of(cls, row: DrainRow) -> Drained:
        """The model of a row."""
        return cls(who=row.who, at=moment(row.at), until=maybe(row.until), reason=row.reason)


class Worker(BaseModel):
    """A worker that the server knows. `os`, `arch` and `host` are the worker's own word."""

    name: str
    uid: str
    connected: bool
    since: datetime | None = Field(description="connected since")
    address: str
    last_seen: datetime
    first_seen: datetime
    version: str
    labels: dict[str, str]
    facts: dict[str, str] = Field(description="what the worker says of its host")
    clock_offset_seconds: float | None
    generation: int
    alarm: str = Field(description="why its state directory was refused; empty where it was not")
    drained: Drained | None = Field(
        default=None, description="why it starts nothing; null where it does"
    )

    @classmethod
    def of(
        cls,
        row: WorkerRow,
        link: Connected | None,
        alarm: str = "",
        drain: DrainRow | None = None,
    ) -> Worker:
        """The model of a row, of its connection where there is one, and of its drain."""
        offset = None if link is None else link.clock_offset_us
        return cls(
            name=row.name,
            uid=uuid_text(row.uid),
            connected=link is not None,
            since=None if link is None else moment(link.since),
            address=row.address if link is None else link.address,
            last_seen=moment(row.last_seen),
            first_seen=moment(row.first_seen),
            version=row.version if link is None else link.version,
            labels=dict(row.labels),
            facts=dict(row.capabilities),
            clock_offset_seconds=None if offset is None else offset / 1e6,
            generation=row.generation,
            alarm=alarm,
            drained=None if drain is None else Drained.of(drain),
        )


class Schedule(BaseModel):
    """A schedule in force; `definition` has its keys as configured."""

    name: str
    uid: str
    enabled: bool
    version: int
    updated: datetime
    definition: dict[str, Any]

    @classmethod
    def of(cls, row: ScheduleRow) -> Schedule:
        """The model of a row."""
        return cls(
            name=row.name,
            uid=uuid_text(row.uid),
            enabled=row.enabled,
            version=row.version,
            updated=moment(row.updated_at),
            definition=json.loads(row.definition),
        )


class Health(BaseModel):
    """The process lives."""

    status: str = "ok"


class Readiness(BaseModel):
    """Whether the server does its work now, and what stands in its way."""

    ready: bool
    store: str
    configuration: str
    late: int = Field(description="planned starts that a connected worker is behind with")
    unknown: int = Field(description="planned starts of workers that are away")
    stuck: int = Field(description="runs that seem to hang")
    idle: int = Field(description="schedules that match no worker")
    alerts: str = Field(description="`off`, `ok`, or by which channels none can be delivered")


class JoinRequest(BaseModel):
    """A host that wants to become a worker."""

    secret: str = Field(min_length=1, max_length=4096)


class JoinAnswer(BaseModel):
    """What the host's bartoc.toml needs."""

    name: str
    host: str
    port: int
    ca_cert: str = Field(description="PEM")
    api_key: str
    server_public_key: str
    labels: dict[str, str]


def _between(begin: int | None, end: int | None) -> float | None:
    return None if begin is None or end is None else (end - begin) / 1e6


def _kind(number: int) -> str:
    try:
        return Kind(number).name.lower()
    except ValueError:
        return f"kind {number}"
