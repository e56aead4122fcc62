"""What happens between fork and exec, and how does the parent hear of what went wrong there?

The child enters its session and cgroup, then waits. It goes on when it reads a byte, and leaves at
end of file: no command runs that its parent did not write down first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import resource
import signal
from typing import NamedTuple, NoReturn

_DEFAULTS = tuple(
    number
    for number in signal.valid_signals()
    if number not in {signal.SIGKILL, signal.SIGSTOP} and isinstance(number, signal.Signals)
)
"""Every signal that can be set: a command starts with the default of each, whatever was ignored
where bartoc was started (a shell's background jobs ignore SIGINT and SIGQUIT)."""


class Command(NamedTuple):
    """What the child becomes. `nofile` are the limits on descriptors that the keeper was given."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    user: str | None
    nice: int
    cgroup: str | None
    nofile: tuple[int, int]
    queue_limit: int | None = None
    """The soft limit on message queues, by which its orphans are known; None leaves it."""


class Launched(NamedTuple):
    """A child that waits: write a byte to `go`, or close it. The other descriptors are read from;
    `outcome` tells at end of file that exec worked, else why not."""

    pid: int
    go: int
    outcome: int
    stdout: int
    stderr: int


def launch(command: Command, null: int, close: tuple[int, ...]) -> Launched:
    """Fork. `null` is open on /dev/null; the child closes `close` at once.

    Raises `OSError` where there is no descriptor or no process left.
    """
    opened: list[int] = []
    try:
        for _ in range(4):
            opened += os.pipe()  # close-on-exec, as all that Python opens
        pid = os.fork()
    except OSError:
        for fd in opened:
            os.close(fd)
        raise
    go_in, go, outcome, outcome_in, stdout, stdout_in, stderr, stderr_in = opened
    if pid == 0:
        for fd in (go, outcome, stdout, stderr, *close):
            os.close(fd)
        _become(command, go_in, outcome_in, (null, stdout_in, stderr_in))
    for fd in (go_in, outcome_in, stdout_in, stderr_in):
        os.close(fd)
    for fd in (outcome, stdout, stderr):
        os.set_blocking(fd, False)
    return Launched(pid, go, outcome, stdout, stderr)


def _become(command: Command, go: int, outcome: int, streams: tuple[int, int, int]) -> NoReturn:
    """In the child: never returns, whatever happens."""
    stage = "session"
    try:
        signal.set_wakeup_fd(-1)
        for number in _DEFAULTS:
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        if command.cgroup is not None:
            _enter(command.cgroup)
        if not os.read(go, 1):
            os._exit(0)
        stage = "streams"
        for fd, stream in enumerate(streams):
            os.dup2(stream, fd)
        stage = "limits"
        resource.setrlimit(resource.RLIMIT_NOFILE, command.nofile)
        if command.queue_limit is not None:
            _, hard = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
            resource.setrlimit(resource.RLIMIT_MSGQUEUE, (command.queue_limit, hard))
        stage = "nice"
        if command.nice:
            os.setpriority(os.PRIO_PROCESS, 0, command.nice)
        stage = f"user {command.user}"
        if command.user is not None:
            _change_user(command.user)
        stage = f"directory {command.cwd}"
        os.chdir(command.cwd)
        os.umask(0o022)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        stage = command.argv[0]
        os.execvpe(command.argv[0], command.argv, command.env)  # no shell but the caller's own
    except BaseException as error:
        # Nothing may be raised beyond this point, where it would run the parent's code again.
        with contextlib.suppress(OSError):
            os.write(outcome, f"{stage}: {_reason(stage, command, error)}".encode()[:4096])
    finally:
        os._exit(127)


def _enter(cgroup: str) -> None:
    """Move into the cgroup; where that fails, /proc tells what belongs to the attempt."""
    with contextlib.suppress(OSError):
        fd = os.open(f"{cgroup}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, b"0")
        os.close(fd)


def _change_user(name: str) -> None:
    """Become `name` with all its groups; nothing to do where we are it already."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise OSError(errno.ENOENT, "no such user on this host") from None
    if entry.pw_uid == os.geteuid() and os.geteuid() != 0:
        return
    os.setgroups(os.getgrouplist(name, entry.pw_gid))
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def _reason(stage: str, command: Command, error: BaseException) -> str:
    if not isinstance(error, OSError):
        return str(error) or type(error).__name__
    if error.errno == errno.ENOENT and stage == command.argv[0] and os.path.exists(stage):
        return "the interpreter that its first line names does not exist"
    return error.strerror or str(error)
