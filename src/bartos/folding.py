"""How did many runs of one planned start end? In groups of those that ended alike and printed the
same, the largest first: "4,997 the same, 3 differ".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from bartos.store.port import RunRow
from libbarto.message.v2.record import Verdict

Alike: TypeAlias = tuple[Verdict | None, int | None, int | None, bytes, bytes, int, int]


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that ended alike and printed the same, by worker; those that run are one group."""

    runs: tuple[RunRow, ...]

    @property
    def verdict(self) -> Verdict | None:
        """How they ended, None where they run."""
        return self.runs[0].verdict


def alike(run: RunRow) -> Alike:
    """What runs have in common that are in one group."""
    if run.verdict is None:
        return None, None, None, b"", b"", 0, 0
    return (
        run.verdict,
        run.exit_code,
        run.signal,
        run.sha_out,
        run.sha_err,
        run.bytes_out,
        run.bytes_err,
    )


def folded(runs: Iterable[RunRow]) -> list[Group]:
    """The groups: the largest first, then failures before what went well."""
    groups: dict[Alike, list[RunRow]] = {}
    for run in runs:
        groups.setdefault(alike(run), []).append(run)
    found = [Group(tuple(sorted(rows, key=lambda row: row.worker))) for rows in groups.values()]
    found.sort(key=lambda it: (-len(it.runs), it.verdict is Verdict.OK, it.runs[0].worker))
    return found
