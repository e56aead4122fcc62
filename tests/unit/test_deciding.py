"""What becomes of slots that are due, held to going through them one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bartoc.clockwork import Away
from bartoc.deciding import AT_ONCE, Begin, CatchUp, Passed, View, decide
from libbarto.message.v2.record import Verdict
from libbarto.schedule import Timetable
from tests.unit.worker_bench import MINUTE, SECOND, T0, UID, schedule

SPAN_S = 400


def by_hand(view: View) -> dict[int, str]:
    """The rules of DESIGN section 4, a slot at a time: what becomes of each."""
    spec = view.timetable.spec
    slots = view.timetable.due(view.cursor, view.now, 10**6)
    fate: dict[int, str] = {}
    for slot in slots:
        if spec.paused and (spec.paused_until is None or slot < spec.paused_until):
            fate[slot] = "skipped"
        elif view.offline_from is not None and slot > view.offline_from:
            fate[slot] = "missed"
    rest = [slot for slot in slots if slot not in fate]
    fresh = [slot for slot in rest if view.now - slot <= spec.start_within_us]
    old = [
        slot
        for slot in rest
        if slot not in fresh and view.now - slot <= view.catch_up_us and spec.missed != "none"
    ]
    if spec.missed == "latest":
        fresh, old = fresh[-1:], [] if fresh else old[-1:]
    fate |= dict.fromkeys(rest, "missed")
    fate |= dict.fromkeys(fresh[-AT_ONCE:], "begin")
    fate |= dict.fromkeys(old[-AT_ONCE:], "catch up")
    return {slot: word for slot, word in fate.items() if slot not in view.ran}


seconds = st.integers(-10, SPAN_S + 10)


@st.composite
def views(draw: st.DrawFn) -> View:
    calendar = draw(st.sampled_from(["*:*:*", "*:*:0/7", "*:*:0/50", "*:*"]))
    pause: dict[str, Any] = {}
    if draw(st.booleans()):
        pause = {"paused": True, "paused_until": draw(st.none() | seconds.map(instant))}
    spec = schedule(
        calendar=calendar,
        missed=draw(st.sampled_from(["latest", "all", "none"])),
        start_within_us=draw(st.integers(0, 100)) * SECOND,
        **pause,
    )
    timetable = Timetable(spec, UID)
    cursor, now = sorted(draw(st.tuples(seconds, seconds)))
    starts = draw(st.lists(seconds, max_size=4).map(sorted))
    return View(
        timetable,
        instant(cursor),
        instant(now) + draw(st.integers(0, 999_999)),
        draw(st.integers(0, 300)) * SECOND,
        draw(st.none() | seconds.map(instant)),
        [Away(instant(a), instant(a + 30), f"away {n}") for n, a in enumerate(starts)],
        frozenset(
            slot
            for slot in timetable.due(instant(0), instant(SPAN_S), 10**6)
            if draw(st.integers(0, 9)) == 0
        )
        if draw(st.booleans())
        else (),
    )


def instant(second: int) -> int:
    return T0 + second * SECOND


@settings(max_examples=150)
@given(views())
def test_every_slot_has_the_fate_that_the_rules_give_it(view: View) -> None:
    expected = by_hand(view)
    outcome = decide(view)
    if outcome is None:
        assert not view.timetable.due(view.cursor, view.now, 1)
        return
    slots = view.timetable.due(view.cursor, view.now, 10**6)
    assert outcome.cursor == slots[-1]
    told: dict[int, str] = {}
    before = view.cursor
    for one in outcome.decisions:
        match one:
            case Begin(slot):
                told[slot] = "begin"
                inside = [slot]
            case CatchUp(slot):
                told[slot] = "catch up"
                inside = [slot]
            case Passed(first, last, count, verdict, reason):
                inside = [slot for slot in slots if first <= slot <= last]
                assert (inside[0], inside[-1], len(inside)) == (first, last, count)
                assert not set(inside) & set(view.ran), "ranges keep clear of runs"
                assert reason
                told |= {slot: Verdict(verdict).word for slot in inside}
        assert inside[0] > before, "the oldest first, none twice"
        before = inside[-1]
    assert told == expected


@settings(max_examples=40)
@given(st.integers(64, 3000), st.sampled_from(["latest", "all", "none"]))
def test_many_slots_are_counted_as_few_are_listed(seconds: int, missed: str) -> None:
    spec = schedule(calendar="*:*:*", missed=missed)
    view = View(Timetable(spec, UID), T0, instant(seconds), 30 * MINUTE)
    outcome = decide(view)
    assert outcome is not None
    total = sum(one.count if isinstance(one, Passed) else 1 for one in outcome.decisions)
    assert total == seconds
    starts = [one for one in outcome.decisions if isinstance(one, Begin)]
    assert len(starts) == (1 if missed == "latest" else 31)


def test_a_lifetime_is_decided_at_once() -> None:
    spec = schedule(calendar="*:*:*")
    century = 100 * 365 * 86_400
    outcome = decide(View(Timetable(spec, UID), T0, instant(century), 3600 * SECOND))
    assert outcome is not None
    *missed, last = outcome.decisions
    assert sum(one.count for one in missed if isinstance(one, Passed)) == century - 1
    assert len(missed) == 2
    assert last == Begin(instant(century))
