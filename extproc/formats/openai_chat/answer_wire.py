"""OpenAI's chat completion answers and chunks, as bytes become them.

https://platform.openai.com/docs/api-reference/chat/object. Servers that are not OpenAI
leave out or null nearly everything, so nearly everything is optional; members that are
not named here are skipped.
"""

from __future__ import annotations

from msgspec import Raw, Struct, field

from extproc.formats.openai_chat.wire import ABSENT
from extproc.formats.openai_usage import Usage

# ---------------------------------------------------------------- the answer


class AnsweredFunction(Struct, frozen=True):
    """The function of a call, or a piece of it."""

    name: str | None = None
    arguments: str | None = None


class AnsweredCustom(Struct, frozen=True):
    """The custom tool of a call, or a piece of it."""

    name: str | None = None
    input: str | None = None


class AnsweredToolCall(Struct, frozen=True):
    """A call of an answer, or a piece of one in a stream; servers leave much out."""

    index: int | None = None
    id: str | None = None
    function: AnsweredFunction | None = None
    custom: AnsweredCustom | None = None
    extra_content: Raw = ABSENT


class AnsweredThinking(Struct, frozen=True):
    """An entry of ``thinking_blocks``, whole or in pieces."""

    type: str
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    index: int | None = None


class AnsweredAudio(Struct, frozen=True):
    """The sound of an answer."""

    data: str = ""
    transcript: str = ""


class AnsweredMessage(Struct, frozen=True):
    """A message of an answer, or a delta of one."""

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[AnsweredToolCall] | None = None
    function_call: AnsweredFunction | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    thinking_blocks: list[AnsweredThinking] | None = None
    audio: AnsweredAudio | None = None
    annotations: Raw = ABSENT
    references: Raw = ABSENT


class Choice(Struct, frozen=True):
    """One alternative of a whole answer."""

    index: int = 0
    message: AnsweredMessage = field(default_factory=AnsweredMessage)
    finish_reason: str | None = None
    logprobs: Raw = ABSENT


class Completion(Struct, frozen=True):
    """A whole ``chat.completion``."""

    choices: list[Choice]
    id: str | None = None
    model: str | None = None
    created: int | None = None
    usage: Usage | None = None
    service_tier: str | None = None


# ---------------------------------------------------------------- the streamed answer


class Logprobs(Struct, frozen=True):
    """The log probabilities of a delta: arrays of tokens."""

    content: Raw = ABSENT
    refusal: Raw = ABSENT


class ChunkChoice(Struct, frozen=True):
    """What a chunk says of one alternative."""

    index: int = 0
    delta: AnsweredMessage | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Chunk(Struct, frozen=True):
    """One ``chat.completion.chunk``."""

    id: str | None = None
    model: str | None = None
    created: int | None = None
    choices: list[ChunkChoice] | None = None
    usage: Usage | None = None
    service_tier: str | None = None
    error: Raw = ABSENT
    """Not OpenAI's schema, but how every server of this format says that it gave up."""


class Failure(Struct, frozen=True):
    """A chunk that says what went wrong."""

    error: Raw


class LastChunk(Struct, frozen=True):
    """A chunk with a ``finish_reason``."""

    chunk: Chunk


class Done(Struct, frozen=True):
    """``[DONE]``."""


Event = Chunk | LastChunk | Failure | Done
