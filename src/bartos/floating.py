"""Which slots of the schedules that the server fires are decided, and how?

Each such schedule has a cursor in the store, its last decided slot, and a trigger. What is due is
(cursor, now]: of that the policy says what starts, and the rest is a verdict for a range of slots.
Everything that becomes of a slot goes with the move of the cursor past it, in one transaction.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeGuard

from bartos.plan import spec_of
from bartos.schedules import Definition
from bartos.store.orders import (
    ALL_SCHEDULES,
    CursorMove,
    CursorRow,
    DrainRow,
    IntentRow,
    PauseRow,
    Undone,
)
from libbarto.identity import Kind
from libbarto.message.v2.record import Verdict
from libbarto.message.v2.schedule import SCHEDULE
from libbarto.schedule import Timetable
from libbarto.timing import spec_of_timing, timing_text

CLOCK_PATIENCE_S: Final = 120.0
"""How long a clock that reads earlier than the last decided slot is waited for."""
ALONE_MOST: Final = 10_000
"""So many starts of one schedule are made, or lost, one by one; what is beyond is a range."""

TOOK_ITS_PLACE: Final = "a newer start took its place"
REMOVED: Final = "the schedule was removed or disabled"


@dataclass(slots=True)
class Decisions:
    """What is decided: moves of cursors, with verdicts, and what starts. `forgotten` are schedules
    whose cursors are dropped; `clock_back` tells that the clock was accepted."""

    moves: list[CursorMove] = field(default_factory=list)
    starts: list[IntentRow] = field(default_factory=list)
    forgotten: list[bytes] = field(default_factory=list)
    clock_back: bool = False


class Floating:
    """The schedules that the server fires by their calendars; `began` is when it started."""

    def __init__(self, cursors: Iterable[CursorRow], began: int) -> None:
        self._began = began
        self._cursors = {row.schedule_uid: row for row in cursors}
        self._definitions: dict[bytes, Definition] = {}
        self._timetables: dict[bytes, Timetable] = {}
        self._behind_since: float | None = None

    def next_due(self, *, settled: bool) -> int | None:
        """The next slot of any of them that may be decided; see `decide`."""
        slots = (
            timetable.next_after(self._cursors[uid].cursor)
            for uid, timetable in self._timetables.items()
        )
        return min((slot for slot in slots if self._may_decide(slot, settled)), default=None)

    def _may_decide(self, slot: int | None, settled: bool) -> TypeGuard[int]:
        return slot is not None and (settled or slot > self._began)

    # -- which there are --------------------------------------------------------------------------

    def take_on(self, definitions: Iterable[Definition], now: int) -> Decisions:
        """These are in force, after all slots up to `now` were decided by the old ones: slots of
        what is new, or has a new trigger, lie strictly after `now`."""
        decisions = Decisions()
        self._definitions = {
            one.uid: one for one in definitions if one.floating and one.parent_uid is None
        }
        self._timetables = {}
        for definition in self._definitions.values():
            self._take_on_one(definition, now, decisions)
        for uid in sorted(self._cursors.keys() - self._definitions.keys()):
            self._forget(self._cursors.pop(uid), now, decisions)
        return decisions

    def _take_on_one(self, definition: Definition, now: int, decisions: Decisions) -> None:
        spec = spec_of(definition)
        timing = timing_text(spec)
        uid = definition.uid
        self._timetables[uid] = Timetable(spec, b"")
        row = self._cursors.get(uid)
        if row is None:
            self._move(CursorRow(uid, definition.name, now, timing), decisions)
        elif row.timing != timing:
            # Its slots up to now belong to the old calendar. They are decided, unless the change
            # was made while no server ran.
            reason = "its calendar was changed while no server ran"
            old = Timetable(spec_of_timing(row.timing, uid), b"")
            undone = list(in_range(old, row.cursor, now, Verdict.MISSED, reason))
            changed = CursorRow(uid, definition.name, max(now, row.cursor), timing)
            self._move(changed, decisions, undone)

    def _forget(self, row: CursorRow, now: int, decisions: Decisions) -> None:
        old = Timetable(spec_of_timing(row.timing, row.schedule_uid), b"")
        undone = list(in_range(old, row.cursor, now, Verdict.SKIPPED, REMOVED))
        if undone:
            moved = replace(row, cursor=now)
            decisions.moves.append(CursorMove(moved, row.cursor, undone))
        decisions.forgotten.append(row.schedule_uid)

    def _move(
        self,
        row: CursorRow,
        decisions: Decisions,
        undone: Sequence[Undone] = (),
        *,
        back: bool = False,
    ) -> None:
        held = self._cursors.get(row.schedule_uid)
        if held == row:
            return
        self._cursors[row.schedule_uid] = row
        before = None if held is None else held.cursor
        decisions.moves.append(CursorMove(row, before, undone, back))

    # -- what is due ------------------------------------------------------------------------------

    def decide(
        self, now: int, boottime: float, pauses: Mapping[bytes, PauseRow], *, settled: bool
    ) -> Decisions:
        """Decide what is due. Until it is `settled` that the database is no older copy, slots from
        before this server started wait: the workers' word may be that they ran."""
        decisions = Decisions()
        self._judge_clock(now, boottime, decisions)
        for uid, timetable in self._timetables.items():
            cursor = self._cursors[uid].cursor
            slot = timetable.next_after(cursor)
            if self._may_decide(slot, settled) and slot <= now:
                self._decide_one(self._definitions[uid], timetable, now, pauses, decisions)
        return decisions

    def _judge_clock(self, now: int, boottime: float, decisions: Decisions) -> None:
        """The clock reads earlier than slots that were decided: it is waited for, and then taken
        at its word, so that a wrong year stops nothing for ever."""
        ahead = [row for row in self._cursors.values() if row.cursor > now]
        if not ahead:
            self._behind_since = None
            return
        if self._behind_since is None:
            self._behind_since = boottime
        if boottime - self._behind_since < CLOCK_PATIENCE_S:
            return
        self._behind_since = None
        for row in ahead:
            self._move(replace(row, cursor=now), decisions, back=True)
        decisions.clock_back = True

    def _decide_one(
        self,
        definition: Definition,
        timetable: Timetable,
        now: int,
        pauses: Mapping[bytes, PauseRow],
        decisions: Decisions,
    ) -> None:
        """Decide the slots of one schedule in (cursor, now]: what is paused is skipped, of the
        rest the policy `missed` says what starts (DESIGN section 4, "Late or missed")."""
        row = self._cursors[definition.uid]
        spans = list(_spans(definition.uid, row.cursor, now, pauses))
        starts = wanted(definition, timetable, [one[:2] for one in spans if one[2] is None], now)
        horizon = now
        if len(starts) == ALONE_MOST:  # the others are due at the next tick
            horizon = starts[-1]
            spans = list(_spans(definition.uid, row.cursor, horizon, pauses))
        newer = definition.missed == "latest" and bool(starts)
        too_late = TOOK_ITS_PLACE if newer else "too late: the server was down, or busy"
        undone: list[Undone] = []
        for after, until, pause in spans:
            if pause is not None:
                undone += in_range(timetable, after, until, Verdict.SKIPPED, paused_text(pause))
                continue
            cuts = [slot for slot in starts if after < slot <= until]
            for begin, end in itertools.pairwise([after, *cuts, until + 1]):
                undone += in_range(timetable, begin, end - 1, Verdict.MISSED, too_late)
        last = timetable.previous_before(horizon + 1)
        assert last is not None
        self._move(replace(row, cursor=last), decisions, undone)
        decisions.starts += [_intent(definition, timetable, slot, now) for slot in starts]

    def restored(self, now: int, reason: str) -> tuple[Decisions, int]:
        """The database is an older copy: all slots up to now are *lost*, until a worker says
        otherwise. Returns also how many."""
        decisions = Decisions()
        count = 0
        for uid, timetable in self._timetables.items():
            row = self._cursors[uid]
            undone = list(_lost(timetable, row.cursor, now, reason))
            count += sum(one.count for one in undone)
            self._move(replace(row, cursor=max(now, row.cursor)), decisions, undone)
        return decisions, count


