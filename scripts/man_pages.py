"""Write the man pages from what --help and the reference are made of.

python scripts/man_pages.py            write man/
python scripts/man_pages.py --check    only say whether they are up to date
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from pydantic.fields import FieldInfo

import barto_cli.app
import bartoc.cli
import bartos.cli
import bartos.config
from barto_cli.commands import topics
from bartos.schedules import Definition
from libbarto.command_line import Context, Program
from libbarto.settings import Keys, fields_of, table_of, type_name

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "man"

EXIT_CODES: Final = {
    **dict(topics.EXIT_CODES),
    "6": "something would change (plan, migrate --check)",
}
SEE: Final = {
    "barto-cli": ("bartos(8)", "bartoc(8)", "bartos.toml(5)"),
    "bartos": ("bartos.toml(5)", "bartoc(8)", "barto-cli(1)"),
    "bartoc": ("bartos(8)", "barto-cli(1)"),
    "bartos.toml": ("bartos(8)", "barto-cli(1)", "systemd.time(7)"),
}
FILES: Final = {
    "barto-cli": (
        ("~/.config/barto-cli/barto-cli.toml", "where the server is, and the key"),
        ("/etc/barto/barto-cli.toml", "the same for every user"),
    ),
    "bartos": (
        ("/etc/barto/bartos.toml", "settings and schedules, see bartos.toml(5)"),
        ("/etc/barto/schedules.d/*.toml", "more schedules, read in order of name"),
        ("/var/lib/bartos", "keys, certificates, the embedded database and the socket"),
    ),
    "bartoc": (
        ("/etc/barto/bartoc.toml", "the server and the worker's name; bartoc join writes it"),
        ("/var/lib/bartoc", "the worker's identity and its journal"),
    ),
}
SHORT: Final = {
    "barto-cli": "see and steer what barto runs on your hosts",
    "bartos": "the server of barto, a distributed job scheduler",
    "bartoc": "the worker of barto, a distributed job scheduler",
}


def roff(text: str) -> str:
    """A text in which nothing means anything to troff, `code` in bold.

    >>> roff("a-b `x` .\\\\n")
    'a\\\\-b \\\\fBx\\\\fR .\\\\en'
    """
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", plain)
    plain = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", plain)
    return re.sub(r"^\.", r"\\&.", plain, flags=re.MULTILINE)


def quoted(text: str) -> str:
    """An argument of a macro."""
    return '"{}"'.format(roff(text).replace('"', "\\(dq"))


def head(name: str, section: int, short: str) -> Iterator[str]:
    """How every page begins."""
    # A date would make the page another one with every build.
    yield f'.TH {name.upper()} {section} "" "barto 2" "barto"'
    yield ".nh"
    yield ".SH NAME"
    yield f"{roff(name)} \\- {roff(short)}"


def paragraphs(text: str) -> Iterator[str]:
    """A text of paragraphs."""
    for part in text.split("\n\n"):
        yield ".PP"
        yield roff(" ".join(part.split()))


def program_page(program: Program, section: int) -> str:
    """The page of a program: what can be said before a command, and each command."""
    name, group = program.name, program.group
    lines = [*head(name, section, SHORT[name]), ".SH SYNOPSIS"]
    alone = "[COMMAND]" if group.invoke_without_command else "COMMAND"
    lines += [
        f"\\fB{roff(name)}\\fR [\\fIOPTION\\fR\\&...\\&] {roff(alone)} [\\fIARG\\fR\\&...\\&]"
    ]
    lines += [".SH DESCRIPTION", *paragraphs(group.help or "")]
    lines += [".SH OPTIONS", *parameters(group)]
    lines += [".SH COMMANDS"]
    for path, command in commands(group):
        context = Context(command, info_name=path)
        words = " ".join(command.collect_usage_pieces(context)).replace("[OPTIONS]", "[OPTION...]")
        lines += [f".SS {quoted(f'{path} {words}')}", *paragraphs(command.help or "")]
        lines += parameters(command)
        if command.examples:
            lines += [".PP", "For example:", ".PP", ".RS 4", ".nf"]
            lines += [*map(roff, command.examples), ".fi", ".RE"]
    lines += [".SH EXIT STATUS"]
    for code, meaning in EXIT_CODES.items():
        lines += [".TP", f"\\fB{code}\\fR", roff(meaning)]
    lines += [".SH FILES"]
    for file, meaning in FILES[name]:
        lines += [".TP", f"\\fI{roff(file)}\\fR", roff(meaning)]
    return ended(lines, name)


def parameters(command: Any) -> Iterator[str]:
    """The arguments and options of a command, as its help tells them."""
    context = Context(command)
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:
            names, meaning = record
            yield ".TP"
            yield f"\\fB{roff(names)}\\fR"
            yield roff(" ".join(meaning.split()))


def commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with the words that name it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        elif not command.hidden:
            yield f"{before}{name}", command


def settings_page() -> str:
    """The page of bartos.toml: its settings, then what a schedule may say."""
    lines = [
        *head("bartos.toml", 5, "settings and schedules of bartos"),
        ".SH DESCRIPTION",
        *paragraphs(
            "The server's file: /etc/barto/bartos.toml for root and the shipped units, else "
            "~/.config/bartos/bartos.toml. It is TOML. Every key may be left out. A flag beats the "
            "environment (BARTOS_*), which beats the file, which beats the default; in the "
            "name of a variable two underscores stand between a table and its key.\n\n"
            "Files of schedules.d/*.toml beside it are read too, in order of name. All of them "
            "count together or not at all; bartos check says what is wrong."
        ),
        ".PP",
        ".RS 4",
        ".nf",
        *map(roff, EXAMPLE.splitlines()),
        ".fi",
        ".RE",
        ".SH SETTINGS",
        *keys(fields_of(bartos.config.Settings)),
        *tables(bartos.config.Settings),
        ".SH SCHEDULES",
        *paragraphs(
            "Each [[schedule]] has a name, workers, one trigger (on_calendar, cron, every, at or "
            "after), and cmds or script. What says how it runs may stand in [defaults] as well."
        ),
        *keys(fields_of(Definition)),
        *(
            line
            for name, info in fields_of(Definition).items()
            if (inner := table_of(info.annotation)) is not None
            for line in keys(fields_of(inner), f"{name}.")
        ),
    ]
    return ended(lines, "bartos.toml")


EXAMPLE: Final = """\
timezone = "Europe/Berlin"

