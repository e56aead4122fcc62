"""Whatever dies in between, and in whatever order: no start of the server's is made twice.

Walks are drawn from a seed. The workers here have journals of their own: what they claim is the
truth that the dispatcher does not see until a record of it arrives.
"""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field, replace

import pytest

from bartos.dispatch_events import Joined, Left, Reported, Restored, SendOffer
from bartos.dispatcher import GRACE_S
from bartos.plan import WorkerFacts
from bartos.store.port import RunRow, SlotRange
from libbarto.identity import schedule_uid
from libbarto.message.v2.record import Claimed, Ended, OfferRefused, Verdict
from tests.desk import Desk, Past, named

NAMES = ("han", "leia", "luke")
REPORT = schedule_uid("report")
TOML = """
[[schedule]]
name = "report"
workers = "*"
pick = "one"
on_calendar = "*:*"
overlap = "OVERLAP"
missed = "MISSED"
catch_up = "5m"
cmds = ["true"]

[[schedule]]
name = "backup"
workers = "*"
on_calendar = "2040-01-01"
cmds = ["true"]
"""

Record = Claimed | Ended | OfferRefused


@dataclass
class Journal:
    """A worker's disk: what it claimed and refused, and the records that tell of it, in order."""

    number: int = 0
    claims: set[bytes] = field(default_factory=set)
    alive: dict[bytes, SendOffer] = field(default_factory=dict)
    refused: dict[bytes, int] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    acknowledged: int = 0


