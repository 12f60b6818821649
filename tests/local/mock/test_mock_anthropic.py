"""The mock of Anthropic, judged by the official SDK: its models, its client, its errors."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import anthropic
import httpx
import pydantic
import pytest
from anthropic.resources.messages.messages import DEPRECATED_MODELS
from anthropic.types import (
    Message,
    MessageTokensCount,
    ModelInfo,
    RawMessageStreamEvent,
    StopReason,
)
from anthropic.types.shared.error_response import ErrorResponse

from extproc.local.mock import MockServer
from extproc.local.mock.anthropic.api import STOP_REASONS
from extproc.local.mock.anthropic.models import MODELS

OLDER = {"x-api-key": "sk-mock-1", "anthropic-version": "2023-06-01"}
CURRENT = {"authorization": "Bearer sk-mock-1", "anthropic-version": "2026-10-21"}
EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(RawMessageStreamEvent)
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
PDF = base64.b64encode(b"%PDF-1.7\n").decode()


def tool(name: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name, "input_schema": schema}


WEATHER = tool("get_weather", city={"type": "string"})
CLOCK = tool("clock")
OPTIONAL = {
    "name": "search",
    "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}},
}
HAIKU = "claude-haiku-4-5"
THINKING = {"type": "enabled", "budget_tokens": 1024}


def ask(text: str = "Hello there", **fields: Any) -> dict[str, Any]:
    return said({"role": "user", "content": text}, **fields)


def said(*messages: Any, **fields: Any) -> dict[str, Any]:
    given = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 2000,
        "messages": list(messages),
    }
    return {**given, **fields}


def extras(value: Any) -> Iterator[str]:
    """Yield the fields that the SDK's models do not know."""
    if isinstance(value, pydantic.BaseModel):
        yield from value.model_extra or ()
        for name in type(value).model_fields:
            yield from extras(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            yield from extras(item)


def post(
    http: httpx.Client, body: Any, headers: dict[str, str] | None = None
) -> httpx.Response:
    return http.post("/v1/messages", json=body, headers=headers or OLDER)


def speak(http: httpx.Client, body: Any) -> Message:
    reply = post(http, body)
    assert reply.status_code == 200, reply.text
    made = Message.model_validate_json(reply.content, strict=True)
    assert list(extras(made)) == []
    return made


def stream(http: httpx.Client, body: Any) -> list[Any]:
    """Return the stream's events; pings are checked and left out."""
    reply = post(http, {**body, "stream": True})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    *events, rest = reply.text.split("\n\n")
    assert rest == ""
    found = []
    for event in events:
        name, payload = event.split("\n")
        payload = payload.removeprefix("data: ")
        assert name == f"event: {json.loads(payload)['type']}"
        if name == "event: ping":
            assert payload == '{"type":"ping"}'
            continue
        found.append(EVENT.validate_json(payload, strict=True))
        assert list(extras(found[-1])) == []
    return found


def accumulated(events: list[Any]) -> Message:
    """Put a stream together as the documentation says."""
    start, *middle, delta, stop = events
    assert (start.type, delta.type, stop.type) == (
        "message_start",
        "message_delta",
        "message_stop",
    )
    message: Message = start.message
    assert message.content == []
    assert message.stop_reason is None
    assert message.usage.output_tokens == 1
    inputs: dict[int, str] = {}
    for event in middle:
        match event.type:
            case "content_block_start":
                assert event.index == len(message.content)
                message.content.append(event.content_block)
            case "content_block_delta":
                grow(message.content[event.index], event.delta, inputs, event.index)
            case "content_block_stop":
                assert event.index == len(message.content) - 1
            case other:
                raise AssertionError(other)
    for index, text in inputs.items():
        block = message.content[index]
        assert block.type == "tool_use"
        block.input = json.loads(text) if text else {}
    update = delta.delta.model_dump(exclude_unset=True)
    usage = delta.usage.model_dump(exclude_unset=True)
    return message.model_copy(
        update={
            "stop_reason": update["stop_reason"],
            "stop_sequence": update["stop_sequence"],
            "stop_details": delta.delta.stop_details,
            "usage": message.usage.model_copy(
                update={
                    **usage,
                    "output_tokens_details": delta.usage.output_tokens_details,
                }
            ),
        }
    )


def grow(block: Any, delta: Any, inputs: dict[int, str], index: int) -> None:
    match delta.type:
        case "text_delta":
            block.text += delta.text
        case "thinking_delta":
            block.thinking += delta.thinking
        case "signature_delta":
            block.signature += delta.signature
        case "input_json_delta":
            inputs[index] = inputs.get(index, "") + delta.partial_json
        case other:
            raise AssertionError(other)


STREAMED = {
    "plain": ask(),
    "tools": ask("get_weather and clock", tools=[WEATHER, CLOCK]),
    "tool after text": ask("text before get_weather", tools=[WEATHER]),
    "optional input": ask("search", tools=[OPTIONAL]),
    "thinking": ask("redacted get_weather", thinking=THINKING, tools=[WEATHER]),
    "hidden": ask(thinking={**THINKING, "display": "omitted"}),
    "adaptive": ask(thinking={"type": "adaptive"}, model="claude-opus-4-6"),
    "schema": ask(
        output_config={
            "format": {
                "type": "json_schema",
                "schema": {**WEATHER["input_schema"], "additionalProperties": False},
            }
        }
    ),
    "refusal": ask("please refuse"),
    "limit": ask(max_tokens=4),
    "stop": ask("one STOP two", stop_sequences=["STOP"]),
    "prefill": said(
        {"role": "user", "content": "hi"}, {"role": "assistant", "content": "The"}
    ),
}


@pytest.mark.parametrize("case", STREAMED)
def test_a_stream_says_what_the_plain_answer_says(
    http: httpx.Client, case: str
) -> None:
    whole = speak(http, STREAMED[case]).model_dump()
    streamed = accumulated(stream(http, STREAMED[case])).model_dump()
    for body in (whole, streamed):
        del body["id"]
        for block in body["content"]:
            block.pop("id", None)
    assert streamed == whole


def test_a_plain_answer_is_a_function_of_the_request(http: httpx.Client) -> None:
    first = speak(http, ask("Hi!"))
    assert first == speak(http, ask("Hi!"))
    assert first.model == "claude-sonnet-4-5-20250929"
    assert first.stop_reason == "end_turn"
    assert first.content[0].type == "text"
    assert first.content[0].text.startswith("You said: Hi!")
    assert first.id.startswith("msg_")


def test_a_ping_follows_the_first_block_start(http: httpx.Client) -> None:
    text = post(http, ask(stream=True)).text
    names = [line for line in text.split("\n") if line.startswith("event: ")]
    assert names[:4] == [
        "event: message_start",
        "event: content_block_start",
        "event: ping",
        "event: content_block_delta",
    ]


@pytest.mark.parametrize(
    ("named", "pieces"),
    [
        ("clock", []),
        ("search", [""]),
        ("get_weather", ["", '{"city":"cit', 'y value"}']),
    ],
)
def test_tool_input_is_streamed_in_pieces_or_not_at_all(
    http: httpx.Client, named: str, pieces: list[str]
) -> None:
    """What comes for an empty input is not JSON: clients must not parse it."""
    events = stream(http, ask(named, tools=[WEATHER, CLOCK, OPTIONAL]))
    assert [
        e.delta.partial_json for e in events if e.type == "content_block_delta"
    ] == pieces


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["get_weather", "clock"]),
        (
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            ["get_weather"],
        ),
        ({"tool_choice": {"type": "none"}}, []),
        ({"tool_choice": {"type": "tool", "name": "clock"}}, ["clock"]),
    ],
)
def test_which_tools_are_called(
    http: httpx.Client, fields: dict[str, Any], names: list[str]
) -> None:
    made = speak(http, ask("get_weather, then clock", tools=[WEATHER, CLOCK], **fields))
    assert [b.name for b in made.content if b.type == "tool_use"] == names
    assert made.stop_reason == ("tool_use" if names else "end_turn")


