"""Who is connected, and what they hold. One entry for each worker; no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Link(Protocol):
    """A worker's connection, as the hub needs it."""

    def displaced(self, reason: str) -> None:
        """Another session of the same worker was confirmed: this one is to end."""

    def set_wanted(self) -> None:
        """The worker's set may have changed: look, and push it if so."""

    def clean_up(self, before: int) -> None:
        """Have the worker forget acknowledged records from before this instant."""


@dataclass(slots=True)
class Member:
    """A worker that is connected and confirmed. `since` in microseconds, UTC; `offset_us` is what
    its clock is ahead of the server's, None until measured."""

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
    offset_us: int | None = None


class Hub:
    """The registry of connected workers."""

    def __init__(self) -> None:
        self._members: dict[bytes, Member] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(sorted(self._members.values(), key=lambda member: member.name))

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

    def leave(self, uid: bytes, link: Link) -> bool:
        """A session ended; True if it was the member's current one."""
        member = self._members.get(uid)
        if member is None or member.link is not link:
            return False
        del self._members[uid]
        return True
