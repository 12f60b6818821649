"""A whole canonical answer in, a ``response`` out.

Text and refusals in a row are the parts of one message. Of several alternatives the
first is written, since nobody can ask for more here. Left out, having no word here:
citations of documents, sound, and the sequence that a stop came from.
"""

from __future__ import annotations

from typing import Any

import msgspec

from extproc import canonical
from extproc.formats.base import WriterContext
from extproc.formats.openai_annotations import write_annotations, write_files
from extproc.formats.openai_responses import output, wire
from extproc.formats.openai_responses.logprobs import Token, read_tokens
from extproc.formats.openai_responses.wire import present

_encode = msgspec.json.Encoder().encode


class _Logprobs(msgspec.Struct, frozen=True):
    content: msgspec.Raw = wire.ABSENT


_LOGPROBS = msgspec.json.Decoder(_Logprobs)


def write_answer(answer: canonical.Answer, context: WriterContext) -> bytes:
    """Write `answer`; what its provider did not say is in `context`."""
    choice = answer.choices[0] if answer.choices else canonical.Choice((), "stop")
    refused = any(isinstance(part, canonical.Refusal) for part in choice.parts)
    reason = output.incomplete_reason(choice.finish, refused=refused)
    status = "completed" if reason is None else "incomplete"
    return _encode(
        output.response(
            context,
            status,
            model=answer.model or context.model,
            created=context.created if answer.created is None else answer.created,
            output=_write_items(choice, context, status),
            usage=answer.usage,
            reason=reason,
            service_tier=answer.service_tier,
        )
    )


def _write_items(
    choice: canonical.Choice, context: WriterContext, last_status: str
) -> list[output.Json]:
    items: list[output.Json] = []
    logprobs = _write_logprobs(choice.logprobs)
    content: list[Any] | None = None
    """That of the message to which the next text belongs."""
    for part in choice.parts:
        match part:
            case canonical.Text() | canonical.Refusal():
                if content is None:
                    content = []
                    id_ = output.item_id("msg", context, len(items))
                    items.append(output.message_item(id_, "completed", content))
                if isinstance(part, canonical.Refusal):
                    content.append(output.refusal_part(part.text))
                else:
                    cited = write_annotations(part.citations, len(part.text))
                    cited += write_files(part.citations, len(part.text))
                    content.append(output.text_part(part.text, logprobs, cited))
                    logprobs = None
                continue
            case canonical.Search():
                id_ = output.item_id("ws", context, len(items))
                items.append(output.search_item(id_, part))
            case canonical.Reasoning():
                items.append(_write_reasoning(part, context, len(items)))
            case canonical.ToolCall():
                items += _write_call(part, context, len(items))
            case canonical.Audio():
                pass
        content = None
    for item in items[-1:]:
        if "status" in item:
            item["status"] = last_status
    return items


def _write_reasoning(
    part: canonical.Reasoning, context: WriterContext, index: int
) -> output.Json:
    id_, proof = output.thought(output.item_id("rs", context, index), part)
    return output.reasoning_item(id_, part.text, proof)


def _write_call(
    call: canonical.ToolCall, context: WriterContext, index: int
) -> list[output.Json]:
    id_ = output.item_id("ctc" if call.custom else "fc", context, index)
    items = [output.call_item(id_, "completed", call)]
    if call.signature:
        signed = output.item_id("rs", context, index + 1)
        items.append(output.signature_item(signed, call.id, call.signature))
    return items


def _write_logprobs(said: msgspec.Raw | None) -> list[Token] | None:
    """Return log probabilities as they are spelled here."""
    if said is None:
        return None
    try:
        tokens = present(_LOGPROBS.decode(said).content)
    except msgspec.DecodeError:
        return None
    return read_tokens(tokens)
