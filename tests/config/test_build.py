"""The workers' snapshot of a configuration."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from extproc.config.abilities import known
from extproc.config.build import build
from extproc.config.load import autoconfig, loads
from extproc.deployment import Placement
from extproc.providers import NATIVE
from extproc.runtime import MAX_ATTEMPTS, Grant, Runtime, TargetSpec

HASH = "ab" * 32

TEXT = f"""
providers:
  openai: {{type: openai, api_key: sk-one}}
  near:
    type: anthropic
    api_key: sk-two
    base_url: http://127.0.0.1:9000/llm/v1/
    default_max_tokens: 99
    include_usage: false
models:
  gpt-4o: {{targets: [{{provider: openai}}, {{provider: near, model: claude-x}}]}}
  gpt-*: {{targets: [{{provider: openai}}], owned_by: us, listed: [gpt-5]}}
keys:
  - {{id: plain, key: sk-dev, models: [gpt-4o]}}
  - {{id: hashed, key_sha256: {HASH.upper()}}}
timeouts: {{request: 10, first_byte: 20, idle: 30}}
limits: {{body_bytes: 1MiB, answer_bytes: 2MiB}}
"""


def fingerprint(key):
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def snapshot(grants=()):
    config = loads(TEXT, {}, source="g.yaml", folder=Path("/"))
    return build(config, grants=grants, generation=7, created=1_700_000_000)


def test_a_targets_time_is_its_own_or_its_providers():
    providers = {
        "p": {"type": "openai", "api_key": "k", "timeouts": {"first_byte": 300}},
    }
    own = {"provider": "p", "model": "b", "timeouts": {"first_byte": 9}}
    models = {"m": {"targets": [{"provider": "p", "model": "a"}, own]}}
    plain = json.dumps({"providers": providers, "models": models})
    config = loads(plain, {}, source="x", folder=Path("/"))
    built = build(config, grants=(), generation=1, created=1)
    times = [target.placement.first_byte for target in built.models[0].targets]
    assert times == [300, 9]


def test_a_targets_default_limit_is_its_own_or_its_providers():
    target = {"provider": "p", "model": "a"}
    plain = {
        "providers": {
            "p": {"type": "anthropic", "api_key": "k", "default_max_tokens": 9}
        },
        "models": {
            "m": {
                "targets": [target, {**target, "model": "b", "default_max_tokens": 5}]
            }
        },
    }
    config = loads(json.dumps(plain), {}, source="x", folder=Path("/"))
    built = build(config, grants=(), generation=1, created=1)
    assert [one.default_max_tokens for one in built.models[0].targets] == [9, 5]


def test_targets_say_where_and_what():
    first, second = snapshot().models[0].targets
    assert first == TargetSpec(
        provider="openai",
        type="openai",
        cluster="openai",
        authority="api.openai.com",
        base_path="/v1",
        placement=Placement(
            credential=fingerprint("sk-one"), abilities=known("openai", "gpt-4o")
        ),
    )
    assert second == TargetSpec(
        provider="near",
        type="anthropic",
        cluster="near",
        authority="127.0.0.1:9000",
        base_path="/llm/v1",
        model="claude-x",
        default_max_tokens=99,
        include_usage=False,
        placement=Placement(
            credential=fingerprint("sk-two"),
            tier=1,
            abilities=known("anthropic", "claude-x"),
        ),
    )


def test_models_keep_their_order_and_lists():
    got = snapshot()
    assert [model.name for model in got.models] == ["gpt-4o", "gpt-*"]
    assert (got.models[1].owned_by, got.listed) == ("us", ("gpt-5",))
    assert (got.generation, got.created) == (7, 1_700_000_000)


def test_keys_are_hashed_and_added_to_the_others():
    other = Grant(id="master", sha256="cd" * 32)
    plain = hashlib.sha256(b"sk-dev").hexdigest()
    assert snapshot((other,)).grants == (
        other,
        Grant(id="plain", sha256=plain, models=("gpt-4o",)),
        Grant(id="hashed", sha256=HASH),
    )


def test_the_snapshot_has_no_secret_in_it():
    text = repr(snapshot())
    for secret in ("sk-one", "sk-two", "sk-dev"):
        assert secret not in text


def test_deadlines_are_behind_envoys_but_for_silence():
    """The worker can end a silent stream cleanly, Envoy can only cut it."""
    limits = snapshot().limits
    assert (limits.max_body_bytes, limits.max_answer_bytes) == (1 << 20, 2 << 20)
    assert limits.request_seconds == 15
    assert limits.first_byte_seconds > MAX_ATTEMPTS * 20
    assert limits.idle_seconds == 30


def test_the_snapshot_makes_a_runtime():
    runtime = Runtime.of(snapshot())
    grant = runtime.grant("sk-dev")
    assert grant is not None
    assert grant.id == "plain"
    model = runtime.model("gpt-5-mini")
    assert model is not None
    assert model.name == "gpt-*"


def test_a_start_without_configuration_serves_every_well_known_model():
    config = autoconfig({}, mock_url="http://127.0.0.1:9")
    runtime = Runtime.of(build(config, grants=(), generation=1, created=0))
    for name, provider in NATIVE.items():
        for listed in provider.models:
            model = runtime.model(listed)
            assert model is not None
            assert model.targets[0].spec.provider == name
            assert listed in runtime.listed
