"""What changes, as it changes: server-sent events, of everything or of one run's output.

A stream is plain HTTP: `curl -N` shows it, a browser's `EventSource` resumes it. Each ends after an
hour at most, or when the reader says so (`for`, `limit`); who comes back with `Last-Event-ID` goes
on where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from bartos.api import models
from bartos.api.given import Given, NamedRun
from bartos.feed import Event, Feed, Wanted
from bartos.services import Services
from bartos.store.port import ChunkRow, RunRow, Store
from bartos.transcript import Piece, pieces
from libbarto.errors import ConfigError, StoreUnavailable
from libbarto.message.v2.record import Verdict

HEARTBEAT_S = 15.0
CHUNKS = 16
CHUNK_NO_END = 1 << 32

EventKind = Literal["run", "range", "worker", "schedules", "pauses", "status", "reset"]

router = APIRouter(prefix="/api/v1", tags=["events"])

STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/event-stream": {
                "schema": {
                    "description": "an event of the stream",
                    "type": "object",
                    "properties": {
                        "id": {"type": "string", "description": "give it as Last-Event-ID"},
                        "event": {"type": "string"},
                        "data": {"type": "string", "contentMediaType": "application/json"},
                    },
                },
                "example": {"id": "5c1-17", "event": "pauses", "data": '{"schedules": ["backup"]}'},
            }
        }
    }
}

For = Annotated[
    float | None, Query(alias="for", ge=0, le=3600, description="end after so many seconds")
]
Limit = Annotated[int | None, Query(ge=1, le=100_000, description="end after so many events")]
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=100)]


class EventStream(StreamingResponse):
    """An answer that goes on."""

    media_type = "text/event-stream"


@router.get("/events", response_class=EventStream, responses=STREAM)
async def events(
    given: Given,
    schedule: Annotated[str | None, Query(description="of this schedule alone")] = None,
    worker: Annotated[str | None, Query(description="of this worker alone")] = None,
    kind: Annotated[list[EventKind] | None, Query(description="one or more")] = None,
    seconds: For = None,
    limit: Limit = None,
    last: LastEventId = None,
) -> EventStream:
    """What changes: `run` (the run as it is now: claimed, started, ended, whole), `range`,
    `worker`, `schedules` and `pauses` (the names concerned), `status` (counts, at most once a
    second) and `reset`: some events are lost to this reader, so it reads anew what it shows.

    A comment comes every 15 seconds in which nothing happens.
    """
    wanted = Wanted(schedule, worker, frozenset(kind or ()))
    return EventStream(_events(given.feed, wanted, last, seconds, limit), headers=_HEADERS)


_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def _events(
    feed: Feed, wanted: Wanted, last: str | None, seconds: float | None, limit: int | None
) -> AsyncIterator[bytes]:
    left = _patience(feed, seconds)
    told = 0
    with feed.subscribe(wanted, last) as reader:
        # So a reader knows at once that it is connected, and with which id it may come back: the
        # one it has, as long as it has not got what came after that.
        name = "" if reader.behind else f"id: {feed.last_id}\n"
        yield f"{name}: listening\n\n".encode()
        while not reader.over and left() > 0 and (limit is None or told < limit):
            event = await reader.next(min(HEARTBEAT_S, left()))
            if event is not None:
                told += 1
                yield _written(feed, event)
            elif left() > 0:
                yield b": still here\n\n"


def _patience(feed: Feed, seconds: float | None) -> Callable[[], float]:
    """How many seconds a stream may go on, by the event loop's clock."""
    now = asyncio.get_running_loop().time
    end = now() + (feed.longest if seconds is None else min(feed.longest, seconds))
    return lambda: end - now()


def _written(feed: Feed, event: Event) -> bytes:
    if not event.text:
        data = event.data
        text = data.model_dump_json() if isinstance(data, BaseModel) else json.dumps(data)
        event.text = f"id: {feed.id_of(event)}\nevent: {event.kind}\ndata: {text}\n\n"
    return event.text.encode()


# -- a run's output -------------------------------------------------------------------------------


@router.get("/runs/{run}/output/events", response_class=EventStream, responses=STREAM)
async def output_events(
    given: Given,
    run: NamedRun,
    start: Annotated[
        int, Query(alias="from", ge=0, le=1 << 62, description="the first byte that is wanted")
    ] = 0,
    attempt: Annotated[
        int | None, Query(ge=1, le=65_535, description="this one; the last one if not given")
    ] = None,
    seconds: For = None,
    limit: Limit = None,
    last: LastEventId = None,
) -> EventStream:
    """What a run prints, as it comes: a `segment` for each piece, `attempt` where it is tried once
    more, and `end` with the run when nothing more will come.

    `from` counts bytes of both streams; the id of an event stands for what comes after it.
    """
    number = run.attempt if attempt is None else attempt
    after = -1
    mark = _place(last)
    if mark is not None:
        number, after = mark
        start = 0
    elif start:
        after = await _chunk_before(given.store, run.run_id, number, start)
    # Read before the answer begins, so that a database that is away is an error and no half answer.
    first = await given.store.chunks(run.run_id, number, after, CHUNKS)
    follows = attempt is None
    following = _Following(given, run, number, after, start, follows=follows)
    return EventStream(following.events(list(first), seconds, limit), headers=_HEADERS)


