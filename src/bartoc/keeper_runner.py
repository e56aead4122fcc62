"""The runner of a real worker: how does bartoc find, start and follow its keeper?

It reads the keeper's files itself; the socket only tells how far they have got. So nothing queues
up between the two, and an attempt that is read as it runs and one that ended long ago are told in
the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from bartoc.keeper import crash, files
from bartoc.keeper.files import Message
from bartoc.runner import (
    EVENT_BYTES,
    SHORT_BYTES,
    STDOUT,
    AttemptEnded,
    Event,
    Flow,
    Frame,
    Known,
    NotStarted,
    OutputRead,
    RunnerLost,
    RunState,
    SpawnOrder,
    StepEnded,
    StepStarted,
    StreamTotals,
    lost,
)
from libbarto.clock import Clock

_PROGRAM = Path(files.__file__).with_name("__main__.py")
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""What the keeper itself is given: none of bartoc's secrets."""

_FIRST_PROTOCOL = 1
"""The oldest keeper that is understood: one outlives an upgrade of bartoc."""

_OPEN_SECONDS = 30.0
_CONNECT_AGAIN = 0.02
_READ_BYTES = 256 * 1024
_SUN_PATH = 107

_Key = tuple[bytes, int]
_Heard = Callable[[Message], None]
_Lost = Callable[[], None]


class KeeperRunner:
    """A `Runner` with the keeper of `state_dir`, a directory that exists and is the worker's own.

    `clock` gives the instant of what is only known here. A path too long for a socket address is
    reached through a descriptor of its directory (Linux).
    """

    def __init__(self, state_dir: Path, clock: Clock) -> None:
        self._directory = state_dir
        self._clock = clock
        self._link: _Link | None = None
        self._readings: dict[_Key, _Reading] = {}
        self._ready: dict[_Key, None] = {}
        self._flow = Flow.GO
        self._wake = asyncio.Event()
        self._stopped = asyncio.Event()

    async def open(self) -> tuple[Known, ...]:
        await self.close()
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                self._link = await self._greeted()
        except TimeoutError as error:
            raise RunnerLost(
                f"the keeper of {self._directory} does not answer; see {files.LOG} there"
            ) from error
        self._stopped.clear()
        self._link.follow(self._heard, self._lost)
        return tuple(
            Known(bytes.fromhex(run), attempt, RunState(state), position)
            for run, attempt, state, position in self._link.hello["runs"]
        )

    async def resume(self, run_id: bytes, attempt: int, position: int) -> None:
        self._readings[run_id, attempt] = _Reading(self._path(run_id, attempt), position)
        await self._say("watch", run_id, attempt, pos=position)

    async def spawn(self, order: SpawnOrder) -> None:
        key = (order.run_id, order.attempt)
        self._readings.setdefault(key, _Reading(self._path(*key), 0))
        crash.at("spawn.before_write")
        await self._say(
            "spawn",
            *key,
            steps=order.steps,
            env=dict(order.env),
            cwd=order.cwd,
            user=order.user,
            nice=order.nice,
            timeout=order.timeout,
            kill_after=order.kill_after,
            continue_on_error=order.continue_on_error,
            deadline=order.deadline,
            slot=order.slot,
        )
        crash.at("spawn.after_write")

    async def taken(self, run_id: bytes, attempt: int, position: int) -> None:
        await self._say("taken", run_id, attempt, pos=position)

    async def cancel(self, run_id: bytes, attempt: int, grace: float) -> None:
        await self._say("cancel", run_id, attempt, grace=grace)

    async def forget(self, run_id: bytes, attempt: int) -> None:
        reading = self._readings.get((run_id, attempt))
        if reading is not None:
            reading.forgotten = True
            if reading.over:
                self._drop((run_id, attempt))
        crash.at("forget.before_write")
        await self._say("forget", run_id, attempt)
        crash.at("forget.after_write")

    def let_output(self, flow: Flow) -> None:
        if flow is not self._flow:
            self._flow = flow
            self._ready.update(dict.fromkeys(self._readings))
            self._wake.set()

    async def events(self) -> AsyncIterator[Event]:
        while True:
            self._wake.clear()
            event = self._next()
            if event is not None:
                yield event
                await asyncio.sleep(0)  # however much there is to read, others have their turn
            elif self._link is not None:
                await self._wake.wait()
            else:
                return

    async def shutdown(self, grace: float) -> None:
        link = self._open_link()
        await link.send({"is": "shutdown", "grace": grace})
        await self._stopped.wait()

    async def close(self) -> None:
        link, self._link = self._link, None
        for key in list(self._readings):
            self._drop(key)
        if link is not None:
            await link.close()
        self._wake.set()
        self._stopped.set()

    # What the keeper says.

    def _heard(self, message: Message) -> None:
        match message["is"]:
            case "at":
                key = (bytes.fromhex(message["run"]), int(message["attempt"]))
                reading = self._readings.get(key)
                if reading is not None:
                    reading.reaches(message["out"], message["status"])
                    self._ready[key] = None
                    self._wake.set()
            case "refused":
                key = (bytes.fromhex(message["run"]), int(message["attempt"]))
                reading = self._readings.get(key)
                if reading is not None:
                    reading.refused(NotStarted(*key, message["at"], message["why"], certain=True))
                    self._ready[key] = None
                    self._wake.set()
            case "stopped":
                self._stopped.set()

    def _lost(self) -> None:
        """The connection is gone; what was said before can still be read."""
        self._link = None
        self._wake.set()
        self._stopped.set()

    def _next(self) -> Event | None:
        """The next event, attempts taking turns."""
        while self._ready:
            key = next(iter(self._ready))
            del self._ready[key]
            reading = self._readings[key]
            try:
                event = reading.next(*key, self._flow)
            except FileNotFoundError:
                if not reading.forgotten:
                    raise
                self._drop(key)
                continue
            if event is not None:
                self._ready[key] = None
                return event
        return None

    # What is said to the keeper.

    async def _say(self, kind: str, run_id: bytes, attempt: int, **more: object) -> None:
        message = {"is": kind, "run": run_id.hex(), "attempt": attempt, **more}
        await self._open_link().send(message)

    def _open_link(self) -> _Link:
        if self._link is None:
            raise RunnerLost("the connection to the keeper is gone: open it again")
        return self._link

    def _path(self, run_id: bytes, attempt: int) -> Path:
        name = files.attempt_name(run_id.hex(), attempt)
        return self._directory / files.RUNS / name

    def _drop(self, key: _Key) -> None:
        self._ready.pop(key, None)
        self._readings.pop(key).close()

    # How it is found.

    async def _greeted(self) -> _Link:
        """A connection that was greeted, with a keeper started where none answers."""
        while True:
            try:
                link = await _Link.connect(self._directory)
            except (FileNotFoundError, ConnectionError, EOFError):
                await self._start()
                await asyncio.sleep(_CONNECT_AGAIN)
                continue
            except OSError as error:
                raise RunnerLost(f"the keeper of {self._directory}: {error}") from error
            protocol = link.hello.get("protocol")
            if not isinstance(protocol, int) or not (_FIRST_PROTOCOL <= protocol <= files.PROTOCOL):
                await link.close()
                raise RunnerLost(
                    f"the keeper of {self._directory} speaks protocol {protocol}, this bartoc"
                    f" {_FIRST_PROTOCOL} to {files.PROTOCOL}: end it with the bartoc that started"
                    " it (bartoc stop)"
                )
            return link

    async def _start(self) -> None:
        """Start a keeper; the program ends when it listens. One that is there already is left."""
        command = (sys.executable, "-I", "-S", "-X", "utf8", str(_PROGRAM), str(self._directory))
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env={**_ENVIRONMENT, **crash.environment()},
            )
        except OSError as error:
            raise RunnerLost(f"the keeper cannot be started: {error}") from error
        _, said = await process.communicate()
        if process.returncode:
            why = said.decode("utf-8", "replace").strip()
            raise RunnerLost(f"the keeper cannot be started: {why or process.returncode}")


