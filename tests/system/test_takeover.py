"""A worker comes back while the store still writes what its last session had sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bartos.store.memory import MemoryStore
from bartos.store.port import Batch, EpochClaim
from tests.system.world import World

MINUTELY = """
[[schedule]]
name = "tick"
workers = "vader"
on_calendar = "*:*:00"
cmds = ["echo tick"]
"""


class BusyStore(MemoryStore):
    """A store that can be so busy that a write ends just before the next session is confirmed, and
    the one after it has to wait for that."""

    def __init__(self) -> None:
        super().__init__()
        self._first = asyncio.Event()
        self._others = asyncio.Event()
        self._gates = [self._others]
        self._others.set()

    def become_busy(self) -> None:
        """From the next write on, until a session was confirmed."""
        self._gates = [self._others, self._first]
        self._first.clear()
        self._others.clear()

    async def append(self, batches: Sequence[Batch]) -> list[bool]:
        gate = self._gates.pop() if len(self._gates) > 1 else self._others
        await gate.wait()
        return await super().append(batches)

    async def confirm_epoch(self, claim: EpochClaim) -> bool:
        self._first.set()
        await asyncio.sleep(0.001)
        confirmed = await super().confirm_epoch(claim)
        self._others.set()
        return confirmed


async def test_output_is_not_taken_where_its_state_was_refused(barto: World) -> None:
    """The marks of its Welcome are old when its epoch is confirmed: what it sends by them would be
    refused on the state lane and taken on the other, which has not moved, and whose runs nobody
    knows."""
    store = barto.store = BusyStore()
    await barto.start_server(MINUTELY)
    vader = barto.add_worker("vader")
    await barto.clock.advance(seconds=25)
    store.become_busy()
    await barto.clock.advance(minutes=2)  # two runs, and of both nothing is written yet
    vader.link.cut()
    vader.link.restore()
    await barto.clock.advance(seconds=20)
    for run in await barto.runs():
        chunks = await store.chunks(run.run_id, 1)
        assert run.complete
        assert b"".join(chunk.data for chunk in chunks) == b"tick\n"
    await barto.close()
