"""`python -m tests.chaos`: what `make chaos` does.

Prints one line, and ends with 0 where the promise was kept; else it names the file with the report.
`--check FILE` judges the history of an earlier run again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from tests.chaos import checker, history, report
from tests.chaos.history import FaultKind
from tests.chaos.programs import NoCompiler
from tests.chaos.running import ALL_KINDS, PRIVATE, Chaos, Options
from tests.mariadb import MariaDBUnavailable

ROOT: Final = Path(__file__).resolve().parents[2]
REPORTS: Final = ROOT / ".cache" / "chaos"
PER_FAULT: Final = 47
"""Planned starts for each fault: 212 faults in 10,000."""


def arguments(given: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--occurrences", type=int, default=10_000)
    parser.add_argument("--store", choices=("sqlite", "mariadb"), default="sqlite")
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--faults", type=int, help="how many; 0 for none")
    parser.add_argument("--only", default="", help="kinds of faults, as bartoc.kill,link.cut")
    parser.add_argument("--check", type=Path, metavar="FILE", help="a history.jsonl")
    parser.add_argument("--reports", type=Path, default=REPORTS)
    return parser.parse_args(given)


def main(given: list[str]) -> int:
    """Run, check, tell; the exit code."""
    asked = arguments(given)
    if asked.check is not None:
        return _tell(history.read(asked.check), asked.check.parent)
    options = Options(
        seed=asked.seed,
        occurrences=asked.occurrences,
        store=asked.store,
        faults=asked.occurrences // PER_FAULT if asked.faults is None else asked.faults,
        workers=asked.workers,
        only=frozenset(map(FaultKind, asked.only.split(","))) if asked.only else ALL_KINDS,
    )
    directory = asked.reports / f"{options.store}-{options.seed}-{options.occurrences}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    try:
        with Chaos(options, lambda text: print(text, file=sys.stderr, flush=True)) as chaos:
            try:
                found = chaos.run()
            finally:
                chaos.logs(directory / "logs")
    except (NoCompiler, MariaDBUnavailable) as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2
    history.write(found, directory / "history.jsonl")
    return _tell(found, directory)


def _tell(found: history.History, directory: Path) -> int:
    judgement = checker.check(found)
    print(report.summary(judgement), file=sys.stderr)
    print(judgement.line(), flush=True)
    if judgement.passed:
        return 0
    file = directory / report.REPORT
    report.write(found, judgement, file)
    for violation in judgement.violations[:5]:
        print(report.headline(violation), file=sys.stderr)
    print(f"{len(judgement.violations)} violations: see {file}", file=sys.stderr)
    return 1


def _privately() -> None:
    """Begin again where mounts of ours are seen by nobody else, and go with us (unshare(1))."""
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid() != 0 or PRIVATE in os.environ:
        return
    command = [unshare, "--mount", "--propagation", "private", sys.executable, "-m", "tests.chaos"]
    os.execve(unshare, [*command, *sys.argv[1:]], {**os.environ, PRIVATE: "1"})


if __name__ == "__main__":
    _privately()
    sys.exit(main(sys.argv[1:]))
