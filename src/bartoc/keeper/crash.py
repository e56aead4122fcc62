"""Where may a test have bartoc or the keeper die? The points are named here; `at` stands at each.

With `BARTO_CRASH_AT=NAME` in its environment a process kills itself (SIGKILL: nothing is flushed,
nobody is told) the first time that it comes by NAME. Without it `at` compares two strings. It is no
more of a risk than the right to set the environment of bartoc, which is the right to kill it.
"""

from __future__ import annotations

import os
import signal
from typing import Final

VARIABLE: Final = "BARTO_CRASH_AT"

POINTS: Final = {
    # In bartoc.
    "claim.before_commit": "a start is due, and nothing of it is on the disk",
    "claim.before_end_of_commit": "the claim is written, but its transaction not committed",
    "claim.after_commit": "the claim is committed, and nobody knows",
    "spawn.before_write": "the claim is committed, and the keeper has not been told",
    "spawn.after_write": "the keeper was told, and has not answered",
    "end.before_commit": "the end was read from the keeper's files, and is not on the disk",
    "end.after_commit": "the end is on the disk, and nobody knows",
    "forget.before_write": "the end is on the disk, and the keeper still holds the attempt",
    "forget.after_write": "the keeper was told to drop the attempt",
    # In the keeper.
    "keeper.before_directory": "the keeper was told to start, and has made nothing",
    "keeper.before_rename": "the directory is made, but does not have its name",
    "keeper.after_directory": "the directory is there with the plan in it",
    "keeper.after_fork": "a child waits, and its pid is written nowhere",
    "keeper.after_pid": "the pid is written, and the child was not told to go",
    "keeper.after_go": "the child was told to go, and nobody knows",
    "keeper.after_output": "the command runs: something that it printed was read",
    "keeper.after_exit": "the command is gone, and its exit code written nowhere",
    "keeper.before_end": "all its output was read, and its end is not written",
    "keeper.between_ends": "the step's end is written, and the attempt's is not",
    "keeper.after_end": "all of the end is written, and nobody was told",
    "keeper.amid_forget": "the attempt's directory has lost its name, and is still there",
    "keeper.after_forget": "the attempt's directory is gone",
}
"""Each point, and what has happened where a process dies there."""

_POINT = os.environ.get(VARIABLE)


def at(name: str) -> None:
    """Die here, if that was asked for."""
    if name == _POINT:
        os.kill(os.getpid(), signal.SIGKILL)


def environment() -> dict[str, str]:
    """What a process has to be given so that it dies where this one would."""
    return {} if _POINT is None else {VARIABLE: _POINT}
