"""Schedules over HTTP: what is in force, in words and in keys, where and when it runs next, and how
its last runs went.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from bartos import describing
from bartos.api import models, paging
from bartos.api.given import Given
from bartos.api.models import maybe, moment
from bartos.api.problems import Problem
from bartos.nearest import nearest
from bartos.overview import Summary
from bartos.planning import facts_of
from bartos.preview import planned_starts
from bartos.schedules import Definition
from bartos.services import Services
from bartos.store.lasts import LastRun
from bartos.store.port import FAILURES, ScheduleRow
from libbarto.identity import uuid_text
from libbarto.message.v2.record import Verdict

STRIP_MAX = 60
STRIP_ROWS = 200
"""Runs that are looked at for a strip: of a schedule on many workers, bars stand for many."""
STRIPS_MAX = 200
"""Schedules of a page with strips, each of which is a read of its own."""
ALL = 10_000
NEXT = 10
WORKERS_SHOWN = 1000

router = APIRouter(prefix="/api/v1", tags=["schedules"])


class Bar(BaseModel):
    """A planned start in a strip: on so many workers; the worst of its runs, and the longest."""

    slot: datetime
    runs: int
    verdict: str | None = Field(description="null while it runs")
    seconds: float | None
    run: str = Field(description="the id of the worst of its runs")


class LastStart(BaseModel):
    """The newest run of a schedule."""

    run: str
    slot: datetime
    verdict: str | None = Field(description="null while it runs")
    seconds: float | None
    exit_code: int | None
    signal: int | None


class ScheduleView(models.Schedule):
    """A schedule as lists show it."""

    when: str = Field(description="when it is due, in words")
    timezone: str
    tags: list[str]
    description: str
    floating: bool = Field(description="the server gives each start to one of its workers")
    workers: int = Field(description="so many workers may run it")
    state: str = Field(description="planned, or why nothing is, as timers have it")
    by: str = Field(description="who paused it")
    until: datetime | None = Field(description="how long it is paused")
    reason: str = Field(description="why it is paused, or never due")
    next: datetime | None = Field(description="the soonest start that will be made")
    last: LastStart | None
    counts: dict[str, int] = Field(description="its workers by what became of it there last")
    strip: list[Bar] = Field(description="its last planned starts, the oldest first")


class Schedules(BaseModel):
    """A page of the schedules in force, by name; `next` is the cursor of the next one."""

    schedules: list[ScheduleView]
    next: str | None


class Start(BaseModel):
    """A planned start at `at`, or, where each worker has one of its own, up to `until`. `note` says
    what a clock change makes of it."""

    at: datetime
    until: datetime | None
    zone: str
    note: str


class Place(BaseModel):
    """Where a schedule is written."""

    file: str
    line: int


class ScheduleDetail(ScheduleView):
    """All of a schedule."""

    policies: str = Field(description="how it runs, in a sentence")
    starts: list[Start] = Field(description="the next ten")
    worker_names: list[str] = Field(description=f"who may run it, at most {WORKERS_SHOWN}")
    followers: list[str] = Field(description="the schedules that come after it")
    source: Place | None = Field(description="null where it is not known")


@router.get("/schedules")
async def schedules(
    given: Given,
    text: Annotated[
        str | None, Query(max_length=200, description="in its name, description or tags")
    ] = None,
    tag: Annotated[
        list[str] | None, Query(max_length=20, description="one or more; all of them")
    ] = None,
    strip: Annotated[
        int,
        Query(
            ge=0,
            le=STRIP_MAX,
            description="so many last planned starts of each; then a page has at most "
            f"{STRIPS_MAX} rows",
        ),
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=ALL, description="rows of a page, at most")] = ALL,
    cursor: paging.Cursor = None,
) -> Schedules:
    """The schedules in force, by name, each with its next start, its last run and, with `strip`,
    how its last planned starts went."""
    rows = await given.store.schedules()
    known = {one.uid: one for one in given.planner.definitions}
    limit = min(limit, STRIPS_MAX) if strip else limit
    wanted = [row for row in rows if row.uid not in known or _fits(known[row.uid], text, tag)]
    taken, following = paging.page(wanted, lambda row: (row.name,), (str,), limit, cursor)
    summaries = await given.overview.by_schedule()
    views = []
    for row in taken:
        bars = await _strip(given, row.name, strip)
        views.append(_view(row, known.get(row.uid), summaries.get(row.uid), bars))
    return Schedules(schedules=views, next=following)


@router.get("/schedules/{name:path}")
async def schedule(
    given: Given,
    name: Annotated[str, Path(max_length=255, description="its name")],
    strip: Annotated[
        int, Query(ge=0, le=STRIP_MAX, description="so many last planned starts")
    ] = 30,
) -> ScheduleDetail:
    """A schedule in force: in words, with its policies, its workers, its next ten starts and what
    clock changes make of them, where it is written, and how its last planned starts went."""
    rows = await given.store.schedules()
    row = next((row for row in rows if row.name == name), None)
    if row is None:
        near = nearest(name, [row.name for row in rows])
        hint = f"; did you mean {near}?" if near else ""
        raise Problem(HTTPStatus.NOT_FOUND, f'no schedule is named "{name}"{hint}')
    definition = next((one for one in given.planner.definitions if one.uid == row.uid), None)
    summary = (await given.overview.by_schedule()).get(row.uid)
    view = _view(row, definition, summary, await _strip(given, row.name, strip))
    matched = given.overview.outlook.matched(row.uid)
    starts: list[Start] = []
    followers: list[str] = []
    if definition is not None:
        if definition.enabled and definition.after is None:
            facts = [facts_of(one) for one in matched[:1]]
            found = planned_starts(definition, facts, given.clock.now())
            starts = [
                Start(
                    at=moment(one.at),
                    until=None if one.until == one.at else moment(one.until),
                    zone=one.zone,
                    note=one.note,
                )
                for one in islice(found, NEXT)
            ]
        followers = [
            one.name for one in given.planner.definitions if one.parent_uid == definition.uid
        ]
    source = given.sources().get(row.uid)
    return ScheduleDetail(
        **view.model_dump(),
        policies="" if definition is None else describing.policies(definition),
        starts=starts,
        worker_names=[one.name for one in matched[:WORKERS_SHOWN]],
        followers=followers,
        source=None if source is None else Place(file=source[0], line=source[1]),
    )


def _fits(one: Definition, text: str | None, tags: list[str] | None) -> bool:
    if tags and not set(tags) <= set(one.tags):
        return False
    if not text:
        return True
    lower = text.lower()
    return any(lower in part.lower() for part in (one.name, one.description, *one.tags))


def _view(
    row: ScheduleRow, one: Definition | None, summary: Summary | None, bars: list[Bar]
) -> ScheduleView:
    timer = None if summary is None else summary.timer
    newest = None if summary is None else summary.last.newest
    return ScheduleView(
        **models.Schedule.of(row).model_dump(),
        when="" if one is None else describing.when(one),
        timezone="" if one is None else one.timezone,
        tags=[] if one is None else list(one.tags),
        description="" if one is None else one.description,
        floating=one is not None and one.floating,
        workers=0 if summary is None else summary.workers,
        state="unknown" if timer is None else timer.state,
        by="" if timer is None else timer.by,
        until=None if timer is None else maybe(timer.until),
        reason="" if timer is None else timer.reason,
        next=None if summary is None else maybe(summary.next),
        last=None if newest is None else _last(newest),
        counts={} if summary is None else dict(sorted(summary.counts.items())),
        strip=bars,
    )


def _last(run: LastRun) -> LastStart:
    return LastStart(
        run=uuid_text(run.run_id),
        slot=moment(run.slot),
        verdict=None if run.verdict is None else run.verdict.word,
        seconds=_seconds(run),
        exit_code=run.exit_code,
        signal=run.signal,
    )


async def _strip(given: Services, name: str, count: int) -> list[Bar]:
    if not count:
        return []
    runs = await given.store.strip(name, max(count, STRIP_ROWS))
    return bars_of(runs, count)


def bars_of(runs: Sequence[LastRun], count: int) -> list[Bar]:
    """The bars of runs that come newest slot first: the last `count`, oldest first."""
    by_slot: dict[int, list[LastRun]] = {}
    for run in runs:
        if run.slot not in by_slot and len(by_slot) == count:
            break
        by_slot.setdefault(run.slot, []).append(run)
    return [_bar(slot, by_slot[slot]) for slot in sorted(by_slot)]


def _bar(slot: int, runs: Sequence[LastRun]) -> Bar:
    worst = max(runs, key=_badness)
    return Bar(
        slot=moment(slot),
        runs=len(runs),
        verdict=None if worst.verdict is None else worst.verdict.word,
        seconds=max((took for took in map(_seconds, runs) if took is not None), default=None),
        run=uuid_text(worst.run_id),
    )


def _badness(run: LastRun) -> int:
    if run.verdict in FAILURES:
        return 3
    if run.verdict is None:
        return 2
    return 0 if run.verdict is Verdict.OK else 1


def _seconds(run: LastRun) -> float | None:
    if run.started_at is None or run.ended_at is None:
        return None
    return (run.ended_at - run.started_at) / 1e6
