"""Who is told what? Definitions and a worker make the set that it is to fire, and its hash.

What changed between two configurations is told here too, and whether a change is so large that a
person should confirm it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bartos.schedules import Definition, definition_json
from bartos.store.port import ScheduleRow
from libbarto.message.v2.schedule import SCHEDULE_SET, Schedule, ScheduleSet
from libbarto.realtime.interval import RANDOM_ANCHOR

_BRAKE_FROM: Final = 10
"""Below so many schedules any number may go at once (DESIGN section 5)."""


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What a plan has to know of a worker: its own words are empty, `root` None, where unknown."""

    name: str
    uid: bytes
    labels: Mapping[str, str] = field(default_factory=dict)
    os: str = ""
    arch: str = ""
    host: str = ""
    root: bool | None = None

    @property
    def words(self) -> dict[str, str]:
        """What selectors see: its labels, and its own word on os, arch and host."""
        own = {"os": self.os, "arch": self.arch, "host": self.host}
        return {key: word for key, word in own.items() if word} | dict(self.labels)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A schedule that a worker matches and does not get."""

    schedule: str
    worker: str
    reason: str

    def __str__(self) -> str:
        return f'schedule "{self.schedule}" on {self.worker}: {self.reason}'


class Plan:
    """Definitions, made ready to answer for one worker after another.

    What names a single worker is found by that name, and a schedule takes its wire form once, so
    that ten thousand workers that come back together do not wait for one another.
    """

    def __init__(self, definitions: Iterable[Definition]) -> None:
        enabled = (definition for definition in definitions if definition.enabled)
        self._definitions = sorted(enabled, key=lambda definition: definition.name)
        self._wire: dict[int, Schedule] = {}
        self._named: dict[str, list[int]] = {}
        self._others: list[int] = []
        for index, definition in enumerate(self._definitions):
            name = definition.selector.name
            (self._others if name is None else self._named.setdefault(name, [])).append(index)

    def matching(self, worker: WorkerFacts) -> list[Definition]:
        """The definitions in force that mean this worker, in order of name."""
        return [self._definitions[index] for index in self._indices(worker)]

    def refusals(self, worker: WorkerFacts) -> list[Refusal]:
        """What this worker matches and does not get, and why."""
        return [
            Refusal(definition.name, worker.name, reason)
            for definition in self.matching(worker)
            if (reason := _refused(definition, worker)) is not None
        ]

    def matched(self, workers: Iterable[WorkerFacts]) -> dict[str, list[WorkerFacts]]:
        """For each schedule in force, by name, the workers that run it."""
        found: dict[str, list[WorkerFacts]] = {}
        for worker in workers:
            for definition in self.matching(worker):
                if _refused(definition, worker) is None:
                    found.setdefault(definition.name, []).append(worker)
        return found

    def set_for(self, worker: WorkerFacts) -> ScheduleSet:
        """All that `worker` is to do by itself: what floats is no part of it.

        Equal definitions make equal sets, whatever their order.
        """
        chosen = [
            index
            for index in self._indices(worker)
            if not self._definitions[index].floating
            and _refused(self._definitions[index], worker) is None
        ]
        schedules = [self._wire_form(index) for index in chosen]
        if not chosen:
            return ScheduleSet(schedules=schedules)
        # One for all (it stands in [defaults] alone), so any definition has it.
        offline_max = self._definitions[chosen[0]].offline_max
        return ScheduleSet(schedules=schedules, offline_max_us=_us(offline_max))

    @property
    def floating(self) -> list[Definition]:
        """The definitions in force whose starts the server gives out, in order of name."""
        return [definition for definition in self._definitions if definition.floating]

    def _indices(self, worker: WorkerFacts) -> list[int]:
        words = worker.words
        others = (
            index
            for index in self._others
            if self._definitions[index].selector.matches(worker.name, words)
        )
        return sorted([*self._named.get(worker.name, []), *others])

    def _wire_form(self, index: int) -> Schedule:
        wire = self._wire.get(index)
        if wire is None:
            wire = self._wire[index] = spec_of(self._definitions[index])
        return wire


def worker_set(definitions: Iterable[Definition], worker: WorkerFacts) -> ScheduleSet:
    """All that one worker is to do; for many workers keep a `Plan`."""
    return Plan(definitions).set_for(worker)


def may_run(definition: Definition, worker: WorkerFacts) -> bool:
    """Whether a start of a floating definition may be given to this worker."""
    return (
        definition.enabled
        and definition.selector.matches(worker.name, worker.words)
        and _refused(definition, worker) is None
    )


def _refused(definition: Definition, worker: WorkerFacts) -> str | None:
    if definition.run_as is not None and worker.root is False:
        return f'run_as = "{definition.run_as}" needs a bartoc that runs as root, which it does not'
    return None


def spec_of(definition: Definition) -> Schedule:
    """A definition as the one that runs it needs it; calendars in normalised form.

    A worker's set has it, or, for a floating one, the offer of each start.
    """
    return Schedule(
        uid=definition.uid,
        name=definition.name,
        calendars=list(definition.calendars),
        timezone=definition.timezone,
        dst_gap=definition.dst_gap,
        dst_repeat=definition.dst_repeat,
        every_us=None if definition.every is None else _us(definition.every),
        anchor_us=definition.anchor_us,
        anchor_drawn=definition.anchor == RANDOM_ANCHOR,
        at=list(definition.instants),
        on_boot=definition.on_boot,
        after=definition.parent_uid,
        when=definition.when,
        steps=list(definition.steps),
        shell=list(definition.shell),
        cwd=definition.cwd,
        env=dict(sorted(definition.env.items())),
        run_as=definition.run_as,
        nice=definition.nice,
        timeout_us=None if definition.timeout is None else _us(definition.timeout),
        kill_after_us=_us(definition.kill_after),
        continue_on_error=definition.continue_on_error,
        output_max=definition.output_max,
        start_within_us=_us(definition.start_within),
        overlap=definition.overlap,
        missed=definition.missed,
        catch_up_us=_us(definition.catch_up),
        retries=definition.retries,
        retry_delay_us=_us(definition.retry_delay),
        rerun_interrupted=definition.rerun_interrupted,
    )


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)


def set_body(wanted: ScheduleSet) -> bytes:
    """The bytes of a set: what is hashed, signed and sent."""
    return SCHEDULE_SET.encode(wanted)


def set_hash(body: bytes) -> bytes:
    """The SHA-256 of a set's bytes (32 of them): a worker that holds it needs no new one."""
    return hashlib.sha256(body).digest()


