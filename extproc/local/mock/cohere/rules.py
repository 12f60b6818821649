"""The request of Cohere's ``/v2/chat``, field by field.

Reference: https://docs.cohere.com/reference/chat; the fields are those of
``cohere.v2.client`` and ``cohere.types``, version 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.local.mock.rules import (
    Bool,
    FreeObj,
    Int,
    ListOf,
    Num,
    Obj,
    Rule,
    Str,
    Tagged,
    enum,
    nullable,
    one_of,
)


def _by(tag: str, members: Mapping[str, Obj]) -> Tagged:
    return Tagged(members, tag)


TEXT: Final = Obj({"type!": enum("text"), "text!": Str()})
THOUGHT: Final = Obj({"type!": enum("thinking"), "thinking!": Str(min=1)})
IMAGE: Final = Obj(
    {
        "type!": enum("image_url"),
        "image_url!": Obj({"url!": Str(min=1), "detail": enum("auto", "low", "high")}),
    }
)
DOCUMENT: Final = Obj({"data!": FreeObj(), "id": Str(min=1)})
TOOL_DOCUMENT: Final = Obj({"type!": enum("document"), "document!": DOCUMENT})

CALL: Final = Obj(
    {
        "id!": Str(min=1),
        "type!": enum("function"),
        "function!": Obj({"name!": Str(min=1), "arguments!": Str()}),
    }
)

MESSAGE: Final = _by(
    "role",
    {
        "system": Obj(
            {
                "role!": enum("system"),
                "content!": one_of(Str(min=1), ListOf(TEXT, min=1)),
            }
        ),
        "user": Obj(
            {
                "role!": enum("user"),
                "content!": one_of(
                    Str(min=1),
                    ListOf(_by("type", {"text": TEXT, "image_url": IMAGE}), min=1),
                ),
            }
        ),
        "assistant": Obj(
            {
                "role!": enum("assistant"),
                "content": one_of(
                    Str(), ListOf(_by("type", {"text": TEXT, "thinking": THOUGHT}))
                ),
                "tool_calls": ListOf(CALL, min=1),
                "tool_plan": Str(),
                "citations": ListOf(FreeObj()),
            }
        ),
        "tool": Obj(
            {
                "role!": enum("tool"),
                "tool_call_id!": Str(min=1),
                "content!": one_of(
                    Str(),
                    ListOf(
                        _by("type", {"text": TEXT, "document": TOOL_DOCUMENT}), min=1
                    ),
                ),
            }
        ),
    },
)

TOOL: Final = Obj(
    {
        "type!": enum("function"),
        "function!": Obj(
            {"name!": Str(min=1), "description": Str(), "parameters!": FreeObj()}
        ),
    }
)

CHAT: Final[Rule] = Obj(
    {
        "model!": Str(min=1),
        "messages!": ListOf(MESSAGE, min=1),
        "stream": Bool(),
        "tools": ListOf(TOOL, min=1),
        "strict_tools": Bool(),
        "documents": ListOf(one_of(Str(), DOCUMENT)),
        "citation_options": Obj(
            {"mode": enum("ENABLED", "DISABLED", "FAST", "ACCURATE", "OFF")}
        ),
        "response_format": _by(
            "type",
            {
                "text": Obj({"type!": enum("text")}),
                "json_object": Obj(
                    {"type!": enum("json_object"), "json_schema": FreeObj()}
                ),
            },
        ),
        "safety_mode": enum("CONTEXTUAL", "STRICT", "OFF"),
        "max_tokens": nullable(Int(0)),
        "stop_sequences": ListOf(Str(), max=5),
        "temperature": Num(0),
        "seed": Int(0, (1 << 64) - 1),
        "frequency_penalty": Num(0, 1),
        "presence_penalty": Num(0, 1),
        "k": Int(0, 500),
        "p": Num(0.01, 0.99),
        "logprobs": Bool(),
        "tool_choice": enum("REQUIRED", "NONE"),
        "thinking": Obj({"type!": enum("enabled", "disabled"), "token_budget": Int(1)}),
        "priority": Int(0, 999),
    }
)
