"""Who is told of failures? Looks for what is new, has `bartos.alerts` decide, and delivers.

What is to be told is stored before anything leaves, and is done with when a channel has taken it:
a channel that is down is tried again and again, with growing delays, for a day; a message that is
refused waits alone. A crash between the two repeats that one message, with the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bartos.alert_text import LINES, Around, Message, compose, lines_at_end, message_of_test
from bartos.alerts import Hanging, Known, decide
from bartos.channels import NAMES, Channel, Channels
from bartos.heartbeat import Beat, Heartbeat
from bartos.outgoing import Refused, Undelivered
from bartos.plan import Plan
from bartos.planning import Planner, facts_of
from bartos.schedules import Definition
from bartos.store.alerts import (
    FAILING,
    NO_RUN,
    NOT_RUN,
    AlertNews,
    AlertRow,
    Looked,
    Member,
    Sending,
)
from bartos.store.port import Batch, Store, WorkerRow
from bartos.tail import last_chunks
from bartos.transcript import lines, pieces
from bartos.watch import Watch
from libbarto.backoff import Backoff
from libbarto.clock import SECOND, Clock, Instant
from libbarto.errors import ConfigError, StoreUnavailable, UserError
from libbarto.message.v2.record import Decided, Ended

log = logging.getLogger("bartos.alerts")

LOOK_S: Final = 5.0
GATHER_S: Final = 0.5
"""What fails within so long is looked at together."""
DAY_S: Final = 86_400.0
WIDE_EVERY_S: Final = 600.0
WIDE_S: Final = 7 * DAY_S
FIRST_S: Final = 40 * DAY_S
"""How far back is looked, first and then every ten minutes, for what came by other ways than
through this server's writer; else only as far as what it wrote reaches."""
OVERLAP_S: Final = 60.0
JOIN_S: Final = 3.0
"""So long before an alert is due workers join it no more: it might be on its way before that is
stored, and they would be told to nobody."""
AHEAD_S: Final = 10.0
"""What lies further ahead, as a worker's clock is, is told when it is due here."""
KEEP_LOOKED_S: Final = 60.0
ROUNDS: Final = 100
CLAIM_S: Final = 120.0
"""So long a sending is one server's: longer than any channel takes."""
BACKOFF: Final = Backoff(first=5.0, cap=600.0)
GIVE_UP_S: Final = DAY_S
REFUSED_MOST: Final = 20
"""After so many refused messages on end there is a pause."""
WAITING_MAX: Final = 1000
FORGET_EVERY_S: Final = 3600.0
FORGET_S: Final = 60 * DAY_S


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a message in a channel."""

    channel: str
    place: str
    ok: bool
    said: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ChannelState:
    """How a channel does: `error` is why the last try failed, empty where it did not."""

    channel: str
    place: str
    error: str
    waiting: int


@dataclass(slots=True)
class _Health:
    failures: int = 0
    """How often on end it was not reached."""
    refused: int = 0
    """How many messages on end it refused."""
    error: str = ""


class Alerting:
    """See the module's text. `channels` are those that are configured, asked anew each time; `url`
    is where people reach this server; `new_id` makes 16 bytes that are new."""

    def __init__(
        self,
        store: Store,
        planner: Planner,
        clock: Clock,
        watch: Watch,
        *,
        channels: Callable[[], Channels],
        url: str,
        new_id: Callable[[], bytes],
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self._store = store
        self._planner = planner
        self._clock = clock
        self._watch = watch
        self._channels = channels
        self._url = url
        self._new_id = new_id
        self._heartbeat = heartbeat
        self._wake = asyncio.Event()
        self._oldest: Instant | None = None
        self._wide_at: float | None = None
        self._ended = False
        self._health: dict[str, _Health] = {}

    # -- what others ask --------------------------------------------------------------------------

    def stored(self, batch: Batch) -> None:
        """The writer has committed this; whatever is worth telling in it is looked for soon."""
        for record in batch.records:
            at: Instant | None = None
            if isinstance(record, Ended):
                if record.final and record.verdict in FAILING:
                    at = record.ended_at
            elif isinstance(record, Decided) and record.verdict in NOT_RUN:
                at = record.last_slot
            if at is not None:
                self._oldest = at if self._oldest is None else min(at, self._oldest)
                self._wake.set()

    async def test(self, who: str, channel: str | None = None) -> list[Tried]:
        """Send a message that says it is a test by every channel, or by one.

        Raises `UserError` where there is no such channel, or none at all.
        """
        channels = self._channels()
        if not channels:
            raise UserError(
                "no channel is configured: say command, webhook or mail under [alerts] in "
                "bartos.toml"
            )
        if channel is not None and channel not in channels:
            raise UserError(
                f'no channel "{channel}" is configured under [alerts]; there is '
                f"{', '.join(channels)}"
            )
        message = message_of_test(self._new_id().hex(), self._clock.now(), self._url, who)
        wanted = {name: one for name, one in channels.items() if channel in {None, name}}
        return list(await asyncio.gather(*(self._try(*item, message) for item in wanted.items())))

    async def _try(self, name: str, channel: Channel, message: Message) -> Tried:
        began = self._clock.boottime()
        try:
            ok, said = True, await channel.send(message)
        except Undelivered as error:
            ok, said = False, str(error)
        return Tried(name, channel.place, ok, said, self._clock.boottime() - began)

    async def states(self) -> list[ChannelState]:
        """How each channel does. Raises `StoreUnavailable`."""
        waiting = {row.channel: row for row in await self._store.alert_backlog()}
        found = []
        for name, channel in self._channels().items():
            row = waiting.get(name)
            error = self._health_of(name).error or (row.error if row is not None else "")
            found.append(
                ChannelState(name, channel.place, error, 0 if row is None else row.waiting)
            )
        return found

    @property
    def down(self) -> Sequence[str]:
        """The names of channels whose last try failed."""
        return [name for name in self._channels() if self._health_of(name).error]

    @property
    def is_configured(self) -> bool:
        """Whether there is any channel."""
        return bool(self._channels())

    @property
    def beat(self) -> Beat | None:
        """The last heartbeat; None where there is none, or not yet."""
        return None if self._heartbeat is None else self._heartbeat.last

    def _health_of(self, name: str) -> _Health:
        return self._health.setdefault(name, _Health())

    # -- standing work ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Look and deliver, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_forever(), name="alerts")
            for name in NAMES:
                group.create_task(self._deliver_forever(name), name=f"alerts by {name}")
            group.create_task(self._forget_forever(), name="old alerts")
            if self._heartbeat is not None:
                group.create_task(self._heartbeat.run(), name="heartbeat")

    async def _look_forever(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable, ConfigError):  # the writer says so
                await self.look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
                    await self._clock.sleep(GATHER_S)
            self._wake.clear()

    async def _deliver_forever(self, name: str) -> None:
        while True:
            delay = LOOK_S
            with contextlib.suppress(StoreUnavailable, ConfigError):
                while await self.deliver(name):
                    pass
                delay = max(delay, self._delay(name))
            await self._clock.sleep(delay)

    async def _forget_forever(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable, ConfigError):
                await self._store.forget_alerts(self._clock.now() - _us(FORGET_S))
            await self._clock.sleep(FORGET_EVERY_S)

    # -- looking ----------------------------------------------------------------------------------

    async def look(self) -> None:
        """Find what is new, and store what is to be told. Raises `StoreUnavailable`."""
        channels = self._channels()
        if not channels:
            if not self._ended:
                await self._store.end_alerts()
                self._ended = True
                self._wide_at = None
            return
        self._ended = False
        oldest, self._oldest = self._oldest, None
        try:
            await self._look(oldest, list(channels))
        except BaseException:
            both = [at for at in (oldest, self._oldest) if at is not None]
            self._oldest = min(both, default=None)
            raise

    async def _look(self, oldest: Instant | None, channels: Sequence[str]) -> None:
        looked = await self._store.begin_alerts(self._clock.now())
        since = self._since(looked, oldest)
        for _ in range(ROUNDS):
            now = self._clock.now()
            until = now + _us(AHEAD_S)
            outcomes = await self._store.alert_outcomes(since, until)
            outcomes += await self._store.alert_endings(until)
            hanging = await self._hanging()
            news = AlertNews(looked.looked, max(now, looked.looked + 1), channels=channels)
            if outcomes or hanging:
                known = await self._known(now)
                decision = decide(known, outcomes, hanging, now)
                if decision.states:
                    news = AlertNews(
                        news.before, news.looked, decision.states, decision.alerts, channels
                    )
            if not news.states:
                if now - looked.looked > _us(KEEP_LOOKED_S):
                    await self._store.commit_alerts(news)
                break
            if await self._store.commit_alerts(news) and news.alerts:
                await self._bound(channels)
            looked = await self._store.begin_alerts(now)

    def _since(self, looked: Looked, oldest: Instant | None) -> Instant:
        """From when on something may be new."""
        now = self._clock.boottime()
        reach = OVERLAP_S
        if self._wide_at is None or now - self._wide_at >= WIDE_EVERY_S:
            reach = FIRST_S if self._wide_at is None else WIDE_S
            self._wide_at = now
        since = looked.looked - _us(reach)
        if oldest is not None:
            since = min(since, oldest)
        return max(since, looked.begun)

    async def _hanging(self) -> list[Hanging]:
        """What seems to hang, and has not ended since that was found."""
        return [
            Hanging(
                one.run.schedule_uid,
                one.run.schedule,
                one.run.worker_uid,
                one.run.worker,
                one.run.run_id,
                one.run.slot,
                one.why,
            )
            for one in (await self._watch.recent()).stuck
        ]

    async def _known(self, now: Instant) -> Known:
        definitions = self._planner.definitions
        workers = await self._store.workers()
        return Known(
            states={state.pair: state for state in await self._store.alert_states()},
            gathering=await self._store.alerts_gathering(now + _us(JOIN_S)),
            floating={one.uid for one in definitions if one.floating},
            silent={one.uid for one in definitions if not one.alerts},
            roaming={row.uid for row in workers if row.capabilities.get("roaming") == "true"},
        )

    async def _bound(self, channels: Sequence[str]) -> None:
        for name in channels:
            dropped = await self._store.trim_backlog(name, WAITING_MAX, self._clock.now())
            if dropped:
                log.error(
                    "alerts were given up: too many wait",
                    extra={"channel": name, "alerts": dropped},
                )

    # -- delivering -------------------------------------------------------------------------------

    async def deliver(self, name: str) -> bool:
        """Send the next alert that is due in a channel; whether to go on at once.

        Raises `StoreUnavailable`.
        """
        channel = self._channels().get(name)
        if channel is None:
            return False
        now = self._clock.now()
        sending = await self._store.claim_sending(name, now, now + _us(CLAIM_S))
        if sending is None:
            return False
        message = await self._message(sending.alert)
        health = self._health_of(name)
        try:
            said = await channel.send(message)
        except Refused as error:
            if not sending.tries:
                log.error(
                    "an alert was refused; it is tried again for a day",
                    extra={
                        "channel": name,
                        "schedule": sending.alert.schedule,
                        "error": str(error),
                    },
                )
            health.failures, health.refused = 0, health.refused + 1
            await self._failed(sending, str(error))
            return health.refused % REFUSED_MOST != 0
        except Undelivered as error:
            if not health.failures:
                log.error(
                    "an alert cannot be delivered; it is tried again for a day",
                    extra={"channel": name, "error": str(error)},
                )
            health.failures += 1
            await self._failed(sending, str(error))
            return False
        await self._store.sent(sending, self._clock.now())
        if health.failures:
            log.info("alerts are delivered again", extra={"channel": name})
        health.failures, health.refused, health.error = 0, 0, ""
        log.info(
            "an alert was sent",
            extra={"channel": name, "alert": message.subject, "answer": said},
        )
        return True

    async def _failed(self, sending: Sending, error: str) -> None:
        self._health_of(sending.channel).error = error
        now = self._clock.now()
        if now - sending.alert.due >= _us(GIVE_UP_S):
            await self._store.sent(sending, now, f"given up: {error}")
            log.error(
                "an alert was given up",
                extra={"channel": sending.channel, "schedule": sending.alert.schedule},
            )
            return
        await self._store.send_later(sending, now + _us(BACKOFF.ceiling(sending.tries)), error)

    def _delay(self, name: str) -> float:
        failures = self._health_of(name).failures
        return BACKOFF.ceiling(failures - 1) if failures else 0.0

    # -- messages ---------------------------------------------------------------------------------

    async def _message(self, alert: AlertRow) -> Message:
        definition = next(
            (one for one in self._planner.definitions if one.uid == alert.schedule_uid), None
        )
        around = Around(
            url=self._url,
            total=0 if definition is None else self._total(definition, await self._store.workers()),
            lines=await self._last_lines(alert.members),
            runbook="" if definition is None else definition.runbook,
            timezone="UTC" if definition is None else definition.timezone,
        )
        return compose(alert, around)

    @staticmethod
    def _total(definition: Definition, workers: Sequence[WorkerRow]) -> int:
        if definition.floating:
            return 0
        plan = Plan([definition])
        return sum(1 for row in workers if plan.matching(facts_of(row)))

    async def _last_lines(self, members: Sequence[Member]) -> list[str]:
        """The last lines that the first of these that ran has printed."""
        run_id = members[0].run_id
        if run_id == NO_RUN:
            return []
        found = await self._store.runs_by_id([run_id])
        if not found:
            return []
        chunks = await last_chunks(self._store, run_id, found[0].attempt)
        read = (piece for chunk in chunks for piece in pieces(chunk))
        texts = (line.data.decode(errors="replace") for line in lines(read))
        return lines_at_end(texts, LINES)


def _us(seconds: float) -> Instant:
    return round(seconds * SECOND)
