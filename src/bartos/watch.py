"""What is late, unknown, stuck or idle now? Looked at every half a minute, and said once.

Nothing of this is stored: it is what the store, the calendar and the hub make of this moment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bartos.ledger import LATE_US, STUCK_LEAST_US, STUCK_RUNS, Almanac, Idle, Undecided, is_stuck
from bartos.ledger import idle as idle_of
from bartos.planning import Planner, facts_of
from bartos.store.port import Applied, RunFilter, RunRow, Store, WorkerRow
from libbarto.clock import Clock, Instant
from libbarto.errors import ConfigError, StoreUnavailable
from libbarto.identity import uuid_text

log = logging.getLogger("bartos.ledger")

LOOK_EVERY_S: Final = 30.0
FRESH_S: Final = 2.0
"""A look that is no older than this is as good as a new one."""
SPANS_S: Final = 60.0
"""For so long it is not asked again which schedules count where, unless that is wanted."""
TOOK_S: Final = 300.0
RUNNING: Final = 10_000
SLICE: Final = 500

Pair = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Stuck:
    """A run that seems to hang, and why."""

    run: RunRow
    why: str


@dataclass(frozen=True, slots=True)
class Seen:
    """How things stand: planned starts that have no verdict yet though they should, runs that
    seem to hang, schedules that nobody carries out."""

    undecided: Sequence[Undecided] = ()
    stuck: Sequence[Stuck] = ()
    idle: Sequence[Idle] = ()

    def count(self, word: str) -> int:
        """How many planned starts are *late*, or *unknown*."""
        return sum(one.count for one in self.undecided if one.word == word)


class Watch:
    """Looks, and tells what is new. `connected` as in `audit.Auditor`."""

    def __init__(
        self,
        store: Store,
        planner: Planner,
        clock: Clock,
        connected: Callable[[], Mapping[bytes, int]],
    ) -> None:
        self.last = Seen()
        self._store = store
        self._planner = planner
        self._clock = clock
        self._connected = connected
        self._looked_at: float | None = None
        self._looking = asyncio.Lock()
        self._spans: list[Applied] = []
        self._spans_at: float | None = None
        self._cursors: dict[Pair, Instant] = {}
        self._timings: dict[bytes, str] = {}
        self._almanac = Almanac(self._timings)
        self._took: dict[Pair, tuple[float, list[int]]] = {}
        self._said_stuck: set[bytes] = set()
        self._said_idle: set[str] = set()

    async def look(self) -> Seen:
        """How things stand now. Raises `StoreUnavailable`."""
        async with self._looking:
            now = self._clock.boottime()
            if self._looked_at is None or now - self._looked_at > FRESH_S:
                workers = await self._store.workers()
                self.last = Seen(await self._undecided(), await self._stuck(), self._idle(workers))
                self._looked_at = now
                self._say()
            return self.last

    async def recent(self) -> Seen:
        """How things stood when it was last looked, not long ago. Raises `StoreUnavailable`."""
        now = self._clock.boottime()
        if self._looked_at is None or now - self._looked_at > 2 * LOOK_EVERY_S:
            return await self.look()
        if self.last.stuck:
            await self._let_go()
        return self.last

    async def _let_go(self) -> None:
        """Forget of what was stuck whatever has ended since: the next run is not to blame."""
        ids = [one.run.run_id for one in self.last.stuck]
        rows = await self._store.runs_by_id(ids)
        running = {row.run_id for row in rows if row.verdict is None}
        left = [
            one for one in self.last.stuck if one.run.run_id in running or one.run.run_id not in ids
        ]
        self.last = replace(self.last, stuck=left)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except (StoreUnavailable, ConfigError):
                continue  # the writer says so

    # -- late and unknown -------------------------------------------------------------------------

    async def _undecided(self) -> list[Undecided]:
        await self._find_spans()
        connected = self._connected()
        overdue = await self._overdue(connected)
        if overdue:
            pairs = [(span.worker_uid, span.schedule_uid) for span in overdue]
            self._cursors.update(await self._store.cursors(pairs))
            overdue = await self._overdue(connected, overdue)
        found = []
        for number, span in enumerate(overdue):
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            slots = self._almanac.slots(span)
            assert slots is not None
            cursor = self._cursor(span)
            here = span.worker_uid in connected
            counted = slots.count(cursor, self._due(span, connected))
            assert counted is not None
            word = "late" if here else "unknown"
            first, last = counted[1:]
            found.append(
                Undecided(word, span.worker_uid, span.schedule_uid, first, last, counted[0])
            )
        return found

    async def _find_spans(self) -> None:
        now = self._clock.boottime()
        if self._spans_at is not None and now - self._spans_at < SPANS_S:
            return
        rows = await self._store.applied()
        self._spans = [row for row in rows if row.until_at is None]
        self._spans_at = now
        unknown = {span.timing for span in self._spans} - self._timings.keys()
        if unknown:
            self._timings.update(await self._store.timings(unknown))
        held = {(span.worker_uid, span.schedule_uid) for span in self._spans}
        # Another trigger, or a clock that was set back, moves a cursor back as well.
        self._cursors = {}
        self._took = {pair: took for pair, took in self._took.items() if pair in held}

    async def _overdue(
        self, connected: Mapping[bytes, int], spans: Collection[Applied] | None = None
    ) -> list[Applied]:
        """The spans in which a slot should be decided and, as far as is known here, is not."""
        found = []
        for number, span in enumerate(self._spans if spans is None else spans):
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            slots = self._almanac.slots(span)
            if slots is not None:
                first = slots.next_after(self._cursor(span))
                if first is not None and first <= self._due(span, connected):
                    found.append(span)
        return found

    def _cursor(self, span: Applied) -> Instant:
        known = self._cursors.get((span.worker_uid, span.schedule_uid), span.from_at)
        return max(known, span.from_at, span.kept_from)

    def _due(self, span: Applied, connected: Mapping[bytes, int]) -> Instant:
        return self._clock.now() + connected.get(span.worker_uid, 0) - LATE_US

    # -- stuck ------------------------------------------------------------------------------------

    async def _stuck(self) -> list[Stuck]:
        connected = self._connected()
        rows = [
            # Of a worker that is away nobody knows whether its runs go on.
            row
            for row in await self._store.runs(RunFilter(running=True, limit=RUNNING))
            if row.worker_uid in connected
        ]
        skipped = await self._store.skipped_by_overlap([row.run_id for row in rows])
        found = []
        for row in rows:
            now = self._clock.now() + connected[row.worker_uid]
            count = skipped.get(row.run_id, 0)
            took: Sequence[int] = ()
            if now - row.claimed_at >= STUCK_LEAST_US:
                took = await self._usual(row)
            why = is_stuck(row, count, took, now)
            if why is not None:
                found.append(Stuck(row, why))
        return found

    async def _usual(self, row: RunRow) -> list[int]:
        pair = row.worker_uid, row.schedule_uid
        now = self._clock.boottime()
        at, took = self._took.get(pair, (None, []))
        if at is None or now - at > TOOK_S:
            took = await self._store.took(*pair, STUCK_RUNS)
            self._took[pair] = now, took
        return took

    # -- idle -------------------------------------------------------------------------------------

    def _idle(self, workers: Sequence[WorkerRow]) -> list[Idle]:
        return idle_of(self._planner.definitions, [facts_of(row) for row in workers])

    # -- saying it --------------------------------------------------------------------------------

    def _say(self) -> None:
        stuck = {one.run.run_id for one in self.last.stuck}
        for one in self.last.stuck:
            if one.run.run_id not in self._said_stuck:
                log.warning(
                    "a run seems to be stuck",
                    extra={
                        "schedule": one.run.schedule,
                        "worker": one.run.worker,
                        "run": uuid_text(one.run.run_id),
                        "why": one.why,
                    },
                )
        self._said_stuck = stuck
        idle = {one.schedule for one in self.last.idle}
        for nobody in self.last.idle:
            if nobody.schedule not in self._said_idle:
                facts = {"schedule": nobody.schedule, "workers": nobody.workers}
                if nobody.near is not None:
                    facts["near"] = nobody.near
                log.warning("a schedule matches no worker that is known", extra=facts)
        self._said_idle = idle
