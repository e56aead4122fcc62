"""What became of every planned start, over HTTP: all verdicts in one list, and the proof that
none is missing.

What is late, unknown or waiting has no verdict: it is found as it is asked for.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from bartos import audit
from bartos.api.actions import User
from bartos.api.asked import AnyWords, Flag, Time
from bartos.api.given import Given, NamedRun
from bartos.api.models import instant_of, maybe, moment
from bartos.api.output import CHUNKS
from bartos.api.problems import Problem
from bartos.api.runs import PAGE_MAX
from bartos.checksum import Checker, OutputCheck
from bartos.nearest import nearest
from bartos.services import Services
from bartos.store.orders import IntentRow
from bartos.store.port import RangeKey, RunFilter, RunRow, SlotRange, WaitingRow
from libbarto.identity import uuid_text
from libbarto.message.v2.record import Verdict

FINDINGS_MAX = 1000
"""Faults that are listed in one answer; all of them are counted."""
NOW_MAX = 1000
"""What has no verdict yet, in one answer."""
ORDERS_MAX = 100
"""Starts without a run that are looked at."""
WORDS = {verdict.word: verdict for verdict in Verdict}
NOW_WORDS = ("running", "late", "unknown", "waiting")

_CURSOR = struct.Struct(">Bq16sq16s16sq16s")
_PAIR = struct.Struct(">16s16s")

router = APIRouter(prefix="/api/v1", tags=["ledger"])

T = TypeVar("T")


# -- what is told ---------------------------------------------------------------------------------


class Start(BaseModel):
    """What became of a planned start, or of `count` of them from `first` to `last`.

    `verdict` is one of the verdicts, or `running`, `waiting`, `late`, `unknown`. `run` is the id of
    the run, where there is one; `stuck` says why it seems to hang.
    """

    schedule: str
    worker: str
    first: datetime
    last: datetime
    count: int
    verdict: str
    reason: str
    run: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    stuck: str | None = None


class Starts(BaseModel):
    """A page of planned starts, the newest first. What has no verdict yet is on the first page, in
    addition; `next` is the cursor of the next one."""

    starts: list[Start]
    next: str | None


class Count(BaseModel):
    """So many planned starts have this verdict, for this reason (in short)."""

    verdict: str
    reason: str
    count: int


class Fault(BaseModel):
    """Something is wrong with the history: a hole, an overlap, a start that is there twice, a
    wrong count, a run that was not planned, or a trigger that is not known."""

    fault: str
    schedule: str
    worker: str
    first: datetime
    last: datetime
    count: int
    text: str


class Proof(BaseModel):
    """What a page of the history proves. `pairs` counts schedules on workers, `ordered` the starts
    of the server; where `next` is given, there are more."""

    pairs: int
    ordered: int
    counts: list[Count]
    faults: list[Fault]
    faults_total: int = Field(description="all of this page, also those that are not listed")
    next: str | None


class StuckRun(BaseModel):
    """A run that seems to hang, and why."""

    run: str
    schedule: str
    worker: str
    since: datetime
    why: str


class IdleSchedule(BaseModel):
    """A schedule that matches no worker; `near` is a known name that may have been meant."""

    schedule: str
    workers: str
    near: str | None


class Outlook(BaseModel):
    """How things stand now."""

    late: int = Field(description="planned starts that a connected worker is behind with")
    unknown: int = Field(description="planned starts of workers that are away")
    stuck: list[StuckRun]
    idle: list[IdleSchedule]


class GiveUpAsked(BaseModel):
    """Planned starts to be given up: of a schedule, of a worker, or both."""

    schedule: str | None = Field(default=None, min_length=1, max_length=255)
    worker: str | None = Field(default=None, min_length=1, max_length=255)
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"schedule": "backup", "dry_run": True}],
            "anyOf": [
                {"required": ["schedule"], "properties": {"schedule": {"type": "string"}}},
                {"required": ["worker"], "properties": {"worker": {"type": "string"}}},
            ],
        },
    )
    since: Time | None = None
    until: Time | None = None
    dry_run: Flag = Field(default=False, description="only say what would be given up")


class GaveUp(BaseModel):
    """What is lost from now on, or would be: `count` planned starts."""

    count: int
    starts: list[Start]


class StreamCheck(BaseModel):
    """A stream: bytes that were printed, bytes that are here, and whether both have the same
    SHA-256; null where that cannot be told."""

    stream: str
    printed_bytes: int
    stored_bytes: int
    same: bool | None


class RunCheck(BaseModel):
    """Whether the output that is stored of a run is what it printed."""

    run: str
    whole: bool
    cut_bytes: int
    missing_bytes: int
    streams: list[StreamCheck]

    @classmethod
    def of(cls, run: RunRow, found: OutputCheck) -> RunCheck:
        """The model of a check."""
        return cls(
            run=uuid_text(run.run_id),
            whole=found.whole,
            cut_bytes=found.cut,
            missing_bytes=found.missing,
            streams=[
                StreamCheck(
                    stream=one.stream.name.lower(),
                    printed_bytes=one.printed,
                    stored_bytes=one.stored,
                    same=one.same,
                )
                for one in found.streams
            ],
        )


# -- all verdicts ---------------------------------------------------------------------------------


@router.get("/verdicts", responses={400: {}, 404: {}})
async def verdicts(
    given: Given,
    worker: str | None = None,
    schedule: str | None = None,
    verdict: AnyWords = None,
    since: Time | None = None,
    until: Time | None = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
    cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
) -> Starts:
    """Every planned start and every start by hand, with what became of it: runs, and those that did
    not run, and those that have no verdict yet. The newest first."""
    words = _words(verdict)
    before_run, before_range = (None, None) if cursor is None else read_cursor(cursor)
    wanted = RunFilter(
        worker=worker,
        schedule=schedule,
        since=None if since is None else instant_of(since),
        until=None if until is None else instant_of(until),
        before=before_run,
        before_range=before_range,
        limit=limit,
    )
    stuck = {one.run.run_id: one.why for one in (await given.watch.recent()).stuck}
    runs = await _runs(given, wanted, words)
    ranges = await _ranges(given, wanted, words)
    both: list[RunRow | SlotRange] = [*runs, *ranges]
    both.sort(key=_last, reverse=True)  # stable: runs stay among runs as they are
    taken = both[:limit]
    told = [_start(row, stuck) for row in taken]
    following = None
    if len(runs) == limit or len(ranges) == limit or len(both) > limit:
        ran = [row for row in taken if isinstance(row, RunRow)]
        not_run = [row for row in taken if isinstance(row, SlotRange)]
        following = write_cursor(
            (ran[-1].slot, ran[-1].run_id) if ran else before_run,
            not_run[-1].key if not_run else before_range,
        )
    if cursor is None:
        told += await _now(given, wanted, words)
        told.sort(key=lambda one: one.last, reverse=True)
    return Starts(starts=told, next=following)


def _last(row: RunRow | SlotRange) -> int:
    return row.slot if isinstance(row, RunRow) else row.last_slot


def _words(given: list[str] | None) -> frozenset[str]:
    """The words asked for; none means all. Raises `Problem` for one that is none."""
    known = (*WORDS, *NOW_WORDS)
    for word in given or ():
        if word not in known:
            near = nearest(word, known)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
            raise Problem(HTTPStatus.BAD_REQUEST, f'"{word}" is not a verdict; {hint}')
    return frozenset(given or known)


def _changed(wanted: RunFilter, **changes: object) -> RunFilter:
    fields = {name: getattr(wanted, name) for name in wanted.__slots__}
    return RunFilter(**{**fields, **changes})


async def _runs(given: Services, wanted: RunFilter, words: frozenset[str]) -> list[RunRow]:
    """Runs with one of these words; those that run have none of the verdicts."""
    chosen = frozenset(WORDS[word] for word in words if word in WORDS)
    rows: list[RunRow] = []
    if len(chosen) == len(WORDS) and "running" in words:
        return await given.store.runs(wanted)
    if chosen:
        rows += await given.store.runs(_changed(wanted, verdicts=chosen))
    if "running" in words:
        rows += await given.store.runs(_changed(wanted, running=True))
    rows.sort(key=lambda row: (row.slot, row.run_id), reverse=True)
    return rows[: wanted.limit]


async def _ranges(given: Services, wanted: RunFilter, words: frozenset[str]) -> list[SlotRange]:
    chosen = frozenset(WORDS[word] for word in words if word in WORDS)
    return await given.store.ranges(_changed(wanted, verdicts=chosen)) if chosen else []


def _start(row: RunRow | SlotRange, stuck: dict[bytes, str]) -> Start:
    if isinstance(row, SlotRange):
        return Start(
            schedule=row.schedule,
            worker=row.worker,
            first=moment(row.first_slot),
            last=moment(row.last_slot),
            count=row.count,
            verdict=row.verdict.word,
            reason=row.reason,
            run=None if row.run_id is None else uuid_text(row.run_id),
        )
    return Start(
        schedule=row.schedule,
        worker=row.worker,
        first=moment(row.slot),
        last=moment(row.slot),
        count=1,
        verdict="running" if row.verdict is None else row.verdict.word,
        reason=row.reason,
        run=uuid_text(row.run_id),
        started=maybe(row.started_at),
        ended=maybe(row.ended_at),
        stuck=stuck.get(row.run_id),
    )


async def _now(given: Services, wanted: RunFilter, words: frozenset[str]) -> list[Start]:
    """What has no verdict: waiting, late, unknown."""
    told: list[Start] = []
    if "waiting" in words:
        told += [_waiting(row) for row in await given.store.waiting()]
        told += [_ordered(order.intent) for order in await given.actions.waiting(ORDERS_MAX)]
    if words & {"late", "unknown"}:
        names = {row.uid: row.name for row in await given.store.workers()}
        schedules = await given.store.schedule_words()
        told += [
            Start(
                schedule=schedules.get(one.schedule_uid, one.schedule_uid.hex()),
                worker=names.get(one.worker_uid, one.worker_uid.hex()),
                first=moment(one.first),
                last=moment(one.last),
                count=one.count,
                verdict=one.word,
                reason=one.reason,
            )
            for one in (await given.watch.look()).undecided
            if one.word in words
        ]
    return [one for one in told if _is_wanted(one, wanted)][:NOW_MAX]


def _waiting(row: WaitingRow) -> Start:
    return Start(
        schedule=row.schedule,
        worker=row.worker,
        first=moment(row.slot),
        last=moment(row.slot),
        count=1,
        verdict="waiting",
        reason=row.why,
        run=uuid_text(row.run_id),
    )


def _ordered(intent: IntentRow) -> Start:
    """A start that its worker has not claimed yet: it may be away."""
    return Start(
        schedule=intent.schedule,
        worker=intent.worker,
        first=moment(intent.slot),
        last=moment(intent.slot),
        count=1,
        verdict="waiting",
        reason=f"for {intent.worker or 'a worker'} to take it",
        run=uuid_text(intent.run_id),
    )


def _is_wanted(one: Start, wanted: RunFilter) -> bool:
    return (
        (wanted.worker is None or one.worker == wanted.worker)
        and (
            wanted.schedule is None
            or wanted.schedule in {one.schedule, one.schedule.rpartition("/")[2]}
        )
        and (wanted.since is None or instant_of(one.last) >= wanted.since)
        and (wanted.until is None or instant_of(one.first) < wanted.until)
    )


def write_cursor(run: tuple[int, bytes] | None, range_: RangeKey | None) -> str:
    """Where a page ended among runs and among ranges, as text that means nothing to others."""
    has = (run is not None) + 2 * (range_ is not None)
    packed = _CURSOR.pack(has, *(run or (0, b"")), *(range_ or (0, b"", b"", 0, b"")))
    return base64.urlsafe_b64encode(packed).decode()


def read_cursor(text: str) -> tuple[tuple[int, bytes] | None, RangeKey | None]:
    """What `write_cursor` wrote. Raises `Problem` for anything else."""
    has, slot, run_id, *key = _read(text, _CURSOR)
    last, worker, schedule, first, own = key
    return (
        (slot, run_id) if has & 1 else None,
        (last, worker, schedule, first, own) if has & 2 else None,
    )


def _read(text: str, form: struct.Struct) -> tuple[Any, ...]:
    try:
        return form.unpack(base64.b64decode(text, altchars=b"-_", validate=True))
    except (binascii.Error, struct.error, ValueError) as error:
        raise Problem(HTTPStatus.NOT_FOUND, "that cursor is none of ours") from error


# -- the proof ------------------------------------------------------------------------------------


@router.get("/verify", responses={400: {}, 404: {}})
async def verify(
    given: Given,
    worker: str | None = None,
    schedule: str | None = None,
    since: Time | None = None,
    until: Time | None = None,
    cursor: Annotated[str | None, Query(description="`next` of the answer before")] = None,
) -> Proof:
    """Prove that every planned start has exactly one line: for each schedule on each worker, runs
    and what did not run cover all of its planned starts, once each. What the server was to start
    itself (`pick = "one"`, follow-ups that leave their worker, orders by hand) is open or has one
    line as well; eight days after its end it is not looked at any more.

    An answer covers as much as can be read in a moment; `next` says where to go on.
    """
    asked = await _asked(given, worker, schedule, since, until)
    after: audit.Pair | None = None
    if cursor is not None:
        after = _pair(cursor)
    page = await given.audit.page(asked, after)
    names = {row.uid: row.name for row in await given.store.workers()}
    words = await given.store.schedule_words()
    findings = page.account.findings
    return Proof(
        pairs=page.pairs,
        ordered=page.ordered,
        counts=[
            Count(verdict=word, reason=reason, count=count)
            for (word, reason), count in sorted(page.account.counts.items())
        ],
        faults=[
            Fault(
                fault=one.fault.value,
                schedule=words.get(one.schedule_uid, one.schedule_uid.hex()),
                worker=names.get(one.worker_uid, one.worker_uid.hex()),
                first=moment(one.first),
                last=moment(one.last),
                count=one.count,
                text=one.text,
            )
            for one in findings[:FINDINGS_MAX]
        ],
        faults_total=len(findings),
        next=None
        if page.next is None
        else base64.urlsafe_b64encode(_PAIR.pack(*page.next)).decode(),
    )


def _pair(cursor: str) -> audit.Pair:
    worker, schedule = _read(cursor, _PAIR)
    return worker, schedule


async def _asked(
    given: Services,
    worker: str | None,
    schedule: str | None,
    since: datetime | None,
    until: datetime | None,
) -> audit.Asked:
    """Names as uids. Raises `Problem` for a name that nobody bears."""
    workers: frozenset[bytes] | None = None
    if worker is not None:
        rows = await given.store.workers()
        workers = _named(worker, rows, lambda row: row.name, lambda row: row.uid, "worker")
    schedules: frozenset[bytes] | None = None
    if schedule is not None:
        words = list((await given.store.schedule_words()).items())
        schedules = _named(schedule, words, lambda one: one[1], lambda one: one[0], "schedule")
    return audit.Asked(
        workers=workers,
        schedules=schedules,
        since=None if since is None else instant_of(since),
        until=None if until is None else instant_of(until),
    )


def _named(
    wanted: str,
    known: Sequence[T],
    name: Callable[[T], str],
    uid: Callable[[T], bytes],
    what: str,
) -> frozenset[bytes]:
    found = [one for one in known if name(one) == wanted]
    found = found or [one for one in known if name(one).rpartition("/")[2] == wanted]
    if not found:
        near = nearest(wanted, [name(one) for one in known])
        hint = f"; did you mean {near}?" if near else ""
        raise Problem(HTTPStatus.NOT_FOUND, f'no {what} is named "{wanted}"{hint}')
    return frozenset(map(uid, found))


@router.get("/runs/{run}/check")
async def check(given: Given, run: NamedRun) -> RunCheck:
    """Read all that is stored of a run's output, and compare its bytes and SHA-256 with what the
    worker said at the run's end."""
    checker = Checker()
    after = -1
    while chunks := await given.store.chunks(run.run_id, run.attempt, after, CHUNKS):
        checker.feed(chunks)
        after = chunks[-1].chunk_no
    return RunCheck.of(run, checker.finish(run))


