"""A whole barto of real processes: a server, workers that joined it, and their commands.

It answers one question: how does a test have bartos and bartoc as a user has them, each with files
of its own, killable, and none left behind?

    with Fleet() as fleet:
        fleet.start_server()
        vader = fleet.join("vader")
        vader.start()
        run = fleet.run_once("hello", "vader", ["echo hello"])
        assert fleet.output(run["id"]) == b"hello\\n"
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

from libbarto.toml_text import toml_text
from tests.mariadb import free_port

T = TypeVar("T")
Json = dict[str, Any]

BIN = Path(sys.executable).parent
PATIENCE_S = 30.0
POLL_S = 0.02
LEAD_S = 1.5
"""How far ahead a single start is planned: until then its worker has its new set."""


class Process:
    """A program in the foreground, with its standard output and error in a file."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.command = list(command)
        self.log_file = log
        self.variables = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, also once more; what it says is added to the same file."""
        assert not self.is_running(), "it runs already"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests; they pass it on
            )

    @property
    def pid(self) -> int:
        """The id of the process that was started last."""
        assert self._process is not None, "it was never started"
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it said, over all its starts."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def is_running(self) -> bool:
        """Is it alive?"""
        return self._process is not None and self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, at once, in the midst of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ends(self, number: signal.Signals, seconds: float = PATIENCE_S) -> int:
        """Send it a signal; its exit code, when it has left."""
        self.send(number)
        return self.wait(seconds)

    def wait(self, seconds: float = PATIENCE_S) -> int:
        """Its exit code, when it has left."""
        assert self._process is not None
        return self._process.wait(seconds)


class Worker(Process):
    """A bartoc with a state directory of its own."""

    def __init__(self, fleet: Fleet, name: str, home: Path) -> None:
        self.name = name
        self.home = home
        self.state = home / "state"
        self.config = home / "bartoc.toml"
        super().__init__(self.bartoc(), home / "bartoc.log", fleet.environment(home))
        self.environment = fleet.environment(home)

    def bartoc(self, *arguments: str) -> list[str]:
        """The command line of its bartoc."""
        files = ("--config", str(self.config), "--state-dir", str(self.state))
        return [str(BIN / "bartoc"), *files, *arguments]

    def says(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What a command of bartoc prints on this host."""
        return says(self.bartoc(*arguments), self.environment)


