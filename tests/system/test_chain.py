"""From a schedule in a file to a run in the store, whatever happens on the way."""

from __future__ import annotations

from bartoc.journal import Transaction
from bartoc.journal_memory import MemoryJournal
from bartoc.runner import ScriptedRunner
from bartos.store.port import RunFilter
from libbarto.errors import JournalError
from libbarto.message.v2.record import Verdict
from libbarto.testing import Link, run
from tests.system.world import SERVER, WorkerHost, World, named

MINUTELY = """
[[schedule]]
name = "tick"
workers = "*"
on_calendar = "minutely"
cmds = ["echo tick"]
"""
SLOW = """
[[schedule]]
name = "slow"
workers = "vader"
on_calendar = "daily"
cmds = ["sleep 90; echo hi"]
"""
DAILY = SLOW.replace("vader", "*").replace("sleep 90", "sleep 1")


async def test_a_schedule_runs_and_its_output_is_stored(barto: World) -> None:
    await barto.start_server(MINUTELY)
    barto.add_worker("vader")
    await barto.clock.advance(minutes=3)
    runs = await barto.runs()
    assert len(runs) == 3
    assert {row.verdict for row in runs} == {Verdict.OK}
    assert all(row.complete and row.late_us == 0 for row in runs)
    assert barto.store.output("vader") == b"tick\n" * 3
    await barto.close()


async def test_output_survives_a_lost_link(barto: World) -> None:
    await barto.start_server(SLOW)
    vader = barto.add_worker("vader")
    await barto.clock.advance(minutes=1)  # midnight passes: the run starts
    vader.link.cut()
    await barto.clock.advance(minutes=2)  # and ends while the link is down
    assert barto.store.output("vader") == b""
    vader.link.restore()
    await barto.clock.advance(seconds=15)
    assert barto.store.output("vader") == b"hi\n"
    (only,) = await barto.runs()
    assert (only.verdict, only.complete) == (Verdict.OK, True)
    await barto.close()


async def test_a_worker_fires_while_the_server_is_gone(barto: World) -> None:
    await barto.start_server(MINUTELY)
    barto.add_worker("vader")
    await barto.clock.advance(seconds=10)
    await barto.stop_server(crash=True)
    await barto.clock.advance(minutes=5)
    assert await barto.runs() == []
    await barto.start_server()
    await barto.clock.advance(seconds=15)
    assert len(await barto.runs()) == 5
    await barto.close()


async def test_a_run_goes_on_while_bartoc_is_replaced(barto: World) -> None:
    await barto.start_server(SLOW)
    vader = barto.add_worker("vader")
    await barto.clock.advance(minutes=1)
    await vader.crash()
    await barto.clock.advance(minutes=3)
    vader.start()
    await barto.clock.advance(seconds=20)
    (only,) = await barto.runs()
    assert (only.verdict, only.exit_code) == (Verdict.OK, 0)
    assert barto.store.output("vader") == b"hi\n"
    await barto.close()


async def test_slots_that_passed_while_bartoc_was_down_are_missed(barto: World) -> None:
    await barto.start_server(MINUTELY)
    vader = barto.add_worker("vader")
    await barto.clock.advance(minutes=1)
    await vader.crash()
    await barto.clock.advance(minutes=5, seconds=15)
    vader.start()
    await barto.clock.advance(seconds=30)
    ranges = await barto.store.ranges(RunFilter())
    assert sorted((r.count, r.verdict, r.reason) for r in ranges) == [
        (1, Verdict.MISSED, "too late: a newer one started"),
        (4, Verdict.MISSED, "the worker was down"),
    ]
    await barto.close()


async def test_nothing_is_acknowledged_while_the_database_is_away(barto: World) -> None:
    await barto.start_server(MINUTELY)
    vader = barto.add_worker("vader")
    await barto.clock.advance(seconds=10)
    barto.store.available = False
    await barto.clock.advance(minutes=3)
    facts = (await vader.journal.state()).lanes
    assert all(lane.acknowledged < lane.last for lane in facts.values())
    barto.store.available = True
    await barto.clock.advance(seconds=30)
    assert len(await barto.runs()) == 4
    facts = (await vader.journal.state()).lanes
    assert all(lane.acknowledged == lane.last for lane in facts.values())
    await barto.close()


