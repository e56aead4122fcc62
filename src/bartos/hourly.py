"""How many planned starts are there in each hour? Counted, not listed: a schedule that is due each
second costs no more than one that is due each hour.

Instants are microseconds since 1970, UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bartos.plan import Plan, WorkerFacts, spec_of
from bartos.schedules import Definition
from bartos.store.orders import ALL_SCHEDULES, PauseRow
from libbarto.realtime import Realtime
from libbarto.schedule import Timetable

SAMPLED: Final = 64
"""Workers whose own times (`R`) are looked at; of more, so many stand for all."""


@dataclass(slots=True)
class Counted:
    """Planned starts in spans of equal length, by the span's number and by schedule.

    `estimated`: some stand for more workers than were looked at.
    """

    spans: dict[int, Counter[str]] = field(default_factory=dict)
    estimated: bool = False

    def add(self, span: int, schedule: str, count: int) -> None:
        """Count so many more."""
        self.spans.setdefault(span, Counter())[schedule] += count


@dataclass(frozen=True, slots=True)
class Window:
    """Spans of `width` microseconds, from `begin` up to `end`, which is not in it."""

    begin: int
    end: int
    width: int


def planned(
    definitions: Sequence[Definition],
    workers: Sequence[WorkerFacts],
    window: Window,
    pauses: Mapping[bytes, PauseRow] | None = None,
) -> Counted:
    """How many starts are planned in each span of a window; what is paused is not planned."""
    counted = Counted()
    found = Plan(definitions).matched(workers)
    for definition in definitions:
        here = found.get(definition.name, [])
        if not definition.enabled or not here or definition.after is not None:
            continue
        begin = _resumed(definition, pauses or {}, window)
        if begin is not None:
            _count(counted, definition, here, window, begin)
    return counted


def _resumed(
    definition: Definition, pauses: Mapping[bytes, PauseRow], window: Window
) -> int | None:
    """From when on a schedule is not paused, or None where that is never in the window."""
    begin = window.begin
    for key in (definition.uid, ALL_SCHEDULES):
        pause = pauses.get(key)
        if pause is not None:
            if pause.until is None or pause.until >= window.end:
                return None
            begin = max(begin, pause.until)
    return begin


def _count(
    counted: Counted,
    definition: Definition,
    workers: Sequence[WorkerFacts],
    window: Window,
    begin: int,
) -> None:
    for table, times, estimated in timetables(definition, workers):
        counted.estimated = counted.estimated or estimated
        for span, count in per_span(table, window, begin):
            counted.add(span, definition.name, count * times)


def timetables(
    definition: Definition, workers: Sequence[WorkerFacts]
) -> Iterator[tuple[Timetable, int, bool]]:
    """When a definition is due: timetables, for how many workers each stands, and whether that is
    an estimate. What starts at one time on all workers is one timetable."""
    spec = spec_of(definition)
    uids = [worker.uid for worker in workers]
    drawn = spec.anchor_drawn or any(Realtime.parse(it).has_random for it in spec.calendars)
    if definition.floating:
        yield Timetable(spec, b""), 1, False
        return
    if not drawn:
        yield Timetable(spec, uids[0]), len(uids), False
        return
    looked = uids if len(uids) <= SAMPLED else uids[:: -(-len(uids) // SAMPLED)]
    for number, uid in enumerate(looked):
        # Each stands for its share, so that the sum is the number of all.
        share = (number + 1) * len(uids) // len(looked) - number * len(uids) // len(looked)
        yield Timetable(spec, uid), share, len(looked) < len(uids)


def per_span(table: Timetable, window: Window, begin: int) -> Iterator[tuple[int, int]]:
    """The spans of a window in which something is due from `begin` on, and how often."""
    slot = table.next_after(begin - 1)
    while slot is not None and slot < window.end:
        span = (slot - window.begin) // window.width
        end = min(window.begin + (span + 1) * window.width, window.end) - 1
        second = table.next_after(slot)
        if second is None or second > end:
            yield span, 1
            slot = second
            continue
        counted = table.count(slot - 1, end)
        assert counted is not None  # the slot itself is in it
        yield span, counted[0]
        slot = table.next_after(end)
