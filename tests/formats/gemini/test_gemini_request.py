"""Canonical requests as Gemini takes them; judged by the SDK's types and by the mock."""

from __future__ import annotations

import base64
import dataclasses
import time
from typing import Any, get_args

import msgspec
import pytest
from google.genai import types
from hypothesis import given, strategies as st

from extproc import canonical as c
from extproc.errors import BadRequest
from extproc.formats.base import Unsupported
from extproc.formats.gemini import PROVIDER
from extproc.formats.gemini.models import ALL_LEVELS, KNOWN, UNKNOWN, abilities
from extproc.formats.gemini.request import DROPPED
from extproc.formats.gemini.signatures import SKIP, tagged, untagged
from extproc.formats.openai_chat import CLIENT as OPENAI
from extproc.framing.members import read_members
from extproc.local.mock.gemini import check as mock_check
from extproc.local.mock.gemini.models import MODELS
from extproc.local.mock.gemini.rules import GENERATE
from extproc.local.mock.gemini.signing import sign
from extproc.local.mock.rules import check as mock_rules

Raw = msgspec.Raw
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n1234").decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0 1234").decode()
GIF = base64.b64encode(b"GIF89a 1234").decode()
WEBP = base64.b64encode(b"RIFF1234WEBP").decode()
WAV = base64.b64encode(b"RIFF1234WAVE").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
SIGNED = sign("a", {"functionCall": {"name": "clock", "args": {}}})

FLASH, PRO, LITE, OLD = (
    "gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.5-flash-lite", "gemini-2.0-flash",
)  # fmt: skip
PRO_3, FLASH_3, NEW = "gemini-3-pro-preview", "gemini-3-flash-preview", "gemini-4-argon"


def say(*turns: tuple[str, tuple[c.Part, ...]]) -> tuple[c.Message, ...]:
    return tuple(
        c.Message(role, parts, where=f"messages[{i}]")  # type: ignore[arg-type]
        for i, (role, parts) in enumerate(turns)
    )


HELLO = say(("user", (c.Text("Hi"),)))
SCHEMA = Raw(b'{"type":"object","properties":{"city":{"type":"string"}}}')
TOOL = c.Tool("weather", "The weather.", SCHEMA)
CLOCK = c.Tool("clock")
CALL = c.ToolCall("call_1", "weather", '{"city": "Rome"}')
RESULT = c.ToolResult("call_1", (c.Text("sunny"),))


def write(model: str = FLASH, **fields: Any) -> Any:
    request = c.Request(**{"model": "asked", "messages": HELLO, **fields})
    return PROVIDER.write_request(request, model, 4096)


def user(*parts: Any) -> Any:
    return {"parts": list(parts), "role": "user"}


def model(*parts: Any) -> Any:
    return {"parts": list(parts), "role": "model"}


@dataclasses.dataclass(frozen=True)
class Case:
    """A request, and the members that it becomes; others stay as HELLO has them."""

    name: str
    asks: dict[str, Any]
    body: dict[str, Any]
    dropped: tuple[str, ...] = ()
    model: str = FLASH


FUNCTION = {
    "name": "weather", "description": "The weather.",
    "parametersJsonSchema": {
        "type": "object", "properties": {"city": {"type": "string"}},
    },
}  # fmt: skip
CALLED = {"functionCall": {"name": "weather", "args": {"city": "Rome"}, "id": "call_1"}}
ANSWERED = {
    "functionResponse": {
        "name": "weather", "response": {"output": "sunny"}, "id": "call_1",
    }
}  # fmt: skip


def config(**members: Any) -> dict[str, Any]:
    return {"generationConfig": members}


def calling(mode: str, *names: str) -> dict[str, Any]:
    inner: dict[str, Any] = {"mode": mode}
    if names:
        inner["allowedFunctionNames"] = list(names)
    return {
        "tools": [{"functionDeclarations": [FUNCTION]}],
        "toolConfig": {"functionCallingConfig": inner},
    }


