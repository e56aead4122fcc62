"""What the server itself starts, with real workers on links that break, in virtual time."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import pytest

from bartoc.journal_memory import MemoryJournal
from bartos.dispatch_events import RunAsked, Wanted
from bartos.dispatching import FileWitness, cancel_request
from bartos.store.memory import MemoryStore
from bartos.store.orders import ALL_SCHEDULES, RESTORED, DispatchChange, PauseRow
from bartos.store.port import Batch, RunFilter
from libbarto.errors import StoreUnavailable, UserError
from libbarto.identity import Kind, schedule_uid
from libbarto.message.v2.record import Verdict
from tests.system.world import WorkerHost, World, named

REPORT = """
[[schedule]]
name = "report"
workers = "*"
pick = "one"
on_calendar = "*:0/10"
cmds = ["sleep 5; echo hi"]
"""
ONCE = REPORT.replace('"*:0/10"', '"00:00"')
LOST = "lost: the server's database was restored: nobody knows yet whether it started"
PINNED = """
[[schedule]]
name = "backup"
workers = "*"
on_calendar = "2040-01-01"
cmds = ["sleep 5; echo hi"]
"""
ANN = ("ann", "to try it")


def run_asked(schedule: str, *workers: str, request: str = "request") -> RunAsked:
    uid = schedule_uid(schedule)
    wanted = [Wanted(uid, (named(f"worker {name}"), name)) for name in workers] or [Wanted(uid)]
    return RunAsked(named(request), wanted, *ANN)


async def verdicts(barto: World) -> list[str]:
    """The verdicts of what did not run, by slot."""
    rows = await barto.store.ranges(RunFilter())
    return [f"{row.verdict.word}: {row.reason}" for row in rows[::-1]]


async def test_one_worker_of_all_runs_each_slot(barto: World) -> None:
    await barto.start_server(REPORT)
    for name in ("han", "leia", "luke"):
        barto.add_worker(name)
    await barto.clock.advance(minutes=61)
    runs = await barto.runs()
    assert len(runs) == 7
    assert {run.verdict for run in runs} == {Verdict.OK}
    assert len({run.worker for run in runs}) > 1, "equals share"
    assert max(run.late_us for run in runs) < 50_000
    assert barto.store.output(runs[0].worker).startswith(b"hi\n")
    assert await verdicts(barto) == []
    await barto.close()


class DeafStore(MemoryStore):
    """A store that takes no records of workers while it is `deaf`."""

    deaf = False

    async def append(self, batches: Sequence[Batch]) -> list[bool]:
        if self.deaf:
            raise StoreUnavailable("deaf")
        return await super().append(batches)


async def silent(barto: World, toml: str = ONCE) -> WorkerHost:
    """A worker was offered a start, and its link went dead at that moment."""
    await barto.start_server(toml)
    han = barto.add_worker("han")
    await barto.clock.advance(seconds=29)
    han.link.stall()
    await barto.clock.advance(seconds=20)
    barto.add_worker("leia")
    await barto.clock.advance(minutes=5)
    assert await barto.runs() == [], "time proves nothing"
    return han


async def test_a_worker_that_never_heard_of_it_refuses_and_it_is_offered_again(
    barto: World,
) -> None:
    han = await silent(barto)
    han.link.cut()
    han.link.restore()
    await barto.clock.advance(seconds=30)
    (run,) = await barto.runs()
    assert (run.verdict, run.worker) == (Verdict.OK, "leia")
    (order,) = await barto.store.orders(run_id=run.run_id)
    assert order.offers == 2
    await barto.close()


async def test_the_server_dies_between_intent_and_claim(barto: World) -> None:
    han = await silent(barto)
    await barto.stop_server(crash=True)
    await barto.start_server()
    await barto.clock.advance(minutes=5)
    assert await barto.runs() == [], "the offer is still with han"
    han.link.cut()
    han.link.restore()
    await barto.clock.advance(seconds=30)
    (run,) = await barto.runs()
    assert (run.verdict, run.worker) == (Verdict.OK, "leia")
    await barto.close()


async def test_a_claim_whose_record_is_under_way_counts_though_both_ends_die(barto: World) -> None:
    barto.store = store = DeafStore()
    await barto.start_server(ONCE)
    barto.add_worker("han")
    barto.add_worker("leia")
    await barto.clock.advance(seconds=29)
    store.deaf = True
    await barto.clock.advance(seconds=10)
    assert await barto.runs() == [], "somebody runs it, and the server does not know"
    await barto.stop_server(crash=True)
    for host in barto.workers.values():
        await host.crash()
    store.deaf = False
    await barto.start_server()
    await barto.clock.advance(seconds=20)
    for host in barto.workers.values():
        host.start()
    await barto.clock.advance(minutes=5)
    (run,) = await barto.runs()
    assert run.verdict is not None
    assert await verdicts(barto) == []
    await barto.close()


async def test_a_worker_without_its_journal_makes_the_start_lost(barto: World) -> None:
    han = await silent(barto)
    await han.crash()
    epoch = han.journal.epoch
    han.journal = MemoryJournal(named("worker han"), named("another spool"))
    han.journal.epoch = epoch
    han.link.cut()
    han.link.restore()
    han.start()
    await barto.clock.advance(minutes=2)
    assert await barto.runs() == []
    (said,) = await verdicts(barto)
    assert said.startswith("lost: han came back without its journal")
    await barto.close()


async def test_reassign_starts_it_elsewhere_and_the_history_says_so(barto: World) -> None:
    han = await silent_with_reassign(barto)
    (run,) = await barto.runs()
    assert (run.worker, run.kind) == ("leia", Kind.MANUAL)
    (said,) = await verdicts(barto)
    assert said.startswith("lost: its worker went silent")
    han.link.cut()
    han.link.restore()
    await barto.clock.advance(minutes=2)
    assert len(await barto.runs()) == 1
    await barto.close()


async def silent_with_reassign(barto: World) -> WorkerHost:
    await barto.start_server(ONCE.replace("cmds", 'on_silence = "reassign"\ncmds'))
    han = barto.add_worker("han")
    await barto.clock.advance(seconds=29)
    han.link.stall()
    await barto.clock.advance(seconds=20)
    barto.add_worker("leia")
    await barto.clock.advance(minutes=3)
    return han


# -- an older copy of the database ----------------------------------------------------------------


async def test_a_restored_server_learns_of_it_and_the_workers_tell_what_ran(barto: World) -> None:
    await barto.start_server(REPORT)
    barto.add_worker("han")
    await barto.clock.advance(minutes=15)
    assert len(await barto.runs()) == 2
    backup = copy.deepcopy(barto.store)
    await barto.clock.advance(minutes=30)
    assert len(await barto.runs()) == 5
    await barto.stop_server(crash=True)
    barto.store = backup
    await barto.start_server()
    await barto.clock.advance(seconds=20)
    assert [run.verdict for run in await barto.runs()] == [Verdict.OK] * 5
    assert await verdicts(barto) == [], "what was lost at first is told by its worker"
    kinds = [row.kind for row in await barto.store.events(0)]
    assert "restored" in kinds
    await barto.clock.advance(minutes=10)
    assert len(await barto.runs()) == 6
    await barto.close()


async def test_what_ran_on_a_worker_that_comes_later_is_lost_until_then(barto: World) -> None:
    await barto.start_server(REPORT)
    han = barto.add_worker("han")
    await barto.clock.advance(minutes=15)
    backup = copy.deepcopy(barto.store)
    await barto.clock.advance(minutes=10)
    leia = barto.add_worker("leia")
    await barto.clock.advance(seconds=10)
    await han.crash()
    await barto.clock.advance(minutes=10)
    await barto.stop_server(crash=True)
    await leia.crash()
    barto.store = backup
    han.start()
    await barto.start_server()
    await barto.clock.advance(minutes=1)
    assert await verdicts(barto) == [LOST]
    assert len(await barto.runs()) == 3
    leia.start()
    await barto.clock.advance(minutes=1)
    assert await verdicts(barto) == []
    assert len(await barto.runs()) == 4
    await barto.close()


class Noted:
    """A witness in memory: it is not restored with the store."""

    def __init__(self) -> None:
        self.number = 0

    def read(self) -> int:
        return self.number

    def write(self, commits: int) -> None:
        self.number = commits


async def test_a_server_learns_of_an_older_copy_by_its_own_note(barto: World) -> None:
    barto.witness = Noted()
    await barto.start_server(REPORT)
    han = barto.add_worker("han")
    await barto.clock.advance(seconds=10)
    await han.crash()
    await barto.clock.advance(seconds=17)
    backup = copy.deepcopy(barto.store)
    leia = barto.add_worker("leia")
    await barto.clock.advance(minutes=5)
    assert [run.worker for run in await barto.runs()] == ["leia"]
    await barto.stop_server(crash=True)
    await leia.crash()
    barto.store = backup
    await barto.start_server()
    han.start()
    await barto.clock.advance(minutes=2)
    assert await barto.runs() == [], "han could not know that leia has run it"
    assert await verdicts(barto) == [LOST]
    leia.start()
    await barto.clock.advance(minutes=1)
    assert [run.worker for run in await barto.runs()] == ["leia"]
    assert await verdicts(barto) == []
    await barto.close()


class Reluctant(MemoryStore):
    """A store that does not take the news of its restoration, until it is willing."""

    willing = False

    async def commit_dispatch(self, change: DispatchChange) -> frozenset[bytes]:
        if RESTORED in change.facts and not self.willing:
            raise StoreUnavailable("not this")
        return await super().commit_dispatch(change)


async def test_a_server_that_dies_before_it_has_noted_an_older_copy_learns_it_again(
    barto: World,
) -> None:
    barto.witness = witness = Noted()
    await barto.start_server(REPORT)
    await barto.clock.advance(minutes=25)
    seen = witness.number
    await barto.stop_server(crash=True)
    barto.store = store = Reluctant()
    await barto.start_server(REPORT)
    await barto.clock.advance(minutes=1)
    assert witness.number == seen
    await barto.stop_server(crash=True)
    store.willing = True
    assert (await barto.store.dispatch_state()).cursors, "it has committed something"
    await barto.start_server()
    await barto.clock.advance(seconds=1)
    assert RESTORED in (await barto.store.dispatch_state()).facts
    assert witness.number > seen
    await barto.close()


def test_the_note_is_a_file_and_its_loss_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    witness = FileWitness(tmp_path / "committed")
    assert witness.read() == 0
    witness.write(7)
    assert FileWitness(tmp_path / "committed").read() == 7
    (tmp_path / "committed").write_text("", encoding="ascii")
    assert witness.read() == 0
    nowhere = FileWitness(tmp_path / "nowhere" / "committed")
    nowhere.write(1)
    nowhere.write(2)
    assert caplog.text.count("cannot note") == 1


# -- orders by hand -------------------------------------------------------------------------------


async def test_a_run_of_what_was_removed_meanwhile_is_refused_and_not_nothing(
    barto: World,
) -> None:
    server = await barto.start_server(PINNED)
    with pytest.raises(UserError, match="ask once more"):
        await server.dispatching.run(run_asked("gone", "han"))
    await barto.close()


async def test_a_store_that_does_not_take_what_is_written_is_told(barto: World) -> None:
    server = await barto.start_server(REPORT)
    await barto.clock.advance(minutes=9)
    barto.store.available = False
    await barto.clock.advance(minutes=2)
    away = [server.dispatching.away]
    barto.store.available = True
    await barto.clock.advance(seconds=10)
    assert [*away, server.dispatching.away] == [True, False]
    await barto.close()


async def test_what_ended_before_the_server_died_is_followed_when_it_comes_back(
    barto: World,
) -> None:
    server = await barto.start_server(FOLLOWED)
    for name in ("han", "leia"):
        barto.add_worker(name)
    server.writer.on_stored = lambda _: None  # it dies before it hears of the end
    await barto.clock.advance(minutes=2)
    assert {run.schedule for run in await barto.runs()} == {"dump"}
    await barto.stop_server(crash=True)
    await barto.start_server()
    await barto.clock.advance(minutes=1)
    assert {run.schedule for run in await barto.runs()} == {"dump", "upload"}
    await barto.close()


async def test_a_run_by_hand_starts_on_each_worker_that_was_named(barto: World) -> None:
    server = await barto.start_server(PINNED)
    for name in ("han", "leia", "luke"):
        barto.add_worker(name)
    await barto.clock.advance(seconds=5)
    await barto.workers["luke"].crash()
    rows = await server.dispatching.run(run_asked("backup", "han", "luke"))
    assert [row.intent.worker for row in rows] == ["han", "luke"]
    again = await server.dispatching.run(run_asked("backup", "han", "luke"))
    assert [row.intent.run_id for row in again] == [row.intent.run_id for row in rows]
    await barto.clock.advance(seconds=10)
    (run,) = await barto.runs()
    assert (run.worker, run.kind, run.verdict) == ("han", Kind.MANUAL, Verdict.OK)
    assert server.dispatching.heard(run.run_id) is not None
    await barto.stop_server(crash=True)
    await barto.start_server()
    barto.workers["luke"].start()
    await barto.clock.advance(seconds=20)
    assert [run.worker for run in await barto.runs()] == ["han", "luke"]
    await barto.close()


async def test_an_order_to_a_worker_that_stays_away_is_missed_and_never_runs(barto: World) -> None:
    server = await barto.start_server(PINNED)
    han = barto.add_worker("han")
    await barto.clock.advance(seconds=5)
    await han.crash()
    await barto.clock.advance(seconds=20)
    await server.dispatching.run(run_asked("backup", "han"))
    await barto.clock.advance(minutes=61)
    assert await verdicts(barto) == ["missed: han was away, or took no starts, for longer than "
                                     "catch_up"]  # fmt: skip
    han.start()
    await barto.clock.advance(minutes=1)
    assert await barto.runs() == []
    await barto.close()


async def test_an_order_that_was_on_its_way_when_its_worker_died_is_missed_as_well(
    barto: World,
) -> None:
    server = await barto.start_server(PINNED)
    han = barto.add_worker("han")
    await barto.clock.advance(seconds=5)
    han.link.stall()
    await server.dispatching.run(run_asked("backup", "han"))
    await barto.clock.advance(seconds=20)
    await han.crash()
    await barto.clock.advance(minutes=61)
    assert await verdicts(barto) == [], "nobody knows"
    han.link.cut()
    han.link.restore()
    han.start()
    await barto.clock.advance(minutes=1)
    assert [said[:7] for said in await verdicts(barto)] == ["missed:"]
    assert await barto.runs() == []
    await barto.close()


async def test_cancel_ends_a_run_and_a_start_that_waits(barto: World) -> None:
    server = await barto.start_server(PINNED.replace("sleep 5", "sleep 500"))
    barto.add_worker("han")
    await barto.clock.advance(seconds=5)
    (row,) = await server.dispatching.run(run_asked("backup", "han"))
    await barto.clock.advance(seconds=5)
    assert server.dispatching.running(schedule_uid("backup")) == {
        row.intent.run_id: named("worker han")
    }
    await server.dispatching.cancel([row.intent.run_id], "ann", "it hangs")
    await barto.clock.advance(seconds=15)
    (run,) = await barto.runs()
    assert run.verdict is Verdict.CANCELLED
    assert "ann" in run.reason and "it hangs" in run.reason
    heard = server.dispatching.heard(cancel_request(run.run_id))
    assert heard is not None and heard.accepted
    await barto.close()


async def test_a_cancel_reaches_a_worker_that_comes_back(barto: World) -> None:
    server = await barto.start_server(PINNED.replace("sleep 5", "sleep 500"))
    han = barto.add_worker("han")
    await barto.clock.advance(seconds=5)
    (row,) = await server.dispatching.run(run_asked("backup", "han"))
    await barto.clock.advance(seconds=5)
    han.link.cut()
    await server.dispatching.cancel([row.intent.run_id], "ann", "")
    await barto.clock.advance(seconds=30)
    await barto.stop_server(crash=True)
    await barto.start_server()
    han.link.restore()
    await barto.clock.advance(seconds=40)
    (run,) = await barto.runs()
    assert run.verdict is Verdict.CANCELLED
    await barto.close()


# -- pauses ---------------------------------------------------------------------------------------

MINUTELY = PINNED.replace('"2040-01-01"', '"minutely"').replace("sleep 5; ", "")


async def test_a_pause_is_pushed_survives_all_and_ends_by_itself(barto: World) -> None:
    server = await barto.start_server(MINUTELY)
    barto.add_worker("han")
    await barto.clock.advance(seconds=40)
    assert len(await barto.runs()) == 1
    uid = schedule_uid("backup")
    now = barto.clock.now()
    until = now + 5 * 60_000_000
    await server.dispatching.pause([PauseRow(uid, "backup", "ann", now, "maintenance", until)])
    await barto.clock.advance(minutes=2)
    member = server.hub.find(named("worker han"))
    assert member is not None and member.applied == member.generation == 2
    await barto.stop_server(crash=True)
    await barto.start_server()
    await barto.configure(MINUTELY)
    await barto.clock.advance(minutes=2)
    assert len(await barto.runs()) == 1
    assert set(await verdicts(barto)) == {"skipped: paused: maintenance (by ann)"}
    await barto.clock.advance(minutes=3)
    assert len(await barto.runs()) == 3
    assert await barto.store.pauses() == []
    kinds = {row.kind: row.facts for row in await barto.store.events(0)}
    assert kinds["pause"]["who"] == "ann"
    assert "pause ended" in kinds
    await barto.close()


async def test_resume_ends_a_pause_of_all(barto: World) -> None:
    server = await barto.start_server(MINUTELY + REPORT)
    barto.add_worker("han")
    await barto.clock.advance(seconds=10)
    await server.dispatching.pause([PauseRow(ALL_SCHEDULES, "", "ann", barto.clock.now())])
    await barto.clock.advance(minutes=11)
    assert await barto.runs() == []
    await server.dispatching.resume([ALL_SCHEDULES], "ann")
    await barto.clock.advance(minutes=10)
    assert {run.schedule for run in await barto.runs()} == {"backup", "report"}
    await barto.close()


async def test_a_pause_without_an_end_is_reminded_of(
    barto: World, caplog: pytest.LogCaptureFixture
) -> None:
    server = await barto.start_server(PINNED)
    uid = schedule_uid("backup")
    week_ago = barto.clock.now() - 7 * 86_400_000_000 + 60_000_000
    await server.dispatching.pause([PauseRow(uid, "backup", "ann", week_ago)])
    await barto.clock.advance(seconds=20)
    assert "still paused" not in caplog.text
    await barto.clock.advance(hours=5)
    assert caplog.text.count("still paused") == 1
    await barto.close()


# -- follow-ups -----------------------------------------------------------------------------------

FOLLOWED = (
    ONCE.replace("report", "dump").replace('pick = "one"\n', "").replace('"*"', '"han"')
    + """
