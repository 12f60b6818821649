"""The mock as a server: connections, codings, records, the command line."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import gzip
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brotli
import httpx
import pytest
import zstandard
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from extproc.local.mock import MockServer, serve
from extproc.local.mock.encoding import chosen
from extproc.local.mock.openai.api import OpenAI

ROOT = Path(__file__).parents[3]
KEY = {"authorization": "Bearer sk-mock-1"}
PATH = "/v1/chat/completions"


def ask(text: str = "hi", **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "gpt-4o", "messages": messages, **fields}


class Inflate:
    """zlib's decompressor under the name that the others use."""

    def __init__(self) -> None:
        self.process = zlib.decompressobj(31).decompress


class Unzstd:
    """zstandard's decompressor under the name that the others use."""

    def __init__(self) -> None:
        self.process = zstandard.ZstdDecompressor().decompressobj().decompress


DECODERS: dict[str, Any] = {"gzip": Inflate, "br": brotli.Decompressor, "zstd": Unzstd}


@pytest.mark.parametrize("coding", DECODERS)
def test_a_compressed_stream_can_be_read_event_by_event(
    http: httpx.Client, coding: str
) -> None:
    headers = {**KEY, "accept-encoding": coding}
    decoder = DECODERS[coding]()
    with http.stream("POST", PATH, json=ask(stream=True), headers=headers) as reply:
        assert reply.headers["content-encoding"] == coding
        told = [decoder.process(piece) for piece in reply.iter_raw()]
    events = [event for event in told if event]
    assert all(event.startswith(b"data: ") for event in events)
    assert all(event.endswith(b"\n\n") for event in events)
    plain = http.post(PATH, json=ask(stream=True), headers=KEY).content
    assert b"".join(events) == plain


@pytest.mark.parametrize("coding", DECODERS)
def test_a_compressed_answer_is_the_plain_one(http: httpx.Client, coding: str) -> None:
    headers = {**KEY, "accept-encoding": coding}
    with http.stream("POST", PATH, json=ask(), headers=headers) as reply:
        raw = b"".join(reply.iter_raw())
        assert reply.headers["content-encoding"] == coding
        assert int(reply.headers["content-length"]) == len(raw)
    plain = http.post(PATH, json=ask(), headers=KEY)
    assert "content-encoding" not in plain.headers
    assert DECODERS[coding]().process(raw) == plain.content


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("deflate", None),
        ("gzip, br", "gzip"),
        ("gzip;q=0.5, br;q=0.8, zstd;q=0", "br"),
        ("gzip;q=0", None),
        ("identity, gzip", None),
        ("zstd;q=x, GZIP", "gzip"),
    ],
)
def test_which_coding_is_chosen(accepted: str | None, coding: str | None) -> None:
    assert chosen(accepted) == coding


def test_what_reached_the_mock_is_on_record(
    mock: MockServer, http: httpx.Client
) -> None:
    http.delete("/_mock/requests").raise_for_status()
    assert http.get("/_mock/requests").json() == []
    assert http.get("/_mock/requests/last").status_code == 404
    sent = http.post(PATH + "?a=1", json=ask("record me"), headers=KEY)
    last = http.get("/_mock/requests/last").json()
    assert http.get("/_mock/requests").json() == [last]
    assert (last["method"], last["path"]) == ("POST", PATH + "?a=1")
    assert ["authorization", "Bearer sk-mock-1"] in last["headers"]
    assert base64.b64decode(last["body"]) == sent.request.content
    assert mock.requests[-1].body == sent.request.content
    assert mock.requests.maxlen == 1000
    assert http.get("/_mock/health").json()["status"] == "ok"
    assert http.get("/_mock/nothing").status_code == 404


def test_a_refused_request_is_on_record_too(
    mock: MockServer, http: httpx.Client
) -> None:
    http.post(PATH, json=ask(), headers={"authorization": "Bearer wrong"})
    assert mock.requests[-1].header("authorization") == "Bearer wrong"


def raw(mock: MockServer, sent: bytes) -> bytes:
    """Send bytes and return all that comes until the mock hangs up."""
    with socket.create_connection(("127.0.0.1", mock.port), timeout=5) as sock:
        sock.sendall(sent)
        got = b""
        while piece := sock.recv(65536):
            got += piece
    return got


def head(*lines: str) -> bytes:
    return "\r\n".join([f"POST {PATH} HTTP/1.1", "host: mock", *lines, "", ""]).encode()


def test_bytes_that_are_not_http_get_a_400(mock: MockServer) -> None:
    assert raw(mock, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_too_large_a_head_gets_a_431(mock: MockServer) -> None:
    assert raw(mock, head("x: " + "y" * 200_000)).startswith(b"HTTP/1.1 431 ")


def test_a_client_that_waits_is_told_to_continue(mock: MockServer) -> None:
    lines = ("expect: 100-continue", "content-length: 2", "connection: close")
    with socket.create_connection(("127.0.0.1", mock.port), timeout=5) as sock:
        sock.sendall(head("authorization: Bearer sk-mock-1", *lines))
        assert sock.recv(65536).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"{}")
        assert b"HTTP/1.1 400 " in sock.recv(65536)


def test_a_client_that_hangs_up_in_a_request_is_no_error(mock: MockServer) -> None:
    with socket.create_connection(("127.0.0.1", mock.port), timeout=5) as sock:
        sock.sendall(head("content-length: 100") + b"{")
        sock.shutdown(socket.SHUT_WR)
        # The rest of the body can no longer come.
        assert sock.recv(65536).startswith((b"HTTP/1.1 400", b""))


