"""Who may come in? The one place that decides it, before any line of a handler runs.

A request is let in over the server's own Unix socket (the directory it lies in is open to root
and the server's user alone), with the server's key as a bearer token, with the cookie of a session,
or on one of the few routes that are open to all. Everything else is answered here with 401, whether
there is such a page or not; a browser that wants a page is sent to where it can log in. The rule is
a table, and what is not in it is refused.

A browser also sends what other sites make it send. So what it may do with a cookie is bound to a
`Host` that is ours (against DNS rebinding), and whatever changes something to our own `Origin`
(against forged requests; the Fetch standard has browsers send it with every such request).
"""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bartos.services import Facts, Services
from bartos.sessions import Session, Sessions
from bartos.web import assets


class Rule(Enum):
    """What is asked of those who come to an open route."""

    NOTHING = "nothing"
    SITE = "to have called this server by a name of its own, and to come from its own pages"


OPEN: Final[Mapping[tuple[str, str], Rule]] = {
    ("GET", "/healthz"): Rule.NOTHING,  # tells that the process lives, and nothing else
    ("GET", "/readyz"): Rule.NOTHING,  # tells in fixed words whether it can do its work
    ("GET", "/api/v1/ca"): Rule.NOTHING,  # a certificate; who joins compares its fingerprint
    ("POST", "/api/v1/join"): Rule.NOTHING,  # asks for a secret of its own
    ("GET", "/login"): Rule.SITE,  # a form, or a link that is good once
    ("POST", "/login"): Rule.SITE,  # asks for the server's key
    # Style and scripts, the same for every barto of this version.
    **dict.fromkeys((("GET", path) for path in assets.BY_PATH), Rule.SITE),
}
"""Method and path, exactly, of what needs no key, and what it needs instead."""

LOCAL: Final = "barto.local"
"""The key in an ASGI scope that `over_unix_socket` sets; no peer can."""
SESSION: Final = "barto.session"
"""The key in an ASGI scope where the guard puts the `Session` of who came in by cookie."""

COOKIE: Final = "barto_session"
SAFE: Final = frozenset({"GET", "HEAD"})
REFUSED: Final = "unauthorized"
BEARER: Final = b"Bearer "
STREAM: Final = b"text/event-stream"
FOREIGN_HOST: Final = (
    "this server is not known by that name; add it to bartos.toml as public_url, or use its address"
)
FOREIGN_ORIGIN: Final = "that was asked for by another site, so it was not done"


@dataclass(frozen=True, slots=True)
class Entry:
    """Whether a connection may go on; if not, `status` and `detail` say why."""

    admitted: bool
    session: Session | None = None
    status: HTTPStatus = HTTPStatus.UNAUTHORIZED
    detail: str = ""


ADMITTED: Final = Entry(True)
UNKNOWN: Final = Entry(
    False, detail="show the server's key: Authorization: Bearer KEY, which is api.key on its host"
)


def over_unix_socket(app: ASGIApp) -> ASGIApp:
    """`app` for a server that listens on the Unix socket only: who reaches that is admin."""

    async def local(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, LOCAL: True}, receive, send)

    return local


class Guard:
    """ASGI middleware that lets in whom it may, and takes the sub-path of `public_url` off."""

    def __init__(self, app: ASGIApp, services: Services, sessions: Sessions) -> None:
        self._app = app
        self._services = services
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        facts = self._services.facts()
        scope = without_root(scope, facts.pages.root)
        entry = self._admit(scope)
        if entry.admitted:
            sending = self._as_long_as_admitted(scope, send)
            await self._app({**scope, SESSION: entry.session}, receive, sending)
        elif scope["type"] == "websocket":
            await _refuse_websocket(scope, send)
        elif entry is UNKNOWN and _wants_a_page(scope):
            await _send_to_login(scope, facts.pages.root, send)
        else:
            await _refuse(send, "http.response", entry)

    def _admit(self, scope: Scope) -> Entry:
        now = self._services.clock.now()
        return admit(scope, self._services.facts(), self._sessions, now)

    def _as_long_as_admitted(self, scope: Scope, send: Send) -> Send:
        """`send`, but for a stream of events: that ends when who reads it has logged out, or has a
        key that was changed. Something comes every 15 seconds, so it is noticed by then."""
        streams = over = False

        async def sending(message: Message) -> None:
            nonlocal streams, over
            if message["type"] == "http.response.start":
                streams = any(
                    name == b"content-type" and value.startswith(STREAM)
                    for name, value in message["headers"]
                )
            if over:  # what still comes is for nobody
                return
            if streams and message.get("more_body") and not self._admit(scope).admitted:
                over = True
                message = {"type": message["type"], "body": b"", "more_body": False}
            await send(message)

        return sending


