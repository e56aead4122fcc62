"""The store's port: what the server asks of its database.

Two implementations stand behind it, SQL (SQLite, MariaDB) and memory, and one contract suite
holds both to what is written here. Every method may raise `StoreUnavailable`, and then has
changed nothing or, for a COMMIT whose answer was lost, what it was asked to change: so all
changes may be repeated. Instants are microseconds since 1970, UTC; ids are 16 bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from bartos.store.alerts import Alerts
from bartos.store.lasts import LastRun, Lasts
from bartos.store.orders import Orders
from libbarto.identity import NO_TAG
from libbarto.message.v2.record import Lane, Record, Verdict

FAILURES: Final = (Verdict.FAILED, Verdict.TIMED_OUT, Verdict.INTERRUPTED, Verdict.LOST)
"""The verdicts of runs that someone should look at."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that cannot be understood: kept raw, so that the stream goes on."""

    seq: int
    data: bytes
    error: str


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a lane is committed: the last record's number and tag, and the epoch it came in."""

    seq: int = 0
    tag: bytes = NO_TAG
    epoch: int = 0


BARRED: Final = 1 << 62
"""The epoch of the marks of a spool that is never to be accepted again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A worker as the store knows it: its last confirmed epoch and spool, and the marks of that."""

    epoch: int
    spool_id: bytes
    marks: Mapping[Lane, Mark]


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """What the store knows of a worker; `spool_id` and `epoch` are the last confirmed ones."""

    uid: bytes
    name: str
    epoch: int = 0
    spool_id: bytes = bytes(16)
    generation: int = 0
    set_hash: bytes = b""
    labels: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    capabilities: Mapping[str, str] = field(default_factory=dict)
    first_seen: int = 0
    last_seen: int = 0
    address: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one lane of one worker, to be committed whole with the mark's advance.

    `records[i]` has the number `first_seq + i`; `tag` is the last one's. The worker's `name` is
    the server's own knowledge, never the record's word.
    """

    worker_uid: bytes
    worker: str
    spool_id: bytes
    lane: Lane
    epoch: int
    first_seq: int
    tag: bytes
    records: Sequence[Record | DeadLetter]

    @property
    def last_seq(self) -> int:
        """The number of the last record, that the mark will have."""
        return self.first_seq + len(self.records) - 1


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule as it is in force. `definition` is JSON of all its keys as configured."""

    uid: bytes
    name: str
    definition: str
    enabled: bool = True
    version: int = 1
    updated_at: int = 0


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A schedule as it was in force from `from_at` to `until_at` (None: it is so now)."""

    uid: bytes
    version: int
    name: str
    definition: str
    from_at: int
    until_at: int | None = None


RangeKey: TypeAlias = tuple[int, bytes, bytes, int, bytes]


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs a reader wants; all that are given must hold. `schedule` matches a name exactly,
    or the part after the slash of a 1.x name. `before` is a cursor: (slot, run_id) of the last row
    of the page before; rows come newest slot first."""

    worker: str | None = None
    schedule: str | None = None
    verdicts: frozenset[Verdict] | None = None
    running: bool | None = None
    since: int | None = None
    until: int | None = None
    before: tuple[int, bytes] | None = None
    limit: int = 100
    before_range: RangeKey | None = None
    """Of ranges alone: `SlotRange.key` of the last row of the page before."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run: one occurrence that was claimed. `verdict` is None while it runs.

    `complete` when it has ended, its spool's output lane is committed up to the number that its
    `Ended` named (`output_seq`), and as many bytes have come as it printed, but for what
    `output_max` cut: so all of it came.
    """

    run_id: bytes
    attempt: int
    schedule_uid: bytes
    schedule: str
    worker_uid: bytes
    worker: str
    kind: int
    slot: int
    claimed_at: int
    late_us: int
    generation: int
    started_at: int | None
    ended_at: int | None
    verdict: Verdict | None
    reason: str
    exit_code: int | None
    signal: int | None
    complete: bool
    bytes_out: int
    bytes_err: int
    cut_bytes: int
    cut_lines: int
    missing_bytes: int = 0
    """Output that will never come: it had no room on the worker, or the worker lost it."""
    sha_out: bytes = b""
    sha_err: bytes = b""
    """SHA-256 of all that went to each stream, as the worker saw it; empty where not told."""

    @property
    def in_short(self) -> LastRun:
        """What is told of it as the last run of a pair."""
        return LastRun(
            worker_uid=self.worker_uid,
            schedule_uid=self.schedule_uid,
            run_id=self.run_id,
            slot=self.slot,
            verdict=self.verdict,
            started_at=self.started_at,
            ended_at=self.ended_at,
            exit_code=self.exit_code,
            signal=self.signal,
            reason=self.reason,
        )


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step of an attempt, as `exit_status` has it."""

    run_id: bytes
    attempt: int
    step: int
    command: str
    exit_code: int | None
    signal: int | None
    success: bool
    started_at: int | None
    ended_at: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A chunk of output, as `output` has it; `segments` as `libbarto.message.v2.segment` packs."""

    chunk_no: int
    step: int
    offset: int
    first_line: int
    lines: int
    started_at: int
    segments: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class SlotRange:
    """Slots that did not run, and why."""

    schedule_uid: bytes
    schedule: str
    worker_uid: bytes
    worker: str
    first_slot: int
    last_slot: int
    count: int
    verdict: Verdict
    reason: str
    decided_at: int
    run_id: bytes | None = None
    """One occurrence that is none of the calendar's: an order, or a follow-up."""
    kind: int = 0

    @property
    def key(self) -> RangeKey:
        """By what ranges are ordered, the newest first: no two have the same."""
        run_id = self.run_id or bytes(16)
        return self.last_slot, self.worker_uid, self.schedule_uid, self.first_slot, run_id


