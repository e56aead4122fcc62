"""The virtual loop and the fake clock: time passes at once, in order, and nothing hangs."""

from __future__ import annotations

import asyncio
import itertools
import socket
import subprocess
import sys
import threading
import time

import pytest

from libbarto.testing import (
    START,
    BackgroundFailure,
    Deadlock,
    Endless,
    FakeClock,
    NotUnderVirtualTime,
    VirtualLoop,
    run,
    settled,
)

DAY = 86_400


def test_three_days_of_heartbeats_pass_at_once() -> None:
    beats: list[float] = []

    async def main() -> None:
        async with asyncio.timeout(3 * DAY):
            while True:
                await asyncio.sleep(5)
                beats.append(asyncio.get_running_loop().time())

    with pytest.raises(TimeoutError):
        run(main())
    assert len(beats) in (3 * DAY / 5, 3 * DAY / 5 - 1)
    assert beats[:3] == [5, 10, 15]


async def test_time_is_exactly_that_of_the_timer() -> None:
    loop = asyncio.get_running_loop()
    for delay in (0.1, 0.2, 1e-6, 7.3, DAY / 7):
        due = loop.time() + delay
        await asyncio.sleep(delay)
        assert abs(loop.time() - due) < 1e-9


async def test_timers_fire_in_the_order_of_their_moments_then_of_their_making() -> None:
    seen: list[str] = []
    loop = asyncio.get_running_loop()
    for name, delay in (("late", 2.0), ("early", 1.0), ("also early", 1.0), ("later", 3.0)):
        loop.call_later(delay, seen.append, name)
    await asyncio.sleep(4)
    assert sorted(seen[:2]) == ["also early", "early"]
    assert seen[2:] == ["late", "later"]


async def test_timers_fire_after_a_hundred_years_too() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(36_525 * DAY)
    for delay in (0.0, 1e-9, 0.5, 1e-7, 0.0):
        due = loop.create_future()
        loop.call_later(delay, due.set_result, None)
        await due
    assert 0.5 <= loop.time() - 36_525 * DAY < 0.51


async def test_what_is_ready_happens_before_time_moves() -> None:
    loop = asyncio.get_running_loop()
    moments: list[float] = []

    async def chain(length: int) -> None:
        if length:
            await asyncio.create_task(chain(length - 1))
        moments.append(loop.time())

    loop.call_later(0.001, moments.append, -1.0)
    await chain(50)
    assert moments == [0.0] * 51


async def test_a_timeout_ends_a_wait_for_ever() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(DAY):
            await asyncio.Event().wait()
    assert asyncio.get_running_loop().time() == DAY


def test_a_lost_wake_up_is_a_deadlock_that_names_who_waits_and_where() -> None:
    async def waits_for_nobody() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(waits_for_nobody(), name="lost soul")
        await task

    with pytest.raises(Deadlock, match="nothing is ready") as caught:
        run(main())
    assert len(caught.value.waiting) == 2
    assert caught.value.waiting[1].startswith("lost soul: ")
    assert "waits_for_nobody" in caught.value.waiting[1]
    assert __file__ in caught.value.waiting[1]


def test_a_deadlock_still_cleans_up() -> None:
    cleaned: list[str] = []

    async def main() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(10)
            cleaned.append("up")

    with pytest.raises(Deadlock):
        run(main())
    assert cleaned == ["up"]


def test_a_lost_wake_up_beside_a_heartbeat_ends_too() -> None:
    async def heartbeat() -> None:
        for _ in itertools.count():
            await asyncio.sleep(5)

    async def main() -> None:
        beating = asyncio.create_task(heartbeat())
        await asyncio.Event().wait()
        beating.cancel()

    with pytest.raises(Endless, match="still not done"):
        run(main(), patience=0.05)


def test_a_task_that_spins_without_letting_time_pass_ends_too() -> None:
    async def main() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    with pytest.raises(Endless):
        run(main(), patience=0.05)


def test_a_failure_that_nobody_awaited_fails_the_run() -> None:
    async def fails() -> None:
        raise OSError("disk full")

    async def main() -> None:
        asyncio.create_task(fails())  # noqa: RUF006  # that nobody keeps it is the point
        await asyncio.sleep(1)

    with pytest.raises(BackgroundFailure, match="OSError: disk full"):
        run(main())


def test_a_failed_callback_is_a_note_on_the_error_of_main() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(int, "x")
        await asyncio.sleep(1)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        run(main())
    assert "invalid literal" in caught.value.__notes__[0]


async def test_threads_are_refused() -> None:
    with pytest.raises(NotUnderVirtualTime, match=r"sleep.* would run in a thread"):
        await asyncio.to_thread(time.sleep, 0)


async def test_processes_are_refused() -> None:
    with pytest.raises(NotUnderVirtualTime, match="processes"):
        await asyncio.create_subprocess_exec("true")
    with pytest.raises(NotUnderVirtualTime, match="processes"):
        await asyncio.create_subprocess_shell("true", stdout=subprocess.DEVNULL)