def test_any_calls_a_tool_that_nobody_named(http: httpx.Client) -> None:
    body = ask("hello", tools=[WEATHER], tool_choice={"type": "any"})
    assert speak(http, body).stop_reason == "tool_use"


def conversation(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    """Return a request that brings the result of a call which the mock made."""
    body = ask("redacted get_weather", tools=[WEATHER], **fields)
    content = post(http, body).json()["content"]
    result = {"type": "tool_result", "tool_use_id": content[-1]["id"], "content": "sun"}
    body["messages"] += [
        {"role": "assistant", "content": content},
        {"role": "user", "content": [result]},
    ]
    return body


@pytest.mark.parametrize("thinking", [None, THINKING])
def test_tool_results_are_answered_with_words(
    http: httpx.Client, thinking: dict[str, Any] | None
) -> None:
    """The mock takes back its own thinking, signed and redacted."""
    fields = {} if thinking is None else {"thinking": thinking}
    made = speak(http, conversation(http, **fields))
    assert made.stop_reason == "end_turn"
    last = made.content[-1]
    assert last.type == "text"
    assert "sun" in last.text


@pytest.mark.parametrize(
    ("block", "field", "says"),
    [
        (
            0,
            "thinking",
            "messages.1.content.0: Invalid `signature` in `thinking` block",
        ),
        (
            0,
            "signature",
            "messages.1.content.0: Invalid `signature` in `thinking` block",
        ),
        (
            1,
            "data",
            "messages.1.content.1: Invalid `data` in `redacted_thinking` block",
        ),
    ],
)
def test_an_altered_thought_is_refused(
    http: httpx.Client, block: int, field: str, says: str
) -> None:
    body = conversation(http, thinking=THINKING)
    thought = body["messages"][1]["content"][block]
    thought[field] = "AAAA" + thought[field][4:]
    assert refusal(post(http, body)) == says


def test_thinking_must_come_back_before_a_tool_call(http: httpx.Client) -> None:
    body = conversation(http, thinking=THINKING)
    del body["messages"][1]["content"][:2]
    assert "Expected `thinking` or `redacted_thinking`, but found `tool_use`" in (
        refusal(post(http, body))
    )


def refusal(reply: httpx.Response, status: int = 400) -> str:
    assert reply.status_code == status, reply.text
    error = ErrorResponse.model_validate(reply.json(), strict=True)
    assert error.request_id == reply.headers["request-id"]
    assert list(extras(error)) == []
    return error.error.message


def test_max_tokens_of_zero_says_nothing(http: httpx.Client) -> None:
    made = speak(http, ask(max_tokens=0))
    assert (made.content, made.stop_reason) == ([], "max_tokens")


def test_a_prompt_is_written_to_the_cache_then_read(http: httpx.Client) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    system = [{"type": "text", "text": "a long prompt for this test", **mark}]

    def usage(text: str) -> tuple[int | None, int | None]:
        found = speak(http, ask(text, system=system)).usage
        return found.cache_creation_input_tokens, found.cache_read_input_tokens

    written, read = usage("one")
    assert (written or 0) > 0
    assert read == 0
    assert usage("two") == (0, written)


def test_the_reasons_are_the_sdks() -> None:
    assert set(STOP_REASONS) == set(get_args(StopReason))


def test_tokens_are_counted_as_the_answer_counts_them(http: httpx.Client) -> None:
    body = ask(system="Be brief.", tools=[WEATHER])
    counted = {k: v for k, v in body.items() if k != "max_tokens"}
    reply = http.post("/v1/messages/count_tokens", json=counted, headers=OLDER)
    count = MessageTokensCount.model_validate(reply.json(), strict=True)
    assert count.input_tokens == speak(http, body).usage.input_tokens
    refused = http.post("/v1/messages/count_tokens", json=body, headers=OLDER)
    assert refusal(refused) == "max_tokens: Extra inputs are not permitted"


@dataclass(frozen=True)
class Refused:
    """A body that Anthropic refuses with 400, and how."""

    says: str
    body: Any


def content(*blocks: Any) -> dict[str, Any]:
    return said({"role": "user", "content": list(blocks)})


def image(**source: Any) -> dict[str, Any]:
    return {"type": "image", "source": source}


def without(name: str) -> dict[str, Any]:
    return {k: v for k, v in ask().items() if k != name}


HELLO = {"role": "user", "content": "hi"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "clock", "input": {}}
CALLED = {"role": "assistant", "content": [USE]}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "noon"}
TEXT = {"type": "text", "text": "hi"}
MARKED = {**TEXT, "cache_control": {"type": "ephemeral"}}
UNANSWERED = "`tool_use` ids were found without `tool_result` blocks immediately after"

