"""What operators do, over HTTP: run, rerun, cancel, pause and resume.

Each answer says how many workers are meant and how many have confirmed; `wait` lets it wait for
them. `request` names a request for starts: asked again with the same one, nothing starts twice.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request
from pydantic import BaseModel, ConfigDict, Field

from bartos.acting import CONFIRMED, OFFLINE, Done, Meant, Who
from bartos.api.asked import Flag, Number, Time
from bartos.api.given import Given, find_run
from bartos.api.guard import SESSION
from bartos.api.models import instant_of, maybe, moment
from bartos.api.problems import Problem
from bartos.nearest import nearest
from bartos.schedules import Definition
from bartos.services import Services
from bartos.store.orders import PauseRow
from bartos.store.port import RunRow
from libbarto.identity import Kind, uuid_text

WAIT_MOST = 60.0
NAME_MOST = 100

router = APIRouter(prefix="/api/v1", tags=["actions"])


# -- what is asked --------------------------------------------------------------------------------


class Asked(BaseModel):
    """What every action may be asked with, and nothing else: whoever writes `worker` for `on` must
    not start it everywhere, nor whoever writes `dryrun` start it at all."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(default="", max_length=1000, description="why; the history says so")
    wait: Number = Field(
        default=1.0,
        ge=0,
        le=WAIT_MOST,
        description="seconds to wait until the workers that are connected have confirmed",
    )
    dry_run: Flag = Field(default=False, description="only say who is meant")


class RunAsked(Asked):
    """Have a schedule run now."""

    schedule: str = Field(min_length=1, max_length=255)
    on: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description='of its workers, those that this selects: `web1`, `"web*"`, `os=debian`',
    )
    request: UUID | None = Field(
        default=None, description="names this request; asked again with it, nothing starts twice"
    )


class RerunAsked(Asked):
    """Make a run once more."""

    failed: Flag = Field(
        default=False,
        description="all that failed of the last planned start of the run's schedule, instead",
    )
    request: UUID | None = Field(default=None, description="as for a run")


