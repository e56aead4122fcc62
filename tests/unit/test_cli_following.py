"""Who follows a run does so over a restart of the server; and a mistyped name is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from barto_cli.client import NO_SUCH_THING, UNREACHABLE, Failure
from barto_cli.commands import actions, following
from barto_cli.commands.actions import How, rerun
from barto_cli.commands.following import Follower
from barto_cli.given import Given
from barto_cli.progress import Progress
from barto_cli.render import Format, Screen
from barto_cli.times import UTC_ZONE, read
from tests.faces import NOON

ANSWER = {"request": "r", "workers": [{"worker": "web1", "run": "01a2", "reason": ""}]}


class Server:
    """It is away the first times it is asked; then it tells of a run that has ended."""

    def __init__(self, away: int) -> None:
        self.away = away

    def get(self, path: str, query: object = None) -> dict[str, Any]:
        if self.away:
            self.away -= 1
            raise Failure(UNREACHABLE, "cannot reach the server")
        if "orders" in path:
            return {"workers": []}
        return {"attempt": 1, "verdict": "ok", "reason": "", "complete": True, "exit_code": 0}


def given(server: object, said: list[str]) -> Given:
    progress = SimpleNamespace(say=lambda *_: None, stop=lambda: None, waiting=Nothing)
    screen = Screen(UTC_ZONE, cast(Any, NOON), terminal=False)
    return cast(
        Given,
        SimpleNamespace(
            client=server, progress=cast(Progress, progress), screen=screen,
            note=lambda text, *_, **__: said.append(text), say=lambda text, *_: said.append(text),
        ),
    )  # fmt: skip


class Nothing:
    """A context in which nothing is shown."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_a_server_that_comes_back_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_MOST_S", 0.001)
    said: list[str] = []
    follower = Follower(given(Server(away=3), said), ANSWER, shown=False)
    follower.until_ended()
    assert follower.all_ok
    assert said[0] == "the server is away, and what runs goes on; trying again"
    assert sum("trying again" in text for text in said) == 1


def test_a_server_that_stays_away_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "POLL_MOST_S", 0.001)
    monkeypatch.setattr(following, "AWAY_S", 0.01)
    with pytest.raises(Failure, match="cannot reach the server"):
        Follower(given(Server(away=1_000_000), []), ANSWER, shown=False).until_ended()


class Names:
    """A server of one schedule, which has not run."""

    def get(self, path: str, query: object = None) -> dict[str, Any]:
        return {"names": [{"name": "backup"}], "runs": []}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("backap", 'neither a run nor a schedule is called "backap"; did you mean backup'),
        ("backup", "backup has not run"),
    ],
)
def test_to_rerun_what_never_ran_is_told_by_its_name(name: str, message: str) -> None:
    with pytest.raises(Failure, match=message) as caught:
        rerun(given(Names(), []), name, How(), failed=True, follow=False, exit_status=False)
    assert caught.value.exit_code == NO_SUCH_THING


class Draining:
    """A server whose worker goes offline as it is drained, comes back, and ends its run."""

    def __init__(self) -> None:
        at = "2026-11-24T11:59:00Z"
        tells = [(1, True), (1, False), (1, False), (1, True), (0, True)]
        self.tells = [
            {"running": running, "connected": connected, "last_seen": at}
            for running, connected in tells
        ]

    def get(self, path: str, query: object = None) -> dict[str, Any]:
        return self.tells.pop(0)

    def post(self, path: str, said: object) -> dict[str, Any]:
        return {"meant": 1, "said": "1 of 1", "workers": [], "confirmed": 1}


def test_a_drain_that_waits_for_a_worker_which_is_offline_says_so_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actions, "IDLE_LOOK_S", 0.0)
    said: list[str] = []
    shown: list[str] = []
    server = Draining()
    asking = given(server, said)
    cast(Any, asking).progress.say = lambda words, *_: shown.append(words)
    cast(Any, asking).screen = Screen(UTC_ZONE, read("2026-11-24T12:00:00Z"), terminal=False)
    vars(asking).update(form=Format.TABLE, for_people=True, emit=lambda _: None)
    assert actions.drain(asking, "web1", None, None, How(yes=True, wait=True)) == 0
    assert not server.tells
    assert said[:-1] == [
        "web1 is offline since Tue 24 Nov 11:59:00: what became of 1 run it tells when it is back, "
        "which is waited for; the drain holds without that"
    ]
    assert shown[1:3] == ["web1 (offline): 1 run to end", "web1 (offline): 1 run to end"]
