"""Who starts commands for the worker, and how it hears of what became of them.

`Runner` is the port. Behind it stands the keeper, a process of its own that outlives bartoc
(`KeeperRunner`), or a scripted twin in memory (`ScriptedRunner`), on which commands are a few
words of shell and time is the caller's clock. One contract suite holds both to the same behaviour.

The unit is an *attempt* with all its steps, so that a run goes on while bartoc is away. What an
attempt tells comes in order: its steps' starts, what they printed, their ends, its end. Output has
a *position*, a number that grows with every frame: when all up to a position is durable in the
spool, `taken` lets the keeper drop it, and `resume` goes on from there after a restart.
"""

from __future__ import annotations

import asyncio
import builtins
import enum
import hashlib
import re
import shlex
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from libbarto.clock import Clock
from libbarto.errors import BartoError

STDOUT = 1
STDERR = 2

UNTAKEN_MAX = 8 * 1024 * 1024
"""How much output of an attempt the keeper holds before it stops reading from the command."""

FRAME_HEADER = 15
"""What a frame adds to the position beside its data: step, stream, instant and length."""


class RunnerLost(BartoError, ConnectionError):
    """The connection greeted by `open` is gone; `open` again, and go by what it lists."""


@dataclass(frozen=True, slots=True)
class SpawnOrder:
    """One attempt at an occurrence: everything the keeper needs to know, and nothing else.

    `steps` are argument vectors, the shell already applied; `env` is the whole environment. `cwd`
    None is HOME of `env`, or `/`. `user` None is the keeper's own. `timeout` and `kill_after` are
    seconds; the timeout counts for the attempt as a whole. `deadline` (seconds of CLOCK_BOOTTIME)
    and `slot` (instant) bound the moment at which the first step may start: after the one, or
    before the other, the attempt is refused and *did not start*.
    """

    run_id: bytes
    attempt: int
    steps: tuple[tuple[str, ...], ...]
    env: Mapping[str, str]
    cwd: str | None = None
    user: str | None = None
    nice: int = 0
    timeout: float | None = None
    kill_after: float = 10.0
    continue_on_error: bool = False
    deadline: float | None = None
    slot: int | None = None


SHORT_BYTES = 64 * 1024
"""Output of an attempt that is over and is told in any case."""


class Flow(enum.Enum):
    """What becomes of output."""

    GO = "go"
    WAIT = "wait"
    """None is told, nor what comes after it: the commands' pipes fill, and they wait. Of an attempt
    that is over the last `SHORT_BYTES` are told, so that its end can be, too."""
    DROP = "drop"
    """It is counted, and told as lost."""


class RunState(enum.Enum):
    """What is known of an attempt when the runner is opened."""

    RUNNING = "running"
    ENDED = "ended"
    NOT_STARTED = "not started"
    """Certainly: no command of it ran."""
    INTERRUPTED = "interrupted"
    """It may or may not have started, or ran when the keeper or the host was lost."""


@dataclass(frozen=True, slots=True)
class Known:
    """An attempt that the runner holds: its state, and the output `position` reached so far.

    Nothing is told of it until `resume`; `forget` lets go of it.
    """

    run_id: bytes
    attempt: int
    state: RunState
    position: int


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes of one stream (1 stdout, 2 stderr) of a step, and the instant they were read at.

    Where they had to be dropped there is no `data`, and `lost` says how many they were, with
    `lost_lines` line breaks among them.
    """

    step: int
    stream: int
    at: int
    data: bytes
    lost: int = 0
    lost_lines: int = 0

    @property
    def size(self) -> int:
        """How many bytes were printed, whether they are here or not."""
        return len(self.data) or self.lost


@dataclass(frozen=True, slots=True)
class StreamTotals:
    """All that a stream carried over all steps; an unfinished last line counts as a line."""

    bytes: int
    lines: int
    sha256: builtins.bytes


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step (from 0) has a process, which was told to go at instant `at`."""

    run_id: bytes
    attempt: int
    step: int
    pid: int
    at: int


