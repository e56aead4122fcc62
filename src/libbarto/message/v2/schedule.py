"""What a worker is told to do: the set of its schedules, as it is pushed, signed and journalled."""

from __future__ import annotations

import msgspec

from libbarto.codec import I32, I64, U16, U64, V2, Codec, Extensible, Id, codec


class Schedule(Extensible):
    """One schedule as its worker needs it: when, what, how. Durations are microseconds.

    One trigger makes its slots: `calendars`, a union of expressions in normalised form, in the
    zone `timezone` where they name none; or every `every_us`, counted from `anchor_us`, or from an
    anchor drawn for each worker where `anchor_drawn`; or the instants `at`; or once a boot; or the
    ends of the runs of `after`, whose verdict is as `when` says: ok, failed or always.

    `steps` run in order, each as the last argument of `shell`. While `paused`, and not yet at
    `paused_until`, slots are skipped, with `pause_reason`; `paused_as` is the word for it: paused,
    or drained where it is for the worker as a whole.
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
    every_us: U64 | None = None
    anchor_us: I64 = 0
    anchor_drawn: bool = False
    at: list[I64] = []
    on_boot: bool = False
    after: Id | None = None
    when: str = "ok"
    overlap: str = "skip"
    missed: str = "latest"
    catch_up_us: U64 = 3_600_000_000
    retries: U16 = 0
    retry_delay_us: U64 = 30_000_000
    rerun_interrupted: bool = False
    paused: bool = False
    paused_until: I64 | None = None
    pause_reason: str = ""
    paused_as: str = "paused"


class ScheduleSet(Extensible):
    """All that one worker is told to do; its generation travels beside it, in `SignedSet`."""

    schedules: list[Schedule]
    offline_max_us: U64 = 7 * 86_400_000_000


SCHEDULE: Codec[Schedule] = codec(Schedule, V2, limit=16 * 1024 * 1024)
SCHEDULE_SET: Codec[ScheduleSet] = codec(ScheduleSet, V2, limit=64 * 1024 * 1024)
