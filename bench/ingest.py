"""How many records a second does the store take, and in how many milliseconds does a commit end?

    python bench/ingest.py [WORKERS]

It lets WORKERS (200) workers report runs at once: each batch claims a run, starts, ends a step
and the run, and brings two chunks of 200 bytes; a commit takes the batches of all workers. Then
chunks of 32 KiB. Both databases: SQLite in a temporary directory, and a MariaDB of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from bartos.store.port import Batch, EpochClaim, Record
from bartos.store.settings import MariaDbSettings, SqliteSettings, StoreSettings
from bartos.store.sql import SqlStore
from libbarto.message.v2.record import (
    Claimed,
    Ended,
    Lane,
    Output,
    Started,
    Status,
    Stream,
    StreamTotals,
)
from libbarto.message.v2.segment import Segment, pack

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tests/mariadb.py starts a MariaDB

from tests.mariadb import MariaDB, installed

ROUNDS = 20
SLOT = 1_800_000_000_000_000
SMALL, LARGE = b"a line of output\n" * 12, b"x" * 32_768
SCHEDULE = b"c" * 16


class Worker:
    """Reports one run a round."""

    def __init__(self, number: int) -> None:
        self.name = f"w{number}"
        self.uid = b"w" * 12 + number.to_bytes(4, "big")
        self.spool = b"s" * 12 + number.to_bytes(4, "big")
        self.seq = {Lane.STATE: 0, Lane.OUTPUT: 0}

    def batch(self, lane: Lane, records: list[Record]) -> Batch:
        first = self.seq[lane] + 1
        self.seq[lane] += len(records)
        return Batch(self.uid, self.name, self.spool, lane, 1, first, bytes(8), records)

    def run(self, round_: int) -> list[Batch]:
        at = SLOT + round_ * 1_000_000
        run_id = (at // 1000).to_bytes(6, "big") + b"\x80\0" + self.uid[-8:]
        state: list[Record] = [
            Claimed(
                run_id=run_id, attempt=1, kind=0, schedule_uid=SCHEDULE, schedule="bench",
                slot=at, at=at,
            ),
            Started(run_id=run_id, attempt=1, pid=7, at=at),
            Status(
                run_id=run_id, attempt=1, step=1, command="true", exit_code=0, success=True,
                started_at=at, ended_at=at,
            ),
            Ended(
                run_id=run_id, attempt=1, verdict=0, started_at=at, ended_at=at, output_seq=2,
                totals=[StreamTotals(stream=1, bytes_=2 * len(SMALL), lines=24)],
            ),
        ]  # fmt: skip
        printed: list[Record] = [chunk(run_id, number, SMALL) for number in range(2)]
        return [self.batch(Lane.STATE, state), self.batch(Lane.OUTPUT, printed)]

    def flood(self, chunks: int) -> Batch:
        run_id = (SLOT // 1000).to_bytes(6, "big") + b"\x80\0" + self.uid[-8:]
        return self.batch(Lane.OUTPUT, [chunk(run_id, 100 + n, LARGE) for n in range(chunks)])


def chunk(run_id: bytes, number: int, data: bytes) -> Output:
    return Output(
        run_id=run_id, attempt=1, chunk_no=number, step=1, offset=number * len(data),
        first_line=0, lines=data.count(b"\n"), started_at=SLOT,
        segments=pack([Segment(stream=Stream.STDOUT, length=len(data))]), data=data,
    )  # fmt: skip


async def measure(name: str, settings: StoreSettings, count: int) -> None:
    store = SqlStore(settings)
    await store.open()
    workers = [Worker(number) for number in range(count)]
    for worker in workers:
        await store.confirm_epoch(
            EpochClaim(worker.uid, worker.name, 1, worker.spool, {}, "", {}, "", SLOT)
        )
    times, began = [], time.perf_counter()
    for round_ in range(ROUNDS):
        batches = [batch for worker in workers for batch in worker.run(round_)]
        start = time.perf_counter()
        assert all(await store.append(batches))
        times.append(time.perf_counter() - start)
    seconds = time.perf_counter() - began
    runs = ROUNDS * count
    print(
        f"{name:8} {runs / seconds:7,.0f} runs/s ({6 * runs / seconds:,.0f} records/s), a commit "
        f"of {count} workers {statistics.median(times) * 1000:.0f} ms, "
        f"at most {max(times) * 1000:.0f} ms"
    )
    began, size = time.perf_counter(), 0
    for worker in workers[:20]:
        batch = worker.flood(100)
        assert all(await store.append([batch]))
        size += len(batch.records) * len(LARGE)
    seconds = time.perf_counter() - began
    print(f"{name:8} {size / seconds / 1e6:7,.0f} MB/s in chunks of 32 KiB")
    await store.close()


@contextlib.asynccontextmanager
async def databases() -> AsyncIterator[dict[str, StoreSettings]]:
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        found: dict[str, StoreSettings] = {"SQLite": SqliteSettings(Path(place) / "barto.db")}
        if installed():
            server = stack.enter_context(MariaDB(Path(place) / "mariadb"))
            found["MariaDB"] = MariaDbSettings(
                server.host, server.port, None, server.user, server.password, server.database
            )
        else:
            print("MariaDB: not installed here, so not measured")
        yield found


async def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    async with databases() as found:
        for name, settings in found.items():
            await measure(name, settings, count)


if __name__ == "__main__":
    asyncio.run(main())
