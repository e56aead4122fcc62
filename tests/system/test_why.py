"""Why a start was missed, skipped, failed: asked of a whole barto, after it really happened."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from libbarto.identity import uuid_text
from libbarto.testing import FakeClock
from tests.system.test_actions import away, get, post
from tests.system.world import World

BACKUP = """
[[schedule]]
name = "backup"
workers = "web1"
on_calendar = "*-*-* *:00"
cmds = ["true"]
catch_up = "10m"
"""
BERLIN = 'timezone = "Europe/Berlin"\n'
TOML = BERLIN + BACKUP


async def begun(barto: World, toml: str = TOML, *workers: str) -> None:
    """It is 00:59:30 in Berlin."""
    await barto.start_server(toml)
    for name in workers or ("web1",):
        barto.add_worker(name)
    await barto.clock.advance(seconds=5)


async def why(barto: World, schedule: str = "backup", **asked: str) -> Any:
    query = "".join(f"&{key}={quote(value)}" for key, value in asked.items())
    return await get(barto, f"/why?schedule={quote(schedule)}{query}")


def paragraph(told: Any) -> str:
    return " ".join([told["headline"], *told["because"]])


async def test_a_worker_that_was_away_is_told_from_when_to_when(barto: World) -> None:
    await begun(barto)
    told = await why(barto)
    assert told["text"] == (
        "backup on web1: planned for Tue 15 Jan 01:00 (Europe/Berlin). That is in 25s."
    )
    await barto.clock.advance(hours=1, seconds=10)
    told = await why(barto)
    assert (told["state"], told["run"] is not None) == ("ok", True)
    await barto.clock.advance(minutes=12)
    await barto.workers["web1"].crash()
    await barto.clock.advance(hours=2)
    told = await why(barto)
    assert paragraph(told) == (
        "backup on web1, due Tue 15 Jan 04:00 (Europe/Berlin): unknown. web1 is away since 02:11. "
        "It starts by its own clock, server or not, and tells what it did when it comes back."
    )
    barto.workers["web1"].start()
    await barto.clock.advance(minutes=2)
    told = await why(barto)
    assert told["text"] == (
        "backup on web1, 2 planned starts, this one due Tue 15 Jan 04:00 (Europe/Berlin): not run "
        "(missed). web1 was away from 02:11 to 04:11 (bartoc was down); at 04:11 it was 11m45s "
        "late, and catch_up is 10m.\n"
        "Next: Tue 15 Jan 05:00.\n"
        "To run it now:  barto run backup --on web1"
    )
    earlier = await why(barto, worker="web1", at="2030-01-15T02:00:00Z")
    assert "due Tue 15 Jan 03:00" in earlier["headline"]
    assert "at 04:11 it was 1h11m late" in paragraph(earlier)
    await barto.close()


async def test_a_start_by_hand_that_waits_for_its_worker_is_the_last_one(barto: World) -> None:
    await begun(barto)
    await barto.clock.advance(minutes=2)
    assert (await why(barto))["state"] == "ok"
    await away(barto, "web1")
    await post(barto, "/runs", schedule="backup")
    told = await why(barto, worker="web1")
    assert paragraph(told).startswith(
        "backup on web1, by hand at Tue 15 Jan 01:01:55 (Europe/Berlin): waiting. ann asked for "
        "it. web1 is away; it starts it when it comes back in time."
    )
    barto.workers["web1"].start()
    await barto.clock.advance(seconds=30)
    assert (await why(barto, worker="web1"))["state"] == "ok"
    await barto.close()


async def test_a_host_that_slept_says_so(barto: World) -> None:
    clock = FakeClock()
    await barto.start_server(TOML)
    barto.add_worker("web1", clock)
    await barto.clock.advance(seconds=5)
    clock.suspend(7 * 3600)
    await barto.clock.advance(hours=7, minutes=2)
    told = await why(barto, worker="web1", at="2030-01-15T03:00:00Z")
    assert told["state"] == "missed"
    assert "web1 could not start it, as its host was asleep, and then it was too late" in (
        paragraph(told)
    )
    await barto.close()


async def test_a_pause_says_by_whom_and_a_failure_what_changed(barto: World) -> None:
    await begun(barto)
    await barto.clock.advance(minutes=40)
    await post(barto, "/schedules/backup/pause", reason="maintenance", seconds=7200)
    await barto.clock.advance(minutes=30)
    told = await why(barto)
    assert told["text"] == (
        "backup on web1, due Tue 15 Jan 02:00 (Europe/Berlin): not run (skipped). ann paused it at "
        "01:39, until 03:39: maintenance. It is paused still, until 03:39.\n"
        "Next: Tue 15 Jan 04:00, after the pause.\n"
        "To end the pause:  barto resume backup"
    )
    await post(barto, "/schedules/backup/resume")
    told = await why(barto)
    assert "The pause ended at 02:09 by ann." in told["because"]
    await barto.configure(TOML.replace("true", "echo one; echo two >&2; exit 3"))
    await barto.clock.advance(hours=1)
    told = await why(barto)
    run = told["run"]
    assert told["text"] == (
        "backup on web1, due Tue 15 Jan 03:00 (Europe/Berlin): failed, exit 3. That is new: the "
        "run before was ok. Last ok: Tue 15 Jan 01:00. Since then the schedule's cmds changed (Tue "
        "15 Jan 02:09).\n"
        "    two\n"
        "Next: Tue 15 Jan 04:00.\n"
        f"All that it printed:  barto logs {run}\n"
        f"To run it once more:  barto rerun {run}"
    )
    await barto.clock.advance(hours=2)
    told = await why(barto, timezone="UTC")
    assert "due Tue 15 Jan 04:00 (UTC; 05:00 Europe/Berlin): failed, exit 3." in told["headline"]
    assert "3 in a row now, since Tue 15 Jan 02:00." in told["because"]
    same = await get(barto, f"/why?run={told['run']}&timezone=UTC")
    assert same == told
    assert (await get(barto, "/why?run=@last"))["run"] == told["run"]
    await barto.close()


async def test_a_run_that_hinders_the_next_is_named(barto: World) -> None:
    await begun(barto, TOML.replace("true", "sleep 9000"))
    await barto.clock.advance(hours=1, minutes=1)
    told = await why(barto, at="2030-01-15T01:00:00Z")
    (running,) = await barto.runs()
    assert paragraph(told) == (
        "backup on web1, due Tue 15 Jan 02:00 (Europe/Berlin): not run (skipped). The run due "
        '01:00 (since 01:00) was still running, and runs still; overlap = "skip".'
    )
    assert told["steps"][1]["command"] == f"barto cancel {uuid_text(running.run_id)}"
    assert await why(barto) == told
    told = await why(barto, at="2030-01-15T00:00:00Z")
    assert told["state"] == "running"
    assert "It runs since 01:00, for 1h now." in told["because"]
    await barto.clock.advance(hours=1)
    told = await why(barto)
    assert told["state"] == "stuck"
    assert "2 planned starts were skipped because of it." in told["because"]
    await post(barto, f"/runs/{told['run']}/cancel", reason="hangs")
    await barto.clock.advance(seconds=20)
    told = await get(barto, f"/why?run={told['run']}")
    assert told["state"] == "cancelled"
    assert told["because"] == ["ann cancelled it at 03:00: hangs.", "It had run for 2h."]
    assert running.verdict is None
    await barto.close()


FOLLOWED = (
    TOML.replace("true", "exit 1")
    + """
