"""Whatever is wrong has a condition of its own, and nothing has one while all is well."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from extproc.server.conditions import of_deployments, of_health
from extproc.telemetry.deployments import Model, Place
from tests.server.test_health import WELL

HEALTH: dict[str, Any] = {
    "envoy": {"ready": True},
    "workers": [{"name": "w0", "answers": True}, {"name": "w1", "answers": True}],
    "config": {"last_reload_successful": True},
    "database": {"problem": None, "lost_records": 0},
    "store": {"away": False},
    "sinks": {"otlp": {"away": False}},
    "tokens": [{"clusters": ["vertex"], "ok": True, "problem": ""}],
}


def changed(*path: Any, to: Any) -> dict[str, Any]:
    known = copy.deepcopy(HEALTH)
    place: Any = known
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = to
    return known


def test_all_is_well() -> None:
    assert list(of_health(HEALTH, workers=2)) == []
    assert list(of_deployments([WELL], [])) == []


@pytest.mark.parametrize(
    ("known", "key", "word"),
    [
        (changed("envoy", "ready", to=False), "envoy", "Envoy"),
        (changed("workers", 1, "answers", to=False), "workers", "1 of 2"),
        (changed("workers", to=[]), "workers", "nothing is served"),
        (changed("config", "last_reload_successful", to=False), "config", "not in use"),
        (changed("database", "problem", to="OperationalError"), "database", "Operational"),
        (changed("database", "lost_records", to=3), "usage", "lost"),
        (changed("store", "away", to=True), "store", "leases"),
        (changed("sinks", "otlp", "away", to=True), "sink/otlp", "otlp"),
        (
            changed("tokens", 0, to={"clusters": ["vertex"], "ok": False, "problem": "401"}),
            "token/vertex", "401",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(known: dict[str, Any], key: str, word: str) -> None:
    [one] = of_health(known, workers=2)
    assert one.key == key
    assert word in one.summary


def test_a_provider_that_is_left_alone_and_a_model_that_has_no_other() -> None:
    cooling = msgspec.structs.replace(WELL, phase="cooling", reason="server_error")
    refused = msgspec.structs.replace(WELL, id="q/m", provider="q", benched=True)
    models = [model("one", "p/m"), model("two", "p/m", "q/m"), model("none")]
    assert [c.key for c in of_deployments([cooling, WELL], models[1:])] == [
        "deployment/p/m"
    ]
    found = {c.key: c for c in of_deployments([cooling, refused], models)}
    assert set(found) == {
        "deployment/p/m", "deployment/q/m", "model/one", "model/two",
    }  # fmt: skip
    assert "server_error" in found["deployment/p/m"].summary
    assert "credential" in found["deployment/q/m"].summary


def model(name: str, *deployments: str) -> Model:
    places = [Place(one, 0, 1, [], "") for one in deployments]
    return Model(name, "priority", places, [])
