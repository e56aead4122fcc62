"""What ran, and what did not? The commands `runs` and `show`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from barto_cli import times
from barto_cli.client import USAGE, Failure
from barto_cli.given import Given
from barto_cli.render import (
    COLOURS,
    Column,
    Listing,
    Row,
    Screen,
    plain,
    short_ids,
    table,
)

PAGE: Final = 1000
NOT_RUN: Final = frozenset({"skipped", "missed", "lost"})
NOT_YET: Final = ("late", "unknown", "waiting")
"""What has no verdict, and may never have a run."""

RUN_KEYS: Final = (
    *("id", "slot", "worker", "schedule", "verdict", "reason", "exit_code", "signal"),
    *("claimed", "started", "ended", "seconds", "late_seconds", "attempt", "kind", "complete"),
    *("stdout_bytes", "stderr_bytes", "cut_bytes", "cut_lines", "missing_bytes", "version"),
    *("stuck", "count", "last_slot"),
)


# -- runs -----------------------------------------------------------------------------------------


def runs(
    given: Given,
    *,
    worker: str | None,
    schedule: str | None,
    verdicts: Sequence[str],
    running: bool,
    since: str | None,
    until: str | None,
    limit: int,
) -> None:
    """The history, newest planned start first; what did not run is part of it."""
    now, zone = given.screen.now, given.screen.zone
    query: dict[str, object] = {
        "worker": worker,
        "schedule": schedule,
        "since": None if since is None else times.rfc3339(times.when(since, now, zone)),
        "until": None if until is None else times.rfc3339(times.when(until, now, zone)),
    }
    ended = [word for word in verdicts if word not in (*NOT_YET, "running")]
    rows: list[Row] = []
    if running or "running" in verdicts:
        rows += _runs(given, query | {"running": "true"}, limit)
    if not running:
        if ended or not verdicts:
            rows += _runs(given, query | {"verdict": ended or None}, limit)
        if not verdicts or NOT_RUN & set(verdicts):
            asked = query | {"verdict": ended or None, "limit": min(limit, PAGE)}
            rows += map(_range_row, given.client.get("/api/v1/ranges", asked)["ranges"])
        if not_yet := [word for word in NOT_YET if not verdicts or word in verdicts]:
            asked = query | {"verdict": not_yet, "limit": 1}
            rows += map(_start_row, given.client.get("/api/v1/verdicts", asked)["starts"])
    rows.sort(key=lambda row: times.read(str(row["last_slot"])), reverse=True)
    rows = rows[:limit]
    given.emit(Listing(run_columns(given.screen, rows), rows, RUN_KEYS))
    if not rows and given.for_people:
        given.note("nothing ran that fits")


def _runs(given: Given, query: Mapping[str, object], limit: int) -> Iterator[Row]:
    cursor = None
    while limit > 0:
        page = given.client.get(
            "/api/v1/runs", {**query, "limit": min(limit, PAGE), "cursor": cursor}
        )
        for run in page["runs"]:
            yield {**run, "count": 1, "last_slot": run["slot"]}
        limit -= len(page["runs"])
        cursor = page["next"]
        if cursor is None:
            return


def _range_row(one: Mapping[str, Any]) -> Row:
    return {
        **dict.fromkeys(RUN_KEYS),
        "slot": one["first"],
        "last_slot": one["last"],
        "count": one["count"],
        "worker": one["worker"],
        "schedule": one["schedule"],
        "verdict": one["verdict"],
        "reason": one["reason"],
    }


def _start_row(one: Mapping[str, Any]) -> Row:
    return {**_range_row(one), "id": one["run"]}


def run_columns(screen: Screen, rows: Sequence[Row]) -> list[Column]:
    """The columns of a table of runs."""
    ids = short_ids(str(row["id"]) for row in rows if row.get("id"))
    return [
        Column("slot", f"WHEN ({screen.zone.name})", lambda row: _when(screen, row), least=None),
        Column("worker", "WORKER", useful=3),
        Column("schedule", "SCHEDULE", useful=4, least=10),
        Column(
            "verdict",
            "VERDICT",
            lambda row: _verdict(screen, row),
            useful=2,
            least=12,
            colour=_colour,
        ),
        Column("seconds", "TOOK", _took, right=True, least=None),
        Column("id", "RUN", lambda row: ids.get(str(row.get("id")), ""), least=None),
    ]


def _when(screen: Screen, row: Row) -> str:
    """The planned start; of several, the last."""
    return screen.time(times.read(str(row.get("last_slot") or row["slot"])))


def _verdict(screen: Screen, row: Row) -> str:
    words = outcome(row)
    if row.get("last_slot") in {None, row["slot"]}:
        return words
    verdict, colon, reason = words.partition(":")
    return f"{verdict} since {screen.time(times.read(str(row['slot'])))}{colon}{reason}"


def _took(row: Row) -> str:
    seconds = row.get("seconds")
    return times.duration(seconds) if isinstance(seconds, float | int) else ""


def _colour(row: Row) -> str | None:
    return COLOURS.get(str(row.get("verdict") or "running"))


def outcome(row: Row) -> str:
    """How a run ended, in words: `failed, exit 77`, `missed 3 times: worker was away`."""
    verdict = row.get("verdict")
    words = "running" if verdict is None else plain(verdict).replace("_", " ")
    if verdict is None and row.get("stuck"):
        return f"running, seems stuck: {plain(row['stuck'])}"
    if (count := row.get("count")) not in {None, 1}:
        words += f" {count} times"
    reason = plain(row.get("reason"))
    end = ""
    if row.get("signal") is not None:
        end = signal_name(row["signal"])
        reason = reason.replace(f"killed by signal {row['signal']}", end)
    elif row.get("exit_code") not in {None, 0}:
        end = f"exit {row['exit_code']}"
    if end and end in reason:  # the reason says it, and perhaps of which step
        return f"{words}, {reason}"
    words += f", {end}" if end else ""
    return f"{words}: {reason}" if reason else words


def signal_name(number: object) -> str:
    """A signal as people know it: SIGKILL for 9."""
    import signal

    try:
        return signal.Signals(int(str(number))).name
    except ValueError:
        return f"signal {number}"


# -- show -----------------------------------------------------------------------------------------


def show(given: Given, run: str) -> None:
    """All about one run, and how its steps ended."""
    found = given.client.get(run_path(run))
    if not given.for_people:
        keys = [key for key in RUN_KEYS if key not in {"count", "last_slot"}]
        given.emit(Listing((), [found], (*keys, "steps")))
        return
    given.write(_about(given.screen, found))


def _about(screen: Screen, run: Mapping[str, Any]) -> Iterator[str]:
    def moment(key: str) -> str:
        return screen.time(times.read(run[key])) if run[key] else ""

    late = run["late_seconds"]
    facts = [
        ("run", plain(run["id"])),
        ("schedule", plain(run["schedule"])),
        ("worker", plain(run["worker"])),
        ("verdict", screen.paint(outcome(run), _colour(run))),
        ("planned", f"{moment('slot')} ({screen.zone.name})"),
        ("claimed", moment("claimed") + (f", {times.duration(late)} late" if late >= 1 else "")),
        ("started", moment("started")),
        ("ended", moment("ended")),
        ("duration", times.duration(run["seconds"])),
        ("attempt", plain(run["attempt"])),
        ("output", _printed(run)),
    ]
    for title, text in facts:
        if text:
            yield f"{screen.paint(f'{title:>9}', '2')}  {text}"
    if run["steps"]:
        yield ""
        columns = [
            Column("step", "STEP", right=True, least=None),
            Column("ended_as", "ENDED", least=None),
            Column("seconds", "DURATION", _took, right=True, least=None),
            Column("command", "COMMAND", useful=1),
        ]
        steps = [{**step, "ended_as": _step_end(step)} for step in run["steps"]]
        yield from table(columns, steps, screen)


def _printed(run: Mapping[str, Any]) -> str:
    text = f"{times.size(run['stdout_bytes'])} stdout, {times.size(run['stderr_bytes'])} stderr"
    if run["cut_bytes"]:
        text += f", of which {times.size(run['cut_bytes'])} were cut"
    if run["missing_bytes"]:
        text += f", of which {times.size(run['missing_bytes'])} were lost on the worker"
    elif not run["complete"]:
        text += ", not all here yet" if run["verdict"] else ", so far"
    return text


def _step_end(step: Mapping[str, Any]) -> str:
    if step["exit_code"] is not None:
        return f"exit {step['exit_code']}"
    if step["signal"] is not None:
        return signal_name(step["signal"])
    return plain(step["reason"]) or "end not seen"


def run_path(run: str) -> str:
    """Where the API has a run. Raises `Failure` where none is named."""
    if not run:
        raise Failure(USAGE, "which run? Give an id, its beginning, or @last")
    return f"/api/v1/runs/{quote(run, safe='@')}"
