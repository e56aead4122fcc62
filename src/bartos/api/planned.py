"""How many planned starts does each hour have? For views of a week or a day."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, ParamSpec, TypeVar

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from bartos.api.asked import Time
from bartos.api.given import Given
from bartos.api.models import instant_of, moment
from bartos.api.problems import Problem
from bartos.hourly import Window, planned
from bartos.plan import WorkerFacts
from bartos.planning import facts_of
from bartos.services import Services
from bartos.store.port import WorkerRow
from libbarto.realtime.units import SECOND_US

HOUR_US = 3600 * SECOND_US
HOURS_MAX = 31 * 24 + 1
NAMED = 5
"""Schedules that are named of an hour."""

AT_ONCE = 1000
"""Schedules on workers that are counted without a thread."""

Asked = ParamSpec("Asked")
Answered = TypeVar("Answered")

router = APIRouter(prefix="/api/v1", tags=["calendar"])


class PlannedOf(BaseModel):
    """So many starts are of this schedule."""

    schedule: str
    starts: int


class PlannedHour(BaseModel):
    """The hour that begins `at`: how many starts are planned in it, and of which schedules most."""

    at: datetime
    starts: int
    schedules: int = Field(description="how many schedules are due in it")
    most: list[PlannedOf] = Field(description=f"those with most starts, at most {NAMED}")


class PlannedHours(BaseModel):
    """Every hour of the span, also those in which nothing is planned."""

    hours: list[PlannedHour]
    total: int
    estimated: bool = Field(description="some numbers stand for more workers than were counted")


async def aside(
    pairs: int, count: Callable[Asked, Answered], *args: Asked.args, **more: Asked.kwargs
) -> Answered:
    """Count for so many schedules on workers: of a large fleet it takes a while, in which nobody
    else may wait."""
    if pairs <= AT_ONCE:
        return count(*args, **more)
    return await asyncio.to_thread(count, *args, **more)


def starting(given: Services, rows: Iterable[WorkerRow], end: int) -> list[WorkerFacts]:
    """The workers that start anything before `end`: all but those that are drained for longer."""
    drains = given.planner.drains
    held = {uid for uid, one in drains.items() if one.until is None or one.until >= end}
    return [facts_of(row) for row in rows if row.uid not in held]


@router.get("/planned", responses={409: {}})
async def planned_hours(
    given: Given,
    begin: Annotated[Time, Query(alias="from", description="when the first hour begins")],
    until: Annotated[Time, Query(description="the end; at most 31 days later")],
    schedule: Annotated[str | None, Query(description="of this schedule alone")] = None,
    worker: Annotated[str | None, Query(description="on this worker alone")] = None,
) -> PlannedHours:
    """Planned starts by hour, of all that is in force now: counted, so that it makes no difference
    how many there are. What is paused is not planned, nor is anything on a drained worker."""
    first, end = instant_of(begin), instant_of(until)
    hours = -(-(end - first) // HOUR_US)
    if not 0 < hours <= HOURS_MAX:
        raise Problem(HTTPStatus.CONFLICT, "until is after from, and at most 31 days later")
    definitions = [
        it for it in given.planner.definitions if schedule is None or it.name == schedule
    ]
    rows = [row for row in await given.overview.workers() if worker is None or row.name == worker]
    facts = starting(given, rows, end)
    window = Window(first, end, HOUR_US)
    counted = await aside(
        len(definitions) * len(facts), planned, definitions, facts, window, given.planner.pauses
    )
    told = []
    for number in range(hours):
        found = counted.spans.get(number)
        told.append(
            PlannedHour(
                at=moment(first + number * HOUR_US),
                starts=0 if found is None else found.total(),
                schedules=0 if found is None else len(found),
                most=[
                    PlannedOf(schedule=name, starts=count)
                    for name, count in ([] if found is None else found.most_common(NAMED))
                ],
            )
        )
    return PlannedHours(
        hours=told, total=sum(hour.starts for hour in told), estimated=counted.estimated
    )
