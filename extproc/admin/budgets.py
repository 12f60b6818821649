"""Where every budget stands in its period."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

import msgspec
import sqlalchemy as sa

from extproc.admin.spending import dollars
from extproc.db.database import Database
from extproc.db.tables import UsageRecord
from extproc.identity import Budget, Kind, Zone, glob_pattern
from extproc.policy.budget import NEVER, period_at
from extproc.policy.meters import meters_of
from extproc.runtime import Snapshot


class Standing(msgspec.Struct, frozen=True):
    """What is known of one budget's money."""

    spent: int | None = None
    """Nano-dollars; None: nobody here knows."""
    reserved: int | None = None
    """By requests that are under way."""


class One(msgspec.Struct, frozen=True):
    """One budget of one subject, in the period that is under way."""

    kind: Kind
    id: str
    """Empty: of everybody."""
    budget: Budget
    meter: str
    """What it is counted on (`extproc.policy.meters`)."""
    starts: int
    ends: int


class Purses(Protocol):
    """Who knows how budgets stand."""

    def standing(self, one: One) -> Standing:
        """Return what is known of one."""

    def meters(self) -> Iterable[str]:
        """Yield the meters that have something on them: names that a glob has."""


class Counted:
    """What a running gateway has charged and holds, by meter."""

    def __init__(
        self, spent: Mapping[str, int], reserved: Mapping[str, int] | None
    ) -> None:
        """`reserved` is None where only the store knows."""
        self._spent = spent
        self._reserved = reserved

    def standing(self, one: One) -> Standing:
        """See `Purses`."""
        held = None if self._reserved is None else self._reserved.get(one.meter, 0)
        return Standing(self._spent.get(one.meter, 0), held)

    def meters(self) -> Iterable[str]:
        """See `Purses`."""
        return [*self._spent, *(self._reserved or ())]


_COLUMNS: Final[Mapping[Kind, sa.ColumnElement[str | None]]] = {
    "organization": UsageRecord.organization.expression,
    "team": UsageRecord.team.expression,
    "user": UsageRecord.user.expression,
    "key": UsageRecord.key.expression,
    "end_user": UsageRecord.end_user.expression,
    "model": UsageRecord.model.expression,
}


class Booked:
    """What the database says was spent; what is reserved it does not know."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sums: dict[tuple[Kind, int], Counter[str]] = {}

    def standing(self, one: One) -> Standing:
        """See `Purses`; deployments have no column."""
        if one.kind != "global" and one.kind not in _COLUMNS:
            return Standing()
        return Standing(self._sum(one.kind, one.starts)[one.id])

    def meters(self) -> Iterable[str]:
        """See `Purses`."""
        return [f"end_user/{name}/" for name in self._sum("end_user", 0)]

    def _sum(self, kind: Kind, since: int) -> Counter[str]:
        known = self._sums.get((kind, since))
        if known is None:
            column = _COLUMNS.get(kind, sa.literal(""))
            question = (
                sa.select(column, sa.func.sum(UsageRecord.cost))
                .where(UsageRecord.started_at >= since, column.is_not(None))
                .group_by(column)
            )
            with self._database.read() as session:
                rows = session.execute(question).all()
            known = Counter({str(name): int(cost or 0) for name, cost in rows})
            self._sums[kind, since] = known
        return known


def budgets(
    snapshot: Snapshot, purses: Purses, *, now: float, kind: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield every budget as operators see it, in the order of the subjects.

    Of a glob (of end users) there is one for each that has spent something.
    """
    owners = [(s.kind, s.id, s.allowance) for s in snapshot.subjects]
    owners += [("key", grant.id, grant.allowance) for grant in snapshot.grants]
    seen: set[str] = set()
    for kind_, name, allowance in owners:
        if not allowance.budgets or kind not in {None, kind_}:
            continue
        for id_ in _named(kind_, name, purses) if "*" in name else (name,):
            for purse in meters_of(kind_, id_, allowance).purses:
                zone = snapshot.zones.get(purse.budget.zone, Zone())
                starts, ends = period_at(purse.budget.period, zone, now)
                meter = f"{purse.meter}{starts}"
                if meter not in seen:  # a key before its rotation has the same
                    seen.add(meter)
                    one = One(kind_, id_, purse.budget, meter, starts, ends)
                    yield _said(one, purses.standing(one))


def _named(kind: Kind, glob: str, purses: Purses) -> list[str]:
    pattern, before = glob_pattern(glob), f"{kind}/"
    names: dict[str, None] = {}
    for meter in purses.meters():
        if meter.startswith(before):
            # Behind the name come the period, the zone (with slashes) and the beginning.
            name = meter.removeprefix(before).split("/", 1)[0]
            if pattern.match(name):
                names[name] = None
    return sorted(names)


def _said(one: One, standing: Standing) -> dict[str, Any]:
    budget, spent, reserved = one.budget, standing.spent, standing.reserved
    left = None if spent is None else max(0, budget.nanos - spent - (reserved or 0))
    total = one.ends >= NEVER
    return {
        "kind": one.kind,
        "id": one.id,
        "period": budget.period,
        "zone": budget.zone,
        "mode": "hard" if budget.hard else "soft",
        "budget_usd": dollars(budget.nanos),
        "spent_usd": None if spent is None else dollars(spent),
        "reserved_usd": None if reserved is None else dollars(reserved),
        "left_usd": None if left is None else dollars(left),
        "starts": None if total else one.starts,
        "ends": None if total else one.ends,
    }
