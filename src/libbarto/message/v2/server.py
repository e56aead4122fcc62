"""What the server says to a worker, from `Welcome` to acknowledgements and new sets."""

from __future__ import annotations

from typing import Annotated

from libbarto.codec import I64, U8, U16, U32, U64, V2, Codec, Extensible, Id, Variants, codec
from libbarto.message.v2.link import Closing, Heartbeat


class Mark(Extensible):
    """How far the server has committed a lane: record `seq`, whose tag is `tag`."""

    seq: U64 = 0
    tag: bytes = bytes(8)


class Asked(Extensible):
    """What became of an old offer? Answered by a state record: the claim, or `OfferRefused`."""

    run_id: Id
    number: U64


class Welcome(Extensible):
    """Answers `Hello`: the epoch to store, what the server has, and how the two will talk."""

    epoch: U64
    nonce: Id
    state: Mark = Mark()
    output: Mark = Mark()
    version: str = ""
    minor: U32 = 0
    now: I64 = 0
    offers: list[Asked] = []


class Doubt(Extensible):
    """The `Hello` had an epoch below the last confirmed one: say what is held *now*."""

    confirmed_epoch: U64


class Refused(Extensible):
    """The server will not talk to this worker: why, and what to do. The connection ends."""

    code: str
    reason: str


class Ready(Extensible):
    """The epoch is confirmed: records are accepted from now on, up to `credit` bytes of them."""

    credit: U64


class Acknowledged(Extensible):
    """Every record of the lane up to `seq` is committed."""

    lane: U8
    seq: U64


class Credit(Extensible):
    """`bytes_` more bytes of records may be sent."""

    bytes_: U64


class SignedSet(Extensible):
    """What the worker is to do from now on, or one part of it.

    A set that fits no frame travels in `parts` pieces, numbered from 0; `body` is the encoded
    `ScheduleSet`, cut at any byte. The signature is Ed25519 over the netstrings of "set", the
    session's nonce, the worker's uid, the generation in decimal and the SHA-256 of the whole body.
    """

    generation: U64
    hash: bytes
    signature: bytes
    part: U32 = 0
    parts: U32 = 1
    body: bytes


class CleanUp(Extensible):
    """Forget what was acknowledged before `before` (microseconds, UTC)."""

    before: I64


class Offer(Extensible):
    """A start that the worker does not make by itself: it claims it, or refuses it for good.

    `spec` is the encoded `Schedule`, whole, so that it starts whatever the worker's set holds.
    `number` counts the offers of this start, from 1; an order to named workers has one alone. It
    is void `valid_us` of the worker's CLOCK_BOOTTIME after it came in. `until` is the last instant
    at which it may start. The signature is Ed25519 over the netstrings of "offer", the session's
    nonce, the worker's uid, the run's id, the number in decimal, and the SHA-256 of the whole
    encoded message with an empty signature. A spec that fits no frame is refused by the server.
    """

    request: Id
    run_id: Id
    kind: U8
    schedule_uid: Id
    slot: I64
    cause: bytes = b""
    number: U64 = 1
    attempt: U16 = 1
    spec: bytes = b""
    valid_us: U64 = 10_000_000
    until: I64 | None = None
    signature: bytes = b""


class Cancel(Extensible):
    """End a run, or a start that waits: TERM, then KILL, the whole tree; who asked, for `reason`.

    Signed as `Offer` is, with "cancel" for "offer" and 0 for the number.
    """

    request: Id
    run_id: Id
    reason: str = ""
    signature: bytes = b""


ToWorker = Annotated[
    Welcome
    | Doubt
    | Refused
    | Ready
    | Acknowledged
    | Credit
    | SignedSet
    | Heartbeat
    | CleanUp
    | Offer
    | Closing
    | Cancel,
    Variants(extensible=True),
]

TO_WORKER: Codec[object] = codec(ToWorker, V2)
