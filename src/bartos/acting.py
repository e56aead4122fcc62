"""What operators do, and how far it has got: runs, cancellations, pauses, drains, and commands.

An action is done by the dispatcher; here is found out who is meant by it, and who of them has
confirmed it. Workers that are away are told when they come back.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from bartos.dispatch_events import ExecAsked, RunAsked, Wanted
from bartos.dispatching import Dispatching, cancel_request
from bartos.floating import holds, pause_words
from bartos.hub import Hub
from bartos.plan import may_run, spec_of
from bartos.planning import Planner, facts_of
from bartos.schedules import Definition
from bartos.store.orders import ALL_SCHEDULES, NOBODY, DrainRow, OrderRow, PauseRow
from bartos.store.port import FAILURES, RunFilter, RunRow, Store, WorkerRow
from libbarto.clock import Clock
from libbarto.errors import UserError
from libbarto.harmless import as_command
from libbarto.identity import Kind
from libbarto.message.v2.record import Verdict
from libbarto.message.v2.schedule import SCHEDULE, Schedule
from libbarto.selector import Selector
from libbarto.session import OFFER_SPEC_MAX

Look: TypeAlias = "Callable[[], Awaitable[Done]]"

LOOK_BACK: Final = 10_000
"""So many runs are looked at for the failed ones of a last slot."""

LOOK_AGAIN_S: Final = 0.02

EXEC_UID: Final = hashlib.sha256(b"4:exec,").digest()[:16]
"""Stands for a schedule where a command is in none."""
EXEC: Final = "exec"
"""Its name there."""
EXEC_WITHIN_US: Final = 60_000_000
"""So long after it was asked for a command may start: nobody wants it hours later."""
SHOWN_COMMAND: Final = 200
"""Characters of a command that are told back to who may want it again."""

CONFIRMED: Final = "confirmed"
PENDING: Final = "pending"
OFFLINE: Final = "offline"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class Meant:
    """A worker that an action means, and how far it has got there.

    `state` is `confirmed`, `pending` (connected, and nothing heard yet), `offline` or `refused`.
    `worker` is empty where the server chooses one and has not yet.
    """

    worker: str
    state: str
    run_id: bytes | None = None
    verdict: Verdict | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """An action, and whom it means. `request` names one that makes starts."""

    meant: Sequence[Meant]
    request: bytes | None = None
    schedules: Sequence[str] = ()

    def count(self, state: str) -> int:
        """How many of them are in this state."""
        return sum(one.state == state for one in self.meant)


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks for something, and why."""

    name: str
    reason: str = ""


class Drained(UserError):
    """All workers that were asked for start nothing, as someone wished."""