MESSAGE_CASES = [
    Case("text", {}, {}),
    Case(
        "system messages wherever they stand, and their lost places",
        {
            "messages": say(
                ("system", (c.Text("a"),)), ("developer", (c.Text("b"), c.Text("c"))),
                ("user", (c.Text("Hi"),)), ("assistant", (c.Text("Ho"),)),
                ("system", (c.Text("d"),)), ("user", (c.Text("Hu"),)),
            )
        },
        {
            "systemInstruction": {"parts": [{"text": t} for t in "abcd"]},
            "contents": [
                user({"text": "Hi"}), model({"text": "Ho"}), user({"text": "Hu"}),
            ],
        },
        ("messages[4].role",),
    ),
    Case(
        "turns of one role in a row are one, empty text is nothing",
        {
            "messages": say(
                ("user", (c.Text("a"), c.Text(""))), ("user", (c.Text("b"),)),
                ("assistant", (c.Text(""),)), ("user", (c.Text(" "),)),
            )
        },
        {"contents": [user({"text": "a"}, {"text": "b"}, {"text": " "})]},
    ),
    Case(
        "results first, named by their calls; text and calls in their order",
        {
            "messages": say(
                ("user", (c.Text("Hi"),)),
                ("assistant", (c.Text("x"), CALL, c.Text("y"))),
                ("user", (c.Text("and?"), RESULT)),
            )
        },
        {
            "contents": [
                user({"text": "Hi"}), model({"text": "x"}, CALLED, {"text": "y"}),
                user(ANSWERED, {"text": "and?"}),
            ]
        },
    ),
    Case(
        "a failed result is an error; a call without arguments has none",
        {
            "messages": say(
                ("user", (c.Text("Hi"),)),
                ("assistant", (c.ToolCall("c1", "clock", " "),)),
                ("tool", (c.ToolResult("c1", (c.Text("no"), c.Text("pe")), True),)),
            )
        },
        {
            "contents": [
                user({"text": "Hi"}),
                model({"functionCall": {"name": "clock", "args": {}, "id": "c1"}}),
                user({
                    "functionResponse": {
                        "name": "clock", "response": {"error": "no\npe"}, "id": "c1",
                    }
                }),
            ]
        },
    ),
    Case(
        "an id that was used before means the nearest call",
        {
            "messages": say(
                ("user", (c.Text("Hi"),)),
                ("assistant", (c.ToolCall("call_1", "clock", "{}"),)),
                ("tool", (c.ToolResult("call_1", ()),)),
                ("assistant", (CALL,)), ("tool", (RESULT,)),
            )
        },
        {
            "contents": [
                user({"text": "Hi"}),
                model({"functionCall": {"name": "clock", "args": {}, "id": "call_1"}}),
                user({
                    "functionResponse": {
                        "name": "clock", "response": {"output": ""}, "id": "call_1",
                    }
                }),
                model(CALLED), user(ANSWERED),
            ]
        },
    ),
    Case(
        "pictures, sound and files",
        {
            "messages": say((
                "user",
                (
                    c.Image(c.Inline("image/jpg", JPEG), "low", c.CacheControl()),
                    c.Image(c.Inline("", WEBP)), c.Audio(c.Inline("", WAV)),
                    c.Audio(c.Inline("audio/mpeg", "AAAA")),
                    c.Document(c.Inline("application/pdf", PDF), "a.pdf"),
                    c.Document(c.Inline("text/csv; charset=utf-8", "YQ==")),
                ),
            ))
        },
        {
            "contents": [
                user(*(
                    {"inlineData": {"mimeType": kind, "data": data}}
                    for kind, data in (
                        ("image/jpeg", JPEG), ("image/webp", WEBP),
                        ("audio/wav", WAV), ("audio/mpeg", "AAAA"),
                        ("application/pdf", PDF), ("text/csv", "YQ=="),
                    )
                ))
            ]
        },
        (
            "messages[0].content[0].cache_control", "messages[0].content[0].detail",
            "messages[0].content[4].filename",
        ),
    ),
    Case(
        "URLs and files, of the type that their ending shows or none",
        {
            "messages": say((
                "user",
                (
                    c.Image(c.Remote("https://x.test/a.JPG?b=c.png")),
                    c.Image(c.Remote("https://x.test/a")),
                    c.Document(c.Remote("gs://bucket/a.pdf")),
                    c.Document(c.FileReference("files/abc")),
                ),
            ))
        },
        {
            "contents": [
                user(
                    {
                        "fileData": {
                            "fileUri": "https://x.test/a.JPG?b=c.png",
                            "mimeType": "image/jpeg",
                        }
                    },
                    {"fileData": {"fileUri": "https://x.test/a"}},
                    {
                        "fileData": {
                            "fileUri": "gs://bucket/a.pdf",
                            "mimeType": "application/pdf",
                        }
                    },
                    {
                        "fileData": {
                            "fileUri": "https://generativelanguage.googleapis.com"
                            "/v1beta/files/abc"
                        }
                    },
                )
            ]
        },
    ),
    Case(
        "newer models take a resolution for a picture, and pictures in results",
        {
            "messages": say(
                ("user", (c.Image(c.Inline("image/png", PNG), "high"),)),
                (
                    "assistant",
                    (c.ToolCall("c1", "clock", "{}", signature=SIGNED),),
                ),
                ("tool", (c.ToolResult("c1", (c.Image(c.Inline("", PNG)),)),)),
            )
        },
        {
            "contents": [
                user({
                    "inlineData": {"mimeType": "image/png", "data": PNG},
                    "mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"},
                }),
                model({
                    "thoughtSignature": SIGNED,
                    "functionCall": {"name": "clock", "args": {}, "id": "c1"},
                }),
                user({
                    "functionResponse": {
                        "name": "clock", "response": {"output": ""}, "id": "c1",
                        "parts": [
                            {"inlineData": {"mimeType": "image/png", "data": PNG}}
                        ],
                    }
                }),
            ]
        },
        model=NEW,
    ),
    Case(
        "a refusal is text; names, citations and breakpoints are reported",
        {
            "messages": (
                c.Message(
                    "user", (c.Text("Hi", c.CacheControl("1h")),), "ann", "messages[0]"
                ),
                c.Message(
                    "assistant", (c.Refusal("no"), c.Text("x", citations=(c.Citation("u"),))),
                    where="messages[1]",
                ),
                c.Message("user", (c.Text("ok"),), where="messages[2]"),
            )
        },
        {
            "contents": [
                user({"text": "Hi"}), model({"text": "no"}, {"text": "x"}),
                user({"text": "ok"}),
            ]
        },
        (
            "messages[0].content[0].cache_control", "messages[0].name",
            "messages[1].content[1].citations",
        ),
    ),
]  # fmt: skip

