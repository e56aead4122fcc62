"""Is the whole history there? Goes through it, a page at a time, and never holds the loop for long.

The ledger decides what is proven; here the store is read, and what nobody will report any more is
stored as *lost*.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bartos.ledger import (
    Account,
    Almanac,
    Cover,
    Tiling,
    Undecided,
    View,
    account_of_orders,
    covers_slots,
    first_of,
    outside,
    uncountable,
)
from bartos.store.orders import NOBODY, Ordered
from bartos.store.port import (
    Applied,
    GapRow,
    Retention,
    RunFilter,
    RunRow,
    RunSlot,
    SlotRange,
    Store,
    WaitingRow,
)
from libbarto.clock import Clock, Instant
from libbarto.errors import ConfigError, StoreUnavailable
from libbarto.message.v2.record import Lane, Verdict

log = logging.getLogger("bartos.ledger")

PAGE: Final = 500
"""Rows that are read, and judged, at once: some milliseconds of the loop's time."""
BUDGET: Final = 100_000
"""Rows after which an answer ends, and tells where to go on."""
FOREVER: Final = 1 << 62
DAY_US: Final = 86_400_000_000
RECENT_GAPS_US: Final = 7 * DAY_US
RUNS: Final = 10_000
LOST_EVERY_S: Final = 3600.0

Pair = tuple[bytes, bytes]
"""Worker and schedule, by uid."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be gone through: of these workers and schedules (None: all), by uid, the planned
    starts in (`since`, `until`]."""

    workers: frozenset[bytes] | None = None
    schedules: frozenset[bytes] | None = None
    since: Instant | None = None
    until: Instant | None = None


@dataclass(slots=True)
class AuditPage:
    """What one page found: the account of so many pairs; `next` is where the next one begins. The
    starts of the server come first: there `next` is `NOBODY`, and a run."""

    account: Account = field(default_factory=Account)
    pairs: int = 0
    ordered: int = 0
    """How many starts of the server were looked at: floating ones, follow-ups, orders by hand."""
    next: Pair | None = None


@dataclass(frozen=True, slots=True)
class GivenUp:
    """What is *lost* from now on: slots of calendars, in ranges; and starts that were claimed, or
    waited."""

    ranges: Sequence[SlotRange] = ()
    runs: Sequence[RunRow] = ()
    waiting: Sequence[WaitingRow] = ()

    @property
    def count(self) -> int:
        """How many starts."""
        return sum(row.count for row in self.ranges) + len(self.runs) + len(self.waiting)


