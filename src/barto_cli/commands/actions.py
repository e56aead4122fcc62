"""What operators do: `run`, `rerun`, `exec`, `cancel`, `pause`, `resume`, `drain` and `undrain`.

Whatever means more than one worker is shown first, and done when a person has said yes. Each says
how many of the workers that are meant have confirmed.
"""

from __future__ import annotations

import re
import shlex
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from barto_cli import times
from barto_cli.client import ERROR, NO_SUCH_THING, USAGE, Failure
from barto_cli.given import Given
from barto_cli.render import Column, Format, Listing, Row, Screen, json_text, many, plain, short_ids

Json = Mapping[str, Any]

WAIT_S: Final = 45.0
"""How long `--wait` waits; without it the answer comes after a second."""
IDLE_LOOK_S: Final = 0.5
SHOWN: Final = 20
"""So many workers are shown where a person is asked; of more only the number."""
_RUN: Final = re.compile(r"@last|[0-9A-Fa-f-]+")
KEYS: Final = ("worker", "state", "run", "verdict", "reason")


@dataclass(frozen=True, slots=True)
class How:
    """How an action is to be done."""

    yes: bool = False
    dry_run: bool = False
    wait: bool = False
    reason: str = ""

    def said(self, **more: object) -> dict[str, object]:
        """What the server is told."""
        wait = {"wait": WAIT_S} if self.wait else {}
        return {"reason": self.reason, **wait, **more}


# -- starts ---------------------------------------------------------------------------------------


def run(
    given: Given, schedule: str, on: str | None, how: How, *, follow: bool, exit_status: bool
) -> int:
    """Have a schedule run now; returns the exit code."""
    said: dict[str, object] = {"schedule": schedule, "on": on}
    return _start(given, "/api/v1/runs", said, f"run {schedule}", how, follow, exit_status)


def rerun(
    given: Given, what: str, how: How, *, failed: bool, follow: bool, exit_status: bool
) -> int:
    """Make a run once more, or (`failed`) all that failed of a schedule's last planned start."""
    run = _last_run(given, what) if failed else what
    path = f"/api/v1/runs/{quote(run, safe='@')}/rerun"
    words = f"run again what failed of {what}" if failed else f"run {what} again"
    return _start(given, path, {"failed": failed}, words, how, follow, exit_status)


def _last_run(given: Given, what: str) -> str:
    """A run of the schedule that `what` names, or of the run that it is."""
    found = given.client.get("/api/v1/runs", {"schedule": what, "limit": 1})["runs"]
    if not found and not _RUN.fullmatch(what):
        from barto_cli.commands.naming import is_schedule, unknown

        if is_schedule(given, what):
            raise Failure(NO_SUCH_THING, f"{plain(what)} has not run")
        raise unknown(given, what, "neither a run nor a schedule is called")
    return str(found[0]["id"]) if found else what


def _start(
    given: Given,
    path: str,
    said: dict[str, object],
    words: str,
    how: How,
    follow: bool,
    exit_status: bool,
) -> int:
    if not _agreed(given, path, said, words, how):
        return 0
    # Named here, so that a try whose answer was lost may be repeated.
    request = str(uuid.uuid4())
    answer = given.client.post(path, how.said(**said, request=request))
    if not (follow or exit_status):
        _show(given, answer)
        return 0
    from barto_cli.commands.following import Follower

    follower = Follower(given, answer, shown=follow)
    follower.until_ended()
    if given.form is Format.JSON:
        given.write([json_text({**answer, "runs": follower.runs()}, indent=2)])
    return ERROR if exit_status and not follower.all_ok else 0


@dataclass(frozen=True, slots=True)
class Command:
    """What `exec` runs: words, of which a single one is a text for the shell. `timeout` as `5m`;
    `shell` is a program that takes a command after `-c`, or "" for /bin/sh."""

    words: Sequence[str]
    timeout: str | None = None
    shell: str = ""

    @property
    def text(self) -> str:
        """The words as one text for the shell: each stays what it is."""
        return self.words[0] if len(self.words) == 1 else shlex.join(self.words)


def execute(
    given: Given, on: str, command: Command, how: How, *, follow: bool, exit_status: bool
) -> int:
    """Run a command on workers, in no schedule; returns the exit code."""
    said: dict[str, object] = {"on": on, "command": command.text}
    if command.shell:
        said["shell"] = [*shlex.split(command.shell), "-c"]
    if command.timeout is not None:
        from libbarto.quantity import parse_duration

        said["timeout"] = parse_duration(command.timeout)
    words = f"run {command.text}"
    return _start(given, "/api/v1/exec", said, words, how, follow, exit_status)


# -- ends -----------------------------------------------------------------------------------------


def cancel(given: Given, what: str, how: How) -> int:
    """End all runs of a schedule, or (where `what` is none's name) a run."""
    path = f"/api/v1/schedules/{quote(what)}/cancel"
    try:
        plan = given.client.post(path, how.said(dry_run=True))
    except Failure as error:
        if error.exit_code != NO_SUCH_THING or not _RUN.fullmatch(what):
            raise
        path = f"/api/v1/runs/{quote(what, safe='@')}/cancel"
        plan = given.client.post(path, how.said(dry_run=True))
    if not _agreed(given, path, {}, f"cancel {what}", how, plan):
        return 0
    answer = given.client.post(path, how.said())
    _show(given, answer, "nothing of it runs" if not answer["meant"] else "")
    return 0


# -- pauses ---------------------------------------------------------------------------------------


def pause(
    given: Given, schedule: str | None, length: str | None, until: str | None, how: How
) -> int:
    """Pause a schedule, or (None) all: so long (`1h`), until a time, or without an end."""
    said = _how_long(given, length, until)
    words = f"pause {schedule or 'all schedules'}"
    return _toggle(given, schedule, "pause", words, said, how)


