"""How the tokens that control fetches fare."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class TokenMetrics:
    """A counter of failures, and how long each token is good for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the counter."""
        self._registry = registry
        self._failures = Counter(
            "extproc_token_refresh_failures",
            "Times that an access token for a provider could not be fetched.",
            ("provider",),
            registry=registry,
        )

    def watch(self, seconds_left: Callable[[], Mapping[str, float]]) -> None:
        """Register the gauge; `seconds_left` gives seconds by Envoy cluster."""
        self._registry.register(_Left(seconds_left))

    def failed(self, provider: str) -> None:
        """Count a token that could not be fetched."""
        self._failures.labels(provider).inc()


class _Left(Collector):
    def __init__(self, value: Callable[[], Mapping[str, float]]) -> None:
        self._value = value

    def collect(self) -> Iterator[Metric]:
        gauge = GaugeMetricFamily(
            "extproc_token_valid_seconds",
            "How long a provider's access token is good for still.",
            labels=("provider",),
        )
        for provider, seconds in self._value().items():
            # Infinite is that nobody knows: an earlier process fetched it.
            if not math.isinf(seconds):
                gauge.add_metric((provider,), seconds)
        yield gauge
