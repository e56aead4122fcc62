"""What does an expression of time mean, and how full is a week? A preview that explains as one
types, and planned starts by the hour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from bartos.api import calendar as explained
from bartos.api import planned
from bartos.api.problems import Problem
from bartos.explaining import Kind
from bartos.web.pages import Visit, Visiting
from libbarto.errors import CalendarError
from libbarto.realtime import zones

router = APIRouter(include_in_schema=False)

DAYS: Final = 7
STARTS: Final = 5
HEATS: Final = 6
"""Shades beyond none."""
EXAMPLES: Final = (
    "Mon..Fri 02:30",
    "*-*-* 04:R",
    "Mon *-*-01..07 06:00",
    "*:0/15",
    "*-*~01 23:00",
    "0 2 * * 1-5",
)


@dataclass(frozen=True, slots=True)
class Cell:
    """An hour of a day: so many starts, `heat` from 0 (none) to `HEATS`, what most of them are."""

    hour: int
    starts: int
    heat: int
    says: str


@dataclass(frozen=True, slots=True)
class Row:
    """A day of the week that is shown."""

    day: date
    cells: Sequence[Cell]
    total: int


@router.get("/calendar")
async def calendar(
    visit: Visiting,
    text: Annotated[str, Query(max_length=explained.TEXT_MAX)] = "",
    timezone: Annotated[str, Query(max_length=100)] = "",
    week: date | None = None,
    schedule: Annotated[str, Query(max_length=255)] = "",
    worker: Annotated[str, Query(max_length=255)] = "",
) -> Response:
    """The preview of an expression, and the planned starts of a week."""
    zone = timezone.strip() or visit.zone_name
    found, said = None, ""
    if text.strip():
        try:
            found = await explained.calendar(
                visit.services,
                text=[text],
                kind=Kind.AUTO,
                timezone=zones.load(zone).name,
                limit=STARTS,
            )
        except CalendarError as error:
            said = error.message
    today = visit.now.astimezone(visit.zone).date()
    first = week or today
    rows, total, estimated = await _week(visit, first, schedule.strip(), worker.strip())
    values = {
        "text": text,
        "timezone": zone,
        "given_zone": timezone.strip(),
        "preview": found,
        "said": said,
        "examples": EXAMPLES,
        "rows": rows,
        "total": total,
        "estimated": estimated,
        "today": today,
        "first": first,
        "before": _beside(first, -DAYS),
        "after": _beside(first, DAYS),
        "brief": short,
        "schedule": schedule.strip(),
        "worker": worker.strip(),
    }
    return visit.page("calendar.html", values, active="Calendar")


def _beside(day: date, by: int) -> date | None:
    try:
        return day + timedelta(days=by)
    except OverflowError:
        return None


async def _week(
    visit: Visit, first: date, schedule: str, worker: str
) -> tuple[list[Row], int, bool]:
    try:
        begin = datetime.combine(first, time(), visit.zone)
        until = datetime.combine(first + timedelta(days=DAYS), time(), visit.zone)
        begin.timestamp(), until.timestamp()
    except (OverflowError, ValueError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "that week is beyond the calendar") from error
    found = await planned.planned_hours(
        visit.services,
        begin=begin,
        until=until,
        schedule=schedule or None,
        worker=worker or None,
    )
    cells: dict[tuple[date, int], list[planned.PlannedHour]] = {}
    for hour in found.hours:
        here = hour.at.astimezone(visit.zone)
        cells.setdefault((here.date(), here.hour), []).append(hour)
    most = max((sum(one.starts for one in hours) for hours in cells.values()), default=0)
    rows = []
    for number in range(DAYS):
        day = first + timedelta(days=number)
        made = [_cell(hour, cells.get((day, hour), []), most) for hour in range(24)]
        rows.append(Row(day, made, sum(cell.starts for cell in made)))
    return rows, found.total, found.estimated


def _cell(hour: int, hours: Sequence[planned.PlannedHour], most: int) -> Cell:
    """An hour on the clocks of a day, that may come twice or not at all."""
    starts = sum(one.starts for one in hours)
    names: dict[str, int] = {}
    for one in hours:
        for part in one.most:
            names[part.schedule] = names.get(part.schedule, 0) + part.starts
    said = ", ".join(f"{name} {count:,}" for name, count in names.items())
    others = sum(one.schedules for one in hours) - len(names)
    more = f" and {others} more" if others > 0 and len(hours) == 1 else ""
    return Cell(hour, starts, heat(starts, most), f"{said}{more}" or "nothing is planned")


def heat(starts: int, most: int) -> int:
    """How dark a number is drawn among others, by its size in digits.

    >>> [heat(n, 10_000) for n in (0, 1, 10, 100, 10_000)]
    [0, 1, 2, 3, 6]
    """
    if starts == 0:
        return 0
    return 1 + round((HEATS - 1) * math.log(starts) / math.log(max(most, 2)))


def short(number: int) -> str:
    """A number in at most four characters.

    >>> [short(n) for n in (7, 999, 1234, 12_000, 3_600_000)]
    ['7', '999', '1.2k', '12k', '3.6M']
    """
    for size, unit in ((1_000_000, "M"), (1000, "k")):
        if number >= size:
            amount = number / size
            return f"{amount:.1f}{unit}" if amount < 9.95 else f"{amount:.0f}{unit}"
    return str(number)