@dataclass(frozen=True, slots=True)
class OutputRead:
    """The attempt printed `frames`; with them its output has reached `position`."""

    run_id: bytes
    attempt: int
    position: int
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class StepEnded:
    """A step's main process is gone, by `exit_code` or by `signal`.

    Where both are None it never ran, and `reason` says why (`could not start: …`). `reason` is
    also `timeout`, `cancelled` or `stopped` (by `shutdown`) where that is what ended it, else None.
    """

    run_id: bytes
    attempt: int
    step: int
    exit_code: int | None
    signal: int | None
    started_at: int
    ended_at: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """The attempt is over: all its output was told, and nothing of it holds a pipe any more.

    `orphans_killed` counts processes that outlived a step's main process by 2 s with its pipe
    in hand, or a timeout or cancellation with its TERM, and were killed.
    """

    run_id: bytes
    attempt: int
    at: int
    timed_out: bool
    cancelled: bool
    orphans_killed: int
    streams: Mapping[int, StreamTotals]


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The attempt has no end of its own: it did not start (`certain`), or was interrupted.

    Not `certain` means that it may or may not have started; it may have told of steps and output
    before. Nothing of it is left alive.
    """

    run_id: bytes
    attempt: int
    at: int
    reason: str
    certain: bool


Event = StepStarted | OutputRead | StepEnded | AttemptEnded | NotStarted


class Runner(Protocol):
    """See the module's text. Only `open` may be called on a runner that is not open; the others
    raise `RunnerLost` there, except `close`."""

    async def open(self) -> tuple[Known, ...]:
        """Connect (again), with a keeper started if none is there; returns all that it holds.

        Raises `RunnerLost` where no keeper can be reached or started; the message says why.
        """

    async def resume(self, run_id: bytes, attempt: int, position: int) -> None:
        """Tell of a known attempt from its beginning, but of its output only beyond `position`."""

    async def spawn(self, order: SpawnOrder) -> None:
        """Start an attempt. A repeat starts nothing. What becomes of it is told by `events`."""

    async def taken(self, run_id: bytes, attempt: int, position: int) -> None:
        """All output up to `position` is durable elsewhere; it may be dropped."""

    async def cancel(self, run_id: bytes, attempt: int, grace: float) -> None:
        """End an attempt: TERM to the whole tree, KILL after `grace` seconds. Idempotent."""

    async def forget(self, run_id: bytes, attempt: int) -> None:
        """All of an attempt that has ended is durable elsewhere; drop it. Idempotent.

        One that runs goes on, unheard: nobody will ask for it.
        """

    def let_output(self, flow: Flow) -> None:
        """What becomes of all attempts' output from now on; at first it goes. Never waits, and may
        be called on a runner that is not open."""

    def events(self) -> AsyncIterator[Event]:
        """What happens, in order for each attempt; at most about 1 MiB of output is in flight.

        Ends when the keeper is lost, or by `close`.
        """

    async def shutdown(self, grace: float) -> None:
        """End every command: TERM, KILL after `grace` seconds, the whole trees.

        Returns when nothing of them is alive. Their last events can still be read; new attempts
        are refused; the keeper leaves when the runner is closed.
        """

    async def close(self) -> None:
        """Leave; commands go on. Idempotent."""


class Totals:
    """Counts a stream as it goes by."""

    def __init__(self) -> None:
        self._bytes = 0
        self._newlines = 0
        self._last = b"\n"
        self._sha256 = hashlib.sha256()

    def add(self, data: bytes) -> None:
        self._bytes += len(data)
        self._newlines += data.count(b"\n")
        self._last = data[-1:] or self._last
        self._sha256.update(data)

    def totals(self) -> StreamTotals:
        unfinished = self._last != b"\n"
        return StreamTotals(self._bytes, self._newlines + unfinished, self._sha256.digest())


@dataclass(slots=True)
class _Attempt:
    """What the twin holds of an attempt: its output frames with the position each ends at, and
    its other events with the position they come after."""

    order: SpawnOrder
    state: RunState = RunState.RUNNING
    frames: list[tuple[int, Frame]] = field(default_factory=list)
    told: list[tuple[int, Event]] = field(default_factory=list)
    position: int = 0
    taken: int = 0
    streams: dict[int, Totals] = field(default_factory=lambda: {STDOUT: Totals(), STDERR: Totals()})
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    kill_at: float = 0.0
    forgotten: bool = False
    stopped_by: str | None = None
    task: asyncio.Task[None] | None = None

    @property
    def key(self) -> tuple[bytes, int]:
        return self.order.run_id, self.order.attempt


@dataclass(slots=True)
class _Cursor:
    """How far an attempt was told to the one who listens now."""

    attempt: _Attempt
    position: int
    told: int = 0

    def next(self, flow: Flow) -> Event | None:
        """The next event, in the order in which things happened."""
        held = self.attempt
        until = held.told[self.told][0] if self.told < len(held.told) else held.position
        frames: list[Frame] = []
        size = 0
        for end, frame in held.frames:
            if end > until or size >= EVENT_BYTES:
                break
            if end > self.position:
                if flow is Flow.WAIT and not self._is_short_and_over():
                    return None
                frames.append(lost(frame) if flow is Flow.DROP else frame)
                self.position = end
                size += len(frame.data)
        if frames:
            return OutputRead(*held.key, self.position, tuple(frames))
        if self.told < len(held.told):
            self.told += 1
            return held.told[self.told - 1][1]
        return None

    def _is_short_and_over(self) -> bool:
        held = self.attempt
        over = held.state is RunState.ENDED
        return over and held.position - self.position <= SHORT_BYTES


def lost(frame: Frame) -> Frame:
    """The same, with its bytes counted only."""
    if frame.lost:
        return frame
    size, lines = len(frame.data), frame.data.count(b"\n")
    return Frame(frame.step, frame.stream, frame.at, b"", size, lines)


EVENT_BYTES = 256 * 1024
"""About how much output one `OutputRead` carries at most."""

_SHELLS = frozenset({"/bin/sh", "sh", "/bin/bash", "bash"})
_NOWHERE = "/nonexistent"
_TERM, _KILL = 15, 9


class _Exit(Exception):
    """The script's process is over: by this exit code, or by this signal."""

    def __init__(self, code: int | None, signal: int | None = None) -> None:
        super().__init__(code, signal)
        self.code = code
        self.signal = signal


