"""The metrics that are made of completion records, in control.

Labels are bounded: whoever can send a request must not be able to make a time series. A
model that the configuration does not name is ``other``; what a provider may spell as it
likes has a cap. Nothing that a client wrote is a label.
"""

from __future__ import annotations

import re
from collections import defaultdict
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
        alike: defaultdict[object, list[Completion]] = defaultdict(list)
        for one in completions:
            alike[_kind(one)].append(one)
            if one.skipped or one.dropped or one.failed_attempts:
                self._count_rare(one)
        for some in alike.values():
            self._count(some)
            self._count_translation(some)
            if some[0].key is not None:
                self._count_money(some)
            if some[0].provider is not None:
                self._measure(some, some[0].provider)

    def render(self) -> bytes:
        """Return the text exposition format."""
        return self.registry.render()

    # What follows takes records of one kind (`_kind`), so that each series is found once.

    def _count(self, some: list[Completion]) -> None:
        first = some[0]
        self._requests.labels(
            first.operation,
            first.outcome,
            str(first.status),
            first.provider or NOBODY,
            self._model(first.original_model),
        ).inc(len(some))
        if first.operation == LOCAL:
            self._local.labels(self._reasons(first.error or "none")).inc(len(some))
        asked = sum([one.request_bytes for one in some])
        answered = sum([one.answer_bytes for one in some])
        self._request_bytes.labels(first.operation).inc(asked)
        self._answer_bytes.labels(first.operation).inc(answered)

    def _count_translation(self, some: list[Completion]) -> None:
        first = some[0]
        provider, error = first.provider or NOBODY, first.error
        if first.outcome == "upstream_error" and error in _BROKEN_ANSWERS:
            self._translation.labels(provider, "answer", error).inc(len(some))
        elif first.outcome == "client_error" and error in _UNSAYABLE:
            self._translation.labels(provider, "request", error).inc(len(some))

    def _count_money(self, some: list[Completion]) -> None:
        first = some[0]
        self._admissions.labels(first.admission, first.limit or NOBODY).inc(len(some))
        held = sum([one.reserved or 0 for one in some])
        if held:
            self._reserved.inc(held * _NANO)
        if owed := [one for one in some if one.budgets]:
            self._settled.inc(sum([one.cost or 0 for one in owed]) * _NANO)
            over = [max(0, (one.cost or 0) - (one.reserved or 0)) for one in owed]
            self._overspent.inc(sum(over) * _NANO)
        cost = sum([one.cost or 0 for one in some])
        if cost:
            provider, model = first.provider or NOBODY, self._model(first.request_model)
            self._cost.labels(provider, model).inc(cost * _NANO)

    def _measure(self, some: list[Completion], provider: str) -> None:
        first = some[0]
        if asked := sum([one.attempts > 0 for one in some]):
            result = "answered" if first.outcome == "ok" else _last(first)
            self._attempts.labels(provider, result).inc(asked)
        if estimated := sum([one.estimated for one in some]):
            self._estimated.labels(provider).inc(estimated)
        model = self._model(first.request_model)
        answer = (first.operation, provider, model, self._response_model(first))
        error = "" if first.outcome == "ok" else self._error_type(first)
        duration = self._duration.labels(*answer, error)
        served = self._served.labels(*answer, error)
        for one in some:
            duration.observe(one.duration)
            served.observe(one.duration)
        if used := [one.usage for one in some if one.usage is not None]:
            self._count_tokens(answer, used)
        if first.outcome == "ok":
            self._time([one for one in some if one.streamed], answer)

    def _time(self, streamed: list[Completion], answer: tuple[str, ...]) -> None:
        for one in streamed:
            if one.first_byte is None:
                continue
            self._first_token.labels(*answer).observe(one.first_byte)
            if one.usage is not None and one.usage.output_tokens > 1:
                rest = (one.duration - one.first_byte) / (one.usage.output_tokens - 1)
                self._per_token.labels(*answer).observe(rest)

    def _count_tokens(self, answer: tuple[str, ...], used: list[Usage]) -> None:
        tokens_in = self._token_usage.labels(*answer, "input")
        tokens_out = self._token_usage.labels(*answer, "output")
        for one in used:
            tokens_in.observe(one.input_tokens)
            tokens_out.observe(one.output_tokens)
        _, provider, model, _ = answer
        for kind, number in (
            ("input", sum([one.input_tokens for one in used])),
            ("output", sum([one.output_tokens for one in used])),
            ("cache_read", sum([one.cache_read_input_tokens for one in used])),
            ("cache_creation", sum([one.cache_creation_input_tokens for one in used])),
            ("reasoning", sum([one.reasoning_output_tokens for one in used])),
        ):
            if number:
                self._tokens.labels(provider, model, kind).inc(number)
        if hits := sum([one.cache_read_input_tokens > 0 for one in used]):
            self._cache_hits.labels(provider, model).inc(hits)

    def _count_rare(self, completion: Completion) -> None:
        for target in completion.skipped:
            self._skipped.labels(self._reasons(_word(target.rpartition(":")[2]))).inc()
        provider = completion.provider
        if completion.dropped:
            self._dropped.labels(provider or NOBODY).inc(len(completion.dropped))
        if provider is None:
            return
        failed = completion.failed_attempts
        following = [*(one.provider for one in failed[1:]), provider]
        for one, next_provider in zip(failed, following, strict=False):
            reason = why(one.status)
            self._attempts.labels(one.provider, reason).inc()
            self._fallbacks.labels(one.provider, next_provider, reason).inc()

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


def _kind(one: Completion) -> object:
    """Return what records have in common that are counted in the same series."""
    return (
        one.operation,
        one.outcome,
        one.status,
        one.error,
        one.provider,
        one.original_model,
        one.request_model,
        one.response_model,
        one.admission,
        one.limit,
        one.key is None,
    )


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
