"""A worker that has as much to do as it may: who is refused, with what, and how cheaply."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.chaos.provider import Conduct, Provider
from tests.harness import Gateway, temporary_folder, wait_for

pytestmark = pytest.mark.envoy

PLACES = 20
CLASSES = {"low": (-1, 16), "normal": (0, 19), "high": (5, 20)}
"""Priority of each key, and how many of the places are there for it."""
BODY = json.dumps(
    {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
).encode()


def secret(name: str) -> str:
    return f"sk-{name}-0123456789abcdef0123456789abcdef"


@dataclass
class Crowd:
    """A gateway of one worker, and clients whose answers do not come."""

    gateway: Gateway
    provider: Provider
    held: contextlib.ExitStack
    count: int = 0

    def hold(self, number: int) -> None:
        """Let `number` requests in all hang at the provider."""
        if number < self.count:
            self.held.close()
            self.count = 0
            wait_for(lambda: self.ask("low").status_code == 200 or None, str)
        reached = self.provider.asked["m"] + number - self.count
        for _ in range(number - self.count):
            self.held.enter_context(self.send("high", BODY))
        self.count = number
        wait_for(
            lambda: self.provider.asked["m"] == reached or None, self.gateway.output
        )

    def client(self, name: str) -> httpx.Client:
        return httpx.Client(
            base_url=self.gateway.url,
            headers={"authorization": f"Bearer {secret(name)}"},
            timeout=10,
            verify=False,
        )

    def send(self, name: str, body: bytes, length: int | None = None) -> socket.socket:
        host, port = self.gateway.url.removeprefix("http://").split(":")
        sock = socket.create_connection((host, int(port)), timeout=5)
        sock.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n"
            f"authorization: Bearer {secret(name)}\r\n"
            f"content-type: application/json\r\n"
            f"content-length: {len(body) if length is None else length}\r\n\r\n".encode()
            + body
        )
        return sock

    def ask(self, name: str, *, http: httpx.Client | None = None) -> httpx.Response:
        body = BODY.replace(b'"m"', b'"quick"')
        if http is not None:
            return http.post("/v1/chat/completions", content=body)
        with self.client(name) as once:
            return self.ask(name, http=once)


@pytest.fixture(scope="module")
def crowd() -> Iterator[Crowd]:
    provider = Provider()
    provider.conduct["m"] = Conduct(delay=3600)
    config = {
        "providers": {
            "one": {"type": "openai", "api_key": "sk-one", "base_url": provider.url}
        },
        "models": {name: {"targets": [{"provider": "one"}]} for name in ("m", "quick")},
        "routing": {"overload": {"max_in_flight": PLACES}},
        "keys": [
            {"id": name, "key": secret(name), "priority": priority}
            for name, (priority, _) in CLASSES.items()
        ],
    }
    with temporary_folder() as folder, contextlib.ExitStack() as held:
        gateway = Gateway(config, folder)
        try:
            yield Crowd(gateway, provider, held)
        finally:
            gateway.stop()
            provider.close()


def test_who_matters_least_is_refused_first_and_told_when_to_come_back(crowd):
    for full in (15, 16, 19, 20):
        crowd.hold(full)
        before = crowd.provider.asked["quick"]
        answers = {name: crowd.ask(name) for name in CLASSES}
        served = {name for name, one in answers.items() if one.status_code == 200}
        assert served == {name for name, (_, room) in CLASSES.items() if full < room}
        assert crowd.provider.asked["quick"] == before + len(served)
        for name in CLASSES.keys() - served:
            refused = answers[name]
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert refused.json()["error"]["code"] == "gateway_unavailable"


def test_a_refusal_waits_for_no_body(crowd):
    """Of 30 MB that are announced not one byte has been sent: the headers are enough."""
    crowd.hold(PLACES)
    with crowd.send("normal", b"", length=30_000_000) as sock:
        assert sock.recv(100).startswith(b"HTTP/1.1 503 ")
