"""How did a run go, or one planned start on many hosts? Its output as it comes, why it ended so,
and when what happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime
from starlette.responses import RedirectResponse, Response

from bartos.ansi import PLAIN, Run, Style, drawn
from bartos.api import groups as folded
from bartos.api import models
from bartos.api import runs as history
from bartos.api.given import find_run
from bartos.api.problems import Problem
from bartos.api.why import Why, ask_why
from bartos.searching import Line, Numbering
from bartos.services import Services
from bartos.store.port import ChunkRow, RunRow, Store
from bartos.tail import last_chunks
from bartos.transcript import pieces
from bartos.web import words
from bartos.web.pages import Visit, Visiting
from libbarto.message.v2.record import Stream

router = APIRouter(include_in_schema=False)

CHUNKS: Final = 16
"""Chunks of which the page as it comes shows lines; the script reads all."""
LINES: Final = 100
"""Lines of the page as it comes, before the script has read all of them."""
EXCERPTS: Final = 8
EXCERPT: Final = 6
SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened: `word` at `at`; `more` says how long after, or how long it took."""

    word: str
    at: datetime | None
    more: str = ""
    state: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """A line as it looks."""

    line: Line
    at: datetime
    runs: Sequence[Run]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some lines of a run's output; `more` is where they lie: "first", "last", or "" for all."""

    lines: Sequence[Shown]
    more: str


@router.get("/runs/{run}")
async def run(
    visit: Visiting,
    run: Annotated[str, Path(max_length=100)],
    attempt: Annotated[int | None, Query(ge=1, le=65_535)] = None,
) -> Response:
    """One run."""
    given = visit.services
    row = await find_run(given.store, run)
    told = await history.run(given, row)
    if run != told.id:
        return RedirectResponse(visit.url(f"/runs/{told.id}"), HTTPStatus.SEE_OTHER)
    number = min(attempt or row.attempt, row.attempt)
    mine = [one for one in (*told.steps, *told.earlier) if one.attempt == number]
    others = await history.runs(
        given,
        schedule=row.schedule,
        since=told.slot,
        until=told.slot + timedelta(microseconds=1),
        limit=2,
    )
    values = {
        "run": told,
        "title": title(visit, told.slot),
        "state": "stuck" if told.stuck else told.verdict or "running",
        "attempt": number,
        "steps": mine,
        "moments": moments(told, mine, last=number == row.attempt),
        "excerpt": await _output(given.store, row, number),
        "many": len(others.runs) > 1,
        "fixed": number != row.attempt,
        "why": await _why(visit, told) if number == row.attempt else None,
    }
    return visit.page("run.html", values, active="History")


def title(visit: Visit, at: datetime) -> str:
    """A planned start as a heading has it: with its day, whenever that is."""
    return visit.long(at).partition(f" {visit.zone_name}")[0]


async def _why(visit: Visit, run: models.Run) -> Why | None:
    """Why it ended so, of what did not go well or seems to hang."""
    if run.verdict == "ok" or (run.verdict is None and not run.stuck):
        return None
    try:
        return await ask_why(visit.services, run=run.id, timezone=visit.zone_name)
    except Problem:  # it was dropped meanwhile; what is known of it is on the page
        return None


def moments(run: models.Run, steps: Sequence[models.Step], *, last: bool) -> list[Moment]:
    """What happened when, from the planned start to the end."""
    found = [Moment("due", run.slot)]
    if last:
        found.append(Moment("claimed", run.claimed, _after(run.slot, run.claimed)))
        if run.started is not None:
            found.append(Moment("started", run.started, _after(run.claimed, run.started)))
    for step in steps:
        state = "ok" if step.success else "failed"
        word = f"step {step.step}"
        found.append(Moment(word, step.started, _took(step.seconds), state, step.command))
    if last and run.ended is not None:
        found.append(Moment("ended", run.ended, _took(run.seconds), run.verdict or ""))
    return found


def _after(begin: datetime, end: datetime) -> str:
    seconds = (end - begin).total_seconds()
    sign = "" if abs(seconds) < 0.001 else "+" if seconds > 0 else "-"
    return sign + _took(abs(seconds))


def _took(seconds: float | None) -> str:
    """How long something took, as everywhere; nothing is too short to be told."""
    return "<1ms" if seconds is not None and 0 <= seconds < 0.001 else words.duration(seconds)


# -- many hosts -----------------------------------------------------------------------------------


@router.get("/runs")
async def many(
    visit: Visiting,
    schedule: Annotated[str | None, Query(max_length=255)] = None,
    slot: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """One planned start on all its workers: groups, those that differ, then all of them."""
    if schedule is None or slot is None:
        return RedirectResponse(visit.url("/history"), HTTPStatus.SEE_OTHER)
    given = visit.services
    instant = models.instant_of(slot)
    # In UTC, and within the years that a calendar has.
    slot, behind = models.moment(instant), models.moment(instant + 1)
    until = None if until is None else models.moment(models.instant_of(until))
    found = await folded.groups(given, schedule=schedule, slot=slot, until=until)
    end = until or behind
    page = await history.runs(
        given, schedule=schedule, since=slot, until=end, limit=SHOWN, cursor=cursor
    )
    values = {
        "schedule": schedule,
        "slot": slot,
        "title": title(visit, slot),
        "until": until,
        "found": found,
        "excerpts": await _excerpts(given, found),
        "page": page,
        "first": cursor is None,
    }
    return visit.page("runs.html", values, active="History")


async def _excerpts(given: Services, found: folded.RunGroups) -> dict[str, Excerpt]:
    """The end of what the first of each group printed."""
    told = {}
    for group in found.groups[:EXCERPTS]:
        if group.stdout_bytes or group.stderr_bytes or group.verdict is None:
            row = await find_run(given.store, group.run)
            chunks = await last_chunks(given.store, row.run_id, row.attempt)
            told[group.run] = shown(chunks, whole=True, most=EXCERPT)
    return told


async def _output(store: Store, run: RunRow, attempt: int) -> Excerpt:
    """The last lines of a run's output where it is short, else the first ones."""
    rows = await store.chunks(run.run_id, attempt, -1, CHUNKS + 1)
    return shown(rows[:CHUNKS], whole=len(rows) <= CHUNKS, most=LINES)


def shown(chunks: Sequence[ChunkRow], *, whole: bool, most: int) -> Excerpt:
    """Lines of chunks as they look: the last ones where that is the whole of it, else the first."""
    numbering = Numbering()
    lines = [line for row in chunks for piece in pieces(row) for line in numbering.feed(piece)]
    if whole:
        lines += numbering.rest()
    lines.sort(key=lambda line: line.number)
    styles: dict[tuple[int, Stream], Style] = {}
    found = []
    for line in lines if whole else lines[:most]:
        runs, style = drawn(line.text, styles.get((line.step, line.stream), PLAIN))
        styles[line.step, line.stream] = style
        found.append(Shown(line, models.moment(line.at), runs))
    more = "" if whole and len(found) <= most else "last" if whole else "first"
    return Excerpt(found[-most:], more)
