"""Links in memory: how does a whole barto talk in one process, over links that a test can break?

A `Link` is the cable between two hosts. Connections come and go over it; the cable can be cut,
made slow, or made to say nothing (`stall`), and counts what it carries. `joined` gives the two
ends of one connection; a `MemoryNetwork` has listeners and connectors, as a real network has.

What TCP promises holds here too: a connection loses nothing in the middle. What was sent while a
link is stalled arrives when it is restored, in order, or is lost with the whole connection when
it is cut.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from libbarto.errors import ConnectionClosed
from libbarto.transport import (
    ABNORMAL,
    GOING_AWAY,
    MAX_MESSAGE,
    NORMAL,
    TOO_BIG,
    binary,
    closing,
)

WINDOW: Final = 262_144
"""Bytes that a direction of a connection holds unread before `send` waits."""

INTERNAL_ERROR: Final = 1011


@dataclass(slots=True)
class Traffic:
    """What one direction of a link has carried, over all its connections.

    `sent` messages of `sent_bytes` bytes were handed to it; `delivered` reached the other end,
    `lost` never will, and the rest is on the way.
    """

    sent: int = 0
    sent_bytes: int = 0
    delivered: int = 0
    lost: int = 0


class Link:
    """The cable between the hosts `a` and `b`, over which any number of connections may go.

    `window` is how many bytes a direction of a connection holds before `send` waits, and
    `max_message` the bytes above which a message is refused with 1009. `a_to_b` and `b_to_a`
    count, `connections` is how many were made.
    """

    def __init__(
        self,
        a: str = "worker",
        b: str = "server",
        *,
        window: int = WINDOW,
        max_message: int = MAX_MESSAGE,
    ) -> None:
        self.a = a
        self.b = b
        self.window = window
        self.max_message = max_message
        self.a_to_b = Traffic()
        self.b_to_a = Traffic()
        self.connections = 0
        self._latency = 0.0
        self._cut = False
        self._stalled = False
        self._ends: list[MemoryTransport] = []
        self._restored: deque[asyncio.Future[None]] = deque()

    @property
    def is_cut(self) -> bool:
        """Whether the cable is cut: no connection lives, none can be made."""
        return self._cut

    @property
    def is_stalled(self) -> bool:
        """Whether the cable says nothing: nothing arrives, and nobody is told."""
        return self._stalled

    @property
    def live(self) -> int:
        """How many connections neither end has closed and no cut has ended."""
        return sum(end.is_open and end._other.is_open for end in self._ends) // 2

    def cut(self) -> None:
        """Break all connections and let none be made; what is on the way is lost.

        Both ends are told at once (1006), and `connect` fails at once. What had arrived can still
        be read.
        """
        self._cut, self._stalled = True, False
        for end in tuple(self._ends):
            end._break()
        self._ends.clear()
        self._wake()

    def stall(self) -> None:
        """Carry nothing any more and tell nobody, as when a host or a router died: half-open.

        Senders go on until the window is full, then wait; `connect` waits.
        """
        self._stalled = True

    def restore(self) -> None:
        """End a cut or a stall: connections can be made, and what was held arrives, in order.

        A connection that was cut stays so; its ends must connect anew.
        """
        self._cut = self._stalled = False
        for end in tuple(self._ends):
            end._deliver_held()
        self._wake()

    def delay(self, seconds: float) -> None:
        """From now on, whatever is sent arrives `seconds` later, each way and still in order."""
        if seconds < 0:
            raise ValueError(f"a delay is not negative, got {seconds}")
        self._latency = seconds

    def join(self, *, subprotocol: str | None = None) -> tuple[MemoryTransport, MemoryTransport]:
        """The ends of a new connection, that of `a` first; ConnectionClosed where it is cut."""
        if self._cut:
            raise ConnectionClosed(ABNORMAL, f"the link from {self.a} to {self.b} is cut")
        near = MemoryTransport(self, self.a, self.b, self.a_to_b, subprotocol)
        far = MemoryTransport(self, self.b, self.a, self.b_to_a, subprotocol)
        near._other, far._other = far, near
        self._ends += (near, far)
        self.connections += 1
        return near, far

    async def passable(self) -> None:
        """Wait as a connection attempt does: for a stall's end, and for the way there and back.

        Raises ConnectionClosed where the link is cut, or becomes so meanwhile.
        """
        await self._unstalled()
        if self._latency:
            await asyncio.sleep(2 * self._latency)
            await self._unstalled()

    async def _unstalled(self) -> None:
        while self._stalled:
            restored = asyncio.get_running_loop().create_future()
            self._restored.append(restored)
            await restored
        if self._cut:
            raise ConnectionClosed(ABNORMAL, f"the link from {self.a} to {self.b} is cut")

    def _wake(self) -> None:
        while self._restored:
            restored = self._restored.popleft()
            if not restored.done():
                restored.set_result(None)


@dataclass(slots=True)
class _Frame:
    data: bytes
    due: float


@dataclass(slots=True)
class _Close:
    code: int
    reason: str
    due: float


class MemoryTransport:
    """One end of a connection in memory: a `Transport`, and what a test may ask beside it.

    `name` is the host that holds this end, `peer` the other one, `link` the cable between them.
    """

    def __init__(
        self, link: Link, name: str, peer: str, traffic: Traffic, subprotocol: str | None
    ) -> None:
        self.link = link
        self.name = name
        self._peer = peer
        self._subprotocol = subprotocol
        self._traffic = traffic
        self._other: MemoryTransport = self
        self._way: deque[_Frame | _Close] = deque()  # sent by us, not yet with the other end
        self._inbox: deque[bytes] = deque()
        self._unread = 0  # bytes of ours that the other end has not read yet
        self._ended: ConnectionClosed | None = None  # why we can neither send nor get more
        self._readers: deque[asyncio.Future[None]] = deque()
        self._writers: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._last_due = 0.0

    def __repr__(self) -> str:
        state = "open" if self._ended is None else str(self._ended)
        return f"<MemoryTransport {self.name} to {self._peer}, {state}>"

    @property
    def peer(self) -> str:
        """The name of the host at the other end."""
        return self._peer

    @property
    def subprotocol(self) -> str | None:
        """What the ends agreed on."""
        return self._subprotocol

    @property
    def is_open(self) -> bool:
        """Whether this end, as far as it knows, can still send."""
        return self._ended is None

    async def send(self, frame: bytes) -> None:
        """Send a message; waits while the window is full."""
        binary(frame)
        while self._ended is None and self._unread and self._unread + len(frame) > self._window:
            await self._wait_in(self._writers)
        if self._ended is not None:
            raise self._why()
        self._traffic.sent += 1
        self._traffic.sent_bytes += len(frame)
        self._unread += len(frame)
        self._dispatch(_Frame(frame, self._due()))

    async def receive(self) -> bytes:
        """The next message."""
        while not self._inbox:
            if self._ended is not None:
                raise self._why()
            await self._wait_in(self._readers)
        frame = self._inbox.popleft()
        if self._inbox:
            self._wake(self._readers)
        self._other._unread -= len(frame)
        self._wake(self._other._writers)
        return frame

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close this end now; the other end is told when the link lets it arrive."""
        code, reason = closing(code, reason)
        if self._ended is None:
            self._end(code, reason)
            self._dispatch(_Close(code, reason, self._due()))

    @property
    def _window(self) -> int:
        return self.link.window

    def _due(self) -> float:
        """When what is sent now arrives: never before what was sent earlier."""
        now = asyncio.get_running_loop().time()
        self._last_due = max(self._last_due, now + self.link._latency)
        return self._last_due

    def _dispatch(self, item: _Frame | _Close) -> None:
        self._way.append(item)
        self._deliver()

    def _deliver_held(self) -> None:
        if self._way:
            self._deliver()

    def _deliver(self) -> None:
        """Hand the other end what has come due, and set a timer for the rest."""
        if self.link._stalled or self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        while self._way and self._way[0].due <= loop.time():
            self._other._arrive(self._way.popleft(), self._traffic)
        if self._way:
            self._timer = loop.call_at(self._way[0].due, self._come_due)

    def _come_due(self) -> None:
        self._timer = None
        self._deliver()

    def _arrive(self, item: _Frame | _Close, traffic: Traffic) -> None:
        """Take what the other end sent, as its network stack would hand it to us."""
        if isinstance(item, _Close):
            if self._ended is None:
                self._end(item.code, item.reason)
            self._forget()
        elif self._ended is not None:
            traffic.lost += 1
        elif len(item.data) > self.link.max_message:
            traffic.lost += 1
            reason = f"message of {len(item.data)} bytes, at most {self.link.max_message} allowed"
            code, reason = closing(TOO_BIG, reason)
            self._end(code, reason)
            self._dispatch(_Close(code, reason, self._due()))
        else:
            traffic.delivered += 1
            self._inbox.append(item.data)
            self._wake(self._readers)

    def _end(self, code: int, reason: str) -> None:
        self._ended = ConnectionClosed(code, reason)
        for waiting in (self._readers, self._writers):
            while waiting:
                self._wake(waiting)

    def _break(self) -> None:
        self._traffic.lost += sum(isinstance(item, _Frame) for item in self._way)
        self._way.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ended is None:
            self._end(ABNORMAL, "the link was cut")

    def _forget(self) -> None:
        """Both ends know that it is over: what is still on the way has nobody to arrive at."""
        for end in (self, self._other):
            end._break()
            with contextlib.suppress(ValueError):
                self.link._ends.remove(end)

    def _why(self) -> ConnectionClosed:
        # A fresh one for each: a raised exception gathers tracebacks.
        assert self._ended is not None
        return ConnectionClosed(self._ended.code, self._ended.reason)

    async def _wait_in(self, waiting: deque[asyncio.Future[None]]) -> None:
        turn = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in waiting:
                waiting.remove(turn)
            elif turn.done() and not turn.cancelled():
                self._wake(waiting)  # woken and cancelled at once: the turn is another's
            raise

    @staticmethod
    def _wake(waiting: deque[asyncio.Future[None]]) -> None:
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


