"""A server that stops answers those whom it cannot serve any more."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from bartos.listening import OPENING_S, once_open, parting

HTTP: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
STARTED: Message = {"type": "http.response.start", "status": 200, "headers": []}


async def nothing() -> Message:
    return {"type": "http.request"}


async def stopped(scope: Scope, *, begun: bool) -> list[Message]:
    """What a request is told that takes too long, and is cancelled by a stop."""
    told: list[Message] = []

    async def send(message: Message) -> None:
        told.append(message)

    async def for_ever(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send(STARTED)
        await asyncio.Event().wait()

    async def ask() -> None:
        await parting(for_ever)(scope, nothing, send)

    request = asyncio.create_task(ask())
    await asyncio.sleep(0)
    request.cancel("timeout graceful shutdown exceeded")
    await request
    return told


async def test_a_request_that_has_no_answer_yet_gets_one() -> None:
    start, body = await stopped(HTTP, begun=False)
    assert start["status"] == 503
    assert b"the server is stopping" in body["body"]


@pytest.mark.parametrize("scope", [HTTP, {"type": "websocket"}])
async def test_what_has_begun_is_broken_off(scope: Scope) -> None:
    assert await stopped(scope, begun=True) == [STARTED]


async def test_everything_else_passes() -> None:
    told: list[Message] = []

    async def send(message: Message) -> None:
        told.append(message)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(STARTED)

    await parting(answer)(HTTP, nothing, send)
    assert told == [STARTED]


async def answered_after(path: str, opens_after: float) -> float:
    """How long a request waits for its answer where the store is open after so many seconds."""
    now = asyncio.get_running_loop().time
    began, told = now(), []
    opened = asyncio.Event()
    asyncio.get_running_loop().call_later(opens_after, opened.set)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        told.append(now() - began)

    async def send(message: Message) -> None:
        raise AssertionError("nothing but the application answers")

    await once_open(answer, opened)({**HTTP, "path": path}, nothing, send)
    return told[0]


async def test_who_asks_while_the_store_is_opened_waits_for_that() -> None:
    assert await answered_after("/api/v1/runs", 1.0) == pytest.approx(1.0)


async def test_nobody_waits_long_for_a_store_that_does_not_open() -> None:
    assert await answered_after("/api/v1/runs", 60.0) == pytest.approx(OPENING_S)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_who_asks_whether_it_is_open_does_not_wait(path: str) -> None:
    assert await answered_after(path, 1.0) == 0