TOOL_CASES = [
    Case(
        "functions",
        {"tools": (TOOL, CLOCK, c.Tool("empty", parameters=Raw(b"{}")))},
        {
            "tools": [{
                "functionDeclarations": [
                    FUNCTION, {"name": "clock"},
                    {
                        "name": "empty",
                        "parametersJsonSchema": {"type": "object", "properties": {}},
                    },
                ]
            }]
        },
    ),
    Case(
        "what has no word beside functions",
        {
            "tools": (c.Tool("clock", strict=True, cache=c.CacheControl()),),
            "parallel_tool_calls": False,
        },
        {"tools": [{"functionDeclarations": [{"name": "clock"}]}]},
        ("tools[0].cache_control", "tools[0].function.strict", "parallel_tool_calls"),
    ),
    Case("auto", {"tools": (TOOL,), "tool_choice": c.ToolChoice("auto")}, calling("AUTO")),
    Case("none", {"tools": (TOOL,), "tool_choice": c.ToolChoice("none")}, calling("NONE")),
    Case(
        "required",
        {"tools": (TOOL,), "tool_choice": c.ToolChoice("required")}, calling("ANY"),
    ),
    Case(
        "named",
        {"tools": (TOOL,), "tool_choice": c.ToolChoice("named", ("weather",))},
        calling("ANY", "weather"),
    ),
    Case(
        "required of a few",
        {"tools": (TOOL,), "tool_choice": c.ToolChoice("required", ("weather",))},
        calling("ANY", "weather"),
    ),
    Case(
        "allowed of a few: only those",
        {"tools": (CLOCK, TOOL), "tool_choice": c.ToolChoice("auto", ("weather",))},
        calling("AUTO"),
    ),
    Case("no call without tools", {"tool_choice": c.ToolChoice("none")}, {}),
    Case(
        "older models have schemas of their own",
        {
            "tools": (
                c.Tool(
                    "f",
                    parameters=Raw(
                        b'{"type":"object","additionalProperties":false,"$schema":"x",'
                        b'"properties":{"a":{"$ref":"#/$defs/A"},"n":{"type":["integer",'
                        b'"null"],"exclusiveMinimum":1},"s":{"type":"string","format":'
                        b'"uri"},"o":{"oneOf":[{"type":"string"},{"type":"number"}]},'
                        b'"k":{"const":"x"},"u":{"type":["string","integer"]},'
                        b'"r":{"$ref":"#/$defs/R"},"l":{"type":"array","items":'
                        b'{"allOf":[{"type":"boolean"}]}},"z":{"anyOf":[{"type":'
                        b'"null"},{"type":"string"}]},"e":{"enum":[1,2]}},'
                        b'"required":["a"],"$defs":{"A":{"type":"string","enum":["x",'
                        b'null]},"R":{"type":"object","properties":{"r":{"$ref":'
                        b'"#/$defs/R"}}}}}'
                    ),
                ),
                c.Tool("g", parameters=Raw(b'{"type":"object","properties":{}}')),
            )
        },
        {
            "tools": [{
                "functionDeclarations": [
                    {
                        "name": "f",
                        "parameters": {
                            "type": "OBJECT",
                            "properties": {
                                "a": {"type": "STRING", "enum": ["x"], "nullable": True},
                                "n": {"type": "INTEGER", "nullable": True},
                                "s": {"type": "STRING"},
                                "o": {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}]},
                                "k": {"type": "STRING", "enum": ["x"]},
                                "u": {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]},
                                "r": {
                                    "type": "OBJECT",
                                    "properties": {"r": {"type": "OBJECT"}},
                                },
                                "l": {"type": "ARRAY", "items": {"type": "BOOLEAN"}},
                                "z": {"nullable": True, "type": "STRING"},
                                "e": {},
                            },
                            "required": ["a"],
                        },
                    },
                    {"name": "g"},
                ]
            }]
        },
        tuple(
            f"tools[0].function.parameters.{path}"
            for path in (
                "additionalProperties", "properties.n.exclusiveMinimum",
                "properties.s.format", "properties.r.properties.r.$ref",
                "properties.e.enum",
            )
        ),
        OLD,
    ),
]  # fmt: skip

