"""How is a plain value written as TOML? The counterpart of reading it (TOML 1.0.0)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final


def toml_text(value: object) -> str:
    """A plain value (text, number, truth value, list or table of them) as TOML writes it.

    >>> toml_text({"a": ["b", 1, True]})
    '{ a = ["b", 1, true] }'
    """
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return '"' + "".join(map(_escaped, value)) + '"'
        case int() | float():
            return repr(value)
        case list() | tuple():
            return f"[{', '.join(map(toml_text, value))}]"
        case Mapping():
            pairs = (f"{toml_key(str(key))} = {toml_text(item)}" for key, item in value.items())
            return "{ " + ", ".join(pairs) + " }" if value else "{}"
        case _:
            raise TypeError(f"not a plain value: {type(value).__name__}")


def toml_key(key: str) -> str:
    """A key as TOML writes it: bare where it may be."""
    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare else toml_text(key)


_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x20 or code == 0x7F else character
