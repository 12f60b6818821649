"""A `Config` in, the workers' `Snapshot` out."""

from __future__ import annotations

from collections.abc import Sequence

from extproc.config import placement, subjects
from extproc.config.prices import price_rows
from extproc.config.schema import Config, ModelConfig, TargetConfig
from extproc.config.subjects import Granted
from extproc.config.times import target_times
from extproc.deployment import Placement
from extproc.runtime import (
    MAX_ATTEMPTS,
    Grant,
    Limits,
    ModelSpec,
    Snapshot,
    TargetSpec,
)

BACKOFF_SECONDS = 30.0
"""On top of all attempts' first bytes: connecting and the pauses between attempts."""

BEHIND_ENVOY_SECONDS = 5.0
"""How much later than Envoy's own timer the worker's rings, so that it stays a backstop
and a client gets one answer, not a race of two."""


def build(
    config: Config,
    *,
    grants: Sequence[Grant],
    generation: int,
    created: int,
    granted: Granted | None = None,
) -> Snapshot:
    """Build what the workers need of `config`.

    Args:
        config: the configuration.
        grants: of keys that are not in the file.
        generation: counts up with every change.
        created: Unix seconds.
        granted: what an earlier build made of the same keys.
    """
    memory = granted or Granted()
    of_keys, zoned = memory.grants(config)
    found = subjects.subjects(config)
    allowances = [
        *(grant.allowance for grant in grants),
        *(subject.allowance for subject in found),
        *(issuer.grant.allowance for issuer in config.jwt.values()),
    ]
    return Snapshot(
        generation=generation,
        grants=(*grants, *of_keys),
        models=tuple(
            ModelSpec(
                name=name,
                targets=_targets(config, name, model),
                owned_by=model.owned_by,
                routing=placement.model_routing(model),
            )
            for name, model in config.models.items()
        ),
        listed=tuple(name for model in config.models.values() for name in model.listed),
        limits=limits(config),
        created=created,
        subjects=found,
        zones=subjects.zones(allowances, zoned, created=created),
        accounting=config.accounting.accounting(),
        trusted_hops=config.listen.xff_num_trusted_hops,
        prices=price_rows(
            (provider.type for provider in config.providers.values()),
            config.providers,
            placement.prices(config),
            created=created,
        ),
        routing=placement.routing_numbers(config.routing),
        issuers=tuple(issuer.compiled(name) for name, issuer in config.jwt.items()),
        keepers=_keepers(config),
        logs=config.telemetry.logs.settings(),
        content_size=config.telemetry.content.size,
        provider_headers=tuple(
            sorted({name for one in config.providers.values() for name in one.headers})
        ),
    )


def _keepers(config: Config) -> tuple[TargetSpec, ...]:
    """Return the providers that keep what is found by its id, the default first.

    Of several keys the first: what is kept belongs to an account.
    """
    default = config.stored.provider
    names = sorted(
        (name for name, provider in config.providers.items() if provider.keeps),
        key=lambda name: name != default,
    )
    return tuple(_keeper(config, TargetConfig(provider=name)) for name in names)


def _keeper(config: Config, target: TargetConfig) -> TargetSpec:
    times = target_times(config, target)
    place = Placement(first_byte=times.first_byte, idle=times.idle, total=times.total)
    return _target(config, "*", target, target.provider, place)


def _targets(config: Config, name: str, model: ModelConfig) -> tuple[TargetSpec, ...]:
    """Return the model's deployments: one for each key of each target."""
    scale = placement.scale(model, config.providers)
    return tuple(
        _target(config, name, target, cluster, place)
        for target, tier in zip(model.targets, placement.tiers(model), strict=True)
        for cluster, place in placement.placements(
            name,
            target,
            tier,
            config.providers[target.provider],
            times=target_times(config, target),
            scale=scale,
        ).items()
    )


def limits(config: Config) -> Limits:
    """Derive the worker's deadlines from the configured ones.

    ``idle_seconds`` and ``total_seconds`` alone ring before Envoy's timers: the worker ends
    a silent or endless stream with an error event in the client's dialect, Envoy could
    only cut it.
    """
    times = config.timeouts
    return Limits(
        max_body_bytes=config.limits.body_bytes,
        max_held_bytes=config.limits.held_bytes,
        max_answer_bytes=config.limits.answer_bytes,
        request_seconds=times.request + BEHIND_ENVOY_SECONDS,
        upload_seconds=times.upload,
        first_byte_seconds=MAX_ATTEMPTS * times.first_byte + BACKOFF_SECONDS,
        idle_seconds=times.idle,
        attempt_seconds=times.first_byte,
        total_seconds=times.total,
        session_seconds=config.realtime.lifetime if config.realtime else 0.0,
    )


def _target(
    config: Config, name: str, target: TargetConfig, cluster: str, place: Placement
) -> TargetSpec:
    provider = config.providers[target.provider]
    # The rest of the name that the client asked for: what the glob's star stands for.
    strips = target.model == "*"
    endpoint = provider.endpoint
    return TargetSpec(
        provider=target.provider,
        type=provider.type,
        cluster=cluster,
        authority=endpoint.authority,
        base_path=endpoint.path,
        model=None if strips else target.model,
        strip=name.removesuffix("*") if strips else "",
        quirks=provider.quirks,
        default_max_tokens=target.default_max_tokens or provider.default_max_tokens,
        include_usage=provider.include_usage,
        only_main=not provider.responses,
        placement=place,
        settings=tuple(provider.path_settings.items()),
    )
