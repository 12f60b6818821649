"""What a client's official SDK makes of an answer: parsed strictly, streams accumulated.

The SDKs are real and get the bytes over a transport that goes nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx2
import openai
from anthropic.types import (
    CitationsWebSearchResultLocation,
    Message,
    RawMessageStreamEvent,
)
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import (
    Response,
    ResponseOutputRefusal,
    ResponseOutputText,
    ResponseStreamEvent,
)
from pydantic import TypeAdapter

from tests.oracles.events import Event, cut

_ANTHROPIC_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
_RESPONSES_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


@dataclass
class Heard:
    """One answer, in no API's words."""

    text: str = ""
    refusal: str = ""
    thinking: str = ""
    calls: list[list[str]] = field(default_factory=list)
    """Names, and arguments as compact JSON."""
    call_ids: list[str] = field(default_factory=list)
    finish: str = ""
    """``stop length tools refused``."""
    counts: tuple[int, int, int] = (0, 0, 0)
    """Input (all of it), output, cached."""
    echo: list[Any] = field(default_factory=list)
    """What the client gives back in its next request."""
    sources: list[list[str]] = field(default_factory=list)
    """The words that are said to come from a page, and its URL."""
    searches: list[str] = field(default_factory=list)
    """What the provider has searched for, or the pages that it has read."""
    error: str | None = None


_next: list[httpx2.Response] = []
"""What the transport answers."""


def _transport() -> httpx2.Client:
    return httpx2.Client(transport=httpx2.MockTransport(lambda _: _next.pop()))


_OPENAI = openai.OpenAI(
    api_key="k", base_url="http://gateway.test", max_retries=0, http_client=_transport()
)
_ANTHROPIC = anthropic.Anthropic(
    api_key="k", base_url="http://gateway.test", max_retries=0, http_client=_transport()
)


def _answers(body: bytes, content_type: str, status: int = 200) -> None:
    headers = {"content-type": content_type}
    _next[:] = [httpx2.Response(status, content=body, headers=headers)]


def _compact(arguments: str) -> str:
    return json.dumps(json.loads(arguments), separators=(",", ":"), ensure_ascii=False)


def _call(call_id: str, name: str, arguments: str, heard: Heard) -> None:
    heard.calls.append([name, _compact(arguments)])
    heard.call_ids.append(call_id)


# ---------------------------------------------------------------- chat completions

_CHAT_FINISH = {
    "stop": "stop", "length": "length", "tool_calls": "tools", "content_filter": "refused",
}  # fmt: skip


def _chat(body: bytes, status: int) -> Heard:
    _answers(body, "application/json", status)
    try:
        _OPENAI.chat.completions.create(model="m", messages=[])
    except openai.APIStatusError as error:
        return Heard(error=error.message)
    read = ChatCompletion.model_validate_json(body, strict=True)
    return _chat_heard(read)


def _chat_heard(read: ChatCompletion) -> Heard:
    (choice,) = read.choices
    message = choice.message
    heard = Heard(
        text=message.content or "",
        refusal=message.refusal or "",
        thinking=(message.model_extra or {}).get("reasoning_content") or "",
        finish="refused" if message.refusal else _CHAT_FINISH[choice.finish_reason],
        # An application copies the message, without what only the SDK adds.
        echo=[message.model_dump(mode="json", exclude_unset=True, exclude={"parsed"})],
    )
    for note in message.annotations or ():
        at = note.url_citation
        heard.sources.append([heard.text[at.start_index : at.end_index], at.url])
    for call in message.tool_calls or ():
        assert call.type == "function"
        _call(call.id, call.function.name, call.function.arguments, heard)
    if read.usage:
        details = read.usage.prompt_tokens_details
        heard.counts = (
            read.usage.prompt_tokens,
            read.usage.completion_tokens,
            (details and details.cached_tokens) or 0,
        )
        assert read.usage.total_tokens == sum(heard.counts[:2])
    return heard


