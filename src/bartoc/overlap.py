"""May a start begin now, though a run of its schedule goes on, or the worker is full?

Judged by schedule uid when the start is about to be claimed, whatever brought it about (DESIGN
section 4). A run that waits for a retry counts as running.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bartoc.books import Books, Draft, Run
from bartoc.events import Key
from bartoc.following import give_up_retry
from bartoc.journal import WaitingStart
from bartoc.running import REPLACED, end_unspawned
from bartoc.starting import Start
from libbarto.message.v2.record import Verdict

STILL_RUNNING: Final = "overlap: it was still running"
NEWER_RUNNING: Final = "overlap: a newer one was running"
NEWER_WAITS: Final = "overlap: a newer one waits"
NEWER_STARTED: Final = "too late: a newer one started"
FULL: Final = "worker full"


def begin(
    start: Start,
    draft: Draft,
    *,
    until: int | None = None,
    waited: WaitingStart | None = None,
    must: bool = False,
) -> str | None:
    """Claim a first attempt, or have it wait, at most to `until`; returns why it cannot begin.

    `waited` is how it waited before. With `must` it does not wait: that is a reason too.
    """
    books, spec = draft.books, start.spec
    others = books.alive(spec.uid, start.run_id)
    retries = [one for one in books.waits(spec.uid, "retry") if one.run_id != start.run_id]
    replaced: dict[Key, int] = {}
    if (others or retries) and spec.overlap != "allow":
        if spec.overlap == "replace":
            if start.slot < max([*others.values(), *(one.slot for one in retries)]):
                return NEWER_RUNNING
            replaced = others
        elif spec.overlap == "queue" and not must:
            return _queue(start, draft, until)
        else:
            return STILL_RUNNING
    if books.is_full(len(replaced)):
        if must:
            return FULL
        if waited is None or waited.why != "worker_full":
            _wait_for_room(start, draft, until)
        return None
    run = claim(start, draft)
    if spec.overlap == "replace":
        _replace(run, replaced, draft)
        for retry in retries:
            give_up_retry(retry, draft)
    return None


def begin_retry(start: Start, draft: Draft) -> None:
    """Claim an attempt after the first, unless it has to wait on."""
    books, spec = draft.books, start.spec
    others = books.alive(spec.uid, start.run_id)
    replaced = others if spec.overlap == "replace" else {}
    if others and spec.overlap not in ("allow", "replace"):
        return
    if not books.is_full(len(replaced)):
        _replace(claim(start, draft), replaced, draft)


def unclaimed(run: Run, books: Books) -> None:
    """The journal did not make this run's claim: nothing is stopped for it."""
    del books.runs[run.key]
    for key in run.waits_for & books.runs.keys():
        if books.runs[key].stopped == REPLACED:
            books.runs[key].stopped = ""


def claim(start: Start, draft: Draft) -> Run:
    """Claim a start; it satisfies those of its schedule that wait to be caught up."""
    run = draft.claim(start)
    miss_older(start, draft)
    return run


def miss_older(start: Start, draft: Draft, reason: str = NEWER_STARTED) -> None:
    """With `missed = "latest"` what is to be caught up is missed by any newer start."""
    if start.spec.missed != "latest":
        return
    for older in draft.books.waits(start.spec.uid, "catch_up"):
        if older.slot < start.slot:
            draft.unwait(older.run_id)
            draft.decided(draft.books.start_of(older), Verdict.MISSED, reason)


def _queue(start: Start, draft: Draft, until: int | None) -> str | None:
    """Have it wait for the end of the run before; the newest waits, and no other."""
    books, now = draft.books, draft.now.wall
    for other in books.waits(start.spec.uid, "queue"):
        if other.slot > start.slot:
            return NEWER_WAITS
        draft.unwait(other.run_id)
        draft.decided(books.start_of(other), Verdict.SKIPPED, NEWER_WAITS)
    last = now + books.host.catch_up_of(start.spec)
    draft.wait(start, "queue", now, last if until is None else min(last, until))
    return None


def _wait_for_room(start: Start, draft: Draft, until: int | None) -> None:
    now = draft.now.wall
    last = now + start.spec.start_within_us
    draft.wait(start, "worker_full", now, last if until is None else min(last, until))


def _replace(run: Run, others: Iterable[Key], draft: Draft) -> None:
    """Stop the others; the run is spawned when they are gone, their whole trees."""
    books = draft.books
    for key in others:
        other = books.runs.get(key)
        if other is None:
            books.stops[key] = REPLACED
            run.waits_for.add(key)
        elif other.spawned:
            other.stopped = other.stopped or REPLACED
            run.waits_for.add(key)
        else:
            other.stopped = other.stopped or REPLACED
            run.waits_for |= other.waits_for
            end_unspawned(other, draft)
