"""What does a day look like? A row a schedule or a worker: bars where it ran, holes where it did
not run, ticks where it is due yet, each made as few as can be told apart.

Instants are microseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bartos.store.port import RunRow, SlotRange
from libbarto.message.v2.record import Verdict

PARTS: Final = 720
"""Parts of a day that can be told apart: two minutes of 24 hours."""
ROWS_MAX: Final = 200
_WORST: Final = (
    Verdict.LOST,
    Verdict.FAILED,
    Verdict.TIMED_OUT,
    Verdict.INTERRUPTED,
    None,
    Verdict.CANCELLED,
    Verdict.OK,
)


@dataclass(slots=True)
class Bar:
    """Something ran from `begin` to `end`; `count` runs that lie too close to be told apart, of
    which the worst is `run`, with `verdict` (None: it runs)."""

    begin: int
    end: int
    verdict: Verdict | None
    run: bytes
    count: int = 1


@dataclass(frozen=True, slots=True)
class Hole:
    """`count` planned starts from `first` to `last` did not run."""

    first: int
    last: int
    count: int
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """`count` starts are planned from `at` on, within one part of the day."""

    at: int
    count: int


@dataclass(slots=True)
class Row:
    """All of one schedule, or of one worker."""

    name: str
    bars: list[Bar] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    runs: int = 0
    busy_us: int = 0
    """For how long at least one of them ran."""
    at_once: int = 0
    """How many ran at once at most."""


@dataclass(frozen=True, slots=True)
class Day:
    """From `begin` up to `end`; `now` ends what still runs."""

    begin: int
    end: int
    now: int

    @property
    def part(self) -> int:
        """The length of what can be told apart."""
        return max(1, (self.end - self.begin) // PARTS)


def rows(
    day: Day,
    runs: Iterable[RunRow],
    ranges: Iterable[SlotRange],
    planned: Mapping[str, Sequence[Tick]],
    name_of: Callable[[RunRow | SlotRange], str],
) -> list[Row]:
    """The rows of a day, by name; `planned` has the ticks of each."""
    found: dict[str, Row] = {}
    spans: dict[str, list[tuple[int, int, RunRow]]] = {}
    for run in runs:
        begin = run.claimed_at if run.started_at is None else run.started_at
        end = max(begin, day.now if run.ended_at is None else run.ended_at)
        if begin < day.end and end >= day.begin:
            spans.setdefault(name_of(run), []).append((begin, end, run))
    for name, mine in spans.items():
        found[name] = _ran(Row(name), mine, day)
    for one in ranges:
        if one.first_slot < day.end and one.last_slot >= day.begin:
            name = name_of(one)
            hole = Hole(one.first_slot, one.last_slot, one.count, one.verdict, one.reason)
            found.setdefault(name, Row(name)).holes.append(hole)
    for name, ticks in planned.items():
        if ticks:
            found.setdefault(name, Row(name)).ticks.extend(ticks)
    for row in found.values():
        row.holes.sort(key=lambda hole: hole.first)
    return [found[name] for name in sorted(found)]


def _ran(row: Row, spans: list[tuple[int, int, RunRow]], day: Day) -> Row:
    spans.sort(key=lambda span: (span[0], span[1], span[2].run_id))
    row.runs = len(spans)
    row.busy_us = _busy([(max(b, day.begin), min(e, day.end)) for b, e, _ in spans])
    row.at_once = _at_once([(begin, end) for begin, end, _ in spans])
    for begin, end, run in spans:
        bar = Bar(max(begin, day.begin), min(end, day.end), run.verdict, run.run_id)
        last = row.bars[-1] if row.bars else None
        # What overlaps for long stays apart; what is short and close becomes one bar.
        if (
            last is not None
            and bar.begin - last.end < day.part
            and bar.end - last.begin < 2 * day.part
        ):
            last.end = max(last.end, bar.end)
            last.count += 1
            if _WORST.index(_known(bar.verdict)) < _WORST.index(_known(last.verdict)):
                last.verdict, last.run = bar.verdict, bar.run
        else:
            row.bars.append(bar)
    return row


def _known(verdict: Verdict | None) -> Verdict | None:
    return verdict if verdict in _WORST else Verdict.CANCELLED


def _busy(spans: Sequence[tuple[int, int]]) -> int:
    """For how long at least one of these spans, by their beginning, lasts."""
    total, reached = 0, None
    for begin, end in spans:
        first = begin if reached is None else max(begin, reached)
        total += max(0, end - first)
        reached = end if reached is None else max(reached, end)
    return total


def _at_once(spans: Sequence[tuple[int, int]]) -> int:
    steps = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    most = now = 0
    for _, change in steps:
        now += change
        most = max(most, now)
    return max(most, 1) if spans else 0
