"""Clusters: the sidecar's and the empty one (static), and one for each provider (CDS)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from envoy_data_plane.envoy.config.cluster import v3 as cluster
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.endpoint import v3 as endpoint
from envoy_data_plane.envoy.extensions.clusters.common.dns import v3 as dns_family
from envoy_data_plane.envoy.extensions.clusters.dns import v3 as dns
from envoy_data_plane.envoy.extensions.upstreams.http import v3 as upstream

from extproc.config.compile import transport, wire
from extproc.config.compile.attempt import proxy_filters, upstream_filters
from extproc.config.compile.layout import Layout
from extproc.config.compile.probes import health_checks
from extproc.config.compile.tunnel import proxy_cluster_name, tunnel_endpoint
from extproc.config.compile.way import NO_CLUSTER
from extproc.config.endpoint import Endpoint
from extproc.config.providers import ProviderConfig
from extproc.config.proxies import ProxyConfig

SIDECAR = "sidecar"

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

BUFFER_BYTES = 1 << 20
"""Of a connection, each way, before its peer is slowed down: a few round trips of any
model's output. Bodies that are held for a retry have their own, larger limit."""

NO_BREAKER = 100_000
"""A retry holds its slot until its request ends, and an open circuit is not retried on
the next provider: with the default of 3, 97 of 100 concurrent failovers became errors.
Storms are bounded by the chain's length and in the sidecar. No retry_budget, for the same
reason."""

REFUSING_PORT = 1
"""On loopback: tcpmux, which only root could listen on and nobody does."""


def sidecar_cluster(layout: Layout) -> cluster.Cluster:
    """Compile the cluster of the workers, one endpoint a unix socket."""
    return cluster.Cluster(
        name=SIDECAR,
        type=cluster.ClusterDiscoveryType.STATIC,
        # A unix socket connects at once or not at all: this is how long Envoy itself may
        # take to notice when thousands of requests come at once.
        connect_timeout=wire.seconds(5),
        lb_policy=cluster.ClusterLbPolicy.LEAST_REQUEST,
        # The default panic threshold stays: a busy worker may miss a health check, and
        # trying it all the same is better than "no healthy upstream".
        circuit_breakers=_breakers(),
        typed_extension_protocol_options={
            _HTTP_OPTIONS: wire.pack(
                upstream.HttpProtocolOptions(
                    explicit_http_config=upstream.HttpProtocolOptionsExplicitHttpConfig(
                        http2_protocol_options=core.Http2ProtocolOptions(
                            # A hung worker's streams are reset after 2.5 s and replayed
                            # on another.
                            connection_keepalive=core.KeepaliveSettings(
                                interval=wire.seconds(0.5), timeout=wire.seconds(2)
                            ),
                            # As many as a worker takes on one: beyond, there are two.
                            max_concurrent_streams=4096,
                            # Of frames that the worker has not read yet. They are meant
                            # against peers that make us answer; above 10,000 and 1,000, a
                            # burst of some 3,000 requests, or as many clients that leave
                            # at once, would cost all streams of the connection.
                            max_outbound_frames=1_000_000,
                            max_outbound_control_frames=100_000,
                            # What a worker may send ahead: a usual request whole, and
                            # sixteen of them at once on a connection.
                            initial_stream_window_size=1 << 20,
                            initial_connection_window_size=16 << 20,
                        )
                    )
                )
            )
        },
        # A worker that is gone is left out at the first failed connect, and tried again
        # half a second later. Its answers are not judged: an error is an answer.
        outlier_detection=cluster.OutlierDetection(
            split_external_local_origin_errors=True,
            consecutive_local_origin_failure=1,
            consecutive_5xx=0,
            enforcing_consecutive_5xx=0,
            enforcing_success_rate=0,
            enforcing_local_origin_success_rate=0,
            interval=wire.seconds(0.25),
            base_ejection_time=wire.seconds(0.5),
            max_ejection_time=wire.seconds(2),
            max_ejection_percent=100,
            successful_active_health_check_uneject_host=True,
        ),
        health_checks=[
            core.HealthCheck(
                timeout=wire.seconds(0.8),
                interval=wire.seconds(0.5),
                # The default before the first request is 60 s, which would be how long
                # a restarted worker waits for traffic.
                no_traffic_interval=wire.seconds(0.5),
                unhealthy_interval=wire.seconds(0.25),
                unhealthy_threshold=1,
                healthy_threshold=1,
                initial_jitter=wire.seconds(0.05),
                grpc_health_check=core.HealthCheckGrpcHealthCheck(),
            )
        ],
        load_assignment=endpoints_at(SIDECAR, layout.workers),
    )


