"""Gemini's embeddings and its count of tokens.

https://ai.google.dev/api/embeddings, https://ai.google.dev/api/tokens. Names are proved
against `google.genai`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from extproc.local.mock import gate, strictjson, vectors
from extproc.local.mock.gemini import check, errors
from extproc.local.mock.gemini.api import PREFIX, Gemini
from extproc.local.mock.gemini.models import MODELS
from extproc.local.mock.gemini.rules import GENERATE
from extproc.local.mock.gemini.spelling import documented
from extproc.local.mock.reply import Headers, Reply, Request, Stream
from extproc.local.mock.rules import (
    Int,
    ListOf,
    Obj,
    Rule,
    Str,
    check as check_rule,
    enum,
)
from extproc.local.mock.tokens import count, count_tree

CALL: Final = re.compile(
    r"/v1(?:beta)?/models/([^/]+):(batchEmbedContents|embedContent|countTokens)"
)
EMBEDDERS: Final = {"gemini-embedding-001": 3072, "gemini-embedding-2": 3072}

CONTENT: Final = Obj({"role": Str(), "parts!": ListOf(Obj({"text!": Str(min=1)}), 1)})
EMBED: Final = Obj(
    {
        "model!": Str(pattern="^models/"),
        "content!": CONTENT,
        "taskType": enum(
            "TASK_TYPE_UNSPECIFIED", "RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT",
            "SEMANTIC_SIMILARITY", "CLASSIFICATION", "CLUSTERING",
            "QUESTION_ANSWERING", "FACT_VERIFICATION", "CODE_RETRIEVAL_QUERY",
        ),
        "title": Str(),
        "outputDimensionality": Int(1, 3072),
    }
)  # fmt: skip
BATCH: Final = Obj({"requests!": ListOf(EMBED, 1, 100)})
COUNT: Final = Obj(
    {
        "contents": GENERATE.fields["contents!"]
        if "contents!" in GENERATE.fields
        else GENERATE.fields["contents"],
        "generateContentRequest": Obj({"model!": Str(), **GENERATE.fields}),
    }
)


class Counts(Gemini):
    """The part of Gemini that makes vectors and counts."""

    def owns(self, request: Request) -> bool:
        """Claim the three methods."""
        return CALL.fullmatch(request.route.removeprefix(PREFIX)) is not None

    def _route(self, request: Request, headers: Headers) -> Reply | Stream:
        gate.check_headers(request, credentials=frozenset({"x-goog-api-key"}))
        self._check_key(request)
        called = CALL.fullmatch(request.route.removeprefix(PREFIX))
        if called is None or request.method != "POST":
            raise errors.Status(404, "Requested entity was not found.")
        gate.check_body_headers(request)
        name, method = unquote(called[1]), called[2]
        _check_model(name, method)
        rule, answer = _METHODS[method]
        with errors.refusing():
            body = strictjson.read_object(request.body)
            if method == "countTokens":
                body = documented(COUNT, body)
            check_rule(rule, body)
        return Reply(200, msgspec.json.encode(answer(body, name)), headers=headers)


def _check_model(name: str, method: str) -> None:
    if name not in (MODELS if method == "countTokens" else EMBEDDERS):
        raise errors.Status(
            404,
            f"models/{name} is not found for API version v1beta, or is not supported for"
            f" {method}. Call ListModels to see the list of available models and their"
            " supported methods.",
        )


def _batch(body: dict[str, Any], name: str) -> dict[str, Any]:
    embedded = [_vector(one, name) for one in body["requests"]]
    used = sum(count(_text(one)) for one in body["requests"])
    return {
        "embeddings": [{"values": numbers} for numbers in embedded],
        "usageMetadata": {"promptTokenCount": used},
    }


def _one(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {"embedding": {"values": _vector({**body, "model": f"models/{name}"}, name)}}


def _vector(one: dict[str, Any], name: str) -> list[float]:
    most = EMBEDDERS[name]
    if one["model"] != f"models/{name}":
        raise errors.bad("The model in the requests must be that of the path.")
    if "title" in one and one.get("taskType") != "RETRIEVAL_DOCUMENT":
        raise errors.bad("title is only applicable to RETRIEVAL_DOCUMENT.")
    return vectors.vector(_text(one), one.get("outputDimensionality", most))


def _text(one: dict[str, Any]) -> str:
    return "".join(part["text"] for part in one["content"]["parts"])


def _count(body: dict[str, Any], name: str) -> dict[str, Any]:
    model = MODELS[name]
    whole = body.get("generateContentRequest")
    if (whole is None) == ("contents" not in body):
        raise errors.bad("Exactly one of contents and generate_content_request is set.")
    if whole is not None:
        if whole["model"] != f"models/{name}":
            raise errors.bad("The model in the request must be that of the path.")
        check.check(whole, model)
        body = {key: value for key, value in whole.items() if key != "model"}
    used = count_tree(body)
    return {
        "totalTokens": used,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": used}],
    }


_METHODS: Final[
    dict[str, tuple[Rule, Callable[[dict[str, Any], str], dict[str, Any]]]]
] = {
    "batchEmbedContents": (BATCH, _batch),
    "embedContent": (
        Obj(
            {
                **{k: v for k, v in EMBED.fields.items() if k != "model!"},
                "model": Str(),
            }
        ),
        _one,
    ),
    "countTokens": (COUNT, _count),
}
