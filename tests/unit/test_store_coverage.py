"""What `SetApplied` and `ClockBack` mean for the spans in which schedules count."""

from __future__ import annotations

from dataclasses import replace

from bartos.store.coverage import (
    clock_back,
    decided_by,
    is_settled,
    is_withdrawn,
    key_of,
    missing_bytes,
    range_of,
    reaches_back_to,
    set_applied,
    slots_in,
    waits_in_vain,
)
from bartos.store.port import NO_TIMING, Applied, Batch, SlotRange, WaitingRow
from libbarto.identity import Kind
from libbarto.message.v2.record import (
    Claimed,
    ClockBack,
    Decided,
    Lane,
    SetApplied,
    Verdict,
    Waiting,
)
from libbarto.message.v2.schedule import Schedule
from libbarto.timing import timing_hash, timing_text

WORKER, ONE, TWO = b"w" * 16, b"1" * 16, b"2" * 16
SPOOL, OTHER = b"s" * 16, b"o" * 16
A, B = b"a" * 16, b"b" * 16


def applied(generation: int, at: int, *named: tuple[bytes, bytes, int]) -> SetApplied:
    return SetApplied(
        generation=generation,
        at=at,
        schedules=[uid for uid, _, _ in named],
        timings=[timing for _, timing, _ in named],
        since=[since for _, _, since in named],
    )


def span(uid: bytes, from_at: int, until_at: int | None = None, **more: object) -> Applied:
    row = Applied(WORKER, uid, from_at, until_at, A, 1, SPOOL, False, from_at)
    return replace(row, **more) if more else row  # type: ignore[arg-type]


def after(rows: list[Applied], *records: SetApplied, spool: bytes = SPOOL) -> list[Applied]:
    for record in records:
        rows = set_applied(rows, record, WORKER, spool)
    return rows


def test_a_first_set_opens_spans() -> None:
    rows = after([], applied(1, 10, (TWO, B, 10), (ONE, A, 5)))
    assert rows == [
        span(ONE, 5),
        span(TWO, 10, timing=B),
    ]
    assert [key_of(row) for row in rows] == [(WORKER, ONE, 5), (WORKER, TWO, 10)]


def test_a_schedule_that_leaves_the_set_is_closed_and_one_that_stays_goes_on() -> None:
    rows = after([span(ONE, 5), span(TWO, 5)], applied(2, 20, (ONE, A, 5)))
    assert rows == [span(ONE, 5, generation=2), span(TWO, 5, 20)]
    assert after(rows, applied(3, 30)) == [span(ONE, 5, 30, generation=2), span(TWO, 5, 20)]


def test_another_trigger_begins_another_span() -> None:
    assert after([span(ONE, 5)], applied(2, 20, (ONE, B, 20))) == [
        span(ONE, 5, 20),
        span(ONE, 20, timing=B, generation=2),
    ]


def test_one_of_several_records_opens_again_what_another_closed() -> None:
    held = [span(ONE, 5), span(TWO, 5)]
    first, second = applied(2, 20, (ONE, A, 5)), applied(2, 20, (TWO, A, 5))
    assert after(held, first, second) == [span(ONE, 5, generation=2), span(TWO, 5, generation=2)]
    assert after(held, first, second, first) == after(held, first, second)
    # A span that began with this very set is not there where it is closed at once.
    assert after([span(ONE, 20, generation=1)], applied(2, 20)) == []


def test_an_older_set_changes_nothing() -> None:
    held = [span(ONE, 5, generation=7)]
    assert after(held, applied(6, 20, (TWO, A, 20))) == held


def test_another_journal_tears_what_it_closes() -> None:
    held = [span(ONE, 5), span(TWO, 5), span(TWO, 1, 5)]
    rows = after(held, applied(2, 20, (ONE, A, 20)), spool=OTHER)
    assert rows == [
        span(ONE, 5, 20, torn=True),
        span(ONE, 20, generation=2, spool_id=OTHER),
        span(TWO, 1, 5),
        span(TWO, 5, 20, torn=True),
    ]


def test_what_the_worker_says_of_the_past_counts() -> None:
    # Records in between were lost: the span began earlier than it looked like.
    held = [span(ONE, 5, 12), span(ONE, 15)]
    assert after(held, applied(2, 20, (ONE, A, 10))) == [
        span(ONE, 5, 10),
        span(ONE, 10, generation=2),
    ]
    # Nothing counts from beyond the set itself.
    assert after([], applied(1, 10, (ONE, A, 99))) == [span(ONE, 10)]


def test_a_worker_of_an_older_version_names_no_trigger() -> None:
    old = SetApplied(generation=1, at=10, schedules=[ONE])
    (row,) = after([], old)
    assert (row.timing, row.from_at) == (NO_TIMING, 10)
    assert after([row], SetApplied(generation=2, at=20, schedules=[ONE])) == [
        replace(row, generation=2)
    ]
    again = after([row], SetApplied(generation=2, at=20, schedules=[ONE]), spool=OTHER)
    assert [(one.from_at, one.until_at, one.torn) for one in again] == [
        (10, 20, True),
        (20, None, False),
    ]
    short = SetApplied(generation=1, at=10, schedules=[ONE], timings=[b"x"], since=[10])
    assert after([], short)[0].timing == b"x" + bytes(15)


