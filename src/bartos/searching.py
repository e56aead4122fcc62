"""Where does a text occur in what a run printed? Line by line over the borders of chunks, so that
it can stop after any line and go on from there another time.

A line's number is its place in the order in which lines begin, of all streams: it is known as soon
as the line is seen, and never changes. So links to lines are stable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from bartos import ansi
from bartos.store.port import ChunkRow
from bartos.transcript import LINE_MAX, Piece, pieces
from libbarto.message.v2.record import Stream

AROUND: Final = 200
"""Characters of a line that are told, about so many before and after what was found."""

TAIL: Final = 256
"""Bytes of a line that has not ended which a mark keeps: what is looked for may be half in it."""
HELD_MAX: Final = 16
"""Lines that have not ended which a mark keeps."""

Key: TypeAlias = tuple[int, Stream]


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end: the `number`-th that began, from 1. `at` is when that was."""

    number: int
    step: int
    stream: Stream
    at: int
    data: bytes

    @property
    def text(self) -> str:
        """The line as text; what is no UTF-8 is U+FFFD."""
        return self.data.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Open:
    """A line that has not ended; `data` is what is known of it."""

    number: int
    at: int
    data: bytes


class Numbering:
    """Puts pieces together to numbered lines, each stream of each step for itself.

    `count` lines have begun before; `held` are those of them that have not ended.

    >>> numbering = Numbering()
    >>> out = Piece(0, 0, Stream.STDOUT, 5, b"one\\ntw")
    >>> [(line.number, line.data) for line in numbering.feed(out)]
    [(1, b'one')]
    >>> [(line.number, line.data) for line in numbering.rest()]
    [(2, b'tw')]
    """

    def __init__(self, count: int = 0, held: Mapping[Key, Open] | None = None) -> None:
        self.count = count
        self.held: dict[Key, Open] = dict(held or {})

    def feed(self, piece: Piece) -> Iterator[Line]:
        """The lines that `piece` ends; one that is too long is given out in parts, each a line."""
        key = piece.step, piece.stream
        line = self.held.pop(key, None)
        parts = piece.data.split(b"\n")
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            if line is None:
                if last and not part:
                    return
                line = self._begin(piece.at, b"")
            line = Open(line.number, line.at, line.data + part)
            while len(line.data) > LINE_MAX:
                yield _line(key, line, line.data[:LINE_MAX])
                line = self._begin(line.at, line.data[LINE_MAX:])
            if last:
                self.held[key] = line
            else:
                yield _line(key, line, line.data.removesuffix(b"\r"))
                line = None

    def rest(self) -> Iterator[Line]:
        """The lines that have not ended, as far as they are known, by number."""
        for key, line in sorted(self.held.items(), key=lambda item: item[1].number):
            yield _line(key, line, line.data)

    def _begin(self, at: int, data: bytes) -> Open:
        self.count += 1
        return Open(self.count, at, data)


def _line(key: Key, line: Open, data: bytes) -> Line:
    return Line(line.number, key[0], key[1], line.at, data)


@dataclass(frozen=True, slots=True)
class Needle:
    """What is looked for: a text, in any case unless `exact`."""

    text: str
    exact: bool = False

    def place(self, line: str) -> tuple[int, int] | None:
        """Where it is in a line, first and end; None where it is not.

        >>> Needle("ERROR").place("an error"), Needle("ERROR", exact=True).place("an error")
        ((3, 8), None)
        """
        if self.exact:
            at = line.find(self.text)
            return None if at < 0 else (at, at + len(self.text))
        # Folded texts may have another length, as that of "ß": then the place is not known so well.
        at = line.casefold().find(self.text.casefold())
        if at < 0:
            return None
        return min(at, len(line)), min(at + len(self.text), len(line))

    def may_be_in(self, data: bytes) -> bool:
        """Whether it is worth taking these bytes apart."""
        text = data.decode("utf-8", "replace")
        # With a sequence in it, what is seen is not what is there.
        return "\x1b" in text or "\x08" in text or "\r" in text or self.place(text) is not None