class _Link:
    """A connection to the keeper, and its greeting."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: Message
    ) -> None:
        self.hello = hello
        self._reader = reader
        self._writer = writer
        self._following: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, directory: Path) -> _Link:
        """Connect and wait for the greeting. Raises `OSError`, `EOFError` where it is left."""
        reader, writer = await asyncio.open_unix_connection(sock=_connected(directory))
        try:
            unpacker = files.Unpacker()
            messages: list[Message] = []
            while not messages:
                data = await reader.read(_READ_BYTES)
                if not data:
                    raise EOFError("the keeper left before it greeted")
                messages = unpacker.feed(data)
        except BaseException:
            writer.close()
            raise
        return cls(reader, writer, messages[0])

    def follow(self, heard: _Heard, lost: _Lost) -> None:
        """Call `heard` with each message, and `lost` when the connection is gone."""
        self._following = asyncio.create_task(self._follow(heard, lost), name="keeper messages")

    async def send(self, message: Message) -> None:
        """Raises `RunnerLost` where the connection is gone."""
        try:
            self._writer.write(files.pack(message))
            await self._writer.drain()
        except OSError as error:
            raise RunnerLost(f"the connection to the keeper is gone: {error}") from error

    async def close(self) -> None:
        """Leave, with all that was sent before on its way."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _follow(self, heard: _Heard, lost: _Lost) -> None:
        unpacker = files.Unpacker()
        try:
            with contextlib.suppress(OSError):
                while data := await self._reader.read(_READ_BYTES):
                    for message in unpacker.feed(data):
                        heard(message)
            lost()
        finally:  # also where the loop ends around us: the keeper greets nobody else before
            self._writer.close()


