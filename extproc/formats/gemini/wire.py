"""Gemini's API as it stands on the wire.

https://ai.google.dev/api/generate-content. The API reads and writes the JSON form of
protocol buffers: a field that has its default value is left out, and so do we.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec
from msgspec import Raw, Struct

from extproc.formats.gemini.grounding import (
    CitationMetadata,
    GroundingMetadata,
    UrlContextMetadata,
)

T = TypeVar("T")

ABSENT = Raw(b"null")
"""Left out, or null: msgspec reads no ``Raw | None``."""

# ---------------------------------------------------------------- the request


class Blob(Struct, rename="camel", gc=False):
    mime_type: str
    data: str


class FileData(Struct, rename="camel", omit_defaults=True, gc=False):
    file_uri: str
    mime_type: str | None = None


class FunctionCall(Struct, rename="camel", omit_defaults=True, gc=False):
    name: str
    args: Raw
    id: str | None = None


class ResponsePart(Struct, rename="camel", omit_defaults=True, gc=False):
    inline_data: Blob | None = None
    file_data: FileData | None = None


class FunctionResponse(Struct, rename="camel", omit_defaults=True, gc=False):
    name: str
    response: dict[str, str]
    id: str | None = None
    parts: list[ResponsePart] | None = None


class MediaResolution(Struct, gc=False):
    level: str


class Part(Struct, rename="camel", omit_defaults=True, gc=False):
    text: str | None = None
    thought: bool = False
    thought_signature: str | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    media_resolution: MediaResolution | None = None


class Content(Struct, omit_defaults=True, gc=False):
    parts: list[Part]
    role: Literal["user", "model"] | None = None
    """None in a system instruction."""


class FunctionDeclaration(Struct, rename="camel", omit_defaults=True, gc=False):
    name: str
    description: str | None = None
    parameters: Raw | None = None
    parameters_json_schema: Raw | None = None


class GoogleSearch(Struct, rename="camel", omit_defaults=True, gc=False):
    exclude_domains: tuple[str, ...] = ()


class UrlContext(Struct, gc=False):
    pass


class Tool(Struct, rename="camel", omit_defaults=True, gc=False):
    """One of these."""

    function_declarations: list[FunctionDeclaration] | None = None
    google_search: GoogleSearch | None = None
    url_context: UrlContext | None = None


class FunctionCallingConfig(Struct, rename="camel", omit_defaults=True, gc=False):
    mode: Literal["AUTO", "ANY", "NONE"]
    allowed_function_names: tuple[str, ...] | None = None


class ToolConfig(Struct, rename="camel", gc=False):
    function_calling_config: FunctionCallingConfig


class ThinkingConfig(Struct, rename="camel", omit_defaults=True, gc=False):
    include_thoughts: bool | None = None
    thinking_budget: int | None = None
    thinking_level: str | None = None


class GenerationConfig(Struct, rename="camel", omit_defaults=True, gc=False):
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    candidate_count: int | None = None
    max_output_tokens: int | None = None
    stop_sequences: tuple[str, ...] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    response_mime_type: str | None = None
    response_schema: Raw | None = None
    response_json_schema: Raw | None = None
    thinking_config: ThinkingConfig | None = None


class Request(Struct, rename="camel", omit_defaults=True, kw_only=True):
    contents: list[Content]
    system_instruction: Content | None = None
    tools: list[Tool] | None = None
    tool_config: ToolConfig | None = None
    generation_config: GenerationConfig | None = None
    safety_settings: Raw | None = None
    cached_content: str | None = None
    service_tier: str | None = None


# ---------------------------------------------------------------- the answer


class AnsweredCall(Struct, gc=False):
    name: str
    args: Raw = ABSENT
    id: str | None = None


class AnsweredPart(Struct, rename="camel", gc=False):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: AnsweredCall | None = None


class AnsweredContent(Struct, gc=False):
    parts: list[AnsweredPart] | None = None


class Likely(Struct, rename="camel", gc=False):
    """A token and the logarithm of its probability."""

    token: str = ""
    log_probability: float = 0.0


class LikelyTokens(Struct, gc=False):
    candidates: list[Likely] | None = None


class LogprobsResult(Struct, rename="camel", gc=False):
    chosen_candidates: list[Likely] | None = None
    top_candidates: list[LikelyTokens] | None = None


class Candidate(Struct, rename="camel", gc=False):
    content: AnsweredContent | None = None
    finish_reason: str | None = None
    index: int | None = None
    logprobs_result: LogprobsResult | None = None
    grounding_metadata: GroundingMetadata | None = None
    url_context_metadata: UrlContextMetadata | None = None
    citation_metadata: CitationMetadata | None = None


class PromptFeedback(Struct, rename="camel", gc=False):
    block_reason: str | None = None
    block_reason_message: str | None = None


class ModalityTokenCount(Struct, rename="camel", gc=False):
    modality: str | None = None
    token_count: int | None = None


class UsageMetadata(Struct, rename="camel", gc=False):
    prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    prompt_tokens_details: list[ModalityTokenCount] | None = None
    cache_tokens_details: list[ModalityTokenCount] | None = None
    candidates_tokens_details: list[ModalityTokenCount] | None = None


class Chunk(Struct, rename="camel", gc=False):
    """A ``GenerateContentResponse``: a whole answer, or a piece of a streamed one."""

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: UsageMetadata | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Raw = ABSENT


class LastChunk(Struct, gc=False):
    """A chunk after which nothing more has to come."""

    chunk: Chunk


class Failure(Struct, gc=False):
    """A frame that tells of an error instead."""

    said: object


Event = Chunk | LastChunk | Failure

CHUNK = msgspec.json.Decoder(Chunk)
_ANYTHING = msgspec.json.Decoder()


def decode(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """Decode, with one kind of error: msgspec itself lets two others out.

    Raises:
        msgspec.MsgspecError: `data` is not UTF-8, or nested too deep, or not what
            `decoder` reads.
    """
    try:
        if not data.isascii():
            data.decode()  # strings that are skipped or kept raw are not looked at
        return decoder.decode(data)
    except (UnicodeDecodeError, RecursionError) as exc:
        raise msgspec.DecodeError(str(exc)) from exc


def read_chunk(data: bytes) -> Event:
    """Read an answer, or a frame of one.

    Raises:
        msgspec.MsgspecError: it is neither that nor an error.
    """
    if data[:1] != b"{" and data.lstrip()[:1] == b"[":
        # Streams that are no server-sent events are arrays, and so are their errors.
        return Failure(decode(_ANYTHING, data))
    chunk = decode(CHUNK, data)
    if present(chunk.error):
        return Failure(decode(_ANYTHING, data))
    if blocked(chunk):
        return LastChunk(chunk)
    for one in chunk.candidates or ():
        if one.finish_reason:
            return LastChunk(chunk)
    return chunk


def blocked(chunk: Chunk) -> bool:
    """Say whether the prompt was refused."""
    feedback = chunk.prompt_feedback
    return feedback is not None and feedback.block_reason is not None


def present(raw: Raw) -> bool:
    """Say whether there is anything but null."""
    return bytes(raw) != b"null"
