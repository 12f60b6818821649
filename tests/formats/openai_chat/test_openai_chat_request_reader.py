"""Requests as clients send them, and as they must not."""

from __future__ import annotations

import collections.abc
import contextlib
import itertools
import json
import typing

import msgspec
import pytest
from hypothesis import given, strategies as st
from openai.types.chat import completion_create_params as sdk
from typing_extensions import get_type_hints, is_typeddict

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.base import Unsupported
from extproc.formats.openai_chat import CLIENT
from extproc.formats.openai_chat.validation import invalid
from extproc.framing.members import read_members

USER = {"role": "user", "content": "hi"}


def read(**members) -> canonical.Request:
    body = json.dumps({"model": "m", "messages": [USER], **members}).encode()
    return CLIENT.read_request(body, read_members(body))


def parts_of(*messages) -> list[tuple[canonical.Part, ...]]:
    return [message.parts for message in read(messages=list(messages)).messages]


def call(arguments="{}", **more):
    return {
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": arguments},
        **more,
    }


def assistant(**members):
    return {"role": "assistant", "content": None, **members}


def content(*parts):
    return {"role": "user", "content": list(parts)}


PNG = "data:image/png;base64,iVBORw0KGgo="

# ---------------------------------------------------------------- messages

MESSAGES = {
    "string": (USER, (canonical.Text("hi"),)),
    "empty string": ({"role": "user", "content": ""}, (canonical.Text(""),)),
    "developer": (
        {"role": "developer", "content": [{"type": "text", "text": "a"}]},
        (canonical.Text("a"),),
    ),
    "parts in order": (
        content(
            {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
            {"type": "text", "text": "a"},
            {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
        ),
        (
            canonical.Image(canonical.Inline("image/png", "iVBORw0KGgo="), "low"),
            canonical.Text("a"),
            canonical.Image(canonical.Remote("https://x.test/a.png")),
        ),
    ),
    "audio": (
        content({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}),
        (canonical.Audio(canonical.Inline("audio/mpeg", "AAAA")),),
    ),
    "file": (
        content(
            {
                "type": "file",
                "file": {
                    "file_data": "data:application/pdf;base64,JVBERi0=",
                    "filename": "a.pdf",
                },
            },
            {"type": "file", "file": {"file_id": "file-1"}},
        ),
        (
            canonical.Document(
                canonical.Inline("application/pdf", "JVBERi0="), "a.pdf"
            ),
            canonical.Document(canonical.FileReference("file-1")),
        ),
    ),
    "cache breakpoints": (
        content(
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            {"type": "text", "text": "b", "prompt_cache_breakpoint": {"mode": "explicit"}},
        ),
        (
            canonical.Text("a", cache=canonical.CacheControl("1h")),
            canonical.Text("b", cache=canonical.CacheControl()),
        ),
    ),
    "a message's own breakpoint": (
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            "cache_control": {"type": "ephemeral"},
        },
        (
            canonical.Text("a"),
            canonical.Text("b", cache=canonical.CacheControl()),
        ),
    ),
    "assistant text and calls": (
        assistant(content="a", tool_calls=[call('{"x":1}'), call("", id="c2")]),
        (
            canonical.Text("a"),
            canonical.ToolCall("c1", "f", '{"x":1}'),
            canonical.ToolCall("c2", "f", "{}"),
        ),
    ),
    "empty text beside calls": (
        assistant(content="", tool_calls=[call()]),
        (canonical.ToolCall("c1", "f", "{}"),),
    ),
    "custom call": (
        assistant(
            tool_calls=[
                {"id": "c", "type": "custom", "custom": {"name": "g", "input": "free"}}
            ]
        ),
        (canonical.ToolCall("c", "g", "free", custom=True),),
    ),
    "a call's thought signature": (
        assistant(
            tool_calls=[
                call(extra_content={"google": {"thought_signature": "s"}}),
                call(id="c2", extra_content={"other": 1}),
                call(id="c3", extra_content="odd"),
            ]
        ),
        (
            canonical.ToolCall("c1", "f", "{}", signature="s"),
            canonical.ToolCall("c2", "f", "{}"),
            canonical.ToolCall("c3", "f", "{}"),
        ),
    ),
    "refusal": (
        assistant(refusal="no", content=[{"type": "refusal", "refusal": "never"}]),
        (canonical.Refusal("never"), canonical.Refusal("no")),
    ),
    "thinking parts": (
        assistant(
            content=[
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
                {"type": "text", "text": "a"},
            ],
            reasoning_content="hm",
        ),
        (
            canonical.Reasoning("hm", "s"),
            canonical.Reasoning(encrypted="d"),
            canonical.Text("a"),
        ),
    ),
    "whole thinking blocks": (
        assistant(
            content="a",
            reasoning_content="hmso",
            thinking_blocks=[
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
                {"type": "thinking", "thinking": "so", "signature": "t"},
            ],
        ),
        (
            canonical.Reasoning("hm", "s"),
            canonical.Reasoning(encrypted="d"),
            canonical.Reasoning("so", "t"),
            canonical.Text("a"),
        ),
    ),
    "thinking blocks in pieces": (
        assistant(
            content="a",
            thinking_blocks=[
                {"index": 0, "type": "thinking", "thinking": "h"},
                {"index": 0, "type": "thinking", "thinking": "m"},
                {"index": 0, "type": "thinking", "thinking": "", "signature": "s"},
                {"index": 1, "type": "redacted_thinking", "data": "d"},
                {"index": 2, "type": "thinking", "thinking": "so"},
                {"index": 3, "type": "thinking", "thinking": "on"},
            ],
        ),
        (
            canonical.Reasoning("hm", "s"),
            canonical.Reasoning(encrypted="d"),
            canonical.Reasoning("so"),
            canonical.Reasoning("on"),
            canonical.Text("a"),
        ),
    ),
    "pieces that lost their index": (
        assistant(
            content="a",
            thinking_blocks=[
                {"type": "thinking", "thinking": "h"},
                {"type": "thinking", "thinking": "m"},
                {"type": "thinking", "thinking": "", "signature": "s"},
                {"type": "thinking", "thinking": "", "signature": "t"},
                {"type": "thinking", "thinking": "so"},
            ],
        ),
        (
            canonical.Reasoning("hm", "s"),
            canonical.Reasoning("", "t"),
            canonical.Reasoning("so"),
            canonical.Text("a"),
        ),
    ),
    "reasoning alone": (
        assistant(content="a", reasoning_content="hm"),
        (canonical.Reasoning("hm"), canonical.Text("a")),
    ),
    "tool result": (
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
        (canonical.ToolResult("c1", (canonical.Text("42"),)),),
    ),
    "tool result with a picture, failed, cached": (
        {
            "role": "tool",
            "tool_call_id": "c1",
            "is_error": True,
            "cache_control": {"type": "ephemeral"},
            "content": [
                {"type": "text", "text": "42"},
                {"type": "image_url", "image_url": {"url": PNG}},
            ],
        },
        (
            canonical.ToolResult(
                "c1",
                (
                    canonical.Text("42"),
                    canonical.Image(canonical.Inline("image/png", "iVBORw0KGgo=")),
                ),
                is_error=True,
                cache=canonical.CacheControl(),
            ),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("message", "parts"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_keeps_its_parts_in_order(message, parts):
    assert parts_of(message) == [parts]


def test_messages_keep_their_order_role_name_and_place():
    request = read(
        messages=[
            {"role": "system", "content": "s"},
            {"role": "user", "content": "u", "name": "ann"},
            {"role": "assistant", "content": "a"},
            {"role": "developer", "content": "d"},
            {"role": "tool", "content": "t", "tool_call_id": "c"},
        ]
    )
    assert [(m.role, m.name, m.where) for m in request.messages] == [
        ("system", None, "messages[0]"),
        ("user", "ann", "messages[1]"),
        ("assistant", None, "messages[2]"),
        ("developer", None, "messages[3]"),
        ("tool", None, "messages[4]"),
    ]


def test_an_assistants_words_are_the_same_beside_other_members():
    """Words alone are read in a shorter way than words beside anything else."""
    said = assistant(content="a")
    beside = [
        {},
        {"name": "n"},
        {"refusal": None, "tool_calls": None, "audio": None},
        {"reasoning_content": "", "tool_calls": []},
        {"cache_control": {"type": "ephemeral"}},
    ]
    request = read(messages=[USER, *(said | more for more in beside)])
    places = [message.place(0) for message in request.messages[1:]]
    parts = [message.parts for message in request.messages[1:]]
    marked = canonical.Text("a", cache=canonical.CacheControl())
    assert parts == [(canonical.Text("a"),)] * (len(beside) - 1) + [(marked,)]
    assert places == [f"messages[{i + 1}].content[0]" for i in range(len(beside))]
    assert [message.name for message in request.messages[1:3]] == [None, "n"]


def test_a_part_is_counted_among_its_own_kind():
    """Where nobody has said how the client names its parts."""
    thought, word = canonical.Reasoning("t"), canonical.Text("w")
    calls = [canonical.ToolCall(f"c{i}", "f", "{}") for i in range(2)]
    parts: tuple[canonical.Part, ...] = (thought, word, calls[0], word, calls[1])
    message = canonical.Message("assistant", parts, where="m")
    assert [message.place(i) for i in range(5)] == [
        "m.reasoning", "m.content[0]", "m.tool_calls[0]", "m.content[1]",
        "m.tool_calls[1]",
    ]  # fmt: skip
    result = canonical.ToolResult("c0", (word,))
    assert canonical.Message("tool", (result,), where="m").place(0) == "m"


def test_deprecated_functions_become_tools_and_calls():
    request = read(
        messages=[
            USER,
            assistant(function_call={"name": "f", "arguments": ""}),
            {"role": "function", "name": "f", "content": "42"},
            {"role": "function", "name": "f", "content": None},
        ],
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call={"name": "f"},
    )
    assert request.messages[1].parts == (canonical.ToolCall("call_1", "f", "{}"),)
    assert request.messages[2].parts == (
        canonical.ToolResult("call_1", (canonical.Text("42"),)),
    )
    assert request.messages[3].parts == (canonical.ToolResult("call_1", ()),)
    assert request.messages[2].role == "tool"
    assert request.tools == (
        canonical.Tool("f", parameters=msgspec.Raw(b'{"type": "object"}')),
    )
    assert request.tool_choice == canonical.ToolChoice("named", ("f",))
    assert request.name_of("tools") == "functions"


# ---------------------------------------------------------------- the other members

FUNCTION = {"type": "function", "function": {"name": "f"}}

MEMBERS = {
    "max_tokens": ({"max_tokens": 7}, "max_output_tokens", 7),
    "max_completion_tokens wins": (
        {"max_tokens": 7, "max_completion_tokens": 9}, "max_output_tokens", 9,
    ),
    "stop string": ({"stop": "x"}, "stop", ("x",)),
    "stop list": ({"stop": ["x", "y"]}, "stop", ("x", "y")),
    "stop null": ({"stop": None}, "stop", ()),
    "top_k": ({"top_k": 3}, "top_k", 3),
    "user": ({"user": "u"}, "end_user", "u"),
    "effort": (
        {"reasoning_effort": "high"}, "thinking", canonical.Thinking(effort="high"),
    ),
    "thinking": (
        {"thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted"}},
        "thinking",
        canonical.Thinking(budget_tokens=2048, enabled=True, display="omitted"),
    ),
    "thinking off": (
        {"thinking": {"type": "disabled"}}, "thinking", canonical.Thinking(enabled=False),
    ),
    "thinking adaptive with effort": (
        {"thinking": {"type": "adaptive"}, "reasoning_effort": "low"},
        "thinking",
        canonical.Thinking(effort="low", enabled=True, adaptive=True),
    ),
    "function tool": (
        {
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": "f", "description": "d", "strict": True,
                        "parameters": {"type": "object"},
                    },
                    "cache_control": {"type": "ephemeral"},
                }
            ]
        },
        "tools",
        (
            canonical.Tool(
                "f", "d", msgspec.Raw(b'{"type": "object"}'), strict=True,
                cache=canonical.CacheControl(),
            ),
        ),
    ),
    "custom tool": (
        {"tools": [{"type": "custom", "custom": {"name": "g", "format": {"type": "text"}}}]},
        "tools",
        (canonical.CustomTool("g", format=msgspec.Raw(b'{"type": "text"}')),),
    ),
    "a provider's own tool": (
        {"tools": [{"type": "code_interpreter", "max": 1}]},
        "tools",
        (
            canonical.BuiltinTool(
                "code_interpreter",
                msgspec.Raw(b'{"type": "code_interpreter", "max": 1}'),
            ),
        ),
    ),
    "choice": ({"tool_choice": "required"}, "tool_choice", canonical.ToolChoice("required")),
    "choice by name": (
        {"tool_choice": FUNCTION}, "tool_choice", canonical.ToolChoice("named", ("f",)),
    ),
    "choice of a custom tool": (
        {"tool_choice": {"type": "custom", "custom": {"name": "g"}}},
        "tool_choice",
        canonical.ToolChoice("named", ("g",)),
    ),
    "allowed tools": (
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [FUNCTION]},
            }
        },
        "tool_choice",
        canonical.ToolChoice("required", ("f",)),
    ),
    "json schema": (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"a": 1}, "strict": True},
            }
        },
        "output_format",
        canonical.OutputFormat(
            "json_schema", name="n", schema=msgspec.Raw(b'{"a": 1}'), strict=True
        ),
    ),
    "json object": (
        {"response_format": {"type": "json_object"}},
        "output_format",
        canonical.OutputFormat("json_object"),
    ),
    "usage asked for": ({"stream_options": {"include_usage": True}}, "include_usage", True),
    "logit bias": ({"logit_bias": {"50256": -100}}, "logit_bias", msgspec.Raw(b'{"50256": -100}')),
    "unknown member": ({"guided_regex": "a+"}, "extras", {"guided_regex": msgspec.Raw(b'"a+"')}),
    "null extra": ({"store": None}, "extras", {}),
    "obfuscation off": ({"stream_options": {"include_obfuscation": False}}, "extras", {}),
}  # fmt: skip


