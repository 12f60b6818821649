"""Requests of Responses clients read, and requests of all clients written for OpenAI."""

from __future__ import annotations

import base64
import json
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from openai.types.responses.response_create_params import (
    ResponseCreateParamsBase,
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)
from openai.types.responses.response_input_item_param import ResponseInputItemParam
from openai.types.responses.tool_param import ToolParam
from pydantic import ConfigDict, TypeAdapter, ValidationError

from extproc import canonical as c
from extproc.errors import BadRequest
from extproc.formats import anthropic, openai_chat, proofs
from extproc.formats.base import Unsupported
from extproc.formats.openai_responses import CLIENT, PROVIDER, wire
from extproc.formats.openai_responses.envelope import Envelope, seal, unseal
from extproc.formats.openai_responses.request_reader import ENCRYPTED_REASONING
from extproc.formats.openai_responses.request_writer import BUILTINS, EXTRAS
from extproc.framing.members import read_members

PNG = "iVBORw0KGgoAAAANSUhEUg=="
URI = f"data:image/png;base64,{PNG}"
CREATE: TypeAdapter[Any] = TypeAdapter(
    ResponseCreateParamsNonStreaming | ResponseCreateParamsStreaming,
    config=ConfigDict(arbitrary_types_allowed=True),
)


def read(input_: Any = "hi", **members: Any) -> c.Request:
    body = json.dumps({"model": "m", "input": input_, **members}).encode()
    return CLIENT.read_request(body, read_members(body))


def messages(*items: Any) -> list[tuple[str, tuple[Any, ...], str]]:
    return [(m.role, m.parts, m.where) for m in read(list(items)).messages]


def parts(*content: Any, role: str = "user") -> tuple[Any, ...]:
    ((_, said, _),) = messages({"role": role, "content": list(content)})
    return said


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


# ---------------------------------------------------------------- input, read


def test_a_string_is_the_users():
    (message,) = read("hi").messages
    assert (message.role, message.parts, message.where) == (
        "user", (c.Text("hi"),), "input",
    )  # fmt: skip


def test_instructions_come_first():
    first, _ = read("hi", instructions="Be brief.").messages
    assert (first.role, first.where) == ("system", "instructions")
    assert len(read("hi", instructions=None).messages) == 1


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant"])
@pytest.mark.parametrize("more", [{}, {"type": "message"}])
def test_everyone_may_speak_anywhere(role, more):
    said = messages(
        {"role": "user", "content": "a"}, {"role": role, "content": "b", **more}
    )
    assert said[-1] == (role, (c.Text("b"),), "input[1]")


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ({"type": "input_text", "text": "a"}, c.Text("a")),
        (
            {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}},
            c.Text("a", c.CacheControl("30m")),
        ),
        ({"type": "output_text", "text": "a", "annotations": []}, c.Text("a")),
        ({"type": "text", "text": "a"}, c.Text("a")),
        ({"type": "refusal", "refusal": "no"}, c.Refusal("no")),
        ({"type": "input_image", "image_url": URI}, c.Image(c.Inline("image/png", PNG))),
        (
            {"type": "input_image", "detail": "low", "image_url": "https://x.test/a.png"},
            c.Image(c.Remote("https://x.test/a.png"), "low"),
        ),
        ({"type": "input_image", "file_id": "file-1"}, c.Image(c.FileReference("file-1"))),
        (
            {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PNG}"},
            c.Document(c.Inline("application/pdf", PNG), "a.pdf"),
        ),
        ({"type": "input_file", "file_data": PNG}, c.Document(c.Inline("", PNG))),
        ({"type": "input_file", "file_id": "file-1"}, c.Document(c.FileReference("file-1"))),
        (
            {"type": "input_file", "file_url": "https://x.test/a.pdf"},
            c.Document(c.Remote("https://x.test/a.pdf")),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}},
            c.Audio(c.Inline("audio/mpeg", PNG)),
        ),
    ],
)  # fmt: skip
def test_a_content_part_is_read(said, part):
    assert parts(said) == (part,)


