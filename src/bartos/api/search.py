"""Which runs printed this? A search in output, of one run or of all in a range of time, that ends
after two seconds with a marker of where it stopped and a cursor to go on.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from bartos.api.asked import Time
from bartos.api.given import Given, NamedRun
from bartos.api.models import instant_of, moment
from bartos.api.output import CHUNKS
from bartos.api.problems import Problem
from bartos.searching import HELD_MAX, Held, Hit, Mark, Needle, Searching
from bartos.store.port import RunFilter, RunRow, Store
from libbarto.identity import uuid_text
from libbarto.message.v2.record import Stream

BUDGET_S: Final = 2.0
RUNS: Final = 100
"""Runs that are read at once."""
HITS_MAX: Final = 1000

router = APIRouter(prefix="/api/v1", tags=["output"])

Text = Annotated[str, Query(min_length=1, max_length=200, description="what is looked for")]
Exact = Annotated[bool, Query(description="in this case of letters alone")]
Limit = Annotated[int, Query(ge=1, le=HITS_MAX, description="lines, about")]
Cursor = Annotated[str | None, Query(max_length=20_000, description="`next` of the answer before")]


class FoundLine(BaseModel):
    """A line in which it was found: `text` is what is around it as a reader sees it, and
    characters `start` to `end` of that are it. `line` counts from 1, over both streams, in the
    order in which lines begin."""

    run: str
    attempt: int
    schedule: str
    worker: str
    slot: datetime
    verdict: str | None
    line: int
    step: int
    stream: str
    at: datetime
    text: str
    start: int
    end: int

    @classmethod
    def of(cls, run: RunRow, hit: Hit) -> FoundLine:
        """The model of what was found in a run."""
        return cls(
            run=uuid_text(run.run_id),
            attempt=run.attempt,
            schedule=run.schedule,
            worker=run.worker,
            slot=moment(run.slot),
            verdict=None if run.verdict is None else run.verdict.word,
            line=hit.number,
            step=hit.step,
            stream=hit.stream.name.lower(),
            at=moment(hit.at),
            text=hit.text,
            start=hit.start,
            end=hit.end,
        )


class FoundLines(BaseModel):
    """What was found, newest planned start first, lines in their order.

    `next` is the cursor to go on with, where the budget of time or the limit ended the search
    before its end; `stopped` then says at which planned start.
    """

    lines: list[FoundLine]
    runs: int = Field(description="runs that were looked at")
    bytes: int = Field(description="output that was looked at")
    stopped: datetime | None
    next: str | None


class _Place(msgspec.Struct, forbid_unknown_fields=True, array_like=True):
    """Where a search stopped: in a run, at a mark; or, without a chunk, after the run."""

    slot: int
    run: bytes
    attempt: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    chunk: Annotated[int, msgspec.Meta(ge=-1, le=1 << 62)] = -1
    count: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)] = 0
    done: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)] = 0
    held: Annotated[list[tuple[int, int, int, int, bytes]], msgspec.Meta(max_length=HELD_MAX)] = []

    @property
    def mark(self) -> Mark:
        return Mark(self.chunk, self.count, self.done, tuple(Held(*it) for it in self.held))


def write_place(run: RunRow, attempt: int = 0, mark: Mark | None = None) -> str:
    """A cursor: behind a run, or at a mark in it."""
    place = _Place(run.slot, run.run_id)
    if mark is not None:
        held = [(it.step, it.stream, it.number, it.at, it.tail) for it in mark.held]
        place = _Place(run.slot, run.run_id, attempt, mark.chunk, mark.count, mark.done, held)
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).decode().rstrip("=")


def read_place(text: str) -> _Place:
    """What `write_place` wrote. Raises `Problem` for anything else."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        place = msgspec.msgpack.decode(data, type=_Place)
        for _, stream, *_ in place.held:
            Stream(stream)
    except (ValueError, msgspec.DecodeError) as error:
        raise Problem(HTTPStatus.NOT_FOUND, "that cursor is none of ours") from error
    if len(place.run) != 16 or not -(1 << 63) <= place.slot < 1 << 63:
        raise Problem(HTTPStatus.NOT_FOUND, "that cursor is none of ours")
    return place


