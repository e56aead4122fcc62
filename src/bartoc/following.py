"""What comes after an attempt's end: another attempt, those that follow, or nothing?

All of it is written down in the transaction that ends the attempt (DESIGN section 4).
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from bartoc.books import Draft, Run
from bartoc.deciding import is_paused, paused
from bartoc.journal import WaitingStart
from bartoc.starting import RUN_SPEC, RunSpec, Start
from libbarto.identity import Kind, occurrence_id
from libbarto.message.v2.record import STATE_RECORD, Ended, Verdict
from libbarto.message.v2.schedule import Schedule

RETRY_DELAY_MAX_US: Final = 600_000_000
RERUNS_MAX: Final = 3
_ATTEMPTS_MAX: Final = 0xFFFF

RETRIED: Final = frozenset({Verdict.FAILED, Verdict.TIMED_OUT})
_FOLLOWED: Final = {
    "ok": frozenset({Verdict.OK}),
    "failed": frozenset({Verdict.FAILED, Verdict.TIMED_OUT, Verdict.INTERRUPTED}),
    "always": frozenset(Verdict),
}


def retry_delay_us(spec: Schedule, run_id: bytes, attempt: int) -> int:
    """How long after the end of `attempt` the next one is due: `retry_delay`, doubled for each
    attempt before, at most 10 minutes; less up to a fifth of it, by a stable hash.

    >>> spec = Schedule(uid=bytes(16), name="s", calendars=[], steps=[], retry_delay_us=30_000_000)
    >>> [round(retry_delay_us(spec, bytes(16), attempt) / 1e6) for attempt in (1, 2, 9)]
    [29, 60, 498]
    """
    doubled = spec.retry_delay_us << min(attempt - 1, 32)
    delay = min(doubled, RETRY_DELAY_MAX_US)
    return delay - delay * share(run_id, attempt.to_bytes(2, "big")) // 5_000_000


def share(*parts: bytes) -> int:
    """A stable number from 0 to 999,999 for these bytes, all equally likely."""
    digest = hashlib.sha256(b"".join(parts)).digest()
    return int.from_bytes(digest[:8], "big") % 1_000_000


def next_attempt(run: Run, verdict: Verdict) -> RunSpec | None:
    """What the next attempt at a run keeps, or None where it has ended for good."""
    origin = run.origin
    if run.stopped or not origin.whole or run.claim.attempt >= _ATTEMPTS_MAX:
        return None
    spec = run.spec
    if verdict in RETRIED and origin.retries < spec.retries:
        return msgspec.structs.replace(origin, retries=origin.retries + 1)
    if verdict is Verdict.INTERRUPTED and spec.rerun_interrupted and origin.reruns < RERUNS_MAX:
        return msgspec.structs.replace(origin, reruns=origin.reruns + 1)
    return None


def after_end(run: Run, ended: Ended, draft: Draft) -> None:
    """An attempt has ended so: tell of it, and write down what comes next."""
    # What was removed while it ran is not started once more (a removed one has no followers).
    in_force = run.origin.ordered or run.claim.schedule_uid in draft.books.timetables
    following = next_attempt(run, Verdict(ended.verdict)) if in_force else None
    if following is None:
        draft.say(ended)
        follow(run.claim.schedule_uid, run.claim.run_id, run.claim.slot, ended.verdict, draft)
        return
    ended = msgspec.structs.replace(ended, final=False)
    draft.say(ended)
    claim = run.claim
    following = msgspec.structs.replace(following, offer=0, ended=STATE_RECORD.encode(ended))
    start = Start(
        run_id=claim.run_id,
        attempt=claim.attempt + 1,
        kind=Kind(following.kind),
        spec=run.spec,
        slot=claim.slot,
        cause=following.cause,
        ordered=following.ordered,
    )
    due = draft.now.wall + retry_delay_us(run.spec, claim.run_id, claim.attempt)
    draft.wait(start, "retry", due, None, RUN_SPEC.encode(following))


def give_up_retry(waiting: WaitingStart, draft: Draft) -> None:
    """The run that waits for a retry ends here, with its last attempt's verdict."""
    draft.unwait(waiting.run_id)
    last = STATE_RECORD.decode(RUN_SPEC.decode(waiting.spec).ended)
    assert isinstance(last, Ended)
    draft.say(msgspec.structs.replace(last, final=True))
    follow(waiting.schedule_uid, waiting.run_id, waiting.slot, last.verdict, draft)


def follow(uid: bytes, run_id: bytes, slot: int, verdict: int, draft: Draft) -> None:
    """The run of a schedule has ended for good: those that follow it here wait for their start."""
    books, now = draft.books, draft.now
    for spec in books.followers.get(uid, ()):
        if Verdict(verdict) not in _FOLLOWED.get(spec.when, ()):
            continue
        start = Start(
            run_id=occurrence_id(Kind.FOLLOW, spec.uid, books.uid, slot, run_id),
            attempt=1,
            kind=Kind.FOLLOW,
            spec=spec,
            slot=slot,
            cause=run_id,
        )
        if is_paused(spec, now.wall):
            draft.decided(start, Verdict.SKIPPED, paused(spec))
        else:
            draft.wait(start, "follow", now.wall, now.wall + books.host.catch_up_of(spec))
