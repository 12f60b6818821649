"""What we send to Bedrock, judged by botocore's own model of it."""

from __future__ import annotations

import base64
import dataclasses
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from extproc import canonical as c
from extproc.errors import BadRequest
from extproc.formats.base import Unsupported
from extproc.formats.converse import PROVIDER
from extproc.formats.converse.content import (
    AUDIO_FORMATS,
    DOCUMENT_FORMATS,
    IMAGE_FORMATS,
    call_id,
)
from extproc.formats.converse.models import CLAUDE, FAMILIES, OPEN, family_of
from extproc.formats.converse.request import SERVICE_TIERS

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-pro-v1:0"
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
OSS = "openai.gpt-oss-120b-1:0"
GPT = "us.openai.gpt-5.2"
GLM = "zai.glm-5"
LLAMA = "us.meta.llama4-maverick-17b-instruct-v1:0"
QWEN = "qwen.qwen3-32b-v1:0"
HIDDEN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc1"
PNG = "iVBORw0KGgoAAAANSUhEUg=="
PDF = "JVBERi0xLjQK"
NAMES = {"thinking": "reasoning_effort", "end_user": "user"}


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def say(*messages: tuple[str, Any]) -> tuple[c.Message, ...]:
    """Build messages: a role, and a text, a part or parts."""
    built = []
    for i, (role, said) in enumerate(messages):
        if isinstance(said, str):
            parts: tuple[Any, ...] = (c.Text(said),)
        else:
            parts = said if isinstance(said, tuple) else (said,)
        built.append(c.Message(role, parts, where=f"messages[{i}]"))  # type: ignore[arg-type]
    return tuple(built)


HELLO = say(("user", "hello"))
TOOL = c.Tool("weather", "Tells it.", raw({"type": "object", "properties": {}}))
CLOCK = c.Tool("clock")
CALL = c.ToolCall("call_1", "weather", '{"city": "Rome"}')
RESULT = c.ToolResult("call_1", (c.Text("sunny"),))
LOOP = say(("user", "w?"), ("assistant", CALL), ("tool", RESULT))
REASONED = c.Reasoning("hm", "c2ln")
POINT = {"cachePoint": {"type": "default"}}
HOUR = {"cachePoint": {"type": "default", "ttl": "1h"}}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str) -> dict[str, Any]:
    return {"text": words}


def spec(name: str, **more: Any) -> dict[str, Any]:
    schema = {"json": {"type": "object", "properties": {}}}
    return {"toolSpec": {"name": name, "inputSchema": schema, **more}}


CLOSED = {
    "toolSpec": {
        "name": "a", "strict": True,
        "inputSchema": {
            "json": {"type": "object", "properties": {}, "additionalProperties": False}
        },
    }
}  # fmt: skip


def inline(form: str, encoded: str) -> dict[str, Any]:
    return {"format": form, "source": {"bytes": encoded}}


def document(form: str, name: str, encoded: str = PDF) -> dict[str, Any]:
    return {"document": {**inline(form, encoded), "name": name}}


def in_s3(form: str, uri: str) -> dict[str, Any]:
    return {"format": form, "source": {"s3Location": {"uri": uri}}}


USE = {"toolUse": {"toolUseId": "call_1", "name": "weather", "input": {"city": "Rome"}}}
GAVE = {"toolResult": {"toolUseId": "call_1", "content": [text("sunny")]}}
WEATHER = spec("weather", description="Tells it.")


@dataclasses.dataclass(frozen=True)
class Case:
    """A request, and what of the body it must lead to; None: the field is absent."""

    name: str
    asks: dict[str, Any]
    body: dict[str, Any]
    dropped: tuple[str, ...] = ()
    model: str = SONNET


