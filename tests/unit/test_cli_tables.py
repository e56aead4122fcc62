"""What people see: every table at 80 and at 200 columns, narrow, and piped, as it was approved.

The texts stand in snapshots/. Where a change is meant, write them anew with
`SNAPSHOTS=write pytest tests/unit/test_cli_tables.py`, and look at the difference.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barto_cli.asked import Wanted
from barto_cli.commands import (
    calendar,
    fleet,
    history,
    printed,
    proof,
    status,
    timers,
    topics,
    upkeep,
)
from barto_cli.render import Column, Format, Listing, Screen, lines_of, table, width_of
from barto_cli.times import UTC_ZONE, Zone
from libbarto.message.v2.record import Verdict
from libbarto.states import STATES

SNAPSHOTS: Final = Path(__file__).with_name("snapshots")
NOW: Final = datetime(2026, 11, 24, 15, 22, 0, tzinfo=UTC)
BERLIN: Final = Zone("Europe/Berlin", ZoneInfo("Europe/Berlin"))
PIPE: Final = Screen(BERLIN, NOW)
WIDTHS: Final = (34, 49, 80, 200)


def at(hours: float) -> str:
    return (NOW + timedelta(hours=hours)).isoformat()


def on(width: int) -> Screen:
    return replace(PIPE, terminal=True, width=width, shapes=True)


def approved(name: str, told: Callable[[Screen], Iterable[str]], widths: Sequence[int]) -> None:
    """Compare what is told with what was approved, and see that no line is too long."""
    parts = []
    for width in widths:
        lines = list(told(on(width)))
        assert max(map(width_of, lines)) <= width
        parts += [f"== {width} columns", *lines, ""]
    parts += ["== piped", *told(PIPE), ""]
    text = "\n".join(parts)
    file = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("SNAPSHOTS") == "write":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def tabled(columns: Callable[[Screen], Sequence[Column]], rows: Any) -> Any:
    return lambda screen: lines_of(Listing(columns(screen), rows), Format.TABLE, screen)


# -- timers ---------------------------------------------------------------------------------------


def timer(schedule: str, worker: str, **more: Any) -> dict[str, Any]:
    facts = {
        "state": "planned",
        "next": None,
        "timezone": "Europe/Berlin",
        "by": "",
        "until": None,
        "reason": "",
        "last": None,
        "verdict": None,
        "seconds": None,
        "exit_code": None,
        "signal": None,
        "run": None,
        "running": False,
    }
    return dict(timers.timed({**facts, "schedule": schedule, "worker": worker, **more}, NOW))


TIMERS: Final = [
    timer("tick", "web1", next=at(-0.001), last=at(-0.01), verdict="ok", seconds=0.0123),
    timer("backup", "web1", next=at(9.9), last=at(-14.1), verdict="ok", seconds=42.1),
    timer(
        "a-schedule-with-quite-a-long-name",
        "some-worker.example.org",
        next=at(30),
        timezone="America/New_York",
        last=at(-400),
        verdict="timed_out",
        seconds=3600.0,
    ),
    timer("report", "db1", next=at(45 * 24), last=at(-1), running=True, run="019a"),
    timer("export", "", next=at(4000), timezone=""),
    timer(
        "sync",
        "web2",
        state="paused",
        by="ann",
        until=at(1.7),
        last=at(-4),
        verdict="failed",
        exit_code=1,
        seconds=3.0,
    ),
    timer(
        "mirror",
        "nas",
        state="paused",
        by="ann",
        until=at(40),
        last=at(-31),
        signal=9,
        verdict="failed",
    ),
    timer("backup", "laptop", state="offline", last=at(-100), verdict="missed"),
    timer("old", "web1", state="never", reason="2020-01-01 is over"),
    timer("off", "web1", state="disabled"),
    timer("new", "web9", state="unknown"),
]


def test_timers() -> None:
    approved("timers", tabled(lambda s: timers.timer_columns(s, TIMERS), TIMERS), WIDTHS)


def test_no_planned_start_of_the_past_is_shown() -> None:
    for row in TIMERS:
        words = timers.next_words(PIPE, row)
        assert words
        assert "Tue 24 Nov" not in words or "to" in words


# -- status ---------------------------------------------------------------------------------------


def failing(schedule: str, worker: str, state: str, **more: Any) -> dict[str, Any]:
    facts = {
        "reason": "",
        "exit_code": None,
        "signal": None,
        "run": None,
        "slot": at(-14),
        "times": 1,
        "since": None,
        "usual_seconds": None,
    }
    return {**facts, "schedule": schedule, "worker": worker, "state": state, **more}


def running(schedule: str, worker: str, hours: float, run: str = "1") -> dict[str, Any]:
    began = at(-hours)
    return {"schedule": schedule, "worker": worker, "id": run, "started": began, "claimed": began}


STATUS: Final[dict[str, Any]] = {
    "counts": {"ok": 41, "failed": 2, "stuck": 1, "paused": 1, "running": 2, "late": 0},
    "workers": 13,
    "connected": 12,
    "away": ["roaming"],
    "drained": [],
    "schedules": 17,
    "confirmed": 12,
    "meant": 12,
    "failing": [
        failing("backup", "web1", "failed", exit_code=1, times=3, since=at(-62)),
        failing(
            "mirror",
            "nas",
            "stuck",
            slot=at(-31),
            usual_seconds=2400.0,
            run="2",
            reason="2 planned starts skipped",
        ),
        failing("sync", "laptop-of-somebody.example.org", "missed", reason="worker was away"),
        failing("mail", "web2", "interrupted"),
    ],
    "running": [running("mirror", "nas", 31, "2"), running("backup", "db1", 0.0117)],
    "next": [
        {
            "schedule": "updates",
            "first": at(0.64),
            "last": at(1.62),
            "workers": 12,
            "worker": "",
            "timezone": "",
        },
        {
            "schedule": "backup",
            "first": at(11),
            "last": at(11),
            "workers": 1,
            "worker": "web1",
            "timezone": "",
        },
    ],
}


def test_status() -> None:
    approved("status", lambda screen: status.status_lines(STATUS, screen), (49, 80, 200))


def test_status_of_many() -> None:
    many = {
        **STATUS,
        "failing": [failing("s", f"web{n}", "failed", exit_code=2) for n in range(12)],
        "away": [f"web{n}" for n in range(20)],
        "connected": 4000,
        "workers": 5000,
        "confirmed": 3990,
        "meant": 5000,
        "running": [running("s", f"db{n}", n) for n in range(20)],
    }
    approved("status-many", lambda screen: status.status_lines(many, screen), (80,))


@pytest.mark.parametrize("missing", ["workers", "schedules"])
def test_an_empty_status_teaches_the_next_step(missing: str) -> None:
    nothing = dict.fromkeys(("workers", "connected", "schedules", "confirmed", "meant"), 0)
    lists: dict[str, Any] = {"away": [], "drained": [], "failing": [], "running": [], "next": []}
    empty = {**nothing, "workers": 1, **lists, "counts": {}, missing: 0}
    *_, last = status.status_lines(empty, PIPE)
    assert "barto " in last


def test_a_state_that_only_a_server_knows_does_nothing_to_a_terminal() -> None:
    first, *_ = status.status_lines({**STATUS, "counts": {"\x1b[2Jodd": 2}}, PIPE)
    assert first.startswith("2 \\x1b[2Jodd")


def test_a_command_that_status_tells_can_be_typed_whatever_a_worker_is_called() -> None:
    rows = [failing("sync", "nas 2; id", "failed"), failing("mail", "", "missed")]
    found = {**STATUS, "running": [], "next": [], "failing": rows}
    first, second = [*status.status_lines(found, PIPE)][-2:]
    assert first.endswith("barto why sync --on 'nas 2; id'")
    assert second.endswith("barto why mail")


# -- runs -----------------------------------------------------------------------------------------


def run(number: int, schedule: str, worker: str, hours: float, **more: Any) -> dict[str, Any]:
    facts = {
        **dict.fromkeys(history.RUN_KEYS),
        "id": f"019ab4d2-c0e4-8{number:03}-8000-0000000000{number:02}",
        "slot": at(hours),
        "last_slot": at(hours),
        "count": 1,
        "reason": "",
        "verdict": "ok",
        "seconds": 2.0,
    }
    return {**facts, "schedule": schedule, "worker": worker, **more}


RUNS: Final = [
    run(1, "backup", "web1", -0.1, verdict=None, seconds=None),
    run(2, "backup", "db1", -0.2, seconds=0.0042),
    run(3, "mirror", "nas", -31, verdict=None, seconds=None, stuck="31h; usual is 40m at most"),
    run(
        4,
        "a-schedule-with-quite-a-long-name",
        "some-worker.example.org",
        -40,
        verdict="failed",
        exit_code=77,
        reason="step 2 ended with exit 77",
        seconds=123.0,
    ),
    run(5, "sync", "web2", -50, verdict="failed", signal=9, seconds=90_061.0),
    run(6, "sync", "web3", -60, verdict="timed_out", seconds=3600.0),
    run(7, "日本語", "東京", -70, verdict="interrupted", reason="may or may not have started"),
    {
        **run(
            8, "backup", "roaming", -90, verdict="missed", reason="worker was away", seconds=None
        ),
        "id": None,
        "count": 3,
        "last_slot": at(-80),
    },
]


def test_runs() -> None:
    approved("runs", tabled(lambda s: history.run_columns(s, RUNS), RUNS), WIDTHS)


# -- one run ---------------------------------------------------------------------------------------


def moment(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat()


def step(number: int, attempt: int, begin: float, code: int | None, **more: Any) -> dict[str, Any]:
    facts = {
        "step": number,
        "attempt": attempt,
        "command": f"/usr/local/bin/back-up --step {number}",
        "exit_code": code,
        "signal": None,
        "success": code == 0,
        "started": moment(begin),
        "ended": moment(begin + 1.5),
        "seconds": 1.5,
        "reason": None,
    }
    return {**facts, **more}


SHOWN: Final[dict[str, Any]] = {
    **run(4, "backup", "web1", 0, verdict="failed", exit_code=77, reason="step 2: exit 77"),
    "kind": "calendar",
    "attempt": 2,
    "claimed": moment(64.003),
    "started": moment(64.009),
    "ended": moment(67.01),
    "seconds": 3.001,
    "complete": True,
    "stdout_bytes": 20_480,
    "stderr_bytes": 12,
    "cut_bytes": 1024,
    "missing_bytes": 0,
    "steps": [step(1, 2, 64.009, 0), step(2, 2, 65.509, 77)],
    "earlier": [step(1, 1, 0.009, None, signal=9)],
}


def test_show() -> None:
    approved("show", lambda screen: history.about(screen, SHOWN), (49, 80, 200))


def test_show_says_what_the_server_makes_of_it() -> None:
    asked = {
        "because": ["Step 2 of 2, `back-up`, ended so.", "New: it was ok for 31 nights."],
        "lines": ["pg_dump: error: connection to server failed", "\x1b[31mgiving up"],
    }
    approved("show-why", lambda screen: history.about(screen, SHOWN, asked), (49, 80))


def test_show_of_what_runs() -> None:
    going = {
        **SHOWN,
        **dict.fromkeys(("ended", "seconds", "exit_code", "verdict")),
        "steps": [],
        "earlier": [],
        "attempt": 1,
        "kind": "manual",
        "reason": "",
        "stuck": "its last 20 runs took 2m at most",
        "complete": False,
    }
    approved("show-running", lambda screen: history.about(screen, going), (80,))


# -- workers --------------------------------------------------------------------------------------


def worker(name: str, **more: Any) -> dict[str, Any]:
    facts = {
        "connected": True,
        "since": at(-3),
        "last_seen": at(-3),
        "address": "192.0.2.17",
        "version": "2.0.0",
        "clock_offset_seconds": 0.0015,
        "generation": 17,
        "labels": {"role": "web"},
        "alarm": "",
    }
    return {**facts, "name": name, **more}


WORKERS: Final = [
    worker("web1"),
    worker("some-worker.example.org", address="2001:db8::ff00:42:8329", labels={"os": "debian"}),
    worker("roaming", connected=False, since=None, clock_offset_seconds=None, last_seen=at(-90)),
]


def test_workers() -> None:
    columns = lambda screen: fleet.worker_columns(screen, WORKERS)  # noqa: E731 (one line)
    approved("workers", tabled(columns, WORKERS), WIDTHS)


CLIENTS: Final = [
    {
        "name": name,
        "state": "connected" if here else "away",
        "since": NOW - timedelta(hours=3),
        "last_seen": NOW,
        "address": "192.0.2.17",
        "os": "Debian",
        "os_version": "12",
        "kernel": "6.1.0-18-amd64",
        "version": "2.0.0",
        "labels": {"role": "web", "rack": "b4"},
        "alarm": alarm,
    }
    for name, here, alarm in (("web1", True, ""), ("nas", False, "its state directory is a copy"))
]


def test_clients() -> None:
    columns = lambda screen: fleet.client_columns(screen, alarm=True)  # noqa: E731 (one line)
    approved("clients", tabled(columns, CLIENTS), WIDTHS)


# -- the commands of barto 1.x, and the proof -----------------------------------------------------

PRINTED: Final = [
    {
        "run": f"019ab4d2-c0e4-8{number:03}-8000-0000000000{number:02}",
        "slot": NOW - timedelta(hours=number),
        "worker": worker,
        "schedule": "backup",
        "verdict": "failed",
        "reason": "step 2: exit 77",
        "exit_code": 77,
        "signal": None,
        "steps": "exit 0, exit 77",
        "stream": stream,
        "line": line,
        "started": NOW,
        "ended": NOW + timedelta(seconds=42),
    }
    for number, worker, stream, line in (
        (1, "web1", "stdout", "step 1 is fine"),
        (1, "web1", "stderr", "step 2 is not: \x1b[31m"),
        (2, "some-worker.example.org", None, None),
    )
]


def test_failed() -> None:
    rows = [PRINTED[0], PRINTED[2]]
    approved("failed", tabled(lambda s: printed.failed_columns(s, rows), rows), WIDTHS)


def test_cmd() -> None:
    def told(screen: Screen) -> Iterable[str]:
        return printed.with_separators(screen, iter(PRINTED), by_worker=True)

    approved("cmd", told, (80, 200))


def test_updates() -> None:
    rows: list[dict[str, object]] = [
        {
            "package": package,
            "channel": "chaotic-aur",
            "old_version": "1:1.71.118-1",
            "new_version": "1:1.71.121-1",
            "net_bytes": 73_400,
            "download_bytes": 123_000_000,
        }
        for package in ("brave-bin", "some-package-of-a-long-name-indeed")
    ]
    approved("updates", tabled(lambda _: upkeep.update_columns(rows), rows), WIDTHS)


def test_verify() -> None:
    counts = [
        {"verdict": "ok", "reason": "", "count": 123_456},
        {"verdict": "missed", "reason": "the worker was down or asleep", "count": 3},
    ]
    faults = [
        {
            "fault": "hole",
            "schedule": "backup",
            "worker": "web1",
            "first": at(-3),
            "last": at(-2),
            "count": 2,
            "text": "planned by version 17, and no line is there",
        }
    ]
    approved("verify", tabled(lambda _: proof.count_columns(), counts), (34, 80, 200))
    approved("verify-faults", tabled(proof.fault_columns, faults), WIDTHS)


def test_calendar() -> None:
    wanted = Wanted(expressions=("Sun 02:30",), tz="Europe/Berlin", since="2027-03-20", limit=3)

    def told(screen: Screen) -> list[str]:
        out = io.StringIO()
        assert (
            calendar.run(wanted, calendar.Surroundings(out, screen, Format.TABLE, utc=False)) == 0
        )
        return out.getvalue().splitlines()

    approved("calendar", told, (49, 80, 200))


# -- help -----------------------------------------------------------------------------------------


def test_help_verdicts() -> None:
    approved("verdicts", topics.verdicts, (49, 80, 200))


def test_every_state_that_users_see_is_explained() -> None:
    assert {*topics.ENDED} == {verdict.word for verdict in Verdict}
    assert {*topics.ENDED, *topics.NOT_YET, *topics.OTHERS} == {*STATES}


# -- tables in general ----------------------------------------------------------------------------


CELLS: Final = st.text("ab漢 ", max_size=25)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Column], list[dict[str, object]]]:
    columns = [
        Column(
            str(number),
            draw(st.text("AB", max_size=9)),
            right=draw(st.booleans()),
            useful=draw(st.integers(1, 9)),
            least=draw(st.none() | st.integers(1, 20)),
            spare=draw(st.booleans()),
            spills=draw(st.booleans()),
        )
        for number in range(draw(st.integers(1, 7)))
    ]
    rows: list[dict[str, object]] = [
        {column.key: draw(CELLS) for column in columns} for _ in range(draw(st.integers(1, 3)))
    ]
    return columns, rows


@given(tables(), st.integers(4, 120))
@settings(max_examples=60)
def test_no_table_is_wider_than_the_terminal(
    drawn: tuple[list[Column], list[dict[str, object]]], width: int
) -> None:
    columns, rows = drawn
    for line in table(columns, rows, replace(PIPE, width=width)):
        assert width_of(line) <= width


@given(tables())
@settings(max_examples=60)
def test_in_a_pipe_a_table_is_whole(drawn: tuple[list[Column], list[dict[str, object]]]) -> None:
    columns, rows = drawn
    lines = list(table(columns, rows, PIPE))
    for row, line in zip(rows, lines[1:], strict=True):
        assert all(str(text).strip() in line for text in row.values())


def test_colours_are_for_states_and_do_not_move_anything() -> None:
    plain = list(table(history.run_columns(on(80), RUNS), RUNS, on(80)))
    coloured = replace(on(80), colour=True)
    painted = list(table(history.run_columns(coloured, RUNS), RUNS, coloured))
    stripped = [strip(line) for line in painted]
    assert [line.rstrip() for line in stripped] == plain
    assert "\x1b[31m" in "".join(painted)


def strip(text: str) -> str:
    return re.sub("\x1b\\[[0-9;]*m", "", text)


def test_utc_is_named_in_the_header() -> None:
    screen = replace(PIPE, zone=UTC_ZONE)
    assert next(iter(table(timers.timer_columns(screen, TIMERS), TIMERS, screen))).startswith(
        "NEXT (UTC)"
    )
