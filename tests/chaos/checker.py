"""Did barto keep its promise in a chaos run? A pure function from a history to a judgement.

The invariants, by their numbers in the report:

    I1   a planned start begins at most once: by its id, and without looking at ids
    I2   every planned start has exactly one line in the database; "ran" where it began, and only
         there; skipped and missed only where an overlap, a pause or a fault explains it
    I3   the outcome is the command's own; interrupted only where something of it was killed
    I4   nothing begins before its slot, by its worker's clock
    I5   starts are on time where no fault is
    I6   what was printed is there once, whole and in order
    I7   nothing begins that was not planned
    I8   what a worker was told to be safe is in the database
    I9   a verdict does not change
    I10  nothing begins after its schedule was removed or paused, and the worker knew
    I11  a minute after the last fault everything is told and stored
    I12  no process is left
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Final, TypeAlias
from uuid import UUID

import msgspec

from libbarto.identity import Kind, occurrence_id, uuid_text
from tests.chaos.behaviour import Behaviour, behaviour, printed
from tests.chaos.history import (
    EVERYONE,
    Applied,
    Chunk,
    Claimed,
    ClockBack,
    Decided,
    Definition,
    Ended,
    Fault,
    FaultKind,
    History,
    Journal,
    Mark,
    Range,
    Run,
    Settled,
    Told,
)
from tests.chaos.intervals import Interval, Intervals, intervals, kept_ahead
from tests.chaos.judgement import Judgement, Violation
from tests.chaos.touching import HIDES_ENDS, INTERRUPTS, TOUCHES_STARTS, span

SECOND: Final = 1_000_000
SHARE: Final = 0.85
"""Of the planned starts, how many have to run at least."""
LATE_P99_US: Final = 1 * SECOND
CONVERGED_US: Final = 60 * SECOND
START_WITHIN_US: Final = 30 * SECOND
CATCH_UP_US: Final = 3600 * SECOND
TAIL_US: Final = 5 * SECOND
"""At the end of the load, in which a retry may have no time left."""
OVERLAP_US: Final = 300_000
"""What lies between a command's own last word and the end that its worker sees."""

RAN: Final = frozenset({"ok", "failed", "timed_out", "cancelled"})
DID_NOT_RUN: Final = frozenset({"skipped", "missed", "lost"})
SERVER_FAULTS: Final = frozenset(
    kind for kind in FaultKind if kind.value.startswith(("bartos.", "store."))
)
DID_NOT_START: Final = "did not start"

Lines: TypeAlias = list[Run | Range]
"""What the database says of one planned start."""


def check(history: History) -> Judgement:
    """Judge a history."""
    return _Check(history).judge()


