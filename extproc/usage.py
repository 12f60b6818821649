"""Token counts in one convention, whoever counted them.

``input_tokens`` includes what was read from and written to a prompt cache, as in the
OpenTelemetry GenAI conventions and OpenAI's API; Anthropic's and Bedrock's own
``input_tokens`` exclude both, so their formats add them.
"""

from __future__ import annotations

from typing import Final

import msgspec

MOST_COUNTED: Final = (1 << 29) - 1
"""Of tokens, units or seconds in one answer: fifty times what the longest context has.
What is beyond, or below nothing, is no count: nobody's budget is to grow by an answer, and
no record is to have a number that a store or a column cannot take."""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What one answer cost, in tokens."""

    input_tokens: int = 0
    """All of the prompt, cached or not."""
    output_tokens: int = 0
    """All that was generated, reasoning included."""
    cache_read_input_tokens: int = 0
    """The part of ``input_tokens`` that was read from a prompt cache."""
    cache_creation_input_tokens: int = 0
    """The part of ``input_tokens`` that was written to a prompt cache."""
    reasoning_output_tokens: int = 0
    """The part of ``output_tokens`` that was reasoning."""
    audio_input_tokens: int = 0
    """The part of ``input_tokens`` that was heard, and not read from a cache."""
    audio_output_tokens: int = 0
    """The part of ``output_tokens`` that is spoken."""
    cache_creation_1h_input_tokens: int = 0
    """The part of ``cache_creation_input_tokens`` that is kept for an hour."""
    search_units: int = 0
    """What Cohere bills of a ranking: a query with up to 100 documents is one."""
    audio_seconds: int = 0
    """Of sound that was heard and is billed by time, every one begun; no token counts it."""

    @property
    def total_tokens(self) -> int:
        """Prompt and answer together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        """Return what both cost together."""
        names = self.__struct_fields__
        return Usage(
            **{name: getattr(self, name) + getattr(other, name) for name in names}
        )


def believed(said: Usage | None) -> Usage | None:
    """Return what a provider has said, or None: it cannot be so, and nobody counted."""
    if said is None:
        return None
    # One that is below nothing or has a higher bit leaves it in all of them together.
    bits = (
        said.input_tokens | said.output_tokens
        | said.cache_read_input_tokens | said.cache_creation_input_tokens
        | said.reasoning_output_tokens
        | said.audio_input_tokens | said.audio_output_tokens
        | said.cache_creation_1h_input_tokens
        | said.search_units | said.audio_seconds
    )  # fmt: skip
    return said if 0 <= bits <= MOST_COUNTED else None


def counted(header: str) -> Usage | None:
    """Return the input tokens that a header says, if it is a number of 18 digits at most."""
    digits = header if len(header) <= 18 and header.isdecimal() else ""
    return Usage(input_tokens=int(digits)) if digits else None
