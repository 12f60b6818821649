"""Mistral's HTTP surface for chat: path, keys, checks; every refusal in Mistral's form."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import msgspec

from extproc.local.mock import directives, gate, strictjson
from extproc.local.mock.directives import UnknownDirective
from extproc.local.mock.mistral.chat import MODELS, Completion, understand
from extproc.local.mock.mistral.rules import CHAT
from extproc.local.mock.openai.models import Model
from extproc.local.mock.reply import Headers, Refusal, Reply, Request, SseEvent, Stream
from extproc.local.mock.rules import Violation, check as check_rule
from extproc.local.mock.state import Memory

PATH: Final = "/mistral/v1/chat/completions"
FINISH_REASONS: Final = ("stop", "length", "model_length", "error", "tool_calls")

WORDS: Final[Mapping[int, tuple[str, str, str]]] = {
    429: ("Rate limit exceeded", "rate_limited", "1300"),
    500: ("Service unavailable.", "internal_server_error", "3000"),
    503: ("Service unavailable.", "service_unavailable", "3000"),
}
"""By status: what Mistral says, the type and the code."""

_ID: Final = re.compile(r"[a-zA-Z0-9]{9}")
_DATA: Final = re.compile(r"data:[a-z]+/[a-z0-9.+-]+;base64,(.+)", re.DOTALL)

Body = Mapping[str, Any]


class Mistral:
    """The provider; `keys` are exact or end in `*`."""

    name = "mistral"

    def __init__(self, memory: Memory, keys: Collection[str]) -> None:
        self._memory = memory
        self._keys = keys

    def owns(self, request: Request) -> bool:
        """Claim chat under `/mistral`; `services.Services` has the vectors."""
        return request.route == PATH

    def respond(self, request: Request) -> Reply | Stream:
        """Answer as Mistral does."""
        headers: Headers = (("mistral-correlation-id", self._memory.next_request_id()),)
        try:
            return self._chat(request, headers)
        except Violation as exc:
            # As FastAPI says it; `HTTPValidationError` of the SDK.
            kind = "extra_forbidden" if exc.fault == "unknown" else exc.fault
            fault = {"type": kind, "loc": ["body", *exc.path], "msg": str(exc)}
            body = msgspec.json.encode({"detail": [fault]})
            return Reply(422, body, headers=headers)
        except Refusal as refusal:
            said: object = {
                "object": "error",
                "message": refusal.message,
                "type": refusal.type,
                "param": None,
                "code": refusal.code,
            }
            if refusal.status == 401:
                said = {"detail": refusal.message}
            return Reply(
                refusal.status,
                msgspec.json.encode(said),
                headers=(*headers, *refusal.headers),
            )

    def _chat(self, request: Request, headers: Headers) -> Reply | Stream:
        gate.check_headers(request, credentials=frozenset({"authorization"}))
        if request.method != "POST":
            raise Refusal(405, "Method Not Allowed")
        self._check_key(request)
        gate.check_body_headers(request)
        try:
            body = strictjson.read_object(request.body)
            check_rule(CHAT, body)
            name, conduct = directives.split(body["model"])
            model = MODELS.get(name)
            if model is None:
                raise Refusal(
                    400, f"Invalid model: {name}", type="invalid_model", code="1500"
                )
            check(body, model)
            now = int(self._memory.clock())
            made = understand(body, model, conduct, request.body, now)
        except strictjson.BadJson as exc:
            raise Refusal(400, f"invalid JSON: {exc}") from exc
        except UnknownDirective as exc:
            raise Refusal(400, str(exc)) from exc
        self._check_conduct(made)
        if body.get("stream"):
            return Stream(_breaking(made), headers=headers, conduct=made.conduct)
        whole = msgspec.json.encode(made.whole())
        return Reply(200, whole, headers=headers, conduct=made.conduct)

    def _check_key(self, request: Request) -> None:
        if not gate.is_key(gate.bearer(request), self._keys, self.name):
            raise Refusal(401, "Unauthorized")

    def _check_conduct(self, made: Completion) -> None:
        conduct = made.conduct
        self._memory.fail_if_asked(conduct, _for_status)
        if conduct.filtered:
            raise Refusal(400, "filtered: no such error here")
        size, most = made.prompt_tokens, made.model.context
        if conduct.context_length or size > most:
            raise Refusal(
                400,
                f"Prompt contains {max(size, most + 1)} tokens and 0 draft tokens, too"
                f" large for model with {most} maximum context length",
                code="3051",
            )
        if conduct.finish is not None and conduct.finish not in FINISH_REASONS:
            raise Refusal(400, f"finish={conduct.finish!r}: one of {FINISH_REASONS}")


def _for_status(status: int, message: str | None) -> Refusal:
    usual = ("Bad request", "invalid_request_error", "3051")
    words, kind, code = WORDS.get(status, usual)
    return Refusal(status, message or words, type=kind, code=code)


def check(body: Body, model: Model) -> None:
    """Refuse what the types allow and Mistral does not.

    Raises:
        Refusal: 400, in Mistral's words.
    """
    for message in body["messages"]:
        if isinstance(message.get("content"), list):
            for chunk in message["content"]:
                _check_chunk(chunk, model)
        for call in message.get("tool_calls") or ():
            _check_id(call.get("id"))
    _check_order(body["messages"])
    shape = body.get("response_format") or {}
    if (shape.get("type") == "json_schema") != (shape.get("json_schema") is not None):
        raise Refusal(400, "json_schema is needed by that type, and no other")
    if body.get("tool_choice", "auto") not in ("auto", "none") and not body.get(
        "tools"
    ):
        raise Refusal(400, "Function call is required but no tools are given")
    if "reasoning_effort" in body and not reasons(model):
        raise Refusal(400, f"reasoning_effort is not supported by {model.id}")
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise Refusal(400, "top_logprobs needs logprobs")


def reasons(model: Model) -> bool:
    """Say whether a model can be told how much to think."""
    return model.reasoning or model.id.startswith(("mistral-small", "mistral-medium"))


def _check_chunk(chunk: Body, model: Model) -> None:
    match chunk["type"]:
        case "image_url":
            if not model.images:
                raise Refusal(400, f"Image content is not supported by {model.id}")
            said = chunk["image_url"]
            _check_url(said if isinstance(said, str) else said["url"])
        case "document_url":
            _check_url(chunk["document_url"])
        case "input_audio":
            if not model.audio:
                raise Refusal(400, f"Audio content is not supported by {model.id}")
            if not chunk["input_audio"].startswith(("http://", "https://")):
                _check_base64(chunk["input_audio"])
        case _:
            pass


def _check_url(url: str) -> None:
    if url.startswith(("http://", "https://")):
        return
    found = _DATA.fullmatch(url)
    if found is None:
        raise Refusal(400, "Invalid URL: neither http(s) nor base64 data")
    _check_base64(found[1])


def _check_base64(text: str) -> None:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise Refusal(400, "Invalid base64") from exc


def _check_id(id_: str | None) -> None:
    if id_ is None or _ID.fullmatch(id_) is None:
        raise Refusal(
            400,
            f"Tool call id was {id_} but must be a-z, A-Z, 0-9, with a length of 9.",
            type="invalid_function_call",
            code="3280",
        )


def _check_order(messages: list[Body]) -> None:
    due: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message.get("tool_call_id") not in due:
                raise _order("Unexpected tool call id in tool results")
            due.remove(message["tool_call_id"])
            continue
        if due:
            raise _order("Not the same number of function calls and responses")
        if message["role"] == "assistant":
            due = [call["id"] for call in message.get("tool_calls") or ()]
            if not due and not message.get("content"):
                raise _order("Assistant message must have either content or tool_calls")
    if due:
        raise _order("Not the same number of function calls and responses")
    last = messages[-1]
    if last["role"] not in {"user", "tool"} and not last.get("prefix"):
        raise _order(
            "Expected last role User or Tool (or Assistant with prefix True) for"
            f" serving but got {last['role']}"
        )


def _order(message: str) -> Refusal:
    return Refusal(400, message, type="invalid_request_message_order", code="3230")


def _breaking(made: Completion) -> Iterator[SseEvent]:
    """Yield the chunks, or the end of a failure among them if that is asked for."""
    for sent, event in enumerate(made.chunks()):
        if sent == made.conduct.error_after:
            yield SseEvent(msgspec.json.encode(made.failed()))
            yield SseEvent(b"[DONE]")
            return
        yield event
