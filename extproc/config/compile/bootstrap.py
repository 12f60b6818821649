"""The bootstrap: what stays the same for the life of an Envoy process."""

from __future__ import annotations

from envoy_data_plane.envoy.config.bootstrap import v3 as bootstrap
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.overload import v3 as overload
from envoy_data_plane.envoy.extensions.resource_monitors.downstream_connections import (
    v3 as downstream_connections,
)
from envoy_data_plane.envoy.extensions.resource_monitors.fixed_heap import (
    v3 as fixed_heap,
)
from envoy_data_plane.google.protobuf import Struct

from extproc.config.compile import wire
from extproc.config.compile.access_log import log_cluster
from extproc.config.compile.clusters import empty_cluster, sidecar_cluster
from extproc.config.compile.layout import Layout
from extproc.config.compile.listener import gateway_listener
from extproc.config.compile.tracing import span_flushing
from extproc.config.compile.tunnel import TUNNELS, extension, tunnel_listener
from extproc.config.file_names import CLUSTERS_FILE
from extproc.config.schema import Config

_HEAP = "envoy.resource_monitors.fixed_heap"


def gateway_bootstrap(config: Config, layout: Layout) -> bootstrap.Bootstrap:
    """Compile the bootstrap."""
    return bootstrap.Bootstrap(
        node=core.Node(id=layout.node_id, cluster="extproc"),
        admin=bootstrap.Admin(
            # It can stop Envoy and shows its configuration: the owner only.
            address=core.Address(pipe=core.Pipe(path=str(layout.admin), mode=0o600)),
            # It must answer most of all when the gateway is full.
            ignore_global_conn_limit=True,
        ),
        overload_manager=_overload(config),
        layered_runtime=_runtime({**TUNNELS, **span_flushing(config)}),
        bootstrap_extensions=[extension()],
        static_resources=bootstrap.BootstrapStaticResources(
            listeners=[gateway_listener(config, layout), tunnel_listener()],
            clusters=[
                sidecar_cluster(layout),
                empty_cluster(),
                log_cluster(layout),
            ],
        ),
        dynamic_resources=bootstrap.BootstrapDynamicResources(
            cds_config=wire.watched(str(layout.xds), CLUSTERS_FILE)
        ),
    )


def _runtime(keys: dict[str, int | bool]) -> bootstrap.LayeredRuntime:
    layer = bootstrap.RuntimeLayer(name="gateway", static_layer=Struct.from_dict(keys))
    return bootstrap.LayeredRuntime(layers=[layer])


def _overload(config: Config) -> overload.OverloadManager:
    """Return the last line: what happens when everything else has let too much in."""
    return overload.OverloadManager(
        refresh_interval=wire.seconds(0.25),
        resource_monitors=[
            overload.ResourceMonitor(
                name="envoy.resource_monitors.global_downstream_max_connections",
                typed_config=wire.pack(
                    downstream_connections.DownstreamConnectionsConfig(
                        # The connection_limit filter closes politely at the limit; this
                        # one refuses before a connection costs anything. Above it,
                        # because closing ones still count here.
                        max_active_downstream_connections=2 * config.limits.connections
                    )
                ),
            ),
            overload.ResourceMonitor(
                name=_HEAP,
                typed_config=wire.pack(
                    fixed_heap.FixedHeapConfig(
                        max_heap_size_bytes=config.limits.memory_bytes
                    )
                ),
            ),
        ],
        actions=[
            # Gives free pages back, which costs time: not before it is needed.
            _at("shrink_heap", 0.90),
            # Connections that would come back are told not to.
            _at("disable_http_keepalive", 0.95),
            _at("stop_accepting_requests", 0.98),
        ],
    )


def _at(action: str, share: float) -> overload.OverloadAction:
    return overload.OverloadAction(
        name=f"envoy.overload_actions.{action}",
        triggers=[
            overload.Trigger(
                name=_HEAP, threshold=overload.ThresholdTrigger(value=share)
            )
        ],
    )
