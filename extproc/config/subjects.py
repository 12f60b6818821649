"""Tenancy in ``gateway.yaml`` to what the data path knows: subjects, grants, zones."""

from __future__ import annotations

import functools
import hashlib
import operator
import zoneinfo
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from extproc.config.kept import Kept
from extproc.config.schema import Config, KeyConfig
from extproc.config.tenancy import Allowed, OwnerConfig, TeamConfig, UserConfig
from extproc.identity import Allowance, Grant, Kind, Subject, Zone

ZONE_YEARS = 10
"""How far ahead offsets are looked up; a snapshot is seldom older than days."""
PREFIX_LENGTH = 7
"""Of a key: ``sk-`` and four characters, enough to recognize it by."""


def grant(config: Config, key: KeyConfig) -> Grant:
    """Return what `key` may do; what it does not say of its owners, they say."""
    prefix = ""
    if key.key is not None:
        secret = key.key.get_secret_value()
        digest = hashlib.sha256(secret.encode()).hexdigest()
        prefix = secret[:PREFIX_LENGTH] if len(secret) >= 4 * PREFIX_LENGTH else ""
    else:
        digest = (key.key_sha256 or "").lower()
    organization, team = _owners(config, key)
    return Grant(
        id=key.id,
        sha256=digest,
        models=key.models,
        prefix=prefix,
        organization=organization,
        team=team,
        user=key.user,
        role=key.role,
        not_before=key.not_before,
        expires=key.expires,
        blocked=key.blocked,
        endpoints=key.endpoints,
        providers=key.providers,
        addresses=key.addresses,
        metadata=key.metadata,
        tags=key.tags,
        allowance=key.allowance,
        priority=key.priority,
        private=key.private,
        cut_off=key.cut_off,
    )


def _owners(config: Config, key: KeyConfig) -> tuple[str | None, str | None]:
    """Return the key's organization and team; what it does not say, its owners say."""
    user = config.users.get(key.user) if key.user else None
    name = key.team or (user.team if user else None)
    team = config.teams.get(name) if name else None
    organization = (
        key.organization
        or (user.organization if user else None)
        or (team.organization if team else None)
    )
    return organization, name


_Owners = tuple[str | None, str | None]
_Ownership = tuple[dict[str, _Owners], dict[str, str | None]]


def _ownership(config: Config) -> _Ownership:
    """Return all that `_owners` looks at beside the key."""
    return (
        {name: (user.team, user.organization) for name, user in config.users.items()},
        {name: team.organization for name, team in config.teams.items()},
    )


class Granted:
    """What keys were compiled to, so that a change of one compiles no other again.

    Keys are frozen: the same one with the same owners makes the same grant.
    """

    def __init__(self) -> None:
        self._kept: Kept[KeyConfig, tuple[Grant, frozenset[str]]] = Kept()
        self._ownership: _Ownership = ({}, {})
        self._zones: dict[frozenset[str], frozenset[str]] = {}

    def grants(self, config: Config) -> tuple[list[Grant], set[str]]:
        """Return the grants of all keys, and the time zones of their budgets."""
        ownership = _ownership(config)

        def still(key: KeyConfig, made: tuple[Grant, frozenset[str]]) -> bool:
            return _owners(config, key) == (made[0].organization, made[0].team)

        made = self._kept.of(
            config.keys,
            lambda key: self._make(config, key),
            still=None if ownership == self._ownership else still,
        )
        self._ownership = ownership
        # A few sets for all keys: each is told apart from the others by being another.
        zones = set(map(_second, made))
        return list(map(_first, made)), set().union(*zones)

    def _make(self, config: Config, key: KeyConfig) -> tuple[Grant, frozenset[str]]:
        made = grant(config, key)
        zones = frozenset(budget.zone for budget in made.allowance.budgets)
        return made, self._zones.setdefault(zones, zones)


_first: Final = operator.itemgetter(0)
_second: Final = operator.itemgetter(1)


def subjects(config: Config) -> tuple[Subject, ...]:
    """Return everything but keys that has a limit on it."""
    return tuple(_subjects(config))


def is_limited(config: Config) -> bool:
    """Say whether anything at all has a limit or a budget on it."""
    holders = [*config.keys, *(issuer.grant for issuer in config.jwt.values())]
    return any(holder.allowance for holder in holders) or any(
        subject.allowance for subject in subjects(config)
    )


def _subjects(config: Config) -> Iterator[Subject]:
    everybody = Allowed(
        rate_limits=config.rate_limits,
        concurrency=config.concurrency,
        budgets=config.budgets,
    ).allowance
    if everybody:
        yield Subject("global", "", everybody)
    owners: list[tuple[Kind, dict[str, OwnerConfig]]] = [
        ("organization", {**config.organizations}),
        ("team", {**config.teams}),
        ("user", {**config.users}),
    ]
    for kind, named in owners:
        for name, owner in named.items():
            subject = Subject(kind, name, owner.allowance, owner.models, owner.blocked)
            if config.jwt:
                subject = _owned(subject, owner)
            if subject != Subject(kind, name):
                yield subject
    for name, end_user in config.end_users.items():
        yield Subject("end_user", name, end_user.allowance)
    for name, model in config.models.items():
        if model.allowance:
            yield Subject("model", name, model.allowance)
        for target in model.targets:
            if target.allowance:
                deployment = f"{target.provider}/{target.model or name}"
                yield Subject("deployment", deployment, target.allowance)


def _owned(subject: Subject, owner: OwnerConfig) -> Subject:
    """Return `subject` with whose it is."""
    if not isinstance(owner, TeamConfig | UserConfig):
        return subject
    team = owner.team if isinstance(owner, UserConfig) else None
    return msgspec.structs.replace(subject, organization=owner.organization, team=team)


def zones(
    allowances: Iterable[Allowance], named: Iterable[str], *, created: int
) -> dict[str, Zone]:
    """Return the time zones that budgets name, as offsets around `created`.

    Args:
        allowances: with budgets.
        named: zones of other budgets.
        created: Unix seconds.
    """
    names = {budget.zone for allowance in allowances for budget in allowance.budgets}
    names.update(named)
    return {name: zone(name, created=created) for name in sorted(names - {"UTC"})}


@functools.lru_cache(maxsize=1_000)  # every change of a key asks for the same again
def zone(name: str, *, created: int) -> Zone:
    """Look up the offsets of the zone `name`: from the year of `created` on.

    By the day and then by the second: no zone changes twice within a day.
    """
    info = zoneinfo.ZoneInfo(name)

    def offset(at: int) -> int:
        when = datetime.fromtimestamp(at, UTC).astimezone(info)
        return int((when.utcoffset() or timedelta()).total_seconds())

    start = int(
        datetime(
            datetime.fromtimestamp(created, UTC).year - 1, 1, 1, tzinfo=UTC
        ).timestamp()
    )
    since, offsets = [start], [offset(start)]
    for day in range(start, start + ZONE_YEARS * 366 * 86_400, 86_400):
        if offset(day + 86_400) != offsets[-1]:
            low, high = day, day + 86_400
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (
                    (middle, high) if offset(middle) == offsets[-1] else (low, middle)
                )
            since.append(high)
            offsets.append(offset(high))
    return Zone(tuple(since), tuple(offsets))