def _intent(definition: Definition, timetable: Timetable, slot: int, now: int) -> IntentRow:
    return IntentRow(
        run_id=timetable.run_id(slot),
        kind=int(Kind.CALENDAR),
        schedule_uid=definition.uid,
        schedule=definition.name,
        slot=slot,
        spec=SCHEDULE.encode(timetable.spec),
        created_at=now,
        until=slot + patience_us(definition),
        caught_up=now - slot > in_us(definition.start_within),
    )


def _spans(
    uid: bytes, after: int, until: int, pauses: Mapping[bytes, PauseRow]
) -> Iterator[tuple[int, int, PauseRow | None]]:
    """(after, until] in pieces, each paused or not."""
    held = [pauses[key] for key in (uid, ALL_SCHEDULES) if key in pauses]
    edges = {after, until}
    for pause in held:
        # Slots of the pause lie in [at, until).
        ends = (pause.at,) if pause.until is None else (pause.at, pause.until)
        edges.update(edge - 1 for edge in ends if after < edge - 1 < until)
    for begin, end in itertools.pairwise(sorted(edges)):
        yield begin, end, next((one for one in held if holds(one, end)), None)


def wanted(
    definition: Definition, timetable: Timetable, free: Sequence[tuple[int, int]], now: int
) -> list[int]:
    """Which slots of these spans start, ascending."""
    fresh = now - in_us(definition.start_within)
    oldest = now - patience_us(definition)
    if definition.missed == "latest":
        for after, until in reversed(free):
            slot = timetable.previous_before(until + 1)
            if slot is not None and slot > after:
                return [slot] if slot >= oldest else []
        return []
    since = fresh if definition.missed == "none" else oldest
    slots: list[int] = []
    for after, until in free:
        room = ALONE_MOST - len(slots)
        slots += timetable.due(max(after, since - 1), until, room)
    return slots


