"""The dispatcher's loop: brings it what happens, and carries out what it wants.

One task handles one event after the other: what is to be committed is committed, however long the
database is away, before anything else is looked at. The operator's actions go through it too, so
that nobody else changes what the dispatcher decides by.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol, TypeVar

from bartos.dispatch_events import (
    CancelAsked,
    Commit,
    Committed,
    DrainsChanged,
    Event,
    ExecAsked,
    GivenUp,
    Joined,
    Left,
    Note,
    Now,
    ParentsEnded,
    PausesChanged,
    Reported,
    Restored,
    RunAsked,
    SchedulesChanged,
    SendCancel,
    SendOffer,
    Tick,
)
from bartos.dispatcher import Dispatcher
from bartos.hub import Hub, Member
from bartos.plan import WorkerFacts
from bartos.planning import Planner
from bartos.store.orders import (
    ALL_SCHEDULES,
    COMMITS,
    Audit,
    DispatchChange,
    DrainRow,
    OrderRow,
    PauseRow,
)
from bartos.store.port import Batch, Store
from libbarto.backoff import Backoff
from libbarto.clock import Clock
from libbarto.errors import ConfigError, StoreUnavailable, UserError
from libbarto.message.v2.record import Claimed, Decided, Ended, OfferRefused, SetApplied
from libbarto.message.v2.server import Asked, Cancel, Offer
from libbarto.message.v2.worker import OfferAnswer

log = logging.getLogger("bartos.dispatcher")

TICK_S: Final = 1.0
IDLE_S: Final = 30.0
"""How often it looks at the time: the latter where nothing is to be started."""
ACTION_S: Final = 15.0
"""How long an action waits for the database before it says that it is away."""
KEEP_ORDERS_US: Final = 8 * 86_400_000_000
"""A day longer than workers keep what was acknowledged."""
FORGET_EVERY_S: Final = 3600.0
REMIND_AFTER_US: Final = 7 * 86_400_000_000
REMIND_EVERY_S: Final = 86_400.0
HEARD_MOST: Final = 10_000
RETRY: Final = Backoff(first=0.2, cap=5.0)
LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

T = TypeVar("T")


class Witness(Protocol):
    """Remembers, outside of the database, how far that has come."""

    def read(self) -> int:
        """The number that was written last, 0 for none."""

    def write(self, commits: int) -> None:
        """Remember it; may be forgotten where the host dies."""


class FileWitness:
    """A witness in a file of the state directory."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._said = False

    def read(self) -> int:
        try:
            return int(self._file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0  # without it, workers tell

    def write(self, commits: int) -> None:
        try:
            self._file.write_text(f"{commits}\n", encoding="ascii")
        except OSError as error:
            if not self._said:
                log.warning(
                    "cannot note how far the database has come; only workers can tell by now if "
                    "it was restored from an older copy",
                    extra={"file": str(self._file), "error": str(error)},
                )
            self._said = True


class _Action:
    """Something that an operator wants, in the dispatcher's own time."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self.work = work


@dataclass(frozen=True, slots=True)
class Heard:
    """What a worker said of an order: whether it took it, or found something to end."""

    accepted: bool
    reason: str = ""


class Dispatching:
    """Runs a dispatcher on the server's ports."""

    def __init__(
        self,
        store: Store,
        hub: Hub,
        planner: Planner,
        clock: Clock,
        lost_after: Callable[[], float] = lambda: 30 * 86_400.0,
        witness: Witness | None = None,
    ) -> None:
        self._store = store
        self._hub = hub
        self._planner = planner
        self._clock = clock
        self._lost_after = lost_after
        self._witness = witness
        self._commits = 0
        self._counts = True
        self._dispatcher: Dispatcher | None = None
        self._queue: deque[Event | _Action] = deque()
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._heard: dict[bytes, Heard] = {}
        self._rng = random.Random(0)
        self._forget_at = 0.0
        self._reminded: dict[bytes, float] = {}
        self.away = False
        """The store did not take what was to be committed."""
        self.on_commit: list[Callable[[DispatchChange], None]] = []
        """They are told of each change that the store has committed."""

    @property
    def begun(self) -> bool:
        """Was the store read, so that there are decisions?"""
        return self._dispatcher is not None

    @property
    def dispatcher(self) -> Dispatcher:
        """The decisions. Raises `StoreUnavailable` before the store was read."""
        if self._dispatcher is None:
            raise StoreUnavailable("the server has just started, and is still reading it")
        return self._dispatcher

    # -- told by others ---------------------------------------------------------------------------

    def asked(self, worker_uid: bytes, spool_id: bytes, session: bytes) -> list[Asked]:
        found = self.dispatcher.asked(worker_uid, spool_id, session)
        return [Asked(run_id=run_id, number=number) for run_id, number in found]

    async def restored(self, worker_uid: bytes) -> None:
        await self._do(lambda: self._handle(Restored(worker_uid)))

    def joined(self, member: Member, *, last: int) -> None:
        self._tell(Joined(member.session, member.spool_id, facts_of(member), last))

    def left(self, worker_uid: bytes, session: bytes) -> None:
        self._tell(Left(worker_uid, session))

    def answered(self, worker_uid: bytes, answer: OfferAnswer) -> None:
        while len(self._heard) >= HEARD_MOST:
            del self._heard[next(iter(self._heard))]
        self._heard[answer.request] = Heard(answer.accepted, answer.reason)
        self._notify()

    def stored(self, batch: Batch) -> None:
        """The store has committed what a worker reports."""
        for record in batch.records:
            if isinstance(record, Claimed | Ended | Decided | OfferRefused):
                self._tell(Reported(batch.worker_uid, batch.spool_id, record))
            elif isinstance(record, SetApplied):
                member = self._hub.find(batch.worker_uid)
                if member is not None:
                    member.applied = max(member.applied, record.generation)
                    self._notify()

    def given_up(self, run_ids: Collection[bytes]) -> None:
        """The server gave these runs a verdict of its own."""
        self._tell(GivenUp(run_ids))

    def schedules_changed(self) -> None:
        """Other schedules are in force."""
        self._tell(SchedulesChanged(self._planner.definitions))

    def _tell(self, event: Event | _Action) -> None:
        self._queue.append(event)
        self._wake.set()

    # -- asked by the faces -----------------------------------------------------------------------

    async def run(self, event: RunAsked | ExecAsked) -> list[OrderRow]:
        """Have starts made; where the request is known already, nothing is made twice. Raises
        `StoreUnavailable`, and `UserError` where their schedules were removed meanwhile, or where
        the request was for something else."""

        async def work() -> list[OrderRow]:
            known = await self._store.orders(request=event.request)
            if known and not event.made([row.intent for row in known]):
                names = ", ".join(sorted({row.intent.schedule for row in known}))
                raise UserError(
                    f"this request was made before, for something else (of {names}): nothing was "
                    "started; give each request a UUID of its own"
                )
            if not known:
                await self._handle(event)
                known = await self._store.orders(request=event.request)
            if not known:
                # Who asks may know schedules a moment longer than the dispatcher.
                raise UserError("the schedules are being changed just now; ask once more")
            return known

        return await self._do(work)

    async def cancel(self, run_ids: Sequence[bytes], who: str, reason: str) -> None:
        """Have runs end, and starts not be made."""

        async def work() -> None:
            await self._handle(CancelAsked(tuple(run_ids), who, reason))

        await self._do(work)

    async def pause(self, rows: Sequence[PauseRow]) -> None:
        """Begin pauses; workers are told by new versions of their sets."""
        await self._do(lambda: self._change_pauses(rows, (), "pause", rows[0].who))

    async def resume(self, schedules: Collection[bytes], who: str) -> None:
        """End pauses."""
        await self._do(lambda: self._change_pauses((), schedules, "resume", who))

    async def drain(self, rows: Sequence[DrainRow]) -> None:
        """Let workers start nothing from now on; they are told by new versions of their sets."""
        await self._do(lambda: self._change_drains(rows, (), "drain", rows[0].who))

    async def undrain(self, workers: Collection[bytes], who: str) -> None:
        """Let workers start again."""
        await self._do(lambda: self._change_drains((), workers, "undrain", who))

    def running(self, schedule_uid: bytes) -> dict[bytes, bytes]:
        """The runs of a schedule that have no verdict, with their workers."""
        return self.dispatcher.running(schedule_uid)

    def pending(self, schedule_uid: bytes) -> list[bytes]:
        """The starts of a schedule that are with nobody yet."""
        return self.dispatcher.pending(schedule_uid)

    def knows(self, run_id: bytes) -> bool:
        """Is this run, or start, not over yet?"""
        return self.dispatcher.knows(run_id)

    def heard(self, request: bytes) -> Heard | None:
        """What a worker said of an order: of a run by its id, of a cancel by `cancel_request`."""
        return self._heard.get(request)

    def worker_of(self, run_id: bytes) -> bytes | None:
        """The worker that has a run, or a start; None where nobody has it."""
        return self.dispatcher.worker_of(run_id)

    def next_change(self) -> Callable[[float], Awaitable[bool]]:
        """To be called with seconds: waits until something has changed since this was asked for,
        at most so long; True if it has."""
        changed = self._changed

        async def wait(seconds: float) -> bool:
            try:
                async with asyncio.timeout(seconds):
                    await changed.wait()
            except TimeoutError:
                return False
            return True

        return wait

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _do(self, work: Callable[[], Awaitable[T]]) -> T:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        async def carry_out() -> None:
            try:
                result = await work()
            except (StoreUnavailable, ConfigError, UserError) as error:
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(result)

        self._tell(_Action(carry_out))
        try:
            async with asyncio.timeout(ACTION_S):
                return await done
        except TimeoutError as error:
            raise StoreUnavailable(
                f"no answer within {ACTION_S:.0f} s; what was asked may yet be done"
            ) from error

    # -- the loop ---------------------------------------------------------------------------------

    async def load(self) -> None:
        """Begin from what the store holds, before any worker may greet. Raises
        `StoreUnavailable`."""
        state = await self._store.dispatch_state()
        pauses = await self._store.pauses()
        self._planner.pauses = {row.schedule_uid: row for row in pauses}
        self._dispatcher = Dispatcher(state, self._now())
        self._queue.clear()
        drains = await self._store.drains()
        self._planner.drains = {row.worker_uid: row for row in drains}
        self._tell(PausesChanged(pauses))
        self._tell(DrainsChanged(drains))
        self.schedules_changed()
        self._commits, seen = state.facts.get(COMMITS, 0), self._witnessed()

        async def begin() -> None:
            # Only now, since it is known by now which planned starts there are. What was committed
            # meanwhile did not count: that the copy is older has to stay known.
            if self._commits < seen:
                self._commits, self._counts = seen, True
                await self._handle(Restored())
            await self._follow()

        self._counts = self._commits >= seen
        self._tell(_Action(begin))

    def _witnessed(self) -> int:
        return 0 if self._witness is None else self._witness.read()

    async def run_forever(self) -> None:
        """Until cancelled; `load` comes first."""
        tick_at = self._clock.boottime()
        while True:
            due = self.dispatcher.next_due(self._now())
            wait = max(0.0, tick_at - self._clock.boottime())
            if not self.dispatcher.idle:
                wait = min(due, wait)
            if not self._queue:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
            self._wake.clear()
            if self._queue:
                tick_at = min(tick_at, self._clock.boottime() + TICK_S)
            while self._queue:
                event = self._queue.popleft()
                if isinstance(event, _Action):
                    await event.work()
                else:
                    await self._handle(event)
            if self._clock.boottime() >= tick_at or self.dispatcher.next_due(self._now()) <= 0:
                self.dispatcher.lost_after_us = round(self._lost_after() * 1e6)
                await self._handle(Tick())
                await self._keep_house()
                tick_at = self._clock.boottime() + (IDLE_S if self.dispatcher.idle else TICK_S)

    async def _handle(self, event: Event) -> None:
        """An event, and all that follows from it."""
        parent = (
            isinstance(event, Reported)
            and isinstance(event.record, Ended)
            and event.record.final
            and self.dispatcher.is_followed(event.record.run_id)
        )
        effects = deque(self.dispatcher.handle(event, self._now()))
        while effects:
            effect = effects.popleft()
            match effect:
                case Commit(change=change):
                    made = await self._commit(change)
                    effects.extend(self.dispatcher.handle(Committed(effect, made), self._now()))
                    self._notify()
                case SendOffer():
                    self._send_offer(effect)
                case SendCancel():
                    self._send_cancel(effect)
                case Note(level=level, message=message, facts=facts):
                    log.log(LEVELS[level], message, extra=dict(facts))
        if isinstance(event, SchedulesChanged):
            self._store.watch_ends(self.dispatcher.followed)
        elif isinstance(event, Reported):
            self._notify()
        if parent:
            await self._follow()

    async def _follow(self) -> None:
        """Runs that others follow may have ended."""
        while True:
            try:
                ends = await self._store.parent_ends()
            except (StoreUnavailable, ConfigError):
                return  # the next end of a run comes here again
            if not ends:
                return
            await self._handle(ParentsEnded(ends))

    async def _commit(self, change: DispatchChange) -> frozenset[bytes]:
        """Commit, however long it takes: nothing is sent before."""
        tries = 0
        if self._counts:
            self._commits += 1
            change = replace(change, facts={**change.facts, COMMITS: self._commits})
        while True:
            try:
                made = await self._store.commit_dispatch(change)
            except (StoreUnavailable, ConfigError) as error:
                if not self.away:
                    self.away = True
                    log.error(
                        "the database is away; the server starts nothing until it is back",
                        extra={"error": str(error)},
                    )
                await self._clock.sleep(RETRY.delay(tries, self._rng))
                tries += 1
            else:
                self.away = False
                if self._witness is not None and self._counts:
                    self._witness.write(self._commits)
                for told in self.on_commit:
                    told(change)
                return made

    # -- orders to workers ------------------------------------------------------------------------

    def _member(self, worker_uid: bytes, session: bytes) -> Member | None:
        member = self._hub.find(worker_uid)
        return member if member is not None and member.session == session else None

    def _send_offer(self, effect: SendOffer) -> None:
        member = self._member(effect.worker_uid, effect.session)
        if member is None:
            return  # its next session asks what became of it
        row = effect.intent
        member.link.offer(
            Offer(
                request=row.run_id,
                run_id=row.run_id,
                kind=row.kind,
                schedule_uid=row.schedule_uid,
                slot=row.slot,
                cause=row.cause,
                number=effect.number,
                spec=row.spec,
                until=row.until,
            )
        )
        log.info(
            "start offered",
            extra={
                "schedule": row.schedule,
                "worker": member.name,
                "run": row.run_id.hex(),
                "number": effect.number,
            },
        )

    def _send_cancel(self, effect: SendCancel) -> None:
        member = self._member(effect.worker_uid, effect.session)
        if member is None:
            return  # it is told in its next session
        request = cancel_request(effect.run_id)
        member.link.cancel(Cancel(request=request, run_id=effect.run_id, reason=effect.reason))
        log.info(
            "worker told to end a run",
            extra={"worker": member.name, "run": effect.run_id.hex(), "reason": effect.reason},
        )

    # -- pauses -----------------------------------------------------------------------------------

    async def _change_pauses(
        self, put: Sequence[PauseRow], drop: Collection[bytes], kind: str, who: str
    ) -> None:
        now = self._clock.now()
        facts: dict[str, object] = {"who": who}
        if put:
            facts["schedules"] = [row.schedule or "*" for row in put]
            facts["reason"] = put[0].reason
            facts["until"] = put[0].until
        else:
            held = self._planner.pauses
            facts["schedules"] = [held[uid].schedule or "*" for uid in sorted(drop) if uid in held]
        await self._store.change_pauses(put, drop, [Audit(now, kind, facts)])
        pauses = await self._store.pauses()
        # What is due up to now belongs to the old pauses, and is decided first.
        await self._handle(PausesChanged(pauses))
        self._planner.pauses = {row.schedule_uid: row for row in pauses}
        for member in self._hub:
            member.link.set_wanted()
        log.info(kind, extra=facts)
        self._notify()

    async def _change_drains(
        self, put: Sequence[DrainRow], drop: Collection[bytes], kind: str, who: str
    ) -> None:
        now = self._clock.now()
        held = self._planner.drains
        about = [*put, *(held[uid] for uid in sorted(drop) if uid in held)]
        said = [
            Audit(
                now,
                kind,
                {"who": who, "reason": row.reason, "until": row.until} if put else {"who": who},
                row.worker,
            )
            for row in about
        ]
        await self._store.change_drains(put, drop, said)
        drains = await self._store.drains()
        # What the worker has to do is told first: what it is offered by then, it may refuse.
        self._planner.drains = {row.worker_uid: row for row in drains}
        for row in about:
            member = self._hub.find(row.worker_uid)
            if member is not None:
                member.link.set_wanted()
        await self._handle(DrainsChanged(drains))
        for audit in said:
            log.info(kind, extra={"worker": audit.worker, **audit.facts})
        self._notify()

    async def _keep_house(self) -> None:
        """Pauses that have ended, those that have not for long, and orders that are long over."""
        now = self._clock.now()
        boottime = self._clock.boottime()
        ended = [
            row.schedule_uid
            for row in self._planner.pauses.values()
            if row.until is not None and row.until <= now
        ]
        with contextlib.suppress(StoreUnavailable, ConfigError):  # the next round comes
            if ended:
                await self._change_pauses((), ended, "pause ended", "its end")
            over = [
                row.worker_uid
                for row in self._planner.drains.values()
                if row.until is not None and row.until <= now
            ]
            if over:
                await self._change_drains((), over, "drain ended", "its end")
            if boottime >= self._forget_at:
                await self._store.forget_orders(now - KEEP_ORDERS_US)
                self._forget_at = boottime + FORGET_EVERY_S
        self._remind(now, boottime)

    def _remind(self, now: int, boottime: float) -> None:
        """A pause without an end that nobody thinks of any more is a job that does not run."""
        for uid, row in self._planner.pauses.items():
            if not self._is_to_be_reminded(uid, row, now, boottime):
                continue
            log.warning(
                "still paused, without an end: barto-cli resume ends it",
                extra={
                    "schedule": "all" if uid == ALL_SCHEDULES else row.schedule,
                    "days": (now - row.at) // 86_400_000_000,
                    "who": row.who,
                    "reason": row.reason,
                },
            )

        for uid, drain in self._planner.drains.items():
            if self._is_to_be_reminded(uid, drain, now, boottime):
                log.warning(
                    "still drained, without an end: barto-cli undrain ends it",
                    extra={
                        "worker": drain.worker,
                        "days": (now - drain.at) // 86_400_000_000,
                        "who": drain.who,
                        "reason": drain.reason,
                    },
                )

    def _is_to_be_reminded(
        self, uid: bytes, row: PauseRow | DrainRow, now: int, boottime: float
    ) -> bool:
        if row.until is not None or now - row.at < REMIND_AFTER_US:
            return False
        if boottime < self._reminded.get(uid, boottime):
            return False
        self._reminded[uid] = boottime + REMIND_EVERY_S
        return True

    def _now(self) -> Now:
        return Now(self._clock.now(), self._clock.boottime())


def cancel_request(run_id: bytes) -> bytes:
    """The id of the request to end a run, by which its answer is known."""
    return hashlib.sha256(b"cancel" + run_id).digest()[:16]


def facts_of(member: Member) -> WorkerFacts:
    """What selectors may ask of a worker that is connected."""
    user = member.facts.get("user", "")
    return WorkerFacts(
        name=member.name,
        uid=member.uid,
        labels=dict(member.labels),
        os=member.facts.get("os", ""),
        arch=member.facts.get("arch", ""),
        host=member.facts.get("host", ""),
        root=user == "root" if user else None,
    )
