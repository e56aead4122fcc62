"""What of all that is committed is news? Turns what workers report, who comes and goes and what a
reload changes into the events of the `Feed`.

Runs are read again from the store, many at once, and told as the API tells them. While nobody
listens, nothing is read and nothing is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from bartos import feed as kinds
from bartos.api import models
from bartos.feed import Feed
from bartos.hub import Hub
from bartos.overview import Overview
from bartos.planning import Planner
from bartos.services import Connected
from bartos.store.coverage import range_of
from bartos.store.orders import NOBODY, Closing, CursorRow, DispatchChange, OrderRow, Undone
from bartos.store.port import Batch, RunRow, SlotRange, Store
from bartos.watch import Watch
from libbarto.clock import Clock
from libbarto.errors import ConfigError, StoreUnavailable
from libbarto.message.v2.record import (
    Claimed,
    Cut,
    Decided,
    Ended,
    Lane,
    Output,
    Started,
    Verdict,
)

log = logging.getLogger("bartos")

GATHER_S: Final = 0.05
"""What happens within so long is read and told together."""
LOOK_S: Final = 1.0
"""How often it is looked for what nobody tells."""
AT_ONCE: Final = 500
MOST: Final = 2000
"""So many changed runs are told one by one; of more, readers are told to read anew."""
WORKERS_MOST: Final = 20
INCOMPLETE_MOST: Final = 10_000

_VERDICTS: Final = frozenset(map(int, Verdict))


def connections(hub: Hub) -> list[Connected]:
    """Who is connected, as the faces see it."""
    return [
        Connected(
            *(m.name, m.uid, m.address, m.since, m.version, m.offset_us),
            confirmed=m.applied >= m.generation,
        )
        for m in hub
    ]


def alarms(hub: Hub) -> dict[bytes, str]:
    """Which state directories were refused, and why."""
    forks = hub.forks.items()
    return {uid: f"refused, from {fork.address}: {fork.reason}" for uid, fork in forks}


class News:
    """Tells the feed."""

    def __init__(
        self,
        feed: Feed,
        store: Store,
        hub: Hub,
        planner: Planner,
        watch: Watch,
        clock: Clock,
        overview: Overview,
    ) -> None:
        self._feed = feed
        self._store = store
        self._hub = hub
        self._planner = planner
        self._watch = watch
        self._clock = clock
        self._wake = asyncio.Event()
        self._runs: dict[bytes, None] = {}
        self._workers: dict[bytes, None] = {}
        self._ranges: list[SlotRange] = []
        self._closings: list[Closing] = []
        self._incomplete: dict[bytes, bytes] = {}
        self._silent = True
        self._away = False
        self._schedules = planner.definitions
        self._pauses: Mapping[bytes, object] = planner.pauses
        self._drains: Mapping[bytes, object] = planner.drains
        self._overview = overview
        self._counts: object = None
        self._count_at = 0.0
        feed.on_reader = self._wake.set

    # -- what is told to us -----------------------------------------------------------------------

    def committed(self, batch: Batch) -> None:
        """A batch is in the store."""
        feed = self._feed
        if feed.followed:
            for record in batch.records:
                if isinstance(record, Output | Cut | Ended | Claimed):
                    feed.touched(record.run_id)
        if not feed.listening:
            self._silence()
            return
        for record in batch.records:
            if isinstance(record, Claimed | Started | Ended):
                self._runs[record.run_id] = None
            elif isinstance(record, Decided) and record.verdict in _VERDICTS:
                self._ranges.append(replace(range_of(batch, record), decided_at=self._clock.now()))
        if batch.lane is Lane.OUTPUT:
            for run_id, worker in list(self._incomplete.items()):
                if worker == batch.worker_uid:
                    self._runs[run_id] = None
        if self._runs or self._ranges:
            self._wake.set()

    def decided(self, change: DispatchChange) -> None:
        """What the dispatcher decided is in the store."""
        ended = [one for one in change.closings if one.verdict is not None]
        undone = [(move.row, one) for move in change.cursors for one in move.undone]
        if not ended and not undone:
            return
        if not self._feed.listening:
            self._silence()
            return
        self._closings += ended
        self._ranges += [_undone(row, one) for row, one in undone]
        self._wake.set()

    def worker_changed(self, uid: bytes) -> None:
        """A worker came, went, or is another one now."""
        if self._feed.listening:
            self._workers[uid] = None
            self._wake.set()
        else:
            self._silence()

    def schedules_changed(self) -> None:
        """Other schedules, or pauses, may be in force."""
        self._wake.set()

    def _silence(self) -> None:
        """Something happened that nobody heard: whoever comes back later reads anew."""
        if not self._silent:
            self._silent = True
            self._feed.forget()
            self._incomplete.clear()

    # -- what we tell -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(LOOK_S if self._feed.listening else None):
                    await self._wake.wait()
                await self._clock.sleep(GATHER_S)
            except TimeoutError:
                pass
            self._wake.clear()
            if self._feed.listening:
                self._silent = False
            try:
                await self._tell()
                if self._away:
                    self._away = False
                    self._reset("the database is back")
            except (StoreUnavailable, ConfigError):
                # The writer says so; nobody knows what was missed.
                if not self._away:
                    self._away = True
                    self._reset("the database was away")

    async def _tell(self) -> None:
        self._tell_of_schedules()
        ranges, self._ranges = self._ranges, []
        closings, self._closings = self._closings, []
        runs, self._runs = list(self._runs), {}
        drains, before = self._planner.drains, self._drains
        if drains is not before:
            self._drains = drains
            for uid in drains.keys() | before.keys():
                if drains.get(uid) != before.get(uid):
                    self._workers[uid] = None
        workers, self._workers = list(self._workers), {}
        if not self._feed.listening:
            return
        if len(runs) + len(ranges) + len(closings) > MOST:
            self._reset("too much at once")
            return
        ranges += await self._not_made(closings)
        for one in ranges:
            self._feed.publish(
                kinds.RANGE, models.Range.of(one), schedule=one.schedule, worker=one.worker
            )
        if runs:
            await self._tell_of_runs(runs)
        if workers:
            await self._tell_of_workers(workers)
        await self._tell_of_status()

    async def _not_made(self, closings: Sequence[Closing]) -> list[SlotRange]:
        """Those of these orders that are over without a run: a worker's claim may have come before
        the server's verdict, which does not count then."""
        return [
            _of_order(order, one.at)
            for one in closings
            for order in await self._store.orders(run_id=one.intent.run_id)
            if not order.claimed and order.verdict is not None
        ]

    async def _tell_of_status(self) -> None:
        """The counts, where they changed: at most once a second, and not for more than a twentieth
        of the time."""
        began = self._clock.boottime()
        if began < self._count_at:
            return
        found = await self._overview.standing(0, 0)
        took = self._clock.boottime() - began
        self._count_at = began + max(LOOK_S, 20 * took)
        counts = {
            "counts": dict(sorted(found.counts.items())),
            "workers": len(found.workers),
            "connected": len(found.connected),
        }
        if counts != self._counts:
            self._counts = counts
            self._feed.publish(kinds.STATUS, counts)

    def _reset(self, why: str) -> None:
        self._runs.clear()
        self._ranges.clear()
        self._closings.clear()
        self._workers.clear()
        self._incomplete.clear()
        self._feed.publish(kinds.RESET, {"why": why})

    def _tell_of_schedules(self) -> None:
        definitions = self._planner.definitions
        if definitions is not self._schedules:
            before = {one.uid: one for one in self._schedules}
            after = {one.uid: one for one in definitions}
            self._schedules = definitions
            names = {
                one.name
                for uid in before.keys() | after.keys()
                if before.get(uid) != after.get(uid)
                for one in (before.get(uid), after.get(uid))
                if one is not None
            }
            if names:
                self._feed.publish(kinds.SCHEDULES, {"schedules": sorted(names)})
        pauses = self._planner.pauses
        if pauses is not self._pauses:
            changed = dict(pauses) != dict(self._pauses)
            self._pauses = pauses
            if changed:
                told = {"schedules": sorted(row.schedule or "*" for row in pauses.values())}
                self._feed.publish(kinds.PAUSES, told)

    async def _tell_of_runs(self, run_ids: Sequence[bytes]) -> None:
        stuck = {one.run.run_id: one.why for one in self._watch.last.stuck}
        for start in range(0, len(run_ids), AT_ONCE):
            rows = await self._store.runs_by_id(run_ids[start : start + AT_ONCE])
            for row in rows:
                self._follow_up(row)
                why = None if row.verdict is not None else stuck.get(row.run_id)
                told = models.Run.of(row, why)
                self._feed.publish(kinds.RUN, told, schedule=row.schedule, worker=row.worker)

    def _follow_up(self, row: RunRow) -> None:
        """What has ended and is not whole yet is told once more."""
        if row.verdict is None or row.complete or row.missing_bytes or row.verdict is Verdict.LOST:
            self._incomplete.pop(row.run_id, None)
        elif len(self._incomplete) < INCOMPLETE_MOST:
            self._incomplete[row.run_id] = row.worker_uid

    async def _tell_of_workers(self, uids: Sequence[bytes]) -> None:
        links = {link.uid: link for link in connections(self._hub)}
        refused = alarms(self._hub)
        drains = self._planner.drains
        if len(uids) > WORKERS_MOST:
            wanted = set(uids)
            rows = [row for row in await self._store.workers() if row.uid in wanted]
        else:
            found = [await self._store.worker(uid) for uid in uids]
            rows = [row for row in found if row is not None]
        for row in rows:
            told = models.Worker.of(
                row, links.get(row.uid), refused.get(row.uid, ""), drains.get(row.uid)
            )
            self._feed.publish(kinds.WORKER, told, worker=row.name)


def _undone(row: CursorRow, one: Undone) -> SlotRange:
    return SlotRange(
        schedule_uid=row.schedule_uid,
        schedule=row.schedule,
        worker_uid=NOBODY,
        worker="",
        first_slot=one.first_slot,
        last_slot=one.last_slot,
        count=one.count,
        verdict=one.verdict,
        reason=one.reason,
        decided_at=one.last_slot,
        run_id=one.run_id,
    )


def _of_order(order: OrderRow, at: int) -> SlotRange:
    intent = order.intent
    assert order.verdict is not None
    return SlotRange(
        schedule_uid=intent.schedule_uid,
        schedule=intent.schedule,
        worker_uid=intent.worker_uid,
        worker=intent.worker,
        first_slot=intent.slot,
        last_slot=intent.slot,
        count=1,
        verdict=order.verdict,
        reason=order.reason,
        decided_at=at,
        run_id=intent.run_id,
        kind=intent.kind,
    )
