"""What every clock does, be it the host's or a fake one; the real one on the real loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from libbarto.clock import SECOND, Clock, SystemClock
from libbarto.testing import FakeClock

clocks = pytest.mark.parametrize(
    "make",
    [
        pytest.param(FakeClock, id="fake"),
        pytest.param(SystemClock, id="system", marks=pytest.mark.real_loop),
    ],
)
Make = Callable[[], Clock]


@clocks
async def test_now_is_whole_microseconds_of_this_century(make: Make) -> None:
    now = make().now()
    assert type(now) is int
    assert 1_600_000_000 * SECOND < now < 4_000_000_000 * SECOND


@clocks
async def test_sleeping_lets_both_clocks_go_on_by_as_much(make: Make) -> None:
    clock = make()
    now, up = clock.now(), clock.boottime()
    await clock.sleep(0.05)
    assert clock.boottime() - up >= 0.049
    assert clock.now() - now >= 49_000
    assert clock.boottime() - up < 30


@clocks
async def test_the_boot_time_never_goes_back(make: Make) -> None:
    clock = make()
    readings = [clock.boottime() for _ in range(100)]
    assert readings == sorted(readings)
    assert readings[0] >= 0


@clocks
async def test_the_boot_id_is_16_bytes_and_stays(make: Make) -> None:
    clock = make()
    first = clock.boot_id
    await clock.sleep(0.001)
    assert len(first) == 16
    assert first not in (bytes(16), b"\xff" * 16)
    assert clock.boot_id == first


@clocks
async def test_sleeping_for_no_time_lets_others_run(make: Make) -> None:
    clock = make()
    seen: list[str] = []
    for seconds in (0.0, -1.0):
        asyncio.get_running_loop().call_soon(seen.append, "other")
        await clock.sleep(seconds)
    assert seen == ["other", "other"]


@clocks
async def test_a_sleep_can_be_cancelled(make: Make) -> None:
    clock = make()
    sleeping = asyncio.create_task(clock.sleep(3_600))
    await clock.sleep(0)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping


@clocks
async def test_it_can_be_used_with_the_timeouts_of_asyncio(make: Make) -> None:
    clock = make()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await clock.sleep(3_600)


def test_the_system_clock_shows_what_the_host_shows() -> None:
    clock = SystemClock()
    assert abs(clock.now() - time.time() * SECOND) < SECOND
    assert clock.boottime() == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=1)


def test_two_programs_on_one_host_read_the_same_boot_id() -> None:
    code = "from libbarto.clock import SystemClock; print(SystemClock().boot_id.hex())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert bytes.fromhex(other.stdout.strip()) == SystemClock().boot_id
