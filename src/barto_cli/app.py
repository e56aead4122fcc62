"""barto-cli: the operator's command line. Which commands and options are there?

Everything that takes time to import is imported by the command that needs it.
"""

from __future__ import annotations

import contextlib
import enum
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from barto_cli.asked import MOST, SHOWN, Wanted
from barto_cli.ending import ended_well, program_name
from barto_cli.render import Format
from libbarto import command_line as cli

if TYPE_CHECKING:
    from barto_cli.given import Given

LIVE = ("SCHEDULE", "WORKER", "SELECTOR", "RUN", "RUN|SCHEDULE")
"""The metavars of options and arguments whose names the server knows."""


def _live(metavar: str) -> cli.Names:
    """Live names, imported when somebody presses the tabulator."""

    def names(context: cli.Context, begun: str) -> list[tuple[str, str]]:
        from barto_cli import completion

        return completion.names(metavar, context, begun)

    return names


app = cli.Program(
    "barto-cli",
    help="See and steer what barto runs on your hosts.",
    epilog="Exit codes: 0 done; 1 failed; 2 usage or configuration; 3 server unreachable; "
    "4 refused; 5 no such thing; 6 differs; 130 interrupted.",
    complete={metavar: _live(metavar) for metavar in LIVE},
)
worker = cli.Program("worker", help="The hosts that run things.")
app.add(worker)


class ImportKind(enum.StrEnum):
    """What `import` reads."""

    CRONTAB = "crontab"
    SYSTEMD = "systemd"


class ShellName(enum.StrEnum):
    """A shell that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


class UpdateKindName(enum.StrEnum):
    """Whose output `updates` reads."""

    APT = "apt"
    PACMAN = "pacman"
    CACHYOS = "cachyos"
    GARUDA = "garuda"


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


@dataclass(frozen=True, slots=True)
class Flags:
    """What was said before the command."""

    config: Path | None = None
    output: Format | None = None
    utc: bool = False
    verbose: int = 0
    quiet: int = 0


def _version(wanted: bool) -> None:
    if wanted:
        from libbarto.build_info import build_info

        build = build_info()
        cli.echo(f"barto-cli {build.version} ({build.commit[:12]}, {build.commit_date})")
        raise cli.Exit


@app.callback()
def flags(
    context: cli.Context,
    verbose: Annotated[
        int, cli.Option("-v", "--verbose", count=True, help="Say what is read and asked.")
    ] = 0,
    quiet: Annotated[
        int, cli.Option("-q", "--quiet", count=True, help="Only the answer, no remarks.")
    ] = 0,
    enable_std_output: Annotated[
        bool, cli.Option("-e", "--enable-std-output", help="Of barto 1.x; has no effect.")
    ] = False,
    config: Annotated[
        Path | None,
        cli.Option("-c", "--config", "--config-absolute-path", metavar="FILE", help="Read this."),
    ] = None,
    tracing: Annotated[
        Path | None,
        cli.Option(
            "-t", "--tracing-absolute-path", metavar="FILE", help="Of barto 1.x; has no effect."
        ),
    ] = None,
    output: Output = None,
    utc: Utc = False,
    version: Annotated[
        bool,
        cli.Option("-V", "--version", callback=_version, is_eager=True, help="Say it and end."),
    ] = False,
) -> None:
    """See and steer what barto runs on your hosts."""
    if verbose and quiet:
        raise cli.BadParameter("-v and -q exclude one another")
    context.obj = Flags(config, output, utc, verbose, quiet)


@contextlib.contextmanager
def given_by(context: cli.Context, output: Format | None, utc: bool) -> Iterator[Given]:
    """What a command needs, made from its options and those before it."""
    from barto_cli.client import Client
    from barto_cli.given import Given, screen_of, standard_output
    from barto_cli.target import find_target

    said = context.ensure_object(Flags)
    target = find_target(said.config, os.environ)
    client = Client(target)
    try:
        with standard_output() as out:
            given = Given(
                client=client,
                form=output or said.output or Format.TABLE,
                screen=screen_of(out, utc=utc or said.utc),
                out=out,
                err=sys.stderr,
                ask=sys.stdin.isatty(),
                quiet=bool(said.quiet),
            )
            if said.verbose:
                given.note(f"configuration {target.config_file}; server {client.place}")
            yield given
    finally:
        client.close()


# -- the history ----------------------------------------------------------------------------------


@app.command()
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


@app.command()
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


@app.command()
def logs(
    context: cli.Context,
    run: Run,
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
    """Print what a run printed, byte for byte, both streams in the order in which they came.

    Examples:
        barto-cli logs @last
        barto-cli logs 019ab4d2c0e4 --stderr-only
    """
    from barto_cli.commands import history

    if stdout_only and stderr_only:
        raise cli.BadParameter("--stdout-only and --stderr-only exclude one another")
    stream = "stdout" if stdout_only else "stderr" if stderr_only else "both"
    with given_by(context, output, utc) as given:
        history.logs(given, run, stream=stream, raw=raw)


# -- the proof ------------------------------------------------------------------------------------

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


@app.command()
def verify(
    context: cli.Context,
    schedule: Named = None,
    worker: OnlyOf = None,
    since: Since = None,
    until: Until = None,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Prove that every planned start has exactly one line in the history, and count the verdicts.
    Ends with 1 where one is missing, or is there twice.

    Example: barto-cli verify backup --since 7d
    """
    from barto_cli.commands import proof

    code = 0
    with given_by(context, output, utc) as given:
        code = proof.verify(given, schedule, worker=worker, since=since, until=until)
    raise cli.Exit(code)


@app.command("give-up")
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


# -- the commands of barto 1.x --------------------------------------------------------------------


@app.command()
def info(
    context: cli.Context,
    as_json: Annotated[bool, cli.Option("-j", "--json", help="As one JSON object.")] = False,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Say version, commit, Python, store and files of the server and of this client.

    Example: barto-cli info
    """
    from barto_cli.commands import fleet

    with given_by(context, output, utc) as given:
        fleet.info(given, as_json=as_json)


@app.command()
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


@app.command("list")
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


@app.command()
def failed(
    context: cli.Context, limit: RunsShown = 100, output: Output = None, utc: Utc = False
) -> None:
    """List the runs that did not end ok, newest first.

    Example: barto-cli failed --limit 20
    """
    from barto_cli.commands import printed

    with given_by(context, output, utc) as given:
        printed.failed(given, limit)


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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


# -- without a server -----------------------------------------------------------------------------


@app.command()
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


# -- what is to change ----------------------------------------------------------------------------


@app.command()
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


# -- what is to be done ---------------------------------------------------------------------------

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


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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
        prefix=name,
        output=output,
        disable=disable,
        undo=undo,
        dry_run=dry_run,
    )
    raise cli.Exit(importing.run(wanted))


# -- workers --------------------------------------------------------------------------------------


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


# -- the shell ------------------------------------------------------------------------------------


@app.command()
def completion(
    context: cli.Context,
    shell: Annotated[ShellName, cli.Argument("bash|zsh|fish", help="The shell.")],
) -> None:
    """Print what makes a shell complete commands, options, and the names that the server knows.

    Examples:
        source <(barto-cli completion bash)
        barto-cli completion zsh > ~/.zfunc/_barto-cli
        barto-cli completion fish > ~/.config/fish/completions/barto-cli.fish
    """
    from barto_cli.completion import script

    cli.echo(script(shell.value, app.group), nl=False)


# -- the program ----------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code (DESIGN section 9)."""
    program = program_name(arguments)
    return ended_well(program, lambda: app(arguments, program=program))


if __name__ == "__main__":
    sys.exit(main())
