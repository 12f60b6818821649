"""Token counts in OpenAI's words as ours; both count cached tokens as input."""

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
