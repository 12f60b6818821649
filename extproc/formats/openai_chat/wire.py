"""OpenAI's chat completion request, as bytes become it; answers are in `answer_wire`.

https://platform.openai.com/docs/api-reference/chat; the fields are those of
``openai.types.chat``. What other servers and clients of this format add is marked as an
extension: reasoning (``reasoning_content``, ``thinking_blocks``, ``thinking``), prompt
cache breakpoints (``cache_control``), pictures and ``is_error`` in tool results.

Members that are not named here are skipped: clients send whole messages of an answer
back, with whatever their server had put in.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Raw, Struct, field

from extproc.formats.openai_caching import Breakpoint, Options

ABSENT = Raw()
"""A member that is not there. msgspec reads no optional `Raw`: a JSON null comes as the
four bytes ``null``, and `present` knows both."""

_NULL = Raw(b"null")


def present(raw: Raw) -> Raw | None:
    """Return `raw` unless it is absent or null."""
    return None if raw in (ABSENT, _NULL) else raw


# ---------------------------------------------------------------- thought signatures
# Google's compatible endpoint proves the thought behind a call in an extension of it:
# https://ai.google.dev/gemini-api/docs/thought-signatures


class GoogleContent(Struct, frozen=True):
    thought_signature: str | None = None


class ExtraContent(Struct, frozen=True):
    google: GoogleContent = field(default_factory=GoogleContent)


_EXTRA_CONTENT = msgspec.json.Decoder(ExtraContent)


def thought_signature(extra_content: Raw) -> str | None:
    """Return the thought signature in a call's ``extra_content``, if that has one."""
    if present(extra_content) is None:
        return None
    try:
        return _EXTRA_CONTENT.decode(extra_content).google.thought_signature
    except msgspec.ValidationError:
        return None  # another vendor's extra


# ---------------------------------------------------------------- the request: parts


class CacheControl(Struct, frozen=True):
    ttl: str | None = None


class Part(Struct, tag_field="type", frozen=True):
    """What every content part may carry."""

    cache_control: CacheControl | None = None
    prompt_cache_breakpoint: Breakpoint | None = None


class TextPart(Part, tag="text", kw_only=True, frozen=True):
    text: str


class ImageURL(Struct, frozen=True):
    url: str
    detail: str | None = None


class ImagePart(Part, tag="image_url", kw_only=True, frozen=True):
    image_url: ImageURL


class InputAudio(Struct, frozen=True):
    data: str
    format: str


class AudioPart(Part, tag="input_audio", kw_only=True, frozen=True):
    input_audio: InputAudio


class File(Struct, frozen=True):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(Part, tag="file", kw_only=True, frozen=True):
    file: File


class RefusalPart(Part, tag="refusal", kw_only=True, frozen=True):
    refusal: str


class ThinkingPart(Part, tag="thinking", kw_only=True, frozen=True):
    """An extension, in Anthropic's spelling; also an entry of ``thinking_blocks``."""

    thinking: str = ""
    signature: str | None = None
    index: int | None = None


class RedactedThinkingPart(Part, tag="redacted_thinking", kw_only=True, frozen=True):
    """An extension, in Anthropic's spelling; also an entry of ``thinking_blocks``."""

    data: str
    index: int | None = None


ThinkingBlock = ThinkingPart | RedactedThinkingPart

# ---------------------------------------------------------------- the request: messages


class FunctionOfCall(Struct, frozen=True):
    name: str
    arguments: str = ""


class CustomOfCall(Struct, frozen=True):
    name: str
    input: str = ""


class ToolCall(Struct, tag_field="type", frozen=True, kw_only=True):
    """What both kinds of tool calls carry."""

    id: str
    cache_control: CacheControl | None = None
    extra_content: Raw = ABSENT


class FunctionToolCall(ToolCall, tag="function", kw_only=True, frozen=True):
    function: FunctionOfCall


class CustomToolCall(ToolCall, tag="custom", kw_only=True, frozen=True):
    custom: CustomOfCall


class Message(Struct, tag_field="role", frozen=True, kw_only=True):
    """What every message may carry."""

    name: str | None = None
    cache_control: CacheControl | None = None


