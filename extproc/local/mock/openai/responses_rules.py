"""The Responses request, field by field.

Reference: https://platform.openai.com/docs/api-reference/responses/create. Names, kinds
and enums are proved against `openai.types.responses`; bounds are the API's own. The items
and tools of what OpenAI runs itself (searches, containers, computers, MCP) are known by
their type only: the mock runs none of them.
"""

from __future__ import annotations

from typing import Final

from extproc.local.mock.openai.rules import (
    BREAKPOINT,
    FUNCTION_NAME,
    MODERATION,
    NAME,
)
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

STATUS: Final = enum("in_progress", "completed", "incomplete")
PHASE: Final = nullable(enum("commentary", "final_answer"))
CALLER: Final = nullable(
    Tagged(
        {
            "direct": Obj({"type!": enum("direct")}),
            "program": Obj({"type!": enum("program"), "caller_id!": Str()}),
        },
        shown=False,
    )
)

# ---------------------------------------------------------------- content parts

INPUT_PARTS: Final = {
    "input_text": Obj(
        {
            "type!": enum("input_text"),
            "text!": Str(),
            "prompt_cache_breakpoint": nullable(BREAKPOINT),
        }
    ),
    "input_image": Obj(
        {
            "type!": enum("input_image"),
            "detail": nullable(enum("low", "high", "auto", "original")),
            "file_id": nullable(Str()),
            "image_url": nullable(Str()),
            "prompt_cache_breakpoint": nullable(BREAKPOINT),
        }
    ),
    "input_file": Obj(
        {
            "type!": enum("input_file"),
            "detail": enum("auto", "low", "high"),
            "file_data": nullable(Str()),
            "file_id": nullable(Str()),
            "file_url": nullable(Str()),
            "filename": nullable(Str()),
            "prompt_cache_breakpoint": nullable(BREAKPOINT),
        }
    ),
}
OUTPUT_PARTS: Final = {
    "output_text": Obj(
        {
            "type!": enum("output_text"),
            "text!": Str(),
            "annotations": ListOf(FreeObj()),
            "logprobs": ListOf(FreeObj()),
        }
    ),
    "refusal": Obj({"type!": enum("refusal"), "refusal!": Str()}),
}

RESULT: Final = one_of(Str(), ListOf(Tagged(INPUT_PARTS, shown=False)))

# ---------------------------------------------------------------- items

MESSAGE: Final = Obj(
    {
        "type": enum("message"),
        "role!": enum("user", "assistant", "system", "developer"),
        "content!": one_of(
            Str(), ListOf(Tagged({**INPUT_PARTS, **OUTPUT_PARTS}, shown=False))
        ),
        "id": Str(pattern=r"^msg"),
        "status": STATUS,
        "phase": PHASE,
    }
)
"""All three forms: the easy one, the user's, and the assistant's own."""

REASONING: Final = Obj(
    {
        "type!": enum("reasoning"),
        "id!": Str(pattern=r"^rs"),
        "summary!": ListOf(Obj({"type!": enum("summary_text"), "text!": Str()})),
        "content": ListOf(Obj({"type!": enum("reasoning_text"), "text!": Str()})),
        "encrypted_content": nullable(Str()),
        "status": STATUS,
    }
)

_CALL: Final[dict[str, Rule]] = {
    "call_id!": Str(min=1, max=64),
    "name!": FUNCTION_NAME,
    "async": Bool(),
    "caller": CALLER,
    "namespace": Str(),
}
FUNCTION_CALL: Final = Obj(
    {
        "type!": enum("function_call"),
        **_CALL,
        "arguments!": Str(),
        "id": Str(pattern=r"^fc"),
        "status": STATUS,
    }
)
CUSTOM_CALL: Final = Obj(
    {
        "type!": enum("custom_tool_call"),
        **_CALL,
        "input!": Str(),
        "id": Str(pattern=r"^ctc"),
    }
)
FUNCTION_OUTPUT: Final = Obj(
    {
        "type!": enum("function_call_output"),
        "output!": RESULT,
        "id": nullable(Str()),
        "call_id": nullable(Str(min=1, max=64)),
        "caller": CALLER,
        "name": nullable(Str()),
        "namespace": nullable(Str()),
        "status": nullable(STATUS),
    }
)
CUSTOM_OUTPUT: Final = Obj(
    {
        "type!": enum("custom_tool_call_output"),
        "output!": RESULT,
        "call_id!": Str(min=1, max=64),
        "id": Str(),
        "caller": CALLER,
    }
)
ITEM_REFERENCE: Final = Obj(
    {"type": nullable(enum("item_reference")), "id!": Str(min=1)}
)

