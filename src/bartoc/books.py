"""What does the worker know, and what is it about to write down?

`Books` are the journal's contents as the worker goes by them; a `Draft` is the next transaction.
What a draft notes counts in the books at once: if it is not committed, the worker is made anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from bartoc.chunker import Chunker, Gaps, Progress, Sealed
from bartoc.events import (
    Answer,
    Commit,
    Committed,
    Effect,
    Forget,
    Key,
    Note,
    Now,
    Offered,
    Recall,
    Taken,
)
from bartoc.journal import (
    Claim,
    JournalState,
    OpenRun,
    StoredSet,
    Transaction,
    WaitingStart,
)
from bartoc.runner import SpawnOrder
from bartoc.starting import RUN_SPEC, Host, RunSpec, Start, shortened
from libbarto.codec import I64, U16, V2, Codec, Extensible, codec
from libbarto.identity import Kind, occurrence_id
from libbarto.message.v2.record import (
    STATE_RECORD,
    Decided,
    Lane,
    OfferRefused,
    Record,
    Verdict,
    Waiting,
)
from libbarto.message.v2.schedule import SCHEDULE, Schedule, ScheduleSet
from libbarto.schedule import Timetable

TOO_OLD: Final = "too old: whether it has run is not remembered that long"


class RunProgress(Extensible):
    """How far a run was reported, over a restart."""

    chunks: Progress = Progress()
    steps_done: U16 = 0
    announced: bool = False
    started_at: I64 | None = None
    fault: str | None = None
    gaps: Gaps = Gaps()


RUN_PROGRESS: Codec[RunProgress] = codec(RunProgress, V2)


@dataclass(slots=True)
class Run:
    """An attempt that is claimed and not over; `spec` is its schedule as it was then.

    `order` is what is to be spawned, until that has been, and `committed` its claim's commit, once
    there is one; it is not spawned before those in `waits_for` are gone. `stopped` says why it was
    told to end, where it was.
    """

    claim: Claim
    origin: RunSpec
    spec: Schedule
    chunker: Chunker
    steps_done: int = 0
    announced: bool = False
    started_at: int | None = None
    fault: str | None = None
    reported_position: int = 0
    order: SpawnOrder | None = None
    committed: Committed | None = None
    waits_for: set[Key] = field(default_factory=set)
    stopped: str = ""

    @property
    def spawned(self) -> bool:
        """Was the runner told of it?"""
        return self.order is None

    @property
    def key(self) -> Key:
        return self.claim.run_id, self.claim.attempt

    def progress(self) -> tuple[int, bytes]:
        """The position up to which all is durable, and what the journal keeps beside it."""
        chunks = self.chunker.progress()
        return chunks.position, RUN_PROGRESS.encode(
            RunProgress(
                chunks=chunks,
                steps_done=self.steps_done,
                announced=self.announced,
                started_at=self.started_at,
                fault=self.fault,
                gaps=self.chunker.gaps(),
            )
        )


def spec_of(origin: RunSpec, uid: bytes) -> Schedule:
    """The schedule that a claim keeps; of an earlier release's claim, what there is of it."""
    if origin.whole:
        return SCHEDULE.decode(origin.whole)
    return Schedule(
        uid=uid,
        name=origin.schedule,
        calendars=[],
        steps=origin.commands,
        output_max=origin.output_max,
    )


