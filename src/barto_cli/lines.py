"""What lines did runs print? Pieces of output put together to lines, marked, merged and compared.

A line knows whose it is and when its first byte came.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from libbarto.errors import UserError
from libbarto.harmless import safe

PALETTE: Final = tuple(
    f"38;5;{number}"
    for number in (
        *(32, 33, 37, 38, 61, 62, 65, 66, 67, 68, 71, 72, 73, 95, 96, 97, 98, 99, 103, 104),
        *(107, 108, 109, 130, 132, 133, 136, 137, 138, 139, 140, 172, 173, 174, 175, 178),
    )
)
"""Colours (SGR, of 256) of hosts, none too dark or too light to be read on either ground."""
MARK: Final = "1;31"
COMPARED: Final = 2000
"""So many lines of each output are compared."""


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """A line without its line break; lines go by the time of their first byte."""

    at: datetime
    worker: str = field(compare=False)
    run: str = field(compare=False)
    stream: str = field(compare=False)
    data: bytes = field(compare=False)

    @property
    def text(self) -> str:
        """It as text; what is no UTF-8 is an escape."""
        return self.data.removesuffix(b"\r").decode("utf-8", "backslashreplace")


class Lines:
    """Puts the pieces of a run to lines, each stream for itself."""

    def __init__(self, worker: str, run: str) -> None:
        self._worker, self._run = worker, run
        self._open: dict[str, tuple[datetime, bytes]] = {}

    def feed(self, stream: str, at: datetime, data: bytes) -> Iterator[Line]:
        """The lines that a piece ends."""
        begun, held = self._open.pop(stream, (at, b""))
        *whole, rest = (held + data).split(b"\n")
        for number, part in enumerate(whole):
            yield self._line(begun if number == 0 else at, stream, part)
        if rest:
            self._open[stream] = (at if whole else begun, rest)

    def rest(self) -> Iterator[Line]:
        """The lines that never ended; then nothing is held any more."""
        held, self._open = self._open, {}
        for stream, (at, data) in sorted(held.items(), key=lambda item: item[1][0]):
            yield self._line(at, stream, data)

    def _line(self, at: datetime, stream: str, data: bytes) -> Line:
        return Line(at, self._worker, self._run, stream, data)


def bytes_of(segment: Mapping[str, Any]) -> bytes:
    """What a segment of the API holds."""
    if segment["text"] is not None:
        return str(segment["text"]).encode()
    return base64.b64decode(segment["base64"])


def colour_of(name: str) -> str:
    """The colour of a host, which is always the same.

    >>> colour_of("web1") == colour_of("web1"), colour_of("web1") == colour_of("web2")
    (True, False)
    """
    return PALETTE[zlib.crc32(name.encode()) % len(PALETTE)]


# -- what is looked for ---------------------------------------------------------------------------


def pattern(text: str) -> re.Pattern[str]:
    """The regular expression that `text` is. Raises `UserError` that shows where it is none.

    >>> pattern("a(b")
    Traceback (most recent call last):
    libbarto.errors.UserError: --grep: missing ), unterminated subpattern
        a(b
         ^
    """
    try:
        return re.compile(text)
    except re.error as error:
        shown = safe(text)
        place = len(safe(text[: error.pos or 0]))
        raise UserError(f"--grep: {error.msg}\n    {shown}\n    {' ' * place}^") from error
    except (OverflowError, RecursionError) as error:
        raise UserError(f"--grep: {safe(text)} is too large to look for") from error


def marked(text: str, wanted: re.Pattern[str] | None, paint: Any) -> str:
    """`text` on which a terminal does nothing, and what was looked for painted."""
    if wanted is None:
        return safe(text)
    parts, end = [], 0
    for found in wanted.finditer(text):
        if found.end() > found.start():
            parts += [safe(text[end : found.start()]), paint(safe(found[0]), MARK)]
            end = found.end()
    return "".join([*parts, safe(text[end:])])


# -- alike, and not -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """Hosts whose runs ended and printed alike: `count` of them, of which `workers` are the first;
    `run` is the one of the first."""

    outcome: str
    count: int
    workers: Sequence[str]
    run: str


def largest_first(groups: Iterable[Group]) -> list[Group]:
    """The group of most hosts first; of those of the same size, the one whose name is first."""
    return sorted(groups, key=lambda group: (-group.count, group.workers[0]))


def summary(groups: Sequence[Group]) -> str:
    """What there is, in words.

    >>> summary([Group("ok", 2, ["a", "b"], "1"), Group("ok", 1, ["c"], "2")])
    '2 hosts the same, 1 differs'
    >>> summary([Group("ok", 1, ["a"], "1")])
    '1 host'
    """
    first, *others = groups
    count, different = first.count, sum(group.count for group in others)
    hosts = f"{count:,} host{'' if count == 1 else 's'}"
    if not different:
        return hosts if count == 1 else f"all {hosts} the same"
    return f"{hosts} the same, {different:,} differ{'s' if different == 1 else ''}"


def names(workers: Sequence[str], most: int = 5, count: int | None = None) -> str:
    """The first of the names, and how many more there are of `count` (left out: no others).

    >>> names(["a", "b", "c"], 2), names(["a"], count=800)
    ('a, b and 1 more', 'a and 799 more')
    """
    shown = ", ".join(map(safe, workers[:most]))
    left = (len(workers) if count is None else count) - min(most, len(workers))
    return f"{shown} and {left:,} more" if left > 0 else shown


def differences(usual: Sequence[str], other: Sequence[str], title: str, mine: str) -> Iterator[str]:
    """How an output differs from the usual one, as diff -u has it; nothing where it does not."""
    import difflib

    yield from difflib.unified_diff(
        usual[:COMPARED], other[:COMPARED], title, mine, lineterm="", n=2
    )
    if max(len(usual), len(other)) > COMPARED:
        yield f"(only the first {COMPARED:,} lines are compared)"
