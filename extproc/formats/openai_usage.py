"""Token counts as OpenAI's completions give them; cached ones are a part of the input."""

from __future__ import annotations

from extproc.usage import Usage


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
