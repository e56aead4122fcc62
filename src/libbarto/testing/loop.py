"""The virtual event loop: how do three days pass in a few milliseconds, the same way every time?

It is an ordinary selector loop with one difference: when its selector finds nothing ready, it
moves `loop.time()` to the next timer instead of waiting for it. So `asyncio.sleep`, timeouts and
`call_later` work as ever, in virtual time, and whatever follows from one moment has happened
before the next begins. When nothing is ready and no timer is set, nothing can ever happen again:
that is a `Deadlock`, which names the tasks and the lines they wait in, instead of a hang.

Nothing may happen behind its back, as it cannot wait for it: threads and processes are refused.
Sockets work where both ends are served by this loop.

Two runs of the same program take the same steps in the same order. Tasks are numbered by their
loop and hash by that number, so sets of them iterate alike as well. What stays outside: sets of
strings (PYTHONHASHSEED), and generators that nobody seeded.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Executor
from contextvars import Context
from typing import Any, NoReturn, TypeVar, TypeVarTuple, Unpack

from libbarto.errors import BartoError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PATIENCE = 120.0
"""Real seconds after which a simulation that neither ends nor deadlocks is given up."""

_LOOK_AT_REAL_CLOCK_EVERY = 1024
_NANOSECOND = 1e-9


class Deadlock(BartoError, RuntimeError):
    """Nothing is ready and no timer is set: the tasks that wait will wait for ever.

    `waiting` has one line for each task: its name, and where it waits.
    """

    def __init__(self, what: str, waiting: Iterable[str]) -> None:
        self.waiting = tuple(waiting)
        super().__init__("\n    ".join((what, *(self.waiting or ("no task is left",)))))


class Endless(Deadlock):
    """The simulation went on and on: time passes, but what the tasks wait for does not come."""


class NotUnderVirtualTime(BartoError, RuntimeError):
    """A thread or a process was asked for; virtual time cannot wait for either."""


class BackgroundFailure(BartoError, RuntimeError):
    """The main coroutine ended well, but something beside it failed: `failures` tells what."""

    def __init__(self, failures: Iterable[str]) -> None:
        self.failures = tuple(failures)
        super().__init__("\n    ".join(("failed in the background:", *self.failures)))


def run(main: Coroutine[Any, Any, T], *, patience: float = PATIENCE) -> T:
    """Run `main` under a fresh `VirtualLoop` whose time starts at 0, and return its result.

    Afterwards all other tasks are cancelled, as with `asyncio.run`. Raises what `main` raises;
    `Deadlock` where nothing can happen any more; `Endless` where it has not ended after
    `patience` real seconds; `BackgroundFailure` where a callback or a task that nobody awaited
    failed, as no failure may pass unseen (where `main` failed too, that is a note on its error).

    >>> async def nap() -> float:
    ...     await asyncio.sleep(3 * 86_400)
    ...     return asyncio.get_running_loop().time()
    >>> run(nap())
    259200.0
    """
    failures: list[str] = []
    over = False

    def remember(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if over:
            loop.default_exception_handler(context)
        else:
            failures.append(_failure(context))

    try:
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(patience=patience)) as runner:
            runner.get_loop().set_exception_handler(remember)
            result = runner.run(main)
    except BaseException as error:
        for failure in failures:
            error.add_note(f"and in the background: {failure}")
        raise
    finally:
        over = True
    if failures:
        raise BackgroundFailure(failures)
    return result


async def settled() -> None:
    """Wait until nothing more can happen unless time passes; under a `VirtualLoop` only."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError("only a VirtualLoop knows that nothing more can happen now")
    await loop.settled()


