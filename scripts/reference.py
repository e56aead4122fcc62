"""Write docs/reference/*.toml.md and schedule.md from the code: keys, types, defaults, meanings.

python scripts/reference.py            write them
python scripts/reference.py --check    only say whether they are up to date
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import barto_cli.config
import bartoc.config
import bartos.config
from bartos.schedules import DEFAULTS, SCHEDULE, Definition, Policies
from libbarto.config import PREFIXES, Common
from libbarto.quantity import format_duration, format_size
from libbarto.settings import (
    Keys,
    Schema,
    fields_of,
    leaves,
    table_of,
    type_name,
)
from libbarto.toml_text import toml_text

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
MAN_PAGES = Path(__file__).with_name("man_pages.py")

QUANTITIES = """\
A duration is written as `"90s"`, `"1h30m"` or `"7d"` (w, d, h, m, s, ms, us), or as a number of
seconds; a size as `"512KiB"`, `"10MiB"` or `"1GB"`, or as a number of bytes.
"""


def default_text(info: FieldInfo) -> str:
    """A key's default, as one would write it; nothing where leaving it out means something else."""
    value = info.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return ""
    kind = type_name(info)
    if kind == "duration":
        value = format_duration(float(value))
    elif kind == "size":
        value = format_size(int(value))
    return f"`{toml_text(value)}`"


def row(cells: Sequence[str]) -> str:
    """A row of a table; a bar within a cell is no border."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def table(keys: Mapping[str, FieldInfo], before: str, prefix: str) -> Iterator[str]:
    """The keys that hold values; `before` is the dotted path of the table they are in."""
    heads = ["key", "type", "default", "meaning", *(["variable"] if prefix else [])]
    yield row(heads)
    yield row(["---"] * len(heads))
    for name, info in keys.items():
        kind = type_name(info)
        if not kind:
            continue
        cells = [f"`{name}`", kind, default_text(info), info.description or ""]
        if prefix:
            variable = f"{before}{name}".replace(".", "__").upper()
            cells.append(f"`{prefix}{variable}`")
        yield row(cells)
    yield ""


def sections(model: type[Keys], prefix: str, before: str = "") -> Iterator[str]:
    """A model's own keys, then each table in it under a heading of its own."""
    fields = fields_of(model)
    own = {name: info for name, info in fields.items() if table_of(info.annotation) is None}
    if own:
        yield from table(own, before, prefix)
    for name, info in fields.items():
        inner = table_of(info.annotation)
        if inner is not None:
            path = f"{before}{name}"
            yield f"## `[{path}]`"
            yield ""
            yield sentence(inner.__doc__ or info.description or "")
            yield ""
            yield from sections(inner, prefix, f"{path}.")


def sentence(text: str) -> str:
    """A docstring's lines as one paragraph."""
    return textwrap.fill(" ".join(text.split()), 100)


def others(schema: Schema) -> Iterator[str]:
    """What is refused for now, and what is read for the sake of barto 1.x."""
    if schema.later:
        yield "## Not available yet"
        yield ""
        yield "These keys are refused, except with the value that says what happens anyway:"
        yield ""
        for key, allowed in sorted(schema.later.items()):
            values = ", ".join(f"`{toml_text(value)}`" for value in allowed)
            yield f"- `{key}`{f' (but for {values})' if values else ''}"
        yield ""
    if schema.renamed:  # each program has some without effect
        yield "## Keys of barto 1.x"
        yield ""
        yield "They are read, so that an old file loads unchanged; `-v` says which have no effect."
        yield ""
        yield row(["old key", "today"])
        yield row(["---", "---"])
        for old, new in schema.renamed.items():
            if new is not None:
                yield row([f"`{old}`", f"`{new}`"])
        without = [f"`{old}`" for old, new in schema.renamed.items() if new is None]
        yield row([", ".join(without), "no effect"])
        yield ""


