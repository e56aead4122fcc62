"""Which commands make something happen on workers?"""

from __future__ import annotations

from typing import Annotated

from barto_cli.declared.common import (
    DryRun,
    ExitStatus,
    Follow,
    Output,
    Reason,
    Utc,
    Wait,
    Yes,
    given_by,
)
from libbarto import command_line as cli

commands = cli.Program("actions", help="Make it run, or stop")


@commands.command()
def run(
    context: cli.Context,
    schedule: Annotated[str, cli.Argument("SCHEDULE", help="The schedule.")],
    on: Annotated[
        str | None,
        cli.Option(
            "--on",
            metavar="SELECTOR",
            help="Only on those of its workers: a name, a glob, os=debian.",
        ),
    ] = None,
    follow: Follow = False,
    exit_status: ExitStatus = False,
    wait: Wait = False,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Run a schedule now, on each of its workers; where one of them runs it, the server chooses.
    A worker that is away starts it when it comes back in time.

    Example: barto-cli run backup --on web1 --follow
    """
    from barto_cli.commands import actions

    code = 0
    with given_by(context, output, utc) as given:
        how = actions.How(yes, dry_run, wait, reason)
        code = actions.run(given, schedule, on, how, follow=follow, exit_status=exit_status)
    raise cli.Exit(code)


@commands.command()
def rerun(
    context: cli.Context,
    run: Annotated[
        str,
        cli.Argument("RUN", help="A run's id, a beginning of it, or @last; with --failed a name."),
    ],
    failed: Annotated[
        bool,
        cli.Option("--failed", help="All that failed of the last planned start of a schedule."),
    ] = False,
    follow: Follow = False,
    exit_status: ExitStatus = False,
    wait: Wait = False,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Make a run once more, by its schedule as it is now, on the same worker.

    Example: barto-cli rerun --failed backup
    """
    from barto_cli.commands import actions

    code = 0
    with given_by(context, output, utc) as given:
        how = actions.How(yes, dry_run, wait, reason)
        code = actions.rerun(given, run, how, failed=failed, follow=follow, exit_status=exit_status)
    raise cli.Exit(code)


@commands.command()
def cancel(
    context: cli.Context,
    what: Annotated[str, cli.Argument("RUN|SCHEDULE", help="A run, or all of a schedule's.")],
    wait: Wait = False,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """End a run, or all runs of a schedule, and give up what is not started yet.

    Example: barto-cli cancel @last --reason 'it hangs'
    """
    from barto_cli.commands import actions

    with given_by(context, output, utc) as given:
        actions.cancel(given, what, actions.How(yes, dry_run, wait, reason))


@commands.command()
def pause(
    context: cli.Context,
    schedule: Annotated[str | None, cli.Argument("SCHEDULE", help="The schedule.")] = None,
    every: Annotated[bool, cli.Option("--all", help="Every schedule.")] = False,
    length: Annotated[
        str | None,
        cli.Option("--for", metavar="TIME", help="So long: 1h, 2d. Left out: until resume."),
    ] = None,
    wait: Wait = False,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Pause a schedule: its planned starts are skipped. What runs goes on.

    Example: barto-cli pause backup --for 1h --reason maintenance
    """
    from barto_cli.commands import actions

    _one_or_all(schedule, every)
    with given_by(context, output, utc) as given:
        actions.pause(given, schedule, length, actions.How(yes, dry_run, wait, reason))


@commands.command()
def resume(
    context: cli.Context,
    schedule: Annotated[str | None, cli.Argument("SCHEDULE", help="The schedule.")] = None,
    every: Annotated[bool, cli.Option("--all", help="End the pause of all.")] = False,
    wait: Wait = False,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """End a pause. What was skipped is not caught up.

    Example: barto-cli resume backup
    """
    from barto_cli.commands import actions

    _one_or_all(schedule, every)
    with given_by(context, output, utc) as given:
        actions.resume(given, schedule, actions.How(yes, dry_run, wait, reason))


def _one_or_all(schedule: str | None, every: bool) -> None:
    if (schedule is None) is not every:
        raise cli.BadParameter("name a schedule, or say --all")
