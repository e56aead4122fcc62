"""How is one statement made for many rows? The driver's bulk protocol, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from bartos.store.engines import Engines

ROWS_MAX: Final = 1000
BYTES_MAX: Final = 1024 * 1024
"""What one statement takes at most."""

NOTHING: Final = -(1 << 62)
"""Stands for NULL in a statement for many rows: the bulk protocol wants one type in a column."""


@dataclass(slots=True)
class Statements:
    """Makes statements on one connection."""

    engines: Engines
    connection: AsyncConnection

    async def new(
        self,
        table: Table,
        columns: Sequence[str],
        rows: Sequence[tuple[object, ...]],
        key: str = "run_id",
    ) -> None:
        """Insert rows; those that are there already stay. `key` is any column of the table."""
        # INSERT IGNORE would also cut what is too long, and say nothing.
        ending = (
            " ON CONFLICT DO NOTHING"
            if self.engines.sqlite
            else f" ON DUPLICATE KEY UPDATE {self.quoted(key)} = {self.quoted(key)}"
        )
        await self.many(self.insert(table, columns) + ending, rows)

    async def many(self, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
        """One statement for many rows; `?` takes a value."""
        if not self.engines.sqlite:
            sql = sql.replace("?", "%s")
        for part in parts(rows, ROWS_MAX, _size):
            await self.connection.exec_driver_sql(sql, list(part))

    def insert(self, table: Table, columns: Sequence[str]) -> str:
        """The text of an INSERT."""
        names = ", ".join(map(self.quoted, columns))
        marks = ", ".join("?" for _ in columns)
        return f"INSERT INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608  # names are our own

    def quoted(self, name: str) -> str:
        """A name that may be a word of SQL's."""
        return f'"{name}"' if self.engines.sqlite else f"`{name}`"


def number(value: int | None) -> int:
    """A value for a column of numbers in which some are NULL, as `NULLIF(?, NOTHING)` takes it."""
    return NOTHING if value is None else value


def _size(row: tuple[object, ...]) -> int:
    return sum(len(value) for value in row if isinstance(value, bytes | str))


def parts(
    items: Sequence[Any], count: int, size: Callable[[Any], int] = lambda _: 0
) -> Iterator[Sequence[Any]]:
    """The items in runs of at most `count`, and about `BYTES_MAX` bytes."""
    first = total = 0
    for at, item in enumerate(items):
        total += size(item)
        if at > first and (at - first == count or total > BYTES_MAX):
            yield items[first:at]
            first, total = at, size(item)
    if first < len(items):
        yield items[first:]
