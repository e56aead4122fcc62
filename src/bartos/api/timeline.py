"""What does a day look like? When each schedule, or each worker, ran, did not run, and is due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from bartos.api.asked import Date
from bartos.api.given import Given
from bartos.api.models import instant_of, moment
from bartos.api.planned import aside, starting
from bartos.api.problems import Problem
from bartos.dayline import ROWS_MAX, Day, Row, Tick, rows
from bartos.hourly import Window, planned
from bartos.plan import WorkerFacts
from bartos.planning import Planner
from bartos.services import Services
from bartos.store.port import RunFilter, RunRow, SlotRange
from libbarto.identity import uuid_text
from libbarto.realtime import zones

RUNS_MAX: Final = 5000
RANGES_MAX: Final = 2000
READ: Final = 1000
BEFORE_US: Final = 12 * 3600 * 1_000_000
"""So long before a day begins, runs are looked for that reach into it."""
WORKERS_MAX: Final = 50
"""Workers of which ticks are worked out, where rows are workers."""

router = APIRouter(prefix="/api/v1", tags=["history"])


class By(StrEnum):
    """What a row is."""

    SCHEDULE = "schedule"
    WORKER = "worker"


class DayBar(BaseModel):
    """It ran: `count` runs that lie too close to be told apart; `verdict` (null: it runs) and `run`
    are those of the worst."""

    begin: datetime
    end: datetime
    verdict: str | None
    run: str
    count: int


class DayHole(BaseModel):
    """`count` planned starts that did not run, and why."""

    first: datetime
    last: datetime
    count: int
    verdict: str
    reason: str


class DayTick(BaseModel):
    """`count` starts are planned about `at`."""

    at: datetime
    count: int


class DayRow(BaseModel):
    """A schedule, or a worker, in the course of the day."""

    name: str
    runs: int
    busy_seconds: float = Field(description="for so long at least one of them ran")
    at_once: int = Field(description="so many ran at once, at most")
    bars: list[DayBar]
    holes: list[DayHole]
    ticks: list[DayTick]

    @classmethod
    def of(cls, row: Row) -> DayRow:
        """The model of a row."""
        return cls(
            name=row.name,
            runs=row.runs,
            busy_seconds=row.busy_us / 1e6,
            at_once=row.at_once,
            bars=[
                DayBar(
                    begin=moment(bar.begin),
                    end=moment(bar.end),
                    verdict=None if bar.verdict is None else bar.verdict.word,
                    run=uuid_text(bar.run),
                    count=bar.count,
                )
                for bar in row.bars
            ],
            holes=[
                DayHole(
                    first=moment(hole.first),
                    last=moment(hole.last),
                    count=hole.count,
                    verdict=hole.verdict.word,
                    reason=hole.reason,
                )
                for hole in row.holes
            ],
            ticks=[DayTick(at=moment(tick.at), count=tick.count) for tick in row.ticks],
        )


class Timeline(BaseModel):
    """A day, from `begin` up to `end`. `cut` says that there is more than is told: a schedule or a
    worker makes it less."""

    day: date
    timezone: str
    begin: datetime
    end: datetime
    now: datetime
    rows: list[DayRow]
    cut: bool


@router.get("/timeline", responses={404: {}})
async def timeline(
    given: Given,
    day: Annotated[Date | None, Query(description="today if not given")] = None,
    timezone: Annotated[
        str | None, Query(max_length=100, description="the pages' zone if not given")
    ] = None,
    by: By = By.SCHEDULE,
    schedule: str | None = None,
    worker: str | None = None,
) -> Timeline:
    """When things ran on a day of a time zone: runs, planned starts that did not run, and those
    that are still to come. What lies too close together is told as one."""
    zone = _zone(timezone or given.facts().pages.timezone)
    now = given.clock.now()
    here = moment(now).astimezone(zone).date() if day is None else day
    begin, end = _bounds(here, zone)
    span = Day(begin, end, now)
    runs, more_runs = await _runs(given, span, schedule, worker)
    ranges = await given.store.ranges(
        RunFilter(schedule=schedule, worker=worker, since=begin, until=end, limit=RANGES_MAX + 1)
    )
    workers = starting(given, await given.overview.workers(), end)
    asked = [it for it in workers if worker is None or it.name == worker]
    ticks = await aside(
        len(given.planner.definitions) * len(asked),
        _ticks,
        *(given.planner, asked, span, by, schedule),
    )
    name_of: Callable[[RunRow | SlotRange], str] = (
        (lambda row: row.schedule) if by is By.SCHEDULE else (lambda row: row.worker)
    )
    found = rows(span, runs, ranges[:RANGES_MAX], ticks, name_of)
    return Timeline(
        day=here,
        timezone=zone.key,
        begin=moment(begin),
        end=moment(end),
        now=moment(now),
        rows=[DayRow.of(row) for row in found[:ROWS_MAX]],
        cut=more_runs or len(ranges) > RANGES_MAX or len(found) > ROWS_MAX,
    )


def _zone(name: str) -> ZoneInfo:
    if not zones.is_zone(name):
        raise Problem(HTTPStatus.NOT_FOUND, f'"{name}" is not the name of a time zone')
    return ZoneInfo(name)


def _bounds(day: date, zone: ZoneInfo) -> tuple[int, int]:
    """The instants between which a day lies. Raises `Problem` for the ends of the calendar."""
    try:
        begin = datetime.combine(day, time(), zone)
        end = datetime.combine(day + timedelta(days=1), time(), zone)
        return instant_of(begin), instant_of(end)
    except (OverflowError, ValueError) as error:
        raise Problem(HTTPStatus.NOT_FOUND, "that day is beyond the calendar") from error


async def _runs(
    given: Services, day: Day, schedule: str | None, worker: str | None
) -> tuple[list[RunRow], bool]:
    """The runs of a day, newest first, at most `RUNS_MAX`; and whether there are more."""
    wanted = RunFilter(
        schedule=schedule,
        worker=worker,
        since=day.begin - BEFORE_US,
        until=day.end,
        limit=READ,
    )
    found: dict[bytes, RunRow] = {}
    more = False
    while True:
        page = await given.store.runs(wanted)
        found |= {row.run_id: row for row in page}
        if len(page) < READ:
            break
        if len(found) >= RUNS_MAX:
            more = True
            break
        wanted = replace(wanted, before=(page[-1].slot, page[-1].run_id))
    if day.now >= day.begin:
        running = RunFilter(schedule=schedule, worker=worker, running=True, limit=READ)
        found |= {row.run_id: row for row in await given.store.runs(running)}
    return list(found.values()), more


def _ticks(
    planner: Planner, workers: Sequence[WorkerFacts], day: Day, by: By, schedule: str | None
) -> dict[str, list[Tick]]:
    """What is still to come on a day, by the name of its row."""
    first = max(day.begin, day.now)
    if first >= day.end or not workers:
        return {}
    definitions = [it for it in planner.definitions if schedule is None or it.name == schedule]
    window = Window(first, day.end, day.part)
    if by is By.SCHEDULE:
        found: dict[str, list[Tick]] = {}
        counted = planned(definitions, workers, window, planner.pauses)
        for span, counts in sorted(counted.spans.items()):
            for name, count in counts.items():
                tick = Tick(first + span * day.part, count)
                found.setdefault(name, []).append(tick)
        return found
    return {
        worker.name: [
            Tick(first + span * day.part, counts.total())
            for span, counts in sorted(
                planned(definitions, [worker], window, planner.pauses).spans.items()
            )
        ]
        for worker in workers[:WORKERS_MAX]
    }
