"""All schedules, and all of one: when it runs, how it went, and what it says of itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from pydantic_core import to_jsonable_python
from starlette.responses import Response

from bartos.api import models
from bartos.api import runs as history
from bartos.api import schedules as api
from bartos.api.problems import Problem
from bartos.api.why import ask_why
from bartos.schedules import Definition
from bartos.web.pages import Visit, Visiting
from bartos.web.strip import Strip, strip
from libbarto.quantity import format_duration
from libbarto.toml_text import toml_text

router = APIRouter(include_in_schema=False)

PAGE: Final = 50
BARS: Final = 30
HOLES: Final = 1000
RUNS: Final = 20

Text = Annotated[str, Query(max_length=200)]


@router.get("/schedules")
async def schedules(
    visit: Visiting,
    text: Text = "",
    tag: Annotated[str, Query(max_length=100)] = "",
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """The schedules in force, those that fit."""
    page = await api.schedules(
        visit.services,
        text=text or None,
        tag=[tag] if tag else None,
        strip=BARS,
        limit=PAGE,
        cursor=cursor,
    )
    more = {"text": text, "tag": tag, "cursor": page.next}
    values = {
        "schedules": page.schedules,
        "strips": await _strips(visit, page.schedules),
        "text": text,
        "tag": tag,
        "tags": _tags(visit),
        "more": urlencode({key: value for key, value in more.items() if value}),
        "following": page.next is not None,
    }
    return visit.page("schedules.html", values, active="Schedules")


@router.get("/fragments/schedule")
async def row(visit: Visiting, name: Annotated[str, Query(max_length=255)]) -> Response:
    """The row of one schedule, as it is now: for the script, when one of its runs has ended."""
    one = await api.schedule(visit.services, name, strip=BARS)
    strips = await _strips(visit, [one])
    return visit.page("schedule_row.html", {"one": one, "strips": strips})


@router.get("/schedules/{name:path}")
async def schedule(
    visit: Visiting,
    name: str,
    why: str | None = None,
    worker: Annotated[str, Query(max_length=255)] = "",
) -> Response:
    """All of one schedule; with `why`, also why one of its planned starts ran or did not: that
    at the time in it, or the one that needs a look most."""
    try:
        one = await api.schedule(visit.services, name, strip=BARS)
    except Problem as problem:
        if problem.status is not HTTPStatus.NOT_FOUND:
            raise
        said = {"title": "No such schedule", "detail": problem.detail}
        return visit.page("problem.html", said, active="Schedules", status=problem.status)
    runs = await history.runs(visit.services, schedule=one.name, limit=RUNS)
    holes = await history.ranges(visit.services, schedule=one.name, limit=RUNS)
    values = {
        "one": one,
        "strip": (await _strips(visit, [one]))[one.name],
        "runs": runs.runs,
        "more_runs": runs.next is not None,
        "holes": holes.ranges,
        "definition": definition_text(one.definition),
        **await _why(visit, one.name, why, worker),
    }
    return visit.page("schedule.html", values, active="Schedules")


async def _why(visit: Visit, name: str, at: str | None, worker: str) -> dict[str, Any]:
    """What is told of a planned start; in place of it, why nothing can be."""
    if at is None:
        return {"why": None, "why_not": ""}
    try:
        slot = datetime.fromisoformat(at) if at else None
        if slot is not None and slot.tzinfo is None:
            raise ValueError
        slot = None if slot is None else models.moment(models.instant_of(slot))
    except ValueError:
        return {"why": None, "why_not": f'"{at}" is no time; write it as 2026-11-24T02:00:00Z'}
    try:
        told = await ask_why(
            visit.services, schedule=name, worker=worker or None, at=slot, timezone=visit.zone_name
        )
    except Problem as problem:
        return {"why": None, "why_not": problem.detail}
    return {"why": told, "why_not": ""}


def definition_text(definition: Mapping[str, object]) -> str:
    """A definition as it would be written: TOML, without what is so by itself.

    >>> print(definition_text({"name": "a", "cmds": ["x"], "timeout": 5400.0, "retries": 0}))
    [[schedule]]
    name = "a"
    cmds = ["x"]
    timeout = "1h30m"
    """
    keys = [key for key in FIRST if key in definition]
    keys += [key for key in definition if key not in FIRST]
    lines = [
        f"{key} = {toml_text(_written(definition[key]))}"
        for key in keys
        if definition[key] != _DEFAULTS.get(key)
    ]
    return "\n".join(["[[schedule]]", *lines])


FIRST: Final = ("name", "description", "workers", "on_calendar", "cron", "every", "at", "after")
"""Keys that come first; the others follow as they are declared."""

_DEFAULTS: Final = {
    name: to_jsonable_python(field.get_default(call_default_factory=True))
    for name, field in Definition.model_fields.items()
    if not field.is_required()
}


def _written(value: object) -> object:
    """A value as people write it: durations are the only numbers with a fraction."""
    if isinstance(value, float):
        return format_duration(value)
    if isinstance(value, dict):
        return {key: _written(one) for key, one in value.items() if one is not None}
    return value


def _tags(visit: Visit) -> list[str]:
    return sorted({tag for one in visit.services.planner.definitions for tag in one.tags})


async def _strips(visit: Visit, views: Sequence[api.ScheduleView]) -> dict[str, Strip]:
    """The strip of each, with what did not run: all of it read at once."""
    begin = min((one.strip[0].slot for one in views if one.strip), default=None)
    only = views[0].name if len(views) == 1 else None
    found = await history.ranges(visit.services, schedule=only, since=begin, limit=HOLES)
    holes: dict[str, list[models.Range]] = defaultdict(list)
    for hole in found.ranges:
        holes[hole.schedule].append(hole)
    return {one.name: strip(one.strip, holes[one.name], BARS) for one in views}
