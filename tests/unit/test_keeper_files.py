"""What stands in the keeper's files and on its socket reads back, however it was cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartoc.keeper import files

FRAMES = st.lists(
    st.tuples(
        st.integers(0, 2**16 - 1),
        st.sampled_from([1, 2]),
        st.integers(0, 2**64 - 1),
        st.binary(min_size=1, max_size=40),
    ),
    max_size=8,
)
MESSAGES = st.lists(
    st.fixed_dictionaries({"is": st.text(max_size=5), "env": st.dictionaries(st.text(), st.text())})
)


def written(frames: list[tuple[int, int, int, bytes]]) -> bytes:
    return b"".join(
        files.frame_header(step, stream, at, len(data)) + data for step, stream, at, data in frames
    )


@given(FRAMES)
def test_frames_read_back(frames: list[tuple[int, int, int, bytes]]) -> None:
    data = written(frames)
    assert list(files.frames(data)) == frames
    assert files.whole_frames(data) == len(data)


@given(FRAMES, st.data())
def test_a_torn_frame_reads_as_never_written(
    frames: list[tuple[int, int, int, bytes]], data: st.DataObject
) -> None:
    whole = written(frames)
    cut = data.draw(st.integers(0, len(whole)))
    read = list(files.frames(whole[:cut]))
    assert read == frames[: len(read)]
    assert written(read) == whole[: files.whole_frames(whole[:cut])]
    assert cut - files.whole_frames(whole[:cut]) < files.FRAME_HEADER + 40


@given(MESSAGES, st.lists(st.integers(1, 50), min_size=1))
def test_messages_read_back_however_they_come(
    messages: list[files.Message], sizes: list[int]
) -> None:
    data = b"".join(map(files.pack, messages))
    unpacker = files.Unpacker()
    read: list[files.Message] = []
    while data:
        size = sizes[len(data) % len(sizes)]
        read += unpacker.feed(data[:size])
        data = data[size:]
    assert read == messages


def test_names_and_bytes_that_are_no_unicode_survive() -> None:
    message = {"is": "spawn", "env": {"A": b"\xff\xfe".decode("utf-8", "surrogateescape")}}
    assert files.Unpacker().feed(files.pack(message)) == [message]


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        (2).to_bytes(4, "little") + b"{}",
        (2).to_bytes(4, "little") + b"[]",
        (3).to_bytes(4, "little") + b"\xff{}",
        (10).to_bytes(4, "little") + b'{"is": 12}',
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        files.Unpacker().feed(data)


@given(MESSAGES, st.integers(0, 100))
def test_status_lines_read_back_and_a_torn_one_does_not(
    messages: list[files.Message], torn: int
) -> None:
    data = b"".join(map(files.status_line, messages))
    rest = files.status_line({"is": "done", "why": "x" * torn})[:-1]
    assert files.status_lines(data + rest) == messages
    assert all(json.loads(line) for line in data.splitlines())


@given(st.binary(min_size=16, max_size=16), st.integers(1, 10**6))
def test_names_of_attempts_read_back(run: bytes, attempt: int) -> None:
    assert files.parse_attempt_name(files.attempt_name(run.hex(), attempt)) == (run.hex(), attempt)


@pytest.mark.parametrize("name", ["", "x", ".new." + "0" * 32 + ".1", "0" * 32, "G" * 32 + ".1"])
def test_other_names_are_no_attempts(name: str) -> None:
    assert files.parse_attempt_name(name) is None


def test_segments_are_found_in_order_among_other_files() -> None:
    begins = [0, 1_048_600, 20_000_000_000]
    names = [files.segment_name(begin) for begin in reversed(begins)]
    assert files.segments([*names, "status", "out.x"]) == begins
