"""The worker's decisions: what is due, what starts, what is reported. No I/O, no clock of its own.

Events go in with the time, effects come out; the shell (`agent`) carries them out and answers.
The one rule that all else serves: a command is spawned only in answer to a claim that the journal
has committed (DESIGN section 4).

    Tick ──► Commit(claims, cursors, records) ──► journal ──► Committed ──► Spawn ──► keeper
    keeper ──► StepStarted, OutputRead, StepEnded, AttemptEnded ──► Commit ──► Committed ──► Taken

`handle` never waits and never fails halfway: what a commit was to bring about is done when
`Committed` comes, and not at all where the journal failed (then the shell begins anew from `load`).
Each question has a room: `clockwork` which reading is believed, `deciding` what becomes of slots,
`overlap` what may begin, `waiting` what begins later, `running` what is told of attempts,
`following` what comes after them, `orders` what the server wants, `sets` what a new set changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bartoc import clockwork, deciding, orders, overlap, running, sets, waiting
from bartoc.books import Books, Draft, Run
from bartoc.clockwork import CLOCK_PATIENCE_S, Away, Belief, Clockwork
from bartoc.deciding import Begin, Passed, View
from bartoc.events import (
    Answer,
    Asked,
    Cancel,
    Cancelled,
    Commit,
    Committed,
    Contact,
    Effect,
    Forget,
    HeldBack,
    Key,
    NewSet,
    Note,
    Now,
    Offered,
    Opened,
    Recall,
    Recalled,
    Resume,
    RunnerGone,
    Spawn,
    Stop,
    Taken,
    Tick,
    WorkerInput,
)
from bartoc.journal import JournalState, Transaction
from bartoc.runner import AttemptEnded, NotStarted, OutputRead, StepEnded, StepStarted
from bartoc.runner import Event as RunnerEvent
from bartoc.starting import Host, Start, rfc3339
from libbarto.errors import CodecError
from libbarto.identity import Kind
from libbarto.message.v2.record import ClockBack, Verdict
from libbarto.schedule import Timetable

__all__ = [
    "CLOCK_PATIENCE_S",
    "Answer",
    "Asked",
    "Away",
    "Cancel",
    "Cancelled",
    "Commit",
    "Committed",
    "Contact",
    "Effect",
    "Forget",
    "HeldBack",
    "Host",
    "NewSet",
    "Note",
    "Now",
    "Offered",
    "Opened",
    "Recall",
    "Recalled",
    "Resume",
    "RunnerGone",
    "Spawn",
    "Stop",
    "Taken",
    "Tick",
    "Worker",
    "WorkerInput",
    "rfc3339",
]

CONTACT_EVERY_US: Final = 3_600_000_000
KEEPER_AWAY_S: Final = 1.0


class Worker:
    """One worker's state; `state` is what its journal held when it started, `away` is when nothing
    could start before that (none given: the worker was down)."""

    def __init__(
        self, state: JournalState, host: Host, now: Now, away: Sequence[Away] = ()
    ) -> None:
        self.books = Books(state, host)
        self.clock = Clockwork(now, host.built, away)
        self.stopping = False
        self._pending_set: NewSet | None = None
        self._ready = False
        self._recalling = False
        self._unready = now
        if self.books.current is not None:
            try:
                sets.go_by(self.books.current.body, self.books)
            except CodecError as error:
                self.books.note("error", "a set of schedules cannot be read", error=str(error))

    # -- asked by the shell -----------------------------------------------------------------------

    @property
    def runs(self) -> dict[Key, Run]:
        """The attempts that are followed."""
        return self.books.runs

    @property
    def timetables(self) -> dict[bytes, Timetable]:
        """The schedules of the set in force, by uid."""
        return self.books.timetables

    @property
    def generation(self) -> int:
        """The version of the set that is in force, 0 for none."""
        return self.books.generation

    @property
    def unsettled(self) -> tuple[Offered, ...]:
        """Offers that have neither been claimed nor refused: where the journal fails, they are to
        be told again to the worker that begins from `load`."""
        return tuple(self.books.offers)

    def next_due(self, now: Now) -> float:
        """Seconds until `Tick` has to come, at most 1: no long sleep is ever trusted."""
        wait = 1.0
        books = self.books
        if self._able and now.wall >= books.newest:
            instants = [
                timetable.next_after(books.cursor(uid, now))
                for uid, timetable in books.timetables.items()
                if not books.is_ending(uid)
            ]
            instants += [one.due for one in books.waiting.values() if one.due > now.wall]
            instants += [offered.offer.slot for offered in books.offers]
            for instant in instants:
                if instant is not None:
                    wait = min(wait, (instant - now.wall) / 1e6)
        for run in books.runs.values():
            due = run.chunker.next_due()
            if due is not None:
                wait = min(wait, due - now.boottime)
        return max(0.0, wait)

    @property
    def _able(self) -> bool:
        """May anything start, as far as the clock allows?"""
        return self._ready and not self.stopping and not self._recalling

    # -- events -----------------------------------------------------------------------------------

    def handle(self, event: WorkerInput, now: Now) -> list[Effect]:
        """What follows from an event at `now`."""
        effects = self._handle(event, now)
        notes: list[Effect] = [*self.clock.notes, *self.books.notes]
        if notes:
            effects = [*notes, *effects]
            self.clock.notes = []
            self.books.notes = []
        return effects

    def _handle(self, event: WorkerInput, now: Now) -> list[Effect]:
        match event:
            case Tick():
                return self._tick(now)
            case NewSet():
                self._pending_set = event
                return self._tick(now) if self._able else []
            case Contact():
                return self._contact(event)
            case Offered():
                self.books.offers.append(event)
                return []
            case Opened(known=known):
                return self._opened(running.opened(self.books, known), now)
            case RunnerGone():
                self._ready = False
                self._unready = now
                return []
            case Recalled(state=state):
                self.books.recall(state)
                self._recalling = False
                return []
            case Committed():
                return self._committed(event, now)
            case Stop():
                self.stopping = True
                return []
            case _:
                return self._drafted(event, now)

    def _drafted(self, event: HeldBack | Asked | Cancelled | RunnerEvent, now: Now) -> list[Effect]:
        """Events that lead to one transaction and to nothing else."""
        draft = Draft(self.books, now)
        effects: list[Effect] = []
        match event:
            case HeldBack():
                effects = running.held_back(event, draft)
            case StepStarted():
                running.step_started(event, draft)
            case OutputRead():
                running.output(event, draft)
            case StepEnded():
                running.step_ended(event, draft)
            case AttemptEnded():
                running.attempt_ended(event, draft)
            case NotStarted():
                running.not_started(event, draft)
            case Asked():
                orders.asked(event, draft)
            case _:
                effects = orders.cancelled(event, draft)
        return [*effects, *draft.effects()]

    def _opened(self, effects: list[Effect], now: Now) -> list[Effect]:
        self._ready = True
        if now.boottime - self._unready.boottime > KEEPER_AWAY_S:
            away = Away(self._unready.wall, now.wall, clockwork.NO_KEEPER)
            self.clock.was_away(away)
        return effects

    def _contact(self, event: Contact) -> list[Effect]:
        """The server was there: remember its time, but write it down once an hour at most."""
        at = event.server_at
        if at is None or abs(at - self.books.contact) < CONTACT_EVERY_US:
            return []
        self.books.contact = at
        return [Commit(Transaction(contact=at))]

    # -- what is committed ------------------------------------------------------------------------

    def _committed(self, event: Committed, now: Now) -> list[Effect]:
        """Spawn what was claimed: each when those that it replaces are gone."""
        books = self.books
        draft = Draft(books, now)
        effects: list[Effect] = []
        for order in event.commit.spawns:
            key = order.run_id, order.attempt
            run = books.runs.get(key)
            if run is None:
                continue  # it was replaced before it began
            if key not in event.claims:
                overlap.unclaimed(run, books)
                continue
            run.committed = event
            effects += [
                running.stop(books.runs[other])
                for other in sorted(run.waits_for)
                if other in books.runs
            ]
            if run.stopped:
                running.end_unspawned(run, draft)
        for run in books.runs.values():
            if run.spawned:
                continue
            gone = not any(key in books.runs or key in books.unresumed for key in run.waits_for)
            if run.committed is not None and run.order is not None and gone:
                deadline = None
                if run.waits_for:  # its time counts from now
                    deadline = now.boottime + run.spec.start_within_us / 1e6
                effects.append(Spawn.of(run.committed, run.order, deadline))
                run.committed = run.order = None
        return [*effects, *event.commit.then, *draft.effects()]

    # -- time -------------------------------------------------------------------------------------

    def _tick(self, now: Now) -> list[Effect]:
        """Ends come first (they were handled as they came), then the clock, then what is due by
        the old set, then the new set: the order of DESIGN section 4."""
        effects = running.seal_all(self.books, now)
        self.clock.notice(now)
        draft = Draft(self.books, now)
        belief = Belief.DOUBTED
        if self._able:
            belief = self.clock.judge(now, self.books.newest)
        if belief is Belief.BACK:
            self._go_back(draft)
        if belief is Belief.TRUSTED:
            self._decide_all(draft)
        else:
            orders.judge(draft, able=False, stopping=self.stopping)
        if draft and belief is not Belief.DOUBTED:
            draft.newest(max(self.books.newest, now.wall))
        return [*effects, *draft.effects()]

    def _decide_all(self, draft: Draft) -> None:
        sets.settle(draft)
        waiting.give_up_late(draft)
        waiting.begin_due(draft, catch_up=False)
        for timetable in self.books.timetables.values():
            if timetable.spec.on_boot:
                self._decide_boot(timetable, draft)
            else:
                self._decide(timetable, draft)
        orders.judge(draft, able=True, stopping=False)
        waiting.begin_due(draft, catch_up=True)
        if self._pending_set is not None and not self.books.is_ending():
            pending, self._pending_set = self._pending_set, None
            sets.apply(pending, draft)

    def _go_back(self, draft: Draft) -> None:
        """The clock was accepted though it reads earlier: all that lies ahead of it comes back."""
        books, now = self.books, draft.now.wall
        # No cursor goes below the floor, so nothing up to there will be decided again.
        draft.say(ClockBack(now=max(now, books.floor)))
        draft.newest(now)
        for uid, cursor in list(books.cursors.items()):
            if cursor > now:
                draft.cursor(uid, now)
        for uid, since in list(books.since.items()):
            if since > now:
                draft.since(uid, now)
        waiting.clock_back(draft)
        self._recalling = True
        draft.then(Recall())

    # -- slots ------------------------------------------------------------------------------------

    def _decide(self, timetable: Timetable, draft: Draft) -> None:
        """Decide what is due of one schedule, unless an end that comes first is yet to be told."""
        books, spec = self.books, timetable.spec
        if books.is_ending(spec.uid):
            return
        outcome = deciding.decide(
            View(
                timetable,
                books.cursor(spec.uid, draft.now),
                draft.now.wall,
                books.host.catch_up_of(spec),
                books.offline_from,
                self.clock.away,
                books.ran.get(spec.uid, ()),
            )
        )
        if outcome is None:
            return
        for decision in outcome.decisions:
            if isinstance(decision, Passed):
                draft.passed(
                    spec,
                    decision.first,
                    decision.last,
                    decision.count,
                    decision.verdict,
                    decision.reason,
                )
                continue
            start = _slot_of(timetable, decision.slot)
            if isinstance(decision, Begin):
                self._begin(start, draft)
            else:
                waiting.to_catch_up(start, self.clock.catch_up_from(draft.now), draft)
        draft.cursor(spec.uid, outcome.cursor)

    def _decide_boot(self, timetable: Timetable, draft: Draft) -> None:
        """What starts once in each boot: its slot is this tick's instant."""
        books, spec, now = self.books, timetable.spec, draft.now.wall
        if books.boots.get(spec.uid) == books.host.boot_id or books.is_ending(spec.uid):
            return
        draft.boot(spec.uid)
        if deciding.is_paused(spec, now):
            reason = deciding.paused(spec)
            draft.passed(spec, now, now, 1, Verdict.SKIPPED, reason)
        elif books.offline_from is not None and now > books.offline_from:
            draft.passed(spec, now, now, 1, Verdict.MISSED, deciding.NO_SERVER)
        else:
            self._begin(_slot_of(timetable, now), draft)
        draft.cursor(spec.uid, now)

    def _begin(self, start: Start, draft: Draft) -> None:
        """A slot starts, waits, or is skipped."""
        reason = overlap.begin(start, draft)
        if reason is not None:
            draft.passed(start.spec, start.slot, start.slot, 1, Verdict.SKIPPED, reason)


def _slot_of(timetable: Timetable, slot: int) -> Start:
    return Start(timetable.run_id(slot), 1, Kind.CALENDAR, timetable.spec, slot)
