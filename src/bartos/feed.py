"""What has changed just now, and who wants to hear of it? Events, to any number of readers in this
process, each with a queue of its own that has an end.

The last events are kept in a ring, so that a reader who was cut off goes on where it was. Whoever
is too slow, or was away for too long, is told to read anew (`RESET`), and no writer ever waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

RUN: Final = "run"
RANGE: Final = "range"
WORKER: Final = "worker"
SCHEDULES: Final = "schedules"
PAUSES: Final = "pauses"
STATUS: Final = "status"
RESET: Final = "reset"

KINDS: Final = (RUN, RANGE, WORKER, SCHEDULES, PAUSES, STATUS, RESET)

RING: Final = 1000
"""So many events are kept for those who come back."""
QUEUE: Final = 1000
"""So many events may wait for one reader."""
LONGEST_S: Final = 3600.0
"""After so long a reader has to come again: what hangs unseen does not hang for ever."""


@dataclass(slots=True)
class Event:
    """Something that happened: `data` is a model of the API or, for `schedules`, `pauses` and
    `reset`, plain JSON. `schedule` and `worker` are names, empty where it is of none or of all.
    `text` is for whoever has turned it into text already."""

    number: int
    kind: str
    data: object
    schedule: str = ""
    worker: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader wants to hear; what is not given does not matter. `reset` comes always."""

    schedule: str | None = None
    worker: str | None = None
    kinds: frozenset[str] = frozenset()

    def holds(self, event: Event) -> bool:
        """Whether `event` is wanted."""
        if event.kind == RESET:
            return True
        return (
            (not self.kinds or event.kind in self.kinds)
            and (self.schedule is None or event.schedule in {"", self.schedule})
            and (self.worker is None or event.worker in {"", self.worker})
        )


class Reader:
    """One who listens; made by `Feed.subscribe`."""

    def __init__(self, wanted: Wanted, most: int) -> None:
        self._wanted = wanted
        self._most = most
        self._queue: deque[Event] = deque()
        self._there = asyncio.Event()
        self.over = False
        """Whether nothing more will come: the server stops."""

    @property
    def behind(self) -> bool:
        """Whether events wait for it."""
        return bool(self._queue)

    def give(self, event: Event) -> None:
        """Let it hear of `event`, if it wants that; a full queue becomes one `reset`."""
        if not self._wanted.holds(event):
            return
        if len(self._queue) >= self._most:
            self._queue.clear()
            event = Event(event.number, RESET, {"why": "too many events at once"})
        self._queue.append(event)
        self._there.set()

    def end(self) -> None:
        """Nothing more will come."""
        self.over = True
        self._there.set()

    async def next(self, seconds: float) -> Event | None:
        """The next event; None where none comes within so many seconds, or it is `over`."""
        if not self._queue and not self.over:
            try:
                async with asyncio.timeout(seconds):
                    await self._there.wait()
            except TimeoutError:
                return None
        self._there.clear()
        return self._queue.popleft() if self._queue else None


@dataclass(slots=True)
class Feed:
    """Where events come in and go out. `name` tells this server's life from others: ids of events
    have it. `longest` is how many seconds a reader may stay."""

    name: str = "0"
    ring: int = RING
    queue: int = QUEUE
    longest: float = LONGEST_S
    over: bool = False
    on_reader: Callable[[], None] = lambda: None
    _number: int = 0
    _ring: deque[Event] = field(default_factory=deque)
    _readers: set[Reader] = field(default_factory=set)
    _printing: dict[bytes, set[asyncio.Event]] = field(default_factory=dict)

    @property
    def listening(self) -> bool:
        """Whether anybody does."""
        return bool(self._readers)

    def publish(self, kind: str, data: object, *, schedule: str = "", worker: str = "") -> None:
        """Tell it to all who listen, and remember it for a while."""
        self._number += 1
        event = Event(self._number, kind, data, schedule, worker)
        self._ring.append(event)
        if len(self._ring) > self.ring:
            self._ring.popleft()
        for reader in self._readers:
            reader.give(event)

    def forget(self) -> None:
        """Something was not told: whoever comes back has to read anew."""
        self._number += 1
        self._ring.clear()

    def id_of(self, event: Event) -> str:
        """An event's id, that `subscribe` takes as `after`."""
        return f"{self.name}-{event.number}"

    @property
    def last_id(self) -> str:
        """The id of what was told last: whoever gives it as `after` misses nothing from now on."""
        return f"{self.name}-{self._number}"

    @contextmanager
    def subscribe(self, wanted: Wanted, after: str | None = None) -> Iterator[Reader]:
        """Listen from now on or, with the id of an event, from right after that one; where that
        cannot be told any more, the first event is a `reset`."""
        reader = Reader(wanted, self.queue)
        if after is not None:
            for event in self._since(after):
                reader.give(event)
        if self.over:
            reader.end()
        self._readers.add(reader)
        self.on_reader()
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    def _since(self, after: str) -> list[Event]:
        name, _, number = after.rpartition("-")
        first = self._ring[0].number if self._ring else self._number + 1
        if name == self.name and number.isascii() and number.isdigit() and len(number) < 20:
            last = int(number)
            if first - 1 <= last <= self._number:
                return [event for event in self._ring if event.number > last]
        return [Event(self._number, RESET, {"why": "what came after that is not known any more"})]

    # -- output -----------------------------------------------------------------------------------

    @contextmanager
    def following(self, run_id: bytes) -> Iterator[asyncio.Event]:
        """An event that is set whenever something of a run was stored."""
        touched = asyncio.Event()
        if self.over:
            touched.set()
        self._printing.setdefault(run_id, set()).add(touched)
        try:
            yield touched
        finally:
            self._printing[run_id].discard(touched)
            if not self._printing[run_id]:
                del self._printing[run_id]

    @property
    def followed(self) -> bool:
        """Whether anybody follows the output of a run."""
        return bool(self._printing)

    def touched(self, run_id: bytes) -> None:
        """Something of this run was stored."""
        for event in self._printing.get(run_id, ()):
            event.set()

    def close(self) -> None:
        """The server stops: all who listen are let go."""
        self.over = True
        for reader in self._readers:
            reader.end()
        for events in self._printing.values():
            for event in events:
                event.set()
