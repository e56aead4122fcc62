"""The worker's decisions: what is due, what starts, what is reported. No I/O, no clock of its own.

Events go in with the time, effects come out; the shell (`agent`) carries them out and answers.
The one rule that all else serves: a command is spawned only in answer to a claim that the journal
has committed (DESIGN section 4).

    Tick ──► Commit(claims, cursors, records) ──► journal ──► Committed ──► Spawn ──► keeper
    keeper ──► StepStarted, OutputRead, StepEnded, AttemptEnded ──► Commit ──► Committed ──► Taken

`handle` never waits and never fails halfway: what a commit was to bring about is done when
`Committed` comes, and not at all where the journal failed (then the shell begins anew from `load`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeAlias

from bartoc.chunker import Chunker, Progress
from bartoc.journal import Claim, Held, JournalState, OpenRun, StoredSet, Transaction
from bartoc.runner import (
    AttemptEnded,
    Known,
    NotStarted,
    OutputRead,
    SpawnOrder,
    StepEnded,
    StepStarted,
)
from bartoc.runner import (
    Event as RunnerEvent,
)
from libbarto.codec import I64, U16, U64, V2, Codec, Extensible, codec
from libbarto.errors import CalendarError, CodecError
from libbarto.identity import Kind, uuid_text
from libbarto.message.v2.record import (
    STATE_RECORD,
    Claimed,
    ClockBack,
    Decided,
    Ended,
    Lane,
    SetApplied,
    Started,
    Status,
    StreamTotals,
    Verdict,
)
from libbarto.message.v2.schedule import SCHEDULE_SET, Schedule, ScheduleSet
from libbarto.schedule import Timetable

CLOCK_PATIENCE_S: Final = 120.0
"""How long a clock that reads earlier than before is waited for (DESIGN section 4)."""

CONTACT_EVERY_US: Final = 3_600_000_000
TEXT_MAX: Final = 8192
DECIDE_LIMIT: Final = 10_000
"""Slots of one schedule decided in one tick; what is left is due at the next."""


# -- what goes in ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Now:
    """One reading of the host's clocks: `wall` in microseconds since 1970, UTC; `boottime` in
    seconds of CLOCK_BOOTTIME; `offset_us` what the server's clock is ahead, where it is known."""

    wall: int
    boottime: float
    offset_us: int | None = None


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
    """The server was there."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The runner was opened (again): what it holds."""

    known: tuple[Known, ...]


@dataclass(frozen=True, slots=True)
class HeldBack:
    """What the journal holds back of an attempt that `Resume` named."""

    run_id: bytes
    attempt: int
    chunks: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Committed:
    """The journal has committed a `Commit`; `claims` are those it made, not those it refused."""

    commit: Commit
    claims: frozenset[tuple[bytes, int]]


@dataclass(frozen=True, slots=True)
class Stop:
    """No new starts from now on."""


WorkerInput: TypeAlias = (
    Tick | NewSet | Contact | Opened | HeldBack | Committed | Stop | RunnerEvent
)


# -- what comes out -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Commit:
    """Have the journal commit this, then say `Committed`. `then` comes about only after it."""

    transaction: Transaction
    spawns: tuple[SpawnOrder, ...] = ()
    then: tuple[Taken | Forget, ...] = ()


@dataclass(frozen=True, slots=True)
class Spawn:
    """Have the runner start an attempt: made only from a claim that is committed."""

    order: SpawnOrder

    @classmethod
    def of(cls, committed: Committed) -> list[Spawn]:
        """The starts of a commit whose claims were made."""
        return [
            cls(order)
            for order in committed.commit.spawns
            if (order.run_id, order.attempt) in committed.claims
        ]


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
class Note:
    """Something for the log: `message` is constant, `facts` stand beside it."""

    level: str
    message: str
    facts: Mapping[str, object] = field(default_factory=dict)


Effect: TypeAlias = Commit | Spawn | Taken | Forget | Resume | Note


