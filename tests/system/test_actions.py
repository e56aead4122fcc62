"""The operator's actions over the HTTP API, on a server with workers, in virtual time."""

from __future__ import annotations

import asyncio
import json
import shlex
import uuid
from collections.abc import Awaitable
from typing import Any

import pytest
from starlette.types import ASGIApp

from bartos.acting import Actions
from bartos.api.app import create_app
from bartos.api.guard import over_unix_socket
from bartos.news import connections
from bartos.services import Facts, Services
from bartos.store.port import RunFilter
from libbarto.identity import Kind
from libbarto.message.v2.record import Verdict
from libbarto.testing import settled
from tests.asgi import request
from tests.faces import Enrolment, Fleet
from tests.system.world import World

TOML = """
[[schedule]]
name = "backup"
workers = "*"
on_calendar = "minutely"
cmds = ["sleep 5; echo hi"]

[[schedule]]
name = "report"
workers = "*"
pick = "one"
on_calendar = "2040-01-01"
cmds = ["echo report"]

[[schedule]]
name = "nowhere"
workers = "os=plan9"
on_calendar = "2040-01-01"
cmds = ["true"]

[[schedule]]
name = "off"
workers = "*"
on_calendar = "2040-01-01"
cmds = ["true"]
enabled = false

[[schedules.han.schedules]]
name = "old"
on_calendar = "2040-01-01"
cmds = ["true"]
"""
RARE = TOML.replace("minutely", "2040-01-01")
WHO = {"barto-user": "ann"}


ALLOWED = Facts("key", "store", "file", allow_exec=True)


def served(barto: World, facts: Facts | None = None) -> ASGIApp:
    server = barto.server
    assert server is not None
    actions = Actions(
        barto.store,
        server.dispatching,
        server.hub,
        server.planner,
        barto.clock,
        lambda: uuid.uuid4().bytes,
    )
    facts = facts or Facts("key", "store", "file")
    services = Services(
        barto.store, Fleet(connections(server.hub)), Enrolment(), lambda: facts, barto.clock,
        actions,
        server.watch, server.audit, server.feed, server.planner,
        server.overview, server.alerting,
    )  # fmt: skip
    return over_unix_socket(create_app(services))


async def meanwhile(barto: World, work: Awaitable[Any], seconds: float = 30) -> Any:
    """What comes of it while time passes."""
    task = asyncio.ensure_future(work)
    for _ in range(round(seconds * 10)):
        await settled()
        if task.done():
            break
        await barto.clock.advance(seconds=0.1)
    return await task


async def post(
    barto: World, path: str, status: int = 200, *, facts: Facts | None = None, **said: object
) -> Any:
    answer = await meanwhile(
        barto,
        request(
            served(barto, facts), f"/api/v1{path}", method="POST", headers=WHO,
            body=json.dumps(said).encode(),
        ),
    )  # fmt: skip
    assert answer.status == status, answer.body
    return answer.json()


async def get(barto: World, path: str, status: int = 200) -> Any:
    answer = await request(served(barto), f"/api/v1{path}")
    assert answer.status == status, answer.body
    return answer.json()


async def fleet(barto: World, toml: str = RARE) -> None:
    await barto.start_server(toml)
    for name in ("han", "leia", "luke"):
        barto.add_worker(name)
    await barto.clock.advance(seconds=5)


async def away(barto: World, name: str) -> None:
    await barto.workers[name].crash()
    await barto.clock.advance(seconds=20)


def states(answer: Any) -> dict[str, str]:
    return {one["worker"]: one["state"] for one in answer["workers"]}


# -- run ------------------------------------------------------------------------------------------