class Walk:
    """A desk, workers with journals, and a link to each that may fail at any step."""

    def __init__(self, seed: int, *, restores: bool) -> None:
        self.luck = random.Random(seed)
        overlap = self.luck.choice(("skip", "queue", "replace", "allow"))
        missed = self.luck.choice(("latest", "all", "none"))
        self.desk = Desk(TOML.replace("OVERLAP", overlap).replace("MISSED", missed))
        self.restores = restores
        # Each walk likes some steps and avoids others: together they go where no average walk does.
        liked = ("deliver_offer", "deliver_record", "end_run", "wait", "join", "cut")
        self.bias = {name: self.luck.choice((0.2, 1.0, 4.0)) for name in liked}
        self.willing = self.luck.choice((0.2, 0.5, 0.9))
        self.journals = {name: Journal() for name in NAMES}
        self.inbox: dict[str, list[SendOffer]] = {name: [] for name in NAMES}
        self.starts: dict[bytes, int] = {}
        self.marks: dict[bytes, int] = {}
        self.back_up()

    # -- steps ------------------------------------------------------------------------------------

    def step(self) -> None:
        steps = [
            *((self.deliver_offer, 9), (self.deliver_record, 6), (self.end_run, 3)),
            *((self.wait, 6), (self.join, 9), (self.cut, 2), (self.lose_journal, 0.3)),
            *((self.restart, 0.7), (self.run_by_hand, 1), (self.cancel, 1)),
        ]
        if self.restores:
            steps += [(self.back_up, 0.5), (self.restore, 0.4)]
        self.luck.choices(
            [work for work, _ in steps],
            [weight * self.bias.get(work.__name__, 1.0) for work, weight in steps],
        )[0]()
        self.sort_mail()

    def sort_mail(self) -> None:
        for offer in self.desk.offers():
            name = self.desk.name(offer.worker_uid)
            if self.desk.sessions.get(name) == offer.session:
                self.inbox[name].append(offer)
        self.desk.cancels()

    def deliver_offer(self) -> None:
        name = self.luck.choice(NAMES)
        if not self.inbox[name]:
            return
        offer = self.inbox[name].pop(0)
        journal, run_id = self.journals[name], offer.intent.run_id
        if run_id in journal.claims or journal.refused.get(run_id, 0) >= offer.number:
            return
        if self.luck.random() > self.willing:
            self.refuse(journal, run_id, offer.number)
            return
        journal.claims.add(run_id)
        journal.alive[run_id] = offer
        self.starts[run_id] = self.starts.get(run_id, 0) + 1
        row = offer.intent
        journal.records.append(
            Claimed(
                run_id=run_id, attempt=1, kind=row.kind, schedule_uid=row.schedule_uid,
                schedule=row.schedule, slot=row.slot, at=self.desk.wall, offer=offer.number,
            )
        )  # fmt: skip

    def refuse(self, journal: Journal, run_id: bytes, number: int) -> None:
        journal.refused[run_id] = max(number, journal.refused.get(run_id, 0))
        journal.records.append(OfferRefused(run_id=run_id, number=number))

    def end_run(self) -> None:
        journal = self.journals[self.luck.choice(NAMES)]
        if journal.alive:
            run_id = self.luck.choice(sorted(journal.alive))
            del journal.alive[run_id]
            journal.records.append(
                Ended(run_id=run_id, attempt=1, verdict=0, ended_at=self.desk.wall)
            )

    def deliver_record(self) -> None:
        name = self.luck.choice(NAMES)
        journal, spool = self.journals[name], self.spool(name)
        mark = self.marks.get(spool, 0)
        if name not in self.desk.sessions or mark >= len(journal.records):
            return
        record = journal.records[mark]
        self.store(name, spool, record)
        self.marks[spool] = mark + 1
        journal.acknowledged = mark + 1
        self.desk.do(Reported(named(name), spool, record))

    def store(self, name: str, spool: bytes, record: Record) -> None:
        past = self.desk.past
        match record:
            case Claimed():
                lost = Verdict.LOST
                past.ranges = [
                    row
                    for row in past.ranges
                    if row.run_id != record.run_id or row.verdict is not lost
                ]
                past.runs[record.run_id] = RunRow(
                    run_id=record.run_id, attempt=1, schedule_uid=record.schedule_uid,
                    schedule=record.schedule, worker_uid=named(name), worker=name,
                    kind=record.kind, slot=record.slot, claimed_at=record.at, late_us=0,
                    generation=0, started_at=None, ended_at=None, verdict=None, reason="",
                    exit_code=None, signal=None, complete=False, bytes_out=0, bytes_err=0,
                    cut_bytes=0, cut_lines=0,
                )  # fmt: skip
            case Ended():
                row = past.runs[record.run_id]
                past.runs[record.run_id] = _ended(row)
            case OfferRefused():
                key = record.run_id, named(name), spool
                past.refused[key] = max(record.number, past.refused.get(key, 0))

    def wait(self) -> None:
        self.desk.advance(self.luck.choice((1, 5, 30, 70)))

    def spool(self, name: str) -> bytes:
        return named(f"spool {name} {self.journals[name].number}")

    def join(self) -> None:
        name = self.luck.choice(NAMES)
        if name in self.desk.sessions and self.luck.random() < 0.3:
            return
        self.connect(name)

    def connect(self, name: str) -> None:
        journal, spool = self.journals[name], self.spool(name)
        self.inbox[name] = []
        session, asked = self.desk.greet(name, str(journal.number))
        old = self.desk.sessions.get(name)
        if self.luck.random() < 0.15:
            self.desk.do(Left(named(name), session))  # it broke off before it was confirmed
            return
        self.desk.sessions[name] = session
        restored = journal.acknowledged > self.marks.get(spool, 0)
        facts = WorkerFacts(name, named(name))
        if restored:
            self.desk.do(Restored(named(name)))
        self.desk.do(Joined(session, spool, facts))
        if old is not None:
            self.desk.do(Left(named(name), old))
        for run_id, number in asked:
            if run_id not in journal.claims:
                self.refuse(journal, run_id, number)

    def cut(self) -> None:
        name = self.luck.choice(NAMES)
        self.inbox[name] = []
        if name in self.desk.sessions:
            self.desk.leave(name)

    def lose_journal(self) -> None:
        name = self.luck.choice(NAMES)
        self.cut_off(name)
        self.journals[name] = Journal(self.journals[name].number + 1)

    def cut_off(self, name: str) -> None:
        self.inbox[name] = []
        if name in self.desk.sessions:
            self.desk.leave(name)

    def restart(self) -> None:
        for name in NAMES:
            self.inbox[name] = []
        self.desk.sleep(self.luck.choice((0, 3, 100)))
        self.desk.restart()

    def run_by_hand(self) -> None:
        request = f"request {self.luck.random()}"
        if self.luck.random() < 0.5:
            self.desk.run("report", request=request)
        else:
            self.desk.run("backup", *self.luck.sample(NAMES, 2), request=request)

    def cancel(self) -> None:
        runs = [*self.desk.dispatcher.running(REPORT), *self.desk.dispatcher.pending(REPORT)]
        if runs:
            self.desk.cancel(self.luck.choice(runs))

    # -- an older copy of the database ------------------------------------------------------------

    def _copy(self) -> tuple[object, Past, dict[bytes, int]]:
        return copy.deepcopy((self.desk.store, self.desk.past, self.marks))

    def back_up(self) -> None:
        self.backup, self.commits = self._copy(), self.desk.commits

    def restore(self) -> None:
        """The server goes down, and comes up on an older copy; all workers come back in time."""
        older = self.desk.commits > self.commits
        store, past, marks = copy.deepcopy(self.backup)
        self.desk.store = store  # type: ignore[assignment]
        self.desk.past = past
        self.desk.store._history = past
        self.marks = marks
        for name in NAMES:
            self.inbox[name] = []
        self.desk.restart()
        if older:
            self.desk.do(Restored())
        for name in NAMES:
            while name not in self.desk.sessions:
                self.connect(name)
        self.sort_mail()

    # -- the end ----------------------------------------------------------------------------------

    def heal(self) -> None:
        """All are there, everything is told, all that runs ends."""
        for _ in range(6):
            for name in NAMES:
                while name not in self.desk.sessions:
                    self.connect(name)
            self.desk.advance(GRACE_S + 1)
            self.sort_mail()
            for _ in range(200):
                self.deliver_offer()
                self.end_run()
                self.deliver_record()
                self.sort_mail()