ITEMS: Final = {
    "message": MESSAGE,
    "reasoning": REASONING,
    "function_call": FUNCTION_CALL,
    "function_call_output": FUNCTION_OUTPUT,
    "custom_tool_call": CUSTOM_CALL,
    "custom_tool_call_output": CUSTOM_OUTPUT,
    "item_reference": ITEM_REFERENCE,
}

OPEN_ITEMS: Final = frozenset(
    {
        "additional_tools", "apply_patch_call", "apply_patch_call_output",
        "code_interpreter_call", "compaction", "compaction_trigger", "computer_call",
        "computer_call_output", "configuration_update", "file_search_call",
        "image_generation_call", "local_shell_call", "local_shell_call_output",
        "mcp_approval_request", "mcp_approval_response", "mcp_call", "mcp_list_tools",
        "program", "program_output", "shell_call", "shell_call_output",
        "tool_search_call", "tool_search_output", "web_search_call",
    }
)  # fmt: skip
"""The items of what OpenAI runs itself."""

# ---------------------------------------------------------------- tools and shapes

CALLERS: Final = nullable(ListOf(enum("direct", "programmatic")))

TOOLS: Final = {
    "function": Obj(
        {
            "type!": enum("function"),
            "name!": FUNCTION_NAME,
            "parameters!": nullable(FreeObj()),
            # The SDK's types demand it; clients leave it out, and OpenAI takes that.
            "strict": nullable(Bool()),
            "description": nullable(Str()),
            "allowed_callers": CALLERS,
            "async": Bool(),
            "defer_loading": Bool(),
            "output_schema": nullable(FreeObj()),
        }
    ),
    "custom": Obj(
        {
            "type!": enum("custom"),
            "name!": FUNCTION_NAME,
            "description": Str(),
            "allowed_callers": CALLERS,
            "async": Bool(),
            "defer_loading": Bool(),
            "format": Tagged(
                {
                    "text": Obj({"type!": enum("text")}),
                    "grammar": Obj(
                        {
                            "type!": enum("grammar"),
                            "definition!": Str(min=1),
                            "syntax!": enum("lark", "regex"),
                        }
                    ),
                },
                shown=False,
            ),
        }
    ),
}

OPEN_TOOLS: Final = frozenset(
    {
        "apply_patch", "code_interpreter", "computer", "computer_use_preview",
        "file_search", "image_generation", "local_shell", "mcp", "namespace",
        "programmatic_tool_calling", "shell", "tool_search", "web_search",
        "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11",
    }
)  # fmt: skip
"""The tools that OpenAI runs itself."""

HOSTED_CHOICES: Final = (
    "file_search", "web_search_preview", "computer", "computer_use_preview",
    "computer_use", "web_search_preview_2025_03_11", "image_generation",
    "code_interpreter", "programmatic_tool_calling", "apply_patch", "shell",
)  # fmt: skip

TOOL_CHOICE: Final = one_of(
    enum("none", "auto", "required"),
    Tagged(
        {
            "function": Obj({"type!": enum("function"), "name!": Str()}),
            "custom": Obj({"type!": enum("custom"), "name!": Str()}),
            "allowed_tools": Obj(
                {
                    "type!": enum("allowed_tools"),
                    "mode!": enum("auto", "required"),
                    "tools!": ListOf(FreeObj(), min=1),
                }
            ),
            "mcp": Obj(
                {"type!": enum("mcp"), "server_label!": Str(), "name": nullable(Str())}
            ),
            **{name: Obj({"type!": enum(name)}) for name in HOSTED_CHOICES},
        },
        shown=False,
    ),
)

