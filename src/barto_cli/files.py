"""What do files on this host say? A configuration that a command reads without a server."""

from __future__ import annotations

import os
from pathlib import Path

from libbarto.errors import UserError
from libbarto.places import shown_path


def read_file(path: Path) -> str:
    """The text of a file. Raises `UserError` where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{shown_path(path)}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{shown_path(path)}: is not UTF-8") from error


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet, whole or not at all. Raises `UserError`."""
    # A schedule may hold a secret of the crontab that it was in.
    beside = path.with_name(f".{path.name}.new")
    try:
        if path.exists():
            raise UserError(f"{shown_path(path)}: is there already; name another file")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    except OSError as error:
        raise UserError(f"{shown_path(path)}: cannot be written: {error.strerror}") from error
