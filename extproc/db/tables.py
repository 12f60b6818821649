"""The tables. Times are Unix seconds, money is whole nano-dollars (10⁻⁹ USD).

Lists and settings that are only ever read whole (models, limits, budgets) are JSON: their
form is that of ``gateway.yaml`` and is checked before they are written.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
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


class _Subject:
    """Who can be limited, and pay."""

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    name: Mapped[str] = mapped_column(_NAME)
    blocked: Mapped[bool] = mapped_column(default=False)
    models: Mapped[list[Any]] = mapped_column(default=list)
    """Globs of the virtual models allowed; empty: whatever the one above allows."""
    limits: Mapped[list[Any]] = mapped_column(default=list)
    budgets: Mapped[list[Any]] = mapped_column(default=list)
    tags: Mapped[list[Any]] = mapped_column(default=list)
    details: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)
    """Anything that the operators want to remember; nothing reads it."""
    created_at: Mapped[float]
    updated_at: Mapped[float]


class Organization(_Subject, Base):
    """The outermost payer."""

    __tablename__ = "organizations"


class Team(_Subject, Base):
    """A part of an organization."""

    __tablename__ = "teams"

    organization_id: Mapped[str | None] = mapped_column(
        _ID, ForeignKey("organizations.id", ondelete="RESTRICT"), index=True
    )


class User(_Subject, Base):
    """A person or a service."""

    __tablename__ = "users"

    email: Mapped[str | None] = mapped_column(String(320), unique=True)
    team_id: Mapped[str | None] = mapped_column(
        _ID, ForeignKey("teams.id", ondelete="RESTRICT"), index=True
    )
    organization_id: Mapped[str | None] = mapped_column(
        _ID, ForeignKey("organizations.id", ondelete="RESTRICT"), index=True
    )


class EndUser(_Subject, Base):
    """Somebody behind an application, by the id that it sends for them."""

    __tablename__ = "end_users"

    id: Mapped[str] = mapped_column(_NAME, primary_key=True)


class Key(_Subject, Base):
    """A virtual key; of the key itself only its SHA-256 is here."""

    __tablename__ = "keys"

    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    prefix: Mapped[str] = mapped_column(String(16))
    """The first characters, by which people tell their keys apart."""
    role: Mapped[str | None] = mapped_column(String(16))
    """``owner``, ``admin``, ``viewer``; None: may only call models."""
    organization_id: Mapped[str | None] = mapped_column(
        _ID, ForeignKey("organizations.id", ondelete="RESTRICT"), index=True
    )
    team_id: Mapped[str | None] = mapped_column(
        _ID, ForeignKey("teams.id", ondelete="RESTRICT"), index=True
    )
    user_id: Mapped[str | None] = mapped_column(
        _ID, ForeignKey("users.id", ondelete="RESTRICT"), index=True
    )
    endpoints: Mapped[list[Any]] = mapped_column(default=list)
    ip_ranges: Mapped[list[Any]] = mapped_column(default=list)
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """What else ``gateway.yaml`` can say of a key, in its form."""
    not_before: Mapped[float | None]
    expires_at: Mapped[float | None]
    replaces: Mapped[str | None] = mapped_column(_ID)
    """The id of the key that this one took over from."""


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
    key_id: Mapped[str | None] = mapped_column(_ID)
    """No foreign key: what was spent stays when the key goes, and keys of
    ``gateway.yaml`` have no row."""
    user_id: Mapped[str | None] = mapped_column(_ID)
    team_id: Mapped[str | None] = mapped_column(_ID)
    organization_id: Mapped[str | None] = mapped_column(_ID)
    end_user_id: Mapped[str | None] = mapped_column(_NAME)
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
        Index("ix_usage_key_day", "key_id", "day"),
        Index("ix_usage_user_day", "user_id", "day"),
        Index("ix_usage_team_day", "team_id", "day"),
        Index("ix_usage_organization_day", "organization_id", "day"),
        Index("ix_usage_end_user_day", "end_user_id", "day"),
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
    subject: Mapped[str] = mapped_column(_ID, index=True)
    """The id of what was changed."""
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
    """Secrets masked."""
