"""Cutting to size: a chunk without its beginning, the marker between, a range without its end."""

from __future__ import annotations

from dataclasses import replace

from bartos.store.port import ChunkRow
from libbarto.message.v2.segment import without_beginning


def trimmed(row: ChunkRow, drop: int) -> ChunkRow:
    """The chunk without its first `drop` bytes: same number, offset and lines moved on."""
    lines = row.data.count(b"\n", 0, drop)
    return replace(
        row,
        offset=row.offset + drop,
        first_line=row.first_line + lines,
        lines=row.lines - lines,
        segments=without_beginning(row.segments, drop),
        data=row.data[drop:],
    )


def marker_text(size: int, lines: int, reason: str = "") -> bytes:
    """What stands between head and tail of output that exceeded `output_max`; or, with a reason,
    in the place of output that never came.

    >>> marker_text(1234567, 890)
    b'\\n[barto: 1,234,567 bytes in 890 lines left out]\\n'
    """
    # A line of its own, though the head may end anywhere.
    what = f"lost: {reason}" if reason else "left out"
    return f"\n[barto: {size:,} bytes in {lines:,} lines {what}]\n".encode()


def slots_until(first: int, last: int, count: int, now: int) -> int:
    """How many of the `count` slots from `first` to `last` are at most `now`, which lies between:
    by share, as a store knows no calendars; at least the first.

    >>> slots_until(0, 60, 61, 30)
    31
    """
    return max(1, min(count, 1 + (count - 1) * (now - first) // max(1, last - first)))
