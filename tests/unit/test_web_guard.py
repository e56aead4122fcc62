"""A browser comes in by a key, a link or a cookie, from this site and by a name of this server."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp

from bartos.api.app import create_app
from bartos.api.guard import COOKIE, FOREIGN_HOST, FOREIGN_ORIGIN, OPEN, over_unix_socket
from bartos.services import Pages
from bartos.sessions import (
    ENDED_MOST,
    LINK_SECONDS,
    LINKS_MOST,
    SESSION_SECONDS,
    Session,
    Sessions,
)
from bartos.web import assets
from bartos.web.app import PAGES
from bartos.web.headers import HEADERS
from bartos.web.login import path_of_ours
from libbarto.testing import settled
from tests.asgi import Response, request, websocket
from tests.faces import KEY, NOON, SECOND, Barto

HTML = {"accept": "text/html,application/xhtml+xml"}
HOST = {"host": "barto.test"}
OURS = {"origin": "http://barto.test"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
PUBLIC = Pages("https://barto.test", "", frozenset({"barto.test"}), "Europe/Berlin")


def barto(pages: Pages = PUBLIC) -> Barto:
    made = Barto()
    made.facts = replace(made.facts, pages=pages)
    return made


@functools.cache
def shared() -> FastAPI:
    """A server that no test changes; making one takes a while."""
    return create_app(barto().services)


def page_paths() -> list[str]:
    """Every page, with something in place of its parameters."""
    paths = [
        re.sub(r"\{[^}]*\}", "x", route.path)
        for module in PAGES
        for route in module.router.routes
        if hasattr(route, "path")
    ]
    assert {"/", "/schedules", "/login"} <= set(paths)
    return [path for path in paths if path not in {"/login", "/static/x"}]


def cookie_of(answer: Response) -> str:
    """The cookie that an answer sets."""
    found = re.match(rf"{COOKIE}=([^;]+)", answer.headers["set-cookie"])
    assert found is not None
    return found[1]


async def log_in(app: ASGIApp, key: str = KEY, **more: str) -> Response:
    fields = {"key": key, "name": "ann", **more}
    body = urlencode(fields).encode()
    headers = {**FORM, **OURS}
    return await request(app, "/login", method="POST", headers=headers, body=body)


async def session(app: ASGIApp) -> dict[str, str]:
    """The header of somebody who is logged in."""
    return {"cookie": f"{COOKIE}={cookie_of(await log_in(app))}"}


# -- who may come in ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", page_paths())
@pytest.mark.parametrize(
    "cookie",
    [
        {},
        {"cookie": ""},
        {"cookie": f"{COOKIE}="},
        {"cookie": f"{COOKIE}=AAAA"},
        {"cookie": f"{COOKIE}={KEY}"},
        {"cookie": f"{COOKIE}=é"},
        {"cookie": f"{COOKIE}={'A' * 5000}"},
        {"cookie": f"other={KEY}"},
    ],
)
async def test_every_page_asks_to_log_in(path: str, cookie: dict[str, str]) -> None:
    app = shared()
    asked = await request(app, path, headers=cookie)
    assert (asked.status, asked.headers["www-authenticate"]) == (401, "Bearer")
    if path != "/logout":
        sent = await request(app, path, headers={**cookie, **HTML})
        there = "/login" if path == "/" else f"/login?next={quote(path, safe='')}"
        assert (sent.status, sent.headers["location"]) == (303, there)


@pytest.mark.parametrize("path", ["/schedules/a%3Fb%25c", "/schedules/a%C3%A9?why=%22"])
async def test_who_logs_in_gets_to_the_very_page_whatever_is_in_its_name(path: str) -> None:
    app = shared()
    sent = await request(app, path, headers=HTML)
    there = sent.headers["location"]
    assert there == f"/login?next={quote(path, safe='')}"
    assert (await log_in(app, next=path)).headers["location"] == path


@pytest.mark.parametrize("asset", assets.BY_PATH.values(), ids=lambda asset: asset.path)
async def test_style_and_scripts_are_open_and_kept_for_good(asset: assets.Asset) -> None:
    app = shared()
    answer = await request(app, asset.path)
    assert (answer.status, answer.body) == (200, asset.data)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == asset.media_type
    known = await request(app, asset.path, headers={"if-none-match": answer.headers["etag"]})
    assert (known.status, known.body) == (304, b"")
    foreign = await request(app, asset.path, headers={"host": "evil.test"})
    assert foreign.status == 421


async def test_another_file_is_not_there_whoever_asks() -> None:
    app = shared()
    for name in ("barto.css", "nothing", "..%2fapp.py", "%2e%2e/app.py"):
        assert (await request(app, f"/static/{name}")).status == 401
        assert (await request(over_unix_socket(app), f"/static/{name}")).status == 404


@pytest.mark.real_loop  # some of it is counted in a thread
@pytest.mark.parametrize("path", [path for path in page_paths() if path != "/logout"])
async def test_over_the_unix_socket_and_with_a_key_pages_are_open(path: str) -> None:
    app = shared()
    local = await request(over_unix_socket(app), path)
    keyed = await request(app, path, headers={"authorization": f"Bearer {KEY}"})
    assert local.status == keyed.status and local.status not in {401, 403, 421}, local.body


async def test_the_key_gives_a_cookie_that_scripts_and_other_sites_never_see() -> None:
    answer = await log_in(shared())
    assert (answer.status, answer.headers["location"]) == (303, "/")
    said = answer.headers["set-cookie"].lower()
    for part in ("httponly", "samesite=strict", "secure", "path=/", "max-age="):
        assert part in said


async def test_a_cookie_lets_in_and_says_who_it_is() -> None:
    app = shared()
    answer = await request(app, "/", headers=await session(app))
    assert answer.status == 200
    assert '<span class="who">ann</span>' in answer.body.decode()


@pytest.mark.parametrize("key", ["", "wrong", KEY[:-1], f"{KEY}x", "\udcff"])
async def test_a_wrong_key_gives_none(key: str) -> None:
    app = shared()
    body = urlencode({"key": key}, errors="surrogateescape").encode()
    headers = {**FORM, **OURS}
    answer = await request(app, "/login", method="POST", headers=headers, body=body)
    assert answer.status == 403
    assert "set-cookie" not in answer.headers


async def test_a_server_without_a_key_lets_nobody_log_in() -> None:
    without = barto()
    without.with_key(None)
    app = create_app(without.services)
    assert (await log_in(app, "")).status == 403
    assert "no key" in (await log_in(app, "")).body.decode()


async def test_the_cookie_of_who_is_logged_in_already_skips_the_form() -> None:
    app = shared()
    cookie = await session(app)
    assert (await request(app, "/login", headers=HOST)).status == 200
    answer = await request(app, "/login?next=/schedules", headers=cookie)
    assert (answer.status, answer.headers["location"]) == (303, "/schedules")


# -- links ----------------------------------------------------------------------------------------


async def link_of(app: ASGIApp) -> str:
    answer = await request(
        over_unix_socket(app), "/api/v1/web-link", method="POST", headers={"barto-user": "ann"}
    )
    told = answer.json()
    assert told["url"] == f"https://barto.test{told['path']}"
    path: str = told["path"]
    return path


async def test_a_link_lets_in_once() -> None:
    app = shared()
    path = await link_of(app)
    first = await request(app, path)
    assert first.status == 303
    cookie = {"cookie": f"{COOKIE}={cookie_of(first)}"}
    assert (await request(app, "/", headers=cookie)).status == 200
    again = await request(app, path)
    assert again.status == 403
    assert "set-cookie" not in again.headers


async def test_a_link_is_good_for_a_minute() -> None:
    late = barto()
    app = create_app(late.services)
    path = await link_of(app)
    late.clock.at += LINK_SECONDS * SECOND
    assert (await request(app, path)).status == 403


async def test_a_link_is_asked_for_with_a_key_only() -> None:
    app = shared()
    assert (await request(app, "/api/v1/web-link", method="POST")).status == 401


def test_of_too_many_links_the_oldest_go() -> None:
    sessions = Sessions(lambda: KEY)
    links = [sessions.link("ann", NOON, number.to_bytes(16)) for number in range(LINKS_MOST + 1)]
    assert sessions.redeem(links[0], NOON, bytes(16)) is None
    assert sessions.redeem(links[1], NOON, bytes(16)) is not None


# -- sessions -------------------------------------------------------------------------------------


async def test_a_session_outlives_a_restart_but_not_another_key() -> None:
    before = barto()
    cookie = await session(create_app(before.services))
    after = create_app(barto().services)
    assert (await request(after, "/", headers=cookie)).status == 200
    before.with_key("another")
    assert (await request(create_app(before.services), "/", headers=cookie)).status == 401


async def test_a_session_ends_after_a_week_or_when_one_logs_out() -> None:
    one = barto()
    app = create_app(one.services)
    cookie = await session(app)
    out = await request(app, "/logout", method="POST", headers={**cookie, **OURS})
    assert (out.status, out.headers["location"]) == (303, "/login")
    assert "max-age=0" in out.headers["set-cookie"].lower()
    assert (await request(app, "/", headers=cookie)).status == 401
    cookie = await session(app)
    one.clock.at += SESSION_SECONDS * SECOND
    assert (await request(app, "/", headers=cookie)).status == 401


async def test_a_stream_of_events_ends_with_the_session_that_it_is_read_in() -> None:
    made = barto()
    app = create_app(made.services)
    cookie = await session(app)
    reading = asyncio.create_task(request(app, "/api/v1/events", headers=cookie))
    await settled()
    made.feed.publish("pauses", {"n": 1})
    await settled()
    await request(app, "/logout", method="POST", headers={**cookie, **OURS})
    made.feed.publish("pauses", {"n": 2})
    made.feed.publish("pauses", {"n": 3})
    answer = await reading
    assert answer.pieces[-1] == b""
    assert b'"n": 1' in answer.body
    assert b'"n": 2' not in answer.body


async def test_a_stream_of_events_ends_with_the_key_that_it_is_read_with() -> None:
    made = barto()
    key = {"authorization": f"Bearer {KEY}"}
    reading = asyncio.create_task(request(create_app(made.services), "/api/v1/events", headers=key))
    await settled()
    made.facts = replace(made.facts, api_key="another")
    assert b": still here" not in (await reading).body


async def test_a_log_out_without_a_session_changes_nothing() -> None:
    app = over_unix_socket(shared())
    assert (await request(app, "/logout", method="POST")).status == 303


async def test_a_cookie_that_was_brought_along_is_not_taken_on() -> None:
    """Session fixation: whatever cookie one comes with, logging in gives a new one."""
    app = shared()
    planted = cookie_of(await log_in(app))
    body = urlencode({"key": KEY}).encode()
    headers = {**FORM, **OURS, "cookie": f"{COOKIE}={planted}"}
    answer = await request(app, "/login", method="POST", headers=headers, body=body)
    assert cookie_of(answer) != planted


async def test_two_cookies_of_our_name_are_none() -> None:
    app = shared()
    cookie = (await session(app))["cookie"]
    both = {"cookie": f"{COOKIE}=planted; {cookie}"}
    assert (await request(app, "/", headers=both)).status == 401


async def test_a_wrong_key_is_not_helped_by_a_cookie() -> None:
    app = shared()
    headers = {**await session(app), "authorization": "Bearer wrong"}
    assert (await request(app, "/", headers=headers)).status == 401


def test_of_sessions_that_were_ended_the_older_half_is_forgotten() -> None:
    sessions = Sessions(lambda: KEY)
    for number in range(ENDED_MOST + 1):
        sessions.end(Session(number.to_bytes(16), NOON, NOON + 10, ""), NOON)
    first, last = (sessions.begin("", NOON, one.to_bytes(16)) for one in (0, ENDED_MOST))
    assert first is not None and sessions.find(first, NOON) is not None
    assert last is not None and sessions.find(last, NOON) is None


def test_a_cookie_is_good_from_its_beginning_to_its_end() -> None:
    sessions = Sessions(lambda: KEY)
    cookie = sessions.begin("ann", NOON, bytes(16))
    assert cookie is not None
    found = sessions.find(cookie, NOON)
    assert found is not None and found.name == "ann"
    assert sessions.find(cookie, NOON - 1) is None
    assert sessions.find(cookie[:-2] + "AA", NOON) is None
    assert Sessions(lambda: None).begin("ann", NOON, bytes(16)) is None
    assert Sessions(lambda: None).find(cookie, NOON) is None


# -- other sites ----------------------------------------------------------------------------------

FOREIGN: tuple[dict[str, str], ...] = (
    {},
    {"origin": "null"},
    {"origin": "http://evil.test"},
    {"origin": "http://barto.test.evil.test"},
    {"origin": "https://barto.test:8443"},
    {"origin": "http://barto.test:80"},
    {"origin": "http://BARTO.test"},
    {"origin": "ftp://barto.test"},
    {"origin": ""},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {"origin": "http://evil.test", "sec-fetch-site": "same-origin"},
    {"referer": "http://barto.test/"},
)
UNSAFE = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@pytest.mark.parametrize("headers", FOREIGN)
async def test_what_another_site_asks_for_is_not_done(headers: Mapping[str, str]) -> None:
    app = shared()
    cookie = await session(app)
    for method in UNSAFE:
        for path in ("/api/v1/pause", "/api/v1/runs", "/logout", "/"):
            answer = await request(app, path, method=method, headers={**cookie, **headers})
            assert (answer.status, answer.json()["detail"]) == (403, FOREIGN_ORIGIN)
    body = urlencode({"key": KEY}).encode()
    planted = await request(app, "/login", method="POST", headers={**FORM, **headers}, body=body)
    assert planted.status == 403


@pytest.mark.parametrize(
    "headers",
    [OURS, {"origin": "https://barto.test"}, {"sec-fetch-site": "same-origin"}],
)
async def test_what_our_own_pages_ask_for_is_done(headers: Mapping[str, str]) -> None:
    app = shared()
    given = {**await session(app), **headers}
    answer = await request(app, "/api/v1/web-link", method="POST", headers=given)
    assert answer.status == 200, answer.body


async def test_the_history_names_who_is_logged_in_whatever_a_header_says() -> None:
    one = barto()
    app = create_app(one.services)
    headers = {**await session(app), **OURS, "barto-user": "root"}
    asked = await request(app, "/api/v1/web-link", method="POST", headers=headers)
    there = await request(app, asked.json()["path"])
    page = await request(app, "/", headers={"cookie": f"{COOKIE}={cookie_of(there)}"})
    assert '<span class="who">ann</span>' in page.body.decode()


async def test_a_key_needs_no_origin_as_no_browser_sends_it_unasked() -> None:
    app = shared()
    headers = {"authorization": f"Bearer {KEY}", "host": "anything.test"}
    answer = await request(app, "/api/v1/web-link", method="POST", headers=headers)
    assert answer.status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "evil.test:21526",
        "barto.test.evil.test",
        "xbarto.test",
        "localhost.evil.test",
        "127.0.0.1.evil.test",
        "user@barto.test",
        "barto.test@evil.test",
        "barto.test/",
        "",
        "[::1",
        "127.1.evil.test",
    ],
)
async def test_a_name_that_was_pointed_at_us_gets_nothing(host: str) -> None:
    """DNS rebinding: the browser believes that the page of evil.test is of this server."""
    app = shared()
    cookie = await session(app)
    for path in ("/", "/login", "/api/v1/runs"):
        answer = await request(app, path, headers={**cookie, "host": host})
        assert (answer.status, answer.json()["detail"]) == (421, FOREIGN_HOST)


@pytest.mark.parametrize(
    "host", ["barto.test", "barto.test:8443", "BARTO.TEST", "localhost:21526", "127.0.0.1", "[::1]"]
)
async def test_our_names_and_every_address_are_ours(host: str) -> None:
    app = shared()
    cookie = await session(app)
    assert (await request(app, "/", headers={**cookie, "host": host})).status == 200


async def test_no_websocket_takes_a_cookie() -> None:
    app = shared()
    headers = {**await session(app), **OURS}
    async with websocket(app, "/v1/ws/cli", headers=headers) as link:
        assert (await link.receive())["status"] == 401


# -- where pages lie ------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/ops/barto"])
async def test_pages_lie_below_a_sub_path_whether_a_proxy_takes_it_off_or_not(prefix: str) -> None:
    app = create_app(barto(replace(PUBLIC, root="/ops/barto")).services)
    answer = await request(app, f"{prefix}/schedules", headers={**HOST, **HTML})
    there = "/ops/barto/login?next=%2Fschedules"
    assert (answer.status, answer.headers["location"]) == (303, there)
    body = urlencode({"key": KEY, "next": "/schedules"}).encode()
    headers = {**FORM, **OURS}
    answer = await request(app, f"{prefix}/login", method="POST", headers=headers, body=body)
    assert answer.headers["location"] == "/ops/barto/schedules"
    assert "Path=/ops/barto;" in answer.headers["set-cookie"]
    cookie = {"cookie": f"{COOKIE}={cookie_of(answer)}"}
    page = (await request(app, f"{prefix}/schedules", headers=cookie)).body.decode()
    links = re.findall(r'(?:href|src|action|data-post)="([^"#]*)"', page)
    assert len(links) > 10
    assert all(link.startswith("/ops/barto/") for link in links)
    assert (await request(app, f"{prefix}/healthz")).status == 200


async def test_what_only_begins_like_the_sub_path_is_not_below_it() -> None:
    app = create_app(barto(replace(PUBLIC, root="/barto")).services)
    assert (await request(app, "/bartoz/healthz")).status == 401
    assert (await request(over_unix_socket(app), "/barto")).status == 200


@pytest.mark.parametrize(
    "next", ["//evil.test", "https://evil.test", "/\\evil.test", "\\/evil.test", "evil", "/a\r\nb"]
)
async def test_logging_in_leads_nowhere_else(next: str) -> None:
    app = shared()
    assert path_of_ours(next) == "/"
    assert (await log_in(app, next=next)).headers["location"] == "/"


async def test_every_answer_tells_a_browser_to_run_nothing_of_others() -> None:
    app = shared()
    cookie = await session(app)
    for path in ("/", "/login", "/healthz", "/api/v1/runs", "/nothing", *assets.BY_PATH):
        answer = await request(app, path, headers=cookie)
        for name, value in HEADERS.items():
            assert answer.headers[name.lower()] == value, path
        assert "cache-control" in answer.headers


def test_nothing_else_is_open() -> None:
    """Whoever adds to this list has thought about it."""
    plain = {place for place in OPEN if not place[1].startswith("/static/")}
    assert plain == {
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/api/v1/ca"),
        ("POST", "/api/v1/join"),
        ("GET", "/login"),
        ("POST", "/login"),
    }


def test_routes_are_of_pages() -> None:
    app: Any = shared()
    assert all(path.startswith("/") for path in page_paths())
    assert not [path for path in app.openapi()["paths"] if path in page_paths()]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/nothing", 404, "Not Found"),
        ("/schedules?cursor=x", 404, "cursor"),
        ("/schedules/nobody", 404, "no schedule is named"),
        (f"/schedules?text={'x' * 300}", 422, "at most 200 characters"),
    ],
)
async def test_a_browser_is_told_on_a_page_what_is_wrong(path: str, status: int, said: str) -> None:
    headers = {**await session(shared()), **HTML}
    answer = await request(shared(), path, headers=headers)
    assert (answer.status, answer.headers["content-type"][:9]) == (status, "text/html")
    assert said in answer.body.decode()
    if "nobody" not in path:
        plain = await request(shared(), path, headers=await session(shared()))
        assert plain.headers["content-type"] == "application/problem+json"


async def test_what_a_script_asks_the_api_is_never_answered_by_a_page() -> None:
    headers = {**await session(shared()), **HTML}
    for path in ("/api/v1/runs/nothing", "/api/v1/nothing", "/static/nothing"):
        answer = await request(shared(), path, headers=headers)
        assert answer.headers["content-type"] == "application/problem+json"
