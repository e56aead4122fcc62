"""When is a task really over? Cancels tasks until they are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

CANCEL_AGAIN_S: Final = 1.0


async def end_all(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks, and return when all of them are over, however they end.

    More than once where it takes that: a database's driver may swallow a cancellation that comes
    as it gives a connection back, and the task would go on for ever.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # looked at, so that asyncio does not complain