[[schedule]]
name = "upload"
after = "dump"
workers = "leia"
cmds = ["echo up"]
"""
)


async def test_a_follow_up_that_leaves_its_worker_starts_once_for_each_run(barto: World) -> None:
    await barto.start_server(FOLLOWED)
    barto.add_worker("han")
    await barto.clock.advance(minutes=2)
    await barto.stop_server(crash=True)
    await barto.start_server()
    await barto.clock.advance(minutes=2)
    barto.add_worker("leia")
    await barto.clock.advance(minutes=2)
    dump, upload = await barto.runs()
    assert (dump.schedule, dump.worker) == ("dump", "han")
    assert (upload.schedule, upload.worker, upload.slot) == ("upload", "leia", dump.slot)
    assert upload.kind == Kind.FOLLOW
    await barto.close()


class ForgetfulStore(MemoryStore):
    """A store that stores, and does not answer for a while, once it is told to."""

    answers = True
    stored = False

    async def append(self, batches: Sequence[Batch]) -> list[bool]:
        if not self.answers:
            if not self.stored:
                self.stored = True
                await super().append(batches)
            raise StoreUnavailable("the answer was lost")
        return await super().append(batches)


async def test_what_was_stored_without_an_answer_is_told_though_its_worker_came_anew(
    barto: World,
) -> None:
    barto.store = store = ForgetfulStore()
    server = await barto.start_server(REPORT)
    han = barto.add_worker("han")
    await barto.clock.advance(seconds=33)
    (run_id,) = server.dispatching.running(schedule_uid("report"))
    store.answers = False
    await barto.clock.advance(seconds=4)
    assert store.stored, "the end"
    han.link.cut()
    han.link.restore()
    await barto.clock.advance(seconds=20)
    assert server.hub.find(named("worker han")) is not None, "it is back"
    store.answers = True
    await barto.clock.advance(seconds=20)
    assert {run.run_id: run.verdict for run in await barto.runs()} == {run_id: Verdict.OK}
    assert server.dispatching.running(schedule_uid("report")) == {}
    await barto.close()


async def test_the_database_is_away_when_a_slot_is_due(barto: World) -> None:
    await barto.start_server(REPORT)
    barto.add_worker("han")
    await barto.clock.advance(seconds=20)
    barto.store.available = False
    await barto.clock.advance(seconds=25)
    barto.store.available = True
    await barto.clock.advance(seconds=20)
    (run,) = await barto.runs()
    assert run.verdict is Verdict.OK
    assert 10_000_000 < run.late_us < 30_000_000
    await barto.close()


async def test_what_nobody_was_there_for_is_in_the_overview_at_once(barto: World) -> None:
    server = await barto.start_server(REPORT.replace("cmds", "catch_up = 60\ncmds"))
    han = barto.add_worker("han")
    await barto.clock.advance(minutes=5)
    assert dict((await server.overview.standing(1, 1)).counts) == {"ok": 1}
    await han.crash()
    await barto.clock.advance(minutes=9)
    assert (await verdicts(barto))[-1].startswith("missed")
    assert dict((await server.overview.standing(1, 1)).counts) == {"missed": 1}
    await barto.close()