def without_root(scope: Scope, root: str) -> Scope:
    """The scope with the path below `root` ("/barto", or "" for none), if it lies there: a proxy
    in front may have taken it off, or not."""
    path: str = scope["path"]
    if not root or not (path == root or path.startswith(f"{root}/")):
        return scope
    short = path.removeprefix(root) or "/"
    return {**scope, "path": short, "raw_path": quote(short).encode()}


def admit(scope: Scope, facts: Facts, sessions: Sessions, now: int) -> Entry:
    """Whether a connection with this ASGI scope may go on to its handler, and as whom."""
    if scope.get(LOCAL) is True:
        return ADMITTED
    is_http = scope["type"] == "http"
    rule = OPEN.get((scope["method"], scope["path"])) if is_http else None
    if rule is not None:
        return ADMITTED if rule is Rule.NOTHING else _of_this_site(scope, facts)
    given = _headers(scope, b"authorization")
    if given:
        return ADMITTED if _is_key(given, facts.api_key) else UNKNOWN
    # No websocket of ours is meant for browsers.
    session = _session(scope, sessions, now) if is_http else None
    if session is None:
        return UNKNOWN
    entry = _of_this_site(scope, facts)
    return Entry(True, session) if entry.admitted else entry


def _is_key(given: list[bytes], api_key: str | None) -> bool:
    if not api_key or len(given) != 1 or not given[0].startswith(BEARER):
        return False
    return hmac.compare_digest(given[0].removeprefix(BEARER), api_key.encode())


def _session(scope: Scope, sessions: Sessions, now: int) -> Session | None:
    cookies = [
        value.strip()
        for header in _headers(scope, b"cookie")
        for value in header.decode("latin-1").split(";")
    ]
    ours = [one.partition("=")[2] for one in cookies if one.partition("=")[0] == COOKIE]
    return sessions.find(ours[0], now) if len(ours) == 1 else None


def _of_this_site(scope: Scope, facts: Facts) -> Entry:
    hosts = _headers(scope, b"host")
    host = hosts[0].decode("latin-1") if len(hosts) == 1 else ""
    if not is_known_host(host, facts.pages.hosts):
        return Entry(False, None, HTTPStatus.MISDIRECTED_REQUEST, FOREIGN_HOST)
    if scope["method"] in SAFE or _is_same_origin(scope, host, facts):
        return ADMITTED
    return Entry(False, None, HTTPStatus.FORBIDDEN, FOREIGN_ORIGIN)


def is_known_host(host: str, names: frozenset[str]) -> bool:
    """Whether a `Host` header names this server. Addresses always do: whoever rebinds a name of
    theirs to our address has a name in it.

    >>> is_known_host("[::1]:21526", frozenset()), is_known_host("evil.test", frozenset({"me"}))
    (True, False)
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if "@" in host or "/" in host:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names or name == "localhost"
    return True


def _is_same_origin(scope: Scope, host: str, facts: Facts) -> bool:
    origins = _headers(scope, b"origin")
    if not origins:
        return _headers(scope, b"sec-fetch-site") == [b"same-origin"]
    ours = {f"{scope['scheme']}://{host}", facts.pages.origin}
    return len(origins) == 1 and origins[0].decode("latin-1") in ours


def _headers(scope: Scope, wanted: bytes) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == wanted]


def _wants_a_page(scope: Scope) -> bool:
    if scope["method"] != "GET" or scope["path"].startswith(("/api/", "/v1/")):
        return False
    return any(b"text/html" in value for value in _headers(scope, b"accept"))


async def _send_to_login(scope: Scope, root: str, send: Send) -> None:
    query = scope["query_string"].decode("latin-1")
    back = quote(quote(scope["path"]) + (f"?{query}" if query else ""), safe="")
    there = f"{root}/login" + ("" if back == "%2F" else f"?next={back}")
    headers = [(b"location", there.encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _refuse_websocket(scope: Scope, send: Send) -> None:
    if "websocket.http.response" in scope.get("extensions", {}):
        await _refuse(send, "websocket.http.response", UNKNOWN)
    else:
        # The server turns a close before the handshake into a refusal of its own (403).
        await send({"type": "websocket.close", "code": 1008, "reason": REFUSED})


async def _refuse(send: Send, kind: str, entry: Entry) -> None:
    problem = {"type": "about:blank", "title": REFUSED, "status": int(entry.status)}
    if entry.detail:
        problem |= {"title": entry.status.phrase, "detail": entry.detail}
    body = json.dumps(problem).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
    ]
    if entry.status is HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    start: Message = {"type": f"{kind}.start", "status": int(entry.status), "headers": headers}
    await send(start)
    await send({"type": f"{kind}.body", "body": body})
