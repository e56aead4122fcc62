"""One attempt: its steps one after another, what they print, and how it ends.

The life of a step is `launch` (a child waits), go, `reaped` (its main process is gone), and the
end of its output. What holds the pipes 2 s after the main process went is killed, with all that
belongs to the attempt; what let go of them (a daemon) is left alone. A timeout, a cancellation and
a shutdown are one thing: TERM to everything, KILL after a while, and no next step; then the
attempt is over when nothing of it is alive.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from bartoc.keeper import crash, files
from bartoc.keeper.child import Command, Launched, launch
from bartoc.keeper.files import Message
from bartoc.keeper.tree import Tree, process

ORPHAN_PATIENCE = 2.0
"""Seconds that a pipe may be held after the main process's end."""

_KILLED_CODE = 128 + signal.SIGKILL
"""How a shell ends whose command was killed."""

_KILL_AGAIN = 0.25
_KILLS_BEFORE_LETTING_GO = 12
"""What twenty seconds of KILL did not end (disk sleep) must not hold up the attempt's end, where
its main process is gone."""

_LOOK_AGAIN = 0.1
_DISK_PATIENCE = 1.0
DROP_AFTER = 60.0
"""Seconds that output waits for a disk that is full; then it is dropped, and counted."""

_DRAIN_BYTES = 1024 * 1024
"""What may be read beyond `UNTAKEN_MAX` when the main process is gone: what the pipes held."""

_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Timer(Protocol):
    """Something that will be called; `cancelled` says that it will not."""

    cancelled: bool


class Keeper(Protocol):
    """What an attempt needs of the keeper."""

    boot: str
    null: int
    nofile: tuple[int, int]
    private: tuple[int, ...]
    """Descriptors that a child closes at once."""

    def watch(self, fd: int, ready: Callable[[], None]) -> None:
        """Call `ready` whenever `fd` can be read."""

    def unwatch(self, fd: int) -> None:
        """Do not, any more."""

    def later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call `action` in a while."""

    def main(self, pid: int, attempt: Attempt) -> None:
        """`pid` is the attempt's main process: tell it when that is gone."""

    def grew(self, attempt: Attempt) -> None:
        """There is more in the attempt's files."""

    def scarce(self) -> bool:
        """Has the disk no room for output any more?"""
        return False

    def over(self, attempt: Attempt) -> None:
        """The attempt has ended, or did not start, and all of it stands in its files."""

    def stuck(self) -> None:
        """An attempt is `stuck` now."""

    def log(self, text: str) -> None:
        """Tell an operator."""


class DidNotStart(Exception):
    """The attempt left no trace: no room to write down that it would start."""


