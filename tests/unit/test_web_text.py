"""What others wrote is text on every page: names, output, reasons, labels; nothing of it runs, and
none of it plays tricks on the reader."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Final
from urllib.parse import quote

import pytest

from bartos.api.app import create_app
from bartos.api.guard import over_unix_socket
from bartos.schedules import definition_json, from_json
from bartos.services import Pages
from bartos.store.port import ScheduleRow
from bartos.web.app import PAGES
from libbarto.identity import schedule_uid
from libbarto.message.v2.record import Verdict
from tests.asgi import request
from tests.faces import ERR, NOON, OUT, SECOND, Barto

MARKUP: Final = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</title></textarea></template><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "&lt;b&gt;&#60;script&#62;",
    "' onmouseover='alert(1)",
    "]]><!--<script>",
)
TRICKS: Final = (
    "\x1b[31mred\x1b]0;title\x07",
    "\u202etxt.exe\u202c",
    "a\u200bb\ufeff",
    "\x9b2J\x00",
)
HARMFUL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)
MARK: Final = "zq7"


def evil(place: str) -> str:
    """What somebody writes into a field who means no good."""
    return f"{MARK}{place}" + "".join(MARKUP) + "".join(TRICKS)


async def filled() -> Barto:
    """A server whose every text is of somebody who means no good."""
    barto = Barto()
    barto.facts = replace(
        barto.facts,
        config_error=evil("error"),
        config_file=evil("file"),
        pages=Pages("https://barto.test", "", frozenset({"barto.test"}), "Europe/Berlin"),
    )
    worker, schedule = evil("worker")[:200], evil("schedule")[:250]
    await barto.worker(worker, os_version=evil("fact"), host=evil("host"))
    await barto.worker(evil("away")[:200], connected=False)
    uid = barto.uid(worker)
    barto.fleet.refused[uid] = evil("alarm")
    barto.fleet.here[:] = [
        replace(one, address=evil("address"), version=evil("version")) for one in barto.fleet.here
    ]
    printed = [(OUT, evil("out").encode() + b"\n"), (ERR, evil("err").encode() + b"\xff\n")]
    for number, verdict in enumerate((Verdict.OK, Verdict.FAILED, Verdict.INTERRUPTED, None)):
        slot = NOON - (10 - number) * 60 * SECOND
        await barto.run(
            worker, schedule, slot, printed, verdict=verdict, codes=(3,), reason=evil("reason")
        )
    await barto.did_not_run(worker, schedule, NOON - SECOND, NOON - SECOND, 1, evil("missed"))
    plain = from_json(
        '{"name": "plain", "workers": "*", "on_calendar": ["daily"], "cmds": ["true"]}'
    )
    definition = plain.model_copy(
        update={
            "name": schedule,
            "description": evil("description"),
            "tags": (evil("tag"),),
            "cmds": (evil("cmd"),),
            "env": {"A": evil("env")},
        }
    )
    row = ScheduleRow(schedule_uid(schedule), schedule, definition_json(definition))
    await barto.store.replace_schedules([row], NOON)
    try:
        barto.planner.load([row])
    except ValueError:
        barto.planner.load([])
    return barto


def paths(run: str) -> Iterator[str]:
    """Every page, with what it can be asked for."""
    schedule, worker = quote(evil("schedule")[:250]), quote(evil("worker")[:200])
    given = {"run": run, "name": schedule}
    for module in PAGES:
        for route in module.router.routes:
            path = getattr(route, "path", "")
            if "GET" not in getattr(route, "methods", ()) or path.startswith("/static"):
                continue
            if path.startswith("/workers"):
                yield path.replace("{name:path}", worker).replace("{name}", worker)
            else:
                yield re.sub(r"\{(\w+)[^}]*\}", lambda found: given.get(found[1], "x"), path)
    text = quote(evil("query")[:190])
    yield f"/schedules?text={text}&tag={text[:90]}"
    yield f"/schedules/{text}"
    yield f"/schedules/{schedule}?why="
    yield f"/schedules/{schedule}?why={text}&worker={worker}"
    yield f"/fragments/schedule?name={schedule}"
    yield f"/login?next=/{text}"
    yield f"/history?schedule={schedule}&worker={worker}&text={text}"
    yield f"/workers?text={text}"
    yield f"/calendar?calendar={text}"


class Page(HTMLParser):
    """What a browser would make of a page: its elements with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))


LINKS: Final = {"href", "src", "action", "data-post", "data-href", "formaction", "xlink:href"}
FORBIDDEN: Final = {"img", "iframe", "object", "embed", "style", "base", "video", "audio"}


def faults(text: str) -> list[str]:
    """Where a page has let something through."""
    found = []
    for tag, attributes in Page(text).elements:
        if tag in FORBIDDEN or (tag == "script" and "src" not in attributes):
            found.append(f"<{tag}>")
        for name, value in attributes.items():
            if name.startswith("on") or name == "style" or not re.fullmatch(r"[a-zA-Z:-]+", name):
                found.append(f"<{tag} {name}>")
            if name in LINKS and not re.match(r"/(?!/)|[#?]|$", value):
                found.append(f"<{tag} {name}={value}>")
    harmful = HARMFUL.search(html.unescape(text))
    if harmful is not None:
        found.append(repr(harmful[0]))
    return found


@pytest.mark.real_loop  # some of it is counted in a thread
async def test_nothing_that_others_wrote_runs_on_any_page() -> None:
    barto = await filled()
    app = over_unix_socket(create_app(barto.services))
    run = (await request(app, "/api/v1/runs?verdict=failed")).json()["runs"][0]["id"]
    seen = set[str]()
    for path in paths(run):
        answer = await request(app, path)
        assert answer.status < 500, (path, answer.body)
        if "text/html" in answer.headers.get("content-type", ""):
            text = answer.body.decode()
            assert faults(text) == [], path
            seen |= set(re.findall(rf"{MARK}(\w+?)&lt;", text))
    # All that the pages are there to show was among it.
    assert {"schedule", "worker", "reason", "missed", "tag", "query", "description"} <= seen


@pytest.mark.parametrize("part", [*MARKUP[:3], *TRICKS])
def test_what_gets_through_is_noticed(part: str) -> None:
    assert faults(f"<p>{part}</p>")
    as_text = faults(f"<p>{html.escape(part)}</p>")
    assert bool(as_text) == (part in TRICKS)


def test_an_attribute_that_ends_too_early_is_noticed() -> None:
    assert faults(f"<p title='{MARKUP[6]}'>")
    assert faults(f'<a href="{MARKUP[3]}">')
