"""Which barto is this: its version, the commit it was built from, and the day of that commit?

A wheel carries the answer in `libbarto/_build.py`, which the build hook writes. A source tree asks
git, once and only when somebody wants to know.
"""

from __future__ import annotations

import os
import subprocess
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from pathlib import Path

UNKNOWN = "unknown"
GIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """What was built: `commit` is the full hash, `commit_date` RFC 3339 in UTC, or "unknown"."""

    version: str
    commit: str
    commit_date: str


@cache
def build_info() -> BuildInfo:
    """The build that is running; never fails, what nobody can tell is "unknown"."""
    built = of_wheel()
    if built is not None:
        return built
    root = Path(__file__).resolve().parents[2]
    return of_source_tree(root) or BuildInfo(installed_version(), UNKNOWN, UNKNOWN)


def of_wheel() -> BuildInfo | None:
    """What the build hook wrote, or None in a source tree."""
    try:
        built = import_module("libbarto._build")
    except ModuleNotFoundError:
        return None
    return BuildInfo(str(built.VERSION), str(built.COMMIT), str(built.COMMIT_DATE))


def of_source_tree(root: Path) -> BuildInfo | None:
    """What pyproject.toml and git say about the tree at `root`, or None if it is not barto's."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        if project["name"] != "barto":
            return None
        version = str(project["version"])
    except (OSError, ValueError, KeyError):
        return None
    # Without this, git would look further up and answer for whatever repository is there.
    if not (root / ".git").exists():
        return BuildInfo(version, UNKNOWN, UNKNOWN)
    command = [
        *("git", "-C", str(root), "log", "-1"),
        *("--format=%H %cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ"),
    ]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            timeout=GIT_SECONDS,
            env={**os.environ, "TZ": "UTC"},
        )
    except (OSError, subprocess.SubprocessError):
        return BuildInfo(version, UNKNOWN, UNKNOWN)
    commit, _, date = done.stdout.strip().partition(" ")
    return BuildInfo(version, commit or UNKNOWN, date or UNKNOWN)


def installed_version() -> str:
    """The version of the installed distribution, or "unknown"."""
    try:
        return metadata.version("barto")
    except metadata.PackageNotFoundError:
        return UNKNOWN
