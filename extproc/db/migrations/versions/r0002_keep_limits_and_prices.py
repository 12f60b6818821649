"""Keep limits of models and prices; order names by their characters' numbers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


NAME = sa.String(length=256).with_variant(
    sa.String(length=256, collation="C"), "postgresql"
)
NAMED = ("organizations", "teams", "users", "end_users", "keys")


def upgrade() -> None:
    _collate('"C"')
    for name in ("limits", "prices"):
        op.create_table(
            name,
            sa.Column("id", NAME, nullable=False),
            sa.Column("settings", sa.JSON(), nullable=False),
            sa.Column("created_at", sa.Float(precision=53), nullable=False),
            sa.Column("updated_at", sa.Float(precision=53), nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
        )


def downgrade() -> None:
    op.drop_table("prices")
    op.drop_table("limits")
    _collate('"default"')


def _collate(collation: str) -> None:
    """SQLite has no other order than that of the numbers."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for name in NAMED:
        change = f"ALTER COLUMN id TYPE varchar(256) COLLATE {collation}"
        op.execute(f"ALTER TABLE {name} {change}")
