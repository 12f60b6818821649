"""Anthropic's HTTP surface: paths, keys, headers; every refusal in Anthropic's form."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import msgspec

from extproc.local.mock import directives, gate, strictjson
from extproc.local.mock.anthropic import betas as betas_, check, errors, messages
from extproc.local.mock.anthropic.models import MODELS, Model
from extproc.local.mock.anthropic.rules import (
    COUNT_TOKENS,
    MESSAGES,
    OLDER_MESSAGES,
)
from extproc.local.mock.directives import Conduct
from extproc.local.mock.reply import Headers, Refusal, Reply, Request, SseEvent, Stream
from extproc.local.mock.rules import Obj, check as check_rule
from extproc.local.mock.state import Memory

PREFIX: Final = "/anthropic"
MESSAGES_PATH: Final = "/v1/messages"
COUNT_PATH: Final = "/v1/messages/count_tokens"
MODELS_PATH: Final = "/v1/models"
OLDER: Final = "2023-06-01"
CURRENT: Final = "2026-10-21"
VERSIONS: Final = {OLDER: OLDER_MESSAGES, CURRENT: MESSAGES}
LARGEST_BODY: Final = 32 << 20
"""Bytes; https://docs.anthropic.com/en/api/errors#request-size-limits."""
BETA: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
STOP_REASONS: Final = (
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
)


class Anthropic:
    """The provider; `keys` are exact or end in `*`."""

    name = "anthropic"

    def __init__(self, memory: Memory, keys: Collection[str]) -> None:
        self._memory = memory
        self._keys = keys

    def owns(self, request: Request) -> bool:
        """Claim the messages paths, `/anthropic`, and whoever names a version."""
        return (
            request.route.startswith((PREFIX + "/", MESSAGES_PATH))
            or request.header("anthropic-version") is not None
        )

    def respond(self, request: Request) -> Reply | Stream:
        """Answer as Anthropic does."""
        request_id = self._memory.next_request_id()
        headers = _headers(request_id)
        try:
            return self._route(request, headers)
        except Refusal as refusal:
            return Reply(
                refusal.status,
                errors.body_of(refusal, request_id),
                headers=(*headers, *refusal.headers),
            )

    def _route(self, request: Request, headers: Headers) -> Reply | Stream:
        gate.check_headers(request, credentials=_credentials(request))
        route = request.route.removeprefix(PREFIX)
        if route in (MESSAGES_PATH, COUNT_PATH):
            _check_method(request, "POST")
            self._check_key(request)
            betas = _check_versions(request)
            gate.check_body_headers(request)
            if len(request.body) > LARGEST_BODY:
                raise errors.for_status(413)
            if route == COUNT_PATH:
                return self._count(request, betas, headers)
            return self._speak(request, betas, headers)
        if route == MODELS_PATH or route.startswith(MODELS_PATH + "/"):
            _check_method(request, "GET")
            self._check_key(request)
            _check_versions(request)
            return _ok(_models(route.removeprefix(MODELS_PATH)), headers)
        raise Refusal(404, "Not found", type="not_found_error")

    def _check_key(self, request: Request) -> None:
        bearer = request.header("authorization")
        if bearer is None:
            key = request.header("x-api-key")
        else:
            key = bearer.partition(" ")[2]
        if key is None:
            raise Refusal(
                401, "x-api-key header is required", type="authentication_error"
            )
        if not gate.is_key(key, self._keys, self.name):
            raise Refusal(401, "invalid x-api-key", type="authentication_error")

    def _read(
        self, request: Request, table: Obj, betas: frozenset[str]
    ) -> tuple[Mapping[str, Any], Model, Conduct]:
        """Return the body, its model, and what the model's name asks for."""
        with errors.refusing():
            body = betas_.plain(strictjson.read_object(request.body), betas)
            check_rule(table, body)
            name, conduct = directives.split(body["model"])
        model = _model(name)
        check.check(body, model, betas=betas)
        return body, model, conduct

    def _count(
        self, request: Request, betas: frozenset[str], headers: Headers
    ) -> Reply:
        body, _, _ = self._read(request, COUNT_TOKENS, betas)
        return _ok({"input_tokens": messages.count_input(body)}, headers)

    def _speak(
        self, request: Request, betas: frozenset[str], headers: Headers
    ) -> Reply | Stream:
        table = VERSIONS[request.header("anthropic-version") or CURRENT]
        body, model, conduct = self._read(request, table, betas)
        with errors.refusing():
            message = messages.understand(
                body, model, conduct, request.body, self._memory
            )
        self._check_conduct(message)
        if body.get("stream"):
            return Stream(
                _breaking(message, dict(headers)["request-id"]),
                headers=headers,
                conduct=message.conduct,
            )
        return _ok(message.whole(), headers, message.conduct)

    def _check_conduct(self, message: messages.Message) -> None:
        """Fail if the request says so, or if the prompt is too long for the model."""
        conduct, context = message.conduct, message.model.context
        self._memory.fail_if_asked(conduct, errors.for_status)
        if conduct.filtered:
            raise Refusal(400, "Output blocked by content filtering policy")
        length = message.input_tokens.total
        if conduct.context_length or length > context:
            raise Refusal(
                400,
                f"prompt is too long: {max(length, context + 1)} tokens > {context}"
                " maximum",
            )
        if conduct.finish is not None and conduct.finish not in STOP_REASONS:
            raise Refusal(
                400, f"stop_reason={conduct.finish!r}: expected one of {STOP_REASONS}"
            )


