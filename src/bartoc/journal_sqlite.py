"""The journal on disk: one SQLite file, WAL with `synchronous=FULL`, one thread of its own.

A commit is durable when `commit` returns (sqlite.org/pragma.html#pragma_synchronous). The thread
keeps the event loop free while the disk takes its time.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from bartoc import journal_tables
from bartoc.journal import (
    Claim,
    Held,
    JournalState,
    LaneFacts,
    OpenRun,
    Spooled,
    StoredSet,
    Transaction,
    in_order,
)
from bartoc.keeper import crash
from libbarto.errors import ConfigError, JournalError
from libbarto.identity import NO_TAG, next_tag
from libbarto.message.v2.record import Lane

T = TypeVar("T")


class SqliteJournal:
    """The journal in the file `path`, of the worker `worker_uid`.

    `new_spool_id` mints the id of a spool that begins; it is asked only where there is no file.
    """

    def __init__(self, path: Path, worker_uid: bytes, new_spool_id: Callable[[], bytes]) -> None:
        self._path = path
        self._worker_uid = worker_uid
        self._new_spool_id = new_spool_id
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._newest = 0

    async def load(self) -> JournalState:
        return await self._do(self._load)

    async def state(self) -> JournalState:
        return await self._do(lambda: self._state(self._opened()))

    async def commit(self, transaction: Transaction) -> frozenset[tuple[bytes, int]]:
        return await self._do(lambda: self._commit(transaction))

    async def read(self, lane: Lane, after: int, limit_bytes: int) -> list[Spooled]:
        return await self._do(lambda: self._read(lane, after, limit_bytes))

    async def tag_at(self, lane: Lane, seq: int) -> bytes | None:
        return await self._do(lambda: self._tag_at(lane, seq))

    async def held(self, run_id: bytes, attempt: int) -> list[Held]:
        return await self._do(lambda: self._held(run_id, attempt))

    async def acknowledge(self, lane: Lane, seq: int) -> None:
        await self._write(
            "UPDATE lane SET acknowledged = max(acknowledged, ?) WHERE lane = ?", seq, int(lane)
        )

    async def forget_acknowledged(self, lane: Lane, seq: int) -> None:
        await self._write("UPDATE lane SET acknowledged = ? WHERE lane = ?", seq, int(lane))

    async def store_epoch(self, epoch: int) -> None:
        await self._write("UPDATE meta SET epoch = ?", epoch)

    async def prune(self, keep_bytes: int, older_than: int, floor: int = 0) -> int:
        return await self._do(lambda: self._prune(keep_bytes, older_than, floor))

    async def close(self) -> None:
        await self._do(self._close)
        self._thread.shutdown(wait=False)

    # -- in the thread ----------------------------------------------------------------------------

    async def _do(self, work: Callable[[], T]) -> T:
        def guarded() -> T:
            try:
                return work()
            except (sqlite3.Error, OSError) as error:
                if isinstance(error, JournalError):
                    raise
                self._close()
                raise JournalError(f"{self._path}: {error}") from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    async def _write(self, sql: str, *values: object) -> None:
        def work() -> None:
            connection = self._opened()
            with _Transaction(connection):
                connection.execute(sql, values)

        await self._do(work)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise JournalError(f"{self._path} is not open")
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _load(self) -> JournalState:
        self._close()
        is_new = not self._path.exists()
        self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._connection = connection
        if is_new:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA busy_timeout=5000")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > journal_tables.SCHEMA_VERSION:
            raise ConfigError(
                f"{self._path} was written by a newer bartoc (format {version}, this one knows "
                f"{journal_tables.SCHEMA_VERSION}): install that version again, or a newer one"
            )
        if version < journal_tables.SCHEMA_VERSION:
            self._create(connection, version)
        return self._state(connection)

    def _create(self, connection: sqlite3.Connection, version: int) -> None:
        """Bring the file, of this version (0: new), to today's format."""
        with _Transaction(connection):
            journal_tables.upgrade(connection, version)
            if version:
                return
            connection.execute(
                "INSERT INTO meta (one, worker_uid, spool_id) VALUES (1, ?, ?)",
                (self._worker_uid, self._new_spool_id()),
            )
            connection.executemany(
                "INSERT INTO lane (lane, tag, before_tag) VALUES (?, ?, ?)",
                [(int(lane), NO_TAG, NO_TAG) for lane in Lane],
            )

    def _state(self, connection: sqlite3.Connection) -> JournalState:
        meta = connection.execute(
            "SELECT worker_uid, spool_id, epoch, newest, contact, floor,"
            " generation, set_hash, set_body, set_applied_at FROM meta"
        ).fetchone()
        if meta[0] != self._worker_uid:
            raise ConfigError(
                f"{self._path} belongs to another worker than the identity file beside it: one of "
                "the two was copied from elsewhere"
            )
        self._newest = meta[3]
        state = JournalState(
            worker_uid=meta[0],
            spool_id=meta[1],
            epoch=meta[2],
            cursors=dict(connection.execute("SELECT schedule_uid, slot FROM cursor")),
            current_set=None if meta[6] is None else StoredSet(*meta[6:10]),
            open_runs=tuple(
                OpenRun(Claim(*row[:7]), row[7], row[8])
                for row in connection.execute(
                    "SELECT run_id, attempt, schedule_uid, slot, at, boot_id, spec, position,"
                    " progress FROM claim WHERE open = 1 ORDER BY run_id, attempt"
                )
            ),
            lanes={lane: self._facts(connection, lane) for lane in Lane},
            newest=meta[3],
            contact=meta[4],
            floor=meta[5],
        )
        return journal_tables.read_into(connection, state)

    def _facts(self, connection: sqlite3.Connection, lane: Lane) -> LaneFacts:
        last, tag, before_tag, acknowledged = connection.execute(
            "SELECT last, tag, before_tag, acknowledged FROM lane WHERE lane = ?", (int(lane),)
        ).fetchone()
        (first,) = connection.execute(
            "SELECT min(seq) FROM record WHERE lane = ?", (int(lane),)
        ).fetchone()
        return LaneFacts(last + 1 if first is None else first, last, tag, before_tag, acknowledged)

    def _commit(self, change: Transaction) -> frozenset[tuple[bytes, int]]:
        connection = self._opened()
        made: set[tuple[bytes, int]] = set()
        newest = self._newest if change.newest is None else change.newest
        told: list[Sequence[bytes]] = []
        if change.claims:
            crash.at("claim.before_commit")
        if change.ended:
            crash.at("end.before_commit")
        with _Transaction(connection):
            journal_tables.write_before_claims(connection, change)
            for claim, records in change.claims:
                if self._is_too_old(connection, claim):
                    said = change.too_old.get(claim.run_id)
                    told.append(() if said is None else (said,))
                    continue
                row = connection.execute(
                    "INSERT INTO claim (run_id, attempt, schedule_uid, slot, at, boot_id, spec)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (
                        claim.run_id,
                        claim.attempt,
                        claim.schedule_uid,
                        claim.slot,
                        claim.at,
                        claim.boot_id,
                        claim.spec,
                    ),
                )
                told.append(records if row.rowcount == 1 else ())
                if row.rowcount == 1:
                    made.add((claim.run_id, claim.attempt))
            self._append(connection, Lane.STATE, in_order(change, told), newest)
            self._append(connection, Lane.OUTPUT, list(change.output), newest)
            journal_tables.write_after_claims(connection, change)
            connection.executemany(
                "UPDATE claim SET position = ?, progress = ? WHERE run_id = ? AND attempt = ?",
                [(*done, *key) for key, done in change.progress.items()],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, ?)",
                [(h.run_id, h.attempt, h.chunk_no, h.size, h.record) for h in change.hold],
            )
            connection.executemany(
                "DELETE FROM held WHERE run_id = ? AND attempt = ? AND chunk_no = ?",
                list(change.release),
            )
            connection.executemany(
                "DELETE FROM held WHERE run_id = ? AND attempt = ?", list(change.ended)
            )
            connection.executemany(
                "UPDATE claim SET open = 0, spec = x'', progress = x''"
                " WHERE run_id = ? AND attempt = ?",
                list(change.ended),
            )
            self._commit_meta(connection, change)
            if change.claims:
                crash.at("claim.before_end_of_commit")
        if change.claims:
            crash.at("claim.after_commit")
        if change.ended:
            crash.at("end.after_commit")
        self._newest = newest
        return frozenset(made)

    def _is_too_old(self, connection: sqlite3.Connection, claim: Claim) -> bool:
        """Does the floor refuse this claim?"""
        row = connection.execute(
            "SELECT 1 FROM meta WHERE ? <= floor"
            " AND NOT EXISTS (SELECT 1 FROM waiting WHERE run_id = ?)",
            (claim.slot, claim.run_id),
        ).fetchone()
        return row is not None

    def _commit_meta(self, connection: sqlite3.Connection, change: Transaction) -> None:
        if change.newest is not None:
            connection.execute("UPDATE meta SET newest = ?", (change.newest,))
        if change.contact is not None:
            connection.execute("UPDATE meta SET contact = ?", (change.contact,))
        if change.new_set is not None:
            stored = change.new_set
            connection.execute(
                "UPDATE meta SET generation = ?, set_hash = ?, set_body = ?, set_applied_at = ?",
                (stored.generation, stored.hash, stored.body, stored.applied_at),
            )

    def _append(
        self, connection: sqlite3.Connection, lane: Lane, records: list[bytes], at: int
    ) -> None:
        if not records:
            return
        seq, tag = connection.execute(
            "SELECT last, tag FROM lane WHERE lane = ?", (int(lane),)
        ).fetchone()
        rows = []
        for data in records:
            seq += 1
            tag = next_tag(tag, data)
            rows.append((int(lane), seq, tag, at, data))
        connection.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute(
            "UPDATE lane SET last = ?, tag = ?, bytes = bytes + ? WHERE lane = ?",
            (seq, tag, sum(map(len, records)), int(lane)),
        )

    def _read(self, lane: Lane, after: int, limit_bytes: int) -> list[Spooled]:
        found: list[Spooled] = []
        size = 0
        rows = self._opened().execute(
            "SELECT seq, tag, data FROM record WHERE lane = ? AND seq > ? ORDER BY seq",
            (int(lane), after),
        )
        for row in rows:
            size += len(row[2])
            if found and size > limit_bytes:
                break
            found.append(Spooled(*row))
        rows.close()
        return found

    def _tag_at(self, lane: Lane, seq: int) -> bytes | None:
        connection = self._opened()
        facts = self._facts(connection, lane)
        if seq == facts.first - 1:
            return facts.before_tag
        row = connection.execute(
            "SELECT tag FROM record WHERE lane = ? AND seq = ?", (int(lane), seq)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def _held(self, run_id: bytes, attempt: int) -> list[Held]:
        return [
            Held(*row)
            for row in self._opened().execute(
                "SELECT run_id, attempt, chunk_no, size, record FROM held"
                " WHERE run_id = ? AND attempt = ? ORDER BY chunk_no",
                (run_id, attempt),
            )
        ]

    def _prune(self, keep_bytes: int, older_than: int, floor: int) -> int:
        connection = self._opened()
        gone = 0
        with _Transaction(connection):
            for lane in Lane:
                gone += self._prune_lane(connection, lane, keep_bytes, older_than)
            connection.execute("UPDATE meta SET floor = max(floor, ?)", (floor,))
            connection.execute(
                "DELETE FROM claim WHERE open = 0 AND slot <= (SELECT floor FROM meta)"
            )
            journal_tables.prune(connection)
        connection.execute("PRAGMA incremental_vacuum(256)").fetchall()
        return gone

    def _prune_lane(
        self, connection: sqlite3.Connection, lane: Lane, keep_bytes: int, older_than: int
    ) -> int:
        acknowledged, size = connection.execute(
            "SELECT acknowledged, bytes FROM lane WHERE lane = ?", (int(lane),)
        ).fetchone()
        last: tuple[int, bytes] | None = None
        gone = 0
        rows = connection.execute(
            "SELECT seq, tag, at, length(data) FROM record WHERE lane = ? AND seq <= ?"
            " ORDER BY seq",
            (int(lane), acknowledged),
        )
        for seq, tag, at, length in rows:
            if size <= keep_bytes and at >= older_than:
                break
            last = seq, tag
            size -= length
            gone += 1
        rows.close()
        if last is not None:
            connection.execute(
                "DELETE FROM record WHERE lane = ? AND seq <= ?", (int(lane), last[0])
            )
            connection.execute(
                "UPDATE lane SET before_tag = ?, bytes = ? WHERE lane = ?",
                (last[1], size, int(lane)),
            )
        return gone


class _Transaction:
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK where anything is raised."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._connection.execute("COMMIT")
        elif self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