class Books:
    """What one worker knows."""

    def __init__(self, state: JournalState, host: Host) -> None:
        self.uid = state.worker_uid
        self.host = host
        self.current: StoredSet | None = state.current_set
        self.newest = state.newest
        self.contact = state.contact
        self.floor = 0
        self.cursors: dict[bytes, int] = {}
        """The last decided slot of each schedule."""
        self.since: dict[bytes, int] = {}
        """The instants after which their slots count."""
        self.waiting = {start.run_id: start for start in state.waiting}
        self.refusals = dict(state.refusals)
        self.verdicts = dict(state.verdicts)
        self.boots = dict(state.boots)
        self.output_seq = state.lanes[Lane.OUTPUT].last if Lane.OUTPUT in state.lanes else 0
        self.runs: dict[Key, Run] = {}
        self.unresumed: dict[Key, OpenRun] = {
            (run.claim.run_id, run.claim.attempt): run for run in state.open_runs
        }
        self.lost: set[Key] = set()
        """Those among them that the runner knows nothing of."""
        self.over: set[Key] = set()
        """Those that the runner holds as over: their ends are about to be told."""
        self.stops: dict[Key, str] = {}
        """Why attempts that have yet to be taken up were told to end."""
        self.ran: dict[bytes, set[int]] = {}
        """Slots beyond their cursors that have a run, by schedule."""
        self.recall(state)
        self.timetables: dict[bytes, Timetable] = {}
        self.followers: dict[bytes, list[Schedule]] = {}
        self.offline_max_us = ScheduleSet(schedules=[]).offline_max_us
        self.offers: list[Offered] = []
        self.notes: list[Note] = []

    @property
    def generation(self) -> int:
        """The version of the set that is in force, 0 for none."""
        return 0 if self.current is None else self.current.generation

    @property
    def offline_from(self) -> int | None:
        """After this instant the set is no longer valid; None before there was any contact."""
        return self.contact + self.offline_max_us if self.contact else None

    def cursor(self, uid: bytes, now: Now) -> int:
        """The last decided slot of a schedule; one without a cursor begins now."""
        return self.cursors.get(uid, now.wall)

    def recall(self, state: JournalState) -> None:
        """Go by the journal's cursors, and by its claims (run, schedule, slot) beyond them: those
        of the calendar count, and their ids tell which these are."""
        self.floor = state.floor
        self.cursors = dict(state.cursors)
        self.since = dict(state.since)
        self.ran = {}
        for run_id, uid, slot in state.ahead:
            if occurrence_id(Kind.CALENDAR, uid, self.uid, slot) == run_id:
                self.ran.setdefault(uid, set()).add(slot)

    def alive(self, uid: bytes, but: bytes = b"") -> dict[Key, int]:
        """The attempts of a schedule that go on here, and their slots; not those of the run
        `but`."""
        return {
            key: run.claim.slot
            for table in (self.runs, self.unresumed)
            for key, run in table.items()
            if run.claim.schedule_uid == uid and key[0] != but
        }

    def is_ending(self, uid: bytes | None = None) -> bool:
        """Is an attempt of a schedule (of any, if none is given) over, and its end not told yet?

        It was found so when the runner was opened; whether it goes on is not judged before.
        """
        if not self.over:
            return False
        followed = (*self.runs, *self.unresumed) if uid is None else self.alive(uid)
        return any(key in self.over for key in followed)

    def waits(self, uid: bytes, why: str) -> list[WaitingStart]:
        """What waits of a schedule for this reason."""
        return [
            start
            for start in self.waiting.values()
            if start.schedule_uid == uid and start.why == why
        ]

    def is_full(self, less: int = 0) -> bool:
        """Do as many attempts go on as may, `less` of them left out?"""
        most = self.host.max_running
        return most is not None and len(self.runs) + len(self.unresumed) - less >= most

    def known(self, waiting: WaitingStart) -> bool:
        """Is it known here what a waiting start is to do?"""
        return bool(waiting.spec) or waiting.schedule_uid in self.timetables

    def start_of(self, waiting: WaitingStart) -> Start:
        """The start that waits, as it would begin now.

        What the set holds counts, so that a mended command is what runs; an order brings its own.
        """
        origin = RunSpec(schedule="", commands=[])
        if waiting.spec:
            origin = RUN_SPEC.decode(waiting.spec)
        timetable = self.timetables.get(waiting.schedule_uid)
        if timetable is None or origin.ordered:
            spec = spec_of(origin, waiting.schedule_uid)
        else:
            spec = timetable.spec
        return Start(
            run_id=waiting.run_id,
            attempt=waiting.attempt,
            kind=Kind(waiting.kind),
            spec=spec,
            slot=waiting.slot,
            cause=waiting.cause,
            offer=origin.offer,
            ordered=origin.ordered,
            retries=origin.retries,
            reruns=origin.reruns,
        )

    def note(self, level: str, message: str, **facts: object) -> None:
        """Something for the log."""
        self.notes.append(Note(level, message, facts))


