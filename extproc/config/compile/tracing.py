"""Envoy's part of a trace: one span a request, sent to control over OTLP.

Not straight to a collector: control has the collectors' addresses and credentials, and
takes secrets out of what is sent. What control is not there to take is lost, and counted
by Envoy (``tracing.opentelemetry.spans_dropped``).

The worker learns of Envoy's span by a header, put there before it reads: the parent of the
exchange's own span is then Envoy's, whose parent is the client's.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.common.mutation_rules import v3 as rules
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.trace import v3 as trace
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import (
    v3 as hcm,
)
from envoy_data_plane.envoy.extensions.tracers.opentelemetry.samplers import (
    v3 as samplers,
)
from envoy_data_plane.envoy.type import v3 as envoy_type

from extproc.config.compile import wire
from extproc.config.compile.access_log import CLUSTER
from extproc.config.schema import Config
from extproc.exchange.tally import ENVOY_SPAN

MILLION = 1_000_000
FLUSH_MILLISECONDS = 500
"""As the access log's."""
FLUSH_SPANS = 100


def tracing(config: Config) -> hcm.HttpConnectionManagerTracing | None:
    """Return the tracer: sampled as its client has decided, else by the trace's id."""
    if not config.telemetry.traced:
        return None
    traces = config.telemetry.traces
    ratio = samplers.TraceIdRatioBasedSamplerConfig(
        sampling_percentage=envoy_type.FractionalPercent(
            numerator=round(traces.sample * MILLION),
            denominator=envoy_type.FractionalPercentDenominatorType.MILLION,
        )
    )
    sampler = samplers.ParentBasedSamplerConfig(
        wrapped_sampler=core.TypedExtensionConfig(
            name="envoy.tracers.opentelemetry.samplers.trace_id_ratio_based",
            typed_config=wire.pack(ratio),
        )
    )
    return hcm.HttpConnectionManagerTracing(
        # Neither path nor query: a name that is the same for all.
        operation="%REQ(:METHOD)% %ROUTE_NAME%",
        # An attempt's span is ours, with what Envoy cannot know of it.
        spawn_upstream_span=False,
        max_path_tag_length=64,
        no_context_propagation=not traces.to_providers,
        provider=trace.TracingHttp(
            name="envoy.tracers.opentelemetry",
            typed_config=wire.pack(
                trace.OpenTelemetryConfig(
                    grpc_service=core.GrpcService(
                        envoy_grpc=core.GrpcServiceEnvoyGrpc(cluster_name=CLUSTER),
                        timeout=wire.seconds(5),
                    ),
                    service_name="envoy",
                    sampler=core.TypedExtensionConfig(
                        name="envoy.tracers.opentelemetry.samplers.parent_based",
                        typed_config=wire.pack(sampler),
                    ),
                )
            ),
        ),
    )


def span_flushing(config: Config) -> dict[str, int]:
    """Return how Envoy gathers spans, as runtime keys.

    By default it sends five at once, 200 exports a second at 1,000 requests a second, and
    what is left over after five seconds, when the exchange's own have long been there.
    """
    if not config.telemetry.traced:
        return {}
    return {
        "tracing.opentelemetry.flush_interval_ms": FLUSH_MILLISECONDS,
        "tracing.opentelemetry.min_flush_spans": FLUSH_SPANS,
    }


def span_header(config: Config) -> list[rules.HeaderMutation]:
    """Return what tells the worker of Envoy's span."""
    if not config.telemetry.traced:
        return []
    return [
        rules.HeaderMutation(
            append=core.HeaderValueOption(
                header=core.HeaderValue(key=ENVOY_SPAN, value="%TRACE_ID%-%SPAN_ID%"),
                append_action=core.HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
            )
        )
    ]
