"""WebSockets through a real Envoy, with a real client and a real server of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import Server, ServerConnection, serve

from tests.harness import KEY, Gateway, temporary_folder

pytestmark = pytest.mark.envoy

AUTHORIZED = {"authorization": f"Bearer {KEY}"}


@dataclass
class Talker:
    """A provider that says again what it hears."""

    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    server: Server | None = None

    def __call__(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        headers = {
            name.lower(): value for name, value in socket.request.headers.raw_items()
        }
        self.seen.append((socket.request.path, headers))
        for message in socket:
            socket.send(message if isinstance(message, bytes) else f"heard {message}")

    @staticmethod
    def protocol(_: ServerConnection, offered: Any) -> Any:
        return "realtime" if "realtime" in offered else None

    def __enter__(self) -> Talker:  # noqa: PYI034
        self.server = serve(
            self, "127.0.0.1", 0,
            subprotocols=["realtime"],  # type: ignore[list-item]
            select_subprotocol=self.protocol,
        )  # fmt: skip
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.server is not None
        self.server.shutdown()
        self.thread.join(5)

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.socket.getsockname()[1]}"


def config(url: str, **more: Any) -> dict[str, Any]:
    return {
        "providers": {
            "openai": {
                "type": "openai",
                "api_key": "sk-secret",
                "base_url": f"{url}/v1",
            }
        },
        "models": {
            "gpt-realtime": {"targets": [{"provider": "openai"}]},
            "mapped": {"targets": [{"provider": "openai", "model": "gpt-realtime-2"}]},
        },
        **more,
    }


@pytest.fixture(scope="module")
def talk() -> Iterator[tuple[str, Talker]]:
    with Talker() as talker, temporary_folder() as folder:
        gateway = Gateway(config(talker.url, realtime=True), folder)
        try:
            yield gateway.url.replace("http", "ws"), talker
        finally:
            gateway.stop()


def test_both_sides_talk(talk):
    url, talker = talk
    talker.seen.clear()
    with connect(
        f"{url}/v1/realtime?model=mapped", additional_headers=AUTHORIZED
    ) as ws:
        ws.send("one")
        assert ws.recv(timeout=10) == "heard one"
        ws.send(b"\x00" * 300_000)
        assert ws.recv(timeout=10) == b"\x00" * 300_000
        ws.send("two")
        assert ws.recv(timeout=10) == "heard two"
    ((path, headers),) = talker.seen
    assert path == "/v1/realtime?model=gpt-realtime-2"
    assert headers["authorization"] == "Bearer sk-secret"
    assert KEY not in str(headers)


def test_a_browser_brings_its_key_among_the_protocols(talk):
    url, talker = talk
    talker.seen.clear()
    offered: Any = ["realtime", f"openai-insecure-api-key.{KEY}", "openai-beta.x"]
    with connect(f"{url}/v1/realtime?model=gpt-realtime", subprotocols=offered) as ws:
        assert ws.subprotocol == "realtime"
        ws.send("hi")
        assert ws.recv(timeout=10) == "heard hi"
    ((_, headers),) = talker.seen
    assert headers["sec-websocket-protocol"] == "realtime, openai-beta.x"
    assert headers["authorization"] == "Bearer sk-secret"
    assert KEY not in str(headers)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/realtime?model=gpt-realtime", {}, 401),
        ("/v1/realtime?model=gpt-realtime", {"authorization": "Bearer no"}, 401),
        ("/v1/realtime", AUTHORIZED, 400),
        ("/v1/realtime?model=nobody", AUTHORIZED, 404),
        ("/v1/chat/completions", AUTHORIZED, 426),
        ("/v1/files", AUTHORIZED, 426),
    ],
)
def test_nobody_else_gets_a_socket(talk, path, headers, status):
    url, talker = talk
    talker.seen.clear()
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(f"{url}{path}", additional_headers=headers),
    ):
        pass
    assert caught.value.response.status_code == status
    assert b'"error"' in bytes(caught.value.response.body or b"")
    assert talker.seen == []


def test_a_plain_request_for_it_is_not_found(talk):
    url, _ = talk
    answer = httpx.get(
        url.replace("ws", "http", 1) + "/v1/realtime?model=mapped", headers=AUTHORIZED
    )
    assert answer.status_code == 404


def test_no_socket_is_served_unless_the_configuration_says_so(peers):
    url = peers.gateway.url.replace("http", "ws")
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(f"{url}/v1/realtime?model=gpt-4o", additional_headers=AUTHORIZED),
    ):
        pass
    assert caught.value.response.status_code == 426
