"""The conversation of a worker and the server, as a plain object at each end: no I/O.

Frames and what the shell has done go in, with the time; frames to send and events to act upon
come out. One `WorkerSession` and one `ServerSession` live as long as one connection.

How a session begins (DESIGN section 6):

    worker                               server
    Hello(epoch held, lanes, set)   ->   looks the worker up
                                    <-   Welcome(epoch to hold, marks, nonce)
    compares the marks' tags with
    its own; stores the epoch
    EpochHeld(epoch)                ->   commits the epoch if it is higher than the last one;
                                         only now closes an older session of this worker
                                    <-   Ready(credit), then the set where the worker's differs
    Batch ...                       ->   commits, then
                                    <-   Acknowledged, Credit

A `Hello` whose epoch is below the last confirmed one proves nothing, since it may be an old frame:
it is answered with `Doubt`, and the worker says what it holds now. Still lower is a fork: a copied
or rolled-back state directory. A mark that the worker's own records contradict is one too.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import msgspec

from libbarto import envelope
from libbarto.codec import Codec, Unknown
from libbarto.errors import CodecError, ProtocolError
from libbarto.identity import next_tag
from libbarto.message.v2.link import Closing, Heartbeat
from libbarto.message.v2.record import OUTPUT_RECORD, STATE_RECORD, Lane, Record
from libbarto.message.v2.server import (
    TO_WORKER,
    Acknowledged,
    Asked,
    Cancel,
    CleanUp,
    Credit,
    Doubt,
    Mark,
    Offer,
    Ready,
    Refused,
    SignedSet,
    Welcome,
)
from libbarto.message.v2.worker import (
    FROM_WORKER,
    Batch,
    EpochHeld,
    Forked,
    Hello,
    LaneState,
    OfferAnswer,
)

HEARTBEAT_S: Final = 5.0
SILENCE_S: Final = 15.0
INITIAL_CREDIT: Final = 32 * 1024
BATCH_BYTES: Final = 48 * 1024
BATCH_RECORDS: Final = 1000
SET_PART_BYTES: Final = 48 * 1024
ASKED_MOST: Final = 1000
"""So many old offers are asked about in one `Welcome`, which is one frame."""
OFFER_SPEC_MAX: Final = 48 * 1024
"""The most bytes of a schedule in an offer, which is one frame, too."""
RECORD_OVERHEAD: Final = 8
"""Bytes that a record costs beside its own: charged so that empty records are not free."""


# -- what comes out -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send this frame."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection; nothing more comes of this session."""

    reason: str


@dataclass(frozen=True, slots=True)
class Welcomed:
    """Worker: look up the own tags at these numbers, then call `judge`."""

    welcome: Welcome


@dataclass(frozen=True, slots=True)
class StoreEpoch:
    """Worker: make the epoch durable, then call `epoch_stored`."""

    epoch: int


@dataclass(frozen=True, slots=True)
class TellEpoch:
    """Worker: the server doubts; call `epoch_stored` with the epoch that the journal holds now."""


@dataclass(frozen=True, slots=True)
class RefusedBy:
    """Worker: the server will not have it; `code` is one of the words of `Refused`."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class ForkFound:
    """Worker: its own state contradicts what the server has of it."""

    lane: Lane
    reason: str


@dataclass(frozen=True, slots=True)
class Opened:
    """Worker: records may flow, from these marks on."""

    marks: Mapping[Lane, int]


@dataclass(frozen=True, slots=True)
class SafeUpTo:
    """Worker: records of the lane up to `seq` are committed."""

    lane: Lane
    seq: int


@dataclass(frozen=True, slots=True)
class SetReceived:
    """Worker: a new set, genuine and newer than what is held."""

    generation: int
    hash: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class CleanUpAsked:
    """Worker: forget acknowledged records from before this instant (microseconds, UTC)."""

    before: int


@dataclass(frozen=True, slots=True)
class OfferReceived:
    """Worker: a start outside the set, genuine and meant for this session."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class CancelReceived:
    """Worker: a run is to end, or a start that waits to be given up; genuine, as above."""

    cancel: Cancel


