"""Whether what a provider is said to answer is in its own SDK's types."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pydantic
from anthropic.types import Message, RawMessageStreamEvent
from botocore.validate import ParamValidator
from cohere.v2.types import V2ChatResponse, V2ChatStreamResponse
from google.genai.types import GenerateContentResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.oracles.converse_requests import as_python, service
from tests.oracles.events import cut

_ANTHROPIC: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
_COHERE: TypeAdapter[Any] = TypeAdapter(V2ChatStreamResponse)
_RESPONSES: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def _chat(body: bytes, *, streamed: bool) -> None:
    if not streamed:
        ChatCompletion.model_validate_json(body, strict=True)
        return
    for event in cut(body):
        if event.data != b"[DONE]" and b'"error"' not in event.data:
            ChatCompletionChunk.model_validate_json(event.data, strict=True)


def _responses(body: bytes, *, streamed: bool) -> None:
    if not streamed:
        Response.model_validate_json(body, strict=True)
        return
    for number, event in enumerate(cut(body)):
        read = _RESPONSES.validate_json(event.data, strict=True)
        assert (read.type, read.sequence_number) == (event.name, number)


def _anthropic(body: bytes, *, streamed: bool) -> None:
    if not streamed:
        Message.model_validate_json(body, strict=True)
        return
    for event in cut(body):
        if event.name not in {"ping", "error"}:
            assert _ANTHROPIC.validate_json(event.data, strict=True).type == event.name


def _gemini(body: bytes, *, streamed: bool) -> None:
    for data in [event.data for event in cut(body)] if streamed else [body]:
        told = json.loads(data)
        if "error" not in told:
            read = GenerateContentResponse.model_validate(told)
            again = read.model_dump(mode="json", by_alias=True, exclude_none=True)
            assert again == told


def _converse(body: bytes, *, streamed: bool) -> None:
    if streamed:
        return  # each line by itself: `converse_line`
    _parse(json.loads(body), service().operation_model("Converse").output_shape)


def converse_line(line: str) -> None:
    """Hold one line of an event stream against botocore's model."""
    name, payload = line.split(" ", 1)
    union = service().operation_model("ConverseStream").output_shape.members["stream"]
    _parse(json.loads(payload), union.members[name.removeprefix("!")])


def _parse(told: Any, shape: Any) -> None:
    report = ParamValidator().validate(as_python(told, shape), shape)
    assert not report.has_errors(), report.generate_report()


def _cohere(body: bytes, *, streamed: bool) -> None:
    if not streamed:
        _known(V2ChatResponse.model_validate_json(body))
        return
    for event in cut(body):
        read = _COHERE.validate_json(event.data)
        assert read.type == event.name
        _known(read)


def _known(read: pydantic.BaseModel) -> None:
    """Hold that the SDK knows every member, deep down: its types allow any."""
    assert not read.model_extra, read.model_extra
    for value in dict(read).values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, pydantic.BaseModel):
                _known(one)


PROVIDERS: dict[str, Callable[..., None]] = {
    "cohere": _cohere,
    "openai_chat": _chat,
    "openai_responses": _responses,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "converse": _converse,
}
