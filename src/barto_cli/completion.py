"""What can come next on the command line? Live names from the server, and the shells' scripts.

Whoever presses the tabulator waits: the server is given a moment, and where it does not answer
nothing is offered and nothing is said.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from click.shell_completion import ShellComplete, get_completion_class

from libbarto.command_line import Context, Group
from libbarto.errors import BartoError

CONNECT_SECONDS: Final = 0.3
ANSWER_SECONDS: Final = 1.0


LIVE: Final[Mapping[str, tuple[str, ...]]] = {
    "SCHEDULE": ("schedules",),
    "WORKER": ("workers",),
    "SELECTOR": ("workers",),
    "RUN": ("runs",),
    "RUN|SCHEDULE": ("runs", "schedules"),
}
"""By the metavar of an option or argument, what it names."""


def names(metavar: str, context: Context, begun: str) -> list[tuple[str, str]]:
    """Names for an option or argument with this metavar that begin as was typed."""
    config = context.find_root().params.get("config")
    return [pair for kind in LIVE[metavar] for pair in ask(kind, begun, config, os.environ)]


def ask(
    kind: str, begun: str, config: Path | None, environment: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Names with a few words on each; none where the server does not answer."""
    from barto_cli.client import Client
    from barto_cli.target import find_target

    try:
        target = find_target(config, environment)
        client = Client(target, connect_seconds=CONNECT_SECONDS, answer_seconds=ANSWER_SECONDS)
        try:
            found = client.get(f"/api/v1/names/{kind}", {"begin": begun or None})
        finally:
            client.close()
        return [(str(one["name"]), str(one["about"])) for one in found["names"]]
    except (BartoError, OSError, KeyError, TypeError):
        return []  # at a half-typed line there is nobody to tell


def script(shell: str, group: Group) -> str:
    """What makes `shell` ("bash", "zsh", "fish") complete the program, by each of its names."""
    kind = get_completion_class(shell)
    assert kind is not None  # the command line takes no other
    # Bash's own way to make it asks which bash there is; whoever reads it knows.
    made = ShellComplete.source(kind(group, {}, PROGRAM, VARIABLE)).strip()
    for one, both in _ALSO[shell]:
        assert one in made
        made = made.replace(one, both)
    return f"{made}\n"


PROGRAM: Final = "barto-cli"
VARIABLE: Final = "_BARTO_CLI_COMPLETE"
_ALSO: Final[Mapping[str, Sequence[tuple[str, str]]]] = {
    "bash": [("_completion barto-cli\n", "_completion barto-cli barto\n")],
    "zsh": [
        ("#compdef barto-cli\n", "#compdef barto-cli barto\n"),
        ("_completion barto-cli\n", "_completion barto-cli barto\n"),
    ],
    "fish": [("--command barto-cli ", "--command barto-cli --command barto ")],
}
"""How each of them is told that `barto` is the same."""
