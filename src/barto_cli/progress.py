"""What does a person see while a command waits? After a second, a line on the terminal that moves.

It is drawn on standard error, and only where that is a terminal; it is gone before anything else
is written.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from typing import Final, TextIO

AFTER_S: Final = 1.0
"""What is quicker shows nothing."""
EVERY_S: Final = 0.1
SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PLAIN: Final = "|/-\\"
BAR: Final = 24
CLEAR: Final = "\r\x1b[K"


def line(
    words: str, seconds: float, done: int | None, of: int | None, width: int, *, rich: bool
) -> str:
    """The line as it is drawn `seconds` after the command began, in less than `width` columns.

    >>> line("reading", 3.2, None, None, 80, rich=False)
    '| reading  3s'
    >>> line("reading", 3.2, 3, 12, 80, rich=False)
    '| reading  [######                  ] 3 of 12  3s'
    """
    signs, full, empty = (SPINNER, "█", "░") if rich else (PLAIN, "#", " ")
    text = f"{signs[int(seconds / EVERY_S) % len(signs)]} {words}"
    if of:
        filled = min(BAR, BAR * (done or 0) // of)
        bar = full * filled + empty * (BAR - filled)
        text += f"  {bar if rich else f'[{bar}]'} {done or 0:,} of {of:,}"
    elif done is not None:
        text += f"  {done:,}"
    return f"{text}  {int(seconds)}s"[: max(0, width - 1)]


class Progress:
    """What is drawn while something waits. `on` False: nothing ever is."""

    def __init__(self, out: TextIO, *, on: bool) -> None:
        self._out = out
        self._on = on
        self._rich = (out.encoding or "").lower().replace("-", "") == "utf8"
        self._begun = time.monotonic()
        self._words = "waiting for the server"
        self._done: int | None = None
        self._of: int | None = None
        self._depth = 0
        self._drawn = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def say(self, words: str, done: int | None = None, of: int | None = None) -> None:
        """What is waited for from now on, and how much of it is done."""
        self._words, self._done, self._of = words, done, of

    def stop(self) -> None:
        """From now on nothing is drawn: what is awaited is shown by itself, as it comes."""
        self._on = False

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """While it lasts, the line may be seen; behind it, it is gone."""
        if not self._on:
            yield
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._draw, daemon=True)
            self._thread.start()
        with self._lock:
            self._depth += 1
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1
                if not self._depth and self._drawn:
                    self._drawn = False
                    self._out.write(CLEAR)
                    self._out.flush()

    def _draw(self) -> None:
        while True:
            time.sleep(EVERY_S)
            seconds = time.monotonic() - self._begun
            if seconds < AFTER_S:
                continue
            with self._lock:
                if self._depth:
                    width = shutil.get_terminal_size().columns
                    drawn = line(self._words, seconds, self._done, self._of, width, rich=self._rich)
                    self._out.write(f"{CLEAR}{drawn}")
                    self._out.flush()
                    self._drawn = True
