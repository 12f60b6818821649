"""The mock of Responses, judged by the official SDK: its types, its client, its errors."""

from __future__ import annotations

import base64
import json
import typing
from collections.abc import Iterator
from typing import Any, Required, get_args, get_origin

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from openai.types.responses.response_includable import ResponseIncludable
from openai.types.responses.response_input_item_param import ResponseInputItemParam
from openai.types.responses.tool_param import ToolParam
from pydantic import TypeAdapter
from typing_extensions import is_typeddict

from extproc.local.mock.openai.responses_memory import KEPT, Shelf, is_encrypted
from extproc.local.mock.openai.responses_rules import (
    HOSTED_CHOICES,
    INCLUDABLE,
    ITEMS,
    OPEN_ITEMS,
    OPEN_TOOLS,
    RESPONSES,
    TOOL_CHOICE,
    TOOLS,
)
from extproc.local.mock.rules import Tagged

KEY = {"authorization": "Bearer sk-mock-1"}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
ENCRYPTED = ["reasoning.encrypted_content"]


def tool(name: str, *, strict: bool = False, **properties: Any) -> dict[str, Any]:
    schema = {
        "type": "object", "properties": properties, "required": list(properties),
        "additionalProperties": False,
    }  # fmt: skip
    return {"type": "function", "name": name, "parameters": schema, "strict": strict}


WEATHER = tool("get_weather", city={"type": "string"}, days={"type": "integer"})
CLOCK = {"type": "function", "name": "clock", "parameters": None, "strict": None}
SHELL = {"type": "custom", "name": "run"}


def ask(input_: Any = "Hello there", **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "input": input_, **fields}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def post(http: httpx.Client, body: Any) -> httpx.Response:
    return http.post("/v1/responses", json=body, headers=KEY)


def answer(http: httpx.Client, body: Any) -> Response:
    reply = post(http, body)
    assert reply.status_code == 200, reply.text
    return Response.model_validate(reply.json(), strict=True)


def stream(http: httpx.Client, body: Any) -> list[Any]:
    reply = post(http, {**body, "stream": True})
    assert reply.status_code == 200, reply.text
    *told, rest = reply.text.split("\n\n")
    assert rest == ""
    events = []
    for number, frame in enumerate(told):
        name, payload = frame.split("\n")
        event = EVENT.validate_python(
            json.loads(payload.removeprefix("data: ")), strict=True
        )
        assert name == f"event: {event.type}"
        assert event.sequence_number == number
        events.append(event)
    return events


def refused(http: httpx.Client, body: Any) -> tuple[int, str | None, str | None]:
    reply = post(http, body)
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return reply.status_code, error["param"], error["code"]