class ScriptedRunner:
    """A runner in memory: its commands are a few words of shell, its time is `clock`'s.

    A step's last argument is the script, its first one of `sh` and `bash` (any other program
    "does not exist", nor does a directory below `/nonexistent`). Words: `sleep SECONDS`,
    `echo TEXT` and `printf TEXT` (either with `>&2`), `exit CODE`, `kill -SIGNAL $$`, `true`,
    `false`, `test A -ge B` (also `-eq`, `=`), `trap '' TERM`, joined by `;`, `&&`, `||` or new
    lines; `$NAME` is read from the environment.

    `lose_connection`, `lose_keeper` and `restart_host` are the faults; `started` lists each start.

    >>> order = SpawnOrder(bytes(16), 1, (("sh", "-c", "sleep 90; echo hi; exit 3"),), {})
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._attempts: dict[tuple[bytes, int], _Attempt] = {}
        self._cursors: dict[tuple[bytes, int], _Cursor] = {}
        self._connected = False
        self._stopping = False
        self._flow = Flow.GO
        self._wake = asyncio.Event()
        self._pid = 1000
        self.started: list[tuple[bytes, int]] = []

    async def open(self) -> tuple[Known, ...]:
        self._connected = True
        self._cursors.clear()
        return tuple(
            Known(run_id, number, held.state, held.position)
            for (run_id, number), held in self._attempts.items()
        )

    async def resume(self, run_id: bytes, attempt: int, position: int) -> None:
        held = self._held(run_id, attempt)
        if held is not None:
            held.taken = max(held.taken, position)
            self._cursors[held.key] = _Cursor(held, position)
            self._wake.set()

    async def spawn(self, order: SpawnOrder) -> None:
        if self._held(order.run_id, order.attempt) is not None:
            return
        attempt = _Attempt(order)
        self._cursors[attempt.key] = _Cursor(attempt, 0)
        if self._stopping:
            self._refuse(attempt, "the worker is stopping")  # and nothing is kept of it
            return
        self._attempts[attempt.key] = attempt
        refused = self._refusal(order)
        if refused is not None:
            self._refuse(attempt, refused)
            return
        self.started.append(attempt.key)
        name = f"scripted {order.run_id.hex()}.{order.attempt}"
        attempt.task = asyncio.create_task(self._run(attempt), name=name)

    async def taken(self, run_id: bytes, attempt: int, position: int) -> None:
        held = self._held(run_id, attempt)
        if held is not None:
            held.taken = max(held.taken, position)
            held.frames = [(end, frame) for end, frame in held.frames if end > held.taken]
            held.room.set()

    async def cancel(self, run_id: bytes, attempt: int, grace: float) -> None:
        held = self._held(run_id, attempt)
        if held is not None:
            self._end(held, "cancelled", grace)

    async def forget(self, run_id: bytes, attempt: int) -> None:
        held = self._held(run_id, attempt)
        if held is None:
            return
        self._cursors.pop(held.key, None)
        if held.state is RunState.RUNNING:
            held.forgotten = True
            held.taken = sys.maxsize
            held.room.set()
        else:
            del self._attempts[held.key]

    def let_output(self, flow: Flow) -> None:
        self._flow = flow
        self._wake.set()

    async def events(self) -> AsyncIterator[Event]:
        while True:
            self._wake.clear()
            event = self._next()
            if event is not None:
                yield event
            elif self._connected:
                await self._wake.wait()
            else:
                return

    async def shutdown(self, grace: float) -> None:
        self._must_be_open()
        self._stopping = True
        running = [held for held in self._attempts.values() if held.state is RunState.RUNNING]
        for held in running:
            self._end(held, "stopped", grace)
        await asyncio.gather(*(held.task for held in running if held.task is not None))

    async def close(self) -> None:
        self._stopping = False
        self.lose_connection()

    def lose_connection(self) -> None:
        """The connection is gone; commands go on."""
        self._connected = False
        self._wake.set()

    def lose_keeper(self, reason: str = "the keeper was lost while the command ran") -> None:
        """The keeper dies, and with it all that it ran: those attempts are interrupted."""
        for held in self._attempts.values():
            if held.state is RunState.RUNNING:
                if held.task is not None:
                    held.task.cancel()
                held.state = RunState.INTERRUPTED
                self._tell(held, NotStarted(*held.key, self._clock.now(), reason, certain=False))
        self._cursors.clear()
        self.lose_connection()

    def restart_host(self) -> None:
        """The host restarts: as `lose_keeper`, with a reason of its own."""
        self.lose_keeper("the host restarted while the command ran")

    def _must_be_open(self) -> None:
        if not self._connected:
            raise RunnerLost("the runner is not open, or its connection is gone: open it again")

    def _held(self, run_id: bytes, attempt: int) -> _Attempt | None:
        self._must_be_open()
        return self._attempts.get((run_id, attempt))

    def _refusal(self, order: SpawnOrder) -> str | None:
        if order.deadline is not None and self._clock.boottime() > order.deadline:
            return "its deadline had passed"
        if order.slot is not None and self._clock.now() < order.slot:
            return "the host's clock was before the planned start"
        return None

    def _refuse(self, attempt: _Attempt, why: str) -> None:
        attempt.state = RunState.NOT_STARTED
        self._tell(attempt, NotStarted(*attempt.key, self._clock.now(), why, certain=True))

    def _next(self) -> Event | None:
        """The next event, attempts taking turns."""
        for key, cursor in self._cursors.items():
            event = cursor.next(self._flow)
            if event is not None:
                self._cursors[key] = self._cursors.pop(key)
                return event
        return None

    def _tell(self, attempt: _Attempt, event: Event) -> None:
        attempt.told.append((attempt.position, event))
        self._wake.set()

    def _end(self, attempt: _Attempt, why: str, grace: float) -> None:
        if attempt.state is RunState.RUNNING and attempt.stopped_by is None:
            attempt.stopped_by = why
            attempt.kill_at = self._clock.boottime() + grace
            attempt.stop.set()

    async def _time_out(self, attempt: _Attempt, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._end(attempt, "timeout", attempt.order.kill_after)

    async def _run(self, attempt: _Attempt) -> None:
        order = attempt.order
        alarm = None
        if order.timeout is not None:
            alarm = asyncio.create_task(self._time_out(attempt, order.timeout))
        try:
            for step in range(len(order.steps)):
                ok = await self._run_step(attempt, step)
                if attempt.stop.is_set() or not (ok or order.continue_on_error):
                    break
        finally:
            if alarm is not None:
                alarm.cancel()
        streams = {stream: totals.totals() for stream, totals in attempt.streams.items()}
        end = AttemptEnded(
            *attempt.key,
            self._clock.now(),
            attempt.stopped_by == "timeout",
            attempt.stopped_by in ("cancelled", "stopped"),
            0,
            streams,
        )
        attempt.state = RunState.ENDED
        self._tell(attempt, end)
        if attempt.forgotten:
            self._attempts.pop(attempt.key, None)

    async def _run_step(self, attempt: _Attempt, step: int) -> bool:
        order = attempt.order
        argv = order.steps[step]
        self._pid += 1
        started_at = self._clock.now()
        self._tell(attempt, StepStarted(*attempt.key, step, self._pid, started_at))
        reason = None
        try:
            if order.cwd is not None and order.cwd.startswith(_NOWHERE):
                reason = f"could not start: directory {order.cwd}: No such file or directory"
                raise _Exit(None)
            if argv[0] not in _SHELLS:
                reason = f"could not start: {argv[0]}: No such file or directory"
                raise _Exit(None)
            await self._interpret(attempt, step, argv[-1])
        except _Exit as end:
            code, signal = end.code, end.signal
        if attempt.stop.is_set():
            reason = attempt.stopped_by
        self._tell(
            attempt,
            StepEnded(*attempt.key, step, code, signal, started_at, self._clock.now(), reason),
        )
        return code == 0

    async def _interpret(self, attempt: _Attempt, step: int, script: str) -> None:
        """Run the words of `script`; ends by `_Exit` always."""
        status = 0
        trapped = False
        for joint, text in _WORDS.findall(script):
            if (joint == "&&" and status != 0) or (joint == "||" and status == 0):
                continue
            words = _words(text, attempt.order.env)
            stream = STDERR if words and words[-1] == ">&2" else STDOUT
            if stream == STDERR:
                words.pop()
            status = 0
            match words:
                case []:
                    pass
                case ["sleep", seconds]:
                    await self._sleep(attempt, float(seconds), trapped)
                case ["echo", *rest]:
                    await self._print(attempt, step, stream, " ".join(rest) + "\n")
                case ["printf", printed]:
                    await self._print(attempt, step, stream, printed)
                case ["true"] | [":"]:
                    pass
                case ["false"]:
                    status = 1
                case ["test", left, "-ge", right]:
                    status = int(int(left) < int(right))
                case ["test", left, "-eq" | "=", right]:
                    status = int(left != right)
                case ["exit", code]:
                    raise _Exit(int(code))
                case ["kill", number, "$$"]:
                    raise _Exit(None, int(number.removeprefix("-")))
                case ["trap", "", "TERM"]:
                    trapped = True
                case [word, *_]:
                    await self._print(attempt, step, STDERR, f"sh: 1: {word}: not found\n")
                    status = 127
        raise _Exit(status)

    async def _print(self, attempt: _Attempt, step: int, stream: int, text: str) -> None:
        while attempt.position - attempt.taken > UNTAKEN_MAX and not attempt.stop.is_set():
            attempt.room.clear()
            stopped = asyncio.create_task(attempt.stop.wait())
            room = asyncio.create_task(attempt.room.wait())
            await _first(stopped, room)
        if attempt.stop.is_set():
            raise _Exit(None, _TERM)
        data = text.encode("utf-8", "surrogateescape")
        attempt.position += FRAME_HEADER + len(data)
        frame = Frame(step, stream, self._clock.now(), data)
        attempt.frames.append((attempt.position, frame))
        attempt.streams[stream].add(data)
        self._wake.set()

    async def _sleep(self, attempt: _Attempt, seconds: float, trapped: bool) -> None:
        """Sleep, unless a signal ends the script before."""
        until = self._clock.boottime() + seconds
        asleep = asyncio.create_task(self._clock.sleep(seconds))
        stopped = asyncio.create_task(attempt.stop.wait())
        await _first(asleep, stopped)
        if not attempt.stop.is_set():
            return
        if not trapped:
            raise _Exit(None, _TERM)
        await self._clock.sleep(max(0.0, min(until, attempt.kill_at) - self._clock.boottime()))
        if until > attempt.kill_at:
            raise _Exit(None, _KILL)


_WORDS = re.compile(r"(^|;|&&|\|\||\n)((?:\"[^\"]*\"|'[^']*'|>&2|[^;&|\n'\"])*)")
_NAME = re.compile(r"\$(\w+|\$)")


def _words(text: str, env: Mapping[str, str]) -> list[str]:
    """The words of one command, quotes removed and names replaced."""
    names = {**env, "$": "$$"}
    return shlex.split(_NAME.sub(lambda name: names.get(name[1], ""), text))


async def _first(*tasks: asyncio.Task[object] | asyncio.Task[None]) -> None:
    """Wait for one of the tasks; the others are cancelled, and so are all if we are."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
