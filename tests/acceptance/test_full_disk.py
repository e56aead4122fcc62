"""A worker whose disk is full: what starts is claimed, what ends is told, and it goes on by
itself."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bartoc.ballast import BALLAST_BYTES
from libbarto.message.v2.record import Claimed, Cut, Decided, Ended, Lane, Notice, Output, Verdict
from tests.acceptance.fleet import until
from tests.acceptance.lonely import Lonely
from tests.small_disk import fill, free, small_disk

GOES_ON_S = 5.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "6m") as disk:
        yield disk


def ballast(worker: Lonely) -> int:
    return (worker.state / "journal.db.ballast").stat().st_size


def claims(worker: Lonely) -> list[Claimed]:
    return [one for one in worker.records() if isinstance(one, Claimed)]


def honest(worker: Lonely) -> None:
    """Every start was claimed, none was twice, and each slot up to the last has its line."""
    told = worker.records()
    started = Counter(worker.witness.read_text().split())
    assert set(started.values()) == {1}
    claimed = [one.slot for one in told if isinstance(one, Claimed)]
    assert len(started) <= len(claimed) == len(set(claimed))
    slots = list(claimed)
    for one in told:
        if isinstance(one, Decided):
            slots += range(one.first_slot, one.last_slot + 1, 1_000_000)
    assert sorted(slots) == list(range(min(slots), max(slots) + 1, 1_000_000))


def test_claims_and_verdicts_have_the_ballasts_room(tmp_path: Path, disk: Path) -> None:
    worker = Lonely(tmp_path, "echo hello", calendar="*:*:*", state=disk)
    worker.start()
    try:
        until(lambda: len(claims(worker)) >= 2, "it starts")
        assert ballast(worker) == BALLAST_BYTES
        fill(disk)
        until(lambda: ballast(worker) == 0, "the ballast is given up")
        before = len(claims(worker))
        until(lambda: len(claims(worker)) >= before + 3, "it goes on starting")
        ends = [one for one in worker.records() if isinstance(one, Ended)]
        others = [one for one in ends if one.verdict != Verdict.OK]
        # A start may be under way, claimed already, in the very milliseconds in which it fills.
        assert len(others) <= 1
        assert all(
            (one.verdict, one.reason)
            == (Verdict.INTERRUPTED, "did not start: could not start: No space left on device")
            for one in others
        )
        notices = [one.kind for one in worker.records() if isinstance(one, Notice)]
        assert notices == ["disk_full"]
        free(disk)
        until(lambda: ballast(worker) == BALLAST_BYTES, "the ballast is back", GOES_ON_S)
        honest(worker)
    finally:
        worker.close()


def test_where_not_even_a_claim_has_room_nothing_starts_and_it_goes_on_by_itself(
    tmp_path: Path, disk: Path
) -> None:
    worker = Lonely(tmp_path, "echo hello", calendar="*:*:*", state=disk, start_within_us=500_000)
    worker.start()
    try:
        until(lambda: len(claims(worker)) >= 2, "it starts")
        fill(disk)
        until(lambda: ballast(worker) == 0, "the ballast is given up")
        stop = time.monotonic() + 20
        while "the journal failed" not in worker.log.read_text() and time.monotonic() < stop:
            fill(disk)  # whatever it lets go of, somebody else takes
            time.sleep(0.01)
        assert "the journal failed" in worker.log.read_text()
        before = worker.starts()
        time.sleep(2.5)
        assert worker.starts() <= before + 1
        free(disk)
        count = worker.starts()
        until(lambda: worker.starts() > count, "it goes on", GOES_ON_S)
        until(lambda: ballast(worker) == BALLAST_BYTES, "the ballast is back", GOES_ON_S)
        until(
            lambda: [o for o in worker.records() if isinstance(o, Decided) and "disk" in o.reason],
            "the slots are missed, and say why",
        )
        honest(worker)
    finally:
        worker.close()


def test_output_beyond_the_spool_waits_and_the_rest_goes_on(tmp_path: Path) -> None:
    worker = Lonely(
        tmp_path, "seq 300000", spool_max=200_000, output_max=1 << 30, calendar="*:*:0/5"
    )
    worker.start()
    try:
        until(lambda: "there is no room for output" in worker.log.read_text(), "output waits")
        time.sleep(2)
        size = sum(len(one.data) for one in worker.records(Lane.OUTPUT) if isinstance(one, Output))
        assert size < 2_000_000  # the limit, and what was on its way
        assert [one.kind for one in worker.records() if isinstance(one, Notice)] == ["spool_full"]
        assert not [one for one in worker.records(Lane.OUTPUT) if isinstance(one, Cut)]
    finally:
        worker.close()
