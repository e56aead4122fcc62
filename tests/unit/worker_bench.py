"""A worker on a bench: its journal in memory, its keeper a list, its clocks set by the test."""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from bartoc.clockwork import Away
from bartoc.events import (
    Answer,
    Cancel,
    Cancelled,
    Commit,
    Committed,
    Effect,
    HeldBack,
    Key,
    NewSet,
    Now,
    Offered,
    Opened,
    Recall,
    Recalled,
    Resume,
    Spawn,
    Tick,
    WorkerInput,
)
from bartoc.journal_memory import MemoryJournal
from bartoc.runner import AttemptEnded, Known, NotStarted, RunState, StepEnded, StepStarted
from bartoc.starting import Host
from bartoc.worker import Worker
from libbarto.identity import Kind, occurrence_id
from libbarto.message.v2.record import STATE_RECORD, Decided, Ended, Lane, Record, Verdict
from libbarto.message.v2.schedule import SCHEDULE, SCHEDULE_SET, Schedule, ScheduleSet
from libbarto.message.v2.server import Offer

UID = b"w" * 16
BOOT = b"b" * 16
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
T0 = 1_800_000_000 * SECOND  # a whole minute
HOST = Host("vader", {"": ("/root", "root", "/bin/sh")}, BOOT)
T = TypeVar("T")
R = TypeVar("R", bound=Record)


def uid_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:16]


def schedule(name: str = "tick", calendar: str | None = "minutely", **more: Any) -> Schedule:
    calendars = [] if calendar is None else [calendar]
    return Schedule(uid=uid_of(name), name=name, calendars=calendars, steps=["true"], **more)


