"""The page about verdicts says of every state what `help verdicts` and the pages say."""

from __future__ import annotations

from pathlib import Path

import pytest

from barto_cli.commands.topics import ENDED, EXIT_CODES, MUST, NOT_YET, OTHERS
from libbarto.states import STATES, Act

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "verdicts.md"


@pytest.mark.parametrize("name", [*ENDED, *NOT_YET, *OTHERS])
def test_every_state_has_its_row(name: str) -> None:
    state = STATES[name]
    must = MUST[state.act] + ("" if state.act is Act.NO else f": {state.advice}")
    row = f"| {name} | {state.means} | {must} |"
    assert row in PAGE.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("code", [code for code, _ in EXIT_CODES])
def test_every_exit_code_has_its_row(code: str) -> None:
    assert f"\n| {code} | " in PAGE.read_text(encoding="utf-8")
