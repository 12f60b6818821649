"""Token counts in the words of Responses and in ours; both count cached ones as input."""

from __future__ import annotations

from extproc.formats.openai_responses import answer_wire
from extproc.usage import Usage


def read_usage(said: answer_wire.Usage | None) -> Usage | None:
    """Read a ``usage`` object; one without counts is none."""
    if said is None or (said.input_tokens is None and said.output_tokens is None):
        return None
    given = said.input_tokens_details or answer_wire.InputTokensDetails()
    made = said.output_tokens_details or answer_wire.OutputTokensDetails()
    return Usage(
        input_tokens=said.input_tokens or 0,
        output_tokens=said.output_tokens or 0,
        cache_read_input_tokens=given.cached_tokens or 0,
        cache_creation_input_tokens=given.cache_write_tokens or 0,
        reasoning_output_tokens=made.reasoning_tokens or 0,
    )


def write_usage(usage: Usage) -> dict[str, object]:
    """Return a ``usage`` object."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_input_tokens,
            "cache_write_tokens": usage.cache_creation_input_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_output_tokens},
        "total_tokens": usage.total_tokens,
    }
