"""The error tree: what can go wrong in barto, and who must act on it.

Every error that barto raises on purpose derives from `BartoError` and from the built-in that a
caller would expect, so `except ValueError` works where people reach for it.
"""

from __future__ import annotations

from typing import Final

WIDTH: Final = 80
"""How many columns the text and the mark under it have, for whoever reads them in a terminal."""


class BartoError(Exception):
    """The root: a message for the one who must act, without a traceback."""


class UserError(BartoError, ValueError):
    """Something that the person at the keyboard wrote is wrong; programs exit with 2."""


class CodecError(BartoError, ValueError):
    """Bytes that are not what the protocol says, or a value that cannot be written as bytes."""


class CalendarError(UserError):
    """A calendar expression that cannot be read.

    `text` is the expression, `start` and `end` delimit the fault in it (end exclusive).
    """

    def __init__(self, message: str, text: str, start: int = 0, end: int | None = None) -> None:
        self.message = message
        self.text = text
        self.start = start
        self.end = len(text) if end is None else end
        super().__init__(marked(message, text, self.start, self.end))


class SelectorError(UserError):
    """A selector of workers that cannot be read; the attributes are those of `CalendarError`."""

    def __init__(self, message: str, text: str, start: int = 0, end: int | None = None) -> None:
        self.message = message
        self.text = text
        self.start = start
        self.end = len(text) if end is None else end
        super().__init__(marked(message, text, self.start, self.end))


class ConfigError(UserError):
    """A configuration that cannot be used; the message names file, line and key."""


class ProtocolError(BartoError):
    """The peer broke the rules of the conversation; the session ends with `reason`."""


class ConnectionClosed(BartoError, ConnectionError):
    """The link is gone: `code` is the close code (RFC 6455 section 7.4), `reason` its text."""

    def __init__(self, code: int = 1006, reason: str = "") -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"connection closed ({code}{': ' + reason if reason else ''})")


class StoreUnavailable(BartoError, ConnectionError):
    """The database cannot be reached or does not answer now; the caller keeps what it holds."""


class JournalError(BartoError, OSError):
    """The worker's journal did not commit; nothing of the transaction may be taken as done."""


def marked(message: str, text: str, start: int, end: int) -> str:
    """`message`, the text, and a mark under characters `start` to `end` of it.

    >>> print(marked("hour is 0 to 23, got 25", "*-*-* 25:00:00", 6, 8))
    hour is 0 to 23, got 25
        *-*-* 25:00:00
              ^^
    """
    first, room = 0, WIDTH - 4
    if max(len(text), start + 1) > room:
        room -= 6  # for the dots on either side
        first = max(0, min(start - room // 3, len(text) - room))
    window = text[first : first + room]
    shown = "".join(c if c.isprintable() else "?" for c in window)
    head = "..." if first else ""
    tail = "..." if first + room < len(text) else ""
    width = max(1, min(end, first + len(window)) - start)
    indent = " " * (len(head) + start - first)
    return f"{message}\n    {head}{shown}{tail}\n    {indent}{'^' * width}"