async def test_a_run_by_hand_says_how_many_workers_have_it(barto: World) -> None:
    await fleet(barto)
    await away(barto, "luke")
    plan = await post(barto, "/runs", schedule="backup", dry_run=True)
    assert (plan["request"], plan["meant"], plan["offline"]) == (None, 3, 1)
    answer = await post(barto, "/runs", schedule="backup", reason="to try it")
    assert answer["said"] == "2 of 3; 1 offline"
    assert states(answer) == {"han": "confirmed", "leia": "confirmed", "luke": "offline"}
    again = await post(barto, "/runs", schedule="backup", request=answer["request"])
    assert [one["run"] for one in again["workers"]] == [one["run"] for one in answer["workers"]]
    await barto.clock.advance(seconds=10)
    assert [run.worker for run in await barto.runs()] == ["han", "leia"]
    assert {run.kind for run in await barto.runs()} == {Kind.MANUAL}
    barto.workers["luke"].start()
    await barto.clock.advance(seconds=30)
    told = await get(barto, f"/orders/{answer['request']}")
    assert told["said"] == "3 of 3"
    (event,) = [row for row in await barto.store.events(0) if row.kind == "run asked"]
    assert (event.facts["who"], event.facts["reason"]) == ("ann", "to try it")
    await barto.close()


async def test_on_selects_of_a_schedules_workers(barto: World) -> None:
    await fleet(barto)
    answer = await post(barto, "/runs", schedule="backup", on="l*")
    assert states(answer) == {"leia": "confirmed", "luke": "confirmed"}
    said = await post(barto, "/runs", 409, schedule="old", on="leia")
    assert said["detail"] == 'no worker of schedule "han/old" is meant by "leia"; it runs on han'
    await barto.close()


async def test_where_the_server_chooses_one_worker_runs_it(barto: World) -> None:
    await fleet(barto)
    plan = await post(barto, "/runs", schedule="report", dry_run=True)
    assert (plan["meant"], states(plan)) == (1, {"": "pending"})
    answer = await post(barto, "/runs", schedule="report")
    assert answer["said"] == "1 of 1"
    (chosen,) = states(answer)
    await barto.clock.advance(seconds=5)
    (run,) = await barto.runs()
    assert run.worker == chosen
    answer = await post(barto, "/runs", schedule="report", on="luke")
    assert states(answer) == {"luke": "confirmed"}
    said = await post(barto, "/runs", 409, schedule="report", on="*")
    assert "means 3: name one" in said["detail"]
    await barto.close()


async def test_where_nobody_is_there_it_waits(barto: World) -> None:
    await barto.start_server(RARE)
    plan = await post(barto, "/runs", schedule="report", dry_run=True)
    answer = await post(barto, "/runs", schedule="report")
    assert plan["said"] == answer["said"] == "0 of 1; 1 offline"
    barto.add_worker("han")
    await barto.clock.advance(seconds=30)
    assert len(await barto.runs()) == 1
    await barto.close()


@pytest.mark.parametrize(
    ("schedule", "status", "said"),
    [
        ("backap", 404, 'no schedule is named "backap"; did you mean backup?'),
        ("zzz", 404, 'no schedule is named "zzz"'),
        ("nowhere", 409, 'schedule "nowhere" has no worker: none is known that workers = '
         '"os=plan9" means'),
        ("off", 409, 'schedule "off" is disabled (enabled = false)'),
    ],
)  # fmt: skip
async def test_what_cannot_run_says_why(
    barto: World, schedule: str, status: int, said: str
) -> None:
    await fleet(barto)
    assert (await post(barto, "/runs", status, schedule=schedule))["detail"] == said
    await barto.close()


async def test_a_bare_name_of_barto_1_is_enough_where_one_has_it(barto: World) -> None:
    more = '\n[[schedules.leia.schedules]]\nname = "both"\non_calendar = "2040-01-01"\n'
    more += 'cmds = ["true"]\n' + more.replace("leia", "luke") + 'cmds = ["true"]\n'
    await fleet(barto, RARE + more)
    assert (await post(barto, "/runs", schedule="old"))["schedules"] == ["han/old"]
    said = await post(barto, "/runs", 409, schedule="both")
    assert said["detail"].endswith("say which of leia/both, luke/both")
    await barto.close()