CASES = [
    Case(
        "plain: the model's own limits stay its own",
        {"messages": say(("system", "Be kind."), ("user", "hello")), "stream": True},
        {
            "system": [text("Be kind.")], "messages": [user(text("hello"))],
            "inferenceConfig": None, "toolConfig": None, "stream": None, "model": None,
            "additionalModelRequestFields": None, "outputConfig": None,
            "additionalModelResponseFieldPaths": None,
        },
    ),
    Case(
        "the limit, sampling and stop sequences",
        {"max_output_tokens": 7, "temperature": 0.5, "top_p": 1.0, "stop": ("X", "é")},
        {
            "inferenceConfig": {
                "maxTokens": 7, "temperature": 0.5, "stopSequences": ["X", "é"],
            },
            "additionalModelResponseFieldPaths": ["/stop_sequence"],
        },
    ),
    Case(
        "of two samplings the one that says something",
        {"temperature": 1.0, "top_p": 0.5},
        {"inferenceConfig": {"topP": 0.5}},
    ),
    Case(
        "a proof on a call, which is another provider's",
        {
            "messages": say(
                ("user", "w?"),
                ("assistant", msgspec.structs.replace(CALL, signature="s")),
                ("tool", RESULT),
            ),
            "tools": (TOOL,),
        },
        {"messages": [user(text("w?")), assistant(USE), user(GAVE)]},
        dropped=("messages[1].tool_calls[0].signature",),
    ),
    Case(
        "a model that takes both samplings gets both",
        {"temperature": 0.5, "top_p": 0.9, "stop": ("\n",), "top_k": 20},
        {
            "inferenceConfig": {
                "temperature": 0.5, "topP": 0.9, "stopSequences": ["\n"],
            },
            "additionalModelResponseFieldPaths": None,
            "additionalModelRequestFields": {"inferenceConfig": {"topK": 20}},
        },
        model=NOVA,
    ),
    Case(
        "top_k in Claude's words",
        {"top_k": 5},
        {"additionalModelRequestFields": {"top_k": 5}},
    ),
    Case(
        "top_k where there is none",
        {"top_k": 5, "names": {"top_k": "top_k"}},
        {"additionalModelRequestFields": None},
        dropped=("top_k",),
        model=LLAMA,
    ),
    Case(
        "every leading system message, in order, breakpoints behind them",
        {
            "messages": say(
                ("developer", (c.Text("a"), c.Text("b", c.CacheControl("1h")))),
                ("system", c.Text("c", c.CacheControl())),
                ("user", "hello"),
            )
        },
        {"system": [text("a"), text("b"), HOUR, text("c"), POINT]},
    ),
    Case(
        "a later system message joins the first",
        {"messages": say(("user", "a"), ("system", "late"), ("user", "b"))},
        {"system": [text("late")], "messages": [user(text("a"), text("b"))]},
        dropped=("messages[1].role",),
    ),
    Case(
        "a later system message stays where the model has system turns",
        {"messages": say(("user", "a"), ("system", "late"), ("developer", "more"))},
        {
            "system": None,
            "messages": [
                user(text("a")),
                {"role": "system", "content": [text("late"), text("more")]},
            ],
        },
        model="anthropic.claude-opus-4-8-v1:0",
    ),
    Case(
        "all parts in their order",
        {
            "messages": say(
                (
                    "user",
                    (
                        c.Text("what is"),
                        c.Image(c.Inline("image/jpg", "/9j/AA=="), cache=c.CacheControl()),
                        c.Text("and"),
                        c.Image(c.Remote("s3://bucket/a/b.webp"), detail="high"),
                        c.Image(c.Inline("", PNG)),
                        c.Audio(c.Inline("audio/wav", "AAAA")),
                        c.Audio(c.Remote("s3://bucket/a.mp3")),
                    ),
                )
            )
        },
        {
            "messages": [
                user(
                    text("what is"),
                    {"image": inline("jpeg", "/9j/AA==")}, POINT,
                    text("and"),
                    {"image": in_s3("webp", "s3://bucket/a/b.webp")},
                    {"image": inline("png", PNG)},
                    {"audio": inline("wav", "AAAA")},
                    {"audio": in_s3("mp3", "s3://bucket/a.mp3")},
                )
            ]
        },
        dropped=("messages[0].content[3].detail",),
    ),
    Case(
        "documents have names that Bedrock takes, none of them twice",
        {
            "messages": say(
                (
                    "user",
                    (
                        c.Text("read"),
                        c.Document(c.Inline("application/pdf", PDF), "Q1 report.pdf"),
                        c.Document(c.Inline("", PDF)),
                        c.Document(c.Inline("", PDF)),
                        c.Document(c.Inline("", "IyDDqQ=="), "notes_é  v2.md"),
                        c.Document(c.Inline("text/x-log; charset=utf-8", "YQ=="), "a"),
                        c.Document(c.Inline("text/csv", "YQ=="), "a"),
                        c.Document(c.Remote("s3://bucket/x.docx"), "..."),
                        c.Image(c.Inline("application/pdf", PDF)),
                        c.Document(c.Inline("text/html", "YQ=="), "x" * 500 + ".html"),
                    ),
                )
            )
        },
        {
            "messages": [
                user(
                    text("read"),
                    document("pdf", "Q1 report"),
                    document("pdf", "document"),
                    document("pdf", "document (2)"),
                    document("md", "notes v2", "IyDDqQ=="),
                    document("txt", "a", "YQ=="),
                    document("csv", "a (2)", "YQ=="),
                    {
                        "document": {
                            **in_s3("docx", "s3://bucket/x.docx"),
                            "name": "document (3)",
                        }
                    },
                    document("pdf", "document (4)"),
                    document("html", "x" * 192, "YQ=="),
                )
            ]
        },
        dropped=(
            "messages[0].content[4].filename", "messages[0].content[6].filename",
            "messages[0].content[7].filename", "messages[0].content[9].filename",
        ),
    ),
    Case(
        "a tool loop: text and calls in order, results merged and first",
        {
            "messages": say(
                ("user", "weather?"),
                (
                    "assistant",
                    (
                        c.Text("let me"), CALL, c.ToolCall("call_2", "clock", ""),
                        c.Text("both"),
                    ),
                ),
                ("user", c.Text("wait", c.CacheControl())),
                ("tool", msgspec.structs.replace(RESULT, cache=c.CacheControl())),
                (
                    "tool",
                    c.ToolResult(
                        "call_2",
                        (
                            c.Text("broken", c.CacheControl()),
                            c.Image(c.Inline("", PNG)),
                            c.Document(c.Inline("", PDF)),
                        ),
                        is_error=True,
                    ),
                ),
            ),
            "tools": (TOOL, CLOCK),
        },
        {
            "messages": [
                user(text("weather?")),
                assistant(
                    text("let me"), USE,
                    {"toolUse": {"toolUseId": "call_2", "name": "clock", "input": {}}},
                    text("both"),
                ),
                user(
                    GAVE, POINT,
                    {
                        "toolResult": {
                            "toolUseId": "call_2", "status": "error",
                            "content": [
                                text("broken"), {"image": inline("png", PNG)},
                                document("pdf", "document"),
                            ],
                        }
                    },
                    text("wait"), POINT,
                ),
            ],
            "toolConfig": {"tools": [WEATHER, spec("clock")]},
        },
        dropped=("messages[4].content[0].cache_control",),
    ),
    Case(
        "a tool that gave nothing, or blanks",
        {
            "messages": say(
                ("user", "w?"), ("assistant", (CALL, c.ToolCall("b", "weather", "{}"))),
                ("tool", c.ToolResult("call_1", (c.Text(""),))),
                ("tool", c.ToolResult("b", (c.Text(" \n"),))),
            ),
            "tools": (TOOL,),
        },
        {
            "messages": [
                user(text("w?")),
                assistant(
                    USE, {"toolUse": {"toolUseId": "b", "name": "weather", "input": {}}}
                ),
                user(
                    {"toolResult": {"toolUseId": "call_1", "content": [{"json": {}}]}},
                    {"toolResult": {"toolUseId": "b", "content": [{"json": {}}]}},
                ),
            ]
        },
        dropped=("messages[3].content[0]",),
    ),
    Case(
        "signed and sealed thoughts go back, unsigned and foreign ones are left out",
        {
            "messages": say(
                ("user", "a"),
                (
                    "assistant",
                    (
                        REASONED, c.Reasoning(encrypted="c2VhbGVk"),
                        c.Reasoning("mere words"), c.Text("b"),
                    ),
                ),
                ("user", "c"),
                ("assistant", (c.Reasoning(encrypted="gAAA_-not-base64"), c.Text("d"))),
                ("user", "e"),
            )
        },
        {
            "messages": [
                user(text("a")),
                assistant(
                    {
                        "reasoningContent": {
                            "reasoningText": {"text": "hm", "signature": "c2ln"}
                        }
                    },
                    {"reasoningContent": {"redactedContent": "c2VhbGVk"}},
                    text("b"),
                ),
                user(text("c")), assistant(text("d")), user(text("e")),
            ]
        },
        dropped=("messages[1].reasoning", "messages[3].reasoning"),
    ),
    Case(
        "blanks are left out, names reported, a prefill trimmed, a refusal is said",
        {
            "messages": (
                c.Message("user", (c.Text(""), c.Text("\n"), c.Text("a")), "Ann", "m[0]"),
                c.Message("assistant", (c.Text(""),), where="m[1]"),
                c.Message("user", (c.Text("b", citations=(c.Citation("u"),)),), where="m[2]"),
                c.Message("assistant", (c.Refusal("no "),), where="m[3]"),
            )
        },
        {"messages": [user(text("a"), text("b")), assistant(text("no"))]},
        dropped=("m[0].name", "m[0].content[1]", "m[2].content[0].citations", "m[3].content"),
    ),
    Case(
        "tools: breakpoints, strictness, an empty description",
        {
            "tools": (
                c.Tool("a", "", raw({"properties": {}}), True, c.CacheControl()),
                c.Tool("b", parameters=raw({}), strict=False, cache=c.CacheControl("5m")),
            )
        },
        {
            "toolConfig": {
                "tools": [
                    CLOSED, POINT, spec("b"),
                    {"cachePoint": {"type": "default", "ttl": "5m"}},
                ]
            }
        },
    ),
    Case(
        "a model without strict tools, which caches no tools",
        {"tools": (c.Tool("a", strict=True, cache=c.CacheControl("1h")),)},
        {"toolConfig": {"tools": [spec("a")]}},
        dropped=("tools[0].cache_control", "tools[0].function.strict"),
        model=NOVA,
    ),
    Case(
        "a model without caches",
        {"messages": say(("user", c.Text("a", c.CacheControl())))},
        {"messages": [user(text("a"))]},
        dropped=("messages[0].content[0].cache_control",),
        model=LLAMA,
    ),
    *(
        Case(
            f"choice {choice.mode} {choice.names}",
            {"tools": (TOOL, CLOCK), "tool_choice": choice},
            {"toolConfig": config, "additionalModelRequestFields": None},
            model=model,
        )
        for model in (SONNET, NOVA)
        for choice, config in [
            (
                c.ToolChoice("auto"),
                {"tools": [WEATHER, spec("clock")], "toolChoice": {"auto": {}}},
            ),
            (
                c.ToolChoice("auto", ("clock",)),
                {"tools": [spec("clock")], "toolChoice": {"auto": {}}},
            ),
            (
                c.ToolChoice("required"),
                {"tools": [WEATHER, spec("clock")], "toolChoice": {"any": {}}},
            ),
            (
                c.ToolChoice("named", ("clock",)),
                {
                    "tools": [WEATHER, spec("clock")],
                    "toolChoice": {"tool": {"name": "clock"}},
                },
            ),
            (c.ToolChoice("none"), None),
        ]
    ),
    Case(
        "none, in a conversation with calls, in Claude's words",
        {"tools": (TOOL,), "tool_choice": c.ToolChoice("none"), "messages": LOOP},
        {
            "toolConfig": {"tools": [WEATHER]},
            "additionalModelRequestFields": {"tool_choice": {"type": "none"}},
        },
    ),
    Case(
        "none, in a conversation with calls, where there is no word for it",
        {"tools": (TOOL,), "tool_choice": c.ToolChoice("none"), "messages": LOOP},
        {"toolConfig": {"tools": [WEATHER]}, "additionalModelRequestFields": None},
        dropped=("tool_choice",),
        model=NOVA,
    ),
    Case(
        "the tools of a conversation whose client no longer gives them",
        {"messages": LOOP},
        {"toolConfig": {"tools": [spec("weather")]}},
        dropped=("tools",),
    ),
    *(
        Case(
            f"one call at most, {mode}",
            {
                "tools": (TOOL,), "parallel_tool_calls": False,
                "tool_choice": mode and c.ToolChoice(mode, names),  # type: ignore[arg-type]
            },
            {
                "toolConfig": {"tools": [WEATHER]},
                "additionalModelRequestFields": {
                    "tool_choice": {**said, "disable_parallel_tool_use": True}
                },
            },
        )
        for mode, names, said in [
            (None, (), {"type": "auto"}),
            ("auto", (), {"type": "auto"}),
            ("required", (), {"type": "any"}),
            ("named", ("weather",), {"type": "tool", "name": "weather"}),
        ]
    ),
    Case(
        "one call at most, of no tools",
        {"parallel_tool_calls": False},
        {"toolConfig": None, "additionalModelRequestFields": None},
        model=NOVA,
    ),
    Case(
        "a schema for the answer",
        {
            "output_format": c.OutputFormat(
                "json_schema", "n", "d", raw({"type": "string"}), True
            ),
            "thinking": c.Thinking(effort="low"),
        },
        {
            "outputConfig": {
                "effort": "low",
                "textFormat": {
                    "type": "json_schema",
                    "structure": {
                        "jsonSchema": {
                            "schema": '{"type":"string"}', "name": "n",
                            "description": "d",
                        }
                    },
                },
            },
            "additionalModelRequestFields": {"thinking": {"type": "adaptive"}},
        },
        model="global.anthropic.claude-opus-4-7",
    ),
    *(
        Case(
            f"service tier {asked}",
            {"service_tier": asked},
            {"serviceTier": tier and {"type": tier}},
            dropped=() if asked in SERVICE_TIERS else ("service_tier",),
        )
        for asked, tier in [*SERVICE_TIERS.items(), ("scale", None)]
    ),
    Case(
        "metadata that AWS's logs take, and what they do not",
        {
            "end_user": "u1", "names": NAMES,
            "extras": {
                "metadata": raw({"team": "a b", "é": "x", "y": "é", "n": 1, "t": ""})
            },
        },
        {"requestMetadata": {"team": "a b", "t": ""}},
        dropped=("user", "metadata"),
    ),
    Case(
        "no metadata",
        {"extras": {"metadata": raw(None)}},
        {"requestMetadata": None},
    ),
    Case(
        "more metadata than AWS takes",
        {"extras": {"metadata": raw({f"k{i}": "v" for i in range(20)})}},
        {"requestMetadata": {f"k{i}": "v" for i in range(16)}},
        dropped=("metadata",),
    ),
    Case(
        "Bedrock's own fields",
        {
            "extras": {
                "guardrailConfig": raw(
                    {"guardrailIdentifier": "abc", "guardrailVersion": "1"}
                ),
                "performanceConfig": raw({"latency": "optimized"}),
                "promptVariables": raw({"who": {"text": "me"}}),
            }
        },
        {
            "guardrailConfig": {"guardrailIdentifier": "abc", "guardrailVersion": "1"},
            "performanceConfig": {"latency": "optimized"},
            "promptVariables": {"who": {"text": "me"}},
        },
    ),
    Case(
        "tuning is left out and reported",
        {
            "seed": 1, "presence_penalty": 0.5, "frequency_penalty": 0.5,
            "logit_bias": raw({"1": 2}), "n": 1, "logprobs": False,
            "extras": {
                "store": raw(True), "verbosity": raw("low"), "prediction": raw(None),
                "modalities": raw(["text"]),
            },
        },
        {},
        dropped=(
            "seed", "presence_penalty", "frequency_penalty", "logit_bias", "store",
            "verbosity",
        ),
    ),
    Case(
        "nothing that says nothing is reported",
        {"presence_penalty": 0.0, "logit_bias": raw({}), "extras": {"audio": raw(None)}},
        {},
    ),
]  # fmt: skip


