"""When does a calendar elapse? An expression as a value: read it, print it, ask it.

Instants are ints here, microseconds since 1970 in UTC, except where a name says datetime.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final

from libbarto.errors import CalendarError
from libbarto.realtime import changes, stepping, zones
from libbarto.realtime.changes import SYSTEMD, Passes
from libbarto.realtime.drawing import draw
from libbarto.realtime.grammar import Parts, format_parts, parse
from libbarto.realtime.search import DAY_US, Search
from libbarto.realtime.stepping import IntStep, Step, datetime_step, instant_of, int_step
from libbarto.realtime.units import DAY, DAY_FROM_END, UNITS, Field, Item, Random, Unit
from libbarto.realtime.zones import Zone

_UNITS_FROM_END: Final = tuple(DAY_FROM_END if unit is DAY else unit for unit in UNITS)


@dataclass(frozen=True, slots=True, repr=False)
class Realtime:
    """A calendar expression, immutable and hashable; made by `parse`.

    >>> from datetime import UTC
    >>> weekdays = Realtime.parse("mon..fri 2:30")
    >>> str(weekdays)
    'Mon..Fri *-*-* 02:30:00'
    >>> weekdays.next_after(datetime(2026, 11, 21, tzinfo=UTC))
    datetime.datetime(2026, 11, 23, 2, 30, tzinfo=datetime.timezone.utc)
    """

    parts: Parts
    """What the expression says, field by field."""

    # What the first question makes and later ones reuse. Each is set whole, so that threads can
    # at worst make it twice.
    _text: bytes | None = field(default=None, init=False, compare=False)
    _search: Search | None = field(default=None, init=False, compare=False)
    _steps: dict[str, Step] = field(default_factory=dict, init=False, compare=False)
    _int_steps: dict[str, IntStep] = field(default_factory=dict, init=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Realtime:
        """Read an expression: systemd's OnCalendar= and `R` (docs/reference/calendar.md).

        Raises CalendarError, which marks the fault, says what is valid there, and suggests.
        """
        if not isinstance(text, str):
            raise CalendarError(f"an expression is text, not {type(text).__name__}", "")
        return cls(parse(text, zones.is_zone, zones.suggestion))

    def __str__(self) -> str:
        """The normalised form; it parses back to an equal value."""
        return format_parts(self.parts)

    def __repr__(self) -> str:
        return f"Realtime.parse({str(self)!r})"

    def describe(self) -> str:
        """What it says in English, short and exactly true; other words for every other meaning.

        >>> Realtime.parse("*:R/15").describe()
        'every 15 minutes at a phase of its own'
        """
        from libbarto.realtime import words  # for those who show it, not for those who fire by it

        return words.describe(self.parts)

    @property
    def zone(self) -> str | None:
        """The name of the expression's own zone, or None where that is left to the caller."""
        return self.parts.zone

    @property
    def has_random(self) -> bool:
        """Whether it contains `R`, which `bind` must draw before anything elapses."""
        return any(isinstance(value, Random) for value in self.parts)

    def bind(self, seed: bytes) -> Realtime:
        """The calendar with every `R` drawn from `seed`; one without `R` is returned itself.

        A field's draw depends on the seed, the normalised text and the field's name alone, and
        never changes between releases (docs/reference/calendar.md, "R").
        """
        if not self.has_random:
            return self
        text = self._text
        if text is None:
            text = str(self).encode()
            object.__setattr__(self, "_text", text)
        weekdays, *_, from_end, zone = self.parts
        units = _UNITS_FROM_END if from_end else UNITS
        year, month, day, hour, minute, second = [
            _drawn(value, unit, seed, text) if isinstance(value, Random) else value
            for value, unit in zip(self.parts.fields, units, strict=True)
        ]
        return Realtime(Parts(weekdays, year, month, day, hour, minute, second, from_end, zone))

    def elapse_after(
        self, instant: int, tz: str = "UTC", *, dst_gap: str = "skip", dst_repeat: str = "once"
    ) -> int | None:
        """The first elapse strictly after `instant`, or None; both in microseconds since 1970.

        `tz` is the zone if the expression has none. `dst_gap` says what becomes of readings that
        a clock change leaves out: `skip`, or `next` for one elapse at the first instant after
        the gap. `dst_repeat` says what becomes of readings that exist twice: `once` is systemd's
        rule (the first pass, but the second for an `instant` inside the second), `auto` elapses
        in both passes where the hour is `*`, a range or a repetition, else in the first alone
        (docs/reference/calendar.md).

        Raises ValueError while `R` is not bound or for another policy; CalendarError for a zone
        that does not exist.
        """
        if dst_repeat not in ("auto", "once"):
            raise ValueError(f"dst_repeat is 'auto' or 'once', not {dst_repeat!r}")
        if dst_gap not in ("next", "skip"):
            raise ValueError(f"dst_gap is 'next' or 'skip', not {dst_gap!r}")
        passes = SYSTEMD if dst_repeat == "once" else None
        return self.elapse_by(instant, tz, passes, dst_gap == "next")

    def elapse_by(self, instant: int, tz: str, passes: Passes | None, gap_runs: bool) -> int | None:
        """`elapse_after`, where the policies are known: `passes` of None stand for `auto`."""
        try:
            step = self._int_steps[tz]
        except (KeyError, TypeError):
            step = self._int_step(tz)
        reading = step(instant)
        if reading > stepping.NONE:
            return reading
        if reading == stepping.NONE:
            return None
        search, zone = self._search_in(tz)
        passes = passes or changes.automatic(self.parts)
        found = changes.after(search, zone, instant, passes, gap_runs)
        return None if found is None else found[0] - zone.offsets[found[1]]

    def next_after(self, moment: datetime, tz: str = "UTC") -> datetime | None:
        """The first elapse strictly after the aware `moment`, in the calendar's zone, or None.

        Clock changes are treated as systemd does. Raises as `elapse_after`, and ValueError for a
        naive `moment`.

        >>> from datetime import UTC
        >>> Realtime.parse("*-2-29").next_after(datetime(2026, 1, 1, tzinfo=UTC))
        datetime.datetime(2028, 2, 29, 0, 0, tzinfo=datetime.timezone.utc)
        """
        try:
            step = self._steps[tz]
        except (KeyError, TypeError):
            step = self._step(tz)
        try:
            return step(moment)
        except AttributeError:
            if isinstance(moment, datetime):
                raise
            raise TypeError(f"expected an aware datetime, got {moment!r}") from None

    def previous_before(self, moment: datetime, tz: str = "UTC") -> datetime | None:
        """The last elapse strictly before the aware `moment`, in the calendar's zone, or None.

        Readings that exist twice count in their first pass. Raises as `next_after`.
        """
        search, zone = self._search_in(tz)
        found = changes.before(search, zone, instant_of(moment))
        return None if found is None else zone.datetime(found[0])

    def matches(self, moment: datetime, tz: str = "UTC") -> bool:
        """Whether the wall clock in the calendar's zone matches at the aware `moment`."""
        search, zone = self._search_in(tz)
        instant = instant_of(moment)
        wall = instant + zone.offset_at(instant)
        return search.after(*divmod(wall - 1, DAY_US)) == wall

    def iterate(self, moment: datetime, tz: str = "UTC") -> Iterator[datetime]:
        """Every elapse strictly after the aware `moment`, one at a time."""
        found = self.next_after(moment, tz)
        while found is not None:
            yield found
            found = self.next_after(found, tz)

    def _search_in(self, tz: str) -> tuple[Search, Zone]:
        """What is searched, and the zone: the calendar's own, or that of this name."""
        if self._search is None:
            if self.has_random:
                raise ValueError(f"'{self}' has R, which is drawn by bind(seed) before it elapses")
            object.__setattr__(self, "_search", Search(self.parts))
        assert self._search is not None
        return self._search, zones.load(self.parts.zone or tz)

    def _step(self, tz: str) -> Step:
        search, zone = self._search_in(tz)
        step = self._steps.get(zone.name) or datetime_step(search, zone)
        self._steps[zone.name] = self._steps[_asked(tz, zone)] = step
        return step

    def _int_step(self, tz: str) -> IntStep:
        search, zone = self._search_in(tz)
        step = self._int_steps.get(zone.name) or int_step(search, zone)
        self._int_steps[zone.name] = self._int_steps[_asked(tz, zone)] = step
        return step

    def __reduce__(self) -> tuple[type[Realtime], tuple[Parts]]:
        return Realtime, (self.parts,)  # steps are functions, made anew where they are needed


