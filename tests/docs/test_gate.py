"""The gate tells a pass from everything else: failed, skipped, broken down, or nothing run."""

from __future__ import annotations

import tomllib
from pathlib import Path

from scripts.run_tests import Tally
from tests.rooms import ROOT

PASSED = '<testcase classname="a" name="passes"/>'
FAILED = '<testcase classname="a" name="fails"><failure message="no">…</failure></testcase>'
ERROR = '<testcase classname="a" name="breaks"><error message="no">…</error></testcase>'
SKIPPED = '<testcase classname="a" name="waits"><skipped message="no MariaDB"/></testcase>'


def tally(directory: Path, *reports: str) -> Tally:
    """What is known after these reports, one for each run of pytest."""
    known = Tally()
    for cases in reports:
        path = directory / "report.xml"
        suite = f"<testsuites><testsuite>{cases}</testsuite></testsuites>"
        path.write_text(suite, encoding="utf-8")
        known.read(path)
    return known


def faults(known: Tally, *, ci: bool = True) -> list[str]:
    return list(known.faults(nothing_may_be_skipped=ci))


def test_all_passed_is_a_pass(tmp_path: Path) -> None:
    known = tally(tmp_path, PASSED, PASSED + PASSED)
    assert faults(known) == []
    assert known.closing_line(1.5).strip("=") == " 3 passed in 1.50s "


def test_what_failed_or_broke_is_told(tmp_path: Path) -> None:
    known = tally(tmp_path, PASSED + FAILED, ERROR)
    assert faults(known) == ["1 failed", "1 errors"]
    assert "1 failed, 1 passed, 1 errors" in known.closing_line(0)


def test_a_skipped_test_is_a_fault_in_ci_alone_and_named_everywhere(tmp_path: Path) -> None:
    known = tally(tmp_path, PASSED + SKIPPED)
    assert faults(known, ci=False) == []
    assert len(faults(known, ci=True)) == 1
    assert known.skipped == {"no MariaDB": ["a::waits"]}


def test_nothing_run_is_no_pass(tmp_path: Path) -> None:
    assert faults(Tally()) == ["no test ran"]
    assert "no test ran" in faults(tally(tmp_path, SKIPPED), ci=False)


def test_a_pytest_that_broke_down_is_no_pass(tmp_path: Path) -> None:
    known = tally(tmp_path, PASSED)
    known.read(tmp_path / "never-written.xml")
    (tmp_path / "half.xml").write_text("<testsuites><testsuite>")
    known.read(tmp_path / "half.xml")
    assert [fault.partition(":")[0] for fault in faults(known)] == ["pytest left no report"] * 2


def test_ci_tries_every_python_that_is_named() -> None:
    """Classifiers name versions that were seen to pass, and CI goes on seeing it."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        classifiers = tomllib.load(file)["project"]["classifiers"]
    prefix = "Programming Language :: Python :: 3."
    named = [line.rpartition(" ")[2] for line in classifiers if line.startswith(prefix)]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    tried = ", ".join(f'"{version}"' for version in named)
    assert f"python: [{tried}]" in workflow