class _Search:
    """One request: what was found so far, and whether it may go on."""

    def __init__(self, store: Store, needle: Needle, limit: int) -> None:
        self._store = store
        self._needle = needle
        self._limit = limit
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._end = self._now() + BUDGET_S
        self.lines: list[FoundLine] = []
        self.runs = 0
        self.bytes = 0
        self.stopped: RunRow | None = None
        self.next: str | None = None

    async def run(self, run: RunRow, attempt: int, mark: Mark | None = None) -> bool:
        """Look at a run, on from a mark; False where the search has to stop in it."""
        searching = Searching(self._needle, mark)
        self.runs += 1
        after = searching.after
        while chunks := await self._store.chunks(run.run_id, attempt, after, CHUNKS):
            for chunk in chunks:
                hits = searching.feed(chunk, self._limit - len(self.lines))
                self._found(run, hits)
                self.bytes += len(chunk.data)
                after = chunk.chunk_no
                if self.used_up:
                    self._found(run, searching.left())
                    self.stopped = run
                    self.next = write_place(run, attempt, searching.mark)
                    return False
        self._found(run, searching.rest())
        return True

    @property
    def used_up(self) -> bool:
        """Whether it has found or taken as much as it may."""
        return len(self.lines) >= self._limit or self._now() >= self._end

    def stop_after(self, run: RunRow) -> None:
        """Go on behind this run another time."""
        self.stopped = run
        self.next = write_place(run)

    def _found(self, run: RunRow, hits: Sequence[Hit]) -> None:
        self.lines += [FoundLine.of(run, hit) for hit in hits]

    @property
    def answer(self) -> FoundLines:
        """What is told."""
        return FoundLines(
            lines=self.lines,
            runs=self.runs,
            bytes=self.bytes,
            stopped=None if self.stopped is None else moment(self.stopped.slot),
            next=self.next,
        )


@router.get("/output/search", responses={400: {}})
async def search_output(
    given: Given,
    text: Text,
    schedule: str | None = None,
    worker: str | None = None,
    since: Time | None = None,
    until: Time | None = None,
    exact: Exact = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> FoundLines:
    """Lines of output with a text in them, of all runs with planned starts in a range of time, the
    newest first. It takes two seconds at most: then `stopped` says how far it came, and `next` goes
    on from there."""
    search = _Search(given.store, Needle(text, exact), limit)
    before: tuple[int, bytes] | None = None
    if cursor is not None:
        place = read_place(cursor)
        before = place.slot, place.run
        if place.chunk >= 0:
            rows = await given.store.runs_by_id([place.run])
            if rows and not await search.run(rows[0], place.attempt, place.mark):
                return search.answer
    wanted = RunFilter(
        worker=worker,
        schedule=schedule,
        since=None if since is None else instant_of(since),
        until=None if until is None else instant_of(until),
        limit=RUNS,
    )
    while rows := await given.store.runs(replace(wanted, before=before)):
        for row in rows:
            before = row.slot, row.run_id
            if (row.bytes_out or row.bytes_err or row.verdict is None) and not await search.run(
                row, row.attempt
            ):
                return search.answer
            if search.used_up:
                search.stop_after(row)
                return search.answer
        if len(rows) < RUNS:
            break
    return search.answer


@router.get("/runs/{run}/output/search", responses={400: {}})
async def search_run(
    given: Given,
    run: NamedRun,
    text: Text,
    attempt: Annotated[
        int | None, Query(ge=1, le=65_535, description="the last one if not given")
    ] = None,
    exact: Exact = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> FoundLines:
    """Lines of a run's output with a text in them. It takes two seconds at most; `next` goes on."""
    search = _Search(given.store, Needle(text, exact), limit)
    mark, number = None, run.attempt if attempt is None else attempt
    if cursor is not None:
        place = read_place(cursor)
        if place.run != run.run_id or place.chunk < 0:
            raise Problem(HTTPStatus.NOT_FOUND, "that cursor is of another search")
        mark, number = place.mark, place.attempt
    await search.run(run, number, mark)
    return search.answer
