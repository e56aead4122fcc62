"""Which hosts are there, and how are they? One row a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from bartos.api import workers as fleet
from bartos.web.pages import Visiting

router = APIRouter(include_in_schema=False)

SHOWN: Final = 100
OFFSET_SECONDS: Final = 1.0
"""A clock that is off by more is said loudly."""
FACTS: Final = ("os", "os_version", "arch", "host")


@dataclass(frozen=True, slots=True)
class Row:
    """A worker, with the state that it is shown in."""

    worker: fleet.WorkerView
    state: str
    wrong_clock: bool


@router.get("/workers")
async def workers(
    visit: Visiting,
    text: Annotated[str, Query(max_length=200)] = "",
    state: Annotated[str, Query(max_length=20)] = "",
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """Every worker, or those with a text in their name or labels, or those that are away."""
    connected = {"connected": True, "away": False}.get(state)
    found = await fleet.workers(
        visit.services,
        text=text.strip() or None,
        connected=connected,
        limit=SHOWN,
        cursor=cursor,
    )
    known = await visit.services.overview.workers()
    values = {
        "rows": [_row(worker) for worker in found.workers],
        "total": len(known),
        "here": len(visit.services.fleet.connected()),
        "next": found.next,
        "text": text.strip(),
        "state": state if connected is not None else "",
        "facts": FACTS,
    }
    return visit.page("workers.html", values, active="Workers")


def _row(worker: fleet.WorkerView) -> Row:
    offset = worker.clock_offset_seconds
    state = "away" if not worker.connected else "drained" if worker.drained else "connected"
    return Row(worker, state, offset is not None and abs(offset) > OFFSET_SECONDS)
