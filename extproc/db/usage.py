"""The books: what every exchange used and cost, added up in every direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from extproc.db.tables import UsageRecord
from extproc.exchange.slip import WORKER_LOST

Dimension = Literal[
    "key", "user", "team", "organization", "end_user", "model", "provider", "operation",
    "day", "tag",
]  # fmt: skip
"""What spend can be split by; an exchange with several tags is in the group of each."""

_COLUMNS: Final = {
    "key": UsageRecord.key,
    "user": UsageRecord.user,
    "team": UsageRecord.team,
    "organization": UsageRecord.organization,
    "end_user": UsageRecord.end_user,
    "model": UsageRecord.model,
    "provider": UsageRecord.provider,
    "operation": UsageRecord.operation,
    "day": UsageRecord.day,
}

CORRECTED: Final = "upstream_reset"
"""See `extproc.telemetry.confirm.RESET`."""
_TOLD: Final = ("status", "duration", "input_tokens", "output_tokens", "cost")
"""What is told of such an exchange by Envoy alone."""
MAX_PAGE: Final = 1000
"""Rows that one question may return: some 500 kB of JSON."""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which exchanges; None and empty do not restrict."""

    since: float | None = None
    """Unix seconds, inclusive."""
    until: float | None = None
    """Unix seconds, exclusive."""
    key: str | None = None
    user: str | None = None
    team: str | None = None
    organization: str | None = None
    end_user: str | None = None
    model: str | None = None
    provider: str | None = None
    operation: str | None = None
    outcome: str | None = None
    tag: str | None = None
    id: str | None = None
    """Of the exchange itself."""


class Spend(msgspec.Struct, frozen=True):
    """The sum of a group of exchanges."""

    group: tuple[str | int | None, ...]
    """In the order of the dimensions asked for; None is an exchange without one."""
    requests: int
    input_tokens: int
    output_tokens: int
    cost: int
    """Nano-dollars; exchanges without a price count 0."""
    unpriced: int
    """How many exchanges those are."""


class Row(NamedTuple):
    """One row of the table ``usage``: its columns, in their order."""

    id: str
    started_at: float
    day: int
    duration: float
    first_byte: float | None
    operation: str
    outcome: str
    status: int
    error: str | None
    key: str | None
    user: str | None
    team: str | None
    organization: str | None
    end_user: str | None
    model: str | None
    request_model: str | None
    response_model: str | None
    provider: str | None
    cluster: str | None
    attempts: int
    streamed: bool
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    reasoning_output_tokens: int
    cost: int | None
    estimated: bool
    tags: str
    """A list's JSON."""


def add(session: Session, rows: Sequence[Row]) -> None:
    """Write the rows that are not there yet.

    A record comes again when control ended between writing and acknowledging it; and with
    another end where Envoy knows better: than its worker, who broke it off (`CORRECTED`),
    than nobody, how one ended that its worker did not live to tell of (`WORKER_LOST`).
    """
    if rows:
        connection = session.connection()
        statement = _insertion(connection.dialect)
        # As the driver takes them: SQLAlchemy's own forms of a row take as long again as
        # the database does.
        connection.exec_driver_sql(statement, list(rows))


def _insertion(dialect: sa.Dialect) -> str:
    mark = "?" if dialect.paramstyle == "qmark" else "%s"
    quote = dialect.identifier_preparer.quote
    told = ", ".join(
        f"{name} = CASE WHEN excluded.error = '{WORKER_LOST}' "
        f"THEN excluded.{name} ELSE usage.{name} END"
        for name in _TOLD
    )
    return (
        f"INSERT INTO usage ({', '.join(map(quote, Row._fields))}) "  # noqa: S608  ours
        f"VALUES ({', '.join([mark] * len(Row._fields))}) "
        "ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, error = excluded.error, "
        f"{told} WHERE excluded.error = '{CORRECTED}' "
        f"OR excluded.error = '{WORKER_LOST}' AND usage.error = '{WORKER_LOST}'"
    )


