"""What passes by its path, its query or the model in a form, and how it is answered."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest

from extproc.exchange import events
from extproc.exchange.commands import (
    AnswerBody,
    AnswerHeaders,
    Complete,
    Leave,
    RequestChunk,
    Reserve,
    Respond,
    Route,
)
from extproc.exchange.exchange import Exchange
from extproc.identity import Allowance, Budget, RateLimit
from extproc.policy.claims import Admitted, Denied, Left
from extproc.runtime import Grant, Limits, ModelSpec, Runtime, Snapshot
from extproc.usage import Usage
from tests.exchange.test_exchange import answered, completion, headers, target

KEYS = {
    "all": Grant("all", "", ("*",)),
    "few": Grant("few", "", ("whisper",)),
    "files": Grant("files", "", ("whisper",), providers=("open*",)),
    "none": Grant("none", "", ("*",), providers=()),
}
RUNTIME = Runtime.of(
    Snapshot(
        generation=1,
        grants=tuple(
            msgspec.structs.replace(
                one, sha256=hashlib.sha256(f"sk-{name}".encode()).hexdigest()
            )
            for name, one in KEYS.items()
        ),
        models=(
            ModelSpec("whisper", (target("openai", "whisper-1"), target("anthropic"))),
            ModelSpec("dall-e-2", (target("openai"),)),
            ModelSpec("omni-moderation-latest", (target("openai", "omni-2"),)),
            ModelSpec("claude", (target("anthropic"),)),
            ModelSpec("tts", (target("openai", "tts-1"),)),
        ),
        keepers=(target("anthropic"), target("openai")),
        limits=Limits(max_body_bytes=10_000),
    )
)
FORM = "multipart/form-data; boundary=xyz"


def exchange():
    return Exchange(RUNTIME, id="gw-1", started=1.0, now=100.0)


def begin(path, *, key="all", method="POST", end=False, **more):
    ex = exchange()
    return ex, ex.receive(
        headers(path, method=method, key=f"sk-{key}", end=end, **more), 100.0
    )


def form(model="whisper", *, first=True, size=100):
    said = [b'name="file"; filename="a"\r\n\r\n' + b"\xff" * size]
    if model is not None:
        said.insert(0 if first else 1, b'name="model"\r\n\r\n' + model.encode())
    parts = [b"--xyz\r\nContent-Disposition: form-data; " + one for one in said]
    return b"\r\n".join(parts) + b"\r\n--xyz--\r\n"


# ------------------------------------------------------------- by the path alone


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/v1/files", "files"),
        ("GET", "/v1/files/file-1/content", "files"),
        ("DELETE", "/v1/files/file-1", "files"),
        ("POST", "/v1/uploads/up-1/parts", "uploads"),
        ("POST", "/v1/batches", "batches"),
        ("GET", "/v1/batches?limit=2&after=b", "batches"),
        ("POST", "/v1/fine_tuning/jobs", "fine_tuning"),
        ("POST", "/v1/vector_stores/vs-1/search", "vector_stores"),
        ("POST", "/v1/threads/t-1/runs", "threads"),
        ("POST", "/v1/assistants", "assistants"),
        ("GET", "/v1/conversations/c-1/items", "conversations"),
        ("GET", "/v1/responses/resp-1", "responses"),
        ("POST", "/v1/responses/resp-1/cancel", "responses"),
        ("GET", "/v1/responses/resp-1/input_items", "responses"),
        ("GET", "/v1/chat/completions/c-1/messages", "chat_completions"),
    ],
)
def test_what_is_stored_is_asked_for_where_it_is_by_the_clients_own_path(
    method, path, operation
):
    ex, commands = begin(path, method=method, openai_beta="assistants=v2")
    (route,) = commands
    assert isinstance(route, Route)
    first, second = route.chain  # not the first of the file, which is Anthropic
    assert first == second, "a connection that fails is made again, to nobody else"
    assert (first.cluster, first.heading.path, first.streams) == ("openai", path, True)
    names = {name for name, _ in first.heading.set_headers}
    assert not names & {"content-type", "accept-encoding", "openai-beta"}
    assert not set(first.heading.delete_headers) & {"content-encoding", "openai-beta"}
    commands = ex.receive(answered(200, "application/octet-stream"), 101.0)
    assert commands[:2] == [AnswerHeaders(), Leave()]
    record = completion(commands)
    assert (record.operation, record.status, record.outcome) == (operation, 200, "ok")
    assert (record.provider, record.estimated, record.usage) == ("openai", False, None)


@pytest.mark.parametrize(
    ("path", "more", "cluster"),
    [
        ("/v1/files", {"x_extproc_provider": "anthropic"}, "anthropic"),
        ("/v1/files", {"anthropic_version": "2023-06-01"}, "anthropic"),
        ("/v1/messages/batches", {"anthropic_version": "2023-06-01"}, "anthropic"),
        (
            "/v1/files",
            {"anthropic_version": "x", "x_extproc_provider": "openai"},
            "openai",
        ),
    ],
)
def test_the_client_may_name_the_provider(path, more, cluster):
    _, (route,) = begin(path, **more)
    assert route.chain[0].cluster == cluster
    sent = dict(route.chain[0].heading.set_headers)
    if cluster == "anthropic":
        assert sent["anthropic-version"] == more.get("anthropic_version", "2023-06-01")


def test_what_a_formats_client_says_of_its_version_goes_with_what_passes():
    said = {"anthropic_version": "2024-01-01", "anthropic_beta": "files-api-2025-04-14"}
    _, (route,) = begin("/v1/files", **said)
    attempt = route.chain[0]
    assert attempt.cluster == "anthropic"
    spelled = {name.replace("_", "-"): value for name, value in said.items()}
    assert spelled.items() <= dict(attempt.heading.set_headers).items()


@pytest.mark.parametrize(
    ("key", "more", "status", "code"),
    [
        ("all", {"x_extproc_provider": "nobody"}, 404, "provider_not_found"),
        ("few", {}, 403, "provider_not_allowed"),
        ("few", {"x_extproc_provider": "openai"}, 403, "provider_not_allowed"),
        ("files", {"x_extproc_provider": "anthropic"}, 403, "provider_not_allowed"),
        ("none", {}, 403, "provider_not_allowed"),
        ("wrong", {}, 401, "invalid_api_key"),
    ],
)
def test_a_key_has_to_be_allowed_to_use_the_provider(key, more, status, code):
    _, commands = begin("/v1/files", key=key, **more)
    assert isinstance(commands[0], Respond)
    assert commands[0].status == status
    assert json.loads(commands[0].body)["error"]["code"] == code


def test_a_key_of_some_models_may_be_given_a_provider():
    _, (route,) = begin("/v1/files", key="files")
    assert route.chain[0].cluster == "openai"


@pytest.mark.parametrize(
    ("status", "kind", "passes"),
    [
        (404, "application/json", True),
        (400, "application/json; charset=utf-8", True),
        (429, "application/json", True),
        (401, "application/json", False),
        (403, "application/json", False),
        (502, "text/html", False),
        (404, "", False),
    ],
)
def test_an_error_passes_unless_it_is_about_us_or_in_nobodys_dialect(
    status, kind, passes
):
    ex, _ = begin("/v1/files/f-1", method="GET", end=True)
    commands = ex.receive(answered(status, kind), 101.0)
    record = completion(commands)
    assert record.outcome == "upstream_error"
    if passes:
        assert commands[0] == AnswerHeaders()
        assert record.status == status
    else:
        assert isinstance(commands[0], Respond)
        assert commands[0].status == (502 if status in {401, 403} else status)
        assert "error" in json.loads(commands[0].body)


def batches(path, body, status=200, **more):
    """Return what of a batch's answer reaches the client, and its record."""
    ex, (route,) = begin(
        path, method="GET", end=True, anthropic_version="2023-06-01", **more
    )
    assert dict(route.chain[0].heading.set_headers)["accept-encoding"] == "identity"
    commands = ex.receive(answered(status), 101.0)
    assert commands == []
    commands = ex.receive(events.ResponseBody(body, end=True), 101.5)
    (said,) = [one for one in commands if isinstance(one, AnswerBody)]
    return said.data, completion(commands)


