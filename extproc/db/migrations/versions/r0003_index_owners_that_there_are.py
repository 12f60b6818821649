"""Keep rows without an owner out of the indexes of owners."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


OWNERS = ("user", "team", "organization", "end_user")


def upgrade() -> None:
    for name in OWNERS:
        index = f"ix_usage_{name}_day"
        owned = sa.column(name).is_not(None)
        op.drop_index(index, table_name="usage")
        op.create_index(
            index, "usage", [name, "day"], sqlite_where=owned, postgresql_where=owned
        )


def downgrade() -> None:
    for name in OWNERS:
        index = f"ix_usage_{name}_day"
        op.drop_index(index, table_name="usage")
        op.create_index(index, "usage", [name, "day"])
