"""The mock of OpenAI, judged by the official SDK: its models, its client, its errors."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import httpx
import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.chat_completion import Choice

from extproc.local.mock import MockServer
from extproc.local.mock.openai.api import FINISH_REASONS
from extproc.local.mock.openai.models import MODELS

KEY = {"authorization": "Bearer sk-mock-1"}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


def tool(name: str, *, strict: bool = False, **properties: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    function = {"name": name, "parameters": schema, "strict": strict}
    return {"type": "function", "function": function}


WEATHER = tool("get_weather", city={"type": "string"}, days={"type": "integer"})
CLOCK = {"type": "function", "function": {"name": "clock"}}


def ask(text: str = "Hello there", **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "gpt-4o", "messages": messages, **fields}


def extras(value: Any) -> Iterator[str]:
    """Yield the fields that the SDK's models do not know."""
    if isinstance(value, pydantic.BaseModel):
        yield from value.model_extra or ()
        for name in type(value).model_fields:
            yield from extras(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            yield from extras(item)


def post(http: httpx.Client, body: Any, **headers: str) -> httpx.Response:
    return http.post("/v1/chat/completions", json=body, headers={**KEY, **headers})


def complete(http: httpx.Client, body: Any) -> ChatCompletion:
    reply = post(http, body)
    assert reply.status_code == 200, reply.text
    made = ChatCompletion.model_validate(reply.json(), strict=True)
    assert list(extras(made)) == []
    return made


def stream(http: httpx.Client, body: Any) -> list[ChatCompletionChunk]:
    reply = post(http, {**body, "stream": True})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    *events, done, rest = reply.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = []
    for event in events:
        name, _, payload = event.partition(": ")
        assert name == "data"
        chunk = ChatCompletionChunk.model_validate(json.loads(payload), strict=True)
        custom = {"custom"} if "custom" in payload else set()
        assert set(extras(chunk)) <= custom
        chunks.append(chunk)
    return chunks


def test_a_plain_answer_is_a_function_of_the_request(http: httpx.Client) -> None:
    first, again = complete(http, ask("Hi!")), complete(http, ask("Hi!"))
    assert first == again
    assert first.id != complete(http, ask("Ho!")).id
    assert first.model == "gpt-4o-2024-08-06"
    assert first.created == 1_700_000_000
    choice = first.choices[0]
    assert (choice.message.content or "").startswith("You said: Hi!")
    assert choice.finish_reason == "stop"
    assert first.usage is not None
    assert first.usage.total_tokens == (
        first.usage.prompt_tokens + first.usage.completion_tokens
    )


STREAMED = {
    "plain": ask(),
    "tools": ask("call get_weather and clock", tools=[WEATHER, CLOCK]),
    "tool after text": ask("text before get_weather", tools=[WEATHER]),
    "choices": ask(n=3),
    "json": ask("json please", response_format={"type": "json_object"}),
    "refusal": ask("please refuse"),
    "limit": ask(max_tokens=4),
    "stop": ask("one STOP two", stop=["STOP"]),
    "reasoning": {**ask(), "model": "o3"},
    "function": ask("call clock", functions=[{"name": "clock"}]),
    "logprobs": ask(logprobs=True, top_logprobs=2),
}


@pytest.mark.parametrize("case", STREAMED)
def test_a_stream_says_what_the_plain_answer_says(
    http: httpx.Client, case: str
) -> None:
    body = STREAMED[case]
    whole = complete(http, body)
    chunks = stream(http, {**body, "stream_options": {"include_usage": True}})
    *told, counted = chunks
    assert counted.choices == []
    assert counted.usage == whole.usage
    assert all(chunk.usage is None for chunk in told)
    assert {c.id for c in chunks} == {counted.id}
    for i, choice in enumerate(whole.choices):
        deltas = [c.choices[0] for c in told if c.choices[0].index == i]
        assert deltas[0].delta.role == "assistant"
        assert all(d.delta.role is None for d in deltas[1:])
        assert [d.finish_reason for d in deltas] == [
            *[None] * (len(deltas) - 1),
            choice.finish_reason,
        ]
        assert deltas[-1].delta.model_dump(exclude_unset=True) == {}
        assert said(deltas, "content") == (choice.message.content or "")
        assert said(deltas, "refusal") == (choice.message.refusal or "")
        assert calls(deltas) == [
            (c.function.name, c.function.arguments)
            for c in choice.message.tool_calls or []
            if c.type == "function"
        ]
        if choice.logprobs is not None:
            pieces = [p for d in deltas if d.logprobs for p in d.logprobs.content or []]
            assert pieces == choice.logprobs.content


def said(deltas: list[Any], field: str) -> str:
    return "".join(getattr(d.delta, field) or "" for d in deltas)


def calls(deltas: list[Any]) -> list[tuple[str, str]]:
    """Collect tool calls as a client does: by index, the first piece has the name."""
    found: dict[int, list[str]] = {}
    for d in deltas:
        for call in d.delta.tool_calls or []:
            if call.index not in found:
                assert call.id.startswith("call_")
                assert call.type == "function"
                found[call.index] = [call.function.name, ""]
            else:
                assert call.id is None
            found[call.index][1] += call.function.arguments
    return [(name, arguments) for name, arguments in found.values()]


def test_usage_is_on_no_chunk_unless_it_was_asked_for(http: httpx.Client) -> None:
    reply = post(http, ask(stream=True))
    assert '"usage"' not in reply.text
    assert all(chunk.choices for chunk in stream(http, ask()))


def test_the_choices_of_a_stream_interleave(http: httpx.Client) -> None:
    first = [chunk.choices[0].index for chunk in stream(http, ask(n=2))][:4]
    assert first == [0, 1, 0, 1]


def test_streamed_pieces_are_the_counted_tokens(http: httpx.Client) -> None:
    chunks = stream(http, ask(stream_options={"include_usage": True}))
    pieces = [c for c in chunks if c.choices and c.choices[0].delta.content]
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens == len(pieces)


def first(http: httpx.Client, body: Any) -> Choice:
    return complete(http, body).choices[0]


def test_a_named_tool_is_called_with_arguments_of_its_schema(
    http: httpx.Client,
) -> None:
    choice = first(http, ask("call get_weather", tools=[WEATHER, CLOCK]))
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    arguments = json.loads(call.function.arguments)
    assert arguments == {"city": "city value", "days": 1}


def test_a_tool_without_parameters_gets_an_empty_object(http: httpx.Client) -> None:
    (call,) = first(http, ask("clock", tools=[CLOCK])).message.tool_calls or []
    assert call.type == "function"
    assert call.function.arguments == "{}"


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["get_weather", "clock"]),
        ({"parallel_tool_calls": False}, ["get_weather"]),
        ({"tool_choice": "none"}, []),
        (
            {"tool_choice": {"type": "function", "function": {"name": "clock"}}},
            ["clock"],
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [CLOCK]},
                }
            },
            ["clock"],
        ),
    ],
)
def test_which_tools_are_called(
    http: httpx.Client, fields: dict[str, Any], names: list[str]
) -> None:
    body = ask("get_weather, then clock", tools=[WEATHER, CLOCK], **fields)
    found = first(http, body).message.tool_calls or []
    assert [c.function.name for c in found if c.type == "function"] == names


