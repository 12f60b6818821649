"""Completion records in, Prometheus' text out; labels stay bounded."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from extproc.exchange.completion import Completion, FailedAttempt
from extproc.runtime import ModelSpec, Snapshot, TargetSpec
from extproc.telemetry import semconv
from extproc.telemetry.metrics import MAX_RESPONSE_MODELS, Metrics
from extproc.usage import Usage

TARGET = TargetSpec("p", "openai", "p", "a", "/v1", "gpt-4o-eu")
SNAPSHOT = Snapshot(
    generation=3,
    models=(ModelSpec("gpt-4o", (TARGET,)), ModelSpec("gpt-*", (TARGET,))),
    listed=("gpt-5",),
)


def completion(**changes: Any) -> Completion:
    values: dict[str, Any] = {
        "id": "x", "operation": "chat", "started": 1.0, "duration": 3.0,
        "outcome": "ok", "status": 200, "original_model": "gpt-4o",
        "request_model": "gpt-4o-eu", "response_model": "gpt-4o-2024-08-06",
        "provider": "openai", "attempts": 1,
    }  # fmt: skip
    return Completion(**{**values, **changes})


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics()
    made.configure(SNAPSHOT)
    return made


def samples(metrics: Metrics, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    text = metrics.render().decode()
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def total(metrics: Metrics, name: str) -> float:
    return sum(samples(metrics, name).values())


def labels_of(metrics: Metrics, name: str, label: str) -> set[str]:
    return {dict(labels)[label] for labels in samples(metrics, name)}


def test_a_request_counts_by_what_became_of_it(metrics: Metrics) -> None:
    metrics.record([completion(), completion(outcome="client_error", status=400)])
    assert samples(metrics, "extproc_requests_total") == {
        tuple(
            sorted(
                {
                    "operation": "chat",
                    "outcome": outcome,
                    "status": status,
                    "provider": "openai",
                    "model": "gpt-4o",
                }.items()
            )
        ): 1.0
        for outcome, status in (("ok", "200"), ("client_error", "400"))
    }


def test_tokens_are_counted_by_type(metrics: Metrics) -> None:
    metrics.record([completion(usage=Usage(input_tokens=10, output_tokens=4))])
    found = samples(metrics, "gen_ai_client_token_usage_sum")
    by_type = {dict(labels)["gen_ai_token_type"]: v for labels, v in found.items()}
    assert by_type == {"input": 10.0, "output": 4.0}


def test_a_stream_has_a_first_token_and_a_pace(metrics: Metrics) -> None:
    usage = Usage(input_tokens=1, output_tokens=5)
    metrics.record([completion(streamed=True, first_byte=1.0, usage=usage)])
    prefix = "gen_ai_server_time_"
    assert total(metrics, f"{prefix}to_first_token_seconds_sum") == 1.0
    assert total(metrics, f"{prefix}per_output_token_seconds_sum") == 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"streamed": False, "first_byte": 1.0},
        {"streamed": True, "first_byte": None},
        {"streamed": True, "first_byte": 1.0, "outcome": "canceled"},
    ],
)
def test_what_has_no_first_token_is_not_measured(
    metrics: Metrics, changes: dict[str, Any]
) -> None:
    metrics.record([completion(usage=Usage(1, 5), **changes)])
    assert total(metrics, "gen_ai_server_time_to_first_token_seconds_count") == 0


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({}, ""),
        ({"outcome": "upstream_error", "status": 529, "error": "overloaded"}, "529"),
        ({"outcome": "client_error", "error": "invalid_api_key"}, "invalid_api_key"),
        ({"outcome": "client_error", "error": "No such thing: you"}, "_OTHER"),
        ({"outcome": "canceled", "status": 0}, "canceled"),
    ],
)
def test_an_error_has_a_short_type(
    metrics: Metrics, changes: dict[str, Any], error: str
) -> None:
    metrics.record([completion(**changes)])
    name = "gen_ai_client_operation_duration_seconds_count"
    assert labels_of(metrics, name, "error_type") == {error}


def test_a_caller_cannot_make_time_series(metrics: Metrics) -> None:
    metrics.record(
        completion(
            original_model=f"gpt-x-{n}", request_model=f"gpt-x-{n}",
            response_model=f"gpt-x-{n}", outcome="client_error", status=404,
        )
        for n in range(300)
    )  # fmt: skip
    assert labels_of(metrics, "extproc_requests_total", "model") == {"other"}
    name = "gen_ai_client_operation_duration_seconds_count"
    assert labels_of(metrics, name, "gen_ai_request_model") == {"other"}
    assert labels_of(metrics, name, "gen_ai_response_model") == {"other"}


def test_nor_can_a_provider_for_long(metrics: Metrics) -> None:
    metrics.record(completion(response_model=f"made-up-{n}") for n in range(300))
    name = "gen_ai_client_operation_duration_seconds_count"
    found = labels_of(metrics, name, "gen_ai_response_model")
    assert len(found) == MAX_RESPONSE_MODELS + 1
    assert "other" in found


SECRETS = ("sk-0123456789abcdef0123", "AKIAIOSFODNN7EXAMPLE", "bob@example.com")


@pytest.mark.parametrize("secret", SECRETS)
def test_no_label_is_a_secret(metrics: Metrics, secret: str) -> None:
    """A provider's code may be the key that it refuses; a client's model is anything."""
    metrics.record(
        [
            completion(id="a", outcome="client_error", status=401, error=secret),
            completion(id="b", response_model=secret, original_model=secret),
            completion(id="c", skipped=(f"openai:{secret}",)),
        ]
    )
    assert secret not in metrics.render().decode()


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4o-eu", "gpt-5"])
def test_what_the_configuration_names_is_a_label(metrics: Metrics, model: str) -> None:
    metrics.record([completion(original_model=model)])
    assert labels_of(metrics, "extproc_requests_total", "model") == {model}


def test_attempts_and_what_was_dropped_are_counted(metrics: Metrics) -> None:
    metrics.record(
        [
            completion(
                attempts=3,
                failed_attempts=(
                    FailedAttempt("openai", "p", "gpt-4o", 429, "2"),
                    FailedAttempt("openai", "p", "gpt-4o"),
                ),
                dropped=("logit_bias", "seed"),
                estimated=True,
            )
        ]
    )
    attempts = samples(metrics, "extproc_attempts_total")
    assert {dict(labels)["result"]: n for labels, n in attempts.items()} == {
        "rate_limited": 1, "no_answer": 1, "answered": 1,
    }  # fmt: skip
    fallbacks = samples(metrics, "extproc_fallbacks_total")
    assert {dict(labels)["reason"] for labels in fallbacks} == {
        "rate_limited", "no_answer",
    }  # fmt: skip
    assert total(metrics, "extproc_dropped_fields_total") == 2
    assert total(metrics, "extproc_estimated_usage_total") == 1


def test_our_own_answers_are_no_model_calls(metrics: Metrics) -> None:
    ours = completion(
        operation="models", provider=None, original_model=None, attempts=0
    )
    metrics.record([ours])
    assert labels_of(metrics, "extproc_requests_total", "provider") == {"none"}
    assert total(metrics, "gen_ai_client_operation_duration_seconds_count") == 0


def test_the_gateway_says_how_it_is(metrics: Metrics) -> None:
    metrics.reload_successful.set(1)
    assert total(metrics, "extproc_config_generation") == 3
    assert total(metrics, "extproc_config_last_reload_successful") == 1


def test_instruments_are_spelled_as_exporters_spell_them(metrics: Metrics) -> None:
    metrics.record([completion(usage=Usage(1, 2), streamed=True, first_byte=0.1)])
    text = metrics.render().decode()
    for name in semconv.BUCKETS:
        spelled = semconv.prometheus_name(name)
        assert re.fullmatch(r"gen_ai_[a-z_]+", spelled)
        assert f"\n{spelled}_count{{" in text
    assert semconv.prometheus_name("gen_ai.server.time_to_first_token") == (
        "gen_ai_server_time_to_first_token_seconds"
    )
    assert semconv.prometheus_name("gen_ai.client.token.usage") == (
        "gen_ai_client_token_usage"
    )
