"""How is an attempt followed from its start to its end, what it prints included?

Each thing that the runner tells becomes a record in a transaction of its own; output is sealed
into chunks, and the runner may drop what is durable. After a restart an attempt is taken up where
it was left (DESIGN section 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bartoc.books import RUN_PROGRESS, Books, Draft, Run, RunProgress, spec_of
from bartoc.chunker import Chunker
from bartoc.events import Cancel, Effect, Forget, HeldBack, Now, Resume, Taken
from bartoc.following import after_end
from bartoc.journal import Claim, HeldChunk, OpenRun
from bartoc.runner import (
    AttemptEnded,
    Known,
    NotStarted,
    OutputRead,
    RunState,
    StepEnded,
    StepStarted,
)
from bartoc.starting import RUN_SPEC, shortened
from libbarto.message.v2.record import Ended, Started, Status, StreamTotals, Verdict

REPLACED: Final = "a newer start replaced it"
OUT_OF_MEMORY: Final = "out of memory"
"""How a step's reason begins whose process the kernel killed for that."""

# -- taking up ------------------------------------------------------------------------------------


def opened(books: Books, known: Iterable[Known]) -> list[Effect]:
    """Settle what is open by what the runner holds."""
    for run in books.runs.values():
        # Known to this process already: the runner was lost and opened again.
        books.unresumed[run.key] = OpenRun(run.claim, *run.progress())
        if run.stopped:
            books.stops[run.key] = run.stopped
    books.runs = {}
    held = {(item.run_id, item.attempt): item.state for item in known}
    effects: list[Effect] = [Forget(*key) for key in sorted(set(held) - set(books.unresumed))]
    for key, waiting in books.unresumed.items():
        effects.append(Resume(*key, waiting.position, key not in held))
    books.lost = set(books.unresumed) - set(held)
    books.over = {key for key, state in held.items() if state is not RunState.RUNNING}
    return effects


def held_back(event: HeldBack, draft: Draft) -> list[Effect]:
    """Take up an attempt; or end it, where the runner knows nothing of it."""
    books = draft.books
    key = (event.run_id, event.attempt)
    waiting = books.unresumed.pop(key, None)
    if waiting is None:
        return []
    run = _taken_up(waiting.claim, waiting, event.chunks)
    run.stopped = books.stops.pop(key, "")
    if key in books.lost:
        certain = waiting.claim.boot_id == books.host.boot_id and not run.announced
        interrupted(run, draft.now.wall, "", certain, draft)
        return _stop_replaced(run, books) if certain else []
    books.runs[key] = run
    return [stop(run)] if run.stopped else []


def _stop_replaced(run: Run, books: Books) -> list[Effect]:
    """A claim that was not spawned, and was to replace others: bartoc died before it had stopped
    them, and they are to end all the same. Those are the ones that were claimed before it."""
    if run.spec.overlap != "replace":
        return []
    effects: list[Effect] = []
    for key in books.alive(run.spec.uid, run.claim.run_id):
        other = books.runs.get(key)
        claim = books.unresumed[key].claim if other is None else other.claim
        newer = (claim.at, claim.slot) > (run.claim.at, run.claim.slot)
        if newer or key in books.lost or key in books.over:
            continue
        if other is None:
            books.stops[key] = books.stops.get(key, REPLACED)
        elif not other.stopped:
            other.stopped = REPLACED
            effects.append(stop(other))
    return effects


def _taken_up(claim: Claim, stored: OpenRun, held: Sequence[HeldChunk]) -> Run:
    origin = RUN_SPEC.decode(claim.spec)
    progress = RUN_PROGRESS.decode(stored.progress) if stored.progress else RunProgress()
    return Run(
        claim,
        origin,
        spec_of(origin, claim.schedule_uid),
        Chunker(
            claim.run_id, claim.attempt, origin.output_max, progress.chunks, held, progress.gaps
        ),
        progress.steps_done,
        progress.announced,
        progress.started_at,
        progress.fault,
        progress.chunks.position,
    )


def stop(run: Run) -> Cancel:
    """Have the runner end an attempt."""
    return Cancel(*run.key, run.spec.kill_after_us / 1e6)


# -- on its way -----------------------------------------------------------------------------------


def step_started(event: StepStarted, draft: Draft) -> None:
    """Tell of an attempt's first step; the others are told of when they end."""
    run = draft.books.runs.get((event.run_id, event.attempt))
    if run is None or run.announced:
        return
    run.announced = True
    run.started_at = event.at
    draft.say(Started(run_id=event.run_id, attempt=event.attempt, pid=event.pid, at=event.at))
    draft.progress(run)


def output(event: OutputRead, draft: Draft) -> None:
    """It printed something."""
    run = draft.books.runs.get((event.run_id, event.attempt))
    if run is not None:
        run.chunker.feed(event.position, event.frames, draft.now.boottime)
        seal(run, draft)


