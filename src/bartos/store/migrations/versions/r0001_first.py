"""The first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BINARY(length=16).with_variant(sa.LargeBinary(length=16), "sqlite")
TAG = sa.BINARY(length=8).with_variant(sa.LargeBinary(length=8), "sqlite")
BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
LONG = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
ROW = sa.BigInteger().with_variant(sa.INTEGER(), "sqlite")
# MariaDB commits each statement: a step that broke off is done again from its beginning.
OPTIONS: dict[str, Any] = {
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
    "if_not_exists": True,
}


def upgrade() -> None:
    op.create_table(
        "dead_letter",
        sa.Column("id", ROW, autoincrement=True, nullable=False),
        sa.Column("spool_id", ID, nullable=False),
        sa.Column("worker", sa.String(length=255), nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("data", BLOB, nullable=False),
        sa.Column("error", LONG, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **OPTIONS,
    )
    op.create_table(
        "event",
        sa.Column("id", ROW, autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("worker", sa.String(length=255), nullable=False),
        sa.Column("facts", LONG, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **OPTIONS,
    )
    op.create_index("event_at", "event", ["at"], unique=False, if_not_exists=True)
    op.create_table(
        "exit_status",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("command", LONG, nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("signal", sa.Integer(), nullable=True),
        sa.Column("success", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", LONG, nullable=True),
        sa.PrimaryKeyConstraint("run_id", "attempt", "step"),
        **OPTIONS,
    )
    op.create_table(
        "output",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("chunk_no", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("first_line", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("segments", BLOB, nullable=False),
        sa.Column("data", BLOB, nullable=False),
        sa.UniqueConstraint("run_id", "attempt", "chunk_no", name="output_key"),
        **OPTIONS,
    )
    op.create_table(
        "run",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("schedule_uid", ID, nullable=False),
        sa.Column("schedule", sa.String(length=255), nullable=False),
        sa.Column("worker_uid", ID, nullable=False),
        sa.Column("worker", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=False),
        sa.Column("claimed_at", sa.BigInteger(), nullable=False),
        sa.Column("late_us", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.SmallInteger(), nullable=True),
        sa.Column("reason", LONG, nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("signal", sa.Integer(), nullable=True),
        sa.Column("spool_id", ID, nullable=False),
        sa.Column("output_seq", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.Column("bytes_err", sa.BigInteger(), nullable=False),
        sa.Column("cut_bytes", sa.BigInteger(), nullable=False),
        sa.Column("cut_lines", sa.BigInteger(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
        **OPTIONS,
    )
    op.create_index(
        "run_schedule", "run", ["schedule", "slot", "run_id"], unique=False, if_not_exists=True
    )
    op.create_index("run_slot", "run", ["slot", "run_id"], unique=False, if_not_exists=True)
    newest = ["schedule_uid", "worker_uid", "verdict", "slot"]
    op.create_index("run_newest", "run", newest, unique=False, if_not_exists=True)
    op.create_index("run_verdict", "run", ["verdict", "ended_at"], unique=False, if_not_exists=True)
    op.create_index(
        "run_worker", "run", ["worker", "slot", "run_id"], unique=False, if_not_exists=True
    )
    op.create_table(
        "schedule",
        sa.Column("uid", ID, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("definition", LONG, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
        **OPTIONS,
    )
    op.create_table(
        "schedule_version",
        sa.Column("uid", ID, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("definition", LONG, nullable=False),
        sa.Column("from_at", sa.BigInteger(), nullable=False),
        sa.Column("until_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("uid", "version", "until_at"),
        **OPTIONS,
    )
    op.create_table(
        "slot_range",
        sa.Column("id", ROW, autoincrement=True, nullable=False),
        sa.Column("schedule_uid", ID, nullable=False),
        sa.Column("schedule", sa.String(length=255), nullable=False),
        sa.Column("worker_uid", ID, nullable=False),
        sa.Column("worker", sa.String(length=255), nullable=False),
        sa.Column("first_slot", sa.BigInteger(), nullable=False),
        sa.Column("last_slot", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.SmallInteger(), nullable=False),
        sa.Column("reason", LONG, nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **OPTIONS,
    )
    op.create_index(
        "slot_range_schedule",
        "slot_range",
        ["schedule", "last_slot"],
        unique=False,
        if_not_exists=True,
    )
    op.create_index(
        "slot_range_slot", "slot_range", ["last_slot"], unique=False, if_not_exists=True
    )
    op.create_index(
        "slot_range_worker", "slot_range", ["worker", "last_slot"], unique=False, if_not_exists=True
    )
    op.create_table(
        "spool_mark",
        sa.Column("spool_id", ID, nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("tag", TAG, nullable=False),
        sa.PrimaryKeyConstraint("spool_id", "lane"),
        **OPTIONS,
    )
    op.create_table(
        "worker",
        sa.Column("uid", ID, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("spool_id", ID, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("set_hash", BLOB, nullable=False),
        sa.Column("labels", LONG, nullable=False),
        sa.Column("version", sa.String(length=255), nullable=False),
        sa.Column("capabilities", LONG, nullable=False),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
        **OPTIONS,
    )
    op.create_index("worker_name", "worker", ["name"], unique=False, if_not_exists=True)


def downgrade() -> None:
    op.drop_table("worker", if_exists=True)
    op.drop_table("spool_mark", if_exists=True)
    op.drop_table("slot_range", if_exists=True)
    op.drop_table("schedule_version", if_exists=True)
    op.drop_table("schedule", if_exists=True)
    op.drop_table("run", if_exists=True)
    op.drop_table("output", if_exists=True)
    op.drop_table("exit_status", if_exists=True)
    op.drop_table("event", if_exists=True)
    op.drop_table("dead_letter", if_exists=True)
