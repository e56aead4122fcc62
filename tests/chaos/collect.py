"""Gathers a history from its witnesses: the ledger, the workers' journals, the database."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from libbarto.codec import Unknown
from libbarto.identity import Kind, uuid_text
from libbarto.message.v2 import record, segment
from libbarto.message.v2.record import STATE_RECORD, Lane, Verdict
from tests.chaos.database import Database, Row
from tests.chaos.history import (
    Applied,
    Chunk,
    Claimed,
    ClockBack,
    Decided,
    Ended,
    Glimpse,
    Journal,
    Mark,
    Range,
    Run,
    Settled,
    Told,
)

LEDGER_FIELDS: Final = 8


def ledger(file: Path) -> list[Mark]:
    """The lines of the ledger. Raises `ValueError` where one of them is torn."""
    marks = []
    for line in file.read_text(encoding="ascii").splitlines() if file.exists() else ():
        fields = line.split(" ")
        if len(fields) != LEDGER_FIELDS:
            raise ValueError(f"a line of the ledger is torn: {line!r}")
        what, run, schedule, slot, worker, attempt, pid, at = fields
        marks.append(
            Mark(
                what=what,
                run=run,
                schedule=schedule,
                slot=instant(slot),
                worker=worker,
                attempt=int(attempt),
                pid=int(pid),
                at=int(at) // 1000,
            )
        )
    return marks


def instant(text: str) -> int:
    """RFC 3339 as microseconds since 1970.

    >>> instant("1970-01-01T00:00:01.5Z")
    1500000
    """
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


# -- journals -------------------------------------------------------------------------------------


def lanes(file: Path) -> tuple[dict[int, tuple[int, int]], int]:
    """Of a journal: for each lane the last number and the acknowledged one; then how many claims
    are open. Raises `sqlite3.Error`."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5)
    try:
        found = {
            lane: (last, acknowledged)
            for lane, last, acknowledged in connection.execute(
                "SELECT lane, last, acknowledged FROM lane"
            )
        }
        (opened,) = connection.execute("SELECT count(*) FROM claim WHERE open = 1").fetchone()
        return found, opened
    finally:
        connection.close()


def state_records(file: Path, after: int = 0) -> dict[int, bytes]:
    """The state records beyond a number that a journal holds. Raises `sqlite3.Error`."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5)
    try:
        return dict(
            connection.execute(
                "SELECT seq, data FROM record WHERE lane = ? AND seq > ? ORDER BY seq",
                (int(Lane.STATE), after),
            )
        )
    finally:
        connection.close()


class Follower:
    """Reads along in a journal while it is written, since what the server has may be dropped from
    it before the end: a disk was full."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._records: dict[int, bytes] = {}

    def look(self) -> None:
        """Take in what is new. Raises `sqlite3.Error`."""
        self._records |= state_records(self._file, max(self._records, default=0))

    @property
    def missing(self) -> int:
        """How many records were gone before they were seen."""
        return max(self._records, default=0) - len(self._records)

    def told(self) -> list[Told]:
        """What the checker wants to know of them."""
        decoded = (STATE_RECORD.decode(data) for _, data in sorted(self._records.items()))
        return told([one for one in decoded if not isinstance(one, Unknown)])


def worker_uid(file: Path) -> str:
    """Whose journal it is. Raises `sqlite3.Error`."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5)
    try:
        (uid,) = connection.execute("SELECT worker_uid FROM meta").fetchone()
    finally:
        connection.close()
    return bytes(uid).hex()


def journal(worker: str, file: Path, follower: Follower) -> Journal:
    """A worker's journal at the end. Raises `sqlite3.Error`."""
    found, opened = lanes(file)
    follower.look()
    return Journal(
        worker=worker,
        uid=worker_uid(file),
        told=follower.told(),
        missing=follower.missing,
        state_last=found[Lane.STATE][0],
        state_acknowledged=found[Lane.STATE][1],
        output_last=found[Lane.OUTPUT][0],
        output_acknowledged=found[Lane.OUTPUT][1],
        open_claims=opened,
    )


def told(records: list[record.Record]) -> list[Told]:
    """What the checker wants to know of a worker's records."""
    found: list[Told] = []
    since: dict[str, int] = {}
    for one in records:
        match one:
            case record.SetApplied():
                names = [uid.hex() for uid in one.schedules]
                if one.since:
                    since = dict(zip(names, one.since, strict=True))
                else:
                    since = {name: since.get(name, one.at) for name in names}
                found.append(Applied(at=one.at, generation=one.generation, since=since))
            case record.ClockBack():
                found.append(ClockBack(now=one.now))
            case record.Claimed():
                found.append(
                    Claimed(
                        run=uuid_text(one.run_id),
                        attempt=one.attempt,
                        schedule=one.schedule,
                        slot=one.slot,
                        at=one.at,
                    )
                )
            case record.Ended():
                found.append(
                    Ended(
                        run=uuid_text(one.run_id),
                        attempt=one.attempt,
                        verdict=Verdict(one.verdict).word,
                        final=one.final,
                    )
                )
            case record.Decided() if one.run_id is not None:
                found.append(
                    Settled(
                        run=uuid_text(one.run_id),
                        schedule=one.schedule,
                        slot=one.first_slot,
                        verdict=Verdict(one.verdict).word,
                    )
                )
            case record.Decided():
                found.append(
                    Decided(
                        schedule=one.schedule,
                        first=one.first_slot,
                        last=one.last_slot,
                        count=one.count,
                        verdict=Verdict(one.verdict).word,
                    )
                )
    return found