async def test_only_workers_whose_set_changed_get_a_new_version(barto: World) -> None:
    await barto.start_server(MINUTELY + SLOW)
    vader = barto.add_worker("vader")
    leia = barto.add_worker("leia")
    await barto.clock.advance(seconds=5)
    assert vader.agent and leia.agent and vader.agent.worker and leia.agent.worker
    assert (vader.agent.worker.generation, leia.agent.worker.generation) == (1, 1)
    await barto.configure(MINUTELY + SLOW.replace("hi", "ho"))
    await barto.clock.advance(seconds=5)
    assert (vader.agent.worker.generation, leia.agent.worker.generation) == (2, 1)
    await barto.configure(MINUTELY + SLOW.replace("hi", "ho"))
    await barto.clock.advance(seconds=5)
    assert (vader.agent.worker.generation, leia.agent.worker.generation) == (2, 1)
    await barto.close()


async def test_a_removed_schedule_starts_no_more(barto: World) -> None:
    await barto.start_server(MINUTELY)
    barto.add_worker("vader")
    await barto.clock.advance(minutes=2)
    await barto.configure("")
    await barto.clock.advance(minutes=5)
    assert len(await barto.runs()) == 2
    await barto.close()


async def test_another_worker_under_a_live_name_is_refused(barto: World) -> None:
    await barto.start_server(MINUTELY)
    barto.add_worker("vader")
    await barto.clock.advance(seconds=5)
    impostor = barto.add_worker("luke")
    await impostor.crash()
    impostor.name = "vader"
    impostor.start()
    await barto.clock.advance(minutes=2)
    assert barto.server is not None
    assert [member.uid for member in barto.server.hub] == [
        barto.workers["vader"].journal.worker_uid
    ]
    assert impostor.connection is not None and not impostor.connection.connected.is_set()
    await barto.close()


async def test_a_worker_takes_over_from_its_own_dead_connection_at_once(barto: World) -> None:
    await barto.start_server(MINUTELY)
    vader = barto.add_worker("vader")
    await barto.clock.advance(seconds=5)
    vader.link.stall()  # the server cannot know yet
    await vader.crash()
    fresh = type(vader.link)("vader", "bartos")
    vader.link = fresh
    vader.start()
    await barto.clock.advance(seconds=2)
    assert vader.connection is not None and vader.connection.connected.is_set()
    assert barto.server is not None and len(barto.server.hub) == 1
    await barto.close()


async def test_a_rolled_back_state_directory_is_a_fork_and_stays_out(barto: World) -> None:
    await barto.start_server(MINUTELY)
    vader = barto.add_worker("vader")
    await barto.clock.advance(minutes=2)
    backup = vader.copy_disk()
    await barto.clock.advance(minutes=2)
    await vader.crash()
    await barto.clock.advance(seconds=5)
    vader.journal = backup
    vader.start()
    await barto.clock.advance(minutes=1)
    assert vader.connection is not None and not vader.connection.connected.is_set()
    await barto.close()


async def test_a_half_open_link_is_noticed_and_made_anew(barto: World) -> None:
    await barto.start_server(MINUTELY)
    vader = barto.add_worker("vader")
    await barto.clock.advance(seconds=5)
    vader.link.stall()
    await barto.clock.advance(seconds=21)
    assert vader.connection is not None and not vader.connection.connected.is_set()
    vader.link.restore()
    await barto.clock.advance(seconds=25)
    assert vader.connection.connected.is_set()
    await barto.close()