async def test_too_many_commands_are_refused_at_once(barto: World) -> None:
    await fleet(barto, RARE.replace("sleep 5", "sleep 5 #" + "x" * 50_000))
    said = await post(barto, "/runs", 409, schedule="backup")
    assert "put them into a file" in said["detail"]
    await barto.close()


async def test_a_request_that_nobody_made_is_not_known(barto: World) -> None:
    await fleet(barto)
    await get(barto, f"/orders/{uuid.UUID(int=9)}", 404)
    await barto.close()


# -- rerun ----------------------------------------------------------------------------------------


async def test_a_run_is_made_once_more_on_its_worker(barto: World) -> None:
    await fleet(barto)
    await post(barto, "/runs", schedule="backup", on="leia")
    await barto.clock.advance(seconds=10)
    (first,) = await barto.runs()
    answer = await post(barto, f"/runs/{first.run_id.hex()}/rerun", request=str(uuid.UUID(int=8)))
    assert states(answer) == {"leia": "confirmed"}
    await barto.clock.advance(seconds=10)
    assert [run.worker for run in await barto.runs()] == ["leia", "leia"]
    (event,) = [row for row in await barto.store.events(0) if row.kind == "rerun asked"]
    assert event.facts["again"] == [first.run_id.hex()]
    await barto.configure(TOML.replace('"backup"', '"other"'))
    said = await post(barto, f"/runs/{first.run_id.hex()}/rerun", 409)
    assert said["detail"] == 'schedule "backup" is not in force any more'
    await barto.close()


@pytest.mark.parametrize("calendar", ["00:00", "00:00:R"])
async def test_all_that_failed_of_the_last_start_are_made_once_more(
    barto: World, calendar: str
) -> None:
    await fleet(barto, TOML.replace("minutely", calendar).replace("sleep 5; echo hi", "exit 7"))
    await barto.clock.advance(minutes=2)
    runs = await barto.runs(schedule="backup")
    assert {run.verdict for run in runs} == {Verdict.FAILED}
    (one, *_) = runs
    plan = await post(barto, f"/runs/{one.run_id.hex()}/rerun", failed=True, dry_run=True)
    assert plan["meant"] == 3
    await post(barto, f"/runs/{one.run_id.hex()}/rerun", failed=True)
    await barto.clock.advance(seconds=5)
    again = [run for run in await barto.runs() if run.kind == Kind.MANUAL]
    assert [run.worker for run in again] == ["han", "leia", "luke"]
    await barto.close()


async def test_where_nothing_failed_nothing_is_made_again(barto: World) -> None:
    await fleet(barto)
    await post(barto, "/runs", schedule="backup", on="leia")
    await barto.clock.advance(seconds=10)
    said = await post(barto, "/runs/@last/rerun", 404, failed=True)
    assert said["detail"] == 'nothing failed of the last start of "backup"'
    await barto.close()


# -- cancel ---------------------------------------------------------------------------------------

LONG = RARE.replace("sleep 5", "sleep 500")


async def test_a_run_is_cancelled_and_its_worker_says_so(barto: World) -> None:
    await fleet(barto, LONG)
    started = await post(barto, "/runs", schedule="backup", on="leia")
    (one,) = started["workers"]
    await barto.clock.advance(seconds=3)
    plan = await post(barto, f"/runs/{one['run']}/cancel", dry_run=True)
    assert states(plan) == {"leia": "pending"}
    answer = await post(barto, f"/runs/{one['run'][:13]}/cancel", reason="it hangs")
    assert states(answer) == {"leia": "confirmed"}
    await barto.clock.advance(seconds=15)
    (run,) = await barto.runs()
    assert run.verdict is Verdict.CANCELLED
    said = await post(barto, f"/runs/{one['run']}/cancel", 409)
    assert said["detail"] == "that run is over: cancelled"
    await post(barto, "/runs/feed/cancel", 404)
    await barto.close()


