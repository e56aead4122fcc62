"""Who may come in? The one place that decides it, before any line of a handler runs.

A request is let in over the server's own Unix socket (the directory it lies in is open to root
and the server's user alone), with the server's key as a bearer token, or on one of the few routes
that are open to all. Everything else is answered here with 401, whether there is such a page or
not. The rule is a table, and what is not in it is refused.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN: Final = frozenset(
    {
        ("GET", "/healthz"),  # tells that the process lives, and nothing else
        ("GET", "/readyz"),  # tells in fixed words whether it can do its work
        ("GET", "/api/v1/ca"),  # a certificate; who joins compares its fingerprint
        ("POST", "/api/v1/join"),  # asks for a secret of its own
    }
)
"""Method and path, exactly, of what needs no key."""

LOCAL: Final = "barto.local"
"""The key in an ASGI scope that `over_unix_socket` sets; no peer can."""

REFUSED: Final = "unauthorized"
BEARER: Final = b"Bearer "


def over_unix_socket(app: ASGIApp) -> ASGIApp:
    """`app` for a server that listens on the Unix socket only: who reaches that is admin."""

    async def local(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, LOCAL: True}, receive, send)

    return local


class Guard:
    """ASGI middleware that lets in whom it may. `api_key` gives the key in force, or None."""

    def __init__(self, app: ASGIApp, api_key: Callable[[], str | None]) -> None:
        self._app = app
        self._api_key = api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or admits(scope, self._api_key()):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await _refuse_websocket(scope, send)
        else:
            await _refuse(send, "http.response")


def admits(scope: Scope, api_key: str | None) -> bool:
    """Whether a connection with this ASGI scope may go on to its handler."""
    if scope.get(LOCAL) is True:
        return True
    if scope["type"] == "http" and (scope["method"], scope["path"]) in OPEN:
        return True
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    if not api_key or len(given) != 1 or not given[0].startswith(BEARER):
        return False
    return hmac.compare_digest(given[0].removeprefix(BEARER), api_key.encode())


async def _refuse_websocket(scope: Scope, send: Send) -> None:
    if "websocket.http.response" in scope.get("extensions", {}):
        await _refuse(send, "websocket.http.response")
    else:
        # The server turns a close before the handshake into a refusal of its own (403).
        await send({"type": "websocket.close", "code": 1008, "reason": REFUSED})


async def _refuse(send: Send, kind: str) -> None:
    body = json.dumps({"type": "about:blank", "title": REFUSED, "status": 401}).encode()
    start: Message = {
        "type": f"{kind}.start",
        "status": 401,
        "headers": [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"www-authenticate", b"Bearer"),
        ],
    }
    await send(start)
    await send({"type": f"{kind}.body", "body": body})
