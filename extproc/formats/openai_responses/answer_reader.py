"""A ``response`` in, the canonical answer out.

Reasoning becomes two parts: what may be read of it (summary or text), and the proof. The
items of built-in tools other than the search of the web are told by their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from extproc import canonical
from extproc.errors import ProtocolViolation
from extproc.formats import base, proofs
from extproc.formats.openai_annotations import read_annotations
from extproc.formats.openai_errors import error_of
from extproc.formats.openai_responses import answer_wire, wire
from extproc.formats.openai_responses.errors import read_failure
from extproc.formats.openai_responses.usage import read_usage
from extproc.formats.openai_responses.wire import present

_DECODER = msgspec.json.Decoder(answer_wire.Response)
_WHOLE = msgspec.json.Decoder(answer_wire.Whole)
_CALLED = msgspec.json.Decoder(str)

INCOMPLETE: Mapping[str | None, canonical.Finish] = {
    "max_output_tokens": "length",
    "max_messages": "length",
    "content_filter": "content_filter",
    "steered": "pause",
}
"""Why a response is not complete; any other reason is a ``length``: it was cut off."""

BETWEEN_SUMMARIES = "\n\n"
"""Stands between the parts of a summary, which are paragraphs of their own."""


def read_answer(body: bytes) -> canonical.Answer:
    """Read a whole answer.

    Raises:
        ProtocolViolation: it is not a response, or not one that is over.
        UpstreamError: the response has failed.
    """
    try:
        return _read_answer(body)
    # Also of what is kept raw at first.
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ProtocolViolation(f"not a response: {exc}") from None


def _read_answer(body: bytes) -> canonical.Answer:
    said = _DECODER.decode(body)
    seen = _WHOLE.decode(body)
    if said.status in {"failed", "cancelled"}:
        raise read_failure(said)
    if said.output is None:
        error = present(seen.error)
        if error is not None:
            raise error_of(502, {"error": answer_wire.anything.decode(error)})
        raise ProtocolViolation("the provider's answer has no output")
    if said.status in {"queued", "in_progress"}:
        raise ProtocolViolation("the provider's answer is not over")
    items = [item for raw in said.output if (item := read_item(raw)) is not None]
    parts = tuple(_read_parts(items))
    return canonical.Answer(
        id=said.id or "",
        model=said.model or "",
        choices=(
            canonical.Choice(
                parts,
                read_finish(
                    said,
                    called=any(isinstance(part, canonical.ToolCall) for part in parts),
                    refused=any(isinstance(part, canonical.Refusal) for part in parts),
                ),
                logprobs=_read_logprobs(items),
            ),
        ),
        usage=read_usage(said.usage),
        created=None if said.created_at is None else int(said.created_at),
        service_tier=said.service_tier,
        unsaid=tuple(
            dict.fromkeys(
                answer_wire.name_of(raw) for raw in said.output if not read_item(raw)
            )
        ),
    )


def read_finish(
    said: answer_wire.Response, *, called: bool, refused: bool
) -> canonical.Finish:
    """Return why the model stopped."""
    if said.status == "incomplete":
        details = said.incomplete_details or answer_wire.IncompleteDetails()
        return INCOMPLETE.get(details.reason, "length")
    if called:
        return "tool_calls"
    return "refusal" if refused else "stop"


def read_item(raw: msgspec.Raw) -> answer_wire.Item | None:
    """Read an output item; None is one that the canonical form cannot say.

    Raises:
        ProtocolViolation: it cannot be read.
    """
    try:
        return answer_wire.read_item(raw)
    except msgspec.DecodeError as exc:
        raise ProtocolViolation(f"cannot read an output item: {exc}") from None


def _read_parts(said: Iterable[answer_wire.Item]) -> Iterator[canonical.AnswerPart]:
    for item in said:
        match item.type:
            case "message":
                yield from _read_message(item)
            case "reasoning":
                if text := thought_of(item):
                    yield canonical.Reasoning(text)
                if proof := proof_of(item):
                    yield canonical.Reasoning(encrypted=proof, id=item.id)
            case "web_search_call":
                yield read_search(item)
            case _:
                yield read_call(item)


def _read_message(item: answer_wire.Item) -> Iterator[canonical.AnswerPart]:
    for part in item.content or ():
        if part.type == "refusal":
            yield canonical.Refusal(part.refusal or "")
        elif part.text is not None:
            cited = read_annotations(part.annotations)
            yield canonical.Text(part.text, citations=cited)


def read_search(item: answer_wire.Item) -> canonical.Search:
    """Read a search of the web, or a look at one of its pages."""
    did = item.action or answer_wire.SearchAction()
    queries = did.queries or ([did.query] if did.query else [])
    found = tuple(canonical.Found(one.url) for one in did.sources or () if one.url)
    return canonical.Search(
        item.id or "",
        tuple(queries),
        found,
        (did.url or "") if did.type != "search" else "",
        "unavailable" if item.status == "failed" else "",
    )


def read_call(item: answer_wire.Item) -> canonical.ToolCall:
    """Read a call.

    Raises:
        ProtocolViolation: it has no name or id.
    """
    if not item.name or not (item.call_id or item.id):
        raise ProtocolViolation(
            "a tool call of the provider's answer has no name or id"
        )
    custom = item.type == "custom_tool_call"
    said = (item.input or "") if custom else arguments_of(item)
    return canonical.ToolCall(
        id=item.call_id or item.id or "",
        name=item.name,
        arguments=said if custom or said.strip() else "{}",
        custom=custom,
    )


def arguments_of(item: answer_wire.Item) -> str:
    """Return the arguments of a function call, as they stand there."""
    said = present(item.arguments)
    if said is None:
        return ""
    try:
        return _CALLED.decode(said)
    except msgspec.ValidationError:
        return bytes(said).decode()  # servers that give the object itself


def thought_of(item: answer_wire.Item) -> str:
    """Return what may be read of a reasoning item."""
    parts = (*(item.summary or ()), *(item.content or ()))
    return BETWEEN_SUMMARIES.join(part.text for part in parts if part.text)


def proof_of(item: answer_wire.Item) -> str | None:
    """Return the proof of a reasoning item as the canonical form has it."""
    if not item.encrypted_content:
        return None
    return proofs.mark_openai(item.id or "", item.encrypted_content)


def _read_logprobs(said: Iterable[answer_wire.Item]) -> msgspec.Raw | None:
    """Return the log probabilities in the shape of a chat completion's."""
    entries = [
        entry
        for item in said
        if item.type == "message"
        for part in item.content or ()
        for entry in part.logprobs or ()
    ]
    return wire.raw({"content": entries, "refusal": None}) if entries else None


def overview(body: bytes) -> base.Overview:
    """Read model, usage and finish of an answer; what cannot be read is None."""
    try:
        said = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return base.Overview()
    details = said.incomplete_details
    return base.Overview(
        model=said.model,
        usage=read_usage(said.usage),
        finish=details.reason if details and details.reason else said.status,
    )
