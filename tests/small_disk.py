"""A disk of a few MiB: what happens when it is full?

with small_disk(tmp_path / "disk") as disk:
    fill(disk)
    free(disk)
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

FILLER = "filler"


@contextlib.contextmanager
def small_disk(directory: Path, size: str = "4m") -> Iterator[Path]:
    """A file system of that size at `directory`, in memory; needs root (`mount(8)`)."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    directory.mkdir(exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(directory)],
        check=True,
        capture_output=True,
    )
    try:
        yield directory
    finally:
        # Lazily: what is still open on it goes with its last user.
        subprocess.run(["umount", "--lazy", str(directory)], check=True, capture_output=True)


def fill(disk: Path, leave: int = 0) -> None:
    """Leave no more than so many bytes on it."""
    with (disk / FILLER).open("ab", buffering=0) as file:
        room = os.statvfs(disk)
        left = room.f_bavail * room.f_frsize - leave
        with contextlib.suppress(OSError):
            while left > 0:
                left -= file.write(bytes(min(left, 1 << 16)))


def free(disk: Path) -> None:
    """Give it all back."""
    (disk / FILLER).unlink(missing_ok=True)
