"""What a worker is told to do: the set of its schedules, as it is pushed, signed and journalled."""

from __future__ import annotations

import msgspec

from libbarto.codec import I32, U64, V2, Codec, Extensible, Id, codec


class Schedule(Extensible):
    """One schedule as its worker needs it: when, what, how. Durations are microseconds.

    `calendars` is a union of expressions in normalised form, in the zone `timezone` where they
    name none. `steps` run in order, each as the last argument of `shell`.
    """

    uid: Id
    name: str
    calendars: list[str]
    timezone: str = "UTC"
    dst_gap: str = "next"
    dst_repeat: str = "auto"
    steps: list[str]
    shell: list[str] = msgspec.field(default_factory=lambda: ["/bin/sh", "-c"])
    cwd: str | None = None
    env: dict[str, str] = {}
    run_as: str | None = None
    nice: I32 = 0
    timeout_us: U64 | None = None
    kill_after_us: U64 = 10_000_000
    continue_on_error: bool = False
    output_max: U64 = 10 * 1024 * 1024
    start_within_us: U64 = 30_000_000


class ScheduleSet(Extensible):
    """All that one worker is told to do; its generation travels beside it, in `SignedSet`."""

    schedules: list[Schedule]
    offline_max_us: U64 = 7 * 86_400_000_000


SCHEDULE_SET: Codec[ScheduleSet] = codec(ScheduleSet, V2, limit=64 * 1024 * 1024)
