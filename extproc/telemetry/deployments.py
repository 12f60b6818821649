"""What all workers together know of each configured deployment: for operators.

A glob's targets have a deployment for each name that clients have asked for; only those
that some worker is busy with, or has something against, are told of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from extproc.routing.state import LiveBench, LiveDeployment
from extproc.runtime import Snapshot, TargetSpec

PHASES = ("closed", "trial", "cooling", "limited")
"""From best to worst."""


class Deployment(msgspec.Struct, frozen=True):
    """One deployment, at all workers."""

    id: str
    provider: str
    model: str
    key: str
    phase: str
    """The worst that a worker says."""
    reason: str
    score: int
    """The lowest."""
    in_flight: int
    requests: int
    """In the last minute."""
    tokens: int
    cooling_seconds: float
    first_byte_seconds: float | None
    """Mean of the workers' averages."""
    total_seconds: float | None
    benched: bool
    """Its key was refused."""
    benched_seconds: float = 0.0
    """That it is left alone for, still."""


class Place(msgspec.Struct, frozen=True):
    """A deployment as one virtual model uses it."""

    deployment: str
    tier: int
    weight: int
    tags: list[str]
    region: str


class Model(msgspec.Struct, frozen=True):
    """One virtual model."""

    name: str
    strategy: str
    targets: list[Place]
    fallbacks: list[str]
    context_fallbacks: list[str] = []
    content_policy_fallbacks: list[str] = []
    aliases: list[str] = []
    rules: int = 0
    """How many may send its requests on."""


class Key(msgspec.Struct, frozen=True):
    """One of a provider's keys, which it has refused."""

    provider: str
    key: str
    """Which one, such as ``2``; empty where there is one."""
    seconds: float
    """That it is left alone for, still."""


Live = tuple[Sequence[LiveDeployment], Sequence[LiveBench]]


def deployments(snapshot: Snapshot, workers: Iterable[Live]) -> list[Deployment]:
    """Return every deployment that is configured by name or known to a worker."""
    told: dict[str, list[LiveDeployment]] = {}
    workers = list(workers)
    for live, _ in workers:
        for one in live:
            told.setdefault(one.id, []).append(one)
    benched = _benched(workers)
    specs = _specs(snapshot)
    out = []
    for id_ in dict.fromkeys((*(i for i in specs if not i.endswith("/*")), *told)):
        cluster, _, model = id_.partition("/")
        spec = specs.get(id_) or _of_cluster(specs, cluster)
        if spec is not None:
            place = spec.placement
            key = (cluster, place.credential)
            out.append(
                _merged(id_, spec, model, told.get(id_, []), benched=benched.get(key))
            )
    return out


def refused(snapshot: Snapshot, workers: Iterable[Live]) -> list[Key]:
    """Return the keys that were refused and are left alone."""
    benched, found = _benched(workers), {}
    for spec in _specs(snapshot).values():
        place = spec.placement
        seconds = benched.get((spec.cluster, place.credential))
        if seconds is not None:
            found[spec.cluster] = Key(spec.provider, place.key, round(seconds, 1))
    return list(found.values())


def _benched(workers: Iterable[Live]) -> dict[tuple[str, str], float]:
    """Return the seconds that are left, by cluster and credential."""
    benched: dict[tuple[str, str], float] = {}
    for _, benches in workers:
        for bench in benches:
            key = (bench.cluster, bench.credential)
            benched[key] = max(benched.get(key, 0.0), bench.seconds)
    return benched


def models(snapshot: Snapshot) -> list[Model]:
    """Return how each virtual model chooses."""
    return [
        Model(
            name=model.name,
            aliases=list(model.routing.aliases),
            strategy=model.routing.strategy,
            targets=[
                Place(
                    _id(spec, model.name),
                    spec.placement.tier,
                    spec.placement.weight,
                    sorted(spec.placement.tags),
                    spec.placement.region,
                )
                for spec in model.targets
            ],
            fallbacks=list(model.routing.fallbacks),
            context_fallbacks=list(model.routing.context_fallbacks),
            content_policy_fallbacks=list(model.routing.content_fallbacks),
            rules=len(model.routing.rules),
        )
        for model in snapshot.models
    ]


class DeploymentCollector(Collector):
    """Health in Prometheus' words; of deployments that are configured by name only."""

    def __init__(self, known: Callable[[], list[Deployment]]) -> None:
        self._known = known

    def collect(self) -> Iterator[Metric]:
        """Yield a gauge for each number."""
        labels = ("provider", "model", "key")
        gauges = {
            "score": "Health score of a deployment, 0 to 100.",
            "in_flight": "Requests in flight at a deployment, all workers.",
            "cooling_seconds": "Seconds that a deployment is left alone for, still.",
            "benched": "1 where a deployment's key was refused and is left alone.",
        }
        known = self._known()
        for field, text in gauges.items():
            gauge = GaugeMetricFamily(
                f"extproc_deployment_{field}", text, labels=labels
            )
            for one in known:
                gauge.add_metric(
                    (one.provider, one.model, one.key), getattr(one, field)
                )
            yield gauge
        state = GaugeMetricFamily(
            "extproc_deployment_state",
            "1 for the state of a deployment's breaker: closed, trial, cooling or limited.",
            labels=(*labels, "state"),
        )
        for one in known:
            for phase in PHASES:
                labeled = (one.provider, one.model, one.key, phase)
                state.add_metric(labeled, float(one.phase == phase))
        yield state


def configured(snapshot: Snapshot, workers: Iterable[Live]) -> list[Deployment]:
    """Return the deployments that no client can add to."""
    specs = _specs(snapshot)
    return [one for one in deployments(snapshot, workers) if one.id in specs]


def _specs(snapshot: Snapshot) -> dict[str, TargetSpec]:
    return {
        _id(spec, model.name): spec
        for model in snapshot.models
        for spec in model.targets
    }


def _id(spec: TargetSpec, name: str) -> str:
    """Return the deployment of a target of the virtual model `name`, as workers call it."""
    asked = "*" if "*" in name else name.removeprefix(spec.strip)
    return f"{spec.cluster}/{spec.model or asked}"


def _of_cluster(specs: Mapping[str, TargetSpec], cluster: str) -> TargetSpec | None:
    return next((spec for spec in specs.values() if spec.cluster == cluster), None)


def _merged(
    id_: str,
    spec: TargetSpec,
    model: str,
    told: Sequence[LiveDeployment],
    *,
    benched: float | None,
) -> Deployment:
    worst = max(told, key=lambda one: PHASES.index(one.phase), default=None)
    return Deployment(
        id=id_,
        provider=spec.provider,
        model=model,
        key=spec.placement.key,
        phase=worst.phase if worst else PHASES[0],
        reason=worst.reason if worst else "",
        score=min((one.score for one in told), default=100),
        in_flight=sum(one.in_flight for one in told),
        requests=sum(one.requests for one in told),
        tokens=sum(one.tokens for one in told),
        cooling_seconds=round(max((one.cooling for one in told), default=0.0), 3),
        first_byte_seconds=_mean([one.first_byte for one in told]),
        total_seconds=_mean([one.total for one in told]),
        benched=benched is not None,
        benched_seconds=round(benched or 0.0, 1),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 3) if known else None
