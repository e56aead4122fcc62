"""What is a handler given? The services it stands on, and the run that a path names."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, cast

from fastapi import Depends, Request

from bartos.api.problems import Problem
from bartos.services import Services
from bartos.store.port import RunFilter, RunRow, Store
from libbarto.identity import uuid_text

LAST = "@last"
CANDIDATES = 5

_PREFIX = re.compile(r"[0-9a-f]{1,32}")


async def services(request: Request) -> Services:
    """The services of the application that serves `request`."""
    return cast(Services, request.app.state.services)


Given = Annotated[Services, Depends(services)]


async def run_named(run: str, given: Given) -> RunRow:
    """The run of the path: its id, a prefix of it that is unique, or "@last" for the newest."""
    return await find_run(given.store, run)


NamedRun = Annotated[RunRow, Depends(run_named)]


async def find_run(store: Store, text: str) -> RunRow:
    """The run that `text` names.

    Raises `Problem`: 404 where there is none, 409 with candidates where it may be several.
    """
    if text == LAST:
        newest = await store.runs(RunFilter(limit=1))
        if not newest:
            raise Problem(HTTPStatus.NOT_FOUND, "nothing has run yet")
        return newest[0]
    prefix = text.lower().replace("-", "")
    if _PREFIX.fullmatch(prefix) is None:
        raise Problem(HTTPStatus.NOT_FOUND, f'"{text}" is not the id of a run')
    found = await store.runs_like(prefix, CANDIDATES)
    if not found:
        raise Problem(HTTPStatus.NOT_FOUND, f'no run has an id that begins with "{text}"')
    if len(found) > 1:
        candidates = [
            {"id": uuid_text(row.run_id), "schedule": row.schedule, "worker": row.worker}
            for row in found
        ]
        raise Problem(
            HTTPStatus.CONFLICT,
            f'more than one run has an id that begins with "{text}"',
            candidates=candidates,
        )
    return found[0]
