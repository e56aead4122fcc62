"""Workers and schedules over HTTP: who there is, and what is in force."""

from __future__ import annotations

from fastapi import APIRouter

from bartos.api import models
from bartos.api.given import Given

router = APIRouter(prefix="/api/v1", tags=["fleet"])


@router.get("/workers")
async def workers(given: Given) -> models.Workers:
    """Every worker that the server knows, by name, connected or not."""
    links = {link.uid: link for link in given.fleet.connected()}
    rows = await given.store.workers()
    return models.Workers(workers=[models.Worker.of(row, links.get(row.uid)) for row in rows])


@router.get("/schedules")
async def schedules(given: Given) -> models.Schedules:
    """The schedules in force, by name."""
    rows = await given.store.schedules()
    return models.Schedules(schedules=[models.Schedule.of(row) for row in rows])
