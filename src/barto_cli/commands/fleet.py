"""The server and its workers: `info`, `clients`, `worker add` and `worker list`."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from barto_cli import times
from barto_cli.client import USAGE, Failure
from barto_cli.given import Given
from barto_cli.render import Column, Format, Listing, Row, Screen, by_state, json_text, many, plain


def info(given: Given, *, as_json: bool) -> None:
    """Version, commit, Python, store and files of the server and of this client.

    The client's are told even where the server cannot be reached.
    """
    from libbarto.message.v2 import cli as wire

    rows = list(_own(given.client.config_file))
    failure = None
    try:
        with given.client.ask(wire.Info()) as answer:
            rows += [{"part": "server", **row} for row in answer.rows]
    except Failure as error:
        failure = error
    if as_json:
        given.write([json_text({_key(row): row["value"] for row in rows}, indent=2)])
    elif given.form is Format.TABLE:
        width = max(len(_title(row)) for row in rows)
        given.write(f"{_title(row):>{width}}: {plain(row['value'])}" for row in rows)
    else:
        given.emit(Listing((), rows, ("part", "category", "label", "value")))
    if failure is not None:
        raise failure


def _own(config_file: str) -> Iterator[dict[str, object]]:
    from libbarto.build_info import build_info

    build = build_info()
    facts = [
        ("build", "Version", build.version),
        ("git", "Commit", build.commit),
        ("git", "Commit Date", build.commit_date),
        ("python", "Version", platform.python_version()),
        ("client", "Configuration", config_file),
    ]
    for category, label, value in facts:
        yield {"part": "client", "category": category, "label": label, "value": value}


def _title(row: Row) -> str:
    category = "" if row["category"] == row["part"] else f" {plain(row['category'])}"
    return f"{plain(row['label'])} ({plain(row['part'])}{category})"


def _key(row: Row) -> str:
    """The name of a fact in JSON: `<category>_<label>` for the server's, as in barto 1.x."""
    name = f"{row['category']}_{row['label']}".lower().replace(" ", "_")
    return name if row["part"] == "server" else f"client_{name.removeprefix('client_')}"


def clients(given: Given, *, versions: bool) -> None:
    """Every worker that the server knows; with `versions`, only which barto each runs."""
    from libbarto.message.v2 import cli as wire

    with given.client.ask(wire.Clients()) as answer:
        rows = list(answer.rows)
    if versions:
        columns = [Column("name", "WORKER", useful=6), Column("version", "VERSION", useful=5)]
        rows = [{"name": row["name"], "version": row["version"]} for row in rows]
        given.emit(Listing(columns, rows, ("name", "version")))
    else:
        alarm = any(row["alarm"] for row in rows)
        given.emit(Listing(client_columns(given.screen, alarm=alarm), rows, answer.columns))
    _total(given, rows)


def client_columns(screen: Screen, *, alarm: bool) -> list[Column]:
    """The columns of `clients`."""
    return [
        Column("name", "WORKER", useful=9),
        Column("state", "STATE", colour=by_state("state"), least=None),
        Column("since", f"SINCE ({screen.zone.name})", lambda row: _since(screen, row), least=None),
        Column("address", "ADDRESS", useful=5),
        Column("os", "OS", _os, useful=3),
        Column("kernel", "KERNEL", useful=1, least=6, spare=True),
        Column("version", "BARTO", useful=6, least=6),
        Column("labels", "LABELS", useful=2, least=6),
        *([Column("alarm", "ALARM", useful=8)] if alarm else []),
    ]


def _os(row: Row) -> str:
    return " ".join(filter(None, (plain(row.get("os")), plain(row.get("os_version")))))


def _since(screen: Screen, row: Row) -> str:
    moment = row.get("since") or row.get("last_seen")
    return screen.time(moment) if isinstance(moment, datetime) else ""


def _total(given: Given, rows: list[Row] | list[dict[str, object]]) -> None:
    if given.for_people:
        how_to = "" if rows else "; add one with `barto worker add NAME`"
        given.note(f"{many(len(rows), 'worker')}{how_to}")


def worker_add(given: Given, name: str, labels: Iterable[str]) -> None:
    """Print the one line to run on the host that is to be the worker `name`."""
    from libbarto.message.v2 import cli as wire

    request = wire.WorkerAdd(name=name, labels=dict(map(_label, labels)))
    with given.client.ask(request) as answer:
        rows = list(answer.rows)
        note = answer.end.note
    if given.for_people:
        given.note(f"on the host that is to be {name}, run:")
        given.write(str(row["command"]) for row in rows)
    else:
        given.emit(Listing((), rows, answer.columns))
    given.note(note)


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Failure(USAGE, f'a label is written key=value, got "{text}"')
    return key, value


def worker_list(given: Given) -> None:
    """Every worker: whether it is here, its clock, its labels."""
    rows: list[dict[str, Any]] = given.client.get("/api/v1/workers")["workers"]
    keys = (
        *("name", "uid", "connected", "since", "last_seen", "first_seen", "address", "version"),
        *("clock_offset_seconds", "generation", "labels", "facts", "alarm"),
    )
    given.emit(Listing(worker_columns(given.screen, rows), rows, keys))
    _total(given, rows)


def worker_columns(screen: Screen, rows: Sequence[Row]) -> list[Column]:
    """The columns of a table of workers."""
    return [
        Column("name", "WORKER", useful=9),
        Column("connected", "STATE", _state, colour=_state_colour, least=None),
        Column("since", f"SINCE ({screen.zone.name})", lambda row: _seen(screen, row), least=None),
        Column("address", "ADDRESS", useful=5),
        Column("version", "BARTO", useful=6, least=6),
        Column("clock_offset_seconds", "CLOCK", _clock, right=True, least=None),
        Column("generation", "SET", right=True, least=None),
        Column("labels", "LABELS", useful=2, least=6),
        *([Column("alarm", "ALARM", useful=8)] if any(row["alarm"] for row in rows) else []),
    ]


def worker_reset(given: Given, name: str, *, yes: bool, dry_run: bool, reason: str) -> None:
    """Let a worker come back that was refused, after asking. Raises `Failure` where nobody is there
    to be asked."""
    path = f"/api/v1/workers/{quote(name, safe='')}/reset"
    if dry_run or not yes:
        plan = given.client.post(path, {"dry_run": True})
        given.note(f"{name} was {plan['alarm']}" if plan["alarm"] else f"{name} was not refused")
        given.note("it begins a new spool; what was due before is not caught up")
        if dry_run:
            return
        if not given.ask:
            raise Failure(USAGE, f"this would reset {name}; without a terminal say --yes")
        if not given.agreed(f"reset {name}? Is every copy of it stopped?"):
            given.note("nothing was done")
            return
    answer = given.client.post(path, {"reason": reason})
    if given.for_people:
        given.note(f"{name} is reset: it comes back by itself within seconds")
    else:
        keys = ("worker", "connected", "alarm", "done")
        given.emit(Listing((), [answer], keys))


def _state(row: Row) -> str:
    return "connected" if row["connected"] else "away"


def _state_colour(row: Row) -> str | None:
    return by_state("state")({"state": _state(row)})


def _seen(screen: Screen, row: Row) -> str:
    return screen.time(times.read(str(row["since"] or row["last_seen"])))


def _clock(row: Row) -> str:
    offset = row["clock_offset_seconds"]
    if not isinstance(offset, float | int):
        return ""
    sign = "" if abs(offset) < 0.001 else "+" if offset > 0 else "-"
    return f"{sign}{times.duration(abs(offset))}"
