"""Every time that a provider has: what its client sees, who is asked next, what is recorded."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from extproc.exchange.completion import Completion
from tests.harness import FORGIVING, KEY, Gateway, Mock, temporary_folder
from tests.records import Records

pytestmark = pytest.mark.envoy

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
PROMPT = 30.0
"""Far below the gateway's own times (120 s and more), far above what is configured."""
SILENT = ("silent", "silent-itself", "bounded")
ENDLESS = {
    "stalled": "silent for too long",
    "stalled-itself": "silent for too long",
    "endless": "took too long",
    "endless-itself": "took too long",
}
FILLED = 4
"""Connections that Linux takes for a socket with a backlog of 0, and some more."""


ASKED = [
    *((model, path, False) for path in (CHAT, MESSAGES) for model in SILENT),
    *((model, path, True) for path in (CHAT, MESSAGES) for model in ENDLESS),
    *((model, CHAT, False) for model in ("silent-then", "deaf", "full", "dead-then")),
]
"""All at once: most of the time nothing happens, and that is what is waited for."""


@dataclass
class Rig:
    http: httpx.Client
    records: Records
    answers: dict[tuple[str, str, bool], httpx.Response] = field(default_factory=dict)

    def ask_all(self) -> None:
        with ThreadPoolExecutor(len(ASKED)) as pool:
            answers = pool.map(lambda asked: self._ask(*asked), ASKED)
            self.answers = dict(zip(ASKED, answers, strict=True))

    def _ask(self, model: str, path: str, stream: bool) -> httpx.Response:
        said = [{"role": "user", "content": "one two three"}]
        body = {"model": model, "max_tokens": 9000, "messages": said, "stream": stream}
        began = time.monotonic()
        answer = self.http.post(path, json=body)
        assert time.monotonic() - began < PROMPT
        return answer

    def answer(
        self, model: str, path: str = CHAT, *, stream: bool = False
    ) -> httpx.Response:
        return self.answers[model, path, stream]

    def record(self, answer: httpx.Response) -> Completion:
        return self.records.of(answer.headers["x-request-id"])


@contextlib.contextmanager
def deaf() -> Iterator[int]:
    """Listen, and never take a connection: TCP connects, TLS gets no answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def full() -> Iterator[int]:
    """Have a port that no new connection can be made to, nor is refused."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(FILLED):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def config(mock: Mock, deaf_port: int, full_port: int) -> dict[str, Any]:
    base = {"type": "openai", "api_key": "sk-mock-a", "base_url": f"{mock.url}/v1"}
    providers = {
        "healthy": base,
        "hasty": {**base, "timeouts": {"first_byte": 0.5}},
        "fidgety": {**base, "timeouts": {"idle": 1}},
        "bounded": {**base, "timeouts": {"total": 3}},
        "deaf": {
            **base,
            "base_url": f"https://127.0.0.1:{deaf_port}/v1",
            "timeouts": {"connect": 0.5},
        },
        "mute": {
            **base,
            "base_url": f"http://127.0.0.1:{deaf_port}/v1",
            "timeouts": {"first_byte": 0.5},
        },
        "full": {
            **base,
            "base_url": f"http://127.0.0.1:{full_port}/v1",
            "timeouts": {"connect": 0.5},
        },
    }
    silent, stalled = "gpt-4o[[mock: silence]]", "gpt-4o[[mock: stall-mid-stream]]"
    endless = 'gpt-4o[[mock: answer="' + "and on " * 4000 + '"]]'

    def one(provider: str, model: str = "gpt-4o", **times: Any) -> dict[str, Any]:
        return {"provider": provider, "model": model, "timeouts": times}

    models = {
        "silent": [one("hasty", silent)],
        "silent-then": [one("hasty", silent), one("healthy", first_byte=3)],
        "silent-itself": [one("healthy", silent, first_byte=0.5)],
        "stalled": [one("fidgety", stalled)],
        "stalled-itself": [one("healthy", stalled, idle=1)],
        "endless": [one("bounded", endless)],
        "endless-itself": [one("healthy", endless, total=3)],
        "bounded": [one("bounded", silent)],
        "deaf": [one("deaf")],
        "full": [one("full")],
        "dead-then": [one("deaf"), one("full"), one("healthy")],
    }
    return {
        "providers": providers,
        "models": {name: {"targets": targets} for name, targets in models.items()},
        **FORGIVING,
    }


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        mock = Mock(folder, pace_ms=20)
        stack.callback(mock.stop)
        ports = stack.enter_context(deaf()), stack.enter_context(full())
        records = stack.enter_context(Records(folder))
        gateway = Gateway(config(mock, *ports), folder)
        stack.callback(gateway.stop)
        headers = {"authorization": f"Bearer {KEY}"}
        http = stack.enter_context(
            httpx.Client(base_url=gateway.url, headers=headers, timeout=100)
        )
        made = Rig(http, records)
        made.ask_all()
        yield made


