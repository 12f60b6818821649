"""A whole answer of Converse's in the canonical form.

Here too are the two things that a stream shares with it: stop reasons and usage.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html. The
answer has no id and names no model: who writes it for the client has both. The provider's
own tools, their results and pictures are told by their names; guardrail traces and latency
are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from extproc import canonical
from extproc.errors import ProtocolViolation
from extproc.formats.base import Overview
from extproc.formats.converse import wire
from extproc.formats.converse.citations import SEARCH, read_citations, read_search
from extproc.usage import Usage

FINISH: Mapping[str, canonical.Finish] = {
    "content_filtered": "content_filter",
    "end_turn": "stop",
    "guardrail_intervened": "content_filter",
    "malformed_model_output": "stop",
    "malformed_tool_use": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "context_length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_calls",
}

_ANSWER = msgspec.json.Decoder(wire.Answer)


def read_answer(body: bytes) -> canonical.Answer:
    """Read a whole answer; see `ProviderFormat.read_answer`."""
    try:
        answer = wire.decode(_ANSWER, body)
    except msgspec.MsgspecError as exc:
        raise ProtocolViolation(f"cannot read the provider's answer: {exc}") from exc
    content = answer.output.message.content
    try:
        parts = [_part(block) for block in content]
    except msgspec.MsgspecError as exc:
        raise ProtocolViolation(f"cannot read the provider's answer: {exc}") from exc
    choice = canonical.Choice(
        tuple(part for part in parts if part is not None),
        FINISH.get(answer.stop_reason, "stop"),
        stop_sequence(answer.additional_model_response_fields),
    )
    return canonical.Answer(
        "",
        "",
        (choice,),
        None if answer.usage is None else usage_of(answer.usage),
        service_tier=answer.service_tier.type if answer.service_tier else None,
        unsaid=tuple(
            dict.fromkeys(
                _name(block)
                for block, part in zip(content, parts, strict=True)
                if part is None and not _found(block, parts)
            )
        ),
    )


def _found(
    block: wire.AnswerBlock, parts: Sequence[canonical.AnswerPart | None]
) -> bool:
    """Say whether a block is the result of a search that is told."""
    result = block.tool_result
    return result is not None and any(
        isinstance(part, canonical.Search) and part.id == result.tool_use_id
        for part in parts
    )


def _name(block: wire.AnswerBlock) -> str:
    return "toolUse" if block.tool_use is not None else "content"


def _part(block: wire.AnswerBlock) -> canonical.AnswerPart | None:
    if block.text is not None:
        return canonical.Text(block.text)
    use = block.tool_use
    if use is not None and use.type is None:
        return canonical.ToolCall(use.tool_use_id, use.name, bytes(use.input).decode())
    if use is not None and use.name == SEARCH:
        return read_search(use.tool_use_id, bytes(use.input))
    if block.citations_content is not None:
        cited = block.citations_content
        said = "".join(piece.text for piece in cited.content)
        return canonical.Text(said, citations=read_citations(cited.citations))
    if block.reasoning_content is not None:
        return _reasoning(block.reasoning_content)
    return None


def _reasoning(thought: wire.AnswerReasoning) -> canonical.Reasoning | None:
    if thought.redacted_content is not None:
        return canonical.Reasoning(encrypted=thought.redacted_content)
    if thought.reasoning_text is None:
        return None
    text, signature = thought.reasoning_text.text, thought.reasoning_text.signature
    return canonical.Reasoning(text, signature or None)


def stop_sequence(said: wire.ModelFields | None) -> str | None:
    """Return which stop sequence it was, if the model was asked and has told."""
    return None if said is None else said.stop_sequence


def overview(body: bytes) -> Overview:
    """Read what an answer says about itself; see `ProviderFormat.overview`."""
    try:
        answer = wire.decode(_ANSWER, body)
    except msgspec.MsgspecError:
        return Overview()
    usage = None if answer.usage is None else usage_of(answer.usage)
    return Overview(None, usage, answer.stop_reason)


def usage_of(counts: wire.WireUsage) -> Usage:
    """Return the counts in our convention: Bedrock's input excludes the cache's."""
    read = counts.cache_read_input_tokens or 0
    written = counts.cache_write_input_tokens or 0
    return Usage(
        input_tokens=counts.input_tokens + read + written,
        output_tokens=counts.output_tokens,
        cache_read_input_tokens=read,
        cache_creation_input_tokens=written,
        cache_creation_1h_input_tokens=sum(
            one.input_tokens for one in counts.cache_details or () if one.ttl == "1h"
        ),
    )
