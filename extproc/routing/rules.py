"""Which virtual model a request is really for."""

from __future__ import annotations

from extproc.deployment import Condition, Rule
from extproc.identity import glob_pattern, matches
from extproc.routing.affinity import split
from extproc.routing.demand import Demand
from extproc.runtime import Runtime, VirtualModel

MAX_HOPS = 8
"""The configuration has no circle in it; a snapshot of another version might."""


def follow(runtime: Runtime, model: VirtualModel, demand: Demand) -> VirtualModel:
    """Return the model that the rules send the request to; mostly itself."""
    for _ in range(MAX_HOPS):
        for rule in model.routing.rules:
            if not _applies(rule.when, demand):
                continue
            found = runtime.group(_choose(rule, model.name, demand))
            if found is not None:
                model = found
                break
        else:
            return model
    return model


def _applies(when: Condition, demand: Demand) -> bool:
    return (
        all(
            name in demand.headers and matches((glob,), demand.headers[name])
            for name, glob in when.headers.items()
        )
        and all(
            name in demand.metadata
            and glob_pattern(glob).match(demand.metadata[name]) is not None
            for name, glob in when.metadata.items()
        )
        and (
            not when.tags or demand.tags.union(demand.grant.tags).issuperset(when.tags)
        )
        and (not when.keys or matches(when.keys, demand.grant.id))
    )


def _choose(rule: Rule, name: str, demand: Demand) -> str:
    if len(rule.to) == 1:
        return rule.to[0].model
    match rule.by:
        case "user":
            who = demand.user
        case "session":
            who = demand.session
        case "key":
            who = demand.grant.id
        case header:
            who = demand.headers.get(header.removeprefix("header:"), "")
    # With the name in it, so that the same users are not the first in every experiment.
    return split(rule.to, name, who)
