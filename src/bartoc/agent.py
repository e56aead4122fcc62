"""The effect loop: carries out what the worker decides, and brings it what happens.

One task handles one event after the other, so that there is nothing to lock. Commits of all that
came in meanwhile share one transaction. Where the journal fails, everything begins anew from what
it holds, as after a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias, assert_never

from bartoc.clockwork import DISK, DOWN, NO_KEEPER, Away
from bartoc.events import (
    Answer,
    Asked,
    Cancel,
    Cancelled,
    Commit,
    Committed,
    Contact,
    Effect,
    Forget,
    HeldBack,
    NewSet,
    Note,
    Now,
    Offered,
    Opened,
    Recall,
    Recalled,
    Resume,
    RunnerGone,
    Spawn,
    Stop,
    Taken,
    Tick,
    WorkerInput,
)
from bartoc.journal import Journal, Transaction, merged
from bartoc.pressure import Pressure
from bartoc.runner import Flow, OutputRead, Runner, RunnerLost
from bartoc.starting import Host
from bartoc.worker import Worker
from libbarto.clock import Clock
from libbarto.errors import JournalError
from libbarto.mailbox import Mailbox
from libbarto.message.v2.record import STATE_RECORD, Notice

log = logging.getLogger("bartoc")

QUEUE_EVENTS: Final = 64
GREETING_S: Final = 10.0
RETRY_S: Final = 1.0
QUIET_TURNS: Final = 8
"""Turns of the event loop after which all that the keeper has told is at hand."""
HEARING_TURNS: Final = 100
"""The most turns that are given to it: a command may print without end."""
GAPS_MAX: Final = 16
Said: TypeAlias = NewSet | Contact | Offered | Asked | Cancelled
"""What the server says."""
RELIEVE_S: Final = 1.0
OUTPUT_AHEAD: Final = 512 * 1024
"""Bytes of output that are read from the runner ahead of what the journal has: so much may stand
before another run's end."""
TOLD: Final = {
    Flow.WAIT: "there is no room for output: it waits, and after a minute it is dropped",
    Flow.DROP: "there is still no room for output: it is dropped, and counted",
}
LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Wake(Protocol):
    """Whoever wants to know that there are new records in the spool."""

    def __call__(self) -> None: ...


