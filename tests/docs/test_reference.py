"""The reference is what the code says: every key of every file, and no default twice."""

from __future__ import annotations

from pathlib import Path

import pytest

import barto_cli.config
import bartoc.config
import bartos.config
from bartos.schedules import SCHEDULE, Definition
from libbarto.settings import Schema, leaves
from tests.docs.scripts import ROOT, load_script

REFERENCE = ROOT / "docs" / "reference"


SCRIPT = load_script("reference")
PAGES: dict[str, str] = SCRIPT.pages()


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_is_up_to_date(name: str) -> None:
    written = (REFERENCE / name).read_text(encoding="utf-8")
    assert written == PAGES[name], "run scripts/reference.py"


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("bartos.toml.md", bartos.config.SCHEMA),
        ("bartoc.toml.md", bartoc.config.SCHEMA),
        ("barto-cli.toml.md", barto_cli.config.SCHEMA),
    ],
)
def test_every_key_of_a_file_is_explained(name: str, schema: Schema) -> None:
    for path, info in leaves(schema.model).items():
        assert f"| `{path[-1]}` |" in PAGES[name]
        assert info.description, f"{path} says nothing of itself"
    for old in (*schema.renamed, *schema.later):
        assert f"`{old}`" in PAGES[name]


def test_every_key_of_a_schedule_is_explained() -> None:
    page = PAGES["schedule.md"]
    for path, info in leaves(Definition).items():
        if path[0] not in SCHEDULE.elsewhere:
            assert f"| `{'.'.join(map(str, path))}` |" in page
            assert info.description, f"{path} says nothing of itself"


@pytest.mark.parametrize(
    ("key", "default"),
    [
        ("timezone", '`"UTC"`'),
        ("timeout", ""),
        ("kill_after", '`"10s"`'),
        ("continue_on_error", "`false`"),
        ("shell", '`["/bin/sh", "-c"]`'),
        ("env", "`{}`"),
        ("nice", "`0`"),
        ("output_max", '`"10MiB"`'),
        ("start_within", '`"30s"`'),
        ("dst_gap", '`"next"`'),
        ("dst_repeat", '`"auto"`'),
        ("offline_max", '`"7d"`'),
        ("enabled", "`true`"),
        ("name", "required"),
    ],
)
def test_a_default_of_a_schedule_is_what_the_design_says(key: str, default: str) -> None:
    (row,) = [line for line in PAGES["schedule.md"].split("\n") if line.startswith(f"| `{key}` |")]
    assert row.split(" | ")[2].strip() == default


def test_the_script_says_whether_pages_are_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SCRIPT, "REFERENCE", tmp_path / "reference")
    assert SCRIPT.main(["--check"]) == 1
    assert SCRIPT.main([]) == 0
    assert SCRIPT.main(["--check"]) == 0
    assert {path.name for path in (tmp_path / "reference").iterdir()} == set(PAGES)
