"""A server that has no file descriptors left: it serves those that are there, does not spin, and
goes on by itself when it has some again."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.crashes import each_second_is_there
from tests.acceptance.fleet import Fleet, schedule

FULL_S = 5.0
GOES_ON_S = 5.0
BUSY_MOST = 0.5
"""Of one processor, while nobody gets in."""


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet() as fleet:
        fleet.start_server()
        fleet.join("web1")
        fleet.start_workers()
        fleet.schedules("tick", schedule("tick", "*", "*:*:*", ["echo tick"]))
        fleet.until(lambda: fleet.runs("tick"), "it has begun")
        yield fleet


def used(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_descriptors_those_that_are_there_are_served_and_it_goes_on_by_itself(
    fleet: Fleet,
) -> None:
    pid = fleet.server.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    there = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    with contextlib.ExitStack() as stack:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (there + 2, limits[1]))
        stack.callback(resource.prlimit, pid, resource.RLIMIT_NOFILE, limits)
        for _ in range(32):
            address = ("127.0.0.1", fleet.port)
            stack.enter_context(socket.create_connection(address, timeout=5))
        time.sleep(0.5)
        began, before = time.time(), used(pid)
        time.sleep(FULL_S)
        busy = (used(pid) - before) / (time.time() - began)
        assert busy < BUSY_MOST, f"it spins: {busy:.0%} of a processor"
    fleet.until(fleet.is_ready, "it takes new ones again", GOES_ON_S)
    assert fleet.is_connected("web1")
    each_second_is_there(fleet, ("web1",))
    assert fleet.server.log.count("worker connected") == 1, "nobody had to connect anew"
