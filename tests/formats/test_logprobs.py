"""Log probabilities between all the APIs that have them, whole and streamed."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from extproc import canonical as c
from extproc.errors import BadRequest
from extproc.formats import openai_chat, openai_responses
from extproc.formats.base import WriterContext
from extproc.formats.gemini import wire as gemini_wire
from extproc.formats.gemini.choice_reader import ChoiceReader
from tests.formats.relay import PLACES, read_stream, relay

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
CONTEXT = WriterContext(id="gw1", created=1700, model="asked", include_usage=False)
SAY = "one two three"
ASKS: dict[str, dict[str, Any]] = {
    "openai_chat": {
        "model": "m", "messages": [{"role": "user", "content": SAY}],
        "logprobs": True, "top_logprobs": 1,
    },
    "openai_responses": {
        "model": "m", "input": SAY, "include": ["message.output_text.logprobs"],
        "top_logprobs": 1,
    },
}  # fmt: skip
PAIRS = [
    pair
    for pair in itertools.product(ASKS, ("openai_chat", "openai_responses", "gemini"))
    if pair[0] != pair[1]
]


def whole_tokens(client: str, said: Any) -> Any:
    if client == "openai_chat":
        ChatCompletion.model_validate(said, strict=True)
        (choice,) = said["choices"]
        return choice["logprobs"]["content"]
    Response.model_validate(said, strict=True)
    (item,) = [item for item in said["output"] if item["type"] == "message"]
    (part,) = item["content"]
    return part["logprobs"]


def streamed_tokens(client: str, events: list[Any]) -> list[Any]:
    tokens: list[Any] = []
    for event in events:
        if client == "openai_chat":
            ChatCompletionChunk.model_validate(event, strict=True)
            for choice in event["choices"]:
                tokens += (choice["logprobs"] or {}).get("content") or []
        else:
            EVENT.validate_python(event, strict=True)
            if event["type"] == "response.output_text.delta":
                tokens += event["logprobs"]
    return tokens


@pytest.mark.parametrize(("client", "provider"), PAIRS)
@pytest.mark.parametrize("cut", [None, 1, 7])
def test_a_stream_has_the_tokens_that_the_whole_answer_has(client, provider, cut):
    tokens = whole_tokens(client, relay(client, provider, ASKS[client]).whole)
    text = "".join(token["token"] for token in tokens)
    assert SAY in text
    assert all(token["bytes"] == list(token["token"].encode()) for token in tokens)
    assert all(len(token["top_logprobs"]) == 1 for token in tokens)
    said = relay(client, provider, {**ASKS[client], "stream": True}, cut=cut)
    assert streamed_tokens(client, said.events) == tokens
    assert said.dropped == ()


def test_a_response_ends_with_the_tokens_of_all_its_pieces():
    asks = {**ASKS["openai_responses"], "stream": True}
    events = relay("openai_responses", "gemini", asks).events
    done = {e["type"]: e for e in events if e["type"].endswith((".done", ".completed"))}
    tokens = streamed_tokens("openai_responses", events)
    assert done["response.output_text.done"]["logprobs"] == tokens
    assert done["response.content_part.done"]["part"]["logprobs"] == tokens
    whole = done["response.completed"]["response"]
    assert whole_tokens("openai_responses", whole) == tokens


@pytest.mark.parametrize("provider", ["anthropic", "converse"])
@pytest.mark.parametrize(
    ("client", "field"), [("openai_chat", "logprobs"), ("openai_responses", "include")]
)
def test_who_has_none_refuses_by_the_clients_name(client, field, provider):
    for stream in (False, True):
        with pytest.raises(BadRequest) as caught:
            relay(client, provider, {**ASKS[client], "stream": stream})
        assert caught.value.param == field


# ---------------------------------------------------------------- what is seldom

HALF = {"token": "\\xf0", "bytes": [240], "logprob": -0.5, "top_logprobs": []}


def chunk(delta: Any, logprobs: Any = None, finish: str | None = None) -> bytes:
    said = {
        "id": "a", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [
            {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        ],
    }  # fmt: skip
    return b"data: " + msgspec.json.encode(said) + b"\n\n"


def test_a_token_that_is_a_part_of_a_character_is_not_lost():
    raw = (
        chunk({"role": "assistant", "content": ""}, {"content": [], "refusal": None})
        + chunk({"content": ""}, {"content": [HALF], "refusal": None})
        + chunk({"content": "🙂"}, {"content": [HALF], "refusal": None})
        + chunk({}, None, "stop") + b"data: [DONE]\n\n"
    )  # fmt: skip
    events = read_stream(PLACES["openai_chat"], raw)
    deltas = [event for event in events if isinstance(event, c.Delta)]
    assert [event.text for event in deltas] == ["", "🙂"]
    assert all(json.loads(bytes(event.logprobs or b"")) == [HALF] for event in deltas)
    out = openai_responses.CLIENT.stream_writer(CONTEXT).write(events)
    assert out.count(b"[240]") == 2 * 5  # in its piece, and again in four ends


def test_a_refusals_tokens_go_where_refusals_go():
    raw = (
        chunk({"refusal": "No"}, {"content": None, "refusal": [HALF]})
        + chunk({}, None, "stop") + b"data: [DONE]\n\n"
    )  # fmt: skip
    events = read_stream(PLACES["openai_chat"], raw)
    out = openai_chat.CLIENT.stream_writer(CONTEXT).write(events)
    (said,) = [line for line in out.split(b"\n\n") if b"[240]" in line]
    choice = json.loads(said.removeprefix(b"data: "))["choices"][0]
    assert choice["delta"] == {"refusal": "No"}
    assert choice["logprobs"] == {"content": None, "refusal": [HALF]}
    out = openai_responses.CLIENT.stream_writer(CONTEXT).write(events)
    assert b'"delta":"No"' in out
    assert b"[240]" not in out  # a refusal has no place for them there


def test_gemini_may_tell_them_behind_the_text():
    tokens = msgspec.Raw(b"[1]")
    reader = ChoiceReader(0, "r")
    first = [*reader.read([gemini_wire.AnsweredPart(text="a")])]
    late = [*reader.read([gemini_wire.AnsweredPart(text="")], tokens)]
    assert first[-1] == c.Delta(0, "a")
    assert late == [c.Delta(0, "", 0, tokens)]
    thought = gemini_wire.AnsweredPart(text="hm", thought=True)
    reader = ChoiceReader(0, "r")
    said = [*reader.read([thought, gemini_wire.AnsweredPart(text="b")], tokens)]
    assert [event for event in said if isinstance(event, c.Delta)] == [
        c.Delta(0, "hm"), c.Delta(1, "b", 0, tokens),
    ]  # fmt: skip