class _Check:
    def __init__(self, history: History) -> None:
        self.history = history
        self.frame = history.frame
        self.found = Judgement(seed=history.frame.seed)
        self.definitions = {one.name: one for one in history.definitions}
        self.by_uid = {one.uid: one for one in history.definitions}
        # One that was not seen whole tells nothing of what is not in it.
        self.journals = {one.worker: one for one in history.journals if not one.missing}
        self.kept = {one.worker: kept_ahead(one.told) for one in history.journals}
        self.runs = {one.run: one for one in history.runs}
        self.floating = {one.name for one in history.definitions if one.one}
        self.cancelled = {run for one in history.cancels for run in one.runs or ()}
        self.faults_of: dict[str, list[Fault]] = defaultdict(list)
        for fault in history.faults:
            for target in fault.targets:
                self.faults_of[target].append(fault)

    def judge(self) -> Judgement:
        self.found.faults = sum(
            fault.kind is not FaultKind.HOST_STALL for fault in self.history.faults
        )
        self.at_most_once()
        self.every_slot_has_its_line()
        self.outcomes_are_true()
        self.never_early()
        self.on_time()
        self.output_is_whole()
        self.nothing_unplanned()
        self.acknowledged_is_stored()
        self.verdicts_stay()
        self.pauses_hold()
        self.converged()
        return self.found

    def broken(
        self,
        invariant: str,
        text: str,
        of: Mark | Run | Range | Claimed | Settled | None = None,
        *,
        schedule: str = "",
        worker: str = "",
        slot: int = 0,
    ) -> None:
        """Note a violation; `of` is what it is about."""
        run = ""
        if of is not None:
            schedule = schedule or of.schedule
            slot = slot or (of.first if isinstance(of, Range) else of.slot)
            worker = worker or ("" if isinstance(of, Claimed | Settled) else of.worker)
            run = of.run
        self.found.violations.append(Violation(invariant, text, schedule, worker, slot, run))

    # -- what is looked up ------------------------------------------------------------------------

    @cached_property
    def begins(self) -> dict[tuple[str, int], list[Mark]]:
        """B marks by (run, attempt)."""
        return self._marks("B")

    @cached_property
    def ends(self) -> dict[tuple[str, int], list[Mark]]:
        """E marks by (run, attempt)."""
        return self._marks("E")

    def _marks(self, what: str) -> dict[tuple[str, int], list[Mark]]:
        found: dict[tuple[str, int], list[Mark]] = defaultdict(list)
        for mark in self.history.marks:
            if mark.what == what:
                found[mark.run, mark.attempt].append(mark)
        return found

    @cached_property
    def intervals(self) -> dict[str, Intervals]:
        """By worker, then by schedule's uid."""
        return {name: intervals(one.told, self.frame.ended) for name, one in self.journals.items()}

    @cached_property
    def alive(self) -> dict[tuple[str, str], list[tuple[int, int]]]:
        """From when to when a run of a schedule went on, on a worker, by (schedule, worker): from
        its first attempt's claim, since one that waits for a retry goes on as well."""
        claimed: dict[str, int] = {}
        for journal in self.history.journals:
            for record in journal.told:
                if isinstance(record, Claimed):
                    claimed.setdefault(record.run, record.at)
        found: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for run in self.history.runs:
            until = self.frame.ended if run.ended_at is None else run.ended_at
            since = claimed.get(run.run, run.claimed_at)
            found[run.schedule, run.worker].append((since, until))
        return {key: sorted(spans) for key, spans in found.items()}

    def touching(
        self, worker: str, begin: int, end: int, kinds: frozenset[FaultKind]
    ) -> Iterator[Fault]:
        """The faults of these kinds that reach into a time of a worker."""
        for fault in (*self.faults_of[worker], *self.faults_of[EVERYONE]):
            if fault.kind in kinds:
                low, high = span(fault)
                if low <= end and begin <= high:
                    yield fault

    def touched(self, worker: str, begin: int, end: int) -> bool:
        return any(self.touching(worker, begin, end, TOUCHES_STARTS))

    # -- I1 ---------------------------------------------------------------------------------------

    def at_most_once(self) -> None:
        for marks in self.begins.values():
            for again in marks[1:]:
                self.found.twice += 1
                self.broken("I1", f"attempt {again.attempt} began {len(marks)} times", again)
        first: dict[tuple[str, str, int], str] = {}
        for mark in self.history.marks:
            run = self.runs.get(mark.run)
            if mark.what == "B" and (run is None or run.kind == "calendar"):
                where = "" if mark.schedule in self.floating else mark.worker
                known = first.setdefault((mark.schedule, where, mark.slot), mark.run)
                if known != mark.run:
                    self.found.twice += 1
                    self.broken("I1", f"the slot began as the run {known} already", mark)
        hosts: dict[str, str] = {}
        for mark in self.history.marks:
            if hosts.setdefault(mark.run, mark.worker) != mark.worker:
                self.found.twice += 1
                self.broken("I1", f"it began on {hosts[mark.run]} as well", mark)
        self._blind()

    def _blind(self) -> None:
        """Without a look at the ids: each first beginning takes a slot of its own, the earliest
        that is due and not too old, of those that the database says have begun."""
        targets: dict[tuple[str, str], list[int]] = defaultdict(list)
        for run in self.history.runs:
            if run.verdict not in DID_NOT_RUN and DID_NOT_START not in run.reason:
                targets[run.schedule, run.worker].append(run.slot)
        begun: dict[tuple[str, str], list[Mark]] = defaultdict(list)
        for mark in self.history.marks:
            if mark.what == "B" and mark.attempt == 1:
                begun[mark.schedule, mark.worker].append(mark)
        for key, marks in begun.items():
            shift = self._latest_shift(key[1])
            for mark in unmatched(
                targets.get(key, ()), sorted(marks, key=lambda one: one.at), shift, CATCH_UP_US
            ):
                self.found.twice += 1
                self.broken("I1", "began, and no slot is left that it could be", mark)

    def _latest_shift(self, worker: str) -> int:
        return max((fault.shift for fault in self.faults_of[worker]), default=0)

    # -- I2 ---------------------------------------------------------------------------------------

    def every_slot_has_its_line(self) -> None:
        lines: dict[tuple[str, str], dict[int, Lines]] = defaultdict(lambda: defaultdict(list))
        for run in self.history.runs:
            if run.kind == "calendar":
                where = "" if run.schedule in self.floating else run.worker
                lines[run.schedule, where][run.slot].append(run)
        for one in self.history.ranges:
            definition = self.definitions.get(one.schedule)
            if definition is None or (one.run and not definition.one):
                continue
            slots = Interval(one.first - 1, one.last).slots(definition.period)
            if len(slots) != one.count:
                text = f"a range says {one.count} slots, and has {len(slots)}"
                self.broken("I2", text, one)
            for slot in slots:
                lines[one.schedule, "" if definition.one else one.worker][slot].append(one)
        for name in sorted(self.floating):
            floating = self.definitions[name]
            for slot in Interval(self.frame.began - 1, self.frame.ended).slots(floating.period):
                self._slot(floating, "", slot, lines[name, ""].pop(slot, []))
        for worker, by_uid in self.intervals.items():
            for uid, found in by_uid.items():
                definition = self.by_uid.get(uid)
                if definition is None or definition.after:
                    continue
                for interval in found:
                    for slot in interval.slots(definition.period):
                        self._slot(
                            definition, worker, slot, lines[definition.name, worker].get(slot, [])
                        )
        for (schedule, worker), by_slot in lines.items():
            # Of a journal that was not seen whole, what is there counts; what is not, nobody knows.
            if worker not in self.journals and schedule in self.definitions.keys() - self.floating:
                for slot, there in by_slot.items():
                    self._slot(self.definitions[schedule], worker, slot, there)
        self._follow_ups_have_theirs()
        self._orders_have_theirs()
        for marks in self.begins.values():
            mark = marks[0]
            run_ = self.runs.get(mark.run)
            if run_ is None:
                self.found.lost += 1
                self.broken("I2", "it began, and the database has no line of it", mark)
        share = self.found.ran / self.found.occurrences if self.found.occurrences else 0.0
        if share < SHARE:
            self.broken("I2", f"only {share:.1%} of the planned starts ran")
        if self.found.occurrences < self.frame.asked:
            self.broken(
                "I2", f"only {self.found.occurrences} planned starts, {self.frame.asked} were asked"
            )

    def _follow_ups_have_theirs(self) -> None:
        """Each run that ended for good on its worker has its follow-ups, one line each."""
        settled = Counter(one.run for one in self.history.ranges if one.run)
        for journal in self.history.journals:
            in_force: dict[str, int] = {}
            slots: dict[str, tuple[str, int]] = {}
            for place, record in enumerate(journal.told):
                if isinstance(record, Applied):
                    in_force = record.since
                elif isinstance(record, Claimed):
                    slots[record.run] = record.schedule, record.slot
                elif isinstance(record, Ended) and record.final and record.run in slots:
                    schedule, slot = slots[record.run]
                    at_once = _applied_next(journal.told[place:], in_force)
                    for one in self.history.definitions:
                        if one.after == schedule and one.uid in in_force and one.uid in at_once:
                            run = follow_up(one.uid, journal.uid, slot, record.run)
                            lines = settled[run] + (run in self.runs)
                            if lines != 1:
                                self.found.lost += not lines
                                self.broken(
                                    "I2",
                                    f"what follows {record.run} has {lines} lines",
                                    schedule=one.name,
                                    worker=journal.worker,
                                    slot=slot,
                                )

    def _orders_have_theirs(self) -> None:
        """Each start by hand that the server took has one line: it ran, or will not."""
        settled = Counter(one.run for one in self.history.ranges if one.run)
        for order in self.history.orders:
            if order.run is not None:
                lines = settled[order.run] + (order.run in self.runs)
                if lines != 1:
                    self.found.lost += not lines
                    self.broken(
                        "I2",
                        f"a start by hand has {lines} lines ({order.run})",
                        schedule=order.schedule,
                        worker=order.worker,
                        slot=order.at,
                    )

    def _slot(self, definition: Definition, worker: str, slot: int, found: Lines) -> None:
        """A planned start has exactly one line."""
        counts = self.frame.began <= slot <= self.frame.ended
        self.found.occurrences += counts
        if not found:
            self.found.lost += 1
            self.broken(
                "I2",
                "a planned start has no line in the database",
                schedule=definition.name,
                worker=worker,
                slot=slot,
            )
            return
        if len(found) > 1:
            what = ", ".join(str(one.verdict) for one in found)
            self.broken("I2", f"a planned start has {len(found)} lines: {what}", found[0])
        line = found[0]
        if isinstance(line, Run):
            self.found.ran += counts and line.verdict in RAN
            self.found.verdicts[line.verdict or "running"] += 1
        else:
            self.found.verdicts[line.verdict] += 1
            self._not_run_is_explained(line, slot, definition)

    def _not_run_is_explained(self, line: Range, slot: int, definition: Definition) -> None:
        where = {"schedule": line.schedule, "worker": line.worker, "slot": slot}
        # What waits for the run before it may be paused while it does.
        waits = definition.longest_ms * 1000 * 4 if definition.overlap == "queue" else 0
        paused = any(
            hold.schedule == line.schedule and hold.began <= slot + waits + SECOND
            for hold in self.history.holds
        )
        if definition.one:
            # The server goes on until it has an answer; only where it was not left in peace for a
            # minute since then, some may be left when its schedule is removed.
            removed = line.verdict == "skipped" and "removed" in line.reason
            explained = removed and self._longest_peace(slot) < CONVERGED_US
            explained = explained or (line.verdict == "cancelled" and self._was_cancelled(line.run))
        elif line.verdict == "skipped" and "paused" in line.reason:
            explained = paused
        elif line.verdict == "skipped" and "overlap" in line.reason:
            explained = self._was_alive(line, slot, definition) or any(
                self.touching(line.worker, slot, slot + SECOND, HIDES_ENDS)
            )
        elif line.verdict == "skipped" and "disabled" in line.reason:
            explained = True  # its interval ends where it was removed: only what had waited is so
        else:
            explained = line.verdict in {"missed", "skipped"} and self.touched(
                line.worker, slot, slot + SECOND
            )
        if not explained:
            text = f"{line.verdict} ({line.reason}), and nothing explains it"
            self.broken("I2", text, **where)  # type: ignore[arg-type]
        elif not self.found.faults and not paused:
            text = f"{line.verdict} ({line.reason}), though there was no fault"
            self.broken("I2", text, **where)  # type: ignore[arg-type]

    def _longest_peace(self, since: int) -> int:
        """The longest time from then to the end of the load without a fault of server or store."""
        longest, quiet_since = 0, since
        for fault in self.history.faults:
            if fault.kind in SERVER_FAULTS and fault.ended > since:
                longest = max(longest, fault.began - quiet_since)
                quiet_since = max(quiet_since, fault.ended)
        return max(longest, self.frame.ended - quiet_since)

    def _was_cancelled(self, run: str, schedule: str = "") -> bool:
        """Did somebody want it to end, or may he have, as no answer came?"""
        return run in self.cancelled or any(
            one.runs is None and schedule in {"", one.schedule} for one in self.history.cancels
        )

    def _was_alive(self, line: Range, slot: int, definition: Definition) -> bool:
        """Did a run of the schedule go on there when the slot was decided, or, with a queue of one,
        was a newer one waiting?"""
        until = max(line.decided_at, slot)
        if definition.overlap == "queue":
            until += CATCH_UP_US
        # One that ended right before its clock was set ahead has an end of long ago.
        steps = self.touching(line.worker, slot, slot, frozenset({FaultKind.CLOCK_STEP}))
        lately = OVERLAP_US + max((fault.shift for fault in steps if fault.shift > 0), default=0)
        return any(
            begin <= until and slot <= end + lately
            for begin, end in self.alive.get((line.schedule, line.worker), ())
        )

    # -- I3 ---------------------------------------------------------------------------------------

    def outcomes_are_true(self) -> None:
        for run in self.history.runs:
            definition = self.definitions.get(run.schedule)
            if definition is None:
                continue
            key = (run.run, run.attempt)
            begun, ended = self.begins.get(key), self.ends.get(key)
            if run.verdict in {"failed", "timed_out"}:
                self._was_tried_enough(run, definition)
            if run.verdict is None:
                self.broken("I11", "its end is not in the database", run)
            elif run.verdict == "interrupted":
                self._interrupted(run, definition, begun)
            elif run.verdict in DID_NOT_RUN:
                if begun:
                    self.broken("I2", f"{run.verdict}, yet it began", run)
            elif DID_NOT_START in run.reason:
                if begun:
                    self.broken("I3", "told as not started, yet it began", run)
            elif not begun:
                self.broken("I2", f"{run.verdict}, yet it never began", run)
            elif run.verdict in {"ok", "failed"}:
                self._as_the_command_did(run, definition, ended)
            elif run.verdict == "timed_out":
                does = self.behaviour(run, definition)
                if definition.timeout_ms is None or does.sleep_ms < definition.timeout_ms - 500:
                    self.broken("I3", "timed out, and it would not have taken so long", run)
            elif definition.overlap != "replace" and not self._was_cancelled(run.run, run.schedule):
                self.broken("I3", "cancelled, and nobody had asked", run)
        kills = sum(
            self._alive_at(fault) for fault in self.history.faults if fault.kind in INTERRUPTS
        )
        if self.found.interrupted > kills:
            text = f"{self.found.interrupted} interrupted, {kills} were alive at a kill"
            self.broken("I3", text)

    def _was_tried_enough(self, run: Run, definition: Definition) -> None:
        """What failed is tried again; not where its schedule was removed, as all are at the end."""
        if self._is_to_go_on(run, definition.retries):
            self.broken("I3", f"{run.verdict} after attempt {run.attempt}, and not retried", run)

    def _is_to_go_on(self, run: Run, further: int) -> bool:
        """Is there to be another attempt, of which there are so many, or may it have been the end
        of the load, or of somebody's patience, that there is none?"""
        return (
            run.attempt <= further
            and (run.ended_at or 0) < self.frame.ended - TAIL_US
            and not self._was_cancelled(run.run, run.schedule)
        )

    def _interrupted(self, run: Run, definition: Definition, begun: list[Mark] | None) -> None:
        self.found.interrupted += 1
        if definition.reruns and self._is_to_go_on(run, definition.reruns):
            self.broken("I3", f"interrupted in attempt {run.attempt}, and not made again", run)
        if begun and DID_NOT_START in run.reason:
            self.broken("I3", "told as not started, yet it began", run)
        until = self.frame.ended if run.ended_at is None else run.ended_at
        shift = max(self._latest_shift(run.worker), 0)
        if any(self.touching(run.worker, run.claimed_at - shift, until, INTERRUPTS)):
            self.found.explained += 1
        else:
            self.broken("I3", f"interrupted ({run.reason}), and nothing explains it", run)

    def _alive_at(self, fault: Fault) -> int:
        """How many runs of its targets were claimed and not over while a fault was there."""
        low, high = span(fault)
        return sum(
            (run.worker in fault.targets or EVERYONE in fault.targets)
            and run.claimed_at <= high
            and (run.ended_at is None or low <= run.ended_at)
            for run in self.history.runs
        )

    def _as_the_command_did(
        self, run: Run, definition: Definition, ended: list[Mark] | None
    ) -> None:
        if not ended:
            self.broken("I3", f"{run.verdict}, yet it never came to its end", run)
            return
        does = self.behaviour(run, definition)
        verdict = "ok" if does.exit_code == 0 else "failed"
        told = (run.verdict, run.exit_code, run.signal)
        if told != (verdict, does.exit_code, does.signal):
            text = f"told as {told}, it was {(verdict, does.exit_code, does.signal)}"
            self.broken("I3", text, run)

    def behaviour(self, run: Run, definition: Definition) -> Behaviour:
        return behaviour(self.frame.seed, run.run, run.attempt, definition.longest_ms)

    # -- I4, I5 -----------------------------------------------------------------------------------

    def never_early(self) -> None:
        follow_ups = {run.run for run in self.history.runs if run.kind == "follow"}
        for mark in self.history.marks:
            if mark.what != "B" or mark.attempt > 1 or mark.run in follow_ups:
                # What follows is due when its parent has ended, whose slot it has; a retry is due
                # by its delay, also where the clock was set back meanwhile.
                continue
            if mark.at + self._shift(mark.worker, mark.at) < mark.slot:
                self.found.early += 1
                early = (mark.slot - mark.at) / 1000
                self.broken("I4", f"it began {early:.3f} ms before its slot", mark)

    def _shift(self, worker: str, at: int) -> int:
        """How far a worker's clock was ahead of the host's; the most it may have been where it was
        just being set."""
        shift: int | None = None
        for fault in self.faults_of[worker]:
            if fault.shift and fault.began - SECOND <= at <= fault.ended + SECOND:
                settled = fault.began + SECOND <= at <= fault.ended - SECOND
                ahead = fault.shift if settled else max(fault.shift, 0)
                shift = ahead if shift is None else max(shift, ahead)
        return shift or 0

    def on_time(self) -> None:
        late = sorted(
            mark.at - mark.slot
            for mark in self.history.marks
            if mark.what == "B"
            and mark.attempt == 1
            and self._is_calendars(mark)
            and not self.touched(mark.worker, mark.slot - SECOND, mark.at)
        )
        if late:
            self.found.late_p50_us = late[len(late) // 2]
            self.found.late_p99_us = late[min(len(late) - 1, len(late) * 99 // 100)]
        if self.found.late_p99_us > LATE_P99_US:
            text = f"outside faults one start in a hundred is {self.found.late_p99_us} us late"
            self.broken("I5", text)

    def _is_calendars(self, mark: Mark) -> bool:
        run = self.runs.get(mark.run)
        definition = self.definitions.get(mark.schedule)
        return (
            run is not None
            and run.kind == "calendar"
            and definition is not None
            and definition.overlap not in {"queue", "replace"}
            and not definition.one
        )

    # -- I6 ---------------------------------------------------------------------------------------

    def output_is_whole(self) -> None:
        chunks: dict[tuple[str, int], list[Chunk]] = defaultdict(list)
        for chunk in self.history.chunks:
            chunks[chunk.run, chunk.attempt].append(chunk)
        verdicts = {
            (record.run, record.attempt): record.verdict
            for journal in self.history.journals
            for record in journal.told
            if isinstance(record, Ended)
        }
        for run in self.history.runs:
            definition = self.definitions.get(run.schedule)
            if definition is None or run.verdict is None or run.verdict in DID_NOT_RUN:
                continue
            if not run.complete:
                self.broken("I11", "its output is not complete", run)
            for attempt in range(1, run.attempt + 1):
                mine = sorted(chunks.get((run.run, attempt), ()), key=lambda one: one.number)
                tried = run
                if attempt < run.attempt:
                    verdict = verdicts.get((run.run, attempt), "interrupted")
                    tried = msgspec.structs.replace(run, attempt=attempt, verdict=verdict)
                self._output(tried, self.behaviour(tried, definition), mine, attempt == run.attempt)

    def _output(self, run: Run, does: Behaviour, chunks: list[Chunk], is_last: bool) -> None:
        streams = {1: b"", 2: b""}
        markers = 0
        position = 0
        for number, chunk in enumerate(chunks):
            if chunk.number != number or chunk.offset != position:
                text = f"chunk {chunk.number} at {chunk.offset}, expected {number} at {position}"
                if not markers:
                    self.broken("I6", text, run)
            for stream, data in chunk.pieces:
                if stream in streams:
                    streams[stream] += data
                    position += len(data)
                else:
                    markers += 1
            if markers:
                position = chunk.offset + sum(len(data) for s, data in chunk.pieces if s in streams)
        if markers or run.cut_bytes:
            self.found.gaps += 1
            if not any(
                self.touching(
                    run.worker,
                    run.claimed_at,
                    self.frame.ended if run.ended_at is None else run.ended_at,
                    frozenset({FaultKind.DISK_FULL}),
                )
            ):
                self.broken("I6", "output is missing, and no disk was full", run)
            return
        if is_last and run.verdict in {"ok", "failed"}:
            told = (run.bytes_out, run.bytes_err)
            if told != (len(streams[1]), len(streams[2])):
                text = f"{told} bytes are told, {len(streams[1]), len(streams[2])} are there"
                self.broken("I6", text, run)
        whole = run.verdict in {"ok", "failed"}
        for stream, data in streams.items():
            self._lines(run, stream, data, does.lines(stream), whole)

    def _lines(self, run: Run, stream: int, data: bytes, count: int, whole: bool) -> None:
        expected = printed(run.run, run.attempt, stream, count)
        if data == expected:
            return
        if not whole and expected.startswith(data):
            return
        theirs, ours = data.splitlines(keepends=True), expected.splitlines(keepends=True)
        missing = Counter(ours) - Counter(theirs)
        corrupt = Counter(theirs) - Counter(ours)
        if not whole:
            missing.clear()
        self.found.missing += missing.total()
        self.found.corrupt += max(corrupt.total(), 0 if missing else 1)
        self.broken(
            "I6",
            f"stream {stream}: {missing.total()} lines are missing, {corrupt.total()} are not its"
            f" own or come twice (of {count})",
            run,
        )

    # -- I7, I10 ----------------------------------------------------------------------------------

    def nothing_unplanned(self) -> None:
        orders = {order.run for order in self.history.orders}
        unsure = {(one.schedule, one.worker) for one in self.history.orders if one.run is None}
        claims = {
            journal.worker: {
                (record.run, record.attempt)
                for record in journal.told
                if isinstance(record, Claimed)
            }
            for journal in self.journals.values()
        }
        for marks in self.begins.values():
            mark = marks[0]
            definition = self.definitions.get(mark.schedule)
            if definition is None:
                self.broken("I7", "it began, and no such schedule was ever planned", mark)
                continue
            run = self.runs.get(mark.run)
            if run is not None and run.kind != "calendar":
                asked = mark.run in orders or (mark.schedule, mark.worker) in unsure
                if run.kind in {"manual", "exec"} and not asked:
                    self.broken("I7", "it began by hand, and nobody had asked", mark)
                continue
            if mark.slot % definition.period:
                self.broken("I7", "it began at an instant at which it is never due", mark)
                continue
            known = claims.get(mark.worker)
            if known is not None and (mark.run, mark.attempt) not in known:
                self.broken("I7", "it began, and its worker's journal has no claim of it", mark)
            if (
                mark.worker in self.intervals
                and not definition.one
                and not self._was_planned(mark, definition)
            ):
                self.broken("I10", "it began, and was not in force on its worker then", mark)

    def _was_planned(self, mark: Mark, definition: Definition) -> bool:
        found = self.intervals[mark.worker].get(definition.uid, ())
        return any(mark.slot in interval for interval in found) or (
            mark.run in self.kept[mark.worker]
        )

    def pauses_hold(self) -> None:
        """Under no generation in which a schedule is paused does a slot of it begin. The generation
        is taken on at a moment; slots up to it belong to the one before."""
        for hold in self.history.holds:
            for worker, (first, until) in hold.generations.items():
                journal = self.journals.get(worker)
                if journal is None:
                    continue
                span_ = _in_force(journal, first, until, self.frame.ended)
                for mark in self.history.marks:
                    if (
                        mark.what == "B"
                        and mark.worker == worker
                        and mark.schedule == hold.schedule
                        and span_ is not None
                        and mark.slot in span_
                        and self._is_calendars(mark)
                    ):
                        self.broken("I10", "it began, though its schedule was paused", mark)

    # -- I8, I9 -----------------------------------------------------------------------------------

    def acknowledged_is_stored(self) -> None:
        ranges = defaultdict(list)
        settled = {one.run for one in self.history.ranges}
        for one in self.history.ranges:
            if not one.run:
                ranges[one.worker, one.schedule].append(one)
        for journal in self.history.journals:
            for record in journal.told:
                match record:
                    case Claimed():
                        run = self.runs.get(record.run)
                        if run is None or run.attempt < record.attempt:
                            self.broken(
                                "I8", "its claim is not in the database", record,
                                worker=journal.worker,
                            )  # fmt: skip
                    case Ended():
                        self._end_is_stored(record, journal.worker)
                    case Settled():
                        if record.run not in settled:
                            self.broken("I8", "its verdict is not stored", record)
                    case Decided():
                        self._range_is_stored(
                            record, journal, ranges[journal.worker, record.schedule]
                        )

    def _end_is_stored(self, record: Ended, worker: str) -> None:
        run = self.runs.get(record.run)
        if run is None or run.attempt > record.attempt:
            return  # the claim is missing, which is told; or another attempt has followed
        if record.final and run.verdict != record.verdict:
            text = f"the worker told {record.verdict}, the database has {run.verdict}"
            self.broken("I8", text, run)

    def _range_is_stored(self, record: Decided, journal: Journal, stored: list[Range]) -> None:
        definition = self.definitions.get(record.schedule)
        backs = min(
            (told.now for told in journal.told if isinstance(told, ClockBack)),
            default=None,
        )
        if definition is None or (backs is not None and record.last > backs):
            return  # it may have been cut where the clock was set back
        held = {slot for one in stored for slot in _slots(one, definition.period)}
        if not set(_slots(record, definition.period)) <= held:
            text = f"the worker told {record.count} {record.verdict} slots, they are not stored"
            self.broken(
                "I8", text, schedule=record.schedule, worker=journal.worker, slot=record.first
            )

    def verdicts_stay(self) -> None:
        seen: dict[tuple[str, int], str] = {}
        last = [(run.run, run.attempt, run.verdict or "") for run in self.history.runs]
        for glimpse in [*(one.verdicts for one in self.history.glimpses), last]:
            for run, attempt, verdict in glimpse:
                before = seen.get((run, attempt))
                if before is not None and before not in {verdict, "lost"}:
                    self.broken(
                        "I9", f"its verdict was {before}, now {verdict}", self.runs.get(run)
                    )
                elif verdict:
                    seen[run, attempt] = verdict

    # -- I11, I12 ---------------------------------------------------------------------------------

    def converged(self) -> None:
        if self.frame.converged is not None:
            self.found.converged_us = max(0, self.frame.converged - self.frame.healed)
        if self.found.converged_us is None or self.found.converged_us > CONVERGED_US:
            self.broken("I11", "not everything was told and stored within a minute")
        for journal in self.history.journals:
            open_ = (
                journal.state_last - journal.state_acknowledged,
                journal.output_last - journal.output_acknowledged,
                journal.open_claims,
            )
            if any(open_):
                text = "{} state and {} output records not acknowledged, {} runs open".format(
                    *open_
                )
                self.broken("I11", text, worker=journal.worker)
        for process in self.frame.left:
            self.broken("I12", f"a process is left: {process}")
        for complaint in self.frame.complaints:
            self.broken("I12", complaint)


def unmatched(
    slots: Iterable[int], begins: Iterable[Mark], shift: int, longest: int
) -> Iterator[Mark]:
    """The beginnings, in order of time, that no slot is left for: each takes the earliest that was
    due by then (by a clock that may have been `shift` ahead) and is no older than `longest`."""
    free: list[int] = []
    for slot in slots:
        insort(free, slot)
    for mark in begins:
        at = bisect_left(free, mark.at - longest)
        if at < len(free) and free[at] <= mark.at + max(shift, 0):
            del free[at]
        else:
            yield mark


def _applied_next(told: Iterable[Told], in_force: Mapping[str, int]) -> Mapping[str, int]:
    """The schedules of a set that may be in the transaction of the first of these records: nothing
    is claimed before it; else those in force."""
    for record in told:
        if isinstance(record, Applied):
            return record.since
        if isinstance(record, Claimed):
            break
    return in_force


def follow_up(uid: str, worker_uid: str, slot: int, parent: str) -> str:
    """The id of what follows a run (DESIGN section 4)."""
    return uuid_text(
        occurrence_id(
            Kind.FOLLOW,
            bytes.fromhex(uid),
            bytes.fromhex(worker_uid),
            slot,
            UUID(parent).bytes,
        )
    )


def _slots(one: Range | Decided, period: int) -> range:
    return Interval(one.first - 1, one.last).slots(period)


def _in_force(journal: Journal, first: int, until: int, end: int) -> Interval | None:
    """From a worker's taking on a generation from `first` on to one from `until` on."""
    began = ended = None
    for record in journal.told:
        if isinstance(record, Applied):
            if began is None and first <= record.generation < until:
                began = record.at
            if ended is None and record.generation >= until:
                ended = record.at
    return None if began is None else Interval(began, end if ended is None else ended)
