"""The link to the server: connect, converse, come back for ever.

Carries frames between a `WorkerSession` and a transport, and between the session and the journal:
records out once they are durable, acknowledgements in. Knows nothing of schedules or runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, assert_never

from bartoc.events import Answer, Asked, Cancelled, Contact, NewSet, Offered
from bartoc.journal import Journal, JournalState, LaneFacts, Spooled
from bartoc.pace import Pace
from libbarto.backoff import Backoff
from libbarto.clock import Clock
from libbarto.envelope import PublicKey
from libbarto.errors import BartoError, ConnectionClosed, JournalError, ProtocolError
from libbarto.mailbox import Mailbox, receive_into
from libbarto.message.v2.record import Lane
from libbarto.message.v2.worker import Capabilities, Hello, LaneState, OfferAnswer
from libbarto.session import (
    BATCH_BYTES,
    BATCH_RECORDS,
    SILENCE_S,
    CancelReceived,
    CleanUpAsked,
    ClockMeasured,
    Close,
    ForkFound,
    OfferReceived,
    Opened,
    RefusedBy,
    SafeUpTo,
    Send,
    SetReceived,
    StoreEpoch,
    TellEpoch,
    UnknownMessage,
    Welcomed,
    WorkerEvent,
    WorkerSession,
)
from libbarto.transport import ConnectionRefused, Connector, Transport, send_within

log = logging.getLogger("bartoc.connection")

CLOCK_WARNING_US: Final = 1_000_000
PATIENT_RETRY_S: Final = 10.0
INBOX_FRAMES: Final = 64
LASTING_S: Final = 2.0
Said: TypeAlias = NewSet | Contact | Offered | Asked | Cancelled


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this worker says it is."""

    name: str
    version: str
    labels: Mapping[str, str] = field(default_factory=dict)
    capabilities: Capabilities = field(default_factory=Capabilities)


