"""Where does a program look for its file, and where does it keep its state?

Apart from `libbarto.config`, so that a command that needs no more than this starts quickly.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libbarto.errors import ConfigError

DEFAULT_PORT: Final = 21526
SOCKET: Final = "bartos.sock"
"""The server's Unix socket, in its state directory: for the command line on its host."""
SCHEDULES_D: Final = "schedules.d"
"""The directory beside bartos.toml whose files are read with it."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a program looks for its file, and keeps its state."""

    files: tuple[Path, ...]
    """The first that exists is read; the first is the one to write."""
    state: Path


def places(program: str, environment: Mapping[str, str], *, root: bool | None = None) -> Places:
    """The places of `bartos`, `bartoc` or `barto-cli` (DESIGN section 10).

    Root's and the shipped units' are /etc/barto and /var/lib; anybody else's are the platform's
    user directories. A unit is known by what systemd sets for it: STATE_DIRECTORY and
    CONFIGURATION_DIRECTORY (systemd.exec(5)). `root` is looked up if it is not given.
    """
    if root is None:
        root = hasattr(os, "geteuid") and os.geteuid() == 0
    system_file = Path("/etc/barto") / f"{program}.toml"
    unit_config = environment.get("CONFIGURATION_DIRECTORY", "").split(":")[0]
    unit_state = environment.get("STATE_DIRECTORY", "").split(":")[0]
    if root or unit_config or unit_state:
        file = Path(unit_config) / f"{program}.toml" if unit_config else system_file
        return Places((file,), Path(unit_state) if unit_state else Path("/var/lib") / program)
    import platformdirs  # it takes longer to import than all that root needs

    own = platformdirs.user_config_path(program, appauthor=False) / f"{program}.toml"
    files = (own, system_file) if program == "barto-cli" else (own,)
    return Places(files, platformdirs.user_data_path(program, appauthor=False))


def schedule_files(main: Path) -> list[Path]:
    """The files of schedules.d beside bartos.toml, in order of name. Raises `ConfigError`."""
    directory = main.parent / SCHEDULES_D
    try:
        return sorted(
            path
            for path in directory.iterdir()
            if path.suffix == ".toml" and not path.name.startswith(".") and path.is_file()
        )
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigError(f"{shown_path(directory)}: cannot be read: {error.strerror}") from error


def shown_path(path: Path) -> str:
    """A path as messages name it: from the current directory if it lies below it, else whole."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