# -- what is remembered of a run ------------------------------------------------------------------


class RunSpec(Extensible):
    """What a claim keeps of its schedule, so that its record can be finished without it."""

    schedule: str
    commands: list[str]
    output_max: U64 = 10 * 1024 * 1024


class RunProgress(Extensible):
    """How far a run was reported, over a restart."""

    chunks: Progress = Progress()
    steps_done: U16 = 0
    announced: bool = False
    started_at: I64 | None = None
    fault: str | None = None


RUN_SPEC: Codec[RunSpec] = codec(RunSpec, V2, limit=1 << 24)
RUN_PROGRESS: Codec[RunProgress] = codec(RunProgress, V2)


@dataclass(slots=True)
class Run:
    """An attempt that is claimed and not over."""

    claim: Claim
    spec: RunSpec
    chunker: Chunker
    steps_done: int = 0
    announced: bool = False
    started_at: int | None = None
    fault: str | None = None
    reported_position: int = 0

    @property
    def key(self) -> tuple[bytes, int]:
        return self.claim.run_id, self.claim.attempt

    def progress(self) -> tuple[int, bytes]:
        chunks = self.chunker.progress()
        return chunks.position, RUN_PROGRESS.encode(
            RunProgress(
                chunks=chunks,
                steps_done=self.steps_done,
                announced=self.announced,
                started_at=self.started_at,
                fault=self.fault,
            )
        )


@dataclass(slots=True)
class _Decision:
    """What one tick decides, gathered for one transaction."""

    cursors: dict[bytes, int]
    state: list[bytes] = field(default_factory=list)
    claims: list[tuple[Claim, list[bytes]]] = field(default_factory=list)
    spawns: list[SpawnOrder] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Host:
    """What the worker's shell knows of its host, for the environment of commands.

    `users` tells the facts of a user by name ("" is bartoc's own): HOME, USER, SHELL.
    """

    worker_name: str
    users: Mapping[str, tuple[str, str, str]]
    boot_id: bytes


