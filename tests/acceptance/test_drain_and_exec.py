"""Workers are drained and commands run by hand, with real programs."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.acceptance.fleet import BIN, Fleet, schedule

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
    plan = fleet.cli("drain", "web2", "--dry-run")
    assert plan.stderr.splitlines()[-1] == "this would drain web2"
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


def pieces_on_a_terminal(fleet: Fleet, *arguments: str) -> Iterator[str]:
    """What a command of barto-cli draws on a terminal, as it comes; it has to end well."""
    master, slave = pty.openpty()
    command = [str(BIN / "barto-cli"), "-c", str(fleet.directory / "barto-cli.toml"), *arguments]
    environment = {**fleet.environment(fleet.directory), "COLUMNS": "80", "NO_COLOR": "1"}
    process = subprocess.Popen(
        command, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    try:
        with contextlib.suppress(OSError):  # EIO: nobody holds the other end any more
            while piece := os.read(master, 65_536):
                yield piece.decode(errors="replace")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_a_drain_shows_on_a_terminal_what_it_waits_for(fleet: Fleet) -> None:
    over = fleet.directory / "over"
    for _ in range(2):
        fleet.cli("exec", "--on", "web1", f"until test -e {over}; do sleep 0.05; done")
    drawn = ""
    for piece in pieces_on_a_terminal(fleet, "drain", "web1", "--wait", "--until", "2h"):
        drawn += piece
        if "web1: 2 runs to end" in drawn:
            over.touch()
    _, _, rest = drawn.rpartition("\r\x1b[K")
    assert "0 of 2" in drawn
    assert " ".join(rest.split()) == "WORKER STATE web1 confirmed confirmed by 1 of 1"
    told = fleet.api("/api/v1/workers/web1")["drained"]
    lasts = datetime.fromisoformat(told["until"]) - datetime.now(UTC)
    assert timedelta(minutes=119) < lasts <= timedelta(hours=2)
    fleet.cli("undrain", "web1", "--wait")
