"""The chat completion request, field by field.

Reference: https://platform.openai.com/docs/api-reference/chat/create. Names, kinds
and enums are proved against `openai.types.chat`; bounds are the API's own.
"""

from __future__ import annotations

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

NAME: Final = r"^[a-zA-Z0-9_-]+$"

BREAKPOINT: Final = Obj({"mode!": enum("explicit"), "ttl": enum("30m", "12h")})

TEXT_PART: Final = Obj(
    {"type!": enum("text"), "text!": Str(), "prompt_cache_breakpoint": BREAKPOINT}
)
IMAGE_PART: Final = Obj(
    {
        "type!": enum("image_url"),
        "image_url!": Obj(
            {"url!": Str(), "detail": enum("auto", "low", "high", "original")}
        ),
        "prompt_cache_breakpoint": BREAKPOINT,
    }
)
AUDIO_PART: Final = Obj(
    {
        "type!": enum("input_audio"),
        "input_audio!": Obj({"data!": Str(min=1), "format!": enum("wav", "mp3")}),
        "prompt_cache_breakpoint": BREAKPOINT,
    }
)
FILE_PART: Final = Obj(
    {
        "type!": enum("file"),
        "file!": Obj({"file_data": Str(), "file_id": Str(), "filename": Str()}),
        "prompt_cache_breakpoint": BREAKPOINT,
    }
)
REFUSAL_PART: Final = Obj({"type!": enum("refusal"), "refusal!": Str()})


def _parts(**members: Obj) -> Tagged:
    return Tagged(members, shown=False)


TEXT_ONLY: Final = _parts(text=TEXT_PART)
USER_PARTS: Final = _parts(
    text=TEXT_PART, image_url=IMAGE_PART, input_audio=AUDIO_PART, file=FILE_PART
)
ASSISTANT_PARTS: Final = _parts(text=TEXT_PART, refusal=REFUSAL_PART)


def _content(parts: Rule) -> Rule:
    return one_of(Str(), ListOf(parts, min=1))


TOOL_CALL: Final = Tagged(
    {
        "function": Obj(
            {
                "id!": Str(min=1, max=40),
                "type!": enum("function"),
                "function!": Obj(
                    {"name!": Str(min=1, max=64, pattern=NAME), "arguments!": Str()}
                ),
            }
        ),
        "custom": Obj(
            {
                "id!": Str(min=1, max=40),
                "type!": enum("custom"),
                "custom!": Obj({"name!": Str(min=1, max=64), "input!": Str()}),
            }
        ),
    },
    shown=False,
)

MESSAGE: Final = Tagged(
    {
        "system": Obj(
            {"role!": enum("system"), "content!": _content(TEXT_ONLY), "name": Str()}
        ),
        "developer": Obj(
            {"role!": enum("developer"), "content!": _content(TEXT_ONLY), "name": Str()}
        ),
        "user": Obj(
            {"role!": enum("user"), "content!": _content(USER_PARTS), "name": Str()}
        ),
        "assistant": Obj(
            {
                "role!": enum("assistant"),
                "content": nullable(_content(ASSISTANT_PARTS)),
                "refusal": nullable(Str()),
                # Not in the SDK's types either: its answers have them, and they come back.
                "annotations": nullable(ListOf(FreeObj())),
                "name": Str(),
                "audio": nullable(Obj({"id!": Str()})),
                "function_call": nullable(Obj({"name!": Str(), "arguments!": Str()})),
                "tool_calls": ListOf(TOOL_CALL, min=1, max=128),
            }
        ),
        "tool": Obj(
            {
                "role!": enum("tool"),
                "content!": _content(TEXT_ONLY),
                "tool_call_id!": Str(min=1, max=40),
                # Not in the SDK's types, but many clients send it, and OpenAI takes it.
                "name": Str(),
            }
        ),
        "function": Obj(
            {
                "role!": enum("function"),
                "name!": Str(min=1),
                "content!": nullable(Str()),
            }
        ),
    },
    tag="role",
    shown=False,
)

FUNCTION_NAME: Final = Str(min=1, max=64, pattern=NAME)

TOOL: Final = Tagged(
    {
        "function": Obj(
            {
                "type!": enum("function"),
                "function!": Obj(
                    {
                        "name!": FUNCTION_NAME,
                        "description": Str(),
                        "parameters": FreeObj(),
                        "strict": nullable(Bool()),
                    }
                ),
            }
        ),
        "custom": Obj(
            {
                "type!": enum("custom"),
                "custom!": Obj(
                    {
                        "name!": FUNCTION_NAME,
                        "description": Str(),
                        "format": Tagged(
                            {
                                "text": Obj({"type!": enum("text")}),
                                "grammar": Obj(
                                    {
                                        "type!": enum("grammar"),
                                        "grammar!": Obj(
                                            {
                                                "definition!": Str(min=1),
                                                "syntax!": enum("lark", "regex"),
                                            }
                                        ),
                                    }
                                ),
                            },
                            shown=False,
                        ),
                    }
                ),
            }
        ),
    },
    shown=False,
)