class VirtualLoop(asyncio.SelectorEventLoop):
    """A selector event loop in virtual time; `run` makes one for you.

    `patience` is how many real seconds it may run before `Endless`.
    """

    def __init__(self, *, patience: float = PATIENCE) -> None:
        self._virtual_selector = _VirtualSelector(self)
        self._virtual_time = 0.0
        self._patience = patience
        self._gives_up_at: float | None = None
        self._turns = itertools.count(1)
        self._settling: deque[asyncio.Future[None]] = deque()
        self._intruders: list[str] = []
        self._thread = threading.get_ident()
        super().__init__(self._virtual_selector)
        self.set_task_factory(_numbered_tasks())

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_time

    async def settled(self) -> None:
        """Wait until nothing more can happen unless time passes.

        Where several wait, one goes on each time that all is quiet, in the order of asking.
        """
        quiet = self.create_future()
        self._settling.append(quiet)
        try:
            await quiet
        finally:
            if quiet in self._settling:
                self._settling.remove(quiet)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> NoReturn:
        """Always raises `NotUnderVirtualTime`; `asyncio.to_thread` and name look-ups come here."""
        wanted: Any = func
        if isinstance(wanted, functools.partial) and wanted.args:
            wanted = wanted.args[0]  # asyncio.to_thread wraps what it was given
        name = getattr(wanted, "__qualname__", repr(wanted))
        raise NotUnderVirtualTime(
            f"{name} would run in a thread, and virtual time cannot wait for threads: use an"
            " in-memory twin, or mark the test with real_loop"
        )

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """As ever from the loop's own thread; from another one, `NotUnderVirtualTime`."""
        if threading.get_ident() != self._thread:
            self._intruders.append(threading.current_thread().name)
            raise NotUnderVirtualTime(
                f"thread {self._intruders[-1]} called into a virtual loop, which cannot wait for"
                " threads: use an in-memory twin, or mark the test with real_loop"
            )
        return super().call_soon_threadsafe(callback, *args, context=context)

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Always raises `NotUnderVirtualTime`."""
        raise NotUnderVirtualTime(_NO_PROCESSES)

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Always raises `NotUnderVirtualTime`."""
        raise NotUnderVirtualTime(_NO_PROCESSES)

    def _nothing_ready(self, timeout: float | None) -> None:
        """Nothing happens at this moment any more: wake who waited for that, or move time on."""
        while self._settling:
            quiet = self._settling.popleft()
            if not quiet.done():
                quiet.set_result(None)
                return
        if timeout is None:
            if self._intruders:
                threads = ", ".join(sorted(set(self._intruders)))
                raise Deadlock(f"threads were turned away ({threads}), and now:", self._waiting())
            raise Deadlock(
                "deadlock: nothing is ready and no timer is set, but these wait:", self._waiting()
            )
        self._virtual_time += timeout
        # asyncio fires what is due within its clock's resolution, a nanosecond. After half a year
        # a float second is coarser than that, so a timer that is due now would never be: widen it.
        self._clock_resolution = max(_NANOSECOND, 2 * math.ulp(self._virtual_time))

    def _look_at_real_clock(self) -> None:
        """Give up in the end: a lost wake-up beside a heartbeat is no deadlock, yet ends never."""
        if next(self._turns) % _LOOK_AT_REAL_CLOCK_EVERY:
            return
        now = time.monotonic()
        if self._gives_up_at is None:
            self._gives_up_at = now + self._patience
        elif now > self._gives_up_at:
            self._gives_up_at = now + self._patience  # so that the clean-up may still run
            raise Endless(
                f"still not done after {self._patience:g} real seconds, at virtual second"
                f" {self._virtual_time:.6f}; these wait:",
                self._waiting(),
            )

    def _waiting(self) -> list[str]:
        tasks = sorted(asyncio.all_tasks(self), key=hash)
        return [f"{task.get_name()}: {_where(task)}" for task in tasks]


class _VirtualSelector(selectors.DefaultSelector):
    """Finds what is ready now; where nothing is, the loop moves its time instead of waiting."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop._look_at_real_clock()
        ready = super().select(0)
        if not ready and (timeout is None or timeout > 0):
            self._loop._nothing_ready(timeout)
        return ready


class _NumberedTask(asyncio.Task[Any]):
    """A task that hashes by its number in its loop, not by its address in memory."""

    def __init__(self, coro: Coroutine[Any, Any, Any], number: int, **options: Any) -> None:
        self._number = number  # first, as the base class puts the task into sets
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number

    def set_name(self, value: object) -> None:
        # Some releases of Python pass on the None of a task that was given no name.
        if value is not None:
            super().set_name(value)


def _numbered_tasks() -> Callable[..., asyncio.Task[Any]]:
    numbers = itertools.count(1)

    def create(
        loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        number = next(numbers)
        if options.get("name") is None:
            options["name"] = f"task {number}"
        return _NumberedTask(coro, number, loop=loop, **options)

    return create


_NO_PROCESSES = (
    "virtual time cannot wait for processes: use the scripted runner, or mark the test with"
    " real_loop"
)


def _where(task: asyncio.Task[Any]) -> str:
    """Where a task waits: its innermost await, from the outside in."""
    steps: list[str] = []
    awaited: Any = task.get_coro()
    while awaited is not None and len(steps) < 8:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:
            break
        code = frame.f_code
        steps.append(f"{code.co_qualname} ({code.co_filename}:{frame.f_lineno})")
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return " > ".join(steps) or "nowhere"


def _failure(context: Mapping[str, Any]) -> str:
    error = context.get("exception")
    subject = context.get("task") or context.get("future") or context.get("handle")
    text = str(context.get("message", "unknown failure"))
    if isinstance(error, BaseException):
        text += f": {type(error).__name__}: {error}"
        last = error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        if last is not None:
            text += f" ({last.tb_frame.f_code.co_filename}:{last.tb_lineno})"
    if isinstance(subject, asyncio.Task):
        text += f" in {subject.get_name()}"
    return text