@dataclass(frozen=True, slots=True)
class ClockMeasured:
    """The other side's clock is ahead of ours by so many microseconds."""

    offset_us: int


@dataclass(frozen=True, slots=True)
class HelloReceived:
    """Server: look the worker up, then call `answer`."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class ConfirmEpoch:
    """Server: commit this epoch if it is higher than the last one, then call `confirmed`."""

    epoch: int


@dataclass(frozen=True, slots=True)
class ForkReported:
    """Server: raise the alarm; this worker's state directory is a copy or was rolled back."""

    reason: str


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A record that is none of ours, to be kept raw."""

    seq: int
    data: bytes
    error: str


@dataclass(frozen=True, slots=True)
class RecordsReceived:
    """Server: commit these records with the mark's advance to `last_seq` and `tag`, then call
    `committed`. `size` is what they cost of the credit, in bytes."""

    lane: Lane
    first_seq: int
    last_seq: int
    tag: bytes
    records: tuple[Record | Undecodable, ...]
    size: int


@dataclass(frozen=True, slots=True)
class OfferAnswered:
    """Server: the worker has an order, or will not."""

    answer: OfferAnswer


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A message of a newer minor version, which may be passed over."""

    tag: int


WorkerEvent: TypeAlias = (
    Send
    | Close
    | Welcomed
    | StoreEpoch
    | TellEpoch
    | RefusedBy
    | ForkFound
    | Opened
    | SafeUpTo
    | SetReceived
    | CleanUpAsked
    | OfferReceived
    | CancelReceived
    | ClockMeasured
    | UnknownMessage
)
ServerEvent: TypeAlias = (
    Send
    | Close
    | HelloReceived
    | ConfirmEpoch
    | ForkReported
    | RecordsReceived
    | OfferAnswered
    | ClockMeasured
    | UnknownMessage
)


class Stage(enum.Enum):
    """Where a session stands; each message is welcome in some of them only."""

    GREETING = "greeting"
    JUDGING = "judging"
    HOLDING = "holding"
    DOUBTING = "doubting"
    CONFIRMING = "confirming"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(slots=True)
class Pulse:
    """Signs of life, both ways: when to send one, when to give up, how far the clocks differ.

    `boottime` is seconds of CLOCK_BOOTTIME, `now` microseconds of the wall clock, UTC.
    """

    heard_at: float
    sent_at: float
    peer_sent_at: int | None = None
    peer_received_at: int | None = None

    def beat(self, now: int, boottime: float) -> Heartbeat | None:
        """A heartbeat, if one is due."""
        if boottime < self.sent_at + HEARTBEAT_S:
            return None
        self.sent_at = boottime
        return Heartbeat(
            sent_at=now, echo=self.peer_sent_at, echo_received_at=self.peer_received_at
        )

    def heard(self, beat: Heartbeat, now: int) -> int | None:
        """Note a heartbeat of the peer; the clock's offset where it answers one of ours
        (RFC 5905 section 8: half of the two one-way differences)."""
        self.peer_sent_at = beat.sent_at
        self.peer_received_at = now
        if beat.echo is None or beat.echo_received_at is None:
            return None
        return ((beat.echo_received_at - beat.echo) + (beat.sent_at - now)) // 2

    def silent(self, boottime: float) -> bool:
        """Was nothing heard for too long?"""
        return boottime >= self.heard_at + SILENCE_S

    def next_due(self) -> float:
        """The boottime at which `beat` or `silent` has something to say."""
        return min(self.sent_at + HEARTBEAT_S, self.heard_at + SILENCE_S)


