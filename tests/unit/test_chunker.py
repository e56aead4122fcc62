"""Output becomes chunks: every byte once, in order, whatever the cuts, restarts and limits."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bartoc.chunker import CHUNK_BYTES, SEGMENTS_MAX, Chunker, Sealed, without_beginning
from bartoc.journal import Held, Moved, held_chunk
from bartoc.runner import FRAME_HEADER, Frame
from libbarto.message.v2.record import OUTPUT_RECORD, Cut, Output
from libbarto.message.v2.segment import Segment, pack, unpack

RUN = bytes(range(16))


class Ledger:
    """What a reader at the other end would have: rows by number, as a store keeps them."""

    def __init__(self) -> None:
        self.rows: dict[int, Output] = {}
        self.held: dict[int, Held] = {}
        self.cut: Cut | None = None
        self.cut_lines = 0
        self.gaps: list[Cut] = []

    def take(self, sealed: Sealed) -> None:
        for chunk in sealed.hold:
            self.held[chunk.chunk_no] = chunk
        for _, _, number in sealed.release:
            self.held.pop(number, None)
        for item in sealed.records:
            if isinstance(item, Moved):
                assert item.count == len(self.held)
                for number in sorted(self.held):
                    self.store(self.held.pop(number).record)
            else:
                self.store(item)

    def store(self, data: bytes) -> None:
        record = OUTPUT_RECORD.decode(data)
        if isinstance(record, Cut) and not record.reason:
            self.apply(record)
        elif isinstance(record, Cut):
            self.gaps.append(record)
        else:
            assert isinstance(record, Output)
            assert record.chunk_no not in self.rows
            self.rows[record.chunk_no] = record

    def apply(self, cut: Cut) -> None:
        self.cut = cut
        after = cut.first_line + (cut.lines or 0)
        for number, row in list(self.rows.items()):
            end = row.offset + len(row.data)
            if row.offset >= cut.from_offset and end <= cut.to_offset:
                del self.rows[number]
                if cut.lines is None:
                    after = row.first_line + row.lines
            elif cut.from_offset <= row.offset < cut.to_offset:
                self.rows[number] = without_beginning(row, cut.to_offset - row.offset)
                after = self.rows[number].first_line
        self.cut_lines = after - cut.first_line

    def data(self) -> bytes:
        return b"".join(self.rows[number].data for number in sorted(self.rows))


def outputs(sealed: Sealed) -> list[Output]:
    """The chunks among what was sealed."""
    records = [OUTPUT_RECORD.decode(item) for item in sealed.records if isinstance(item, bytes)]
    return [record for record in records if isinstance(record, Output)]


def frames_of(data: bytes, sizes: list[int]) -> list[Frame]:
    """`data` as frames of these sizes, the streams in turn, a millisecond apart."""
    frames = []
    at = 0
    for number, size in enumerate(sizes):
        piece = data[at : at + size]
        at += size
        if piece:
            frames.append(Frame(0, 1 + number % 2, 1000 * number, piece))
    if data[at:]:
        frames.append(Frame(0, 1, 1000 * len(sizes), data[at:]))
    return frames


def run_through(
    frames: list[Frame], output_max: int, seals: list[bool], restarts: list[bool]
) -> Ledger:
    """Feed a chunker frame by frame, sealing and restarting as told."""
    ledger = Ledger()
    chunker = Chunker(RUN, 1, output_max)
    ends = [0]
    for frame in frames:
        ends.append(ends[-1] + FRAME_HEADER + frame.size)
    for turn, frame in enumerate(frames):
        chunker.feed(ends[turn + 1], [frame], turn * 0.01)
        ledger.take(chunker.seal(turn * 0.01, everything=seals[turn % len(seals)]))
        if restarts[turn % len(restarts)]:
            held = [held_chunk(ledger.held[number]) for number in sorted(ledger.held)]
            progress = chunker.progress()
            chunker = Chunker(RUN, 1, output_max, progress, held, chunker.gaps())
            for again in range(ends.index(progress.position), turn + 1):
                chunker.feed(ends[again + 1], [frames[again]], turn * 0.01)
    ledger.take(chunker.finish(7))
    return ledger


pieces = st.lists(st.integers(1, 90), min_size=1, max_size=30)
booleans = st.lists(st.booleans(), min_size=1, max_size=5)
texts = st.builds(
    lambda piece, times: piece * times,
    st.lists(st.sampled_from([b"\n", b"a", b"\x00", b"\xff"]), max_size=60).map(b"".join),
    st.integers(1, 12),
)


@given(texts, pieces, st.one_of(st.integers(0, 90), st.integers(90, 700)), booleans, booleans)
@settings(max_examples=300)
def test_head_and_tail_are_kept_to_the_byte_and_the_marker_counts_exactly(
    data: bytes, sizes: list[int], output_max: int, seals: list[bool], restarts: list[bool]
) -> None:
    ledger = run_through(frames_of(data, sizes), output_max, seals, restarts)
    if len(data) <= output_max:
        assert ledger.data() == data
        assert ledger.cut is None
        return
    head = output_max // 10
    tail = output_max - head
    cut_to = len(data) - tail
    assert ledger.data() == data[:head] + data[cut_to:]
    assert ledger.cut is not None
    assert (ledger.cut.from_offset, ledger.cut.to_offset) == (head, cut_to)
    assert ledger.cut_lines == data[head:cut_to].count(b"\n")
    assert ledger.cut.chunk_no not in ledger.rows
    assert not ledger.held


@given(texts, pieces, booleans, booleans, booleans)
@settings(max_examples=200)
def test_what_is_lost_is_marked_to_the_byte_and_the_rest_is_whole(
    data: bytes, sizes: list[int], lost: list[bool], seals: list[bool], restarts: list[bool]
) -> None:
    frames = []
    kept: list[tuple[int, bytes]] = []
    offset = gone = gone_lines = 0
    for number, frame in enumerate(frames_of(data, sizes)):
        if lost[number % len(lost)]:
            lines = frame.data.count(b"\n")
            gone, gone_lines = gone + len(frame.data), gone_lines + lines
            frames.append(Frame(0, frame.stream, frame.at, b"", len(frame.data), lines))
        else:
            kept.append((offset, frame.data))
            frames.append(frame)
        offset += frame.size
    ledger = run_through(frames, 10_000, seals, restarts)
    found = {row.offset: row for row in ledger.rows.values()}
    stored = bytearray(len(data))
    for at, row in found.items():
        stored[at : at + len(row.data)] = row.data
        assert row.first_line == data.count(b"\n", 0, at)
    for at, piece in kept:
        assert stored[at : at + len(piece)] == piece
    assert sum(cut.to_offset - cut.from_offset for cut in ledger.gaps) == gone
    assert sum(cut.lines or 0 for cut in ledger.gaps) == gone_lines
    numbers = [*ledger.rows, *(cut.chunk_no for cut in ledger.gaps)]
    assert sorted(numbers) == list(range(len(numbers)))


@given(texts, pieces, st.integers(0, 700), booleans, booleans, booleans)
@settings(max_examples=200)
def test_the_tail_is_kept_however_much_is_lost_before_it(
    data: bytes,
    sizes: list[int],
    output_max: int,
    lost: list[bool],
    seals: list[bool],
    restarts: list[bool],
) -> None:
    frames = [
        Frame(0, one.stream, one.at, b"", len(one.data), 0) if lost[n % len(lost)] else one
        for n, one in enumerate(frames_of(data.replace(b"\n", b"x"), sizes))
    ]
    ledger = run_through(frames, output_max, seals, restarts)
    assert not ledger.held
    assert sum(len(row.data) for row in ledger.rows.values()) <= max(output_max, 0)
    tail = output_max - output_max // 10
    if ledger.cut is not None and frames[-1].data:
        last = frames[-1].data[-tail:] if tail else b""
        assert ledger.data().endswith(last)


@given(texts, pieces, booleans)
def test_each_chunk_says_where_it_stands(data: bytes, sizes: list[int], seals: list[bool]) -> None:
    ledger = run_through(frames_of(data, sizes), 10_000, seals, [False])
    offset = lines = 0
    for number in sorted(ledger.rows):
        row = ledger.rows[number]
        assert (row.offset, row.first_line) == (offset, lines)
        assert row.lines == row.data.count(b"\n")
        assert sum(segment.length for segment in unpack(row.segments)) == len(row.data)
        offset += len(row.data)
        lines += row.lines


@given(texts, pieces)
def test_both_streams_keep_their_order(data: bytes, sizes: list[int]) -> None:
    frames = frames_of(data, sizes)
    ledger = run_through(frames, 10_000, [False], [False])
    streams: dict[int, bytes] = {1: b"", 2: b""}
    for number in sorted(ledger.rows):
        at = 0
        for segment in unpack(ledger.rows[number].segments):
            streams[segment.stream] += ledger.rows[number].data[at : at + segment.length]
            at += segment.length
    for stream, found in streams.items():
        assert found == b"".join(frame.data for frame in frames if frame.stream == stream)


def test_a_chunk_is_sealed_when_it_is_full() -> None:
    chunker = Chunker(RUN, 1, 10 * 1024 * 1024)
    chunker.feed(1, [Frame(0, 1, 0, b"x" * (CHUNK_BYTES + 1))], 0.0)
    sealed = chunker.seal(0.0)
    assert [len(row.data) for row in outputs(sealed)] == [CHUNK_BYTES]
    assert chunker.progress().position == 0
    assert chunker.progress().skip == CHUNK_BYTES


def test_an_unfinished_chunk_is_sealed_when_it_is_50_ms_old() -> None:
    chunker = Chunker(RUN, 1, 10_000)
    assert chunker.next_due() is None
    chunker.feed(1, [Frame(0, 1, 0, b"x")], 5.0)
    assert not chunker.seal(5.049)
    assert chunker.next_due() == 5.05
    assert chunker.seal(5.05)
    assert chunker.next_due() is None


def test_a_chunk_holds_output_of_one_step_only() -> None:
    chunker = Chunker(RUN, 1, 10_000)
    chunker.feed(1, [Frame(0, 1, 0, b"one"), Frame(1, 1, 5, b"two")], 0.0)
    rows = outputs(chunker.finish(9))
    assert [(row.step, row.data) for row in rows] == [(1, b"one"), (2, b"two")]


def test_dropping_the_beginning_of_a_chunk_moves_its_segments_on() -> None:
    chunk = Output(
        run_id=RUN, attempt=1, chunk_no=0, step=1, offset=10, first_line=2, lines=2,
        started_at=0, segments=pack([Segment(stream=1, length=3), Segment(stream=2, length=3)]),
        data=b"a\nbc\nd",
    )  # fmt: skip
    rest = without_beginning(chunk, 4)
    assert (rest.offset, rest.first_line, rest.lines, rest.data) == (14, 3, 1, b"\nd")
    assert unpack(rest.segments) == [Segment(stream=2, length=2)]
    assert without_beginning(chunk, 0) is chunk


def test_a_frame_that_was_sealed_whole_is_passed_over_after_a_restart() -> None:
    frames = [Frame(0, 1, 0, b"x" * CHUNK_BYTES), Frame(0, 1, 1, b"rest")]
    chunker = Chunker(RUN, 1, 10 * 1024 * 1024)
    chunker.feed(99, frames, 0.0)
    assert len(outputs(chunker.seal(0.0))) == 1
    progress = chunker.progress()
    assert (progress.position, progress.skip) == (0, CHUNK_BYTES)
    again = Chunker(RUN, 1, 10 * 1024 * 1024, progress)
    again.feed(99, frames, 0.0)
    (row,) = outputs(again.finish(1))
    assert (row.chunk_no, row.offset, row.data) == (1, CHUNK_BYTES, b"rest")
    assert again.progress().position == 99


def test_without_room_for_any_output_all_of_it_is_cut() -> None:
    chunker = Chunker(RUN, 1, 0)
    chunker.feed(1, [Frame(0, 1, 0, b"a\nb\n")], 0.0)
    (item,) = chunker.finish(1).records
    assert isinstance(item, bytes)
    record = OUTPUT_RECORD.decode(item)
    assert isinstance(record, Cut)
    assert (record.from_offset, record.to_offset, record.lines) == (0, 4, 2)
    assert chunker.cut_bytes == 4


def test_what_the_tail_leaves_behind_at_once_is_never_held() -> None:
    chunker = Chunker(RUN, 1, 10)
    chunker.feed(1, [Frame(step, 1, 0, b"0123456789") for step in range(4)], 0.0)
    sealed = chunker.seal(0.0, everything=True)
    assert [held.size for held in sealed.hold] == [10]
    assert sealed.release == []


def test_pieces_of_one_stream_and_moment_are_one_segment() -> None:
    chunker = Chunker(RUN, 1, 1000)
    frames = [Frame(0, 1, 100, b"a"), Frame(0, 1, 900, b"b"), Frame(0, 2, 900, b"c")]
    chunker.feed(1, frames, 0.0)
    (row,) = outputs(chunker.finish(1))
    assert [(s.stream, s.length) for s in unpack(row.segments)] == [(1, 2), (2, 1)]


def test_a_cut_within_what_was_sent_is_left_to_whoever_stored_it() -> None:
    chunker = Chunker(RUN, 1, 100)
    ledger = Ledger()
    for number in range(15):
        chunker.feed(number + 1, [Frame(0, 1, 0, b"012345678\n")], 0.0)
        ledger.take(chunker.seal(0.0, everything=True))
    ledger.take(chunker.finish(1))
    assert ledger.cut is not None
    assert (ledger.cut.from_offset, ledger.cut.to_offset, ledger.cut.lines) == (10, 60, None)
    assert (ledger.cut_lines, len(ledger.data())) == (5, 100)


def test_what_the_tail_leaves_behind_later_is_let_go() -> None:
    chunker = Chunker(RUN, 1, 10)
    released = []
    for number in range(5):
        chunker.feed(number + 1, [Frame(0, 1, 0, b"0123456789")], 0.0)
        released += chunker.seal(0.0, everything=True).release
    assert [number for _, _, number in released] == sorted(number for _, _, number in released)
    assert released


def test_streams_that_take_turns_byte_by_byte_make_chunks_that_fit_a_record() -> None:
    chunker = Chunker(RUN, 1, 10_000_000)
    frames = [Frame(0, 1 + number % 2, number * 1000, b"x") for number in range(33_000)]
    chunker.feed(1, frames, 0.0)
    rows = outputs(chunker.finish(1))
    assert sum(len(row.data) for row in rows) == 33_000
    assert max(len(unpack(row.segments)) for row in rows) <= SEGMENTS_MAX


def test_a_gap_goes_on_after_a_restart_that_comes_within_it() -> None:
    gone = Frame(0, 1, 0, b"", 100, 10)
    chunker = Chunker(RUN, 1, 10_000)
    chunker.feed(100, [gone], 0.0)
    assert chunker.next_due() == 0.05
    sealed = chunker.seal(0.05)
    assert sealed
    assert sealed.records == []
    again = Chunker(RUN, 1, 10_000, chunker.progress(), (), chunker.gaps())
    again.feed(200, [Frame(0, 1, 1, b"", 50, 5), Frame(0, 2, 2, b"rest\n")], 1.0)
    cut, row = [
        OUTPUT_RECORD.decode(item) for item in again.finish(3).records if isinstance(item, bytes)
    ]
    assert isinstance(cut, Cut) and isinstance(row, Output)
    assert (cut.from_offset, cut.to_offset, cut.lines, cut.chunk_no) == (0, 150, 15, 0)
    assert (row.offset, row.first_line, row.chunk_no) == (150, 15, 1)


def test_of_a_frame_that_was_sealed_in_part_only_the_rest_is_read_again() -> None:
    frames = [Frame(0, 1, 0, b"x" * CHUNK_BYTES + b"rest\n")]
    chunker = Chunker(RUN, 1, 10 * CHUNK_BYTES)
    chunker.feed(9, frames, 0.0)
    chunker.seal(0.0)
    again = Chunker(RUN, 1, 10 * CHUNK_BYTES, chunker.progress())
    again.feed(9, frames, 1.0)
    (row,) = outputs(again.finish(3))
    assert (row.offset, row.data) == (CHUNK_BYTES, b"rest\n")
    assert chunker.cut_bytes == again.cut_bytes == 0


def test_what_is_sealed_counts_records_that_are_still_held() -> None:
    chunker = Chunker(RUN, 1, 100)
    chunker.feed(9, [Frame(0, 1, number, b"y" * 60) for number in range(9)], 0.0)
    sealed = chunker.finish(3)
    moved = [item for item in sealed.records if isinstance(item, Moved)]
    assert sealed.count == len(sealed.records) - 1 + moved[0].count


def test_of_a_frame_that_is_lost_only_what_was_not_sealed_before_is_missing() -> None:
    chunker = Chunker(RUN, 1, 10 * CHUNK_BYTES)
    chunker.feed(9, [Frame(0, 1, 0, b"x" * CHUNK_BYTES + b"rest\n")], 0.0)
    assert len(outputs(chunker.seal(0.0))) == 1
    again = Chunker(RUN, 1, 10 * CHUNK_BYTES, chunker.progress(), (), chunker.gaps())
    again.feed(9, [Frame(0, 1, 0, b"", CHUNK_BYTES + 5, 1)], 1.0)
    (item,) = again.finish(3).records
    assert isinstance(item, bytes)
    cut = OUTPUT_RECORD.decode(item)
    assert isinstance(cut, Cut)
    assert (cut.from_offset, cut.to_offset, cut.lines) == (CHUNK_BYTES, CHUNK_BYTES + 5, 1)


def test_a_head_that_ends_within_a_gap_ends_there() -> None:
    chunker = Chunker(RUN, 1, 100)
    frames = [Frame(0, 1, 0, b"12345"), Frame(0, 1, 1, b"", 20, 0), Frame(0, 1, 2, b"y" * 200)]
    chunker.feed(9, frames, 0.0)
    ledger = Ledger()
    sealed = chunker.finish(3)
    ledger.take(sealed)
    assert ledger.cut is not None
    assert (ledger.cut.from_offset, ledger.cut.to_offset) == (25, 135)
    assert chunker.cut_bytes == 110
    assert ledger.data() == b"12345" + b"y" * 90
