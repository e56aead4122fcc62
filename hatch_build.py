"""The build hook: writes into wheels and sdists what version and commit they were built from.

The file `libbarto/_build.py` exists in what is built and never in the source tree, where
`libbarto.build_info` asks git instead.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TARGETS = {"wheel": "libbarto/_build.py", "sdist": "src/libbarto/_build.py"}


class BuildInfoHook(BuildHookInterface[Any]):
    """Adds `_build.py` to a wheel or an sdist, unless it is built from an sdist that has it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects files; `version` is "standard" or "editable"."""
        if version == "editable" or (Path(self.root) / "src/libbarto/_build.py").exists():
            return
        commit, commit_date = commit_of(self.root)
        self._directory = tempfile.TemporaryDirectory()
        generated = Path(self._directory.name) / "_build.py"
        generated.write_text(
            '"""What this was built from; written by the build."""\n\n'
            f"VERSION = {self.metadata.version!r}\n"
            f"COMMIT = {commit!r}\n"
            f"COMMIT_DATE = {commit_date!r}\n"
        )
        build_data["force_include"][str(generated)] = TARGETS[self.target_name]

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called by hatchling when the artifact is written."""
        if hasattr(self, "_directory"):
            self._directory.cleanup()


def commit_of(root: str) -> tuple[str, str]:
    """The commit of the tree at `root` and its date in UTC; "unknown" where there is no git."""
    if not (Path(root) / ".git").exists():
        return "unknown", "unknown"
    command = [
        *("git", "-C", root, "-c", "safe.directory=*", "log", "-1"),
        *("--format=%H %cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ"),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC"}
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown", "unknown"
    commit, _, date = done.stdout.strip().partition(" ")
    return commit, date