def resume(given: Given, schedule: str | None, how: How) -> int:
    """End the pause of a schedule, or (None) the one of all."""
    words = f"resume {schedule or 'all schedules'}"
    return _toggle(given, schedule, "resume", words, {}, how)


def _how_long(given: Given, length: str | None, until: str | None) -> dict[str, object]:
    """What `--for` and `--until` tell the server; nothing where it has no end."""
    if length is not None and until is not None:
        raise Failure(USAGE, "say --for or --until, not both")
    if length is not None:
        from libbarto.quantity import parse_duration

        return {"seconds": parse_duration(length)}
    if until is not None:
        return {"until": times.rfc3339(times.coming(until, given.screen.now, given.screen.zone))}
    return {}


def _toggle(
    given: Given,
    schedule: str | None,
    verb: str,
    words: str,
    said: dict[str, object],
    how: How,
) -> int:
    path = f"/api/v1/{verb}" if schedule is None else f"/api/v1/schedules/{quote(schedule)}/{verb}"
    if not _agreed(given, path, said, words, how):
        return 0
    _show(given, given.client.post(path, how.said(**said)))
    return 0


# -- drains ---------------------------------------------------------------------------------------


def drain(given: Given, worker: str, length: str | None, until: str | None, how: How) -> int:
    """Let a worker start nothing: so long (`1h`), until a time, or until it is undrained. With
    `wait`, until nothing runs there any more."""
    said = _how_long(given, length, until)
    path = f"/api/v1/workers/{quote(worker, safe='')}"
    if not _agreed(given, f"{path}/drain", said, f"drain {worker}", how, counted=False):
        return 0
    answer = given.client.post(f"{path}/drain", how.said(**said))
    if how.wait:
        _until_idle(given, path, worker)
    _show(given, answer)
    return 0


def _until_idle(given: Given, path: str, worker: str) -> None:
    """Wait until nothing runs on a worker; how many do is shown meanwhile."""
    most, here = 0, True
    with given.progress.waiting():
        while True:
            found = given.client.get(path)
            running = found["running"]
            if not running:
                return
            if here and not found["connected"]:
                since = given.screen.time(times.read(found["last_seen"]))
                given.note(
                    f"{worker} is offline since {since}: what became of {many(running, 'run')} it "
                    "tells when it is back, which is waited for; the drain holds without that"
                )
            here = found["connected"]
            most = max(most, running)
            words = f"{worker}{'' if here else ' (offline)'}: {many(running, 'run')} to end"
            given.progress.say(words, most - running, most)
            time.sleep(IDLE_LOOK_S)


def undrain(given: Given, worker: str, how: How) -> int:
    """Let a worker start again."""
    path = f"/api/v1/workers/{quote(worker, safe='')}/undrain"
    if not _agreed(given, path, {}, f"undrain {worker}", how, counted=False):
        return 0
    _show(given, given.client.post(path, how.said()))
    return 0


# -- asking, and telling --------------------------------------------------------------------------


def _agreed(
    given: Given,
    path: str,
    said: Mapping[str, object],
    words: str,
    how: How,
    plan: Json | None = None,
    *,
    counted: bool = True,
) -> bool:
    """Show whom it means, and ask where that is more than one; False where nothing is to be done.
    `counted`: on how many workers is said, as `words` do not name the one.

    Raises `Failure` where nobody is there to be asked.
    """
    if how.yes and not how.dry_run:
        return True
    if plan is None:
        plan = given.client.post(path, how.said(**said, dry_run=True))
    if how.dry_run:
        where = f" on {many(plan['meant'], 'worker')}" if counted else ""
        _show(given, plan, f"this would {words}{where}")
        return False
    if plan["meant"] <= 1:
        return True
    question = f"{words} on {many(plan['meant'], 'worker')}?"
    if not given.ask:
        raise Failure(USAGE, f"this would {question[:-1]}; without a terminal say --yes")
    for line in _names(plan):
        given.note(line)
    if given.agreed(question):
        return True
    given.note("nothing was done")
    return False


def _names(plan: Json) -> Iterator[str]:
    workers = plan["workers"]
    for one in workers[:SHOWN]:
        yield f"  {one['worker']}" + ("  offline" if one["state"] == "offline" else "")
    if len(workers) > SHOWN:
        yield f"  and {len(workers) - SHOWN} more"


def _show(given: Given, answer: Json, note: str = "") -> None:
    """What came of it: whole for programs, and for people what is not confirmed yet."""
    if given.form is Format.JSON:
        given.write([json_text(answer, indent=2)])
        return
    rows: Sequence[Row] = answer["workers"]
    if given.for_people and len(rows) > SHOWN:
        rows = [row for row in rows if row["state"] != "confirmed"]
    given.emit(Listing(_columns(given.screen, rows), rows, KEYS))
    if given.for_people:
        given.note(note or f"confirmed by {answer['said']}" if answer["meant"] or note else "done")


def _columns(screen: Screen, rows: Sequence[Row]) -> list[Column]:
    ids = short_ids(str(row["run"]) for row in rows if row.get("run"))
    columns = [
        Column("worker", "WORKER", lambda row: plain(row["worker"]) or "(any)", useful=9),
        Column("state", "STATE", _state, least=None),
    ]
    if ids:
        columns.append(Column("run", "RUN", lambda row: ids.get(str(row["run"]), ""), least=None))
    return columns


def _state(row: Row) -> str:
    words = plain(row["state"])
    if row["verdict"] is not None:
        words = plain(row["verdict"]).replace("_", " ")
    return f"{words}: {plain(row['reason'])}" if row["reason"] else words
