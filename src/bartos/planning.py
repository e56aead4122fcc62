"""The planner: the schedules in force, and from them each worker's set as bytes."""

from __future__ import annotations

from collections.abc import Sequence

from bartos.plan import Plan, WorkerFacts, set_body
from bartos.schedules import Definition, from_json
from bartos.store.port import ScheduleRow, WorkerRow


class Planner:
    """Holds what is in force; the store's `schedule` table is where it comes from."""

    def __init__(self) -> None:
        self.definitions: tuple[Definition, ...] = ()
        self._plan = Plan(())

    def load(self, rows: Sequence[ScheduleRow]) -> None:
        """Take the schedules of the store as those in force."""
        self.definitions = tuple(from_json(row.definition) for row in rows)
        self._plan = Plan(self.definitions)

    def set_for(self, worker: WorkerRow) -> bytes:
        """The encoded set of a worker; the same bytes as long as nothing changes for it."""
        return set_body(self._plan.set_for(facts_of(worker)))


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
