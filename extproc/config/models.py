"""What ``gateway.yaml`` may say of virtual models: targets, strategies, fallbacks, rules.

The words are explained in ``docs/routing.md``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from extproc.config.prices import PriceConfig
from extproc.config.tenancy import Allowed
from extproc.config.values import Headers, Seconds, Section, Switch, Text, Whole
from extproc.deployment import STRATEGIES, Strategy
from extproc.runtime import MAX_ATTEMPTS

MAX_TARGETS = 64
"""Of one virtual model. A chain has four of them at most; the others share the load."""


def _number(value: object) -> object:
    # A variable is always a string after it is expanded.
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
        return float(value)
    return value


def _strategy(value: str) -> str:
    if value not in STRATEGIES:
        raise ValueError(f"is not a strategy: {', '.join(STRATEGIES)}")
    return value


def _tags(value: tuple[str, ...]) -> tuple[str, ...]:
    for tag in value:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}", tag):
            raise ValueError(f"{tag!r} is not a tag (letters, digits and _ . : -)")
    return value


def _by(value: str) -> str:
    if not re.fullmatch(r"user|session|key|header:[a-z0-9][a-z0-9-]*", value):
        raise ValueError("must be user, session, key or header:<name in lower case>")
    return value


def _names(value: dict[str, str]) -> dict[str, str]:
    for name in value:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
            raise ValueError(f"{name!r} is not a header name in lower case")
    return value


Fraction = Annotated[float, BeforeValidator(_number), Field(gt=0, le=1)]
Weight = Annotated[Whole, Field(ge=1, le=1_000_000)]
Tags = Annotated[tuple[Text, ...], AfterValidator(_tags)]
Count = Annotated[Whole, Field(ge=1)]


class AbilitiesConfig(Section):
    """What a model can do, where the gateway's own table does not know it or is wrong."""

    context_tokens: Count | None = None
    """Of the prompt and the answer together."""
    output_tokens: Count | None = None
    tools: Switch | None = None
    vision: Switch | None = None
    documents: Switch | None = None
    audio: Switch | None = None
    json_schema: Switch | None = None
    streaming: Switch | None = None


class TargetTimeouts(Section):
    """Times of attempts at one target."""

    first_byte: Seconds | None = None
    """Until the answer's headers. All attempts of a request have the longest time that
    a target of its chain has: Envoy takes one for all."""
    idle: Seconds | None = None
    """Silence in the middle of the answer."""
    total: Seconds | None = None
    """From when an attempt is sent until its answer's end."""


class BodyConfig(Section):
    """Changes to the top level of the body that the target is sent."""

    set: dict[Text, Any] = {}
    default: dict[Text, Any] = {}
    """Set where the request does not say."""
    remove: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _no_managed(self) -> BodyConfig:
        for name in (*self.set, *self.default, *self.remove):
            if name in {"model", "stream"}:
                raise ValueError(f"{name} is the gateway's to write")
        return self

    def encoded(self, part: str) -> dict[str, bytes]:
        """Return the members of `part` as JSON."""
        values: dict[str, object] = getattr(self, part)
        return {name: msgspec.json.encode(value) for name, value in values.items()}


class TargetConfig(Allowed):
    """One provider and model that can serve a virtual model.

    What goes beyond its `rate_limits` in a minute or its `concurrency` goes to others.
    """

    provider: Text
    model: Text | None = None
    """None: the name that the client asked for. ``*``: what the star of the virtual
    model's name stands for."""
    weight: Weight = 1
    priority: Annotated[Whole, Field(ge=0, le=1000)] = 0
    """Targets of a higher number are asked only after those of the lower ones."""
    tags: Tags = ()
    region: Text | None = None
    """Where it is served; for ``x-extproc-region`` of a request."""
    timeouts: TargetTimeouts = TargetTimeouts()
    headers: Headers = {}
    """Sent with every request to it. Not secret."""
    body: BodyConfig = BodyConfig()
    default_max_tokens: Count | None = None
    """Asked for where its API demands a limit and the client named none; None: the
    provider's."""
    price: PriceConfig | None = None
    """What it costs, wherever its provider serves it; as in `prices`."""
    capabilities: AbilitiesConfig = AbilitiesConfig()


