"""OpenAI's embeddings and its count of input tokens.

https://platform.openai.com/docs/api-reference/embeddings/create,
https://platform.openai.com/docs/api-reference/responses/input-tokens. Names and kinds are
proved against `openai.types`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from extproc.local.mock import gate, strictjson, vectors
from extproc.local.mock.openai import errors
from extproc.local.mock.openai.api import PREFIX, OpenAI
from extproc.local.mock.reply import Headers, Refusal, Reply, Request, Stream
from extproc.local.mock.rules import (
    Bool,
    FreeObj,
    Int,
    ListOf,
    Obj,
    Str,
    check,
    enum,
    nullable,
    one_of,
)
from extproc.local.mock.tokens import count, count_tree

EMBEDDINGS_PATH: Final = "/v1/embeddings"
COUNT_PATH: Final = "/v1/responses/input_tokens"

MODELS: Final = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
"""Name → dimensions; https://platform.openai.com/docs/models."""

EMBEDDINGS: Final = Obj(
    {
        "model!": Str(),
        "input!": one_of(
            Str(min=1), ListOf(one_of(Str(min=1), Int(0), ListOf(Int(0), 1)), 1, 2048)
        ),
        "dimensions": Int(1),
        "encoding_format": enum("float", "base64"),
        "user": Str(),
    }
)
COUNT: Final = Obj(
    {
        "model": nullable(Str()),
        "input": nullable(one_of(Str(), ListOf(FreeObj()))),
        "instructions": nullable(Str()),
        "previous_response_id": nullable(Str()),
        "conversation": nullable(one_of(Str(), FreeObj())),
        "parallel_tool_calls": nullable(Bool()),
        "personality": Str(),
        "reasoning": nullable(FreeObj()),
        "text": nullable(FreeObj()),
        "tool_choice": nullable(one_of(Str(), FreeObj())),
        "tools": nullable(ListOf(FreeObj())),
        "truncation": enum("auto", "disabled"),
    }
)


class Embeddings(OpenAI):
    """The part of OpenAI that makes vectors and counts."""

    def owns(self, request: Request) -> bool:
        """Claim the two paths."""
        route = request.route.removeprefix(PREFIX)
        return route in {EMBEDDINGS_PATH, COUNT_PATH}

    def _route(self, request: Request, headers: Headers) -> Reply | Stream:
        gate.check_headers(request, credentials=frozenset({"authorization"}))
        self._check_key(request)
        if request.method != "POST":
            raise Refusal(405, f"Not allowed to {request.method} on {request.route}.")
        gate.check_body_headers(request)
        embed = request.route.removeprefix(PREFIX) == EMBEDDINGS_PATH
        with errors.refusing():
            body = strictjson.read_object(request.body)
            check(EMBEDDINGS if embed else COUNT, body)
        said = _embed(body) if embed else _count(body)
        return Reply(200, msgspec.json.encode(said), headers=headers)


def _embed(body: dict[str, Any]) -> dict[str, Any]:
    most = MODELS.get(body["model"])
    if most is None:
        raise Refusal(
            404,
            f"The model `{body['model']}` does not exist or you do not have access to it.",
            code="model_not_found",
        )
    if "dimensions" in body and body["model"] == "text-embedding-ada-002":
        raise Refusal(400, "This model does not support specifying dimensions.")
    dimensions = body.get("dimensions", most)
    if dimensions > most:
        raise Refusal(400, f"Invalid value for 'dimensions' = {dimensions}.")
    given = body["input"]
    every = given if isinstance(given, list) else [given]
    if all(isinstance(one, int) for one in every):
        every = [every]
    if len({type(one) for one in every}) != 1:
        raise Refusal(400, "'$.input' is invalid.", param="input")
    made = [vectors.vector(_text(one), dimensions) for one in every]
    coded = body.get("encoding_format") == "base64"
    used = sum(count(one) if isinstance(one, str) else len(one) for one in every)
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": vectors.pack(numbers) if coded else numbers,
            }
            for index, numbers in enumerate(made)
        ],
        "model": body["model"],
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }


def _text(one: object) -> str:
    return one if isinstance(one, str) else str(one)


def _count(body: dict[str, Any]) -> dict[str, Any]:
    counted = {key: value for key, value in body.items() if key != "model"}
    return {"object": "response.input_tokens", "input_tokens": count_tree(counted)}