@pytest.mark.parametrize(("members", "word", "value"), MEMBERS.values(), ids=MEMBERS)
def test_a_member_finds_its_canonical_word(members, word, value):
    assert getattr(read(**members), word) == value


@pytest.mark.parametrize(
    ("members", "word", "name"),
    [
        ({"max_tokens": 1}, "max_output_tokens", "max_tokens"),
        (
            {"max_tokens": 1, "max_completion_tokens": 1},
            "max_output_tokens",
            "max_completion_tokens",
        ),
        ({"user": "u"}, "end_user", "user"),
        ({"reasoning_effort": "low"}, "thinking", "reasoning_effort"),
        ({"thinking": {"type": "enabled"}}, "thinking", "thinking"),
        ({"temperature": 1}, "temperature", "temperature"),
    ],
)
def test_the_request_remembers_what_the_client_calls_a_field(members, word, name):
    assert read(**members).name_of(word) == name


# ---------------------------------------------------------------- refusals


def messages(*said):
    return {"messages": list(said)}


BAD = {
    "no messages": ({"messages": ...}, "messages", "missing_required_parameter"),
    "empty messages": (messages(), "messages", "empty_array"),
    "messages of another type": ({"messages": "hi"}, "messages", "invalid_type"),
    "a message that is a string": (messages("hi"), "messages[0]", "invalid_type"),
    "no model": ({"model": ...}, "model", "missing_required_parameter"),
    "no role": (messages({"content": "a"}), "messages[0].role", "missing_required_parameter"),
    "unknown role": (
        messages(USER, {"role": "robot", "content": "a"}), "messages[1].role", "invalid_value",
    ),
    "role of another type": (
        messages({"role": 1, "content": "a"}), "messages[0].role", "invalid_type",
    ),
    "content of another type": (
        messages({"role": "user", "content": 4}), "messages[0].content", "invalid_type",
    ),
    "null content": (
        messages({"role": "user", "content": None}), "messages[0].content", "invalid_type",
    ),
    "no content": (
        messages({"role": "user"}), "messages[0].content", "missing_required_parameter",
    ),
    "unknown part": (
        messages(content({"type": "text", "text": "a"}, {"type": "video"})),
        "messages[0].content[1].type", "invalid_value",
    ),
    "part without type": (
        messages(content({"text": "a"})),
        "messages[0].content[0].type", "missing_required_parameter",
    ),
    "part without its member": (
        messages(content({"type": "image_url"})),
        "messages[0].content[0].image_url", "missing_required_parameter",
    ),
    "a picture in a system message": (
        messages({"role": "system", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}),
        "messages[0].content[0].type", "invalid_value",
    ),
    "data URI without base64": (
        messages(content({"type": "image_url", "image_url": {"url": "data:image/png,abc"}})),
        "messages[0].content[0].image_url.url", "invalid_image_url",
    ),
    "data URI with other characters": (
        messages(content({"type": "image_url", "image_url": {"url": PNG + "-_"}})),
        "messages[0].content[0].image_url.url", "invalid_image_url",
    ),
    "data URI without content": (
        messages(content({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}})),
        "messages[0].content[0].image_url.url", "invalid_image_url",
    ),
    "empty URL": (
        messages(content({"type": "image_url", "image_url": {"url": ""}})),
        "messages[0].content[0].image_url.url", "invalid_image_url",
    ),
    "audio that is not base64": (
        messages(content({"type": "input_audio", "input_audio": {"data": "ä", "format": "wav"}})),
        "messages[0].content[0].input_audio.data", "invalid_base64",
    ),
    "file without content": (
        messages(content({"type": "file", "file": {"filename": "a.pdf"}})),
        "messages[0].content[0].file", "missing_required_parameter",
    ),
    "tool message without id": (
        messages({"role": "tool", "content": "42"}),
        "messages[0].tool_call_id", "missing_required_parameter",
    ),
    "function result without call": (
        messages({"role": "function", "name": "f", "content": "42"}),
        "messages[0].name", "invalid_value",
    ),
    "arguments that are no JSON": (
        messages(assistant(tool_calls=[call("{")])),
        "messages[0].tool_calls[0].function.arguments", "invalid_value",
    ),
    "arguments that are no object": (
        messages(assistant(tool_calls=[call(), call("[1]")])),
        "messages[0].tool_calls[1].function.arguments", "invalid_value",
    ),
    "deprecated arguments that are no object": (
        messages(assistant(function_call={"name": "f", "arguments": "1"})),
        "messages[0].function_call.arguments", "invalid_value",
    ),
    "call without id": (
        messages(assistant(tool_calls=[{"type": "function", "function": {"name": "f"}}])),
        "messages[0].tool_calls[0].id", "missing_required_parameter",
    ),
    "unknown kind of call": (
        messages(assistant(tool_calls=[call(type="mcp")])),
        "messages[0].tool_calls[0].type", "invalid_value",
    ),
    "assistant says nothing": (
        messages(assistant()), "messages[0].content", "missing_required_parameter",
    ),
    "assistant's earlier audio": (
        messages(assistant(audio={"id": "audio_1"})), "messages[0].audio", "unsupported_parameter",
    ),
    "temperature of another type": ({"temperature": "hot"}, "temperature", "invalid_type"),
    "max_tokens with a fraction": ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
    "stop of another type": ({"stop": [1]}, "stop[0]", "invalid_type"),
    "unknown choice": ({"tool_choice": "any"}, "tool_choice", "invalid_value"),
    "unknown kind of choice": ({"tool_choice": {"type": "x"}}, "tool_choice.type", "invalid_value"),
    "allowed tool without name": (
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function"}]},
            }
        },
        "tool_choice.allowed_tools.tools[0].function", "missing_required_parameter",
    ),
    "tool without type": (
        {"tools": [{"function": {"name": "f"}}]}, "tools[0].type", "missing_required_parameter",
    ),
    "function without name": (
        {"tools": [FUNCTION, {"type": "function", "function": {}}]},
        "tools[1].function.name", "missing_required_parameter",
    ),
    "parameters of another type": (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": [1]}}]},
        "tools[0].function.parameters", "invalid_type",
    ),
    "custom tool without its member": (
        {"tools": [{"type": "custom", "name": "g"}]}, "tools[0].custom", "missing_required_parameter",
    ),
    "unknown shape": ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
    "shape without schema": (
        {"response_format": {"type": "json_schema"}},
        "response_format.json_schema", "missing_required_parameter",
    ),
    "unknown effort": ({"reasoning_effort": "huge"}, "reasoning_effort", "invalid_value"),
    "thinking of another kind": ({"thinking": {"type": "on"}}, "thinking.type", "invalid_value"),
    "stream of another type": ({"stream": "yes"}, "stream", "invalid_type"),
}  # fmt: skip


