"""What becomes of the slots of schedules that the server fires: starts, and verdicts for ranges."""

from __future__ import annotations

import pytest

from bartos.floating import ALONE_MOST, Decisions, Floating
from bartos.schedules import load_schedules
from bartos.store.orders import ALL_SCHEDULES, CursorRow, PauseRow
from libbarto.identity import schedule_uid
from libbarto.message.v2.record import Verdict
from tests.desk import MIDNIGHT, SECOND

UID = schedule_uid("report")
MINUTE = 60 * SECOND


def toml(calendar: str = "*:*", **keys: str) -> str:
    lines = [f'{key} = "{value}"' for key, value in keys.items()]
    return "\n".join(
        [
            "[[schedule]]",
            'name = "report"',
            'workers = "*"',
            'pick = "one"',
            f'on_calendar = "{calendar}"',
            'cmds = ["true"]',
            *lines,
        ]
    )


def floating(text: str, cursors: tuple[CursorRow, ...] = (), began: int = MIDNIGHT) -> Floating:
    made = Floating(cursors, began)
    made.take_on(load_schedules([("bartos.toml", text)]), began)
    return made


def decide(made: Floating, minutes: float, *pauses: PauseRow) -> Decisions:
    held = {row.schedule_uid: row for row in pauses}
    return made.decide(MIDNIGHT + round(minutes * MINUTE), 0.0, held, settled=True)


def minutes(decisions: Decisions) -> tuple[list[float], list[tuple[float, float, int, str]]]:
    """When what starts was due, and the ranges of what does not."""
    starts = [(row.slot - MIDNIGHT) / MINUTE for row in decisions.starts]
    ranges = [
        (
            (one.first_slot - MIDNIGHT) / MINUTE,
            (one.last_slot - MIDNIGHT) / MINUTE,
            one.count,
            one.verdict.word,
        )
        for move in decisions.moves
        for one in move.undone
    ]
    return starts, ranges


def test_a_schedule_that_is_new_counts_from_now() -> None:
    made = Floating((), MIDNIGHT)
    decisions = made.take_on(load_schedules([("bartos.toml", toml())]), MIDNIGHT)
    (move,) = decisions.moves
    assert (move.before, move.row.cursor) == (None, MIDNIGHT)
    assert made.next_due(settled=True) == MIDNIGHT + MINUTE
    assert decide(made, 0.5) == Decisions(), "nothing is decided while nothing is due"


@pytest.mark.parametrize(
    ("keys", "after", "starts", "ranges"),
    [
        ({}, 1.1, [1], []),
        ({}, 5.1, [5], [(1, 4, 4, "missed")]),
        ({"start_within": "150s", "missed": "all"}, 5.1, [1, 2, 3, 4, 5], []),
        ({"start_within": "150s", "missed": "none"}, 5.1, [3, 4, 5], [(1, 2, 2, "missed")]),
        ({"missed": "all", "catch_up": "3m"}, 5.9, [3, 4, 5], [(1, 2, 2, "missed")]),
        ({"missed": "none"}, 5.9, [], [(1, 5, 5, "missed")]),
        ({}, 5.9, [5], [(1, 4, 4, "missed")]),
        ({"catch_up": "30s", "start_within": "1s"}, 5.9, [], [(1, 5, 5, "missed")]),
    ],
)
def test_the_policy_says_what_starts(
    keys: dict[str, str],
    after: float,
    starts: list[float],
    ranges: list[tuple[float, float, int, str]],
) -> None:
    made = floating(toml(**keys))
    decisions = decide(made, after)
    assert minutes(decisions) == (starts, ranges)
    assert decisions.moves[0].row.cursor == MIDNIGHT + int(after) * MINUTE
    assert decide(made, after) == Decisions()


def test_every_slot_is_in_exactly_one_place_with_a_pause_amid() -> None:
    made = floating(toml(missed="all"))
    pause = PauseRow(UID, "report", "ann", MIDNIGHT + 3 * MINUTE, "", MIDNIGHT + 5 * MINUTE)
    assert minutes(decide(made, 7.5, pause)) == ([1, 2, 5, 6, 7], [(3, 4, 2, "skipped")])


def test_the_newest_that_is_not_paused_starts() -> None:
    made = floating(toml())
    pause = PauseRow(ALL_SCHEDULES, "", "ann", MIDNIGHT + 3 * MINUTE)
    starts, ranges = minutes(decide(made, 7.5, pause))
    assert starts == [2]
    assert ranges == [(1, 1, 1, "missed"), (3, 7, 5, "skipped")]
    whole = PauseRow(ALL_SCHEDULES, "", "ann", MIDNIGHT)
    assert minutes(decide(made, 9.5, whole)) == ([], [(8, 9, 2, "skipped")])


