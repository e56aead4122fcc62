"""What barto-cli 1.x asks the server: one request a connection (protocol-v1.md section 3.1)."""

from __future__ import annotations

from typing import Annotated, Final

from libbarto.codec import V1, Codec, Struct, Variants, codec
from libbarto.message.v1.shared import UpdateKind


class Info(Struct):
    """What the server is; `json` asks for `InfoJsonReply`."""

    json: bool


class Updates(Struct):
    """Which updates the output of worker `name` tells of."""

    name: str
    kind: UpdateKind


class Cleanup(Struct):
    """Delete what was stored before local midnight, on server and workers."""


class Clients(Struct):
    """Who is connected."""


class Query(Struct):
    """Any SQL."""

    query: str


class List(Struct):
    """The output of worker `name`'s command `cmd_name`."""

    name: str
    cmd_name: str


class ListCommands(Struct):
    """The commands of worker `name`."""

    name: str


class Failed(Struct):
    """The output of what failed."""


class Cmd(Struct):
    """The output of command `cmd_name` on every worker."""

    cmd_name: str


class ClientVersions(Struct):
    """The versions of who is connected."""


BartoCli = Annotated[
    Info
    | Updates
    | Cleanup
    | Clients
    | Query
    | List
    | ListCommands
    | Failed
    | Cmd
    | ClientVersions,
    Variants(),
]

BARTO_CLI: Final[Codec[object]] = codec(BartoCli, V1, limit=1 << 20)
"""CLI to server: at most 1 MiB, which is what a server of barto 1.x takes (section 1)."""