def test_the_assistants_items_in_a_row_are_one_turn():
    assert messages(
        {"role": "user", "content": "weather?"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
         "phase": "commentary", "content": [{"type": "output_text", "text": "Let me see", "annotations": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {"type": "custom_tool_call_output", "call_id": "c2",
         "output": [{"type": "input_text", "text": "y"}, {"type": "input_image", "image_url": URI}]},
        {"role": "user", "content": "thanks"},
    ) == [
        ("user", (c.Text("weather?"),), "input[0]"),
        (
            "assistant",
            (
                c.Reasoning("Hm"), c.Text("Let me see"), c.ToolCall("c1", "f", "{}"),
                c.ToolCall("c2", "g", "x", custom=True),
            ),
            "input[1]",
        ),
        ("tool", (c.ToolResult("c1", (c.Text("sunny"),)),), "input[5]"),
        ("tool", (c.ToolResult("c2", (c.Text("y"), c.Image(c.Inline("image/png", PNG)))),), "input[6]"),
        ("user", (c.Text("thanks"),), "input[7]"),
    ]  # fmt: skip


@pytest.mark.parametrize("arguments", ["", " "])
def test_a_call_without_arguments_has_an_object(arguments):
    call = {
        "type": "function_call",
        "call_id": "c",
        "name": "f",
        "arguments": arguments,
    }
    assert messages(call)[0][1] == (c.ToolCall("c", "f", "{}"),)


# ---------------------------------------------------------------- reasoning, read


def thought(encrypted: str | None = None, **members: Any) -> tuple[Any, ...]:
    said = {"type": "reasoning", "id": "rs_1", "summary": [], **members}
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    return messages(call, {**said, "encrypted_content": encrypted})[0][1][0:]


CALL = c.ToolCall("c1", "f", "{}")


def test_openais_own_reasoning_is_marked_as_such():
    shown = [
        {"type": "summary_text", "text": "a"},
        {"type": "summary_text", "text": "b"},
    ]
    assert thought("gAAA", summary=shown) == (
        CALL,
        c.Reasoning("a\n\nb"),
        c.Reasoning(encrypted=proofs.mark_openai("rs_1", "gAAA"), id="rs_1"),
    )


@pytest.mark.parametrize(
    "part",
    [
        c.Reasoning("Hm", "sig"),
        c.Reasoning("", "sig"),
        c.Reasoning(encrypted="opaque"),
        c.Reasoning("Ü\n", "sig/+="),
    ],
)
def test_another_providers_proof_comes_back_as_it_was(part):
    """Whatever the client has done to the summary: the signature is of the exact text."""
    sealed = seal(Envelope(part.text, part.signature, part.encrypted))
    shown = [{"type": "summary_text", "text": "something else"}]
    assert thought(sealed, summary=shown) == (CALL, part)


def test_a_calls_proof_goes_back_to_the_call():
    sealed = seal(Envelope(signature="sig", call_id="c1"))
    assert thought(sealed) == (c.ToolCall("c1", "f", "{}", signature="sig"),)
    other = seal(Envelope(signature="sig", call_id="c9"))
    assert thought(other) == (CALL,)


@pytest.mark.parametrize(
    "broken", ["extproc.1.!", "extproc.1.AAAA", "extproc.2.e30", "extproc."]
)
def test_a_broken_envelope_proves_nothing(broken):
    assert thought(broken, content=[{"type": "reasoning_text", "text": "a"}]) == (
        CALL, c.Reasoning("a"),
    )  # fmt: skip
    assert thought(broken) == (CALL,)


@given(
    st.builds(
        Envelope,
        st.text(),
        st.none() | st.text(),
        st.none() | st.text(),
        st.none() | st.text(),
    )
)
def test_an_envelope_keeps_what_is_put_in(envelope):
    assert unseal(seal(envelope)) == envelope
    assert set(seal(envelope)) <= set(map(chr, range(33, 127)))


@given(st.text())
def test_no_text_breaks_the_reading_of_an_envelope(text):
    unseal(text)
    unseal(f"extproc.1.{text}")
    unseal(f"extproc.1.{base64.urlsafe_b64encode(text.encode()).decode()}")


# ---------------------------------------------------------------- every field


def test_every_field_of_the_sdk_is_read_kept_or_refused():
    """None may be lost: walk the SDK's own list of them."""
    samples: dict[str, Any] = {
        "access_programs": {"cyber": "standard"}, "background": True,
        "background_options": {"completion_window": "2h"},
        "context_management": [{"type": "compaction"}], "conversation": "conv_1",
        "image": {"context_compression": "auto"},
        "include": ["file_search_call.results"], "input": "x", "instructions": "x",
        "max_output_tokens": 7, "max_tool_calls": 7, "metadata": {"a": "b"},
        "model": "x", "moderation": {"model": "m"}, "parallel_tool_calls": False,
        "previous_response_id": "resp_1", "prompt": {"id": "p"},
        "prompt_cache_key": "k", "prompt_cache_options": {"mode": "implicit"},
        "prompt_cache_retention": "24h", "reasoning": {"effort": "low"},
        "safety_identifier": "s", "service_tier": "flex", "store": True,
        "stream_options": {"include_obfuscation": True}, "stream": True,
        "temperature": 0.5, "text": {"verbosity": "low"}, "tool_choice": "required",
        "tools": [{"type": "custom", "name": "g"}], "top_logprobs": 3, "top_p": 0.5,
        "truncation": "auto", "user": "u",
    }  # fmt: skip
    fields = {*typing.get_type_hints(ResponseCreateParamsBase), "stream"}
    assert set(samples) == fields
    plain = read()
    for name, value in samples.items():
        if name in {"input", "model"}:
            continue
        if name != "store":  # refused: see below
            assert read(**{name: value}) != plain, name


@pytest.mark.parametrize(
    ("members", "field", "value"),
    [
        ({"max_output_tokens": 7}, "max_output_tokens", 7),
        ({"reasoning": {"effort": "low"}}, "thinking", c.Thinking("low")),
        ({"reasoning": {"effort": "high", "summary": "auto"}}, "thinking", c.Thinking("high", display="auto")),
        ({"reasoning": {"generate_summary": "concise"}}, "thinking", c.Thinking(display="concise")),
        ({"reasoning": {"effort": None}}, "thinking", None),
        ({"text": {"format": {"type": "text"}}}, "output_format", c.OutputFormat("text")),
        ({"text": {"format": {"type": "json_object"}}}, "output_format", c.OutputFormat("json_object")),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True, "description": "d"}}},
            "output_format",
            c.OutputFormat("json_schema", "n", "d", raw({}), strict=True),
        ),
        ({"tool_choice": "none"}, "tool_choice", c.ToolChoice("none")),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice", c.ToolChoice("named", ("f",))),
        ({"tool_choice": {"type": "custom", "name": "g"}}, "tool_choice", c.ToolChoice("named", ("g",))),
        (
            {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}},
            "tool_choice",
            c.ToolChoice("auto", ("f",)),
        ),
        ({"include": ["message.output_text.logprobs"]}, "logprobs", True),
        ({"top_logprobs": 3}, "top_logprobs", 3),
        ({"top_logprobs": 3}, "logprobs", True),
        ({"top_logprobs": 0}, "logprobs", None),
        ({"include": [ENCRYPTED_REASONING]}, "extras", {}),
        ({"store": False, "background": False, "truncation": "disabled"}, "extras", {}),
        ({"stream": True, "stream_options": {"include_obfuscation": False}}, "extras", {}),
        ({"metadata": None, "previous_response_id": None}, "extras", {}),
        ({"reasoning": {"context": "auto", "mode": "standard"}}, "extras", {}),
        ({"user": "u"}, "end_user", "u"),
    ],
)  # fmt: skip
def test_a_field_has_its_canonical_word(members, field, value):
    if (got := getattr(read(**members), field)) is not None and field == "logprobs":
        got = bool(got)
    assert got == value


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"reasoning": {"context": "all_turns"}}, "reasoning.context"),
        ({"tool_choice": {"type": "web_search_preview"}}, "tool_choice"),
        ({"tool_choice": {"type": "mcp", "server_label": "s"}}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "server_label": "s"}]}}, "tool_choice"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["web_search_call.results"]}, "include"),
        ({"max_tool_calls": 3}, "max_tool_calls"),
        ({"brand_new": 1}, "brand_new"),
        ({"tools": [{"type": "function", "name": "f", "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tools": [{"type": "function", "name": "f", "output_schema": {}}]}, "tools[0].output_schema"),
        ({"tools": [{"type": "function", "name": "f", "async": True}]}, "tools[0].async"),
        ({"tools": [{"type": "custom", "name": "f", "allowed_callers": ["programmatic"]}]}, "tools[0].allowed_callers"),
        ({"store": True}, "store"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("provider", [openai_chat.PROVIDER, anthropic.PROVIDER])
def test_what_only_openai_can_do_is_refused_by_name(members, name, provider):
    with pytest.raises(Unsupported) as caught:
        provider.write_request(read(**members), "claude-sonnet-4-5", 100)
    assert caught.value.param == name
    assert name in str(caught.value)


def item_kinds() -> dict[str, Any]:
    """Return every type of item that the SDK knows, as little of it as there may be."""
    kinds = {}
    for item in typing.get_args(ResponseInputItemParam):
        hints = typing.get_type_hints(item)
        for name in typing.get_args(hints["type"]):
            if isinstance(name, str):
                kinds[name] = {"type": name, "id": "x", "call_id": "c"}
            else:
                kinds |= {
                    n: {"type": n, "id": "x"}
                    for n in typing.get_args(name)
                    if isinstance(n, str)
                }
    return kinds


SAID = {
    "message", "reasoning", "function_call", "custom_tool_call", "function_call_output",
    "custom_tool_call_output", "web_search_call",
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(set(item_kinds()) - SAID - {"item_reference"}))
def test_an_item_that_only_openai_can_read_is_refused_by_its_place(kind):
    request = read([{"role": "user", "content": "a"}, item_kinds()[kind]])
    assert list(request.extras) == ["input[1]"]
    for provider in (openai_chat.PROVIDER, anthropic.PROVIDER, PROVIDER):
        with pytest.raises(Unsupported) as caught:
            provider.write_request(request, "claude-sonnet-4-5", 100)
        assert caught.value.param == "input[1]"


def test_all_items_of_the_sdk_are_known():
    assert set(item_kinds()) >= SAID
    assert len(item_kinds()) > 25


def test_whose_request_it_is_need_not_reach_another_provider():
    body = msgspec.json.encode(
        {
            "model": "m",
            "input": "a",
            "client_metadata": {"x-codex-installation-id": "a"},
        }
    )
    request = CLIENT.read_request(body, read_members(body))
    assert (request.left_out, request.extras) == (("client_metadata",), {})


@pytest.mark.parametrize("kind", [{}, {"type": "item_reference"}])
def test_a_reference_to_a_stored_item_is_refused_with_what_helps(kind):
    with pytest.raises(Unsupported, match="store: false") as caught:
        read([{"role": "user", "content": "a"}, {"id": "rs_1", **kind}])
    assert caught.value.param == "input[1]"


def test_a_namespaced_call_is_refused_by_its_place():
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    assert list(read([{**call, "namespace": "n"}]).extras) == ["input[0]"]


def test_tools_are_read():
    flat = {"type": "grammar", "syntax": "lark", "definition": "x"}
    assert read(
        tools=[
            {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True, "description": "d"},
            {"type": "function", "name": "g", "parameters": None, "strict": None},
            {"type": "custom", "name": "h", "format": flat},
            {"type": "custom", "name": "i", "format": {"type": "text"}},
            {"type": "web_search"},
        ]
    ).tools == (
        c.Tool("f", "d", msgspec.Raw(b'{"type": "object"}'), strict=True),
        c.Tool("g"),
        c.CustomTool("h", None, raw({"type": "grammar", "grammar": {"definition": "x", "syntax": "lark"}})),
        c.CustomTool("i", None, msgspec.Raw(b'{"type": "text"}')),
        c.WebSearch("tools[4]"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("members", "param", "code"),
    [
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": []}, "input", "missing_required_parameter"),
        ({"input": 7}, "input", "invalid_type"),
        ({"input": [7]}, "input[0]", "invalid_type"),
        ({"input": [{}]}, "input[0].type", "missing_required_parameter"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", "invalid_value"),
        ({"input": [{"role": "user"}]}, "input[0].content", "missing_required_parameter"),
        ({"input": [{"role": "user", "content": [{"type": "x"}]}]}, "input[0].content[0].type", "invalid_value"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url", "missing_required_parameter"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].file_data", "missing_required_parameter"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_url": URI}]}]}, "input[0].content[0].file_url", "invalid_value"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,x"}]}]}, "input[0].content[0].image_url", "invalid_image_url"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "["}]}, "input[0].arguments", "invalid_value"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id", "missing_required_parameter"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "refusal"}]}]}, "input[0].output[0].type", "invalid_value"),
        ({"tools": [{}]}, "tools[0].type", "missing_required_parameter"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "missing_required_parameter"),
        ({"tools": [{"type": "function", "name": "f", "parameters": []}]}, "tools[0].parameters", "invalid_type"),
        ({"tools": [{"type": "custom", "name": "f", "format": {"type": "x"}}]}, "tools[0].format.type", "invalid_value"),
        ({"tool_choice": "any"}, "tool_choice", "invalid_value"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name", "missing_required_parameter"),
        ({"tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.mode", "missing_required_parameter"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto"}}, "tool_choice.tools", "missing_required_parameter"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", "invalid_value"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema", "missing_required_parameter"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_in_openais_words(members, param, code):
    with pytest.raises(BadRequest) as caught:
        read(**{"input_": members.pop("input", "hi"), **members})
    assert (caught.value.param, caught.value.code) == (param, code)


def test_a_body_that_is_no_json_is_refused():
    with pytest.raises(BadRequest, match="could not parse"):
        CLIENT.read_request(b"{", {})


# ---------------------------------------------------------------- writing


def strict(body: bytes) -> dict[str, Any]:
    """Return a written body, valid to the SDK's types and with no member beside them."""
    said: dict[str, Any] = json.loads(body)
    CREATE.validate_python(said)
    allowed = set(typing.get_type_hints(ResponseCreateParamsBase)) | {"stream"}
    assert set(said) <= allowed
    return said


def write(
    *messages: c.Message, model: str = "gpt-5", **asks: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    said = messages or (c.Message("user", (c.Text("hi"),)),)
    rendered = PROVIDER.write_request(
        c.Request(model="asked", messages=said, **asks), model, 100
    )
    return strict(rendered.body), rendered.dropped


def test_the_sdks_types_do_refuse_what_is_wrong():
    with pytest.raises(ValidationError):
        strict(
            b'{"model":"m","input":[{"type":"message","role":"assistant","content":7}]}'
        )


def test_a_conversation_is_written_as_items():
    proof = proofs.mark_openai("rs_1", "gAAA")
    body, dropped = write(
        c.Message("system", (c.Text("s"),)),
        c.Message("user", (c.Text("a"), c.Image(c.Inline("", PNG), "low")), where="messages[1]"),
        c.Message(
            "assistant",
            (
                c.Reasoning("Hm"), c.Reasoning(encrypted=proof), c.Text("b"), c.Refusal("c"),
                CALL, c.ToolCall("c2", "g", "x", custom=True), c.Text("d"),
            ),
        ),
        c.Message("tool", (c.ToolResult("c1", (c.Text("r"),)), c.ToolResult("c2", ()))),
        c.Message("tool", (c.ToolResult("c1", (c.Text("r"), c.Document(c.Inline("", "JVBERi0="), "a.pdf"))),)),
    )  # fmt: skip
    assert dropped == ()
    assert body["input"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [
            {"type": "input_text", "text": "a"},
            {"type": "input_image", "image_url": URI, "detail": "low"},
        ]},
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA",
         "summary": [{"type": "summary_text", "text": "Hm"}]},
        {"type": "message", "id": "msg_3", "role": "assistant", "status": "completed", "content": [
            {"type": "output_text", "text": "b", "annotations": []},
            {"type": "refusal", "refusal": "c"},
        ]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"},
        {"type": "message", "id": "msg_6", "role": "assistant", "status": "completed", "content": [
            {"type": "output_text", "text": "d", "annotations": []},
        ]},
        {"type": "function_call_output", "call_id": "c1", "output": "r"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": ""},
        {"type": "function_call_output", "call_id": "c1", "output": [
            {"type": "input_text", "text": "r"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
        ]},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (c.Image(c.Remote("https://x.test/a")), {"type": "input_image", "detail": "auto", "image_url": "https://x.test/a"}),
        (c.Image(c.FileReference("f")), {"type": "input_image", "detail": "auto", "file_id": "f"}),
        (c.Document(c.Remote("https://x.test/a")), {"type": "input_file", "file_url": "https://x.test/a"}),
        (c.Document(c.FileReference("f")), {"type": "input_file", "file_id": "f"}),
        (c.Document(c.Inline("text/plain", "YQ==")), {"type": "input_file", "filename": "document", "file_data": "data:text/plain;base64,YQ=="}),
    ],
)  # fmt: skip
def test_a_part_is_written(part, written):
    body, _ = write(c.Message("user", (part,)))
    assert body["input"][0]["content"] == [written]


@pytest.mark.parametrize(
    ("asks", "members"),
    [
        ({"max_output_tokens": 9}, {"max_output_tokens": 9}),
        ({"temperature": 0.5, "top_p": 0.1}, {"temperature": 0.5, "top_p": 0.1}),
        ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
        ({"stream": True}, {"stream": True}),
        ({"end_user": "u"}, {"user": "u"}),
        ({"service_tier": "standard_only"}, {"service_tier": "default"}),
        ({"n": 1}, {}),
        ({"thinking": c.Thinking("low")}, {"reasoning": {"effort": "low"}}),
        ({"thinking": c.Thinking("low", display="concise")}, {"reasoning": {"effort": "low", "summary": "concise"}}),
        ({"thinking": c.Thinking(enabled=True, adaptive=True)}, {"reasoning": {"summary": "auto"}}),
        ({"thinking": c.Thinking(enabled=True, display="omitted")}, {}),
        ({"tool_choice": c.ToolChoice("required")}, {"tool_choice": "required"}),
        ({"tool_choice": c.ToolChoice("named", ("f",))}, {"tool_choice": {"type": "function", "name": "f"}}),
        (
            {"tools": (c.CustomTool("g"),), "tool_choice": c.ToolChoice("auto", ("f", "g"))},
            {
                "tools": [{"type": "custom", "name": "g"}],
                "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]},
            },
        ),
        ({"tools": (c.Tool("f"),)}, {"tools": [{"type": "function", "name": "f", "parameters": None, "strict": False}]}),
        (
            {"tools": (c.CustomTool("g", "d", raw({"type": "grammar", "grammar": {"syntax": "regex", "definition": "x"}})),)},
            {"tools": [{"type": "custom", "name": "g", "description": "d", "format": {"type": "grammar", "syntax": "regex", "definition": "x"}}]},
        ),
        ({"tools": (c.BuiltinTool("shell", raw({"type": "shell"})),)}, {"tools": [{"type": "shell"}]}),
        ({"output_format": c.OutputFormat("text")}, {"text": {"format": {"type": "text"}}}),
        (
            {"output_format": c.OutputFormat("json_schema", schema=raw({}), strict=True), "extras": {"verbosity": raw("low")}},
            {"text": {"format": {"type": "json_schema", "name": "answer", "schema": {}, "strict": True}, "verbosity": "low"}},
        ),
        ({"stream": True, "extras": {"stream_options": raw({})}}, {"stream": True, "stream_options": {"include_obfuscation": True}}),
        ({"extras": {"store": raw(True), "modalities": raw(["text"])}}, {"store": True}),
        ({"extras": {"reasoning.mode": raw("pro")}}, {"reasoning": {"mode": "pro"}}),
    ],
)  # fmt: skip
def test_a_wish_is_written(asks, members):
    body, dropped = write(**asks)
    del body["input"], body["include"], body["model"]
    assert body == {"store": False, **members}
    assert dropped == ()


@pytest.mark.parametrize(
    ("tokens", "effort"),
    [(1024, "low"), (4096, "low"), (10_000, "medium"), (50_000, "high")],
)
def test_a_thinking_budget_becomes_an_effort_and_is_reported(tokens, effort):
    body, dropped = write(thinking=c.Thinking(budget_tokens=tokens, enabled=True))
    assert body["reasoning"] == {"effort": effort, "summary": "auto"}
    assert dropped == ("thinking.budget_tokens",)


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("gpt-5", True), ("gpt-5.4-mini", True), ("o3", True), ("o4-mini-2025", True),
        ("gpt-6-sol", True), ("gpt-5-chat-latest", False), ("gpt-5.2-chat-latest", False),
        ("gpt-4o", False), ("gpt-4.1", False), ("my-deployment", False),
    ],
)  # fmt: skip
def test_proofs_are_asked_of_models_that_reason(model, asked):
    body, _ = write(model=model)
    assert ("include" in body) == asked
    body, dropped = write(model=model, thinking=c.Thinking("low"))
    reasons = asked or model == "my-deployment"
    assert body.get("include") == ([ENCRYPTED_REASONING] if reasons else None)
    assert dropped == (() if reasons else ("thinking",))
    proven = c.Reasoning(encrypted=proofs.mark_openai("rs_1", "g"))
    body, _ = write(c.Message("assistant", (proven,)), model=model)
    assert body["include"] == [ENCRYPTED_REASONING]


def test_log_probabilities_are_included():
    body, _ = write(model="gpt-4o", logprobs=True, top_logprobs=2)
    assert (body["include"], body["top_logprobs"]) == (
        ["message.output_text.logprobs"],
        2,
    )


def test_what_is_left_out_is_reported():
    cache = c.CacheControl()
    body, dropped = write(
        c.Message("user", (c.Text("a", cache),), name="n", where="messages[0]"),
        c.Message(
            "assistant",
            (
                c.Reasoning("bare"), c.Text("b"), c.Reasoning("x", "sig"), c.Reasoning(encrypted="else"),
                c.ToolCall("c", "f", "{}", signature="s"),
            ),
            where="messages[1]",
        ),
        c.Message("tool", (c.ToolResult("c", (), is_error=True),), where="messages[2]"),
        seed=1, presence_penalty=0.5, frequency_penalty=0.0, logit_bias=raw({"1": 2}), top_k=3,
        tools=(c.Tool("f", cache=cache),),
    )  # fmt: skip
    assert dropped == (
        "tools[0].cache_control", "messages[0].content[0].cache_control",
        "messages[0].name", "messages[1].reasoning", "messages[1].reasoning", "messages[1].reasoning",
        "messages[1].tool_calls[0].signature", "messages[2].is_error",
        "seed", "presence_penalty", "logit_bias", "top_k",
    )  # fmt: skip
    assert [item.get("type") for item in body["input"]] == [
        None, "message", "function_call", "function_call_output",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asks", "param"),
    [
        ({"n": 2}, "n"),
        ({"stop": ("x",)}, "stop"),
        ({"service_tier": "gold"}, "service_tier"),
        ({"thinking": c.Thinking(display="loud")}, "thinking.display"),
        ({"output_format": c.OutputFormat("json_schema")}, "output_format"),
        ({"extras": {"prediction": raw({})}}, "prediction"),
        ({"extras": {"stream_options": raw({})}}, "stream_options"),
        ({"extras": {"modalities": raw(["text", "audio"])}}, "modalities"),
        ({"tools": (c.BuiltinTool("web_search_20250305", raw({})),)}, "tools[0]"),
        ({"messages": (c.Message("user", (c.Audio(c.Inline("audio/wav", "YQ==")),), where="w"),)}, "w.content[0]"),
        ({"messages": (c.Message("user", (c.Refusal("x"),), where="w"),)}, "w.content[0]"),
        ({"messages": (c.Message("assistant", (c.Image(c.Remote("u")),), where="w"),)}, "w.content[0]"),
        ({"messages": (c.Message("system", (c.Image(c.Remote("u")),), where="w"),)}, "w"),
        ({"messages": (c.Message("tool", (c.Text("x"),), where="w"),)}, "w"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_by_name(asks, param):
    with pytest.raises(Unsupported) as caught:
        write(*asks.pop("messages", ()), **asks)
    assert caught.value.param == param


def test_the_tables_are_the_sdks():
    kinds = {
        name
        for tool in typing.get_args(ToolParam)
        for name in typing.get_args(typing.get_type_hints(tool)["type"])
    }
    assert kinds - {"function", "custom"} == BUILTINS
    fields = set(typing.get_type_hints(ResponseCreateParamsBase))
    assert fields >= EXTRAS
    assert set(wire.Request.__struct_fields__) <= fields | {"stream"}


# ---------------------------------------------------------------- there and back

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
USER = st.lists(
    st.one_of(
        st.builds(c.Text, TEXT),
        st.just(c.Image(c.Inline("image/png", PNG), "low")),
        st.just(c.Image(c.Remote("https://x.test/a.png"), "auto")),
        st.just(c.Document(c.Inline("application/pdf", PNG), "a.pdf")),
        st.just(c.Document(c.FileReference("file-1"))),
    ),
    min_size=1,
    max_size=3,
).map(lambda parts: c.Message("user", tuple(parts)))
ASSISTANT = st.lists(
    st.one_of(
        st.builds(c.Text, TEXT),
        st.builds(c.Refusal, TEXT),
        st.builds(
            lambda s: c.Reasoning(encrypted=proofs.mark_openai("rs_1", s), id="rs_1"),
            TEXT,
        ),
        st.just(CALL),
        st.builds(lambda s: c.ToolCall("c2", "g", s, custom=True), TEXT),
    ),
    min_size=1,
    max_size=4,
).map(lambda parts: c.Message("assistant", tuple(parts)))
OTHERS = st.one_of(
    st.builds(lambda s: c.Message("system", (c.Text(s),)), TEXT),
    st.builds(lambda s: c.Message("developer", (c.Text(s),)), TEXT),
    st.builds(lambda s: c.Message("tool", (c.ToolResult("c1", (c.Text(s),)),)), TEXT),
)


@given(
    st.tuples(USER | OTHERS, ASSISTANT, USER | OTHERS),
    st.fixed_dictionaries(
        {},
        optional={
            "tools": st.just((c.Tool("f", "d", raw({"type": "object", "properties": {}, "additionalProperties": False}), strict=True),)),
            "tool_choice": st.sampled_from(
                [c.ToolChoice("auto"), c.ToolChoice("named", ("f",)), c.ToolChoice("required", ("f",))]
            ),
            "parallel_tool_calls": st.booleans(),
            "max_output_tokens": st.integers(16, 99),
            "temperature": st.just(0.5),
            "top_p": st.just(0.5),
            "output_format": st.just(c.OutputFormat("json_schema", "n", "d", raw({}), strict=True)),
            "thinking": st.sampled_from([c.Thinking("low"), c.Thinking("high", display="auto")]),
            "end_user": TEXT,
            "service_tier": st.sampled_from(["auto", "flex"]),
            "stream": st.booleans(),
        },
    ),
)  # fmt: skip
def test_what_is_written_is_read_again(said, asks):
    request = c.Request(model="gpt-5", messages=said, **asks)
    rendered = PROVIDER.write_request(request, "gpt-5", 100)
    assert rendered.dropped == ()
    strict(rendered.body)
    back = CLIENT.read_request(rendered.body, read_members(rendered.body))
    plain = [msgspec.structs.replace(m, where="") for m in back.messages]
    assert [(m.role, m.parts) for m in plain] == [(m.role, m.parts) for m in said]
    for name in c.Request.__struct_fields__:
        if name not in {"messages", "names", "include_usage", "extras", "echo"}:
            assert getattr(back, name) == getattr(request, name), name
    assert back.extras == {}


CODEX: dict[str, Any] = {
    "model": "gpt-5-codex",
    "instructions": "You are a coding agent.",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "b"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}], "content": None, "encrypted_content": "gAAA"},
        {"type": "function_call", "name": "shell", "arguments": '{"command":["ls"]}', "call_id": "call_1"},
        {"type": "function_call_output", "call_id": "call_1", "output": "a.py"},
    ],
    "tools": [{"type": "function", "name": "shell", "description": "d", "strict": False, "parameters": {"type": "object", "properties": {}}}],
    "tool_choice": "auto", "parallel_tool_calls": False,
    "reasoning": {"effort": "medium", "summary": "auto"}, "store": False, "stream": True,
    "include": ["reasoning.encrypted_content"], "prompt_cache_key": "k",
    "text": {"verbosity": "medium"},
}  # fmt: skip


def test_what_codex_sends_reaches_every_provider():
    """Its reasoning items have no id, and all that it wants of OpenAI is only tuning."""
    body = json.dumps(CODEX).encode()
    request = CLIENT.read_request(body, read_members(body))
    assert not set(request.extras) - {"prompt_cache_key", "verbosity"}
    for provider in (openai_chat.PROVIDER, anthropic.PROVIDER):
        said = json.loads(
            provider.write_request(request, "claude-sonnet-4-5", 100).body
        )
        assert b"gAAA" not in json.dumps(said).encode()
        assert len(said["tools"]) == 1
    said = json.loads(PROVIDER.write_request(request, "gpt-5-codex", 100).body)
    (thought,) = (item for item in said["input"] if item.get("type") == "reasoning")
    assert thought == {k: v for k, v in CODEX["input"][2].items() if k != "content"}
