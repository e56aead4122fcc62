"""What a run printed, over HTTP: its bytes in order of arrival, or its pieces as JSON.

Chunks are read a few at a time while the reader takes them, so memory stays bounded.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from bartos.api import models
from bartos.api.given import Given, NamedRun
from bartos.store.port import ChunkRow, RunRow, Store
from bartos.transcript import pieces
from libbarto.identity import uuid_text
from libbarto.message.v2.record import Stream

CHUNKS = 16
"""How many chunks are in memory at once for one reader."""

router = APIRouter(prefix="/api/v1", tags=["output"])


class Streams(enum.StrEnum):
    """What a reader wants; barto's own markers come with both."""

    BOTH = "both"
    STDOUT = "stdout"
    STDERR = "stderr"


WANTED = {
    Streams.BOTH: frozenset(Stream),
    Streams.STDOUT: frozenset({Stream.STDOUT}),
    Streams.STDERR: frozenset({Stream.STDERR}),
}


@router.get(
    "/runs/{run}/output",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
async def output(
    given: Given,
    run: NamedRun,
    stream: Streams = Streams.BOTH,
    attempt: Annotated[int | None, Query(ge=1, description="the last one if not given")] = None,
) -> StreamingResponse:
    """The very bytes that a run printed up to now, in the order in which they came.

    Headers: `Barto-Run`, `Barto-Attempt`, `Barto-Running` and `Barto-Complete` (true, false),
    `Barto-Cut-Bytes` and `Barto-Cut-Lines` (left out because of output_max), `Barto-Verdict`.
    """
    number = run.attempt if attempt is None else attempt
    # Read before the answer begins, so that a database that is away is an error and no half file.
    first = await given.store.chunks(run.run_id, number, -1, CHUNKS)
    return StreamingResponse(
        _bytes(given.store, run.run_id, number, first, WANTED[stream]),
        media_type="application/octet-stream",
        headers=_headers(run, number),
    )


@router.get("/runs/{run}/output.json")
async def output_json(
    given: Given,
    run: NamedRun,
    after: Annotated[int, Query(ge=-1, description="`next` of the answer before")] = -1,
    attempt: Annotated[int | None, Query(ge=1, description="the last one if not given")] = None,
    limit: Annotated[int, Query(ge=1, le=64, description="chunks at once")] = CHUNKS,
) -> models.Output:
    """Pieces of a run's output with stream, step and time."""
    number = run.attempt if attempt is None else attempt
    chunks = await given.store.chunks(run.run_id, number, after, limit)
    return models.Output(
        run=uuid_text(run.run_id),
        attempt=number,
        segments=[models.Segment.of(piece) for chunk in chunks for piece in pieces(chunk)],
        next=chunks[-1].chunk_no if len(chunks) == limit else None,
        running=run.verdict is None,
        complete=run.complete,
        cut_bytes=run.cut_bytes,
        cut_lines=run.cut_lines,
    )


async def _bytes(
    store: Store,
    run_id: bytes,
    attempt: int,
    chunks: Sequence[ChunkRow],
    wanted: frozenset[Stream],
) -> AsyncIterator[bytes]:
    while chunks:
        for chunk in chunks:
            if data := b"".join(p.data for p in pieces(chunk) if p.stream in wanted):
                yield data
        chunks = await store.chunks(run_id, attempt, chunks[-1].chunk_no, CHUNKS)


def _headers(run: RunRow, attempt: int) -> dict[str, str]:
    return {
        "Barto-Run": uuid_text(run.run_id),
        "Barto-Attempt": str(attempt),
        "Barto-Running": _word(run.verdict is None),
        "Barto-Complete": _word(run.complete),
        "Barto-Verdict": "" if run.verdict is None else run.verdict.word,
        "Barto-Cut-Bytes": str(run.cut_bytes),
        "Barto-Cut-Lines": str(run.cut_lines),
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f'attachment; filename="{uuid_text(run.run_id)}.log"',
    }


def _word(flag: bool) -> str:
    return "true" if flag else "false"
