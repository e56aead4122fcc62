"""How long do the status, the timers and the lists take, with many workers and many runs?

    python bench/api.py [N]          N runs (200,000); environment: N, WORKERS (5,000)

It fills a SQLite store with N runs of 20 schedules on the workers, all of which are connected, and
asks the HTTP API in process: once cold, then again and again. It tells the median and the slowest
of the later answers in milliseconds, and how large an answer is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from starlette.types import ASGIApp

from bartos.acting import Actions
from bartos.api.app import create_app
from bartos.api.guard import over_unix_socket
from bartos.enrolment import SharedKeyEnrolment
from bartos.hub import Member
from bartos.news import alarms, connections
from bartos.plan import schedule_rows
from bartos.planning import Planner
from bartos.schedules import load_schedules
from bartos.server import Server
from bartos.services import Connected, Facts, Services
from bartos.store.port import Retention, WorkerRow
from bartos.store.settings import SqliteSettings
from bartos.store.sql import SqlStore
from bartos.store.tables import run
from libbarto.clock import SystemClock
from libbarto.envelope import SigningKey
from libbarto.identity import schedule_uid

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.asgi import request

SECOND = 1_000_000
SCHEDULES = 20
TIMES = 5
PATHS = (
    "/api/v1/status",
    "/api/v1/timers",
    "/api/v1/timers?worker=w00017",
    "/api/v1/runs",
    "/api/v1/runs?schedule=s03",
    "/api/v1/runs?worker=w00017",
    "/api/v1/runs?verdict=ok",
    "/api/v1/runs?verdict=failed",
    "/api/v1/runs?verdict=timed_out",
    "/api/v1/runs?running=true",
    "/api/v1/runs?schedule=s03&verdict=failed",
    "/api/v1/runs?worker=w00017&verdict=lost",
    "/api/v1/schedules?strip=30",
    "/api/v1/schedules/s03",
    "/api/v1/workers?limit=100",
    "/api/v1/workers",
    "/api/v1/workers/w00017",
)


def toml() -> str:
    """Twenty schedules: two for all, three that draw their own times, the others for a part."""
    parts = []
    for number in range(SCHEDULES):
        where = "*" if number < 2 else f"part={number}"
        when = "*-*-* R:R:R" if number % 4 == 3 else f"*-*-* *:{number}"
        parts.append(
            f'[[schedule]]\nname = "s{number:02}"\nworkers = "{where}"\n'
            f'on_calendar = "{when}"\ncmds = ["true"]\n'
        )
    return "\n".join(parts)


def uid(number: int) -> bytes:
    """Of a worker."""
    return b"worker" + number.to_bytes(10, "big")


def rows(count: int, workers: int, now: int) -> Iterator[tuple[object, ...]]:
    """Rows of the table `run`: of each worker three schedules, one run in a thousand fails."""
    chance = random.Random(1)
    uids = [schedule_uid(f"s{number:02}") for number in range(SCHEDULES)]
    for number in range(count):
        worker = number % workers
        turn = number // workers
        which = (0, 1, 2 + worker % (SCHEDULES - 2))[turn % 3]
        slot = now - (count // workers - turn) * 600 * SECOND - worker
        verdict: int | None = 0 if chance.random() > 0.001 else 1
        if turn == count // workers - 1 and worker < 40:
            verdict = None
        run_id = (slot // 1000).to_bytes(6, "big") + number.to_bytes(10, "big")
        ended = None if verdict is None else slot + 5 * SECOND
        yield (
            *(run_id, 1, uids[which], f"s{which:02}", uid(worker), f"w{worker:05}", 0, slot),
            *(slot + 500, 0, 1, slot + 900, ended, verdict, "", verdict, None),
            *(bytes(16), 0, 0, 0, 0, 0, 0, bytes(16), 0, 0, 0, b"", b""),
        )


COLUMNS = [column.name for column in run.columns]


async def filled(path: Path, count: int, workers: int, now: int) -> SqlStore:
    """The store, with all of that in it."""
    store = SqlStore(SqliteSettings(path))
    await store.open()
    schedules = schedule_rows(load_schedules([("bartos.toml", toml())]), [], now)
    await store.replace_schedules(schedules, now)
    await store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        marks = ", ".join("?" for _ in COLUMNS)
        insert = f"INSERT INTO run ({', '.join(COLUMNS)}) VALUES ({marks})"  # noqa: S608
        connection.executemany(insert, rows(count, workers, now))
        connection.executemany(
            "INSERT INTO worker VALUES (?, ?, 1, ?, 1, x'', ?, '2.0.0', '{}', ?, ?, '192.0.2.1')",
            (
                (uid(n), f"w{n:05}", uid(n), f'{{"part": "{2 + n % (SCHEDULES - 2)}"}}', now, now)
                for n in range(workers)
            ),
        )
    await store.open()
    return store


class Silent:
    """A worker's line that nothing is sent on."""

    def displaced(self, reason: str) -> None: ...

    def set_wanted(self) -> None: ...

    def __getattr__(self, name: str) -> object:
        raise AssertionError(name)


