"""What do the declarations of commands share? Options of many, and what a command is given."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from barto_cli.render import Format
from libbarto import command_line as cli

if TYPE_CHECKING:
    from barto_cli.given import Given

Output = Annotated[
    Format | None,
    cli.Option("-o", "--output", help="Write a table for people, or a form for programs."),
]
Utc = Annotated[bool, cli.Option("--utc", help="Show times in UTC, not in your zone.")]
Limit = Annotated[
    int, cli.Option("-n", "--limit", metavar="N", min=1, help="Runs at most, the newest.")
]
RunsShown = Annotated[
    int, cli.Option("--limit", metavar="N", min=1, max=1000, help="Runs at most, the newest.")
]
Run = Annotated[str, cli.Argument("RUN", help="A run's id, a beginning of it, or @last.")]
Named = Annotated[str | None, cli.Argument("SCHEDULE", help="Only of this schedule.")]
OnlyOf = Annotated[
    str | None, cli.Option("-w", "--worker", metavar="WORKER", help="Only of this worker.")
]
Since = Annotated[
    str | None,
    cli.Option(
        "--since",
        metavar="TIME",
        help="Only planned after this time: 2h (ago), today, 2026-11-24, RFC 3339.",
    ),
]
Until = Annotated[
    str | None,
    cli.Option("--until", metavar="TIME", help="Only planned for this time or earlier."),
]
Yes = Annotated[bool, cli.Option("-y", "--yes", help="Do not ask.")]
DryRun = Annotated[bool, cli.Option("--dry-run", help="Only say who is meant.")]
Wait = Annotated[
    bool,
    cli.Option("--wait", help="Wait until every worker that is connected has confirmed it."),
]
Reason = Annotated[str, cli.Option("--reason", metavar="TEXT", help="Why; the history says so.")]
Follow = Annotated[
    bool,
    cli.Option("-f", "--follow", help="Show what it prints, as it comes, until it has ended."),
]
ExitStatus = Annotated[
    bool,
    cli.Option("--exit-status", help="Wait for its end, and end with 1 if that is not ok."),
]


@dataclass(frozen=True, slots=True)
class Flags:
    """What was said before the command."""

    config: Path | None = None
    output: Format | None = None
    utc: bool = False
    verbose: int = 0
    quiet: int = 0


@contextlib.contextmanager
def given_by(context: cli.Context, output: Format | None, utc: bool) -> Iterator[Given]:
    """What a command needs, made from its options and those before it."""
    from barto_cli.client import Client
    from barto_cli.given import Given, screen_of, standard_output
    from barto_cli.progress import Progress
    from barto_cli.target import find_target

    said = context.ensure_object(Flags)
    target = find_target(said.config, os.environ)
    watched = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not said.quiet
    progress = Progress(sys.stderr, on=watched)
    client = Client(target, progress=progress)
    try:
        with standard_output() as out:
            given = Given(
                client=client,
                form=output or said.output or Format.TABLE,
                screen=screen_of(out, utc=utc or said.utc),
                out=out,
                err=sys.stderr,
                ask=sys.stdin.isatty(),
                progress=progress,
                quiet=bool(said.quiet),
            )
            if said.verbose:
                given.note(f"configuration {target.config_file}; server {client.place}")
            yield given
    finally:
        client.close()
