"""How does a browser come in? By the server's key in a form, or by a link that is good once, which
`barto-cli web` asks for on its user's behalf. Both give a cookie; leaving takes it away.
"""

from __future__ import annotations

import hmac
import secrets
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from bartos.api.actions import User
from bartos.api.given import Given
from bartos.api.guard import COOKIE, SESSION
from bartos.sessions import LINK_SECONDS, NAME_MOST, RANDOM_BYTES, SESSION_SECONDS, Sessions
from bartos.web.pages import Visit, Visiting

router = APIRouter(include_in_schema=False)
api = APIRouter(prefix="/api/v1", tags=["pages"])

LINK_OVER: Final = "That link has been used, or is more than a minute old. Ask for another one:"
WRONG_KEY: Final = "That is not this server's key."
NO_KEY: Final = "This server has no key; `bartos init` makes one."


class WebLink(BaseModel):
    """A link that logs a browser in, once."""

    url: str = Field(description="for a browser that reaches the server as others do")
    path: str = Field(description="the same, below whatever address the browser has for it")
    seconds: int = Field(description="for so long it is good")


@api.post("/web-link")
async def web_link(request: Request, given: Given, who: User) -> WebLink:
    """A link that logs a browser in as who asks: once, within a minute."""
    sessions: Sessions = request.app.state.sessions
    link = sessions.link(who, given.clock.now(), secrets.token_bytes(RANDOM_BYTES))
    path = f"/login?link={link}"
    return WebLink(url=given.facts().pages.url + path, path=path, seconds=LINK_SECONDS)


@router.get("/login")
async def login(visit: Visiting, link: str | None = None, next: str = "/") -> Response:
    """The form; with a link that is good, the first page."""
    sessions: Sessions = visit.request.app.state.sessions
    now = visit.services.clock.now()
    if link is None:
        if sessions.find(visit.request.cookies.get(COOKIE, ""), now) is not None:
            return RedirectResponse(visit.url(path_of_ours(next)), HTTPStatus.SEE_OTHER)
        return _form(visit, next)
    cookie = sessions.redeem(link, now, secrets.token_bytes(RANDOM_BYTES))
    if cookie is None:
        return _form(visit, next, LINK_OVER, HTTPStatus.FORBIDDEN)
    return _come_in(visit, cookie, next)


@router.post("/login")
async def log_in(
    visit: Visiting,
    key: Annotated[str, Form(max_length=4096)] = "",
    name: Annotated[str, Form(max_length=NAME_MOST)] = "",
    next: Annotated[str, Form(max_length=4096)] = "/",
) -> Response:
    """Come in by the server's key."""
    right = visit.services.facts().api_key
    if not right:
        return _form(visit, next, NO_KEY, HTTPStatus.FORBIDDEN)
    if not hmac.compare_digest(key.strip().encode(errors="replace"), right.encode()):
        return _form(visit, next, WRONG_KEY, HTTPStatus.FORBIDDEN)
    sessions: Sessions = visit.request.app.state.sessions
    shown = "".join(one if one.isprintable() else "?" for one in name.strip())
    now = visit.services.clock.now()
    cookie = sessions.begin(shown, now, secrets.token_bytes(RANDOM_BYTES))
    assert cookie is not None, "it has a key"
    return _come_in(visit, cookie, next)


@router.post("/logout")
async def log_out(visit: Visiting) -> Response:
    """Leave."""
    session = visit.request.scope.get(SESSION)
    if session is not None:
        visit.request.app.state.sessions.end(session, visit.services.clock.now())
    answer = RedirectResponse(visit.url("/login"), HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE, path=visit.root or "/", samesite="strict", httponly=True)
    return answer


def _form(
    visit: Visit, next: str, said: str = "", status: HTTPStatus = HTTPStatus.OK
) -> HTMLResponse:
    values = {"next": next, "said": said, "again": said == LINK_OVER}
    return visit.page("login.html", values, status=status)


def _come_in(visit: Visit, cookie: str, next: str) -> Response:
    answer = RedirectResponse(visit.url(path_of_ours(next)), HTTPStatus.SEE_OTHER)
    secure = visit.request.url.scheme == "https" or visit.services.facts().pages.secure
    answer.set_cookie(
        COOKIE,
        cookie,
        max_age=SESSION_SECONDS,
        path=visit.root or "/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )
    return answer


def path_of_ours(text: str) -> str:
    """Where to go on: a path of this server, or the first page for anything else.

    >>> path_of_ours("/runs/1?x=2"), path_of_ours("//evil.test"), path_of_ours("https://evil.test")
    ('/runs/1?x=2', '/', '/')
    """
    ours = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable()
    return text if ours and "\\" not in text else "/"
