"""What every link does, be it in memory or a WebSocket; the real ones on the real loop.

Each implementation is a pair: the end of a client and that of a server, already connected. The
real servers are those that barto meets: Starlette on uvicorn, its own, and `websockets`, as any
other, both on a free port of the loopback interface.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from libbarto.errors import ConnectionClosed, UserError
from libbarto.testing import Link, MemoryNetwork, MemoryTransport, Offer, settled
from libbarto.transport import (
    MAX_MESSAGE,
    ConnectionRefused,
    Connector,
    Transport,
    closing,
)
from libbarto.websocket import ServerTransport, WebSocketConnector, WebSocketTransport

TOKEN = "let-me-in"
SUBPROTOCOLS = ("barto.v9", "barto.v2")


@dataclass
class Pair:
    """Both ends of a link: what the suite needs beside the port is how to break it."""

    client: Transport
    server: Transport
    break_off: Callable[[], None]


@dataclass
class Place:
    """Where a client connects to: it takes `TOKEN` only, and speaks barto.v2 if it is offered."""

    connector: Callable[[str | None, tuple[str, ...]], Connector]
    accepted: asyncio.Queue[Transport]

    async def pair(self) -> Pair:
        client = await self.connector(TOKEN, SUBPROTOCOLS).connect()
        server = await self.accepted.get()
        return Pair(client, server, lambda: break_link(client))


def break_link(client: Transport) -> None:
    if isinstance(client, MemoryTransport):
        client.link.cut()
    else:
        assert isinstance(client, WebSocketTransport)
        client._connection.transport.abort()


@contextlib.asynccontextmanager
async def memory() -> AsyncIterator[Place]:
    accepted: asyncio.Queue[Transport] = asyncio.Queue()
    network = MemoryNetwork()

    async def hold(transport: MemoryTransport, offer: Offer) -> None:
        accepted.put_nowait(transport)
        await asyncio.Event().wait()

    def admit(offer: Offer) -> None:
        if offer.token != TOKEN:
            raise ConnectionRefused(401, "unauthorized")

    network.listen("server", hold, admit=admit)
    yield Place(
        lambda token, offered: network.connector("server", token=token, subprotocols=offered),
        accepted,
    )
    await network.stop("server")


@contextlib.asynccontextmanager
async def uvicorn_server() -> AsyncIterator[Place]:
    accepted: asyncio.Queue[Transport] = asyncio.Queue()
    over = asyncio.Event()

    async def endpoint(websocket: WebSocket) -> None:
        if websocket.headers.get("authorization") != f"Bearer {TOKEN}":
            await websocket.send_denial_response(PlainTextResponse("unauthorized", 401))
            return
        chosen = "barto.v2" if "barto.v2" in websocket.scope["subprotocols"] else None
        await websocket.accept(chosen)
        accepted.put_nowait(ServerTransport(websocket, chosen))
        await over.wait()

    app = Starlette(routes=[WebSocketRoute("/v1/ws/worker", endpoint)])
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        serving = asyncio.create_task(server.serve([listening]))
        yield at(port, accepted)
        over.set()
        server.should_exit = True
        await serving


@contextlib.asynccontextmanager
async def websockets_server() -> AsyncIterator[Place]:
    accepted: asyncio.Queue[Transport] = asyncio.Queue()

    async def hold(connection: ServerConnection) -> None:
        accepted.put_nowait(WebSocketTransport(connection))
        await connection.wait_closed()

    async def admit(connection: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return Response(401, "Unauthorized", Headers(), b"unauthorized")
        return None

    known = [Subprotocol("barto.v2")]
    async with serve(
        hold,
        "127.0.0.1",
        0,
        process_request=admit,
        subprotocols=known,
        select_subprotocol=lambda _, offered: known[0] if known[0] in offered else None,
        max_size=MAX_MESSAGE,
        ping_interval=None,
        compression=None,
        close_timeout=1,
    ) as server:
        yield at(server.sockets[0].getsockname()[1], accepted)


def at(port: int, accepted: asyncio.Queue[Transport]) -> Place:
    url = f"ws://127.0.0.1:{port}/v1/ws/worker?name=worker"
    return Place(
        lambda token, offered: WebSocketConnector(
            url, token=token, subprotocols=offered, close_timeout=1
        ),
        accepted,
    )


Where = Callable[[], AbstractAsyncContextManager[Place]]

places = pytest.mark.parametrize(
    "where",
    [
        pytest.param(memory, id="memory"),
        pytest.param(uvicorn_server, id="uvicorn", marks=pytest.mark.real_loop),
        pytest.param(websockets_server, id="websockets", marks=pytest.mark.real_loop),
    ],
)


async def closed(action: Awaitable[object]) -> ConnectionClosed:
    """The `ConnectionClosed` that `action` raises."""
    with pytest.raises(ConnectionClosed) as caught:
        await action
    return caught.value


@places
async def test_messages_arrive_whole_and_in_order_both_ways(where: Where) -> None:
    async with where() as place:
        pair = await place.pair()
        messages = [bytes([n]) * n * 100 for n in range(200)]

        async def send_all(end: Transport) -> None:
            for message in messages:
                await end.send(message)

        async def receive_all(end: Transport) -> list[bytes]:
            return [await end.receive() for _ in messages]

        _, _, at_server, at_client = await asyncio.gather(
            send_all(pair.client),
            send_all(pair.server),
            receive_all(pair.server),
            receive_all(pair.client),
        )
        assert at_server == messages
        assert at_client == messages
        await pair.client.close()


@places
async def test_an_empty_message_is_a_message(where: Where) -> None:
    async with where() as place:
        pair = await place.pair()
        await pair.server.send(b"")
        await pair.server.send(b"after")
        assert [await pair.client.receive(), await pair.client.receive()] == [b"", b"after"]
        await pair.client.close()


@places
async def test_the_largest_message_passes(where: Where) -> None:
    async with where() as place:
        pair = await place.pair()
        message = bytes(MAX_MESSAGE)
        for sender, receiver in ((pair.client, pair.server), (pair.server, pair.client)):
            await sender.send(message)
            assert await receiver.receive() == message
        await pair.client.close()


@places
@pytest.mark.parametrize("towards", ["server", "client"])
async def test_a_message_too_big_closes_the_link_with_1009(where: Where, towards: str) -> None:
    async with where() as place:
        pair = await place.pair()
        sender, receiver = pair.client, pair.server
        if towards == "client":
            sender, receiver = receiver, sender
        await sender.send(bytes(MAX_MESSAGE + 1))
        assert (await closed(receiver.receive())).code == 1009
        assert (await closed(sender.receive())).code == 1009


@places
@pytest.mark.parametrize("closer", ["client", "server"])
async def test_code_and_reason_of_a_close_arrive(where: Where, closer: str) -> None:
    async with where() as place:
        pair = await place.pair()
        one, other = pair.client, pair.server
        if closer == "server":
            one, other = other, one
        told = asyncio.create_task(closed(other.receive()))
        await one.close(4321, "no more of this")
        error = await told
        assert (error.code, error.reason) == (4321, "no more of this")
        assert (await closed(one.receive())).code == 4321


@places
async def test_what_was_sent_before_a_close_is_read_before_it_is_told(where: Where) -> None:
    async with where() as place:
        pair = await place.pair()
        for n in range(5):
            await pair.client.send(bytes([n]))
        closing_it = asyncio.create_task(pair.client.close(1001, "bye"))
        assert [await pair.server.receive() for _ in range(5)] == [bytes([n]) for n in range(5)]
        error = await closed(pair.server.receive())
        assert (error.code, error.reason) == (1001, "bye")
        assert (await closed(pair.server.receive())).code == 1001
        await closing_it


@places
async def test_sending_after_a_close_raises_at_both_ends(where: Where) -> None:
    async with where() as place:
        pair = await place.pair()
        told = asyncio.create_task(closed(pair.server.receive()))
        await pair.client.close(1000)
        await told
        assert (await closed(pair.client.send(b"x"))).code == 1000
        await closed(pair.server.send(b"x"))


@places
async def test_closing_twice_or_after_the_peer_does_nothing(where: Where) -> None:
    async with where() as place:
        pair = await place.pair()
        told = asyncio.create_task(closed(pair.server.receive()))
        await pair.client.close(1001, "first")
        await pair.client.close(1002, "second")
        assert (await told).reason == "first"
        await pair.server.close(1011, "third")
        assert (await closed(pair.client.receive())).code == 1001


@places
async def test_a_long_reason_is_cut_at_a_character(where: Where) -> None:
    async with where() as place:
        pair = await place.pair()
        told = asyncio.create_task(closed(pair.server.receive()))
        await pair.client.close(1000, "ß" * 200)
        assert (await told).reason == "ß" * 61


@places
async def test_a_code_that_may_not_travel_is_refused_and_the_link_lives(where: Where) -> None:
    async with where() as place:
        pair = await place.pair()
        for end in (pair.client, pair.server):
            for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000):
                with pytest.raises(ValueError, match="may not travel"):
                    await end.close(code)
        await pair.client.send(b"still here")
        assert await pair.server.receive() == b"still here"
        await pair.client.close()


@places
async def test_a_link_that_breaks_is_told_as_1006(where: Where) -> None:
    async with where() as place:
        pair = await place.pair()
        await pair.client.send(b"before")
        assert await pair.server.receive() == b"before"
        pair.break_off()
        assert (await closed(pair.client.receive())).code == 1006
        assert (await closed(pair.server.receive())).code == 1006
        await closed(pair.server.send(b"x"))


@places
async def test_only_bytes_can_be_sent(where: Where) -> None:
    async with where() as place:
        pair = await place.pair()
        for end in (pair.client, pair.server):
            with pytest.raises(TypeError, match="carries bytes, not str"):
                await end.send("text")  # type: ignore[arg-type]  # that it is refused is the point
        await pair.client.close()


@places
async def test_a_cancelled_receive_loses_no_message(where: Where) -> None:
    async with where() as place:
        pair = await place.pair()
        got: list[bytes] = []
        for n in range(100):
            receiving = asyncio.create_task(pair.server.receive())
            for _ in range(n % 7):
                await asyncio.sleep(0)
            await pair.client.send(bytes([n]))
            for _ in range(n % 11):
                await asyncio.sleep(0)
            receiving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                got.append(await receiving)
        while len(got) < 100:
            got.append(await pair.server.receive())
        assert got == [bytes([n]) for n in range(100)]
        await pair.client.close()


@places
async def test_a_sender_waits_for_a_slow_reader_and_goes_on_with_it(where: Where) -> None:
    async with where() as place:
        pair = await place.pair()
        sent = 0
        message = bytes(65_536)

        async def flood() -> None:
            nonlocal sent
            while sent < 400:
                await pair.server.send(message)
                sent += 1

        flooding = asyncio.create_task(flood())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(flooding), 0.3)
        assert sent < 400
        for _ in range(400):
            assert len(await pair.client.receive()) == 65_536
        await flooding
        await pair.client.close()


@places
async def test_a_sender_that_waits_is_told_of_a_broken_link(where: Where) -> None:
    async with where() as place:
        pair = await place.pair()

        async def flood() -> None:
            while True:
                await pair.client.send(bytes(65_536))

        flooding = asyncio.create_task(closed(flood()))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(flooding), 0.2)
        pair.break_off()
        assert (await flooding).code == 1006


@places
async def test_the_ends_know_the_address_of_their_peer_without_a_port(where: Where) -> None:
    async with where() as place:
        pair = await place.pair()
        assert pair.client.peer in ("127.0.0.1", "server")
        assert pair.server.peer in ("127.0.0.1", "worker")
        await pair.client.close()


@places
@pytest.mark.parametrize(
    ("offered", "agreed"),
    [(SUBPROTOCOLS, "barto.v2"), (("barto.v2",), "barto.v2"), (("barto.v9",), None), ((), None)],
)
async def test_the_ends_agree_on_a_subprotocol(
    where: Where, offered: tuple[str, ...], agreed: str | None
) -> None:
    async with where() as place:
        client = await place.connector(TOKEN, offered).connect()
        server = await place.accepted.get()
        assert client.subprotocol == agreed
        if not isinstance(server, WebSocketTransport):
            assert server.subprotocol == agreed
        await client.close()


@places
@pytest.mark.parametrize("token", [None, "", "wrong"])
async def test_who_is_refused_reads_status_and_text(where: Where, token: str | None) -> None:
    async with where() as place:
        with pytest.raises(ConnectionRefused, match="401") as caught:
            await place.connector(token, SUBPROTOCOLS).connect()
        assert (caught.value.status, caught.value.text) == (401, "unauthorized")
        assert not caught.value.temporary
        assert place.accepted.empty()


@places
async def test_a_connector_connects_again_and_again(where: Where) -> None:
    async with where() as place:
        connector = place.connector(TOKEN, SUBPROTOCOLS)
        for n in range(3):
            client = await connector.connect()
            server = await place.accepted.get()
            await client.send(bytes([n]))
            assert await server.receive() == bytes([n])
            await client.close()


# What only a WebSocket can meet.


def nobody() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.mark.real_loop
async def test_where_nobody_listens_the_error_says_so() -> None:
    port = nobody()
    error = await closed(WebSocketConnector(f"ws://127.0.0.1:{port}/").connect())
    assert error.code == 1006
    assert error.reason == f"cannot reach 127.0.0.1:{port}: Connection refused"


@pytest.mark.real_loop
async def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}/"
        error = await closed(WebSocketConnector(url, open_timeout=0.1).connect())
    assert error.reason == "127.0.0.1 did not answer within 0.1 s"


@contextlib.asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """A server that gives everyone the same answer; its URL."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.mark.real_loop
@pytest.mark.parametrize(
    ("status", "temporary", "advice"),
    [
        (401, False, "join again"),
        (403, False, "may not do this"),
        (404, False, "check the path"),
        (409, False, "choose another name"),
        (429, True, "tried again"),
        (503, True, "status 503"),
    ],
)
async def test_a_refusal_says_what_to_do(status: int, temporary: bool, advice: str) -> None:
    body = b"the words\x1b[31m of the server"
    head = b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    async with answering(head + body) as url:
        with pytest.raises(ConnectionRefused, match=advice) as caught:
            await WebSocketConnector(url).connect()
    assert caught.value.status == status
    assert caught.value.temporary is temporary
    assert caught.value.text == "the words [31m of the server"


