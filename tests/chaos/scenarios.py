"""Everything that can go wrong with a provider while another one is well."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.provider import Conduct, Provider

FIRST_BYTE = 0.5
"""Seconds that a target has to begin its answer."""


@dataclass
class Cast:
    """Who plays: a provider that is well, one that is told how to fail, and more."""

    good: Provider = field(default_factory=lambda: Provider(seed=1))
    bad: Provider = field(default_factory=lambda: Provider(seed=2))
    mortal: Provider = field(default_factory=lambda: Provider(seed=3))
    """Is killed."""

    def close(self) -> None:
        for provider in (self.good, self.bad, self.mortal):
            provider.close()


Meanwhile = Callable[[Cast, float], Awaitable[None]]


async def nothing(_: Cast, __: float) -> None:
    """Let it be."""


async def kill_and_restart(cast: Cast, seconds: float) -> None:
    await asyncio.sleep(seconds / 4)
    cast.mortal.kill()
    await asyncio.sleep(seconds / 2)
    cast.mortal.start()


@dataclass
class Scenario:
    """One fault. Its model has the scenario's name at every provider."""

    name: str
    conduct: Conduct | None = None
    """Of the provider that fails."""
    first: str = "bad"
    """Which provider is preferred."""
    strategy: str = "priority"
    meanwhile: Meanwhile = nothing
    good: Conduct | None = None
    at_once: int = 0
    """Requests that begin together, in place of a rate."""
    extra: dict[str, Any] = field(default_factory=dict)
    """More of the virtual model."""
    alone: bool = False
    """There is no second target: the fallbacks in `extra` are."""

    def model(self) -> dict[str, Any]:
        """Return the virtual model."""
        timeouts = {"first_byte": FIRST_BYTE}
        if self.at_once:
            timeouts = {"first_byte": 10}
        names = [self.first] if self.alone else [self.first, "good"]
        return {
            "strategy": self.strategy,
            "targets": [{"provider": name, "timeouts": timeouts} for name in names],
            **self.extra,
        }


TOO_LONG = Conduct(
    400, message="maximum context length is 10 tokens", code="context_length_exceeded"
)
FILTERED = Conduct(400, message="refused", code="content_filter")

SCENARIOS = [
    Scenario("killed", first="mortal", meanwhile=kill_and_restart),
    Scenario("hung", Conduct(delay=3600)),
    Scenario("slow", Conduct(delay=0.3), strategy="latency"),
    Scenario("late", Conduct(delay=FIRST_BYTE + 0.3)),
    Scenario("429-storm", Conduct(429, retry_after="2")),
    Scenario("429-bare", Conduct(429)),
    Scenario("500-in-30-percent", Conduct(500, chance=0.3), strategy="round_robin"),
    Scenario("529", Conduct(529, retry_after="1"), strategy="weighted"),
    Scenario("reset", Conduct(reset=True), strategy="adaptive"),
    Scenario("tls-broken", first="no-tls"),
    Scenario("name-unresolved", first="nowhere"),
    Scenario(
        "key-revoked", Conduct(refused_key="sk-revoked"), first="two-keys", alone=True
    ),
    Scenario(
        "too-long", TOO_LONG, alone=True, extra={"context_fallbacks": ["stand-in"]}
    ),
    Scenario(
        "filtered",
        FILTERED,
        alone=True,
        extra={"content_policy_fallbacks": ["stand-in"]},
    ),
    Scenario("fallback", Conduct(503), alone=True, extra={"fallbacks": ["stand-in"]}),
]

BURST = Scenario("burst", Conduct(500), good=Conduct(delay=3.0), at_once=200)


def config(cast: Cast, scenarios: list[Scenario]) -> dict[str, Any]:
    """Return the gateway's configuration, and tell the providers how to behave."""
    for scenario in scenarios:
        for provider in (cast.bad, cast.mortal):
            if scenario.conduct is not None:
                provider.conduct[scenario.name] = scenario.conduct
        if scenario.good is not None:
            cast.good.conduct[scenario.name] = scenario.good
    one = {"type": "openai", "api_key": "sk-one"}
    return {
        "providers": {
            "good": {**one, "base_url": cast.good.url},
            "bad": {**one, "base_url": cast.bad.url},
            "mortal": {**one, "base_url": cast.mortal.url},
            "no-tls": {
                **one,
                "base_url": f"https://127.0.0.1:{cast.good.port}/v1",
                "timeouts": {"connect": FIRST_BYTE},
            },
            "nowhere": {**one, "base_url": "https://nowhere.invalid/v1"},
            "two-keys": {
                "type": "openai",
                "api_keys": ["sk-good", "sk-revoked"],
                "base_url": cast.bad.url,
            },
        },
        "models": {
            "stand-in": {"targets": [{"provider": "good"}]},
            **{scenario.name: scenario.model() for scenario in scenarios},
        },
    }
