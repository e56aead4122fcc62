"""The state directory of a worker: whose is it, and is another bartoc using it?

Holds the worker's uid in a file of its own, so that a lost journal is still the same worker's, and
a lock for as long as a bartoc lives. Everything in it is private (0700, 0600).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

from libbarto.errors import ConfigError
from libbarto.tls import write_private

IDENTITY = "identity.json"
LOCK = "bartoc.lock"
JOURNAL = "journal.db"


class StateDirectory:
    """The directory `path`; `open` makes it and takes its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    @property
    def journal(self) -> Path:
        """Where the journal is."""
        return self.path / JOURNAL

    def open(self) -> None:
        """Make the directory and take its lock.

        Raises `ConfigError` where it cannot be written, or another bartoc has the lock.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"the state directory {self.path} cannot be written: {error.strerror}; "
                "give bartoc another one (state_dir in bartoc.toml), or the right to write there"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            pid = self.holder()
            who = f"process {pid}" if pid else "another process"
            raise ConfigError(
                f"the state directory {self.path} is in use by another bartoc ({who}): "
                "stop that one, or give this one a state_dir and a name of its own"
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock

    def holder(self) -> int | None:
        """The pid of the bartoc that last took the lock, if it says."""
        try:
            text = (self.path / LOCK).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return int(text) if text.isdigit() else None

    def in_use(self) -> bool:
        """Does a bartoc have the lock now?"""
        try:
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(lock)
        return False

    def worker_uid(self, mint: Callable[[], bytes]) -> bytes:
        """The worker's uid; made by `mint` (16 bytes) where there is none yet."""
        file = self.path / IDENTITY
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
            return bytes.fromhex(held["uid"])
        except FileNotFoundError:
            uid = mint()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{file} is not readable as a worker's identity ({error}): restore it, or move "
                f"{self.path} away to begin anew as another worker"
            ) from error
        write_private(file, json.dumps({"uid": uid.hex()}).encode() + b"\n")
        return uid

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