class Auditor:
    """Goes through the history. `connected` has, for each worker that is connected, what its clock
    is ahead of the server's (microseconds); `lost_after` is in seconds."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        connected: Callable[[], Mapping[bytes, int]],
        lost_after: Callable[[], float],
        retention: Callable[[], Retention] = Retention,
    ) -> None:
        self._store = store
        self._clock = clock
        self._connected = connected
        self._lost_after = lost_after
        self._retention = retention
        self.on_given_up: Callable[[Sequence[bytes]], None] = lambda _: None
        self._timings: dict[bytes, str] = {}
        self._almanac = Almanac(self._timings)

    # -- going through ----------------------------------------------------------------------------

    async def page(
        self, asked: Asked, after: Pair | None = None, budget: int = BUDGET
    ) -> AuditPage:
        """The account of the pairs behind `after`, as many as the budget of rows allows."""
        page = AuditPage()
        read = 0
        if after is None or after[0] == NOBODY:
            read = await self._orders(page, asked, NOBODY if after is None else after[1], budget)
            after = None
            if page.next is not None:
                return page
        async for pair, spans, facts in self._pairs(asked, after):
            found = await self._pair(spans, facts, asked)
            page.account.add(found.account)
            page.pairs += 1
            read += found.rows + 1
            if read >= budget:
                page.next = pair
                break
        return page

    async def _orders(self, page: AuditPage, asked: Asked, after: bytes, budget: int) -> int:
        """The account of what the server was to start, behind a run; returns how many rows that
        took."""
        read = 0
        view = View(now=self._clock.now(), since=asked.since, until=asked.until)
        while True:
            rows = await self._store.ordered(after, PAGE)
            found = self._judged(rows, asked, view)
            if found.findings:
                # What changed while it was read may look wrong; what is wrong still is.
                rows = await self._store.ordered(after, PAGE)
                found = self._judged(rows, asked, view)
            page.account.add(found)
            page.ordered += found.counts.total()
            read += len(rows)
            if len(rows) < PAGE:
                return read
            after = rows[-1].run_id
            if read >= budget:
                page.next = NOBODY, after
                return read
            await asyncio.sleep(0)

    def _judged(self, rows: Sequence[Ordered], asked: Asked, view: View) -> Account:
        account = Account()
        keep = self._retention()
        for row in rows:
            if (asked.schedules is None or row.schedule_uid in asked.schedules) and (
                asked.workers is None or row.worker_uid in asked.workers
            ):
                age = keep.verdicts_by_schedule.get(row.schedule_uid, keep.verdict_age)
                account.add(account_of_orders([row], view, view.now - round(age * 1e6)))
        return account

    async def _pairs(
        self, asked: Asked, after: Pair | None
    ) -> AsyncIterator[tuple[Pair, list[Applied], _Facts]]:
        rows = await self._store.workers()
        for worker in sorted(row.uid for row in rows):
            if (asked.workers is not None and worker not in asked.workers) or (
                after is not None and worker < after[0]
            ):
                continue
            spans = await self._store.applied(worker_uid=worker)
            by_schedule: dict[bytes, list[Applied]] = {}
            for span in spans:
                if asked.schedules is None or span.schedule_uid in asked.schedules:
                    by_schedule.setdefault(span.schedule_uid, []).append(span)
            if not by_schedule:
                continue
            facts = await self._facts(worker, spans)
            for schedule, own in sorted(by_schedule.items()):
                if after is None or (worker, schedule) > after:
                    yield (worker, schedule), own, facts

    async def _facts(self, worker: bytes, spans: Iterable[Applied]) -> _Facts:
        unknown = {span.timing for span in spans} - self._timings.keys()
        if unknown:
            self._timings.update(await self._store.timings(unknown))
        ahead = self._connected().get(worker)
        return _Facts(
            waiting=await self._store.waiting(worker_uid=worker),
            gaps=await self._store.gaps(worker),
            connected=ahead is not None,
            now=self._clock.now() + (ahead or 0),
        )

    async def _pair(self, spans: Sequence[Applied], facts: _Facts, asked: Asked) -> _Found:
        """The account of one schedule on one worker."""
        found = _Found()
        view = View(
            now=facts.now,
            connected=facts.connected,
            lost_after_us=round(self._lost_after() * 1_000_000),
            gaps=facts.gaps,
            since=asked.since,
            until=asked.until,
        )
        for span in spans:
            slots = self._almanac.slots(span)
            if slots is None:
                found.account.add(uncountable(span))
                continue
            tiling = Tiling(span, slots, view)
            if tiling.over:
                continue
            async for covers in self._covers(span, tiling, facts.waiting):
                tiling.feed(covers)
                found.rows += len(covers)
                await asyncio.sleep(0)
            found.account.add(tiling.finish())
        found.account.findings += outside(spans, await self._between(spans, view))
        return found

    async def _covers(
        self, span: Applied, tiling: Tiling, waiting: Sequence[WaitingRow]
    ) -> AsyncIterator[list[Cover]]:
        """Runs, ranges and what waits, by first slot, a page at a time."""
        pair = span.worker_uid, span.schedule_uid
        after, until = tiling.after, FOREVER if tiling.end is None else tiling.end
        runs: list[RunSlot] = []
        ranges: list[SlotRange] = []
        waits = [
            one
            for one in waiting
            if one.schedule_uid == span.schedule_uid and after < one.slot <= until
        ]
        runs_to: int = after
        ranges_to: int | None = None
        more_runs = more_ranges = True
        while more_runs or more_ranges or waits:
            if more_runs and not runs:
                runs = await self._store.run_slots(*pair, runs_to, until, PAGE)
                more_runs = len(runs) >= PAGE
                runs_to = runs[-1].slot if more_runs else FOREVER
            if more_ranges and not ranges:
                ranges = await self._store.pair_ranges(*pair, after, until, PAGE, ranges_to)
                more_ranges = len(ranges) == PAGE
                ranges_to = ranges[-1].first_slot if more_ranges else FOREVER
            assert ranges_to is not None
            bound = min(runs_to, ranges_to)
            covers: list[Cover] = [*runs, *ranges, *waits]
            taken = [one for one in covers if first_of(one)[0] <= bound]
            runs = [one for one in runs if one.slot > bound]
            ranges = [one for one in ranges if one.first_slot > bound]
            waits = [one for one in waits if one.slot > bound]
            yield sorted(taken, key=first_of)

    async def _between(self, spans: Sequence[Applied], view: View) -> list[Cover]:
        """Runs from when the schedule did not count; where there are many, the first."""
        found: list[Cover] = []
        ends = [span.until_at for span in spans]
        begins = [*(span.from_at for span in spans[1:]), FOREVER]
        for end, begin in zip(ends, begins, strict=True):
            if end is None or end >= begin:
                continue
            after = max(end, spans[0].kept_from, view.since or end)
            until = begin if view.until is None else min(begin, view.until)
            if after < until:
                pair = spans[0].worker_uid, spans[0].schedule_uid
                found += await self._store.run_slots(*pair, after, until, PAGE)
        return found

    # -- giving up --------------------------------------------------------------------------------

    async def give_up(self, asked: Asked, *, who: str = "", dry_run: bool = False) -> GivenUp:
        """Have all that is unknown stored as *lost*, given up by `who`; with `dry_run`, only say
        what that is. Starts of workers that are connected are never given up."""
        undecided: list[Undecided] = []
        async for _, spans, facts in self._pairs(asked, None):
            found = await self._pair(spans, facts, asked)
            undecided += found.account.undecided
        reason = f"given up by {who}" if who else "given up"
        lost = [
            one if one.reason else replace(one, reason=reason)
            for one in undecided
            if one.word in {"lost", "unknown"}
        ]
        given = GivenUp(await self._ranges(lost), *await self._starts(asked, self._clock.now()))
        if not dry_run:
            await self._store_lost(given, reason)
        return given

    async def keep_lost(self) -> GivenUp:
        """Store as *lost* what is so by now: of workers that were not heard of for `lost_after`,
        of journals and records that were lost. Once an hour; only what may be so is looked at."""
        now = self._clock.now()
        before = now - round(self._lost_after() * 1_000_000)
        undecided: list[Undecided] = []
        connected = self._connected()
        for row in await self._store.workers():
            if row.uid in connected:
                since_torn = now - 2 * DAY_US
            else:
                since_torn = min(now - 2 * DAY_US, row.last_seen)
            undecided += await self._lost_of(row.uid, before, since_torn)
        asked = Asked()
        given = GivenUp(await self._ranges(undecided), *await self._starts(asked, before))
        await self._store_lost(given, "its worker was not heard of for too long")
        if given.count:
            log.warning(
                "planned starts are lost: nobody will report them any more",
                extra={"count": given.count, "workers": len({r.worker for r in given.ranges})},
            )
        return given

    async def _lost_of(
        self, worker: bytes, before: Instant, torn_since: Instant
    ) -> list[Undecided]:
        spans = await self._store.applied(worker_uid=worker)
        if not spans:
            return []
        facts = await self._facts(worker, spans)
        opened = [span for span in spans if span.until_at is None]
        cursors = {}
        if not facts.connected:
            cursors = await self._store.cursors([(worker, span.schedule_uid) for span in opened])
        window = round(self._lost_after() * 1_000_000) + DAY_US
        gaps = [
            gap.at
            for gap in facts.gaps
            if gap.lane is Lane.STATE and gap.at >= facts.now - RECENT_GAPS_US
        ]
        found: list[Undecided] = []
        for span in spans:
            cursor = cursors.get((worker, span.schedule_uid))
            since = None
            if span.until_at is None and cursor is not None and cursor < before:
                # From just before it, so that what is lost already is seen to go on.
                since = cursor - 1
            if span.torn and span.until_at is not None and span.until_at >= torn_since:
                since = span.until_at - window
            if gaps:
                since = min([*gaps, *([] if since is None else [since])]) - window
            if since is not None:
                account = (await self._pair([span], facts, Asked(since=since))).account
                found += [one for one in account.undecided if one.word == "lost"]
        return found

    async def _ranges(self, lost: Sequence[Undecided]) -> list[SlotRange]:
        """The rows of what is lost; one that goes on where another ended takes its place."""
        if not lost:
            return []
        names = {row.uid: row.name for row in await self._store.workers()}
        words = await self._store.schedule_words()
        now = self._clock.now()
        return [
            SlotRange(
                schedule_uid=one.schedule_uid,
                schedule=words.get(one.schedule_uid, one.schedule_uid.hex()),
                worker_uid=one.worker_uid,
                worker=names.get(one.worker_uid, one.worker_uid.hex()),
                first_slot=one.first if one.joins is None else one.joins.first_slot,
                last_slot=one.last,
                count=one.count + (0 if one.joins is None else one.joins.count),
                verdict=Verdict.LOST,
                reason=one.reason,
                decided_at=now,
            )
            for one in lost
        ]

    async def _starts(self, asked: Asked, before: Instant) -> tuple[list[RunRow], list[WaitingRow]]:
        """Runs and waiting starts of workers that are away, from before this instant."""
        connected = self._connected()

        def gone(row: RunRow | WaitingRow, at: Instant) -> bool:
            return (
                row.worker_uid not in connected
                and at <= before
                and (asked.workers is None or row.worker_uid in asked.workers)
                and (asked.schedules is None or row.schedule_uid in asked.schedules)
                and (asked.since is None or row.slot > asked.since)
                and (asked.until is None or row.slot <= asked.until)
            )

        running = await self._store.runs(RunFilter(running=True, limit=RUNS))
        runs = [row for row in running if gone(row, row.claimed_at)]
        claimed = {row.run_id for row in runs}
        waiting = [
            row
            for row in await self._store.waiting()
            if gone(row, row.at) and row.run_id not in claimed
        ]
        return runs, waiting

    async def _store_lost(self, given: GivenUp, reason: str) -> None:
        now = self._clock.now()
        singles = [
            SlotRange(
                *(row.schedule_uid, row.schedule, row.worker_uid, row.worker, row.slot, row.slot),
                *(1, Verdict.LOST, reason, now),
                None if covers_slots(row) else row.run_id,
                row.kind,
            )
            for row in given.waiting
            if row.attempt == 1
        ]
        for begin in range(0, len(given.ranges), PAGE):
            await self._store.record_ranges(given.ranges[begin : begin + PAGE])
        ids = [row.run_id for row in given.runs] + [row.run_id for row in given.waiting]
        if ids:
            await self._store.record_ranges(singles)
            await self._store.give_up_runs(ids, reason, now)
            self.on_given_up(ids)

    async def run(self) -> None:
        """Keep what is lost, once an hour, until cancelled."""
        while True:
            await self._clock.sleep(LOST_EVERY_S)
            try:
                await self.keep_lost()
            except (StoreUnavailable, ConfigError):
                continue  # the writer says so, and the next round comes


@dataclass(frozen=True, slots=True)
class _Facts:
    """What there is to know of a worker beside its spans."""

    waiting: Sequence[WaitingRow]
    gaps: Sequence[GapRow]
    connected: bool
    now: Instant


@dataclass(slots=True)
class _Found:
    account: Account = field(default_factory=Account)
    rows: int = 0