def endpoints_at(name: str, sockets: Iterable[Path]) -> endpoint.ClusterLoadAssignment:
    """Return the endpoints of a cluster of unix sockets."""
    return endpoint.ClusterLoadAssignment(
        cluster_name=name,
        endpoints=[
            endpoint.LocalityLbEndpoints(
                lb_endpoints=[
                    _at(core.Address(pipe=core.Pipe(path=str(path))))
                    for path in sockets
                ]
            )
        ],
    )


def empty_cluster() -> cluster.Cluster:
    """Compile the cluster of a request that nobody named a provider for."""
    return cluster.Cluster(
        name=NO_CLUSTER,
        type=cluster.ClusterDiscoveryType.STATIC,
        connect_timeout=wire.seconds(1),
        load_assignment=endpoint.ClusterLoadAssignment(cluster_name=NO_CLUSTER),
    )


def fixed_cluster(name: str, there: Endpoint, authorities: Path) -> cluster.Cluster:
    """Compile the cluster of a server of somebody else's that is no provider.

    Args:
        name: of the cluster.
        there: where it is.
        authorities: PEM bundle to verify it with.
    """
    return cluster.Cluster(
        name=name,
        type=cluster.ClusterDiscoveryType.STATIC if there.is_ip else None,
        cluster_type=None if there.is_ip else _dns(),
        connect_timeout=wire.seconds(5),
        transport_socket=transport.tls_socket(there, authorities)
        if there.tls
        else None,
        load_assignment=_endpoints(name, there),
    )


def provider_cluster(
    name: str,
    provider_name: str,
    provider: ProviderConfig,
    layout: Layout,
    *,
    traced: bool = False,
) -> cluster.Cluster:
    """Compile the cluster `name`: one account at a provider, told of traces or not."""
    # A proxy looks the name up itself.
    addressed = provider.endpoint.is_ip or provider.proxy is not None
    return cluster.Cluster(
        name=name,
        type=cluster.ClusterDiscoveryType.STATIC if addressed else None,
        cluster_type=None if addressed else _dns(),
        connect_timeout=wire.seconds(provider.timeouts.connect),
        per_connection_buffer_limit_bytes=BUFFER_BYTES,
        lb_policy=cluster.ClusterLbPolicy.LEAST_REQUEST,
        circuit_breakers=_breakers(),
        outlier_detection=_outliers(),
        health_checks=health_checks(provider.probe, provider.endpoint),
        transport_socket=transport.socket(provider, layout),
        typed_extension_protocol_options={
            _HTTP_OPTIONS: wire.pack(
                upstream.HttpProtocolOptions(
                    common_http_protocol_options=core.HttpProtocolOptions(
                        idle_timeout=wire.seconds(provider.timeouts.keep_alive)
                    ),
                    explicit_http_config=transport.one_protocol(provider),
                    auto_config=transport.as_agreed(provider),
                    http_filters=upstream_filters(
                        name, provider_name, provider, layout, traced=traced
                    ),
                )
            )
        },
        load_assignment=_endpoints(
            name,
            provider.endpoint,
            tunnel=tunnel_endpoint(name, provider_name, provider.endpoint)
            if provider.proxy is not None
            else None,
            probed=provider.probe is not None,
        ),
    )


