"""Sends traces to one destination: ours, built of records, and Envoy's own.

Importing this takes a third of a second; the exporter is OpenTelemetry's and blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc
from opentelemetry.exporter.otlp.proto.http import trace_exporter as http
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind
from opentelemetry.trace.status import Status, StatusCode

from extproc.redact import Redactor
from extproc.telemetry.content import Display
from extproc.telemetry.destination import Destination
from extproc.telemetry.otlp import connect, resource_of
from extproc.telemetry.request_lines import Told
from extproc.telemetry.spans import SAMPLED, SCOPE, Spans

KEPT: Final = {
    "http.method": "http.request.method",
    "http.status_code": "http.response.status_code",
    "http.protocol": "network.protocol.version",
    "guid:x-request-id": "extproc.request_id",
    "upstream_cluster.name": "extproc.cluster",
    "response_flags": "envoy.response_flags",
    "request_size": "http.request.body.size",
    "response_size": "http.response.body.size",
}
"""What of Envoy's tags is told on, and as what: no URL, no address, no user agent."""

_NUMBERS: Final = frozenset(
    {
        "http.response.status_code",
        "http.request.body.size",
        "http.response.body.size",
    }
)

PROBES: Final = (" live", " ready")
"""Routes whose requests nobody wants to see in a trace."""

Said = Told | bytes
"""What is known of an exchange, or an export of Envoy's as it came."""


class TraceExporter:
    """One destination's exporter."""

    def __init__(
        self,
        destination: Destination,
        redactor: Redactor,
        *,
        ratio: float,
        langfuse: bool = False,
        display: Display | None = None,
    ) -> None:
        self._resource = resource_of(destination)
        self._redactor = redactor
        self._ratio = ratio
        self._spans = Spans(
            self._resource, redactor, langfuse=langfuse, display=display
        )
        self._exporter: SpanExporter = connect(
            destination, "traces", grpc.OTLPSpanExporter, http.OTLPSpanExporter
        )

    def export(self, said: Sequence[Said]) -> bool:
        """Send the spans of `said`; say whether they have arrived."""
        spans: list[ReadableSpan] = []
        for one in said:
            if isinstance(one, Told):
                spans += self._spans.of(one.completion, self._ratio, one.content)
            else:
                spans += self._of_envoy(one)
        if not spans:
            return True
        return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Let go of the connection."""
        self._exporter.shutdown()

    def _of_envoy(self, export: bytes) -> Iterator[ReadableSpan]:
        try:
            request = ExportTraceServiceRequest.FromString(export)
        except DecodeError:
            return
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    # Its call to the worker is what the exchange's own span is about.
                    server = span.kind == trace_pb2.Span.SPAN_KIND_SERVER
                    if server and not span.name.endswith(PROBES):
                        yield self._copy(span)

    def _copy(self, span: trace_pb2.Span) -> ReadableSpan:
        trace = int.from_bytes(span.trace_id)
        said: dict[str, str | int] = {}
        for pair in span.attributes:
            name = KEPT.get(pair.key)
            if name is None or (value := _text(pair.value)) == "-":
                continue
            numeric = name in _NUMBERS and value.isdecimal()
            said[name] = int(value) if numeric else self._redactor.text(value)
        above = None
        if span.parent_span_id:
            parent = int.from_bytes(span.parent_span_id)
            above = SpanContext(trace, parent, True, SAMPLED)
        failed = int(said.get("http.response.status_code", 0)) >= 500
        return ReadableSpan(
            name=self._redactor.text(span.name),
            context=SpanContext(trace, int.from_bytes(span.span_id), False, SAMPLED),
            parent=above,
            resource=self._resource,
            attributes=said,
            kind=SpanKind.SERVER,
            instrumentation_scope=SCOPE,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=span.start_time_unix_nano,
            end_time=span.end_time_unix_nano,
        )


def _text(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    return "-" if kind is None else str(getattr(value, kind))
