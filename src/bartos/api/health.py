"""Is the process alive, and does it do its work? `/healthz` and `/readyz`."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fastapi import APIRouter, Response

from bartos.api import models
from bartos.api.given import Given
from bartos.services import Services
from libbarto.errors import StoreUnavailable

PING_SECONDS = 3.0

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> models.Health:
    """The process lives and its loop turns. Open to all, and tells nothing else."""
    return models.Health()


@router.get("/readyz", responses={503: {"model": models.Readiness}})
async def readyz(given: Given, response: Response) -> models.Readiness:
    """Whether the store can be reached, and written, and the configuration has been looked at
    since the start (503 if not), and which configuration is in force.

    A configuration that cannot be used leaves the last good one in force: the server is ready,
    and its log says what is wrong with the new one. Open to all, so it speaks in fixed words, and
    of what is late, unknown, stuck or idle it tells how many there were, half a minute ago.
    """
    store = "ok"
    try:
        async with asyncio.timeout(PING_SECONDS):
            await given.store.ping()
    except (StoreUnavailable, TimeoutError):
        store = "it cannot be reached"
    facts = given.facts()
    if store == "ok" and not facts.writes:
        store = "it can be read and not written: its disk may be full"
    ready = store == "ok" and facts.begun
    if not ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    configuration = "ok" if facts.begun else "it has not been read yet"
    if facts.config_error:
        configuration = "the last good one is in force"
    outlook = given.watch.last
    return models.Readiness(
        ready=ready,
        store=store,
        configuration=configuration,
        late=outlook.count("late"),
        unknown=outlook.count("unknown"),
        stuck=len(outlook.stuck),
        idle=len(outlook.idle),
        alerts=_alerts(given),
    )


def _alerts(given: Services) -> str:
    if not given.alerting.is_configured:
        return "off"
    down = given.alerting.down
    return f"{', '.join(down)} cannot be delivered" if down else "ok"
