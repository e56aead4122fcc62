"""What a worker of barto 1.x says to the server: who it is, and what its commands printed.

Binary frames, never sealed (protocol-v1.md section 3.3).
"""

from __future__ import annotations

from typing import Annotated, Final

from libbarto.codec import I32, V1, Codec, Struct, Tag, UuidText, Variants, codec
from libbarto.message.v1.shared import BartocInfo, OffsetDateTime, OutputKind


class Output(Struct):
    """One line that a command printed.

    `bartoc_uuid` is the session's id from `Initialize` when the command was started; `cmd_uuid` is
    new for each command that is run; `cmd_name` is its schedule's name.
    """

    bartoc_uuid: UuidText
    bartoc_name: str
    timestamp: OffsetDateTime
    cmd_uuid: UuidText
    cmd_name: str
    kind: Annotated[OutputKind, Tag("u8")]
    data: str


class Status(Struct):
    """How a command ended; `exit_code` is None where a signal ended it."""

    cmd_uuid: UuidText
    timestamp: OffsetDateTime
    exit_code: I32 | None
    success: bool


Data = Annotated[Output | Status, Variants(tag="u8")]


class Record(Struct):
    """A line or an end, once, never acknowledged."""

    data: Data


class ClientInfo(Struct):
    """The first frame of a session: what the worker's host is."""

    info: BartocInfo


Bartoc = Annotated[Record | ClientInfo, Variants()]

BARTOC: Final[Codec[object]] = codec(Bartoc, V1, limit=1 << 20)
"""Worker to server: at most 1 MiB, which is what a server of barto 1.x takes (section 1)."""
