"""Is a row of the journal still what was written there?

SQLite tells a page whose structure is broken, not a bit that fell over within a value. So each row
of the tables that decide something has a seal: a CRC-32 of its values, kept in a table of its own.
Triggers of the connection write it in the transaction that changes the row, whatever statement
that is. Records have no seals, as each of them is in the chain of tags.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Sealed:
    """A table whose rows have seals called `name`: over all its columns but `without`, or over
    `only` these."""

    name: str
    table: str
    without: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()

    def columns(self, connection: sqlite3.Connection) -> tuple[list[str], list[str]]:
        """The columns that are sealed, and those of the primary key."""
        rows = connection.execute("SELECT name, pk FROM pragma_table_info(?)", (self.table,))
        found = dict(rows.fetchall())
        keys = sorted((name for name, place in found.items() if place), key=found.__getitem__)
        wanted = [n for n in found if n not in self.without and (not self.only or n in self.only)]
        return wanted, keys


SEALED: Final = (
    # The set may be large, and seldom changes with the rest of its row.
    Sealed("meta", "meta", without=frozenset({"set_body"})),
    Sealed("set", "meta", only=frozenset({"set_body"})),
    *(
        Sealed(name, name)
        for name in ("claim", "cursor", "lane", "held", "waiting", "refusal", "verdict", "boot")
    ),
)

TABLE: Final = """
CREATE TABLE seal (
    name TEXT NOT NULL, key BLOB NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY (name, key)
) WITHOUT ROWID
"""


def spelt(*values: object) -> bytes:
    """Values as bytes, different ones always differently.

    >>> spelt(7, b"a", "a", None)
    b'i7;b1:as1:an'
    """
    parts: list[bytes] = []
    for value in values:
        match value:
            case None:
                parts.append(b"n")
            case bytes():
                parts += (b"b%d:" % len(value), value)
            case str():
                encoded = value.encode()
                parts += (b"s%d:" % len(encoded), encoded)
            case _:
                parts.append(f"i{value};".encode())
    return b"".join(parts)


def sum_of(*values: object) -> int:
    """The seal of a row with these values."""
    return zlib.crc32(spelt(*values))


def install(connection: sqlite3.Connection) -> None:
    """Have every change of a sealed row write its seal, on this connection.

    What a connection changes without this breaks the seals, and shows later.
    """
    _functions(connection)
    for sealed in SEALED:
        columns, keys = sealed.columns(connection)
        forget = f"DELETE FROM seal WHERE name = '{sealed.name}' AND key = barto_spelt({{0}});"
        old, new = _list(keys, "OLD"), _list(keys, "NEW")
        values = _list(columns, "NEW")
        put = f"INSERT INTO seal VALUES ('{sealed.name}', barto_spelt({new}), barto_sum({values}));"
        changed = "UPDATE" if not sealed.only else f"UPDATE OF {_list(list(sealed.only))}"
        for number, (event, work) in enumerate(
            (
                ("INSERT", forget.format(new) + put),
                (changed, forget.format(old) + forget.format(new) + put),
                ("DELETE", forget.format(old)),
            )
        ):
            connection.execute(
                f"CREATE TEMP TRIGGER seal_{sealed.name}_{number} AFTER {event}"
                f" ON main.{sealed.table} BEGIN {work} END"
            )


def seal_all(connection: sqlite3.Connection) -> None:
    """Seal every row as it is now: of a file from before there were seals."""
    _functions(connection)
    connection.execute("DELETE FROM seal WHERE name <> 'commits'")
    connection.execute("INSERT OR IGNORE INTO seal VALUES ('commits', x'', 0)")
    for sealed in SEALED:
        columns, keys = sealed.columns(connection)
        connection.execute(
            f"INSERT INTO seal SELECT '{sealed.name}', barto_spelt({_list(keys)}),"
            f" barto_sum({_list(columns)}) FROM {sealed.table}"
        )


def broken(connection: sqlite3.Connection) -> str | None:
    """The first table with a row that is not what was written there, or that lacks one."""
    _functions(connection)
    for sealed in SEALED:
        columns, keys = sealed.columns(connection)
        rows, wrong = connection.execute(
            "SELECT count(*), count(CASE WHEN seal.sum IS NOT"
            f" barto_sum({_list(columns, sealed.table)}) THEN 1 END)"
            f" FROM {sealed.table} LEFT JOIN seal ON seal.name = '{sealed.name}'"
            f" AND seal.key = barto_spelt({_list(keys, sealed.table)})"
        ).fetchone()
        (seals,) = connection.execute(
            "SELECT count(*) FROM seal WHERE name = ?", (sealed.name,)
        ).fetchone()
        if wrong or rows != seals:
            return sealed.table
    return None


def intact(connection: sqlite3.Connection, sealed: Sealed, row: Mapping[str, object]) -> bool:
    """Has this row the seal that it was given? For what is salvaged row by row."""
    columns, keys = sealed.columns(connection)
    found = connection.execute(
        "SELECT sum FROM seal WHERE name = ? AND key = ?",
        (sealed.name, spelt(*(row[key] for key in keys))),
    ).fetchone()
    return found is not None and found[0] == sum_of(*(row[name] for name in columns))


def count_commit(connection: sqlite3.Connection) -> None:
    """One transaction more: a file that has fewer than were counted has lost some."""
    connection.execute("UPDATE seal SET sum = sum + 1 WHERE name = 'commits'")


def commits(connection: sqlite3.Connection) -> int:
    """How many transactions there were."""
    row = connection.execute("SELECT sum FROM seal WHERE name = 'commits'").fetchone()
    return 0 if row is None else int(row[0])


def _functions(connection: sqlite3.Connection) -> None:
    connection.create_function("barto_spelt", -1, spelt, deterministic=True)
    connection.create_function("barto_sum", -1, sum_of, deterministic=True)


def _list(names: Sequence[str], row: str = "") -> str:
    prefix = f"{row}." if row else ""
    return ", ".join(f'{prefix}"{name}"' for name in names)