class _Following:
    """A reader at its place in what a run prints."""

    def __init__(
        self, given: Services, run: RunRow, attempt: int, after: int, start: int, *, follows: bool
    ) -> None:
        self._given = given
        self._run = run
        self._attempt = attempt
        self._after = after
        self._start = start
        self._follows = follows

    async def events(
        self, chunks: list[ChunkRow], seconds: float | None, limit: int | None
    ) -> AsyncIterator[bytes]:
        feed = self._given.feed
        left = _patience(feed, seconds)
        told = 0
        with feed.following(self._run.run_id) as touched:
            yield b": listening\n\n"
            while left() > 0:
                for chunk in chunks:
                    for text in self._segments(chunk):
                        yield text
                        told += 1
                        if told == limit:
                            return
                    self._after = chunk.chunk_no
                if not chunks:
                    if feed.over:
                        return
                    elsewhere = self._run.attempt > self._attempt and not self._follows
                    if _is_over(self._run) or elsewhere:
                        yield _event("end", models.Run.of(self._run), self._id)
                        return
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(min(HEARTBEAT_S, left())):
                            await touched.wait()
                    if not touched.is_set() and left() > 0:
                        yield b": still here\n\n"
                    touched.clear()
                try:
                    # In this order: what is printed before its end is seen is read after that.
                    await self._read_run()
                    chunks = await self._read()
                    if not chunks and self._follows and self._run.attempt > self._attempt:
                        self._attempt, self._after, self._start = self._run.attempt, -1, 0
                        yield _event("attempt", {"attempt": self._attempt}, self._id)
                        chunks = await self._read()
                except (StoreUnavailable, ConfigError):
                    # The answer has begun: the reader comes back, and is told then.
                    yield b": the database is away\n\n"
                    return

    async def _read(self) -> list[ChunkRow]:
        store = self._given.store
        return list(await store.chunks(self._run.run_id, self._attempt, self._after, CHUNKS))

    async def _read_run(self) -> None:
        rows = await self._given.store.runs_by_id([self._run.run_id])
        if rows:
            self._run = rows[0]

    @property
    def _id(self) -> str:
        return f"{self._attempt}.{self._after}"

    def _segments(self, chunk: ChunkRow) -> list[bytes]:
        found = [piece for piece in _from_byte(chunk, self._start) if piece.data]
        ids = [self._id] * len(found)
        if ids:  # before the last piece, a reader who comes back gets the chunk once more
            ids[-1] = f"{self._attempt}.{chunk.chunk_no}"
        return [
            _event("segment", models.Segment.of(piece), name)
            for piece, name in zip(found, ids, strict=True)
        ]


def _from_byte(chunk: ChunkRow, start: int) -> list[Piece]:
    """The pieces of a chunk without the bytes that lie before `start`."""
    skip = start - chunk.offset
    found = []
    for piece in pieces(chunk):
        if skip >= len(piece.data):
            skip -= len(piece.data)
            continue
        data = piece.data[max(0, skip) :]
        found.append(Piece(piece.chunk_no, piece.step, piece.stream, piece.at, data))
        skip = 0
    return found


async def _chunk_before(store: Store, run_id: bytes, attempt: int, start: int) -> int:
    """A chunk number after which the byte `start` comes: found by halving."""
    low, high = -1, CHUNK_NO_END
    while high - low > 1:
        middle = (low + high) // 2
        found = await store.chunks(run_id, attempt, middle, 1)
        if found and found[0].offset <= start:
            low = found[0].chunk_no - 1 if found[0].chunk_no - 1 > low else middle
            if found[0].offset + len(found[0].data) > start:
                return found[0].chunk_no - 1
        else:
            high = middle
    return low


def _place(last: str | None) -> tuple[int, int] | None:
    """The place that the id of an event stands for, if it is one of ours."""
    if last is None:
        return None
    attempt, _, chunk = last.partition(".")
    try:
        place = int(attempt), int(chunk)
    except ValueError:
        return None
    return place if 1 <= place[0] <= 65_535 and -1 <= place[1] < CHUNK_NO_END else None


def _is_over(run: RunRow) -> bool:
    """Whether nothing more will come."""
    if run.verdict is None:
        return False
    return run.complete or bool(run.missing_bytes) or run.verdict is Verdict.LOST


def _event(kind: str, data: object, name: str) -> bytes:
    text = data.model_dump_json() if isinstance(data, BaseModel) else json.dumps(data)
    return f"id: {name}\nevent: {kind}\ndata: {text}\n\n".encode()
