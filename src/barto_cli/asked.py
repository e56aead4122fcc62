"""What may be asked of the command `calendar`?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SHOWN: Final = 10
MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for."""

    expressions: tuple[str, ...] = ()
    tz: str | None = None
    limit: int = SHOWN
    since: str | None = None
    cron: bool = False
    worker: str | None = None
    schedule: str | None = None
    dst_gap: str = "next"
    dst_repeat: str = "auto"
    systemd: bool = False
    check: str | None = None
    workers: int | None = None
