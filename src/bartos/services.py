"""What do the server's faces stand on? Everything that the HTTP API and the command line's
endpoint may ask, as one frozen value that `app.py` fills in.

The faces know the store and these few protocols, and nothing of sessions, files or sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bartos.acting import Actions
from bartos.alerting import Alerting
from bartos.audit import Auditor
from bartos.feed import Feed
from bartos.overview import Overview
from bartos.planning import Planner
from bartos.store.port import Retention, Store, WorkerRow
from bartos.watch import Watch
from libbarto.clock import Clock, Instant


@dataclass(frozen=True, slots=True)
class Connected:
    """A worker that is connected now. `clock_offset_us` is its clock less the server's."""

    name: str
    uid: bytes
    address: str
    since: Instant
    version: str
    clock_offset_us: int | None = None
    confirmed: bool = True
    """It has taken on the schedules that it is to have."""


class Fleet(Protocol):
    """Who is connected, and what may be asked of all of them."""

    def connected(self) -> list[Connected]:
        """The workers that are connected now, in any order."""

    async def clean_up_workers(self, before: Instant) -> int:
        """Ask every connected worker to forget what was acknowledged before `before`.

        Returns how many were asked; nobody is waited for.
        """

    def alarms(self) -> Mapping[bytes, str]:
        """What is wrong with workers, by uid: a state directory that was refused as a fork."""

    async def reset_worker(self, row: WorkerRow, who: str, reason: str) -> None:
        """Let a worker come back that was refused: with a new spool, and cursors at now."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What a host needs to become a worker: the contents of its bartoc.toml."""

    name: str
    host: str
    port: int
    ca_cert: str
    api_key: str
    server_public_key: str
    labels: Mapping[str, str] = field(default_factory=dict)


class Enrolment(Protocol):
    """How other hosts become workers."""

    @property
    def url(self) -> str:
        """Where others reach this server: `https://bartos.example.org:21526`."""

    def join_code(self, name: str, labels: Mapping[str, str]) -> str:
        """A code for `bartoc join` that makes a host the worker `name`.

        Raises `UserError` where nobody else can reach this server, or the name will not do.
        """

    def join(self, secret: str) -> Joined | None:
        """What the bearer of a join secret gets; None where it is not one of ours.

        Compares in constant time.
        """

    @property
    def ca_pem(self) -> str | None:
        """The certificate of the server's CA, or None where it has none."""


@dataclass(frozen=True, slots=True)
class Pages:
    """Where browsers find the pages: at `origin` (`https://barto.example:21526`) below `root`
    ("/barto", or "" for none).

    `hosts` are the names by which this server may be called, in lower case; addresses always do.
    `timezone` is the zone in which the pages show times.
    """

    origin: str = ""
    root: str = ""
    hosts: frozenset[str] = frozenset()
    timezone: str = "UTC"

    @property
    def url(self) -> str:
        """Where the first page is, without a slash at the end."""
        return self.origin + self.root

    @property
    def secure(self) -> bool:
        """Browsers come through TLS, be it that of a proxy."""
        return self.origin.startswith("https:")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server says about itself; a reload may change it, so ask anew each time.

    `api_key` is None where there is none: then nobody gets in over the network. `store` and
    `config_file` are for people and carry no credentials. `config_error` says why the newest
    configuration is not the one in force, and is empty where it is. `begun` is False until the
    files have been looked at for the first time. `pages` says how browsers come here.
    """

    api_key: str | None
    store: str
    config_file: str
    retention: Retention = field(default_factory=Retention)
    config_error: str = ""
    begun: bool = True
    pages: Pages = Pages()
    allow_exec: bool = False
    """Commands that are in no schedule may be run."""
    writes: bool = True
    """The store has taken what was last to be written."""


@dataclass(frozen=True, slots=True)
class Services:
    """All that the faces stand on."""

    store: Store
    fleet: Fleet
    enrolment: Enrolment
    facts: Callable[[], Facts]
    clock: Clock
    actions: Actions
    watch: Watch
    audit: Auditor
    feed: Feed
    planner: Planner
    overview: Overview
    alerting: Alerting
    sources: Callable[[], Mapping[bytes, tuple[str, int]]] = dict
    """The file and the line in which each schedule is written, by uid, as far as is known."""
