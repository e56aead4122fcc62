"""Workers and schedules over HTTP: who there is, and what is in force."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel, Field

from bartos.api import models
from bartos.api.actions import User
from bartos.api.given import Given
from bartos.api.problems import Problem
from bartos.nearest import nearest

router = APIRouter(prefix="/api/v1", tags=["fleet"])


class ResetAsked(BaseModel):
    """Reset a worker."""

    reason: str = Field(default="", max_length=1000, description="why; the history says so")
    dry_run: bool = Field(default=False, description="only say what is known of it")


class Reset(BaseModel):
    """A worker that was reset, or would be."""

    worker: str
    connected: bool
    alarm: str = Field(description="what it was refused for; empty where it was not")
    done: bool


@router.get("/workers")
async def workers(given: Given) -> models.Workers:
    """Every worker that the server knows, by name, connected or not."""
    links = {link.uid: link for link in given.fleet.connected()}
    alarms = given.fleet.alarms()
    rows = await given.store.workers()
    return models.Workers(
        workers=[models.Worker.of(row, links.get(row.uid), alarms.get(row.uid, "")) for row in rows]
    )


@router.post("/workers/{name}/reset", responses={404: {}})
async def reset(given: Given, name: str, asked: ResetAsked, who: User) -> Reset:
    """Let a worker come back whose state directory was refused, as it is a copy or was rolled back.

    It begins a new spool, with cursors at now: nothing of the past is caught up. Stop the copy
    first: of two that remain, the first that comes counts, and the other is refused."""
    row = await given.store.worker_named(name)
    if row is None:
        near = nearest(name, [one.name for one in await given.store.workers()])
        hint = f"; did you mean {near}?" if near else ""
        raise Problem(HTTPStatus.NOT_FOUND, f'no worker is named "{name}"{hint}')
    alarm = given.fleet.alarms().get(row.uid, "")
    connected = any(link.uid == row.uid for link in given.fleet.connected())
    if not asked.dry_run:
        await given.fleet.reset_worker(row, who, asked.reason)
    return Reset(worker=row.name, connected=connected, alarm=alarm, done=not asked.dry_run)


@router.get("/schedules")
async def schedules(given: Given) -> models.Schedules:
    """The schedules in force, by name."""
    rows = await given.store.schedules()
    return models.Schedules(schedules=[models.Schedule.of(row) for row in rows])
