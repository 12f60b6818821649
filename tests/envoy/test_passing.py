"""Files, forms and stored things through a real Envoy, to a provider that counts bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import pytest

from tests.harness import KEY, NARROW_KEY, Gateway, temporary_folder
from tests.sink import Sink

pytestmark = pytest.mark.envoy

MIB = 1 << 20
UPLOAD = 200 * MIB
BLOCK = os.urandom(MIB)
GROWTH = 48 * MIB
"""What a process may grow by while 200 MB go through it: buffers, and an allocator's
habits. It would be 200 MB, or 400, if a body were held."""
HEAD = (
    b'--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\nmapped\r\n--xyz\r\n'
    b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
)
TAIL = b"\r\n--xyz--\r\n"
FORM = {"content-type": "multipart/form-data; boundary=xyz"}


@dataclass
class Rig:
    gateway: Gateway
    sink: Sink
    http: httpx.Client


@pytest.fixture(scope="module")
def _rig() -> Iterator[Rig]:
    with Sink() as sink, temporary_folder() as folder:
        openai = {
            "type": "openai",
            "api_key": "sk-secret",
            "base_url": f"{sink.url}/v1",
        }
        config = {
            "providers": {
                "main": openai,
                "other": {**openai, "base_url": f"{sink.url}/other/v1"},
                "refusing": {**openai, "base_url": "http://127.0.0.1:1/v1"},
            },
            "models": {
                "mapped": {"targets": [{"provider": "main", "model": "whisper-1"}]},
                "dall-e-2": {
                    "targets": [{"provider": "main"}, {"provider": "other"}],
                    "strategy": "priority",
                },
                "unlucky": {
                    "targets": [{"provider": "refusing"}, {"provider": "other"}],
                    "strategy": "priority",
                },
            },
            "limits": {"body_bytes": MIB, "upload_bytes": UPLOAD + MIB},
        }
        gateway = Gateway(config, folder)
        headers = {"authorization": f"Bearer {KEY}"}
        try:
            with httpx.Client(
                base_url=gateway.url, headers=headers, timeout=60
            ) as http:
                yield Rig(gateway, sink, http)
        finally:
            gateway.stop()


@pytest.fixture
def rig(_rig: Rig) -> Rig:
    _rig.sink.forget()
    return _rig


class Growth:
    """The most that the worker and Envoy have grown by inside of it."""

    def __init__(self, gateway: Gateway) -> None:
        pids = (gateway.workers[0].pid, gateway.envoy.pid)
        self._processes = [psutil.Process(pid) for pid in pids]
        self._before = self._now()
        self.worst = 0
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch)

    def _now(self) -> list[int]:
        return [process.memory_info().rss for process in self._processes]

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            grown = zip(self._now(), self._before, strict=True)
            self.worst = max(self.worst, *(now - before for now, before in grown))

    def __enter__(self) -> Growth:  # noqa: PYI034
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._watcher.join()


def blocks(size: int, digest: Any) -> Iterator[bytes]:
    for _ in range(size // MIB):
        digest.update(BLOCK)
        yield BLOCK


def test_a_file_of_200_mb_is_held_by_nobody(rig):
    digest = hashlib.sha256()
    with Growth(rig.gateway) as growth:
        answer = rig.http.post(
            "/v1/files",
            content=blocks(UPLOAD, digest),
            headers={**FORM, "content-length": str(UPLOAD)},
        )
    seen = answer.json()["seen"]
    assert (seen["size"], seen["sha256"]) == (UPLOAD, digest.hexdigest())
    assert seen["headers"]["content-length"] == str(UPLOAD)
    assert growth.worst < GROWTH


@pytest.mark.parametrize("pause", [0, 0.0005])
def test_a_form_of_200_mb_passes_the_worker_and_leaves_nothing_there(rig, pause):
    """Also where the provider takes it more slowly than it comes."""
    size = UPLOAD if not pause else UPLOAD // 2
    digest = hashlib.sha256(HEAD.replace(b"mapped", b"whisper-1"))
    rig.sink.pause = pause

    def form() -> Iterator[bytes]:
        yield HEAD
        yield from blocks(size, digest)
        yield TAIL

    length = len(HEAD) + size + len(TAIL)
    with Growth(rig.gateway) as growth:
        answer = rig.http.post(
            "/v1/audio/transcriptions",
            content=form(),
            headers={**FORM, "content-length": str(length)},
        )
    seen = answer.json()["seen"]
    digest.update(TAIL)
    assert seen["sha256"] == digest.hexdigest()
    assert seen["headers"]["content-length"] == str(length + 3)
    assert seen["headers"]["content-type"] == FORM["content-type"]
    assert seen["headers"]["authorization"] == "Bearer sk-secret"
    assert growth.worst < GROWTH


def test_a_form_of_unknown_length_passes_too(rig):
    def form() -> Iterator[bytes]:
        yield HEAD
        rig.sink.begun.wait(10)  # it is on its way before it is whole
        yield b"x" * 300_000
        yield TAIL

    answer = rig.http.post("/v1/audio/translations", content=form(), headers=FORM)
    assert answer.json()["seen"]["size"] == len(HEAD) + 3 + 300_000 + len(TAIL)


def test_the_path_the_query_and_the_body_are_the_clients_own(rig):
    for method, path in (
        ("GET", "/v1/files?limit=2&after=a%2Fb"),
        ("DELETE", "/v1/files/file-1"),
        ("POST", "/v1/batches"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("GET", "/v1/chat/completions/c-1"),
        ("GET", "/v1/chat/completions?limit=2&metadata%5Ba%5D=b"),
        ("DELETE", "/v1/models/ft:gpt-4o-mini:acme::1"),
        ("POST", "/v1/skills/skill_1/versions"),
    ):
        body = b'{"b": 1.50,  "a":"\\u0041"}' if method == "POST" else None
        answer = rig.http.request(
            method, path, content=body, headers={"openai-beta": "assistants=v2"}
        )
        assert answer.status_code == 200, answer.text
        seen = answer.json()["seen"]
        assert (seen["method"], seen["path"]) == (method, path)
        assert seen["head"] == (body or b"").decode()
        assert seen["headers"]["openai-beta"] == "assistants=v2"
        assert seen["headers"]["authorization"] == "Bearer sk-secret"
        assert not [name for name in seen["headers"] if name.startswith("x-extproc")]
        assert answer.headers["x-extproc-provider"] == "main"
        assert answer.headers["x-upstream-request-id"] == "req-1"


@pytest.mark.parametrize("coding", ["gzip", "zstd", "br", "whatever"])
@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches", "/v1/messages/batches"])
def test_what_is_kept_may_be_sent_compressed_in_any_way(rig, path, coding):
    """Nobody here looks into it: the provider says whether it can."""
    body = bytes(range(256)) * 4000
    headers = {"content-encoding": coding, "x-extproc-provider": "main"}
    answer = rig.http.post(path, content=body, headers=headers)
    seen = answer.json()["seen"]
    assert (seen["size"], seen["sha256"]) == (
        len(body),
        hashlib.sha256(body).hexdigest(),
    )
    assert seen["headers"]["content-encoding"] == coding


def test_the_client_may_name_the_provider(rig):
    headers = {"x-extproc-provider": "other"}
    answer = rig.http.get("/v1/files/f-1", headers=headers)
    assert answer.json()["seen"]["path"] == "/other/v1/files/f-1"
    assert answer.headers["x-extproc-provider"] == "other"


def test_a_key_of_some_models_may_not_use_what_is_stored(rig):
    headers = {"authorization": f"Bearer {NARROW_KEY}"}
    answer = rig.http.post("/v1/files", content=b"x" * 1000, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "provider_not_allowed"
    assert rig.sink.seen == []


def test_what_cannot_be_reached_is_told_and_nothing_is_done_twice(rig):
    headers = {"x-extproc-provider": "refusing"}
    answer = rig.http.post("/v1/batches", json={"a": 1}, headers=headers)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "upstream_unreachable"


def test_a_failed_picture_is_not_made_again(rig):
    rig.sink.answer = lambda _: (500, "application/json", b'{"error":{"message":"no"}}')
    answer = rig.http.post("/v1/images/generations", json={"prompt": "x"})
    assert answer.status_code == 500
    assert [one["path"] for one in rig.sink.seen] == ["/v1/images/generations"]
    rig.sink.forget()
    asked = {"prompt": "x", "model": "unlucky"}
    answer = rig.http.post("/v1/images/generations", json=asked)
    assert answer.status_code == 200, answer.text
    assert [one["path"] for one in rig.sink.seen] == ["/other/v1/images/generations"]


def test_a_failed_upload_is_not_sent_again(rig):
    rig.sink.answer = lambda _: (503, "application/json", b'{"error":{"message":"no"}}')
    assert rig.http.post("/v1/files", content=b"x").status_code == 503
    form = HEAD + TAIL
    answer = rig.http.post("/v1/audio/transcriptions", content=form, headers=FORM)
    assert answer.status_code == 503
    assert len(rig.sink.seen) == 2


def test_an_answer_of_any_kind_passes_as_it_comes(rig):
    pieces = [os.urandom(5000) for _ in range(20)]
    rig.sink.answer = lambda _: (200, "audio/mpeg", pieces)
    asked = {"model": "mapped", "input": "Hi", "voice": "alloy"}
    answer = rig.http.post("/v1/audio/speech", json=asked)
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.content == b"".join(pieces)
    answer = rig.http.get("/v1/files/f-1/content")
    assert answer.content == b"".join(pieces)
    rig.sink.answer = lambda _: (200, "text/plain", b"1\n00:00 --> 00:01\nHi\n")
    answer = rig.http.post(
        "/v1/audio/transcriptions", content=HEAD + TAIL, headers=FORM
    )
    assert answer.text.endswith("Hi\n")


def test_sound_is_heard_while_it_is_made(rig):
    heard = threading.Event()

    def answer(_: Any) -> tuple[int, str, Iterator[bytes]]:
        def pieces() -> Iterator[bytes]:
            yield b"first"
            assert heard.wait(10)
            yield b"second"

        return 200, "audio/mpeg", pieces()

    rig.sink.answer = answer
    asked = {"model": "mapped", "input": "Hi", "voice": "alloy"}
    with rig.http.stream("POST", "/v1/audio/speech", json=asked) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"first"
        heard.set()
        assert b"".join(pieces) == b"second"


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("/v1/files", UPLOAD + 2 * MIB),
        ("/v1/audio/transcriptions", UPLOAD + 2 * MIB),
        ("/v1/messages/batches", UPLOAD + 2 * MIB),
        ("/v1/chat/completions", 2 * MIB),
    ],
)
def test_what_says_that_it_is_too_long_is_refused_unread(rig, path, size):
    lines = [
        f"POST {path} HTTP/1.1",
        "host: x",
        f"authorization: Bearer {KEY}",
        f"content-length: {size}",
        *(f"{name}: {value}" for name, value in FORM.items()),
        "\r\n",
    ]
    host, port = rig.gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as peer:
        peer.sendall("\r\n".join(lines).encode())
        head, _, body = peer.recv(65536).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413")
    error = json.loads(body)["error"]
    word = error["type" if path.startswith("/v1/messages") else "code"]
    assert word == "request_too_large"
    assert rig.sink.seen == []


def test_what_turns_out_to_be_too_long_is_cut_off(rig):
    def endless() -> Iterator[bytes]:
        yield HEAD
        for _ in range(400):
            yield BLOCK

    with contextlib.suppress(httpx.WriteError, httpx.RemoteProtocolError):
        answer = rig.http.post(
            "/v1/audio/transcriptions", content=endless(), headers=FORM
        )
        assert answer.status_code == 413
    assert all(one["size"] <= UPLOAD + 2 * MIB for one in rig.sink.seen)


def test_a_second_model_in_a_form_is_a_400_whatever_has_gone_before(rig):
    again = b'\r\n--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\ndall-e-2'

    def form() -> Iterator[bytes]:
        yield HEAD + b"x" * 100_000
        rig.sink.begun.wait(10)
        yield again + TAIL

    answer = rig.http.post("/v1/audio/transcriptions", content=form(), headers=FORM)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "duplicate_key"


def test_a_url_that_is_not_there_is_not_found(rig):
    for path in ("/v1/filesystem", "/v1/nothing", "/v1/responses/", "/v2/files"):
        answer = rig.http.post(path, content=b"{}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (
            404,
            "unknown_url",
        )
    answer = rig.http.post("/v1/messages/nothing", content=b"{}")
    assert answer.json()["error"]["type"] == "not_found_error"
    answer = rig.http.get("/v1/audio/transcriptions")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_client_that_leaves_takes_its_upload_with_it(rig):
    class Gone(Exception):
        pass

    def form() -> Iterator[bytes]:
        yield HEAD + b"x" * 100_000
        assert rig.sink.begun.wait(10)
        raise Gone

    with pytest.raises(Gone):
        rig.http.post("/v1/audio/transcriptions", content=form(), headers=FORM)
    assert json.dumps(rig.sink.seen) == "[]" or rig.sink.seen[0]["size"] < 200_000