class Fleet:
    """A directory of its own, a bartos in it, and workers by name."""

    def __init__(self, settings: str = "", *, more: str = "") -> None:
        # Short, since sockets lie in it.
        self.directory = Path(tempfile.mkdtemp(prefix="barto-"))
        self.port = free_port()
        self.config = self.directory / "bartos.toml"
        self.state = self.directory / "bartos"
        self.workers: dict[str, Worker] = {}
        self.config.write_text(
            f"{self.settings}{settings}\n[defaults]\ncwd = {toml_text(str(self.directory))}\n{more}"
        )
        (self.directory / "schedules.d").mkdir()
        (self.directory / "barto-cli.toml").write_text(
            f"[bartos]\nsocket = {toml_text(str(self.state / 'bartos.sock'))}\n"
        )
        self.server = Process(
            self.bartos(), self.directory / "bartos.log", self.environment(self.directory)
        )

    @property
    def settings(self) -> str:
        """The first lines of this server's bartos.toml."""
        return f"port = {self.port}\nstate_dir = {toml_text(str(self.state))}\n"

    @property
    def url(self) -> str:
        """Where the server listens."""
        return f"https://127.0.0.1:{self.port}"

    def environment(self, home: Path) -> dict[str, str]:
        """What a program of a user is given whose home is `home`, and nothing of ours."""
        return {
            "HOME": str(home),
            "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "data"),
        }

    # -- programs ---------------------------------------------------------------------------------

    def bartos(self, *arguments: str) -> list[str]:
        """The command line of its bartos."""
        return [str(BIN / "bartos"), "--config", str(self.config), *arguments]

    def says(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What a command of bartos prints on the server's host."""
        return says(self.bartos(*arguments), self.environment(self.directory))

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What any program of barto prints on the server's host."""
        return says([str(BIN / program), *arguments], self.environment(self.directory))

    def start_server(self, *, ready: bool = True) -> None:
        """Start bartos, and wait until it is ready."""
        self.server.start()
        if ready:
            self.until(self.is_ready, "bartos is ready")

    def is_ready(self) -> bool:
        """Does the server run, with its database at hand?"""
        assert self.server.is_running(), f"bartos has left:\n{self.server.log}"
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.request("/readyz")[0] == 200
        return False

    def join(self, *names: str) -> list[Worker]:
        """Make workers as a person does: `barto-cli worker add`, and the line that it prints."""
        lines = {name: self.cli("worker", "add", name).stdout.split() for name in names}
        for name, line in lines.items():
            assert line[:2] == ["bartoc", "join"], line
            home = self.directory / name
            home.mkdir(exist_ok=True)
            worker = Worker(self, name, home)
            self.workers[name] = worker
            joined = worker.says(*line[1:])
            assert joined.returncode == 0, joined.stderr
        return [self.workers[name] for name in names]

    def start_workers(self, *names: str) -> None:
        """Start them (all if none is named), and wait until they are connected."""
        for name in names or self.workers:
            self.workers[name].start()
        for name in names or self.workers:
            self.until(partial(self.is_connected, name), f"{name} is connected")

    def is_connected(self, name: str) -> bool:
        """Does the server say so?"""
        workers = self.api("/api/v1/workers")["workers"]
        return any(one["name"] == name and one["connected"] for one in workers)

    def cli(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """What a command of barto-cli prints on the server's host; `code` is how it is to end."""
        command = [str(BIN / "barto-cli"), "-c", str(self.directory / "barto-cli.toml")]
        done = says([*command, *arguments], self.environment(self.directory))
        assert code is None or done.returncode == code, f"{done.stderr}\n{self.logs()}"
        return done

    def query(self, sql: str) -> list[Json]:
        """The rows of `barto-cli query`."""
        rows: list[Json] = json.loads(self.cli("query", "-q", sql, "-o", "json").stdout)
        return rows

    # -- the API ----------------------------------------------------------------------------------

    def request(self, path: str, parameters: Mapping[str, Any] | None = None) -> tuple[int, bytes]:
        """Status and body of a GET over the server's own socket."""
        target = f"{path}?{urlencode(parameters, doseq=True)}" if parameters else path
        connection = UnixConnection(self.state / "bartos.sock")
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def api(self, path: str, **parameters: Any) -> Json:
        """The answer to a GET that has to succeed."""
        status, body = self.request(path, parameters)
        assert status == 200, body
        answer: Json = json.loads(body)
        return answer

    def runs(self, schedule: str | None = None, **wanted: Any) -> list[Json]:
        """Runs in the store, oldest first."""
        if schedule is not None:
            wanted["schedule"] = schedule
        rows: list[Json] = self.api("/api/v1/runs", **{"limit": 1000, **wanted})["runs"]
        return rows[::-1]

    def output(self, run: str, stream: str = "both") -> bytes:
        """The very bytes that a run has printed so far."""
        status, body = self.request(f"/api/v1/runs/{run}/output", {"stream": stream})
        assert status == 200, body
        return body

    # -- schedules --------------------------------------------------------------------------------

    def schedules(self, file: str, text: str) -> None:
        """Write a file of schedules.d, and have it read at once."""
        (self.directory / "schedules.d" / f"{file}.toml").write_text(text)
        self.server.send(signal.SIGHUP)

    def plan_once(self, name: str, workers: str, cmds: Sequence[str], **keys: object) -> None:
        """A schedule that is due once, a few seconds from now."""
        slot = math.ceil(time.time() + LEAD_S)
        self.schedules(name, once(name, workers, cmds, slot, **keys))

    def run_once(
        self, name: str, workers: str, cmds: Sequence[str], *, seconds: float = 30, **keys: object
    ) -> Json:
        """Have commands run once on one worker; the run, when it is complete in the store."""
        self.plan_once(name, workers, cmds, **keys)
        return self.ended(name, seconds)

    def ended(self, schedule: str, seconds: float = PATIENCE_S) -> Json:
        """The first run of a schedule, when it has ended and all that it printed is here."""

        def first() -> Json | None:
            found = self.runs(schedule)
            return found[0] if found and found[0]["complete"] else None

        return self.until(first, f"{schedule} has ended", seconds)

    def started(self, schedule: str, seconds: float = PATIENCE_S) -> Json:
        """The first run of a schedule, when it is in the store."""
        return self.until(
            lambda: next(iter(self.runs(schedule)), None), f"{schedule} runs", seconds
        )

    # -- waiting, ending --------------------------------------------------------------------------

    def until(self, fact: Callable[[], T | None], what: str, seconds: float = PATIENCE_S) -> T:
        """Wait for a fact: for the first answer that is true or not empty."""
        return until(fact, what, seconds, self.logs)

    def logs(self) -> str:
        """What all programs said, for a test that failed."""
        programs = {"bartos": self.server, **self.workers}
        return "\n".join(f"== {name}\n{one.log[-3000:]}" for name, one in programs.items())

    def processes(self) -> dict[int, str]:
        """Every process that this fleet brought into being and that is alive."""
        return processes_of(self.directory)

    def close(self) -> None:
        """Kill all that is left, by its id, and remove the directory."""
        for program in (self.server, *self.workers.values()):
            program.kill()
        until(lambda: not kill_all(self.directory), "no process of the fleet is left", 10)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the server's own socket."""

    def __init__(self, path: Path, seconds: float = 30) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def says(
    command: Sequence[str], environment: Mapping[str, str], seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; its exit code, and what it printed."""
    return subprocess.run(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def once(name: str, workers: str, cmds: Sequence[str], slot: int, **keys: object) -> str:
    """A schedule that is due at one second since 1970, as TOML."""
    when = datetime.fromtimestamp(slot, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return schedule(name, workers, when, cmds, **keys)


def schedule(name: str, workers: str, calendar: str, cmds: Sequence[str], **keys: object) -> str:
    """A schedule as TOML, in UTC."""
    written = {
        "name": name,
        "workers": workers,
        "timezone": "UTC",
        "on_calendar": calendar,
        "cmds": list(cmds),
        **keys,
    }
    lines = [f"{key} = {toml_text(value)}" for key, value in written.items()]
    return "\n".join(["[[schedule]]", *lines, ""])


def until(
    fact: Callable[[], T | None],
    what: str,
    seconds: float = PATIENCE_S,
    explain: Callable[[], str] = str,
) -> T:
    """Look again and again for a fact, and return it; `what` says what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        found = fact()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}\n{explain()}")
        time.sleep(POLL_S)


def processes_of(directory: Path) -> dict[int, str]:
    """Command lines, by id, of live processes that a directory tells: by an argument, a variable
    of their environment, or where they are."""
    mark = str(directory).encode()
    found = {}
    for pid, proc in _others():
        with contextlib.suppress(OSError):
            arguments = (proc / "cmdline").read_bytes()
            # What is a zombie has neither.
            if (
                mark in arguments
                or mark in (proc / "environ").read_bytes()
                or mark in os.fsencode((proc / "cwd").readlink())
            ):
                found[pid] = arguments.replace(b"\0", b" ").decode(errors="replace")
    return found


def _others() -> Iterator[tuple[int, Path]]:
    for proc in Path("/proc").iterdir():
        if proc.name.isdigit() and int(proc.name) != os.getpid():
            yield int(proc.name), proc


def kill_all(directory: Path) -> dict[int, str]:
    """Kill what `processes_of` finds; those that were there."""
    found = processes_of(directory)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found
