"""Can this record be stored, and read again? What cannot is told before any database is asked.

A worker's word is not trusted: a number beyond a column, a verdict that nobody knows or segments
that do not add up would break every reader later, so such a record is put aside as a dead letter.
"""

from __future__ import annotations

from typing import Final

from bartos.store.port import DeadLetter
from libbarto.errors import CodecError
from libbarto.message.v2.record import (
    OUTPUT_RECORD,
    STATE_RECORD,
    Claimed,
    Cut,
    Decided,
    Ended,
    Notice,
    OfferRefused,
    Output,
    Record,
    SetApplied,
    Started,
    Status,
    Verdict,
    Waiting,
)
from libbarto.message.v2.segment import unpack

INT_MAX: Final = (1 << 63) - 1
"""Both databases' integers end here; the wire's go on to twice as much."""
NAME_MAX: Final = 255
WORD_MAX: Final = 32
FIRST_INSTANT: Final = -62_135_596_800_000_000
LAST_INSTANT: Final = 253_402_300_799_999_999
"""The years 1 and 9999: what dates can show."""

_INSTANTS: Final = frozenset(
    {"slot", "at", "now", "started_at", "ended_at", "first_slot", "last_slot", "due", "until"}
)
_VERDICTS: Final = frozenset(int(verdict) for verdict in Verdict)


def refusal(record: Record) -> str | None:
    """Why this record cannot be stored, or None where it can.

    >>> from libbarto.message.v2.record import ClockBack
    >>> refusal(ClockBack(now=1 << 62))
    'now is beyond the year 9999: 4611686018427387904'
    """
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if not isinstance(value, int):
            continue
        if name in _INSTANTS and not _is_instant(value):
            return f"{name} is beyond the year 9999: {value}"
        if value > INT_MAX:
            return f"{name} is too large to be stored: {value}"
    match record:
        case (
            Claimed(schedule=schedule) | Decided(schedule=schedule) | Waiting(schedule=schedule)
        ) if len(schedule) > NAME_MAX:
            return f"the schedule's name has {len(schedule)} characters, at most {NAME_MAX} fit"
        case Waiting(why=word) | Notice(kind=word) if len(word) > WORD_MAX:
            return f'"{word}" has {len(word)} characters, at most {WORD_MAX} fit'
        case SetApplied(since=since) if any(not _is_instant(at) for at in since):
            return "a schedule counts since beyond the year 9999"
        case Decided(first_slot=first, last_slot=last) if first > last:
            return f"the range ends at {last}, before it begins at {first}"
        case Ended(verdict=verdict) | Decided(verdict=verdict) if verdict not in _VERDICTS:
            return f"there is no verdict {verdict}"
        case Ended(totals=totals) if any(total.bytes_ > INT_MAX for total in totals):
            return "a total is too large to be stored"
        case Output(segments=segments, data=data):
            return _segments(segments, data)
        case Cut(from_offset=first, to_offset=end) if first > end:
            return f"the cut ends at {end}, before it begins at {first}"
        case _:
            return None


def _is_instant(value: int) -> bool:
    return FIRST_INSTANT <= value <= LAST_INSTANT


def _segments(segments: bytes, data: bytes) -> str | None:
    try:
        length = sum(segment.length for segment in unpack(segments))
    except CodecError as error:
        return f"the segments cannot be read: {error}"
    if length != len(data):
        return f"the segments have {length} bytes, the data {len(data)}"
    return None


def run_of(record: Record | DeadLetter) -> bytes | None:
    """The id of the run that a record tells of."""
    match record:
        case Claimed() | Started() | Status() | Ended() | Output() | Cut():
            return record.run_id
        case _:
            return None


def occurrence_of(record: Record | DeadLetter) -> bytes | None:
    """The id of the occurrence that a record tells of, whether it is a run or not."""
    match record:
        case Waiting() | OfferRefused() | Decided():
            return record.run_id
        case _:
            return run_of(record)


def raw(record: Record | DeadLetter) -> bytes:
    """The record's bytes, as it came."""
    match record:
        case DeadLetter(data=data):
            return data
        case Output() | Cut():
            return OUTPUT_RECORD.encode(record)
        case _:
            return STATE_RECORD.encode(record)
