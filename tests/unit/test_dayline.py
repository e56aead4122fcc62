"""A day in rows: what overlaps stays apart, what cannot be told apart becomes one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bartos.dayline import Day, Row, Tick, rows
from bartos.store.port import RunRow, SlotRange
from libbarto.message.v2.record import Verdict

HOUR = 3_600_000_000
MINUTE = 60_000_000
DAY = Day(0, 24 * HOUR, 12 * HOUR)
RUN = RunRow(
    run_id=bytes(16),
    attempt=1,
    schedule_uid=bytes(16),
    schedule="backup",
    worker_uid=bytes(16),
    worker="web1",
    kind=0,
    slot=0,
    claimed_at=0,
    late_us=0,
    generation=1,
    started_at=0,
    ended_at=0,
    verdict=Verdict.OK,
    reason="",
    exit_code=0,
    signal=None,
    complete=True,
    bytes_out=0,
    bytes_err=0,
    cut_bytes=0,
    cut_lines=0,
)
HOLE = SlotRange(bytes(16), "backup", bytes(16), "web1", 0, 0, 1, Verdict.MISSED, "", 0)


def ran(begin: int, end: int | None, verdict: Verdict | None = Verdict.OK, mark: int = 0) -> RunRow:
    number = bytes([mark]) * 16
    return replace(RUN, run_id=number, started_at=begin, ended_at=end, verdict=verdict)


def day(runs: list[RunRow], *ranges: SlotRange, **ticks: list[Tick]) -> list[Row]:
    return rows(DAY, runs, ranges, ticks, lambda row: row.schedule)


def test_what_overlaps_is_two_bars() -> None:
    (row,) = day([ran(HOUR, 3 * HOUR), ran(2 * HOUR, 4 * HOUR)])
    assert [(bar.begin, bar.end) for bar in row.bars] == [(HOUR, 3 * HOUR), (2 * HOUR, 4 * HOUR)]
    assert (row.busy_us, row.at_once, row.runs) == (3 * HOUR, 2, 2)


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        ((Verdict.OK, Verdict.FAILED), Verdict.FAILED),
        ((Verdict.FAILED, Verdict.OK), Verdict.FAILED),
        ((Verdict.OK, Verdict.MISSED), Verdict.MISSED),
        ((Verdict.INTERRUPTED, Verdict.LOST), Verdict.LOST),
    ],
)
def test_a_bar_of_several_is_the_worst_of_them(
    verdicts: tuple[Verdict, Verdict], worst: Verdict
) -> None:
    both = [ran(HOUR + n, HOUR + n + 5, it, n) for n, it in enumerate(verdicts)]
    ((bar,),) = [row.bars for row in day(both)]
    assert (bar.count, bar.verdict) == (2, worst)


def test_what_lies_outside_of_the_day_is_left_out_and_cut() -> None:
    (row,) = day(
        [ran(-2 * HOUR, -HOUR), ran(-HOUR, HOUR), ran(23 * HOUR, 25 * HOUR), ran(26 * HOUR, None)]
    )
    assert [(bar.begin, bar.end) for bar in row.bars] == [(0, HOUR), (23 * HOUR, 24 * HOUR)]


def test_what_runs_goes_on_until_now() -> None:
    (row,) = day([replace(ran(0, None, None), started_at=None, claimed_at=11 * HOUR)])
    assert [(bar.begin, bar.end) for bar in row.bars] == [(11 * HOUR, 12 * HOUR)]


def test_holes_and_ticks_make_rows_too() -> None:
    inside = replace(HOLE, first_slot=2 * HOUR, last_slot=3 * HOUR, count=2)
    outside = replace(HOLE, schedule="other", first_slot=30 * HOUR, last_slot=31 * HOUR)
    found = day([], inside, outside, later=[Tick(20 * HOUR, 3)], never=[])
    assert [row.name for row in found] == ["backup", "later"]
    assert [hole.count for hole in found[0].holes] == [2]
    assert found[0].at_once == 0
