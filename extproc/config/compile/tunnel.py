"""Proxies: how bytes reach a provider through one, in a tunnel that HTTP CONNECT makes.

    provider's cluster ──▶ listener inside Envoy ──▶ proxy's cluster ──CONNECT──▶ proxy

The provider's endpoint is that listener, which never sees a socket; beside its address
stands through which cluster and to whom the tunnel leads. So one listener serves every
tunnel, and is there before any is wanted: a new proxy needs no restart. The proxy's
cluster looks up its name, speaks TLS to it where it does, and shows it our credential,
which is in no configuration dump. TLS to the provider is spoken inside of the tunnel. What
goes wrong on the way (a refusal, too) closes it: the provider's connection is not made,
and the next target has its turn.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.endpoint import v3 as endpoint
from envoy_data_plane.envoy.config.listener import v3 as listener
from envoy_data_plane.envoy.extensions.bootstrap.internal_listener import (
    v3 as internal_listener,
)
from envoy_data_plane.envoy.extensions.filters.common.set_filter_state import (
    v3 as filter_state,
)
from envoy_data_plane.envoy.extensions.filters.network.set_filter_state import (
    v3 as set_filter_state,
)
from envoy_data_plane.envoy.extensions.filters.network.tcp_proxy import v3 as tcp_proxy
from envoy_data_plane.envoy.extensions.transport_sockets.internal_upstream import (
    v3 as internal_upstream,
)
from envoy_data_plane.envoy.type.metadata import v3 as metadata
from envoy_data_plane.google.protobuf import Struct

from extproc.config.compile import wire
from extproc.config.compile.way import NO_CLUSTER
from extproc.config.endpoint import Endpoint

LISTENER = "tunnel"
"""The listener's name, and of the metadata that say where to."""

TUNNELS = {"envoy.restart_features.upstream_http_filters_with_tcp_proxy": True}
"""Of Envoy's runtime: a proxy's cluster may have the filter that adds our credential."""


def proxy_cluster_name(provider_name: str) -> str:
    """Return the name of the cluster of the provider's proxy.

    A provider's own clusters have its name, or a number behind the dot.
    """
    return f"{provider_name}.proxy"


def extension() -> core.TypedExtensionConfig:
    """Return what makes listeners inside Envoy possible."""
    return core.TypedExtensionConfig(
        name="envoy.bootstrap.internal_listener",
        typed_config=wire.pack(internal_listener.InternalListener()),
    )


def tunnel_listener() -> listener.Listener:
    """Compile the listener that every tunnel begins at."""
    return listener.Listener(
        name=LISTENER,
        internal_listener=listener.ListenerInternalListenerConfig(),
        # Connections of clients are counted where they come in.
        ignore_global_conn_limit=True,
        filter_chains=[
            listener.FilterChain(
                filters=[
                    wire.network_filter(
                        "set_filter_state",
                        wire.pack(
                            set_filter_state.Config(
                                on_new_connection=[
                                    filter_state.FilterStateValue(
                                        object_key="envoy.tcp_proxy.cluster",
                                        format_string=_said("proxy"),
                                    )
                                ]
                            )
                        ),
                    ),
                    wire.network_filter(
                        "tcp_proxy",
                        wire.pack(
                            tcp_proxy.TcpProxy(
                                stat_prefix=LISTENER,
                                # Where nothing is said: it fails closed.
                                cluster=NO_CLUSTER,
                                # Whoever uses the tunnel has times of its own.
                                idle_timeout=wire.seconds(0),
                                tunneling_config=tcp_proxy.TcpProxyTunnelingConfig(
                                    hostname=_variable("to")
                                ),
                            )
                        ),
                    ),
                ]
            )
        ],
    )


def tunnel_endpoint(
    name: str, provider_name: str, there: Endpoint
) -> endpoint.LbEndpoint:
    """Return the endpoint of the provider's cluster `name`: a tunnel to `there`."""
    host = f"[{there.host}]" if ":" in there.host else there.host
    to = {"to": f"{host}:{there.port}", "proxy": proxy_cluster_name(provider_name)}
    return endpoint.LbEndpoint(
        endpoint=endpoint.Endpoint(
            address=core.Address(
                envoy_internal_address=core.EnvoyInternalAddress(
                    server_listener_name=LISTENER, endpoint_id=name
                )
            ),
            hostname=there.host,
        ),
        metadata=core.Metadata(filter_metadata={LISTENER: Struct.from_dict(to)}),
    )


def tunneled(inner: core.TransportSocket) -> core.TransportSocket:
    """Return the transport socket `inner`, which tells the tunnel where it leads."""
    return core.TransportSocket(
        name="envoy.transport_sockets.internal_upstream",
        typed_config=wire.pack(
            internal_upstream.InternalUpstreamTransport(
                passthrough_metadata=[
                    internal_upstream.InternalUpstreamTransportMetadataValueSource(
                        kind=metadata.MetadataKind(host=metadata.MetadataKindHost()),
                        name=LISTENER,
                    )
                ],
                transport_socket=inner,
            )
        ),
    )


def _variable(name: str) -> str:
    return f"%DYNAMIC_METADATA({LISTENER}:{name})%"


def _said(name: str) -> core.SubstitutionFormatString:
    return core.SubstitutionFormatString(
        text_format_source=core.DataSource(inline_string=_variable(name))
    )
