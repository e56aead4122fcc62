"""What the server of barto 1.x says: orders to workers, often sealed, and answers to the CLI.

The orders are protocol-v1.md section 3.4, the answers section 3.2. An answer is named after its
variant with `Reply` behind it, for the requests have the same names.
"""

from __future__ import annotations

from typing import Annotated, Final

from libbarto.codec import F64, I8, U8, U64, V1, Codec, Mapped, Struct, UuidText, Variants, codec
from libbarto.message.v1.shared import BartocInfo, OffsetDateTime


class Schedule(Struct):
    """When, in the calendar grammar of barto 1.x (section 10), and what."""

    name: str
    on_calendar: str
    cmds: list[str]


class Schedules(Struct):
    """All schedules of one worker."""

    schedules: list[Schedule]


class Initialize(Struct):
    """The session's id, and all that the worker is to do; what it had before is forgotten."""

    id: UuidText
    schedules: Schedules


class Cleanup(Struct):
    """Delete what was stored before local midnight."""


BartosToBartoc = Annotated[Initialize | Cleanup, Variants()]


def _absent(present: bool) -> None:
    if present:
        raise ValueError("a prefix or suffix, whose layout nobody knows")


Absent = Annotated[None, Mapped(bool, _absent, bool)]
"""What `PrettyExt` may carry beside its lines, and no server of barto 1.x sends: always None."""


class PrettyExt(Struct):
    """The server's build facts, each with category, label and value."""

    vars: list[tuple[str, str, str]]
    prefix: Absent = None
    suffix: Absent = None


class Garuda(Struct):
    """A package that Garuda's update would change."""

    channel: str
    package: str
    old_version: str
    new_version: str
    size_change: str
    download_size: str


class Pacman(Struct):
    """What pacman would update; sizes in MiB."""

    update_count: U64
    packages: list[str]
    install_size: F64
    net_size: F64
    download_size: F64


class GarudaUpdates(Struct):
    """Updates that Garuda's own command named."""

    updates: list[Garuda]


class PacmanUpdates(Struct):
    """Updates that pacman named."""

    updates: Pacman


class CachyosUpdates(Struct):
    """Updates that CachyOS's pacman named."""

    updates: Pacman


class AptUpdates(Struct):
    """Names of packages that apt would upgrade."""

    packages: list[str]


ResponseUpdateKind = Annotated[
    GarudaUpdates | PacmanUpdates | CachyosUpdates | AptUpdates, Variants()
]


class ClientData(Struct):
    """A connected worker: its address without a port, and its host once it has told."""

    name: str
    ip: str
    bartoc_info: BartocInfo | None


class ListOutput(Struct):
    """A line of output with the exit status of its command; `success` is 0 or 1."""

    timestamp: OffsetDateTime | None
    data: str | None
    exit_code: U8
    success: I8


class FailedOutput(Struct):
    """A line of output of a command that failed; `success` is 0 or 1."""

    timestamp: OffsetDateTime | None
    bartoc_name: str | None
    cmd_name: str | None
    data: str | None
    exit_code: U8
    success: I8


class InfoReply(Struct):
    """The server's build facts."""

    info: PrettyExt


class InfoJsonReply(Struct):
    """The server's build facts as a JSON object."""

    json: str


class UpdatesReply(Struct):
    """The updates found in a worker's output."""

    updates: ResponseUpdateKind


class CleanupReply(Struct):
    """How many rows of output and of exit status went, and how many workers were told."""

    counts: tuple[U64, U64, U64]


class ClientsReply(Struct):
    """The connected workers by session id."""

    clients: dict[UuidText, ClientData]


class QueryReply(Struct):
    """Rows by their number from 0, each with its cells by column, as text."""

    rows: dict[U64, dict[str, str]]


class ListReply(Struct):
    """The lines of one worker's command."""

    lines: list[ListOutput]


class FailedReply(Struct):
    """The lines of all commands that failed."""

    lines: list[FailedOutput]


class ListCommandsReply(Struct):
    """The names of a worker's commands."""

    names: list[str]


class CmdReply(Struct):
    """The lines of one command by worker."""

    lines: dict[str, list[ListOutput]]


class ClientVersionsReply(Struct):
    """The version of each connected worker by name, or `unknown`."""

    versions: dict[str, str]


BartosToBartoCli = Annotated[
    InfoReply
    | InfoJsonReply
    | UpdatesReply
    | CleanupReply
    | ClientsReply
    | QueryReply
    | ListReply
    | FailedReply
    | ListCommandsReply
    | CmdReply
    | ClientVersionsReply,
    Variants(),
]

BARTOS_TO_BARTOC: Final[Codec[object]] = codec(BartosToBartoc, V1, limit=1 << 24)
"""Server to worker, inside the seal: 16 MiB, as much as 1.x takes in a frame (section 1)."""
BARTOS_TO_BARTO_CLI: Final[Codec[object]] = codec(BartosToBartoCli, V1, limit=1 << 24)
"""Server to CLI: 16 MiB, as much as 1.x takes in a frame (section 1)."""