[[schedule]]
name = "backup"
workers = "web*"
on_calendar = "Mon..Fri 02:R"
timeout = "1h"
cmds = ["pg_dump -Fc -f /backup/app.dump app"]"""


def tables(model: type[Keys], before: str = "") -> Iterator[str]:
    """The tables within a model, each under a heading."""
    for name, info in fields_of(model).items():
        inner = table_of(info.annotation)
        if inner is not None:
            path = f"{before}{name}"
            yield f".SS {quoted(f'[{path}]')}"
            yield from paragraphs(inner.__doc__ or info.description or "")
            yield from keys(fields_of(inner))
            yield from tables(inner, f"{path}.")


def keys(fields: Mapping[str, FieldInfo], before: str = "") -> Iterator[str]:
    """Keys with their types, defaults and meanings; `before` is the path of their table."""
    for name, info in fields.items():
        inner = table_of(info.annotation)
        if inner is not None:
            continue
        kind = type_name(info)
        if kind:
            default = REFERENCE.default_text(info).replace("`", "")
            yield ".TP"
            yield f"\\fB{roff(before + name)}\\fR"
            said = f"({kind}{f'; {default}' if default else ''}) {info.description or ''}"
            yield roff(said)


def ended(lines: Sequence[str], name: str) -> str:
    """A whole page."""
    see = ", ".join(f"\\fB{roff(it[:-3])}\\fR{it[-3:]}" for it in SEE[name])
    return "\n".join([*lines, ".SH SEE ALSO", see]) + "\n"


def reference() -> ModuleType:
    """scripts/reference.py, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = reference()


def pages() -> dict[str, str]:
    """Each page by the name of its file."""
    return {
        "barto-cli.1": program_page(barto_cli.app.app, 1),
        "bartos.8": program_page(bartos.cli.app, 8),
        "bartoc.8": program_page(bartoc.cli.app, 8),
        "bartos.toml.5": settings_page(),
    }


def main(arguments: Sequence[str]) -> int:
    """Write the pages; with `--check` end with 1 where one is not up to date."""
    PAGES.mkdir(exist_ok=True)
    stale = 0
    for name, text in pages().items():
        page = PAGES / name
        if page.exists() and page.read_text(encoding="utf-8") == text:
            continue
        if "--check" in arguments:
            print(f"{page} is not up to date; run `make man`", file=sys.stderr)
            stale = 1
        else:
            page.write_text(text, encoding="utf-8")
            print(f"wrote {page}")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
