"""Every ``gen_ai.*`` name that we emit, and the buckets that go with the instruments.

From the OpenTelemetry GenAI conventions
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/). Nothing else in the
package spells one of them.
"""

from __future__ import annotations

from typing import Final, Literal

OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  tokens are counted here
ERROR_TYPE: Final = "error.type"
REQUEST_STREAM: Final = "gen_ai.request.stream"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_CREATION: Final = "gen_ai.usage.cache_creation.input_tokens"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
USAGE_REASONING: Final = "gen_ai.usage.reasoning.output_tokens"

CLIENT_TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105  a name
CLIENT_OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
SERVER_REQUEST_DURATION: Final = "gen_ai.server.request.duration"
SERVER_TIME_TO_FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"  # noqa: S105  a name
SERVER_TIME_PER_OUTPUT_TOKEN: Final = "gen_ai.server.time_per_output_token"  # noqa: S105  a name

TokenType = Literal["input", "output"]

OTHER: Final = "_OTHER"
"""The ``error.type`` of an error that has no better name."""

UNITS: Final = {
    CLIENT_TOKEN_USAGE: "{token}",
    CLIENT_OPERATION_DURATION: "s",
    SERVER_REQUEST_DURATION: "s",
    SERVER_TIME_TO_FIRST_TOKEN: "s",
    SERVER_TIME_PER_OUTPUT_TOKEN: "s",
}

BUCKETS: Final[dict[str, tuple[float, ...]]] = {
    CLIENT_TOKEN_USAGE: tuple(float(4**n) for n in range(14)),
    CLIENT_OPERATION_DURATION: tuple(round(0.01 * 2**n, 2) for n in range(14)),
    SERVER_REQUEST_DURATION: tuple(round(0.01 * 2**n, 2) for n in range(14)),
    SERVER_TIME_TO_FIRST_TOKEN: (
        *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
        *(1.0, 2.5, 5.0, 7.5, 10.0),
    ),
    SERVER_TIME_PER_OUTPUT_TOKEN: (
        *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
    ),
}


def prometheus_name(name: str) -> str:
    """Spell an instrument or attribute as OpenTelemetry's Prometheus exporters do.

    https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
    """
    suffix = "_seconds" if UNITS.get(name) == "s" else ""
    return name.replace(".", "_") + suffix