def test_required_calls_a_tool_that_nobody_named(http: httpx.Client) -> None:
    body = ask("hello", tools=[WEATHER], tool_choice="required")
    assert first(http, body).finish_reason == "tool_calls"
    assert first(http, ask("hello", tools=[WEATHER])).finish_reason == "stop"


def test_a_custom_tool_is_called_with_text(http: httpx.Client) -> None:
    shell = {"type": "custom", "custom": {"name": "shell"}}
    (call,) = first(http, ask("use shell", tools=[shell])).message.tool_calls or []
    assert call.type == "custom"
    assert call.custom.input == "input for shell"


def test_an_old_function_is_called_by_the_old_name(http: httpx.Client) -> None:
    choice = first(http, ask("clock", functions=[{"name": "clock"}]))
    assert choice.finish_reason == "function_call"
    assert choice.message.function_call is not None
    assert choice.message.function_call.arguments == "{}"


def test_tool_results_are_answered_with_words(http: httpx.Client) -> None:
    body = ask("call clock", tools=[CLOCK])
    call = post(http, body).json()["choices"][0]["message"]
    result = {
        "role": "tool",
        "content": "noon",
        "tool_call_id": call["tool_calls"][0]["id"],
    }
    body["messages"] += [call, result]
    choice = first(
        http,
        {
            **body,
            "messages": [
                {k: v for k, v in m.items() if k != "annotations"}
                for m in body["messages"]
            ],
        },
    )
    assert choice.finish_reason == "stop"
    assert "noon" in (choice.message.content or "")


