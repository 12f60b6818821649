"""What ``gateway.yaml`` says of routing, as the workers read it."""

from __future__ import annotations

import math

import msgspec

from extproc.config.abilities import overruled
from extproc.config.accounts import clusters, fingerprint
from extproc.config.models import ModelConfig, RoutingConfig, RuleConfig, TargetConfig
from extproc.config.prices import PriceConfig
from extproc.config.schema import Config, ProviderConfig
from extproc.config.times import Times
from extproc.deployment import (
    Abilities,
    Condition,
    Edits,
    ModelRouting,
    Placement,
    RoutingNumbers,
    Rule,
    Share,
)


def model_routing(model: ModelConfig) -> ModelRouting:
    """Return how `model` chooses among its targets."""
    return ModelRouting(
        strategy=model.strategy,
        aliases=model.aliases,
        fallbacks=model.fallbacks,
        context_fallbacks=model.context_fallbacks,
        content_fallbacks=model.content_policy_fallbacks,
        rules=tuple(map(_rule, model.rules)),
    )


def routing_numbers(config: RoutingConfig) -> RoutingNumbers:
    """Return the numbers of all models."""
    cooldown = config.cooldown
    return RoutingNumbers(
        failures=cooldown.failures,
        failure_share=cooldown.failure_share,
        least_outcomes=cooldown.least_outcomes,
        half_life=cooldown.half_life,
        cooldown=cooldown.seconds,
        longest_cooldown=cooldown.longest,
        longest_retry_after=cooldown.longest_retry_after,
        credential_cooldown=cooldown.credential,
        attempts=config.retry.attempts,
        retry_share=config.retry.share,
        max_in_flight=config.overload.max_in_flight,
    )


def tiers(model: ModelConfig) -> list[int]:
    """Return the tier of each target: its priority, and under ``priority`` its place."""
    ranks = [
        (target.priority, place if model.strategy == "priority" else 0)
        for place, target in enumerate(model.targets)
    ]
    order = sorted(set(ranks))
    return [order.index(rank) for rank in ranks]


def placements(
    name: str,
    target: TargetConfig,
    tier: int,
    provider: ProviderConfig,
    *,
    times: Times,
    scale: int,
) -> dict[str, Placement]:
    """Return the place of each of the target's deployments, by cluster.

    `name` is the virtual model's.

    The weights of a target with several keys add up to its own, times `scale`.
    """
    accounts = clusters(target.provider, provider)
    several = len(accounts) > 1
    body = target.body
    said = target.capabilities.model_dump(exclude_none=True)
    model = target.model or name
    abilities = overruled(
        msgspec.convert(said, Abilities),
        provider.type,
        None if "*" in model else model,
    )
    return {
        cluster: Placement(
            key=str(number) if several else "",
            credential=fingerprint(account),
            tier=tier,
            weight=target.weight * scale // len(accounts),
            tags=frozenset(target.tags),
            region=target.region or "",
            requests_per_minute=target.rate_limits.requests_per_minute,
            tokens_per_minute=target.rate_limits.tokens_per_minute,
            max_concurrency=target.concurrency,
            first_byte=times.first_byte,
            idle=times.idle,
            total=times.total,
            headers=tuple(sorted(target.headers.items())),
            edits=Edits(
                set=body.encoded("set"),
                default=body.encoded("default"),
                remove=body.remove,
            ),
            abilities=abilities,
        )
        for number, (cluster, account) in enumerate(accounts.items(), 1)
    }


def prices(config: Config) -> dict[str, PriceConfig]:
    """Return all prices that the configuration has, by what they are of."""
    return {
        **config.prices,
        **{
            f"{target.provider}/{name if target.model in {None, '*'} else target.model}": (
                target.price
            )
            for name, model in config.models.items()
            for target in model.targets
            if target.price is not None
        },
    }


def scale(model: ModelConfig, providers: dict[str, ProviderConfig]) -> int:
    """Return the least factor by which every key's share of a weight is a whole number."""
    return math.lcm(
        *(len(clusters(t.provider, providers[t.provider])) for t in model.targets)
    )


def _rule(rule: RuleConfig) -> Rule:
    when = rule.when
    shares = {rule.model: 1} if rule.model is not None else rule.split
    return Rule(
        when=Condition(
            headers=when.headers, metadata=when.metadata, tags=when.tags, keys=when.keys
        ),
        to=tuple(Share(name, weight) for name, weight in shares.items()),
        by=rule.by,
    )
