"""The part of ``gateway.yaml`` that says who else is told what the gateway sees."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from extproc.config.values import Seconds, Section, Switch, Text
from extproc.log_settings import Level, LogSettings

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


class LogsConfig(Section):
    """What the processes write on standard error; see `extproc.telemetry.logs`."""

    level: Level = "info"
    levels: dict[Annotated[str, Field(pattern=r"^[a-z0-9_.]+$")], Level] = Field(
        default_factory=dict
    )
    """Of single loggers and what is below them."""
    format: Literal["auto", "json", "console"] = "auto"
    requests: Literal["none", "failed", "all"] = "failed"
    """Which requests control writes a line for."""

    def settings(self) -> LogSettings:
        """Return what every process is told."""
        return LogSettings(self.level, self.levels, self.format)


class TelemetryConfig(Section):
    """What leaves the gateway besides answers."""

    logs: LogsConfig = LogsConfig()
    otlp: OtlpConfig | None = None
