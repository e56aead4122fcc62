"""What ran, and what did not? The commands `runs` and `show`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from barto_cli import times
from barto_cli.client import NO_SUCH_THING, UNREACHABLE, USAGE, Failure
from barto_cli.given import Given
from barto_cli.render import (
    COLOURS,
    DIM,
    Column,
    Listing,
    Row,
    Screen,
    cut,
    plain,
    short_ids,
    table,
    width_of,
)
from libbarto.harmless import as_command
from libbarto.states import state_of

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
    if not rows and (worker or schedule):
        from barto_cli.commands.naming import mistyped

        given.note(mistyped(given, schedule=schedule, worker=worker))
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
    """All about one run: how it ended and why, and what happened when."""
    try:
        found = given.client.get(run_path(run))
    except Failure as failure:
        if failure.exit_code != NO_SUCH_THING or not _waits(given, run):
            raise
        return
    if not given.for_people:
        keys = [key for key in RUN_KEYS if key not in {"count", "last_slot"}]
        given.emit(Listing((), [found], (*keys, "steps", "earlier")))
        return
    given.write(about(given.screen, found, _asked_why(given, found)))


def _waits(given: Given, run: str) -> bool:
    """Tell of a start that has no run, as its worker is away; False where none is named so."""
    from barto_cli.commands.why import not_begun, tell

    found = not_begun(given, run)
    if found is None:
        return False
    if given.for_people:
        tell(given, found)
        return True
    row = {
        **dict.fromkeys((*RUN_KEYS, "steps", "earlier")),
        **{key: found[key] for key in ("slot", "worker", "schedule")},
        "id": found["order"],
        "verdict": found["state"],
        "reason": " ".join(found["because"]),
    }
    keys = [key for key in RUN_KEYS if key not in {"count", "last_slot"}]
    given.emit(Listing((), [row], (*keys, "steps", "earlier")))
    return True


def _asked_why(given: Given, run: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the server makes of a run with which not all is well; nothing where it knows nothing."""
    if state_of("stuck" if run.get("stuck") else run["verdict"]).act == "no":
        return {}
    zone = given.screen.zone.name
    query = {"run": run["id"], "timezone": zone if "/" in zone or zone == "UTC" else None}
    try:
        found: Mapping[str, Any] = given.client.get("/api/v1/why", query)
    except Failure as error:
        if error.exit_code == UNREACHABLE:
            raise
        return {}
    return found


