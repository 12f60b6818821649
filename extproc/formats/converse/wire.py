"""Amazon Bedrock's Converse API as it stands on the wire.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and
…/API_runtime_ConverseStream.html. Unions are objects with one member; a member that is not
here is somebody's newer one, and is left out. Binary values are base64.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Raw, Struct

from extproc.formats.converse.citations import Citation, Citing, SearchResult

T = TypeVar("T")

# ---------------------------------------------------------------- content blocks


class S3Location(Struct, gc=False):
    uri: str


class Source(Struct, omit_defaults=True, rename="camel", gc=False):
    bytes: str | None = None
    s3_location: S3Location | None = None


class Media(Struct, gc=False):
    """An image, or audio."""

    format: str
    source: Source


class Document(Struct, omit_defaults=True, gc=False):
    format: str
    name: str
    source: Source
    context: str | None = None
    citations: Citing | None = None


class CachePoint(Struct, omit_defaults=True, gc=False):
    type: Literal["default"]
    ttl: str | None = None


class ToolUse(Struct, rename="camel", gc=False):
    tool_use_id: str
    name: str
    input: Raw


class ResultBlock(Struct, omit_defaults=True, rename="camel", gc=False):
    text: str | None = None
    image: Media | None = None
    document: Document | None = None
    search_result: SearchResult | None = None
    json: dict[str, Any] | None = None


class ToolResult(Struct, omit_defaults=True, rename="camel", gc=False):
    tool_use_id: str
    content: list[ResultBlock]
    status: Literal["error"] | None = None


class ReasoningText(Struct, omit_defaults=True, gc=False):
    text: str
    signature: str | None = None


class Reasoning(Struct, omit_defaults=True, rename="camel", gc=False):
    reasoning_text: ReasoningText | None = None
    redacted_content: str | None = None


class Block(Struct, omit_defaults=True, rename="camel", gc=False):
    """One of these."""

    text: str | None = None
    image: Media | None = None
    document: Document | None = None
    search_result: SearchResult | None = None
    audio: Media | None = None
    tool_use: ToolUse | None = None
    tool_result: ToolResult | None = None
    reasoning_content: Reasoning | None = None
    cache_point: CachePoint | None = None


# ---------------------------------------------------------------- the request


class Turn(Struct, gc=False):
    role: Literal["user", "assistant", "system"]
    content: list[Block]


class InferenceConfig(Struct, omit_defaults=True, rename="camel", gc=False):
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: tuple[str, ...] = ()


class InputSchema(Struct, gc=False):
    json: Raw


class ToolSpec(Struct, omit_defaults=True, rename="camel", gc=False):
    name: str
    input_schema: InputSchema
    description: str | None = None
    strict: bool | None = None


class SystemTool(Struct, gc=False):
    """A tool that the model's provider runs."""

    name: str


class Tool(Struct, omit_defaults=True, rename="camel", gc=False):
    """One of these."""

    tool_spec: ToolSpec | None = None
    system_tool: SystemTool | None = None
    cache_point: CachePoint | None = None


class Nothing(Struct, gc=False):
    pass


class Named(Struct, gc=False):
    name: str


class ToolChoice(Struct, omit_defaults=True, gc=False):
    """One of these."""

    auto: Nothing | None = None
    any: Nothing | None = None
    tool: Named | None = None


class ToolConfig(Struct, omit_defaults=True, rename="camel", gc=False):
    tools: list[Tool]
    tool_choice: ToolChoice | None = None


class JsonSchema(Struct, omit_defaults=True, gc=False):
    schema: str
    """JSON, as a string."""
    name: str | None = None
    description: str | None = None


class Structure(Struct, rename="camel", gc=False):
    json_schema: JsonSchema


class TextFormat(Struct, gc=False):
    type: Literal["json_schema"]
    structure: Structure


class OutputConfig(Struct, omit_defaults=True, rename="camel", gc=False):
    text_format: TextFormat | None = None
    effort: str | None = None


class ServiceTier(Struct, gc=False):
    type: str


class ConverseBody(Struct, omit_defaults=True, kw_only=True, rename="camel"):
    """The model and whether to stream are in the path."""

    messages: list[Turn]
    system: list[Block] | None = None
    inference_config: InferenceConfig | None = None
    tool_config: ToolConfig | None = None
    output_config: OutputConfig | None = None
    additional_model_request_fields: dict[str, Any] | None = None
    additional_model_response_field_paths: tuple[str, ...] = ()
    request_metadata: dict[str, str] | None = None
    service_tier: ServiceTier | None = None
    guardrail_config: Raw | None = None
    performance_config: Raw | None = None
    prompt_variables: Raw | None = None


# ---------------------------------------------------------------- the answer


class CacheDetail(Struct, rename="camel", gc=False):
    """What was written to the cache with one lifetime."""

    ttl: str = ""
    input_tokens: int = 0


