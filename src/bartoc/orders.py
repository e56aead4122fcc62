"""What becomes of a start that the server orders: claimed, refused for good, or cancelled?

An offer is judged once, and its claim or its refusal is journalled; both travel as state records.
The server offers a start elsewhere only on such proof (DESIGN section 4).
"""

from __future__ import annotations

from typing import Final

from bartoc.books import Books, Draft
from bartoc.events import Answer, Asked, Cancelled, Effect, Key, Offered
from bartoc.overlap import begin
from bartoc.running import end_unspawned, stop
from bartoc.starting import Start
from bartoc.waiting import give_up
from libbarto.errors import CodecError
from libbarto.identity import Kind, occurrence_id
from libbarto.message.v2.record import Verdict
from libbarto.message.v2.schedule import SCHEDULE
from libbarto.message.v2.server import Offer

VOID: Final = "it could not be taken up within the time of its offer"
STOPPING: Final = "the worker is stopping"
UNREADABLE: Final = "its schedule cannot be read here"
NUMBER_MAX: Final = (1 << 63) - 1


def judge(draft: Draft, *, able: bool, stopping: bool) -> None:
    """Judge the offers that came in; while the worker is not `able` to start anything, they wait
    as long as they are valid."""
    books = draft.books
    offers, books.offers = books.offers, []
    for offered in offers:
        offer = offered.offer
        if _judged(offer, books):
            continue
        reason = STOPPING if stopping else _fault(offered, draft)
        if reason is None:
            early = offer.kind == Kind.CALENDAR and offer.slot > draft.now.wall
            if not able or early or books.is_ending(offer.schedule_uid):
                books.offers.append(offered)
                continue
            reason = _begin(offer, draft)
        if reason is not None:
            draft.refuse(offer.run_id, min(offer.number, NUMBER_MAX), reason)


def _judged(offer: Offer, books: Books) -> bool:
    """Was it claimed, decided or refused before? Then the record that says so is on its way."""
    return offer.run_id in books.verdicts or books.refusals.get(offer.run_id, 0) >= offer.number


def _fault(offered: Offered, draft: Draft) -> str | None:
    """Why an offer is void, if it is."""
    offer, now = offered.offer, draft.now
    if now.boottime - offered.received > offer.valid_us / 1e6:
        return VOID
    if offer.until is not None and now.wall > offer.until:
        return "too late: its last moment had passed"
    if offer.slot <= draft.books.floor:
        return "too old"
    return None


def _begin(offer: Offer, draft: Draft) -> str | None:
    """Claim it, or have it wait, or decide it; returns why it is to be refused."""
    try:
        spec = SCHEDULE.decode(offer.spec)
        kind = Kind(offer.kind)
    except (CodecError, ValueError):
        return UNREADABLE
    if spec.uid != offer.schedule_uid:
        return UNREADABLE
    start = Start(
        run_id=offer.run_id,
        attempt=offer.attempt,
        kind=kind,
        spec=spec,
        slot=offer.slot,
        cause=offer.cause,
        offer=offer.number,
        ordered=True,
    )
    named = occurrence_id(kind, spec.uid, draft.books.uid, offer.slot, offer.cause)
    # What may start elsewhere does not wait here, and is not decided here.
    reason = begin(start, draft, until=offer.until, must=offer.run_id != named)
    if reason is None or offer.run_id != named:
        return reason
    draft.decided(start, Verdict.SKIPPED, reason)
    return None


def asked(event: Asked, draft: Draft) -> None:
    """What became of old offers? Where the run was claimed or decided, that record is on its way;
    else they are refused, now if not before."""
    books = draft.books
    if event.run_id in books.verdicts:
        return
    books.offers = [
        offered
        for offered in books.offers
        if offered.offer.run_id != event.run_id or offered.offer.number > event.number
    ]
    draft.refuse(event.run_id, min(event.number, NUMBER_MAX), "it was not claimed here")


def cancelled(event: Cancelled, draft: Draft) -> list[Effect]:
    """End a run, or give up a start that waits; says whether there was one."""
    books = draft.books
    reason = f"cancelled: {event.reason}" if event.reason else "cancelled"
    answer = Answer(event.request, True)
    key = _key(event.run_id, books)
    if key is not None:
        run = books.runs.get(key)
        if run is None:
            books.stops[key] = reason
            return [answer]
        run.stopped = run.stopped or reason
        if run.spawned:
            return [stop(run), answer]
        if run.committed is not None:
            end_unspawned(run, draft)
        draft.then(answer)
        return []
    waiting = books.waiting.get(event.run_id)
    if waiting is not None:
        give_up(waiting, draft, Verdict.CANCELLED, reason)
        draft.then(answer)
        return []
    offered = [one.offer for one in books.offers if one.offer.run_id == event.run_id]
    if offered:
        books.offers = [one for one in books.offers if one.offer.run_id != event.run_id]
        draft.refuse(event.run_id, max(offer.number for offer in offered), reason)
        draft.then(answer)
        return []
    return [Answer(event.request, False, "nothing of it runs or waits here")]


def _key(run_id: bytes, books: Books) -> Key | None:
    """The attempt of a run that goes on here."""
    return next((key for key in (*books.runs, *books.unresumed) if key[0] == run_id), None)
