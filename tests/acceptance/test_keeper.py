"""The keeper with real processes: exact ends, every byte, nothing left alive, whoever dies."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bartoc.keeper import tree
from bartoc.keeper_runner import KeeperRunner
from bartoc.runner import (
    STDERR,
    STDOUT,
    UNTAKEN_MAX,
    AttemptEnded,
    Event,
    NotStarted,
    OutputRead,
    RunState,
    SpawnOrder,
    StepEnded,
    StepStarted,
)
from libbarto.clock import SystemClock
from tests.keepers import end_keeper, keeper_pid
from tests.small_disk import fill, free, small_disk

pytestmark = pytest.mark.real_loop

RUN = b"keeper acceptanc"
PYTHON = sys.executable


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[KeeperRunner]:
    yield KeeperRunner(tmp_path, SystemClock())
    end_keeper(tmp_path)


def order(
    *scripts: str, attempt: int = 1, shell: tuple[str, ...] = ("/bin/sh", "-c")
) -> SpawnOrder:
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "BARTO_RUN": f"{RUN.hex()}-{os.getpid()}",
        "BARTO_ATTEMPT": str(attempt),
    }
    steps = tuple((*shell, script) for script in scripts)
    return SpawnOrder(RUN, attempt, steps, env, continue_on_error=True)


async def told(runner: KeeperRunner, attempt: int = 1) -> list[Event]:
    """What is told of an attempt up to its end; its output is taken over as it comes."""
    heard: list[Event] = []
    async for event in runner.events():
        if isinstance(event, OutputRead):
            await runner.taken(event.run_id, event.attempt, event.position)
        if event.attempt == attempt:
            heard.append(event)
            if isinstance(event, AttemptEnded | NotStarted):
                return heard
    raise AssertionError(f"the keeper was lost after {heard}")


async def printed_line(runner: KeeperRunner) -> str:
    """The next output, which is a line."""
    async for event in runner.events():
        if isinstance(event, OutputRead):
            return b"".join(frame.data for frame in event.frames).decode()
    raise AssertionError("the keeper was lost")


def output(events: list[Event], stream: int = STDOUT) -> bytes:
    return b"".join(
        frame.data
        for event in events
        if isinstance(event, OutputRead)
        for frame in event.frames
        if frame.stream == stream
    )


def ends(events: list[Event]) -> list[tuple[int | None, int | None, str | None]]:
    found = [event for event in events if isinstance(event, StepEnded)]
    return [(event.exit_code, event.signal, event.reason) for event in found]


def ended(events: list[Event]) -> AttemptEnded:
    assert isinstance(events[-1], AttemptEnded)
    return events[-1]


def alive(pid: int) -> bool:
    found = tree.process(pid)
    return found is not None and not found.zombie


def peak_kib(pid: int) -> int:
    """The most memory that a process ever had resident (VmHWM, proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


async def until(fact: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until `fact` holds."""
    async with asyncio.timeout(seconds):
        while not fact():  # noqa: ASYNC110 - processes and files set no event
            await asyncio.sleep(0.005)


async def test_exit_codes_are_exact(runner: KeeperRunner) -> None:
    await runner.open()
    codes = [0, 1, 2, 77, 126, 127, 128, 137, 255]
    await runner.spawn(order(*(f"exit {code}" for code in codes)))
    assert ends(await told(runner)) == [(code, None, None) for code in codes]


async def test_signals_are_exact(runner: KeeperRunner) -> None:
    await runner.open()
    numbers = [1, 2, 3, 6, 9, 10, 11, 13, 15, 25, 31, 34, 64]
    await runner.spawn(order(*(f"ulimit -c 0; kill -{number} $$" for number in numbers)))
    assert ends(await told(runner)) == [(None, number, None) for number in numbers]


async def test_what_cannot_start_says_exactly_why(runner: KeeperRunner, tmp_path: Path) -> None:
    await runner.open()
    plain = tmp_path / "plain"
    plain.write_text("echo hi\n")
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x00\x01\x02\x03")
    garbage.chmod(0o755)
    orphan = tmp_path / "orphan"
    orphan.write_text("#!/nonexistent/interpreter\n")
    orphan.chmod(0o755)
    programs = ["/nonexistent/sh", str(plain), str(garbage), str(orphan), "nonesuch"]
    for attempt, program in enumerate(programs, 1):
        await runner.spawn(order("x", attempt=attempt, shell=(program,)))
    reasons = []
    for attempt in range(1, len(programs) + 1):
        await runner.resume(RUN, attempt, 0)
        ((code, number, reason),) = ends(await told(runner, attempt))
        assert (code, number) == (None, None)
        reasons.append(reason)
    assert reasons == [
        "could not start: /nonexistent/sh: No such file or directory",
        f"could not start: {plain}: Permission denied",
        f"could not start: {garbage}: Exec format error",
        f"could not start: {orphan}: the interpreter that its first line names does not exist",
        "could not start: nonesuch: No such file or directory",
    ]


async def test_a_missing_directory_and_user_say_so(runner: KeeperRunner) -> None:
    await runner.open()
    await runner.spawn(replace(order("exit 0"), cwd="/nonexistent"))
    assert ends(await told(runner)) == [
        (None, None, "could not start: directory /nonexistent: No such file or directory")
    ]
    await runner.spawn(replace(order("exit 0", attempt=2), user="no-such-user"))
    assert ends(await told(runner, 2)) == [
        (None, None, "could not start: user no-such-user: no such user on this host")
    ]
    await runner.spawn(replace(order("exit 0", attempt=3), env={"A": "nul\0"}))
    assert ends(await told(runner, 3)) == [
        (None, None, "could not start: /bin/sh: embedded null byte")
    ]


async def test_a_command_runs_as_its_user_where_that_is_allowed(runner: KeeperRunner) -> None:
    await runner.open()
    await runner.spawn(replace(order("id -un; id -Gn"), user="nobody", cwd="/"))
    events = await told(runner)
    if os.geteuid() == 0:
        assert output(events) == b"nobody\nnogroup\n"
    else:
        refused = "could not start: user nobody: Operation not permitted"
        assert ends(events) == [(None, None, refused)]


async def test_a_command_starts_with_a_clean_slate(runner: KeeperRunner, tmp_path: Path) -> None:
    await runner.open()
    probe = (
        "import os, signal, sys\n"
        "mask = os.umask(0)\n"
        "fds = sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:-1]\n"
        "status = dict(l.split(':\\t') for l in open('/proc/self/status').read().splitlines())\n"
        "print(fds, os.readlink('/proc/self/fd/0'), oct(mask), os.getsid(0) == os.getpid())\n"
        "print(os.getcwd(), os.nice(0), sorted(os.environ), sys.stdin.read() == '')\n"
        "print(status['SigBlk'], status['NoNewPrivs'])\n"
    )
    shell = ("/bin/sh", "-c", f'cd "$HERE"; grep SigIgn /proc/self/status; exec {PYTHON} -ISc "$0"')
    asked = replace(order(probe, shell=shell), nice=5, cwd=str(tmp_path))
    await runner.spawn(replace(asked, env={**asked.env, "HERE": str(tmp_path)}))
    ignored, one, two, three = output(await told(runner)).decode().splitlines()
    # 32 and 33 are glibc's own; its posix_spawn (as in make) ignores them for all that follows.
    assert int(ignored.split()[1], 16) & ~(0b11 << 31) == 0
    assert one == "[0, 1, 2] /dev/null 0o22 True"
    names = sorted({*asked.env, "HERE", "PWD", "OLDPWD"})
    assert two == f"{tmp_path} 5 {names} True"
    assert three == "0000000000000000 0"


async def test_output_is_kept_byte_for_byte(runner: KeeperRunner, tmp_path: Path) -> None:
    await runner.open()
    blob = tmp_path / "blob"
    blob.write_bytes(bytes(range(256)) * 100 + b"\xff\xfe\0\r no end of line")
    await runner.spawn(order(f"cat {blob}; cat {blob} {blob} >&2"))
    events = await told(runner)
    assert output(events) == blob.read_bytes()
    assert output(events, STDERR) == blob.read_bytes() * 2
    streams = ended(events).streams
    assert streams[STDOUT].bytes == blob.stat().st_size
    assert streams[STDERR].sha256 == hashlib.sha256(blob.read_bytes() * 2).digest()
    assert streams[STDOUT].lines == blob.read_bytes().count(b"\n") + 1


async def test_a_hundred_megabytes_on_one_line_take_no_memory(
    runner: KeeperRunner, tmp_path: Path
) -> None:
    await runner.open()
    await runner.spawn(order("head -c 100000000 /dev/zero | tr '\\0' x"))
    sha256, size, segments = hashlib.sha256(), 0, 0
    async for event in runner.events():
        if isinstance(event, OutputRead):
            for frame in event.frames:
                sha256.update(frame.data)
                size += len(frame.data)
            await runner.taken(event.run_id, event.attempt, event.position)
            directory = tmp_path / "runs" / f"{RUN.hex()}.1"
            segments = max(segments, len(list(directory.glob("out.*"))))
        if isinstance(event, AttemptEnded):
            assert event.streams[STDOUT].bytes == size == 100_000_000
            assert event.streams[STDOUT].lines == 1
            assert event.streams[STDOUT].sha256 == sha256.digest()
            break
    assert peak_kib(keeper_pid(tmp_path)) < 24 * 1024
    assert segments <= UNTAKEN_MAX // 1_000_000 + 3


async def test_what_is_not_taken_over_blocks_the_command(runner: KeeperRunner) -> None:
    await runner.open()
    await runner.spawn(order("head -c 20000000 /dev/zero; exit 9"))
    position = 0
    async for event in runner.events():
        if isinstance(event, OutputRead):
            position = event.position
        if position > UNTAKEN_MAX:
            break
    with pytest.raises(TimeoutError):  # it has gone quiet, and the command lives
        async with asyncio.timeout(0.5):
            async for event in runner.events():
                assert isinstance(event, OutputRead)
                position = event.position
    assert UNTAKEN_MAX < position < UNTAKEN_MAX + 200_000
    await runner.taken(RUN, 1, position)
    events = await told(runner)
    assert ends(events) == [(9, None, None)]
    assert ended(events).streams[STDOUT].bytes == 20_000_000


async def test_a_run_outlives_bartoc(runner: KeeperRunner, tmp_path: Path) -> None:
    await runner.open()
    go = tmp_path / "go"
    os.mkfifo(go)
    await runner.spawn(order(f"echo one; read x <{go}; echo two", "exit 77"))
    assert await printed_line(runner) == "one\n"
    await runner.close()
    go.write_text("\n")
    status = tmp_path / "runs" / f"{RUN.hex()}.1" / "status"
    await until(lambda: b'"done"' in status.read_bytes())
    (known,) = await runner.open()
    assert known.state is RunState.ENDED
    await runner.resume(RUN, 1, 0)
    events = await told(runner)
    assert output(events) == b"one\ntwo\n"
    assert ends(events) == [(0, None, None), (77, None, None)]


async def test_a_bartoc_that_is_killed_takes_no_run_with_it(
    runner: KeeperRunner, tmp_path: Path
) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path; from libbarto.clock import SystemClock\n"
        "from bartoc.keeper_runner import KeeperRunner; from bartoc.runner import SpawnOrder\n"
        "async def main():\n"
        "    runner = KeeperRunner(Path(sys.argv[1]), SystemClock())\n"
        "    await runner.open()\n"
        "    step = ('/bin/sh', '-c', 'echo up; sleep 0.3; echo still here; exit 5')\n"
        "    await runner.spawn(SpawnOrder(bytes.fromhex(sys.argv[2]), 1, (step,), {}))\n"
        "    async for event in runner.events(): print(event, flush=True)\n"
        "asyncio.run(main())\n"
    )
    bartoc = await asyncio.create_subprocess_exec(
        PYTHON, "-c", script, str(tmp_path), RUN.hex(), stdout=subprocess.PIPE
    )
    assert bartoc.stdout is not None
    assert b"StepStarted" in await bartoc.stdout.readline()
    bartoc.kill()
    await bartoc.wait()
    await runner.open()
    await runner.resume(RUN, 1, 0)
    events = await told(runner)
    assert output(events) == b"up\nstill here\n"
    assert ends(events) == [(5, None, None)]


ESCAPES = (
    "setsid sleep 1000 & (setsid sh -c 'sleep 1000 & sleep 1000 &' &) ; "
    "setsid setsid sh -c 'trap \"\" TERM; while :; do sleep 1000; done' & "
    "echo up; wait; sleep 1000"
)


def sleepers() -> set[int]:
    """The processes of this test's runs, by the marks in their environment."""
    marks = {b"BARTO_RUN=" + f"{RUN.hex()}-{os.getpid()}".encode()}
    snapshot = tree.Snapshot()
    return {pid for pid, found in snapshot.processes.items() if marks <= snapshot.environ(found)}


async def test_a_cancellation_reaches_what_tried_to_escape(runner: KeeperRunner) -> None:
    await runner.open()
    await runner.spawn(order(ESCAPES))
    assert await printed_line(runner) == "up\n"
    await until(lambda: len(sleepers()) >= 6)
    await runner.cancel(RUN, 1, 0.3)
    events = await told(runner)
    assert ends(events) == [(None, signal.SIGTERM, "cancelled")]
    assert ended(events).orphans_killed > 0
    assert sleepers() == set()


async def test_a_timeout_reaches_what_tried_to_escape(runner: KeeperRunner) -> None:
    await runner.open()
    await runner.spawn(replace(order(ESCAPES), timeout=0.5, kill_after=0.3))
    events = await told(runner)
    assert ends(events) == [(None, signal.SIGTERM, "timeout")]
    assert ended(events).timed_out
    assert sleepers() == set()


async def serve_without_cgroups(directory: Path) -> None:
    """Start a keeper as on a host whose cgroups it may not use."""
    starter = await asyncio.create_subprocess_exec(
        PYTHON,
        "-c",
        "import sys; from bartoc.keeper import server; server.cgroup_base = lambda: None\n"
        "server.serve(sys.argv[1])",
        str(directory),
    )
    assert await starter.wait() == 0


def cleared(seconds: int) -> str:
    """Two processes that leave session, parent and environment behind; `seconds` names them."""
    sleep = f"sleep {seconds}"
    return f"env -i setsid /bin/sh -c '({sleep} & {sleep} &) ; {sleep} &'"


def sleeping(seconds: int) -> set[int]:
    """Those of `cleared` that are alive."""
    found = set()
    for pid in tree.Snapshot().processes:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\0%d\0" % seconds:
                found.add(pid)
    return found


async def test_what_left_session_parent_and_environment_behind_is_found_without_cgroups(
    runner: KeeperRunner, tmp_path: Path
) -> None:
    await serve_without_cgroups(tmp_path)
    await runner.open()
    one, other = 1_000_000 + os.getpid(), 2_000_000 + os.getpid()
    await runner.spawn(order(f"{cleared(other)}; echo up; sleep 1000", attempt=2))
    await runner.spawn(order(f"{cleared(one)}; echo up; sleep 1000"))
    await until(lambda: len(sleeping(one)) == len(sleeping(other)) == 3)
    await runner.cancel(RUN, 1, 5.0)
    assert ends(await told(runner)) == [(None, signal.SIGTERM, "cancelled")]
    assert sleeping(one) == set()
    assert len(sleeping(other)) == 3  # another attempt's are left alone
    await runner.shutdown(0.2)
    assert sleeping(other) == set()


async def test_a_new_keeper_finds_them_too(runner: KeeperRunner, tmp_path: Path) -> None:
    await serve_without_cgroups(tmp_path)
    await runner.open()
    name = 3_000_000 + os.getpid()
    await runner.spawn(order(f"{cleared(name)}; echo up; sleep 1000"))
    await until(lambda: len(sleeping(name)) == 3)
    os.kill(keeper_pid(tmp_path), signal.SIGKILL)
    async for _ in runner.events():
        pass
    (known,) = await runner.open()
    assert known.state is RunState.INTERRUPTED
    assert sleeping(name) == set()


async def test_a_stopped_command_is_ended_by_TERM(runner: KeeperRunner) -> None:
    await runner.open()
    await runner.spawn(replace(order("echo up; kill -STOP $$"), kill_after=30.0))
    await printed_line(runner)
    await runner.cancel(RUN, 1, 30.0)
    assert ends(await told(runner)) == [(None, signal.SIGTERM, "cancelled")]


async def test_an_orphan_with_the_pipe_is_given_two_seconds(runner: KeeperRunner) -> None:
    await runner.open()
    await runner.spawn(order("sleep 1000 & exit 3"))
    events = await told(runner)
    assert ends(events) == [(3, None, None)]
    assert ended(events).orphans_killed == 1
    step = next(event for event in events if isinstance(event, StepEnded))
    assert 1.9 < (ended(events).at - step.ended_at) / 1e6 < 5.0
    assert sleepers() == set()


async def test_a_daemon_that_let_go_of_the_pipes_is_left_alone(runner: KeeperRunner) -> None:
    await runner.open()
    await runner.spawn(order("setsid sleep 1000 >/dev/null 2>&1 & echo $!"))
    events = await told(runner)
    assert ended(events).orphans_killed == 0
    pid = int(output(events))
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


async def test_a_new_keeper_kills_what_a_lost_one_left(
    runner: KeeperRunner, tmp_path: Path
) -> None:
    await runner.open()
    await runner.spawn(order(ESCAPES))
    assert await printed_line(runner) == "up\n"
    await until(lambda: len(sleepers()) >= 6)
    before = keeper_pid(tmp_path)
    os.kill(before, signal.SIGKILL)
    assert [event async for event in runner.events()] == []
    assert len(sleepers()) >= 6
    (known,) = await runner.open()
    assert sleepers() == set()
    assert keeper_pid(tmp_path) != before
    assert known.state is RunState.INTERRUPTED
    await runner.spawn(order("echo again", attempt=2))
    assert output(await told(runner, 2)) == b"again\n"


async def test_a_keeper_lost_between_directory_and_pid_proves_that_nothing_started(
    runner: KeeperRunner, tmp_path: Path
) -> None:
    await runner.open()
    await runner.spawn(order("exit 0"))
    await told(runner)
    await runner.shutdown(0)
    await runner.close()
    runs = tmp_path / "runs"
    done = runs / f"{RUN.hex()}.1"
    await until(lambda: not (tmp_path / "keeper.sock").exists())
    unborn = runs / f"{RUN.hex()}.2"
    unborn.mkdir()
    plan = (done / "status").read_bytes().splitlines()[0]
    (unborn / "status").write_bytes(plan + b'\n{"is":"star')
    (runs / f".new.{RUN.hex()}.3").mkdir()
    elsewhen = runs / f"{RUN.hex()}.4"
    elsewhen.mkdir()
    (elsewhen / "status").write_text('{"is":"planned","boot":"another","pos":0}\n')
    states = {known.attempt: known.state for known in await runner.open()}
    assert states == {
        1: RunState.ENDED,
        2: RunState.NOT_STARTED,
        4: RunState.INTERRUPTED,
    }
    reasons = {}
    for attempt in (2, 4):
        await runner.resume(RUN, attempt, 0)
        event = (await told(runner, attempt))[-1]
        assert isinstance(event, NotStarted)
        reasons[attempt] = (event.reason, event.certain)
    assert reasons == {
        2: ("the keeper was lost before it started", True),
        4: ("the host restarted", False),
    }


async def test_torn_output_of_a_lost_keeper_is_cut_at_the_last_whole_frame(
    runner: KeeperRunner, tmp_path: Path
) -> None:
    await runner.open()
    await runner.spawn(order("echo whole; sleep 1000"))
    assert await printed_line(runner) == "whole\n"
    os.kill(keeper_pid(tmp_path), signal.SIGKILL)
    directory = tmp_path / "runs" / f"{RUN.hex()}.1"
    (segment,) = directory.glob("out.*")
    with segment.open("ab") as file:
        file.write(segment.read_bytes()[:-1])
    with (directory / "status").open("ab") as file:
        file.write(b'{"is":"done","at":1')
    async for _ in runner.events():
        pass
    await runner.open()
    await runner.resume(RUN, 1, 0)
    events = await told(runner)
    assert output(events) == b"whole\n"
    assert isinstance(events[-1], NotStarted)


def test_a_child_whose_keeper_dies_before_go_does_not_exec(tmp_path: Path) -> None:
    """The handshake itself, with this process in the keeper's place."""
    from bartoc.keeper.child import Command, launch

    witness = tmp_path / "witness"
    command = Command(["/bin/sh", "-c", f"echo ran >{witness}"], {}, "/", None, 0, None, (256, 256))
    null = os.open(os.devnull, os.O_RDWR)
    try:
        launched = launch(command, null, ())
        os.close(launched.go)
        assert os.waitpid(launched.pid, 0)[1] == 0
        assert not witness.exists()
        assert os.read(launched.outcome, 100) == b""
    finally:
        os.close(null)
        for fd in (launched.outcome, launched.stdout, launched.stderr):
            os.close(fd)


async def test_there_is_one_keeper_and_a_second_connection_waits(
    runner: KeeperRunner, tmp_path: Path
) -> None:
    await runner.open()
    await runner.spawn(order("sleep 1000"))
    other = KeeperRunner(tmp_path, SystemClock())
    opening = asyncio.create_task(other.open())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await asyncio.shield(opening)
    await runner.spawn(order("sleep 1000", attempt=2))
    await runner.close()
    assert {known.attempt for known in await opening} == {1, 2}
    await other.close()
    second = await asyncio.create_subprocess_exec(
        PYTHON, "-m", "bartoc.keeper", str(tmp_path / "missing"), stderr=subprocess.PIPE
    )
    _, said = await second.communicate()
    assert second.returncode == 1
    assert b"No such file or directory" in said
    assert b"Traceback" not in said


async def test_a_path_too_long_for_a_socket_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    runner = KeeperRunner(deep, SystemClock())
    try:
        await runner.open()
        await runner.spawn(order("echo deep"))
        assert output(await told(runner)) == b"deep\n"
        await runner.shutdown(0)
    finally:
        await runner.close()


async def test_the_keeper_leaves_when_it_was_shut_down(
    runner: KeeperRunner, tmp_path: Path
) -> None:
    await runner.open()
    keeper = tree.process(keeper_pid(tmp_path))
    assert keeper is not None
    await runner.spawn(order(ESCAPES))
    assert await printed_line(runner) == "up\n"
    await until(lambda: len(sleepers()) >= 6)
    await runner.shutdown(0.2)
    assert sleepers() == set()
    await runner.close()
    await until(lambda: not alive(keeper.pid))
    assert not (tmp_path / "keeper.sock").exists()


def descriptors(pid: int) -> list[int]:
    return [int(fd.name) for fd in Path(f"/proc/{pid}/fd").iterdir()]


def limit(pid: int, which: int, soft: int) -> None:
    """Give a process another soft limit (prlimit(2))."""
    resource.prlimit(pid, which, (soft, resource.prlimit(pid, which)[1]))


async def test_what_the_disk_does_not_take_waits_and_nothing_is_lost(
    runner: KeeperRunner, tmp_path: Path
) -> None:
    """A limit on the size of files stands for a full disk: both fail the keeper's writes."""
    await runner.open()
    keeper = keeper_pid(tmp_path)
    go = tmp_path / "go"
    os.mkfifo(go)
    await runner.spawn(order(f"echo up; read x <{go}; seq 100000; exit 8"))
    assert await printed_line(runner) == "up\n"
    limit(keeper, resource.RLIMIT_FSIZE, 100_000)
    go.write_text("\n")
    log = tmp_path / "keeper.log"
    await until(lambda: "output waits: " in log.read_text())
    limit(keeper, resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
    await runner.resume(RUN, 1, 0)
    events = await told(runner)
    assert output(events) == b"up\n" + b"".join(b"%d\n" % n for n in range(1, 100_001))
    assert ends(events) == [(8, None, None)]


async def serve_impatiently(directory: Path) -> None:
    """Start a keeper that drops output after a second on a full disk."""
    starter = await asyncio.create_subprocess_exec(
        PYTHON,
        "-c",
        "import sys; from bartoc.keeper import attempt, server; attempt.DROP_AFTER = 1.0\n"
        "server.serve(sys.argv[1])",
        str(directory),
    )
    assert await starter.wait() == 0


async def test_output_that_waits_too_long_for_a_full_disk_is_dropped_and_counted(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        await serve_impatiently(disk)
        runner = KeeperRunner(disk, SystemClock())
        try:
            await runner.open()
            go, done = tmp_path / "go", tmp_path / "done"
            os.mkfifo(go)
            text = f"echo up; read x <{go}; seq 200000; touch {done}; read x <{go}; echo end"
            await runner.spawn(order(f"{text}; exit 8"))
            assert await printed_line(runner) == "up\n"
            fill(disk, leave=100_000)
            go.write_text("\n")
            await until(done.exists, 20.0)  # the command is not held up for ever
            free(disk)
            log = disk / "keeper.log"
            await until(lambda: "output is dropped" in log.read_text())
            go.write_text("\n")
            await runner.resume(RUN, 1, 0)
            events = await told(runner)
            printed = b"up\n" + b"".join(b"%d\n" % n for n in range(1, 200_001)) + b"end\n"
            frames = [f for one in events if isinstance(one, OutputRead) for f in one.frames]
            there = b"".join(frame.data for frame in frames)
            lost, lines = sum(f.lost for f in frames), sum(f.lost_lines for f in frames)
            assert lost > 100_000
            assert len(there) + lost == len(printed)
            assert there.count(b"\n") + lines == printed.count(b"\n")
            place = 0
            for frame in frames:  # what is there is where it was printed
                assert frame.lost or printed[place : place + frame.size] == frame.data
                place += frame.size
            assert ends(events) == [(8, None, None)]
            assert ended(events).streams[STDOUT].sha256 == hashlib.sha256(printed).digest()
        finally:
            await runner.close()
            await asyncio.to_thread(end_keeper, disk)


async def test_a_keeper_of_the_version_before_is_understood(
    runner: KeeperRunner, tmp_path: Path
) -> None:
    starter = await asyncio.create_subprocess_exec(
        PYTHON,
        "-c",
        "import sys; from bartoc.keeper import files, server; files.PROTOCOL -= 1\n"
        "server.serve(sys.argv[1])",
        str(tmp_path),
    )
    assert await starter.wait() == 0
    await runner.open()
    await runner.spawn(order("echo old; exit 5"))
    events = await told(runner)
    assert output(events) == b"old\n"
    assert ends(events) == [(5, None, None)]


async def test_eight_megabytes_and_more_wait_for_a_bartoc_that_is_away(
    runner: KeeperRunner, tmp_path: Path
) -> None:
    await runner.open()
    go = tmp_path / "go"
    os.mkfifo(go)
    await runner.spawn(order(f"echo up; read x <{go}; seq 3000000; exit 9"))
    assert await printed_line(runner) == "up\n"
    await runner.close()
    go.write_text("\n")
    held = tmp_path / "runs" / f"{RUN.hex()}.1"
    await until(lambda: size_of(held) > UNTAKEN_MAX)
    (known,) = await runner.open()
    assert known.state is RunState.RUNNING  # it waits
    await runner.resume(RUN, 1, 0)
    events = await told(runner)
    digest = hashlib.sha256(b"up\n" + b"".join(b"%d\n" % n for n in range(1, 3_000_001)))
    assert hashlib.sha256(output(events)).digest() == digest.digest()
    assert ends(events) == [(9, None, None)]


def size_of(directory: Path) -> int:
    """Bytes of output that a directory holds."""
    return sum(file.stat().st_size for file in directory.glob("out.*"))


FULL = {"could not start: File too large", "could not start: No space left on device"}


async def test_on_a_full_disk_nothing_starts(runner: KeeperRunner, tmp_path: Path) -> None:
    await runner.open()
    keeper = keeper_pid(tmp_path)
    for attempt, size in ((1, 0), (2, 250)):  # no room for the plan; for the plan only
        limit(keeper, resource.RLIMIT_FSIZE, size)
        await runner.spawn(order(f"touch {tmp_path}/witness", attempt=attempt))
        refused = (await told(runner, attempt))[-1]
        assert isinstance(refused, NotStarted)
        assert refused.certain
        assert refused.reason in FULL
    limit(keeper, resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
    assert await runner.open() == ()
    assert not (tmp_path / "witness").exists()


async def test_a_full_disk_holds_up_no_shutdown(runner: KeeperRunner, tmp_path: Path) -> None:
    await runner.open()
    keeper = keeper_pid(tmp_path)
    await runner.spawn(order("echo up; seq 1000000; sleep 1000"))
    limit(keeper, resource.RLIMIT_FSIZE, 100_000)
    log = tmp_path / "keeper.log"
    await until(lambda: "output waits: " in log.read_text())
    await runner.shutdown(0.1)
    assert sleepers() == set()
    await runner.close()
    await until(lambda: not alive(keeper))
    assert [known.state for known in await runner.open()] == [RunState.INTERRUPTED]


async def test_without_descriptors_a_command_does_not_start_and_the_keeper_lives(
    runner: KeeperRunner, tmp_path: Path
) -> None:
    await runner.open()
    keeper = keeper_pid(tmp_path)
    in_use = max(descriptors(keeper)) + 1
    limit(keeper, resource.RLIMIT_NOFILE, in_use + 3)
    await runner.spawn(order("exit 0"))
    assert ends(await told(runner)) == [(None, None, "could not start: no descriptor left")]
    limit(keeper, resource.RLIMIT_NOFILE, 256)
    await runner.spawn(order("exit 0", attempt=2))
    assert ends(await told(runner, 2)) == [(0, None, None)]


async def test_a_keeper_with_nothing_to_do_leaves(tmp_path: Path) -> None:
    starter = await asyncio.create_subprocess_exec(
        PYTHON,
        "-c",
        "import sys; from bartoc.keeper import server; server.IDLE_SECONDS = 0.2\n"
        "server.serve(sys.argv[1])",
        str(tmp_path),
    )
    assert await starter.wait() == 0
    keeper = keeper_pid(tmp_path)
    await until(lambda: not alive(keeper))
    assert not (tmp_path / "keeper.sock").exists()


async def test_two_hundred_starts_in_a_burst_all_end(runner: KeeperRunner) -> None:
    await runner.open()
    for attempt in range(1, 201):
        await runner.spawn(order(f"echo {attempt}; exit {attempt % 7}", attempt=attempt))
    codes: dict[int, int | None] = {}
    said: dict[int, bytes] = {}
    over = 0
    async for event in runner.events():
        match event:
            case StepStarted():
                assert event.attempt not in codes
            case OutputRead():
                said[event.attempt] = event.frames[0].data
            case StepEnded():
                codes[event.attempt] = event.exit_code
            case AttemptEnded():
                await runner.forget(event.run_id, event.attempt)
                over += 1
        if over == 200:
            break
    assert codes == {attempt: attempt % 7 for attempt in range(1, 201)}
    assert said == {attempt: b"%d\n" % attempt for attempt in range(1, 201)}
    assert await runner.open() == ()


def test_without_a_cgroup_the_tree_is_found_by_session_descent_and_marks() -> None:
    """What a setsid, a double fork and another group of processes leave to go by."""
    env = {"PATH": "/usr/bin:/bin", "BARTO_RUN": f"tree-{os.getpid()}", "BARTO_ATTEMPT": "1"}
    main = subprocess.Popen(
        ["/bin/sh", "-c", f"{ESCAPES}"],
        env=env,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with main:
        assert main.stdout is not None
        assert main.stdout.readline() == b"up\n"
        found = tree.process(main.pid)
        assert found is not None
        attempt = tree.Tree(tree.Snapshot, tree.marks(env))
        attempt.add(found.pid, found.born)
        assert main.pid in {member.pid for member in attempt.members()}
        killed: set[int] = set()
        while reached := attempt.signal(signal.SIGKILL):
            killed |= reached
        assert main.wait() == -signal.SIGKILL
        assert len(killed) >= 4
        assert attempt.members() == []
