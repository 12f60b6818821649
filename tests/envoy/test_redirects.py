"""A provider that sends us elsewhere is not followed, and nobody is shown where to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import openai
import pytest

from tests.harness import FORGIVING, KEY, Gateway, temporary_folder
from tests.records import Records
from tests.sink import Sink

pytestmark = pytest.mark.envoy

SECRET = "sk-provider-secret"
SAY = [{"role": "user", "content": "hi"}]
CHAT = {"model": "gpt-4o", "messages": SAY, "max_tokens": 9}


class _Handler(BaseHTTPRequestHandler):
    server: Elsewhere
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b"Moved. <a href='elsewhere'>There</a>"
        self.send_response(self.server.status)
        self.send_header("location", f"{self.server.there}{self.path}")
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _serve  # noqa: N815  the library's

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Elsewhere(ThreadingHTTPServer):
    """Answers everything with a redirect to `there`."""

    daemon_threads = True

    def __init__(self, there: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.there = there
        self.status = 307
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[httpx.Client, Elsewhere, Sink, Records]]:
    with Sink() as sink, temporary_folder() as folder, Records(folder) as records:
        moved = Elsewhere(sink.url)
        url = f"http://127.0.0.1:{moved.server_address[1]}"
        base = {"api_key": SECRET, "base_url": f"{url}/v1"}
        config = {
            "providers": {
                "moved": {"type": "openai", **base},
                "claude": {"type": "anthropic", **base},
            },
            "models": {
                "gpt-4o": {"targets": [{"provider": "moved"}]},
                "claude": {"targets": [{"provider": "claude"}]},
                "tts-1": {"targets": [{"provider": "moved"}]},
                "whisper-1": {"targets": [{"provider": "moved"}]},
            },
            **FORGIVING,
        }
        gateway = Gateway(config, folder)
        headers = {"authorization": f"Bearer {KEY}"}
        try:
            with httpx.Client(
                base_url=gateway.url, headers=headers, timeout=20, follow_redirects=True
            ) as client:
                yield client, moved, sink, records
        finally:
            gateway.stop()
            moved.shutdown()
            moved.server_close()


FORM: Any = {"files": {"file": ("a.wav", b"RIFF")}, "data": {"model": "whisper-1"}}
ASKED = [
    *(
        ("moved", "/v1/chat/completions", {"json": CHAT}, s)
        for s in (301, 302, 307, 308)
    ),
    ("moved", "/v1/chat/completions", {"json": CHAT | {"stream": True}}, 302),
    ("moved", "/v1/messages", {"json": CHAT}, 307),
    ("claude", "/v1/messages", {"json": CHAT | {"model": "claude"}}, 308),
    ("claude", "/v1/chat/completions", {"json": CHAT | {"model": "claude"}}, 303),
    (
        "moved",
        "/v1/audio/speech",
        {"json": {"model": "tts-1", "input": "hi", "voice": "alloy"}},
        302,
    ),
    ("moved", "/v1/audio/transcriptions", FORM, 307),
    ("moved", "/v1/files", {}, 302),
]


@pytest.mark.parametrize(("provider", "path", "more", "status"), ASKED)
def test_it_is_a_502_that_names_the_provider(world, provider, path, more, status):
    client, moved, sink, records = world
    moved.status = status
    answer = client.request("POST" if more else "GET", path, **more)
    assert answer.history == []
    assert answer.status_code == 502
    assert "location" not in answer.headers
    said = answer.json()
    assert (said.get("type") == "error") == (path == "/v1/messages")
    assert repr(provider) in said["error"]["message"]
    assert str(status) in said["error"]["message"]
    assert sink.seen == []
    for secret in (SECRET, KEY, sink.url):
        assert secret not in answer.text + str(answer.headers)
    record = records.of(answer.headers["x-request-id"])
    assert (record.status, record.error) == (502, "bad_upstream_answer")


def test_openais_client_is_told_and_led_nowhere(world):
    client, moved, sink, _ = world
    moved.status = 307
    with openai.OpenAI(
        base_url=f"{client.base_url}/v1", api_key=KEY, max_retries=0
    ) as sdk:
        told: Any = sdk.chat.completions
        with pytest.raises(openai.InternalServerError, match="redirect"):
            told.create(model="gpt-4o", messages=SAY)
    assert sink.seen == []
