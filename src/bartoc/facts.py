"""What this host is: the words a worker says of it, and the users its commands run as."""

from __future__ import annotations

import os
import platform
import pwd
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from libbarto.message.v2.worker import Capabilities

Account = tuple[str, str, str]
"""HOME, USER and SHELL of a user."""


def capabilities(*, roaming: bool = False) -> Capabilities:
    """This host's system, processor, memory and shells, and whether it is often away."""
    release = _os_release()
    return Capabilities(
        os=release.get("ID", platform.system().lower()),
        os_version=release.get("VERSION_ID", platform.release()),
        kernel=platform.release(),
        arch=platform.machine(),
        hostname=socket.gethostname(),
        cpus=os.cpu_count() or 0,
        memory=_memory(),
        shells=_shells(),
        user=Accounts()[""][1],
        roaming=roaming,
    )


class Accounts(Mapping[str, Account]):
    """The host's users by name, looked up when asked; "" is the one bartoc runs as."""

    def __getitem__(self, name: str) -> Account:
        try:
            entry = pwd.getpwnam(name) if name else pwd.getpwuid(os.geteuid())
        except KeyError:
            if name:
                raise
            return os.environ.get("HOME", "/"), str(os.geteuid()), "/bin/sh"
        return entry.pw_dir, entry.pw_name, entry.pw_shell or "/bin/sh"

    def __iter__(self) -> Iterator[str]:
        return iter([entry.pw_name for entry in pwd.getpwall()])

    def __len__(self) -> int:
        return len(pwd.getpwall())


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _memory() -> int:
    """Bytes of physical memory; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def _shells() -> list[str]:
    try:
        lines = Path("/etc/shells").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.startswith("/") and Path(line).exists()]
