"""Is what is stored of a run's output what it printed? Counted and hashed, stream by stream."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from bartos.store.port import ChunkRow, RunRow
from bartos.transcript import pieces
from libbarto.message.v2.record import Stream

STREAMS: Final = (Stream.STDOUT, Stream.STDERR)


@dataclass(frozen=True, slots=True)
class StreamCheck:
    """A stream: bytes that the worker counted, bytes that are here, and whether the SHA-256 of the
    two is the same: None where that cannot be told, as not all of it is here by intention."""

    stream: Stream
    printed: int
    stored: int
    same: bool | None


@dataclass(frozen=True, slots=True)
class OutputCheck:
    """Both streams; `missing` bytes are neither here nor cut by `output_max`."""

    streams: tuple[StreamCheck, ...]
    cut: int
    missing: int

    @property
    def whole(self) -> bool:
        """All that was printed is here, but for what was cut, and is what was printed."""
        return self.missing == 0 and all(one.same is not False for one in self.streams)


@dataclass(slots=True)
class Checker:
    """Takes all chunks of an attempt, in order, and compares them with what its end said."""

    _bytes: dict[Stream, int] = field(default_factory=lambda: dict.fromkeys(STREAMS, 0))
    _hashes: dict[Stream, hashlib._Hash] = field(
        default_factory=lambda: {stream: hashlib.sha256() for stream in STREAMS}
    )

    def feed(self, chunks: Iterable[ChunkRow]) -> None:
        """More chunks; barto's own markers do not count."""
        for chunk in chunks:
            for piece in pieces(chunk):
                if piece.stream is not Stream.MARKER:
                    self._bytes[piece.stream] += len(piece.data)
                    self._hashes[piece.stream].update(piece.data)

    def finish(self, run: RunRow) -> OutputCheck:
        """All chunks were fed."""
        told = {Stream.STDOUT: run.sha_out, Stream.STDERR: run.sha_err}
        printed = {Stream.STDOUT: run.bytes_out, Stream.STDERR: run.bytes_err}
        streams = []
        for stream in STREAMS:
            stored = self._bytes[stream]
            same: bool | None = None
            if told[stream] and stored >= printed[stream]:
                same = self._hashes[stream].digest() == told[stream]
            streams.append(StreamCheck(stream, printed[stream], stored, same))
        missing = sum(printed.values()) - run.cut_bytes - sum(self._bytes.values())
        return OutputCheck(tuple(streams), run.cut_bytes, max(0, missing))
