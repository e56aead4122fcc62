"""What does the server remember of the alerts that it sends? The rows, and the store's port.

An alert is stored in the transaction that takes note of what it tells, and each channel's sending
of it until that has been done or given up: so a restart loses none and repeats none. `Store` has
these methods among its own; instants are microseconds since 1970, UTC; ids are 16 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from libbarto.message.v2.record import Verdict

ANY_WORKER: Final = bytes(16)
"""Stands for a worker where a schedule runs now on this one and now on that."""
NO_RUN: Final = bytes(16)
"""Stands for a run where there is none."""

FAILING: Final = (Verdict.FAILED, Verdict.TIMED_OUT, Verdict.INTERRUPTED, Verdict.LOST)
"""The verdicts of runs that are told."""
NOT_RUN: Final = (Verdict.MISSED, Verdict.LOST)
"""The verdicts of planned starts without a run that are told."""
OVER: Final = (Verdict.OK, Verdict.CANCELLED)
"""The verdicts that may end what was told."""

FAILED: Final = "failed"
MISSED: Final = "missed"
STUCK: Final = "stuck"
RECOVERED: Final = "recovered"
"""The events of alerts. The first three are trouble as well."""

Pair: TypeAlias = tuple[bytes, bytes]
"""A schedule's uid, and a worker's or `ANY_WORKER`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run, or of `count` planned starts without one (`run_id` is `NO_RUN`), and
    when that was known."""

    schedule_uid: bytes
    schedule: str
    worker_uid: bytes
    worker: str
    verdict: Verdict
    slot: int
    at: int
    reason: str = ""
    run_id: bytes = NO_RUN
    exit_code: int | None = None
    signal: int | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class AlertState:
    """How a schedule stands on a worker, as was told: `trouble` is a word, empty where all is
    well; outcomes known up to `seen`, of planned starts up to `slot`, have been looked at. `run_id`
    is of the last one that was trouble."""

    schedule_uid: bytes
    worker_uid: bytes
    trouble: str
    seen: int
    slot: int
    run_id: bytes = NO_RUN

    @property
    def pair(self) -> Pair:
        """Whose state it is."""
        return self.schedule_uid, self.worker_uid


@dataclass(frozen=True, slots=True)
class Member:
    """One worker of an alert: what became of the schedule there, in words."""

    worker: str
    words: str
    slot: int
    run_id: bytes = NO_RUN
    worker_uid: bytes = ANY_WORKER


@dataclass(frozen=True, slots=True)
class AlertRow:
    """Something to be told at `due`; until then further workers join it. `members` are the first
    of `count`."""

    alert_id: bytes
    event: str
    schedule_uid: bytes
    schedule: str
    at: int
    due: int
    members: Sequence[Member]
    count: int


@dataclass(frozen=True, slots=True)
class AlertNews:
    """What is to be stored, all or nothing, where nobody has looked since `before`."""

    before: int
    looked: int
    states: Sequence[AlertState] = ()
    alerts: Sequence[AlertRow] = ()
    """New ones, and those that workers joined."""
    channels: Sequence[str] = ()
    """By which each new one goes."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Since when there are alerts, and when was last looked for what to tell."""

    begun: int
    looked: int


@dataclass(frozen=True, slots=True)
class Sending:
    """An alert that is to go by a channel, after `tries` that failed."""

    alert: AlertRow
    channel: str
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in a channel, and why the last try of what waits failed."""

    channel: str
    waiting: int
    error: str = ""


class Alerts(Protocol):
    """The part of the store's port that alerts use."""

    async def begin_alerts(self, now: int) -> Looked:
        """From now on there are alerts, if there were none; since when, and when was looked."""

    async def end_alerts(self) -> None:
        """There are none any more: what waits is dropped, and all states."""

    async def alert_outcomes(self, since: int, until: int, limit: int = 1000) -> list[Outcome]:
        """Failures and starts that were missed or lost, known from `since` to `until` and, for
        their schedule and worker, not looked at yet; the first `limit`, by time. Nothing of
        `exec`."""

    async def alert_endings(self, until: int, limit: int = 1000) -> list[Outcome]:
        """What ends trouble, by time: for each, the first run that ended ok of a later planned
        start (but not for what is stuck), and the very run that is trouble, if it ended ok or was
        cancelled after all. Of a floating schedule only while that is in force."""

    async def alert_states(self) -> list[AlertState]:
        """All states."""

    async def alerts_gathering(self, now: int) -> list[AlertRow]:
        """The alerts that are due after `now`."""

    async def commit_alerts(self, news: AlertNews) -> bool:
        """Store it, in one transaction; False where somebody has looked since `before`, and then
        nothing of it."""

    async def claim_sending(self, channel: str, now: int, until: int) -> Sending | None:
        """The next alert that is due in a channel, for the caller alone up to `until`."""

    async def sent(self, sending: Sending, at: int, error: str = "") -> None:
        """It is done with at `at`: delivered, or given up because of `error`."""

    async def send_later(self, sending: Sending, next_at: int, error: str) -> None:
        """It failed, and is to be tried again."""

    async def alert_backlog(self) -> list[Backlog]:
        """What waits, by channel."""

    async def trim_backlog(self, channel: str, most: int, now: int) -> int:
        """Give up the oldest of what waits in a channel, beyond `most`; how many they were."""

    async def forget_alerts(self, before: int) -> None:
        """Drop alerts that are done with since before this instant, and states without trouble
        that were not looked at since."""