def _asked(tz: str, zone: Zone) -> str:
    """Under which name a step is looked up: that of the call, which a zone of the calendar's own
    overrules. Only zones' names are kept, so that there is an end to them."""
    return tz if isinstance(tz, str) and zones.is_zone(tz) else zone.name


def _drawn(value: Random, unit: Unit, seed: bytes, text: bytes) -> Field:
    """A field with `R` drawn, for the calendar whose normalised form is `text`."""
    low, high, _ = value
    return drawn_as(value, unit, low + draw(seed, text, unit.name, high - low + 1))


def drawn_as(value: Random, unit: Unit, drawn: int) -> tuple[Item, ...]:
    """What a field with `R` is where `drawn`, one of its `low` to `high`, is drawn."""
    step, last = value.step, unit.high // unit.scale
    if step == 0 or drawn + step > last:
        return (Item(drawn * unit.scale),)
    if unit is DAY_FROM_END:  # an open repetition would run towards the month's end
        return (Item(drawn, last - (last - drawn) % step, step),)
    return (Item(drawn * unit.scale, -1, step * unit.scale),)


def upcoming(expr: str, base: datetime, n: int, tz: str = "UTC") -> list[datetime]:
    """At most `n` elapses of `expr` strictly after the aware `base`, ascending and aware.

    Raises CalendarError for an expression or zone that cannot be read, ValueError for one with
    `R`, for a naive `base` and for a negative `n`.
    """
    if n < 0:
        raise ValueError(f"n is 0 or more, not {n}")
    return list(islice(Realtime.parse(expr).iterate(base, tz), n))


def normalize(expr: str) -> str:
    """The normalised form of an expression; raises CalendarError if it cannot be read.

    >>> normalize("Wed..Sat,Tue 12-10-15 1:2:3")
    'Tue..Sat 2012-10-15 01:02:03'
    """
    return str(Realtime.parse(expr))