class Actions:
    """What operators do. `new_id` makes the 16 bytes of a UUID."""

    def __init__(
        self,
        store: Store,
        dispatching: Dispatching,
        hub: Hub,
        planner: Planner,
        clock: Clock,
        new_id: Callable[[], bytes],
    ) -> None:
        self._store = store
        self._dispatching = dispatching
        self._hub = hub
        self._planner = planner
        self._clock = clock
        self._new_id = new_id

    @property
    def definitions(self) -> Sequence[Definition]:
        """The schedules in force."""
        return self._planner.definitions

    # -- starts by hand ---------------------------------------------------------------------------

    async def run(
        self,
        definition: Definition,
        on: str | None,
        who: Who,
        *,
        request: bytes | None = None,
        wait: float = 0.0,
        dry_run: bool = False,
    ) -> Done:
        """Have a schedule run now: on each of its workers (that `on` selects), or where the server
        chooses. Raises `UserError` where it cannot run anywhere."""
        wanted, refused = self._without_drained(await self._wanted(definition, on))
        if dry_run:
            return self._plan([(one, definition.name) for one in wanted], refused)
        return await self._start(wanted, who, request, (), wait, refused)

    def _without_drained(self, wanted: Sequence[Wanted]) -> tuple[list[Wanted], list[Meant]]:
        """Which of these may be started, and the others. Raises `Drained` where none may."""
        left: list[Wanted] = []
        refused: list[Meant] = []
        for one in wanted:
            reason = None if one.worker is None else self.drained(one.worker[0])
            if one.worker is None or reason is None:
                left.append(one)
            else:
                refused.append(Meant(one.worker[1], REFUSED, None, None, reason))
        if refused and not left:
            more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
            raise Drained(refused[0].reason + more)
        return left, refused

    def drained(self, uid: bytes) -> str | None:
        """Why a worker starts nothing now, and how it does again; None where it is not drained."""
        row = self._planner.drains.get(uid)
        if row is None or not holds(row, self._clock.now()):
            return None
        return (
            f"{row.worker} is drained ({pause_words(row)}) and starts nothing; "
            f"{as_command('barto', 'undrain', row.worker)} lets it start again"
        )

    async def _wanted(self, definition: Definition, on: str | None) -> list[Wanted]:
        self._may_start(definition)
        if definition.floating and on is None:
            return [Wanted(definition.uid)]
        rows = await self._workers_of(definition)
        if on is not None:
            selector = Selector.parse(on)
            chosen = [row for row in rows if selector.matches(row.name, facts_of(row).words)]
            if rows and not chosen:
                names = ", ".join(row.name for row in rows[:5]) + (", …" if len(rows) > 5 else "")
                raise UserError(
                    f'no worker of schedule "{definition.name}" is meant by "{on}"; it runs on '
                    f"{names}"
                )
            rows = chosen
        if not rows:
            raise UserError(
                f'schedule "{definition.name}" has no worker: none is known that '
                f'workers = "{definition.workers}" means'
            )
        if definition.floating and len(rows) > 1:
            raise UserError(
                f'one worker runs schedule "{definition.name}" at a time, and "{on}" means '
                f"{len(rows)}: name one, or leave it out and the server chooses"
            )
        return [Wanted(definition.uid, (row.uid, row.name)) for row in rows]

    def _may_start(self, definition: Definition) -> None:
        if not definition.enabled:
            raise UserError(f'schedule "{definition.name}" is disabled (enabled = false)')
        size = len(SCHEDULE.encode(spec_of(definition)))
        if size > OFFER_SPEC_MAX:
            raise UserError(
                f'schedule "{definition.name}" has {size} bytes of commands, at most '
                f"{OFFER_SPEC_MAX} can be sent for a single start: put them into a file"
            )

    async def _workers_of(self, definition: Definition) -> list[WorkerRow]:
        rows = await self._store.workers()
        return [row for row in rows if may_run(definition, facts_of(row))]

    async def rerun(
        self,
        runs: Sequence[RunRow],
        who: Who,
        *,
        request: bytes | None = None,
        wait: float = 0.0,
        dry_run: bool = False,
    ) -> Done:
        """Make runs once more, by the schedules that are in force now, each on its worker, or
        where the server chooses. Raises `UserError` where a schedule is gone, or where there was
        none."""
        wanted: dict[tuple[bytes, bytes], Wanted] = {}
        by_uid = {definition.uid: definition for definition in self.definitions}
        names = []
        for run in runs:
            definition = by_uid.get(run.schedule_uid)
            if run.kind == Kind.EXEC:
                raise UserError(
                    "a command that is in no schedule is not made again; ask for it anew: "
                    f"barto exec --on {run.worker} -- {await self._command_of(run)}"
                )
            if definition is None:
                raise UserError(f'schedule "{run.schedule}" is not in force any more')
            self._may_start(definition)
            worker = None if definition.floating else (run.worker_uid, run.worker)
            key = definition.uid, NOBODY if worker is None else worker[0]
            if key not in wanted:
                wanted[key] = Wanted(definition.uid, worker)
                names.append(definition.name)
        left, refused = self._without_drained(list(wanted.values()))
        if dry_run:
            by_name = dict(zip(wanted.values(), names, strict=True))
            return self._plan([(one, by_name[one]) for one in left], refused)
        again = tuple(run.run_id for run in runs)
        return await self._start(left, who, request, again, wait, refused)

    async def _command_of(self, run: RunRow) -> str:
        """What a run of no schedule ran, as one writes it, where that is short and known."""
        for step in await self._store.steps(run.run_id):
            if len(step.command) <= SHOWN_COMMAND:
                return shlex.quote(step.command)
        return "COMMAND"

    async def execute(
        self,
        on: str,
        command: str,
        who: Who,
        *,
        shell: Sequence[str] = ("/bin/sh", "-c"),
        timeout: float | None = None,
        request: bytes | None = None,
        wait: float = 0.0,
        dry_run: bool = False,
    ) -> Done:
        """Run a command once, in no schedule, on each worker that `on` selects; `timeout` in
        seconds. Raises `UserError` where it cannot run anywhere."""
        selector = Selector.parse(on)
        rows = [
            row
            for row in await self._store.workers()
            if selector.matches(row.name, facts_of(row).words)
        ]
        if not rows:
            raise UserError(f'no worker is meant by "{on}"')
        spec = Schedule(
            uid=EXEC_UID,
            name=EXEC,
            calendars=[],
            steps=[command],
            shell=list(shell),
            timeout_us=None if timeout is None else round(timeout * 1e6),
            overlap="allow",
            missed="none",
        )
        size = len(SCHEDULE.encode(spec))
        if size > OFFER_SPEC_MAX:
            raise UserError(
                f"the command has {size} bytes, at most {OFFER_SPEC_MAX} can be sent: put it into "
                "a file there"
            )
        wanted, refused = self._without_drained(
            [Wanted(EXEC_UID, (row.uid, row.name)) for row in rows]
        )
        if dry_run:
            return self._plan([(one, EXEC) for one in wanted], refused)
        workers = [one.worker for one in wanted if one.worker is not None]
        request = request or self._new_id()
        await self._dispatching.run(
            ExecAsked(request, workers, spec, EXEC_WITHIN_US, who.name, who.reason)
        )
        return await self.started(request, wait, refused)

    async def last_failed(self, schedule: str) -> list[RunRow]:
        """The failed runs of a schedule's last planned start: of each worker its newest, where the
        calendar draws an instant for each (`R`)."""
        rows = await self._store.runs(RunFilter(schedule=schedule, limit=LOOK_BACK))
        planned = [row for row in rows if row.kind in {Kind.CALENDAR, Kind.FOLLOW}]
        if not planned:
            return []
        newest: dict[bytes, RunRow] = {}
        for row in planned:
            newest.setdefault(row.worker_uid, row)
        definition = next(
            (one for one in self.definitions if one.uid == planned[0].schedule_uid), None
        )
        drawn = definition is not None and any("R" in text for text in definition.calendars)
        return [
            row
            for row in newest.values()
            if row.verdict in FAILURES and (drawn or row.slot == planned[0].slot)
        ]

    def _plan(self, wanted: Sequence[tuple[Wanted, str]], refused: Sequence[Meant]) -> Done:
        meant = []
        for one, _ in wanted:
            if one.worker is None:
                meant.append(Meant("", PENDING if len(self._hub) else OFFLINE))
            else:
                meant.append(Meant(one.worker[1], self._away_or(one.worker[0])))
        return Done([*meant, *refused], None, sorted({name for _, name in wanted}))

    async def _start(
        self,
        wanted: Sequence[Wanted],
        who: Who,
        request: bytes | None,
        again: Sequence[bytes],
        wait: float,
        refused: Sequence[Meant],
    ) -> Done:
        request = request or self._new_id()
        await self._dispatching.run(RunAsked(request, wanted, who.name, who.reason, again))
        return await self.started(request, wait, refused)

    async def started(
        self, request: bytes, wait: float = 0.0, refused: Sequence[Meant] = ()
    ) -> Done:
        """How far a request for starts has got; waits for those that are connected to confirm.
        `refused` are those that were not asked at all."""

        async def look() -> Done:
            rows = await self._store.orders(request=request)
            names = sorted({row.intent.schedule for row in rows})
            return Done([*(self._order(row) for row in rows), *refused], request, names)

        return await self._wait(look, wait)

    def _order(self, row: OrderRow) -> Meant:
        intent = row.intent
        uid: bytes | None = intent.worker_uid
        if uid == NOBODY:
            uid = self._dispatching.running(intent.schedule_uid).get(intent.run_id)
        member = None if uid is None else self._hub.find(uid)
        worker = intent.worker or row.claimed_by or ("" if member is None else member.name)
        heard = self._dispatching.heard(intent.run_id)
        if row.claimed or row.verdict is not None or (heard is not None and heard.accepted):
            state = CONFIRMED
        elif uid is None:
            state = PENDING if len(self._hub) else OFFLINE
        else:
            state = self._away_or(uid)
        return Meant(worker, state, intent.run_id, row.verdict, row.reason)

    # -- ends by hand -----------------------------------------------------------------------------

    def going_on(self, definition: Definition) -> list[bytes]:
        """The runs of a schedule that have no verdict, and its starts that are to be made."""
        uid = definition.uid
        return [*self._dispatching.running(uid), *self._dispatching.pending(uid)]

    def known_of(self, definition: Definition) -> list[bytes]:
        """What goes on of a schedule, for who only looks: nothing before the store was read."""
        return self.going_on(definition) if self._dispatching.begun else []

    async def waiting(self, most: int) -> list[OrderRow]:
        """Starts that the server wants made and no worker has claimed, for who only looks: no more
        than `most` are looked at, and none before the store was read."""
        if not self._dispatching.begun:
            return []
        ids = [run_id for one in self.definitions for run_id in self._dispatching.pending(one.uid)]
        found: list[OrderRow] = []
        for run_id in ids[:most]:
            found += await self._store.orders(run_id=run_id)
        return [one for one in found if not one.claimed and one.verdict is None]

    def is_over(self, run_id: bytes) -> bool:
        """Has this run a verdict, and is nothing of it to be started?"""
        return not self._dispatching.knows(run_id)

    async def cancel(
        self, run_ids: Sequence[bytes], who: Who, *, wait: float = 0.0, dry_run: bool = False
    ) -> Done:
        """End runs, and give up starts that are not made yet."""
        workers = {run_id: await self._meant_for(run_id) for run_id in run_ids}
        names = {row.uid: row.name for row in await self._store.workers()}
        if not dry_run and run_ids:
            await self._dispatching.cancel(run_ids, who.name, who.reason)

        async def look() -> Done:
            return Done([self._end(run_id, uid, names) for run_id, uid in workers.items()])

        return await self._wait(look, 0.0 if dry_run else wait)

    async def _meant_for(self, run_id: bytes) -> bytes | None:
        uid = self._dispatching.worker_of(run_id)
        if uid is not None:
            return uid
        ordered = await self._store.orders(run_id=run_id)
        return ordered[0].intent.worker_uid if ordered else None

    def _end(self, run_id: bytes, uid: bytes | None, names: Mapping[bytes, str]) -> Meant:
        member = None if uid is None else self._hub.find(uid)
        name = "" if uid is None else names.get(uid, "")
        heard = self._dispatching.heard(cancel_request(run_id))
        if self.is_over(run_id):
            return Meant(name, CONFIRMED, run_id)
        if heard is not None:
            return Meant(name, CONFIRMED if heard.accepted else REFUSED, run_id, None, heard.reason)
        return Meant(name, PENDING if member is not None else OFFLINE, run_id)

    # -- pauses -----------------------------------------------------------------------------------

    async def pause(
        self,
        definitions: Sequence[Definition] | None,
        who: Who,
        *,
        until: int | None = None,
        wait: float = 0.0,
        dry_run: bool = False,
    ) -> Done:
        """Pause schedules, or (None) all. Each worker has confirmed when it has taken on a version
        of its set that says so."""
        now = self._clock.now()
        keys = _pause_keys(definitions)
        rows = [PauseRow(uid, name, who.name, now, who.reason, until) for uid, name in keys.items()]
        if not dry_run:
            await self._dispatching.pause(rows)
        return await self._sets(definitions, keys, 0.0 if dry_run else wait)

    async def resume(
        self,
        definitions: Sequence[Definition] | None,
        who: Who,
        *,
        wait: float = 0.0,
        dry_run: bool = False,
    ) -> Done:
        """End the pauses of schedules, or (None) the one of all. Raises `UserError` where there is
        none."""
        keys = _pause_keys(definitions)
        held = keys.keys() & self._planner.pauses.keys()
        if not held:
            what = "nothing is paused as a whole" if definitions is None else "it is not paused"
            every = ALL_SCHEDULES in self._planner.pauses
            raise UserError(f"{what}{'; all schedules are (resume --all)' if every else ''}")
        if not dry_run:
            await self._dispatching.resume(held, who.name)
        return await self._sets(definitions, keys, 0.0 if dry_run else wait)

    async def pauses(self) -> list[PauseRow]:
        """Those in force."""
        return await self._store.pauses()

    # -- drains -----------------------------------------------------------------------------------

    async def drain(
        self,
        worker: WorkerRow,
        who: Who,
        *,
        until: int | None = None,
        wait: float = 0.0,
        dry_run: bool = False,
    ) -> Done:
        """Let a worker start nothing from now on; what runs there goes on."""
        row = DrainRow(worker.uid, worker.name, who.name, self._clock.now(), who.reason, until)
        if not dry_run:
            await self._dispatching.drain([row])
        return await self._told(worker, 0.0 if dry_run else wait)

    async def undrain(
        self, worker: WorkerRow, who: Who, *, wait: float = 0.0, dry_run: bool = False
    ) -> Done:
        """Let a worker start again. Raises `UserError` where it is not drained."""
        if worker.uid not in self._planner.drains:
            raise UserError(f"{worker.name} is not drained")
        if not dry_run:
            await self._dispatching.undrain([worker.uid], who.name)
        return await self._told(worker, 0.0 if dry_run else wait)

    async def _told(self, worker: WorkerRow, wait: float) -> Done:
        hashes: dict[bytes, bytes] = {}

        async def look() -> Done:
            return Done([Meant(worker.name, self._set_state(worker, hashes))])

        return await self._wait(look, wait)

    async def _sets(
        self,
        definitions: Sequence[Definition] | None,
        keys: Mapping[bytes, str],
        wait: float,
    ) -> Done:
        pinned = [
            one
            for one in (self.definitions if definitions is None else definitions)
            if one.enabled and not one.floating
        ]
        known = await self._store.workers()
        rows = [row for row in known if any(may_run(one, facts_of(row)) for one in pinned)]
        names = sorted(name for name in keys.values() if name)

        hashes: dict[bytes, bytes] = {}

        async def look() -> Done:
            found = [Meant(row.name, self._set_state(row, hashes)) for row in rows]
            return Done(found, None, names)

        return await self._wait(look, wait)

    def _set_state(self, row: WorkerRow, hashes: dict[bytes, bytes]) -> str:
        member = self._hub.find(row.uid)
        if member is None:
            return OFFLINE
        if row.uid not in hashes:
            hashes[row.uid] = hashlib.sha256(self._planner.set_for(row)).digest()
        wanted = hashes[row.uid]
        is_there = member.set_hash == wanted and member.applied >= member.generation
        return CONFIRMED if is_there else PENDING

    # -- waiting ----------------------------------------------------------------------------------

    def _away_or(self, uid: bytes) -> str:
        return OFFLINE if self._hub.find(uid) is None else PENDING

    async def _wait(self, look: Look, seconds: float) -> Done:
        """Look again whenever something has changed, until all that are connected have confirmed,
        or so many seconds are over."""
        end = self._clock.boottime() + seconds
        while True:
            changed = self._dispatching.next_change()
            done = await look()
            left = end - self._clock.boottime()
            if not done.count(PENDING) or left <= 0 or not await changed(left):
                return done
            # Of many that answer at once, not each is looked at by itself.
            await self._clock.sleep(min(left, LOOK_AGAIN_S + len(done.meant) / 5000))


def _pause_keys(definitions: Collection[Definition] | None) -> dict[bytes, str]:
    if definitions is None:
        return {ALL_SCHEDULES: ""}
    return {one.uid: one.name for one in definitions}
