"""Whoever dies at whichever point of a start and an end: one verdict, the right one, and never two
starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bartoc.keeper.crash import POINTS
from libbarto.message.v2.record import Claimed, Started, Status, Verdict
from tests.acceptance.lonely import Lonely


@dataclass(frozen=True)
class Outcome:
    """What has to come of a start: its verdict, the beginning of its reason, and how often its
    command may have begun."""

    verdict: Verdict
    reason: str
    starts: tuple[int, ...] = (1,)


NEVER = Outcome(Verdict.INTERRUPTED, "did not start", (0,))
PERHAPS = Outcome(Verdict.INTERRUPTED, "may or may not have started", (0, 1))
RAN = Outcome(Verdict.INTERRUPTED, "it had started, and its end was not seen")
WHOLE = Outcome(Verdict.FAILED, "exit 3")
"""As if nothing had happened."""

EXPECTED = {
    "claim.before_commit": WHOLE,
    "claim.before_end_of_commit": WHOLE,
    "claim.after_commit": NEVER,
    "spawn.before_write": NEVER,
    "spawn.after_write": WHOLE,
    "end.before_commit": WHOLE,
    "end.after_commit": WHOLE,
    "forget.before_write": WHOLE,
    "forget.after_write": WHOLE,
    "keeper.before_directory": NEVER,
    "keeper.before_rename": NEVER,
    "keeper.after_directory": NEVER,
    "keeper.after_fork": NEVER,
    "keeper.after_pid": PERHAPS,
    "keeper.after_go": PERHAPS,
    "keeper.after_output": RAN,
    "keeper.after_exit": RAN,
    "keeper.before_end": RAN,
    "keeper.between_ends": RAN,
    "keeper.after_end": WHOLE,
    "keeper.amid_forget": WHOLE,
    "keeper.after_forget": WHOLE,
}


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Lonely]:
    lonely = Lonely(tmp_path, "echo hello; exit 3")
    yield lonely
    lonely.close()


def test_every_point_has_a_verdict() -> None:
    assert set(EXPECTED) == set(POINTS)


@pytest.mark.parametrize("point", EXPECTED)
def test_a_death_leaves_one_verdict_and_no_second_start(worker: Lonely, point: str) -> None:
    expected = EXPECTED[point]
    worker.start(crash_at=point)
    if not point.startswith("keeper."):  # else bartoc goes on, with a new keeper
        worker.dies()
        worker.start()
    end = worker.end()
    assert (end.verdict, end.reason[: len(expected.reason)]) == (expected.verdict, expected.reason)
    assert worker.starts() in expected.starts
    told = worker.records()
    assert len([one for one in told if isinstance(one, Claimed)]) == 1
    assert len([one for one in told if isinstance(one, Started)]) <= 1
    if expected is WHOLE:
        (status,) = [one for one in told if isinstance(one, Status)]
        assert status.exit_code == 3
        assert worker.printed() == b"hello\n"
    else:
        assert worker.printed() in (b"", b"hello\n")
