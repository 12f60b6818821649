"""The tables. Times are Unix seconds, money is whole nano-dollars (10⁻⁹ USD).

What is only ever read whole (models, limits, budgets) is JSON: its form is that of
``gateway.yaml`` and is checked before it is written.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    column,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Migrations name constraints, and every database calls them something else."""

_ID = String(64)
_NAME = String(256)
_NAMED = _NAME.with_variant(String(256, collation="C"), "postgresql")
"""By which pages are cut: in the order of the characters' numbers, as Python and SQLite
have it, and not as a language's."""


class Base(DeclarativeBase):
    """What all tables have in common."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012  SQLAlchemy's own form
        bool: Boolean(create_constraint=False),
        float: Float(53),
        int: BigInteger(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
    }


class Entry(Base):
    """What organizations, teams, users, end users and keys have in common.

    Its id is what ``gateway.yaml`` would call it; nothing in the database may have the
    id of something in the file.
    """

    __abstract__ = True

    id: Mapped[str] = mapped_column(_NAMED, primary_key=True)
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """What ``gateway.yaml`` would say of it, in the same words; what has a column of its
    own is not in it."""
    created_at: Mapped[float]
    updated_at: Mapped[float]


def _owner() -> Mapped[str | None]:
    # No foreign key: who owns something may stand in ``gateway.yaml``.
    return mapped_column(_NAME, index=True)


class Organization(Entry):
    """The outermost payer."""

    __tablename__ = "organizations"


class Team(Entry):
    """A part of an organization."""

    __tablename__ = "teams"

    organization: Mapped[str | None] = _owner()


class User(Entry):
    """A person or a service."""

    __tablename__ = "users"

    team: Mapped[str | None] = _owner()
    organization: Mapped[str | None] = _owner()


class EndUser(Entry):
    """Somebody behind an application, by the id that it sends for them."""

    __tablename__ = "end_users"


class Key(Entry):
    """A virtual key; of the key itself only its SHA-256 is here."""

    __tablename__ = "keys"

    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    prefix: Mapped[str] = mapped_column(String(16))
    """The first characters, by which people tell their keys apart."""
    organization: Mapped[str | None] = _owner()
    team: Mapped[str | None] = _owner()
    user: Mapped[str | None] = _owner()
    replaced_sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    """The key before a rotation, good until `replaced_until`."""
    replaced_until: Mapped[float | None]


class Limit(Entry):
    """What stands on everybody, a model or a deployment: `extproc.config.standing`."""

    __tablename__ = "limits"


class PriceOverride(Entry):
    """What a model costs, by its name, ``provider/model`` or a glob of either."""

    __tablename__ = "prices"


def _of_owner(name: str) -> Index:
    """Most exchanges have no such owner: what is not in an index costs it nothing."""
    owned = column(name).is_not(None)
    return Index(
        f"ix_usage_{name}_day", name, "day", sqlite_where=owned, postgresql_where=owned
    )


class UsageRecord(Base):
    """One exchange: a completion record, priced."""

    __tablename__ = "usage"

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    """``gw.id``: a record that comes twice is written once."""
    started_at: Mapped[float]
    day: Mapped[int] = mapped_column(Integer)
    """Days since 1970-01-01, UTC."""
    duration: Mapped[float]
    first_byte: Mapped[float | None]
    operation: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(32))
    status: Mapped[int] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(_NAME)
    key: Mapped[str | None] = mapped_column(_NAME)
    """No foreign keys: what was spent stays when the key goes, and what is in
    ``gateway.yaml`` has no row."""
    user: Mapped[str | None] = mapped_column(_NAME)
    team: Mapped[str | None] = mapped_column(_NAME)
    organization: Mapped[str | None] = mapped_column(_NAME)
    end_user: Mapped[str | None] = mapped_column(_NAME)
    model: Mapped[str | None] = mapped_column(_NAME)
    """The virtual model."""
    request_model: Mapped[str | None] = mapped_column(_NAME)
    response_model: Mapped[str | None] = mapped_column(_NAME)
    provider: Mapped[str | None] = mapped_column(String(64))
    cluster: Mapped[str | None] = mapped_column(String(128))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    streamed: Mapped[bool] = mapped_column(default=False)
    input_tokens: Mapped[int] = mapped_column(default=0)
    output_tokens: Mapped[int] = mapped_column(default=0)
    cache_read_input_tokens: Mapped[int] = mapped_column(default=0)
    cache_creation_input_tokens: Mapped[int] = mapped_column(default=0)
    reasoning_output_tokens: Mapped[int] = mapped_column(default=0)
    cost: Mapped[int | None]
    """None: the model has no price."""
    estimated: Mapped[bool] = mapped_column(default=False)
    tags: Mapped[list[Any]] = mapped_column(default=list)

    __table_args__ = (
        Index("ix_usage_started_at", "started_at"),
        Index("ix_usage_key_day", "key", "day"),
        *(_of_owner(name) for name in ("user", "team", "organization", "end_user")),
        Index("ix_usage_model_day", "model", "day"),
    )


class AuditEntry(Base):
    """One change, and who made it."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True
    )
    at: Mapped[float] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(_NAME)
    """The id of the key that was used, or ``cli`` and the like."""
    role: Mapped[str | None] = mapped_column(String(16))
    action: Mapped[str] = mapped_column(String(32))
    """``create``, ``update``, ``delete``, ``rotate``, ``reset``, ``import``."""
    kind: Mapped[str] = mapped_column(String(32))
    """The table's name."""
    subject: Mapped[str] = mapped_column(_NAME, index=True)
    """The id of what was changed."""
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
    """Secrets masked."""
