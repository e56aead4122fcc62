"""Runners: one suite over the scripted twin in virtual time and a real keeper in real time."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest

from bartoc.keeper_runner import KeeperRunner
from bartoc.runner import (
    SHORT_BYTES,
    STDERR,
    STDOUT,
    AttemptEnded,
    Event,
    Flow,
    Known,
    NotStarted,
    OutputRead,
    Runner,
    RunnerLost,
    RunState,
    ScriptedRunner,
    SpawnOrder,
    StepEnded,
    StepStarted,
)
from libbarto.clock import Clock, SystemClock
from libbarto.testing import FakeClock
from tests.keepers import end_keeper, keeper_pid

RUN = bytes(range(16))
ENV = {
    "PATH": "/usr/bin:/bin",
    "BARTO_RUN": f"{RUN.hex()}-{os.getpid()}",  # tests may run side by side
    "BARTO_ATTEMPT": "1",
}


class Rig:
    """A runner of either kind, its clock, and its faults."""

    runner: Runner
    clock: Clock

    async def lose_keeper(self) -> None:
        raise NotImplementedError


class ScriptedRig(Rig):
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.runner = self.scripted = ScriptedRunner(self.clock)

    async def lose_keeper(self) -> None:
        self.scripted.lose_keeper()


class KeeperRig(Rig):
    def __init__(self, directory: Path) -> None:
        self.clock = SystemClock()
        self.directory = directory
        self.runner = KeeperRunner(directory, self.clock)

    async def lose_keeper(self) -> None:
        os.kill(keeper_pid(self.directory), signal.SIGKILL)


@pytest.fixture(params=["scripted", pytest.param("keeper", marks=pytest.mark.real_loop)])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if request.param == "scripted":
        yield ScriptedRig()
    else:
        yield KeeperRig(tmp_path)
        end_keeper(tmp_path)


def order(
    *scripts: str,
    attempt: int = 1,
    env: Mapping[str, str] = ENV,
    timeout: float | None = None,
    kill_after: float = 10.0,
    continue_on_error: bool = False,
    deadline: float | None = None,
    slot: int | None = None,
    cwd: str | None = None,
    shell: str = "/bin/sh",
) -> SpawnOrder:
    return SpawnOrder(
        RUN,
        attempt,
        tuple((shell, "-c", script) for script in scripts),
        env,
        cwd=cwd,
        timeout=timeout,
        kill_after=kill_after,
        continue_on_error=continue_on_error,
        deadline=deadline,
        slot=slot,
    )


async def told(runner: Runner, attempt: int = 1) -> list[Event]:
    """What is told of an attempt, up to its end."""
    heard: list[Event] = []
    async for event in runner.events():
        if event.attempt == attempt:
            heard.append(event)
            if isinstance(event, AttemptEnded | NotStarted):
                return heard
    raise AssertionError(f"the runner was lost after {heard}")


async def first(runner: Runner, kind: type[Event]) -> Event:
    async for event in runner.events():
        if isinstance(event, kind):
            return event
    raise AssertionError("the runner was lost")


def printed(events: list[Event], stream: int) -> bytes:
    return b"".join(
        frame.data
        for event in events
        if isinstance(event, OutputRead)
        for frame in event.frames
        if frame.stream == stream
    )


def ends(events: list[Event]) -> list[tuple[int, int | None, int | None, str | None]]:
    return [
        (event.step, event.exit_code, event.signal, event.reason)
        for event in events
        if isinstance(event, StepEnded)
    ]


def ended(events: list[Event]) -> AttemptEnded:
    assert isinstance(events[-1], AttemptEnded)
    return events[-1]


async def test_a_command_is_told_from_its_start_to_its_end(rig: Rig) -> None:
    assert await rig.runner.open() == ()
    before = rig.clock.now()
    await rig.runner.spawn(order("echo hi; sleep 0.01; echo oops >&2; printf more; exit 3"))
    events = await told(rig.runner)
    assert isinstance(events[0], StepStarted)
    assert ends(events) == [(0, 3, None, None)]
    assert printed(events, STDOUT) == b"hi\nmore"
    assert printed(events, STDERR) == b"oops\n"
    end = ended(events)
    assert (end.timed_out, end.cancelled, end.orphans_killed) == (False, False, 0)
    out, err = end.streams[STDOUT], end.streams[STDERR]
    assert (out.bytes, out.lines) == (7, 2)
    assert (err.bytes, err.lines) == (5, 1)
    assert out.sha256 == hashlib.sha256(b"hi\nmore").digest()
    assert before <= events[0].at <= end.at <= rig.clock.now()


async def test_positions_grow_and_output_comes_before_the_end_of_its_step(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("echo one", "echo two"))
    events = await told(rig.runner)
    assert [type(event).__name__ for event in events] == [
        "StepStarted",
        "OutputRead",
        "StepEnded",
        "StepStarted",
        "OutputRead",
        "StepEnded",
        "AttemptEnded",
    ]
    outputs = [event for event in events if isinstance(event, OutputRead)]
    assert [event.frames[0].step for event in outputs] == [0, 1]
    assert 0 < outputs[0].position < outputs[1].position


async def test_the_first_failing_step_ends_the_attempt(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("exit 0", "exit 7", "exit 0"))
    assert ends(await told(rig.runner)) == [(0, 0, None, None), (1, 7, None, None)]


async def test_steps_go_on_after_an_error_where_that_is_wanted(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("exit 7", "kill -9 $$", "exit 0", continue_on_error=True))
    assert ends(await told(rig.runner)) == [
        (0, 7, None, None),
        (1, None, 9, None),
        (2, 0, None, None),
    ]


async def test_a_program_that_does_not_exist_is_an_end_with_a_reason(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("exit 0", shell="/nonexistent/sh"))
    reason = "could not start: /nonexistent/sh: No such file or directory"
    assert ends(await told(rig.runner)) == [(0, None, None, reason)]


async def test_a_directory_that_does_not_exist_is_an_end_with_a_reason(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("exit 0", "exit 0", cwd="/nonexistent/here"))
    reason = "could not start: directory /nonexistent/here: No such file or directory"
    assert ends(await told(rig.runner)) == [(0, None, None, reason)]


async def test_commands_see_the_environment_of_the_order(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("echo $GREETING $NOBODY.", env={**ENV, "GREETING": "hello"}))
    assert printed(await told(rig.runner), STDOUT).split() == [b"hello", b"."]


@pytest.mark.parametrize(
    ("script", "said", "code"),
    [
        ("true && echo yes || echo no", b"yes\n", 0),
        ("false && echo yes || echo no", b"no\n", 0),
        ("test 2 -ge 10 && echo yes", b"", 1),
        ("test $BARTO_ATTEMPT -ge 1; echo 'a;  b'  c", b"a;  b c\n", 0),
        ("test a = a && printf x\nprintf y", b"xy", 0),
        ("test 1 -eq 2 || exit 9", b"", 9),
        ("nonesuch", b"", 127),
        ("", b"", 0),
    ],
)
async def test_the_twin_reads_these_words_as_a_shell_does(
    rig: Rig, script: str, said: bytes, code: int
) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order(script))
    events = await told(rig.runner)
    assert printed(events, STDOUT) == said
    assert ends(events) == [(0, code, None, None)]


async def test_a_repeat_starts_nothing(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("echo once"))
    await rig.runner.spawn(order("echo twice"))
    events = await told(rig.runner)
    assert printed(events, STDOUT) == b"once\n"
    await rig.runner.spawn(order("echo thrice"))
    await rig.runner.spawn(order("echo another", attempt=2))
    assert {event.attempt async for event in until_end(rig.runner, attempt=2)} == {2}


async def until_end(runner: Runner, attempt: int) -> AsyncIterator[Event]:
    async for event in runner.events():
        yield event
        if event.attempt == attempt and isinstance(event, AttemptEnded):
            return


async def test_after_its_deadline_an_attempt_does_not_start(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("echo no", deadline=rig.clock.boottime() - 0.001))
    event = (await told(rig.runner))[-1]
    assert isinstance(event, NotStarted)
    assert event.certain
    assert event.reason == "its deadline had passed"
    assert [known.state for known in await rig.runner.open()] == [RunState.NOT_STARTED]


async def test_before_its_slot_an_attempt_does_not_start(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("echo no", slot=rig.clock.now() + 60_000_000))
    event = (await told(rig.runner))[-1]
    assert isinstance(event, NotStarted)
    assert event.certain
    assert event.reason == "the host's clock was before the planned start"


async def test_in_time_an_attempt_starts(rig: Rig) -> None:
    await rig.runner.open()
    now, deadline = rig.clock.now(), rig.clock.boottime() + 10
    await rig.runner.spawn(order("exit 0", slot=now, deadline=deadline))
    assert ends(await told(rig.runner)) == [(0, 0, None, None)]


async def test_a_timeout_ends_all_steps_with_TERM(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("sleep 50", "echo no", timeout=0.2, continue_on_error=True))
    events = await told(rig.runner)
    assert ends(events) == [(0, None, signal.SIGTERM, "timeout")]
    assert ended(events).timed_out
    assert not ended(events).cancelled


async def test_what_ignores_TERM_is_killed(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("trap '' TERM; sleep 50", timeout=1.0, kill_after=0.2))
    events = await told(rig.runner)
    assert ends(events) == [(0, None, signal.SIGKILL, "timeout")]


async def test_a_cancelled_attempt_says_so(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("echo on; sleep 50", "echo no"))
    await first(rig.runner, OutputRead)
    await rig.runner.cancel(RUN, 1, 10.0)
    await rig.runner.cancel(RUN, 1, 10.0)
    await rig.runner.cancel(RUN, 77, 10.0)
    events = await told(rig.runner)
    assert ends(events) == [(0, None, signal.SIGTERM, "cancelled")]
    assert ended(events).cancelled
    assert not ended(events).timed_out


async def test_commands_go_on_while_nobody_listens(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("echo one; sleep 1; echo two", "echo three; exit 4"))
    one = await first(rig.runner, OutputRead)
    assert isinstance(one, OutputRead)
    await rig.runner.taken(RUN, 1, one.position)
    await rig.runner.close()
    assert await rig.runner.open() == (Known(RUN, 1, RunState.RUNNING, one.position),)
    await rig.runner.resume(RUN, 1, one.position)
    events = await told(rig.runner)
    assert printed(events, STDOUT) == b"two\nthree\n"
    assert ends(events) == [(0, 0, None, None), (1, 4, None, None)]
    assert isinstance(events[0], StepStarted)
    assert ended(events).streams[STDOUT].bytes == len(b"one\ntwo\nthree\n")


async def test_nothing_is_told_of_a_known_attempt_until_it_is_resumed(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("echo one"))
    await told(rig.runner)
    (known,) = await rig.runner.open()
    assert (known.run_id, known.attempt, known.state) == (RUN, 1, RunState.ENDED)
    assert known.position > 0
    await rig.runner.spawn(order("echo two", attempt=2))
    assert printed([event async for event in until_end(rig.runner, 2)], STDOUT) == b"two\n"
    await rig.runner.resume(RUN, 1, 0)
    assert printed(await told(rig.runner), STDOUT) == b"one\n"
    await rig.runner.resume(RUN, 1, known.position)
    assert printed(await told(rig.runner), STDOUT) == b""


async def test_what_is_forgotten_is_not_known_any_more(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("echo one"))
    await told(rig.runner)
    await rig.runner.forget(RUN, 1)
    await rig.runner.forget(RUN, 1)
    assert await rig.runner.open() == ()


async def test_what_is_forgotten_while_it_runs_goes_on_unheard(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("sleep 0.1; echo unheard; exit 5"))
    await first(rig.runner, StepStarted)
    await rig.runner.forget(RUN, 1)
    await rig.runner.spawn(order("sleep 0.4; exit 6", attempt=2))
    assert ends(await told(rig.runner, 2)) == [(0, 6, None, None)]
    assert [known.attempt for known in await rig.runner.open()] == [2]


async def test_output_waits_with_what_comes_after_it_and_goes_on(rig: Rig) -> None:
    await rig.runner.open()
    rig.runner.let_output(Flow.WAIT)
    long = "x" * (SHORT_BYTES // 2)
    await rig.runner.spawn(order(f"echo {long}", f"echo {long}", f"echo {long}; exit 3"))
    await rig.runner.spawn(order("echo short; exit 4", attempt=2))
    events = await told(rig.runner, 2)
    assert printed(events, STDOUT) == b"short\n"
    assert ends(events) == [(0, 4, None, None)]
    rig.runner.let_output(Flow.GO)
    await rig.runner.resume(RUN, 1, 0)
    events = await told(rig.runner)
    assert len(printed(events, STDOUT)) == 3 * len(long) + 3
    assert ends(events)[-1] == (2, 3, None, None)


async def test_output_that_is_dropped_is_counted_exactly(rig: Rig) -> None:
    await rig.runner.open()
    rig.runner.let_output(Flow.DROP)
    await rig.runner.spawn(order("echo one; echo two; exit 3"))
    events = await told(rig.runner)
    frames = [frame for one in events if isinstance(one, OutputRead) for frame in one.frames]
    assert not any(frame.data for frame in frames)
    assert (sum(f.lost for f in frames), sum(f.lost_lines for f in frames)) == (8, 2)
    assert ends(events) == [(0, 3, None, None)]
    end = events[-1]
    assert isinstance(end, AttemptEnded)
    assert end.streams[STDOUT].bytes == 8  # what was printed, wherever it is
    await rig.runner.open()
    rig.runner.let_output(Flow.GO)
    await rig.runner.resume(RUN, 1, 0)  # nothing was taken over: all of it is here again
    assert printed(await told(rig.runner), STDOUT) == b"one\ntwo\n"


async def test_only_an_open_runner_takes_orders(rig: Rig) -> None:
    with pytest.raises(RunnerLost):
        await rig.runner.spawn(order("echo no"))
    await rig.runner.open()
    await rig.runner.close()
    await rig.runner.close()
    with pytest.raises(RunnerLost):
        await rig.runner.taken(RUN, 1, 0)
    assert await rig.runner.open() == ()


async def test_events_end_when_the_runner_is_closed(rig: Rig) -> None:
    await rig.runner.open()

    async def listen() -> list[Event]:
        return [event async for event in rig.runner.events()]

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    await rig.runner.close()
    assert await listening == []


async def test_a_shutdown_ends_every_command_and_refuses_new_ones(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("echo up; sleep 50"))
    await rig.runner.spawn(order("trap '' TERM; echo up; sleep 50", attempt=2))
    up = 0
    async for event in rig.runner.events():
        up += isinstance(event, OutputRead)
        if up == 2:
            break
    await rig.runner.shutdown(0.3)
    await rig.runner.spawn(order("echo no", attempt=3))
    finals: dict[int, list[Event]] = {1: [], 2: [], 3: []}
    async for event in rig.runner.events():
        finals[event.attempt].append(event)
        if all(
            told and isinstance(told[-1], AttemptEnded | NotStarted) for told in finals.values()
        ):
            break
    assert ends(finals[1]) == [(0, None, signal.SIGTERM, "stopped")]
    assert ends(finals[2]) == [(0, None, signal.SIGKILL, "stopped")]
    assert ended(finals[1]).cancelled
    refused = finals[3][-1]
    assert isinstance(refused, NotStarted)
    assert (refused.certain, refused.reason) == (True, "the worker is stopping")
    await rig.runner.close()
    assert {known.attempt for known in await rig.runner.open()} == {1, 2}


async def test_with_the_keeper_its_attempts_are_interrupted(rig: Rig) -> None:
    await rig.runner.open()
    await rig.runner.spawn(order("exit 6", attempt=2))
    await told(rig.runner, attempt=2)
    await rig.runner.spawn(order("echo up; sleep 50"))
    up = await first(rig.runner, OutputRead)
    assert isinstance(up, OutputRead)
    await rig.lose_keeper()
    assert [event async for event in rig.runner.events()] == []
    with pytest.raises(RunnerLost):
        await rig.runner.cancel(RUN, 1, 1.0)
    known = {known.attempt: known for known in await rig.runner.open()}
    assert known[1] == Known(RUN, 1, RunState.INTERRUPTED, up.position)
    assert known[2].state is RunState.ENDED
    await rig.runner.resume(RUN, 1, 0)
    events = await told(rig.runner)
    assert [type(event).__name__ for event in events] == [
        "StepStarted",
        "OutputRead",
        "NotStarted",
    ]
    assert isinstance(events[-1], NotStarted)
    assert not events[-1].certain
    assert events[-1].reason == "the keeper was lost while the command ran"
    await rig.runner.resume(RUN, 2, 0)
    assert ends(await told(rig.runner, attempt=2)) == [(0, 6, None, None)]
    await rig.runner.forget(RUN, 1)
    await rig.runner.forget(RUN, 2)
    assert await rig.runner.open() == ()
