"""Who is connected, and what they hold. One entry for each worker; no I/O, no clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bartos.store.port import Standing
from libbarto.message.v2.record import Lane
from libbarto.message.v2.server import Asked, Cancel, Mark, Offer
from libbarto.message.v2.worker import OfferAnswer


class Link(Protocol):
    """A worker's connection, as the hub needs it."""

    def displaced(self, reason: str) -> None:
        """Another session of the same worker was confirmed: this one is to end."""

    def set_wanted(self) -> None:
        """The worker's set may have changed: look, and push it if so."""

    def clean_up(self, before: int) -> None:
        """Have the worker forget acknowledged records from before this instant."""

    def offer(self, offer: Offer) -> None:
        """Have the worker start something; signed on its way out."""

    def cancel(self, cancel: Cancel) -> None:
        """Have the worker end something; signed on its way out."""

    def committed(self) -> Mapping[Lane, Mark]:
        """How far this session's records are committed, as far as it was told."""

    def received(self) -> Mapping[Lane, Mark]:
        """How far this session's records have come in."""


class Orders(Protocol):
    """What a worker's connection tells whoever orders single starts."""

    def asked(self, worker_uid: bytes, spool_id: bytes, session: bytes) -> list[Asked]:
        """A worker greets: of which offers is it to say what became?"""

    def restored(self, worker_uid: bytes) -> Awaitable[None]:
        """The store has less than a worker that greets saw acknowledged; returns when that is
        noted, before anything that it reports is stored. Raises `StoreUnavailable`."""

    def joined(self, member: Member, *, last: int) -> None:
        """Its session is confirmed; `last` is the number of the last state record that it had when
        it greeted."""

    def left(self, worker_uid: bytes, session: bytes) -> None:
        """Its session is over, whether it was confirmed or not."""

    def answered(self, worker_uid: bytes, answer: OfferAnswer) -> None:
        """It heard an order."""


@dataclass(slots=True)
class Member:
    """A worker that is connected and confirmed. `since` in microseconds, UTC; `offset_us` is what
    its clock is ahead of the server's, None until measured. `session` is its session's nonce;
    `generation` and `set_hash` are those of the set that was sent last, `applied` is the
    generation that it has taken on. `seen` is when the store had seen it last before, and
    `version_before` of which version it was then; None and empty where it is new."""

    uid: bytes
    name: str
    address: str
    since: int
    version: str
    link: Link
    epoch: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    generation: int = 0
    set_hash: bytes = b""
    applied: int = 0
    spool_id: bytes = bytes(16)
    session: bytes = b""
    offset_us: int | None = None
    seen: int | None = None
    version_before: str = ""


@dataclass(frozen=True, slots=True)
class Fork:
    """A state directory that was refused, as it is a copy or was rolled back: when that was seen
    first, whence it came, its spool, and why."""

    at: int
    name: str
    address: str
    spool_id: bytes
    reason: str


class Hub:
    """The registry of connected workers, and of those that were refused as a fork."""

    def __init__(self) -> None:
        self._members: dict[bytes, Member] = {}
        self.forks: dict[bytes, Fork] = {}
        self.on_change: Callable[[bytes], None] = lambda _: None
        """Told the uid of a worker that came or went, or that was refused."""

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(sorted(self._members.values(), key=lambda member: member.name))

    def find(self, uid: bytes) -> Member | None:
        """The worker with this uid, where it is connected."""
        return self._members.get(uid)

    def fork(self, uid: bytes, fork: Fork) -> bool:
        """A worker's state directory was refused; returns whether that is news."""
        known = self.forks.get(uid)
        if known is not None and (known.spool_id, known.address) == (fork.spool_id, fork.address):
            return False
        self.forks[uid] = fork
        self.on_change(uid)
        return True

    def name_taken(self, name: str, uid: bytes) -> Member | None:
        """Another worker that is connected under `name`."""
        for member in self._members.values():
            if member.name == name and member.uid != uid:
                return member
        return None

    def join(self, member: Member) -> None:
        """A session was confirmed: it takes the place of an older one of the same worker."""
        older = self._members.get(member.uid)
        self._members[member.uid] = member
        if older is not None and older.link is not member.link:
            older.link.displaced("the worker connected anew")
        self.on_change(member.uid)

    def leave(self, uid: bytes, link: Link) -> bool:
        """A session ended; True if it was the member's current one."""
        member = self._members.get(uid)
        if member is None or member.link is not link:
            return False
        del self._members[uid]
        self.on_change(uid)
        return True


def difference(
    member: Member,
    stored: Standing | None,
    committed: Mapping[Lane, Mark],
    received: Mapping[Lane, Mark],
) -> str | None:
    """What tells that a session is not the one that the store knows; None where all agrees.

    `stored` was read between `committed` and `received`: what this session has in the store lies
    between the two (DESIGN section 6).
    """
    if stored is None or stored.epoch != member.epoch or stored.spool_id != member.spool_id:
        return "the store knows another session of this worker"
    for lane, mark in stored.marks.items():
        name = lane.name.lower()
        if mark.epoch != member.epoch:
            return f"the {name} lane is another session's"
        if mark.seq < committed[lane].seq:
            return f"the store has less of the {name} lane than it acknowledged: it was restored"
        if mark.seq > received[lane].seq:
            return f"the store has more of the {name} lane than this session sent"
        if mark.seq == committed[lane].seq and mark.tag != committed[lane].tag:
            return f"the store has another {name} record {mark.seq} than it acknowledged"
    return None
