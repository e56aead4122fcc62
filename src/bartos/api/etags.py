"""Has an answer changed since it was last fetched? An `ETag` for every answer in JSON to a GET, and
304 without a body where the asker has that one (RFC 9110 §8.8.3, §13.1.2).

The tag is a hash of the body: what says the same has the same tag, whoever made it.
"""

from __future__ import annotations

import hashlib
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PREFIX: Final = "/api/v1/"
JSON: Final = "application/json"


def tag_of(body: bytes) -> str:
    """The weak tag of a body.

    >>> tag_of(b"{}")
    'W/"2afb9b83f9314e5d029766197f539792"'
    """
    return f'W/"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'


def matches(asked: str, tag: str) -> bool:
    """Whether an `If-None-Match` has this tag, by weak comparison.

    >>> matches('"x", W/"y"', 'W/"y"'), matches("*", 'W/"y"'), matches('"y"', 'W/"y"')
    (True, True, True)
    """
    if asked.strip() == "*":
        return True
    wanted = tag.removeprefix("W/")
    return any(one.strip().removeprefix("W/") == wanted for one in asked.split(","))


class ETags:
    """ASGI middleware that adds them. What goes on for long, and what is no JSON, passes as it
    comes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] != "GET"
            or not scope["path"].startswith(PREFIX)
        ):
            await self._app(scope, receive, send)
            return
        asked = ",".join(Headers(scope=scope).getlist("if-none-match"))
        start: Message | None = None
        body: list[bytes] = []

        async def tagged(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                kind = Headers(raw=message["headers"]).get("content-type", "")
                # Not of JSON lines, which may be all of the history.
                if message["status"] == 200 and kind.partition(";")[0].strip() == JSON:
                    start = message
                    return
            elif start is not None:
                body.append(message.get("body", b""))
                if not message.get("more_body"):
                    await _answer(send, start, b"".join(body), asked)
                return
            await send(message)

        await self._app(scope, receive, tagged)


async def _answer(send: Send, start: Message, body: bytes, asked: str) -> None:
    tag = tag_of(body)
    headers = MutableHeaders(raw=list(start["headers"]))
    headers["ETag"] = tag
    if asked and matches(asked, tag):
        del headers["content-length"]
        del headers["content-type"]
        start, body = {**start, "status": 304}, b""
    await send({**start, "headers": headers.raw})
    await send({"type": "http.response.body", "body": body})
