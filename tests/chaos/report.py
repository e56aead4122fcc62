"""What is told of a chaos run: the line, and for each broken promise the slice that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from tests.chaos.history import EVERYONE, SERVER, STORE, Claimed, Decided, Ended, Fault, History
from tests.chaos.judgement import Judgement, Violation
from tests.chaos.touching import span

SECOND: Final = 1_000_000
AROUND_US: Final = 5 * SECOND
SHOWN: Final = 30
REPORT: Final = "report.txt"


def write(history: History, judgement: Judgement, file: Path) -> None:
    """Write the report of a run that failed: what is broken, each with its slice."""
    lines = [judgement.line(), f"verdicts: {dict(judgement.verdicts)}", ""]
    counts: dict[str, int] = {}
    for violation in judgement.violations:
        counts[violation.invariant] = counts.get(violation.invariant, 0) + 1
    lines.append(f"{len(judgement.violations)} violations: {counts}")
    for violation in judgement.violations[:SHOWN]:
        lines += ["", headline(violation)]
        lines += [f"    {line}" for line in slice_of(history, violation)]
    if len(judgement.violations) > SHOWN:
        lines += ["", "and more:"]
        lines += [headline(one) for one in judgement.violations[SHOWN : SHOWN + 200]]
    file.write_text("\n".join(lines) + "\n")


def headline(violation: Violation) -> str:
    """What is broken, and where."""
    where = f"{violation.schedule} on {violation.worker}" if violation.schedule else "all"
    slot = f" at {time(violation.slot)}" if violation.slot else ""
    run = f" run {violation.run}" if violation.run else ""
    return f"{violation.invariant} {where}{slot}{run}: {violation.text}"


def slice_of(history: History, violation: Violation) -> list[str]:
    """All that the witnesses say of what a violation is about, in order of time, with the faults
    that touched it."""
    if not violation.worker:
        return []
    events = sorted(_events(history, violation))
    return [f"{time(at)} {text}" for at, text in events]


def _events(history: History, violation: Violation) -> Iterator[tuple[int, str]]:
    low, high = violation.slot - AROUND_US, violation.slot + AROUND_US
    for mark in history.marks:
        if mark.run == violation.run or _near(mark.worker, mark.schedule, mark.slot, violation):
            yield (
                mark.at,
                f"ledger   {mark.what} {_slot(mark.slot)} attempt {mark.attempt} {mark.run}",
            )
            high = max(high, mark.at) if mark.run == violation.run else high
    for run in history.runs:
        if run.run == violation.run or _near(run.worker, run.schedule, run.slot, violation):
            facts = f"{run.verdict} code {run.exit_code} signal {run.signal} ({run.reason})"
            yield run.claimed_at, f"database run {_slot(run.slot)} claimed {run.run}"
            if run.ended_at is not None:
                yield run.ended_at, f"database run {_slot(run.slot)} {facts}"
                high = max(high, run.ended_at) if run.run == violation.run else high
    for one in history.ranges:
        if (
            one.worker == violation.worker
            and one.schedule == violation.schedule
            and one.first <= violation.slot + AROUND_US
            and violation.slot - AROUND_US <= one.last
        ):
            what = f"{_slot(one.first)} to {_slot(one.last)} {one.verdict} ({one.reason})"
            yield one.decided_at, f"database range {what}"
    for journal in history.journals:
        if journal.worker == violation.worker:
            for record in journal.told:
                yield from _told(record, violation)
    for fault in history.faults:
        begin, end = span(fault)
        if _touches(fault, violation.worker) and begin <= high and low <= end:
            targets = ", ".join(fault.targets)
            shift = f" by {fault.shift / SECOND:+.0f} s" if fault.shift else ""
            lasted = (fault.ended - fault.began) / SECOND
            what = f"{fault.kind}{shift} of {targets} for {lasted:.1f} s"
            yield fault.began, f"FAULT    {what} (number {fault.number})"


def _told(record: object, violation: Violation) -> Iterator[tuple[int, str]]:
    match record:
        case Claimed() if record.run == violation.run:
            yield record.at, f"journal  claimed attempt {record.attempt} of {record.run}"
        case Ended() if record.run == violation.run:
            text = f"journal  told the end of attempt {record.attempt}: {record.verdict}"
            yield violation.slot, text
        case Decided() if (
            record.schedule == violation.schedule and record.first <= violation.slot <= record.last
        ):
            text = (
                f"journal  told {record.count} slots from {_slot(record.first)}: {record.verdict}"
            )
            yield record.last, text


def _near(worker: str, schedule: str, slot: int, violation: Violation) -> bool:
    return (
        worker == violation.worker
        and schedule == violation.schedule
        and abs(slot - violation.slot) <= AROUND_US
    )


def _touches(fault: Fault, worker: str) -> bool:
    return any(target in {worker, EVERYONE, SERVER, STORE} for target in fault.targets)


def _slot(slot: int) -> str:
    return time(slot).partition(".")[0]


def time(at: int) -> str:
    """An instant of the day, UTC.

    >>> time(3_600_000_000 + 1500)
    '01:00:00.001500'
    """
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%H:%M:%S") + f".{at % SECOND:06d}"


def summary(judgement: Judgement) -> str:
    """More than the line, for people."""
    share = judgement.ran / judgement.occurrences if judgement.occurrences else 0.0
    verdicts = ", ".join(f"{count} {word}" for word, count in judgement.verdicts.most_common())
    return f"{share:.1%} ran ({verdicts}); half began within {judgement.late_p50_us / 1000:.0f} ms"


def as_json(judgement: Judgement) -> bytes:
    """For programs."""
    return msgspec.json.encode(judgement)