class PauseAsked(Asked):
    """Pause: without an end, or for so many seconds, or until a time."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "required": ["seconds", "until"],
                "properties": {"seconds": {"type": "number"}, "until": {"type": "string"}},
            }
        }
    )
    seconds: Number | None = Field(default=None, gt=0, le=10 * 366 * 86_400)
    until: Time | None = None


# -- what is answered -----------------------------------------------------------------------------


class MeantWorker(BaseModel):
    """A worker that is meant, and how far it has got."""

    worker: str = Field(description="empty where the server chooses one and has not yet")
    state: str = Field(description="confirmed, pending, offline or refused")
    run: str | None
    verdict: str | None = Field(description="where it was decided without a run")
    reason: str

    @classmethod
    def of(cls, one: Meant) -> MeantWorker:
        """The model of one."""
        return cls(
            worker=one.worker,
            state=one.state,
            run=None if one.run_id is None else uuid_text(one.run_id),
            verdict=None if one.verdict is None else one.verdict.word,
            reason=one.reason,
        )


class Answer(BaseModel):
    """How far an action has got: `said` is that for people, `412 of 420; 8 offline`."""

    request: str | None = Field(description="what to ask by, how far the starts have got")
    schedules: list[str]
    meant: int
    confirmed: int
    offline: int
    said: str
    workers: list[MeantWorker]

    @classmethod
    def of(cls, done: Done) -> Answer:
        """The model of an action."""
        confirmed, offline = done.count(CONFIRMED), done.count(OFFLINE)
        said = f"{confirmed} of {len(done.meant)}"
        return cls(
            request=None if done.request is None else uuid_text(done.request),
            schedules=list(done.schedules),
            meant=len(done.meant),
            confirmed=confirmed,
            offline=offline,
            said=f"{said}; {offline} offline" if offline else said,
            workers=[MeantWorker.of(one) for one in done.meant],
        )


class Pause(BaseModel):
    """A pause in force; `schedule` is null where it holds for all."""

    schedule: str | None
    who: str
    at: datetime
    until: datetime | None
    reason: str

    @classmethod
    def of(cls, row: PauseRow) -> Pause:
        """The model of a row."""
        return cls(
            schedule=row.schedule or None,
            who=row.who,
            at=moment(row.at),
            until=maybe(row.until),
            reason=row.reason,
        )


class Pauses(BaseModel):
    """The pauses in force, by schedule."""

    pauses: list[Pause]


# -- who, and what --------------------------------------------------------------------------------


async def user(
    request: Request,
    barto_user: Annotated[
        str, Header(description="who asks: what the history says, and no proof of it")
    ] = "",
) -> str:
    """Who asks, in words that can be shown: who is logged in, or whom a command names."""
    session = request.scope.get(SESSION)
    if session is not None:
        return session.name or "web"
    shown = "".join(one if one.isprintable() else "?" for one in barto_user.strip())
    return shown[:NAME_MOST] or "api"


User = Annotated[str, Depends(user)]


async def schedule_named(name: str, given: Given) -> Definition:
    """The schedule of the path, or of a request."""
    return find_schedule(given, name)


Named = Annotated[Definition, Depends(schedule_named)]


def find_schedule(given: Services, name: str) -> Definition:
    """The schedule in force that is called so; the part behind the slash of a name of barto 1.x
    is enough where only one has it. Raises `Problem`."""
    definitions = given.actions.definitions
    found = [one for one in definitions if one.name == name]
    found = found or [one for one in definitions if one.bare_name == name]
    if not found and not given.facts().begun:
        text = "the schedules have not been read since the server's start; ask once more"
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, text)
    if not found:
        near = nearest(name, [one.name for one in definitions])
        hint = f"; did you mean {near}?" if near else ""
        raise Problem(HTTPStatus.NOT_FOUND, f'no schedule is named "{name}"{hint}')
    if len(found) > 1:
        names = ", ".join(one.name for one in found[:5])
        raise Problem(
            HTTPStatus.CONFLICT, f'more than one schedule is named "{name}": say which of {names}'
        )
    return found[0]


# -- runs -----------------------------------------------------------------------------------------


@router.post("/runs", responses={404: {}, 409: {}})
async def run(given: Given, asked: RunAsked, who: User) -> Answer:
    """Have a schedule run now, on each of its workers, or on those that `on` selects of them; one
    with `pick = "one"` on one that the server chooses. A worker that is away starts it when it
    comes back within `catch_up`."""
    done = await given.actions.run(
        find_schedule(given, asked.schedule),
        asked.on,
        Who(who, asked.reason),
        request=_bytes(asked.request),
        wait=asked.wait,
        dry_run=asked.dry_run,
    )
    return Answer.of(done)


@router.get("/orders/{request}", responses={404: {}})
async def order(given: Given, request: UUID) -> Answer:
    """How far a request for starts has got. It is forgotten eight days after its last start."""
    done = await given.actions.started(request.bytes)
    if not done.meant:
        raise Problem(HTTPStatus.NOT_FOUND, "no such request is known")
    return Answer.of(done)


@router.post("/runs/{run}/rerun", responses={404: {}, 409: {}})
async def rerun(given: Given, run: str, asked: RerunAsked, who: User) -> Answer:
    """Make a run once more, by its schedule as it is in force now, on the same worker; or, with
    `failed`, every run that failed of the last planned start of its schedule."""
    row = await find_run(given.store, run)
    rows: list[RunRow] = [row]
    if asked.failed and row.kind != Kind.EXEC:
        rows = await given.actions.last_failed(row.schedule)
        if not rows:
            raise Problem(
                HTTPStatus.NOT_FOUND, f'nothing failed of the last start of "{row.schedule}"'
            )
    done = await given.actions.rerun(
        rows,
        Who(who, asked.reason),
        request=_bytes(asked.request),
        wait=asked.wait,
        dry_run=asked.dry_run,
    )
    return Answer.of(done)


@router.post("/runs/{run}/cancel", responses={404: {}, 409: {}})
async def cancel(given: Given, run: str, asked: Asked, who: User) -> Answer:
    """End a run, or give up a start that is not made yet. A worker that is away is told when it
    comes back."""
    run_id = await _to_end(given, run)
    done = await given.actions.cancel(
        [run_id], Who(who, asked.reason), wait=asked.wait, dry_run=asked.dry_run
    )
    return Answer.of(done)


async def _to_end(given: Services, text: str) -> bytes:
    """The run that `text` names, and that is not over; also a start that has no run yet."""
    try:
        run_id = UUID(text).bytes
    except ValueError:
        run_id = b""
    if run_id and not given.actions.is_over(run_id):
        return run_id
    row = await find_run(given.store, text)
    if row.verdict is not None and given.actions.is_over(row.run_id):
        raise Problem(HTTPStatus.CONFLICT, f"that run is over: {row.verdict.word}")
    return row.run_id


# -- schedules ------------------------------------------------------------------------------------


@router.post("/schedules/{name:path}/cancel", responses={404: {}, 409: {}})
async def cancel_all(given: Given, definition: Named, asked: Asked, who: User) -> Answer:
    """End every run of a schedule, and give up its starts that are not made yet."""
    done = await given.actions.cancel(
        given.actions.going_on(definition),
        Who(who, asked.reason),
        wait=asked.wait,
        dry_run=asked.dry_run,
    )
    return Answer.of(done)


@router.post("/schedules/{name:path}/pause", responses={404: {}, 409: {}})
async def pause(given: Given, definition: Named, asked: PauseAsked, who: User) -> Answer:
    """Pause a schedule: its planned starts are skipped, and runs go on."""
    return await _pause(given, [definition], asked, who)


@router.post("/schedules/{name:path}/resume", responses={404: {}, 409: {}})
async def resume(given: Given, definition: Named, asked: Asked, who: User) -> Answer:
    """End the pause of a schedule. What was skipped is not caught up."""
    return await _resume(given, [definition], asked, who)


@router.post("/pause")
async def pause_all(given: Given, asked: PauseAsked, who: User) -> Answer:
    """Pause all schedules, those to come too."""
    return await _pause(given, None, asked, who)


@router.post("/resume")
async def resume_all(given: Given, asked: Asked, who: User) -> Answer:
    """End the pause of all; what is paused by itself stays so."""
    return await _resume(given, None, asked, who)


@router.get("/pauses")
async def pauses(given: Given) -> Pauses:
    """What is paused: by whom, when, why, and until when."""
    return Pauses(pauses=[Pause.of(row) for row in await given.actions.pauses()])


async def _pause(
    given: Services, definitions: list[Definition] | None, asked: PauseAsked, who: str
) -> Answer:
    until = end_of(given, asked)
    done = await given.actions.pause(
        definitions,
        Who(who, asked.reason),
        until=until,
        wait=asked.wait,
        dry_run=asked.dry_run,
    )
    return Answer.of(done)


def end_of(given: Services, asked: PauseAsked) -> int | None:
    """When what is asked for is to end, in microseconds; None where it has no end. Raises
    `Problem`."""
    now = given.clock.now()
    until = None if asked.until is None else instant_of(asked.until)
    if asked.seconds is not None:
        if until is not None:
            raise Problem(HTTPStatus.CONFLICT, "give `seconds` or `until`, not both")
        until = now + round(asked.seconds * 1e6)
    if until is not None and until <= now:
        raise Problem(HTTPStatus.CONFLICT, "it would be over before it begins")
    return until


async def _resume(
    given: Services, definitions: list[Definition] | None, asked: Asked, who: str
) -> Answer:
    done = await given.actions.resume(
        definitions, Who(who, asked.reason), wait=asked.wait, dry_run=asked.dry_run
    )
    return Answer.of(done)


def _bytes(request: UUID | None) -> bytes | None:
    return None if request is None else request.bytes