def thinks(**said: Any) -> c.Thinking:
    return c.Thinking(**said)


BUDGET = {"thinking": {"type": "enabled", "budget_tokens": 2048}}
ADAPTIVE = {"thinking": {"type": "adaptive"}}

THINKING: list[tuple[str, c.Thinking, Any, str | None, int | None]] = [
    # model, asked, additional fields, outputConfig.effort, maxTokens (of none given)
    (SONNET, thinks(), None, None, None),
    (SONNET, thinks(budget_tokens=2048, enabled=True), BUDGET, None, 4096),
    (SONNET, thinks(effort="medium"), BUDGET, None, 4096),
    (SONNET, thinks(effort="none"), None, None, None),
    (SONNET, thinks(enabled=False), None, None, None),
    ("anthropic.claude-opus-4-7", thinks(effort="max"), ADAPTIVE, "max", None),
    (
        "anthropic.claude-opus-4-7", thinks(adaptive=True, display="summarized"),
        {"thinking": {"type": "adaptive", "display": "summarized"}}, None, None,
    ),
    (HIDDEN, thinks(effort="low"), ADAPTIVE, "low", None),
    (
        NOVA_2, thinks(effort="minimal"),
        {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}},
        None, None,
    ),
    (
        NOVA_2, thinks(adaptive=True),
        {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}},
        None, None,
    ),
    (NOVA_2, thinks(enabled=False), {"reasoningConfig": {"type": "disabled"}}, None, None),
    (NOVA_2, thinks(), None, None, None),
    (OSS, thinks(effort="high"), {"reasoning_effort": "high"}, None, None),
    (GPT, thinks(effort="xhigh"), {"reasoning": {"effort": "xhigh"}}, None, None),
    (GPT, thinks(effort="none"), {"reasoning": {"effort": "none"}}, None, None),
    (GLM, thinks(effort="low"), {"reasoning_config": "low"}, None, None),
    (GLM, thinks(effort="none"), None, None, None),
    (LLAMA, thinks(effort="none"), None, None, None),
]  # fmt: skip