class Worker:
    """One worker's state; `state` is what its journal held when it started."""

    def __init__(self, state: JournalState, host: Host, now: Now) -> None:
        self.uid = state.worker_uid
        self.host = host
        self.cursors = dict(state.cursors)
        self.current = state.current_set
        self.newest = state.newest
        self.contact = state.contact
        self.stopping = False
        self.runs: dict[tuple[bytes, int], Run] = {}
        self.timetables: dict[bytes, Timetable] = {}
        self.offline_max_us = ScheduleSet(schedules=[]).offline_max_us
        self.output_seq = state.lanes[Lane.OUTPUT].last if Lane.OUTPUT in state.lanes else 0
        self._began = now.wall
        self._pending_set: NewSet | None = None
        self._waiting_runs: dict[tuple[bytes, int], OpenRun] = {
            (run.claim.run_id, run.claim.attempt): run for run in state.open_runs
        }
        self._lost: set[tuple[bytes, int]] = set()
        self._clock_doubted_at: float | None = None
        self._doubted_offset: int | None = None
        self._ready = False
        self._notes: list[Effect] = []
        if self.current is not None:
            self._take_on(self.current.body)

    # -- asked by the shell -----------------------------------------------------------------------

    def next_due(self, now: Now) -> float:
        """Seconds until `Tick` has to come, at most 1: no long sleep is ever trusted."""
        wait = 1.0
        if self._ready and not self.stopping and now.wall >= self.newest:
            for timetable in self.timetables.values():
                slot = timetable.next_after(self._cursor(timetable.spec.uid, now))
                if slot is not None:
                    wait = min(wait, (slot - now.wall) / 1e6)
        for run in self.runs.values():
            due = run.chunker.next_due()
            if due is not None:
                wait = min(wait, due - now.boottime)
        return max(0.0, wait)

    @property
    def generation(self) -> int:
        """The version of the set that is in force, 0 for none."""
        return 0 if self.current is None else self.current.generation

    # -- events -----------------------------------------------------------------------------------

    def handle(self, event: WorkerInput, now: Now) -> list[Effect]:
        """What follows from an event at `now`."""
        effects = self._handle(event, now)
        if self._notes:
            effects = [*self._notes, *effects]
            self._notes = []
        return effects

    def _handle(self, event: WorkerInput, now: Now) -> list[Effect]:
        match event:
            case Tick():
                return self._tick(now)
            case NewSet():
                self._pending_set = event
                return self._tick(now) if self._ready else []
            case Contact():
                return self._contact(now)
            case Opened(known=known):
                return self._opened(known)
            case HeldBack():
                return self._held_back(event, now)
            case Committed():
                for order in event.commit.spawns:
                    if (order.run_id, order.attempt) not in event.claims:
                        self.runs.pop((order.run_id, order.attempt), None)
                return [*Spawn.of(event), *event.commit.then]
            case Stop():
                self.stopping = True
                return []
            case StepStarted():
                return self._step_started(event)
            case OutputRead():
                return self._output(event, now)
            case StepEnded():
                return self._step_ended(event, now)
            case AttemptEnded():
                return self._attempt_ended(event, now)
            case _:
                return self._not_started(event, now)

    # -- time -------------------------------------------------------------------------------------

    def _tick(self, now: Now) -> list[Effect]:
        """Ends come first (they were handled as they came), then the clock, then what is due by
        the old set, then the new set: the order of DESIGN section 4."""
        effects = self._seal_output(now)
        if self.stopping or not self._ready:
            return effects
        clock_back = self._judge_clock(now)
        if clock_back is None:
            return effects
        decision = _Decision(cursors=dict(clock_back))
        if now.wall < self.newest:
            decision.state.append(STATE_RECORD.encode(ClockBack(now=now.wall)))
            self.newest = now.wall
            self.cursors.update(clock_back)
        for timetable in self.timetables.values():
            self._decide(timetable, now, decision)
        stored = self._apply_pending(now, decision.cursors, decision.state)
        if not (decision.claims or decision.state or decision.cursors or stored):
            return effects
        self.newest = max(self.newest, now.wall)
        self.cursors.update(decision.cursors)
        transaction = Transaction(
            claims=decision.claims,
            state=decision.state,
            cursors=decision.cursors,
            new_set=stored,
            newest=self.newest,
        )
        return [*effects, Commit(transaction, tuple(decision.spawns))]

    def _judge_clock(self, now: Now) -> dict[bytes, int] | None:
        """None while the clock reads earlier than it has before and may yet be put right; else the
        cursors that lie ahead of it, to be set to now."""
        if now.wall >= self.newest:
            self._clock_doubted_at = None
            return {}
        if self._clock_doubted_at is None:
            self._clock_doubted_at = now.boottime
            self._doubted_offset = now.offset_us
            self._note(
                "warning",
                "the clock reads earlier than before; nothing starts until it is put right",
                behind_s=round((self.newest - now.wall) / 1e6, 3),
                patience_s=CLOCK_PATIENCE_S,
            )
        # The server's word counts if it was given since: a new measurement is another number.
        told = now.offset_us is not None and now.offset_us != self._doubted_offset
        agreed = told and abs(now.offset_us or 0) < 1_000_000
        if now.boottime - self._clock_doubted_at < CLOCK_PATIENCE_S and not agreed:
            return None
        self._clock_doubted_at = None
        self._note("warning", "the clock was accepted though it reads earlier than before")
        return {uid: now.wall for uid, cursor in self.cursors.items() if cursor > now.wall}

    def _cursor(self, uid: bytes, now: Now) -> int:
        """The last decided slot of a schedule; one without a cursor begins now."""
        return self.cursors.get(uid, now.wall)

    def _decide(self, timetable: Timetable, now: Now, decision: _Decision) -> None:
        """Decide what is due of one schedule: the newest slot starts, unless it is too old or its
        schedule runs already; older ones are missed."""
        spec = timetable.spec
        cursor = self._cursor(spec.uid, now)
        slots = timetable.due(cursor, now.wall, DECIDE_LIMIT)
        if not slots:
            return
        decision.cursors[spec.uid] = slots[-1]
        newest = slots[-1]
        if self.contact and now.wall - self.contact > self.offline_max_us:
            decision.state.append(
                self._decided(spec, slots, Verdict.MISSED, "no server for longer than offline_max")
            )
            return
        missed = slots[:-1]
        if len(slots) == DECIDE_LIMIT or now.wall - newest > spec.start_within_us:
            missed = slots
        self._miss(spec, missed, decision.state)
        if missed is slots:
            return
        if self._alive(spec.uid):
            decision.state.append(
                self._decided(spec, [newest], Verdict.SKIPPED, "overlap: it was still running")
            )
            return
        claim, records, order = self._start(timetable, newest, now)
        decision.claims.append((claim, records))
        decision.spawns.append(order)
        self.runs[claim.run_id, claim.attempt] = self._run_of(claim, None)

    def _miss(self, spec: Schedule, slots: Sequence[int], state: list[bytes]) -> None:
        """The verdicts of slots that passed: before this worker came up, or too fast after."""
        down = [slot for slot in slots if slot <= self._began]
        late = slots[len(down) :]
        if down:
            state.append(self._decided(spec, down, Verdict.MISSED, "the worker was down"))
        if late:
            state.append(self._decided(spec, late, Verdict.MISSED, "too late: a newer one was due"))

    def _decided(
        self, spec: Schedule, slots: Sequence[int], verdict: Verdict, reason: str
    ) -> bytes:
        return STATE_RECORD.encode(
            Decided(
                schedule_uid=spec.uid,
                schedule=spec.name,
                first_slot=slots[0],
                last_slot=slots[-1],
                count=len(slots),
                verdict=verdict,
                reason=reason,
            )
        )

    def _alive(self, schedule_uid: bytes) -> bool:
        """Does a run of this schedule go on here?"""
        return any(run.claim.schedule_uid == schedule_uid for run in self.runs.values()) or any(
            run.claim.schedule_uid == schedule_uid for run in self._waiting_runs.values()
        )

    # -- starts -----------------------------------------------------------------------------------

    def _start(
        self, timetable: Timetable, slot: int, now: Now
    ) -> tuple[Claim, list[bytes], SpawnOrder]:
        """The claim of a slot's first attempt, the record that tells of it, and the start."""
        spec = timetable.spec
        run_id = timetable.run_id(slot)
        claim = Claim(
            run_id=run_id,
            attempt=1,
            schedule_uid=spec.uid,
            slot=slot,
            at=now.wall,
            boot_id=self.host.boot_id,
            spec=RUN_SPEC.encode(
                RunSpec(schedule=spec.name, commands=spec.steps, output_max=spec.output_max)
            ),
        )
        record = Claimed(
            run_id=run_id,
            attempt=1,
            kind=Kind.CALENDAR,
            schedule_uid=spec.uid,
            schedule=spec.name,
            slot=slot,
            at=now.wall,
            late_us=now.wall - slot,
            generation=self.generation,
            boot_id=self.host.boot_id,
            clock_offset_us=now.offset_us,
        )
        late_s = (now.wall - slot) / 1e6
        order = SpawnOrder(
            run_id=run_id,
            attempt=1,
            steps=tuple((*spec.shell, step) for step in spec.steps),
            env=self._environment(spec, run_id, slot, late_s),
            cwd=spec.cwd,
            user=spec.run_as,
            nice=spec.nice,
            timeout=None if spec.timeout_us is None else spec.timeout_us / 1e6,
            kill_after=spec.kill_after_us / 1e6,
            continue_on_error=spec.continue_on_error,
            deadline=now.boottime + spec.start_within_us / 1e6,
            slot=slot,
        )
        return claim, [STATE_RECORD.encode(record)], order

    def _environment(
        self, spec: Schedule, run_id: bytes, slot: int, late_s: float
    ) -> dict[str, str]:
        """The whole environment of a command (DESIGN section 7)."""
        home, user, shell = self.host.users.get(spec.run_as or "", ("/", "", "/bin/sh"))
        return {
            "HOME": home,
            "USER": user,
            "LOGNAME": user,
            "SHELL": shell,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            **spec.env,
            "BARTO_SCHEDULE": spec.name,
            "BARTO_RUN": uuid_text(run_id),
            "BARTO_SLOT": rfc3339(slot),
            "BARTO_ATTEMPT": "1",
            "BARTO_WORKER": self.host.worker_name,
            "BARTO_LATE": f"{late_s:.3f}",
        }

    # -- sets -------------------------------------------------------------------------------------

    def _apply_pending(
        self, now: Now, cursors: dict[bytes, int], state: list[bytes]
    ) -> StoredSet | None:
        """Take on a new set at this tick: its slots count strictly after now."""
        pending, self._pending_set = self._pending_set, None
        if pending is None or pending.generation <= self.generation:
            return None
        # What the old set has decided up to now is decided; a schedule that stays goes on from
        # there, so that a slot that the limit left undecided is not forgotten.
        old = dict(self.timetables)
        if not self._take_on(pending.body):
            return None
        for uid, timetable in self.timetables.items():
            same = uid in old and _timing(old[uid].spec) == _timing(timetable.spec)
            if not same or uid not in self.cursors | cursors:
                cursors[uid] = now.wall
        stored = StoredSet(pending.generation, pending.hash, pending.body, now.wall)
        self.current = stored
        uids = list(self.timetables)
        state.extend(
            STATE_RECORD.encode(
                SetApplied(generation=pending.generation, at=now.wall, schedules=uids[i : i + 1000])
            )
            for i in range(0, max(1, len(uids)), 1000)
        )
        self._note(
            "info",
            "took on a set of schedules",
            version=pending.generation,
            schedules=len(self.timetables),
        )
        return stored

    def _take_on(self, body: bytes) -> bool:
        """Read a set; a schedule that cannot be read here is left out, and said."""
        try:
            wanted = SCHEDULE_SET.decode(body)
        except CodecError as error:
            self._note("error", "a set of schedules cannot be read", error=str(error))
            return False
        self.offline_max_us = wanted.offline_max_us
        timetables: dict[bytes, Timetable] = {}
        for spec in wanted.schedules:
            try:
                timetable = Timetable(spec, self.uid)
                timetable.next_after(self.newest)  # a zone that is not known here shows here
            except CalendarError as error:
                self._note(
                    "error", "a calendar cannot be read here", schedule=spec.name, error=str(error)
                )
            else:
                timetables[spec.uid] = timetable
        self.timetables = timetables
        return True

    def _contact(self, now: Now) -> list[Effect]:
        """The server was there: remember its time, but write it down once an hour at most."""
        if now.offset_us is None:
            return []  # a clock that may be wrong says nothing about when that was
        at = now.wall + now.offset_us
        if abs(at - self.contact) < CONTACT_EVERY_US:
            return []
        self.contact = at
        return [Commit(Transaction(contact=at))]

    # -- runs -------------------------------------------------------------------------------------

    def _run_of(self, claim: Claim, stored: OpenRun | None, held: Sequence[Held] = ()) -> Run:
        spec = RUN_SPEC.decode(claim.spec)
        progress = RunProgress()
        if stored is not None and stored.progress:
            progress = RUN_PROGRESS.decode(stored.progress)
        chunker = Chunker(claim.run_id, claim.attempt, spec.output_max, progress.chunks, held)
        return Run(
            claim,
            spec,
            chunker,
            progress.steps_done,
            progress.announced,
            progress.started_at,
            progress.fault,
            progress.chunks.position,
        )

    def _opened(self, known: tuple[Known, ...]) -> list[Effect]:
        """Settle what is open by what the runner holds (DESIGN section 7)."""
        self._ready = True
        for run in self.runs.values():
            # Known to this process already: the runner was lost and opened again.
            self._waiting_runs[run.key] = OpenRun(run.claim, *run.progress())
        self.runs = {}
        held = {(item.run_id, item.attempt) for item in known}
        effects: list[Effect] = [Forget(*key) for key in sorted(held - set(self._waiting_runs))]
        for key, waiting in list(self._waiting_runs.items()):
            lost = key not in held
            effects.append(Resume(*key, waiting.position, lost))
        self._lost = set(self._waiting_runs) - held
        return effects

    def _held_back(self, event: HeldBack, now: Now) -> list[Effect]:
        key = (event.run_id, event.attempt)
        waiting = self._waiting_runs.pop(key, None)
        if waiting is None:
            return []
        run = self._run_of(waiting.claim, waiting, event.chunks)
        if key not in self._lost:
            self.runs[key] = run
            return []
        certain = waiting.claim.boot_id == self.host.boot_id and not run.announced
        return self._interrupted(run, now.wall, "", certain)

    def _step_started(self, event: StepStarted) -> list[Effect]:
        run = self.runs.get((event.run_id, event.attempt))
        if run is None or run.announced:
            return []
        run.announced = True
        run.started_at = event.at
        record = Started(run_id=event.run_id, attempt=event.attempt, pid=event.pid, at=event.at)
        return [
            Commit(
                Transaction(state=[STATE_RECORD.encode(record)], progress={run.key: run.progress()})
            )
        ]

    def _output(self, event: OutputRead, now: Now) -> list[Effect]:
        run = self.runs.get((event.run_id, event.attempt))
        if run is None:
            return []
        run.chunker.feed(event.position, event.frames, now.boottime)
        return self._seal(run, now)

    def _seal_output(self, now: Now) -> list[Effect]:
        return [effect for run in self.runs.values() for effect in self._seal(run, now)]

    def _seal(self, run: Run, now: Now) -> list[Effect]:
        sealed = run.chunker.seal(now.boottime)
        if not sealed:
            return []
        self.output_seq += len(sealed.records)
        position, progress = run.progress()
        then: tuple[Taken, ...] = ()
        if position > run.reported_position:
            run.reported_position = position
            then = (Taken(*run.key, position),)
        return [
            Commit(
                Transaction(
                    output=sealed.records,
                    hold=sealed.hold,
                    release=sealed.release,
                    progress={run.key: (position, progress)},
                ),
                then=then,
            )
        ]

    def _step_ended(self, event: StepEnded, now: Now) -> list[Effect]:
        run = self.runs.get((event.run_id, event.attempt))
        number = event.step + 1
        if run is None or number <= run.steps_done:
            return []
        run.steps_done = number
        success = event.exit_code == 0
        reason = None if event.reason is None else shortened(event.reason)
        if not success and run.fault is None:
            run.fault = shortened(_fault(run.spec, number, event))
        record = Status(
            run_id=event.run_id,
            attempt=event.attempt,
            step=number,
            command=shortened(run.spec.commands[event.step]),
            exit_code=event.exit_code,
            signal=event.signal,
            success=success,
            started_at=event.started_at,
            ended_at=event.ended_at,
            reason=reason,
        )
        return [
            Commit(
                Transaction(state=[STATE_RECORD.encode(record)], progress={run.key: run.progress()})
            )
        ]

    def _attempt_ended(self, event: AttemptEnded, now: Now) -> list[Effect]:
        key = (event.run_id, event.attempt)
        run = self.runs.pop(key, None)
        if run is None:
            return self._strange(key)
        if event.timed_out:
            verdict, reason = Verdict.TIMED_OUT, "it took longer than its timeout"
        elif event.cancelled:
            verdict, reason = Verdict.CANCELLED, "it was stopped"
        elif run.fault is not None:
            verdict, reason = Verdict.FAILED, run.fault
        else:
            verdict, reason = Verdict.OK, ""
        if event.orphans_killed:
            left = f"{event.orphans_killed} processes that it left behind were killed"
            reason = f"{reason}; {left}" if reason else left
        totals = [
            StreamTotals(stream=stream, bytes_=total.bytes, lines=total.lines, sha256=total.sha256)
            for stream, total in sorted(event.streams.items())
        ]
        return self._end(run, verdict, reason, event.at, totals)

    def _strange(self, key: tuple[bytes, int]) -> list[Effect]:
        """The end of an attempt that is not followed: the runner may drop it, unless it has yet to
        be taken up; then it will be told again."""
        return [] if key in self._waiting_runs else [Forget(*key)]

    def _not_started(self, event: NotStarted, now: Now) -> list[Effect]:
        run = self.runs.pop((event.run_id, event.attempt), None)
        if run is None:
            return self._strange((event.run_id, event.attempt))
        return self._interrupted(run, event.at, event.reason, event.certain)

    def _interrupted(self, run: Run, at: int, reason: str, certain: bool) -> list[Effect]:
        """An attempt without an end of its own."""
        if run.announced:
            text = "it had started, and its end was not seen"
        elif certain:
            text = "did not start"
        else:
            text = "may or may not have started"
        if reason and reason != text:
            text = f"{text}: {reason}"
        return self._end(run, Verdict.INTERRUPTED, text, at, [])

    def _end(
        self, run: Run, verdict: Verdict, reason: str, at: int, totals: list[StreamTotals]
    ) -> list[Effect]:
        """The last commit of an attempt: the rest of its output, its verdict, its end here."""
        sealed = run.chunker.finish(at)
        self.output_seq += len(sealed.records)
        ended = Ended(
            run_id=run.claim.run_id,
            attempt=run.claim.attempt,
            verdict=verdict,
            reason=shortened(reason),
            started_at=run.started_at,
            ended_at=at,
            output_seq=self.output_seq if run.chunker.chunk_no else 0,
            totals=totals,
            cut_bytes=run.chunker.cut_bytes,
        )
        return [
            Commit(
                Transaction(
                    state=[STATE_RECORD.encode(ended)],
                    output=sealed.records,
                    hold=sealed.hold,
                    release=sealed.release,
                    ended=[run.key],
                ),
                then=(Forget(*run.key),),
            )
        ]

    def _note(self, level: str, message: str, **facts: object) -> None:
        self._notes.append(Note(level, message, facts))


def rfc3339(instant: int) -> str:
    """An instant (microseconds since 1970, UTC) as RFC 3339 writes it, with as many decimals as
    it needs.

    >>> rfc3339(1_764_036_000_500_000)
    '2025-11-25T02:00:00.5Z'
    """
    moment = datetime.fromtimestamp(instant // 1_000_000, UTC)
    fraction = f".{instant % 1_000_000:06d}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def shortened(text: str) -> str:
    """A command or reason as records carry it: a record fits a frame, whatever a text's length.

    >>> len(shortened("x" * 100_000))
    8192
    """
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"


def _timing(spec: Schedule) -> tuple[object, ...]:
    """What decides when a schedule is due."""
    return tuple(spec.calendars), spec.timezone, spec.dst_gap, spec.dst_repeat


def _fault(spec: RunSpec, number: int, event: StepEnded) -> str:
    """Why a step did not end well, for people."""
    where = f"step {number}: " if len(spec.commands) > 1 else ""
    if event.exit_code is not None:
        return f"{where}exit {event.exit_code}"
    if event.signal is not None:
        return f"{where}killed by signal {event.signal}"
    return f"{where}{event.reason or 'could not start'}"
