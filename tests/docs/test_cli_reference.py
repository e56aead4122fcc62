"""The page about barto-cli is what the command line says, and none of its commands is missing."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bartoc.cli
import bartos.cli
from barto_cli.app import app
from libbarto.command_line import Context

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
    for path, _ in commands(app.group, ""):
        assert f"\n## {path.strip()}\n" in text


def test_the_commands_of_barto_1_are_all_there() -> None:
    known = {"info", "updates", "cleanup", "clients", "query", "list", "failed", "cmd"}
    assert known <= set(app.group.commands)


def commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with the words that name it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


ALL = [
    pair for app in (app, bartos.cli.app, bartoc.cli.app) for pair in commands(app.group, app.name)
]


@pytest.mark.parametrize(("path", "command"), ALL, ids=[path for path, _ in ALL])
def test_every_command_has_an_example_in_its_help_and_it_is_understood(
    path: str, command: Any
) -> None:
    assert command.examples
    shown = command.get_help(Context(command, info_name=path))
    for written in command.examples:
        example = written
        assert f"\n  {example}" in shown
        if example.startswith("source <("):
            example = example.removeprefix("source <(").removesuffix(")")
        if example.startswith("ssh "):
            example = example[example.index(path) :]
        assert example.startswith(path)
        words = shlex.split(example.partition(" > ")[0])[len(path.split()) :]
        command.make_context(path, words)  # raises where it is not understood
