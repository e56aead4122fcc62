"""A store that is away now and then, that can be put back to an older copy, and never forgets
what it once had acknowledged."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Protocol

from bartos.store.memory import MemoryStore
from bartos.store.port import Batch, Mark, RunRow, SlotRange
from libbarto.errors import StoreUnavailable
from libbarto.message.v2.record import Lane
from tests.model.broken import Findings
from tests.model.luck import Luck


class Disk(Protocol):
    """The spool that a mark is about, where its host is."""

    async def tag_at(self, lane: Lane, seq: int) -> bytes | None:
        """The tag of a record, None where it is not held."""


class ModelStore(MemoryStore):
    """The database of the simulation."""

    def __init__(self, findings: Findings, luck: Luck) -> None:
        super().__init__()
        self.disks: dict[bytes, Disk] = {}
        """The disk that held each spool first."""
        self.copies: dict[bytes, tuple[int, Disk]] = {}
        """The older copy that was put in its place, and the last epoch before that: what was on its
        way then is still the former's."""
        self._findings = findings
        self._luck = luck
        self._highest: dict[tuple[bytes, Lane], int] = {}

    def highest(self, spool_id: bytes, lane: Lane) -> int:
        """The last record of a lane that was ever committed."""
        return self._highest.get((spool_id, lane), 0)

    async def append(self, batches: Sequence[Batch]) -> list[bool]:
        await self._luck.pause()
        if self._luck.strikes("append"):
            raise StoreUnavailable("the simulated database is away")
        finals = self._finals(batches)
        marks = {
            (batch.spool_id, batch.lane): (await self.marks(batch.spool_id))[batch.lane]
            for batch in batches
        }
        results = await super().append(batches)
        for batch, advanced in zip(batches, results, strict=True):
            if advanced:
                key = batch.spool_id, batch.lane
                self._highest[key] = max(self.highest(*key), batch.last_seq)
                await self._is_prefix(batch, marks[key])
                marks[key] = Mark(batch.last_seq, batch.tag)
        for run_id, row in finals.items():
            now = self._runs.get(run_id)
            self._findings.check(
                now is None or now.row.verdict == row.verdict,
                "stays",
                f"{row.schedule} on {row.worker}: {row.verdict} became"
                f" {None if now is None else now.row.verdict}",
            )
        await self._luck.pause()
        if self._luck.strikes("append's answer"):
            raise StoreUnavailable("the simulated database did not answer the commit")
        return results

    async def _is_prefix(self, batch: Batch, mark: Mark) -> None:
        """Is what was stored, and what stood before it, what the worker has at these numbers?"""
        disk = self.disks[batch.spool_id]
        last, copied = self.copies.get(batch.spool_id, (batch.epoch, disk))
        if batch.epoch > last:
            disk = copied
        for seq, tag in ((mark.seq, mark.tag), (batch.last_seq, batch.tag)):
            held = await disk.tag_at(batch.lane, seq)
            self._findings.check(
                held is None or held == tag,
                "fork",
                f"{batch.worker}: {batch.lane.name.lower()} record {seq} in the store is not that"
                " of the worker",
            )

    def _finals(self, batches: Sequence[Batch]) -> dict[bytes, RunRow]:
        """The runs told of here whose verdict is final."""
        ids = {
            run_id
            for batch in batches
            for record in batch.records
            if (run_id := getattr(record, "run_id", None)) is not None
        }
        return {
            run_id: held.row
            for run_id in ids
            if (held := self._runs.get(run_id)) is not None
            and held.row.verdict is not None
            and held.row.verdict.name != "LOST"
        }

    def rows(self) -> list[RunRow]:
        """Every run, in no order."""
        return [held.row for held in self._runs.values()]

    def slots_in_ranges(self, worker_uid: bytes, schedule_uid: bytes) -> int:
        """How many slots of a schedule on a worker did not run."""
        return sum(held.count for held in self._of(worker_uid, schedule_uid))

    def _of(self, worker_uid: bytes, schedule_uid: bytes) -> list[SlotRange]:
        return [
            held
            for held in self._ranges
            if (held.worker_uid, held.schedule_uid, held.run_id) == (worker_uid, schedule_uid, None)
        ]

    def printed(self, run_id: bytes) -> bytes:
        """All that a run printed, as it is stored."""
        chunks = [
            chunk
            for (owner, _), held in sorted(self._chunks.items())
            if owner == run_id
            for _, chunk in sorted(held.items())
        ]
        return b"".join(chunk.data for chunk in chunks)

    def copy_state(self) -> dict[str, Any]:
        """A backup."""
        kept = {name: value for name, value in vars(self).items() if name in _STATE}
        return self._copied(kept)

    def restore(self, backup: dict[str, Any]) -> None:
        """Put a backup back: what was committed since is gone."""
        vars(self).update(self._copied(backup))

    def _copied(self, state: dict[str, Any]) -> dict[str, Any]:
        """A copy of what is held, in which the store itself is still the store."""
        return copy.deepcopy(state, {id(self): self})

    def forget(self) -> None:
        """Drop the history that was compared, as retention does."""
        ended = [id_ for id_, held in self._runs.items() if held.row.verdict is not None]
        for run_id in ended:
            row = self._runs.pop(run_id).row
            for attempt in range(1, row.attempt + 1):
                self._steps.pop((run_id, attempt), None)
                self._chunks.pop((run_id, attempt), None)
        for held in self._ranges:
            self._ranges.drop(held)
        self._told.clear()


_STATE = frozenset(vars(MemoryStore())) - {"available", "_refuse"}
