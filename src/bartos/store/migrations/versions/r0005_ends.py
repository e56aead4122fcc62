"""Which record told the end of a run that others follow."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.BINARY(length=16).with_variant(sa.LargeBinary(length=16), "sqlite")
NO_ID = sa.text("x'00000000000000000000000000000000'")
ZERO = sa.text("0")


def upgrade() -> None:
    _add(sa.Column("spool_id", ID, nullable=False, server_default=NO_ID))
    _add(sa.Column("seq", sa.BigInteger(), nullable=False, server_default=ZERO))


def _add(column: "sa.Column[Any]") -> None:
    # MariaDB commits each statement: a step that broke off is done again from its beginning.
    if column.name not in _columns():
        op.add_column("parent_end", column)


def _columns() -> set[str]:
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns("parent_end")}


def downgrade() -> None:
    for name in ("spool_id", "seq"):
        if name in _columns():
            op.drop_column("parent_end", name)
