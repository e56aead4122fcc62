"""How many commands a second does the keeper start, and what does a start cost?

    python bench/starts.py [COUNT]

It spawns COUNT (1,000) commands that print a word, follows them to their ends, and tells starts a
second from the first order to the last end, the keeper's and this side's CPU for each, the
keeper's memory, and the latency of a single start, from order to exec, with nothing else to do.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bartoc.keeper_runner import KeeperRunner
from bartoc.runner import AttemptEnded, SpawnOrder, StepStarted
from libbarto.clock import SystemClock

RUN = bytes(16)
ENV = {"PATH": "/usr/bin:/bin", "BARTO_RUN": "bench", "BARTO_ATTEMPT": "1"}
SINGLE = 100


def order(attempt: int) -> SpawnOrder:
    return SpawnOrder(RUN, attempt, (("/bin/sh", "-c", "echo hello"),), ENV)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its children left out (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_mib(pid: int) -> float:
    """Resident memory, and of that what is not shared with others."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def burst(runner: KeeperRunner, count: int) -> float:
    began = time.perf_counter()
    for attempt in range(1, count + 1):
        await runner.spawn(order(attempt))
    await ends(runner, count)
    return time.perf_counter() - began


async def ends(runner: KeeperRunner, count: int) -> None:
    async for event in runner.events():
        if isinstance(event, AttemptEnded):
            await runner.forget(event.run_id, event.attempt)
            count -= 1
        if count == 0:
            return


async def one_by_one(runner: KeeperRunner, first: int) -> list[float]:
    latencies = []
    for attempt in range(first, first + SINGLE):
        began = time.perf_counter()
        await runner.spawn(order(attempt))
        async for event in runner.events():
            if isinstance(event, StepStarted):
                latencies.append(1000 * (time.perf_counter() - began))
            elif isinstance(event, AttemptEnded):
                break
    return latencies


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        runner = KeeperRunner(Path(directory), SystemClock())
        await runner.open()
        keeper = int(await asyncio.to_thread((Path(directory) / "keeper.lock").read_text))
        idle = resident_mib(keeper)
        spent, own = cpu_seconds(keeper), own_cpu_seconds()
        seconds = await burst(runner, count)
        spent, own = cpu_seconds(keeper) - spent, own_cpu_seconds() - own
        print(f"{count / seconds:.0f} starts a second ({count} in {seconds:.2f} s)")
        print(
            f"CPU for each: keeper {1000 * spent / count:.2f} ms, here {1000 * own / count:.2f} ms"
        )
        latencies = await one_by_one(runner, count + 1)
        print(f"a start alone is told of after {statistics.median(latencies):.1f} ms (median)")
        print(
            f"the keeper's memory: {idle:.1f} MiB idle, {resident_mib(keeper):.1f} MiB afterwards"
        )
        await runner.shutdown(0)
        await runner.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
