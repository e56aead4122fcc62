"""The pages can be read: colours have contrast by day and by night, and every word has a source."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from bartos.api.app import create_app
from bartos.api.guard import over_unix_socket
from bartos.api.models import Range
from bartos.api.schedules import Bar
from bartos.plan import schedule_rows
from bartos.schedules import load_schedules
from bartos.web.assets import ASSETS
from bartos.web.pages import TEMPLATES
from bartos.web.schedules import BARS, PAGE
from bartos.web.strip import FOOT, HEIGHT, LEAST, STEP, strip
from libbarto.message.v2.record import Verdict
from libbarto.states import LOOKS
from tests.asgi import request
from tests.faces import NOON as NOW
from tests.faces import SECOND, Barto
from tests.unit.test_states import contrast

CSS = ASSETS["barto.css"].data.decode()
PAIRS = {
    name: (light, dark)
    for name, light, dark in re.findall(
        r"--([a-z-]+): light-dark\((#[0-9A-F]{6}), (#[0-9A-F]{6})\)", CSS
    )
}
GROUNDS = ("paper", "raised", "alarm", "warn")
TEXT = ("ink", "dim", "accent", *(look.css for look in LOOKS))
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize("night", [False, True], ids=["day", "night"])
@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("text", TEXT)
def test_text_can_be_read(text: str, ground: str, night: bool) -> None:
    """WCAG 2.2, success criterion 1.4.3 (AA): 4.5 to 1."""
    assert contrast(PAIRS[text][night], PAIRS[ground][night]) >= 4.5


@pytest.mark.parametrize("night", [False, True], ids=["day", "night"])
def test_edges_of_fields_and_buttons_can_be_seen(night: bool) -> None:
    """WCAG 2.2, success criterion 1.4.11 (AA): 3 to 1."""
    assert contrast(PAIRS["edge"][night], PAIRS["paper"][night]) >= 3
    assert contrast(PAIRS["on-accent"][night], PAIRS["accent"][night]) >= 4.5
    assert contrast(PAIRS["paper"][night], PAIRS["ink"][night]) >= 4.5


def test_states_have_the_colours_of_the_table() -> None:
    for look in LOOKS:
        assert PAIRS[look.css] == (look.light, look.dark)


def test_every_look_has_a_shape_of_its_own_on_the_pages() -> None:
    shape = TEMPLATES.from_string('{% import "macros.html" as m %}{{ m.shape(css) }}')
    assert len({shape.render(css=look.css) for look in LOOKS}) == len(LOOKS)


def test_pages_fetch_nothing_from_elsewhere_and_have_nothing_inline() -> None:
    loader = TEMPLATES.loader
    assert loader is not None
    for name in loader.list_templates():
        source, _, _ = loader.get_source(TEMPLATES, name)
        assert not re.search(r"(?i)<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", source), (
            name
        )
        assert not re.search(r"\|\s*safe\b|autoescape", source), name
        assert not re.search(r"(?i)https?://", source), name
    for name, asset in ASSETS.items():
        text = asset.data.decode()
        found = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not found, name
        assert "innerHTML" not in text and "insertAdjacentHTML" not in text, name
        assert "@import" not in text and "url(" not in text, name


def test_all_that_a_page_fetches_is_small() -> None:
    assert sum(len(asset.data) for asset in ASSETS.values()) < 200_000


# -- strips ---------------------------------------------------------------------------------------


def bar(hour: int, seconds: float | None = 60, verdict: str | None = "ok", runs: int = 1) -> Bar:
    at = NOON + timedelta(hours=hour)
    return Bar(slot=at, runs=runs, verdict=verdict, seconds=seconds, run=f"id-{hour}")


def hole(hour: int, count: int = 1) -> Range:
    at = NOON + timedelta(hours=hour)
    return Range(
        schedule="a",
        worker="w",
        first=at,
        last=at,
        count=count,
        verdict="missed",
        reason="asleep",
        decided=at,
    )


def test_a_strip_ends_at_the_right_and_has_gaps_where_nothing_ran() -> None:
    made = strip([bar(0), bar(1), bar(3)], [hole(2), hole(-5)], 10)
    assert [one.x for one in made.bars] == [6 * STEP, 7 * STEP, 8 * STEP, 9 * STEP]
    assert [one.state for one in made.bars] == ["ok", "ok", "missed", "ok"]
    assert made.bars[2].reason == "asleep"
    assert made.ids == "id-0 id-1 - id-3"
    assert made.words == "last 4: 3 ok, 1 missed"
    assert (made.width, made.height) == (10 * STEP, HEIGHT + FOOT)


def test_a_long_absence_fills_no_more_than_the_strip() -> None:
    made = strip([bar(0)], [hole(1, 100_000)], 30)
    assert len(made.bars) == 30
    assert {one.state for one in made.bars} == {"missed"}


def test_the_longer_the_higher_and_what_failed_has_a_foot() -> None:
    made = strip([bar(0, 1), bar(1, 3600, "failed"), bar(2, None, None)], [], 3)
    short, long, running = made.bars
    assert LEAST < short.height < long.height == HEIGHT
    assert (running.state, running.height) == ("running", LEAST)
    assert short.path.count("M") == running.path.count("M") == 1
    assert long.path.count("M") == 2
    assert set(made.paths) == {"ok", "failed", "running"}
    assert long.y == 0 and short.y == HEIGHT - short.height


def test_a_strip_of_nothing_says_so() -> None:
    made = strip([], [], 30)
    assert (made.words, made.ids, dict(made.paths)) == ("has not run yet", "", {})


# -- weight ---------------------------------------------------------------------------------------


async def test_a_page_of_many_schedules_is_small() -> None:
    barto = Barto()
    names = [f"a-schedule-with-a-name-{number:03}" for number in range(PAGE + 5)]
    text = "".join(
        f'[[schedule]]\nname = "{name}"\nworkers = "*"\non_calendar = "*-*-* 02:17:41"\n'
        f'cmds = ["true"]\ntags = ["nightly", "databases"]\n'
        for name in names
    )
    rows = schedule_rows(load_schedules([("bartos.toml", text)]), [], NOW)
    await barto.store.replace_schedules(rows, NOW)
    barto.planner.load(rows)
    for name in names[:PAGE]:
        for number in range(BARS):
            slot = NOW - (BARS - number) * 3600 * SECOND
            verdict = Verdict.FAILED if number % 9 == 0 else Verdict.OK
            await barto.run("web1", name, slot, verdict=verdict, seconds=number + 1)
    app = over_unix_socket(create_app(barto.services))
    page = await request(app, "/schedules")
    fetched = ("barto.css", "barto.js", "live.js", "schedules.js", "barto.svg")
    weight = len(page.body) + sum(len(ASSETS[name].data) for name in fetched)
    assert weight < 300_000
    assert page.body.count(b'<tr data-schedule="') == PAGE
    more = re.search(rb'href="(/schedules\?cursor=[^"]+)"', page.body)
    assert more is not None
    rest = await request(app, more[1].decode())
    assert rest.body.count(b'<tr data-schedule="') == 5
