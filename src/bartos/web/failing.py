"""What does a page say that cannot be made? What is wrong, as a page with the status of that."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import Response

from bartos.api.problems import Problem
from bartos.web.pages import visit
from libbarto.errors import StoreUnavailable

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """A route of a page: what the API would answer with problem details is a page here."""

    def get_route_handler(self) -> Handler:
        """The handler, which answers in any case but that of a fault of ours."""
        handler = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except Problem as problem:
                return await _said(request, problem.status, problem.detail)
            except RequestValidationError as error:
                told = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
                return await _said(request, HTTPStatus.UNPROCESSABLE_ENTITY, told)
            except StoreUnavailable as error:
                told = f"the database does not answer: {error}"
                return await _said(request, HTTPStatus.SERVICE_UNAVAILABLE, told)

        return answered


async def _said(request: Request, status: HTTPStatus, detail: str) -> Response:
    values = {"title": status.phrase, "detail": detail}
    return (await visit(request)).page("problem.html", values, status=status)
