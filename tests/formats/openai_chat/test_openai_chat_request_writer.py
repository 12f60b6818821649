"""Requests of clients of another format, as OpenAI wants them."""

from __future__ import annotations

import json
import typing

import msgspec
import pydantic
import pytest
from hypothesis import given, strategies as st
from openai.types.chat import completion_create_params as sdk

from extproc import canonical
from extproc.canonical import Inline, Message, Text
from extproc.formats.base import Unsupported
from extproc.formats.openai_chat import CLIENT, PROVIDER
from extproc.formats.openai_chat.request_writer import EXTRAS
from extproc.framing.members import patch, read_members

HINTS = typing.get_type_hints(sdk.CompletionCreateParamsStreaming)
JUDGES = {name: pydantic.TypeAdapter(hint) for name, hint in HINTS.items()}


def judge(body):
    """Check every member with the SDK's own type; it reads lists only when iterated."""
    for name, value in body.items():
        exhaust(JUDGES[name].validate_python(value))


def exhaust(value):
    if isinstance(value, dict):
        for inner in value.values():
            exhaust(inner)
    elif not isinstance(value, str) and hasattr(value, "__iter__"):
        for inner in value:
            exhaust(inner)


def rendered(*messages, **members):
    request = canonical.Request(model="m", messages=messages, **members)
    return PROVIDER.write_request(request, "gpt", 99)


def written(*messages, **members):
    body = json.loads(rendered(*messages, **members).body)
    judge(body)
    return body


def user(*parts, **members):
    return Message("user", parts, where="messages[0]", **members)


def assistant(*parts):
    return Message("assistant", parts, where="messages[0]")


CALL = canonical.ToolCall("c", "f", "{}")
RESULT = canonical.ToolResult("c", (Text("42"),))

MESSAGES = {
    "one text is a string": (user(Text("a")), [{"role": "user", "content": "a"}]),
    "no parts": (user(), [{"role": "user", "content": ""}]),
    "name": (user(Text("a"), name="ann"), [{"role": "user", "content": "a", "name": "ann"}]),
    "parts in order": (
        user(
            canonical.Image(Inline("image/png", "AAAA"), "low"),
            Text("a"),
            canonical.Image(canonical.Remote("https://x.test")),
            canonical.Audio(Inline("audio/mpeg", "AAAA")),
            canonical.Document(Inline("application/pdf", "AAAA"), "a.pdf"),
            canonical.Document(Inline("application/pdf", "BBBB")),
            canonical.Document(canonical.FileReference("file-1")),
        ),
        [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                    {"type": "text", "text": "a"},
                    {"type": "image_url", "image_url": {"url": "https://x.test"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
                    {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
                    {"type": "file", "file": {"file_data": "data:application/pdf;base64,BBBB", "filename": "document"}},
                    {"type": "file", "file": {"file_id": "file-1"}},
                ],
            }
        ],
    ),
    "results before words": (
        user(RESULT, canonical.ToolResult("d", ()), Text("a")),
        [
            {"role": "tool", "tool_call_id": "c", "content": "42"},
            {"role": "tool", "tool_call_id": "d", "content": ""},
            {"role": "user", "content": "a"},
        ],
    ),
    "results alone": (user(RESULT), [{"role": "tool", "tool_call_id": "c", "content": "42"}]),
    "assistant": (
        assistant(Text("a"), Text("b"), CALL, canonical.ToolCall("d", "g", "x", custom=True)),
        [
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "d", "type": "custom", "custom": {"name": "g", "input": "x"}},
                ],
            }
        ],
    ),
    "assistant says nothing that counts": (
        assistant(canonical.Reasoning("hm", "s")), [{"role": "assistant", "content": ""}],
    ),
    "refusal": (
        assistant(canonical.Refusal("no")),
        [{"role": "assistant", "content": None, "refusal": "no"}],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("message", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_is_written(message, expected):
    assert written(message)["messages"] == expected


MEMBERS = {
    "limit": ({"max_output_tokens": 5}, {"max_completion_tokens": 5}),
    "no limit": ({}, {"max_completion_tokens": ...}),
    "stream": ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    "no stream": ({}, {"stream": ..., "stream_options": ...}),
    "stop": ({"stop": ("x", "y")}, {"stop": ["x", "y"]}),
    "end user": ({"end_user": "u"}, {"user": "u"}),
    "effort": ({"thinking": canonical.Thinking(effort="low")}, {"reasoning_effort": "low"}),
    "tier": ({"service_tier": "standard_only"}, {"service_tier": "default"}),
    "shape without a name": (
        {"output_format": canonical.OutputFormat("json_schema", schema=msgspec.Raw(b"{}"))},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {}}}},
    ),
    "allowed tools": (
        {
            "tools": (canonical.Tool("f"), canonical.CustomTool("g")),
            "tool_choice": canonical.ToolChoice("auto", ("f", "g")),
        },
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [
                        {"type": "function", "function": {"name": "f"}},
                        {"type": "custom", "custom": {"name": "g"}},
                    ],
                },
            }
        },
    ),
    "extras": (
        {"extras": {"metadata": msgspec.Raw(b'{"a":"b"}')}}, {"metadata": {"a": "b"}},
    ),
    "obfuscation": (
        {
            "stream": True,
            "extras": {"stream_options": msgspec.Raw(b'{"include_obfuscation":true}')},
        },
        {"stream_options": {"include_usage": True, "include_obfuscation": True}},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("said", "expected"), MEMBERS.values(), ids=MEMBERS)
