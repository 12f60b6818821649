"""A request taken through the formats to a strict mock, and its answer back.

What the exchange does between two formats, without an exchange: read, write, ask, read,
write. The mocks are the judges of what is sent.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from extproc import canonical as c
from extproc.formats import anthropic, converse, gemini, openai_chat, openai_responses
from extproc.formats.answer_tool import Unwrapping, unwrap
from extproc.formats.base import (
    AnyClientFormat,
    AnyProviderFormat,
    StreamReader,
    WriterContext,
)
from extproc.framing.base import SSE, Framing
from extproc.framing.eventstream import EVENT_STREAM
from extproc.framing.members import read_members
from extproc.framing.sse import SSEDecoder
from extproc.local.mock.anthropic.api import Anthropic
from extproc.local.mock.bedrock.api import Bedrock
from extproc.local.mock.connection import event_bytes
from extproc.local.mock.gemini.api import Gemini
from extproc.local.mock.openai.api import OpenAI
from extproc.local.mock.reply import Reply, Request, Stream
from extproc.local.mock.state import Memory

Json = dict[str, Any]

CLIENTS: dict[str, AnyClientFormat] = {
    "openai_chat": openai_chat.CLIENT,
    "openai_responses": openai_responses.CLIENT,
    "anthropic": anthropic.CLIENT,
}


@dataclasses.dataclass(frozen=True)
class Place:
    """One API of one provider, behind its mock."""

    format: AnyProviderFormat
    mock: Callable[..., Any]
    model: str
    path: str
    stream_path: str
    headers: tuple[tuple[str, str], ...]
    framing: Framing = SSE


_BEARER = (("authorization", "Bearer sk-mock-1"),)

PLACES: dict[str, Place] = {
    "openai_chat": Place(
        openai_chat.PROVIDER, OpenAI, "gpt-4o", "/v1/chat/completions", "", _BEARER
    ),
    "openai_responses": Place(
        openai_responses.PROVIDER, OpenAI, "gpt-4o", "/v1/responses", "", _BEARER
    ),
    "anthropic": Place(
        anthropic.PROVIDER, Anthropic, "claude-sonnet-4-5", "/v1/messages", "",
        (("x-api-key", "sk-mock-1"), ("anthropic-version", "2023-06-01")),
    ),
    "gemini": Place(
        gemini.PROVIDER, Gemini, "gemini-3.5-flash",
        "/v1beta/models/{}:generateContent",
        "/v1beta/models/{}:streamGenerateContent?alt=sse",
        (("x-goog-api-key", "sk-mock-1"),),
    ),
    "converse": Place(
        converse.PROVIDER, Bedrock, "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "/model/{}/converse", "/model/{}/converse-stream", _BEARER, EVENT_STREAM,
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Relayed:
    """What came back."""

    sent: Json
    """The body that reached the provider."""
    body: bytes
    """The client's answer."""
    dropped: tuple[str, ...]

    @property
    def whole(self) -> Json:
        answer: Json = json.loads(self.body)
        return answer

    @property
    def events(self) -> list[Json]:
        """The frames of a stream, but for ``[DONE]``."""
        frames = SSEDecoder().feed(self.body)
        return [json.loads(f.data) for f in frames if f.data != b"[DONE]"]


def relay(
    client: str, provider: str, body: Json, *, model: str = "", cut: int | None = None
) -> Relayed:
    """Take `body` to the provider's mock and back; a stream comes in reads of `cut`."""
    place, form = PLACES[provider], CLIENTS[client]
    model = model or place.model
    raw = msgspec.json.encode(body)
    request = form.read_request(raw, read_members(raw))
    rendered = place.format.write_request(request, model, 4096)
    path = (place.stream_path or place.path) if request.stream else place.path
    reply = place.mock(Memory(lambda: 1.7e9), ("sk-mock-*",)).respond(
        Request(
            "POST", path.format(model),
            (("content-type", "application/json"), *place.headers), rendered.body,
        )
    )  # fmt: skip
    context = WriterContext(
        id="gw1", created=1700, model=model, include_usage=request.include_usage,
        kept=form.keep(request),
    )  # fmt: skip
    if isinstance(reply, Stream):
        raw = b"".join(event_bytes(event, "\n") for event in reply.events)
        out = translate(place, form, raw, context, rendered.answer_tool, cut)
    else:
        assert isinstance(reply, Reply)
        assert reply.status == 200, reply.body
        answer = place.format.read_answer(reply.body)
        if rendered.answer_tool:
            answer = unwrap(answer, rendered.answer_tool)
        out = form.write_answer(answer, context)
    return Relayed(json.loads(rendered.body), out, rendered.dropped)


def translate(
    place: Place,
    form: AnyClientFormat,
    raw: bytes,
    context: WriterContext,
    answer_tool: str = "",
    cut: int | None = None,
) -> bytes:
    """Translate a provider's stream, in reads of `cut` bytes."""
    reader: StreamReader = place.format.stream_reader()
    if answer_tool:
        reader = Unwrapping(reader, answer_tool)
    writer, frames = form.stream_writer(context), place.framing.decoder()
    size = cut or max(len(raw), 1)
    out = [
        writer.write(reader.feed(frame))
        for start in range(0, len(raw), size)
        for frame in frames.feed(raw[start : start + size])
    ]
    out += [writer.write(reader.feed(frame)) for frame in frames.close()]
    return b"".join((*out, writer.write(reader.close())))


def read_stream(place: Place, raw: bytes, cut: int | None = None) -> list[c.Event]:
    """Return the canonical events of a provider's stream, in reads of `cut` bytes."""
    reader, frames = place.format.stream_reader(), place.framing.decoder()
    size = cut or max(len(raw), 1)
    reads: Iterable[bytes] = (
        raw[start : start + size] for start in range(0, len(raw), size)
    )
    events = [e for read in reads for f in frames.feed(read) for e in reader.feed(f)]
    events += [e for frame in frames.close() for e in reader.feed(frame)]
    return events + reader.close()
