"""What is a start: what its claim keeps, what tells of it, and what the runner is to do?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bartoc.events import Now
from bartoc.journal import Claim
from bartoc.runner import SpawnOrder
from libbarto.codec import U8, U16, U64, V2, Codec, Extensible, codec
from libbarto.identity import Kind, uuid_text
from libbarto.message.v2.record import Claimed, Decided, Verdict
from libbarto.message.v2.schedule import SCHEDULE, Schedule

TEXT_MAX: Final = 8192
DAY_US: Final = 86_400_000_000
CATCH_UP_MAX_US: Final = 3 * DAY_US


@dataclass(frozen=True, slots=True)
class Host:
    """What the worker's shell knows of its host and settings.

    `users` tells the facts of a user by name ("" is bartoc's own): HOME, USER, SHELL. `max_running`
    bounds the attempts that run at once; `catch_up_us` stands for that of every schedule; `built`
    is the instant of this program's making, 0 where nobody knows.
    """

    worker_name: str
    users: Mapping[str, tuple[str, str, str]]
    boot_id: bytes
    max_running: int | None = None
    catch_up_us: int | None = None
    built: int = 0

    def catch_up_of(self, spec: Schedule) -> int:
        """How long after its slot a start of `spec` may still begin here, in microseconds."""
        given = spec.catch_up_us if self.catch_up_us is None else self.catch_up_us
        return min(given, CATCH_UP_MAX_US)


class RunSpec(Extensible):
    """What a claim keeps of its start, so that its run can be told of, retried and followed though
    the schedule has changed. `whole` is the encoded `Schedule` (claims of earlier releases have
    `commands` and `output_max` instead); `ordered` tells that it came with an offer, so that this
    spec is what counts; `ended` is the encoded `Ended` of the attempt before, while a retry waits.
    """

    schedule: str
    commands: list[str]
    output_max: U64 = 10 * 1024 * 1024
    whole: bytes = b""
    kind: U8 = 0
    cause: bytes = b""
    offer: U64 = 0
    ordered: bool = False
    retries: U16 = 0
    reruns: U16 = 0
    ended: bytes = b""


RUN_SPEC: Codec[RunSpec] = codec(RunSpec, V2, limit=1 << 25)


@dataclass(frozen=True, slots=True)
class Start:
    """An attempt at an occurrence that is about to be claimed.

    `offer` is the number of the offer it takes up, 0 for none; `ordered` as in `RunSpec`; of the
    attempts before this one, `retries` were retries and `reruns` reruns of an interrupted one.
    """

    run_id: bytes
    attempt: int
    kind: Kind
    spec: Schedule
    slot: int
    cause: bytes = b""
    offer: int = 0
    ordered: bool = False
    retries: int = 0
    reruns: int = 0

    @property
    def of_calendar(self) -> bool:
        """Is it a slot of this worker's own schedule?"""
        return self.kind is Kind.CALENDAR and not self.ordered

    def run_spec(self) -> RunSpec:
        """What its claim keeps."""
        return RunSpec(
            schedule=self.spec.name,
            commands=[],
            output_max=self.spec.output_max,
            whole=SCHEDULE.encode(self.spec),
            kind=self.kind,
            cause=self.cause,
            offer=self.offer,
            ordered=self.ordered,
            retries=self.retries,
            reruns=self.reruns,
        )

    def claim(self, host: Host, now: Now) -> Claim:
        """Its claim."""
        return Claim(
            run_id=self.run_id,
            attempt=self.attempt,
            schedule_uid=self.spec.uid,
            slot=self.slot,
            at=now.wall,
            boot_id=host.boot_id,
            spec=RUN_SPEC.encode(self.run_spec()),
        )

    def claimed(self, host: Host, now: Now, generation: int) -> Claimed:
        """The record that tells of its claim."""
        return Claimed(
            run_id=self.run_id,
            attempt=self.attempt,
            kind=self.kind,
            schedule_uid=self.spec.uid,
            schedule=self.spec.name,
            slot=self.slot,
            at=now.wall,
            late_us=max(0, now.wall - self.slot),
            generation=generation,
            cause=self.cause,
            boot_id=host.boot_id,
            clock_offset_us=now.offset_us,
            offer=self.offer,
        )

    def decided(self, verdict: Verdict, reason: str) -> Decided:
        """The record that it will not start."""
        one = not self.of_calendar
        return Decided(
            schedule_uid=self.spec.uid,
            schedule=self.spec.name,
            first_slot=self.slot,
            last_slot=self.slot,
            count=1,
            verdict=verdict,
            reason=shortened(reason),
            run_id=self.run_id if one else None,
            kind=self.kind,
            cause=self.cause if one else b"",
        )

    def order(self, host: Host, now: Now) -> SpawnOrder:
        """What the runner is to do. The keeper guards the slot of a first attempt itself, except
        where the slot is by another clock than this host's."""
        spec = self.spec
        guarded = self.attempt == 1 and self.kind is Kind.CALENDAR
        return SpawnOrder(
            run_id=self.run_id,
            attempt=self.attempt,
            steps=tuple((*spec.shell, step) for step in spec.steps),
            env=self._environment(host, max(0.0, (now.wall - self.slot) / 1e6)),
            cwd=spec.cwd,
            user=spec.run_as,
            nice=spec.nice,
            timeout=None if spec.timeout_us is None else spec.timeout_us / 1e6,
            kill_after=spec.kill_after_us / 1e6,
            continue_on_error=spec.continue_on_error,
            deadline=now.boottime + spec.start_within_us / 1e6,
            slot=self.slot if guarded else None,
        )

    def _environment(self, host: Host, late_s: float) -> dict[str, str]:
        """The whole environment of a command (DESIGN section 7)."""
        home, user, shell = host.users.get(self.spec.run_as or "", ("/", "", "/bin/sh"))
        return {
            "HOME": home,
            "USER": user,
            "LOGNAME": user,
            "SHELL": shell,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            **self.spec.env,
            "BARTO_SCHEDULE": self.spec.name,
            "BARTO_RUN": uuid_text(self.run_id),
            "BARTO_SLOT": rfc3339(self.slot),
            "BARTO_ATTEMPT": str(self.attempt),
            "BARTO_WORKER": host.worker_name,
            "BARTO_LATE": f"{late_s:.3f}",
        }


def rfc3339(instant: int) -> str:
    """An instant (microseconds since 1970, UTC) as RFC 3339 writes it, with as many decimals as
    it needs.

    >>> rfc3339(1_764_036_000_500_000)
    '2025-11-25T02:00:00.5Z'
    """
    moment = datetime.fromtimestamp(instant // 1_000_000, UTC)
    fraction = f".{instant % 1_000_000:06d}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def shortened(text: str) -> str:
    """A command or reason as records carry it: a record fits a frame, whatever a text's length.

    >>> len(shortened("x" * 100_000))
    8192
    """
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"
