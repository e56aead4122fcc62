"""Which tables does the journal's file have, and how does an older file get those of today?

Also what is written to and read from the tables of what is decided and not claimed: waiting
starts, refused offers, judged occurrences, boots. All within the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Final

from bartoc import seals
from bartoc.journal import JournalState, Transaction, WaitingStart, id_floor

SCHEMA_VERSION: Final = 3

_FIRST = """
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    worker_uid BLOB NOT NULL, spool_id BLOB NOT NULL, epoch INTEGER NOT NULL DEFAULT 0,
    newest INTEGER NOT NULL DEFAULT 0, contact INTEGER NOT NULL DEFAULT 0,
    floor INTEGER NOT NULL DEFAULT 0,
    generation INTEGER, set_hash BLOB, set_body BLOB, set_applied_at INTEGER
);
CREATE TABLE claim (
    run_id BLOB NOT NULL, attempt INTEGER NOT NULL, schedule_uid BLOB NOT NULL,
    slot INTEGER NOT NULL, at INTEGER NOT NULL, boot_id BLOB NOT NULL, spec BLOB NOT NULL,
    open INTEGER NOT NULL DEFAULT 1, position INTEGER NOT NULL DEFAULT 0,
    progress BLOB NOT NULL DEFAULT x'', PRIMARY KEY (run_id, attempt)
) WITHOUT ROWID;
CREATE INDEX claim_open ON claim (open) WHERE open = 1;
CREATE INDEX claim_slot ON claim (slot);
CREATE TABLE cursor (schedule_uid BLOB PRIMARY KEY, slot INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE lane (
    lane INTEGER PRIMARY KEY, last INTEGER NOT NULL DEFAULT 0, tag BLOB NOT NULL,
    before_tag BLOB NOT NULL, acknowledged INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE record (
    lane INTEGER NOT NULL, seq INTEGER NOT NULL, tag BLOB NOT NULL, at INTEGER NOT NULL,
    data BLOB NOT NULL, PRIMARY KEY (lane, seq)
);
CREATE TABLE held (
    run_id BLOB NOT NULL, attempt INTEGER NOT NULL, chunk_no INTEGER NOT NULL,
    size INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (run_id, attempt, chunk_no)
)
"""

_SECOND = """
ALTER TABLE cursor ADD COLUMN since INTEGER;
CREATE INDEX claim_ahead ON claim (schedule_uid, slot);
CREATE TABLE waiting (
    run_id BLOB PRIMARY KEY, attempt INTEGER NOT NULL, kind INTEGER NOT NULL,
    schedule_uid BLOB NOT NULL, slot INTEGER NOT NULL, cause BLOB NOT NULL, why TEXT NOT NULL,
    at INTEGER NOT NULL, due INTEGER NOT NULL, until INTEGER, spec BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE refusal (run_id BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE verdict (run_id BLOB PRIMARY KEY, slot INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE boot (schedule_uid BLOB PRIMARY KEY, boot_id BLOB NOT NULL) WITHOUT ROWID
"""

SEALED_SINCE: Final = 3
"""The version from which on the rows of a file have seals; an upgrade seals them anew."""

_STEPS: Final = (_FIRST, _SECOND, seals.TABLE)
"""What each version of the format adds to the one before."""


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Bring a file of this version (0: a new one) to today's."""
    for step in _STEPS[version:]:
        for statement in step.split(";\n"):
            connection.execute(statement)
    seals.seal_all(connection)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def write_before_claims(connection: sqlite3.Connection, change: Transaction) -> None:
    """The starts that wait: a claim of theirs is made whatever the floor is."""
    connection.executemany(
        "INSERT OR REPLACE INTO waiting VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                start.run_id,
                start.attempt,
                start.kind,
                start.schedule_uid,
                start.slot,
                start.cause,
                start.why,
                start.at,
                start.due,
                start.until,
                start.spec,
            )
            for start in change.waiting
        ],
    )


def write_after_claims(connection: sqlite3.Connection, change: Transaction) -> None:
    """All the rest of what is decided and not claimed, and the cursors."""
    connection.executemany(
        "DELETE FROM waiting WHERE run_id = ?", [(run_id,) for run_id in change.unwaiting]
    )
    connection.executemany(
        "INSERT INTO cursor (schedule_uid, slot) VALUES (?, max(?, (SELECT floor FROM meta)))"
        " ON CONFLICT DO UPDATE SET slot = excluded.slot",
        list(change.cursors.items()),
    )
    connection.executemany(
        "UPDATE cursor SET since = max(?, (SELECT floor FROM meta)) WHERE schedule_uid = ?",
        [(instant, uid) for uid, instant in change.since.items()],
    )
    connection.executemany(
        "INSERT INTO refusal VALUES (?, ?)"
        " ON CONFLICT DO UPDATE SET number = max(number, excluded.number)",
        list(change.refusals.items()),
    )
    connection.executemany("INSERT OR REPLACE INTO verdict VALUES (?, ?)", change.verdicts.items())
    connection.executemany("INSERT OR REPLACE INTO boot VALUES (?, ?)", change.boots.items())


def read_into(connection: sqlite3.Connection, state: JournalState) -> JournalState:
    """The state with all that these tables hold."""
    return replace(
        state,
        since=dict(
            connection.execute("SELECT schedule_uid, since FROM cursor WHERE since IS NOT NULL")
        ),
        waiting=tuple(WaitingStart(*row) for row in connection.execute("SELECT * FROM waiting")),
        refusals=dict(connection.execute("SELECT run_id, number FROM refusal")),
        verdicts=dict(connection.execute("SELECT run_id, slot FROM verdict")),
        boots=dict(connection.execute("SELECT schedule_uid, boot_id FROM boot")),
        # CROSS JOIN has SQLite look up each cursor's claims, instead of going through them all
        # (sqlite.org/optoverview.html#crossjoin).
        ahead=tuple(
            connection.execute(
                "SELECT DISTINCT claim.run_id, claim.schedule_uid, claim.slot"
                " FROM cursor CROSS JOIN claim ON claim.schedule_uid = cursor.schedule_uid"
                " AND claim.slot > cursor.slot ORDER BY claim.run_id"
            )
        ),
    )


def prune(connection: sqlite3.Connection) -> None:
    """Let go of what was refused or judged of occurrences up to the floor."""
    (floor,) = connection.execute("SELECT floor FROM meta").fetchone()
    connection.execute("DELETE FROM refusal WHERE run_id < ?", (id_floor(floor),))
    connection.execute("DELETE FROM verdict WHERE slot <= ?", (floor,))
