"""What happens now? The command `watch`: a live screen, or a line for each event in a pipe.

Ctrl-C ends it with 130, as it ends everything that goes on; `q` on the screen with 0.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from barto_cli import times
from barto_cli.client import UNREACHABLE, USAGE, Client, Failure
from barto_cli.commands.history import outcome, run_columns
from barto_cli.commands.naming import is_schedule, unknown
from barto_cli.commands.status import status_lines
from barto_cli.events import Event, events
from barto_cli.given import Given
from barto_cli.render import (
    COLOURS,
    DIM,
    Format,
    Row,
    Screen,
    cut,
    json_text,
    plain,
    short_ids,
    table,
)
from libbarto.harmless import safe

Json = Mapping[str, Any]

RETRY_FIRST_S: Final = 1.0
RETRY_MOST_S: Final = 15.0
STATUS_S: Final = 2.0
"""The status is read anew this often at most, where something has happened."""
STATUS_MOST_S: Final = 20.0
REDRAW_S: Final = 1.0
QUICKEST_S: Final = 0.2
KEPT: Final = 100
TOLD: Final = 4096
"""So many runs are remembered, of which it was told that they started or ended."""

OPEN: Final = "\x1b[?1049h\x1b[?25l"
CLOSE: Final = "\x1b[?25h\x1b[?1049l"
HOME: Final = "\x1b[H"
TO_LINE_END: Final = "\x1b[K"
TO_END: Final = "\x1b[J"


def watch(given: Given, schedule: str | None, worker: str | None) -> None:
    """Show what happens until interrupted, or until `q` is typed."""
    if given.form is Format.CSV:
        raise Failure(USAGE, "watch has no csv; -o jsonl has a line for each event")
    if schedule is not None and not is_schedule(given, schedule):
        raise unknown(given, schedule)
    query = {"schedule": schedule, "worker": worker}
    given.progress.stop()
    terminal = given.screen.terminal and os.environ.get("TERM") != "dumb"
    if given.form is Format.TABLE and terminal and sys.stdin.isatty():
        _Live(given, query).run()
        return
    teller = Teller()
    for event in _stream(given, given.client, query):
        if given.form is not Format.TABLE:
            given.write([json_text({"event": event.kind, "data": event.data})])
            continue
        told = teller.told(event)
        if told is not None:
            screen = replace(given.screen, now=datetime.now(UTC))
            given.write([line(told, screen)])


def _stream(given: Given, client: Client, query: Mapping[str, object]) -> Iterator[Event]:
    """What happens, from the server and from the next one that takes its place."""
    last, pause, connected = "", RETRY_FIRST_S, False
    while True:
        try:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
            with client.open("/api/v1/events", query, headers=headers) as body:
                if connected and pause > RETRY_FIRST_S:
                    given.note("the server is there again")
                connected, pause = True, RETRY_FIRST_S
                for event in events(body.pieces):
                    last = event.id or last
                    yield event
        except Failure as error:
            if not connected or error.exit_code != UNREACHABLE:
                raise
            if pause == RETRY_FIRST_S:
                given.note(f"{error}; trying again")
        else:
            continue  # it ended as agreed, and goes on where it was
        time.sleep(pause)
        pause = min(RETRY_MOST_S, pause * 2)


# -- in words -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """An event for people; `state` gives shape and colour."""

    at: datetime
    worker: str
    schedule: str
    words: str
    state: str = ""
    run: str = ""


class Teller:
    """Tells of each run once that it started and once that it ended."""

    def __init__(self) -> None:
        self._started: dict[str, None] = {}
        self._ended: dict[str, None] = {}

    def told(self, event: Event) -> Told | None:
        """What a person should read of it, if anything."""
        data = event.data
        match event.kind:
            case "run":
                return self._run(data)
            case "range":
                words = outcome({**data, "exit_code": None, "signal": None})
                at = times.read(data["decided"])
                return Told(at, data["worker"], data["schedule"], words, data["verdict"])
            case "worker":
                here = data["connected"]
                at = times.read(data["since"] if here else data["last_seen"])
                state = "connected" if here else "away"
                words = f"{state}: {data['alarm']}" if data["alarm"] else state
                return Told(at, data["name"], "", words, state)
            case "schedules":
                return Told(datetime.now(UTC), "", ", ".join(data["schedules"]), "changed")
            case "pauses":
                names = ", ".join("all" if it == "*" else it for it in data["schedules"])
                words = f"paused: {names}" if names else "nothing is paused any more"
                return Told(datetime.now(UTC), "", "", words, "paused" if names else "")
            case _:
                return None

    def _run(self, run: Json) -> Told | None:
        key = f"{run['id']} {run['attempt']}"
        if run["verdict"] is not None:
            if not _first(self._ended, key):
                return None
            words = outcome(run)
            if isinstance(run["seconds"], int | float):
                words += f" after {times.duration(run['seconds'])}"
            at = times.read(run["ended"] or run["claimed"])
            return Told(at, run["worker"], run["schedule"], words, run["verdict"], run["id"])
        if run["started"] is None or not _first(self._started, key):
            return None
        again = f", attempt {run['attempt']}" if run["attempt"] > 1 else ""
        at = times.read(run["started"])
        words = f"started{again}"
        return Told(at, run["worker"], run["schedule"], words, "running", run["id"])


def _first(seen: dict[str, None], key: str) -> bool:
    """Whether it is told for the first time; the oldest are forgotten."""
    if key in seen:
        return False
    seen[key] = None
    if len(seen) > TOLD:
        del seen[next(iter(seen))]
    return True


def line(told: Told, screen: Screen) -> str:
    """An event as one line."""
    words = screen.paint(screen.shape(told.state) + plain(told.words), COLOURS.get(told.state))
    whose = "  ".join(filter(None, (plain(told.worker), plain(told.schedule))))
    run = f"  {short_ids([told.run])[told.run]}" if told.run else ""
    return f"{screen.time(told.at)}  {whose}{'  ' if whose else ''}{words}{run}"


# -- live -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Live:
    """The screen that is drawn anew."""

    given: Given
    query: Mapping[str, object]
    _ends: deque[Row] = field(default_factory=lambda: deque(maxlen=KEPT))
    _told: Teller = field(default_factory=Teller)
    _status: Json | None = None
    _read_at: float = 0.0
    _fresh: bool = False
    _failure: str = ""

    def run(self) -> None:
        """Until `q`, or interrupted."""
        self._read()
        heard, tell = os.pipe()
        arrived: deque[Event | Failure] = deque(maxlen=10_000)
        reader = threading.Thread(target=self._listen, args=(arrived, tell), daemon=True)
        with _own_terminal(self.given):
            reader.start()
            while True:
                self._draw()
                drawn = time.monotonic()
                ready, _, _ = select.select([sys.stdin, heard], [], [], REDRAW_S)
                if sys.stdin in ready and os.read(sys.stdin.fileno(), 64)[:1] in {b"q", b"Q", b""}:
                    return
                if heard in ready:
                    os.read(heard, 4096)
                    # A flood of events is drawn a few times in a second, not for each.
                    time.sleep(max(0.0, QUICKEST_S - (time.monotonic() - drawn)))
                while arrived:
                    self._take(arrived.popleft())
                self._read_again()

    def _listen(self, arrived: deque[Event | Failure], tell: int) -> None:
        """In a thread of its own, over a connection of its own."""
        quiet = replace(self.given, quiet=True)
        try:
            for event in _stream(quiet, self.given.client.twin(), self.query):
                arrived.append(event)
                os.write(tell, b".")
        except Failure as error:
            arrived.append(error)
            os.write(tell, b".")

    def _take(self, event: Event | Failure) -> None:
        if isinstance(event, Failure):
            self._failure = str(event)
            return
        self._fresh = True
        told = self._told.told(event)
        if told is not None and event.kind == "run" and event.data["verdict"] is not None:
            self._ends.appendleft(event.data)

    def _read_again(self) -> None:
        since = time.monotonic() - self._read_at
        if since > STATUS_MOST_S or (self._fresh and since > STATUS_S):
            try:
                self._read()
                self._failure = ""
            except Failure as error:
                self._failure = str(error)
                self._read_at = time.monotonic()

    def _read(self) -> None:
        self._status = self.given.client.get("/api/v1/status")
        self._read_at, self._fresh = time.monotonic(), False

    def _draw(self) -> None:
        columns, rows = shutil.get_terminal_size()
        screen = replace(self.given.screen, now=datetime.now(UTC), width=columns)
        lines = [*self._lines(screen, rows)][:rows]
        drawn = f"{TO_LINE_END}\r\n".join(lines)
        self.given.out.write(f"{HOME}{drawn}{TO_LINE_END}{TO_END}")
        self.given.out.flush()

    def _lines(self, screen: Screen, rows: int) -> Iterator[str]:
        assert self._status is not None
        here = screen.time(screen.now)
        assert screen.width is not None
        yield screen.paint(cut(f"{here} {screen.zone.name}   q ends", screen.width), DIM)
        if self._failure:
            yield screen.paint(cut(safe(self._failure), screen.width), COLOURS["failed"])
        shown = [*status_lines(self._status, screen, max(2, (rows - 12) // 4))]
        shown = shown[: max(4, rows - 6)]
        yield from shown
        ends = list(self._ends)[: max(0, rows - len(shown) - 4)]
        yield ""
        yield from table(run_columns(screen, ends), ends, screen)


@contextlib.contextmanager
def _own_terminal(given: Given) -> Iterator[None]:
    """A screen of one's own, on which keys come at once; afterwards all is as it was."""
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    # Who is told to end gives the screen back, too.
    handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    given.out.write(OPEN)
    given.out.flush()
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        given.out.write(CLOSE)
        given.out.flush()
