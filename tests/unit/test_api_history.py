"""The history in other shapes: groups of a planned start, a day as rows, and files of all runs."""

from __future__ import annotations

import csv
import io
import json
from typing import Any
from urllib.parse import quote

import pytest
from starlette.types import ASGIApp

from bartos.api.app import create_app
from bartos.api.groups import READ
from bartos.api.guard import over_unix_socket
from bartos.api.schedules import STRIPS_MAX
from bartos.schedules import definition_json, load_schedules
from bartos.store.orders import DrainRow
from bartos.store.port import ScheduleRow
from libbarto.message.v2.record import Verdict
from libbarto.toml_text import toml_text
from tests.asgi import request
from tests.faces import ERR, NOON, OUT, SECOND, Barto

HOUR = 3600 * SECOND

pytestmark = pytest.mark.real_loop


def served(barto: Barto) -> ASGIApp:
    return over_unix_socket(create_app(barto.services))


async def got(barto: Barto, path: str, status: int = 200) -> Any:
    answer = await request(served(barto), path)
    assert answer.status == status, answer.body
    return answer.json()


async def planned(barto: Barto, *tables: dict[str, Any]) -> None:
    """Let schedules be in force."""
    texts = []
    for table in tables:
        keys = {"cmds": ["true"], "timezone": "UTC", **table}
        lines = [f"{key} = {toml_text(value)}" for key, value in keys.items()]
        texts.append("\n".join(["[[schedule]]", *lines]))
    made = load_schedules([("bartos.toml", "\n".join(texts))])
    rows = [ScheduleRow(it.uid, it.name, definition_json(it)) for it in made]
    await barto.store.replace_schedules(rows, NOON)
    barto.planner.load(rows)


async def test_runs_that_ended_alike_and_printed_the_same_are_one_group() -> None:
    barto = Barto()
    for number in range(5):
        await barto.run(f"web{number}", "update", printed=[(OUT, b"done\n")], seconds=number + 1)
    await barto.run("web5", "update", printed=[(OUT, b"done, almost\n")])
    await barto.run("web6", "update", printed=[(ERR, b"no\n")], verdict=Verdict.FAILED, codes=(1,))
    await barto.run("web7", "update", verdict=None)
    await barto.run("web1", "update", NOON + HOUR)
    told = await got(barto, "/api/v1/runs/groups?schedule=update&slot=2026-11-24T12:00:00Z")
    assert (told["runs"], told["same"], told["differ"], told["cut"]) == (8, 5, 3, False)
    first, *others = told["groups"]
    assert first["workers"] == [f"web{number}" for number in range(5)]
    assert (first["seconds_least"], first["seconds_most"]) == (1.0, 5.0)
    assert [(one["verdict"], one["exit_code"], one["workers"]) for one in others] == [
        ("failed", 1, ["web6"]),
        (None, None, ["web7"]),
        ("ok", 0, ["web5"]),
    ]


async def test_a_planned_start_at_which_nothing_ran_has_no_groups() -> None:
    told = await got(Barto(), "/api/v1/runs/groups?schedule=update&slot=2026-11-24T12:00:00Z")
    assert (told["runs"], told["same"], told["groups"]) == (0, 0, [])


async def test_more_runs_than_are_read_at_once_are_grouped() -> None:
    barto = Barto()
    for number in range(READ + 1):
        await barto.run(f"w{number:04}", "update")
    told = await got(
        barto,
        "/api/v1/runs/groups?schedule=update&slot=2026-11-24T12:00:00Z&until=2026-11-24T13:00:00Z",
    )
    assert told["same"] == READ + 1


