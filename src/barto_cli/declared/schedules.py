"""Which commands help to write schedules?"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

from barto_cli.asked import MOST, SHOWN, Wanted
from barto_cli.declared.common import Flags, Output, Utc, given_by
from barto_cli.render import Format
from libbarto import command_line as cli

commands = cli.Program("schedules", help="Plan, and move over")


class ImportKind(enum.StrEnum):
    """What `import` reads."""

    CRONTAB = "crontab"
    SYSTEMD = "systemd"


@commands.command()
def calendar(
    context: cli.Context,
    expressions: Annotated[
        list[str] | None,
        cli.Argument("CALENDAR", help="When it runs, as 'Mon..Fri 02:30'; several are a union."),
    ] = None,
    tz: Annotated[
        str | None,
        cli.Option(
            "--tz",
            metavar="ZONE",
            help="The zone it is read in, as Europe/Berlin; left out: this host's.",
        ),
    ] = None,
    limit: Annotated[
        int,
        cli.Option(
            "-n", "--limit", metavar="N", min=1, max=MOST, help="Planned starts at most, the next."
        ),
    ] = SHOWN,
    since: Annotated[
        str | None,
        cli.Option(
            "--from",
            metavar="TIME",
            help="From this time on, not from now: today, 2027-03-28, '2027-03-28 01:00', "
            "RFC 3339.",
        ),
    ] = None,
    cron: Annotated[
        bool,
        cli.Option("--cron", help="What is given is crontab lines, as '0 2 * * 1-5' or @daily."),
    ] = False,
    worker: Annotated[
        str | None,
        cli.Option(
            "--worker",
            metavar="WORKER",
            help="For R: whose times, by its uid; a name is good for an example.",
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        cli.Option(
            "--schedule", metavar="SCHEDULE", help="For R: the name (or id) of the schedule."
        ),
    ] = None,
    dst_gap: Annotated[
        str,
        cli.Option(
            "--dst-gap",
            metavar="next|skip",
            help="What clocks leave out in spring: after it, or never.",
        ),
    ] = "next",
    dst_repeat: Annotated[
        str,
        cli.Option(
            "--dst-repeat",
            metavar="auto|once",
            help="What clocks repeat in autumn: an hour of * twice, or all once.",
        ),
    ] = "auto",
    systemd: Annotated[
        bool, cli.Option("--systemd", help="As systemd does it: --dst-gap skip --dst-repeat once.")
    ] = False,
    check: Annotated[
        Path | None,
        cli.Option(
            "--check",
            metavar="FILE",
            help="Judge every schedule of this bartos.toml, and of schedules.d beside it; exit "
            "code 1 where something is found.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        cli.Option(
            "--workers",
            metavar="N",
            min=0,
            help="For --check: how many workers there are, which nobody can ask.",
        ),
    ] = None,
    output: Annotated[
        Format | None,
        cli.Option("-o", "--output", help="Write a table for people, or a form for programs."),
    ] = None,
    utc: Annotated[
        bool,
        cli.Option("--utc", help="Show times in UTC, and read it in UTC where --tz is left out."),
    ] = False,
) -> None:
    """Show when a schedule runs, in words and in times, or judge those of a file. Asks no server.

    Examples: barto-cli calendar 'Mon..Fri 02:30' --tz Europe/Berlin; barto-cli calendar --check
    /etc/barto/bartos.toml
    """
    from barto_cli.commands.calendar import answer

    said = context.ensure_object(Flags)
    wanted = Wanted(
        expressions=tuple(expressions or ()),
        tz=tz,
        limit=limit,
        since=since,
        cron=cron,
        worker=worker,
        schedule=schedule,
        dst_gap=dst_gap,
        dst_repeat=dst_repeat,
        systemd=systemd,
        check=None if check is None else str(check),
        workers=workers,
    )
    raise cli.Exit(answer(wanted, output or said.output or Format.TABLE, utc or said.utc))


@commands.command()
def plan(
    context: cli.Context,
    file: Annotated[
        Path,
        cli.Argument("FILE", help="A bartos.toml; schedules.d beside it is read too."),
    ],
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Show what a changed bartos.toml would do to what is in force: what it adds, changes and
    removes, where, when, and what was probably not meant. Ends with 6 where it would change
    anything, with 2 where it is faulty.

    Example: barto-cli plan /etc/barto/bartos.toml
    """
    from barto_cli.commands import plan as planning

    code = 0  # where whoever read it has gone
    with given_by(context, output, utc) as given:
        code = planning.plan(given, file)
    raise cli.Exit(code)


@commands.command()
def import_(
    kind: Annotated[
        ImportKind, cli.Argument("crontab|systemd", help="Whose jobs: those of cron, or timers.")
    ],
    paths: Annotated[
        list[Path] | None,
        cli.Argument(
            "PATH",
            help="Crontabs, unit files, timers by name, or directories; left out: those of this "
            "host.",
        ),
    ] = None,
    user: Annotated[bool, cli.Option("--user", help="Your own alone, not the system's.")] = False,
    system: Annotated[
        bool,
        cli.Option(
            "--system", help="The crontabs named have a user before each command, as /etc/crontab."
        ),
    ] = False,
    name: Annotated[
        str | None,
        cli.Option(metavar="PREFIX", help="What names begin with; left out: this host's, and -."),
    ] = None,
    output: Annotated[
        Path | None,
        cli.Option("--output", metavar="FILE", help="Write a new file, as schedules.d/cron.toml."),
    ] = None,
    disable: Annotated[
        bool,
        cli.Option("--disable", help="Switch off there what was taken, and keep a copy of it."),
    ] = False,
    undo: Annotated[
        bool, cli.Option("--undo", help="Put back what --disable has switched off.")
    ] = False,
    dry_run: Annotated[
        bool, cli.Option("--dry-run", help="Only show the schedules; change nothing.")
    ] = False,
) -> None:
    """Turn the crontabs or the timers of this host into schedules, and say what cannot be carried
    over. Nothing there is changed, unless with --disable.

    Examples:
        barto-cli import crontab --dry-run
        barto-cli import crontab --output /etc/barto/schedules.d/cron.toml --disable
        barto-cli import systemd backup.timer --name web1-
        barto-cli import crontab --undo
    """
    from barto_cli.commands import importing

    wanted = importing.Wanted(
        kind=kind.value,
        paths=paths or (),
        own=user,
        system=system,
        prefix=name,
        output=output,
        disable=disable,
        undo=undo,
        dry_run=dry_run,
    )
    raise cli.Exit(importing.run(wanted))
