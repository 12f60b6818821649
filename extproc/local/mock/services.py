"""Smaller services for vectors and rankings: Cohere, Jina, Voyage, Mistral, vLLM, TEI.

Each lives under its own name (`/cohere/v2/embed`, `/jina/v1/rerank` …). What they take is
in their references: https://docs.cohere.com/reference/embed and …/rerank,
https://api.jina.ai/redoc, https://docs.voyageai.com/reference/embeddings-api and
…/reranker-api, https://docs.mistral.ai/api/#tag/embeddings,
https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html,
https://huggingface.github.io/text-embeddings-inference/.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

import msgspec

from extproc.local.mock import gate, strictjson, vectors
from extproc.local.mock.reply import Refusal, Reply, Request
from extproc.local.mock.rules import (
    Bool,
    FreeObj,
    Int,
    ListOf,
    Obj,
    Rule,
    Str,
    Violation,
    check,
    enum,
    nullable,
    one_of,
)
from extproc.local.mock.state import Memory
from extproc.local.mock.tokens import count

Json = dict[str, Any]
Answer = Callable[[Json], object]

TEXTS: Final = one_of(Str(min=1), ListOf(Str(min=1), 1, 1000))
DOCUMENTS: Final = ListOf(one_of(Str(), FreeObj()), 1, 1000)
COHERE_EMBED: Final = Obj(
    {
        "model!": Str(min=1),
        "input_type!": enum(
            "search_document", "search_query", "classification", "clustering", "image"
        ),
        "texts": ListOf(Str(), 1, 96),
        "embedding_types": ListOf(
            enum("float", "int8", "uint8", "binary", "ubinary", "base64")
        ),
        "output_dimension": Int(256, 1536),
        "truncate": enum("NONE", "START", "END"),
        "max_tokens": Int(1),
        "priority": Int(0, 999),
    }
)
COHERE_RERANK: Final = Obj(
    {
        "model!": Str(min=1),
        "query!": Str(min=1),
        "documents!": ListOf(Str(), 1, 1000),
        "top_n": Int(1),
        "max_tokens_per_doc": Int(1),
        "priority": Int(0, 999),
    }
)
JINA_RERANK: Final = Obj(
    {
        "model!": Str(min=1),
        "query!": Str(min=1),
        "documents!": DOCUMENTS,
        "top_n": nullable(Int(1)),
        "return_documents": Bool(),
        "truncation": Bool(),
    }
)
VLLM_RERANK: Final = Obj(
    {
        "model!": Str(min=1),
        "query!": Str(min=1),
        "documents!": ListOf(Str(), 1),
        "top_n": Int(0),
        "return_documents": Bool(),
        "truncate_prompt_tokens": Int(-1),
    }
)
VOYAGE_EMBED: Final = Obj(
    {
        "model!": Str(min=1),
        "input!": TEXTS,
        "input_type": nullable(enum("query", "document")),
        "truncation": Bool(),
        "output_dimension": nullable(Int(256, 2048)),
        "output_dtype": nullable(enum("float", "int8", "uint8", "binary", "ubinary")),
        "encoding_format": nullable(enum("base64")),
    }
)
VOYAGE_RERANK: Final = Obj(
    {
        "model!": Str(min=1),
        "query!": Str(min=1),
        "documents!": ListOf(Str(), 1, 1000),
        "top_k": nullable(Int(1)),
        "return_documents": Bool(),
        "truncation": Bool(),
    }
)
MISTRAL_EMBED: Final = Obj(
    {
        "model!": Str(min=1),
        "input!": TEXTS,
        "output_dimension": nullable(Int(1, 3072)),
        "output_dtype": enum("float", "int8", "uint8", "binary", "ubinary"),
        "encoding_format": enum("float", "base64"),
        "metadata": nullable(FreeObj()),
    }
)
TEI_RERANK: Final = Obj(
    {
        "query!": Str(),
        "texts!": ListOf(Str(), 1, 1000),
        "raw_scores": Bool(),
        "return_text": Bool(),
        "truncate": nullable(Bool()),
        "truncation_direction": enum("Left", "Right"),
    }
)


def _cohere_embed(body: Json) -> object:
    texts = body.get("texts") or []
    dimensions = body.get("output_dimension", 1536)
    kinds = body.get("embedding_types") or ["float"]
    made = [vectors.vector(text, dimensions) for text in texts]
    spelled = {"float": made, "base64": [vectors.pack(one) for one in made]}
    return {
        "id": "b8f7a0d2",
        "embeddings": {kind: spelled[kind] for kind in kinds},
        "texts": texts,
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"input_tokens": float(sum(map(count, texts)))},
        },
        "response_type": "embeddings_by_type",
    }


def _cohere_rerank(body: Json) -> object:
    return {
        "id": "07734bd2",
        "results": _results(body, body.get("top_n")),
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
    }


def _jina_rerank(body: Json) -> object:
    texts = [_text(one) for one in body["documents"]]
    results = _results({**body, "documents": texts}, body.get("top_n"))
    if body.get("return_documents", True):
        for one in results:
            one["document"] = {"text": texts[one["index"]]}
    return {
        "model": body["model"],
        "object": "list",
        "usage": {"total_tokens": _counted(body["query"], texts)},
        "results": results,
    }


def _vllm_rerank(body: Json) -> object:
    results = _results(body, body.get("top_n") or None)
    for one in results:
        one["document"] = {"text": body["documents"][one["index"]]}
    return {
        "id": "rerank-3f2a",
        "model": body["model"],
        "usage": {"total_tokens": _counted(body["query"], body["documents"])},
        "results": results,
    }


def _voyage_embed(body: Json) -> object:
    return _embeddings(body, body.get("output_dimension") or 1024)


def _mistral_embed(body: Json) -> object:
    return {"id": "emb-1", **_embeddings(body, body.get("output_dimension") or 1024)}


def _voyage_rerank(body: Json) -> object:
    return {
        "object": "list",
        "data": _results(body, body.get("top_k")),
        "model": body["model"],
        "usage": {"total_tokens": _counted(body["query"], body["documents"])},
    }


def _tei_rerank(body: Json) -> object:
    found = vectors.ranked(body["query"], body["texts"])
    return [{"index": index, "score": score} for index, score in found]


def _embeddings(body: Json, dimensions: int) -> Json:
    given = body["input"]
    texts = [given] if isinstance(given, str) else given
    coded = body.get("encoding_format") == "base64"
    made = [vectors.vector(text, dimensions) for text in texts]
    used = sum(map(count, texts))
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "embedding": vectors.pack(one) if coded else one,
                "index": index,
            }
            for index, one in enumerate(made)
        ],
        "model": body["model"],
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }


def _results(body: Json, top: int | None) -> list[Json]:
    return [
        {"index": index, "relevance_score": score}
        for index, score in vectors.ranked(body["query"], body["documents"], top)
    ]


def _text(one: str | Json) -> str:
    return one if isinstance(one, str) else str(one.get("text", ""))


def _counted(query: str, documents: list[str]) -> int:
    return sum(count(query) + count(text) for text in documents)


ENDPOINTS: Final[dict[str, tuple[Rule, Answer]]] = {
    "/cohere/v2/embed": (COHERE_EMBED, _cohere_embed),
    "/cohere/v2/rerank": (COHERE_RERANK, _cohere_rerank),
    "/jina/v1/rerank": (JINA_RERANK, _jina_rerank),
    "/voyage/v1/embeddings": (VOYAGE_EMBED, _voyage_embed),
    "/voyage/v1/rerank": (VOYAGE_RERANK, _voyage_rerank),
    "/mistral/v1/embeddings": (MISTRAL_EMBED, _mistral_embed),
    "/vllm/v1/rerank": (VLLM_RERANK, _vllm_rerank),
    "/tei/rerank": (TEI_RERANK, _tei_rerank),
}


class Services:
    """All of them; `keys` are exact or end in `*`, the same for each."""

    name = "services"

    def __init__(self, memory: Memory, keys: Collection[str]) -> None:
        self._memory = memory
        self._keys = keys

    def owns(self, request: Request) -> bool:
        """Claim the paths of the table."""
        return request.route in ENDPOINTS

    def respond(self, request: Request) -> Reply:
        """Answer as the service does, in the words that all of them have for errors."""
        headers = (("x-request-id", self._memory.next_request_id()),)
        try:
            said = self._answer(request)
        except Refusal as refusal:
            words = {"message": refusal.message, "detail": refusal.message}
            return Reply(refusal.status, msgspec.json.encode(words), headers=headers)
        return Reply(200, msgspec.json.encode(said), headers=headers)

    def _answer(self, request: Request) -> object:
        gate.check_headers(request, credentials=frozenset({"authorization"}))
        if not gate.is_key(gate.bearer(request), self._keys, None):
            raise Refusal(401, "invalid api token")
        if request.method != "POST":
            raise Refusal(405, "Method Not Allowed")
        gate.check_body_headers(request)
        rule, answer = ENDPOINTS[request.route]
        try:
            body = strictjson.read_object(request.body)
            check(rule, body)
        except strictjson.BadJson as exc:
            raise Refusal(400, f"invalid request: {exc}") from exc
        except Violation as exc:
            where = ".".join(map(str, exc.path))
            raise Refusal(422, f"invalid request: {where}: {exc.fault}") from exc
        return answer(body)