def test_a_schema_is_filled_in(http: httpx.Client) -> None:
    schema = WEATHER["function"]["parameters"]
    wanted = {
        "type": "json_schema",
        "json_schema": {"name": "w", "schema": schema, "strict": True},
    }
    content = first(http, ask(response_format=wanted)).message.content
    assert json.loads(content or "") == {"city": "city value", "days": 1}


def test_limits_stops_and_refusals_have_their_finish_reason(http: httpx.Client) -> None:
    short = complete(http, ask(max_completion_tokens=3))
    assert short.choices[0].finish_reason == "length"
    assert short.usage is not None
    assert short.usage.completion_tokens == 3
    stopped = first(http, ask("one STOP two", stop="STOP"))
    assert stopped.message.content == "You said: one "
    assert first(http, ask("please refuse")).message.refusal


def test_reasoning_is_counted_and_not_shown(http: httpx.Client) -> None:
    usage = complete(http, {**ask(), "model": "gpt-5"}).usage
    assert usage is not None
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens


def test_the_reasons_are_the_sdks() -> None:
    reasons = get_args(Choice.model_fields["finish_reason"].annotation)
    assert set(FINISH_REASONS) == set(reasons)


@dataclass(frozen=True)
class Refused:
    """A body that OpenAI refuses with 400, and how."""

    says: str
    body: Any
    param: str | None = None
    code: str | None = None


def messages(*given: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": list(given), **fields}


def user(*parts: Any, model: str = "gpt-4o") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": list(parts)}]}


def picture(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def open_schema(**schema: Any) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {"name": "w", "schema": schema, "strict": True},
    }


HELLO = {"role": "user", "content": "hi"}
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "clock", "arguments": "{}"},
}
CALLED = {"role": "assistant", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "noon"}

