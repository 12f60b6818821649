"""OpenAI's responses and the events of their streams, as bytes become them.

https://platform.openai.com/docs/api-reference/responses/object and
https://platform.openai.com/docs/api-reference/responses-streaming. Servers that are not
OpenAI leave much out, so nearly everything is optional; members that are not named here
are skipped.
"""

from __future__ import annotations

from typing import get_args

import msgspec
from msgspec import Raw, Struct

from extproc.formats.openai_responses.wire import ABSENT


class Named(Struct, frozen=True):
    """Enough of an item or event to know which it is."""

    type: str = ""


_NAMED = msgspec.json.Decoder(Named)

# ---------------------------------------------------------------- usage


class InputTokensDetails(Struct, frozen=True):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class OutputTokensDetails(Struct, frozen=True):
    reasoning_tokens: int | None = None


class Usage(Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: InputTokensDetails | None = None
    output_tokens_details: OutputTokensDetails | None = None


# ---------------------------------------------------------------- items


class Part(Struct, frozen=True):
    """A part of a message, of a reasoning item's content, or of its summary."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    annotations: Raw = ABSENT
    logprobs: list[Raw] | None = None


class SearchSource(Struct, frozen=True):
    url: str = ""


class SearchAction(Struct, frozen=True):
    """What a search of the web did: searched, or looked at a page or in it."""

    type: str = "search"
    query: str | None = None
    queries: list[str] | None = None
    url: str | None = None
    sources: list[SearchSource] | None = None


class Item(Struct, frozen=True):
    """An output item of one of the types in `ITEMS`."""

    type: str
    id: str | None = None
    content: list[Part] | None = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: Raw = ABSENT
    input: str | None = None
    action: SearchAction | None = None
    status: str | None = None


ITEMS = frozenset({
    "message", "reasoning", "function_call", "custom_tool_call", "web_search_call",
})  # fmt: skip
"""The types of items that the canonical form can say; built-in tools have the others."""

_ITEM = msgspec.json.Decoder(Item)


def name_of(raw: Raw) -> str:
    """Return the type of an output item."""
    return _NAMED.decode(raw).type


def read_item(raw: Raw) -> Item | None:
    """Read an output item; None is one of another type."""
    return _ITEM.decode(raw) if _NAMED.decode(raw).type in ITEMS else None


# ---------------------------------------------------------------- the response


class IncompleteDetails(Struct, frozen=True):
    reason: str | None = None


class Response(Struct, frozen=True):
    """A response, whole or on its way."""

    id: str | None = None
    model: str | None = None
    created_at: float | None = None
    status: str | None = None
    output: list[Raw] | None = None
    usage: Usage | None = None
    error: Raw = ABSENT
    incomplete_details: IncompleteDetails | None = None
    service_tier: str | None = None


class Whole(Struct, frozen=True):
    """A body that should be a response."""

    object: str | None = None
    error: Raw = ABSENT


# ---------------------------------------------------------------- events


class Event(Struct, tag_field="type", frozen=True):
    """What the events of a stream share."""


class Created(Event, tag="response.created", frozen=True):
    response: Response


class ItemAdded(Event, tag="response.output_item.added", frozen=True):
    output_index: int
    item: Raw


class ItemDone(Event, tag="response.output_item.done", frozen=True):
    output_index: int
    item: Raw


class PartAdded(Event, tag="response.content_part.added", frozen=True):
    output_index: int
    content_index: int
    part: Part


class PartDone(Event, tag="response.content_part.done", frozen=True):
    output_index: int
    content_index: int
    part: Part


class TextDelta(Event, tag="response.output_text.delta", frozen=True):
    output_index: int
    delta: str
    content_index: int = 0
    logprobs: Raw = ABSENT


class AnnotationAdded(Event, tag="response.output_text.annotation.added", frozen=True):
    output_index: int
    annotation: Raw
    content_index: int = 0


class RefusalDelta(Event, tag="response.refusal.delta", frozen=True):
    output_index: int
    delta: str
    content_index: int = 0


class ArgumentsDelta(Event, tag="response.function_call_arguments.delta", frozen=True):
    output_index: int
    delta: str


class InputDelta(Event, tag="response.custom_tool_call_input.delta", frozen=True):
    output_index: int
    delta: str


class SummaryPartAdded(Event, tag="response.reasoning_summary_part.added", frozen=True):
    output_index: int


class SummaryDelta(Event, tag="response.reasoning_summary_text.delta", frozen=True):
    output_index: int
    delta: str


class ReasoningDelta(Event, tag="response.reasoning_text.delta", frozen=True):
    output_index: int
    delta: str


class Completed(Event, tag="response.completed", frozen=True):
    response: Response


class Incomplete(Event, tag="response.incomplete", frozen=True):
    response: Response


class Failed(Event, tag="response.failed", frozen=True):
    response: Response


class Error(Event, tag="error", frozen=True):
    """Flat in the SDK's types, nested in what the servers send."""

    message: str | None = None
    code: str | None = None
    param: str | None = None
    error: Raw = ABSENT


class Waiting(Struct, frozen=True):
    """An event that says that the model is at it, and nothing of what it says."""


class Repeated(Struct, frozen=True):
    """An event that says again, whole, what has been said in pieces."""


class Done(Struct, frozen=True):
    """``[DONE]``, which OpenAI does not send here and others do."""


AnyEvent = (
    Created
    | ItemAdded
    | ItemDone
    | PartAdded
    | PartDone
    | TextDelta
    | AnnotationAdded
    | RefusalDelta
    | ArgumentsDelta
    | InputDelta
    | SummaryPartAdded
    | SummaryDelta
    | ReasoningDelta
    | Completed
    | Incomplete
    | Failed
    | Error
)
TRANSLATED = frozenset(str(event.__struct_config__.tag) for event in get_args(AnyEvent))
REPEATED = frozenset({
    "response.output_text.done", "response.refusal.done",
    "response.function_call_arguments.done", "response.custom_tool_call_input.done",
    "response.reasoning_summary_text.done", "response.reasoning_summary_part.done",
    "response.reasoning_text.done",
})  # fmt: skip
WAITING = frozenset({
    "response.queued", "response.in_progress", "keepalive",
    *(f"response.audio.{step}" for step in ("delta", "done")),
    *(f"response.audio.transcript.{step}" for step in ("delta", "done")),
    *(f"response.code_interpreter_call_code.{step}" for step in ("delta", "done")),
    *(
        f"response.code_interpreter_call.{step}"
        for step in ("completed", "in_progress", "interpreting")
    ),
    "response.compaction.compacting",
    *(
        f"response.file_search_call.{step}"
        for step in ("completed", "in_progress", "searching")
    ),
    *(f"response.shell_call_command.{step}" for step in ("added", "delta", "done")),
    *(f"response.shell_call_output_content.{step}" for step in ("delta", "done")),
    *(
        f"response.web_search_call.{step}"
        for step in ("completed", "in_progress", "searching")
    ),
    *(
        f"response.image_generation_call.{step}"
        for step in ("completed", "generating", "in_progress", "partial_image")
    ),
    *(f"response.mcp_call_arguments.{step}" for step in ("delta", "done")),
    *(f"response.mcp_call.{step}" for step in ("completed", "failed", "in_progress")),
    *(
        f"response.mcp_list_tools.{step}"
        for step in ("completed", "failed", "in_progress")
    ),
})  # fmt: skip
"""The events of built-in tools and of sound, and signs of life."""

StreamEvent = AnyEvent | Waiting | Repeated | Done


class Glance(Struct, frozen=True):
    """What is read of an event that passes untouched."""

    type: str = ""
    response: Response | None = None
    message: str | None = None
    code: str | None = None
    param: str | None = None
    error: Raw = ABSENT


anything = msgspec.json.Decoder()
