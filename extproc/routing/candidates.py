"""Which targets of a virtual model can be asked for a request, and in which order."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec

from extproc.deployment import Placement
from extproc.routing.demand import REGION_HEADER, Demand
from extproc.routing.health import BUCKET_SECONDS, COOLING, LIMITED
from extproc.routing.strategies import ORDERS, Candidate, Turn
from extproc.runtime import VirtualModel
from extproc.target import Lane, Target

KEYS_OF_ONE_PROVIDER = 2
"""Attempts with a provider's keys before another provider's turn: what ails a provider
ails it under all of its keys."""


class Why(enum.Enum):
    """Why a target is not asked."""

    UNABLE = "unable"
    """It could only refuse."""
    UNWANTED = "unwanted"
    """It lacks a tag or is in another region."""
    LIMITED = "limited"
    """It, or its account's known limits, say that it is too early."""
    BUSY = "busy"
    BENCHED = "benched"
    """Its key was refused."""
    COOLING = "cooling"


class Passed(msgspec.Struct, frozen=True):
    """A target that is not asked."""

    target: Target
    why: Why
    detail: str
    """Such as ``context_tokens``; in the configuration's words."""
    seconds: float = 0.0
    """Until it may be asked."""


class Choice(msgspec.Struct, frozen=True):
    """What there is of one virtual model."""

    model: VirtualModel
    able: tuple[Candidate, ...]
    """In the order of the strategy."""
    cooling: tuple[Candidate, ...]
    """For when nothing else is left; the ones that are due first come first."""
    benched: tuple[Candidate, ...]
    passed: tuple[Passed, ...]


def choose(model: VirtualModel, asked: str, turn: Turn) -> Choice:
    """Sort the targets of `model` by whether they can be asked, and those that can."""
    able: list[Candidate] = []
    cooling: list[Candidate] = []
    benched: list[Candidate] = []
    passed: list[Passed] = []
    for target in model.targets:
        candidate, no = consider(target, asked, turn, tagged=model.tagged)
        if no is None:
            able.append(candidate)
            continue
        passed.append(no)
        if no.why is Why.BENCHED:
            benched.append(candidate)
        elif no.why is Why.COOLING:
            cooling.append(candidate)
    if len(cooling) > 1:
        cooling.sort(key=lambda one: one.health.cooling_until)
    return Choice(
        model,
        tuple(_ordered(model, able, turn) if len(able) > 1 else able),
        tuple(cooling),
        tuple(benched),
        tuple(passed),
    )


def consider(
    target: Target, asked: str, turn: Turn, *, tagged: bool
) -> tuple[Candidate, Passed | None]:
    """Return `target` as it is now, and why it is not asked; None: it can be.

    `tagged`: whether targets beside it are set apart by tags.
    """
    demand, state, now = turn.demand, turn.state, turn.now
    spec = target.spec
    place = spec.placement
    lane = target.lane(asked, turn.prices)
    health = state.health(lane.deployment)
    health.cap = place.max_concurrency
    candidate = Candidate(target, health, lane)
    no = _unable(lane, demand) if demand.chat else None
    if no is None and (tagged or REGION_HEADER in demand.headers):
        no = _unwanted(place, demand, tagged=tagged)
    if no is not None:
        return candidate, Passed(target, *no)
    phase = health.phase(now)
    if phase is LIMITED:
        left = health.cooling_until - now
        return candidate, Passed(target, Why.LIMITED, "retry-after", left)
    if lane.bounded and (full := _full(candidate, turn)) is not None:
        return candidate, full
    if state.benched(spec.cluster, place.credential, now):
        return candidate, Passed(target, Why.BENCHED, "its key was refused")
    if phase is COOLING:
        left = max(0.0, health.cooling_until - now)
        return candidate, Passed(target, Why.COOLING, health.reason, left)
    return candidate, None


def _ordered(model: VirtualModel, able: list[Candidate], turn: Turn) -> list[Candidate]:
    order = ORDERS[model.routing.strategy]
    out: list[Candidate] = []
    for tier, group in groupby(sorted(able, key=_tier), key=_tier):
        out += order(list(group), turn.of(model.name, tier))
    return list(_spread(out))


def _tier(candidate: Candidate) -> int:
    return candidate.target.spec.placement.tier


def _spread(ordered: Sequence[Candidate]) -> Iterator[Candidate]:
    """Let other providers come before a third key of the same one."""
    seen: dict[str, int] = {}
    later = []
    for candidate in ordered:
        provider = candidate.target.spec.provider
        seen[provider] = seen.get(provider, 0) + 1
        if seen[provider] > KEYS_OF_ONE_PROVIDER:
            later.append(candidate)
        else:
            yield candidate
    yield from later


def _unable(lane: Lane, demand: Demand) -> tuple[Why, str] | None:
    abilities = lane.abilities
    window, most = abilities.context_tokens, abilities.output_tokens
    if window is not None or most is not None:
        output = demand.output_tokens or 0
        if window is not None and not demand.fits(window - output):
            return Why.UNABLE, "context_tokens"
        if most is not None and output > most:
            return Why.UNABLE, "output_tokens"
    for ability in lane.lacks:
        if demand.needs(ability):
            return Why.UNABLE, ability
    return None


def _unwanted(
    place: Placement, demand: Demand, *, tagged: bool
) -> tuple[Why, str] | None:
    if tagged:
        wanted = demand.tags
        # A request that says nothing stays away from what was set apart.
        if not (wanted <= place.tags if wanted else not place.tags):
            return Why.UNWANTED, "tags"
    region = demand.region
    if region and region != place.region:
        return Why.UNWANTED, "region"
    return None


def _full(candidate: Candidate, turn: Turn) -> Passed | None:
    target, health = candidate.target, candidate.health
    demand, now, place = turn.demand, turn.now, target.spec.placement
    cap = place.max_concurrency
    if cap is not None and (
        health.load + health.foreseen(now, turn.state.numbers) >= cap
    ):
        return Passed(target, Why.BUSY, "concurrency", 1.0)
    limit = place.requests_per_minute
    if limit is not None and health.requests_a_minute(now) >= limit:
        return Passed(target, Why.LIMITED, "requests_per_minute", BUCKET_SECONDS)
    limit = place.tokens_per_minute
    if limit is not None and (
        health.tokens_a_minute(now) + demand.input_tokens > limit
    ):
        return Passed(target, Why.LIMITED, "tokens_per_minute", BUCKET_SECONDS)
    return None


def soonest(passed: Sequence[Passed]) -> int:
    """Return the whole seconds until one of these targets may be asked."""
    return max(1, math.ceil(min(one.seconds for one in passed)))
