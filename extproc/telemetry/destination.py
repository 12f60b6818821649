"""To whom telemetry goes: plain data, for whoever exports something."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """An OpenTelemetry collector, or a service that speaks its protocol."""

    endpoint: str
    """Without the signal's path."""
    protocol: Literal["http", "grpc"] = "http"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """Credentials among them."""
    interval: float = 15.0
    """Seconds between two pushes of metrics."""
    service_name: str = "extproc"
    instance: str = ""
    """``service.instance.id``."""