class Agent:
    """Runs one worker on its ports. `offset_us` tells how far the server's clock is ahead."""

    def __init__(
        self,
        journal: Journal,
        runner: Runner,
        clock: Clock,
        host: Host,
        offset_us: Callable[[], int | None] = lambda: None,
        pressure: Pressure | None = None,
    ) -> None:
        self.journal = journal
        self.runner = runner
        self.clock = clock
        self.host = host
        self.worker: Worker | None = None
        self.on_records: Wake = lambda: None
        self.on_answer: Callable[[Answer], None] = lambda _: None
        self.ready = asyncio.Event()
        self._offset_us = offset_us
        self._events: Mailbox[WorkerInput] = Mailbox(QUEUE_EVENTS)
        self._kept: list[WorkerInput] = []
        self._stopping = False
        self._greetings = self._greeted = 0
        self._told: NewSet | None = None
        self._unsettled: list[Offered | Asked | Cancelled] = []
        self._gaps: list[Away] = []
        self._fine_at: int | None = None
        self._said = ""
        self._journal_error: JournalError | None = None
        self._pressure = pressure or Pressure()
        self._flow = Flow.GO
        self._relieved_at = 0.0
        self._output_ahead = 0
        self._output_taken = asyncio.Event()

    # -- asked by others --------------------------------------------------------------------------

    async def tell(self, event: Said) -> None:
        """Something that the server said."""
        if isinstance(event, NewSet):
            self._told = event
        await self._events.put(event)

    def journal_failed(self, error: JournalError) -> None:
        """Somebody else met trouble with the journal: it is to be opened again."""
        self._journal_error = error
        self._events.nudge()

    async def stop(self) -> None:
        """No new starts from now on; commands go on."""
        self._stopping = True
        await self._events.put(Stop())

    async def end_commands(self, timeout: float) -> None:
        """End every command (TERM, KILL after `timeout` seconds), and journal their ends."""
        try:
            async with asyncio.timeout(timeout + 5):
                # Told to leave while it was still starting: a keeper that has not greeted may hold
                # commands of an earlier bartoc, or be on its way up.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(GREETING_S):
                        await self.ready.wait()
                with contextlib.suppress(RunnerLost):
                    await self.runner.shutdown(timeout)
                while self.worker is not None and self.worker.runs:
                    await self.clock.sleep(0.02)
        except TimeoutError:
            log.warning("some runs have not told of their end", extra={"runs": self._alive()})

    def _alive(self) -> int:
        return 0 if self.worker is None else len(self.worker.runs)

    # -- the loop ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled. What the journal holds is where it begins, each time."""
        while True:
            try:
                await self._run_once()
            except JournalError as error:
                self._say_once("the journal failed; nothing starts until it works again", error)
                why = DISK
            except (RunnerLost, OSError) as error:
                self._say_once("the keeper cannot be reached, or its files not be read", error)
                why = NO_KEEPER
            self.ready.clear()
            await self.runner.close()
            await self.clock.sleep(RETRY_S)
            if self._fine_at is not None:
                gap = Away(self._fine_at, self.clock.now(), why)
                self._gaps = [self._gaps[0], *self._gaps[1:][-GAPS_MAX:], gap]

    def _say_once(self, message: str, error: Exception) -> None:
        """The same trouble is told once, not at each try."""
        if str(error) != self._said:
            self._said = str(error)
            log.error(message, extra={"error": str(error)})

    async def _run_once(self) -> None:
        self._journal_error = None
        state = await self.journal.load()
        # What was committed without a report is in the spool, and nobody has told of it.
        self.on_records()
        now = self._now()
        if self._fine_at is None:
            self._fine_at = now.wall
            self._gaps = [Away(-(1 << 63), now.wall, DOWN)]
        self.worker = worker = Worker(state, self.host, now, self._gaps)
        if self._stopping:
            worker.stopping = True
        self._greetings = self._greeted = 0
        if (again := state.pending_set) is not None:
            worker.handle(NewSet(again.generation, again.hash, again.body), now)
        if self._told is not None:
            worker.handle(self._told, self._now())
        self._kept += self._unsettled
        self._unsettled = []
        # What an earlier connection to the keeper told is told again; what the server said is not.
        for event in self._events.take():
            if isinstance(event, Said | Stop):
                self._kept.append(event)
        self._took_output(self._output_ahead)
        pump = asyncio.create_task(self._pump(), name="runner events")
        try:
            due = worker.next_due(self._now())
            while True:
                await self._events.wait(0.0 if self._kept else due)
                due = worker.next_due(self._now())
                if due <= 0:
                    self._kept += await self._heard_before()
                if pump.done():
                    await pump
                if self._journal_error is not None:
                    raise self._journal_error
                events = [*self._kept, *self._events.take()]
                self._kept.clear()
                if events or due <= 0:
                    await self._handle(worker, [*events, Tick()])
                    due = worker.next_due(self._now())
                await self._regulate()
        finally:
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError, RunnerLost):
                await pump

    async def _regulate(self) -> None:
        """Have output go, wait or be dropped, by the room that there is for it."""
        room, boottime = self.journal.room(), self.clock.boottime()
        too_much = room.scarce or room.waiting > self._pressure.limit
        if too_much and boottime - self._relieved_at >= RELIEVE_S:
            self._relieved_at = boottime
            room = await self.journal.relieve()
        flow = self._pressure.judge(room, boottime)
        if flow is self._flow:
            return
        before, self._flow = self._flow, flow
        self.runner.let_output(flow)
        facts = {"waiting_bytes": room.waiting, "disk_is_full": room.scarce}
        if flow is Flow.GO:
            log.info("there is room for output again", extra=facts)
            return
        text = TOLD[flow]
        log.warning(text, extra=facts)
        if before is Flow.GO and not room.scarce:
            # Of a full disk the journal tells by itself.
            notice = Notice(kind="spool_full", at=self.clock.now(), text=text)
            await self.journal.commit(Transaction(state=[STATE_RECORD.encode(notice)]))
            self.on_records()

    async def _heard_before(self) -> list[WorkerInput]:
        """What the runner has told before time brings something: ends come first, also where the
        two come together, as after this whole process was held up."""
        events: list[WorkerInput] = []
        quiet = 0
        for _ in range(HEARING_TURNS):
            await asyncio.sleep(0)
            more = self._events.take()
            events += more
            quiet = 0 if more else quiet + 1
            if quiet == QUIET_TURNS:
                break
        return events

    async def _pump(self) -> None:
        """The runner's events, into the queue; opened again where the keeper is lost."""
        while True:
            known = await self.runner.open()
            self._greetings += 1
            await self._events.put(Opened(known))
            async for event in self.runner.events():
                if isinstance(event, OutputRead):
                    await self._output_has_room()
                    self._output_ahead += _size(event)
                await self._events.put(event)
            log.warning("the connection to the keeper was lost; opening it again")
            await self._events.put(RunnerGone())
            await self.clock.sleep(0.1)

    async def _output_has_room(self) -> None:
        """Wait while much output was read and is not in the journal: it is held in memory."""
        while self._output_ahead >= OUTPUT_AHEAD:
            self._output_taken.clear()
            await self._output_taken.wait()

    def _took_output(self, size: int) -> None:
        self._output_ahead -= size
        self._output_taken.set()

    async def _handle(self, worker: Worker, batch: Sequence[WorkerInput]) -> None:
        commits: list[Commit] = []
        # Where the journal fails, these are told again to the worker that begins anew.
        self._unsettled = [
            *worker.unsettled,
            *(event for event in batch if isinstance(event, Offered | Asked | Cancelled)),
        ]
        for event in batch:
            if isinstance(event, Opened) and commits:
                # What is held back of a run is looked up there: it has to be in the journal.
                await self._commit(worker, commits)
                commits = []
            for effect in worker.handle(event, self._now()):
                await self._carry_out(worker, effect, commits)
            if isinstance(event, Opened):
                self._greeted += 1
                self.ready.set()
        await self._commit(worker, commits)
        self._took_output(sum(_size(event) for event in batch if isinstance(event, OutputRead)))
        self._unsettled = list(worker.unsettled)
        self._fine_at = self.clock.now()

    async def _commit(self, worker: Worker, commits: list[Commit]) -> None:
        while commits:
            claims = await self.journal.commit(merged([one.transaction for one in commits]))
            self.on_records()
            done, commits = commits, []
            for commit in done:
                for effect in worker.handle(Committed(commit, claims), self._now()):
                    await self._carry_out(worker, effect, commits)

    async def _carry_out(self, worker: Worker, effect: Effect, commits: list[Commit]) -> None:
        try:
            match effect:
                case Commit():
                    commits.append(effect)
                case Spawn(order=order):
                    if self._greeted != self._greetings:
                        # The keeper was greeted anew since the claim: its list, which is waiting,
                        # settles the run (DESIGN section 7).
                        return
                    await self.runner.spawn(order)
                    log.info(
                        "run started",
                        extra={"schedule": order.env["BARTO_SCHEDULE"], "run": order.run_id.hex()},
                    )
                case Cancel(run_id=run_id, attempt=attempt, grace=grace):
                    await self.runner.cancel(run_id, attempt, grace)
                case Taken(run_id=run_id, attempt=attempt, position=position):
                    await self.runner.taken(run_id, attempt, position)
                case Forget(run_id=run_id, attempt=attempt):
                    await self.runner.forget(run_id, attempt)
                case Resume(run_id=run_id, attempt=attempt, position=position, lost=lost):
                    held = await self.journal.held(run_id, attempt)
                    back = HeldBack(run_id, attempt, tuple(held))
                    for follows in worker.handle(back, self._now()):
                        await self._carry_out(worker, follows, commits)
                    if not lost:
                        await self.runner.resume(run_id, attempt, position)
                case Recall():
                    recalled = Recalled(await self.journal.state())
                    for follows in worker.handle(recalled, self._now()):
                        await self._carry_out(worker, follows, commits)
                case Answer():
                    self.on_answer(effect)
                case Note(level=level, message=message, facts=facts):
                    log.log(LEVELS[level], message, extra=dict(facts))
                case _:
                    assert_never(effect)
        except RunnerLost:
            # The pump opens it again, and its greeting settles what came of this.
            log.debug("the keeper was lost while it was spoken to")

    def _now(self) -> Now:
        # The event loop's clock is CLOCK_MONOTONIC (docs.python.org/3/library/time.html), which
        # stands still while the host sleeps.
        monotonic = asyncio.get_running_loop().time()
        return Now(self.clock.now(), self.clock.boottime(), self._offset_us(), monotonic)


def _size(event: OutputRead) -> int:
    """Bytes that an event holds in memory."""
    return sum(len(frame.data) for frame in event.frames)
