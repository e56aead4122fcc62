"""Which commands of barto 1.x are there still?"""

from __future__ import annotations

import enum
from typing import Annotated

from barto_cli.declared.common import Output, RunsShown, Utc, given_by
from libbarto import command_line as cli

commands = cli.Program("former", help="As in barto 1.x, and the database")


class UpdateKindName(enum.StrEnum):
    """Whose output `updates` reads."""

    APT = "apt"
    PACMAN = "pacman"
    CACHYOS = "cachyos"
    GARUDA = "garuda"


@commands.command()
def info(
    context: cli.Context,
    as_json: Annotated[bool, cli.Option("-j", "--json", help="As one JSON object.")] = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Say what is installed: version, commit, Python, store and files of both sides.

    Example: barto-cli info
    """
    from barto_cli.commands import fleet

    with given_by(context, output, utc) as given:
        fleet.info(given, as_json=as_json)


@commands.command()
def clients(
    context: cli.Context,
    versions: Annotated[
        bool, cli.Option("--versions", help="Only which barto each of them runs.")
    ] = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """List the workers that the server knows.

    Example: barto-cli clients --versions
    """
    from barto_cli.commands import fleet

    with given_by(context, output, utc) as given:
        fleet.clients(given, versions=versions)


@commands.command("list")
def list_(
    context: cli.Context,
    name: Annotated[str, cli.Option("-n", "--name", metavar="WORKER", help="The worker.")],
    cmd_name: Annotated[
        str | None,
        cli.Option("-c", "--cmd-name", "--cmd-name-opt", metavar="SCHEDULE", help="The schedule."),
    ] = None,
    limit: RunsShown = 100,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """List the schedules that a worker has run; with -c, that one's runs and all they printed.

    Example: barto-cli list -n web1 -c backup
    """
    from barto_cli.commands import printed

    with given_by(context, output, utc) as given:
        printed.listed(given, name, cmd_name, limit)


@commands.command()
def failed(
    context: cli.Context, limit: RunsShown = 100, output: Output = None, utc: Utc = False
) -> None:
    """List the runs that did not end ok, newest first.

    Example: barto-cli failed --limit 20
    """
    from barto_cli.commands import printed

    with given_by(context, output, utc) as given:
        printed.failed(given, limit)


@commands.command()
def cmd(
    context: cli.Context,
    cmd_name: Annotated[str, cli.Argument("SCHEDULE", help="The schedule.")],
    limit: RunsShown = 100,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Show the runs of a schedule on every worker, and all they printed.

    Example: barto-cli cmd backup
    """
    from barto_cli.commands import printed

    with given_by(context, output, utc) as given:
        printed.cmd(given, cmd_name, limit)


@commands.command()
def query(
    context: cli.Context,
    query: Annotated[str, cli.Option("-q", "--query", metavar="SQL", help="One SELECT.")],
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Ask the server's database: one SELECT that can only read, bounded in rows and time.

    Example: barto-cli query -q 'SELECT worker, count(*) FROM runs GROUP BY worker'
    """
    from barto_cli.commands import upkeep

    with given_by(context, output, utc) as given:
        upkeep.query(given, query)


@commands.command()
def cleanup(
    context: cli.Context,
    older_than: Annotated[
        str | None,
        cli.Option(metavar="AGE", help="Drop what ended longer ago than this: 7d, 12h."),
    ] = None,
    yes: Annotated[bool, cli.Option("-y", "--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, cli.Option("--dry-run", help="Only count.")] = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Apply the retention now; with --older-than, drop more, after showing how much.

    Example: barto-cli cleanup --older-than 30d --dry-run
    """
    from barto_cli.commands import upkeep

    with given_by(context, output, utc) as given:
        upkeep.cleanup(given, older_than=older_than, yes=yes, dry_run=dry_run)


@commands.command()
def updates(
    context: cli.Context,
    name: Annotated[str, cli.Option("-n", "--name", metavar="WORKER", help="The worker.")],
    update_kind: Annotated[
        UpdateKindName, cli.Option("-u", "--update-kind", help="Whose output it is.")
    ],
    output: Output = None,
    utc: Utc = False,
) -> None:
    """List the packages that a worker's newest update check named.

    Example: barto-cli updates -n web1 -u apt
    """
    from barto_cli.commands import upkeep

    with given_by(context, output, utc) as given:
        upkeep.updates(given, name, update_kind)
