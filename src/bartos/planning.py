"""The planner: the schedules in force, and from them each worker's set as bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from bartos.floating import pause_words
from bartos.plan import Plan, WorkerFacts, set_body
from bartos.schedules import Definition, from_json
from bartos.store.orders import ALL_SCHEDULES, DrainRow, PauseRow
from bartos.store.port import ScheduleRow, WorkerRow
from libbarto.message.v2.schedule import Schedule, ScheduleSet
from libbarto.timing import timing_hash, timing_text


class Planner:
    """Holds what is in force; the store's `schedule` table is where it comes from."""

    def __init__(self) -> None:
        self.definitions: tuple[Definition, ...] = ()
        self.pauses: Mapping[bytes, PauseRow] = {}
        """The pauses in force, by the uid of their schedule, or `ALL_SCHEDULES`."""
        self.drains: Mapping[bytes, DrainRow] = {}
        """The workers that are drained, by uid."""
        self._plan = Plan(())
        self._named: set[bytes] = set()
        self._kept: set[bytes] = set()
        self._to_keep: dict[bytes, str] = {}

    def load(self, rows: Sequence[ScheduleRow]) -> None:
        """Take the schedules of the store as those in force."""
        self.definitions = tuple(from_json(row.definition) for row in rows)
        self._plan = Plan(self.definitions)
        self._named.clear()

    def set_for(self, worker: WorkerRow) -> bytes:
        """The encoded set of a worker; the same bytes as long as nothing changes for it."""
        wanted = with_pauses(
            self._plan.set_for(facts_of(worker)), self.pauses, self.drains.get(worker.uid)
        )
        for spec in wanted.schedules:
            if spec.uid not in self._named:
                self._named.add(spec.uid)
                text = timing_text(spec)
                name = timing_hash(text)
                if name not in self._kept:
                    self._to_keep[name] = text
        return set_body(wanted)

    def timings_to_keep(self) -> dict[bytes, str]:
        """The triggers, by hash, of the sets that were made, as far as the store may not have them
        yet: workers will name them by their hash alone."""
        return dict(self._to_keep)

    def timings_kept(self, timings: Iterable[bytes]) -> None:
        """The store has these."""
        for name in timings:
            self._kept.add(name)
            self._to_keep.pop(name, None)


def with_pauses(
    wanted: ScheduleSet, pauses: Mapping[bytes, PauseRow], drain: DrainRow | None = None
) -> ScheduleSet:
    """A set with what is paused in it: by a pause of its own, by one of all, or as its worker is
    drained. Of these the longest counts."""
    if not pauses and drain is None:
        return wanted
    return msgspec.structs.replace(
        wanted, schedules=[_with_pause(spec, pauses, drain) for spec in wanted.schedules]
    )


def _with_pause(
    spec: Schedule, pauses: Mapping[bytes, PauseRow], drain: DrainRow | None
) -> Schedule:
    held: list[PauseRow | DrainRow] = [] if drain is None else [drain]
    held += [pauses[key] for key in (spec.uid, ALL_SCHEDULES) if key in pauses]
    if not held:
        return spec
    longest = max(held, key=lambda row: (row.until is None, row.until or 0))
    return msgspec.structs.replace(
        spec,
        paused=True,
        paused_until=longest.until,
        pause_reason=pause_words(longest),
        paused_as="drained" if longest is drain else "paused",
    )


def facts_of(worker: WorkerRow) -> WorkerFacts:
    """What selectors may ask of a worker: its name, its labels, and its own words."""
    said = worker.capabilities
    return WorkerFacts(
        name=worker.name,
        uid=worker.uid,
        labels=dict(worker.labels),
        os=said.get("os", ""),
        arch=said.get("arch", ""),
        host=said.get("host", ""),
        root=said["user"] == "root" if said.get("user") else None,
    )
