"""A server's faces over a store in memory, and a history to fill that with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bartos.acting import Actions
from bartos.alerting import Alerting
from bartos.audit import Auditor
from bartos.channels import Channel
from bartos.dispatching import Dispatching
from bartos.feed import Feed
from bartos.heartbeat import Heartbeat
from bartos.hub import Hub
from bartos.outlook import Here
from bartos.overview import Overview
from bartos.planning import Planner
from bartos.services import Connected, Facts, Joined, Services
from bartos.store.memory import MemoryStore
from bartos.store.port import (
    Batch,
    EpochClaim,
    Pruned,
    QueryLimits,
    QueryResult,
    Retention,
    ScheduleRow,
    WorkerRow,
)
from bartos.watch import Watch
from libbarto.errors import UserError
from libbarto.identity import Kind, occurrence_id, schedule_uid
from libbarto.message.v2 import segment
from libbarto.message.v2.record import (
    Claimed,
    Decided,
    Ended,
    Lane,
    Output,
    Record,
    SetApplied,
    Started,
    Status,
    Stream,
    StreamTotals,
    Verdict,
    Waiting,
)
from libbarto.message.v2.schedule import Schedule
from libbarto.timing import timing_hash, timing_text

KEY = "correct horse battery staple"
SECOND = 1_000_000
NOON = 1_795_521_600 * SECOND
"""2026-11-24T12:00:00Z."""

OUT, ERR, MARKER = Stream.STDOUT, Stream.STDERR, Stream.MARKER


class Store(MemoryStore):
    """A store in memory that also remembers what it was asked to prune, and knows one query."""

    def __init__(self) -> None:
        super().__init__()
        self.pruned: list[tuple[Retention, bool]] = []
        self.to_prune = [Pruned(5, 1000, 2, 1)]
        self.results: dict[str, QueryResult] = {}

    async def query(self, sql: str, limits: QueryLimits) -> QueryResult:
        if sql not in self.results:
            raise UserError(f"no such query: {sql}")
        return self.results[sql]

    async def prune(
        self, keep: Retention, now: int, *, batch: int = 500, dry_run: bool = False
    ) -> Pruned:
        self.pruned.append((keep, dry_run))
        return self.to_prune[min(len(self.pruned), len(self.to_prune)) - 1]


@dataclass
class Fleet:
    """Who is said to be connected, and what was asked of them."""

    here: list[Connected] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    refused: dict[bytes, str] = field(default_factory=dict)
    reset: list[tuple[str, str, str]] = field(default_factory=list)

    def connected(self) -> list[Connected]:
        return list(self.here)

    async def clean_up_workers(self, before: int) -> int:
        self.asked.append(before)
        return len(self.here)

    def alarms(self) -> dict[bytes, str]:
        return dict(self.refused)

    async def reset_worker(self, row: WorkerRow, who: str, reason: str) -> None:
        self.reset.append((row.name, who, reason))


@dataclass
class Enrolment:
    """Gives the code `code-NAME`, and takes the secret `open sesame`."""

    url: str = "https://barto.test:21526"
    ca_pem: str | None = "-----BEGIN CERTIFICATE-----\n"

    def join_code(self, name: str, labels: Mapping[str, str]) -> str:
        if " " in name:
            raise UserError(f'"{name}" is no name for a worker')
        return "-".join(["code", name, *(f"{key}.{value}" for key, value in labels.items())])

    def join(self, secret: str) -> Joined | None:
        if secret != "open sesame":
            return None
        return Joined("web1", "barto.test", 21526, "PEM", "worker key", "public", {"role": "web"})


@dataclass
class StoppedClock:
    """A clock that stands still."""

    at: int = NOON
    boot_id: bytes = bytes(16)

    def now(self) -> int:
        return self.at

    def boottime(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing in the faces waits")


@dataclass
class Barto:
    """The faces' services, with every part at hand. `facts` may be exchanged."""

    store: Store = field(default_factory=Store)
    fleet: Fleet = field(default_factory=Fleet)
    enrolment: Enrolment = field(default_factory=Enrolment)
    facts: Facts = field(default_factory=lambda: Facts(KEY, "sqlite barto.db", "bartos.toml"))
    clock: StoppedClock = field(default_factory=StoppedClock)
    seqs: dict[tuple[bytes, Lane], int] = field(default_factory=dict)
    feed: Feed = field(default_factory=Feed)
    planner: Planner = field(default_factory=Planner)
    channels: dict[str, Channel] = field(default_factory=dict)
    heartbeat: Heartbeat | None = None

    @property
    def services(self) -> Services:
        facts: Callable[[], Facts] = lambda: self.facts  # noqa: E731 (read anew at each call)
        return Services(
            self.store,
            self.fleet,
            self.enrolment,
            facts,
            self.clock,
            self.actions,
            Watch(self.store, self.planner, self.clock, self.ahead),
            Auditor(self.store, self.clock, self.ahead, lambda: 30 * 86_400.0),
            self.feed,
            self.planner,
            Overview(
                self.store,
                self.planner,
                self.clock,
                Watch(self.store, self.planner, self.clock, self.ahead),
                lambda: {one.uid: Here(one.confirmed) for one in self.fleet.here},
            ),
            self.alerting,
        )

    @property
    def alerting(self) -> Alerting:
        """Alerts by the channels that the test has put up."""
        watch = Watch(self.store, self.planner, self.clock, self.ahead)
        return Alerting(
            self.store,
            self.planner,
            self.clock,
            watch,
            channels=lambda: self.channels,
            url="https://barto.example",
            new_id=lambda: bytes(16),
            heartbeat=self.heartbeat,
        )

    def ahead(self) -> dict[bytes, int]:
        """Who is connected, and what each one's clock is ahead."""
        return {one.uid: one.clock_offset_us or 0 for one in self.fleet.here}

    @property
    def actions(self) -> Actions:
        """Actions of a server that nobody is connected to, and whose dispatcher does not run."""
        hub = Hub()
        desk = Dispatching(self.store, hub, self.planner, self.clock)
        return Actions(self.store, desk, hub, self.planner, self.clock, lambda: bytes(16))

    def uid(self, worker: str) -> bytes:
        return worker.encode().ljust(16, b".")

    async def worker(self, name: str, *, connected: bool = True, **facts: str) -> bytes:
        """Let a worker have been here, and be here now if it is `connected`."""
        uid = self.uid(name)
        claim = EpochClaim(
            uid=uid,
            name=name,
            epoch=1,
            spool_id=uid,
            labels={"role": "web"},
            version="2.0.0",
            capabilities={"os": "Debian", "os_version": "12", **facts},
            address="192.0.2.9",
            now=NOON,
        )
        await self.store.confirm_epoch(claim)
        if connected:
            link = Connected(name, uid, "192.0.2.10", NOON - 60 * SECOND, "2.0.1", 1500)
            self.fleet.here.append(link)
        return uid

    async def _record(self, worker: str, lane: Lane, records: Sequence[Record]) -> None:
        uid = self.uid(worker)
        if await self.store.worker(uid) is None:
            await self.worker(worker)
        first = self.seqs.get((uid, lane), 0) + 1
        self.seqs[uid, lane] = first + len(records) - 1
        batch = Batch(uid, worker, uid, lane, 1, first, bytes(8), records)
        assert await self.store.append([batch]) == [True]

    async def run(
        self,
        worker: str,
        schedule: str,
        slot: int = NOON,
        printed: Iterable[tuple[Stream, bytes]] = (),
        *,
        verdict: Verdict | None = Verdict.OK,
        codes: Sequence[int | str] = (0,),
        reason: str = "",
        seconds: float = 2.0,
        cut_bytes: int = 0,
        whole: bool = True,
    ) -> str:
        """Let something have run; returns its id in hex. A code that is text is a signal ("9").

        Each piece of `printed` is a chunk. `verdict` None: it still runs. Not `whole`: some of
        the output is on its way.
        """
        uid = schedule_uid(schedule)
        run_id = occurrence_id(Kind.CALENDAR, uid, self.uid(worker), slot)
        began, ended = slot + 1000, slot + 1000 + round(seconds * 1e6)
        offset, chunks, totals = 0, list[Record](), {OUT: b"", ERR: b"", MARKER: b""}
        for number, (stream, data) in enumerate(printed):
            pieces = segment.pack([segment.Segment(stream=stream, length=len(data))])
            chunk = Output(
                run_id=run_id,
                attempt=1,
                chunk_no=number,
                step=1,
                offset=offset,
                first_line=0,
                lines=data.count(b"\n"),
                started_at=began + number * 1000,
                segments=pieces,
                data=data,
            )
            chunks.append(chunk)
            offset += len(data)
            totals[stream] += data
        began_with: list[Record] = [
            Claimed(
                run_id=run_id,
                attempt=1,
                kind=Kind.CALENDAR,
                schedule_uid=uid,
                schedule=schedule,
                slot=slot,
                at=slot + 500,
                generation=17,
            ),
            Started(run_id=run_id, attempt=1, pid=4711, at=began),
        ]
        await self._record(worker, Lane.STATE, began_with)
        if chunks:
            await self._record(worker, Lane.OUTPUT, chunks)
        state: list[Record] = []
        if verdict is not None:
            for step, code in enumerate(codes, start=1):
                state.append(
                    Status(
                        run_id=run_id,
                        attempt=1,
                        step=step,
                        command=f"step {step}",
                        exit_code=code if isinstance(code, int) else None,
                        signal=int(code) if isinstance(code, str) else None,
                        success=code == 0,
                        started_at=began,
                        ended_at=ended,
                    )
                )
            last = self.seqs.get((self.uid(worker), Lane.OUTPUT), 0)
            state.append(
                Ended(
                    run_id=run_id,
                    attempt=1,
                    verdict=verdict,
                    reason=reason,
                    started_at=began,
                    ended_at=ended,
                    output_seq=last if whole else last + 1,
                    totals=[
                        StreamTotals(
                            stream=stream,
                            bytes_=len(data) + (cut_bytes if stream is OUT else 0),
                            lines=0,
                            sha256=hashlib.sha256(data).digest(),
                        )
                        for stream, data in totals.items()
                        if stream is not MARKER
                    ],
                    cut_bytes=cut_bytes,
                )
            )
        if state:
            await self._record(worker, Lane.STATE, state)
        return run_id.hex()

    async def did_not_run(
        self, worker: str, schedule: str, first: int, last: int, count: int, reason: str
    ) -> None:
        """Let slots have been missed."""
        decided = Decided(
            schedule_uid=schedule_uid(schedule),
            schedule=schedule,
            first_slot=first,
            last_slot=last,
            count=count,
            verdict=Verdict.MISSED,
            reason=reason,
        )
        await self._record(worker, Lane.STATE, [decided])

    async def takes_on(self, worker: str, *schedules: str, connected: bool = True) -> None:
        """Let a worker take on schedules at noon, each due every minute from then on."""
        await self.worker(worker, connected=connected)
        uids = [schedule_uid(name) for name in schedules]
        text = timing_text(Schedule(uid=bytes(16), name="", calendars=["*:*"], steps=[]))
        await self.store.keep_timings({timing_hash(text): text})
        rows = [ScheduleRow(uid, name, "{}") for uid, name in zip(uids, schedules, strict=True)]
        await self.store.replace_schedules(rows, NOON)
        record = SetApplied(
            generation=1,
            at=NOON,
            schedules=uids,
            timings=[timing_hash(text)] * len(uids),
            since=[NOON] * len(uids),
        )
        await self._record(worker, Lane.STATE, [record])

    async def waits(self, worker: str, schedule: str, slot: int) -> None:
        """Let a planned start wait for the end of the run before."""
        uid = schedule_uid(schedule)
        record = Waiting(
            run_id=occurrence_id(Kind.CALENDAR, uid, self.uid(worker), slot),
            attempt=1,
            kind=Kind.CALENDAR,
            schedule_uid=uid,
            schedule=schedule,
            slot=slot,
            why="queue",
            at=slot,
            due=slot,
        )
        await self._record(worker, Lane.STATE, [record])

    async def tell(self, worker: str, *records: Record) -> None:
        """Let a worker report what was decided."""
        await self._record(worker, Lane.STATE, records)

    def with_key(self, key: str | None) -> None:
        """Let the server have another key, or none."""
        self.facts = replace(self.facts, api_key=key)
