"""Prometheus' registry, filled from the table of instruments and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from extproc.telemetry import semconv
from extproc.telemetry.instruments import BY_NAME, Instrument
from extproc.telemetry.series import Counter, Histogram

Values = Mapping[tuple[str, ...], float]
"""By the values of the labels."""


class Cap:
    """At most so many values of a label; whatever comes after them is ``other``."""

    def __init__(self, most: int, other: str) -> None:
        self._most = most
        self._other = other
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return `value`, or the word for all that are too many."""
        if value in self._known:
            return value
        if len(self._known) < self._most:
            self._known.add(value)
            return value
        return self._other


class Registry:
    """Makes the metrics of `BY_NAME`.

    Attributes:
        prometheus: where all of them are.
    """

    def __init__(self) -> None:
        self.prometheus = CollectorRegistry()
        self._counters: dict[str, Counter] = {}

    def counter(self, name: str) -> Counter:
        """Make a counter, or return the one that somebody else counts with, too."""
        made = self._counters.get(name)
        if made is None:
            one = BY_NAME[name]
            made = self._counters[name] = Counter(name, one.text, one.labels)
            self.prometheus.register(made)
        return made

    def gauge(self, name: str) -> Gauge:
        """Make a gauge."""
        one = BY_NAME[name]
        return Gauge(name, one.text, one.labels, registry=self.prometheus)

    def histogram(self, name: str) -> Histogram:
        """Make a histogram."""
        one = BY_NAME[name]
        made = Histogram(
            one.prometheus,
            one.text,
            [semconv.prometheus_name(label) for label in one.labels],
            one.buckets,
        )
        self.prometheus.register(made)
        return made

    def watch(self, name: str, value: Callable[[], Values | float]) -> None:
        """Expose what `value` returns whenever somebody looks."""
        self.prometheus.register(_Watched(BY_NAME[name], value))

    def render(self) -> bytes:
        """Return the text exposition format."""
        return generate_latest(self.prometheus)


class _Watched(Collector):
    def __init__(self, one: Instrument, value: Callable[[], Values | float]) -> None:
        self._one = one
        self._value = value

    def describe(self) -> Iterator[Metric]:
        """Name it without looking: what is looked at may not be there yet."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """Look."""
        family = self._family()
        value = self._value()
        values = value if isinstance(value, Mapping) else {(): value}
        for labels, number in values.items():
            family.add_metric(labels, number)
        yield family

    def _family(self) -> CounterMetricFamily | GaugeMetricFamily:
        make = CounterMetricFamily if self._one.kind == "counter" else GaugeMetricFamily
        return make(self._one.name, self._one.text, labels=self._one.labels)
