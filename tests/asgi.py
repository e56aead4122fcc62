"""Drives an ASGI application in process: requests in, answers out, no socket in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp

Message = MutableMapping[str, Any]


@dataclass(frozen=True)
class Response:
    """What came back: `pieces` are the parts of the body as they were sent."""

    status: int
    headers: Mapping[str, str]
    pieces: list[bytes]

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def json(self) -> Any:
        return json.loads(self.body)


def scope_of(
    kind: str, path: str, headers: Mapping[str, str], method: str | None = None
) -> dict[str, Any]:
    """The ASGI scope of a request for `path`, which may have a query."""
    plain, _, query = path.partition("?")
    scope: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": kind,
        "path": unquote(plain),
        "raw_path": plain.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
        "client": ("192.0.2.7", 40000),
        "server": ("192.0.2.1", 21526),
    }
    if method is not None:
        scope["method"] = method
    return scope


async def request(
    app: ASGIApp,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Response:
    """One HTTP request."""
    sent: list[Message] = []
    asked = [{"type": "http.request", "body": body, "more_body": False}]
    ended = asyncio.Event()

    async def receive() -> Message:
        if asked:
            return asked.pop()
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            ended.set()

    given = {"host": "barto.test", **(headers or {})}
    if body:
        given.setdefault("content-type", "application/json")
    await app(scope_of("http", path, given, method), receive, send)
    start = sent[0]
    return Response(
        start["status"],
        {name.decode().lower(): value.decode() for name, value in start["headers"]},
        [message.get("body", b"") for message in sent[1:]],
    )


@dataclass
class WebSocket:
    """The client's end of a websocket; `sent` are the server's messages as they come."""

    given: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    sent: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)

    async def send(self, data: bytes) -> None:
        await self.given.put({"type": "websocket.receive", "bytes": data})

    async def say(self, text: str) -> None:
        await self.given.put({"type": "websocket.receive", "text": text})

    async def receive(self) -> Message:
        return await self.sent.get()


@asynccontextmanager
async def websocket(
    app: ASGIApp,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    subprotocols: tuple[str, ...] = ("barto.v2",),
    can_refuse: bool = True,
) -> AsyncIterator[WebSocket]:
    """A websocket to `path`; leaving closes it, and waits until the server is done with it."""
    link = WebSocket()
    await link.given.put({"type": "websocket.connect"})
    scope = scope_of("websocket", path, headers or {})
    scope["subprotocols"] = list(subprotocols)
    scope["extensions"] = {"websocket.http.response": {}} if can_refuse else {}

    async def send(message: Message) -> None:
        await link.sent.put(message)

    serving = asyncio.create_task(_serve(app, scope, link, send))
    try:
        yield link
    finally:
        await link.given.put({"type": "websocket.disconnect", "code": 1000})
        await serving


async def _serve(app: ASGIApp, scope: dict[str, Any], link: WebSocket, send: Any) -> None:
    await app(scope, link.given.get, send)
