"""Runs pytest and says how it ended: what `make test` does.

Two runs: first all that may share the machine, on three processes (the longest tests wait more than
they work, so two would leave a machine of two cores idle for half of the time), then the tests
marked `alone`, which measure time. With `CI=true` a test that was skipped counts as one that
failed. The last line is pytest's closing line, over both runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

IN_FILES = ("--dist", "loadfile", "--no-loadscope-reorder")
# A file's tests stay together and in order, as those that share a server need; the files come in
# their own order, so that the slow ones, which stand first, do not come last.

PATIENCE_S = 1800
# pytest-xdist may wait for ever after one of its processes died.

NO_TESTS_COLLECTED = 5  # pytest's exit code for it


@dataclass
class Tally:
    """What is known about all tests so far, from pytest's own reports."""

    counts: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, list[str]] = field(default_factory=dict)  # names, by reason
    broken: list[str] = field(default_factory=list)

    def read(self, report: Path) -> None:
        """Add a JUnit report; one that is missing or unreadable means that pytest broke down."""
        try:
            cases = list(ET.parse(report).getroot().iter("testcase"))
        except (OSError, ET.ParseError) as error:
            self.broken.append(f"pytest left no report: {error}")
            return
        for case in cases:
            name = f"{case.get('classname', '')}::{case.get('name', '')}"
            outcome, reason = outcome_of(case)
            self.counts[outcome] += 1
            if outcome == "skipped":
                self.skipped.setdefault(reason, []).append(name)

    def faults(self, nothing_may_be_skipped: bool) -> Iterator[str]:
        """Each reason why this is not a pass."""
        yield from self.broken
        for outcome in ("failed", "errors"):
            if self.counts[outcome]:
                yield f"{self.counts[outcome]} {outcome}"
        if self.skipped and nothing_may_be_skipped:
            yield f"{self.counts['skipped']} skipped, and nothing may be skipped here (CI is set)"
        if not self.counts["passed"]:
            yield "no test ran"

    def closing_line(self, seconds: float) -> str:
        """What pytest says at its end, over all runs."""
        order = ("failed", "passed", "skipped", "errors")
        parts = ", ".join(f"{self.counts[name]} {name}" for name in order if self.counts[name])
        return f" {parts or 'no tests ran'} in {seconds:.2f}s ".center(80, "=")


def outcome_of(case: ET.Element) -> tuple[str, str]:
    """How one test of a JUnit report ended, and why if it was skipped."""
    for tag, outcome in (("error", "errors"), ("failure", "failed"), ("skipped", "skipped")):
        found = case.find(tag)
        if found is not None:
            return outcome, found.get("message", "")
    return "passed", ""


def pytest(report: Path, *arguments: str) -> int:
    """Run pytest with a JUnit report; its exit code."""
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", f"--junitxml={report}", *arguments]
    with subprocess.Popen(command) as process:
        try:
            return process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            print(f"pytest is ended, as it was not done after {PATIENCE_S} seconds", flush=True)
            process.send_signal(signal.SIGINT)  # it writes its report on the way out
            return process.wait()


def run(arguments: list[str], nothing_may_be_skipped: bool) -> int:
    """Run everything, print what happened; 0 if all is well."""
    began = time.monotonic()
    tally = Tally()
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        for name, selection in (
            ("together", ["-n", "3", *IN_FILES, "-m", "not alone"]),
            ("alone", ["-m", "alone", "-p", "no:xdist"]),
        ):
            code = pytest(report, *selection, *arguments)
            if code == NO_TESTS_COLLECTED:
                continue
            tally.read(report)
            if code not in (0, 1):
                tally.broken.append(f"pytest ended with {code} (tests that run {name})")
    for reason, names in tally.skipped.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        print(f"skipped: {reason}\n    {', '.join(names[:3])}{more}")
    faults = list(tally.faults(nothing_may_be_skipped))
    for fault in faults:
        print(f"not passed: {fault}")
    print(tally.closing_line(time.monotonic() - began))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], os.environ.get("CI", "").lower() in {"true", "1"}))