OVERLAP: Final = "overlap"
"""How the reason begins where a slot was skipped because a run of its schedule went on."""

NO_TIMING: Final = bytes(16)
"""Stands for a trigger that the worker did not name."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A span in which a schedule counts on a worker, by one trigger: its slots in
    (`from_at`, `until_at`], to no end where that is None.

    `timing` is the trigger's hash (`libbarto.timing`), `spool_id` the journal that said so.
    `torn`: another journal ended the span, so nobody knows what was decided at its end. Before
    `kept_from` verdicts may have been dropped by retention.
    """

    worker_uid: bytes
    schedule_uid: bytes
    from_at: int
    until_at: int | None
    timing: bytes = NO_TIMING
    generation: int = 0
    spool_id: bytes = bytes(16)
    torn: bool = False
    kept_from: int = 0


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """An attempt that is to start later, and has no verdict yet; see `record.Waiting`."""

    run_id: bytes
    attempt: int
    kind: int
    schedule_uid: bytes
    schedule: str
    worker_uid: bytes
    worker: str
    slot: int
    cause: bytes
    why: str
    at: int
    due: int
    until: int | None


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """Every offer of a start up to `number` was refused for good by a worker."""

    run_id: bytes
    worker_uid: bytes
    spool_id: bytes
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class GapRow:
    """Records of a worker that are lost: numbers `first_seq` to `last_seq` of a lane, as was
    noticed at `at`."""

    spool_id: bytes
    lane: Lane
    first_seq: int
    last_seq: int
    at: int


@dataclass(frozen=True, slots=True)
class RunSlot:
    """What a run means for the history of its schedule on its worker. `ahead`: it was claimed
    under a clock that was set back since, so the worker's cursor may be before it."""

    run_id: bytes
    slot: int
    kind: int
    verdict: Verdict | None
    reason: str = ""
    claimed_at: int = 0
    ended_at: int | None = None
    boot_id: bytes = bytes(16)
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that an operator may want to know: `kind` is a stable word."""

    at: int
    kind: str
    worker: str
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows of the operator's SELECT; `truncated` when a bound cut it short."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    truncated: bool


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """The bounds of `query`."""

    rows: int = 10_000
    bytes: int = 10 * 1024 * 1024
    seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Retention:
    """What to keep: output and verdicts by age (seconds), and bytes of output in all.

    `output_by_schedule` and `verdicts_by_schedule` override the ages for single schedules (by
    uid). A schedule's last run and last failure on each worker are never dropped.
    """

    output_age: float = 90 * 86_400.0
    verdict_age: float = 400 * 86_400.0
    total_bytes: int = 10 * 1024**3
    output_by_schedule: Mapping[bytes, float] = field(default_factory=dict)
    verdicts_by_schedule: Mapping[bytes, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a step of retention dropped (or would), and whether more is due."""

    output_rows: int = 0
    output_bytes: int = 0
    status_rows: int = 0
    runs: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class EpochClaim:
    """A worker's confirmed epoch, and what its Hello said, to be committed together."""

    uid: bytes
    name: str
    epoch: int
    spool_id: bytes
    labels: Mapping[str, str]
    version: str
    capabilities: Mapping[str, str]
    address: str
    now: int


