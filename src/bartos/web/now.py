"""What is happening, what failed, what comes next? The first page."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from bartos.web.pages import Visiting

router = APIRouter(include_in_schema=False)


@router.get("/")
async def now(visit: Visiting) -> Response:
    """What is happening now, what failed lately, and what comes next."""
    return visit.page("now.html", {}, active="Now")
