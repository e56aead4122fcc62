"""Write docs/reference/barto-cli.md from the command line itself: commands, options, exit codes.

python scripts/cli_reference.py            write it
python scripts/cli_reference.py --check    only say whether it is up to date
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer.main

from barto_cli.app import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "barto-cli.md"

INTRODUCTION = """\
# barto-cli

The operator's command line, also installed as `barto`. On the server's host it speaks to the
server over its Unix socket, as root or as the server's user, and needs no configuration; from
another host it goes by [barto-cli.toml](barto-cli.toml.md).

`-o` and `--utc` may stand before the command or after it. Tables are for people: they fit the
terminal, show times in your zone, and may change; `-o json`, `jsonl` and `csv` are for programs,
with times in UTC (RFC 3339). In a pipe nothing is cut and nothing coloured. What a run printed
cannot do anything to your terminal: control characters are shown as `\\x1b` and the like.

A run is named by its id, by a beginning of it that is unique, or as `@last`, the newest.

| exit code | means |
| --- | --- |
| 0 | done, whatever it reports |
| 1 | it failed |
| 2 | usage or configuration |
| 3 | the server, or its database, cannot be reached |
| 4 | refused |
| 5 | no such thing |
| 130 | interrupted |
"""


def page() -> str:
    """The whole page."""
    root = typer.main.get_command(app)
    lines = [INTRODUCTION, "## Before the command", "", *options(root)]
    for path, command in commands(root):
        lines += [f"## {path}", "", command.help or "", "", *usage(path, command)]
        lines += options(command)
    return "\n".join(lines).rstrip("\n") + "\n"


def commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with the words that name it."""
    for name, command in group.commands.items():
        path = f"{before}{name}"
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} ")
        else:
            yield path, command


def usage(path: str, command: Any) -> Iterator[str]:
    """The line that shows how it is written, with what must be given."""
    words = [f"barto-cli {path}"]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            words.append(parameter.metavar or parameter.name.upper())
        elif parameter.required:
            words.append(f"{parameter.opts[0]} {parameter.name.upper()}")
    yield f"    {' '.join(words)}"
    yield ""


def options(command: Any) -> Iterator[str]:
    """A table of the options and arguments of a command, as its help tells them."""
    context = typer.Context(command)
    yield "| option | meaning |"
    yield "| --- | --- |"
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:
            names, meaning = (cell.replace("|", "\\|") for cell in record)
            yield f"| `{names}` | {meaning.removesuffix('  [default: 0]')} |"
    yield ""


def main(arguments: Sequence[str]) -> int:
    """Write the page; with `--check` end with 1 where it is not up to date."""
    text = page()
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in arguments:
        print(f"{PAGE} is not up to date; run scripts/cli_reference.py", file=sys.stderr)
        return 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
