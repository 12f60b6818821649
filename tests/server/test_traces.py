"""Traces reach a collector, Langfuse and Datadog as each of them wants it."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from extproc.config.load import loads
from extproc.config.telemetry import TelemetryConfig
from extproc.exchange.completion import Completion
from extproc.redact import Redactor
from extproc.server.traces import Traces, outlets_of
from tests.otlp import Receiver, attributes, pair, receiving

RECORD = Completion(
    id="gw-1",
    operation="chat",
    started=1000.0,
    duration=1.0,
    outcome="ok",
    status=200,
    attempts=1,
    cost=1_000_000,
    end_user="carol",
    tags=("blue",),
)
BASE = """
providers: {p: {type: openai, api_key: sk-p}}
models: {m: {targets: [{provider: p}]}}
"""


def telemetry(text: str) -> TelemetryConfig:
    return loads(f"{BASE}\ntelemetry: {text}", {}, source="f", folder=Path()).telemetry


@pytest.fixture(scope="module")
def receiver():
    with receiving() as one:
        yield one


def sent(receiver: Receiver, text: str, *envoy: bytes) -> list[Span]:
    """Trace one request as `text` says; return what has come."""
    receiver.forget()

    async def main() -> None:
        told: list[bool] = []
        traces = Traces(lambda _, well: told.append(well))
        traces.configure(telemetry(text), Redactor())
        traces.tell([RECORD])
        for export in envoy:
            assert traces.envoy(export) == b""
        task = asyncio.create_task(traces.run())
        while not told:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})
        assert told == [True]
        assert set(traces.lost.values()) == {0}

    asyncio.run(main())
    return receiver.spans


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_collector(receiver: Receiver, protocol: str) -> None:
    at = getattr(receiver, protocol)
    spans = sent(
        receiver,
        f"{{otlp: {{endpoint: '{at}', protocol: {protocol}, headers: {{x-a: b}}}}}}",
    )
    assert [span.name for span in spans] == ["chat", "chat"]
    assert receiver.headers[0]["x-a"] == "b"
    resource = receiver.requests["traces"][0].resource_spans[0].resource
    assert attributes(resource.attributes)["service.name"] == "extproc"


def test_langfuse(receiver: Receiver) -> None:
    exchange, attempt = sent(
        receiver,
        f"{{langfuse: {{endpoint: '{receiver.http}', public_key: pk-lf-1,"
        " secret_key: sk-lf-2}}",
    )
    told = receiver.headers[0]
    assert base64.b64decode(told["authorization"].split()[1]) == b"pk-lf-1:sk-lf-2"
    assert told["x-langfuse-ingestion-version"] == "4"
    said = attributes(exchange.attributes)
    assert said["langfuse.observation.type"] == "generation"
    assert said["langfuse.observation.cost_details"] == '{"total":0.001000000}'
    assert said["langfuse.user.id"] == "carol"
    assert said["langfuse.trace.tags"] == ["blue"]
    # Or what a request used would count twice.
    assert attributes(attempt.attributes)["langfuse.observation.type"] == "span"


def test_datadog(receiver: Receiver) -> None:
    spans = sent(
        receiver,
        f"{{datadog: {{endpoint: '{receiver.http}', api_key: dd-1, ml_app: shop}}}}",
    )
    assert len(spans) == 2
    assert receiver.headers[0]["dd-api-key"] == "dd-1"
    assert receiver.headers[0]["dd-otlp-source"] == "llmobs"
    resource = receiver.requests["traces"][0].resource_spans[0].resource
    assert attributes(resource.attributes)["service.name"] == "shop"


def test_where_the_services_are() -> None:
    both = telemetry(
        "{langfuse: {public_key: a, secret_key: b},"
        " datadog: {site: us5.datadoghq.com, api_key: c}}"
    )
    assert {one.name: one.destination.endpoint for one in outlets_of(both)} == {
        "langfuse": "https://cloud.langfuse.com/api/public/otel",
        "datadog": "https://otlp.us5.datadoghq.com",
    }
    assert list(outlets_of(telemetry("{}"))) == []
    assert list(outlets_of(telemetry("{otlp: {endpoint: 'http://c', traces: false}}"))) == []  # fmt: skip


def test_of_envoys_spans_only_the_requests_and_only_what_is_chosen(
    receiver: Receiver,
) -> None:
    said = [
        pair("http.method", "POST"),
        pair("http.url", "http://x/v1/chat?key=secret"),
        pair("peer.address", "10.0.0.1"),
        pair("http.status_code", "503"),
        pair("response_flags", "-"),
    ]

    def span(name: str, kind: Span.SpanKind.ValueType) -> Span:
        return Span(
            name=name, kind=kind, trace_id=b"t" * 16, span_id=b"s" * 8, attributes=said
        )

    server, client = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT
    made = [
        span("POST chat", server), span("GET ready", server), span("async", client),
    ]  # fmt: skip
    scopes = ResourceSpans(scope_spans=[ScopeSpans(spans=made)])
    export = ExportTraceServiceRequest(resource_spans=[scopes]).SerializeToString()
    spans = sent(
        receiver, f"{{otlp: {{endpoint: '{receiver.http}'}}}}", export, b"\xff\xff"
    )
    [one] = [span for span in spans if span.kind == server]
    assert one.name == "POST chat"
    assert attributes(one.attributes) == {
        "http.request.method": "POST",
        "http.response.status_code": 503,
    }


def test_a_file_of_requests(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"

    async def main() -> None:
        traces = Traces(lambda *_: None)
        traces.configure(telemetry(f"{{request_log: {{path: '{path}'}}}}"), Redactor())
        traces.tell([RECORD])
        assert traces.envoy(b"nothing for a file") == b""
        assert traces.state() == {
            "request_log": {"waiting": 1, "lost": 0, "away": False}
        }
        task = asyncio.create_task(traces.run())
        while not path.exists() or traces.state()["request_log"]["waiting"]:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(main())
    assert '"end_user":"carol"' in path.read_text()


def test_a_sink_that_is_away_holds_nothing_up_and_what_is_left_is_counted() -> None:
    async def main() -> None:
        traces = Traces(lambda *_: None)
        text = "{otlp: {endpoint: 'http://127.0.0.1:9'}}"
        traces.configure(telemetry(text), Redactor())
        traces.tell([RECORD, RECORD])
        assert traces.waiting == {("otlp",): 2}
        traces.configure(telemetry("{}"), Redactor())
        assert traces.lost == {("otlp",): 2}
        traces.tell([RECORD])
        assert traces.waiting == {}

    asyncio.run(main())
