"""A whole canonical answer in, a ``response`` out.

Text and refusals in a row are the parts of one message. Of several alternatives the
first is written, since nobody can ask for more here. Left out, having no word here:
other providers' citations, sound, and the sequence that a stop came from.
"""

from __future__ import annotations

from typing import Any

import msgspec

from extproc import canonical
from extproc.formats.base import WriterContext
from extproc.formats.openai_responses import output

_encode = msgspec.json.Encoder().encode


class _Token(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[_Token] = []


class _Logprobs(msgspec.Struct, frozen=True):
    content: list[_Token] | None = None


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
                    content.append(output.text_part(part.text, logprobs))
                    logprobs = None
                continue
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


def _write_logprobs(said: msgspec.Raw | None) -> list[Any] | None:
    """Return log probabilities as they are spelled here: always with bytes."""
    if said is None:
        return None
    try:
        tokens = _LOGPROBS.decode(said).content
    except msgspec.DecodeError:
        return None
    return [_write_token(token) for token in tokens or ()]


def _write_token(said: _Token) -> output.Json:
    return {
        **_bare_token(said),
        "top_logprobs": [_bare_token(other) for other in said.top_logprobs],
    }


def _bare_token(said: _Token) -> output.Json:
    return {
        "token": said.token,
        "bytes": list(said.token.encode()) if said.bytes is None else said.bytes,
        "logprob": said.logprob,
    }
