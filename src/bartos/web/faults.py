"""What does a browser see where a page cannot be shown? The same words as the API's problem
details, on a page.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeAlias, cast

from fastapi import FastAPI, Request
from starlette.responses import Response

from bartos.web.pages import visit

Handler: TypeAlias = Callable[[Request, Exception], Awaitable[Response]]


def install(app: FastAPI) -> None:
    """Let what `app` answers to an error be a page for whoever wants one. What nobody expected
    stays as it is: it may be a page that fails."""
    for kind, handler in list(app.exception_handlers.items()):
        if isinstance(kind, type) and kind is not Exception:
            app.add_exception_handler(kind, _as_page(cast(Handler, handler)))


def _as_page(handler: Handler) -> Handler:
    async def handle(request: Request, error: Exception) -> Response:
        answer = await handler(request, error)
        told = _told(bytes(answer.body)) if wants_a_page(request) else None
        if told is None:
            return answer
        status = HTTPStatus(answer.status_code)
        return (await visit(request)).page("problem.html", told, status=status)

    return handle


def wants_a_page(request: Request) -> bool:
    """Whether it is a browser that asks, and for no part of the API."""
    if request.url.path.startswith(("/api/", "/v1/", "/static/")):
        return False
    return "text/html" in request.headers.get("accept", "")


def _told(body: bytes) -> dict[str, str] | None:
    """Title and detail of a problem, if it is one."""
    try:
        problem = json.loads(body)
        return {"title": problem["title"], "detail": problem["detail"]}
    except (ValueError, KeyError, TypeError):
        return None
