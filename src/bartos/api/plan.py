"""What would a changed configuration do? `POST /api/v1/plan`: asked with the files' texts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from bartos.api.given import Given
from bartos.api.models import moment
from bartos.config import read_texts
from bartos.plan import WorkerFacts
from bartos.planning import facts_of
from bartos.preview import Change, Minute, Planned, Preview, preview
from bartos.schedules import Definition, from_json
from libbarto.settings import Fault

FILES_MAX = 1000
BODY_MAX = 16 * 1024 * 1024
"""Bytes of a configuration: ten thousand schedules have some two million."""
NAMED = 20
"""Workers that are named; of more only the number is told."""

router = APIRouter(prefix="/api/v1", tags=["plan"])


class File(BaseModel):
    """A file of the configuration: what messages call it, and its text."""

    name: str = Field(min_length=1, max_length=4096)
    text: str


class PlanRequest(BaseModel):
    """bartos.toml, then the files of schedules.d in order of name."""

    files: list[File] = Field(min_length=1, max_length=FILES_MAX)


class Finding(BaseModel):
    """Something that is wrong ("error"), was probably not meant ("warning"), or is worth a
    thought ("note")."""

    kind: str
    file: str
    line: int
    message: str

    @classmethod
    def of(cls, kind: str, fault: Fault) -> Finding:
        """The model of a fault."""
        return cls(kind=kind, file=fault.file, line=fault.line, message=fault.message)


class Names(BaseModel):
    """So many workers; `names` are those of the first of them, by name."""

    count: int
    names: list[str]

    @classmethod
    def of(cls, names: Sequence[str]) -> Names:
        """The model of a list of names."""
        return cls(count=len(names), names=list(names[:NAMED]))


class KeyChange(BaseModel):
    """A key with another value; both as TOML writes them, "none" where there is none."""

    key: str
    old: str
    new: str


class ScheduleChange(BaseModel):
    """A schedule that is added, changed or removed."""

    change: str
    name: str
    was: str = Field(description="its name before, where that is another one under the same id")
    trigger: str
    enabled: bool
    floating: bool = Field(description="one of its workers runs each planned start")
    workers: Names
    gained: Names
    lost: Names
    keys: list[KeyChange]

    @classmethod
    def of(cls, change: Change) -> ScheduleChange:
        """The model of a change."""
        return cls(
            change=change.kind,
            name=change.name,
            was=change.was,
            trigger=change.trigger,
            enabled=change.enabled,
            floating=change.floating,
            workers=Names.of(change.workers),
            gained=Names.of(change.gained),
            lost=Names.of(change.lost),
            keys=[KeyChange(key=it.name, old=it.old, new=it.new) for it in change.keys],
        )


class PlannedStart(BaseModel):
    """A planned start of what is added or changed; up to `until` where each worker has a time of
    its own. `note` says what a clock change makes of it."""

    at: datetime
    until: datetime | None
    zone: str
    schedule: str
    workers: int
    note: str

    @classmethod
    def of(cls, start: Planned) -> PlannedStart:
        """The model of a start."""
        return cls(
            at=moment(start.at),
            until=None if start.until == start.at else moment(start.until),
            zone=start.zone,
            schedule=start.schedule,
            workers=start.workers,
            note=start.note,
        )


class BusyMinute(BaseModel):
    """A minute, and how many runs start in it."""

    at: datetime
    starts: int
    schedules: list[str]

    @classmethod
    def of(cls, minute: Minute) -> BusyMinute:
        """The model of a minute."""
        return cls(
            at=moment(minute.at), starts=minute.starts, schedules=list(minute.schedules[:NAMED])
        )


class PlanAnswer(BaseModel):
    """What the configuration would do; with an error among the findings, nothing."""

    usable: bool
    findings: list[Finding]
    changes: list[ScheduleChange]
    unchanged: int = Field(description="schedules that stay as they are")
    workers: int = Field(description="workers that are known")
    told: int = Field(description="of these, how many would get a new version")
    needs_yes: bool = Field(description="a reload would wait for `bartos reload --yes`")
    next: list[PlannedStart]
    busiest: list[BusyMinute] = Field(description="of the next 24 hours, fullest first")
    busiest_before: int = Field(description="starts in the fullest minute, as things are")
    estimated: bool = Field(description="these numbers stand for more workers than were counted")

    @classmethod
    def of(cls, found: Preview) -> PlanAnswer:
        """The model of a preview."""
        report = found.report
        kinds = (("error", report.faults), ("warning", report.warnings), ("note", report.notes))
        findings = [Finding.of(kind, fault) for kind, faults in kinds for fault in faults]
        return cls(
            usable=not found.faulty,
            findings=sorted(findings, key=lambda it: (it.file, it.line)),
            changes=[ScheduleChange.of(change) for change in found.changes],
            unchanged=found.unchanged,
            workers=found.known,
            told=found.told,
            needs_yes=found.needs_yes,
            next=[PlannedStart.of(start) for start in found.next_starts],
            busiest=[BusyMinute.of(minute) for minute in found.busiest],
            busiest_before=found.busiest_before,
            estimated=found.estimated,
        )


def answer(
    files: Sequence[tuple[str, str]],
    old: Sequence[Definition],
    workers: Sequence[WorkerFacts] | None,
    now: int,
) -> PlanAnswer:
    """What `files` would do where `old` is in force; `now` is in microseconds.

    `workers` is None where nobody can be asked for them.
    """
    texts = read_texts(files)
    found = preview(
        old,
        texts.schedules.sound,
        workers,
        now,
        faults=texts.faults,
        zone_given=texts.zone_given,
    )
    return PlanAnswer.of(found)


@router.post("/plan", max_body_size=BODY_MAX)
async def plan(request: PlanRequest, given: Given) -> PlanAnswer:
    """What a changed configuration would do here: what it adds, changes and removes, which
    workers that means, the next planned starts, and the fullest minutes of the day to come.
    Nothing is put in force."""
    old = [from_json(row.definition) for row in await given.store.schedules()]
    workers = [facts_of(row) for row in await given.store.workers()]
    files = [(file.name, file.text) for file in request.files]
    # A large fleet's plan takes seconds, in which nobody else may wait.
    return await asyncio.to_thread(answer, files, old, workers, given.clock.now())
