"""`bartos demo`: ends by itself or by Ctrl-C, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.fleet import BIN, Process, kill_all, processes_of, until


@pytest.fixture
def place() -> Iterator[Path]:
    """Where temporary files of this demo go."""
    with tempfile.TemporaryDirectory(prefix="barto-") as directory:
        place = Path(directory)
        yield place
        until(lambda: not kill_all(place), "no process is left")


def demo(place: Path, *arguments: str) -> Process:
    environment = {"TMPDIR": str(place), "HOME": str(place), "PATH": os.defpath, "COLUMNS": "200"}
    command = [str(BIN / "bartos"), "demo", *arguments]
    return Process(command, place / "demo.log", environment)


def left(place: Path) -> list[object]:
    """What a demo has left: processes, and files."""
    return [*processes_of(place).values(), *place.glob("barto-demo-*")]


def test_a_demo_ends_by_itself_with_a_summary(place: Path) -> None:
    shown = demo(place, "--for", "15s")
    shown.start()
    assert shown.wait(40) == 0, shown.log
    found = re.search(
        r"^(\d+) planned starts in the database \((.*)\), ([\d,]+) bytes", shown.log, re.M
    )
    assert found is not None, shown.log
    assert int(found[1]) >= 4
    assert "ok" in found[2]
    assert "failed" in found[2]
    assert int(found[3].replace(",", "")) > 1000
    assert "Traceback" not in shown.log
    assert left(place) == []


def test_the_commands_it_names_work_and_ctrl_c_ends_all_that_it_began(place: Path) -> None:
    shown = demo(place)
    shown.start()
    until(lambda: "ok after" in shown.log, "something has run", explain=lambda: shown.log)
    assert len(processes_of(place)) >= 3  # the server, bartoc, its keeper
    (runs,) = re.findall(r"^  (\S+ -c \S+ runs)$", shown.log, re.M)
    asked = Process(runs.split(), place / "runs.log", {"PATH": os.defpath, "HOME": str(place)})
    asked.start()
    assert asked.wait() == 0, asked.log
    assert "ok" in asked.log
    assert shown.ends(signal.SIGINT) == 0, shown.log
    assert "planned starts in the database" in shown.log
    assert "Traceback" not in shown.log
    assert left(place) == []
