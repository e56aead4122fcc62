"""Every planned start has one line: what covers slots, what is missing, and how it is named."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartos import ledger
from bartos.ledger import (
    Account,
    Almanac,
    Cover,
    Fault,
    Idle,
    Slots,
    Undecided,
    View,
    account,
    account_of_orders,
    idle,
    is_stuck,
    outside,
)
from bartos.plan import WorkerFacts
from bartos.schedules import load_schedules
from bartos.store.orders import Ordered
from bartos.store.port import Applied, GapRow, RunRow, RunSlot, SlotRange, WaitingRow
from libbarto.identity import Kind
from libbarto.message.v2.record import Lane, Verdict
from libbarto.message.v2.schedule import Schedule
from libbarto.schedule import Timetable
from libbarto.timing import timing_hash, timing_text

WORKER, SCHEDULE = b"w" * 16, b"c" * 16
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOON = 1_795_521_600 * SECOND
"""2026-11-24T12:00:00Z."""


def spec(*calendars: str, **more: object) -> Schedule:
    return Schedule(uid=SCHEDULE, name="tick", calendars=list(calendars), steps=[], **more)  # type: ignore[arg-type]


SPECS = {
    "minutely": spec("*:*"),
    "drawn": spec("*:R"),
    "hourly in Berlin": spec("hourly", timezone="Europe/Berlin"),
    "every 7 s": spec(every_us=7 * SECOND, anchor_us=3),
    "never again": spec("2020-1-1"),
    "boot": spec(on_boot=True),
}
TIMINGS = {timing_hash(timing_text(one)): timing_text(one) for one in SPECS.values()}
ALMANAC = Almanac(TIMINGS)


def span(
    which: str = "minutely", from_at: int = NOON, until_at: int | None = None, **more: object
) -> Applied:
    timing = timing_hash(timing_text(SPECS[which]))
    row = Applied(WORKER, SCHEDULE, from_at, until_at, timing, 1)
    return replace(row, **more) if more else row  # type: ignore[arg-type]


def timetable(which: str = "minutely") -> Timetable:
    return Timetable(SPECS[which], WORKER)


def run(minutes: int, verdict: Verdict | None = Verdict.OK, **more: object) -> RunSlot:
    slot = NOON + minutes * MINUTE
    row = RunSlot(timetable().run_id(slot), slot, 0, verdict, claimed_at=slot, ended_at=slot + 1)
    return replace(row, **more) if more else row  # type: ignore[arg-type]


def missed(
    first: int, last: int, count: int | None = None, verdict: Verdict = Verdict.MISSED,
    reason: str = "too late: x",
) -> SlotRange:  # fmt: skip
    number = last - first + 1 if count is None else count
    slots = NOON + first * MINUTE, NOON + last * MINUTE
    return SlotRange(SCHEDULE, "tick", WORKER, "web1", *slots, number, verdict, reason, NOON)


def waits(minutes: int, attempt: int = 1, kind: int = 0) -> WaitingRow:
    slot = NOON + minutes * MINUTE
    return WaitingRow(
        timetable().run_id(slot), attempt, kind, SCHEDULE, "tick", WORKER, "web1", slot, b"",
        "queue", slot, slot, None,
    )  # fmt: skip


def at(minutes: float, **more: object) -> View:
    return View(now=NOON + round(minutes * MINUTE) + ledger.LATE_US, connected=True, **more)  # type: ignore[arg-type]


def faults(found: Account) -> list[tuple[Fault, int, int, int]]:
    """Each fault with its first and last minute after noon, and how many."""
    return [
        (one.fault, (one.first - NOON) // MINUTE, (one.last - NOON) // MINUTE, one.count)
        for one in found.findings
    ]


def judged(*covers: Cover, view: View, of: Applied | None = None) -> Account:
    return account([of or span()], ALMANAC, covers, view)


# -- what covers ----------------------------------------------------------------------------------


def test_runs_ranges_and_what_waits_cover_every_slot() -> None:
    found = judged(
        run(1),
        run(2, Verdict.FAILED),
        missed(3, 9),
        missed(10, 11, verdict=Verdict.SKIPPED, reason="overlap: y"),
        waits(12),
        run(13, None),
        view=at(13),
    )
    assert not (found.findings or found.undecided)
    assert found.counts == {
        ("ok", ""): 1,
        ("failed", ""): 1,
        ("missed", "too late"): 7,
        ("skipped", "overlap"): 2,
        ("waiting", "queue"): 1,
        ("running", ""): 1,
    }


def test_what_is_none_of_the_calendars_covers_nothing() -> None:
    order = replace(missed(1, 1), run_id=b"r" * 16)
    found = judged(
        run(1), order, run(1, kind=int(Kind.MANUAL)), waits(1, attempt=2), waits(1, kind=2),
        view=at(1),
    )  # fmt: skip
    assert found.findings == []
    assert found.counts == {("ok", ""): 1}


def test_a_slot_without_a_verdict_before_one_that_has_is_a_hole() -> None:
    found = judged(run(1), run(5), missed(8, 9), view=at(9))
    assert faults(found) == [(Fault.HOLE, 2, 4, 3), (Fault.HOLE, 6, 7, 2)]
    assert "no verdict" in found.findings[0].text


def test_a_slot_with_two_runs_is_there_twice() -> None:
    again = run(2, run_id=b"\xff" * 16)
    found = judged(run(1), run(2), again, run(3), waits(3), view=at(3))
    assert faults(found) == [(Fault.TWICE, 2, 2, 1), (Fault.TWICE, 3, 3, 1)]


def test_a_start_that_the_server_gave_to_the_worker_is_another() -> None:
    floating = ledger.floating_id(SCHEDULE, NOON + MINUTE)
    off_plan = ledger.floating_id(SCHEDULE, NOON + MINUTE + 1)
    found = judged(
        run(1),
        run(1, run_id=floating),
        replace(run(1), slot=NOON + MINUTE + 1, run_id=off_plan),
        view=at(1),
    )
    assert found.findings == []


def test_a_run_at_no_planned_time_is_told() -> None:
    early = replace(run(2), slot=NOON + 2 * MINUTE - 1)
    found = judged(run(1), early, run(2), view=at(2))
    assert [one.fault for one in found.findings] == [Fault.UNPLANNED]
    assert found.counts == {("ok", ""): 2}


def test_ranges_that_overlap_are_told() -> None:
    found = judged(run(1), missed(2, 5), missed(4, 7), run(8), view=at(8))
    assert faults(found) == [(Fault.OVERLAP, 4, 5, 2)]
    assert "4 missed (too late: x)" in found.findings[0].text
    found = judged(missed(1, 9, reason=""), missed(4, 7), run(10), view=at(10))
    assert faults(found) == [(Fault.OVERLAP, 4, 7, 4)]


def test_a_run_where_a_range_begins_is_told() -> None:
    found = judged(run(1), run(2), missed(2, 3), view=at(3))
    # The range goes first: the run lies in it, and it does not leave the run out.
    assert faults(found) == [(Fault.WRONG_COUNT, 2, 3, 1)]
    assert "2, there are 1 without the 1 that ran" in found.findings[0].text
    cut = replace(missed(2, 3, count=1), first_slot=NOON + 2 * MINUTE)
    assert judged(run(1), run(2), cut, view=at(3)).findings == []


def test_a_range_that_begins_before_a_run_that_is_behind_is_told() -> None:
    ahead = replace(run(1), ahead=True)
    # Behind by its slot, fed before: the range claims what the run has covered.
    tiling = ledger.Tiling(span(), Slots(timetable()), at(3))
    tiling.feed([ahead, missed(1, 3)])
    assert faults(tiling.finish()) == [(Fault.OVERLAP, 1, 1, 1)]


@pytest.mark.parametrize("count", [1, 3])
def test_a_range_that_counts_wrongly_is_told(count: int) -> None:
    found = judged(run(1), missed(2, 3, count=count), run(4), view=at(4))
    assert faults(found) == [(Fault.WRONG_COUNT, 2, 3, 1)]


def test_a_range_leaves_out_what_ran() -> None:
    found = judged(missed(1, 9, count=7), run(3), run(4), view=at(9))
    assert found.findings == []
    assert found.counts == {("missed", "too late"): 7, ("ok", ""): 2}


def test_a_range_of_a_lifetime_is_counted_and_not_gone_through() -> None:
    last = NOON + 72 * 365 * DAY
    whole = timetable().count(NOON, last)
    assert whole is not None
    row = replace(missed(1, 1), last_slot=whole[2], count=whole[0])
    assert judged(row, view=View(now=last)).findings == []
    assert judged(replace(row, count=whole[0] - 1), view=View(now=last)).findings != []


def test_a_range_over_a_clock_change_is_exact() -> None:
    spring = 1_806_192_000 * SECOND  # 2027-03-27T00:00:00Z, the day before Berlin loses an hour
    row = SlotRange(
        SCHEDULE, "tick", WORKER, "web1", spring + HOUR, spring + 48 * HOUR, 48, Verdict.MISSED,
        "", NOON,
    )  # fmt: skip
    of = span("hourly in Berlin", from_at=spring)
    view = View(now=spring + 48 * HOUR, connected=True)
    assert account([of], ALMANAC, [row], view).findings == []


# -- what is late, unknown, lost ------------------------------------------------------------------


def test_beyond_the_cursor_a_connected_worker_is_late_after_ten_seconds() -> None:
    found = judged(run(1), view=replace(at(3), now=at(3).now - 1))
    assert found.undecided == [
        Undecided("late", WORKER, SCHEDULE, NOON + 2 * MINUTE, NOON + 2 * MINUTE, 1)
    ]
    assert found.counts["late", ""] == 1
    assert judged(view=at(3)).counts["late", ""] == 3
    assert found.findings == []


def test_of_a_worker_that_is_away_they_are_unknown_and_then_lost() -> None:
    view = View(now=at(10).now, lost_after_us=6 * MINUTE + ledger.LATE_US)
    found = judged(run(1), view=view)
    assert found.undecided == [
        Undecided("lost", WORKER, SCHEDULE, NOON + 2 * MINUTE, NOON + 4 * MINUTE, 3,
                  ledger.NOT_HEARD_OF),
        Undecided("unknown", WORKER, SCHEDULE, NOON + 5 * MINUTE, NOON + 10 * MINUTE, 6),
    ]  # fmt: skip
    assert found.counts == {("ok", ""): 1, ("lost", ledger.NOT_HEARD_OF): 3, ("unknown", ""): 6}
    # What is stored as lost already is not unknown, and grows.
    given_up = missed(2, 4, verdict=Verdict.LOST, reason="")
    assert judged(run(1), given_up, view=view).undecided == [found.undecided[1]]
    begun = missed(2, 3, verdict=Verdict.LOST, reason=ledger.NOT_HEARD_OF)
    assert [one.joins for one in judged(run(1), begun, view=view).undecided] == [begun, None]
    other = replace(begun, reason="given up by ops")
    assert [one.joins for one in judged(run(1), other, view=view).undecided] == [None, None]
    assert judged(run(1), missed(2, 3), view=view).undecided[0].joins is None


def test_nothing_is_due_of_what_never_comes() -> None:
    assert account([span("never again")], ALMANAC, [], View(now=NOON + DAY)) == Account()


def test_a_span_that_ended_is_covered_to_its_end() -> None:
    until = NOON + 5 * MINUTE
    ended = span(until_at=until)
    found = judged(run(1), run(2), missed(3, 5), view=at(9), of=ended)
    assert not (found.findings or found.undecided)
    assert faults(judged(run(1), run(2), view=at(9), of=ended)) == [(Fault.HOLE, 3, 5, 3)]


def test_where_the_journal_was_lost_the_end_of_the_span_is_lost() -> None:
    torn = span(until_at=NOON + 5 * MINUTE, torn=True)
    found = judged(run(1), run(2), run(4, ahead=True), view=at(9), of=torn)
    assert found.findings == []
    assert [(one.word, one.count, one.reason) for one in found.undecided] == [
        ("lost", 2, ledger.JOURNAL_LOST)
    ]
    assert judged(missed(1, 5), view=at(9), of=torn).undecided == []


def test_a_hole_that_lost_records_explain_is_lost() -> None:
    gap = GapRow(b"s" * 16, Lane.STATE, 3, 9, NOON + 4 * MINUTE)
    found = judged(run(1), run(3), run(6), view=at(6, gaps=[gap]))
    assert [(one.count, one.reason) for one in found.undecided] == [(1, ledger.RECORDS_LOST)]
    assert faults(found) == [(Fault.HOLE, 4, 5, 2)], "noticed before these were due"
    output = replace(gap, lane=Lane.OUTPUT)
    assert len(judged(run(1), run(3), view=at(3, gaps=[output])).findings) == 1


def test_runs_ahead_of_the_cursor_are_accepted() -> None:
    ahead = [run(4, ahead=True), run(6, ahead=True), replace(run(7), slot=NOON + 1, ahead=True)]
    found = judged(run(1), *ahead, view=at(6))
    assert found.findings == []
    assert [(one.word, one.count) for one in found.undecided] == [("late", 3)]
    # When the cursor has passed them they cover their slots.
    found = judged(run(1), *ahead, run(2), missed(3, 5, count=2), run(7), view=at(7))
    assert not (found.findings or found.undecided)
    found = judged(run(1), *ahead, run(2), run(7), view=at(7))
    assert faults(found) == [(Fault.HOLE, 3, 3, 1), (Fault.HOLE, 5, 5, 1)]


def test_runs_ahead_may_lie_in_the_last_range_and_beyond_it() -> None:
    found = judged(missed(1, 5, count=4), run(3, ahead=True), run(7, ahead=True), view=at(7))
    assert found.findings == []
    assert [(one.word, one.count) for one in found.undecided] == [("late", 1)]


def test_what_may_have_been_dropped_is_not_looked_at() -> None:
    kept = span(kept_from=NOON + 4 * MINUTE)
    found = judged(run(2), missed(3, 7, count=99), run(8), view=at(8), of=kept)
    assert found.findings == []
    assert found.counts == {("missed", "too late"): 3, ("ok", ""): 1}


def test_only_the_time_asked_for_is_looked_at() -> None:
    view = at(20, since=NOON + 2 * MINUTE, until=NOON + 8 * MINUTE)
    found = judged(run(1), missed(2, 4), run(5), missed(7, 12), run(14), view=view)
    assert faults(found) == [(Fault.HOLE, 6, 6, 1)]
    assert found.counts == {("missed", "too late"): 4, ("ok", ""): 1}
    assert judged(run(1), view=view).counts == {("late", ""): 6}
    later = replace(view, since=NOON + HOUR, until=NOON + HOUR)
    assert judged(view=later) == Account()


def test_a_trigger_that_nobody_knows_proves_nothing() -> None:
    for of in (span(timing=bytes(16)), span(timing=bytes(16), until_at=NOON + HOUR)):
        found = judged(run(1), view=at(1), of=of)
        assert [one.fault for one in found.findings] == [Fault.UNCOUNTABLE]
    text = timing_text(SPECS["minutely"])
    for broken in ("{}", "no JSON", text.replace("*:*", "*:61"), text.replace("UTC", "Mars/Sea")):
        almanac = Almanac({timing_hash(text): broken})
        assert almanac.slots(span()) is None
        assert almanac.slots(span()) is None


def test_what_starts_at_boot_starts_once_in_each() -> None:
    one, two = b"1" * 16, b"2" * 16
    covers: list[Cover] = [
        run(1, boot_id=one),
        run(3, boot_id=two),
        run(4),
        run(5),
        missed(9, 9, verdict=Verdict.SKIPPED, reason="paused"),
        waits(11),
    ]
    of = span("boot")
    found = judged(*covers, view=View(now=NOON + DAY), of=of)
    assert not (found.findings or found.undecided)
    assert found.counts["skipped", "paused"] == 1
    found = judged(*covers, run(7, boot_id=two), view=at(9), of=of)
    assert faults(found) == [(Fault.TWICE, 3, 7, 2)]


def test_runs_while_a_schedule_was_not_in_force_are_told() -> None:
    spans = [span(until_at=NOON + 5 * MINUTE), span(from_at=NOON + 9 * MINUTE)]
    covers: list[Cover] = [
        *(run(-1), run(3), run(10), missed(6, 7), waits(6)),
        *(run(6, ahead=True), run(6, kind=2)),
        run(7, run_id=ledger.floating_id(SCHEDULE, NOON + 7 * MINUTE)),
    ]
    assert outside(spans, covers) == []
    assert [one.fault for one in outside(spans, [*covers, run(8)])] == [Fault.UNPLANNED]
    assert outside([], [run(1)]) == []


def test_spans_follow_one_another() -> None:
    spans = [span(until_at=NOON + 5 * MINUTE), span("drawn", from_at=NOON + 5 * MINUTE)]
    drawn = timetable("drawn").next_after(NOON + 5 * MINUTE)
    assert drawn is not None
    covers: list[Cover] = [
        missed(1, 5),
        replace(run(1), slot=drawn, run_id=timetable("drawn").run_id(drawn)),
    ]
    view = View(now=drawn + ledger.LATE_US, connected=True)
    found = account(spans, ALMANAC, covers, view)
    assert not (found.findings or found.undecided)
    assert found.counts == {("missed", "too late"): 5, ("ok", ""): 1}


# -- slots ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["minutely", "drawn", "hourly in Berlin", "every 7 s"])
def test_slots_in_blocks_are_the_slots(which: str) -> None:
    slots, real = Slots(timetable(which)), timetable(which)
    chance = random.Random(which)
    for _ in range(300):
        asked = NOON + chance.randrange(-40, 40) * chance.choice([SECOND, MINUTE, HOUR])
        until = asked + chance.randrange(-1, 90) * chance.choice([SECOND, MINUTE, HOUR])
        assert slots.next_after(asked) == real.next_after(asked)
        assert slots.count(asked, until) == real.count(asked, until)
        assert slots.is_slot(asked) == (real.next_after(asked - 1) == asked)


def test_slots_come_to_an_end() -> None:
    first = timetable("never again").next_after(0)
    assert first is not None
    slots = Slots(timetable("never again"))
    assert slots.next_after(0) == first
    assert [slots.next_after(first), slots.next_after(NOON)] == [None, None]
    assert slots.next_after(0) == first
    assert slots.count(NOON, NOON + DAY) is None
    assert Slots(timetable("never again")).next_after(NOON) is None


def test_what_is_the_same_everywhere_is_found_once() -> None:
    almanac = Almanac(TIMINGS)
    other = replace(span(), worker_uid=b"o" * 16)
    assert almanac.slots(span()) is almanac.slots(other)
    drawn = span("drawn")
    assert almanac.slots(drawn) is almanac.slots(drawn)
    assert almanac.slots(drawn) is not almanac.slots(replace(drawn, worker_uid=b"o" * 16))


def test_an_almanac_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_ALMANAC", 1)
    almanac = Almanac(TIMINGS)
    before = almanac.slots(span())
    almanac.slots(span("drawn"))
    assert almanac.slots(span()) is not before


# -- any history, and what is wrong with it -------------------------------------------------------


@dataclass
class History:
    """A history in which every slot has its line, and the faults that can be put into it."""

    which: str
    chance: random.Random
    spans: list[Applied] = field(default_factory=list)
    covers: list[Cover] = field(default_factory=list)

    def write(self, slots: Sequence[int]) -> None:
        """Give each slot its line, as a worker would."""
        real = timetable(self.which)
        place = 0
        while place < len(slots):
            size = min(self.chance.choice([1, 1, 1, 4, 40]), len(slots) - place)
            some = slots[place : place + size]
            place += size
            kind = self.chance.choice(["run", "range", "range with runs", "waits"])
            if kind == "range" or (kind == "range with runs" and size < 3):
                self.covers.append(self.range_of(some, size))
            elif kind == "range with runs":
                ran = set(self.chance.sample(some[1:-1], self.chance.randint(1, size - 2)))
                self.covers.append(self.range_of(some, size - len(ran)))
                self.covers += [self.run_at(real, slot, ahead=True) for slot in sorted(ran)]
            elif kind == "run":
                self.covers += [self.run_at(real, slot) for slot in some]
            else:
                self.covers += [replace(waits(0), run_id=real.run_id(s), slot=s) for s in some]

    def run_at(self, real: Timetable, slot: int, *, ahead: bool = False) -> RunSlot:
        verdict = self.chance.choice([None, Verdict.OK, Verdict.FAILED, Verdict.INTERRUPTED])
        return RunSlot(real.run_id(slot), slot, 0, verdict, ahead=ahead)

    def range_of(self, some: Sequence[int], count: int) -> SlotRange:
        verdict = self.chance.choice([Verdict.MISSED, Verdict.SKIPPED, Verdict.LOST])
        return SlotRange(
            SCHEDULE, "tick", WORKER, "web1", some[0], some[-1], count, verdict, "why", 0
        )

    def account(self, now: int) -> Account:
        return account(self.spans, ALMANAC, self.covers, View(now=now + ledger.LATE_US))


def written(which: str, seed: int) -> tuple[History, int, int]:
    """A history of two spans; how many slots it has, and when it ends."""
    history = History(which, random.Random(seed))
    real = timetable(which)
    slots = real.due(NOON, NOON + 300 * DAY, 120)
    middle = slots[history.chance.randrange(20, 100)]
    history.spans = [
        span(which, until_at=middle + 1),
        span(which, from_at=middle + 1),
    ]
    history.write([slot for slot in slots if slot <= middle])
    history.write([slot for slot in slots if slot > middle])
    return history, len(slots), slots[-1]


def ranges_in(history: History) -> list[int]:
    return [i for i, one in enumerate(history.covers) if isinstance(one, SlotRange)]


def singles_in(history: History) -> list[int]:
    return [i for i, one in enumerate(history.covers) if not isinstance(one, SlotRange)]


def drop(history: History) -> set[Fault]:
    """A line is gone, of a slot that has later ones."""
    last = max(history.covers, key=lambda one: ledger.first_of(one)[0])
    inside = [
        i
        for i, one in enumerate(history.covers)
        if one is not last and not (isinstance(one, RunSlot) and one.ahead)
        and not (isinstance(one, SlotRange) and any(_within(run, one) for run in history.covers))
    ]  # fmt: skip
    del history.covers[history.chance.choice(inside)]
    return {Fault.HOLE}


def _within(run: Cover, row: SlotRange) -> bool:
    return isinstance(run, RunSlot) and row.first_slot <= run.slot <= row.last_slot


def double(history: History) -> set[Fault]:
    """A run, or what waits, is there again under another id."""
    one = history.covers[history.chance.choice(singles_in(history))]
    assert not isinstance(one, SlotRange)
    history.covers.append(replace(one, run_id=b"\xfe" * 16))
    return {Fault.TWICE}


def miscount(history: History) -> set[Fault]:
    """A range counts one more, or one less."""
    place = history.chance.choice(ranges_in(history))
    row = history.covers[place]
    assert isinstance(row, SlotRange)
    history.covers[place] = replace(row, count=row.count + history.chance.choice([-1, 1]))
    return {Fault.WRONG_COUNT}


def cover_twice(history: History) -> set[Fault]:
    """A range is there again, from its second half on."""
    row = history.covers[history.chance.choice(ranges_in(history))]
    assert isinstance(row, SlotRange)
    first = row.first_slot + (row.last_slot - row.first_slot) // 2
    history.covers.append(replace(row, first_slot=first))
    return {Fault.OVERLAP}


def run_in_range(history: History) -> set[Fault]:
    """A slot of a range ran all the same."""
    rows = [history.covers[i] for i in ranges_in(history)]
    row = history.chance.choice(rows)
    assert isinstance(row, SlotRange)
    real = timetable(history.which)
    ran = {one.slot for one in history.covers if isinstance(one, RunSlot)}
    slots = [slot for slot in real.due(row.first_slot - 1, row.last_slot) if slot not in ran]
    history.covers.append(history.run_at(real, history.chance.choice(slots)))
    return {Fault.WRONG_COUNT}


def shift(history: History) -> set[Fault]:
    """A run begins a microsecond early."""
    places = [
        i
        for i, one in enumerate(history.covers)
        if isinstance(one, RunSlot) and not one.ahead
    ]  # fmt: skip
    place = history.chance.choice(places)
    one = history.covers[place]
    assert isinstance(one, RunSlot)
    history.covers[place] = replace(one, slot=one.slot - 1)
    return {Fault.UNPLANNED}


@pytest.mark.parametrize("which", ["minutely", "drawn", "hourly in Berlin", "every 7 s"])
@settings(max_examples=25)
@given(seed=st.integers(0, 1 << 32))
def test_any_whole_history_is_proven(which: str, seed: int) -> None:
    history, number, end = written(which, seed)
    found = history.account(end)
    assert not (found.findings or found.undecided)
    assert found.counts.total() == number


@pytest.mark.parametrize("spoil", [drop, double, miscount, cover_twice, run_in_range, shift])
@settings(max_examples=40)
@given(seed=st.integers(0, 1 << 32), which=st.sampled_from(["minutely", "drawn", "every 7 s"]))
def test_every_falsified_history_is_found_out(
    spoil: Callable[[History], set[Fault]], seed: int, which: str
) -> None:
    history, _, end = written(which, seed)
    if not ranges_in(history) or not any(
        isinstance(one, RunSlot) and not one.ahead for one in history.covers
    ):
        return
    wanted = spoil(history)
    found = Counter(one.fault for one in history.account(end).findings)
    assert wanted <= set(found), found


# -- stuck and idle -------------------------------------------------------------------------------


def row(**more: object) -> RunRow:
    base = RunRow(
        b"r" * 16, 1, SCHEDULE, "tick", WORKER, "web1", 0, NOON, NOON, 0, 1, NOON, None, None, "",
        None, None, False, 0, 0, 0, 0,
    )  # fmt: skip
    return replace(base, **more)  # type: ignore[arg-type]


def test_a_run_that_makes_two_slots_skip_is_stuck() -> None:
    assert is_stuck(row(), 1, [], NOON + DAY) is None
    said = is_stuck(row(), 2, [], NOON + DAY)
    assert said == "2 planned starts were skipped because of it"
    assert is_stuck(row(verdict=Verdict.OK), 9, [], NOON + DAY) is None


def test_a_run_of_three_times_the_longest_is_stuck() -> None:
    took = [MINUTE, 4 * MINUTE, 2 * MINUTE]
    assert is_stuck(row(), 0, took, NOON + 12 * MINUTE - 1) is None
    said = is_stuck(row(), 0, took, NOON + 12 * MINUTE)
    assert said == "it takes 3 times as long as the longest of its last runs"
    assert is_stuck(row(started_at=None), 0, took, NOON + 12 * MINUTE) == said
    assert is_stuck(row(kind=Kind.EXEC), 0, took, NOON + DAY) is None, "each is another command"
    assert is_stuck(row(), 0, [*took * 7, HOUR], NOON + 12 * MINUTE) == said, "only the last 20"
    assert is_stuck(row(), 0, [0], NOON + ledger.STUCK_LEAST_US - 1) is None


def test_a_schedule_that_means_nobody_is_idle() -> None:
    toml = """
    [[schedule]]
    name = "typo"
    workers = "wbe1"
    on_calendar = "daily"
    cmds = ["true"]

    [[schedule]]
    name = "label"
    workers = "role=db"
    on_calendar = "daily"
    cmds = ["true"]

    [[schedule]]
    name = "fine"
    workers = "web*"
    on_calendar = "daily"
    cmds = ["true"]
    """
    definitions = load_schedules([("bartos.toml", toml)])
    workers = [WorkerFacts("web1", WORKER)]
    assert sorted(idle(definitions, workers), key=lambda one: one.schedule) == [
        Idle("label", "role=db", None),
        Idle("typo", "wbe1", "web1"),
    ]


# -- what the server starts -----------------------------------------------------------------------


def ordered(**facts: object) -> Ordered:
    return replace(Ordered(b"r" * 16, b"s" * 16, "report", bytes(16), 0, 100), **facts)  # type: ignore[arg-type]


LOST_LINE = (Verdict.LOST, "its worker never came back")


@pytest.mark.parametrize(
    ("row", "counted", "fault"),
    [
        (ordered(), ("waiting", "ordered"), None),
        (ordered(ran=True), ("running", ""), None),
        (ordered(ran=True, closed=True, verdict=Verdict.OK), ("ok", ""), None),
        (ordered(closed=True, undone=[(Verdict.MISSED, "late: x")]), ("missed", "late"), None),
        (ordered(closed=True), None, Fault.HOLE),
        (
            ordered(closed=True, ran=True, verdict=Verdict.OK, undone=[LOST_LINE]),
            ("lost", "its worker never came back"),
            Fault.TWICE,
        ),
    ],
)
def test_what_the_server_was_to_start_is_open_or_has_one_line(
    row: Ordered, counted: tuple[str, str] | None, fault: Fault | None
) -> None:
    found = account_of_orders([row], View(now=1000), kept_after=50)
    assert list(found.counts) == ([] if counted is None else [counted])
    assert [one.fault for one in found.findings] == ([] if fault is None else [fault])


def test_of_what_retention_has_dropped_no_line_is_missing() -> None:
    assert account_of_orders([ordered(closed=True)], View(now=1000), 100).findings == []


def test_only_what_was_asked_for_is_counted() -> None:
    rows = [ordered(slot=slot) for slot in (100, 200, 300)]
    found = account_of_orders(rows, View(now=1000, since=100, until=200), 0)
    assert found.counts.total() == 1
