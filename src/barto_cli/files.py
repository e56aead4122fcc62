"""What do files on this host say? A configuration that a command reads without a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from libbarto.errors import UserError

MORE: Final = "schedules.d"


def beside(main: Path) -> list[Path]:
    """The files of schedules.d, which are read with bartos.toml in order of name."""
    directory = main.absolute().parent / MORE
    if not directory.is_dir():
        return []
    files = [path for path in directory.iterdir() if path.suffix == ".toml" and path.is_file()]
    return sorted(path for path in files if not path.name.startswith("."))


def shown_path(path: Path) -> str:
    """A path as messages name it: from the current directory if it lies below it."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


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
