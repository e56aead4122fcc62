"""What does bartoc.toml say? The worker's settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from bartoc.pressure import SPOOL_MAX
from libbarto.config import (
    COMMON_OF_1X,
    SERVER_WRONG,
    Common,
    FilePath,
    Loaded,
    Server,
    host_name,
    load,
)
from libbarto.errors import UserError
from libbarto.selector import checked_labels, checked_name
from libbarto.settings import Duration, Keys, Schema, Size

PROGRAM: Final = "bartoc"
CATCH_UP_MAX_S: Final = 72 * 3600.0
ROAMING_CATCH_UP_S: Final = 24 * 3600.0


def _catch_up(seconds: float) -> float:
    if seconds > CATCH_UP_MAX_S:
        raise UserError("at most 72h: longer ago, nobody remembers what has run")
    return seconds


class Spool(Keys):
    """What is kept for the server: until it has it, and for one that was restored from a backup."""

    max: Size = Field(
        default=SPOOL_MAX,
        description="how much output may wait for the server; beyond that commands wait, and after "
        "a minute what they print is dropped and counted",
    )
    keep: Duration = Field(default=7 * 86_400.0, description="how long")
    keep_max: Size = Field(
        default=64 * 1024**2, description="how much of each lane; the oldest goes first"
    )


class Settings(Common):
    """The keys of bartoc.toml."""

    name: Annotated[str, AfterValidator(checked_name)] | None = Field(
        default=None, description="what this worker is called; left out: the host's name"
    )
    state_dir: FilePath | None = Field(
        default=None,
        description="identity, journal and running commands; left out: /var/lib/bartoc for root, "
        "else bartoc in the user's data directory",
    )
    bartos: Server = Field(default=Server(), description="the server")
    labels: Annotated[dict[str, str], AfterValidator(checked_labels)] = Field(
        default={}, description='words that selectors may ask for, as `{ role = "web" }`'
    )
    stop_timeout: Duration = Field(
        default=30.0,
        description="how long commands have to end after TERM, when `bartoc stop` or Ctrl-C ends "
        "them; then KILL",
    )
    catch_up: Annotated[Duration, AfterValidator(_catch_up)] | None = Field(
        default=None,
        description="how old a start may be to be caught up here, at most 72h; left out: what each "
        "schedule says",
    )
    roaming: bool = Field(
        default=False,
        description="this host is often away: `catch_up` is 24h, unless given, and what it misses "
        "meanwhile is told to nobody for 7 days",
    )
    max_running: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None,
        description="how many runs may go on here at once; further starts wait for `start_within`, "
        "then they are skipped",
    )
    spool: Spool = Field(default=Spool(), description="what is kept for the server")

    @property
    def worker_name(self) -> str:
        """What this worker is called."""
        return self.name or host_name()

    @property
    def catch_up_s(self) -> float | None:
        """How old a start may be to be caught up here, in seconds; None is each schedule's own."""
        if self.catch_up is None and self.roaming:
            return ROAMING_CATCH_UP_S
        return self.catch_up


SCHEMA: Final = Schema(
    Settings,
    wrong={**SERVER_WRONG, "hostname": "what the worker is called is written name"},
    renamed={
        "server_public_key": "bartos.server_public_key",
        "retry_count": None,
        "client_timeout": None,
        "missed_tick": None,
        "redb_path": None,
        "replay_window_secs": None,
        "hmac_key": None,
        **COMMON_OF_1X,
    },
)


def load_settings(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Loaded[Settings]:
    """The worker's settings; see `libbarto.config.load`. Raises `ConfigError`."""
    return load(SCHEMA, Settings, PROGRAM, path=path, environment=environment, flags=flags)


def state_dir(loaded: Loaded[Settings]) -> Path:
    """Where identity, journal and running commands are."""
    return loaded.settings.state_dir or loaded.places.state
