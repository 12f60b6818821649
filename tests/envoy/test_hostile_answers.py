"""A provider that means harm: it may spoil its own answer, and nothing else.

It answers whatever bytes it is told, through a real Envoy, where its words pass and where
they are translated. A record comes of each, and the request after it is served.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socketserver
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import brotli
import httpx
import pytest
import zstandard

from extproc.config.compile.attempt import LONGEST_ID
from extproc.errors import MOST_WORD
from extproc.routing.pick import MOST_NAME
from tests.harness import FORGIVING, KEY, Gateway, temporary_folder
from tests.records import Records

pytestmark = pytest.mark.envoy

SECRET = "sk-provider-secret-0123456789"
CHAT = "/v1/chat/completions"
MODELS = ("passes", "translated")
MOST_ANSWER = 4 << 20

OPENAI: Any = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{
        "index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": "hi"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}  # fmt: skip
ANTHROPIC: Any = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
    "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn",
    "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 2},
}  # fmt: skip
ANSWERS = {"passes": OPENAI, "translated": ANTHROPIC}


class _Handler(socketserver.StreamRequestHandler):
    server: Villain

    def handle(self) -> None:
        length = 0
        while (line := self.rfile.readline()).strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        self.rfile.read(length)
        with contextlib.suppress(OSError):
            self.wfile.write(self.server.answer)


class Villain(socketserver.ThreadingTCPServer):
    """Answers `answer`, and closes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = b""
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class World(NamedTuple):
    client: httpx.Client
    villain: Villain
    records: Records

    def ask(self, model: str, answer: bytes, **more: Any) -> tuple[httpx.Response, Any]:
        """Return what comes of `answer`, and its record."""
        self.villain.answer = answer
        said = [{"role": "user", "content": "hi"}]
        body = {"model": model, "messages": said, "max_tokens": 9, **more}
        got = self.client.post(CHAT, json=body)
        return got, self.records.of(got.headers["x-request-id"])

    def serves(self, model: str) -> None:
        got, record = self.ask(model, answer(json.dumps(ANSWERS[model]).encode()))
        assert got.json()["choices"][0]["message"]["content"] == "hi"
        assert record.usage.input_tokens == 3


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with temporary_folder() as folder, Records(folder) as records:
        villain = Villain()
        base = {
            "api_key": SECRET,
            "base_url": f"http://127.0.0.1:{villain.server_address[1]}/v1",
        }
        config = {
            "providers": {
                "passes": {"type": "openai", **base},
                "translated": {"type": "anthropic", **base},
            },
            "models": {name: {"targets": [{"provider": name}]} for name in MODELS},
            **FORGIVING,
        }
        gateway = Gateway(config, folder, limits={"max_answer_bytes": MOST_ANSWER})
        headers = {"authorization": f"Bearer {KEY}"}
        try:
            with httpx.Client(
                base_url=gateway.url, headers=headers, timeout=20
            ) as client:
                yield World(client, villain, records)
        finally:
            gateway.stop()
            villain.shutdown()
            villain.server_close()


def answer(body: bytes, *headers: str, status: str = "200 OK", kind: str = "") -> bytes:
    lines = [
        f"HTTP/1.1 {status}", f"content-type: {kind or 'application/json'}",
        f"content-length: {len(body)}", "connection: close", *headers, "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode("latin-1") + body


STEERING = {
    "x-envoy-ratelimited": "true",
    "x-envoy-immediate-health-check-fail": "true",
    "x-gw-retry": "1",
    "x-extproc-cost": "0",
    "x-extproc-dropped": "everything",
    "set-cookie": "session=1",
    "location": "http://169.254.169.254/",
    "refresh": "0; url=http://evil.example/",
    "access-control-allow-origin": "*",
    "clear-site-data": '"*"',
    "content-security-policy": "script-src *",
    "service-worker-allowed": "/",
    "www-authenticate": "Basic realm=x",
    "proxy-authenticate": "Basic realm=x",
    "x-accel-redirect": "/etc/passwd",
    "x-sendfile": "/etc/passwd",
    "grpc-status": "13",
    "authorization": f"Bearer {SECRET}",
    "x-api-key": SECRET,
    "cookie": "a=b",
}
"""What would tell Envoy, a proxy in front of it, or a browser, to do something."""


@pytest.mark.parametrize(
    "status", ["200 OK", "201 Created", "400 No", "401 No", "429 No"]
)
@pytest.mark.parametrize("model", MODELS)
def test_no_header_of_a_provider_steers_anybody(world, model, status):
    body = json.dumps(ANSWERS[model] if status[0] == "2" else {}).encode()
    own = ("x-extproc-provider: another", "x-request-id: another", "server: another")
    said = (*own, *(f"{name}: {value}" for name, value in STEERING.items()))
    got, record = world.ask(model, answer(body, *said, status=status))
    assert not STEERING.keys() & got.headers.keys()
    assert got.headers["x-extproc-provider"] == model
    assert got.headers["server"] == "extproc"
    assert SECRET not in str(got.headers)
    assert record.attempts == 1
    world.serves(model)


COUNTS = [-1, -1_000_000, 10**9 + 1, 1 << 53, 1 << 63, 10**30]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("model", MODELS)
def test_a_count_that_cannot_be_is_not_believed(world, model, count):
    """Nobody's budget grows by it, and the record arrives: what is too large for the link
    would else be in the way of every other."""
    told = dict.fromkeys(ANSWERS[model]["usage"], count)
    body = json.dumps({**ANSWERS[model], "usage": told}).encode()
    got, record = world.ask(model, answer(body))
    assert got.status_code == 200
    assert record.estimated
    assert 0 < record.usage.input_tokens < 1_000
    assert 0 < record.usage.output_tokens < 1_000


def events(count: int) -> bytes:
    """Write a stream of Anthropic's that counts so."""
    start = {**ANTHROPIC, "content": [], "usage": {"input_tokens": count}}
    text = "\n\ndata: [DONE]\n\nevent: evil\r\rid: 1\r\n\u2028"
    said: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**start, "id": "m\n\ndata: x"}},
        {"type": "content_block_start", "index": 0,
         "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "evil\nreason"},
         "usage": {"output_tokens": count}},
        {"type": "message_stop"},
    ]  # fmt: skip
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (one["type"].encode(), json.dumps(one).encode())
        for one in said
    )


