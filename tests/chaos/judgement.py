"""What the checker found in a history: numbers, and each promise that was broken."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken, and where."""

    invariant: str
    text: str
    schedule: str = ""
    worker: str = ""
    slot: int = 0
    run: str = ""


@dataclass(slots=True)
class Judgement:
    """What the checker found."""

    seed: str
    occurrences: int = 0
    ran: int = 0
    faults: int = 0
    lost: int = 0
    twice: int = 0
    early: int = 0
    corrupt: int = 0
    missing: int = 0
    gaps: int = 0
    interrupted: int = 0
    explained: int = 0
    late_p50_us: int = 0
    late_p99_us: int = 0
    converged_us: int | None = None
    verdicts: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.violations

    def line(self) -> str:
        """The one line."""
        converged = "never" if self.converged_us is None else f"{self.converged_us / 1e6:.0f}s"
        return (
            f"seed={self.seed} occurrences={self.occurrences} faults={self.faults}"
            f" lost={self.lost} twice={self.twice} early={self.early} corrupt={self.corrupt}"
            f" missing={self.missing} gaps={self.gaps} interrupted={self.interrupted}"
            f" (explained={self.explained}) late_p99={self.late_p99_us / 1000:.0f}ms"
            f" converged={converged}"
        )
