"""Is the process alive, and does it do its work? `/healthz` and `/readyz`."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fastapi import APIRouter, Response

from bartos.api import models
from bartos.api.given import Given
from libbarto.errors import StoreUnavailable

PING_SECONDS = 3.0

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> models.Health:
    """The process lives and its loop turns. Open to all, and tells nothing else."""
    return models.Health()


@router.get("/readyz", responses={503: {"model": models.Readiness}})
async def readyz(given: Given, response: Response) -> models.Readiness:
    """Whether the store can be reached (503 if not), and which configuration is in force.

    A configuration that cannot be used leaves the last good one in force: the server is ready,
    and says what is wrong with the new one.
    """
    store = "ok"
    try:
        async with asyncio.timeout(PING_SECONDS):
            await given.store.ping()
    except StoreUnavailable as error:
        store = str(error)
    except TimeoutError:
        store = f"no answer within {PING_SECONDS:g} s"
    fault = given.facts().config_error
    if store != "ok":
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return models.Readiness(
        ready=store == "ok",
        store=store,
        configuration=f"the last good one is in force: {fault}" if fault else "ok",
    )
