"""How Envoy reaches a provider: by proxy, certificate, HTTP/2, and as whom at AWS."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import http.server
import json
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import h2.config
import h2.connection
import h2.events
import httpx
import pytest

from extproc.local.mock.bedrock.signing import ACCESS_KEYS
from tests.envoy.conftest import Peers
from tests.harness import (
    BEDROCK,
    FORGIVING,
    KEY,
    Gateway,
    Mock,
    temporary_folder,
    wait_for,
)
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


LOST = {"astray": 503, "unnamed": 503, "strange": 503, "mute": 504}
"""Providers whose proxy refuses the connection, has no address, refuses us, says nothing."""


class Proxy:
    """Tunnels to one port whoever asks as RFC 9110 9.3.6 has it, and has the password.

    It remembers where it should have led.
    """

    CREDENTIAL = b"Basic " + base64.b64encode(b"gateway:pass:word")

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[str] = []
        self.refused: list[bytes] = []
        self._port = port
        self._tls = tls
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

    def _tunnel(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            client = stack.enter_context(
                self._tls.wrap_socket(plain, server_side=True) if self._tls else plain
            )
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            refusal = self._judge(head)
            if refusal:
                self.refused.append(refusal)
                client.sendall(
                    b"HTTP/1.1 " + refusal + b"\r\ncontent-length: 0\r\n\r\n"
                )
                return
            server = stack.enter_context(
                socket.create_connection(("127.0.0.1", self._port))
            )
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()

    def _judge(self, head: bytes) -> bytes:
        """Return the status of a refusal, or nothing."""
        request, *lines = head.split(b"\r\n")[:-2]
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        method, to, version = request.split(b" ")
        if (method, version, headers.pop(b"host", b"")) != (
            b"CONNECT",
            b"HTTP/1.1",
            to,
        ):
            return b"400 Bad Request"
        if headers.pop(b"proxy-authorization", b"") != self.CREDENTIAL.lower():
            return b"407 Proxy Authentication Required"
        if headers:
            return b"400 " + b",".join(headers)
        self.asked.append(to.decode())
        return b""

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


class Multiplexed:
    """Answers over HTTP/2 only, as python-hyper's h2 reads the standard."""

    def __init__(self, authority: Authority) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(*authority.issue("127.0.0.1"))
        self._context.set_alpn_protocols(["h2"])
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.connections = 0
        self.paths: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, plain: socket.socket) -> None:
        with self._context.wrap_socket(plain, server_side=True) as client:
            if client.selected_alpn_protocol() != "h2":
                return
            self.connections += 1
            talk = h2.connection.H2Connection(
                h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
            )
            talk.initiate_connection()
            client.sendall(talk.data_to_send())
            while data := client.recv(65536):
                for event in talk.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        self.paths.append(dict(event.headers)[":path"])
                    if isinstance(event, h2.events.StreamEnded):
                        kind = ("content-type", "application/json")
                        talk.send_headers(event.stream_id, [(":status", "200"), kind])
                        body = json.dumps(ANSWER).encode()
                        talk.send_data(event.stream_id, body, end_stream=True)
                client.sendall(talk.data_to_send())

    def close(self) -> None:
        self._socket.close()


