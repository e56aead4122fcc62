"""The history as a file: all runs that are asked for, as CSV or as JSON lines, however many."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from bartos.api import models
from bartos.api.asked import Time, Verdicts
from bartos.api.given import Given
from bartos.api.runs import verdicts
from bartos.store.port import RunFilter, RunRow, Store

READ: Final = 500

router = APIRouter(prefix="/api/v1", tags=["history"])


class Form(StrEnum):
    """What the file is: CSV as RFC 4180 has it with a line of names, or a JSON object a line."""

    CSV = "csv"
    JSON = "jsonl"


_TYPES: Final = {
    Form.CSV: "text/csv; charset=utf-8; header=present",
    Form.JSON: "application/jsonl",
}
_COLUMNS: Final = tuple(models.Run.model_fields)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@router.get(
    "/runs/download",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/jsonl": {"schema": {"type": "string"}},
            }
        },
        400: {},
    },
)
async def download(
    given: Given,
    form: Annotated[Form, Query(alias="format", description="csv or jsonl")] = Form.CSV,
    worker: str | None = None,
    schedule: str | None = None,
    verdict: Verdicts = None,
    running: bool | None = None,
    since: Time | None = None,
    until: Time | None = None,
) -> StreamingResponse:
    """All runs that are asked for, newest planned start first, as a file: the fields are those of
    `/runs`. Rows are read while they are sent.

    In CSV, text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    wanted = RunFilter(
        worker=worker,
        schedule=schedule,
        verdicts=verdicts(verdict),
        running=running,
        since=None if since is None else models.instant_of(since),
        until=None if until is None else models.instant_of(until),
        limit=READ,
    )
    # Read before the answer begins, so that a database that is away is an error and no half file.
    first = await given.store.runs(wanted)
    return StreamingResponse(
        _lines(given.store, wanted, first, form),
        media_type=_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="runs.{form}"'},
    )


async def _lines(
    store: Store, wanted: RunFilter, rows: Sequence[RunRow], form: Form
) -> AsyncIterator[str]:
    if form is Form.CSV:
        yield _csv([_COLUMNS])
    while rows:
        found = [models.Run.of(row) for row in rows]
        if form is Form.JSON:
            yield "".join(f"{one.model_dump_json()}\n" for one in found)
        else:
            yield _csv([_cells(one) for one in found])
        if len(rows) < wanted.limit:
            return
        rows = await store.runs(replace(wanted, before=(rows[-1].slot, rows[-1].run_id)))


def _cells(run: models.Run) -> list[object]:
    return [_cell(value) for value in run.model_dump(mode="json").values()]


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