def about(
    screen: Screen, run: Mapping[str, Any], asked: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """What there is to say of a run, for people; `asked` is what the server says of why."""
    asked = asked or {}
    words = screen.shape(run["verdict"]) + outcome(run)
    lines = [
        ("run", plain(run["id"])),
        ("schedule", plain(run["schedule"])),
        ("worker", plain(run["worker"])),
        ("verdict", words),
        ("why", " ".join(map(plain, asked.get("because") or ())) or _why(run)),
        ("planned", f"{screen.time(times.read(run['slot']))} ({screen.zone.name}){_kind(run)}"),
        ("took", times.duration(run["seconds"])),
        ("attempt", plain(run["attempt"])),
        ("output", _printed(run)),
    ]
    for title, text in lines:
        if text:
            yield from _fact(screen, title, text, _colour(run) if title == "verdict" else None)
    for number, text in enumerate(asked.get("lines") or ()):
        lead = screen.paint(f"{'said' if number == 0 else '':>9}", DIM)
        line = plain(text)
        yield f"{lead}  {line if screen.width is None else cut(line, max(8, screen.width - 11))}"
    yield ""
    yield from table(_timeline_columns(screen), timeline(run), screen)
    hints = list(_hints(run))
    if hints:
        yield ""
    for words, command in hints:
        yield screen.paint(f"{words:>9}  {command}", DIM)


def _fact(screen: Screen, title: str, text: str, colour: str | None) -> Iterator[str]:
    """`title  text`, in as many lines as the terminal needs."""
    lines = [text]
    if screen.width is not None and width_of(text) + 11 > screen.width:
        import textwrap

        lines = textwrap.wrap(text, max(20, screen.width - 11))
    for number, line in enumerate(lines):
        lead = screen.paint(f"{title if number == 0 else '':>9}", DIM)
        yield f"{lead}  {screen.paint(line, colour)}"


def _kind(run: Mapping[str, Any]) -> str:
    kind = str(run.get("kind") or "calendar")
    return "" if kind in {"calendar", "interval"} else f", {plain(kind).replace('_', ' ')}"


def _why(run: Mapping[str, Any]) -> str:
    """Why it ended so, in words; nothing where it is well."""
    state = state_of(run["verdict"])
    if run["verdict"] is None:
        return f"seems stuck: {plain(run['stuck'])}" if run.get("stuck") else ""
    if run["verdict"] == "ok":
        return ""
    bad = [step for step in run["steps"] if not step["success"]]
    if bad and run["verdict"] == "failed":
        last = bad[-1]
        return f'step {last["step"]}, "{plain(last["command"])}", ended with {_step_end(last)}'
    return f"{state.means}; {state.advice}" if state.act != "no" else state.means


def _hints(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a person may want to type next."""
    short = short_ids([str(run["id"])])[str(run["id"])]
    if run["stdout_bytes"] or run["stderr_bytes"]:
        yield "printed", f"barto logs {short}"
    if run["verdict"] is None:
        yield "follow", f"barto logs {short} -f"
        yield "end it", f"barto cancel {short}"
    elif state_of(run["verdict"]).act != "no":
        yield "more", as_command("barto", "why", run["schedule"], "--on", run["worker"])
        yield "again", f"barto rerun {short}"


def timeline(run: Mapping[str, Any]) -> list[Row]:
    """What happened when, from the planned start to the end; the steps of all attempts."""
    slot = times.read(run["slot"])

    def row(at: str | None, what: str, **more: object) -> Row:
        after = None if at is None else (times.read(at) - slot).total_seconds()
        empty = {"ended_as": "", "seconds": None, "command": "", "colour": None}
        return {**empty, "at": at, "after": after, "what": what, **more}

    rows = [row(run["slot"], "planned")]
    several = run["attempt"] > 1
    earlier = run.get("earlier") or []
    rows += [_step_row(row, step, several) for step in earlier]
    rows.append(row(run["claimed"], f"claimed, attempt {run['attempt']}" if several else "claimed"))
    if run["started"]:
        rows.append(row(run["started"], "started"))
    rows += [_step_row(row, step, several=False) for step in run["steps"]]
    if run["ended"]:
        rows.append(
            row(
                run["ended"],
                "ended",
                ended_as=outcome({**run, "reason": ""}),
                seconds=run["seconds"],
                colour=run["verdict"],
            )
        )
    return rows


def _step_row(row: Callable[..., Row], step: Mapping[str, Any], several: bool) -> Row:
    what = f"step {step['step']}"
    if several:
        what += f", attempt {step['attempt']}"
    return row(
        step["started"] or step["ended"],
        what,
        ended_as=_step_end(step),
        seconds=step["seconds"],
        command=step["command"],
        colour="ok" if step["success"] else "failed",
    )


def _timeline_columns(screen: Screen) -> list[Column]:
    return [
        Column("at", "AT", lambda row: _at(screen, row), least=None),
        Column("after", "AFTER", _after, right=True, least=None),
        Column("what", "WHAT", least=None),
        Column(
            "ended_as",
            "ENDED",
            useful=6,
            least=10,
            colour=lambda row: COLOURS.get(str(row["colour"])),
        ),
        Column("seconds", "TOOK", _took, right=True, least=None),
        Column("command", "COMMAND", useful=1, spare=True),
    ]


def _at(screen: Screen, row: Row) -> str:
    if not row["at"]:
        return ""
    moment = times.read(str(row["at"]))
    return f"{moment.astimezone(screen.zone.rules):%H:%M:%S}.{moment.microsecond // 1000:03}"


def _after(row: Row) -> str:
    after = row["after"]
    return f"+{times.duration(after)}" if isinstance(after, float) and after >= 0 else ""


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
