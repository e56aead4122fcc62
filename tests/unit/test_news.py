"""News: what is committed, and who comes and goes, becomes events, each once, for who listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from bartos import news as module
from bartos.feed import Feed, Reader, Wanted
from bartos.hub import Fork, Hub, Member
from bartos.news import News, alarms, connections
from bartos.outlook import Here
from bartos.overview import Overview
from bartos.plan import schedule_rows
from bartos.planning import Planner
from bartos.schedules import load_schedules
from bartos.store.lasts import LastRun, Pair
from bartos.store.orders import (
    NOBODY,
    Closing,
    CursorMove,
    CursorRow,
    DispatchChange,
    IntentRow,
    Undone,
)
from bartos.store.port import Batch
from bartos.watch import Watch
from libbarto.errors import StoreUnavailable
from libbarto.identity import Kind, schedule_uid
from libbarto.message.v2.record import Decided, Ended, Lane, Record, Verdict
from libbarto.testing import FakeClock
from tests.faces import NOON, OUT, SECOND, Barto, Store


class Line:
    """A worker's connection that nothing is sent on."""

    def displaced(self, reason: str) -> None:
        """It is told."""


@dataclass
class Telling(Store):
    """A store that tells what it commits, as the writer does."""

    news: News | None = None
    overview: Overview | None = None
    read: list[Pair] = field(default_factory=list)
    """Of whom the last run was asked for."""

    async def newest_runs(self, pairs: Collection[Pair]) -> list[LastRun]:
        self.read += pairs
        return await super().newest_runs(pairs)

    def __post_init__(self) -> None:
        Store.__init__(self)

    async def append(self, batches: Any) -> list[bool]:
        done = await super().append(batches)
        for batch in batches:
            for told in (self.overview, self.news):
                if told is not None:
                    told.committed(batch)
        return done


@dataclass
class Desk:
    """A feed with its news, over a history that tells."""

    store: Telling = field(default_factory=Telling)
    feed: Feed = field(default_factory=Feed)
    hub: Hub = field(default_factory=Hub)
    planner: Planner = field(default_factory=Planner)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.barto = Barto(store=self.store)
        watch = Watch(self.store, self.planner, self.clock, dict)
        here = lambda: {one.uid: Here() for one in self.hub}  # noqa: E731 (as it is now)
        self.store.overview = Overview(self.store, self.planner, self.clock, watch, here)
        self.news = self.store.news = News(
            self.feed, self.store, self.hub, self.planner, watch, self.clock, self.store.overview
        )
        self.hub.on_change = self.news.worker_changed

    def member(self, name: str) -> Member:
        line: Any = Line()
        return Member(self.barto.uid(name), name, "192.0.2.7", NOON, "2.0.0", line)


@asynccontextmanager
async def listening(desk: Desk, wanted: Wanted | None = None) -> AsyncIterator[Reader]:
    running = asyncio.create_task(desk.news.run())
    try:
        with desk.feed.subscribe(wanted or Wanted()) as reader:
            yield reader
    finally:
        running.cancel()


async def heard(reader: Reader, *kinds: str) -> list[Any]:
    """What comes within a second and a half, of these kinds."""
    events = []
    while (event := await reader.next(1.5)) is not None:
        if event.kind in kinds:
            events.append(event.data)
    return events


async def test_a_run_is_told_until_all_of_it_is_there() -> None:
    desk = Desk()
    async with listening(desk) as reader:
        await desk.barto.run("web1", "backup", printed=[(OUT, b"x")], whole=False)
        (run,) = await heard(reader, "run")
        assert (run.verdict, run.complete) == ("ok", False)
        await desk.barto.run("web1", "backup", NOON + SECOND, printed=[(OUT, b"y")], verdict=None)
        told = {(run.slot, run.verdict, run.complete) for run in await heard(reader, "run")}
        assert {(verdict, complete) for _, verdict, complete in told} == {
            (None, False),
            ("ok", True),
        }


async def test_what_did_not_run_is_told() -> None:
    desk = Desk()
    async with listening(desk) as reader:
        await desk.barto.did_not_run("web1", "backup", NOON, NOON + SECOND, 2, "asleep")
        (found,) = await heard(reader, "range")
        assert (found.schedule, found.count, found.verdict) == ("backup", 2, "missed")
        odd = Decided(
            schedule_uid=bytes(16), schedule="x", first_slot=1, last_slot=1, count=1, verdict=99
        )
        batch = Batch(bytes(16), "web1", bytes(16), Lane.STATE, 1, 1, bytes(8), [odd])
        desk.news.committed(batch)
        assert await heard(reader, "range") == []


