"""Events over HTTP: what changes, and what a run prints, as it comes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.types import ASGIApp

from bartos.api.app import create_app
from bartos.api.guard import over_unix_socket
from libbarto.message.v2.record import Verdict
from libbarto.testing import settled
from tests.asgi import request
from tests.faces import ERR, NOON, OUT, Barto


def served(barto: Barto) -> ASGIApp:
    return over_unix_socket(create_app(barto.services))


async def told(barto: Barto, path: str, last: str | None = None) -> list[tuple[str, str, Any]]:
    """The events of a stream that ends: kind, id and data."""
    headers = {} if last is None else {"last-event-id": last}
    answer = await request(served(barto), path, headers=headers)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if "event" in lines:
            found.append((lines["event"], lines["id"], json.loads(lines["data"])))
    return found


async def test_events_come_again_after_an_id() -> None:
    barto = Barto()
    first = barto.feed.last_id
    barto.feed.publish("run", {"n": 1}, schedule="backup", worker="web1")
    barto.feed.publish("range", {"n": 2}, schedule="sync", worker="web1")
    barto.feed.publish("pauses", {"n": 3})
    got = await told(barto, "/api/v1/events?limit=3", first)
    assert [(kind, data["n"]) for kind, _, data in got] == [("run", 1), ("range", 2), ("pauses", 3)]
    got = await told(barto, "/api/v1/events?limit=1&kind=range&kind=run&schedule=sync", first)
    assert [data["n"] for _, _, data in got] == [2]
    assert [kind for kind, _, _ in await told(barto, "/api/v1/events?limit=1", "x-1")] == ["reset"]
    assert await told(barto, "/api/v1/events?for=40") == []
    answer = await request(served(barto), "/api/v1/events?for=40")
    assert answer.body.count(b": still here") == 2
    assert (await request(served(barto), "/api/v1/events?kind=x")).status == 422


async def test_who_is_cut_off_again_before_it_has_all_goes_on_from_there() -> None:
    barto = Barto()
    first = barto.feed.last_id
    barto.feed.publish("pauses", {"n": 1})
    again = await request(served(barto), "/api/v1/events?limit=1", headers={"last-event-id": first})
    assert again.body.startswith(b": listening\n\nid: "), "no id but that of what is told"
    fresh = await request(served(barto), "/api/v1/events?for=0")
    assert fresh.body.startswith(f"id: {barto.feed.last_id}\n: listening\n\n".encode())


async def test_a_run_that_is_over_is_printed_and_ended() -> None:
    barto = Barto()
    run = await barto.run("web1", "backup", printed=[(OUT, b"one\n"), (ERR, b"two\n")])
    path = f"/api/v1/runs/{run}/output/events"
    got = await told(barto, path)
    assert [kind for kind, _, _ in got] == ["segment", "segment", "end"]
    assert [data["text"] for _, _, data in got[:2]] == ["one\n", "two\n"]
    assert got[-1][2]["verdict"] == "ok"
    # An id stands for what comes after.
    assert [kind for kind, _, _ in await told(barto, path, got[0][1])] == ["segment", "end"]
    assert [kind for kind, _, _ in await told(barto, path, got[1][1])] == ["end"]
    assert len(await told(barto, path, "what")) == 3
    assert len(await told(barto, f"{path}?limit=1")) == 1
    assert len(await told(barto, f"{path}?attempt=1")) == 3


async def test_output_begins_at_any_byte() -> None:
    barto = Barto()
    lines = [f"line {number}\n".encode() for number in range(50)]
    run = await barto.run("web1", "backup", printed=[(OUT, line) for line in lines])
    whole = b"".join(lines).decode()
    for start in (0, 1, 6, 7, 8, 200, len(whole) - 1, len(whole), len(whole) + 5):
        got = await told(barto, f"/api/v1/runs/{run}/output/events?from={start}")
        text = "".join(data["text"] for kind, _, data in got if kind == "segment")
        assert text == whole[start:]


async def test_a_run_that_goes_on_is_waited_for() -> None:
    barto = Barto()
    run = await barto.run("web1", "backup", printed=[(OUT, b"one\n")], verdict=None)
    path = f"/api/v1/runs/{run}/output/events"
    assert [kind for kind, _, _ in await told(barto, f"{path}?for=20")] == ["segment"]
    answer = await request(served(barto), f"{path}?for=20")
    assert answer.body.count(b": still here") == 1
    barto.feed.close()
    assert [kind for kind, _, _ in await told(barto, path)] == ["segment"]


async def test_a_database_that_goes_away_ends_a_stream_without_a_word_of_an_end() -> None:
    barto = Barto()
    run = await barto.run("web1", "backup", printed=[(OUT, b"x")], verdict=None)
    path = f"/api/v1/runs/{run}/output/events"
    following = asyncio.create_task(request(served(barto), path))
    await settled()
    assert barto.feed.followed
    barto.store.available = False
    answer = await following
    assert answer.body.endswith(b": the database is away\n\n")
    assert b"event: end" not in answer.body


async def test_what_is_lost_ends() -> None:
    barto = Barto()
    run = await barto.run("web1", "backup", NOON, verdict=Verdict.LOST, whole=False)
    got = await told(barto, f"/api/v1/runs/{run}/output/events")
    assert [kind for kind, _, _ in got] == ["end"]
