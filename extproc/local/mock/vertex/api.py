"""Vertex AI's HTTP surface: projects, locations, tokens; Gemini and Claude behind it.

https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference and
https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from extproc.local.mock import directives, gate
from extproc.local.mock.anthropic import hosted
from extproc.local.mock.anthropic.api import Anthropic
from extproc.local.mock.anthropic.models import MODELS
from extproc.local.mock.gemini import api as gemini, errors
from extproc.local.mock.reply import Headers, Refusal, Reply, Request, Stream
from extproc.local.mock.state import Memory
from extproc.local.mock.vertex import vectors

PREFIX: Final = "/vertex"
CALL: Final = re.compile(
    r"/v1(?:beta1)?"
    r"(?P<place>/projects/(?P<project>[^/]+)/locations/(?P<location>[a-z0-9-]+))?"
    r"/publishers/(?P<publisher>google|anthropic)"
    r"/models/(?P<model>[^/:]+(?:%3A[^/:]*)?):(?P<method>[A-Za-z]+)"
)
AUDIENCE: Final = "https://www.googleapis.com/auth/cloud-platform"
"""The scope that a token must have."""
DATED: Final = "vertex-2023-10-16"
ONLY_AT_AI_STUDIO: Final = frozenset(
    {"partMetadata", "mediaProcessing", "toolCall", "toolResponse", "willContinue"}
)
"""Fields that `google-genai` refuses to send to Vertex."""


class Vertex(gemini.Gemini):
    """The service, with one project that has everything; `keys` are of express mode."""

    name = "vertex"

    def __init__(self, memory: Memory, keys: Collection[str]) -> None:
        super().__init__(memory, keys)
        self._anthropic = Anthropic(memory, (hosted.KEY,))

    def owns(self, request: Request) -> bool:
        """Claim `/vertex`, and projects' paths."""
        return request.route.startswith(
            (PREFIX + "/", "/v1/projects/", "/v1beta1/projects/", "/v1/publishers/")
        )

    def _route(self, request: Request, headers: Headers) -> Reply | Stream:
        gate.check_headers(
            request, credentials=frozenset({"authorization", "x-goog-api-key"})
        )
        called = CALL.fullmatch(request.route.removeprefix(PREFIX))
        if called is None or request.method != "POST":
            raise errors.Status(404, "Requested entity was not found.")
        self._check_caller(request, project=called["project"])
        gate.check_body_headers(request)
        name, method = unquote(called["model"]), called["method"]
        if called["publisher"] == "anthropic":
            return self._raw_predict(request, name, method, headers)
        if method in vectors.METHODS:
            said = vectors.answer(request.body, name, method)
            return Reply(200, msgspec.json.encode(said), headers=headers)
        if method not in {"generateContent", "streamGenerateContent"}:
            raise errors.Status(404, "Requested entity was not found.")
        _check_fields(request.body)
        return self._generate(request, name, method, headers)

    def _check_caller(self, request: Request, *, project: str | None) -> None:
        bearer = request.header("authorization")
        key = request.header("x-goog-api-key")
        if bearer is not None and key is not None:
            raise Refusal(400, "two credentials", code="mock_unexpected_credential")
        if key is not None:
            self._check_key(request)
            return
        token = (bearer or "").removeprefix("Bearer ")
        if project is None or not self._memory.is_issued(token, AUDIENCE):
            raise errors.Status(
                401,
                "Request had invalid authentication credentials. Expected OAuth 2 access"
                " token, login cookie or other valid authentication credential.",
            )

    def _raw_predict(
        self, request: Request, name: str, method: str, headers: Headers
    ) -> Reply | Stream:
        if request.header("anthropic-version") is not None:
            raise Refusal(400, "mock_unexpected_header: anthropic-version")
        body = hosted.read(request.body)
        count = name == "count-tokens"
        if count and method == "rawPredict":
            name = body.pop("model", None) or ""
        elif method not in {"rawPredict", "streamRawPredict"}:
            raise errors.Status(404, "Requested entity was not found.")
        elif "model" in body:
            raise Refusal(400, "model: Extra inputs are not permitted")
        elif bool(body.get("stream")) != (method == "streamRawPredict"):
            raise errors.bad("`stream` does not match the method of the path.")
        betas = [
            beta.strip()
            for key, value in request.headers
            if key == "anthropic-beta"
            for beta in value.split(",")
        ]
        answer = hosted.ask(
            self._anthropic, body, model=_own(name), dated=DATED, betas=betas,
            count=count,
        )  # fmt: skip
        kept = tuple(pair for pair in answer.headers if pair[0] == "retry-after")
        return dataclasses.replace(answer, headers=(*headers, *kept))


def _own(name: str) -> str:
    """Return Anthropic's own name of a model that Vertex calls `claude-x@date`."""
    bare, _ = directives.split(name)
    own = bare.replace("@", "-")
    if own not in MODELS:
        raise errors.Status(
            404,
            f"Publisher Model `publishers/anthropic/models/{bare}` was not found or your"
            " project does not have access to it.",
        )
    return own + name[len(bare) :]


def _check_fields(raw: bytes) -> None:
    """Refuse what only AI Studio knows, and a turn of nobody's."""
    body = hosted.read(raw)
    for turn in body.get("contents") or ():
        if isinstance(turn, dict) and turn.get("role") not in {"user", "model"}:
            raise errors.bad("Please use a valid role: user, model.")
    for unknown in _fields(body) & ONLY_AT_AI_STUDIO:
        raise errors.bad(f'Invalid JSON payload received. Unknown name "{unknown}"')


def _fields(node: Any) -> set[str]:  # noqa: ANN401
    """Return the names of all members, but in what a caller's own tools say."""
    if isinstance(node, list):
        return {name for item in node for name in _fields(item)}
    if not isinstance(node, dict):
        return set()
    own = {"args", "response", "parameters", "parametersJsonSchema", "responseSchema",
           "responseJsonSchema"}  # fmt: skip
    return set(node).union(
        *(_fields(value) for key, value in node.items() if key not in own)
    )
