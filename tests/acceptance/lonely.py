"""A worker without a server, as a process that a test can have die where it likes.

It answers one question: what does a worker's journal tell, and what did its command really do?

    worker = Lonely(tmp_path, "echo hello; exit 3")
    worker.start(crash_at="claim.after_commit")
    worker.wait()
    worker.start()
    assert worker.end().verdict is Verdict.INTERRUPTED
    assert worker.starts() == 0
"""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bartoc.journal import StoredSet, Transaction
from bartoc.journal_sqlite import SqliteJournal
from bartoc.keeper import crash
from libbarto.message.v2.record import OUTPUT_RECORD, STATE_RECORD, Ended, Lane, Output, Record
from libbarto.message.v2.schedule import SCHEDULE_SET, Schedule, ScheduleSet
from tests.acceptance.fleet import until
from tests.keepers import end_keeper

UID = b"lonely worker..."
SCHEDULE = b"lonely schedule."
BOOT = b"this very boot.."

PROGRAM = """
import asyncio, sys
from pathlib import Path
from bartoc.agent import Agent
from bartoc.journal_sqlite import SqliteJournal
from bartoc.keeper_runner import KeeperRunner
from bartoc.pressure import Pressure
from bartoc.worker import Host
from libbarto.clock import SystemClock

async def main(state):
    clock = SystemClock()
    journal = SqliteJournal(state / "journal.db", sys.argv[2].encode(), lambda: b"lonely spool....")
    runner = KeeperRunner(state, clock)
    host = Host("lonely", {"": ("/", "root", "/bin/sh")}, clock.boot_id)
    await Agent(journal, runner, clock, host, pressure=Pressure(int(sys.argv[3]))).run()

asyncio.run(main(Path(sys.argv[1])))
"""


class Lonely:
    """A state directory with one schedule in it, due once, in a second or so, or by `calendar`;
    `script` is its command. Each start of it adds its slot to a file that barto does not know."""

    def __init__(
        self,
        directory: Path,
        script: str,
        lead: float = 0.2,
        *,
        calendar: str | None = None,
        state: Path | None = None,
        spool_max: int = 1 << 30,
        **more: Any,
    ) -> None:
        self.directory = directory
        self.spool_max = spool_max
        self.state = state or directory / "state"
        self.state.mkdir(mode=0o700, exist_ok=True)
        self.witness = directory / "witness"
        self.log = directory / "log"
        self.slot = math.ceil(time.time() + lead)
        self._process: subprocess.Popen[bytes] | None = None
        when = datetime.fromtimestamp(self.slot, UTC).strftime("%Y-%m-%d %H:%M:%S")
        self.spec = Schedule(
            uid=SCHEDULE,
            name="once",
            calendars=[calendar or when],
            steps=[f"echo $BARTO_SLOT >> {self.witness}; {script}"],
            **more,
        )
        asyncio.run(self._plan())

    async def _plan(self) -> None:
        journal = self.journal()
        await journal.load()
        body = SCHEDULE_SET.encode(ScheduleSet(schedules=[self.spec]))
        now = time.time_ns() // 1000
        await journal.commit(
            Transaction(
                new_set=StoredSet(1, b"hash", body, now), cursors={SCHEDULE: now}, newest=now
            )
        )
        await journal.close()

    def journal(self) -> SqliteJournal:
        """Its journal; not while it runs."""
        return SqliteJournal(self.state / "journal.db", UID, lambda: b"lonely spool....")

    def start(self, crash_at: str | None = None) -> None:
        """Start it; with `crash_at` it, or its keeper, dies at that point."""
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        if crash_at is not None:
            environment[crash.VARIABLE] = crash_at
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-c", PROGRAM),
                    *(str(self.state), UID.decode(), str(self.spool_max)),
                ],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def dies(self) -> None:
        """Wait until it has killed itself."""
        assert self._process is not None
        assert self._process.wait(20) == -9, self.log.read_text()

    def kill(self) -> None:
        """Kill it, wherever it is."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def records(self, lane: Lane = Lane.STATE) -> list[Record]:
        """All that its journal tells, in order; also while it runs."""
        codec = STATE_RECORD if lane is Lane.STATE else OUTPUT_RECORD
        connection = sqlite3.connect(f"file:{self.state / 'journal.db'}?mode=ro", uri=True)
        try:
            rows = connection.execute(
                "SELECT data FROM record WHERE lane = ? ORDER BY seq", (int(lane),)
            ).fetchall()
        finally:
            connection.close()
        return [codec.decode(data) for (data,) in rows]  # type: ignore[misc]

    def end(self, seconds: float = 20.0) -> Ended:
        """The end of its only run, when there is one."""

        def found() -> list[Ended]:
            return [one for one in self.records() if isinstance(one, Ended)]

        (end,) = until(found, "the run has an end", seconds, self.log.read_text)
        return end

    def printed(self) -> bytes:
        """What its journal has of the output."""
        chunks = [one for one in self.records(Lane.OUTPUT) if isinstance(one, Output)]
        data = b""
        for chunk in sorted(chunks, key=lambda chunk: chunk.chunk_no):
            assert chunk.offset == len(data)
            data += chunk.data
        return data

    def starts(self) -> int:
        """How often the command has begun, by its own word."""
        return len(self.witness.read_text().splitlines()) if self.witness.exists() else 0

    def close(self) -> None:
        """Nothing of it is left."""
        self.kill()
        end_keeper(self.state)