TUNING_CASES = [
    Case(
        "everything that tunes",
        {
            "temperature": 0.5, "top_p": 0.9, "top_k": 40, "n": 2, "seed": -7,
            "max_output_tokens": 100, "stop": ("a", "b"), "presence_penalty": 0.5,
            "frequency_penalty": -0.5, "logprobs": True, "top_logprobs": 3,
            "service_tier": "default",
        },
        {
            "serviceTier": "standard",
            **config(
                temperature=0.5, topP=0.9, topK=40, candidateCount=2,
                maxOutputTokens=100, stopSequences=["a", "b"], seed=-7,
                presencePenalty=0.5, frequencyPenalty=-0.5, responseLogprobs=True,
                logprobs=3,
            ),
        },
    ),
    Case(
        "what newer models no longer take",
        {
            "temperature": 0.5, "top_p": 0.9, "top_k": 40, "presence_penalty": 0.5,
            "frequency_penalty": -0.5, "max_output_tokens": 9,
        },
        config(maxOutputTokens=9),
        ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty"),
        NEW,
    ),
    Case(
        "the default is no loss there",
        {"temperature": 1, "top_p": 1.0, "presence_penalty": 0.0}, {}, (), NEW,
    ),
    Case(
        "what has no word",
        {
            "logit_bias": Raw(b'{"1":2}'), "end_user": "ann", "service_tier": "scale",
            "extras": {name: Raw(b'"x"') for name in sorted(DROPPED)},
        },
        {},
        ("user", "logit_bias", *sorted(DROPPED), "service_tier"),
    ),
    Case(
        "log probabilities of a stream",
        {"stream": True, "logprobs": True, "top_logprobs": 2},
        {"generationConfig": {"responseLogprobs": True, "logprobs": 2}},
    ),
    Case(
        "safety settings and a modality of text pass",
        {
            "extras": {
                "safety_settings": Raw(
                    b'[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"OFF"}]'
                ),
                "modalities": Raw(b'["text"]'), "audio": Raw(b"null"),
            }
        },
        {
            "safetySettings": [
                {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}
            ]
        },
    ),
    Case(
        "JSON of any kind", {"output_format": c.OutputFormat("json_object")},
        config(responseMimeType="application/json"),
    ),
    Case("text is text", {"output_format": c.OutputFormat("text")}, {}),
    Case(
        "JSON of a schema",
        {"output_format": c.OutputFormat("json_schema", "x", None, SCHEMA, True)},
        config(
            responseMimeType="application/json",
            responseJsonSchema=FUNCTION["parametersJsonSchema"],
        ),
    ),
    Case(
        "JSON of a schema, on an older model",
        {"output_format": c.OutputFormat("json_schema", "x", None, SCHEMA)},
        config(
            responseMimeType="application/json",
            responseSchema={
                "type": "OBJECT", "properties": {"city": {"type": "STRING"}},
            },
        ),
        model=OLD,
    ),
    Case(
        "JSON beside functions, where the model has both",
        {"tools": (CLOCK,), "output_format": c.OutputFormat("json_object")},
        {
            "tools": [{"functionDeclarations": [{"name": "clock"}]}],
            **config(responseMimeType="application/json"),
        },
        model=FLASH_3,
    ),
]  # fmt: skip