class Store(Orders, Alerts, Lasts, Protocol):
    """The server's memory; see the module's text."""

    async def open(self) -> None:
        """Connect and migrate. Raises `ConfigError` where the database is newer than the program
        or the account may not what it must, `StoreUnavailable` where it does not answer."""

    async def close(self) -> None:
        """Let everything go; idempotent."""

    async def ping(self) -> None:
        """Raises `StoreUnavailable` unless the store can be read now."""

    # -- sessions ---------------------------------------------------------------------------------

    async def worker(self, uid: bytes) -> WorkerRow | None:
        """The worker with this uid."""

    async def worker_named(self, name: str) -> WorkerRow | None:
        """The worker that bears this name now."""

    async def workers(self) -> list[WorkerRow]:
        """Every worker, by name."""

    async def marks(self, spool_id: bytes) -> dict[Lane, Mark]:
        """Both lanes' marks; a spool never seen has `Mark()`."""

    async def confirm_epoch(self, claim: EpochClaim) -> bool:
        """Commit a confirmed epoch into the worker's row and its marks' rows, if it is higher
        than the last confirmed one, and its spool is not barred: True, else False and nothing has
        changed."""

    async def append(self, batches: Sequence[Batch]) -> list[bool]:
        """Commit batches, each whole: True where its mark advanced (or had been, by a COMMIT whose
        answer was lost), False where spool, lane, epoch or the number before it were not what the
        batch says (its session is over).

        All of them in one transaction; where that fails, in halves, so that one bad batch harms
        no other. A record that the database refuses becomes a dead letter. State goes before
        output. Output of a run that was dropped by retention is counted, not stored.
        """

    async def skip_to(self, spool_id: bytes, lane: Lane, epoch: int, mark: Mark, at: int) -> bool:
        """Record a gap: move the mark forward to records that the worker no longer holds below.

        Runs of this spool that were not all here yet are not *complete* until their bytes are.
        """

    async def standings(self, sessions: Sequence[tuple[bytes, bytes]]) -> list[Standing | None]:
        """How the store knows each (worker uid, spool id); None where it does not. In one query."""

    async def reset_worker(self, uid: bytes, spool_ids: Sequence[bytes]) -> None:
        """Accept the worker with whatever epoch it holds, but none of these spools any more, nor
        its last one: their marks have the epoch `BARRED`."""

    async def seen(self, uids: Sequence[bytes], now: int) -> None:
        """These workers are connected at `now`."""

    async def set_generation(
        self, uid: bytes, expected: int, generation: int, set_hash: bytes
    ) -> bool:
        """Compare-and-set of the worker's generation and the hash of its set."""

    # -- schedules --------------------------------------------------------------------------------

    async def schedules(self) -> list[ScheduleRow]:
        """The schedules in force, by name."""

    async def replace_schedules(self, rows: Sequence[ScheduleRow], now: int) -> None:
        """Make `rows` all that is in force, in one transaction; old versions are kept."""

    # -- reading ----------------------------------------------------------------------------------

    async def runs(self, wanted: RunFilter) -> list[RunRow]:
        """Runs, newest slot first."""

    async def runs_like(self, prefix: str, limit: int = 3) -> list[RunRow]:
        """Runs whose id, as lower-case hex without hyphens, begins with `prefix`."""

    async def runs_by_id(self, run_ids: Collection[bytes]) -> list[RunRow]:
        """These runs, as far as there are any, by id; at most some thousands at once."""

    async def steps(self, run_id: bytes, attempt: int | None = None) -> list[StepRow]:
        """The steps of a run (of its last attempt), in order."""

    async def chunks(
        self, run_id: bytes, attempt: int, after: int = -1, limit: int = 64
    ) -> list[ChunkRow]:
        """Chunks with a number above `after`, in order."""

    async def ranges(self, wanted: RunFilter) -> list[SlotRange]:
        """Slots that did not run, newest first, by `SlotRange.key`; `running` and `before` are not
        looked at."""

    async def schedule_names(self, worker: str) -> list[str]:
        """The names of the schedules that a worker has run, sorted."""

    # -- what counts, and what became of it -------------------------------------------------------

    async def keep_timings(self, timings: Mapping[bytes, str]) -> None:
        """Remember triggers by their hash; those that are known stay."""

    async def timings(self, hashes: Collection[bytes]) -> dict[bytes, str]:
        """The triggers with these hashes, as far as they are known."""

    async def applied(
        self, *, worker_uid: bytes | None = None, schedule_uid: bytes | None = None
    ) -> list[Applied]:
        """All spans, by worker, schedule and time."""

    async def run_slots(
        self, worker_uid: bytes, schedule_uid: bytes, after: int, until: int, limit: int
    ) -> list[RunSlot]:
        """The runs of a schedule on a worker with slots in (after, until], by slot, of any kind;
        the first `limit`, and all with the last one's slot."""

    async def pair_ranges(
        self,
        worker_uid: bytes,
        schedule_uid: bytes,
        after: int,
        until: int,
        limit: int,
        beyond: int | None = None,
    ) -> list[SlotRange]:
        """The ranges of the calendar's slots of a schedule on a worker that reach into
        (after, until], by first slot; the first `limit` of those that begin after `beyond`."""

    async def waiting(
        self, *, worker_uid: bytes | None = None, schedule_uid: bytes | None = None
    ) -> list[WaitingRow]:
        """What is to start later, by slot."""

    async def cursors(
        self, pairs: Collection[tuple[bytes, bytes]] | None = None
    ) -> dict[tuple[bytes, bytes], int]:
        """For (worker uid, schedule uid) with an open span, all of them or these: the last slot
        that is decided or waits, or the span's beginning; runs that are `ahead` do not count."""

    async def skipped_by_overlap(self, run_ids: Sequence[bytes]) -> dict[bytes, int]:
        """Of these runs: how many later slots of its schedule on its worker were skipped because
        one was still running; those with none are left out."""

    async def took(self, worker_uid: bytes, schedule_uid: bytes, limit: int) -> list[int]:
        """How long the last runs took that ended ok, in microseconds, the newest first."""

    async def gaps(self, worker_uid: bytes) -> list[GapRow]:
        """The records of a worker that are lost, by time."""

    async def refusals(self, run_ids: Collection[bytes]) -> list[RefusalRow]:
        """The offers that were refused, of these starts."""

    async def events(
        self,
        since: int,
        limit: int = 100,
        *,
        until: int | None = None,
        kinds: Collection[str] = (),
        worker: str | None = None,
    ) -> list[EventRow]:
        """What happened from `since` on, up to `until`, newest first; of these kinds alone, of
        this worker alone, where that is given."""

    async def schedule_versions(self, uid: bytes) -> list[VersionRow]:
        """All that a schedule ever was, oldest first; the one in force, if any, is the last."""

    async def schedule_words(self) -> dict[bytes, str]:
        """The name that each schedule has, or had last, by its uid."""

    async def record_ranges(self, rows: Sequence[SlotRange]) -> int:
        """Store the server's own verdicts of slots that nobody will report any more.

        A range that begins where one of verdict *lost* does takes its place; where a worker has
        given a verdict, nothing changes. Returns how many counted.
        """

    async def give_up_runs(self, run_ids: Sequence[bytes], reason: str, now: int) -> int:
        """Runs that have no verdict are *lost*; what waits of them goes. How many they were."""

    async def query(self, sql: str, limits: QueryLimits) -> QueryResult:
        """One SELECT over views without credentials. Raises `UserError` with the database's own
        words where it is none or fails, or takes longer than the limits allow."""

    # -- housekeeping -----------------------------------------------------------------------------

    async def prune(
        self, keep: Retention, now: int, *, batch: int = 500, dry_run: bool = False
    ) -> Pruned:
        """Drop one small step of what `keep` does not keep; with `dry_run` count all of it."""
