"""Every fault of the table has a test that there is, or a reason why it has none."""

from __future__ import annotations

import ast
import re
from functools import cache

from tests.rooms import ROOT

PAGE = ROOT / "docs" / "explanation" / "faults.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
FAULTS = [*range(1, 40), 47, 48]


@cache
def names_in(file: str) -> frozenset[str]:
    """The names of a file's tests."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def test_every_fault_has_its_row() -> None:
    rows = re.findall(r"^\| F(\d+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(row) for row in rows] == FAULTS


def test_every_test_that_is_named_is_there() -> None:
    named = NAMED.findall(PAGE.read_text(encoding="utf-8"))
    assert len(named) > 40
    assert [(file, name) for file, name in named if name not in names_in(file)] == []


def test_a_row_without_a_test_says_why() -> None:
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if re.match(r"\| F\d+ \|", line):
            assert NAMED.search(line) or "no test yet: " in line
