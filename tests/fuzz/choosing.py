"""What a request says of who is to serve it: models, headers, claims of tokens, times to wait."""

from __future__ import annotations

import base64
import functools
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from extproc.config.build import build
from extproc.config.load import loads
from extproc.exchange import events
from extproc.exchange.commands import Attempt, Command, Complete, Respond, Route
from extproc.exchange.exchange import Exchange
from extproc.routing.state import RoutingState, Still
from extproc.routing.wait import noted, read_retry_after
from extproc.runtime import MAX_ATTEMPTS, Runtime
from extproc.tokens import HEADER
from tests.fuzz.shapes import JSON, TEXT
from tests.fuzz.target import Target

KEY = "sk-routing-0123456789abcdef0123456789"
CONFIG = f"""
providers:
  one: {{type: openai, api_keys: [sk-1, sk-2]}}
  two: {{type: anthropic, api_key: sk-3}}
  three: {{type: gemini, api_key: sk-4}}
models:
  plain: {{targets: [{{provider: one}}]}}
  ruled:
    targets: [{{provider: one, model: gpt-4o}}]
    fallbacks: [spread, cheap]
    rules:
      - {{when: {{headers: {{x-tenant: "acme-*"}}}}, model: tagged}}
      - {{when: {{tags: [beta], keys: ["ro*"], metadata: {{tier: gold}}}}, model: sticky}}
      - {{split: {{spread: 50, cheap: 50}}, by: user}}
  tagged:
    strategy: least_busy
    targets:
      - {{provider: one, model: gpt-4o, tags: [eu, fast], region: eu}}
      - {{provider: two, model: claude-sonnet-4-5, tags: [eu], region: eu}}
      - {{provider: three, model: gemini-2.5-pro, region: us}}
  spread:
    strategy: weighted
    targets:
      - {{provider: one, model: gpt-4o, weight: 3}}
      - {{provider: two, model: claude-sonnet-4-5, priority: 1}}
    context_fallbacks: [cheap]
    content_policy_fallbacks: [sticky]
  cheap:
    strategy: cost
    targets: [{{provider: three, model: gemini-2.5-flash}}, {{provider: one, model: gpt-4o-mini}}]
  sticky:
    strategy: affinity
    targets: [{{provider: one, model: gpt-4o}}, {{provider: two, model: claude-sonnet-4-5}}]
  "any/*":
    strategy: adaptive
    targets: [{{provider: one, model: "*"}}, {{provider: two, model: claude-sonnet-4-5}}]
keys:
  - {{id: routing, key: {KEY}}}
jwt:
  corp:
    issuer: https://idp.example/
    audiences: [extproc]
    jwks_uri: https://idp.example/keys
    claims: {{user: sub, team: teams, role: realm.roles}}
    roles: {{ops: owner}}
"""


@functools.cache
def _runtime() -> Runtime:
    config = loads(CONFIG, {}, source="gateway.yaml", folder=Path("/nowhere"))
    return Runtime.of(build(config, grants=(), generation=1, created=1))


@functools.cache
def _numbers() -> itertools.count[int]:
    return itertools.count(1)


def _asked(headers: Mapping[str, str], body: bytes) -> list[Command]:
    runtime = _runtime()
    exchange = Exchange(
        runtime,
        id=f"gw-{next(_numbers()):x}",
        started=1_800_000_000.0,
        now=0.0,
        routing=RoutingState(Still(), runtime.routing),
    )
    commands = exchange.receive(events.RequestHeaders(headers, end=False), 0.0)
    commands += exchange.receive(events.RequestBody(body, end=True), 0.0)
    commands += exchange.receive(events.Closed(), 1.0)
    assert sum(isinstance(one, Complete) for one in commands) == 1
    return commands


HEAD = {
    ":method": "POST", ":path": "/v1/chat/completions",
    "content-type": "application/json", "authorization": f"Bearer {KEY}",
}  # fmt: skip
PLACES: Mapping[str, tuple[frozenset[str], str]] = {
    "gpt-4o": (frozenset({"eu", "fast"}), "eu"),
    "claude-sonnet-4-5": (frozenset({"eu"}), "eu"),
    "gemini-2.5-pro": (frozenset(), "us"),
}
"""Of the targets of ``tagged``: what they have."""


def _words(said: Mapping[str, Any]) -> dict[str, str]:
    return {
        name.lower(): one if isinstance(one, str) else json.dumps(one)
        for name, one in said.items()
        if not name.startswith(":")
    }