def test_a_member_is_written(said, expected):
    body = written(user(Text("a")), **said)
    assert body["model"] == "gpt"
    assert {name: body.get(name, ...) for name in expected} == expected


CACHE = canonical.CacheControl("1h")

DROPPED = {
    "breakpoint": (user(Text("a"), Text("b", cache=CACHE)), {}, "messages[0].content[1].cache_control"),
    "breakpoint of a tool": (user(), {"tools": (canonical.Tool("f", cache=CACHE),)}, "tools[0].cache_control"),
    "breakpoint of a result": (
        user(canonical.ToolResult("c", (), cache=CACHE)), {}, "messages[0].content[0].cache_control",
    ),
    "failed result": (
        user(canonical.ToolResult("c", (), is_error=True)), {}, "messages[0].content[0].is_error",
    ),
    "reasoning": (assistant(canonical.Reasoning("hm"), Text("a")), {}, "messages[0].reasoning"),
    "signature": (
        assistant(canonical.ToolCall("c", "f", "{}", signature="s")), {}, "messages[0].tool_calls[0].signature",
    ),
    "budget": (user(), {"thinking": canonical.Thinking(budget_tokens=9, enabled=True)}, "thinking"),
    "top_k": (user(), {"top_k": 3}, "top_k"),
}  # fmt: skip


@pytest.mark.parametrize(("message", "members", "name"), DROPPED.values(), ids=DROPPED)
def test_what_is_left_out_is_reported(message, members, name):
    written(message, **members)
    assert rendered(message, **members).dropped == (name,)


REFUSED = {
    "a picture by its id": (user(canonical.Image(canonical.FileReference("f"))), {}, "messages[0].content[0]"),
    "a file by its URL": (user(canonical.Document(canonical.Remote("u"))), {}, "messages[0].content[0]"),
    "sound by its URL": (user(canonical.Audio(canonical.Remote("u"))), {}, "messages[0].content[0]"),
    "sound of another kind": (user(canonical.Audio(Inline("audio/ogg", "AAAA"))), {}, "messages[0].content[0]"),
    "a call of the user": (user(CALL), {}, "messages[0].tool_calls[0]"),
    "a picture of the assistant": (
        assistant(Text("a"), canonical.Image(Inline("image/png", "AAAA"))), {}, "messages[0].content[1]",
    ),
    "a picture in a result": (
        user(canonical.ToolResult("c", (canonical.Image(Inline("image/png", "AAAA")),))),
        {}, "messages[0].content[0]",
    ),
    "a picture in a system message": (
        Message("system", (canonical.Image(Inline("image/png", "AAAA")),), where="system"), {}, "system",
    ),
    "words in a tool message": (Message("tool", (Text("a"),), where="messages[1]"), {}, "messages[1]"),
    "another provider's tool": (
        user(), {"tools": (canonical.BuiltinTool("bash", msgspec.Raw(b"{}")),)}, "tools[0]",
    ),
    "tools by the client's name": (
        user(),
        {"tools": (canonical.BuiltinTool("x", msgspec.Raw(b"{}")),), "names": {"tools": "functions"}},
        "functions[0]",
    ),
    "tier": (user(), {"service_tier": "batch"}, "service_tier"),
    "another format's member": (user(), {"extras": {"mcp_servers": msgspec.Raw(b"[]")}}, "mcp_servers"),
}  # fmt: skip


