"""What becomes of a journal that is damaged, gone, or not to be gone on with?

A new one is built beside it, with a new spool id, from what can be read of the old and proves to be
what was written there; then the old one is set aside under a name that tells when, and the new one
takes its place. Claims keep what has started from starting again; records that the server has not
acknowledged are delivered; runs whose place in their output is known are followed to their ends,
the others are told as interrupted. Cursors are not taken over: the set of schedules is taken on
anew, so that nothing of the past is caught up.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bartoc import journal_tables, renewal, seals
from bartoc.journal import StoredSet, WaitingStart
from bartoc.keeper import files
from bartoc.witness import Seen
from libbarto.codec import Codec, Unknown
from libbarto.errors import CodecError
from libbarto.identity import NO_TAG, next_tag
from libbarto.message.v2.record import (
    OUTPUT_RECORD,
    STATE_RECORD,
    Cut,
    Lane,
    Notice,
    Output,
    Record,
)

ASIDE_MAX: Final = 5
"""So many journals that were set aside are kept, the newest."""

LOST_OUTPUT: Final = "the worker's journal was damaged"
GIVEN_UP: Final = "the worker's journal was damaged"

_PAGE: Final = 4096
_REPAIR_MAX: Final = 1 << 30
IO_ERROR: Final = 10
FULL: Final = 13
CANNOT_OPEN: Final = 14
NOT_NOW: Final = frozenset({5, 6, 7, 8, 9, IO_ERROR, FULL, CANNOT_OPEN, 22})
"""Busy, locked, no memory, read-only, interrupted, I/O error, full, cannot be opened, too large:
what passes, or is not the file's fault."""

UNREADABLE: Final = (sqlite3.Error, ValueError, TypeError, KeyError, OverflowError)
"""What reading a file of garbage may raise: its very error messages may be no text."""

Row = dict[str, Any]


