"""Which bytes of a chunk came from which stream, and when: `Output.segments`, compactly."""

from __future__ import annotations

from collections.abc import Iterable

from libbarto.codec import U8, U32, V2, Codec, Struct, codec


class Segment(Struct):
    """A piece of a chunk: `length` bytes of `stream`, read `offset_ms` after the chunk began."""

    stream: U8
    length: U32
    offset_ms: U32 = 0


SEGMENTS: Codec[list[Segment]] = codec(list[Segment], V2)


def pack(segments: Iterable[Segment]) -> bytes:
    """The bytes of a list of segments."""
    return SEGMENTS.encode(list(segments))


def unpack(data: bytes) -> list[Segment]:
    """The segments in `data`; raises `CodecError` where it is none of ours."""
    return SEGMENTS.decode(data)


def without_beginning(data: bytes, drop: int) -> bytes:
    """The packed segments of a chunk that lost its first `drop` bytes."""
    kept: list[Segment] = []
    left = drop
    for segment in unpack(data):
        gone = min(left, segment.length)
        left -= gone
        if segment.length > gone:
            kept.append(
                Segment(
                    stream=segment.stream,
                    length=segment.length - gone,
                    offset_ms=segment.offset_ms,
                )
            )
    return pack(kept)
