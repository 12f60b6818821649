"""Two gateways that share nothing but a Redis: what one has learned spares the other."""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from extproc.routing.trials import LEASE_SECONDS
from tests.chaos.provider import Conduct, Provider
from tests.harness import KEY, Gateway, temporary_folder, wait_for
from tests.redis_server import RedisServer

pytestmark = pytest.mark.envoy

WITHIN = 1.0
"""Seconds after which all nodes must know: `SHARE_SECONDS` and a loaded machine."""


@dataclass
class Pair:
    """Two nodes, two providers and what lies between the nodes."""

    nodes: list[Gateway]
    one: Provider
    two: Provider
    redis: RedisServer

    def ask(self, node: int, model: str) -> int:
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        return httpx.post(
            f"{self.nodes[node].url}/v1/chat/completions",
            headers={"authorization": f"Bearer {KEY}"},
            json=body,
            timeout=20,
        ).status_code

    def output(self) -> str:
        return "\n".join(node.output() for node in self.nodes)

    def send(self, node: int, model: str) -> socket.socket:
        """Send a request, and do not wait for the answer."""
        host, port = self.nodes[node].url.removeprefix("http://").split(":")
        said = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        body = json.dumps(said).encode()
        sock = socket.create_connection((host, int(port)))
        sock.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n"
            f"authorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        return sock

    def reaches_one(self, node: int, model: str) -> bool:
        """Say whether a request of this node is answered by the first provider."""
        before = self.one.asked[model]
        assert self.ask(node, model) == 200
        return self.one.asked[model] > before

    def leave_hanging(self, node: int, model: str) -> httpx.Client:
        """Let a request of this node hang at the first provider until it is closed."""
        client = httpx.Client(timeout=60)
        before = self.one.asked[model]
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}

        def ask() -> None:
            with contextlib.suppress(httpx.HTTPError):
                client.post(
                    f"{self.nodes[node].url}/v1/chat/completions",
                    headers={"authorization": f"Bearer {KEY}"},
                    content=json.dumps(body),
                )

        threading.Thread(target=ask, daemon=True).start()
        wait_for(lambda: self.one.asked[model] > before or None, self.output)
        return client


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    one, two, redis = Provider(), Provider(), RedisServer()

    def both(name: str, **more: object) -> dict[str, object]:
        targets = [{"provider": who, "model": name} for who in ("one", "two")]
        return {"targets": targets, **more}

    config = {
        "providers": {
            "one": {"type": "openai", "api_key": "sk-one", "base_url": one.url},
            "two": {"type": "openai", "api_key": "sk-two", "base_url": two.url},
            "keys": {
                "type": "openai",
                "api_keys": ["sk-a", "sk-b"],
                "base_url": one.url,
            },
        },
        "models": {
            "limited": both("limited"),
            "busy": both("busy", strategy="least_busy"),
            "alone": both("alone"),
            "tried": both("tried"),
            "keyed": {"targets": [{"provider": "keys", "model": "keyed"}]},
        },
        "routing": {"cooldown": {"seconds": 1, "longest": 1}},
        "accounting": {"store": redis.url},
        "keys": [],
    }
    with temporary_folder() as first, temporary_folder() as second:
        nodes = []
        try:
            nodes = [Gateway(config, folder) for folder in (first, second)]
            yield Pair(nodes, one, two, redis)
        finally:
            for node in nodes:
                node.stop()
            redis.stop()
            one.close()
            two.close()


def test_a_retry_after_that_one_node_was_told_is_respected_by_the_other(pair):
    pair.one.conduct["limited"] = Conduct(429, retry_after="60")
    assert pair.ask(0, "limited") == 200
    time.sleep(WITHIN)
    assert [pair.ask(1, "limited") for _ in range(10)] == [200] * 10
    assert (pair.one.asked["limited"], pair.two.asked["limited"]) == (1, 11)


def test_a_key_that_was_refused_at_one_node_is_benched_at_the_other(pair):
    pair.one.conduct["keyed"] = Conduct(refused_key="sk-b")
    assert [pair.ask(0, "keyed") for _ in range(4)] == [200] * 4
    assert pair.one.asked["keyed"] == 5
    time.sleep(WITHIN)
    assert [pair.ask(1, "keyed") for _ in range(6)] == [200] * 6
    assert pair.one.asked["keyed"] == 11


def test_the_least_busy_is_so_at_all_nodes(pair):
    pair.one.conduct["busy"] = Conduct(delay=60)
    held = pair.leave_hanging(0, "busy")
    try:
        time.sleep(WITHIN)
        before = pair.two.asked["busy"]
        assert [pair.ask(1, "busy") for _ in range(4)] == [200] * 4
        assert pair.two.asked["busy"] == before + 4
    finally:
        held.close()
        del pair.one.conduct["busy"]


def test_one_request_of_all_nodes_tries_what_was_cooling_down(pair):
    pair.one.conduct["tried"] = Conduct(503)
    assert [pair.ask(0, "tried") for _ in range(3)] == [200] * 3
    wait_for(lambda: not pair.reaches_one(1, "tried") or None, pair.output)
    pair.one.conduct["tried"] = Conduct(delay=3600)
    before, nodes = pair.one.asked["tried"], itertools.cycle((0, 1))

    def trial() -> socket.socket | None:
        sock: socket.socket = pair.send(next(nodes), "tried")
        while pair.one.asked["tried"] == before:
            if select.select([sock], [], [], 0.02)[0]:
                sock.close()
                return None
        return sock

    with wait_for(trial, pair.output):
        # The right to it is kept for as long as the trial takes, also beyond its lease.
        until = time.monotonic() + LEASE_SECONDS + 0.5
        while time.monotonic() < until:
            assert not pair.reaches_one(next(nodes), "tried")
        assert pair.one.asked["tried"] == before + 1
        del pair.one.conduct["tried"]
    # Its client has left: another one tries, and then everybody knows that all is well.
    for node in (0, 1):
        wait_for(lambda node=node: pair.reaches_one(node, "tried") or None, pair.output)


def test_without_redis_each_node_serves_by_its_own_view(pair):
    pair.redis.kill()
    try:
        pair.one.conduct["alone"] = Conduct(429, retry_after="60")
        began = time.monotonic()
        assert pair.ask(0, "alone") == 200
        time.sleep(WITHIN)
        assert pair.ask(1, "alone") == 200
        assert time.monotonic() - began < WITHIN + 4
        assert pair.one.asked["alone"] == 2, "the other node found out by itself"
        assert pair.ask(1, "alone") == 200
        assert pair.one.asked["alone"] == 2
    finally:
        pair.redis.restart()
