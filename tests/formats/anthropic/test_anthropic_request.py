"""What we send to Anthropic, judged by the SDK's own types."""

from __future__ import annotations

import base64
import dataclasses
import time
from typing import Any, get_args

import msgspec
import pytest
from anthropic.types import ModelParam
from hypothesis import assume, given, strategies as st

from extproc import canonical as c
from extproc.errors import BadRequest
from extproc.formats.anthropic import CLIENT, PROVIDER
from extproc.formats.anthropic.models import KNOWN, UNKNOWN, abilities
from extproc.formats.base import Unsupported

SONNET = "claude-sonnet-4-5"
PNG = "iVBORw0KGgoAAAANSUhEUg=="
PDF = "JVBERi0xLjQK"


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
REASONED = c.Reasoning("hm", "c2ln")
EPHEMERAL = {"type": "ephemeral"}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


USE = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Rome"}}
GAVE = {"type": "tool_result", "tool_use_id": "call_1", "content": [text("sunny")]}


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
        "plain",
        {"messages": say(("system", "Be kind."), ("user", "hello"))},
        {
            "model": SONNET, "max_tokens": 4096, "system": [text("Be kind.")],
            "messages": [user(text("hello"))], "stream": None, "thinking": None,
            "tools": None, "tool_choice": None,
        },
    ),
    Case(
        "every leading system message, in order, with its cache breakpoint",
        {
            "messages": say(
                ("developer", (c.Text("a"), c.Text("b", c.CacheControl("1h")))),
                ("system", c.Text("c", c.CacheControl())),
                ("user", "hello"),
            )
        },
        {
            "system": [
                text("a"),
                text("b", cache_control={**EPHEMERAL, "ttl": "1h"}),
                text("c", cache_control=EPHEMERAL),
            ]
        },
    ),
    Case(
        "a later system message joins the first where the model has no system turns",
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
        model="claude-opus-4-8",
    ),
    Case(
        "a system turn may not stand before the user's",
        {"messages": say(("user", "a"), ("system", "late"), ("user", "b"))},
        {"system": [text("late")], "messages": [user(text("a"), text("b"))]},
        dropped=("messages[1].role",),
        model="claude-opus-4-8",
    ),
    Case(
        "all parts in their order",
        {
            "messages": say(
                (
                    "user",
                    (
                        c.Text("what is"),
                        c.Image(c.Inline("image/png", PNG), cache=c.CacheControl()),
                        c.Text("and"),
                        c.Image(c.Remote("https://x.test/a.jpg"), detail="high"),
                        c.Image(c.FileReference("file_1")),
                    ),
                )
            )
        },
        {
            "messages": [
                user(
                    text("what is"),
                    {
                        "type": "image", "cache_control": EPHEMERAL,
                        "source": {
                            "type": "base64", "media_type": "image/png", "data": PNG,
                        },
                    },
                    text("and"),
                    {
                        "type": "image",
                        "source": {"type": "url", "url": "https://x.test/a.jpg"},
                    },
                    {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
                )
            ]
        },
        dropped=("messages[0].content[3].detail",),
    ),
    Case(
        "documents of every source",
        {
            "messages": say(
                (
                    "user",
                    (
                        c.Document(c.Inline("application/pdf", PDF), "a.pdf"),
                        c.Document(c.Inline("", PDF)),
                        c.Document(c.Remote("https://x.test/a.pdf")),
                        c.Document(c.FileReference("file_1")),
                        c.Document(
                            c.Inline(
                                "text/markdown; charset=utf-8",
                                base64.b64encode("# é".encode()).decode(),
                            )
                        ),
                        c.Image(c.Inline("application/pdf", PDF)),
                    ),
                )
            )
        },
        {
            "messages": [
                user(
                    {
                        "type": "document", "title": "a.pdf",
                        "source": {
                            "type": "base64", "media_type": "application/pdf",
                            "data": PDF,
                        },
                    },
                    *(
                        {"type": "document", "source": source}
                        for source in [
                            {
                                "type": "base64", "media_type": "application/pdf",
                                "data": PDF,
                            },
                            {"type": "url", "url": "https://x.test/a.pdf"},
                            {"type": "file", "file_id": "file_1"},
                            {
                                "type": "text", "media_type": "text/plain",
                                "data": "# é",
                            },
                            {
                                "type": "base64", "media_type": "application/pdf",
                                "data": PDF,
                            },
                        ]
                    ),
                )
            ]
        },
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
                ("tool", RESULT),
                (
                    "tool",
                    c.ToolResult(
                        "call_2",
                        (c.Text("broken"), c.Image(c.Inline("", PNG))),
                        is_error=True,
                    ),
                ),
                ("user", "and?"),
            ),
            "tools": (TOOL, CLOCK),
        },
        {
            "messages": [
                user(text("weather?")),
                assistant(
                    text("let me"), USE,
                    {"type": "tool_use", "id": "call_2", "name": "clock", "input": {}},
                    text("both"),
                ),
                user(
                    GAVE,
                    {
                        "type": "tool_result", "tool_use_id": "call_2",
                        "is_error": True,
                        "content": [
                            text("broken"),
                            {
                                "type": "image",
                                "source": {
                                    "type": "base64", "media_type": "image/png",
                                    "data": PNG,
                                },
                            },
                        ],
                    },
                    text("and?"),
                ),
            ],
            "tools": [
                {
                    "name": "weather", "description": "Tells it.",
                    "input_schema": {"type": "object", "properties": {}},
                },
                {
                    "name": "clock",
                    "input_schema": {"type": "object", "properties": {}},
                },
            ],
        },
    ),
    Case(
        "tool results come first, whatever the user said in between",
        {
            "messages": say(
                ("user", "w?"), ("assistant", CALL), ("user", "wait"), ("tool", RESULT)
            )
        },
        {"messages": [user(text("w?")), assistant(USE), user(GAVE, text("wait"))]},
    ),
    Case(
        "an empty tool result",
        {
            "messages": say(
                ("user", "w?"), ("assistant", CALL), ("tool", c.ToolResult("call_1", ()))
            )
        },
        {
            "messages": [
                user(text("w?")),
                assistant(USE),
                user({"type": "tool_result", "tool_use_id": "call_1"}),
            ]
        },
    ),
    Case(
        "other providers' call ids are spelled in Anthropic's alphabet, on both sides",
        {
            "messages": say(
                ("user", "w?"),
                ("assistant", c.ToolCall("functions.f:0", "weather", "{}")),
                ("tool", c.ToolResult("functions.f:0", (c.Text("x"),))),
            )
        },
        {
            "messages": [
                user(text("w?")),
                assistant({**USE, "id": "functions_2ef_3a0", "input": {}}),
                user({**GAVE, "tool_use_id": "functions_2ef_3a0", "content": [text("x")]}),
            ]
        },
    ),
    Case(
        "signed and sealed thoughts go back, unsigned ones are left out",
        {
            "messages": say(
                ("user", "a"),
                (
                    "assistant",
                    (
                        REASONED, c.Reasoning(encrypted="c2Vh"), c.Reasoning("own"),
                        c.Text("b"), c.Refusal("no"),
                    ),
                ),
                ("user", "c"),
            )
        },
        {
            "messages": [
                user(text("a")),
                assistant(
                    {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                    {"type": "redacted_thinking", "data": "c2Vh"},
                    text("b"),
                    text("no"),
                ),
                user(text("c")),
            ]
        },
        dropped=("messages[1].reasoning",),
    ),
    Case(
        "empty parts and messages say nothing; blank ones are reported",
        {
            "messages": say(
                ("system", ""),
                ("user", (c.Text(""), c.Text("a"), c.Text(" \n"))),
                ("assistant", ""),
                ("user", "b"),
            )
        },
        {"system": None, "messages": [user(text("a"), text("b"))]},
        dropped=("messages[1].content[2]",),
    ),
    Case(
        "the end of a prefill is cut",
        {"messages": say(("user", "a"), ("assistant", "The answer is \n"))},
        {"messages": [user(text("a")), assistant(text("The answer is"))]},
        dropped=("messages[1].content",),
    ),
    Case(
        "participants' names have no place",
        {
            "messages": (
                c.Message("user", (c.Text("a"),), name="ann", where="messages[0]"),
            )
        },
        {"messages": [user(text("a"))]},
        dropped=("messages[0].name",),
    ),
    Case(
        "a schema without a type gets one, a strict one is closed, others are spliced",
        {
            "messages": HELLO,
            "tools": (
                c.Tool("a", parameters=msgspec.Raw(b' {"properties": {"x": {}}} ')),
                c.Tool("b", parameters=raw({}), cache=c.CacheControl()),
                c.Tool("c", parameters=raw({"properties": {}}), strict=True),
                c.Tool("d", parameters=raw({"type": "object"}), strict=False),
            ),
        },
        {
            "tools": [
                {
                    "name": "a",
                    "input_schema": {"type": "object", "properties": {"x": {}}},
                },
                {
                    "name": "b", "cache_control": EPHEMERAL,
                    "input_schema": {"type": "object", "properties": {}},
                },
                {
                    "name": "c", "strict": True,
                    "input_schema": {
                        "type": "object", "properties": {}, "additionalProperties": False,
                    },
                },
                {"name": "d", "input_schema": {"type": "object"}},
            ]
        },
    ),
    Case(
        "strict tools on a model without them",
        {"messages": HELLO, "tools": (c.Tool("a", strict=True),)},
        {
            "tools": [
                {"name": "a", "input_schema": {"type": "object", "properties": {}}}
            ]
        },
        dropped=("tools[0].function.strict",),
        model="claude-sonnet-4-20250514",
    ),
    *(
        Case(
            f"tool choice {choice.mode} {choice.names}, parallel {parallel}",
            {
                "messages": HELLO, "tools": (TOOL, CLOCK), "tool_choice": choice,
                "parallel_tool_calls": parallel,
            },
            {"tool_choice": expected},
        )
        for choice, parallel, expected in [
            (c.ToolChoice("auto"), None, {"type": "auto"}),
            (c.ToolChoice("auto"), True, {"type": "auto"}),
            (c.ToolChoice("none"), False, {"type": "none"}),
            (c.ToolChoice("required"), None, {"type": "any"}),
            (c.ToolChoice("named", ("clock",)), None, {"type": "tool", "name": "clock"}),
            (
                c.ToolChoice("required"), False,
                {"type": "any", "disable_parallel_tool_use": True},
            ),
            (
                c.ToolChoice("named", ("clock",)), False,
                {"type": "tool", "name": "clock", "disable_parallel_tool_use": True},
            ),
        ]
    ),
    Case(
        "parallel calls are refused without a tool choice too",
        {"messages": HELLO, "tools": (CLOCK,), "parallel_tool_calls": False},
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    ),
    Case(
        "parallel calls are the default",
        {"messages": HELLO, "tools": (CLOCK,), "parallel_tool_calls": True},
        {"tool_choice": None},
    ),
    Case(
        "of an allowed subset only the subset is sent",
        {
            "messages": HELLO, "tools": (TOOL, CLOCK),
            "tool_choice": c.ToolChoice("required", ("clock",)),
        },
        {
            "tool_choice": {"type": "any"},
            "tools": [
                {"name": "clock", "input_schema": {"type": "object", "properties": {}}}
            ],
        },
    ),
    Case(
        "a choice without tools says nothing",
        {
            "messages": HELLO, "tool_choice": c.ToolChoice("none"),
            "parallel_tool_calls": False,
        },
        {"tool_choice": None, "tools": None},
    ),
    Case(
        "limits and sampling",
        {
            "messages": HELLO, "max_output_tokens": 7, "temperature": 0.25,
            "top_k": 5, "stop": ("END", " stop"), "stream": True, "end_user": "u-1",
            "service_tier": "default",
        },
        {
            "max_tokens": 7, "temperature": 0.25, "top_p": None, "top_k": 5,
            "stop_sequences": ["END", " stop"], "stream": True,
            "metadata": {"user_id": "u-1"}, "service_tier": "standard_only",
        },
    ),
    Case(
        "of two sampling parameters the one that is a default is left out",
        {"messages": HELLO, "temperature": 0.5, "top_p": 1.0},
        {"temperature": 0.5, "top_p": None},
    ),
    Case(
        "of two sampling parameters the one that is a default is left out, reversed",
        {"messages": HELLO, "temperature": 1.0, "top_p": 0.5},
        {"temperature": None, "top_p": 0.5},
    ),
    Case(
        "older models take both",
        {"messages": HELLO, "temperature": 0.5, "top_p": 0.5},
        {"temperature": 0.5, "top_p": 0.5},
        model="claude-3-5-haiku-20241022",
    ),
    Case(
        "models without sampling take the defaults by their absence",
        {"messages": HELLO, "temperature": 1.0, "top_p": 1.0},
        {"temperature": None, "top_p": None},
        model="claude-opus-4-7",
    ),
    Case(
        "pure tuning is left out and reported",
        {
            "messages": HELLO, "seed": 1, "presence_penalty": 0.5,
            "frequency_penalty": 0.5, "logit_bias": raw({"1": 2}), "n": 1,
            "logprobs": False, "service_tier": "flex",
            "extras": {
                "store": raw(True), "verbosity": raw("low"), "metadata": raw({"a": "b"}),
                "prompt_cache_key": raw("k"), "prediction": raw({}),
                "modalities": raw(["text"]), "anything": raw(None),
                "safety_identifier": raw("s-1"),
            },
        },
        {"metadata": {"user_id": "s-1"}, "service_tier": None},
        dropped=(
            "seed", "presence_penalty", "frequency_penalty", "logit_bias", "store",
            "verbosity", "metadata", "prompt_cache_key", "prediction", "service_tier",
        ),
    ),
    Case(
        "penalties of 0 and an empty bias are the defaults",
        {
            "messages": HELLO, "presence_penalty": 0.0, "frequency_penalty": 0.0,
            "logit_bias": raw({}),
        },
        {},
    ),
    Case(
        "of two names of the end user, `user` counts",
        {
            "messages": HELLO, "end_user": "u-1",
            "extras": {"safety_identifier": raw("s-1")},
        },
        {"metadata": {"user_id": "u-1"}},
        dropped=("safety_identifier",),
    ),
    Case(
        "a JSON schema",
        {
            "messages": HELLO,
            "output_format": c.OutputFormat(
                "json_schema", "n", None, raw({"type": "object", "properties": {}}), strict=True
            ),
        },
        {
            "output_config": {
                "format": {
                    "type": "json_schema",
                    "schema": {
                        "type": "object", "properties": {}, "additionalProperties": False,
                    },
                }
            }
        },
    ),
    Case(
        "text is the default format",
        {"messages": HELLO, "output_format": c.OutputFormat("text")},
        {"output_config": None},
    ),
]  # fmt: skip


