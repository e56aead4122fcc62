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
TRIGGERS: Final = (
    'on_calendar = "*:*:0/5"',
    'on_calendar = "*:*:2/7"',
    'on_calendar = "*:*:R"',
    'on_calendar = "*:*:R/20"',
    'on_calendar = ["*:*:0/13", "*:*:0/10"]',
    'on_calendar = "*:0/2:30"',
    'cron = "* * * * *"',
    'every = "11s"',
    'every = "9s"\nanchor = "R"',
    'at = "boot"',
)
POLICIES: Final = (
    ('timeout = "3s"', 'timeout = "10s"'),
    ("continue_on_error = true",),
    ('overlap = "queue"', 'overlap = "replace"', 'overlap = "allow"'),
    ('missed = "all"', 'missed = "none"'),
    ('catch_up = "5s"', 'catch_up = "2m"', 'catch_up = "72h"'),
    ('retries = 2\nretry_delay = "4s"', 'retries = 1\nretry_delay = "20s"'),
    ("rerun_interrupted = true",),
    ('start_within = "2s"',),
)
NAMES: Final = ("ant", "bee", "cat", "dog", "elk", "fox")
WHEN: Final = ("ok", "failed", "always")
FOLLOWERS: Final = ("gnu", "hen", "kob")
FLOATING: Final = ("ibis", "jay")
"""Those of which the server gives each start to one worker."""


def configuration(rng: random.Random) -> str:
    """A bartos.toml with most of the names, each with a trigger, commands and policies."""
    names = [name for name in NAMES if rng.random() < 0.85] or ["ant"]
    workers = rng.choices(("*", "w0", "w[12]"), (4, 1, 1), k=len(names))
    texts = [
        _schedule(rng, name, [f'workers = "{where}"', rng.choice(TRIGGERS)])
        for name, where in zip(names, workers, strict=True)
    ]
    for name in FLOATING:
        floating = ['workers = "*"', 'pick = "one"', rng.choice(TRIGGERS[:-1])]
        texts.append(_schedule(rng, name, floating))
    for name in FOLLOWERS:
        lines = [f'after = "{rng.choice(names)}"', f'when = "{rng.choice(WHEN)}"']
        if name == "kob":
            lines += ['workers = "*"', 'pick = "one"']
        texts.append(_schedule(rng, name, lines))
    return "\n".join(texts)


def _schedule(rng: random.Random, name: str, lines: list[str]) -> str:
    steps = [rng.choice(COMMANDS) for _ in range(rng.choice((1, 1, 1, 2)))]
    chosen = [rng.choice(choices) for choices in POLICIES if rng.random() < 0.25]
    return "\n".join(["[[schedule]]", f'name = "{name}"', *lines, f"cmds = {steps}", *chosen, ""])