# -- how things stand -----------------------------------------------------------------------------


@router.get("/outlook")
async def outlook(given: Given) -> Outlook:
    """What is late, unknown, stuck or idle now."""
    found = await given.watch.look()
    return Outlook(
        late=found.count("late"),
        unknown=found.count("unknown"),
        stuck=[
            StuckRun(
                run=uuid_text(one.run.run_id),
                schedule=one.run.schedule,
                worker=one.run.worker,
                since=moment(one.run.claimed_at),
                why=one.why,
            )
            for one in found.stuck
        ],
        idle=[
            IdleSchedule(schedule=one.schedule, workers=one.workers, near=one.near)
            for one in found.idle
        ],
    )


@router.post("/give-up", responses={400: {}, 404: {}})
async def give_up(given: Given, asked: GiveUpAsked, who: User) -> GaveUp:
    """Count planned starts as lost that are unknown, because their worker is away and will not tell
    of them. What it tells after all takes their place."""
    if asked.schedule is None and asked.worker is None:
        raise Problem(HTTPStatus.BAD_REQUEST, "say of which schedule, or of which worker")
    meant = await _asked(given, asked.worker, asked.schedule, asked.since, asked.until)
    found = await given.audit.give_up(meant, who=who, dry_run=asked.dry_run)
    told = [
        *(_start(row, {}) for row in found.ranges),
        *(_start(row, {}) for row in found.runs),
        *(_waiting(row) for row in found.waiting),
    ]
    return GaveUp(count=found.count, starts=told[:FINDINGS_MAX])
