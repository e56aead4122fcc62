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

Until = Annotated[
    str | None,
    cli.Option("--until", metavar="TIME", help="Until then: 18:00, tomorrow, 2h (from now)."),
]


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
    until: Until = None,
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
        actions.pause(given, schedule, length, until, actions.How(yes, dry_run, wait, reason))


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


@commands.command("exec")
def execute(
    context: cli.Context,
    words: Annotated[
        list[str], cli.Argument("COMMAND", help="A command, or one text for the shell.")
    ],
    on: Annotated[
        str,
        cli.Option("--on", metavar="SELECTOR", help="On which workers: a name, a glob, os=debian."),
    ],
    timeout: Annotated[
        str | None, cli.Option("--timeout", metavar="TIME", help="Stop it after so long: 5m.")
    ] = None,
    shell: Annotated[
        str, cli.Option("--shell", metavar="SHELL", help="Not /bin/sh, but this, with -c.")
    ] = "",
    follow: Annotated[
        bool | None,
        cli.Option(
            "-f/-F", "--follow/--no-follow", help="Show what it prints; on a terminal it does."
        ),
    ] = None,
    exit_status: ExitStatus = False,
    wait: Wait = False,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Run a command now, in no schedule: only where bartos.toml says allow_exec = true. It is
    recorded as any run.

    Example: barto-cli exec --on web1 -- uptime
    """
    from barto_cli.commands import actions

    code = 0
    with given_by(context, output, utc) as given:
        how = actions.How(yes, dry_run, wait, reason)
        command = actions.Command(words, timeout, shell)
        if follow is None:
            follow = given.screen.terminal and given.for_people
        code = actions.execute(given, on, command, how, follow=follow, exit_status=exit_status)
    raise cli.Exit(code)


Host = Annotated[str, cli.Argument("WORKER", help="The worker.")]


@commands.command()
def drain(
    context: cli.Context,
    worker: Host,
    length: Annotated[
        str | None,
        cli.Option("--for", metavar="TIME", help="So long: 1h, 2d. Left out: until undrain."),
    ] = None,
    until: Until = None,
    wait: Annotated[bool, cli.Option("--wait", help="Wait until nothing runs there.")] = False,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Let a worker start nothing: its planned starts are skipped, and what runs goes on.

    Example: barto-cli drain web1 --wait --reason 'a new disk'
    """
    from barto_cli.commands import actions

    with given_by(context, output, utc) as given:
        actions.drain(given, worker, length, until, actions.How(yes, dry_run, wait, reason))


@commands.command()
def undrain(
    context: cli.Context,
    worker: Host,
    wait: Wait = False,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Let a worker that is drained start again. What was skipped is not caught up.

    Example: barto-cli undrain web1
    """
    from barto_cli.commands import actions

    with given_by(context, output, utc) as given:
        actions.undrain(given, worker, actions.How(yes, dry_run, wait, reason))


def _one_or_all(schedule: str | None, every: bool) -> None:
    if (schedule is None) is not every:
        raise cli.BadParameter("name a schedule, or say --all")