# -- what means nobody ----------------------------------------------------------------------------


def without_workers(
    definitions: Iterable[Definition], workers: Sequence[WorkerFacts]
) -> list[Definition]:
    """The definitions in force that mean none of `workers`."""
    known = [(worker.name, worker.words) for worker in workers]
    return [
        definition
        for definition in definitions
        if definition.enabled
        and not any(definition.selector.matches(name, words) for name, words in known)
    ]


# -- from one configuration to the next -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reload changed, as names of schedules, sorted."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def __str__(self) -> str:
        parts = (("added", self.added), ("changed", self.changed), ("removed", self.removed))
        said = [f"{word} {', '.join(names)}" for word, names in parts if names]
        return "; ".join(said) or "nothing changed"


def changes(old: Iterable[Definition], new: Iterable[Definition]) -> Changes:
    """What `new` has that `old` has not, and so on. A schedule is the same by its uid.

    A new name under a kept `id` is a change; another line in the file is none.
    """
    before = {definition.uid: definition for definition in old}
    after = {definition.uid: definition for definition in new}
    return Changes(
        tuple(sorted(after[uid].name for uid in after.keys() - before.keys())),
        tuple(
            sorted(
                after[uid].name
                for uid in after.keys() & before.keys()
                if definition_json(after[uid]) != definition_json(before[uid])
            )
        ),
        tuple(sorted(before[uid].name for uid in before.keys() - after.keys())),
    )


def removes_too_much(old: Sequence[Definition], new: Sequence[Definition]) -> bool:
    """Whether this reload would remove more than half of ten or more schedules.

    A schedule that is disabled by it counts as removed: it stops firing all the same.
    """
    before = {definition.uid for definition in old if definition.enabled}
    after = {definition.uid for definition in new if definition.enabled}
    return len(before) >= _BRAKE_FROM and 2 * len(before - after) > len(before)


# -- the store's rows -----------------------------------------------------------------------------


def schedule_rows(
    definitions: Iterable[Definition], before: Iterable[ScheduleRow], now: int
) -> list[ScheduleRow]:
    """The rows of the store's `schedule` table that put `definitions` in force, by name.

    `before` are those in force: what is unchanged keeps its version and time, what changed gets
    the next version. `now` is in microseconds.
    """
    known = {row.uid: row for row in before}
    rows = []
    for definition in sorted(definitions, key=lambda definition: definition.name):
        text = definition_json(definition)
        row = known.get(definition.uid)
        if row is not None and row.definition == text and row.name == definition.name:
            rows.append(row)
            continue
        version = 1 if row is None else row.version + 1
        rows.append(
            ScheduleRow(definition.uid, definition.name, text, definition.enabled, version, now)
        )
    return rows
