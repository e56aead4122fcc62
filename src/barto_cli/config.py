"""What does barto-cli.toml say? The settings of the operator's command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import Field

from libbarto.config import COMMON_OF_1X, SERVER_WRONG, Common, FilePath, Loaded, Server, load
from libbarto.settings import Schema

PROGRAM: Final = "barto-cli"


class ReachedServer(Server):
    """The server, which on its own host is reached over its Unix socket."""

    socket: FilePath | None = Field(
        default=None,
        description="its Unix socket, on its own host; left out: the one in its state directory, "
        "where no address is given",
    )


class Settings(Common):
    """The keys of barto-cli.toml."""

    name: str | None = Field(
        default=None, description="what the server calls this client; left out: the user's name"
    )
    bartos: ReachedServer = Field(default=ReachedServer(), description="the server")


SCHEMA: Final = Schema(Settings, wrong=SERVER_WRONG, renamed=COMMON_OF_1X)


def load_settings(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Loaded[Settings]:
    """The client's settings; see `libbarto.config.load`. Raises `ConfigError`."""
    return load(SCHEMA, Settings, PROGRAM, path=path, environment=environment, flags=flags)