def joined(
    a: str = "worker",
    b: str = "server",
    *,
    subprotocol: str | None = None,
    window: int = WINDOW,
    max_message: int = MAX_MESSAGE,
) -> tuple[MemoryTransport, MemoryTransport]:
    """Both ends of one connection between the hosts `a` and `b`; `.link` of either is the cable.

    >>> from libbarto.testing import run
    >>> async def conversation() -> bytes:
    ...     worker, server = joined()
    ...     worker.link.delay(0.2)
    ...     await worker.send(b"hello")
    ...     return await server.receive()
    >>> run(conversation())
    b'hello'
    """
    return Link(a, b, window=window, max_message=max_message).join(subprotocol=subprotocol)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a client says when it connects: the query and header of a real one, and its host."""

    host: str
    name: str = ""
    token: str | None = None
    subprotocols: tuple[str, ...] = ()


Serve = Callable[[MemoryTransport, Offer], Awaitable[None]]
"""What serves a connection; when it returns, the connection is closed with 1000."""

Admit = Callable[[Offer], None]
"""Looks at an offer before there is a connection; raises `ConnectionRefused` to say no."""


@dataclass(slots=True)
class _Listener:
    serve: Serve
    admit: Admit | None
    subprotocols: tuple[str, ...]
    tasks: dict[asyncio.Task[None], MemoryTransport] = field(default_factory=dict)


class MemoryNetwork:
    """Listeners by name, and connectors to them: a network in which a test holds every cable."""

    def __init__(self) -> None:
        self._listeners: dict[str, _Listener] = {}

    def listen(
        self,
        address: str,
        serve: Serve,
        *,
        admit: Admit | None = None,
        subprotocols: Sequence[str] = ("barto.v2",),
    ) -> None:
        """Serve connections to `address`, each in a task of its own.

        Of a client's subprotocols, the first that is in `subprotocols` is agreed on. When `serve`
        fails, the connection is closed with 1011, as a real server does it, and the loop is told
        (so `run` fails).
        """
        if address in self._listeners:
            raise ValueError(f"something listens at {address} already")
        self._listeners[address] = _Listener(serve, admit, tuple(subprotocols))

    async def stop(self, address: str, *, crash: bool = False) -> None:
        """Listen no more, end the connections, and wait for what served them.

        Peers are told 1001; with `crash` they see the link break (1006), as after a kill.
        """
        listener = self._listeners.pop(address)
        tasks = tuple(listener.tasks.items())
        for task, transport in tasks:
            if crash:
                transport._forget()
            else:
                await transport.close(GOING_AWAY, "server stops")
            task.cancel()
        await asyncio.gather(*(task for task, _ in tasks), return_exceptions=True)

    def connector(
        self,
        address: str,
        *,
        host: str = "worker",
        name: str = "",
        token: str | None = None,
        subprotocols: Sequence[str] = ("barto.v2",),
        link: Link | None = None,
        open_timeout: float = 10.0,
    ) -> MemoryConnector:
        """A connector from `host` to `address`, over `link` or a new cable of its own.

        `name`, `token` and `subprotocols` are what the server is offered; an attempt that takes
        `open_timeout` seconds fails.
        """
        offer = Offer(host, name or host, token, tuple(subprotocols))
        return MemoryConnector(self, address, offer, link or Link(host, address), open_timeout)

    def _accept(self, address: str, offer: Offer, link: Link) -> MemoryTransport:
        listener = self._listeners.get(address)
        if listener is None:
            raise ConnectionClosed(ABNORMAL, f"nobody listens at {address}")
        if listener.admit is not None:
            listener.admit(offer)
        agreed = next((it for it in offer.subprotocols if it in listener.subprotocols), None)
        near, far = link.join(subprotocol=agreed)
        task = asyncio.get_running_loop().create_task(
            _served(listener.serve, far, offer), name=f"{address} serves {offer.host}"
        )
        listener.tasks[task] = far
        task.add_done_callback(lambda done: listener.tasks.pop(done, None))
        return near


@dataclass(slots=True)
class MemoryConnector:
    """Connects one host to one address of a `MemoryNetwork`, again and again; see there."""

    network: MemoryNetwork
    address: str
    offer: Offer
    link: Link
    open_timeout: float = 10.0
    attempts: int = 0

    async def connect(self) -> MemoryTransport:
        """A new connection; `ConnectionClosed` while the link is cut, stalled, or nobody listens,
        and `ConnectionRefused` where the listener does not admit us."""
        self.attempts += 1
        try:
            async with asyncio.timeout(self.open_timeout):
                await self.link.passable()
        except TimeoutError as error:
            raise ConnectionClosed(ABNORMAL, f"{self.address} does not answer") from error
        return self.network._accept(self.address, self.offer, self.link)


async def _served(serve: Serve, transport: MemoryTransport, offer: Offer) -> None:
    try:
        await serve(transport, offer)
    except ConnectionClosed:
        pass  # the peer went away while it was served: no failure of the server's
    except Exception as error:
        await transport.close(INTERNAL_ERROR, "")
        asyncio.get_running_loop().call_exception_handler(
            {
                "message": f"serving {offer.host} failed",
                "exception": error,
                "task": asyncio.current_task(),
            }
        )
    finally:
        if transport.is_open:
            await transport.close()