def test_what_a_record_may_change_reaches_back() -> None:
    assert reaches_back_to(applied(1, 10)) == 10
    assert reaches_back_to(applied(1, 10, (ONE, A, 10), (TWO, A, 3))) == 3
    assert reaches_back_to(ClockBack(now=7)) == 7


def test_a_clock_set_back_moves_what_lies_ahead() -> None:
    rows = [
        span(ONE, 1, 5),
        span(ONE, 5, 20),
        span(ONE, 20, 30),
        span(ONE, 30),
        span(TWO, 10),
        span(TWO, 1, 10),
    ]
    assert clock_back(rows, 10) == [
        span(ONE, 1, 5),
        span(ONE, 5, 10),
        span(ONE, 10),
        span(TWO, 1, 10),
        span(TWO, 10),
    ]


def lost(first: int, last: int, run_id: bytes | None = None) -> SlotRange:
    return SlotRange(ONE, "one", WORKER, "web1", first, last, 1, Verdict.LOST, "", last, run_id, 0)


def claimed(slot: int, kind: Kind = Kind.CALENDAR, uid: bytes = ONE) -> Claimed:
    return Claimed(
        run_id=b"r" * 16, attempt=1, kind=kind, schedule_uid=uid, schedule="one", slot=slot, at=slot
    )


def decided(first: int, last: int, run_id: bytes | None = None) -> Decided:
    return Decided(
        schedule_uid=ONE, schedule="one", first_slot=first, last_slot=last, count=1, verdict=5,
        run_id=run_id,
    )  # fmt: skip


def waits(slot: int, kind: Kind = Kind.CALENDAR, attempt: int = 1) -> Waiting:
    return Waiting(
        run_id=b"r" * 16, attempt=attempt, kind=kind, schedule_uid=ONE, schedule="one", slot=slot,
        why="queue", at=slot, due=slot,
    )  # fmt: skip


def test_only_lost_gives_way_and_only_to_what_it_lies_under() -> None:
    assert decided_by(claimed(5)) == decided_by(waits(5)) == decided_by(decided(5, 5)) == (5, 5)
    assert decided_by(claimed(5, Kind.MANUAL)) is None
    assert decided_by(decided(5, 5, b"r" * 16)) is None
    assert is_withdrawn(lost(1, 5), claimed(5))
    assert is_withdrawn(lost(1, 5), decided(0, 1))
    assert not is_withdrawn(lost(1, 5), waits(6))
    assert not is_withdrawn(lost(1, 5), claimed(5, Kind.FOLLOW))
    assert not is_withdrawn(lost(1, 5), claimed(5, uid=TWO))
    assert not is_withdrawn(replace(lost(1, 5), verdict=Verdict.MISSED), claimed(5))
    assert is_withdrawn(lost(5, 5, b"r" * 16), claimed(5, Kind.MANUAL))
    assert not is_withdrawn(lost(5, 5, b"x" * 16), claimed(5))


def test_a_verdict_is_stored_as_it_was_told() -> None:
    batch = Batch(WORKER, "web1", SPOOL, Lane.STATE, 1, 1, bytes(8), [])
    row = range_of(batch, decided(3, 9, b"r" * 16))
    assert (row.worker, row.first_slot, row.last_slot, row.count) == ("web1", 3, 9, 1)
    assert (row.verdict, row.decided_at, row.run_id) == (Verdict.MISSED, 9, b"r" * 16)


def test_a_verdict_settles_what_waits() -> None:
    row = WaitingRow(b"r" * 16, 1, 0, ONE, "one", WORKER, "web1", 5, b"", "queue", 5, 5, None)
    assert is_settled(row, decided(1, 5))
    assert not is_settled(row, decided(6, 9))
    assert not is_settled(replace(row, attempt=2), decided(1, 5))
    assert not is_settled(replace(row, kind=1), decided(1, 5))
    assert not is_settled(replace(row, schedule_uid=TWO), decided(1, 5))
    assert is_settled(replace(row, kind=1), decided(1, 1, b"r" * 16))
    assert not is_settled(row, decided(1, 5, b"x" * 16))
    assert waits_in_vain(row, 4)
    assert not waits_in_vain(row, 5)
    assert not waits_in_vain(replace(row, attempt=2), 4)
    assert not waits_in_vain(replace(row, kind=1), 4)


def test_slots_are_counted_over_spans() -> None:
    texts = [
        timing_text(Schedule(uid=ONE, name="", calendars=[text], steps=[]))
        for text in ("*:*:0/10", "*:*:*")
    ]
    slow, fast = map(timing_hash, texts)
    timings = dict(zip((slow, fast), texts, strict=True))
    second = 1_000_000
    spans = [
        span(ONE, 0, 60 * second, timing=slow),
        span(ONE, 60 * second, timing=fast),
    ]
    assert slots_in(spans, timings, second, 60 * second) == 6
    assert slots_in(spans, timings, 60 * second, 70 * second) == 11
    assert slots_in(spans, timings, 1, 1) == 0
    assert slots_in([], timings, 0, 99) == 0
    assert slots_in([span(ONE, 0, timing=NO_TIMING)], timings, 1, 99) is None
    assert slots_in([span(ONE, 0)], {A: '{"calendars": ["*:61"]}'}, 1, 99) is None


def test_what_never_came_is_what_was_printed_and_neither_cut_nor_received() -> None:
    assert missing_bytes(100, 0, 100, 0) == missing_bytes(100, 10, 95, 0) == 0
    assert missing_bytes(100, 0, 100, 7) == 7
