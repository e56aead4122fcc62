"""When is a schedule due on one worker? Its trigger, with `R` drawn, as slots in time.

Instants are microseconds since 1970, UTC.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from libbarto.errors import CalendarError
from libbarto.identity import Kind, calendar_seed, occurrence_id
from libbarto.message.v2.schedule import Schedule
from libbarto.realtime import zones
from libbarto.realtime.interval import Every
from libbarto.realtime.union import Calendars


class Trigger(Protocol):
    """What makes slots: the same set of instants, whoever asks."""

    def elapse_after(self, instant: int) -> int | None:
        """The first slot strictly after `instant`, or None."""
        ...

    def elapse_before(self, instant: int) -> int | None:
        """The last slot strictly before `instant`, or None."""
        ...

    def count(self, after: int, until: int) -> int:
        """How many slots lie in (after, until]."""
        ...


@dataclass(frozen=True, slots=True)
class _Zoned:
    """Calendars in the zone and under the policies of their schedule."""

    calendars: Calendars
    timezone: str
    dst_gap: str
    dst_repeat: str

    def elapse_after(self, instant: int) -> int | None:
        return self.calendars.elapse_after(
            instant, self.timezone, dst_gap=self.dst_gap, dst_repeat=self.dst_repeat
        )

    def elapse_before(self, instant: int) -> int | None:
        return self.calendars.elapse_before(
            instant, self.timezone, dst_gap=self.dst_gap, dst_repeat=self.dst_repeat
        )

    def count(self, after: int, until: int) -> int:
        return self.calendars.count(
            after, until, self.timezone, dst_gap=self.dst_gap, dst_repeat=self.dst_repeat
        )


@dataclass(frozen=True, slots=True)
class _Instants:
    """Instants that are listed, ascending, each once."""

    instants: Sequence[int]

    def elapse_after(self, instant: int) -> int | None:
        place = bisect_right(self.instants, instant)
        return self.instants[place] if place < len(self.instants) else None

    def elapse_before(self, instant: int) -> int | None:
        place = bisect_left(self.instants, instant)
        return self.instants[place - 1] if place else None

    def count(self, after: int, until: int) -> int:
        return max(bisect_right(self.instants, until) - bisect_right(self.instants, after), 0)


class Timetable:
    """The slots of `spec` on the worker `worker_uid`: 16 bytes, or none for `pick = "one"`.

    What starts once a boot, and what follows another schedule, has no slots here.

    >>> spec = Schedule(uid=bytes(16), name="tick", calendars=["*:0/15"], steps=["true"])
    >>> Timetable(spec, bytes(16)).due(0, 1_800_000_000)
    [900000000, 1800000000]
    """

    def __init__(self, spec: Schedule, worker_uid: bytes) -> None:
        """Raises `CalendarError` where the trigger cannot be read here."""
        self.spec = spec
        self.worker_uid = worker_uid
        self._trigger = _trigger(spec, calendar_seed(spec.uid, worker_uid))
        # The last question and its answer, set whole: threads may share a timetable.
        self._last: tuple[int, int | None] | None = None

    def next_after(self, instant: int) -> int | None:
        """The first slot strictly after `instant`, or None if there is none.

        The last answer is kept: between two slots the question is asked again and again.
        """
        last = self._last
        if last is not None:
            asked, answer = last
            if asked <= instant and (answer is None or instant < answer):
                return answer
        answer = self._trigger.elapse_after(instant)
        self._last = instant, answer
        return answer

    def previous_before(self, instant: int) -> int | None:
        """The last slot strictly before `instant`, or None if there is none."""
        return self._trigger.elapse_before(instant)

    def due(self, after: int, until: int, limit: int = 10_000) -> list[int]:
        """The slots in (after, until], ascending, the first `limit` of them."""
        slots: list[int] = []
        slot = self.next_after(after)
        while slot is not None and slot <= until and len(slots) < limit:
            slots.append(slot)
            slot = self.next_after(slot)
        return slots

    def count(self, after: int, until: int) -> tuple[int, int, int] | None:
        """How many slots lie in (after, until], the first and the last; None where there is none.

        Exact, and computed: a span of a lifetime takes no longer than its clock changes.

        >>> spec = Schedule(uid=bytes(16), name="tick", calendars=["*:*:*"], steps=["true"])
        >>> Timetable(spec, bytes(16)).count(0, 72 * 365 * 86_400_000_000)
        (2270592000, 1000000, 2270592000000000)
        """
        number = self._trigger.count(after, until)
        if not number:
            return None
        first, last = self.next_after(after), self.previous_before(until + 1)
        assert first is not None and last is not None
        return number, first, last

    def run_id(self, slot: int) -> bytes:
        """The id of the occurrence at `slot` (DESIGN section 4)."""
        return occurrence_id(Kind.CALENDAR, self.spec.uid, self.worker_uid, slot)


def _trigger(spec: Schedule, seed: bytes) -> Trigger:
    """What makes the slots of a schedule for the one whose seed this is."""
    if spec.calendars:
        zones.load(spec.timezone)
        for key, policy, known in (
            ("dst_gap", spec.dst_gap, ("next", "skip")),
            ("dst_repeat", spec.dst_repeat, ("auto", "once")),
        ):
            if policy not in known:
                raise CalendarError(f"{key} is {' or '.join(known)}", policy)
        calendars = Calendars.parse(spec.calendars).bind(seed)
        return _Zoned(calendars, spec.timezone, spec.dst_gap, spec.dst_repeat)
    if spec.every_us is not None:
        return Every(spec.every_us, spec.anchor_us, spec.anchor_drawn).bind(seed)
    return _Instants(sorted(set(spec.at)))
