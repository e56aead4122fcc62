"""How a run's output becomes chunks: sealed by size or age, bounded by `output_max`, exact.

The keeper's output files are the buffer: what is not sealed yet needs no place of its own, as it
can be read again from the keeper's position that `seal` names. Beyond `output_max` chunks are held
back in the journal, in a ring as long as the tail that is kept; when the run ends, they follow what
was sent, the middle is cut out and a marker says how much that was. What was lost on the way to
here is marked in the same manner.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bartoc.journal import Held, HeldChunk, Moved
from bartoc.runner import Frame
from libbarto.codec import U32, U64, Struct
from libbarto.message.v2 import segment
from libbarto.message.v2.record import OUTPUT_RECORD, Cut, Output
from libbarto.message.v2.segment import Segment, pack

CHUNK_BYTES: Final = 32 * 1024
SEAL_AFTER_S: Final = 0.05
HEAD_SHARE: Final = 10
NO_ROOM: Final = "the worker had no room for it"
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


class Gaps(Struct):
    """What the chunker must remember of output that was lost: the gap that it stands at, in bytes
    and lines; and where the head ends, which may be within one."""

    open_bytes: U64 = 0
    open_lines: U64 = 0
    head_end: U64 | None = None


@dataclass(slots=True)
class Sealed:
    """What a sealing gives: records for the output lane, chunks to hold, chunks to let go; `moved`
    where it got on without any, as what came was lost."""

    records: list[bytes | Moved] = field(default_factory=list)
    hold: list[Held] = field(default_factory=list)
    release: list[tuple[bytes, int, int]] = field(default_factory=list)
    moved: bool = False

    def __bool__(self) -> bool:
        return bool(self.records or self.hold or self.release or self.moved)

    @property
    def count(self) -> int:
        """How many records go into the output lane."""
        return sum(item.count if isinstance(item, Moved) else 1 for item in self.records)


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
        held: Sequence[HeldChunk] = (),
        gaps: Gaps | None = None,
    ) -> None:
        start = Progress() if progress is None else progress
        lost = Gaps() if gaps is None else gaps
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
        self._held: deque[HeldChunk] = deque(held)
        self._frames: deque[Frame] = deque()
        self._buffered = 0
        self._gap_bytes = lost.open_bytes
        self._gap_lines = lost.open_lines
        self._head_end = self.head_max if lost.head_end is None else lost.head_end
        self._fed = start.sealed - start.skip
        self._boundaries: deque[tuple[int, int]] = deque()
        self._passed = start.sealed - start.skip
        self._first_at: float | None = None

    # -- in ---------------------------------------------------------------------------------------

    def feed(self, position: int, frames: Sequence[Frame], boottime: float) -> None:
        """Frames of the keeper's, up to its output position `position`."""
        for frame in frames:
            self._fed += frame.size
            known = min(self._to_skip, frame.size)
            self._to_skip -= known
            if known < frame.size:
                left = _without(frame, known)
                self._frames.append(left)
                self._buffered += len(left.data)
        self._boundaries.append((self._fed, position))
        if self._frames and self._first_at is None:
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
        while self._buffered >= CHUNK_BYTES or ((everything or old) and self._frames):
            self._seal_one(sealed)
            self._first_at = boottime
        if not self._frames:
            self._first_at = None
        self._advance()
        return sealed

    def finish(self, at: int) -> Sealed:
        """The end of the attempt's output: seal the rest; beyond `output_max`, cut the middle."""
        sealed = self.seal(0.0, everything=True)
        self._end_gap(sealed, at)
        if self.marker_no is None or self.sealed <= self.output_max:
            return sealed
        cut_to = self._cut_to()
        # Where the cut ends within a chunk, whoever stores it drops its beginning, and counts.
        lines: int | None = None
        if not self._held and cut_to == self.sealed:
            lines = self.lines - self._head_lines
        elif self._held and self._held[0].offset == cut_to:
            lines = self._held[0].first_line - self._head_lines
        if self._held:
            sealed.records.append(Moved(self.run_id, self.attempt, len(self._held)))
            self._held.clear()
        cut = Cut(
            run_id=self.run_id,
            attempt=self.attempt,
            chunk_no=self.marker_no,
            step=self.last_step,
            from_offset=self._head_end,
            to_offset=cut_to,
            first_line=self._head_lines,
            lines=lines,
            at=at,
        )
        sealed.records.append(OUTPUT_RECORD.encode(cut))
        return sealed

    @property
    def cut_bytes(self) -> int:
        """How much `output_max` leaves out of what has been sealed."""
        if self.marker_no is None or self.sealed <= self.output_max:
            return 0
        return max(0, self._cut_to() - self._head_end)

    def gaps(self) -> Gaps:
        """What to remember of what was lost."""
        return Gaps(
            open_bytes=self._gap_bytes,
            open_lines=self._gap_lines,
            head_end=None if self.marker_no is None else self._head_end,
        )

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
        if self._frames[0].lost:
            self._pass_over(self._frames.popleft(), sealed)
            return
        self._end_gap(sealed, self._frames[0].at)
        if self.sealed >= self.head_max and self.marker_no is None:
            self.marker_no = self.chunk_no
            self.chunk_no += 1
            self._head_lines = self.lines
            self._head_end = self.sealed
        room = CHUNK_BYTES
        for boundary in (self.head_max, self.output_max):
            if self.sealed < boundary:
                room = min(room, boundary - self.sealed)
        step = self._frames[0].step
        started_at = self._frames[0].at
        pieces: list[bytes] = []
        segments: list[Segment] = []
        while (
            room
            and self._frames
            and self._frames[0].step == step
            and not self._frames[0].lost
            and len(segments) < SEGMENTS_MAX
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

    def _pass_over(self, frame: Frame, sealed: Sealed) -> None:
        """What this frame carried is lost: the gap grows, and is marked when it ends."""
        self._gap_bytes += frame.lost
        self._gap_lines += frame.lost_lines
        self.sealed += frame.lost
        self.lines += frame.lost_lines
        self.last_step = frame.step + 1
        sealed.moved = True
        self._let_go(sealed)

    def _cut_to(self) -> int:
        """Where the tail begins."""
        return max(self.sealed - self.tail_max, self._head_end)

    def _end_gap(self, sealed: Sealed, at: int) -> None:
        """Mark the gap that ends here, if there is one."""
        if not self._gap_bytes:
            return
        cut = Cut(
            run_id=self.run_id,
            attempt=self.attempt,
            chunk_no=self.chunk_no,
            step=self.last_step,
            from_offset=self.sealed - self._gap_bytes,
            to_offset=self.sealed,
            first_line=self.lines - self._gap_lines,
            lines=self._gap_lines,
            at=at,
            reason=NO_ROOM,
        )
        sealed.records.append(OUTPUT_RECORD.encode(cut))
        self.chunk_no += 1
        self._gap_bytes = self._gap_lines = 0

    def _hold(self, chunk: Held, sealed: Sealed) -> None:
        """Hold a chunk back, and let go of those that the tail has left behind."""
        self._held.append(HeldChunk(chunk.chunk_no, chunk.size, self.sealed, self.lines))
        sealed.hold.append(chunk)
        self._let_go(sealed, chunk.size)

    def _let_go(self, sealed: Sealed, coming: int = 0) -> None:
        """Hold no more than the tail needs; `coming` bytes are held, and not yet sealed."""
        end = self.sealed + coming
        while self._held:
            first = self._held[0]
            if end - (first.offset + first.size) < self.tail_max:
                return
            self._held.popleft()
            for place, chunk in enumerate(sealed.hold):
                if chunk.chunk_no == first.chunk_no:
                    del sealed.hold[place]
                    break
            else:
                sealed.release.append((self.run_id, self.attempt, first.chunk_no))

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


def _without(frame: Frame, known: int) -> Frame:
    """A frame without its first `known` bytes."""
    if not known:
        return frame
    if not frame.lost:
        return Frame(frame.step, frame.stream, frame.at, frame.data[known:])
    # Of bytes that are lost nobody knows where their lines end: those counted so far stay so.
    lines = min(frame.lost_lines, frame.lost - known)
    return Frame(frame.step, frame.stream, frame.at, b"", frame.lost - known, lines)


def _extend(segments: list[Segment], stream: int, length: int, offset_ms: int) -> None:
    """Append a piece, or lengthen the last one where it is of the same stream and moment."""
    if segments and segments[-1].stream == stream and segments[-1].offset_ms == offset_ms:
        length += segments.pop().length
    segments.append(Segment(stream=stream, length=length, offset_ms=offset_ms))
