"""How does a worker have room for what matters on a disk that is full?

A file of zeros is given up when the disk takes no more: then claims and verdicts have its room.
Output waits well before that, and the file is filled again as soon as there is room for it twice.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

BALLAST_BYTES: Final = 1024 * 1024


class Ballast:
    """The file `path` of `size` bytes."""

    def __init__(self, path: Path, size: int = BALLAST_BYTES) -> None:
        self._path = path
        self._size = size

    @property
    def held(self) -> bool:
        """Is it there, in full?"""
        try:
            return self._path.stat().st_size >= self._size
        except OSError:
            return False

    def free(self) -> int:
        """Bytes that the disk has for us beside the ballast."""
        try:
            found = os.statvfs(self._path.parent)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize

    def scarce(self) -> bool:
        """Is there so little room that output has to wait?"""
        return not self.held or self.free() < self._size

    def take_up(self) -> bool:
        """Fill it, if that leaves as much again; whether it is there."""
        if self.held:
            return True
        if self.free() < 2 * self._size:
            return False
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size)
            finally:
                os.close(descriptor)
        except OSError:
            self.give_up()
            return False
        return True

    def give_up(self) -> bool:
        """Let its room go; whether there was any. The empty file stays, so that this needs no
        directory to be written."""
        with contextlib.suppress(OSError):
            if self._path.stat().st_size:
                os.truncate(self._path, 0)
                return True
        return False
