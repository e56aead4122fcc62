"""When schedules count and by which trigger, what waits, what is lost; what came of output."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.BINARY(length=16).with_variant(sa.LargeBinary(length=16), "sqlite")
DIGEST = sa.VARBINARY(length=32).with_variant(sa.LargeBinary(length=32), "sqlite")
BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
LONG = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
# MariaDB commits each statement: a step that broke off is done again from its beginning.
OPTIONS: dict[str, Any] = {
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
    "if_not_exists": True,
}
NO_ID = sa.text("x'00000000000000000000000000000000'")
NO_BYTES = sa.text("x''")
ZERO = sa.text("0")
RUN_COLUMNS = ("boot_id", "ahead", "received_bytes", "gap_bytes", "sha_out", "sha_err")
RANGE_COLUMNS = ("run_id", "kind")
TABLES = ("timing", "applied", "waiting", "refusal", "gap")


def upgrade() -> None:
    op.create_table(
        "timing",
        sa.Column("hash", ID, nullable=False),
        sa.Column("text", LONG, nullable=False),
        sa.PrimaryKeyConstraint("hash"),
        **OPTIONS,
    )
    op.create_table(
        "applied",
        sa.Column("worker_uid", ID, nullable=False),
        sa.Column("schedule_uid", ID, nullable=False),
        sa.Column("from_at", sa.BigInteger(), nullable=False),
        sa.Column("until_at", sa.BigInteger(), nullable=True),
        sa.Column("timing", ID, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("spool_id", ID, nullable=False),
        sa.Column("torn", sa.Boolean(), nullable=False),
        sa.Column("kept_from", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("worker_uid", "schedule_uid", "from_at"),
        **OPTIONS,
    )
    op.create_table(
        "waiting",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("schedule_uid", ID, nullable=False),
        sa.Column("schedule", sa.String(length=255), nullable=False),
        sa.Column("worker_uid", ID, nullable=False),
        sa.Column("worker", sa.String(length=255), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=False),
        sa.Column("cause", BLOB, nullable=False),
        sa.Column("why", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("until_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("run_id"),
        **OPTIONS,
    )
    pair = ["worker_uid", "schedule_uid"]
    op.create_index("waiting_pair", "waiting", [*pair, "slot"], unique=False, if_not_exists=True)
    op.create_table(
        "refusal",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("worker_uid", ID, nullable=False),
        sa.Column("spool_id", ID, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("reason", LONG, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "worker_uid", "spool_id"),
        **OPTIONS,
    )
    op.create_table(
        "gap",
        sa.Column("spool_id", ID, nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("worker_uid", ID, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("spool_id", "lane", "first_seq"),
        **OPTIONS,
    )
    op.create_index("gap_worker", "gap", ["worker_uid", "at"], unique=False, if_not_exists=True)

    _add("run", sa.Column("boot_id", ID, nullable=False, server_default=NO_ID))
    _add("run", sa.Column("ahead", sa.Boolean(), nullable=False, server_default=ZERO))
    _add("run", sa.Column("received_bytes", sa.BigInteger(), nullable=False, server_default=ZERO))
    _add("run", sa.Column("gap_bytes", sa.BigInteger(), nullable=False, server_default=ZERO))
    _add("run", sa.Column("sha_out", DIGEST, nullable=False, server_default=NO_BYTES))
    _add("run", sa.Column("sha_err", DIGEST, nullable=False, server_default=NO_BYTES))
    # Nobody counted what came of these; they are as complete as they were.
    op.execute(
        "UPDATE run SET received_bytes = bytes_out + bytes_err - cut_bytes"
        " WHERE verdict IS NOT NULL AND received_bytes = 0"
    )
    op.execute(
        "UPDATE run SET received_bytes = stored_bytes WHERE verdict IS NULL AND received_bytes = 0"
    )

    _add("slot_range", sa.Column("run_id", ID, nullable=False, server_default=NO_ID))
    _add("slot_range", sa.Column("kind", sa.SmallInteger(), nullable=False, server_default=ZERO))
    op.execute(
        "DELETE FROM slot_range WHERE id NOT IN (SELECT id FROM (SELECT MIN(id) AS id"
        " FROM slot_range GROUP BY worker_uid, schedule_uid, first_slot, run_id) AS kept)"
    )
    key = [*pair, "first_slot", "run_id"]
    op.create_index("slot_range_key", "slot_range", key, unique=True, if_not_exists=True)
    lost = ["verdict", "worker_uid"]
    op.create_index("slot_range_lost", "slot_range", lost, unique=False, if_not_exists=True)
    op.create_index("slot_range_run", "slot_range", ["run_id"], unique=False, if_not_exists=True)


def _add(table: str, column: "sa.Column[Any]") -> None:
    if column.name not in _columns(table):
        op.add_column(table, column)


def _columns(table: str) -> set[str]:
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}


def downgrade() -> None:
    op.drop_index("slot_range_key", "slot_range", if_exists=True)
    op.drop_index("slot_range_lost", "slot_range", if_exists=True)
    op.drop_index("slot_range_run", "slot_range", if_exists=True)
    for table, names in (("run", RUN_COLUMNS), ("slot_range", RANGE_COLUMNS)):
        for name in names:
            if name in _columns(table):
                op.drop_column(table, name)
    for name in TABLES:
        op.drop_table(name, if_exists=True)
