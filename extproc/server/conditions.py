"""What is wrong with the gateway now, if anything: what health alerts are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from extproc.server.alert_book import Kind
from extproc.telemetry.deployments import Deployment, Model

SOON: Final = 10.0
"""Seconds that most of it has to last: a worker that restarts is back in one or two."""
LATER: Final = 30.0
"""For what mends itself as a rule, such as a cooldown."""


class Condition(NamedTuple):
    """One thing that is wrong."""

    key: str
    """The same for as long as it lasts."""
    summary: str
    after: float = SOON
    """Seconds that it has to last before anybody is told."""
    kind: Kind = "health"
    details: Mapping[str, object] = {}


def of_health(known: Mapping[str, Any], *, workers: int) -> Iterator[Condition]:
    """Yield what ``/admin/health`` knows to be wrong; `workers` are configured."""
    if not known["envoy"]["ready"]:
        yield Condition("envoy", "Envoy does not have what is configured")
    answering = sum(bool(one["answers"]) for one in known["workers"])
    if not answering:
        yield Condition("workers", "No worker answers: nothing is served")
    elif answering < workers:
        lost = workers - answering
        yield Condition("workers", f"{lost} of {workers} workers are lost")
    if not known["config"]["last_reload_successful"]:
        yield Condition("config", "The last change of the configuration is not in use")
    problem = known["database"]["problem"]
    if problem is not None:
        yield Condition("database", f"The database cannot be used: {problem}", LATER)
    if known["database"]["lost_records"]:
        yield Condition("usage", "Usage is lost: the disk is full", 0.0)
    if known["store"]["away"]:
        yield Condition("store", "The store is away: limits are admitted by leases")
    for name, sink in known["sinks"].items():
        if sink["away"]:
            yield Condition(f"sink/{name}", f"{name} cannot be sent to", LATER)
    for token in known["tokens"]:
        if not token["ok"]:
            names = ", ".join(token["clusters"])
            yield Condition(
                f"token/{names}",
                f"The access token of {names} cannot be renewed: {token['problem']}",
                0.0,
            )


def of_deployments(
    deployments: Sequence[Deployment], models: Iterable[Model]
) -> Iterator[Condition]:
    """Yield which providers are left alone, and which models nobody serves for that."""
    down: set[str] = set()
    for one in deployments:
        name = f"{one.provider}/{one.model}"
        if one.benched:
            down.add(one.id)
            yield Condition(
                f"deployment/{one.id}", f"{name}: its credential is refused", 0.0
            )
        elif one.phase == "cooling":
            down.add(one.id)
            yield Condition(
                f"deployment/{one.id}",
                f"{name} is left alone: {one.reason or 'it fails'}",
                LATER,
            )
    for model in models:
        if model.targets and all(place.deployment in down for place in model.targets):
            yield Condition(
                f"model/{model.name}", f"All targets of {model.name} are down", SOON
            )
