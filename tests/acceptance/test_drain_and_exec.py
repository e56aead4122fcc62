"""Workers are drained and commands run by hand, with real programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.fleet import Fleet, schedule

MINUTELY = schedule("tick", "web2", "*-*-* *:*:*", ["echo tick"])


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet() as fleet:
        fleet.start_server()
        fleet.join("web1", "web2")
        fleet.start_workers("web1", "web2")
        yield fleet


def answer(fleet: Fleet, *arguments: str) -> Any:
    return json.loads(fleet.cli(*arguments, "-o", "json").stdout)


def test_commands_run_where_the_server_allows_it(fleet: Fleet) -> None:
    refused = fleet.cli("exec", "--on", "web1", "--", "id", code=4)
    assert "allow_exec = true in " in refused.stderr
    assert "bartos.toml" in refused.stderr
    fleet.config.write_text(f"allow_exec = true\n{fleet.config.read_text()}")
    fleet.until(lambda: fleet.cli("exec", "--on", "web1", "--dry-run", "id", code=None).returncode
                == 0, "the server allows commands")  # fmt: skip
    asked = fleet.cli("exec", "--on", "web*", "--", "echo", "a b", ";", code=2)
    assert "without a terminal say --yes" in asked.stderr
    said = fleet.cli("exec", "--on", "web*", "--yes", "--follow", "--", "echo", "a  b", ";")
    assert sorted(said.stdout.splitlines()) == ["web1 | a  b ;", "web2 | a  b ;"]
    said = fleet.cli("exec", "--on", "web1", "--exit-status", "-f", "echo $0; exit 3", code=1)
    assert said.stdout == "/bin/sh\n"
    (run,) = fleet.runs("exec", worker="web1", limit=1)
    assert (run["verdict"], run["schedule"]) == ("failed", "exec")


def test_a_drained_worker_ends_what_runs_and_starts_nothing(fleet: Fleet) -> None:
    fleet.schedules("tick.toml", MINUTELY)
    fleet.cli("exec", "--on", "web2", "sleep 1; echo over")
    told = answer(fleet, "drain", "web2", "--wait", "--reason", "a new disk")
    assert (told["confirmed"], told["meant"]) == (1, 1)
    assert fleet.runs("exec", worker="web2", limit=1)[0]["verdict"] == "ok"
    fleet.until(
        lambda: any(
            "drained: a new disk" in one["reason"] for one in fleet.api("/api/v1/ranges")["ranges"]
        ),
        "planned starts are skipped",
    )
    assert "drained" in fleet.cli("clients").stdout
    refused = fleet.cli("exec", "--on", "web2", "id", code=4)
    assert "barto undrain web2" in refused.stderr
    assert answer(fleet, "undrain", "web2", "--wait")["confirmed"] == 1
    fleet.until(
        lambda: any(run["verdict"] == "ok" for run in fleet.runs("tick")), "it starts again"
    )
