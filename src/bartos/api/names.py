"""What is called so? Names that begin as somebody has begun to type: for completion."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from bartos.api.given import LAST, Given
from bartos.store.port import RunFilter, RunRow, Store
from libbarto.identity import uuid_text

MOST = 100
NEWEST = 20
"""Runs that are offered to who has not begun to type."""

router = APIRouter(prefix="/api/v1", tags=["names"])


class Kind(StrEnum):
    """What may be asked for."""

    SCHEDULES = "schedules"
    WORKERS = "workers"
    RUNS = "runs"


class Name(BaseModel):
    """A name, and a few words on what it stands for."""

    name: str
    about: str


class Names(BaseModel):
    """The first names that fit."""

    names: list[Name] = Field(description=f"at most {MOST}")


@router.get("/names/{kind}")
async def names(
    kind: Kind,
    given: Given,
    begin: Annotated[str, Query(description="what the names begin with", max_length=200)] = "",
) -> Names:
    """The names of schedules or workers, or the ids of runs, that begin so, for completion."""
    match kind:
        case Kind.SCHEDULES:
            rows = await given.store.schedules()
            found = [(row.name, "" if row.enabled else "not in force") for row in rows]
        case Kind.WORKERS:
            here = {link.name for link in given.fleet.connected()}
            workers = await given.store.workers()
            found = [(row.name, "" if row.name in here else "away") for row in workers]
        case Kind.RUNS:
            found = [(LAST, "the newest"), *await _runs(given.store, begin)]
    fit = [Name(name=name, about=about) for name, about in found if name.startswith(begin)]
    return Names(names=fit[:MOST])


async def _runs(store: Store, begin: str) -> list[tuple[str, str]]:
    prefix = begin.lower().replace("-", "")
    rows: list[RunRow] = []
    if not prefix:
        rows = list(await store.runs(RunFilter(limit=NEWEST)))
    elif re.fullmatch(r"[0-9a-f]{1,32}", prefix):
        rows = list(await store.runs_like(prefix, MOST))
    return [(uuid_text(row.run_id), _about(row)) for row in rows]


def _about(row: RunRow) -> str:
    verdict = "running" if row.verdict is None else row.verdict.word
    return f"{row.schedule} on {row.worker}, {verdict}"