def seal(run: Run, draft: Draft) -> None:
    """Write down the chunks that are full or old enough."""
    sealed = run.chunker.seal(draft.now.boottime)
    if not sealed:
        return
    draft.output(sealed)
    draft.progress(run)
    position = run.chunker.position
    if position > run.reported_position:
        run.reported_position = position
        draft.then(Taken(*run.key, position))


def step_ended(event: StepEnded, draft: Draft) -> None:
    """Tell of a step's end; of several faults the first is the run's."""
    run = draft.books.runs.get((event.run_id, event.attempt))
    number = event.step + 1
    if run is None or number <= run.steps_done:
        return
    run.steps_done = number
    steps = run.spec.steps
    success = event.exit_code == 0
    if not success and run.fault is None:
        run.fault = shortened(_fault(len(steps), number, event))
    draft.say(
        Status(
            run_id=event.run_id,
            attempt=event.attempt,
            step=number,
            command=shortened(steps[event.step]),
            exit_code=event.exit_code,
            signal=event.signal,
            success=success,
            started_at=event.started_at,
            ended_at=event.ended_at,
            reason=None if event.reason is None else shortened(event.reason),
        )
    )
    draft.progress(run)


def _fault(steps: int, number: int, event: StepEnded) -> str:
    """Why a step did not end well, for people."""
    where = f"step {number}: " if steps > 1 else ""
    memory = f" ({event.reason})" if (event.reason or "").startswith(OUT_OF_MEMORY) else ""
    if event.exit_code is not None:
        return f"{where}exit {event.exit_code}{memory}"
    if event.signal is not None:
        return f"{where}killed by signal {event.signal}{memory}"
    return f"{where}{event.reason or 'could not start'}"


# -- its end --------------------------------------------------------------------------------------


def attempt_ended(event: AttemptEnded, draft: Draft) -> None:
    """It ended: its verdict."""
    key = (event.run_id, event.attempt)
    run = draft.books.runs.pop(key, None)
    if run is None:
        _strange(key, draft)
        return
    if event.timed_out:
        verdict, reason = Verdict.TIMED_OUT, "it took longer than its timeout"
    elif event.cancelled:
        verdict, reason = Verdict.CANCELLED, run.stopped or "it was stopped"
    elif run.fault is not None:
        verdict, reason = Verdict.FAILED, run.fault
    else:
        verdict, reason = Verdict.OK, ""
    if event.orphans_killed:
        left = f"{event.orphans_killed} processes that it left behind were killed"
        reason = f"{reason}; {left}" if reason else left
    totals = [
        StreamTotals(stream=stream, bytes_=total.bytes, lines=total.lines, sha256=total.sha256)
        for stream, total in sorted(event.streams.items())
    ]
    end(run, verdict, reason, event.at, totals, draft)


def not_started(event: NotStarted, draft: Draft) -> None:
    """It has no end of its own."""
    run = draft.books.runs.pop((event.run_id, event.attempt), None)
    if run is None:
        _strange((event.run_id, event.attempt), draft)
    else:
        interrupted(run, event.at, event.reason, event.certain, draft)


def _strange(key: tuple[bytes, int], draft: Draft) -> None:
    """The end of an attempt that is not followed: the runner may drop it, unless it has yet to be
    taken up; then it will be told again."""
    if key not in draft.books.unresumed:
        draft.then(Forget(*key))


def interrupted(run: Run, at: int, reason: str, certain: bool, draft: Draft) -> None:
    """An attempt without an end of its own: had it started?"""
    if run.announced:
        text = "it had started, and its end was not seen"
    elif certain:
        text = "did not start"
    else:
        text = "may or may not have started"
    if reason and reason != text:
        text = f"{text}: {reason}"
    end(run, Verdict.INTERRUPTED, text, at, [], draft)


def end(
    run: Run,
    verdict: Verdict,
    reason: str,
    at: int,
    totals: list[StreamTotals],
    draft: Draft,
) -> None:
    """The last of an attempt: the rest of its output, its verdict, and what comes next."""
    sealed = run.chunker.finish(at)
    draft.output(sealed)
    ended = Ended(
        run_id=run.claim.run_id,
        attempt=run.claim.attempt,
        verdict=verdict,
        reason=shortened(reason),
        started_at=run.started_at,
        ended_at=at,
        output_seq=draft.books.output_seq if run.chunker.chunk_no else 0,
        totals=totals,
        cut_bytes=run.chunker.cut_bytes,
    )
    draft.books.over.discard(run.key)
    draft.ended(run.key)
    after_end(run, ended, draft)
    draft.then(Forget(*run.key))


def end_unspawned(run: Run, draft: Draft) -> None:
    """A run that is claimed, and was stopped before it was spawned, never is."""
    del draft.books.runs[run.key]
    end(run, Verdict.CANCELLED, f"did not start: {run.stopped}", draft.now.wall, [], draft)


def seal_all(books: Books, now: Now) -> list[Effect]:
    """What has become old enough, of every attempt."""
    draft = Draft(books, now)
    for run in books.runs.values():
        seal(run, draft)
    return list(draft.effects())