def _chat_stream(body: bytes) -> Heard:
    events = cut(body)
    failed = events[-1].data != b"[DONE]"
    for event in events[:-1]:
        assert not event.name
        ChatCompletionChunk.model_validate_json(event.data, strict=True)
    _answers(body, "text/event-stream")
    try:
        with _OPENAI.chat.completions.stream(model="m", messages=[]) as stream:
            for _ in stream:
                pass
            # What `get_final_completion` gives, which refuses an answer that was cut off.
            final = stream.current_completion_snapshot
    except openai.APIError as error:
        assert failed or b'"error"' in events[-2].data
        return Heard(error=error.message)
    assert not failed
    heard = _chat_heard(final)
    for message in heard.echo:
        _without_indexes(message)
    return heard


def _without_indexes(message: dict[str, Any]) -> None:
    """Drop the accumulator's own bookkeeping, as an application has to."""
    for call in message.get("tool_calls") or ():
        call.pop("index", None)
        call["function"].pop("parsed_arguments", None)


# ---------------------------------------------------------------- completions


def _completions(body: bytes, status: int) -> Heard:
    _answers(body, "application/json", status)
    try:
        _OPENAI.completions.create(model="m", prompt="")
    except openai.APIStatusError as error:
        return Heard(error=error.message)
    return _completion_heard([Completion.model_validate_json(body, strict=True)])


def _completions_stream(body: bytes) -> Heard:
    _answers(body, "text/event-stream")
    events = cut(body)
    try:
        list(_OPENAI.completions.create(model="m", prompt="", stream=True))
    except openai.APIError as error:
        return Heard(error=error.message)
    assert events[-1].data == b"[DONE]"
    pieces = []
    for event in events[:-1]:
        piece = json.loads(event.data)
        for choice in piece["choices"]:
            # The SDK's type knows whole answers only, the API says null until the end.
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        pieces.append(Completion.model_validate(piece, strict=True))
    return _completion_heard(pieces)


def _completion_heard(pieces: Iterable[Completion]) -> Heard:
    heard = Heard()
    for piece in pieces:
        for choice in piece.choices:
            heard.text += choice.text
            if choice.finish_reason:
                heard.finish = _CHAT_FINISH[choice.finish_reason]
        if piece.usage:
            details = piece.usage.prompt_tokens_details
            cached = (details and details.cached_tokens) or 0
            heard.counts = (
                piece.usage.prompt_tokens,
                piece.usage.completion_tokens,
                cached,
            )
    return heard


# ---------------------------------------------------------------- responses


def _responses(body: bytes, status: int) -> Heard:
    _answers(body, "application/json", status)
    try:
        _OPENAI.responses.create(model="m", input="")
    except openai.APIStatusError as error:
        return Heard(error=error.message)
    return _response_heard(Response.model_validate_json(body, strict=True))


def _response_heard(read: Response) -> Heard:
    heard = Heard(
        echo=[
            item.model_dump(
                mode="json", exclude_unset=True, exclude={"parsed_arguments", "status"}
            )
            for item in read.output
        ]
    )
    for item in read.output:
        match item.type:
            case "message":
                for part in item.content:
                    _part_heard(part, heard)
            case "reasoning":
                heard.thinking += "".join(one.text for one in item.summary)
            case "function_call":
                _call(item.call_id, item.name, item.arguments, heard)
            case "web_search_call":
                did = item.action
                looked = did.queries if did.type == "search" else [did.url or ""]
                heard.searches += looked or ()
            case _:
                raise AssertionError(item.type)
    assert heard.text == read.output_text
    reason = read.incomplete_details and read.incomplete_details.reason
    match read.status, reason:
        case "completed", None:
            heard.finish = (
                "tools" if heard.calls else "refused" if heard.refusal else "stop"
            )
        case "incomplete", "max_output_tokens":
            heard.finish = "length"
        case "incomplete", "content_filter":
            heard.finish = "refused"
        case _:
            heard.error = read.error.message if read.error else ""
    if read.usage:
        heard.counts = (
            read.usage.input_tokens,
            read.usage.output_tokens,
            read.usage.input_tokens_details.cached_tokens,
        )
        assert read.usage.total_tokens == sum(heard.counts[:2])
    return heard


