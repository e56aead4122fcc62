"""The worker's decisions with its loop, journal, keeper and link around them, in virtual time."""

from __future__ import annotations

import pytest

from bartoc.clockwork import ASLEEP, CLOCK_PATIENCE_S, DISK
from bartoc.events import Answer, Cancelled, Offered
from bartoc.journal import Transaction
from bartos.store.port import RunFilter
from libbarto.errors import JournalError
from libbarto.identity import Kind, occurrence_id
from libbarto.message.v2.record import STATE_RECORD, Lane, OfferRefused, Verdict
from libbarto.message.v2.schedule import SCHEDULE, Schedule
from libbarto.message.v2.server import Offer
from tests.system.world import WorkerHost, World, named


def toml(name: str = "tick", cmds: str = "true", **more: str) -> str:
    keys = "".join(f"{key} = {value}\n" for key, value in more.items())
    return f'[[schedule]]\nname = "{name}"\nworkers = "*"\ncmds = ["{cmds}"]\n{keys}'


MINUTELY = {"on_calendar": '"minutely"'}


async def verdicts(barto: World) -> list[tuple[str, str]]:
    """The verdict of each run with its reason, oldest first."""
    return [
        ("" if row.verdict is None else Verdict(row.verdict).word, row.reason)
        for row in await barto.runs()
    ]


async def missed(barto: World) -> set[str]:
    return {row.reason for row in await barto.store.ranges(RunFilter())}


async def test_replace_ends_the_old_run_and_then_starts_the_new(barto: World) -> None:
    await barto.start_server(toml(cmds="sleep 90", overlap='"replace"', **MINUTELY))
    vader = barto.add_worker("vader")
    await barto.clock.advance(minutes=3)
    rows = await verdicts(barto)
    assert rows[:2] == [("cancelled", "a newer start replaced it")] * 2
    assert len(vader.runner.started) == 3
    await barto.close()


async def test_queue_starts_one_after_the_other(barto: World) -> None:
    await barto.start_server(toml(cmds="sleep 70", overlap='"queue"', **MINUTELY))
    vader = barto.add_worker("vader")
    await barto.clock.advance(minutes=5)
    assert len(vader.runner.started) == 4
    assert {verdict for verdict, _ in (await verdicts(barto))[:3]} == {"ok"}
    await barto.close()


async def test_a_retry_goes_on_after_bartoc_was_killed(barto: World) -> None:
    await barto.start_server(
        toml(cmds="exit 3", retries="1", retry_delay='"50s"', on_calendar='"*:0/30"')
    )
    vader = barto.add_worker("vader")
    await barto.clock.advance(seconds=40)
    await vader.crash()
    await barto.clock.advance(seconds=70)
    vader.start()
    await barto.clock.advance(seconds=10)
    assert [attempt for _, attempt in vader.runner.started] == [1, 2]
    await barto.close()


async def test_what_a_host_slept_through_says_so(barto: World) -> None:
    await barto.start_server(toml(missed='"none"', **MINUTELY))
    vader = barto.add_worker("vader")
    await barto.clock.advance(seconds=10)
    barto.clock.suspend(600)
    await barto.clock.advance(minutes=1)
    assert ASLEEP in await missed(barto)
    assert vader.agent is not None
    await barto.close()


async def test_starts_at_boot_come_with_the_next_boot(barto: World) -> None:
    await barto.start_server(toml(at='"boot"'))
    vader = barto.add_worker("vader")
    await barto.clock.advance(minutes=1)
    assert vader.runner.started == []
    await vader.crash()
    vader.runner.restart_host()
    barto.clock.reboot()
    vader.start()
    await barto.clock.advance(seconds=5)
    assert len(vader.runner.started) == 1
    await barto.close()


async def test_nothing_runs_twice_when_the_clock_is_put_back(barto: World) -> None:
    await barto.start_server(toml(overlap='"allow"', **MINUTELY))
    vader = barto.add_worker("vader")
    await barto.clock.advance(minutes=4)
    before = len(vader.runner.started)
    barto.clock.step(-200)
    await barto.clock.advance(seconds=CLOCK_PATIENCE_S + 2)
    await barto.clock.advance(minutes=4)
    assert len(vader.runner.started) > before
    assert len(set(vader.runner.started)) == len(vader.runner.started)
    slots = [row.slot for row in await barto.runs()]
    assert len(set(slots)) == len(slots)
    await barto.close()


