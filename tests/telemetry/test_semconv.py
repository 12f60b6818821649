"""The names and buckets of the conventions, written down a second time."""

from __future__ import annotations

from extproc.providers import JUDGED, PROVIDERS
from extproc.telemetry import semconv

# https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/
WELL_KNOWN_PROVIDERS = {
    *("anthropic", "aws.bedrock", "azure.ai.inference", "azure.ai.openai", "cohere"),
    *(
        "deepseek",
        "gcp.gemini",
        "gcp.gen_ai",
        "gcp.vertex_ai",
        "groq",
        "ibm.watsonx.ai",
    ),
    *("mistral_ai", "openai", "perplexity", "x_ai"),
}


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
    first_token = semconv.BUCKETS["gen_ai.server.time_to_first_token"]
    assert first_token[:16] == (
        *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
        *(1.0, 2.5, 5.0, 7.5, 10.0),
    )
    assert list(first_token) == sorted(first_token)


def test_every_instrument_has_a_unit_and_buckets() -> None:
    assert set(semconv.UNITS) == set(semconv.BUCKETS)


def test_providers_have_the_names_of_the_conventions() -> None:
    """A provider that the conventions do not know is called what its type is called."""
    for type_, provider in PROVIDERS.items():
        assert provider.name in {*WELL_KNOWN_PROVIDERS, type_}
    assert {provider.name for provider in JUDGED.values()} <= WELL_KNOWN_PROVIDERS
