"""When does a schedule elapse that has several calendars? A union of expressions as one value.

An instant that several of them match elapses once. Each keeps its own zone, and draws its own `R`:
an expression that is added moves none of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from libbarto.errors import CalendarError
from libbarto.realtime import changes, counting, zones
from libbarto.realtime.calendar import Realtime
from libbarto.realtime.changes import FIRST, Passes
from libbarto.realtime.counting import Member
from libbarto.realtime.search import Search
from libbarto.realtime.zones import EPOCH, Zone

SEPARATOR = "; "
"""Stands between the expressions of a union where it is one text."""


@dataclass(frozen=True, slots=True, repr=False)
class Calendars:
    """A union of calendar expressions, immutable and hashable; made by `parse`.

    >>> backup = Calendars.parse(["Mon..Fri 04:00", "Sat 06:00"])
    >>> str(backup)
    'Mon..Fri *-*-* 04:00:00; Sat *-*-* 06:00:00'
    >>> backup.next_after(datetime(2026, 11, 20, 12, tzinfo=EPOCH.tzinfo))
    datetime.datetime(2026, 11, 21, 6, 0, tzinfo=datetime.timezone.utc)
    """

    members: tuple[Realtime, ...]
    """The expressions, each once, in order of their normalised forms."""

    _ready: tuple[tuple[Search, Passes, Zone | None], ...] = field(
        default=(), init=False, compare=False
    )
    # Made at the first question and set whole, so that threads can at worst make it twice.

    @classmethod
    def parse(cls, texts: str | Iterable[str]) -> Calendars:
        """Read expressions: a list of them, or one text with ";" between them.

        Raises CalendarError as `Realtime.parse`, and where there is none at all.
        """
        if isinstance(texts, str):
            texts = (text.strip(" ") for text in texts.split(";"))
        return cls.of(map(Realtime.parse, texts))

    @classmethod
    def of(cls, members: Iterable[Realtime]) -> Calendars:
        """The union of calendars. Raises CalendarError where there is none."""
        by_text = {str(member): member for member in members}
        if not by_text:
            raise CalendarError('expected a calendar such as "*-*-* 02:00", found none', "")
        return cls(tuple(by_text[text] for text in sorted(by_text)))

    def __str__(self) -> str:
        """The normalised forms; it reads back to an equal value."""
        return SEPARATOR.join(map(str, self.members))

    def __repr__(self) -> str:
        return f"Calendars.parse({str(self)!r})"

    @property
    def has_random(self) -> bool:
        """Whether one has `R`, which `bind` must draw before anything elapses."""
        return any(member.has_random for member in self.members)

    def bind(self, seed: bytes) -> Calendars:
        """The union with every `R` drawn from `seed`, as each expression alone draws it."""
        return Calendars.of(member.bind(seed) for member in self.members)

    # -- instants: microseconds since 1970, UTC ---------------------------------------------------

    def elapse_after(
        self, instant: int, tz: str = "UTC", *, dst_gap: str = "skip", dst_repeat: str = "once"
    ) -> int | None:
        """The first elapse strictly after `instant`, or None.

        Arguments and errors are those of `Realtime.elapse_after`; but `once` means the first pass
        whatever `instant` is, so that what elapses does not depend on who asks.
        """
        gap_runs, passes = _gap_runs(dst_gap), _passes(dst_repeat)
        found = [member.elapse_by(instant, tz, passes, gap_runs) for member in self.members]
        return min((at for at in found if at is not None), default=None)

    def elapse_before(
        self, instant: int, tz: str = "UTC", *, dst_gap: str = "skip", dst_repeat: str = "once"
    ) -> int | None:
        """The last elapse strictly before `instant`, or None; as `elapse_after`."""
        gap_runs = _gap_runs(dst_gap)
        found = [
            elapse[0] - zone.offsets[elapse[1]]
            for search, zone, passes in self._members(tz, dst_repeat)
            if (elapse := changes.before(search, zone, instant, passes, gap_runs)) is not None
        ]
        return max(found, default=None)

    def count(
        self,
        after: int,
        until: int,
        tz: str = "UTC",
        *,
        dst_gap: str = "skip",
        dst_repeat: str = "once",
    ) -> int:
        """How many elapses lie in (after, until], without going through them.

        >>> Calendars.parse("*:*:*").count(0, 86_400_000_000)
        86400
        """
        return counting.count(self._members(tz, dst_repeat), after, until, _gap_runs(dst_gap))

    # -- datetimes: clock changes as systemd treats them ------------------------------------------

    def next_after(self, moment: datetime, tz: str = "UTC") -> datetime | None:
        """The first elapse strictly after the aware `moment`, in its expression's zone, or None.

        Raises as `Realtime.next_after`.
        """
        found = [member.next_after(moment, tz) for member in self.members]
        return min((at for at in found if at is not None), key=_since, default=None)

    def previous_before(self, moment: datetime, tz: str = "UTC") -> datetime | None:
        """The last elapse strictly before the aware `moment`, or None, as `next_after`."""
        found = [member.previous_before(moment, tz) for member in self.members]
        return max((at for at in found if at is not None), key=_since, default=None)

    def matches(self, moment: datetime, tz: str = "UTC") -> bool:
        """Whether one of them matches the wall clock at the aware `moment`."""
        return any(member.matches(moment, tz) for member in self.members)

    def iterate(self, moment: datetime, tz: str = "UTC") -> Iterator[datetime]:
        """Every elapse strictly after the aware `moment`, one at a time."""
        found = self.next_after(moment, tz)
        while found is not None:
            yield found
            found = self.next_after(found, tz)

    # -- what is made once ------------------------------------------------------------------------

    def _members(self, tz: str, dst_repeat: str) -> Sequence[Member]:
        for_all = _passes(dst_repeat)
        return [
            Member(search, home or zones.load(tz), for_all or passes)
            for search, passes, home in self._ready or self._prepare()
        ]

    def _prepare(self) -> tuple[tuple[Search, Passes, Zone | None], ...]:
        if self.has_random:
            raise ValueError(f"'{self}' has R, which is drawn by bind(seed) before it elapses")
        ready = tuple(
            (
                Search(member.parts),
                changes.automatic(member.parts),
                None if member.zone is None else zones.load(member.zone),
            )
            for member in self.members
        )
        object.__setattr__(self, "_ready", ready)
        return ready


def _gap_runs(dst_gap: str) -> bool:
    if dst_gap not in ("next", "skip"):
        raise ValueError(f"dst_gap is 'next' or 'skip', not {dst_gap!r}")
    return dst_gap == "next"


def _passes(dst_repeat: str) -> Passes | None:
    """What a policy makes of readings that come twice, where it is the same for every calendar."""
    if dst_repeat not in ("auto", "once"):
        raise ValueError(f"dst_repeat is 'auto' or 'once', not {dst_repeat!r}")
    return FIRST if dst_repeat == "once" else None


def _since(moment: datetime) -> timedelta:
    """What orders datetimes by instant: within one zone they compare by their wall clocks."""
    return moment - EPOCH