CASES = [*MESSAGE_CASES, *TOOL_CASES, *TUNING_CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_requests_become_what_the_sdk_types_allow(case, judge):
    names = {"end_user": "user"}
    rendered = write(case.model, names=names, **case.asks)
    expected = {"contents": [user({"text": "Hi"})], **case.body}
    assert judge(rendered.body) == expected
    assert rendered.dropped == case.dropped


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_mock_takes_them_too(case):
    body = msgspec.json.decode(write(case.model, **case.asks).body)
    mock_rules(GENERATE, body)
    mock_check.check(body, MODELS[case.model])


# ---------------------------------------------------------------- thinking


SHOWN = {"includeThoughts": True}
AUTO = c.Thinking(enabled=True)
THINKING = [
    (FLASH, c.Thinking(effort="none"), {"thinkingBudget": 0}, ()),
    (FLASH, c.Thinking(enabled=False), {"thinkingBudget": 0}, ()),
    (FLASH, c.Thinking(budget_tokens=0), {"thinkingBudget": 0}, ()),
    (FLASH, c.Thinking(effort="minimal"), {**SHOWN, "thinkingBudget": 1024}, ()),
    (FLASH, c.Thinking(effort="low"), {**SHOWN, "thinkingBudget": 1024}, ()),
    (FLASH, c.Thinking(effort="medium"), {**SHOWN, "thinkingBudget": 8192}, ()),
    (PRO, c.Thinking(effort="high"), {**SHOWN, "thinkingBudget": 24_576}, ()),
    (LITE, AUTO, {**SHOWN, "thinkingBudget": -1}, ()),
    (LITE, c.Thinking(adaptive=True), {**SHOWN, "thinkingBudget": -1}, ()),
    (
        FLASH, c.Thinking(budget_tokens=5000, display="omitted"),
        {"thinkingBudget": 5000}, (),
    ),
    (
        FLASH, c.Thinking(budget_tokens=31_999, enabled=True),
        {**SHOWN, "thinkingBudget": 24_576}, ("thinking.budget_tokens",),
    ),
    (
        FLASH, c.Thinking(effort="low", budget_tokens=2048),
        {**SHOWN, "thinkingBudget": 2048}, ("thinking.effort",),
    ),
    (FLASH_3, c.Thinking(effort="minimal"), {**SHOWN, "thinkingLevel": "MINIMAL"}, ()),
    (FLASH_3, c.Thinking(effort="none"), {"thinkingLevel": "MINIMAL"}, ("thinking",)),
    (PRO_3, c.Thinking(effort="low"), {**SHOWN, "thinkingLevel": "LOW"}, ()),
    (PRO_3, c.Thinking(effort="medium"), {**SHOWN, "thinkingLevel": "HIGH"}, ()),
    (PRO_3, c.Thinking(effort="high"), {**SHOWN, "thinkingLevel": "HIGH"}, ()),
    (NEW, c.Thinking(effort="minimal"), {**SHOWN, "thinkingLevel": "LOW"}, ()),
    (NEW, AUTO, SHOWN, ()),
    (
        NEW, c.Thinking(budget_tokens=2000, enabled=True),
        {**SHOWN, "thinkingLevel": "LOW"}, ("thinking.budget_tokens",),
    ),
    (
        NEW, c.Thinking(budget_tokens=10_000),
        {**SHOWN, "thinkingLevel": "MEDIUM"}, ("thinking.budget_tokens",),
    ),
    (
        NEW, c.Thinking(budget_tokens=31_999),
        {**SHOWN, "thinkingLevel": "HIGH"}, ("thinking.budget_tokens",),
    ),
    (NEW, c.Thinking(budget_tokens=-1), SHOWN, ("thinking.budget_tokens",)),
    (
        NEW, c.Thinking(effort="low", budget_tokens=9000),
        {**SHOWN, "thinkingLevel": "LOW"}, ("thinking.budget_tokens",),
    ),
    (OLD, c.Thinking(effort="high"), None, ("thinking",)),
    (OLD, c.Thinking(effort="none"), None, ()),
    (OLD, c.Thinking(enabled=False), None, ()),
    (NEW, c.Thinking(), None, ()),
    ("gemini-9-neon", c.Thinking(effort="xhigh"), {**SHOWN, "thinkingLevel": "XHIGH"}, ()),
]  # fmt: skip


@pytest.mark.parametrize(("model", "asked", "expected", "dropped"), THINKING)
def test_thinking_is_asked_for_as_each_model_takes_it(
    model, asked, expected, dropped, judge
):
    rendered = write(model, thinking=asked)
    body = judge(rendered.body)
    assert body.get("generationConfig", {}).get("thinkingConfig") == expected
    assert rendered.dropped == dropped
    if model in MODELS:
        mock_check.check(body, MODELS[model])


# ---------------------------------------------------------------- signatures


def thoughts_and_calls(model: str, *parts: c.Part) -> tuple[list[Any], tuple[str, ...]]:
    messages = say(
        ("user", (c.Text("Hi"),)), ("assistant", parts), ("user", (c.Text("go on"),))
    )
    rendered = write(model, messages=messages)
    return msgspec.json.decode(rendered.body)["contents"][1]["parts"], rendered.dropped


def call(n: int, signature: str | None = None) -> c.ToolCall:
    return c.ToolCall(f"c{n}", "f", "{}", signature=signature)


def called(n: int, **more: Any) -> Any:
    return {"functionCall": {"name": "f", "args": {}, "id": f"c{n}"}, **more}


TEXT = c.Text("x")
SIGNATURES = [
    # as OpenAI's clients give it back: on the call, and on an empty thought
    (
        NEW, (c.Reasoning("", tagged("YQ==")), TEXT, call(1, "YQ=="), call(2)),
        [{"text": "x"}, called(1, thoughtSignature="YQ=="), called(2)], (),
    ),
    # as Anthropic's do: on a thought only
    (
        NEW, (c.Reasoning("hm", tagged("YQ==")), call(1), call(2)),
        [
            {"text": "hm", "thought": True}, called(1, thoughtSignature="YQ=="),
            called(2),
        ],
        (),
    ),
    # a text's signature stands behind it
    (
        FLASH, (TEXT, c.Reasoning("", tagged("YQ=="))),
        [{"text": "x"}, {"text": "", "thoughtSignature": "YQ=="}], (),
    ),
    # nobody's: of another model, or lost
    (NEW, (call(1), call(2)), [called(1, thoughtSignature=SKIP), called(2)], ()),
    (FLASH, (call(1), call(2)), [called(1), called(2)], ()),
    (
        NEW, (c.Reasoning("hm", "Claude's"), call(1)),
        [called(1, thoughtSignature=SKIP)], ("messages[1].reasoning",),
    ),
    (
        FLASH, (c.Reasoning(encrypted="sealed"), call(1, "not base64!")),
        [called(1)], ("messages[1].reasoning", "messages[1].tool_calls[0].signature"),
    ),
    # a thought without proof is a thought; an empty one is nothing
    (FLASH, (c.Reasoning("hm"), TEXT), [{"text": "hm", "thought": True}, {"text": "x"}], ()),
    (FLASH, (c.Reasoning("", ""), TEXT), [{"text": "x"}], ()),
    # one thought for each of two signatures
    (
        NEW, (c.Reasoning("a", tagged("YQ==")), c.Reasoning("b", tagged("Yg==")), call(1)),
        [
            {"text": "a", "thought": True, "thoughtSignature": "YQ=="},
            {"text": "b", "thought": True}, called(1, thoughtSignature="Yg=="),
        ],
        (),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("model", "parts", "expected", "dropped"), SIGNATURES)
def test_signatures_find_their_way_back(model, parts, expected, dropped):
    assert thoughts_and_calls(model, *parts) == (expected, dropped)


# ---------------------------------------------------------------- refusals


def turn(*parts: c.Part, role: str = "user") -> dict[str, Any]:
    return {"messages": say(("user", (c.Text("Hi"),)), (role, parts))}


def result_of(*parts: Any) -> dict[str, Any]:
    return {
        "messages": say(
            ("user", (c.Text("Hi"),)), ("assistant", (CALL,)),
            ("tool", (c.ToolResult("call_1", parts),)),
        )
    }  # fmt: skip


REFUSED = [
    ({"messages": say(("system", (c.Text("x"),)))}, "messages", FLASH),
    (turn(c.Text("x"), role="assistant"), "messages[1]", NEW),
    (turn(c.Image(c.Inline("image/gif", GIF))), "messages[1].content[0]", FLASH),
    (turn(c.Image(c.Inline("", "AAAA"))), "messages[1].content[0]", FLASH),
    (turn(c.Image(c.Remote("ftp://x.test/a.png"))), "messages[1].content[0]", FLASH),
    (turn(c.Image(c.Remote("https://x.test/a.png"))), "messages[1].content[0]", OLD),
    (turn(c.Document(c.FileReference("file-1"))), "messages[1].content[0]", FLASH),
    (
        turn(c.Document(c.Inline("application/zip", "AAAA"))),
        "messages[1].content[0]", FLASH,
    ),
    (turn(c.Audio(c.Inline("video/mp4", "AAAA"))), "messages[1].content[0]", FLASH),
    (turn(c.Image(c.Inline("", PNG)), role="system"), "messages[1].content[0]", FLASH),
    (turn(RESULT, role="tool"), "messages[1]", FLASH),
    (
        turn(c.ToolCall("c", "f", "x", custom=True), role="assistant"),
        "messages[1].tool_calls[0]", FLASH,
    ),
    (
        turn(c.ToolCall("c", "f", "[1]"), role="assistant"),
        "messages[1].tool_calls[0].function.arguments", FLASH,
    ),
    (result_of(c.Image(c.Inline("", PNG))), "messages[2].content[0]", FLASH),
    ({"tools": (c.BuiltinTool("web_search", Raw(b"{}")),)}, "tools[0]", FLASH),
    ({"tools": (TOOL, c.CustomTool("x"))}, "tools[1]", FLASH),
    ({"tools": (c.Tool("1st"),)}, "tools[0].function.name", FLASH),
    (
        {"tools": (c.Tool("f", parameters=Raw(b'{"type":"array"}')),)},
        "tools[0].function.parameters.type", FLASH,
    ),
    (
        {"tools": (c.Tool("f", parameters=Raw(b"[]")),)},
        "tools[0].function.parameters", OLD,
    ),
    ({"tool_choice": c.ToolChoice("required")}, "tool_choice", FLASH),
    ({"tools": (TOOL,), "tool_choice": c.ToolChoice("named")}, "tool_choice", FLASH),
    (
        {"tools": (TOOL,), "tool_choice": c.ToolChoice("named", ("x",))},
        "tool_choice", FLASH,
    ),
    (
        {"tools": (c.WebSearch("t"),), "output_format": c.OutputFormat("json_object")},
        "response_format", FLASH,
    ),
    (
        {"output_format": c.OutputFormat("json_schema")},
        "response_format.json_schema.schema", FLASH,
    ),
    (
        {"output_format": c.OutputFormat("json_schema", schema=Raw(b"1"))},
        "response_format.json_schema.schema", OLD,
    ),
    ({"stop": tuple("abcdef")}, "stop", FLASH),
    ({"seed": 2**31}, "seed", FLASH),
    ({"extras": {"web_search_options": Raw(b"{}")}}, "web_search_options", FLASH),
    ({"extras": {"modalities": Raw(b'["audio"]')}}, "modalities", FLASH),
    ({"extras": {"safety_settings": Raw(b'{"a":1}')}}, "safety_settings", FLASH),
    ({"thinking": c.Thinking(effort="huge")}, "thinking", FLASH),
    ({"thinking": c.Thinking(effort="xhigh")}, "thinking", FLASH),
    ({"thinking": c.Thinking(effort="max")}, "thinking", NEW),
    ({"thinking": c.Thinking(effort="none")}, "thinking", PRO),
    ({"thinking": c.Thinking(enabled=False)}, "thinking", NEW),
    ({"thinking": AUTO}, "thinking", OLD),
    ({"thinking": c.Thinking(budget_tokens=1)}, "thinking.budget_tokens", LITE),
    ({"thinking": c.Thinking(budget_tokens=-2)}, "thinking.budget_tokens", NEW),
    (
        {"thinking": c.Thinking(effort="low", display="loud")}, "thinking.display", NEW,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("asks", "param", "model"), REFUSED)
def test_what_cannot_be_kept_is_refused_by_its_name(asks, param, model):
    with pytest.raises(BadRequest) as caught:
        write(model, names={"output_format": "response_format"}, **asks)
    assert caught.value.param == param
    assert caught.value.status == 400


def test_what_other_formats_could_say_has_its_own_code():
    with pytest.raises(Unsupported) as caught:
        write(tools=(c.CustomTool("x"),))
    assert caught.value.code == "unsupported_parameter"


def test_arguments_and_schemas_keep_the_clients_bytes():
    schema = Raw(b'{ "type":"object",  "properties":{"n":{"maximum":1e400}}}')
    arguments = '{"n": 1.10, "n2":12345678901234567890}'
    messages = say(
        ("user", (c.Text("Hi"),)), ("assistant", (c.ToolCall("c", "f", arguments),)),
        ("tool", (c.ToolResult("c", ()),)),
    )  # fmt: skip
    body = write(messages=messages, tools=(c.Tool("f", parameters=schema),)).body
    assert bytes(schema) in body
    assert arguments.encode() in body


# ---------------------------------------------------------------- models


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("gemini-2.5-flash", "2.5-flash"), ("gemini-2.5-flash-lite", "2.5-flash-lite"),
        ("models/gemini-2.5-pro", "2.5-pro"), ("gemini-1.5-pro-003", "1.5-pro"),
        ("gemini-2.5-flash-lite-preview-09-2025", "2.5-flash-lite"),
        ("gemini-3-pro-preview", "3-pro"), ("gemini-3.1-flash-lite", "3.1-flash-lite"),
        ("gemini-2.0-flash-001", "2.0-flash"), ("GEMINI-4-Argon", "4-argon"),
    ],
)  # fmt: skip
def test_a_model_is_known_in_every_spelling(name, family):
    assert abilities(name) is KNOWN[family]


@pytest.mark.parametrize(
    "name", ["gemini-9-pro", "gemma-3-27b-it", "gemini-2.5-flash-image", ""]
)
def test_an_unknown_model_may_do_everything(name):
    assert abilities(name) is UNKNOWN


def test_the_levels_are_those_of_the_sdk():
    known = {level.value for level in types.ThinkingLevel} - {
        "THINKING_LEVEL_UNSPECIFIED"
    }
    assert {level.upper() for level in ALL_LEVELS} == known


def test_the_mock_and_the_format_agree_on_the_models():
    """Two tables from the same pages, written twice."""
    for name, mock in MODELS.items():
        able = abilities(name)
        assert able is not UNKNOWN
        assert able.thinking == (mock.thinking or "none")
        if mock.budgets != (0, 0):
            assert (able.least_budget, able.most_budget) == mock.budgets
            assert able.off == mock.stops_thinking
        if mock.levels:
            assert tuple(level.upper() for level in able.levels) == mock.levels
        assert able.signed_calls == mock.signs
        assert able.json_with_tools == mock.json_with_tools
        assert able.penalties != mock.modern
        assert able.prefill != mock.modern


def test_a_body_of_32_mib_does_not_hold_the_loop():
    picture = c.Image(c.Inline("image/png", PNG * (2 * 1024 * 1024)))
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
        c.FileReference("files/1"), c.Inline("audio/wav", WAV),
    ]
)  # fmt: skip
TEXTS = st.builds(c.Text, WORDS, CACHES)
REASONINGS = st.builds(
    c.Reasoning,
    WORDS,
    st.sampled_from([None, "", "s", tagged(sign("a", {})), tagged(sign("b", {}))]),
    st.sampled_from([None, None, "e"]),
)
SIGNS = st.sampled_from([None, sign("a", {}), sign("c", {}), "?"])
PARTS = st.one_of(
    TEXTS,
    st.builds(c.Image, SOURCES, st.sampled_from([None, "low", "x"]), CACHES),
    st.builds(c.Document, SOURCES, st.sampled_from([None, "f"]), CACHES),
    st.builds(c.Audio, SOURCES),
    st.builds(c.Refusal, WORDS),
    REASONINGS,
    st.builds(
        c.ToolCall,
        st.sampled_from(["call_1", "a:b", ""]),
        st.just("weather"),
        st.sampled_from(["{}", "", '{"a":1}', "[]"]),
        signature=SIGNS,
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
            st.lists(st.one_of(TEXTS, st.builds(c.Image, SOURCES)), max_size=2).map(
                tuple
            ),
            st.booleans(),
            CACHES,
        ).map(lambda result: (result,)),
        where=st.just("messages[?]"),
    ),
)
THINKINGS = st.builds(
    c.Thinking,
    st.sampled_from([None, "none", "minimal", "low", "high", "max"]),
    st.sampled_from([None, -1, 0, 1024, 99_999]),
    st.sampled_from([None, True, False]),
    st.booleans(),
    st.sampled_from([None, "omitted"]),
)
TUNING: dict[str, Any] = {
    "tools": st.sampled_from([(), (TOOL,), (TOOL, CLOCK)]),
    "tool_choice": st.sampled_from(
        [None, c.ToolChoice("auto"), c.ToolChoice("none"), c.ToolChoice("required"),
         c.ToolChoice("named", ("weather",)), c.ToolChoice("auto", ("weather",))]
    ),
    "parallel_tool_calls": st.sampled_from([None, True, False]),
    "max_output_tokens": st.sampled_from([None, 1, 5000]),
    "temperature": st.sampled_from([None, 0.0, 1.0]),
    "top_p": st.sampled_from([None, 0.5, 1.0]),
    "presence_penalty": st.sampled_from([None, 0.5]),
    "output_format": st.sampled_from(
        [None, c.OutputFormat("json_object"),
         c.OutputFormat("json_schema", "x", schema=SCHEMA)]
    ),
    "thinking": st.none() | THINKINGS,
    "stream": st.booleans(),
}  # fmt: skip
REQUESTS = st.builds(
    c.Request,
    model=st.just("asked"),
    messages=st.lists(MESSAGES, max_size=5).map(lambda m: (*HELLO, *m)),
    **TUNING,
)
NAMES = st.sampled_from(sorted(MODELS))


