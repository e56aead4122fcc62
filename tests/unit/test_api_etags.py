"""ETags: what has not changed is not sent again, and whoever polls is told so in few bytes."""

from __future__ import annotations

import pytest

from bartos.api.etags import matches, tag_of
from tests.asgi import request
from tests.faces import NOON, SECOND, Barto
from tests.unit.test_api import served

LISTS = (
    "/api/v1/status",
    "/api/v1/timers",
    "/api/v1/runs",
    "/api/v1/ranges",
    "/api/v1/schedules",
    "/api/v1/workers",
    "/api/v1/verdicts",
    "/api/v1/pauses",
    "/api/v1/outlook",
    "/api/v1/names/workers",
)


@pytest.mark.parametrize("path", LISTS)
async def test_what_has_not_changed_is_not_sent_again(path: str) -> None:
    barto = Barto()
    await barto.run("web1", "backup")
    first = await request(served(barto), path)
    assert first.status == 200
    tag = first.headers["etag"]
    again = await request(served(barto), path, headers={"if-none-match": f'"x", {tag}'})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert "content-length" not in again.headers
    other = await request(served(barto), path, headers={"if-none-match": '"x"'})
    assert (other.status, other.body) == (200, first.body)


async def test_what_has_changed_is_sent_with_another_tag() -> None:
    barto = Barto()
    await barto.run("web1", "backup")
    first = await request(served(barto), "/api/v1/runs")
    await barto.run("web1", "backup", NOON + 60 * SECOND)
    headers = {"if-none-match": first.headers["etag"]}
    again = await request(served(barto), "/api/v1/runs", headers=headers)
    assert again.status == 200
    assert again.headers["etag"] != first.headers["etag"]


async def test_errors_and_what_is_no_json_have_none() -> None:
    barto = Barto()
    await barto.run("web1", "backup")
    paths = (
        *("/api/v1/runs/@last/output", "/api/v1/runs?limit=0", "/api/v1/ca", "/healthz"),
        *("/api/v1/runs/download?format=jsonl", "/api/v1/runs/download"),
    )
    for path in paths:
        assert "etag" not in (await request(served(barto), path)).headers
    answer = await request(served(barto), "/api/v1/runs?limit=0", headers={"if-none-match": "*"})
    assert answer.status == 422


def test_tags_are_compared_weakly() -> None:
    tag = tag_of(b"x")
    assert matches(tag, tag)
    assert matches(tag.removeprefix("W/"), tag)
    assert matches(" * ", tag)
    assert not matches("", tag)
    assert not matches(tag_of(b"y"), tag)


async def test_a_method_that_is_none_is_told_which_there_are() -> None:
    barto = Barto()
    for path, methods in (
        ("/api/v1/runs", "GET, POST"),
        ("/api/v1/schedules/a/b", "GET"),
        ("/api/v1/schedules/backup/cancel", "POST"),
        ("/api/v1/status", "GET"),
    ):
        answer = await request(served(barto), path, method="DELETE")
        assert (answer.status, answer.headers["allow"]) == (405, methods)


async def test_a_request_that_cannot_be_read_says_where() -> None:
    for path in ("/api/v1/runs?since=5", "/api/v1/timeline?day=0"):
        answer = await request(served(Barto()), path)
        assert answer.status == 422
        (error,) = answer.json()["errors"]
        assert error["where"] in {"query.since", "query.day"}
        assert "expected" in error["message"]


async def test_ranges_come_in_pages_each_once() -> None:
    barto = Barto()
    for number in range(7):
        at = NOON + number * 120 * SECOND
        await barto.did_not_run("web1", "tick", at, at + 60 * SECOND, 2, "asleep")
    path, seen = "/api/v1/ranges?limit=3", []
    while path:
        page = (await request(served(barto), path)).json()
        seen += [one["first"] for one in page["ranges"]]
        path = f"/api/v1/ranges?limit=3&cursor={page['next']}" if page["next"] else ""
    assert (len(seen), seen) == (7, sorted(set(seen), reverse=True))
    for cursor in ("x", "WzEsICJ6eiIsICJ6eiIsIDEsICJ6eiJd"):
        answer = await request(served(barto), f"/api/v1/ranges?cursor={cursor}")
        assert answer.status == 404