async def test_workers_that_come_and_go_are_told() -> None:
    desk = Desk()
    await desk.barto.worker("web1", connected=False)
    async with listening(desk) as reader:
        member = desk.member("web1")
        desk.hub.join(member)
        assert [one.connected for one in await heard(reader, "worker")] == [True]
        desk.hub.leave(member.uid, member.link)
        assert [one.connected for one in await heard(reader, "worker")] == [False]
        fork = Fork(NOON, "web1", "192.0.2.9", bytes(16), "a copy")
        assert desk.hub.fork(member.uid, fork)
        assert [one.alarm for one in await heard(reader, "worker")] == [
            "refused, from 192.0.2.9: a copy"
        ]
        names = [f"w{number}" for number in range(module.WORKERS_MOST + 1)]
        for name in names:
            await desk.barto.worker(name, connected=False)
            desk.hub.join(desk.member(name))
        assert sorted(one.name for one in await heard(reader, "worker")) == sorted(names)
    assert len(connections(desk.hub)) == len(names)
    assert list(alarms(desk.hub)) == [member.uid]


async def test_too_much_at_once_and_a_database_that_is_away_are_told_as_a_reset() -> None:
    desk = Desk()
    async with listening(desk) as reader:
        for number in range(module.MOST + 1):
            desk.news._runs[number.to_bytes(16, "big")] = None
        await desk.barto.run("web1", "backup")
        assert [one["why"] for one in await heard(reader, "run", "reset")] == ["too much at once"]
        await desk.barto.run("web1", "backup", NOON + SECOND)
        desk.store.available = False
        (told, *_) = await heard(reader, "run", "reset")
        assert told["why"] == "the database was away"
        desk.news.worker_changed(desk.barto.uid("web1"))
        assert await heard(reader, "worker", "reset") == [], "once, as long as it is away"
        desk.store.available = True
        assert await heard(reader, "reset") == [{"why": "the database is back"}]
        assert await heard(reader, "reset") == []


async def test_who_comes_back_after_nobody_listened_reads_anew() -> None:
    desk = Desk()
    async with listening(desk) as reader:
        await desk.barto.run("web1", "backup")
        assert len(await heard(reader, "run")) == 1
        last = desk.feed.last_id
        with desk.feed.subscribe(Wanted(), last) as again:
            assert await heard(again, "reset") == []
    desk.news.worker_changed(b"x")
    await desk.barto.run("web1", "backup", NOON + SECOND)
    with desk.feed.subscribe(Wanted(), last) as late:
        event = await late.next(1)
        assert event is not None
        assert event.kind == "reset"


async def test_who_follows_output_is_woken_though_nobody_hears_events() -> None:
    desk = Desk()
    run = await desk.barto.run("web1", "backup", verdict=None)
    with desk.feed.following(bytes.fromhex(run)) as touched:
        await desk.barto.run("web1", "backup", NOON + SECOND, printed=[(OUT, b"x")])
        assert not touched.is_set()
        record: list[Record] = [_ended(run)]
        await desk.barto.tell("web1", *record)
        assert touched.is_set()


def _ended(run: str) -> Record:
    return Ended(run_id=bytes.fromhex(run), attempt=1, verdict=int(Verdict.OK), ended_at=NOON)


