"""What OpenAI does with a response that it has, and with a conversation that is too long.

https://platform.openai.com/docs/api-reference/responses: get, delete, cancel, input_items,
compact.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from extproc.local.mock import gate, tokens
from extproc.local.mock.openai.api import PREFIX, RESPONSES_PATH, OpenAI
from extproc.local.mock.openai.models import MODELS
from extproc.local.mock.openai.responses_memory import Shelf, encrypt
from extproc.local.mock.openai.stored import listed, read
from extproc.local.mock.reply import Headers, Refusal, Reply, Request, Stream
from extproc.local.mock.rules import (
    FreeObj,
    ListOf,
    Obj,
    Str,
    enum,
    nullable,
    one_of,
)
from extproc.local.mock.state import Memory

Json = dict[str, Any]
UNDER: Final = RESPONSES_PATH + "/"
COMPACT_PATH: Final = UNDER + "compact"
COUNT_PATH: Final = UNDER + "input_tokens"
COMPACT: Final = Obj(
    {
        "model!": Str(min=1),
        "image": Obj({"context_compression": enum("auto", "enabled", "disabled")}),
        "input": nullable(one_of(Str(), ListOf(FreeObj()))),
        "instructions": nullable(Str()),
        "previous_response_id": nullable(Str()),
        "prompt_cache_key": nullable(Str(max=64)),
        "prompt_cache_options": nullable(
            Obj({"mode": enum("implicit", "explicit"), "ttl": enum("30m")})
        ),
        "prompt_cache_retention": nullable(enum("in_memory", "24h")),
        "service_tier": nullable(enum("auto", "default", "fast", "flex", "priority")),
    }
)
COMPACTED_TOKENS: Final = 12
"""What a conversation costs when it has been made short."""


class KeptResponses(OpenAI):
    """The responses on `shelf`, which who makes responses puts there."""

    def __init__(self, memory: Memory, keys: Any, shelf: Shelf) -> None:  # noqa: ANN401
        super().__init__(memory, keys)
        self._shelf = shelf

    def owns(self, request: Request) -> bool:
        """Claim what is below responses, and not the counting of tokens."""
        route = request.route.removeprefix(PREFIX)
        return route.startswith(UNDER) and route != COUNT_PATH

    def _route(self, request: Request, headers: Headers) -> Reply | Stream:
        gate.check_headers(request, credentials=frozenset({"authorization"}))
        self._check_key(request)
        route = request.route.removeprefix(PREFIX)
        if route == COMPACT_PATH and request.method == "POST":
            made = self._compact(request)
        else:
            id_, _, verb = route.removeprefix(UNDER).partition("/")
            made = self._serve(request.method, id_, verb)
        return Reply(200, msgspec.json.encode(made), headers=headers)

    def _serve(self, method: str, id_: str, verb: str) -> Json:
        response = self._shelf.response(id_)
        if response is None:
            raise Refusal(404, f"Response with id '{id_}' not found.")
        match method, verb:
            case "GET", "":
                return response
            case "GET", "input_items":
                return listed(self._shelf.asked(id_))
            case "DELETE", "":
                self._shelf.forget(id_)
                return {"id": id_, "object": "response", "deleted": True}
            case "POST", "cancel":
                raise Refusal(400, "Cannot cancel a synchronous response.")
            case _:
                raise Refusal(405, f"Not allowed to {method} on {UNDER}{id_}/{verb}.")

    def _compact(self, request: Request) -> Json:
        body = read(request, COMPACT)
        if body["model"] not in MODELS:
            told = f"The requested model '{body['model']}' does not exist."
            raise Refusal(400, told, param="model", code="model_not_found")
        before = body.get("previous_response_id")
        if before is not None and self._shelf.response(before) is None:
            told = f"Previous response with id '{before}' not found."
            raise Refusal(400, told, param="previous_response_id")
        if body.get("input") is None and before is None:
            raise Refusal(400, "Give input or previous_response_id.", param="input")
        digest = hashlib.sha256(request.body).hexdigest()[:40]
        given = tokens.count_tree(body.get("input") or [])
        return {
            "id": f"resp_mock{digest}",
            "object": "response.compaction",
            "created_at": int(self._memory.clock()),
            "output": [
                {
                    "id": f"cmp_mock{digest}", "type": "compaction",
                    "encrypted_content": encrypt(f"cmp_mock{digest}", "compacted"),
                }
            ],
            "usage": {
                "input_tokens": given,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": COMPACTED_TOKENS,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": given + COMPACTED_TOKENS,
            },
        }  # fmt: skip
