"""The cost in an answer's usage, for who asked: in each client format, however it is cut."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from extproc.exchange import events
from extproc.exchange.commands import AnswerBody, AnswerHeaders
from extproc.exchange.priced import with_cost
from tests.exchange.test_account import MONTH, admit, allow, ask, runtime
from tests.exchange.test_exchange import ANSWER, MESSAGE, answered

WANT = {"x-extproc-include-cost": "true"}
PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"stream_options": {"include_usage": True}},
    "/v1/responses": {"input": "Hi"},
    "/v1/messages": {"max_tokens": 50},
}
RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-4o-x",
    "status": "completed", "output": [],
    "usage": {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4},
              "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 0},
              "total_tokens": 11},
}  # fmt: skip
PROVIDERS = {"gpt": ANSWER, "claude": MESSAGE}
COSTS = {"gpt": 0.000034, "claude": 0.000057}
"""9 and 2 tokens at $2 and $8; 5 + 4 and 2 at $3 and $15."""


def asking(path, model, *, stream=False, headers=WANT, rt=None):
    body = {**PATHS[path], "stream": stream}
    if not stream:
        body.pop("stream_options", None)
    return ask(rt or runtime(), model, path=path, headers=headers, **body)


def sse(*items):
    return b"".join(
        (b"event: %s\n" % i["type"].encode() if "type" in i else b"")
        + b"data: %s\n\n" % json.dumps(i).encode()
        for i in items
    )


CHUNK = {"id": "c", "object": "chat.completion.chunk", "model": "m", "created": 1}
STREAMS = {
    "gpt": sse(
        {**CHUNK, "choices": [{"index": 0, "delta": {"role": "assistant", "content": 'say "usage":{"a"'}, "finish_reason": None}], "usage": None},
        {**CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None},
        {**CHUNK, "choices": [], "usage": ANSWER["usage"]},
    ) + b"data: [DONE]\n\n",
    "claude": sse(
        {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": 5, "cache_read_input_tokens": 4, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ),
}  # fmt: skip


OWN = sse(
    {"type": "response.created", "sequence_number": 0, "response": {**RESPONSE, "status": "in_progress", "usage": None}},
    {"type": "response.output_text.delta", "sequence_number": 1, "item_id": "i", "output_index": 0, "content_index": 0, "delta": "Hi", "logprobs": []},
    {"type": "response.completed", "sequence_number": 2, "response": RESPONSE},
)  # fmt: skip


def said(commands):
    return b"".join(c.data for c in commands if isinstance(c, AnswerBody))


def streamed(path, model, pieces, **more):
    ex, _ = asking(path, model, stream=True, **more)
    ex.receive(answered(kind="text/event-stream"), 1.0)
    out = b""
    for piece in pieces:
        out += said(ex.receive(events.ResponseBody(piece, end=False), 1.1))
    return out + said(ex.receive(events.ResponseBody(b"", end=True), 1.2))


def costs(stream):
    """Return every cost in it, in order."""
    found = []

    def look(value):
        if isinstance(value, dict):
            found.extend(
                [value["usage"]["cost"]] if "cost" in (value.get("usage") or {}) else []
            )
            for inner in value.values():
                look(inner)

    for line in stream.splitlines():
        if line.startswith(b"data: {"):
            look(json.loads(line[6:]))
    return found


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("model", PROVIDERS)
def test_a_whole_answer_has_its_cost(path, model):
    ex, _ = asking(path, model)
    ex.receive(answered(), 1.0)
    own = path == "/v1/responses" and model == "gpt"
    raw = json.dumps(RESPONSE if own else PROVIDERS[model]).encode()
    commands = ex.receive(events.ResponseBody(raw, end=True), 1.1)
    answer = json.loads(said(commands))
    assert answer["usage"]["cost"] == pytest.approx(COSTS[model])
    head = next(c for c in commands if isinstance(c, AnswerHeaders))
    assert float(dict(head.set_headers)["x-extproc-cost"]) == answer["usage"]["cost"]
    assert "content-length" in head.delete_headers


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("model", PROVIDERS)
def test_a_stream_has_its_cost_once_however_it_is_cut(path, model):
    own = path == "/v1/responses" and model == "gpt"
    whole = OWN if own else STREAMS[model]
    plain = streamed(path, model, [whole], headers=None)
    assert costs(plain) == []
    dice = random.Random(7)
    cuts = sorted(dice.sample(range(len(whole)), 9))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    bytewise = [whole[i : i + 1] for i in range(len(whole))]
    with_gaps = [piece for byte in bytewise for piece in (byte, b"")]
    for split in ([whole], pieces, bytewise, with_gaps):
        told = streamed(path, model, split)
        assert costs(told) == [pytest.approx(COSTS[model])]
        # Nothing else has changed.
        assert told.count(b'"cost":') == 1
        begin = told.index(b'"cost":')
        end = told.index(b",", begin) + 1
        assert told[:begin] + told[end:] == plain


SCHEMA = {"type": "object", "properties": {"usage": {"type": "string"}}}


@pytest.mark.parametrize(
    "body",
    [
        {
            "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}],
            "usage": {"a": 1},
        },
        {
            "content": [{"type": "tool_use", "input": {"usage": {"b": 1}}}],
            "usage": {"a": 1},
        },
        {"usage": {"a": 1}, "metadata": {"usage": {"b": 1}}},
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_cost_stands_in_the_answers_own_usage(body, wrapped):
    expected = {**body, "usage": {"cost": 0.5, **body["usage"]}}
    if wrapped:
        body, expected = (
            {"type": "x", "response": body},
            {"type": "x", "response": expected},
        )
    for spelled in ({}, {"indent": 1}, {"separators": (",", ":")}):
        told = with_cost(json.dumps(body, **spelled).encode(), 500_000_000)
        assert json.loads(told) == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"message":{"usage":{"a":1}}}',
        b'{"content":[{"usage":{"a":1}}]}',
        b'{"usage":null,"x":{"usage":{"a":1}}}',
        b'{"response":["usage",{"usage":{"a":1}}]}',
        b'[{"usage":{"a":1}}]',
        b'{"usage":{"a":1},"usage":{"a":1}}',
        b'{"usage":{"a":1}',
    ],
)
def test_what_is_not_the_answers_own_usage_is_left_alone(body):
    assert with_cost(body, 5) == body


def test_lines_may_end_in_crlf():
    whole = STREAMS["gpt"].replace(b"\n", b"\r\n")
    told = streamed(
        "/v1/chat/completions", "gpt", [whole[i : i + 1] for i in range(len(whole))]
    )
    assert costs(told) == [pytest.approx(COSTS["gpt"])]
    assert told.count(b"\r\n") == whole.count(b"\r\n")


def test_who_did_not_ask_gets_the_providers_bytes():
    ex, _ = asking("/v1/chat/completions", "gpt", headers=None)
    ex.receive(answered(), 1.0)
    raw = json.dumps(ANSWER, indent=1).encode()
    assert said(ex.receive(events.ResponseBody(raw, end=True), 1.1)) == raw


def test_a_model_without_a_price_has_no_cost():
    ex, _ = asking("/v1/chat/completions", "free")
    ex.receive(answered(), 1.0)
    raw = json.dumps(ANSWER).encode()
    assert said(ex.receive(events.ResponseBody(raw, end=True), 1.1)) == raw


def test_a_stream_that_is_cut_off_has_its_cost_too():
    rt = runtime(allow(budgets=(MONTH,)), grant={"cut_off": True})
    ex, commands = asking("/v1/chat/completions", "gpt", stream=True, rt=rt)
    admit(ex, commands)
    ex.receive(answered(kind="text/event-stream"), 1.0)
    word = {"index": 0, "delta": {"content": "w "}, "finish_reason": None}
    words = sse(*[{**CHUNK, "choices": [word]}] * 900)
    ex.receive(events.ResponseBody(words, end=False), 1.1)
    ex.receive(events.ToppedUp(granted=False), 1.2)
    last = said(
        ex.receive(
            events.ResponseBody(sse({**CHUNK, "choices": [word]}), end=False), 1.3
        )
    )
    assert len(costs(last)) == 1
    assert last.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "body", [b'{"a":"\\"usage\\":{\\"b"}', b'{"usage":null}', b'{"usage":{}}', b"{}"]
)
def test_what_has_no_usage_is_left_as_it_is(body):
    assert with_cost(body, 5) == body