def _part_heard(part: ResponseOutputText | ResponseOutputRefusal, heard: Heard) -> None:
    if part.type == "refusal":
        heard.refusal += part.refusal
        return
    heard.text += part.text
    for note in part.annotations:
        if note.type == "file_citation":
            heard.sources.append([part.text[: note.index], note.filename])
            continue
        assert note.type == "url_citation"
        words = part.text[note.start_index : note.end_index]
        heard.sources.append([words, note.url])


def _responses_stream(body: bytes) -> Heard:
    assert b"[DONE]" not in body
    last: Any = None
    error: str | None = None
    for number, event in enumerate(cut(body)):
        last = _RESPONSES_EVENT.validate_json(event.data, strict=True)
        assert (last.type, last.sequence_number) == (event.name, number)
        if last.type == "error":
            error = last.message
    assert last.type in {
        "response.completed", "response.incomplete", "response.failed",
    }  # fmt: skip
    _answers(body, "text/event-stream")
    try:
        with _OPENAI.responses.stream(model="m", input="") as stream:
            for _ in stream:
                pass
            final = stream.get_final_response()
    except openai.APIError as failure:
        assert last.type == "response.failed"
        return Heard(error=failure.message)
    except RuntimeError:
        # The accumulator knows one proper end only.
        assert last.type != "response.completed"
        final = last.response
    heard = _response_heard(final)
    if error is not None:
        heard.error = error
    return heard


# ---------------------------------------------------------------- messages

_STOPS = {
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length",
    "tool_use": "tools", "refusal": "refused",
}  # fmt: skip


def _messages(body: bytes, status: int) -> Heard:
    _answers(body, "application/json", status)
    try:
        _ANTHROPIC.messages.create(model="m", max_tokens=9, messages=[])
    except anthropic.APIStatusError as error:
        return Heard(error=json.loads(body)["error"]["message"] or error.message)
    return _message_heard(Message.model_validate_json(body, strict=True))


def _message_heard(read: Message) -> Heard:
    heard = Heard(
        finish=_STOPS[read.stop_reason or ""],
        echo=[
            {
                "role": "assistant",
                "content": [
                    block.model_dump(mode="json", exclude_unset=True)
                    for block in read.content
                ],
            }
        ],
    )
    for block in read.content:
        match block.type:
            case "text":
                heard.text += block.text
                for one in block.citations or ():
                    page = isinstance(one, CitationsWebSearchResultLocation)
                    name = getattr(one, "url" if page else "document_title", "")
                    heard.sources.append([block.text, name])
            case "server_tool_use":
                heard.searches += map(str, block.input.values())
            case "web_search_tool_result" | "web_fetch_tool_result":
                pass
            case "thinking":
                heard.thinking += block.thinking
            case "tool_use":
                _call(block.id, block.name, json.dumps(block.input), heard)
            case "redacted_thinking":
                pass
            case _:
                raise AssertionError(block.type)
    usage = read.usage
    cached = usage.cache_read_input_tokens or 0
    made = usage.cache_creation_input_tokens or 0
    heard.counts = (usage.input_tokens + cached + made, usage.output_tokens, cached)
    return heard


def _messages_stream(body: bytes) -> Heard:
    events = cut(body)
    for event in events:
        assert json.loads(event.data)["type"] == event.name
        if event.name not in {"error", "ping"}:
            _ANTHROPIC_EVENT.validate_json(event.data, strict=True)
    _answers(body, "text/event-stream")
    try:
        with _ANTHROPIC.messages.stream(model="m", max_tokens=9, messages=[]) as stream:
            final = stream.get_final_message()
    except anthropic.APIError:
        assert events[-1].name == "error"
        return Heard(error=json.loads(events[-1].data)["error"]["message"])
    assert events[-1].name == "message_stop"
    return _message_heard(final)


@dataclass(frozen=True)
class Client:
    """One official SDK."""

    hear: Callable[[bytes, int], Heard]
    """(body, status) -> what it makes of a whole answer."""
    hear_stream: Callable[[bytes], Heard]


CLIENTS = {
    "openai_chat": Client(_chat, _chat_stream),
    "openai_completions": Client(_completions, _completions_stream),
    "openai_responses": Client(_responses, _responses_stream),
    "anthropic": Client(_messages, _messages_stream),
}

__all__ = ["CLIENTS", "Client", "Event", "Heard"]
