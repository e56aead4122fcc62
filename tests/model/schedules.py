"""The schedules of the simulation: one bartos.toml after the other, drawn by chance."""

from __future__ import annotations

import random
from typing import Final

COMMANDS: Final = (
    "echo $BARTO_RUN",
    "echo one; sleep 1; echo two",
    "echo starts; sleep 9; echo ends",
    "sleep 25; echo late",
    "echo broken; exit 3",
    "kill -9 $$",
    "true",
)
CALENDARS: Final = (
    "*:*:0/5",
    "*:*:2/7",
    "*:*:R",
    "*:*:R/20",
    "*:*:0/13",
    "*:0/2:30",
)
NAMES: Final = ("ant", "bee", "cat", "dog", "elk", "fox")


def configuration(rng: random.Random) -> str:
    """A bartos.toml with most of the names, each with a calendar, commands and policies."""
    return "\n".join(_schedule(rng, name) for name in NAMES if rng.random() < 0.85)


def _schedule(rng: random.Random, name: str) -> str:
    lines = [
        "[[schedule]]",
        f'name = "{name}"',
        f'workers = "{rng.choice(("*", "*", "w0", "w[12]"))}"',
        f'on_calendar = "{rng.choice(CALENDARS)}"',
        f"cmds = {[rng.choice(COMMANDS) for _ in range(rng.choice((1, 1, 1, 2)))]}",
    ]
    if rng.random() < 0.2:
        lines.append(f'timeout = "{rng.choice((3, 10))}s"')
    if rng.random() < 0.2:
        lines.append("continue_on_error = true")
    return "\n".join(lines) + "\n"
