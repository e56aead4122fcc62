"""barto-cli: the operator's command line. What is there before the commands, and which rooms of
them?

The commands are declared in `barto_cli.declared`, a room for each kind. Everything that takes time
to import is imported by the command that needs it.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from barto_cli.declared import actions, alerts, former, history, hosts, schedules
from barto_cli.declared.common import Flags, Output, Utc
from barto_cli.ending import ended_well, have_streams, program_name
from libbarto import command_line as cli

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
    "4 refused; 5 no such thing; 6 differs; 130 interrupted. What a verdict means, and whether "
    "someone must act: barto-cli help verdicts.",
    complete={metavar: _live(metavar) for metavar in LIVE},
)
for room in (history, actions, schedules, hosts, alerts, former):
    app.take(room.commands)


class ShellName(enum.StrEnum):
    """A shell that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


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


# -- help -----------------------------------------------------------------------------------------


def _topics(_: cli.Context, begun: str) -> list[tuple[str, str]]:
    from barto_cli.commands.topics import TOPICS

    commands = [(name, "") for name in app.group.commands]
    return [*((topic, "a topic") for topic in TOPICS), *commands]


def _verdicts(_: cli.Context, begun: str) -> list[tuple[str, str]]:
    from barto_cli.commands.topics import ENDED, NOT_YET
    from libbarto.states import STATES

    # No command takes `stuck`, which is a kind of running.
    return [(name, STATES[name].means) for name in (*ENDED, *NOT_YET) if name != "stuck"]


app.complete["TOPIC|COMMAND"] = _topics
app.complete["VERDICT"] = _verdicts


@app.command("help")
def help_(
    context: cli.Context,
    words: Annotated[
        list[str] | None,
        cli.Argument("TOPIC|COMMAND", help="verdicts, exit-codes, times; or a command."),
    ] = None,
) -> None:
    """Explain what belongs to no command: the verdicts and who must act, exit codes, times; or a
    command, as --help does.

    Examples:
        barto-cli help verdicts
        barto-cli help worker add
    """
    from barto_cli.commands import topics

    cli.echo(topics.explained(context, words or []), nl=False)


# -- the shell ------------------------------------------------------------------------------------


@app.command()
def completion(
    context: cli.Context,
    shell: Annotated[ShellName, cli.Argument("bash|zsh|fish", help="The shell.")],
) -> None:
    """Print what makes a shell complete: commands, options, and the names that the server knows.

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
    have_streams()
    program = program_name(arguments)
    return ended_well(program, lambda: app(arguments, program=program))


if __name__ == "__main__":
    sys.exit(main())
