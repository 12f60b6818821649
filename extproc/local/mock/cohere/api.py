"""Cohere's HTTP surface for chat: path, keys, checks; every refusal in Cohere's form."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import msgspec

from extproc.local.mock import directives, gate, strictjson
from extproc.local.mock.cohere import chat
from extproc.local.mock.cohere.models import MODELS, Model
from extproc.local.mock.cohere.rules import CHAT
from extproc.local.mock.directives import Conduct, UnknownDirective
from extproc.local.mock.reply import Headers, Refusal, Reply, Request, SseEvent, Stream
from extproc.local.mock.rules import Violation, check as check_rule
from extproc.local.mock.state import Memory

PREFIX: Final = "/cohere"
CHAT_PATH: Final = "/v2/chat"
FINISH_REASONS: Final = (
    "COMPLETE", "STOP_SEQUENCE", "MAX_TOKENS", "TOOL_CALL", "ERROR", "TIMEOUT",
)  # fmt: skip

MESSAGES: Final[Mapping[int, str]] = {
    429: "You are past the per minute request limit, please wait and try again later.",
    500: "internal server error, this has been reported to our developers",
    503: "service unavailable",
    504: "gateway timeout",
}


class Cohere:
    """The provider; `keys` are exact or end in `*`."""

    name = "cohere"

    def __init__(self, memory: Memory, keys: Collection[str]) -> None:
        self._memory = memory
        self._keys = keys

    def owns(self, request: Request) -> bool:
        """Claim `/v2/chat`, and it under `/cohere`."""
        return request.route.removeprefix(PREFIX) == CHAT_PATH

    def respond(self, request: Request) -> Reply | Stream:
        """Answer as Cohere does."""
        headers: Headers = (("x-debug-trace-id", self._memory.next_request_id()),)
        try:
            return self._chat(request, headers)
        except Refusal as refusal:
            body = msgspec.json.encode({"message": refusal.message})
            return Reply(refusal.status, body, headers=(*headers, *refusal.headers))

    def _chat(self, request: Request, headers: Headers) -> Reply | Stream:
        gate.check_headers(request, credentials=frozenset({"authorization"}))
        if request.method != "POST":
            raise Refusal(405, "method not allowed")
        self._check_key(request)
        gate.check_body_headers(request)
        try:
            body = strictjson.read_object(request.body)
            check_rule(CHAT, body)
            name, conduct = directives.split(body["model"])
            model = MODELS.get(name)
            if model is None:
                raise Refusal(
                    404,
                    f"model '{name}' not found, make sure the correct model ID was used"
                    " and that you have access to the model.",
                )
            check(body, model)
            made = chat.understand(body, model, conduct, request.body)
        except strictjson.BadJson as exc:
            raise Refusal(400, f"invalid request: {exc}") from exc
        except Violation as exc:
            path = ".".join(map(str, exc.path))
            raise Refusal(422, f"invalid type or value at {path}: {exc}") from exc
        except UnknownDirective as exc:
            raise Refusal(400, str(exc)) from exc
        self._check_conduct(made)
        if body.get("stream"):
            return Stream(_breaking(made), headers=headers, conduct=made.conduct)
        whole = msgspec.json.encode(made.whole())
        return Reply(200, whole, headers=headers, conduct=made.conduct)

    def _check_key(self, request: Request) -> None:
        key = gate.bearer(request)
        if not key:
            raise Refusal(401, "no api key supplied")
        if not gate.is_key(key, self._keys, self.name):
            raise Refusal(401, "invalid api token")

    def _check_conduct(self, made: chat.Completion) -> None:
        conduct = made.conduct
        self._memory.fail_if_asked(conduct, _for_status)
        if conduct.filtered:
            raise Refusal(400, "filtered: no such error here")
        size, most = made.input_tokens, made.model.context
        if conduct.context_length or size > most:
            raise Refusal(
                400,
                f"too many tokens: total number of tokens in the prompt cannot exceed"
                f" {most} - received {max(size, most + 1)}. Try using a shorter prompt.",
            )
        if conduct.finish is not None and conduct.finish not in FINISH_REASONS:
            raise Refusal(400, f"finish={conduct.finish!r}: one of {FINISH_REASONS}")


def _for_status(status: int, message: str | None) -> Refusal:
    return Refusal(status, message or MESSAGES.get(status, "bad request"))


def check(body: Mapping[str, Any], model: Model) -> None:
    """Refuse what the types allow and Cohere does not.

    Raises:
        Refusal: 400, in Cohere's words.
    """
    messages = body["messages"]
    tools = {tool["function"]["name"] for tool in body.get("tools") or ()}
    if tools and not model.calls:
        raise Refusal(400, f"tools are not supported by {model.id}")
    shape = (body.get("response_format") or {}).get("type")
    if shape == "json_object" and (tools or body.get("documents")):
        raise Refusal(400, "response_format is not supported with tools or documents")
    if "tool_choice" in body and not tools:
        raise Refusal(400, "tool_choice cannot be specified without tools")
    if "thinking" in body and not model.thinks:
        raise Refusal(400, f"thinking is not supported by {model.id}")
    if "strict_tools" in body and not tools:
        raise Refusal(400, "strict_tools cannot be specified without tools")
    for message in messages:
        _check_message(message, model)
    if messages[-1]["role"] not in {"user", "tool"}:
        raise Refusal(400, "the last message must be a user or tool message")
    _check_calls(messages)


def _check_message(message: Mapping[str, Any], model: Model) -> None:
    content = message.get("content")
    if message["role"] == "assistant" and not content and not message.get("tool_calls"):
        raise Refusal(400, "an assistant message needs content or tool_calls")
    for part in content if isinstance(content, list) else ():
        if part["type"] == "image_url" and not model.sees:
            raise Refusal(400, f"image content is not supported by {model.id}")
    for call in message.get("tool_calls") or ():
        try:
            msgspec.json.decode(call["function"]["arguments"], type=dict)
        except msgspec.MsgspecError:
            raise Refusal(400, "tool call arguments must be a JSON object") from None


def _check_calls(messages: list[Mapping[str, Any]]) -> None:
    """Every call is answered right behind it, and nothing else is."""
    due: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in due:
                raise Refusal(400, f"no tool call with id {message['tool_call_id']}")
            due.discard(message["tool_call_id"])
            continue
        if due:
            raise Refusal(400, f"missing tool results for {sorted(due)}")
        due = {call["id"] for call in message.get("tool_calls") or ()}
    if due:
        raise Refusal(400, f"missing tool results for {sorted(due)}")


def _breaking(made: chat.Completion) -> Iterator[SseEvent]:
    """Yield the events, or the end of a failure among them if that is asked for."""
    conduct: Conduct = made.conduct
    for sent, event in enumerate(made.events()):
        if sent == conduct.error_after:
            error = conduct.message or "the model failed"
            delta = {"finish_reason": "ERROR", "error": error}
            end = {"type": "message-end", "delta": delta}
            yield SseEvent(msgspec.json.encode(end), "message-end")
            return
        yield event