class Fleet:
    """The hub, as the faces see it."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def connected(self) -> list[Connected]:
        return connections(self._server.hub)

    async def clean_up_workers(self, before: int) -> int:
        return 0

    def alarms(self) -> dict[bytes, str]:
        return alarms(self._server.hub)

    async def reset_worker(self, row: WorkerRow, who: str, reason: str) -> None: ...


def services(store: SqlStore, workers: int, now: int) -> Services:
    """A server on the store, with all workers connected."""
    planner, clock = Planner(), SystemClock()
    server = Server(
        store,
        planner,
        clock,
        key=SigningKey(bytes(32)),
        retention=Retention,
        random_bytes=os.urandom,
        version="2.0.0",
    )
    for number in range(workers):
        line: object = Silent()
        server.hub.join(
            Member(uid(number), f"w{number:05}", "192.0.2.1", now, "2.0.0", line)  # type: ignore[arg-type]  # nothing is sent
        )
    actions = Actions(
        store, server.dispatching, server.hub, planner, clock, lambda: uuid.uuid4().bytes
    )
    enrolment = SharedKeyEnrolment("https://[::1]:1", b"", "key", "key", Path(os.devnull))
    return Services(
        store,
        Fleet(server),
        enrolment,
        lambda: Facts("key", "sqlite", "bartos.toml"),
        clock,
        actions,
        server.watch,
        server.audit,
        server.feed,
        planner,
        server.overview,
        server.alerting,
    )


async def asked(app: ASGIApp, path: str) -> tuple[int, float]:
    """The size of an answer, and milliseconds until it was there."""
    began = time.perf_counter()
    answer = await request(app, path)
    took = 1000 * (time.perf_counter() - began)
    assert answer.status == 200, answer.body
    return len(answer.body), took


async def main() -> None:
    logging.disable(logging.WARNING)
    count = int((sys.argv[1:] or [os.environ.get("N", "200000")])[0])
    workers = int(os.environ.get("WORKERS", "5000"))
    now = time.time_ns() // 1000
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        store = await filled(Path(directory) / "barto.db", count, workers, now)
        size = (Path(directory) / "barto.db").stat().st_size / 2**20
        print(
            f"{count:,} runs, {workers:,} workers: {size:,.0f} MiB, "
            f"filled in {time.perf_counter() - began:.0f} s"
        )
        given = services(store, workers, now)
        given.planner.load(await store.schedules())
        app = over_unix_socket(create_app(given))
        print(f"{'':44} {'first':>9} {'median':>9} {'slowest':>9} {'KiB':>7}")
        for path in PATHS:
            _, first = await asked(app, path)
            later = [await asked(app, path) for _ in range(TIMES)]
            times = [took for _, took in later]
            print(
                f"{path:44} {first:9.1f} {statistics.median(times):9.1f} {max(times):9.1f} "
                f"{later[0][0] / 1024:7.0f}"
            )
        await store.close()


if __name__ == "__main__":
    asyncio.run(main())
