"""What does a line of output look like? Text in pieces, each with the colours and the weight that
its escape sequences asked for (ECMA-48), and nothing else that they asked for.

A carriage return, a backspace and "erase in line" are obeyed, so that a progress bar shows its end;
all other control sequences are dropped. What turns the direction of writing or cannot be seen is
shown as an escape. `static/ansi.js` does the same, and a corpus in tests/vectors holds both to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from libbarto.harmless import UNSAFE

COLUMNS_MAX: Final = 65_536
"""Characters of a line that are looked at; a line has at most so many bytes (`LINE_MAX`)."""
PARAMETERS_MAX: Final = 32
"""Parameters of a sequence that are looked at."""

# A string ends where another begins, too: else each of thousands that never end is read to the end.
_ALL_BUT_TEXT: Final = (
    "(?P<csi>(?:\x1b\\[|\x9b)(?P<parameters>[0-?]*)(?P<between>[ -/]*)(?P<final>[@-~]))"
    "|(?P<string>(?:\x1b[\\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\\\|\x9c))"
    "|(?P<escape>\x1b(?:[ -/]+[0-~]|[0-OQ-WYZ\\\\`-~])?)"
    "|(?P<move>[\r\x08])"
    "|(?P<control>[\x00-\x08\x0a-\x1f\x7f-\x9f])"
    f"|(?P<unseen>(?!\t)[{UNSAFE}])"
)
_TOKEN_BUT_TEXT: Final = re.compile(_ALL_BUT_TEXT)
_TOKEN: Final = re.compile(f"{_ALL_BUT_TEXT}|(?P<text>[^\x00-\x08\x0a-\x1f\x7f-\x9f])")
"""One step through a line. A sequence that never ends is no sequence: its text is shown."""
_MOVES: Final = re.compile("[\r\x08]|(?:\x1b\\[|\x9b)[0-?]*K")
"""What lets text be written over: only with it, a line has to be drawn to be read."""

_FLAGS: Final = {1: "bold", 2: "faint", 3: "italic", 4: "under", 7: "turned", 9: "struck"}
_CUBE: Final = (0, 95, 135, 175, 215, 255)


@dataclass(frozen=True, slots=True)
class Style:
    """How text is written: colours are 0 to 255 of the palette, None for the page's own."""

    ink: int | None = None
    paper: int | None = None
    flags: frozenset[str] = frozenset()

    @property
    def classes(self) -> str:
        """The classes of CSS, in a fixed order; empty for plain text."""
        turned = "turned" in self.flags
        ink, paper = (self.paper, self.ink) if turned else (self.ink, self.paper)
        found = [] if ink is None else ["ink", f"i{ink}"]
        found += [] if paper is None else ["paper", f"p{paper}"]
        # Turned around with the page's own colours on either side.
        if turned and paper is None:
            found.append("turned")
        return " ".join([*found, *sorted(self.flags - {"turned"})])


PLAIN: Final = Style()
UNSEEN: Final = Style(flags=frozenset({"unseen"}))


@dataclass(frozen=True, slots=True)
class Run:
    """Characters in one style, by its classes."""

    text: str
    classes: str = ""


def drawn(text: str, style: Style = PLAIN) -> tuple[list[Run], Style]:
    """A line (without its end), and the style in which the next one begins.

    >>> drawn("10%\\r\\x1b[1;31mred\\x1b[0m.")[0]
    [Run(text='red', classes='ink i1 bold'), Run(text='.', classes='')]
    """
    cells: list[tuple[str, Style]] = []
    at = 0
    if not _needs_thought(text):
        return ([Run(text, style.classes)] if text else []), style
    for found in _TOKEN.finditer(text[:COLUMNS_MAX]):
        match found.lastgroup:
            case "csi":
                if found["final"] == "m" and not found["between"]:
                    style = _changed(style, found["parameters"])
                elif found["final"] == "K" and not found["between"]:
                    at = _erased(cells, at, found["parameters"])
            case "move":
                at = 0 if found[0] == "\r" else max(0, at - 1)
            case "unseen":
                at = _put(cells, at, _escape(found[0]), UNSEEN)
            case "text":
                at = _put(cells, at, found[0], style)
            case _:
                pass
    return _runs(cells), style


def plain(text: str) -> str:
    """A line without any style: what a search looks at."""
    if not _needs_thought(text):
        return text
    if _MOVES.search(text) is None:
        return _TOKEN_BUT_TEXT.sub(_as_seen, text[:COLUMNS_MAX])
    return "".join(run.text for run in drawn(text)[0])


def _as_seen(found: re.Match[str]) -> str:
    return _escape(found[0]) if found.lastgroup == "unseen" else ""


_THOUGHT: Final = re.compile(f"(?!\t)[{UNSAFE}]")


