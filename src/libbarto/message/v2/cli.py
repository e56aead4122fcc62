"""What barto-cli asks and the server answers over the websocket: the commands of barto 1.x.

A request gets one table: its columns, then rows in as many frames as they need, then `Done`; or
`Failed`. Everything else that the command line can do goes over the HTTP API.
"""

from __future__ import annotations

import enum
from typing import Annotated

from libbarto.codec import F64, I64, U8, U64, V2, Codec, Extensible, Variants, codec


class UpdateKind(enum.IntEnum):
    """Whose output `updates` reads; the numbers are those of barto 1.x."""

    GARUDA = 0
    PACMAN = 1
    CACHYOS = 2
    APT = 3


class Info(Extensible):
    """Version, commit, Python, store and files of the server."""


class Clients(Extensible):
    """Every worker that the server knows, connected or not."""


class List(Extensible):
    """The newest runs of a worker's schedule with output; without one, the names of schedules.

    Both the order of runs and that of lines is the order in time.
    """

    name: str
    cmd_name: str | None = None
    limit: U64 = 100


class FailedRuns(Extensible):
    """Runs that did not end ok, newest first."""

    limit: U64 = 1000


class Cmd(Extensible):
    """The newest runs of one schedule on every worker, with their output."""

    cmd_name: str
    limit: U64 = 100


class Query(Extensible):
    """One SELECT of the operator's, on a connection that can only read."""

    query: str


class Cleanup(Extensible):
    """Apply the retention now; with `older_than_us`, drop what ended longer ago than that.

    With `dry_run` nothing is dropped, and the counts are what would be.
    """

    older_than_us: U64 | None = None
    dry_run: bool = False


class Updates(Extensible):
    """Which packages a worker's last successful update check named."""

    name: str
    kind: U8


class WorkerAdd(Extensible):
    """A join code for a worker that is to be called `name`."""

    name: str
    labels: dict[str, str] = {}


CliRequest = Annotated[
    Info | Clients | List | FailedRuns | Cmd | Query | Cleanup | Updates | WorkerAdd,
    Variants(extensible=True),
]


class Null(Extensible):
    """No value (SQL's NULL)."""


class Text(Extensible):
    value: str


class Integer(Extensible):
    value: I64


class Real(Extensible):
    value: F64


class Flag(Extensible):
    value: bool


class Blob(Extensible):
    value: bytes


class Moment(Extensible):
    """An instant, in microseconds since 1970, UTC."""

    value: I64


Value = Annotated[Null | Text | Integer | Real | Flag | Blob | Moment, Variants(extensible=True)]


class Columns(Extensible):
    """The table's columns, in order."""

    names: list[str]


class Rows(Extensible):
    """More rows of the table, each with a value for each column."""

    rows: list[list[Value]]


class Done(Extensible):
    """The table is whole. `note` is for people; `truncated` tells that a bound cut it short."""

    count: U64 = 0
    truncated: bool = False
    note: str = ""


class Failed(Extensible):
    """The request was not served: an exit code of DESIGN section 9, and why."""

    exit_code: U8
    message: str


CliAnswer = Annotated[Columns | Rows | Done | Failed, Variants(extensible=True)]

CLI_REQUEST: Codec[object] = codec(CliRequest, V2)
CLI_ANSWER: Codec[object] = codec(CliAnswer, V2, limit=16 * 1024 * 1024)
"""Frames stay below 64 KiB but for a row that is longer by itself: a cell of `query` may be."""
