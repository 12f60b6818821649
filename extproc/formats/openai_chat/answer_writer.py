"""A whole canonical answer in, a ``chat.completion`` out.

Reasoning goes out twice, for two kinds of clients: as ``reasoning_content``, one string,
and as ``thinking_blocks`` with the signatures that its provider wants back.

Left out, having no word here: searches, citations of documents, and the sequence that a
stop came from.
"""

from __future__ import annotations

from typing import Any

import msgspec

from extproc import canonical
from extproc.formats.base import WriterContext
from extproc.formats.openai_annotations import nest, write_annotations
from extproc.formats.openai_chat.finish import write_finish
from extproc.formats.openai_usage import write_usage

_encode = msgspec.json.Encoder().encode

SERVICE_TIERS = {
    "standard": "default",  # Anthropic's word
    **{name: name for name in ("auto", "default", "flex", "scale", "priority", "fast")},
}


def write_answer(answer: canonical.Answer, context: WriterContext) -> bytes:
    """Write `answer`; what its provider did not say is in `context`."""
    created = context.created if answer.created is None else answer.created
    completion: dict[str, Any] = {
        "id": answer.id or context.id,
        "object": "chat.completion",
        "created": created,
        "model": answer.model or context.model,
        "choices": [
            _write_choice(index, choice, answer.id or context.id, created)
            for index, choice in enumerate(answer.choices)
        ],
    }
    if answer.usage is not None:
        completion["usage"] = msgspec.Raw(write_usage(answer.usage))
    if answer.service_tier in SERVICE_TIERS:
        completion["service_tier"] = SERVICE_TIERS[answer.service_tier]
    return _encode(completion)


def _write_choice(
    index: int, choice: canonical.Choice, answer_id: str, created: int
) -> dict[str, Any]:
    message = _write_message(choice.parts, answer_id, created)
    refused = message["refusal"] is not None
    return {
        "index": index,
        "message": message,
        "logprobs": choice.logprobs,
        "finish_reason": write_finish(choice.finish, refused=refused),
    }


def _write_message(
    parts: tuple[canonical.AnswerPart, ...], answer_id: str, created: int
) -> dict[str, Any]:
    texts: list[str] = []
    refusals: list[str] = []
    thoughts: list[str] = []
    blocks: list[dict[str, str]] = []
    calls: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    for part in parts:
        match part:
            case canonical.Text(text, citations=cited):
                if cited:
                    before = sum(map(len, texts))
                    annotations += write_annotations(cited, len(text), before)
                texts.append(text)
            case canonical.Search():
                pass
            case canonical.Refusal(text):
                refusals.append(text)
            case canonical.Reasoning():
                thoughts.append(part.text)
                blocks += write_thinking(part)
            case canonical.ToolCall():
                calls.append(write_call(part))
            case canonical.Audio(source):
                message["audio"] = {
                    "id": f"audio_{answer_id}",
                    "data": source.data if isinstance(source, canonical.Inline) else "",
                    # It is kept nowhere, so it cannot be referred to from now on.
                    "expires_at": created,
                    "transcript": "",
                }
    if texts:
        message["content"] = "".join(texts)
    if refusals:
        message["refusal"] = "".join(refusals)
    if not (annotations or thoughts or calls):
        return message
    extras = {
        "annotations": nest(annotations),
        "reasoning_content": "".join(thoughts),
        "thinking_blocks": blocks,
        "tool_calls": calls,
    }
    return message | {name: value for name, value in extras.items() if value}


def write_thinking(part: canonical.Reasoning) -> list[dict[str, str]]:
    """Return the entries of ``thinking_blocks`` for one part."""
    blocks = []
    if part.text or part.signature:
        block = {"type": "thinking", "thinking": part.text}
        if part.signature:
            block["signature"] = part.signature
        blocks.append(block)
    if part.encrypted:
        blocks.append({"type": "redacted_thinking", "data": part.encrypted})
    return blocks


def write_call(call: canonical.ToolCall) -> dict[str, Any]:
    """Return a tool call of a message."""
    if call.custom:
        return {
            "id": call.id,
            "type": "custom",
            "custom": {"name": call.name, "input": call.arguments},
        }
    written: dict[str, Any] = {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments or "{}"},
    }
    if call.signature:
        written["extra_content"] = {"google": {"thought_signature": call.signature}}
    return written