async def test_a_day_of_three_workers_with_minutely_schedules(barto: World) -> None:
    await three_workers(barto, hours=24)
    runs = await barto.runs()
    assert len(runs) >= 4300
    assert {(row.verdict, row.complete, row.late_us) for row in runs} == {(Verdict.OK, True, 0)}
    assert barto.store.output("leia") == b"tick\n" * (len(runs) // 3)
    await barto.close()


def test_every_run_of_a_simulation_takes_the_same_steps() -> None:
    async def simulate() -> tuple[object, ...]:
        world = World()
        await three_workers(world, hours=1)
        world.workers["han"].link.cut()
        await world.clock.advance(minutes=3)
        world.workers["han"].link.restore()
        await world.clock.advance(minutes=1)
        links = [worker.link for worker in world.workers.values()]
        traffic = [repr((link.a_to_b, link.b_to_a, link.connections)) for link in links]
        runs = await world.runs()
        await world.close()
        return runs, traffic

    assert run(simulate()) == run(simulate())


async def three_workers(world: World, hours: float) -> None:
    """A server and three workers, all of them minutely, for so long."""
    await world.start_server(MINUTELY)
    for name in ("han", "leia", "luke"):
        world.add_worker(name)
    await world.clock.advance(hours=hours)


async def test_a_worker_that_leaves_sends_all_that_it_has_first(barto: World) -> None:
    await barto.start_server(MINUTELY.replace("echo tick", "echo " + "x" * 20_000))
    vader = barto.add_worker("vader")
    await barto.clock.advance(seconds=5)
    vader.link.cut()
    await barto.clock.advance(minutes=9)
    vader.link.restore()
    assert vader.connection is not None
    await vader.connection.connected.wait()
    vader.connection.leave()  # with more to send than its credit allows at once
    await vader.tasks[1]
    lanes = (await vader.journal.state()).lanes
    assert all(lane.acknowledged == lane.last for lane in lanes.values())
    assert len(barto.store.output("vader")) >= 9 * 20_001
    await barto.close()


async def test_much_more_output_than_credit_flows_on_without_new_records(barto: World) -> None:
    script = "; ".join(["echo $X"] * 100)
    env = f'env = {{ X = "{"x" * 60_000}" }}\n'
    await barto.start_server(SLOW.replace("sleep 90; echo hi", script) + env)
    barto.add_worker("vader")
    await barto.clock.advance(seconds=32)
    assert len(barto.store.output("vader")) == 100 * 60_001
    await barto.close()


async def test_a_script_of_any_length_is_run_and_reported(barto: World) -> None:
    script = "\n".join(["true"] * 2_000)
    await barto.start_server(
        SLOW.replace('cmds = ["sleep 90; echo hi"]', f"script = '{script!s}'".replace("'", "'''"))
    )
    barto.add_worker("vader")
    await barto.clock.advance(seconds=32)
    (only,) = await barto.runs()
    (step,) = await barto.store.steps(only.run_id)
    assert step.command.startswith("true\ntrue")
    assert step.command.endswith("…")
    await barto.close()


async def test_after_an_outage_no_output_overtakes_its_claim(barto: World) -> None:
    await barto.start_server(MINUTELY.replace('"minutely"', '"*:*:*"'))
    vader = barto.add_worker("vader")
    await barto.clock.advance(seconds=5)
    await barto.stop_server(crash=True)
    await barto.clock.advance(minutes=10)
    await barto.start_server()
    await barto.clock.advance(seconds=30)
    vader.link.cut()
    runs = await barto.runs()
    assert len(runs) > 600
    assert barto.store.output("vader").count(b"tick\n") >= sum(run.complete for run in runs) > 600
    await barto.close()


async def test_a_set_whose_commit_failed_is_taken_on_all_the_same(barto: World) -> None:
    await barto.start_server(MINUTELY)
    vader = barto.add_worker("vader")
    await barto.clock.advance(seconds=5)
    vader.journal.fail_next = True
    await barto.configure(SLOW)
    await barto.clock.advance(seconds=5)
    assert vader.agent and vader.agent.worker
    assert vader.agent.worker.generation == 2
    assert [t.spec.name for t in vader.agent.worker.timetables.values()] == ["slow"]
    await barto.close()


async def test_workers_beyond_the_pool_of_credit_are_served_too(barto: World) -> None:
    server = await barto.start_server(MINUTELY.replace("echo tick", "echo " + "x" * 20_000))
    server.pool.free = 0
    for name in ("han", "leia", "luke", "lando"):
        barto.add_worker(name)
    await barto.clock.advance(minutes=5)
    for name in barto.workers:
        assert len(barto.store.output(name)) >= 4 * 20_001
    assert server.pool.free == 0, "what was never taken is not given back"
    await barto.close()


class Mute(MemoryJournal):
    """A journal that commits the end of a run, and once reports that it did not."""

    said = False

    async def commit(self, transaction: Transaction) -> frozenset[tuple[bytes, int]]:
        made = await super().commit(transaction)
        if transaction.ended and not self.said:
            self.said = True
            raise JournalError("nobody knows")
        return made


async def test_what_was_committed_without_a_report_is_told_all_the_same() -> None:
    barto = World()
    await barto.start_server(DAILY)
    journal = Mute(named("worker han"), named("spool han"))
    runner = ScriptedRunner(barto.clock)
    link = Link("han", SERVER)
    han = WorkerHost(barto, "han", link, barto.clock, journal, runner)
    barto.workers["han"] = han
    han.start()
    await barto.clock.advance(minutes=3)
    assert journal.said
    (run,) = await barto.runs()
    assert run.verdict is Verdict.OK, "nothing came after it"
    await barto.close()
