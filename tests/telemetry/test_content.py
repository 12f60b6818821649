"""What was said is told in the conventions' shapes, without a secret, and not too long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter

from extproc.exchange.content import Content, Spoken
from extproc.formats import (
    anthropic,
    openai_chat,
    openai_completions,
    openai_responses,
)
from extproc.redact import PERSONAL, Redactor
from extproc.telemetry import semconv
from extproc.telemetry.content import CLIENTS, FINISHES, Display
from extproc.telemetry.request_file import RequestFile
from extproc.telemetry.request_lines import Told
from extproc.telemetry.spans import Spans
from tests.telemetry.test_request_file import RECORD

KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"

# The schemas that the conventions give for the three attributes:
# https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-input-messages.json


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Text(Strict):
    type: Literal["text"]
    content: str


class Reasoning(Strict):
    type: Literal["reasoning"]
    content: str


class ToolCall(Strict):
    type: Literal["tool_call"]
    id: str | None = None
    name: str
    arguments: Any = None


class ToolCallResponse(Strict):
    type: Literal["tool_call_response"]
    id: str | None = None
    response: Any


class Uri(Strict):
    type: Literal["uri"]
    modality: str
    uri: str


class File(Strict):
    type: Literal["file"]
    modality: str
    file_id: str


class Generic(BaseModel):
    type: str


def kind_of(part: dict[str, Any]) -> str:
    known = {"text", "reasoning", "tool_call", "tool_call_response", "uri", "file"}
    return part["type"] if part["type"] in known else "generic"


Part = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[Reasoning, Tag("reasoning")]
    | Annotated[ToolCall, Tag("tool_call")]
    | Annotated[ToolCallResponse, Tag("tool_call_response")]
    | Annotated[Uri, Tag("uri")]
    | Annotated[File, Tag("file")]
    | Annotated[Generic, Tag("generic")],
    Discriminator(kind_of),
]


class Message(Strict):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    parts: list[Part]


class OutputMessage(Message):
    finish_reason: Literal["stop", "length", "content_filter", "tool_call", "error"]


class FunctionTool(Strict):
    type: Literal["function"]
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class GenericTool(Strict):
    """https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-tool-definitions.json"""

    type: str
    name: str
    description: str | None = None


class Judged(Strict):
    system: list[Part]
    asked: list[Message]
    answered: list[OutputMessage] = Field(max_length=10)
    tools: list[FunctionTool | GenericTool]


JUDGE = TypeAdapter(Judged)

REQUESTS: dict[str, dict[str, Any]] = {
    openai_chat.CLIENT.name: {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": [
                {"type": "text", "text": f"My key is {KEY}"},
                {"type": "image_url", "image_url": {"url": "https://a.test/b.png"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8h"}},
            ]},
            {"role": "assistant", "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}]},
            {"role": "tool", "tool_call_id": "t1", "content": "bob@example.com"},
        ],
    },
    anthropic.CLIENT.name: {
        "model": "m", "max_tokens": 9, "system": "Be short.",
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": f"My key is {KEY}"},
                {"type": "image", "source": {"type": "url", "url": "https://a.test/b.png"}},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8h"}},
            ]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "bob@example.com"}]},
        ],
    },
    openai_responses.CLIENT.name: {
        "model": "m", "instructions": "Be short.",
        "input": [
            {"role": "user", "content": [
                {"type": "input_text", "text": f"My key is {KEY}"},
                {"type": "input_image", "image_url": "https://a.test/b.png"},
                {"type": "input_image", "image_url": "data:image/png;base64,aGVsbG8h"},
            ]},
            {"type": "function_call", "call_id": "t1", "name": "look", "arguments": '{"a": 1}'},
            {"type": "function_call_output", "call_id": "t1", "output": "bob@example.com"},
        ],
    },
    openai_completions.CLIENT.name: {"model": "m", "prompt": f"My key is {KEY}"},
}  # fmt: skip

SPOKEN = (
    Spoken("reasoning", "Well"),
    Spoken("text", f"It is {KEY}"),
    Spoken("tool_call", '{"to": "bob@example.com"}', "t2", "mail"),
    Spoken("text", "Second", choice=1),
)


def content(form: str = openai_chat.CLIENT.name, body: Any = None) -> Content:
    raw = json.dumps(REQUESTS[form] if body is None else body).encode()
    return Content("gw-1", form, raw, len(raw), SPOKEN, ((0, "tool_calls"),))


def chat(*messages: str) -> Content:
    return content(
        body={
            "model": "m",
            "messages": [{"role": "user", "content": m} for m in messages],
        }
    )


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOLS: dict[str, list[dict[str, Any]]] = {
    openai_chat.CLIENT.name: [
        {"type": "function", "function": {"name": "look", "description": f"With {KEY}", "parameters": SCHEMA}},
        {"type": "custom", "custom": {"name": "write"}},
    ],
    anthropic.CLIENT.name: [
        {"name": "look", "description": f"With {KEY}", "input_schema": SCHEMA},
        {"type": "web_search_20250305", "name": "web_search"},
    ],
    openai_responses.CLIENT.name: [
        {"type": "function", "name": "look", "description": f"With {KEY}", "parameters": SCHEMA, "strict": False},
        {"type": "web_search"},
        {"type": "image_generation"},
    ],
}  # fmt: skip


def with_tools(form: str) -> Content:
    return content(form, {**REQUESTS[form], "tools": TOOLS[form]})


@pytest.mark.parametrize("form", TOOLS)
def test_what_tools_there_are_is_told(form: str) -> None:
    shown = Display(Redactor(), 10_000).show(with_tools(form))
    JUDGE.validate_python({k: v for k, v in shown._asdict().items() if k != "cut"})
    assert not shown.cut
    assert shown.tools[0] == {
        "type": "function",
        "name": "look",
        "description": "With [redacted:api_key]",
        "parameters": SCHEMA,
    }
    others = [tool["name"] for tool in shown.tools[1:]]
    assert others == [
        tool.get("name") or tool.get("custom", tool).get("name") or tool["type"]
        for tool in TOOLS[form][1:]
    ]


@pytest.mark.parametrize("form", TOOLS)
def test_of_too_many_tools_the_first_are_told(form: str) -> None:
    shown = Display(Redactor(), 10).show(with_tools(form))
    assert shown.cut
    [tool] = shown.tools
    assert (tool["name"], tool["description"]) == ("look", "With [")


def text_of(shown: Any) -> str:
    return json.dumps(shown, ensure_ascii=False)


@pytest.mark.parametrize("form", CLIENTS)
def test_it_has_the_shape_of_the_conventions(form: str) -> None:
    shown = Display(Redactor(), 10_000).show(content(form))
    JUDGE.validate_python({k: v for k, v in shown._asdict().items() if k != "cut"})
    assert not shown.cut
    assert KEY not in text_of(shown)
    assert "bob@example.com" not in text_of(shown)
    assert text_of(shown.asked).count("[redacted:api_key]") == 1
    assert [one["finish_reason"] for one in shown.answered] == ["tool_call", "error"]
    assert shown.answered[0]["parts"] == [
        {"type": "reasoning", "content": "Well"},
        {"type": "text", "content": "It is [redacted:api_key]"},
        {
            "type": "tool_call",
            "id": "t2",
            "name": "mail",
            "arguments": {"to": "[redacted:email]"},
        },
    ]


@pytest.mark.parametrize("form", list(REQUESTS)[:3])
def test_every_client_says_the_same(form: str) -> None:
    shown = Display(Redactor(), 10_000).show(content(form))
    apart = shown.system or [
        part for one in shown.asked if one["role"] == "system" for part in one["parts"]
    ]
    assert apart == [{"type": "text", "content": "Be short."}]
    assert bool(shown.system) == (form != openai_chat.CLIENT.name)
    parts = [part for one in shown.asked for part in one["parts"]]
    said = [part for part in parts if part not in apart]
    assert [part["type"] for part in said] == [
        "text", "uri", "omitted", "tool_call", "tool_call_response",
    ]  # fmt: skip
    assert said[2] == {
        "type": "omitted",
        "modality": "image",
        "mime_type": "image/png",
        "bytes": 6,
    }
    assert said[3]["arguments"] == {"a": 1}
    assert said[4]["response"] == [{"type": "text", "content": "[redacted:email]"}]


def test_no_id_is_a_way_out_for_a_secret() -> None:
    body = {
        "model": "m",
        "messages": [
            {"role": "user", "content": [
                {"type": "file", "file": {"file_id": KEY}},
            ]},
            {"role": "assistant", "tool_calls": [
                {"id": KEY, "type": "function", "function": {"name": "look", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": KEY, "content": "done"},
        ],
    }  # fmt: skip
    shown = Display(Redactor(), 10_000).show(content(body=body))
    assert text_of(shown.asked).count("[redacted:api_key]") == 3
    assert KEY not in text_of(shown)


def test_people_stay_where_an_operator_says_so_and_secrets_never_do() -> None:
    shown = text_of(Display(Redactor().without(PERSONAL), 10_000).show(content()))
    assert "bob@example.com" in shown
    assert KEY not in shown


def test_of_a_long_conversation_the_end_is_kept() -> None:
    shown = Display(Redactor(), 300).show(chat("a" * 250, "b" * 200, "c" * 90))
    assert shown.cut
    said = [one["parts"][0]["content"] for one in shown.asked]
    assert said == ["a" * 10, "b" * 200, "c" * 90]


def test_a_body_that_is_not_whole_is_told_by_its_head() -> None:
    half = Content("gw-1", openai_chat.CLIENT.name, b'{"messages":[{"role":', 9_999)
    shown = Display(Redactor(), 300).show(half)
    assert shown.cut
    assert shown.asked == [
        {
            "role": "user",
            "parts": [{"type": "text", "content": '{"messages":[{"role":'}],
        }
    ]
    assert shown.answered == []


@given(
    st.text(alphabet="ab \n", max_size=700),
    st.integers(256, 600),
)
def test_no_cut_leaves_half_of_a_secret(before: str, most: int) -> None:
    shown = Display(Redactor(), most).show(chat(f"{before} {KEY} and so on"))
    said = text_of(shown.asked)
    assert "sk-proj" not in said
    assert sum(len(one["parts"][0]["content"]) for one in shown.asked) <= most


def test_every_word_for_an_end_has_the_conventions_word() -> None:
    assert set(FINISHES) == {
        "stop", "stop_sequence", "length", "context_length", "tool_calls",
        "content_filter", "refusal", "pause",
    }  # fmt: skip


def test_the_attributes_are_the_packages() -> None:
    theirs = vars(gen_ai_attributes).values()
    for name in (
        semconv.SYSTEM_INSTRUCTIONS, semconv.INPUT_MESSAGES, semconv.OUTPUT_MESSAGES,
        semconv.TOOL_DEFINITIONS,
    ):  # fmt: skip
        assert name in theirs


@pytest.mark.parametrize("langfuse", [False, True])
def test_a_span_has_it_and_attempts_have_not(langfuse: bool) -> None:
    spans = Spans(
        Resource({}), Redactor(), langfuse=langfuse, display=Display(Redactor(), 1_000)
    )
    exchange, *attempts = spans.of(RECORD, 1.0, with_tools(anthropic.CLIENT.name))
    said = dict(exchange.attributes or {})
    names = (
        "gen_ai.system_instructions",
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.tool.definitions",
    )
    for name in names:
        assert json.loads(str(said[name]))
    assert ("langfuse.observation.input" in said) == langfuse
    assert "extproc.content.cut" not in said
    for attempt in attempts:
        assert not set(names) & set(attempt.attributes or {})
    without = Spans(Resource({}), Redactor()).of(RECORD, 1.0, content())
    assert not set(names) & set(without[0].attributes or {})


def test_a_line_of_the_file_has_it(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    file = RequestFile(
        path, Redactor(), max_bytes=1 << 20, keep=0, display=Display(Redactor(), 1_000)
    )
    kept = Told(RECORD, with_tools(openai_chat.CLIENT.name))
    assert file.write([kept, Told(RECORD)])
    first, second = map(json.loads, path.read_text().splitlines())
    assert first["input_messages"][0]["role"] == "system"
    assert first["output_messages"][0]["finish_reason"] == "tool_call"
    assert first["system_instructions"] == []
    assert [one["name"] for one in first["tool_definitions"]] == ["look", "write"]
    assert "input_messages" not in second
    assert KEY not in path.read_text()
