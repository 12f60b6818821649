"""Active probes of a provider: off unless the configuration asks for them.

Envoy sends them itself, without the upstream filters and so without a credential. What
fails them is passed over: the cluster's second endpoint refuses at once, and the router
goes on to the next provider.
"""

from __future__ import annotations

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.type import v3 as envoy_type

from extproc.config.compile import wire
from extproc.config.endpoint import Endpoint
from extproc.config.providers import ProbeConfig


def health_checks(probe: ProbeConfig | None, there: Endpoint) -> list[core.HealthCheck]:
    """Compile how `there` is probed, if it is."""
    if probe is None:
        return []
    return [
        core.HealthCheck(
            timeout=wire.seconds(probe.timeout),
            interval=wire.seconds(probe.interval),
            # Envoy's own default before the first request is a minute.
            no_traffic_interval=wire.seconds(probe.interval),
            # Two in a row: one lost packet is no outage.
            unhealthy_threshold=2,
            healthy_threshold=1,
            initial_jitter=wire.seconds(min(1.0, probe.interval)),
            http_health_check=core.HealthCheckHttpHealthCheck(
                host=there.authority,
                path=probe.path or there.path or "/",
                # A refusal for want of a credential is an answer.
                expected_statuses=[envoy_type.Int64Range(start=200, end=500)],
            ),
        )
    ]
