"""Stored output is compared with what was printed, stream by stream."""

from __future__ import annotations

import hashlib

from bartos.checksum import Checker
from bartos.store.port import ChunkRow, RunRow
from libbarto.message.v2.record import Stream, Verdict
from libbarto.message.v2.segment import Segment, pack


def chunk(number: int, *parts: tuple[Stream, bytes]) -> ChunkRow:
    segments = pack([Segment(stream=stream, length=len(data)) for stream, data in parts])
    return ChunkRow(number, 1, 0, 0, 0, 0, segments, b"".join(data for _, data in parts))


def run(out: bytes, err: bytes, *, cut: int = 0, told: bool = True) -> RunRow:
    return RunRow(
        b"r" * 16, 1, b"c" * 16, "tick", b"w" * 16, "web1", 0, 0, 0, 0, 1, 0, 1, Verdict.OK, "",
        0, None, True, len(out) + cut, len(err), cut, 0, 0,
        hashlib.sha256(out).digest() if told else b"",
        hashlib.sha256(err).digest() if told else b"",
    )  # fmt: skip


def test_both_streams_are_put_together_and_markers_do_not_count() -> None:
    checker = Checker()
    checker.feed([chunk(0, (Stream.STDOUT, b"a"), (Stream.STDERR, b"x"), (Stream.STDOUT, b"b"))])
    checker.feed([chunk(1, (Stream.MARKER, b"[barto]")), chunk(2, (Stream.STDERR, b"y"))])
    found = checker.finish(run(b"ab", b"xy"))
    assert found.whole
    assert [(one.printed, one.stored, one.same) for one in found.streams] == [
        (2, 2, True),
        (2, 2, True),
    ]


def test_what_differs_is_not_whole() -> None:
    checker = Checker()
    checker.feed([chunk(0, (Stream.STDOUT, b"ax"))])
    found = checker.finish(run(b"ab", b""))
    assert (found.whole, found.missing, found.streams[0].same) == (False, 0, False)


def test_of_what_is_not_all_here_the_hash_tells_nothing() -> None:
    checker = Checker()
    checker.feed([chunk(0, (Stream.STDOUT, b"ab"))])
    found = checker.finish(run(b"ab", b"", cut=7))
    assert (found.whole, found.cut, found.missing, found.streams[0].same) == (True, 7, 0, None)
    assert not Checker().finish(run(b"ab", b"")).whole
    assert Checker().finish(run(b"ab", b"")).missing == 2
    assert [one.same for one in Checker().finish(run(b"", b"", told=False)).streams] == [None, None]
