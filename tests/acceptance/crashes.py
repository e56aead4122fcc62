"""What has to hold whatever is killed while commands run and print, on any database.

It answers one question: is everything that happened in the history, once and in order?
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial

from tests.acceptance.fleet import Fleet, Json, schedule

WORKERS = ("leia", "luke", "vader")
LINES = 120
PRINTING = f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo line $i; sleep 0.02; done; exit 7"
"""Prints a line every 20 ms or so for some seconds."""
PRINTED = b"".join(b"line %d\n" % number for number in range(1, LINES + 1))


def begin(fleet: Fleet) -> None:
    """Three workers, each of which has something to do every second."""
    fleet.start_server()
    fleet.join(*WORKERS)
    fleet.start_workers()
    fleet.schedules("tick", schedule("tick", "*", "*:*:*", ["echo tick"]))


def all_is_there_though(fleet: Fleet, name: str, trouble: Callable[[], object]) -> list[Json]:
    """Cause trouble while a command prints on every worker; the runs, which are as if nothing had
    happened."""
    fleet.plan_once(name, "*", [PRINTING])
    fleet.until(lambda: printing(fleet, name) == len(WORKERS), "all of them print")
    trouble()

    def complete() -> list[Json] | None:
        runs = [run for run in fleet.runs(name) if run["complete"]]
        return runs if len(runs) == len(WORKERS) else None

    runs = fleet.until(complete, "all of them are complete", 40)
    assert sorted(run["worker"] for run in runs) == sorted(WORKERS)
    assert {(run["verdict"], run["exit_code"]) for run in runs} == {("failed", 7)}
    for run in runs:
        assert fleet.output(run["id"]) == PRINTED
        assert run["stdout_bytes"] == len(PRINTED)
    return runs


def printing(fleet: Fleet, name: str) -> int:
    """How many runs of a schedule have printed something, and go on."""
    return sum(run["verdict"] is None and bool(fleet.output(run["id"])) for run in fleet.runs(name))


def each_second_is_there(fleet: Fleet, workers: tuple[str, ...] = WORKERS) -> None:
    """Every planned start of `tick` up to now is in the history, as one run or as missed."""
    now = time.time()
    for name in workers:
        slots = fleet.until(partial(ticks_up_to, fleet, name, now), f"{name} has told all")
        assert set(Counter(slots).values()) == {1}
        assert sorted(slots) == list(range(min(slots), max(slots) + 1))


def ticks_up_to(fleet: Fleet, worker: str, moment: float) -> list[int] | None:
    """The seconds that a worker's `tick` was due at, when it is past `moment` with all of them."""
    runs = fleet.runs("tick", worker=worker)
    slots = [seconds(run["slot"]) for run in runs]
    for one in fleet.api("/api/v1/ranges", schedule="tick", worker=worker)["ranges"]:
        slots += range(seconds(one["first"]), seconds(one["last"]) + 1)
    return slots if slots and max(slots) > moment else None


def seconds(text: str) -> int:
    """A time of the API as seconds since 1970."""
    return int(datetime.fromisoformat(text).timestamp())
