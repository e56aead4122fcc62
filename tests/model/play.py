"""A long simulation by chance: one deed after the other, until so much has happened."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection

from tests.model.deeds import DEEDS, Stage, heal

SECONDS = (0.1, 3.0, 10.0, 30.0)
"""How long a deed is left alone before the next."""


def play(
    seed: int,
    occurrences: int,
    told: Callable[[str], None] = lambda _: None,
    often: Collection[str] = (),
) -> tuple[int, list[str]]:
    """One simulation until so many planned starts were decided; how many, and what was wrong.

    `told` hears of each deed; those named in `often` come ten times as often. The last line of what
    was wrong has the deeds that led there.
    """
    rng = random.Random(seed)
    stage = Stage(seed)
    weights = [weight * (10 if deed.__name__ in often else 1) for deed, weight in DEEDS.items()]
    done: list[str] = []
    try:
        while not stage.wrong() and stage.model.occurrences < occurrences:
            deed = rng.choices(list(DEEDS), weights)[0]
            seconds = rng.choice(SECONDS)
            done.append(f"{deed.__name__} {seconds}")
            told(f"{stage.model.occurrences} {done[-1]}")
            stage.do(deed, seconds)
        if not stage.wrong():
            stage.do(heal, 0.0)
        wrong = stage.wrong()
        if wrong:
            wrong.append(f"the last deeds: {', '.join(done[-12:])}")
        return stage.model.occurrences, wrong
    finally:
        stage.close()
