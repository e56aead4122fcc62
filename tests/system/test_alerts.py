"""Who is told of what, by channels that record it, in virtual time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace

import pytest

from bartos.alert_text import Message
from bartos.alerting import REFUSED_MOST
from bartos.heartbeat import Heartbeat
from bartos.outgoing import Refused, Undelivered
from bartos.store.alerts import AlertNews, AlertRow, Member
from bartos.watch import Stuck
from libbarto.clock import SECOND
from libbarto.errors import UserError
from libbarto.testing import settled
from tests.system.world import WorkerHost, World

TOML = """
[[schedule]]
name = "backup"
workers = "*"
on_calendar = "minutely"
cmds = ["false"]
runbook = "https://wiki/backup"
timezone = "Europe/Berlin"
missed = "none"

[[schedule]]
name = "quiet"
workers = "*"
on_calendar = "minutely"
cmds = ["false"]
alerts = false
"""
FINE = TOML.replace('"false"', '"true"')


@dataclass
class Recorder:
    """A channel that keeps what it is given, while it is not `down`, but that of one schedule."""

    down: bool = False
    refuses: str = ""
    tries: int = 0
    got: list[Message] = field(default_factory=list)
    place: str = "a test"

    async def send(self, message: Message) -> str:
        self.tries += 1
        if self.down:
            raise Undelivered("refused")
        if self.refuses and self.refuses in message.subject:
            raise Refused("it answers 400 Bad Request")
        self.got.append(message)
        return "kept"

    @property
    def subjects(self) -> list[str]:
        return [message.subject for message in self.got]


@dataclass
class Scene:
    """A world with one channel."""

    barto: World
    channel: Recorder

    async def begin(self, *workers: str, toml: str = TOML) -> None:
        await self.barto.start_server(toml)
        for name in workers:
            self.barto.add_worker(name)
        await self.pass_(seconds=5)

    async def pass_(self, **time: float) -> None:
        await self.barto.clock.advance(**time)
        await settled()


@pytest.fixture
def scene(barto: World) -> Scene:
    channel = Recorder()
    barto.channels = {"webhook": channel}
    return Scene(barto, channel)


async def test_a_failure_is_told_once_and_so_is_the_recovery(scene: Scene) -> None:
    await scene.begin("web1")
    await scene.pass_(minutes=3.5)
    assert scene.channel.subjects == ["backup failed on web1"]
    (message,) = scene.channel.got
    assert message.verdict == "failed, exit 1"
    assert (message.runbook, message.total) == ("https://wiki/backup", 1)
    run = (await scene.barto.runs(schedule="backup"))[0]
    assert message.run.replace("-", "") == run.run_id.hex()
    assert message.link == f"https://barto.example/runs/{message.run}"
    await scene.barto.configure(FINE)
    await scene.pass_(minutes=3)
    assert scene.channel.subjects[1:] == ["backup has recovered on web1"]
    await scene.barto.close()


async def test_many_workers_are_one_message(scene: Scene) -> None:
    names = [f"web{number}" for number in range(12)]
    await scene.begin(*names)
    await scene.pass_(minutes=2.5)
    assert scene.channel.subjects == ["backup failed on 12 workers"]
    assert sorted(scene.channel.got[0].workers) == sorted(names)
    await scene.barto.close()


async def test_nothing_is_lost_or_repeated_by_a_crash_of_the_server(scene: Scene) -> None:
    await scene.begin("web1")
    store = scene.barto.store
    while not await store.alerts_gathering(scene.barto.clock.now()):
        await scene.pass_(seconds=1)
    await scene.barto.stop_server(crash=True)
    await scene.pass_(minutes=2)
    assert scene.channel.subjects == []
    await scene.barto.start_server()
    await scene.pass_(minutes=2)
    assert scene.channel.subjects == ["backup failed on web1"]
    await scene.barto.stop_server(crash=True)
    await scene.barto.start_server()
    await scene.pass_(minutes=5)
    assert scene.channel.subjects == ["backup failed on web1"]
    await scene.barto.close()


async def test_a_channel_that_is_down_is_tried_with_growing_delays(scene: Scene) -> None:
    scene.channel.down = True
    await scene.begin("web1")
    await scene.pass_(minutes=30)
    assert scene.barto.server is not None
    alerting = scene.barto.server.alerting
    assert 5 <= scene.channel.tries <= 12
    assert alerting.down == ["webhook"]
    (state,) = await alerting.states()
    assert (state.error, state.waiting) == ("refused", 1)
    scene.channel.down = False
    await scene.pass_(minutes=15)
    assert scene.channel.subjects == ["backup failed on web1"]
    assert alerting.down == []
    assert [one.error for one in await alerting.states()] == [""]
    await scene.barto.close()


async def waiting(scene: Scene, *schedules: str) -> None:
    """Alerts of these are to be told now."""
    store, now = scene.barto.store, scene.barto.clock.now()
    looked = await store.begin_alerts(now)
    rows = [
        AlertRow(
            name.encode().ljust(16), "failed", b"x" * 16, name, now, now,
            (Member("web1", "lost", 0),), 1,
        )
        for name in schedules
    ]  # fmt: skip
    news = AlertNews(looked.looked, looked.looked + 1, (), rows, ("webhook",))
    assert await store.commit_alerts(news)


async def test_a_message_that_is_refused_delays_no_other(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("ERROR", "bartos.alerts")
    await scene.begin("web1", toml=TOML.replace('"minutely"', '"2040-01-01"'))
    assert scene.barto.server is not None
    alerting = scene.barto.server.alerting
    scene.channel.refuses = "poison"
    await waiting(scene, "poison")
    await scene.pass_(minutes=15)
    assert 5 <= scene.channel.tries <= 9, "with growing delays"
    assert alerting.down == ["webhook"]
    assert [one.error for one in await alerting.states()] == ["it answers 400 Bad Request"]
    await scene.pass_(seconds=1)
    await waiting(scene, *[f"good{number}" for number in range(3)])
    await scene.pass_(seconds=10)
    assert len(scene.channel.subjects) == 3, "though the other was refused until now"
    assert alerting.down == []
    assert [one.waiting for one in await alerting.states()] == [1]
    scene.channel.refuses = ""
    await scene.pass_(minutes=11)
    assert "poison failed on web1" in scene.channel.subjects
    said = [record.message for record in caplog.records]
    assert said == ["an alert was refused; it is tried again for a day"]
    await scene.barto.close()


async def test_a_channel_that_refuses_all_is_not_flooded(scene: Scene) -> None:
    await scene.begin("web1", toml=TOML.replace('"minutely"', '"2040-01-01"'))
    scene.channel.refuses = "poison"
    await waiting(scene, *(f"poison{number}" for number in range(500)))
    await scene.pass_(seconds=30)
    assert 40 <= scene.channel.tries <= 7 * REFUSED_MOST
    await scene.barto.close()


async def test_what_cannot_be_delivered_for_a_day_is_given_up(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("ERROR", "bartos.alerts")
    toml = TOML.replace('"minutely"', '"2026-01-01"')
    await scene.begin("web1", toml=toml)
    scene.channel.down = True
    assert scene.barto.server is not None
    server = scene.barto.server
    now = scene.barto.clock.now()

    looked = await scene.barto.store.begin_alerts(now)
    then = now - 86_400 * SECOND
    row = AlertRow(b"a" * 16, "failed", b"x" * 16, "gone", then, then, (Member("w", "lost", 0),), 1)
    news = AlertNews(looked.looked, looked.looked + 1, (), (row,), ("webhook",))
    assert await scene.barto.store.commit_alerts(news)
    await scene.pass_(minutes=1)
    assert (await server.alerting.states())[0].waiting == 0
    said = [record.message for record in caplog.records]
    assert said == [
        "an alert cannot be delivered; it is tried again for a day",
        "an alert was given up",
    ]
    await scene.barto.close()


async def test_what_was_missed_is_told_when_its_worker_is_back(scene: Scene) -> None:
    await scene.begin("web1", toml=FINE)
    await scene.pass_(minutes=2)
    worker: WorkerHost = scene.barto.workers["web1"]
    await worker.crash()
    await scene.pass_(minutes=10)
    worker.start()
    await scene.pass_(minutes=3)
    assert scene.channel.subjects[0] == "backup was missed on web1"
    assert scene.channel.got[0].verdict.startswith("missed")
    assert scene.channel.subjects[1:] == ["backup has recovered on web1"]
    await scene.barto.close()


async def test_a_database_that_is_away_delays_and_loses_nothing(scene: Scene) -> None:
    await scene.begin("web1")
    scene.barto.store.available = False
    await scene.pass_(minutes=3)
    assert scene.channel.subjects == []
    scene.barto.store.available = True
    await scene.pass_(minutes=2)
    assert scene.channel.subjects == ["backup failed on web1"]
    await scene.barto.close()


async def test_what_failed_before_there_were_channels_is_not_told(scene: Scene) -> None:
    scene.barto.channels = {}
    await scene.begin("web1")
    await scene.pass_(minutes=3)
    await scene.barto.configure(FINE)
    await scene.pass_(minutes=2)
    scene.barto.channels = {"mail": scene.channel}
    await scene.pass_(minutes=3)
    assert scene.channel.subjects == []
    await scene.barto.configure(TOML)
    await scene.pass_(minutes=3)
    assert scene.channel.subjects == ["backup failed on web1"]
    await scene.barto.close()


async def test_what_hung_and_has_ended_is_told_of_no_more(scene: Scene) -> None:
    await scene.begin("web1", toml=FINE)
    await scene.pass_(minutes=2)
    server = scene.barto.server
    assert server is not None
    run = (await scene.barto.runs(schedule="backup"))[0]
    assert run.verdict is not None
    server.watch.last = replace(server.watch.last, stuck=[Stuck(run, "as it was seen before")])
    await server.alerting.look()
    assert await scene.barto.store.alerts_gathering(0) == []
    await scene.barto.close()


async def test_a_test_says_what_happened_in_each_channel(scene: Scene) -> None:
    other = Recorder(down=True)
    scene.barto.channels = {"webhook": scene.channel, "mail": other}
    await scene.begin()
    assert scene.barto.server is not None
    alerting = scene.barto.server.alerting
    found = await alerting.test("ann")
    assert [(one.channel, one.ok, one.said) for one in found] == [
        ("webhook", True, "kept"),
        ("mail", False, "refused"),
    ]
    assert "asked for by ann" in scene.channel.got[0].text
    assert [one.channel for one in await alerting.test("ann", "mail")] == ["mail"]
    with pytest.raises(UserError, match='no channel "fax"'):
        await alerting.test("ann", "fax")
    scene.barto.channels = {}
    with pytest.raises(UserError, match="no channel is configured"):
        await alerting.test("ann")
    await scene.barto.close()


async def test_the_heartbeat_goes_while_all_is_well(scene: Scene) -> None:
    await scene.begin("web1")
    assert scene.barto.server is not None
    fetched: list[str] = []
    refuse = False

    async def get(url: str) -> str:
        if refuse:
            raise Undelivered("it answers 500")
        fetched.append(url)
        return "200 OK"

    heart = Heartbeat(lambda: "https://beat", scene.barto.server.trouble, scene.barto.clock, get)
    await heart.beat()
    assert heart.last is not None and (heart.last.ok, heart.last.said) == (True, "200 OK")
    scene.barto.store.available = False
    await heart.beat()
    assert heart.last.said.startswith("not sent: the database is away")
    scene.barto.store.available, refuse = True, True
    await heart.beat()
    assert (heart.last.ok, heart.last.said) == (False, "it answers 500")
    refuse = False
    await heart.beat()
    assert heart.last.ok
    scene.barto.server.tasks[1].cancel()
    await settled()
    await heart.beat()
    assert heart.last.said.startswith("not sent: a part of bartos has ended")
    assert fetched == ["https://beat"] * 2
    with contextlib.suppress(BaseException):
        await scene.barto.server.tasks[1]
    none = Heartbeat(lambda: None, scene.barto.server.trouble, scene.barto.clock, get)
    await none.beat()
    assert none.last is None
    await scene.barto.close()
