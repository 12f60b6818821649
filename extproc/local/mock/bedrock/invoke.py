"""Bedrock's InvokeModel for vectors and rankings, and its CountTokens.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed-v3.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/rerank-supported.html,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html
"""

from __future__ import annotations

import base64
import re
import urllib.parse
from collections.abc import Callable
from typing import Any, Final

import msgspec

from extproc.local.mock import gate, strictjson, vectors
from extproc.local.mock.bedrock import check, errors
from extproc.local.mock.bedrock.api import PREFIX, Bedrock
from extproc.local.mock.bedrock.models import find
from extproc.local.mock.bedrock.rules import CONVERSE
from extproc.local.mock.reply import Headers, Reply, Request, Stream
from extproc.local.mock.rules import (
    Bool,
    Int,
    ListOf,
    Obj,
    Rule,
    Str,
    Violation,
    check as check_rule,
    enum,
)
from extproc.local.mock.tokens import count, count_tree

ROUTE: Final = re.compile(
    rf"(?:{PREFIX})?/model/(?P<model>[^/]+)/(?P<verb>invoke|count-tokens)"
)

TITAN_1: Final = Obj({"inputText!": Str(min=1, max=50_000)})
TITAN_2: Final = Obj(
    {
        **TITAN_1.fields,
        "dimensions": Int(256, 1024),
        "normalize": Bool(),
        "embeddingTypes": ListOf(enum("float", "binary")),
    }
)
COHERE_EMBED: Final = Obj(
    {
        "texts!": ListOf(Str(max=2048), 1, 96),
        "input_type!": enum(
            "search_document", "search_query", "classification", "clustering"
        ),
        "truncate": enum("NONE", "START", "END", "LEFT", "RIGHT"),
        "embedding_types": ListOf(enum("float", "int8", "uint8", "binary", "ubinary")),
        "output_dimension": Int(256, 1536),
    }
)
COHERE_RERANK: Final = Obj(
    {
        "api_version!": Int(2, 2),
        "query!": Str(min=1),
        "documents!": ListOf(Str(), 1, 1000),
        "top_n": Int(1),
    }
)
AMAZON_RERANK: Final = Obj(
    {
        "query!": Str(min=1),
        "documents!": ListOf(Str(), 1, 1000),
        "top_n": Int(1),
    }
)
COUNT: Final = Obj(
    {
        "input!": Obj(
            {
                "converse": Obj(
                    {
                        name: CONVERSE.fields[name]
                        for name in (
                            "messages",
                            "system",
                            "toolConfig",
                            "additionalModelRequestFields",
                        )
                    }
                ),
                "invokeModel": Obj({"body!": Str(min=1)}),
            }
        )
    }
)


Answer = tuple[dict[str, Any], int]
"""What is said, and how many tokens it took."""


class Invoke(Bedrock):
    """The part of Bedrock that makes vectors, ranks and counts."""

    def owns(self, request: Request) -> bool:
        """Claim the counting of every model, and the calls of the models that we have."""
        found = ROUTE.fullmatch(request.route)
        if found is None:
            return False
        model = urllib.parse.unquote(found["model"])
        return found["verb"] == "count-tokens" or model in _MODELS

    def _route(self, request: Request, headers: Headers) -> Reply | Stream:
        gate.check_headers(request, credentials=frozenset({"authorization"}))
        self._check_caller(request)
        gate.check_body_headers(request)
        route = ROUTE.fullmatch(request.route)
        if route is None or request.method != "POST":
            raise errors.invalid("There is no such operation.")
        name = urllib.parse.unquote(route["model"])
        counts = route["verb"] == "count-tokens"
        rule, answer = (COUNT, self._count) if counts else _MODELS[name]
        try:
            body = strictjson.read_object(request.body)
            check_rule(rule, body)
        except strictjson.BadJson as exc:
            raise errors.invalid(f"Malformed input request: {exc}") from exc
        except Violation as exc:
            raise errors.from_violation(exc) from exc
        said, used = answer(body, name)
        if route["verb"] == "invoke":
            headers = (*headers, ("x-amzn-bedrock-input-token-count", str(used)))
        return Reply(200, msgspec.json.encode(said), headers=headers)

    def _count(self, body: dict[str, Any], name: str) -> Answer:
        # Inference profiles have no tokens of their own: "us.anthropic…" is refused.
        model = (
            find(name) if not re.match(r"(us|eu|apac|global)\.|arn:", name) else None
        )
        if model is None:
            raise errors.invalid("The provided model doesn't support counting tokens.")
        given = body["input"]
        if len(given) != 1:
            raise errors.invalid("Exactly one of converse and invokeModel must be set.")
        if "converse" in given:
            check.check_unions(CONVERSE, given["converse"])
            return {"inputTokens": count_tree(given)}, 0
        try:
            invoked = base64.b64decode(given["invokeModel"]["body"], validate=True)
        except ValueError as exc:
            raise errors.invalid(f"body: {exc}") from exc
        return {"inputTokens": self._claude.count(invoked, name)}, 0


def _titan(body: dict[str, Any], name: str) -> Answer:
    dimensions = body.get("dimensions", 1536 if name.endswith("v1") else 1024)
    if dimensions not in {256, 512, 1024, 1536}:
        raise errors.invalid("Malformed input request: dimensions is not supported.")
    used = count(body["inputText"])
    numbers = vectors.vector(body["inputText"], dimensions)
    return {"embedding": numbers, "inputTextTokenCount": used}, used


def _cohere(body: dict[str, Any], name: str) -> Answer:
    dimensions = body.get("output_dimension", 1024)
    if "output_dimension" in body and "v4" not in name:
        raise errors.invalid("Malformed input request: output_dimension.")
    used = sum(map(count, body["texts"]))
    made = [vectors.vector(text, dimensions) for text in body["texts"]]
    typed = "embedding_types" in body
    return {
        "id": "5e1a2b3c",
        "texts": body["texts"],
        "response_type": "embeddings_by_type" if typed else "embeddings_floats",
        "embeddings": {"float": made} if typed else made,
    }, used


def _rerank(body: dict[str, Any], _: str) -> Answer:
    found = vectors.ranked(body["query"], body["documents"], body.get("top_n"))
    results = [{"index": index, "relevance_score": score} for index, score in found]
    return {"results": results}, count(body["query"])


_MODELS: Final[dict[str, tuple[Rule, Callable[[dict[str, Any], str], Answer]]]] = {
    "amazon.titan-embed-text-v1": (TITAN_1, _titan),
    "amazon.titan-embed-text-v2:0": (TITAN_2, _titan),
    "cohere.embed-english-v3": (COHERE_EMBED, _cohere),
    "cohere.embed-v4:0": (COHERE_EMBED, _cohere),
    "cohere.rerank-v3-5:0": (COHERE_RERANK, _rerank),
    "amazon.rerank-v1:0": (AMAZON_RERANK, _rerank),
}
