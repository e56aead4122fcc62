"""The server's effect loop: its standing tasks, and the links that come and go.

Holds no decision of its own: the session decides the conversation, the planner what each worker
is to do, the store what is kept. `app` puts it together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from bartos.alerting import Alerting
from bartos.audit import Auditor
from bartos.channels import Channels
from bartos.dispatching import Dispatching, Witness
from bartos.ending import end_all
from bartos.endpoints.ws_worker import CreditPool, WorkerLink
from bartos.feed import Feed
from bartos.floating import holds
from bartos.heartbeat import Heartbeat
from bartos.hub import Hub, Member, difference
from bartos.news import News
from bartos.outlook import Drain, Here
from bartos.overview import Overview
from bartos.planning import Planner
from bartos.presence import Presence
from bartos.store.orders import Audit
from bartos.store.port import Pruned, Retention, Store, WorkerRow
from bartos.watch import Watch
from bartos.writer import Writer
from libbarto.clock import Clock
from libbarto.envelope import SigningKey
from libbarto.errors import ConfigError, StoreUnavailable
from libbarto.transport import Transport

log = logging.getLogger("bartos")

COMPARE_EVERY_S: Final = 60.0
RETENTION_EVERY_S: Final = 600.0
RETENTION_PAUSE_S: Final = 0.05
STORE_RETRY_S: Final = 2.0
DRAIN_S: Final = 5.0
LOST_AFTER_S: Final = 30 * 86_400.0
OPENING: Final = "store"
"""The one standing task that ends."""


class Server:
    """bartos without its sockets: workers come in as transports."""

    def __init__(
        self,
        store: Store,
        planner: Planner,
        clock: Clock,
        *,
        key: SigningKey,
        retention: Callable[[], Retention],
        random_bytes: Callable[[int], bytes],
        version: str,
        lost_after: Callable[[], float] = lambda: LOST_AFTER_S,
        witness: Witness | None = None,
        channels: Callable[[], Channels] = dict,
        url: str = "",
        heartbeat: Callable[[], str | None] = lambda: None,
        faulty: Callable[[], str] = str,
    ) -> None:
        self.store = store
        self.planner = planner
        self.clock = clock
        self.hub = Hub()
        self.writer = Writer(store, clock)
        self.dispatching = Dispatching(store, self.hub, planner, clock, lost_after, witness)
        self.watch = Watch(store, planner, clock, self._connected)
        self.audit = Auditor(store, clock, self._connected, lost_after, retention)
        self.audit.on_given_up = self._given_up
        self.feed = Feed(name=f"{clock.now():x}")
        self.overview = Overview(store, planner, clock, self.watch, self._here, self._drains)
        self.news = News(self.feed, store, self.hub, planner, self.watch, clock, self.overview)
        self._faulty = faulty
        self.alerting = Alerting(
            store,
            planner,
            clock,
            self.watch,
            channels=channels,
            url=url,
            new_id=lambda: random_bytes(16),
            heartbeat=Heartbeat(heartbeat, self.trouble, clock),
        )
        self.pool = CreditPool()
        self.store_open = asyncio.Event()
        self.stopping = False
        self._key = key
        self._retention = retention
        self._random = random_bytes
        self._version = version
        self._links: set[WorkerLink] = set()
        self.tasks: list[asyncio.Task[None]] = []
        """The standing tasks: none of them ends by itself but the one that opens the store."""
        self.writer.on_return = self._compare_soon
        self.writer.on_stored = self.dispatching.stored
        self.writer.on_commit += [
            self.overview.committed,
            self.news.committed,
            self.alerting.stored,
        ]
        self.dispatching.on_commit += [self.overview.decided, self.news.decided]
        self.presence = Presence(store, clock)
        self.hub.on_change = self._came_or_went
        self._compare = asyncio.Event()

    # -- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin the standing tasks; the store is opened as soon as it answers.

        The caller watches `tasks`: one that fails has no one else to tell.
        """
        self._spawn(self._open_store(), OPENING)
        self._spawn(self.writer.run(), "writer")
        self._spawn(self._dispatch(), "dispatcher")
        self._spawn(self._compare_sessions(), "sessions")
        self._spawn(self._retain(), "retention")
        self._spawn(self.watch.run(), "watch")
        self._spawn(self.audit.run(), "audit")
        self._spawn(self.news.run(), "news")
        self._spawn(self.presence.run(), "presence")
        self._spawn(self._alert(), "alerts")

    async def stop(self) -> None:
        """Say goodbye to the workers, commit what they have sent, let the store go."""
        self.stopping = True
        self.feed.close()
        for link in list(self._links):
            link.leave("the server is stopping")
        await self.writer.drain(DRAIN_S)
        await end_all(self.tasks)
        await self.store.close()

    async def serve_worker(self, transport: Transport) -> None:
        """One worker's connection, until it ends."""
        if self.stopping or not self.store_open.is_set():
            await transport.close(1013, "the server is not ready; try again")
            return
        link = WorkerLink(
            transport,
            store=self.store,
            hub=self.hub,
            writer=self.writer,
            planner=self.planner,
            orders=self.dispatching,
            pool=self.pool,
            key=self._key,
            clock=self.clock,
            nonce=self._random(16),
            version=self._version,
        )
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    async def trouble(self) -> str:
        """What keeps this server from its work, in words; empty where nothing does."""
        if not self.store_open.is_set() or self.writer.away:
            return "the database is away"
        try:
            await self.store.ping()
        except (StoreUnavailable, ConfigError) as error:
            return f"the database is away: {error}"
        dead = [task.get_name() for task in self.tasks if task.done()]
        if any(name != OPENING for name in dead):
            return f"a part of bartos has ended: {', '.join(dead)}"
        return self._faulty()

    def _came_or_went(self, uid: bytes) -> None:
        """A worker connected, or is gone, or was refused."""
        self.news.worker_changed(uid)
        self.presence.changed(uid, self.hub.find(uid))

    def _connected(self) -> dict[bytes, int]:
        """Who is connected, and what each one's clock is ahead of this one's."""
        return {member.uid: member.offset_us or 0 for member in self.hub}

    def _here(self) -> dict[bytes, Here]:
        """Who is connected, and whether each has taken on what it is to do."""
        return {one.uid: Here(one.applied >= one.generation) for one in self.hub}

    def _drains(self) -> dict[bytes, Drain]:
        """Who starts nothing, and why."""
        now, rows = self.clock.now(), self.planner.drains.values()
        return {
            row.worker_uid: Drain(row.who, row.reason, row.until) for row in rows if holds(row, now)
        }

    def _given_up(self, run_ids: Sequence[bytes]) -> None:
        """The server gave these runs a verdict of its own."""
        self.dispatching.given_up(run_ids)
        self.overview.forget()

    # -- orders -----------------------------------------------------------------------------------

    def sets_changed(self) -> None:
        """The schedules in force have changed: each worker whose set did gets a new version."""
        self.dispatching.schedules_changed()
        for member in self.hub:
            member.link.set_wanted()
        self.news.schedules_changed()

    def clean_up_workers(self, before: int) -> int:
        """Have all connected workers forget acknowledged records from before this instant;
        returns how many were told."""
        for member in self.hub:
            member.link.clean_up(before)
        return len(self.hub)

    async def reset_worker(self, row: WorkerRow, who: str, reason: str) -> None:
        """Let a worker come back that was refused as a fork: with a new spool, and cursors at now.

        What it had as its last spool, and what was refused, are accepted no more.
        """
        fork = self.hub.forks.pop(row.uid, None)
        await self.store.reset_worker(row.uid, [] if fork is None else [fork.spool_id])
        facts = {"uid": row.uid.hex(), "who": who, "reason": reason}
        await self.store.audit([Audit(self.clock.now(), "worker reset", facts, row.name)])
        log.warning("a worker was reset", extra={"worker": row.name, "who": who})
        member = self.hub.find(row.uid)
        if member is not None:
            member.link.displaced("the worker was reset")

    async def apply_retention(self) -> Pruned:
        """Drop all that the retention does not keep, in small steps; returns the sums."""
        total = Pruned()
        while True:
            step = await self.store.prune(self._retention(), self.clock.now())
            total = _added(total, step)
            if not step.more:
                return total
            await self.clock.sleep(RETENTION_PAUSE_S)

    # -- standing tasks ---------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self.tasks.append(asyncio.create_task(work, name=name))

    async def _open_store(self) -> None:
        said = False
        while not self.store_open.is_set():
            try:
                await self.store.open()
                self.planner.load(await self.store.schedules())
                await self.dispatching.load()
            except StoreUnavailable as error:
                if not said:
                    log.error(
                        "the database does not answer; waiting for it",
                        extra={"error": str(error)},
                    )
                    said = True
                await self.clock.sleep(STORE_RETRY_S)
            else:
                self.store_open.set()
        if said:
            log.info("the database is there")

    async def _alert(self) -> None:
        await self.store_open.wait()
        await self.alerting.run()

    async def _dispatch(self) -> None:
        await self.store_open.wait()
        await self.dispatching.run_forever()

    def _compare_soon(self) -> None:
        self._compare.set()

    async def _compare_sessions(self) -> None:
        """Once a minute, and after the database was away: sessions that the store does not know
        as the current ones are closed (DESIGN section 6)."""
        await self.store_open.wait()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COMPARE_EVERY_S):
                    await self._compare.wait()
            self._compare.clear()
            await self._compare_all(list(self.hub))

    async def _compare_all(self, members: Sequence[Member]) -> None:
        before = [member.link.committed() for member in members]
        try:
            standings = await self.store.standings([(m.uid, m.spool_id) for m in members])
            await self.store.seen([m.uid for m in members], self.clock.now())
        except (StoreUnavailable, ConfigError):
            return  # the writer says so, and the next round comes
        for member, stored, committed in zip(members, standings, before, strict=True):
            reason = difference(member, stored, committed, member.link.received())
            if reason is not None:
                log.warning(
                    "a session is not the one that the store knows; the worker connects again",
                    extra={"worker": member.name, "why": reason},
                )
                member.link.displaced(reason)

    async def _retain(self) -> None:
        await self.store_open.wait()
        while True:
            try:
                pruned = await self.apply_retention()
            except (StoreUnavailable, ConfigError):
                pruned = Pruned()
            if pruned != Pruned():
                log.info(
                    "retention dropped what is too old or too much",
                    extra={
                        "output_rows": pruned.output_rows,
                        "output_bytes": pruned.output_bytes,
                        "runs": pruned.runs,
                    },
                )
            await self.clock.sleep(RETENTION_EVERY_S)


def _added(total: Pruned, step: Pruned) -> Pruned:
    return Pruned(
        output_rows=total.output_rows + step.output_rows,
        output_bytes=total.output_bytes + step.output_bytes,
        status_rows=total.status_rows + step.status_rows,
        runs=total.runs + step.runs,
        more=step.more,
    )
