"""What must hold, by name, and where it is noted when it does not.

The names are those of the invariants of the checker: what is watched at once is told by the
object that sees it; the rest is compared when all is healed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

INVARIANTS: Final = {
    "claimed": "a command starts only after its claim is committed on that host",
    "twice": "an attempt at a planned start begins at most once",
    "early": "nothing starts before its planned start, by its host's clock",
    "tile": "a cursor moves only in the transaction that decides every slot it passes",
    "acked": "what is acknowledged to a worker is committed in the store",
    "forgotten": "a worker holds every record that the store does not have",
    "fork": "what the store has of a spool is the beginning of what its worker has",
    "line": "every decided slot has exactly one line in the history",
    "true": "a verdict says what really happened",
    "stays": "a verdict that is final does not change",
    "output": "what a command printed is in the store, once, in order",
    "converged": "within a minute of the last fault the store has what the workers have",
    "told": "the dispatcher knows of every verdict that a worker gave",
    "ordered": "what the server was to start is open or has one line",
    "replaced": "a start that replaces the others of its schedule leaves none of them running",
    "one": "a start for one worker begins on at most one",
}


@dataclass(frozen=True, slots=True)
class Broken:
    """An invariant that did not hold: which, and what was seen."""

    invariant: str
    text: str

    def __post_init__(self) -> None:
        if self.invariant not in INVARIANTS:
            raise ValueError(f"there is no invariant {self.invariant!r}")

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text} ({INVARIANTS[self.invariant]})"


@dataclass(slots=True)
class Findings:
    """What was found so far."""

    broken: list[Broken] = field(default_factory=list)

    def found(self, invariant: str, text: str) -> None:
        self.broken.append(Broken(invariant, text))

    def check(self, holds: bool, invariant: str, text: str) -> None:
        """Note `text` unless `holds`."""
        if not holds:
            self.found(invariant, text)