def _placed(attempt: Attempt, headers: Mapping[str, str]) -> None:
    """Judge one attempt of ``tagged`` by what its request asked for."""
    asked = {one.strip() for one in headers.get("x-extproc-tags", "").split(",")} - {""}
    (place,) = (
        place for model, place in PLACES.items()
        if model.encode() in attempt.body or model in attempt.heading.path
    )  # fmt: skip
    assert asked <= place[0]
    assert asked or not place[0]
    assert headers.get("x-extproc-region", "") in {"", place[1]}


def directives(data: bytes) -> None:
    try:
        said = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if not isinstance(said, dict) or not isinstance(said.get("headers"), dict):
        return
    headers = _words(said["headers"])
    try:
        body = msgspec.json.encode(said.get("body"))
    except (UnicodeEncodeError, RecursionError):
        return
    for one in _asked(HEAD | headers, body):
        if isinstance(one, Respond) and one.status != 200:
            assert 400 <= one.status < 500 or one.status == 503, one
            assert json.loads(one.body)["error"]["message"]
        elif isinstance(one, Route):
            assert 1 <= len(one.chain) <= MAX_ATTEMPTS
            model = said["body"].get("model")
            for attempt in one.chain if model == "tagged" else ():
                _placed(attempt, headers)


def _directives() -> list[bytes]:
    said = [{"role": "user", "content": "Hi"}]
    headers: tuple[dict[str, object], ...] = (
        {"x-extproc-tags": "eu"},
        {"x-extproc-tags": "eu, fast", "x-extproc-region": "eu"},
        {"x-extproc-region": "us", "x-extproc-user": "u"},
        {"x-extproc-session": "s", "x-extproc-provider": "two"},
        {"x-tenant": "acme-1", "x-end-user": "e", "x-extproc-include-cost": "true"},
        {"x-extproc-tags": "beta", "x-forwarded-for": "10.0.0.1, 10.0.0.2"},
    )
    more: tuple[dict[str, object], ...] = (
        {},
        {"stream": True, "max_tokens": 5},
        {"user": "u", "metadata": {"tier": "gold", "user_id": "a"}},
        {"prompt_cache_key": "k", "safety_identifier": "s", "n": 2},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_object"}, "service_tier": "flex"},
    )
    models = ("plain", "ruled", "tagged", "spread", "cheap", "sticky", "any/x", "none")
    return [
        msgspec.json.encode(
            {
                "headers": headers[number % 6],
                "body": {"model": model, "messages": said, **more[number % 5]},
            }
        )
        for number, model in enumerate(models * 2)
    ]


# ---------------------------------------------------------------- claims of tokens


def claims(data: bytes) -> None:
    """Read what stands in a token; a second time it is remembered."""
    payload = base64.urlsafe_b64encode(data).decode().rstrip("=")
    for value in (payload, data.decode("utf-8", "surrogateescape")):
        tokens = _runtime().tokens
        assert tokens.grant(value) == tokens.grant(value)
        head = HEAD | {HEADER: value, "authorization": "Bearer a.b.c"}
        for one in _asked(head, b'{"model":"plain","messages":[]}'):
            if isinstance(one, Respond):
                assert one.status in {400, 401, 403}


def _claims() -> list[bytes]:
    said: tuple[dict[str, object], ...] = (
        {"iss": "https://idp.example/", "sub": "ann", "aud": "extproc", "exp": 9},
        {"iss": "https://idp.example/", "sub": ["ann"], "teams": ["a", "b"]},
        {"iss": "https://idp.example/", "sub": "b", "realm": {"roles": ["ops", 1]}},
        {"iss": "https://idp.example/", "sub": "b", "realm.roles": "ops"},
        {"iss": "https://other.example/", "sub": "b"},
    )
    return [msgspec.json.encode(one) for one in said]


# ---------------------------------------------------------------- times to wait


def waits(data: bytes) -> None:
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        said = noted(line)
        for value in (line, said):
            for wall in (None, 1_800_000_000.0):
                found = read_retry_after(value, wall)
                assert found is None or 0 <= found < float("inf")


WAITS = (
    b"5\n0.5\nms 250\nreset 6m0s\nreset 1h2m3.5s\nreset 20ms\n-",
    b"Fri, 15 Jan 2027 08:00:00 GMT\nFriday, 15-Jan-27 08:00:00 GMT\nFri Jan 15 08:00:00 2027",
    b"Fri, 15 Jan 2027 08:00:00 -0000\n1e999\n-1\nnan\nreset 9\nms x",
)

TARGETS = (
    Target("directives", _directives, directives, JSON, few=4),
    Target("claims", _claims, claims, JSON, few=4),
    Target("times to wait", lambda: WAITS, waits, TEXT),
)