URL = b'"results_url": "%s/v1/messages/batches/b/results"'
THERE = URL % b"https://api.anthropic.com"


@pytest.mark.parametrize(
    "path",
    ["/v1/messages/batches", "/v1/messages/batches?limit=2", "/v1/messages/batches/b"],
)
@pytest.mark.parametrize(
    ("more", "here"),
    [
        ({"x_forwarded_proto": "https"}, b"https://llm.example:8443"),
        ({":scheme": "http"}, b"http://llm.example:8443"),
        ({"x_forwarded_prefix": "/llm/"}, b"http://llm.example:8443/llm"),
        ({"x_forwarded_prefix": "/a/b-c"}, b"http://llm.example:8443/a/b-c"),
        ({"x_forwarded_prefix": '/"},{'}, b"http://llm.example:8443"),
        ({"x_forwarded_prefix": "evil.test/"}, b"http://llm.example:8443"),
    ],
)
def test_results_of_a_batch_are_where_the_client_has_found_us(path, more, here):
    body = b'{"data": [{ %s}, {"results_url":null}]}'
    said, record = batches(
        path, body % THERE, **{":authority": "llm.example:8443", **more}
    )
    assert said == body % (URL % here)
    assert (record.usage, record.estimated) == (Usage(), False)


def test_a_host_that_is_no_host_breaks_no_answer():
    said, _ = batches(
        "/v1/messages/batches/b", b"{%s}" % THERE, **{":authority": 'a"\\g<0>'}
    )
    assert json.loads(said)["results_url"].startswith('http://a"\\g<0>/v1/')


