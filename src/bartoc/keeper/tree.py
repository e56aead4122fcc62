"""Which processes belong to an attempt, and how are all of them ended?

With cgroup v2 the kernel knows: an attempt has a cgroup of its own, which no process can leave.
Beside that, and where no cgroup can be made, /proc is read: what is in the session of a step's
main process, what descends from such a process, and what carries the attempt's marks (BARTO_RUN
and BARTO_ATTEMPT) in its environment, so that a `setsid` or a double fork is no way out.

A process that did both and cleared its environment is left without a parent, and becomes a child
of the keeper, which is a subreaper (prctl(2)). Whose it is tells a limit that nothing else cares
for: each attempt is given a soft RLIMIT_MSGQUEUE of its own, a little below the usual, which is
inherited by all that it starts and survives `exec` (getrlimit(2)).
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Callable, Container, Iterable
from typing import NamedTuple


class Process(NamedTuple):
    """A line of /proc/PID/stat, as far as it matters (proc_pid_stat(5)); `born` is in ticks since
    boot, so that (pid, born) names a process once and for all in a boot."""

    pid: int
    parent: int
    session: int
    born: int
    zombie: bool


def process(pid: int) -> Process | None:
    """The process `pid`, None where there is none."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        line = os.read(fd, 4096)
    except OSError:
        return None
    finally:
        os.close(fd)
    return parse_stat(pid, line)


def parse_stat(pid: int, line: bytes) -> Process | None:
    """A line of /proc/PID/stat; a name may hold blanks and parentheses.

    >>> parse_stat(7, b"7 (a) b) S 1 7 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0")
    Process(pid=7, parent=1, session=5, born=4711, zombie=False)
    """
    fields = line[line.rfind(b")") + 1 :].split()
    if len(fields) < 20:
        return None
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]), fields[0] in (b"Z", b"X"))


class Snapshot:
    """All processes of the host that were alive at one moment, but this one."""

    def __init__(self) -> None:
        here = os.getpid()
        self.processes: dict[int, Process] = {}
        self.children: dict[int, list[Process]] = {}
        self._environ: dict[int, frozenset[bytes]] = {}
        self._queues: dict[int, int | None] = {}
        self.heirs = _ancestors(here)
        """Whose children processes without a parent become: this one, or one that it descends
        from."""
        for name in os.listdir("/proc"):
            if name.isdecimal():
                found = process(int(name))
                if found is not None and not found.zombie and found.pid != here:
                    self.processes[found.pid] = found
                    self.children.setdefault(found.parent, []).append(found)

    def environ(self, found: Process) -> frozenset[bytes]:
        """The environment a process was given, as far as we may read it."""
        if found.pid not in self._environ:
            self._environ[found.pid] = _environ(found)
        return self._environ[found.pid]

    def queue_limit(self, found: Process) -> int | None:
        """The soft limit on bytes in message queues, None where there is none to be read."""
        if found.pid not in self._queues:
            self._queues[found.pid] = _queue_limit(found)
        return self._queues[found.pid]

    def with_descendants(self, inside: Iterable[Process]) -> list[Process]:
        """These, and all that descends from them."""
        reached = {found.pid: found for found in inside}
        waiting = list(reached.values())
        while waiting:
            for child in self.children.get(waiting.pop().pid, ()):
                if child.pid not in reached:
                    reached[child.pid] = child
                    waiting.append(child)
        return list(reached.values())


_KTHREADD = 2


def _environ(found: Process) -> frozenset[bytes]:
    if found.parent == _KTHREADD:
        return frozenset()
    try:
        with open(f"/proc/{found.pid}/environ", "rb", buffering=0) as file:
            return frozenset(file.readall().split(b"\0"))
    except OSError:
        return frozenset()


def _queue_limit(found: Process) -> int | None:
    try:
        with open(f"/proc/{found.pid}/limits", "rb", buffering=0) as file:
            return parse_limits(file.readall())
    except OSError:
        return None


