"""More exchanges open at one time than Envoy's own breakers let through: 1,024."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator

import httpx
import pytest
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

from bench.application import Application
from tests.harness import KEY, Gateway, temporary_folder

pytestmark = pytest.mark.envoy

CLIENTS = 3
EACH = 400
"""Streams of a client: their requests fit the window that a connection begins with."""
DEFAULT_BREAKER = 1024
"""https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/circuit_breaker.proto"""

ASKED = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}'
ANSWER = {
    "id": "1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{
        "index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": "beside them"},
    }],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}  # fmt: skip


def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    body = {
        "id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }  # fmt: skip
    return b"data: %s\n\n" % json.dumps(body).encode()


class Holding(asyncio.Protocol):
    """A connection of a provider that begins every stream at once, and ends it when let."""

    def __init__(self, connections: list[Holding]) -> None:
        connections.append(self)
        self.held: list[int] = []
        self._asked: dict[int, bytes] = defaultdict(bytes)
        self._h2 = H2Connection(
            H2Configuration(client_side=False, header_encoding="utf-8")
        )
        # From the first frame on: what is set later holds when the peer has said so.
        self._h2.local_settings = Settings(
            client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: 1 << 16}
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(1 << 24)
        transport.write(self._h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, events.DataReceived):
                self._asked[event.stream_id] += event.data
            elif isinstance(event, events.StreamEnded):
                self._answer(event.stream_id)
        self._transport.write(self._h2.data_to_send())

    def _answer(self, stream: int) -> None:
        held = json.loads(self._asked.pop(stream)).get("stream")
        kind = "text/event-stream" if held else "application/json"
        self._h2.send_headers(stream, [(":status", "200"), ("content-type", kind)])
        if held:
            self.held.append(stream)
            self._h2.send_data(stream, chunk({"role": "assistant", "content": "so"}))
        else:
            self._h2.send_data(stream, json.dumps(ANSWER).encode(), end_stream=True)

    def let_go(self) -> None:
        for stream in self.held:
            end = chunk({"content": " it is"}) + chunk({}, "stop") + b"data: [DONE]\n\n"
            self._h2.send_data(stream, end, end_stream=True)
        self._transport.write(self._h2.data_to_send())


class Provider:
    """The connections that it was given, and the loop on which they live."""

    def __init__(self) -> None:
        self.connections: list[Holding] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._listens.wait(20)

    def _run(self) -> None:
        async def serve() -> asyncio.Server:
            return await self._loop.create_server(
                lambda: Holding(self.connections), "127.0.0.1", 0
            )

        server = self._loop.run_until_complete(serve())
        self.port = server.sockets[0].getsockname()[1]
        self._listens.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    @property
    def held(self) -> int:
        return sum(len(one.held) for one in self.connections)

    def let_go(self) -> None:
        for one in self.connections:
            self._loop.call_soon_threadsafe(one.let_go)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)


@pytest.fixture
def provider() -> Iterator[Provider]:
    one = Provider()
    yield one
    one.stop()


@pytest.fixture
def gateway(provider: Provider) -> Iterator[Gateway]:
    openai = {
        "type": "openai", "api_key": "sk-mock-a", "http2": True,
        "base_url": f"http://127.0.0.1:{provider.port}/v1",
    }  # fmt: skip
    config = {
        "providers": {"holding": openai},
        "models": {"m": {"targets": [{"provider": "holding"}]}},
    }
    with temporary_folder() as folder:
        running = Gateway(config, folder)
        yield running
        running.stop()


def counted(gateway: Gateway, name: str) -> dict[str, int]:
    """Return what Envoy counts under names that end so, by cluster."""
    told = gateway.admin(f"/stats?filter=^cluster\\..*{name}$").text
    found = re.findall(rf"^cluster\.(.+)\.{name}: (\d+)$", told, re.MULTILINE)
    return {cluster: int(value) for cluster, value in found}


def test_more_exchanges_are_open_at_once_than_envoys_default_breakers_allow(
    gateway: Gateway, provider: Provider
):
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(contextlib.closing(Application(gateway.url, KEY)))
            for _ in range(CLIENTS)
        ]
        for one in clients:
            one.ask(ASKED, EACH)
        for one in clients:
            one.read_until(lambda one: len(one.said.keys() | one.ended) == EACH)
        assert not any(one.broken for one in clients)
        assert [one.statuses for one in clients] == [
            dict.fromkeys(one.said, "200") for one in clients
        ]
        assert provider.held == CLIENTS * EACH
        active = counted(gateway, "upstream_rq_active")
        busy = {name for name, open_ in active.items() if open_ > DEFAULT_BREAKER}
        assert "sidecar" in busy
        assert len(busy) == 2, "and the provider's own"

        further = httpx.post(
            f"{gateway.url}/v1/chat/completions",
            json={"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
            headers={"authorization": f"Bearer {KEY}"},
            timeout=20,
        )
        assert further.status_code == 200
        assert further.json() == ANSWER
        assert not any(one.ended for one in clients)

        provider.let_go()
        for one in clients:
            one.read_until(lambda one: len(one.ended) == EACH)
            assert not one.broken
            whole = {said.count(b" it is") for said in one.said.values()}
            assert whole == {1}
            assert all(said.endswith(b"data: [DONE]\n\n") for said in one.said.values())
    for name in ("upstream_rq_pending_overflow", "upstream_rq_retry_overflow"):
        overflows = counted(gateway, name)
        assert busy <= overflows.keys()
        assert not any(overflows.values())