class SystemMessage(Message, tag="system", kw_only=True, frozen=True):
    content: str | list[TextPart]


class DeveloperMessage(Message, tag="developer", kw_only=True, frozen=True):
    content: str | list[TextPart]


class UserMessage(Message, tag="user", kw_only=True, frozen=True):
    content: str | list[TextPart | ImagePart | AudioPart | FilePart]


class AssistantMessage(Message, tag="assistant", kw_only=True, frozen=True):
    content: (
        str | list[TextPart | RefusalPart | ThinkingPart | RedactedThinkingPart] | None
    ) = None
    refusal: str | None = None
    tool_calls: list[FunctionToolCall | CustomToolCall] | None = None
    function_call: FunctionOfCall | None = None
    audio: Raw = ABSENT
    reasoning_content: str | None = None
    reasoning: str | None = None
    thinking_blocks: list[ThinkingBlock] | None = None


class ToolMessage(Message, tag="tool", kw_only=True, frozen=True):
    content: str | list[TextPart | ImagePart | FilePart]
    tool_call_id: str
    is_error: bool = False


class FunctionMessage(Message, tag="function", kw_only=True, frozen=True):
    content: str | None
    name: str


AnyMessage = (
    SystemMessage
    | DeveloperMessage
    | UserMessage
    | AssistantMessage
    | ToolMessage
    | FunctionMessage
)

# ---------------------------------------------------------------- the request: tools


class Function(Struct, frozen=True):
    name: str
    description: str | None = None
    parameters: Raw = ABSENT
    strict: bool | None = None
    cache_control: CacheControl | None = None


class FunctionTool(Struct, frozen=True):
    function: Function
    cache_control: CacheControl | None = None


class Custom(Struct, frozen=True):
    name: str
    description: str | None = None
    format: Raw = ABSENT


class CustomTool(Struct, frozen=True):
    custom: Custom


class ToolKind(Struct, frozen=True):
    """Enough of a tool to know which it is."""

    type: str


class Named(Struct, frozen=True):
    name: str


class FunctionChoice(Struct, tag_field="type", tag="function", frozen=True):
    function: Named


class CustomChoice(Struct, tag_field="type", tag="custom", frozen=True):
    custom: Named


class AllowedTool(Struct, frozen=True):
    type: str
    function: Named | None = None
    custom: Named | None = None


class AllowedTools(Struct, frozen=True):
    mode: Literal["auto", "required"]
    tools: list[AllowedTool]


class AllowedToolsChoice(Struct, tag_field="type", tag="allowed_tools", frozen=True):
    allowed_tools: AllowedTools


# ---------------------------------------------------------------- the request: shapes


class TextFormat(Struct, tag_field="type", tag="text", frozen=True):
    pass


class JSONObjectFormat(Struct, tag_field="type", tag="json_object", frozen=True):
    pass


class JSONSchema(Struct, frozen=True):
    name: str
    description: str | None = None
    schema: Raw = ABSENT
    strict: bool | None = None


class JSONSchemaFormat(Struct, tag_field="type", tag="json_schema", frozen=True):
    json_schema: JSONSchema


class StreamOptions(Struct, frozen=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Thinking(Struct, frozen=True):
    """An extension, in Anthropic's spelling."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: int | None = None
    display: str | None = None


Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Request(Struct, frozen=True, kw_only=True):
    """The members that the canonical request has a word for.

    Those that it has none for go to its `extras`, so a member may not be listed here
    without being read.
    """

    model: str
    messages: list[AnyMessage]
    tools: list[Raw] | None = None
    functions: list[Function] | None = None
    tool_choice: (
        Literal["none", "auto", "required"]
        | FunctionChoice
        | CustomChoice
        | AllowedToolsChoice
        | None
    ) = None
    function_call: Literal["none", "auto"] | Named | None = None
    parallel_tool_calls: bool | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    n: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: TextFormat | JSONObjectFormat | JSONSchemaFormat | None = None
    reasoning_effort: Effort | None = None
    thinking: Thinking | None = None
    user: str | None = None
    service_tier: str | None = None
    prompt_cache_options: Options | None = None
    web_search_options: Raw = ABSENT
    stream: bool | None = None
    stream_options: StreamOptions | None = None