CASES = {
    "plain": ask(),
    "items": ask([user("a"), {"role": "assistant", "content": "b"}, user("c")]),
    "tools": ask("call get_weather and clock and run", tools=[WEATHER, CLOCK, SHELL]),
    "tool after text": ask("text before get_weather", tools=[WEATHER]),
    "refusal": ask("please refuse"),
    "json": ask("json please", text={"format": {"type": "json_object"}}),
    "limit": ask("one two three four five six seven eight nine ten eleven", max_output_tokens=16),
    "filtered": ask("[[mock: finish=content_filter]] a"),
    "logprobs": ask(include=["message.output_text.logprobs"], top_logprobs=2),
    "thoughts": {**ask(include=ENCRYPTED, reasoning={"summary": "auto"}), "model": "gpt-5"},
    "hidden thoughts": {**ask(), "model": "o3"},
    "no thoughts": {**ask(reasoning={"effort": "none"}), "model": "gpt-5"},
    "built-in tools": ask(tools=[{"type": "web_search"}, {"type": "mcp", "server_label": "s"}]),
    "no usage": ask("[[mock: no-usage]] a"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_stream_says_what_the_plain_answer_says(
    http: httpx.Client, case: str
) -> None:
    whole = answer(http, {**CASES[case], "store": False})
    events = stream(http, {**CASES[case], "store": False})
    last = events[-1].response
    assert events[-1].type == f"response.{whole.status}"
    ignored = {"id", "output"}  # the request differs, so the ids do
    assert last.model_dump(exclude=ignored) == whole.model_dump(exclude=ignored)
    assert [i.type for i in last.output] == [i.type for i in whole.output]
    assert last.output_text == whole.output_text
    done = [e.item for e in events if e.type == "response.output_item.done"]
    assert done == last.output
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == whole.output_text
    for item, index in zip(last.output, range(9), strict=False):
        pieces = "".join(
            e.delta for e in events
            if e.type.endswith(("arguments.delta", "input.delta", "summary_text.delta"))
            and e.output_index == index
        )  # fmt: skip
        said = getattr(item, "arguments", None) or getattr(item, "input", None)
        if item.type == "reasoning":
            said = "".join(part.text for part in item.summary)
        assert pieces == (said or "")


def test_the_sdk_accumulates_the_stream(openai_client: openai.OpenAI) -> None:
    with openai_client.responses.stream(**CASES["tools"]) as told:
        final = told.get_final_response()
    assert [item.type for item in final.output] == [
        "function_call", "function_call", "custom_tool_call",
    ]  # fmt: skip


def test_an_answer_is_a_function_of_the_request(http: httpx.Client) -> None:
    first = answer(http, ask("Hi!"))
    assert first == answer(http, ask("Hi!"))
    assert first.id != answer(http, ask("Ho!")).id
    assert first.output_text.startswith("You said: Hi!")
    assert (first.model, first.created_at) == ("gpt-4o-2024-08-06", 1_700_000_000)


def test_a_conversation_goes_on_from_a_response_that_is_kept(
    http: httpx.Client,
) -> None:
    first = answer(http, ask("call get_weather", tools=[WEATHER]))
    call: Any = first.output[0]
    output = {
        "type": "function_call_output",
        "call_id": call.call_id,
        "output": "sunny",
    }
    again = answer(http, ask([output], previous_response_id=first.id, tools=[WEATHER]))
    assert again.output_text.startswith("The tool says: sunny")
    assert again.previous_response_id == first.id
    kept = http.get(f"/v1/responses/{first.id}", headers=KEY)
    assert Response.model_validate(kept.json(), strict=True) == first
    reference = {"type": "item_reference", "id": call.id}
    assert answer(http, ask([user("?"), reference, output])).status == "completed"
    assert refused(http, ask([user("?"), {"id": "fc_nobody"}]))[0] == 404


def test_a_response_that_was_not_to_be_stored_is_not(http: httpx.Client) -> None:
    gone = answer(http, ask("not kept", store=False))
    body = ask("go on", previous_response_id=gone.id)
    assert refused(http, body) == (
        400,
        "previous_response_id",
        "previous_response_not_found",
    )
    assert http.get(f"/v1/responses/{gone.id}", headers=KEY).status_code == 404


def test_the_oldest_response_is_forgotten() -> None:
    shelf = Shelf()
    for i in range(KEPT + 1):
        shelf.keep({"id": f"r{i}", "output": [{"id": f"i{i}"}]}, [])
    assert shelf.response("r0") is None
    assert shelf.conversation("r1") == []
    assert shelf.item(f"i{KEPT}") is not None


def test_encrypted_reasoning_is_verified(http: httpx.Client) -> None:
    body = {**ask("think", include=ENCRYPTED, store=False), "model": "gpt-5"}
    thought: Any = answer(http, body).output[0]
    assert is_encrypted(thought.encrypted_content)
    item = {"type": "reasoning", "id": thought.id, "summary": []}
    proof = thought.encrypted_content
    turns = [user("think"), {**item, "encrypted_content": proof}, user("go on")]
    assert answer(http, {**body, "input": turns}).status == "completed"
    for broken in (proof[:-9] + "AAAAAAAA=", "gAAAAA", "extproc.1.e30", "é"):
        turns[1] = {**item, "encrypted_content": broken}
        assert refused(http, {**body, "input": turns}) == (
            400, "input[1].encrypted_content", "invalid_encrypted_content",
        )  # fmt: skip
    turns[1] = item
    assert refused(http, {**body, "input": turns})[0] == 404
    kept: Any = answer(http, {**body, "store": True}).output[0]
    turns[1] = {"type": "reasoning", "id": kept.id, "summary": []}
    assert answer(http, {**body, "input": turns}).status == "completed"


CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "x"}
REFUSED: list[tuple[Any, tuple[int, str | None, str | None]]] = [
    (ask(temperature="hot"), (400, "temperature", "invalid_type")),
    (ask(temperature=3), (400, "temperature", "decimal_above_max_value")),
    (ask(max_output_tokens=15), (400, "max_output_tokens", "integer_below_min_value")),
    (ask(max_output_tokens=99_999), (400, "max_output_tokens", "invalid_value")),
    (ask(messages=[]), (400, "messages", "unknown_parameter")),
    (ask(stop=["x"]), (400, "stop", "unknown_parameter")),
    (ask(include=["everything"]), (400, "include[0]", "invalid_value")),
    ({"model": "gpt-4o"}, (400, "input", "missing_required_parameter")),
    ({"input": "x"}, (400, None, None)),
    (ask([]), (400, "input", "missing_required_parameter")),
    ({**ask(), "model": "gpt-none"}, (404, None, "model_not_found")),
    (ask([{"content": "x"}]), (400, "input[0].type", "missing_required_parameter")),
    (ask([{"type": "brand_new"}]), (400, "input[0].type", "invalid_value")),
    (ask([{"role": "tool", "content": "x"}]), (400, "input[0].role", "invalid_value")),
    (ask([{**user("x"), "name": "n"}]), (400, "input[0].name", "unknown_parameter")),
    (ask([{"role": "user", "content": [{"type": "text", "text": "x"}]}]), (400, "input[0].content[0].type", "invalid_value")),
    (ask([{"role": "user", "content": [{"type": "output_text", "text": "x"}]}]), (400, "input[0].content[0].type", "invalid_value")),
    (ask([{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]), (400, "input[0].content[0].type", "invalid_value")),
    (ask([{"role": "user", "content": [{"type": "input_image"}]}]), (400, "input[0].content[0]", "invalid_value")),
    (ask([{"role": "user", "content": [{"type": "input_image", "image_url": "ftp://x"}]}]), (400, "input[0].content[0].image_url", "invalid_value")),
    ({**ask([{"role": "user", "content": [{"type": "input_image", "image_url": "https://x"}]}]), "model": "gpt-3.5-turbo"}, (400, "input[0].content[0].type", None)),
    (ask([{"role": "user", "content": [{"type": "input_file"}]}]), (400, "input[0].content[0]", "invalid_value")),
    (ask([{"role": "user", "content": [{"type": "input_file", "file_data": f"data:a/b;base64,{PNG}"}]}]), (400, "input[0].content[0].filename", "missing_required_parameter")),
    (ask([CALL]), (400, "input", None)),
    (ask([OUTPUT]), (400, "input", None)),
    (ask([CALL, {**OUTPUT, "type": "custom_tool_call_output"}]), (400, "input", None)),
    (ask([{"type": "function_call_output", "output": "x"}]), (400, "input[0].call_id", "missing_required_parameter")),
    (ask([{**CALL, "id": "call_1"}, OUTPUT]), (400, "input[0].id", "invalid_value")),
    (ask([CALL, {**OUTPUT, "output": [{"type": "input_image"}]}]), (400, "input[1].output[0]", "invalid_value")),
    (ask(tools=[{"type": "function", "name": "f"}]), (400, "tools[0].parameters", "missing_required_parameter")),
    (ask(tools=[{"type": "brand_new"}]), (400, "tools[0].type", "invalid_value")),
    (ask(tools=[{}]), (400, "tools[0].type", "missing_required_parameter")),
    (ask(tools=[{**WEATHER, "parameters": {"type": "array"}}]), (400, "tools[0].parameters", "invalid_function_parameters")),
    (ask(tools=[{**tool("f", strict=True), "parameters": {"type": "object", "properties": {}}}]), (400, "tools[0].parameters", "invalid_function_parameters")),
    (ask(tool_choice="required"), (400, "tool_choice", None)),
    (ask(tool_choice={"type": "function", "name": "f"}), (400, "tool_choice", None)),
    (ask(tools=[CLOCK], tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}), (400, "tool_choice", None)),
    (ask(text={"format": {"type": "json_object"}}), (400, "input", None)),
    (ask(text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object", "properties": {}}, "strict": True}}), (400, "text.format.schema", "invalid_json_schema")),
    (ask(text={"verbosity": "low"}), (400, "text.verbosity", "unsupported_parameter")),
    (ask(reasoning={"effort": "low"}), (400, "reasoning.effort", "unsupported_parameter")),
    (ask(include=ENCRYPTED), (400, "include", None)),
    ({**ask(temperature=0.5), "model": "gpt-5"}, (400, "temperature", "unsupported_parameter")),
    (ask(stream_options={}), (400, "stream_options", None)),
    (ask(background=True), (400, "background", "mock_unserved")),
    (ask("[[mock: context-length]]"), (400, "input", "context_length_exceeded")),
    (ask("[[mock: status=429]]"), (429, None, "rate_limit_exceeded")),
    (ask("[[mock: dance]]"), (400, None, "mock_unknown_directive")),
    (ask("[[mock: finish=tool_calls]]"), (400, None, "mock_unknown_directive")),
]  # fmt: skip


@pytest.mark.parametrize(("body", "error"), REFUSED, ids=range(len(REFUSED)))
def test_what_openai_refuses_is_refused(
    http: httpx.Client, body: Any, error: Any
) -> None:
    assert refused(http, body) == error


@pytest.mark.parametrize(
    "body",
    [
        ask([CALL, OUTPUT, user("a")]),
        ask([{"type": "web_search_call", "id": "ws_1", "status": "completed"}, user("a")]),
        ask([{"role": "user", "content": [{"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PNG}"}]}]),
        ask([{"role": "user", "content": [{"type": "input_file", "file_url": "https://x.test/a.pdf"}]}]),
        ask(tools=[CLOCK], tool_choice={"type": "function", "name": "clock"}),
        ask(tools=[CLOCK], tool_choice={"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "clock"}]}),
        ask(tools=[{"type": "function", "name": "clock", "parameters": None}], tool_choice="required"),
        ask(tools=[SHELL], tool_choice={"type": "custom", "name": "run"}),
        ask(tools=[{"type": "web_search_preview"}], tool_choice={"type": "web_search_preview"}),
        ask(tools=[CLOCK], tool_choice="none", instructions="clock clock", metadata={"a": "b"}),
    ],
)  # fmt: skip
def test_what_openai_takes_is_taken(http: httpx.Client, body: Any) -> None:
    reply = answer(http, body)
    forced = body.get("tool_choice")
    if isinstance(forced, dict) and forced["type"] != "web_search_preview":
        assert reply.output[0].type in {"function_call", "custom_tool_call"}


def test_other_methods_and_bodies_are_refused(http: httpx.Client) -> None:
    assert http.get("/v1/responses", headers=KEY).status_code == 405
    assert http.post("/v1/responses", json=ask()).status_code == 401
    broken = http.post(
        "/v1/responses",
        content=b"{",
        headers={**KEY, "content-type": "application/json"},
    )
    assert broken.status_code == 400


def test_an_error_in_the_middle_is_told_twice_and_the_sdk_raises_it(
    http: httpx.Client, openai_client: openai.OpenAI
) -> None:
    body = ask("[[mock: error-mid-stream after=4]] a")
    reply = post(http, {**body, "stream": True})
    *_, error, failed, _ = reply.text.split("\n\n")
    assert error.startswith("event: error")
    assert failed.startswith("event: response.failed")
    with pytest.raises(openai.APIError, match="had an error"):
        list(openai_client.responses.create(**body, stream=True))


def test_a_stream_can_be_truncated(http: httpx.Client) -> None:
    events = stream(http, ask("[[mock: truncate after=5]] a"))
    assert len(events) == 5
    assert events[-1].type == "response.output_text.delta"


# ---------------------------------------------------------------- the tables


def kinds(*members: Any) -> Iterator[str]:
    """Yield the types of typed dicts; null is none."""
    for member in members:
        for name in get_args(typing.get_type_hints(member)["type"]):
            yield from [name] if isinstance(name, str) else filter(None, get_args(name))


def fields(obj: Any) -> set[str]:
    return {name.removesuffix("!") for name in obj.fields}


def test_the_tables_know_what_the_sdk_knows() -> None:
    assert set(kinds(*get_args(ResponseInputItemParam))) == set(ITEMS) | OPEN_ITEMS
    assert set(kinds(*get_args(ToolParam))) == set(TOOLS) | OPEN_TOOLS
    assert set(INCLUDABLE.values) == set(get_args(ResponseIncludable))
    hints = typing.get_type_hints(ResponseCreateParamsBase)
    assert fields(RESPONSES) == set(hints) | {"stream", "client_metadata"}
    told = next(c for c in TOOL_CHOICE.choices if isinstance(c, Tagged)).members
    objects = [m for m in get_args(hints["tool_choice"]) if is_typeddict(m)]
    assert set(told) == set(kinds(*objects))
    others = {"function", "custom", "allowed_tools", "mcp"}
    assert set(HOSTED_CHOICES) == set(told) - others


LENIENT = {"function": {"strict!"}}
"""What the types demand and OpenAI does not."""


def test_the_items_and_tools_have_the_fields_of_the_sdk() -> None:
    """The three forms of a message are one here: it has the fields of all of them."""
    for known, union in ((ITEMS, ResponseInputItemParam), (TOOLS, ToolParam)):
        for kind, rule in known.items():
            shapes = [
                typing.get_type_hints(member, include_extras=True)
                for member in get_args(union)
                if kind in kinds(member)
            ]
            assert fields(rule) == {name for shape in shapes for name in shape}, kind
            required = {
                f"{name}!"
                for name in shapes[0]
                if all(get_origin(shape.get(name)) is Required for shape in shapes)
            }
            needed = {n for n in rule.fields if n.endswith("!")}
            assert required - needed <= LENIENT.get(kind, set()), kind
            assert needed <= required, kind
