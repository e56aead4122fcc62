"""Pieces and lines of output: nothing is lost, whatever the segments say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bartos.store.port import ChunkRow
from bartos.transcript import Lines, Piece, lines, pieces
from libbarto.message.v2 import segment
from libbarto.message.v2.record import Stream

STREAMS = st.sampled_from([Stream.STDOUT, Stream.STDERR])


def chunk(data: bytes, segments: bytes) -> ChunkRow:
    return ChunkRow(3, 1, 0, 0, 0, 1_000_000, segments, data)


def test_a_chunk_falls_into_its_segments() -> None:
    packed = segment.pack(
        [
            segment.Segment(stream=1, length=2, offset_ms=0),
            segment.Segment(stream=2, length=3, offset_ms=7),
        ]
    )
    assert list(pieces(chunk(b"abcde", packed))) == [
        Piece(3, 1, Stream.STDOUT, 1_000_000, b"ab"),
        Piece(3, 1, Stream.STDERR, 1_007_000, b"cde"),
    ]


@given(st.binary(max_size=50), st.lists(st.tuples(st.integers(0, 255), st.integers(0, 60))))
def test_no_byte_is_lost_whatever_the_segments_say(
    data: bytes, parts: list[tuple[int, int]]
) -> None:
    packed = segment.pack([segment.Segment(stream=s, length=n) for s, n in parts])
    assert b"".join(piece.data for piece in pieces(chunk(data, packed))) == data


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_no_byte_is_lost_where_segments_cannot_be_read(data: bytes, junk: bytes) -> None:
    assert b"".join(piece.data for piece in pieces(chunk(data, junk))) == data


@given(
    st.lists(st.tuples(STREAMS, st.text("ab\n", max_size=6).map(str.encode)), max_size=12),
    st.integers(1, 5),
)
def test_lines_are_those_of_each_stream(parts: list[tuple[Stream, bytes]], longest: int) -> None:
    gathering = Lines(longest)
    read = [Piece(0, 0, stream, number, data) for number, (stream, data) in enumerate(parts)]
    found = [line for piece in read for line in gathering.feed(piece)]
    found += gathering.rest()
    assert list(gathering.rest()) == []
    for stream in (Stream.STDOUT, Stream.STDERR):
        whole = b"".join(data for which, data in parts if which is stream)
        mine = [line.data for line in found if line.stream is stream]
        assert b"".join(mine) == whole.replace(b"\n", b"")
        assert all(len(line) <= longest for line in mine)
    unbounded = [line.data for line in lines(p for p in read if p.stream is Stream.STDOUT)]
    out = b"".join(data for which, data in parts if which is Stream.STDOUT)
    assert unbounded == (out.removesuffix(b"\n").split(b"\n") if out else [])


def test_a_line_is_as_old_as_its_first_byte() -> None:
    read = [
        Piece(0, 0, Stream.STDOUT, 10, b"on"),
        Piece(0, 0, Stream.STDOUT, 20, b"e\ntwo\nthr"),
        Piece(0, 0, Stream.STDOUT, 30, b"ee"),
    ]
    assert [(line.at, line.data) for line in lines(read)] == [
        (10, b"one"),
        (20, b"two"),
        (20, b"three"),
    ]
