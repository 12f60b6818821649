"""Cohere's chat v2 as bytes become it: https://docs.cohere.com/reference/chat-stream.

The members are those of ``cohere.types`` and ``cohere.v2.types``; those that are not named
here are skipped.
"""

from __future__ import annotations

from msgspec import Raw, Struct, json

ABSENT = Raw(b"null")


class Counts(Struct, frozen=True):
    input_tokens: float | None = None
    output_tokens: float | None = None


class WireUsage(Struct, frozen=True):
    billed_units: Counts | None = None
    tokens: Counts | None = None
    cached_tokens: float | None = None


class Function(Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class ToolCall(Struct, frozen=True):
    id: str = ""
    function: Function = Function()


class Content(Struct, frozen=True):
    """A block of an answer, or a piece of one."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None


class CitedDocument(Struct, frozen=True):
    """What a document of the request, which may have any members, says of itself."""

    url: str | None = None
    title: str | None = None


class Source(Struct, frozen=True):
    id: str = ""
    document: CitedDocument | None = None


class Citation(Struct, frozen=True):
    start: int | None = None
    end: int | None = None
    text: str = ""
    sources: list[Source] | None = None
    content_index: int | None = None
    type: str | None = None
    """``TEXT_CONTENT``, ``THINKING_CONTENT`` or ``PLAN``; None is the first."""


class AnsweredMessage(Struct, frozen=True):
    content: list[Content] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_plan: str | None = None
    citations: list[Citation] | None = None


class Answer(Struct, frozen=True):
    message: AnsweredMessage
    finish_reason: str = "COMPLETE"
    id: str = ""
    usage: WireUsage | None = None


# ---------------------------------------------------------------- the streamed answer


class Piece(Struct, frozen=True):
    """The message of a delta."""

    content: Content = Content()
    tool_calls: ToolCall = ToolCall()
    tool_plan: str = ""
    citations: Citation = Citation()


class Delta(Struct, frozen=True):
    message: Piece = Piece()


class Event(Struct, tag_field="type", frozen=True):
    """What every event has."""


class MessageStart(Event, tag="message-start", frozen=True):
    id: str = ""


class ContentStart(Event, tag="content-start", frozen=True):
    index: int = 0
    delta: Delta = Delta()


class ContentDelta(Event, tag="content-delta", frozen=True):
    index: int = 0
    delta: Delta = Delta()


class ContentEnd(Event, tag="content-end", frozen=True):
    index: int = 0


class ToolPlanDelta(Event, tag="tool-plan-delta", frozen=True):
    delta: Delta = Delta()


class ToolCallStart(Event, tag="tool-call-start", frozen=True):
    index: int = 0
    delta: Delta = Delta()


class ToolCallDelta(Event, tag="tool-call-delta", frozen=True):
    index: int = 0
    delta: Delta = Delta()


class ToolCallEnd(Event, tag="tool-call-end", frozen=True):
    index: int = 0


class CitationStart(Event, tag="citation-start", frozen=True):
    index: int = 0
    delta: Delta = Delta()


class CitationEnd(Event, tag="citation-end", frozen=True):
    index: int = 0


class End(Struct, frozen=True):
    finish_reason: str | None = None
    usage: WireUsage | None = None
    error: str | None = None


class MessageEnd(Event, tag="message-end", frozen=True):
    id: str = ""
    delta: End = End()


class Debug(Event, tag="debug", frozen=True):
    pass


AnyEvent = (
    MessageStart
    | ContentStart
    | ContentDelta
    | ContentEnd
    | ToolPlanDelta
    | ToolCallStart
    | ToolCallDelta
    | ToolCallEnd
    | CitationStart
    | CitationEnd
    | MessageEnd
    | Debug
)

NAMES = frozenset({
    "message-start", "content-start", "content-delta", "content-end", "tool-plan-delta",
    "tool-call-start", "tool-call-delta", "tool-call-end", "citation-start",
    "citation-end", "message-end", "debug",
})  # fmt: skip


class Named(Struct, frozen=True):
    """Enough of an event to know which it is."""

    type: str = ""


class Failure(Struct, frozen=True):
    """An error answer."""

    message: str = ""


EVENT: json.Decoder[AnyEvent] = json.Decoder(AnyEvent)
NAME = json.Decoder(Named)
ANSWER = json.Decoder(Answer)
FAILURE = json.Decoder(Failure)
