"""Every example that is shipped loads, and `bartos check` has nothing to say about it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

import barto_cli.config
import bartoc.config
from bartos.config import check_files, load_all
from bartos.plan import WorkerFacts, worker_set
from libbarto.schedule import Timetable

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
NOW = 1_800_000_000_000_000
MINUTE = 60_000_000
SOME = WorkerFacts("somewhere", b"w" * 16, os="debian")


def test_there_is_an_example_of_each_file() -> None:
    names = {path.name for path in EXAMPLES.glob("*.toml")}
    assert names == {"bartos.toml", "bartoc.toml", "barto-cli.toml", "demo.toml"}


@pytest.mark.parametrize("name", ["bartos.toml", "demo.toml"])
def test_a_check_finds_nothing(name: str) -> None:
    report = check_files([EXAMPLES / name], environment={}, now=NOW)
    assert (report.faults, report.warnings) == ((), ())
    assert report.schedules > 0


def test_the_worker_s_example_loads() -> None:
    loaded = bartoc.config.load_settings(EXAMPLES / "bartoc.toml", environment={})
    assert loaded.settings.name == "web1"
    assert loaded.settings.bartos.endpoint.secure
    assert loaded.notes == ()


def test_the_client_s_example_loads() -> None:
    loaded = barto_cli.config.load_settings(EXAMPLES / "barto-cli.toml", environment={})
    assert loaded.settings.bartos.endpoint.host == "barto.example"


def test_the_demo_has_something_to_look_at() -> None:
    definitions = load_all(EXAMPLES / "demo.toml", environment={}).definitions
    wanted = worker_set(definitions, SOME)
    assert len(wanted.schedules) == len(definitions)
    tables = [Timetable(one, SOME.uid) for one in wanted.schedules]
    assert all(table.next_after(NOW) is not None for table in tables)
    starts = sorted(slot for table in tables for slot in table.due(NOW, NOW + MINUTE))
    assert len(starts) >= 30
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert max(gaps) <= 5_000_000
    texts = "\n".join(step for one in definitions for step in one.steps)
    assert ">&2" in texts
    assert "exit 3" in texts
    assert any("R" in text for one in definitions for text in one.on_calendar)
