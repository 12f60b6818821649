"""An OTLP receiver: what it is sent is judged by the types of `opentelemetry-proto`.

https://opentelemetry.io/docs/specs/otlp/: gRPC (`grpc`) and HTTP with protobuf bodies
(`http`), each on a port of its own; what cannot be parsed is in `refused`.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_service
from opentelemetry.proto.collector.metrics.v1 import (
    metrics_service_pb2 as metrics_service,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

T = TypeVar("T")

SIGNALS: dict[str, tuple[Any, Any]] = {
    "logs": (logs_service.ExportLogsServiceRequest, logs_service.ExportLogsServiceResponse),
    "metrics": (
        metrics_service.ExportMetricsServiceRequest,
        metrics_service.ExportMetricsServiceResponse,
    ),
    "traces": (
        trace_service.ExportTraceServiceRequest,
        trace_service.ExportTraceServiceResponse,
    ),
}  # fmt: skip

METHODS = {
    f"/opentelemetry.proto.collector.{package}.v1.{service}/Export": signal
    for signal, package, service in (
        ("logs", "logs", "LogsService"),
        ("metrics", "metrics", "MetricsService"),
        ("traces", "trace", "TraceService"),
    )
}


class Receiver:
    """Keeps every export.

    Attributes:
        requests: by signal, as they came.
        headers: of each export, lower-case names; of gRPC its metadata.
        fail: while true every export is answered with "unavailable".
    """

    def __init__(self) -> None:
        self.requests: dict[str, list[Any]] = {signal: [] for signal in SIGNALS}
        self.headers: list[dict[str, str]] = []
        self.refused: list[str] = []
        self.fail = False
        self.connections: set[socket.socket] = set()
        self._grpc = grpc.server(ThreadPoolExecutor(4))
        self._grpc.add_generic_rpc_handlers((_Handler(self),))
        port = self._grpc.add_insecure_port("127.0.0.1:0")
        self.grpc = f"http://127.0.0.1:{port}"
        self._grpc.start()
        self._listen(0)
        self.http = f"http://127.0.0.1:{self._web.server_address[1]}"

    def _listen(self, port: int) -> None:
        self._web = ThreadingHTTPServer(("127.0.0.1", port), _web(self))
        self._thread = threading.Thread(target=self._web.serve_forever, args=(0.02,))
        self._thread.start()

    def hang_up(self) -> None:
        """Listen for HTTP no more."""
        self._web.shutdown()
        self._web.server_close()
        self._thread.join(5)
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def listen_again(self) -> None:
        self._listen(self._web.server_address[1])

    def keep(self, signal: str, body: bytes, headers: dict[str, str]) -> bytes | None:
        """Return the answer; None: it cannot be taken now."""
        if self.fail:
            return None
        request_type, response_type = SIGNALS[signal]
        self.requests[signal].append(request_type.FromString(body))
        self.headers.append(headers)
        return bytes(response_type().SerializeToString())

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests["traces"]
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def logs(self) -> list[LogRecord]:
        return [
            record
            for request in self.requests["logs"]
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    @property
    def metrics(self) -> dict[str, Metric]:
        """The latest of each name."""
        return {
            metric.name: metric
            for request in self.requests["metrics"]
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def forget(self) -> None:
        for kept in self.requests.values():
            kept.clear()
        self.headers.clear()

    def wait(self, probe: Callable[[], T | None], seconds: float = 20) -> T:
        """Return the first thing that `probe` finds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = probe()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"nothing came in {seconds} s")

    def stop(self) -> None:
        self.hang_up()
        self._grpc.stop(0).wait(5)


def attributes(pairs: Any) -> dict[str, Any]:
    """Return OTLP's attributes as a dictionary."""
    return {pair.key: value(pair.value) for pair in pairs}


def value(any_value: AnyValue) -> Any:
    match any_value.WhichOneof("value"):
        case "array_value":
            return [value(one) for one in any_value.array_value.values]
        case "kvlist_value":
            return attributes(any_value.kvlist_value.values)
        case None:
            return None
        case name:
            return getattr(any_value, name)


def pair(key: str, text: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=text))


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def service(self, call: Any) -> Any:
        signal = METHODS.get(call.method)
        if signal is None:
            return None

        def export(body: bytes, context: Any) -> bytes:
            told = {key: str(text) for key, text in context.invocation_metadata()}
            code, answer = grpc.StatusCode.UNAVAILABLE, None
            try:
                answer = self._receiver.keep(signal, body, told)
            except DecodeError as error:
                self._receiver.refused.append(repr(error))
                code = grpc.StatusCode.INVALID_ARGUMENT
            if answer is None:
                context.abort(code, "not taken")
            return answer or b""

        return grpc.unary_unary_rpc_method_handler(export)


def _web(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Web(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            receiver.connections.add(self.connection)

        def finish(self) -> None:
            receiver.connections.discard(self.connection)
            super().finish()

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(length)
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            told = {name.lower(): text for name, text in self.headers.items()}
            signal = self.path.rpartition("/v1/")[2]
            status, answer = 404, b""
            if signal in SIGNALS:
                try:
                    taken = receiver.keep(signal, body, told)
                except DecodeError as error:
                    receiver.refused.append(repr(error))
                    status = 400
                else:
                    status, answer = (503, b"") if taken is None else (200, taken)
            self.send_response(status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    return Web


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.stop()
