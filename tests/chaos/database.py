"""What does the server's database hold? Read past barto, on either kind."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Protocol, TypeAlias

from tests.mariadb import MariaDB

Row: TypeAlias = tuple[str | None, ...]


class Database(Protocol):
    """Columns are text here, bytes in hex."""

    def rows(self, columns: str, rest: str) -> list[Row]:
        """`SELECT columns FROM rest`. Raises `OSError` where the database does not answer."""


class SqliteFile:
    """The embedded database."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def rows(self, columns: str, rest: str) -> list[Row]:
        try:
            connection = sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=2)
            try:
                found = connection.execute(f"SELECT {columns} FROM {rest}").fetchall()
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise OSError(str(error)) from error
        return [tuple(None if value is None else str(value) for value in row) for row in found]


class MariaDBServer:
    """A server of ours."""

    def __init__(self, server: MariaDB) -> None:
        self._server = server

    def rows(self, columns: str, rest: str) -> list[Row]:
        try:
            found = self._server.sql(f"SELECT {columns} FROM {rest};")
        except RuntimeError as error:
            raise OSError(str(error)) from error
        return [tuple(None if value == "NULL" else value for value in row) for row in found]
