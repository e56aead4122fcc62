"""What did a run print? Chunks, as the store keeps them, taken apart into pieces and lines.

Chunks go in by their number; nothing here keeps more than the line that is not finished yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bartos.store.port import ChunkRow
from libbarto.errors import CodecError
from libbarto.message.v2 import segment
from libbarto.message.v2.record import Stream

LINE_MAX = 32 * 1024
"""Bytes after which a line is given out although it has not ended, as DESIGN section 7 has it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one stream that were read together, `at` microseconds since 1970."""

    chunk_no: int
    step: int
    stream: Stream
    at: int
    data: bytes


def pieces(chunk: ChunkRow) -> Iterator[Piece]:
    """The pieces of a chunk, in order of arrival: all of its bytes, whatever its segments say.

    Segments that cannot be read, a stream that is not known and bytes that no segment claims
    count as stdout: a reader loses nothing.
    """
    position = 0
    for part in _segments(chunk.segments):
        data = chunk.data[position : position + part.length]
        position += part.length
        if data:
            at = chunk.started_at + part.offset_ms * 1000
            yield Piece(chunk.chunk_no, chunk.step, _stream(part.stream), at, data)
    if position < len(chunk.data):
        rest = chunk.data[position:]
        yield Piece(chunk.chunk_no, chunk.step, Stream.STDOUT, chunk.started_at, rest)


def _segments(packed: bytes) -> list[segment.Segment]:
    try:
        return segment.unpack(packed)
    except CodecError:
        return []


def _stream(number: int) -> Stream:
    try:
        return Stream(number)
    except ValueError:
        return Stream.STDOUT


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its line break; `at` is when its first byte was read."""

    step: int
    stream: Stream
    at: int
    data: bytes


class Lines:
    """Puts pieces together to lines, each stream for itself.

    >>> lines = Lines()
    >>> out = Piece(0, 0, Stream.STDOUT, 5, b"one\\ntw")
    >>> [line.data for line in lines.feed(out)], [line.data for line in lines.rest()]
    ([b'one'], [b'tw'])
    """

    def __init__(self, longest: int = LINE_MAX) -> None:
        self._longest = longest
        self._open: dict[tuple[int, Stream], tuple[int, bytes]] = {}

    def feed(self, piece: Piece) -> Iterator[Line]:
        """The lines that `piece` ends; a line longer than the bound is given out in parts."""
        key = (piece.step, piece.stream)
        begun, held = self._open.pop(key, (piece.at, b""))
        parts = (held + piece.data).split(b"\n")
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            at = begun if number == 0 else piece.at
            whole = max(0, len(part) - 1) // self._longest * self._longest
            for start in range(0, whole, self._longest):
                yield Line(piece.step, piece.stream, at, part[start : start + self._longest])
            rest = part[whole:]
            if not last:
                yield Line(piece.step, piece.stream, at, rest.removesuffix(b"\r"))
            elif rest:
                self._open[key] = (at, rest)

    def rest(self) -> Iterator[Line]:
        """The lines that never ended, oldest first; then nothing is held any more."""
        held, self._open = self._open, {}
        for (step, stream), (at, data) in sorted(held.items(), key=lambda item: item[1][0]):
            yield Line(step, stream, at, data)


def lines(read: Iterable[Piece]) -> Iterator[Line]:
    """All lines of a run whose pieces are all at hand."""
    gathering = Lines()
    for piece in read:
        yield from gathering.feed(piece)
    yield from gathering.rest()
