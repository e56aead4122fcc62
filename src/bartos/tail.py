"""What did a run print last? Its last chunks, and lines, without reading all that comes before."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from bartos.ansi import plain
from bartos.store.port import ChunkRow, Store
from bartos.transcript import lines, pieces
from libbarto.message.v2.record import Stream

TAIL: Final = 64
"""So many chunks are looked at, the last ones."""


async def last_chunks(store: Store, run_id: bytes, attempt: int) -> list[ChunkRow]:
    """The last chunks, however many there are: where they end is found by halving."""
    first = await store.chunks(run_id, attempt, -1, TAIL)
    if len(first) < TAIL:
        return first
    low, high = first[-1].chunk_no - 1, first[-1].chunk_no
    while await store.chunks(run_id, attempt, high, 1):
        low, high = high, high + 2 * (high - low)
    while high - low > 1:
        middle = (low + high) // 2
        if await store.chunks(run_id, attempt, middle, 1):
            low = middle
        else:
            high = middle
    return await store.chunks(run_id, attempt, high - TAIL, TAIL)


async def last_lines(
    store: Store, run_id: bytes, attempt: int, most: int, streams: Collection[Stream]
) -> list[str]:
    """The last lines of these streams that are not empty, at most so many; as a terminal would
    show them, without colours."""
    read = (piece for chunk in await last_chunks(store, run_id, attempt) for piece in pieces(chunk))
    wanted = lines(piece for piece in read if piece.stream in streams)
    texts = [plain(line.data.decode(errors="backslashreplace")) for line in wanted]
    return [text for text in texts if text.strip()][-most:]