def set_signature_parts(
    nonce: bytes, worker_uid: bytes, generation: int, set_hash: bytes
) -> tuple[bytes, ...]:
    """What the signature of a set covers: no set serves another session, worker or version."""
    return (b"set", nonce, worker_uid, str(generation).encode(), set_hash)


def order_signature_parts(
    nonce: bytes, worker_uid: bytes, order: Offer | Cancel
) -> tuple[bytes, ...]:
    """What the signature of an offer or a cancel covers: all that it says, for one worker and one
    session."""
    word, number = (b"offer", order.number) if isinstance(order, Offer) else (b"cancel", 0)
    unsigned = TO_WORKER.encode(msgspec.structs.replace(order, signature=b""))
    digest = hashlib.sha256(unsigned).digest()
    return (word, nonce, worker_uid, order.run_id, str(number).encode(), digest)


@dataclass(slots=True)
class _SetParts:
    """A set that arrives in pieces."""

    head: SignedSet
    bodies: list[bytes] = field(default_factory=list)


class WorkerSession:
    """The worker's end. `server_key` is the pinned key of the server; `hello` what is held."""

    def __init__(self, hello: Hello, server_key: envelope.PublicKey, boottime: float) -> None:
        self.stage = Stage.GREETING
        self.credit = 0
        self.sent: dict[Lane, int] = {Lane.STATE: 0, Lane.OUTPUT: 0}
        self.generation = hello.generation
        self._hello = hello
        self._key = server_key
        self._nonce = b""
        self._epoch = 0
        self._marks: dict[Lane, Mark] = {}
        self._pulse = Pulse(boottime, boottime)
        self._parts: _SetParts | None = None

    def open(self) -> list[WorkerEvent]:
        """The first frame."""
        return [Send(FROM_WORKER.encode(self._hello))]

    def next_due(self) -> float:
        """When `tick` has to be called at the latest, in seconds of boottime."""
        return self._pulse.next_due()

    def tick(self, now: int, boottime: float) -> list[WorkerEvent]:
        """Heartbeats, and the end of a link that has gone silent."""
        if self.stage is Stage.CLOSED:
            return []
        if self._pulse.silent(boottime):
            return [self._close(f"nothing heard from the server for {SILENCE_S:.0f} s")]
        beat = self._pulse.beat(now, boottime)
        return [] if beat is None else [Send(FROM_WORKER.encode(beat))]

    def receive(self, frame: bytes, now: int, boottime: float) -> list[WorkerEvent]:
        """What a frame of the server's means. Raises `ProtocolError` where it breaks the rules."""
        if self.stage is Stage.CLOSED:
            return []
        self._pulse.heard_at = boottime
        message = _decode(TO_WORKER, frame)
        match message:
            case Heartbeat():
                offset = self._pulse.heard(message, now)
                return [] if offset is None else [ClockMeasured(offset)]
            case Closing(reason=reason):
                return [self._close(f"the server left: {reason}" if reason else "the server left")]
            case Refused(code=code, reason=reason):
                return [RefusedBy(code, reason), self._close(reason)]
            case Unknown(tag=tag):
                return [UnknownMessage(tag)]
            case Welcome() if self.stage is Stage.GREETING:
                self.stage = Stage.JUDGING
                self._nonce = message.nonce
                self._epoch = message.epoch
                self._marks = {Lane.STATE: message.state, Lane.OUTPUT: message.output}
                return [Welcomed(message)]
            case Doubt() if self.stage is Stage.GREETING:
                self.stage = Stage.DOUBTING
                return [TellEpoch()]
            case Ready(credit=credit) if self.stage is Stage.HOLDING:
                self.stage = Stage.OPEN
                self.credit = credit
                self.sent = {lane: mark.seq for lane, mark in self._marks.items()}
                for lane, state in self._lanes():
                    # What the worker no longer holds was recorded as a gap by the server.
                    self.sent[lane] = max(self.sent[lane], state.first - 1)
                return [Opened(dict(self.sent))]
            case Acknowledged(lane=lane, seq=seq) if self.stage is Stage.OPEN:
                return [self._acknowledged(_lane(lane), seq)]
            case Credit(bytes_=more) if self.stage is Stage.OPEN:
                self.credit += more
                return []
            case SignedSet() if self.stage is Stage.OPEN:
                return self._set_part(message)
            case CleanUp(before=before) if self.stage is Stage.OPEN:
                return [CleanUpAsked(before)]
            case Offer() if self.stage is Stage.OPEN:
                self._check_order(message)
                return [OfferReceived(message)]
            case Cancel() if self.stage is Stage.OPEN:
                self._check_order(message)
                return [CancelReceived(message)]
            case _:
                raise ProtocolError(
                    f"the server sent {type(message).__name__} while {self.stage.value}"
                )

    def judge(self, own_tags: Mapping[Lane, bytes | None]) -> list[WorkerEvent]:
        """Compare the server's marks with the own records' tags at those numbers (None where the
        worker no longer holds any): a contradiction is a fork, else the epoch is to be stored."""
        for lane, state in self._lanes():
            mark = self._marks[lane]
            own = own_tags.get(lane)
            if mark.seq > state.last:
                reason = (
                    f"the server has {lane.name.lower()} record {mark.seq}, "
                    f"this worker's last is {state.last}"
                )
            elif own is not None and own != mark.tag:
                reason = f"{lane.name.lower()} record {mark.seq} here is not the one the server has"
            else:
                continue
            forked = Forked(lane=lane, reason=reason)
            return [
                Send(FROM_WORKER.encode(forked)),
                ForkFound(lane, reason),
                self._close(f"fork: {reason}"),
            ]
        return [StoreEpoch(self._epoch)]

    def epoch_stored(self, epoch: int) -> list[WorkerEvent]:
        """The journal holds this epoch now: say so."""
        if self.stage is Stage.JUDGING:
            self.stage = Stage.HOLDING
        return [Send(FROM_WORKER.encode(EpochHeld(epoch=epoch)))]

    def may_send(self) -> bool:
        """Is there credit for another batch of records?"""
        return self.stage is Stage.OPEN and self.credit > 0

    def batch(self, lane: Lane, records: Sequence[bytes]) -> Send:
        """The next records of a lane, right after `sent[lane]`, as one frame; costs credit."""
        if not self.may_send():
            raise ProtocolError("no credit to send records")
        first = self.sent[lane] + 1
        self.sent[lane] += len(records)
        self.credit -= cost(records)
        return Send(FROM_WORKER.encode(Batch(lane=lane, first_seq=first, records=list(records))))

    def answer_offer(self, answer: OfferAnswer) -> Send:
        """What became of an order."""
        return Send(FROM_WORKER.encode(answer))

    def leave(self, reason: str) -> list[WorkerEvent]:
        """Goodbye, in order."""
        if self.stage is Stage.CLOSED:
            return []
        goodbye = Send(FROM_WORKER.encode(Closing(reason=reason)))
        return [goodbye, self._close(reason)]

    def _lanes(self) -> tuple[tuple[Lane, LaneState], ...]:
        return ((Lane.STATE, self._hello.state), (Lane.OUTPUT, self._hello.output))

    def _acknowledged(self, lane: Lane, seq: int) -> SafeUpTo:
        if seq > self.sent[lane]:
            raise ProtocolError(
                f"{lane.name.lower()} record {seq} was acknowledged, "
                f"but only {self.sent[lane]} were sent"
            )
        return SafeUpTo(lane, seq)

    def _set_part(self, part: SignedSet) -> list[WorkerEvent]:
        if part.part == 0:
            self._parts = _SetParts(part)
        parts = self._parts
        if (
            parts is None
            or part.part != len(parts.bodies)
            or (part.generation, part.hash, part.parts)
            != (parts.head.generation, parts.head.hash, parts.head.parts)
        ):
            raise ProtocolError("the parts of a set of schedules do not fit together")
        parts.bodies.append(part.body)
        if len(parts.bodies) < part.parts:
            return []
        self._parts = None
        body = b"".join(parts.bodies)
        if hashlib.sha256(body).digest() != part.hash:
            raise ProtocolError("a set of schedules does not have the hash it says")
        envelope.verify(
            self._key,
            parts.head.signature,
            *set_signature_parts(self._nonce, self._hello.uid, part.generation, part.hash),
        )
        if part.generation <= self.generation:
            raise ProtocolError(
                f"set of schedules {part.generation} is not newer than {self.generation}"
            )
        self.generation = part.generation
        return [SetReceived(part.generation, part.hash, body)]

    def _check_order(self, order: Offer | Cancel) -> None:
        parts = order_signature_parts(self._nonce, self._hello.uid, order)
        envelope.verify(self._key, order.signature, *parts)

    def _close(self, reason: str) -> Close:
        self.stage = Stage.CLOSED
        return Close(reason)


