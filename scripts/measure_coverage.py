"""Measures coverage: what `make coverage` does.

First the core under its own tests (tests/unit, and the examples in its docstrings): every branch
must have been taken. Then all tests that run in this process, added up into lcov.info.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.rooms import core_modules  # noqa: E402  (the path has to be there first)

IN_PROCESS = ("tests/contract", "tests/system", "tests/docs")


def coverage(*arguments: str) -> int:
    """Run coverage.py; its exit code."""
    command = [sys.executable, "-m", "coverage", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def main() -> int:
    """Measure, report, write lcov.info; 0 if tests passed and the core is covered whole."""
    core = [str(path.relative_to(ROOT)) for path in core_modules().values()]
    others = [path for path in IN_PROCESS if any((ROOT / path).glob("**/test_*.py"))]
    coverage("erase")
    unit = coverage("run", "-m", "pytest", "-q", "--doctest-modules", "tests/unit", *core)
    print("\nThe core, by its unit tests:")
    whole = coverage(
        *("report", "--show-missing", "--skip-covered", "--fail-under=100"),
        f"--include={','.join(core)}",
    )
    rest = coverage("run", "--append", "-m", "pytest", "-q", *others) if others else 0
    written = coverage("lcov", "-o", "lcov.info", "--quiet")
    failed = [
        name
        for name, code in (
            ("unit tests", unit),
            ("coverage of the core", whole),
            ("other tests", rest),
            ("lcov.info", written),
        )
        if code
    ]
    print(f"not passed: {', '.join(failed)}" if failed else "lcov.info is written")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
