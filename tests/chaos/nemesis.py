"""What goes wrong in a chaos run, when, to whom and for how long? All of it drawn from the seed.

A plan, and nothing more: `carrying.py` carries it out.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.history import EVERYONE, SERVER, STORE, FaultKind

Kind = FaultKind

WEIGHTS: Final[dict[FaultKind, float]] = {
    Kind.BARTOC_KILL: 10,
    Kind.BARTOC_STOP: 6,
    Kind.BARTOC_RESTART: 5,
    Kind.KEEPER_KILL: 6,
    Kind.KEEPER_STOP: 4,
    Kind.BOTH_KILL: 4,
    Kind.LINK_CUT: 6,
    Kind.LINK_PARTITION: 5,
    Kind.LINK_STALL_UP: 4,
    Kind.LINK_STALL_DOWN: 4,
    Kind.LINK_SWALLOW: 4,
    Kind.LINK_SWALLOW_UP: 3,
    Kind.LINK_SWALLOW_DOWN: 3,
    Kind.LINK_SLOW: 4,
    Kind.LINK_DELAY: 4,
    Kind.LINK_TORN: 4,
    Kind.BARTOS_KILL: 4,
    Kind.BARTOS_STOP: 2,
    Kind.BARTOS_RESTART: 2,
    Kind.STORE_KILL: 3,
    Kind.STORE_STOP: 3,
    Kind.STORE_READ_ONLY: 2,
    Kind.STORE_LOCKED: 4,
    Kind.CLOCK_STEP: 4,
    Kind.DISK_FULL: 4,
    Kind.EDIT: 4,
    Kind.EDIT_BROKEN: 1,
    Kind.PAUSE: 3,
    Kind.CANCEL: 3,
}
"""How often each comes, among those that are possible here."""

LASTING: Final[dict[FaultKind, tuple[float, float]]] = {
    Kind.BARTOC_KILL: (0.2, 6.0),
    Kind.BARTOC_STOP: (0.5, 8.0),
    Kind.BARTOC_RESTART: (0.0, 3.0),
    Kind.KEEPER_KILL: (0.0, 0.0),
    Kind.KEEPER_STOP: (0.5, 6.0),
    Kind.BOTH_KILL: (0.2, 5.0),
    Kind.LINK_CUT: (0.0, 0.0),
    Kind.LINK_PARTITION: (1.0, 15.0),
    Kind.LINK_STALL_UP: (1.0, 12.0),
    Kind.LINK_STALL_DOWN: (1.0, 12.0),
    Kind.LINK_SWALLOW: (1.0, 15.0),
    Kind.LINK_SWALLOW_UP: (1.0, 15.0),
    Kind.LINK_SWALLOW_DOWN: (1.0, 15.0),
    Kind.LINK_SLOW: (3.0, 15.0),
    Kind.LINK_DELAY: (3.0, 15.0),
    Kind.LINK_TORN: (1.0, 6.0),
    Kind.BARTOS_KILL: (0.2, 6.0),
    Kind.BARTOS_STOP: (1.0, 8.0),
    Kind.BARTOS_RESTART: (0.0, 2.0),
    Kind.STORE_KILL: (0.5, 5.0),
    Kind.STORE_STOP: (1.0, 8.0),
    Kind.STORE_READ_ONLY: (1.0, 6.0),
    Kind.STORE_LOCKED: (1.0, 8.0),
    Kind.CLOCK_STEP: (3.0, 8.0),
    Kind.DISK_FULL: (2.0, 8.0),
    Kind.EDIT: (2.0, 8.0),
    Kind.EDIT_BROKEN: (1.0, 4.0),
    Kind.PAUSE: (3.0, 8.0),
    Kind.CANCEL: (0.0, 0.0),
}
"""The least and the most seconds until it is taken back."""

SHIFTS_S: Final = (-2.0, 2.0, -45.0, 45.0, 3600.0, -3600.0)
AT_ONCE: Final = 6

_LINKS: Final = frozenset(kind for kind in Kind if kind.value.startswith("link."))
_SERVERS: Final = frozenset({Kind.BARTOS_KILL, Kind.BARTOS_STOP, Kind.BARTOS_RESTART})
_STORES: Final = frozenset(kind for kind in Kind if kind.value.startswith("store."))
_EDITS: Final = frozenset({Kind.EDIT, Kind.EDIT_BROKEN, Kind.PAUSE, Kind.CANCEL})


@dataclass(frozen=True, slots=True)
class Fault:
    """One planned fault: `at` and `seconds` count from the beginning of the load."""

    number: int
    at: float
    kind: FaultKind
    target: str
    seconds: float
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def until(self) -> float:
        return self.at + self.seconds


@dataclass(frozen=True, slots=True)
class Grounds:
    """Where faults may fall: workers by what can be done to them, and what else there is."""

    workers: Sequence[str]
    clocks: Sequence[str] = ()
    disks: Sequence[str] = ()
    kinds: frozenset[FaultKind] = frozenset()


def plan(seed: str, grounds: Grounds, count: int, begin: float, end: float) -> list[Fault]:
    """`count` faults between two moments of the load, in order: one at a time for each process,
    each link, the store and the schedules, and few at once in all."""
    rng = random.Random(f"nemesis {seed}")
    kinds = sorted(grounds.kinds - {Kind.HOST_STALL})
    weights = [WEIGHTS[kind] for kind in kinds]
    moments = sorted(rng.uniform(begin, end) for _ in range(count)) if kinds else []
    busy: dict[str, float] = {}
    running: list[float] = []
    found: list[Fault] = []
    for number, at in enumerate(moments, 1):
        running = [until for until in running if until > at]
        fault = _draw(rng, grounds, kinds, weights, number, at, busy, len(running) >= AT_ONCE)
        busy[room_of(fault)] = fault.until + _rest(fault.kind)
        running.append(fault.until)
        found.append(fault)
    return found


def _draw(
    rng: random.Random,
    grounds: Grounds,
    kinds: Sequence[FaultKind],
    weights: Sequence[float],
    number: int,
    at: float,
    busy: Mapping[str, float],
    crowded: bool,
) -> Fault:
    """A fault whose target is free; a short one where there are many already."""
    while True:
        (kind,) = rng.choices(kinds, weights)
        target = _target(rng, grounds, kind)
        shortest, longest = LASTING[kind]
        seconds = shortest if crowded else rng.uniform(shortest, longest)
        fault = Fault(number, round(at, 3), kind, target, round(seconds, 3), _facts(rng, kind))
        if busy.get(room_of(fault), 0.0) <= at:
            return fault
        if rng.random() < 0.02:  # everything is taken: what harms nobody's plan is to cut a link
            return Fault(number, round(at, 3), Kind.LINK_CUT, rng.choice(grounds.workers), 0.0)


def _target(rng: random.Random, grounds: Grounds, kind: FaultKind) -> str:
    if kind in _SERVERS:
        return SERVER
    if kind in _STORES:
        return STORE
    if kind in _EDITS:
        return EVERYONE
    if kind is Kind.CLOCK_STEP:
        return rng.choice(grounds.clocks)
    if kind is Kind.DISK_FULL:
        return rng.choice(grounds.disks)
    return rng.choice(grounds.workers)


def room_of(fault: Fault) -> str:
    """What a fault takes up while it lasts."""
    if fault.kind in _LINKS:
        return f"link {fault.target}"
    if fault.kind in _EDITS:
        return "schedules"
    return f"process {fault.target}"


def _rest(kind: FaultKind) -> float:
    """How long its target is left alone after it."""
    if kind in _EDITS:
        return 2.0
    return 4.0 if kind in _SERVERS | _STORES else 2.0


def _facts(rng: random.Random, kind: FaultKind) -> dict[str, float]:
    if kind is Kind.CLOCK_STEP:
        return {"shift": rng.choice(SHIFTS_S)}
    if kind is Kind.LINK_SLOW:
        return {"rate": rng.choice((1000.0, 8000.0))}
    if kind is Kind.LINK_DELAY:
        return {"delay": rng.uniform(0.05, 0.5), "jitter": rng.uniform(0.0, 0.4)}
    if kind is Kind.LINK_TORN:
        return {"bytes": float(rng.randrange(0, 4097))}
    if kind in _EDITS:
        return {"choice": rng.random(), "which": rng.random()}
    return {}
