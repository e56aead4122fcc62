"""A short chaos run, as `make chaos` does long ones: real programs, real faults, one line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.programs import MISSING, compiler

pytestmark = pytest.mark.alone

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(
    r"seed=\S+ occurrences=(\d+) faults=(\d+) lost=0 twice=0 early=0 corrupt=0 missing=0"
    r" gaps=\d+ interrupted=(\d+) \(explained=(\d+)\) late_p99=\d+ms converged=\d+s\n"
)


def test_nothing_is_lost_or_twice_whatever_fails(tmp_path: Path) -> None:
    if compiler() is None:
        pytest.skip(MISSING)
    asked = {"seed": "5", "occurrences": "200", "workers": "6", "faults": "10"}
    options = [word for name, value in asked.items() for word in (f"--{name}", value)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *options, "--reports", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    reports = [file.read_text()[:8000] for file in tmp_path.rglob("report.txt")]
    assert done.returncode == 0, "\n".join([done.stdout, done.stderr, *reports])
    told = LINE.fullmatch(done.stdout)
    assert told is not None, done.stdout
    occurrences, faults, interrupted, explained = map(int, told.groups())
    assert occurrences >= 200
    assert faults >= 8
    assert interrupted == explained