def test_a_chunked_request_is_read_whole(http: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        body = httpx.Request("POST", "http://mock", json=ask("in pieces")).content
        yield body[:10]
        yield body[10:]

    headers = {**KEY, "content-type": "application/json"}
    reply = http.post(PATH, content=pieces(), headers=headers)
    assert "in pieces" in reply.text


def test_one_connection_serves_many_requests(http: httpx.Client) -> None:
    ports = {
        http.post(PATH, json=ask(), headers=KEY)
        .extensions["network_stream"]
        .get_extra_info("client_addr")[1]
        for _ in range(3)
    }
    assert len(ports) == 1


def test_an_unforeseen_failure_is_answered_and_logged(
    http: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(OpenAI, "respond", fail)
    with caplog.at_level(logging.ERROR):
        reply = http.post(PATH, json=ask(), headers=KEY)
    assert reply.status_code == 500
    assert "boom" in reply.text
    assert "mock failed on POST" in caplog.text


def test_events_are_paced() -> None:
    async def run() -> float:
        async with await serve(pace=0.005) as server, httpx.AsyncClient() as client:
            started = time.monotonic()
            reply = await client.post(
                server.url + PATH, json=ask(stream=True), headers=KEY
            )
            assert reply.text.count("data: ") == 18
            return time.monotonic() - started

    assert asyncio.run(run()) > 17 * 0.005


def test_closing_drops_whoever_is_still_served() -> None:
    """A silent answer, a stalled stream and an idle connection: all end at once."""

    async def run() -> None:
        server = await serve(pace=0)
        async with httpx.AsyncClient(base_url=server.url, headers=KEY) as client:
            await client.post(PATH, json=ask())
            silent = asyncio.ensure_future(
                client.post(PATH, json=ask("[[mock: silence]]"))
            )
            stalled = asyncio.ensure_future(
                client.post(PATH, json=ask("[[mock: stall-mid-stream]]", stream=True))
            )
            while len(server.requests) < 3:
                await asyncio.sleep(0.005)
            await server.close()
            ended = await asyncio.gather(silent, stalled, return_exceptions=True)
            assert all(isinstance(one, httpx.TransportError) for one in ended)
            with pytest.raises(httpx.ConnectError):
                await client.post(PATH, json=ask())
        await server.close()

    started = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - started < 2


def test_keys_and_providers_can_be_chosen() -> None:
    async def run() -> None:
        options: dict[str, Any] = {"providers": ["anthropic"], "keys": ["only-this"]}
        async with (
            await serve(pace=0, **options) as server,
            httpx.AsyncClient() as client,
        ):
            reply = await client.post(server.url + PATH, json=ask(), headers=KEY)
            assert reply.json()["type"] == "error"
            headers = {"x-api-key": "sk-mock-1", "anthropic-version": "2023-06-01"}
            for key, status in (("only-this", 200), ("only-this-1", 401)):
                headers["x-api-key"] = key
                reply = await client.get(server.url + "/v1/models", headers=headers)
                assert reply.status_code == status

    asyncio.run(run())


def start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    """Run the command line and return the process and the URL that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "extproc.local.mock", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line.startswith("listening on "), process.communicate()
    return process, line.removeprefix("listening on ")


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=5) == ("", "")
    assert process.returncode == 0


def test_the_command_line_serves_until_it_is_told_to_stop() -> None:
    process, url = start("--port", "0", "--pace-ms", "0", "--provider", "openai")
    try:
        with httpx.Client(base_url=url, headers=KEY) as client:
            assert client.post(PATH, json=ask()).status_code == 200
            # The silence ends with the process, and the process does not wait for it.
            with pytest.raises(httpx.ReadTimeout):
                client.post(PATH, json=ask("[[mock: silence]]"), timeout=0.1)
    finally:
        stop(process)


def test_the_command_line_serves_tls(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    process, url = start("--tls-cert", certificate, "--tls-key", key)
    try:
        assert url.startswith("https://127.0.0.1:")
        with httpx.Client(base_url=url, verify=False, headers=KEY) as client:
            assert client.post(PATH, json=ask()).status_code == 200
            # The reset is one on the wire; Python's TLS shows it as an end of file.
            with pytest.raises(httpx.TransportError):
                client.post(PATH, json=ask("[[mock: reset]]"))
    finally:
        stop(process)


def make_certificate(folder: Path) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mock")])
    start_at = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start_at)
        .not_valid_after(start_at + dt.timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(paths[0]), str(paths[1])


def test_a_certificate_without_its_key_is_a_mistake() -> None:
    command = [sys.executable, "-m", "extproc.local.mock", "--tls-cert", "x"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "go together" in done.stderr


def test_the_mock_needs_neither_the_sdks_nor_the_gateway() -> None:
    """It is shipped without the SDKs, and it judges formats that it does not know."""
    script = (
        "import sys, extproc.local.mock.__main__;print(*sorted(m for m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    loaded = set(done.stdout.split())
    assert "extproc.local.mock.openai.api" in loaded
    foreign = {"openai", "anthropic", "pydantic", "httpx", "grpc"}
    assert not loaded & foreign
    ours = {name for name in loaded if name.startswith("extproc")}
    assert {name for name in ours if not name.startswith("extproc.local")} == {
        "extproc"
    }


def test_a_gzipped_body_is_not_read(http: httpx.Client) -> None:
    body = gzip.compress(httpx.Request("POST", "http://m", json=ask()).content)
    headers = {**KEY, "content-type": "application/json", "content-encoding": "gzip"}
    assert http.post(PATH, content=body, headers=headers).status_code == 415