class _Failing:
    """Makes a journal's commits fail while `fails`."""

    def __init__(self, worker: WorkerHost, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = True
        commit = worker.journal.commit

        async def failing(transaction: Transaction) -> frozenset[tuple[bytes, int]]:
            if self.fails:
                raise JournalError("no space left on device")
            return await commit(transaction)

        monkeypatch.setattr(worker.journal, "commit", failing)


async def test_while_the_journal_cannot_be_written_nothing_starts_and_that_is_said(
    barto: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await barto.start_server(toml(missed='"none"', **MINUTELY))
    vader = barto.add_worker("vader")
    await barto.clock.advance(seconds=10)
    disk = _Failing(vader, monkeypatch)
    await barto.clock.advance(minutes=3)
    assert vader.runner.started == []
    disk.fails = False
    await barto.clock.advance(minutes=2)
    assert DISK in await missed(barto)
    assert len(vader.runner.started) == 2
    await barto.close()


def ordered(vader: WorkerHost, script: str = "true") -> Offer:
    """An order for `vader`, as of now."""
    spec = Schedule(uid=named("by hand"), name="by hand", calendars=["2001-01-01"], steps=[script])
    slot = vader.clock.now()
    run_id = occurrence_id(Kind.MANUAL, spec.uid, vader.journal.worker_uid, slot, b"q" * 16)
    return Offer(
        request=b"q" * 16,
        run_id=run_id,
        kind=Kind.MANUAL,
        schedule_uid=spec.uid,
        slot=slot,
        cause=b"q" * 16,
        spec=SCHEDULE.encode(spec),
    )


async def test_an_order_is_told_again_and_again_until_the_disk_takes_it(
    barto: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await barto.start_server(toml(on_calendar='"2001-01-01"'))
    vader = barto.add_worker("vader")
    await barto.clock.advance(seconds=1)
    assert vader.agent is not None
    disk = _Failing(vader, monkeypatch)
    await vader.agent.tell(Offered(ordered(vader), vader.clock.boottime()))
    await barto.clock.advance(seconds=5)
    disk.fails = False
    await barto.clock.advance(seconds=2)
    assert len(vader.runner.started) == 1
    await barto.close()


async def test_an_order_that_became_void_meanwhile_is_refused_once_the_disk_takes_it(
    barto: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await barto.start_server(toml(on_calendar='"2001-01-01"'))
    vader = barto.add_worker("vader")
    await barto.clock.advance(seconds=1)
    assert vader.agent is not None
    disk = _Failing(vader, monkeypatch)
    await vader.agent.tell(Offered(ordered(vader), vader.clock.boottime()))
    await barto.clock.advance(seconds=30)
    disk.fails = False
    await barto.clock.advance(seconds=5)
    assert vader.runner.started == []
    records = [
        STATE_RECORD.decode(one.data) for one in await vader.journal.read(Lane.STATE, 0, 1 << 20)
    ]
    assert any(isinstance(record, OfferRefused) for record in records)
    await barto.close()


async def test_a_run_is_cancelled_and_that_is_answered(barto: World) -> None:
    await barto.start_server(toml(on_calendar='"2001-01-01"'))
    vader = barto.add_worker("vader")
    await barto.clock.advance(seconds=1)
    agent = vader.agent
    assert agent is not None
    answers: list[Answer] = []
    agent.on_answer = answers.append
    order = ordered(vader, "sleep 1000")
    await agent.tell(Offered(order, vader.clock.boottime()))
    await barto.clock.advance(seconds=1)
    await agent.tell(Cancelled(b"c" * 16, order.run_id, "enough"))
    await barto.clock.advance(seconds=1)
    assert answers == [Answer(b"c" * 16, True)]
    assert agent.worker is not None
    assert agent.worker.runs == {}
    await barto.close()
