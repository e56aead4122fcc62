"""What the pages say is so: links lead somewhere, snippets load, nothing is left out."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import barto_cli.app
import bartoc.cli
import bartos.app
import bartos.cli
from bartoc import state
from bartoc.keeper import files
from bartos.alert_text import Around, compose
from bartos.api.app import create_app
from bartos.config import load_all
from bartos.init import Paths
from bartos.store.alerts import AlertRow, Member
from bartos.store.port import QueryLimits
from bartos.store.settings import SqliteSettings
from bartos.store.sql import migrate, reader
from libbarto import places
from libbarto.realtime import Realtime

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
QUERY = re.compile(r'query -q "([^"]+)"')
PROGRAMS = {"bartos": bartos.cli.app, "bartoc": bartoc.cli.app, "barto-cli": barto_cli.app.app}


def blocks(page: Path, language: str = "") -> list[str]:
    """What stands in a page's fences of that language."""
    text = page.read_text(encoding="utf-8")
    return [block for marked, block in FENCE.findall(text) if marked == language]


def test_there_are_pages() -> None:
    assert len(PAGES) > 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, _ in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_snippet_loads(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(blocks(page, "toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(text, encoding="utf-8")
        assert load_all(file, environment={}).loaded.exists


def test_every_command_has_its_entry() -> None:
    text = (ROOT / "docs" / "reference" / "programs.md").read_text(encoding="utf-8")
    for app in (bartos.cli.app, bartoc.cli.app):
        for name in app.group.commands:
            assert f"\n## {name}\n" in text


def test_every_route_has_its_entry() -> None:
    text = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    for path, methods in create_app(None).openapi()["paths"].items():  # type: ignore[arg-type]
        for method in methods:
            assert f"\n## {method.upper()} {path}\n" in text


def test_every_command_of_make_that_is_shown_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    shown = {
        target
        for page in PAGES
        for block in blocks(page)
        for target in re.findall(r"\bmake ([a-z-]+)", block)
    }
    assert {"demo", "test", "check", "setup"} <= shown <= targets


# -- what is shown can be typed -------------------------------------------------------------------


def commands() -> Iterator[tuple[str, list[str]]]:
    """The commands of the three programs that stand in fenced blocks: where, and their words."""
    for page in PAGES:
        for block in blocks(page):
            for line in block.splitlines():
                program, _, rest = line.removeprefix("$ ").partition(" ")
                if program in PROGRAMS:
                    words = [word for word in shlex.split(rest, comments=True) if word != "&"]
                    ends = [place for place, word in enumerate(words) if word in {">", "|"}]
                    words = words[: min(ends, default=len(words))]
                    yield str(page.relative_to(ROOT)), [program, *words]


@pytest.mark.parametrize(
    ("page", "words"),
    list(commands()),
    ids=lambda part: part if isinstance(part, str) else " ".join(part),
)
def test_every_command_that_is_shown_is_understood(page: str, words: list[str]) -> None:
    command = PROGRAMS[words[0]].group
    rest = words[1:]
    while below := getattr(command, "commands", None):
        at = next((place for place, word in enumerate(rest) if word in below), None)
        if at is None:
            break
        command.make_context(words[0], rest[: at + 1])
        command, rest = below[rest[at]], rest[at + 1 :]
    command.make_context(words[0], rest)  # raises where an option or a value is none


def test_every_query_that_is_shown_can_be_asked(tmp_path: Path) -> None:
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    queries = {query for text in texts for query in QUERY.findall(text)}
    assert len(queries) > 1
    settings = SqliteSettings(tmp_path / "barto.db")

    async def ask() -> None:
        await migrate(settings)
        store = reader(settings)
        try:
            for query in queries:
                await store.query(query, QueryLimits())
        finally:
            await store.close()

    asyncio.run(ask())


def test_every_calendar_that_is_shown_can_be_read() -> None:
    text = (ROOT / "docs" / "explanation" / "calendars.md").read_text(encoding="utf-8")
    table = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    expressions = [each for cell in table for each in re.findall(r"`(.*?)`", cell)]
    assert len(expressions) > 10
    for expression in expressions:
        calendar = Realtime.parse(expression)
        assert Realtime.parse(str(calendar)) == calendar


def test_every_file_of_a_state_directory_has_its_line() -> None:
    text = (ROOT / "docs" / "reference" / "files.md").read_text(encoding="utf-8")
    made = Paths(Path("bartos.toml"), Path("state"))
    of_server = [made.signing_key, made.api_key, made.ca_cert, made.ca_key, made.cert, made.key]
    names = {path.name for path in of_server} | {places.SOCKET, bartos.app.LOCK}
    names |= {state.IDENTITY, state.LOCK, state.JOURNAL}
    names |= {files.SOCKET, files.LOCK, files.LOG, f"{files.RUNS}/"}
    assert not {name for name in names if f"`{name}`" not in text}


def test_the_message_of_an_alert_is_as_it_is_shown() -> None:
    (shown,) = blocks(ROOT / "docs" / "howto" / "be-told-of-failures.md", "json")
    member = Member("web1", "failed, exit 1", 0, b"r" * 16)
    row = AlertRow(b"a" * 16, "failed", b"s" * 16, "backup", 0, 0, (member,), 1)
    said = compose(row, Around("https://barto.example", 40, ["x"], "https://wiki/backup"))
    assert list(json.loads(shown)) == list(said.as_json())
