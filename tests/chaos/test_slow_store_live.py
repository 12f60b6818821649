"""A store that is slow, or takes everything and says nothing: nobody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.chaos.provider import Conduct, Provider
from tests.harness import Gateway, temporary_folder, wait_for
from tests.redis_server import RedisServer

pytestmark = pytest.mark.envoy

LIMITED = "sk-limited-0123456789abcdef0123456789abcdef"
SLOW = 2.0
"""Seconds for each way to the store: no answer that comes sooner has waited for it."""


class SlowWay(threading.Thread):
    """TCP to the store's socket; each piece takes `seconds` each way."""

    def __init__(self, socket: str) -> None:
        super().__init__(daemon=True)
        self.seconds = 0.0
        self.port = 0
        self.pieces = 0
        """Sent to the store."""
        self._socket = socket
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.start()
        self._ready.wait(10)

    def run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._accept, "127.0.0.1", 0)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        server.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.join(10)

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there, store = await asyncio.open_unix_connection(self._socket)
        with contextlib.suppress(OSError):
            await asyncio.gather(
                self._carry(reader, store, count=True), self._carry(there, writer)
            )

    async def _carry(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        *,
        count: bool = False,
    ) -> None:
        while data := await source.read(65536):
            self.pieces += count
            await asyncio.sleep(self.seconds)
            sink.write(data)
        sink.close()


@dataclass
class Place:
    gateway: Gateway
    provider: Provider
    other: Provider
    way: SlowWay

    def ask(self, model: str) -> tuple[httpx.Response, float]:
        """Return the answer and the seconds that it took."""
        began = time.monotonic()
        answer = httpx.post(
            f"{self.gateway.url}/v1/chat/completions",
            headers={"authorization": f"Bearer {LIMITED}"},
            json={"model": model, "messages": [{"role": "user", "content": "Hi"}]},
            timeout=20,
        )
        return answer, time.monotonic() - began

    def said(self, text: str) -> int:
        """Return how often the workers have logged it."""
        logs = [worker.output() for worker in self.gateway.workers]
        return "".join(logs).count(text)

    @contextlib.contextmanager
    def slow(self) -> Iterator[None]:
        away = (
            self.said("the store is away"),
            self.said("the other nodes are not heard"),
        )
        back = self.said("the store is back"), self.said("the other nodes are heard")
        self.way.seconds = SLOW
        try:
            yield
        finally:
            self.way.seconds = 0.0
        workers = len(self.gateway.workers)
        assert self.said("the other nodes are not heard") - away[1] <= workers
        wait_for(
            lambda: (
                (
                    self.said("the store is back") - back[0]
                    == self.said("the store is away") - away[0]
                    and self.said("the other nodes are heard") - back[1]
                    == self.said("the other nodes are not heard") - away[1]
                )
                or None
            ),
            self.gateway.output,
        )


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    one, two, redis = Provider(), Provider(), RedisServer()
    way = SlowWay(str(redis.socket))

    def both(name: str) -> dict[str, object]:
        return {"targets": [{"provider": who, "model": name} for who in ("one", "two")]}

    config = {
        "providers": {
            "one": {"type": "openai", "api_key": "sk-one", "base_url": one.url},
            "two": {"type": "openai", "api_key": "sk-two", "base_url": two.url},
        },
        "models": {name: both(name) for name in ("plain", "limited", "failing")},
        "routing": {"cooldown": {"seconds": 300, "longest": 300}},
        "accounting": {"store": f"redis://127.0.0.1:{way.port}"},
        "keys": [
            {
                "id": "limited",
                "key": LIMITED,
                "rate_limits": {"requests_per_minute": 1000},
            }
        ],
    }
    with temporary_folder() as folder:
        gateway = Gateway(config, folder, workers=2)
        try:
            yield Place(gateway, one, two, way)
        finally:
            gateway.stop()
            way.stop()
            redis.stop()
            one.close()
            two.close()


def test_a_slow_store_delays_no_admission_no_choice_and_no_failover(place):
    place.provider.conduct["limited"] = Conduct(429, retry_after="60")
    place.provider.conduct["failing"] = Conduct(503)
    assert place.ask("plain")[0].status_code == 200
    before = place.way.pieces
    with place.slow():
        for model in ("plain", "limited", "failing") * 12:
            answer, seconds = place.ask(model)
            assert answer.status_code == 200
            assert seconds < SLOW
        assert place.way.pieces > before, "the store was asked"
    assert place.ask("plain")[0].status_code == 200
    # Each of the two workers has found out by itself; nothing was asked in vain since.
    assert place.provider.asked["limited"] <= 2
    assert place.provider.asked["failing"] <= 2 * 3
    assert place.said(" failed: ") == 0
    assert all(worker._process.poll() is None for worker in place.gateway.workers)
