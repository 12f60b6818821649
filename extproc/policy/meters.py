"""The limits that a request is under, as claims: which meters, and how they are named."""

from __future__ import annotations

import functools

import msgspec

from extproc.identity import Allowance, Budget, Kind, Zone
from extproc.policy.budget import period_at
from extproc.policy.claims import Claim, Counted


class Limit(msgspec.Struct, frozen=True, gc=False):
    """A rate or concurrency limit of one subject."""

    meter: str
    counts: Counted
    limit: int
    seconds: int
    subject: str
    one: Claim
    """What a request claims, where requests are counted: always the same."""


class Purse(msgspec.Struct, frozen=True):
    """A budget of one subject."""

    meter: str
    """Without the beginning of the period, which follows."""
    budget: Budget
    subject: str


class Meters(msgspec.Struct, frozen=True):
    """All limits of one subject."""

    limits: tuple[Limit, ...]
    purses: tuple[Purse, ...]


@functools.lru_cache(maxsize=50_000)
def meters_of(kind: Kind, name: str, allowance: Allowance) -> Meters:
    """Return the meters of the subject `name`.

    A meter is called ``kind/name/unit/seconds`` or ``kind/name/period/zone/``. Slashes in
    a name cannot make one name another's: everything behind it is ours.
    """
    subject = f"{kind.replace('_', ' ')} {name!r}" if name else "everybody"
    begin = f"{kind}/{name}"
    limits = [
        _limit(f"{begin}/{rate.unit}/{rate.seconds}", rate.unit, rate.limit, rate.seconds, subject)
        for rate in allowance.rates
    ]  # fmt: skip
    if allowance.concurrency is not None:
        limits.append(
            _limit(f"{begin}/running", "running", allowance.concurrency, 0, subject)
        )
    return Meters(
        tuple(limits),
        tuple(
            Purse(f"{begin}/{budget.period}/{budget.zone}/", budget, subject)
            for budget in allowance.budgets
        ),
    )


def _limit(
    meter: str, counts: Counted, limit: int, seconds: int, subject: str
) -> Limit:
    one = Claim(meter, counts, limit, 1, seconds=seconds, subject=subject)
    return Limit(meter, counts, limit, seconds, subject, one)


class Calendar:
    """The periods that are under way, by kind and zone; of one worker."""

    __slots__ = ("_now",)

    def __init__(self) -> None:
        self._now: dict[tuple[str, str], tuple[int, int]] = {}

    def period(
        self, budget: Budget, zones: dict[str, Zone], now: float
    ) -> tuple[int, int]:
        """Return when the period around `now` begins and ends, in Unix seconds."""
        key = (budget.period, budget.zone)
        known = self._now.get(key)
        if known is None or not known[0] <= now < known[1]:
            zone = zones.get(budget.zone, _UTC)
            known = self._now[key] = period_at(budget.period, zone, now)
        return known


_UTC = Zone()
