"""Which of the starts that wait begin now, and which are given up?

What waits is in the journal: starts to be caught up, queued behind a run of their schedule, for
room on the worker, for a retry, or after the run that they follow (DESIGN section 4).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bartoc import overlap
from bartoc.books import Draft
from bartoc.following import RETRY_DELAY_MAX_US, give_up_retry, retry_delay_us, share
from bartoc.journal import WaitingStart
from bartoc.overlap import begin, begin_retry, claim
from bartoc.starting import Start
from libbarto.identity import Kind
from libbarto.message.v2.record import Verdict
from libbarto.message.v2.schedule import Schedule

SPREAD_US: Final = 60_000_000
"""Over this time the starts to be caught up of a fleet's hosts and schedules are spread."""
_LATEST_US: Final = SPREAD_US + 60_000_000
"""After that long a start to be caught up is due, whatever the clock did."""

_GIVEN_UP: Final = {
    "queue": (Verdict.SKIPPED, f"{overlap.STILL_RUNNING} for longer than catch_up"),
    "worker_full": (Verdict.SKIPPED, overlap.FULL),
    "catch_up": (Verdict.MISSED, "too late: it could not start within catch_up"),
    "follow": (Verdict.MISSED, "too late: it could not start within catch_up"),
}


def to_catch_up(start: Start, earliest: int, draft: Draft) -> None:
    """Have a start of the calendar wait to be caught up, from `earliest` on."""
    until = start.slot + draft.books.host.catch_up_of(start.spec)
    longest = min(SPREAD_US, max(0, until - earliest))
    spread = longest * share(start.spec.uid, draft.books.uid) // 1_000_000
    overlap.miss_older(start, draft, "too late: a newer one is to be caught up")
    draft.wait(start, "catch_up", earliest + spread, until)


def give_up_late(draft: Draft) -> None:
    """Give up what waits for too long."""
    for waiting in list(draft.books.waiting.values()):
        if waiting.until is not None and draft.now.wall > waiting.until:
            give_up(waiting, draft, *_GIVEN_UP[waiting.why])


def give_up(
    waiting: WaitingStart, draft: Draft, verdict: Verdict, reason: str, spec: Schedule | None = None
) -> None:
    """A start that waits will not begin; one that waits for a retry ends as it did last. `spec` is
    its schedule, where that is no longer in the set."""
    if waiting.why == "retry":
        give_up_retry(waiting, draft)
        return
    draft.unwait(waiting.run_id)
    start = draft.books.start_of(waiting)
    if spec is not None and not start.ordered:
        start = replace(start, spec=spec)
    draft.decided(start, verdict, reason)


def begin_due(draft: Draft, *, catch_up: bool) -> None:
    """Begin what is due of those to be caught up, or of all the others, the oldest first."""
    books, now = draft.books, draft.now.wall
    waiting = sorted(books.waiting.values(), key=lambda one: (one.due, one.slot, one.run_id))
    offline = books.offline_from is not None and now > books.offline_from
    for one in waiting:
        if (one.why == "catch_up") != catch_up or one.due > now or one.run_id not in books.waiting:
            continue
        start = books.start_of(one)
        if books.is_ending(one.schedule_uid) or not books.known(one):
            continue
        if start.ordered or not offline:
            _begin(start, one, draft)


def _begin(start: Start, waited: WaitingStart, draft: Draft) -> None:
    books, uid = draft.books, start.spec.uid
    if waited.why == "retry":
        begin_retry(start, draft)
    elif waited.why in ("catch_up", "queue"):
        if not (books.alive(uid) or books.waits(uid, "retry") or books.is_full()):
            claim(start, draft)
    else:
        reason = begin(start, draft, until=waited.until, waited=waited)
        if reason is not None:
            give_up(waited, draft, Verdict.SKIPPED, reason)


def clock_back(draft: Draft) -> None:
    """The clock was put back: drop what lies ahead of it, as it will be due again, and let nothing
    else wait for longer than it would have from now."""
    books, now = draft.books, draft.now.wall
    for one in list(books.waiting.values()):
        start = books.start_of(one)
        if one.why == "retry":
            delay = RETRY_DELAY_MAX_US
            if books.known(one):
                delay = retry_delay_us(start.spec, one.run_id, one.attempt - 1)
            latest, longest = now + delay, None
        elif one.slot > now and start.of_calendar and not start.spec.on_boot:
            draft.unwait(one.run_id)
            continue
        else:
            full = one.why == "worker_full"
            spec = start.spec
            latest = now + _LATEST_US
            longest = now + (spec.start_within_us if full else books.host.catch_up_of(spec))
        until = one.until if longest is None or one.until is None else min(one.until, longest)
        if one.due > latest or until != one.until:
            draft.put(replace(one, due=min(one.due, latest), until=until))


def removed(spec: Schedule, draft: Draft) -> None:
    """A schedule is no longer in the set, which had it as `spec`: nothing of it waits any more."""
    for one in _of(spec.uid, draft):
        give_up(one, draft, Verdict.SKIPPED, "disabled", spec)


def paused(uid: bytes, reason: str, draft: Draft) -> None:
    """A schedule was paused: only what somebody ordered waits on."""
    for one in _of(uid, draft):
        if Kind(one.kind) in (Kind.CALENDAR, Kind.FOLLOW):
            give_up(one, draft, Verdict.SKIPPED, reason)


def _of(uid: bytes, draft: Draft) -> list[WaitingStart]:
    return [one for one in draft.books.waiting.values() if one.schedule_uid == uid]