def done(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine that never waits returns."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("it waits for something")


class Bench:
    """A worker with these schedules since T0. Times are seconds after T0, on all clocks until
    `step` or `sleep`."""

    def __init__(self, *schedules: Schedule, host: Host = HOST, at: float = 0.0) -> None:
        self.journal = MemoryJournal(UID, b"s" * 16)
        self.host = host
        self.at = at
        self.stepped = 0.0
        self.slept = 0.0
        self.offset_us: int | None = None
        self.effects: list[Effect] = []
        self.cancels: list[Key] = []
        self.answers: list[Answer] = []
        self.alive: dict[Key, Spawn] = {}
        self.spawned: list[Spawn] = []
        self.generation = 0
        self._decoded: list[Record] = []
        self.begin()
        if schedules:
            self.take_on(*schedules)

    # -- time -------------------------------------------------------------------------------------

    @property
    def now(self) -> Now:
        wall = T0 + round((self.at + self.stepped) * SECOND)
        return Now(wall, 1000.0 + self.at, self.offset_us, 1000.0 + self.at - self.slept)

    def tick(self, at: float | None = None) -> list[Spawn]:
        """Let time pass to `at`, in one leap; returns what starts."""
        if at is not None:
            self.at = at
        before = len(self.spawned)
        self.handle(Tick())
        return self.spawned[before:]

    def run_to(self, at: float) -> list[Spawn]:
        """Let time pass as the agent would, from due to due."""
        before = len(self.spawned)
        while self.at < at:
            self.at = min(at, self.at + max(0.001, self.worker.next_due(self.now)))
            self.handle(Tick())
        return self.spawned[before:]

    def step(self, seconds: float) -> None:
        """The wall clock is stepped."""
        self.stepped += seconds

    def sleep(self, seconds: float) -> None:
        """The host sleeps."""
        self.at += seconds
        self.slept += seconds

    # -- life -------------------------------------------------------------------------------------

    def begin(self, away: tuple[Away, ...] = ()) -> None:
        """bartoc comes up (again), on what the journal and the keeper hold."""
        self.worker = Worker(done(self.journal.load()), self.host, self.now, away)
        self.handle(Opened(tuple(Known(*key, RunState.RUNNING, 0) for key in self.alive)))

    def reboot(self, boot: bytes = b"c" * 16) -> None:
        """The host boots: what ran is gone."""
        self.host = replace(self.host, boot_id=boot)
        self.alive = {}
        self.begin()

    def take_on(self, *schedules: Schedule) -> None:
        """The server sends a set."""
        self.generation += 1
        body = SCHEDULE_SET.encode(ScheduleSet(schedules=list(schedules)))
        self.handle(NewSet(self.generation, hashlib.sha256(body).digest(), body))

    def handle(self, event: WorkerInput) -> list[Effect]:
        """Hand an event in, and carry out what follows."""
        todo = self.worker.handle(event, self.now)
        said: list[Effect] = []
        while todo:
            effect = todo.pop(0)
            match effect:
                case Commit(transaction=transaction):
                    made = done(self.journal.commit(transaction))
                    todo = self.worker.handle(Committed(effect, made), self.now) + todo
                case Recall():
                    recalled = Recalled(done(self.journal.state()))
                    todo = self.worker.handle(recalled, self.now) + todo
                case Resume(run_id=run_id, attempt=attempt):
                    held = tuple(done(self.journal.held(run_id, attempt)))
                    todo = self.worker.handle(HeldBack(run_id, attempt, held), self.now) + todo
                case Spawn(order=order) if order.slot is not None and order.slot > self.now.wall:
                    # As the keeper does: it is before the planned start.
                    key = order.run_id, order.attempt
                    refused = NotStarted(*key, self.now.wall, "too early", True)
                    todo += self.worker.handle(refused, self.now)
                case Spawn(order=order):
                    self.spawned.append(effect)
                    self.alive[order.run_id, order.attempt] = effect
                case Cancel(run_id=run_id, attempt=attempt):
                    self.cancels.append((run_id, attempt))
                case Answer():
                    self.answers.append(effect)
            said.append(effect)
        self.effects += said
        return said

    # -- commands ---------------------------------------------------------------------------------

    def end(self, code: int | None = 0, key: Key | None = None, **more: Any) -> list[Spawn]:
        """A command ends (the one that runs, if none is named); returns what starts."""
        if key is None:
            (key,) = self.alive
        del self.alive[key]
        before = len(self.spawned)
        wall = self.now.wall
        self.handle(StepStarted(*key, 0, 42, wall))
        self.handle(StepEnded(*key, 0, code, None if code is not None else 15, wall, wall, None))
        ended = AttemptEnded(*key, wall, False, False, 0, {})
        self.handle(replace(ended, **more))
        self.handle(Tick())
        return self.spawned[before:]

    def vanish(self, *, certain: bool = False, reason: str = "") -> list[Spawn]:
        """The command that runs is lost."""
        (key,) = self.alive
        del self.alive[key]
        before = len(self.spawned)
        self.handle(NotStarted(*key, self.now.wall, reason, certain))
        self.handle(Tick())
        return self.spawned[before:]

    # -- orders -----------------------------------------------------------------------------------

    def offer(self, schedule: Schedule, /, **more: Any) -> bytes:
        """The server orders a start on this worker; returns the run's id."""
        facts: dict[str, Any] = {
            "request": b"q" * 16,
            "kind": Kind.MANUAL,
            "schedule_uid": schedule.uid,
            "slot": self.now.wall,
            "cause": b"request",
            "spec": SCHEDULE.encode(schedule),
            "worker": UID,
            "received": self.now.boottime,
            **more,
        }
        worker, received = facts.pop("worker"), facts.pop("received")
        kind = Kind(facts["kind"]) if facts["kind"] in list(Kind) else Kind.MANUAL
        run_id = occurrence_id(kind, facts["schedule_uid"], worker, facts["slot"], facts["cause"])
        self.handle(Offered(Offer(run_id=run_id, **facts), received))
        self.handle(Tick())
        return run_id

    def cancel(self, run_id: bytes, reason: str = "") -> bool:
        """Somebody cancels a run; returns whether there was something to end."""
        self.handle(Cancelled(b"q" * 16, run_id, reason))
        return self.answers[-1].accepted

    # -- what was told ----------------------------------------------------------------------------

    @property
    def records(self) -> list[Record]:
        """All state records that the journal holds."""
        found = done(self.journal.read(Lane.STATE, len(self._decoded), 1 << 30))
        self._decoded += [STATE_RECORD.decode(one.data) for one in found]  # type: ignore[misc]
        return self._decoded

    def of(self, kind: type[R]) -> list[R]:
        return [record for record in self.records if isinstance(record, kind)]

    def decided(self) -> list[tuple[float, float, int, str, str]]:
        """Each verdict of slots that did not run: from, to (seconds after T0), count, word, why."""
        return [
            (
                (one.first_slot - T0) / SECOND,
                (one.last_slot - T0) / SECOND,
                one.count,
                Verdict(one.verdict).word,
                one.reason,
            )
            for one in self.of(Decided)
        ]

    def ended(self) -> list[tuple[int, str, str, bool]]:
        """Each end of an attempt: its number, the verdict, why, whether it was the last."""
        return [
            (one.attempt, Verdict(one.verdict).word, one.reason, one.final)
            for one in self.of(Ended)
        ]

    def waiting(self) -> list[tuple[str, float, int]]:
        """What waits by the journal: why, its slot (seconds after T0), the attempt."""
        return [
            (one.why, (one.slot - T0) / SECOND, one.attempt)
            for one in done(self.journal.state()).waiting
        ]


def slots(spawns: list[Spawn]) -> list[float]:
    """The slots (seconds after T0) that these starts say they are for."""
    return [round(_slot(spawn) / SECOND, 6) for spawn in spawns]


def _slot(spawn: Spawn) -> int:
    # An id begins with its slot's milliseconds.
    return int.from_bytes(spawn.order.run_id[:6], "big") * 1000 - T0
