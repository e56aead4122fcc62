"""How a run's output becomes chunks: sealed by size or age, bounded by `output_max`, exact.

The keeper's output files are the buffer: what is not sealed yet needs no place of its own, as it
can be read again from the keeper's position that `seal` names. Beyond `output_max` chunks are held
back in the journal, in a ring as long as the tail that is kept; when the run ends, the middle is
cut out and a marker says how much that was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bartoc.journal import Held
from bartoc.runner import Frame
from libbarto.codec import U32, U64, Struct
from libbarto.message.v2 import segment
from libbarto.message.v2.record import OUTPUT_RECORD, Cut, Output
from libbarto.message.v2.segment import Segment, pack

CHUNK_BYTES: Final = 32 * 1024
SEAL_AFTER_S: Final = 0.05
HEAD_SHARE: Final = 10
SEGMENTS_MAX: Final = 2000
"""Pieces of a chunk: with these a record still fits a frame."""


class Progress(Struct):
    """What the chunker must remember over a restart of bartoc; kept in the journal.

    `position` is the keeper's, `skip` the bytes behind it that are sealed already.
    """

    position: U64 = 0
    skip: U64 = 0
    chunk_no: U32 = 0
    sealed: U64 = 0
    lines: U64 = 0
    marker_no: U32 | None = None
    head_lines: U64 = 0
    last_step: U32 = 1


@dataclass(slots=True)
class Sealed:
    """What a sealing gives: records for the output lane, chunks to hold, chunks to let go."""

    records: list[bytes] = field(default_factory=list)
    hold: list[Held] = field(default_factory=list)
    release: list[tuple[bytes, int, int]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.records or self.hold or self.release)


class Chunker:
    """The output of one attempt. Bytes that `feed` brings are sealed in the order of arrival.

    `held` is what the journal holds back of this attempt, from before a restart.
    """

    def __init__(
        self,
        run_id: bytes,
        attempt: int,
        output_max: int,
        progress: Progress | None = None,
        held: Sequence[Held] = (),
    ) -> None:
        start = Progress() if progress is None else progress
        self.run_id = run_id
        self.attempt = attempt
        self.output_max = output_max
        self.head_max = output_max // HEAD_SHARE
        self.tail_max = output_max - self.head_max
        self.sealed = start.sealed
        self.lines = start.lines
        self.chunk_no = start.chunk_no
        self.marker_no = start.marker_no
        self.position = start.position
        self.last_step = start.last_step
        self._skip = start.skip
        self._to_skip = start.skip
        self._head_lines = start.head_lines
        self._held: deque[Held] = deque(held)
        self._held_bytes = sum(chunk.size for chunk in held)
        self._frames: deque[Frame] = deque()
        self._buffered = 0
        self._fed = start.sealed - start.skip
        self._boundaries: deque[tuple[int, int]] = deque()
        self._passed = start.sealed - start.skip
        self._first_at: float | None = None

    # -- in ---------------------------------------------------------------------------------------

    def feed(self, position: int, frames: Sequence[Frame], boottime: float) -> None:
        """Frames of the keeper's, up to its output position `position`."""
        for frame in frames:
            self._fed += len(frame.data)
            known = min(self._to_skip, len(frame.data))
            self._to_skip -= known
            if known < len(frame.data):
                left = frame.data[known:]
                self._frames.append(Frame(frame.step, frame.stream, frame.at, left))
                self._buffered += len(left)
        self._boundaries.append((self._fed, position))
        if self._buffered and self._first_at is None:
            self._first_at = boottime
        self._advance()

    # -- out --------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        """The boottime at which what is buffered wants sealing; None while nothing is."""
        if self._first_at is None:
            return None
        return self._first_at if self._buffered >= CHUNK_BYTES else self._first_at + SEAL_AFTER_S

    def seal(self, boottime: float, *, everything: bool = False) -> Sealed:
        """Seal full chunks, and with `everything`, or where it is old enough, the rest too."""
        sealed = Sealed()
        old = self._first_at is not None and boottime >= self._first_at + SEAL_AFTER_S
        while self._buffered >= CHUNK_BYTES or ((everything or old) and self._buffered):
            self._seal_one(sealed)
            self._first_at = boottime
        if not self._buffered:
            self._first_at = None
        self._advance()
        return sealed

    def finish(self, at: int) -> Sealed:
        """The end of the attempt's output: seal the rest; beyond `output_max`, cut the middle."""
        sealed = self.seal(0.0, everything=True)
        if self.marker_no is None or self.sealed <= self.output_max:
            return sealed
        cut_to = self.sealed - self.tail_max
        lines: int | None = None
        tail = [chunk.record for chunk in self._held]
        if cut_to >= self.output_max:
            lines = self.lines - self._head_lines
            if tail:
                first = OUTPUT_RECORD.decode(tail[0])
                assert isinstance(first, Output)
                kept = without_beginning(first, cut_to - first.offset)
                tail[0] = OUTPUT_RECORD.encode(kept)
                lines = kept.first_line - self._head_lines
        cut = Cut(
            run_id=self.run_id,
            attempt=self.attempt,
            chunk_no=self.marker_no,
            step=self.last_step,
            from_offset=self.head_max,
            to_offset=cut_to,
            first_line=self._head_lines,
            lines=lines,
            at=at,
        )
        sealed.records += [OUTPUT_RECORD.encode(cut), *tail]
        sealed.release += [(self.run_id, self.attempt, held.chunk_no) for held in self._held]
        self._held.clear()
        return sealed

    @property
    def cut_bytes(self) -> int:
        """How much `output_max` leaves out of what has been sealed."""
        return max(0, self.sealed - self.output_max)

    def progress(self) -> Progress:
        """What to remember: up to `position` the keeper may forget."""
        return Progress(
            position=self.position,
            skip=self._skip,
            chunk_no=self.chunk_no,
            sealed=self.sealed,
            lines=self.lines,
            marker_no=self.marker_no,
            head_lines=self._head_lines,
            last_step=self.last_step,
        )

    # -- within -----------------------------------------------------------------------------------

    def _seal_one(self, sealed: Sealed) -> None:
        """One chunk off the buffer: of one step, within one of head, middle and beyond."""
        if self.sealed == self.head_max and self.marker_no is None:
            self.marker_no = self.chunk_no
            self.chunk_no += 1
            self._head_lines = self.lines
        room = CHUNK_BYTES
        for boundary in (self.head_max, self.output_max):
            if self.sealed < boundary:
                room = min(room, boundary - self.sealed)
        step = self._frames[0].step
        started_at = self._frames[0].at
        pieces: list[bytes] = []
        segments: list[Segment] = []
        while (
            room and self._frames and self._frames[0].step == step and len(segments) < SEGMENTS_MAX
        ):
            frame = self._frames.popleft()
            piece = frame.data[:room]
            if len(piece) < len(frame.data):
                rest = frame.data[len(piece) :]
                self._frames.appendleft(Frame(frame.step, frame.stream, frame.at, rest))
            room -= len(piece)
            pieces.append(piece)
            _extend(segments, frame.stream, len(piece), max(0, frame.at - started_at) // 1000)
        data = b"".join(pieces)
        lines = data.count(b"\n")
        record = OUTPUT_RECORD.encode(
            Output(
                run_id=self.run_id,
                attempt=self.attempt,
                chunk_no=self.chunk_no,
                step=step + 1,
                offset=self.sealed,
                first_line=self.lines,
                lines=lines,
                started_at=started_at,
                segments=pack(segments),
                data=data,
            )
        )
        if self.sealed >= self.output_max:
            self._hold(Held(self.run_id, self.attempt, self.chunk_no, len(data), record), sealed)
        else:
            sealed.records.append(record)
        self.chunk_no += 1
        self.sealed += len(data)
        self.lines += lines
        self.last_step = step + 1
        self._buffered -= len(data)

    def _hold(self, chunk: Held, sealed: Sealed) -> None:
        """Hold a chunk back, and let go of those that the tail has left behind."""
        self._held.append(chunk)
        self._held_bytes += chunk.size
        sealed.hold.append(chunk)
        while self._held and self._held_bytes - self._held[0].size >= self.tail_max:
            gone = self._held.popleft()
            self._held_bytes -= gone.size
            if gone in sealed.hold:
                sealed.hold.remove(gone)
            else:
                sealed.release.append((gone.run_id, gone.attempt, gone.chunk_no))

    def _advance(self) -> None:
        """Move the keeper's position past everything that is sealed whole."""
        while self._boundaries and self._boundaries[0][0] <= self.sealed:
            self._passed, self.position = self._boundaries.popleft()
        self._skip = self.sealed - self._passed


def without_beginning(record: Output, drop: int) -> Output:
    """The chunk without its first `drop` bytes: same number, offsets and lines moved on."""
    if not drop:
        return record
    gone_lines = record.data.count(b"\n", 0, drop)
    return Output(
        run_id=record.run_id,
        attempt=record.attempt,
        chunk_no=record.chunk_no,
        step=record.step,
        offset=record.offset + drop,
        first_line=record.first_line + gone_lines,
        lines=record.lines - gone_lines,
        started_at=record.started_at,
        segments=segment.without_beginning(record.segments, drop),
        data=record.data[drop:],
    )


def _extend(segments: list[Segment], stream: int, length: int, offset_ms: int) -> None:
    """Append a piece, or lengthen the last one where it is of the same stream and moment."""
    if segments and segments[-1].stream == stream and segments[-1].offset_ms == offset_ms:
        length += segments.pop().length
    segments.append(Segment(stream=stream, length=length, offset_ms=offset_ms))
