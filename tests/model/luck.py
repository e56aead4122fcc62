"""Chance, from one seed: where a crash may come, and which calls fail."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Luck:
    """The chances of one simulation. `slow` is the longest pause of a call, in seconds."""

    rng: random.Random
    slow: float = 0.0
    failing: dict[str, float] = field(default_factory=dict)

    async def pause(self) -> None:
        """Let others go first, and a crash or a cut come in between."""
        await asyncio.sleep(self.rng.uniform(0.0, self.slow) if self.slow else 0.0)

    def strikes(self, what: str) -> bool:
        """Does this call fail now?"""
        chance = self.failing.get(what, 0.0)
        return chance > 0.0 and self.rng.random() < chance