async def test_a_day_shows_what_ran_what_did_not_and_what_is_to_come() -> None:
    barto = Barto()
    await planned(barto, {"name": "backup", "on_calendar": "*-*-* *:00", "workers": "*"})
    run = await barto.run("web1", "backup", NOON - 2 * HOUR, seconds=3600.0)
    await barto.run("web2", "backup", NOON - 2 * HOUR, seconds=1800.0, verdict=Verdict.FAILED)
    await barto.run("web1", "backup", NOON - HOUR // 2, verdict=None)
    await barto.did_not_run("web1", "backup", NOON - 5 * HOUR, NOON - 4 * HOUR, 2, "it was away")
    told = await got(barto, "/api/v1/timeline")
    assert (told["day"], told["timezone"], told["cut"]) == ("2026-11-24", "UTC", False)
    (row,) = told["rows"]
    assert (row["name"], row["runs"], row["at_once"]) == ("backup", 3, 2)
    assert row["busy_seconds"] == 3600.0 + 1800.0 - 0.001
    assert [(bar["verdict"], bar["begin"][11:16]) for bar in row["bars"]] == [
        ("failed", "10:00"),
        ("ok", "10:00"),
        (None, "11:30"),
    ]
    assert row["bars"][1]["run"].replace("-", "") == run
    (hole,) = row["holes"]
    assert (hole["count"], hole["verdict"], hole["reason"]) == (2, "missed", "it was away")
    assert [tick["count"] for tick in row["ticks"]] == [2] * 12
    assert row["ticks"][0]["at"] == "2026-11-24T12:00:00Z"


async def test_runs_too_close_to_be_told_apart_are_one_bar_with_the_worst_of_them() -> None:
    barto = Barto()
    for number in range(10):
        verdict = Verdict.FAILED if number == 4 else Verdict.OK
        await barto.run("web1", "tick", NOON - HOUR + number * SECOND, seconds=0.5, verdict=verdict)
    (row,) = (await got(barto, "/api/v1/timeline?day=2026-11-24"))["rows"]
    (bar,) = row["bars"]
    assert (bar["count"], bar["verdict"], row["at_once"]) == (10, "failed", 1)


async def test_a_day_by_worker_is_one_of_a_zone() -> None:
    barto = Barto()
    await planned(barto, {"name": "backup", "on_calendar": "*-*-* 18:00", "workers": "*"})
    await barto.run("web2", "backup", NOON - 13 * HOUR)
    await barto.run("web1", "backup", NOON - 12 * HOUR)
    zone = quote("Asia/Tokyo", safe="")
    told = await got(barto, f"/api/v1/timeline?by=worker&timezone={zone}&worker=web1")
    assert (told["begin"], told["end"]) == ("2026-11-23T15:00:00Z", "2026-11-24T15:00:00Z")
    assert [row["name"] for row in told["rows"]] == ["web1"]
    assert told["rows"][0]["ticks"] == []
    later = await got(barto, "/api/v1/timeline?by=worker&day=2026-11-25&schedule=backup")
    assert [(row["name"], row["ticks"][0]["count"]) for row in later["rows"]] == [
        ("web1", 1),
        ("web2", 1),
    ]


async def test_a_day_that_there_is_not_is_a_problem() -> None:
    barto = Barto()
    said = await got(barto, "/api/v1/timeline?timezone=Mars/North", 404)
    assert said["detail"] == '"Mars/North" is not the name of a time zone'
    said = await got(barto, "/api/v1/timeline?day=9999-12-31", 404)
    assert said["detail"] == "that day is beyond the calendar"


async def test_all_runs_come_as_one_file() -> None:
    barto = Barto()
    for number in range(510):
        await barto.run("web1", "tick", NOON + number * SECOND, seconds=1)
    answer = await request(served(barto), "/api/v1/runs/download?schedule=tick")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"] == 'attachment; filename="runs.csv"'
    assert len(answer.pieces) > 2, "it is written while it is read"
    head, *rows = csv.reader(io.StringIO(answer.body.decode()))
    assert head[:4] == ["id", "attempt", "schedule", "worker"]
    assert len(rows) == 510
    assert rows[0][head.index("slot")] == "2026-11-24T12:08:29Z"


async def test_json_comes_as_an_object_a_line() -> None:
    barto = Barto()
    await barto.run("web1", "tick")
    await barto.run("web2", "tick", verdict=Verdict.FAILED, codes=(3,))
    answer = await request(
        served(barto),
        "/api/v1/runs/download?format=jsonl&verdict=failed&since=2026-11-01T00:00:00Z",
    )
    (line,) = answer.body.decode().splitlines()
    assert json.loads(line)["exit_code"] == 3


async def test_a_file_for_a_spreadsheet_has_no_formula_in_it() -> None:
    barto = Barto()
    await barto.run("web1", "=HYPERLINK(1)", reason="+1")
    answer = await request(served(barto), "/api/v1/runs/download")
    _, row = csv.reader(io.StringIO(answer.body.decode()))
    assert "'=HYPERLINK(1)" in row
    assert "'+1" in row


async def test_planned_starts_are_counted_by_the_hour() -> None:
    barto = Barto()
    await barto.worker("web1")
    await barto.worker("web2")
    await planned(
        barto,
        {"name": "tick", "on_calendar": "*:*:*", "workers": "*"},
        {"name": "nightly", "on_calendar": "02:30", "workers": "web1"},
        {"name": "off", "on_calendar": "*:*", "workers": "*", "enabled": False},
    )
    span = "from=2026-11-24T00:00:00Z&until=2026-11-25T00:00:00Z"
    told = await got(barto, f"/api/v1/planned?{span}")
    assert len(told["hours"]) == 24
    assert told["hours"][0]["starts"] == 7200
    assert told["hours"][2] == {
        "at": "2026-11-24T02:00:00Z",
        "starts": 7201,
        "schedules": 2,
        "most": [{"schedule": "tick", "starts": 7200}, {"schedule": "nightly", "starts": 1}],
    }
    assert (told["total"], told["estimated"]) == (24 * 7200 + 1, False)
    one = await got(barto, f"/api/v1/planned?{span}&schedule=nightly&worker=web2")
    assert one["total"] == 0
    said = await got(
        barto, "/api/v1/planned?from=2026-11-24T00:00:00Z&until=2027-11-24T00:00:00Z", 409
    )
    assert said["detail"] == "until is after from, and at most 31 days later"


async def test_nothing_is_planned_on_a_worker_that_is_drained_for_longer() -> None:
    barto = Barto()
    uid = await barto.worker("web1")
    await barto.worker("web2")
    await planned(barto, {"name": "tick", "on_calendar": "hourly", "workers": "*"})
    span = "from=2026-11-24T00:00:00Z&until=2026-11-25T00:00:00Z"
    for until, total in ((None, 24), (NOON, 48), (NOON + 24 * HOUR, 24)):
        barto.planner.drains = {uid: DrainRow(uid, "web1", "ann", NOON, "disk", until)}
        assert (await got(barto, f"/api/v1/planned?{span}"))["total"] == total


async def test_a_page_with_strips_is_no_longer_than_it_can_be_read() -> None:
    barto = Barto()
    names = [f"s{number:03}" for number in range(STRIPS_MAX + 1)]
    await planned(barto, *({"name": it, "on_calendar": "daily", "workers": "*"} for it in names))
    assert len((await got(barto, "/api/v1/schedules"))["schedules"]) == STRIPS_MAX + 1
    page = await got(barto, "/api/v1/schedules?strip=1")
    assert len(page["schedules"]) == STRIPS_MAX
    rest = await got(barto, f"/api/v1/schedules?strip=1&cursor={page['next']}")
    assert [it["name"] for it in rest["schedules"]] == names[-1:]


async def test_the_drawn_times_of_many_workers_are_an_estimate() -> None:
    barto = Barto()
    for number in range(150):
        await barto.worker(f"w{number:03}")
    await planned(barto, {"name": "update", "on_calendar": "4:R", "workers": "*"})
    span = "from=2026-11-24T00:00:00Z&until=2026-11-25T00:00:00Z"
    told = await got(barto, f"/api/v1/planned?{span}")
    assert (told["hours"][4]["starts"], told["total"], told["estimated"]) == (150, 150, True)


async def test_an_expression_is_explained_as_one_types() -> None:
    barto = Barto()
    told = await got(
        barto, f"/api/v1/calendar?text={quote('Mon..Fri 02:30')}&timezone=Europe/Berlin"
    )
    assert (told["kind"], told["times"], told["error"]) == ("calendar", "exact", None)
    assert "02:30" in told["words"]
    assert told["normalized"] == ["Mon..Fri *-*-* 02:30:00"]
    assert len(told["next"]) == 10
    assert told["next"][0] == {
        "at": "2026-11-25T01:30:00Z",
        "until": None,
        "zone": "Europe/Berlin",
        "local": "2026-11-25T02:30:00+01:00",
        "note": "",
    }
    before = "since=2026-10-24T12:00:00Z"
    daily = await got(barto, f"/api/v1/calendar?text=02:30&timezone=Europe/Berlin&{before}")
    assert any(note["code"] == "clock-change" for note in daily["notes"])
    assert daily["next"][0]["note"] == "the first 02:30"


async def test_a_crontab_line_is_told_from_an_expression() -> None:
    barto = Barto()
    told = await got(barto, f"/api/v1/calendar?text={quote('30 2 * * 1-5')}&limit=1")
    assert (told["kind"], told["normalized"]) == ("cron", ["Mon..Fri *-*-* 02:30:00"])
    boot = await got(barto, f"/api/v1/calendar?text={quote('@reboot')}&kind=cron")
    assert (boot["at_boot"], boot["next"], boot["error"]) == (True, [], None)


async def test_what_cannot_be_read_is_told_with_its_place() -> None:
    barto = Barto()
    told = await got(barto, f"/api/v1/calendar?text={quote('*-*-* 25:00:00')}")
    assert told["error"] == {
        "message": "hour is 0 to 23, got 25",
        "text": "*-*-* 25:00:00",
        "start": 6,
        "end": 8,
    }
    assert told["next"] == []
    said = await got(barto, "/api/v1/calendar?text=daily&timezone=Mars/North", 404)
    assert "Mars/North" in said["detail"]


async def test_what_each_worker_draws_for_itself_is_a_span_or_an_example() -> None:
    barto = Barto()
    span = await got(barto, f"/api/v1/calendar?text={quote('4:R')}&limit=1")
    assert (span["times"], span["next"][0]["until"]) == ("range", "2026-11-25T04:59:00Z")
    example = await got(barto, f"/api/v1/calendar?text={quote('Mon *-*-R 04:00')}&limit=1")
    assert example["times"] == "example"
