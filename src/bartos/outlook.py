"""What is next for each schedule on each worker, or why is nothing? Definitions, workers and pauses
go in, a row for each pair comes out.

What was computed is kept until its instant is over, so that asking again is cheap, also for
thousands of workers. A next start always lies ahead. Instants are microseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from bartos.plan import WorkerFacts, may_run, spec_of
from bartos.planning import facts_of
from bartos.schedules import Definition
from bartos.store.orders import ALL_SCHEDULES, PauseRow
from bartos.store.port import WorkerRow
from libbarto.errors import CalendarError
from libbarto.realtime.interval import RANDOM_ANCHOR
from libbarto.schedule import Timetable

PLANNED: Final = "planned"
PAUSED: Final = "paused"
DISABLED: Final = "disabled"
DRAINED: Final = "drained"
OFFLINE: Final = "offline"
UNKNOWN: Final = "unknown"
NEVER: Final = "never"

TIMETABLES: Final = 20_000
"""Of drawn times (`R`) so many timetables are kept."""


@dataclass(frozen=True, slots=True)
class Here:
    """What is known of a worker's connection. `confirmed`: it has taken on the schedules that it
    is to have."""

    confirmed: bool = True


@dataclass(frozen=True, slots=True)
class Drain:
    """A worker that gets nothing to start: `who` said so, and why."""

    who: str = ""
    reason: str = ""
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What holds now: who is connected, what is paused, who is drained."""

    connected: Mapping[bytes, Here]
    pauses: Mapping[bytes, PauseRow]
    drains: Mapping[bytes, Drain]