TEXT_FORMAT: Final = Tagged(
    {
        "text": Obj({"type!": enum("text")}),
        "json_object": Obj({"type!": enum("json_object")}),
        "json_schema": Obj(
            {
                "type!": enum("json_schema"),
                "name!": Str(min=1, max=64, pattern=NAME),
                "schema!": FreeObj(),
                "description": Str(),
                "strict": nullable(Bool()),
            }
        ),
    },
    shown=False,
)

EFFORT: Final = nullable(
    enum("none", "minimal", "low", "medium", "high", "xhigh", "max")
)
SUMMARY: Final = nullable(enum("auto", "concise", "detailed"))

INCLUDABLE: Final = enum(
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
)

RESPONSES: Final = Obj(
    {
        "access_programs": Obj(
            {"cyber": enum("standard", "daybreak_blue", "daybreak_red")}
        ),
        "background": nullable(Bool()),
        "background_options": Obj(
            {"completion_window": enum("soonest", "2h", "8h"), "continuation_id": Str()}
        ),
        "context_management": nullable(
            ListOf(Obj({"type!": Str(), "compact_threshold": nullable(Int(1))}))
        ),
        "conversation": nullable(one_of(Str(), Obj({"id!": Str()}))),
        "image": Obj({"context_compression": enum("auto", "enabled", "disabled")}),
        "include": nullable(ListOf(INCLUDABLE)),
        "input": one_of(Str(), ListOf(FreeObj())),
        "instructions": nullable(Str()),
        "max_output_tokens": nullable(Int(16)),
        "max_tool_calls": nullable(Int(1)),
        "metadata": nullable(FreeObj(Str(max=512), max=16, key_max=64)),
        "model": Str(min=1),
        "moderation": nullable(MODERATION),
        "parallel_tool_calls": nullable(Bool()),
        "previous_response_id": nullable(Str()),
        "prompt": nullable(
            Obj(
                {
                    "id!": Str(),
                    "variables": nullable(FreeObj()),
                    "version": nullable(Str()),
                }
            )
        ),
        "prompt_cache_key": nullable(Str()),
        # Not in the SDK's types; Codex sends it with every request.
        "client_metadata": nullable(FreeObj()),
        "prompt_cache_options": Obj(
            {
                "comparison_response_id": nullable(Str()),
                "mode": enum("implicit", "explicit"),
                "prewarm": Bool(),
                "ttl": enum("30m", "12h"),
            }
        ),
        "prompt_cache_retention": nullable(enum("in_memory", "24h")),
        "reasoning": nullable(
            Obj(
                {
                    "context": nullable(enum("auto", "current_turn", "all_turns")),
                    "effort": EFFORT,
                    "generate_summary": SUMMARY,
                    "mode": Str(),
                    "summary": SUMMARY,
                }
            )
        ),
        "safety_identifier": nullable(Str(max=64)),
        "service_tier": nullable(
            enum("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")
        ),
        "store": nullable(Bool()),
        "stream": nullable(Bool()),
        "stream_options": nullable(Obj({"include_obfuscation": Bool()})),
        "temperature": nullable(Num(0, 2)),
        "text": Obj(
            {
                "format": TEXT_FORMAT,
                "verbosity": nullable(enum("low", "medium", "high")),
            }
        ),
        "tool_choice": TOOL_CHOICE,
        "tools": ListOf(FreeObj(), max=128),
        "top_logprobs": nullable(Int(0, 20)),
        "top_p": nullable(Num(0, 1)),
        "truncation": nullable(enum("auto", "disabled")),
        "user": Str(),
    }
)
"""The request; its items and tools are checked one by one, by their types."""
