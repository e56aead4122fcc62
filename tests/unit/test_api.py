"""The HTTP API: what is asked comes back, in pages and pieces, and errors are problem details."""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from starlette.types import ASGIApp

from bartos.api.app import create_app
from bartos.api.guard import over_unix_socket
from bartos.services import Facts
from bartos.store.orders import Closing, DispatchChange, IntentRow
from bartos.store.port import ScheduleRow
from libbarto.identity import Kind, schedule_uid
from libbarto.message.v2.record import Verdict
from tests.asgi import Response, request
from tests.faces import ERR, KEY, MARKER, NOON, OUT, SECOND, Barto

MINUTE = 60 * SECOND


def served(barto: Barto) -> ASGIApp:
    return over_unix_socket(create_app(barto.services))


async def got(barto: Barto, path: str, **more: Any) -> Any:
    answer = await request(served(barto), path, **more)
    assert answer.status == 200, answer.body
    return answer.json()


async def problem(barto: Barto, path: str, **more: Any) -> dict[str, Any]:
    answer = await request(served(barto), path, **more)
    assert answer.headers["content-type"] == "application/problem+json"
    said: dict[str, Any] = answer.json()
    assert said["status"] == answer.status
    return said


async def test_a_run_is_told_whole() -> None:
    barto = Barto()
    run = await barto.run(
        "web1",
        "backup",
        printed=[(OUT, b"hi\n"), (ERR, b"no\n")],
        verdict=Verdict.FAILED,
        codes=(0, 77),
        reason="step 1",
    )
    (told,) = (await got(barto, "/api/v1/runs"))["runs"]
    assert told["id"].replace("-", "") == run
    assert told | {"id": ""} == {
        "id": "",
        "attempt": 1,
        "schedule": "backup",
        "worker": "web1",
        "kind": "calendar",
        "slot": "2026-11-24T12:00:00Z",
        "claimed": "2026-11-24T12:00:00.000500Z",
        "started": "2026-11-24T12:00:00.001000Z",
        "ended": "2026-11-24T12:00:02.001000Z",
        "seconds": 2.0,
        "late_seconds": 0.0,
        "verdict": "failed",
        "reason": "step 1",
        "exit_code": 77,
        "signal": None,
        "complete": True,
        "stdout_bytes": 3,
        "stderr_bytes": 3,
        "cut_bytes": 0,
        "cut_lines": 0,
        "missing_bytes": 0,
        "stuck": None,
        "version": 17,
    }
    steps = (await got(barto, f"/api/v1/runs/{run}"))["steps"]
    assert [(step["command"], step["exit_code"]) for step in steps] == [
        ("step 1", 0),
        ("step 2", 77),
    ]


async def test_runs_come_in_pages_each_once() -> None:
    barto = Barto()
    for number in range(7):
        await barto.run("web1", "tick", NOON + number * MINUTE)
        await barto.run("web2", "tick", NOON + number * MINUTE)
    page = await got(barto, "/api/v1/runs?limit=4")
    seen, pages = [run["id"] for run in page["runs"]], 1
    while page["next"] is not None:
        page = await got(barto, f"/api/v1/runs?limit=4&cursor={quote(page['next'])}")
        seen += [run["id"] for run in page["runs"]]
        pages += 1
    assert (len(seen), len(set(seen))) == (14, 14)
    assert pages == 4
    slots = [run["slot"] for run in (await got(barto, "/api/v1/runs"))["runs"]]
    assert slots == sorted(slots, reverse=True)


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "!!!!", "A" * 200])
async def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    assert (await problem(Barto(), f"/api/v1/runs?cursor={cursor}"))["status"] == 404


