"""What does an `ExecStart=` of systemd run, as a line of a shell?

Read as systemd.service(5) says under "Command lines": words with its own quoting, prefixes that
change how a command runs, `;` between commands, `$NAME` and `${NAME}` of the environment, and
specifiers as `%i` (systemd.unit(5)).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_PREFIX: Final = re.compile(r"[-@:+!|]*")
_ESCAPES: Final[Mapping[str, str]] = {
    **{"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"},
    **{"\\": "\\", '"': '"', "'": "'", "s": " "},
}
_CODE: Final = re.compile(
    r"x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})", re.ASCII
)
_REFERENCE: Final = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class Exec:
    """A command: as a shell runs it, and what of its prefixes is lost.

    `ignored` means that its failure counts for nothing.
    """

    command: str
    ignored: bool = False
    lost: tuple[str, ...] = ()

    @property
    def as_step(self) -> str:
        """The step of a schedule."""
        return f"{self.command} || true" if self.ignored else self.command


def read_exec(text: str) -> list[Exec]:
    """The commands of one `ExecStart=`. Raises `ValueError` that says what cannot be read."""
    commands: list[list[tuple[str, bool]]] = [[]]
    for word, quoted in words(text):
        if word == ";" and not quoted:
            commands.append([])
        else:
            commands[-1].append((";" if word == "\\;" and not quoted else word, quoted))
    return [_one(command) for command in commands if command]


def _one(command: Sequence[tuple[str, bool]]) -> Exec:
    (first, _), *rest = command
    found = _PREFIX.match(first)
    assert found is not None  # it may be empty
    prefixes, program = found[0], first[found.end() :]
    if not program:
        raise ValueError("there is no program behind the prefixes")
    literal = ":" in prefixes
    lost = []
    arguments = [word for word, _ in rest]
    if "@" in prefixes and arguments:
        lost.append(f'@: it is not told that it is called "{arguments.pop(0)}"')
    for sign, what in (("+", "with full rights"), ("!", "with rights of its own")):
        if sign in prefixes:
            lost.append(f"{sign}: it is not run {what}, but as the others are")
    if "|" in prefixes:
        lost.append("|: it is not run by the user's login shell")
    parts = [shell_word(program, literal=True), *(shell_word(it, literal) for it in arguments)]
    return Exec(" ".join(parts), "-" in prefixes, tuple(lost))


def shell_word(word: str, literal: bool) -> str:
    """A word as a shell takes it for the same, with the environment's variables where they count.

    >>> shell_word("a b", False), shell_word("${HOME}/x", False), shell_word("$ARGS", False)
    ("'a b'", '"${HOME}/x"', '$ARGS')
    >>> shell_word("$$1", False), shell_word("$1", True)
    ("'$1'", "'$1'")
    """
    if literal or "$" not in word:
        return shlex.quote(word)
    whole = re.fullmatch(r"\$([A-Za-z_][A-Za-z0-9_]*)", word)
    if whole is not None:
        return word  # split into words, as systemd does it
    parts: list[str] = []
    end, has = 0, False
    for found in _REFERENCE.finditer(word):
        parts.append(_in_quotes(word[end : found.start()]))
        name = found[1]
        if name is not None:
            has = True
            parts.append(f"${{{name}}}")
        else:
            # Within a word only ${NAME} counts, and $$ is a dollar.
            parts.append(_in_quotes("$" if found[0] == "$$" else found[0]))
        end = found.end()
    parts.append(_in_quotes(word[end:]))
    if not has:
        return shlex.quote(word.replace("$$", "$"))
    return f'"{"".join(parts)}"'


def _in_quotes(text: str) -> str:
    return re.sub(r'([\\"$`])', r"\\\1", text)


def words(text: str) -> list[tuple[str, bool]]:
    """The words of a line, and whether any of a word was in quotes. Raises `ValueError`."""
    found: list[tuple[str, bool]] = []
    word: list[str] | None = None
    quoted = False
    quote = ""
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if quote:
            if character == quote:
                quote = ""
            elif character == "\\":
                piece, position = _escape(text, position)
                word = [*(word or []), piece]
            else:
                word = [*(word or []), character]
        elif character in "'\"":
            quote, quoted = character, True
            word = word or []
        elif character in " \t\n":
            if word is not None:
                found.append(("".join(word), quoted))
            word, quoted = None, False
        elif character == "\\":
            piece, position = _escape(text, position)
            word = [*(word or []), piece]
        else:
            word = [*(word or []), character]
    if quote:
        raise ValueError("a quote is not closed")
    if word is not None:
        found.append(("".join(word), quoted))
    return found


def _escape(text: str, position: int) -> tuple[str, int]:
    """What stands behind a backslash, and where it ends."""
    if position >= len(text):
        raise ValueError("a backslash stands at the end")
    character = text[position]
    if character in _ESCAPES:
        return _ESCAPES[character], position + 1
    if character == ";":
        return "\\;", position + 1  # a semicolon that is a word, and no end of a command
    code = _CODE.match(text, position)
    if code is None:
        return f"\\{character}", position + 1
    digits = code[1] or code[3] or code[4]
    number = int(digits, 16) if digits else int(code[2], 8)
    if number == 0 or 0xD800 <= number < 0xE000 or number > 0x10FFFF:
        raise ValueError(f"\\{code[0]} is no character")
    return chr(number), code.end()
