"""What does the strip of a schedule's last planned starts look like? Bars, the oldest first: height
is duration (log), fill is verdict, and what did not run is a gap with a hollow mark.

What failed has a foot below the line, so that colour alone never tells.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from libbarto.states import state_of

WIDTH: Final = 4
STEP: Final = 5
HEIGHT: Final = 18
FOOT: Final = 3
LEAST: Final = 3


class Ran(Protocol):
    """A planned start that ran, as the API has it."""

    @property
    def slot(self) -> datetime: ...
    @property
    def runs(self) -> int: ...
    @property
    def verdict(self) -> str | None: ...
    @property
    def seconds(self) -> float | None: ...
    @property
    def run(self) -> str: ...


class DidNotRun(Protocol):
    """Planned starts that did not run, as the API has them."""

    @property
    def first(self) -> datetime: ...
    @property
    def count(self) -> int: ...
    @property
    def verdict(self) -> str: ...
    @property
    def reason(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Bar:
    """A planned start: `css` is the class of its state; `run` is empty where nothing ran."""

    at: datetime
    state: str
    css: str
    x: int
    height: int
    run: str = ""
    runs: int = 1
    seconds: float | None = None
    reason: str = ""

    @property
    def y(self) -> int:
        """Where it begins, from above."""
        return HEIGHT - self.height

    @property
    def is_well(self) -> bool:
        """It has no foot."""
        return self.css in {"ok", "running", "missed"}

    @property
    def path(self) -> str:
        """Its outline, as the `d` of an SVG path."""
        body = f"M{self.x} {HEIGHT}v-{self.height}h{WIDTH}v{self.height}z"
        return (
            body if self.is_well else f"{body}M{self.x} {HEIGHT + 1}h{WIDTH}v{FOOT - 1}h-{WIDTH}z"
        )


@dataclass(frozen=True, slots=True)
class Strip:
    """Bars, and what is told of them as one."""

    bars: Sequence[Bar]
    most: int

    @property
    def width(self) -> int:
        """Of the picture; the same for all strips of a list."""
        return self.most * STEP

    @property
    def height(self) -> int:
        """Of the picture."""
        return HEIGHT + FOOT

    @property
    def paths(self) -> Mapping[str, str]:
        """One path for each state's class: a list has thousands of bars."""
        found: dict[str, str] = {}
        for bar in self.bars:
            found[bar.css] = found.get(bar.css, "") + bar.path
        return found

    @property
    def ids(self) -> str:
        """The runs, one for each bar from the right end; "-" where nothing ran."""
        return " ".join(bar.run or "-" for bar in self.bars)

    @property
    def words(self) -> str:
        """All of it in a line: `last 30: 28 ok, 2 failed`."""
        if not self.bars:
            return "has not run yet"
        counted = Counter(state_of(bar.state).word for bar in self.bars)
        return f"last {len(self.bars)}: " + ", ".join(
            f"{number} {word}" for word, number in counted.most_common()
        )


def strip(ran: Sequence[Ran], holes: Iterable[DidNotRun], most: int) -> Strip:
    """The strip of what ran and what did not, the last `most` of them, at the right end."""
    starts: list[tuple[datetime, Ran | DidNotRun]] = [(one.slot, one) for one in ran]
    begin = starts[0][0] if starts else None
    for hole in holes:
        if begin is None or hole.first >= begin:
            starts += [(hole.first, hole)] * min(hole.count, most)
    starts.sort(key=lambda start: start[0])
    starts = starts[-most:]
    longest = max((one.seconds or 0.0 for one in ran), default=0.0)
    left = (most - len(starts)) * STEP
    bars = [_bar(at, one, left + number * STEP, longest) for number, (at, one) in enumerate(starts)]
    return Strip(bars, most)


def _bar(at: datetime, one: Ran | DidNotRun, x: int, longest: float) -> Bar:
    state = state_of(one.verdict)
    if hasattr(one, "reason"):
        return Bar(at, state.name, state.look.css, x, LEAST, reason=one.reason)
    return Bar(
        at,
        state.name,
        state.look.css,
        x,
        height_of(one.seconds, longest),
        run=one.run,
        runs=one.runs,
        seconds=one.seconds,
    )


def height_of(seconds: float | None, longest: float) -> int:
    """How high a bar is, in pixels: by the logarithm, so that a minute and an hour are both seen.

    >>> height_of(None, 60), height_of(0, 60), height_of(60, 60), height_of(1, 3600)
    (3, 3, 18, 6)
    """
    if not seconds or seconds <= 0 or longest <= 0:
        return LEAST
    # A tenth of a second is the least that is told apart.
    share = math.log1p(seconds * 10) / math.log1p(longest * 10)
    return LEAST + round((HEIGHT - LEAST) * min(1.0, share))