@dataclass(frozen=True, slots=True)
class Hit:
    """A line in which it was found: `text` as it is seen, cut to what is around characters `start`
    to `end` of it."""

    number: int
    step: int
    stream: Stream
    at: int
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Held:
    """A line that had not ended: its number, when it began, and the end of what was known of it."""

    step: int
    stream: int
    number: int
    at: int = 0
    tail: bytes = b""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a run was searched: `chunk` is the one looked at last, of which `done` lines ended.

    Before that chunk `count` lines had begun, and those that are `held` had not ended.
    """

    chunk: int = -1
    count: int = 0
    done: int = 0
    held: tuple[Held, ...] = ()


class Searching:
    """A search through one attempt, chunk by chunk, on from `mark`.

    Chunks go in from the one of the mark on, if there is one: of that, what was looked at is passed
    over.
    """

    def __init__(self, needle: Needle, mark: Mark | None = None) -> None:
        self.needle = needle
        self.mark = mark or Mark()
        held = {
            (it.step, Stream(it.stream)): Open(it.number, it.at, it.tail) for it in self.mark.held
        }
        self._numbering = Numbering(self.mark.count, held)

    @property
    def after(self) -> int:
        """After which chunk the next ones are to be read."""
        return max(-1, self.mark.chunk - 1)

    def feed(self, chunk: ChunkRow, room: int) -> list[Hit]:
        """What is found in a chunk, at most `room` of it (1 or more); `mark` is behind that.

        Where the room is used up before the chunk is, only `mark` is of use: for a new search.
        """
        numbering = self._numbering
        skip = self.mark.done if chunk.chunk_no == self.mark.chunk else 0
        before = Mark(chunk.chunk_no, numbering.count, 0, _kept(numbering.held))
        read = list(pieces(chunk))
        worth = _worth(self.needle, read)
        found: list[Hit] = []
        done = 0
        for piece in read:
            for line in numbering.feed(piece):
                done += 1
                if done > skip and (worth or line.number <= before.count):
                    hit = _hit(self.needle, line)
                    if hit is not None:
                        found.append(hit)
                        if len(found) >= room:
                            self.mark = replace(before, done=done)
                            return found
        self.mark = replace(before, done=max(done, skip))
        return found

    def rest(self) -> list[Hit]:
        """What is found in lines that have not ended, at the end of what there is."""
        return self._found(list(self._numbering.rest()))

    def left(self) -> list[Hit]:
        """The same where the search stops, of those lines whose beginning `mark` does not have."""
        old = {it.number for it in self.mark.held}
        return self._found([line for line in self._numbering.rest() if line.number in old])

    def _found(self, lines: list[Line]) -> list[Hit]:
        hits = (_hit(self.needle, line) for line in lines)
        return [hit for hit in hits if hit is not None]


def _kept(held: Mapping[Key, Open]) -> tuple[Held, ...]:
    return tuple(
        Held(step, int(stream), line.number, line.at, line.data[-TAIL:])
        for (step, stream), line in list(held.items())[-HELD_MAX:]
    )


def _worth(needle: Needle, read: list[Piece]) -> bool:
    """Whether a line that lies in these pieces may have it."""
    streams: dict[Key, list[bytes]] = {}
    for piece in read:
        streams.setdefault((piece.step, piece.stream), []).append(piece.data)
    return any(needle.may_be_in(b"".join(parts)) for parts in streams.values())


def _hit(needle: Needle, line: Line) -> Hit | None:
    if not needle.may_be_in(line.data):
        return None
    text = ansi.plain(line.text)
    place = needle.place(text)
    if place is None:
        return None
    begin = max(0, place[0] - AROUND)
    first, end = place[0] - begin, place[1] - begin
    shown = text[begin : place[1] + AROUND]
    return Hit(line.number, line.step, line.stream, line.at, shown, first, end)
