"""Copies of a state directory, and stores that went back: noticed, refused, and mended."""

from __future__ import annotations

import copy

from bartos.store.port import RunFilter
from libbarto.message.v2.record import Lane
from libbarto.message.v2.worker import FROM_WORKER
from libbarto.testing import Link
from tests.system.world import SERVER, WorkerHost, World

MINUTELY = """
[[schedule]]
name = "tick"
workers = "*"
on_calendar = "minutely"
cmds = ["echo tick"]
"""
ONCE = """
[[schedule]]
name = "once"
workers = "*"
on_calendar = "daily"
cmds = ["echo once"]
"""


def clone(world: World, of: WorkerHost) -> WorkerHost:
    """A copy of a host as its disk is now, on a link of its own; its bartoc is not started."""
    twin = WorkerHost(
        world,
        of.name,
        Link(f"{of.name} copy", SERVER),
        of.clock,
        of.copy_disk(),
        type(of.runner)(world.clock),
    )
    world.workers[f"{of.name} copy"] = twin
    return twin


async def kinds(world: World) -> list[str]:
    return [row.kind for row in await world.store.events(0, 1000)]


async def test_a_clone_is_noticed_within_15_s_of_both_being_connected(barto: World) -> None:
    server = await barto.start_server(MINUTELY)
    vader = barto.add_worker("vader")
    await barto.clock.advance(minutes=2)
    twin = clone(barto, vader)
    twin.start()
    await barto.clock.advance(seconds=15)
    assert vader.connection is not None and twin.connection is not None
    (fork,) = server.hub.forks.values()
    assert fork.name == "vader"
    assert (await kinds(barto)).count("fork") == 1
    assert len(server.hub) == 1
    # One of the two is in, the other stays out, and the alarm is raised once.
    await barto.clock.advance(minutes=5)
    assert (await kinds(barto)).count("fork") == 1
    assert vader.connection.connected.is_set() != twin.connection.connected.is_set()
    runs = await barto.runs()
    assert len({run.run_id for run in runs}) == len(runs)
    await barto.close()


async def test_a_copy_with_the_same_epoch_is_known_by_its_tags(barto: World) -> None:
    """Both have gone on from one state: the copy has as many records as the server, and others."""
    server = await barto.start_server(MINUTELY)
    vader = barto.add_worker("vader")
    await barto.clock.advance(minutes=2)
    twin = clone(barto, vader)
    twin.link.cut()
    twin.start()  # without a server, by itself
    await barto.clock.advance(minutes=3)
    await vader.crash()
    await barto.clock.advance(minutes=2, seconds=20)
    held = await twin.journal.state()
    row = (await barto.store.workers())[0]
    marks = await barto.store.marks(row.spool_id)
    assert held.epoch == row.epoch
    assert held.lanes[Lane.STATE].last > marks[Lane.STATE].seq
    before = await barto.runs()
    twin.link.restore()
    await barto.clock.advance(seconds=20)
    assert twin.connection is not None and not twin.connection.connected.is_set()
    assert len(server.hub.forks) == 1
    assert await barto.runs() == before
    await barto.close()


async def test_a_fork_comes_back_by_a_reset_with_a_new_spool_and_nothing_twice(
    barto: World,
) -> None:
    server = await barto.start_server(MINUTELY)
    vader = barto.add_worker("vader")
    await barto.clock.advance(minutes=2)
    backup = vader.copy_disk()
    await barto.clock.advance(minutes=3)
    await vader.crash()
    await barto.clock.advance(seconds=5)
    before = await barto.runs()
    vader.journal = backup
    vader.start()
    await barto.clock.advance(minutes=2)
    assert vader.connection is not None and not vader.connection.connected.is_set()
    (row,) = await barto.store.workers()
    await server.reset_worker(row, "the operator", "restored from a snapshot")
    await barto.clock.advance(seconds=15)
    assert vader.connection.connected.is_set()
    assert not server.hub.forks
    assert "worker reset" in await kinds(barto)
    (again,) = await barto.store.workers()
    assert again.spool_id != row.spool_id
    assert again.epoch > 0
    await barto.clock.advance(minutes=3)
    runs = await barto.runs()
    assert len({(run.schedule, run.slot) for run in runs}) == len(runs)
    assert {run.run_id for run in before} < {run.run_id for run in runs}
    slots = [run.slot for run in runs]
    assert slots[-3:] == [slots[-1] - 120_000_000, slots[-1] - 60_000_000, slots[-1]]
    await barto.close()


async def test_a_hello_alone_ends_no_session(barto: World) -> None:
    """It may be an old one, or a copy's: only a confirmed epoch takes the older one's place."""
    server = await barto.start_server(MINUTELY)
    vader = barto.add_worker("vader")
    await barto.clock.advance(seconds=10)
    assert vader.connection is not None
    hello = vader.connection._hello(await vader.journal.state())
    stranger = barto.network.connector(SERVER, host="elsewhere", link=Link("elsewhere", SERVER))
    transport = await stranger.connect()
    await transport.send(FROM_WORKER.encode(hello))
    await barto.clock.advance(seconds=5)
    (member,) = server.hub
    assert vader.connection.connected.is_set()
    assert member.since < barto.clock.now() - 10_000_000
    await transport.close()
    await barto.clock.advance(minutes=1)
    assert [run.complete for run in await barto.runs()] == [True]
    await barto.close()


async def test_an_older_store_behind_a_live_session_is_noticed_within_a_minute(
    barto: World,
) -> None:
    """As after a failover to a replica that lags: the epoch is the same, only the marks differ."""
    await barto.start_server(ONCE)
    barto.add_worker("vader")
    await barto.clock.advance(seconds=20)
    before = copy.deepcopy(barto.store.__dict__)
    await barto.clock.advance(seconds=20)  # midnight passes: it runs
    (run,) = await barto.runs()
    assert run.complete
    barto.store.__dict__.clear()
    barto.store.__dict__.update(before)
    assert await barto.runs() == []
    await barto.clock.advance(seconds=75)  # and nothing new is told
    (again,) = await barto.runs()
    assert (again.run_id, again.complete) == (run.run_id, True)
    assert barto.store.output("vader") == b"once\n"
    assert "restored" in await kinds(barto)
    await barto.close()


async def test_a_worker_whose_journal_is_renewed_while_it_is_connected_goes_on(
    barto: World,
) -> None:
    server = await barto.start_server(MINUTELY)
    vader = barto.add_worker("vader")
    await barto.clock.advance(minutes=2, seconds=10)
    (row,) = await barto.store.workers()
    await server.reset_worker(row, "the operator", "for no reason")
    await barto.clock.advance(minutes=3)
    runs = await barto.runs()
    assert [run.slot - runs[0].slot for run in runs] == [60_000_000 * n for n in range(len(runs))]
    assert len(runs) == 5
    assert await barto.store.ranges(RunFilter()) == []
    assert vader.connection is not None and vader.connection.connected.is_set()
    await barto.close()
