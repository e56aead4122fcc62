"""A dispatcher on a store in memory, for tests: workers are names, and time moves when told to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from bartos.dispatch_events import (
    CancelAsked,
    Commit,
    Committed,
    Event,
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
    Wanted,
)
from bartos.dispatcher import Dispatcher
from bartos.plan import WorkerFacts
from bartos.schedules import Definition, load_schedules
from bartos.store.memory_orders import MemoryOrders
from bartos.store.orders import Audit, OrderRow, PauseRow
from bartos.store.port import RunRow, SlotRange
from libbarto.identity import schedule_uid
from libbarto.message.v2.record import Claimed, Decided, Ended, OfferRefused, Verdict

MIDNIGHT = 1_800_057_600_000_000
"""2027-01-16T00:00:00Z."""
SECOND = 1_000_000


def named(text: str) -> bytes:
    """16 bytes that stand for a name."""
    return hashlib.sha256(text.encode()).digest()[:16]


@dataclass
class Past:
    """What the rest of a store has: runs, ranges, and offers that were refused."""

    runs: dict[bytes, RunRow] = field(default_factory=dict)
    ranges: list[SlotRange] = field(default_factory=list)
    refused: dict[tuple[bytes, bytes, bytes], int] = field(default_factory=dict)
    audits: list[Audit] = field(default_factory=list)

    def run_row(self, run_id: bytes) -> RunRow | None:
        return self.runs.get(run_id)

    def running_rows(self) -> Iterable[RunRow]:
        return [run for run in self.runs.values() if run.verdict is None]

    def range_rows(self) -> list[SlotRange]:
        return self.ranges

    def put_ranges(self, rows: list[SlotRange]) -> None:
        self.ranges = rows

    def tell(self, audit: Audit) -> None:
        self.audits.append(audit)

    def refused_up_to(self, run_id: bytes, worker_uid: bytes, spool_id: bytes) -> int:
        return self.refused.get((run_id, worker_uid, spool_id), 0)


class Desk:
    """The dispatcher, its store, and who is there."""

    def __init__(self, toml: str, *, wall: int = MIDNIGHT) -> None:
        self.wall = wall
        self.boottime = 1000.0
        self.past = Past()
        self.store = MemoryOrders(self.past)
        self.toml = toml
        self.sent: list[SendOffer | SendCancel] = []
        self.notes: list[Note] = []
        self.commits = 0
        self.lose_answers = False
        self.sessions: dict[str, bytes] = {}
        self.spools: dict[str, bytes] = {}
        self._count = 0
        self.dispatcher = Dispatcher(self.store.state(), self.now)
        self.do(SchedulesChanged(self.definitions))

    @property
    def now(self) -> Now:
        return Now(self.wall, self.boottime)

    @property
    def definitions(self) -> tuple[Definition, ...]:
        return load_schedules([("bartos.toml", self.toml)])

    # -- the loop ---------------------------------------------------------------------------------

    def do(self, event: Event) -> None:
        """An event, and all that follows from it."""
        effects = list(self.dispatcher.handle(event, self.now))
        while effects:
            effect = effects.pop(0)
            if isinstance(effect, Commit):
                self.commits += 1
                made = self.store.commit(effect.change)
                if self.lose_answers:
                    made = self.store.commit(effect.change)  # the same once more
                effects += self.dispatcher.handle(Committed(effect, made), self.now)
            elif isinstance(effect, Note):
                self.notes.append(effect)
            else:
                self.sent.append(effect)

    def restart(self) -> None:
        """The server dies and comes back: everything that is not in the store is gone."""
        self.sessions = {}
        self.sent = []
        self.dispatcher = Dispatcher(self.store.state(), self.now)
        self.do(PausesChanged(self.store.pauses()))
        self.do(SchedulesChanged(self.definitions))

    def advance(self, seconds: float) -> None:
        """Time passes, with a tick whenever one is due."""
        end = self.boottime + seconds
        while True:
            wait = min(max(self.dispatcher.next_due(self.now), 0.001), end - self.boottime)
            self.boottime += wait
            self.wall += round(wait * SECOND)
            self.do(Tick())
            if self.boottime >= end - 1e-9:
                return

    def sleep(self, seconds: float) -> None:
        """Time passes while nobody ticks: the server is down, or busy."""
        self.boottime += seconds
        self.wall += round(seconds * SECOND)

    # -- workers ----------------------------------------------------------------------------------

    def greet(self, name: str, spool: str = "") -> tuple[bytes, list[tuple[bytes, int]]]:
        """A worker says hello: its session, and what it is asked."""
        self._count += 1
        session = named(f"session {name} {self._count}")
        spool_id = named(f"spool {name} {spool}")
        self.spools[name] = spool_id
        return session, self.dispatcher.asked(named(name), spool_id, session)

    def join(
        self,
        name: str,
        spool: str = "",
        *,
        restored: bool = False,
        last: int = 0,
        labels: dict[str, str] | None = None,
        root: bool | None = None,
    ) -> list[tuple[bytes, int]]:
        """A worker says hello, with so many state records, and its session is confirmed; returns
        what it is asked."""
        session, asked = self.greet(name, spool)
        self.sessions[name] = session
        facts = WorkerFacts(name, named(name), labels or {}, root=root)
        if restored:
            self.do(Restored(named(name)))
        self.do(Joined(session, self.spools[name], facts, last))
        return asked

    def leave(self, name: str) -> None:
        self.do(Left(named(name), self.sessions.pop(name)))

    def offers(self, name: str | None = None) -> list[SendOffer]:
        """What was offered since the last look (to one worker)."""
        found = [
            one
            for one in self.sent
            if isinstance(one, SendOffer) and name in {None, self.name(one.worker_uid)}
        ]
        self.sent = [one for one in self.sent if one not in found]
        return found

    def cancels(self) -> list[tuple[str, bytes]]:
        """Whom was told to end what, since the last look."""
        found = [one for one in self.sent if isinstance(one, SendCancel)]
        self.sent = [one for one in self.sent if one not in found]
        return [(self.name(one.worker_uid), one.run_id) for one in found]

    def name(self, uid: bytes) -> str:
        return next(name for name in self.spools if named(name) == uid)

    def _tell(self, name: str, record: Claimed | Ended | Decided | OfferRefused) -> None:
        self.do(Reported(named(name), self.spools[name], record))

    def claim(self, name: str, offer: SendOffer) -> None:
        """The worker claims what it was offered."""
        row = offer.intent
        self.claims(
            name, row.run_id, row.schedule_uid, row.schedule, row.slot, row.kind, offer.number
        )

    def claims(
        self,
        name: str,
        run_id: bytes,
        uid: bytes,
        schedule: str,
        slot: int,
        kind: int = 0,
        number: int = 0,
    ) -> None:
        """A claim is committed, and told."""
        self.past.ranges = [
            row
            for row in self.past.ranges
            if row.run_id != run_id or row.verdict is not Verdict.LOST
        ]
        self.past.runs[run_id] = RunRow(
            run_id=run_id, attempt=1, schedule_uid=uid, schedule=schedule,
            worker_uid=named(name), worker=name, kind=kind, slot=slot, claimed_at=self.wall,
            late_us=0, generation=0, started_at=None, ended_at=None, verdict=None, reason="",
            exit_code=None, signal=None, complete=False, bytes_out=0, bytes_err=0, cut_bytes=0,
            cut_lines=0,
        )  # fmt: skip
        record = Claimed(
            run_id=run_id, attempt=1, kind=kind, schedule_uid=uid, schedule=schedule, slot=slot,
            at=self.wall, offer=number,
        )  # fmt: skip
        self._tell(name, record)

    def end(
        self,
        name: str,
        run_id: bytes,
        verdict: Verdict = Verdict.OK,
        *,
        final: bool = True,
        seq: int = 1,
        at: int | None = None,
    ) -> None:
        """A run ends: now, or at an instant by its host's clock; the worker's record number `seq`
        tells it."""
        at = self.wall if at is None else at
        if final:
            run = replace(self.past.runs[run_id], verdict=verdict, ended_at=at)
            self.past.runs[run_id] = run
            self.store.run_ended(run, self.spools[name], seq)
        record = Ended(run_id=run_id, attempt=1, verdict=int(verdict), ended_at=at, final=final)
        self._tell(name, record)
        if ends := self.store.parent_ends(1000):
            self.do(ParentsEnded(ends))

    def refuse(self, name: str, run_id: bytes, number: int) -> None:
        """The worker refuses offers up to a number, for good."""
        self.past.refused[run_id, named(name), self.spools[name]] = number
        self._tell(name, OfferRefused(run_id=run_id, number=number))

    def decide(self, name: str, offer: SendOffer, verdict: Verdict, reason: str) -> None:
        """The worker has a verdict of an order, and does not start it."""
        row = offer.intent
        self.past.ranges.append(
            SlotRange(
                row.schedule_uid, row.schedule, named(name), name, row.slot, row.slot, 1, verdict,
                reason, self.wall, row.run_id, row.kind,
            )
        )  # fmt: skip
        record = Decided(
            schedule_uid=row.schedule_uid, schedule=row.schedule, first_slot=row.slot,
            last_slot=row.slot, count=1, verdict=int(verdict), reason=reason, run_id=row.run_id,
            kind=row.kind, cause=row.cause,
        )  # fmt: skip
        self._tell(name, record)

    # -- by hand ----------------------------------------------------------------------------------

    def run(self, schedule: str, *workers: str, request: str = "request") -> bytes:
        """Somebody wants a run (on each of these workers)."""
        self.do(self.run_asked(schedule, *workers, request=request))
        return named(request)

    def run_asked(self, schedule: str, *workers: str, request: str = "request") -> RunAsked:
        uid = schedule_uid(schedule)
        wanted = [Wanted(uid, (named(name), name)) for name in workers] or [Wanted(uid)]
        return RunAsked(named(request), wanted, "ann", "to try it")

    def cancel(self, *run_ids: bytes) -> None:
        self.do(CancelAsked(run_ids, "ann", "it hangs"))

    def pause(self, *rows: PauseRow) -> None:
        """These pauses are in force, and no others."""
        self.store.change_pauses(rows, [one.schedule_uid for one in self.store.pauses()], [])
        self.do(PausesChanged(rows))

    def configure(self, toml: str) -> None:
        self.toml = toml
        self.do(SchedulesChanged(self.definitions))
        self.store.watch(self.dispatcher.followed)

    # -- what became of it ------------------------------------------------------------------------

    def verdicts(self) -> list[tuple[float, float, int, str, str]]:
        """First and last slot (seconds after midnight), how many, verdict, why: by slot."""
        return sorted(
            (
                (row.first_slot - MIDNIGHT) / SECOND,
                (row.last_slot - MIDNIGHT) / SECOND,
                row.count,
                row.verdict.word,
                row.reason,
            )
            for row in self.past.ranges
        )

    def words(self) -> list[tuple[float, str]]:
        """First slot and verdict, by slot."""
        return [(first, verdict) for first, _, _, verdict, _ in self.verdicts()]

    def order(self, run_id: bytes) -> OrderRow:
        (row,) = self.store.orders(None, run_id)
        return row