def in_range(
    timetable: Timetable, after: int, until: int, verdict: Verdict, reason: str
) -> Iterator[Undone]:
    """The slots in (after, until] as one range, where there are any."""
    counted = timetable.count(after, until) if after < until else None
    if counted is not None:
        number, first, last = counted
        yield Undone(first, last, number, verdict, reason)


def _lost(timetable: Timetable, after: int, until: int, reason: str) -> Iterator[Undone]:
    """The slots in (after, until], the newest of them one by one: a worker that made one of them
    will say so."""
    counted = timetable.count(after, until) if after < until else None
    if counted is None:
        return
    slots: list[int] = []
    slot: int | None = counted[2]
    while slot is not None and slot > after and len(slots) < ALONE_MOST:
        slots.append(slot)
        slot = timetable.previous_before(slot)
    yield from in_range(timetable, after, slots[-1] - 1, Verdict.LOST, reason)
    for slot in reversed(slots):
        yield Undone(slot, slot, 1, Verdict.LOST, reason, timetable.run_id(slot))


def patience_us(definition: Definition) -> int:
    """How long after it was due a start may still be made."""
    within = in_us(definition.start_within)
    return within if definition.missed == "none" else max(within, in_us(definition.catch_up))


def in_us(seconds: float) -> int:
    """Seconds in microseconds."""
    return round(seconds * 1_000_000)


def holds(pause: PauseRow | DrainRow, at: int) -> bool:
    """Whether a pause, or a drain, holds at an instant."""
    return pause.at <= at and (pause.until is None or at < pause.until)


def pause_words(pause: PauseRow | DrainRow) -> str:
    """Why and by whom, as workers are told.

    >>> pause_words(PauseRow(bytes(16), "", "ann", 0, "maintenance"))
    'maintenance (by ann)'
    """
    return f"{pause.reason} (by {pause.who})" if pause.reason else f"by {pause.who}"


def paused_text(pause: PauseRow) -> str:
    """Why a slot was skipped: in the words of workers."""
    return f"paused: {pause_words(pause)}"
