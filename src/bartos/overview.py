"""How do things stand, of all schedules on all workers at once? What `status`, `timers` and the
first page show.

The last run of each pair is kept in memory: read once, then kept in step with what workers report,
so that a look costs no more with ten million runs than with ten.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bartos import outlook
from bartos.outlook import Circumstances, Drain, Here, Outlook, Timer
from bartos.planning import Planner
from bartos.schedules import Definition
from bartos.store.lasts import LastMissed, LastRun, Pair
from bartos.store.orders import NOBODY, DispatchChange
from bartos.store.port import FAILURES, Batch, RunFilter, RunRow, Store, WorkerRow
from bartos.watch import Watch
from libbarto.clock import Clock, Instant
from libbarto.message.v2.record import Claimed, Decided, Ended, Started, Verdict

FRESH_S: Final = 2.0
"""Workers that were read no longer ago are as good as new."""
SUMMED_S: Final = 1.0
AGAIN_S: Final = 600.0
"""After so long all is read anew, for the sake of what retention dropped."""
SLICE: Final = 500
AT_ONCE: Final = 1000
TOUCHED_MOST: Final = 20_000
"""So many runs are read again one by one; if more changed, all is read anew."""
STREAK_MOST: Final = 1000

RUNNING: Final = "running"
STUCK: Final = "stuck"
LATE: Final = "late"
UNKNOWN: Final = "unknown"
MISSED: Final = "missed"
NEVER_RAN: Final = "never_ran"
URGENT: Final = ("lost", "failed", "timed_out", "interrupted", MISSED, STUCK, LATE)
"""States that someone should look at."""


@dataclass(frozen=True, slots=True)
class Last:
    """What became of a schedule on a worker last: its newest run, the newest that has ended, the
    newest that ended ok (its slot), and what was missed after all of that."""

    newest: LastRun | None = None
    ended: LastRun | None = None
    ok_slot: Instant | None = None
    missed: LastMissed | None = None

    def with_run(self, run: LastRun) -> Last:
        """With what is known now of a run."""
        newest, ended, ok_slot = self.newest, self.ended, self.ok_slot
        if newest is None or run.slot >= newest.slot:
            newest = run
        if run.verdict is not None and (ended is None or run.slot >= ended.slot):
            ended = run
        if run.verdict is Verdict.OK:
            ok_slot = run.slot if ok_slot is None else max(ok_slot, run.slot)
        missed = self.missed
        if missed is not None and run.slot > missed.last_slot:
            missed = None
        return Last(newest, ended, ok_slot, missed)

    def with_missed(self, missed: LastMissed) -> Last:
        """With what was missed, where nothing ran since."""
        if self.newest is not None and self.newest.slot > missed.last_slot:
            return self
        return Last(self.newest, self.ended, self.ok_slot, missed)

    def with_newest_missed(self, missed: LastMissed | None) -> Last:
        """With this, and with nothing else that was missed."""
        last = replace(self, missed=None)
        return last if missed is None else last.with_missed(missed)

    @property
    def word(self) -> str:
        """The state that this alone makes."""
        if self.missed is not None:
            return MISSED
        if self.ended is not None and self.ended.verdict in FAILURES:
            return self.ended.verdict.word
        if self.newest is None:
            return NEVER_RAN
        return RUNNING if self.newest.verdict is None else self.newest.verdict.word


NOTHING: Final = Last()


@dataclass(frozen=True, slots=True)
class Failing:
    """A schedule on a worker that someone should look at. `times` so often in a row, `since` the
    first of those."""

    schedule: str
    worker: str
    state: str
    reason: str
    slot: Instant
    run: LastRun | None
    times: int = 1
    since: Instant | None = None


@dataclass(slots=True)
class Summary:
    """A schedule on all its workers. `state` is that of the one that starts next, or of the first;
    `counts` are its pairs by what became of them last, `last` is the newest run of all."""

    timer: Timer
    workers: int
    next: Instant | None
    last: Last
    counts: Counter[str]


@dataclass(frozen=True, slots=True)
class Standing:
    """How all stands: `counts` of pairs by state; the pairs that someone should look at, the newest
    first; the timers; what runs, the longest first."""

    counts: Mapping[str, int]
    failing: Sequence[Failing]
    timers: Sequence[Timer]
    running: Sequence[RunRow]
    workers: Sequence[WorkerRow]
    connected: Mapping[bytes, Here]
    drains: Mapping[bytes, Drain]


class Overview:
    """See the module's text. `connected` tells who is, by uid, `drains` who starts nothing."""

    def __init__(
        self,
        store: Store,
        planner: Planner,
        clock: Clock,
        watch: Watch,
        connected: Callable[[], Mapping[bytes, Here]],
        drains: Callable[[], Mapping[bytes, Drain]] = dict,
    ) -> None:
        self.outlook = Outlook()
        self._store = store
        self._planner = planner
        self._clock = clock
        self._watch = watch
        self._connected = connected
        self._drains = drains
        self._lasts: dict[Pair, Last] = {}
        self._by_schedule: dict[bytes, Last] = {}
        self._known: set[Pair] = set()
        """The pairs that were read, and are kept in step since."""
        self._moved = False
        """Others may run what since pairs were read."""
        self._loaded_at: float | None = None
        self._touched: set[bytes] = set()
        self._missed: list[LastMissed] = []
        self._decided: set[Pair] = set()
        """Of these the server gave verdicts to starts that it did not make."""
        self._workers: Sequence[WorkerRow] = ()
        self._workers_at: float | None = None
        self._lock = asyncio.Lock()
        self._timers: list[Timer] = []
        self._timers_for: tuple[object, ...] = ()
        self._timers_until: Instant = 0
        self._summaries: Mapping[bytes, Summary] = {}
        self._summaries_of: list[Timer] | None = None
        self._summaries_at = 0.0
        self._streaks: dict[bytes, tuple[int, Instant | None]] = {}

    # -- what is told -----------------------------------------------------------------------------

    def committed(self, batch: Batch) -> None:
        """A batch is in the store."""
        if self._loaded_at is None:
            return
        for record in batch.records:
            if isinstance(record, Claimed | Started | Ended):
                self._touched.add(record.run_id)
            elif isinstance(record, Decided) and record.verdict == Verdict.MISSED:
                self._missed.append(
                    LastMissed(
                        batch.worker_uid,
                        record.schedule_uid,
                        record.first_slot,
                        record.last_slot,
                        record.count,
                        record.reason,
                    )
                )
        if len(self._touched) + len(self._missed) > TOUCHED_MOST:
            self.forget()

    def decided(self, change: DispatchChange) -> None:
        """What the dispatcher decided is in the store."""
        if self._loaded_at is None:
            return
        for move in change.cursors:
            if move.undone or move.back:
                self._decided.add((NOBODY, move.row.schedule_uid))
        for closing in change.closings:
            if closing.verdict is not None:
                self._decided.add((closing.intent.worker_uid, closing.intent.schedule_uid))

    def forget(self) -> None:
        """Read all anew at the next look."""
        self._loaded_at = None
        self._decided.clear()
        self._touched.clear()
        self._missed.clear()

    # -- what is asked ----------------------------------------------------------------------------

    async def workers(self) -> Sequence[WorkerRow]:
        """Every worker, by name, as it was a moment ago."""
        now = self._clock.boottime()
        if self._workers_at is None or now - self._workers_at > FRESH_S:
            self._workers = await self._store.workers()
            self._workers_at = now
        return self._workers

    async def timers(self) -> list[Timer]:
        """A row for each schedule on each worker, by next start."""
        async with self._lock:
            return await self._find_timers()

    async def lasts(self, timers: Iterable[Timer]) -> list[Last]:
        """What ran last, of each of these."""
        async with self._lock:
            await self._find_lasts()
            return [self._last(timer) for timer in timers]

    async def by_schedule(self) -> Mapping[bytes, Summary]:
        """Each schedule in force on all its workers, by uid; as it was a moment ago."""
        async with self._lock:
            timers = await self._find_timers()
            await self._find_lasts()
            now = self._clock.boottime()
            if self._summaries_of is timers and now - self._summaries_at <= SUMMED_S:
                return self._summaries
            found: dict[bytes, Summary] = {}
            for number, timer in enumerate(timers):  # the soonest first
                if number % SLICE == SLICE - 1:
                    await asyncio.sleep(0)
                last = self._last(timer)
                one = found.get(timer.schedule_uid)
                if one is None:
                    workers = timer.one_of or (1 if timer.worker else 0)
                    counts = Counter([last.word])
                    found[timer.schedule_uid] = Summary(timer, workers, timer.next, last, counts)
                    continue
                one.workers += 1
                one.counts[last.word] += 1
                if _slot(last) > _slot(one.last):
                    one.last = last
            self._summaries, self._summaries_of, self._summaries_at = found, timers, now
            return found

    async def last(self, worker_uid: bytes, schedule_uid: bytes) -> Last:
        """What ran last of a schedule on a worker."""
        async with self._lock:
            await self._find_lasts()
            return self._lasts.get((worker_uid, schedule_uid), NOTHING)

    async def standing(self, failing: int, running: int) -> Standing:
        """How all stands, with at most so many failing pairs and running runs."""
        now = await self._watch.recent()
        rows = await self._store.runs(RunFilter(running=True, limit=AT_ONCE))
        rows.sort(key=lambda row: row.started_at or row.claimed_at)
        async with self._lock:
            timers = await self._find_timers()
            await self._find_lasts()
            stuck = {(one.run.worker_uid, one.run.schedule_uid): one for one in now.stuck}
            undecided = {(one.worker_uid, one.schedule_uid): one for one in now.undecided}
            counts: Counter[str] = Counter()
            urgent: list[tuple[Instant, Timer, str, Last]] = []
            for number, timer in enumerate(timers):
                if number % SLICE == SLICE - 1:
                    await asyncio.sleep(0)
                last = self._last(timer)
                pair = timer.worker_uid, timer.schedule_uid
                state = last.word
                if pair in stuck:
                    state = STUCK
                elif pair in undecided:
                    state = undecided[pair].word
                elif state in {"ok", NEVER_RAN, "cancelled", "skipped"} and timer.state in {
                    outlook.PAUSED,
                    outlook.DISABLED,
                }:
                    state = timer.state
                counts[state] += 1
                if state in URGENT:
                    urgent.append((_slot(last), timer, state, last))
            urgent.sort(key=lambda one: one[0], reverse=True)
            told = []
            for _, timer, state, last in urgent[:failing]:
                pair = timer.worker_uid, timer.schedule_uid
                why = stuck[pair].why if state == STUCK else ""
                slot = undecided[pair].first if state == LATE else None
                told.append(await self._failing(timer, state, last, why, slot))
            here = dict(self._connected())
            return Standing(
                counts, told, timers, rows[:running], self._workers, here, self._drains()
            )

    async def _failing(
        self, timer: Timer, state: str, last: Last, why: str, slot: Instant | None
    ) -> Failing:
        run = last.newest if state == STUCK else last.ended
        times, since = 1, None
        reason = why or ("" if run is None else run.reason)
        if state == MISSED and last.missed is not None:
            reason, run = last.missed.reason, None
            slot, times, since = last.missed.last_slot, last.missed.count, last.missed.first_slot
        elif state not in {STUCK, LATE} and run is not None:
            times, since = await self._streak(run, last.ok_slot)
        elif state == LATE:
            run = None
        if slot is None:
            slot = 0 if run is None else run.slot
        worker = timer.worker
        return Failing(timer.schedule, worker, state, reason, slot, run, times, since)

    async def _streak(self, run: LastRun, ok_slot: Instant | None) -> tuple[int, Instant | None]:
        if run.run_id not in self._streaks:
            if len(self._streaks) > STREAK_MOST:
                self._streaks.clear()
            after = -(1 << 62) if ok_slot is None else ok_slot
            slots = await self._store.failures_after(
                run.worker_uid, run.schedule_uid, after, STREAK_MOST
            )
            self._streaks[run.run_id] = max(len(slots), 1), slots[0] if slots else run.slot
        return self._streaks[run.run_id]

    # -- timers -----------------------------------------------------------------------------------

    async def _find_timers(self) -> list[Timer]:
        workers = await self.workers()
        definitions, pauses = self._planner.definitions, self._planner.pauses
        drains = dict(self._drains())
        here = dict(self._connected())
        changed = self.outlook.take_on(definitions, workers)
        self._moved |= changed
        now = self._clock.now()
        about = (definitions, pauses, drains, here)
        if not changed and self._timers_for == about and now < self._timers_until:
            return self._timers
        holds = Circumstances(here, pauses, drains)
        timers = []
        for number, timer in enumerate(self.outlook.timers(now, holds)):
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            timers.append(timer)
        timers.sort(key=lambda timer: timer.key)
        ends = [row.until for row in pauses.values() if row.until is not None and row.until > now]
        if timers and timers[0].next is not None:
            ends.append(timers[0].next)
        self._timers, self._timers_for = timers, about
        self._timers_until = min(ends, default=now + 3600 * 1_000_000)
        return timers

    # -- what ran last ----------------------------------------------------------------------------

    def _last(self, timer: Timer) -> Last:
        if timer.one_of is not None:
            return self._by_schedule.get(timer.schedule_uid, NOTHING)
        return self._lasts.get((timer.worker_uid, timer.schedule_uid), NOTHING)

    async def _find_lasts(self) -> None:
        now = self._clock.boottime()
        if self._loaded_at is None or now - self._loaded_at > AGAIN_S:
            try:
                await self._load(now)
            except BaseException:
                self.forget()
                raise
            return
        if self._moved:
            await self._read_new()
            self._moved = False
        touched, self._touched = list(self._touched), set()
        missed, self._missed = self._missed, []
        decided, self._decided = self._decided, set()
        try:
            for start in range(0, len(touched), AT_ONCE):
                for row in await self._store.runs_by_id(touched[start : start + AT_ONCE]):
                    self._take(row.in_short)
            await self._take_decided(sorted(decided))
        except BaseException:
            # Nobody tells of these again: the next look reads them.
            self._touched.update(touched)
            self._decided |= decided
            self._missed[:0] = missed
            raise
        for one in missed:
            pair = one.worker_uid, one.schedule_uid
            self._lasts[pair] = self._lasts.get(pair, NOTHING).with_missed(one)

    def _take(self, run: LastRun) -> None:
        pair = run.worker_uid, run.schedule_uid
        self._lasts[pair] = self._lasts.get(pair, NOTHING).with_run(run)
        if run.schedule_uid in self._by_schedule:
            self._by_schedule[run.schedule_uid] = self._by_schedule[run.schedule_uid].with_run(run)

    async def _take_decided(self, pairs: Sequence[Pair]) -> None:
        """What was missed last is read again: a verdict may also stand in place of another."""
        for start in range(0, len(pairs), AT_ONCE):
            part = pairs[start : start + AT_ONCE]
            found = {
                (one.worker_uid, one.schedule_uid): one
                for one in await self._store.newest_missed(part)
            }
            for pair in part:
                worker_uid, schedule_uid = pair
                if worker_uid != NOBODY:
                    last = self._lasts.get(pair, NOTHING)
                    self._lasts[pair] = last.with_newest_missed(found.get(pair))
                elif schedule_uid in self._by_schedule:
                    last = self._by_schedule[schedule_uid]
                    self._by_schedule[schedule_uid] = last.with_newest_missed(found.get(pair))

    async def _load(self, now: float) -> None:
        if not self.outlook.pairs and not self.outlook.floating:
            await self._find_timers()
        # From here on what is reported is gathered, and counts on top of what is read.
        self._loaded_at = now
        self._touched.clear()
        self._missed.clear()
        self._decided.clear()
        self._known.clear()
        self._lasts, self._by_schedule = {}, {}
        await self._read_new()
        self._moved = False
        self._streaks.clear()

    async def _read_new(self) -> None:
        """Read what was not yet: of all, or of who runs something since. What nobody runs any more
        is kept in step, and may come back."""
        pairs = [pair for pair in self.outlook.pairs if pair not in self._known]
        for start in range(0, len(pairs), AT_ONCE):
            part = pairs[start : start + AT_ONCE]
            lasts: dict[Pair, Last] = {}
            for run in sorted(await self._store.newest_runs(part), key=lambda one: one.slot):
                pair = run.worker_uid, run.schedule_uid
                lasts[pair] = lasts.get(pair, NOTHING).with_run(run)
            for missed in await self._store.newest_missed(part):
                pair = missed.worker_uid, missed.schedule_uid
                lasts[pair] = lasts.get(pair, NOTHING).with_missed(missed)
            for pair in part:
                self._lasts[pair] = lasts.get(pair, NOTHING)
            self._known.update(part)
        for definition in self.outlook.floating:
            if definition.uid not in self._by_schedule:
                self._by_schedule[definition.uid] = await self._of_schedule(definition)

    async def _of_schedule(self, definition: Definition) -> Last:
        last = NOTHING
        rows = await self._store.runs(RunFilter(schedule=definition.name, limit=20))
        for row in reversed(rows):
            if row.schedule_uid == definition.uid:
                last = last.with_run(row.in_short)
        # What the server has not started is nobody's.
        for missed in await self._store.newest_missed([(NOBODY, definition.uid)]):
            last = last.with_missed(missed)
        return last


def _slot(last: Last) -> Instant:
    if last.missed is not None:
        return last.missed.last_slot
    return 0 if last.newest is None else last.newest.slot
