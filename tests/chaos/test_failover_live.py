"""Failover as Envoy does it: what is retried, what is not, and what is told to whom."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest

from extproc.exchange import operations
from extproc.exchange.completion import Completion
from extproc.exchange.operations import KEPT, REALTIME_PATH
from extproc.server.control_link import ControlLink
from tests.chaos.provider import Conduct, Provider
from tests.harness import KEY, Gateway, temporary_folder, wait_for

pytestmark = pytest.mark.envoy

SAY = [{"role": "user", "content": "Hi"}]

REFUSALS = {401: True, 402: True, 403: False}
"""What refuses a key, and whether the key is left alone then."""

WAITS = {
    "wait-date": "retry-after: {date}\r\n",
    "wait-ms": "retry-after-ms: 60000\r\n",
    "wait-reset": (
        "x-ratelimit-remaining-requests: 7\r\nx-ratelimit-reset-requests: 1s\r\n"
        "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 1m0s\r\n"
    ),
}
"""By model, how else a provider says to wait for a minute, which is over at {date}."""


class Control(threading.Thread):
    """Control's end of the link: it keeps records, and passes on what workers learn."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.records: list[Completion] = []
        self.link = ControlLink(path, self.records.extend)
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self.link.run())

    def run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self.join()
        self._loop.close()


@dataclass
class Stage:
    """Two providers behind a gateway of two workers."""

    gateway: Gateway
    control: Control
    one: Provider
    two: Provider
    http: httpx.Client

    def behave(self, model: str, one: Conduct, two: Conduct | None = None) -> None:
        self.one.conduct[model] = one
        self.two.conduct[model] = two or Conduct()

    def ask(
        self, model: str, path: str = "chat/completions", **body: Any
    ) -> httpx.Response:
        return self.http.post(
            f"/v1/{path}", json={"model": model, "messages": SAY, **body}
        )

    def records(self, model: str) -> list[Completion]:
        """Return how the exchanges for `model` went, in order."""
        found = tuple(self.control.records)
        return [one for one in found if one.virtual_model == model]

    @property
    def canceled(self) -> int:
        """Exchanges that ended as interrupted."""
        return sum(one.outcome == "canceled" for one in tuple(self.control.records))

    def asked(self, model: str) -> tuple[int, int]:
        return self.one.asked[model], self.two.asked[model]


def config(one: Provider, two: Provider) -> dict[str, Any]:
    def pair(name: str, **more: Any) -> dict[str, Any]:
        targets = [
            {"provider": "one", "model": name},
            {"provider": "two", "model": name},
        ]
        return {"targets": targets, **more}

    def alone(name: str, provider: str = "one", **more: Any) -> dict[str, Any]:
        return {"targets": [{"provider": provider, "model": name}], **more}

    edited = {
        "provider": "one",
        "model": "edited",
        "headers": {"x-team": "search"},
        "body": {
            "set": {"temperature": 0},
            "remove": ["user"],
            "default": {"top_p": 1},
        },
    }
    return {
        "providers": {
            "one": {"type": "openai", "api_key": "sk-one", "base_url": one.url},
            "two": {"type": "openai", "api_key": "sk-two", "base_url": two.url},
            "single": {"type": "openai", "api_key": "sk-single", "base_url": one.url},
            "keys": {
                "type": "openai",
                "api_keys": ["sk-a", "sk-b"],
                "base_url": one.url,
            },
            **{
                f"keys-{status}": {
                    "type": "openai",
                    "api_keys": ["sk-a", "sk-b"],
                    "base_url": one.url,
                }
                for status in REFUSALS
            },
            "probed": {
                "type": "openai",
                "api_key": "sk-p",
                "base_url": one.url,
                "probe": {"interval": 0.1, "timeout": 0.2, "path": "/alive"},
            },
            "cohere": {"type": "cohere", "api_key": "sk-c", "base_url": one.url},
            "anthropic": {"type": "anthropic", "api_key": "sk-d", "base_url": one.url},
            "flagged": {
                "type": "openai",
                "api_key": "sk-e",
                "base_url": one.url,
                "headers": {"anthropic-beta": "bleeding"},
            },
            "claude-two": {"type": "anthropic", "api_key": "sk-f", "base_url": two.url},
            "gone": {
                "type": "openai",
                "api_key": "sk-x",
                "base_url": "http://127.0.0.1:1/v1",
            },
        },
        "models": {
            "limited": pair("limited"),
            **{name: pair(name) for name in WAITS},
            "wait-alone": alone("wait-alone"),
            "second": pair("second"),
            "mistake": pair("mistake"),
            "missing": pair("missing"),
            "extra-status": pair("extra-status"),
            "long": alone("long", context_fallbacks=["stand-in"]),
            "long-down": alone("long-down", context_fallbacks=["stand-in"]),
            "long-gone": alone(
                "long-gone", provider="gone", context_fallbacks=["stand-in"]
            ),
            "one-key": {
                "targets": [
                    {"provider": "single", "model": "one-key"},
                    {"provider": "two", "model": "one-key"},
                ]
            },
            "probed": {
                "targets": [
                    {"provider": "probed", "model": "probed"},
                    {"provider": "two", "model": "probed"},
                ]
            },
            "two-keys": alone("two-keys", provider="keys"),
            "bled": {
                "targets": [
                    {"provider": "flagged", "model": "bled"},
                    {"provider": "claude-two", "model": "bled"},
                ]
            },
            "edited": {"targets": [edited]},
            "stand-in": alone("stand-in", provider="two"),
            "slow": alone("slow"),
            "ranking": alone("ranking", provider="cohere"),
            "claude": alone("claude", provider="anthropic"),
            "slow-*": alone("slow"),
            "status-*": {"targets": [{"provider": "one"}, {"provider": "two"}]},
            **{
                f"keyed-{status}": alone(f"keyed-{status}", provider=f"keys-{status}")
                for status in REFUSALS
            },
        },
        "routing": {"retry": {"statuses": [418]}},
        "realtime": True,
        "keys": [],
    }


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    one, two = Provider(), Provider()
    with temporary_folder() as folder:
        control = Control(folder / "control.sock")
        control.start()
        gateway = Gateway(config(one, two), folder, workers=2)
        try:
            wait_for(lambda: len(control.link.peers) == 2 or None, gateway.output)
            with httpx.Client(
                base_url=gateway.url,
                headers={"authorization": f"Bearer {KEY}"},
                timeout=20,
            ) as http:
                yield Stage(gateway, control, one, two, http)
        finally:
            gateway.stop()
            control.stop()
            one.close()
            two.close()