async def test_a_schedule_is_cancelled_on_all_its_workers(barto: World) -> None:
    await fleet(barto, LONG)
    await away(barto, "luke")
    await post(barto, "/runs", schedule="backup")
    await barto.clock.advance(seconds=3)
    answer = await post(barto, "/schedules/backup/cancel")
    assert answer["said"] == "3 of 3", "what nobody has yet is given up at once"
    await barto.clock.advance(seconds=15)
    assert [run.verdict for run in await barto.runs()] == [Verdict.CANCELLED] * 2
    rows = await barto.store.ranges(RunFilter())
    assert [(row.worker, row.verdict) for row in rows] == [("luke", Verdict.CANCELLED)]
    assert (await post(barto, "/schedules/backup/cancel"))["said"] == "0 of 0"
    await barto.close()


async def test_a_start_that_is_given_up_names_the_worker_that_was_meant(barto: World) -> None:
    await fleet(barto)
    await away(barto, "leia")
    asked = await post(barto, "/runs", schedule="backup", on="leia")
    (waits,) = (await get(barto, "/verdicts?verdict=waiting"))["starts"]
    assert (waits["worker"], waits["reason"]) == ("leia", "for leia to take it")
    assert waits["run"] == asked["workers"][0]["run"]
    answer = await post(barto, "/schedules/backup/cancel")
    assert states(answer) == {"leia": "confirmed"}
    assert (await get(barto, "/verdicts?verdict=waiting"))["starts"] == []
    await barto.close()


async def test_a_cancel_waits_for_a_worker_that_is_away(barto: World) -> None:
    await fleet(barto, LONG)
    started = await post(barto, "/runs", schedule="backup", on="leia")
    await barto.clock.advance(seconds=3)
    barto.workers["leia"].link.cut()
    await barto.clock.advance(seconds=20)
    answer = await post(barto, f"/runs/{started['workers'][0]['run']}/cancel")
    assert answer["said"] == "0 of 1; 1 offline"
    assert states(answer) == {"leia": "offline"}
    await barto.close()


# -- pause and resume -----------------------------------------------------------------------------


async def test_a_pause_is_confirmed_by_each_worker(barto: World) -> None:
    await fleet(barto, TOML)
    await away(barto, "luke")
    answer = await post(barto, "/schedules/backup/pause", reason="maintenance", seconds=3600)
    assert answer["said"] == "2 of 3; 1 offline"
    (pause,) = (await get(barto, "/pauses"))["pauses"]
    assert (pause["schedule"], pause["who"], pause["reason"]) == ("backup", "ann", "maintenance")
    assert pause["until"] is not None
    await barto.clock.advance(minutes=3)
    count = len(await barto.runs())
    barto.workers["luke"].start()
    await barto.clock.advance(minutes=3)
    assert [run.worker for run in await barto.runs()][count:] == []
    answer = await post(barto, "/schedules/backup/resume")
    assert answer["said"] == "3 of 3"
    await barto.clock.advance(minutes=2)
    assert len(await barto.runs()) > count
    said = await post(barto, "/schedules/backup/resume", 409)
    assert said["detail"] == "it is not paused"
    await barto.close()


async def test_all_may_be_paused_until_a_time(barto: World) -> None:
    await fleet(barto, TOML)
    said = await post(barto, "/resume", 409)
    assert said["detail"] == "nothing is paused as a whole"
    answer = await post(barto, "/pause", until="2040-01-01T00:00:00Z")
    assert answer["said"] == "3 of 3"
    (pause,) = (await get(barto, "/pauses"))["pauses"]
    assert pause["schedule"] is None
    said = await post(barto, "/schedules/backup/resume", 409)
    assert said["detail"] == "it is not paused; all schedules are (resume --all)"
    await barto.clock.advance(minutes=3)
    assert await barto.runs() == []
    assert (await post(barto, "/resume", dry_run=True))["meant"] == 3
    assert (await post(barto, "/resume"))["said"] == "3 of 3"
    await barto.close()