class Attempt:
    """An attempt in the directory `path`, with the plan in its `status`. `order` is the message
    that asked for it."""

    def __init__(
        self, keeper: Keeper, path: str, status: Status, order: Message, tree: Tree
    ) -> None:
        self.run: str = order["run"]
        self.attempt: int = order["attempt"]
        self.path = path
        self.over = False
        self.state = "running"
        self.stuck = False
        """Nothing of it is alive, but the disk does not take how it ended."""
        self._keeper = keeper
        self._order = order
        self._steps: list[list[str]] = order["steps"]
        self.tree = tree
        self._output = Output(path)
        self._status = status
        self._step = -1
        self._pid = 0
        self._started_at = 0
        self._memory_kills = 0
        self._ended: tuple[int, int | None, int | None, str | None] | None = None
        self._outcome = -1
        self._pipes: dict[int, int] = {}
        self._paused: set[int] = set()
        self._stopping: str | None = None
        self._orphans: set[int] = set()
        self._kills = 0
        self._timeout: Timer | None = None
        self._kill: Timer | None = None
        self._look: Timer | None = None
        self._disk: Timer | None = None
        self._disk_full_since = 0.0
        self._dropping = False
        """The disk was full for so long that output is counted only."""
        self.forgotten = False
        """Nobody follows it: it goes on, and all that it prints is let go."""

    @property
    def position(self) -> int:
        """How far its output has got."""
        return self._output.position

    @property
    def status_size(self) -> int:
        """Bytes of its status file."""
        return self._status.size

    @property
    def pid(self) -> int:
        """Its step's main process; 0 where there is none."""
        return self._pid

    def start(self) -> None:
        """Start the first step, unless it is too late or too early: then it did not start.

        Raises `DidNotStart`, with nothing started, where the disk takes no more.
        """
        try:
            launched = self._launch(0)
        except OSError as error:
            self._could_not_fork(0, error)
            return
        crash.at("keeper.after_fork")
        try:
            self._write_started(0, launched)
        except OSError as error:
            self._abandon(launched)
            raise DidNotStart(error.strerror or str(error)) from error
        crash.at("keeper.after_pid")
        refusal = self._refusal()
        if refusal is not None:
            self._abandon(launched)
            self.state = "not started"
            self._finish({"is": "refused", "at": _now(), "why": refusal})
            return
        timeout: float | None = self._order["timeout"]
        if timeout is not None:
            self._timeout = self._keeper.later(timeout, self._time_out)
        self._go(launched)

    def reaped(self, status: int) -> None:
        """The main process is gone, with this wait status."""
        crash.at("keeper.after_exit")
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        why = self._stopping
        failure = b""
        with contextlib.suppress(OSError):
            failure = os.read(self._outcome, 4096)
        os.close(self._outcome)
        if failure:
            code, number = None, None
            why = f"could not start: {failure.decode('utf-8', 'replace')}"
        elif why is None and (number == signal.SIGKILL or code == _KILLED_CODE):
            killed = self.tree.memory_kills() - self._memory_kills
            if killed > 0:
                plural = "" if killed == 1 else "es"
                why = f"out of memory: the kernel killed {killed} process{plural}"
        self._pid = 0
        self._ended = (_now(), code, number, why)
        for fd in list(self._pipes):
            self._resume(fd)
            self._read(fd)
        if self._pipes and self._stopping is None:
            self._kill = self._keeper.later(ORPHAN_PATIENCE, self._kill_tree)
        self._step_may_be_over()

    def taken(self, position: int) -> None:
        """Output up to `position` is safe elsewhere."""
        self._output.taken(position)
        if self._paused and self._room():
            for fd in list(self._paused):
                self._resume(fd)

    def forget(self) -> None:
        """Go on with nobody listening, and leave nothing behind."""
        self.forgotten = True
        self._output.discard()
        for fd in list(self._paused):
            self._resume(fd)

    def stop(self, why: str, grace: float) -> None:
        """TERM now, KILL after `grace` seconds; the first reason is kept, the earlier KILL too.

        Where its last main process is gone, it has ended already, and how is not changed.
        """
        if self.over or (self._ended is not None and not self._goes_on()):
            return
        if self._stopping is None:
            self._stopping = why
            self.tree.signal(signal.SIGTERM)
            if self._kill is not None:
                self._kill.cancelled = True
        elif self._kills:
            return
        self._keeper.later(grace, self._kill_once)
        self._step_may_be_over()

    def _launch(self, step: int) -> Launched:
        order = self._order
        env: dict[str, str] = order["env"]
        self._memory_kills = self.tree.memory_kills()
        command = Command(
            argv=self._steps[step],
            env=env,
            cwd=order["cwd"] or env.get("HOME") or "/",
            user=order["user"],
            nice=order["nice"],
            cgroup=self.tree.cgroup,
            nofile=self._keeper.nofile,
            queue_limit=self.tree.queue_limit,
        )
        return launch(command, self._keeper.null, self._keeper.private)

    def _write_started(self, step: int, launched: Launched) -> None:
        found = process(launched.pid)
        born = 0 if found is None else found.born
        self.tree.add(launched.pid, born)
        self._step = step
        self._started_at = _now()
        self._write(
            {
                "is": "started",
                "step": step,
                "pid": launched.pid,
                "born": born,
                "boot": self._keeper.boot,
                "at": self._started_at,
            }
        )

    def _refusal(self) -> str | None:
        deadline: float | None = self._order["deadline"]
        slot: int | None = self._order["slot"]
        if deadline is not None and time.clock_gettime(_BOOT_CLOCK) > deadline:
            return "its deadline had passed"
        if slot is not None and _now() < slot:
            return "the host's clock was before the planned start"
        return None

    def _go(self, launched: Launched) -> None:
        self._pid = launched.pid
        self._outcome = launched.outcome
        self._ended = None
        self._pipes = {launched.stdout: 1, launched.stderr: 2}
        self._keeper.main(launched.pid, self)
        for fd in self._pipes:
            self._keeper.watch(fd, partial(self._ready, fd))
        with contextlib.suppress(BrokenPipeError):  # it was killed while it waited
            os.write(launched.go, b"g")
        os.close(launched.go)
        crash.at("keeper.after_go")
        self._keeper.grew(self)

    def _abandon(self, launched: Launched) -> None:
        """The child reads end of file, and leaves."""
        for fd in (launched.go, launched.outcome, launched.stdout, launched.stderr):
            os.close(fd)

    def _could_not_fork(self, step: int, error: OSError) -> None:
        self._step = step
        self._started_at = _now()
        what = {errno.EMFILE: "no descriptor left", errno.ENFILE: "no descriptor left"}
        reason = what.get(error.errno or 0) or error.strerror
        self._ended = (self._started_at, None, None, f"could not start: {reason}")
        self._keeper.later(0.0, self._step_may_be_over)

    def _ready(self, fd: int) -> None:
        self._read(fd, once=True)
        self._step_may_be_over()

    def _read(self, fd: int, once: bool = False) -> None:
        """Read what is there, once or as far as there is room."""
        stream = self._pipes[fd]
        while self._room():
            if not self._dropping and self._keeper.scarce():
                self._disk_full(fd, "the disk is full")
                return
            try:
                data = os.read(fd, files.READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._close(fd)
                return
            crash.at("keeper.after_output")
            if self._dropping:
                self._output.drop(self._step, stream, _now(), data)
                if once:
                    return
                continue
            try:
                self._output.write(self._step, stream, _now(), data)
            except OSError as error:
                self._disk_full(fd, error.strerror or str(error))
                return
            self._keeper.grew(self)
            if once:
                break
        if not self._room():
            self._pause(fd)

    def _room(self) -> bool:
        if self._dropping or self.forgotten:
            return True
        if self._output.pending is not None:
            return False
        if self._ended is not None:  # then what is left is what the pipes hold
            extra = _DRAIN_BYTES
            return bool(self._kills) or self._output.untaken <= files.UNTAKEN_MAX + extra
        return self._output.untaken <= files.UNTAKEN_MAX

    def _pause(self, fd: int) -> None:
        if fd not in self._paused:
            self._paused.add(fd)
            self._keeper.unwatch(fd)

    def _resume(self, fd: int) -> None:
        if fd in self._paused:
            self._paused.remove(fd)
            self._keeper.watch(fd, partial(self._ready, fd))

    def _close(self, fd: int) -> None:
        if fd in self._paused:
            self._paused.remove(fd)
        else:
            self._keeper.unwatch(fd)
        del self._pipes[fd]
        os.close(fd)

    def _disk_full(self, fd: int, why: str) -> None:
        """The disk does not take output: read no more, and try again in a while."""
        self._pause(fd)
        if self._disk is None:
            self._keeper.log(f"{self.run}.{self.attempt}: output waits: {why}")
            self._disk_full_since = time.monotonic()
            self._disk = self._keeper.later(_DISK_PATIENCE, self._try_disk)

    def _try_disk(self) -> None:
        self._disk = None
        try:
            self._status.retry()
            if (self._paused or self._dropping) and self._keeper.scarce():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._output.retry()
        except OSError:
            self._disk = self._keeper.later(_DISK_PATIENCE, self._try_disk)
            if time.monotonic() - self._disk_full_since >= DROP_AFTER:
                self._drop_output()
            main_is_gone = self.over or (self._ended is not None and self._stopping is not None)
            if main_is_gone and not self.tree.members():
                self.stuck = True
                self._keeper.stuck()
            return
        self.stuck = self._dropping = False
        self._keeper.grew(self)
        if self.over:
            self._settle()
            return
        for fd in list(self._paused):
            self._resume(fd)
        self._step_may_be_over()

    def _drop_output(self) -> None:
        """It has waited long enough: let the command go on, and count what it prints."""
        if not self._dropping and self._pipes:
            self._dropping = True
            self._keeper.log(f"{self.run}.{self.attempt}: output is dropped, and counted")
            for fd in list(self._paused):
                self._resume(fd)

    def _write(self, message: Message) -> None:
        """A line for the status file. Raises `OSError` where the disk does not take it."""
        self._status.write({**message, "pos": self._output.position})
        self._keeper.grew(self)

    def _write_sometime(self, message: Message) -> None:
        """The same, but what the disk does not take now is tried again."""
        try:
            self._write(message)
        except OSError as error:
            if self._disk is None:
                self._keeper.log(f"{self.run}.{self.attempt}: status waits: {error.strerror}")
                self._disk = self._keeper.later(_DISK_PATIENCE, self._try_disk)

    def _time_out(self) -> None:
        self._timeout = None
        self.stop("timeout", self._order["kill_after"])

    def _kill_once(self) -> None:
        if not self.over and not self._kills:
            self._kill_tree()

    def _kill_tree(self) -> None:
        """KILL everything, again and again until the step is over."""
        if self.over or (self._ended is None and self._stopping is None):
            return
        reached = self.tree.signal(signal.SIGKILL)
        self._orphans |= reached - self.tree.mains.keys()
        self._kills += 1
        if self._ended is not None and self._kills > _KILLS_BEFORE_LETTING_GO:
            self._keeper.log(f"{self.run}.{self.attempt}: something of it cannot be killed")
            for fd in list(self._pipes):
                self._close(fd)
        else:
            self._kill = self._keeper.later(_KILL_AGAIN * self._kills, self._kill_tree)
            if self._ended is not None:
                for fd in list(self._paused):
                    self._resume(fd)
        self._step_may_be_over()

    def _step_may_be_over(self) -> None:
        """Go on if the main process is gone, its output is at its end, and, where the attempt is
        being stopped, nothing of it is alive."""
        if self.over or self._ended is None or self._pipes or not self._output_is_written():
            return
        if (
            self._stopping is not None
            and self._kills <= _KILLS_BEFORE_LETTING_GO
            and self.tree.members()
        ):
            if self._look is None:
                self._look = self._keeper.later(_LOOK_AGAIN, self._look_again)
            return
        if self._kill is not None:
            self._kill.cancelled = True
            self._kill = None
        at, code, number, why = self._ended
        crash.at("keeper.before_end")
        self._write_sometime(
            {
                "is": "ended",
                "step": self._step,
                "code": code,
                "signal": number,
                "from": self._started_at,
                "at": at,
                "why": why,
            }
        )
        if self._goes_on():
            self._next_step()
        else:
            self._all_over()

    def _output_is_written(self) -> bool:
        """Is all that was read in the files? A gap needs so little room that it is tried."""
        if self._dropping:
            with contextlib.suppress(OSError):
                self._output.retry()
        return not self._output.waits

    def _look_again(self) -> None:
        self._look = None
        self._step_may_be_over()

    def _goes_on(self) -> bool:
        """Whether there is a step after the one that ended."""
        assert self._ended is not None
        ok = self._ended[1] == 0 or bool(self._order["continue_on_error"])
        return ok and self._stopping is None and self._step + 1 < len(self._steps)

    def _next_step(self) -> None:
        step = self._step + 1
        self._kills = 0
        self._ended = None
        try:
            launched = self._launch(step)
        except OSError as error:
            self._could_not_fork(step, error)
            return
        try:
            self._write_started(step, launched)
        except OSError as error:
            self._abandon(launched)
            self._could_not_fork(step, error)
            return
        self._go(launched)

    def _all_over(self) -> None:
        crash.at("keeper.between_ends")
        self.state = "ended"
        self._finish(
            {
                "is": "done",
                "at": _now(),
                "timed_out": self._stopping == "timeout",
                "cancelled": self._stopping not in (None, "timeout"),
                "orphans": len(self._orphans),
                "streams": self._output.totals(),
            }
        )

    def _finish(self, message: Message) -> None:
        self.over = True
        if self._timeout is not None:
            self._timeout.cancelled = True
        self._write_sometime(message)
        if not self._status.waits:
            self._settle()

    def _settle(self) -> None:
        """All of it stands in its files."""
        with contextlib.suppress(OSError):
            self._output.sync()
            self._status.sync()
        crash.at("keeper.after_end")
        self._output.close()
        self._status.close()
        self._keeper.over(self)


class Status:
    """The status file of an attempt: lines that are whole or, to a reader, not there."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(
            f"{path}/{files.STATUS}",
            os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC,
            0o600,
        )
        self._waiting: list[bytes] = []
        self.size = 0

    @property
    def waits(self) -> bool:
        """Whether the disk did not take a line yet."""
        return bool(self._waiting)

    def write(self, message: Message) -> None:
        """Append a line, after those that wait. Raises `OSError`, and then it waits, too."""
        self._waiting.append(files.status_line(message))
        self.retry()

    def retry(self) -> None:
        """Append what waits."""
        while self._waiting:
            line = self._waiting[0]
            _append(self._fd, line, self.size)
            self.size += len(line)
            del self._waiting[0]

    def sync(self) -> None:
        """To the disk."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Let go of the file; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Output:
    """The output of an attempt, in segments; counts it, too."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._begin = 0
        self._segments: list[int] = []
        self._counts = {1: Count(), 2: Count()}
        self._taken = 0
        self._gap: tuple[int, int, int, int] | None = None
        """What was dropped: step, instant, bytes, line breaks."""
        self._discarding = False
        self.position = 0
        self.pending: bytes | None = None
        """A frame that the disk did not take."""

    @property
    def untaken(self) -> int:
        """Bytes that are not safe elsewhere."""
        return self.position - self._taken

    def write(self, step: int, stream: int, at: int, data: bytes) -> None:
        """Append a frame. Raises `OSError` where the disk does not take it; then it is `pending`,
        and `retry` must succeed before the next."""
        self._counts[stream].add(data)
        if self._discarding:
            return
        self.pending = files.frame_header(step, stream, at, len(data)) + data
        self.retry()

    @property
    def waits(self) -> bool:
        """Is there something that the disk did not take yet?"""
        return self.pending is not None or self._gap is not None

    def drop(self, step: int, stream: int, at: int, data: bytes) -> None:
        """Count output, and let it go; so too what is pending."""
        self._counts[stream].add(data)
        if self._discarding:
            return
        size, lines = len(data), data.count(b"\n")
        if self.pending is not None:
            size += len(self.pending) - files.FRAME_HEADER
            lines += self.pending.count(b"\n", files.FRAME_HEADER)
            self.pending = None
        _, _, before, lines_before = self._gap or (0, 0, 0, 0)
        self._gap = (step, at, before + size, lines_before + lines)

    def discard(self) -> None:
        """Nobody will ask for any of it, now or later."""
        self._discarding = True
        self.pending = self._gap = None
        self.close()
        self.taken(self.position)

    def retry(self) -> None:
        """Append the pending frame, if there is one, then the one that tells of a gap."""
        if self.pending is not None:
            self._append_pending()
        if self._gap is not None:
            step, at, size, lines = self._gap
            lost = files.lost(size, lines)
            self.pending = files.frame_header(step, files.GAP, at, len(lost)) + lost
            self._gap = None
            self._append_pending()

    def _append_pending(self) -> None:
        assert self.pending is not None
        if self._fd < 0:
            self._begin = self.position
            name = f"{self._path}/{files.segment_name(self._begin)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._fd = os.open(name, flags, 0o600)
            self._segments.append(self._begin)
        _append(self._fd, self.pending, self.position - self._begin)
        self.position += len(self.pending)
        self.pending = None
        if self.position - self._begin >= files.SEGMENT_BYTES:
            self.close()

    def taken(self, position: int) -> None:
        """Remove the closed segments that end at or before `position`."""
        self._taken = max(self._taken, min(position, self.position))
        while len(self._segments) > 1 and self._segments[1] <= self._taken:
            self._remove(self._segments.pop(0))
        if self._segments and self._fd < 0 and self._taken >= self.position:
            self._remove(self._segments.pop(0))

    def totals(self) -> dict[str, list[int | str]]:
        """For each stream: bytes, lines, SHA-256 in hex."""
        return {str(stream): count.totals() for stream, count in self._counts.items()}

    def sync(self) -> None:
        """To the disk, as far as a segment is open; the kernel has long begun with the others."""
        if self._fd >= 0:
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the open segment, if there is one; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _remove(self, begin: int) -> None:
        with contextlib.suppress(OSError):
            os.unlink(f"{self._path}/{files.segment_name(begin)}")


class Count:
    """Bytes, lines and SHA-256 of a stream; an unfinished last line counts as a line."""

    def __init__(self) -> None:
        self._bytes = 0
        self._newlines = 0
        self._unfinished = False
        self._sha256 = hashlib.sha256()

    def add(self, data: bytes) -> None:
        """Count `data`, which is not empty."""
        self._bytes += len(data)
        self._newlines += data.count(b"\n")
        self._unfinished = not data.endswith(b"\n")
        self._sha256.update(data)

    def totals(self) -> list[int | str]:
        """As they stand in a status file."""
        return [self._bytes, self._newlines + self._unfinished, self._sha256.hexdigest()]


def _append(fd: int, data: bytes, size: int) -> None:
    """Append all of `data` to a file of `size` bytes, or nothing. Raises `OSError`."""
    try:
        written = os.write(fd, data)
        if written != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(fd, size)
        raise


def _now() -> int:
    return time.time_ns() // 1000