@given(request=REQUESTS, model=NAMES)
def test_any_request_is_one_that_the_sdk_allows_or_is_refused_by_name(
    request, model, judge
):
    refused: BadRequest | None = None
    try:
        judge(PROVIDER.write_request(request, model, 4096).body)
    except BadRequest as exc:
        refused = exc
    assert refused is None or refused.param


def _is_gemini(part: c.Part) -> bool:
    signature = part.signature if isinstance(part, c.Reasoning) else None
    return untagged(signature) is not None


@st.composite
def conversations(draw: st.DrawFn) -> tuple[c.Message, ...]:
    """Draw a conversation in which every call is answered in the next turn."""
    turns: list[tuple[str, tuple[c.Part, ...]]] = [("user", (c.Text("Hi"),))]
    for step in range(draw(st.integers(0, 3))):
        spoken = st.one_of(TEXTS, REASONINGS)
        before = draw(st.lists(spoken, max_size=2))
        after = draw(st.lists(TEXTS, max_size=1))
        names = draw(st.lists(st.sampled_from(["weather", "clock"]), max_size=3))
        proofs = [sign("a", {"functionCall": {"name": name}}) for name in names]
        calls = [
            c.ToolCall(
                f"call_{step}_{i}", name, "{}",
                signature=draw(st.sampled_from([None, "?", proofs[i]])),
            )
            for i, name in enumerate(names)
        ]  # fmt: skip
        signed = [i for i, part in enumerate(before) if _is_gemini(part)]
        if signed and calls:
            # What the thought before a call carries is that call's.
            last = signed[-1]
            before[last] = c.Reasoning(before[last].text, tagged(proofs[0]))
        turns.append(("assistant", (*before, *calls, *after)))
        results = draw(st.permutations([c.ToolResult(one.id, ()) for one in calls]))
        turns += [("tool", (one,)) for one in results]
        if draw(st.booleans()) or not calls:
            turns.append(("user", (c.Text("and?"),)))
    return say(*turns)