@dataclass(frozen=True, slots=True)
class Timer:
    """A schedule on a worker. `worker` is empty where it is one of `one_of`, or of none.

    `next` is the next start that will be made, `planned` what the calendar says whether or not
    anything starts then; `by`, `until` and `reason` tell of a pause or a drain.
    """

    schedule_uid: bytes
    schedule: str
    worker_uid: bytes
    worker: str
    one_of: int | None
    state: str
    next: int | None
    planned: int | None
    timezone: str
    by: str = ""
    until: int | None = None
    reason: str = ""

    @property
    def key(self) -> tuple[bool, int, str, str]:
        """By what timers are ordered: the soonest first, those without a next start last."""
        return self.next is None, self.next or 0, self.schedule, self.worker


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a definition is to run: on a worker, on one of several, or (None, None) nowhere."""

    definition: Definition
    worker: WorkerRow | None
    one_of: int | None = None


_Answers: TypeAlias = dict[tuple[bytes, bytes], tuple[int, int | None]]
"""Of a schedule, and a worker where each has times of its own: after what was asked, and the
answer."""


class Outlook:
    """Knows which schedule is due where, and when next."""

    def __init__(self) -> None:
        self.most = TIMETABLES
        self._definitions: Sequence[Definition] = ()
        self._workers: Sequence[WorkerRow] = ()
        self._who: Mapping[bytes, tuple[object, ...]] = {}
        self._places: list[_Place] = []
        self._next: _Answers = {}
        self._resumed: _Answers = {}
        """What comes after a pause: asked in turn with what is next, each would undo the other."""
        self._timetables: dict[tuple[bytes, bytes], Timetable | None] = {}
        self._drawn: dict[bytes, bool] = {}

    # -- what there is ----------------------------------------------------------------------------

    def take_on(self, definitions: Sequence[Definition], workers: Sequence[WorkerRow]) -> bool:
        """These are in force, and known; returns whether that changes who runs what."""
        who = {row.uid: (row.name, row.labels, row.capabilities) for row in workers}
        self._workers = workers
        if definitions is self._definitions and who == self._who:
            return False
        if definitions is not self._definitions:
            self._next.clear()
            self._resumed.clear()
            self._timetables.clear()
            self._drawn = {one.uid: is_drawn(one) for one in definitions}
        self._definitions, self._who = definitions, who
        self._places = list(self._placed())
        return True

    def _placed(self) -> Iterator[_Place]:
        everybody = [
            (row, facts, facts.words) for row in self._workers for facts in [facts_of(row)]
        ]
        by_name: dict[str, list[tuple[WorkerRow, WorkerFacts, dict[str, str]]]] = {}
        for one in everybody:
            by_name.setdefault(one[0].name, []).append(one)
        for definition in self._definitions:
            selector = definition.selector
            among = everybody if selector.name is None else by_name.get(selector.name, ())
            matched = [
                row
                for row, facts, words in among
                if selector.matches(row.name, words) and may_run(definition, facts)
            ]
            if not matched:
                yield _Place(definition, None)
            elif definition.floating:
                yield _Place(definition, None, len(matched))
            else:
                for row in matched:
                    yield _Place(definition, row)

    @property
    def pairs(self) -> list[tuple[bytes, bytes]]:
        """(worker uid, schedule uid) of all that runs on workers of its own."""
        return [
            (one.worker.uid, one.definition.uid) for one in self._places if one.worker is not None
        ]

    @property
    def floating(self) -> list[Definition]:
        """The definitions that run on one of several."""
        return [one.definition for one in self._places if one.one_of is not None]

    def matched(self, schedule_uid: bytes) -> list[WorkerRow]:
        """The workers that may run a schedule."""
        for definition in self._definitions:
            if definition.uid == schedule_uid:
                return [row for row in self._workers if may_run(definition, facts_of(row))]
        return []

    # -- what is next -----------------------------------------------------------------------------

    def timers(self, now: int, holds: Circumstances) -> Iterator[Timer]:
        """A row for each schedule on each worker, in order of name; the caller may take its time
        between them."""
        for place in self._places:
            yield self._timer(place, now, holds)

    def _timer(self, place: _Place, now: int, holds: Circumstances) -> Timer:
        one, row = place.definition, place.worker
        worker_uid = b"" if row is None else row.uid
        state, reason, by = PLANNED, "", ""
        until: int | None = None
        planned = self.next_after(one, worker_uid, now) if one.enabled else None
        following: int | None = planned
        pause = longest_pause(holds.pauses, one.uid, now)
        drain = holds.drains.get(worker_uid)
        here = holds.connected.get(worker_uid)
        if not one.enabled:
            state = DISABLED
        elif row is None and place.one_of is None:
            state, reason = NEVER, f'no worker is meant by "{one.workers}"'
        elif pause is not None:
            state, by, reason, until = PAUSED, pause.who, pause.reason, pause.until
            following = self._after_end(one, worker_uid, until)
        elif drain is not None:
            state, by, reason, until = DRAINED, drain.who, drain.reason, drain.until
            following = self._after_end(one, worker_uid, until)
        elif planned is None:
            state, reason = NEVER, _why_never(one)
        elif row is None:
            if not holds.connected:
                state, reason = OFFLINE, "none of its workers is connected"
        elif here is None:
            state, reason = OFFLINE, "it starts by its own clock; nothing is heard of it now"
        elif not here.confirmed:
            state, reason = UNKNOWN, "it has not confirmed its schedules yet"
        if state in {NEVER, DISABLED, OFFLINE, UNKNOWN}:
            following = None
        return Timer(
            one.uid,
            one.name,
            worker_uid,
            "" if row is None else row.name,
            place.one_of,
            state,
            following,
            planned,
            one.timezone,
            by,
            until,
            reason,
        )

    def _after_end(self, one: Definition, worker_uid: bytes, until: int | None) -> int | None:
        """The first start when a pause or a drain has ended; None where it has no end."""
        if until is None:
            return None
        return self._known_after(self._resumed, one, worker_uid, until - 1)

    def next_after(self, one: Definition, worker_uid: bytes, instant: int) -> int | None:
        """The first slot of a schedule on a worker strictly after `instant`, paused or not."""
        return self._known_after(self._next, one, worker_uid, instant)

    def _known_after(
        self, answers: _Answers, one: Definition, worker_uid: bytes, instant: int
    ) -> int | None:
        key = (one.uid, worker_uid if self._drawn.get(one.uid, is_drawn(one)) else b"")
        known = answers.get(key)
        if known is not None:
            asked, answer = known
            if asked <= instant and (answer is None or instant < answer):
                return answer
        timetable = self._timetable(one, key)
        answer = None if timetable is None else timetable.next_after(instant)
        if known is None or known[0] <= instant:
            answers[key] = instant, answer
        return answer

    def _timetable(self, one: Definition, key: tuple[bytes, bytes]) -> Timetable | None:
        if key not in self._timetables:
            if len(self._timetables) >= self.most:
                self._timetables.pop(next(iter(self._timetables)))
            self._timetables[key] = timetable_of(one, key[1])
        return self._timetables[key]


def timetable_of(one: Definition, worker_uid: bytes) -> Timetable | None:
    """The slots of a schedule on a worker; None where its trigger cannot be read."""
    try:
        return Timetable(spec_of(one), worker_uid)
    except CalendarError:
        return None


def is_drawn(one: Definition) -> bool:
    """Whether each worker has times of its own."""
    return one.anchor == RANDOM_ANCHOR or any("R" in text for text in one.calendars)


def longest_pause(pauses: Mapping[bytes, PauseRow], uid: bytes, now: int) -> PauseRow | None:
    """The pause that holds for a schedule now: the one that ends last."""
    held = [
        row
        for row in (pauses.get(uid), pauses.get(ALL_SCHEDULES))
        if row is not None and (row.until is None or row.until > now)
    ]
    return max(held, key=lambda row: (row.until is None, row.until or 0), default=None)


def _why_never(one: Definition) -> str:
    if one.after is not None:
        return f"it follows {one.after}"
    if one.on_boot:
        return "once for each boot of its host"
    return "its calendar has no more starts"


# -- what starts soon -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Soon:
    """A schedule starts next on so many workers, from `first` to `last`."""

    schedule: str
    first: int
    last: int
    workers: int
    worker: str
    timezone: str


def soon(timers: Iterable[Timer], until: int, limit: int) -> list[Soon]:
    """The next start of each schedule up to `until`, the soonest first."""
    found: dict[bytes, list[Timer]] = {}
    for timer in timers:
        if timer.state == PLANNED and timer.next is not None and timer.next <= until:
            found.setdefault(timer.schedule_uid, []).append(timer)
    groups = []
    for rows in found.values():
        nexts = [row.next for row in rows if row.next is not None]
        workers = sum(1 for _ in rows)
        first = rows[0]
        name = first.worker if workers == 1 else ""
        groups.append(Soon(first.schedule, min(nexts), max(nexts), workers, name, first.timezone))
    groups.sort(key=lambda one: (one.first, one.schedule))
    return groups[:limit]