REFUSED = [
    Refused("max_tokens: Field required", without("max_tokens")),
    Refused("messages: Field required", without("messages")),
    Refused(
        "max_tokens: Input should be greater than or equal to 0", ask(max_tokens=-1)
    ),
    Refused("max_tokens: Input should be a valid integer", ask(max_tokens="9")),
    Refused("max_tokens: 64001 > 64000, which is the maximum", ask(max_tokens=64_001)),
    Refused("x: Extra inputs are not permitted", ask(x=1)),
    Refused("workspace_id: Extra inputs are not permitted", ask(workspace_id="w")),
    Refused(
        "messages.0.content.0.text.x: Extra inputs are not permitted",
        content({**TEXT, "x": 1}),
    ),
    Refused(
        "messages.0.content.0.image.source.base64.x: Extra",
        content(image(type="base64", media_type="image/png", data=PNG, x=1)),
    ),
    Refused(
        "messages.0.content.0.text.text: Field required", content({"type": "text"})
    ),
    Refused(
        "messages.0.content.0: Input tag 'video' found using 'type'",
        content({"type": "video"}),
    ),
    Refused(
        "messages.0.content.0: Unable to extract tag using discriminator 'type'",
        content({"text": "hi"}),
    ),
    Refused(
        "messages.0.content: Input should be a valid string",
        said({"role": "user", "content": 1}),
    ),
    Refused(
        "temperature: Input should be less than or equal to 1", ask(temperature=1.5)
    ),
    Refused("temperature: Input should be a valid number", ask(temperature="1")),
    Refused("stream: Input should be a valid boolean", ask(stream="yes")),
    Refused("stop_sequences: Input should be a valid list", ask(stop_sequences="x")),
    Refused(
        "service_tier: Input should be 'auto' or 'standard_only'", ask(service_tier="x")
    ),
    Refused(
        "metadata.user_id: String should have at most 256 characters",
        ask(metadata={"user_id": "x" * 257}),
    ),
    Refused("metadata.x: Extra inputs are not permitted", ask(metadata={"x": 1})),
    Refused(
        "tools.0.custom.name: String should match pattern", ask(tools=[tool("a b")])
    ),
    Refused("tools.0.custom.input_schema: Field required", ask(tools=[{"name": "a"}])),
    Refused(
        "tools.0.custom.input_schema.type: Field required",
        ask(tools=[{"name": "a", "input_schema": {}}]),
    ),
    Refused(
        "input_schema.type: Input should be 'object'",
        ask(tools=[{"name": "a", "input_schema": {"type": "string"}}]),
    ),
    Refused(
        "input_schema.properties: Input should be a valid dict",
        ask(
            tools=[{"name": "a", "input_schema": {"type": "object", "properties": []}}]
        ),
    ),
    Refused(
        "input_schema.required: Input should be a valid list",
        ask(tools=[{"name": "a", "input_schema": {"type": "object", "required": {}}}]),
    ),
    Refused("tools: Tool names must be unique.", ask(tools=[CLOCK, CLOCK])),
    Refused(
        "tool_choice may only be specified while providing tools",
        ask(tool_choice={"type": "auto"}),
    ),
    Refused(
        "Tool 'no' not found in provided tools",
        ask(tools=[CLOCK], tool_choice={"type": "tool", "name": "no"}),
    ),
    Refused("messages: at least one message is required", said()),
    Refused(
        'messages: first message must use the "user" role',
        said({"role": "assistant", "content": "hi"}),
    ),
    Refused(
        'messages: Unexpected role "system"',
        said(HELLO, {"role": "system", "content": "x"}),
    ),
    Refused(
        "messages.0: Input tag 'tool' found", said({"role": "tool", "content": "x"})
    ),
    Refused(
        "messages: text content blocks must be non-empty",
        content({"type": "text", "text": ""}),
    ),
    Refused(
        "messages: text content blocks must contain non-whitespace text",
        content({"type": "text", "text": " \n"}),
    ),
    Refused(
        "messages.0: all messages must have non-empty content",
        said({"role": "user", "content": ""}),
    ),
    Refused(
        "messages.0: all messages must have non-empty content",
        said({"role": "user", "content": []}),
    ),
    Refused(
        "system: text content blocks must be non-empty",
        ask(system=[{"type": "text", "text": ""}]),
    ),
    Refused(
        "messages.1.content.0.tool_use.input: Input should be a valid dictionary",
        said(HELLO, {"role": "assistant", "content": [{**USE, "input": "{}"}]}),
    ),
    Refused(f"messages.1: {UNANSWERED}: toolu_1", said(HELLO, CALLED)),
    Refused(f"messages.2: {UNANSWERED}: toolu_1", said(HELLO, CALLED, HELLO)),
    Refused(
        f"messages.2: {UNANSWERED}: toolu_1",
        said(HELLO, CALLED, {"role": "user", "content": [TEXT, RESULT]}),
    ),
    Refused("messages.0.content.0: unexpected `tool_use_id` found", content(RESULT)),
    Refused(
        "each tool_use must have a single result",
        said(HELLO, CALLED, {"role": "user", "content": [RESULT, RESULT]}),
    ),
    Refused(
        "`tool_use` ids must be unique",
        said(HELLO, {"role": "assistant", "content": [USE, USE]}),
    ),
    Refused("`tool_use` blocks can only be in `assistant` messages", content(USE)),
    Refused(
        "`tool_result` blocks can only be in `user` messages",
        said(HELLO, {"role": "assistant", "content": [RESULT]}),
    ),
    Refused(
        "`max_tokens` must be greater than `thinking.budget_tokens`",
        ask(thinking=THINKING, max_tokens=1024),
    ),
    Refused(
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
        ask(thinking={**THINKING, "budget_tokens": 1000}),
    ),
    Refused(
        "`temperature` may only be set to 1", ask(thinking=THINKING, temperature=0.5)
    ),
    Refused("`top_k` must be unset", ask(thinking=THINKING, top_k=5)),
    Refused(
        "`top_p` must be greater than or equal to 0.95",
        ask(thinking=THINKING, top_p=0.5),
    ),
    Refused(
        "Thinking may not be enabled when tool_choice forces tool use",
        ask(thinking=THINKING, tools=[CLOCK], tool_choice={"type": "any"}),
    ),
    Refused(
        '"thinking.type.adaptive" is not supported', ask(thinking={"type": "adaptive"})
    ),
    Refused(
        "messages.1.content.0: Invalid `signature`",
        said(
            HELLO,
            {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": "x", "signature": "x"}],
            },
        ),
    ),
    Refused(
        "`temperature` and `top_p` cannot both be specified",
        ask(temperature=1, top_p=1),
    ),
    Refused(
        "`temperature` is not supported on this model",
        ask(temperature=1, model="claude-sonnet-5"),
    ),
    Refused(
        "does not support the effort parameter", ask(output_config={"effort": "low"})
    ),
    Refused(
        "does not support effort level 'max'",
        ask(output_config={"effort": "max"}, model="claude-opus-4-5"),
    ),
    Refused("speed: Extra inputs are not permitted", ask(speed="fast")),
    Refused(
        "image.source.base64.data: Invalid base64 data",
        content(image(type="base64", media_type="image/png", data="?")),
    ),
    Refused(
        "does not match the provided media type image/jpeg",
        content(image(type="base64", media_type="image/jpeg", data=PNG)),
    ),
    Refused(
        "media_type: Input should be 'image/jpeg', 'image/png'",
        content(image(type="base64", media_type="image/tiff", data=PNG)),
    ),
    Refused(
        "source.url: Only HTTPS URLs are supported",
        content(image(type="url", url="data:image/png;base64,AAAA")),
    ),
    Refused(
        "provided media type application/pdf",
        content(
            {
                "type": "document",
                "source": {
                    "type": "base64",
                    "media_type": "application/pdf",
                    "data": PNG,
                },
            }
        ),
    ),
    Refused(
        "messages: text content blocks must be non-empty",
        content(
            {
                "type": "document",
                "source": {
                    "type": "content",
                    "content": [{"type": "text", "text": ""}],
                },
            }
        ),
    ),
    Refused(
        "messages: text content blocks must be non-empty",
        said(
            HELLO,
            CALLED,
            {
                "role": "user",
                "content": [{**RESULT, "content": [{"type": "text", "text": ""}]}],
            },
        ),
    ),
    Refused(
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        ask(
            system=[MARKED] * 3,
            tools=[{**CLOCK, "cache_control": {"type": "ephemeral"}}],
            cache_control={"type": "ephemeral"},
        ),
    ),
    Refused(
        "stop_sequences: each stop sequence must contain non-whitespace",
        ask(stop_sequences=["x", " "]),
    ),
    Refused(
        "final assistant content cannot end with trailing whitespace",
        said(HELLO, {"role": "assistant", "content": "The "}),
    ),
    Refused(
        "does not support assistant message prefill",
        said(HELLO, {"role": "assistant", "content": "The"}, model="claude-opus-4-6"),
    ),
    Refused(
        "Expected `thinking` or `redacted_thinking`, but found `text`",
        said(HELLO, {"role": "assistant", "content": "The"}, thinking=THINKING),
    ),
    Refused(
        "prompt is too long: 200003 tokens > 200000 maximum", ask("word " * 200_000)
    ),
    Refused("unknown directive 'nonsense'", ask("[[mock: nonsense]]")),
    Refused(
        "unknown directive 'nonsense'", ask(model="claude-opus-4-5[[mock: nonsense]]")
    ),
    Refused("expected one of", ask("[[mock: stop_reason=tired]]")),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.says[:40])
