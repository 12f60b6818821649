"""The part of ``gateway.yaml`` that says who else is told what the gateway sees."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from extproc.config.values import Seconds, Section, Switch, Text

HeaderName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class OtlpConfig(Section):
    """An OpenTelemetry collector, or a service that speaks its protocol."""

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")]
    """``http://127.0.0.1:4318``; the signal's path (``/v1/metrics``) is added over HTTP."""
    protocol: Literal["http", "grpc"] = "http"
    headers: dict[HeaderName, SecretStr] = Field(default_factory=dict)
    """Sent with every export, such as ``authorization``."""
    metrics: Switch = True
    """Whether metrics are pushed."""
    interval: Seconds = 15.0
    """Between two pushes of the metrics."""
    service_name: Text = "extproc"
    """``service.name`` of the resource."""


class TelemetryConfig(Section):
    """What leaves the gateway besides answers."""

    otlp: OtlpConfig | None = None
