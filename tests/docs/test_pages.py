"""What the pages say is so: links lead somewhere, snippets load, nothing is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

import bartoc.cli
import bartos.cli
from bartos.api.app import create_app
from bartos.config import load_all

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
TOML = re.compile(r"```toml\n(.*?)```", re.DOTALL)


def test_there_are_pages() -> None:
    assert len(PAGES) > 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, _ in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_snippet_loads(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(TOML.findall(page.read_text(encoding="utf-8"))):
        file = tmp_path / f"{number}.toml"
        file.write_text(text, encoding="utf-8")
        assert load_all(file, environment={}).loaded.exists


def test_every_command_has_its_entry() -> None:
    text = (ROOT / "docs" / "reference" / "programs.md").read_text(encoding="utf-8")
    for app in (bartos.cli.app, bartoc.cli.app):
        for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]  # a group
            assert f"\n## {name}\n" in text


def test_every_route_has_its_entry() -> None:
    text = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    for path, methods in create_app(None).openapi()["paths"].items():  # type: ignore[arg-type]
        for method in methods:
            assert f"\n## {method.upper()} {path}\n" in text


def test_the_two_commands_of_the_readme_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in ("demo", "test"):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)