def said(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    return found


@pytest.mark.parametrize("model", SILENT)
def test_a_provider_that_never_answers_is_a_504_in_the_clients_words(rig, model):
    answer = rig.answer(model)
    assert (answer.status_code, said(answer)["code"]) == (504, "upstream_timeout")
    record = rig.record(answer)
    assert (record.status, record.outcome) == (504, "upstream_error")
    assert (record.error, record.attempts) == ("upstream_timeout", 1)
    other = rig.answer(model, MESSAGES)
    assert other.status_code == 504
    assert (other.json()["type"], said(other)["type"]) == ("error", "timeout_error")


def test_a_provider_that_never_answers_is_the_next_ones_turn(rig):
    answer = rig.answer("silent-then")
    assert answer.status_code == 200
    assert answer.headers["x-extproc-provider"] == "healthy"
    record = rig.record(answer)
    assert (record.outcome, record.attempts, record.cluster) == ("ok", 2, "healthy")
    (failed,) = record.failed_attempts
    assert (failed.cluster, failed.status) == ("hasty", 0)


def test_what_passes_unread_has_its_providers_time(rig):
    began = time.monotonic()
    answer = rig.http.get("/v1/files", headers={"x-extproc-provider": "mute"})
    assert time.monotonic() - began < PROMPT
    assert (answer.status_code, said(answer)["code"]) == (504, "upstream_timeout")
    record = rig.record(answer)
    assert (record.status, record.error) == (504, "upstream_timeout")


@pytest.mark.parametrize("model", ["deaf", "full"])
def test_a_connection_that_is_not_made_in_time_is_a_504(rig, model):
    answer = rig.answer(model)
    assert (answer.status_code, said(answer)["code"]) == (504, "upstream_timeout")
    record = rig.record(answer)
    assert (record.status, record.error) == (504, "upstream_timeout")


def test_connections_that_are_not_made_in_time_are_the_next_ones_turn(rig):
    answer = rig.answer("dead-then")
    assert answer.headers["x-extproc-provider"] == "healthy"
    record = rig.record(answer)
    assert [one.cluster for one in record.failed_attempts] == ["deaf", "full"]


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    lines = (line for line in answer.text.splitlines() if line.startswith("data: {"))
    return [json.loads(line.removeprefix("data: ")) for line in lines]


@pytest.mark.parametrize(("model", "words"), ENDLESS.items())
def test_a_stream_that_does_not_end_is_ended_with_an_event(rig, model, words):
    answer = rig.answer(model, stream=True)
    *_, last = events(answer)
    assert answer.status_code == 200
    assert last["error"]["code"] == "upstream_timeout"
    assert words in last["error"]["message"]
    record = rig.record(answer)
    assert (record.outcome, record.error) == ("upstream_error", "upstream_timeout")
    assert record.estimated
    *_, other = events(rig.answer(model, MESSAGES, stream=True))
    assert (other["type"], other["error"]["type"]) == ("error", "timeout_error")
    assert words in other["error"]["message"]
