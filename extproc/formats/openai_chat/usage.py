"""Token counts in OpenAI's words and in ours; both count cached tokens as input."""

from __future__ import annotations

from extproc.formats.openai_chat import answer_wire
from extproc.usage import Usage


def read_usage(said: answer_wire.Usage | None) -> Usage | None:
    """Read a ``usage`` object; one without counts is none."""
    if said is None or (said.prompt_tokens is None and said.completion_tokens is None):
        return None
    prompt = said.prompt_tokens_details or answer_wire.PromptTokensDetails()
    completion = said.completion_tokens_details or answer_wire.CompletionTokensDetails()
    return Usage(
        input_tokens=said.prompt_tokens or 0,
        output_tokens=said.completion_tokens or 0,
        cache_read_input_tokens=(
            prompt.cached_tokens or said.prompt_cache_hit_tokens or 0
        ),
        cache_creation_input_tokens=(
            prompt.cache_write_tokens or prompt.cache_creation_input_tokens or 0
        ),
        reasoning_output_tokens=completion.reasoning_tokens or 0,
    )


def write_usage(usage: Usage) -> bytes:
    """Write a ``usage`` object.

    ``cache_creation_input_tokens`` says again what ``cache_write_tokens`` says, for
    clients older than OpenAI's own word for it.
    """
    return (
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":%d,"cache_write_tokens":%d,'
        b'"cache_creation_input_tokens":%d},'
        b'"completion_tokens_details":{"reasoning_tokens":%d}}'
    ) % (
        usage.input_tokens,
        usage.output_tokens,
        usage.total_tokens,
        usage.cache_read_input_tokens,
        usage.cache_creation_input_tokens,
        usage.cache_creation_input_tokens,
        usage.reasoning_output_tokens,
    )
