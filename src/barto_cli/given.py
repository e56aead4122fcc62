"""What is a command given? The server, the form of what it writes, and where it writes it."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, Final, TextIO

from barto_cli import times
from barto_cli.render import Format, Listing, Screen, lines_of
from libbarto.harmless import safe

if TYPE_CHECKING:
    from barto_cli.client import Client
    from barto_cli.progress import Progress

BATCH: Final = 200
"""Lines that are written together, where they come quickly."""


@dataclass(frozen=True, slots=True)
class Given:
    """A command's surroundings. `out` takes the answer, `err` what is for people beside it."""

    client: Client
    form: Format
    screen: Screen
    out: TextIO
    err: TextIO
    ask: bool
    progress: Progress
    quiet: bool = False

    def emit(self, listing: Listing) -> None:
        """Write rows in the form that was asked for."""
        self.write(lines_of(listing, self.form, self.screen))

    def write(self, lines: Iterable[str]) -> None:
        """Write lines as they come."""
        for batch in _batches(lines):
            self.out.write(batch)
        self.out.flush()

    def note(self, text: str) -> None:
        """Tell people something that is not part of the answer."""
        if text and not self.quiet:
            self.out.flush()
            self.err.write(f"{safe(text)}\n")
            self.err.flush()

    def say(self, text: str, colour: str | None) -> None:
        """`note`, in a colour where standard error is a terminal that has colours."""
        if not self.quiet:
            self.out.flush()
            painted = self.screen.paint(safe(text), colour) if self.err.isatty() else safe(text)
            self.err.write(f"{painted}\n")
            self.err.flush()

    def agreed(self, question: str) -> bool:
        """Whether the person at the keyboard says yes; anything else is a no."""
        self.out.flush()
        self.err.write(f"{question} [y/N] ")
        self.err.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    @property
    def raw(self) -> BinaryIO:
        """Where bytes go as they are."""
        return self.out.buffer

    @property
    def for_people(self) -> bool:
        """Whether the answer is a table, and so may be more than rows."""
        return self.form is Format.TABLE


def _batches(lines: Iterable[str]) -> Iterator[str]:
    held: list[str] = []
    for line in lines:
        held.append(line)
        if len(held) == BATCH:
            yield "\n".join(held) + "\n"
            held.clear()
    if held:
        yield "\n".join(held) + "\n"


def screen_of(out: TextIO, *, utc: bool) -> Screen:
    """What `out` is like: a terminal has a width, and colours unless it is a dumb one.

    NO_COLOR (no-color.org) takes colours away; CLICOLOR_FORCE, where it is set and not 0, gives
    them to a pipe too (bixense.com/clicolors).
    """
    terminal = out.isatty()
    colour = terminal and os.environ.get("TERM") != "dumb"
    colour = colour or os.environ.get("CLICOLOR_FORCE", "0") != "0"
    colour = colour and not os.environ.get("NO_COLOR")
    return Screen(
        zone=times.UTC_ZONE if utc else times.zone_here(),
        now=datetime.now(UTC),
        terminal=terminal,
        width=shutil.get_terminal_size().columns if terminal else None,
        colour=colour,
        shapes=terminal and (out.encoding or "").lower().replace("-", "") == "utf8",
    )


@contextlib.contextmanager
def standard_output() -> Iterator[TextIO]:
    """Where an answer goes. A reader that has gone (`| head`) ends the command, and is no error."""
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper):
        # A locale that lacks a character is no reason to fail.
        out.reconfigure(errors="backslashreplace")
    try:
        yield out
        out.flush()
    except BrokenPipeError:
        # Python would complain once more when it closes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