@pytest.mark.real_loop
async def test_a_redirect_is_not_followed_as_the_token_is_for_this_server_alone() -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n"
    async with answering(answer) as url:
        with pytest.raises(ConnectionRefused, match="write that address") as caught:
            await WebSocketConnector(url, token=TOKEN).connect()
    assert caught.value.status == 302


@pytest.mark.real_loop
@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.9\r\n", b""])
async def test_a_server_of_another_kind_is_an_error_not_a_traceback(answer: bytes) -> None:
    async with answering(answer) as url:
        error = await closed(WebSocketConnector(url).connect())
    assert error.code == 1006
    assert error.reason.startswith("cannot reach 127.0.0.1")


@pytest.mark.real_loop
async def test_no_tls_where_tls_is_expected_is_told() -> None:
    async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        context = ssl.create_default_context()
        secure = url.replace("ws://", "wss://")
        error = await closed(
            WebSocketConnector(secure, ssl_context=context, open_timeout=1).connect()
        )
    assert error.code in (1006, 1015)


@pytest.mark.real_loop
async def test_a_proxy_of_the_environment_is_not_used_for_this_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "ws_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{nobody()}")
    monkeypatch.delenv("no_proxy", raising=False)
    async with websockets_server() as place:
        pair = await place.pair()
        await pair.client.close()


