"""The request of Mistral's ``/v1/chat/completions``, field by field.

Reference: https://docs.mistral.ai/api/#tag/chat; the fields are those of
``ChatCompletionRequest`` and the messages of ``mistralai`` 3.7.
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

TEXT: Final = Obj({"type!": enum("text"), "text!": Str()})
REFERENCE: Final = Obj(
    {"type!": enum("reference"), "reference_ids!": ListOf(one_of(Str(), Int()))}
)
THOUGHT: Final = Obj(
    {
        "type!": enum("thinking"),
        "thinking!": ListOf(Tagged({"text": TEXT, "reference": REFERENCE})),
        "signature": nullable(Str()),
        "closed": Bool(),
    }
)
IMAGE: Final = Obj(
    {
        "type!": enum("image_url"),
        "image_url!": one_of(
            Str(min=1),
            Obj({"url!": Str(min=1), "detail": nullable(enum("low", "auto", "high"))}),
        ),
    }
)
DOCUMENT: Final = Obj(
    {
        "type!": enum("document_url"),
        "document_url!": Str(min=1),
        "document_name": nullable(Str()),
    }
)
FILE: Final = Obj({"type!": enum("file"), "file_id!": Str(min=1)})
AUDIO: Final = Obj({"type!": enum("input_audio"), "input_audio!": Str(min=1)})

CHUNKS: Final = {
    "text": TEXT, "reference": REFERENCE, "thinking": THOUGHT, "image_url": IMAGE,
    "document_url": DOCUMENT, "file": FILE, "input_audio": AUDIO,
}  # fmt: skip
"""Those that a request may have; ``tool_reference`` is of agents' answers."""

CONTENT: Final = nullable(one_of(Str(), ListOf(Tagged(CHUNKS))))

CALL: Final = Obj(
    {
        "id": Str(),
        "type": enum("function"),
        "function!": Obj({"name!": Str(min=1), "arguments!": one_of(FreeObj(), Str())}),
        "index": Int(0),
    }
)

MESSAGE: Final = Tagged(
    {
        "system": Obj(
            {
                "role!": enum("system"),
                "content!": one_of(
                    Str(), ListOf(Tagged({"text": TEXT, "thinking": THOUGHT}))
                ),
            }
        ),
        "user": Obj({"role!": enum("user"), "content!": CONTENT}),
        "assistant": Obj(
            {
                "role!": enum("assistant"),
                "content": CONTENT,
                "tool_calls": nullable(ListOf(CALL)),
                "prefix": Bool(),
            }
        ),
        "tool": Obj(
            {
                "role!": enum("tool"),
                "content!": CONTENT,
                "tool_call_id": nullable(Str()),
                "name": nullable(Str()),
            }
        ),
    },
    "role",
)

TOOL: Final = Obj(
    {
        "type": enum("function"),
        "function!": Obj(
            {
                "name!": Str(min=1, max=256, pattern=r"^[a-zA-Z0-9_-]+$"),
                "parameters!": FreeObj(),
                "description": Str(),
                "strict": Bool(),
            }
        ),
    }
)

RESPONSE_FORMAT: Final = Obj(
    {
        "type": enum("text", "json_object", "json_schema"),
        "json_schema": nullable(
            Obj(
                {
                    "name!": Str(min=1),
                    "schema!": FreeObj(),
                    "description": nullable(Str()),
                    "strict": Bool(),
                }
            )
        ),
    }
)

CHAT: Final[Rule] = Obj(
    {
        "model!": Str(min=1),
        "messages!": ListOf(MESSAGE, min=1),
        "temperature": nullable(Num(0, 1.5)),
        "top_p": nullable(Num(0, 1)),
        "top_k": nullable(Int(1)),
        "max_tokens": nullable(Int(0)),
        "min_tokens": nullable(Int(0)),
        "stream": Bool(),
        "stop": nullable(one_of(Str(), ListOf(Str()))),
        "random_seed": nullable(Int(0)),
        "metadata": nullable(FreeObj()),
        "response_format": RESPONSE_FORMAT,
        "tools": nullable(ListOf(TOOL)),
        "tool_choice": one_of(
            enum("auto", "none", "any", "required"),
            Obj({"type": enum("function"), "function!": Obj({"name!": Str(min=1)})}),
        ),
        "presence_penalty": nullable(Num(-2, 2)),
        "frequency_penalty": nullable(Num(-2, 2)),
        "repetition_penalty": nullable(Num(0)),
        "logprobs": nullable(Bool()),
        "top_logprobs": nullable(Int(0, 20)),
        "prompt_logprobs": nullable(Bool()),
        "top_prompt_logprobs": nullable(Int(0, 20)),
        "n": nullable(Int(1)),
        "prediction": Obj({"type": enum("content"), "content": Str()}),
        "parallel_tool_calls": Bool(),
        "reasoning_effort": nullable(
            enum("none", "minimal", "low", "medium", "high", "xhigh", "max")
        ),
        "prompt_mode": nullable(enum("reasoning")),
        "guardrails": nullable(ListOf(FreeObj())),
        "prompt_cache_key": nullable(Str()),
        "service_tier": nullable(enum("auto", "standard_only")),
        "safe_prompt": Bool(),
    }
)