def _ended(row: RunRow) -> RunRow:
    return replace(row, verdict=Verdict.OK, ended_at=row.claimed_at)


def covered(walk: Walk) -> tuple[list[int], list[SlotRange]]:
    """The slots of the calendar that have a run, and the ranges of the others."""
    runs = [row.slot for row in walk.desk.past.runs.values() if row.kind == 0]
    ranges = [row for row in walk.desk.past.ranges if row.kind == 0]
    return sorted(runs), sorted(ranges, key=lambda row: row.first_slot)


MINUTE = 60_000_000


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("restores", [False, True], ids=["", "restored"])
def test_no_start_is_made_twice_and_every_slot_has_one_line(seed: int, restores: bool) -> None:
    walk = Walk(seed, restores=restores)
    begin = walk.desk.wall
    for _ in range(200):
        walk.step()
        assert max(walk.starts.values(), default=0) <= 1
    walk.heal()
    assert max(walk.starts.values(), default=0) <= 1
    runs, ranges = covered(walk)
    slots = list(runs)
    for row in ranges:
        count = (row.last_slot - row.first_slot) // MINUTE + 1
        assert count == row.count
        slots += [row.first_slot + number * MINUTE for number in range(count)]
    open_ones = [one.intent.slot for one in walk.desk.store.state().intents if one.intent.kind == 0]
    claimed = set(runs)
    slots += [slot for slot in open_ones if slot not in claimed]
    (cursor,) = walk.desk.store.state().cursors
    first = begin - begin % MINUTE + MINUTE
    expected = list(range(first, cursor.cursor - cursor.cursor % MINUTE + 1, MINUTE))
    assert sorted(slots) == expected
