"""A thousand workers come back at once, when their server does: they spread out, and all are back
within half a minute."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

from bartoc.connection import Connection, Identity
from bartoc.journal_memory import MemoryJournal
from libbarto.message.v2.worker import Capabilities
from libbarto.testing import Link
from tests.system.world import KEY, SERVER, World, named

WORKERS = 1_000
BACK_S = 30
AT_ONCE = WORKERS // 4
"""The most that may be back within the same half a second."""


async def deaf(event: object) -> None:
    """Nobody listens to what the server says."""


def connection(world: World, name: str) -> Connection:
    """The link of a worker that has nothing else."""
    return Connection(
        MemoryJournal(named(f"worker {name}"), named(f"spool {name}")),
        world.network.connector(SERVER, host=name, link=Link(name, SERVER)),
        Identity(name, "2.0.0", {}, Capabilities(os="debian", arch="x86_64")),
        KEY.public,
        world.clock,
        random.Random(name),
        deaf,
    )


async def test_a_thousand_workers_that_come_back_at_once_spread_out() -> None:
    world = World()
    await world.start_server()
    tasks = [
        asyncio.create_task(connection(world, f"w{number}").run()) for number in range(WORKERS)
    ]
    await world.clock.advance(seconds=2)
    assert world.server is not None
    assert len(world.server.hub) == WORKERS
    await world.stop_server(crash=True)
    await world.clock.advance(seconds=60)
    server = await world.start_server()
    back = [0]
    while back[-1] < WORKERS:
        await world.clock.advance(seconds=0.5)
        back.append(len(server.hub))
        assert len(back) <= 2 * BACK_S, f"{back[-1]} are back"
    assert max(now - before for before, now in pairwise(back)) <= AT_ONCE
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await world.close()