def test_a_retry_after_is_respected_by_all_workers_within_milliseconds(stage):
    stage.behave("limited", Conduct(429, retry_after="30"))
    assert stage.ask("limited").status_code == 200
    time.sleep(0.1)
    for _ in range(20):
        assert stage.ask("limited").status_code == 200
    assert stage.asked("limited") == (1, 21)
    told = {
        live.id: live
        for peer in stage.control.link.peers
        for live in peer.live.deployments
    }
    assert told["one/limited"].phase == "limited"


@pytest.mark.parametrize("model", list(WAITS))
def test_a_wait_is_respected_however_it_is_said(stage, model):
    date = formatdate(time.time() + 60, usegmt=True)
    stage.behave(model, Conduct(429, headers=WAITS[model].format(date=date)))
    assert stage.ask(model).status_code == 200
    wait_for(lambda: _told(stage).get(f"one/{model}"), stage.gateway.output)
    told = _told(stage)[f"one/{model}"]
    assert (told.phase, told.hard) == ("limited", True)
    assert 50 < told.cooling <= 60
    stage.behave("wait-alone", Conduct(headers=WAITS["wait-reset"]))
    last = stage.ask("wait-alone")
    assert last.status_code == 200
    assert not [name for name in last.headers if "ratelimit" in name]


def _told(stage):
    return {
        live.id: live
        for peer in stage.control.link.peers
        for live in peer.live.deployments
        if live.cooling
    }


def test_a_second_attempt_is_timed_from_its_own_beginning(stage):
    stage.behave("second", Conduct(500, delay=1.0), Conduct(delay=0.1))
    assert stage.ask("second").status_code == 200
    told = wait_for(
        lambda: (
            [
                live.total
                for peer in stage.control.link.peers
                for live in peer.live.deployments
                if live.id == "two/second" and live.total
            ]
            or None
        ),
        stage.gateway.output,
    )
    assert 0.05 < told[0] < 0.9


@pytest.mark.parametrize("status", [400, 404, 422])
def test_the_callers_own_mistake_is_answered_and_not_tried_elsewhere(stage, status):
    before = stage.asked("mistake")
    stage.behave("mistake", Conduct(status))
    assert stage.ask("mistake").status_code == status
    assert stage.asked("mistake") == (before[0] + 1, before[1])


def test_a_configured_status_is_tried_elsewhere(stage):
    stage.behave("extra-status", Conduct(418))
    assert stage.ask("extra-status").status_code == 200
    assert stage.asked("extra-status") == (1, 1)


def test_a_prompt_that_is_too_long_goes_to_its_fallback(stage):
    stage.behave("long", Conduct(400, message="Prompt is too long: 9 tokens"))
    answer = stage.ask("long")
    assert (answer.status_code, answer.headers["x-extproc-provider"]) == (200, "two")
    assert not {"x-gw-retry", "x-envoy-ratelimited"} & set(answer.headers)