def thinks(**fields: Any) -> c.Thinking:
    return c.Thinking(**fields)


ADAPTIVE = {"type": "adaptive"}

THINKING = [
    # model, what is asked, max_tokens asked, thinking, output_config, max_tokens
    (SONNET, thinks(effort="low"), 10_000, 2000, None, 10_000),
    (SONNET, thinks(effort="minimal"), 10_000, 1024, None, 10_000),
    (SONNET, thinks(effort="high"), None, 3276, None, 4096),
    (SONNET, thinks(effort="max"), 10_000, 9500, None, 10_000),
    (SONNET, thinks(enabled=True), 10_000, 5000, None, 10_000),
    (SONNET, thinks(enabled=True, budget_tokens=2048), None, 2048, None, 4096),
    (SONNET, thinks(enabled=True, budget_tokens=8192), None, 8192, None, 12_288),
    (SONNET, thinks(effort="none"), None, None, None, 4096),
    (SONNET, thinks(enabled=False), None, None, None, 4096),
    (SONNET, thinks(), None, None, None, 4096),
    ("claude-opus-4-5", thinks(effort="high"), 2000, 1600, "high", 2000),
    ("claude-opus-4-5", thinks(effort="high"), 500, None, "high", 500),
    ("claude-opus-4-6", thinks(effort="max"), None, ADAPTIVE, "max", 4096),
    ("claude-opus-4-6", thinks(budget_tokens=2048), None, 2048, None, 4096),
    ("claude-opus-4-7", thinks(effort="xhigh"), None, ADAPTIVE, "xhigh", 4096),
    ("claude-opus-4-7", thinks(effort="none"), None, None, None, 4096),
    ("claude-sonnet-5", thinks(effort="minimal"), None, ADAPTIVE, "low", 4096),
    ("claude-sonnet-5", thinks(enabled=False), None, {"type": "disabled"}, None, 4096),
    (
        "claude-sonnet-5-5", thinks(effort="none"), None, {"type": "between_tools"},
        None, 4096,
    ),
    (
        "claude-opus-5-5", thinks(adaptive=True, enabled=True, display="omitted"), None,
        {**ADAPTIVE, "display": "omitted"}, None, 4096,
    ),
    (
        "claude-fable-5", thinks(effort="low", display="auto"), None,
        {**ADAPTIVE, "display": "summarized"}, "low", 4096,
    ),
    ("claude-zeta-9", thinks(effort="max"), None, ADAPTIVE, "max", 4096),
]  # fmt: skip

