"""On which line of a TOML text does a key stand? The standard library reads TOML without saying.

`read` parses a text with `tomllib` and keeps the line of every table, key and list item beside
the values, so that every later complaint can name file and line (TOML 1.0.0).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from libbarto.errors import ConfigError

Path: TypeAlias = tuple[str | int, ...]
"""Where a value stands: keys of tables and indices of lists, from the top."""

_BLANK: Final = re.compile(r"[ \t]*")
_SPACE: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN: Final = re.compile(r"[^,\]}\r\n#]*")
_BASIC: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL: Final = re.compile(r"'[^'\n]*'")
_LONG_BASIC: Final = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}', re.DOTALL)
_LONG_LITERAL: Final = re.compile(r"'''(?:[^']|'(?!''))*'{3,5}", re.DOTALL)
MOST_SHOWN: Final = 120
"""Characters of a line that a message shows, around the fault."""

_WHERE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


class TomlError(ConfigError):
    """A text that is not TOML: `message` says why, with the text of `line` and a mark."""

    def __init__(self, file: str, line: int, message: str) -> None:
        self.file = file
        self.line = line
        self.message = message
        super().__init__(f"{file}:{line}: {message}")


@dataclass(frozen=True, slots=True)
class Document:
    """A TOML text, read: its values, and the line of each, counted from 1."""

    file: str
    data: Mapping[str, object] = field(repr=False)
    lines: Mapping[Path, int] = field(repr=False)

    def line(self, path: Path) -> int:
        """The line of `path`, or of the nearest that holds it (1 for an empty text)."""
        for length in range(len(path), 0, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                return line
        return 1

    def place(self, path: Path) -> str:
        """`file:line` of `path`, as editors and messages have it."""
        return f"{self.file}:{self.line(path)}"


def read(file: str, text: str) -> Document:
    """Parse `text`, which stands in `file` (a name for messages).

    Raises `TomlError` with file, line, the line's text and a mark where it is not TOML.
    """
    try:
        data = tomllib.loads(text)
        # The values may be spelt with CR LF; the scanner counts \n alone, and \r is white space
        # to it.
        return Document(file, data, _Scanner(text).scan())
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(file, text, str(error)) from None
    except RecursionError:
        # Where it is too deep is not known; no value that is of use has so many brackets.
        raise TomlError(
            file, 1, "not TOML that can be read: values are nested too deeply"
        ) from None


def _syntax_error(file: str, text: str, reason: str) -> TomlError:
    where = _WHERE.search(reason)
    lines = text.split("\n")
    if where is not None and where[1] is not None:
        number, column = int(where[1]), int(where[2])
    else:
        number = len(text.rstrip("\n").split("\n"))
        column = len(lines[number - 1]) + 1
    shown = lines[number - 1].rstrip("\r").expandtabs(1) if number <= len(lines) else ""
    said = _WHERE.sub("", reason)
    hint = _syntax_hint(shown)
    if len(shown) > MOST_SHOWN:
        start = min(max(0, column - MOST_SHOWN // 2), len(shown) - MOST_SHOWN)
        shown, column = shown[start : start + MOST_SHOWN], column - start
    return TomlError(
        file,
        number,
        f"not TOML: {said[:1].lower()}{said[1:]}\n    {shown}\n    {' ' * (column - 1)}^{hint}",
    )


def _syntax_hint(line: str) -> str:
    """What is plainly meant by a line that TOML does not know."""
    table = re.match(r"\s*\[\s*schedules\s*\.\s*(\"[^\"]*\"|[^\]\s]+)\s*\]\s*=", line)
    if table is not None:
        name = table[1]
        return (
            "\n  a table's header has no value; write either\n"
            f"    [schedules.{name}]\n"
            '    schedules = [ { name = "…", on_calendar = "…", cmds = ["…"] } ]\n'
            "  or, before the first table header,\n"
            f'    schedules.{name} = [ {{ name = "…", on_calendar = "…", cmds = ["…"] }} ]'
        )
    return ""


class _Scanner:
    """Walks a text that `tomllib` has accepted, and notes where each path begins.

    It knows only as much of TOML as it needs to find the next key: how strings, comments, lists
    and inline tables end. Everything else is a value without structure.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._line = 1
        self._counted = 0
        self._lines: dict[Path, int] = {}
        self._last: dict[Path, int] = {}
        """Of each array of tables, the index of the table that is being written."""

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while True:
            self._skip(_SPACE)
            if self._position >= len(self._text):
                return self._lines
            if self._text.startswith("[[", self._position):
                table = self._header(2)
                index = self._last.get(table, -1) + 1
                self._last[table] = index
                table = (*table, index)
                self._note(table)
                self._position += 2
            elif self._text[self._position] == "[":
                table = self._header(1)
                self._position += 1
            else:
                self._pair(table)

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._position)
        self._counted = self._position
        return self._line

    def _note(self, path: Path) -> None:
        self._lines.setdefault(path, self._here())

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._position)
        # tomllib has accepted this text, so to be lost would be a fault of ours.
        assert found is not None, f"lost at line {self._here()}"
        self._position = found.end()
        return found[0]

    def _header(self, brackets: int) -> Path:
        self._position += brackets
        return self._key(())

    def _key(self, table: Path) -> Path:
        """A dotted key after `table`; each part of it is noted. Stops behind the blanks after."""
        path = table
        while True:
            self._skip(_BLANK)
            last = self._last.get(path)
            if last is not None and path != table:
                path = (*path, last)
            start = self._position
            path = (*path, self._key_part())
            after, self._position = self._position, start
            self._note(path)
            self._position = after
            self._skip(_BLANK)
            if not self._text.startswith(".", self._position):
                return path
            self._position += 1

    def _key_part(self) -> str:
        character = self._text[self._position]
        if character == '"':
            # A quoted key is a basic string; its escapes are TOML's, so TOML reads them.
            return str(tomllib.loads(f"k = {self._skip(_BASIC)}")["k"])
        if character == "'":
            return self._skip(_LITERAL)[1:-1]
        return self._skip(_BARE_KEY)

    def _pair(self, table: Path) -> None:
        path = self._key(table)
        self._position += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        character = self._text[self._position]
        if self._text.startswith('"""', self._position):
            self._skip(_LONG_BASIC)
        elif self._text.startswith("'''", self._position):
            self._skip(_LONG_LITERAL)
        elif character == '"':
            self._skip(_BASIC)
        elif character == "'":
            self._skip(_LITERAL)
        elif character == "[":
            self._list(path)
        elif character == "{":
            self._inline(path)
        else:
            self._skip(_PLAIN)

    def _list(self, path: Path) -> None:
        self._position += 1
        index = 0
        while True:
            self._skip(_SPACE)
            character = self._text[self._position]
            if character in "],":
                self._position += 1
                if character == "]":
                    return
                continue
            self._note((*path, index))
            self._value((*path, index))
            index += 1

    def _inline(self, path: Path) -> None:
        self._position += 1
        while True:
            self._skip(_SPACE)
            character = self._text[self._position]
            if character in "},":
                self._position += 1
                if character == "}":
                    return
                continue
            self._pair(path)