def parse_limits(text: bytes) -> int | None:
    """The soft limit on bytes in message queues of /proc/PID/limits, None for none.

    >>> parse_limits(b"Max msgqueue size         819199               819200               bytes")
    819199
    """
    for line in text.splitlines():
        if line.startswith(b"Max msgqueue size"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else None
    return None


def _ancestors(pid: int) -> frozenset[int]:
    """A process, and all that it descends from."""
    found = {pid}
    while (line := process(pid)) is not None and line.parent not in found:
        pid = line.parent
        found.add(pid)
    return frozenset(found)


_QUEUE_TAGS = 1 << 16
_QUEUE_UNLIMITED = 1 << 40


def draw_queue_limit(taken: Container[int | None]) -> int | None:
    """A soft limit on message queues that no other attempt has; None where the limit is so low
    already that it should be left alone."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    top = _QUEUE_UNLIMITED if soft == resource.RLIM_INFINITY else soft
    if top < 2 * _QUEUE_TAGS:
        return None
    while (drawn := top - 1 - int.from_bytes(os.urandom(2), "big")) in taken:
        pass
    return drawn


class Tree:
    """The processes of one attempt.

    `look` gives a snapshot, which may be a little old. `marks` are the whole `NAME=value` entries
    of the environment that all of them were given. `cgroup` is the attempt's own, None where there
    is none; `queue_limit` its own soft limit on message queues.
    """

    def __init__(
        self,
        look: Callable[[], Snapshot],
        marks: Iterable[bytes] = (),
        cgroup: str | None = None,
        queue_limit: int | None = None,
    ) -> None:
        self._look = look
        self._marks = frozenset(marks)
        self.cgroup = cgroup
        self.queue_limit = queue_limit
        self.mains: dict[int, int] = {}

    def add(self, pid: int, born: int) -> None:
        """`pid`, born at this tick, is the main process of a step and leads a session."""
        self.mains[pid] = born

    def members(self) -> list[Process]:
        """All that is alive of it, main processes too.

        Once the main processes are gone and this is empty, it stays empty.
        """
        snapshot = self._look()
        sessions = self._sessions(snapshot.processes)
        inside = self._in_cgroup()
        inside += (
            found
            for found in snapshot.processes.values()
            if found.session in sessions
            or (self._marks and self._marks <= snapshot.environ(found))
            or self._strayed(snapshot, found)
        )
        return snapshot.with_descendants(inside)

    def signal(self, number: int) -> set[int]:
        """Send a signal to all of it; returns the pids that got it.

        A stopped process is told to continue, so that it can act on what it was sent.
        """
        reached = [found for found in self.members() if send(found, number)]
        if number == signal.SIGKILL:
            self._kill_cgroup()
        else:
            for found in reached:
                send(found, signal.SIGCONT)
        return {found.pid for found in reached}

    def memory_kills(self) -> int:
        """How many processes the kernel has killed so far as memory ran out: of its own cgroup, or,
        where memory is not counted for that, of the one above, which all attempts share."""
        if self.cgroup is None:
            return 0
        for directory in (self.cgroup, os.path.dirname(self.cgroup)):
            with (
                contextlib.suppress(OSError),
                open(f"{directory}/memory.events", "rb", buffering=0) as file,
            ):
                return parse_memory_events(file.readall())
        return 0

    def remove_cgroup(self) -> bool:
        """Remove the cgroup; False where something is alive in it still."""
        if self.cgroup is None:
            return True
        try:
            os.rmdir(self.cgroup)
        except FileNotFoundError:
            pass
        except OSError:
            return False
        self.cgroup = None
        return True

    def _sessions(self, everything: dict[int, Process]) -> set[int]:
        """The sessions of the main processes, as far as the ids are still theirs."""
        sessions = set()
        for pid, born in self.mains.items():
            leader = everything.get(pid)
            if leader is None or leader.born == born:
                sessions.add(pid)
        return sessions

    def _strayed(self, snapshot: Snapshot, found: Process) -> bool:
        """Is this an orphan that has nothing of the attempt left but its limit?"""
        return (
            self.queue_limit is not None
            and found.parent in snapshot.heirs
            and found.born >= min(self.mains.values(), default=0)
            and snapshot.queue_limit(found) == self.queue_limit
        )

    def _in_cgroup(self) -> list[Process]:
        inside: list[Process] = []
        if self.cgroup is None:
            return inside
        for directory, _, _ in os.walk(self.cgroup):
            with contextlib.suppress(OSError), open(f"{directory}/cgroup.procs", "rb") as file:
                for line in file:
                    found = process(int(line))
                    if found is not None and not found.zombie:
                        inside.append(found)
        return inside

    def _kill_cgroup(self) -> None:
        """All at once, so that nothing can fork faster than it is killed (Linux 5.14)."""
        if self.cgroup is not None:
            with contextlib.suppress(OSError), open(f"{self.cgroup}/cgroup.kill", "wb") as file:
                file.write(b"1")


def parse_memory_events(text: bytes) -> int:
    """The processes that were killed for memory, of a cgroup's memory.events (cgroup v2).

    >>> parse_memory_events(b"low 0\\nmax 7\\noom 2\\noom_kill 1\\n")
    1
    """
    for line in text.splitlines():
        name, _, count = line.partition(b" ")
        if name == b"oom_kill" and count.isdigit():
            return int(count)
    return 0


def marks(env: dict[str, str]) -> tuple[bytes, ...]:
    """What tells an attempt's processes from all others: the run and the attempt.

    >>> marks({"BARTO_RUN": "r", "BARTO_ATTEMPT": "1", "HOME": "/"})
    (b'BARTO_RUN=r', b'BARTO_ATTEMPT=1')
    >>> marks({"BARTO_RUN": "r"})
    ()
    """
    names = ("BARTO_RUN", "BARTO_ATTEMPT")
    if not all(env.get(name) for name in names):
        return ()
    return tuple(os.fsencode(f"{name}={env[name]}") for name in names)


def send(target: Process, number: int) -> bool:
    """Send a signal to this very process, never to another that got its pid."""
    try:
        fd = os.pidfd_open(target.pid)
    except OSError:
        return False
    try:
        now = process(target.pid)
        if now is None or now.born != target.born:
            return False
        signal.pidfd_send_signal(fd, number)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def cgroup_base() -> str | None:
    """Our own cgroup (v2), where we may make others in it; else None (cgroups(7))."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            own = next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), None)
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            base = own_cgroup(own, file) if own is not None else None
    except OSError:
        return None
    if base is None:
        return None
    probe = f"{base}/barto.{os.getpid()}"
    try:
        os.mkdir(probe)
        os.rmdir(probe)
    except OSError:
        return None
    return base


def own_cgroup(own: str, mounts: Iterable[str]) -> str | None:
    """Where the cgroup `own` is mounted, by the lines of /proc/self/mountinfo.

    >>> own_cgroup("/a", ["30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw"])
    '/sys/fs/cgroup/a'
    """
    for line in mounts:
        left, _, right = line.partition(" - ")
        if right.startswith("cgroup2 "):
            root, point = left.split()[3:5]
            if root in ("/", own) or own.startswith(root + "/"):
                inside = own if root == "/" else own[len(root) :]
                return (point + inside).rstrip("/")
    return None
