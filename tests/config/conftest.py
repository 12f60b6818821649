"""A real Envoy with the compiled files, a scripted worker and providers that remember."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import certifi
import grpc
import httpx
import pytest

from extproc._pb import ext_proc_pb2, health_pb2
from extproc.config.compile import EnvoyFiles, Layout, compile_envoy, write_files
from extproc.config.load import loads
from extproc.config.schema import Config
from extproc.local.envoy import Admin, arguments, find_envoy


@dataclasses.dataclass
class Received:
    """What a provider was sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Provider(http.server.ThreadingHTTPServer):
    """Answers what it is told to, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.received: list[Received] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.seconds = 0.0
        """Of silence before the answer."""
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, *_: object) -> None:
        """Say nothing of a handshake that failed: that is what is tested."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def reset(self) -> None:
        self.received, self.status = [], 200
        self.headers, self.seconds = {}, 0.0


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Provider
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        # A chunked body would be read as empty: the tests look at content-length too.
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.server.received.append(Received("POST", self.path, headers, body))
        time.sleep(self.server.seconds)
        with contextlib.suppress(OSError):
            self.send_response(self.server.status)
            for key, value in self.server.headers.items():
                self.send_header(key, value)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


def process(requests: Iterator[Any], _: Any) -> Iterator[Any]:
    """Do what the request's body says: ``{"say": …}`` or ``{"chain": [rendering, …]}``.

    The answer passes as it is, Envoy's own included. Leaving instead would lose its body:
    in full duplex mode that is on its way to us already.
    """
    body = b""
    for request in requests:
        match request.WhichOneof("request"):
            case "request_headers" if request.request_headers.end_of_stream:
                yield _say({"status": 200, "details": "gw_test", "body": "no body"})
                return
            case "request_body":
                body += request.request_body.body
                if not request.request_body.end_of_stream:
                    continue
                told = json.loads(body)
                if "say" in told:
                    yield _say(told["say"])
                    return
                yield from _route(told["chain"])
            case "response_headers":
                answer = ext_proc_pb2.ProcessingResponse()
                answer.response_headers.SetInParent()
                yield answer
            case "response_body":
                answer = ext_proc_pb2.ProcessingResponse()
                part = answer.response_body.response.body_mutation.streamed_response
                part.body = request.response_body.body
                part.end_of_stream = request.response_body.end_of_stream
                yield answer
            case _:
                pass


def _say(told: dict[str, Any]) -> Any:
    answer = ext_proc_pb2.ProcessingResponse()
    answer.immediate_response.status.code = told["status"]
    answer.immediate_response.details = told["details"]
    answer.immediate_response.body = told["body"].encode()
    return answer


def _route(chain: list[dict[str, Any]]) -> Iterator[Any]:
    answer = ext_proc_pb2.ProcessingResponse()
    common = answer.request_headers.response
    common.clear_route_cache = True
    retries = common.header_mutation.set_headers.add()
    retries.header.key = "x-envoy-max-retries"
    retries.header.raw_value = str(len(chain) - 1).encode()
    groups: list[Any] = [
        {"name": f"{n}", "clusters": [{"cluster_name": t["cluster"], "weight": 1}]}
        for n, t in enumerate(chain)
    ]
    if chain:
        answer.dynamic_metadata.update({"gw.pg": {"priority_groups": groups}})
    for n, target in enumerate(chain, 1):
        # A rendering may be larger than the request that it comes from.
        target["rendering"]["body"] *= target.get("times", 1)
        answer.dynamic_metadata.update({f"gw.t{n}": target["rendering"]})
    yield answer
    answer = ext_proc_pb2.ProcessingResponse()
    streamed = answer.request_body.response.body_mutation.streamed_response
    streamed.body, streamed.end_of_stream = b"{}", True
    yield answer


def start_worker(path: Path) -> grpc.Server:
    server = grpc.server(futures.ThreadPoolExecutor(16))
    methods = {
        "envoy.service.ext_proc.v3.ExternalProcessor": {
            "Process": grpc.stream_stream_rpc_method_handler(
                process,
                ext_proc_pb2.ProcessingRequest.FromString,
                lambda message: message.SerializeToString(),
            )
        },
        "grpc.health.v1.Health": {
            "Check": grpc.unary_unary_rpc_method_handler(
                lambda *_: health_pb2.HealthCheckResponse(status="SERVING"),
                health_pb2.HealthCheckRequest.FromString,
                lambda message: message.SerializeToString(),
            )
        },
    }
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(name, table)
            for name, table in methods.items()
        )
    )
    server.add_insecure_port(f"unix:{path}")
    server.start()
    return server


