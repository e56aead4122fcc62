"""What is happening, what failed, what comes next? The first page."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from bartos.api import runs as history
from bartos.api import status as standing
from bartos.api import timers
from bartos.web.pages import Visiting

router = APIRouter(include_in_schema=False)

RECENT: Final = timedelta(hours=24)
SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the verdict bar: how many pairs are in any of `states`, and the word to it. It is
    `loud` where someone should look."""

    states: tuple[str, ...]
    word: str
    loud: bool

    def count(self, counts: Mapping[str, int]) -> int:
        """How many there are."""
        return sum(counts.get(state, 0) for state in self.states)


PARTS: Final = (
    Part(("failed", "timed_out", "lost"), "failing", loud=True),
    Part(("interrupted",), "interrupted", loud=True),
    Part(("stuck",), "stuck", loud=True),
    Part(("late",), "late", loud=True),
    Part(("missed",), "missed", loud=True),
    Part(("unknown",), "unknown", loud=True),
    Part(("running",), "running", loud=False),
    Part(("ok",), "ok", loud=False),
    Part(("paused", "disabled"), "paused", loud=False),
    Part(("never_ran",), "not run yet", loud=False),
)


@router.get("/")
async def now(visit: Visiting) -> Response:
    """What is happening now, what failed lately, and what comes next."""
    given = visit.services
    status = await standing.status(given)
    failed = await history.runs(
        given,
        verdict=["failed", "timed_out", "interrupted", "lost"],
        since=visit.now - RECENT,
        limit=SHOWN,
    )
    still = {(one.schedule, one.worker) for one in status.failing}
    values = {
        "status": status,
        "parts": PARTS,
        "well": is_well(status),
        "recovered": [run for run in failed.runs if (run.schedule, run.worker) not in still],
        "next_until": visit.now + RECENT,
    }
    return visit.page("now.html", values, active="Now")


def is_well(status: timers.Status) -> bool:
    """Whether there is something that can be well, and nobody has to look at anything."""
    loud: Iterable[str] = itertools.chain.from_iterable(p.states for p in PARTS if p.loud)
    everybody = 0 < status.workers == status.connected
    return everybody and not any(map(status.counts.get, loud))