def program_page(program: str, schema: Schema, introduction: str) -> str:
    """The page of a program's file."""
    prefix = PREFIXES[program]
    lines = [
        f"# {program}.toml",
        "",
        introduction.strip(),
        "",
        sentence(
            "Every key may be left out, and so may the file. A flag beats the environment, which "
            "beats the file, which beats the default. In the name of a variable `__` stands "
            f"between a table and its key. Where several programs share a key, `BARTO_…` sets it "
            f"for all of them, and `{prefix}…` beats that: "
            + ", ".join(f"`{key}`" for key in sorted(shared(schema)))
            + "."
        ),
        "",
        QUANTITIES,
        *sections(schema.model, prefix),
        *others(schema),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def shared(schema: Schema) -> set[str]:
    """The top-level keys of a program that `BARTO_…` sets."""
    return {str(path[0]) for path in leaves(schema.model)} & Common.SHARED


def schedule_page() -> str:
    """The page of `[[schedule]]` and `[defaults]`."""
    fields = fields_of(Definition)
    policies = set(fields_of(Policies))
    own = {name: info for name, info in fields.items() if name not in policies}
    shared_keys: dict[str, FieldInfo] = {}
    for name, info in fields.items():
        inner = table_of(info.annotation)
        if name not in policies:
            continue
        if inner is None:
            shared_keys[name] = info
        else:
            for key, below in fields_of(inner).items():
                shared_keys[f"{name}.{key}"] = below
    lines = [
        "# A schedule",
        "",
        "```toml",
        "[[schedule]]",
        'name = "backup"',
        'workers = "web1"',
        'on_calendar = "*-*-* 02:R:R"',
        'cmds = ["pg_dump -Fc -f /backup/app.dump app"]',
        "```",
        "",
        sentence(
            "Schedules stand in bartos.toml, and in the files of `schedules.d/*.toml` beside it, "
            "which are read in order of name. `name`, `workers`, a trigger (`on_calendar`, `cron`, "
            "`every`, `at` or `after`), and `cmds` or `script` make a schedule; everything else "
            "has a default. [Say when](../howto/say-when.md) shows each trigger."
        ),
        "",
        QUANTITIES,
        *table(own, "", ""),
        "## Policies",
        "",
        sentence(
            "Each may stand in a schedule, in the `[defaults]` of its file, or in those of "
            "bartos.toml, which hold for every file; what stands nearest counts."
        ),
        "",
        *table(shared_keys, "", ""),
        "## The spelling of barto 1.x",
        "",
        "```toml",
        "[schedules.web1]",
        'schedules = [ { name = "backup", on_calendar = "*,*,* 02:R:R", cmds = ["…"] } ]',
        "```",
        "",
        sentence(
            "It is read as well, and so is `schedules.web1 = [ … ]` before the first table's "
            "header. Such a schedule runs on the worker `web1`, and its name is `web1/backup`."
        ),
        "",
        *others(Schema(SCHEDULE.model, later={**DEFAULTS.later, **SCHEDULE.later})),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def pages() -> dict[str, str]:
    """Every page by the name of its file."""
    return {
        "bartos.toml.md": program_page(
            "bartos",
            bartos.config.SCHEMA,
            "The server's file: /etc/barto/bartos.toml for root and the shipped units, else\n"
            "~/.config/bartos/bartos.toml. `bartos init` writes one. Schedules stand in it too:\n"
            "[a schedule](schedule.md).",
        ),
        "bartoc.toml.md": program_page(
            "bartoc",
            bartoc.config.SCHEMA,
            "The worker's file: /etc/barto/bartoc.toml for root and the shipped units, else\n"
            "~/.config/bartoc/bartoc.toml. `bartoc join` writes one.",
        ),
        "barto-cli.toml.md": program_page(
            "barto-cli",
            barto_cli.config.SCHEMA,
            "The file of the operator's command line: ~/.config/barto-cli/barto-cli.toml, else\n"
            "/etc/barto/barto-cli.toml.",
        ),
        "schedule.md": schedule_page(),
    }


def main(arguments: Sequence[str]) -> int:
    """Write the pages; with `--check` end with 1 where one is not up to date."""
    stale = 0
    for name, text in pages().items():
        path = REFERENCE / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in arguments:
            print(f"{path} is not up to date; run scripts/reference.py", file=sys.stderr)
            stale = 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    if "--check" not in arguments:  # the man pages say the same
        subprocess.run([sys.executable, str(MAN_PAGES)], check=True)
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