class Draft:
    """The next transaction, by one reading of the clocks."""

    def __init__(self, books: Books, now: Now) -> None:
        self.books = books
        self.now = now
        self._records: list[Record] = []
        self._claims: list[tuple[Claim, list[bytes]]] = []
        self._places: list[int] = []
        self._too_old: dict[bytes, bytes] = {}
        self._spawns: list[SpawnOrder] = []
        self._cursors: dict[bytes, int] = {}
        self._since: dict[bytes, int] = {}
        self._waiting: dict[bytes, WaitingStart] = {}
        self._unwaiting: dict[bytes, None] = {}
        self._refusals: dict[bytes, int] = {}
        self._verdicts: dict[bytes, int] = {}
        self._boots: dict[bytes, bytes] = {}
        self._sealed = Sealed()
        self._progress: dict[Key, tuple[int, bytes]] = {}
        self._ended: list[Key] = []
        self._set: StoredSet | None = None
        self._newest: int | None = None
        self._then: list[Taken | Forget | Answer | Recall] = []
        self._growing: dict[bytes, int] = {}

    # -- records ----------------------------------------------------------------------------------

    def say(self, record: Record) -> None:
        """A state record."""
        self._records.append(record)

    def passed(
        self, spec: Schedule, first: int, last: int, count: int, verdict: Verdict, reason: str
    ) -> None:
        """The verdict of slots of the calendar, oldest first; a range goes on where the verdict
        does, and nothing of its schedule lies between."""
        reason = shortened(reason)
        place = self._growing.get(spec.uid)
        if place is not None:
            before = self._records[place]
            assert isinstance(before, Decided)
            same = before.verdict == verdict and before.reason == reason
            ran = self.books.ran.get(spec.uid, ())
            if same and not any(before.last_slot < slot < first for slot in ran):
                first, count = before.first_slot, count + before.count
            else:
                place = None
        record = Decided(
            schedule_uid=spec.uid,
            schedule=spec.name,
            first_slot=first,
            last_slot=last,
            count=count,
            verdict=verdict,
            reason=reason,
        )
        if place is None:
            self._growing[spec.uid] = len(self._records)
            self._records.append(record)
        else:
            self._records[place] = record

    def decided(self, start: Start, verdict: Verdict, reason: str) -> None:
        """The verdict of one start that will not be."""
        self.say(start.decided(verdict, reason))
        if not start.of_calendar:
            self.verdict(start)

    def verdict(self, start: Start) -> None:
        """Remember that an occurrence was judged."""
        self._verdicts[start.run_id] = self.books.verdicts[start.run_id] = start.slot

    # -- starts -----------------------------------------------------------------------------------

    def claim(self, start: Start) -> Run:
        """Claim a start; it is spawned when that is committed."""
        books, now = self.books, self.now
        self._growing.pop(start.spec.uid, None)
        claim = start.claim(books.host, now)
        record = STATE_RECORD.encode(start.claimed(books.host, now, books.generation))
        self._claims.append((claim, [record]))
        self._places.append(len(self._records))
        if start.attempt == 1:
            self._too_old[start.run_id] = STATE_RECORD.encode(
                start.decided(Verdict.MISSED, TOO_OLD)
            )
        order = start.order(books.host, now)
        self._spawns.append(order)
        if start.ordered:
            self.verdict(start)
        self.unwait(start.run_id)
        run = Run(
            claim,
            start.run_spec(),
            start.spec,
            Chunker(start.run_id, start.attempt, start.spec.output_max, Progress(), ()),
            order=order,
        )
        books.runs[run.key] = run
        return run

    def wait(
        self,
        start: Start,
        why: str,
        due: int,
        until: int | None,
        spec: bytes = b"",
        at: int | None = None,
    ) -> None:
        """Have a start wait. `spec` is its encoded `RunSpec`, where the set does not tell all;
        `at` since when it waits, where that is not now."""
        self._growing.pop(start.spec.uid, None)
        waiting = WaitingStart(
            run_id=start.run_id,
            attempt=start.attempt,
            kind=start.kind,
            schedule_uid=start.spec.uid,
            slot=start.slot,
            cause=start.cause,
            why=why,
            at=self.now.wall if at is None else at,
            due=due,
            until=until,
            spec=spec or (RUN_SPEC.encode(start.run_spec()) if start.ordered else b""),
        )
        self.put(waiting)
        if start.ordered:
            self.verdict(start)
        self.say(
            Waiting(
                run_id=start.run_id,
                attempt=start.attempt,
                kind=start.kind,
                schedule_uid=start.spec.uid,
                schedule=start.spec.name,
                slot=start.slot,
                cause=start.cause,
                why=why,
                at=waiting.at,
                due=due,
                until=until,
            )
        )

    def put(self, waiting: WaitingStart) -> None:
        """Write a waiting start down as it is, without a record."""
        self._unwaiting.pop(waiting.run_id, None)
        self._waiting[waiting.run_id] = self.books.waiting[waiting.run_id] = waiting

    def unwait(self, run_id: bytes) -> None:
        """It waits no longer."""
        if self.books.waiting.pop(run_id, None) is not None:
            self._unwaiting[run_id] = None

    def refuse(self, run_id: bytes, number: int, reason: str) -> None:
        """Refuse every offer of a run up to this number, for good."""
        highest = max(number, self.books.refusals.get(run_id, 0))
        self._refusals[run_id] = self.books.refusals[run_id] = highest
        self.say(OfferRefused(run_id=run_id, number=highest, reason=shortened(reason)))

    # -- the rest ---------------------------------------------------------------------------------

    def cursor(self, uid: bytes, slot: int) -> None:
        """The last decided slot of a schedule; never below the floor."""
        slot = max(slot, self.books.floor)
        self._cursors[uid] = self.books.cursors[uid] = slot
        ran = self.books.ran.get(uid)
        if ran is not None:
            self.books.ran[uid] = {one for one in ran if one > slot}

    def since(self, uid: bytes, instant: int) -> None:
        """After this instant a schedule's slots count."""
        instant = max(instant, self.books.floor)
        self._since[uid] = self.books.since[uid] = instant

    def boot(self, uid: bytes) -> None:
        """A schedule has had its start of this boot."""
        self._boots[uid] = self.books.boots[uid] = self.books.host.boot_id

    def take_set(self, stored: StoredSet) -> None:
        """This set is in force."""
        self._set = self.books.current = stored

    def newest(self, wall: int) -> None:
        """The newest reading of the clock that was gone by."""
        self._newest = self.books.newest = wall

    def output(self, sealed: Sealed) -> None:
        """What was sealed of output."""
        self.books.output_seq += sealed.count
        self._sealed.records += sealed.records
        self._sealed.hold += sealed.hold
        self._sealed.release += sealed.release

    def progress(self, run: Run) -> None:
        """How far a run was reported."""
        self._progress[run.key] = run.progress()

    def ended(self, key: Key) -> None:
        """An attempt is over."""
        self._ended.append(key)

    def then(self, effect: Taken | Forget | Answer | Recall) -> None:
        """This is to come about once all is committed."""
        self._then.append(effect)

    def __bool__(self) -> bool:
        """Is there anything to write down?"""
        return bool(
            self._records
            or self._claims
            or self._cursors
            or self._waiting
            or self._unwaiting
            or self._boots
            or self._set
            or self._sealed
            or self._progress
            or self._ended
        )

    def effects(self) -> Iterator[Effect]:
        """The commit, where there is anything to write down; what is to come about then, else."""
        transaction = Transaction(
            claims=self._claims,
            places=self._places,
            too_old=self._too_old,
            state=[STATE_RECORD.encode(record) for record in self._records],
            output=self._sealed.records,
            cursors=self._cursors,
            since=self._since,
            waiting=list(self._waiting.values()),
            unwaiting=list(self._unwaiting),
            refusals=self._refusals,
            verdicts=self._verdicts,
            boots=self._boots,
            new_set=self._set,
            ended=self._ended,
            progress=self._progress,
            hold=self._sealed.hold,
            release=self._sealed.release,
            newest=self._newest,
        )
        if self:
            yield Commit(transaction, tuple(self._spawns), tuple(self._then))
        else:
            yield from self._then