async def test_a_pause_that_cannot_be_is_refused(barto: World) -> None:
    await fleet(barto)
    await post(barto, "/schedules/backup/pause", 409, seconds=5, until="2040-01-01T00:00:00Z")
    await post(barto, "/schedules/backup/pause", 409, until="2001-01-01T00:00:00Z")
    plan = await post(barto, "/schedules/backup/pause", dry_run=True)
    assert plan["meant"] == 3
    floating = await post(barto, "/schedules/report/pause", wait=0)
    assert floating["said"] == "0 of 0", "the server itself starts it"
    assert (await post(barto, "/schedules/han/old/pause"))["said"] == "1 of 1"
    await barto.close()


async def test_the_database_is_away_when_something_is_asked(barto: World) -> None:
    await fleet(barto)
    barto.store.available = False
    said = await post(barto, "/runs", 503, schedule="backup")
    assert "the database does not answer" in said["detail"]
    await barto.close()


async def test_who_asks_is_shown_in_safe_words(barto: World) -> None:
    await fleet(barto)
    app = served(barto)
    headers = {"barto-user": "an\x1bn" + "x" * 200}
    body = json.dumps({"schedule": "report"}).encode()
    for given in (headers, {}):
        work = request(app, "/api/v1/runs", method="POST", headers=given, body=body)
        await meanwhile(barto, work)
        body = json.dumps({"schedule": "report", "request": str(uuid.UUID(int=3))}).encode()
    asked = [row.facts["who"] for row in await barto.store.events(0) if row.kind == "run asked"]
    assert asked == ["api", "an?n" + "x" * 96]
    await barto.close()


# -- drains ---------------------------------------------------------------------------------------


async def test_a_drained_worker_starts_nothing_and_what_runs_goes_on(barto: World) -> None:
    await fleet(barto, TOML)
    await barto.clock.advance(seconds=60)  # every minute: something runs five seconds
    await post(barto, "/runs", schedule="backup", on="luke")
    plan = await post(barto, "/workers/luke/drain", dry_run=True)
    assert (plan["said"], states(plan)) == ("1 of 1", {"luke": "confirmed"}), "as it is now"
    assert (await get(barto, "/workers/luke"))["drained"] is None
    answer = await post(barto, "/workers/luke/drain", reason="a new disk")
    assert (answer["said"], states(answer)) == ("1 of 1", {"luke": "confirmed"})
    told = await get(barto, "/workers/luke")
    assert (told["drained"]["who"], told["drained"]["reason"]) == ("ann", "a new disk")
    assert told["drained"]["until"] is None
    await barto.clock.advance(seconds=130)
    ended = [run for run in await barto.runs() if run.worker == "luke"]
    assert {run.verdict for run in ended} == {Verdict.OK}
    skipped = [one for one in await barto.store.ranges(RunFilter()) if one.worker == "luke"]
    assert {(one.verdict, one.reason) for one in skipped} == {
        (Verdict.SKIPPED, "drained: a new disk (by ann)")
    }
    # A server and a worker that begin anew know it still.
    await barto.stop_server()
    await barto.workers["luke"].crash()
    await barto.start_server(TOML)
    barto.workers["luke"].start()
    await barto.clock.advance(seconds=70)
    assert (await get(barto, "/workers/luke"))["drained"] is not None
    plan = await post(barto, "/workers/luke/undrain", dry_run=True)
    assert states(plan) == {"luke": "confirmed"}
    assert len([run for run in await barto.runs() if run.worker == "luke"]) == len(ended)
    await post(barto, "/workers/luke/undrain")
    said = await post(barto, "/workers/luke/undrain", 409)
    assert said["detail"] == "luke is not drained"
    await barto.clock.advance(seconds=70)
    assert len([run for run in await barto.runs() if run.worker == "luke"]) > len(ended)
    kinds = [row.kind for row in await barto.store.events(0) if row.worker == "luke"]
    assert [kind for kind in kinds if "drain" in kind] == ["undrain", "drain"]
    await barto.close()