@dataclasses.dataclass
class Gateway:
    """An Envoy that runs."""

    config: Config
    layout: Layout
    files: EnvoyFiles
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def client(self) -> httpx.Client:
        scheme = "http" if self.config.listen.tls is None else "https"
        return httpx.Client(base_url=f"{scheme}://127.0.0.1:{self.port}", timeout=20)

    def wait_for_worker(self) -> None:
        with self.client() as client:
            deadline = time.monotonic() + 10
            while client.get("/health/ready").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def raw(self, sent: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send bytes; return status, headers and body of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as peer:
            peer.sendall(sent)
            got = b""
            while chunk := peer.recv(65536):
                got += chunk
        head, _, body = got.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return int(first.split(" ")[1]), headers, body


@contextlib.contextmanager
def run_gateway(text: str, environ: Mapping[str, str] = {}) -> Iterator[Gateway]:
    """Compile `text` and run Envoy with it, in a process group of its own."""
    # Not pytest's tmp_path: a socket's path may have 107 bytes.
    state = Path(tempfile.mkdtemp(prefix="gw", dir="/tmp"))
    try:
        config = loads(text, environ, source="gateway.yaml", folder=state)
        layout = Layout.under(state, ca_bundle=Path(certifi.where()), concurrency=1)
        files = compile_envoy(config, layout)
        write_files(files, layout.xds)
        log = state / "envoy.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                arguments(find_envoy(), layout.xds / "bootstrap.json", concurrency=1),
                stderr=stderr,
                start_new_session=True,
            )
        try:
            port = asyncio.run(_ready(layout.admin))
            yield Gateway(config, layout, files, port, process, log)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    finally:
        shutil.rmtree(state)


async def _ready(admin: Path) -> int:
    async with Admin(admin) as envoy:
        await envoy.wait_ready(seconds=15)
        return await envoy.listener_port("gateway")


@pytest.fixture(scope="session")
def run() -> Callable[..., contextlib.AbstractContextManager[Gateway]]:
    return run_gateway


@pytest.fixture(scope="session")
def make_provider() -> Callable[[ssl.SSLContext], Provider]:
    return Provider


@pytest.fixture(scope="session")
def make_worker() -> Callable[[Path], grpc.Server]:
    return start_worker


@pytest.fixture(scope="session")
def alone() -> Iterator[Gateway]:
    """A gateway whose worker never came."""
    text = """
        listen: {address: 127.0.0.1:0}
        providers: {openai: {type: openai, api_key: sk-secret-of-the-provider}}
        models: {gpt-4o: {targets: [{provider: openai}]}}
        timeouts: {request: 0.5, last_bytes: 0.2}
    """
    with run_gateway(text) as gateway:
        yield gateway


@dataclasses.dataclass
class Rig:
    """A gateway, its worker and two providers."""

    gateway: Gateway
    alpha: Provider
    beta: Provider


@pytest.fixture(scope="session")
def _rig() -> Iterator[Rig]:
    alpha, beta = Provider(), Provider()
    text = f"""
        listen: {{address: 127.0.0.1:0}}
        providers:
          alpha:
            type: openai
            api_key: sk-alpha
            base_url: {alpha.url}
            headers: {{openai-organization: org-ours}}
          beta: {{type: anthropic, api_key: sk-beta, base_url: {beta.url}}}
          refusing: {{type: openai, api_key: k, base_url: http://127.0.0.1:1/v1}}
          lost:
            type: openai
            api_key: k
            base_url: http://no-such-host.invalid/v1
            allow_plaintext: true
        models: {{gpt-4o: {{targets: [{{provider: alpha}}]}}}}
        timeouts: {{first_byte: 0.5, last_bytes: 0.2}}
        limits: {{body_bytes: 1MiB}}
    """
    with run_gateway(text) as gateway:
        worker = start_worker(gateway.layout.workers[0])
        try:
            gateway.wait_for_worker()
            yield Rig(gateway, alpha, beta)
        finally:
            worker.stop(None).wait()
            for provider in (alpha, beta):
                provider.close()


@pytest.fixture
def rig(_rig: Rig) -> Rig:
    _rig.alpha.reset()
    _rig.beta.reset()
    return _rig