def test_a_thread_that_calls_in_is_refused_and_named() -> None:
    refused: list[BaseException] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        never = loop.create_future()

        def intrude() -> None:
            try:
                loop.call_soon_threadsafe(never.set_result, None)
            except NotUnderVirtualTime as error:
                refused.append(error)

        thread = threading.Thread(target=intrude, name="intruder")
        thread.start()
        thread.join()
        await never

    with pytest.raises(Deadlock, match="intruder"):
        run(main())
    assert len(refused) == 1


async def test_sockets_work_where_both_ends_are_served_here() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    here, there = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=here)
    echoing = asyncio.create_task(echo(*await asyncio.open_connection(sock=there)))
    writer.write(b"hello\n")
    assert await reader.read() == b"hello\n"
    await echoing
    writer.close()


async def test_settled_waits_for_all_that_follows_and_no_longer() -> None:
    seen: list[int] = []

    async def many_steps() -> None:
        for step in range(20):
            await asyncio.sleep(0)
            seen.append(step)
        await asyncio.sleep(1)
        seen.append(-1)

    task = asyncio.create_task(many_steps())
    await settled()
    assert seen == list(range(20))
    assert asyncio.get_running_loop().time() == 0
    await task


async def test_each_who_waits_for_quiet_gets_a_quiet_moment_of_its_own() -> None:
    seen: list[str] = []

    async def waiter(name: str) -> None:
        await settled()
        await asyncio.sleep(0)
        seen.append(f"{name} woke")
        await asyncio.sleep(0)
        seen.append(f"{name} went on")

    await asyncio.gather(waiter("first"), waiter("second"))
    assert seen == ["first woke", "first went on", "second woke", "second went on"]


STORY = """
import asyncio
from libbarto.testing import run

async def main():
    seen = []
    async def worker(name):
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(name)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(worker(n)) for n in range(40)]
        await asyncio.sleep(1)
        for task in set(tasks):
            task.cancel()
    print(seen, [task.get_name() for task in tasks][:3])

run(main())
"""


def test_two_runs_take_the_same_steps_even_through_sets_of_tasks() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", f"x = [object() for _ in range({junk})]\n{STORY}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for junk in (1, 1777)
    }
    assert len(told) == 1
    assert "[0, 1, 2, 3" in told.pop()


async def test_an_async_test_runs_in_virtual_time() -> None:
    assert isinstance(asyncio.get_running_loop(), VirtualLoop)


@pytest.mark.real_loop
async def test_a_marked_one_runs_in_real_time() -> None:
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)


async def test_the_fake_clock_shows_the_time_of_the_loop() -> None:
    clock = FakeClock()
    await clock.advance(days=1, hours=1, minutes=1, seconds=1.5)
    assert clock.now() - START == (DAY + 3_661) * 1_000_000 + 500_000
    assert asyncio.get_running_loop().time() == DAY + 3_661.5


async def test_who_sleeps_until_a_moment_never_wakes_before_it() -> None:
    clock = FakeClock()
    for step in range(2_000):
        due = START + step * 1_299_999_999 + 1
        await clock.sleep(max(0, due - clock.now()) / 1_000_000)
        assert clock.now() == due


async def test_advancing_lets_all_happen_that_the_moment_of_arrival_brings() -> None:
    clock = FakeClock()
    seen: list[str] = []

    async def at_midnight() -> None:
        await asyncio.sleep(30)
        for _ in range(5):
            await asyncio.sleep(0)
        seen.append("midnight")

    task = asyncio.create_task(at_midnight())
    await clock.advance(seconds=30)
    assert seen == ["midnight"]
    await task


async def test_a_step_moves_the_wall_clock_alone() -> None:
    clock = FakeClock()
    up = clock.boottime()
    clock.step(-3_600)
    assert clock.now() == START - 3_600_000_000
    assert clock.boottime() == up
    assert asyncio.get_running_loop().time() == 0


async def test_in_suspend_the_timers_stand_still_and_the_clocks_do_not() -> None:
    clock = FakeClock(uptime=100)
    clock.suspend(500)
    assert clock.now() == START + 500_000_000
    assert clock.boottime() == 600
    assert asyncio.get_running_loop().time() == 0


async def test_after_a_reboot_the_boot_is_another_and_begins_at_zero() -> None:
    clock = FakeClock()
    before = clock.boot_id
    await clock.advance(seconds=5)
    clock.reboot()
    assert clock.boot_id != before
    assert len(clock.boot_id) == 16
    assert clock.boottime() == 0
    await clock.advance(seconds=5)
    assert clock.boottime() == 5
    assert clock.now() == START + 10_000_000


def test_a_clock_made_outside_a_loop_starts_at_its_first_reading_in_one() -> None:
    clock = FakeClock()
    assert clock.now() == START

    async def main() -> None:
        await asyncio.sleep(10)
        assert clock.now() == START
        await asyncio.sleep(10)
        assert clock.now() == START + 10_000_000

    run(main())


def test_a_boot_id_has_16_bytes() -> None:
    clock = FakeClock(boot_id=bytes(16))
    with pytest.raises(ValueError, match="16 bytes"):
        clock.boot_id = b"short"
    clock.boot_id = b"x" * 16
    assert clock.boot_id == b"x" * 16
