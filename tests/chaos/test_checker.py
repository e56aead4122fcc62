"""The checker believes a history in which all is well, and no other: each invariant is broken once,
and it is that one which is reported."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.chaos import history as histories
from tests.chaos import report
from tests.chaos.checker import check, unmatched
from tests.chaos.history import (
    Applied,
    Cancel,
    Chunk,
    Claimed,
    ClockBack,
    Fault,
    FaultKind,
    Glimpse,
    History,
    Hold,
    Journal,
    Mark,
    Order,
    Range,
    Run,
    Told,
)
from tests.chaos.intervals import Interval, intervals
from tests.chaos.invented import (
    AWAY,
    KILLED,
    OVERLAPPED,
    SECOND,
    SLOTS,
    TICK,
    at,
    changed,
    clean,
    floating_id,
    run_id,
    with_floating,
)
from tests.chaos.judgement import Judgement

RUN = run_id("vader", 8)
"""A run like any other."""


@pytest.fixture
def good() -> History:
    return clean()


def broken(history: History) -> Judgement:
    """The judgement of a history that is not to be believed."""
    judgement = check(history)
    assert not judgement.passed
    return judgement


def only(judgement: Judgement, *invariants: str) -> None:
    """It is these that were broken, and no other."""
    found = {violation.invariant for violation in judgement.violations}
    assert found == set(invariants), [report.headline(one) for one in judgement.violations]


def edited_run(history: History, run: str = RUN, **fields: object) -> History:
    return changed(
        history,
        runs=[
            msgspec.structs.replace(one, **fields) if one.run == run else one
            for one in history.runs
        ],
    )


def edited_mark(history: History, what: str, run: str = RUN, **fields: object) -> History:
    return changed(
        history,
        marks=[
            msgspec.structs.replace(one, **fields) if (one.run, one.what) == (run, what) else one
            for one in history.marks
        ],
    )


def edited_journal(history: History, worker: str = "vader", **fields: object) -> History:
    return changed(
        history,
        journals=[
            msgspec.structs.replace(one, **fields) if one.worker == worker else one
            for one in history.journals
        ],
    )


def journal(history: History, worker: str = "vader") -> Journal:
    return next(one for one in history.journals if one.worker == worker)


def the_run(history: History, run: str = RUN) -> Run:
    return next(one for one in history.runs if one.run == run)


def begin(history: History, run: str = RUN) -> Mark:
    return next(one for one in history.marks if (one.run, one.what) == (run, "B"))


def without_run(history: History, run: str) -> History:
    """Nothing knows of a run."""
    told = [one for one in journal(history).told if getattr(one, "run", "") != run]
    history = edited_journal(history, told=told)
    return changed(
        history,
        runs=[one for one in history.runs if one.run != run],
        marks=[one for one in history.marks if one.run != run],
        chunks=[one for one in history.chunks if one.run != run],
        glimpses=[],
    )


# -- all is well ----------------------------------------------------------------------------------


def test_a_clean_history_passes_and_the_line_says_so(good: History) -> None:
    judgement = check(good)
    assert judgement.violations == []
    assert judgement.line() == (
        "seed=7 occurrences=60 faults=3 lost=0 twice=0 early=0 corrupt=0 missing=0 gaps=0"
        " interrupted=1 (explained=1) late_p99=8ms converged=3s"
    )


def test_a_history_that_is_written_reads_back(good: History, tmp_path: Path) -> None:
    held = changed(
        good,
        holds=[Hold(schedule="tick", began=1, ended=2, generations={"vader": (3, 4)})],
        orders=[Order(schedule="tick", worker="vader", at=1, run=None)],
    )
    histories.write(held, tmp_path / "history.jsonl")
    assert histories.read(tmp_path / "history.jsonl") == held


def test_a_history_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text("")
    with pytest.raises(ValueError, match="no frame"):
        histories.read(tmp_path / "history.jsonl")


# -- I1 -------------------------------------------------------------------------------------------


def test_i1_an_attempt_that_begins_twice(good: History) -> None:
    again = msgspec.structs.replace(begin(good), pid=9999, at=begin(good).at + 5)
    judgement = broken(changed(good, marks=[*good.marks, again]))
    assert judgement.twice >= 1
    only(judgement, "I1")


def test_i1_a_slot_that_begins_under_two_ids(good: History) -> None:
    other = run_id("vader", 999)
    again = msgspec.structs.replace(begin(good), run=other)
    judgement = broken(changed(good, marks=[*good.marks, again]))
    assert judgement.twice >= 1
    assert "I1" in {violation.invariant for violation in judgement.violations}


def test_i1_is_seen_without_looking_at_ids(good: History) -> None:
    """A second beginning that claims to be another attempt at another slot, and of another id."""
    disguised = msgspec.structs.replace(
        begin(good), run=run_id("vader", 500), slot=at(8) + 7, at=at(8) + 9_000
    )
    judgement = broken(changed(good, marks=[*good.marks, disguised]))
    blind = [one for one in judgement.violations if "no slot is left" in one.text]
    assert len(blind) >= 1


def test_beginnings_take_the_earliest_slot_that_is_due(good: History) -> None:
    def mark(when: int) -> Mark:
        return msgspec.structs.replace(begin(good), at=when)

    assert list(unmatched([1, 2, 3], [mark(1), mark(2), mark(3)], 0, 100)) == []
    assert list(unmatched([1, 2], [mark(1), mark(2), mark(3)], 0, 100)) == [mark(3)]
    assert list(unmatched([5], [mark(4)], 0, 100)) == [mark(4)]  # not due yet
    assert list(unmatched([5], [mark(4)], 1, 100)) == []  # but by its own clock
    assert list(unmatched([5], [mark(200)], 0, 100)) == [mark(200)]  # long past


# -- I2 -------------------------------------------------------------------------------------------


def test_i2_a_slot_without_a_line(good: History) -> None:
    judgement = broken(without_run(good, RUN))
    assert judgement.lost == 1
    only(judgement, "I2")


def test_i2_a_beginning_without_a_line(good: History) -> None:
    judgement = broken(changed(good, runs=[one for one in good.runs if one.run != RUN]))
    assert judgement.lost >= 1
    assert "I2" in {violation.invariant for violation in judgement.violations}


def test_i2_a_slot_with_two_lines(good: History) -> None:
    again = Range(
        schedule="tick",
        worker="vader",
        first=at(13),
        last=at(13),
        count=1,
        verdict="missed",
        reason="the worker was down",
        decided_at=at(14),
    )
    only(broken(changed(good, ranges=[*good.ranges, again])), "I2")


def test_i2_a_range_that_counts_wrong(good: History) -> None:
    ranges = [msgspec.structs.replace(one, count=one.count + 1) for one in good.ranges]
    only(broken(changed(good, ranges=ranges)), "I2")


def test_i2_ran_without_a_beginning(good: History) -> None:
    judgement = broken(changed(good, marks=[one for one in good.marks if one.run != RUN]))
    only(judgement, "I2")


def test_i2_missed_without_a_fault(good: History) -> None:
    faults = [one for one in good.faults if one.kind is not FaultKind.BARTOC_KILL]
    judgement = broken(changed(good, faults=faults))
    only(judgement, "I2")
    assert len(judgement.violations) == len(AWAY)


def test_i2_a_fault_elsewhere_explains_nothing(good: History) -> None:
    faults = [
        msgspec.structs.replace(one, targets=["luke"]) if one.kind is FaultKind.BARTOC_KILL else one
        for one in good.faults
    ]
    only(broken(changed(good, faults=faults)), "I2")


def test_i2_a_link_that_is_cut_keeps_nobody_from_starting(good: History) -> None:
    faults = [
        msgspec.structs.replace(one, kind=FaultKind.LINK_PARTITION)
        if one.kind is FaultKind.BARTOC_KILL
        else one
        for one in good.faults
    ]
    only(broken(changed(good, faults=faults)), "I2")


def test_i2_skipped_though_nothing_ran(good: History) -> None:
    before = run_id("luke", OVERLAPPED - 1)
    judgement = broken(edited_run(good, before, ended_at=at(OVERLAPPED - 1) + 30_000))
    only(judgement, "I2")


def test_i2_without_faults_every_slot_runs(good: History) -> None:
    judgement = broken(changed(good, faults=[]))
    assert any("though there was no fault" in one.text for one in judgement.violations)


def test_i2_too_few_ran(good: History) -> None:
    fault = Fault(
        number=9, kind=FaultKind.BARTOC_STOP, targets=["vader"], began=at(0), ended=at(SLOTS)
    )
    history = changed(good, faults=[*good.faults, fault])
    for slot in range(15, 28):
        history = without_run(history, run_id("vader", slot))
    gap = Range(
        schedule="tick",
        worker="vader",
        first=at(15),
        last=at(27),
        count=13,
        verdict="missed",
        reason="too late: a newer one was due",
        decided_at=at(28),
    )
    judgement = broken(changed(history, ranges=[*history.ranges, gap]))
    only(judgement, "I2")
    assert "of the planned starts ran" in judgement.violations[0].text


def test_i2_too_few_were_planned(good: History) -> None:
    frame = msgspec.structs.replace(good.frame, asked=1000)
    only(broken(changed(good, frame=frame)), "I2")


# -- I3 -------------------------------------------------------------------------------------------


def test_i3_another_exit_code(good: History) -> None:
    only(broken(edited_run(good, exit_code=5)), "I3")


def test_i3_another_verdict(good: History) -> None:
    told = [
        msgspec.structs.replace(one, verdict="failed")
        if isinstance(one, histories.Ended) and one.run == RUN
        else one
        for one in journal(good).told
    ]
    history = edited_journal(edited_run(good, verdict="failed"), told=told)
    only(broken(changed(history, glimpses=[])), "I3")


def test_i3_ok_though_it_never_came_to_its_end(good: History) -> None:
    marks = [one for one in good.marks if (one.run, one.what) != (RUN, "E")]
    only(broken(changed(good, marks=marks)), "I3")


def test_i3_interrupted_without_a_kill(good: History) -> None:
    faults = [one for one in good.faults if one.kind is not FaultKind.KEEPER_KILL]
    judgement = broken(changed(good, faults=faults))
    only(judgement, "I3")
    assert judgement.interrupted == 1
    assert judgement.explained == 0


def test_i3_told_as_not_started_though_it_began(good: History) -> None:
    judgement = broken(edited_run(good, run_id("luke", KILLED), reason="did not start"))
    only(judgement, "I1", "I3")  # no slot is left for its beginning


# -- I4, I5 ---------------------------------------------------------------------------------------


def test_i4_a_beginning_before_its_slot(good: History) -> None:
    judgement = broken(edited_mark(good, "B", at=at(8) - 1))
    assert judgement.early == 1
    assert "I4" in {violation.invariant for violation in judgement.violations}


def test_i4_counts_by_the_workers_own_clock(good: History) -> None:
    step = Fault(
        number=9,
        kind=FaultKind.CLOCK_STEP,
        targets=["vader"],
        began=at(7),
        ended=at(10),
        shift=2 * SECOND,
    )
    history = changed(edited_mark(good, "B", at=at(7)), faults=[*good.faults, step])
    assert check(history).early == 0


def test_i5_late_without_a_fault(good: History) -> None:
    history = edited_mark(good, "B", at=at(8) + 1_100_000)
    judgement = broken(edited_mark(history, "E", at=at(8) + 1_200_000))
    only(judgement, "I5")


def test_i5_late_with_a_fault_is_no_fault(good: History) -> None:
    stop = Fault(number=9, kind=FaultKind.BARTOC_STOP, targets=["vader"], began=at(8), ended=at(9))
    history = edited_mark(good, "B", at=at(8) + 1_100_000)
    history = changed(history, faults=[*good.faults, stop])
    assert check(history).passed


# -- I6 -------------------------------------------------------------------------------------------


def edited_chunk(history: History, number: int, pieces: list[tuple[int, bytes]]) -> History:
    return changed(
        history,
        chunks=[
            msgspec.structs.replace(one, pieces=pieces)
            if (one.run, one.number) == (RUN, number)
            else one
            for one in history.chunks
        ],
    )


def chunk(history: History, number: int) -> Chunk:
    return next(one for one in history.chunks if (one.run, one.number) == (RUN, number))


def test_i6_a_chunk_is_missing(good: History) -> None:
    chunks = [one for one in good.chunks if (one.run, one.number) != (RUN, 1)]
    judgement = broken(changed(good, chunks=chunks))
    assert judgement.missing > 0
    only(judgement, "I6")


def test_i6_a_byte_is_another(good: History) -> None:
    (stream, data) = chunk(good, 1).pieces[-1]
    pieces = [*chunk(good, 1).pieces[:-1], (stream, data[:-2] + b"?" + data[-1:])]
    judgement = broken(edited_chunk(good, 1, pieces))
    assert judgement.corrupt > 0
    only(judgement, "I6")


def test_i6_lines_out_of_order(good: History) -> None:
    first, second = chunk(good, 0), chunk(good, 1)
    whole = first.pieces[0][1] + second.pieces[-1][1]
    turned = b"".join(reversed(whole.splitlines(keepends=True)))
    history = edited_chunk(good, 0, [(1, turned[: second.offset])])
    history = edited_chunk(history, 1, [*second.pieces[:-1], (1, turned[second.offset :])])
    judgement = broken(history)
    assert (judgement.missing, judgement.corrupt) == (0, 1)
    only(judgement, "I6")


def test_i6_a_chunk_comes_twice(good: History) -> None:
    again = msgspec.structs.replace(chunk(good, 1), number=2)
    judgement = broken(changed(good, chunks=[*good.chunks, again]))
    assert judgement.corrupt > 0
    only(judgement, "I6")


def test_i6_a_gap_though_no_disk_was_full(good: History) -> None:
    pieces = [*chunk(good, 1).pieces, (3, b"output is missing here")]
    judgement = broken(edited_chunk(good, 1, pieces))
    assert judgement.gaps == 1
    only(judgement, "I6")


def test_i6_a_gap_where_a_disk_was_full_is_told(good: History) -> None:
    full = Fault(number=9, kind=FaultKind.DISK_FULL, targets=["vader"], began=at(8), ended=at(9))
    pieces = [(3, b"output is missing here")]
    judgement = check(changed(edited_chunk(good, 1, pieces), faults=[*good.faults, full]))
    assert judgement.gaps == 1
    assert judgement.passed


def test_i6_totals_that_are_not_so(good: History) -> None:
    only(broken(edited_run(good, bytes_out=1)), "I6")


# -- I7, I10 --------------------------------------------------------------------------------------


def test_i7_a_schedule_that_nobody_knows(good: History) -> None:
    mark = msgspec.structs.replace(begin(good), schedule="phantom", run=run_id("vader", 700))
    judgement = broken(changed(good, marks=[*good.marks, mark]))
    assert "I7" in {violation.invariant for violation in judgement.violations}


def test_i7_an_instant_at_which_it_is_never_due(good: History) -> None:
    run = msgspec.structs.replace(the_run(good), run=run_id("vader", 700), slot=at(8) + 7)
    mark = msgspec.structs.replace(begin(good), run=run.run, slot=run.slot)
    judgement = broken(changed(good, runs=[*good.runs, run], marks=[*good.marks, mark]))
    assert any(one.invariant == "I7" and "never due" in one.text for one in judgement.violations)


def test_i7_a_beginning_without_a_claim(good: History) -> None:
    told = [one for one in journal(good).told if not (isinstance(one, Claimed) and one.run == RUN)]
    only(broken(edited_journal(good, told=told)), "I7")


def test_i7_a_start_by_hand_that_nobody_asked_for(good: History) -> None:
    run = msgspec.structs.replace(the_run(good), run=run_id("vader", 700), kind="manual")
    mark = msgspec.structs.replace(begin(good), run=run.run)
    judgement = broken(changed(good, runs=[*good.runs, run], marks=[*good.marks, mark]))
    assert any("nobody had asked" in one.text for one in judgement.violations)


def test_i2_a_start_by_hand_that_was_taken_and_never_told_of(good: History) -> None:
    order = Order(schedule="tick", worker="vader", at=at(8), run=run_id("vader", 700))
    judgement = broken(changed(good, orders=[order]))
    assert judgement.lost == 1
    only(judgement, "I2")


def test_i2_what_follows_a_run_has_a_line_of_its_own(good: History) -> None:
    then = msgspec.structs.replace(TICK, name="then", uid="ab" * 16, after="tick")
    told = [
        msgspec.structs.replace(one, since={**one.since, then.uid: at(29)})
        if isinstance(one, Applied) and one.since
        else one
        for one in journal(good).told
    ]
    history = changed(edited_journal(good, told=told), definitions=[*good.definitions, then])
    judgement = broken(history)
    only(judgement, "I2")
    assert judgement.lost == SLOTS - len(AWAY) - 1  # the last ends as all is removed


def test_i10_a_beginning_after_its_schedule_was_removed(good: History) -> None:
    told = [one for one in journal(good).told if not isinstance(one, Applied)]
    sets = [
        Applied(at=at(0), generation=1, since={TICK.uid: at(0)}),
        Applied(at=at(SLOTS - 1) + SECOND // 2, generation=2, since={}),
    ]
    only(broken(edited_journal(good, told=[sets[0], *told, sets[1]])), "I10")


def test_i10_a_beginning_while_its_schedule_was_paused(good: History) -> None:
    paused = [
        Applied(at=at(7) + 10, generation=5, since={TICK.uid: at(0)}),
        Applied(at=at(9) + 10, generation=6, since={TICK.uid: at(0)}),
    ]
    told = journal(good).told
    last = msgspec.structs.replace(told[-1], generation=7)
    hold = Hold(schedule="tick", began=at(7), ended=at(9), generations={"vader": (5, 6)})
    history = edited_journal(good, told=[*told[:-1], *paused, last])
    judgement = broken(changed(history, holds=[hold]))
    only(judgement, "I10")
    assert {violation.slot for violation in judgement.violations} == {at(8), at(9)}


# -- I8, I9 ---------------------------------------------------------------------------------------


def test_i8_a_claim_that_is_not_stored(good: History) -> None:
    extra = Claimed(run=run_id("vader", 400), attempt=1, schedule="tick", slot=at(8), at=at(8))
    only(broken(edited_journal(good, told=[*journal(good).told, extra])), "I8")


def test_i8_an_end_that_is_stored_otherwise(good: History) -> None:
    extra = histories.Ended(run=RUN, attempt=1, verdict="cancelled")
    only(broken(edited_journal(good, told=[*journal(good).told, extra])), "I8")


def test_i8_a_range_that_is_not_stored(good: History) -> None:
    judgement = broken(changed(good, ranges=[one for one in good.ranges if one.worker != "vader"]))
    only(judgement, "I2", "I8")


def test_i9_a_verdict_that_changes(good: History) -> None:
    glimpse = Glimpse(at=at(10), verdicts=[(RUN, 1, "interrupted")])
    only(broken(changed(good, glimpses=[glimpse])), "I9")


def test_i9_lost_may_be_replaced(good: History) -> None:
    glimpse = Glimpse(at=at(10), verdicts=[(RUN, 1, "lost")])
    assert check(changed(good, glimpses=[glimpse])).passed


# -- I11, I12 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("converged", [None, at(SLOTS) + 62 * SECOND])
def test_i11_not_within_a_minute(good: History, converged: int | None) -> None:
    frame = msgspec.structs.replace(good.frame, converged=converged)
    only(broken(changed(good, frame=frame)), "I11")


def test_i11_a_worker_that_has_more_to_tell(good: History) -> None:
    only(broken(edited_journal(good, state_acknowledged=99)), "I11")


def test_i11_a_run_without_an_end(good: History) -> None:
    told = [
        one
        for one in journal(good).told
        if not (isinstance(one, histories.Ended) and one.run == RUN)
    ]
    history = edited_journal(edited_run(good, verdict=None, ended_at=None), told=told)
    only(broken(changed(history, glimpses=[])), "I11")


def test_i11_output_that_is_not_complete(good: History) -> None:
    only(broken(edited_run(good, complete=False)), "I11")


def test_i12_a_process_that_is_left(good: History) -> None:
    frame = msgspec.structs.replace(good.frame, left=["42 sleep 600"])
    only(broken(changed(good, frame=frame)), "I12")


def test_i12_a_complaint(good: History) -> None:
    frame = msgspec.structs.replace(good.frame, complaints=["bartos had left by itself"])
    only(broken(changed(good, frame=frame)), "I12")


# -- which slots are a worker's -------------------------------------------------------------------


def test_slots_count_while_a_set_with_their_schedule_is_in_force() -> None:
    told = [
        Applied(at=10, generation=1, since={"a": 10}),
        Applied(at=20, generation=2, since={"a": 10, "b": 20}),
        Applied(at=30, generation=3, since={"b": 20}),
        Applied(at=40, generation=4, since={"a": 40, "b": 35}),
    ]
    assert intervals(told, 50) == {
        "a": [Interval(10, 30), Interval(40, 50)],
        "b": [Interval(20, 40), Interval(35, 50)],
    }


def test_a_clock_that_is_set_back_withdraws_what_lies_ahead() -> None:
    told: list[Told] = [
        Applied(at=10, generation=1, since={"a": 10}),
        Applied(at=100, generation=2, since={}),
        Applied(at=110, generation=3, since={"a": 110}),
        ClockBack(now=50),
        Applied(at=60, generation=4, since={}),
    ]
    assert intervals(told, 200) == {"a": [Interval(10, 50), Interval(50, 60)]}


def test_an_intervals_slots_are_after_its_beginning_and_up_to_its_end() -> None:
    assert list(Interval(10, 20).slots(5)) == [15, 20]
    assert 10 not in Interval(10, 20)
    assert 20 in Interval(10, 20)


# -- what is told of it ---------------------------------------------------------------------------


def test_the_report_shows_what_touched_an_occurrence(good: History, tmp_path: Path) -> None:
    history = changed(good, ranges=[], glimpses=[])
    judgement = broken(history)
    report.write(history, judgement, tmp_path / "report.txt")
    text = (tmp_path / "report.txt").read_text()
    assert text.startswith(judgement.line())
    assert "FAULT    bartoc.kill of vader" in text
    assert "journal  told 3 slots from" in text
    assert "ledger   B" in text


def test_one_that_ended_right_before_its_clock_was_set_ahead_may_hold_up_the_next(
    good: History,
) -> None:
    line = next(one for one in good.ranges if one.verdict == "skipped")
    runs = [
        msgspec.structs.replace(one, ended_at=one.claimed_at + 10_000)
        if (one.worker, one.slot) == ("luke", at(OVERLAPPED - 1))
        else one
        for one in good.runs
    ]
    earlier = changed(good, runs=runs, ranges=[line, *(o for o in good.ranges if o is not line)])
    assert "I2" in {one.invariant for one in broken(earlier).violations}
    step = Fault(
        number=9,
        kind=FaultKind.CLOCK_STEP,
        targets=["luke"],
        began=at(OVERLAPPED) - SECOND,
        ended=at(OVERLAPPED),
        shift=2 * SECOND,
    )
    found = check(changed(earlier, faults=[*earlier.faults, step])).violations
    assert "I2" not in {one.invariant for one in found}


# -- starts that the server gives to one worker ---------------------------------------------------

LENT = floating_id(10)
"""A start that vader got."""


@pytest.fixture
def lent(good: History) -> History:
    return with_floating(good)


def not_run(run: str, slot: int, verdict: str, reason: str) -> Range:
    """A line of a floating start that was not made."""
    return Range(
        schedule="float",
        worker="",
        first=at(slot),
        last=at(slot),
        count=1,
        verdict=verdict,
        reason=reason,
        decided_at=at(slot) + SECOND,
        run=run,
    )


def test_a_schedule_of_one_worker_at_a_time_is_believed_too(lent: History, good: History) -> None:
    judgement = check(lent)
    assert judgement.violations == []
    assert judgement.occurrences == check(good).occurrences + SLOTS // 2 + 1


def test_a_floating_start_without_a_line_is_lost(lent: History) -> None:
    judgement = broken(without_run(lent, LENT))
    only(judgement, "I2")
    assert judgement.lost == 1


def test_a_floating_start_on_two_workers_is_twice(lent: History) -> None:
    mark = begin(lent, LENT)
    again = msgspec.structs.replace(mark, worker="luke", attempt=2, at=mark.at + 1)
    judgement = check(changed(lent, marks=[*lent.marks, again]))
    assert judgement.twice == 1
    assert "I1" in {violation.invariant for violation in judgement.violations}


def test_two_runs_of_one_floating_slot_are_twice(lent: History) -> None:
    other = run_id("luke", 99)
    mark = msgspec.structs.replace(begin(lent, LENT), run=other, worker="luke")
    run = msgspec.structs.replace(the_run(lent, LENT), run=other, worker="luke")
    judgement = check(changed(lent, marks=[*lent.marks, mark], runs=[*lent.runs, run]))
    assert judgement.twice >= 1
    texts = [violation.text for violation in judgement.violations]
    assert any("2 lines" in text for text in texts)


@pytest.mark.parametrize(
    ("slot", "verdict", "reason", "is_fine"),
    [
        (30, "skipped", "the schedule was removed or disabled", True),
        (10, "missed", "no worker that matches was there for longer than catch_up", False),
        (10, "lost", "the server's database was restored", False),
    ],
)
def test_a_floating_start_is_given_up_only_where_its_schedule_went(
    lent: History, slot: int, verdict: str, reason: str, is_fine: bool
) -> None:
    run = floating_id(slot)
    told = [
        msgspec.structs.replace(
            one, told=[word for word in one.told if getattr(word, "run", "") != run]
        )
        for one in lent.journals
    ]
    line = not_run(run, slot, verdict, reason)
    edited = changed(without_run(lent, run), ranges=[*lent.ranges, line], journals=told)
    judgement = check(edited)
    assert judgement.passed is is_fine
    if not is_fine:
        only(judgement, "I2")


def test_where_the_server_was_in_peace_for_a_minute_no_start_is_left(lent: History) -> None:
    frame = msgspec.structs.replace(lent.frame, ended=at(SLOTS) + 60 * SECOND)
    later = changed(lent, frame=frame)
    line = not_run(LENT, 10, "skipped", "the schedule was removed or disabled")
    told = [one for one in journal(later).told if getattr(one, "run", "") != LENT]
    edited = changed(without_run(later, LENT), ranges=[*lent.ranges, line])
    edited = edited_journal(edited, told=told)

    def is_explained(history: History) -> bool:
        return not any(
            violation.slot == at(10) and violation.schedule == "float"
            for violation in check(history).violations
        )

    assert not is_explained(edited)
    kill = Fault(
        number=9,
        kind=FaultKind.BARTOS_KILL,
        targets=["server"],
        began=at(50),
        ended=at(55),
    )
    assert is_explained(changed(edited, faults=[*edited.faults, kill]))


def test_a_floating_start_that_a_run_and_a_range_tell_of_has_two_lines(lent: History) -> None:
    line = not_run(LENT, 10, "missed", "nobody was there")
    only(broken(changed(lent, ranges=[*lent.ranges, line])), "I2")


# -- ends by hand, and interrupted runs that are made again ---------------------------------------


def test_a_cancelled_run_was_to_be_cancelled(good: History) -> None:
    ended = edited_run(good, verdict="cancelled", exit_code=None, signal=15)
    told = [
        msgspec.structs.replace(one, verdict="cancelled")
        if isinstance(one, histories.Ended) and one.run == RUN
        else one
        for one in journal(good).told
    ]
    ended = changed(edited_journal(ended, told=told), glimpses=[])
    only(broken(ended), "I3")
    asked = Cancel(schedule="tick", began=at(8), ended=at(8), runs=[RUN])
    assert check(changed(ended, cancels=[asked])).passed
    unanswered = Cancel(schedule="tick", began=at(8), ended=at(8), runs=None)
    assert check(changed(ended, cancels=[unanswered])).passed
    of_another = Cancel(schedule="tick", began=at(8), ended=at(8), runs=[run_id("luke", 8)])
    only(broken(changed(ended, cancels=[of_another])), "I3")


def test_an_interrupted_run_is_made_again_where_that_is_wanted(good: History) -> None:
    again = msgspec.structs.replace(TICK, reruns=3)
    judgement = broken(changed(good, definitions=[again]))
    only(judgement, "I3")
    assert "not made again" in judgement.violations[0].text
    interrupted = run_id("luke", KILLED)
    asked = Cancel(schedule="tick", began=at(KILLED), ended=at(KILLED), runs=[interrupted])
    assert check(changed(good, definitions=[again], cancels=[asked])).passed
    three = msgspec.structs.replace(again, reruns=0)
    assert check(changed(good, definitions=[three])).passed
