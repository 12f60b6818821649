"""The metrics that are made of completion records, in control.

Labels are bounded: whoever can send a request must not be able to make a time series. A
model that the configuration does not name is ``other``; what a provider may spell as it
likes has a cap. Nothing that a client wrote is a label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from extproc.exchange.completion import Completion
from extproc.exchange.local_reply import LOCAL
from extproc.runtime import Snapshot
from extproc.telemetry import logs, semconv
from extproc.telemetry.registry import Cap, Registry
from extproc.usage import Usage

UNKNOWN_MODEL: Final = "other"
NOBODY: Final = "none"
"""The provider of a request that reached none."""
MAX_RESPONSE_MODELS: Final = 100
"""Providers answer with dated names (``gpt-4o-2024-08-06``), a few for each model; more
than this is a provider that makes names up."""
MAX_ERRORS: Final = 100
"""Words for errors: some 40 are ours, and providers have their own."""
MAX_REASONS: Final = 60

_NANO: Final = 1e-9

_BROKEN_ANSWERS: Final = frozenset({"bad_upstream_answer", "upstream_truncated"})
_UNSAYABLE: Final = frozenset({"unsupported_parameter", "unsupported_capability"})


class Metrics:
    """What records add up to.

    Attributes:
        registry: with everything in it, others' metrics too.
        reload_successful: whether the last change of the configuration is in use.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        self.registry = made = registry or Registry()
        self._known: frozenset[str] = frozenset()
        self._response_models: set[str] = set()
        self._errors = Cap(MAX_ERRORS, semconv.OTHER)
        self._reasons = Cap(MAX_REASONS, UNKNOWN_MODEL)

        self._token_usage = made.histogram(semconv.CLIENT_TOKEN_USAGE)
        self._duration = made.histogram(semconv.CLIENT_OPERATION_DURATION)
        self._served = made.histogram(semconv.SERVER_REQUEST_DURATION)
        self._first_token = made.histogram(semconv.SERVER_TIME_TO_FIRST_TOKEN)
        self._per_token = made.histogram(semconv.SERVER_TIME_PER_OUTPUT_TOKEN)

        self._requests = made.counter("extproc_requests")
        self._local = made.counter("extproc_local_replies")
        self._attempts = made.counter("extproc_attempts")
        self._fallbacks = made.counter("extproc_fallbacks")
        self._skipped = made.counter("extproc_skipped_targets")
        self._tokens = made.counter("extproc_tokens")
        self._cache_hits = made.counter("extproc_prompt_cache_hits")
        self._estimated = made.counter("extproc_estimated_usage")
        self._dropped = made.counter("extproc_dropped_fields")
        self._translation = made.counter("extproc_translation_errors")
        self._request_bytes = made.counter("extproc_request_bytes")
        self._answer_bytes = made.counter("extproc_answer_bytes")
        self._admissions = made.counter("extproc_admissions")
        self._cost = made.counter("extproc_cost_usd")
        self._reserved = made.counter("extproc_reserved_usd")
        self._settled = made.counter("extproc_settled_usd")
        self._overspent = made.counter("extproc_overspent_usd")

        self._generation = made.gauge("extproc_config_generation")
        self.reload_successful = made.gauge("extproc_config_last_reload_successful")

    def configure(self, snapshot: Snapshot) -> None:
        """Take the generation and the names of models from `snapshot`."""
        self._generation.set(snapshot.generation)
        self._known = frozenset(_models(snapshot))

    def record(self, completions: Iterable[Completion]) -> None:
        """Count every one of `completions`; the caller sees to it that each is new."""
        for completion in completions:
            self._count(completion)
            self._count_translation(completion)
            if completion.key is not None:
                self._count_money(completion)
            if completion.provider is not None:
                self._count_attempts(completion, completion.provider)
                self._measure(completion, completion.provider)

    def render(self) -> bytes:
        """Return the text exposition format."""
        return self.registry.render()

    def _count(self, completion: Completion) -> None:
        self._requests.labels(
            completion.operation,
            completion.outcome,
            str(completion.status),
            completion.provider or NOBODY,
            self._model(completion.original_model),
        ).inc()
        if completion.operation == LOCAL:
            self._local.labels(self._reasons(completion.error or "none")).inc()
        for target in completion.skipped:
            self._skipped.labels(self._reasons(_word(target.rpartition(":")[2]))).inc()
        self._request_bytes.labels(completion.operation).inc(completion.request_bytes)
        self._answer_bytes.labels(completion.operation).inc(completion.answer_bytes)

    def _count_translation(self, completion: Completion) -> None:
        provider, error = completion.provider or NOBODY, completion.error
        if completion.dropped:
            self._dropped.labels(provider).inc(len(completion.dropped))
        if completion.outcome == "upstream_error" and error in _BROKEN_ANSWERS:
            self._translation.labels(provider, "answer", error).inc()
        elif completion.outcome == "client_error" and error in _UNSAYABLE:
            self._translation.labels(provider, "request", error).inc()

    def _count_money(self, completion: Completion) -> None:
        self._admissions.labels(completion.admission, completion.limit or NOBODY).inc()
        cost, held = completion.cost or 0, completion.reserved or 0
        if held:
            self._reserved.inc(held * _NANO)
        if completion.budgets:
            self._settled.inc(cost * _NANO)
            self._overspent.inc(max(0, cost - held) * _NANO)
        if cost:
            provider = completion.provider or NOBODY
            self._cost.labels(provider, self._model(completion.request_model)).inc(
                cost * _NANO
            )

    def _count_attempts(self, completion: Completion, provider: str) -> None:
        failed = completion.failed_attempts
        following = [*(one.provider for one in failed[1:]), provider]
        for one, next_provider in zip(failed, following, strict=False):
            reason = why(one.status)
            self._attempts.labels(one.provider, reason).inc()
            self._fallbacks.labels(one.provider, next_provider, reason).inc()
        if completion.attempts:
            result = "answered" if completion.outcome == "ok" else _last(completion)
            self._attempts.labels(provider, result).inc()

    def _measure(self, completion: Completion, provider: str) -> None:
        model = self._model(completion.request_model)
        answer = (
            completion.operation, provider, model, self._response_model(completion),
        )  # fmt: skip
        error = "" if completion.outcome == "ok" else self._error_type(completion)
        self._duration.labels(*answer, error).observe(completion.duration)
        self._served.labels(*answer, error).observe(completion.duration)
        usage = completion.usage
        if usage is not None:
            self._token_usage.labels(*answer, "input").observe(usage.input_tokens)
            self._token_usage.labels(*answer, "output").observe(usage.output_tokens)
            self._count_tokens(provider, model, usage)
        if completion.estimated:
            self._estimated.labels(provider).inc()
        first = completion.first_byte
        if not completion.streamed or first is None or completion.outcome != "ok":
            return
        self._first_token.labels(*answer).observe(first)
        if usage is not None and usage.output_tokens > 1:
            rest = (completion.duration - first) / (usage.output_tokens - 1)
            self._per_token.labels(*answer).observe(rest)

    def _count_tokens(self, provider: str, model: str, usage: Usage) -> None:
        for kind, number in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cache_read", usage.cache_read_input_tokens),
            ("cache_creation", usage.cache_creation_input_tokens),
            ("reasoning", usage.reasoning_output_tokens),
        ):
            if number:
                self._tokens.labels(provider, model, kind).inc(number)
        if usage.cache_read_input_tokens:
            self._cache_hits.labels(provider, model).inc()

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
            and logs.redactor().text(name) == name
        ):
            self._response_models.add(name)
            return name
        return UNKNOWN_MODEL

    def _error_type(self, completion: Completion) -> str:
        if completion.outcome == "upstream_error" and completion.status:
            return str(completion.status)
        error = completion.error or completion.outcome
        return self._errors(_word(error))


def why(status: int) -> str:
    """Return why an attempt failed, by its status; 0: there was no answer."""
    match status:
        case 0:
            return "no_answer"
        case 401 | 402 | 403:
            return "credential"
        case 408 | 504:
            return "timeout"
        case 429:
            return "rate_limited"
        case _:
            return "server_error" if status >= 500 else "refused"


def _last(completion: Completion) -> str:
    """Return what came of the attempt that nobody followed."""
    match completion.outcome:
        case "canceled":
            return "canceled"
        case "upstream_error" if completion.error in _BROKEN_ANSWERS:
            return "broken_answer"
        case _:
            return why(completion.status)


# Errors come from a provider's body, or are our own: a word is a code, a sentence is not.
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _word(text: str) -> str:
    # A provider's code may be the key that it refuses: what is redacted is no word.
    fit = _WORD.fullmatch(text) and _WORD.fullmatch(logs.redactor().text(text))
    return text if fit else semconv.OTHER


def _models(snapshot: Snapshot) -> Iterator[str]:
    yield from snapshot.listed
    for model in snapshot.models:
        if "*" not in model.name:
            yield model.name
        for target in model.targets:
            if target.model is not None:
                yield target.model
