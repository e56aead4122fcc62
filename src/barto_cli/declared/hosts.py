"""Which commands are about workers?"""

from __future__ import annotations

from typing import Annotated

from barto_cli.declared.common import DryRun, Output, Reason, Utc, Yes, given_by
from libbarto import command_line as cli

commands = cli.Program("hosts", help="Workers")

worker = cli.Program("worker", help="The hosts that run things.")
commands.add(worker)


@worker.command("add")
def worker_add(
    context: cli.Context,
    name: Annotated[str, cli.Argument("NAME", help="What the worker is to be called.")],
    label: Annotated[
        list[str] | None,
        cli.Option(metavar="KEY=VALUE", help="A label. May be given more than once."),
    ] = None,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Print the line to run on the host that is to be a worker.

    Example: barto-cli worker add web1 --label role=web
    """
    from barto_cli.commands import fleet

    with given_by(context, output, utc) as given:
        fleet.worker_add(given, name, label or ())


@worker.command("list")
def worker_list(context: cli.Context, output: Output = None, utc: Utc = False) -> None:
    """List the workers: whether they are here, their clocks, their labels.

    Example: barto-cli worker list
    """
    from barto_cli.commands import fleet

    with given_by(context, output, utc) as given:
        fleet.worker_list(given)


@worker.command("reset")
def worker_reset(
    context: cli.Context,
    name: Annotated[str, cli.Argument("WORKER", help="The worker.")],
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Let a worker come back that was refused, as its state directory is a copy or was rolled back.

    It begins a new spool, with cursors at now. Stop every copy first.

    Example: barto-cli worker reset vader --reason 'restored from a snapshot'
    """
    from barto_cli.commands import fleet

    with given_by(context, output, utc) as given:
        fleet.worker_reset(given, name, yes=yes, dry_run=dry_run, reason=reason)


@commands.command()
def web(
    context: cli.Context,
    only_print: Annotated[
        bool, cli.Option("--print", help="Only print the link, and open no browser.")
    ] = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Open the pages in a browser, logged in by a link that is good once and for a minute.

    Examples:
        barto-cli web
        ssh -L 21526:localhost:21526 server barto-cli web --print
    """
    from barto_cli.commands import web

    with given_by(context, output, utc) as given:
        web.web(given, only_print=only_print)