SAID: list[tuple[str, list[tuple[str, Any]], str, str]] = [
            ("nobody speaks", [("system", "a")], "messages", SONNET),
            ("nothing is said", [("user", "")], "messages", SONNET),
            ("the assistant begins", [("assistant", "a"), ("user", "b")],
             "messages[0]", SONNET),
            ("prefill", [("user", "a"), ("assistant", "b")], "messages[1]",
             "claude-sonnet-4-6"),
            ("audio", [("user", (c.Text("a"), c.Audio(c.Inline("audio/wav", "AA"))))],
             "messages[0].content[1]", SONNET),
            ("a bitmap", [("user", c.Image(c.Inline("image/bmp", "AA")))],
             "messages[0].content[0]", SONNET),
            ("nameless bytes", [("user", c.Image(c.Inline("", "AAAA")))],
             "messages[0].content[0]", SONNET),
            ("a spreadsheet", [("user", c.Document(c.Inline("application/x", "AA")))],
             "messages[0].content[0]", SONNET),
            ("text that is none", [("user", c.Document(c.Inline("text/plain", "/w==")))],
             "messages[0].content[0]", SONNET),
            ("a picture of the assistant's",
             [("user", "a"), ("assistant", c.Image(c.Inline("", PNG)))],
             "messages[1].content[0]", SONNET),
            ("a call of the user's", [("user", CALL)], "messages[0].tool_calls[0]",
             SONNET),
            ("a picture as system", [("system", c.Image(c.Inline("", PNG)))],
             "messages[0].content[0]", SONNET),
            ("a custom call",
             [("user", "a"), ("assistant", c.ToolCall("1", "x", "y", custom=True))],
             "messages[1].tool_calls[0]", SONNET),
            *(
                (f"arguments {arguments[:9]!r}",
                 [("user", "a"), ("assistant", (CALL, c.ToolCall("1", "x", arguments)))],
                 "messages[1].tool_calls[1].function.arguments", SONNET)
                for arguments in ["[1]", "nope", '{"a": tru}', '"x"', '{"a":' + "[" * 9999]
            ),
        ]  # fmt: skip

REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    # why, what is asked, the field that is named, the model
    *(
        (f"{name} {value!r}", {name: value}, name, SONNET)
        for name, value in [
            ("n", 2), ("n", 0), ("logprobs", True), ("top_logprobs", 3),
            ("temperature", 1.5), ("temperature", -0.1), ("temperature", float("nan")),
            ("stop", ("\n",)), ("stop", ("",)),
        ]
    ),
    *(
        (f"extra {name}", {"extras": {name: raw(value)}}, name, SONNET)
        for name, value in [
            ("modalities", ["text", "audio"]), ("audio", {}),
            ("web_search_options", {}), ("unheard_of", 1), ("safety_identifier", 5),
        ]
    ),
    ("both samplings", {"temperature": 0.5, "top_p": 0.5}, "top_p", SONNET),
    ("no sampling", {"temperature": 0.5}, "temperature", "claude-opus-4-7"),
    ("no nucleus", {"top_p": 0.5}, "top_p", "claude-opus-5"),
    ("no top_k", {"top_k": 5}, "top_k", "claude-sonnet-5"),
    (
        "a warm thinker",
        {"thinking": thinks(effort="low"), "temperature": 0.5}, "temperature", SONNET,
    ),
    (
        "a narrow thinker",
        {"thinking": thinks(effort="low"), "top_p": 0.5}, "top_p", SONNET,
    ),
    ("a topped thinker", {"thinking": thinks(effort="low"), "top_k": 5}, "top_k", SONNET),
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
        "tool_choice", "claude-opus-5-5",
    ),
    ("an effort of its own", {"thinking": thinks(effort="huge")}, "thinking", SONNET),
    (
        "an effort too high",
        {"thinking": thinks(effort="max"), "names": {"thinking": "reasoning_effort"}},
        "reasoning_effort", "claude-opus-4-5",
    ),
    (
        "always thinking",
        {"thinking": thinks(effort="none"), "names": {"thinking": "reasoning_effort"}},
        "reasoning_effort", "claude-opus-5-5",
    ),
    (
        "a budget where there is none",
        {"thinking": thinks(budget_tokens=2048)}, "thinking.budget_tokens",
        "claude-opus-4-7",
    ),
    (
        "a budget too small",
        {"thinking": thinks(budget_tokens=1000)}, "thinking.budget_tokens", SONNET,
    ),
    (
        "a budget too large",
        {"thinking": thinks(budget_tokens=2000), "max_output_tokens": 2000},
        "thinking.budget_tokens", SONNET,
    ),
    (
        "adaptive on a budgeted model",
        {"thinking": thinks(adaptive=True, enabled=True)}, "thinking", SONNET,
    ),
    (
        "thinking that cannot be",
        {"thinking": thinks(enabled=True)}, "thinking", "claude-3-haiku-20240307",
    ),
    (
        "a display of its own",
        {"thinking": thinks(enabled=True, display="loud")}, "thinking.display", SONNET,
    ),
    (
        "no schema",
        {"output_format": c.OutputFormat("json_schema")},
        "output_format.json_schema.schema", SONNET,
    ),
    ("a custom tool", {"tools": (TOOL, c.CustomTool("x"))}, "tools[1]", SONNET),
    ("a builtin", {"tools": (c.BuiltinTool("x", raw({})),)}, "tools[0]", SONNET),
    (
        "an array as schema",
        {"tools": (c.Tool("x", parameters=raw([])),)}, "tools[0].function.parameters",
        SONNET,
    ),
    (
        "a string's schema",
        {"tools": (c.Tool("x", parameters=raw({"type": "string"})),)},
        "tools[0].function.parameters.type", SONNET,
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
    (
        "a choice of nothing",
        {"tool_choice": c.ToolChoice("required")}, "tool_choice", SONNET,
    ),
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
def test_requests_become_what_the_sdk_types_allow(case, judge):
    rendered = write(case.model, **case.asks)
    body = judge(rendered.body)
    assert {name: body.get(name) for name in case.body} == case.body
    assert rendered.dropped == case.dropped


@pytest.mark.parametrize(
    ("model", "asked", "given_limit", "thinking", "effort", "limit"), THINKING
)
def test_thinking_is_asked_for_as_each_model_takes_it(
    model, asked, given_limit, thinking, effort, limit, judge
):
    rendered = write(model, thinking=asked, max_output_tokens=given_limit)
    body = judge(rendered.body)
    if isinstance(thinking, int):
        thinking = {"type": "enabled", "budget_tokens": thinking}
    assert body.get("thinking") == thinking
    assert body.get("output_config") == (effort and {"effort": effort})
    assert body["max_tokens"] == limit
    assert rendered.dropped == ()


@pytest.mark.parametrize(
    ("asks", "model"),
    [
        ({"max_output_tokens": 1024}, SONNET),
        ({}, "claude-3-5-haiku-20241022"),
        (
            {
                "messages": say(("user", "w?"), ("assistant", CALL), ("tool", RESULT)),
            },
            SONNET,
        ),
        ({"messages": say(("user", "a"), ("assistant", "b"))}, SONNET),
    ],
    ids=["no room", "no thinker", "thoughts not given back", "prefill"],
)
def test_an_effort_that_cannot_be_is_left_out_and_reported(asks, model, judge):
    names = {"thinking": "reasoning_effort"}
    rendered = write(model, thinking=thinks(effort="low"), names=names, **asks)
    assert "thinking" not in judge(rendered.body)
    assert rendered.dropped == ("reasoning_effort",)


def test_a_tool_loop_with_its_thoughts_thinks_on(judge):
    messages = say(("user", "w?"), ("assistant", (REASONED, CALL)), ("tool", RESULT))
    rendered = write(thinking=thinks(effort="low"), messages=messages)
    assert judge(rendered.body)["thinking"]["type"] == "enabled"


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


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("claude-opus-4-5-20251101", "opus-4-5"),
        ("claude-opus-4-20250514", "opus-4"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "sonnet-4-5"),
        ("claude-opus-4-1@20250805", "opus-4-1"),
        ("anthropic/claude-opus-4.6", "opus-4-6"),
        ("claude-3-7-sonnet-latest", "3-7-sonnet"),
        ("claude-3-opus-20240229", "3-opus"),
        ("claude-opus-5", "opus-5"),
        ("Claude-Opus-5-5", "opus-5-5"),
        ("claude-mythos-preview", "mythos-preview"),
    ],
)
def test_a_model_is_known_in_every_spelling(name, family):
    assert abilities(name) is KNOWN[family]