def test_what_anthropic_refuses_is_refused(http: httpx.Client, case: Refused) -> None:
    reply = post(http, case.body)
    assert case.says in refusal(reply)
    assert reply.json()["error"]["type"] == "invalid_request_error"


ACCEPTED = [
    said(HELLO, HELLO, {"role": "assistant", "content": ""}),
    said(HELLO, CALLED, {"role": "user", "content": [RESULT, TEXT]}, tools=[CLOCK]),
    said(HELLO, CALLED, {"role": "user", "content": [RESULT]}, HELLO, tools=[CLOCK]),
    said(HELLO, {"role": "system", "content": "x"}, HELLO, model="claude-sonnet-5"),
    content(
        image(type="base64", media_type="image/png", data=PNG),
        image(type="url", url="https://a/b.png"),
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
        {"type": "document", "source": {"type": "content", "content": [TEXT]}, "citations": {"enabled": True}},
        TEXT,
    ),
    ask(system=[MARKED] * 4, temperature=0, top_k=5, metadata={"user_id": None}),
    ask(output_config={"effort": "high"}, model="claude-opus-4-5"),
    ask(thinking={"type": "disabled"}, tools=[{"type": "web_search_20250305", "name": "web_search"}, CLOCK], tool_choice={"type": "auto"}),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(ACCEPTED)))
