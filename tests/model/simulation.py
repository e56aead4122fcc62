"""Barto whole, in virtual time, under faults: real cores and real loops on simulated disks,
keepers, links and clocks.

A `Simulation` has faults as methods and watches all the time; `heal` ends every fault, lets
things settle, and compares the history with what the witness saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import Final

from bartos.dispatch_events import RunAsked, Wanted
from bartos.ledger import View, account_of_orders
from bartos.store.orders import PauseRow
from libbarto.errors import StoreUnavailable
from libbarto.message.v2.record import Verdict
from libbarto.testing import FakeClock, Link, settled
from tests.model.broken import Findings
from tests.model.disk import ModelJournal
from tests.model.history import ModelStore
from tests.model.luck import Luck
from tests.model.schedules import configuration
from tests.model.witness import Start, Witness, WitnessRunner
from tests.system.world import SERVER, WorkerHost, World, named

HEAL_S: Final = 150.0
"""A clock that was put back is believed after two minutes; the rest is for what comes then."""
CONVERGE_S: Final = 60
FAR: Final = 1_000_000


@dataclass
class ModelHost(WorkerHost):
    """A simulated host."""

    down: bool = False

    @property
    def disk(self) -> ModelJournal:
        """The journal, as what it is here."""
        assert isinstance(self.journal, ModelJournal)
        return self.journal

    @property
    def keeper(self) -> WitnessRunner:
        """The runner, as what it is here."""
        assert isinstance(self.runner, WitnessRunner)
        return self.runner

    async def crash(self) -> None:
        """kill -9 bartoc."""
        if not self.down:
            self.down = True
            await super().crash()

    def state(self) -> str:
        """What its bartoc does, for whoever looks for a cause."""
        ends = [f"{task.get_name()} ended: {task}" for task in self.tasks if task.done()]
        connection = self.connection
        said = "" if connection is None else connection._said
        lanes = {lane.name: facts for lane, facts in self.disk.lanes().items()}
        return f"down={self.down} {ends} said={said!r} epoch={self.disk.epoch} {lanes}"

    def start(self) -> None:
        """bartoc comes up, unless it is up."""
        if self.down or not self.tasks:
            self.down = False
            super().start()


class Noted:
    """The note of how far the database has come, in the server's state directory: it is not put
    back with the database."""

    def __init__(self) -> None:
        self._commits = 0

    def read(self) -> int:
        return self._commits

    def write(self, commits: int) -> None:
        self._commits = commits


class Simulation:
    """`hosts` workers and a server; `seed` decides everything that is left to chance."""

    def __init__(self, seed: int, hosts: int = 3) -> None:
        self.rng = random.Random(seed)
        self.luck = Luck(self.rng)
        self.findings = Findings()
        self.witness = Witness(self.findings)
        self.world = World()
        self.store = ModelStore(self.findings, self.luck)
        self.world.store = self.store
        self.world.witness = Noted()
        self.hosts: list[ModelHost] = []
        self.restores = self.rng.random() < 0.5
        """Whether the database is put back now and then; then workers keep what is acknowledged,
        else they let go of it at once."""
        self._named = 0
        self._wanted = hosts
        self._ranges = 0

    @property
    def occurrences(self) -> int:
        """How many planned starts were decided so far."""
        return self.witness.count + self._ranges + sum(map(_in_ranges, self.hosts))

    # -- life -------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Server and workers come up."""
        await self.world.start_server(configuration(self.rng))
        for _ in range(self._wanted):
            self._add()
        await self.pass_time(2.0)

    def _add(self) -> None:
        name = f"w{self._named}"
        self._named += 1
        clock = FakeClock(self.world.clock.now(), boot_id=named(f"boot {name}"))
        ids = named(f"worker {name}"), named(f"spool {name}")
        journal = ModelJournal(name, *ids, self.findings, self.luck, self.store)
        runner = WitnessRunner(clock, name, journal, self.witness, self.luck)
        host = ModelHost(self.world, name, Link(name, SERVER), clock, journal, runner)
        self.hosts.append(host)
        self.world.workers[name] = host
        host.start()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and all that it brings happen."""
        await asyncio.sleep(seconds)

    async def end(self) -> None:
        """Let everything go."""
        self._mend()
        await self.world.close()

    def host(self) -> ModelHost:
        """One of the hosts, by chance."""
        return self.rng.choice(self.hosts)

    # -- faults -----------------------------------------------------------------------------------

    async def reboot(self, host: ModelHost) -> None:
        """Power off and on."""
        await host.crash()
        host.keeper.restart_host()
        host.clock.reboot()
        await self.pass_time(self.rng.uniform(0.0, 40.0))
        host.start()

    async def restart_server(self, down: float) -> None:
        """End bartos, one way or the other, and start it again after `down` seconds."""
        if self.world.server is not None:
            await self.world.stop_server(crash=self.rng.random() < 0.7)
        await self.pass_time(down)
        self.store.available = True
        await self.world.start_server()

    async def restore_database(self) -> None:
        """The server stops, a backup of some seconds ago is put back, the server starts."""
        if not (self.restores and self.store.available):
            return
        backup = self.store.copy_state()
        await self.pass_time(self.rng.uniform(5.0, 30.0))
        if self.world.server is not None:
            await self.world.stop_server(crash=True)
        self.store.restore(backup)
        await self.world.start_server()

    async def edit(self) -> None:
        """Other schedules from now on."""
        if self.world.server is not None and self.store.available:
            await self.world.configure(configuration(self.rng))

    async def by_hand(self) -> None:
        """Somebody starts, cancels, pauses or resumes something."""
        server = self.world.server
        if server is None or not server.store_open.is_set():
            return
        schedule = self.rng.choice(await self.store.schedules())
        request = self.rng.randbytes(16)
        host = self.host()
        place = self.rng.choice((None, (host.disk.worker_uid, host.name)))
        now = self.world.clock.now()
        until = now + self.rng.choice((5, 60)) * 1_000_000
        pause = PauseRow(schedule.uid, schedule.name, "ann", now, "works", until)
        going = [run_id for one in self.hosts for run_id, _ in one.keeper.alive()]
        dispatching = server.dispatching
        deed = self.rng.choice(
            (
                lambda: dispatching.run(RunAsked(request, (Wanted(schedule.uid, place),), "ann")),
                lambda: dispatching.cancel(going[:2], "ann", "enough"),
                lambda: dispatching.pause((pause,)),
                lambda: dispatching.resume((schedule.uid,), "ann"),
            )
        )
        # Whoever asks may be told that the database is away, or nothing at all.
        with contextlib.suppress(TimeoutError, StoreUnavailable):
            async with asyncio.timeout(20.0):
                await deed()

    def disks_fail(self, chance: float) -> None:
        """Commits fail, or do not report, on every worker and in the database."""
        calls = ("commit", "commit's report", "append", "append's answer")
        self.luck.failing = dict.fromkeys(calls, chance)

    async def prune(self, host: ModelHost) -> None:
        """As bartoc does from time to time: let go of what is acknowledged."""
        if not self.restores:
            await host.journal.prune(0, host.clock.now())

    async def roll_back(self, host: ModelHost) -> None:
        """The state directory is put back to a copy of some seconds ago. Until it is noticed the
        host may do again what it forgot, and say nothing of it; then it is taken out of service."""
        backup = host.copy_disk()
        await self.pass_time(self.rng.uniform(20.0, 40.0))
        host.link.restore()
        await self.pass_time(10.0)
        await host.crash()
        self.store.copies[backup.spool_id] = (host.disk.epoch, backup)
        host.journal = backup
        host.keeper.rolled_back(host.disk)
        host.start()
        await self.pass_time(40.0)
        await self._retire(host)

    async def _retire(self, host: ModelHost) -> None:
        await host.crash()
        self.hosts.remove(host)
        del self.world.workers[host.name]
        await host.runner.open()
        await host.runner.shutdown(0.0)
        await host.runner.close()
        self._ranges += _in_ranges(host)
        self.witness.forget_host(host.name)
        self._add()

    # -- health -----------------------------------------------------------------------------------

    def _mend(self) -> None:
        self.luck.failing.clear()
        self.luck.slow = 0.0
        self.store.available = True
        for host in self.hosts:
            host.link.restore()
            host.link.delay(0.0)

    async def heal(self) -> None:
        """End every fault, wait, and compare."""
        self._mend()
        if self.world.server is None:
            await self.world.start_server()
        for host in self.hosts:
            host.start()
            host.clock.step((self.world.clock.now() - host.clock.now()) / 1e6)
        await self.pass_time(HEAL_S)
        if await self._converged():
            self._compare()
            await self._compare_orders()
            await self._begin_anew()

    async def _converged(self) -> bool:
        """Wait, between two seconds each time, until all that was spooled is acknowledged."""
        behind: list[ModelHost] = []
        for _ in range(CONVERGE_S):
            now = self.world.clock.now()
            await self.pass_time((900_000 - now) % 1_000_000 / 1e6)
            await settled()
            behind = [host for host in self.hosts if not host.disk.delivered()]
            if not behind:
                return True
            await self.pass_time(0.5)
        for host in behind:
            self.findings.found("converged", f"{host.name} has not delivered: {host.state()}")
        return False

    def _compare(self) -> None:
        """The history against what was decided, and against what ran."""
        rows = {row.run_id: row for row in self.store.rows()}
        going = {run_id for host in self.hosts for run_id, _ in host.keeper.alive()}
        for host in self.hosts:
            going |= host.disk.waits()
        for start in self.witness.starts.values():
            row = rows.get(start.run_id)
            if row is None:
                self.findings.found("line", f"{start} is not in the history")
            elif row.attempt == start.attempt and start.run_id not in going:
                self._true(start, row.verdict, row.reason)
                if start.ended and row.attempt == 1:
                    printed = self.store.printed(start.run_id)
                    self.findings.check(
                        printed == bytes(start.printed),
                        "output",
                        f"{start}, the store has {printed!r}",
                    )
        known = going | {run_id for run_id, _ in self.witness.starts}
        uids = {host.disk.worker_uid for host in self.hosts}
        for row in rows.values():
            if row.run_id not in known and row.worker_uid in uids:
                self.findings.check(
                    row.verdict in (Verdict.INTERRUPTED, Verdict.LOST, Verdict.CANCELLED),
                    "true",
                    f"{row} never ran",
                )
        for host in self.hosts:
            self._lines(host)
            left = host.keeper.alive() & host.disk.replaced()
            self.findings.check(not left, "replaced", f"{len(left)} attempts go on, on {host.name}")

    async def _compare_orders(self) -> None:
        """What the server was to start, and what the dispatcher believes of it."""
        rows = {row.run_id: row for row in self.store.rows()}
        assert self.world.server is not None
        dispatching = self.world.server.dispatching
        for schedule in await self.store.schedules():
            for run_id in dispatching.running(schedule.uid):
                row = rows.get(run_id)
                self.findings.check(
                    row is None or row.verdict is None, "told", f"it takes {row} for alive"
                )
        ordered = await self.store.ordered(bytes(16), FAR)
        found = account_of_orders(ordered, View(now=self.world.clock.now()), 0)
        for one in found.findings:
            self.findings.found("ordered", str(one))

    def _true(self, start: Start, verdict: Verdict | None, reason: str) -> None:
        """Does a verdict say what happened?"""
        if start.ended and start.stopped:
            fits = verdict in (Verdict.TIMED_OUT, Verdict.CANCELLED)
        elif start.ended:
            fits = verdict is (Verdict.FAILED if start.failed else Verdict.OK)
        else:
            fits = verdict is Verdict.INTERRUPTED and start.killed and "did not start" not in reason
        self.findings.check(fits, "true", f"{start}; the history says {verdict}, {reason!r}")

    def _lines(self, host: ModelHost) -> None:
        """Every slot that this host decided has one line."""
        uid = host.disk.worker_uid
        runs: dict[bytes, set[int]] = {}
        for row in self.store.rows():
            if row.worker_uid == uid and row.kind == 0:
                runs.setdefault(row.schedule_uid, set()).add(row.slot)
        for schedule, decided in host.disk.decisions.items():
            unseen = decided.runs - runs.get(schedule, set())
            self.findings.check(
                not unseen, "line", f"{host.name}: {len(unseen)} claimed slots have no run"
            )
            ranges = self.store.slots_in_ranges(uid, schedule)
            self.findings.check(
                ranges == decided.ranges or not decided.exact,
                "line",
                f"{host.name}: {decided.ranges} slots were decided in ranges, the history has"
                f" {ranges}",
            )

    async def _begin_anew(self) -> None:
        """Let go of what was compared."""
        await self.store.forget_orders(self.world.clock.now() + 1)
        self._ranges += sum(map(_in_ranges, self.hosts))
        for host in self.hosts:
            host.disk.decisions.clear()
        self.store.forget()
        self.witness.keep(
            {run_id for host in self.hosts for run_id, _ in host.keeper.alive()}
            | {run_id for host in self.hosts for run_id in host.disk.waits()}
        )


def _in_ranges(host: ModelHost) -> int:
    return sum(decided.ranges for decided in host.disk.decisions.values())
