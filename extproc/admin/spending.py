"""What operators ask of the books, as plain data and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from extproc.admin.errors import Invalid
from extproc.db import usage
from extproc.db.database import Database
from extproc.db.tables import UsageRecord
from extproc.db.usage import Dimension, Filter
from extproc.identity import NANOS

_EPOCH: Final = date(1970, 1, 1)

FIELDS: Final = tuple(
    column.name for column in UsageRecord.__table__.columns if column.name != "day"
)
"""Of one exchange, in the order of the CSV's columns."""


def dollars(nanos: int) -> Decimal:
    """Return an amount in US dollars, exact."""
    return Decimal(nanos) / NANOS


def moment(text: str | None, name: str) -> float | None:
    """Read ``2026-11-25``, ``2026-11-25T18:00:00Z`` or Unix seconds.

    Raises:
        Invalid: it is none of them.
    """
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        pass
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"{name} must be a time such as 2026-11-25, 2026-11-25T18:00:00Z or Unix "
            "seconds.",
            param=name,
        ) from None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def spend(
    database: Database, by: Sequence[Dimension], where: Filter
) -> list[dict[str, Any]]:
    """Add up what was spent, in groups, the dearest first."""
    with database.read() as session:
        groups = usage.spend(session, by, where)
    return [
        {
            **dict(zip(by, map(_named, by, group.group), strict=True)),
            "requests": group.requests,
            "input_tokens": group.input_tokens,
            "output_tokens": group.output_tokens,
            "cost_usd": dollars(group.cost),
            "unpriced_requests": group.unpriced,
        }
        for group in groups
    ]


def log(
    database: Database, where: Filter, *, after: str | None = None, limit: int = 100
) -> tuple[list[dict[str, Any]], str | None]:
    """Return exchanges, the newest first, and the ``after`` of the next page.

    Raises:
        Invalid: `after` is not one that was returned.
    """
    limit = max(1, min(limit, usage.MAX_PAGE))
    with database.read() as session:
        rows = usage.search(session, where, before=_position(after), limit=limit)
    last = rows[-1] if len(rows) == limit else None
    return [_record(row) for row in rows], (
        None if last is None else f"{last.started_at!r}~{last.id}"
    )


def csv_lines(fields: Sequence[str], rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Yield a CSV file (RFC 4180) in pieces."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(fields)
    for row in rows:
        writer.writerow([_cell(row.get(field)) for field in fields])
        if buffer.tell() > 64 * 1024:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def everything(database: Database, where: Filter) -> Iterator[dict[str, Any]]:
    """Yield every exchange that matches, page by page."""
    after: str | None = None
    while True:
        rows, after = log(database, where, after=after, limit=usage.MAX_PAGE)
        yield from rows
        if after is None:
            return


def _record(row: UsageRecord) -> dict[str, Any]:
    out = {field: getattr(row, field) for field in FIELDS}
    cost = out.pop("cost")
    return {**out, "cost_usd": None if cost is None else dollars(cost)}


def _position(after: str | None) -> tuple[float, str] | None:
    if after is None:
        return None
    at, found, id_ = after.partition("~")
    try:
        if found:
            return float(at), id_
    except ValueError:
        pass
    raise Invalid("after is not the next of an earlier page.", param="after")


def _named(dimension: Dimension, value: str | int | None) -> str | None:
    if dimension == "day" and isinstance(value, int):
        return (_EPOCH + timedelta(days=value)).isoformat()
    return None if value is None else str(value)


# A spreadsheet runs a cell that begins so as a formula; ids come from applications.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _cell(value: object) -> object:
    if isinstance(value, list):
        value = " ".join(map(str, value))
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


encoder: Final = msgspec.json.Encoder(decimal_format="number")
"""Money keeps its digits: a JSON number, never a float's neighbour."""
