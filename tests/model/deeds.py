"""What can happen to a simulation: every fault by its name, and a long run of them by chance."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from libbarto.testing import VirtualLoop
from tests.model.simulation import Simulation

Deed = Callable[[Simulation], Awaitable[None]]


async def nothing(model: Simulation) -> None:
    """Time passes."""


async def crash_worker(model: Simulation) -> None:
    """kill -9 bartoc; it comes up again some seconds later."""
    host = model.host()
    await host.crash()
    await model.pass_time(model.rng.uniform(0.0, 45.0))
    host.start()


async def crash_worker_and_leave(model: Simulation) -> None:
    """kill -9 bartoc; it stays down."""
    await model.host().crash()


async def start_workers(model: Simulation) -> None:
    """Every bartoc that is down comes up."""
    for host in model.hosts:
        host.start()


async def crash_in_a_second(model: Simulation) -> None:
    """kill -9 bartoc right when something is due, and start it in the same second."""
    host = model.host()
    await model.pass_time((1_000_000 - host.clock.now() % 1_000_000) / 1e6)
    await model.pass_time(model.rng.uniform(0.0, 0.02))
    await host.crash()
    await model.pass_time(model.rng.uniform(0.0, 0.5))
    host.start()


async def lose_keeper(model: Simulation) -> None:
    """kill -9 a keeper; its commands go with it."""
    model.host().keeper.lose_keeper()


async def lose_keeper_connection(model: Simulation) -> None:
    """The connection between bartoc and its keeper breaks."""
    model.host().keeper.lose_connection()


async def reboot(model: Simulation) -> None:
    """A host loses power."""
    await model.reboot(model.host())


async def cut(model: Simulation) -> None:
    """A link is cut."""
    model.host().link.cut()


async def stall(model: Simulation) -> None:
    """A link says nothing any more."""
    model.host().link.stall()


async def stall_for_a_while(model: Simulation) -> None:
    """A link says nothing for some seconds, so few that nobody gives it up; then all arrives."""
    host = model.host()
    host.link.stall()
    await model.pass_time(model.rng.uniform(1.0, 14.0))
    host.link.restore()


async def restore_links(model: Simulation) -> None:
    """Every link works again."""
    for host in model.hosts:
        host.link.restore()


async def slow_link(model: Simulation) -> None:
    """A link becomes slow."""
    model.host().link.delay(model.rng.uniform(0.0, 1.5))


async def restart_server(model: Simulation) -> None:
    """bartos ends and comes up again."""
    await model.restart_server(model.rng.uniform(0.0, 30.0))


async def database_away(model: Simulation) -> None:
    """The database does not answer for a while."""
    model.store.available = False
    await model.pass_time(model.rng.uniform(0.5, 40.0))
    model.store.available = True


async def restore_database(model: Simulation) -> None:
    """The database is put back to a backup."""
    await model.restore_database()


async def step_clock(model: Simulation) -> None:
    """A host's clock is stepped, by up to an hour."""
    seconds = model.rng.choice((0.3, 5.0, 60.0, 3600.0)) * model.rng.uniform(-1.0, 1.0)
    model.host().clock.step(seconds)


async def suspend(model: Simulation) -> None:
    """A host sleeps."""
    model.host().clock.suspend(model.rng.choice((5.0, 60.0, 900.0)))


async def edit(model: Simulation) -> None:
    """bartos.toml is changed."""
    await model.edit()


async def by_hand(model: Simulation) -> None:
    """Somebody starts, cancels, pauses or resumes something."""
    await model.by_hand()


async def disks_fail(model: Simulation) -> None:
    """Commits fail now and then, or do not report."""
    model.disks_fail(model.rng.uniform(0.01, 0.3))


async def disks_work(model: Simulation) -> None:
    """Commits work."""
    model.disks_fail(0.0)


async def slow_calls(model: Simulation) -> None:
    """Every call takes a while, so that what follows one another is reordered."""
    model.luck.slow = model.rng.choice((0.0, 0.01, 0.2))


async def prune(model: Simulation) -> None:
    """A worker lets go of what is acknowledged."""
    await model.prune(model.host())


async def roll_back(model: Simulation) -> None:
    """A state directory is put back to an older copy."""
    await model.roll_back(model.host())


async def heal(model: Simulation) -> None:
    """Every fault ends, and the history is compared with what happened."""
    await model.heal()


DEEDS: Final[dict[Deed, float]] = {
    nothing: 6,
    crash_worker: 3,
    crash_worker_and_leave: 1,
    start_workers: 2,
    crash_in_a_second: 4,
    lose_keeper: 1,
    lose_keeper_connection: 1,
    reboot: 1,
    cut: 2,
    stall: 2,
    stall_for_a_while: 2,
    restore_links: 4,
    slow_link: 2,
    restart_server: 2,
    database_away: 2,
    restore_database: 1,
    step_clock: 2,
    suspend: 1,
    edit: 3,
    by_hand: 5,
    disks_fail: 2,
    disks_work: 2,
    slow_calls: 2,
    prune: 3,
    roll_back: 0.3,
    heal: 1.5,
}
"""Every deed, and how often it comes beside the others."""


class Stage:
    """A simulation on a loop of its own, that is told one deed after the other.

    `failures` has what went wrong behind the scenes: a task that failed and that nobody awaited.
    """

    def __init__(self, seed: int) -> None:
        self.failures: list[str] = []
        self._runner = asyncio.Runner(loop_factory=lambda: VirtualLoop(patience=86_400.0))
        self._runner.get_loop().set_exception_handler(self._failed)
        self.model = self._runner.run(self._made(seed))

    async def _made(self, seed: int) -> Simulation:
        model = Simulation(seed)
        await model.begin()
        return model

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    def do(self, deed: Deed, seconds: float) -> None:
        """One deed, and then some time."""

        async def act() -> None:
            await deed(self.model)
            await self.model.pass_time(seconds)

        self._runner.run(act())

    def wrong(self) -> list[str]:
        """Every invariant that did not hold, and every failure behind the scenes."""
        return [*map(str, self.model.findings.broken), *self.failures]

    def close(self) -> None:
        """Let everything go."""
        self._runner.run(self.model.end())
        self._runner.close()
