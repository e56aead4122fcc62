"""A small history in which barto kept its promise, made up for the checker's own tests.

Two workers, one schedule that is due each second, and three faults: on vader a bartoc that was
away for three slots, on luke a keeper that was killed with a run of its, and a link that was cut.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from libbarto.identity import Kind, occurrence_id, schedule_uid, uuid_text
from tests.chaos.behaviour import behaviour, printed
from tests.chaos.history import (
    Applied,
    Chunk,
    Claimed,
    Decided,
    Definition,
    Ended,
    Fault,
    FaultKind,
    Frame,
    Glimpse,
    History,
    Journal,
    Mark,
    Range,
    Run,
    Told,
)

SECOND: Final = 1_000_000
BEGAN: Final = 1_800_000_000 * SECOND
SLOTS: Final = 30
SEED: Final = "7"
TICK: Final = Definition(name="tick", uid=schedule_uid("tick").hex(), period=SECOND, longest_ms=500)
FLOAT: Final = Definition(
    name="float",
    uid=schedule_uid("float").hex(),
    period=2 * SECOND,
    longest_ms=500,
    overlap="allow",
    one=True,
)
WORKERS: Final = ("luke", "vader")

AWAY: Final = range(12, 15)
"""Slots that vader's bartoc was away for."""
KILLED: Final = 20
"""The slot whose run luke's keeper was killed with."""
OVERLAPPED: Final = 5
"""The slot that luke skipped, as the one before it took long."""

Line: TypeAlias = Run | Range


def at(slot: int) -> int:
    """The instant of a slot, by its number."""
    return BEGAN + slot * SECOND


def run_id(worker: str, slot: int) -> str:
    """The id of a run."""
    uid = worker.encode().ljust(16, b".")
    return uuid_text(occurrence_id(Kind.CALENDAR, bytes.fromhex(TICK.uid), uid, at(slot)))