def test_an_error_of_a_batch_is_in_its_clients_words():
    ex, _ = begin("/v1/messages/batches/b", method="GET", end=True)
    assert ex.receive(answered(404), 101.0) == []
    body = b'{"type":"error","error":{"type":"not_found_error","message":"no batch"}}'
    commands = ex.receive(events.ResponseBody(body, end=True), 101.5)
    head, said = commands[:2]
    assert head.status == 404
    assert json.loads(said.data) == json.loads(body)


def test_the_results_themselves_pass_unread():
    ex, _ = begin("/v1/messages/batches/b/results", method="GET", end=True)
    commands = ex.receive(answered(200, "application/x-jsonl"), 101.0)
    assert commands[:2] == [AnswerHeaders(), Leave()]


def test_a_provider_that_cannot_be_reached_is_told_as_everywhere():
    ex, _ = begin("/v1/files", method="GET")
    commands = ex.receive(
        answered(503, "text/plain", details="upstream_reset_before_response_started"),
        101.0,
    )
    assert isinstance(commands[0], Respond)
    assert json.loads(commands[0].body)["error"]["code"] == "upstream_unreachable"


@pytest.mark.parametrize("path", ["/v1/files", "/v1/messages/batches"])
def test_an_upload_may_take_its_time(path):
    ex, _ = begin(path)
    limits = RUNTIME.limits
    assert ex.deadline == 100.0 + limits.upload_seconds + limits.first_byte_seconds


def test_what_nobody_keeps_is_not_found():
    empty = Runtime.of(Snapshot(generation=1, grants=(KEYS["all"],)))
    sha = hashlib.sha256(b"sk-all").hexdigest()
    runtime = msgspec.structs.replace(
        empty, _grants={bytes.fromhex(sha): Grant("all", sha)}
    )
    ex = Exchange(runtime, id="gw-1", started=1.0, now=100.0)
    (answer, *_) = ex.receive(headers("/v1/files", key="sk-all"), 100.0)
    assert isinstance(answer, Respond)
    assert answer.status == 404


# --------------------------------------------------------------------- forms


def test_a_form_goes_on_as_soon_as_its_model_is_known():
    body = form(size=5000)
    length = str(len(body))
    ex, commands = begin(
        "/v1/audio/transcriptions", content_type=FORM, content_length=length
    )
    assert commands == []
    route, chunk = ex.receive(events.RequestBody(body[:200], end=False), 100.1)
    assert route.chain[0] == route.chain[1]
    attempt = route.chain[0]
    assert (attempt.cluster, attempt.streams) == ("openai", True)
    assert attempt.heading.path == "/v1/audio/transcriptions"
    grown = len("whisper-1") - len("whisper")
    sent = dict(attempt.heading.set_headers)
    assert sent["content-length"] == str(len(body) + grown)
    assert sent["accept-encoding"] == "identity"
    assert "content-type" not in sent
    assert chunk == RequestChunk(
        body[:200].replace(b"whisper", b"whisper-1"), end=False
    )
    rest = ex.receive(events.RequestBody(body[200:], end=True), 100.2)
    assert rest == [RequestChunk(body[200:], end=True)]
    commands = ex.receive(answered(200), 101.0)
    assert commands == []
    said = (
        b'{"text":"Hi","usage":{"type":"tokens","input_tokens":14,"output_tokens":4}}'
    )
    commands = ex.receive(events.ResponseBody(said, end=True), 101.1)
    assert commands[:2] == [AnswerHeaders(), AnswerBody(said, end=True)]
    record = completion(commands)
    assert record.operation == "transcriptions"
    assert (record.original_model, record.request_model) == ("whisper", "whisper-1")
    assert record.usage == Usage(14, 4)
    assert record.request_bytes == len(body)
    assert not record.estimated


