"""The ledger over HTTP: all verdicts in one list, the proof, and what an operator gives up."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bartos.api import ledger as api
from bartos.api.app import create_app
from bartos.api.guard import over_unix_socket
from bartos.api.ledger import read_cursor, write_cursor
from bartos.services import Services
from bartos.store.port import Mark, ScheduleRow
from libbarto.identity import schedule_uid
from libbarto.message.v2.record import Decided, Lane, Verdict
from tests.asgi import request
from tests.faces import ERR, NOON, OUT, SECOND, Barto

MINUTE = 60 * SECOND
BACKUP = schedule_uid("backup")


class Face:
    """A server's faces that stay the same from one request to the next."""

    def __init__(self) -> None:
        self.barto = Barto()
        self.services: Services = self.barto.services
        self.app = over_unix_socket(create_app(self.services))

    async def got(self, path: str, **more: Any) -> Any:
        answer = await request(self.app, path, **more)
        assert answer.status == 200, answer.body
        return answer.json()

    async def problem(self, path: str, **more: Any) -> tuple[int, str]:
        answer = await request(self.app, path, **more)
        return answer.status, answer.json()["detail"]

    async def takes_on(self, worker: str, *, connected: bool = True) -> None:
        await self.barto.takes_on(worker, "backup", connected=connected)

    async def waits(self, worker: str, minutes: int) -> None:
        await self.barto.waits(worker, "backup", NOON + minutes * MINUTE)

    def later(self, minutes: float) -> None:
        self.barto.clock.at = NOON + round(minutes * MINUTE)


@pytest.fixture
def face() -> Face:
    return Face()


async def a_history(face: Face) -> None:
    """Minutes 1 to 8 of web1: three ran, two were missed, one runs, one waits, one is late."""
    await face.takes_on("web1")
    await face.barto.run("web1", "backup", NOON + MINUTE)
    await face.barto.run("web1", "backup", NOON + 2 * MINUTE, verdict=Verdict.FAILED)
    first, last = NOON + 3 * MINUTE, NOON + 4 * MINUTE
    await face.barto.did_not_run("web1", "backup", first, last, 2, "too late: asleep")
    await face.barto.run("web1", "backup", NOON + 5 * MINUTE)
    await face.barto.run("web1", "backup", NOON + 6 * MINUTE, verdict=None)
    await face.waits("web1", 7)
    face.later(8.5)


async def test_all_verdicts_are_in_one_list(face: Face) -> None:
    await a_history(face)
    told = (await face.got("/api/v1/verdicts"))["starts"]
    assert [(one["first"][14:16], one["verdict"], one["count"]) for one in told] == [
        ("08", "late", 1),
        ("07", "waiting", 1),
        ("06", "running", 1),
        ("05", "ok", 1),
        ("03", "missed", 2),
        ("02", "failed", 1),
        ("01", "ok", 1),
    ]
    assert told[1]["reason"] == "queue"
    assert told[3]["run"] and told[3]["started"] and told[3]["ended"]
    assert told[4] == {
        "schedule": "backup",
        "worker": "web1",
        "first": "2026-11-24T12:03:00Z",
        "last": "2026-11-24T12:04:00Z",
        "count": 2,
        "verdict": "missed",
        "reason": "too late: asleep",
        "run": None,
        "started": None,
        "ended": None,
        "stuck": None,
    }


async def test_verdicts_come_in_pages(face: Face) -> None:
    await a_history(face)
    whole = (await face.got("/api/v1/verdicts?verdict=ok&verdict=missed&verdict=failed"))["starts"]
    pages, path = [], "/api/v1/verdicts?limit=2&verdict=ok&verdict=missed&verdict=failed"
    page = await face.got(path)
    pages += page["starts"]
    while page["next"]:
        page = await face.got(f"{path}&cursor={page['next']}")
        pages += page["starts"]
    assert pages == whole
    assert len(whole) == 4


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("verdict=late", ["late"]),
        ("verdict=running&verdict=ok", ["running", "ok", "ok"]),
        ("verdict=waiting&worker=web2", []),
        ("verdict=waiting&schedule=other", []),
        ("verdict=missed&until=2026-11-24T12:04:00Z", ["missed"]),
        ("since=2026-11-24T12:07:00Z", ["late", "waiting"]),
        ("until=2026-11-24T12:02:00Z", ["ok"]),
        ("schedule=backup&limit=1&verdict=failed", ["failed"]),
    ],
)
async def test_verdicts_are_found_by_what_they_are(
    face: Face, query: str, words: list[str]
) -> None:
    await a_history(face)
    told = await face.got(f"/api/v1/verdicts?{query}")
    assert [one["verdict"] for one in told["starts"]] == words


