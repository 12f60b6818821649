"""Certificates, ours and the providers': whom Envoy trusts, and what it shows."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import ipaddress
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

pytestmark = pytest.mark.envoy

NOW = dt.datetime.now(dt.UTC)


@dataclasses.dataclass
class Authority:
    """Signs certificates; with no issuer it signs its own."""

    folder: Path

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        own = self._build(self.name, self.key, ca=True).sign(self.key, hashes.SHA256())
        self.file = self.folder / "ca.pem"
        self.file.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *sans: x509.GeneralName) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            self._build(subject, key, ca=False)
            .add_extension(x509.SubjectAlternativeName(sans), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        files = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files

    def _build(self, subject: x509.Name, key: Any, *, ca: bool) -> Any:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - dt.timedelta(days=1))
            .not_valid_after(NOW + dt.timedelta(days=1))
            .add_extension(
                x509.BasicConstraints(ca=ca, path_length=None), critical=True
            )
        )


HERE = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
LOCALHOST = x509.DNSName("localhost")
ELSEWHERE = x509.DNSName("api.example.com")

CASES = {
    # name: (host, what the certificate says, trusted, what becomes of it)
    "name": ("localhost", LOCALHOST, True, 200),
    "ip": ("127.0.0.1", HERE, True, 200),
    "wrong-name": ("localhost", ELSEWHERE, True, 503),
    "wrong-ip": ("127.0.0.1", ELSEWHERE, True, 503),
    "name-for-ip": ("127.0.0.1", LOCALHOST, True, 503),
    "unknown": ("127.0.0.1", HERE, False, 503),
}


@pytest.fixture(scope="module")
def served(run, make_provider, make_worker, tmp_path_factory):
    """A TLS gateway before one TLS provider for each case."""
    folder = tmp_path_factory.mktemp("tls")
    known = Authority(folder)
    stranger = Authority(tmp_path_factory.mktemp("stranger"))
    certificate, key = known.issue("gateway", HERE)
    providers, lines = {}, []
    with contextlib.ExitStack() as stack:
        for name, (host, san, trusted, _) in CASES.items():
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*(known if trusted else stranger).issue(name, san))
            providers[name] = provider = make_provider(context)
            stack.callback(provider.close)
            url = f"https://{host}:{provider.server_address[1]}/v1"
            lines.append(
                f"  {name}: {{type: openai, api_key: k, base_url: '{url}', "
                f"ca_file: {known.file}}}"
            )
        text = "\n".join(
            [
                (
                    f"listen: {{address: 127.0.0.1:0, tls: {{certificate: {certificate}, "
                    f"key: {key}}}}}"
                ),
                "providers:",
                *lines,
                "models: {m: {targets: [{provider: name}]}}",
            ]
        )
        gateway = stack.enter_context(run(text))
        trust = ssl.create_default_context(cafile=str(known.file))
        gateway.client = lambda **more: httpx.Client(
            base_url=f"https://127.0.0.1:{gateway.port}", verify=trust, **more
        )
        worker = make_worker(gateway.layout.workers[0])
        stack.callback(lambda: worker.stop(None).wait())
        gateway.wait_for_worker()
        yield gateway, providers, known


@pytest.mark.parametrize("name", CASES)
def test_only_the_providers_own_certificate_is_accepted(served, name):
    gateway, providers, _ = served
    rendering = {"path": "/v1/x", "host": "h", "set": {}, "del": [], "body": "{}"}
    chain = [{"cluster": name, "rendering": rendering}]
    with gateway.client() as client:
        answer = client.post("/v1/chat/completions", json={"chain": chain})
    assert answer.status_code == CASES[name][3]
    if answer.status_code == 503:
        assert answer.json()["error"]["code"] == "upstream_unreachable"
        assert not providers[name].received


@pytest.mark.parametrize("http2", [False, True])
def test_the_listener_speaks_tls(served, http2):
    gateway, _, _ = served
    with gateway.client(http1=not http2, http2=http2) as client:
        answer = client.get("/health/live")
    assert answer.status_code == 200
    assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")


def test_a_renewed_certificate_is_shown_without_a_restart(served):
    gateway, _, known = served
    live = gateway.config.listen.tls

    def serial() -> int:
        context = ssl.create_default_context(cafile=str(known.file))
        with (
            socket.create_connection(("127.0.0.1", gateway.port)) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            shown = secure.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown).serial_number

    before = serial()
    certificate, key = known.issue("renewed", HERE)
    key.rename(live.key)
    certificate.rename(live.certificate)
    deadline = time.monotonic() + 5
    while serial() == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