async def test_nothing_is_given_to_a_drained_worker(barto: World) -> None:
    await fleet(barto)
    for name in ("han", "leia"):
        await post(barto, f"/workers/{name}/drain")
    for _ in range(3):
        answer = await post(barto, "/runs", schedule="report")
        assert states(answer) == {"luke": "confirmed"}
        await barto.clock.advance(seconds=5)
    answer = await post(barto, "/runs", schedule="backup")
    assert states(answer) == {"luke": "confirmed", "han": "refused", "leia": "refused"}
    assert answer["said"] == "1 of 3"
    said = await post(barto, "/runs", 409, schedule="backup", on="han")
    assert said["detail"] == (
        "han is drained (by ann) and starts nothing; barto undrain han lets it start again"
    )
    said = await post(barto, "/runs", 409, schedule="backup", on="han or leia")
    assert "(and 1 more)" in said["detail"]
    await barto.close()


async def test_a_drain_ends_by_itself_where_it_has_an_end(barto: World) -> None:
    await fleet(barto, TOML)
    await post(barto, "/workers/luke/drain", seconds=90)
    said = await post(barto, "/workers/luke/drain", 409, seconds=5, until="2040-01-01T00:00:00Z")
    assert "not both" in said["detail"]
    await barto.clock.advance(seconds=120)
    assert (await get(barto, "/workers/luke"))["drained"] is None
    await barto.clock.advance(seconds=70)
    assert [run for run in await barto.runs() if run.worker == "luke"]
    await barto.close()


async def test_a_request_that_was_for_something_else_is_refused(barto: World) -> None:
    await fleet(barto)
    mine = str(uuid.uuid4())

    async def refused(path: str, of: str, **said: object) -> None:
        answer = await post(barto, path, 409, facts=ALLOWED, request=mine, **said)
        assert answer["detail"].startswith(
            f"this request was made before, for something else (of {of}): nothing was started"
        )

    first = await post(barto, "/runs", schedule="backup", on="han", request=mine)
    # The same, though more workers are meant by now.
    again = await post(barto, "/runs", schedule="backup", request=mine)
    assert [one["run"] for one in again["workers"]] == [one["run"] for one in first["workers"]]
    await barto.clock.advance(seconds=10)
    await refused("/runs", "backup", schedule="report")
    await refused("/runs", "backup", schedule="backup", on="leia")
    await refused("/exec", "backup", on="han", command="uptime")
    await post(barto, "/runs", schedule="report")
    await barto.clock.advance(seconds=10)
    (report,) = await barto.runs(schedule="report")
    await refused(f"/runs/{report.run_id.hex()}/rerun", "backup")
    mine = str(uuid.uuid4())
    await post(barto, "/exec", facts=ALLOWED, on="han", command="uptime", request=mine)
    await post(barto, "/exec", facts=ALLOWED, on="han", command="uptime", request=mine)
    await refused("/exec", "exec", on="han", command="rm -r /srv/old")
    await refused("/exec", "exec", on="han", command="uptime", timeout=5)
    await refused("/exec", "exec", on="leia", command="uptime")
    await refused("/runs", "exec", schedule="report")
    await barto.clock.advance(seconds=10)
    assert len(await barto.runs()) == 3
    await barto.close()


# -- commands of no schedule ----------------------------------------------------------------------


