"""The limits that a request is under, and what it claims of each of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from extproc.errors import Forbidden
from extproc.exchange.forecast import Forecast
from extproc.exchange.render import Leg
from extproc.identity import UNLIMITED, Grant, Kind
from extproc.policy.claims import Claim
from extproc.policy.meters import Calendar, Meters, meters_of
from extproc.runtime import Runtime

_ONE_EACH: Final = frozenset({"requests", "running"})
"""What every request takes one of."""


def find_meters(
    runtime: Runtime, grant: Grant, *, end_user: str = "", model: str = ""
) -> list[Meters]:
    """Return the limits that are known before a target is chosen, the widest first."""
    if not runtime.limited:
        of_key = grant.allowance
        if of_key == UNLIMITED:  # most
            return []
        return [meters_of("key", grant.id, of_key)]
    out = meters_on(runtime, "global", "")
    if grant.organization is not None:
        out += meters_on(runtime, "organization", grant.organization)
    if grant.team is not None:
        out += meters_on(runtime, "team", grant.team)
    if grant.user is not None:
        out += meters_on(runtime, "user", grant.user)
    if grant.allowance:
        out.append(meters_of("key", grant.id, grant.allowance))
    if end_user:
        out += meters_on(runtime, "end_user", end_user)
    return out + meters_on(runtime, "model", model)


def meters_on(runtime: Runtime, kind: Kind, name: str) -> list[Meters]:
    """Return the limits of one subject, if it has any."""
    subject = runtime.subject(kind, name) if runtime.limited else None
    if subject is None or not subject.allowance:
        return []
    return [meters_of(kind, name, subject.allowance)]


def is_hard(meters: Meters) -> bool:
    """Say whether all budgets of a subject are."""
    return all(purse.budget.hard for purse in meters.purses)


def claim_rates(
    meters: Iterable[Meters], forecast: Forecast, *, first: bool = False
) -> list[Claim]:
    """Return what is claimed of rate limits and of concurrency.

    `first`: of the deployment that is tried first.

    A token limit is never asked for more than it has while the prompt alone would fit.
    """
    claims = []
    needs: dict[str, tuple[int, int]] = {}
    for subject in meters:
        for limit in subject.limits:
            counts = limit.counts
            if counts in _ONE_EACH:
                claim = limit.one
                claims.append(replace(claim, first=True) if first else claim)
                continue
            need = needs.get(counts)
            if need is None:
                need = forecast.tokens(counts), forecast.prompt_of(counts)
                needs[counts] = need
            claims.append(
                Claim(
                    limit.meter, counts, limit.limit, max(min(limit.limit, need[0]), need[1]),
                    seconds=limit.seconds, subject=limit.subject, first=first,
                )
            )  # fmt: skip
    return claims


def claim_nothing(meters: Iterable[Meters]) -> tuple[Claim, ...]:
    """Return claims that reserve nothing of rate limits: their verdict says what is left."""
    return tuple(
        Claim(limit.meter, limit.counts, limit.limit, 0, seconds=limit.seconds)
        for subject in meters
        for limit in subject.limits
        if limit.seconds
    )


def claim_money(
    meters: Iterable[Meters],
    forecast: Forecast,
    legs: Iterable[Leg],
    *,
    runtime: Runtime,
    calendar: Calendar,
    now: float,
    first: bool = False,
) -> list[Claim]:
    """Return what is claimed of budgets, at the dearest price of the chain `legs`.

    Raises:
        Forbidden: a model has no price, and the configuration refuses it then.
    """
    purses = [purse for subject in meters for purse in subject.purses]
    if not purses:
        return []
    refuse = runtime.accounting.unpriced == "refuse" and forecast.counts
    usual = most = 0
    for leg in legs:
        price = forecast.price(leg)
        if price is not None:
            usual = max(usual, forecast.usual(price))
            most = max(most, forecast.most(price, leg))
        elif refuse:
            raise Forbidden(
                f"The model {leg.model!r} has no price and may not be used where there "
                "is a budget.",
                code="model_not_priced",
                param="model",
            )
    claims = []
    for purse in purses:
        start, end = calendar.period(purse.budget, runtime.zones, now)
        hard = purse.budget.hard and not forecast.cuts
        claims.append(
            Claim(
                f"{purse.meter}{start}", "nanos", purse.budget.nanos,
                most if hard else usual, ends=end, subject=purse.subject, first=first,
            )
        )  # fmt: skip
    return claims
