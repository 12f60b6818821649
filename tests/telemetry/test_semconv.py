"""The names of the conventions are those of their package; the buckets, which it has not,
are written down a second time."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes import error_attributes

from extproc.exchange.operations import find_operation
from extproc.providers import JUDGED, PROVIDERS
from extproc.telemetry import semconv

WELL_KNOWN_PROVIDERS = {one.value for one in gen_ai_attributes.GenAiProviderNameValues}

METRICS = {
    "CLIENT_TOKEN_USAGE", "CLIENT_OPERATION_DURATION", "SERVER_REQUEST_DURATION",
    "SERVER_TIME_TO_FIRST_TOKEN", "SERVER_TIME_PER_OUTPUT_TOKEN",
}  # fmt: skip
ATTRIBUTES = {
    "OPERATION_NAME", "PROVIDER_NAME", "REQUEST_MODEL", "RESPONSE_MODEL", "TOKEN_TYPE",
    "REQUEST_STREAM", "USAGE_INPUT_TOKENS", "USAGE_OUTPUT_TOKENS",
}  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
def test_an_instrument_has_the_packages_name_and_unit(name: str) -> None:
    theirs = getattr(gen_ai_metrics, f"GEN_AI_{name}")
    assert getattr(semconv, name) == theirs
    maker = getattr(gen_ai_metrics, f"create_{theirs.replace('.', '_')}")
    assert f'unit="{semconv.UNITS[theirs]}"' in inspect.getsource(maker)


SHORTER = {
    "TIME_TO_FIRST_CHUNK": "RESPONSE_TIME_TO_FIRST_CHUNK",
    "USAGE_CACHE_READ": "USAGE_CACHE_READ_INPUT_TOKENS",
    "USAGE_CACHE_CREATION": "USAGE_CACHE_CREATION_INPUT_TOKENS",
    "USAGE_REASONING": "USAGE_REASONING_OUTPUT_TOKENS",
}


@pytest.mark.parametrize(("ours", "theirs"), SHORTER.items())
def test_a_shorter_constant_has_the_packages_name_too(ours: str, theirs: str) -> None:
    assert getattr(semconv, ours) == getattr(gen_ai_attributes, f"GEN_AI_{theirs}")


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_has_the_packages_name(name: str) -> None:
    assert getattr(semconv, name) == getattr(gen_ai_attributes, f"GEN_AI_{name}")


def test_operations_have_the_packages_words() -> None:
    theirs = {one.value for one in gen_ai_attributes.GenAiOperationNameValues}
    ours = {
        path: find_operation("POST", path, {}).name
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
    }
    assert list(ours.values()) == ["chat", "text_completion", "embeddings"]
    assert set(ours.values()) <= theirs


def test_errors_and_tokens_have_the_packages_words() -> None:
    assert semconv.ERROR_TYPE == error_attributes.ERROR_TYPE
    assert error_attributes.ErrorTypeValues.OTHER.value == semconv.OTHER
    kinds = {one.value for one in gen_ai_attributes.GenAiTokenTypeValues}
    assert kinds == set(get_args(semconv.TokenType))


def test_buckets_are_those_of_the_conventions() -> None:
    assert list(semconv.BUCKETS["gen_ai.client.token.usage"]) == [
        *(1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304),
        *(16777216, 67108864),
    ]
    seconds: tuple[float, ...] = (
        *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48),
        *(40.96, 81.92),
    )
    assert semconv.BUCKETS["gen_ai.client.operation.duration"] == seconds
    assert semconv.BUCKETS["gen_ai.server.request.duration"] == seconds
    assert semconv.BUCKETS["gen_ai.server.time_per_output_token"] == (
        *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
    )
    assert semconv.BUCKETS["gen_ai.server.time_to_first_token"] == (
        *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
        *(1.0, 2.5, 5.0, 7.5, 10.0),
    )


def test_every_instrument_has_a_unit_and_buckets() -> None:
    assert set(semconv.UNITS) == set(semconv.BUCKETS)


def test_providers_have_the_names_of_the_conventions() -> None:
    """A provider that the conventions do not know is called what its type is called."""
    for type_, provider in PROVIDERS.items():
        assert provider.name in {*WELL_KNOWN_PROVIDERS, type_}
    assert {provider.name for provider in JUDGED.values()} <= WELL_KNOWN_PROVIDERS
