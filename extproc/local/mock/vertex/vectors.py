"""Vertex' counting and embedding, and no chat.

https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/count-tokens,
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api;
of the two ways to embed each model has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from extproc.local.mock import strictjson, vectors
from extproc.local.mock.gemini import check, errors
from extproc.local.mock.gemini.models import MODELS
from extproc.local.mock.gemini.rules import GENERATE
from extproc.local.mock.gemini.spelling import documented
from extproc.local.mock.rules import (
    Bool,
    Int,
    ListOf,
    Obj,
    Rule,
    Str,
    check as check_rule,
    enum,
)
from extproc.local.mock.tokens import count, count_tree

TASKS: Final = enum(
    "RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "SEMANTIC_SIMILARITY", "CLASSIFICATION",
    "CLUSTERING", "QUESTION_ANSWERING", "FACT_VERIFICATION", "CODE_RETRIEVAL_QUERY",
)  # fmt: skip
COUNT: Final = Obj(
    {
        name: GENERATE.fields[name]
        for name in GENERATE.fields
        if name.rstrip("!")
        in {"contents", "systemInstruction", "tools", "generationConfig"}
    }
)
PREDICT: Final = Obj(
    {
        "instances!": ListOf(
            Obj({"content!": Str(min=1), "task_type": TASKS, "title": Str()}), 1, 250
        ),
        "parameters": Obj(
            {"outputDimensionality": Int(1, 3072), "autoTruncate": Bool()}
        ),
    }
)
EMBED: Final = Obj(
    {
        "content!": Obj(
            {"role": Str(), "parts!": ListOf(Obj({"text!": Str(min=1)}), 1)}
        ),
        "embedContentConfig": Obj(
            {
                "taskType": TASKS,
                "title": Str(),
                "outputDimensionality": Int(1, 3072),
                "autoTruncate": Bool(),
            }
        ),
    }
)
PREDICTORS: Final = {"gemini-embedding-001": 3072, "text-embedding-005": 768}
EMBEDDERS: Final = {"gemini-embedding-2": 3072}

Json = dict[str, Any]


def answer(raw: bytes, name: str, method: str) -> Json:
    """Return what the method says of a body.

    Raises:
        Refusal: It has no such method, or does not take the body.
    """
    models, rule, say = METHODS[method]
    if name not in models:
        raise errors.Status(
            404, f"Publisher Model `publishers/google/models/{name}` was not found."
        )
    with errors.refusing():
        body = strictjson.read_object(raw)
        if method == "countTokens":
            body = documented(COUNT, body)
        check_rule(rule, body)
    return say(body, name)


def _count(body: Json, name: str) -> Json:
    check.check(body, MODELS[name])
    return {"totalTokens": count_tree(body), "totalBillableCharacters": 1}


def _predict(body: Json, name: str) -> Json:
    wanted = body.get("parameters", {}).get("outputDimensionality", PREDICTORS[name])
    return {
        "predictions": [
            {
                "embeddings": {
                    "values": vectors.vector(one["content"], wanted),
                    "statistics": {
                        "token_count": count(one["content"]),
                        "truncated": False,
                    },
                }
            }
            for one in body["instances"]
        ]
    }


def _embed(body: Json, name: str) -> Json:
    options = body.get("embedContentConfig", {})
    text = "".join(part["text"] for part in body["content"]["parts"])
    wanted = options.get("outputDimensionality", EMBEDDERS[name])
    return {
        "embedding": {"values": vectors.vector(text, wanted)},
        "usageMetadata": {"promptTokenCount": count(text)},
        "truncated": False,
    }


METHODS: Final[dict[str, tuple[Any, Rule, Callable[[Json, str], Json]]]] = {
    "countTokens": (MODELS, COUNT, _count),
    "predict": (PREDICTORS, PREDICT, _predict),
    "embedContent": (EMBEDDERS, EMBED, _embed),
}