async def test_filters_hold_together() -> None:
    barto = Barto()
    await barto.run("web1", "backup", NOON)
    await barto.run("web1", "backup", NOON + MINUTE, verdict=Verdict.FAILED, codes=(1,))
    await barto.run("web1", "sync", NOON, verdict=Verdict.TIMED_OUT, codes=("15",))
    await barto.run("web2", "backup", NOON + 2 * MINUTE, verdict=None)

    async def found(query: str) -> list[tuple[str, str]]:
        runs = (await got(barto, f"/api/v1/runs?{query}"))["runs"]
        return [(run["worker"], run["schedule"]) for run in runs]

    assert await found("worker=web1&schedule=backup&verdict=failed") == [("web1", "backup")]
    assert await found("verdict=failed&verdict=timed_out&schedule=sync") == [("web1", "sync")]
    assert await found("running=true") == [("web2", "backup")]
    assert await found("since=2026-11-24T12:01:30Z") == [("web2", "backup")]
    assert len(await found("until=2026-11-24T13:00:30%2B01:00")) == 2


async def test_a_word_that_is_no_verdict_is_told_with_the_right_one() -> None:
    said = await problem(Barto(), "/api/v1/runs?verdict=faild")
    assert said["detail"] == '"faild" is not a verdict; did you mean failed?'


async def test_what_cannot_be_read_says_where() -> None:
    said = await problem(Barto(), "/api/v1/runs?limit=0&since=yesterday")
    assert said["status"] == 422
    assert "query.limit" in said["detail"]
    assert "query.since" in said["detail"]


async def test_a_beginning_of_an_id_is_enough() -> None:
    barto = Barto()
    run = await barto.run("web1", "backup")
    other = await barto.run("web1", "backup", NOON + MINUTE)
    for name in (run, run[:11], f"{run[:8]}-{run[8:12]}", run.upper(), "@last"):
        told = await got(barto, f"/api/v1/runs/{name}")
        assert told["id"].replace("-", "") == (other if name == "@last" else run)


async def test_a_beginning_of_several_ids_lists_them() -> None:
    barto = Barto()
    await barto.run("web1", "backup")
    await barto.run("web2", "backup")
    said = await problem(barto, "/api/v1/runs/01")
    assert said["status"] == 409
    assert {one["worker"] for one in said["candidates"]} == {"web1", "web2"}


@pytest.mark.parametrize("name", ["@last", "ff", "nonsense", "-", "@first", "f" * 33])
async def test_a_run_that_is_not_there_is_not_found(name: str) -> None:
    assert (await problem(Barto(), f"/api/v1/runs/{name}"))["status"] == 404


def an_order(number: int, worker: str = "web1") -> IntentRow:
    return IntentRow(
        run_id=bytes([number] * 16),
        kind=int(Kind.MANUAL),
        schedule_uid=bytes(16),
        schedule="backup",
        slot=NOON,
        spec=b"",
        created_at=NOON,
        until=NOON + 3600 * SECOND,
        worker=worker,
        who="ann",
    )


async def test_a_start_that_waits_for_its_worker_is_told_by_its_id_and_a_beginning_of_it() -> None:
    barto = Barto()
    orders = (an_order(0), an_order(0xAB), an_order(0xAC, worker=""))
    await barto.store.commit_dispatch(DispatchChange(intents=orders))
    for begin, whole in (("abab", "ab" * 16), ("ab" * 16, "ab" * 16), ("0", "00" * 16)):
        told = await got(barto, f"/api/v1/why?run={begin}")
        assert (told["state"], told["run"], UUID(told["order"]).hex) == ("waiting", None, whole)
    said = await problem(barto, "/api/v1/runs/abab")
    assert said["detail"] == "that start of backup has no run yet: it waits for web1"
    said = await problem(barto, "/api/v1/runs/acac")
    assert said["detail"].endswith("it waits for a worker that takes it")
    for several in ("a", "@last", "beef", "web"):
        assert (await problem(barto, f"/api/v1/why?run={several}"))["status"] == 404
    given_up = Closing(an_order(0xAB), NOON, Verdict.MISSED, "web1 was away")
    await barto.store.commit_dispatch(DispatchChange(closings=(given_up,)))
    said = await problem(barto, "/api/v1/runs/abab")
    assert said["detail"] == "that start of backup has no run: web1 was away"
    assert (await got(barto, "/api/v1/why?run=abab"))["state"] == "missed"


