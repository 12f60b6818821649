"""Keep limits of models and prices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("limits", "prices"):
        op.create_table(
            name,
            sa.Column("id", sa.String(length=256), nullable=False),
            sa.Column("settings", sa.JSON(), nullable=False),
            sa.Column("created_at", sa.Float(precision=53), nullable=False),
            sa.Column("updated_at", sa.Float(precision=53), nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
        )


def downgrade() -> None:
    op.drop_table("prices")
    op.drop_table("limits")