@pytest.mark.parametrize(("message", "members", "param"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_said_is_refused_by_its_name(message, members, param):
    with pytest.raises(Unsupported) as caught:
        rendered(message, **members)
    assert (caught.value.param, caught.value.status) == (param, 400)


def test_the_extras_are_members_of_the_sdk():
    assert set(HINTS) >= EXTRAS


# ---------------------------------------------------------------- there and back

TEXT = st.text(max_size=6)
NAME = st.text("abc_", min_size=1, max_size=4)
BASE64 = st.sampled_from(["AAAA", "QUI=", "iVBORw0KGgo="])
RAW = st.sampled_from([msgspec.Raw(b'{"type":"object"}'), msgspec.Raw(b"{}")])
TEXTS = st.lists(st.builds(Text, TEXT), min_size=1, max_size=3)
IMAGES = st.builds(
    canonical.Image,
    st.builds(Inline, st.sampled_from(["image/png", "image/webp"]), BASE64)
    | st.just(canonical.Remote("https://x.test/a.png")),
    st.none() | st.sampled_from(["low", "high"]),
)
DOCUMENTS = st.builds(
    canonical.Document,
    st.builds(Inline, st.just("application/pdf"), BASE64),
    NAME,
) | st.builds(
    canonical.Document, st.builds(canonical.FileReference, NAME), st.none() | NAME
)
AUDIO = st.builds(
    canonical.Audio,
    st.builds(Inline, st.sampled_from(["audio/wav", "audio/mpeg"]), BASE64),
)
CLOSED = st.sampled_from(
    [
        msgspec.Raw(b'{"type":"object","additionalProperties":false}'),
        msgspec.Raw(
            b'{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],'
            b'"additionalProperties":false}'
        ),
    ]
)
"""Schemas that strict mode takes; of others it is left out, and that is reported."""
CALLS = st.builds(
    canonical.ToolCall, NAME, NAME, st.sampled_from(["{}", '{"a":"ü"}'])
) | st.builds(canonical.ToolCall, NAME, NAME, TEXT, custom=st.just(True))
RESULTS = st.builds(canonical.ToolResult, NAME, TEXTS.map(tuple))


@st.composite
def spoken(draw):
    role = draw(st.sampled_from(["system", "developer", "user", "assistant", "tool"]))
    parts: list[canonical.Part]
    if role == "tool":
        parts = [draw(RESULTS)]
    elif role == "assistant":
        words = st.lists(st.builds(Text, st.text(min_size=1, max_size=6)), max_size=2)
        refusals = st.lists(st.builds(canonical.Refusal, TEXT), max_size=1)
        parts = [
            *draw(words),
            *draw(refusals),
            *draw(st.lists(CALLS, max_size=2)),
        ] or [Text("")]
    elif role == "user":
        kinds = st.builds(Text, TEXT) | IMAGES | DOCUMENTS | AUDIO
        parts = draw(st.lists(kinds, min_size=1, max_size=3))
    else:
        parts = list(draw(TEXTS))
    name = draw(st.none() | NAME) if role != "tool" else None
    return Message(role, tuple(parts), name)


def maybe(strategy):
    return st.none() | strategy


REQUESTS = st.builds(
    canonical.Request,
    model=st.just("gpt"),
    messages=st.lists(spoken(), min_size=1, max_size=4).map(
        lambda said: tuple(
            msgspec.structs.replace(message, where=f"messages[{i}]")
            for i, message in enumerate(said)
        )
    ),
    tools=st.lists(
        st.builds(
            canonical.Tool, NAME, maybe(TEXT), maybe(RAW), maybe(st.just(value=False))
        )
        | st.builds(
            canonical.Tool, NAME, maybe(TEXT), maybe(CLOSED), st.just(value=True)
        )
        | st.builds(
            canonical.CustomTool,
            NAME,
            maybe(TEXT),
            maybe(st.just(msgspec.Raw(b'{"type":"text"}'))),
        ),
        max_size=3,
    ).map(tuple),
    tool_choice=st.sampled_from(
        [
            None,
            canonical.ToolChoice("auto"),
            canonical.ToolChoice("none"),
            canonical.ToolChoice("required", ("f",)),
            canonical.ToolChoice("named", ("f",)),
        ]
    ),
    parallel_tool_calls=maybe(st.booleans()),
    max_output_tokens=maybe(st.integers(1, 10**6)),
    temperature=maybe(st.floats(0, 2)),
    top_p=maybe(st.floats(0, 1)),
    stop=st.lists(NAME, max_size=2).map(tuple),
    seed=maybe(st.integers(-(2**31), 2**31)),
    n=maybe(st.integers(1, 3)),
    presence_penalty=maybe(st.floats(-2, 2)),
    frequency_penalty=maybe(st.floats(-2, 2)),
    logit_bias=maybe(st.just(msgspec.Raw(b'{"5":-100}'))),
    logprobs=maybe(st.booleans()),
    top_logprobs=maybe(st.integers(0, 20)),
    output_format=st.sampled_from(
        [
            None,
            canonical.OutputFormat("text"),
            canonical.OutputFormat("json_object"),
            canonical.OutputFormat("json_schema", "n", "d", msgspec.Raw(b"{}"), True),
        ]
    ),
    thinking=st.sampled_from([None, canonical.Thinking(effort="xhigh")]),
    end_user=maybe(NAME),
    service_tier=st.sampled_from([None, "auto", "flex"]),
    stream=st.booleans(),
    extras=st.dictionaries(st.sampled_from(["store"]), st.just(msgspec.Raw(b"true"))),
)


@given(REQUESTS)
def test_a_request_survives_writing_and_reading(request_):
    out = PROVIDER.write_request(request_, "gpt", 99)
    assert out.dropped == ()
    judge(json.loads(out.body))
    again = CLIENT.read_request(out.body, read_members(out.body))
    expected = msgspec.structs.replace(request_, include_usage=request_.stream)
    messages = tuple(
        msgspec.structs.replace(message, places=()) for message in again.messages
    )
    assert msgspec.structs.replace(again, names={}, messages=messages) == expected


# ---------------------------------------------------------------- passing requests


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a":1}', {}),
        (b'{"stream":false}', {}),
        (b'{"stream":true,"stream_options":{"include_usage":true}}', {}),
        (b'{"stream":true,"stream_options":"x"}', {}),
        (b'{"stream":true}', {"include_usage": True}),
        (b'{"stream":true,"stream_options":null}', {"include_usage": True}),
        (b'{"stream":true,"stream_options":{"include_usage":false}}', {"include_usage": True}),
        (
            b'{"stream":true,"stream_options":{"include_obfuscation":false,"new":1}}',
            {"include_obfuscation": False, "new": 1, "include_usage": True},
        ),
    ],
)  # fmt: skip
def test_usage_is_asked_for_and_other_options_stay(body, expected):
    members = read_members(body)
    changes = PROVIDER.usage_request(members)
    if not expected:
        assert changes == {}
        return
    patched = json.loads(patch(body, members, changes))
    assert patched == {**json.loads(body), "stream_options": expected}
