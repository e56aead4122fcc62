"""What does a command of a chaos run do? Drawn from seed, run and attempt, as witness.c has it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

SIGTERM: Final = 15


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How many lines it prints to each stream, how long it sleeps, and how it ends."""

    stdout: int
    stderr: int = 0
    sleep_ms: int = 0
    exit_code: int | None = 0
    signal: int | None = None
    orphan: bool = False

    def lines(self, stream: int) -> int:
        """How many lines it prints to stream 1 (stdout) or 2 (stderr)."""
        return self.stdout if stream == 1 else self.stderr


def behaviour(seed: str, run: str, attempt: int, longest_ms: int) -> Behaviour:
    """What the attempt does; `run` is the id as text, `longest_ms` bounds its sleep."""
    rest, kind = divmod(zlib.crc32(f"{seed}:{run}:{attempt}".encode()), 100)
    if kind < 70:
        return Behaviour(4, 1)
    if kind < 90:
        return Behaviour(3, sleep_ms=rest % longest_ms if longest_ms else 0)
    if kind < 95:
        return Behaviour(190, 10)
    if kind < 98:
        if rest % 2:
            return Behaviour(2, 1, exit_code=None, signal=SIGTERM)
        return Behaviour(2, 1, exit_code=1 + rest % 90)
    return Behaviour(3, orphan=True)


def line(run: str, attempt: int, stream: int, seq: int) -> bytes:
    """Line number `seq` (from 1) that the attempt prints to a stream, with its newline.

    >>> line("r", 1, 1, 7)
    b'r:7:f8104795\\n'
    """
    total = zlib.crc32(f"{run}:{attempt}:{stream}:{seq}".encode())
    return f"{run}:{seq}:{total:08x}\n".encode()


def printed(run: str, attempt: int, stream: int, count: int) -> bytes:
    """The first `count` lines of a stream."""
    return b"".join(line(run, attempt, stream, seq) for seq in range(1, count + 1))
