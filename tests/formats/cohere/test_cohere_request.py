"""What Cohere is asked: each field, refused or reported where it has no word for it."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.base import Unsupported
from extproc.formats.cohere import PROVIDER
from tests.oracles.cohere_requests import judge

Json = dict[str, Any]
MODEL = "command-a-03-2025"
THINKER = "command-a-reasoning-08-2025"
SEER = "command-a-vision-07-2025"
F = canonical.Tool("f", parameters=msgspec.Raw(b'{"type":"object"}'))
G = canonical.Tool("g")
PLAIN_TEXT = base64.b64encode("Grüße".encode()).decode()


def user(*parts: canonical.Part) -> canonical.Message:
    return canonical.Message("user", parts, where="messages[0]")


def text(words: str = "Hi", **more: Any) -> canonical.Text:
    return canonical.Text(words, **more)


def written(
    model: str = MODEL,
    messages: tuple[canonical.Message, ...] = (),
    **more: Any,
) -> tuple[Json, tuple[str, ...]]:
    """Return the body, judged, without its model and plain message."""
    messages = messages or (user(text()),)
    request = canonical.Request(model="x", messages=messages, **more)
    rendered = PROVIDER.write_request(request, model, 4096)
    body = judge(rendered.body)
    assert body.pop("model") == model
    if body["messages"] == [{"role": "user", "content": "Hi"}]:
        del body["messages"]
    return body, rendered.dropped


SAID: list[tuple[str, Json, Json, tuple[str, ...]]] = [
    ("limit", {"max_output_tokens": 5}, {"max_tokens": 5}, ()),
    ("temperature", {"temperature": 0.5}, {"temperature": 0.5}, ()),
    ("top_p", {"top_p": 0.5}, {"p": 0.5}, ()),
    ("top_p of all", {"top_p": 1.0}, {"p": 0.99}, ("top_p",)),
    ("top_k", {"top_k": 40}, {"k": 40}, ()),
    ("seed", {"seed": 7}, {"seed": 7}, ()),
    ("stop", {"stop": ("a", "b")}, {"stop_sequences": ["a", "b"]}, ()),
    ("penalty", {"presence_penalty": 1}, {"presence_penalty": 1}, ()),
    ("stream", {"stream": True}, {"stream": True}, ()),
    ("user", {"end_user": "u"}, {}, ("end_user",)),
    ("tier", {"service_tier": "flex"}, {}, ("service_tier",)),
    ("no tier", {"service_tier": "auto"}, {}, ()),
    ("bias", {"logit_bias": msgspec.Raw(b'{"1":2}')}, {}, ("logit_bias",)),
    ("one", {"n": 1}, {}, ()),
    (
        "its own words",
        {"extras": {"safety_mode": msgspec.Raw(b'"STRICT"')}},
        {"safety_mode": "STRICT"},
        (),
    ),
    ("labels", {"extras": {"store": msgspec.Raw(b"true")}}, {}, ("store",)),
    ("words only", {"extras": {"modalities": msgspec.Raw(b'["text"]')}}, {}, ()),
    (
        "JSON mode",
        {"output_format": canonical.OutputFormat("json_object")},
        {"response_format": {"type": "json_object"}},
        (),
    ),
    (
        "a schema",
        {
            "output_format": canonical.OutputFormat(
                "json_schema", schema=msgspec.Raw(b'{"type":"object"}')
            )
        },
        {"response_format": {"type": "json_object", "json_schema": {"type": "object"}}},
        (),
    ),
    ("thoughts of one that has none", {"thinking": canonical.Thinking("low")}, {},
     ("thinking",)),
    ("no thoughts of it", {"thinking": canonical.Thinking("none")}, {}, ()),
]  # fmt: skip


@pytest.mark.parametrize("case", SAID, ids=lambda case: case[0])
def test_a_field_is_said_or_reported(case):
    _, more, expected, dropped = case
    assert written(**more) == (expected, dropped)


THOUGHT = [
    (canonical.Thinking(enabled=False), {"type": "disabled"}),
    (canonical.Thinking(effort="none"), {"type": "disabled"}),
    (canonical.Thinking(enabled=True), {"type": "enabled"}),
    (canonical.Thinking(budget_tokens=99), {"type": "enabled", "token_budget": 99}),
    (canonical.Thinking("low"), {"type": "enabled", "token_budget": 1024}),
    (canonical.Thinking("max"), {"type": "enabled"}),
]


@pytest.mark.parametrize(("asked", "told"), THOUGHT)
def test_how_much_to_think_is_a_budget(asked, told):
    assert written(THINKER, thinking=asked) == ({"thinking": told}, ())


REFUSED: list[tuple[Json, str]] = [
    ({"n": 2}, "n"),
    ({"logprobs": True}, "logprobs"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"top_p": 0.001}, "top_p"),
    ({"top_k": 501}, "top_k"),
    ({"presence_penalty": -1}, "presence_penalty"),
    ({"stop": ("a", "b", "c", "d", "e", "f")}, "stop"),
    ({"extras": {"audio": msgspec.Raw(b"{}")}}, "audio"),
    ({"tools": (F,), "parallel_tool_calls": False}, "parallel_tool_calls"),
    ({"tools": (canonical.CustomTool("c"),)}, "tools[0]"),
    ({"tools": (F, canonical.BuiltinTool("web", msgspec.Raw(b"{}")))}, "tools[1]"),
]


@pytest.mark.parametrize(("more", "field"), REFUSED)
def test_what_would_change_the_answer_is_refused_by_its_name(more, field):
    with pytest.raises(Unsupported) as refused:
        written(**more)
    assert refused.value.param == field


CHOICES = [
    (None, ["f", "g"], None),
    (canonical.ToolChoice("auto"), ["f", "g"], None),
    (canonical.ToolChoice("required"), ["f", "g"], "REQUIRED"),
    (canonical.ToolChoice("none"), ["f", "g"], "NONE"),
    (canonical.ToolChoice("named", ("g",)), ["g"], "REQUIRED"),
    (canonical.ToolChoice("auto", ("f",)), ["f"], None),
]


@pytest.mark.parametrize(("choice", "shown", "told"), CHOICES)
def test_a_choice_of_tools_is_told_by_what_is_shown(choice, shown, told):
    body, dropped = written(tools=(F, G), tool_choice=choice)
    assert [tool["function"]["name"] for tool in body["tools"]] == shown
    assert body.get("tool_choice") == told
    assert dropped == ()


def test_strict_is_for_all_tools_or_none():
    strict = canonical.Tool("s", strict=True)
    body, dropped = written(tools=(strict, F))
    assert body["strict_tools"] is True
    assert dropped == ("tools[1].strict",)


def test_a_schema_beside_tools_is_asked_for_by_way_of_a_call():
    request = canonical.Request(
        model="x",
        messages=(user(text()),),
        tools=(F,),
        output_format=canonical.OutputFormat("json_object"),
    )
    rendered = PROVIDER.write_request(request, MODEL, 4096)
    body = judge(rendered.body)
    assert "response_format" not in body
    assert body["tool_choice"] == "REQUIRED"
    assert rendered.answer_tool in {tool["function"]["name"] for tool in body["tools"]}


def said(*messages: canonical.Message, model: str = MODEL) -> tuple[list[Json], Any]:
    body, dropped = written(model, messages)
    return body.get("messages", [{"role": "user", "content": "Hi"}]), dropped


def test_a_conversation_keeps_its_turns_and_calls():
    call = canonical.ToolCall("c1", "f", '{"a":1}')
    result = canonical.ToolResult("c1", (text("18"),), is_error=True)
    messages, dropped = said(
        canonical.Message("developer", (text("Be brief."),), where="m[0]"),
        user(text("a"), text("b")),
        canonical.Message(
            "assistant",
            (canonical.Reasoning("hm"), text("I look."), call),
            where="m[2]",
            name="ann",
        ),
        canonical.Message("user", (result, text("So?")), where="m[3]"),
    )
    assert messages == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        },
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"a":1}'},
                }
            ],
            "tool_plan": "I look.",
            "content": [{"type": "thinking", "thinking": "hm"}],
        },
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": [{"type": "text", "text": "18"}],
        },
        {"role": "user", "content": "So?"},
    ]
    assert dropped == ("m[2].name", "m[3].content[0].is_error")


def test_sealed_thoughts_are_another_providers():
    sealed = canonical.Reasoning("w", signature="s")
    messages, dropped = said(
        canonical.Message("assistant", (sealed, text("a")), where="m[0]"), user(text())
    )
    assert messages[0] == {"role": "assistant", "content": "a"}
    assert dropped == ("m[0].reasoning",)


def test_the_proof_of_a_call_is_another_providers():
    call = canonical.ToolCall("c1", "f", "{}", signature="s")
    result = canonical.ToolResult("c1", (text("18"),))
    _, dropped = said(
        user(text("a")),
        canonical.Message("assistant", (call,), where="m[1]"),
        canonical.Message("user", (result, text("So?")), where="m[2]"),
    )
    assert dropped == ("m[1].tool_calls[0].signature",)


def test_pictures_are_for_models_that_see():
    picture = canonical.Image(canonical.Inline("image/png", "QQ=="), detail="low")
    messages, _ = said(user(text(), picture), model=SEER)
    image = {"url": "data:image/png;base64,QQ==", "detail": "low"}
    assert messages[0]["content"][1] == {"type": "image_url", "image_url": image}
    with pytest.raises(Unsupported) as refused:
        said(user(text(), picture))
    assert refused.value.param == "messages[0].content[1]"


def test_a_file_of_text_is_read_and_any_other_refused():
    plain = canonical.Document(canonical.Inline("text/plain", PLAIN_TEXT))
    messages, _ = said(user(text(), plain))
    assert messages[0]["content"][1] == {"type": "text", "text": "Grüße"}
    result = canonical.ToolResult("c", (plain,))
    call = canonical.ToolCall("c", "f", "{}")
    messages, _ = said(
        user(text()),
        canonical.Message("assistant", (call,)),
        canonical.Message("tool", (result,)),
    )
    assert messages[2]["content"] == [
        {"type": "document", "document": {"data": {"text": "Grüße"}}}
    ]
    for source in (
        canonical.Inline("application/pdf", "QQ=="),
        canonical.Remote("https://a.example/b"),
        canonical.FileReference("f1"),
    ):
        with pytest.raises(Unsupported):
            said(user(canonical.Document(source)))
    with pytest.raises(BadRequest):
        said(user(canonical.Document(canonical.Inline("text/plain", "*"))))


WRONG = [
    user(canonical.Audio(canonical.Inline("audio/wav", "QQ=="))),
    canonical.Message("system", (canonical.Image(canonical.Remote("https://a.b/c")),)),
    canonical.Message("tool", (text(),)),
    canonical.Message("assistant", (canonical.ToolCall("c", "f", "x", custom=True),)),
    canonical.Message("assistant", (canonical.Audio(canonical.Inline("", "")),)),
    user(canonical.Image(canonical.FileReference("f"))),
    canonical.Message(
        "tool",
        (
            canonical.ToolResult(
                "c", (canonical.Image(canonical.Remote("https://a.b")),)
            ),
        ),
    ),
]


@pytest.mark.parametrize("message", WRONG)
def test_a_part_without_a_word_is_refused(message):
    with pytest.raises(Unsupported):
        said(message, user(text()), model=SEER)


def test_cache_breakpoints_are_reported():
    cached = canonical.CacheControl()
    _, dropped = said(user(text("a", cache=cached)))
    assert dropped == ("messages[0].content[0].cache_control",)
    tool = canonical.Tool("f", cache=cached)
    _, dropped = written(tools=(tool,))
    assert dropped == ("tools[0].cache_control",)


def test_nothing_is_escaped_away():
    body, _ = written(messages=(user(text('"\\\u2028\x00é')),))
    assert json.loads(json.dumps(body))["messages"][0]["content"] == '"\\\u2028\x00é'
