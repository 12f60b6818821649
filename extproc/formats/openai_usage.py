"""Token counts as OpenAI's completions give them; cached ones are a part of the input."""

from __future__ import annotations

import msgspec

from extproc import usage as ours


class CacheCreationDetails(msgspec.Struct, frozen=True):
    """What was written to a cache by its lifetime: an extension, Anthropic's words."""

    ephemeral_1h_input_tokens: int | None = None


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """What the prompt's tokens were."""

    audio_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    """The extension's older name for ``cache_write_tokens``."""
    cache_creation_token_details: CacheCreationDetails | None = None


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    """What the answer's tokens were."""

    audio_tokens: int | None = None
    reasoning_tokens: int | None = None


class Usage(msgspec.Struct, frozen=True):
    """The counts of an answer."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    """DeepSeek's name for ``cached_tokens``."""


_OF_NO_PROMPT = PromptTokensDetails()
_OF_NO_ANSWER = CompletionTokensDetails()


def read_usage(said: Usage | None) -> ours.Usage | None:
    """Read a ``usage`` object; one without counts is none."""
    if said is None or (said.prompt_tokens is None and said.completion_tokens is None):
        return None
    hit = said.prompt_cache_hit_tokens
    prompt, completion = said.prompt_tokens_details, said.completion_tokens_details
    if prompt is None and completion is None:
        return ours.Usage(
            said.prompt_tokens or 0, said.completion_tokens or 0, hit or 0
        )
    prompt, completion = prompt or _OF_NO_PROMPT, completion or _OF_NO_ANSWER
    kept = prompt.cache_creation_token_details
    return ours.Usage(
        input_tokens=said.prompt_tokens or 0,
        output_tokens=said.completion_tokens or 0,
        cache_read_input_tokens=prompt.cached_tokens or hit or 0,
        cache_creation_input_tokens=(
            prompt.cache_write_tokens or prompt.cache_creation_input_tokens or 0
        ),
        cache_creation_1h_input_tokens=kept.ephemeral_1h_input_tokens or 0
        if kept
        else 0,
        reasoning_output_tokens=completion.reasoning_tokens or 0,
        audio_input_tokens=prompt.audio_tokens or 0,
        audio_output_tokens=completion.audio_tokens or 0,
    )


def write_usage(usage: ours.Usage) -> bytes:
    """Write a ``usage`` object.

    ``cache_creation_input_tokens`` says again what ``cache_write_tokens`` says, for
    clients older than OpenAI's own word for it. ``cache_creation_token_details`` tells by
    lifetime, where some of it is kept for an hour, what was written. Sound is counted
    where there was any.
    """
    hour = usage.cache_creation_1h_input_tokens
    split = (
        b',"cache_creation_token_details":{"ephemeral_5m_input_tokens":%d,'
        b'"ephemeral_1h_input_tokens":%d}'
        % (max(usage.cache_creation_input_tokens - hour, 0), hour)
        if hour
        else b""
    )
    return (
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":%d,"cache_write_tokens":%d,'
        b'"cache_creation_input_tokens":%d%b%b},'
        b'"completion_tokens_details":{"reasoning_tokens":%d%b}}'
    ) % (
        usage.input_tokens,
        usage.output_tokens,
        usage.total_tokens,
        usage.cache_read_input_tokens,
        usage.cache_creation_input_tokens,
        usage.cache_creation_input_tokens,
        split,
        _sound(usage.audio_input_tokens),
        usage.reasoning_output_tokens,
        _sound(usage.audio_output_tokens),
    )


def _sound(tokens: int) -> bytes:
    return b',"audio_tokens":%d' % tokens if tokens else b""