async def test_output_is_the_very_bytes_in_order() -> None:
    barto = Barto()
    everything = bytes(range(256)) * 4
    printed = [(OUT, everything), (ERR, b"\xff\x00\r\n"), (OUT, b"no newline"), (MARKER, b"[cut]")]
    await barto.run("web1", "binary", printed=printed)

    async def output(query: str = "") -> bytes:
        return (await request(served(barto), f"/api/v1/runs/@last/output{query}")).body

    assert await output() == b"".join(data for _, data in printed)
    assert await output("?stream=stdout") == everything + b"no newline"
    assert await output("?stream=stderr") == b"\xff\x00\r\n"
    assert await output("?attempt=2") == b""


async def test_output_says_whether_it_is_whole() -> None:
    barto = Barto()

    async def headers(run: str) -> tuple[str, str, str, str]:
        answer: Response = await request(served(barto), f"/api/v1/runs/{run}/output")
        told = answer.headers
        assert told["content-type"] == "application/octet-stream"
        return (
            told["barto-running"],
            told["barto-complete"],
            told["barto-verdict"],
            told["barto-cut-bytes"],
        )

    done = await barto.run("web1", "done", printed=[(OUT, b"x")], cut_bytes=12)
    going = await barto.run("web1", "going", printed=[(OUT, b"x")], verdict=None)
    behind = await barto.run("web1", "behind", printed=[(OUT, b"x")], whole=False)
    assert await headers(done) == ("false", "true", "ok", "12")
    assert await headers(going) == ("true", "false", "", "0")
    assert await headers(behind) == ("false", "false", "ok", "0")


async def test_output_goes_out_in_pieces_a_few_chunks_at_a_time() -> None:
    barto = Barto()
    await barto.run("web1", "long", printed=[(OUT, bytes([65 + n % 26]) * 100) for n in range(100)])
    asked: list[tuple[int, int]] = []
    chunks = barto.store.chunks

    async def counted(run_id: bytes, attempt: int, after: int = -1, limit: int = 64) -> Any:
        asked.append((after, limit))
        return await chunks(run_id, attempt, after, limit)

    barto.store.chunks = counted  # type: ignore[method-assign]  # only counts
    answer = await request(served(barto), "/api/v1/runs/@last/output")
    assert len(answer.body) == 10_000
    assert len([piece for piece in answer.pieces if piece]) == 100
    assert max(limit for _, limit in asked) <= 16
    assert len(asked) == 8


async def test_output_as_json_tells_stream_and_time_of_each_piece() -> None:
    barto = Barto()
    printed = [(OUT, b"one\n"), (ERR, b"\xff"), (OUT, "zwölf\n".encode())]
    await barto.run("web1", "mixed", printed=printed)
    page = await got(barto, "/api/v1/runs/@last/output.json?limit=2")
    assert [one["text"] for one in page["segments"]] == ["one\n", None]
    assert page["segments"][1]["base64"] == base64.b64encode(b"\xff").decode()
    assert page["segments"][1]["stream"] == "stderr"
    assert page["segments"][0]["at"] == "2026-11-24T12:00:00.001000Z"
    rest = await got(barto, f"/api/v1/runs/@last/output.json?after={page['next']}")
    assert [one["text"] for one in rest["segments"]] == ["zwölf\n"]
    assert rest["next"] is None
    assert rest["complete"] is True


async def test_what_did_not_run_is_told_with_its_reason() -> None:
    barto = Barto()
    await barto.did_not_run("web1", "backup", NOON, NOON + 3 * MINUTE, 4, "away")
    (told,) = (await got(barto, "/api/v1/ranges?verdict=missed"))["ranges"]
    assert (told["count"], told["verdict"], told["reason"]) == (4, "missed", "away")
    assert (told["first"], told["last"]) == ("2026-11-24T12:00:00Z", "2026-11-24T12:03:00Z")
    assert (await got(barto, "/api/v1/ranges?verdict=skipped"))["ranges"] == []


