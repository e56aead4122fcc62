"""What the server starts itself: intents, offers, cursors, cancellations; and pauses."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.BINARY(length=16).with_variant(sa.LargeBinary(length=16), "sqlite")
BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
LONG = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
# MariaDB commits each statement: a step that broke off is done again from its beginning.
OPTIONS: dict[str, Any] = {
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
    "if_not_exists": True,
}
TABLES = ("intent", "offer", "floating_cursor", "cancellation", "parent_end", "fact", "pause")


def upgrade() -> None:
    op.create_table(
        "intent",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("schedule_uid", ID, nullable=False),
        sa.Column("schedule", sa.String(length=255), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=False),
        sa.Column("cause", BLOB, nullable=False),
        sa.Column("spec", BLOB, nullable=False),
        sa.Column("worker_uid", ID, nullable=False),
        sa.Column("worker", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("caught_up", sa.Boolean(), nullable=False),
        sa.Column("request", ID, nullable=False),
        sa.Column("who", sa.String(length=255), nullable=False),
        sa.Column("why", LONG, nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.SmallInteger(), nullable=True),
        sa.Column("reason", LONG, nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
        **OPTIONS,
    )
    op.create_index("intent_closed", "intent", ["closed_at"], unique=False, if_not_exists=True)
    op.create_index("intent_request", "intent", ["request"], unique=False, if_not_exists=True)
    op.create_table(
        "offer",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("worker_uid", ID, nullable=False),
        sa.Column("spool_id", ID, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "number"),
        **OPTIONS,
    )
    op.create_table(
        "floating_cursor",
        sa.Column("schedule_uid", ID, nullable=False),
        sa.Column("schedule", sa.String(length=255), nullable=False),
        sa.Column("decided_to", sa.BigInteger(), nullable=False),
        sa.Column("timing", LONG, nullable=False),
        sa.PrimaryKeyConstraint("schedule_uid"),
        **OPTIONS,
    )
    op.create_table(
        "cancellation",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("worker_uid", ID, nullable=False),
        sa.Column("who", sa.String(length=255), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", LONG, nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
        **OPTIONS,
    )
    op.create_table(
        "parent_end",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("schedule_uid", ID, nullable=False),
        sa.Column("schedule", sa.String(length=255), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.SmallInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
        **OPTIONS,
    )
    op.create_table(
        "fact",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        **OPTIONS,
    )
    op.create_table(
        "pause",
        sa.Column("schedule_uid", ID, nullable=False),
        sa.Column("schedule", sa.String(length=255), nullable=False),
        sa.Column("who", sa.String(length=255), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", LONG, nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("schedule_uid"),
        **OPTIONS,
    )


def downgrade() -> None:
    for name in TABLES:
        op.drop_table(name, if_exists=True)