class _Credentials(http.server.BaseHTTPRequestHandler):
    """https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html"""

    def do_GET(self) -> None:
        self.server.seen.append(self.headers["authorization"])  # type: ignore[attr-defined]
        ends = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        body = json.dumps(
            {
                "AccessKeyId": "MOCKPODKEY",
                "SecretAccessKey": ACCESS_KEYS["MOCKPODKEY"],
                "Token": "a session's token",
                "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        ).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Container(http.server.ThreadingHTTPServer):
    """What ECS and EKS run beside a container, for whoever has the token."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Credentials)
        self.seen: list[str | None] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def authority():
    with temporary_folder() as folder:
        yield Authority(folder)


@pytest.fixture
def container():
    with Container() as server:
        yield server
        server.shutdown()


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
        theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        theirs.load_cert_chain(*authority.issue("localhost"))
        proxies = [
            Proxy(int(tls.url.rpartition(":")[2]), one) for one in (None, theirs)
        ]
        for one in proxies:
            stack.callback(one.close)
        proxy, secret_proxy = proxies
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        guarded = Guarded(authority)
        stack.callback(guarded.server_close)
        stack.callback(guarded.shutdown)
        ours = authority.issue("gateway")
        secure = {
            "type": "openai",
            "api_key": "sk-mock-a",
            "ca_file": str(authority.bundle),
        }
        away = {**secure, "base_url": f"https://{NAME}/v1"}
        known = {"username": "gateway", "password": "pass:word"}
        there = f"https://127.0.0.1:{guarded.server_address[1]}/v1"
        providers = {
            "proxied": {
                **away, "proxy": {**known, "url": f"http://localhost:{proxy.port}"},
            },
            "encrypted": {
                **away,
                "proxy": {
                    **known,
                    "url": f"https://localhost:{secret_proxy.port}",
                    "ca_file": str(authority.bundle),
                },
            },
            "astray": {**away, "proxy": "http://127.0.0.1:1"},
            "unnamed": {**away, "proxy": "http://proxy.invalid:3128"},
            "strange": {
                **away,
                "proxy": {
                    **known, "password": "guess", "url": f"http://localhost:{proxy.port}",
                },
            },
            "mute": {
                **away,
                "proxy": f"http://127.0.0.1:{mute.getsockname()[1]}",
                "timeouts": {"connect": 0.5},
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
        models |= {
            f"{name}-or": {
                "targets": [
                    {"provider": name, "model": "gpt-4o"},
                    {"provider": "proxied", "model": "gpt-4o"},
                ]
            }
            for name in LOST
        }
        gateway = Gateway(
            {"providers": providers, "models": models, **FORGIVING}, folder
        )
        stack.callback(gateway.stop)
        headers = {"authorization": f"Bearer {KEY}"}
        http_client = stack.enter_context(
            httpx.Client(base_url=gateway.url, headers=headers, timeout=20)
        )
        yield Peers(gateway, plain, http_client), proxies, guarded


def ask(served, model):
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    return served[0].http.post("/v1/chat/completions", json=body)


@pytest.mark.parametrize(("model", "which"), [("proxied", 0), ("encrypted", 1)])
def test_a_proxy_is_told_the_providers_name_and_sees_no_more(served, model, which):
    """It has a name itself, and wants a password."""
    proxy = served[1][which]
    assert ask(served, model).status_code == 200
    assert set(proxy.asked) == {f"{NAME}:443"}


@pytest.mark.parametrize(("model", "status"), LOST.items())
def test_a_proxy_that_does_not_lead_there_is_the_next_targets_turn(
    served, model, status
):
    assert ask(served, model).status_code == status
    answer = ask(served, f"{model}-or")
    assert answer.status_code == 200
    assert answer.headers["x-extproc-provider"] == "proxied"


def test_a_proxys_password_is_in_no_dump(served):
    assert ask(served, "strange").status_code == 503
    assert served[1][0].refused[-1] == b"407 Proxy Authentication Required"
    dump = served[0].gateway.admin("/config_dump").text
    for secret in ("pass:word", "guess", Proxy.CREDENTIAL.decode().split()[1]):
        assert secret not in dump


def test_a_provider_that_wants_a_certificate_is_shown_ours_and_only_there(served):
    _, _, guarded = served
    assert ask(served, "shown").status_code == 200
    (seen,) = guarded.seen
    assert seen["subject"] == ((("commonName", "gateway"),),)
    assert ask(served, "hidden").status_code == 503
    assert len(guarded.seen) == 1


def test_http2_carries_many_requests_where_the_provider_has_it(authority):
    server = Multiplexed(authority)
    secure = {
        "type": "openai",
        "api_key": "sk-mock-a",
        "ca_file": str(authority.bundle),
        "base_url": f"https://127.0.0.1:{server.port}/v1",
    }
    providers = {
        "always": {**secure, "http2": True},
        "agreed": {**secure, "http2": "auto"},
        "older": secure,
    }
    models = {name: {"targets": [{"provider": name}]} for name in providers}
    config = {"providers": providers, "models": models}
    headers = {"authorization": f"Bearer {KEY}"}
    with temporary_folder() as folder:
        gateway = Gateway(config, folder)
        try:
            with httpx.Client(
                base_url=gateway.url, headers=headers, timeout=20
            ) as client:

                def answered(model: str) -> int:
                    body = {
                        "model": model,
                        "messages": [{"role": "user", "content": "Hi"}],
                    }
                    return client.post("/v1/chat/completions", json=body).status_code

                for model in ("always", "agreed"):
                    with ThreadPoolExecutor(8) as pool:
                        assert set(pool.map(answered, [model] * 24)) == {200}
                assert answered("older") == 503
        finally:
            gateway.stop()
            server.close()
    assert server.paths == ["/v1/chat/completions"] * 48
    # Each of Envoy's two threads has connections of its own, for each provider.
    assert server.connections <= 2 * 2


def test_a_container_is_whoever_its_endpoint_says(container):
    """As in ECS, and in EKS with Pod Identity."""
    with temporary_folder() as folder:
        mock = Mock(folder)
        config = {
            "providers": {"bedrock": {"type": "bedrock", "base_url": mock.url}},
            "models": {"m": {"targets": [{"provider": "bedrock", "model": BEDROCK}]}},
        }
        env = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": (
                f"http://127.0.0.1:{container.server_address[1]}/v1/credentials"
            ),
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "a pod's own token",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        try:
            gateway = Gateway(config, folder, env=env)
            try:
                headers = {"authorization": f"Bearer {KEY}"}
                body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}

                def ask() -> bool | None:
                    url = f"{gateway.url}/v1/chat/completions"
                    answer = httpx.post(url, json=body, headers=headers, timeout=20)
                    return True if answer.status_code == 200 else None

                # Envoy asks for credentials when it has started, and serves meanwhile.
                wait_for(ask, gateway.output)
            finally:
                gateway.stop()
            sent = mock.requests()[-1]["headers"]
        finally:
            mock.stop()
    assert "Credential=MOCKPODKEY/" in sent["authorization"]
    assert sent["x-amz-security-token"] == "a session's token"
    assert set(container.seen) == {"a pod's own token"}


def test_keys_of_the_configuration_sign_and_are_in_no_dump(served):
    peers = served[0]
    assert ask(served, "filed").status_code == 200
    (request,) = peers.mock.requests()
    assert "Credential=MOCKFILEKEY/" in request["headers"]["authorization"]
    assert "this/is+no" not in peers.gateway.admin("/config_dump").text