def test_another_400_of_the_same_target_does_not(stage):
    before = stage.two.asked["stand-in"]
    stage.behave("long", Conduct(400, message="temperature is wrong"))
    assert stage.ask("long").status_code == 400
    assert stage.two.asked["stand-in"] == before


def test_what_is_down_does_not_go_to_the_fallback_for_long_prompts(stage):
    before = stage.two.asked["stand-in"]
    stage.behave("long-down", Conduct(500))
    answer = stage.ask("long-down")
    assert answer.status_code == 500
    assert "x-envoy-ratelimited" not in answer.headers
    assert stage.ask("long-gone").status_code == 503
    assert stage.two.asked["stand-in"] == before


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 520, 529])
def test_a_providers_failure_is_answered_by_the_next(stage, status):
    model = f"status-{status}"
    stage.behave(model, Conduct(status))
    assert stage.ask(model).status_code == 200
    assert stage.asked(model) == (1, 1)


@pytest.mark.parametrize(
    ("status", "benched"), [(401, True), (402, True), (403, False)]
)
def test_what_refuses_a_key_is_asked_again_with_the_next_key(stage, status, benched):
    """A 403 may be about the model or the caller's region: it says nothing of the key."""
    model = f"keyed-{status}"
    stage.behave(model, Conduct(refused_key="sk-a", refusal=status))
    assert [stage.ask(model).status_code for _ in range(8)] == [200] * 8
    # Each of the two workers finds out once; without a bench half of all begin there.
    assert (stage.one.asked[model] <= 8 + 2) is benched


def test_a_refused_key_is_tried_with_another_key_only(stage):
    stage.behave("one-key", Conduct(refused_key="sk-single"))
    assert stage.ask("one-key").status_code == 502
    assert stage.asked("one-key") == (1, 0)
    stage.behave("two-keys", Conduct(refused_key="sk-b"))
    for _ in range(6):
        assert stage.ask("two-keys").status_code == 200
    assert stage.one.asked["two-keys"] <= 8
    benches = [
        bench.cluster
        for peer in stage.control.link.peers
        for bench in peer.live.benches
    ]
    assert "keys.2" in benches


FORM = (
    b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nslow\r\n'
    b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    + b"x" * 5000
    + b"\r\n--b--\r\n"
)


@dataclass(frozen=True)
class Leaving:
    """A request whose client does not wait for the end."""

    path: str
    more: dict[str, Any] | None = None
    """Of the body; None: it is a form."""
    model: str = "slow"
    stream: bool = False
    begun: bool = False
    """The first of the answer has come."""
    part: float = 1.0
    """How much of the body is sent."""
    at: str = ""
    """The URL that the provider knows it by, where that is not its model."""
    headers: str = ""
    """More of them; lines."""

    @property
    def url(self) -> str:
        return self.path if self.path.startswith("/") else f"/v1/{self.path}"

    def __str__(self) -> str:
        words = [self.path, "stream" * self.stream, "begun" * self.begun]
        return " ".join([word for word in words if word] + ["part"] * (self.part < 1))

    def request(self) -> bytes:
        kind, body = "multipart/form-data; boundary=b", FORM
        if self.more is not None:
            said = {"model": self.model, **self.more}
            if self.stream:
                said["stream"] = True
            kind, body = "application/json", json.dumps(said).encode()
        method = "POST" if self.more != {} else "GET"
        head = f"{method} {self.url} HTTP/1.1\r\nhost: gateway\r\n{self.headers}"
        head += f"authorization: Bearer {KEY}\r\nx-extproc-provider: one\r\n"
        if method == "GET":
            return f"{head}\r\n".encode()
        head += f"content-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body[: int(len(body) * self.part)]


