"""A chaos run from its beginning to its end: real programs, load, faults, and what came of it.

It answers one question: what happened? Whether that is as it should be is the checker's to say.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from tests.acceptance.fleet import Fleet, Worker, processes_of
from tests.chaos import collect, nemesis
from tests.chaos.asking import CANCELLED, Asking
from tests.chaos.carrying import Hands, now, set_clock
from tests.chaos.database import Database, MariaDBServer, SqliteFile
from tests.chaos.history import Applied, FaultKind, Frame, Glimpse, History
from tests.chaos.programs import Programs, build
from tests.chaos.proxy import Proxy
from tests.chaos.schedules import Book
from tests.mariadb import MariaDB

SECOND: Final = 1_000_000
QUIET_S: Final = 4.0
"""At the beginning of the load, without faults."""
TAIL_S: Final = 4.0
SPARE_TIME: Final = 1.03
"""More than the planned starts need, as some are removed for a while."""
SETTLE_S: Final = 90.0
"""How long to wait for the end; longer than what passes, so that a report can say more."""
ALL_KINDS: Final = frozenset(FaultKind)
GLIMPSE_S: Final = 10.0
FOLLOW_S: Final = 2.0
STALL_S: Final = 0.5
LOOK_S: Final = 0.1
LEAVE_S: Final = 30.0
DISK: Final = "size=48m"
PRIVATE: Final = "CHAOS_PRIVATE_MOUNTS"
"""Set where this process may mount what nobody else sees."""

# bartoc as ever, but for the keeper that it starts: that one is to see the same clock.
SHIFTED: Final = """\
import sys
sys.executable = {python!r}
from bartoc.cli import main
sys.exit(main())
"""
KEEPERS_PYTHON: Final = """\
#!/bin/sh
export LD_PRELOAD='{preload}' CHAOS_CLOCK='{clock}'
exec '{python}' "$@"
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for."""

    seed: str = "1"
    occurrences: int = 10_000
    store: str = "sqlite"
    faults: int = 210
    workers: int = 20
    only: frozenset[FaultKind] = ALL_KINDS


class Chaos:
    """The programs of a run, from start to end; use it as a context."""

    def __init__(self, options: Options, say: Callable[[str], None] = print) -> None:
        self.options = options
        self.say = say
        self.names = [f"w{number:02}" for number in range(options.workers)]
        self.book = Book()
        self.glimpses: list[Glimpse] = []
        self._stack = contextlib.ExitStack()
        self._over = threading.Event()
        self._edit = threading.Lock()

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._stack.close()

    def _begin(self) -> None:
        self.server_of_store: MariaDB | None = None
        settings = ""
        if self.options.store == "mariadb":
            directory = Path(tempfile.mkdtemp(prefix="chaos-db-"))
            self._stack.callback(shutil.rmtree, directory, ignore_errors=True)
            self.server_of_store = self._stack.enter_context(MariaDB(directory))
            settings = (
                f"[mariadb]\nport = {self.server_of_store.port}\n"
                f'password = "{self.server_of_store.password}"\n'
            )
        self.fleet = Fleet(settings)
        self._stack.callback(self.fleet.close)
        self.witnesses = self.fleet.directory / "witness"
        self.witnesses.mkdir()
        self.programs: Programs = build(self.witnesses)
        self.ledger = self.witnesses / "ledger"
        self.database: Database = (
            SqliteFile(self.fleet.state / "barto.db")
            if self.server_of_store is None
            else MariaDBServer(self.server_of_store)
        )
        self.fleet.start_server()
        self.proxy = self._stack.enter_context(Proxy(self.fleet.port, self.options.seed))
        self.clocks = self.names[-1:]
        self.disks = self.names[-3:-1] if os.environ.get(PRIVATE) else []
        for name in self.disks:
            self._mount(self.fleet.directory / name / "state")
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._join, self.names))
        self.fleet.start_workers()
        self.followers = {name: collect.Follower(self._journal(name)) for name in self.names}
        self.asking = Asking(self.fleet, self.database, self.options.seed)
        self.hands = Hands(self.fleet, self.proxy, self, self.server_of_store, self.witnesses)

    def _mount(self, directory: Path) -> None:
        directory.mkdir(parents=True, mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "chaos", str(directory)], check=True)
        self._stack.callback(
            subprocess.run, ["umount", "-l", str(directory)], check=False, capture_output=True
        )

    def _join(self, name: str) -> None:
        (worker,) = self.fleet.join(name)
        text = worker.config.read_text()
        ours = f":{self.fleet.port}"
        assert ours in text, text
        worker.config.write_text(text.replace(ours, f":{self.proxy.line(name).port}"))
        if name in self.clocks:
            self._shift(worker)

    def _shift(self, worker: Worker) -> None:
        """Give a worker and its keeper a clock that can be set."""
        clock, python = self.witnesses / worker.name, self.witnesses / f"python-{worker.name}"
        set_clock(clock, 0.0)
        python.write_text(
            KEEPERS_PYTHON.format(preload=self.programs.clock, clock=clock, python=sys.executable)
        )
        python.chmod(0o700)
        worker.command[:1] = [sys.executable, "-c", SHIFTED.format(python=str(python))]
        worker.variables |= {"LD_PRELOAD": str(self.programs.clock), "CHAOS_CLOCK": str(clock)}

    # -- edits ------------------------------------------------------------------------------------

    def write(self) -> None:
        """The schedules as the book has them."""
        command = (str(self.programs.witness), str(self.ledger), self.options.seed)
        self._file("chaos", self.book.text(command))

    def _file(self, name: str, text: str | None) -> None:
        """Replace a file of schedules at once, as an editor does."""
        file = self.fleet.directory / "schedules.d" / f"{name}.toml"
        if text is None:
            file.unlink(missing_ok=True)
            return
        new = file.with_suffix(".new")
        new.write_text(text)
        new.replace(file)

    def edit(self, choice: float) -> Callable[[], None]:
        """An edit, and what takes it back."""
        if choice < 0.4:
            return self._edited(self.book.renew, self.book.renew)
        if choice < 0.7:
            return self._edited(
                partial(self.book.removed.add, "spare"), partial(self.book.removed.discard, "spare")
            )
        return self._edited(
            partial(self.book.enable, "spare", False), partial(self.book.enable, "spare", True)
        )

    def _edited(self, do: Callable[[], object], undo: Callable[[], object]) -> Callable[[], None]:
        def turn(how: Callable[[], object]) -> None:
            with self._edit:
                how()
                self.write()

        turn(do)
        return partial(turn, undo)

    def break_(self) -> Callable[[], None]:
        """Write a file that cannot be read; what removes it."""
        self._file("broken", "[[schedule]]\nname = 'broken\n")
        return partial(self._file, "broken", None)

    def pause(self, which: float) -> Callable[[], None]:
        """Pause a schedule; what resumes it."""
        return self.asking.pause("spare")

    def cancel(self, which: float) -> None:
        """End what goes on of a schedule."""
        self.asking.cancel(CANCELLED[int(which * len(CANCELLED))])

    # -- the run ----------------------------------------------------------------------------------

    def run(self) -> History:
        """All of it; returns when every program has left."""
        options = self.options
        seconds = options.occurrences / self.book.rate(self.names) * SPARE_TIME + 2.0
        self.write()
        self._until(self._all_have_schedules, "every worker has its schedules", 30)
        began = (time.time_ns() // 10**9 + 1) * SECOND
        planned = nemesis.plan(
            options.seed, self._grounds(), options.faults, QUIET_S, max(QUIET_S, seconds - TAIL_S)
        )
        self.say(
            f"{len(self.names)} workers, {seconds:.0f} s of load, {len(planned)} faults"
            f" on {options.store}"
        )
        threads = [
            threading.Thread(target=work, name=work.__name__, daemon=True)
            for work in (self._watch_host, self._glimpse, self._order, self._follow)
        ]
        for thread in threads:
            thread.start()
        self._faults(planned, time.monotonic() + began / SECOND - time.time(), seconds)
        with self._edit:
            for file in (self.fleet.directory / "schedules.d").iterdir():
                file.unlink()
        ended = now()
        healed, converged = self._settle()
        self._over.set()
        for thread in threads:
            thread.join(30)
        unfinished = (
            self._unfinished() if converged is None else self.asking.faults_of_the_history()
        )
        complaints = [*self.hands.complaints, *self._leave(), *unfinished]
        history = self._collect(
            Frame(
                seed=options.seed,
                asked=options.occurrences,
                began=began,
                ended=ended,
                healed=healed,
                converged=converged,
            )
        )
        left = self._left()
        frame = Frame(
            seed=options.seed,
            asked=options.occurrences,
            began=began,
            ended=ended,
            healed=healed,
            converged=converged,
            left=left,
            complaints=[*complaints, *self._tracebacks()],
        )
        return _with(history, frame)

    def _grounds(self) -> nemesis.Grounds:
        kinds = set(self.options.only)
        if not self.disks:
            kinds.discard(FaultKind.DISK_FULL)
        if self.server_of_store is None:
            kinds -= {FaultKind.STORE_KILL, FaultKind.STORE_STOP, FaultKind.STORE_READ_ONLY}
        return nemesis.Grounds(self.names, self.clocks, self.disks, frozenset(kinds))

    def _faults(self, planned: list[nemesis.Fault], zero: float, seconds: float) -> None:
        with ThreadPoolExecutor(nemesis.AT_ONCE + 4, thread_name_prefix="fault") as pool:
            futures = []
            for fault in planned:
                time.sleep(max(0.0, zero + fault.at - time.monotonic()))
                futures.append(pool.submit(self.hands.carry_out, fault, self._over.wait))
            time.sleep(max(0.0, zero + seconds - time.monotonic()))
            # The load is over: what still lasts is taken back now.
            self._over.set()
            for future in futures:
                future.result()
        self._over.clear()

    def _watch_host(self) -> None:
        """Note when the host itself was held up: then nobody's timers were on time."""
        while not self._over.is_set():
            began, before = now(), time.monotonic()
            time.sleep(LOOK_S)
            if time.monotonic() - before > LOOK_S + STALL_S:
                self.hands.stalled(began, now())

    def _follow(self) -> None:
        """Read along; more closely where a full disk may have things dropped soon."""
        names = [*self.names, *self.disks * (len(self.names) // 2)]
        while not self._over.is_set():
            for name in names:
                if self._over.wait(FOLLOW_S / len(names)):
                    return
                with contextlib.suppress(sqlite3.Error):
                    self.followers[name].look()

    def _order(self) -> None:
        self.asking.order_until(self._over, self.names)

    def _glimpse(self) -> None:
        while not self._over.wait(GLIMPSE_S):
            with contextlib.suppress(OSError):
                self.glimpses.append(collect.glimpse(self.database, now()))

    # -- its end ----------------------------------------------------------------------------------

    def _settle(self) -> tuple[int, int | None]:
        for name in self.names:
            worker = self.fleet.workers[name]
            if not worker.is_running():
                self.hands.complaints.append(f"bartoc of {name} had left by itself")
                worker.start()
        if not self.fleet.server.is_running():
            self.hands.complaints.append("bartos had left by itself")
            self.fleet.server.start()
        healed = now()
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            if not self._unfinished():
                return healed, now()
            time.sleep(0.5)
        return healed, None

    def _all_have_schedules(self) -> bool:
        return all(self._has_schedules(name) for name in self.names)

    def _has_schedules(self, name: str) -> bool:
        with contextlib.suppress(sqlite3.Error):
            return bool(collect.lanes(self._journal(name))[0] and self._applied(name))
        return False

    def _applied(self, name: str) -> set[str]:
        """The schedules of the set that a worker has taken on last."""
        self.followers[name].look()
        news = [one for one in self.followers[name].told() if isinstance(one, Applied)]
        return set(news[-1].since) if news else set()

    def _unfinished(self) -> list[str]:
        """What is not yet told and stored."""
        found = []
        for name in self.names:
            try:
                lanes, opened = collect.lanes(self._journal(name))
                if any(last != told for last, told in lanes.values()) or opened:
                    found.append(f"{name} has more to tell: {lanes}, {opened} runs open")
                elif self._applied(name):
                    found.append(f"{name} still has schedules")
            except sqlite3.Error as error:
                found.append(f"the journal of {name}: {error}")
        try:
            ((opened_,),) = self.database.rows("count(*)", "intent WHERE closed_at IS NULL")
        except OSError as error:
            found.append(f"the database: {error}")
        else:
            if int(opened_ or "0"):
                found.append(f"{opened_} starts of the server are open")
        return found

    def _journal(self, name: str) -> Path:
        return self.fleet.workers[name].state / "journal.db"

    def _leave(self) -> list[str]:
        """Have every program leave in order; who did not."""
        complaints = []
        for name in self.names:
            self.fleet.workers[name].send(signal.SIGINT)
        self.fleet.server.send(signal.SIGTERM)
        for name, process in ({"bartos": self.fleet.server} | self.fleet.workers).items():
            try:
                code = process.wait(LEAVE_S)
            except subprocess.TimeoutExpired:
                complaints.append(f"{name} did not leave within {LEAVE_S:.0f} s")
            else:
                if code != 0:
                    complaints.append(f"{name} left with {code}")
        return complaints

    def _left(self) -> list[str]:
        """The processes that are there though every program has left."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            left = processes_of(self.fleet.directory)
            if not left:
                return []
            time.sleep(0.2)
        return [f"{pid} {command}" for pid, command in left.items()]

    def _tracebacks(self) -> list[str]:
        return [
            f"{name} has a traceback in its log"
            for name, process in ({"bartos": self.fleet.server} | self.fleet.workers).items()
            if "Traceback (most recent call last)" in process.log
        ]

    def _collect(self, frame: Frame) -> History:
        dead = collect.dead_letters(self.database)
        if dead:
            frame.complaints.append(f"{dead} records are dead letters")
        return History(
            frame=frame,
            definitions=[one.definition() for one in self.book.planned],
            faults=sorted(self.hands.done, key=lambda one: one.began),
            marks=collect.ledger(self.ledger),
            journals=[
                collect.journal(name, self._journal(name), self.followers[name])
                for name in self.names
            ],
            runs=collect.runs(self.database),
            ranges=collect.ranges(self.database),
            chunks=collect.chunks(self.database),
            glimpses=self.glimpses,
            holds=self.asking.holds,
            orders=self.asking.orders,
            cancels=self.asking.cancels,
        )

    def logs(self, directory: Path) -> None:
        """Copy what all programs said, for a report."""
        directory.mkdir(parents=True, exist_ok=True)
        for name, process in ({"bartos": self.fleet.server} | self.fleet.workers).items():
            if process.log_file.exists():
                shutil.copy(process.log_file, directory / f"{name}.log")
        for worker in self.fleet.workers.values():
            keeper = worker.state / "keeper.log"
            if keeper.exists():
                shutil.copy(keeper, directory / f"{worker.name}-keeper.log")

    def _until(self, fact: Callable[[], bool], what: str, seconds: float) -> None:
        self.fleet.until(fact, what, seconds)


def _with(history: History, frame: Frame) -> History:
    complaints = [*history.frame.complaints, *frame.complaints]
    frame = msgspec.structs.replace(frame, complaints=complaints)
    return msgspec.structs.replace(history, frame=frame)
