"""Which workers does a selector mean? `web1`, `web*`, `os=debian and not role=canary`.

Grammar, loosest first:

    selector = all-of { "or" all-of }
    all-of   = one { "and" one }
    one      = "not" one | "(" selector ")" | name | key ( "=" | "!=" ) value

A name or value may hold `*` (any run of characters) and `?` (any one), and may stand in double
quotes. A bare word is a worker's name. A key is a label, or os, arch, host or name. A worker
without the label differs from every value, so `role!=canary` is `not role=canary`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, TypeAlias

from libbarto.errors import SelectorError, UserError

_TOKEN: Final = re.compile(
    r"""(?P<blank>\s+)
    |(?P<operator>!=|=|\(|\))
    |"(?P<quoted>[^"]*)"
    |(?P<word>[^\s=!()",;&|~<>]+)""",
    re.VERBOSE,
)
_BARE: Final = re.compile(r"[^\s=!()\",;&|~<>]+")
_KEYWORDS: Final = frozenset({"and", "or", "not"})
_DEPTH: Final = 32
"""Parentheses and `not` within one another: nobody needs more, and a text must not overflow us."""
_FOUND_OUT: Final = frozenset({"name", "os", "arch", "host"})


def checked_name(text: str) -> str:
    """What a worker may be called, unchanged. Raises `UserError` for what it may not."""
    if not text or len(text) > 200 or not text.isprintable() or text != text.strip():
        raise UserError(f'expected 1 to 200 printable characters, found "{text}"')
    return text


def checked_labels(labels: dict[str, str]) -> dict[str, str]:
    """Labels that a worker may have, unchanged. Raises `UserError` for a key that is none."""
    for key in labels:
        if not key.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise UserError(f'"{key}" is no label: letters, digits, ".", "_" and "-"')
        if key in _FOUND_OUT:
            raise UserError(f'"{key}" is found out by barto itself; choose another label')
    return labels


@dataclass(frozen=True, slots=True)
class Named:
    """Workers whose name fits the glob."""

    glob: str

    def matches(self, name: str, words: Mapping[str, str]) -> bool:
        """Whether this worker is meant."""
        return _fits(name, self.glob)

    def __str__(self) -> str:
        return _word(self.glob)


@dataclass(frozen=True, slots=True)
class Labelled:
    """Workers whose label `key` fits the glob; with `negated` those where it does not."""

    key: str
    glob: str
    negated: bool = False

    def matches(self, name: str, words: Mapping[str, str]) -> bool:
        """Whether this worker is meant."""
        value = name if self.key == "name" else words.get(self.key)
        return (value is not None and _fits(value, self.glob)) is not self.negated

    def __str__(self) -> str:
        return f"{_word(self.key)}{'!=' if self.negated else '='}{_word(self.glob)}"


@dataclass(frozen=True, slots=True)
class Not:
    """Workers that `part` does not mean."""

    part: Expression

    def matches(self, name: str, words: Mapping[str, str]) -> bool:
        """Whether this worker is meant."""
        return not self.part.matches(name, words)

    def __str__(self) -> str:
        return f"not {_within(self.part, (All, Any))}"


@dataclass(frozen=True, slots=True)
class All:
    """Workers that every one of `parts` means."""

    parts: tuple[Expression, ...]

    def matches(self, name: str, words: Mapping[str, str]) -> bool:
        """Whether this worker is meant."""
        return all(part.matches(name, words) for part in self.parts)

    def __str__(self) -> str:
        return " and ".join(_within(part, (All, Any)) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Any:
    """Workers that at least one of `parts` means."""

    parts: tuple[Expression, ...]

    def matches(self, name: str, words: Mapping[str, str]) -> bool:
        """Whether this worker is meant."""
        return any(part.matches(name, words) for part in self.parts)

    def __str__(self) -> str:
        return " or ".join(_within(part, (Any,)) for part in self.parts)


Expression: TypeAlias = Named | Labelled | Not | All | Any


@dataclass(frozen=True, slots=True)
class Selector:
    """A selector of workers; `Selector.parse(str(selector)) == selector`.

    >>> canaries = Selector.parse("os=debian and not role=canary")
    >>> canaries.matches("web1", {"os": "debian"})
    True
    >>> canaries.matches("web2", {"os": "debian", "role": "canary"})
    False
    """

    expression: Expression

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Read a selector. Raises `SelectorError`, which shows where it is wrong."""
        return cls(_Parser(text).parse())

    def matches(self, name: str, words: Mapping[str, str]) -> bool:
        """Whether it means the worker `name`; `words` are its labels, and os, arch and host."""
        return self.expression.matches(name, words)

    @property
    def name(self) -> str | None:
        """The one name that it means, if it is nothing but a name without wildcards."""
        match self.expression:
            case Named(glob) if "*" not in glob and "?" not in glob:
                return glob
            case _:
                return None

    def __str__(self) -> str:
        return str(self.expression)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # "word", "quoted", "operator" or "end"
    text: str
    start: int
    end: int

    def says(self, *words: str) -> bool:
        return self.kind not in {"quoted", "end"} and self.text in words


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._scan())
        self._next = 0

    def parse(self) -> Expression:
        if not self._text.strip():
            raise self._error('a selector is empty; "*" means all workers', self._tokens[-1])
        found = self._any(0)
        token = self._tokens[self._next]
        if token.kind != "end":
            lowered = token.text.lower()
            if token.kind == "word" and lowered in _KEYWORDS and token.text not in _KEYWORDS:
                raise self._error(f'"{token.text}" is written "{lowered}"', token)
            raise self._error('expected "and", "or" or the end', token)
        return found

    def _scan(self) -> list[_Token]:
        tokens: list[_Token] = []
        position = 0
        while position < len(self._text):
            found = _TOKEN.match(self._text, position)
            if found is None:
                raise self._stray(position)
            kind = found.lastgroup or ""
            if kind != "blank":
                tokens.append(_Token(kind, found[kind], position, found.end()))
            position = found.end()
        tokens.append(_Token("end", "", position, position + 1))
        return tokens

    def _stray(self, position: int) -> SelectorError:
        hints = {
            ",": 'a comma is not part of a selector; write "or" (or "and")',
            "&": '"&" is written "and"',
            "|": '"|" is written "or"',
            "!": '"!" is written "not", or != between key and value',
            '"': "this quotation mark has no second",
            "~": 'patterns are written with = and a glob: name="web*"',
        }
        character = self._text[position]
        message = hints.get(character, f'"{character}" is not part of a selector')
        return SelectorError(message, self._text, position, position + 1)

    def _error(self, message: str, token: _Token) -> SelectorError:
        return SelectorError(message, self._text, token.start, token.end)

    def _any(self, depth: int) -> Expression:
        parts = [self._all(depth)]
        while self._tokens[self._next].says("or"):
            self._next += 1
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else Any(_flat(parts, Any))

    def _all(self, depth: int) -> Expression:
        parts = [self._one(depth)]
        while self._tokens[self._next].says("and"):
            self._next += 1
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else All(_flat(parts, All))

    def _one(self, depth: int) -> Expression:
        token = self._tokens[self._next]
        if depth > _DEPTH:
            raise self._error(f"more than {_DEPTH} levels within one another", token)
        if token.says("not"):
            self._next += 1
            return Not(self._one(depth + 1))
        if token.says("("):
            self._next += 1
            inner = self._any(depth + 1)
            if not self._tokens[self._next].says(")"):
                raise self._error('expected ")"', self._tokens[self._next])
            self._next += 1
            return inner
        if token.kind not in {"word", "quoted"} or token.says(*_KEYWORDS):
            raise self._error('expected a name, key=value, "not" or "("', token)
        if not token.text:
            raise self._error("a name is empty", token)
        self._next += 1
        operator = self._tokens[self._next]
        if not operator.says("=", "!="):
            return Named(token.text)
        self._next += 1
        value = self._tokens[self._next]
        if value.says("="):
            raise self._error('equality is written with one "="', value)
        if value.kind not in {"word", "quoted"}:
            raise self._error(f"expected the value of {token.text}", value)
        self._next += 1
        return Labelled(token.text, value.text, negated=operator.text == "!=")


def _flat(parts: list[Expression], kind: type[All] | type[Any]) -> tuple[Expression, ...]:
    """`parts` with those of the same kind dissolved: `a or (b or c)` is `a or b or c`."""
    flat: list[Expression] = []
    for part in parts:
        if isinstance(part, kind):
            flat += part.parts
        else:
            flat.append(part)
    return tuple(flat)


def _within(part: Expression, looser: tuple[type[Expression], ...]) -> str:
    """The text of a part, in parentheses where it would fall apart without them."""
    return f"({part})" if isinstance(part, looser) else str(part)


def _word(text: str) -> str:
    """A name or value as a selector spells it."""
    return text if _BARE.fullmatch(text) and text not in _KEYWORDS else f'"{text}"'


def _fits(text: str, glob: str) -> bool:
    # Square brackets stand for themselves: a glob here knows only * and ?.
    return fnmatchcase(text, glob.replace("[", "[[]"))
