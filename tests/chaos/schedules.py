"""What is planned in a chaos run: the schedules, as they are written into the file and edited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from typing import Final

from libbarto.identity import schedule_uid
from libbarto.toml_text import toml_text
from tests.chaos.history import Definition

SECOND: Final = 1_000_000
RERUNS: Final = 3
"""How often barto makes an interrupted run again, where that is wanted."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A schedule: due each `period` seconds, or after each run of another; its commands sleep up
    to `longest_ms`."""

    name: str
    workers: str
    period: int
    longest_ms: int
    policies: dict[str, object] = field(default_factory=dict)
    timeout: int | None = None
    enabled: bool = True
    version: int = 0

    def toml(self, command: Sequence[str]) -> str:
        """Its table; `command` is what it runs, but for the last argument."""
        keys: dict[str, object] = {
            "name": self.name,
            "cmds": [" ".join(["exec", *command, str(self.longest_ms)])],
            "env": {"CHAOS_VERSION": str(self.version)},
            **self.policies,
        }
        if "after" not in self.policies:
            keys["workers"] = self.workers
            keys["timezone"] = "UTC"
            keys["on_calendar"] = "*:*:*" if self.period == 1 else f"*:*:0/{self.period}"
        if self.timeout is not None:
            keys |= {"timeout": f"{self.timeout}s", "kill_after": "1s"}
        if not self.enabled:
            keys["enabled"] = False
        return "\n".join(
            ["[[schedule]]", *(f"{key} = {toml_text(value)}" for key, value in keys.items()), ""]
        )

    def definition(self) -> Definition:
        """What the checker knows of it."""
        return Definition(
            name=self.name,
            uid=schedule_uid(self.name).hex(),
            period=self.period * SECOND,
            longest_ms=self.longest_ms,
            overlap=str(self.policies.get("overlap", "skip")),
            retries=int(str(self.policies.get("retries", 0))),
            timeout_ms=None if self.timeout is None else self.timeout * 1000,
            after=str(self.policies.get("after", "")),
            one=self.one,
            reruns=RERUNS if self.policies.get("rerun_interrupted") else 0,
        )

    @property
    def one(self) -> bool:
        """The server gives each start to one worker."""
        return self.policies.get("pick") == "one"


TICK: Final = Planned("tick", "*", 1, 500)
WORK: Final = Planned("work", "*", 1, 3000, {"overlap": "allow"})
SPARE: Final = Planned("spare", "w0*", 2, 2500, {"overlap": "queue"})
"""The one that is removed, disabled and paused."""
SWAP: Final = Planned("swap", "w1*", 2, 3000, {"overlap": "replace"})
RETRIED: Final[dict[str, object]] = {"overlap": "allow", "retries": 2, "retry_delay": "1s"}
AGAIN: Final = Planned("again", "*", 5, 2500, RETRIED, timeout=2)
THEN: Final = Planned("then", "", 1, 300, {"after": "again", "when": "always", "overlap": "allow"})
FLOAT: Final = Planned("float", "*", 2, 1000, {"pick": "one", "missed": "all", "overlap": "allow"})
RERUN: Final[dict[str, object]] = {"overlap": "allow", "rerun_interrupted": True}
REDO: Final = Planned("redo", "*", 5, 2500, {**RERUN, "retry_delay": "1s"})

ALL: Final = (TICK, WORK, SPARE, SWAP, AGAIN, THEN, FLOAT, REDO)


class Book:
    """The schedules as they are in force now, and what an edit makes of them."""

    def __init__(self, planned: Sequence[Planned] = ALL) -> None:
        self.planned = list(planned)
        self.removed: set[str] = set()

    def text(self, command: Sequence[str]) -> str:
        """The file."""
        return "\n".join(one.toml(command) for one in self.planned if one.name not in self.removed)

    def renew(self) -> None:
        """Every schedule in a new version that does the same."""
        self.planned = [replace(one, version=one.version + 1) for one in self.planned]

    def enable(self, name: str, enabled: bool) -> None:
        """Enable or disable one."""
        self.planned = [
            replace(one, enabled=enabled) if one.name == name else one for one in self.planned
        ]

    def rate(self, workers: Sequence[str]) -> float:
        """Planned starts a second, follow-ups not counted."""
        return sum(
            (1 if one.one else sum(fnmatch(name, one.workers) for name in workers)) / one.period
            for one in self.planned
        )
