"""What do records say where a spool begins anew? Plain functions over records: numbers change, and
starts that waited are given up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final

import msgspec

from bartoc.journal import StoredSet, WaitingStart
from bartoc.starting import RUN_SPEC, RunSpec
from libbarto.codec import Unknown
from libbarto.errors import CodecError
from libbarto.identity import Kind
from libbarto.message.v2.record import STATE_RECORD, Decided, Ended, Record, Verdict
from libbarto.message.v2.schedule import SCHEDULE_SET

INTERRUPTED: Final = "its end was not seen: the worker's journal was damaged"


def renumbered(record: Record | Unknown, numbers: Mapping[int, int]) -> Record | Unknown:
    """A record with the new numbers of output records, by their old ones: an end names its last,
    which is 0 where the server has it already."""
    if not isinstance(record, Ended):
        return record
    last = max((new for old, new in numbers.items() if old <= record.output_seq), default=0)
    return msgspec.structs.replace(record, output_seq=last)


def names_in(stored: StoredSet | None) -> dict[bytes, str]:
    """The schedules of a set, by uid."""
    try:
        found = SCHEDULE_SET.decode(b"" if stored is None else stored.body)
    except CodecError:
        return {}
    return {schedule.uid: schedule.name for schedule in found.schedules}


def given_up(waiting: WaitingStart, reason: str, names: Mapping[bytes, str]) -> Record:
    """The verdict of a start that waited; of a retry, what the attempt before it ended with.

    `names` are those of schedules by uid, for starts that do not say it themselves.
    """
    spec = RunSpec(schedule=names.get(waiting.schedule_uid, ""), commands=[])
    if waiting.spec:
        with contextlib.suppress(CodecError):
            spec = RUN_SPEC.decode(waiting.spec)
    if spec.ended:
        ended = STATE_RECORD.decode(spec.ended)
        if isinstance(ended, Ended):
            words = [part for part in (ended.reason, f"no further attempt: {reason}") if part]
            return msgspec.structs.replace(ended, reason="; ".join(words), final=True)
    ordered = spec.ordered or waiting.kind != Kind.CALENDAR
    return Decided(
        schedule_uid=waiting.schedule_uid,
        schedule=spec.schedule,
        first_slot=waiting.slot,
        last_slot=waiting.slot,
        count=1,
        verdict=Verdict.MISSED,
        reason=reason,
        run_id=waiting.run_id if ordered else None,
        kind=waiting.kind,
        cause=waiting.cause if ordered else b"",
    )


def interrupted(run_id: bytes, attempt: int, at: int) -> Ended:
    """The end of an attempt whose place in the journal is lost."""
    return Ended(
        run_id=run_id,
        attempt=attempt,
        verdict=Verdict.INTERRUPTED,
        reason=INTERRUPTED,
        ended_at=at,
    )
