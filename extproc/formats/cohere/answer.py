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

PLAN = -1
"""Stands for a block's place where the plan is cited."""

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
    blocks = said.content or []
    first = next((i for i, b in enumerate(blocks) if b.text is not None), 0)
    cited: dict[int, list[canonical.Citation]] = {}
    for one in said.citations or ():
        place = first if one.content_index is None else one.content_index
        cited.setdefault(PLAN if one.type == "PLAN" else place, []).extend(cite(one))
    for i, block in enumerate(blocks):
        if block.thinking is not None:
            yield canonical.Reasoning(block.thinking)
        elif block.text is not None:
            yield canonical.Text(block.text, citations=tuple(cited.get(i, ())))
    if said.tool_plan:
        yield canonical.Text(said.tool_plan, citations=tuple(cited.get(PLAN, ())))
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


def cite(said: wire.Citation) -> Iterator[canonical.Citation]:
    """Yield a citation for each page, or one for all of the request's documents."""
    sources = said.sources or ()
    pages = [one.document for one in sources if one.document and one.document.url]
    for page in pages:
        yield canonical.Citation(
            page.url or "", page.title, start=said.start, end=said.end
        )
    if not pages:
        titles = [(one.document and one.document.title) or one.id for one in sources]
        title = ", ".join(filter(None, titles)) or None
        yield canonical.Citation(title=title, start=said.start, end=said.end)