def proxy_cluster(
    provider_name: str, proxy: ProxyConfig, connect: float, layout: Layout
) -> cluster.Cluster:
    """Compile the cluster of the provider's proxy, which a tunnel goes through.

    `connect` is the seconds for TCP and TLS to it.
    """
    name, there = proxy_cluster_name(provider_name), proxy.endpoint
    return cluster.Cluster(
        name=name,
        type=cluster.ClusterDiscoveryType.STATIC if there.is_ip else None,
        cluster_type=None if there.is_ip else _dns(),
        connect_timeout=wire.seconds(connect),
        per_connection_buffer_limit_bytes=BUFFER_BYTES,
        circuit_breakers=_breakers(),
        transport_socket=transport.tls_socket(there, proxy.ca_file or layout.ca_bundle)
        if there.tls
        else None,
        typed_extension_protocol_options={
            _HTTP_OPTIONS: wire.pack(
                upstream.HttpProtocolOptions(
                    explicit_http_config=upstream.HttpProtocolOptionsExplicitHttpConfig(
                        http_protocol_options=core.Http1ProtocolOptions()
                    ),
                    http_filters=proxy_filters(provider_name, proxy, layout),
                )
            )
        },
        load_assignment=_endpoints(name, there),
    )


def _dns() -> cluster.ClusterCustomClusterType:
    """Return how a name is looked up: all its addresses, each a host."""
    return cluster.ClusterCustomClusterType(
        name="envoy.clusters.dns",
        typed_config=wire.pack(
            dns.DnsCluster(
                # Providers' records live for 30 to 300 s; the default asks every 5 s.
                dns_refresh_rate=wire.seconds(30),
                dns_failure_refresh_rate=dns.DnsClusterRefreshRate(
                    base_interval=wire.seconds(1), max_interval=wire.seconds(10)
                ),
                # AUTO takes IPv6 alone where a name has both, also on a machine that
                # has none.
                dns_lookup_family=dns_family.DnsLookupFamily.V4_PREFERRED,
            )
        ),
    )


def _endpoints(
    name: str,
    there: Endpoint,
    *,
    tunnel: endpoint.LbEndpoint | None = None,
    probed: bool = False,
) -> endpoint.ClusterLoadAssignment:
    """Return the provider's address and, where that may be none, one that refuses at once.

    "No healthy upstream" (the name does not resolve, the probe fails) is not retried on
    the next provider; a refused connection is.
    """
    own = tunnel or _at(_socket(there.host, there.port), hostname=there.host)
    groups = [endpoint.LocalityLbEndpoints(lb_endpoints=[own])]
    policy = None
    if probed or not (there.is_ip or tunnel):
        refusing = _at(_socket("127.0.0.1", REFUSING_PORT))
        if probed and refusing.endpoint is not None:
            refusing.endpoint.health_check_config = endpoint.EndpointHealthCheckConfig(
                disable_active_health_check=True
            )
        groups.append(endpoint.LocalityLbEndpoints(priority=1, lb_endpoints=[refusing]))
        # The second priority gets traffic when the first has no address left, and not
        # a share of it when one of several addresses is ejected (default 1.4).
        policy = endpoint.ClusterLoadAssignmentPolicy(overprovisioning_factor=10_000)
    return endpoint.ClusterLoadAssignment(
        cluster_name=name, endpoints=groups, policy=policy
    )


def _outliers() -> cluster.OutlierDetection:
    """Eject an address that cannot be talked to, never one that answers.

    A provider's 429, 500 and 529 concern the account or the model, not the address, and
    must reach the sidecar or the client with their ``retry-after``.
    """
    return cluster.OutlierDetection(
        split_external_local_origin_errors=True,
        consecutive_local_origin_failure=5,
        enforcing_consecutive_5xx=0,
        enforcing_success_rate=0,
        enforcing_local_origin_success_rate=0,
        interval=wire.seconds(1),
        base_ejection_time=wire.seconds(5),
        max_ejection_time=wire.seconds(60),
        max_ejection_percent=50,
    )


def _breakers() -> cluster.CircuitBreakers:
    return cluster.CircuitBreakers(
        thresholds=[
            cluster.CircuitBreakersThresholds(
                max_connections=NO_BREAKER,
                max_pending_requests=NO_BREAKER,
                max_requests=NO_BREAKER,
                max_retries=NO_BREAKER,
            )
        ]
    )


def _socket(host: str, port: int) -> core.Address:
    return core.Address(
        socket_address=core.SocketAddress(address=host, port_value=port)
    )


def _at(address: core.Address, hostname: str = "") -> endpoint.LbEndpoint:
    return endpoint.LbEndpoint(
        endpoint=endpoint.Endpoint(address=address, hostname=hostname)
    )
