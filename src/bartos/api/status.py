"""How do things stand, and what comes next? The status on one screen, and timers row by row."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from bartos.api import models, paging, timers
from bartos.api.given import Given
from bartos.api.models import maybe, moment
from bartos.outlook import DISABLED, NEVER, Timer, soon
from bartos.overview import SLICE, Failing, Last, Standing
from bartos.services import Services
from libbarto.identity import uuid_text

SHOWN = 20
"""Rows of each part of the status."""
SOON_US = 86_400_000_000

router = APIRouter(prefix="/api/v1", tags=["now"])


@router.get("/status")
async def status(given: Given) -> timers.Status:
    """How everything stands, on one screen: how many schedules on workers are well, which are not,
    what runs, what comes within a day."""
    standing = await given.overview.standing(SHOWN, SHOWN)
    now = given.clock.now()
    stuck = {one.run.run_id: one.why for one in given.watch.last.stuck}
    names = {row.uid: row.name for row in standing.workers}
    away = [row.name for row in standing.workers if row.uid not in standing.connected]
    return timers.Status(
        counts={word: standing.counts[word] for word in sorted(standing.counts)},
        workers=len(standing.workers),
        connected=len(standing.connected),
        away=away[:SHOWN],
        drained=sorted(names[uid] for uid in standing.drains if uid in names)[:SHOWN],
        schedules=len(given.planner.definitions),
        confirmed=sum(one.confirmed for one in standing.connected.values()),
        meant=len(_meant(standing)),
        failing=[_failing(one) for one in standing.failing],
        running=[models.Run.of(row, stuck.get(row.run_id)) for row in standing.running],
        next=[
            timers.Planned(
                schedule=one.schedule,
                first=moment(one.first),
                last=moment(one.last),
                workers=one.workers,
                worker=one.worker,
                timezone=one.timezone,
            )
            for one in soon(standing.timers, now + SOON_US, SHOWN)
        ],
    )


def _meant(standing: Standing) -> set[bytes]:
    """The workers that have schedules of their own, or are connected."""
    own = {timer.worker_uid for timer in standing.timers if timer.worker_uid}
    return own | set(standing.connected)


def _failing(one: Failing) -> timers.Failing:
    run = one.run
    return timers.Failing(
        schedule=one.schedule,
        worker=one.worker,
        state=one.state,
        reason=one.reason,
        exit_code=None if run is None else run.exit_code,
        signal=None if run is None else run.signal,
        run=None if run is None else uuid_text(run.run_id),
        slot=moment(one.slot),
        times=one.times,
        since=maybe(one.since),
    )


@router.get("/timers")
async def list_timers(
    given: Given,
    schedule: Annotated[str | None, Query(description="of this schedule alone")] = None,
    worker: Annotated[str | None, Query(description="on this worker alone")] = None,
    every: Annotated[
        bool, Query(alias="all", description="also what is disabled, or never due")
    ] = False,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> timers.Timers:
    """When each schedule is due next on each worker, soonest first, and what became of it last.

    Where nothing will start, `state` says why, and `next` is no time of the past.
    """
    rows = await given.overview.timers()
    if schedule is not None or worker is not None or not every:
        rows = await _filtered(rows, schedule, worker, every=every)
    taken, following = paging.page(rows, _key, (bool, int, str, str), limit, cursor)
    return timers.Timers(timers=await told(given, taken), next=following)


async def _filtered(
    rows: Sequence[Timer], schedule: str | None, worker: str | None, *, every: bool
) -> list[Timer]:
    found = []
    for number, row in enumerate(rows):
        if number % (10 * SLICE) == 10 * SLICE - 1:
            await asyncio.sleep(0)
        if (
            (every or row.state not in {DISABLED, NEVER})
            and (schedule is None or row.schedule == schedule)
            and (worker is None or row.worker == worker)
        ):
            found.append(row)
    return found


def _key(row: Timer) -> tuple[bool, int, str, str]:
    return row.key


async def told(given: Services, rows: Sequence[Timer]) -> list[timers.Timer]:
    """The models of timers, with what ran last."""
    lasts = await given.overview.lasts(rows)
    return [_timer(row, last) for row, last in zip(rows, lasts, strict=True)]


def _timer(row: Timer, last: Last) -> timers.Timer:
    run, missed = last.newest, last.missed
    slot = None if run is None else run.slot
    verdict = None if run is None or run.verdict is None else run.verdict.word
    seconds = None
    if run is not None and run.started_at is not None and run.ended_at is not None:
        seconds = (run.ended_at - run.started_at) / 1e6
    if missed is not None:
        slot, verdict, seconds, run = missed.last_slot, "missed", None, None
    return timers.Timer(
        schedule=row.schedule,
        worker=row.worker,
        one_of=row.one_of,
        state=row.state,
        next=maybe(row.next),
        planned=maybe(row.planned),
        timezone=row.timezone,
        by=row.by,
        until=maybe(row.until),
        reason=row.reason,
        last=maybe(slot),
        verdict=verdict,
        seconds=seconds,
        exit_code=None if run is None else run.exit_code,
        signal=None if run is None else run.signal,
        run=None if run is None else uuid_text(run.run_id),
        running=run is not None and run.verdict is None,
    )
