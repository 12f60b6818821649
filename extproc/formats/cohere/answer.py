"""A whole answer of Cohere's in the canonical form, and what streams share with it.

The plan that stands before calls (``tool_plan``) is what the model says to the user: text.
Counts are the billed ones, as OpenTelemetry wants where there are two
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/); the model's own count
the words that Cohere puts around a prompt too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from extproc import canonical
from extproc.errors import ProtocolViolation
from extproc.formats.base import Overview
from extproc.formats.cohere import wire
from extproc.formats.cohere.errors import failure
from extproc.usage import Usage

FINISH: Mapping[str, canonical.Finish] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop_sequence",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
}
"""``ERROR`` and ``TIMEOUT`` are no ends but failures: `FAILED`."""

FAILED = frozenset({"ERROR", "TIMEOUT"})


def read_answer(body: bytes) -> canonical.Answer:
    """Read a whole answer; see `ProviderFormat.read_answer`.

    Raises:
        UpstreamError: the model failed in the middle of it.
    """
    try:
        said = wire.ANSWER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ProtocolViolation(f"cannot read the provider's answer: {exc}") from exc
    if said.finish_reason in FAILED:
        raise failure(None, said.finish_reason)
    choice = canonical.Choice(
        tuple(_parts(said.message)), FINISH.get(said.finish_reason, "stop")
    )
    return canonical.Answer(
        id=said.id, model="", choices=(choice,), usage=usage_of(said.usage)
    )


def _parts(said: wire.AnsweredMessage) -> Iterator[canonical.AnswerPart]:
    cited = tuple(_cited(one) for one in said.citations or ())
    for block in said.content or ():
        if block.thinking is not None:
            yield canonical.Reasoning(block.thinking)
        elif block.text is not None:
            # They are all of one text: the index in them says which, where there are two.
            yield canonical.Text(block.text, citations=cited)
            cited = ()
    if said.tool_plan:
        yield canonical.Text(said.tool_plan)
    for call in said.tool_calls or ():
        if not call.function.name:
            raise ProtocolViolation("a tool call of the provider's answer has no name")
        arguments = call.function.arguments or ""
        yield canonical.ToolCall(
            call.id, call.function.name, arguments if arguments.strip() else "{}"
        )


def overview(body: bytes) -> Overview:
    """Read what an answer says about itself; see `ProviderFormat.overview`."""
    try:
        said = wire.ANSWER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Overview()
    return Overview(None, usage_of(said.usage), said.finish_reason)


def usage_of(said: wire.WireUsage | None) -> Usage | None:
    """Return the counts; None where there are none."""
    counts = said and (said.billed_units or said.tokens)
    if (
        not said
        or not counts
        or (counts.input_tokens, counts.output_tokens) == (None,) * 2
    ):
        return None
    return Usage(
        input_tokens=int(counts.input_tokens or 0),
        output_tokens=int(counts.output_tokens or 0),
        cache_read_input_tokens=int(said.cached_tokens or 0),
    )


def _cited(said: wire.Citation) -> canonical.Citation:
    """Read a citation: of the request's documents, which have ids of their own."""
    title = ", ".join(source.id for source in said.sources or ()) or None
    return canonical.Citation(title=title, start=said.start, end=said.end)
