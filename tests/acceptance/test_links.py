"""Links that are slow, late, cut, torn and half open, one way or both: no start minds, and all is
told once they are whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial

import pytest

from tests.acceptance.crashes import each_second_is_there, seconds
from tests.acceptance.fleet import Fleet, schedule
from tests.chaos.proxy import Flow, Line, Link, Proxy

SLOW = Flow(rate=8000.0)
"""64 kbit/s."""
LATE = Flow(delay=0.5, jitter=0.4)
LINKS = {
    "slow": Link(SLOW, SLOW),
    "late": Link(LATE, LATE),
    "deaf": Link(down=Flow(swallowed=True)),
    "dumb": Link(up=Flow(swallowed=True)),
    "gone": Link(Flow(stalled=True), Flow(stalled=True)),
    "torn-at-once": Link(torn=0),
    "torn-in-tls": Link(torn=700),
    "torn-in-http": Link(torn=2500),
    "torn-in-frames": Link(torn=6000),
    "cut": Link(),
}
FAULT_S = 20.0
CUT_EVERY_S = 3.0
NOTICED_S = 16.0
"""15 s of silence, and a second to see that they are over."""


class Spoilt(Fleet):
    """Workers whose links were bad for a while, and are whole again."""

    since = 0.0
    """When they became bad, in seconds since 1970."""


@pytest.fixture(scope="module")
def fleet() -> Iterator[Spoilt]:
    with Spoilt() as fleet:
        fleet.start_server()
        with Proxy(fleet.port, "links") as proxy:
            for worker in fleet.join(*LINKS):
                text = worker.config.read_text()
                line = proxy.line(worker.name)
                worker.config.write_text(text.replace(f":{fleet.port}", f":{line.port}"))
            fleet.start_workers()
            fleet.schedules("tick", schedule("tick", "*", "*:*:*", ["echo tick"]))
            for name in LINKS:
                fleet.until(partial(fleet.runs, "tick", worker=name), f"{name} has begun")
            fleet.since = time.time()
            spoil(proxy)
            yield fleet


def spoil(proxy: Proxy) -> None:
    """Have every link be bad for its time."""
    over = threading.Event()
    lines = {name: proxy.line(name) for name in LINKS}
    cutting = threading.Thread(target=cut, args=(lines["cut"], over))
    cutting.start()
    for name, link in LINKS.items():
        if link.torn is not None:
            lines[name].cut()
        lines[name].become(link)
    over.wait(FAULT_S)
    for line in lines.values():
        line.become(Link())
    over.set()
    cutting.join()


def cut(line: Line, over: threading.Event) -> None:
    while not over.wait(CUT_EVERY_S):
        line.cut()


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def said(log: str, *words: str) -> list[float]:
    """When each line with all of these words was written."""
    lines = [line for line in log.splitlines() if all(word in line for word in words)]
    return [moment(line.split(" ", 1)[0]) for line in lines]


@pytest.mark.parametrize("name", list(LINKS))
def test_every_slot_ran_on_time_and_is_told_once(fleet: Spoilt, name: str) -> None:
    each_second_is_there(fleet, (name,))
    assert fleet.api("/api/v1/ranges", worker=name)["ranges"] == []
    runs = fleet.runs("tick", worker=name)
    lags = sorted(moment(run["started"]) - seconds(run["slot"]) for run in runs[:-3])
    assert lags[0] >= 0
    assert lags[len(lags) * 9 // 10] < 1.0


@pytest.mark.parametrize("name", list(LINKS))
def test_what_was_printed_came_once(fleet: Spoilt, name: str) -> None:
    runs = fleet.runs("tick", worker=name)[:20]
    fleet.until(
        lambda: {fleet.output(run["id"]) for run in runs} == {b"tick\n"}, "its output is whole"
    )


def test_a_server_that_hears_nothing_notices(fleet: Spoilt) -> None:
    (left, *_) = said(fleet.server.log, "worker left", "worker=dumb", "nothing heard")
    assert left - fleet.since < NOTICED_S


def test_a_worker_that_hears_nothing_notices(fleet: Spoilt) -> None:
    (ended, *_) = said(fleet.workers["deaf"].log, "nothing heard")
    assert ended - fleet.since < NOTICED_S


@pytest.mark.parametrize("name", ["slow", "late"])
def test_a_slow_link_costs_no_session(fleet: Spoilt, name: str) -> None:
    assert said(fleet.server.log, "worker left", f"worker={name}") == []


def test_nobody_was_taken_by_surprise(fleet: Spoilt) -> None:
    for program in (fleet.server, *fleet.workers.values()):
        assert "Traceback" not in program.log
