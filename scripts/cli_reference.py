"""Write the reference pages that programs know best: their commands and options, and the API.

python scripts/cli_reference.py            write them
python scripts/cli_reference.py --check    only say whether they are up to date
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import bartoc.cli
import bartos.cli
from barto_cli.app import app
from bartos.api.app import create_app
from bartos.api.guard import OPEN
from libbarto.command_line import Context, Program

PAGES = Path(__file__).resolve().parent.parent / "docs" / "reference"
MAN_PAGES = Path(__file__).with_name("man_pages.py")

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
| 1 | it failed, or a check found something |
| 2 | usage or configuration |
| 3 | the server, or its database, cannot be reached |
| 4 | refused |
| 5 | no such thing |
| 6 | `plan`: something would change |
| 130 | interrupted |
"""


PROGRAMS = """\
# bartos and bartoc

The server and the worker. Without a command each runs in the foreground until it is told to stop.
What their files may hold: [bartos.toml](bartos.toml.md), [bartoc.toml](bartoc.toml.md). What they
end with: [exit codes](verdicts.md).
"""

API = """\
# The HTTP API

Served by bartos under `/api/v1`, as JSON. Whoever asks over the network shows the server's key
(`Authorization: Bearer KEY`); over the Unix socket in the state directory nothing is asked. Errors
are problem details (RFC 9457): 400 and 422 for what cannot be read, 401 without a key, 403 and 421
for browsers that another site sent, 404 for what is not known, 409 for what cannot be as things
are, 503 while the database is away. Lists come in pages (`limit`, `cursor`, `next`); answers have
an `ETag`. The description for programs (OpenAPI), with every model, is at `/api/v1/openapi.json`;
how to ask is told [here](../howto/ask-the-http-api.md).
"""


def pages() -> dict[str, str]:
    """Each page's text, by its file's name."""
    cli = [INTRODUCTION, *program("barto-cli", app)]
    programs = [PROGRAMS]
    for name, own in (("bartos", bartos.cli.app), ("bartoc", bartoc.cli.app)):
        programs += [f"# {name}", "", own.group.help or "", ""]
        programs += program(name, own)
    texts = {"barto-cli.md": cli, "programs.md": programs, "api.md": [API, *api()]}
    return {name: "\n".join(lines).rstrip("\n") + "\n" for name, lines in texts.items()}


def program(name: str, app: Program) -> list[str]:
    """A program's options and commands."""
    root = app.group
    lines = ["## Before the command", "", *options(root)]
    for path, command in commands(root):
        lines += [f"## {path}", "", command.help or "", "", *usage(f"{name} {path}", command)]
        lines += [*options(command), "```sh", *command.examples, "```", ""]
    return lines


def api() -> Iterator[str]:
    """Every route: what it does, what it takes, what it answers."""

    async def worker(_: object) -> None:
        """Stands for the workers' endpoint, which is no route of HTTP."""

    described = create_app(None, worker).openapi()  # type: ignore[arg-type]  # nothing is asked
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            yield f"## {method.upper()} {path}"
            yield ""
            yield " ".join(str(route.get("description") or route["summary"]).split())
            yield ""
            if (method.upper(), path) in OPEN:
                yield "Open to all."
                yield ""
            parameters = route.get("parameters", [])
            if parameters:
                yield "| parameter | in | meaning |"
                yield "| --- | --- | --- |"
            for one in parameters:
                meaning = " ".join(str(one.get("description", "")).split()).replace("|", "\\|")
                yield f"| `{one['name']}` | {one['in']} | {meaning} |"
            if parameters:
                yield ""
            yield from takes(route)
            yield answers(route)
            yield ""


def takes(route: Mapping[str, Any]) -> Iterator[str]:
    """What the body holds: an example of all of it."""
    for kind, content in route.get("requestBody", {}).get("content", {}).items():
        whole = content.get("example")
        if kind == "application/json" and whole is not None:
            yield f"Takes, as JSON: `{json.dumps(whole, ensure_ascii=False)}`"
            yield ""


def answers(route: Mapping[str, Any]) -> str:
    """What comes back: the model, and which errors."""
    models, errors = [], []
    for code, response in route["responses"].items():
        if int(code) >= 400:
            errors.append(code)
            continue
        for kind, content in response.get("content", {}).items():
            name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
            name = name.rpartition("__")[2]
            models.append(f"`{name}` ({code})" if name else f"{kind} ({code})")
        if not response.get("content"):
            models.append(code)
    failing = f" Errors: {', '.join(errors)}." if errors else ""
    return f"Answers {', '.join(models)}.{failing}"


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
    words = [path]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            words.append(parameter.make_metavar(Context(command)))
        elif parameter.required:
            words.append(f"{parameter.opts[0]} {parameter.name.upper()}")
    yield f"    {' '.join(words)}"
    yield ""


def options(command: Any) -> Iterator[str]:
    """A table of the options and arguments of a command, as its help tells them."""
    context = Context(command)
    yield "| option | meaning |"
    yield "| --- | --- |"
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:
            names, meaning = (cell.replace("|", "\\|") for cell in record)
            yield f"| `{names}` | {meaning.removesuffix('  [default: 0]')} |"
    yield ""


def main(arguments: Sequence[str]) -> int:
    """Write the pages; with `--check` end with 1 where one is not up to date."""
    PAGES.mkdir(parents=True, exist_ok=True)
    stale = 0
    for name, text in pages().items():
        page = PAGES / name
        if page.exists() and page.read_text(encoding="utf-8") == text:
            continue
        if "--check" in arguments:
            print(f"{page} is not up to date; run scripts/cli_reference.py", file=sys.stderr)
            stale = 1
            continue
        page.write_text(text, encoding="utf-8")
        print(f"wrote {page}")
    if "--check" not in arguments:  # the man pages say the same
        subprocess.run([sys.executable, str(MAN_PAGES)], check=True)
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
