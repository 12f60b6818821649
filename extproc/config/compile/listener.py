"""The listener: who may connect, how much they may send, and what is asked of whom.

It is static: a listener that changes cuts the streams of the old one when its drain time
is over. Everything that changes with the providers is in routes, clusters and secrets.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.accesslog import v3 as accesslog
from envoy_data_plane.envoy.config.common.mutation_rules import v3 as rules
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.listener import v3 as listener
from envoy_data_plane.envoy.config.route import v3 as route
from envoy_data_plane.envoy.extensions.access_loggers.file import v3 as file
from envoy_data_plane.envoy.extensions.common.ratelimit import v3 as ratelimit
from envoy_data_plane.envoy.extensions.filters.http.ext_proc import v3 as ext_proc
from envoy_data_plane.envoy.extensions.filters.http.header_mutation import (
    v3 as mutation,
)
from envoy_data_plane.envoy.extensions.filters.http.local_ratelimit import (
    v3 as local_ratelimit,
)
from envoy_data_plane.envoy.extensions.filters.http.router import v3 as router
from envoy_data_plane.envoy.extensions.filters.listener.local_ratelimit import (
    v3 as listener_ratelimit,
)
from envoy_data_plane.envoy.extensions.filters.network.connection_limit import (
    v3 as connection_limit,
)
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import (
    v3 as hcm,
)
from envoy_data_plane.envoy.extensions.retry.host.previous_hosts import (
    v3 as previous_hosts,
)
from envoy_data_plane.envoy.extensions.transport_sockets.tls import v3 as tls
from envoy_data_plane.envoy.type import v3 as envoy_type
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google.protobuf import Struct

from extproc.config.compile import wire
from extproc.config.compile.access_log import otlp_access_log
from extproc.config.compile.clusters import BUFFER_BYTES, SIDECAR
from extproc.config.compile.hygiene import drops
from extproc.config.compile.jwt import token_filter
from extproc.config.compile.layout import Layout
from extproc.config.compile.replies import local_replies
from extproc.config.compile.routes import ROUTES
from extproc.config.compile.secrets import certificate_source
from extproc.config.compile.tracing import span_header, tracing
from extproc.config.compile.way import UPLOAD_LIMIT, upload_limit
from extproc.config.file_names import ROUTES_FILE
from extproc.config.schema import Config
from extproc.runtime import MAX_ATTEMPTS

LISTENER = "gateway"

NOT_FROM_CLIENTS_PREFIXES = ("x-envoy-", "x-gw-")
"""Request headers that steer Envoy; nobody outside may send them. Clients say what they
wish of the gateway in ``x-extproc-…``, which goes no further."""

ADDRESSES = 10_000
"""Whose requests are counted at once; one that is forgotten begins with a full bucket."""

_LOG_FIELDS = {
    "time": "%START_TIME%",
    "id": "%RESP(X-REQUEST-ID)%",
    "method": "%REQ(:METHOD)%",
    "route": "%ROUTE_NAME%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "tried": "%DYNAMIC_METADATA(gw.att)%",
    "ms": "%DURATION%",
    "first_byte_ms": "%RESPONSE_DURATION%",
    "received": "%BYTES_RECEIVED%",
    "sent": "%BYTES_SENT%",
}
"""No query, no header, no body, and of the metadata only what has no prompt in it."""


def gateway_listener(config: Config, layout: Layout) -> listener.Listener:
    """Compile the listener."""
    limits = config.limits
    return listener.Listener(
        name=LISTENER,
        address=core.Address(
            socket_address=core.SocketAddress(
                address=config.listen.host, port_value=config.listen.port
            )
        ),
        per_connection_buffer_limit_bytes=BUFFER_BYTES,
        listener_filters=[
            # Before TLS, whose handshake is what a flood of connections costs us.
            listener.ListenerFilter(
                name="envoy.filters.listener.local_ratelimit",
                typed_config=wire.pack(
                    listener_ratelimit.LocalRateLimit(
                        stat_prefix="new_connections",
                        token_bucket=envoy_type.TokenBucket(
                            max_tokens=limits.new_connections_per_second,
                            tokens_per_fill=limits.new_connections_per_second,
                            fill_interval=wire.seconds(1),
                        ),
                    )
                ),
            )
        ],
        filter_chains=[
            listener.FilterChain(
                transport_socket=None
                if config.listen.tls is None
                else _downstream_tls(layout),
                # A handshake that takes longer than a request's headers may.
                transport_socket_connect_timeout=wire.seconds(10),
                filters=[
                    wire.network_filter(
                        "connection_limit",
                        wire.pack(
                            connection_limit.ConnectionLimit(
                                stat_prefix="connections",
                                max_connections=limits.connections,
                            )
                        ),
                    ),
                    wire.network_filter(
                        "http_connection_manager", wire.pack(_http(config, layout))
                    ),
                ],
            )
        ],
    )


def _http(config: Config, layout: Layout) -> hcm.HttpConnectionManager:
    slashes = hcm.HttpConnectionManagerPathWithEscapedSlashesAction
    underscores = core.HttpProtocolOptionsHeadersWithUnderscoresAction
    return hcm.HttpConnectionManager(
        stat_prefix="gateway",
        codec_type=hcm.HttpConnectionManagerCodecType.AUTO,
        server_name="extproc",
        rds=hcm.Rds(
            route_config_name=ROUTES,
            config_source=wire.watched(str(layout.xds), ROUTES_FILE),
        ),
        # Everybody is external: x-envoy-* and x-request-id are ours to set.
        use_remote_address=True,
        internal_address_config=hcm.HttpConnectionManagerInternalAddressConfig(),
        xff_num_trusted_hops=config.listen.xff_num_trusted_hops,
        # What Envoy routes by is what the sidecar reads: no two spellings of one path.
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action=slashes.REJECT_REQUEST,
        always_set_request_id_in_response=True,
        # Headers are small: 10 s is a slow-loris limit. The body's is the user's.
        request_headers_timeout=wire.seconds(10),
        # Envoy has one such time for all routes: that of the longest body, a file. All
        # others the sidecar times.
        request_timeout=wire.seconds(
            max(config.timeouts.request, config.timeouts.upload)
        ),
        # Where no route says otherwise: requests that Envoy answers itself.
        stream_idle_timeout=wire.seconds(config.timeouts.request + 10),
        # Also how late an HTTP/1.1 client on a connection that would be kept learns that
        # its stream was cut. Zero is for ever, for a client that does not read.
        delayed_close_timeout=wire.seconds(config.timeouts.last_bytes),
        drain_timeout=wire.seconds(5),
        # Ten times what an SDK with a long key and tracing sends. With the default of
        # 60 KiB, 20,000 connections could hold over 1 GiB of headers alone.
        max_request_headers_kb=32,
        common_http_protocol_options=core.HttpProtocolOptions(
            # Of a connection without a request. AWS' load balancers wait 60 to 350 s:
            # outlasting them means never closing under a request on its way.
            idle_timeout=wire.seconds(600),
            max_headers_count=100,
            # x_api_key and x-api-key are one header to some servers and two to others.
            headers_with_underscores_action=underscores.DROP_HEADER,
        ),
        http_protocol_options=core.Http1ProtocolOptions(
            # Or a chunked body's trailers are lost without a word; the sidecar answers
            # them with a 400, as over HTTP/2.
            enable_trailers=True,
            # Java's Apache HttpClient 5 offers TLS/1.2 with every request (RFC 2817);
            # an offer may be ignored (RFC 9110 7.8), and must not be a refused upgrade.
            ignore_http_11_upgrade=[matcher.StringMatcher(prefix="TLS/")],
        ),
        http2_protocol_options=core.Http2ProtocolOptions(
            # One connection of one application server carries all of its streams.
            max_concurrent_streams=1000,
            # A usual request in one flight; 1,000 of them cannot take 1 GiB.
            initial_stream_window_size=1 << 20,
            initial_connection_window_size=4 << 20,
        ),
        local_reply_config=local_replies(config),
        access_log=_access_log(layout),
        tracing=tracing(config),
        http_filters=[
            # Ahead of the sidecar: a body that says it is too long costs nothing.
            wire.http_filter(
                "body_size_limit",
                wire.newer(
                    "envoy.extensions.filters.http.body_size_limit.v3.BodySizeLimit",
                    max_request_bytes=config.limits.body_bytes,
                ),
            ),
            # In its place where files stream through.
            wire.http_filter(UPLOAD_LIMIT, upload_limit(config), disabled=True),
            wire.http_filter(
                "header_mutation",
                wire.pack(
                    mutation.HeaderMutation(
                        mutations=mutation.Mutations(
                            request_mutations=[
                                *drops((), NOT_FROM_CLIENTS_PREFIXES),
                                *span_header(config),
                            ]
                        )
                    )
                ),
            ),
            # Ahead of whatever looks at who asks: keys cannot be tried one after another.
            *_address_limit(config),
            # After what clients may not send, and before who reads what it adds.
            token_filter(layout),
            # Off, but for the routes that turn it on: an answer that Envoy makes before
            # there is a route (not HTTP, headers too large) would else wait for the
            # sidecar, and be lost when the connection closes meanwhile.
            wire.http_filter("ext_proc", wire.pack(_sidecar()), disabled=True),
            wire.http_filter(
                "router", wire.pack(router.Router(suppress_envoy_headers=True))
            ),
        ],
    )


def _address_limit(config: Config) -> list[hcm.HttpFilter]:
    """Compile the limit on the requests of one address, if there is one."""
    most = config.limits.address_requests_per_minute
    if most is None:
        return []
    always = core.RuntimeFractionalPercent(
        default_value=envoy_type.FractionalPercent(numerator=100)
    )
    bucket = envoy_type.TokenBucket(
        max_tokens=most, tokens_per_fill=most, fill_interval=wire.seconds(60)
    )
    limit = local_ratelimit.LocalRateLimit(
        stat_prefix="addresses",
        filter_enabled=always,
        filter_enforced=always,
        rate_limits=[
            route.RateLimit(
                actions=[
                    route.RateLimitAction(
                        remote_address=route.RateLimitActionRemoteAddress()
                    )
                ]
            )
        ],
        # No value: each address has a bucket of its own, and the oldest unused goes first.
        descriptors=[
            ratelimit.LocalRateLimitDescriptor(
                entries=[ratelimit.RateLimitDescriptorEntry(key="remote_address")],
                token_bucket=bucket,
            )
        ],
        max_dynamic_descriptors=ADDRESSES,
        response_headers_to_add=[
            core.HeaderValueOption(
                header=core.HeaderValue(key="retry-after", value=str(-(-60 // most)))
            )
        ],
    )
    return [wire.http_filter("local_ratelimit", wire.pack(limit))]


def _sidecar() -> ext_proc.ExternalProcessor:
    """Return the one call to the sidecar: one stream for the whole exchange."""
    header, body = (
        ext_proc.ProcessingModeHeaderSendMode,
        ext_proc.ProcessingModeBodySendMode,
    )
    namespaces = ext_proc.MetadataOptionsMetadataNamespaces
    return ext_proc.ExternalProcessor(
        grpc_service=core.GrpcService(
            envoy_grpc=core.GrpcServiceEnvoyGrpc(cluster_name=SIDECAR),
            # A stream lives as long as its answer; the sidecar has its own deadlines.
            timeout=wire.seconds(0),
            # Replays the request half on another worker, as long as nothing of the first
            # one's answer is here and at most 64 KiB (fixed in Envoy) have been sent.
            retry_policy=core.RetryPolicy(
                retry_on="connect-failure,refused-stream,reset,unavailable,cancelled,"
                "internal,resource-exhausted",
                num_retries=3,
                retry_back_off=core.BackoffStrategy(
                    base_interval=wire.seconds(0.005), max_interval=wire.seconds(0.05)
                ),
                host_selection_retry_max_attempts=5,
                retry_host_predicate=[
                    core.RetryPolicyRetryHostPredicate(
                        name="envoy.retry_host_predicates.previous_hosts",
                        typed_config=wire.pack(previous_hosts.PreviousHostsPredicate()),
                    )
                ],
            ),
        ),
        # Has no meaning in full duplex mode, but the default of 200 ms would be read by
        # whoever changes the mode.
        message_timeout=wire.seconds(10),
        status_on_error=envoy_type.HttpStatus(
            code=envoy_type.StatusCode.ServiceUnavailable
        ),
        processing_mode=ext_proc.ProcessingMode(
            request_header_mode=header.SEND,
            request_body_mode=body.FULL_DUPLEX_STREAMED,
            # Trailers must be sent in this mode; in the answer they are the only sign
            # of its end if the provider has them.
            request_trailer_mode=header.SEND,
            response_header_mode=header.SEND,
            response_body_mode=body.FULL_DUPLEX_STREAMED,
            response_trailer_mode=header.SEND,
        ),
        # allow_envoy: x-envoy-max-retries is how the sidecar says the chain's length.
        mutation_rules=rules.HeaderMutationRules(
            allow_all_routing=True, allow_envoy=True
        ),
        response_attributes=[
            "upstream.request_attempt_count",
            "response.code_details",
        ],
        metadata_options=ext_proc.MetadataOptions(
            receiving_namespaces=namespaces(
                untyped=[
                    "gw",
                    "gw.pg",
                    "gw.rl",
                    *(f"gw.t{n}" for n in range(1, MAX_ATTEMPTS + 1)),
                ]
            ),
            forwarding_namespaces=namespaces(untyped=["gw.att"]),
        ),
    )


def _downstream_tls(layout: Layout) -> core.TransportSocket:
    context = tls.DownstreamTlsContext(
        common_tls_context=tls.CommonTlsContext(
            tls_params=tls.TlsParameters(
                tls_minimum_protocol_version=tls.TlsParametersTlsProtocol.TLSv1_2
            ),
            alpn_protocols=["h2", "http/1.1"],
            tls_certificate_sds_secret_configs=[certificate_source(layout)],
        )
    )
    return core.TransportSocket(
        name="envoy.transport_sockets.tls", typed_config=wire.pack(context)
    )


def _access_log(layout: Layout) -> list[accesslog.AccessLog]:
    if layout.access_log is None:
        return [otlp_access_log()]
    return [
        otlp_access_log(),
        accesslog.AccessLog(
            name="envoy.access_loggers.file",
            typed_config=wire.pack(
                file.FileAccessLog(
                    path=str(layout.access_log),
                    log_format=core.SubstitutionFormatString(
                        json_format=Struct.from_dict(_LOG_FIELDS)
                    ),
                )
            ),
        ),
    ]
