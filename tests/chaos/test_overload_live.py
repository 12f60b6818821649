"""A worker that has as much to do as it may: who is refused, with what, and how cheaply."""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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

    def work(self, asked: dict[str, int]) -> list[float]:
        """Return the seconds of CPU that 100 answers cost the worker, for each who asks.

        By turns, as the machine is not the same for long; the medians of twelve rounds.

        Args:
            asked: the status that each is told.
        """
        pid = self.gateway.workers[0].pid
        rounds = []
        with contextlib.ExitStack() as stack:
            clients = {name: stack.enter_context(self.client(name)) for name in asked}
            for _ in range(12):
                spent = []
                for name, status in asked.items():
                    before = on_cpu(pid)
                    for _ in range(100):
                        assert self.ask(name, http=clients[name]).status_code == status
                    spent.append(on_cpu(pid) - before)
                rounds.append(spent)
        return [statistics.median(one) for one in zip(*rounds, strict=True)]

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


def on_cpu(pid: int) -> float:
    """Return the seconds that a process has run; what `ps` shows is counted by hundredths.

    https://docs.kernel.org/scheduler/sched-stats.html
    """
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(one.read_text().split()[0]) for one in tasks) / 1e9


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


def test_a_refusal_costs_less_than_half_of_what_serving_does(crowd):
    """Measured are 0.43 to 0.45 of it."""
    crowd.hold(16)
    served, refused = crowd.work({"normal": 200, "low": 503})
    assert refused < served / 2
    assert crowd.ask("normal").status_code == 200