def test_a_form_that_has_its_model_last_is_held_until_then():
    body = form(first=False, size=3000)
    ex, _ = begin("/v1/audio/translations", content_type=FORM)
    assert ex.receive(events.RequestBody(body[:2000], end=False), 100.1) == []
    route, chunk = ex.receive(events.RequestBody(body[2000:], end=True), 100.2)
    assert isinstance(route, Route)
    assert "content-length" not in dict(route.chain[0].heading.set_headers)
    assert chunk.data == body.replace(b"whisper", b"whisper-1")


def test_a_form_that_hides_its_model_behind_too_much_is_refused():
    ex, _ = begin("/v1/audio/translations", content_type=FORM)
    body = form(first=False, size=20_000)
    commands = ex.receive(events.RequestBody(body[:15_000], end=False), 100.1)
    assert commands[0].status == 413
    assert "ahead of the file" in json.loads(commands[0].body)["error"]["message"]


def test_a_form_without_a_model_goes_to_the_usual_one():
    ex, _ = begin("/v1/images/variations", content_type=FORM)
    body = form(None)
    route, chunk = ex.receive(events.RequestBody(body, end=True), 100.1)
    assert route.chain[0].heading.path == "/v1/images/variations"
    assert chunk.data == body


@pytest.mark.parametrize(
    ("path", "kind", "body", "status", "param"),
    [
        ("/v1/audio/transcriptions", FORM, form(None), 400, "model"),
        ("/v1/audio/transcriptions", FORM, form("nobody"), 404, "model"),
        ("/v1/audio/transcriptions", FORM, form("claude"), 400, "model"),
        ("/v1/audio/transcriptions", FORM, b"{}", 400, None),
        ("/v1/audio/transcriptions", "multipart/form-data", b"", 400, None),
        ("/v1/audio/transcriptions", "application/json", b"{}", 404, None),
    ],
)
def test_a_form_that_cannot_go_anywhere_is_refused(path, kind, body, status, param):
    ex, commands = begin(path, content_type=kind)
    if not commands:
        commands = ex.receive(events.RequestBody(body, end=True), 100.1)
    assert commands[0].status == status
    assert json.loads(commands[0].body)["error"]["param"] == param


def test_a_compressed_form_is_refused():
    _, commands = begin(
        "/v1/audio/transcriptions", content_type=FORM, content_encoding="gzip"
    )
    assert commands[0].status == 415


def test_a_second_model_is_refused_when_the_provider_has_half_of_it():
    ex, _ = begin("/v1/audio/transcriptions", content_type=FORM)
    body = form()
    ex.receive(events.RequestBody(body[:-11], end=False), 100.1)
    again = b"\r\n--xyz\r\nContent-Disposition: form-data; name=model\r\n\r\nclaude"
    commands = ex.receive(events.RequestBody(again, end=False), 100.2)
    assert isinstance(commands[0], Respond)
    assert commands[0].status == 400
    assert completion(commands).outcome == "client_error"


def test_an_answer_may_come_before_the_form_is_through():
    ex, _ = begin("/v1/audio/transcriptions", content_type=FORM)
    body = form()
    ex.receive(events.RequestBody(body[:150], end=False), 100.1)
    assert ex.receive(answered(429), 100.2) == []
    assert ex.receive(events.RequestBody(body[150:160], end=False), 100.3) == [
        RequestChunk(body[150:160], end=False)
    ]
    commands = ex.receive(events.ResponseBody(b"{}", end=True), 100.4)
    assert completion(commands).status == 429
    assert ex.receive(events.RequestBody(body[160:], end=True), 100.5) == []


