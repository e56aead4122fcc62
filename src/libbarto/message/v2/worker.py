"""What a worker says to the server, from `Hello` to the last batch of records."""

from __future__ import annotations

from typing import Annotated

from libbarto.codec import I64, U8, U32, U64, V2, Codec, Extensible, Id, Variants, codec
from libbarto.message.v2.link import Closing, Heartbeat


class LaneState(Extensible):
    """What a worker holds of a lane: numbers `first` to `last`, `acknowledged` of them safe.

    Where it holds nothing, `first` is `last` + 1. `tag` is that of record `last`, `before_tag`
    that of the record before `first`.
    """

    first: U64 = 1
    last: U64 = 0
    tag: bytes = bytes(8)
    before_tag: bytes = bytes(8)
    acknowledged: U64 = 0


class Capabilities(Extensible):
    """What the worker's host is, in its own words."""

    os: str = ""
    os_version: str = ""
    kernel: str = ""
    arch: str = ""
    hostname: str = ""
    cpus: U32 = 0
    memory: U64 = 0
    shells: list[str] = []
    user: str = ""
    roaming: bool = False


class Hello(Extensible):
    """The first frame of a session: who this is, and what it holds (DESIGN section 6)."""

    uid: Id
    name: str
    version: str
    minor: U32 = 0
    spool_id: Id
    epoch: U64 = 0
    generation: U64 = 0
    set_hash: bytes = b""
    state: LaneState = LaneState()
    output: LaneState = LaneState()
    labels: dict[str, str] = {}
    capabilities: Capabilities = Capabilities()
    boot_id: Id = bytes(16)
    now: I64 = 0


class EpochHeld(Extensible):
    """The epoch that the worker now holds, durably: answers `Welcome` and `Doubt`."""

    epoch: U64


class Forked(Extensible):
    """The worker found that its state is a copy or was rolled back; it stops here."""

    lane: U8
    reason: str


class Batch(Extensible):
    """Records `first_seq` and on of a lane, each encoded by itself, in order, without a gap."""

    lane: U8
    first_seq: U64
    records: list[bytes]


class OfferAnswer(Extensible):
    """What was heard: an `Offer` came in (its claim or refusal follows as a state record), or a
    `Cancel` found something to end (`accepted`), or nothing (`reason`)."""

    request: Id
    accepted: bool
    reason: str = ""


FromWorker = Annotated[
    Hello | EpochHeld | Forked | Batch | Heartbeat | OfferAnswer | Closing,
    Variants(extensible=True),
]

FROM_WORKER: Codec[object] = codec(FromWorker, V2)
