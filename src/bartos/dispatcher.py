"""What does the server itself start, and where? Floating schedules, follow-ups, and orders by hand.

Events go in with the time, effects come out; the shell (`bartos.dispatching`) carries them out. No
start is ever made twice, whatever dies in between (DESIGN section 4, "Floating starts"):

    due, asked ──► Commit(intents) ──► Committed ──► Commit(offer 1 to W) ──► Committed ──► Send
    W refuses ──► Commit(offer 2 to V) ──► ...            W claims, and nobody else is asked

An intent is committed before anything else, and each offer before it is sent. It belongs to the
worker that it was offered to until that one's own record proves that it refused this offer or a
later one; time proves nothing. `asked` is what a worker that comes back is to be asked.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bartos.dispatch_events import (
    CancelAsked,
    Commit,
    Committed,
    DrainsChanged,
    Effect,
    Event,
    ExecAsked,
    GivenUp,
    Joined,
    Left,
    Note,
    Now,
    ParentsEnded,
    PausesChanged,
    Reported,
    Restored,
    RunAsked,
    SchedulesChanged,
    SendCancel,
    SendOffer,
    Tick,
)
from bartos.floating import (
    REMOVED,
    TOOK_ITS_PLACE,
    Floating,
    holds,
    in_us,
    patience_us,
    paused_text,
)
from bartos.plan import WorkerFacts, may_run, spec_of
from bartos.schedules import Definition
from bartos.store.orders import (
    ALL_SCHEDULES,
    NOBODY,
    RESTORED,
    Audit,
    CancelRow,
    Closing,
    CursorMove,
    DispatchChange,
    DispatchState,
    DrainRow,
    IntentRow,
    OfferRow,
    OpenIntent,
    ParentEnd,
    PauseRow,
)
from libbarto.identity import Kind, occurrence_id
from libbarto.message.v2.record import Claimed, Decided, Ended, Verdict
from libbarto.message.v2.schedule import SCHEDULE
from libbarto.session import OFFER_SPEC_MAX

GRACE_S: Final = 15.0
"""How long after its start a server gives workers to come back, before it offers what it finds:
their word may be that the database was restored."""
SILENCE_S: Final = 60.0
"""How long a worker is away until `on_silence = "reassign"` counts."""
REFUSED_FIRST_S: Final = 0.5
REFUSED_MOST_S: Final = 10.0
BEFORE: Final = "before"
"""The fact of how many of a spool's state records are from before the last restoration; its name
goes on with when that was, and with the spool."""
RESTORED_TEXT: Final = "the server's database was restored: nobody knows yet whether it started"

FAILED: Final = frozenset({Verdict.FAILED, Verdict.TIMED_OUT, Verdict.INTERRUPTED})
"""The verdicts that `when = "failed"` means."""


# -- what is remembered ---------------------------------------------------------------------------


class _Phase(enum.Enum):
    """With whom a start is."""

    OPEN = "open"  # with nobody: never offered, or the last offer is refused
    OFFERED = "offered"  # with the worker of its last offer
    CLAIMED = "claimed"


@dataclass(slots=True)
class _Start:
    """An intent that is not over."""

    row: IntentRow
    phase: _Phase = _Phase.OPEN
    offer: OfferRow | None = None
    loaded: bool = False
    """It is older than this dispatcher."""
    queued: bool = False
    """It waits for another run of its schedule."""
    refused_at: dict[bytes, tuple[int, float]] = field(default_factory=dict)
    """How often each worker refused it, and when last (boottime)."""

    @property
    def number(self) -> int:
        return 0 if self.offer is None else self.offer.number


@dataclass(frozen=True, slots=True)
class _Worker:
    """A worker that is connected."""

    session: bytes
    spool_id: bytes
    facts: WorkerFacts
    last: int
    """The number of its last state record when it greeted."""


@dataclass(frozen=True, slots=True)
class _Alive:
    """A run without a verdict, or a start that a worker has."""

    worker_uid: bytes
    slot: int


@dataclass(slots=True)
class _Draft:
    """What one event changes, gathered for one transaction."""

    now: Now
    cursors: list[CursorMove] = field(default_factory=list)
    forgotten: list[bytes] = field(default_factory=list)
    intents: list[IntentRow] = field(default_factory=list)
    offers: list[OfferRow] = field(default_factory=list)
    closings: list[Closing] = field(default_factory=list)
    cancels: list[CancelRow] = field(default_factory=list)
    cancelled: list[bytes] = field(default_factory=list)
    followed: list[bytes] = field(default_factory=list)
    facts: dict[str, int] = field(default_factory=dict)
    audits: list[Audit] = field(default_factory=list)
    then: list[SendOffer | SendCancel] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    look: bool = True
    """Whether what is with nobody may be offered now."""

    def effects(self) -> list[Effect]:
        change = DispatchChange(
            cursors=self.cursors,
            forgotten=self.forgotten,
            intents=self.intents,
            offers=self.offers,
            closings=self.closings,
            cancels=self.cancels,
            cancelled=self.cancelled,
            followed=self.followed,
            facts=self.facts,
            audits=self.audits,
        )
        effects: list[Effect] = [*self.notes]
        if change:
            return [*effects, Commit(change, tuple(self.then))]
        return [*effects, *self.then]


class Dispatcher:
    """Begins from what the store holds; `now` is when this server started."""

    def __init__(self, state: DispatchState, now: Now) -> None:
        self._began = now
        self._definitions: dict[bytes, Definition] = {}
        self.followed: frozenset[bytes] = frozenset()
        """The schedules whose runs others follow where the server chooses."""
        self.lost_after_us = 30 * 86_400_000_000
        """How long after its offer a start is given up whose worker never came back."""
        self._floating = Floating(state.cursors, now.wall)
        self._pauses: dict[bytes, PauseRow] = {}
        self._drains: dict[bytes, DrainRow] = {}
        self._restored_at = state.facts.get(RESTORED)
        self._restored_now = False
        self._facts = dict(state.facts)
        self._cancels = {row.run_id: row for row in state.cancels}
        self._workers: dict[bytes, _Worker] = {}
        self._greeting: dict[bytes, set[bytes]] = {}
        self._seen: set[bytes] = set()
        self._left_at: dict[bytes, float] = {}
        self._starts: dict[bytes, _Start] = {}
        self._with_nobody: set[bytes] = set()
        """Those of them that may be offered: of many orders, few are."""
        self._alive: dict[bytes, dict[bytes, _Alive]] = {}
        self._load: dict[bytes, set[bytes]] = {}
        self._schedule_of: dict[bytes, bytes] = {}
        self._over: list[IntentRow] = []
        for run in state.running:
            self._begins(run.run_id, run.schedule_uid, run.worker_uid, run.slot)
        for one in state.intents:
            self._take_up(one)

    def _take_up(self, one: OpenIntent) -> None:
        row = one.intent
        if one.ended:
            self._over.append(row)
            return
        start = self._starts[row.run_id] = _Start(row, offer=one.offer, loaded=True)
        if one.claimed_by is not None:
            self._now_is(start, _Phase.CLAIMED)
        elif one.offer is not None and not one.refused:
            self._now_is(start, _Phase.OFFERED)
            self._begins(row.run_id, row.schedule_uid, one.offer.worker_uid, row.slot)
        else:
            self._now_is(start, _Phase.OPEN)

    def _now_is(self, start: _Start, phase: _Phase) -> None:
        start.phase = phase
        if phase is _Phase.OPEN:
            self._with_nobody.add(start.row.run_id)
        else:
            self._with_nobody.discard(start.row.run_id)

    # -- asked by the shell -----------------------------------------------------------------------

    def next_due(self, now: Now) -> float:
        """Seconds until `Tick` has to come, at most 1: no long sleep is ever trusted."""
        slot = self._floating.next_due(settled=self._settled(now))
        return 1.0 if slot is None else max(0.0, min(1.0, (slot - now.wall) / 1e6))

    @property
    def idle(self) -> bool:
        """Is there nothing that time alone could bring about?"""
        return not self._starts and self._floating.next_due(settled=True) is None

    def asked(self, worker_uid: bytes, spool_id: bytes, session: bytes) -> list[tuple[bytes, int]]:
        """A worker greets: the starts (run, number of the offer) that are with its journal, of
        which it is to say what became of them. Until this session is confirmed or ends (`Joined`,
        `Left`), nothing is offered to it, so that none is left out."""
        self._greeting.setdefault(worker_uid, set()).add(session)
        return [
            (run_id, offer.number)
            for run_id, offer in self._offers_to(worker_uid)
            if offer.spool_id == spool_id
        ]

    def _offers_to(self, worker_uid: bytes) -> list[tuple[bytes, OfferRow]]:
        """The starts that are with a worker, and not claimed."""
        found = []
        for run_id in sorted(self._load.get(worker_uid, ())):
            start = self._starts.get(run_id)
            if start is not None and start.phase is _Phase.OFFERED and start.offer is not None:
                found.append((run_id, start.offer))
        return found

    def is_followed(self, run_id: bytes) -> bool:
        """May others follow this run, as far as is known of it?"""
        uid = self._schedule_of.get(run_id)
        return bool(self.followed) and (uid is None or uid in self.followed)

    def running(self, schedule_uid: bytes) -> dict[bytes, bytes]:
        """The runs of a schedule that have no verdict, and the starts that a worker has: each with
        its worker."""
        return {
            run_id: alive.worker_uid for run_id, alive in self._alive.get(schedule_uid, {}).items()
        }

    def pending(self, schedule_uid: bytes) -> list[bytes]:
        """The starts of a schedule that are with nobody."""
        return [
            run_id
            for run_id, start in self._starts.items()
            if start.row.schedule_uid == schedule_uid and start.phase is _Phase.OPEN
        ]

    def worker_of(self, run_id: bytes) -> bytes | None:
        """The worker that has a run, or a start; None where nobody has it."""
        uid = self._schedule_of.get(run_id)
        return None if uid is None else self._alive[uid][run_id].worker_uid

    def knows(self, run_id: bytes) -> bool:
        """Has this run no verdict yet, or is this start still to be made?"""
        return run_id in self._starts or run_id in self._schedule_of

    # -- events -----------------------------------------------------------------------------------

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """What follows from an event at `now`."""
        draft = _Draft(now)
        self._tidy(draft)
        match event:
            case Tick():
                self._decide(draft)
                self._expire(draft)
            case SchedulesChanged(definitions=definitions):
                self._decide(draft)
                self._take_on(definitions, draft)
            case PausesChanged(pauses=pauses):
                self._decide(draft)
                self._pauses = {row.schedule_uid: row for row in pauses}
            case DrainsChanged(drains=drains):
                self._drains = {row.worker_uid: row for row in drains}
            case Restored(worker_uid=uid):
                self._learn_restored(uid, draft)
            case Joined():
                self._joined(event, draft)
            case Left(worker_uid=uid, session=session):
                self._left(uid, session, draft)
            case Reported():
                self._reported(event, draft)
            case GivenUp(run_ids=run_ids):
                for run_id in run_ids:
                    self._ended(run_id, draft)
            case ParentsEnded(ends=ends):
                self._follow(ends, draft)
            case RunAsked():
                self._run_asked(event, draft)
            case ExecAsked():
                self._exec_asked(event, draft)
            case CancelAsked():
                self._cancel_asked(event, draft)
            case _:
                self._committed(event, draft)
        if draft.look:
            self._offer_all(draft)
        return draft.effects()

    def _tidy(self, draft: _Draft) -> None:
        """What was over when this dispatcher began."""
        draft.closings += [Closing(row, draft.now.wall) for row in self._over]
        self._over.clear()

    def _committed(self, event: Committed, draft: _Draft) -> None:
        for row in event.commit.change.intents:
            if row.run_id in event.made and row.run_id not in self._starts:
                self._starts[row.run_id] = start = _Start(row)
                self._now_is(start, _Phase.OPEN)
        draft.then += [
            send
            for send in event.commit.then
            if (worker := self._workers.get(send.worker_uid)) is not None
            and worker.session == send.session
        ]

    # -- runs and starts that are alive -----------------------------------------------------------

    def _begins(self, run_id: bytes, schedule_uid: bytes, worker_uid: bytes, slot: int) -> None:
        self._ends(run_id)
        self._schedule_of[run_id] = schedule_uid
        self._alive.setdefault(schedule_uid, {})[run_id] = _Alive(worker_uid, slot)
        self._load.setdefault(worker_uid, set()).add(run_id)

    def _ends(self, run_id: bytes) -> None:
        schedule_uid = self._schedule_of.pop(run_id, None)
        if schedule_uid is None:
            return
        alive = self._alive[schedule_uid].pop(run_id)
        if not self._alive[schedule_uid]:
            del self._alive[schedule_uid]
        self._load[alive.worker_uid].discard(run_id)

    def _rivals(self, start: _Start, definition: Definition, now: Now) -> dict[bytes, _Alive]:
        """The other runs of its schedule that are alive. With `on_silence = "reassign"`, one on a
        worker that is silent does not count."""
        return {
            run_id: alive
            for run_id, alive in self._alive.get(start.row.schedule_uid, {}).items()
            if run_id != start.row.run_id
            and not (definition.on_silence == "reassign" and self._is_silent(alive.worker_uid, now))
        }

    def _is_silent(self, worker_uid: bytes, now: Now) -> bool:
        if worker_uid in self._workers:
            return False
        since = self._left_at.get(worker_uid, self._began.boottime)
        return now.boottime - since >= SILENCE_S

    # -- workers ----------------------------------------------------------------------------------

    def _joined(self, event: Joined, draft: _Draft) -> None:
        uid = event.facts.uid
        self._seen.add(uid)
        worker = _Worker(event.session, event.spool_id, event.facts, event.last)
        self._workers[uid] = worker
        self._bound(worker, draft)
        self._no_longer_greeting(uid, event.session)
        for run_id, offer in self._offers_to(uid):
            if offer.spool_id != event.spool_id:
                name = event.facts.name
                reason = f"{name} came back without its journal: nobody knows whether it started"
                self._close(self._starts[run_id], Verdict.LOST, reason, draft)
        draft.then += [
            SendCancel(uid, event.session, row.run_id, _cancel_text(row))
            for row in self._cancels.values()
            if row.worker_uid == uid
        ]

    def _left(self, uid: bytes, session: bytes, draft: _Draft) -> None:
        self._no_longer_greeting(uid, session)
        worker = self._workers.get(uid)
        if worker is not None and worker.session == session:
            del self._workers[uid]
            self._left_at[uid] = draft.now.boottime

    def _no_longer_greeting(self, uid: bytes, session: bytes) -> None:
        greeting = self._greeting.get(uid, set())
        greeting.discard(session)
        if not greeting:
            self._greeting.pop(uid, None)

    def _learn_restored(self, uid: bytes | None, draft: _Draft) -> None:
        """This server saw more committed than the store has, or a worker more acknowledged. So says
        each that comes back, and it counts once: again only where this server has seen that worker
        before."""
        if uid in self._seen or not self._restored_now:
            self._give_up_all(draft)

    def _give_up_all(self, draft: _Draft) -> None:
        """The database is an older copy: what was offered since is not known to anybody but the
        workers, whose records will tell (DESIGN section 4)."""
        self._restored_now = True
        now = draft.now.wall
        self._restored_at = draft.facts[RESTORED] = now
        for worker in self._workers.values():
            self._bound(worker, draft)
        starts = [one for one in self._starts.values() if one.phase is not _Phase.CLAIMED]
        for start in starts:
            self._close(start, Verdict.LOST, RESTORED_TEXT, draft)
        decided, slots = self._floating.restored(now, RESTORED_TEXT)
        draft.cursors += decided.moves
        draft.audits.append(Audit(now, "restored", {"starts": len(starts), "slots": slots}))
        draft.notes.append(
            Note(
                "error",
                "the database was restored from an older copy; workers send again what it lacks",
                {"open_starts_lost": len(starts), "planned_starts_lost": slots},
            )
        )

    def _bound(self, worker: _Worker, draft: _Draft) -> None:
        """At a worker's first greeting after a restoration: what it has by now, it may have
        reported to the database that was lost. By number, as its clock may be wrong."""
        if self._restored_at is None:
            return
        name = _before(self._restored_at, worker.spool_id)
        if name not in self._facts:
            self._facts[name] = draft.facts[name] = worker.last

    def _is_from_before(self, end: ParentEnd) -> bool:
        """May this end have been followed before the database was restored? So it may where its
        worker has not greeted since: then it is of the older copy itself."""
        if self._restored_at is None:
            return False
        last = self._facts.get(_before(self._restored_at, end.spool_id))
        return last is None or end.seq <= last or end.ended_at <= self._restored_at

    # -- what workers report ----------------------------------------------------------------------

    def _reported(self, event: Reported, draft: _Draft) -> None:
        record = event.record
        run_id = record.run_id
        if run_id is None or not self._is_its_own(run_id, event.worker_uid):
            return  # slots of the calendar; or of another worker's run, which the store puts aside
        start = self._starts.get(run_id)
        schedule_uid = self._schedule_of.get(run_id, b"")
        definition = self._definitions.get(schedule_uid)
        draft.look = definition is not None and definition.floating
        match record:
            case Claimed(schedule_uid=schedule_uid, slot=slot):
                self._begins(run_id, schedule_uid, event.worker_uid, slot)
                draft.look = False
                if start is not None:
                    self._now_is(start, _Phase.CLAIMED)
            case Ended(final=final):
                if final:
                    self._ended(run_id, draft)
            case Decided():
                self._ended(run_id, draft)
            case _:
                self._refused(event, run_id, record.number, draft)

    def _is_its_own(self, run_id: bytes, worker_uid: bytes) -> bool:
        """Whether this worker may tell of this run, as far as is known here."""
        schedule_uid = self._schedule_of.get(run_id)
        if schedule_uid is not None:
            return self._alive[schedule_uid][run_id].worker_uid == worker_uid
        start = self._starts.get(run_id)
        return start is None or start.row.worker_uid in {NOBODY, worker_uid}

    def _ended(self, run_id: bytes, draft: _Draft) -> None:
        """A run, or a start that a worker decided not to make, has its verdict."""
        self._ends(run_id)
        self._cancel_done(run_id, draft)
        self._with_nobody.discard(run_id)
        start = self._starts.pop(run_id, None)
        if start is not None:
            draft.closings.append(Closing(start.row, draft.now.wall))

    def _cancel_done(self, run_id: bytes, draft: _Draft) -> CancelRow | None:
        row = self._cancels.pop(run_id, None)
        if row is not None:
            draft.cancelled.append(run_id)
        return row

    def _refused(self, event: Reported, run_id: bytes, number: int, draft: _Draft) -> None:
        start = self._starts.get(run_id)
        if start is None or start.phase is not _Phase.OFFERED or start.offer is None:
            return
        offer = start.offer
        if (offer.worker_uid, offer.spool_id) != (event.worker_uid, event.spool_id):
            return
        if number < offer.number:
            return  # of an earlier offer: it says nothing of this one
        draft.look = True
        self._now_is(start, _Phase.OPEN)
        self._ends(run_id)
        cancel = self._cancel_done(run_id, draft)
        if cancel is not None:
            self._close(start, Verdict.CANCELLED, _cancel_text(cancel), draft)
            return
        if self._is_removed(start.row):
            self._close(start, Verdict.SKIPPED, REMOVED, draft)
            return
        times, _ = start.refused_at.get(event.worker_uid, (0, 0.0))
        start.refused_at[event.worker_uid] = times + 1, draft.now.boottime

    # -- closing ----------------------------------------------------------------------------------

    def _close(self, start: _Start, verdict: Verdict, reason: str, draft: _Draft) -> None:
        """A start is over, by the server's own verdict."""
        row = start.row
        self._starts.pop(row.run_id, None)
        self._with_nobody.discard(row.run_id)
        self._ends(row.run_id)
        self._cancel_done(row.run_id, draft)
        draft.closings.append(Closing(row, draft.now.wall, verdict, reason))

    def _expire(self, draft: _Draft) -> None:
        """What nobody took in time, or what a worker took along for ever."""
        now = draft.now
        for start in list(self._starts.values()):
            offer = start.offer
            if start.phase is _Phase.OPEN and now.wall > self._deadline(start):
                if start.queued:
                    reason = "overlap: another run went on for longer than catch_up"
                    self._close(start, Verdict.SKIPPED, reason, draft)
                else:
                    self._close(start, Verdict.MISSED, self._why_missed(start), draft)
            elif start.phase is _Phase.OFFERED and offer is not None:
                away = offer.worker_uid not in self._workers
                if away and now.wall - offer.at > self.lost_after_us:
                    reason = "the worker that it was given to never came back"
                    self._close(start, Verdict.LOST, reason, draft)
                elif away:
                    self._reassign_if_silent(start, offer, draft)

    def _deadline(self, start: _Start) -> int:
        definition = self._definitions.get(start.row.schedule_uid)
        if not start.queued or definition is None:
            return start.row.until
        return max(start.row.until, start.row.created_at + in_us(definition.catch_up))

    def _why_missed(self, start: _Start) -> str:
        if start.row.worker_uid != NOBODY:
            how = "was drained, away" if start.row.worker_uid in self._drains else "was away"
            return f"{start.row.worker} {how}, or took no starts, for longer than catch_up"
        if start.refused_at:
            return "the workers that match took no starts for longer than catch_up"
        return "no worker that matches was there for longer than catch_up"

    def _reassign_if_silent(self, start: _Start, offer: OfferRow, draft: _Draft) -> None:
        """`on_silence = "reassign"`: another worker gets a start of its own in place of this one,
        which is *lost* until its worker says otherwise."""
        row = start.row
        definition = self._definitions.get(row.schedule_uid)
        if (
            definition is None
            or definition.on_silence != "reassign"
            or row.worker_uid != NOBODY
            or row.run_id in self._cancels
            or not self._is_silent(offer.worker_uid, draft.now)
        ):
            return
        again = replace(
            row,
            run_id=occurrence_id(Kind.MANUAL, row.schedule_uid, b"", row.slot, row.run_id),
            kind=int(Kind.MANUAL),
            cause=row.run_id,
            created_at=draft.now.wall,
            until=draft.now.wall + patience_us(definition),
            who="on_silence",
            reason="the worker that it was given to went silent, so it may run twice",
        )
        reason = "its worker went silent, and the start was given to another (on_silence)"
        self._close(start, Verdict.LOST, reason, draft)
        draft.intents.append(again)

    # -- schedules --------------------------------------------------------------------------------

    def _decide(self, draft: _Draft) -> None:
        """Decide what is due of the schedules that the server fires."""
        now = draft.now
        decided = self._floating.decide(
            now.wall, now.boottime, self._pauses, settled=self._settled(now)
        )
        draft.cursors += decided.moves
        for row in decided.starts:
            if self._definitions[row.schedule_uid].missed == "latest":
                self._displace(row.schedule_uid, draft)
        draft.intents += decided.starts
        if decided.clock_back:
            text = "the clock was accepted though it reads earlier than before"
            draft.notes.append(Note("warning", text))

    def _settled(self, now: Now) -> bool:
        return now.boottime - self._began.boottime >= GRACE_S

    def _displace(self, uid: bytes, draft: _Draft) -> None:
        """With `missed = "latest"` a newer start satisfies those that still wait for a worker."""
        for start in list(self._starts.values()):
            row = start.row
            if (row.schedule_uid, row.kind) == (uid, Kind.CALENDAR) and (
                start.phase is _Phase.OPEN and not start.queued
            ):
                self._close(start, Verdict.MISSED, TOOK_ITS_PLACE, draft)

    def _take_on(self, definitions: Sequence[Definition], draft: _Draft) -> None:
        self._definitions = {one.uid: one for one in definitions if one.enabled}
        parents = (one.parent_uid for one in self._definitions.values() if one.floating)
        self.followed = frozenset(uid for uid in parents if uid is not None)
        decided = self._floating.take_on(self._definitions.values(), draft.now.wall)
        draft.cursors += decided.moves
        draft.forgotten += decided.forgotten
        for start in list(self._starts.values()):
            if start.phase is _Phase.OPEN and self._is_removed(start.row):
                self._close(start, Verdict.SKIPPED, REMOVED, draft)

    def _is_removed(self, row: IntentRow) -> bool:
        """Did nobody ask for this start, and is its schedule gone?"""
        by_itself = row.kind in {Kind.CALENDAR, Kind.FOLLOW}
        return by_itself and row.schedule_uid not in self._definitions

    # -- follow-ups -------------------------------------------------------------------------------

    def _follow(self, ends: Sequence[ParentEnd], draft: _Draft) -> None:
        """Each run that ended as they wish brings about one start of each that follows it."""
        now = draft.now.wall
        for end in ends:
            draft.followed.append(end.run_id)
            for definition in self._definitions.values():
                if not definition.floating or definition.parent_uid != end.schedule_uid:
                    continue
                if not wants(definition.when, end.verdict):
                    continue
                row = IntentRow(
                    run_id=occurrence_id(Kind.FOLLOW, definition.uid, b"", end.slot, end.run_id),
                    kind=int(Kind.FOLLOW),
                    schedule_uid=definition.uid,
                    schedule=definition.name,
                    slot=end.slot,
                    cause=end.run_id,
                    spec=SCHEDULE.encode(spec_of(definition)),
                    created_at=now,
                    until=now + patience_us(definition),
                )
                draft.intents.append(row)
                pause = self._pause_of(definition.uid, now)
                if self._is_from_before(end):
                    draft.closings.append(Closing(row, now, Verdict.LOST, RESTORED_TEXT))
                elif pause is not None:
                    reason = paused_text(pause)
                    draft.closings.append(Closing(row, now, Verdict.SKIPPED, reason))

    def _pause_of(self, uid: bytes, now: int) -> PauseRow | None:
        pauses = (self._pauses.get(key) for key in (uid, ALL_SCHEDULES))
        return next((one for one in pauses if one is not None and holds(one, now)), None)

    # -- by hand ----------------------------------------------------------------------------------

    def _run_asked(self, event: RunAsked, draft: _Draft) -> None:
        now = draft.now.wall
        names = set()
        for wanted in event.wanted:
            definition = self._definitions.get(wanted.schedule_uid)
            if definition is None:
                continue
            names.add(definition.name)
            uid, name = (NOBODY, "") if wanted.worker is None else wanted.worker
            of = b"" if wanted.worker is None else uid
            draft.intents.append(
                IntentRow(
                    run_id=occurrence_id(Kind.MANUAL, definition.uid, of, now, event.request),
                    kind=int(Kind.MANUAL),
                    schedule_uid=definition.uid,
                    schedule=definition.name,
                    slot=now,
                    cause=event.request,
                    spec=SCHEDULE.encode(spec_of(definition)),
                    created_at=now,
                    until=now + patience_us(definition),
                    worker_uid=uid,
                    worker=name,
                    request=event.request,
                    who=event.who,
                    reason=event.reason,
                )
            )
        facts: dict[str, object] = {
            "who": event.who,
            "reason": event.reason,
            "schedules": sorted(names),
            "workers": sorted(one.worker[1] for one in event.wanted if one.worker is not None),
            "request": event.request.hex(),
        }
        if event.again:
            facts["again"] = [run_id.hex() for run_id in event.again]
        kind = "rerun asked" if event.again else "run asked"
        draft.audits.append(Audit(now, kind, facts))

    def _exec_asked(self, event: ExecAsked, draft: _Draft) -> None:
        """A command of nobody's schedule: an order to each worker, as those of schedules are."""
        now, spec = draft.now.wall, event.spec
        draft.intents += [
            IntentRow(
                run_id=occurrence_id(Kind.EXEC, spec.uid, uid, now, event.request),
                kind=int(Kind.EXEC),
                schedule_uid=spec.uid,
                schedule=spec.name,
                slot=now,
                cause=event.request,
                spec=SCHEDULE.encode(spec),
                created_at=now,
                until=now + event.patience_us,
                worker_uid=uid,
                worker=name,
                request=event.request,
                who=event.who,
                reason=event.reason,
            )
            for uid, name in event.workers
        ]
        facts = {
            "who": event.who,
            "reason": event.reason,
            "command": list(spec.steps),
            "workers": sorted(name for _, name in event.workers),
            "request": event.request.hex(),
        }
        draft.audits.append(Audit(now, "exec asked", facts))

    def _cancel_asked(self, event: CancelAsked, draft: _Draft) -> None:
        now = draft.now.wall
        for run_id in event.run_ids:
            self._cancel(CancelRow(run_id, NOBODY, event.who, now, event.reason), draft)
        facts = {
            "who": event.who,
            "reason": event.reason,
            "runs": [run_id.hex() for run_id in event.run_ids],
        }
        draft.audits.append(Audit(now, "cancel asked", facts))

    def _cancel(self, row: CancelRow, draft: _Draft) -> None:
        """End what is with nobody at once; for the rest tell its worker, now and whenever it comes
        back, until it has ended."""
        start = self._starts.get(row.run_id)
        if start is not None and start.phase is _Phase.OPEN:
            self._close(start, Verdict.CANCELLED, _cancel_text(row), draft)
            return
        schedule_uid = self._schedule_of.get(row.run_id)
        if schedule_uid is None or row.run_id in self._cancels:
            return
        uid = self._alive[schedule_uid][row.run_id].worker_uid
        row = replace(row, worker_uid=uid)
        self._cancels[row.run_id] = row
        draft.cancels.append(row)
        worker = self._workers.get(uid)
        if worker is not None:
            draft.then.append(SendCancel(uid, worker.session, row.run_id, _cancel_text(row)))

    # -- offers -----------------------------------------------------------------------------------

    def _offer_all(self, draft: _Draft) -> None:
        """Offer what is with nobody, the earliest slot first."""
        opened = (self._starts[run_id] for run_id in self._with_nobody)
        for start in sorted(opened, key=lambda one: (one.row.slot, one.row.run_id)):
            if draft.now.wall <= self._deadline(start):
                self._offer_one(start, draft)

    def _offer_one(self, start: _Start, draft: _Draft) -> None:
        row = start.row
        older = start.loaded or row.kind == Kind.FOLLOW
        if row.worker_uid == NOBODY and older and not self._settled(draft.now):
            return  # it may have been made before, and that be lost with the database
        definition = self._definitions.get(row.schedule_uid)
        if (
            definition is not None
            and definition.floating
            and not self._overlap_allows(start, definition, draft)
        ):
            return
        worker = self._best(start, definition, draft.now)
        if worker is None:
            return
        if len(row.spec) > OFFER_SPEC_MAX:
            reason = (
                f"its commands are too long to be sent for a single start: {len(row.spec)} bytes"
            )
            self._close(start, Verdict.MISSED, reason, draft)
            return
        uid = worker.facts.uid
        offer = OfferRow(row.run_id, start.number + 1, uid, worker.spool_id, draft.now.wall)
        start.offer, start.queued = offer, False
        self._now_is(start, _Phase.OFFERED)
        self._begins(row.run_id, row.schedule_uid, uid, row.slot)
        draft.offers.append(offer)
        draft.then.append(SendOffer(uid, worker.session, row, offer.number))

    def _overlap_allows(self, start: _Start, definition: Definition, draft: _Draft) -> bool:
        """Judge `overlap` over the fleet, for what the server gives to workers."""
        rivals = self._rivals(start, definition, draft.now)
        if not rivals or definition.overlap == "allow":
            return True
        row = start.row
        if row.caught_up:
            return False  # it starts when the former has ended
        match definition.overlap:
            case "queue":
                self._queue(start, draft)
            case "replace":
                if any(rival.slot > row.slot for rival in rivals.values()):
                    reason = "overlap: a newer run was going on"
                    self._close(start, Verdict.SKIPPED, reason, draft)
                    return False
                self._queue(start, draft)
                text = "a newer start takes its place"
                for run_id in sorted(rivals):
                    self._cancel(CancelRow(run_id, NOBODY, "overlap", draft.now.wall, text), draft)
            case _:
                self._close(start, Verdict.SKIPPED, "overlap: it was still running", draft)
        return False

    def _queue(self, start: _Start, draft: _Draft) -> None:
        """Let it wait, alone: the newest stays."""
        start.queued = True
        others = [
            other
            for other in self._starts.values()
            if other.queued and other.row.schedule_uid == start.row.schedule_uid
        ]
        for other in sorted(others, key=lambda one: (one.row.slot, one.row.run_id))[:-1]:
            self._close(other, Verdict.SKIPPED, "overlap: a newer start waits in its place", draft)

    def _best(self, start: _Start, definition: Definition | None, now: Now) -> _Worker | None:
        """The worker that gets it: the one that was named, or the least loaded of those that
        match, spread by a stable hash where several are equal; one that has refused it comes last,
        and after a while."""
        row = start.row
        found: Iterable[_Worker]
        if row.worker_uid != NOBODY:
            found = filter(None, (self._workers.get(row.worker_uid),))
        elif definition is None:
            return None
        else:
            found = (one for one in self._workers.values() if may_run(definition, one.facts))

        def rank(worker: _Worker) -> tuple[int, int, bytes]:
            uid = worker.facts.uid
            refused, _ = start.refused_at.get(uid, (0, 0.0))
            spread = hashlib.sha256(row.run_id + uid).digest()
            return refused, len(self._load.get(uid, ())), spread

        ready = (one for one in found if self._may_be_asked(start, one.facts.uid, now))
        return min(ready, key=rank, default=None)

    def _may_be_asked(self, start: _Start, uid: bytes, now: Now) -> bool:
        if uid in self._greeting:
            return False
        drain = self._drains.get(uid)
        if drain is not None and holds(drain, now.wall):
            return False
        times, at = start.refused_at.get(uid, (0, 0.0))
        pause = min(REFUSED_MOST_S, REFUSED_FIRST_S * 2 ** min(times, 10)) if times else 0.0
        return now.boottime >= at + pause or not times


def _before(restored_at: int, spool_id: bytes) -> str:
    return f"{BEFORE} {restored_at} {spool_id.hex()}"


def _cancel_text(row: CancelRow) -> str:
    return f"cancelled by {row.who}" + (f": {row.reason}" if row.reason else "")


def wants(when: str, verdict: Verdict) -> bool:
    """Whether a follow-up of this `when` comes after a run with this verdict.

    >>> wants("failed", Verdict.TIMED_OUT), wants("ok", Verdict.CANCELLED)
    (True, False)
    """
    match when:
        case "ok":
            return verdict is Verdict.OK
        case "failed":
            return verdict in FAILED
        case _:
            return True
