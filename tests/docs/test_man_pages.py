"""The man pages say what the programs say, and troff reads them without a complaint."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from bartos.config import Settings
from bartos.schedules import Definition
from libbarto.settings import leaves, type_name
from tests.docs.scripts import ROOT, load_script

SCRIPT = load_script("man_pages")
PAGES: dict[str, str] = SCRIPT.pages()


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_is_up_to_date(name: str) -> None:
    assert (ROOT / "man" / name).read_text(encoding="utf-8") == PAGES[name], "run `make man`"


def test_every_command_has_its_section() -> None:
    for program, page in (
        (SCRIPT.barto_cli.app.app, "barto-cli.1"),
        (SCRIPT.bartos.cli.app, "bartos.8"),
        (SCRIPT.bartoc.cli.app, "bartoc.8"),
    ):
        for path, _ in SCRIPT.commands(program.group):
            assert f'.SS "{path.replace("-", chr(92) + "-")}' in PAGES[page]


def test_every_key_is_explained() -> None:
    page = PAGES["bartos.toml.5"]
    for model in (Settings, Definition):
        for path, info in leaves(model).items():
            if type_name(info):
                assert f"\\fB{path[-1]}\\fR" in page, path


@pytest.mark.parametrize("name", sorted(PAGES))
def test_troff_has_nothing_to_complain_of(name: str) -> None:
    groff = shutil.which("groff")
    if groff is not None:
        command = [groff, "-K", "utf8", "-man", "-ww", "-z", "-Tutf8"]
        done = subprocess.run(command, input=PAGES[name].encode(), capture_output=True, check=True)
        assert done.stderr == b""


def test_what_troff_would_take_for_itself_is_shown_as_it_is() -> None:
    assert SCRIPT.roff(".x \\n 'a' [b](c.md)\n.y") == "\\&.x \\en \\(aqa\\(aq b\n\\&.y"
    assert SCRIPT.quoted('a "b"') == '"a \\(dqb\\(dq"'