@pytest.mark.parametrize(("members", "param", "code"), BAD.values(), ids=BAD)
def test_a_bad_request_is_refused_by_the_name_of_its_field(members, param, code):
    said = {"model": "m", "messages": [USER], **members}
    said = {name: value for name, value in said.items() if value is not ...}
    body = json.dumps(said).encode()
    with pytest.raises(BadRequest) as caught:
        CLIENT.read_request(body, read_members(body))
    assert (caught.value.status, caught.value.type) == (400, "invalid_request_error")
    assert (caught.value.param, caught.value.code) == (param, code)
    assert param in caught.value.message or "Supported values" in caught.value.message


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"temperature": "hot"},
            "Invalid type for 'temperature': expected a decimal, but got a string instead.",
        ),
        (
            messages({"role": "user", "content": 4}),
            (
                "Invalid type for 'messages[0].content': expected one of a string or an "
                "array, but got an integer instead."
            ),
        ),
        (messages({"role": "user"}), "Missing required parameter: 'messages[0].content'."),
        (
            messages({"role": "robot"}),
            (
                "Invalid value: 'robot'. Supported values are: 'system', 'developer', "
                "'user', 'assistant', 'tool', 'function'."
            ),
        ),
    ],
)  # fmt: skip
def test_the_words_are_openais(members, message):
    with pytest.raises(BadRequest) as caught:
        read(**members)
    assert caught.value.message == message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model":"\\ud800"}', b"\xff"])