@pytest.mark.parametrize("event", [events.Expired(), events.RequestTrailers()])
def test_a_form_that_does_not_come_is_given_up(event):
    ex, _ = begin("/v1/audio/transcriptions", content_type=FORM)
    commands = ex.receive(event, 200.0)
    assert commands[0].status == (408 if isinstance(event, events.Expired) else 400)


# --------------------------------------------------------- limits and budgets

LIMITED = Runtime.of(
    Snapshot(
        generation=1,
        grants=(
            Grant(
                "all",
                hashlib.sha256(b"sk-all").hexdigest(),
                allowance=Allowance(
                    rates=(
                        RateLimit("requests", 60, 5),
                        RateLimit("total_tokens", 60, 1000),
                    ),
                    budgets=(Budget(10**9, "month"),),
                ),
            ),
        ),
        models=(ModelSpec("whisper", (target("openai", "whisper-1"),)),),
        keepers=(target("openai"),),
    )
)


def begin_limited(path, *, method="POST", **more):
    ex = Exchange(LIMITED, id="gw-1", started=1.0, now=100.0)
    return ex, ex.receive(headers(path, method=method, key="sk-all", **more), 100.0)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/files"), ("GET", "/v1/realtime?model=whisper")]
)
def test_what_passes_counts_as_a_request(method, path):
    ex, (reserve,) = begin_limited(path, method=method)
    assert isinstance(reserve, Reserve)
    claims = {claim.counts: claim.amount for claim in reserve.admission.claims}
    assert claims == {"requests": 1, "total_tokens": 1, "nanos": 0}
    left = tuple(Left(1, 1.0) for _ in reserve.admission.claims)
    commands = ex.receive(Admitted(left), 100.1)
    assert isinstance(commands[0], Route)
    commands = ex.receive(answered(101 if "model" in path else 200), 101.0)
    commands += ex.receive(events.Closed(), 102.0)
    (complete,) = [one for one in commands if isinstance(one, Complete)]
    assert complete.settlement is not None
    assert complete.settlement.admission == reserve.admission


def test_what_is_over_its_limit_is_refused_before_a_byte_of_it_is_sent():
    ex, (reserve,) = begin_limited("/v1/files")
    commands = ex.receive(Denied(0, Left(0, 30.0), retry_after=30.0), 100.1)
    assert isinstance(commands[0], Respond)
    assert commands[0].status == 429
    assert ("retry-after", "30") in commands[0].headers
    assert completion(commands).outcome == "client_error"
    assert reserve


def test_a_form_waits_for_its_place_and_loses_nothing():
    ex, commands = begin_limited("/v1/audio/translations", content_type=FORM)
    assert commands == []
    body = form(size=3000)
    (reserve,) = ex.receive(events.RequestBody(body[:200], end=False), 100.1)
    assert isinstance(reserve, Reserve)
    assert ex.receive(events.RequestBody(body[200:300], end=False), 100.2) == []
    left = tuple(Left(1, 1.0) for _ in reserve.admission.claims)
    route, chunk = ex.receive(Admitted(left), 100.3)
    assert isinstance(route, Route)
    assert chunk == RequestChunk(
        body[:300].replace(b"whisper", b"whisper-1"), end=False
    )
    rest = ex.receive(events.RequestBody(body[300:], end=True), 100.4)
    assert rest == [RequestChunk(body[300:], end=True)]


def test_a_form_that_is_whole_before_its_verdict_goes_on_whole():
    ex, _ = begin_limited("/v1/audio/translations", content_type=FORM)
    body = form()
    (reserve,) = ex.receive(events.RequestBody(body, end=True), 100.1)
    assert isinstance(reserve, Reserve)
    left = tuple(Left(1, 1.0) for _ in reserve.admission.claims)
    _, chunk = ex.receive(Admitted(left), 100.3)
    assert isinstance(chunk, RequestChunk)
    assert chunk.end


# ------------------------------------------------- JSON that passes to its like


