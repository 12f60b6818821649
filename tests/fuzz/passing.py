"""Answers that pass as they come and are only read along: legacy completions, realtime."""

from __future__ import annotations

import functools
import hashlib
import json
import struct
from collections.abc import Sequence

import msgspec

from extproc.errors import ProtocolViolation
from extproc.exchange import events
from extproc.exchange.commands import AnswerBody, Command, Complete, Respond, Route
from extproc.exchange.completion import Completion
from extproc.exchange.exchange import Exchange
from extproc.formats.openai_realtime import read_event
from extproc.framing.websocket import MessageReader, text_frame
from extproc.runtime import Grant, ModelSpec, Runtime, Snapshot, TargetSpec
from tests.casebook import KEY, Answered, Upstream, answer, asked_to_stream, head
from tests.fuzz.decoders import streams
from tests.fuzz.shapes import BYTES, JSON, SSE
from tests.fuzz.target import Target, pick, pieces

MODEL = "gpt-3.5-turbo-instruct"
"""Of those whose provider has completions of its own."""


@functools.cache
def _runtime() -> Runtime:
    spec = TargetSpec(
        provider="openai", type="openai", cluster="openai",
        authority="provider.test", base_path="/v1",
    )  # fmt: skip
    grant = Grant("cases", hashlib.sha256(KEY.encode()).hexdigest())
    models = (ModelSpec("*", (spec,)),)
    return Runtime.of(Snapshot(generation=1, grants=(grant,), models=models))


def _begun(headers: dict[str, str], body: bytes | None) -> tuple[Exchange, Route]:
    exchange = Exchange(_runtime(), id="gw-1", started=1_800_000_000.0, now=0.0)
    commands = exchange.receive(events.RequestHeaders(headers, end=body is None), 0.0)
    if body is not None:
        commands += exchange.receive(events.RequestBody(body, end=True), 0.0)
    (route,) = (one for one in commands if isinstance(one, Route))
    return exchange, route


# ---------------------------------------------------------------- completions

ASKED = msgspec.json.encode({"model": MODEL, "prompt": "Hi", "max_tokens": 5})


def completions_asked(data: bytes) -> None:
    exchange = Exchange(_runtime(), id="gw-1", started=1_800_000_000.0, now=0.0)
    commands = exchange.receive(
        events.RequestHeaders(head("openai_completions"), end=False), 0.0
    )
    commands += exchange.receive(events.RequestBody(data, end=True), 0.0)
    for one in commands:
        if isinstance(one, Respond):
            assert 400 <= one.status < 500, one
        elif isinstance(one, Route):
            json.loads(one.chain[0].body, parse_int=str)


def _passed(upstream: Upstream, data: Sequence[bytes], asked: bytes) -> Answered:
    exchange, route = _begun(head("openai_completions"), asked)
    assert route.chain[0].heading.path == "/v1/completions"
    return answer(exchange, upstream, data)


def completions_answered(data: bytes) -> None:
    status = (200, 200, 200, 400, 429, 500)[pick(data, 6)]
    upstream = Upstream("application/json", (data,), status)
    answered = _passed(upstream, pieces(data), ASKED)
    if answered.body != data:
        assert json.loads(answered.body)["error"]
        assert answered.status >= 400


def completions_streamed(data: bytes) -> None:
    """What passes is what came, unless a failure is told behind it."""
    upstream = Upstream("text/event-stream", (data,))
    asked = asked_to_stream(ASKED, "openai_completions")
    body = _passed(upstream, pieces(data), asked).body
    assert body.startswith(data) or data.startswith(body) or b"error" in body
    assert _passed(upstream, [data], asked).body == body or b"error" in body


