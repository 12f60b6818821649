"""OpenAI's HTTP surface: paths, keys, headers; every refusal in OpenAI's form."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec

from extproc.local.mock import directives, gate, strictjson
from extproc.local.mock.directives import Conduct
from extproc.local.mock.openai import (
    chat,
    check,
    completions,
    errors,
    responses,
    responses_check,
)
from extproc.local.mock.openai.models import MODELS, Model
from extproc.local.mock.openai.responses_memory import Shelf
from extproc.local.mock.openai.rules import CHAT
from extproc.local.mock.reply import Headers, Refusal, Reply, Request, SseEvent, Stream
from extproc.local.mock.rules import Violation, check as check_rule
from extproc.local.mock.state import Memory

PREFIX: Final = "/openai"
CHAT_PATH: Final = "/v1/chat/completions"
COMPLETIONS_PATH: Final = "/v1/completions"
RESPONSES_PATH: Final = "/v1/responses"
MODELS_PATH: Final = "/v1/models"
FINISH_REASONS: Final = (
    "stop",
    "length",
    "tool_calls",
    "content_filter",
    "function_call",
)


class OpenAI:
    """The provider; `keys` are exact or end in `*`."""

    name = "openai"

    def __init__(
        self, memory: Memory, keys: Collection[str], shelf: Shelf | None = None
    ) -> None:
        """Responses that are to be stored are put on `shelf`."""
        self._memory = memory
        self._keys = keys
        self._shelf = Shelf() if shelf is None else shelf

    def owns(self, request: Request) -> bool:
        """Claim our paths, `/openai`, and models unless Anthropic's are meant."""
        if request.route.startswith(MODELS_PATH):
            return request.header("anthropic-version") is None
        return request.route.startswith(
            (PREFIX + "/", CHAT_PATH, COMPLETIONS_PATH, RESPONSES_PATH)
        )

    def respond(self, request: Request) -> Reply | Stream:
        """Answer as OpenAI does."""
        headers = self._headers()
        try:
            return self._route(request, headers)
        except Refusal as refusal:
            return Reply(
                refusal.status,
                errors.body_of(refusal),
                headers=(*headers, *refusal.headers),
            )

    def _headers(self) -> Headers:
        return (
            ("x-request-id", self._memory.next_request_id()),
            ("openai-processing-ms", "12"),
            ("openai-organization", "mock-org"),
            ("openai-version", "2020-10-01"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-limit-tokens", "2000000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-remaining-tokens", "1999000"),
            ("x-ratelimit-reset-requests", "6ms"),
            ("x-ratelimit-reset-tokens", "30ms"),
        )

    def _route(self, request: Request, headers: Headers) -> Reply | Stream:
        gate.check_headers(request, credentials=frozenset({"authorization"}))
        route = request.route.removeprefix(PREFIX)
        serve = {
            CHAT_PATH: self._complete,
            COMPLETIONS_PATH: self._go_on,
            RESPONSES_PATH: self._answer,
        }.get(route)
        if serve is not None:
            _check_method(request, "POST")
            self._check_key(request)
            gate.check_body_headers(request)
            return serve(request, headers)
        if route == MODELS_PATH:
            _check_method(request, "GET")
            self._check_key(request)
            listed = [_describe(name, model) for name, model in MODELS.items()]
            return _ok({"object": "list", "data": listed}, headers)
        if route.startswith(MODELS_PATH + "/"):
            _check_method(request, "GET")
            self._check_key(request)
            name = route.removeprefix(MODELS_PATH + "/")
            return _ok(_describe(name, _model(name)), headers)
        raise Refusal(404, f"Invalid URL ({request.method} {request.route})", code=None)

    def _check_key(self, request: Request) -> None:
        given = request.header("authorization")
        if given is None:
            raise Refusal(
                401,
                "You didn't provide an API key. You need to provide your API key in an"
                " Authorization header using Bearer auth (i.e. Authorization: Bearer"
                " YOUR_KEY).",
            )
        if not gate.is_key(gate.bearer(request), self._keys, self.name):
            shown = gate.masked(given.partition(" ")[2])
            raise Refusal(
                401,
                f"Incorrect API key provided: {shown}. You can find your API"
                " key at https://platform.openai.com/account/api-keys.",
                code="invalid_api_key",
            )

    def _complete(self, request: Request, headers: Headers) -> Reply | Stream:
        with errors.refusing():
            body = strictjson.read_object(request.body)
            check_rule(CHAT, body)
            name, conduct = directives.split(body["model"])
            model = _model(name)
            check.check(body, model)
            completion = chat.understand(
                body, model, conduct, request.body, int(self._memory.clock())
            )
        self._check_conduct(completion)
        _check_finish(completion.conduct, FINISH_REASONS)
        conduct = completion.conduct
        if body.get("stream"):
            return Stream(_breaking(completion), headers=headers, conduct=conduct)
        return _ok(completion.whole(), headers, conduct)

    def _go_on(self, request: Request, headers: Headers) -> Reply | Stream:
        """Answer by the legacy completions API."""
        with errors.refusing():
            body = strictjson.read_object(request.body)
            check_rule(completions.COMPLETION, body)
            name, conduct = directives.split(body["model"])
            model = _model(name)
            completions.check(body, model)
            completion = completions.understand(
                body, model, conduct, request.body, int(self._memory.clock())
            )
        self._check_conduct(completion)
        conduct = completion.conduct
        if body.get("stream"):
            return Stream(_breaking(completion), headers=headers, conduct=conduct)
        return _ok(completion.whole(), headers, conduct)

    def _answer(self, request: Request, headers: Headers) -> Reply | Stream:
        """Answer by the Responses API."""
        with errors.refusing():
            body = strictjson.read_object(request.body)
            items = responses_check.check_shape(body)
            name, conduct = directives.split(_required(body, "model"))
            model = _model(name)
            items = responses_check.check(body, items, model, self._shelf)
            reply = responses.understand(
                body,
                items,
                model,
                conduct,
                raw=request.body,
                created=int(self._memory.clock()),
            )
        self._check_conduct(reply)
        _check_finish(reply.conduct, responses.REASONS)
        if body.get("store") is not False:
            self._shelf.keep(reply.whole(), [*items, *reply.output()])
        if body.get("stream"):
            return Stream(reply.events(), headers=headers, conduct=reply.conduct)
        return _ok(reply.whole(), headers, reply.conduct)

    def _check_conduct(
        self, asked: chat.Completion | completions.Completion | responses.Reply
    ) -> None:
        """Fail if the request says so, or if the prompt is too long for the model."""
        conduct, model = asked.conduct, asked.model
        self._memory.fail_if_asked(conduct, errors.for_status)
        if conduct.filtered:
            raise self._filter()
        if isinstance(asked, responses.Reply):
            if conduct.context_length or asked.input_tokens > model.context:
                raise Refusal(
                    400,
                    "Your input exceeds the context window of this model. Please"
                    " adjust your input and try again.",
                    param="input",
                    code="context_length_exceeded",
                )
        elif conduct.context_length or asked.prompt_tokens > model.context:
            raise Refusal(
                400,
                f"This model's maximum context length is {model.context} tokens. However,"
                f" your messages resulted in {max(asked.prompt_tokens, model.context + 1)}"
                " tokens. Please reduce the length of the messages.",
                param="messages",
                code="context_length_exceeded",
            )

    def _filter(self) -> Refusal:
        """Return what OpenAI says to a prompt that it does not want to answer."""
        return Refusal(
            400,
            "Invalid prompt: your prompt was flagged as potentially violating our usage"
            " policy. Please try again with a different prompt.",
            code="invalid_prompt",
        )


def _check_finish(conduct: Conduct, reasons: tuple[str, ...]) -> None:
    if conduct.finish is not None and conduct.finish not in reasons:
        raise Refusal(
            400,
            f"finish={conduct.finish!r}: expected one of {reasons}",
            code="mock_unknown_directive",
        )


def _required(body: dict[str, Any], name: str) -> str:
    if name not in body:
        raise Violation("missing", (name,))
    value: str = body[name]
    return value


def _breaking(
    completion: chat.Completion | completions.Completion,
) -> Iterator[SseEvent]:
    """Yield the chunks, or an error among them if that is asked for."""
    conduct = completion.conduct
    for sent, event in enumerate(completion.chunks()):
        if sent == conduct.error_after:
            refusal = errors.for_status(500, conduct.message)
            refusal.type = conduct.error_type or refusal.type
            yield SseEvent(errors.body_of(refusal))
            return
        yield event


def _check_method(request: Request, method: str) -> None:
    if request.method != method:
        raise Refusal(
            405,
            f"Not allowed to {request.method} on {request.route}.",
            headers=(("allow", method),),
        )


def _model(name: str) -> Model:
    model = MODELS.get(name)
    if model is None:
        raise Refusal(
            404,
            f"The model `{name}` does not exist or you do not have access to it.",
            code="model_not_found",
        )
    return model


def _describe(name: str, model: Model) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": model.created,
        "owned_by": "system",
    }


def _ok(body: object, headers: Headers, conduct: Conduct | None = None) -> Reply:
    encoded = msgspec.json.encode(body)
    return Reply(200, encoded, headers=headers, conduct=conduct or Conduct())