@pytest.mark.real_loop
async def test_a_proxy_that_cannot_be_reached_is_an_error_not_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "ws_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{nobody()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    error = await closed(WebSocketConnector("wss://barto.invalid/").connect())
    assert "Connection refused" in error.reason


@pytest.mark.real_loop
@pytest.mark.parametrize("where", [uvicorn_server, websockets_server])
@pytest.mark.parametrize("teller", ["client", "server"])
async def test_text_closes_the_link_with_1003(where: Where, teller: str) -> None:
    async with where() as place:
        pair = await place.pair()
        one, other = pair.client, pair.server
        if teller == "server":
            one, other = other, one
        if isinstance(one, WebSocketTransport):
            await one._connection.send("text")
        else:
            assert isinstance(one, ServerTransport)
            await one._websocket.send_text("text")
        told = asyncio.create_task(closed(one.receive()))
        assert (await closed(other.receive())).code == 1003
        assert (await told).code == 1003


@pytest.mark.real_loop
async def test_a_client_says_who_it_is_and_offers_no_compression() -> None:
    seen: list[Headers] = []

    async def look(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append(connection.request.headers)

    async with serve(look, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = await WebSocketConnector(f"ws://127.0.0.1:{port}/", token=TOKEN).connect()
        await closed(client.receive())
    (headers,) = seen
    assert headers["User-Agent"].startswith("barto/")
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert "Sec-WebSocket-Extensions" not in headers


@pytest.mark.parametrize(
    "url", ["http://server/", "server:21526", "wss://", "", "wss://me:secret@server/"]
)
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(UserError) as caught:
        WebSocketConnector(url)
    assert "secret" not in str(caught.value)


def test_a_token_is_not_shown() -> None:
    assert TOKEN not in repr(WebSocketConnector("wss://server/", token=TOKEN))


def test_a_close_reason_with_half_a_character_can_still_travel() -> None:
    assert closing(1000, "\ud800") == (1000, "?")


# What only a link in memory can do.


async def test_a_cut_ends_the_connection_and_a_restored_link_takes_the_next() -> None:
    async with memory() as place:
        connector = place.connector(TOKEN, SUBPROTOCOLS)
        client = await connector.connect()
        assert isinstance(client, MemoryTransport)
        link = client.link
        link.cut()
        assert (await closed(client.receive())).code == 1006
        assert "is cut" in (await closed(connector.connect())).reason
        link.restore()
        again = await connector.connect()
        assert isinstance(again, MemoryTransport)
        assert again.link is link
        assert (link.connections, link.live) == (2, 1)


async def test_a_delay_makes_all_arrive_later_and_in_order() -> None:
    worker, server = Link().join()
    loop = asyncio.get_running_loop()
    worker.link.delay(0.2)
    await worker.send(b"slow")
    worker.link.delay(0)
    await worker.send(b"fast")
    assert await server.receive() == b"slow"
    assert await server.receive() == b"fast"
    assert loop.time() == 0.2


async def test_a_stalled_link_tells_nobody_and_gives_all_when_restored() -> None:
    worker, server = Link().join()
    worker.link.stall()
    await worker.send(b"one")
    await worker.send(b"two")
    await worker.close(1001, "tired of waiting")
    receiving = asyncio.create_task(server.receive())
    await settled()
    assert not receiving.done()
    assert server.is_open
    worker.link.restore()
    assert [await receiving, await server.receive()] == [b"one", b"two"]
    assert (await closed(server.receive())).reason == "tired of waiting"


async def test_what_is_on_a_stalled_link_is_lost_when_it_is_cut() -> None:
    worker, server = Link().join()
    worker.link.stall()
    await worker.send(b"one")
    worker.link.cut()
    assert (await closed(server.receive())).code == 1006
    assert (worker.link.a_to_b.sent, worker.link.a_to_b.lost) == (1, 1)


async def test_a_stalled_link_lets_nobody_connect_until_the_time_is_up() -> None:
    async with memory() as place:
        connector = place.connector(TOKEN, SUBPROTOCOLS)
        client = await connector.connect()
        assert isinstance(client, MemoryTransport)
        client.link.stall()
        error = await closed(connector.connect())
        assert "does not answer" in error.reason
        assert asyncio.get_running_loop().time() == 10


async def test_a_stalled_sender_waits_when_the_window_is_full() -> None:
    worker, _server = Link(window=1_000).join()
    worker.link.stall()
    await worker.send(bytes(600))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(worker.send(bytes(600)), 60)
    assert worker.link.a_to_b.sent == 1


async def test_a_link_counts_what_it_carries() -> None:
    worker, server = Link().join()
    await worker.send(b"12345")
    await server.send(b"123")
    await server.receive()
    up, down = worker.link.a_to_b, worker.link.b_to_a
    assert (up.sent, up.sent_bytes, up.delivered, up.lost) == (1, 5, 1, 0)
    assert (down.sent, down.sent_bytes, down.delivered, down.lost) == (1, 3, 1, 0)


async def test_a_stopped_listener_says_why_and_a_crashed_one_does_not() -> None:
    async def hold(transport: MemoryTransport, offer: Offer) -> None:
        await asyncio.Event().wait()

    network = MemoryNetwork()
    for crash, code in ((False, 1001), (True, 1006)):
        network.listen("server", hold)
        client = await network.connector("server").connect()
        await network.stop("server", crash=crash)
        assert (await closed(client.receive())).code == code
        assert "nobody listens" in (await closed(network.connector("server").connect())).reason


async def test_a_connection_is_closed_when_what_serves_it_returns() -> None:
    async def echo_once(transport: MemoryTransport, offer: Offer) -> None:
        await transport.send(await transport.receive() + offer.name.encode())

    network = MemoryNetwork()
    network.listen("server", echo_once)
    client = await network.connector("server", name="vader").connect()
    await client.send(b"I am ")
    assert await client.receive() == b"I am vader"
    assert (await closed(client.receive())).code == 1000
