"""Everything that can go wrong while another target is well, and what ends it again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.provider import Conduct, Provider
from tests.chaos.stage import Stage

FIRST_BYTE = 0.5
"""Seconds that a target has to begin its answer."""

Act = Callable[[Stage, "Scenario"], Awaitable[None]]


@dataclass
class Scenario:
    """One fault. Its virtual model, and the model at every provider, have its name."""

    name: str
    conduct: Conduct | None = None
    """Of the provider that fails, from the fault's beginning to its end."""
    first: str = "bad"
    """Which provider is preferred."""
    strategy: str = "priority"
    begin: Act | None = None
    """What else the fault is; with neither, it is there from the start."""
    end: Act | None = None
    usual: Conduct | None = None
    """How all providers go about it when nothing is wrong."""
    good: Conduct | None = None
    """How the one that is well does."""
    at_once: int = 0
    """Requests that begin together, in place of a rate."""
    extra: dict[str, Any] = field(default_factory=dict)
    """More of the virtual model."""
    alone: bool = False
    """There is no second target: the fallbacks in `extra` are."""
    breaks: bool = False
    """Whether it breaks what is under way as it begins, which nobody could hide."""
    passes: bool = True
    """Whether requests are as fast as before once the fault is known."""

    def model(self) -> dict[str, Any]:
        """Return the virtual model."""
        timeouts = {"first_byte": 10 if self.at_once else FIRST_BYTE}
        names = [self.first] if self.alone else [self.first, "good"]
        return {
            "strategy": self.strategy,
            "targets": [{"provider": name, "timeouts": timeouts} for name in names],
            **self.extra,
        }

    @property
    def static(self) -> bool:
        """Whether the fault is there from the start."""
        return self.begin is None and (self.conduct is None or bool(self.at_once))

    def at_fault(self, stage: Stage) -> Provider:
        """Return the provider that fails."""
        return stage.mortal if self.first == "mortal" else stage.bad


async def kill_provider(stage: Stage, _: Scenario) -> None:
    await asyncio.to_thread(stage.mortal.kill)


async def start_provider(stage: Stage, _: Scenario) -> None:
    await asyncio.to_thread(stage.mortal.start)


async def kill_worker(stage: Stage, _: Scenario) -> None:
    stage.signal_worker(signal.SIGKILL)


async def stop_worker(stage: Stage, _: Scenario) -> None:
    stage.signal_worker(signal.SIGSTOP)


async def continue_worker(stage: Stage, _: Scenario) -> None:
    stage.signal_worker(signal.SIGCONT)


async def reload(stage: Stage, scenario: Scenario) -> None:
    stage.begin_reloading(scenario.name)


async def stop_reloading(stage: Stage, _: Scenario) -> None:
    await stage.stop_reloading()


async def renew_envoy(stage: Stage, _: Scenario) -> None:
    stage.renew_envoy()


TOO_LONG = Conduct(
    400, message="maximum context length is 10 tokens", code="context_length_exceeded"
)
FILTERED = Conduct(400, message="refused", code="content_filter")
TALK = Conduct(delay=0.03, stall=0.02)
"""Some time in each half of an exchange, so that a worker has something to lose."""

SCENARIOS = [
    Scenario("killed", first="mortal", begin=kill_provider, end=start_provider),
    Scenario("hung", Conduct(delay=3600)),
    Scenario("slow", Conduct(delay=0.3), strategy="latency"),
    Scenario("late", Conduct(delay=FIRST_BYTE + 0.3)),
    Scenario("429-storm", Conduct(429, retry_after="1")),
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

BURST = Scenario(
    "burst", Conduct(500), good=Conduct(delay=3.0), at_once=200, passes=False
)

PROCESSES = [
    Scenario("reload-each-second", begin=reload, end=stop_reloading, usual=TALK),
    Scenario("envoy-renewed", begin=renew_envoy, usual=TALK),
    Scenario("worker-killed", begin=kill_worker, usual=TALK, breaks=True),
    Scenario(
        "worker-stopped",
        begin=stop_worker,
        end=continue_worker,
        usual=TALK,
        breaks=True,
    ),
]
"""What happens to the gateway itself; one at a time."""

EVERYTHING = [*SCENARIOS, BURST, *PROCESSES]


def config(stage: Stage) -> dict[str, Any]:
    """Return the gateway's configuration, and tell the providers how to behave."""
    for scenario in EVERYTHING:
        for provider in (stage.good, stage.bad, stage.mortal):
            if scenario.usual is not None:
                provider.conduct[scenario.name] = scenario.usual
        if scenario.good is not None:
            stage.good.conduct[scenario.name] = scenario.good
        if scenario.at_once and scenario.conduct is not None:
            stage.bad.conduct[scenario.name] = scenario.conduct
    one = {"type": "openai", "api_key": "sk-one"}
    return {
        "workers": 2,
        "timeouts": {"drain": 5},
        "accounting": {"store": stage.redis.url},
        "routing": {"cooldown": {"seconds": 1, "longest": 2, "credential": 2}},
        "providers": {
            "good": {**one, "base_url": stage.good.url},
            "bad": {**one, "base_url": stage.bad.url},
            "mortal": {**one, "base_url": stage.mortal.url},
            "no-tls": {
                **one,
                "base_url": f"https://127.0.0.1:{stage.good.port}/v1",
                "timeouts": {"connect": FIRST_BYTE},
            },
            "nowhere": {**one, "base_url": "https://nowhere.invalid/v1"},
            "two-keys": {
                "type": "openai",
                "api_keys": ["sk-good", "sk-revoked"],
                "base_url": stage.bad.url,
            },
        },
        "models": {
            "stand-in": {"targets": [{"provider": "good"}]},
            **{scenario.name: scenario.model() for scenario in EVERYTHING},
        },
    }