def _headers(request_id: str) -> Headers:
    return (
        ("request-id", request_id),
        ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
        ("anthropic-ratelimit-requests-limit", "4000"),
        ("anthropic-ratelimit-requests-remaining", "3999"),
        ("anthropic-ratelimit-requests-reset", "2025-01-01T00:00:00Z"),
        ("anthropic-ratelimit-input-tokens-limit", "2000000"),
        ("anthropic-ratelimit-input-tokens-remaining", "1999000"),
        ("anthropic-ratelimit-output-tokens-limit", "400000"),
        ("anthropic-ratelimit-output-tokens-remaining", "399000"),
    )


def _credentials(request: Request) -> frozenset[str]:
    """Return the headers that may carry the key.

    The official SDKs of the newer API version send it as a bearer token; `x-api-key`
    alone goes with the older one.
    """
    if request.header("anthropic-version") == OLDER or request.header("x-api-key"):
        return frozenset({"x-api-key"})
    return frozenset({"authorization"})


def _check_versions(request: Request) -> frozenset[str]:
    """Check `anthropic-version` and return the `anthropic-beta`s."""
    version = request.header("anthropic-version")
    if version is None:
        raise Refusal(400, "anthropic-version: header is required")
    if version not in VERSIONS:
        raise Refusal(400, f'anthropic-version: "{version}" is not a valid version')
    betas = [
        beta.strip()
        for name, value in request.headers
        if name == "anthropic-beta"
        for beta in value.split(",")
    ]
    for beta in betas:
        if BETA.fullmatch(beta) is None:
            raise Refusal(
                400, f"Unexpected value(s) `{beta}` for the `anthropic-beta` header."
            )
    return frozenset(betas)


def _breaking(message: messages.Message, request_id: str) -> Iterator[SseEvent]:
    """Yield the events, or an error among them if that is asked for."""
    conduct = message.conduct
    for sent, event in enumerate(message.events()):
        if sent == conduct.error_after:
            refusal = errors.for_status(529, conduct.message)
            refusal.type = conduct.error_type or refusal.type
            yield SseEvent(errors.body_of(refusal, request_id), "error")
            return
        yield event


def _check_method(request: Request, method: str) -> None:
    if request.method != method:
        raise Refusal(405, "Method Not Allowed", headers=(("allow", method),))


def _model(name: str) -> Model:
    model = MODELS.get(name)
    if model is None:
        raise Refusal(404, f"model: {name}", type="not_found_error")
    return model


def _models(rest: str) -> dict[str, Any]:
    if rest:
        name = rest.removeprefix("/")
        return _describe(name, _model(name))
    listed = [_describe(name, model) for name, model in MODELS.items()]
    return {
        "data": listed,
        "has_more": False,
        "first_id": listed[0]["id"],
        "last_id": listed[-1]["id"],
    }


def _describe(name: str, model: Model) -> dict[str, Any]:
    return {
        "type": "model",
        "id": name,
        "display_name": model.display_name,
        "created_at": model.created_at,
        "lifecycle": model.lifecycle,
        "max_input_tokens": model.context,
        "max_tokens": model.max_output,
    }


def _ok(body: object, headers: Headers, conduct: Conduct | None = None) -> Reply:
    encoded = msgspec.json.encode(body)
    return Reply(200, encoded, headers=headers, conduct=conduct or Conduct())
