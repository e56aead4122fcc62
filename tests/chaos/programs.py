"""The two small C programs of a chaos run: how are they made, where there is a compiler?"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
MISSING: Final = "there is no C compiler: apt-get install --no-install-recommends gcc libc6-dev"


class NoCompiler(RuntimeError):
    """The programs cannot be made here; the text says what to install."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs are: what commands run, and the clock that is preloaded."""

    witness: Path
    clock: Path


def compiler() -> str | None:
    """The C compiler of this host, None where there is none."""
    return shutil.which("cc")


def build(directory: Path) -> Programs:
    """Compile both into `directory`. Raises `NoCompiler`."""
    command = compiler()
    if command is None:
        raise NoCompiler(MISSING)
    witness, clock = directory / "witness", directory / "clock.so"
    flags = ("-O1", "-Wall", "-Wextra", "-Werror")
    for arguments in (
        (*flags, "-o", witness, HERE / "witness.c"),
        (*flags, "-shared", "-fPIC", "-o", clock, HERE / "clock.c", "-ldl"),
    ):
        done = subprocess.run(
            [command, *map(str, arguments)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NoCompiler(f"{command} failed:\n{done.stderr}")
    return Programs(witness, clock)
