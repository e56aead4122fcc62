"""Which facts are there to a question of "why"? Finds the start that is meant, and all that the
ledger, the events and the connections tell of it; the words are those of `bartos.why`.

Every question takes a bounded number of reads, each by an index.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from bartos import why
from bartos.ledger import STUCK_RUNS, Almanac, shortly
from bartos.nearest import nearest, no_such
from bartos.outlook import Drain, Timer, longest_pause, timetable_of
from bartos.overview import Last
from bartos.presence import JOINED
from bartos.schedules import DEFAULT_ZONE, Definition
from bartos.services import Services
from bartos.store.orders import OrderRow
from bartos.store.port import (
    FAILURES,
    Applied,
    EventRow,
    RunFilter,
    RunRow,
    SlotRange,
    VersionRow,
    WaitingRow,
    WorkerRow,
)
from bartos.tail import last_lines
from bartos.why import Away, Before, Facts, Policies, Since, Span, Why
from bartos.why_words import DAY_US, Face
from libbarto.errors import UserError
from libbarto.identity import Kind
from libbarto.message.v2.record import Stream, Verdict
from libbarto.realtime import zones

MINUTE_US: Final = 60_000_000
SECOND_US: Final = 1_000_000
LINES: Final = 5
EVENTS: Final = 200
ROWS: Final = 10_000
ORDERS: Final = 100
"""Of starts that are not made yet, so many are looked at."""
LOOK_BACK_US: Final = 40 * DAY_US
"""So far before a start it is looked for who paused it, and for the run that hindered it."""
FOREVER: Final = 1 << 62

WORST_FIRST: Final = (
    *("lost", "failed", "timed_out", "interrupted", "stuck", "missed", "late", "unknown"),
    *("cancelled", "skipped", "waiting", "running", "ok"),
)
_NOT_POLICIES: Final = frozenset({"name", "description", "tags", "parent", "same_worker", "id"})


class NotKnown(UserError):
    """Nothing bears the name that was asked for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: of a schedule, perhaps on a worker, perhaps at an instant; to be told in this
    time zone, or in the schedule's own."""

    schedule: str
    worker: str | None = None
    at: int | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Why, and of what."""

    why: Why
    facts: Facts


@dataclass(frozen=True, slots=True)
class _Subject:
    """The schedule that is meant: as it is in force, and all that it ever was."""

    uid: bytes
    name: str
    definition: Definition | None
    versions: Sequence[VersionRow]
    timezone: str
    asked: str = ""
    """The name by which it was asked for, where that is another."""

    @property
    def names(self) -> list[str]:
        """All names that it ever had: its runs bear the one of their time."""
        return list(dict.fromkeys([self.name, *(one.name for one in self.versions)]))

    @property
    def floating(self) -> bool:
        return self.definition is not None and self.definition.floating


@dataclass(frozen=True, slots=True)
class _Found:
    """The start that is meant."""

    slot: int | None = None
    cover: RunRow | SlotRange | WaitingRow | OrderRow | None = None
    state: str = ""
    stuck: str = ""

    @property
    def word(self) -> str:
        """Its state, as starts are compared by."""
        if self.state or self.cover is None:
            return self.state
        if isinstance(self.cover, WaitingRow):
            return "waiting"
        return "running" if self.cover.verdict is None else self.cover.verdict.word


@dataclass(frozen=True, slots=True)
class _Triggers:
    """By what a schedule was planned, on each worker."""

    spans: Mapping[bytes, Sequence[Applied]]
    almanac: Almanac


class Asking:
    """Answers questions, over the services that all faces stand on."""

    def __init__(self, given: Services) -> None:
        self._given = given
        self._store = given.store
        self._now = given.clock.now()

    # -- questions --------------------------------------------------------------------------------

    async def why(self, asked: Asked) -> Answer:
        """Why a schedule ran, or did not. Raises `NotKnown`."""
        subject = await self._subject(asked.schedule)
        rows = await self._given.overview.workers()
        worker: WorkerRow | None = None
        others: Mapping[str, int] = {}
        if asked.worker is not None:
            worker = next((row for row in rows if row.name == asked.worker), None)
            if worker is None:
                raise NotKnown(no_such("worker", asked.worker, [row.name for row in rows]))
            found = await self._start(subject, worker, asked.at)
        else:
            worker, found, others = await self._worst(subject, rows, asked.at)
        return await self._answer(subject, worker, found, asked.timezone, others)

    async def why_run(self, run: RunRow, timezone: str | None = None) -> Answer:
        """Why a run ended as it did."""
        subject = await self._subject_of(run.schedule_uid, run.schedule)
        worker = await self._store.worker(run.worker_uid)
        stuck = await self._stuck(run)
        found = _Found(run.slot, run, "stuck" if stuck else "", stuck)
        return await self._answer(subject, worker, found, timezone, {})

    async def why_order(self, order: OrderRow, timezone: str | None = None) -> Answer:
        """What became of a start that was ordered, and has no run."""
        intent = order.intent
        subject = await self._subject_of(intent.schedule_uid, intent.schedule)
        worker = await self._store.worker(intent.worker_uid)
        found = _Found(intent.slot, order)
        return await self._answer(subject, worker, found, timezone, {})

    # -- the schedule -----------------------------------------------------------------------------

    async def _subject(self, name: str) -> _Subject:
        definitions = self._given.planner.definitions
        found = [one for one in definitions if one.name == name]
        found = found or [one for one in definitions if one.bare_name == name]
        if len(found) > 1:
            names = ", ".join(one.name for one in found[:5])
            raise NotKnown(f'more than one schedule is named "{name}": say which of {names}')
        if found:
            return await self._subject_of(found[0].uid, found[0].name)
        words = await self._store.schedule_words()
        uid = next((uid for uid, word in words.items() if word == name), None)
        if uid is None:
            uid = await self._renamed(name, words)
        if uid is None:
            known = [*(one.name for one in definitions), *words.values()]
            raise NotKnown(no_such("schedule", name, known))
        found_by = await self._subject_of(uid, words[uid])
        return replace(found_by, asked="" if found_by.name == name else name)

    async def _renamed(self, name: str, words: Mapping[bytes, str]) -> bytes | None:
        """The schedule that was called so once, and has another name now, as its runs tell."""
        rows = await self._store.runs(RunFilter(schedule=name, limit=1))
        uid = rows[0].schedule_uid if rows else None
        return uid if uid in words else None

    async def _subject_of(self, uid: bytes, name: str) -> _Subject:
        definition = next((one for one in self._given.planner.definitions if one.uid == uid), None)
        versions = await self._store.schedule_versions(uid)
        timezone = DEFAULT_ZONE
        if definition is not None:
            name, timezone = definition.name, definition.timezone
        elif versions:
            name = versions[-1].name
            timezone = str(_keys(versions[-1]).get("timezone", DEFAULT_ZONE))
        return _Subject(uid, name, definition, versions, timezone)

    # -- the start --------------------------------------------------------------------------------

    async def _worst(
        self, subject: _Subject, rows: Sequence[WorkerRow], at: int | None
    ) -> tuple[WorkerRow | None, _Found, Mapping[str, int]]:
        """Of all workers the one that needs a look most, and how many others stand how."""
        by_uid = {row.uid: row for row in rows}
        if at is not None:
            covers = await self._covers(subject, None, at)
            worst: dict[bytes, _Found] = {}
            for found in covers:
                uid = _worker_of(found.cover)
                if uid not in worst or _badness(found) < _badness(worst[uid]):
                    worst[uid] = found
            if worst:
                first = min(worst, key=lambda uid: (_badness(worst[uid]), uid))
                others = Counter(one.word for uid, one in worst.items() if uid != first)
                return by_uid.get(first), worst[first], others
        timers = [one for one in await self._timers(subject) if one.worker_uid]
        if not timers:
            worker = await self._once_ran(subject, by_uid)
            if worker is None and not subject.floating:
                return None, _Found(at, None, self._nowhere(subject)), {}
            return worker, await self._start(subject, worker, at), {}
        if at is not None:
            here = {one.uid for one in self._given.fleet.connected()}
            first_timer = min(timers, key=lambda one: (one.worker_uid in here, one.worker))
            worker = by_uid.get(first_timer.worker_uid)
            return worker, await self._start(subject, worker, at), {}
        words = await self._words(subject, timers)
        newest = {
            one.worker_uid: _slot_of(last)
            for one, last in zip(timers, await self._given.overview.lasts(timers), strict=True)
        }
        place = {word: number for number, word in enumerate(WORST_FIRST)}
        uid = min(words, key=lambda one: (place.get(words[one], len(place)), -newest[one]))
        others = Counter(word for one, word in words.items() if one != uid)
        worker = by_uid.get(uid)
        return worker, await self._start(subject, worker, None), others

    async def _words(self, subject: _Subject, timers: Sequence[Timer]) -> dict[bytes, str]:
        """How the schedule stands on each worker."""
        now = await self._given.watch.recent()
        lasts = await self._given.overview.lasts(timers)
        words = {one.worker_uid: last.word for one, last in zip(timers, lasts, strict=True)}
        for undecided in now.undecided:
            if undecided.schedule_uid == subject.uid and undecided.worker_uid in words:
                words[undecided.worker_uid] = undecided.word
        for stuck in now.stuck:
            if stuck.run.schedule_uid == subject.uid and stuck.run.worker_uid in words:
                words[stuck.run.worker_uid] = "stuck"
        return words

    async def _once_ran(
        self, subject: _Subject, by_uid: Mapping[bytes, WorkerRow]
    ) -> WorkerRow | None:
        """The worker that it ran on last, where it is meant for none now."""
        rows = await self._runs(subject, RunFilter(limit=1))
        if rows:
            return by_uid.get(rows[0].worker_uid)
        spans = await self._store.applied(schedule_uid=subject.uid)
        return by_uid.get(spans[-1].worker_uid) if spans else None

    def _nowhere(self, subject: _Subject) -> str:
        return why.NEVER_DUE if subject.definition is None else why.NO_WORKER

    async def _timers(self, subject: _Subject) -> list[Timer]:
        timers = await self._given.overview.timers()
        return [one for one in timers if one.schedule_uid == subject.uid]

    async def _start(self, subject: _Subject, worker: WorkerRow | None, at: int | None) -> _Found:
        """The start that is meant, of a schedule on a worker, or where the server chooses one."""
        if at is not None:
            covers = await self._covers(subject, worker, at)
            if covers:
                return min(covers, key=_badness)
            return await self._uncovered(subject, worker, at)
        return await self._last(subject, worker)

    async def _covers(self, subject: _Subject, worker: WorkerRow | None, at: int) -> list[_Found]:
        """What the ledger has for the minute, or the second, that was named."""
        until = at + (SECOND_US if at % MINUTE_US else MINUTE_US)
        name = None if worker is None else worker.name
        uid = None if worker is None else worker.uid
        wanted = RunFilter(worker=name, schedule=subject.name, since=at, until=until, limit=ROWS)
        waits = {
            row.run_id: row
            for row in await self._store.waiting(worker_uid=uid, schedule_uid=subject.uid)
            if at <= row.slot < until
        }
        stuck = {one.run.run_id: one.why for one in (await self._given.watch.recent()).stuck}
        found = []
        for run in await self._runs(subject, wanted):
            if run.run_id not in waits:
                why_stuck = stuck.get(run.run_id, "")
                found.append(_Found(run.slot, run, "stuck" if why_stuck else "", why_stuck))
        found += [_Found(row.slot, row) for row in waits.values()]
        ran = {(one.slot, _worker_of(one.cover)) for one in found}
        triggers: _Triggers | None = None
        for row in await self._ranges(subject, wanted):
            edges = row.first_slot, row.last_slot
            slot = next((edge for edge in edges if at <= edge < until), None)
            if slot is None:
                # Of all workers at once: a pause is one such range on each of thousands.
                triggers = triggers or await self._triggers(subject, uid)
                slot = self._planned_by(triggers, subject, row.worker_uid, at - 1)
            if slot is not None and slot < until and (slot, row.worker_uid) not in ran:
                found.append(_Found(slot, row))
        return found

    async def _planned(self, subject: _Subject, worker_uid: bytes, after: int) -> int | None:
        """The first planned start after an instant, by the trigger that counted then."""
        triggers = await self._triggers(subject, worker_uid)
        return self._planned_by(triggers, subject, worker_uid, after)

    async def _triggers(self, subject: _Subject, worker_uid: bytes | None) -> _Triggers:
        """By what it was planned, on a worker or on all."""
        spans = await self._store.applied(worker_uid=worker_uid, schedule_uid=subject.uid)
        timings = await self._store.timings({span.timing for span in spans})
        by_worker: dict[bytes, list[Applied]] = {}
        for span in spans:
            by_worker.setdefault(span.worker_uid, []).append(span)
        return _Triggers(by_worker, Almanac(timings))

    def _planned_by(
        self, triggers: _Triggers, subject: _Subject, worker_uid: bytes, after: int
    ) -> int | None:
        for span in triggers.spans.get(worker_uid, ()):
            slots = triggers.almanac.slots(span)
            if slots is None or slots.on_boot:
                continue
            slot = slots.next_after(max(after, span.from_at))
            if slot is not None and (span.until_at is None or slot <= span.until_at):
                return slot
        if subject.definition is not None and subject.floating:
            return self._given.overview.outlook.next_after(subject.definition, b"", after)
        return None

    async def _uncovered(self, subject: _Subject, worker: WorkerRow | None, at: int) -> _Found:
        """Nothing is told of the time that was named: is it planned, late, or none at all?"""
        until = at + (SECOND_US if at % MINUTE_US else MINUTE_US)
        uid = b"" if worker is None else worker.uid
        definition = subject.definition
        if definition is not None and definition.after is not None:
            parent = await self._parent_at(subject, worker, at, until)
            if parent is not None:
                return _Found(_last_of(parent), None, why.NOT_FOLLOWED)
        slot = await self._planned(subject, uid, at - 1)
        if slot is not None and slot < until:
            if slot > self._now:
                return _Found(slot, None, why.PLANNED)
            connected = any(one.uid == uid for one in self._given.fleet.connected())
            floating = worker is None
            return _Found(slot, None, "late" if connected or floating else "unknown")
        if definition is not None and definition.enabled:
            own = self._given.overview.outlook.next_after(definition, uid, at - 1)
            if own is not None and own < until:
                counted = own > self._now and slot is None and not worker
                return _Found(own, None, why.PLANNED if counted else why.NOT_COUNTED)
        if definition is None:
            return _Found(at, None, why.NOT_COUNTED)
        return _Found(at, None, why.NOT_DUE)

    async def _parent_at(
        self, subject: _Subject, worker: WorkerRow | None, at: int, until: int
    ) -> RunRow | SlotRange | None:
        """The run that it would have followed, in [at, until)."""
        definition = subject.definition
        assert definition is not None
        name = worker.name if worker is not None and definition.same_worker else None
        wanted = RunFilter(worker=name, schedule=definition.after, since=at, until=until, limit=1)
        runs = await self._store.runs(wanted)
        if runs:
            return runs[0]
        ranges = await self._store.ranges(wanted)
        return ranges[0] if ranges else None

    async def _last(self, subject: _Subject, worker: WorkerRow | None) -> _Found:
        """The last start that someone should look at; where there is none, the last."""
        name = None if worker is None else worker.name
        now = await self._given.watch.recent()
        for stuck in now.stuck:
            if stuck.run.schedule_uid == subject.uid and (
                worker is None or worker.uid == stuck.run.worker_uid
            ):
                return _Found(stuck.run.slot, stuck.run, "stuck", stuck.why)
        wanted = RunFilter(worker=name, schedule=subject.name, limit=20)
        runs = await self._runs(subject, wanted)
        ranges = await self._ranges(subject, wanted)
        waits = await self._store.waiting(
            worker_uid=None if worker is None else worker.uid, schedule_uid=subject.uid
        )
        undecided = [
            one
            for one in now.undecided
            if one.schedule_uid == subject.uid
            and worker is not None
            and one.worker_uid == worker.uid
        ]
        ended = next((run for run in runs if run.verdict is not None), None)
        newest_run = runs[0] if runs else None
        newest_range = ranges[0] if ranges else None
        if (
            newest_range is not None
            and newest_range.verdict in {Verdict.MISSED, Verdict.LOST}
            and (newest_run is None or newest_range.last_slot > newest_run.slot)
        ):
            return _Found(newest_range.last_slot, newest_range)
        if undecided:
            return _Found(undecided[-1].last, None, undecided[-1].word)
        follow = await self._not_followed(subject, worker, newest_run)
        if follow is not None:
            return follow
        if ended is not None and ended.verdict in FAILURES:
            waiting = next((one for one in waits if one.run_id == ended.run_id), None)
            return _Found(ended.slot, waiting or ended)
        ordered = await self._ordered(subject, worker)
        if ordered is not None:
            return _Found(ordered.intent.slot, ordered)
        if waits:
            return _Found(waits[-1].slot, waits[-1])
        covers: list[RunRow | SlotRange] = [one for one in (newest_run, newest_range) if one]
        if covers:
            cover = max(covers, key=_last_of)
            return _Found(_last_of(cover), cover)
        return await self._nothing_yet(subject, worker)

    async def _ordered(self, subject: _Subject, worker: WorkerRow | None) -> OrderRow | None:
        """The newest start by hand that its worker has not claimed yet: it may be away."""
        if subject.definition is None:
            return None
        found = []
        for run_id in self._given.actions.known_of(subject.definition)[-ORDERS:]:
            for one in await self._store.orders(run_id=run_id):
                mine = worker is None or one.intent.worker_uid == worker.uid
                if mine and not one.claimed and one.verdict is None:
                    found.append(one)
        return max(found, key=lambda one: one.intent.slot, default=None)

    async def _not_followed(
        self, subject: _Subject, worker: WorkerRow | None, newest: RunRow | None
    ) -> _Found | None:
        """The run before has ended in a way that this one does not follow."""
        definition = subject.definition
        if definition is None or definition.after is None:
            return None
        parent = await self._parent_at(subject, worker, 0, FOREVER)
        if parent is None or parent.verdict is None:
            return None
        slot = _last_of(parent)
        if (newest is not None and newest.slot >= slot) or _follows(definition.when, parent):
            return None
        return _Found(slot, None, why.NOT_FOLLOWED)

    async def _nothing_yet(self, subject: _Subject, worker: WorkerRow | None) -> _Found:
        definition = subject.definition
        if definition is None:
            return _Found(None, None, why.NEVER_DUE)
        timer = await self._timer(subject, worker)
        if timer is None and not subject.floating:
            return _Found(None, None, why.NO_WORKER if worker is None else why.NOT_COUNTED)
        if timer is not None and timer.planned is not None:
            return _Found(timer.planned, None, why.PLANNED)
        return _Found(None, None, why.NEVER_DUE)

    async def _timer(self, subject: _Subject, worker: WorkerRow | None) -> Timer | None:
        timers = await self._timers(subject)
        uid = b"" if worker is None else worker.uid
        own = next((one for one in timers if one.worker_uid == uid), None)
        return own or next((one for one in timers if not one.worker_uid), None)

    async def _runs(self, subject: _Subject, wanted: RunFilter) -> list[RunRow]:
        """Its runs, under all its names, newest first."""
        rows: list[RunRow] = []
        for name in subject.names:
            found = await self._store.runs(replace(wanted, schedule=name))
            rows += [row for row in found if row.schedule_uid == subject.uid]
        rows.sort(key=lambda row: (row.slot, row.run_id), reverse=True)
        return rows[: wanted.limit]

    async def _ranges(self, subject: _Subject, wanted: RunFilter) -> list[SlotRange]:
        """What did not run of it, under all its names, newest first."""
        rows: list[SlotRange] = []
        for name in subject.names:
            found = await self._store.ranges(replace(wanted, schedule=name))
            rows += [row for row in found if row.schedule_uid == subject.uid]
        rows.sort(key=lambda row: row.key, reverse=True)
        return rows[: wanted.limit]

    async def _stuck(self, run: RunRow) -> str:
        if run.verdict is not None:
            return ""
        now = await self._given.watch.recent()
        return next((one.why for one in now.stuck if one.run.run_id == run.run_id), "")

    # -- all about it -----------------------------------------------------------------------------

    async def _answer(
        self,
        subject: _Subject,
        worker: WorkerRow | None,
        found: _Found,
        timezone: str | None,
        others: Mapping[str, int],
    ) -> Answer:
        if timezone is None or not zones.is_zone(timezone):
            timezone = subject.timezone
        definition = subject.definition
        uid = None if worker is None else worker.uid
        pause = longest_pause(self._given.planner.pauses, subject.uid, self._now)
        spans = []
        if worker is not None:
            spans = await self._store.applied(worker_uid=worker.uid, schedule_uid=subject.uid)
        facts = Facts(
            schedule=subject.name,
            worker=_worker_name(found.cover) or ("" if worker is None else worker.name),
            slot=found.slot,
            face=_face(timezone, self._now),
            own=_face(subject.timezone, self._now),
            cover=found.cover,
            state=found.state,
            policies=None if definition is None else policies_of(definition),
            stuck=found.stuck,
            pause=pause,
            connected=any(one.uid == uid for one in self._given.fleet.connected()),
            last_seen=None if worker is None else worker.last_seen,
            spans=[Span(one.from_at, one.until_at, one.generation) for one in spans],
            timer=await self._timer(subject, worker),
            others=others,
            removed=None if definition is not None else _removed(subject),
            renamed=_renamed(subject),
        )
        facts = await self._more(facts, subject, worker)
        return Answer(why.explain(facts), facts)

    async def _more(self, facts: Facts, subject: _Subject, worker: WorkerRow | None) -> Facts:
        """What only this kind of start needs to have looked up."""
        cover, timer = facts.cover, facts.timer
        if timer is not None and timer.state == "drained":
            facts = replace(facts, drain=Drain(timer.by, timer.reason, timer.until))
        if facts.state == why.NO_WORKER and subject.definition is not None:
            names = [row.name for row in await self._given.overview.workers()]
            definition = subject.definition
            meant = definition.selector.name or definition.workers
            facts = replace(facts, near=nearest(meant, names))
        if facts.state == why.NOT_DUE:
            facts = replace(facts, around=await self._around(subject, worker, facts.slot or 0))
        if facts.state == why.NOT_FOLLOWED and facts.slot is not None:
            parent = await self._parent_at(subject, worker, facts.slot, facts.slot + 1)
            facts = replace(facts, parent=parent)
        match cover:
            case RunRow():
                return await self._of_run(facts, subject, cover)
            case SlotRange():
                return await self._of_range(facts, subject, cover)
            case OrderRow():
                return replace(facts, order=cover)
            case _:
                return facts

    async def _around(
        self, subject: _Subject, worker: WorkerRow | None, at: int
    ) -> tuple[int | None, int | None]:
        if subject.definition is None:
            return None, None
        timetable = timetable_of(subject.definition, b"" if worker is None else worker.uid)
        if timetable is None or subject.definition.on_boot or subject.definition.after:
            return None, None
        return timetable.previous_before(at), timetable.next_after(at)

    async def _of_run(self, facts: Facts, subject: _Subject, run: RunRow) -> Facts:
        facts = replace(facts, steps=await self._store.steps(run.run_id))
        alone = run.kind == Kind.EXEC  # the runs before it were other commands
        if not alone:
            usual = await self._store.took(run.worker_uid, run.schedule_uid, STUCK_RUNS)
            facts = replace(facts, usual=usual)
        if run.kind == Kind.FOLLOW and subject.definition is not None:
            parent = await self._parent_of(subject.definition, run)
            facts = replace(facts, parent=parent)
        if run.kind in {Kind.MANUAL, Kind.EXEC}:
            orders = await self._store.orders(run_id=run.run_id)
            facts = replace(facts, order=orders[0] if orders else None)
        if run.verdict is Verdict.CANCELLED:
            facts = replace(facts, cancelled_by=await self._who_cancelled(run))
        if run.verdict in FAILURES:
            facts = replace(facts, lines=await self._lines(run))
        if run.verdict in FAILURES and not alone:
            before, since = await self._history(subject, run)
            facts = replace(facts, before=before, since=since)
        return facts

    async def _lines(self, run: RunRow) -> list[str]:
        """What it said last of its trouble: on stderr, or else at all."""
        found = await last_lines(self._store, run.run_id, run.attempt, LINES, {Stream.STDERR})
        return found or await last_lines(
            self._store, run.run_id, run.attempt, LINES, {Stream.STDOUT}
        )

    async def _parent_of(self, definition: Definition, run: RunRow) -> RunRow | None:
        name = run.worker if definition.same_worker else None
        wanted = RunFilter(
            worker=name, schedule=definition.after, since=run.slot, until=run.slot + 1, limit=1
        )
        rows = await self._store.runs(wanted)
        return rows[0] if rows else None

    async def _who_cancelled(self, run: RunRow) -> EventRow | None:
        until = None if run.ended_at is None else run.ended_at + DAY_US
        rows = await self._store.events(
            min(run.claimed_at, run.slot) - DAY_US, EVENTS, until=until, kinds={"cancel asked"}
        )
        name = run.run_id.hex()
        return next((row for row in rows if name in _list(row.facts.get("runs"))), None)

    async def _history(self, subject: _Subject, run: RunRow) -> tuple[Before, Since]:
        """What ran before this run on its worker, and what changed since it was good last."""
        wanted = RunFilter(worker=run.worker, until=run.slot, limit=why.OKS_MOST)
        found = await self._runs(subject, wanted)
        rows = [row for row in found if row.verdict is not None]
        oks = next((n for n, row in enumerate(rows) if row.verdict is not Verdict.OK), len(rows))
        failed = [n for n, row in enumerate(rows) if row.verdict not in FAILURES]
        failures = rows[: failed[0] if failed else len(rows)]
        good = next((row for row in rows if row.verdict is Verdict.OK), None)
        if good is None and len(rows) == why.OKS_MOST:
            older = replace(wanted, verdicts=frozenset({Verdict.OK}), limit=1)
            good = next(iter(await self._runs(subject, older)), None)
        since = failures[-1].slot if failures else None
        before = Before(oks, 1 + len(failures), since, good)
        return before, await self._changed(subject, good, run)

    async def _changed(self, subject: _Subject, good: RunRow | None, run: RunRow) -> Since:
        if good is None:
            return Since(rebooted=await self._rebooted(run))
        old = _in_force(subject.versions, good.claimed_at)
        new = _in_force(subject.versions, run.claimed_at)
        keys: list[str] = []
        at = None
        if old is not None and new is not None and old.version != new.version:
            before, after = _keys(old), _keys(new)
            keys = sorted(
                key
                for key in before.keys() | after.keys()
                if key not in _NOT_POLICIES and before.get(key) != after.get(key)
            )
            at = new.from_at
        return Since(
            keys,
            at,
            await self._new_version(good.claimed_at, run),
            await self._other_boot(good, run),
        )

    async def _new_version(self, since: int, run: RunRow) -> tuple[str, str] | None:
        """From which version of bartoc to which its worker went meanwhile."""
        rows = await self._store.events(
            since, EVENTS, until=run.claimed_at, kinds={JOINED}, worker=run.worker
        )
        versions = [
            (str(row.facts.get("before") or ""), str(row.facts.get("version") or ""))
            for row in reversed(rows)
        ]
        first = next((before for before, _ in versions if before), "")
        last = versions[-1][1] if versions else ""
        return (first, last) if first and last and first != last else None

    async def _boot(self, run: RunRow) -> bytes:
        rows = await self._store.run_slots(
            run.worker_uid, run.schedule_uid, run.slot - 1, run.slot, 10
        )
        return next((row.boot_id for row in rows if row.run_id == run.run_id), b"")

    async def _other_boot(self, one: RunRow, other: RunRow) -> bool:
        boots = {await self._boot(one), await self._boot(other)} - {b"", bytes(16)}
        return len(boots) > 1

    async def _rebooted(self, run: RunRow) -> bool:
        """Has the host been booted anew between this run and the next one there?"""
        if run.verdict is not Verdict.INTERRUPTED:
            return False
        rows = await self._store.run_slots(run.worker_uid, run.schedule_uid, run.slot, FOREVER, 1)
        boots = {await self._boot(run), *(row.boot_id for row in rows)} - {b"", bytes(16)}
        return len(boots) > 1

    # -- what did not run -------------------------------------------------------------------------

    async def _of_range(self, facts: Facts, subject: _Subject, row: SlotRange) -> Facts:
        slot = facts.slot or row.last_slot
        if row.run_id is not None:
            orders = await self._store.orders(run_id=row.run_id)
            facts = replace(facts, order=orders[0] if orders else None)
        if row.verdict is Verdict.MISSED:
            facts = replace(facts, away=await self._away(row.worker, slot))
        elif row.verdict is Verdict.SKIPPED and shortly(row.reason) == "overlap":
            facts = replace(facts, blocking=await self._blocking(subject, row, slot))
        elif row.verdict is Verdict.SKIPPED and shortly(row.reason) == "paused":
            paused, resumed = await self._pause_of(subject.name, slot)
            facts = replace(facts, paused_by=paused, resumed=resumed)
        return facts

    async def _away(self, worker: str, slot: int) -> Away | None:
        """When the worker was away at that time, as far as the server saw."""
        if not worker:
            return None
        for until in (slot + DAY_US, None):
            rows = await self._store.events(
                slot, EVENTS, until=until, kinds={JOINED}, worker=worker
            )
            if rows:
                first = rows[-1]  # the first time that it came since
                since, server = first.facts.get("away_since"), first.facts.get("server_since")
                if not isinstance(since, int) or since > slot + MINUTE_US:
                    return None
                if not isinstance(server, int) or server <= since:
                    server = None
                return Away(since, first.at, server)
        return None

    async def _blocking(self, subject: _Subject, row: SlotRange, slot: int) -> RunRow | None:
        """The run that was going on when this one was due."""
        wanted = RunFilter(
            worker=row.worker or None,
            schedule=subject.name,
            since=slot - LOOK_BACK_US,
            until=slot + 1,
            limit=20,
        )
        for run in await self._runs(subject, wanted):
            if run.ended_at is None or run.ended_at >= slot:
                return run
        return None

    async def _pause_of(self, name: str, slot: int) -> tuple[EventRow | None, EventRow | None]:
        """Who paused it then, and who ended that."""
        kinds = {"pause", "resume", "pause ended"}
        rows = await self._store.events(slot - LOOK_BACK_US, EVENTS, until=self._now, kinds=kinds)
        of_it = [row for row in rows if {name, "*"} & set(_list(row.facts.get("schedules")))]
        paused = next((row for row in of_it if row.kind == "pause" and row.at <= slot), None)
        ended = [row for row in of_it if row.kind != "pause" and row.at > slot]
        return paused, ended[-1] if ended else None


# -- small helps ----------------------------------------------------------------------------------


def policies_of(definition: Definition) -> Policies:
    """What a definition says of whether a start begins."""
    return Policies(
        enabled=definition.enabled,
        overlap=definition.overlap,
        missed=definition.missed,
        catch_up=definition.catch_up,
        start_within=definition.start_within,
        timeout=definition.timeout,
        rerun_interrupted=definition.rerun_interrupted,
        after=definition.after,
        when=definition.when,
        workers=definition.workers,
        runbook=definition.runbook,
        floating=definition.floating,
        on_boot=definition.on_boot,
    )


def _face(name: str, now: int) -> Face:
    return Face(name, zones.load(name), now)


def _keys(version: VersionRow) -> Mapping[str, Any]:
    keys = json.loads(version.definition)
    return keys if isinstance(keys, dict) else {}


def _in_force(versions: Sequence[VersionRow], at: int) -> VersionRow | None:
    """The version that was in force at an instant."""
    found = [one for one in versions if one.from_at <= at]
    return found[-1] if found else None


def _renamed(subject: _Subject) -> tuple[str, int] | None:
    bore = [one for one in subject.versions if one.name == subject.asked]
    if not bore or bore[-1].until_at is None:
        return None
    return subject.asked, bore[-1].until_at


def _removed(subject: _Subject) -> int | None:
    return subject.versions[-1].until_at if subject.versions else None


def _worker_of(cover: RunRow | SlotRange | WaitingRow | OrderRow | None) -> bytes:
    match cover:
        case None:
            return b""
        case OrderRow():
            return cover.intent.worker_uid
        case _:
            return cover.worker_uid


def _worker_name(cover: RunRow | SlotRange | WaitingRow | OrderRow | None) -> str:
    match cover:
        case None:
            return ""
        case OrderRow():
            return cover.intent.worker or cover.claimed_by
        case _:
            return cover.worker


def _last_of(row: RunRow | SlotRange) -> int:
    return row.slot if isinstance(row, RunRow) else row.last_slot


def _slot_of(last: Last) -> int:
    if last.missed is not None:
        return last.missed.last_slot
    return 0 if last.newest is None else last.newest.slot


def _badness(found: _Found) -> int:
    return WORST_FIRST.index(found.word) if found.word in WORST_FIRST else len(WORST_FIRST)


def _follows(when: str, parent: RunRow | SlotRange) -> bool:
    if when == "always":
        return True
    failed = parent.verdict in {Verdict.FAILED, Verdict.TIMED_OUT, Verdict.INTERRUPTED}
    return failed if when == "failed" else parent.verdict is Verdict.OK


def _list(value: object) -> Sequence[str]:
    return value if isinstance(value, list) else ()