SAID: list[tuple[str, list[tuple[str, Any]], str, str]] = [
    # why, the conversation, the field that is named, the model
    ("nothing", [], "messages", SONNET),
    ("only a system message", [("system", "a")], "messages", SONNET),
    ("the assistant first", [("system", "a"), ("assistant", "b")], "messages[1]", SONNET),
    (
        "the assistant last, where the model does not go on",
        [("user", "a"), ("assistant", "b")], "messages[1]", "anthropic.claude-opus-4-7",
    ),
    *(
        (why, [("user", (c.Text("a"), part))], "messages[0].content[1]", SONNET)
        for why, part in [
            ("an image by URL", c.Image(c.Remote("https://x.test/a.png"))),
            ("a document by URL", c.Document(c.Remote("http://x.test/a.pdf"))),
            ("an s3 address of nothing", c.Image(c.Remote("s3://x"))),
            ("an s3 address that is too long",
             c.Image(c.Remote("s3://bucket/" + "a" * 1024 + ".png"))),
            ("an s3 object of no known kind", c.Image(c.Remote("s3://bucket/a"))),
            ("an s3 object of another kind", c.Document(c.Remote("s3://bucket/a.png"))),
            ("an uploaded image", c.Image(c.FileReference("file_1"))),
            ("an uploaded file", c.Document(c.FileReference("file_1"))),
            ("a strange image", c.Image(c.Inline("image/tiff", "AAAA"))),
            ("a strange file", c.Document(c.Inline("application/zip", "AAAA"))),
            ("a nameless file", c.Document(c.Inline("", "AAAA"))),
            ("strange sounds", c.Audio(c.Inline("audio/midi", "AAAA"))),
            ("an empty image", c.Image(c.Inline("image/png", ""))),
        ]
    ),
    (
        "a document without a word",
        [("user", "hi"), ("assistant", "yes?"),
         ("user", c.Document(c.Inline("", PDF)))],
        "messages[2]", SONNET,
    ),
    (
        "an image from the assistant",
        [("user", "a"), ("assistant", c.Image(c.Inline("", PNG)))],
        "messages[1].content[0]", SONNET,
    ),
    (
        "a custom call",
        [("user", "a"), ("assistant", c.ToolCall("1", "x", "y", custom=True))],
        "messages[1].tool_calls[0]", SONNET,
    ),
    (
        "a call of a name that cannot be",
        [("user", "a"), ("assistant", (CALL, c.ToolCall("1", "x.y", "{}")))],
        "messages[1].tool_calls[1].function.name", SONNET,
    ),
    *(
        (
            f"arguments {arguments[:9]!r}",
            [("user", "a"), ("assistant", c.ToolCall("1", "x", arguments))],
            "messages[1].tool_calls[0].function.arguments", SONNET,
        )
        for arguments in ["[1]", "nope", '{"a": tru}', '"x"', '{"a":' + "[" * 9999]
    ),
]  # fmt: skip

REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    # why, what is asked, the field that is named, the model
    *(
        (f"{name} {value!r}", {name: value}, name, model)
        for model in (SONNET, NOVA)
        for name, value in [
            ("n", 2), ("n", 0), ("logprobs", True), ("top_logprobs", 3),
            ("temperature", 1.5), ("temperature", -0.1), ("temperature", float("nan")),
            ("top_p", 1.1), ("stop", ("",)), ("stop", ("x",) * 2501),
        ]
    ),
    ("a blank stop", {"stop": ("\n",)}, "stop", SONNET),
    *(
        (f"extra {name}", {"extras": {name: raw(value)}}, name, SONNET)
        for name, value in [
            ("modalities", ["text", "audio"]), ("audio", {}),
            ("web_search_options", {}), ("unheard_of", 1), ("metadata", "x"),
        ]
    ),
    ("both samplings", {"temperature": 0.5, "top_p": 0.5}, "top_p", SONNET),
    ("no sampling", {"temperature": 0.5}, "temperature", "anthropic.claude-opus-4-7"),
    ("no nucleus", {"top_p": 0.5}, "top_p", "anthropic.claude-opus-5"),
    ("no top_k", {"top_k": 5}, "top_k", "anthropic.claude-sonnet-5"),
    *(
        (
            f"a thinker with {name}",
            {"thinking": thinks(effort="low"), name: value}, name, SONNET,
        )
        for name, value in [("temperature", 0.5), ("top_p", 0.5), ("top_k", 5)]
    ),
    (
        "a forced thinker",
        {
            "thinking": thinks(effort="low"), "tools": (TOOL,),
            "tool_choice": c.ToolChoice("required"),
        },
        "tool_choice", SONNET,
    ),
    (
        "a model that is not to be forced",
        {"tools": (TOOL,), "tool_choice": c.ToolChoice("named", ("weather",))},
        "tool_choice", "anthropic.claude-opus-5-5",
    ),
    *(
        (
            f"an effort of its own, {model}",
            {"thinking": thinks(effort="huge"), "names": NAMES}, "reasoning_effort", model,
        )
        for model in (SONNET, NOVA_2, LLAMA)
    ),
    (
        "an effort too high",
        {"thinking": thinks(effort="max"), "names": NAMES}, "reasoning_effort", NOVA_2,
    ),
    (
        "always thinking",
        {"thinking": thinks(effort="none"), "names": NAMES}, "reasoning_effort", OSS,
    ),
    *(
        (
            f"a budget where there is none, {model}",
            {"thinking": thinks(budget_tokens=2048)}, "thinking.budget_tokens", model,
        )
        for model in ("anthropic.claude-opus-4-7",)
    ),
    (
        "a budget for a model that cannot think",
        {"thinking": thinks(budget_tokens=2048)}, "thinking", LLAMA,
    ),
    (
        "a budget too large",
        {"thinking": thinks(budget_tokens=2000), "max_output_tokens": 2000},
        "thinking.budget_tokens", SONNET,
    ),
    ("thinking that cannot be", {"thinking": thinks(enabled=True)}, "thinking", LLAMA),
    ("deciding what cannot be", {"thinking": thinks(adaptive=True)}, "thinking", LLAMA),
    (
        "one call at most",
        {"tools": (TOOL,), "parallel_tool_calls": False}, "parallel_tool_calls", NOVA,
    ),
    (
        "a schema on a model without, which cannot be made to call",
        {"output_format": c.OutputFormat("json_schema", schema=raw({}))},
        "output_format", LLAMA,
    ),
    (
        "no schema",
        {"output_format": c.OutputFormat("json_schema")},
        "output_format.json_schema.schema", QWEN,
    ),
    ("a custom tool", {"tools": (TOOL, c.CustomTool("x"))}, "tools[1]", SONNET),
    ("a builtin", {"tools": (c.BuiltinTool("x", raw({})),)}, "tools[0]", SONNET),
    *(
        (f"the name {name!r}", {"tools": (c.Tool(name),)}, "tools[0].function.name", SONNET)
        for name in ["", "a.b", "x" * 65, "é", "a\n"]
    ),
    (
        "an array as schema",
        {"tools": (c.Tool("x", parameters=raw([])),)}, "tools[0].function.parameters",
        SONNET,
    ),
    (
        "the schema of a deprecated function",
        {
            "tools": (c.Tool("x", parameters=raw({"type": "string"})),),
            "names": {"tools": "functions"},
        },
        "functions[0].parameters.type", SONNET,
    ),
    (
        "a cache of its own",
        {"tools": (c.Tool("x", cache=c.CacheControl("2h")),)},
        "tools[0].cache_control.ttl", SONNET,
    ),
    ("a choice of nothing", {"tool_choice": c.ToolChoice("required")}, "tool_choice", NOVA),
    (
        "a choice of nobody",
        {"tools": (TOOL,), "tool_choice": c.ToolChoice("named")}, "tool_choice", SONNET,
    ),
    (
        "a choice of a stranger",
        {"tools": (TOOL,), "tool_choice": c.ToolChoice("named", ("x",))},
        "tool_choice", SONNET,
    ),
    *((why, {"messages": say(*said)}, where, model) for why, said, where, model in SAID),
]  # fmt: skip


