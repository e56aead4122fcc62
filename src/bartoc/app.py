"""The composition root of bartoc: the only place that names concrete ports."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
import signal
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from bartoc.agent import Agent
from bartoc.clockwork import floor
from bartoc.connection import Connection, Identity
from bartoc.facts import Accounts, capabilities
from bartoc.journal_sqlite import SqliteJournal
from bartoc.keeper_runner import KeeperRunner
from bartoc.pressure import SPOOL_MAX, Pressure
from bartoc.starting import Host
from bartoc.state import StateDirectory
from libbarto.build_info import build_info
from libbarto.clock import SECOND, SystemClock
from libbarto.envelope import PublicKey
from libbarto.errors import JournalError
from libbarto.websocket import WebSocketConnector

log = logging.getLogger("bartoc")

HOUSEKEEPING_S: Final = 60.0
FAREWELL_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Options:
    """All that a running bartoc is told. `url` is the server's, `wss://HOST:PORT`; `token` proves
    who we are; `stop_timeout` seconds; `spool_max` bytes bound the output that waits for the
    server, `keep` seconds and `keep_bytes` what is kept after it was acknowledged; `catch_up`
    seconds stand for that of every schedule, and `max_running` bounds the runs that go on at
    once. `roaming`: this host is often away."""

    name: str
    state_dir: Path
    url: str
    token: str | None
    server_key: PublicKey
    ssl_context: ssl.SSLContext | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_timeout: float = 30.0
    keep: float = 7 * 86_400.0
    keep_bytes: int = 64 * 1024 * 1024
    spool_max: int = SPOOL_MAX
    catch_up: float | None = None
    max_running: int | None = None
    roaming: bool = False


class Bartoc:
    """A worker on this host. `run` lasts until `leave` or `end_commands` is asked for."""

    def __init__(self, options: Options, state: StateDirectory) -> None:
        self._options = options
        self._clock = SystemClock()
        self._journal = SqliteJournal(
            state.journal,
            state.worker_uid(lambda: secrets.token_bytes(16)),
            lambda: secrets.token_bytes(16),
        )
        self._runner = KeeperRunner(state.path, self._clock)
        self.agent = Agent(
            self._journal,
            self._runner,
            self._clock,
            Host(
                options.name,
                Accounts(),
                self._clock.boot_id,
                options.max_running,
                None if options.catch_up is None else round(options.catch_up * SECOND),
                built_at(build_info().commit_date),
            ),
            lambda: self.connection.offset_us,
            Pressure(options.spool_max),
        )
        self.connection = Connection(
            self._journal,
            WebSocketConnector(
                f"{options.url}/v1/ws/worker?name={quote(options.name, safe='')}",
                token=options.token,
                ssl_context=options.ssl_context,
            ),
            Identity(
                options.name,
                build_info().version,
                options.labels,
                capabilities(roaming=options.roaming),
            ),
            options.server_key,
            self._clock,
            random.Random(),
            self.agent.tell,
        )
        self.agent.on_records = self.connection.records_spooled
        self.connection.on_journal_error = self.agent.journal_failed
        self.agent.on_answer = self.connection.answer
        self._stop = asyncio.Event()
        self._end = False

    def leave(self) -> None:
        """Stop: no new starts, everything spooled; commands go on."""
        self._stop.set()

    def end_commands(self) -> None:
        """Stop, and end every command too."""
        self._end = True
        self._stop.set()

    def handle_signals(self) -> None:
        """SIGTERM leaves; SIGINT (Ctrl-C, `bartoc stop`) also ends commands."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.leave)
        loop.add_signal_handler(signal.SIGINT, self.end_commands)
        loop.add_signal_handler(
            signal.SIGHUP, lambda: log.info("nothing to reload: the server sends what is to be run")
        )

    async def run(self) -> None:
        """The worker's life."""
        tasks = [
            asyncio.create_task(self.agent.run(), name="agent"),
            asyncio.create_task(self.connection.run(), name="connection"),
            asyncio.create_task(self._keep_house(), name="housekeeping"),
        ]
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            if stopping in done:
                await self._wind_down(tasks[1])
        finally:
            stopping.cancel()
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await self._runner.close()
            await self._journal.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _wind_down(self, connection: asyncio.Task[None]) -> None:
        await self.agent.stop()
        if self._end:
            log.info("ending commands", extra={"timeout_s": self._options.stop_timeout})
            await self.agent.end_commands(self._options.stop_timeout)
        self.connection.leave()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(connection), FAREWELL_S)

    async def _keep_house(self) -> None:
        """Drop what was acknowledged long ago, and claims that no slot can ask for again."""
        while True:
            await self._clock.sleep(HOUSEKEEPING_S)
            now = self._clock.now()
            # A journal that fails is the agent's to open again; this comes back in a minute.
            with contextlib.suppress(JournalError):
                held = await self._journal.state()
                await self._journal.prune(
                    self._options.keep_bytes,
                    now - round(self._options.keep * 1_000_000),
                    floor(now, held.contact),
                )


def built_at(date: str) -> int:
    """The beginning of the day of a commit (RFC 3339, UTC) as an instant; 0 where it is unknown.

    >>> built_at("1970-01-02T11:12:13Z"), built_at("unknown")
    (86400000000, 0)
    """
    try:
        day = datetime.fromisoformat(date[:10]).replace(tzinfo=UTC)
    except ValueError:
        return 0
    return round(day.timestamp()) * SECOND


async def run(options: Options) -> None:
    """Run a worker in the foreground until it is told to stop. Raises `ConfigError` where its
    state directory cannot be used."""
    state = StateDirectory(options.state_dir)
    state.open()
    try:
        worker = Bartoc(options, state)
        worker.handle_signals()
        log.info(
            "bartoc is up",
            extra={"worker": options.name, "server": options.url, "state": str(options.state_dir)},
        )
        await worker.run()
        log.info("bartoc left")
    finally:
        state.close()


async def stop(state_dir: Path, patience: float) -> bool:
    """Have the bartoc of `state_dir` end its commands and leave; where none runs, end what its
    keeper still holds. Returns whether there was something to stop.

    Raises `TimeoutError` where it takes longer than `patience` seconds.
    """
    clock = SystemClock()
    state = StateDirectory(state_dir)
    pid = state.holder()
    if state.in_use() and pid is not None:
        os.kill(pid, signal.SIGINT)
        async with asyncio.timeout(patience):
            while state.in_use():
                await clock.sleep(0.05)
        return True
    if not (state_dir / "keeper.sock").exists():
        return False
    runner = KeeperRunner(state_dir, clock)
    known = await runner.open()
    async with asyncio.timeout(patience):
        await runner.shutdown(patience)
    await runner.close()
    return bool(known)
