"""What operators do with workers, over HTTP: a worker that was refused may come back."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from bartos.api.actions import User
from bartos.api.asked import Flag
from bartos.api.given import Given
from bartos.api.workers import worker_named

router = APIRouter(prefix="/api/v1", tags=["fleet"])


class ResetAsked(BaseModel):
    """Reset a worker."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(default="", max_length=1000, description="why; the history says so")
    dry_run: Flag = Field(default=False, description="only say what is known of it")


class Reset(BaseModel):
    """A worker that was reset, or would be."""

    worker: str
    connected: bool
    alarm: str = Field(description="what it was refused for; empty where it was not")
    done: bool


@router.post("/workers/{name}/reset", responses={404: {}})
async def reset(given: Given, name: str, asked: ResetAsked, who: User) -> Reset:
    """Let a worker come back whose state directory was refused, as it is a copy or was rolled back.

    It begins a new spool, with cursors at now: nothing of the past is caught up. Stop the copy
    first: of two that remain, the first that comes counts, and the other is refused."""
    row = await worker_named(given, name)
    alarm = given.fleet.alarms().get(row.uid, "")
    connected = any(link.uid == row.uid for link in given.fleet.connected())
    if not asked.dry_run:
        await given.fleet.reset_worker(row, who, asked.reason)
    return Reset(worker=row.name, connected=connected, alarm=alarm, done=not asked.dry_run)