def test_pauses_of_one_and_of_all_add_up() -> None:
    made = floating(toml(missed="all"))
    one = PauseRow(UID, "report", "ann", MIDNIGHT, "", MIDNIGHT + 2 * MINUTE)
    every = PauseRow(ALL_SCHEDULES, "", "bob", MIDNIGHT + 2 * MINUTE, "", MIDNIGHT + 4 * MINUTE)
    decisions = decide(made, 5.5, one, every)
    assert minutes(decisions) == ([4, 5], [(1, 1, 1, "skipped"), (2, 3, 2, "skipped")])
    assert [one.reason for one in decisions.moves[0].undone] == ["paused: by ann", "paused: by bob"]


def test_a_span_without_a_slot_starts_nothing() -> None:
    made = floating(toml("*:0/10"))
    pause = PauseRow(UID, "report", "ann", MIDNIGHT, "", MIDNIGHT + 11 * MINUTE)
    assert minutes(decide(made, 12, pause)) == ([], [(10, 10, 1, "skipped")])


def test_too_many_at_once_are_decided_in_pieces() -> None:
    made = floating(toml("*:*:*", missed="all", catch_up="24h"))
    first = decide(made, 200)
    assert len(first.starts) == ALONE_MOST
    assert first.moves[0].row.cursor == MIDNIGHT + ALONE_MOST * SECOND
    second = decide(made, 200)
    assert len(second.starts) == 200 * 60 - ALONE_MOST
    assert minutes(second)[1] == []


def test_before_all_is_settled_only_what_is_due_since_the_start_is_decided() -> None:
    made = floating(toml(), began=MIDNIGHT)
    held = Floating(
        [move.row for move in Floating((), 0).take_on(
            load_schedules([("bartos.toml", toml())]), MIDNIGHT
        ).moves],
        MIDNIGHT + 2 * MINUTE,
    )  # fmt: skip
    held.take_on(load_schedules([("bartos.toml", toml())]), MIDNIGHT + 2 * MINUTE)
    now = MIDNIGHT + 3 * MINUTE
    assert held.next_due(settled=False) is None
    assert held.decide(now, 0.0, {}, settled=False) == Decisions()
    assert made.decide(now, 0.0, {}, settled=False) != Decisions()
    assert held.next_due(settled=True) == MIDNIGHT + MINUTE


def test_another_trigger_counts_from_now_and_the_old_one_up_to_it() -> None:
    (move,) = Floating((), 0).take_on(
        load_schedules([("bartos.toml", toml())]), MIDNIGHT
    ).moves  # fmt: skip
    later = MIDNIGHT + 10 * MINUTE
    made = Floating([move.row], later)
    changed = load_schedules([("bartos.toml", toml("hourly"))])
    (again,) = made.take_on(changed, later).moves
    assert (again.before, again.row.cursor) == (MIDNIGHT, later)
    assert [(one.count, one.verdict) for one in again.undone] == [(10, Verdict.MISSED)]
    assert made.next_due(settled=True) == MIDNIGHT + 60 * MINUTE
    assert made.take_on(changed, later) == Decisions()


def test_a_schedule_that_is_gone_takes_its_cursor_along() -> None:
    (move,) = Floating((), 0).take_on(
        load_schedules([("bartos.toml", toml())]), MIDNIGHT
    ).moves  # fmt: skip
    made = Floating([move.row], MIDNIGHT)
    decisions = made.take_on((), MIDNIGHT + 3 * MINUTE)
    assert decisions.forgotten == [UID]
    assert minutes(decisions) == ([], [(1, 3, 3, "skipped")])
    assert Floating([move.row], MIDNIGHT).take_on((), MIDNIGHT).moves == []


def test_restored_slots_are_lost_one_by_one_and_beyond_in_one_range() -> None:
    made = floating(toml("*:*:*"))
    decisions, count = made.restored(MIDNIGHT + 200 * MINUTE, "restored")
    assert count == 12_000
    undone = decisions.moves[0].undone
    assert len(undone) == ALONE_MOST + 1
    assert (undone[0].count, undone[0].run_id) == (12_000 - ALONE_MOST, None)
    assert len({one.run_id for one in undone}) == ALONE_MOST + 1
    assert made.restored(MIDNIGHT + 200 * MINUTE, "restored") == (Decisions(), 0)


def test_a_clock_far_ahead_makes_one_range_and_none_that_comes_back() -> None:
    made = floating(toml("*:*:*"))
    far = MIDNIGHT + 70 * 365 * 86_400 * SECOND
    decisions = made.decide(far, 0.0, {}, settled=True)
    assert [one.count for one in decisions.moves[0].undone] == [70 * 365 * 86_400 - 1]
    assert made.decide(MIDNIGHT, 1.0, {}, settled=True) == Decisions()
    assert made.decide(MIDNIGHT, 120.9, {}, settled=True) == Decisions()
    back = made.decide(MIDNIGHT, 121.0, {}, settled=True)
    assert back.clock_back and back.moves[0].back
    assert (back.moves[0].before, back.moves[0].row.cursor) == (far, MIDNIGHT)
    assert made.decide(MIDNIGHT, 122.0, {}, settled=True) == Decisions()
