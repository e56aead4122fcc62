"""What may be done on workers by hand, over HTTP: a command that is in no schedule, and drains."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import Field

from bartos.acting import Who
from bartos.api.actions import Answer, Asked, PauseAsked, User, end_of
from bartos.api.asked import Number
from bartos.api.given import Given
from bartos.api.problems import Problem
from bartos.api.workers import worker_named

router = APIRouter(prefix="/api/v1")

TIMEOUT_MOST = 366 * 86_400.0
Text = Annotated[str, Field(min_length=1, max_length=65_536, pattern="^[^\\x00]*$")]
Word = Annotated[str, Field(min_length=1, max_length=4096, pattern="^[^\\x00]*$")]
BODY_MAX = 2 * 1024 * 1024
Name = Annotated[str, Path(max_length=255, description="the worker's name")]


class ExecAsked(Asked):
    """Have a command run once, in no schedule."""

    on: str = Field(
        min_length=1,
        max_length=4096,
        description='on the workers that this selects: `web1`, `"web*"`, `os=debian`',
    )
    command: Text = Field(description="a text for the shell")
    shell: list[Word] = Field(
        default=["/bin/sh", "-c"],
        min_length=1,
        max_length=16,
        description="a program and its arguments; the command comes last",
    )
    timeout: Number | None = Field(
        default=None, gt=0, le=TIMEOUT_MOST, description="seconds after which it is stopped"
    )
    request: UUID | None = Field(
        default=None, description="names this request; asked again with it, nothing starts twice"
    )


@router.post("/exec", responses={403: {}, 409: {}}, tags=["exec"], max_body_size=BODY_MAX)
async def execute(given: Given, asked: ExecAsked, who: User) -> Answer:
    """Run a command on each worker that `on` selects, once, within a minute or not at all. It is
    recorded as any run, under the name `exec`. Only where bartos.toml says `allow_exec = true`."""
    facts = given.facts()
    if not facts.allow_exec:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "commands that are in no schedule are not allowed here; "
            f"allow_exec = true in {facts.config_file} allows them",
        )
    done = await given.actions.execute(
        asked.on,
        asked.command,
        Who(who, asked.reason),
        shell=asked.shell,
        timeout=asked.timeout,
        request=None if asked.request is None else asked.request.bytes,
        wait=asked.wait,
        dry_run=asked.dry_run,
    )
    return Answer.of(done)


@router.post("/workers/{name}/drain", responses={404: {}, 409: {}}, tags=["workers"])
async def drain(given: Given, name: Name, asked: PauseAsked, who: User) -> Answer:
    """Let a worker start nothing: its planned starts are skipped, the server gives it none, and
    what runs there goes on."""
    row = await worker_named(given, name)
    done = await given.actions.drain(
        row,
        Who(who, asked.reason),
        until=end_of(given, asked),
        wait=asked.wait,
        dry_run=asked.dry_run,
    )
    return Answer.of(done)


@router.post("/workers/{name}/undrain", responses={404: {}, 409: {}}, tags=["workers"])
async def undrain(given: Given, name: Name, asked: Asked, who: User) -> Answer:
    """Let a worker that is drained start again. What was skipped is not caught up."""
    row = await worker_named(given, name)
    done = await given.actions.undrain(
        row, Who(who, asked.reason), wait=asked.wait, dry_run=asked.dry_run
    )
    return Answer.of(done)
