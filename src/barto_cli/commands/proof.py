"""Is anything missing from the history? `verify`, `give-up`, and the check of a run's output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from barto_cli import times
from barto_cli.client import ERROR, USAGE, Failure
from barto_cli.given import Given
from barto_cli.render import (
    COLOURS,
    Column,
    Format,
    Listing,
    Row,
    Screen,
    json_text,
    many,
    plain,
    table,
)

Json = Mapping[str, Any]

SHOWN: Final = 50
"""So many faults are shown to people; programs get all that the server lists."""
KEYS: Final = (
    *("verdict", "reason", "count", "fault", "schedule", "worker", "first", "last", "text"),
)
ORDER: Final = (
    *("ok", "running", "waiting", "failed", "timed_out", "cancelled", "interrupted"),
    *("skipped", "missed", "late", "unknown", "lost"),
)


# -- verify ---------------------------------------------------------------------------------------


def verify(
    given: Given,
    schedule: str | None,
    *,
    worker: str | None,
    since: str | None,
    until: str | None,
) -> int:
    """Prove that every planned start has one line; returns the exit code, 1 where it is not so."""
    query = _query(given, schedule, worker, since, until)
    pairs = ordered = total = 0
    counts: Counter[tuple[str, str]] = Counter()
    faults: list[Json] = []
    cursor: object = None
    while True:
        page = given.client.get("/api/v1/verify", {**query, "cursor": cursor})
        pairs += page["pairs"]
        ordered += page.get("ordered", 0)
        total += page["faults_total"]
        faults += page["faults"]
        for one in page["counts"]:
            counts[one["verdict"], one["reason"]] += one["count"]
        given.progress.say("planned starts looked at", counts.total())
        cursor = page["next"]
        if cursor is None:
            break
    rows = [
        {"verdict": verdict, "reason": reason, "count": count}
        for (verdict, reason), count in sorted(counts.items(), key=_by_word)
    ]
    _tell(given, pairs, ordered, rows, faults, total)
    return ERROR if total else 0


def _by_word(one: tuple[tuple[str, str], int]) -> tuple[int, str, int]:
    (verdict, _), count = one
    place = ORDER.index(verdict) if verdict in ORDER else len(ORDER)
    return place, verdict, -count


def _query(
    given: Given, schedule: str | None, worker: str | None, since: str | None, until: str | None
) -> dict[str, object]:
    now, zone = given.screen.now, given.screen.zone
    return {
        "schedule": schedule,
        "worker": worker,
        "since": None if since is None else times.rfc3339(times.when(since, now, zone)),
        "until": None if until is None else times.rfc3339(times.when(until, now, zone)),
    }


def _tell(
    given: Given, pairs: int, ordered: int, rows: Sequence[Row], faults: Sequence[Json], total: int
) -> None:
    planned = sum(int(str(row["count"])) for row in rows)
    if given.form is Format.JSON:
        proof = {
            "proven": not total,
            "pairs": pairs,
            "ordered": ordered,
            "planned": planned,
            "counts": list(rows),
            "faults": list(faults),
            "faults_total": total,
        }
        given.write([json_text(proof, indent=2)])
        return
    if not given.for_people:
        given.emit(Listing((), [*rows, *faults], KEYS))
        return
    given.write(table(count_columns(), rows, given.screen))
    if faults:
        given.write(["", *table(fault_columns(given.screen), faults[:SHOWN], given.screen)])
    places = many(pairs, "schedule on a worker") if pairs == 1 else f"{pairs} schedules on workers"
    starts = many(planned, "planned start")
    if ordered:
        starts += f", {ordered} of them given out by the server"
    if not total:
        given.note(f"{places}, {starts}: each has exactly one line")
    else:
        left = f", of which {SHOWN} are shown" if total > SHOWN else ""
        given.note(f"{places}, {starts}: {many(total, 'fault')}{left}")


def count_columns() -> list[Column]:
    """The columns of the counts of `verify`."""
    return [
        Column("count", "COUNT", right=True, least=None),
        Column("verdict", "VERDICT", _word, least=None, colour=_colour),
        Column("reason", "WHY", useful=2),
    ]


def _word(row: Row) -> str:
    return plain(row["verdict"]).replace("_", " ")


def _colour(row: Row) -> str | None:
    return COLOURS.get(str(row["verdict"]))


def fault_columns(screen: Screen) -> list[Column]:
    """The columns of what `verify` found to be wrong."""
    return [
        Column("fault", "FAULT", least=None),
        Column("schedule", "SCHEDULE", useful=6, least=12),
        Column("worker", "WORKER", useful=5),
        Column("first", f"WHEN ({screen.zone.name})", lambda row: _when(screen, row), least=None),
        Column("count", "COUNT", right=True, least=None),
        Column("text", "WHAT", useful=2),
    ]


def _when(screen: Screen, row: Row) -> str:
    first = screen.time(times.read(str(row["first"])))
    if row["last"] == row["first"]:
        return first
    return f"{first} to {screen.time(times.read(str(row['last'])))}"


# -- give-up --------------------------------------------------------------------------------------


def give_up(
    given: Given,
    schedule: str | None,
    *,
    worker: str | None,
    since: str | None,
    until: str | None,
    yes: bool,
    dry_run: bool,
) -> None:
    """Count unknown planned starts as lost, after asking."""
    if schedule is None and worker is None:
        raise Failure(USAGE, "say of which schedule, or with --worker of which worker")
    asked = _query(given, schedule, worker, since, until)
    plan = given.client.post("/api/v1/give-up", {**asked, "dry_run": True})
    starts = many(plan["count"], "planned start")
    if dry_run or not plan["count"]:
        _show_given_up(given, plan, f"{starts} would be lost")
        return
    if not yes:
        question = f"count {starts} as lost?"
        if not given.ask:
            raise Failure(USAGE, f"this would {question[:-1]}; without a terminal say --yes")
        if given.for_people:
            _show_given_up(given, plan, "")
        if not given.agreed(question):
            given.note("nothing was done")
            return
    done = given.client.post("/api/v1/give-up", {**asked, "dry_run": False})
    _show_given_up(given, done, f"{many(done['count'], 'planned start')} are lost")


def _show_given_up(given: Given, answer: Json, note: str) -> None:
    if given.form is Format.JSON:
        given.write([json_text(answer, indent=2)])
        return
    screen = given.screen
    columns = [
        Column("first", f"WHEN ({screen.zone.name})", lambda row: _when(screen, row), least=None),
        Column("worker", "WORKER", useful=5),
        Column("schedule", "SCHEDULE", useful=6, least=12),
        Column("count", "COUNT", right=True, least=None),
        Column("was", "WAS", _was, useful=2),
    ]
    keys = ("first", "last", "worker", "schedule", "count", "verdict", "reason", "run")
    given.emit(Listing(columns, answer["starts"], keys))
    if given.for_people:
        given.note(note)


def _was(row: Row) -> str:
    word = plain(row["verdict"])
    return "unknown" if word == "lost" else word


# -- show --check ---------------------------------------------------------------------------------


def check(given: Given, run: str) -> int:
    """Compare a run's stored output with what it printed; returns the exit code."""
    if not run:
        raise Failure(USAGE, "which run? Give an id, its beginning, or @last")
    found = given.client.get(f"/api/v1/runs/{quote(run, safe='@')}/check")
    if given.form is Format.JSON:
        given.write([json_text(found, indent=2)])
    else:
        keys = ("stream", "printed_bytes", "stored_bytes", "same")
        given.emit(Listing(_check_columns(), found["streams"], keys))
    if given.for_people:
        given.note(f"run {found['run']}: {'; '.join(_said(found))}")
    return 0 if found["whole"] else ERROR


def _check_columns() -> list[Column]:
    return [
        Column("stream", "STREAM", least=None),
        Column("printed_bytes", "PRINTED", right=True, least=None),
        Column("stored_bytes", "STORED", right=True, least=None),
        Column("same", "SHA-256", lambda row: _SAME[row["same"]], least=None),
    ]


_SAME: Final[Mapping[object, str]] = {True: "the same", False: "differs", None: "cannot be told"}


def _said(found: Json) -> Iterator[str]:
    if found["whole"]:
        yield "its output is whole" + (", but for what was cut" if found["cut_bytes"] else "")
    if found["cut_bytes"]:
        yield f"{found['cut_bytes']} bytes were cut because of output_max"
    if found["missing_bytes"]:
        yield f"{found['missing_bytes']} bytes are not here"
    if any(one["same"] is False for one in found["streams"]):
        yield "what is stored is not what was printed"
