"""The commands of barto 1.x about runs: `list`, `failed` and `cmd`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain

from barto_cli import times
from barto_cli.client import Table
from barto_cli.commands.history import outcome
from barto_cli.given import Given
from barto_cli.render import COLOURS, DIM, Column, Listing, Row, Screen, plain, short_ids, width_of
from libbarto.message.v2 import cli as wire


def listed(given: Given, name: str, cmd: str | None, limit: int) -> None:
    """The schedules that a worker has run; with `cmd`, that one's runs and all they printed."""
    request = wire.List(name=name, cmd_name=cmd, limit=limit)
    with given.client.ask(request) as answer:
        if cmd is None:
            given.emit(Listing([Column("schedule", "SCHEDULE")], answer.rows, answer.columns))
        else:
            _emit_runs(given, answer, by_worker=False)
        given.note(answer.end.note)


def cmd(given: Given, cmd: str, limit: int) -> None:
    """The runs of a schedule on every worker, and all they printed."""
    with given.client.ask(wire.Cmd(cmd_name=cmd, limit=limit)) as answer:
        _emit_runs(given, answer, by_worker=True)
        given.note(answer.end.note)


def failed(given: Given, limit: int) -> None:
    """Runs that did not end ok, newest first: a row each, however much they printed."""
    with given.client.ask(wire.FailedRuns(limit=limit)) as answer:
        rows = list(answer.rows)
        given.emit(Listing(failed_columns(given.screen, rows), rows, answer.columns))
        given.note(answer.end.note)
    if not rows and given.for_people:
        given.note("nothing failed")


def failed_columns(screen: Screen, rows: Iterable[Row]) -> list[Column]:
    """The columns of `failed`."""
    ids = short_ids(str(row["run"]) for row in rows)
    return [
        Column("slot", f"WHEN ({screen.zone.name})", lambda row: _time(screen, row), least=None),
        Column("worker", "WORKER", useful=3),
        Column("schedule", "SCHEDULE", useful=4, least=12),
        Column("verdict", "VERDICT", outcome, useful=2, least=14, colour=_colour),
        Column("steps", "STEPS", useful=1, least=7),
        Column("run", "RUN", lambda row: ids[str(row["run"])], least=None),
    ]


def _emit_runs(given: Given, answer: Table, *, by_worker: bool) -> None:
    if given.for_people:
        given.write(with_separators(given.screen, answer.rows, by_worker=by_worker))
    else:
        given.emit(Listing((), answer.rows, answer.columns))


def with_separators(screen: Screen, rows: Iterator[Row], *, by_worker: bool) -> Iterator[str]:
    """A line about each run, then what it printed; with `by_worker` one about each worker, too."""
    run: object = None
    worker: object = None
    first = next(rows, None)
    if first is None:
        return
    yield screen.paint(f"times in {screen.zone.name}", DIM)
    for row in chain([first], rows):
        if by_worker and row["worker"] != worker:
            worker = row["worker"]
            yield ""
            yield screen.paint(f"== {plain(worker)} ==", "1")
        if row["run"] != run:
            run = row["run"]
            yield ""
            yield _separator(screen, row)
        if row["line"] is not None:
            mark = screen.paint("! ", "2") if row["stream"] == "stderr" else "  "
            yield mark + plain(row["line"])


def _separator(screen: Screen, row: Row) -> str:
    """The line about a run; its steps only where there is room for them."""
    words = outcome(row)
    after = []
    if isinstance(row["started"], datetime) and isinstance(row["ended"], datetime):
        after.append(times.duration((row["ended"] - row["started"]).total_seconds()))
    after.append(short_ids([str(row["run"])])[str(row["run"])])
    steps = [plain(row["steps"])] if "," in str(row["steps"] or "") else []
    whole = "  ".join([_time(screen, row), words, *steps, *after])
    if screen.width is not None and width_of(whole) + 3 > screen.width:
        steps = []
    painted = screen.paint(words, _colour(row))
    return "-- " + "  ".join([_time(screen, row), painted, *steps, *after])


def _colour(row: Row) -> str | None:
    return COLOURS.get(str(row["verdict"]))


def _time(screen: Screen, row: Row) -> str:
    slot = row["slot"]
    return screen.time(slot) if isinstance(slot, datetime) else ""