async def test_the_overview_follows_what_is_told() -> None:
    desk = Desk()
    await desk.barto.worker("web1")
    toml = '[[schedule]]\nname = "backup"\nworkers = "*"\nevery = "1h"\ncmds = ["true"]'
    desk.planner.load(schedule_rows(load_schedules([("bartos.toml", toml)]), [], NOON))
    overview = desk.store.overview
    assert overview is not None
    uid, schedule = desk.barto.uid("web1"), schedule_uid("backup")

    async def last() -> str:
        return (await overview.last(uid, schedule)).word

    assert await last() == "never_ran"
    await desk.barto.run("web1", "backup", NOON, verdict=Verdict.FAILED, codes=(1,))
    desk.store.available = False
    with pytest.raises(StoreUnavailable):
        await last()
    desk.store.available = True
    assert await last() == "failed"
    await desk.barto.run("web1", "backup", NOON + 60 * SECOND, verdict=None)
    assert await last() == "failed", "as long as the next one has not ended"
    await desk.barto.run("web1", "backup", NOON + 120 * SECOND)
    assert await last() == "ok"
    slot = NOON + 180 * SECOND
    await desk.barto.did_not_run("web1", "backup", slot, slot, 1, "asleep")
    assert await last() == "missed"
    await desk.barto.run("web1", "backup", NOON + 240 * SECOND)
    assert await last() == "ok"
    overview.forget()
    assert await last() == "ok"
    await desk.barto.did_not_run("web1", "backup", slot, slot, 1, "asleep")
    assert await last() == "ok", "what was missed before the last run is over"


async def test_what_the_server_chose_no_worker_for_is_missed_too() -> None:
    desk = Desk()
    await desk.barto.worker("web1")
    toml = (
        '[[schedule]]\nname = "report"\nworkers = "*"\npick = "one"\nevery = "1h"\ncmds = ["true"]'
    )
    desk.planner.load(schedule_rows(load_schedules([("bartos.toml", toml)]), [], NOON))
    row = CursorRow(schedule_uid("report"), "report", NOON, "")
    undone = [Undone(NOON, NOON, 1, Verdict.MISSED, "nobody was there")]
    await desk.store.commit_dispatch(DispatchChange(cursors=[CursorMove(row, None, undone)]))
    overview = desk.store.overview
    assert overview is not None
    assert dict((await overview.standing(1, 1)).counts) == {"missed": 1}


def floating() -> Desk:
    """A schedule that runs on one worker of one, every hour."""
    desk = Desk()
    toml = (
        '[[schedule]]\nname = "report"\nworkers = "*"\npick = "one"\nevery = "1h"\ncmds = ["true"]'
    )
    desk.planner.load(schedule_rows(load_schedules([("bartos.toml", toml)]), [], NOON))
    return desk


async def test_the_overview_follows_what_the_server_decides() -> None:
    desk = floating()
    await desk.barto.worker("web1")
    overview = desk.store.overview
    assert overview is not None
    hour = 3600 * SECOND
    report = schedule_uid("report")

    async def counts() -> dict[str, int]:
        return dict((await overview.standing(1, 1)).counts)

    async def commit(change: DispatchChange) -> None:
        await desk.store.commit_dispatch(change)
        overview.decided(change)

    async def move(before: int | None, to: int, *undone: Undone, back: bool = False) -> None:
        row = CursorRow(report, "report", to, "")
        await commit(DispatchChange(cursors=[CursorMove(row, before, undone, back)]))

    assert await counts() == {"never_ran": 1}
    await move(None, NOON, Undone(NOON, NOON, 1, Verdict.MISSED, "nobody was there"))
    desk.store.available = False
    with pytest.raises(StoreUnavailable):
        await counts()
    desk.store.available = True
    assert await counts() == {"missed": 1}
    later = NOON + hour
    await move(NOON, later, Undone(later, later, 1, Verdict.SKIPPED, "paused"))
    assert await counts() == {"never_ran": 1}, "as when all is read anew"
    await move(later, NOON, back=True)
    assert await counts() == {"missed": 1}, "the clock was set back"
    overview.forget()
    assert await counts() == {"missed": 1}


async def test_the_overview_follows_what_becomes_of_orders() -> None:
    desk = floating()
    await desk.barto.worker("web1")
    overview = desk.store.overview
    assert overview is not None
    report, web1 = schedule_uid("report"), desk.barto.uid("web1")
    assert (await overview.last(web1, report)).word == "never_ran"
    for number, worker in enumerate((NOBODY, web1)):
        intent = IntentRow(
            bytes([number] * 16), Kind.MANUAL, report, "report", NOON, b"", NOON, NOON,
            worker_uid=worker,
        )  # fmt: skip
        closings = [Closing(intent, NOON, Verdict.MISSED, "nobody was there in time")]
        change = DispatchChange(intents=[intent], closings=closings)
        await desk.store.commit_dispatch(change)
        overview.decided(change)
    assert (await overview.last(web1, report)).word == "missed"
    assert dict((await overview.standing(1, 1)).counts) == {"missed": 1}