class ServerSession:
    """The server's end. `nonce` is 16 random bytes, fresh for each session."""

    def __init__(self, nonce: bytes, version: str, boottime: float) -> None:
        self.stage = Stage.GREETING
        self.hello: Hello | None = None
        self.epoch = 0
        self.outstanding = 0
        self._nonce = nonce
        self._version = version
        self._pulse = Pulse(boottime, boottime)
        self._marks: dict[Lane, Mark] = {}
        self._confirmed_epoch = 0

    @property
    def peer(self) -> Hello:
        """What the worker said of itself; there is one from `HelloReceived` on."""
        if self.hello is None:
            raise ProtocolError("the worker has not said hello")
        return self.hello

    def mark(self, lane: Lane) -> Mark:
        """The last record of the lane that was received in this session, or committed before."""
        return self._marks[lane]

    def next_due(self) -> float:
        """When `tick` has to be called at the latest, in seconds of boottime."""
        return self._pulse.next_due()

    def tick(self, now: int, boottime: float) -> list[ServerEvent]:
        """Heartbeats, and the end of a link that has gone silent."""
        if self.stage is Stage.CLOSED:
            return []
        if self._pulse.silent(boottime):
            return [self._close(f"nothing heard for {SILENCE_S:.0f} s")]
        beat = self._pulse.beat(now, boottime)
        return [] if beat is None else [Send(TO_WORKER.encode(beat))]

    def receive(self, frame: bytes, now: int, boottime: float) -> list[ServerEvent]:
        """What a frame of the worker's means. Raises `ProtocolError` where it breaks the rules."""
        if self.stage is Stage.CLOSED:
            return []
        self._pulse.heard_at = boottime
        message = _decode(FROM_WORKER, frame)
        match message:
            case Heartbeat():
                offset = self._pulse.heard(message, now)
                return [] if offset is None else [ClockMeasured(offset)]
            case Closing(reason=reason):
                return [self._close(f"the worker left: {reason}" if reason else "the worker left")]
            case Unknown(tag=tag) if self.hello is not None:
                return [UnknownMessage(tag)]
            case Hello() if self.stage is Stage.GREETING:
                self.stage = Stage.JUDGING
                self.hello = message
                return [HelloReceived(message)]
            case Forked(reason=reason) if self.stage is Stage.HOLDING:
                return [ForkReported(reason), *self.refuse("fork", _fork_text(reason))]
            case EpochHeld(epoch=epoch) if self.stage is Stage.HOLDING:
                if epoch != self.epoch:
                    raise ProtocolError(f"epoch {epoch} was confirmed instead of {self.epoch}")
                self.stage = Stage.CONFIRMING
                return [ConfirmEpoch(epoch)]
            case EpochHeld(epoch=epoch) if self.stage is Stage.DOUBTING:
                if epoch < self._confirmed_epoch:
                    reason = (
                        f"this worker holds epoch {epoch}, the server has seen it "
                        f"confirm {self._confirmed_epoch}"
                    )
                    return [ForkReported(reason), *self.refuse("fork", _fork_text(reason))]
                return [self._close("the hello was older than what the worker holds now")]
            case Batch() if self.stage is Stage.OPEN:
                return [self._batch(message)]
            case OfferAnswer() if self.stage is Stage.OPEN:
                return [OfferAnswered(message)]
            case _:
                raise ProtocolError(
                    f"the worker sent {type(message).__name__} while {self.stage.value}"
                )

    def answer(
        self,
        confirmed_epoch: int,
        marks: Mapping[Lane, Mark],
        now: int,
        offers: Sequence[Asked] = (),
    ) -> list[ServerEvent]:
        """Answer the Hello: welcome it, or doubt it where its epoch is below the confirmed one.

        A mark of a spool that the store never saw is `Mark()`; the one for a spool that lost its
        head (see `gap`) is where the worker's records begin. `offers` are those of earlier
        sessions of which the worker is to say what became; at most `ASKED_MOST` are asked at once.
        """
        self._confirmed_epoch = confirmed_epoch
        if self.peer.epoch < confirmed_epoch:
            self.stage = Stage.DOUBTING
            return [Send(TO_WORKER.encode(Doubt(confirmed_epoch=confirmed_epoch)))]
        self.stage = Stage.HOLDING
        self.epoch = max(confirmed_epoch, self.peer.epoch) + 1
        self._marks = dict(marks)
        welcome = Welcome(
            epoch=self.epoch,
            nonce=self._nonce,
            state=self._marks[Lane.STATE],
            output=self._marks[Lane.OUTPUT],
            version=self._version,
            now=now,
            offers=list(offers[:ASKED_MOST]),
        )
        return [Send(TO_WORKER.encode(welcome))]

    def refuse(self, code: str, reason: str) -> list[ServerEvent]:
        """Will not talk to this worker: say why, and end."""
        return [Send(TO_WORKER.encode(Refused(code=code, reason=reason))), self._close(reason)]

    def gap(self, lane: Lane) -> Mark | None:
        """Where the worker no longer holds what the server lacks: the mark to go on from."""
        state = self.peer.state if lane is Lane.STATE else self.peer.output
        if state.first > self._marks[lane].seq + 1:
            return Mark(seq=state.first - 1, tag=state.before_tag)
        return None

    def knows_less(self) -> bool:
        """Has the server less of a lane than the worker saw acknowledged? Then it was restored
        from an older copy (DESIGN section 6)."""
        hello = self.peer
        return any(
            state.acknowledged > self._marks[lane].seq
            for lane, state in ((Lane.STATE, hello.state), (Lane.OUTPUT, hello.output))
        )

    def gap_recorded(self, lane: Lane, mark: Mark) -> None:
        """The store has moved the lane's mark over a gap."""
        self._marks[lane] = mark

    def confirmed(self, committed: bool, credit: int) -> list[ServerEvent]:
        """The epoch was committed, or another session was quicker."""
        if self.stage is Stage.CLOSED:
            return []
        if not committed:
            return [self._close("another connection of this worker was confirmed meanwhile")]
        self.stage = Stage.OPEN
        self.outstanding = credit
        return [Send(TO_WORKER.encode(Ready(credit=credit)))]

    def push_set(self, generation: int, body: bytes, key: envelope.SigningKey) -> list[ServerEvent]:
        """A set of schedules, signed for this session, in as many frames as it needs."""
        set_hash = hashlib.sha256(body).digest()
        signature = envelope.sign(
            key, *set_signature_parts(self._nonce, self.peer.uid, generation, set_hash)
        )
        bodies = [body[i : i + SET_PART_BYTES] for i in range(0, len(body), SET_PART_BYTES)]
        return [
            Send(
                TO_WORKER.encode(
                    SignedSet(
                        generation=generation,
                        hash=set_hash,
                        signature=signature,
                        part=number,
                        parts=max(1, len(bodies)),
                        body=part,
                    )
                )
            )
            for number, part in enumerate(bodies or [b""])
        ]

    def committed(self, lane: Lane, seq: int) -> list[ServerEvent]:
        """Records up to `seq` are committed: acknowledge them."""
        if self.stage is not Stage.OPEN:
            return []
        return [Send(TO_WORKER.encode(Acknowledged(lane=lane, seq=seq)))]

    def grant(self, credit: int) -> list[ServerEvent]:
        """Let the worker send `credit` bytes more."""
        if self.stage is not Stage.OPEN:
            return []
        self.outstanding += credit
        return [Send(TO_WORKER.encode(Credit(bytes_=credit)))]

    def order(self, message: CleanUp) -> list[ServerEvent]:
        """Ask something of the worker."""
        return [Send(TO_WORKER.encode(message))] if self.stage is Stage.OPEN else []

    def signed_order(self, message: Offer | Cancel, key: envelope.SigningKey) -> list[ServerEvent]:
        """Have the worker start or end something: signed, for this session."""
        if self.stage is not Stage.OPEN:
            return []
        signature = envelope.sign(key, *order_signature_parts(self._nonce, self.peer.uid, message))
        return [Send(TO_WORKER.encode(msgspec.structs.replace(message, signature=signature)))]

    def leave(self, reason: str) -> list[ServerEvent]:
        """Goodbye, in order."""
        if self.stage is Stage.CLOSED:
            return []
        goodbye = Send(TO_WORKER.encode(Closing(reason=reason)))
        return [goodbye, self._close(reason)]

    def _batch(self, batch: Batch) -> RecordsReceived:
        lane = _lane(batch.lane)
        before = self._marks[lane]
        if batch.first_seq != before.seq + 1 or not batch.records:
            raise ProtocolError(
                f"{lane.name.lower()} records {batch.first_seq} and on follow {before.seq}"
            )
        size = cost(batch.records)
        if self.outstanding <= 0:
            raise ProtocolError("records were sent without credit")
        self.outstanding -= size
        record_codec = STATE_RECORD if lane is Lane.STATE else OUTPUT_RECORD
        tag = before.tag
        records: list[Record | Undecodable] = []
        for number, data in enumerate(batch.records, batch.first_seq):
            tag = next_tag(tag, data)
            try:
                record = record_codec.decode(data)
            except CodecError as error:
                records.append(Undecodable(number, data, str(error)))
                continue
            if isinstance(record, Unknown):
                kind = f"record of unknown kind {record.tag}"
                records.append(Undecodable(number, data, kind))
            else:
                records.append(record)
        last = batch.first_seq + len(records) - 1
        self._marks[lane] = Mark(seq=last, tag=tag)
        return RecordsReceived(lane, batch.first_seq, last, tag, tuple(records), size)

    def _close(self, reason: str) -> Close:
        self.stage = Stage.CLOSED
        return Close(reason)


def cost(records: Sequence[bytes]) -> int:
    """What records cost of the credit, in bytes: the same count at both ends."""
    return sum(map(len, records)) + RECORD_OVERHEAD * len(records)


def _decode(message: Codec[object], frame: bytes) -> object:
    try:
        return message.decode(frame)
    except CodecError as error:
        raise ProtocolError(f"a frame that cannot be read: {error}") from error


def _lane(value: int) -> Lane:
    try:
        return Lane(value)
    except ValueError as error:
        raise ProtocolError(f"there is no lane {value}") from error


def _fork_text(reason: str) -> str:
    return (
        f"{reason}. Its state directory was copied or rolled back: stop the copy; to go on with "
        "what is here, `barto-cli worker reset NAME` on the server"
    )
