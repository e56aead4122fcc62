"""Durations and sizes as people write them: "1h30m" and "10MiB", read and printed.

How many seconds, or bytes, is this text? Whatever is printed reads back as the same value.
"""

from __future__ import annotations

import re
from typing import Final

from libbarto.errors import UserError

_DURATION_UNITS: Final = {
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "min": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
"""Microseconds of each unit."""
_PRINTED: Final = ("d", "h", "m", "s", "ms", "us")

_SIZE_UNITS: Final = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
"""Bytes of each unit."""
_PRINTED_SIZES: Final = ("TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "kB")

_TERM: Final = re.compile(r"([0-9]+)(?:\.([0-9]{1,6}))?\s*([A-Za-z]+)\s*", re.ASCII)
_SIZE: Final = re.compile(r"([0-9]+)(?:\.([0-9]{1,6}))?\s*([A-Za-z]*)", re.ASCII)

DURATION_LIMIT: Final = 1_000 * 366 * 86_400.0
"""A thousand years, in seconds: more is a mistake, and would overflow what carries durations."""
SIZE_LIMIT: Final = 1 << 60
"""An exbibyte: more bytes than that are a mistake."""

DURATION_EXAMPLES: Final = '"90s", "1h30m" or "7d"'
SIZE_EXAMPLES: Final = '"512KiB", "10MiB" or "1GB"'


def parse_duration(text: str) -> float:
    """The seconds that `text` means: numbers with w, d, h, m (or min), s, ms or us, added up.

    Exact to the microsecond. Raises `UserError` that shows how a duration is written.

    >>> parse_duration("1h30m")
    5400.0
    >>> parse_duration("250ms")
    0.25
    """
    position, total = 0, 0
    stripped = text.strip()
    while position < len(stripped):
        term = _TERM.match(stripped, position)
        if term is None:
            break
        unit = _DURATION_UNITS.get(term[3])
        if unit is None:
            raise UserError(
                f'"{text}": a duration has no unit "{term[3]}"; w, d, h, m, s, ms and us are'
            )
        total += _scaled(term[1], term[2], unit)
        position = term.end()
    if not stripped or position < len(stripped):
        raise UserError(f'"{text}" is no duration; write {DURATION_EXAMPLES}')
    seconds = total / 1_000_000
    if seconds > DURATION_LIMIT:
        raise UserError(f'"{text}" is too long: at most 1000 years')
    return seconds


def format_duration(seconds: float) -> str:
    """A duration (seconds, at least 0) in the units that fit it, exact to the microsecond.

    >>> format_duration(5400.0)
    '1h30m'
    >>> format_duration(0)
    '0s'
    """
    left = round(seconds * 1_000_000)
    parts = []
    for name in _PRINTED:
        count, left = divmod(left, _DURATION_UNITS[name])
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts) or "0s"


def parse_size(text: str) -> int:
    """The bytes that `text` means: a number, and B, kB, MB, GB, TB or KiB, MiB, GiB, TiB.

    Raises `UserError` that shows how a size is written.

    >>> parse_size("10MiB")
    10485760
    """
    term = _SIZE.fullmatch(text.strip())
    if term is None:
        raise UserError(f'"{text}" is no size; write {SIZE_EXAMPLES}')
    unit = _SIZE_UNITS.get(term[3] or "B")
    if unit is None:
        upper = term[3][:1].upper()
        meant = f"; {upper}iB (1024) or {upper}B (1000)?" if upper in "KMGT" else ""
        raise UserError(
            f'"{text}": a size has no unit "{term[3]}"{meant or "; MiB and MB are two"}'
        )
    size = _scaled(term[1], term[2], unit)
    if size > SIZE_LIMIT:
        raise UserError(f'"{text}" is too large: at most {SIZE_LIMIT >> 40}TiB')
    return size


def format_size(size: int) -> str:
    """A size in bytes, in the largest unit that gives a whole number.

    >>> format_size(10485760)
    '10MiB'
    >>> format_size(1_000_001)
    '1000001B'
    """
    best = min(
        (size // _SIZE_UNITS[name], index, name)
        for index, name in enumerate((*_PRINTED_SIZES, "B"))
        if size % _SIZE_UNITS[name] == 0
    )
    return f"{best[0]}{best[2]}" if size else "0B"


def _scaled(whole: str, decimals: str | None, unit: int) -> int:
    """A decimal number of `unit`, rounded half up to a whole one."""
    fraction = decimals or ""
    scale: int = 10 ** len(fraction)
    return (int(whole + fraction) * unit * 2 + scale) // (2 * scale)
