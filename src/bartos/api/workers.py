"""Workers over HTTP: who there is, who is here, what each runs and what comes next there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from bartos.api import models, paging
from bartos.api.given import Given
from bartos.api.models import maybe
from bartos.api.problems import Problem
from bartos.api.status import told
from bartos.api.timers import Timer
from bartos.nearest import nearest
from bartos.services import Services
from bartos.store.port import RunFilter, WorkerRow

ALL = 10_000
RUNNING_MAX = 10_000
SHOWN = 50

router = APIRouter(prefix="/api/v1", tags=["workers"])


class WorkerView(models.Worker):
    """A worker as lists show it."""

    running: int = Field(description="so many runs go on there, as far as is known")
    confirmed: bool = Field(description="it is connected, with its schedules as they are")
    schedules: int = Field(description="so many schedules run there by its own clock")
    next: datetime | None = Field(description="its soonest start")
    next_schedule: str = Field(description="what starts then; empty where nothing does")


class Workers(BaseModel):
    """A page of the workers, by name; `next` is the cursor of the next one."""

    workers: list[WorkerView]
    next: str | None


class WorkerDetail(WorkerView):
    """All of a worker."""

    runs: list[models.Run] = Field(description=f"what runs there, at most {SHOWN}")
    timers: list[Timer] = Field(description=f"its schedules, the soonest first, at most {SHOWN}")


@router.get("/workers")
async def workers(
    given: Given,
    text: Annotated[
        str | None, Query(max_length=200, description="in its name or its labels")
    ] = None,
    connected: Annotated[bool | None, Query(description="only those that are, or are not")] = None,
    limit: Annotated[int, Query(ge=1, le=ALL, description="rows of a page, at most")] = ALL,
    cursor: paging.Cursor = None,
) -> Workers:
    """Every worker that the server knows, by name, connected or not, with what runs there and what
    comes next."""
    here = {link.uid for link in given.fleet.connected()}
    rows = [
        row
        for row in await given.overview.workers()
        if (connected is None or connected == (row.uid in here)) and _fits(row, text)
    ]
    taken, following = paging.page(
        rows, lambda row: (row.name, row.uid.hex()), (str, str), limit, cursor
    )
    return Workers(workers=await _views(given, taken), next=following)


@router.get("/workers/{name}")
async def worker(
    given: Given, name: Annotated[str, Path(max_length=255, description="its name")]
) -> WorkerDetail:
    """A worker: what it says of its host, what runs there, and when each of its schedules is due
    next."""
    row = await worker_named(given, name)
    (view,) = await _views(given, [row])
    running = await given.store.runs(RunFilter(worker=row.name, running=True, limit=SHOWN))
    stuck = {one.run.run_id: one.why for one in given.watch.last.stuck}
    own = [one for one in await given.overview.timers() if one.worker_uid == row.uid]
    return WorkerDetail(
        **view.model_dump(),
        runs=[models.Run.of(run, stuck.get(run.run_id)) for run in running],
        timers=await told(given, own[:SHOWN]),
    )


async def worker_named(given: Services, name: str) -> WorkerRow:
    """The worker of this name. Raises `Problem` where there is none."""
    row = await given.store.worker_named(name)
    if row is None:
        near = nearest(name, [one.name for one in await given.store.workers()])
        hint = f"; did you mean {near}?" if near else ""
        raise Problem(HTTPStatus.NOT_FOUND, f'no worker is named "{name}"{hint}')
    return row


def _fits(row: WorkerRow, text: str | None) -> bool:
    if not text:
        return True
    lower = text.lower()
    words = (row.name, *row.labels.values(), *(f"{k}={v}" for k, v in row.labels.items()))
    return any(lower in word.lower() for word in words)


async def _views(given: Services, rows: Sequence[WorkerRow]) -> list[WorkerView]:
    links = {link.uid: link for link in given.fleet.connected()}
    alarms = given.fleet.alarms()
    drains = given.planner.drains
    running = Counter(
        run.worker_uid for run in await given.store.runs(RunFilter(running=True, limit=RUNNING_MAX))
    )
    wanted = {row.uid for row in rows}
    soonest: dict[bytes, tuple[int, str]] = {}
    schedules: Counter[bytes] = Counter()
    for timer in await given.overview.timers():  # the soonest first
        if timer.worker_uid in wanted:
            schedules[timer.worker_uid] += 1
            if timer.next is not None and timer.worker_uid not in soonest:
                soonest[timer.worker_uid] = timer.next, timer.schedule
    views = []
    for row in rows:
        link = links.get(row.uid)
        following, schedule = soonest.get(row.uid, (None, ""))
        views.append(
            WorkerView(
                **models.Worker.of(
                    row, link, alarms.get(row.uid, ""), drains.get(row.uid)
                ).model_dump(),
                running=running[row.uid],
                confirmed=link is not None and link.confirmed,
                schedules=schedules[row.uid],
                next=maybe(following),
                next_schedule=schedule,
            )
        )
    return views
