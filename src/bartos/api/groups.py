"""How did one planned start go on all its workers? Groups of those that ended alike and printed the
same.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from bartos.api.asked import Time
from bartos.api.given import Given
from bartos.api.models import instant_of, moment
from bartos.folding import Group, folded
from bartos.store.port import RunFilter, RunRow, Store
from libbarto.identity import uuid_text

READ: Final = 500
MOST: Final = 20_000
"""Runs that are looked at."""
NAMED: Final = 20
GROUPS_MAX: Final = 200

router = APIRouter(prefix="/api/v1", tags=["history"])


class RunGroup(BaseModel):
    """So many runs that ended alike and printed the same; `verdict` is null where they run. `run`
    is the first of them, by worker; `workers` names at most 20."""

    count: int
    verdict: str | None
    exit_code: int | None
    signal: int | None
    reason: str = Field(description="of the first of them")
    stdout_bytes: int
    stderr_bytes: int
    run: str
    workers: list[str]
    seconds_least: float | None = Field(description="the shortest of them, from start to end")
    seconds_most: float | None

    @classmethod
    def of(cls, group: Group) -> RunGroup:
        """The model of a group."""
        first = group.runs[0]
        ended = group.verdict is not None
        took = [
            (run.ended_at - run.started_at) / 1e6
            for run in group.runs
            if run.ended_at is not None and run.started_at is not None
        ]
        return cls(
            count=len(group.runs),
            verdict=None if group.verdict is None else group.verdict.word,
            exit_code=first.exit_code if ended else None,
            signal=first.signal if ended else None,
            reason=first.reason,
            stdout_bytes=first.bytes_out,
            stderr_bytes=first.bytes_err,
            run=uuid_text(first.run_id),
            workers=[run.worker for run in group.runs[:NAMED]],
            seconds_least=min(took, default=None),
            seconds_most=max(took, default=None),
        )


class RunGroups(BaseModel):
    """The groups, the largest first; `differ` runs are in another than the largest."""

    schedule: str
    slot: datetime
    runs: int
    same: int
    differ: int
    groups: list[RunGroup]
    cut: bool = Field(description=f"there are more runs than the {MOST} that were looked at")


@router.get("/runs/groups")
async def groups(
    given: Given,
    schedule: Annotated[str, Query(max_length=255)],
    slot: Annotated[Time, Query(description="the planned start")],
    until: Annotated[
        Time | None,
        Query(description="planned starts before this too, where each worker has its own"),
    ] = None,
) -> RunGroups:
    """The runs of one planned start on all its workers, in groups: same verdict, same exit code,
    same output."""
    first = instant_of(slot)
    end = first + 1 if until is None else instant_of(until)
    rows = await slot_runs(given.store, schedule, first, end)
    found = folded(rows[:MOST])
    same = len(found[0].runs) if found else 0
    return RunGroups(
        schedule=schedule,
        slot=moment(first),
        runs=len(rows[:MOST]),
        same=same,
        differ=len(rows[:MOST]) - same,
        groups=[RunGroup.of(group) for group in found[:GROUPS_MAX]],
        cut=len(rows) > MOST,
    )


async def slot_runs(store: Store, schedule: str, first: int, end: int) -> list[RunRow]:
    """The runs of a schedule with planned starts from `first` up to `end`, at most some more than
    `MOST`."""
    wanted = RunFilter(schedule=schedule, since=first, until=end, limit=READ)
    rows: list[RunRow] = []
    while len(rows) <= MOST:
        page = await store.runs(wanted)
        rows += page
        if len(page) < READ:
            break
        wanted = replace(wanted, before=(page[-1].slot, page[-1].run_id))
    return rows