class WireUsage(Struct, rename="camel", gc=False):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    cache_details: list[CacheDetail] | None = None


class AnswerToolUse(Struct, rename="camel", gc=False):
    tool_use_id: str
    name: str
    input: Raw = Raw(b"{}")
    type: str | None = None
    """``server_tool_use`` when the provider runs the tool itself."""


class AnswerReasoningText(Struct, gc=False):
    text: str = ""
    signature: str | None = None


class AnswerReasoning(Struct, rename="camel", gc=False):
    reasoning_text: AnswerReasoningText | None = None
    redacted_content: str | None = None


class AnswerToolResult(Struct, rename="camel", gc=False):
    """What a tool gave that the provider has run; there is nothing for clients in it."""

    tool_use_id: str = ""


class CitedText(Struct, gc=False):
    text: str = ""


class CitationsContent(Struct, gc=False):
    content: list[CitedText] = []
    citations: Raw = Raw(b"null")


class AnswerBlock(Struct, rename="camel", gc=False):
    """One of these, or of what the canonical form cannot say."""

    text: str | None = None
    tool_use: AnswerToolUse | None = None
    tool_result: AnswerToolResult | None = None
    reasoning_content: AnswerReasoning | None = None
    citations_content: CitationsContent | None = None


class AnswerMessage(Struct, gc=False):
    content: list[AnswerBlock]


class Output(Struct, gc=False):
    message: AnswerMessage


class ModelFields(Struct, gc=False):
    """What we ask a model to say beside its answer."""

    stop_sequence: str | None = None


class Answer(Struct, rename="camel", gc=False):
    output: Output
    stop_reason: str
    usage: WireUsage | None = None
    service_tier: ServiceTier | None = None
    additional_model_response_fields: ModelFields | None = None


class ErrorBody(Struct, gc=False):
    """An exception, in an answer or a stream."""

    message: str | None = None
    shouted: str | None = msgspec.field(name="Message", default=None)
    """The same, by what stands before Bedrock."""
    type: str = msgspec.field(name="__type", default="")


# ---------------------------------------------------------------- stream events


class MessageStart(Struct, gc=False):
    role: str = "assistant"


class ToolUseStart(Struct, rename="camel", gc=False):
    tool_use_id: str
    name: str
    type: str | None = None


class Start(Struct, frozen=True, rename="camel", gc=False):
    """Tool calls announce themselves; text and reasoning just begin."""

    tool_use: ToolUseStart | None = None
    tool_result: AnswerToolResult | None = None


class BlockStart(Struct, rename="camel", gc=False):
    content_block_index: int
    start: Start = Start()


class ToolUseDelta(Struct, gc=False):
    input: str = ""


class ReasoningDelta(Struct, rename="camel", gc=False):
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class DeltaBody(Struct, rename="camel", gc=False):
    """One of these, or of what the canonical form cannot say."""

    text: str | None = None
    tool_use: ToolUseDelta | None = None
    reasoning_content: ReasoningDelta | None = None
    citation: Citation | None = None


class BlockDelta(Struct, rename="camel", gc=False):
    content_block_index: int
    delta: DeltaBody


class BlockStop(Struct, rename="camel", gc=False):
    content_block_index: int


class MessageStop(Struct, rename="camel", gc=False):
    stop_reason: str
    additional_model_response_fields: ModelFields | None = None


class Metadata(Struct, rename="camel", gc=False):
    """Comes behind `MessageStop`."""

    usage: WireUsage
    service_tier: ServiceTier | None = None


class Failure(Struct, gc=False):
    """An exception or error in the stream; what its frame is called and says."""

    kind: str
    message: str


Event = (
    MessageStart
    | BlockStart
    | BlockDelta
    | BlockStop
    | MessageStop
    | Metadata
    | Failure
)

EVENTS: dict[str, msgspec.json.Decoder[Event]] = {
    "messageStart": msgspec.json.Decoder(MessageStart),
    "contentBlockStart": msgspec.json.Decoder(BlockStart),
    "contentBlockDelta": msgspec.json.Decoder(BlockDelta),
    "contentBlockStop": msgspec.json.Decoder(BlockStop),
    "messageStop": msgspec.json.Decoder(MessageStop),
    "metadata": msgspec.json.Decoder(Metadata),
}
"""The events of a stream, by their names."""


def decode(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """Decode, with one kind of error: msgspec itself lets two others out.

    Raises:
        msgspec.MsgspecError: `data` is not UTF-8, or nested too deep, or not what
            `decoder` reads.
    """
    try:
        # Strings that msgspec skips or keeps raw it does not look at.
        if not data.isascii():
            data.decode()
        return decoder.decode(data)
    except (UnicodeDecodeError, RecursionError) as exc:
        raise msgspec.DecodeError(str(exc)) from exc
