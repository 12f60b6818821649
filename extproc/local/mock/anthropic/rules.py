"""The messages request, field by field; `blocks.py` and `tools.py` have the rest.

Reference: https://docs.anthropic.com/en/api/messages. Names, kinds and enums are proved
against `anthropic.types`; bounds are the API's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.local.mock.anthropic.blocks import BLOCK, TEXT, objects
from extproc.local.mock.anthropic.tools import CACHE_CONTROL, TOOL
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

CONTENT: Final = one_of(Str(), ListOf(BLOCK))
SYSTEM: Final = one_of(Str(), ListOf(objects(text=TEXT)))

MESSAGE: Final = Tagged(
    {
        "user": Obj({"role!": enum("user"), "content!": CONTENT}),
        "assistant": Obj({"role!": enum("assistant"), "content!": CONTENT}),
        "system": Obj({"role!": enum("system"), "content!": SYSTEM}),
    },
    tag="role",
    shown=False,
)

DISPLAY: Final = nullable(enum("summarized", "omitted"))

THINKING: Final = objects(
    enabled={"budget_tokens!": Int(1024), "display": DISPLAY},
    disabled={},
    between_tools={},
    adaptive={"display": DISPLAY},
)

TOOL_CHOICE: Final = objects(
    auto={"disable_parallel_tool_use": Bool()},
    any={"disable_parallel_tool_use": Bool()},
    tool={"name!": Str(), "disable_parallel_tool_use": Bool()},
    none={},
)

OUTPUT_CONFIG: Final = Obj(
    {
        "effort": nullable(enum("low", "medium", "high", "xhigh", "max")),
        "format": nullable(Obj({"type!": enum("json_schema"), "schema!": FreeObj()})),
    }
)

CONTAINER: Final = one_of(
    Obj(
        {
            "id": nullable(Str()),
            "skills": nullable(
                ListOf(
                    Obj(
                        {
                            "skill_id!": Str(),
                            "type!": enum("anthropic", "custom"),
                            "version": Str(),
                        }
                    ),
                    max=8,
                )
            ),
        }
    ),
    Str(),
)

_SHARED: Final[Mapping[str, Rule]] = {
    "model!": Str(min=1),
    "messages!": ListOf(MESSAGE, max=100_000),
    "cache_control": CACHE_CONTROL,
    "output_config": OUTPUT_CONFIG,
    "speed": nullable(enum("standard", "fast")),
    "system": SYSTEM,
    "thinking": THINKING,
    "tool_choice": TOOL_CHOICE,
    "tools": ListOf(TOOL),
}

MESSAGES: Final = Obj(
    {
        **_SHARED,
        "max_tokens!": Int(0),  # 0 fills the prompt cache and answers nothing
        "container": nullable(CONTAINER),
        "diagnostics": nullable(Obj({"previous_message_id": nullable(Str())})),
        "inference_geo": nullable(Str()),
        "metadata": Obj({"user_id": nullable(Str(max=256))}),
        "service_tier": enum("auto", "standard_only"),
        "stop_sequences": ListOf(Str()),
        "stream": Bool(),
    }
)
"""The request of API version 2026-10-21."""

OLDER_MESSAGES: Final = Obj(
    {
        **MESSAGES.fields,
        "temperature": Num(0, 1),
        "top_k": Int(0),
        "top_p": Num(0, 1),
    }
)
"""The request of API version 2023-06-01."""

COUNT_TOKENS: Final = Obj(_SHARED)