async def test_what_the_server_decides_is_told() -> None:
    desk = floating()
    report, web1 = schedule_uid("report"), desk.barto.uid("web1")
    ended = [
        IntentRow(
            bytes([number] * 16), Kind.MANUAL, report, "report", NOON, b"", NOON, NOON,
            worker_uid=web1, worker="web1",
        )
        for number in (1, 2)
    ]  # fmt: skip
    closings = [Closing(ended[0], NOON, Verdict.MISSED, "too late"), Closing(ended[1], NOON)]
    row = CursorRow(report, "report", NOON, "")
    undone = [Undone(NOON, NOON, 1, Verdict.SKIPPED, "paused")]
    move = CursorMove(row, None, undone)
    change = DispatchChange(cursors=[move], intents=ended, closings=closings)
    desk.news.decided(change)  # nobody listens
    desk.news.decided(DispatchChange(cursors=[CursorMove(row, None)]))
    await desk.store.commit_dispatch(change)
    async with listening(desk) as reader:
        await heard(reader, "range")
        desk.news.decided(change)
        told = [(one.worker, one.verdict, one.reason) for one in await heard(reader, "range")]
        assert told == [("", "skipped", "paused"), ("web1", "missed", "too late")]


async def test_a_verdict_of_the_servers_that_a_claim_came_before_is_not_told() -> None:
    desk = floating()
    report = schedule_uid("report")
    run = await desk.barto.run("web1", "report", verdict=None)
    intent = IntentRow(
        bytes.fromhex(run.replace("-", "")), Kind.MANUAL, report, "report", NOON, b"", NOON, NOON
    )
    change = DispatchChange(
        intents=[intent], closings=[Closing(intent, NOON, Verdict.MISSED, "late")]
    )
    await desk.store.commit_dispatch(change)
    async with listening(desk) as reader:
        await heard(reader, "range")
        desk.news.decided(change)
        assert await heard(reader, "range") == []


async def test_where_others_run_something_only_theirs_is_read() -> None:
    desk = Desk()
    toml = """
        [[schedule]]
        name = "backup"
        workers = "*"
        every = "1h"
        cmds = ["true"]

        [[schedule]]
        name = "report"
        workers = "*"
        pick = "one"
        every = "1h"
        cmds = ["true"]
    """
    overview = desk.store.overview
    assert overview is not None

    def configure(toml: str) -> None:
        rows = schedule_rows(load_schedules([("bartos.toml", toml)]), [], NOON)
        desk.planner.load(rows)

    async def counts() -> dict[str, int]:
        await desk.clock.sleep(3)
        desk.store.read.clear()
        return dict((await overview.standing(1, 1)).counts)

    def pair(worker: str, schedule: str = "backup") -> Pair:
        return desk.barto.uid(worker), schedule_uid(schedule)

    configure(toml)
    await desk.barto.worker("web1")
    await desk.barto.run("web1", "backup", NOON, verdict=Verdict.FAILED, codes=(1,))
    assert await counts() == {"failed": 1, "never_ran": 1}
    assert desk.store.read == [pair("web1")]
    await desk.barto.run("web1", "backup", NOON + SECOND)
    await desk.barto.run("web2", "backup", NOON, verdict=Verdict.FAILED, codes=(1,))
    await desk.barto.worker("web2")
    desk.store.available = False
    with pytest.raises(StoreUnavailable):
        await counts()
    desk.store.available = True
    assert await counts() == {"ok": 1, "failed": 1, "never_ran": 1}
    assert desk.store.read == [pair("web2")]
    await desk.barto.run("web2", "report", NOON)
    configure(toml.replace('"*"', '"web1"', 1).replace('pick = "one"', ""))
    assert await counts() == {"ok": 2, "never_ran": 1}
    assert sorted(desk.store.read) == sorted([pair("web1", "report"), pair("web2", "report")])
    await desk.barto.run("web2", "backup", NOON + SECOND)
    configure(toml)
    assert await counts() == {"ok": 3}, "it was kept in step while it ran elsewhere"
    assert desk.store.read == []
    await desk.clock.sleep(600)
    assert await counts() == {"ok": 3}
    assert len(desk.store.read) == 2, "all is read anew now and then"
