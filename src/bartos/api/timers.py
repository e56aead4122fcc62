"""When does each schedule run next on each worker, and how did it end there last? The models.

A row is one schedule on one worker. Where nothing is planned, `state` says why: never a planned
start that is over.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from bartos.api import models


class Timer(BaseModel):
    """A schedule on a worker; `worker` is empty where any of them may take it."""

    schedule: str
    worker: str
    one_of: int | None = Field(
        default=None, description="where any of so many workers may take it, as the server chooses"
    )
    state: str = Field(
        description="planned; or why nothing is: paused, disabled, drained, offline, unknown (the "
        "worker has not confirmed it), never (no such time comes)"
    )
    next: datetime | None = Field(description="the next start that will be made; never past")
    planned: datetime | None = Field(
        default=None, description="what its calendar says next, whether or not anything starts then"
    )
    timezone: str = Field(description="the schedule's zone, as Europe/Berlin; empty: the worker's")
    by: str = Field(default="", description="who paused or drained it")
    until: datetime | None = Field(default=None, description="how long it is paused")
    reason: str = Field(default="", description="why it is paused, drained, or never due")
    last: datetime | None = Field(description="the last planned start that was decided or claimed")
    verdict: str | None = Field(description="of the last one; null where it runs or is none")
    seconds: float | None = Field(default=None, description="how long the last one took")
    exit_code: int | None = None
    signal: int | None = None
    run: str | None = Field(default=None, description="the last run's id, where it ran")
    running: bool = Field(default=False, description="the last one has not ended")


class Timers(BaseModel):
    """Timers by next planned start; those without one last. `next` is the cursor of a next page."""

    timers: list[Timer]
    next: str | None


class Failing(BaseModel):
    """A schedule on a worker whose last run did not end well: what someone should look at."""

    schedule: str
    worker: str
    state: str = Field(description="failed, timed_out, lost, interrupted, missed, stuck, late")
    reason: str
    exit_code: int | None = None
    signal: int | None = None
    run: str | None = None
    slot: datetime = Field(description="the planned start of the last one")
    times: int = Field(description="so many in a row, the last one among them")
    since: datetime | None = Field(default=None, description="planned start of the first in a row")
    usual_seconds: float | None = Field(default=None, description="for stuck: how long it takes")


class Planned(BaseModel):
    """What starts next: a schedule on so many workers, from `first` to `last`."""

    schedule: str
    first: datetime
    last: datetime
    workers: int
    worker: str = Field(default="", description="its name, where it is one")
    timezone: str = ""


class Status(BaseModel):
    """All on one screen: what is not well, what runs, what comes."""

    counts: dict[str, int] = Field(
        description="schedules on workers by state: ok, running, failed, stuck, late, missed, "
        "interrupted, lost, timed_out, unknown, paused, disabled, never_ran; those without any are "
        "left out"
    )
    workers: int = Field(description="that the server knows")
    connected: int
    away: list[str] = Field(description="names of those that are not connected, at most 20")
    drained: list[str] = Field(default=[], description="names, at most 20")
    schedules: int
    confirmed: int = Field(description="workers that confirmed the schedules they are to have")
    meant: int = Field(description="workers that are to confirm")
    failing: list[Failing] = Field(description="newest first, at most 20")
    running: list[models.Run] = Field(description="longest first, at most 20")
    next: list[Planned] = Field(description="of the next 24 hours, soonest first, at most 20")
