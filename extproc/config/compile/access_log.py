"""What Envoy tells control of every request that has ended: chosen fields, over OTLP.

https://opentelemetry.io/docs/specs/otlp/. Not the gRPC access log of Envoy's own, which
ships all dynamic metadata, rendered bodies with it. A record's body is one line of values,
``-`` where there is none: an attribute for each value costs Envoy and control a message for
each. What control is not there to take is lost, and counted by Envoy
(``access_logs.open_telemetry_access_log.logs_dropped``): the workers' own records are the
source of money and usage, and these confirm them.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.accesslog import v3 as accesslog
from envoy_data_plane.envoy.config.cluster import v3 as cluster
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.access_loggers.open_telemetry import v3 as otlp
from envoy_data_plane.envoy.extensions.upstreams.http import v3 as upstream
from envoy_data_plane.opentelemetry.proto.common import v1 as common

from extproc.config.compile import wire
from extproc.config.compile.clusters import endpoints_at
from extproc.config.compile.layout import Layout

CLUSTER = "access_log"

FIELDS = {
    "id": "%DYNAMIC_METADATA(gw:id)%",
    "slip": "%DYNAMIC_METADATA(gw:slip)%",
    "request_id": "%STREAM_ID%",
    "route": "%ROUTE_NAME%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "milliseconds": "%DURATION%",
    "request_bytes": "%BYTES_RECEIVED%",
    "answer_bytes": "%BYTES_SENT%",
}
"""No path, no query, no header, no body, and of the metadata nothing of a prompt. Read by
`extproc.telemetry.access`, in this order. When it began every log record says by itself.
As attributes these cost Envoy 83,000 more of a request's 971,000 instructions. A time with a
format of its own, or a whole namespace of metadata, which is written as JSON, costs most."""

LINE = "\t".join(FIELDS.values())
"""None of the values can have a tab: they are ours, or Envoy's own."""

FLUSH_SECONDS = 0.5
"""How late control learns of a quiet gateway's request; Envoy's default is 1 s."""
BUFFER_BYTES = 256 << 10
"""Some 500 requests of one of Envoy's threads: below 1,000 a second the time decides."""


def otlp_access_log() -> accesslog.AccessLog:
    """Compile the log that control takes."""
    return accesslog.AccessLog(
        name="envoy.access_loggers.open_telemetry",
        typed_config=wire.pack(
            otlp.OpenTelemetryAccessLogConfig(
                grpc_service=core.GrpcService(
                    envoy_grpc=core.GrpcServiceEnvoyGrpc(cluster_name=CLUSTER),
                    timeout=wire.seconds(5),
                ),
                log_name="gateway",
                buffer_flush_interval=wire.seconds(FLUSH_SECONDS),
                buffer_size_bytes=BUFFER_BYTES,
                disable_builtin_labels=True,
                body=common.AnyValue(string_value=LINE),
            )
        ),
    )


def log_cluster(layout: Layout) -> cluster.Cluster:
    """Compile the cluster of control's end."""
    return cluster.Cluster(
        name=CLUSTER,
        type=cluster.ClusterDiscoveryType.STATIC,
        connect_timeout=wire.seconds(0.5),
        typed_extension_protocol_options={
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": wire.pack(
                upstream.HttpProtocolOptions(
                    explicit_http_config=upstream.HttpProtocolOptionsExplicitHttpConfig(
                        http2_protocol_options=core.Http2ProtocolOptions()
                    )
                )
            )
        },
        load_assignment=endpoints_at(CLUSTER, [layout.log_service]),
    )
