"""A worker's connection on the server: carries out what its session and the hub want.

One `WorkerLink` for each websocket. It reads frames, asks the store, hands records to the writer
and sends what comes of it; every decision is the session's, the hub's or the planner's.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections import deque
from collections.abc import Mapping
from typing import Final, assert_never

from bartos.ending import end_all
from bartos.hub import Fork, Hub, Member, Orders
from bartos.planning import Planner
from bartos.store.orders import Audit
from bartos.store.port import BARRED, Batch, DeadLetter, EpochClaim, Mark, Store, WorkerRow
from bartos.writer import Submitted, Writer
from libbarto.clock import Clock, Instant
from libbarto.envelope import SigningKey
from libbarto.errors import ConfigError, ConnectionClosed, ProtocolError, StoreUnavailable
from libbarto.mailbox import Mailbox, receive_into
from libbarto.message.v2 import server as wire
from libbarto.message.v2.record import Lane, Record
from libbarto.message.v2.worker import Hello
from libbarto.session import (
    INITIAL_CREDIT,
    SILENCE_S,
    ClockMeasured,
    Close,
    ConfirmEpoch,
    ForkReported,
    HelloReceived,
    OfferAnswered,
    RecordsReceived,
    Send,
    ServerEvent,
    ServerSession,
    Undecodable,
    UnknownMessage,
)
from libbarto.transport import Transport, send_within

log = logging.getLogger("bartos.workers")

INBOX_FRAMES: Final = 64
PUSH_AGAIN_S: Final = 1.0
CREDIT_CAP: Final = 1024 * 1024
"""The most credit of one worker, in bytes; all of them together have `CreditPool`."""


class CreditPool:
    """What all workers together may have on the way, in bytes (64 MiB, DESIGN section 6)."""

    def __init__(self, size: int = 64 * 1024 * 1024) -> None:
        self.free = size

    def take(self, wanted: int) -> int:
        """As much of `wanted` as there is."""
        given = max(0, min(wanted, self.free))
        self.free -= given
        return given

    def give_back(self, amount: int) -> None:
        """Credit that is not used any more."""
        self.free += amount


class WorkerLink:
    """One worker's websocket. `secret` is the server's signing key; `nonce` 16 random bytes."""

    def __init__(
        self,
        transport: Transport,
        *,
        store: Store,
        hub: Hub,
        writer: Writer,
        planner: Planner,
        orders: Orders,
        pool: CreditPool,
        key: SigningKey,
        clock: Clock,
        nonce: bytes,
        version: str,
    ) -> None:
        self._transport = transport
        self._store = store
        self._hub = hub
        self._writer = writer
        self._planner = planner
        self._orders = orders
        self._nonce = nonce
        self._greeting: Hello | None = None
        self._known: WorkerRow | None = None
        """What the store knew of the worker as it greeted."""
        self._pool = pool
        self._key = key
        self._clock = clock
        self._session = ServerSession(nonce, version, clock.boottime())
        self._todo: deque[list[ServerEvent]] = deque()
        self._inbox: Mailbox[bytes | ConnectionClosed] = Mailbox(INBOX_FRAMES)
        self._closed = False
        self._said = False
        self._member: Member | None = None
        self._granted = 0
        self._unused = 0
        self._pooled = 0
        self._push_wanted = asyncio.Event()
        self._held = (0, b"")
        self._committed: dict[Lane, wire.Mark] = {}

    # -- asked by the hub -------------------------------------------------------------------------

    def displaced(self, reason: str) -> None:
        self._later(self._session.leave(reason))

    def set_wanted(self) -> None:
        self._push_wanted.set()

    def committed(self) -> Mapping[Lane, wire.Mark]:
        return dict(self._committed)

    def received(self) -> Mapping[Lane, wire.Mark]:
        return {lane: self._session.mark(lane) for lane in Lane}

    def clean_up(self, before: int) -> None:
        self._later(self._session.order(wire.CleanUp(before=before)))

    def offer(self, offer: wire.Offer) -> None:
        self._later(self._session.signed_order(offer, self._key))

    def cancel(self, cancel: wire.Cancel) -> None:
        self._later(self._session.signed_order(cancel, self._key))

    def leave(self, reason: str) -> None:
        """The server stops."""
        self._later(self._session.leave(reason))

    def _later(self, events: list[ServerEvent]) -> None:
        self._todo.append(events)
        self._inbox.nudge()

    # -- the loop ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the link ends, from either side."""
        reader = asyncio.create_task(receive_into(self._inbox, self._transport), name="frames")
        # Apart, as a database that does not answer must not keep heartbeats waiting.
        pusher = asyncio.create_task(self._push_sets(), name="sets")
        try:
            while not self._closed:
                await self._inbox.wait(self._session.next_due() - self._clock.boottime())
                for frame in self._inbox.take():
                    if isinstance(frame, ConnectionClosed):
                        raise frame
                    now, boottime = self._clock.now(), self._clock.boottime()
                    await self._carry_out(self._session.receive(frame, now, boottime))
                while self._todo:
                    await self._carry_out(self._todo.popleft())
                now, boottime = self._clock.now(), self._clock.boottime()
                await self._carry_out(self._session.tick(now, boottime))
        except ConnectionClosed as error:
            self._left(str(error))
        except ProtocolError as error:
            log.error(
                "a worker broke the protocol", extra={"worker": self._name(), "error": str(error)}
            )
            await self._transport.close(1008, str(error))
        except (StoreUnavailable, ConfigError) as error:
            log.warning(
                "a worker is sent away while the database is away",
                extra={"worker": self._name(), "error": str(error)},
            )
            await self._transport.close(1013, "the server's database is away; try again")
        finally:
            await end_all((reader, pusher))
            self._gone()
            await self._transport.close()

    async def _carry_out(self, events: list[ServerEvent]) -> None:
        for event in events:
            match event:
                case Send(frame=frame):
                    await send_within(self._transport, frame, SILENCE_S)
                case Close(reason=reason):
                    self._closed = True
                    self._left(reason)
                    await self._transport.close(1000, reason)
                case HelloReceived(hello=hello):
                    await self._greet(hello)
                case ConfirmEpoch(epoch=epoch):
                    await self._confirm(epoch)
                case ForkReported(reason=reason):
                    await self._alarm(reason)
                case RecordsReceived():
                    self._take(event)
                case OfferAnswered(answer=answer):
                    self._orders.answered(self._session.peer.uid, answer)
                case ClockMeasured(offset_us=offset_us):
                    if self._member is not None:
                        self._member.offset_us = offset_us
                case UnknownMessage(tag=tag):
                    log.debug("a message of a newer worker was passed over", extra={"tag": tag})
                case _:
                    assert_never(event)

    # -- the beginning ----------------------------------------------------------------------------

    async def _name_is_free(self, hello: Hello) -> bool:
        """Refuse the worker where another is connected under its name."""
        other = self._hub.name_taken(hello.name, hello.uid)
        if other is not None:
            reason = (
                f'another worker is connected as "{hello.name}" (from {other.address}): give this '
                "one another name in its bartoc.toml"
            )
            log.warning("a worker was refused", extra={"worker": hello.name, "reason": reason})
            await self._carry_out(self._session.refuse("name-taken", reason))
        return other is None

    async def _alarm(self, reason: str) -> None:
        """A fork: tell it in the log and the history, once."""
        hello, now = self._session.peer, self._clock.now()
        address = self._transport.peer
        fork = Fork(now, hello.name, address.rpartition(":")[0] or address, hello.spool_id, reason)
        if not self._hub.fork(hello.uid, fork):
            return
        log.error(
            "a worker's state directory is a copy or was rolled back; it is refused",
            extra={"worker": hello.name, "peer": address, "why": reason},
        )
        facts = {"uid": hello.uid.hex(), "address": address, "why": reason}
        # The refusal does not wait for a database that is away.
        with contextlib.suppress(StoreUnavailable, ConfigError):
            await self._store.audit([Audit(now, "fork", facts, hello.name)])

    async def _greet(self, hello: Hello) -> None:
        if not await self._name_is_free(hello):
            return
        row = await self._store.worker(hello.uid)
        marks = await self._store.marks(hello.spool_id)
        if marks[Lane.STATE].epoch == BARRED:
            reason = "this worker was reset: it begins a new spool, with cursors at now"
            await self._carry_out(self._session.refuse("reset", reason))
            return
        wire_marks = {lane: wire.Mark(seq=mark.seq, tag=mark.tag) for lane, mark in marks.items()}
        epoch = 0 if row is None else row.epoch
        self._greeting, self._known = hello, row
        asked = self._orders.asked(hello.uid, hello.spool_id, self._nonce)
        now = self._clock.now()
        await self._carry_out(self._session.answer(epoch, wire_marks, now, asked))

    async def _confirm(self, epoch: int) -> None:
        hello = self._session.peer
        now = self._clock.now()
        facts = capability_words(hello)
        committed = await self._store.confirm_epoch(
            EpochClaim(
                uid=hello.uid,
                name=hello.name,
                epoch=epoch,
                spool_id=hello.spool_id,
                labels=hello.labels,
                version=hello.version,
                capabilities=facts,
                address=self._transport.peer,
                now=now,
            )
        )
        if committed and await self._marks_have_moved(hello):
            reason = "records of its last session were stored meanwhile; it connects again"
            await self._carry_out(self._session.leave(reason))
            return
        restored = self._session.knows_less()
        if committed:
            for lane in Lane:
                gap = self._session.gap(lane)
                if gap is not None:
                    await self._store.skip_to(
                        hello.spool_id, lane, epoch, Mark(gap.seq, gap.tag, epoch), now
                    )
                    self._session.gap_recorded(lane, gap)
                    log.error(
                        "records of a worker are lost: it no longer holds them",
                        extra={"worker": hello.name, "lane": lane.name.lower(), "up_to": gap.seq},
                    )
        if committed and not await self._name_is_free(hello):
            return  # somebody was quicker meanwhile
        if committed and restored:
            await self._orders.restored(hello.uid)
        self._granted = INITIAL_CREDIT
        await self._carry_out(self._session.confirmed(committed, INITIAL_CREDIT))
        if not committed:
            return
        self._held = (hello.generation, hello.set_hash)
        self._committed = {lane: self._session.mark(lane) for lane in Lane}
        self._member = Member(
            uid=hello.uid,
            name=hello.name,
            address=self._transport.peer,
            since=now,
            version=hello.version,
            link=self,
            epoch=epoch,
            labels=dict(hello.labels),
            facts=facts,
            generation=hello.generation,
            set_hash=hello.set_hash,
            applied=hello.generation,
            spool_id=hello.spool_id,
            session=self._nonce,
            seen=self._seen_before(hello.uid, now),
            version_before="" if self._known is None else self._known.version,
        )
        self._hub.join(self._member)
        self._orders.joined(self._member, last=hello.state.last)
        log.info("worker connected", extra={"worker": hello.name, "peer": self._transport.peer})
        self._push_wanted.set()

    def _seen_before(self, uid: bytes, now: Instant) -> Instant | None:
        """When it was last seen before it came: now, where an older session of it is here still."""
        if self._hub.find(uid) is not None:
            return now
        return None if self._known is None else self._known.last_seen

    async def _marks_have_moved(self, hello: Hello) -> bool:
        """Are the marks other than its Welcome said? From its confirmed epoch on they stay, but
        before that an earlier session's last records may have been stored. The worker would begin
        at the old ones: refused on one lane, and taken on the other, it would lose output."""
        stored = await self._store.marks(hello.spool_id)
        return any(self._session.mark(lane).seq != mark.seq for lane, mark in stored.items())

    async def _push_sets(self) -> None:
        """Until cancelled: whenever the set may be another one, look, and send it if so."""
        while True:
            await self._push_wanted.wait()
            self._push_wanted.clear()
            if self._member is None or self._closed:
                continue
            try:
                await self._push(self._member)
            except (StoreUnavailable, ConfigError):
                # The writer tells of a database that is away.
                await self._clock.sleep(PUSH_AGAIN_S)
                self._push_wanted.set()

    async def _push(self, member: Member) -> None:
        """Send the worker its set, where it holds another (DESIGN section 6)."""
        row = await self._store.worker(member.uid)
        if row is None:
            return
        body = self._planner.set_for(row)
        if timings := self._planner.timings_to_keep():
            await self._store.keep_timings(timings)
            self._planner.timings_kept(timings)
        wanted = hashlib.sha256(body).digest()
        generation = row.generation
        same = self._held == (row.generation, row.set_hash)
        if row.set_hash != wanted or (not same and self._held[0] >= row.generation):
            generation = max(row.generation, self._held[0]) + 1
            if not await self._store.set_generation(member.uid, row.generation, generation, wanted):
                self._push_wanted.set()
                return
        elif same:
            return
        self._held = (generation, wanted)
        member.generation, member.set_hash = generation, wanted
        self._later(self._session.push_set(generation, body, self._key))
        log.info("set of schedules sent", extra={"worker": member.name, "version": generation})

    # -- records ----------------------------------------------------------------------------------

    def _take(self, received: RecordsReceived) -> None:
        hello = self._session.peer
        batch = Batch(
            worker_uid=hello.uid,
            worker=hello.name,
            spool_id=hello.spool_id,
            lane=received.lane,
            epoch=self._session.epoch,
            first_seq=received.first_seq,
            tag=received.tag,
            records=[_store_record(record) for record in received.records],
        )
        self._granted -= received.size
        self._unused += received.size

        def done(advanced: bool) -> None:
            self._unused -= received.size
            back = min(self._pooled, received.size)
            self._pooled -= back
            self._pool.give_back(back)
            if self._closed:
                return
            if not advanced:
                self._later(self._session.leave("the store has seen a newer session"))
                return
            self._committed[received.lane] = wire.Mark(seq=received.last_seq, tag=received.tag)
            self._later(self._session.committed(received.lane, received.last_seq))
            self._top_up(received.size)

        self._writer.submit(Submitted(batch, received.size, done))

    def _top_up(self, used: int) -> None:
        """Give back what was used, and twice as much as long as there is plenty."""
        wanted = min(CREDIT_CAP - self._granted, used * 2)
        if self._writer.away or wanted <= 0:
            return
        base = max(0, min(wanted, INITIAL_CREDIT - self._granted))
        extra = self._pool.take(wanted - base)
        self._pooled += extra
        given = base + extra
        if given:
            self._granted += given
            self._later(self._session.grant(given))

    # -- the end ----------------------------------------------------------------------------------

    def _left(self, reason: str) -> None:
        if self._member is not None and not self._said:
            self._said = True
            log.info("worker left", extra={"worker": self._member.name, "reason": reason})

    def _gone(self) -> None:
        self._closed = True
        back = max(0, self._pooled - self._unused)
        self._pooled -= back
        self._pool.give_back(back)
        self._granted = 0
        if self._member is not None:
            self._hub.leave(self._member.uid, self)
        if self._greeting is not None:
            self._orders.left(self._greeting.uid, self._nonce)

    def _name(self) -> str:
        hello = self._session.hello
        return self._transport.peer if hello is None else hello.name


def capability_words(hello: Hello) -> dict[str, str]:
    """What a worker says of its host, as words: its own, and to be marked so."""
    said = hello.capabilities
    return {
        "os": said.os,
        "os_version": said.os_version,
        "kernel": said.kernel,
        "arch": said.arch,
        "host": said.hostname,
        "cpus": str(said.cpus),
        "memory": str(said.memory),
        "shells": " ".join(said.shells),
        "user": said.user,
        "roaming": "true" if said.roaming else "",
    }


def _store_record(record: Record | Undecodable) -> Record | DeadLetter:
    if isinstance(record, Undecodable):
        return DeadLetter(record.seq, record.data, record.error)
    return record
