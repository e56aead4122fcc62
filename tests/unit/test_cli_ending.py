"""How the program ends, and that it works where standard streams are closed."""

from __future__ import annotations

import sys

import pytest

from barto_cli.app import main


def test_closed_streams_are_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(["help", "verdicts"]) == 0
    assert main(["help", "nope"]) == 2
