"""The whole of barto in one process, in virtual time, on links that a test can cut.

`World` puts server and workers together as their composition roots do, on the in-memory twins of
every port. A test reads like the sentence it proves.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import random
from dataclasses import dataclass, field

from bartoc.agent import Agent
from bartoc.connection import Connection, Identity
from bartoc.journal_memory import MemoryJournal
from bartoc.runner import ScriptedRunner
from bartoc.worker import Host
from bartos.channels import Channel
from bartos.dispatching import Witness
from bartos.plan import schedule_rows
from bartos.planning import Planner
from bartos.schedules import load_schedules
from bartos.server import Server
from bartos.store.memory import MemoryStore
from bartos.store.port import Retention, RunFilter, RunRow
from libbarto.envelope import SigningKey
from libbarto.message.v2.worker import Capabilities
from libbarto.testing import FakeClock, Link, MemoryNetwork, MemoryTransport, Offer, settled

SERVER = "bartos"
KEY = SigningKey(bytes(range(32)))


def named(text: str) -> bytes:
    """16 bytes that stand for a name."""
    return hashlib.sha256(text.encode()).digest()[:16]


@dataclass
class WorkerHost:
    """A worker's host: its disk and its keeper outlive the bartoc on it."""

    world: World
    name: str
    link: Link
    clock: FakeClock
    journal: MemoryJournal
    runner: ScriptedRunner
    agent: Agent | None = None
    connection: Connection | None = None
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    starts: int = 0

    def start(self) -> None:
        """bartoc comes up."""
        self.starts += 1
        connector = self.world.network.connector(SERVER, host=self.name, link=self.link)
        agent = Agent(
            self.journal,
            self.runner,
            self.clock,
            Host(self.name, {"": ("/root", "root", "/bin/sh")}, self.clock.boot_id),
        )
        connection = Connection(
            self.journal,
            connector,
            Identity(self.name, "2.0.0", {}, Capabilities(os="debian", arch="x86_64")),
            KEY.public,
            self.clock,
            random.Random(f"{self.name} {self.starts}"),
            agent.tell,
        )
        agent.on_records = connection.records_spooled
        agent.on_answer = connection.answer
        connection.on_journal_error = agent.journal_failed
        self.agent, self.connection = agent, connection
        self.tasks = [
            asyncio.create_task(agent.run(), name=f"{self.name} agent"),
            asyncio.create_task(connection.run(), name=f"{self.name} connection"),
        ]

    async def crash(self) -> None:
        """bartoc dies at once; its disk and the keeper stay."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks = []
        await self.runner.close()

    def copy_disk(self) -> MemoryJournal:
        """The state directory as it is now, as a backup or a cloned machine has it."""
        return copy.deepcopy(self.journal)


class World:
    """A server, its store, and workers by name."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.network = MemoryNetwork()
        self.store = MemoryStore()
        self.server: Server | None = None
        self.workers: dict[str, WorkerHost] = {}
        self.retention = Retention()
        self.witness: Witness | None = None
        self.channels: dict[str, Channel] = {}
        self._random = random.Random(7)

    async def start_server(self, toml: str | None = None) -> Server:
        """bartos comes up on its store."""
        await self.store.open()
        if toml is not None:
            await self.configure(toml)
        server = Server(
            self.store,
            Planner(),
            self.clock,
            key=KEY,
            retention=lambda: self.retention,
            random_bytes=self._random.randbytes,
            version="2.0.0",
            witness=self.witness,
            channels=lambda: self.channels,
            url="https://barto.example",
        )
        server.start()
        self.server = server

        async def serve(transport: MemoryTransport, _: Offer) -> None:
            await server.serve_worker(transport)

        self.network.listen(SERVER, serve)
        await settled()
        return server

    async def stop_server(self, *, crash: bool = False) -> None:
        """bartos goes down: in order, or at once as by a kill."""
        assert self.server is not None
        server, self.server = self.server, None
        if crash:
            await self.network.stop(SERVER, crash=True)
            for task in server.tasks:
                task.cancel()
            await asyncio.gather(*server.tasks, return_exceptions=True)
        else:
            await server.stop()
            await self.network.stop(SERVER)

    async def configure(self, toml: str) -> None:
        """The schedules of a bartos.toml become those in force."""
        definitions = load_schedules([("bartos.toml", toml)])
        rows = schedule_rows(definitions, await self.store.schedules(), self.clock.now())
        await self.store.replace_schedules(rows, self.clock.now())
        if self.server is not None:
            self.server.planner.load(await self.store.schedules())
            self.server.sets_changed()

    def add_worker(self, name: str, clock: FakeClock | None = None) -> WorkerHost:
        """A host with a bartoc that comes up; with a clock of its own, if that is given."""
        host = WorkerHost(
            self,
            name,
            Link(name, SERVER),
            clock or self.clock,
            MemoryJournal(named(f"worker {name}"), named(f"spool {name}")),
            ScriptedRunner(clock or self.clock),
        )
        self.workers[name] = host
        host.start()
        return host

    async def runs(self, **wanted: object) -> list[RunRow]:
        """Runs in the store, oldest first."""
        rows = await self.store.runs(RunFilter(limit=100_000, **wanted))  # type: ignore[arg-type]
        return sorted(rows, key=lambda row: (row.slot, row.worker, row.schedule))

    async def close(self) -> None:
        """End everything; nothing is left running."""
        for worker in self.workers.values():
            await worker.crash()
            await worker.runner.open()
            await worker.runner.shutdown(0.0)
            await worker.runner.close()
        if self.server is not None:
            await self.stop_server()
