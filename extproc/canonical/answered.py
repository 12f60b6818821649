"""The whole answer."""

from __future__ import annotations

from typing import Literal

import msgspec

from extproc.canonical.content import (
    Audio,
    Reasoning,
    Refusal,
    Search,
    Text,
    ToolCall,
)
from extproc.usage import Usage

Finish = Literal[
    "stop", "stop_sequence", "length", "context_length", "tool_calls",
    "content_filter", "refusal", "pause",
]  # fmt: skip
"""Why the model stopped. A format without the finer word uses the coarser one:
``stop_sequence`` is a ``stop``, ``context_length`` a ``length``, ``refusal`` a
``content_filter``; ``pause`` is Anthropic's ``pause_turn``, a ``stop`` elsewhere."""

AnswerPart = Text | Reasoning | ToolCall | Refusal | Audio | Search


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One of the alternatives that were asked for; most providers give one."""

    parts: tuple[AnswerPart, ...]
    finish: Finish
    stop_sequence: str | None = None
    logprobs: msgspec.Raw | None = None
    """OpenAI's ``logprobs`` object."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A whole answer."""

    id: str
    model: str
    """The response model: what the provider says has answered."""
    choices: tuple[Choice, ...]
    usage: Usage | None = None
    created: int | None = None
    """Unix seconds; None where the provider does not say."""
    service_tier: str | None = None
    unsaid: tuple[str, ...] = ()
    """What it has besides and none of this can say, by the provider's names."""


class ListedModel(msgspec.Struct, frozen=True, gc=False):
    """A model as a list of models names it."""

    id: str
    created: int
    """Unix seconds."""
    owned_by: str