async def test_a_command_runs_once_on_each_worker_that_is_meant(barto: World) -> None:
    await fleet(barto)
    said = await post(barto, "/exec", 403, on="*", command="uptime")
    assert "allow_exec = true in file allows them" in said["detail"]
    await away(barto, "luke")
    plan = await post(barto, "/exec", facts=ALLOWED, on="*", command="uptime", dry_run=True)
    assert (plan["meant"], plan["request"], plan["schedules"]) == (3, None, ["exec"])
    answer = await post(
        barto, "/exec", facts=ALLOWED, on="*", command="uptime", timeout=5, reason="to see"
    )
    assert answer["said"] == "2 of 3; 1 offline"
    again = await post(
        barto,
        "/exec",
        facts=ALLOWED,
        on="*",
        command="uptime",
        timeout=5,
        request=answer["request"],
    )
    assert [one["run"] for one in again["workers"]] == [one["run"] for one in answer["workers"]]
    await barto.clock.advance(seconds=70)
    runs = await barto.runs()
    assert sorted((run.worker, run.schedule, run.kind) for run in runs) == [
        ("han", "exec", Kind.EXEC),
        ("leia", "exec", Kind.EXEC),
    ]
    barto.workers["luke"].start()
    await barto.clock.advance(seconds=30)
    assert len(await barto.runs()) == 2, "nobody wants it so late"
    (event,) = [row for row in await barto.store.events(0) if row.kind == "exec asked"]
    assert (event.facts["command"], event.facts["reason"]) == (["uptime"], "to see")
    said = await post(barto, "/exec", 409, facts=ALLOWED, on="nobody", command="uptime")
    assert said["detail"] == 'no worker is meant by "nobody"'
    said = await post(
        barto, "/exec", 409, facts=ALLOWED, on="han", command="x" * 30_000, shell=["y" * 4_000] * 6
    )
    assert "put it into a file" in said["detail"]
    await barto.close()


async def test_a_command_is_not_made_again_but_asked_for_anew(barto: World) -> None:
    await fleet(barto)
    await post(barto, "/exec", facts=ALLOWED, on="han", command="test -e /it's; exit 3")
    await post(barto, "/exec", facts=ALLOWED, on="leia", command="exit 3 #" + "x" * 500)
    await barto.clock.advance(seconds=5)
    again = "a command that is in no schedule is not made again; ask for it anew: barto exec --on "
    said = {
        run.worker: (await post(barto, f"/runs/{run.run_id.hex()}/rerun", 409))["detail"]
        for run in await barto.runs()
    }
    assert said["leia"] == f"{again}leia -- COMMAND"
    assert said["han"].startswith(f"{again}han -- ")
    assert shlex.split(said["han"].partition("-- ")[2]) == ["test -e /it's; exit 3"]
    answer = await post(barto, "/runs/@last/rerun", 409, failed=True)
    assert answer["detail"].startswith(again)
    await barto.close()


async def test_drains_and_commands_are_in_the_proof(barto: World) -> None:
    await fleet(barto, TOML)
    await barto.clock.advance(minutes=2)
    await post(barto, "/workers/luke/drain", reason="a new disk")
    await post(barto, "/exec", facts=ALLOWED, on="*", command="echo hi")
    await barto.clock.advance(minutes=3)
    await post(barto, "/workers/luke/undrain")
    await away(barto, "leia")
    await post(barto, "/exec", facts=ALLOWED, on="*", command="echo hi")
    await barto.clock.advance(minutes=2)  # leia's command is not wanted any more
    barto.workers["leia"].start()
    await barto.clock.advance(minutes=1)
    proof = await get(barto, "/verify")
    assert (proof["faults"], proof["faults_total"], proof["next"]) == ([], 0, None)
    drained = [one for one in proof["counts"] if one["reason"].startswith("drained")]
    assert [(one["verdict"], one["count"]) for one in drained] == [("skipped", 3)]
    assert proof["ordered"] == 5, "two of the first command, three of the second"
    starts = (await get(barto, "/verdicts?schedule=exec"))["starts"]
    assert sorted((one["worker"], one["verdict"]) for one in starts) == [
        ("han", "ok"), ("han", "ok"), ("leia", "missed"), ("leia", "ok"), ("luke", "ok"),
    ]  # fmt: skip
    luke = (await get(barto, "/verdicts?schedule=backup&worker=luke"))["starts"]
    assert sum(one["count"] for one in luke if one["verdict"] == "skipped") == 3
    await barto.close()
