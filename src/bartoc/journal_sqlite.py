"""The journal on disk: one SQLite file, WAL with `synchronous=FULL`, one thread of its own.

A commit is durable when `commit` returns (sqlite.org/pragma.html#pragma_synchronous). The thread
keeps the event loop free while the disk takes its time. Before a file is used, all of it is
checked; one that is damaged is set aside, and `salvage` saves what can be saved. A disk that is
full has the room of the `ballast` left for one more claim.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from bartoc import journal_tables, salvage, seals
from bartoc.ballast import Ballast
from bartoc.journal import (
    Claim,
    Held,
    HeldChunk,
    JournalState,
    LaneFacts,
    Moved,
    OpenRun,
    Room,
    Spooled,
    StoredSet,
    Transaction,
    held_chunk,
    in_order,
)
from bartoc.keeper import crash
from bartoc.salvage import Damaged
from bartoc.witness import Seen, Witness
from libbarto.errors import JournalError
from libbarto.identity import NO_TAG, next_tag
from libbarto.message.v2.record import STATE_RECORD, Lane, Notice

log = logging.getLogger("bartoc")

CHECKPOINT_PAGES: Final = 256
NEARLY_FULL: Final = 256 * 1024
"""With less than this left, the keeper's small files need the ballast's room as well."""
IO_ERRORS_MAX: Final = 5
"""So many loads in a row that fail with an I/O error are the file's fault."""

T = TypeVar("T")