REFUSED = [
    Refused(
        "Unrecognized request argument supplied: x", ask(x=1), "x", "unknown_parameter"
    ),
    Refused(
        "Unknown parameter: 'messages[0].x'",
        messages({**HELLO, "x": 1}),
        "messages[0].x",
        "unknown_parameter",
    ),
    Refused(
        "expected a decimal, but got a string",
        ask(temperature="1"),
        "temperature",
        "invalid_type",
    ),
    Refused(
        "expected one of a string or an array",
        messages({"role": "user", "content": 1}),
        "messages[0].content",
        "invalid_type",
    ),
    Refused("but got null", ask(tools=None), "tools", "invalid_type"),
    Refused(
        "above maximum value. Expected a value <= 2",
        ask(temperature=2.5),
        "temperature",
        "decimal_above_max_value",
    ),
    Refused("integer below minimum value", ask(n=0), "n", "integer_below_min_value"),
    Refused("integer above maximum value", ask(n=129), "n", "integer_above_max_value"),
    Refused(
        "Missing required parameter: 'messages'",
        {"model": "gpt-4o"},
        "messages",
        "missing_required_parameter",
    ),
    Refused("you must provide a model parameter", {"messages": [HELLO]}),
    Refused("empty array", messages(), "messages", "empty_array"),
    Refused(
        "Supported values are: 'system', 'developer', 'user'",
        messages({"role": "bot", "content": ""}),
        "messages[0].role",
        "invalid_value",
    ),
    Refused(
        "Missing required parameter: 'messages[0].role'",
        messages({"content": ""}),
        "messages[0].role",
        "missing_required_parameter",
    ),
    Refused(
        "array too long", ask(stop=list("abcde")), "stop", "array_above_max_length"
    ),
    Refused(
        "does not match pattern",
        ask(tools=[{"type": "function", "function": {"name": "a b"}}]),
        "tools[0].function.name",
        "invalid_value",
    ),
    Refused(
        "string too long",
        ask(safety_identifier="x" * 65),
        "safety_identifier",
        "string_above_max_length",
    ),
    Refused(
        "must be a response to a preceeding message",
        messages(HELLO, RESULT),
        "messages.[1].role",
    ),
    Refused(
        "did not have response messages: c1",
        messages(HELLO, CALLED),
        "messages.[2].role",
    ),
    Refused(
        "did not have response messages: c1",
        messages(HELLO, CALLED, HELLO),
        "messages.[2].role",
    ),
    Refused(
        "must be a response to a preceeding message",
        messages(HELLO, CALLED, RESULT, RESULT),
        "messages.[3].role",
    ),
    Refused(
        "expected a string, but got an object",
        messages(
            HELLO,
            {
                "role": "assistant",
                "tool_calls": [
                    {**CALL, "function": {"name": "clock", "arguments": {}}}
                ],
            },
        ),
        "messages[1].tool_calls[0].function.arguments",
        "invalid_type",
    ),
    Refused(
        "expected a string, got null",
        messages(HELLO, {"role": "assistant", "content": None}),
        "messages.[1].content",
    ),
    Refused(
        "Duplicate value for 'tool_call_id'",
        messages(HELLO, {"role": "assistant", "tool_calls": [CALL, CALL]}),
        "messages.[1].tool_calls",
    ),
    Refused(
        "Invalid value: 'image_url'",
        messages({"role": "system", "content": [picture("https://a/b.png")]}),
        "messages[0].content[0].type",
        "invalid_value",
    ),
    Refused(
        "Tool choice 'no' not found",
        ask(
            tools=[CLOCK], tool_choice={"type": "function", "function": {"name": "no"}}
        ),
        "tool_choice",
    ),
    Refused(
        "Tool choice 'no' not found",
        ask(
            tools=[CLOCK],
            tool_choice={
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "no"}}],
                },
            },
        ),
        "tool_choice",
    ),
    Refused(
        "only allowed when 'tools' are specified",
        ask(tool_choice="auto"),
        "tool_choice",
    ),
    Refused(
        "only allowed when 'tools' are specified",
        ask(parallel_tool_calls=True),
        "parallel_tool_calls",
    ),
    Refused(
        "only allowed when 'functions' are specified",
        ask(function_call="auto"),
        "function_call",
    ),
    Refused(
        "only allowed when 'stream' is enabled",
        ask(stream_options={"include_usage": True}),
        "stream_options",
    ),
    Refused(
        "only allowed when 'logprobs' is enabled", ask(top_logprobs=1), "top_logprobs"
    ),
    Refused(
        "at the same time is not supported",
        ask(max_tokens=1, max_completion_tokens=1),
        "max_tokens",
        "invalid_parameter_combination",
    ),
    Refused(
        "Use 'max_completion_tokens' instead",
        {**ask(max_tokens=9), "model": "o3"},
        "max_tokens",
        "unsupported_parameter",
    ),
    Refused(
        "Only the default (1) value is supported",
        {**ask(temperature=0.5), "model": "gpt-5"},
        "temperature",
        "unsupported_value",
    ),
    Refused(
        "'top_p' is not supported with this model",
        {**ask(top_p=0.5), "model": "o4-mini"},
        "top_p",
        "unsupported_parameter",
    ),
    Refused(
        "Unknown parameter: 'web_search_options'",
        ask(web_search_options={}),
        "web_search_options",
        "unknown_parameter",
    ),
    Refused(
        "'temperature' is not supported with this model",
        {**ask(temperature=0.5), "model": "gpt-4o-search-preview"},
        "temperature",
        "unsupported_parameter",
    ),
    Refused(
        "'reasoning_effort' is not supported",
        ask(reasoning_effort="low"),
        "reasoning_effort",
        "unsupported_parameter",
    ),
    Refused(
        "'verbosity' does not support 'low'",
        ask(verbosity="low"),
        "verbosity",
        "unsupported_value",
    ),
    Refused(
        "max_tokens is too large: 99999",
        ask(max_tokens=99_999),
        "max_tokens",
        "invalid_value",
    ),
    Refused(
        "requested modality: audio", ask(modalities=["text", "audio"]), "modalities"
    ),
    Refused(
        "Missing required parameter: 'audio'",
        {**ask(modalities=["audio"]), "model": "gpt-4o-audio-preview"},
        "audio",
        "missing_required_parameter",
    ),
    Refused(
        "must contain the word 'json'",
        ask(response_format={"type": "json_object"}),
        "messages",
    ),
    Refused(
        "'response_format.json_schema.schema'",
        ask(response_format={"type": "json_schema", "json_schema": {"name": "w"}}),
        "response_format.json_schema.schema",
        "missing_required_parameter",
    ),
    Refused(
        "'additionalProperties' is required to be supplied",
        ask(response_format=open_schema(type="object", properties={})),
        "response_format",
    ),
    Refused(
        "Missing 'b'",
        ask(
            response_format=open_schema(
                type="object",
                properties={
                    "a": {
                        "type": "object",
                        "properties": {"b": {}},
                        "additionalProperties": False,
                    }
                },
                required=["a"],
                additionalProperties=False,
            )
        ),
        "response_format",
    ),
    Refused(
        "schema must be a JSON Schema of 'type: \"object\"'",
        ask(response_format=open_schema(type="string")),
        "response_format",
    ),
    Refused(
        "Missing 'city'",
        ask(
            tools=[
                {
                    "type": "function",
                    "function": {
                        "name": "w",
                        "strict": True,
                        "parameters": {
                            "type": "object",
                            "properties": {"city": {}},
                            "additionalProperties": False,
                        },
                    },
                }
            ]
        ),
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    Refused(
        "got 'type: \"None\"'",
        ask(
            tools=[
                {
                    "type": "function",
                    "function": {"name": "w", "parameters": {"properties": {}}},
                }
            ]
        ),
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    Refused(
        "array schema missing items",
        ask(tools=[tool("w", a={"type": "array"})]),
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    Refused(
        "Expected a valid URL",
        user(picture("ftp://a/b.png")),
        "messages[0].content[0].image_url.url",
        "invalid_value",
    ),
    Refused(
        "Expected a valid URL",
        user(picture("data:image/tiff;base64,AAAA")),
        "messages[0].content[0].image_url.url",
        "invalid_image_url",
    ),
    Refused(
        "Invalid base64 image_url",
        user(picture("data:image/png;base64,?")),
        "messages[0].content[0].image_url.url",
        "invalid_base64",
    ),
    Refused(
        "only supported by certain models",
        user(picture("https://a/b.png"), model="gpt-3.5-turbo"),
        "messages[0].content[0].type",
    ),
    Refused(
        "only supported by certain models",
        user({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
        "messages[0].content[0].type",
    ),
    Refused(
        "is not valid base64",
        user(
            {"type": "input_audio", "input_audio": {"data": "?", "format": "wav"}},
            model="gpt-4o-audio-preview",
        ),
        "messages[0].content[0].input_audio.data",
        "invalid_value",
    ),
    Refused(
        "exactly one of 'file_data' and 'file_id'",
        user({"type": "file", "file": {}}),
        "messages[0].content[0].file",
        "invalid_value",
    ),
    Refused(
        "expected a base64-encoded data URL",
        user({"type": "file", "file": {"file_data": "AAAA", "filename": "a.pdf"}}),
        "messages[0].content[0].file.file_data",
        "invalid_value",
    ),
    Refused(
        "Missing required parameter: 'messages[0].content[0].file.filename'",
        user(
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}
        ),
        "messages[0].content[0].file.filename",
        "missing_required_parameter",
    ),
    Refused(
        "maximum context length is 16385 tokens",
        {**ask("word " * 17_000), "model": "gpt-3.5-turbo"},
        "messages",
        "context_length_exceeded",
    ),
    Refused(
        "unknown directive 'nonsense'",
        ask("[[mock: nonsense]]"),
        None,
        "mock_unknown_directive",
    ),
    Refused(
        "expected one of", ask("[[mock: finish=tired]]"), None, "mock_unknown_directive"
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.says[:40])
def test_what_openai_refuses_is_refused(http: httpx.Client, case: Refused) -> None:
    reply = post(http, case.body)
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert case.says in error["message"]
    assert (error["type"], error["param"], error["code"]) == (
        "invalid_request_error",
        case.param,
        case.code,
    )


ACCEPTED = [
    messages(HELLO, CALLED, RESULT, tools=[CLOCK]),
    messages({"role": "system", "content": [{"type": "text", "text": "x"}]}, HELLO),
    messages({"role": "developer", "content": "x"}, HELLO, {"role": "assistant", "content": "y"}),
    user(picture("https://a/b.png"), picture(f"data:image/png;base64,{PNG}"), {"type": "text", "text": "what?"}),
    user({"type": "file", "file": {"file_id": "file-1"}}),
    user({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, model="gpt-4o-audio-preview"),
    ask(tool_choice="none", temperature=None, stop=None, stream=None),
    ask(max_tokens=5, metadata={"a": "b"}, logit_bias={"50256": -100}),
    {**ask(reasoning_effort="high", max_completion_tokens=100, temperature=1), "model": "o3"},
    ask(tools=[tool("w", strict=True, a={"type": "array", "items": {"type": "string"}, "default": {"type": "array"}})]),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(ACCEPTED)))
def test_what_openai_takes_is_taken(http: httpx.Client, i: int) -> None:
    complete(http, ACCEPTED[i])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "could not parse the JSON body"),
        (b"[]", "not an object"),
        (b'{"model": "gpt-4o", "model": "gpt-5"}', "duplicate key 'model'"),
        (b'{"temperature": NaN}', "NaN is not JSON"),
        (b"\xff", "could not parse"),
    ],
)
def test_a_body_that_is_not_json_is_refused(
    http: httpx.Client, body: bytes, says: str
) -> None:
    headers = {**KEY, "content-type": "application/json"}
    reply = http.post("/v1/chat/completions", content=body, headers=headers)
    assert reply.status_code == 400
    assert says in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status", "says"),
    [
        ({"authorization": "Bearer sk-wrong-key"}, 401, "provided: sk-****"),
        ({"authorization": "Basic sk-mock-1"}, 401, "Incorrect API key"),
        ({"authorization": "Bearer sk-mock-anthropic-1"}, 400, "a key of anthropic"),
        (
            {**KEY, "x-api-key": "sk-mock-1"},
            400,
            "unexpected credential header: x-api-key",
        ),
        ({**KEY, "x-envoy-attempt-count": "1"}, 400, "mock_unexpected_header: x-envoy"),
        ({**KEY, "x-gw-id": "1"}, 400, "mock_unexpected_header: x-gw-id"),
        ({**KEY, "content-encoding": "gzip"}, 415, "content-encoding: gzip"),
        ({**KEY, "content-type": "text/plain"}, 415, "Unsupported content type"),
    ],
)
def test_headers_that_must_not_arrive(
    http: httpx.Client, headers: dict[str, str], status: int, says: str
) -> None:
    reply = http.post(
        "/v1/chat/completions",
        content=json.dumps(ask()),
        headers={"content-type": "application/json", **headers},
    )
    assert reply.status_code == status
    assert says in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/nothing", 404),
        ("POST", "/openai/v1/nothing", 404),
        ("GET", "/v1/models/gpt-9", 404),
    ],
)
def test_paths_and_methods(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    reply = http.request(method, path, headers=KEY)
    assert reply.status_code == status
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_the_real_headers_come_with_every_answer(http: httpx.Client) -> None:
    headers = post(http, ask()).headers
    assert headers["x-request-id"].startswith("req_")
    for name in ("openai-processing-ms", "x-ratelimit-remaining-tokens"):
        assert name in headers


def test_the_prefixed_path_is_the_same_api(http: httpx.Client) -> None:
    reply = http.post("/openai/v1/chat/completions", json=ask(), headers=KEY)
    assert reply.status_code == 200


# The official client.


def test_the_client_lists_models(openai_client: openai.OpenAI) -> None:
    listed = {model.id for model in openai_client.models.list()}
    assert listed == set(MODELS)
    assert {"gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5", "o3", "o4-mini"} <= listed
    assert openai_client.models.retrieve("gpt-4o").owned_by == "system"


def test_the_client_reads_a_stream_with_its_accumulator(
    openai_client: openai.OpenAI,
) -> None:
    with openai_client.chat.completions.stream(
        **ask(
            "call get_weather",
            tools=[tool("get_weather", strict=True, city={"type": "string"})],
        )
    ) as events:
        final = events.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or []
    assert call.function.parsed_arguments == {"city": "city value"}


def test_the_asynchronous_client(mock: MockServer) -> None:
    async def run() -> tuple[str, str]:
        async with openai.AsyncOpenAI(
            base_url=f"{mock.url}/v1", api_key="sk-mock-1"
        ) as client:
            whole = await client.chat.completions.create(**ask())
            pieces = [
                chunk.choices[0].delta.content or ""
                async for chunk in await client.chat.completions.create(
                    **ask(), stream=True
                )
            ]
        return whole.choices[0].message.content or "", "".join(pieces)

    whole, streamed = asyncio.run(run())
    assert whole == streamed != ""


EXCEPTIONS = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}


@pytest.mark.parametrize("status", EXCEPTIONS)
def test_errors_become_the_clients_exceptions(
    openai_client: openai.OpenAI, status: int
) -> None:
    with pytest.raises(EXCEPTIONS[status]) as caught:
        openai_client.chat.completions.create(**ask(f"[[mock: status={status}]]"))
    assert isinstance(caught.value.body, dict)
    assert caught.value.request_id


def test_an_unknown_model_is_not_found(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        openai_client.chat.completions.create(**{**ask(), "model": "gpt-9"})
    assert caught.value.code == "model_not_found"


def test_an_error_in_a_stream_is_raised(openai_client: openai.OpenAI) -> None:
    body = ask("hi [[mock: error-mid-stream after=3]]")
    seen: list[str] = []
    chunks = openai_client.chat.completions.create(**body, stream=True)
    with pytest.raises(openai.APIError, match="error while processing"):
        seen.extend(chunk.id for chunk in chunks)
    assert len(seen) == 3
