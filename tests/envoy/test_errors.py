"""Everything that can go wrong, driven through the real Envoy.

Always an error object in the client's dialect with the right status and an
``x-request-id``; never a page of Envoy's, a gRPC text or an empty 500.
"""

from __future__ import annotations

import gzip
import json
import socket
import time
from typing import Any

import httpx
import pytest
from h2 import connection as h2_connection, events as h2_events

from tests.harness import BEDROCK, KEY, NARROW_KEY, running

pytestmark = pytest.mark.envoy

CHAT = "/v1/chat/completions"


def say(text, model="gpt-4o", **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def check(answer, status, code=None, param=None):
    """Hold an answer against the contract of OpenAI's errors."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert "envoy" not in answer.text.lower()
    assert "grpc" not in answer.text.lower()
    assert "upstream connect" not in answer.text
    if code is not None:
        assert error["code"] == code
    if param is not None:
        assert error["param"] == param
    return error


REQUESTS: dict[str, Any] = {
    "bad json": ({"content": b'{"model"'}, 400, "invalid_json", None),
    "a list": ({"content": b"[]"}, 400, "invalid_json", None),
    "not utf-8": ({"content": b'{"a":"\xff"}'}, 400, "invalid_json", None),
    "key twice": (
        {"content": b'{"model":"gpt-4o","model":"o3"}'}, 400, "duplicate_key", "model"),
    "empty body": ({"content": b""}, 400, None, None),
    "missing model": ({"json": {"messages": []}}, 400, None, "model"),
    "wrong type": ({"json": {"model": 7}}, 400, "invalid_type", "model"),
    "wrong type of stream": (
        {"json": say("x", stream="yes")}, 400, "invalid_type", "stream"),
    "unknown model": ({"json": say("x", "nobody")}, 404, "model_not_found", "model"),
    "no key": (
        {"json": say("x"), "headers": {"authorization": ""}}, 401, "invalid_api_key",
        None),
    "wrong key": (
        {"json": say("x"), "headers": {"authorization": "Bearer sk-wrong"}}, 401,
        "invalid_api_key", None),
    "wrong x-api-key": (
        {"json": say("x"), "headers": {"authorization": "", "x-api-key": "sk-wrong"}},
        401, "invalid_api_key", None),
    "content-type": (
        {"content": b"a=b", "headers": {"content-type": "text/plain"}}, 415,
        "unsupported_media_type", None),
    "unknown coding": (
        {"content": b"{}", "headers": {"content-encoding": "compress"}}, 415,
        "unsupported_content_encoding", None),
    "bad gzip": (
        {"content": b"{}", "headers": {"content-encoding": "gzip"}}, 400,
        "invalid_encoding", None),
    "bad zstd": (
        {"content": b"{}", "headers": {"content-encoding": "zstd"}}, 400,
        "invalid_encoding", None),
    "bad br": (
        {"content": b"{}", "headers": {"content-encoding": "br"}}, 400,
        "invalid_encoding", None),
    "a bomb": (
        {"content": gzip.compress(b" " * (33 << 20)),
         "headers": {"content-encoding": "gzip"}}, 413, "request_too_large", None),
    "cannot be kept": ({"json": say("x", "claude-sonnet-4-5", n=2)}, 400, None, "n"),
    "bad field, translated": (
        {"json": say("x", "claude-sonnet-4-5", tools=7)}, 400, None, "tools"),
}  # fmt: skip


@pytest.mark.parametrize("case", REQUESTS)
def test_a_bad_request(peers, case):
    sent, status, code, param = REQUESTS[case]
    headers = {"content-type": "application/json", **sent.get("headers", {})}
    answer = peers.http.post(CHAT, **{**sent, "headers": headers})
    check(answer, status, code, param)
    assert peers.mock.requests() == [], "nothing of it reaches a provider"


def test_an_unknown_model_names_those_that_this_key_may_see(peers):
    answer = peers.http.post(
        CHAT, json=say("x", "o3"), headers={"authorization": f"Bearer {NARROW_KEY}"}
    )
    error = check(answer, 404, "model_not_found", "model")
    assert "gpt-4o" in error["message"]
    assert "claude" not in error["message"]


def test_urls_and_methods(peers):
    check(peers.http.get("/v1/nothing"), 404, "unknown_url")
    check(peers.http.get("/"), 404, "unknown_url")
    check(peers.http.get("/v1/models/nobody"), 404, "model_not_found")
    check(peers.http.get(CHAT), 405)
    answer = peers.http.get("/v1/messages")
    assert (answer.status_code, answer.json()["type"]) == (405, "error")
    check(peers.http.put("/v1/models"), 405)


def test_a_url_of_anthropics_api_answers_in_its_shape(peers):
    for path, status in (("/v1/messages/nothing", 404), ("/v1/messages", 400)):
        answer = peers.http.post(path, json={})
        assert answer.status_code == status
        assert answer.json()["type"] == "error"
    answer = peers.http.post("/v1/messages/nothing", json={})
    assert answer.json()["error"]["type"] == "not_found_error"


def test_a_declared_body_over_the_limit(peers):
    check(raw(peers, body_length=33 << 20, send=b"{"), 413, "request_too_large")


def test_a_chunked_body_over_the_limit(peers):
    def body():
        for _ in range(34):
            yield b" " * (1 << 20)

    try:
        answer = peers.http.post(
            CHAT, content=body(), headers={"content-type": "application/json"}
        )
    except httpx.WriteError:
        return  # Envoy has answered and closed while we were still sending
    check(answer, 413, "request_too_large")


def test_a_websocket_upgrade(peers):
    for path in (CHAT, "/v1/responses", "/v1/realtime"):
        answer = raw(
            peers, f"GET {path}", "connection: upgrade", "upgrade: websocket",
            "sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        )  # fmt: skip
        check(answer, 426)


def test_trailers_on_a_request(peers):
    """HTTP/2 carries them to the worker; HTTP/1's are dropped by Envoy, as it may."""
    host, port = peers.gateway.url.removeprefix("http://").split(":")
    body = json.dumps(say("x")).encode()
    h2 = h2_connection.H2Connection()
    h2.initiate_connection()
    h2.send_headers(
        1,
        [
            (":method", "POST"), (":scheme", "http"), (":authority", host),
            (":path", CHAT), ("authorization", f"Bearer {KEY}"),
            ("content-type", "application/json"),
        ],
    )  # fmt: skip
    h2.send_data(1, body)
    h2.send_headers(1, [("x-checksum", "1")], end_stream=True)
    headers, data, ended = {}, b"", False
    with socket.create_connection((host, int(port)), timeout=10) as conn:
        conn.sendall(h2.data_to_send())
        while not ended:
            for event in h2.receive_data(conn.recv(65536)):
                match event:
                    case h2_events.ResponseReceived(headers=sent):
                        headers = {k.decode(): v.decode() for k, v in sent}
                    case h2_events.DataReceived(data=more):
                        data += more
                    case h2_events.StreamEnded() | h2_events.StreamReset():
                        ended = True
                    case _:
                        pass  # settings, windows
            conn.sendall(h2.data_to_send())
    error = check(
        httpx.Response(int(headers.pop(":status")), headers=headers, content=data), 400
    )
    assert "railers" in error["message"]
    assert peers.mock.requests() == []


SMUGGLED = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}'
IN_CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
MALFORMED: dict[str, tuple[tuple[str, ...], bytes, set[int]]] = {
    "no colon": (("bad header line without colon",), b"", {400}),
    "two lengths": (("content-length: 62", "content-length: 3"), SMUGGLED, {400}),
    "one length twice": (("content-length: 62", "content-length: 62"), SMUGGLED, {400}),
    "a list of lengths": (("content-length: 62, 62",), SMUGGLED, {400}),
    "a signed length": (("content-length: +62",), SMUGGLED, {400}),
    "a length and chunks": (
        ("content-length: 4", "transfer-encoding: chunked"), IN_CHUNKS, {400}),
    "chunks in disguise": (("transfer-encoding: xchunked",), IN_CHUNKS, {501}),
    "chunks, and something else": (
        ("transfer-encoding: chunked", "transfer-encoding: identity"), IN_CHUNKS, {501}),
    "chunks behind a tab": (("transfer-encoding:\x0bchunked",), IN_CHUNKS, {400}),
    "a blank before the colon": (("content-length : 62",), SMUGGLED, {400}),
    "a zero in a value": (("x-a: a\0b", "content-length: 62"), SMUGGLED, {400}),
    "an endless chunk": (
        ("transfer-encoding: chunked",), b"fffffffffffffffff\r\n" + SMUGGLED, {0, 400}),
    "a negative chunk": (
        ("transfer-encoding: chunked",), b"-1\r\n" + SMUGGLED, {0, 400}),
    "a chunk's bare line end": (
        ("transfer-encoding: chunked",), IN_CHUNKS.replace(b"\r\n", b"\n", 1), {0, 400}),
    "more headers than a hundred": (
        (*(f"x-a{n}: a" for n in range(120)), "content-length: 62"), SMUGGLED, {431}),
    "two keys": ((f"authorization: Bearer {KEY}", "content-length: 62"), SMUGGLED, {401}),
    "a connection that names the key": (
        ("connection: authorization", "content-length: 62"), SMUGGLED, {401}),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_http(peers, case):
    """Refused whole: nothing of it is a request, here or at a provider (status 0: the
    connection ends without a word)."""
    headers, body, statuses = MALFORMED[case]
    kind = "content-type: application/json"
    answer = raw(peers, f"POST {CHAT}", kind, *headers, send=body)
    assert answer.status_code in statuses
    assert b"html" not in answer.content.lower()
    assert peers.mock.requests() == []


KEYS = {
    "the narrow one first": (
        {"authorization": f"Bearer {NARROW_KEY}", "x-api-key": KEY}, 404),
    "another scheme beside": ({"authorization": "Basic eA==", "x-api-key": KEY}, 200),
    "an underscore": ({"authorization": "", "x_api_key": KEY}, 401),
    "not text": ({"authorization": "Bearer \xff\xfe"}, 401),
    "a token of nobody's": (
        {"authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."}, 401),
}  # fmt: skip


@pytest.mark.parametrize("case", KEYS)
def test_of_two_keys_the_first_place_counts(peers, case):
    said, status = KEYS[case]
    headers = [(name, value.encode("latin-1")) for name, value in said.items()]
    answer = peers.http.post(CHAT, json=say("x", "claude-sonnet-4-5"), headers=headers)
    assert answer.status_code == status


def test_a_key_in_a_url_opens_nothing_and_is_not_logged(peers):
    for name in ("key", "api_key", "api-key", "access_token"):
        answer = peers.http.get(
            f"/v1/models?{name}={KEY}", headers={"authorization": ""}
        )
        check(answer, 401)
    for log in peers.gateway.folder.glob("*.log"):
        assert KEY not in log.read_text(errors="replace")


URLS = {
    "http://169.254.169.254/latest/meta-data": 404,
    "/v1/../admin/v1/keys": 404,
    "/v1/%2e%2e/config_dump": 404,
    "/v1/models/..%2f..%2fadmin": 400,
    "/v1/files/..%5c..%5cx": 400,
    "/v1/models/%00": 400,
    "/v1/models/a%0d%0ax:y": 404,
    "/v1/models#x": 400,
    "/metrics": 404,
    "/config_dump": 404,
    "*": 400,
}


@pytest.mark.parametrize("url", URLS)
def test_no_url_leads_elsewhere(peers, url):
    assert raw(peers, f"GET {url}").status_code == URLS[url]
    assert peers.mock.requests() == []


def test_a_form_of_many_parts_is_refused_and_holds_nobody_up(peers):
    part = b'--x\r\ncontent-disposition: form-data; name="n"\r\n\r\n1\r\n'
    answer = peers.http.post(
        "/v1/audio/transcriptions",
        content=part * 50_000 + b"--x--\r\n",
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert "parts" in check(answer, 400, "invalid_form")["message"]


def raw(peers, line=f"POST {CHAT}", *headers, body_length=None, send=b""):
    """Send a request by hand and parse what comes back."""
    host, port = peers.gateway.url.removeprefix("http://").split(":")
    lines = [f"{line} HTTP/1.1", f"host: {host}", f"authorization: Bearer {KEY}"]
    lines += headers
    if body_length is not None:
        lines += ["content-type: application/json", f"content-length: {body_length}"]
    with socket.create_connection((host, int(port)), timeout=10) as conn:
        conn.sendall("\r\n".join([*lines, "", ""]).encode() + send)
        data = b""
        while True:
            head, found, rest = data.partition(b"\r\n\r\n")
            if found and len(rest) >= _length(head, rest):
                break
            more = conn.recv(65536)
            if not more:
                break
            data += more
    if not head:
        return httpx.Response(0)
    status, *fields = head.decode().split("\r\n")
    parsed = [field.split(": ", 1) for field in fields]
    plain = [(k, v) for k, v in parsed if k.lower() != "transfer-encoding"]
    if "transfer-encoding: chunked" in head.decode().lower():
        rest = b"".join(rest.split(b"\r\n")[1::2])
    return httpx.Response(int(status.split()[1]), headers=plain, content=rest)


def _length(head, rest):
    for line in head.decode().lower().split("\r\n"):
        if line.startswith("content-length: "):
            return int(line.split()[1])
    return 0 if rest.endswith(b"0\r\n\r\n") else len(rest) + 1


MODELS = ["gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash", BEDROCK]
PROVIDER_FAULTS = {
    "malformed json": ("[[mock: malformed-json]]", {502}),
    "a page": ("[[mock: not-json status=502]]", {502}),
    "an empty body": ("[[mock: empty-body]]", {502}),
    "reset": ("[[mock: reset]]", {503}),
    "overloaded": ("[[mock: status=529]]", {529}),
    "our credential": ("[[mock: status=401]]", {502}),
    "our account": ("[[mock: status=402]]", {502}),
    "forbidden": ("[[mock: status=403]]", {502, 403}),
    "500": ("[[mock: status=500]]", {500}),
    "404": ("[[mock: status=404]]", {404}),
}  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("case", PROVIDER_FAULTS)
def test_a_providers_fault(peers, model, case):
    directive, statuses = PROVIDER_FAULTS[case]
    answer = peers.http.post(CHAT, json=say(directive, model))
    assert answer.status_code in statuses, answer.text
    check(answer, answer.status_code)
    assert len(answer.headers.get_list("x-extproc-provider")) == 1
    assert "sk-mock" not in answer.text
    hopeless = answer.headers.get("x-should-retry") == "false"
    assert hopeless == (answer.json()["error"]["code"] == "upstream_auth_error")


@pytest.mark.parametrize("model", MODELS)
def test_a_prompt_that_is_too_long_has_openais_code(peers, model):
    answer = peers.http.post(CHAT, json=say("[[mock: context-length]]", model))
    check(answer, 400, "context_length_exceeded")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("after", [2, 5])
def test_a_reset_inside_a_stream_is_never_silent(peers, model, after):
    ask = say(f"[[mock: reset-mid-stream after={after}]]", model, stream=True)
    with peers.http.stream("POST", CHAT, json=ask) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in answer.iter_bytes():
                pass


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_with_a_broken_event_ends_in_an_error_or_passes(peers, model):
    ask = say("[[mock: malformed-json]]", model, stream=True)
    text = peers.http.post(CHAT, json=ask).text
    if model == "claude-sonnet-4-5":
        last = text.strip().split("\n\n")[-1]
        assert json.loads(last.removeprefix("data: "))["error"]["code"]


def test_a_huge_answer_arrives_whole(peers):
    for model in MODELS:
        answer = peers.http.post(CHAT, json=say("[[mock: huge bytes=6000000]]", model))
        assert len(answer.json()["choices"][0]["message"]["content"]) >= 6_000_000


# What breaks the gateway has one of its own.

DEAD = {
    "refused": {"type": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": "x"},
    "nowhere": {
        "type": "openai", "base_url": "https://no-such-host.invalid/v1", "api_key": "x"},
}  # fmt: skip


@pytest.mark.parametrize("edge", ["lean", "grpc"])
def test_what_cannot_be_reached(edge):
    config = {
        "providers": DEAD,
        "models": {name: {"targets": [{"provider": name}]} for name in DEAD},
        "timeouts": {"first_byte": 1},
    }
    with (
        running(config, edge=edge) as (gateway, _),
        httpx.Client(
            base_url=gateway.url, headers={"authorization": f"Bearer {KEY}"}, timeout=20
        ) as http,
    ):
        for name in DEAD:
            began = time.monotonic()
            answer = http.post(CHAT, json=say("x", name))
            check(answer, 503, "upstream_unreachable")
            assert answer.headers.get_list("x-extproc-provider") == [name]
            assert time.monotonic() - began < 10
        gateway.workers[0].stop()
        check(http.post(CHAT, json=say("x", "refused")), 503, "gateway_unavailable")
        answer = http.post("/v1/messages", json={})
        assert answer.json()["type"] == "error"
        assert http.get("/health/live").status_code == 200
        check(http.get("/health/ready"), 503)


def test_a_provider_that_stays_silent():
    with (
        running({"timeouts": {"first_byte": 1}}) as (gateway, _),
        httpx.Client(
            base_url=gateway.url, headers={"authorization": f"Bearer {KEY}"}, timeout=20
        ) as http,
    ):
        answer = http.post(CHAT, json=say("[[mock: silence seconds=8]]"))
        check(answer, 504, "upstream_timeout")


@pytest.mark.parametrize("edge", ["lean", "grpc"])
def test_the_workers_own_deadline_before_and_inside_an_answer(edge):
    """Envoy's timers come first; where they do not, the worker's are as good."""
    limits = {"first_byte_seconds": 0.5, "idle_seconds": 0.5}
    with (
        running(edge=edge, limits=limits) as (gateway, _),
        httpx.Client(
            base_url=gateway.url, headers={"authorization": f"Bearer {KEY}"}, timeout=20
        ) as http,
    ):
        answer = http.post(CHAT, json=say("[[mock: silence seconds=6]]"))
        check(answer, 504, "upstream_timeout")
        stalled = "[[mock: stall-mid-stream after=3 seconds=6]]"
        answer = http.post(CHAT, json=say(stalled, stream=True))
        last = answer.text.strip().split("\n\n")[-1]
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == (
            "upstream_timeout"
        )
