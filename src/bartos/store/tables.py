"""The tables, declared once for both databases. Migrations arrive at what stands here.

Ids are 16 bytes; instants are integer microseconds since 1970, UTC, which both databases compare
and index exactly. For people there are views with readable times (see `views`).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.types import BINARY, VARBINARY, TypeEngine

metadata = MetaData()

_OPTIONS: Final[dict[str, Any]] = {
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",  # names are equal only if they are the same
}

Identifier: TypeEngine[bytes] = BINARY(16).with_variant(LargeBinary(16), "sqlite")
Blob: TypeEngine[bytes] = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
Long: TypeEngine[str] = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
# SQLite numbers rows by itself only where the key is spelt INTEGER.
Digest: TypeEngine[bytes] = VARBINARY(32).with_variant(LargeBinary(32), "sqlite")
RowNumber: TypeEngine[int] = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
Name: TypeEngine[str] = String(255)

run = Table(
    "run",
    metadata,
    Column("run_id", Identifier, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("schedule_uid", Identifier, nullable=False),
    Column("schedule", Name, nullable=False),
    Column("worker_uid", Identifier, nullable=False),
    Column("worker", Name, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("slot", BigInteger, nullable=False),
    Column("claimed_at", BigInteger, nullable=False),
    Column("late_us", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("verdict", SmallInteger),
    Column("reason", Long, nullable=False),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("spool_id", Identifier, nullable=False),
    Column("output_seq", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("bytes_err", BigInteger, nullable=False),
    Column("cut_bytes", BigInteger, nullable=False),
    Column("cut_lines", BigInteger, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),
    Column("boot_id", Identifier, nullable=False),
    # Claimed under a clock that was set back since: the worker's cursor may be before it.
    Column("ahead", Boolean, nullable=False),
    # Of the last attempt: what came of its output, and what never will.
    Column("received_bytes", BigInteger, nullable=False),
    Column("gap_bytes", BigInteger, nullable=False),
    Column("sha_out", Digest, nullable=False),
    Column("sha_err", Digest, nullable=False),
    Index("run_worker", "worker", "slot", "run_id"),
    Index("run_schedule", "schedule", "slot", "run_id"),
    Index("run_verdict", "verdict", "ended_at"),
    Index("run_slot", "slot", "run_id"),
    # The last run and the last failure of a schedule on a worker, which are always kept.
    Index("run_newest", "schedule_uid", "worker_uid", "verdict", "slot"),
    **_OPTIONS,
)

output = Table(
    "output",
    metadata,
    Column("run_id", Identifier, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("chunk_no", BigInteger, nullable=False),
    Column("step", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("first_line", BigInteger, nullable=False),
    Column("lines", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("segments", Blob, nullable=False),
    Column("data", Blob, nullable=False),
    UniqueConstraint("run_id", "attempt", "chunk_no", name="output_key"),
    **_OPTIONS,
)

exit_status = Table(
    "exit_status",
    metadata,
    Column("run_id", Identifier, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("command", Long, nullable=False),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("success", Boolean, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger, nullable=False),
    Column("reason", Long),
    PrimaryKeyConstraint("run_id", "attempt", "step"),
    **_OPTIONS,
)

slot_range = Table(
    "slot_range",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("schedule_uid", Identifier, nullable=False),
    Column("schedule", Name, nullable=False),
    Column("worker_uid", Identifier, nullable=False),
    Column("worker", Name, nullable=False),
    Column("first_slot", BigInteger, nullable=False),
    Column("last_slot", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("verdict", SmallInteger, nullable=False),
    Column("reason", Long, nullable=False),
    Column("decided_at", BigInteger, nullable=False),
    # One occurrence that is none of the calendar's; zeros for slots of the calendar.
    Column("run_id", Identifier, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    # What is told again changes nothing.
    Index("slot_range_key", "worker_uid", "schedule_uid", "first_slot", "run_id", unique=True),
    Index("slot_range_lost", "verdict", "worker_uid"),
    Index("slot_range_decided", "verdict", "decided_at"),
    Index("slot_range_run", "run_id"),
    Index("slot_range_slot", "last_slot"),
    Index("slot_range_worker", "worker", "last_slot"),
    Index("slot_range_schedule", "schedule", "last_slot"),
    **_OPTIONS,
)

timing = Table(
    "timing",
    metadata,
    Column("hash", Identifier, primary_key=True),
    Column("text", Long, nullable=False),
    **_OPTIONS,
)

applied = Table(
    "applied",
    metadata,
    Column("worker_uid", Identifier, nullable=False),
    Column("schedule_uid", Identifier, nullable=False),
    Column("from_at", BigInteger, nullable=False),
    Column("until_at", BigInteger),
    Column("timing", Identifier, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("spool_id", Identifier, nullable=False),
    Column("torn", Boolean, nullable=False),
    Column("kept_from", BigInteger, nullable=False),
    PrimaryKeyConstraint("worker_uid", "schedule_uid", "from_at"),
    **_OPTIONS,
)

waiting = Table(
    "waiting",
    metadata,
    Column("run_id", Identifier, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("schedule_uid", Identifier, nullable=False),
    Column("schedule", Name, nullable=False),
    Column("worker_uid", Identifier, nullable=False),
    Column("worker", Name, nullable=False),
    Column("slot", BigInteger, nullable=False),
    Column("cause", Blob, nullable=False),
    Column("why", String(32), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("until_at", BigInteger),
    Index("waiting_pair", "worker_uid", "schedule_uid", "slot"),
    **_OPTIONS,
)

refusal = Table(
    "refusal",
    metadata,
    Column("run_id", Identifier, nullable=False),
    Column("worker_uid", Identifier, nullable=False),
    Column("spool_id", Identifier, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("reason", Long, nullable=False),
    PrimaryKeyConstraint("run_id", "worker_uid", "spool_id"),
    **_OPTIONS,
)

gap = Table(
    "gap",
    metadata,
    Column("spool_id", Identifier, nullable=False),
    Column("lane", SmallInteger, nullable=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("worker_uid", Identifier, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("spool_id", "lane", "first_seq"),
    Index("gap_worker", "worker_uid", "at"),
    **_OPTIONS,
)

worker = Table(
    "worker",
    metadata,
    Column("uid", Identifier, primary_key=True),
    Column("name", Name, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("spool_id", Identifier, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("set_hash", Blob, nullable=False),
    Column("labels", Long, nullable=False),
    Column("version", Name, nullable=False),
    Column("capabilities", Long, nullable=False),
    Column("first_seen", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("address", Name, nullable=False),
    Index("worker_name", "name"),
    **_OPTIONS,
)

spool_mark = Table(
    "spool_mark",
    metadata,
    Column("spool_id", Identifier, nullable=False),
    Column("lane", SmallInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("tag", BINARY(8).with_variant(LargeBinary(8), "sqlite"), nullable=False),
    PrimaryKeyConstraint("spool_id", "lane"),
    **_OPTIONS,
)

schedule = Table(
    "schedule",
    metadata,
    Column("uid", Identifier, primary_key=True),
    Column("name", Name, nullable=False),
    Column("definition", Long, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    **_OPTIONS,
)

schedule_version = Table(
    "schedule_version",
    metadata,
    Column("uid", Identifier, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("name", Name, nullable=False),
    Column("definition", Long, nullable=False),
    Column("from_at", BigInteger, nullable=False),
    Column("until_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("uid", "version", "until_at"),
    **_OPTIONS,
)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("spool_id", Identifier, nullable=False),
    Column("worker", Name, nullable=False),
    Column("lane", SmallInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("data", Blob, nullable=False),
    Column("error", Long, nullable=False),
    **_OPTIONS,
)

event = Table(
    "event",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("worker", Name, nullable=False),
    Column("facts", Long, nullable=False),
    Index("event_at", "at"),
    **_OPTIONS,
)

# -- what the server starts itself ----------------------------------------------------------------

intent = Table(
    "intent",
    metadata,
    Column("run_id", Identifier, primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("schedule_uid", Identifier, nullable=False),
    Column("schedule", Name, nullable=False),
    Column("slot", BigInteger, nullable=False),
    Column("cause", Blob, nullable=False),
    Column("spec", Blob, nullable=False),
    Column("worker_uid", Identifier, nullable=False),
    Column("worker", Name, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("caught_up", Boolean, nullable=False),
    Column("request", Identifier, nullable=False),
    Column("who", Name, nullable=False),
    Column("why", Long, nullable=False),
    Column("closed_at", BigInteger),
    Column("verdict", SmallInteger),
    Column("reason", Long, nullable=False),
    Index("intent_closed", "closed_at"),
    Index("intent_request", "request"),
    **_OPTIONS,
)

offer = Table(
    "offer",
    metadata,
    Column("run_id", Identifier, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("worker_uid", Identifier, nullable=False),
    Column("spool_id", Identifier, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("run_id", "number"),
    **_OPTIONS,
)

floating_cursor = Table(
    "floating_cursor",
    metadata,
    Column("schedule_uid", Identifier, primary_key=True),
    Column("schedule", Name, nullable=False),
    Column("decided_to", BigInteger, nullable=False),
    Column("timing", Long, nullable=False),
    **_OPTIONS,
)

cancellation = Table(
    "cancellation",
    metadata,
    Column("run_id", Identifier, primary_key=True),
    Column("worker_uid", Identifier, nullable=False),
    Column("who", Name, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", Long, nullable=False),
    **_OPTIONS,
)

parent_end = Table(
    "parent_end",
    metadata,
    Column("run_id", Identifier, primary_key=True),
    Column("schedule_uid", Identifier, nullable=False),
    Column("schedule", Name, nullable=False),
    Column("slot", BigInteger, nullable=False),
    Column("verdict", SmallInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("spool_id", Identifier, nullable=False),
    Column("seq", BigInteger, nullable=False),
    **_OPTIONS,
)

fact = Table(
    "fact",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
    **_OPTIONS,
)

pause = Table(
    "pause",
    metadata,
    Column("schedule_uid", Identifier, primary_key=True),
    Column("schedule", Name, nullable=False),
    Column("who", Name, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", Long, nullable=False),
    Column("until", BigInteger),
    **_OPTIONS,
)

drain = Table(
    "drain",
    metadata,
    Column("worker_uid", Identifier, primary_key=True),
    Column("worker", Name, nullable=False),
    Column("who", Name, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", Long, nullable=False),
    Column("until", BigInteger),
    **_OPTIONS,
)

# -- alerts ---------------------------------------------------------------------------------------

alert = Table(
    "alert",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("event", String(16), nullable=False),
    Column("schedule_uid", Identifier, nullable=False),
    Column("schedule", Name, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("members", Long, nullable=False),
    Index("alert_due", "due"),
    **_OPTIONS,
)

alert_send = Table(
    "alert_send",
    metadata,
    Column("alert_id", Identifier, nullable=False),
    Column("channel", String(16), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("claimed_until", BigInteger, nullable=False),
    Column("done_at", BigInteger),
    Column("error", Long, nullable=False),
    PrimaryKeyConstraint("alert_id", "channel"),
    Index("alert_send_waits", "channel", "done_at", "next_at"),
    **_OPTIONS,
)

alert_state = Table(
    "alert_state",
    metadata,
    Column("schedule_uid", Identifier, nullable=False),
    Column("worker_uid", Identifier, nullable=False),
    Column("trouble", String(16), nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("slot", BigInteger, nullable=False),
    Column("run_id", Identifier, nullable=False),
    PrimaryKeyConstraint("schedule_uid", "worker_uid"),
    **_OPTIONS,
)
