"""A whole answer of Anthropic's in the canonical form.

Here too are the two things that a stream shares with it: stop reasons and usage.
https://platform.claude.com/docs/en/api/messages. Blocks of server tools other than those
of the web are told by their names; the container and stop details are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc import canonical
from extproc.errors import ProtocolViolation
from extproc.formats.anthropic import citations, wire
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

_UNCITED = (wire.ABSENT, msgspec.Raw(b"null"))

WEB = (citations.SEARCH, citations.FETCH)

_MESSAGE = msgspec.json.Decoder(wire.Message)


def read_answer(body: bytes) -> canonical.Answer:
    """Read a whole answer; see `ProviderFormat.read_answer`."""
    try:
        message = wire.decode(_MESSAGE, body)
        parts, unsaid = _parts(message.content)
    except msgspec.MsgspecError as exc:
        raise ProtocolViolation(f"cannot read the provider's answer: {exc}") from exc
    choice = canonical.Choice(
        parts,
        FINISH.get(message.stop_reason, "stop"),
        message.stop_sequence,
    )
    return canonical.Answer(
        message.id,
        message.model,
        (choice,),
        usage_of(message.usage),
        service_tier=SERVICE_TIERS.get(message.usage.service_tier),
        unsaid=unsaid,
    )


def _parts(
    content: list[msgspec.Raw],
) -> tuple[tuple[canonical.AnswerPart, ...], tuple[str, ...]]:
    """Return the parts, and the names of the blocks that are none."""
    parts: list[canonical.AnswerPart] = []
    unsaid: dict[str, None] = {}
    asked: dict[str, tuple[str, bytes]] = {}
    """The looks at the web whose results are still to come: the tool, and its input."""
    for raw in content:
        block = wire.read_block(raw)
        if not isinstance(block, wire.ServerBlock):
            parts.append(_part(block))
        elif block.type == "server_tool_use" and block.name in WEB:
            asked[block.id] = block.name, bytes(block.input)
        elif block.type in citations.RESULTS and block.tool_use_id in asked:
            call = block.tool_use_id
            found = bytes(block.content)
            parts.append(citations.read_search(call, *asked.pop(call), found))
        else:
            unsaid[block.type] = None
    parts += [citations.read_search(call, *said, b"") for call, said in asked.items()]
    return tuple(parts), tuple(unsaid)


def _part(block: wire.AnswerBlock) -> canonical.AnswerPart:
    match block:
        case wire.TextBlock(text, cited):
            if cited in _UNCITED:
                return canonical.Text(text)
            return canonical.Text(text, citations=citations.read_citations(cited))
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
        now.cache_creation or before.cache_creation,
    )


def usage_of(counts: wire.WireUsage) -> Usage:
    """Return the counts in our convention: Anthropic's input excludes the cache's."""
    written = counts.cache_creation_input_tokens or 0
    read = counts.cache_read_input_tokens or 0
    details, kept = counts.output_tokens_details, counts.cache_creation
    return Usage(
        input_tokens=(counts.input_tokens or 0) + written + read,
        output_tokens=counts.output_tokens or 0,
        cache_read_input_tokens=read,
        cache_creation_input_tokens=written,
        reasoning_output_tokens=(details.thinking_tokens or 0) if details else 0,
        cache_creation_1h_input_tokens=(
            (kept.ephemeral_1h_input_tokens or 0) if kept else 0
        ),
    )
