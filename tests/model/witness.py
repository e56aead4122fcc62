"""What really ran: a runner whose every start is seen by somebody that barto does not know."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from bartoc.runner import (
    AttemptEnded,
    Event,
    Known,
    RunnerLost,
    ScriptedRunner,
    SpawnOrder,
    StepEnded,
)
from bartoc.runner import _Attempt as Attempt
from libbarto.identity import Kind
from libbarto.testing import FakeClock
from tests.model.broken import Findings
from tests.model.disk import ModelJournal
from tests.model.luck import Luck
from tests.model.schedules import FLOATING


@dataclass(slots=True)
class Start:
    """One start of an attempt, and what became of it. Instants are by its host's clock."""

    host: str
    run_id: bytes
    attempt: int
    schedule: str
    slot: int
    at: int
    failed: bool = False
    ended: bool = False
    stopped: bool = False
    killed: bool = False
    printed: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class Witness:
    """Every start there was, since the last time it was compared with the history."""

    findings: Findings
    starts: dict[tuple[bytes, int], Start] = field(default_factory=dict)
    slots: set[tuple[str, str, int, int]] = field(default_factory=set)
    hosts: dict[bytes, str] = field(default_factory=dict)
    count: int = 0

    def start(self, start: Start, *, kind: Kind, exempt: bool) -> None:
        """An attempt starts; `exempt` where the host's disk was rolled back beyond its slot."""
        self.count += 1
        key = start.run_id, start.attempt
        self.findings.check(
            key not in self.starts or exempt,
            "twice",
            f"{start.schedule} of {start.slot} on {start.host}, attempt {start.attempt}",
        )
        # The same without believing in ids: an attempt of a schedule, for a slot, on a host. Two
        # parents of a follow-up may have one slot, where it was edited to follow another; and who
        # asks for a start may do so at the very instant of a slot.
        if kind is Kind.CALENDAR:
            where = "" if start.schedule in FLOATING else start.host
            blind = (where, start.schedule, start.attempt, start.slot)
            self.findings.check(
                blind not in self.slots or exempt,
                "twice",
                f"{start.schedule} of {start.slot} on {start.host}, told by its environment alone",
            )
            self.slots.add(blind)
        self.starts[key] = start
        other = self.hosts.setdefault(start.run_id, start.host)
        self.findings.check(
            other == start.host or exempt,
            "one",
            f"{start.schedule} ran on {other} and on {start.host}",
        )
        # A follow-up's slot is its parent's, and a retry had its first attempt: where the clock was
        # put back since they began, it may lie ahead. That of an order is by the server's clock.
        self.findings.check(
            start.at >= start.slot or start.attempt > 1 or kind is not Kind.CALENDAR,
            "early",
            f"{start.schedule} on {start.host} began {start.slot - start.at} us before its slot",
        )

    def keep(self, going: set[bytes]) -> None:
        """Forget the starts that were compared; not those of runs that go on."""
        self.starts = {key: start for key, start in self.starts.items() if key[0] in going}

    def forget_host(self, name: str) -> None:
        """A host went out of service, and its history with it."""
        self.starts = {key: start for key, start in self.starts.items() if start.host != name}


class WitnessRunner(ScriptedRunner):
    """The keeper of a simulated host, with a witness beside each command."""

    def __init__(
        self, clock: FakeClock, host: str, journal: ModelJournal, witness: Witness, luck: Luck
    ) -> None:
        super().__init__(clock)
        self.host = host
        self.journal = journal
        self._greetings = 0
        self._remembered: frozenset[tuple[bytes, int]] | None = None
        self._time = clock
        self._witness = witness
        self._luck = luck

    def rolled_back(self, journal: ModelJournal) -> None:
        """The disk was put back to an older state: what it does not remember may start again."""
        self.journal = journal
        self._remembered = journal.all_claimed()

    async def open(self) -> tuple[Known, ...]:
        self._greetings += 1
        return await super().open()

    async def spawn(self, order: SpawnOrder) -> None:
        greeted = self._greetings
        await self._luck.pause()
        if greeted != self._greetings:
            raise RunnerLost("it was on its way over a connection that is gone")
        before = len(self.started)
        await super().spawn(order)
        if len(self.started) == before:
            return
        env = order.env
        slot = datetime.fromisoformat(env["BARTO_SLOT"])
        instant = round(slot.timestamp() * 1_000_000)
        claimed = self.journal.claimed(order.run_id, order.attempt)
        self._witness.findings.check(claimed, "claimed", f"{env['BARTO_SCHEDULE']} on {self.host}")
        if not claimed:
            return
        start = Start(
            self.host,
            order.run_id,
            order.attempt,
            env["BARTO_SCHEDULE"],
            instant,
            self._time.now(),
        )
        key = order.run_id, order.attempt
        exempt = self._remembered is not None and key not in self._remembered
        self._witness.start(start, kind=self.journal.kind(*key), exempt=exempt)

    def _tell(self, attempt: Attempt, event: Event) -> None:
        start = self._witness.starts.get(attempt.key)
        if start is not None:
            match event:
                case StepEnded(exit_code=code):
                    start.failed = start.failed or code != 0
                case AttemptEnded(timed_out=timed_out, cancelled=cancelled):
                    start.ended = True
                    start.stopped = timed_out or cancelled
        super()._tell(attempt, event)

    async def _print(self, attempt: Attempt, step: int, stream: int, text: str) -> None:
        await super()._print(attempt, step, stream, text)
        start = self._witness.starts.get(attempt.key)
        if start is not None:
            start.printed += text.encode("utf-8", "surrogateescape")

    def lose_keeper(self, reason: str = "the keeper was lost while the command ran") -> None:
        for key, held in self._attempts.items():
            start = self._witness.starts.get(key)
            if start is not None and held.task is not None and not held.task.done():
                start.killed = True
        super().lose_keeper(reason)

    def alive(self) -> set[tuple[bytes, int]]:
        """The attempts whose commands run now."""
        return {
            key
            for key, held in self._attempts.items()
            if held.task is not None and not held.task.done()
        }
