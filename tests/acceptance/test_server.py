"""bartos as an operator meets it: live reload, the last good configuration, probes, its end."""

from __future__ import annotations

import http.client
import json
import signal
import ssl
import time
from collections.abc import Iterator

import pytest

from libbarto.tls import client_context
from tests.acceptance.fleet import Fleet, schedule, until

NEVER = "2099-01-01"


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet() as fleet:
        fleet.start_server()
        yield fleet


def many(count: int) -> str:
    return "".join(schedule(f"many-{number}", "*", NEVER, ["true"]) for number in range(count))


def in_force(fleet: Fleet) -> set[str]:
    return {row["name"] for row in fleet.api("/api/v1/schedules")["schedules"]}


def https(fleet: Fleet, path: str, key: str | None = None) -> int:
    """The status of a GET over TLS, as from another host."""
    context = client_context((fleet.state / "ca.pem").read_bytes())
    assert context.verify_mode is ssl.CERT_REQUIRED
    connection = http.client.HTTPSConnection("127.0.0.1", fleet.port, timeout=10, context=context)
    try:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_changed_file_counts_after_two_seconds_of_quiet(fleet: Fleet) -> None:
    file = fleet.directory / "schedules.d" / "quiet.toml"
    file.write_text(schedule("half", "*", NEVER, ["true"])[:-20])  # as an editor may leave it
    half_written = time.monotonic()
    until(lambda: time.monotonic() - half_written > 0.7, "a moment passes")
    file.write_text(schedule("whole", "*", NEVER, ["true"]))
    written = time.monotonic()
    fleet.until(lambda: "whole" in in_force(fleet), "the schedule is in force")
    assert 1.9 <= time.monotonic() - written <= 6
    # It is in force a moment before it is logged.
    fleet.until(lambda: 'changes="added whole"' in fleet.server.log, "it is logged")
    assert "cannot be used" not in fleet.server.log


def test_a_broken_file_keeps_the_last_good_configuration(fleet: Fleet) -> None:
    fleet.schedules("good", schedule("good", "*", NEVER, ["true"]))
    fleet.until(lambda: "good" in in_force(fleet), "the schedule is in force")
    fleet.schedules("good", schedule("good", "*", "*-*-* 25:00", ["true"]))
    fleet.until(lambda: "last good one" in fleet.server.log, "the server says so")
    assert "good.toml:5" in fleet.server.log
    assert "hour" in fleet.server.log
    readiness = fleet.api("/readyz")
    assert (readiness["ready"], readiness["configuration"]) == (
        True,
        "the last good one is in force",
    )
    assert "good" in in_force(fleet)
    # So it is after a restart, too.
    assert fleet.server.ends(signal.SIGTERM) == 0
    fleet.start_server()
    fleet.until(lambda: fleet.api("/readyz")["configuration"] != "ok", "the server says so again")
    assert "good" in in_force(fleet)
    fleet.schedules("good", schedule("good", "*", "*-*-* 23:00", ["true"]))
    fleet.until(lambda: fleet.api("/readyz")["configuration"] == "ok", "all is well again")


def test_what_would_remove_most_schedules_waits_for_a_yes(fleet: Fleet) -> None:
    fleet.schedules("many", many(12))
    fleet.until(lambda: "many-11" in in_force(fleet), "twelve schedules are in force")
    fleet.schedules("many", "")
    fleet.until(lambda: "bartos reload --yes" in fleet.server.log, "the server asks for a yes")
    assert "many-11" in in_force(fleet)
    done = fleet.says("reload", "--yes")
    assert done.returncode == 0, done.stderr
    fleet.until(lambda: "many-11" not in in_force(fleet), "they are removed")


def test_probes_need_no_key_and_everything_else_does(fleet: Fleet) -> None:
    key = (fleet.state / "api.key").read_text().strip()
    assert https(fleet, "/healthz") == 200
    assert https(fleet, "/readyz") == 200
    assert https(fleet, "/api/v1/runs") == 401
    assert https(fleet, "/api/v1/runs", "another") == 401
    assert https(fleet, "/api/v1/runs", key) == 200


def test_sigterm_stops_in_order_and_the_next_start_goes_on(fleet: Fleet) -> None:
    before = in_force(fleet)
    assert fleet.server.ends(signal.SIGTERM, 10) == 0
    assert not (fleet.state / "bartos.sock").exists()
    assert "Traceback" not in fleet.server.log
    fleet.start_server()
    assert in_force(fleet) == before
    info = json.loads(fleet.cli("info", "-j").stdout)
    assert str(fleet.config) in json.dumps(info)
