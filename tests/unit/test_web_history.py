"""The pages of runs, of workers, of the history and of the calendar: what they say, in HTML."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from html import unescape
from urllib.parse import quote

import pytest
from starlette.types import ASGIApp

from bartos.api.app import create_app
from bartos.api.guard import over_unix_socket
from bartos.api.timeline import DayBar, DayRow
from bartos.store.port import RunFilter
from bartos.web.history import LANES_MAX, drawn
from libbarto.identity import uuid_text
from scripts import ansi_css
from tests.asgi import Response, request
from tests.faces import ERR, OUT, Barto
from tests.showcase import showcase


@pytest.fixture(scope="module")
def shown() -> Barto:
    """A server with much to show."""
    return asyncio.run(showcase())


APPS: dict[int, tuple[Barto, ASGIApp]] = {}


def served(barto: Barto) -> ASGIApp:
    """Its application, made once."""
    if id(barto) not in APPS:
        APPS[id(barto)] = barto, over_unix_socket(create_app(barto.services))
    return APPS[id(barto)][1]


async def asked(barto: Barto, path: str, status: int = 200) -> Response:
    answer = await request(served(barto), path, headers={"accept": "text/html"})
    assert answer.status == status, answer.body
    assert len(answer.body) < 300_000
    return answer


async def read(barto: Barto, path: str, status: int = 200) -> str:
    """The words of a page, without its tags."""
    text = (await asked(barto, path, status)).body.decode()
    body = text[text.index('<main id="content"') : text.index("</main>")]
    return " ".join(unescape(re.sub("<[^>]*>", " ", body)).split())


async def newest(
    barto: Barto, schedule: str, worker: str | None = None, running: bool | None = None
) -> str:
    wanted = RunFilter(schedule=schedule, worker=worker, running=running, limit=1)
    return uuid_text((await barto.store.runs(wanted))[0].run_id)


async def test_a_run_says_why_it_failed_and_when_what_happened(shown: Barto) -> None:
    said = await read(shown, f"/runs/{await newest(shown, schedule='backup', worker='db2')}")
    assert "backup on db2 Tue 24 Nov 2026 02:17:41 failed exit 1 42s run once more" in said
    assert "3 in a row now" in said
    assert "due 02:17:41 claimed <1ms 02:17:41 started <1ms" in said
    assert "step 1 42s 02:17:41" in said
    assert "ended 42s 02:18:23" in said
    assert "pg_dump: error: connection to server failed" in said


async def test_a_run_that_goes_on_can_be_cancelled_and_followed(shown: Barto) -> None:
    run = await newest(shown, schedule="build", running=True)
    said = await read(shown, f"/runs/{run}")
    assert "running" in said
    assert "cancel" in said
    assert "run once more" not in said
    answer = await asked(shown, f"/runs/{run[:20]}", 303)
    assert answer.headers["location"] == f"/runs/{run}"


async def test_a_run_that_there_is_not_is_a_page_that_says_so(shown: Barto) -> None:
    assert "no run has an id" in await read(shown, "/runs/0123456789", 404)


async def test_an_attempt_before_the_last_has_a_page_of_its_own() -> None:
    barto = Barto()
    run = await barto.run("web1", "tick", printed=[(OUT, b"first\n"), (ERR, b"second\n")])
    said = await read(barto, f"/runs/{uuid_text(bytes.fromhex(run))}?attempt=7")
    assert "first" in said, "there is one attempt, so that is the one"


async def test_many_hosts_are_told_in_groups(shown: Barto) -> None:
    said = await read(shown, "/runs?schedule=updates&slot=2026-11-24T03:00:00Z")
    assert "33 the same, 3 differ" in said
    assert "E: Could not get lock" in said
    assert "failed exit 100 1 worker" in said
    nothing = await read(shown, "/runs?schedule=updates&slot=2026-11-24T03:00:01Z")
    assert "barto why updates --at 2026-11-24T03:00:01Z" in nothing
    assert (await asked(shown, "/runs", 303)).headers["location"] == "/history"


async def test_workers_say_how_they_are(shown: Barto) -> None:
    said = await read(shown, "/workers")
    assert "41 of 42 connected" in said
    assert "away 5h ago" in said
    assert "+1.6s" in said
    assert "role=db" in said
    some = await read(shown, "/workers?text=canary&state=connected")
    assert "web02" in some
    assert "web03" not in some
    assert "None fits" in await read(shown, "/workers?text=nothing+of+that")
    assert "barto worker add web1" in await read(Barto(), "/workers")


async def test_the_history_has_filters_pages_and_files(shown: Barto) -> None:
    said = await read(shown, "/history?verdict=failed&schedule=probe&since=2026-11-23")
    assert "step 1 ended with 28" in said
    assert "barto runs --schedule probe --verdict failed --since 2026-11-23" in said
    page = (await asked(shown, "/history?verdict=failed&since=2026-11-23")).body.decode()
    assert (
        "/api/v1/runs/download?verdict=failed&amp;since=2026-11-23T00%3A00%3A00%2B01%3A00" in page
    )
    one_day = await read(shown, "/history?schedule=backup&since=2026-11-24&until=2026-11-24")
    assert "02:17:41" in one_day
    assert "barto runs --schedule backup --since 2026-11-24 --until 2026-11-25" in one_day
    first = (await asked(shown, "/history")).body.decode()
    older = re.search(r'href="([^"]*cursor=[^"]*)"', first)
    assert older is not None
    assert "Nothing fits" not in await read(shown, unescape(older[1]))
    assert "Nothing fits" in await read(shown, "/history?schedule=nothing")
    assert "Nothing has run yet" in await read(Barto(), "/history")
    assert "is no day as 2026-11-24" in await read(shown, "/history?since=yesterday", 400)


async def test_a_day_is_drawn(shown: Barto) -> None:
    said = await read(shown, "/history?view=day&day=2026-11-23")
    assert "At most" in said
    today = await read(shown, "/history?view=day&by=worker&schedule=mirror")
    assert "nas" in today
    assert "planned start" in today
    night = await read(shown, "/history?view=day&schedule=updates")
    assert "Nothing ran 00:00–04:00" in night
    empty = await read(Barto(), "/history?view=day&day=2026-11-01")
    assert "An idle day" in empty


@pytest.mark.parametrize(
    "at", ["9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"]
)
async def test_the_ends_of_the_calendar_are_times_as_others(shown: Barto, at: str) -> None:
    when = quote(at)
    assert "Nothing ran then" in await read(shown, f"/runs?schedule=backup&slot={when}")
    assert "Nothing ran then" in await read(
        shown, f"/runs?schedule=backup&slot={when}&until={when}"
    )
    assert "backup" in await read(shown, f"/schedules/backup?why={when}&worker=db2")
    assert "History" in await read(shown, f"/history?since={when}&until={when}")


async def test_output_is_searched(shown: Barto) -> None:
    said = await read(shown, "/history?text=Timed+OUT")
    assert "curl: (28) Connection timed out after 10001 ms" in said
    assert "which is all of them" in said
    assert "Not found" in await read(shown, "/history?text=no+such+thing&since=2026-11-24")
    assert "Search in what was printed" in await read(shown, "/history?view=output")
    more = await read(shown, "/history?text=ok")
    assert "The search stopped at what was due" in more


async def test_the_calendar_explains_and_counts(shown: Barto) -> None:
    said = await read(shown, f"/calendar?text={quote('Mon..Fri 02:30')}")
    assert "at 02:30 on weekdays" in said
    assert "2026-11-25 02:30:00" in said
    assert 'on_calendar = "Mon..Fri 02:30"' in said
    wrong = await read(shown, f"/calendar?text={quote('*-*-* 25:00')}")
    assert "hour is 0 to 23, got 25" in wrong
    assert "Mars/North" in await read(shown, "/calendar?text=daily&timezone=Mars/North")
    week = await read(shown, "/calendar?schedule=updates&week=2026-10-24")
    assert "252 in seven days" in week
    assert "beyond the calendar" in await read(shown, "/calendar?week=9999-12-31", 400)
    assert "Nothing is planned" in await read(Barto(), "/calendar")


def test_bars_that_overlap_lie_in_lanes() -> None:
    hour = datetime(2026, 11, 24, tzinfo=UTC)
    bars = [
        DayBar(begin=hour, end=hour.replace(hour=2), verdict="ok", run="", count=1)
        for _ in range(LANES_MAX + 2)
    ]
    bars.append(
        DayBar(begin=hour.replace(hour=3), end=hour.replace(hour=4), verdict=None, run="", count=1)
    )
    row = DayRow(name="x", runs=7, busy_seconds=0, at_once=6, bars=bars, holes=[], ticks=[])
    made = drawn(row)
    assert [lane for _, lane in made.bars] == [0, 1, 2, 3, 3, 3, 0]
    assert made.lanes == LANES_MAX


def test_the_colours_of_output_are_those_that_the_script_makes() -> None:
    assert ansi_css.FILE.read_text(encoding="utf-8") == ansi_css.text()


def test_every_colour_of_output_can_be_read() -> None:
    for colour in ansi_css.palette():
        for paper in (ansi_css.LIGHT, ansi_css.DARK):
            readable = ansi_css.readable(colour, paper)
            assert ansi_css.contrast(readable, paper) >= ansi_css.ENOUGH
