"""What ``extproc explain`` shows is what a provider receives, byte for byte."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import msgspec
import pytest

from extproc.local.explain import APIS, MASK, Explanation, Try, explain
from tests.harness import FORGIVING, KEY, Gateway, temporary_folder

pytestmark = pytest.mark.envoy

KEYED = {"api_key": "sk-provider-0123456789"}
PLACE = {"project": "p-1", "location": "us-central1"}
CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
PROVIDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("gpt-4o", {**KEYED, "headers": {"x-org": "us"}}),
    "anthropic": ("claude-sonnet-4-5", KEYED),
    "gemini": ("gemini-2.5-flash", KEYED),
    "bedrock": (CLAUDE, {"region": "eu-west-1"}),
    "bedrock-anthropic": (CLAUDE, {"region": "eu-west-1"}),
    "vertex": ("gemini-2.5-flash", KEYED),
    "vertex-anthropic": ("claude-sonnet-4-5", {**KEYED, **PLACE}),
    "azure": ("gpt-4o", {**KEYED, "api_version": "2024-10-21"}),
    "mistral": ("mistral-large-latest", KEYED),
    "cohere": ("command-a-03-2025", KEYED),
    "perplexity": ("sonar", KEYED),
    "groq": ("llama-3.3-70b-versatile", KEYED),
    "vllm": ("qwen", {}),
    "voyage": ("voyage-3", KEYED),
    "jina": ("jina-reranker-v2", KEYED),
    "tei": ("bge", {}),
}
"""One of each format and each way to say who one is: type, model, settings."""

SIGNED = {"x-amz-date", "x-amz-content-sha256", "x-amz-security-token"}
ENVOYS = {"accept", "user-agent", "x-request-id", "host"}
"""What an attempt has besides: the client's own, and what HTTP needs."""

BODIES: dict[str, dict[str, Any]] = {
    "chat": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Grüße, 世界"},
        ],
        "temperature": 0.5,
        "logit_bias": {"50256": -100},
        "stream": True,
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "parameters": {"type": "object"}},
            }
        ],
    },
    "responses": {"input": "Hi", "instructions": "Be brief."},
    "messages": {
        "max_tokens": 9,
        "top_k": 3,
        "messages": [{"role": "user", "content": "Hi"}],
    },
    "completions": {"prompt": "Hi", "max_tokens": 9},
    "embeddings": {"input": ["Hi", "there"]},
    "rerank": {"query": "q", "documents": ["a", "b"]},
}


@dataclass
class Receiver:
    """A server that keeps what it is sent and answers 500: every attempt is made."""

    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        kept = self.received

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                kept.append((self.path, headers, body))
                self.send_response(500)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Place:
    gateway: Gateway
    receiver: Receiver
    http: httpx.Client

    def play(
        self, model: str, api: str, **more: Any
    ) -> tuple[Explanation, httpx.Response]:
        """Return what is said of a request, and what became of it."""
        body = json.dumps({"model": model, **BODIES[api], **more}).encode()
        self.receiver.received.clear()
        answer = self.http.post(
            APIS[api], content=body, headers={"content-type": "application/json"}
        )
        return explain(self.gateway.config, body, api=api), answer


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    receiver = Receiver()
    config = {
        "providers": {
            kind: {"type": kind, "base_url": f"{receiver.url}/{kind}", **more}
            for kind, (_, more) in PROVIDERS.items()
        },
        "models": {
            kind: {"targets": [{"provider": kind, "model": model}]}
            for kind, (model, _) in PROVIDERS.items()
        }
        | {
            "all": {
                "targets": [
                    {"provider": kind, "model": PROVIDERS[kind][0]}
                    for kind in ("anthropic", "openai", "gemini", "bedrock")
                ]
            }
        },
        **FORGIVING,
    }
    with temporary_folder() as folder:
        gateway = Gateway(config, folder)
        headers = {"authorization": f"Bearer {KEY}"}
        try:
            with httpx.Client(
                base_url=gateway.url, headers=headers, timeout=20
            ) as http:
                yield Place(gateway, receiver, http)
        finally:
            gateway.stop()
            receiver.stop()


def same(shown: Try, got: tuple[str, dict[str, str], bytes]) -> None:
    """Compare what was shown with what was received."""
    path, headers, body = got
    assert shown.url == f"http://{headers['host']}{path}"
    assert bytes(shown.body) == body
    for name, value in shown.headers.items():
        if MASK in value:
            assert headers[name].startswith(value.partition(MASK)[0])
        else:
            assert headers[name] == value, name
    assert headers.keys() - shown.headers.keys() <= ENVOYS | SIGNED
    assert bool(headers.keys() & SIGNED) == (
        "AWS4" in shown.headers.get("authorization", "")
    )


@pytest.mark.parametrize("api", BODIES)
def test_what_is_shown_is_what_a_provider_of_each_kind_receives(place, api):
    sent = 0
    for kind in PROVIDERS:
        shown, answer = place.play(kind, api)
        assert len(shown.attempts) == len(place.receiver.received), kind
        for one, got in zip(shown.attempts, place.receiver.received, strict=True):
            same(one, got)
            sent += 1
        if not shown.attempts:
            assert shown.status == answer.status_code
            assert msgspec.json.decode(shown.answer) == answer.json()
    assert sent >= {"embeddings": 4, "rerank": 3}.get(api, 8)


@pytest.mark.parametrize("api", ["chat", "messages", "responses"])
def test_each_attempt_of_a_chain_is_shown_as_it_is_made(place, api):
    shown, answer = place.play("all", api, stream=False)
    assert answer.status_code == 500
    assert len(place.receiver.received) == len(shown.attempts) >= 3
    for one, got in zip(shown.attempts, place.receiver.received, strict=True):
        same(one, got)
    dropped = {one.provider: one.dropped for one in shown.attempts}
    assert (dropped["openai"] != ()) == (api == "messages"), "top_k"