class Connection:
    """One worker's link. `tell` takes what the server says to the agent."""

    def __init__(
        self,
        journal: Journal,
        connector: Connector,
        identity: Identity,
        server_key: PublicKey,
        clock: Clock,
        rng: random.Random,
        tell: Callable[[Said], Awaitable[None]],
        backoff: Backoff | None = None,
    ) -> None:
        self.offset_us: int | None = None
        self.connected = asyncio.Event()
        self._journal = journal
        self._connector = connector
        self._identity = identity
        self._key = server_key
        self._clock = clock
        self._rng = rng
        self._tell = tell
        self._backoff = backoff or Backoff()
        self._inbox: Mailbox[bytes | ConnectionClosed] | None = None
        self._answers: list[Answer] = []
        self._spooled = True
        self._leaving = False
        self._left = asyncio.Event()
        self._said = ""
        self._offset_said = False
        self.on_journal_error: Callable[[JournalError], None] = lambda _: None

    def records_spooled(self) -> None:
        """There is something new to send."""
        self._spooled = True
        self._nudge()

    def answer(self, answer: Answer) -> None:
        """Tell the server what came of its request, if this session lasts that long."""
        self._answers.append(answer)
        self._nudge()

    def leave(self) -> None:
        """Say goodbye once all that is spooled has been sent and acknowledged, or cannot be."""
        self._leaving = True
        self._left.set()
        self._nudge()

    def _nudge(self) -> None:
        if self._inbox is not None:
            self._inbox.nudge()

    async def run(self) -> None:
        """Connect again and again, until `leave`."""
        failures = 0
        while True:
            patient = False
            try:
                transport = await self._connector.connect()
            except (BartoError, OSError) as error:
                patient = isinstance(error, ConnectionRefused)
                self._say_once("cannot connect to the server", str(error))
            else:
                began = self._clock.boottime()
                try:
                    patient = await self._converse(transport)
                    # A session that does not last is no reason to hurry back.
                    if self._clock.boottime() - began > LASTING_S:
                        failures = 0
                except (ProtocolError, BartoError, JournalError) as error:
                    self._say_once("the session with the server broke", str(error))
                    if isinstance(error, JournalError):
                        self.on_journal_error(error)
                finally:
                    self.connected.clear()
                    self.offset_us = None
                    await transport.close()
            if self._leaving:
                return
            delay = self._backoff.delay(failures, self._rng)
            failures += 1
            if await self._left_within(max(delay, PATIENT_RETRY_S) if patient else delay):
                return

    async def _left_within(self, seconds: float) -> bool:
        """Wait; true, and at once, for who leaves: without a link there is no goodbye to say."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._left.wait()
        return self._left.is_set()

    # -- one connection ---------------------------------------------------------------------------

    async def _converse(self, transport: Transport) -> bool:
        """Until the link ends; returns whether to be patient with the next try."""
        hello = self._hello(await self._journal.state())
        session = WorkerSession(hello, self._key, self._clock.boottime())
        talk = _Talk(self, transport, session)
        self._answers = []
        inbox: Mailbox[bytes | ConnectionClosed] = Mailbox(INBOX_FRAMES)
        self._inbox = inbox
        reader = asyncio.create_task(receive_into(inbox, transport), name="frames")
        try:
            await talk.carry_out(session.open())
            while not talk.closed:
                if not talk.more:
                    await inbox.wait(session.next_due() - self._clock.boottime())
                for frame in inbox.take():
                    if isinstance(frame, ConnectionClosed):
                        raise frame
                    talk.now, talk.boottime = self._clock.now(), self._clock.boottime()
                    await talk.carry_out(session.receive(frame, talk.now, talk.boottime))
                now, boottime = self._clock.now(), self._clock.boottime()
                await talk.carry_out(session.tick(now, boottime))
                answers, self._answers = self._answers, []
                for answer in answers:
                    await talk.answer(answer)
                if not talk.closed:
                    await talk.send_records()
                if self._leaving and not talk.closed and talk.all_safe():
                    await talk.carry_out(session.leave("bartoc is leaving"))
        except ConnectionClosed as error:
            if not talk.closed:
                self._say_once("the link to the server ended", str(error))
        finally:
            self._inbox = None
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        return talk.patient

    def _hello(self, state: JournalState) -> Hello:
        held = state.current_set
        who = self._identity
        return Hello(
            uid=state.worker_uid,
            name=who.name,
            version=who.version,
            spool_id=state.spool_id,
            epoch=state.epoch,
            generation=0 if held is None else held.generation,
            set_hash=b"" if held is None else held.hash,
            state=_lane_state(state.lanes[Lane.STATE]),
            output=_lane_state(state.lanes[Lane.OUTPUT]),
            labels=dict(who.labels),
            capabilities=who.capabilities,
            boot_id=self._clock.boot_id,
            now=self._clock.now(),
        )

    def _say_once(self, message: str, reason: str) -> None:
        """The same trouble is told once, not at every try."""
        if reason != self._said:
            self._said = reason
            log.warning(message, extra={"reason": reason})

    def _measured(self, offset_us: int) -> None:
        self.offset_us = offset_us
        off = abs(offset_us) > CLOCK_WARNING_US
        if off and not self._offset_said:
            log.warning(
                "this host's clock differs from the server's",
                extra={"server_ahead_s": round(offset_us / 1e6, 3)},
            )
        self._offset_said = off


class _Talk:
    """One conversation: carries out what its session wants."""

    def __init__(self, owner: Connection, transport: Transport, session: WorkerSession) -> None:
        self.closed = False
        self.opened = False
        self.patient = False
        self.more = False
        self.now, self.boottime = 0, 0.0
        """When the frame came in that is being carried out."""
        self._asked: list[Asked] = []
        self._owner = owner
        self._transport = transport
        self._session = session
        self._safe: dict[Lane, int] = {Lane.STATE: 0, Lane.OUTPUT: 0}
        self._empty = False
        self._pace = Pace()

    async def carry_out(self, events: list[WorkerEvent]) -> None:
        for event in events:
            await self._carry_out(event)

    async def _carry_out(self, event: WorkerEvent) -> None:
        owner, journal, session = self._owner, self._owner._journal, self._session
        match event:
            case Send(frame=frame):
                await send_within(self._transport, frame, SILENCE_S)
            case Close(reason=reason):
                self.closed = True
                if owner._leaving:
                    log.info("the session ended", extra={"reason": reason})
                else:
                    owner._say_once("the session ended", reason)
                await self._transport.close(1000, reason)
            case Welcomed(welcome=welcome):
                tags = {
                    Lane.STATE: await journal.tag_at(Lane.STATE, welcome.state.seq),
                    Lane.OUTPUT: await journal.tag_at(Lane.OUTPUT, welcome.output.seq),
                }
                self._asked = [Asked(one.run_id, one.number) for one in welcome.offers]
                await self.carry_out(session.judge(tags))
            case StoreEpoch(epoch=epoch):
                await journal.store_epoch(epoch)
                await self.carry_out(session.epoch_stored(epoch))
            case TellEpoch():
                held = await journal.state()
                await self.carry_out(session.epoch_stored(held.epoch))
            case RefusedBy(code="reset", reason=reason):
                await journal.renew(reason)
                raise JournalError(f"the spool begins anew: {reason}")
            case RefusedBy(code=code, reason=reason):
                self.patient = True
                owner._say_once(f"the server refused this worker ({code})", reason)
            case ForkFound(reason=reason):
                self.patient = True
                log.error(
                    "this state directory is a copy or was rolled back", extra={"why": reason}
                )
            case Opened(marks=marks):
                await self._open(marks)
            case SafeUpTo(lane=lane, seq=seq):
                self._safe[lane] = seq
                if lane is Lane.OUTPUT:
                    self._pace.acknowledged(seq, self.boottime)
                await journal.acknowledge(lane, seq)
            case SetReceived(generation=generation, hash=set_hash, body=body):
                await owner._tell(NewSet(generation, set_hash, body))
            case CleanUpAsked(before=before):
                gone = await journal.prune(sys.maxsize, before)
                log.info("cleaned up what was acknowledged", extra={"records": gone})
            case OfferReceived(offer=offer):
                await owner._tell(Offered(offer, self.boottime))
                await self.answer(Answer(offer.request, True))
            case CancelReceived(cancel=cancel):
                await owner._tell(Cancelled(cancel.request, cancel.run_id, cancel.reason))
            case ClockMeasured(offset_us=offset_us):
                owner._measured(offset_us)
                # By the reading that the offset was measured with: no step comes between them.
                await owner._tell(Contact(self.now + offset_us))
            case UnknownMessage(tag=tag):
                log.debug("a message of a newer server was passed over", extra={"tag": tag})
            case _:
                assert_never(event)

    async def _open(self, marks: Mapping[Lane, int]) -> None:
        owner = self._owner
        for lane, seq in marks.items():
            self._safe[lane] = seq
            # A mark below what was acknowledged shows that the server was restored.
            await owner._journal.forget_acknowledged(lane, seq)
        self.opened = True
        owner._spooled = True
        owner._said = ""
        log.info("connected to the server", extra={"peer": self._transport.peer})
        owner.connected.set()
        for asked in self._asked:
            await owner._tell(asked)

    async def answer(self, answer: Answer) -> None:
        """What came of a request of the server's."""
        if self.closed or not self.opened:
            return
        told = OfferAnswer(request=answer.request, accepted=answer.accepted, reason=answer.reason)
        frame = self._session.answer_offer(told).frame
        await send_within(self._transport, frame, SILENCE_S)

    async def send_records(self) -> None:
        """One batch of each lane, the state lane first; `more` tells that there is more.

        Where credit is lacking, what is left stays noted as spooled until there is some.
        """
        owner, session = self._owner, self._session
        if not (self.more or owner._spooled):
            return
        self.more = self._empty = owner._spooled = False
        # Output is read first, and waits until all state that was spooled before it is sent: the
        # server keeps no output of a run whose claim it does not know.
        output: list[Spooled] = []
        if self._pace.may_send():
            limit = min(BATCH_BYTES, self._pace.window)
            output = await owner._journal.read(Lane.OUTPUT, session.sent[Lane.OUTPUT], limit)
        else:
            owner._spooled = True  # there may be some, once what is on its way has arrived
        state = await owner._journal.read(Lane.STATE, session.sent[Lane.STATE], BATCH_BYTES)
        for lane, found in ((Lane.STATE, state), (Lane.OUTPUT, [] if state else output)):
            if not session.may_send():
                owner._spooled = True
                return
            if found:
                self.more = True
                if found[0].seq != session.sent[lane] + 1:
                    raise ProtocolError("records were pruned while the session began; once more")
                records = [record.data for record in found[:BATCH_RECORDS]]
                batch = session.batch(lane, records)
                if lane is Lane.OUTPUT:
                    size, at = len(batch.frame), owner._clock.boottime()
                    self._pace.sent(session.sent[lane], size, at)
                await send_within(self._transport, batch.frame, SILENCE_S)
        self._empty = not (self.more or owner._spooled)

    def all_safe(self) -> bool:
        """Is everything that is spooled acknowledged?"""
        return self.opened and self._empty and self._safe == self._session.sent


def _lane_state(facts: LaneFacts) -> LaneState:
    return LaneState(
        first=facts.first,
        last=facts.last,
        tag=facts.tag,
        before_tag=facts.before_tag,
        acknowledged=facts.acknowledged,
    )
