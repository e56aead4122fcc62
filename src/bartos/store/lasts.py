"""What does the store tell of the last run of each schedule on each worker? The rows, and the part
of its port; `Store` has these methods among its own.

A pair is (worker uid, schedule uid). Instants are microseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from libbarto.message.v2.record import Verdict

Pair: TypeAlias = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class LastRun:
    """What is told of a run in short. `verdict` is None while it runs."""

    worker_uid: bytes
    schedule_uid: bytes
    run_id: bytes
    slot: int
    verdict: Verdict | None
    started_at: int | None
    ended_at: int | None
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LastMissed:
    """The last planned starts of a pair that were *missed*."""

    worker_uid: bytes
    schedule_uid: bytes
    first_slot: int
    last_slot: int
    count: int
    reason: str


class Lasts(Protocol):
    """What came last. However many runs there are, each pair takes a few looks into an index."""

    async def newest_runs(self, pairs: Collection[Pair]) -> list[LastRun]:
        """Of each pair the run with the newest slot among those of each verdict, and among those
        that run."""

    async def newest_missed(self, pairs: Collection[Pair]) -> list[LastMissed]:
        """Of each pair its newest range of slots, where that was missed."""

    async def failures_after(
        self, worker_uid: bytes, schedule_uid: bytes, after: int, limit: int
    ) -> list[int]:
        """The slots beyond `after` of runs that someone should look at (`FAILURES`), ascending."""

    async def strip(self, schedule: str, limit: int) -> list[LastRun]:
        """The last runs of the schedule that has this name, on all workers, newest slot first."""
