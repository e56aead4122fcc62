"""What an action is asked with is taken literally: a field that there is not is a mistake."""

from __future__ import annotations

import json

import pytest

from bartos.api.app import create_app
from bartos.api.guard import over_unix_socket
from tests.asgi import request
from tests.faces import Barto


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/runs", {"schedule": "backup", "worker": "web1"}),
        ("/runs", {"schedule": "backup", "dryrun": True}),
        ("/exec", {"on": "web1", "command": "true", "time_out": 5}),
        ("/pause", {"for": "1h"}),
        ("/workers/web1/drain", {"untill": "2026-11-24T02:00:00Z"}),
        ("/workers/web1/reset", {"dryrun": True}),
        ("/give-up", {"schedule": "backup", "dryrun": True}),
        ("/alerts/test", {"chanel": "mail"}),
    ],
)
async def test_a_field_that_there_is_not_is_refused_before_anything_is_done(
    path: str, body: dict[str, object]
) -> None:
    app = over_unix_socket(create_app(Barto().services))
    answer = await request(
        app, f"/api/v1{path}", method="POST", body=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )  # fmt: skip
    assert answer.status == 422, answer.body
    (fault,) = answer.json()["errors"]
    assert fault == {"where": f"body.{list(body)[-1]}", "message": "there is no such field"}


async def test_a_time_that_cannot_be_read_is_told_in_our_words() -> None:
    app = over_unix_socket(create_app(Barto().services))
    told = (await request(app, "/api/v1/runs?since=then")).json()["detail"]
    assert told == "query.since: expected a time as 2026-11-24T02:00:00Z"


@pytest.mark.parametrize(
    ("path", "name", "message"),
    [
        ("/runs?worke=web1&limit=5", "worke", "did you mean worker?"),
        ("/runs/download?format=csv&schedul=x", "schedul", "did you mean schedule?"),
        ("/runs/@last/output.json?atempt=1", "atempt", "did you mean attempt?"),
        ("/events?knd=run", "knd", "did you mean kind?"),
        ("/names/workers?q=we", "q", "there are begin"),
    ],
)
async def test_a_parameter_that_there_is_not_is_refused_with_the_nearest(
    path: str, name: str, message: str
) -> None:
    app = over_unix_socket(create_app(Barto().services))
    answer = await request(app, f"/api/v1{path}")
    assert answer.status == 422, answer.body
    (fault,) = answer.json()["errors"]
    assert fault == {
        "where": f"query.{name}",
        "message": f"there is no such parameter; {message}",
    }


async def test_what_has_no_parameters_says_so_and_probes_may_have_their_own() -> None:
    app = over_unix_socket(create_app(Barto().services))
    told = (await request(app, "/api/v1/status?a=1&b=2")).json()
    assert [one["where"] for one in told["errors"]] == ["query.a", "query.b"]
    assert "none at all here" in told["detail"]
    assert (await request(app, "/healthz?verbose=1")).status == 200
