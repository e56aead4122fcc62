"""What does the API say when it cannot? Problem details as RFC 9457 has them, for every error.

A handler raises `Problem`, or lets an error of ours pass; here it becomes an answer.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from bartos.acting import Drained
from libbarto.errors import StoreUnavailable, UserError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer that is no success: `detail` is for people, `more` for programs."""

    def __init__(self, status: HTTPStatus, detail: str, **more: object) -> None:
        self.status = status
        self.detail = detail
        self.more = more
        super().__init__(detail)


def response(status: HTTPStatus, detail: str, **more: object) -> JSONResponse:
    """Problem details (RFC 9457 section 3.1) of the type "about:blank", with extensions."""
    body = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail}
    return JSONResponse(body | more, status, media_type=MEDIA_TYPE)


class Application(FastAPI):
    """One whose limit of bodies answers with a problem as well: it stands before all handlers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        too_large = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        refused = False

        async def told(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] == too_large:
                kind = Headers(raw=message["headers"]).get("content-type", "")
                refused = not kind.startswith(MEDIA_TYPE)
                if refused:
                    answer = response(too_large, "the body is too large")
                    await answer(scope, receive, send)
            if not refused:
                await send(message)

        await super().__call__(scope, receive, told)


def install(app: FastAPI) -> None:
    """Let every error of `app` be answered with problem details."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StoreUnavailable, _store_away)
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(Exception, _unexpected)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return response(error.status, error.detail, **error.more)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = response(HTTPStatus(error.status_code), str(error.detail))
    answer.headers.update(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # Starlette names the methods of one handler, and several may share a path.
        methods = allowed(request.app.openapi(), request.scope["path"])
        if methods:
            answer.headers["Allow"] = ", ".join(methods)
    return answer


def allowed(document: Mapping[str, Any], path: str) -> list[str]:
    """The methods that the resource at a path supports, in capitals; none where it is not ours.

    >>> paths = {"/runs/{run}": {"get": {}}, "/runs": {"post": {}, "get": {}}}
    >>> allowed({"paths": paths}, "/runs"), allowed({"paths": paths}, "/runs/1")
    (['GET', 'POST'], ['GET'])
    """
    for parameter in ("[^/]+", ".+"):  # names of barto 1.x have a slash
        for template, operations in document["paths"].items():
            parts = re.split(r"\{[^}]*\}", template)
            if re.fullmatch(parameter.join(map(re.escape, parts)), path):
                return sorted(method.upper() for method in operations)
    return []


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [{"where": _where(one["loc"]), "message": _fault(one)} for one in error.errors()]
    said = "; ".join(f"{one['where']}: {one['message']}" for one in faults)
    return response(HTTPStatus.UNPROCESSABLE_ENTITY, said, errors=faults)


def _fault(one: Mapping[str, object]) -> str:
    if one["type"] == "extra_forbidden":
        return "there is no such field"
    return str(one["msg"]).removeprefix("Value error, ")


def _where(location: Iterable[object]) -> str:
    return ".".join(map(str, location))


async def _store_away(request: Request, error: Exception) -> Response:
    return response(HTTPStatus.SERVICE_UNAVAILABLE, f"the database does not answer: {error}")


async def _user_error(request: Request, error: Exception) -> Response:
    # Where it is refused, and no mistake of who asks, the command line says so by its exit code.
    more = {"refused": True} if isinstance(error, Drained) else {}
    return response(HTTPStatus.CONFLICT, str(error), **more)


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("request failed", extra={"path": request.url.path}, exc_info=error)
    return response(HTTPStatus.INTERNAL_SERVER_ERROR, "an error in bartos; its log has more")