TALK = {"messages": SAY, "max_tokens": 5}
LEAVING = [
    *(
        Leaving(path, more, stream=stream, begun=begun)
        for path, more in (
            ("chat/completions", TALK),
            ("messages", TALK),
            ("responses", {"input": "Hi"}),
            ("completions", {"prompt": "Hi"}),
        )
        for stream, begun in ((False, False), (True, False), (True, True))
    ),
    Leaving("embeddings", {"input": "Hi"}),
    Leaving("rerank", {"query": "q", "documents": ["a", "b"]}, model="ranking"),
    Leaving("messages/count_tokens", TALK, model="claude"),
    Leaving("responses/input_tokens", {"input": "Hi"}),
    Leaving("moderations", {"input": "Hi"}),
    Leaving("images/generations", {"prompt": "a cat"}),
    Leaving("audio/speech", {"input": "Hi", "voice": "alloy"}),
    Leaving("/v2/rerank", {"query": "q", "documents": ["a", "b"]}, model="ranking"),
    Leaving("responses/compact", {"input": "Hi"}),
    Leaving("images/edits", {"prompt": "a cat", "images": []}),
    *(
        Leaving(f"{kind}", at=f"/v1/{kind}")
        for kind in (
            "audio/transcriptions", "audio/translations",
            "images/edits", "images/variations",
        )
    ),
    Leaving("files", at="/v1/files"),
    Leaving("files", at="/v1/files", part=0.5),
    Leaving("uploads/upload-1/parts", at="/v1/uploads/upload-1/parts"),
    Leaving("files/file-1/content", {}, at="/v1/files/file-1/content"),
    *(
        Leaving(path, {}, at=f"/v1/{path}")
        for path in (
            *KEPT, "messages/batches", "responses/resp-1", "chat/completions/chat-1"
        )
    ),
    Leaving(
        "realtime?model=slow", {}, at="/v1/realtime?model=slow",
        headers=(
            "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        ),
    ),
]  # fmt: skip


def test_everything_that_is_served_is_left_by_a_client():
    left = {one.url.partition("?")[0] for one in LEAVING}
    kept = {f"/v1/{name}" for name in (*KEPT, operations.BATCHES)}
    assert {*operations._RENDERED, *operations._FORMS, REALTIME_PATH} | kept <= left
    for name in operations.ANSWERS:
        assert any(url.startswith(f"/v1/{name}/") for url in left)


@pytest.mark.parametrize("leaving", LEAVING, ids=str)
def test_when_the_client_leaves_the_provider_is_let_go_within_a_second(stage, leaving):
    key = leaving.at or leaving.model
    stage.one.conduct[key] = Conduct(stall=60) if leaving.begun else Conduct(delay=60)
    stage.one.gone.clear()
    counter = stage.one.begun if leaving.part < 1 else stage.one.asked
    seen, before = counter[key], stage.canceled
    host, port = stage.gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(leaving.request())
        wait_for(lambda: counter[key] > seen or None, stage.gateway.output)
        if leaving.begun:
            sock.settimeout(5)
            assert sock.recv(100)
    left = time.monotonic()
    wait_for(lambda: stage.one.gone[key] or None, stage.gateway.output, 5)
    assert time.monotonic() - left < 1.0
    wait_for(lambda: stage.canceled > before or None, stage.gateway.output, 5)
    assert stage.canceled == before + 1


def test_a_target_has_its_own_headers_and_body(stage):
    assert stage.ask("edited", user="u", temperature=1).status_code == 200
    body, headers = stage.one.last["edited"]
    assert (body["temperature"], body["top_p"], "user" in body) == (0, 1, False)
    assert headers["x-team"] == "search"


@pytest.mark.parametrize("flag", [None, "theirs"])
@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_no_header_of_one_provider_bleeds_into_the_next(stage, path, flag):
    """Upstream filters edit the one map of headers that all attempts share."""
    stage.behave("bled", Conduct(500))
    stage.http.post(
        f"/v1/{path}",
        json={"model": "bled", "messages": SAY, "max_tokens": 9},
        headers={} if flag is None else {"anthropic-beta": flag},
    )
    first, second = (where.last["bled"][1] for where in (stage.one, stage.two))
    assert first["anthropic-beta"] == "bleeding"
    assert second.get("anthropic-beta") == flag
    assert (second["anthropic-version"], second["x-api-key"]) == ("2023-06-01", "sk-f")
    assert not {"authorization", "x-extproc-provider"} & set(second)


def _failed_probe(stage):
    """Say whether the provider's own address failed, not the one that always refuses."""
    flags = [
        line
        for line in stage.gateway.admin("/clusters").text.splitlines()
        if line.startswith("probed::")
        and "::health_flags::" in line
        and not line.startswith("probed::127.0.0.1:1::")
    ]
    return any("/failed_active_hc" in line for line in flags)


def test_a_provider_that_fails_its_probe_is_passed_over_at_once(stage):
    assert stage.ask("probed").status_code == 200
    assert stage.asked("probed") == (1, 0)
    stage.behave("probed", Conduct(delay=60))
    stage.one.conduct["/alive"] = Conduct(delay=60)
    try:
        wait_for(lambda: _failed_probe(stage) or None, stage.gateway.output)
        began = time.monotonic()
        assert stage.ask("probed").status_code == 200
        assert time.monotonic() - began < 5
        assert stage.asked("probed") == (1, 1)
    finally:
        del stage.one.conduct["/alive"]
