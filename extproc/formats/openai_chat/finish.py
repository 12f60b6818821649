"""Why the model stopped, in OpenAI's five words and in ours."""

from __future__ import annotations

from collections.abc import Mapping

from extproc.canonical import Finish
from extproc.errors import UpstreamError

FINISH_REASONS: Mapping[Finish, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "context_length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "pause": "stop",
}
"""Canonical to OpenAI's."""

_FINISHES: Mapping[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "max_tokens": "length",  # servers that pass their engine's own word on
    "model_length": "length",
    "tool_use": "tool_calls",
}
"""OpenAI's, and words seen elsewhere, to canonical; any other is a stop."""

FAILED = "error"
"""Mistral's word, and OpenRouter's, for an answer that its model could not end."""


def failure() -> UpstreamError:
    """Return what `FAILED` means."""
    return UpstreamError("The provider's model failed in the middle of its answer.")


def write_finish(finish: Finish, *, refused: bool) -> str:
    """Return OpenAI's word; a refusal in the model's own words is a plain stop there."""
    return "stop" if refused and finish == "refusal" else FINISH_REASONS[finish]


def read_finish(reason: str | None, *, called: bool, refused: bool) -> Finish:
    """Return the canonical word.

    A call that ``tool_choice`` forced ends in ``stop`` at OpenAI, and a refusal always
    does; the formats that we translate to tell the two apart.
    """
    finish = _FINISHES.get(reason or "stop", "stop")
    if finish != "stop":
        return finish
    if called:
        return "tool_calls"
    return "refusal" if refused else "stop"