@pytest.mark.parametrize("count", [-5, 10**30])
def test_what_a_stream_says_stays_in_its_event(world, count):
    got, record = world.ask(
        "translated", answer(events(count), kind="text/event-stream"), stream=True
    )
    lines = [line for line in got.text.split("\n") if line]
    assert lines[-1] == "data: [DONE]"
    assert lines.count("data: [DONE]") == 1
    for line in lines[:-1]:
        json.loads(line.removeprefix("data: "))
    assert record.estimated
    assert record.usage.output_tokens >= 0


SQUEEZE = {
    "gzip": gzip.compress,
    "br": lambda data: brotli.compress(data, quality=1),
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("coding", SQUEEZE)
@pytest.mark.parametrize("model", MODELS)
def test_a_bomb_is_let_down_at_the_limit(world, model, coding, stream):
    kind = "text/event-stream" if stream else "application/json"
    bomb = SQUEEZE[coding](b"\n" * (8 * MOST_ANSWER))
    got, record = world.ask(
        model, answer(bomb, f"content-encoding: {coding}", kind=kind), stream=stream
    )
    assert len(got.content) < 1_000
    assert "cannot be decompressed" in got.text
    assert record.error == "bad_upstream_answer"


MALFORMED = {
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 5\r\n\r\n{}abc",
    "a length and chunks": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n"
        b"2\r\n{}\r\n0\r\n\r\n"),
    "no status": answer(b"{}", status="-1 x"),
    "another protocol": answer(b"{}", "upgrade: h2c", status="101 Switching"),
    "nothing but a begin": answer(b"{}", status="100 Continue"),
    "a zero in a header": answer(b"{}", "x-a: a\0b"),
    "a hundred kilobytes of header": answer(b"{}", f"x-a: {'a' * 100_000}"),
    "300 headers": answer(b"{}", *(f"x-a{n}: a" for n in range(300))),
    "no HTTP": b"\x00\xff\x00 no HTTP\r\n\r\n",
    "a status of its own": answer(b"{}", status="999 x"),
    "no body": answer(b"", status="304 x"),
    "deep": answer(b"[" * 100_000 + b"]" * 100_000),
    "UTF-16": answer(json.dumps(OPENAI).encode("utf-16")),
    "no object": answer(b"null"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
@pytest.mark.parametrize("model", MODELS)
def test_what_is_no_answer_is_an_error_of_the_provider(world, model, case):
    got, record = world.ask(model, MALFORMED[case])
    assert got.status_code in {502, 503}
    assert got.json()["error"]["message"]
    assert record.outcome == "upstream_error"


def test_a_long_id_is_cut(world):
    """Told twice at its length the answer's headers were more than Envoy lets by."""
    got, record = world.ask("passes", answer(b"{}", f"x-request-id: {'a' * 50_000}"))
    assert (got.status_code, record.status) == (200, 200)
    assert got.headers["x-upstream-request-id"] == "a" * LONGEST_ID


def test_the_second_of_two_answers_is_nobodys(world):
    first, second = (
        answer(json.dumps({**OPENAI, "id": name}).encode()) for name in ("1", "2")
    )
    got, _ = world.ask("passes", first + second)
    assert got.json()["id"] == "1"
    world.serves("passes")


@pytest.mark.parametrize("model", MODELS)
def test_what_is_remembered_of_its_words_is_short_and_has_no_secret(world, model):
    named = json.dumps({**ANSWERS[model], "model": "m\n" + "x" * 100_000}).encode()
    _, record = world.ask(model, answer(named))
    assert len(record.response_model) == MOST_NAME
    words = {"type": f"{SECRET} " + "x" * 9_000, "code": SECRET, "message": SECRET}
    error = json.dumps({"type": "error", "error": words}).encode()
    got, record = world.ask(model, answer(error, status="400 x"))
    assert SECRET not in got.text + (record.error or "")
    assert len(got.json()["error"]["type"]) <= MOST_WORD