def test_sound_passes_as_it_comes():
    ex, _ = begin("/v1/audio/speech")
    body = b'{"model":"tts","input":"Hi","voice":"alloy"}'
    (route,) = ex.receive(events.RequestBody(body, end=True), 100.1)
    assert json.loads(route.chain[0].body)["model"] == "tts-1"
    assert ex.receive(answered(200, "audio/mpeg"), 101.0) == [AnswerHeaders()]
    assert ex.receive(events.ResponseBody(b"\xff\xfb", end=False), 101.1) == [
        AnswerBody(b"\xff\xfb", end=False)
    ]
    commands = ex.receive(events.ResponseBody(b"", end=True), 101.2)
    record = completion(commands)
    assert (record.operation, record.estimated, record.answer_bytes) == (
        "speech", True, 2,
    )  # fmt: skip


def test_a_stream_of_events_passes_and_its_last_usage_counts():
    ex, _ = begin("/v1/audio/speech")
    body = b'{"model":"tts","input":"Hi","voice":"alloy","stream_format":"sse"}'
    ex.receive(events.RequestBody(body, end=True), 100.1)
    ex.receive(answered(200, "text/event-stream"), 101.0)
    delta = b'data: {"type":"speech.audio.delta","audio":"AAAA"}\n\n'
    done = (
        b'data: {"type":"speech.audio.done","usage":{"input_tokens":3,'
        b'"output_tokens":9,"total_tokens":12}}\n\n'
    )
    commands = ex.receive(events.ResponseBody(delta, end=False), 101.1)
    assert commands == [AnswerBody(delta, end=False)]
    ex.receive(events.ResponseBody(done[:40], end=False), 101.2)
    commands = ex.receive(events.ResponseBody(done[40:], end=True), 101.3)
    assert completion(commands).usage == Usage(3, 9)


@pytest.mark.parametrize(
    ("path", "body", "model", "operation"),
    [
        ("/v1/images/generations", b'{"prompt":"x"}', None, "images"),
        ("/v1/images/edits", b'{"prompt":"x"}', None, "image_edits"),
        ("/v1/moderations", b'{"input":"x"}', "omni-2", "moderations"),
    ],
)
def test_a_request_may_leave_the_model_to_the_provider(path, body, model, operation):
    ex, _ = begin(path)
    (route,) = ex.receive(events.RequestBody(body, end=True), 100.1)
    sent = json.loads(route.chain[0].body)
    assert sent.get("model") == model
    ex.receive(answered(200), 101.0)
    said = b'{"created":1,"data":[],"usage":{"input_tokens":5,"output_tokens":7}}'
    record = completion(ex.receive(events.ResponseBody(said, end=True), 101.1))
    assert record.operation == operation
    assert record.usage == (Usage() if operation == "moderations" else Usage(5, 7))


def test_what_only_openai_has_is_refused_elsewhere():
    ex, _ = begin("/v1/audio/speech")
    body = b'{"model":"claude","input":"Hi","voice":"alloy"}'
    commands = ex.receive(events.RequestBody(body, end=True), 100.1)
    error = json.loads(commands[0].body)["error"]
    assert (commands[0].status, error["code"]) == (400, "unsupported_operation")
    assert "speech" in error["message"]


# ------------------------------------------------------------------- WebSockets


def test_a_websocket_goes_where_its_query_says():
    ex, (route,) = begin(
        "/v1/realtime?a=1&model=whisper&b=2",
        method="GET",
        end=False,
        upgrade="websocket",
    )
    assert route.chain[0].heading.path == "/v1/realtime?a=1&model=whisper-1&b=2"
    assert "sec-websocket-extensions" in route.chain[0].heading.delete_headers
    (answer,) = ex.receive(answered(101, "", details="via_upstream"), 101.0)
    assert answer == AnswerHeaders(delete_headers=("sec-websocket-extensions",))
    record = completion(ex.receive(events.Closed(), 102.0))
    assert (record.operation, record.status, record.request_model) == (
        "realtime", 101, "whisper-1",
    )  # fmt: skip


def test_a_browsers_key_stands_among_the_protocols_and_goes_no_further():
    offered = "realtime, openai-insecure-api-key.sk-all, openai-beta.realtime-v1"
    sent = handshake(offered, key="")
    assert sent["sec-websocket-protocol"] == "realtime, openai-beta.realtime-v1"