class SqliteJournal:
    """The journal in the file `path`, of the worker `worker_uid`.

    `new_spool_id` mints the id of a spool that begins; `now` tells the instant that notices bear.
    Beside the file lie its `.witness` and its `.ballast`.
    """

    def __init__(
        self,
        path: Path,
        worker_uid: bytes,
        new_spool_id: Callable[[], bytes],
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._path = path
        self._worker_uid = worker_uid
        self._new_spool_id = new_spool_id
        self._now = now
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._witness = Witness(path.with_name(f"{path.name}.witness"))
        self._ballast = Ballast(path.with_name(f"{path.name}.ballast"))
        self._seen = Seen(bytes(16))
        self._newest = 0
        self._place = (0, 0)
        self._sound = False
        """Was the file checked since something last seemed wrong with it?"""
        self._io_errors = 0
        self._room = Room()

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

    async def held(self, run_id: bytes, attempt: int) -> list[HeldChunk]:
        return await self._do(lambda: self._held(run_id, attempt))

    async def acknowledge(self, lane: Lane, seq: int) -> None:
        await self._do(lambda: self._acknowledge(lane, seq, "max(acknowledged, ?)"))

    async def forget_acknowledged(self, lane: Lane, seq: int) -> None:
        await self._do(lambda: self._acknowledge(lane, seq, "?"))

    async def store_epoch(self, epoch: int) -> None:
        await self._do(lambda: self._store_epoch(epoch))

    async def prune(self, keep_bytes: int, older_than: int, floor: int = 0) -> int:
        return await self._do(lambda: self._prune(keep_bytes, older_than, floor))

    def room(self) -> Room:
        return self._room

    async def relieve(self) -> Room:
        return await self._do(self._relieve)

    async def renew(self, reason: str) -> None:
        await self._do(lambda: self._renew(Damaged(reason), "spool_renewed"))

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
                if isinstance(error, sqlite3.Error) and salvage.is_damage(error):
                    self._sound = False
                self._close()
                raise JournalError(f"{self._path}: {error}") from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    @contextlib.contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        """BEGIN IMMEDIATE … COMMIT, or ROLLBACK where anything is raised; each is counted."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            seals.count_commit(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._seen = replace(self._seen, commits=self._seen.commits + 1)

    def _with_room(self, work: Callable[[], T]) -> T:
        """Do it; on a full disk once more, with the room of the ballast."""
        try:
            return work()
        except sqlite3.OperationalError as error:
            if salvage.code_of(error) != salvage.FULL or not self._give_up_ballast():
                raise
        return work()

    def _give_up_ballast(self) -> bool:
        if not self._ballast.give_up():
            return False
        log.error("the disk is full: the room that is kept for claims and verdicts is given up")
        self._room = replace(self._room, scarce=True)
        return True

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
        salvage.finish(self._path)
        try:
            return self._open()
        except Damaged as damage:
            self._renew(damage, "journal_salvaged")
        try:
            return self._open()
        except Damaged as damage:
            raise JournalError(f"{self._path} is damaged again: {damage.reason}") from damage

    def _open(self) -> JournalState:
        """Raises `Damaged` where the file is not what was written."""
        seen = self._witness.read()
        salvage.look(self._path, seen)
        try:
            state = self._checked(seen)
        except sqlite3.Error as error:
            self._io_errors += salvage.code_of(error) in (salvage.IO_ERROR, salvage.CANNOT_OPEN)
            if salvage.is_damage(error) or self._io_errors >= IO_ERRORS_MAX:
                raise Damaged(str(error)) from error
            raise
        except salvage.UNREADABLE as error:
            raise Damaged(f"it holds garbage ({error})") from error
        self._io_errors = 0
        self._sound = True
        self._ballast.take_up()
        self._measure(self._opened())
        return state

    def _checked(self, seen: Seen | None) -> JournalState:
        is_new = not self._path.exists() or self._path.stat().st_size == 0
        self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._connection = connection
        if is_new:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA busy_timeout=5000")
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > journal_tables.SCHEMA_VERSION:
            raise Damaged(
                f"it has format {version}, and this bartoc knows {journal_tables.SCHEMA_VERSION}: "
                "a newer one wrote it"
            )
        if version >= journal_tables.SEALED_SINCE and not self._sound:
            salvage.check(connection, self._worker_uid, seen)
        if version < journal_tables.SCHEMA_VERSION:
            self._create(connection, version)
        else:
            seals.install(connection)
        file = self._path.stat()
        self._place = file.st_dev, file.st_ino
        state = self._state(connection)
        self._remember(state)
        self._witness.write(self._seen, durable=seen is None)
        return state

    def _remember(self, state: JournalState) -> None:
        told, printed = state.lanes[Lane.STATE], state.lanes[Lane.OUTPUT]
        self._seen = Seen(
            state.spool_id,
            state.epoch,
            told.last,
            printed.last,
            told.acknowledged,
            printed.acknowledged,
            seals.commits(self._opened()),
        )

    def _renew(self, damage: Damaged, kind: str) -> None:
        """A new journal takes the place of the one that is there."""
        self._close()
        self._sound = False
        spool_id = self._new_spool_id()
        report = salvage.renew(
            self._path,
            damage,
            kind=kind,
            worker_uid=self._worker_uid,
            spool_id=spool_id,
            now=self._now(),
            seen=self._witness.read(),
        )
        self._witness.write(Seen(spool_id, report.epoch), durable=True)
        log.error(
            "the journal was set aside, and a new one begun",
            extra={"why": damage.reason, "aside": str(report.aside), "saved": report.text},
        )

    def _must_be_there(self, connection: sqlite3.Connection) -> None:
        """Raises `JournalError` where the file is not in its place any more. What was removed is
        written there again from what is held open; what somebody put there is judged by `load`."""
        try:
            file = self._path.stat()
        except FileNotFoundError:
            salvage.write_again(connection, self._path)
            self._sound = False
            log.error("the journal had vanished, and was written again from what was held open")
            raise JournalError(f"{self._path} had vanished") from None
        if (file.st_dev, file.st_ino) != self._place:
            self._sound = False
            raise JournalError(f"{self._path} is another file than the one that was opened")

    def _create(self, connection: sqlite3.Connection, version: int) -> None:
        """Bring the file, of this version (0: new), to today's format."""
        with self._transaction(connection):
            journal_tables.upgrade(connection, version)
            seals.install(connection)
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
        self._newest = meta[3]
        stored = None if meta[6] is None else StoredSet(*meta[6:10])
        pending = stored is not None and stored.applied_at < 0
        state = JournalState(
            worker_uid=meta[0],
            spool_id=meta[1],
            epoch=meta[2],
            cursors=dict(connection.execute("SELECT schedule_uid, slot FROM cursor")),
            current_set=None if pending else stored,
            pending_set=stored if pending else None,
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
        self._must_be_there(self._opened())
        ballast = self._ballast.held
        if ballast and self._ballast.free() < NEARLY_FULL:
            self._give_up_ballast()
        made = self._with_room(
            lambda: self._apply(change if self._ballast.held or not ballast else self._told(change))
        )
        self._witness.write(self._seen)
        self._room = replace(self._room, scarce=self._ballast.scarce())
        return made

    def _told(self, change: Transaction) -> Transaction:
        """The same, with word of the full disk: it is the first that the ballast makes room for."""
        text = "the disk of the state directory is full: output waits, claims and verdicts go on"
        notice = Notice(kind="disk_full", at=self._now(), text=text)
        return replace(change, state=[*change.state, STATE_RECORD.encode(notice)])

    def _apply(self, change: Transaction) -> frozenset[tuple[bytes, int]]:
        connection = self._opened()
        seen, room = self._seen, self._room
        try:
            return self._write(connection, change)
        except BaseException:
            self._seen, self._room = seen, room
            raise

    def _write(
        self, connection: sqlite3.Connection, change: Transaction
    ) -> frozenset[tuple[bytes, int]]:
        made: set[tuple[bytes, int]] = set()
        newest = self._newest if change.newest is None else change.newest
        told: list[Sequence[bytes]] = []
        if change.claims:
            crash.at("claim.before_commit")
        if change.ended:
            crash.at("end.before_commit")
        with self._transaction(connection):
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
            self._append_output(connection, change.output, newest)
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
        size = sum(map(len, records))
        connection.execute(
            "UPDATE lane SET last = ?, tag = ?, bytes = bytes + ? WHERE lane = ?",
            (seq, tag, size, int(lane)),
        )
        if lane is Lane.STATE:
            self._seen = replace(self._seen, state=seq)
        else:
            self._seen = replace(self._seen, output=seq)
            self._room = replace(self._room, waiting=self._room.waiting + size)

    def _append_output(
        self, connection: sqlite3.Connection, output: Sequence[bytes | Moved], at: int
    ) -> None:
        """Append chunks; those that were held back one after the other, as they may be many."""
        for is_moved, items in itertools.groupby(output, lambda item: isinstance(item, Moved)):
            if not is_moved:
                self._append(
                    connection, Lane.OUTPUT, [i for i in items if isinstance(i, bytes)], at
                )
                continue
            for item in items:
                assert isinstance(item, Moved)
                key = item.run_id, item.attempt
                numbers = connection.execute(
                    "SELECT chunk_no FROM held WHERE run_id = ? AND attempt = ? ORDER BY chunk_no",
                    key,
                ).fetchall()
                for (number,) in numbers:
                    (record,) = connection.execute(
                        "SELECT record FROM held WHERE run_id = ? AND attempt = ? AND chunk_no = ?",
                        (*key, number),
                    ).fetchone()
                    self._append(connection, Lane.OUTPUT, [record], at)
                connection.execute("DELETE FROM held WHERE run_id = ? AND attempt = ?", key)

    def _store_epoch(self, epoch: int) -> None:
        connection = self._opened()

        def work() -> None:
            with self._transaction(connection):
                connection.execute("UPDATE meta SET epoch = ?", (epoch,))

        self._with_room(work)
        self._seen = replace(self._seen, epoch=epoch)
        self._witness.write(self._seen, durable=True)

    def _acknowledge(self, lane: Lane, seq: int, value: str) -> None:
        connection = self._opened()

        def work() -> None:
            with self._transaction(connection):
                connection.execute(
                    f"UPDATE lane SET acknowledged = {value} WHERE lane = ?",  # noqa: S608  # ours
                    (seq, int(lane)),
                )

        self._with_room(work)
        if lane is Lane.STATE:
            self._seen = replace(self._seen, state_safe=seq)
        else:
            self._seen = replace(self._seen, output_safe=seq)
            self._measure(connection)
        self._witness.write(self._seen)

    def _measure(self, connection: sqlite3.Connection) -> None:
        """How much output is not acknowledged, and what the disk has left."""
        (waiting,) = connection.execute(
            "SELECT coalesce(sum(length(data)), 0) FROM record WHERE lane = ? AND seq >"
            " (SELECT acknowledged FROM lane WHERE lane = ?)",
            (int(Lane.OUTPUT), int(Lane.OUTPUT)),
        ).fetchone()
        self._room = Room(waiting, self._ballast.scarce())

    def _relieve(self) -> Room:
        connection = self._opened()
        self._with_room(lambda: self._prune(0, 0, 0))
        connection.execute("PRAGMA incremental_vacuum").fetchall()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if not self._ballast.held and self._ballast.take_up():
            log.info("the disk has room again")
        self._measure(connection)
        return self._room

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
        self._must_be_chained(lane, found)
        return found

    def _must_be_chained(self, lane: Lane, found: list[Spooled]) -> None:
        """Raises `JournalError` unless the tags vouch for these records: nothing else leaves."""
        tag = self._tag_at(lane, found[0].seq - 1) if found else None
        for one in found:
            # What went before may be pruned meanwhile: then the first vouches for the others.
            if tag is not None and next_tag(tag, one.data) != one.tag:
                self._sound = False
                self._close()
                raise JournalError(
                    f"{self._path}: record {one.seq} of the {lane.name.lower()} lane is damaged"
                )
            tag = one.tag

    def _tag_at(self, lane: Lane, seq: int) -> bytes | None:
        connection = self._opened()
        facts = self._facts(connection, lane)
        if seq == facts.first - 1:
            return facts.before_tag
        row = connection.execute(
            "SELECT tag FROM record WHERE lane = ? AND seq = ?", (int(lane), seq)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def _held(self, run_id: bytes, attempt: int) -> list[HeldChunk]:
        return [
            held_chunk(Held(*row))
            for row in self._opened().execute(
                "SELECT run_id, attempt, chunk_no, size, record FROM held"
                " WHERE run_id = ? AND attempt = ? ORDER BY chunk_no",
                (run_id, attempt),
            )
        ]

    def _prune(self, keep_bytes: int, older_than: int, floor: int) -> int:
        connection = self._opened()
        gone = 0
        with self._transaction(connection):
            for lane in Lane:
                gone += self._prune_lane(connection, lane, keep_bytes, older_than)
            connection.execute("UPDATE meta SET floor = max(floor, ?)", (floor,))
            connection.execute(
                "DELETE FROM claim WHERE open = 0 AND slot <= (SELECT floor FROM meta)"
            )
            journal_tables.prune(connection)
        self._witness.write(self._seen)
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
