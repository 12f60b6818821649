"""What operators are told of deployments, and what control tells the workers of them."""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos.client import ask
from tests.chaos.provider import Conduct
from tests.chaos.stage import Stage
from tests.harness import wait_for

pytestmark = pytest.mark.envoy


def play(stage: Stage, model: str, *, stream: bool = False) -> str:
    """Ask once; return what was wrong with the answer, or nothing."""
    return asyncio.run(ask(stage.port, model, stream=stream))[0]


def gauge(stage: Stage, name: str, **labels: str) -> float:
    """Return a metric's value; 0 where there is none."""
    said = "{" + ",".join(f'{k}="{v}"' for k, v in sorted(labels.items())) + "} "
    for line in stage.get("/metrics").text.splitlines():
        if line.startswith(name + said):
            return float(line.rpartition(" ")[2])
    return 0.0


def test_a_refused_key_is_reported_while_it_is_left_alone(chaos_stage):
    stage, labels = (
        chaos_stage,
        {"provider": "two-keys", "key": "2", "model": "key-revoked"},
    )
    stage.settle()
    stage.bad.conduct["key-revoked"] = Conduct(refused_key="sk-revoked")

    def benched() -> float:
        return gauge(stage, "extproc_deployment_benched", **labels)

    def reported() -> bool | None:
        assert play(stage, "key-revoked") == ""
        refused = stage.get("/admin/routing").json()["keys_refused"]
        told = [(one["provider"], one["key"]) for one in refused]
        return (told == [("two-keys", "2")] and benched() == 1.0) or None

    try:
        wait_for(reported, stage.output)
        assert "the provider refused the key of two-keys.2" in stage.output()
    finally:
        del stage.bad.conduct["key-revoked"]
    wait_for(lambda: benched() == 0.0 or None, stage.output)
    assert gauge(stage, "extproc_deployment_benched", **labels | {"key": "1"}) == 0.0


def test_a_provider_that_breaks_answers_off_is_left_alone_for_a_while(chaos_stage):
    """Only Envoy sees that it was the provider: the worker hears of it from control."""
    stage = chaos_stage
    stage.settle()
    stage.bad.conduct["breaking"] = Conduct(cut=True)
    before = stage.bad.asked["breaking"]
    seen = []

    def cooldowns() -> float:
        labels = {"provider": "bad", "reason": "broken stream"}
        return gauge(stage, "extproc_cooldowns_total", **labels)

    at_first = cooldowns()

    def cooled() -> bool | None:
        seen.append(play(stage, "breaking", stream=True))
        return cooldowns() > at_first or None

    try:
        wait_for(cooled, stage.output)
    finally:
        del stage.bad.conduct["breaking"]
    broken = [one for one in seen if one]
    # Where its headers had come and none of them had gone on, Envoy says so itself.
    assert all(one.startswith(("200, cut", "502")) for one in broken)
    assert len(broken) == stage.bad.asked["breaking"] - before


def test_what_routing_has_learned_outlives_a_reload(chaos_stage):
    stage = chaos_stage
    stage.settle()
    stage.bad.conduct["remembered"] = Conduct(429, retry_after="60")
    labels = {"provider": "bad", "model": "remembered", "key": "", "state": "limited"}
    assert play(stage, "remembered") == ""
    wait_for(
        lambda: gauge(stage, "extproc_deployment_state", **labels) or None, stage.output
    )
    stage.add_model("one-more")
    assert [play(stage, "remembered") for _ in range(10)] == [""] * 10
    assert stage.bad.asked["remembered"] == 1