class ConditionConfig(Section):
    """When a rule applies: all that it names must hold. Values are globs."""

    headers: Annotated[dict[str, Text], AfterValidator(_names)] = {}
    metadata: dict[Text, Text] = {}
    """Of the request's ``metadata``."""
    tags: Tags = ()
    keys: tuple[Text, ...] = ()
    """Ids of the gateway's keys."""


class RuleConfig(Section):
    """Sends a request on to another virtual model, or splits requests between several."""

    when: ConditionConfig = ConditionConfig()
    model: Text | None = None
    split: dict[Text, Weight] = {}
    """Weights by virtual model. Whoever `by` names always gets the same one."""
    by: Annotated[str, AfterValidator(_by)] = "user"

    @model_validator(mode="after")
    def _one_of(self) -> RuleConfig:
        if (self.model is None) == (not self.split):
            raise ValueError("needs either model or split, and not both")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The virtual models that it sends to."""
        return (self.model,) if self.model is not None else tuple(self.split)


class ModelConfig(Allowed):
    """A virtual model."""

    targets: Annotated[
        tuple[TargetConfig, ...], Field(min_length=1, max_length=MAX_TARGETS)
    ]
    strategy: Annotated[Strategy, BeforeValidator(_strategy)] = "priority"
    """``priority`` asks the targets in their order."""
    aliases: tuple[Text, ...] = ()
    """Further names of it."""
    fallbacks: tuple[Text, ...] = ()
    """Virtual models that are asked when no target answers."""
    context_fallbacks: tuple[Text, ...] = ()
    """Those that are asked when the prompt is too long."""
    content_policy_fallbacks: tuple[Text, ...] = ()
    """Those that are asked when a provider's content filter refuses."""
    rules: tuple[RuleConfig, ...] = ()
    """The first that applies counts."""
    owned_by: Text = "extproc"
    listed: tuple[Text, ...] = ()
    """Of a glob: the names that ``/v1/models`` shows."""


class CooldownConfig(Section):
    """When a target is left alone, and for how long."""

    failures: Count = 3
    """In a row."""
    failure_share: Fraction = 0.5
    """Of recent outcomes."""
    least_outcomes: Count = 10
    """Recent outcomes before a share of them counts."""
    half_life: Seconds = 15.0
    """In which an outcome loses half its weight."""
    seconds: Seconds = 5.0
    """Of the first cooldown; doubled by each trial that fails."""
    longest: Seconds = 60.0
    longest_retry_after: Seconds = 300.0
    """A provider's ``retry-after`` is respected up to here."""
    credential: Seconds = 300.0
    """For a key that the provider refuses."""


class RetryConfig(Section):
    """When the next target is asked."""

    attempts: Annotated[Whole, Field(ge=1, le=MAX_ATTEMPTS)] = MAX_ATTEMPTS
    """Of a request, the first among them."""
    statuses: tuple[Annotated[Whole, Field(ge=400, le=599)], ...] = ()
    """Beside 408, 429 and all from 500 on."""
    share: Annotated[float, BeforeValidator(_number), Field(ge=0, le=4)] = 0.2
    """Fruitless retries for each request, beyond a first hundred; then a request has two
    attempts at most."""


class OverloadConfig(Section):
    """When a worker answers 503 at once, so that what it has begun goes well."""

    max_in_flight: Count = 10_000
    """Requests of one worker at a time. Keys of low priority may fill 80 % of them, those
    of normal priority 95 %."""


class RoutingConfig(Section):
    """Numbers of all models; the defaults have their reasons in ``docs/routing.md``."""

    cooldown: CooldownConfig = CooldownConfig()
    retry: RetryConfig = RetryConfig()
    overload: OverloadConfig = OverloadConfig()