def _needs_thought(text: str) -> bool:
    return _THOUGHT.search(text) is not None


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _put(cells: list[tuple[str, Style]], at: int, text: str, style: Style) -> int:
    """Write at a column, over what is there."""
    cell = (text, style)
    if at < len(cells):
        cells[at] = cell
    else:
        cells.append(cell)
    return at + 1


def _erased(cells: list[tuple[str, Style]], at: int, parameters: str) -> int:
    """ "Erase in line" (ECMA-48 §8.3.41): to the end, to the beginning, or all of it."""
    if parameters in {"", "0"}:
        del cells[at:]
    elif parameters in {"1", "2"}:
        last = len(cells) if parameters == "2" else min(at + 1, len(cells))
        cells[:last] = [(" ", PLAIN)] * last
    return at


def _runs(cells: list[tuple[str, Style]]) -> list[Run]:
    runs: list[Run] = []
    parts: list[str] = []
    current = PLAIN
    for text, style in cells:
        if style is not current and style != current and parts:
            runs.append(Run("".join(parts), current.classes))
            parts = []
        current = style
        parts.append(text)
    if parts:
        runs.append(Run("".join(parts), current.classes))
    return runs


# -- colours and weight (ECMA-48 §8.3.117, and ISO 8613-6 for 38 and 48) ---------------------------


def _changed(style: Style, parameters: str) -> Style:
    """A style after "select graphic rendition"; what is not known changes nothing."""
    groups = [group.split(":") for group in parameters.split(";")[:PARAMETERS_MAX]]
    place = 0
    while place < len(groups):
        group = groups[place]
        place += 1
        code = _number(group[0])
        if code in {38, 48}:
            rest = group[1:]
            if not rest:
                rest, used = _following(groups[place:])
                place += used
            colour = _colour(rest)
            if colour is not None:
                style = replace(style, ink=colour) if code == 38 else replace(style, paper=colour)
        elif code is not None:
            style = _simple(style, code, group[1:])
    return style


def _following(groups: list[list[str]]) -> tuple[list[str], int]:
    """The parameters of a colour that is written with semicolons, and how many they are."""
    flat = [group[0] for group in groups]
    length = {"5": 2, "2": 4}.get(flat[0] if flat else "", 1)
    return flat[:length], min(length, len(flat))


def _colour(words: list[str]) -> int | None:
    """A colour of the palette, or the one that is nearest to a mixed one."""
    numbers = [_number(word) for word in words]
    if len(numbers) >= 2 and numbers[0] == 5:
        return numbers[1] if numbers[1] is not None and numbers[1] <= 255 else None
    if len(numbers) >= 4 and numbers[0] == 2:
        # With colons a colour space may stand in between (ISO 8613-6).
        red, green, blue = numbers[2:5] if len(numbers) >= 5 else numbers[1:4]
        if red is None or green is None or blue is None or max(red, green, blue) > 255:
            return None
        return _nearest(red, green, blue)
    return None


def _nearest(red: int, green: int, blue: int) -> int:
    if max(red, green, blue) - min(red, green, blue) < 8:
        level = (red + green + blue) // 3
        if level < 4:
            return 16
        return 231 if level > 246 else 232 + min(23, max(0, (level - 3) // 10))
    return 16 + 36 * _step(red) + 6 * _step(green) + _step(blue)


def _step(level: int) -> int:
    return min((abs(value - level), step) for step, value in enumerate(_CUBE))[1]


def _simple(style: Style, code: int, more: list[str]) -> Style:
    flags = style.flags
    if code == 0:
        return PLAIN
    if code == 4 and more and _number(more[0]) == 0:
        return replace(style, flags=flags - {"under"})
    if code in _FLAGS:
        return replace(style, flags=flags | {_FLAGS[code]})
    if code == 21:
        return replace(style, flags=flags | {"under"})
    if code == 22:
        return replace(style, flags=flags - {"bold", "faint"})
    if code - 20 in _FLAGS:
        return replace(style, flags=flags - {_FLAGS[code - 20]})
    return _painted(style, code)


def _painted(style: Style, code: int) -> Style:
    if 30 <= code <= 37:
        return replace(style, ink=code - 30)
    if code == 39:
        return replace(style, ink=None)
    if 40 <= code <= 47:
        return replace(style, paper=code - 40)
    if code == 49:
        return replace(style, paper=None)
    if 90 <= code <= 97:
        return replace(style, ink=code - 82)
    if 100 <= code <= 107:
        return replace(style, paper=code - 92)
    return style


def _number(word: str) -> int | None:
    """A parameter; an empty one is 0, and None stands for what is none."""
    if word == "":
        return 0
    return int(word) if len(word) <= 5 and word.isascii() and word.isdigit() else None
