"""The status, the timers and the events of a whole barto: they follow what happens."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

from tests.asgi import request
from tests.system.test_actions import away, get, post, served
from tests.system.world import World

TOML = """
[[schedule]]
name = "backup"
workers = "*"
on_calendar = "minutely"
cmds = ["true"]

[[schedule]]
name = "one"
workers = "*"
pick = "one"
on_calendar = "hourly"
cmds = ["true"]

[[schedule]]
name = "off"
workers = "*"
on_calendar = "hourly"
cmds = ["true"]
enabled = false
"""

BAD = """
[[schedule]]
name = "bad"
workers = "leia"
on_calendar = "minutely"
cmds = ["exit 3"]
"""


async def begun(barto: World) -> None:
    await barto.start_server(TOML)
    for name in ("han", "leia"):
        barto.add_worker(name)
    await barto.clock.advance(seconds=5)


async def timers(barto: World, query: str = "") -> dict[tuple[str, str], Any]:
    rows = (await get(barto, f"/timers{query}"))["timers"]
    now = barto.clock.now()
    for row in rows:
        assert row["next"] is None or datetime.fromisoformat(row["next"]).timestamp() * 1e6 > now
    return {(row["schedule"], row["worker"]): row for row in rows}


async def test_timers_follow_what_happens(barto: World) -> None:
    await begun(barto)
    found = await timers(barto)
    assert sorted(found) == [("backup", "han"), ("backup", "leia"), ("one", "")]
    assert found["one", ""]["one_of"] == 2
    assert found["backup", "han"]["last"] is None
    await barto.clock.advance(seconds=120)
    found = await timers(barto)
    row = found["backup", "han"]
    assert (row["state"], row["verdict"], row["running"]) == ("planned", "ok", False)
    (shown,) = (await get(barto, "/runs?worker=han&limit=1"))["runs"]
    assert row["run"] == shown["id"]
    assert row["last"] == shown["slot"]
    await away(barto, "leia")
    await post(barto, "/schedules/backup/pause", reason="move", seconds=3600)
    await barto.clock.advance(seconds=3)
    found = await timers(barto)
    assert found["backup", "han"]["state"] == "paused"
    assert (found["backup", "han"]["by"], found["backup", "han"]["reason"]) == ("ann", "move")
    assert ("off", "") in await timers(barto, "?all=true")
    assert list(await timers(barto, "?worker=han")) == [("backup", "han")]
    assert list(await timers(barto, "?schedule=one")) == [("one", "")]
    page = await get(barto, "/timers?limit=2")
    rest = await get(barto, f"/timers?limit=2&cursor={page['next']}")
    names = [(row["schedule"], row["worker"]) for row in page["timers"] + rest["timers"]]
    assert sorted(names) == [("backup", "han"), ("backup", "leia"), ("one", "")]
    assert rest["next"] is None


async def test_the_status_counts_what_is_well_and_what_is_not(barto: World) -> None:
    await begun(barto)
    await barto.configure(TOML + BAD)
    await barto.clock.advance(seconds=3)
    status = await get(barto, "/status")
    assert sum(status["counts"].values()) == 5
    assert status["counts"]["disabled"] == 1
    assert (status["workers"], status["connected"], status["confirmed"]) == (2, 2, 2)
    await barto.clock.advance(seconds=180)
    status = await get(barto, "/status")
    assert status["counts"] == {"disabled": 1, "failed": 1, "ok": 3}
    (failing,) = status["failing"]
    assert (failing["schedule"], failing["worker"], failing["state"]) == (
        "bad",
        "leia",
        "failed",
    )
    assert (failing["exit_code"], failing["times"]) == (3, 3)
    assert {one["schedule"] for one in status["next"]} == {"backup", "bad", "one"}
    await away(barto, "leia")
    status = await get(barto, "/status")
    assert (status["connected"], status["away"]) == (1, ["leia"])


async def test_events_tell_of_runs_as_they_change(barto: World) -> None:
    await begun(barto)
    asked = asyncio.create_task(request(served(barto), "/api/v1/events?for=70&schedule=backup"))
    await barto.clock.advance(seconds=30)
    await post(barto, "/schedules/one/pause", reason="move")
    await barto.clock.advance(seconds=45)
    answer = await asked
    found = []
    for block in answer.body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    runs = [data for kind, data in found if kind == "run"]
    assert {run["worker"] for run in runs} == {"han", "leia"}
    assert {run["verdict"] for run in runs} >= {"ok"}
    assert [data for kind, data in found if kind == "pauses"] == [{"schedules": ["one"]}]
    (*_, status) = [data for kind, data in found if kind == "status"]
    assert (status["workers"], status["connected"]) == (2, 2)
    assert sum(status["counts"].values()) == 4


async def test_a_schedule_is_told_whole(barto: World) -> None:
    await begun(barto)
    await barto.configure(TOML + BAD)
    await barto.clock.advance(seconds=180)
    (backup,) = (await get(barto, "/schedules?text=BACK&strip=3"))["schedules"]
    assert (backup["name"], backup["when"]) == ("backup", "every minute (UTC)")
    assert (backup["workers"], backup["state"]) == (2, "planned")
    assert backup["counts"] == {"ok": 2}
    assert [(bar["runs"], bar["verdict"]) for bar in backup["strip"]] == [(2, "ok")] * 3
    assert backup["last"]["verdict"] == "ok"
    (bad,) = (await get(barto, "/schedules?text=bad&strip=1"))["schedules"]
    assert bad["strip"][0]["verdict"] == "failed"
    page = await get(barto, "/schedules?limit=2")
    rest = await get(barto, f"/schedules?limit=2&cursor={page['next']}")
    assert [one["name"] for one in page["schedules"] + rest["schedules"]] == [
        "backup",
        "bad",
        "off",
        "one",
    ]
    assert rest["next"] is None
    assert (await get(barto, "/schedules?tag=db"))["schedules"] == []
    one = await get(barto, "/schedules/one")
    assert one["policies"].startswith("The server gives each start to one worker; ")
    assert one["worker_names"] == ["han", "leia"]
    assert len(one["starts"]) == 10
    assert (await get(barto, "/schedules/off"))["starts"] == []
    assert "did you mean backup?" in (await get(barto, "/schedules/bakcup", 404))["detail"]


async def test_a_worker_is_told_whole(barto: World) -> None:
    await begun(barto)
    await away(barto, "leia")
    han, leia = (await get(barto, "/workers"))["workers"]
    assert (han["connected"], han["confirmed"], han["schedules"]) == (True, True, 1)
    assert han["next_schedule"] == "backup"
    assert (leia["connected"], leia["next"]) == (False, None)
    (found,) = (await get(barto, "/workers?connected=false&text=lei"))["workers"]
    assert found["name"] == "leia"
    told = await get(barto, "/workers/han")
    assert [one["schedule"] for one in told["timers"]] == ["backup"]
    assert told["runs"] == []
    assert "did you mean han?" in (await get(barto, "/workers/hann", 404))["detail"]
