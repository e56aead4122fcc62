"""The link between a worker and its server, in the nemesis's hands: a TCP proxy on loopback.

Each worker has a line of its own. What flows on it, in either direction, can be held up, slowed,
delayed, swallowed or cut, also in the midst of a frame or of a handshake.

    with Proxy(server_port) as proxy:
        line = proxy.line("vader")          # line.port is where the worker connects
        line.become(Link(up=Flow(stalled=True)))
        line.cut()
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")

BLOCK: Final = 16 * 1024
LOOK_S: Final = 0.05
RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Flow:
    """What happens to bytes in one direction: `rate` is bytes a second, `delay` and `jitter` are
    seconds; stalled bytes wait, swallowed ones are gone, and nobody is told."""

    stalled: bool = False
    swallowed: bool = False
    rate: float | None = None
    delay: float = 0.0
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Link:
    """Both directions of a line: `up` is from the worker to the server. A link that is `torn`
    lets each connection have so many bytes, and resets it then."""

    up: Flow = Flow()
    down: Flow = Flow()
    torn: int | None = None

    @property
    def loses(self) -> bool:
        """Whether bytes may be gone, so that no connection of now can live on."""
        return self.up.swallowed or self.down.swallowed or self.torn is not None


class Line:
    """One worker's way to the server."""

    def __init__(self, proxy: Proxy, seed: str) -> None:
        self._proxy = proxy
        self._rng = random.Random(seed)
        self._link = Link()
        self._changed = asyncio.Event()
        self._open: set[_Pair] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.connections = 0
        """How many there have been."""

    def become(self, link: Link) -> None:
        """From now on the line is like this. Where bytes were lost before, what is open is cut."""

        def change() -> None:
            before, self._link = self._link, link
            self._changed.set()
            self._changed = asyncio.Event()
            if before.loses:
                self._cut_all()

        self._proxy.call(change)

    def cut(self) -> None:
        """Reset every connection of now; new ones are welcome."""
        self._proxy.call(self._cut_all)

    # -- in the loop ------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Begin."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, limit=BLOCK)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """End, and cut what is open."""
        if self._server is not None:
            self._server.close()
        self._cut_all()

    def _cut_all(self) -> None:
        for pair in list(self._open):
            pair.cut()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        pair = _Pair([writer])
        self._open.add(pair)
        try:
            await self._while_stalled(lambda link: link.up)
            to_server = await asyncio.open_connection("127.0.0.1", self._proxy.target, limit=BLOCK)
            pair.writers.append(to_server[1])
            if pair.gone:
                return
            async with asyncio.TaskGroup() as flows:
                pair.tasks.append(
                    flows.create_task(self._flow(pair, reader, to_server[1], lambda link: link.up))
                )
                pair.tasks.append(
                    flows.create_task(
                        self._flow(pair, to_server[0], writer, lambda link: link.down)
                    )
                )
        except* (OSError, asyncio.CancelledError):
            pass  # one of the two is gone: so is the other, below
        finally:
            pair.cut()
            self._open.discard(pair)

    async def _flow(
        self,
        pair: _Pair,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        side: Callable[[Link], Flow],
    ) -> None:
        while data := await reader.read(BLOCK):
            await self._while_stalled(side)
            flow = side(self._link)
            if flow.swallowed:
                continue
            if flow.delay or flow.jitter:
                await asyncio.sleep(max(0.0, flow.delay + self._rng.uniform(-1, 1) * flow.jitter))
            if flow.rate:
                await asyncio.sleep(len(data) / flow.rate)
            torn = self._link.torn
            if torn is not None:
                pair.passed += len(data)
                if pair.passed >= torn:
                    writer.write(data[: max(0, len(data) - (pair.passed - torn))])
                    await writer.drain()
                    pair.cut()
                    return
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def _while_stalled(self, side: Callable[[Link], Flow]) -> None:
        while side(self._link).stalled:
            await self._changed.wait()


@dataclass(eq=False, slots=True)
class _Pair:
    """A connection of a worker, and the one to the server that belongs to it."""

    writers: list[asyncio.StreamWriter]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    passed: int = 0
    gone: bool = False

    def cut(self) -> None:
        """Reset both ends (SO_LINGER with no time, as socket(7) has it)."""
        self.gone = True
        for task in self.tasks:
            task.cancel()
        for writer in self.writers:
            end = writer.get_extra_info("socket")
            if end is not None and end.fileno() >= 0:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


class Proxy:
    """All lines to one server, in a thread of their own."""

    def __init__(self, target: int, seed: str = "0") -> None:
        self.target = target
        self._seed = seed
        self._lines: dict[str, Line] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def line(self, name: str) -> Line:
        """The line of that name; it is made when it is first asked for."""
        if name not in self._lines:
            line = self._lines[name] = Line(self, f"{self._seed}:{name}")
            self._wait(line.listen())
        return self._lines[name]

    def call(self, action: Callable[[], None]) -> None:
        """Do something in the loop, and wait until it is done."""

        async def do() -> None:
            action()

        self._wait(do())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(10)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        async def leave() -> None:
            for line in self._lines.values():
                line.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._wait(leave())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
