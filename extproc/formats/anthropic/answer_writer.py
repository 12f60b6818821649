"""Canonical answers and streams as Anthropic's clients expect them.

https://platform.claude.com/docs/en/api/messages and
https://platform.claude.com/docs/en/build-with-claude/streaming. Of several alternatives
the first is written, since nobody can ask for more here. A refusal is text, told by its
stop reason. Reasoning of providers that sign nothing has an empty signature. Left out:
log probabilities, audio, the signature of a tool call.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from extproc import canonical
from extproc.errors import ProtocolViolation
from extproc.formats.anthropic import citations, client_wire, wire
from extproc.formats.base import WriterContext
from extproc.usage import Usage

STOP_REASONS: Mapping[canonical.Finish, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "context_length": "model_context_window_exceeded",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
}

SERVICE_TIERS: Mapping[str | None, str] = {
    "default": "standard", "standard": "standard", "priority": "priority",
}  # fmt: skip
"""Those that have a word here; Anthropic's third, ``batch``, is of batches alone."""

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def write_answer(answer: canonical.Answer, context: WriterContext) -> bytes:
    """Write a whole answer; see `ClientFormat.write_answer`.

    Raises:
        ProtocolViolation: the model called a tool with what is no JSON object, and was
            not cut off in it.
    """
    choice = answer.choices[0] if answer.choices else canonical.Choice((), "stop")
    return msgspec.json.encode(
        client_wire.Answer(
            id=answer.id or context.id,
            model=answer.model or context.model,
            content=[
                block for part in choice.parts for block in _blocks(part, choice.finish)
            ],
            stop_reason=STOP_REASONS[choice.finish],
            stop_sequence=choice.stop_sequence,
            usage=usage_body(
                answer.usage or Usage(),
                [part for part in choice.parts if isinstance(part, canonical.Search)],
                answer.service_tier,
            ),
        )
    )


def _blocks(
    part: canonical.AnswerPart, finish: canonical.Finish
) -> Iterator[wire.AnswerBlock | citations.Json]:
    match part:
        case canonical.Text():
            yield from _text_blocks(part)
        case canonical.Refusal(text):
            if text:
                yield wire.TextBlock(text)
        case canonical.Reasoning(encrypted=str(sealed)):
            yield wire.RedactedThinkingBlock(sealed)
        case canonical.Reasoning(text, signature):
            yield wire.ThinkingBlock(text, signature or "")
        case canonical.ToolCall(call, name, arguments):
            yield wire.ToolUseBlock(call, name, _input(arguments, finish))
        case canonical.Search():
            yield from citations.write_search(part)
        case canonical.Audio():
            pass


def _text_blocks(part: canonical.Text) -> Iterator[wire.TextBlock]:
    """Yield a text, cut where its citations begin and end: they are of whole blocks."""
    if not part.text:
        return
    ends = {0, len(part.text)}
    for one in part.citations:
        ends |= {min(one.start or 0, len(part.text)), _end(one, part.text)}
    for start, end in itertools.pairwise(sorted(ends)):
        cited = [
            citations.write_citation(one)
            for one in part.citations
            if (one.start or 0) <= start and end <= _end(one, part.text)
        ]
        block = wire.TextBlock(part.text[start:end])
        if cited:
            block.citations = msgspec.Raw(msgspec.json.encode(cited))
        yield block


def _end(cited: canonical.Citation, text: str) -> int:
    return len(text) if cited.end is None else min(cited.end, len(text))


def _input(arguments: str, finish: canonical.Finish) -> msgspec.Raw:
    try:
        wire.decode(_OBJECT, arguments.encode())
    except msgspec.MsgspecError as exc:
        if finish == "length" or not arguments.strip():
            return msgspec.Raw(b"{}")
        raise ProtocolViolation(
            f"the model called a tool with what is no JSON object: {exc}"
        ) from exc
    return msgspec.Raw(arguments)


def usage_body(
    usage: Usage,
    searches: Sequence[canonical.Search] = (),
    service_tier: str | None = None,
) -> client_wire.Usage:
    """Return the counts as Anthropic gives them: the input without the cache's."""
    written, hour = (
        usage.cache_creation_input_tokens,
        usage.cache_creation_1h_input_tokens,
    )
    cached = usage.cache_read_input_tokens + written
    reasoning = usage.reasoning_output_tokens
    return client_wire.Usage(
        max(usage.input_tokens - cached, 0),
        written,
        usage.cache_read_input_tokens,
        usage.output_tokens,
        wire.OutputDetails(reasoning) if reasoning else None,
        wire.CacheCreation(hour, max(written - hour, 0)) if written else None,
        _web_requests(searches) if searches else None,
        SERVICE_TIERS.get(service_tier),
    )


def _web_requests(searches: Sequence[canonical.Search]) -> client_wire.ServerToolUsage:
    read = sum(bool(one.page) for one in searches)
    return client_wire.ServerToolUsage(len(searches) - read, read)
