"""Gemini's HTTP surface: paths, keys, models; every refusal in Google's form."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from extproc.local.mock import directives, gate, strictjson
from extproc.local.mock.directives import Conduct
from extproc.local.mock.gemini import check, errors, generation
from extproc.local.mock.gemini.models import MODELS, Model
from extproc.local.mock.gemini.rules import GENERATE
from extproc.local.mock.gemini.spelling import documented
from extproc.local.mock.reply import Headers, Refusal, Reply, Request, SseEvent, Stream
from extproc.local.mock.rules import check as check_rule
from extproc.local.mock.state import Memory

PREFIX: Final = "/gemini"
LIST: Final = re.compile(r"/v1(?:beta)?/models(?:/([^/:]+))?")
CALL: Final = re.compile(
    r"/v1(?:beta)?/models/([^/]+):(generateContent|streamGenerateContent)"
)
FINISH_REASONS: Final = (
    "FINISH_REASON_UNSPECIFIED",
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_OTHER",
    "NO_IMAGE",
    "IMAGE_RECITATION",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "MALFORMED_RESPONSE",
    "ESCALATION",
    "PUP_LIMITED_DISABLED",
    "CONTINUATION",
)


class Gemini:
    """The provider; `keys` are exact or end in `*`."""

    name = "gemini"

    def __init__(self, memory: Memory, keys: Collection[str]) -> None:
        self._memory = memory
        self._keys = keys

    def owns(self, request: Request) -> bool:
        """Claim `/v1beta`, `/gemini`, and `/v1` of whoever brings Google's header.

        Where OpenAI is served too, `/v1/models` is its own: the newest SDK, which asks
        for `/v1`, needs the prefix there.
        """
        return request.route.startswith((PREFIX + "/", "/v1beta/")) or (
            request.header("x-goog-api-key") is not None
            and "/publishers/" not in request.route
        )

    def respond(self, request: Request) -> Reply | Stream:
        """Answer as Google does."""
        headers = (
            ("x-request-id", self._memory.next_request_id()),
            ("server-timing", "gfet4t7; dur=12"),
        )
        try:
            return self._route(request, headers)
        except Refusal as refusal:
            return Reply(
                refusal.status,
                errors.body_of(refusal),
                headers=(*headers, *refusal.headers),
            )

    def _route(self, request: Request, headers: Headers) -> Reply | Stream:
        gate.check_headers(request, credentials=frozenset({"x-goog-api-key"}))
        self._check_key(request)
        route = request.route.removeprefix(PREFIX)
        called = CALL.fullmatch(route)
        if called is not None and request.method == "POST":
            gate.check_body_headers(request)
            name = unquote(called[1])
            return self._generate(request, name, called[2], headers)
        listed = LIST.fullmatch(route)
        if listed is not None and request.method == "GET":
            if listed[1] is not None:
                return _ok(_describe(_model(unquote(listed[1]))), headers)
            every = [_describe(model) for model in MODELS.values()]
            return _ok({"models": every}, headers)
        raise errors.Status(404, "Requested entity was not found.")

    def _check_key(self, request: Request) -> None:
        key = request.header("x-goog-api-key")
        if key is None:
            raise errors.Status(
                403,
                "Method doesn't allow unregistered callers (callers without established"
                " identity). Please use API Key or other form of API consumer identity"
                " to call this API.",
            )
        if not gate.is_key(key, self._keys, self.name):
            raise errors.Status(
                400,
                "API key not valid. Please pass a valid API key.",
                (
                    "ErrorInfo",
                    {"reason": "API_KEY_INVALID", "domain": "googleapis.com"},
                ),
            )

    def _generate(
        self, request: Request, name: str, method: str, headers: Headers
    ) -> Reply | Stream:
        with errors.refusing():
            name, conduct = directives.split(name)
            model = _model(name)
            body = documented(GENERATE, strictjson.read_object(request.body))
            check_rule(GENERATE, body)
            check.check(body, model)
            made = generation.understand(body, model, conduct, request.body)
        self._check_conduct(made)
        if method == "generateContent":
            return _ok(made.whole(), headers, made.conduct)
        if "alt=sse" in request.path.partition("?")[2].split("&"):
            return Stream(_breaking(made), headers=headers, conduct=made.conduct)
        array = b"[" + b",\r\n".join(made.chunks()) + b"]"
        return Reply(200, array, headers=headers, conduct=made.conduct)

    def _check_conduct(self, made: generation.Generation) -> None:
        """Fail if the request says so, or if the prompt is too long for the model."""
        conduct, context = made.conduct, made.model.context
        status = self._memory.failing_status(conduct)
        if status is not None:
            raise errors.for_status(status, conduct.message, conduct.retry_after)
        if conduct.filtered:
            raise errors.bad("filtered: a finish is said here, such as finish=SAFETY")
        length = made.input_tokens
        if conduct.context_length or length > context:
            raise errors.bad(
                f"The input token count ({max(length, context + 1)}) exceeds the maximum"
                f" number of tokens allowed ({context})."
            )
        if conduct.finish is not None and conduct.finish not in FINISH_REASONS:
            raise errors.bad(
                f"finish={conduct.finish!r}: expected one of {FINISH_REASONS}"
            )


def _breaking(made: generation.Generation) -> Iterator[SseEvent]:
    """Yield the pieces, or an error among them if that is asked for."""
    conduct = made.conduct
    for sent, chunk in enumerate(made.chunks()):
        if sent == conduct.error_after:
            refusal = errors.for_status(503, conduct.message)
            refusal.type = conduct.error_type or refusal.type
            yield SseEvent(errors.body_of(refusal))
            return
        yield SseEvent(chunk)


def _model(name: str) -> Model:
    model = MODELS.get(name)
    if model is None:
        raise errors.Status(
            404,
            f"models/{name} is not found for API version v1beta, or is not supported for"
            " generateContent. Call ListModels to see the list of available models and"
            " their supported methods.",
        )
    return model


def _describe(model: Model) -> dict[str, Any]:
    return {
        "name": f"models/{model.id}",
        "displayName": model.display_name,
        "version": "001",
        "inputTokenLimit": model.context,
        "outputTokenLimit": model.max_output,
        "supportedGenerationMethods": ["generateContent"],
        "thinking": model.thinking is not None,
    }


def _ok(body: object, headers: Headers, conduct: Conduct | None = None) -> Reply:
    encoded = msgspec.json.encode(body)
    return Reply(200, encoded, headers=headers, conduct=conduct or Conduct())