def spend(
    session: Session,
    by: Sequence[Dimension] = (),
    where: Filter = Filter(),  # noqa: B008  frozen
    *,
    limit: int = MAX_PAGE,
) -> list[Spend]:
    """Add up what was spent, one row for each group, the dearest first."""
    tags = _tags(session)
    columns: list[sa.ColumnElement[Any]] = [
        tags.c.value if dimension == "tag" else _COLUMNS[dimension].expression
        for dimension in by
    ]
    cost = sa.func.coalesce(sa.func.sum(UsageRecord.cost), 0)
    question = sa.select(
        *columns,
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(UsageRecord.input_tokens), 0),
        sa.func.coalesce(sa.func.sum(UsageRecord.output_tokens), 0),
        cost,
        sa.func.count() - sa.func.count(UsageRecord.cost),
    ).where(*_conditions(where))
    if columns:
        question = question.group_by(*columns).order_by(cost.desc(), *columns)
    if "tag" in by:
        question = question.select_from(
            sa.outerjoin(UsageRecord, tags, sa.literal(value=True))
        )
    groups = []
    for row in session.execute(question.limit(min(limit, MAX_PAGE))):
        # Postgres adds whole numbers up to decimals.
        requests, tokens_in, tokens_out, cost_, unpriced = map(int, row[len(by) :])
        group = tuple(row[: len(by)])
        groups.append(Spend(group, requests, tokens_in, tokens_out, cost_, unpriced))
    return groups


def _tags(session: Session) -> sa.TableValuedAlias:
    """Return the tags of each exchange as a table, by what each database has for it."""
    if session.get_bind().dialect.name == "postgresql":
        return sa.func.json_array_elements_text(UsageRecord.tags).table_valued("value")
    return sa.func.json_each(UsageRecord.tags).table_valued("value")


def search(
    session: Session,
    where: Filter = Filter(),  # noqa: B008  frozen
    *,
    before: tuple[float, str] | None = None,
    limit: int = 100,
) -> list[UsageRecord]:
    """Return exchanges, the newest first; `before` is the last one of the page before.

    Pages by position, not by number: rows that come in meanwhile shift nothing.
    """
    at, id_ = UsageRecord.started_at, UsageRecord.id
    question = sa.select(UsageRecord).where(*_conditions(where))
    if before is not None:
        question = question.where(
            sa.or_(at < before[0], sa.and_(at == before[0], id_ < before[1]))
        )
    question = question.order_by(at.desc(), id_.desc()).limit(min(limit, MAX_PAGE))
    return list(session.scalars(question))


def forget(session: Session, until: float, *, limit: int = MAX_PAGE) -> int:
    """Delete exchanges that began before `until`, the oldest first; return how many.

    No more than `limit`: who deletes a year at once lets nobody else write.
    """
    oldest = (
        sa.select(UsageRecord.id)
        .where(UsageRecord.started_at < until)
        .order_by(UsageRecord.started_at)
        .limit(limit)
    )
    result = session.execute(sa.delete(UsageRecord).where(UsageRecord.id.in_(oldest)))
    return int(getattr(result, "rowcount", 0))


def _conditions(where: Filter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if where.since is not None:
        conditions.append(UsageRecord.started_at >= where.since)
    if where.until is not None:
        conditions.append(UsageRecord.started_at < where.until)
    others = (("outcome", UsageRecord.outcome), ("id", UsageRecord.id))
    for name, column in (*_COLUMNS.items(), *others):
        value = getattr(where, name, None)
        if value is not None:
            conditions.append(column == value)
    if where.tag is not None:
        # A list's JSON text has the tag between quotes, spelled as `Database` writes it.
        word = msgspec.json.encode(where.tag).decode()
        text = sa.cast(UsageRecord.tags, sa.Text)
        conditions.append(text.contains(word, autoescape=True))
    return conditions