def test_what_anthropic_takes_is_taken(http: httpx.Client, i: int) -> None:
    speak(http, ACCEPTED[i])


def test_the_newer_version_has_no_sampling_fields(http: httpx.Client) -> None:
    assert post(http, ask(temperature=1)).status_code == 200
    assert refusal(post(http, ask(temperature=1), CURRENT)) == (
        "temperature: Extra inputs are not permitted"
    )


@pytest.mark.parametrize(
    ("beta", "fields"),
    [
        ("context-management-2025-06-27", {"context_management": {"edits": []}}),
        (
            "prompt-caching-scope-2026-01-05",
            {"system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "scope": "global"}}]},
        ),
    ],
)  # fmt: skip
def test_fields_of_a_beta_need_its_flag(
    http: httpx.Client, beta: str, fields: Any
) -> None:
    flagged = {**OLDER, "anthropic-beta": beta}
    assert post(http, ask(**fields), flagged).status_code == 200
    assert "Extra inputs" in post(http, ask(**fields), OLDER).text


def test_fast_mode_needs_its_beta(http: httpx.Client) -> None:
    betas = {**OLDER, "anthropic-beta": "a-b-2025-01-01, fast-mode-2026-02-01"}
    assert post(http, ask(speed="fast"), betas).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "says"),
    [
        ({"anthropic-version": "2023-06-01"}, 401, "x-api-key header is required"),
        ({**OLDER, "x-api-key": "sk-wrong"}, 401, "invalid x-api-key"),
        ({**CURRENT, "authorization": "Bearer sk-wrong"}, 401, "invalid x-api-key"),
        ({**OLDER, "x-api-key": "sk-mock-openai-1"}, 400, "this is a key of openai"),
        ({"x-api-key": "sk-mock-1"}, 400, "anthropic-version: header is required"),
        ({**OLDER, "anthropic-version": "1"}, 400, "is not a valid version"),
        ({**OLDER, "anthropic-beta": "a b"}, 400, "Unexpected value(s) `a b`"),
        (
            {**OLDER, "authorization": "Bearer sk-mock-1"},
            400,
            "unexpected credential header: authorization",
        ),
        (
            {**CURRENT, "x-api-key": "sk-mock-1"},
            400,
            "unexpected credential header: authorization",
        ),
        (
            {**CURRENT, "anthropic-version": "2023-06-01"},
            400,
            "unexpected credential header",
        ),
        ({**OLDER, "x-goog-api-key": "x"}, 400, "unexpected credential header: x-goog"),
        (
            {**OLDER, "x-forwarded-for": "1.1.1.1"},
            400,
            "mock_unexpected_header: x-forwarded-for",
        ),
        ({**OLDER, "content-encoding": "zstd"}, 415, "content-encoding: zstd"),
    ],
)
def test_headers_that_must_not_arrive(
    http: httpx.Client, headers: dict[str, str], status: int, says: str
) -> None:
    assert says in refusal(post(http, ask(), headers), status)


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"{", "not valid JSON"), (b'{"model": 1, "model": 2}', "duplicate key 'model'")],
)
def test_a_body_that_is_not_json_is_refused(
    http: httpx.Client, body: bytes, says: str
) -> None:
    headers = {**OLDER, "content-type": "application/json"}
    reply = http.post("/v1/messages", content=body, headers=headers)
    assert says in refusal(reply)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/messages", 405),
        ("POST", "/v1/messages/nothing", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/models/claude-9", 404),
        ("GET", "/anthropic/v1/messages", 405),
    ],
)
def test_paths_and_methods(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    refusal(http.request(method, path, headers=OLDER), status)


def test_a_body_over_32_mib_is_too_large(http: httpx.Client) -> None:
    refusal(post(http, ask("x" * (32 << 20))), 413)


def test_the_real_headers_come_with_every_answer(http: httpx.Client) -> None:
    headers = post(http, ask()).headers
    assert headers["request-id"].startswith("req_")
    assert "anthropic-ratelimit-input-tokens-remaining" in headers


# The official client.


def test_the_client_lists_models(anthropic_client: anthropic.Anthropic) -> None:
    listed = list(anthropic_client.models.list())
    assert {model.id for model in listed} == set(MODELS)
    assert all(list(extras(model)) == [] for model in listed)
    for model in listed:
        assert model.lifecycle == (
            "deprecated" if model.id in DEPRECATED_MODELS else "active"
        )
    one = anthropic_client.models.retrieve("claude-haiku-4-5")
    assert isinstance(one, ModelInfo)
    assert one.display_name == "Claude Haiku 4.5"


def test_the_client_reads_a_stream_with_its_accumulator(
    anthropic_client: anthropic.Anthropic,
) -> None:
    with anthropic_client.messages.stream(
        **ask("get_weather", tools=[WEATHER], thinking=THINKING, model=HAIKU)
    ) as events:
        final = events.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "tool_use"]
    assert final.content[-1].input == {"city": "city value"}  # type: ignore[union-attr]


