"""Schedules that change while their worker is away: what was done is not done again."""

from __future__ import annotations

from tests.system.world import World

TICK = """
[[schedule]]
name = "tick"
workers = "*"
on_calendar = "minutely"
cmds = ["echo tick"]
"""
RENAMED = TICK.replace('name = "tick"', 'name = "tock"\nid = "tick"')
OTHER = """
[[schedule]]
name = "other"
workers = "*"
on_calendar = "yearly"
cmds = ["true"]
"""


async def each_ran_once(barto: World) -> int:
    """Every minute up to now has one run, and one line of output; how many there are."""
    runs = await barto.runs()
    assert len({run.slot for run in runs}) == len(runs)
    assert barto.store.output("vader") == b"tick\n" * len(runs)
    return len(runs)


async def test_nothing_runs_twice_when_a_schedule_is_put_back_unheard(barto: World) -> None:
    await barto.start_server(TICK)
    vader = barto.add_worker("vader")
    await barto.clock.advance(minutes=2)
    vader.link.cut()
    await barto.configure(OTHER)
    await barto.clock.advance(minutes=2)  # vader does not hear of it, and goes on
    await barto.configure(TICK)
    vader.link.restore()
    await barto.clock.advance(minutes=2)
    assert await each_ran_once(barto) == 6
    await barto.close()


async def test_nothing_runs_twice_when_a_schedule_is_removed_and_put_back(barto: World) -> None:
    await barto.start_server(TICK)
    barto.add_worker("vader")
    await barto.clock.advance(seconds=40)  # ten seconds after a slot
    await barto.configure(OTHER)
    await barto.clock.advance(seconds=5)
    await barto.configure(TICK)
    await barto.clock.advance(seconds=5)
    assert await each_ran_once(barto) == 1
    await barto.close()


async def test_nothing_runs_twice_when_a_schedule_that_has_an_id_is_renamed(barto: World) -> None:
    await barto.start_server(TICK)
    vader = barto.add_worker("vader")
    await barto.clock.advance(minutes=2)
    vader.link.cut()
    await barto.configure(RENAMED)
    await barto.clock.advance(minutes=1)
    vader.link.restore()
    await barto.clock.advance(minutes=2)
    assert await each_ran_once(barto) == 5
    assert {run.schedule for run in await barto.runs()} == {"tick", "tock"}
    await barto.close()
