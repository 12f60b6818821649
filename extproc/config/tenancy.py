"""Who there is and what each may spend, as ``gateway.yaml`` says it.

Organizations have teams, teams have users, all of them have keys. Limits and budgets may
stand on each of them, on a model, on one of its targets, on an end user, and at the top
of the file on everybody together.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import zoneinfo
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from extproc.config.values import Section, Switch, Text, WebAddress, Whole
from extproc.identity import (
    NANOS,
    Accounting,
    Allowance,
    Budget,
    Period,
    RateLimit,
    Role,
    Unit,
    Unpriced,
)

MOST_DOLLARS = 9_000_000
"""Lua counts exactly up to 2^53, which is 9 million dollars in nanos."""


def _dollars(value: object) -> object:
    # In the file's own digits: 0.1 is a tenth, not the double that is near it.
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text := str(value)):
            raise ValueError("must be an amount of dollars such as 10 or 0.25")
        return Decimal(text)
    return value


@functools.cache
def _zones() -> frozenset[str]:
    """Return the names of all zones: to find them, the whole folder is read."""
    return frozenset(zoneinfo.available_timezones())


def _zone(value: str) -> str:
    if value not in _zones():
        raise ValueError("is not a time zone such as Europe/Berlin")
    return value


def _instant(value: object) -> object:
    if isinstance(value, str):
        try:
            read = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(
                "must be a time such as 2027-01-31 or 2027-01-31T18:00:00Z"
            ) from None
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    return value


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as exc:
        raise ValueError(f"is not a network such as 10.0.0.0/8: {exc}") from None


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,127}", value):
        raise ValueError("a name has only letters, digits and . _ @ + - in it")
    return value


Dollars = Annotated[
    Decimal, BeforeValidator(_dollars), Field(ge=0, le=MOST_DOLLARS, strict=False)
]
Instant = Annotated[
    float,
    BeforeValidator(_instant),
    Field(gt=0),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}]}),
]
Network = Annotated[str, AfterValidator(_network)]
Name = Annotated[str, AfterValidator(_name)]
# What a key says stands in the memory of every worker, its tags in every record of it.
MOST_GLOBS = 1_000
MOST_TAGS = 64
LONGEST_METADATA = 4_096
Glob = Annotated[Text, Field(max_length=512)]
Tag = Annotated[Text, Field(max_length=256)]
Globs = Annotated[tuple[Glob, ...], Field(min_length=1, max_length=MOST_GLOBS)]
Count = Annotated[Whole, Field(ge=0, le=1_000_000_000_000)]


class RateLimits(Section):
    """At most so many in any minute, hour (60 minutes) or day (24 hours)."""

    requests_per_minute: Count | None = None
    requests_per_hour: Count | None = None
    requests_per_day: Count | None = None
    tokens_per_minute: Count | None = None
    """Input and output together."""
    tokens_per_hour: Count | None = None
    tokens_per_day: Count | None = None
    input_tokens_per_minute: Count | None = None
    input_tokens_per_hour: Count | None = None
    input_tokens_per_day: Count | None = None
    output_tokens_per_minute: Count | None = None
    output_tokens_per_hour: Count | None = None
    output_tokens_per_day: Count | None = None

    def rates(self) -> tuple[RateLimit, ...]:
        """Return those that are set."""
        out = []
        for field in type(self).model_fields:
            limit = getattr(self, field)
            if limit is not None:
                unit, _, window = field.partition("_per_")
                out.append(RateLimit(_UNITS[unit], limit, _WINDOWS[window]))
        return tuple(out)


_UNITS: dict[str, Unit] = {
    "requests": "requests",
    "tokens": "total_tokens",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
}
_WINDOWS = {"minute": 60, "hour": 3_600, "day": 86_400}


class BudgetConfig(Section):
    """So much money in a period of the calendar."""

    usd: Dollars
    period: Period = "month"
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """Where its days begin."""
    mode: Literal["hard", "soft"] = "hard"
    """``hard`` reserves the most that a request can cost, ``soft`` what such requests
    usually cost."""
    alerts: tuple[Annotated[Whole, Field(ge=1, le=1000)], ...] = ()
    """Percentages of `usd` that are told when they are reached."""

    def budget(self) -> Budget:
        """Return it as the data path knows it."""
        return Budget(
            nanos=int(self.usd * NANOS),
            period=self.period,
            zone=self.zone,
            hard=self.mode == "hard",
            alerts=self.alerts,
        )


def _one_a_period(budgets: tuple[BudgetConfig, ...]) -> tuple[BudgetConfig, ...]:
    seen: set[tuple[str, str]] = set()
    for budget in budgets:
        if (budget.period, budget.zone) in seen:
            raise ValueError(f"has two budgets for the same {budget.period}")
        seen.add((budget.period, budget.zone))
    return budgets


Budgets = Annotated[tuple[BudgetConfig, ...], AfterValidator(_one_a_period)]


class Allowed(Section):
    """What any subject may have on it."""

    rate_limits: RateLimits = RateLimits()
    concurrency: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = None
    """Requests at once."""
    budgets: Budgets = ()

    @property
    def allowance(self) -> Allowance:
        """What it is held to."""
        return Allowance(
            rates=self.rate_limits.rates(),
            concurrency=self.concurrency,
            budgets=tuple(budget.budget() for budget in self.budgets),
        )


class OwnerConfig(Allowed):
    """What an organization, a team and a user have in common."""

    models: Globs = ("*",)
    """Globs of the models that its keys may use."""
    blocked: Switch = False


class OrganizationConfig(OwnerConfig):
    """An organization."""


class TeamConfig(OwnerConfig):
    """A team."""

    organization: Name | None = None


class UserConfig(OwnerConfig):
    """A person or a service that has keys."""

    team: Name | None = None
    organization: Name | None = None


class EndUserConfig(Allowed):
    """Whoever an application names in ``user`` (Anthropic: ``metadata.user_id``)."""


class KeyHolder(Allowed):
    """What a key may be told beside its secret."""

    models: Globs = ("*",)
    """Globs of the models that it may use."""
    organization: Name | None = None
    team: Name | None = None
    user: Name | None = None
    role: Role = "member"
    not_before: Instant | None = None
    expires: Instant | None = None
    blocked: Switch = False
    endpoints: Globs = ("*",)
    """Globs of the URL paths that it may use, such as ``/v1/chat/*``."""
    providers: Annotated[tuple[Glob, ...], Field(max_length=MOST_GLOBS)] | None = None
    """Globs of the providers whose stored things (files, batches …) it may use. None: all
    if it may use all models, else none."""
    addresses: Annotated[tuple[Network, ...], Field(max_length=MOST_GLOBS)] = ()
    """Networks that its clients must be in."""
    tags: Annotated[tuple[Tag, ...], Field(max_length=MOST_TAGS)] = ()
    metadata: Annotated[
        dict[Tag, Annotated[str, Field(max_length=LONGEST_METADATA)]],
        Field(max_length=MOST_TAGS),
    ] = Field(default_factory=dict)
    priority: Annotated[Whole, Field(ge=-100, le=100)] = 0
    """Under overload those below 0 are refused first, those above 0 last."""
    private: Switch = False
    """Whether nothing of what is said with it is kept, whatever ``telemetry.content``
    says."""
    cut_off: Switch = False
    """Whether a stream ends when a budget runs out in the middle of it."""


class AccountingConfig(Section):
    """How limits and money are kept."""

    store: Annotated[str, Field(pattern=r"^(redis|rediss|unix)://\S+$")] | None = None
    """``redis://host:6379/0``; without it: the memory of the one worker."""
    unpriced: Unpriced = "count"
    """What becomes of a request for a model that has no price and a budget on it:
    ``refuse`` it, or ``count`` its tokens and no money."""
    deadline: Annotated[float, Field(gt=0, le=5)] = 0.02
    """Seconds that the store may take; after that a worker admits by itself."""
    lease_percent: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Of each budget and limit: what one worker may admit by itself while the store is
    away."""
    without_store: Literal["closed", "open"] = "closed"
    """Whether requests are refused when that is used up too."""
    webhook: WebAddress | None = None
    """Where budgets' alerts are sent (POST, JSON)."""
    usage_days: Annotated[float, Field(gt=0, le=36_500)] | None = None
    """How long the database keeps each exchange; without it: for ever. Budgets do not
    need them."""
    hold: Annotated[float, Field(ge=1, le=86_400)] = 900.0
    """Seconds after which the reservation of a worker that died is settled as it is."""

    def accounting(self) -> Accounting:
        """Return it as the data path knows it."""
        return Accounting(
            store=self.store,
            unpriced=self.unpriced,
            deadline_seconds=self.deadline,
            lease_percent=self.lease_percent,
            fail_open=self.without_store == "open",
            hold_seconds=self.hold,
        )
