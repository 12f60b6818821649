"""WebSockets through a real Envoy, with a real client and a real server of them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import openai
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import Server, ServerConnection, serve

from extproc.formats.openai_realtime import WRITTEN
from extproc.usage import Usage
from tests.harness import KEY, NARROW_KEY, Gateway, temporary_folder, wait_for
from tests.records import Records

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
            if isinstance(message, str) and message.startswith("{"):
                self.answer(socket, json.loads(message))
            else:
                socket.send(
                    message if isinstance(message, bytes) else f"heard {message}"
                )

    @staticmethod
    def answer(socket: ServerConnection, event: dict[str, Any]) -> None:
        """Speak as OpenAI does, with an answer that is long enough to be cut up."""
        if event["type"] == "session.update":
            usage = {"type": "tokens", "input_tokens": 8, "output_tokens": 3}
            updated = {"type": "session.updated", "session": event["session"]}
            for one in (updated, {"type": WRITTEN, "transcript": "hi", "usage": usage}):
                socket.send(json.dumps({"event_id": "event_1", **one}))
            return
        assert event["type"] == "response.create"
        response = {"id": "resp_1", "object": "realtime.response", "output": []}
        usage = {"total_tokens": 12, "input_tokens": 5, "output_tokens": 7}
        said: tuple[dict[str, Any], ...] = (
            {"type": "response.created", "response": response},
            {"type": "response.output_text.delta", "delta": "so it is " * 9000},
            {
                "type": "response.done",
                "response": {**response, "status": "completed", "usage": usage},
            },
        )
        for number, one in enumerate(said):
            socket.send(json.dumps({"event_id": f"event_{number}", **one}))

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
            },
            "azure": {
                "type": "azure",
                "api_key": "azure-secret",
                "base_url": f"{url}/azure",
                "api_version": "2025-04-01-preview",
            },
            "dead": {
                "type": "openai",
                "api_key": "sk-x",
                "base_url": "http://127.0.0.1:1/v1",
            },
        },
        "models": {
            "deployed": {"targets": [{"provider": "azure", "model": "talk"}]},
            "dead": {"targets": [{"provider": "dead"}]},
            "gpt-4o": {"targets": [{"provider": "openai"}]},
            "gpt-realtime": {"targets": [{"provider": "openai"}]},
            "mapped": {"targets": [{"provider": "openai", "model": "gpt-realtime-2"}]},
        },
        **more,
    }


@pytest.fixture(scope="module")
def session() -> Iterator[tuple[str, Talker, Records, Gateway]]:
    with Talker() as talker, temporary_folder() as folder, Records(folder) as records:
        gateway = Gateway(config(talker.url, realtime=True), folder)
        try:
            yield gateway.url.replace("http", "ws"), talker, records, gateway
        finally:
            gateway.stop()


@pytest.fixture
def talk(session: Any) -> tuple[str, Talker]:
    url, talker, *_ = session
    return url, talker


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


def raw(url: str, *lines: str, body: bytes = b"", key: str = KEY) -> bytes:
    """Return the head of what comes of a handshake that no library would send."""
    host, _, port = url.removeprefix("ws://").partition(":")
    head = (
        "GET /v1/realtime?model=gpt-realtime HTTP/1.1", "Host: x",
        f"Authorization: Bearer {key}", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *lines, "", "",
    )  # fmt: skip
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall("\r\n".join(head).encode() + body)
        heard = b""
        while b"\r\n\r\n" not in heard and (more := connection.recv(65536)):
            heard += more
    return heard


UPGRADE = "Upgrade: websocket"


def test_no_other_way_leads_through_the_handshake(talk):
    url, talker = talk
    talker.seen.clear()
    smuggled = b"GET /v1/files HTTP/1.1\r\nHost: x\r\n\r\n"
    for status, lines in {
        b"404": ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: "),
        b"426": ("Connection: Upgrade", "Upgrade: websocket, h2c"),
        b"400": ("Connection: Upgrade", UPGRADE, f"Content-Length: {len(smuggled)}"),
    }.items():  # fmt: skip
        assert raw(url, *lines, body=smuggled).split()[1] == status, lines
    assert talker.seen == []


def test_a_websocket_over_http_2_is_refused(talk):
    url, talker = talk
    talker.seen.clear()
    h2 = H2Connection(H2Configuration(validate_outbound_headers=False))
    h2.initiate_connection()
    host, _, port = url.removeprefix("ws://").partition(":")
    asked = {
        ":method": "CONNECT", ":protocol": "websocket", ":scheme": "http",
        ":authority": "x", ":path": "/v1/realtime?model=gpt-realtime", **AUTHORIZED,
    }  # fmt: skip
    h2.send_headers(1, list(asked.items()))
    said: list[Any] = []
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(h2.data_to_send())
        while more := connection.recv(65536):
            said += h2.receive_data(more)
    assert not [one for one in said if isinstance(one, ResponseReceived)]
    assert talker.seen == []


def test_what_a_client_says_of_its_connection_and_account_stays_with_it(session):
    url, talker, _, gateway = session
    talker.seen.clear()
    other = "sk-another-key-0123456789abcdef"
    heard = raw(
        url, "Connection: Upgrade, authorization", UPGRADE,
        "Sec-WebSocket-Extensions: permessage-deflate",
        f"Sec-WebSocket-Protocol: realtime, OpenAI-Insecure-API-Key.{other}",
    )  # fmt: skip
    assert heard.split()[1] == b"101"
    # It has answered; it notes what it saw a moment later.
    ((_, headers),) = wait_for(lambda: tuple(talker.seen) or None, gateway.output)
    assert headers["connection"] == "upgrade"
    assert headers["authorization"] == "Bearer sk-secret"
    assert headers["sec-websocket-protocol"] == "realtime"
    assert "sec-websocket-extensions" not in headers
    plain = httpx.get(
        url.replace("ws", "http", 1) + "/v1/files",
        headers=AUTHORIZED
        | {"sec-websocket-protocol": f"openai-insecure-api-key.{other}"},
    )
    assert plain.status_code >= 400
    written = "".join(log.read_text() for log in gateway.folder.glob("*.log"))
    assert other not in str(talker.seen) + written
    assert KEY not in written


def test_a_plain_request_for_it_is_not_found(talk):
    url, _ = talk
    answer = httpx.get(
        url.replace("ws", "http", 1) + "/v1/realtime?model=mapped", headers=AUTHORIZED
    )
    assert answer.status_code == 404


@pytest.mark.filterwarnings("ignore:connect.. must be used as:DeprecationWarning")
def test_openais_client_talks_and_every_answer_is_metered(session):
    url, talker, records, _ = session
    talker.seen.clear()
    client = openai.OpenAI(
        api_key=KEY, base_url="http://unused.invalid/v1", websocket_base_url=f"{url}/v1"
    )
    with client, client.realtime.connect(model="mapped") as connection:
        for _ in range(2):
            connection.response.create()
            seen = [connection.recv().type for _ in range(3)]
            assert seen == [
                "response.created", "response.output_text.delta", "response.done",
            ]  # fmt: skip
    ((path, headers),) = talker.seen
    assert path == "/v1/realtime?model=gpt-realtime-2"
    assert "sec-websocket-extensions" not in headers
    record = records.latest("realtime")
    assert record.usage == Usage(input_tokens=10, output_tokens=14)
    assert (record.status, record.outcome, record.estimated) == (101, "ok", False)
    assert record.request_model == "gpt-realtime-2"


def test_what_is_written_down_is_metered_and_by_one_model_alone(session):
    url, talker, records, _ = session
    talker.seen.clear()
    asked = f"{url}/v1/realtime?intent=transcription&model=gpt-4o"

    def update(model: str) -> str:
        heard = {"input": {"transcription": {"model": model}}}
        wanted = {"type": "transcription", "audio": heard}
        return json.dumps({"type": "session.update", "session": wanted})

    with connect(asked, additional_headers=AUTHORIZED) as ws:
        ws.send(update("gpt-4o"))
        assert [json.loads(ws.recv(timeout=10))["type"] for _ in range(2)] == [
            "session.updated", WRITTEN,
        ]  # fmt: skip
        ws.send(update("dearer"))
        error = json.loads(ws.recv(timeout=10))["error"]
        assert error["code"] == "model_not_found"
        with pytest.raises(ConnectionClosed):
            ws.recv(timeout=10)
    ((path, _),) = talker.seen
    assert path == "/v1/realtime?intent=transcription"
    record = records.latest("realtime")
    assert record.usage == Usage(input_tokens=8, output_tokens=3)
    assert (record.request_model, record.error) == ("gpt-4o", "model_not_found")


def test_azures_sessions_are_those_of_a_deployment(talk):
    url, talker = talk
    talker.seen.clear()
    target = f"{url}/v1/realtime?model=deployed"
    with connect(target, additional_headers=AUTHORIZED) as ws:
        ws.send("hi")
        assert ws.recv(timeout=10) == "heard hi"
    ((path, headers),) = talker.seen
    assert path == (
        "/azure/openai/realtime?api-version=2025-04-01-preview&deployment=talk"
    )
    assert headers["api-key"] == "azure-secret"
    assert "authorization" not in headers


def test_a_provider_that_is_away_is_told_as_any_other(talk):
    url, _ = talk
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(f"{url}/v1/realtime?model=dead", additional_headers=AUTHORIZED),
    ):
        pass
    assert caught.value.response.status_code == 503
    assert b"upstream_unreachable" in bytes(caught.value.response.body or b"")


def test_a_key_that_is_taken_away_closes_its_sessions_and_no_others(session):
    url, _, records, gateway = session
    other = {"authorization": f"Bearer {NARROW_KEY}"}
    target = f"{url}/v1/realtime?model=gpt-4o"
    with (
        connect(target, additional_headers=AUTHORIZED) as mine,
        connect(target, additional_headers=other) as theirs,
    ):
        for one in (mine, theirs):
            one.send("hi")
            assert one.recv(timeout=10) == "heard hi"
        kept = tuple(one for one in gateway.snapshot.grants if one.id == "all")
        records.publish(
            msgspec.structs.replace(gateway.snapshot, generation=2, grants=kept)
        )
        try:
            event = json.loads(theirs.recv(timeout=10))
            assert event["error"]["code"] == "invalid_api_key"
            with pytest.raises(ConnectionClosed) as caught:
                theirs.recv(timeout=10)
            closing = caught.value.rcvd
            assert closing is not None
            assert closing.code == 1008
            mine.send("still here")
            assert mine.recv(timeout=10) == "heard still here"
        finally:
            records.publish(msgspec.structs.replace(gateway.snapshot, generation=3))


def test_no_socket_is_served_unless_the_configuration_says_so(peers):
    url = peers.gateway.url.replace("http", "ws")
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(f"{url}/v1/realtime?model=gpt-4o", additional_headers=AUTHORIZED),
    ):
        pass
    assert caught.value.response.status_code == 426