def write(model: str = SONNET, **asks: Any) -> Any:
    request = c.Request(model="asked", **{"messages": HELLO, **asks})
    return PROVIDER.write_request(request, model, 4096)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_requests_become_what_botocore_allows(case, judge):
    rendered = write(case.model, **case.asks)
    body = judge(rendered.body, case.model)
    assert {name: body.get(name) for name in case.body} == case.body
    assert rendered.dropped == case.dropped


@pytest.mark.parametrize(("model", "asked", "fields", "effort", "limit"), THINKING)
def test_thinking_is_asked_for_as_each_family_takes_it(
    model, asked, fields, effort, limit, judge
):
    rendered = write(model, thinking=asked)
    body = judge(rendered.body, model)
    assert body.get("additionalModelRequestFields") == fields
    assert body.get("outputConfig") == (effort and {"effort": effort})
    assert body.get("inferenceConfig") == (limit and {"maxTokens": limit})
    assert rendered.dropped == ()


@pytest.mark.parametrize(
    ("asks", "model"),
    [
        ({"max_output_tokens": 1024}, SONNET),
        ({}, "anthropic.claude-3-5-haiku-20241022-v1:0"),
        ({"messages": LOOP, "tools": (TOOL,)}, SONNET),
        ({"messages": say(("user", "a"), ("assistant", "b"))}, SONNET),
        ({}, LLAMA),
        ({}, NOVA),
    ],
    ids=["no room", "no thinker", "no thoughts given back", "prefill", "Llama", "Nova"],
)
def test_an_effort_that_cannot_be_is_left_out_and_reported(asks, model, judge):
    rendered = write(model, thinking=thinks(effort="low"), names=NAMES, **asks)
    assert "additionalModelRequestFields" not in judge(rendered.body, model)
    assert rendered.dropped == ("reasoning_effort",)


