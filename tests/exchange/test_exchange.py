"""Exchanges as playbooks: what happened on one side, what is to be done on the other."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json

import pytest
from hypothesis import given, strategies as st

from extproc.exchange import events
from extproc.exchange.commands import (
    AnswerBody,
    AnswerHeaders,
    AnswerTrailers,
    Complete,
    Leave,
    Respond,
    Route,
)
from extproc.exchange.completion import FailedAttempt
from extproc.exchange.exchange import Exchange
from extproc.routing.pick import MOST_NAME
from extproc.runtime import Grant, Limits, ModelSpec, Runtime, Snapshot, TargetSpec
from extproc.usage import Usage

KEY = "sk-test-0123456789abcdef"
FEW_KEY = "sk-few-0123456789abcdef"


def target(kind, model=None):
    return TargetSpec(
        provider=kind,
        type=kind,
        cluster=kind,
        authority=f"api.{kind}.test",
        base_path="/v1",
        model=model,
        default_max_tokens=777,
    )


def grant(name, key, models=("*",)):
    return Grant(name, hashlib.sha256(key.encode()).hexdigest(), models)


RUNTIME = Runtime.of(
    Snapshot(
        generation=1,
        grants=(grant("all", KEY), grant("few", FEW_KEY, ("few-*",))),
        models=(
            ModelSpec("gpt", (target("openai"),)),
            ModelSpec("mapped", (target("openai", "gpt-4o-2024"),)),
            ModelSpec("claude", (target("anthropic", "claude-sonnet-4-5"),)),
            ModelSpec("both", (target("openai"), target("anthropic", "claude-x"))),
            ModelSpec("few-1", (target("openai"),)),
            ModelSpec("glob-*", (target("openai"),)),
        ),
        limits=Limits(max_body_bytes=10_000, max_answer_bytes=20_000),
        created=1_700_000_000,
    )
)


def exchange():
    return Exchange(RUNTIME, id="gw-1", started=1_800_000_000.0, now=100.0)


def headers(path="/v1/chat/completions", *, method="POST", key=KEY, end=False, **more):
    sent = {":method": method, ":path": path, "content-type": "application/json"}
    if key:
        sent["authorization"] = f"Bearer {key}"
    sent |= {name.replace("_", "-"): value for name, value in more.items()}
    return events.RequestHeaders(sent, end)


def chat(model="gpt", **fields):
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return json.dumps(body).encode()


def ask(body, **more):
    """Play the request half; return the exchange and what it did."""
    ex = exchange()
    assert ex.receive(headers(**more), 100.0) == []
    return ex, ex.receive(events.RequestBody(body, end=True), 100.5)


def answered(status=200, kind="application/json", *, attempts=1, **more):
    return events.ResponseHeaders(
        status=status,
        headers={
            ":status": str(status),
            "content-type": kind,
            **more.pop("headers", {}),
        },
        end=more.pop("end", False),
        details=more.pop("details", "via_upstream"),
        attempts=attempts,
        **more,
    )


def completion(commands):
    (record,) = [c.completion for c in commands if isinstance(c, Complete)]
    return record


ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-x",
    "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None,
                 "message": {"role": "assistant", "content": "Hello", "refusal": None}}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11,
              "prompt_tokens_details": {"cached_tokens": 4}},
    "unknown": {"kept": [1, 2.50]},
}  # fmt: skip
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "cache_read_input_tokens": 4, "output_tokens": 2,
              "cache_creation_input_tokens": 0},
}  # fmt: skip


# ------------------------------------------------------------------ same format


def test_the_clients_bytes_reach_a_provider_of_the_same_format():
    body = b' {"model" : "gpt","messages":[],  "future":{"a":1.50} }'
    ex, (route,) = ask(body)
    assert isinstance(route, Route)
    (attempt,) = route.chain
    assert (
        attempt.body,
        attempt.cluster,
        attempt.heading.path,
        attempt.heading.authority,
    ) == (
        body,
        "openai",
        "/v1/chat/completions",
        "api.openai.test",
    )
    raw = json.dumps(ANSWER, indent=1).encode()
    assert ex.receive(answered(), 101.0) == []
    assert ex.receive(events.ResponseBody(raw[:50], end=False), 101.5) == []
    commands = ex.receive(events.ResponseBody(raw[50:], end=True), 102.0)
    assert commands[:3] == [AnswerHeaders(), AnswerBody(raw, end=True), Leave()]
    record = completion(commands)
    assert record.usage == Usage(9, 2, cache_read_input_tokens=4)
    assert (record.outcome, record.status, record.key) == ("ok", 200, "all")
    assert (record.original_model, record.request_model) == ("gpt", "gpt")
    assert (record.response_model, record.provider) == ("gpt-4o-x", "openai")
    assert (record.duration, record.first_byte) == (2.0, 1.5)
    assert (record.request_bytes, record.answer_bytes) == (len(body), len(raw))
    assert not record.estimated


def test_a_mapped_model_is_spliced_into_the_clients_bytes():
    _, (route,) = ask(b'{"messages": [], "model": "mapped"}')
    assert route.chain[0].body == b'{"messages": [], "model": "gpt-4o-2024"}'


def sse(*chunks):
    return b"".join(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks)


def chunk(delta, finish=None, **more):
    return {
        "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-x",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more,
    }  # fmt: skip


FIRST = chunk({"role": "assistant", "content": "Hel"})
LAST = chunk({}, "stop")
USAGE = {**chunk({}), "choices": [], "usage": ANSWER["usage"]}
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize("asked", [False, True])
def test_a_streams_usage_is_read_and_shown_to_a_client_that_asked(asked):
    options = {"stream_options": {"include_usage": True}} if asked else {}
    ex, (route,) = ask(chat(stream=True, **options))
    sent = json.loads(route.chain[0].body)
    assert sent["stream_options"] == {"include_usage": True}

    (head,) = ex.receive(answered(kind="text/event-stream; charset=utf-8"), 101.0)
    assert head == AnswerHeaders()
    whole = sse(FIRST, LAST, USAGE) + DONE
    out = []
    for i in range(0, len(whole), 40):
        (body,) = ex.receive(events.ResponseBody(whole[i : i + 40], end=False), 102.0)
        out.append(body.data)
    commands = ex.receive(events.ResponseBody(b"", end=True), 103.0)
    assert commands[0].end
    shown = b"".join(out) + commands[0].data
    assert shown == (whole if asked else sse(FIRST, LAST) + DONE)
    record = completion(commands)
    assert record.usage == Usage(9, 2, cache_read_input_tokens=4)
    assert (record.streamed, record.response_model) == (True, "gpt-4o-x")


def test_a_stream_that_ends_too_early_ends_in_an_error_the_client_sees():
    ex, _ = ask(chat(stream=True))
    ex.receive(answered(kind="text/event-stream"), 101.0)
    commands = ex.receive(events.ResponseBody(sse(FIRST), end=True), 102.0)
    frames = commands[0].data.split(b"\n\n")
    assert json.loads(frames[0][6:]) == FIRST
    assert json.loads(frames[1][6:])["error"]["code"] == "upstream_truncated"
    record = completion(commands)
    assert (record.outcome, record.error) == ("upstream_error", "upstream_truncated")
    assert record.estimated


def test_a_compressed_answer_passes_compressed_and_is_metered():
    ex, _ = ask(chat())
    raw = gzip.compress(json.dumps(ANSWER).encode())
    ex.receive(answered(headers={"content-encoding": "gzip"}), 101.0)
    commands = ex.receive(events.ResponseBody(raw, end=True), 102.0)
    assert commands[:2] == [AnswerHeaders(), AnswerBody(raw, end=True)]
    assert completion(commands).usage == Usage(9, 2, cache_read_input_tokens=4)


def test_a_compressed_stream_is_opened_so_that_its_usage_can_be_taken_out():
    ex, _ = ask(chat(stream=True))
    head = answered(kind="text/event-stream", headers={"content-encoding": "gzip"})
    assert ex.receive(head, 101.0) == [
        AnswerHeaders(delete_headers=("content-length", "content-encoding"))
    ]
    raw = gzip.compress(sse(FIRST, LAST, USAGE) + DONE)
    commands = ex.receive(events.ResponseBody(raw, end=True), 102.0)
    assert commands[0] == AnswerBody(sse(FIRST, LAST) + DONE, end=True)


def test_an_answer_too_large_to_hold_flows_on_unread():
    ex, _ = ask(chat())
    ex.receive(answered(), 101.0)
    first = b"x" * 20_001
    assert ex.receive(events.ResponseBody(first, end=False), 102.0) == [
        AnswerHeaders(),
        AnswerBody(first, end=False),
    ]
    commands = ex.receive(events.ResponseBody(b"y", end=True), 103.0)
    assert commands[0] == AnswerBody(b"y", end=True)
    record = completion(commands)
    assert (record.usage, record.estimated) == (Usage(17, 4000), True)
    assert record.answer_bytes == 20_002


# -------------------------------------------------------------------- translated


def test_a_request_for_another_format_is_rendered_and_its_answer_translated():
    ex, (route,) = ask(chat("claude", seed=7))
    (attempt,) = route.chain
    assert json.loads(attempt.body) == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 777,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }
    assert dict(attempt.heading.set_headers)["anthropic-version"] == "2023-06-01"
    assert ex.receive(answered(), 101.0) == []
    commands = ex.receive(
        events.ResponseBody(json.dumps(MESSAGE).encode(), end=True), 102.0
    )
    head, body = commands[:2]
    assert dict(head.set_headers)["x-extproc-dropped"] == "seed"
    answer = json.loads(body.data)
    assert answer["choices"][0]["message"]["content"] == "Hello"
    assert answer["usage"]["prompt_tokens"] == 9
    record = completion(commands)
    assert record.usage == Usage(9, 2, cache_read_input_tokens=4)
    assert (record.translated, record.dropped) == (True, ("seed",))


ANTHROPIC_STREAM = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0,
     "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0,
     "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
     "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]  # fmt: skip


def anthropic_sse(stream=ANTHROPIC_STREAM):
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (e["type"].encode(), json.dumps(e).encode())
        for e in stream
    )


def test_a_stream_of_another_format_is_translated_whole():
    ex, _ = ask(chat("claude", stream=True))
    (head,) = ex.receive(answered(kind="text/event-stream"), 101.0)
    assert isinstance(head, AnswerHeaders)
    commands = ex.receive(events.ResponseBody(anthropic_sse(), end=True), 102.0)
    text = commands[0].data
    assert commands[0].end
    assert text.endswith(DONE)
    chunks = [
        json.loads(line[6:])
        for line in text.split(b"\n")
        if line.startswith(b"data: {")
    ]
    said = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
    assert said == "Hello"
    assert completion(commands).usage == Usage(9, 2, cache_read_input_tokens=4)


def test_an_error_inside_a_translated_stream_ends_it_at_once():
    ex, _ = ask(chat("claude", stream=True))
    ex.receive(answered(kind="text/event-stream"), 101.0)
    broken = [
        *ANTHROPIC_STREAM[:4],
        {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}},
    ]
    commands = ex.receive(events.ResponseBody(anthropic_sse(broken), end=False), 102.0)
    assert commands[0].end, "ending before the provider does resets it"
    last = commands[0].data.strip().split(b"\n\n")[-1]
    assert json.loads(last[6:])["error"]["message"]
    assert completion(commands).outcome == "upstream_error"


def test_what_came_before_a_broken_event_in_the_same_read_is_not_lost():
    ex, _ = ask(chat("claude", stream=True))
    ex.receive(answered(kind="text/event-stream"), 101.0)
    broken = anthropic_sse(ANTHROPIC_STREAM[:4]) + b"event: ping\ndata: {\n\n"
    body, *rest = ex.receive(events.ResponseBody(broken, end=False), 102.0)
    assert body.end
    assert b'"content":"Hello"' in body.data
    last = body.data.strip().split(b"\n\n")[-1]
    assert json.loads(last[6:])["error"]["code"] == "bad_upstream_answer"
    assert completion(rest).outcome == "upstream_error"


# ----------------------------------------------------------------------- failover


def test_the_attempt_that_answered_says_how_the_answer_is_read():
    ex, (route,) = ask(chat("both"))
    assert [attempt.cluster for attempt in route.chain] == ["openai", "anthropic"]
    assert "anthropic-version" in route.chain[0].heading.delete_headers
    failed = (events.FailedAttempt(1, 429, "2"),)
    ex.receive(answered(attempts=2, failed=failed, attempts_at=(9.5, 9.75)), 101.0)
    commands = ex.receive(
        events.ResponseBody(json.dumps(MESSAGE).encode(), end=True), 102.0
    )
    assert json.loads(commands[1].data)["object"] == "chat.completion"
    record = completion(commands)
    assert (record.provider, record.attempts) == ("anthropic", 2)
    assert record.failed_attempts == (
        FailedAttempt("openai", "openai", "both", 429, "2"),
    )
    assert (record.attempts_at, record.chunks) == ((9.5, 9.75), 1)


def test_a_record_has_the_ids_by_which_others_know_the_request():
    """The client's own, of the W3C, and Envoy's."""
    ex, _ = ask(
        chat(),
        x_request_id="5a1c",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        tracestate="congo=t61rcWkgMzE",
    )
    record = completion(ex.receive(events.Closed(), 101.0))
    # Whom it was sent to is known also where nobody has answered.
    assert (record.provider, record.attempts) == ("openai", 0)
    assert record.request_id == "5a1c"
    assert record.traceparent == (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    )
    assert record.tracestate == "congo=t61rcWkgMzE"


def test_a_target_that_cannot_say_the_request_is_left_out_of_the_chain():
    ex, (route,) = ask(chat("both", n=2))
    assert [attempt.cluster for attempt in route.chain] == ["openai"]
    record = completion(ex.receive(events.Closed(), 101.0))
    assert record.skipped == ("anthropic:n",)


SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def test_what_one_api_of_a_provider_cannot_say_another_may():
    said = {"max_tokens": 99, "tools": [SEARCH]}
    _, commands = ask(chat("mapped", **said), path="/v1/messages")
    (attempt,) = commands[0].chain
    assert attempt.heading.path == "/v1/responses"
    assert json.loads(attempt.body)["tools"] == [{"type": "web_search"}]


def test_what_no_api_of_a_provider_can_say_is_refused_for_the_main_ones_reason():
    said = {"max_tokens": 99, "tools": [{**SEARCH, "blocked_domains": ["b.test"]}]}
    _, commands = ask(chat("mapped", **said), path="/v1/messages")
    refusal = commands[0]
    assert refusal.status == 400
    assert b"searches no web in chat completions" in refusal.body


def test_a_chain_is_cut_where_its_bodies_are_over_the_limit_together():
    ex, (route,) = ask(chat("both", user="x" * 6000))
    assert len(route.chain) == 1
    record = completion(ex.receive(events.Closed(), 101.0))
    assert record.skipped == ("anthropic:size",)


# ------------------------------------------------------------------------- errors

REFUSED = {
    "no key": (headers(key=None), None, 401, "invalid_api_key", None),
    "wrong key": (headers(key="sk-wrong"), None, 401, "invalid_api_key", None),
    "wrong x-api-key": (
        headers(key=None, x_api_key="sk-wrong"), None, 401, "invalid_api_key", None),
    "basic auth": (
        headers(key=None, authorization="Basic eDp5"), None, 401, "invalid_api_key", None),
    "unknown url": (headers("/v1/nothing"), None, 404, "unknown_url", None),
    "content-type": (
        headers(content_type="text/plain"), None, 415, "unsupported_media_type", None),
    "coding": (
        headers(content_encoding="compress"), None, 415, "unsupported_content_encoding",
        None),
    "declared size": (
        headers(content_length="10001"), None, 413, "request_too_large", None),
    "no body": (headers(end=True), None, 400, None, None),
    "size": (headers(), b" " * 10_001, 413, "request_too_large", None),
    "bomb": (
        headers(content_encoding="gzip"), gzip.compress(b" " * 10_001), 413,
        "request_too_large", None),
    "not gzip": (headers(content_encoding="gzip"), b"{}", 400, "invalid_encoding", None),
    "half gzip": (
        headers(content_encoding="gzip"), gzip.compress(chat())[:-4], 400,
        "invalid_encoding", None),
    "not json": (headers(), b"{", 400, "invalid_json", None),
    "not utf-8": (headers(), b'{"a":"\xff"}', 400, "invalid_json", None),
    "twice": (headers(), b'{"model":"a","model":"b"}', 400, "duplicate_key", "model"),
    "no model": (headers(), b"{}", 400, "missing_required_parameter", "model"),
    "model type": (headers(), b'{"model":1}', 400, "invalid_type", "model"),
    "stream type": (
        headers(), b'{"model":"gpt","stream":"yes"}', 400, "invalid_type", "stream"),
    "unknown model": (headers(), chat("nobody"), 404, "model_not_found", "model"),
    "a name without end": (
        headers(), chat("glob-" + "x" * 508), 404, "model_not_found", "model"),
    "not for this key": (
        headers(key=FEW_KEY), chat("gpt"), 404, "model_not_found", "model"),
    "cannot translate": (headers(), chat("claude", n=2), 400, None, "n"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_request_is_refused_in_the_clients_dialect(case):
    first, body, status, code, param = REFUSED[case]
    ex = exchange()
    commands = ex.receive(first, 100.0)
    if body is not None:
        assert commands == []
        commands = ex.receive(events.RequestBody(body, end=True), 101.0)
    reply, leave, _ = commands
    assert isinstance(reply, Respond)
    assert leave == Leave()
    assert reply.status == status
    assert reply.details.startswith("gw_")
    error = json.loads(reply.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    if code is not None:
        assert error["code"] == code
    record = completion(commands)
    assert (record.outcome, record.status) == ("client_error", status)
    assert ex.receive(events.Closed(), 102.0) == [], "one completion is enough"


def test_an_unknown_model_names_those_that_the_key_may_see():
    _, (reply, *_) = ask(chat("nobody"), key=FEW_KEY)
    message = json.loads(reply.body)["error"]["message"]
    assert "few-1" in message
    assert "claude" not in message


def test_a_wrong_key_is_not_repeated():
    ex = exchange()
    reply, *_ = ex.receive(headers(key="sk-this-is-a-secret-of-somebody"), 100.0)
    assert b"is-a-secret" not in reply.body


def test_trailers_are_refused():
    ex = exchange()
    ex.receive(headers(), 100.0)
    ex.receive(events.RequestBody(chat(), end=False), 100.0)
    reply, *_ = ex.receive(events.RequestTrailers(), 100.0)
    assert (reply.status, "Trailers" in json.loads(reply.body)["error"]["message"]) == (
        400,
        True,
    )


def test_a_body_in_pieces_is_the_same_request():
    ex = exchange()
    ex.receive(headers(content_encoding="gzip"), 100.0)
    packed = gzip.compress(chat())
    for i in range(len(packed)):
        assert ex.receive(events.RequestBody(packed[i : i + 1], end=False), 100.0) == []
    (route,) = ex.receive(events.RequestBody(b"", end=True), 100.0)
    assert route.chain[0].body == chat()


LOCAL = {
    (503, "upstream_reset_before_response_started{connection_failure}"): (
        503, "upstream_unreachable"),
    (503, "no_healthy_upstream"): (503, "upstream_unreachable"),
    (504, "response_timeout"): (504, "upstream_timeout"),
    (504, "upstream_per_try_timeout"): (504, "upstream_timeout"),
}  # fmt: skip


@pytest.mark.parametrize("said", LOCAL)
def test_envoys_own_answer_becomes_an_error_in_the_clients_dialect(said):
    status, code = LOCAL[said]
    ex, _ = ask(chat())
    head, body, leave, _ = commands = ex.receive(
        answered(said[0], "text/plain", details=said[1]), 101.0
    )
    assert (head.status, leave) == (status, Leave())
    assert "content-length" in head.delete_headers
    assert json.loads(body.data)["error"]["code"] == code
    assert body.end
    assert completion(commands).outcome == "upstream_error"


@pytest.mark.parametrize("asked", [False, True])
def test_what_envoy_answers_before_the_request_is_whole_passes_untouched(asked):
    """Piece by piece: leaving early would lose the body."""
    ex = exchange()
    if asked:
        ex.receive(headers(), 100.0)
    head = answered(413, details="request_payload_too_large")
    assert ex.receive(head, 101.0) == [AnswerHeaders()]
    assert ex.receive(events.ResponseBody(b"{", end=False), 101.0) == [
        AnswerBody(b"{", end=False)
    ]
    commands = ex.receive(events.ResponseBody(b"}", end=True), 101.0)
    assert commands[:2] == [AnswerBody(b"}", end=True), Leave()]
    record = completion(commands)
    assert (record.status, record.outcome) == (413, "client_error")
    assert record.error == "request_payload_too_large"


@pytest.mark.parametrize("model", ["gpt", "claude"])
@pytest.mark.parametrize(
    "body", [b"", b"<html>no</html>", b"\xff\xfe", b"[]", b'{"detail":"no"}', b"null"]
)
def test_a_providers_error_of_any_shape_becomes_ours(model, body):
    ex, _ = ask(chat(model))
    ex.receive(answered(503), 101.0)
    head, reply, *_ = commands = ex.receive(events.ResponseBody(body, end=True), 102.0)
    assert head.status == 503
    assert json.loads(reply.data)["error"]["message"]
    assert completion(commands).outcome == "upstream_error"


def test_an_error_without_a_body_still_gets_one():
    ex, _ = ask(chat())
    reply, *_ = ex.receive(answered(500, end=True), 101.0)
    assert isinstance(reply, Respond), "Envoy adds no body to headers that end"
    assert reply.status == 500
    assert json.loads(reply.body)["error"]["message"]


def test_silence_before_the_answer_is_a_timeout():
    ex, _ = ask(chat())
    assert ex.deadline == 100.5 + RUNTIME.limits.first_byte_seconds
    reply, leave, _ = ex.receive(events.Expired(), ex.deadline)
    assert isinstance(reply, Respond), "there are no headers yet to be answered"
    assert (reply.status, leave) == (504, Leave())
    assert json.loads(reply.body)["error"]["code"] == "upstream_timeout"


@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_a_stream_without_a_body_is_an_error_with_a_status(model):
    ex, _ = ask(chat(model, stream=True))
    reply, *_ = ex.receive(answered(kind="text/event-stream", end=True), 101.0)
    assert isinstance(reply, Respond)
    assert reply.status == 502
    assert json.loads(reply.body)["error"]["code"] == "upstream_truncated"


def test_silence_inside_a_stream_is_an_error_event_and_a_clean_end():
    ex, _ = ask(chat(stream=True))
    ex.receive(answered(kind="text/event-stream"), 101.0)
    ex.receive(events.ResponseBody(sse(FIRST), end=False), 102.0)
    assert ex.deadline == 102.0 + RUNTIME.limits.idle_seconds
    body, *_ = ex.receive(events.Expired(), ex.deadline)
    assert body.end
    assert b"upstream_timeout" in body.data


def test_a_slow_request_is_a_timeout():
    ex = exchange()
    assert ex.deadline == 100.0 + RUNTIME.limits.request_seconds
    ex.receive(headers(), 100.0)
    reply, *_ = ex.receive(events.Expired(), 200.0)
    assert reply.status == 408


# ----------------------------------------------------------------- our own answers


def test_models_are_listed_for_the_key():
    ex = exchange()
    reply, *_ = ex.receive(
        headers("/v1/models?limit=5", method="GET", key=FEW_KEY, end=True), 100.0
    )
    assert json.loads(reply.body) == {
        "object": "list",
        "data": [
            {
                "id": "few-1",
                "object": "model",
                "created": 1_700_000_000,
                "owned_by": "extproc",
            }
        ],
    }


def test_a_model_is_shown_to_those_who_may_use_it():
    for key, status in ((KEY, 200), (FEW_KEY, 404)):
        reply, *_ = exchange().receive(
            headers("/v1/models/claude", method="GET", key=key, end=True), 100.0
        )
        assert reply.status == status


def test_ready_needs_no_key():
    reply, *_ = exchange().receive(
        headers("/health/ready", method="GET", key=None, end=True), 100.0
    )
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "ready"})


# ------------------------------------------------------------------------ the end

ENDS = [
    events.ResponseBody(sse(LAST) + DONE, end=True),
    events.ResponseTrailers(),
    events.Expired(),
    events.Closed(),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(len(ENDS)))))
@pytest.mark.parametrize("stage", ["nothing", "headers", "routed", "answered"])
@pytest.mark.parametrize("stream", [False, True])
def test_ends_in_every_order_give_one_completion(order, stage, stream):
    ex = exchange()
    commands = []
    if stage != "nothing":
        commands += ex.receive(headers(), 100.0)
    if stage in {"routed", "answered"}:
        commands += ex.receive(events.RequestBody(chat(stream=stream), end=True), 100.0)
    if stage == "answered":
        kind = "text/event-stream" if stream else "application/json"
        commands += ex.receive(answered(kind=kind), 100.0)
    for index in order:
        commands += ex.receive(ENDS[index], 101.0)
    assert sum(isinstance(c, Complete) for c in commands) == 1
    assert sum(isinstance(c, Leave) for c in commands) <= 1


ANY_EVENT = st.sampled_from(
    [
        headers(),
        headers(end=True),
        headers("/v1/models", method="GET", end=True),
        events.RequestBody(chat(), end=True),
        events.RequestBody(chat(stream=True), end=True),
        events.RequestBody(b"{", end=False),
        events.RequestTrailers(),
        answered(),
        answered(500),
        answered(kind="text/event-stream"),
        answered(503, details="no_healthy_upstream"),
        events.ResponseBody(b"{}", end=False),
        *ENDS,
    ]
)


@given(st.lists(ANY_EVENT, max_size=12))
def test_no_order_of_events_breaks_an_exchange(order):
    """Whatever Envoy says, there is one completion, and nothing is said after it."""
    ex = exchange()
    commands = []
    for event in [*order, events.Closed()]:
        done = ex.completed
        said = ex.receive(event, 101.0)
        assert not (done and said)
        commands += said
    assert sum(isinstance(c, Complete) for c in commands) == 1
    bodies = [c.end for c in commands if isinstance(c, AnswerBody)]
    assert not any(bodies[:-1]), "nothing follows the end of the body"


def test_a_client_that_leaves_is_metered_with_what_was_said():
    ex, _ = ask(chat("claude", stream=True))
    ex.receive(answered(kind="text/event-stream"), 101.0)
    ex.receive(events.ResponseBody(anthropic_sse()[:-200], end=False), 102.0)
    record = completion(ex.receive(events.Closed(), 103.0))
    assert (record.outcome, record.estimated) == ("canceled", True)
    assert record.usage is not None
    assert record.usage.input_tokens == 9


def test_trailers_end_an_answer():
    ex, _ = ask(chat())
    raw = json.dumps(ANSWER).encode()
    ex.receive(answered(), 101.0)
    ex.receive(events.ResponseBody(raw, end=False), 102.0)
    commands = ex.receive(events.ResponseTrailers(), 102.0)
    assert commands[:3] == [
        AnswerHeaders(),
        AnswerBody(raw, end=False),
        AnswerTrailers(),
    ]
    assert completion(commands).outcome == "ok"


def test_a_record_keeps_the_first_characters_of_a_name():
    """Each goes to control in one frame with others, and has its place in a file."""
    _, commands = ask(chat("m" * 9_000))
    assert len(completion(commands).original_model) == MOST_NAME