# -- the database ---------------------------------------------------------------------------------


def glimpse(database: Database, at: int) -> Glimpse:
    """The verdicts that are there now. Raises `OSError`."""
    rows = database.rows("hex(run_id), attempt, verdict", "run WHERE verdict IS NOT NULL")
    return Glimpse(
        at=at, verdicts=[(_uuid(row[0]), _int(row[1]), _verdict(row[2])) for row in rows]
    )


def runs(database: Database) -> list[Run]:
    """All runs. Raises `OSError`."""
    marks = {
        row[0]: _int(row[1])
        for row in database.rows(
            "hex(spool_id), seq", f"spool_mark WHERE lane = {int(Lane.OUTPUT)}"
        )
    }
    ends = _last_steps(database)
    rows = database.rows(
        "hex(run_id), attempt, schedule, worker, kind, slot, claimed_at, ended_at, verdict, reason,"
        " exit_code, `signal`, output_seq, hex(spool_id), bytes_out, bytes_err, cut_bytes",
        "run ORDER BY slot, run_id",
    )
    found = []
    for row in rows:
        run, attempt = _uuid(row[0]), _int(row[1])
        code, number = ends.get((run, attempt), (row[10], row[11]))
        found.append(
            Run(
                run=run,
                attempt=attempt,
                schedule=str(row[2]),
                worker=str(row[3]),
                kind=Kind(_int(row[4])).name.lower(),
                slot=_int(row[5]),
                claimed_at=_int(row[6]),
                ended_at=_or_none(row[7]),
                verdict=None if row[8] is None else _verdict(row[8]),
                reason=row[9] or "",
                exit_code=_or_none(code),
                signal=_or_none(number),
                complete=row[8] is not None and _int(row[12]) <= marks.get(row[13], 0),
                bytes_out=_int(row[14]),
                bytes_err=_int(row[15]),
                cut_bytes=_int(row[16]),
            )
        )
    return found


def _last_steps(database: Database) -> Mapping[tuple[str, int], tuple[str | None, str | None]]:
    """How the last step of each attempt ended: code and signal."""
    rows = database.rows(
        "hex(run_id), attempt, exit_code, `signal`", "exit_status ORDER BY run_id, attempt, step"
    )
    return {(_uuid(row[0]), _int(row[1])): (row[2], row[3]) for row in rows}


def ranges(database: Database) -> list[Range]:
    """All slots that did not run. Raises `OSError`."""
    rows = database.rows(
        "schedule, worker, first_slot, last_slot, count, verdict, reason, decided_at, hex(run_id)",
        "slot_range ORDER BY id",
    )
    return [
        Range(
            schedule=str(row[0]),
            worker=str(row[1]),
            first=_int(row[2]),
            last=_int(row[3]),
            count=_int(row[4]),
            verdict=_verdict(row[5]),
            reason=row[6] or "",
            decided_at=_int(row[7]),
            run=_uuid(row[8]) if (row[8] or "").strip("0") else "",
        )
        for row in rows
    ]


def chunks(database: Database) -> list[Chunk]:
    """All output. Raises `OSError`."""
    rows = database.rows(
        "hex(run_id), attempt, chunk_no, `offset`, hex(segments), hex(data)",
        "output ORDER BY run_id, attempt, chunk_no",
    )
    return [_chunk(row) for row in rows]


def _chunk(row: Row) -> Chunk:
    data = bytes.fromhex(row[5] or "")
    pieces: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
    position = 0
    for part in segment.unpack(bytes.fromhex(row[4] or "")):
        pieces[0].append((part.stream, data[position : position + part.length]))
        position += part.length
    return Chunk(
        run=_uuid(row[0]),
        attempt=_int(row[1]),
        number=_int(row[2]),
        offset=_int(row[3]),
        pieces=pieces[0],
    )


def dead_letters(database: Database) -> int:
    """How many records were put aside. Raises `OSError`."""
    return _int(database.rows("count(*)", "dead_letter")[0][0])


def _uuid(text: str | None) -> str:
    return uuid_text(bytes.fromhex(text or ""))


def _int(text: str | None) -> int:
    return int(text or "0")


def _or_none(text: str | None) -> int | None:
    return None if text is None else int(text)


def _verdict(text: str | None) -> str:
    return Verdict(_int(text)).word
