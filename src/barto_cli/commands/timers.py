"""When does what run next, where, and how did it end last? The command `timers`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from barto_cli import times
from barto_cli.commands.history import outcome
from barto_cli.commands.naming import is_schedule, unknown
from barto_cli.given import Given
from barto_cli.render import COLOURS, Column, Listing, Row, Screen, plain
from libbarto.brief import DAYS

PAGE: Final = 1000
KEYS: Final = (
    *("next", "left_seconds", "last", "passed_seconds", "state", "schedule", "worker", "timezone"),
    *("by", "until", "reason", "verdict", "running", "seconds", "exit_code", "signal", "run"),
)
NO_NEXT: Final = {
    "offline": "offline",
    "unknown": "not confirmed yet",
    "never": "never",
}
"""Why nothing is planned, where nobody wished it so."""


def timers(
    given: Given, schedule: str | None, *, worker: str | None, every: bool, limit: int | None
) -> None:
    """A row for each schedule on each worker, the next planned start first."""
    rows = list(_timers(given, schedule, worker, every, limit))
    if not rows and schedule is not None and not is_schedule(given, schedule):
        raise unknown(given, schedule)
    if not rows and worker is not None:
        given.client.get(f"/api/v1/workers/{quote(worker, safe='')}")  # is there such a worker?
    given.emit(Listing(timer_columns(given.screen, rows), rows, KEYS))
    if not rows and given.for_people:
        given.note("nothing is planned" if every else "nothing is planned; --all shows what is off")


def _timers(
    given: Given, schedule: str | None, worker: str | None, every: bool, limit: int | None
) -> Iterator[Row]:
    cursor, left = None, limit
    while left is None or left > 0:
        query = {
            "schedule": schedule,
            "worker": worker,
            "all": "true" if every else None,
            "limit": PAGE if left is None else min(left, PAGE),
            "cursor": cursor,
        }
        page = given.client.get("/api/v1/timers", query)
        for one in page["timers"]:
            yield timed(one, given.screen.now)
        left = None if left is None else left - len(page["timers"])
        cursor = page["next"]
        if cursor is None:
            return


def timed(timer: Mapping[str, Any], now: datetime) -> Row:
    """A timer with how long it is until its next planned start, and since its last one."""

    def seconds(moment: str | None) -> float | None:
        return None if moment is None else (times.read(moment) - now).total_seconds()

    left, passed = seconds(timer["next"]), seconds(timer["last"])
    return {
        **timer,
        "left_seconds": left,
        "passed_seconds": None if passed is None else -passed,
    }


def timer_columns(screen: Screen, rows: Sequence[Row]) -> list[Column]:
    """The columns of the table; the schedules' own times only where they are not the reader's."""
    there = any(_there(screen, row) for row in rows)
    return [
        Column(
            "next",
            f"NEXT ({screen.zone.name})",
            lambda row: next_words(screen, row),
            useful=9,
            least=20,
            spills=True,
            colour=_next_colour,
        ),
        Column("left_seconds", "LEFT", _left, right=True, least=None),
        *([_there_column(screen)] if there else []),
        Column("last", "LAST", lambda row: _moment(screen, row, "last"), least=None, spare=True),
        Column("passed_seconds", "PASSED", _passed, right=True, least=None),
        Column("verdict", "RESULT", result, useful=2, least=10, colour=_result_colour),
        Column("schedule", "SCHEDULE", useful=4, least=12),
        Column("worker", "WORKER", worker_words, useful=3),
    ]


def worker_words(row: Row) -> str:
    """The worker; or that any of so many may take it."""
    if row["worker"]:
        return plain(row["worker"])
    return f"1 of {row['one_of']}" if row.get("one_of") else "(any)"


def _there_column(screen: Screen) -> Column:
    return Column(
        "timezone", "THERE", lambda row: _there(screen, row), useful=1, least=12, spare=True
    )


def _moment(screen: Screen, row: Row, key: str) -> str:
    """A time, with the year in place of the weekday where that is another one."""
    if not row[key]:
        return ""
    text = screen.time(times.read(str(row[key])))
    return text if text[10] == " " and text[13] == ":" else text[4:].strip()


def next_words(screen: Screen, row: Row) -> str:
    """The next planned start, or why there is none; never one that is over."""
    state = str(row["state"])
    if row["next"] and state == "planned":
        left = row["left_seconds"]
        assert isinstance(left, int | float)
        return _moment(screen, row, "next") if left > 0 else "due now"
    words = NO_NEXT.get(state, plain(state).replace("_", " "))
    if row.get("by"):
        words += f" by {plain(row['by'])}"
    if row.get("until"):
        words += f" to {short_time(screen, times.read(str(row['until'])))}"
    return words


def short_time(screen: Screen, moment: datetime) -> str:
    """A time for people to the minute, without the day where that is today."""
    here = screen.now.astimezone(screen.zone.rules).date()
    there = moment.astimezone(screen.zone.rules)
    text = screen.time(moment)
    hour = f"{there:%H:%M}"
    return hour if there.date() == here else text[: text.index(" ", 7)] + f" {hour}"


def _next_colour(row: Row) -> str | None:
    state = str(row["state"])
    return None if state == "planned" else COLOURS.get(state, COLOURS["unknown"])


def _there(screen: Screen, row: Row) -> str:
    """The same time in the schedule's own zone, where clocks there show another one."""
    if not row["next"] or not row["timezone"] or row["state"] != "planned":
        return ""
    import zoneinfo

    moment = times.read(str(row["next"]))
    try:
        there = moment.astimezone(zoneinfo.ZoneInfo(str(row["timezone"])))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return plain(row["timezone"])
    here = moment.astimezone(screen.zone.rules)
    if there.utcoffset() == here.utcoffset():
        return ""
    day = "" if there.date() == here.date() else f"{DAYS[there.weekday()]} "
    return f"{day}{there:%H:%M} {plain(row['timezone'])}"


def _left(row: Row) -> str:
    left = row["left_seconds"]
    if row["state"] != "planned" or not isinstance(left, int | float) or left <= 0:
        return ""
    return times.rough(left)


def _passed(row: Row) -> str:
    passed = row["passed_seconds"]
    return times.rough(passed) if isinstance(passed, int | float) and passed >= 0 else ""


def result(row: Row) -> str:
    """How the last one ended, in a few words: `ok 42s`, `failed 1`, `running 31h`."""
    if not row["last"]:
        return "never ran"
    if row["running"]:
        return f"running {_passed(row)}".rstrip()
    if row["verdict"] is None:
        return ""
    words = outcome({**row, "reason": ""}).replace(", exit", "").replace(", SIG", " SIG")
    seconds = row["seconds"]
    if row["verdict"] == "ok" and isinstance(seconds, int | float):
        words += f" {times.duration(seconds)}"
    return words


def _result_colour(row: Row) -> str | None:
    if row["running"]:
        return COLOURS["running"]
    return COLOURS.get(str(row["verdict"]))