TOOL_CHOICE: Final = one_of(
    enum("none", "auto", "required"),
    Tagged(
        {
            "function": Obj(
                {"type!": enum("function"), "function!": Obj({"name!": Str()})}
            ),
            "custom": Obj({"type!": enum("custom"), "custom!": Obj({"name!": Str()})}),
            "allowed_tools": Obj(
                {
                    "type!": enum("allowed_tools"),
                    "allowed_tools!": Obj(
                        {
                            "mode!": enum("auto", "required"),
                            "tools!": ListOf(FreeObj(), min=1),
                        }
                    ),
                }
            ),
        },
        shown=False,
    ),
)

RESPONSE_FORMAT: Final = Tagged(
    {
        "text": Obj({"type!": enum("text")}),
        "json_object": Obj({"type!": enum("json_object")}),
        "json_schema": Obj(
            {
                "type!": enum("json_schema"),
                "json_schema!": Obj(
                    {
                        "name!": Str(min=1, max=64, pattern=NAME),
                        "description": Str(),
                        "schema": FreeObj(),
                        "strict": nullable(Bool()),
                    }
                ),
            }
        ),
    },
    shown=False,
)

WEB_SEARCH: Final = Obj(
    {
        "search_context_size": enum("low", "medium", "high"),
        "user_location": nullable(
            Obj(
                {
                    "type!": enum("approximate"),
                    "approximate!": Obj(
                        {
                            "city": Str(),
                            "country": Str(),
                            "region": Str(),
                            "timezone": Str(),
                        }
                    ),
                }
            )
        ),
    }
)

MODERATION_MODE: Final = nullable(Obj({"mode!": enum("score", "block")}))

MODERATION: Final = Obj(
    {
        "model!": Str(),
        "policy": nullable(Obj({"input": MODERATION_MODE, "output": MODERATION_MODE})),
    }
)

CHAT: Final = Obj(
    {
        "model!": Str(min=1),
        "messages!": ListOf(MESSAGE, min=1),
        "audio": nullable(
            Obj(
                {
                    "format!": enum("wav", "aac", "mp3", "flac", "opus", "pcm16"),
                    "voice!": one_of(Str(), Obj({"id!": Str()})),
                }
            )
        ),
        "frequency_penalty": nullable(Num(-2, 2)),
        "function_call": one_of(enum("none", "auto"), Obj({"name!": Str()})),
        "functions": ListOf(
            Obj(
                {"name!": FUNCTION_NAME, "description": Str(), "parameters": FreeObj()}
            ),
            min=1,
            max=128,
        ),
        "logit_bias": nullable(FreeObj(Int(-100, 100))),
        "logprobs": nullable(Bool()),
        "max_completion_tokens": nullable(Int(1)),
        "max_tokens": nullable(Int(1)),
        "metadata": nullable(FreeObj(Str(max=512), max=16, key_max=64)),
        "modalities": nullable(ListOf(enum("text", "audio"), min=1)),
        "moderation": nullable(MODERATION),
        "n": nullable(Int(1, 128)),
        "parallel_tool_calls": Bool(),
        "prediction": nullable(
            Obj({"type!": enum("content"), "content!": _content(TEXT_ONLY)})
        ),
        "presence_penalty": nullable(Num(-2, 2)),
        "prompt_cache_key": nullable(Str()),
        "prompt_cache_options": Obj(
            {"mode": enum("implicit", "explicit"), "ttl": enum("30m")}
        ),
        "prompt_cache_retention": nullable(enum("in_memory", "24h")),
        "reasoning_effort": nullable(
            enum("none", "minimal", "low", "medium", "high", "xhigh", "max")
        ),
        "response_format": RESPONSE_FORMAT,
        "safety_identifier": nullable(Str(max=64)),
        "seed": nullable(Int(-(2**63), 2**63 - 1)),
        "service_tier": nullable(
            enum("auto", "default", "flex", "scale", "priority", "fast")
        ),
        "stop": nullable(one_of(Str(), ListOf(Str(), min=1, max=4))),
        "store": nullable(Bool()),
        "stream": nullable(Bool()),
        "stream_options": nullable(
            Obj({"include_obfuscation": Bool(), "include_usage": Bool()})
        ),
        "temperature": nullable(Num(0, 2)),
        "tool_choice": TOOL_CHOICE,
        "tools": ListOf(TOOL, min=1, max=128),
        "top_logprobs": nullable(Int(0, 20)),
        "top_p": nullable(Num(0, 1)),
        "user": Str(),
        "verbosity": nullable(enum("low", "medium", "high")),
        "web_search_options": WEB_SEARCH,
    }
)
