"""What is known of the journal when the journal itself can no longer be asked?

A line in a file beside it: the spool's id, the epoch, how far both lanes had got, and how much of
them the server has acknowledged. It is written after each commit, and not synced: so it is never
ahead of the journal, and a journal that is behind it has lost what was committed. The epoch is
synced, as without it the server takes a worker whose journal is gone for a copy.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LENGTH: Final = 160


@dataclass(frozen=True, slots=True)
class Seen:
    """A spool, its epoch, the numbers of the last records of its lanes, and of the last ones that
    the server has; and how many transactions there were."""

    spool_id: bytes
    epoch: int = 0
    state: int = 0
    output: int = 0
    state_safe: int = 0
    output_safe: int = 0
    commits: int = 0


class Witness:
    """The line in the file `path`. What cannot be read or written counts as not there: it is of
    use only where all else is lost."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Seen | None:
        """What stands there."""
        try:
            return parse(self._path.read_bytes())
        except OSError:
            return None

    def write(self, seen: Seen, *, durable: bool = False) -> None:
        """Put it there, in place: a full disk has room for that."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, spelt(seen), 0)
                if durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)


def spelt(seen: Seen) -> bytes:
    """As it stands in the file.

    >>> parse(spelt(Seen(b"a spool of tests", 7, 8, 9, 6, 5))).output
    9
    """
    numbers = [seen.epoch, seen.state, seen.output, seen.state_safe, seen.output_safe, seen.commits]
    text = " ".join(["1", seen.spool_id.hex(), *map(str, numbers)])
    return f"{text} {zlib.crc32(text.encode()):08x}".ljust(_LENGTH - 1).encode() + b"\n"


def parse(data: bytes) -> Seen | None:
    """What `spelt` wrote; None for anything else.

    >>> parse(spelt(Seen(bytes(16))).replace(b" 0 ", b" 1 ")) is None
    True
    """
    text, _, check = data.decode("ascii", "replace").strip().rpartition(" ")
    words = text.split()
    if len(words) != 8 or words[0] != "1" or check != f"{zlib.crc32(text.encode()):08x}":
        return None
    return Seen(bytes.fromhex(words[1]), *map(int, words[2:]))
