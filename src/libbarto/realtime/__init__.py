"""When does a schedule fall due? The calendar: expressions in the grammar of systemd's
OnCalendar=, with `R` for a value drawn per worker, read, printed and searched.

The package can be used on its own: `Realtime.parse(text)` gives a value, `next_after` its elapses;
`Calendars.parse(texts)` does so for a union of several.
"""

from __future__ import annotations

from libbarto.realtime.calendar import Realtime, normalize, upcoming
from libbarto.realtime.union import Calendars

__all__ = ["Calendars", "Realtime", "normalize", "upcoming"]
