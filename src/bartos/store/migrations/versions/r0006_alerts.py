"""What was told by alerts, and what is to be told."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ID = sa.BINARY(length=16).with_variant(sa.LargeBinary(length=16), "sqlite")
LONG = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
# MariaDB commits each statement: a step that broke off is done again from its beginning.
OPTIONS: dict[str, Any] = {
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
    "if_not_exists": True,
}
TABLES = ("alert", "alert_send", "alert_state")


def upgrade() -> None:
    op.create_table(
        "alert",
        sa.Column("id", ID, nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("schedule_uid", ID, nullable=False),
        sa.Column("schedule", sa.String(length=255), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("members", LONG, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **OPTIONS,
    )
    op.create_index("alert_due", "alert", ["due"], unique=False, if_not_exists=True)
    op.create_table(
        "alert_send",
        sa.Column("alert_id", ID, nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("claimed_until", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.Column("error", LONG, nullable=False),
        sa.PrimaryKeyConstraint("alert_id", "channel"),
        **OPTIONS,
    )
    waits = ["channel", "done_at", "next_at"]
    op.create_index("alert_send_waits", "alert_send", waits, unique=False, if_not_exists=True)
    op.create_table(
        "alert_state",
        sa.Column("schedule_uid", ID, nullable=False),
        sa.Column("worker_uid", ID, nullable=False),
        sa.Column("trouble", sa.String(length=16), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.PrimaryKeyConstraint("schedule_uid", "worker_uid"),
        **OPTIONS,
    )
    decided = ["verdict", "decided_at"]
    op.create_index("slot_range_decided", "slot_range", decided, unique=False, if_not_exists=True)


def downgrade() -> None:
    op.drop_index("slot_range_decided", "slot_range", if_exists=True)
    for name in TABLES:
        op.drop_table(name, if_exists=True)