def test_what_is_no_json_object_is_a_bad_request(body):
    """The exchange has read the members before; a test drives this way in alone."""
    with pytest.raises(BadRequest) as caught:
        CLIENT.read_request(body, {})
    assert caught.value.status == 400


def test_a_complaint_of_msgspec_that_has_no_words_here_still_names_the_field():
    error = invalid("Integer out of range - at `$.n`")
    assert error.message == "Invalid value for 'n': Integer out of range"
    assert (error.param, error.code) == ("n", "invalid_value")


def test_a_breakpoint_behind_parts_that_carry_none_changes_nothing():
    cached = assistant(refusal="no", cache_control={"type": "ephemeral"})
    assert parts_of(cached) == [(canonical.Refusal("no"),)]


def test_a_large_picture_is_looked_at_where_it_begins_and_ends():
    """Its middle is the provider's to judge: all of it would hold the worker's loop."""
    fine = "data:image/png;base64," + "QUJD" * 10_000
    (parts,) = parts_of(content({"type": "image_url", "image_url": {"url": fine}}))
    assert parts == (canonical.Image(canonical.Inline("image/png", "QUJD" * 10_000)),)
    for broken in (fine + "Q", fine.replace("64,Q", "64,?"), fine[:-1] + "\n"):
        with pytest.raises(BadRequest):
            read(
                messages=[content({"type": "image_url", "image_url": {"url": broken}})]
            )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON, st.sampled_from(["messages", "tools", "tool_choice", "stop", "thinking"]))
