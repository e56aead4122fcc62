"""When a schedule is due on one worker: its calendars, with `R` drawn, as slots in time."""

from __future__ import annotations

from libbarto.identity import Kind, calendar_seed, occurrence_id
from libbarto.message.v2.schedule import Schedule
from libbarto.realtime import Realtime


class Timetable:
    """The slots of `spec` on the worker `worker_uid` (16 bytes). Instants are microseconds, UTC.

    >>> spec = Schedule(uid=bytes(16), name="tick", calendars=["*:0/15"], steps=["true"])
    >>> Timetable(spec, bytes(16)).due(0, 1_800_000_000)
    [900000000, 1800000000]
    """

    def __init__(self, spec: Schedule, worker_uid: bytes) -> None:
        """Raises `CalendarError` where a calendar cannot be read."""
        self.spec = spec
        self.worker_uid = worker_uid
        seed = calendar_seed(spec.uid, worker_uid)
        self._calendars = [Realtime.parse(text).bind(seed) for text in spec.calendars]
        self._asked: int | None = None
        self._answer: int | None = None

    def next_after(self, instant: int) -> int | None:
        """The first slot strictly after `instant`, or None if there is none.

        The last answer is kept: between two slots the question is asked again and again.
        """
        if (
            self._asked is not None
            and self._asked <= instant
            and (self._answer is None or instant < self._answer)
        ):
            return self._answer
        elapses = [
            elapse
            for calendar in self._calendars
            if (
                elapse := calendar.elapse_after(
                    instant,
                    self.spec.timezone,
                    dst_gap=self.spec.dst_gap,
                    dst_repeat=self.spec.dst_repeat,
                )
            )
            is not None
        ]
        self._asked = instant
        self._answer = min(elapses, default=None)
        return self._answer

    def due(self, after: int, until: int, limit: int = 10_000) -> list[int]:
        """The slots in (after, until], ascending, the first `limit` of them."""
        slots: list[int] = []
        slot = self.next_after(after)
        while slot is not None and slot <= until and len(slots) < limit:
            slots.append(slot)
            slot = self.next_after(slot)
        return slots

    def run_id(self, slot: int) -> bytes:
        """The id of the occurrence at `slot` (DESIGN section 4)."""
        return occurrence_id(Kind.CALENDAR, self.spec.uid, self.worker_uid, slot)
