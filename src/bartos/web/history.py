"""What ran, and what did not? All planned starts with filters, a day as a drawing, and a search in
what was printed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from http import HTTPStatus
from itertools import groupby
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from starlette.responses import Response

from bartos.api import ledger, search
from bartos.api import timeline as days
from bartos.api.problems import Problem
from bartos.web.pages import Visit, Visiting
from libbarto.message.v2.record import Verdict

router = APIRouter(include_in_schema=False)

SHOWN: Final = 100
LANES_MAX: Final = 4
SPANS: Final = 96
"""Quarters of an hour: how finely the drawing tells how much ran at once."""
FILTERS: Final = ("schedule", "worker", "verdict", "since", "until")

WORDS: Final = (*(verdict.word for verdict in Verdict), "running", "waiting", "late", "unknown")

Text = Annotated[str, Query(max_length=255)]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the page was asked for, as its form has it."""

    schedule: str = ""
    worker: str = ""
    verdict: tuple[str, ...] = ()
    since: str = ""
    until: str = ""

    def query(self, **more: object) -> str:
        """The filters as a query, with more or other fields; what is empty is left out."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in FILTERS} | more
        return urlencode({name: value for name, value in fields.items() if value}, doseq=True)


@router.get("/history")
async def history(
    visit: Visiting,
    schedule: Text = "",
    worker: Text = "",
    verdict: Annotated[list[str] | None, Query(max_length=20)] = None,
    since: Text = "",
    until: Text = "",
    text: Annotated[str, Query(max_length=200)] = "",
    view: Text = "",
    day: date | None = None,
    by: days.By = days.By.SCHEDULE,
    cursor: Annotated[str | None, Query(max_length=20_000)] = None,
) -> Response:
    """All planned starts with what became of them; with `view=day` a day as a drawing, with `text`
    what was printed."""
    wanted = Wanted(schedule.strip(), worker.strip(), tuple(verdict or ()), since, until)
    if view == "day":
        return await _day(visit, wanted, day, by)
    if text.strip() or view == "output":
        return await _output(visit, wanted, text.strip(), cursor)
    given = visit.services
    found = await ledger.verdicts(
        given,
        schedule=wanted.schedule or None,
        worker=wanted.worker or None,
        verdict=list(wanted.verdict) or None,
        since=moment_of(visit, since),
        until=moment_of(visit, behind(until)),
        limit=SHOWN,
        cursor=cursor,
    )
    values = {
        "wanted": wanted,
        "words": WORDS,
        "found": found,
        "first": cursor is None,
        "file": _download(visit, wanted),
        "command": _command(wanted),
        "view": "",
    }
    return visit.page("history.html", values, active="History")


def moment_of(visit: Visit, text: str) -> datetime | None:
    """A time that the form has: a day in the zone of the page, or RFC 3339; None for none.

    Raises `Problem` for anything else.
    """
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        said = f'"{text}" is no day as 2026-11-24, nor a time as 2026-11-24T02:00:00Z'
        raise Problem(HTTPStatus.BAD_REQUEST, said) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=visit.zone)


def behind(text: str) -> str:
    """The end of what the form calls the last day, as a day: the next one. A time stays.

    >>> behind("2026-11-24"), behind("2026-11-24T02:00:00Z"), behind("")
    ('2026-11-25', '2026-11-24T02:00:00Z', '')
    """
    try:
        return str(date.fromisoformat(text) + timedelta(days=1))
    except (ValueError, OverflowError):
        return text


def _download(visit: Visit, wanted: Wanted) -> str:
    """The query of a file of what is asked for: runs alone, which have all times in UTC."""
    fields: dict[str, Any] = {}
    for name, text in (("since", wanted.since), ("until", behind(wanted.until))):
        at = moment_of(visit, text)
        fields[name] = "" if at is None else at.isoformat()
    ended = [word for word in wanted.verdict if word in {verdict.word for verdict in Verdict}]
    return wanted.query(**fields, verdict=ended)


def _command(wanted: Wanted) -> list[str]:
    command = ["barto", "runs"]
    for option, value in (("--schedule", wanted.schedule), ("--worker", wanted.worker)):
        command += [option, value] if value else []
    for word in wanted.verdict:
        command += ["--verdict", word]
    for option, value in (("--since", wanted.since), ("--until", behind(wanted.until))):
        command += [option, value] if value else []
    return command


# -- what was printed -----------------------------------------------------------------------------


async def _output(visit: Visit, wanted: Wanted, text: str, cursor: str | None) -> Response:
    found = None
    if text:
        found = await search.search_output(
            visit.services,
            text=text,
            schedule=wanted.schedule or None,
            worker=wanted.worker or None,
            since=moment_of(visit, wanted.since),
            until=moment_of(visit, behind(wanted.until)),
            limit=SHOWN,
            cursor=cursor,
        )
    lines = found.lines if found else []
    values = {
        "wanted": wanted,
        "text": text,
        "found": found,
        "runs": [(one, list(mine)) for one, mine in groupby(lines, lambda line: line.run)],
        "view": "output",
    }
    return visit.page("search.html", values, active="History")


# -- a day ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Drawn:
    """A row of the drawing: bars with the lane that each lies in, so that none hides another."""

    row: days.DayRow
    bars: list[tuple[days.DayBar, int]] = field(default_factory=list)
    lanes: int = 1


async def _day(visit: Visit, wanted: Wanted, day: date | None, by: days.By) -> Response:
    told = await days.timeline(
        visit.services,
        day=day,
        timezone=visit.zone_name,
        by=by,
        schedule=wanted.schedule or None,
        worker=wanted.worker or None,
    )
    length = (told.end - told.begin).total_seconds()

    def place(at: datetime) -> int:
        """Seconds from the beginning of the day."""
        return round(min(max((at - told.begin).total_seconds(), 0), length))

    hours = [
        datetime.combine(told.day, time(), visit.zone) + timedelta(hours=hour) for hour in range(24)
    ]
    load = at_once(told)
    values = {
        "wanted": wanted,
        "told": told,
        "by": by,
        "drawn": [drawn(row) for row in told.rows],
        "length": round(length),
        "place": place,
        "ticks": [(f"{hour:%H}", place(hour)) for hour in hours],
        "load": load,
        "most": max(load, default=0),
        "idle": _idle(visit, told, load),
        "before": _beside(told.day, -1),
        "after": _beside(told.day, 1),
        "now_at": place(told.now) if told.begin <= told.now < told.end else None,
        "view": "day",
    }
    return visit.page("day.html", values, active="History")


def _beside(day: date, by: int) -> date | None:
    try:
        return day + timedelta(days=by)
    except OverflowError:
        return None


def drawn(row: days.DayRow) -> Drawn:
    """A row with each bar in the first lane that is free."""
    ends: list[datetime] = []
    made = Drawn(row)
    for bar in row.bars:
        lane = next((n for n, end in enumerate(ends) if end <= bar.begin), len(ends))
        if lane == len(ends) and lane < LANES_MAX:
            ends.append(bar.end)
        lane = min(lane, LANES_MAX - 1)
        ends[lane] = max(ends[lane], bar.end)
        made.bars.append((bar, lane))
    made.lanes = max(1, len(ends))
    return made


def at_once(told: days.Timeline) -> list[int]:
    """For each quarter of an hour: in how many bars something ran."""
    width = (told.end - told.begin) / SPANS
    counts = [0] * SPANS
    for row in told.rows:
        for bar in row.bars:
            first = max(0, math.floor((bar.begin - told.begin) / width))
            last = min(SPANS - 1, math.floor((bar.end - told.begin) / width))
            for span in range(first, last + 1):
                counts[span] += 1
    return counts


def _idle(visit: Visit, told: days.Timeline, load: Sequence[int]) -> list[str]:
    """The longest spans, an hour at least, in which nothing ran, up to now."""
    width = (told.end - told.begin) / SPANS
    found: list[tuple[int, int]] = []
    begin = 0
    for busy, spans in groupby(load, lambda count: count > 0):
        end = begin + len(list(spans))
        if not busy and told.begin + end * width <= told.now:
            found.append((end - begin, begin))
        begin = end
    longest = sorted(found, reverse=True)[:3]
    said = []
    for length, first in sorted(longest, key=lambda span: span[1]):
        if length >= SPANS // 24:
            start, end_at = told.begin + first * width, told.begin + (first + length) * width
            said.append(f"{visit.clock(start)[:5]}–{visit.clock(end_at)[:5]}")
    return said