def test_nothing_but_a_bad_request_comes_of_nonsense(value, name):
    body = json.dumps({"model": "m", "messages": [USER], name: value}).encode()
    with contextlib.suppress(BadRequest):
        assert CLIENT.read_request(body, read_members(body)).messages


# ---------------------------------------------------------------- the SDK as the judge
# Every key of the SDK's own parameter types, at any depth, has to leave a trace: in a
# canonical word, in the extras, or in a refusal that names it.


TEXTS = {
    "arguments": '{"k":1}',
    "url": "https://x.test/a",
}


REQUIRED: object = typing.Required

LEAST_MORE = {"file": {"file_id": "abcd"}, "assistant": {"content": "abcd"}}
"""What the types leave optional though one of a few has to be there."""


def sample(hint, key=""):
    """Return the least value of a type."""
    hint = bare(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if is_typeddict(hint):
        hints = get_type_hints(hint, include_extras=True)
        least = {
            name: sample(inner, name)
            for name, inner in hints.items()
            if typing.get_origin(inner) is REQUIRED
        }
        return {**least, **LEAST_MORE.get(least.get("role", key), {})}
    if origin is typing.Union:
        return sample(args[0], key)
    if origin is typing.Literal:
        return args[0]
    if hint is str:
        return TEXTS.get(key, "abcd")
    if hint in (bool, int, float):
        return hint(1)
    if origin is dict:
        if key == "tools":  # of allowed_tools: any object, says the type
            return {"type": "function", "function": {"name": "abcd"}}
        return {"abcd": 1 if args[1] is int else "abcd"}
    return [sample(args[0], key)]


def bare(hint):
    while typing.get_origin(hint) in (REQUIRED, typing.Annotated):
        hint = typing.get_args(hint)[0]
    return hint


def pairs(hint, key=""):
    """Yield (path, value, the same value with one thing more or other)."""
    hint = bare(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if is_typeddict(hint):
        yield from pairs_of_members(hint, key)
    elif origin is typing.Union:
        arms = [arm for arm in args if arm is not type(None)]
        for arm in arms:
            yield from pairs(arm, key)
        for first, second in itertools.pairwise(arms):
            if str not in (first, second):  # a string and a list of it say the same
                yield f"|{second}", sample(first, key), sample(second, key)
    elif origin is typing.Literal:
        for value in args[1:]:
            yield f"={value}", args[0], value
    elif origin in (list, collections.abc.Iterable):
        for path, before, after in pairs(args[0], key):
            yield f"[]{path}", [before], [after]


def pairs_of_members(hint, key):
    least = sample(hint, key)
    for name, inner in get_type_hints(hint, include_extras=True).items():
        if name not in least:
            yield f".{name}", least, {**least, name: sample(inner, name)}
        for path, before, after in pairs(inner, name):
            yield f".{name}{path}", {**least, name: before}, {**least, name: after}


def outcome(body):
    """Return what is read, or the param that is refused."""
    said = json.loads(json.dumps(body))
    for message in said["messages"]:
        if message["role"] == "function":  # it answers a call
            said["messages"] = [
                assistant(function_call={"name": message["name"], "arguments": "{}"}),
                *said["messages"],
            ]
            break
    encoded = json.dumps(said).encode()
    try:
        return CLIENT.read_request(encoded, read_members(encoded))
    except Unsupported as error:
        return error.param


ALL_PAIRS = [
    *pairs(sdk.CompletionCreateParamsNonStreaming),
    *(
        pair
        for pair in pairs(sdk.CompletionCreateParamsStreaming)
        if pair[0].startswith(".stream")
    ),
]


def lost():
    return {
        path: after
        for path, before, after in ALL_PAIRS
        if path != ".stream" and outcome(before) == outcome(after)
    }


def test_every_key_that_the_sdk_knows_leaves_a_trace():
    assert len(ALL_PAIRS) > 100
    assert {path.split("|")[0].split("=")[0] for path in lost()} == {
        # To be implicit is what it is without being told.
        ".prompt_cache_options.mode",
        # A tool is chosen by its name, whichever kind it is of.
        ".tool_choice",
    }
