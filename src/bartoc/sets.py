"""What does a new set of schedules change, and from when do its slots count?

A set is taken on at one tick, in one transaction: slots up to it belong to the old set (DESIGN
section 4).
"""

from __future__ import annotations

from typing import Final

from bartoc import deciding, waiting
from bartoc.books import Books, Draft
from bartoc.events import NewSet
from bartoc.journal import StoredSet
from bartoc.starting import shortened
from libbarto.errors import CalendarError, CodecError
from libbarto.message.v2.record import Notice, SetApplied
from libbarto.message.v2.schedule import SCHEDULE_SET, Schedule
from libbarto.schedule import Timetable
from libbarto.timing import timing_hash, timing_text

TOLD_AT_ONCE: Final = 500
"""Schedules in one `SetApplied`, so that the record fits a frame."""


def go_by(body: bytes, books: Books) -> list[str]:
    """Go by a set from now on. A schedule that cannot be read here is left out, and returned with
    the reason; raises `CodecError` where the whole set cannot be read."""
    wanted = SCHEDULE_SET.decode(body)
    unreadable: list[str] = []
    timetables: dict[bytes, Timetable] = {}
    followers: dict[bytes, list[Schedule]] = {}
    for spec in wanted.schedules:
        try:
            timetables[spec.uid] = Timetable(spec, books.uid)
        except CalendarError as error:
            books.note(
                "error", "a calendar cannot be read here", schedule=spec.name, error=str(error)
            )
            unreadable.append(f"{spec.name}: {error}")
        else:
            if spec.after is not None:
                followers.setdefault(spec.after, []).append(spec)
    books.offline_max_us = wanted.offline_max_us
    books.timetables = timetables
    books.followers = followers
    return unreadable


def apply(pending: NewSet, draft: Draft) -> None:
    """Take on a new set at this tick; one that is not newer, or cannot be read, changes nothing."""
    books, now = draft.books, draft.now.wall
    if pending.generation <= books.generation:
        return
    old = books.timetables
    try:
        unreadable = go_by(pending.body, books)
    except CodecError as error:
        books.note("error", "a set of schedules cannot be read", error=str(error))
        return
    for uid, timetable in books.timetables.items():
        before = old.get(uid)
        if before is None or timing_text(before.spec) != timing_text(timetable.spec):
            _begins(timetable.spec, draft)
        if deciding.is_paused(timetable.spec, now):
            waiting.paused(uid, deciding.paused(timetable.spec), draft)
    for uid in sorted(old.keys() - books.timetables.keys()):
        waiting.removed(old[uid].spec, draft)
    draft.take_set(StoredSet(pending.generation, pending.hash, pending.body, now))
    _tell(pending.generation, draft)
    for text in unreadable:
        draft.say(Notice(kind="calendar_unreadable", at=now, text=shortened(text)))
    books.note(
        "info",
        "took on a set of schedules",
        version=pending.generation,
        schedules=len(books.timetables),
    )


def settle(draft: Draft) -> None:
    """Where the journal does not say from when schedules of the set in force count (it was damaged,
    is of an earlier release, or this program can read more than the one before): from this tick, or
    from when the set was taken on; and that is told."""
    books = draft.books
    unknown = [uid for uid in books.timetables if uid not in books.since]
    if not unknown or books.current is None:
        return
    for uid in unknown:
        if uid in books.cursors:
            draft.since(uid, min(books.current.applied_at, books.cursors[uid]))
        else:
            _begins(books.timetables[uid].spec, draft)
    _tell(books.current.generation, draft)


def _begins(spec: Schedule, draft: Draft) -> None:
    """Its slots count strictly after this tick; what starts at boot has missed this one."""
    draft.cursor(spec.uid, draft.now.wall)
    draft.since(spec.uid, draft.now.wall)
    if spec.on_boot:
        draft.boot(spec.uid)


def _tell(generation: int, draft: Draft) -> None:
    books = draft.books
    uids = list(books.timetables)
    for begin in range(0, max(1, len(uids)), TOLD_AT_ONCE):
        some = uids[begin : begin + TOLD_AT_ONCE]
        draft.say(
            SetApplied(
                generation=generation,
                at=draft.now.wall,
                schedules=some,
                timings=[timing_hash(timing_text(books.timetables[uid].spec)) for uid in some],
                since=[books.since[uid] for uid in some],
            )
        )