@pytest.mark.parametrize("name", ["gpt-4o", "claude-opus-7-3", "", "my-proxy-model"])
def test_an_unknown_model_may_do_everything(name):
    assert abilities(name) is UNKNOWN


def test_every_model_that_the_sdk_names_is_known():
    named = get_args(get_args(ModelParam)[0])
    assert [name for name in named if abilities(name) is UNKNOWN] == []


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
        c.Inline("text/plain", "YQ=="), c.Inline("", PNG), c.Remote("https://x.test/a"),
        c.FileReference("file_1"),
    ]
)  # fmt: skip
TEXTS = st.builds(c.Text, WORDS, CACHES)
RESULT_PARTS = st.one_of(
    TEXTS, st.builds(c.Image, SOURCES), st.builds(c.Document, SOURCES)
)
PARTS = st.one_of(
    TEXTS,
    TEXTS,
    st.builds(c.Image, SOURCES, st.sampled_from([None, "low"]), CACHES),
    st.builds(c.Document, SOURCES, st.sampled_from([None, "f"]), CACHES),
    st.builds(c.Refusal, WORDS),
    st.builds(
        c.Reasoning, WORDS, st.sampled_from([None, "s"]), st.sampled_from([None, "e"])
    ),
    st.builds(
        c.ToolCall,
        st.sampled_from(["call_1", "a:b"]),
        st.just("weather"),
        st.sampled_from(["{}", "", '{"a":1}', "[]"]),
    ),
)
MESSAGES = st.one_of(
    st.builds(
        c.Message,
        st.sampled_from(["user", "assistant", "user", "assistant", "system"]),
        st.lists(PARTS, max_size=3).map(tuple),
        where=st.just("messages[?]"),
    ),
    st.builds(
        c.Message,
        st.just("tool"),
        st.builds(
            c.ToolResult,
            st.sampled_from(["call_1", "a:b"]),
            st.lists(RESULT_PARTS, max_size=2).map(tuple),
            st.booleans(),
            CACHES,
        ).map(lambda result: (result,)),
        where=st.just("messages[?]"),
    ),
)
THINKINGS = st.builds(
    c.Thinking,
    st.sampled_from([None, "none", "minimal", "low", "high", "max"]),
    st.sampled_from([None, 1024, 9999]),
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
        [None, c.ToolChoice("auto"), c.ToolChoice("none"), c.ToolChoice("required"),
         c.ToolChoice("named", ("weather",)), c.ToolChoice("auto", ("weather",))]
    ),
    parallel_tool_calls=st.sampled_from([None, True, False]),
    max_output_tokens=st.sampled_from([None, 1, 5000]),
    temperature=st.sampled_from([None, 0.0, 1.0]),
    top_p=st.sampled_from([None, 0.5, 1.0]),
    thinking=st.none() | THINKINGS,
    stream=st.booleans(),
)  # fmt: skip


@given(request=REQUESTS, model=st.sampled_from([f"claude-{name}" for name in KNOWN]))
def test_any_request_is_one_that_the_sdk_allows_or_is_refused_by_name(
    request, model, judge
):
    refused: BadRequest | None = None
    try:
        judge(PROVIDER.write_request(request, model, 4096).body)
    except BadRequest as exc:
        refused = exc
    assert refused is None or refused.param


@given(request=REQUESTS, model=st.sampled_from([f"claude-{name}" for name in KNOWN]))
def test_what_we_write_we_read_back_and_write_again(request, model):
    try:
        body = PROVIDER.write_request(request, model, 4096).body
    except BadRequest:
        body = write().body
    members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    # To us an effort asks for thinking; Anthropic's clients can ask for it without.
    assume("thinking" in members or "output_config" not in members)
    again = PROVIDER.write_request(CLIENT.read_request(body, members), model, 1)
    assert msgspec.json.decode(again.body) == {
        **msgspec.json.decode(body),
        "model": model,
    }
    assert again.dropped == ()