def test_a_way_to_show_thoughts_is_reported_where_there_is_none(judge):
    rendered = write(NOVA_2, thinking=thinks(effort="low", display="summarized"))
    judge(rendered.body, NOVA_2)
    assert rendered.dropped == ("thinking.display",)


@pytest.mark.parametrize(
    ("asks", "param", "model"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_what_cannot_be_kept_is_refused_by_its_name(asks, param, model):
    with pytest.raises(BadRequest) as caught:
        write(model, **asks)
    assert caught.value.param == param
    assert caught.value.status == 400
    assert caught.value.message


def test_what_other_formats_could_say_has_its_own_code():
    with pytest.raises(Unsupported) as caught:
        write(n=2)
    assert caught.value.code == "unsupported_parameter"


def test_arguments_and_schemas_keep_the_clients_bytes():
    spelled = b'{"a" : 1.0e2,\n "b":"\\u00e9","a":2}'
    tool = c.Tool("x", parameters=msgspec.Raw(b'{"type":"object" , "z":1.50}'))
    call = c.ToolCall("1", "x", spelled.decode())
    result = c.ToolResult("1", (c.Text("y"),))
    messages = say(("user", "a"), ("assistant", call), ("tool", result))
    body = write(messages=messages, tools=(tool,)).body
    assert spelled in body
    assert b'{"type":"object" , "z":1.50}' in body


# ---------------------------------------------------------------- names and models


@given(st.text(max_size=100))
def test_any_call_id_becomes_one_that_bedrock_takes_the_same_each_time(given_id):
    made = call_id(given_id)
    assert made == call_id(given_id)
    assert 1 <= len(made) <= 64
    assert (
        made.replace("_", "a")
        .replace(".", "a")
        .replace(":", "a")
        .replace("-", "a")
        .isascii()
    )


def test_call_ids_stay_apart():
    ids = ["", "a b", "a_b", "a/b", "x" * 64, "x" * 65, "x" * 66, "call_1", "f.g:0"]
    assert len({call_id(one) for one in ids}) == len(ids)
    assert call_id("toolu.f:0-x") == "toolu.f:0-x"


@given(st.text(max_size=250), st.sampled_from(["", ".pdf", ".tar.gz", ".PDF"]))
def test_any_filename_becomes_a_name_that_bedrock_takes(stem, extension):
    part = c.Document(c.Inline("application/pdf", PDF), stem + extension)
    body = write(messages=say(("user", (c.Text("a"), part, part)))).body
    blocks = msgspec.json.decode(body)["messages"][0]["content"][1:]
    names = [block["document"]["name"] for block in blocks]
    assert names[0] != names[1]
    for name in names:
        assert 1 <= len(name) <= 200
        assert "  " not in name
        assert all(ch.isascii() and (ch.isalnum() or ch in "()[]- ") for ch in name)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", CLAUDE),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", CLAUDE),
        ("claude-sonnet-4-5", CLAUDE),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0",
         FAMILIES["amazon.nova"]),
        ("arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.meta.llama3-2-1b",
         FAMILIES["meta."]),
        ("apac.amazon.nova-2-lite-v1:0", FAMILIES["amazon.nova-2"]),
        ("openai.gpt-oss-20b-1:0", FAMILIES["openai.gpt-oss"]),
        ("openai.gpt-5.2", FAMILIES["openai."]),
        ("moonshotai.kimi-k2.5", FAMILIES["moonshot"]),
        ("writer.palmyra-x5-v1:0", OPEN),
        (HIDDEN, CLAUDE),
    ],
)  # fmt: skip
def test_a_family_is_known_in_every_spelling(name, family):
    assert family_of(name) is family


def test_the_formats_and_tiers_are_those_of_the_service(service):
    def words(shape: str) -> set[str]:
        return set(service.shape_for(shape).enum)

    assert set(IMAGE_FORMATS.values()) == words("ImageFormat")
    assert set(DOCUMENT_FORMATS.values()) == words("DocumentFormat")
    assert set(AUDIO_FORMATS.values()) < words("AudioFormat")
    assert set(filter(None, SERVICE_TIERS.values())) | {"default"} == words(
        "ServiceTierType"
    )


def test_a_body_of_32_mib_does_not_hold_the_loop():
    picture = c.Image(c.Inline("image/png", "A" * (32 << 20)))
    messages = say(("user", (picture, c.Text("what?"))))
    spent = []
    for _ in range(3):
        begun = time.process_time()
        write(messages=messages)
        spent.append(time.process_time() - begun)
    assert min(spent) < 0.2


