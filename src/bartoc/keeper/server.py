"""The keeper's loop: what wakes it, whom it speaks with, and what a predecessor left behind."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import heapq
import itertools
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from bartoc.keeper import crash, files
from bartoc.keeper.attempt import Attempt, DidNotStart, Status
from bartoc.keeper.files import Message
from bartoc.keeper.tree import Snapshot, Tree, cgroup_base, draw_queue_limit, marks

IDLE_SECONDS = 60.0
"""A keeper with nothing to run and nobody to speak with leaves after this."""

LOCK_PATIENCE = 10.0
"""Seconds to wait for a predecessor that is about to leave."""

_LEFTOVER_PATIENCE = 10.0
_SWEEP_AGAIN = 5.0
_SNAPSHOT_AGE = 0.05
_ROOM_AGE = 0.02
_SEND_HIGH = 256 * 1024
_LOG_BYTES = 256 * 1024
_TERM_GRACE = 10.0

Key = tuple[str, int]


class Refused(Exception):
    """This keeper cannot be; the text says why."""


class Alarm:
    """An action at a time of the monotonic clock."""

    __slots__ = ("action", "cancelled")

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action
        self.cancelled = False


class Record(NamedTuple):
    """An attempt that is over, as its directory holds it."""

    path: str
    state: str
    position: int
    status_size: int


class Connection:
    """The bartoc that is there: what it sent, what it is still to be sent, what it follows."""

    def __init__(self, link: socket.socket) -> None:
        link.setblocking(False)
        self.link = link
        self.unpacker = files.Unpacker()
        self.out = bytearray()
        self.watched: set[Key] = set()
        self.told_stopped = False


class Server:
    """The keeper of the state directory that is the current one; `lock` is held on it."""

    def __init__(self, lock: int) -> None:
        self.boot = _boot_id()
        self.null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self.nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._selector = selectors.DefaultSelector()
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()
        self._attempts: dict[Key, Attempt] = {}
        self._records: dict[Key, Record] = {}
        self._mains: dict[int, Attempt] = {}
        self._grown: set[Key] = set()
        self._queue_limits: set[int | None] = set()
        """Of the attempts that run: each is told from the others by its own."""
        self._old_trees: list[Tree] = []
        """Of attempts that are over, but whose cgroup could not be removed yet."""
        self._connection: Connection | None = None
        self._listener: socket.socket | None = None
        self._stopping = False
        self._idle_since = time.monotonic()
        self._cgroups = cgroup_base()
        self._sweeping = False
        self._snapshot: tuple[float, Snapshot] | None = None
        self._room_seen = 0.0
        self._scarce = False
        self._wake, wake = os.pipe()
        for fd in (self._wake, wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, _nothing)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        self.private: tuple[int, ...] = (lock, self._wake, wake)
        self.watch(self._wake, self._woken)
        _raise_limit(self.nofile)

    def run(self, ready: Callable[[], None]) -> None:
        """Settle what a predecessor left, listen, say `ready`, and serve until it is time to
        leave."""
        os.makedirs(files.RUNS, mode=0o700, exist_ok=True)
        self._recover()
        self._listen()
        ready()
        gc.collect()
        gc.freeze()  # a fork shares what the collector does not touch
        while not self._may_leave():
            for key, _ in self._selector.select(self._until_next_alarm()):
                # Whoever was called before it may have closed it, or put another in its place.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()
            self._ring()
            self._tell()
        with contextlib.suppress(OSError):
            os.unlink(files.SOCKET)
        self._sweep()

    def watch(self, fd: int, ready: Callable[[], None]) -> None:
        self._selector.register(fd, selectors.EVENT_READ, ready)

    def unwatch(self, fd: int) -> None:
        self._selector.unregister(fd)

    def later(self, seconds: float, action: Callable[[], None]) -> Alarm:
        alarm = Alarm(action)
        heapq.heappush(self._alarms, (time.monotonic() + seconds, next(self._numbers), alarm))
        return alarm

    def main(self, pid: int, attempt: Attempt) -> None:
        self._mains[pid] = attempt

    def grew(self, attempt: Attempt) -> None:
        self._grown.add((attempt.run, attempt.attempt))

    def scarce(self) -> bool:
        now = time.monotonic()
        if now - self._room_seen > _ROOM_AGE:
            self._room_seen = now
            found = os.statvfs(".")
            self._scarce = found.f_bavail * found.f_frsize < files.RESERVE
        return self._scarce

    def over(self, attempt: Attempt) -> None:
        key = (attempt.run, attempt.attempt)
        if attempt.forgotten:
            _remove(attempt.path)
        else:
            self._records[key] = Record(
                attempt.path, attempt.state, attempt.position, attempt.status_size
            )
        self._attempts.pop(key, None)
        self._queue_limits.discard(attempt.tree.queue_limit)
        self._idle_since = time.monotonic()
        self._sweep(attempt.tree)
        self.stuck()

    def stuck(self) -> None:
        if self._stopping and self._all_stopped():
            self._say_stopped()

    def log(self, text: str) -> None:
        """A line of keeper.log, which never grows without bound."""
        with contextlib.suppress(OSError):
            if os.fstat(2).st_size > _LOG_BYTES:
                os.ftruncate(2, 0)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            os.write(2, f"{stamp} {text}\n".encode("utf-8", "replace"))

    # What wakes it.

    def _woken(self) -> None:
        """Signals came: someone's child is gone, or we are to leave."""
        numbers = os.read(self._wake, 4096)
        if signal.SIGTERM in numbers:
            self._stop(_TERM_GRACE)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            attempt = self._mains.pop(pid, None)
            if attempt is not None:
                attempt.reaped(status)

    def _until_next_alarm(self) -> float:
        now = time.monotonic()
        if self._grown and self._connection is not None and not self._connection.out:
            return 0.0
        until = min(self._alarms[0][0] - now if self._alarms else IDLE_SECONDS, IDLE_SECONDS)
        return max(0.0, until)

    def _ring(self) -> None:
        now = time.monotonic()
        while self._alarms and self._alarms[0][0] <= now:
            alarm = heapq.heappop(self._alarms)[2]
            if not alarm.cancelled:
                alarm.action()

    def _may_leave(self) -> bool:
        if self._connection is not None:
            return False
        if self._stopping:
            return self._all_stopped()
        return not self._attempts and time.monotonic() - self._idle_since >= IDLE_SECONDS

    # Whom it speaks with.

    def _listen(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(files.SOCKET)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(files.SOCKET)  # relative, as the whole path may be too long (unix(7))
        self._listener.listen(8)
        self._listener.setblocking(False)
        self.private = (*self.private, self._listener.fileno())
        self.watch(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        """Greet the next; until it has gone, nobody else is looked at."""
        assert self._listener is not None
        try:
            link, _ = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self.unwatch(self._listener.fileno())
                self.later(1.0, partial(self.watch, self._listener.fileno(), self._accept))
            return
        self.unwatch(self._listener.fileno())
        connection = self._connection = Connection(link)
        self._selector.register(link, selectors.EVENT_READ, partial(self._converse, connection))
        running = [
            [*key, attempt.state, attempt.position] for key, attempt in self._attempts.items()
        ]
        over = [[*key, record.state, record.position] for key, record in self._records.items()]
        self._send(
            {
                "is": "hello",
                "protocol": files.PROTOCOL,
                "pid": os.getpid(),
                "boot": self.boot,
                "runs": running + over,
            }
        )

    def _converse(self, connection: Connection) -> None:
        """Write what is to be written, read what came; its last word counts as any other."""
        if connection.out and not self._write(connection):
            return
        try:
            data = connection.link.recv(256 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up(connection)
            return
        try:
            for message in connection.unpacker.feed(data):
                self._obey(message)
        except (ValueError, KeyError, TypeError) as error:
            self.log(f"bartoc does not speak as agreed, and was left: {error!r}")
            self._hang_up(connection)

    def _hang_up(self, connection: Connection) -> None:
        assert self._listener is not None
        self._selector.unregister(connection.link)
        connection.link.close()
        self._connection = None
        self._idle_since = time.monotonic()
        self.watch(self._listener.fileno(), self._accept)

    def _send(self, message: Message) -> None:
        connection = self._connection
        if connection is not None:
            connection.out += files.pack(message)
            self._write(connection)

    def _write(self, connection: Connection) -> bool:
        """Write as much as goes; returns whether more may be read meanwhile.

        A peer that is gone is not hung up here: what it said before is still to be read.
        """
        while connection.out:
            try:
                sent = connection.link.send(connection.out)
            except BlockingIOError:
                break
            except OSError:
                connection.out.clear()
                break
            del connection.out[:sent]
        choked = len(connection.out) > _SEND_HIGH
        events = 0 if choked else selectors.EVENT_READ
        if connection.out:
            events |= selectors.EVENT_WRITE
        if self._selector.get_key(connection.link).events != events:
            self._selector.modify(connection.link, events, partial(self._converse, connection))
        return not choked

    def _tell(self) -> None:
        """Say how far the attempts' files have got, unless there is still more to be written."""
        connection = self._connection
        if connection is None or connection.out:
            if connection is None:
                self._grown.clear()
            return
        news = []
        for key in self._grown & connection.watched:
            held = self._attempts.get(key) or self._records.get(key)
            if held is not None:
                news.append(
                    files.pack(
                        {
                            "is": "at",
                            "run": key[0],
                            "attempt": key[1],
                            "out": held.position,
                            "status": held.status_size,
                        }
                    )
                )
        self._grown.clear()
        if news:
            connection.out += b"".join(news)
            self._write(connection)

    def _obey(self, message: Message) -> None:
        match message["is"]:
            case "spawn":
                self._spawn(message)
            case "watch":
                self._watch(_key(message), int(message["pos"]))
            case "taken":
                attempt = self._attempts.get(_key(message))
                if attempt is not None:
                    attempt.taken(int(message["pos"]))
            case "cancel":
                attempt = self._attempts.get(_key(message))
                if attempt is not None:
                    attempt.stop("cancelled", float(message["grace"]))
            case "forget":
                self._forget(_key(message))
            case "shutdown":
                self._stop(float(message["grace"]))
            case unknown:
                self.log(f"bartoc said {unknown!r}, which this keeper does not know")

    def _spawn(self, order: Message) -> None:
        key = _key(order)
        if self._connection is not None:
            self._connection.watched.add(key)
        if key in self._attempts or key in self._records:
            self._grown.add(key)
            return
        if self._stopping:
            self._refuse(key, "the worker is stopping")
            return
        crash.at("keeper.before_directory")
        limit = draw_queue_limit(self._queue_limits)
        self._queue_limits.add(limit)
        tree = Tree(self._look, marks(order["env"]), self._make_cgroup(key), limit)
        path = f"{files.RUNS}/{files.attempt_name(*key)}"
        try:
            status = self._plan(key, path, tree, order)
            crash.at("keeper.after_directory")
            attempt = self._attempts[key] = Attempt(self, path, status, order, tree)
            attempt.start()
        except (OSError, DidNotStart) as error:
            if self._attempts.pop(key, None) is not None:
                status.close()
            _remove(path)
            tree.remove_cgroup()
            self._queue_limits.discard(limit)
            why = error.strerror if isinstance(error, OSError) else None
            self._refuse(key, f"could not start: {why or error}")

    def _refuse(self, key: Key, why: str) -> None:
        """It did not start, and left nothing behind that would say so."""
        at = time.time_ns() // 1000
        self._send({"is": "refused", "run": key[0], "attempt": key[1], "at": at, "why": why})

    def _plan(self, key: Key, path: str, tree: Tree, order: Message) -> Status:
        """The attempt's directory, under its name only with the plan in it.

        Raises `OSError`, and then there is none.
        """
        new = f"{files.RUNS}/.new.{files.attempt_name(*key)}"
        plan: Message = {
            "is": "planned",
            "boot": self.boot,
            "at": time.time_ns() // 1000,
            "marks": [os.fsdecode(mark) for mark in marks(order["env"])],
            "cgroup": tree.cgroup,
            "queue_limit": tree.queue_limit,
            "pos": 0,
        }
        try:
            os.mkdir(new, 0o700)
            status = Status(new)
            try:
                status.write(plan)
                crash.at("keeper.before_rename")
                os.rename(new, path)
            except OSError:
                status.close()
                raise
        except OSError:
            _remove(new)
            raise
        return status

    def _watch(self, key: Key, position: int) -> None:
        if self._connection is not None:
            self._connection.watched.add(key)
        attempt = self._attempts.get(key)
        if attempt is not None:
            attempt.taken(position)
        self._grown.add(key)

    def _forget(self, key: Key) -> None:
        attempt = self._attempts.get(key)
        if attempt is not None:
            attempt.forget()
        record = self._records.pop(key, None)
        if record is not None:
            _remove(record.path)
            crash.at("keeper.after_forget")

    def _stop(self, grace: float) -> None:
        """Start nothing any more, and end what runs."""
        self._stopping = True
        for attempt in list(self._attempts.values()):
            attempt.stop("stopped", grace)
        self.stuck()

    def _all_stopped(self) -> bool:
        """Whether nothing of any attempt is alive. What then waits for a full disk is given up
        when we leave: a shutdown does not wait for an operator."""
        return all(attempt.stuck for attempt in self._attempts.values())

    def _say_stopped(self) -> None:
        self._tell()
        self._send({"is": "stopped"})

    # Processes.

    def _look(self) -> Snapshot:
        """All processes; many attempts that are ended at once share one look."""
        now = time.monotonic()
        if self._snapshot is None or now - self._snapshot[0] > _SNAPSHOT_AGE:
            self._snapshot = (time.monotonic(), Snapshot())
        return self._snapshot[1]

    def _make_cgroup(self, key: Key) -> str | None:
        if self._cgroups is None:
            return None
        # With our pid in it, as other workers' keepers may be in the same cgroup.
        path = f"{self._cgroups}/barto.{os.getpid()}.{files.attempt_name(*key)}"
        try:
            os.mkdir(path)
        except OSError:
            return None
        return path

    def _sweep(self, *more: Tree) -> None:
        """Remove the cgroups of attempts that are over, but where a daemon lives on in one."""
        self._old_trees = [tree for tree in (*self._old_trees, *more) if not tree.remove_cgroup()]
        if self._old_trees and not self._sweeping:
            self._sweeping = True
            self.later(_SWEEP_AGAIN, self._sweep_again)

    def _sweep_again(self) -> None:
        self._sweeping = False
        self._sweep()

    # What a predecessor left.

    def _recover(self) -> None:
        """Read what is there; kill what is left of attempts without an end, and only then write
        down that they are lost."""
        leftovers: list[tuple[Key, str, Message, list[Message], Tree]] = []
        for name in sorted(os.listdir(files.RUNS)):
            path = f"{files.RUNS}/{name}"
            key = files.parse_attempt_name(name)
            if key is None:
                _remove(path)
                continue
            status = _read_lines(f"{path}/{files.STATUS}")
            if status and status[-1]["is"] in files.FINAL:
                self._records[key] = _record(path, status[-1])
            else:
                plan = status[0] if status and status[0]["is"] == "planned" else {}
                leftovers.append((key, path, plan, status, self._old_tree(plan, status)))
        self._kill_all([tree for *_, tree in leftovers])
        for key, path, plan, status, tree in leftovers:
            self._sweep(tree)
            self._records[key] = self._lose(path, plan, status)
        if leftovers:
            self.log(f"{len(leftovers)} attempts of a keeper before this one were lost")

    def _old_tree(self, plan: Message, status: list[Message]) -> Tree:
        """The processes of an attempt of this boot; after another one there are none."""
        if plan.get("boot") != self.boot:
            return Tree(self._look)
        tree = Tree(
            self._look,
            [os.fsencode(mark) for mark in plan["marks"]],
            plan["cgroup"],
            plan.get("queue_limit"),  # the keeper of an older bartoc gave none
        )
        for line in status:
            if line["is"] == "started":
                tree.add(line["pid"], line["born"])
        return tree

    def _kill_all(self, trees: list[Tree]) -> None:
        until = time.monotonic() + _LEFTOVER_PATIENCE
        pause = 0.01
        while trees := [tree for tree in trees if tree.signal(signal.SIGKILL)]:
            if time.monotonic() > until:
                self.log(f"something of {len(trees)} lost attempts cannot be killed")
                return
            time.sleep(pause)
            pause = min(2 * pause, 0.5)
            self._snapshot = None

    def _lose(self, path: str, plan: Message, status: list[Message]) -> Record:
        started = any(line["is"] == "started" for line in status)
        certain = False
        if plan.get("boot") != self.boot:
            why = "the host restarted"
        elif started and status[-1]["is"] == "started" and not _has_printed(path, status):
            why = "the keeper was lost"
        elif started:
            why = "the keeper was lost while the command ran"
        else:
            certain = True
            why = "the keeper was lost before it started"
        line = {
            "is": "lost",
            "at": time.time_ns() // 1000,
            "why": why,
            "certain": certain,
            "pos": _cut_torn_output(path),
        }
        _append_line(f"{path}/{files.STATUS}", line)
        return _record(path, line)


def serve(directory: str) -> None:
    """Be the keeper of the state directory, in the background; returns in the caller's process
    when the keeper listens.

    Raises `Refused` where that cannot be.
    """
    told, tell = os.pipe()
    pid = os.fork()
    if pid:
        os.close(tell)
        with open(told, "rb") as file:
            word = file.read()
        if word != b"ready":
            raise Refused(word.decode("utf-8", "replace") or "the keeper died; see keeper.log")
        return
    os.close(told)
    try:
        _serve(directory, tell)
    except Refused as error:
        os.write(tell, str(error).encode())
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def _serve(directory: str, tell: int) -> None:
    os.setsid()
    os.umask(0o077)
    try:
        os.chdir(directory)
        lock = os.open(files.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _detach()
    except OSError as error:
        raise Refused(f"{directory}: {error.strerror}") from error
    _take(lock)
    _be_subreaper()

    def ready() -> None:
        os.write(tell, b"ready")
        os.close(tell)

    Server(lock).run(ready)


def _detach() -> None:
    """Standard input and output to nowhere, errors to keeper.log."""
    null = os.open(os.devnull, os.O_RDWR)
    log = os.open(files.LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for fd, source in ((0, null), (1, null), (2, log)):
        os.dup2(source, fd)
    os.close(null)
    os.close(log)


def _take(lock: int) -> None:
    """Hold the lock; a predecessor may be about to leave, so wait a while for it."""
    until = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > until:
                raise Refused("another keeper holds keeper.lock") from None
            time.sleep(0.02)
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)


def _be_subreaper() -> None:
    """Orphans of our commands become our children (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    import ctypes

    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def _raise_limit(limits: tuple[int, int]) -> None:
    """Each command takes a few descriptors of ours."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _nothing(number: int, frame: object) -> None:
    """A signal's handler: its number comes by the wake-up descriptor."""


def _key(message: Message) -> Key:
    return str(message["run"]), int(message["attempt"])


def _record(path: str, last: Message) -> Record:
    state = {"done": "ended", "refused": "not started"}.get(last["is"])
    if state is None:
        state = "not started" if last["certain"] else "interrupted"
    size = os.stat(f"{path}/{files.STATUS}").st_size
    return Record(path, state, last["pos"], size)


def _read_lines(path: str) -> list[Message]:
    try:
        with open(path, "rb") as file:
            return files.status_lines(file.read())
    except (OSError, ValueError):
        return []


def _append_line(path: str, line: Message) -> None:
    """Append after the last whole line."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(fd, "r+b") as file:
        file.seek(file.read().rfind(b"\n") + 1)
        file.truncate()
        file.write(files.status_line(line))
        file.flush()
        os.fdatasync(fd)


def _has_printed(path: str, status: list[Message]) -> bool:
    """Whether there is output after the last line of the status."""
    return _cut_torn_output(path) > int(status[-1]["pos"])


def _cut_torn_output(path: str) -> int:
    """Cut off a torn frame at the end; returns the position that the output has reached."""
    begins = files.segments(os.listdir(path))
    if not begins:
        return 0
    with open(f"{path}/{files.segment_name(begins[-1])}", "r+b") as file:
        whole = files.whole_frames(file.read())
        file.truncate(whole)
    return begins[-1] + whole


def _remove(path: str) -> None:
    """Remove an attempt's directory, first of all its name."""
    gone = f"{files.RUNS}/.gone.{os.path.basename(path)}"
    with contextlib.suppress(OSError):
        os.rename(path, gone)
    crash.at("keeper.amid_forget")
    with contextlib.suppress(OSError):
        for name in os.listdir(gone):
            os.unlink(f"{gone}/{name}")
        os.rmdir(gone)
