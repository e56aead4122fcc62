"""When were the slots of a schedule a worker's to decide? Read from the sets that it took on.

A schedule's slots count strictly after its `since`, up to the moment at which a set without it (or
with another beginning) was taken on. Where the clock was accepted though it had read later, what
lay ahead is ahead again: intervals are cut there, and claims alone hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from tests.chaos.history import Applied, Claimed, ClockBack, Told


@dataclass(frozen=True, slots=True)
class Interval:
    """Slots strictly after `after`, up to and with `until`."""

    after: int
    until: int

    def __contains__(self, slot: int) -> bool:
        return self.after < slot <= self.until

    def slots(self, period: int) -> range:
        """The slots of a schedule that is due each `period`."""
        first = (self.after // period + 1) * period
        return range(first, self.until + 1, period)


Intervals: TypeAlias = dict[str, list[Interval]]


def intervals(told: Iterable[Told], end: int) -> Intervals:
    """The intervals of each schedule (by uid), from a worker's records in order; a schedule that is
    still in force at the end has its slots up to `end`."""
    since: dict[str, int] = {}
    closed: Intervals = {}
    for record in told:
        if isinstance(record, Applied):
            for uid in list(since):
                if uid not in record.since or record.since[uid] != since[uid]:
                    _close(closed, uid, since.pop(uid), record.at)
            for uid, after in record.since.items():
                since.setdefault(uid, after)
        elif isinstance(record, ClockBack):
            now = record.now
            since = {uid: min(after, now) for uid, after in since.items()}
            closed = {uid: list(_cut(found, now)) for uid, found in closed.items()}
    for uid, after in since.items():
        _close(closed, uid, after, end)
    return closed


def kept_ahead(told: Iterable[Told]) -> set[str]:
    """The runs that were claimed for slots that then lay ahead of a clock which was set back: they
    hold, wherever the intervals are now."""
    claimed: list[tuple[str, int]] = []
    kept: set[str] = set()
    for record in told:
        if isinstance(record, Claimed):
            claimed.append((record.run, record.slot))
        elif isinstance(record, ClockBack):
            kept.update(run for run, slot in claimed if slot > record.now)
    return kept


def _close(closed: Intervals, uid: str, after: int, until: int) -> None:
    if until > after:
        closed.setdefault(uid, []).append(Interval(after, until))


def _cut(found: Iterable[Interval], now: int) -> Iterator[Interval]:
    for one in found:
        if one.after < now:
            yield Interval(one.after, min(one.until, now))