[[schedule]]
name = "tidy"
after = "backup"
cmds = ["true"]

[[schedule]]
name = "mourn"
after = "backup"
when = "failed"
cmds = ["true"]
"""
)


async def test_a_follow_up_says_what_it_waits_for(barto: World) -> None:
    await begun(barto, FOLLOWED)
    told = await why(barto, "tidy")
    assert told["because"] == ["It runs when backup has ended, which has not happened yet."]
    await barto.clock.advance(minutes=2)
    told = await why(barto, "tidy")
    assert paragraph(told) == (
        "tidy on web1: did not follow backup of Tue 15 Jan 01:00 (Europe/Berlin). backup ended "
        'failed (exit 1), and it follows with when = "ok" only.'
    )
    told = await why(barto, "tidy", at="2030-01-15T00:00:00Z", worker="web1")
    assert told["state"] == "not_followed"
    told = await why(barto, "mourn")
    assert told["headline"].startswith("mourn on web1, after backup of Tue 15 Jan 01:00")
    assert told["because"][0] == "backup had ended failed (exit 1)."
    await barto.close()


async def test_a_host_that_died_leaves_what_may_have_started(barto: World) -> None:
    await begun(barto, TOML.replace("true", "sleep 600"))
    await barto.clock.advance(minutes=2)
    host = barto.workers["web1"]
    await host.crash()
    host.runner.restart_host()
    host.clock.reboot()
    host.start()
    await barto.clock.advance(minutes=2)
    told = await why(barto)
    assert told["state"] == "interrupted"
    assert told["because"][0] == (
        "web1 claimed it at 01:00, it had started, and its end was not seen."
    )
    assert told["steps"][1]["words"] == "To run it again, if it did not do its work"
    await barto.close()


async def test_a_retry_that_waits_says_when(barto: World) -> None:
    toml = TOML.replace("true", "exit 1") + 'retries = 2\nretry_delay = "5m"\n'
    await begun(barto, toml)
    await barto.clock.advance(minutes=1)
    told = await why(barto)
    assert told["state"] == "waiting"
    assert told["because"][0].startswith("Attempt 1 failed; attempt 2 is due at 01:0")
    await barto.close()


async def test_by_hand_says_who_asked(barto: World) -> None:
    await begun(barto)
    await post(barto, "/runs", schedule="backup", reason="to be sure")
    await barto.clock.advance(seconds=5)
    told = await why(barto)
    assert told["headline"].startswith("backup on web1, by hand at Tue 15 Jan 00:59:")
    assert told["because"][0] == "ann asked for it: to be sure."
    await barto.workers["web1"].crash()
    await barto.clock.advance(seconds=20)
    answer = await post(barto, "/runs", schedule="backup")
    told = await get(barto, f"/why?run={answer['workers'][0]['run']}")
    assert told["state"] == "waiting"
    assert "web1 is away; it starts it when it comes back in time." in told["because"]
    await barto.close()


NAMES = (
    BERLIN
    + BACKUP.replace('"web1"', '"web*"').replace("true", "exit 1")
    + BACKUP.replace('"backup"', '"nowhere"').replace('"web1"', '"wbe1"')
    + BACKUP.replace('"backup"', '"off"') + "enabled = false\n"
    + BACKUP.replace('"backup"', '"one"').replace('"web1"', '"web*"\npick = "one"')
)  # fmt: skip


async def test_of_many_workers_the_one_that_needs_a_look_is_told(barto: World) -> None:
    await begun(barto, NAMES, "web1", "web2", "web3")
    await barto.clock.advance(minutes=1)
    told = await why(barto)
    assert told["others"] == {"failed": 2}
    assert told["because"][-1] == "Elsewhere: 2 other workers the same."
    told = await why(barto, at="2030-01-15T00:00:00Z")
    assert (told["state"], told["others"]) == ("failed", {"failed": 2})
    told = await why(barto, "one")
    assert told["state"] == "ok"
    told = await why(barto, "one", at="2030-01-15T01:00:00Z")
    assert told["state"] == "planned"
    await barto.workers["web2"].crash()
    await barto.clock.advance(hours=1)
    told = await why(barto, at="2030-01-15T01:00:00Z", worker="web2")
    assert told["state"] == "unknown"
    await barto.close()


async def test_what_means_nobody_and_what_nobody_knows(barto: World) -> None:
    await begun(barto, NAMES)
    told = await why(barto, "nowhere")
    assert told["text"] == (
        'nowhere: runs nowhere. No worker is known that workers = "wbe1" means. Did you mean web1?'
        "\nTo add a worker:  barto worker add web1"
    )
    told = await why(barto, "off")
    assert (told["state"], told["because"]) == (
        "no_worker",
        ["The schedule is disabled (enabled = false)."],
    )
    error = await get(barto, "/why?schedule=bakcup", 404)
    assert error["detail"] == 'no schedule is called "bakcup"; did you mean "backup"?'
    error = await get(barto, "/why?schedule=backup&worker=wbe1", 404)
    assert error["detail"] == 'no worker is called "wbe1"; did you mean "web1"?'
    await get(barto, "/why", 409)
    await get(barto, "/why?schedule=backup&run=@last", 409)
    await get(barto, "/why?run=0000", 404)
    await barto.close()


async def test_a_time_that_is_none_of_its_own(barto: World) -> None:
    await begun(barto)
    await barto.clock.advance(minutes=5)
    told = await why(barto, at="2030-01-15T00:30:00Z")
    assert paragraph(told) == (
        "backup on web1: not due at Tue 15 Jan 01:30 (Europe/Berlin). Its planned starts are Tue "
        "15 Jan 01:00 before that and Tue 15 Jan 02:00 after it."
    )
    told = await why(barto, at="2030-01-14T00:00:00Z")
    assert told["because"][0] == "It counts on web1 since Tue 15 Jan 00:59 (version 1)."
    told = await why(barto, at="2030-01-16T00:00:00Z")
    assert told["state"] == "planned"
    await barto.configure(BERLIN + BACKUP.replace('"backup"', '"backup2"'))
    await barto.clock.advance(minutes=5)
    told = await why(barto)
    assert told["state"] == "ok"
    assert told["next"] == ""
    told = await why(barto, at="2030-01-15T01:00:00Z")
    assert paragraph(told) == (
        "backup on web1: was not to run there at Tue 15 Jan 02:00 (Europe/Berlin). It was taken "
        "away there, or disabled, Tue 15 Jan 01:04. It is not in force any more, since Tue 15 Jan "
        "01:04."
    )
    await barto.close()


async def test_a_worker_that_changed_its_version_is_told(barto: World) -> None:
    await begun(barto)
    await barto.clock.advance(minutes=1)
    (joined,) = await barto.store.events(0, kinds={"worker joined"})
    assert (joined.worker, joined.facts["away_since"], joined.facts["before"]) == ("web1", None, "")
    await barto.workers["web1"].crash()
    await barto.clock.advance(seconds=3)
    barto.workers["web1"].start()
    await barto.clock.advance(seconds=3)
    assert len(await barto.store.events(0, kinds={"worker joined"})) == 1
    await barto.close()


async def test_a_schedule_that_was_renamed_keeps_its_history(barto: World) -> None:
    toml = TOML + 'id = "b1"\n'
    await begun(barto, toml)
    await barto.clock.advance(minutes=1)
    await barto.configure(toml.replace('"backup"', '"dump"').replace("true", "exit 1"))
    await barto.clock.advance(minutes=1)
    told = await why(barto, "backup")
    assert told["headline"].startswith("dump on web1, due Tue 15 Jan 01:00 (Europe/Berlin): ok.")
    assert told["because"][0] == "Until Tue 15 Jan 01:00 it was called backup."
    await barto.clock.advance(hours=1)
    told = await why(barto, "dump")
    assert "That is new: the run before was ok." in told["because"]
    assert any("cmds changed" in one for one in told["because"])
    await barto.close()


async def test_a_server_that_was_not_there_itself_says_so(barto: World) -> None:
    await begun(barto)
    await barto.clock.advance(minutes=30)
    await barto.workers["web1"].crash()
    await barto.stop_server(crash=True)
    await barto.clock.advance(hours=1)
    await barto.start_server()
    await barto.clock.advance(minutes=1)
    barto.workers["web1"].start()
    await barto.clock.advance(minutes=1)
    told = await why(barto)
    assert "The server was not there either, until 02:29." in told["because"]
    await barto.close()
