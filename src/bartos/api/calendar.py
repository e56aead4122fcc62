"""What does an expression of time mean? For who types one: words, the next starts, doubts, or the
place where it cannot be read.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from bartos.api.asked import Time
from bartos.api.given import Given
from bartos.api.models import instant_of, moment
from bartos.api.problems import Problem
from bartos.explaining import Explained, Kind, Wrong, explain
from libbarto.errors import CalendarError
from libbarto.realtime import zones
from libbarto.realtime.doubts import Doubt
from libbarto.realtime.preview import Rules, Start

TEXTS_MAX = 10
TEXT_MAX = 1000
STARTS_MAX = 100

router = APIRouter(prefix="/api/v1", tags=["calendar"])


class CalendarStart(BaseModel):
    """A planned start; up to `until` where each worker has one of its own. `local` is the time in
    the zone `zone`, `note` says what a clock change makes of it."""

    at: datetime
    until: datetime | None
    zone: str
    local: str
    note: str

    @classmethod
    def of(cls, start: Start) -> CalendarStart:
        """The model of a start."""
        return cls(
            at=moment(start.at),
            until=None if start.until == start.at else moment(start.until),
            zone=start.zone,
            local=_local(start),
            note=start.note,
        )


class CalendarNote(BaseModel):
    """Something that was probably not meant, and what to write instead. What is `gentle` may well
    be meant."""

    code: str
    message: str
    fix: str
    gentle: bool

    @classmethod
    def of(cls, doubt: Doubt) -> CalendarNote:
        """The model of a doubt."""
        return cls(code=doubt.code, message=doubt.message, fix=doubt.fix, gentle=doubt.gentle)


class CalendarFault(BaseModel):
    """Why a text cannot be read: its characters `start` to `end` (from 0, end exclusive)."""

    message: str
    text: str
    start: int
    end: int

    @classmethod
    def of(cls, wrong: Wrong) -> CalendarFault:
        """The model of a fault."""
        return cls(message=wrong.message, text=wrong.text, start=wrong.start, end=wrong.end)


class CalendarPreview(BaseModel):
    """What an expression means. With an `error` the lists are empty."""

    kind: str = Field(description="how it was read: calendar, or cron")
    normalized: list[str]
    words: str
    timezone: str
    at_boot: bool = Field(description="also once for each boot of a host")
    times: str = Field(
        description="what `next` are: exact, each worker's range, or an example of one worker's"
    )
    next: list[CalendarStart]
    notes: list[CalendarNote]
    error: CalendarFault | None

    @classmethod
    def of(cls, found: Explained, timezone: str) -> CalendarPreview:
        """The model of an explanation."""
        return cls(
            kind=found.kind,
            normalized=[str(calendar) for calendar in found.calendars],
            words=found.meaning,
            timezone=timezone,
            at_boot=found.boot,
            times=found.times,
            next=[CalendarStart.of(start) for start in found.starts],
            notes=[CalendarNote.of(doubt) for doubt in found.doubts],
            error=None if found.wrong is None else CalendarFault.of(found.wrong),
        )


@router.get("/calendar", responses={404: {}})
async def calendar(
    given: Given,
    text: Annotated[
        list[Annotated[str, Query(max_length=TEXT_MAX)]],
        Query(
            min_length=1,
            max_length=TEXTS_MAX,
            description="an expression, or several, whose union is meant",
            examples=[["Mon..Fri 02:30"]],
        ),
    ],
    kind: Annotated[Kind, Query(description="how to read it; auto finds out")] = Kind.AUTO,
    timezone: Annotated[
        str | None,
        Query(
            max_length=100, description="the pages' zone if not given", examples=["Europe/Berlin"]
        ),
    ] = None,
    dst_gap: Literal["next", "skip"] = "next",
    dst_repeat: Literal["auto", "once"] = "auto",
    since: Annotated[
        Time | None, Query(description="the first start is after this; now if not given")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=STARTS_MAX)] = 10,
) -> CalendarPreview:
    """What an expression means: in words, in its normalised form, with the next planned starts,
    with notes on clock changes and on what was probably not meant. One that cannot be read is an
    answer as well, with the place of the fault."""
    try:
        zone = zones.load(timezone or given.facts().pages.timezone).name
    except CalendarError as error:
        raise Problem(HTTPStatus.NOT_FOUND, error.message) from error
    after = given.clock.now() if since is None else instant_of(since)
    rules = Rules(zone, dst_gap, dst_repeat)
    texts = [one.strip() for one in text]
    return CalendarPreview.of(explain(texts, kind, rules, after, limit), zone)


def _local(start: Start) -> str:
    """The time on the clocks of the start's zone, as RFC 3339."""
    return moment(start.at).astimezone(zones.load(start.zone).tzinfo).isoformat()
