"""A server that stops answers those whom it cannot serve any more."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from bartos.listening import parting

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