def test_the_client_counts_tokens(anthropic_client: anthropic.Anthropic) -> None:
    counted = anthropic_client.messages.count_tokens(
        model=HAIKU, messages=[{"role": "user", "content": "one two"}]
    )
    assert counted.input_tokens > 2


def test_the_asynchronous_client(mock: MockServer) -> None:
    async def run() -> tuple[str, str]:
        async with anthropic.AsyncAnthropic(
            base_url=mock.url, api_key="sk-mock-1"
        ) as client:
            whole = await client.messages.create(**ask(model=HAIKU))
            async with client.messages.stream(**ask(model=HAIKU)) as events:
                streamed = "".join([text async for text in events.text_stream])
        assert whole.content[0].type == "text"
        return whole.content[0].text, streamed

    whole, streamed = asyncio.run(run())
    assert whole == streamed != ""


EXCEPTIONS: dict[int, type[anthropic.APIStatusError]] = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    403: anthropic.PermissionDeniedError,
    404: anthropic.NotFoundError,
    429: anthropic.RateLimitError,
    500: anthropic.InternalServerError,
    529: anthropic.InternalServerError,
}


@pytest.mark.parametrize("status", EXCEPTIONS)
def test_errors_become_the_clients_exceptions(
    anthropic_client: anthropic.Anthropic, status: int
) -> None:
    body = ask(f"[[mock: status={status}]]", model=HAIKU)
    with pytest.raises(EXCEPTIONS[status]) as caught:
        anthropic_client.messages.create(**body)
    assert caught.value.status_code == status
    assert caught.value.request_id


def test_an_error_in_a_stream_is_raised(anthropic_client: anthropic.Anthropic) -> None:
    body = ask("hi [[mock: error-mid-stream after=3]]", model=HAIKU)
    events = anthropic_client.messages.create(**body, stream=True)
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(events)
