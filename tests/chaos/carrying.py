"""Carries out what the nemesis has planned, on real processes, links, files and databases."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import struct
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from tests.acceptance.fleet import Fleet, Process, Worker
from tests.chaos import nemesis
from tests.chaos.history import EVERYONE, Fault, FaultKind
from tests.chaos.proxy import Flow, Link, Proxy
from tests.mariadb import MariaDB, program

Kind = FaultKind
PATIENCE_S: Final = 20.0
FILLER: Final = "filler"

LINKS: Final[dict[FaultKind, Link]] = {
    Kind.LINK_PARTITION: Link(Flow(stalled=True), Flow(stalled=True)),
    Kind.LINK_STALL_UP: Link(up=Flow(stalled=True)),
    Kind.LINK_STALL_DOWN: Link(down=Flow(stalled=True)),
    Kind.LINK_SWALLOW: Link(Flow(swallowed=True), Flow(swallowed=True)),
    Kind.LINK_SWALLOW_UP: Link(up=Flow(swallowed=True)),
    Kind.LINK_SWALLOW_DOWN: Link(down=Flow(swallowed=True)),
}


class Edits(Protocol):
    """Who writes the schedules: an edit, and what takes it back."""

    def edit(self, choice: float) -> Callable[[], None]: ...

    def break_(self) -> Callable[[], None]: ...

    def pause(self, which: float) -> Callable[[], None]: ...

    def cancel(self, which: float) -> None: ...


def now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


class Hands:
    """Does and undoes faults; `done` is what came about, as the history has it."""

    def __init__(
        self, fleet: Fleet, proxy: Proxy, edits: Edits, database: MariaDB | None, clocks: Path
    ) -> None:
        self.done: list[Fault] = []
        self.complaints: list[str] = []
        self._fleet = fleet
        self._proxy = proxy
        self._edits = edits
        self._database = database
        self._clocks = clocks
        self._lock = threading.Lock()
        self._rooms: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def carry_out(self, fault: nemesis.Fault, sleep: Callable[[float], object]) -> None:
        """Do it, let its time pass, and take it back. `sleep` may return early, to end it. What
        takes up the same has to wait, as taking back may take long."""
        with self._rooms[nemesis.room_of(fault)]:
            self._carry_out(fault, sleep)

    def _carry_out(self, fault: nemesis.Fault, sleep: Callable[[float], object]) -> None:
        began = now()
        try:
            undo = self._do(fault)
        except (OSError, subprocess.SubprocessError, RuntimeError, AssertionError) as error:
            self.complaints.append(f"{fault.kind} of {fault.target} could not be done: {error}")
            return
        if undo is None:
            return
        try:
            sleep(fault.seconds)
            undo()
        except (OSError, subprocess.SubprocessError, RuntimeError, AssertionError) as error:
            self.complaints.append(f"{fault.kind} of {fault.target} was not undone: {error}")
        with self._lock:
            self.done.append(
                Fault(
                    number=fault.number,
                    kind=fault.kind,
                    targets=[fault.target],
                    began=began,
                    ended=now(),
                    shift=round(fault.facts.get("shift", 0.0) * 1_000_000),
                )
            )

    def stalled(self, began: int, ended: int) -> None:
        """The host itself was held up: that is no fault of ours, and explains as one."""
        with self._lock:
            self.done.append(
                Fault(number=0, kind=Kind.HOST_STALL, targets=[EVERYONE], began=began, ended=ended)
            )

    # -- each kind --------------------------------------------------------------------------------

    def _do(self, fault: nemesis.Fault) -> Callable[[], None] | None:
        """Do it; what takes it back, or None where it came to nothing."""
        kind = fault.kind
        match kind:
            case Kind.BARTOC_KILL:
                return self._kill(self._worker(fault))
            case Kind.BARTOC_STOP:
                return _stop(self._worker(fault).pid)
            case Kind.BARTOC_RESTART:
                return self._restart(self._worker(fault))
            case Kind.KEEPER_KILL:
                return self._kill_keeper(self._worker(fault))
            case Kind.KEEPER_STOP:
                keeper = keeper_of(self._worker(fault).state)
                return None if keeper is None else _stop(keeper)
            case Kind.BOTH_KILL:
                worker = self._worker(fault)
                undo = self._kill(worker)
                self._kill_keeper(worker)
                return undo
            case Kind.LINK_CUT:
                self._proxy.line(fault.target).cut()
                return _nothing
            case Kind.BARTOS_KILL:
                return self._kill(self._fleet.server)
            case Kind.BARTOS_STOP:
                return _stop(self._fleet.server.pid)
            case Kind.BARTOS_RESTART:
                return self._restart(self._fleet.server)
            case Kind.STORE_KILL | Kind.STORE_STOP | Kind.STORE_READ_ONLY | Kind.STORE_LOCKED:
                return self._store(kind, fault.seconds)
            case Kind.CLOCK_STEP:
                return self._step(fault)
            case Kind.DISK_FULL:
                return fill(self._worker(fault).state)
            case Kind.EDIT:
                return self._edits.edit(fault.facts["choice"])
            case Kind.EDIT_BROKEN:
                return self._edits.break_()
            case Kind.PAUSE:
                return self._edits.pause(fault.facts["which"])
            case Kind.CANCEL:
                self._edits.cancel(fault.facts["which"])
                return _nothing
            case _:
                return self._become(fault)

    def _worker(self, fault: nemesis.Fault) -> Worker:
        return self._fleet.workers[fault.target]

    def _kill(self, process: Process) -> Callable[[], None]:
        process.kill()
        return process.start

    def _restart(self, process: Process) -> Callable[[], None]:
        process.send(signal.SIGTERM)

        def again() -> None:
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                name = process.command[0]
                self.complaints.append(f"{name} did not leave within {PATIENCE_S:.0f} s of SIGTERM")
                process.kill()
            process.start()

        return again

    def _kill_keeper(self, worker: Worker) -> Callable[[], None] | None:
        keeper = keeper_of(worker.state)
        if keeper is None:
            return None
        os.kill(keeper, signal.SIGKILL)
        return _nothing

    def _become(self, fault: nemesis.Fault) -> Callable[[], None]:
        line = self._proxy.line(fault.target)
        facts = fault.facts
        match fault.kind:
            case Kind.LINK_SLOW:
                flow = Flow(rate=facts["rate"])
                line.become(Link(flow, flow))
            case Kind.LINK_DELAY:
                flow = Flow(delay=facts["delay"], jitter=facts["jitter"])
                line.become(Link(flow, flow))
            case Kind.LINK_TORN:
                line.cut()
                line.become(Link(torn=int(facts["bytes"])))
            case kind:
                line.become(LINKS[kind])
        return lambda: line.become(Link())

    def _store(self, kind: FaultKind, seconds: float) -> Callable[[], None]:
        database = self._database
        if database is None:
            return hold_locked(self._fleet.state / "barto.db")
        match kind:
            case Kind.STORE_KILL:
                database.kill()
                return database.start
            case Kind.STORE_STOP:
                return _stop(database.pid)
            case Kind.STORE_READ_ONLY:
                database.sql("SET GLOBAL read_only = 1;")
                return partial(_sql, database, "SET GLOBAL read_only = 0;")
            case _:
                return self._lock_tables(database, seconds)

    def _lock_tables(self, database: MariaDB, seconds: float) -> Callable[[], None]:
        client = subprocess.Popen(
            [
                *(program("mariadb"), "--no-defaults", f"--host={database.host}"),
                *(f"--port={database.port}", f"--user={database.user}"),
                *(f"--password={database.password}", database.database),
                *("-e", f"LOCK TABLES run WRITE, output WRITE; SELECT SLEEP({seconds + 5})"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def unlock() -> None:
            client.kill()
            client.wait()

        return unlock

    def _step(self, fault: nemesis.Fault) -> Callable[[], None]:
        file = self._clocks / fault.target
        set_clock(file, fault.facts["shift"])
        return lambda: set_clock(file, 0.0)


def _sql(database: MariaDB, statements: str) -> None:
    database.sql(statements)


def _nothing() -> None:
    """There is nothing to take back."""


def _stop(pid: int) -> Callable[[], None]:
    os.kill(pid, signal.SIGSTOP)

    def go_on() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    return go_on


def keeper_of(state: Path) -> int | None:
    """The keeper that serves a state directory now."""
    try:
        pid = int((state / "keeper.lock").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(state) in command else None


def set_clock(file: Path, ahead: float) -> None:
    """Have the clock of whoever looks into `file` be so many seconds ahead."""
    with contextlib.ExitStack() as stack:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
        stack.callback(os.close, fd)
        os.pwrite(fd, struct.pack("q", round(ahead * 1_000_000_000)), 0)


def fill(directory: Path) -> Callable[[], None]:
    """Fill the file system of a directory to its last byte; what makes room again."""
    file = directory / FILLER
    with file.open("wb", buffering=0) as out:
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while out.write(bytes(size)) == size:
                    pass
    return lambda: file.unlink(missing_ok=True)


def hold_locked(file: Path) -> Callable[[], None]:
    """Hold the write lock of an SQLite database; what lets it go."""
    connection = sqlite3.connect(
        file, isolation_level=None, check_same_thread=False, timeout=PATIENCE_S
    )
    connection.execute("BEGIN IMMEDIATE")

    def let_go() -> None:
        connection.execute("ROLLBACK")
        connection.close()

    return let_go
