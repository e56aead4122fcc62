"""The commands of barto 1.x about what is stored: `query`, `cleanup` and `updates`."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from barto_cli import times
from barto_cli.client import USAGE, Failure
from barto_cli.given import Given
from barto_cli.render import Column, Listing, Row, Screen, many, plain
from libbarto.message.v2 import cli as wire

KINDS: Final = {kind.name.lower(): kind for kind in wire.UpdateKind}


def query(given: Given, sql: str) -> None:
    """One SELECT of the operator's, whatever its columns are."""
    with given.client.ask(wire.Query(query=sql)) as answer:
        rows = list(answer.rows) if given.for_people else answer.rows
        keys = list(rows[0]) if isinstance(rows, list) and rows else list(answer.columns)
        columns = [_query_column(given.screen, key, rows) for key in keys]
        given.emit(Listing(columns, rows, keys))
        note = answer.end.note
    if given.for_people:
        count = len(rows) if isinstance(rows, list) else 0
        given.note(many(count, "row") + (f"; {note}" if note else ""))
    else:
        given.note(note)


def _query_column(screen: Screen, key: str, rows: object) -> Column:
    def show(row: Row) -> str:
        value = row[key]
        if isinstance(value, datetime):
            return f"{screen.time(value)} {screen.zone.name}"
        return "NULL" if value is None else plain(value)

    held = rows if isinstance(rows, list) else []
    numbers = any(isinstance(row[key], int | float) for row in held)
    return Column(key, plain(key), show, right=numbers)


def cleanup(given: Given, *, older_than: str | None, yes: bool, dry_run: bool) -> None:
    """Apply the retention now; with `older_than`, say what would go, ask, and let it go."""
    from libbarto.quantity import parse_duration

    age = None if older_than is None else round(parse_duration(older_than) * 1e6)
    if age is not None and not yes and not dry_run:
        counted = _clean(given, age, dry_run=True)
        question = f"drop {_counts(counted)}, ended more than {older_than} ago?"
        if not given.ask:
            raise Failure(USAGE, f"this would {question[:-1]}; without a terminal say --yes")
        if not given.agreed(question):
            given.note("nothing was dropped")
            return
    row = _clean(given, age, dry_run=dry_run)
    if given.for_people:
        would = "would be" if dry_run else "were"
        workers = many(row["workers"], "worker")
        asked = f"{'would ask' if dry_run else 'asked'} {workers} to clean up, too"
        given.write([f"{_counts(row)} {would} dropped; {asked}"])
    else:
        given.emit(Listing((), [row], list(row)))


def _clean(given: Given, age: int | None, *, dry_run: bool) -> dict[str, object]:
    with given.client.ask(wire.Cleanup(older_than_us=age, dry_run=dry_run)) as answer:
        return next(iter(list(answer.rows)))


def _counts(row: Row) -> str:
    size = times.size(int(str(row["output_bytes"])))
    return (
        f"{many(row['runs'], 'run')}, {many(row['output_rows'], 'chunk')} of output ({size}) "
        f"and {many(row['status_rows'], 'exit status')}"
    )


def updates(given: Given, name: str, kind: str) -> None:
    """The packages that a worker's newest update check named."""
    with given.client.ask(wire.Updates(name=name, kind=KINDS[kind])) as answer:
        rows = list(answer.rows)
        note = answer.end.note
    given.emit(Listing(update_columns(rows), rows, answer.columns))
    given.note(note)
    if given.for_people:
        given.note(_sum(given.screen, rows))


def update_columns(rows: list[dict[str, object]]) -> list[Column]:
    """The columns of `updates`."""
    columns = [
        Column("package", "PACKAGE", useful=9),
        Column("channel", "CHANNEL", useful=3),
        Column("old_version", "OLD", useful=4),
        Column("new_version", "NEW", useful=5),
        Column(
            "net_bytes", "SIZE CHANGE", lambda row: _size(row["net_bytes"]), right=True, least=None
        ),
        Column(
            "download_bytes",
            "DOWNLOAD",
            lambda row: _size(row["download_bytes"]),
            right=True,
            least=None,
        ),
    ]
    # A check that does not tell sizes or channels has no columns for them.
    return [
        column
        for column in columns
        if column.key == "package" or any(row[column.key] is not None for row in rows)
    ]


def _size(value: object) -> str:
    return times.size(value) if isinstance(value, int) else ""


def _sum(screen: Screen, rows: list[dict[str, object]]) -> str:
    if not rows:
        return "nothing to update"
    first = rows[0]
    said = [many(len(rows), "package")]
    for key, words in (
        ("total_download_bytes", "to download"),
        ("total_installed_bytes", "installed"),
        ("total_net_bytes", "net"),
    ):
        if first[key] is not None:
            said.append(f"{_size(first[key])} {words}")
    if isinstance(first["checked"], datetime):
        said.append(f"checked {screen.time(first['checked'])} ({screen.zone.name})")
    return ", ".join(said)