class Damaged(Exception):
    """This journal cannot be gone on with; the text says why. `foreign`: nothing in it is ours."""

    def __init__(self, reason: str, *, foreign: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.foreign = foreign


@dataclass(slots=True)
class Salvaged:
    """What was saved, and what is known to be lost."""

    aside: Path | None = None
    epoch: int = 0
    records: int = 0
    lost: int = 0
    claims: int = 0
    runs: int = 0
    interrupted: int = 0
    readable: bool = False
    """Whether anything could be read at all."""

    @property
    def text(self) -> str:
        """In words, for an operator."""
        if not self.readable:
            return "nothing of it could be read"
        lost = f"{self.lost} are lost" if self.lost else "none is known to be lost"
        return (
            f"{self.records} records that the server did not have were saved, {lost}; "
            f"{self.claims} claims, and {self.runs} runs that go on, were taken over; "
            f"{self.interrupted} runs count as interrupted"
        )


def code_of(error: BaseException) -> int:
    """SQLite's primary result code (sqlite.org/rescode.html), 0 where there is none."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF if isinstance(code, int) else 0


def is_damage(error: sqlite3.Error) -> bool:
    """Is the file at fault, and not what is around it?"""
    return code_of(error) not in NOT_NOW


def look(path: Path, seen: Seen | None) -> None:
    """Raises `Damaged` where there is no file that could be opened, but has been one."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        if seen is not None:
            raise Damaged("it is gone") from None
        return
    except (IsADirectoryError, PermissionError) as error:
        raise Damaged(f"it cannot be opened: {error.strerror}") from error
    try:
        if os.fstat(descriptor).st_size == 0 and seen is not None:
            raise Damaged("it is empty")
    finally:
        os.close(descriptor)


def check(connection: sqlite3.Connection, worker_uid: bytes, seen: Seen | None) -> None:
    """Raises `Damaged` (or `sqlite3.Error`) unless all of an open journal is as it was written."""
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise Damaged(str(found).splitlines()[-1])
    table = seals.broken(connection)
    if table is not None:
        raise Damaged(f"what stands in its table {table} is not what was written there")
    row = connection.execute("SELECT worker_uid, spool_id FROM meta").fetchone()
    if row is None:
        raise Damaged("it does not say whose it is")
    if row[0] != worker_uid:
        raise Damaged("it belongs to another worker", foreign=True)
    last = dict(connection.execute("SELECT lane, last FROM lane"))
    for lane in Lane:
        number, first, end = connection.execute(
            "SELECT count(*), min(seq), max(seq) FROM record WHERE lane = ?", (int(lane),)
        ).fetchone()
        if lane not in last or (number and (end != last[lane] or number != end - first + 1)):
            raise Damaged(f"records of the {lane.name.lower()} lane are missing")
        _check_chain(connection, lane)
    if seen is not None and seen.spool_id == row[1] and seals.commits(connection) < seen.commits:
        raise Damaged("it is older than what was last written to it")


def _check_chain(connection: sqlite3.Connection, lane: Lane) -> None:
    tag, last = connection.execute(
        "SELECT before_tag, tag FROM lane WHERE lane = ?", (int(lane),)
    ).fetchone()
    found = False
    rows = connection.execute(
        "SELECT seq, tag, data FROM record WHERE lane = ? ORDER BY seq", (int(lane),)
    )
    for seq, own, data in rows:
        found = True
        tag = next_tag(tag, data)
        if own != tag:
            raise Damaged(f"record {seq} of the {lane.name.lower()} lane is not what was written")
    if found and tag != last:
        raise Damaged(f"the tag of the {lane.name.lower()} lane is not that of its last record")


# -- the new journal ------------------------------------------------------------------------------


def renew(
    path: Path,
    damage: Damaged,
    *,
    kind: str,
    worker_uid: bytes,
    spool_id: bytes,
    now: int,
    seen: Seen | None,
) -> Salvaged:
    """Put a new journal in the place of the one at `path`; what was is set aside.

    `kind` is the word of the notice that tells of it. Raises `OSError` or `sqlite3.Error` where
    the new one cannot be written; then nothing has changed.
    """
    report = Salvaged()
    new = _beside(path, ".new")
    _remove(new)
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        new.chmod(0o600)
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        journal_tables.upgrade(connection, 0)
        seals.install(connection)
        with _source(path, foreign=damage.foreign) as source:
            building = _Building(connection, report, now, path.parent / files.RUNS)
            building.build(source, worker_uid, spool_id, seen)
            text = f"the journal was set aside ({damage.reason}): {report.text}"
            kind = kind if report.readable else "journal_lost"
            building.append(Lane.STATE, Notice(kind=kind, at=now, text=text))
        connection.execute("COMMIT")
    finally:
        connection.close()
    report.aside = finish(path)
    return report


def write_again(connection: sqlite3.Connection, path: Path) -> None:
    """Put what an open journal holds into the place where its file has vanished from."""
    new = _beside(path, ".new")
    _remove(new)
    copy = sqlite3.connect(new)
    try:
        new.chmod(0o600)
        connection.backup(copy)
    finally:
        copy.close()
    finish(path)


def finish(path: Path) -> Path | None:
    """Put a new journal that is whole into its place, if there is one; where the old one is now.

    Also called before a journal is opened: a crash may have come between.
    """
    new = _beside(path, ".new")
    if not _is_whole(new):
        _remove(new)
        return None
    stamp = datetime.fromtimestamp(new.stat().st_mtime, UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = _beside(path, f".damaged-{stamp}")
    number = 2
    while os.path.lexists(aside):
        aside = _beside(path, f".damaged-{stamp}-{number}")
        number += 1
    # The write-ahead log goes first: it must never be taken for the new journal's.
    with contextlib.suppress(FileNotFoundError):
        _beside(path, "-wal").rename(_beside(aside, "-wal"))
    with contextlib.suppress(FileNotFoundError):
        _beside(path, "-shm").unlink()
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
    new.rename(path)
    _sync(path.parent)
    _prune(path)
    return aside if os.path.lexists(aside) else None


def _is_whole(new: Path) -> bool:
    if not new.exists():
        return False
    try:
        connection = sqlite3.connect(new)
        try:
            return bool(connection.execute("SELECT 1 FROM meta").fetchone())
        finally:
            connection.close()
    except sqlite3.Error:
        return False


def _prune(path: Path) -> None:
    aside = [one for one in path.parent.glob(f"{path.name}.damaged-*") if one.name[-4:] != "-wal"]
    for old in sorted(aside, key=lambda one: one.name)[:-ASIDE_MAX]:
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.unlink(missing_ok=True)
        _beside(old, "-wal").unlink(missing_ok=True)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _remove(path: Path) -> None:
    for ending in ("", "-journal", "-wal", "-shm"):
        _beside(path, ending).unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- reading what is broken -----------------------------------------------------------------------


@contextlib.contextmanager
def _source(path: Path, *, foreign: bool) -> Iterator[_Source | None]:
    """The old journal, as far as it can be opened; None where it cannot, or is not ours."""
    if foreign or not path.is_file():
        yield None
        return
    repaired = _beside(path, ".repair")
    connection = None
    try:
        connection = _opened(path) or _repaired(path, repaired)
        yield None if connection is None else _Source(connection)
    finally:
        if connection is not None:
            connection.close()
        _remove(repaired)


def _opened(path: Path) -> sqlite3.Connection | None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA query_only=ON")
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'record'").fetchone():
            return connection
    except UNREADABLE:
        pass
    connection.close()
    return None


def _repaired(path: Path, copy: Path) -> sqlite3.Connection | None:
    """A copy with a header as ours have it (sqlite.org/fileformat2.html#the_database_header):
    a broken one hides everything, and holds nothing that we do not know."""
    size = path.stat().st_size
    if not _PAGE <= size <= _REPAIR_MAX:
        return None
    try:
        shutil.copyfile(path, copy)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(_beside(path, "-wal"), _beside(copy, "-wal"))
        with copy.open("r+b") as file:
            file.write(
                struct.pack(
                    ">16sHBBBBBBIIIIIIIIIIII20xII",
                    *(b"SQLite format 3\0", _PAGE, 2, 2, 0, 64, 32, 32),
                    *(1, size // _PAGE, 0, 0, 1, 4, 0, 1, 1, journal_tables.SCHEMA_VERSION, 1, 0),
                    *(1, sqlite3.sqlite_version_info[0] * 1_000_000),
                )
            )
    except OSError:
        return None
    return _opened(copy)


class _Source:
    """Rows of a database of which parts cannot be read: what can be is given, from both ends."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        connection.row_factory = sqlite3.Row

    def rows(self, table: str, columns: str = "*", order: str = "") -> list[Row]:
        """The rows of a table that can be read; `order` are the columns of its key."""
        found: dict[tuple[object, ...], Row] = {}
        keys = [name.strip() for name in (order or "rowid").split(",")]
        shown = columns if order else f"rowid AS rowid, {columns}"
        for direction in ("ASC", "DESC"):
            ordering = ", ".join(f"{key} {direction}" for key in keys)
            with contextlib.suppress(*UNREADABLE):
                cursor = self.connection.execute(f"SELECT {shown} FROM {table} ORDER BY {ordering}")
                for one in cursor:
                    row = dict(one)
                    found.setdefault(tuple(row[key] for key in keys), row)
                break  # all of it
        return list(found.values())

    def one(self, sql: str, *values: object) -> Row | None:
        """One row, None where it is not there or cannot be read."""
        try:
            row = self.connection.execute(sql, values).fetchone()
        except UNREADABLE:
            return None
        return None if row is None else dict(row)

    def intact(self, name: str, row: Row) -> bool:
        """Has the row the seal that it was given?"""
        (sealed,) = [one for one in seals.SEALED if one.name == name]
        try:
            return seals.intact(self.connection, sealed, row)
        except UNREADABLE:
            return False


@dataclass(slots=True)
class _End:
    """Where a run's output has got to, in what was saved so far."""

    chunk_no: int
    step: int
    offset: int
    lines: int


@dataclass(slots=True)
class _Building:
    """A new journal that takes over what the old one had."""

    connection: sqlite3.Connection
    report: Salvaged
    now: int
    runs: Path
    last: dict[Lane, int] = field(default_factory=lambda: dict.fromkeys(Lane, 0))
    tag: dict[Lane, bytes] = field(default_factory=lambda: dict.fromkeys(Lane, NO_TAG))

    def build(
        self, source: _Source | None, worker_uid: bytes, spool_id: bytes, seen: Seen | None
    ) -> None:
        """Take over all that is to be had."""
        self.connection.executemany(
            "INSERT INTO lane (lane, tag, before_tag) VALUES (?, ?, ?)",
            [(int(lane), NO_TAG, NO_TAG) for lane in Lane],
        )
        meta = None if source is None else source.one("SELECT * FROM meta")
        if source is None or meta is None or not source.intact("meta", meta):
            meta = {}
        epoch = max(meta.get("epoch", 0), 0 if seen is None else seen.epoch)
        self.report.epoch = epoch
        self.connection.execute(
            "INSERT INTO meta (one, worker_uid, spool_id, epoch, newest, contact, floor)"
            " VALUES (1, ?, ?, ?, ?, ?, ?)",
            (
                worker_uid,
                spool_id,
                epoch,
                *(meta.get(n, 0) for n in ("newest", "contact", "floor")),
            ),
        )
        keys: set[tuple[bytes, int]] = set()
        if source is not None:
            self.report.readable = True
            names: dict[bytes, str] = {}
            if meta.get("generation") is not None and source.intact("set", meta):
                held = StoredSet(meta["generation"], meta["set_hash"], meta["set_body"])
                names = renewal.names_in(held)
                # With -1 it is in force no more, and is taken on anew at the first tick.
                self.connection.execute(
                    "UPDATE meta SET generation = ?, set_hash = ?, set_body = ?,"
                    " set_applied_at = -1",
                    (meta["generation"], meta["set_hash"], meta["set_body"]),
                )
            safe = Seen(bytes(16)) if seen is None else seen
            numbers = self._records(
                source, Lane.OUTPUT, safe.output_safe, OUTPUT_RECORD, lambda one: one
            )
            self._records(
                source,
                Lane.STATE,
                safe.state_safe,
                STATE_RECORD,
                lambda one: renewal.renumbered(one, numbers),
            )
            keys = self._claims(source, current=_is_current(source, safe))
            self._waiting(source, names)
            for name in ("refusal", "verdict", "boot"):
                self._copy(source, name)
        self._strangers(keys)

    # -- records ----------------------------------------------------------------------------------

    def append(self, lane: Lane, record: Record | bytes) -> None:
        """Add a record to the new spool."""
        codec = STATE_RECORD if lane is Lane.STATE else OUTPUT_RECORD
        data = record if isinstance(record, bytes) else codec.encode(record)
        self.last[lane] += 1
        self.tag[lane] = next_tag(self.tag[lane], data)
        self.connection.execute(
            "INSERT INTO record (lane, seq, tag, at, data) VALUES (?, ?, ?, ?, ?)",
            (int(lane), self.last[lane], self.tag[lane], self.now, data),
        )
        self.connection.execute(
            "UPDATE lane SET last = ?, tag = ?, bytes = bytes + ? WHERE lane = ?",
            (self.last[lane], self.tag[lane], len(data), int(lane)),
        )

    def _records(
        self,
        source: _Source,
        lane: Lane,
        safe: int,
        codec: Codec[Record | Unknown],
        changed: Callable[[Record | Unknown], Record | Unknown],
    ) -> dict[int, int]:
        """Take over the records that the server has not acknowledged, certainly not those up to
        `safe`; the new number of each."""
        facts = source.one("SELECT * FROM lane WHERE lane = ?", int(lane))
        known = facts is not None and source.intact("lane", facts)
        if facts is not None and known:
            safe = max(safe, facts["acknowledged"])
        rowids = {
            row["seq"]: row["rowid"]
            for row in source.rows("record", "lane, seq")
            if row["lane"] == int(lane) and isinstance(row["seq"], int) and row["seq"] > 0
        }
        before = {0: NO_TAG}
        if facts is not None and known and rowids:
            before[min(rowids) - 1] = facts["before_tag"]
        numbers: dict[int, int] = {}
        ends: dict[tuple[bytes, int], _End] = {}
        for seq in sorted(seq for seq in rowids if seq > safe):
            data = _genuine(source, rowids, before, seq)
            record = None if data is None else _decoded(codec, data)
            if data is None or record is None:
                continue
            if isinstance(record, Output):
                self._mark_gap(ends, record)
            told = changed(record)
            self.append(lane, data if told is record or isinstance(told, Unknown) else told)
            numbers[seq] = self.last[lane]
        self.report.records += len(numbers)
        expected = len(rowids)
        if facts is not None and known:
            expected = facts["last"] - safe
        self.report.lost += max(0, expected - len(numbers))
        return numbers

    def _mark_gap(self, ends: dict[tuple[bytes, int], _End], record: Output) -> None:
        """Say what is missing between two chunks of a run of which the first was saved, too."""
        key = record.run_id, record.attempt
        end = ends.get(key)
        if end is not None and end.offset < record.offset and end.chunk_no + 1 < record.chunk_no:
            self.append(
                Lane.OUTPUT,
                Cut(
                    run_id=record.run_id,
                    attempt=record.attempt,
                    chunk_no=end.chunk_no + 1,
                    step=end.step,
                    from_offset=end.offset,
                    to_offset=record.offset,
                    first_line=end.lines,
                    lines=max(0, record.first_line - end.lines),
                    at=self.now,
                    reason=LOST_OUTPUT,
                ),
            )
        ends[key] = _End(
            record.chunk_no,
            record.step,
            record.offset + len(record.data),
            record.first_line + record.lines,
        )

    # -- claims -----------------------------------------------------------------------------------

    def _claims(self, source: _Source, *, current: bool) -> set[tuple[bytes, int]]:
        """Take over the claims; what runs is followed where its place in its output is known: not
        in a journal that is not `current`, as output may have been taken over since."""
        holes = self._held(source)
        keys = set()
        for row in source.rows("claim", order="run_id, attempt"):
            if not _is_claim(row):
                continue
            intact = source.intact("claim", row)
            key = row["run_id"], row["attempt"]
            keys.add(key)
            self.report.claims += 1
            goes_on = row["open"] == 1 and intact and current and key not in holes
            self.report.runs += goes_on
            if goes_on or row["open"] == 0:
                self._insert("claim", row)
            else:
                self._interrupt(key)
                closed = {"open": 0, "position": 0, "progress": b"", "spec": b""}
                self._insert("claim", {**row, **closed})
        self.connection.execute(
            "DELETE FROM held WHERE NOT EXISTS (SELECT 1 FROM claim WHERE open = 1"
            " AND claim.run_id = held.run_id AND claim.attempt = held.attempt)"
        )
        return keys

    def _held(self, source: _Source) -> set[tuple[bytes, int]]:
        """Take over the chunks that are held back, one at a time; the attempts that lack some."""
        holes = set()
        for row in source.rows("held", "run_id, attempt, chunk_no", "run_id, attempt, chunk_no"):
            found = source.one(
                "SELECT * FROM held WHERE run_id = ? AND attempt = ? AND chunk_no = ?",
                *(row["run_id"], row["attempt"], row["chunk_no"]),
            )
            if found is not None and source.intact("held", found):
                self._insert("held", found)
            else:
                holes.add((row["run_id"], row["attempt"]))
        return holes

    def _strangers(self, keys: set[tuple[bytes, int]]) -> None:
        """What the keeper holds and no claim tells of: it started, and never will again."""
        with contextlib.suppress(OSError):
            for directory in sorted(self.runs.iterdir()):
                found = files.parse_attempt_name(directory.name)
                if found is None or (key := (bytes.fromhex(found[0]), found[1])) in keys:
                    continue
                self._interrupt(key)
                slot = int.from_bytes(key[0][:6], "big") * 1000
                self._insert(
                    "claim",
                    {
                        "run_id": key[0],
                        "attempt": key[1],
                        "schedule_uid": bytes(16),
                        "slot": slot,
                        "at": self.now,
                        "boot_id": bytes(16),
                        "spec": b"",
                        "open": 0,
                    },
                )

    def _interrupt(self, key: tuple[bytes, int]) -> None:
        self.report.interrupted += 1
        self.append(Lane.STATE, renewal.interrupted(*key, self.now))

    # -- what is decided and not claimed ----------------------------------------------------------

    def _waiting(self, source: _Source, names: Mapping[bytes, str]) -> None:
        """What waits is given up: whether it has started meanwhile, nobody knows for certain."""
        for row in source.rows("waiting", order="run_id"):
            if source.intact("waiting", row):
                record = renewal.given_up(WaitingStart(**row), GIVEN_UP, names)
                self.append(Lane.STATE, record)

    def _copy(self, source: _Source, name: str) -> None:
        """Take over the rows of a table as they are, where they are as they were written."""
        key = "schedule_uid" if name == "boot" else "run_id"
        for row in source.rows(name, order=key):
            if source.intact(name, row):
                self._insert(name, row)

    def _insert(self, table: str, row: Mapping[str, object]) -> None:
        names = ", ".join(row)
        marks = ", ".join("?" for _ in row)
        self.connection.execute(
            f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", list(row.values())
        )


def _is_current(source: _Source, seen: Seen) -> bool:
    """Has the journal all that was ever committed to it?"""
    found = source.one("SELECT sum FROM seal WHERE name = 'commits'")
    return found is not None and isinstance(found["sum"], int) and found["sum"] >= seen.commits


def _is_claim(row: Row) -> bool:
    """Is this the claim of anything, whatever has become of the rest of it?"""
    return (
        all(isinstance(row[name], bytes) for name in ("run_id", "schedule_uid", "boot_id", "spec"))
        and len(row["run_id"]) == 16
        and all(isinstance(row[name], int) for name in ("attempt", "slot", "at", "open"))
    )


def _decoded(codec: Codec[Record | Unknown], data: bytes) -> Record | Unknown | None:
    try:
        return codec.decode(data)
    except CodecError:
        return None


def _genuine(
    source: _Source, rowids: Mapping[int, int], before: dict[int, bytes], seq: int
) -> bytes | None:
    """The bytes of a record, if the chain of tags vouches for them: the tag before it, and its own
    or, where that is what broke, the one after it. `before` are tags that are known to be right.
    """
    row = source.one("SELECT tag, data FROM record WHERE rowid = ?", rowids[seq])
    if row is None or not isinstance(row["data"], bytes):
        return None
    previous = before.get(seq - 1)
    if previous is None and seq - 1 in rowids:
        found = source.one("SELECT tag FROM record WHERE rowid = ?", rowids[seq - 1])
        previous = None if found is None else found["tag"]
    if not isinstance(previous, bytes):
        return None
    computed = next_tag(previous, row["data"])
    if computed != row["tag"]:
        after = rowids.get(seq + 1)
        follows = None
        if after is not None:
            follows = source.one("SELECT tag, data FROM record WHERE rowid = ?", after)
        if follows is None or not isinstance(follows["data"], bytes):
            return None
        if next_tag(computed, follows["data"]) != follows["tag"]:
            return None
    before.clear()
    before[seq] = computed
    return bytes(row["data"])
