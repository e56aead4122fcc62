"""Why did it run, or not? One paragraph out of the ledger over HTTP, whole and in its parts."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from bartos import why
from bartos.api.asked import Time
from bartos.api.given import Given, find_order, find_run
from bartos.api.models import instant_of, maybe
from bartos.api.problems import Problem
from bartos.asking_why import Answer, Asked, Asking, NotKnown
from bartos.store.orders import OrderRow
from bartos.store.port import RunRow, SlotRange
from libbarto.identity import uuid_text

router = APIRouter(prefix="/api/v1", tags=["why"])


class Step(BaseModel):
    """A next step: what it does, and the command for it, empty where it is none."""

    words: str
    command: str

    @classmethod
    def of(cls, step: why.Step) -> Step:
        """The model of one."""
        return cls(words=step.words, command=step.command)


class Why(BaseModel):
    """Why a planned start, or a run, ended as it did, or did not begin.

    `text` is the whole for people: the headline and the sentences as a paragraph, the last lines,
    what comes next, and each command on a line of its own. `state` is a verdict, `running`,
    `stuck`, `waiting`, `late`, `unknown`; or `planned`, `not_due`, `not_counted` (the schedule did
    not count there then), `not_followed`, `no_worker`, `never`.
    """

    schedule: str
    worker: str = Field(description="empty where the server chooses one, or none is meant")
    slot: datetime | None = Field(description="the planned start that this is about")
    state: str
    act: str = Field(description="must someone act: no, look or yes")
    headline: str
    because: list[str] = Field(description="sentences, the most telling first")
    lines: list[str] = Field(description="what it said last, of one that failed")
    next: str = Field(description="when it is due again, or why it is not, in words")
    next_start: datetime | None
    steps: list[Step]
    run: str | None = Field(description="the id of the run, where there is one")
    order: str | None = Field(description="the id of a start by hand that has no run")
    others: dict[str, int] = Field(description="on how many other workers it is in which state")
    text: str

    @classmethod
    def of(cls, answer: Answer) -> Why:
        """The model of an answer."""
        told, facts = answer.why, answer.facts
        cover = facts.cover
        run = None
        if isinstance(cover, RunRow) or (isinstance(cover, SlotRange) and cover.run_id):
            run = None if cover.run_id is None else uuid_text(cover.run_id)
        return cls(
            schedule=facts.schedule,
            worker=facts.worker,
            slot=maybe(facts.slot),
            state=told.state,
            act=told.act.value,
            headline=told.headline,
            because=list(told.because),
            lines=list(told.lines),
            next=told.next,
            next_start=maybe(told.next_at),
            steps=[Step.of(step) for step in told.steps],
            run=run,
            order=uuid_text(cover.intent.run_id) if isinstance(cover, OrderRow) else None,
            others=dict(facts.others),
            text=told.text,
        )


@router.get("/why", responses={404: {}, 409: {}})
async def ask_why(
    given: Given,
    schedule: Annotated[
        str | None, Query(max_length=255, description="the schedule, or give `run`")
    ] = None,
    worker: Annotated[
        str | None,
        Query(max_length=255, description="left out: the worker that needs a look most"),
    ] = None,
    at: Annotated[
        Time | None,
        Query(
            description="the planned start, to the minute or the second; left out: the last one "
            "that someone should look at, else the last"
        ),
    ] = None,
    run: Annotated[
        str | None, Query(max_length=100, description="a run, in place of all the others")
    ] = None,
    timezone: Annotated[
        str | None,
        Query(max_length=100, description="the zone to tell times in; else the schedule's own"),
    ] = None,
) -> Why:
    """Why a planned start was missed, skipped or failed, whether that is new, what changed since it
    was good last, when it is due again, and what one may do now."""
    if (schedule is None) == (run is None):
        raise Problem(HTTPStatus.CONFLICT, "give `schedule` or `run`, one of them")
    asking = Asking(given)
    if run is not None:
        try:
            row = await find_run(given.store, run)
        except Problem as problem:
            order = await find_order(given.store, run)
            if problem.status != HTTPStatus.NOT_FOUND or order is None:
                raise
            return Why.of(await asking.why_order(order, timezone))
        return Why.of(await asking.why_run(row, timezone))
    assert schedule is not None
    asked = Asked(schedule, worker, None if at is None else instant_of(at), timezone)
    try:
        return Why.of(await asking.why(asked))
    except NotKnown as error:
        raise Problem(HTTPStatus.NOT_FOUND, str(error)) from error
