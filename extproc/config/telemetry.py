"""The part of ``gateway.yaml`` that says who else is told what the gateway sees."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from extproc.config.endpoint import check_web_address
from extproc.config.values import (
    ByteCount,
    Credential,
    Seconds,
    Section,
    Switch,
    Text,
    WebAddress,
    Whole,
)
from extproc.log_settings import Level, LogSettings

HeaderName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


def _float(value: object) -> object:
    """Take a whole number for the number that it is: YAML's 1 is no float."""
    return float(value) if type(value) is int else value


def _endpoint(value: str) -> str:
    check_web_address(value)
    return value


def _header_value(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not (text.isascii() and text.isprintable()):
        raise ValueError("has a character that no header may have")
    return value


class OtlpConfig(Section):
    """An OpenTelemetry collector, or a service that speaks its protocol."""

    endpoint: Annotated[
        str,
        Field(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$"),
        AfterValidator(_endpoint),
    ]
    """``http://127.0.0.1:4318``; the signal's path (``/v1/metrics``) is added over HTTP."""
    protocol: Literal["http", "grpc"] = "http"
    headers: dict[HeaderName, Annotated[SecretStr, AfterValidator(_header_value)]] = (
        Field(default_factory=dict)
    )
    """Sent with every export, such as ``authorization``."""
    metrics: Switch = True
    """Whether metrics are pushed."""
    traces: Switch = True
    """Whether traces are sent."""
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


class LangfuseConfig(Section):
    """A project of Langfuse, which takes traces over OTLP."""

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+$")] = (
        "https://cloud.langfuse.com"
    )
    """``https://us.cloud.langfuse.com`` for the one in the USA."""
    public_key: Credential
    secret_key: Credential


class DatadogConfig(Section):
    """An account of Datadog, whose LLM Observability takes traces over OTLP."""

    site: Annotated[str, Field(pattern=r"^[a-z0-9.-]+$")] = "datadoghq.com"
    """``datadoghq.eu``, ``us5.datadoghq.com``, …"""
    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+$")] | None = None
    """In place of ``https://otlp.SITE``, such as an Agent's."""
    api_key: Credential
    ml_app: Text = "extproc"
    """Under which application the traces are shown."""


class TracesConfig(Section):
    """Which requests have a trace, and what is in it."""

    sample: Annotated[float, Field(ge=0, le=1), BeforeValidator(_float)] = 1.0
    """Share of the traces that begin here; others go by their client's decision."""
    to_providers: Switch = False
    """Whether providers are told of the trace (``traceparent``, ``tracestate``)."""


class RequestLogConfig(Section):
    """A file with a JSON line for each request."""

    path: Path
    """Rotated: the ones before it have ``.1``, ``.2`` … behind their name."""
    max_bytes: Annotated[ByteCount, Field(ge=64 << 10)] = 100 << 20
    keep: Annotated[Whole, Field(ge=0, le=1_000)] = 5
    """Files besides the one that is written."""


class ContentConfig(Section):
    """Whether what is asked and answered is kept, redacted: prompts, answers, tool calls.

    Off unless one of the first two says otherwise; a key may be ``private``.
    """

    traces: Switch = False
    """In spans, as ``gen_ai.input.messages`` and its like."""
    request_log: Switch = False
    """In the file of requests."""
    max_characters: Annotated[Whole, Field(ge=256, le=262_144)] = 16_384
    """Of the system's instructions, of the messages, and of the answer, each."""
    personal: Switch = False
    """Whether e-mail addresses, phone and card numbers stay in it. Secrets never do."""

    @property
    def size(self) -> int:
        """What workers keep of an answer; 0: it is off."""
        return self.max_characters if self.traces or self.request_log else 0


class WebhookConfig(Section):
    """Who is told of alerts."""

    url: WebAddress
    format: Literal["json", "slack"] = "json"
    kinds: Annotated[
        tuple[Literal["budget", "health", "errors"], ...], Field(min_length=1)
    ] = (
        "budget",
        "health",
        "errors",
    )
    secret: Credential | None = None
    """What each body is signed with."""


class AlertsConfig(Section):
    """What people are told, and when."""

    webhooks: tuple[WebhookConfig, ...] = ()
    error_rate: Annotated[float, Field(gt=0, le=1), BeforeValidator(_float)] = 0.05
    """Share of the requests of five minutes that may fail, through a provider or us."""
    least_requests: Annotated[Whole, Field(ge=1)] = 20
    """Of how many a share is taken."""
    repeat: Seconds = 3_600.0
    """Between two alerts of the same thing."""


class TelemetryConfig(Section):
    """What leaves the gateway besides answers."""

    logs: LogsConfig = LogsConfig()
    otlp: OtlpConfig | None = None
    langfuse: LangfuseConfig | None = None
    datadog: DatadogConfig | None = None
    traces: TracesConfig = TracesConfig()
    request_log: RequestLogConfig | None = None
    content: ContentConfig = ContentConfig()
    alerts: AlertsConfig = AlertsConfig()

    @property
    def traced(self) -> bool:
        """Whether anybody is sent traces."""
        otlp = self.otlp is not None and self.otlp.traces
        return otlp or self.langfuse is not None or self.datadog is not None
