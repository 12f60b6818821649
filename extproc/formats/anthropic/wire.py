"""Anthropic's Messages API as it stands on the wire.

https://platform.claude.com/docs/en/api/messages and
https://platform.claude.com/docs/en/build-with-claude/streaming. What we read is tagged
by ``type``; a name that is not here is somebody's newer one: `peek` says which.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct, field

T = TypeVar("T")

ABSENT = Raw(b"null")
"""Left out, or null: msgspec reads no ``Raw | None``."""

# ---------------------------------------------------------------- content blocks


class CacheControl(
    Struct, tag="ephemeral", tag_field="type", omit_defaults=True, gc=False
):
    ttl: str | None = None


class TextBlock(Struct, tag="text", tag_field="type", omit_defaults=True, gc=False):
    text: str
    citations: Raw = ABSENT
    cache_control: CacheControl | None = None


class Base64Source(Struct, tag="base64", tag_field="type", gc=False):
    media_type: str
    data: str


class PlainTextSource(Struct, tag="text", tag_field="type", gc=False):
    media_type: str
    data: str


class UrlSource(Struct, tag="url", tag_field="type", gc=False):
    url: str


class FileSource(Struct, tag="file", tag_field="type", gc=False):
    file_id: str


ImageSource = Base64Source | UrlSource | FileSource
DocumentSource = Base64Source | PlainTextSource | UrlSource | FileSource


class ImageBlock(Struct, tag="image", tag_field="type", omit_defaults=True, gc=False):
    source: ImageSource
    cache_control: CacheControl | None = None


class Citing(Struct, gc=False):
    enabled: bool


class DocumentBlock(
    Struct, tag="document", tag_field="type", omit_defaults=True, gc=False
):
    source: DocumentSource
    title: str | None = None
    cache_control: CacheControl | None = None
    context: str | None = None
    citations: Citing | None = None


class ThinkingBlock(Struct, tag="thinking", tag_field="type", gc=False):
    thinking: str
    signature: str = ""


class RedactedThinkingBlock(
    Struct, tag="redacted_thinking", tag_field="type", gc=False
):
    data: str


class ToolUseBlock(
    Struct, tag="tool_use", tag_field="type", omit_defaults=True, gc=False
):
    id: str
    name: str
    input: Raw
    cache_control: CacheControl | None = None


class ToolResultBlock(
    Struct, tag="tool_result", tag_field="type", omit_defaults=True, gc=False
):
    tool_use_id: str
    content: list[TextBlock | ImageBlock | DocumentBlock] | None = None
    is_error: bool = False
    cache_control: CacheControl | None = None


WrittenBlock = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ToolResultBlock
)
"""What a conversation that we send may hold."""

AnswerBlock = TextBlock | ThinkingBlock | RedactedThinkingBlock | ToolUseBlock
"""What of an answer the canonical form can say."""

# ---------------------------------------------------------------- the answer


class OutputDetails(Struct, gc=False):
    thinking_tokens: int | None = None


class CacheCreation(Struct, gc=False):
    ephemeral_1h_input_tokens: int | None = None
    ephemeral_5m_input_tokens: int | None = None


class WireUsage(Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: OutputDetails | None = None
    service_tier: str | None = None
    cache_creation: CacheCreation | None = None


class Message(Struct, tag="message", tag_field="type", gc=False):
    id: str
    model: str
    usage: WireUsage
    content: list[Raw] = []
    """Blocks of types that we may not know."""
    stop_reason: str | None = None
    stop_sequence: str | None = None


class ErrorDetail(Struct, gc=False):
    type: str
    message: str


class RefusedDetail(ErrorDetail, gc=False):
    details: dict[str, Any]


# ---------------------------------------------------------------- stream events


class MessageStart(Struct, tag="message_start", tag_field="type", gc=False):
    message: Message


class BlockStart(Struct, tag="content_block_start", tag_field="type", gc=False):
    index: int
    content_block: AnswerBlock


class Words(Struct, tag_field="type", gc=False):
    """A piece of what a block says."""

    text: str


class TextDelta(Words, tag="text_delta", gc=False):
    pass


class ThinkingDelta(Words, tag="thinking_delta", gc=False):
    text: str = field(name="thinking")


class SignatureDelta(Struct, tag="signature_delta", tag_field="type", gc=False):
    signature: str


class InputJsonDelta(Words, tag="input_json_delta", gc=False):
    text: str = field(name="partial_json")


class CitationsDelta(Struct, tag="citations_delta", tag_field="type", gc=False):
    citation: Raw


BlockDeltaBody = (
    TextDelta | ThinkingDelta | SignatureDelta | InputJsonDelta | CitationsDelta
)


class BlockDelta(Struct, tag="content_block_delta", tag_field="type", gc=False):
    index: int
    delta: BlockDeltaBody


class BlockStop(Struct, tag="content_block_stop", tag_field="type", gc=False):
    index: int


class Stop(Struct, gc=False):
    stop_reason: str | None = None
    stop_sequence: str | None = None


class MessageDelta(Struct, tag="message_delta", tag_field="type", gc=False):
    delta: Stop
    usage: WireUsage | None = None


class MessageStop(Struct, tag="message_stop", tag_field="type", gc=False):
    pass


class Ping(Struct, tag="ping", tag_field="type", gc=False):
    pass


class Error(Struct, tag="error", tag_field="type", gc=False):
    error: ErrorDetail


WireEvent = (
    MessageStart
    | BlockStart
    | BlockDelta
    | BlockStop
    | MessageDelta
    | MessageStop
    | Ping
    | Error
)
"""What the API sends."""


class ServerBlock(Struct, gc=False):
    """A block of a server tool: its call, or its result, or one that we do not know."""

    type: str = ""
    id: str = ""
    name: str = ""
    input: Raw = Raw(b"{}")
    tool_use_id: str = ""
    content: Raw = Raw(b"[]")


class OtherBlockStart(Struct, gc=False):
    """The start of a `ServerBlock`."""

    index: int
    content_block: ServerBlock


class OtherDelta(Struct, gc=False):
    """A delta of a type that we do not know."""

    index: int


class UsageUpdate(Struct, gc=False):
    """A ``message_delta`` that names no stop reason: the model goes on."""

    usage: WireUsage


Event = WireEvent | OtherBlockStart | OtherDelta | UsageUpdate

# ---------------------------------------------------------------- names we may not know


class Named(Struct, frozen=True, gc=False):
    """Anything tagged, read for its tag only."""

    type: str = ""


class Outline(Struct, gc=False):
    """As much of an event as tells whether we know its names."""

    type: str
    index: int = -1
    content_block: Named = Named()
    delta: Named = Named()


EVENT_NAMES = frozenset({
    "message_start", "content_block_start", "content_block_delta", "content_block_stop",
    "message_delta", "message_stop", "ping", "error",
})  # fmt: skip
BLOCK_NAMES = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
DELTA_NAMES = frozenset({
    "text_delta", "thinking_delta", "signature_delta", "input_json_delta",
    "citations_delta",
})  # fmt: skip

EVENT: msgspec.json.Decoder[WireEvent] = msgspec.json.Decoder(WireEvent)
_BLOCK: msgspec.json.Decoder[AnswerBlock] = msgspec.json.Decoder(AnswerBlock)
_OUTLINE = msgspec.json.Decoder(Outline)
_NAME = msgspec.json.Decoder(Named)
_SERVER = msgspec.json.Decoder(ServerBlock)
_OTHER_START = msgspec.json.Decoder(OtherBlockStart)


def decode(decoder: msgspec.json.Decoder[T], data: bytes | Raw) -> T:
    """Decode, with one kind of error: msgspec itself lets two others out.

    Raises:
        msgspec.MsgspecError: `data` is not UTF-8, or nested too deep, or not what
            `decoder` reads.
    """
    try:
        # Strings that msgspec skips or keeps raw it does not look at; what it has kept
        # has been through here.
        if not isinstance(data, Raw) and not data.isascii():
            data.decode()
        return decoder.decode(data)
    except (UnicodeDecodeError, RecursionError) as exc:
        raise msgspec.DecodeError(str(exc)) from exc


def read_event(data: bytes) -> Event | None:
    """Read a stream event; None is one of a type that we do not know.

    Raises:
        msgspec.MsgspecError: it is of a known type and cannot be read.
    """
    try:
        event = decode(EVENT, data)
    except msgspec.ValidationError:
        seen = _OUTLINE.decode(data)
        if seen.type not in EVENT_NAMES:
            return None
        block, delta = seen.content_block.type, seen.delta.type
        if seen.type == "content_block_start" and block and block not in BLOCK_NAMES:
            return OtherBlockStart(seen.index, _server_block(data, block))
        if seen.type == "content_block_delta" and delta and delta not in DELTA_NAMES:
            return OtherDelta(seen.index)
        raise
    if type(event) is MessageDelta and event.delta.stop_reason is None:
        return UsageUpdate(event.usage or WireUsage())
    return event


def _server_block(data: bytes, kind: str) -> ServerBlock:
    try:
        return decode(_OTHER_START, data).content_block
    except msgspec.MsgspecError:
        return ServerBlock(kind)  # somebody's newer one


def present(raw: Raw) -> Raw | None:
    """Return `raw`, or None when it says nothing."""
    return None if bytes(raw) == b"null" else raw


def read_block(raw: Raw) -> AnswerBlock | ServerBlock:
    """Read a block of a whole answer.

    Raises:
        msgspec.MsgspecError: it is of a type in `BLOCK_NAMES` and cannot be read.
    """
    try:
        return _BLOCK.decode(raw)
    except msgspec.ValidationError:
        if _NAME.decode(raw).type in BLOCK_NAMES:
            raise
        return _SERVER.decode(raw)
