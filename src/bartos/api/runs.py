"""The history over HTTP: which runs there were, and which planned starts did not run."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import APIRouter

from bartos.api import models, paging
from bartos.api.asked import Time, Verdicts
from bartos.api.given import Given, NamedRun
from bartos.api.problems import Problem
from bartos.nearest import nearest
from bartos.services import Services
from bartos.store.port import RangeKey, RunFilter, RunRow, SlotRange
from libbarto.message.v2.record import Verdict

PAGE_MAX = paging.PAGE_MAX
EARLIER_MAX = 20
"""Attempts before the last one of which steps are told."""

_CURSOR = struct.Struct(">q16s")
_VERDICTS = {verdict.word: verdict for verdict in Verdict}

router = APIRouter(prefix="/api/v1", tags=["history"])


@router.get("/runs")
async def runs(
    given: Given,
    worker: str | None = None,
    schedule: str | None = None,
    verdict: Verdicts = None,
    running: bool | None = None,
    since: Time | None = None,
    until: Time | None = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> models.Runs:
    """Runs, newest planned start first; all filters that are given must hold."""
    wanted = RunFilter(
        worker=worker,
        schedule=schedule,
        verdicts=verdicts(verdict),
        running=running,
        since=None if since is None else models.instant_of(since),
        until=None if until is None else models.instant_of(until),
        before=None if cursor is None else read_cursor(cursor),
        limit=limit,
    )
    rows = await given.store.runs(wanted)
    following = write_cursor(rows[-1]) if len(rows) == limit else None
    stuck = await _stuck(given, rows)
    told = [models.Run.of(row, stuck.get(row.run_id)) for row in rows]
    return models.Runs(runs=told, next=following)


async def _stuck(given: Services, rows: Sequence[RunRow]) -> dict[bytes, str]:
    """Why those of the runs seem to hang that do."""
    if all(row.verdict is not None for row in rows):
        return {}
    return {one.run.run_id: one.why for one in (await given.watch.recent()).stuck}


@router.get("/runs/{run}")
async def run(given: Given, run: NamedRun) -> models.RunWithSteps:
    """One run with its steps. `run` is an id, a unique prefix of one, or @last."""
    steps = await given.store.steps(run.run_id)
    stuck = await _stuck(given, [run])
    fields = models.Run.of(run, stuck.get(run.run_id)).model_dump()
    earlier = [
        models.Step.of(step)
        for attempt in range(max(1, run.attempt - EARLIER_MAX), run.attempt)
        for step in await given.store.steps(run.run_id, attempt)
    ]
    told = [models.Step.of(step) for step in steps]
    return models.RunWithSteps(**fields, steps=told, earlier=earlier)


@router.get("/ranges")
async def ranges(
    given: Given,
    worker: str | None = None,
    schedule: str | None = None,
    verdict: Verdicts = None,
    since: Time | None = None,
    until: Time | None = None,
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> models.Ranges:
    """Planned starts that did not run, newest first, and why: missed, skipped, lost."""
    wanted = RunFilter(
        worker=worker,
        schedule=schedule,
        verdicts=verdicts(verdict),
        since=None if since is None else models.instant_of(since),
        until=None if until is None else models.instant_of(until),
        before_range=None if cursor is None else _read_range(cursor),
        limit=limit,
    )
    rows = await given.store.ranges(wanted)
    following = _write_range(rows[-1]) if len(rows) == limit else None
    return models.Ranges(ranges=[models.Range.of(row) for row in rows], next=following)


def _write_range(row: SlotRange) -> str:
    last, worker, schedule, first, run_id = row.key
    return paging.write((last, worker.hex(), schedule.hex(), first, run_id.hex()))


def _read_range(cursor: str) -> RangeKey:
    last, worker, schedule, first, run_id = paging.read(cursor, (int, str, str, int, str))
    try:
        ids = [bytes.fromhex(text) for text in (worker, schedule, run_id)]
    except ValueError as error:
        raise paging.none() from error
    return last, ids[0], ids[1], first, ids[2]


def verdicts(words: list[str] | None) -> frozenset[Verdict] | None:
    """The verdicts that words name. Raises `Problem` for a word that is none."""
    if not words:
        return None
    for word in words:
        if word not in _VERDICTS:
            near = nearest(word, _VERDICTS)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(_VERDICTS)}"
            raise Problem(HTTPStatus.BAD_REQUEST, f'"{word}" is not a verdict; {hint}')
    return frozenset(_VERDICTS[word] for word in words)


def write_cursor(row: RunRow) -> str:
    """Where a page ended, as text that means nothing to others."""
    return base64.urlsafe_b64encode(_CURSOR.pack(row.slot, row.run_id)).decode()


def read_cursor(text: str) -> tuple[int, bytes]:
    """What `write_cursor` wrote. Raises `Problem` for anything else."""
    try:
        slot, run_id = _CURSOR.unpack(base64.b64decode(text, altchars=b"-_", validate=True))
    except (binascii.Error, struct.error, ValueError) as error:
        raise Problem(HTTPStatus.NOT_FOUND, "that cursor is none of ours") from error
    return slot, run_id
