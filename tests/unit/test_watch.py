"""What is late, unknown, stuck or idle now, and that it is said once."""

from __future__ import annotations

import asyncio
import logging

import pytest

from bartos import watch
from bartos.ledger import Idle
from bartos.plan import schedule_rows
from bartos.planning import Planner
from bartos.schedules import load_schedules
from bartos.watch import Watch
from libbarto.errors import StoreUnavailable
from libbarto.message.v2.record import Decided, Ended, Verdict
from tests.unit.test_audit import MINUTE, ONE, SECOND, TWO, Fleet

TOML = """
[[schedule]]
name = "backup"
workers = "web1"
on_calendar = "daily"
cmds = ["true"]

[[schedule]]
name = "anywhere"
workers = "*"
on_calendar = "daily"
cmds = ["true"]

[[schedule]]
name = "debian"
workers = "os=debian"
on_calendar = "daily"
cmds = ["true"]
"""


class Looking(Fleet):
    """A fleet that is looked at."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.planner = Planner()
        self.watch = Watch(self.store, self.planner, self.clock, lambda: self.connected)

    async def look(self, seconds: float = 61) -> watch.Seen:
        await self.clock.advance(seconds=seconds)
        return await self.watch.look()


@pytest.fixture
def fleet() -> Looking:
    return Looking()


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(one.message, one.__dict__["schedule"]) for one in caplog.records]


async def test_a_cursor_that_stays_behind_is_late_or_unknown(fleet: Looking) -> None:
    here, away = await fleet.worker("here"), await fleet.worker("away")
    for uid in (here, away):
        await fleet.takes_on(uid, ONE, TWO)
        await fleet.tell(uid, fleet.missed(1, 3), fleet.missed(1, 5, TWO))
    fleet.connected[here] = 0
    fleet.wind_to(5)
    outlook = await fleet.look(9)
    assert [(one.word, one.count) for one in outlook.undecided] == [("unknown", 1), ("late", 1)]
    outlook = await fleet.look(2)
    assert (outlook.count("late"), outlook.count("unknown")) == (1, 1), "a moment ago"
    outlook = await fleet.look(3)
    assert (outlook.count("late"), outlook.count("unknown")) == (2, 2)
    late = next(one for one in outlook.undecided if one.word == "late")
    assert (late.worker_uid, late.schedule_uid) == (here, ONE)
    assert (late.first, late.last) == (fleet.at(4), fleet.at(5))
    await fleet.tell(here, fleet.missed(4, 5))
    outlook = await fleet.look(3)
    assert (outlook.count("late"), outlook.count("unknown")) == (0, 2)


async def test_the_clock_of_the_worker_counts(fleet: Looking) -> None:
    here = await fleet.worker("here")
    await fleet.takes_on(here, ONE)
    fleet.connected[here] = -30 * SECOND
    fleet.wind_to(1)
    assert (await fleet.look(39)).count("late") == 0
    assert (await fleet.look(3)).count("late") == 1


async def test_spans_are_looked_for_again(fleet: Looking) -> None:
    here = await fleet.worker("here")
    fleet.connected[here] = 0
    assert (await fleet.look()).undecided == []
    await fleet.takes_on(here, ONE)
    await fleet.tell(here, fleet.missed(1, 1))
    fleet.wind_to(1)
    assert (await fleet.look(70)).count("late") == 1
    await fleet.takes_on(here, minutes=2, generation=2)
    fleet.wind_to(5)
    assert (await fleet.look(70)).undecided == []


async def test_many_are_looked_at_in_slices(
    fleet: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SLICE", 2)
    for number in range(5):
        await fleet.takes_on(await fleet.worker(f"w{number}"), ONE)
    fleet.wind_to(1)
    assert (await fleet.look(10)).count("unknown") == 5


async def test_a_run_that_makes_others_skip_is_stuck(
    fleet: Looking, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    here = await fleet.worker("here")
    fleet.connected[here] = 0
    await fleet.takes_on(here, ONE)
    run = fleet.ran(here, 1)
    skipped = Decided(
        schedule_uid=ONE, schedule="one", first_slot=fleet.at(2), last_slot=fleet.at(3), count=2,
        verdict=int(Verdict.SKIPPED), reason="overlap: it was still running",
    )  # fmt: skip
    await fleet.tell(here, run, skipped)
    for _ in range(2):
        (stuck,) = (await fleet.look()).stuck
        assert (stuck.run.run_id, stuck.why) == (
            run.run_id, "2 planned starts were skipped because of it",
        )  # fmt: skip
    assert said(caplog) == [("a run seems to be stuck", "one")]
    assert len((await fleet.watch.recent()).stuck) == 1
    del fleet.connected[here]
    assert (await fleet.look()).stuck == [], "nobody knows whether it still runs"
    fleet.connected[here] = 0
    assert len((await fleet.look()).stuck) == 1
    over = Ended(run_id=run.run_id, attempt=1, verdict=0, started_at=run.at, ended_at=run.at + 1)
    await fleet.tell(here, over)
    assert (await fleet.watch.recent()).stuck == [], "the next run is not to blame"
    assert (await fleet.look()).stuck == []


async def test_a_run_that_takes_far_longer_than_usual_is_stuck(fleet: Looking) -> None:
    here = await fleet.worker("here")
    fleet.connected[here] = 0
    await fleet.takes_on(here, ONE, TWO)
    for minutes in (1, 2):
        run = fleet.ran(here, minutes)
        over = Ended(
            run_id=run.run_id, attempt=1, verdict=0, started_at=run.at, ended_at=run.at + MINUTE
        )
        await fleet.tell(here, run, over)
    await fleet.tell(here, fleet.ran(here, 3), fleet.ran(here, 3, TWO))
    fleet.wind_to(4)
    assert (await fleet.look(1)).stuck == []
    fleet.wind_to(6)
    (stuck,) = (await fleet.look(3)).stuck
    assert stuck.why == "it takes 3 times as long as the longest of its last runs"


async def test_a_schedule_that_means_nobody_is_idle(
    fleet: Looking, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    fleet.planner.load(schedule_rows(load_schedules([("bartos.toml", TOML)]), [], 0))
    await fleet.worker("wbe1")
    for _ in range(2):
        outlook = await fleet.look()
        assert outlook.idle == [Idle("backup", "web1", "wbe1"), Idle("debian", "os=debian", None)]
    assert said(caplog) == [
        ("a schedule matches no worker that is known", "backup"),
        ("a schedule matches no worker that is known", "debian"),
    ]
    assert caplog.records[0].__dict__["near"] == "wbe1"


async def test_it_is_looked_at_by_itself(fleet: Looking) -> None:
    task = asyncio.create_task(fleet.watch.run())
    await fleet.takes_on(await fleet.worker("away"), ONE)
    fleet.wind_to(3)
    fleet.store.available = False
    await fleet.clock.advance(seconds=31)
    assert fleet.watch.last.count("unknown") == 0
    fleet.store.available = True
    await fleet.clock.advance(seconds=30)
    task.cancel()
    assert fleet.watch.last.count("unknown") == 3
    fleet.store.available = False
    await fleet.clock.advance(seconds=5)
    with pytest.raises(StoreUnavailable):
        await fleet.watch.look()