def clean() -> History:
    """The history."""
    marks: list[Mark] = []
    lines: list[Line] = []
    chunks: list[Chunk] = []
    journals = []
    for worker in WORKERS:
        told: list[Told] = [Applied(at=at(0), generation=1, since={TICK.uid: at(0)})]
        for slot in range(1, SLOTS + 1):
            if worker == "vader" and slot in AWAY:
                if slot == AWAY[-1]:
                    lines.append(_range(worker, AWAY[0], slot, "missed", "the worker was down"))
                    told.append(_decided(AWAY[0], slot, "missed"))
            elif worker == "luke" and slot == OVERLAPPED:
                reason = "overlap: it was still running"
                lines.append(_range(worker, slot, slot, "skipped", reason))
                told.append(_decided(slot, slot, "skipped"))
            else:
                _add_run(worker, slot, marks, lines, chunks, told)
        told.append(Applied(at=at(SLOTS) + SECOND // 2, generation=2, since={}))
        journals.append(
            Journal(
                worker=worker,
                uid=worker.encode().ljust(16, b".").hex(),
                told=told,
                state_last=100,
                state_acknowledged=100,
                output_last=50,
                output_acknowledged=50,
            )
        )
    runs = [line for line in lines if isinstance(line, Run)]
    return History(
        frame=Frame(
            seed=SEED,
            asked=2 * SLOTS - 2,
            began=at(0),
            ended=at(SLOTS) + SECOND // 2,
            healed=at(SLOTS) + SECOND,
            converged=at(SLOTS) + 4 * SECOND,
        ),
        definitions=[TICK],
        faults=[
            _fault(1, FaultKind.BARTOC_KILL, "vader", at(11) + 600_000, at(14) + 200_000),
            _fault(2, FaultKind.LINK_CUT, "luke", at(15), at(15)),
            _fault(3, FaultKind.KEEPER_KILL, "luke", at(KILLED) + 100_000, at(KILLED) + 100_000),
        ],
        marks=marks,
        journals=journals,
        runs=runs,
        ranges=[line for line in lines if isinstance(line, Range)],
        chunks=chunks,
        glimpses=[
            Glimpse(
                at=at(10),
                verdicts=[(run.run, 1, run.verdict or "") for run in runs if run.slot < at(10)],
            )
        ],
    )


def floating_id(slot: int) -> str:
    """The id of a start that the server gives to one of the workers."""
    return uuid_text(occurrence_id(Kind.CALENDAR, bytes.fromhex(FLOAT.uid), b"", at(slot)))


def with_floating(history: History) -> History:
    """The same history, and a schedule of which each worker in turn makes a start."""
    marks: list[Mark] = []
    lines: list[Line] = []
    chunks: list[Chunk] = []
    told: dict[str, list[Told]] = {worker: [] for worker in WORKERS}
    for slot in range(0, SLOTS + 1, 2):
        worker = WORKERS[slot // 2 % 2]
        if slot in (*AWAY, KILLED):
            worker = "luke" if slot in AWAY else "vader"
        _add_run(worker, slot, marks, lines, chunks, told[worker], FLOAT)
    return changed(
        history,
        definitions=[*history.definitions, FLOAT],
        marks=[*history.marks, *marks],
        runs=[*history.runs, *(line for line in lines if isinstance(line, Run))],
        chunks=[*history.chunks, *chunks],
        journals=[
            msgspec.structs.replace(one, told=[*one.told, *told[one.worker]])
            for one in history.journals
        ],
    )


def _add_run(
    worker: str,
    slot: int,
    marks: list[Mark],
    lines: list[Line],
    chunks: list[Chunk],
    told: list[Told],
    of: Definition = TICK,
) -> None:
    run = floating_id(slot) if of.one else run_id(worker, slot)
    does = behaviour(SEED, run, 1, of.longest_ms)
    begin = at(slot) + 8_000
    end = begin + (1_400_000 if slot == OVERLAPPED - 1 else 20_000 + does.sleep_ms * 1000)
    killed = worker == "luke" and slot == KILLED
    verdict = "interrupted" if killed else "ok" if does.exit_code == 0 else "failed"
    for what, when in (("B", begin), ("E", end)):
        if what == "B" or not killed:
            marks.append(
                Mark(
                    what=what,
                    run=run,
                    schedule=of.name,
                    slot=at(slot),
                    worker=worker,
                    attempt=1,
                    pid=100 + slot,
                    at=when,
                )
            )
    out, err = (printed(run, 1, stream, does.lines(stream)) for stream in (1, 2))
    if killed:
        out, err = out[:-5], b""
    first = len(out) // 2
    chunks.append(Chunk(run=run, attempt=1, number=0, offset=0, pieces=[(1, out[:first])]))
    pieces = [(2, err), (1, out[first:])]
    chunks.append(Chunk(run=run, attempt=1, number=1, offset=first, pieces=pieces))
    lines.append(
        Run(
            run=run,
            attempt=1,
            schedule=of.name,
            worker=worker,
            kind="calendar",
            slot=at(slot),
            claimed_at=at(slot) + 2_000,
            ended_at=end + 1_000,
            verdict=verdict,
            reason="it had started, and its end was not seen" if killed else "",
            exit_code=None if killed else does.exit_code,
            signal=None if killed else does.signal,
            bytes_out=0 if killed else len(out),
            bytes_err=0 if killed else len(err),
        )
    )
    told.append(Claimed(run=run, attempt=1, schedule=of.name, slot=at(slot), at=at(slot) + 2_000))
    told.append(Ended(run=run, attempt=1, verdict=verdict))


def _range(worker: str, first: int, last: int, verdict: str, reason: str) -> Range:
    return Range(
        schedule="tick",
        worker=worker,
        first=at(first),
        last=at(last),
        count=last - first + 1,
        verdict=verdict,
        reason=reason,
        decided_at=at(last) + 300_000,
    )


def _decided(first: int, last: int, verdict: str) -> Decided:
    return Decided(
        schedule="tick", first=at(first), last=at(last), count=last - first + 1, verdict=verdict
    )


def _fault(number: int, kind: FaultKind, target: str, began: int, ended: int) -> Fault:
    return Fault(number=number, kind=kind, targets=[target], began=began, ended=ended)


def changed(history: History, **fields: object) -> History:
    """The same history, but for some of its lists."""
    return msgspec.structs.replace(history, **fields)
