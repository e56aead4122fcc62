"""`POST /api/v1/plan`: the server says what a configuration would do, and puts nothing in force."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bartos.api.app import create_app
from bartos.api.guard import over_unix_socket
from bartos.api.plan import BODY_MAX
from bartos.plan import schedule_rows
from bartos.schedules import load_schedules
from tests.asgi import Response, request
from tests.faces import NOON, Barto

pytestmark = pytest.mark.real_loop  # a plan is made in a thread

OLD = """\
[[schedule]]
name = "backup"
workers = "*"
on_calendar = "02:00"
cmds = ["true"]
"""


async def barto() -> Barto:
    """A server with one schedule in force and two workers."""
    found = Barto()
    await found.worker("web1")
    await found.worker("web2", connected=False)
    rows = schedule_rows(load_schedules([("bartos.toml", OLD)]), (), NOON)
    await found.store.replace_schedules(rows, NOON)
    return found


async def posted(barto: Barto, *texts: str, **more: Any) -> Response:
    files = [{"name": f"file{n}.toml", "text": text} for n, text in enumerate(texts)]
    return await request(
        over_unix_socket(create_app(barto.services)),
        "/api/v1/plan",
        method="POST",
        body=json.dumps({"files": files, **more}).encode(),
    )


async def test_a_plan_names_what_changes_where_and_when() -> None:
    it = await barto()
    answer = await posted(it, OLD.replace("02:00", "03:30"), OLD.replace("backup", "more"))
    assert answer.status == 200
    said = answer.json()
    assert said["usable"]
    assert [(one["change"], one["name"]) for one in said["changes"]] == [
        ("added", "more"),
        ("changed", "backup"),
    ]
    assert said["changes"][1]["keys"] == [
        {"key": "on_calendar", "old": '"02:00"', "new": '"03:30"'}
    ]
    assert said["changes"][0]["workers"] == {"count": 2, "names": ["web1", "web2"]}
    assert said["next"][0] == {
        "at": "2026-11-25T02:00:00Z",
        "until": None,
        "zone": "UTC",
        "schedule": "more",
        "workers": 2,
        "note": "",
    }
    assert (said["workers"], said["told"], said["busiest"][0]["starts"]) == (2, 2, 2)


async def test_a_plan_puts_nothing_in_force() -> None:
    it = await barto()
    before = await it.store.schedules()
    await posted(it, "")
    assert await it.store.schedules() == before


async def test_all_that_is_wrong_is_said_with_its_place() -> None:
    answer = await posted(await barto(), 'lsten = "::"\n' + OLD.replace("02:00", "25:00"), "x = [")
    said = answer.json()
    assert answer.status == 200
    assert not said["usable"]
    assert said["changes"] == []
    assert [(one["kind"], one["file"], one["line"]) for one in said["findings"]] == [
        ("error", "file0.toml", 1),
        ("error", "file0.toml", 5),
        ("error", "file1.toml", 1),
    ]


async def test_the_zone_of_the_settings_counts() -> None:
    answer = await posted(await barto(), 'timezone = "Europe/Berlin"\n' + OLD)
    (change,) = answer.json()["changes"]
    assert change["keys"] == [{"key": "timezone", "old": '"UTC"', "new": '"Europe/Berlin"'}]


async def test_a_large_configuration_is_taken_and_a_larger_one_is_not() -> None:
    it = await barto()
    assert (await posted(it, "# " + "x" * 1_000_000)).status == 200
    assert (await posted(it, "# " + "x" * BODY_MAX)).status == 413


async def test_no_file_is_a_mistake() -> None:
    assert (await posted(await barto())).status == 422
