"""How Envoy reaches a provider: through a proxy, with a certificate, with AWS's own file."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import ssl
import threading

import httpx
import pytest

from tests.envoy.conftest import Peers
from tests.harness import BEDROCK, KEY, Gateway, Mock, temporary_folder
from tests.pki import Authority

pytestmark = pytest.mark.envoy

NAME = "models.invalid"
"""Nobody can look it up (RFC 2606): whoever reaches it was led there by the proxy."""
ANSWER = {
    "id": "1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{
        "index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": "so it is"},
    }],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}  # fmt: skip


class Proxy:
    """Tunnels every CONNECT to one port, and remembers where it should have led."""

    def __init__(self, port: int) -> None:
        self.asked: list[str] = []
        self._port = port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(
                    target=self._tunnel, args=(client,), daemon=True
                ).start()

    def _tunnel(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        self.asked.append(head.split(b"\r\n")[0].decode())
        server = socket.create_connection(("127.0.0.1", self._port))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join()
        client.close()
        server.close()

    def close(self) -> None:
        self._socket.close()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append(self.connection.getpeercert())  # type: ignore[attr-defined]
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Guarded(http.server.ThreadingHTTPServer):
    """Talks to nobody without a certificate of `authority`."""

    daemon_threads = True

    def __init__(self, authority: Authority) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        context = ssl.create_default_context(
            ssl.Purpose.CLIENT_AUTH, cafile=str(authority.bundle)
        )
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(*authority.issue("127.0.0.1"))
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.seen: list[object] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Say nothing of a handshake that failed: that is what is tested."""


@pytest.fixture(scope="module")
def served():
    with temporary_folder() as folder, contextlib.ExitStack() as stack:
        authority = Authority(folder)
        certificate = authority.issue(NAME)
        tls = Mock(
            folder, "--tls-cert", certificate.chain, "--tls-key", certificate.key
        )
        stack.callback(tls.stop)
        (folder / "plain").mkdir()
        plain = Mock(folder / "plain")
        stack.callback(plain.stop)
        proxy = Proxy(int(tls.url.rpartition(":")[2]))
        stack.callback(proxy.close)
        guarded = Guarded(authority)
        stack.callback(guarded.server_close)
        stack.callback(guarded.shutdown)
        ours = authority.issue("gateway")
        secure = {
            "type": "openai",
            "api_key": "sk-mock-a",
            "ca_file": str(authority.bundle),
        }
        there = f"https://127.0.0.1:{guarded.server_address[1]}/v1"
        providers = {
            "proxied": {
                **secure,
                "base_url": f"https://{NAME}/v1",
                "proxy": f"http://127.0.0.1:{proxy.port}",
            },
            "astray": {
                **secure, "base_url": f"https://{NAME}/v1", "proxy": "http://127.0.0.1:1",
            },
            "shown": {
                **secure,
                "base_url": there,
                "client_certificate": {"certificate": ours.chain, "key": ours.key},
            },
            "hidden": {**secure, "base_url": there},
            "filed": {
                "type": "bedrock",
                "base_url": plain.url,
                "aws": {
                    "access_key_id": "MOCKFILEKEY",
                    "secret_access_key": "this/is+no/secret+either",
                },
            },
        }  # fmt: skip
        models = {
            name: {"targets": [{"provider": name, "model": "gpt-4o"}]}
            for name in providers
        }
        models["filed"] = {"targets": [{"provider": "filed", "model": BEDROCK}]}
        models["either"] = {
            "targets": [
                {"provider": "astray", "model": "gpt-4o"},
                {"provider": "proxied", "model": "gpt-4o"},
            ]
        }
        gateway = Gateway({"providers": providers, "models": models}, folder)
        stack.callback(gateway.stop)
        headers = {"authorization": f"Bearer {KEY}"}
        http_client = stack.enter_context(
            httpx.Client(base_url=gateway.url, headers=headers, timeout=20)
        )
        yield Peers(gateway, plain, http_client), proxy, guarded


def ask(served, model):
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    return served[0].http.post("/v1/chat/completions", json=body)


def test_a_proxy_is_told_the_providers_name_and_sees_no_more(served):
    assert ask(served, "proxied").status_code == 200
    assert served[1].asked == [f"CONNECT {NAME}:443 HTTP/1.1"]


def test_a_proxy_that_is_away_is_the_next_targets_turn(served):
    assert ask(served, "astray").status_code == 503
    answer = ask(served, "either")
    assert answer.status_code == 200
    assert answer.headers["x-extproc-provider"] == "proxied"


def test_a_provider_that_wants_a_certificate_is_shown_ours_and_only_there(served):
    _, _, guarded = served
    assert ask(served, "shown").status_code == 200
    (seen,) = guarded.seen
    assert seen["subject"] == ((("commonName", "gateway"),),)
    assert ask(served, "hidden").status_code == 503
    assert len(guarded.seen) == 1


def test_keys_of_the_configuration_sign_and_are_in_no_dump(served):
    peers = served[0]
    assert ask(served, "filed").status_code == 200
    (request,) = peers.mock.requests()
    assert "Credential=MOCKFILEKEY/" in request["headers"]["authorization"]
    assert "this/is+no" not in peers.gateway.admin("/config_dump").text
