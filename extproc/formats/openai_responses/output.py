"""The shapes of what is answered: the response, its items and their parts.

https://platform.openai.com/docs/api-reference/responses/object. Members that repeat the
request come from `echo`, with the values of one that leaves everything out behind them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from extproc import canonical
from extproc.formats import proofs
from extproc.formats.base import WriterContext
from extproc.formats.openai_responses.envelope import Envelope, seal
from extproc.formats.openai_responses.logprobs import Token
from extproc.formats.openai_responses.usage import write_usage
from extproc.usage import Usage

Json = dict[str, Any]

INCOMPLETE: Mapping[canonical.Finish, str] = {
    "length": "max_output_tokens",
    "context_length": "max_output_tokens",
    "content_filter": "content_filter",
    "refusal": "content_filter",
}
"""The finishes that leave a response incomplete, and its reason for that; a refusal does
not where the model has put it in words of its own."""

_SERVICE_TIERS = {
    "standard": "default",  # Anthropic's word
    **{
        name: name
        for name in (
            "auto", "default", "flex", "scale", "priority", "fast", "ultrafast",
        )
    },
}  # fmt: skip


def incomplete_reason(finish: canonical.Finish, *, refused: bool) -> str | None:
    """Return why a response is incomplete; None where it is complete."""
    return None if refused and finish == "refusal" else INCOMPLETE.get(finish)


def response_id(context: WriterContext) -> str:
    """Return the id of the answer: the exchange's, since nobody keeps the response."""
    return f"resp_{context.id}"


def response(
    context: WriterContext,
    status: str,
    *,
    model: str,
    created: int,
    output: list[Any] | None = None,
    usage: Usage | None = None,
    reason: str | None = None,
    error: Json | None = None,
    service_tier: str | None = None,
) -> Json:
    """Return a response; `output` is its items."""
    made: Json = {
        "id": response_id(context),
        "object": "response",
        "created_at": created,
        "status": status,
        "background": False,
        "error": error,
        "incomplete_details": None if reason is None else {"reason": reason},
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": model,
        "output": output or [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": None if usage is None else write_usage(usage),
        "user": None,
    }
    if isinstance(context.kept, dict):
        made |= context.kept
    if service_tier in _SERVICE_TIERS:
        made["service_tier"] = _SERVICE_TIERS[service_tier]
    return made


# ---------------------------------------------------------------- items


@dataclasses.dataclass(slots=True)
class OpenItem:
    """An output item of a stream that has begun and is not done."""

    id: str
    index: int
    kind: canonical.PartKind
    """Of its first part; a message's others may be text or a refusal."""
    call: canonical.PartStarted | None = None
    content: list[msgspec.Raw] = dataclasses.field(default_factory=list)
    """A message's parts; those that are not over are empty."""
    open: int = 0
    """How many of its parts are not over."""
    text: str = ""
    """Of a call or of reasoning, once that part is over."""
    signature: str | None = None
    encrypted: str | None = None

    def said(self, status: str) -> Json:
        """Return the item as it is by now."""
        if self.call is not None:
            call = canonical.ToolCall(
                self.call.id, self.call.name, self.text, custom=self.call.custom
            )
            return call_item(self.id, status, call)
        if self.kind != "reasoning":
            return message_item(self.id, status, self.content)
        part = canonical.Reasoning(self.text, self.signature, self.encrypted)
        return reasoning_item(self.id, self.text, thought(self.id, part)[1])


def item_id(prefix: str, context: WriterContext, index: int) -> str:
    """Return the id of an item: no two of an answer share one, and none of two answers."""
    return f"{prefix}_{context.id}_{index}"


def text_part(
    text: str,
    logprobs: Sequence[Token] | None = None,
    annotations: Sequence[Json] = (),
) -> Json:
    """Return a part of a message."""
    return {
        "type": "output_text",
        "annotations": annotations,
        "logprobs": logprobs or [],
        "text": text,
    }


def refusal_part(text: str) -> Json:
    """Return a part of a message that says why the model does not answer."""
    return {"type": "refusal", "refusal": text}


def summary_part(text: str) -> Json:
    """Return a part of a reasoning item's summary."""
    return {"type": "summary_text", "text": text}


def message_item(id_: str, status: str, content: list[Any]) -> Json:
    """Return a message."""
    return {
        "id": id_,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def search_item(id_: str, search: canonical.Search) -> Json:
    """Return a search of the web, or a look at one of its pages."""
    action: Json = {"type": "open_page", "url": search.page}
    if not search.page:
        action = _searching(search)
    return {
        "id": id_,
        "type": "web_search_call",
        "status": "failed" if search.error else "completed",
        "action": action,
    }


def _searching(search: canonical.Search) -> Json:
    action: Json = {
        "type": "search",
        "query": "; ".join(search.queries),
        "queries": search.queries,
    }
    if search.found:
        action["sources"] = [{"type": "url", "url": one.url} for one in search.found]
    return action


def reasoning_item(id_: str, text: str, proof: str | None) -> Json:
    """Return a reasoning item; `proof` goes where OpenAI's own goes."""
    item = {
        "id": id_,
        "type": "reasoning",
        "summary": [summary_part(text)] if text else [],
    }
    if proof is not None:
        item["encrypted_content"] = proof
    return item


def call_item(id_: str, status: str, call: canonical.ToolCall) -> Json:
    """Return a call of a function or of a custom tool."""
    return {
        "id": id_,
        "type": "custom_tool_call" if call.custom else "function_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "input" if call.custom else "arguments": call.arguments,
    }


def thought(id_: str, part: canonical.Reasoning) -> tuple[str, str | None]:
    """Return the id and the ``encrypted_content`` of a part's reasoning item."""
    if part.encrypted is not None and (own := proofs.read_openai(part.encrypted)):
        return own[0] or id_, own[1]
    if not (part.signature or part.encrypted):
        return id_, seal(Envelope())
    return id_, seal(Envelope(part.text, part.signature, part.encrypted))


def signature_item(id_: str, call_id: str, signature: str) -> Json:
    """Return the item that follows a call whose thought has a proof."""
    return reasoning_item(id_, "", seal(Envelope(signature=signature, call_id=call_id)))
