"""What may be said to OpenAI of containers, skills and evals.

https://platform.openai.com/docs/api-reference: containers, skills, evals. Names are proved
against `openai.types`.
"""

from __future__ import annotations

from typing import Final

from extproc.local.mock.openai.library_rules import METADATA
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
)

CONTAINER: Final = Obj(
    {
        "name!": Str(min=1),
        "expires_after": Obj(
            {"anchor!": enum("last_active_at"), "minutes!": Int(1, 20)}
        ),
        "file_ids": ListOf(Str(min=1)),
        "memory_limit": enum("1g", "4g", "16g", "64g"),
        "network_policy": Tagged(
            {
                "disabled": Obj({"type!": Str()}),
                "allowlist": Obj(
                    {
                        "type!": Str(),
                        "allowed_domains!": ListOf(Str(min=1), 1),
                        "domain_secrets": ListOf(
                            Obj({"domain!": Str(), "name!": Str(), "value!": Str()})
                        ),
                    }
                ),
            }
        ),
        "skills": ListOf(FreeObj()),
    }
)
CONTAINER_FILE: Final = Obj({"file_id!": Str(min=1)})
SKILL_UPDATE: Final = Obj({"default_version!": Str(min=1)})

_MESSAGES: Final = ListOf(FreeObj(), 1)
_COMPARED: Final[dict[str, Rule]] = {
    "input!": Str(),
    "reference!": Str(),
    "name!": Str(min=1),
    "type!": Str(),
}
CRITERIA: Final = {
    "label_model": Obj(
        {
            "input!": _MESSAGES,
            "labels!": ListOf(Str(), 1),
            "model!": Str(min=1),
            "name!": Str(min=1),
            "passing_labels!": ListOf(Str(), 1),
            "type!": Str(),
        }
    ),
    "string_check": Obj(
        {**_COMPARED, "operation!": enum("eq", "ne", "like", "ilike")}
    ),
    "text_similarity": Obj(
        {
            **_COMPARED,
            "evaluation_metric!": enum(
                "cosine", "fuzzy_match", "bleu", "gleu", "meteor", "rouge_1", "rouge_2",
                "rouge_3", "rouge_4", "rouge_5", "rouge_l",
            ),
            "pass_threshold!": Num(),
        }
    ),
    "python": Obj(
        {
            "name!": Str(min=1),
            "source!": Str(min=1),
            "type!": Str(),
            "image_tag": Str(),
            "pass_threshold": Num(),
        }
    ),
    "score_model": Obj(
        {
            "input!": _MESSAGES,
            "model!": Str(min=1),
            "name!": Str(min=1),
            "type!": Str(),
            "range": ListOf(Num(), 2, 2),
            "sampling_params": FreeObj(),
            "pass_threshold": Num(),
        }
    ),
}  # fmt: skip
EVAL: Final = Obj(
    {
        "data_source_config!": Tagged(
            {
                "custom": Obj(
                    {
                        "type!": Str(),
                        "item_schema!": FreeObj(),
                        "include_sample_schema": Bool(),
                    }
                ),
                "logs": Obj({"type!": Str(), "metadata": FreeObj()}),
                "stored_completions": Obj({"type!": Str(), "metadata": FreeObj()}),
            }
        ),
        "testing_criteria!": ListOf(Tagged(CRITERIA), 1),
        "metadata": METADATA,
        "name": Str(),
    }
)
EVAL_UPDATE: Final = Obj({"metadata": METADATA, "name": Str()})

_CONTENT: Final = Obj(
    {
        "type!": Str(),
        "content!": ListOf(Obj({"item!": FreeObj(), "sample": FreeObj()}), 1),
    }
)
_FILE: Final = Obj({"type!": Str(), "id!": Str(min=1)})
_SOUGHT: Final[dict[str, Rule]] = {
    "type!": Str(),
    "created_after": nullable(Int(0)),
    "created_before": nullable(Int(0)),
    "metadata": nullable(FreeObj()),
    "model": nullable(Str()),
}
_ASKED: Final[dict[str, Rule]] = {
    "type!": Str(),
    "input_messages": Tagged(
        {
            "template": Obj({"type!": Str(), "template!": _MESSAGES}),
            "item_reference": Obj({"type!": Str(), "item_reference!": Str()}),
        }
    ),
    "model": Str(),
    "sampling_params": FreeObj(),
}
SOURCES: Final = {
    "jsonl": Obj(
        {
            "type!": Str(),
            "source!": Tagged({"file_content": _CONTENT, "file_id": _FILE}),
        }
    ),
    "completions": Obj(
        {
            **_ASKED,
            "source!": Tagged(
                {
                    "file_content": _CONTENT,
                    "file_id": _FILE,
                    "stored_completions": Obj({**_SOUGHT, "limit": nullable(Int(1))}),
                }
            ),
        }
    ),
    "responses": Obj(
        {
            **_ASKED,
            "source!": Tagged(
                {
                    "file_content": _CONTENT,
                    "file_id": _FILE,
                    "responses": Obj(
                        {
                            **_SOUGHT,
                            "instructions_search": nullable(Str()),
                            "reasoning_effort": nullable(Str()),
                            "temperature": nullable(Num()),
                            "tools": nullable(ListOf(Str())),
                            "top_p": nullable(Num()),
                            "users": nullable(ListOf(Str())),
                        }
                    ),
                }
            ),
        }
    ),
}
RUN: Final = Obj({"data_source!": Tagged(SOURCES), "metadata": METADATA, "name": Str()})
