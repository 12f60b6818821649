"""Gemini's log probabilities in OpenAI's words, which are the canonical ones.

https://ai.google.dev/api/generate-content#LogprobsResult. What is so unlikely that its
logarithm is infinite is left out of the alternatives: JSON has no word for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from extproc.formats.gemini import wire


class _Likely(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int]


class _Chosen(_Likely):
    top_logprobs: list[_Likely]


def write_tokens(said: wire.LogprobsResult) -> msgspec.Raw | None:
    """Return an array of tokens; None where there are none."""
    chosen = list(_chosen(said))
    return msgspec.Raw(msgspec.json.encode(chosen)) if chosen else None


def _chosen(said: wire.LogprobsResult) -> Iterator[_Chosen]:
    tops = said.top_candidates or []
    for i, one in enumerate(said.chosen_candidates or ()):
        others = tops[i].candidates if i < len(tops) else None
        yield _Chosen(
            one.token,
            one.log_probability,
            list(one.token.encode()),
            [
                _Likely(other.token, other.log_probability, list(other.token.encode()))
                for other in others or ()
                if math.isfinite(other.log_probability)
            ],
        )
