"""The page about barto-cli is what the command line says, and none of its commands is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from barto_cli.app import app

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "reference" / "barto-cli.md"


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "cli_reference.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_page_names_every_command() -> None:
    text = PAGE.read_text(encoding="utf-8")
    commands = app.group.commands
    for name in {*commands} - {"worker"} | {"worker add", "worker list"}:
        assert f"\n## {name}\n" in text


def test_the_commands_of_barto_1_are_all_there() -> None:
    commands = app.group.commands
    known = {"info", "updates", "cleanup", "clients", "query", "list", "failed", "cmd"}
    assert known <= set(commands)
