"""Logging for the programs: what happened, one event a line, for people and for grep.

A line has the time (UTC), the level, a constant message, then the facts that the caller gave as
`extra`, as key=value. Whatever a peer or a command put into them cannot forge a line or move the
cursor: control characters are escaped. Under systemd the journal's own time and level are used.

A fact cannot be called `name`, `args`, `module` or otherwise as an attribute of
`logging.LogRecord`: `logging` raises KeyError.
"""

from __future__ import annotations

import datetime
import logging
import logging.handlers
import os
import re
import sys
import uuid
from pathlib import Path
from typing import Any, TextIO

from libbarto.errors import ConfigError

_LEVELS = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)
_STANDARD = logging.INFO

_CHATTY = {
    "asyncio": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "sqlalchemy.pool": logging.ERROR,
    "alembic": logging.WARNING,
    "aiosqlite": logging.WARNING,
    "websockets": logging.WARNING,
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.ERROR,
    "uvicorn.error": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
}
"""Libraries that tell each event of theirs, and from where on we want to hear them."""

_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))
"""Levels as the journal knows them (sd-daemon(3))."""

_UNSAFE = re.compile(
    r"[^\x20-\x7e\xa1-\U0010ffff]"  # control characters
    r"|[\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # line ends, writing direction
    r"|[\ud800-\udfff]"  # halves of characters, which cannot be written as UTF-8
)
"""What a terminal, a pager or an encoder might act on."""

_PLAIN = re.compile(r"[^\s\"=\\]+")


def setup(
    verbose: int = 0,
    quiet: int = 0,
    *,
    file: Path | None = None,
    stream: TextIO | None = None,
) -> None:
    """Send all that is logged to `stream` (standard error where None) and, if given, to `file`.

    INFO and above are shown; each `verbose` shows more (1: DEBUG; 2: also what libraries say),
    each `quiet` less (1: WARNING, 2: ERROR, 3: CRITICAL). Call it again to change it. The file is
    appended to, made readable for owner and group, and opened anew when it was moved away, as
    logrotate does. Raises `ConfigError` where it cannot be opened.
    """
    out = sys.stderr if stream is None else stream
    handlers: list[logging.Handler] = [logging.StreamHandler(out)]
    handlers[0].setFormatter(JournalFormatter() if _goes_to_journal(out) else LineFormatter())
    if file is not None:
        handlers.append(_file_handler(file))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level(verbose, quiet))
    for name, least in _CHATTY.items():
        logger = logging.getLogger(name)
        logger.setLevel(logging.NOTSET if verbose >= 2 else max(least, root.level))
        logger.propagate = True
        logger.handlers.clear()
    logging.captureWarnings(True)


def level(verbose: int, quiet: int) -> int:
    """The least level that is shown.

    >>> [logging.getLevelName(level(v, q)) for v, q in ((0, 0), (1, 0), (5, 0), (0, 1), (0, 9))]
    ['INFO', 'DEBUG', 'DEBUG', 'WARNING', 'CRITICAL']
    """
    step = _LEVELS.index(_STANDARD) + verbose - quiet
    return _LEVELS[min(max(step, 0), len(_LEVELS) - 1)]


class LineFormatter(logging.Formatter):
    """`2026-11-24T08:41:00.123456Z INFO    run ended worker=vader exit_code=0`.

    A traceback follows in lines of its own, indented by four spaces, so that whatever begins
    with a time is an event.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The event, and the traceback if it has one."""
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        stamp = moment.isoformat(timespec="microseconds").removesuffix("+00:00")
        head = f"{stamp}Z {record.levelname:<7} {event(record)}"
        return "\n    ".join((head, *self._trace(record)))

    def _trace(self, record: logging.LogRecord) -> list[str]:
        lines: list[str] = []
        if record.exc_info and record.exc_info[0] is not None:
            lines += self.formatException(record.exc_info).split("\n")
        if record.stack_info:
            lines += self.formatStack(record.stack_info).split("\n")
        return [escaped(line) for line in lines]


class JournalFormatter(LineFormatter):
    """The same for the journal: a priority in front of each line (sd-daemon(3)), and no time."""

    def format(self, record: logging.LogRecord) -> str:
        """The event, and the traceback if it has one."""
        priority = next(number for least, number in _PRIORITIES if record.levelno >= least)
        lines = (event(record), *("    " + line for line in self._trace(record)))
        return "\n".join(f"<{priority}>{line}" for line in lines)


def event(record: logging.LogRecord) -> str:
    """Message and facts of a record, in one line."""
    facts = [
        f"{escaped(key)}={fact(value)}"
        for key, value in vars(record).items()
        if key not in _OWN_ATTRIBUTES and value is not None and not key.startswith("_")
    ]
    return " ".join((escaped(record.getMessage()), *facts))


def fact(value: Any) -> str:
    """A value as people read it: 16 bytes as a UUID, other bytes in hex, text quoted if need be.

    >>> print(fact("a b"), fact("x"), fact(bytes(2)), fact(1.0), fact(""), fact(True))
    "a b" x 0000 1 "" yes
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        return str(uuid.UUID(bytes=value)) if len(value) == 16 else value.hex()
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    if _PLAIN.fullmatch(text):
        return escaped(text)
    return '"' + escaped(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def escaped(text: str) -> str:
    r"""`text` with whatever a terminal might act on written out, so that it stays one line.

    >>> print(escaped("a\nb\x1b[31m"))
    a\nb\x1b[31m
    """
    return _UNSAFE.sub(lambda found: repr(found[0])[1:-1], text)


def _file_handler(file: Path) -> logging.Handler:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640))
        handler = logging.handlers.WatchedFileHandler(file, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write the log file {file}: {error.strerror}") from error
    handler.setFormatter(LineFormatter())
    return handler


def _goes_to_journal(stream: TextIO) -> bool:
    """Whether systemd connected `stream` to the journal (systemd.exec(5), $JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    if not inode:
        return False
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))