class _Reading:
    """What was read of an attempt's files so far: the next event is made when it is asked for.

    Output goes before a status line up to the position that this line names.
    """

    def __init__(self, path: Path, position: int) -> None:
        self.over = False
        self.forgotten = False
        """Its end may never have been told, as its files go when it has one."""
        self._path = path
        self._position = position
        self._output_until = 0
        self._status_until = 0
        self._status_read = 0
        self._lines: list[Message] = []
        self._refused: NotStarted | None = None
        self._segment = -1
        self._begin = 0

    def reaches(self, output: int, status: int) -> None:
        """The keeper's files have got this far."""
        self._output_until = output
        self._status_until = status

    def refused(self, event: NotStarted) -> None:
        """The keeper refused it, and has no files of it."""
        self._refused = event

    def next(self, run_id: bytes, attempt: int, flow: Flow) -> Event | None:
        """The next event, None where all was told that there is by now, or that may be told."""
        if self._refused is not None:
            event, self._refused = self._refused, None
            self.over = True
            return event
        if not self._lines and self._status_read < self._status_until:
            self._read_status()
        until = int(self._lines[0]["pos"]) if self._lines else self._output_until
        if self._position < until:
            if flow is Flow.WAIT and not self._is_short_and_over():
                return None
            frames = self._read_output(until)
            if flow is Flow.DROP:
                frames = tuple(map(lost, frames))
            if frames:
                return OutputRead(run_id, attempt, self._position, frames)
        if not self._lines:
            return None
        line = self._lines.pop(0)
        self.over = line["is"] in files.FINAL
        return _event(run_id, attempt, line)

    def _is_short_and_over(self) -> bool:
        """Is its end written, and little left before that? Then its verdict need not wait."""
        if self._status_read < self._status_until:
            self._read_status()
        over = bool(self._lines) and self._lines[-1]["is"] in files.FINAL
        return over and self._output_until - self._position <= SHORT_BYTES

    def close(self) -> None:
        """Let go of the open segment."""
        if self._segment >= 0:
            os.close(self._segment)
            self._segment = -1

    def _read_status(self) -> None:
        with (self._path / files.STATUS).open("rb") as file:
            file.seek(self._status_read)
            data = file.read(self._status_until - self._status_read)
        self._status_read += len(data)
        self._lines += [line for line in files.status_lines(data) if line["is"] != "planned"]
        match self._lines[-2:]:
            case [{"is": "started", "pos": before}, {"is": "lost", "pos": after}] if (
                before == after
            ):
                # The pid is written before the child is told to go: nothing shows that it was.
                del self._lines[-2]

    def _read_output(self, until: int) -> tuple[Frame, ...]:
        """Some frames from the position on; a position with nothing left of it is moved on."""
        while self._position < until:
            if self._segment < 0 and not self._open_segment(until):
                return ()
            size = min(EVENT_BYTES, until - self._position)
            data = os.pread(self._segment, size, self._position - self._begin)
            found = list(files.frames(data))
            if found:
                self._position += sum(files.FRAME_HEADER + len(frame[3]) for frame in found)
                return tuple(map(_frame, found))
            self.close()
        return ()

    def _open_segment(self, until: int) -> bool:
        """Open the segment that holds the position, or else the first one after it."""
        begins = files.segments([entry.name for entry in self._path.iterdir()])
        before = [begin for begin in begins if begin <= self._position]
        after = [begin for begin in begins if begin > self._position]
        for begin in (*before[-1:], *after[:1]):
            segment = os.open(self._path / files.segment_name(begin), os.O_RDONLY | os.O_CLOEXEC)
            size = os.fstat(segment).st_size
            if max(begin, self._position) < begin + size:
                self._segment, self._begin = segment, begin
                self._position = max(begin, self._position)
                return True
            os.close(segment)
        self._position = until
        return False


def _frame(read: tuple[int, int, int, bytes]) -> Frame:
    step, stream, at, data = read
    if stream != files.GAP:
        return Frame(step, stream, at, data)
    return Frame(step, STDOUT, at, b"", *files.parse_lost(data))


def _event(run_id: bytes, attempt: int, line: Message) -> Event:
    """The event that a status line tells of."""
    match line["is"]:
        case "started":
            return StepStarted(run_id, attempt, line["step"], line["pid"], line["at"])
        case "ended":
            return StepEnded(
                run_id,
                attempt,
                line["step"],
                line["code"],
                line["signal"],
                line["from"],
                line["at"],
                line["why"],
            )
        case "done":
            return AttemptEnded(
                run_id,
                attempt,
                line["at"],
                line["timed_out"],
                line["cancelled"],
                line["orphans"],
                _streams(line["streams"]),
            )
        case "refused":
            return NotStarted(run_id, attempt, line["at"], line["why"], certain=True)
        case _:
            return NotStarted(run_id, attempt, line["at"], line["why"], line["certain"])


def _streams(written: Mapping[str, tuple[int, int, str]]) -> dict[int, StreamTotals]:
    return {
        int(stream): StreamTotals(size, lines, bytes.fromhex(sha256))
        for stream, (size, lines, sha256) in written.items()
    }


def _connected(directory: Path) -> socket.socket:
    """A socket that is connected to the keeper's; raises `OSError`."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    link.setblocking(False)
    try:
        path = directory / files.SOCKET
        if len(os.fsencode(path)) <= _SUN_PATH:
            link.connect(str(path))
        else:
            folder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                link.connect(f"/proc/self/fd/{folder}/{files.SOCKET}")
            finally:
                os.close(folder)
    except OSError:
        link.close()
        raise
    return link
