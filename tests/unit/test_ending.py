"""A server's standing tasks end, whatever becomes of the first cancellation."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from bartos.ending import CANCEL_AGAIN_S, end_all


async def for_ever() -> None:
    await asyncio.Event().wait()


async def deaf(times: int) -> None:
    """As one whose database's driver swallows so many cancellations."""
    for _ in range(times):
        with contextlib.suppress(asyncio.CancelledError):
            await for_ever()
    await for_ever()


async def failing() -> None:
    raise RuntimeError("it failed before")


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_a_task_that_swallows_a_cancellation_is_ended_by_the_next(times: int) -> None:
    tasks = [asyncio.create_task(deaf(times)), asyncio.create_task(for_ever())]
    await asyncio.sleep(0)
    began = asyncio.get_running_loop().time()
    await end_all(tasks)
    assert all(task.cancelled() for task in tasks)
    assert asyncio.get_running_loop().time() - began == pytest.approx(times * CANCEL_AGAIN_S)


async def test_how_a_task_ended_does_not_matter() -> None:
    task = asyncio.create_task(failing())
    await asyncio.sleep(0)
    await end_all([task])
    assert isinstance(task.exception(), RuntimeError)
    await end_all([])
