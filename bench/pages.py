"""How long does each page take, and how large is it, with many workers and many runs?

    python bench/pages.py [N]        N runs (200,000); environment: N, WORKERS (5,000)

The store is that of bench/api.py. A page is asked for in process: once cold, then again and again.
What is told is the median and the slowest of the later answers in milliseconds, how many of them
were work of a processor, and how large the page is with all the files that it fetches; 300 kB is
the most that a page may have.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from starlette.types import ASGIApp

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bartos.api.app import create_app
from bartos.api.guard import over_unix_socket
from bartos.store.port import RunFilter
from bartos.web.assets import ASSETS
from bench.api import filled, services
from libbarto.identity import uuid_text
from tests.asgi import request

TIMES = 5
MOST = 300_000


async def asked(app: ASGIApp, path: str) -> tuple[int, float, float]:
    """The size of a page with its files, milliseconds until it was there, and those of work."""
    began, worked = time.perf_counter(), time.process_time()
    answer = await request(app, path)
    took = 1000 * (time.perf_counter() - began)
    work = 1000 * (time.process_time() - worked)
    assert answer.status == 200, answer.body
    text = answer.body.decode()
    files = sum(
        len(ASSETS[f"{name}.{ending}"].data)
        for name, ending in set(re.findall(r"/static/(\w+)\.[0-9a-f]{12}\.(\w+)", text))
    )
    return len(answer.body) + files, took, work


async def main() -> None:
    logging.disable(logging.WARNING)
    count = int((sys.argv[1:] or [os.environ.get("N", "200000")])[0])
    workers = int(os.environ.get("WORKERS", "5000"))
    now = time.time_ns() // 1000
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        store = await filled(Path(directory) / "barto.db", count, workers, now)
        print(f"{count:,} runs, {workers:,} workers, in {time.perf_counter() - began:.0f} s")
        given = services(store, workers, now)
        given.planner.load(await store.schedules())
        app = over_unix_socket(create_app(given))
        newest = (await store.runs(RunFilter(limit=1)))[0]
        slot = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(newest.slot / 1e6 - 3600))
        paths = (
            *("/", "/schedules", "/schedules/s00", "/workers", "/workers?text=w0001"),
            f"/runs/{uuid_text(newest.run_id)}",
            f"/runs?schedule=s00&slot={quote(slot)}&until={quote(slot[:14])}59:59Z",
            *("/history", "/history?verdict=failed", "/history?schedule=s03&worker=w00001"),
            *("/history?view=day", "/history?view=day&schedule=s03", "/history?text=needle"),
            *("/calendar", "/calendar?text=Mon..Fri+02:30"),
        )
        print(f"{'':64} {'first':>9} {'median':>9} {'slowest':>9} {'work':>9} {'kB':>7}")
        for path in paths:
            _, first, _ = await asked(app, path)
            later = [await asked(app, path) for _ in range(TIMES)]
            times, size = [took for _, took, _ in later], later[0][0]
            work = statistics.median(work for _, _, work in later)
            print(
                f"{path:64} {first:9.1f} {statistics.median(times):9.1f} {max(times):9.1f} "
                f"{work:9.1f} "
                f"{size / 1000:7.0f}{'' if size <= MOST else '  TOO LARGE'}"
            )
        await store.close()


if __name__ == "__main__":
    asyncio.run(main())
