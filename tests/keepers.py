"""Real keepers in tests: which one serves a directory, and how is none left behind?"""

from __future__ import annotations

import asyncio
from pathlib import Path

from bartoc.keeper_runner import KeeperRunner
from libbarto.clock import SystemClock


def keeper_pid(directory: Path) -> int:
    """The keeper of a state directory, as its lock file says."""
    return int((directory / "keeper.lock").read_text())


def end_keeper(directory: Path) -> None:
    """End all that a state directory's keeper runs, or left behind, and the keeper itself."""
    if (directory / "keeper.lock").exists():
        asyncio.run(_end(directory))


async def _end(directory: Path) -> None:
    runner = KeeperRunner(directory, SystemClock())
    await runner.open()
    await runner.shutdown(0.0)
    await runner.close()
