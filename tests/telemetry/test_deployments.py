"""What the workers say of deployments, added up."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from extproc.deployment import ModelRouting
from extproc.routing.state import LiveBench, LiveDeployment
from extproc.runtime import ModelSpec, Snapshot
from extproc.telemetry.deployments import (
    DeploymentCollector,
    Key,
    configured,
    deployments,
    models,
    refused,
)
from tests.routing.world import target

SNAPSHOT = Snapshot(
    1,
    models=(
        ModelSpec(
            "v",
            (target("a", credential="c1", key="1"), target("a.2", key="2", tier=1)),
            routing=ModelRouting(strategy="weighted", fallbacks=("w",)),
        ),
        ModelSpec("w-*", (target("b", model=None),)),
        ModelSpec("plain", (target("c", model=None),)),
    ),
)
ONE = [
    LiveDeployment(
        "a/m", in_flight=2, requests=5, tokens=100, score=80, first_byte=1.0
    ),
    LiveDeployment("b/named-by-a-client", in_flight=1),
    LiveDeployment("c/plain", in_flight=1, score=70),
]
TWO = [
    LiveDeployment(
        "a/m", in_flight=1, cooling=2.5, reason="429", phase="limited", score=0,
        first_byte=2.0,
    )
]  # fmt: skip
WORKERS = [(ONE, [LiveBench("a", "c1", 9.0)]), (TWO, [])]


def test_numbers_are_added_up_and_the_worst_phase_counts():
    known = {one.id: one for one in deployments(SNAPSHOT, WORKERS)}
    assert list(known) == ["a/m", "a.2/m", "c/plain", "b/named-by-a-client"]
    first = known["a/m"]
    assert (first.provider, first.model, first.key) == ("a", "m", "1")
    assert (first.in_flight, first.requests, first.tokens) == (3, 5, 100)
    assert (first.phase, first.reason, first.score) == ("limited", "429", 0)
    assert (first.cooling_seconds, first.first_byte_seconds) == (2.5, 1.5)
    assert (first.benched, first.benched_seconds) == (True, 9.0)
    idle = known["a.2/m"]
    assert (idle.phase, idle.score, idle.benched) == ("closed", 100, False)


def test_a_key_that_was_replaced_is_not_benched():
    workers = [(ONE, [LiveBench("a", "older", 9.0)])]
    assert not deployments(SNAPSHOT, workers)[0].benched
    assert refused(SNAPSHOT, workers) == []
    assert refused(SNAPSHOT, WORKERS) == [Key("a", "1", 9.0)]


def test_models_say_how_they_choose():
    first, glob, plain = models(SNAPSHOT)
    assert (first.strategy, first.fallbacks, first.rules) == ("weighted", ["w"], 0)
    assert [(place.deployment, place.tier) for place in first.targets] == [
        ("a/m", 0),
        ("a.2/m", 1),
    ]
    assert glob.targets[0].deployment == "b/*"
    assert plain.targets[0].deployment == "c/plain", "its own name is what is asked for"


def test_a_client_cannot_make_a_time_series():
    registry = CollectorRegistry()
    registry.register(DeploymentCollector(lambda: configured(SNAPSHOT, WORKERS)))
    text = generate_latest(registry).decode()
    assert 'extproc_deployment_score{key="1",model="m",provider="a"} 0.0' in text
    assert 'extproc_deployment_in_flight{key="1",model="m",provider="a"} 3.0' in text
    assert 'extproc_deployment_benched{key="1",model="m",provider="a"} 1.0' in text
    assert 'extproc_deployment_benched{key="2",model="m",provider="a"} 0.0' in text
    assert 'extproc_deployment_score{key="",model="plain",provider="c"} 70.0' in text
    assert "named-by-a-client" not in text
