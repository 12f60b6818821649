"""A whole answer of Anthropic's in the canonical form.

Here too are the two things that a stream shares with it: stop reasons and usage. https://platform.claude.com/docs/en/api/messages. Skipped, because the canonical form
cannot say them: blocks of server tools, the container, stop details.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc import canonical
from extproc.errors import ProtocolViolation
from extproc.formats.anthropic import wire
from extproc.formats.base import Overview
from extproc.usage import Usage

FINISH: Mapping[str | None, canonical.Finish] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "context_length",
    "pause_turn": "pause",
    "refusal": "refusal",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_calls",
}

SERVICE_TIERS: Mapping[str | None, str] = {
    "standard": "default",
    "priority": "priority",
}

_MESSAGE = msgspec.json.Decoder(wire.Message)


def read_answer(body: bytes) -> canonical.Answer:
    """Read a whole answer; see `ProviderFormat.read_answer`."""
    try:
        message = wire.decode(_MESSAGE, body)
        parts = [_part(raw) for raw in message.content]
    except msgspec.MsgspecError as exc:
        raise ProtocolViolation(f"cannot read the provider's answer: {exc}") from exc
    choice = canonical.Choice(
        tuple(part for part in parts if part is not None),
        FINISH.get(message.stop_reason, "stop"),
        message.stop_sequence,
    )
    return canonical.Answer(
        message.id,
        message.model,
        (choice,),
        usage_of(message.usage),
        service_tier=SERVICE_TIERS.get(message.usage.service_tier),
    )


def _part(raw: msgspec.Raw) -> canonical.AnswerPart | None:
    match wire.read_block(raw):
        case None:
            return None
        case wire.TextBlock(text, citations):
            return canonical.Text(text, citations=wire.present(citations))
        case wire.ThinkingBlock(thinking, signature):
            return canonical.Reasoning(thinking, signature or None)
        case wire.RedactedThinkingBlock(sealed):
            return canonical.Reasoning(encrypted=sealed)
        case wire.ToolUseBlock(id_, name, given):
            return canonical.ToolCall(id_, name, bytes(given).decode())


def overview(body: bytes) -> Overview:
    """Read what an answer says about itself; see `ProviderFormat.overview`."""
    try:
        message = wire.decode(_MESSAGE, body)
    except msgspec.MsgspecError:
        return Overview()
    return Overview(message.model, usage_of(message.usage), message.stop_reason)


def fold(before: wire.WireUsage, now: wire.WireUsage) -> wire.WireUsage:
    """Return the counts so far: they are totals, and those left out or 0 have not moved."""
    return wire.WireUsage(
        now.input_tokens or before.input_tokens,
        now.output_tokens or before.output_tokens,
        now.cache_creation_input_tokens or before.cache_creation_input_tokens,
        now.cache_read_input_tokens or before.cache_read_input_tokens,
        now.output_tokens_details or before.output_tokens_details,
        now.service_tier or before.service_tier,
    )


def usage_of(counts: wire.WireUsage) -> Usage:
    """Return the counts in our convention: Anthropic's input excludes the cache's."""
    written = counts.cache_creation_input_tokens or 0
    read = counts.cache_read_input_tokens or 0
    details = counts.output_tokens_details
    return Usage(
        input_tokens=(counts.input_tokens or 0) + written + read,
        output_tokens=counts.output_tokens or 0,
        cache_read_input_tokens=read,
        cache_creation_input_tokens=written,
        reasoning_output_tokens=(details.thinking_tokens or 0) if details else 0,
    )