async def test_workers_are_told_with_their_connection() -> None:
    barto = Barto()
    await barto.worker("web1", arch="x86_64")
    await barto.worker("web2", connected=False)
    here, away = (await got(barto, "/api/v1/workers"))["workers"]
    assert (here["name"], here["connected"], here["version"]) == ("web1", True, "2.0.1")
    assert (here["since"], here["clock_offset_seconds"]) == ("2026-11-24T11:59:00Z", 0.0015)
    assert here["facts"]["arch"] == "x86_64"
    assert here["labels"] == {"role": "web"}
    assert (away["connected"], away["since"], away["address"]) == (False, None, "192.0.2.9")


async def test_a_worker_that_was_refused_is_shown_and_reset() -> None:
    barto = Barto()
    uid = await barto.worker("web1")
    barto.fleet.refused[uid] = "refused, from 192.0.2.11: a copy"
    (worker,) = (await got(barto, "/api/v1/workers"))["workers"]
    assert worker["alarm"] == "refused, from 192.0.2.11: a copy"

    async def reset(name: str, **said: object) -> Response:
        body = json.dumps(said).encode()
        headers = {"Barto-User": "joe"}
        path = f"/api/v1/workers/{name}/reset"
        return await request(served(barto), path, method="POST", body=body, headers=headers)

    planned = (await reset("web1", dry_run=True)).json()
    assert (planned["alarm"], planned["done"]) == (worker["alarm"], False)
    assert barto.fleet.reset == []
    done = (await reset("web1", reason="a snapshot")).json()
    assert (done["worker"], done["connected"], done["done"]) == ("web1", True, True)
    assert barto.fleet.reset == [("web1", "joe", "a snapshot")]
    missing = await reset("wbe1")
    assert missing.status == 404
    assert missing.json()["detail"] == 'no worker is named "wbe1"; did you mean web1?'


async def test_schedules_are_told_as_configured() -> None:
    barto = Barto()
    row = ScheduleRow(schedule_uid("backup"), "backup", '{"cmds": ["true"]}', updated_at=NOON)
    await barto.store.replace_schedules([row], NOON)
    (told,) = (await got(barto, "/api/v1/schedules"))["schedules"]
    assert (told["name"], told["definition"]) == ("backup", {"cmds": ["true"]})


async def test_ready_means_that_the_store_answers() -> None:
    barto = Barto()
    assert await got(barto, "/readyz") == {
        "ready": True,
        "store": "ok",
        "configuration": "ok",
        "late": 0,
        "unknown": 0,
        "stuck": 0,
        "idle": 0,
        "alerts": "off",
    }
    barto.store.available = False
    answer = await request(served(barto), "/readyz")
    assert (answer.status, answer.json()["ready"]) == (503, False)
    assert (await request(served(barto), "/healthz")).status == 200


async def test_a_configuration_that_is_not_in_force_is_told() -> None:
    barto = Barto()
    barto.facts = Facts(KEY, "store", "file", config_error="bartos.toml:3: no such key")
    told = await got(barto, "/readyz")
    assert told["ready"] is True
    assert told["configuration"] == "the last good one is in force"
    assert not re.search("bartos.toml|no such key", str(told)), "it is open to all"


async def test_a_server_that_has_yet_to_read_its_configuration_is_not_ready() -> None:
    barto = Barto()
    barto.facts = Facts(KEY, "store", "file", begun=False)
    answer = await request(served(barto), "/readyz")
    assert (answer.status, answer.json()["ready"]) == (503, False)
    assert answer.json()["configuration"] == "it has not been read yet"


async def test_a_store_that_cannot_be_written_is_not_ready() -> None:
    barto = Barto()
    barto.facts = Facts(KEY, "store", "file", writes=False)
    answer = await request(served(barto), "/readyz")
    assert (answer.status, answer.json()["ready"]) == (503, False)
    assert answer.json()["store"] == "it can be read and not written: its disk may be full"


