"""How do rows look? Tables for people, JSON, JSON lines and CSV for programs.

Everything here takes values and gives text: what the terminal is like comes in as a `Screen`.
Text from elsewhere (output, names) is shown so that it cannot do anything to the terminal.
"""

from __future__ import annotations

import csv
import enum
import io
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, TypeAlias

from barto_cli import times
from libbarto.harmless import UNSAFE, safe
from libbarto.states import STATES, state_of

Row: TypeAlias = Mapping[str, object]

GAP: Final = "  "
ELLIPSIS: Final = "…"
DIM: Final = "2"

INDENT: Final = "  "

COLOURS: Final[Mapping[str, str]] = {name: state.look.ansi for name, state in STATES.items()}
"""The colour (SGR, of the reader's own palette) of each state; the word is there in any case."""


class Format(enum.StrEnum):
    """What is written: a table for people, the others for programs."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Screen:
    """What the output goes to. `width` is None where lines may be of any length (a pipe); `shapes`
    says that it is a terminal that knows the states' characters."""

    zone: times.Zone
    now: datetime
    terminal: bool = False
    width: int | None = None
    colour: bool = False
    shapes: bool = False

    def time(self, moment: datetime | None) -> str:
        """A time for people, in the reader's zone."""
        return "" if moment is None else times.shown(moment, self.zone, self.now)

    def shape(self, state: str | None) -> str:
        """A state's shape and a space, where shapes can be shown."""
        return f"{state_of(state).look.shape} " if self.shapes else ""

    def paint(self, text: str, code: str | None) -> str:
        """`text` in a colour, where there are colours."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code and text else text


# -- text from elsewhere --------------------------------------------------------------------------

_HARMFUL_IN_JSON: Final = re.compile(f"(?![\x00-\x1f])[{UNSAFE}]")


def text_of(data: bytes) -> str:
    """Bytes as text; what is no UTF-8 is shown as an escape."""
    return data.decode(errors="backslashreplace")


def width_of(text: str) -> int:
    """The columns that `text` takes on a terminal: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` columns, with an ellipsis where something is left out.

    >>> cut("abcdef", 4), cut("日本語", 4)
    ('abc…', '日…')
    """
    if width_of(text) <= width:
        return text
    if width <= 0:
        return ""
    if text.isascii():
        return text[: width - 1] + ELLIPSIS
    end = min(len(text), 4 * width)
    while end and width_of(text[:end]) > width - 1:
        end -= 1
    return text[:end] + ELLIPSIS


# -- tables ---------------------------------------------------------------------------------------


def plain(value: object) -> str:
    """A value as people read it, on one line."""
    match value:
        case None:
            return ""
        case str():
            return safe(value)
        case bytes():
            return safe(text_of(value))
        case bool():
            return "yes" if value else "no"
        case datetime():
            return times.rfc3339(value)
        case Mapping():
            return safe(" ".join(f"{key}={item}" for key, item in value.items()))
        case _:
            return safe(str(value))


def many(count: object, word: str) -> str:
    """So many of something.

    >>> many(1, "run"), many(0, "run"), many(2, "exit status")
    ('1 run', '0 runs', '2 exit statuses')
    """
    if count == 1:
        return f"1 {word}"
    return f"{count} {word}{'es' if word.endswith('s') else 's'}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `key` in the row, its `title`, and how a row's value is shown.

    `useful` orders the columns: the least useful becomes narrower first, down to `least` columns
    of the terminal. A column with `least` None is never made narrower. A `spare` one is left out
    where there is no room. What has no room in one that `spills` runs over the next one, where
    that is empty.
    """

    key: str
    title: str
    show: Callable[[Row], str] | None = None
    right: bool = False
    useful: int = 5
    least: int | None = 8
    spare: bool = False
    spills: bool = False
    colour: Callable[[Row], str | None] | None = None

    def text(self, row: Row) -> str:
        """What stands in this column of `row`."""
        return plain(row.get(self.key)) if self.show is None else self.show(row)


def state_colour(key: str, row: Row) -> str | None:
    """The colour of the state that `row` has under `key`."""
    return COLOURS.get(str(row.get(key)))


def by_state(key: str) -> Callable[[Row], str | None]:
    """For `Column.colour`: the colour of the state under `key`."""
    return partial(state_colour, key)


def table(
    columns: Sequence[Column], rows: Iterable[Row], screen: Screen, *, header: bool = True
) -> Iterator[str]:
    """The lines of a table, `header` first; without rows, nothing at all.

    Where it is too wide, the least useful columns become narrower, then spare ones are left out;
    where that is not enough, a row takes several lines, of which all but the first are indented.
    """
    held = list(rows)
    if not held:
        return
    cells = [[column.text(row) for column in columns] for row in held]
    kept = [
        number
        for number, column in enumerate(columns)
        if not column.spare or any(line[number] for line in cells)
    ] or [0]
    columns = [columns[number] for number in kept]
    cells = [[line[number] for number in kept] for line in cells]
    widths = _widths(columns, cells)
    lines = wrapped(columns, widths, screen.width)
    titles = [column.title for column in columns]
    if header:
        for title in _lines(columns, titles, lines, [], screen):
            yield screen.paint(title, DIM)
    for row, texts in zip(held, cells, strict=True):
        paints = [None if column.colour is None else column.colour(row) for column in columns]
        first, *more = _lines(columns, texts, lines, paints, screen)
        yield first
        yield from filter(None, more)


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> list[int]:
    """How wide each column would like to be. What can run over the next one takes its room too."""
    widths: list[int] = []
    for number in reversed(range(len(columns))):
        column, after = columns[number], widths[0] + len(GAP) if widths else 0
        width = width_of(column.title)
        for line in cells:
            over = after if column.spills and widths and not line[number + 1] else 0
            width = max(width, width_of(line[number]) - over)
        widths.insert(0, width)
    return widths


def wrapped(
    columns: Sequence[Column], widths: Sequence[int], width: int | None
) -> list[list[tuple[int, int]]]:
    """For each line of a row, the columns in it and how wide they are: as few lines as can be, and
    of all ways to break them the one that cuts least."""
    every = list(range(len(columns)))
    if width is None:
        return [list(zip(every, widths, strict=True))]
    for number in sorted(every, key=lambda number: columns[number].useful):
        if columns[number].spare and _least(columns, widths, every) > width:
            every.remove(number)
    count = _lines_needed(columns, widths, every, width)
    ways = itertools.combinations(range(1, len(every)), count - 1)
    lines = min(
        ([every[a:b] for a, b in itertools.pairwise((0, *way, len(every)))] for way in ways),
        key=lambda lines: _cut(columns, widths, lines, width),
    )
    fit = []
    for place, line in enumerate(lines):
        some = [columns[number] for number in line]
        room = width - _indent(place)
        fit.append(
            list(zip(line, fitted(some, [widths[number] for number in line], room), strict=True))
        )
    return fit


def _lines_needed(
    columns: Sequence[Column], widths: Sequence[int], every: Sequence[int], width: int
) -> int:
    line: list[int] = []
    count = 1
    for number in every:
        if line and _least(columns, widths, [*line, number]) > width - _indent(count - 1):
            line, count = [], count + 1
        line.append(number)
    return count


def _cut(
    columns: Sequence[Column], widths: Sequence[int], lines: Sequence[Sequence[int]], width: int
) -> tuple[int, int, list[int]]:
    """What does not fit at all, what does not fit unless it is cut, and how early lines are full:
    of two ways that cut the same, the better has more on its first lines."""
    overflow = missing = 0
    for place, line in enumerate(lines):
        room = width - _indent(place)
        overflow += max(0, _least(columns, widths, line) - room) if len(line) > 1 else 0
        wanted = sum(widths[number] for number in line) + len(GAP) * (len(line) - 1)
        missing += max(0, wanted - room)
    return overflow, missing, [-len(line) for line in lines]


def _indent(place: int) -> int:
    return len(INDENT) if place else 0


def _least(columns: Sequence[Column], widths: Sequence[int], numbers: Sequence[int]) -> int:
    """The columns of the terminal that these take at least."""
    least = 0
    for number in numbers:
        bound = columns[number].least
        least += widths[number] if bound is None else min(widths[number], max(1, bound))
    return least + len(GAP) * (len(numbers) - 1)


def fitted(columns: Sequence[Column], widths: Sequence[int], width: int | None) -> list[int]:
    """Widths that fit into `width` columns, as far as the columns may be made narrower; the only
    one of a line is, whatever it is."""
    fit = list(widths)
    if width is None:
        return fit
    if len(fit) == 1:
        return [min(fit[0], max(1, width))]
    over = sum(fit) + len(GAP) * (len(fit) - 1) - width
    for number in sorted(range(len(columns)), key=lambda number: columns[number].useful):
        least = columns[number].least
        if over > 0 and least is not None:
            less = min(over, max(0, fit[number] - max(1, least)))
            fit[number] -= less
            over -= less
    return fit


def _lines(
    columns: Sequence[Column],
    texts: Sequence[str],
    lines: Sequence[Sequence[tuple[int, int]]],
    paints: Sequence[str | None],
    screen: Screen,
) -> Iterator[str]:
    """The lines of one row, or of the header."""
    for place, line in enumerate(lines):
        parts: list[str] = []
        covered = False
        for at, (number, width) in enumerate(line):
            if covered:  # the one before has taken this one's room
                covered = False
                continue
            column, room = columns[number], width
            if column.spills and at + 1 < len(line) and width_of(texts[number]) > width:
                following, more = line[at + 1]
                covered = not texts[following]
                room += len(GAP) + more if covered else 0
            text = cut(texts[number], room)
            fill = " " * (room - width_of(text))
            if paints:
                text = screen.paint(text, paints[number])
            parts.append(fill + text if column.right else text + fill)
        whole = GAP.join(parts).rstrip()
        yield f"{INDENT}{whole}" if place and whole else whole


# -- for programs ---------------------------------------------------------------------------------


def jsonable(value: object) -> object:
    """A value as JSON has it: times RFC 3339 in UTC, bytes as text or else in base64."""
    match value:
        case datetime():
            return times.rfc3339(value)
        case bytes():
            import base64

            return {"base64": base64.b64encode(value).decode()}
        case float() if not math.isfinite(value):
            return str(value)
        case Mapping():
            return {str(key): jsonable(item) for key, item in value.items()}
        case list() | tuple():
            return [jsonable(item) for item in value]
        case _:
            return value


def json_text(value: object, indent: int | None = None) -> str:
    """JSON on which a terminal does nothing either: no control, no bidi mark is there as such.

    >>> json_text({"a": "\\u202e\\x1b"})
    '{"a": "\\\\u202e\\\\u001b"}'
    """
    text = json.dumps(jsonable(value), ensure_ascii=False, indent=indent)
    return _HARMFUL_IN_JSON.sub(_as_json_escape, text)


def _as_json_escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def json_lines(rows: Iterable[Row]) -> Iterator[str]:
    """A row a line."""
    for row in rows:
        yield json_text(row)


def json_array(rows: Iterable[Row]) -> Iterator[str]:
    """The lines of one array, whose rows are written as they come."""
    opening = "["
    for row in rows:
        yield f"{opening}{json_text(row)}"
        opening = ","
    yield "[]" if opening == "[" else "]"


def csv_lines(keys: Sequence[str], rows: Iterable[Row], *, harmless: bool) -> Iterator[str]:
    """RFC 4180 with a header, but for the line breaks; `harmless` on a terminal."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="")
    for record in _records(keys, rows, harmless=harmless):
        writer.writerow(record)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _records(
    keys: Sequence[str], rows: Iterable[Row], *, harmless: bool
) -> Iterator[Sequence[object]]:
    yield keys
    for row in rows:
        values = [_csv_value(row.get(key)) for key in keys]
        yield [safe(item) if harmless else item for item in values]


def _csv_value(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return times.rfc3339(value)
        case bytes():
            return text_of(value)
        case list() | tuple() | Mapping():
            return json_text(value)
        case _:
            return str(value)


# -- all of them ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows, the columns of their table, and the keys of all that they hold, for programs."""

    columns: Sequence[Column]
    rows: Iterable[Row]
    keys: Sequence[str] = field(default=())


def lines_of(listing: Listing, form: Format, screen: Screen) -> Iterator[str]:
    """The lines of `listing` in the form `form`."""
    match form:
        case Format.TABLE:
            yield from table(listing.columns, listing.rows, screen)
        case Format.JSON:
            yield from json_array(listing.rows)
        case Format.JSONL:
            yield from json_lines(listing.rows)
        case Format.CSV:
            keys = listing.keys or [column.key for column in listing.columns]
            yield from csv_lines(keys, listing.rows, harmless=screen.terminal)


# -- ids ------------------------------------------------------------------------------------------

SAME_INSTANT: Final = 18
"""Characters of an id's text that hold its time (12 digits) and three more: what tells apart runs
that were due at one instant, of which many may not be in the list at hand."""


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """For each run's id, a beginning of it that none of the others has.

    >>> list(short_ids(["019a0000-0000-8abc-8000-000000000001"]).values())
    ['019a0000-0000-8abc']
    """
    ordered = sorted(set(ids))
    short = {}
    for number, this in enumerate(ordered):
        near = ordered[max(0, number - 1) : number] + ordered[number + 1 : number + 2]
        need = max((_common(this, other) + 1 for other in near), default=0)
        end = max(SAME_INSTANT, need)
        # A hyphen at the end would look like a mistake.
        short[this] = this[:end] if this[end - 1 : end] != "-" else this[: end + 1]
    return short


def _common(one: str, other: str) -> int:
    for number, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return number
    return min(len(one), len(other))
