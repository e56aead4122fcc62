"""What stands in the keeper's files and on its socket, and how is it read back?

Plain functions over bytes, used by the keeper and by bartoc's side of it. Whatever was cut short
by a crash (the last frame of a segment, the last line of a status file) reads as if it had never
been written.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

Message: TypeAlias = dict[str, Any]
"""A JSON object: `is` names its kind. It is the edge of the program: whoever takes a value out of
it gives it a type."""

PROTOCOL: Final = 2
"""The version of the conversation, in the greeting; bartoc speaks the previous one too. Since 2
there are frames that tell of output that was dropped, and what is forgotten may still run."""

MESSAGE_MAX: Final = 16 * 1024 * 1024
"""Bytes of a message: several times what Linux allows for arguments and environment."""

SEGMENT_BYTES: Final = 1024 * 1024
"""A segment that has reached this is closed, so that it can go when it was taken over."""

UNTAKEN_MAX: Final = 8 * 1024 * 1024
"""Output that bartoc has not taken over, beyond which the keeper stops reading the pipes."""

READ_BYTES: Final = 64 * 1024
"""The most that is read from a pipe at once, so the most a frame carries: a pipe's capacity."""

LINES: Final = {
    "planned": "the directory was made: boot, at, and how to find its processes: marks, cgroup and "
    "queue_limit",
    "started": "a step has a process: step, pid, born (its start time in ticks), boot, at",
    "ended": "its main process is gone: step, code, signal, from, at, why",
    "done": "the attempt is over: at, timed_out, cancelled, orphans, streams",
    "refused": "it did not start: at, why",
    "lost": "the keeper or the host was lost: at, why, certain (that it did not start)",
}
"""The lines of a status file. Each has `pos`, the output position reached before it; instants are
microseconds since 1970 UTC. The first begins the file, exactly one of the last three ends it."""

FINAL: Final = frozenset({"done", "refused", "lost"})

GAP: Final = 3
"""The stream of a frame that stands for output that was dropped, for want of room."""

RESERVE: Final = 512 * 1024
"""Bytes on the disk that output leaves free, for what has to be written down."""

_FRAME = struct.Struct("<HBQI")
_LOST = struct.Struct("<QQ")
_LENGTH = struct.Struct("<I")

FRAME_HEADER: Final = _FRAME.size
"""What a frame adds to the position beside its data: step, stream, instant, length."""

SOCKET: Final = "keeper.sock"
LOCK: Final = "keeper.lock"
LOG: Final = "keeper.log"
RUNS: Final = "runs"
STATUS: Final = "status"
_SEGMENT_PREFIX = "out."


def attempt_name(run: str, attempt: int) -> str:
    """The name of an attempt's directory; `run` is the run's id in hex.

    >>> attempt_name("00" * 16, 2)
    '00000000000000000000000000000000.2'
    """
    return f"{run}.{attempt}"


def parse_attempt_name(name: str) -> tuple[str, int] | None:
    """The run and attempt of a directory, None where it is no attempt's.

    >>> parse_attempt_name("00000000000000000000000000000000.2")
    ('00000000000000000000000000000000', 2)
    >>> parse_attempt_name(".new.0000.1") is None
    True
    """
    run, _, number = name.partition(".")
    if len(run) != 32 or not number.isdecimal() or not set(run) <= set("0123456789abcdef"):
        return None
    return run, int(number)


def segment_name(position: int) -> str:
    """The file whose first frame begins at `position`; names sort by position.

    >>> segment_name(1048600)
    'out.0000000001048600'
    """
    return f"{_SEGMENT_PREFIX}{position:016d}"


def segments(names: Iterator[str] | list[str]) -> list[int]:
    """The positions at which the segments among a directory's names begin, in order.

    >>> segments(["status", "out.0000000001048600", "out.0000000000000000"])
    [0, 1048600]
    """
    return sorted(
        int(name[len(_SEGMENT_PREFIX) :])
        for name in names
        if name.startswith(_SEGMENT_PREFIX) and name[len(_SEGMENT_PREFIX) :].isdecimal()
    )


def frame_header(step: int, stream: int, at: int, size: int) -> bytes:
    """What stands before a frame's `size` bytes of data."""
    return _FRAME.pack(step, stream, at, size)


def lost(size: int, lines: int) -> bytes:
    """What a frame of the stream `GAP` holds: how many bytes and line breaks were dropped.

    >>> parse_lost(lost(1000, 10))
    (1000, 10)
    """
    return _LOST.pack(size, lines)


def parse_lost(data: bytes) -> tuple[int, int]:
    """How many bytes and line breaks were dropped, by a frame of the stream `GAP`."""
    size, lines = _LOST.unpack(data)
    return size, lines


def frames(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The whole frames in `data`, as (step, stream, at, data); a torn one at its end is left out.

    >>> list(frames(frame_header(0, 1, 7, 2) + b"hi" + frame_header(0, 1, 8, 100) + b"torn"))
    [(0, 1, 7, b'hi')]
    """
    offset = 0
    while len(data) - offset >= FRAME_HEADER:
        step, stream, at, size = _FRAME.unpack_from(data, offset)
        end = offset + FRAME_HEADER + size
        if end > len(data):
            return
        yield step, stream, at, data[offset + FRAME_HEADER : end]
        offset = end


def whole_frames(data: bytes) -> int:
    """How many bytes of `data` are whole frames.

    >>> whole_frames(frame_header(0, 1, 7, 2) + b"hi" + b"torn")
    17
    """
    return sum(FRAME_HEADER + len(frame[3]) for frame in frames(data))


def status_line(message: Message) -> bytes:
    """A line of a status file."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def status_lines(data: bytes) -> list[Message]:
    """The lines of a status file, or of a part that begins at one; a torn last one is left out.

    >>> status_lines(b'{"is":"started"}' + bytes([10]) + b'{"is":"en')
    [{'is': 'started'}]
    """
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def pack(message: Message) -> bytes:
    """A message as it goes over the socket: its length, then JSON."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Takes what comes over the socket, and gives the messages in it.

    >>> unpacker, sent = Unpacker(), pack({"is": "hello"})
    >>> unpacker.feed(sent[:5]), unpacker.feed(sent[5:])
    ([], [{'is': 'hello'}])
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes.

        Raises `ValueError` where this is no message: too long, no JSON, no object with `is`.
        """
        buffer = self._buffer
        buffer += data
        messages: list[Message] = []
        offset = 0
        while len(buffer) - offset >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(buffer, offset)
            if size > MESSAGE_MAX:
                raise ValueError(f"a message of {size} bytes, where {MESSAGE_MAX} are the most")
            end = offset + _LENGTH.size + size
            if end > len(buffer):
                break
            message = json.loads(bytes(buffer[offset + _LENGTH.size : end]))
            if not isinstance(message, dict) or not isinstance(message.get("is"), str):
                raise ValueError("a message that does not say what it is")
            messages.append(message)
            offset = end
        del buffer[:offset]
        return messages
