"""Is all well? One screen: what is not, what runs, and what comes next. The command `status`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from barto_cli import times
from barto_cli.commands.history import outcome
from barto_cli.commands.timers import short_time
from barto_cli.given import Given
from barto_cli.render import (
    COLOURS,
    DIM,
    Column,
    Format,
    Row,
    Screen,
    json_text,
    many,
    plain,
    table,
    width_of,
)
from libbarto.harmless import as_command
from libbarto.states import state_of

Json = Mapping[str, Any]

WORST_FIRST: Final = (
    *("failed", "timed_out", "lost", "interrupted", "stuck", "late", "missed", "unknown"),
    *("running", "waiting", "paused", "drained", "disabled", "never_ran", "ok"),
)
WORD: Final = {"failed": "failing"}
AIR: Final = "   "
ROWS: Final = 8
"""So many rows of a kind; what is left out is counted."""


def status(given: Given) -> None:
    """The state of all, on one screen."""
    found = given.client.get("/api/v1/status")
    if given.form is Format.TABLE:
        given.write(status_lines(found, given.screen))
    else:
        given.write([json_text(found, indent=2 if given.form is Format.JSON else None)])


def status_lines(found: Json, screen: Screen, rows: int = ROWS) -> Iterator[str]:
    """The screen, in lines."""
    yield from _bar(found, screen)
    if not found["workers"]:
        yield "no worker yet. Add one:  barto worker add NAME"
        return
    if not found["schedules"]:
        yield "no schedule yet. What one would do is told by:  barto plan /etc/barto/bartos.toml"
        return
    told = [*_failing(found, screen, rows), *_running(found, screen, rows)]
    told += _next(found, screen, rows)
    columns = [
        Column("kind", "", useful=9, least=None, colour=lambda row: str(row["colour"])),
        Column("schedule", "", useful=4, least=12),
        Column("worker", "", useful=3, least=10),
        Column("words", "", useful=8, least=40),
        Column("hint", "", useful=1, least=None, colour=lambda _: DIM),
    ]
    yield from table(columns, told, screen, header=False)


# -- the bar --------------------------------------------------------------------------------------


def _bar(found: Json, screen: Screen) -> Iterator[str]:
    """What is not well by how bad it is, then what is; the zone of the reader at the right."""
    parts = [
        (f"{found['counts'][name]} {WORD.get(name, plain(state_of(name).word))}", name)
        for name in by_badness(found["counts"])
    ]
    parts[_first_well(parts) : _first_well(parts)] = _hosts(found)
    zone = f"times in {screen.zone.name}"
    head = [(text, screen.paint(screen.shape(name) + text, _sgr(name))) for text, name in parts]
    confirmed = _confirmed(found)
    if confirmed:
        head.append((confirmed, confirmed))
    head.append((zone, screen.paint(zone, DIM)))
    line, taken = "", 0
    for text, painted in head:
        width = width_of(text) + (2 if screen.shapes and painted != text else 0)
        if line and screen.width is not None and taken + len(AIR) + width > screen.width:
            yield line
            line, taken = "", 0
        line += (AIR if line else "") + painted
        taken += (len(AIR) if taken else 0) + width
    yield line


def by_badness(counts: Mapping[str, int]) -> list[str]:
    """The states that there are, the worst first."""
    place = {name: number for number, name in enumerate(WORST_FIRST)}
    there = [name for name, count in counts.items() if count]
    return sorted(there, key=lambda name: (place.get(name, place["unknown"]), name))


def _first_well(parts: Sequence[tuple[str, str]]) -> int:
    well = {"running", "waiting", "paused", "drained", "disabled", "never_ran", "ok"}
    return next((n for n, (_, name) in enumerate(parts) if name in well), len(parts))


def _hosts(found: Json) -> list[tuple[str, str]]:
    hosts = []
    for names, word, count in (
        (found["away"], "away", found["workers"] - found["connected"]),
        (found["drained"], "drained", len(found["drained"])),
    ):
        if count:
            some = ", ".join(map(plain, names[:3])) + (", …" if count > 3 else "")
            hosts.append((f"{many(count, 'worker')} {word} ({some})", word))
    return hosts


def _confirmed(found: Json) -> str:
    if not found["meant"]:
        return ""
    return f"schedules confirmed by {found['confirmed']} of {many(found['meant'], 'worker')}"


def _sgr(name: str) -> str:
    return state_of(name).look.ansi


# -- what is to be said ---------------------------------------------------------------------------


def _failing(found: Json, screen: Screen, rows: int) -> Iterator[Row]:
    for one in found["failing"][:rows]:
        schedule, worker = plain(one["schedule"]), plain(one["worker"])
        stuck = one["state"] == "stuck"
        on = ["--on", one["worker"]] if one["worker"] else []
        why = as_command("barto", "why", one["schedule"], *on)
        yield _row(
            WORD.get(one["state"], state_of(one["state"]).word).upper(),
            one["state"],
            schedule,
            worker or "(any)",
            _how_bad(one, screen),
            as_command("barto", "cancel", one["schedule"]) if stuck else why,
        )
    yield from _more(found["failing"], rows, "barto timers")


def _how_bad(one: Json, screen: Screen) -> str:
    if one["state"] == "stuck":
        ran = times.rough((screen.now - times.read(one["slot"])).total_seconds())
        usual = one["usual_seconds"]
        words = f"running {ran}" + (f", usual {times.rough(usual)}" if usual else "")
        return f"{words}, {plain(one['reason'])}" if one["reason"] else words
    words = outcome({**one, "verdict": one["state"]})
    if one["times"] > 1:
        since = f" since {_day(screen, times.read(one['since']))}" if one["since"] else ""
        return f"{words}, {one['times']} in a row{since}"
    return f"{words}, {short_time(screen, times.read(one['slot']))}"


def _day(screen: Screen, moment: datetime) -> str:
    short = short_time(screen, moment)
    return short if " " not in short else short.rpartition(" ")[0].strip()


def _running(found: Json, screen: Screen, rows: int) -> Iterator[Row]:
    stuck = {one["run"] for one in found["failing"] if one["state"] == "stuck"}
    runs = [run for run in found["running"] if run["id"] not in stuck]
    for run in runs[:rows]:
        began = times.read(run["started"] or run["claimed"])
        yield _row(
            "RUNNING",
            "running",
            plain(run["schedule"]),
            plain(run["worker"]),
            f"{elapsed(screen.now, began)}, since {short_time(screen, began)}",
            as_command("barto", "logs", "-f", run["schedule"]),
        )
    yield from _more(runs, rows, "barto runs --running")


def elapsed(now: datetime, began: datetime) -> str:
    """How long something runs; clocks may differ, so never less than nothing."""
    seconds = max(0, int((now - began).total_seconds()))
    return times.duration(float(seconds)) if seconds else "0s"


def _next(found: Json, screen: Screen, rows: int) -> Iterator[Row]:
    for one in found["next"][:rows]:
        first, last = times.read(one["first"]), times.read(one["last"])
        when = short_time(screen, first)
        if (last - first).total_seconds() >= 60:
            when += f"-{short_time(screen, last).rpartition(' ')[2]}"
        left = (first - screen.now).total_seconds()
        yield _row(
            "NEXT",
            "",
            plain(one["schedule"]),
            plain(one["worker"]) or many(one["workers"], "worker"),
            f"{when}, in {times.rough(left)}" if left > 0 else f"{when}, now",
            "",
        )
    yield from _more(found["next"], rows, "barto timers")


def _more(rows: Sequence[object], shown: int, hint: str) -> Iterator[Row]:
    if len(rows) > shown:
        yield _row("", "", f"and {len(rows) - shown} more", "", "", hint)


def _row(kind: str, state: str, schedule: str, worker: str, words: str, hint: str) -> Row:
    return {
        "kind": kind,
        "colour": COLOURS.get(state, ""),
        "schedule": schedule,
        "worker": worker,
        "words": words,
        "hint": hint,
    }