@given(messages=conversations(), model=NAMES, data=st.data())
def test_any_conversation_in_order_is_one_that_the_mock_takes(messages, model, data):
    request = data.draw(
        st.builds(
            c.Request, model=st.just("asked"), messages=st.just(messages), **TUNING
        )
    )
    try:
        rendered = PROVIDER.write_request(request, model, 1)
    except BadRequest:
        rendered = write(model)
    body = msgspec.json.decode(rendered.body)
    mock_rules(GENERATE, body)
    mock_check.check(body, MODELS[model])


def test_what_openais_clients_call_things_is_what_errors_name():
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],'
        b'"response_format":{"type":"json_object"},"user":"ann","reasoning_effort":"low",'
        b'"web_search_options":{}}'
    )
    request = OPENAI.read_request(body, read_members(body))
    with pytest.raises(Unsupported) as caught:
        PROVIDER.write_request(request, FLASH, 1)
    assert caught.value.param == "response_format"
    rendered = PROVIDER.write_request(request, FLASH_3, 1)
    assert rendered.dropped == ("user",)
    with_level = PROVIDER.write_request(request, OLD.replace("2.0", "9"), 1).body
    assert b'"thinkingLevel":"LOW"' in with_level


def test_every_part_of_a_message_can_be_written_or_is_refused():
    kinds = {kind.__name__ for kind in get_args(c.Part)}
    assert kinds == {
        "Text", "Image", "Document", "Audio", "Refusal", "Reasoning", "ToolCall",
        "ToolResult", "Search",
    }  # fmt: skip
