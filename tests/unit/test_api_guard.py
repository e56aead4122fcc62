"""Nobody reaches a handler without the server's key or its Unix socket."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from bartos.api.app import CLI_PATH, WORKER_PATH, create_app
from bartos.api.guard import LOCAL, OPEN, Guard, admit, over_unix_socket
from bartos.services import Facts, Services
from bartos.sessions import Sessions
from tests.asgi import request, scope_of, websocket
from tests.faces import KEY, NOON, Barto, StoppedClock

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
WRONG: tuple[dict[str, str], ...] = (
    {},
    {"authorization": ""},
    {"authorization": "Bearer"},
    {"authorization": "Bearer "},
    {"authorization": "Bearer wrong"},
    {"authorization": f"Bearer {KEY}x"},
    {"authorization": f"Bearer {KEY[:-1]}"},
    {"authorization": f"Bearer  {KEY}"},
    {"authorization": f"bearer {KEY}"},
    {"authorization": f"Basic {KEY}"},
    {"authorization": KEY},
    {"cookie": f"key={KEY}"},
    {"x-forwarded-for": "127.0.0.1"},
)


class Untouchable:
    """Services that no refused request may so much as look at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a handler asked for {name}")


async def untouchable_endpoint(websocket: WebSocket) -> None:
    raise AssertionError("the worker's endpoint was reached")


def admits(scope: Any, key: str) -> bool:
    return admit(scope, Facts(key, "store", "file"), Sessions(lambda: key), NOON).admitted


def guarded(key: str | None = KEY) -> ASGIApp:
    nothing: Any = Untouchable()
    facts = Facts(key, "store", "file")
    others: list[Any] = [nothing] * (len(fields(Services)) - 5)
    services = Services(nothing, nothing, nothing, lambda: facts, StoppedClock(), *others)
    return create_app(services, untouchable_endpoint)


def all_paths() -> list[str]:
    app = create_app(Barto().services, untouchable_endpoint)
    paths = [path.replace("{run}", "@last") for path in app.openapi()["paths"]]
    assert len(paths) >= 10
    return [*paths, "/api/v1/openapi.json", "/", "/nothing/here", "/docs", "/api/v1/ca/"]


@pytest.mark.parametrize("headers", WRONG)
async def test_every_route_refuses_who_has_no_key(headers: dict[str, str]) -> None:
    app = guarded()
    for path in all_paths():
        for method in METHODS:
            if (method, path) in OPEN:
                continue
            answer = await request(app, path, method=method, headers=headers)
            assert answer.status == 401, (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", [CLI_PATH, WORKER_PATH, "/v1/ws/other"])
@pytest.mark.parametrize("headers", WRONG)
async def test_every_websocket_refuses_who_has_no_key(path: str, headers: dict[str, str]) -> None:
    async with websocket(guarded(), path, headers=headers) as link:
        start = await link.receive()
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)


async def test_a_server_that_cannot_answer_a_handshake_closes_it() -> None:
    async with websocket(guarded(), CLI_PATH, can_refuse=False) as link:
        assert (await link.receive())["type"] == "websocket.close"


@pytest.mark.parametrize("key", [None, ""])
async def test_without_a_key_nobody_gets_in_over_the_network(key: str | None) -> None:
    for headers in ({}, {"authorization": "Bearer "}, {"authorization": "Bearer None"}):
        assert (await request(guarded(key), "/api/v1/runs", headers=headers)).status == 401


def test_two_keys_at_once_are_none() -> None:
    scope = scope_of("http", "/api/v1/runs", {"authorization": f"Bearer {KEY}"}, "GET")
    assert admits(scope, KEY)
    scope["headers"] *= 2
    assert not admits(scope, KEY)


def test_a_key_is_compared_as_bytes_whatever_they_are() -> None:
    scope = scope_of("http", "/", {}, "GET")
    scope["headers"] = [(b"authorization", b"Bearer \xff\xfe")]
    assert not admits(scope, KEY)
    scope["headers"] = [(b"authorization", "Bearer schlüssel".encode())]
    assert admits(scope, "schlüssel")


async def test_the_open_routes_are_open() -> None:
    app = create_app(Barto().services)
    assert (await request(app, "/healthz")).json() == {"status": "ok"}
    assert (await request(app, "/api/v1/ca")).body.startswith(b"-----BEGIN CERTIFICATE")
    refused = await request(app, "/api/v1/join", method="POST", body=b'{"secret": "guess"}')
    assert refused.status == 403


async def test_the_key_lets_in() -> None:
    app = create_app(Barto().services)
    answer = await request(app, "/api/v1/runs", headers={"authorization": f"Bearer {KEY}"})
    assert answer.status == 200


async def test_a_key_that_was_changed_counts_at_once() -> None:
    barto = Barto()
    app = create_app(barto.services)
    barto.with_key("another")
    old = await request(app, "/api/v1/runs", headers={"authorization": f"Bearer {KEY}"})
    new = await request(app, "/api/v1/runs", headers={"authorization": "Bearer another"})
    assert (old.status, new.status) == (401, 200)


async def test_over_the_unix_socket_no_key_is_asked_for() -> None:
    app = over_unix_socket(create_app(Barto().services))
    assert (await request(app, "/api/v1/runs")).status == 200


async def test_no_header_makes_a_peer_local() -> None:
    answer = await request(guarded(), "/api/v1/runs", headers={LOCAL: "true"})
    assert answer.status == 401
    assert "Authorization: Bearer KEY" in answer.json()["detail"]


async def test_the_lifespan_needs_no_key() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def silent(*_: Any) -> Any:
        return {}

    guard = Guard(app, Barto().services, Sessions(lambda: KEY))
    await guard({"type": "lifespan"}, silent, silent)
    assert seen == ["lifespan"]