async def test_a_word_or_a_cursor_that_is_none_is_told(face: Face) -> None:
    assert await face.problem("/api/v1/verdicts?verdict=lat") == (
        400, '"lat" is not a verdict; did you mean late?',
    )  # fmt: skip
    status, said = await face.problem("/api/v1/verdicts?verdict=xxxxxx")
    assert (status, "there are ok, failed" in said) == (400, True)
    for path in ("/api/v1/verdicts", "/api/v1/verify"):
        assert (await face.problem(f"{path}?cursor=nonsense"))[0] == 404


def test_cursors_read_back() -> None:
    key = (5, b"w" * 16, b"s" * 16, 3, bytes(16))
    for run in (None, (7, b"r" * 16)):
        for range_ in (None, key):
            assert read_cursor(write_cursor(run, range_)) == (run, range_)


async def test_of_a_worker_that_is_away_it_is_unknown(face: Face) -> None:
    await face.takes_on("web1", connected=False)
    face.later(5)
    (told,) = (await face.got("/api/v1/verdicts"))["starts"]
    assert (told["verdict"], told["count"], told["worker"]) == ("unknown", 4, "web1")


async def test_the_proof_counts_each_verdict(face: Face) -> None:
    await a_history(face)
    told = await face.got("/api/v1/verify")
    assert told == {
        "pairs": 1,
        "ordered": 0,
        "counts": [
            {"verdict": "failed", "reason": "", "count": 1},
            {"verdict": "late", "reason": "", "count": 1},
            {"verdict": "missed", "reason": "too late", "count": 2},
            {"verdict": "ok", "reason": "", "count": 2},
            {"verdict": "running", "reason": "", "count": 1},
            {"verdict": "waiting", "reason": "queue", "count": 1},
        ],
        "faults": [],
        "faults_total": 0,
        "next": None,
    }
    window = await face.got(
        "/api/v1/verify?since=2026-11-24T12:04:30Z&until=2026-11-24T12:05:30Z&worker=web1"
    )
    assert window["counts"] == [{"verdict": "ok", "reason": "", "count": 1}]


