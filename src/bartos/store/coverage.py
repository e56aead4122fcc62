"""From when until when does a schedule count on a worker, and by which trigger?

A worker tells it with `SetApplied` and `ClockBack` (DESIGN section 4); here is what these mean for
the spans that the store keeps, as plain functions for every kind of store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bartos.store.port import NO_TIMING, Applied, Batch, SlotRange, WaitingRow
from libbarto.errors import CalendarError
from libbarto.identity import Kind
from libbarto.message.v2.record import Claimed, ClockBack, Decided, SetApplied, Verdict, Waiting
from libbarto.schedule import Timetable
from libbarto.timing import spec_of_timing

Key = tuple[bytes, bytes, int]


def key_of(row: Applied) -> Key:
    """Worker, schedule, and the instant after which the span begins: no two spans share it."""
    return row.worker_uid, row.schedule_uid, row.from_at


def reaches_back_to(record: SetApplied | ClockBack) -> int:
    """The record may change spans that are open, and those that end at this instant or later."""
    return record.now if isinstance(record, ClockBack) else min([record.at, *record.since])


def set_applied(
    rows: Iterable[Applied], record: SetApplied, worker_uid: bytes, spool_id: bytes
) -> list[Applied]:
    """The spans of a worker, of which `rows` are those in reach, after it took on a set.

    A set of more than a thousand schedules is told in several records: each closes what it does
    not name, unless one of the same set has named it, and opens again what another one closed.
    One of an older set than is known was told before, and changes nothing.
    """
    before = sorted(rows, key=key_of)
    if any(row.generation > record.generation for row in before):
        return before
    named = _named(before, record, spool_id)
    after = []
    for row in before:
        timing, since = named.get(row.schedule_uid, (NO_TIMING, record.at))
        if row.schedule_uid in named:
            if row.from_at < since:
                after.append(_closed(row, since, spool_id))
            elif row.from_at == since and row.timing == timing:
                opened = replace(
                    row, until_at=None, generation=record.generation, spool_id=spool_id, torn=False
                )
                after.append(opened)
                del named[row.schedule_uid]
        elif row.until_at is None and row.generation < record.generation:
            if row.from_at < record.at:
                after.append(_closed(row, record.at, spool_id))
        else:
            after.append(row)
    for uid, (timing, since) in named.items():
        after.append(
            Applied(worker_uid, uid, since, None, timing, record.generation, spool_id, False, since)
        )
    return sorted(after, key=key_of)


def _named(
    before: Sequence[Applied], record: SetApplied, spool_id: bytes
) -> dict[bytes, tuple[bytes, int]]:
    """For each schedule that the record names its trigger, and since when it counts.

    A worker of an older version tells neither: what was there stays as it is.
    """
    named = {}
    for number, uid in enumerate(record.schedules):
        timing = record.timings[number] if number < len(record.timings) else NO_TIMING
        since = record.at
        if number < len(record.since):
            since = min(record.at, record.since[number])
        else:
            held = [row for row in before if row.schedule_uid == uid and row.until_at is None]
            if held and held[-1].spool_id == spool_id:
                timing, since = held[-1].timing, held[-1].from_at
        named[uid] = timing.ljust(len(NO_TIMING), b"\0")[: len(NO_TIMING)], since
    return named


def _closed(row: Applied, at: int, spool_id: bytes) -> Applied:
    if row.until_at is not None:
        return replace(row, until_at=min(row.until_at, at))
    return replace(row, until_at=at, torn=row.spool_id != spool_id)


def clock_back(rows: Iterable[Applied], now: int) -> list[Applied]:
    """The spans of a worker, of which `rows` are those in reach, after its clock was accepted at
    `now`: what was to begin later begins now, what had ended later has ended now."""
    after = []
    for row in sorted(rows, key=key_of):
        if row.until_at is None:
            held = row.from_at <= now
            after.append(row if held else replace(row, from_at=now, kept_from=now))
        elif row.from_at < now:
            after.append(replace(row, until_at=min(row.until_at, now)))
    return after


def range_of(batch: Batch, record: Decided) -> SlotRange:
    """What is stored of a verdict."""
    return SlotRange(
        schedule_uid=record.schedule_uid,
        schedule=record.schedule,
        worker_uid=batch.worker_uid,
        worker=batch.worker,
        first_slot=record.first_slot,
        last_slot=record.last_slot,
        count=record.count,
        verdict=Verdict(record.verdict),
        reason=record.reason,
        decided_at=record.last_slot,
        run_id=record.run_id,
        kind=record.kind,
    )


# -- what takes the place of what -----------------------------------------------------------------


def decided_by(record: Claimed | Decided | Waiting) -> tuple[int, int] | None:
    """The first and the last of the calendar's slots that this record tells of, if any."""
    match record:
        case Decided(run_id=None):
            return record.first_slot, record.last_slot
        case Claimed(kind=Kind.CALENDAR) | Waiting(kind=Kind.CALENDAR):
            return record.slot, record.slot
        case _:
            return None


def is_withdrawn(row: SlotRange, record: Claimed | Decided | Waiting) -> bool:
    """Does this range give way to what its worker tells now? Only *lost* does, and then whole: what
    the record does not tell of is undecided again, until the worker has told of it, too."""
    if row.verdict is not Verdict.LOST:
        return False
    if row.run_id is not None:
        return row.run_id == record.run_id
    slots = decided_by(record)
    return (
        row.schedule_uid == record.schedule_uid
        and slots is not None
        and row.first_slot <= slots[1]
        and slots[0] <= row.last_slot
    )


def is_settled(row: WaitingRow, record: Decided) -> bool:
    """Does this verdict settle what waits?"""
    if record.run_id is not None:
        return row.run_id == record.run_id
    return (
        row.kind == Kind.CALENDAR
        and row.attempt == 1
        and row.schedule_uid == record.schedule_uid
        and record.first_slot <= row.slot <= record.last_slot
    )


def waits_in_vain(row: WaitingRow, now: int) -> bool:
    """Is this dropped where the clock is set back to `now`? What is ahead is due again; an attempt
    after the first, and what no calendar makes due, is not."""
    return row.kind == Kind.CALENDAR and row.attempt == 1 and row.slot > now


# -- how many -------------------------------------------------------------------------------------


def slots_in(
    spans: Iterable[Applied], timings: Mapping[bytes, str], first: int, last: int
) -> int | None:
    """How many slots of a schedule on a worker, whose spans these are, lie in [first, last].

    None where that cannot be known: a trigger is not at hand, or cannot be read here.
    """
    total = 0
    for span in spans:
        after = max(first - 1, span.from_at)
        until = last if span.until_at is None else min(last, span.until_at)
        if after >= until:
            continue
        text = timings.get(span.timing)
        if text is None:
            return None
        try:
            timetable = Timetable(spec_of_timing(text, span.schedule_uid), span.worker_uid)
            total += (timetable.count(after, until) or (0,))[0]
        except (CalendarError, ValueError, KeyError):
            return None
    return total


def missing_bytes(printed: int, cut: int, received: int, gap: int) -> int:
    """How many bytes of a run's output will never come, when its lane is committed to its end.

    `printed` is what its worker counted, `cut` what `output_max` left out, `received` what came,
    `gap` what the worker said has no place any more.

    >>> missing_bytes(printed=100, cut=30, received=50, gap=0)
    20
    """
    return max(printed - cut - received, gap, 0)
