"""How is text shown that others wrote, so that it does nothing? What moves the cursor, starts a
sequence, turns the direction of writing or cannot be seen is shown as an escape.
"""

from __future__ import annotations

import re
import shlex
from typing import Final

UNSAFE: Final = (
    "\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff"
)
"""As in a character class of `re`: C0 and C1 controls, DEL, soft hyphen, bidi marks, line
separators, joiners of words, BOM, interlinear and tag characters, lone surrogates. ZWNJ and ZWJ are
not among them: some scripts need them."""

_HARMFUL: Final = re.compile(f"[{UNSAFE}]")
_HARMFUL_IN_LINES: Final = re.compile(f"(?![\n\t])[{UNSAFE}]")


def _as_escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def safe(text: str) -> str:
    """`text` on one line, in which whatever could harm is shown as an escape.

    >>> safe("a\\x1b[31mb\\tc\\n")
    'a\\\\x1b[31mb   c\\\\x0a'
    """
    return _HARMFUL.sub(_as_escape, text.replace("\t", "   "))


def safe_lines(text: str) -> str:
    """The same for text of several lines: line breaks and tabs stay.

    >>> safe_lines("a\\r\\nb\\x07")
    'a\\nb\\\\x07'
    """
    return _HARMFUL_IN_LINES.sub(_as_escape, text.replace("\r\n", "\n"))


def as_command(*words: str) -> str:
    """A command that may be copied: a shell takes each word as it stands, whoever wrote it.

    >>> as_command("barto", "why", "backup", "--on", "web 1; id")
    "barto why backup --on 'web 1; id'"
    """
    return shlex.join(map(safe, words))