async def test_the_proof_names_what_is_wrong(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    await face.takes_on("web1")
    for minutes in (1, 4, 9):
        await face.barto.run("web1", "backup", NOON + minutes * MINUTE)
    face.later(9)
    monkeypatch.setattr(api, "FINDINGS_MAX", 1)
    told = await face.got("/api/v1/verify?schedule=backup")
    assert told["faults_total"] == 2
    assert told["faults"] == [
        {
            "fault": "hole",
            "schedule": "backup",
            "worker": "web1",
            "first": "2026-11-24T12:02:00Z",
            "last": "2026-11-24T12:03:00Z",
            "count": 2,
            "text": "no verdict, though later ones are decided",
        }
    ]


async def test_the_proof_comes_in_pages(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bartos.audit.Auditor.page.__defaults__", (None, 1))
    for name in ("a", "b"):
        await face.takes_on(name)
    first = await face.got("/api/v1/verify")
    second = await face.got(f"/api/v1/verify?cursor={first['next']}")
    third = await face.got(f"/api/v1/verify?cursor={second['next']}")
    assert [page["pairs"] for page in (first, second, third)] == [1, 1, 0]


async def test_a_name_that_nobody_bears_is_told(face: Face) -> None:
    await face.takes_on("web1")
    assert await face.problem("/api/v1/verify?worker=wbe1") == (
        404, 'no worker is named "wbe1"; did you mean web1?',
    )  # fmt: skip
    assert await face.problem("/api/v1/verify?schedule=qqq") == (
        404, 'no schedule is named "qqq"',
    )  # fmt: skip


async def test_a_name_of_barto_1_is_understood(face: Face) -> None:
    await face.takes_on("web1")
    rows = [ScheduleRow(BACKUP, "web1/backup", "{}", version=2)]
    await face.barto.store.replace_schedules(rows, NOON)
    assert (await face.got("/api/v1/verify?schedule=backup"))["pairs"] == 1


async def test_the_outlook_tells_what_needs_someone(face: Face) -> None:
    await a_history(face)
    skipped = Decided(
        schedule_uid=BACKUP, schedule="backup", first_slot=NOON + 8 * MINUTE,
        last_slot=NOON + 9 * MINUTE, count=2, verdict=4, reason="overlap: it was still running",
    )  # fmt: skip
    await face.barto.tell("web1", skipped)
    face.later(11.5)
    told = await face.got("/api/v1/outlook")
    (stuck,) = told["stuck"]
    assert (told["late"], told["unknown"], told["idle"]) == (2, 0, [])
    assert stuck["why"] == "2 planned starts were skipped because of it"
    assert (stuck["schedule"], stuck["worker"]) == ("backup", "web1")
    runs = (await face.got("/api/v1/runs?running=true"))["runs"]
    assert [one["stuck"] for one in runs] == [stuck["why"]]
    assert (await face.got(f"/api/v1/runs/{stuck['run']}"))["stuck"] == stuck["why"]
    (told,) = (await face.got("/api/v1/verdicts?verdict=running"))["starts"]
    assert told["stuck"] == stuck["why"]
    ready = await face.got("/readyz")
    assert (ready["late"], ready["unknown"], ready["stuck"], ready["idle"]) == (2, 0, 1, 0)


async def test_an_operator_gives_up_by_name(face: Face) -> None:
    await face.takes_on("web1", connected=False)
    await face.barto.run("web1", "backup", NOON + MINUTE, verdict=None)
    await face.waits("web1", 2)
    face.later(6)
    headers = {"Barto-User": "ops", "Content-Type": "application/json"}
    post: dict[str, Any] = {"method": "POST", "headers": headers}
    status, said = await face.problem("/api/v1/give-up", body=b"{}", **post)
    assert (status, said) == (400, "say of which schedule, or of which worker")
    body = {"worker": "web1", "schedule": "backup", "dry_run": True}
    told = await face.got("/api/v1/give-up", body=json.dumps(body).encode(), **post)
    assert told["count"] == 5
    assert [one["count"] for one in told["starts"]] == [3, 1, 1]
    told = await face.got(
        "/api/v1/give-up", body=json.dumps(body | {"dry_run": False}).encode(), **post
    )
    assert told["count"] == 5
    words = [one["verdict"] for one in (await face.got("/api/v1/verdicts"))["starts"]]
    assert words == ["lost", "lost", "lost"]
    proof = await face.got("/api/v1/verify")
    assert proof["counts"] == [
        {"verdict": "lost", "reason": "", "count": 1},
        {"verdict": "lost", "reason": "given up by ops", "count": 4},
    ]
    assert proof["faults"] == []


async def test_output_is_checked_against_what_was_printed(face: Face) -> None:
    run = await face.barto.run("web1", "backup", printed=[(OUT, b"hi\n"), (ERR, b"no\n")])
    told = await face.got(f"/api/v1/runs/{run}/check")
    assert told == {
        "run": told["run"],
        "whole": True,
        "cut_bytes": 0,
        "missing_bytes": 0,
        "streams": [
            {"stream": "stdout", "printed_bytes": 3, "stored_bytes": 3, "same": True},
            {"stream": "stderr", "printed_bytes": 3, "stored_bytes": 3, "same": True},
        ],
    }
    chunks = next(iter(face.barto.store._chunks.values()))
    chunks[0] = replace(chunks[0], data=b"ho\n")
    told = await face.got(f"/api/v1/runs/{run}/check")
    assert (told["whole"], [one["same"] for one in told["streams"]]) == (False, [False, True])
    del chunks[0]
    told = await face.got(f"/api/v1/runs/{run}/check")
    assert (told["whole"], told["missing_bytes"]) == (False, 3)
    assert [one["same"] for one in told["streams"]] == [None, True]


async def test_output_that_was_cut_is_whole_but_has_no_hash(face: Face) -> None:
    run = await face.barto.run("web1", "backup", printed=[(OUT, b"hi\n")], cut_bytes=7)
    told = await face.got(f"/api/v1/runs/{run}/check")
    assert (told["whole"], told["cut_bytes"], told["missing_bytes"]) == (True, 7, 0)
    assert [one["same"] for one in told["streams"]] == [None, True]


async def test_output_that_fell_into_a_gap_is_told_of(face: Face) -> None:
    run = await face.barto.run("web1", "backup", printed=[(OUT, b"hi\n")], whole=False)
    told = await face.got(f"/api/v1/runs/{run}")
    assert (told["complete"], told["missing_bytes"]) == (False, 0), "not here yet"
    store, uid = face.barto.store, face.barto.uid("web1")
    store._runs[bytes.fromhex(run)].row = replace(store._runs[bytes.fromhex(run)].row, bytes_out=10)
    await store.skip_to(uid, Lane.OUTPUT, 1, Mark(9, bytes(8), 1), NOON)
    told = await face.got(f"/api/v1/runs/{run}")
    assert (told["complete"], told["missing_bytes"]) == (False, 7)
