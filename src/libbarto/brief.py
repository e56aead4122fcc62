"""How do dates and spans of time read in short, wherever people read them? The names of days and
months, and the two units that say most of a span.
"""

from __future__ import annotations

import math
from typing import Final

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)

_DAY: Final = 86_400
_HOUR: Final = 3600
_MINUTE: Final = 60


def two_units(seconds: float) -> tuple[str, int, str]:
    """A span of time (of 0 seconds or more): what there is of the larger unit, then how many of the
    smaller one, and its letter; no letter where one unit says all.

    >>> [two_units(s) for s in (0.0123, 1.5, 42)]
    [('12ms', 0, ''), ('1.5s', 0, ''), ('42s', 0, '')]
    >>> [two_units(s) for s in (61, 3600, 90_061)]
    [('1m', 1, 's'), ('1h', 0, 'm'), ('1d', 1, 'h')]
    """
    if seconds < 1:
        return f"{math.floor(seconds * 1000)}ms", 0, ""
    if seconds < 10:
        return f"{math.floor(seconds * 10) / 10:g}s", 0, ""
    whole = int(seconds)
    for size, unit, per, rest in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "m"),
        (_MINUTE, "m", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size}{unit}", whole % size // per, rest
    return f"{whole}s", 0, ""