def _answers() -> list[bytes]:
    choice = {"text": "Hi", "index": 0, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    whole = {"id": "c", "object": "text_completion", "created": 1, "model": MODEL}
    return [
        msgspec.json.encode(one)
        for one in (
            {**whole, "choices": [choice], "usage": usage},
            {**whole, "choices": [], "usage": None, "system_fingerprint": "f"},
            {"error": {"message": "m", "type": "invalid_request_error", "code": None}},
        )
    ]


def _streamed() -> list[bytes]:
    one, end, usage = (
        b'{"id":"c","object":"text_completion","model":"m","choices":[{"text":"a","index":0}]}',
        b'{"id":"c","choices":[{"text":"","index":0,"finish_reason":"stop"}]}',
        b'{"id":"c","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}',
    )
    frames = [b"data: %s\n\n" % said for said in (one, one, end, usage)]
    broken = b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'
    done = b"data: [DONE]\n\n"
    return [
        b"".join((*frames, done)), b"".join((*frames[:3], done)), frames[0] + broken,
        b"".join(frames[:2]), *streams("sse")[:2],
    ]  # fmt: skip


# ---------------------------------------------------------------- WebSockets


def _read(data: Sequence[bytes]) -> tuple[list[bytes], bool, str]:
    reader, found = MessageReader(), list[bytes]()
    for piece in data:
        try:
            found += reader.feed(piece)
        except ProtocolViolation:
            # What of the messages before it was told depends on the split.
            return [], False, "refused"
    return found, reader.closed, ""


def websocket(data: bytes) -> None:
    whole = _read([data])
    assert _read(pieces(data)) == whole
    for message in whole[0]:
        read_event(message)


def realtime(data: bytes) -> None:
    """Let a provider say `data` in a session: it passes, and ends in one record."""
    headers = head("openai_chat") | {
        ":method": "GET", ":path": "/v1/realtime?model=gpt-realtime",
    }  # fmt: skip
    exchange, _ = _begun(headers, None)
    said = data if pick(data, 2) else text_frame(data)
    upgraded = events.ResponseHeaders(
        status=101, headers={":status": "101"}, end=False, details="", attempts=1
    )
    commands: list[Command] = exchange.receive(upgraded, 1.0)
    for piece in pieces(said):
        commands += exchange.receive(events.ResponseBody(piece, end=False), 2.0)
    commands += exchange.receive(events.Closed(), 3.0)
    (record,) = (one.completion for one in commands if isinstance(one, Complete))
    assert isinstance(record, Completion)
    msgspec.msgpack.encode(record)
    passed = b"".join(one.data for one in commands if isinstance(one, AnswerBody))
    assert said.startswith(passed) or passed.startswith(said) or b"error" in passed


EVENTS = (
    b'{"type":"response.created","event_id":"e","response":{"id":"r","status":"in_progress"}}',
    msgspec.json.encode({"type": "response.done", "response": {"usage": {
        "input_tokens": 9, "output_tokens": 4,
        "input_token_details": {
            "audio_tokens": 3, "cached_tokens": 2,
            "cached_tokens_details": {"audio_tokens": 1},
        },
        "output_token_details": {"audio_tokens": 2},
    }}}),
    b'{"type":"response.text.delta","delta":"a"}',
)  # fmt: skip
FRAMES = (
    b"".join(text_frame(one) for one in EVENTS),
    struct.pack(">BB", 0x01, 5) + EVENTS[0][:5] + struct.pack(">BB", 0x89, 1) + b"p"
    + struct.pack(">BBH", 0x80, 126, len(EVENTS[0]) - 5) + EVENTS[0][5:],
    struct.pack(">BBQ", 0x82, 127, 4) + b"data" + b"\x88\x02\x03\xe8",
)  # fmt: skip

TARGETS = (
    Target(
        "request openai_completions passed",
        lambda: [ASKED, asked_to_stream(ASKED, "openai_completions")],
        completions_asked,
        JSON,
    ),
    Target("answer openai_completions", _answers, completions_answered, JSON, few=4),
    Target("stream openai_completions", _streamed, completions_streamed, SSE, few=8),
    Target("websocket", lambda: FRAMES, websocket, BYTES),
    Target("realtime", lambda: EVENTS, realtime, JSON, few=4),
)
