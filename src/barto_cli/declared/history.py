"""Which commands show what ran?"""

from __future__ import annotations

from typing import Annotated

from barto_cli.declared.common import Limit, Named, OnlyOf, Output, Run, Since, Until, Utc, given_by
from libbarto import command_line as cli

commands = cli.Program("history", help="See what is, what comes, and what was")


@commands.command()
def status(context: cli.Context, output: Output = None, utc: Utc = False) -> None:
    """Show on one screen what is wrong, what runs and what comes next.

    Example: barto-cli status
    """
    from barto_cli.commands import status as screen

    with given_by(context, output, utc) as given:
        screen.status(given)


@commands.command()
def timers(
    context: cli.Context,
    schedule: Named = None,
    worker: OnlyOf = None,
    every: Annotated[
        bool, cli.Option("--all", help="Those too that are disabled, or never due.")
    ] = False,
    limit: Annotated[
        int | None, cli.Option("-n", "--limit", metavar="N", min=1, help="So many rows at most.")
    ] = None,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Show when each schedule runs next on each worker, and how it ended there last. Where nothing
    is planned it says why: paused, offline, never.

    Examples:
        barto-cli timers
        barto-cli timers backup --worker web1
        barto-cli timers --all -o csv
    """
    from barto_cli.commands import timers as table

    with given_by(context, output, utc) as given:
        table.timers(given, schedule, worker=worker, every=every, limit=limit)


@commands.command()
def watch(
    context: cli.Context,
    schedule: Named = None,
    worker: OnlyOf = None,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Show live what is not well, what runs and what ends; in a pipe, a line for each event. On a
    terminal q ends it; Ctrl-C does everywhere, with 130.

    Examples:
        barto-cli watch
        barto-cli watch backup -o jsonl
    """
    from barto_cli.commands import watch as live

    with given_by(context, output, utc) as given:
        live.watch(given, schedule, worker)


@commands.command()
def why(
    context: cli.Context,
    subject: Annotated[
        str, cli.Argument("RUN|SCHEDULE", help="The schedule; or a run's id, or @last.")
    ],
    on: Annotated[
        str | None,
        cli.Option(
            "--on",
            metavar="WORKER",
            help="There; left out: where it most needs a look, and how many others are the same.",
        ),
    ] = None,
    at: Annotated[
        str | None,
        cli.Option(
            "--at",
            metavar="TIME",
            help="The planned start of that time: 02:00 (the last), 'yesterday 02:00', "
            "'2026-11-24 02:00', RFC 3339; left out: the last one that needs a look, else the "
            "last.",
        ),
    ] = None,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Tell why a planned start failed, was missed or skipped, or did not begin yet: what happened,
    whether that is new, what changed since it was good last, and what to do now.

    Examples:
        barto-cli why backup --on web1
        barto-cli why backup --at 'yesterday 02:00'
        barto-cli why @last
    """
    from barto_cli.commands import why as asking

    with given_by(context, output, utc) as given:
        asking.why(given, subject, on=on, at=at)


@commands.command()
def runs(
    context: cli.Context,
    worker: Annotated[
        str | None, cli.Option("-w", "--worker", metavar="WORKER", help="Only of this worker.")
    ] = None,
    schedule: Annotated[
        str | None,
        cli.Option("-s", "--schedule", metavar="SCHEDULE", help="Only of this schedule."),
    ] = None,
    verdict: Annotated[
        list[str] | None,
        cli.Option(
            metavar="VERDICT",
            help="Only with this verdict: ok, failed, timed_out, cancelled, skipped, missed, "
            "interrupted, lost; or none yet: running, waiting, late, unknown. May be given more "
            "than once.",
        ),
    ] = None,
    running: Annotated[bool, cli.Option("--running", help="Only what runs now.")] = False,
    since: Annotated[
        str | None,
        cli.Option(
            metavar="TIME",
            help="Only planned for this time or later: 2h (ago), today, 2026-11-24, RFC 3339.",
        ),
    ] = None,
    until: Annotated[
        str | None, cli.Option(metavar="TIME", help="Only planned before this time.")
    ] = None,
    limit: Limit = 20,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Show the history: what ran when and where, how it ended, and what did not run and why.

    Examples:
        barto-cli runs --worker web1 --since 2d
        barto-cli runs --verdict failed --verdict missed -o json
    """
    from barto_cli.commands import history

    with given_by(context, output, utc) as given:
        history.runs(
            given,
            worker=worker,
            schedule=schedule,
            verdicts=verdict or (),
            running=running,
            since=since,
            until=until,
            limit=limit,
        )


@commands.command()
def show(
    context: cli.Context,
    run: Run,
    check: Annotated[
        bool,
        cli.Option(
            "--check",
            help="Read all that is stored of its output, and compare it with what it printed.",
        ),
    ] = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Show all about one run, and how each of its steps ended.

    Example: barto-cli show @last
    """
    from barto_cli.commands import history, proof

    code = 0
    with given_by(context, output, utc) as given:
        if check:
            code = proof.check(given, run)
        else:
            history.show(given, run)
    if code:
        raise cli.Exit(code)


@commands.command()
def logs(
    context: cli.Context,
    what: Annotated[
        str, cli.Argument("RUN|SCHEDULE", help="A run, or a schedule: its last run on each worker.")
    ],
    follow: Annotated[
        bool,
        cli.Option(
            "-f", "--follow", help="Go on as more is printed; of a schedule, by new runs too."
        ),
    ] = False,
    lines: Annotated[
        int | None, cli.Option("-n", "--lines", metavar="N", min=1, help="Only the last N lines.")
    ] = None,
    since: Annotated[
        str | None,
        cli.Option(metavar="TIME", help="Only printed since: 2h (ago), today, 2026-11-24."),
    ] = None,
    worker: OnlyOf = None,
    grep: Annotated[
        str | None,
        cli.Option(metavar="RE", help="Only lines in which this regular expression is found."),
    ] = None,
    fold: Annotated[
        bool,
        cli.Option("-b", "--fold", help="Group hosts that printed the same; show what differs."),
    ] = False,
    timestamps: Annotated[
        bool, cli.Option("-t", "--timestamps", help="Say before each line when it came.")
    ] = False,
    stdout_only: Annotated[
        bool, cli.Option("--stdout-only", help="Only what went to stdout.")
    ] = False,
    stderr_only: Annotated[
        bool, cli.Option("--stderr-only", help="Only what went to stderr.")
    ] = False,
    raw: Annotated[
        bool, cli.Option("--raw", help="The very bytes on a terminal, too; they may harm it.")
    ] = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Print what a run printed, or the runs of a schedule on all hosts. Of one run it is the very
    bytes, both streams in the order in which they came; of several hosts each line has its host
    before it, and ! in place of | where it went to stderr.

    Examples:
        barto-cli logs @last
        barto-cli logs 019ab4d2c0e4 --stderr-only
        barto-cli logs backup -f
        barto-cli logs backup --since 2h --worker web1 --grep 'error|warn'
        barto-cli logs updates -b
    """
    from barto_cli.commands.logs import Asked
    from barto_cli.commands.logs import logs as read

    if stdout_only and stderr_only:
        raise cli.BadParameter("--stdout-only and --stderr-only exclude one another")
    if fold and (follow or lines or since or grep or timestamps):
        raise cli.BadParameter("-b compares whole outputs: without -f, -n, -t, --since, --grep")
    stream = "stdout" if stdout_only else "stderr" if stderr_only else "both"
    asked = Asked(
        what,
        follow=follow,
        newest=lines,
        since=since,
        worker=worker,
        grep=grep,
        fold=fold,
        stream=stream,
        timestamps=timestamps,
        raw=raw,
    )
    with given_by(context, output, utc) as given:
        read(given, asked)


@commands.command()
def verify(
    context: cli.Context,
    schedule: Named = None,
    worker: OnlyOf = None,
    since: Since = None,
    until: Until = None,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Prove that each planned start has exactly one line: count the verdicts of the history.
    Ends with 1 where one is missing, or is there twice.

    Example: barto-cli verify backup --since 7d
    """
    from barto_cli.commands import proof

    code = 0
    with given_by(context, output, utc) as given:
        code = proof.verify(given, schedule, worker=worker, since=since, until=until)
    raise cli.Exit(code)


@commands.command("give-up")
def give_up(
    context: cli.Context,
    schedule: Named = None,
    worker: OnlyOf = None,
    since: Since = None,
    until: Until = None,
    yes: Annotated[bool, cli.Option("-y", "--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, cli.Option("--dry-run", help="Only say what would be lost.")] = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Count as lost what is unknown: planned starts of a worker that will not come back to tell
    of them. What it tells after all takes their place.

    Example: barto-cli give-up --worker web1
    """
    from barto_cli.commands import proof

    with given_by(context, output, utc) as given:
        proof.give_up(
            given, schedule, worker=worker, since=since, until=until, yes=yes, dry_run=dry_run
        )
