"""What Anthropic's clients send, read strictly, and what they are answered.

https://platform.claude.com/docs/en/api/messages. Only a request for another format is
read; what stands in none of these structs would be lost there, so it is an error that
names the field. Fields that carry nothing for another provider are read and ignored:
``caller`` and ``toolset_name`` of a tool call, ``eager_input_streaming`` of a tool, the
``scope`` in which Anthropic's own cache is shared.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Raw, Struct

from extproc.formats.anthropic.wire import (
    ABSENT,
    AnswerBlock,
    CacheCreation,
    OutputDetails,
    Stop,
)

# ---------------------------------------------------------------- the request


class CacheControl(
    Struct, tag="ephemeral", tag_field="type", forbid_unknown_fields=True, gc=False
):
    ttl: Literal["5m", "1h"] | None = None
    scope: str | None = None


class TextBlock(
    Struct, tag="text", tag_field="type", forbid_unknown_fields=True, gc=False
):
    text: str
    cache_control: CacheControl | None = None
    citations: Raw = ABSENT


class Base64Source(
    Struct, tag="base64", tag_field="type", forbid_unknown_fields=True, gc=False
):
    media_type: str
    data: str


class PlainTextSource(
    Struct, tag="text", tag_field="type", forbid_unknown_fields=True, gc=False
):
    data: str
    media_type: Literal["text/plain"] = "text/plain"


class UrlSource(
    Struct, tag="url", tag_field="type", forbid_unknown_fields=True, gc=False
):
    url: str


class FileSource(
    Struct, tag="file", tag_field="type", forbid_unknown_fields=True, gc=False
):
    file_id: str


class ImageBlock(
    Struct, tag="image", tag_field="type", forbid_unknown_fields=True, gc=False
):
    source: Base64Source | UrlSource | FileSource
    cache_control: CacheControl | None = None


class Citations(Struct, forbid_unknown_fields=True, gc=False):
    enabled: bool = False


class DocumentBlock(
    Struct, tag="document", tag_field="type", forbid_unknown_fields=True, gc=False
):
    source: Base64Source | PlainTextSource | UrlSource | FileSource
    title: str | None = None
    context: str | None = None
    citations: Citations | None = None
    cache_control: CacheControl | None = None


class ResultText(
    Struct, tag="text", tag_field="type", forbid_unknown_fields=True, gc=False
):
    text: str
    cache_control: CacheControl | None = None


class SearchResultBlock(
    Struct, tag="search_result", tag_field="type", forbid_unknown_fields=True, gc=False
):
    source: str
    title: str
    content: list[ResultText]
    citations: Citations | None = None
    cache_control: CacheControl | None = None


class ThinkingBlock(
    Struct, tag="thinking", tag_field="type", forbid_unknown_fields=True, gc=False
):
    thinking: str
    signature: str = ""


class RedactedThinkingBlock(
    Struct,
    tag="redacted_thinking",
    tag_field="type",
    forbid_unknown_fields=True,
    gc=False,
):
    data: str


class ToolUseBlock(
    Struct, tag="tool_use", tag_field="type", forbid_unknown_fields=True, gc=False
):
    id: str
    name: str
    input: dict[str, Raw]
    cache_control: CacheControl | None = None
    caller: Raw = ABSENT
    toolset_name: str | None = None


class ToolResultBlock(
    Struct, tag="tool_result", tag_field="type", forbid_unknown_fields=True, gc=False
):
    tool_use_id: str
    content: str | list[Raw] | None = None
    is_error: bool = False
    cache_control: CacheControl | None = None
    toolset_name: str | None = None


class ServerToolUseBlock(Struct, tag="server_tool_use", tag_field="type", gc=False):
    """A look at the web of an earlier answer; other server tools only Anthropic has."""

    id: str
    name: Literal["web_search", "web_fetch"]
    input: Raw = Raw(b"{}")


class SearchResultsBlock(
    Struct, tag="web_search_tool_result", tag_field="type", gc=False
):
    tool_use_id: str
    content: Raw = Raw(b"[]")


class FetchedBlock(Struct, tag="web_fetch_tool_result", tag_field="type", gc=False):
    tool_use_id: str
    content: Raw = Raw(b"{}")


Block = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ToolResultBlock
    | ServerToolUseBlock
    | SearchResultsBlock
    | FetchedBlock
)


class ToolInput(Struct, gc=False):
    """A `ToolUseBlock`, read for its input's own spelling."""

    input: Raw


class Message(Struct, forbid_unknown_fields=True, gc=False):
    role: Literal["user", "assistant", "system"]
    content: str | list[Raw]


class Tool(Struct, forbid_unknown_fields=True, gc=False):
    name: str
    input_schema: Raw
    type: Literal["custom"] | None = None
    description: str | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None
    eager_input_streaming: bool | None = None
    defer_loading: bool | None = None


class ToolChoice(Struct, forbid_unknown_fields=True, gc=False):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class Thinking(Struct, forbid_unknown_fields=True, gc=False):
    type: Literal["enabled", "adaptive", "disabled", "between_tools"]
    budget_tokens: int | None = None
    display: Literal["summarized", "omitted"] | None = None


class JsonFormat(
    Struct, tag="json_schema", tag_field="type", forbid_unknown_fields=True, gc=False
):
    schema: Raw


class OutputConfig(Struct, forbid_unknown_fields=True, gc=False):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: JsonFormat | None = None


class Metadata(Struct, forbid_unknown_fields=True, gc=False):
    user_id: str | None = None


class Request(Struct, kw_only=True, gc=False):
    """The top level; what else stands there becomes an extra."""

    model: str
    max_tokens: int
    messages: list[Message]
    system: str | list[TextBlock] | None = None
    tools: list[Raw] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: JsonFormat | None = None
    """The older name of ``output_config.format``."""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    cache_control: CacheControl | None = None
    stream: bool | None = None


WORDS = frozenset(Request.__struct_fields__)
"""The members that are read; all others are extras."""

# ---------------------------------------------------------------- the answer


class ServerToolUsage(Struct, gc=False):
    web_search_requests: int
    web_fetch_requests: int


class Usage(Struct, omit_defaults=True, gc=False):
    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: OutputDetails | None
    cache_creation: CacheCreation | None = None
    server_tool_use: ServerToolUsage | None = None
    service_tier: str | None = None


class Answer(Struct, tag="message", tag_field="type", kw_only=True, gc=False):
    id: str
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[AnswerBlock | dict[str, Any]] = []
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Usage


class MessageStart(Struct, tag="message_start", tag_field="type", gc=False):
    message: Answer


class MessageDelta(Struct, tag="message_delta", tag_field="type", gc=False):
    delta: Stop
    usage: Usage
