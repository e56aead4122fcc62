"""A server with a store on disk, a history and no workers, that serves the API on loopback."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from bartos.acting import Actions
from bartos.api.app import create_app
from bartos.news import connections
from bartos.plan import schedule_rows
from bartos.planning import Planner
from bartos.schedules import load_schedules
from bartos.server import Server
from bartos.services import Facts, Services
from bartos.store.port import Retention
from bartos.store.settings import SqliteSettings
from bartos.store.sql import SqlStore
from libbarto.clock import SystemClock
from libbarto.envelope import SigningKey
from libbarto.message.v2.record import Verdict
from tests.faces import ERR, KEY, NOON, OUT, SECOND, Barto, Enrolment, Fleet

TOML = """
[[schedule]]
name = "backup"
workers = "*"
on_calendar = "*-*-* R:R"
timezone = "Europe/Berlin"
tags = ["db"]
cmds = ["pg_dump app"]

[[schedule]]
name = "sync"
workers = "web1"
every = "15m"
cmds = ["true"]

[[schedule]]
name = "one"
workers = "*"
pick = "one"
on_calendar = "hourly"
cmds = ["true"]

[[schedule]]
name = "then"
after = "one"
workers = "*"
cmds = ["true"]
enabled = false
"""


async def history(barto: Barto) -> None:
    """Runs of each kind, with output, and starts that were missed."""
    for number, verdict in enumerate([*Verdict, None]):
        for worker in ("web1", "web2"):
            slot = NOON - (20 - number) * 900 * SECOND
            printed = [(OUT, b"begun\n"), (ERR, b"\xff\x1b[31mred\n")]
            codes = (0,) if verdict is Verdict.OK else (number,)
            await barto.run(worker, "backup", slot, printed, verdict=verdict, codes=codes)
    await barto.did_not_run("web1", "sync", NOON, NOON + 900 * SECOND, 2, "asleep")


class Served:
    """A server without workers, in a thread of its own, on loopback."""

    def __init__(self, database: Path, longest: float) -> None:
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self._database = database
        self._longest = longest
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def start(self) -> None:
        """Up, once this returns."""
        self._thread.start()
        assert self._ready.wait(30)

    def stop(self) -> None:
        """Gone, once this returns."""
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        store, clock, planner = SqlStore(SqliteSettings(self._database)), SystemClock(), Planner()
        await store.open()
        rows = schedule_rows(load_schedules([("bartos.toml", TOML)]), [], NOON)
        await store.replace_schedules(rows, NOON)
        barto = Barto()
        barto.store = store  # type: ignore[assignment]  # only what every store has is asked of it
        await history(barto)
        server = Server(
            store,
            planner,
            clock,
            key=SigningKey(bytes(32)),
            retention=Retention,
            random_bytes=secrets.token_bytes,
            version="2.0.0",
        )
        server.feed.longest = self._longest
        server.start()
        await server.store_open.wait()
        actions = Actions(
            store, server.dispatching, server.hub, planner, clock, lambda: uuid.uuid4().bytes
        )
        facts = Facts(KEY, "sqlite", "bartos.toml")
        services = Services(
            *(store, Fleet(connections(server.hub)), Enrolment(), lambda: facts, clock, actions),
            *(server.watch, server.audit, server.feed, planner, server.overview, server.alerting),
        )
        config = uvicorn.Config(
            create_app(services), log_level="error", lifespan="off", proxy_headers=False
        )
        web = uvicorn.Server(config)
        self.listener.listen()
        serving = asyncio.create_task(web.serve(sockets=[self.listener]))
        self._ready.set()
        await self._stop.wait()
        web.should_exit = True
        await serving
        await server.stop()


@contextmanager
def served(database: Path, longest: float = 0.05) -> Iterator[Served]:
    """It, up; streams of events end after `longest` seconds."""
    one = Served(database, longest)
    one.start()
    try:
        yield one
    finally:
        one.stop()