def handshake(offered, *, key="sk-all", **more):
    asked = headers(
        "/v1/realtime?model=whisper", method="GET", key=key,
        sec_websocket_protocol=offered, **more,
    )  # fmt: skip
    (route,) = exchange().receive(asked, 100.0)
    assert isinstance(route, Route)
    return dict(route.chain[0].heading.set_headers)


@pytest.mark.parametrize(
    "word",
    [
        "openai-insecure-api-key.sk-other",
        "OpenAI-Insecure-API-Key.sk-other",
        "realtime;openai-insecure-api-key.sk-other",
        "openai-organization.org-other",
        "openai-project.proj_other",
    ],
)
def test_no_protocol_has_a_key_or_an_account_in_it(word):
    sent = handshake(f"a, {word},{word} , b")
    assert sent["sec-websocket-protocol"] == "a, b"
    assert "sec-websocket-protocol" not in handshake(word)


def test_no_client_has_a_header_dropped_on_the_way_of_its_websocket():
    sent = handshake("a", connection="Upgrade, authorization, x-forwarded-for")
    assert sent["connection"] == "upgrade"


def test_a_websocket_with_a_body_is_refused():
    asked = headers(
        "/v1/realtime?model=whisper", method="GET", key="sk-all", content_length="9"
    )
    commands = exchange().receive(asked, 100.0)
    assert commands[0].status == 400


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ("", 400, "model"),
        ("?model=nobody", 404, "model"),
        ("?model=claude", 400, "model"),
    ],
)
def test_a_websocket_without_anybody_to_talk_to_is_refused(query, status, param):
    _, commands = begin(f"/v1/realtime{query}", method="GET")
    assert commands[0].status == status
    assert json.loads(commands[0].body)["error"]["param"] == param


def test_a_model_in_a_query_may_be_any_text():
    quoted = "glob%2Fa%20b%26c"
    runtime = Runtime.of(
        Snapshot(
            generation=1,
            grants=(Grant("all", hashlib.sha256(b"sk-all").hexdigest()),),
            models=(ModelSpec("glob/*", (target("openai"),)),),
        )
    )
    ex = Exchange(runtime, id="gw-1", started=1.0, now=100.0)
    path = f"/v1/realtime?model={quoted}"
    (route,) = ex.receive(headers(path, method="GET", key="sk-all"), 100.0)
    assert isinstance(route, Route)
    assert route.chain[0].heading.path == path


# ---------------------------------------------------------------------- Azure


@pytest.mark.parametrize(
    ("settings", "asked", "path"),
    [
        ((), "/v1/files?limit=2", "/openai/v1/files?limit=2"),
        (
            (("api_version", "2025-04-01"),),
            "/v1/files?limit=2",
            "/openai/files?api-version=2025-04-01&limit=2",
        ),
    ],
)
def test_azure_keeps_files_behind_a_path_of_its_own(settings, asked, path):
    azure = msgspec.structs.replace(
        target("azure"), settings=settings, base_path="", type="azure"
    )
    runtime = Runtime.of(
        Snapshot(
            generation=1,
            grants=(Grant("all", hashlib.sha256(b"sk-all").hexdigest()),),
            keepers=(azure,),
        )
    )
    ex = Exchange(runtime, id="gw-1", started=1.0, now=100.0)
    (route,) = ex.receive(headers(asked, method="GET", key="sk-all"), 100.0)
    assert isinstance(route, Route)
    assert route.chain[0].heading.path == path


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ((), "/openai/v1/realtime?a=1&model=m"),
        (
            (("api_version", "2025-04-01"),),
            "/openai/realtime?api-version=2025-04-01&deployment=m&a=1",
        ),
    ],
)
def test_azure_takes_sessions_by_model_or_by_deployment(settings, path):
    azure = msgspec.structs.replace(
        target("azure"), settings=settings, base_path="", type="azure", model="m"
    )
    runtime = Runtime.of(
        Snapshot(
            generation=1,
            grants=(Grant("all", hashlib.sha256(b"sk-all").hexdigest()),),
            models=(ModelSpec("talk", (azure,)),),
        )
    )
    ex = Exchange(runtime, id="gw-1", started=1.0, now=100.0)
    asked = headers("/v1/realtime?a=1&model=talk", method="GET", key="sk-all")
    (route,) = ex.receive(asked, 100.0)
    assert isinstance(route, Route)
    assert route.chain[0].heading.path == path
