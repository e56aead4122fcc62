"""What becomes of the slots of one schedule that are due: which start, which wait, which do not?

A pure function of a small view: the schedule's timetable, its cursor, a reading of the clock, and
when the worker was away. Overlap and a full worker are judged later, when a start is about to be
claimed (DESIGN section 4).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from bartoc.clockwork import Away, explained
from libbarto.message.v2.record import Verdict
from libbarto.message.v2.schedule import Schedule
from libbarto.schedule import Timetable

AT_ONCE: Final = 1000
"""Slots of one schedule that start, or are caught up, from one decision; the newest of them."""
_LISTED: Final = 64

NEWER_DUE: Final = "too late: a newer one was due"
TOO_LATE: Final = "too late: start_within had passed"
NO_SERVER: Final = "no server for longer than offline_max"


@dataclass(frozen=True, slots=True)
class Passed:
    """`count` slots, from `first` to `last`, do not start: their verdict, and why."""

    first: int
    last: int
    count: int
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Begin:
    """This slot starts now."""

    slot: int


@dataclass(frozen=True, slots=True)
class CatchUp:
    """This slot is too old to start now, and is caught up later."""

    slot: int


Decision: TypeAlias = Passed | Begin | CatchUp


@dataclass(frozen=True, slots=True)
class View:
    """What there is to know for a decision: slots in (cursor, now] are due. `catch_up_us` is the
    schedule's or the worker's; after `offline_from` there was no server for too long; `away` is
    when nothing could start; `ran` are slots that have a run already, from before a clock was put
    back."""

    timetable: Timetable
    cursor: int
    now: int
    catch_up_us: int
    offline_from: int | None = None
    away: Sequence[Away] = ()
    ran: Collection[int] = ()


@dataclass(slots=True)
class _Slots:
    """The slots in (after, until] of a timetable: listed where they are few, else computed."""

    timetable: Timetable
    ran: Collection[int]
    listed: list[int] | None

    def counted(self, after: int, until: int) -> tuple[int, int, int] | None:
        """How many slots lie in (after, until], the first and the last."""
        if after >= until:
            return None
        if self.listed is None:
            return self.timetable.count(after, until)
        found = self.listed[bisect_right(self.listed, after) : bisect_right(self.listed, until)]
        return (len(found), found[0], found[-1]) if found else None

    def without_runs(self, after: int, until: int) -> list[tuple[int, int, int]]:
        """As `counted`, in pieces between the slots that have a run."""
        edges = sorted(slot for slot in self.ran if after < slot <= until)
        pieces = []
        for begin, end in zip([after, *edges], [*(edge - 1 for edge in edges), until], strict=True):
            found = self.counted(begin, end)
            if found is not None:
                pieces.append(found)
        return pieces

    def newest(self, after: int, until: int) -> list[int]:
        """The newest `AT_ONCE` slots in (after, until], ascending."""
        if after >= until:
            return []
        if self.listed is not None:
            found = self.listed[bisect_right(self.listed, after) : bisect_right(self.listed, until)]
        else:
            found = []
            slot = self.timetable.previous_before(until + 1)
            while slot is not None and slot > after and len(found) < AT_ONCE:
                found.append(slot)
                slot = self.timetable.previous_before(slot)
            found.reverse()
        return found


@dataclass(slots=True)
class _Deciding:
    """One decision in the making."""

    view: View
    slots: _Slots
    decisions: list[Decision] = field(default_factory=list)

    def passed(self, after: int, until: int, verdict: Verdict, reason: str) -> None:
        for count, first, last in self.slots.without_runs(after, until):
            self.decisions.append(Passed(first, last, count, verdict, reason))

    def missed(self, after: int, until: int, otherwise: str) -> None:
        """Slots that nothing can be done about any more; each says what kept it."""
        if after < until:
            for begin, end, why in explained(after, until, self.view.away, otherwise):
                self.passed(begin, end, Verdict.MISSED, why)

    def chosen(
        self, after: int, slots: Sequence[int], kind: type[Begin | CatchUp], why: str
    ) -> None:
        """The newest slots after `after` are chosen; what comes before them is missed."""
        self.missed(after, slots[0] - 1, why)
        self.decisions += [kind(slot) for slot in slots if slot not in self.view.ran]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of the slots that are due, oldest first, and the last of them: the cursor."""

    cursor: int
    decisions: Sequence[Decision]


def decide(view: View) -> Outcome | None:
    """What becomes of each slot that is due; None where none is."""
    first = view.timetable.next_after(view.cursor)
    if first is None or first > view.now:
        return None
    spec = view.timetable.spec
    listed = view.timetable.due(view.cursor, view.now, _LISTED)
    few = listed if len(listed) < _LISTED else None
    deciding = _Deciding(view, _Slots(view.timetable, view.ran, few))
    after = view.cursor
    if spec.paused:
        until = view.now
        if spec.paused_until is not None:
            until = min(until, max(after, spec.paused_until - 1))
        deciding.passed(after, until, Verdict.SKIPPED, paused(spec))
        after = until
    online = view.now if view.offline_from is None else min(view.now, view.offline_from)
    online = max(after, online)
    fresh_after = min(online, max(after, view.now - spec.start_within_us - 1))
    fresh = deciding.slots.newest(fresh_after, online)
    latest = spec.missed == "latest"
    old: list[int] = []
    if not (spec.missed == "none" or (latest and fresh)):
        window = max(after, view.now - view.catch_up_us - 1)
        old = deciding.slots.newest(window, fresh_after)
    if latest:
        fresh, old = fresh[-1:], old[-1:]
    if old:
        deciding.chosen(after, old, CatchUp, TOO_LATE)
    else:
        deciding.missed(after, fresh_after, NEWER_DUE if latest and fresh else TOO_LATE)
    if fresh:
        deciding.chosen(fresh_after, fresh, Begin, NEWER_DUE)
    deciding.passed(online, view.now, Verdict.MISSED, NO_SERVER)
    last = listed[-1] if few else view.timetable.previous_before(view.now + 1)
    assert last is not None
    return Outcome(last, deciding.decisions)


def is_paused(spec: Schedule, instant: int) -> bool:
    """Is a schedule paused at this instant?"""
    return spec.paused and (spec.paused_until is None or instant < spec.paused_until)


def paused(spec: Schedule) -> str:
    """Why a slot of a paused schedule is skipped: `paused: maintenance`, `drained: new disk`."""
    word, reason = spec.paused_as, spec.pause_reason
    return f"{word}: {reason}" if reason else word
