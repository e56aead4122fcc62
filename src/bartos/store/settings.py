"""Which database: what a store has to know to reach it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qsl


@dataclass(frozen=True, slots=True)
class SqliteSettings:
    """The embedded database, in the file `path`."""

    path: Path

    @property
    def described(self) -> str:
        """For people."""
        return str(self.path)


@dataclass(frozen=True, slots=True)
class MariaDbSettings:
    """A MariaDB server. `options` are those of the driver, as `ssl_ca=/etc/ssl/db.pem&…`."""

    host: str = "127.0.0.1"
    port: int = 3306
    socket: Path | None = None
    username: str = "barto"
    password: str | None = field(default=None, repr=False)
    database: str = "barto"
    options: str | None = None

    @property
    def described(self) -> str:
        """For people; without the password."""
        where = str(self.socket) if self.socket is not None else f"{self.host}:{self.port}"
        return f"MariaDB {self.database} on {where}"

    def option_pairs(self) -> dict[str, str]:
        """The options by name."""
        return dict(parse_qsl(self.options or "", keep_blank_values=True))


StoreSettings: TypeAlias = SqliteSettings | MariaDbSettings