# ---------------------------------------------------------------- any request

WORDS = st.sampled_from(["", " ", "a", "b c", "é\n", "\U0001f600"])
CACHES = st.sampled_from([None, c.CacheControl(), c.CacheControl("1h")])
SOURCES = st.sampled_from(
    [
        c.Inline("image/png", PNG), c.Inline("application/pdf", PDF),
        c.Inline("text/plain", "YQ=="), c.Inline("", PNG), c.Remote("s3://bkt/a.pdf"),
        c.Remote("s3://bkt/a.png"),
    ]
)  # fmt: skip
TEXTS = st.builds(c.Text, WORDS, CACHES)
NAMED = st.sampled_from([None, "f", "ü.pdf", "a  b"])
RESULT_PARTS = st.one_of(
    TEXTS, st.builds(c.Image, SOURCES), st.builds(c.Document, SOURCES, NAMED)
)
USER_PARTS = st.one_of(
    TEXTS,
    TEXTS,
    TEXTS,
    st.builds(c.Image, SOURCES, st.sampled_from([None, "low"]), CACHES),
    st.builds(c.Document, SOURCES, NAMED, CACHES),
    st.builds(c.Audio, st.just(c.Inline("audio/wav", "AAAA"))),
)
ASSISTANT_PARTS = st.one_of(
    TEXTS,
    st.builds(c.Refusal, WORDS),
    st.builds(
        c.Reasoning,
        WORDS,
        st.sampled_from([None, "s"]),
        st.sampled_from([None, "e", "ZQ=="]),
    ),
    st.builds(
        c.ToolCall,
        st.sampled_from(["call_1", "a:b", "a/b", "x" * 80]),
        st.just("weather"),
        st.sampled_from(["{}", "", '{"a":1}']),
    ),
)


def messages_of(role: str, parts: Any, where: str) -> Any:
    return st.builds(
        c.Message,
        st.just(role),
        st.lists(parts, max_size=3).map(tuple),
        where=st.just(where),
    )


MESSAGES = st.one_of(
    messages_of("user", USER_PARTS, "messages[?]"),
    messages_of("assistant", ASSISTANT_PARTS, "messages[?]"),
    messages_of("system", TEXTS, "messages[?]"),
    st.builds(
        c.Message,
        st.just("tool"),
        st.builds(
            c.ToolResult,
            st.sampled_from(["call_1", "a:b", "a/b"]),
            st.lists(RESULT_PARTS, max_size=2).map(tuple),
            st.booleans(),
            CACHES,
        ).map(lambda result: (result,)),
        where=st.just("messages[?]"),
    ),
)
THINKINGS = st.builds(
    c.Thinking,
    st.sampled_from([None, "none", "minimal", "low", "high"]),
    st.sampled_from([None, None, 1024]),
    st.sampled_from([None, True, False]),
    st.booleans(),
    st.sampled_from([None, "omitted"]),
)
REQUESTS = st.builds(
    c.Request,
    model=st.just("asked"),
    messages=st.lists(MESSAGES, max_size=5).map(lambda m: (*HELLO, *m)),
    tools=st.sampled_from([(), (TOOL,), (TOOL, CLOCK)]),
    tool_choice=st.sampled_from(
        [None, None, c.ToolChoice("auto"), c.ToolChoice("none"),
         c.ToolChoice("required"), c.ToolChoice("named", ("weather",)),
         c.ToolChoice("auto", ("weather",))]
    ),
    parallel_tool_calls=st.sampled_from([None, None, True, False]),
    max_output_tokens=st.sampled_from([None, 1, 5000]),
    temperature=st.sampled_from([None, 0.0, 1.0]),
    top_p=st.sampled_from([None, None, 0.5, 1.0]),
    top_k=st.sampled_from([None, None, 5]),
    stop=st.sampled_from([(), ("X",)]),
    service_tier=st.sampled_from([None, "flex"]),
    thinking=st.none() | THINKINGS,
    stream=st.booleans(),
)  # fmt: skip
MODELS = st.sampled_from(
    [SONNET, NOVA, NOVA_2, OSS, GPT, GLM, LLAMA, QWEN, HIDDEN,
     "anthropic.claude-opus-4-8-v1:0"]
)  # fmt: skip


@given(request=REQUESTS, model=MODELS)
def test_any_request_is_one_that_botocore_allows_or_is_refused_by_name(
    request, model, judge
):
    refused: BadRequest | None = None
    try:
        judge(PROVIDER.write_request(request, model, 4096).body, model)
    except BadRequest as exc:
        refused = exc
    assert refused is None or refused.param


@given(request=REQUESTS, model=MODELS)
def test_the_same_request_is_written_the_same_each_time(request, model):
    def outcome() -> Any:
        try:
            return PROVIDER.write_request(request, model, 4096)
        except BadRequest as exc:
            return exc.param

    assert outcome() == outcome()


def test_what_was_sealed_in_another_place_is_not_sent_as_bedrocks_own():
    openai = base64.urlsafe_b64encode(bytes(range(200, 256))).decode().rstrip("=")
    part = c.Reasoning(encrypted=openai)
    rendered = write(messages=say(("user", "a"), ("assistant", part), ("user", "b")))
    assert rendered.dropped == ("messages[1].reasoning",)