async def test_before_the_schedules_are_read_none_is_said_to_be_missing() -> None:
    barto = Barto()
    path = "/api/v1/schedules/nightly/resume"
    headers = {"content-type": "application/json"}
    for begun, status in ((False, 503), (True, 404)):
        barto.facts = Facts(KEY, "store", "file", begun=begun)
        app = served(barto)
        answer = await request(app, path, method="POST", headers=headers, body=b"{}")
        assert answer.status == status


async def test_before_the_store_was_read_nothing_can_be_cancelled() -> None:
    barto = Barto()
    headers = {"content-type": "application/json"}
    path = "/api/v1/runs/00000000-0000-8000-8000-000000000000/cancel"
    answer = await request(served(barto), path, method="POST", headers=headers, body=b"{}")
    assert answer.status == 503
    assert "still reading" in answer.json()["detail"]


async def test_a_store_that_is_away_is_a_503_and_not_half_an_answer() -> None:
    barto = Barto()
    await barto.run("web1", "backup", printed=[(OUT, b"x")])
    barto.store.available = False
    for path in ("/api/v1/runs", "/api/v1/runs/@last", "/api/v1/runs/@last/output"):
        assert (await problem(barto, path))["status"] == 503


async def test_a_page_that_is_not_there_is_a_problem_too() -> None:
    assert (await problem(Barto(), "/api/v1/nothing"))["status"] == 404
    assert (await problem(Barto(), "/api/v1/runs", method="DELETE"))["status"] == 405


async def test_who_has_the_secret_gets_what_a_worker_needs() -> None:
    barto = Barto()
    answer = await request(
        create_app(barto.services), "/api/v1/join", method="POST", body=b'{"secret": "open sesame"}'
    )
    assert answer.status == 200
    assert answer.json()["api_key"] == "worker key"
    assert answer.json()["labels"] == {"role": "web"}


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"secret": ""}', b"{", b"\xff"])
async def test_who_shows_no_secret_gets_nothing(body: bytes) -> None:
    app = create_app(Barto().services)
    answer = await request(app, "/api/v1/join", method="POST", body=body)
    assert answer.status in {400, 422}
    assert b"worker key" not in answer.body


async def test_a_body_has_a_bound() -> None:
    app = create_app(Barto().services)
    huge = b'{"secret": "' + b"x" * 100_000 + b'"}'
    answer = await request(app, "/api/v1/join", method="POST", body=huge)
    assert answer.status == 413
    length = {"content-length": str(len(huge))}
    answer = await request(app, "/api/v1/join", method="POST", body=huge, headers=length)
    assert (answer.status, answer.json()["detail"]) == (413, "the body is too large")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_server_without_a_ca_says_how_to_get_one() -> None:
    barto = Barto()
    barto.enrolment.ca_pem = None
    assert "bartos init" in (await problem(barto, "/api/v1/ca"))["detail"]


async def test_the_description_names_every_path() -> None:
    told = await got(Barto(), "/api/v1/openapi.json")
    assert set(told["paths"]) >= {
        "/api/v1/runs",
        "/api/v1/runs/{run}",
        "/api/v1/runs/{run}/output",
        "/api/v1/runs/{run}/output.json",
        "/api/v1/ranges",
        "/api/v1/workers",
        "/api/v1/workers/{name}/reset",
        "/api/v1/names/{kind}",
        "/api/v1/schedules",
        "/api/v1/schedules/{name}/cancel",
        "/api/v1/schedules/{name}/pause",
        "/api/v1/schedules/{name}/resume",
        "/api/v1/runs/{run}/cancel",
        "/api/v1/runs/{run}/rerun",
        "/api/v1/orders/{request}",
        "/api/v1/pauses",
        "/api/v1/outlook",
        "/api/v1/verdicts",
        "/api/v1/verify",
        "/api/v1/give-up",
        "/api/v1/runs/{run}/check",
        "/api/v1/pause",
        "/api/v1/resume",
        "/api/v1/plan",
        "/api/v1/ca",
        "/api/v1/join",
        "/healthz",
        "/readyz",
    }
