"""Prometheus metrics, made of completion records in control.

Labels are bounded: whoever can send a request must not be able to make a time series. A
model that the configuration does not name is ``other``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from extproc.exchange.completion import Completion
from extproc.runtime import Snapshot
from extproc.telemetry import semconv

UNKNOWN_MODEL: Final = "other"
NOBODY: Final = "none"
"""The provider of a request that reached none."""
MAX_RESPONSE_MODELS: Final = 100
"""Providers answer with dated names (``gpt-4o-2024-08-06``), a few for each model; more
than this is a provider that makes names up."""

_CALL = (semconv.OPERATION_NAME, semconv.PROVIDER_NAME, semconv.REQUEST_MODEL)
_ANSWER = (*_CALL, semconv.RESPONSE_MODEL)


class Metrics:
    """The registry, and everything in it.

    Attributes:
        reload_successful: whether the last change of the configuration is in use.
    """

    def __init__(
        self,
        *,
        workers_connected: Callable[[], int],
        records_lost: Callable[[], int],
    ) -> None:
        self.registry = CollectorRegistry()
        self._known: frozenset[str] = frozenset()
        self._response_models: set[str] = set()

        self._tokens = self._histogram(
            semconv.CLIENT_TOKEN_USAGE,
            "Tokens of a request, by type.",
            (*_ANSWER, semconv.TOKEN_TYPE),
        )
        self._duration = self._histogram(
            semconv.CLIENT_OPERATION_DURATION,
            "From the request's first byte to the answer's last, all attempts.",
            (*_ANSWER, semconv.ERROR_TYPE),
        )
        self._served = self._histogram(
            semconv.SERVER_REQUEST_DURATION,
            "The same, as the server that applications see.",
            (*_ANSWER, semconv.ERROR_TYPE),
        )
        self._first_token = self._histogram(
            semconv.SERVER_TIME_TO_FIRST_TOKEN,
            "From the request's first byte to the answer's first, streamed.",
            _ANSWER,
        )
        self._per_token = self._histogram(
            semconv.SERVER_TIME_PER_OUTPUT_TOKEN,
            "Between the tokens after the first, streamed.",
            _ANSWER,
        )

        self._requests = self._counter(
            "extproc_requests",
            "Requests that ended.",
            ("operation", "outcome", "status", "provider", "model"),
        )
        self._attempts = self._counter(
            "extproc_attempts", "Attempts at providers.", ("operation",)
        )
        self._failed = self._counter(
            "extproc_failed_attempts",
            "Attempts that failed and were followed by another, by status.",
            ("status",),
        )
        self._dropped = self._counter(
            "extproc_dropped_fields",
            "Request fields that the provider's format has no place for.",
            ("provider",),
        )
        self._estimated = self._counter(
            "extproc_estimated_usage",
            "Answers whose tokens the provider did not say.",
            ("provider",),
        )

        self._generation = self._gauge(
            "extproc_config_generation", "The configuration that is served."
        )
        self.reload_successful = self._gauge(
            "extproc_config_last_reload_successful",
            "1 when the last change of the configuration is in use.",
        )
        self._gauge(
            "extproc_workers_connected", "Workers that control talks to."
        ).set_function(workers_connected)
        self.registry.register(_Lost(records_lost))

    def configure(self, snapshot: Snapshot) -> None:
        """Take the generation and the names of models from `snapshot`."""
        self._generation.set(snapshot.generation)
        self._known = frozenset(_models(snapshot))

    def record(self, completions: Iterable[Completion]) -> None:
        """Count every one of `completions`; the caller sees to it that each is new."""
        for completion in completions:
            self._count(completion)
            if completion.provider is not None:
                self._measure(completion, completion.provider)

    def render(self) -> bytes:
        """Return the text exposition format."""
        return generate_latest(self.registry)

    def _count(self, completion: Completion) -> None:
        provider = completion.provider or NOBODY
        self._requests.labels(
            completion.operation,
            completion.outcome,
            str(completion.status),
            provider,
            self._model(completion.original_model),
        ).inc()
        if completion.attempts:
            self._attempts.labels(completion.operation).inc(completion.attempts)
        for attempt in completion.failed_attempts:
            status = str(attempt.status) if attempt.status else NOBODY
            self._failed.labels(status).inc()
        if completion.dropped:
            self._dropped.labels(provider).inc(len(completion.dropped))
        if completion.estimated:
            self._estimated.labels(provider).inc()

    def _measure(self, completion: Completion, provider: str) -> None:
        answer = (
            completion.operation,
            provider,
            self._model(completion.request_model),
            self._response_model(completion),
        )
        error = "" if completion.outcome == "ok" else _error_type(completion)
        self._duration.labels(*answer, error).observe(completion.duration)
        self._served.labels(*answer, error).observe(completion.duration)
        usage = completion.usage
        if usage is not None:
            self._tokens.labels(*answer, "input").observe(usage.input_tokens)
            self._tokens.labels(*answer, "output").observe(usage.output_tokens)
        first = completion.first_byte
        if not completion.streamed or first is None or completion.outcome != "ok":
            return
        self._first_token.labels(*answer).observe(first)
        if usage is not None and usage.output_tokens > 1:
            rest = (completion.duration - first) / (usage.output_tokens - 1)
            self._per_token.labels(*answer).observe(rest)

    def _model(self, name: str | None) -> str:
        if name is None:
            return NOBODY
        return name if name in self._known else UNKNOWN_MODEL

    def _response_model(self, completion: Completion) -> str:
        name = completion.response_model
        if name is None:
            return NOBODY
        if name in self._known or name in self._response_models:
            return name
        # Only an answer can name a new one: a client cannot.
        if (
            completion.outcome == "ok"
            and len(self._response_models) < MAX_RESPONSE_MODELS
        ):
            self._response_models.add(name)
            return name
        return UNKNOWN_MODEL

    def _histogram(self, name: str, text: str, labels: Iterable[str]) -> Histogram:
        return Histogram(
            semconv.prometheus_name(name),
            text,
            [semconv.prometheus_name(label) for label in labels],
            buckets=semconv.BUCKETS[name],
            registry=self.registry,
        )

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)


class _Lost(Collector):
    """A counter whose value is the link's to know."""

    def __init__(self, value: Callable[[], int]) -> None:
        self._value = value

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "extproc_records_lost",
            "Completion records that workers dropped: control was away for too long.",
            value=self._value(),
        )


# Errors come from a provider's body, or are our own: a word is a code, a sentence is not.
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _error_type(completion: Completion) -> str:
    if completion.outcome == "upstream_error" and completion.status:
        return str(completion.status)
    error = completion.error or completion.outcome
    return error if _WORD.fullmatch(error) else semconv.OTHER


def _models(snapshot: Snapshot) -> Iterator[str]:
    yield from snapshot.listed
    for model in snapshot.models:
        if "*" not in model.name:
            yield model.name
        for target in model.targets:
            if target.model is not None:
                yield target.model
