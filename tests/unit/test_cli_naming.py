"""A name that is filtered by, and that nobody has: the nearest one is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from barto_cli.client import NO_SUCH_THING, Failure
from barto_cli.commands.history import runs
from barto_cli.commands.logs import Asked, logs
from barto_cli.commands.naming import mistyped
from barto_cli.given import Given
from barto_cli.render import Format, Screen
from barto_cli.times import UTC_ZONE, read


class Fleet:
    """A server that knows two workers and a schedule, which has not run; `old` ran once, and
    `late` was missed once."""

    known = ("web1", "web2", "backup")

    def get(self, path: str, query: dict[str, Any] | None = None) -> dict[str, Any]:
        asked = query or {}
        if path.startswith("/api/v1/names/"):
            about = slice(0, 2) if path.endswith("workers") else slice(2, 3)
            begin = asked.get("begin") or ""
            names = [one for one in self.known[about] if one.startswith(begin)]
            return {"names": [{"name": one, "about": ""} for one in names]}
        past = {"/api/v1/runs": "old", "/api/v1/ranges": "late"}.get(path)
        meant = (asked.get("schedule"), asked.get("worker"))
        found = [{"id": "01"}] if past in meant else []
        return {"runs": found, "ranges": found, "starts": [], "next": None}


def given(form: Format = Format.TABLE) -> tuple[Given, list[str]]:
    noted: list[str] = []
    screen = Screen(UTC_ZONE, read("2026-11-24T12:00:00Z"), terminal=False, width=80)
    made = SimpleNamespace(
        **{"client": Fleet(), "form": form, "for_people": form is Format.TABLE, "screen": screen},
        **{"emit": lambda _: None, "note": lambda text: noted.append(text) if text else None},
    )
    return cast(Given, made), noted


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"worker": "web1"}, ""),
        ({"worker": "wbe1"}, 'no worker is called "wbe1"; did you mean web1?'),
        ({"worker": "zzz"}, 'no worker is called "zzz"'),
        ({"schedule": "backup", "worker": None}, ""),
        ({"schedule": "old"}, ""),
        ({"schedule": "late"}, ""),
        (
            {"schedule": "backpu", "worker": "web3"},
            'no schedule is called "backpu"; did you mean backup?; '
            'no worker is called "web3"; did you mean web2?',
        ),
    ],
)
def test_a_name_is_known_by_what_is_in_force_and_by_the_history(
    names: dict[str, Any], said: str
) -> None:
    assert mistyped(given()[0], **names) == said


@pytest.mark.parametrize("form", [Format.TABLE, Format.JSON])
def test_runs_of_a_mistyped_worker_are_none_and_it_is_said(form: Format) -> None:
    asking, noted = given(form)
    runs(
        asking, worker="wbe1", schedule="backup", verdicts=["failed"], running=False,
        since=None, until=None, limit=5,
    )  # fmt: skip
    people = ["nothing ran that fits"] if form is Format.TABLE else []
    assert noted == ['no worker is called "wbe1"; did you mean web1?', *people]


@pytest.mark.parametrize("more", [{}, {"follow": True}, {"fold": True}])
def test_logs_of_a_mistyped_worker_are_an_error(more: dict[str, Any]) -> None:
    with pytest.raises(Failure, match=r'no worker is called "wbe1"; did you mean web1\?') as told:
        logs(given()[0], Asked("backup", worker="wbe1", **more))
    assert told.value.exit_code == NO_SUCH_THING


def test_logs_of_a_worker_that_there_is_say_that_it_has_not_run_there() -> None:
    asking, noted = given()
    logs(asking, Asked("backup", worker="web1"))
    assert noted == ["backup has not run on web1"]
