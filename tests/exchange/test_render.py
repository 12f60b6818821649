"""Attempts share one header map: what one of them sees is the same wherever it comes."""

from __future__ import annotations

import hashlib
import itertools
import json

import pytest

from extproc.deployment import Placement
from extproc.exchange import events
from extproc.exchange.commands import Attempt, Route
from extproc.exchange.exchange import Exchange
from extproc.runtime import Grant, ModelSpec, Runtime, Snapshot, TargetSpec

KEY = "sk-test-0123456789abcdef"
TYPES = (
    "openai", "azure", "anthropic", "gemini", "bedrock", "bedrock-anthropic",
    "vertex-anthropic", "cohere", "mistral", "deepseek",
)  # fmt: skip
"""One of each format, and of each place where Claude is served."""
SETTINGS = {
    "azure": {"api_version": "2024-10-21"},
    "bedrock": {"region": "eu-west-1"},
    "bedrock-anthropic": {"region": "eu-west-1"},
    "vertex-anthropic": {"project": "p", "location": "us-east5"},
}
CONFIGURED = {"anthropic-beta": "bleeding", "anthropic-version": "2000-01-01"}
"""Of a provider or a target: names that another provider knows as its own."""
OF_THE_PROVIDER = {"openai": {**CONFIGURED, "x-org": "us"}}
"""What Envoy puts on behind the rendering, by provider."""
OF_THE_TARGET = {"gemini": {**CONFIGURED, "x-team": "search"}}

CLIENTS = {
    "chat": ("/v1/chat/completions", {}),
    "chat with a flag": ("/v1/chat/completions", {"anthropic-beta": "theirs"}),
    "messages": ("/v1/messages", {"anthropic-version": "2023-06-01"}),
    "messages with a flag": (
        "/v1/messages",
        {"anthropic-version": "2023-06-01", "anthropic-beta": "theirs"},
    ),
}


def target(kind: str, tier: int) -> TargetSpec:
    return TargetSpec(
        provider=kind,
        type=kind,
        cluster=kind,
        authority=f"{kind}.test",
        base_path="/v1",
        model="anthropic.claude-x" if kind.startswith("bedrock") else "claude-x",
        default_max_tokens=99,
        settings=tuple(SETTINGS.get(kind, {}).items()),
        placement=Placement(
            headers=tuple(OF_THE_TARGET.get(kind, {}).items()), tier=tier
        ),
    )


def model(*kinds: str) -> ModelSpec:
    """Return one whose chain is these providers, in this order."""
    specs = [target(kind, tier) for tier, kind in enumerate(kinds)]
    return ModelSpec(">".join(kinds), tuple(specs))


CHAINS = [(kind,) for kind in TYPES] + list(itertools.permutations(TYPES, 2))
RUNTIME = Runtime.of(
    Snapshot(
        generation=1,
        grants=(Grant("all", hashlib.sha256(KEY.encode()).hexdigest()),),
        models=tuple(model(*kinds) for kinds in CHAINS),
        provider_headers=tuple(
            {name for one in OF_THE_PROVIDER.values() for name in one}
        ),
    )
)


def attempts(client: str, *kinds: str) -> tuple[Attempt, ...]:
    path, said = CLIENTS[client]
    exchange = Exchange(RUNTIME, id="gw-1", started=1.0, now=1.0)
    head = {
        ":method": "POST",
        ":path": path,
        "content-type": "application/json",
        "authorization": f"Bearer {KEY}",
        **said,
    }
    exchange.receive(events.RequestHeaders(head, end=False), 1.0)
    body = {
        "model": ">".join(kinds),
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    sent = events.RequestBody(json.dumps(body).encode(), end=True)
    (route,) = exchange.receive(sent, 1.0)
    assert isinstance(route, Route)
    return route.chain


def seen(client: str, chain: tuple[Attempt, ...]) -> dict[str, str]:
    """Return the headers that the last attempt has, as Lua and Envoy leave them."""
    headers = {"user-agent": "tests", **CLIENTS[client][1]}
    for attempt in chain:
        for name in attempt.heading.delete_headers:
            headers.pop(name, None)
        headers |= dict(attempt.heading.set_headers)
        headers |= OF_THE_PROVIDER.get(attempt.cluster, {})
    return headers


@pytest.mark.parametrize("client", CLIENTS)
def test_an_attempt_has_the_headers_that_it_would_have_as_the_only_one(client):
    compared = 0
    for first, second in itertools.permutations(TYPES, 2):
        both = attempts(client, first, second)
        assert [attempt.cluster for attempt in both] == [first, second]
        alone = attempts(client, second)
        assert seen(client, both) == seen(client, alone), (first, second)
        compared += 1
    assert compared == len(TYPES) * (len(TYPES) - 1)


@pytest.mark.parametrize(
    ("client", "kind", "version", "flag"),
    [
        ("chat", "anthropic", "2023-06-01", None),
        ("chat with a flag", "anthropic", "2023-06-01", "theirs"),
        ("messages", "anthropic", "2023-06-01", None),
        ("messages with a flag", "anthropic", "2023-06-01", "theirs"),
        ("messages with a flag", "vertex-anthropic", None, "theirs"),
        ("messages with a flag", "bedrock-anthropic", None, None),
        ("messages with a flag", "mistral", None, None),
        ("messages with a flag", "openai", "2000-01-01", "bleeding"),
        ("messages with a flag", "gemini", "2000-01-01", "bleeding"),
    ],
)
def test_a_formats_own_headers_reach_who_speaks_it(client, kind, version, flag):
    headers = seen(client, attempts(client, kind))
    assert headers.get("anthropic-version") == version
    assert headers.get("anthropic-beta") == flag
