"""Alerts over HTTP: tests of channels, how they do, and what readyz says of them."""

from __future__ import annotations

import json
from typing import Any

from bartos.alert_text import Message
from bartos.api.app import create_app
from bartos.api.guard import over_unix_socket
from bartos.heartbeat import Heartbeat
from bartos.outgoing import Undelivered
from tests.asgi import request
from tests.faces import Barto


class Broken:
    """A channel that never works."""

    place = "nowhere"

    async def send(self, message: Message) -> str:
        raise Undelivered("it answers 500")


class Works:
    """A channel that always works."""

    place = "somewhere"

    async def send(self, message: Message) -> str:
        return "200 OK"


async def asked(barto: Barto, path: str, said: object = None) -> tuple[int, Any]:
    app = over_unix_socket(create_app(barto.services))
    if said is None:
        answer = await request(app, path)
    else:
        answer = await request(app, path, method="POST", body=json.dumps(said).encode())
    return answer.status, answer.json()


async def test_a_test_tells_what_came_of_each_channel() -> None:
    barto = Barto(channels={"webhook": Works(), "mail": Broken()})
    status, found = await asked(barto, "/api/v1/alerts/test", {})
    assert status == 200
    assert (found["ok"], found["heartbeat"]) == (False, None)
    assert [
        (one["channel"], one["ok"], one["said"], one["place"]) for one in found["channels"]
    ] == [
        ("webhook", True, "200 OK", "somewhere"),
        ("mail", False, "it answers 500", "nowhere"),
    ]
    status, found = await asked(barto, "/api/v1/alerts/test", {"channel": "webhook"})
    assert (status, found["ok"]) == (200, True)


async def test_a_channel_that_is_not_there_is_a_problem() -> None:
    status, found = await asked(Barto(), "/api/v1/alerts/test", {})
    assert (status, found["detail"][:24]) == (409, "no channel is configured")
    barto = Barto(channels={"mail": Works()})
    status, found = await asked(barto, "/api/v1/alerts/test", {"channel": "fax"})
    assert status == 409 and "there is mail" in found["detail"]


async def test_channels_and_heartbeat_are_listed() -> None:
    barto = Barto(channels={"mail": Broken()})

    async def nothing() -> str:
        return "the database is away"

    barto.heartbeat = Heartbeat(lambda: "https://beat", nothing, barto.clock)
    await barto.heartbeat.beat()
    _, found = await asked(barto, "/api/v1/alerts")
    assert found["channels"] == [{"channel": "mail", "place": "nowhere", "error": "", "waiting": 0}]
    assert found["heartbeat"]["said"] == "not sent: the database is away"


async def test_readyz_says_how_alerts_do() -> None:
    assert (await asked(Barto(), "/readyz"))[1]["alerts"] == "off"
    assert (await asked(Barto(channels={"mail": Works()}), "/readyz"))[1]["alerts"] == "ok"
